"""Beat: an entry for each sweep, and one message for those that are due together."""

from pathlib import Path
from typing import Any

import pytest
from kombu import Connection

from orchestrator.services.sweeps import SWEEPS
from orchestrator.settings import Settings
from tests.support.polling import poll
from tests.support.processes import StartProgram


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_sweeps_that_are_due_together_are_one_message(
    stack: Settings, programs: StartProgram, tmp_path: Path
) -> None:
    programs(stack, "-m", "celery", "-A", "tasks.app", "beat", "-s", str(tmp_path / "beat"))
    found: list[Any] = []

    def two() -> bool:
        with Connection(stack.broker) as connection:
            channel = connection.default_channel
            channel.queue_declare("sweeps", durable=True, auto_delete=False)
            while (message := channel.basic_get("sweeps", no_ack=True)) is not None:
                found.append(channel.message_to_python(message))
        return len(found) >= 2

    poll(two, 60, "two ticks")
    assert {message.headers["task"] for message in found} == {"orchestrator.sweeps"}
    named = {name for message in found for name in message.payload[0][0]}
    assert named <= set(SWEEPS)
    assert named >= {"undispatched", "leases", "timeouts", "due", "schedules"}
    assert len(found[1].payload[0][0]) > 5
    assert all(message.headers["expires"] is not None for message in found)
