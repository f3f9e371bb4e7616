"""Beat has an entry for every sweep that exists, and none for one that does not."""

import beat_schedule
from orchestrator.services.sweeps import SELDOM, SWEEPS


def test_every_sweep_has_an_entry() -> None:
    entries = beat_schedule.schedule(1.0)
    assert {entry["task"] for entry in entries.values()} == {f"orchestrator.sweep.{name}" for name in SWEEPS}


def test_an_entry_that_waited_too_long_is_dropped() -> None:
    assert {e["options"]["expires"] for e in beat_schedule.schedule(1.0).values()} == {10.0}
    assert {e["options"]["expires"] for e in beat_schedule.schedule(30.0).values()} == {150.0}


def test_what_reads_a_whole_table_is_fired_seldom() -> None:
    entries = beat_schedule.schedule(1.0)
    seldom = {name: entry["schedule"] for name, entry in entries.items() if entry["schedule"] != 1.0}
    assert seldom == {f"sweep-{name}": seconds for name, seconds in SELDOM.items()}
    assert set(SELDOM) == {"offers", "retention"}
    assert beat_schedule.schedule(90.0)["sweep-offers"]["schedule"] == 90.0
