"""Orders and their steps: pure functions, so they are tested without a platform."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

FIRST_NUMBER = 1001
MAX_QUANTITY = 99


class Product(msgspec.Struct, frozen=True, kw_only=True):
    """A product that customers can order."""

    id: str
    title: str
    price: int


PRODUCTS = (
    Product(id="mug", title="Enamel mug", price=14),
    Product(id="scarf", title="Wool scarf", price=39),
    Product(id="notebook", title="Field notebook", price=9),
    Product(id="lantern", title="Storm lantern", price=52),
)
CATALOGUE = {product.id: product for product in PRODUCTS}


class OrderError(Exception):
    """A request that cannot be fulfilled; the message is for the customer."""

    status = 422


class NotFound(OrderError):
    """The order or the path does not exist."""

    status = 404


class StatusConflict(OrderError):
    """The status of the order is not the one that the caller expects."""

    status = 409


class OrderRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The order form of a customer."""

    customer: str
    product: str
    quantity: int


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step of an order.

    Attributes:
        status: Status of the order after the step.
        at_s: Unix time of the step.
        by: ``component@hash`` that made the step.
    """

    status: str
    at_s: float
    by: str


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One order, with all its steps, oldest first."""

    number: int
    customer: str
    product: str
    quantity: int
    steps: tuple[Step, ...]

    @property
    def status(self) -> str:
        """The current status."""
        return self.steps[-1].status


def parse_request(content: object) -> OrderRequest:
    """Return a valid order form.

    Raises:
        OrderError: A field is missing or out of range.
    """
    try:
        request = msgspec.convert(content, OrderRequest, strict=False)
    except msgspec.ValidationError as error:
        raise OrderError(f"This is not a valid order: {error}.") from error
    if not request.customer.strip():
        raise OrderError("Please enter your name.")
    if request.product not in CATALOGUE:
        raise OrderError(f"We do not sell {request.product!r}.")
    if not 1 <= request.quantity <= MAX_QUANTITY:
        raise OrderError(f"Please order between 1 and {MAX_QUANTITY} pieces.")
    return request


def next_number(numbers: Iterable[int]) -> int:
    """Return the number after the highest one."""
    return max(numbers, default=FIRST_NUMBER - 1) + 1


def place(request: OrderRequest, number: int, *, at_s: float, by: str) -> Order:
    """Return the new order."""
    return Order(
        number=number,
        customer=request.customer.strip(),
        product=request.product,
        quantity=request.quantity,
        steps=(Step(status="placed", at_s=at_s, by=by),),
    )


def move(order: Order, before: str, after: str, *, at_s: float, by: str) -> Order:
    """Return the order with one more step.

    The caller names the current status, so a repeated request does not move the order twice.

    Raises:
        StatusConflict: The order has another status.
    """
    if order.status != before:
        raise StatusConflict(f"Order {order.number} is {order.status}, not {before}.")
    step = Step(status=after, at_s=at_s, by=by)
    return msgspec.structs.replace(order, steps=(*order.steps, step))
