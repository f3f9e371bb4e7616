"""Every setting, typed, read once from the environment, refused with one clear sentence when wrong.

Source: spec "running", the table of settings. Environment names carry the prefix `ORCHESTRATOR_`.
"""

import hashlib
import os
import re
import secrets
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from models.errors import SettingsError
from orchestrator import setting_values as values

PREFIX = "ORCHESTRATOR_"
# SQLAlchemy 2.1 would look for psycopg 3 behind the plain name.
_PSYCOPG2 = re.compile(r"^db\+postgres(ql)?:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One process's settings. Durations in seconds, sizes in bytes. None of a URL: the embedded part.

    What may hold a password is left out of its representation.
    """

    database_url: str | None = field(default=None, repr=False)
    broker_url: str | None = field(default=None, repr=False)
    result_backend: str | None = field(default=None, repr=False)
    event_bus: str | None = field(default=None, repr=False)
    data_dir: Path = Path(".orchestrator")
    secret_key: str | None = field(default=None, repr=False)
    url: str = "http://127.0.0.1:8080"
    api_key: str | None = field(default=None, repr=False)
    http_allow: tuple[str, ...] = ()
    env_allow: tuple[str, ...] = ()
    llm_base_url: str | None = None
    llm_api_key: str | None = field(default=None, repr=False)
    llm_model: str | None = None
    lease_seconds: float = 10.0
    sweep_seconds: float = 1.0
    event_retention_hours: float = 24.0
    run_retention_days: float | None = None
    max_body_bytes: int = 1 << 20
    max_output_bytes: int = 64 << 10
    max_nodes: int = 10_000
    max_depth: int = 20
    max_call_depth: int = 25
    max_nesting: int = 64
    max_items: int = 100_000
    rate_limit: int = 6_000
    gateway_pool_ttl: float = 60.0
    gateway_pool_max: int = 3
    gateway_sync_seconds: float = 30.0
    agent_offline_seconds: float = 90.0
    sse_max: int = 1_000
    dispatch_window: int | None = None
    celery_events: bool = False
    log_level: str = "info"
    log_format: str | None = None
    clock_speed: float = 1.0
    clock_start: float | None = None

    @property
    def embedded(self) -> bool:
        """True when database or broker is the embedded one."""
        return self.database_url is None or self.broker_url is None

    @property
    def database(self) -> str:
        """The database's URL, the embedded one's where none is set."""
        return self.database_url or f"sqlite:///{self.data_dir.absolute() / 'orchestrator.db'}"

    @property
    def broker(self) -> str:
        """Celery's broker URL, the embedded one's where none is set."""
        return self.broker_url or self._embedded_redis(0)

    @property
    def results(self) -> str | None:
        """Celery's result backend; beside a Redis broker the same server is taken, beside another none."""
        if self.result_backend is not None:
            return _PSYCOPG2.sub("db+postgresql+psycopg2:", self.result_backend)
        if self.broker_url is None:
            return self._embedded_redis(1)
        return self.broker_url if self.broker_url.startswith("redis") else None

    @property
    def bus(self) -> str | None:
        """The event bus's URL: the set one, else the Redis that results or messages go through, else this process's
        memory. None where it is off.
        """
        if self.event_bus is not None:
            return None if self.event_bus == "off" else self.event_bus
        known = [(url or "").split(";")[0] for url in (self.results, self.broker)]
        return next((url for url in known if url.startswith("redis")), "memory://")

    @property
    def embedded_socket(self) -> Path:
        """The embedded broker's unix socket: in the data directory, unless that name is too long for a socket's
        address (about 107 bytes) or would need quoting in a URL; then in a directory of its own under /tmp.
        """
        data_dir = self.data_dir.absolute()
        path = data_dir / "valkey" / "valkey.sock"
        if re.fullmatch(r"[A-Za-z0-9/._-]{1,100}", str(path)):
            return path
        name = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
        return Path(f"/tmp/orchestrator-{os.getuid()}-{name}/valkey.sock")  # noqa: S108 - owner is checked

    @property
    def joins_natively(self) -> bool:
        """Whether the result backend counts a chord's members itself, so that fan-in may use one."""
        return (self.results or "").startswith("redis")

    @property
    def shares_results(self) -> bool:
        """Whether workers of other applications can put results where we read them."""
        return (self.results or "").startswith(("redis", "db+"))

    def _embedded_redis(self, number: int) -> str:
        return f"redis+socket://{self.embedded_socket}?virtual_host={number}"


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of an environment. Raises SettingsError naming the setting, its value and the remedy."""
    given = {
        name.removeprefix(PREFIX): value
        for name, value in (os.environ if environ is None else environ).items()
        if name.startswith(PREFIX) and name not in _OURS
    }
    parsed: dict[str, Any] = {}
    for name, text in given.items():
        parse = _PARSERS.get(name)
        if parse is None:
            raise SettingsError(f"{PREFIX}{name} is no setting; {_nearest(name)}")
        if not text.strip():
            continue
        try:
            parsed[name.lower()] = parse(text.strip())
        except ValueError as error:
            shown = "(hidden)" if name in _SECRET else repr(text)
            raise SettingsError(f"{PREFIX}{name}={shown} is not allowed: {error}") from error
    settings = Settings(**parsed)
    _check(settings)
    return settings


def secret_key(settings: Settings) -> str:
    """The key that signs and encrypts: the set one, else the one made once in the data directory."""
    if settings.secret_key is not None:
        return settings.secret_key
    path = settings.data_dir / "secret.key"
    if not path.exists():
        _make_once(path, secrets.token_urlsafe(32))
    return path.read_text()


def _make_once(path: Path, text: str) -> None:
    # Linked under its name only when it is whole: a process that starts with us never reads half a key.
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, draft = tempfile.mkstemp(dir=path.parent)  # mode 0600
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        os.link(draft, path)
    except FileExistsError:
        pass  # another process was first; its key stands
    finally:
        os.unlink(draft)


def _nearest(name: str) -> str:
    found = get_close_matches(name, _PARSERS, n=1)
    meant = f"did you mean {PREFIX}{found[0]}? " if found else ""
    return f"{meant}docs/operations.md has all names"


def _check(settings: Settings) -> None:
    if not settings.embedded and settings.secret_key is None:
        raise SettingsError(
            f"{PREFIX}SECRET_KEY is required when database and broker are set; "
            "make one with: python -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
    if settings.result_backend is not None and settings.result_backend.startswith("rpc"):
        raise SettingsError(
            f"{PREFIX}RESULT_BACKEND=rpc:// cannot join chords; use a Redis URL, or db+postgresql://…"
        )
    if settings.sweep_seconds > settings.lease_seconds:
        raise SettingsError(
            f"{PREFIX}SWEEP_SECONDS={settings.sweep_seconds:g} is above "
            f"{PREFIX}LEASE_SECONDS={settings.lease_seconds:g}: a lost worker would be noticed late; "
            "make the sweep shorter than the lease"
        )


_BROKERS = ("redis", "rediss", "redis+socket", "amqp", "amqps", "pyamqp")
_RESULTS = ("redis", "rediss", "redis+socket", "db+postgresql", "db+postgresql+psycopg2", "db+sqlite", "rpc")
_BUSES = ("redis", "rediss", "redis+socket", "nats", "amqp", "amqps", "memory")
_PARSERS: dict[str, Callable[[str], Any]] = {
    "DATABASE_URL": values.database,
    "BROKER_URL": values.server(*_BROKERS),
    "RESULT_BACKEND": values.server(*_RESULTS),
    "EVENT_BUS": values.bus(*_BUSES),
    "DATA_DIR": values.directory,
    "SECRET_KEY": values.secret,
    "URL": values.web,
    "API_KEY": values.text_,
    "HTTP_ALLOW": values.allow,
    "ENV_ALLOW": values.names,
    "LLM_BASE_URL": values.web,
    "LLM_API_KEY": values.text_,
    "LLM_MODEL": values.text_,
    "LEASE_SECONDS": values.number(1, 3600),
    "SWEEP_SECONDS": values.number(0.2, 3600),
    "EVENT_RETENTION_HOURS": values.number(0.01),
    "RUN_RETENTION_DAYS": values.number(0.001),
    "MAX_BODY_BYTES": values.integer(1024),
    "MAX_OUTPUT_BYTES": values.integer(256),
    "MAX_NODES": values.integer(1, 1_000_000),
    "MAX_DEPTH": values.integer(1, 100),
    "MAX_CALL_DEPTH": values.integer(1, 1000),
    "MAX_NESTING": values.integer(8, 200),
    "MAX_ITEMS": values.integer(1),
    "RATE_LIMIT": values.integer(1),
    "GATEWAY_POOL_TTL": values.number(1),
    "GATEWAY_POOL_MAX": values.integer(1, 1000),
    "GATEWAY_SYNC_SECONDS": values.number(0.1),
    "AGENT_OFFLINE_SECONDS": values.number(1),
    "SSE_MAX": values.integer(1, 100_000),
    "DISPATCH_WINDOW": values.integer(1),
    "CELERY_EVENTS": values.boolean,
    "LOG_LEVEL": values.choice("debug", "info", "warning", "error"),
    "LOG_FORMAT": values.choice("text", "json"),
    "CLOCK_SPEED": values.number(1, 10_000_000),
    "CLOCK_START": values.instant,
}
_SECRET = frozenset(
    {"DATABASE_URL", "BROKER_URL", "RESULT_BACKEND", "EVENT_BUS", "SECRET_KEY", "API_KEY", "LLM_API_KEY"}
)
# Set by the project's own programs and tests, not settings of a deployment.
_OURS = frozenset({PREFIX + "CRASH_AT"})
