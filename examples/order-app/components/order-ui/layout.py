"""What every page has around it: where the visitor is, and which components took part."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path
from urllib.parse import urlencode

from fox import Context, Response

STYLE = Path(__file__).with_name("style.css").read_text()
SHORT = 12


def page(
    ctx: Context, title: str, body: str, *, served_by: Iterable[str], status: int = 200
) -> Response:
    """Return a whole page.

    Args:
        ctx: Whose deployment and virtual environment the page names.
        title: For the browser's tab.
        body: HTML of the page's own part.
        served_by: ``component@hash`` of every other component that took part.
        status: HTTP status.
    """
    parts = (f"{ctx.component}@{ctx.hash}", *served_by)
    return Response.html(
        f"""<!doctype html>
<html lang="en" style="--accent: {escape(str(ctx.env["accent"]))}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)} · Order App</title>
<style>
{STYLE}</style>
</head>
<body>
<header>
<a class="brand" href="{href(ctx)}">Order App</a>
<p class="greeting">{escape(str(ctx.env["greeting"]))}</p>
<nav><a href="{href(ctx)}">Orders</a><a href="{href(ctx, "/fulfillment")}">Fulfillment</a></nav>
</header>
<main>
{body}
</main>
<footer>
<dl>
<div><dt>Deployment</dt><dd id="deployment">{escape(ctx.deployment)}</dd></div>
<div><dt>Virtual environment</dt><dd id="environment">{escape(ctx.virtual_environment)}</dd></div>
<div><dt>Chosen by</dt><dd id="chosen-by">{escape(_chosen_by(ctx))}</dd></div>
</dl>
<ul class="parts">{"".join(_part(each) for each in parts)}</ul>
</footer>
</body>
</html>
""",
        status=status,
    )


def url(ctx: Context, path: str = "") -> str:
    """Return a URL within the app that stays where the visitor is.

    A plain URL means the release. Whoever came by an explicit one is in one deployment and one
    virtual environment, and every link and form has to name them again.
    """
    here = f"/{ctx.env['subPath']}/order-app{path}"
    if ctx.is_released:
        return here
    selectors = {"kf-dep": ctx.deployment, "kf-ve": ctx.virtual_environment}
    return f"{here}?{urlencode(selectors)}"


def href(ctx: Context, path: str = "") -> str:
    """Return ``url`` for an attribute."""
    return escape(url(ctx, path))


def _chosen_by(ctx: Context) -> str:
    return f"release {ctx.release}" if ctx.is_released else "explicit URL"


def _part(source: str) -> str:
    """Return one component with its version, in a colour that belongs to that version."""
    name, _, digest = source.partition("@")
    hue = int(digest[:SHORT], 16) % 360
    return (
        f'<li data-source="{escape(name)}@{digest[:SHORT]}" style="--hue: {hue}">'
        f"<b>{escape(name)}</b> <code>{digest[:SHORT]}</code></li>"
    )
