"""Setting agents up at a gateway: made where they are missing, their workspace files written where they differ.

Source: spec "gateway" §5. It needs the scope operator.admin, so it goes over a connection of its own.
"""

import time
from collections.abc import Mapping

from models.errors import ConflictError, InvalidError, UnavailableError
from orchestrator.drivers.openclaw_connection import Connection
from orchestrator.drivers.openclaw_frames import Fault, Response, mapping_of, objects_of, text_of
from orchestrator.drivers.openclaw_line import Line, Term

FILES = ("AGENTS.md", "SOUL.md", "IDENTITY.md", "USER.md", "BOOTSTRAP.md", "MEMORY.md")
_KNOWN_WITHIN = 15.0
_LOOK_EVERY = 0.2
_TRIES = 2


def check_names(files: Mapping[str, str]) -> None:
    """Raises InvalidError for a file that no agent has."""
    for name in files:
        if name not in FILES:
            raise InvalidError(f"an agent has no file {name!r}: it is one of {', '.join(FILES)}")


def agents_of(line: Line) -> tuple[str, ...]:
    """The ids of the agents that a gateway lists. Raises as Line, UnavailableError where it lists none."""
    answer = line.ask("agents.list", {})
    if not answer.ok:
        raise UnavailableError(f"the gateway does not list its agents: {_said(answer)}")
    return tuple(text_of(agent, "id") for agent in objects_of(answer.payload, "agents"))


class Provisioning:
    """One agent's. All methods raise as Line, InvalidError and UnavailableError."""

    def __init__(self, connection: Connection, agent: str) -> None:
        self._agent = agent.lower()
        self._until = time.monotonic() + _KNOWN_WITHIN
        self._line = Line(connection=connection, term=Term(deadline=self._until), answer_within=10.0)

    def run(self, files: Mapping[str, str]) -> None:
        """Make the agent where it is missing, and write its files."""
        if self._agent not in agents_of(self._line):
            self._create()
        for name, content in files.items():
            self._write(name, content)

    def _create(self) -> None:
        answer = self._line.ask("agents.create", {"name": self._agent})
        made = text_of(answer.payload, "agentId")
        if answer.ok and made != self._agent:
            raise InvalidError(
                f"the gateway made of {self._agent!r} an agent {made!r}: give it an id of lower-case letters, "
                "digits, - and _"
            )
        if not answer.ok and "already exists" not in _said(answer):
            raise self._refusal("made", answer)
        while self._agent not in agents_of(self._line):  # it takes its gateway seconds to know a new one
            self._line.term.pause(_LOOK_EVERY)

    def _write(self, name: str, content: str) -> None:
        for _ in range(_TRIES):
            file = mapping_of(self._ask(f"shown {name}", "agents.files.get", {"name": name}).payload, "file")
            if file.get("missing") is not True and file.get("content") == content:
                return
            expected = text_of(file, "hash")
            wanted = {"name": name, "content": content} | ({"expectedHash": expected} if expected else {})
            answer = self._ask(f"given {name}", "agents.files.set", wanted)
            if answer.ok:
                return
        raise ConflictError(f"{name} of agent {self._agent} is changed by somebody else again and again")

    def _ask(self, done: str, method: str, params: Mapping[str, str]) -> Response:
        """The answer, or that of a conflict; a new agent is not known everywhere at once."""
        while True:
            answer = self._line.ask(method, {"agentId": self._agent} | dict(params))
            if answer.ok or _is_conflict(answer.fault):
                return answer
            if not _is_unknown(answer.fault):
                raise self._refusal(done, answer)
            self._line.term.pause(_LOOK_EVERY)

    def _refusal(self, done: str, answer: Response) -> InvalidError | UnavailableError:
        said = f"agent {self._agent} can't be {done} at the gateway: {_said(answer)}"
        code = answer.fault.code if answer.fault else ""
        if code in ("FORBIDDEN", "NOT_PAIRED"):
            return InvalidError(f"{said}; the gateway's token needs the scope operator.admin for that")
        return InvalidError(said) if code == "INVALID_REQUEST" else UnavailableError(said)


def _is_unknown(fault: Fault | None) -> bool:
    return fault is not None and any(words in fault.message for words in ("unknown agent", "not found"))


def _is_conflict(fault: Fault | None) -> bool:
    return fault is not None and text_of(fault.details, "type") == "agent_file_conflict"


def _said(answer: Response) -> str:
    return (answer.fault.message if answer.fault else "") or "no reason given"
