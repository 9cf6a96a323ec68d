"""Review: stores the customers' reviews of their orders."""

from __future__ import annotations

from statistics import fmean

import msgspec

from fox import Context, Kit, Response
from fox.errors import RevisionConflict

BEST = 5

kit = Kit(title="Review", description="Stores the reviews of the Order App.")
store = kit.state_store("reviews")


class Review(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A review of one order by one customer."""

    author: str
    stars: int
    text: str


class ReviewError(Exception):
    """The review cannot be stored; the message is for the customer."""


@kit.default
async def serve(ctx: Context) -> Response:
    """Handle the calls of Order UI."""
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
            await store_review(ctx, number, parse(ctx.json()))
            return Response({}, status=201)
    return Response({"problem": f"There is no path {ctx.path}."}, status=404)


async def rate_orders(ctx: Context) -> dict[str, float]:
    """Return the mean rating of each order, by the number of the order."""
    entries = await store.list(ctx=ctx)
    return {entry.key: fmean(review["stars"] for review in entry.json()) for entry in entries}


async def store_review(ctx: Context, number: str, review: Review) -> None:
    """Add a review to its order; concurrent reviews are all stored."""
    while True:
        entry = await store.get(number, ctx=ctx)
        reviews = entry.json(list[Review]) if entry else []
        revision = entry.revision if entry else 0
        try:
            await store.put(number, [*reviews, review], ctx=ctx, revision=revision)
        except RevisionConflict:
            continue
        ctx.log.info("reviewed", order=number, stars=review.stars)
        return


def parse(content: object) -> Review:
    """Return a valid review.

    Raises:
        ReviewError: A field is missing, empty or out of range.
    """
    try:
        review = msgspec.convert(content, Review, strict=False)
    except msgspec.ValidationError as error:
        raise ReviewError(f"This is not a valid review: {error}.") from error
    if not 1 <= review.stars <= BEST:
        raise ReviewError(f"Please give 1 to {BEST} stars.")
    if not (review.author.strip() and review.text.strip()):
        raise ReviewError("Please enter your name and a review.")
    return review
