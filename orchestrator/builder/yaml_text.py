"""A definition as YAML for people, which the API's reader takes for the same values.

Edges stand on a line each, text of several lines as a block. Left without quotes is only what our reader takes
for text: the writer's own idea of that differs in corners such as `.5e5` and, in braces, `?x`.
"""

import io
import re
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import RoundTripRepresenter

from orchestrator.core.document_yaml import plain_scalar

_NO_FOLDING = 1 << 30
# Text that no context of YAML gives a meaning, and the reader's own chains neither.
_BARE = re.compile(r"[\w(/](?:[\w ./+=<>&|!?;*%$()-]*[\w./+=<>&|!?;*%$()-])?")


class _Representer(RoundTripRepresenter):
    def ignore_aliases(self, _data: Any) -> bool:
        return True

    def represent_str(self, data: str) -> ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=_style(data))


def _style(text: str) -> str | None:
    """How to write a text; None: without quotes."""
    if not text.replace("\n", "").isprintable():
        return '"'
    if "\n" in text.strip("\n"):
        return "|"
    if _BARE.fullmatch(text) is not None and plain_scalar(text) == text:
        return None
    return '"' if "'" in text and '"' not in text and "\\" not in text else "'"


_Representer.add_representer(str, _Representer.represent_str)


def dump(data: Mapping[str, Any]) -> str:
    """The text; `data` holds values of JSON alone."""
    yaml = YAML()
    yaml.Representer = _Representer
    yaml.width = _NO_FOLDING
    yaml.allow_unicode = True
    yaml.indent(mapping=2, sequence=4, offset=2)
    text = io.StringIO()
    yaml.dump(_edges_on_lines(data), text)
    return text.getvalue()


def _edges_on_lines(data: Mapping[str, Any]) -> dict[str, Any]:
    """The same data, its edges and those of bodies marked to be written in braces."""
    written = dict(data)
    written["nodes"] = [
        {**node, "body": _edges_on_lines(node["body"])} if _has_body(node) else node for node in data["nodes"]
    ]
    if "edges" in data:
        written["edges"] = [_in_braces(edge) for edge in data["edges"]]
    return written


def _has_body(node: Mapping[str, Any]) -> bool:
    # A plug-in's node may have a field of this name that is something else.
    body = node.get("body")
    return isinstance(body, dict) and isinstance(body.get("nodes"), list)


def _in_braces(edge: Mapping[str, Any]) -> CommentedMap:
    found = CommentedMap(edge)
    found.fa.set_flow_style()
    return found
