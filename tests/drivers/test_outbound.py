"""Outbound HTTP: which places are refused, and that one deadline and one limit hold. Spec "reliability" §4."""

import http.server
import ipaddress
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from models.errors import ErrorCode
from orchestrator.core.outcome import Cancelled, Failed
from orchestrator.drivers.addresses import DeniedError, Guard, public, real
from orchestrator.drivers.outbound import GuardedOutbound
from orchestrator.ports import HttpRequest, HttpResponse

Answer = HttpResponse | Failed | Cancelled


class Trap(http.server.BaseHTTPRequestHandler):
    """Counts who comes; answers by path."""

    protocol_version = "HTTP/1.1"
    hits: list[tuple[str, str, dict[str, str]]]

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        self.hits.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
        body = self.rfile.read(length)
        if self.path == "/redirect":
            self.send_response(302)
            self.send_header("Location", "http://169.254.169.254/")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        content = b"x" * 100_000 if self.path == "/long" else body or b"hello"
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(content)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def trap() -> Iterator[Callable[..., Any]]:
    """A server on every loopback address; `.hits` lists the requests."""
    handler = type("OwnTrap", (Trap,), {"hits": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    server.hits = handler.hits  # type: ignore[attr-defined]
    yield server  # type: ignore[misc]
    server.shutdown()
    server.server_close()
    thread.join()


def send(outbound: GuardedOutbound, url: str, *, seconds: float = 5.0, **changes: Any) -> Answer:
    given: dict[str, Any] = {
        "method": "GET",
        "url": url,
        "headers": {},
        "body": None,
        "deadline": time.monotonic() + seconds,
        "cancelled": threading.Event(),
        "max_bytes": 65_536,
    }
    return outbound.send(HttpRequest(**given | changes))


def code(answer: Answer) -> ErrorCode:
    assert isinstance(answer, Failed), answer
    return answer.error.code


REFUSED_ADDRESSES = [
    # this network, private, carrier NAT, loopback, link-local
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200", "127.0.0.1",
    "127.255.255.254", "169.254.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    # protocol assignments, a cloud's metadata among them, documentation, relays, benchmarks
    "192.0.0.1", "192.0.0.192", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.19.255.255", "198.51.100.1",
    "203.0.113.1", "168.63.129.16",
    # multicast, reserved, broadcast
    "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    # IPv6: unspecified, loopback, compatible, mapped, NAT64, local NAT64
    "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::10.0.0.1", "64:ff9b:1::1",
    # 6to4, Teredo, ORCHID, benchmarks, documentation, discard, segment routing, 6bone
    "2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:0808:0808::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:10::1", "2001:20::1", "2001:2::1", "2001:db8::1", "100::1", "5f00::1", "3fff::1", "3ffe::1",
    # unique local (a metadata service among them), link-local, site-local, multicast, ISATAP
    "fc00::1", "fd00:ec2::254", "fdff::1", "fe80::1", "fe80::1%1", "fec0::1", "ff02::1", "ff0e::1",
    "2a00:1450::5efe:127.0.0.1", "2a00:1450::200:5efe:10.0.0.1",
]  # fmt: skip
PUBLIC_ADDRESSES = [
    "1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "192.169.0.1", "223.255.255.255",
    "2606:4700:4700::1111", "2a00:1450:4001:81b::200e", "::ffff:8.8.8.8", "64:ff9b::808:808",
]  # fmt: skip


@pytest.mark.parametrize("address", REFUSED_ADDRESSES)
def test_addresses_that_are_not_public_are_refused(address: str) -> None:
    with pytest.raises(DeniedError, match="ORCHESTRATOR_HTTP_ALLOW"):
        Guard([]).check("name.example", 80, [address])
    with pytest.raises(DeniedError):
        Guard([]).check("name.example", 80, ["1.1.1.1", address])


@pytest.mark.parametrize("address", PUBLIC_ADDRESSES)
def test_public_addresses_pass(address: str) -> None:
    Guard([]).check("name.example", 80, [address])


def test_no_address_of_a_refused_block_is_public() -> None:
    for block in ("10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "192.168.0.0/16", "224.0.0.0/3", "fc00::/7"):
        network = ipaddress.ip_network(block)
        step = max(1, network.num_addresses // 997)
        for offset in range(0, network.num_addresses, step):
            assert not public(network[offset])


def test_packets_to_a_mapped_or_nat64_address_go_to_the_ipv4_one() -> None:
    for text in ("::ffff:1.2.3.4", "64:ff9b::102:304"):
        assert str(real(ipaddress.ip_address(text))) == "1.2.3.4"


@pytest.mark.parametrize(
    ("allow", "host", "port", "address", "passes"),
    [
        ("crm.internal", "crm.internal", 80, "10.0.0.5", True),
        ("crm.internal", "CRM.internal.", 8080, "10.0.0.5", True),
        ("crm.internal", "other.internal", 80, "10.0.0.5", False),
        ("crm.internal:8080", "crm.internal", 8080, "10.0.0.5", True),
        ("crm.internal:8080", "crm.internal", 80, "10.0.0.5", False),
        ("127.0.0.1:9000", "localhost", 9000, "127.0.0.1", True),
        ("127.0.0.1:9000", "localhost", 9001, "127.0.0.1", False),
        ("127.0.0.1", "localhost", 1, "127.0.0.1", True),
        ("10.0.0.0/8", "x", 80, "10.9.9.9", True),
        ("10.0.0.0/8", "x", 80, "::ffff:10.9.9.9", True),
        ("10.0.0.0/8", "x", 80, "64:ff9b::10.9.9.9", True),
        ("10.0.0.0/8", "x", 80, "11.0.0.1", True),
        ("10.0.0.0/8", "x", 80, "192.168.0.1", False),
        ("fd00::/8", "x", 80, "fd12::1", True),
        ("fd00::/8", "x", 80, "fe80::1", False),
        ("[::1]:80", "x", 80, "::1", True),
        ("[::1]:80", "x", 81, "::1", False),
        ("::1", "x", 81, "::1", True),
    ],
)
def test_an_operator_allows_hosts_ports_and_networks(
    allow: str, host: str, port: int, address: str, passes: bool
) -> None:
    guard = Guard([allow])
    if passes:
        guard.check(host, port, [address])
    else:
        with pytest.raises(DeniedError):
            guard.check(host, port, [address])


SPELLINGS = [
    "127.0.0.1", "localhost", "127.1", "127.0.1", "2130706433", "0x7f000001", "0177.0.0.1", "0x7f.1", "017700000001",
    "127.0.0.1.", "LOCALHOST", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "0", "0.0.0.0", "①②⑦.⓪.⓪.①", "127。0。0。1",
]  # fmt: skip


@pytest.mark.parametrize("host", SPELLINGS)
def test_loopback_by_any_spelling_is_never_reached(trap: Any, host: str) -> None:
    answer = send(GuardedOutbound(), f"http://{host}:{trap.server_port}/")
    assert code(answer) in (ErrorCode.POLICY_DENIED, ErrorCode.NETWORK, ErrorCode.VALIDATION)
    assert trap.hits == []


@pytest.mark.parametrize(
    "url",
    [
        "http://good\\@127.0.0.1:{port}/",
        "http://user:pw@127.0.0.1:{port}/",
        "http://127.0.0.1:{port}\r\nHost: x/",
        "http:///127.0.0.1:{port}",
        "file:///etc/passwd",
        "gopher://127.0.0.1:{port}/",
        "//127.0.0.1:{port}/",
        "http://[::1/",
        "http://127.0.0.1:{port}x/",
        "http://127.0.0.1:99999/",
        "",
    ],
)
def test_urls_that_could_be_read_two_ways_are_refused(trap: Any, url: str) -> None:
    answer = send(GuardedOutbound(["127.0.0.1"]), url.replace("{port}", str(trap.server_port)))
    assert code(answer) is ErrorCode.VALIDATION
    assert trap.hits == []


def test_a_refusal_is_not_transient_and_names_the_remedy(trap: Any) -> None:
    answer = send(GuardedOutbound(), f"http://localhost:{trap.server_port}/secret?token=abc")
    assert isinstance(answer, Failed)
    assert answer.error.code is ErrorCode.POLICY_DENIED
    assert answer.error.transient is False
    assert f"ORCHESTRATOR_HTTP_ALLOW=localhost:{trap.server_port}" in answer.error.message
    assert "abc" not in answer.error.message


def test_an_allowed_place_is_reached_under_its_name(trap: Any) -> None:
    port = trap.server_port
    answer = send(
        GuardedOutbound([f"localhost:{port}"]), f"http://LocalHost:{port}/a?b=c#d", method="POST", body=b"hi"
    )
    assert isinstance(answer, HttpResponse)
    assert (answer.status, answer.body, answer.cut) == (200, b"hi", False)
    method, path, headers = trap.hits[0]
    assert (method, path) == ("POST", "/a?b=c")
    assert headers["host"] == f"localhost:{port}"


def test_no_redirect_is_followed(trap: Any) -> None:
    answer = send(GuardedOutbound(["127.0.0.0/8"]), f"http://127.0.0.1:{trap.server_port}/redirect")
    assert isinstance(answer, HttpResponse)
    assert answer.status == 302
    assert len(trap.hits) == 1


def test_proxies_of_the_environment_are_not_used(trap: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    answer = send(GuardedOutbound(["127.0.0.1"]), f"http://127.0.0.1:{trap.server_port}/")
    assert isinstance(answer, HttpResponse)


def test_a_long_answer_is_cut(trap: Any) -> None:
    answer = send(GuardedOutbound(["127.0.0.1"]), f"http://127.0.0.1:{trap.server_port}/long", max_bytes=1000)
    assert isinstance(answer, HttpResponse)
    assert (len(answer.body), answer.cut) == (1000, True)
    whole = send(
        GuardedOutbound(["127.0.0.1"]), f"http://127.0.0.1:{trap.server_port}/long", max_bytes=100_000
    )
    assert isinstance(whole, HttpResponse)
    assert (len(whole.body), whole.cut) == (100_000, False)


def test_what_does_not_answer_is_network() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    outbound = GuardedOutbound(["127.0.0.1"])
    assert code(send(outbound, f"http://127.0.0.1:{port}/")) is ErrorCode.NETWORK
    assert code(send(outbound, "http://no-such-name.invalid/")) is ErrorCode.NETWORK


@pytest.fixture
def odd_server() -> Iterator[Callable[[Callable[[socket.socket], None]], int]]:
    """`odd_server(talk) -> port`: a server that does with a connection what `talk` does."""
    listeners: list[socket.socket] = []

    def serve(listener: socket.socket, talk: Callable[[socket.socket], None]) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    talk(connection)

    def open_(talk: Callable[[socket.socket], None]) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        threading.Thread(target=serve, args=(listener, talk), daemon=True).start()
        return int(listener.getsockname()[1])

    yield open_
    for listener in listeners:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def drip(data: bytes) -> Callable[[socket.socket], None]:
    """A byte each 20 ms, so that no single wait is long."""
    wait = threading.Event()

    def talk(connection: socket.socket) -> None:
        connection.recv(65_536)
        for byte in data * 1000:
            connection.sendall(bytes([byte]))
            wait.wait(0.02)

    return talk


def silent(connection: socket.socket) -> None:
    while connection.recv(65_536):
        pass


@pytest.mark.parametrize(
    "talk",
    [silent, drip(b"HTTP/1.1 200 OK\r\nX-A: "), drip(b"HTTP/1.1 200 OK\r\n\r\nbody")],
    ids=["silence", "slow headers", "slow body"],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_one_deadline_holds_for_all_of_it(
    odd_server: Callable[[Any], int], talk: Callable[[socket.socket], None], scheme: str
) -> None:
    port = odd_server(talk)
    began = time.monotonic()
    answer = send(GuardedOutbound(["127.0.0.1"]), f"{scheme}://127.0.0.1:{port}/", seconds=0.4)
    took = time.monotonic() - began
    if scheme == "https" and talk is not silent:
        assert code(answer) in (ErrorCode.NETWORK, ErrorCode.TIMEOUT)  # no TLS is spoken there
    else:
        assert code(answer) is ErrorCode.TIMEOUT
        assert took >= 0.35
    assert took < 1.5


def test_giving_up_ends_the_wait(odd_server: Callable[[Any], int]) -> None:
    port = odd_server(silent)
    cancelled = threading.Event()
    threading.Timer(0.1, cancelled.set).start()
    began = time.monotonic()
    answer = send(
        GuardedOutbound(["127.0.0.1"]), f"http://127.0.0.1:{port}/", seconds=30.0, cancelled=cancelled
    )
    assert answer == Cancelled()
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00\x01\x02",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
    ],
)
def test_a_broken_answer_is_network(odd_server: Callable[[Any], int], data: bytes) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(data)

    assert (
        code(send(GuardedOutbound(["127.0.0.1"]), f"http://127.0.0.1:{odd_server(talk)}/"))
        is ErrorCode.NETWORK
    )


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A key and a self-signed certificate for the name `localhost`."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost "
        "-addext subjectAltName=DNS:localhost -keyout key.pem -out certificate.pem"
    )
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    return key, certificate


def test_tls_checks_the_name_while_it_goes_to_the_address(
    trap: Any, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    key, chain = certificate
    names: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    trap.socket = context.wrap_socket(trap.socket, server_side=True)
    port = trap.server_port
    url = f"https://localhost:{port}/"
    assert code(send(GuardedOutbound(["127.0.0.1", "localhost"]), url)) is ErrorCode.NETWORK
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(chain))
    outbound = GuardedOutbound(["127.0.0.1", "localhost"])
    answer = send(outbound, url)
    assert isinstance(answer, HttpResponse), answer
    assert names[-1] == "localhost"
    assert code(send(outbound, f"https://127.0.0.1:{port}/")) is ErrorCode.NETWORK
