"""Settings: the defaults of the specification, and a clear sentence for every bad value."""

import os
import subprocess
import sys
from dataclasses import asdict, fields
from pathlib import Path

import pytest

from models.errors import SettingsError
from orchestrator.settings import PREFIX, Settings, load, secret_key
from tests.support.programs import ROOT, environ

DEFAULTS = {
    "database_url": None,
    "broker_url": None,
    "result_backend": None,
    "data_dir": Path(".orchestrator"),
    "event_bus": None,
    "secret_key": None,
    "url": "http://127.0.0.1:8080",
    "api_key": None,
    "http_allow": (),
    "env_allow": (),
    "llm_base_url": None,
    "llm_api_key": None,
    "llm_model": None,
    "lease_seconds": 10,
    "sweep_seconds": 1,
    "event_retention_hours": 24,
    "run_retention_days": None,
    "max_body_bytes": 1024 * 1024,
    "max_output_bytes": 64 * 1024,
    "max_nodes": 10_000,
    "max_depth": 20,
    "max_call_depth": 25,
    "max_nesting": 64,
    "max_items": 100_000,
    "rate_limit": 6_000,
    "gateway_pool_ttl": 60,
    "gateway_pool_max": 3,
    "gateway_sync_seconds": 30,
    "agent_offline_seconds": 90,
    "sse_max": 1_000,
    "dispatch_window": None,
    "celery_events": False,
    "log_level": "info",
    "log_format": None,
    "clock_speed": 1,
    "clock_start": None,
}
KEY = "0123456789abcdef"
SERVERS = {"DATABASE_URL": "postgresql://u:secret-pw@db/o", "BROKER_URL": "redis://:secret-pw@r/0"}

