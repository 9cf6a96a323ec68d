"""The content of the pages; every value is escaped where it is inserted."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape
from typing import Any

from layout import SHORT, href

from fox import Context

STATUSES = ("placed", "packed", "shipped", "delivered")


def front(
    ctx: Context,
    overview: Mapping[str, Any],
    *,
    problem: str = "",
    notes: Mapping[str, str] | None = None,
) -> str:
    """Return all orders and the form for a new one.

    Args:
        ctx: Context of the request, for links.
        overview: All orders, as API Server returns them.
        problem: Problem of an order that was not valid, or empty.
        notes: HTML to show beside an order, by its number.
    """
    notes = notes or {}
    figures = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in overview["figures"].items()
    )
    rows = "".join(
        _row(ctx, order, notes.get(str(order["number"]), "")) for order in overview["orders"]
    )
    return f"""<dl class="figures">{figures}</dl>
<section class="card">
<h2>Orders</h2>
<ul class="orders">{rows or "<li>No orders yet: place the first one.</li>"}</ul>
</section>
<section class="card">
<h2>Place an order</h2>
{_order_form(ctx, overview["products"], problem)}
</section>"""


def order(ctx: Context, shown: Mapping[str, Any]) -> str:
    """Return one order and its steps."""
    facts = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in shown["facts"].items()
    )
    return f"""<p><a href="{href(ctx)}">← All orders</a></p>
<section class="card">
<h1>{escape(shown["title"])} <small>#{shown["number"]} for {escape(shown["customer"])}</small></h1>
{_progress(shown["status"])}
<dl class="figures">{facts}</dl>
<ol class="steps">{"".join(_step(step) for step in shown["steps"])}</ol>
</section>"""


def missing(problem: str) -> str:
    """Return the content of a page that does not exist."""
    return f'<section class="card"><h1>Not found</h1><p>{escape(problem)}</p></section>'


def _row(ctx: Context, order: Mapping[str, Any], note: str) -> str:
    number = order["number"]
    return (
        f'<li id="order-{number}"><a href="{href(ctx, f"/orders/{number}")}">#{number}</a>'
        f"<span>{order['quantity']} &times; {escape(order['title'])}"
        f" <small>for {escape(order['customer'])}</small></span>{note}"
        f'<span class="status {escape(order["status"])}">{escape(order["status"])}</span></li>'
    )


def _order_form(ctx: Context, products: Mapping[str, str], problem: str) -> str:
    options = "".join(
        f'<option value="{escape(product)}">{escape(title)}</option>'
        for product, title in products.items()
    )
    warning = f'<p class="problem" role="alert">{escape(problem)}</p>' if problem else ""
    return f"""{warning}<form method="post" action="{href(ctx, "/orders")}">
<label>Your name <input name="customer" required maxlength="60" autocomplete="name"></label>
<label>Product <select name="product">{options}</select></label>
<label>Pieces <input name="quantity" type="number" min="1" max="99" value="1"></label>
<button>Place order</button>
</form>"""


def _progress(status: str) -> str:
    reached = STATUSES.index(status)
    marks = "".join(
        f'<li class="{"done" if position <= reached else ""}">{name}</li>'
        for position, name in enumerate(STATUSES)
    )
    return f'<ol class="way" id="status" data-status="{status}">{marks}</ol>'


def _step(step: Mapping[str, Any]) -> str:
    at = datetime.fromtimestamp(step["at_s"], UTC)
    name, _, digest = step["by"].partition("@")
    return (
        f'<li><time datetime="{at:%Y-%m-%dT%H:%M:%SZ}">{at:%H:%M:%S}</time> '
        f"{escape(step['status'])} <small>by {escape(name)} {digest[:SHORT]}</small></li>"
    )
