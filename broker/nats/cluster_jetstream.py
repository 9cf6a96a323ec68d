"""JetStream of a cluster: a request that hits a leader change is repeated until it is answered.

After its leader has died, a stream answers nothing for 4 to 9 s. A write that was not answered may
have been stored all the same, so each write has a message id: JetStream stores it once, and answers
a repetition as it answered the write. On a single server, nothing is repeated: it has no other one.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from nats.errors import Error as NatsError
from nats.js import JetStreamContext, api
from nats.js.errors import (
    APIError,
    NoStreamResponseError,
    NotFoundError,
    ServiceUnavailableError,
)

from broker.nats.client import FastPathClient
from broker.nats.lost_connection import Reconnecting
from broker.runtime.tokens import new_token

WRITE_S = 12.0
"""Time for all attempts; an election takes up to 9 s."""

ATTEMPT_S = 2.0
_PAUSE_S = 0.1
NO_LEADER = (10008, 10118)
"""Error codes of JetStream while a cluster or a stream has no leader."""

WRONG_LAST_SEQUENCE = (10071, 10164)
"""Error codes with which JetStream says that a compare-and-set was lost."""

_REPEATABLE = ("STREAM.INFO.", "STREAM.MSG.GET.", "STREAM.PURGE.", "CONSUMER.INFO.", "DIRECT.GET.")
# The first token of a subject, and the prefix of the stream that has its second token as its name.
_STREAMS = {"$KV": "KV_", "$O": "OBJ_"}


class ClusterJetStream(JetStreamContext):
    """nats-py's JetStream client, whose requests survive the death of a stream's leader.

    Args:
        client: The process's connection.
        timeout_s: How long JetStream may take to answer a request, on a single server.
        reconnecting: Waits for the connection.
    """

    def __init__(
        self, client: FastPathClient, timeout_s: float, reconnecting: Reconnecting
    ) -> None:
        super().__init__(client, timeout=timeout_s)
        self._client = client
        self._reconnecting = reconnecting

    async def publish(
        self,
        subject: str,
        payload: bytes = b"",
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is nats-py's
        stream: str | None = None,
        headers: dict[str, Any] | None = None,
        msg_ttl: float | None = None,
    ) -> api.PubAck:
        """Store a message; see nats-py."""
        if not self._client.is_clustered:
            return await super().publish(subject, payload, timeout, stream, headers, msg_ttl)
        headers = {api.Header.MSG_ID.value: new_token(), **(headers or {})}
        attempts = Attempts(self._reconnecting)
        while await attempts.begin():
            try:
                return await super().publish(
                    subject, payload, attempts.timeout_s, stream, dict(headers), msg_ttl
                )
            except NoStreamResponseError as error:
                if await self._is_missing(subject):
                    raise
                attempts.fail(error)
            except APIError as error:
                if error.err_code in WRONG_LAST_SEQUENCE and attempts.may_be_done:
                    # The attempt that was not answered may have been stored, and be the other one.
                    raise attempts.unknown from error
                if error.err_code not in NO_LEADER:
                    raise
                attempts.fail(error)
            except (NatsError, TimeoutError) as error:
                attempts.fail(error, may_be_done=True)
        raise attempts.error

    async def _api_request(
        self,
        req_subject: str,
        req: bytes = b"",
        timeout: float = 5,  # noqa: ASYNC109 - the signature is nats-py's
    ) -> dict[str, Any]:
        request = super()._api_request
        if not self._client.is_clustered or not any(part in req_subject for part in _REPEATABLE):
            found: dict[str, Any] = await request(req_subject, req, timeout)
            return found
        attempts = Attempts(self._reconnecting)
        while await attempts.begin():
            try:
                found = await request(req_subject, req, attempts.timeout_s)
            except APIError as error:
                is_silent = isinstance(error, ServiceUnavailableError) and error.err_code is None
                if not is_silent and error.err_code not in NO_LEADER:
                    raise
                attempts.fail(error)
            except (NatsError, TimeoutError) as error:
                attempts.fail(error)
            else:
                return found
        raise attempts.error

    async def _is_missing(self, subject: str) -> bool:
        """Return whether the stream of a subject does not exist, or is not known here."""
        kind, _, rest = subject.partition(".")
        prefix = _STREAMS.get(kind)
        if prefix is None:
            return kind not in {"dead", "emit"}
        try:
            await super()._api_request(
                f"$JS.API.STREAM.INFO.{prefix}{rest.partition('.')[0]}", b"", ATTEMPT_S
            )
        except NotFoundError:
            return True
        except (NatsError, TimeoutError):
            return False
        return False


class Connection(Protocol):
    """A connection that can be waited for; ``broker.nats.bus.Bus`` implements it."""

    async def wait_ready(self, timeout_s: float) -> bool:
        """Return whether there is a connection within ``timeout_s``."""


class Attempts:
    """The attempts of one request.

    Args:
        connection: To be waited for before each.
        timeout_s: Time for all of them.

    Attributes:
        unknown: The error of an attempt that was not answered.
        error: Of the last attempt.
        may_be_done: Whether an attempt was not answered.
    """

    def __init__(self, connection: Connection, timeout_s: float = WRITE_S) -> None:
        self._connection = connection
        self._now_s = asyncio.get_running_loop().time
        self._end_s = self._now_s() + timeout_s
        self.unknown = TimeoutError("an attempt was not answered")
        self.error: Exception = self.unknown
        self.may_be_done = False
        self._is_first = True

    @property
    def timeout_s(self) -> float:
        """Time for the next attempt."""
        return max(_PAUSE_S, min(ATTEMPT_S, self._end_s - self._now_s()))

    def fail(self, error: Exception, *, may_be_done: bool = False) -> None:
        """Note why an attempt failed."""
        self.error = error
        self.may_be_done |= may_be_done

    async def begin(self) -> bool:
        """Return whether there is time and a connection for one more attempt."""
        if not self._is_first:
            await asyncio.sleep(_PAUSE_S)
        self._is_first = False
        left_s = self._end_s - self._now_s()
        return left_s > 0 and await self._connection.wait_ready(left_s)
