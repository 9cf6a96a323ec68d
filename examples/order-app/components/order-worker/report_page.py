"""The report as a page, for who comes with a browser."""

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
        ctx: Whose deployment and virtual environment the page names.
        orders: How many are at each step, in the order of the steps.
        components: ``component@hash`` of those that took part.
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
<p>With each tick of the clock every order moves one step on, where the app is released.</p>
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
    """Return where the orders are, seen from here, in the same deployment and environment."""
    if ctx.is_released:
        return "../order-app"
    selectors = {"kf-dep": ctx.deployment, "kf-ve": ctx.virtual_environment}
    return f"../order-app?{urlencode(selectors)}"


def _part(source: str) -> str:
    """Return one component with its version, in a colour that belongs to that version."""
    name, _, digest = source.partition("@")
    hue = int(digest[:SHORT], 16) % 360
    return (
        f'<li data-source="{escape(name)}@{digest[:SHORT]}" style="--hue: {hue}">'
        f"<b>{escape(name)}</b> <code>{digest[:SHORT]}</code></li>"
    )
