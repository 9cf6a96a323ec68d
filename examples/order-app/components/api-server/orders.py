"""What an order is and how it moves on: pure, so its rules are tested without a platform."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

FIRST_NUMBER = 1001
MAX_QUANTITY = 99


class Product(msgspec.Struct, frozen=True, kw_only=True):
    """Something one can order."""

    id: str
    title: str
    price: int


PRODUCTS = (
    Product(id="mug", title="Enamel mug", price=14),
    Product(id="scarf", title="Wool scarf", price=39),
    Product(id="notebook", title="Field notebook", price=9),
    Product(id="lantern", title="Storm lantern", price=52),
)
CATALOGUE = {each.id: each for each in PRODUCTS}


class OrderError(Exception):
    """What was asked cannot be done; the text is for the customer."""

    status = 422


class NotHere(OrderError):
    """There is no such order or page."""

    status = 404


class MovedMeanwhile(OrderError):
    """The order is not where the caller thought."""

    status = 409


class Wish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a customer asks for."""

    customer: str
    product: str
    quantity: int


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step of an order's way.

    Attributes:
        status: Where it is now.
        at_s: Unix time.
        by: ``component@hash`` that took the step.
    """

    status: str
    at_s: float
    by: str


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One order, with every step it has taken, the first one first."""

    number: int
    customer: str
    product: str
    quantity: int
    steps: tuple[Step, ...]

    @property
    def status(self) -> str:
        """Where the order is now."""
        return self.steps[-1].status


def parse_wish(content: object) -> Wish:
    """Return what a customer asks for.

    Raises:
        OrderError: Something is missing or out of range.
    """
    try:
        wish = msgspec.convert(content, Wish, strict=False)
    except msgspec.ValidationError as error:
        raise OrderError(f"That is not an order: {error}.") from error
    if not wish.customer.strip():
        raise OrderError("Please tell us your name.")
    if wish.product not in CATALOGUE:
        raise OrderError(f"We do not sell {wish.product!r}.")
    if not 1 <= wish.quantity <= MAX_QUANTITY:
        raise OrderError(f"Please order between 1 and {MAX_QUANTITY} pieces.")
    return wish


def next_number(numbers: Iterable[int]) -> int:
    """Return the number after the highest one."""
    return max(numbers, default=FIRST_NUMBER - 1) + 1


def place(wish: Wish, number: int, *, at_s: float, by: str) -> Order:
    """Return the new order."""
    return Order(
        number=number,
        customer=wish.customer.strip(),
        product=wish.product,
        quantity=wish.quantity,
        steps=(Step(status="placed", at_s=at_s, by=by),),
    )


def move(order: Order, before: str, after: str, *, at_s: float, by: str) -> Order:
    """Return the order one step further.

    Naming the status it leaves makes a step safe to ask for twice.

    Raises:
        MovedMeanwhile: It is not where the caller thought.
    """
    if order.status != before:
        raise MovedMeanwhile(f"Order {order.number} is {order.status}, not {before}.")
    step = Step(status=after, at_s=at_s, by=by)
    return msgspec.structs.replace(order, steps=(*order.steps, step))
