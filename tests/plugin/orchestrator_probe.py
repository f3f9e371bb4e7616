"""A plug-in with node types for tests and benchmarks: one that does what it is told, one that does nothing."""

import os
import signal
import time
from typing import Any, ClassVar

from models.errors import ErrorCode
from orchestrator.core.nodetype import Field, FieldKind, NodeType
from orchestrator.core.outcome import (
    Cancelled,
    Failed,
    Outcome,
    Paused,
    StepError,
    Succeeded,
    Usage,
    Waiting,
)
from orchestrator.ports import Parts, StepContext

_FIELDS = (
    Field(name="does", kind=FieldKind.VALUE),
    Field(name="output", kind=FieldKind.VALUE),
    Field(name="log", kind=FieldKind.STRING),
)


class Probe:
    """`does` is one outcome, or a list with one for each attempt; the last one stays.

    {"succeed": output?, "route": name?, "terminal": bool?, "usage": {...}?} · {"fail": CODE, "transient": bool?}
    · {"raise": message} · {"wait": reason, "seconds": s?} · {"pause": reason, "expected_input": schema?}
    · {"cancel": true} · {"die": true} · with "sleep": seconds before any of them, "beats": of heartbeats before that,
    each after "every" seconds.
    """

    TYPE: ClassVar[NodeType] = NodeType(type="probe", fields=_FIELDS, beats=True)

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def execute(self, ctx: StepContext) -> Outcome:
        does = ctx.fields.get("does", {})
        script: dict[str, Any] = does[min(ctx.attempt, len(does)) - 1] if isinstance(does, list) else does
        if "log" in ctx.fields:
            with open(ctx.fields["log"], "a") as file:
                file.write(f"{ctx.run_id} {ctx.path} {ctx.attempt} {ctx.idempotency_key} {os.getpid()}\n")
        for _ in range(script.get("beats", 0)):
            if ctx.cancelled.wait(script["every"]):
                return Cancelled()
            ctx.heartbeat()
        if "sleep" in script and ctx.cancelled.wait(script["sleep"]):
            return Cancelled()
        return self._outcome(ctx, script)

    def _outcome(self, ctx: StepContext, script: dict[str, Any]) -> Outcome:
        if script.get("die"):
            os.kill(os.getppid() if script["die"] == "parent" else os.getpid(), signal.SIGKILL)
            time.sleep(60)
        if "fail" in script:
            code = ErrorCode(script["fail"])
            return Failed(error=StepError.of(code, "told to fail", transient=script.get("transient")))
        if "raise" in script:
            raise RuntimeError(script["raise"])
        if "wait" in script:
            return Waiting(reason=script["wait"], seconds=script.get("seconds"))
        if "pause" in script:
            return Paused(reason=script["pause"], expected_input=script.get("expected_input"))
        if script.get("cancel"):
            return Cancelled()
        usage = Usage(**script["usage"]) if "usage" in script else None
        return Succeeded(
            output=script.get("succeed", ctx.fields.get("output", ctx.input)),
            route=script.get("route"),
            terminal=script.get("terminal", False),
            usage=usage,
        )


class SlowProbe(Probe):
    """The same, declared slow: joins of such steps travel as chords."""

    TYPE: ClassVar[NodeType] = NodeType(type="slow_probe", fields=_FIELDS, slow=True)


class Nothing:
    """Does nothing, dispatched: what the engine itself costs."""

    TYPE: ClassVar[NodeType] = NodeType(type="nothing")

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def execute(self, ctx: StepContext) -> Outcome:
        return Succeeded(output={})
