"""What people say about an order, and the form to say it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from layout import href

from fox import Context

BEST = 5


def stars(rating: float) -> str:
    """Return a rating of 1 to 5 as stars."""
    full = round(rating)
    return (
        f'<span class="stars" style="color: var(--accent)" title="{rating:.1f} of {BEST}">'
        f"{'★' * full}{'☆' * (BEST - full)}</span>"
    )


def section(
    ctx: Context, number: str, said: Iterable[Mapping[str, Any]], *, problem: str = ""
) -> str:
    """Return the reviews of one order with the form for another."""
    entries = "".join(_entry(each) for each in said)
    return f"""<section class="card" id="reviews">
<h2>Reviews</h2>
<ul class="orders">{entries or "<li>Nobody has said anything yet.</li>"}</ul>
</section>
<section class="card">
<h2>Say how it was</h2>
{_form(ctx, number, problem)}
</section>"""


def _entry(said: Mapping[str, Any]) -> str:
    return (
        f"<li>{stars(said['stars'])}<span>{escape(said['text'])} "
        f"<small>{escape(said['author'])}</small></span></li>"
    )


def _form(ctx: Context, number: str, problem: str) -> str:
    choices = "".join(
        f'<option value="{count}">{"★" * count}</option>' for count in range(BEST, 0, -1)
    )
    warning = f'<p class="problem" role="alert">{escape(problem)}</p>' if problem else ""
    return f"""{warning}<form method="post" action="{href(ctx, f"/orders/{number}/reviews")}">
<label>Your name <input name="author" required maxlength="60" autocomplete="name"></label>
<label>Stars <select name="stars">{choices}</select></label>
<label>What you think <input name="text" required maxlength="300"></label>
<button>Send review</button>
</form>"""