GOOD = [
    ("DATABASE_URL", "sqlite:////var/lib/o.db", "sqlite:////var/lib/o.db"),
    (
        "BROKER_URL",
        "amqp://a:b@one:5672//;amqp://a:b@two:5672//",
        "amqp://a:b@one:5672//;amqp://a:b@two:5672//",
    ),
    ("EVENT_BUS", "nats://nats:4222/acme", "nats://nats:4222/acme"),
    ("EVENT_BUS", "OFF", "off"),
    ("DATA_DIR", " /srv/data ", Path("/srv/data")),
    ("DATA_DIR", "~/data", Path.home() / "data"),
    ("URL", "https://flows.example.com/", "https://flows.example.com"),
    (
        "HTTP_ALLOW",
        "10.0.0.0/8, CRM.internal:443,[::1]:80,::1",
        ("10.0.0.0/8", "crm.internal:443", "[::1]:80", "::1"),
    ),
    ("ENV_ALLOW", "CRM_KEY, _x ,", ("CRM_KEY", "_x")),
    ("LEASE_SECONDS", "2.5", 2.5),
    ("SWEEP_SECONDS", "0.2", 0.2),
    ("MAX_NODES", "5", 5),
    ("CELERY_EVENTS", "ON", True),
    ("CELERY_EVENTS", "no", False),
    ("LOG_LEVEL", "DEBUG", "debug"),
    ("CLOCK_START", "1767225600", 1767225600),
    ("CLOCK_START", "2026-01-01T00:00:00Z", 1767225600),
    ("CLOCK_START", "2026-01-01T01:00:00+01:00", 1767225600),
    ("RUN_RETENTION_DAYS", "", None),
    ("DATA_DIR", "  ", Path(".orchestrator")),
]
BAD = [
    ("DATABASE_URL", "mysql://db/o", "PostgreSQL and SQLite are supported"),
    ("DATABASE_URL", "postgresql+psycopg://db/o", "write postgresql://"),
    ("DATABASE_URL", "db", "Write postgresql://"),
    ("DATABASE_URL", "sqlite://", "a database of its own; write sqlite:////"),
    ("DATABASE_URL", "sqlite:///:memory:", "a database of its own; write sqlite:////"),
    ("BROKER_URL", "kafka://k", "write a URL that begins with redis://"),
    ("BROKER_URL", "memory://", "write a URL that begins with redis://"),
    ("BROKER_URL", "redis:6379", "write a URL that begins with redis://"),
    ("BROKER_URL", "redis://r:99999/0", "write a URL that begins with redis://"),
    ("BROKER_URL", "redis://[::1/0", "write a URL that begins with redis://"),
    ("RESULT_BACKEND", "cache+memory://", "write a URL that begins with redis://"),
    ("RESULT_BACKEND", "rpc://", "use a Redis URL, or db+postgresql://"),
    ("EVENT_BUS", "kafka://k", "write off, or a URL that begins with redis://"),
    ("EVENT_BUS", "redis:/r", "write off, or a URL"),
    ("SECRET_KEY", "short", "write 16 characters at least"),
    ("URL", "127.0.0.1:8080", "begins with http://, https://"),
    ("URL", "http://", "write a URL with a host"),
    ("LLM_BASE_URL", "ftp://llm", "begins with http://, https://"),
    ("HTTP_ALLOW", "10.0.0.0/33", "write 10.0.0.0/8"),
    ("HTTP_ALLOW", "crm:70000", "write 10.0.0.0/8"),
    ("HTTP_ALLOW", "http://crm", "write 10.0.0.0/8"),
    ("HTTP_ALLOW", "[zz]:80", "write 10.0.0.0/8"),
    ("ENV_ALLOW", "A-B", "write a comma list of names"),
    ("ENV_ALLOW", "ORCHESTRATOR_SECRET_KEY", "which no workflow may read; leave it out"),
    ("LEASE_SECONDS", "nan", "write a number from 1 to 3600"),
    ("LEASE_SECONDS", "1_0", "write a number from 1 to 3600"),
    ("LEASE_SECONDS", "٣", "write a number from 1 to 3600"),
    ("LEASE_SECONDS", "0.5", "write a number from 1 to 3600"),
    ("SWEEP_SECONDS", "0.1", "write a number from 0.2 to 3600"),
    ("SWEEP_SECONDS", "11", "make the sweep shorter than the lease"),
    ("EVENT_RETENTION_HOURS", "-1", "write a number from"),
    ("RUN_RETENTION_DAYS", "forever", "write a number from"),
    ("MAX_NODES", "1.5", "write a whole number from 1"),
    ("MAX_BODY_BYTES", "1MiB", "write a whole number from 1024"),
    ("CELERY_EVENTS", "maybe", "write on or off"),
    ("LOG_LEVEL", "loud", "write one of debug, info, warning, error"),
    ("LOG_FORMAT", "xml", "write one of text, json"),
    ("CLOCK_SPEED", "inf", "write a number from 1"),
    ("CLOCK_START", "2026-01-01", "write seconds since 1970, or an RFC 3339 time"),
    ("CLOCK_START", "-5", "write seconds since 1970, or an RFC 3339 time"),
    ("LEASE_SECOND", "5", "did you mean ORCHESTRATOR_LEASE_SECONDS?"),
    ("COLOUR", "red", "is no setting; docs/operations.md has all names"),
]  # fmt: skip


def given(**values: str) -> Settings:
    return load({PREFIX + name: value for name, value in values.items()})


def test_defaults() -> None:
    assert asdict(load({})) == DEFAULTS


@pytest.mark.parametrize(("name", "text", "value"), GOOD)
def test_good_values(name: str, text: str, value: object) -> None:
    assert getattr(given(**{name: text}), name.lower()) == value


@pytest.mark.parametrize(("name", "text", "remedy"), BAD)
def test_bad_values_are_refused_with_a_remedy(name: str, text: str, remedy: str) -> None:
    with pytest.raises(SettingsError) as caught:
        given(**{name: text})
    message = str(caught.value)
    assert message.startswith(PREFIX + name)
    assert remedy in message
    secret = name in ("DATABASE_URL", "BROKER_URL", "RESULT_BACKEND", "EVENT_BUS", "SECRET_KEY")
    assert secret or name in ("LEASE_SECOND", "COLOUR") or text in message or repr(text) in message


@pytest.mark.parametrize("name", ["DATABASE_URL", "BROKER_URL", "RESULT_BACKEND", "EVENT_BUS", "SECRET_KEY"])
def test_a_refused_secret_is_not_shown(name: str) -> None:
    with pytest.raises(SettingsError, match="hidden") as caught:
        given(**{name: "x:hunter2:y"[:12]})
    assert "hunter2" not in str(caught.value)


