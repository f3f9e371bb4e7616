"""What the live views show, drawn from events."""

from collections.abc import Mapping
from io import StringIO
from typing import Any

from rich.console import Console

from orchestrator.cli import follow, out, tree
from orchestrator.cli.progress import Progress


def event(type_: str, step: str | None = None, at: str = "00", **data: Any) -> Mapping[str, Any]:
    return {"type": type_, "step": step, "at": f"2026-01-01T00:00:{at}Z", "data": data}


def drawn(progress: Progress, levels: list[list[str]]) -> list[str]:
    console = Console(file=StringIO(), width=200)
    console.print(tree.draw(progress, levels))
    assert isinstance(console.file, StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_steps_follow_their_events() -> None:
    progress = Progress("w", ["a"])
    for each in (
        event("run.started"),
        event("step.started", "a", "01", attempt=1),
        event("step.retrying", "a", "02", attempt=1, error={"code": "NETWORK", "message": "refused"}),
        event("step.started", "a", "05", attempt=2),
        event("variable.set", key="x"),
        event("step.completed", "a", "07", attempt=2),
        event("run.completed"),
    ):
        progress.apply(each)
    (step,) = progress.steps
    assert (progress.status, step.status, step.attempt, step.error) == ("success", "success", 2, None)
    assert step.started_at is not None
    assert step.seconds(step.started_at) == 2.0


def test_steps_of_one_level_share_a_branch_in_plan_order() -> None:
    progress = Progress("lead v1", ["capture", "enrich", "score", "route"])
    for each in (
        event("run.started"),
        event("step.completed", "capture", "01"),
        event("step.started", "score", "01"),
    ):
        progress.apply(each)
    lines = drawn(progress, [["capture"], ["enrich", "score"], ["route"]])
    assert lines[0].endswith("lead v1  running")
    assert "capture" in lines[1]
    assert "in parallel" in lines[2]
    assert "enrich" in lines[3]
    assert "score  running" in lines[4]
    assert "route" in lines[5]
    assert "1/4 steps" in lines[6]


def test_a_step_that_waits_says_for_what() -> None:
    progress = Progress("w", ["a"])
    waits = event("step.waiting", "a", "01", attempt=1, reason="run 0190")
    progress.apply(waits)
    assert "a  waiting  for run 0190" in " ".join(drawn(progress, [["a"]])).replace("  1.0 s", "")
    assert (
        follow._plain({**waits, "at": "2026-01-01T00:00:01Z"}) == f"00:00:01  {'a':<24} waiting  for run 0190"
    )
    progress.apply(event("step.completed", "a", "02", attempt=1))
    assert "run 0190" not in " ".join(drawn(progress, [["a"]]))


def chunk(step: str, text: str, at: str = "01") -> Mapping[str, Any]:
    return {**event("stream.chunk", step, at, attempt=1, index=0, text=text, tokens=None), "seq": None}


def test_a_step_that_writes_shows_its_last_line_until_it_ends() -> None:
    progress = Progress("w", ["a"])
    progress.apply(event("step.started", "a", "01", attempt=1))
    for text in ("Dear all,\n\nthe quar", "ter was\tgood\x1b[2J. ", "x" * 80 + "\n  \n"):
        progress.apply(chunk("a", text))
    line = drawn(progress, [["a"]])[1]
    assert line.endswith("  …" + "x" * (tree.WRITTEN - 1))
    progress.apply(event("step.waiting", "a", "02", attempt=1, reason="agent x"))
    progress.apply(chunk("a", "and more"))
    assert "and more" in " ".join(drawn(progress, [["a"]]))
    progress.apply(event("step.completed", "a", "03", attempt=1))
    assert "and more" not in " ".join(drawn(progress, [["a"]]))
    progress.apply(chunk("unheard-of", "x"))
    assert any("unheard-of" in line for line in drawn(progress, [["a"]]))


def test_plain_lines_say_now_and_then_what_a_step_writes() -> None:
    now = 0.0
    plain = follow.Plain(clock=lambda: now)
    assert plain.line(chunk("a", "\n")) is None
    assert plain.line(chunk("a", "Dear all, ")) == f"00:00:01  {'a':<24} writes  Dear all,"
    assert plain.line(chunk("a", "the quarter")) is None
    assert plain.line(chunk("b", "Other")) == f"00:00:01  {'b':<24} writes  Other"
    now = 2.1
    assert plain.line(chunk("a", " was \x1b[2Jgood")) == (
        f"00:00:01  {'a':<24} writes  Dear all, the quarter was \ufffd[2Jgood"
    )
    assert plain.line(event("step.completed", "a", "02")) == f"00:00:02  {'a':<24} success"
    assert plain.line({**event("stream.done", "a"), "seq": None}) is None
    assert plain.line(chunk("a", "anew")) == f"00:00:01  {'a':<24} writes  anew"


def test_a_degraded_step_says_what_it_failed_with() -> None:
    error = {"code": "NETWORK", "message": "refused"}
    degraded = event("step.completed", "a", "02", degraded=True, error=error)
    progress = Progress("w", ["a"])
    progress.apply(degraded)
    assert any("degraded after NETWORK: refused" in line for line in drawn(progress, [["a"]]))
    assert follow.Plain().line(degraded) == f"00:00:02  {'a':<24} success  degraded after NETWORK: refused"


def test_of_a_large_run_what_works_or_failed_is_drawn() -> None:
    progress = Progress("wide", [f"s{n}" for n in range(5000)])
    progress.apply(event("step.started", "s4999"))
    progress.apply(event("step.failed", "s77", error={"code": "TIMEOUT", "message": "too slow"}))
    lines = drawn(progress, [[f"s{n}" for n in range(5000)]])
    assert len(lines) < 50
    assert any("s77  failed" in line and "TIMEOUT: too slow" in line for line in lines)
    assert any("s4999  running" in line for line in lines)
    assert any("and 4960 more" in line for line in lines)


def test_amounts_and_spans_as_people_write_them() -> None:
    assert [out.dollars(n) for n in (None, 0, 5_000, 12_340_000, 250_000_000)] == [
        "$0.0000",
        "$0.0000",
        "$0.00005",
        "$0.1234",
        "$2.5000",
    ]
    assert [out.span(n) for n in (0.04, 59.9, 61, 7261)] == ["0.0 s", "59.9 s", "1 min 01 s", "2 h 01 min"]
    assert out.brief({"a": "ü" * 100}, 12) == '{"a": "üüüü…'
