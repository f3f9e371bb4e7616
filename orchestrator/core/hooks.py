"""What a hook makes of what came to it: references to `body`, `headers` and `query`, checked when they are written.

Source: spec "http-api", /api/hooks; values as spec "definition" has them.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from models.errors import InvalidError, Problem
from orchestrator.core import conditions, untrusted, values
from orchestrator.core.conditions import ConditionError
from orchestrator.core.document import Limits
from orchestrator.core.pointer import child
from orchestrator.core.values import UnresolvedReferenceError

ROOTS = ("body", "headers", "query")
NONE, STANDARD, GITHUB = SCHEMES = ("none", "standard-webhooks", "github")
NUMBERS: Mapping[str, str] = {STANDARD: "webhook-id", GITHUB: "x-github-delivery"}


# A header as it is called: `{{headers.x-id}}`, where names of values have no dash.
_HEADER = re.compile(r"(\{\{[ \t]*headers\.)([A-Za-z0-9_-]+)(?=\??[ \t]*\}\})", re.ASCII)


def problems(workflow: Any, signal: Mapping[str, Any] | None, mapping: Any, dedup: str | None) -> list[Problem]:
    """What is wrong with a hook: it has one target, a signal one way to its run, and references name what comes."""
    found = []
    if (workflow is None) == (signal is None):
        found.append(_problem("/workflow", "MISSING_FIELD", "A hook starts a workflow or sends a signal; give one"))
    if signal is not None and (signal.get("run") is None) == (signal.get("key") is None):
        found.append(_problem("/signal/key", "MISSING_FIELD", "A signal goes to a run or to a key; give one"))
    for name in ("run", "key"):
        found += _wrong((signal or {}).get(name), f"/signal/{name}")
    return [*found, *_wrong(mapping, "/mapping"), *_wrong(dedup, "/dedup")]


def _wrong(value: Any, pointer: str) -> list[Problem]:
    found = []
    for each in values.references(_plain(value), pointer):
        if not each.is_path:
            found += [_problem(each.pointer, "INVALID_EXPRESSION", why) for why in conditions.check(each.text, ROOTS)]
        elif each.root not in ROOTS:
            why = f"There is nothing named {each.root!r} here; write {', '.join(ROOTS)}, such as {{{{body.id}}}}"
            found.append(_problem(each.pointer, "UNRESOLVED_REFERENCE", why))
    return found


def filled(mapping: Mapping[str, Any], names: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
    """A mapping's values of what came. Raises InvalidError with each that has none or cannot be stored, and above
    `max_body_bytes`."""
    found, wrong, size = {}, list[Problem](), 0
    for key, value in mapping.items():
        pointer = child("/mapping", key)
        try:
            found[key] = _resolved(value, names, pointer, limits)
        except InvalidError as error:
            wrong += error.problems
            continue
        size += len(json.dumps(found[key]))
        if size > limits.max_body_bytes:
            message = f"What the mapping makes has more than {limits.max_body_bytes:,} bytes"
            raise _refused(pointer, "TOO_LARGE", message)
    if wrong:
        raise InvalidError("what came does not fit the hook's mapping; nothing was done", wrong)
    return found


def text(template: str, names: Mapping[str, Any], pointer: str, limits: Limits) -> str | None:
    """A template's text of what came; None where it gives null. Raises InvalidError as `filled`."""
    found = _resolved(template, names, pointer, limits)
    return found if found is None or isinstance(found, str) else json.dumps(found, sort_keys=True)


def _resolved(value: Any, names: Mapping[str, Any], pointer: str, limits: Limits) -> Any:
    """Checked as a body is: a query or an expression makes what no body may hold, such as a NUL."""
    try:
        found = values.resolve(_plain(value), {**names, "headers": _Headers(names["headers"])})
    except (UnresolvedReferenceError, ConditionError) as error:
        raise _refused(pointer, error.code, str(error)) from error
    wrong = untrusted.problem(found, max_nesting=limits.max_nesting)
    if wrong is not None:
        raise _refused(pointer + wrong.pointer, wrong.code, wrong.message)
    return found


class _Headers(dict[str, Any]):
    """Headers that are found under their names without dashes too."""

    def get(self, name: str, default: Any = None) -> Any:
        found = super().get(name, self)
        if found is not self:
            return found
        return next((text for known, text in self.items() if _underscored(known) == name), default)


def _plain(value: Any) -> Any:
    """The value with headers named as values can be."""
    if isinstance(value, str):
        return _HEADER.sub(lambda found: found[1] + _underscored(found[2]), value)
    if isinstance(value, Mapping):
        return {key: _plain(below) for key, below in value.items()}
    return [_plain(below) for below in value] if isinstance(value, list) else value


def _underscored(header: str) -> str:
    return header.lower().replace("-", "_")


def _refused(pointer: str, code: str, message: str) -> InvalidError:
    return InvalidError("what came does not fit the hook; nothing was done", [_problem(pointer, code, message)])


def _problem(pointer: str, code: str, message: str) -> Problem:
    return Problem(pointer=pointer, code=code, message=message)
