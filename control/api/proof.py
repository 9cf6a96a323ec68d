"""``GET /v1/proof``: the control API proves that it knows a token before a client sends it.

Over plain HTTP a client cannot tell who listens on a port: another user of the machine may do so
since the platform has ended. The answer is worth nothing to others: it holds for one nonce, and for
this address and port alone.
"""

from __future__ import annotations

import re

import msgspec
from aiohttp import web

from control.access.authentication import Authenticator
from control.api.request_decoding import JSON
from kubefox.access_token import ID_BYTES, NONCE_BYTES
from kubefox.errors import InvalidRequest

PROOF_PATH = "/v1/proof"

_is_id = re.compile(rf"[0-9a-f]{{{2 * ID_BYTES}}}").fullmatch
_is_nonce = re.compile(rf"[0-9a-f]{{{2 * NONCE_BYTES}}}").fullmatch


async def answer_proof(request: web.Request, authenticator: Authenticator) -> web.StreamResponse:
    """Return the proof for the token with the id ``token``, made with ``nonce``.

    Raises:
        InvalidRequest: The query is not an id and a nonce, both hexadecimal.
    """
    token_id, nonce = request.query.get("token", ""), request.query.get("nonce", "")
    if not _is_id(token_id) or not _is_nonce(nonce):
        raise InvalidRequest(
            f"expected ?token=ID&nonce=NONCE, {ID_BYTES} and {NONCE_BYTES} bytes in hexadecimal"
        )
    local = request.get_extra_info("sockname")
    proof = await authenticator.prove(token_id, bytes.fromhex(nonce), *local[:2])
    return web.Response(body=msgspec.json.encode({"proof": proof}), content_type=JSON)
