"""What this process's API is built of, kept in `app.extensions`."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from flask import current_app

from api.auth import KeyRing, RateLimit
from api.hub import Hub
from api.metrics import Metrics
from api.places import Places
from orchestrator.core.effects import Effect
from orchestrator.services import feeds, health, keys, watching
from orchestrator.services.deps import Deps
from orchestrator.services.feeds import Head
from orchestrator.services.watching import Picked, Place, ToldPage

EXTENSION = "orchestrator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """The process's parts and what the API keeps in memory; none of it is needed by another process."""

    deps: Deps
    keys: KeyRing
    rate: RateLimit
    hub: Hub
    places: Places
    metrics: Metrics
    send: Callable[[Sequence[Effect]], None]
    broker_answers: Callable[[], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Feeds:
    deps: Deps

    def heads(self, run_ids: Collection[str]) -> dict[str, Head]:
        return feeds.heads(self.deps, run_ids)

    def events(self, run_id: str, *, after: int, upto: int, limit: int) -> list[dict[str, Any]]:
        return feeds.events(self.deps, run_id, after=after, upto=upto, limit=limit)

    def fresh(self, spans: Mapping[str, tuple[int, int]], limit: int) -> list[dict[str, Any]]:
        return feeds.fresh(self.deps, spans, limit)

    def journal_end(self) -> Place:
        return watching.end(self.deps)

    def journal(self, after: Place, limit: int, picked: Picked | None = None) -> ToldPage:
        return watching.after(self.deps, after, limit, picked)

    def chunks(self, run_ids: Collection[str], *, after: int, limit: int) -> list[tuple[int, dict[str, Any]]]:
        return feeds.chunks(self.deps, run_ids, after=after, limit=limit)

    def last_chunk(self) -> int:
        return feeds.last_chunk(self.deps)


def build(
    deps: Deps, send: Callable[[Sequence[Effect]], None], broker_answers: Callable[[], bool]
) -> Runtime:
    """The API's parts over a process's; `send` publishes effects after a commit."""
    places = Places(deps.settings.sse_max)
    return Runtime(
        deps=deps,
        keys=KeyRing(partial(keys.authenticate, deps)),
        rate=RateLimit(deps.settings.rate_limit),
        hub=Hub(_Feeds(deps=deps)),
        places=places,
        metrics=Metrics(partial(health.measure, deps), lambda: places.taken),
        send=send,
        broker_answers=broker_answers,
    )


def current() -> Runtime:
    """The runtime of the app that serves this request."""
    runtime: Runtime = current_app.extensions[EXTENSION]
    return runtime
