"""Retry policies: their form, and a given one laid over a default. Source: spec "definition", Node; spec "engine"."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from models.errors import NEVER_RETRIED, ErrorCode
from orchestrator.core import conditions, durations
from orchestrator.core.fields import Check, choice, duration, fields, integer, is_a, items, number, text
from orchestrator.core.plan import Retry
from orchestrator.core.pointer import child
from orchestrator.core.report import Code, Report

BACKOFFS = ("exponential", "linear", "constant")
POLICIES = ("always", "on_failure", "on_error", "on_transient_error", "never")
_CODES = tuple(code.value for code in ErrorCode)


def _retried(report: Report, pointer: str, value: Any) -> None:
    choice(*_CODES)(report, pointer, value)
    if isinstance(value, str) and value in NEVER_RETRIED:
        report.add(pointer, Code.INVALID_VALUE, f"{value} is never retried; leave it out")


def _condition(report: Report, pointer: str, value: Any) -> None:
    if is_a(report, pointer, value, str):
        for message in conditions.check(value, {"error"}, boolean=True):
            report.add(pointer, Code.INVALID_EXPRESSION, f"the condition is no CEL over error: {message}")


FIELDS: Mapping[str, Check] = {
    "max_attempts": integer(1, 1_000),
    "backoff": choice(*BACKOFFS),
    "initial": duration(zero=True),
    "multiplier": number(1, 1_000),
    "max": duration(zero=True),
    "jitter": number(0, 1),
    "retry_on": items(_retried, unique=True),
    "not_on": items(choice(*_CODES), unique=True),
    "policy": choice(*POLICIES),
    "condition": text(4_096),
}


def check_retry(report: Report, pointer: str, value: Any) -> None:
    """Report what is wrong with a retry policy."""
    before = report.count
    fields(FIELDS, what="a retry policy")(report, pointer, value)
    if not isinstance(value, dict):
        return
    if report.count == before and "condition" in value:
        _condition(report, child(pointer, "condition"), value["condition"])
    initial, longest = (durations.seconds(value.get(key)) for key in ("initial", "max"))
    if initial is not None and longest is not None and longest < initial:
        message = "max is shorter than initial; make max the longer of the two"
        report.add(child(pointer, "max"), Code.INVALID_VALUE, message)


def read_retry(value: Mapping[str, Any], default: Retry | None = None) -> Retry:
    """A policy that passed `check_retry`, laid over a default. Without `max_attempts` there is one attempt."""
    base = default if default is not None else Retry()
    found: dict[str, Any] = {}
    for key, given in value.items():
        if key in ("initial", "max"):
            found[key] = durations.seconds(given)
        elif key in ("multiplier", "jitter"):
            found[key] = float(given)
        else:
            found[key] = tuple(given) if isinstance(given, list) else given
    merged = replace(base, **found)
    return merged if "max" in value else replace(merged, max=max(merged.max, merged.initial))
