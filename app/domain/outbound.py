"""Where a URL that a key's owner has set may lead: how it is read, and which addresses are refused.

A URL passes in one unmistakable spelling only, so that nobody further on reads another host in it. An address
passes when it is plainly public, or when the operator has listed it.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

LONGEST_URL = 2048
_LONGEST_HOST = 253
_DEFAULT_PORTS = {"http": 80, "https": 443}
_HIGHEST_PORT = 65535

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<target>[^#]*)(?:#.*)?")
_AUTHORITY = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[^\[\]:]*))(?::(?P<port>[0-9]{1,5}))?")
_PRINTABLE = re.compile(r"[!#-;=?-\[\]_a-z~]+")  # no space, quote, angle or curly bracket, backslash, caret, pipe
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?")
# How the last part of an IPv4 address can look to a resolver: decimal, octal, hexadecimal.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")

# Everything in IPv4 that is not the public internet, by IANA's registry of special addresses.
_SPECIAL = [
    IPv4Network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
        *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        "168.63.129.16/32",  # the host's own services on Azure
    )
]
# The one part of IPv6 that is handed out to the public, and what in it is not.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_SPECIAL_V6 = [IPv6Network(network) for network in ("2001::/23", "2001:db8::/32", "3fff::/20")]
_NAT64 = IPv6Network("64:ff9b::/96")
_6TO4 = IPv6Network("2002::/16")

# What clouds answer on their metadata addresses; a name server must not be needed to refuse them.
_METADATA_NAMES = frozenset(
    {"metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal"}
)
NOT_PUBLIC = "the address is not public and not allowed here"


class UnusableUrl(ValueError):
    """The text is no URL that may be called; what it says is fit for the key's owner."""


@dataclass(frozen=True, slots=True)
class Target:
    """A URL in parts: `target` is the path with its query, `address` the host where it is an address."""

    scheme: str
    host: str
    port: int
    target: str
    address: Address | None

    @property
    def authority(self) -> str:
        """What a request names as its host: with the port where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def parse(url: str) -> Target:
    """Read an http or https URL; raises UnusableUrl."""
    found = _URL.fullmatch(url) if len(url) <= LONGEST_URL and _PRINTABLE.fullmatch(url) else None
    if found is None:
        raise UnusableUrl("it is not a URL")
    scheme, authority = found["scheme"].lower(), found["authority"]
    if scheme not in _DEFAULT_PORTS:
        raise UnusableUrl("only http and https are spoken")
    if "@" in authority:
        raise UnusableUrl("a URL must not hold a user or a password")
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        raise UnusableUrl("the host or port of the URL cannot be read")
    host, address = _host(parts["v6"], (parts["name"] or "").lower())
    port = int(parts["port"] or _DEFAULT_PORTS[scheme])
    if not 0 < port <= _HIGHEST_PORT:
        raise UnusableUrl("the host or port of the URL cannot be read")
    target = found["target"]
    return Target(scheme, host, port, target if target.startswith("/") else "/" + target, address)


def _host(v6: str | None, name: str) -> tuple[str, Address | None]:
    try:
        if v6 is not None:
            address: Address = IPv6Address(v6)
            return str(address), address
        labels = name.removesuffix(".").split(".")
        if _NUMBER.fullmatch(labels[-1]):
            address = IPv4Address(name)
            return str(address), address
    except ValueError:
        raise UnusableUrl("an address must be written plainly, such as 192.0.2.1 or [2001:db8::1]") from None
    if len(name) > _LONGEST_HOST or not all(_LABEL.fullmatch(label) for label in labels):
        raise UnusableUrl("the host or port of the URL cannot be read")
    return ".".join(labels), None


def is_public(address: Address) -> bool:
    """Whether everybody on the internet reaches the same machine there."""
    inner = embedded(address)
    if inner is not None:
        return not any(inner in network for network in _SPECIAL)
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _SPECIAL)
    return address in _GLOBAL_UNICAST and not any(address in network for network in _SPECIAL_V6)


def embedded(address: Address) -> IPv4Address | None:
    """The IPv4 address to which an IPv6 one (mapped, NAT64, 6to4) leads in the end."""
    if isinstance(address, IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _6TO4:
        return address.sixtofour
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None


@dataclass(frozen=True, slots=True)
class Allowance:
    """What the operator has listed beside the public internet: hosts and networks, each with a port or for all."""

    hosts: frozenset[tuple[str, int | None]] = frozenset()
    networks: tuple[tuple[Network, int | None], ...] = ()

    @classmethod
    def parse(cls, raw: str) -> "Allowance":
        """Read a list such as `logs.internal, 10.1.0.0/16, 127.0.0.1:9000, [::1]:9000`; raises ValueError."""
        hosts: set[tuple[str, int | None]] = set()
        networks: list[tuple[Network, int | None]] = []
        for entry in filter(None, re.split(r"[,\s]+", raw)):
            name, port = _name_and_port(entry)
            try:
                networks.append((ip_network(name), port))
            except ValueError:
                hosts.add((_listed_host(name), port))
        return cls(frozenset(hosts), tuple(networks))

    @classmethod
    def of(cls, url: str) -> "Allowance":
        """The host and port of this URL alone; raises UnusableUrl."""
        target = parse(url)
        if target.address is not None:
            return cls(networks=((ip_network(target.address), target.port),))
        return cls(hosts=frozenset({(target.host, target.port)}))

    def allows(self, target: Target, address: Address) -> bool:
        """Whether the operator has listed this host or this address, for this port."""
        if self.names(target):
            return True
        forms = [form for form in (address, embedded(address)) if form is not None]
        return any(
            port in {None, target.port} and any(form in network for form in forms)
            for network, port in self.networks
        )

    def names(self, target: Target) -> bool:
        """Whether the host is listed by name."""
        return (target.host, None) in self.hosts or (target.host, target.port) in self.hosts


def _name_and_port(entry: str) -> tuple[str, int | None]:
    if entry.count(":") > 1 and not entry.startswith("["):
        return entry, None  # an IPv6 address or network without a port
    name, _, port = entry.rpartition(":") if re.search(r":[0-9]+$", entry) else (entry, "", "")
    if port and not 0 < int(port) <= _HIGHEST_PORT:
        raise ValueError(f"'{name}' has no possible port")
    return name.removeprefix("[").removesuffix("]"), int(port) if port else None


def _listed_host(name: str) -> str:
    try:
        host = parse(f"http://{name}").host
    except UnusableUrl:
        host = ""
    if not host or host != name.lower().removesuffix("."):
        shown = name.rpartition("@")[2]  # what stands before it may be a password
        raise ValueError(f"'{shown}' is no host, address or network")
    return host


def refusal(target: Target, addresses: Iterable[Address], allowance: Allowance) -> str | None:
    """Why these addresses of the target must not be connected to; None when every one of them may be."""
    if target.host in _METADATA_NAMES and not allowance.names(target):
        return NOT_PUBLIC
    if all(is_public(address) or allowance.allows(target, address) for address in addresses):
        return None
    return NOT_PUBLIC
