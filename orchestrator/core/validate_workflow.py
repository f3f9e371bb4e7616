"""The fields of a workflow beside its nodes and edges. Source: spec "definition"."""

from collections.abc import Mapping
from typing import Any

from orchestrator.core.fields import (
    Check,
    anything,
    choice,
    duration,
    entries,
    fields,
    integer,
    name,
    take_fields,
    text,
)
from orchestrator.core.report import Code, Report
from orchestrator.core.validate_own import json_schema
from orchestrator.core.validate_retry import check_retry

DURATIONS = ("seconds", "minutes", "hours", "days", "weeks")
# In micro-cents a budget must fit 64 bits with room for what is spent above it.
MAX_CENTS = 1_000_000_000_000
_VARIABLE = r"[A-Za-z_][A-Za-z0-9_]{0,63}"
_LABEL = r"[A-Za-z_][A-Za-z0-9_.-]{0,63}"


def unsupported(check: Check, what: str) -> Check:
    """A field of the language whose behaviour comes in a later version: its form counts, then it is refused."""

    def check_refused(report: Report, pointer: str, value: Any) -> None:
        before = report.count
        check(report, pointer, value)
        if report.count == before:
            report.add(
                pointer, Code.INVALID_VALUE, f"{what} is not supported by this version yet; leave it out"
            )

    return check_refused


WORKFLOW: Mapping[str, Check] = {
    "name": name(r"[a-z][a-z0-9-]{0,63}", "write a lower-case letter, then up to 63 of a-z, 0-9 and -"),
    "description": text(10_000, empty=True),
    "inputs": json_schema,
    "outputs": entries(r"(?s).{1,256}", "write 1 to 256 characters", anything),
    "variables": entries(_VARIABLE, "write a letter or _, then up to 63 letters, digits and _", anything),
    "duration": choice(*DURATIONS),
    "labels": entries(_LABEL, "write a letter or _, then up to 63 letters, digits, _ . and -", text(256)),
    "budget": fields(
        {"limit_cents": integer(0, MAX_CENTS), "on_exceeded": choice("abort", "pause")},
        ("limit_cents",),
        what="a budget",
    ),
    "timeout": duration(),
    "queue_timeout": duration(),
    "on_failure": choice("fail_fast", "continue"),
    "concurrency": fields(
        {
            "key": text(),
            "limit": integer(1, 1_000_000),
            "on_limit": choice("queue", "reject", "cancel_oldest"),
        },
        ("key", "limit"),
        what="concurrency",
    ),
    "retry": check_retry,
}


def check_workflow(report: Report, data: Mapping[str, Any]) -> None:
    """Report what is wrong with a workflow's own fields; its nodes and edges only when they are missing."""
    known = {**WORKFLOW, "nodes": anything, "edges": anything}
    take_fields(report, "", data, known, ("name", "nodes"), what="a workflow")
    if "queue_timeout" in data and "concurrency" not in data:
        message = "queue_timeout is of runs that wait for their turn; add the concurrency that they wait under"
        report.add("/concurrency", Code.MISSING_FIELD, message)
