"""Which addresses outbound HTTP may reach: public ones, and what the operator allows.

Source: spec "reliability" §4; IANA special-purpose address registries (RFC 6890 and its successors);
RFC 6052 (NAT64), RFC 4291 (mapped, compatible), RFC 3056 (6to4), RFC 5214 (ISATAP).
"""

import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from models.errors import OrchestratorError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_REFUSED_4 = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier NAT, and a metadata service
        "127.0.0.0/8",
        "168.63.129.16/32",  # a cloud's host agent, on an address that looks public
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
_GLOBAL_6 = ipaddress.IPv6Network("2000::/3")
_REFUSED_6 = tuple(
    ipaddress.IPv6Network(text)
    for text in (
        "2001::/23",  # Teredo, ORCHID, benchmarking
        "2001:db8::/32",
        "2002::/16",  # 6to4: leads to any IPv4 address
        "3ffe::/16",
        "3fff::/20",
    )
)
# What a WebSocket gateway may not be: neighbours on the link, and services that hand out a machine's credentials.
_LOCAL_TO_MACHINE = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "100.100.100.200/32",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "224.0.0.0/4",
        "255.255.255.255/32",
        "fd00:ec2::254/128",
        "fe80::/10",
        "ff00::/8",
    )
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_ISATAP = (0x00005EFE, 0x02005EFE)


class DeniedError(OrchestratorError):
    """An address that outbound HTTP may not reach."""

    code = "POLICY_DENIED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One entry of HTTP_ALLOW: a name or a network, on one port or on any."""

    name: str | None = None
    network: Network | None = None
    port: int | None = None

    def allows(self, name: str, port: int, address: Address) -> bool:
        if self.port is not None and self.port != port:
            return False
        if self.network is not None:
            return self.network.version == address.version and address in self.network
        return self.name == name


def parse_rule(entry: str) -> Rule:
    """One entry: `host`, `host:port`, an address with or without port (`[::1]:80`), or a network.

    Raises ValueError for a network or a port that is none.
    """
    if "/" in entry:
        return Rule(network=ipaddress.ip_network(entry, strict=False))
    host, port = _split(entry)
    try:
        return Rule(network=ipaddress.ip_network(host), port=port)
    except ValueError:
        return Rule(name=_canonical(host), port=port)


def _split(entry: str) -> tuple[str, int | None]:
    if entry.startswith("["):
        host, _, rest = entry[1:].partition("]")
        return host, int(rest[1:]) if rest else None
    if entry.count(":") == 1:
        host, _, port = entry.partition(":")
        return host, int(port)
    return entry, None


def _canonical(name: str) -> str:
    return name.lower().rstrip(".")


class Guard:
    """Judges the addresses that a name led to. All must pass: one bad among good ones is a trick.

    permits: which addresses pass without a rule, named by `kind` in the refusal of others.
    """

    def __init__(
        self,
        allow: Iterable[str],
        *,
        permits: "Callable[[Address], bool] | None" = None,
        kind: str = "public",
    ) -> None:
        self._rules = tuple(parse_rule(entry) for entry in allow)
        self._permits = permits or public
        self._kind = kind

    def check(self, host: str, port: int, addresses: Iterable[str]) -> None:
        """`addresses` are those of getaddrinfo. Raises DeniedError that names the first refused one."""
        name = _canonical(host)
        for text in addresses:
            address = real(ipaddress.ip_address(text.partition("%")[0]))
            if not self._permits(address) and not any(rule.allows(name, port, address) for rule in self._rules):
                raise DeniedError(
                    f"{host}:{port} leads to {address}, which is not {self._kind}; an operator can allow it "
                    f"with ORCHESTRATOR_HTTP_ALLOW={name}:{port}"
                )


def real(address: Address) -> Address:
    """The IPv4 address behind a mapped or NAT64 one, where packets really go; else the address itself."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def public(address: Address) -> bool:
    """True for an address that no list here refuses; of IPv6 only 2000::/3 can be public."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _REFUSED_4)
    if address not in _GLOBAL_6 or any(address in network for network in _REFUSED_6):
        return False
    return (int(address) >> 32) & 0xFFFFFFFF not in _ISATAP


def reachable(address: Address) -> bool:
    """True for what a WebSocket gateway may be: public, private or loopback, no link-local or metadata address."""
    return not any(
        network.version == address.version and address in network for network in _LOCAL_TO_MACHINE
    )
