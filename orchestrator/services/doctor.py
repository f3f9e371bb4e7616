"""What is configured and what of it answers: each part asked by itself, none trusted to speak for another."""

import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import redis
from sqlalchemy.exc import SQLAlchemyError

from models import schema
from models.database import parse_url
from models.errors import OrchestratorError
from models.gateway import Gateway
from models.queries import gateways
from models.states import GatewayStatus
from orchestrator import registry
from orchestrator.bus import BusParts
from orchestrator.drivers import redis_client
from orchestrator.services import deps as parts
from orchestrator.services import health
from orchestrator.services.deps import Deps
from orchestrator.settings import Settings

_SECONDS = 3.0
_MOST_GATEWAYS = 100
_ALIVE = {"workers": "start one with: orchestrator worker", "beat": "start it with: orchestrator beat"}
_PORTS = {"amqp": 5672, "pyamqp": 5672, "amqps": 5671}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One part: whether it is well, and what was found or what to do."""

    name: str
    ok: bool
    detail: str


def examine(settings: Settings) -> Iterator[Check]:
    """Check database, broker, result backend, bus, workers and beat, one after the other; never raises for a part."""
    database = _checked("database", lambda: _database(settings))
    yield database
    yield _checked("broker", lambda: reach(settings.broker))
    yield _checked("result_backend", lambda: reach(settings.results or ""))
    yield foreign_results(settings)
    yield _checked("event_bus", lambda: _bus(settings))
    if database.ok:
        yield from _alive(settings)


def fan_in(settings: Settings) -> str:
    """How slow members of one join are sent: `chord` where the result backend joins natively, else `group`."""
    return "chord" if settings.joins_natively else "group"


def foreign_results(settings: Settings) -> Check:
    """Whether workers of other applications can put results where `celery` nodes read them."""
    shown = hidden(settings.results)
    detail = f"to be set in other applications: {shown}"
    if not settings.shares_results:
        detail = (
            "none is shared, so celery nodes fail; for them set ORCHESTRATOR_RESULT_BACKEND to a Redis URL"
        )
    elif (settings.results or "").startswith("db+"):
        detail += "; it holds pickles: whoever writes there runs code here, Redis is safer"
    return Check(name="foreign_results", ok=True, detail=detail)


def hidden(url: str | None) -> str | None:
    """A URL without its password."""
    if url is None:
        return None
    bare = re.sub(r"(?<=://)([^:/@]*):[^@]*(?=@)", r"\1:***", url)
    return re.sub(r"(?<=password=)[^&]*", "***", bare)


def reach(url: str) -> str:
    """What answered at a broker's or result backend's URL. Raises OSError, redis.RedisError, SQLAlchemyError."""
    scheme = urlsplit(url).scheme
    if scheme.startswith("redis"):
        return _redis(url)
    if scheme in _PORTS:
        found = urlsplit(url)
        socket.create_connection(
            (found.hostname or "localhost", found.port or _PORTS[scheme]), _SECONDS
        ).close()
        return "takes connections"
    if scheme.startswith("db+"):
        return f"tables of {hidden(url)}"
    return (
        "none is set: joins are carried on by the last completion" if url == "" else "in this process alone"
    )


def _redis(url: str) -> str:
    client: Any = redis_client.connect(url, timeout=_SECONDS)
    with client:
        server = client.info("server")
        memory = client.info("memory")
    version = server.get("valkey_version") or server["redis_version"]
    policy = memory.get("maxmemory_policy", "unknown")
    lossy = "" if policy == "noeviction" else f"; maxmemory-policy {policy} loses messages: set noeviction"
    return f"{server.get('server_name', 'redis')} {version}{lossy}"


def _bus(settings: Settings) -> str:
    if settings.bus is None:
        return "off"
    bus = registry.make_bus(BusParts(settings=settings, url=settings.bus))
    try:
        return bus.ping()
    finally:
        bus.close()


def _database(settings: Settings) -> str:
    url = parse_url(settings.database)
    if url.drivername == "sqlite" and url.database and not Path(url.database).exists():
        raise OrchestratorError(f"{url.database} is not made yet; run: orchestrator up")
    at, newest = schema.current(settings.database), schema.head()
    if at != newest:
        raise OrchestratorError(
            f"at revision {at or 'none'}, this release needs {newest}; run: orchestrator db upgrade"
        )
    return f"{url.get_backend_name()}, revision {at}"


def _alive(settings: Settings) -> Iterator[Check]:
    deps = parts.build(settings, pool_size=1)
    try:
        missing = health.missing(deps)
        reached = _gateways(deps)
    finally:
        deps.close()
    for name, remedy in _ALIVE.items():
        here = name not in missing
        yield Check(name=name, ok=here, detail="seen in the last sweeps" if here else f"not seen; {remedy}")
    yield from reached


def _gateways(deps: Deps) -> list[Check]:
    """The gateways of all workspaces as the sweeps found them; one that was not asked yet may well be well."""
    with deps.db.read() as session:
        found = gateways.everywhere(session, _MOST_GATEWAYS)
    return [_gateway(workspace, row) for workspace, row in found]


def _gateway(workspace: str, row: Gateway) -> Check:
    well = row.status != GatewayStatus.UNHEALTHY
    at = "" if row.url is None else f" at {hidden(row.url)}"
    why = "" if well or row.error is None else f": {row.error}"
    return Check(name=f"gateway {workspace}/{row.name}", ok=well, detail=f"{row.kind}{at}, {row.status}{why}")


def _checked(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name=name, ok=True, detail=look())
    except (OSError, redis.RedisError, SQLAlchemyError, OrchestratorError) as error:
        first = str(error).strip().splitlines()
        return Check(name=name, ok=False, detail=first[0] if first else type(error).__name__)
