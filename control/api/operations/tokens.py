"""Operations on the tokens of the control API."""

from __future__ import annotations

import secrets
import time

from control.api.messages import CreatedToken, TokenRequest
from control.api.operation import ApiRequest, ApiServices, Operation
from control.listed_kinds.environments import NamedQuery
from control.listing.continue_token import ContinueToken, checksum, decode_token
from control.listing.list_kind import check_limit
from control.listing.page import EncodedPage, Page, encode_items, encode_page
from kubefox.access_token import ID_BYTES, SECRET_BYTES, format_token, parse_token
from kubefox.errors import InvalidRequest
from kubefox.stored_token import StoredToken, TokenInfo

_SORTS = {"": False, "name": False, "-name": True}


async def _create(services: ApiServices, request: ApiRequest) -> CreatedToken:
    wanted: TokenRequest = request.body
    if not wanted.grants:
        raise InvalidRequest("a token needs at least one role: see grants")
    text = format_token(secrets.token_bytes(ID_BYTES), secrets.token_bytes(SECRET_BYTES))
    token = parse_token(text)
    assert token is not None  # noqa: S101 - made in the line above
    now_s = time.time()
    stored = StoredToken(
        name=wanted.name,
        id=token.id,
        digest=token.digest,
        grants=wanted.grants,
        created_at_s=now_s,
        expires_at_s=now_s + wanted.ttl_s,
        created_by=request.caller.name,
    )
    await services.tokens.create(stored)
    return CreatedToken(token=text, info=stored.info)


async def _list(services: ApiServices, request: ApiRequest) -> EncodedPage:
    query: NamedQuery = request.query
    check_limit(query.limit)
    if query.sort not in _SORTS:
        raise InvalidRequest(f"tokens cannot be sorted by {query.sort!r}: expected name or -name")
    query_sum = checksum("tokens", query.filters, query.sort)
    given = decode_token(query.continue_, query_sum) if query.continue_ else None
    after = str(given.key[0]) if given and given.key else ""
    is_descending = _SORTS[query.sort]
    tokens = services.tokens.all()
    if is_descending:
        tokens.reverse()
    found = [
        token.info
        for token in tokens
        if token.name.startswith(query.name_prefix)
        and (not after or (token.name < after if is_descending else token.name > after))
    ]
    items = await encode_items(found[: query.limit])
    following, revision = "", services.tokens.revision
    if len(items) < len(found):
        key, seen = (found[len(items) - 1].name,), len(items) + (given.seen if given else 0)
        following = ContinueToken(query=query_sum, revision=revision, seen=seen, key=key).encode()
    return encode_page(Page(revision=revision, continue_=following), items)


async def _revoke(services: ApiServices, request: ApiRequest) -> None:
    await services.tokens.delete(request.name)


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="POST",
        path="/v1/tokens",
        summary="Create a token of the control API; its text is in this answer only",
        handle=_create,
        body=TokenRequest,
        result=CreatedToken,
    ),
    Operation(
        method="GET",
        path="/v1/tokens",
        summary="List the tokens of the control API, without their texts",
        handle=_list,
        query=NamedQuery,
        result=Page[TokenInfo],
    ),
    Operation(
        method="DELETE",
        path="/v1/tokens/{name}",
        summary="Revoke a token: every control process refuses it at once",
        handle=_revoke,
    ),
)
