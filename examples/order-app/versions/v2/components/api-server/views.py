"""How orders look to whoever asks: plain JSON, with facts and figures ready to be shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from orders import CATALOGUE, PRODUCTS, Order


def order(each: Order, currency: str) -> dict[str, Any]:
    """Return one order with the facts that a page shows about it."""
    product = CATALOGUE[each.product]
    return {
        **msgspec.to_builtins(each),
        "status": each.status,
        "title": product.title,
        "facts": {
            "Quantity": str(each.quantity),
            "Price": f"{currency} {product.price}",
            "Total": f"{currency} {total(each):,}",
        },
    }


def overview(orders: Sequence[Order], currency: str) -> dict[str, Any]:
    """Return all orders, newest first, with figures about them and what one can order."""
    return {
        "orders": [order(each, currency) for each in reversed(orders)],
        "figures": {
            "Orders": str(len(orders)),
            "On their way": str(sum(each.status != "delivered" for each in orders)),
            "Revenue": f"{currency} {sum(map(total, orders)):,}",
        },
        "products": {each.id: f"{each.title}, {currency} {each.price}" for each in PRODUCTS},
    }


def total(each: Order) -> int:
    """Return what the whole order costs."""
    return each.quantity * CATALOGUE[each.product].price
