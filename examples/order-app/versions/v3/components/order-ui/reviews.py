"""The reviews of an order, and the form for a new one."""

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
    ctx: Context, number: str, reviews: Iterable[Mapping[str, Any]], *, problem: str = ""
) -> str:
    """Return the reviews of an order, and the form for a new one."""
    entries = "".join(_entry(review) for review in reviews)
    return f"""<section class="card" id="reviews">
<h2>Reviews</h2>
<ul class="orders">{entries or "<li>No reviews yet.</li>"}</ul>
</section>
<section class="card">
<h2>Write a review</h2>
{_form(ctx, number, problem)}
</section>"""


def _entry(review: Mapping[str, Any]) -> str:
    return (
        f"<li>{stars(review['stars'])}<span>{escape(review['text'])} "
        f"<small>{escape(review['author'])}</small></span></li>"
    )


def _form(ctx: Context, number: str, problem: str) -> str:
    choices = "".join(
        f'<option value="{count}">{"★" * count}</option>' for count in range(BEST, 0, -1)
    )
    warning = f'<p class="problem" role="alert">{escape(problem)}</p>' if problem else ""
    return f"""{warning}<form method="post" action="{href(ctx, f"/orders/{number}/reviews")}">
<label>Your name <input name="author" required maxlength="60" autocomplete="name"></label>
<label>Stars <select name="stars">{choices}</select></label>
<label>Review <input name="text" required maxlength="300"></label>
<button>Send review</button>
</form>"""
