"""Orders as JSON for other components, with facts and figures that are ready to be shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from orders import CATALOGUE, PRODUCTS, Order


def order(stored: Order, currency: str) -> dict[str, Any]:
    """Return one order with the facts that its page shows."""
    product = CATALOGUE[stored.product]
    return {
        **msgspec.to_builtins(stored),
        "status": stored.status,
        "title": product.title,
        "facts": {
            "Quantity": str(stored.quantity),
            "Price": f"{currency} {product.price}",
            "Total": f"{currency} {total(stored):,}",
        },
    }


def overview(orders: Sequence[Order], currency: str) -> dict[str, Any]:
    """Return all orders, newest first, with their figures and the products."""
    return {
        "orders": [order(stored, currency) for stored in reversed(orders)],
        "figures": {
            "Orders": str(len(orders)),
            "On their way": str(sum(stored.status != "delivered" for stored in orders)),
            "Revenue": f"{currency} {sum(map(total, orders)):,}",
        },
        "products": {
            product.id: f"{product.title}, {currency} {product.price}" for product in PRODUCTS
        },
    }


def total(stored: Order) -> int:
    """Return the price of all pieces of an order."""
    return stored.quantity * CATALOGUE[stored.product].price
