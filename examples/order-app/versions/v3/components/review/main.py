"""Review: keeps what customers say about their orders."""

from __future__ import annotations

from statistics import fmean

import msgspec

from fox import Context, Kit, Response
from model.errors import RevisionConflict

BEST = 5

kit = Kit(title="Review", description="Keeps the reviews of the Order App.")
store = kit.state_store("reviews")


class Review(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one customer says about one order."""

    author: str
    stars: int
    text: str


class ReviewError(Exception):
    """The review cannot be kept; the text is for the customer."""


@kit.default
async def serve(ctx: Context) -> Response:
    """Answer Order UI."""
    try:
        return await _answer(ctx)
    except ReviewError as error:
        return Response({"problem": str(error)}, status=422)


async def _answer(ctx: Context) -> Response:
    match (ctx.method, *ctx.segments):
        case ("GET", "ratings"):
            return Response(await rate_orders(ctx))
        case ("GET", "orders", number):
            entry = await store.get(number, ctx=ctx)
            return Response(entry.json() if entry else [])
        case ("POST", "orders", number):
            await keep(ctx, number, parse(ctx.json()))
            return Response({}, status=201)
    return Response({"problem": f"There is no {ctx.path} here."}, status=404)


async def rate_orders(ctx: Context) -> dict[str, float]:
    """Return the mean of every order's stars, by its number."""
    entries = await store.list(ctx=ctx)
    return {each.key: fmean(said["stars"] for said in each.json()) for each in entries}


async def keep(ctx: Context, number: str, review: Review) -> None:
    """Add a review to those of its order; of two at once neither is lost."""
    while True:
        entry = await store.get(number, ctx=ctx)
        said = entry.json(list[Review]) if entry else []
        revision = entry.revision if entry else 0
        try:
            await store.put(number, [*said, review], ctx=ctx, revision=revision)
        except RevisionConflict:
            continue
        ctx.log.info("reviewed", order=number, stars=review.stars)
        return


def parse(content: object) -> Review:
    """Return a review that says something.

    Raises:
        ReviewError: Something is missing or out of range.
    """
    try:
        review = msgspec.convert(content, Review, strict=False)
    except msgspec.ValidationError as error:
        raise ReviewError(f"That is not a review: {error}.") from error
    if not 1 <= review.stars <= BEST:
        raise ReviewError(f"Please give 1 to {BEST} stars.")
    if not (review.author.strip() and review.text.strip()):
        raise ReviewError("Please tell us your name and what you think.")
    return review
