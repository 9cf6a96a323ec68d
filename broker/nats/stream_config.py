"""The configuration of existing streams, read and changed as plain JSON.

The classes of nats-py would drop settings that they do not know, and a change would reset those.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import msgspec

from broker.nats.bus import Bus

_API_TIMEOUT_S = 5.0

Config = dict[str, Any]


async def read_config(bus: Bus, stream: str) -> Config:
    """Return the configuration of a stream.

    Raises:
        FoxError: NATS does not answer.
        KeyError: The stream does not exist.
    """
    return cast(Config, (await _ask(bus, f"STREAM.INFO.{stream}"))["config"])


async def read_configs(bus: Bus) -> list[Config]:
    """Return the configuration of each stream.

    Raises:
        FoxError: NATS does not answer.
    """
    return [stream["config"] for stream in (await read_streams(bus)).known]


class Streams(NamedTuple):
    """All streams.

    Attributes:
        known: As NATS describes them: ``config``, ``state``, ``cluster`` and others.
        missing: Names of those whose servers did not answer NATS.
    """

    known: list[dict[str, Any]]
    missing: list[str]


async def read_streams(bus: Bus) -> Streams:
    """Return all streams.

    Raises:
        FoxError: NATS does not answer.
    """
    known: list[dict[str, Any]] = []
    while True:
        # The server limits the number of streams in one answer.
        answer = await _ask(bus, "STREAM.LIST", {"offset": len(known)})
        page = answer.get("streams") or ()
        known += page
        if not page or len(known) >= answer.get("total", 0):
            return Streams(known, answer.get("missing") or [])


async def update_config(bus: Bus, config: Config) -> dict[str, Any] | None:
    """Change a stream's configuration, and return the refusal with ``err_code``, or None.

    Raises:
        FoxError: NATS does not answer.
    """
    refusal = (await _ask(bus, f"STREAM.UPDATE.{config['name']}", config)).get("error")
    return cast("dict[str, Any] | None", refusal)


async def _ask(bus: Bus, action: str, content: object = None) -> dict[str, Any]:
    payload = b"" if content is None else msgspec.json.encode(content)
    answer = await bus.request(f"$JS.API.{action}", payload, _API_TIMEOUT_S)
    return msgspec.json.decode(answer, type=dict[str, Any])