def test_names_without_the_prefix_are_others() -> None:
    assert load({"LEASE_SECONDS": "nonsense", "PATH": "/bin"}) == Settings()


def test_a_shared_deployment_needs_a_secret_key() -> None:
    with pytest.raises(SettingsError, match=r"ORCHESTRATOR_SECRET_KEY is required.*python -c"):
        given(**SERVERS)
    assert given(**SERVERS, SECRET_KEY=KEY).secret_key == KEY
    assert given(DATABASE_URL=SERVERS["DATABASE_URL"]).embedded


def test_secrets_are_not_in_the_representation() -> None:
    found = repr(given(**SERVERS, SECRET_KEY=KEY, API_KEY="secret-pw", LLM_API_KEY="secret-pw"))
    assert "secret-pw" not in found
    assert KEY not in found
    assert "lease_seconds=10.0" in found


@pytest.mark.parametrize(
    ("broker", "results", "expected"),
    [
        ("redis://r/0", None, "redis://r/0"),
        ("amqp://a", None, None),
        ("amqp://a", "db+postgresql://db/o", "db+postgresql+psycopg2://db/o"),
        ("amqp://a", "redis://r/1", "redis://r/1"),
    ],
)
def test_result_backend(broker: str, results: str | None, expected: str | None) -> None:
    settings = Settings(broker_url=broker, result_backend=results)
    assert settings.results == expected
    assert settings.joins_natively == (expected is not None and expected.startswith("redis"))


def test_embedded_parts_lie_in_the_data_directory(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    assert settings.database == f"sqlite:///{tmp_path}/orchestrator.db"
    assert settings.broker.startswith("redis+socket:///")
    assert settings.results is not None
    assert settings.results.endswith("?virtual_host=1")


def test_a_long_data_directory_gets_a_socket_that_fits(tmp_path: Path) -> None:
    assert len(str(Settings(data_dir=tmp_path / ("d" * 120)).embedded_socket)) < 100


def test_the_secret_key_is_made_once(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "new")
    program = (
        "import pathlib, sys; from orchestrator.settings import Settings, secret_key;"
        "print(secret_key(Settings(data_dir=pathlib.Path(sys.argv[1]))))"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(settings.data_dir)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    found = {process.communicate()[0].strip() for process in started}
    assert found == {secret_key(settings)}
    assert os.listdir(settings.data_dir) == ["secret.key"]
    assert (settings.data_dir / "secret.key").stat().st_mode & 0o777 == 0o600


def test_a_set_secret_key_is_taken(tmp_path: Path) -> None:
    assert secret_key(Settings(secret_key=KEY, data_dir=tmp_path / "none")) == KEY
    assert not (tmp_path / "none").exists()


def test_every_setting_can_be_given() -> None:
    settings = Settings(http_allow=("a", "b"), clock_start=5.0, secret_key=KEY, max_items=7)
    assert load(environ(settings)) == settings
    for field in fields(Settings):
        with pytest.raises(SettingsError, match=f"{PREFIX}{field.name.upper()}X is no setting"):
            given(**{field.name.upper() + "X": "1"})
        assert given(**{field.name.upper(): ""}) == Settings()


@pytest.mark.parametrize(
    ("broker", "results", "own", "bus"),
    [
        ("redis://b/0", "redis://r/1", None, "redis://r/1"),
        ("redis://b/0;redis://c/0", None, None, "redis://b/0"),
        ("redis://b/0", "db+postgresql://d/o", None, "redis://b/0"),
        ("amqp://q", "rediss://r/1", None, "rediss://r/1"),
        ("amqp://q", None, None, "memory://"),
        ("redis://b/0", None, "amqp://q", "amqp://q"),
        ("redis://b/0", None, "off", None),
    ],
)
def test_the_event_bus_is_the_redis_that_is_there(
    broker: str, results: str | None, own: str | None, bus: str | None
) -> None:
    assert Settings(broker_url=broker, result_backend=results, event_bus=own).bus == bus


def test_the_embedded_event_bus_is_the_embedded_redis() -> None:
    assert Settings().bus == Settings().results
