"""The ground that a test stands on: a migrated SQLite file of its own, and a process's parts on it."""

import atexit
import os
import shutil
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from models import schema
from models.database import Database
from models.errors import ErrorCode
from orchestrator import registry
from orchestrator.core.outcome import Failed, StepError
from orchestrator.drivers.outbound import GuardedOutbound
from orchestrator.ports import HttpRequest, NodeHandler
from orchestrator.services import workspaces
from orchestrator.services.actors import Actor
from orchestrator.services.deps import Deps
from orchestrator.services.plans import PlanCache
from orchestrator.settings import Settings
from orchestrator.testing import stage
from orchestrator.testing.clock import HandClock
from orchestrator.testing.stage import Cast

NO_BROKER = "amqp://nowhere.invalid"
# No worker is ever lost here, and time passes in leaps.
LEASE_SECONDS = 1e9


@dataclass(slots=True)
class Site:
    """A folder with a database file. It serves one test after another, since statements stay compiled."""

    folder: Path
    database: Database
    clock: HandClock


_lock = threading.Lock()
_template: list[Path] = []
_free: list[Site] = []


def template() -> Path:
    """A migrated, empty database that others are copied from; made once a process, gone with it."""
    with _lock:
        if not _template:
            path = _folder() / "template.db"
            schema.upgrade(f"sqlite:///{path}")
            _template.append(path)
        return _template[0]


def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="orchestrator-testing-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _site(source: Path, clock: HandClock) -> Site:
    """A site that nobody uses, with a copy of the migrated database `source`."""
    with _lock:
        site = _free.pop() if _free else None
    if site is None:
        site = _new_site(clock)
    site.clock = clock
    for left in site.folder.iterdir():
        left.unlink()
    shutil.copyfile(source, site.folder / "test.db")
    return site


def _new_site(clock: HandClock) -> Site:
    folder = _folder()
    sites: list[Site] = []
    database = Database(f"sqlite:///{folder / 'test.db'}", clock=lambda: sites[0].clock.now())
    sites.append(Site(folder, database, clock))
    return sites[0]


class NoWayOut:
    """An `Outbound` that reaches nothing."""

    def send(self, request: HttpRequest) -> Failed:
        message = f"a test sends nothing to {request.url.partition('?')[0]}"
        return Failed(error=StepError.of(ErrorCode.POLICY_DENIED, message))

    def refusal(self, url: str, seconds: float) -> str | None:  # noqa: ARG002 - the port's signature
        return f"a test sends nothing to {url.partition('?')[0]}"

    def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True, kw_only=True)
class StageDeps(Deps):
    """A process's parts whose node types are on the stage."""

    cast: Cast = field(default_factory=Cast)

    @cached_property
    def handlers(self) -> Mapping[str, NodeHandler]:
        return stage.handlers(self.cast, super().handlers)


@dataclass(slots=True, kw_only=True)
class Ground:
    """A site, and `environ` for `{{env.X}}`, until it is left."""

    deps: StageDeps
    actor: Actor
    clock: HandClock
    site: Site
    before: dict[str, str | None]

    def leave(self) -> None:
        """Close all, and leave the site to the next."""
        self.deps.close()
        for name, value in self.before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        with _lock:
            _free.append(self.site)


def prepare(clock: HandClock, environ: Mapping[str, str], source: Path | None = None, **settings: Any) -> Ground:
    """Ground of one's own. source: a migrated database to copy instead of this process's template."""
    site = _site(source or template(), clock)
    folder, database = site.folder, site.database
    before = {name: os.environ.get(name) for name in environ}
    os.environ.update(environ)
    given: dict[str, Any] = {
        "data_dir": folder,
        "secret_key": "of no worth",
        "broker_url": NO_BROKER,
        "database_url": f"sqlite:///{folder / 'test.db'}",
        "env_allow": tuple(environ),
        "lease_seconds": LEASE_SECONDS,
    }
    own = Settings(**given | settings)
    cast = Cast()
    deps = StageDeps(
        settings=own,
        db=database,
        clock=clock,
        types=registry.node_types(),
        plans=PlanCache(),
        outbound=_Way(cast, GuardedOutbound(own.http_allow)),
        process="test",
        cast=cast,
    )
    with database.transaction() as session:
        workspace_id = workspaces.ensure_default(session).id
    actor = Actor(workspace_id=workspace_id, key_id="test", scopes=frozenset({"admin"}), name="test")
    return Ground(deps=deps, actor=actor, clock=clock, site=site, before=before)


class _Way:
    """Out only for what a test allows."""

    def __init__(self, cast: Cast, real: GuardedOutbound) -> None:
        self._cast, self._real, self._shut = cast, real, NoWayOut()

    def send(self, request: HttpRequest) -> Any:
        way: Any = self._real if "http" in self._cast.allowed else self._shut
        return way.send(request)

    def refusal(self, url: str, seconds: float) -> str | None:
        way: Any = self._real if "http" in self._cast.allowed else self._shut
        found: str | None = way.refusal(url, seconds)
        return found

    def close(self) -> None:
        self._real.close()
