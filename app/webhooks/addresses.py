"""The URLs and the addresses that webhooks may be sent to. Pure.

An operator of a project chooses a URL, and this server sends a request to it: without these rules, the URL could name a
server that only this machine can reach, such as the database or the metadata of a cloud.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

Address = IPv4Address | IPv6Address


def _networks(*networks: str) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(network) for network in networks)


#: Networks of companies and of one machine, which a setting allows.
PRIVATE = _networks(
    "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "::1/128", "fc00::/7"
)
#: Servers of clouds that hand out credentials, where no other rule refuses them.
METADATA = _networks("168.63.129.16/32", "100.100.100.200/32", "fd00:ec2::254/128")
#: Networks of the registries of special-purpose addresses that no public server has.
SPECIAL = _networks(
    "0.0.0.0/8", "169.254.0.0/16", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15",
    "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "2001::/23", "2001:db8::/32", "2002::/16",
    "3fff::/20",
)  # fmt: skip
#: All public addresses of IPv6 are in here.
GLOBAL_IPV6 = IPv6Network("2000::/3")
#: Prefixes of IPv6 with an address of IPv4 in the last 32 bits: mapped ones, and those of a NAT64.
EMBEDDED = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))

#: Characters that a URL may have, so that every reader of it finds the same host.
PLAIN = re.compile(r"[!-~]+")
HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")


@dataclass(frozen=True)
class WebhookTarget:
    """The parts of an endpoint's URL. `host` has no brackets."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == {"https": 443, "http": 80}[self.scheme] else f"{host}:{self.port}"


def reason_to_refuse(address: Address, *, allow_private: bool) -> str | None:
    """Returns why no request may go to this address, or None if one may."""
    if isinstance(address, IPv6Address):
        if any(address in network for network in EMBEDDED):
            return reason_to_refuse(IPv4Address(int(address) & 0xFFFFFFFF), allow_private=allow_private)
        address = IPv6Address(int(address))  # without a zone
    if _within(address, METADATA):
        return "the address of a cloud's metadata"
    if _within(address, PRIVATE):
        return None if allow_private else "a private address"
    if _within(address, SPECIAL) or (isinstance(address, IPv6Address) and address not in GLOBAL_IPV6):
        return "no public address"
    return None


def target_of(url: str, *, allow_private: bool) -> WebhookTarget:
    """Returns the parts of an endpoint's URL. Raises ValueError with the remedy if nothing may be sent to it.

    A name is not resolved here, because it may have another address when a request is sent.
    """
    if not PLAIN.fullmatch(url) or "\\" in url:
        raise ValueError("has spaces, backslashes or characters outside of ASCII: percent-encode them, use punycode")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("is not a URL: write it as https://host/path") from None
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError("is not the URL of a server: write it as https://host/path")
    if parts.scheme == "http" and not allow_private:
        raise ValueError("is not encrypted: use https, or set THUMBWHEEL_WEBHOOKS_ALLOW_PRIVATE=true on the server")
    if "@" in parts.netloc:
        raise ValueError("holds a user name or password: remove it; messages are signed")
    if "#" in url:
        raise ValueError("has a fragment, which is never sent: remove it")
    if port == 0:
        raise ValueError("has port 0: name the port of the server")
    address = _address(parts.hostname)
    if address is None and not HOST.fullmatch(parts.hostname):
        raise ValueError("has no valid host name")
    reason = None if address is None else reason_to_refuse(address, allow_private=allow_private)
    if reason is not None:
        raise ValueError(f"names {address}, {reason}: nothing is sent there")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return WebhookTarget(parts.scheme, parts.hostname, port or {"https": 443, "http": 80}[parts.scheme], path)


def _address(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _within(address: Address, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    return any(address in network for network in networks)
