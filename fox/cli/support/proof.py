"""The token goes only to a server that has proven that it is the platform that knows it.

Over TLS, the certificate proves that. Over plain HTTP, on this machine alone, the server proves
that it knows the token before it gets it: the platform may have ended, and another user of the
machine may listen on its port.
"""

from __future__ import annotations

import hmac
import http.client
import ipaddress
import secrets
from http import HTTPStatus
from typing import NamedTuple

import msgspec

from fox.cli.support.given_token import GivenToken
from kubefox.access_token import NONCE_BYTES, AccessToken, prove
from kubefox.errors import InvalidRequest, Unauthenticated

_MAX_BYTES = 1024


class _Proof(msgspec.Struct):
    proof: str


def provable(token: GivenToken, url: str, host: str) -> AccessToken:
    """Return a token that a server without TLS can prove to know.

    Args:
        token: The token.
        url: Of the control API, for messages.
        host: In this URL.

    Raises:
        InvalidRequest: The host is not this machine, or nobody can prove to know the token.
    """
    if not _is_loopback(host):
        raise InvalidRequest(
            f"{url} is plain text and leads to another machine, so the token was not sent: use "
            "https://"
        )
    if token.parsed is None:
        raise InvalidRequest(
            f"{token.source} holds the token of an OIDC issuer, which is not sent in plain text to "
            f"{url}: use https://, or a token of `fox token create`"
        )
    return token.parsed


class ProofAnswer(NamedTuple):
    """The answer of a server that was asked for the proof.

    Attributes:
        response: As it came; its body has been read.
        token_id: Of the token.
        is_proof: Whether the server knows the token, and the connection is still open.
    """

    response: http.client.HTTPResponse
    token_id: str
    is_proof: bool

    def check(self, url: str, source: str) -> None:
        """Refuse an answer that is no proof.

        Args:
            url: Of the server.
            source: Where the token was read from.

        Raises:
            Unauthenticated: The server does not know the token.
        """
        if not self.is_proof:
            raise Unauthenticated(
                f"the server at {url} does not know the token {self.token_id} in {source}, so it "
                "was not sent: another program may listen there or pass requests on, or the token "
                "is of another platform, has expired or is revoked"
            )


def ask_for_proof(
    connection: http.client.HTTPConnection,
    prefix: str,
    token: AccessToken,
    arrival: tuple[str, int] | None = None,
) -> ProofAnswer:
    """Ask the server at the other end of an open connection to prove that it knows a token.

    The connection does not open a second time: another server could answer then.

    Args:
        connection: To the server.
        prefix: Of the path.
        token: The token.
        arrival: Address and port at which the server is asked; None for those of the connection,
            which are others through a tunnel.

    Raises:
        OSError: The server does not answer.
        http.client.HTTPException: It does not speak HTTP.
    """
    connection.auto_open = 0
    address, port = arrival or connection.sock.getpeername()[:2]
    nonce = secrets.token_bytes(NONCE_BYTES)
    connection.request("GET", f"{prefix}/v1/proof?token={token.id}&nonce={nonce.hex()}")
    response = connection.getresponse()
    answer = response.read(_MAX_BYTES)
    is_open = not response.will_close and response.isclosed()
    expected = prove(token.digest, nonce, address, port)
    is_proof = is_open and hmac.compare_digest(_proof_in(response, answer), expected)
    return ProofAnswer(response, token.id, is_proof)


def _proof_in(response: http.client.HTTPResponse, answer: bytes) -> str:
    try:
        found = msgspec.json.decode(answer, type=_Proof).proof
    except msgspec.MsgspecError:
        return ""
    return found if response.status == HTTPStatus.OK and found.isascii() else ""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
