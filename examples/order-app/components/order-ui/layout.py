"""The frame of every page: deployment, virtual environment and component versions."""

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
        ctx: Context of the request; the page shows its deployment and virtual environment.
        title: Title of the browser's tab.
        body: HTML of the page's content.
        served_by: ``component@hash`` of each other component that handled the request.
        status: HTTP status.
    """
    sources = (f"{ctx.component}@{ctx.hash}", *served_by)
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
<ul class="parts">{"".join(_part(source) for source in sources)}</ul>
</footer>
</body>
</html>
""",
        status=status,
    )


def url(ctx: Context, path: str = "") -> str:
    """Return a URL of the app in the same deployment and virtual environment.

    A plain URL selects the release. A request by an explicit URL names its deployment and virtual
    environment, so every link and form names them again.
    """
    plain = f"/{ctx.env['subPath']}/order-app{path}"
    if ctx.is_released:
        return plain
    selectors = {"kf-dep": ctx.deployment, "kf-ve": ctx.virtual_environment}
    return f"{plain}?{urlencode(selectors)}"


def href(ctx: Context, path: str = "") -> str:
    """Return ``url`` escaped for an HTML attribute."""
    return escape(url(ctx, path))


def _chosen_by(ctx: Context) -> str:
    return f"release {ctx.release}" if ctx.is_released else "explicit URL"


def _part(source: str) -> str:
    """Return one component version as HTML; equal versions have equal colours."""
    name, _, digest = source.partition("@")
    hue = int(digest[:SHORT], 16) % 360
    return (
        f'<li data-source="{escape(name)}@{digest[:SHORT]}" style="--hue: {hue}">'
        f"<b>{escape(name)}</b> <code>{digest[:SHORT]}</code></li>"
    )
