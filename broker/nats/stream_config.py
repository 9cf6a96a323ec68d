"""The configuration of existing streams, read and changed as plain JSON.

The classes of nats-py would drop settings that they do not know, and a change would reset those.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import msgspec

from broker.nats.bus import Bus
from broker.nats.cluster_jetstream import NO_LEADER, Attempts
from kubefox.errors import DeadlineExceeded, NatsUnavailable, NoPodReady

_API_TIMEOUT_S = 5.0
"""Time for an answer of a single server, which has no other one."""

Config = dict[str, Any]

_decode = msgspec.json.Decoder(dict[str, Any]).decode


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
    """Return the answer of JetStream; in a cluster, a question without an answer is repeated.

    It may have been with the server that has died. All questions here may be asked twice: they
    read, or they set a configuration as a whole.
    """
    payload = b"" if content is None else msgspec.json.encode(content)
    if not bus.is_clustered:
        return _decode(await bus.request(f"$JS.API.{action}", payload, _API_TIMEOUT_S))
    attempts = Attempts(bus)
    while await attempts.begin():
        try:
            found = _decode(await bus.request(f"$JS.API.{action}", payload, attempts.timeout_s))
        except (NoPodReady, DeadlineExceeded, NatsUnavailable) as error:
            attempts.fail(error)
            continue
        if (found.get("error") or {}).get("err_code") not in NO_LEADER:
            return found
        attempts.fail(NatsUnavailable(f"no server of NATS leads, so none answers {action}"))
    raise NatsUnavailable(f"NATS does not answer {action}") from attempts.error
