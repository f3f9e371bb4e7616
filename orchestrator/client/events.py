"""`client.events`: what happened in the workspace, found and followed."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

from orchestrator.client.answers import WorkspaceEvent
from orchestrator.client.patience import PASSING, Grace
from orchestrator.client.request import Request
from orchestrator.client.sse import messages
from orchestrator.client.transport import Transport

_SILENCE = 45.0  # seconds; the API's heartbeat comes every 15
_GRACE = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """An event, and the place after it from which `follow` goes on."""

    place: str
    event: WorkspaceEvent


class Events:
    """Events of all runs, and of none. Types are `run.completed`, `run.*`, `*`; none given: all."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self,
        limit: int | None = None,
        *,
        types: Sequence[str] = (),
        run: str | None = None,
        workflow: str | None = None,
        after: str | None = None,
        before: str | None = None,
    ) -> Iterator[WorkspaceEvent]:
        """Events, newest first. `after` and `before` are RFC 3339 times."""
        return self._transport.pages(
            "/api/events",
            limit,
            types=",".join(types) or None,
            run=run,
            workflow=workflow,
            after=after,
            before=before,
        )

    def follow(
        self, *, types: Sequence[str] = (), run: str | None = None, place: str | None = None
    ) -> Generator[Followed, None, None]:
        """Events as they come, each once and in order within its run, without an end.

        They begin after `place`, by default now. The stream outlives cuts of the connection, and the API's absence
        for a minute; what was missed meanwhile comes then.
        """

        def moved(to: str) -> None:
            nonlocal place
            place = to

        grace = Grace(_GRACE)
        params = {"types": ",".join(types), "run": run}
        asked = Request(
            method="GET", path="/api/events/stream", params={name: value for name, value in params.items() if value}
        )
        while True:
            try:
                with self._transport.stream(asked, place, _SILENCE) as lines:
                    grace.answered()
                    for message in messages(lines, moved):
                        yield Followed(place=place or "", event=message.json())
            except PASSING as error:
                grace.failed(error)
