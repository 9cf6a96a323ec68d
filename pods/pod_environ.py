"""The environment of pods: an allow-list, because the platform's own holds people's secrets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kubefox.errors import InvalidRequest

# The interpreter and the C library need them to run and to format.
_SYSTEM = frozenset({"PATH", "LD_LIBRARY_PATH", "LANG", "LANGUAGE", "TZ"})
# A pod exports to the collector itself. The headers may contain the collector's key.
_PREFIXES = ("LC_", "OTEL_")
# Settings of the platform that apply to pods as well.
_SETTINGS = frozenset(
    {
        "FOX_TELEMETRY",
        "FOX_BODY_LIMIT_BYTES",
        "FOX_BODY_MEMORY_BYTES",
        "FOX_CONTEXT_CACHE_BYTES",
        "FOX_HOLD_S",
        "FOX_EMIT_HUNG_S",
        "FOX_STREAM_IDLE_S",
        "FOX_POD_CONCURRENCY",
        "FOX_POD_MAX_WAIT_S",
    }
)
_PLATFORM_PREFIX = "FOX_"


def inherited(environ: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    """Return the variables of a process that its pods get.

    Args:
        environ: Environment of the process.
        names: Further variables to pass on; those that are not set are ignored.
    """
    allowed = _SYSTEM | _SETTINGS | set(names)
    return {
        name: value
        for name, value in environ.items()
        if name in allowed or name.startswith(_PREFIXES)
    }


def for_cluster(environ: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    """Return the variables of a process that its pods in a cluster get.

    Those of the system are the image's own. Headers for the collector are left out: they may
    contain its key, and everybody who may read a Deployment would see it.

    Args:
        environ: Environment of the process.
        names: Further variables to pass on; those that are not set are ignored.
    """
    found = inherited(environ, names)
    return {
        name: value
        for name, value in found.items()
        if name in names or (name not in _SYSTEM and not name.endswith("_HEADERS"))
    }


def parse_names(text: str) -> tuple[str, ...]:
    """Return the names in a list that commas separate, as ``FOX_POD_ENV`` holds it.

    Raises:
        InvalidRequest: A name is one of the platform's own.
    """
    names = tuple(name for part in text.split(",") if (name := part.strip()))
    for name in names:
        if name.startswith(_PLATFORM_PREFIX):
            raise InvalidRequest(
                f"FOX_POD_ENV names {name}: variables of the platform cannot be passed to pods"
            )
    return names
