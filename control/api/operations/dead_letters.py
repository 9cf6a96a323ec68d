"""Operations on dead letters: emitted events that could not be delivered."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from broker.events.dead_letters import DeadLetters
from control.api.operation import ApiRequest, ApiServices, Operation
from control.api.seen import target_of_letter
from control.listing.continue_token import ContinueToken, checksum, decode_token
from control.listing.list_kind import ListQuery, check_limit
from control.listing.page import EncodedPage, Page, encode_items, encode_page
from kubefox.dead_letter import DeadLetter
from kubefox.errors import InvalidRequest
from kubefox.formats import OptionalName
from kubefox.names import check_name

_ANY = "*"
_READ_LETTERS = 256
_SORTS = {"", "name"}


class DeadLettersQuery(ListQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Query parameters of the list of dead letters.

    Attributes:
        sort: ``name``: the id, which is the age. Dead letters have no other order.
        name_prefix: Only dead letters whose ids begin with this.
        app: Only dead letters of components of this app.
        component: Only dead letters of components of this name.
        deployment: Only dead letters of this deployment.
        virtual_environment: Only dead letters of this virtual environment.
    """

    app: OptionalName = ""
    component: OptionalName = ""
    deployment: OptionalName = ""
    virtual_environment: OptionalName = ""

    def selects(self, letter: DeadLetter) -> bool:
        """Return whether a letter is in the list; NATS selects by app and component."""
        return (
            letter.id.startswith(self.name_prefix)
            and self.deployment in {"", letter.deployment}
            and self.virtual_environment in {"", letter.virtual_environment}
        )


async def _list_dead_letters(services: ApiServices, request: ApiRequest) -> EncodedPage:
    query: DeadLettersQuery = request.query
    sees = request.caller.sees
    _check(query)
    query_sum = checksum("dead letters", query.filters, query.sort)
    token = decode_token(query.continue_, query_sum) if query.continue_ else None
    last = token.revision if token else await services.dead_letters.last_id()
    after = _sequence(token) if token else 0
    found: list[DeadLetter] = []
    has_more = False
    async with aclosing(_selected(services.dead_letters, query, after, last)) as letters:
        async for letter in letters:
            if sees is not None and not sees(target_of_letter(letter)):
                continue
            has_more = len(found) == query.limit
            if has_more:
                break
            found.append(letter)
    items = await encode_items(found)
    following = ""
    if has_more or len(items) < len(found):
        following = ContinueToken(
            query=query_sum,
            revision=last,
            seen=len(items) + (token.seen if token else 0),
            key=(float(found[len(items) - 1].id),),
        ).encode()
    return encode_page(Page(revision=last, continue_=following), items)


async def _selected(
    dead_letters: DeadLetters, query: DeadLettersQuery, after: int, last: int
) -> AsyncGenerator[DeadLetter, None]:
    """Yield the letters of a list, up to the last one that existed at its first page."""
    app, component = query.app or _ANY, query.component or _ANY
    following: int | None = after
    while following is not None:
        letters, following = await dead_letters.page(
            following, min(query.limit + 1, _READ_LETTERS), app=app, component=component
        )
        for letter in letters:
            if int(letter.id) > last:
                return
            if query.selects(letter):
                yield letter


def _check(query: DeadLettersQuery) -> None:
    check_limit(query.limit)
    if query.sort not in _SORTS:
        raise InvalidRequest(f"dead letters cannot be sorted by {query.sort!r}: expected name")
    # Names are parts of the subject that NATS selects by.
    for name, noun in ((query.app, "app"), (query.component, "component")):
        if name:
            check_name(name, noun)


def _sequence(token: ContinueToken) -> int:
    match token.key:
        case (int() | float() as sequence,):
            return int(sequence)
        case _:
            raise InvalidRequest("the continue token is invalid: its key is no id")


async def _get_dead_letter(services: ApiServices, request: ApiRequest) -> DeadLetter:
    return await services.dead_letters.get(request.path["id"])


async def _redeliver(services: ApiServices, request: ApiRequest) -> None:
    await services.dead_letters.redeliver(request.path["id"])


async def _delete_dead_letter(services: ApiServices, request: ApiRequest) -> None:
    await services.dead_letters.delete(request.path["id"])


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="GET",
        path="/v1/dead-letters",
        summary="List dead letters, the oldest first, without the bodies of their events",
        handle=_list_dead_letters,
        query=DeadLettersQuery,
        result=Page[DeadLetter],
    ),
    Operation(
        method="GET",
        path="/v1/dead-letters/{id}",
        summary="Get one dead letter, with the body of its event",
        handle=_get_dead_letter,
        result=DeadLetter,
    ),
    Operation(
        method="POST",
        path="/v1/dead-letters/{id}/redeliver",
        summary="Deliver the event of a dead letter again, to the same version in the same context",
        handle=_redeliver,
    ),
    Operation(
        method="DELETE",
        path="/v1/dead-letters/{id}",
        summary="Delete a dead letter",
        handle=_delete_dead_letter,
    ),
)
