"""Data from step to step: chaining, mapping, keys, run outputs, what is too large."""

from pathlib import Path
from typing import Any

import pytest

from models.database import Database
from orchestrator.core.outcome import Outcome, Succeeded
from orchestrator.ports import StepContext
from tests.support import attempts
from tests.support.engine import Engine
from tests.support.probes import ended, ends, probe, publish


def output(ours: Engine, run_id: str, path: str) -> Any:
    return attempts.attempts(ours, run_id, path)[-1].output


def test_outputs_of_live_predecessors_are_merged_in_the_order_of_the_edges(database: Database) -> None:
    ours = publish(
        database,
        probe("a", {"succeed": {"x": "a", "y": "a"}}),
        probe("b", {"succeed": {"x": "b"}}),
        probe("c", {"succeed": [1]}),
        probe("ab"),
        probe("ba"),
        probe("abc"),
        edges=["a >> ab", "b >> ab", "b >> ba", "a >> ba", "[a, b, c] >> abc"],
    )
    run_id = ended(ours)
    assert output(ours, run_id, "ab") == {"x": "b", "y": "a"}
    assert output(ours, run_id, "ba") == {"x": "a", "y": "a"}
    assert output(ours, run_id, "abc") == {"x": "b", "y": "a", "value": [1]}


def test_entries_start_from_the_runs_inputs_and_mappings_are_laid_over(database: Database) -> None:
    ours = publish(
        database,
        probe("entry", input_mapping={"y": "{{inputs.x + 1}}", "run": "{{run.id}}"}),
        {"id": "pass", "type": "noop"},
        probe("last", input_mapping={"y": "{{entry.y}} of {{var.region}}", "none": "{{entry.absent?}}"}),
        edges=["entry >> pass >> last"],
        variables={"region": "eu"},
    )
    run_id = ended(ours, inputs={"x": 1, "z": None})
    assert output(ours, run_id, "entry") == {"x": 1, "z": None, "y": 2, "run": run_id}
    assert output(ours, run_id, "last") == {"x": 1, "z": None, "y": "2 of eu", "run": run_id, "none": None}


def test_a_dead_branch_gives_nothing(database: Database) -> None:
    ours = publish(
        database,
        probe("a", {"succeed": {"x": "a"}}),
        probe("b", {"succeed": {"x": "b"}}, when="false"),
        probe("join", input_mapping={"b": "{{b.x?}}"}),
        edges=["[a, b] >> join"],
    )
    assert output(ours, ended(ours), "join") == {"x": "a", "b": None}


def test_a_reference_to_what_was_skipped_fails_the_step(database: Database) -> None:
    ours = publish(
        database,
        probe("a"),
        probe("b", when="false"),
        probe("join", input_mapping={"b": "{{b.x}}"}),
        edges=["[a, b] >> join"],
    )
    run_id = ended(ours, "failed")
    assert ours.row(run_id).error["code"] == "UNRESOLVED_REFERENCE"


def test_braces_in_data_stay_text(database: Database) -> None:
    ours = publish(database, probe("a"), probe("b", input_mapping={"copy": "{{a.text}}"}), edges=["a >> b"])
    text = "{{inputs.secret}} {{1 + 1}}"
    found = output(ours, ended(ours, inputs={"secret": "s", "text": text}), "b")
    assert found == {"secret": "s", "text": text, "copy": text}


def test_a_run_without_outputs_of_its_own_stores_none(database: Database) -> None:
    ours = publish(database, probe("a", {"succeed": {"x": 1}}))
    assert ours.data(ended(ours)).outputs is None


def test_outputs_are_mapped_at_the_end(database: Database) -> None:
    ours = publish(
        database,
        probe("a", {"succeed": {"x": 1}}),
        probe("b", when="false"),
        edges=["a >> b"],
        outputs={"x": "{{a.x}}", "sum": "{{a.x + inputs.y}}", "b": "{{b.x?}}"},
    )
    run_id = ended(ours, inputs={"y": 2})
    assert ours.data(run_id).outputs == {"x": 1, "sum": 3, "b": None}


def test_an_output_that_cannot_be_resolved_fails_the_run(database: Database) -> None:
    ours = publish(
        database,
        probe("a", {"succeed": {"x": 1}}),
        probe("b", when="false"),
        edges=["a >> b"],
        outputs={"b": "{{b.x}}"},
    )
    run_id = ended(ours, "failed")
    assert ours.statuses(run_id) == {"a": "success", "b": "skipped"}
    assert ours.row(run_id).error["code"] == "UNRESOLVED_REFERENCE"


def test_an_output_over_the_limit_fails_the_step(database: Database) -> None:
    ours = publish(database, probe("a", {"succeed": "x" * 5_000}, max_output_bytes=4_096))
    run_id = ended(ours, "failed")
    assert ours.row(run_id).error["code"] == "OUTPUT_TOO_LARGE"
    assert output(ours, run_id, "a") is None


def test_an_output_over_the_limit_is_cut_where_asked(database: Database) -> None:
    large = {"text": "é" * 5_000}
    ours = publish(
        database, probe("a", {"succeed": large}, max_output_bytes=4_096, on_large_output="truncate")
    )
    found = output(ours, ended(ours), "a")
    assert (found["truncated"], found["bytes"]) == (True, len('{"text":""}') + 2 * 5_000)
    assert found["preview"].startswith('{"text":"é')


@pytest.mark.parametrize(
    "wrong", ["\x00", "\ud800", {"\x00": 1}, 2**63, float("nan"), float("-inf"), [{"deep": "\udfff"}]]
)
def test_what_no_database_can_hold_fails_the_step(database: Database, wrong: Any) -> None:
    assert ours_that_says(database, wrong) == "VALIDATION"


def test_a_nest_deeper_than_allowed_fails_the_step(database: Database) -> None:
    deep: Any = "bottom"
    for _ in range(9_000):
        deep = [deep]
    assert ours_that_says(database, deep) == "VALIDATION"


def ours_that_says(database: Database, said: Any) -> str:
    """The error code of a run whose only step has this output."""
    ours = publish(database, probe("a"))
    ours.deps.__dict__["handlers"] = {**ours.deps.handlers, "probe": Says(said)}
    return str(ours.row(ended(ours, "failed")).error["code"])


class Says:
    """A handler with one output."""

    def __init__(self, output: Any) -> None:
        self._output = output

    def execute(self, ctx: StepContext) -> Outcome:
        return Succeeded(output=self._output)


def test_a_key_is_resolved_once_and_kept_over_attempts(database: Database, tmp_path: Path) -> None:
    """`other` changes what the key was made of between the first attempt and the second."""
    log = tmp_path / "keys.log"
    ours = publish(
        database,
        probe(
            "a",
            [{"fail": "NETWORK"}, {"fail": "NETWORK"}, {"succeed": 1}],
            idempotency_key="{{inputs.id}}-{{var.n}}",
            retry={"max_attempts": 3, "initial": 0, "jitter": 0},
            log=str(log),
        ),
        probe("b", log=str(log)),
        probe("other"),
        {"id": "change", "type": "set", "values": {"n": 2}},
        edges=["a >> b", "other >> change"],
        variables={"n": 1},
    )
    run_id = ours.run("w", inputs={"id": "order"})
    for _ in range(2):
        ours.sweep()
        ours.drain()
    ends(ours, run_id, "success")
    assert ours.data(run_id).variables == {"n": 2}
    keys = [line.split()[1:4] for line in log.read_text().splitlines()]
    assert keys == [*(["a", str(n), "order-1"] for n in (1, 2, 3)), ["b", "1", f"{run_id}:b"]]
