"""Headers of a response that depends on more than its URL: no shared cache may keep it."""

from __future__ import annotations

from collections.abc import Iterator

from kubefox.event import Headers

_CACHE_CONTROL = "cache-control"
_PUBLIC = {"public", "s-maxage", "private"}
# RFC 9213: they are for shared caches only, and win over Cache-Control there.
_FOR_SHARED_CACHES = ("cdn-cache-control", "surrogate-control")


def private_headers(headers: Headers) -> Headers:
    """Return the headers with ``Cache-Control: private``; other directives for clients stay."""
    kept = [header for header in headers if not header[0].endswith(_FOR_SHARED_CACHES)]
    values = [value for name, value in kept if name == _CACHE_CONTROL]
    others = [header for header in kept if header[0] != _CACHE_CONTROL]
    directives = ", ".join(("private", *_for_clients(values)))
    return ((_CACHE_CONTROL, directives), *others)


def _for_clients(values: list[str]) -> Iterator[str]:
    for directive in ",".join(values).split(","):
        name = directive.partition("=")[0].strip().lower()
        if name and name not in _PUBLIC:
            yield directive.strip()
