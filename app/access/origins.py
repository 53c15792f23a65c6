"""Decides whether a page of an origin may use a browser key. Pure."""

from collections.abc import Collection


def allows(patterns: Collection[str], origin: str) -> bool:
    """Returns whether one of the patterns covers `origin`, as a browser sends it.

    ``https://*.example.com`` covers every subdomain, and not ``https://example.com`` itself. An opaque origin, which
    browsers send as ``null``, is covered by none.
    """
    if origin in patterns:
        return True
    scheme, separator, host = origin.partition("://")
    labels = host.split(".")
    return bool(separator) and any(
        f"{scheme}://*.{'.'.join(labels[place:])}" in patterns for place in range(1, len(labels))
    )
