"""A webhook leads to no place that is not public: not when it is made, and not at any attempt. A trap counts."""

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import text

from models.database import Database
from models.errors import InvalidError
from orchestrator.services import vault, webhook_secrets
from tests.support import engine as engines
from tests.support.hooked import Hooked, hooked
from tests.support.receiver import Receiver
from tests.support.soundness import assert_sound

PLACES = [
    # loopback by any spelling
    "127.0.0.1", "localhost", "127.1", "127.0.1", "2130706433", "0x7f000001", "0177.0.0.1", "0x7f.1", "017700000001",
    "127.0.0.1.", "LOCALHOST", "0", "0.0.0.0", "127.255.255.254",
    # IPv6: loopback, mapped, compatible, NAT64, 6to4, ISATAP, Teredo, link-local, unique local
    "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
    "[2a00:1450::5efe:7f00:1]", "[2001:0:7f00:1::]", "[fe80::1]", "[fd00:ec2::254]",
    # metadata, private, carrier NAT, documentation, multicast, broadcast
    "169.254.169.254", "[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]", "100.100.100.200", "168.63.129.16",
    "192.0.0.192", "10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "192.0.2.1", "224.0.0.1", "255.255.255.255",
]  # fmt: skip
URLS = [
    "http://good\\@127.0.0.1:{port}/", "http://user:pw@127.0.0.1:{port}/", "file:///etc/passwd",
    "gopher://127.0.0.1:{port}/", "http://127.0.0.1:{port}\r\nHost: x/", "//127.0.0.1:{port}/", "http://[::1/", "",
]  # fmt: skip


@pytest.fixture
def database_kind() -> str:
    return "sqlite"


@pytest.fixture(autouse=True)
def sound(database: Database) -> Iterator[None]:
    """No test leaves an invariant broken."""
    yield
    assert_sound(engines.make(database).deps)


def test_the_list_is_long_enough() -> None:
    assert len(PLACES) >= 30


@pytest.mark.parametrize("place", PLACES)
def test_it_is_refused_when_it_is_made(database: Database, receiver: Receiver, place: str) -> None:
    found = hooked(database, allow=())
    with pytest.raises(InvalidError) as caught:
        found.webhook(f"http://{place}:{receiver.port}/")
    assert [problem.pointer for problem in caught.value.problems] == ["/url"]
    assert receiver.received == []


@pytest.mark.parametrize("url", URLS)
def test_odd_urls_are_refused(database: Database, receiver: Receiver, url: str) -> None:
    found = hooked(database, allow=())
    with pytest.raises(InvalidError):
        found.webhook(url.replace("{port}", str(receiver.port)))
    webhook = hooked(database).webhook(receiver.url())
    with pytest.raises(InvalidError):
        found.change(webhook, url=url.replace("{port}", str(receiver.port)))
    assert receiver.received == []


@pytest.mark.parametrize("place", PLACES)
def test_it_is_refused_at_the_attempt_too(database: Database, receiver: Receiver, place: str) -> None:
    """As if it had been public when it was made."""
    found = hooked(database, allow=())
    _made(found, f"http://{place}:{receiver.port}/")
    found.ours.run("w")
    found.pump()
    (delivery,) = found.deliveries("pending")
    (attempt,) = delivery["attempts"]
    assert attempt["error"]["code"] in ("POLICY_DENIED", "NETWORK", "VALIDATION")
    assert attempt["response"] is None
    assert receiver.received == []


def test_a_name_that_is_bound_to_another_address_later(
    database: Database, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    led_to = ["93.184.216.34"]

    def resolve(_host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in led_to]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    found = hooked(database, allow=())
    webhook = found.webhook(f"http://rebound.example:{receiver.port}/")
    for answers in (["127.0.0.1"], ["93.184.216.34", "127.0.0.1"], ["169.254.169.254"]):
        led_to[:] = answers
        found.ours.run("w")
        found.pump()
    assert found.get(webhook)["failures"] >= 3
    assert {each["attempts"][0]["error"]["code"] for each in found.deliveries()} == {"POLICY_DENIED"}
    assert receiver.received == []


def test_a_redirect_is_not_followed(database: Database, receivers: Callable[[], Receiver]) -> None:
    front, trap = receivers(), receivers()
    front.answer(307, headers={"Location": trap.url()})
    found = hooked(database, allow=(f"127.0.0.1:{front.port}",))
    found.webhook(front.url())
    found.ours.run("w")
    found.pump()
    assert len(front.received) == 1
    assert trap.received == []
    assert found.deliveries()[0]["attempts"][0]["response"]["status"] == 307


def _made(found: Hooked, url: str) -> None:
    """A webhook whose url the guard has not seen."""
    secret = vault.seal(found.ours.deps.settings, webhook_secrets.new())
    values = {"id": _ID, "workspace_id": found.ours.actor.workspace_id, "url": url, "secret": secret}
    with found.ours.deps.db.transaction() as session:
        session.execute(text(_INSERT), values)


_ID = "018f0000-0000-7000-8000-000000000009"
_INSERT = (
    "INSERT INTO webhook (id, workspace_id, url, events, description, secret, enabled, enabled_at, created_at,"
    " updated_at) VALUES (:id, :workspace_id, :url, '[\"run.completed\"]', '', :secret, 1, 0, 0, 0)"
)
