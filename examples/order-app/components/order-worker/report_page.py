"""The report as an HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from urllib.parse import urlencode

from fox import Context

STYLE = Path(__file__).with_name("report.css").read_text()
SHORT = 12


def render(ctx: Context, orders: Mapping[str, int], components: Sequence[str]) -> str:
    """Return the page.

    Args:
        ctx: Context of the request; the page shows its deployment and virtual environment.
        orders: Number of orders by status, in the order of the steps.
        components: ``component@hash`` of each component that handled the request.
    """
    steps = "".join(
        f'<div><dt>{escape(step)}</dt><dd id="{escape(step)}">{count}</dd></div>'
        for step, count in orders.items()
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Fulfillment · Order App</title>
<style>
{STYLE}</style>
</head>
<body>
<main>
<p><a href="{escape(_orders_url(ctx))}">← All orders</a></p>
<section class="card">
<h1>Fulfillment</h1>
<dl class="figures">{steps}</dl>
<p>Where the app is released, a schedule moves every order one step further.</p>
</section>
</main>
<footer>
<dl>
<div><dt>Deployment</dt><dd id="deployment">{escape(ctx.deployment)}</dd></div>
<div><dt>Virtual environment</dt><dd id="environment">{escape(ctx.virtual_environment)}</dd></div>
</dl>
<ul class="parts">{"".join(map(_part, components))}</ul>
</footer>
</body>
</html>
"""


def _orders_url(ctx: Context) -> str:
    """Return the relative URL of the orders, in the same deployment and virtual environment."""
    if ctx.is_released:
        return "../order-app"
    selectors = {"kf-dep": ctx.deployment, "kf-ve": ctx.virtual_environment}
    return f"../order-app?{urlencode(selectors)}"


def _part(source: str) -> str:
    """Return one component version as HTML; equal versions have equal colours."""
    name, _, digest = source.partition("@")
    hue = int(digest[:SHORT], 16) % 360
    return (
        f'<li data-source="{escape(name)}@{digest[:SHORT]}" style="--hue: {hue}">'
        f"<b>{escape(name)}</b> <code>{digest[:SHORT]}</code></li>"
    )
