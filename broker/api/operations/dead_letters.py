"""Emitted events that were given up."""

from __future__ import annotations

from broker.api.messages import DeadLettersQuery
from broker.api.operation import Call, Operation, Parts
from model.dead_letter import DeadLetter
from model.errors import InvalidRequest

MAX_DEAD_LETTERS = 10_000


async def _list_dead_letters(parts: Parts, call: Call) -> tuple[DeadLetter, ...]:
    wanted: DeadLettersQuery = call.query
    if not 0 < wanted.limit <= MAX_DEAD_LETTERS:
        raise InvalidRequest(f"limit is {wanted.limit}, expected 1 to {MAX_DEAD_LETTERS}")
    return tuple(await parts.dead_letters.all(wanted.limit))


async def _get_dead_letter(parts: Parts, call: Call) -> DeadLetter:
    return await parts.dead_letters.get(call.path["id"])


async def _redeliver(parts: Parts, call: Call) -> None:
    await parts.dead_letters.redeliver(call.path["id"])


async def _delete_dead_letter(parts: Parts, call: Call) -> None:
    await parts.dead_letters.delete(call.path["id"])


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="GET",
        path="/v1/dead-letters",
        summary="Emitted events that were given up, the oldest first, without their bodies",
        answer=_list_dead_letters,
        query=DeadLettersQuery,
        result=tuple[DeadLetter, ...],
    ),
    Operation(
        method="GET",
        path="/v1/dead-letters/{id}",
        summary="One of them, with its body",
        answer=_get_dead_letter,
        result=DeadLetter,
    ),
    Operation(
        method="POST",
        path="/v1/dead-letters/{id}/redeliver",
        summary="Deliver one of them again, to the version and in the context that it was for",
        answer=_redeliver,
    ),
    Operation(
        method="DELETE",
        path="/v1/dead-letters/{id}",
        summary="Drop one of them for good",
        answer=_delete_dead_letter,
    ),
)
