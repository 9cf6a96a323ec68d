"""A bar chart as SVG: a bar, the spread of the rounds and the value for each contestant."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import msgspec

WIDTH, LABELS, BARS, ROW, TOP = 760, 232, 340, 26, 48
COLOURS = {"own": "#c2501c", "floor": "#868e96", "peer": "#4c6e91"}


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """One bar.

    Attributes:
        label: Text on its left.
        value: Length of the bar.
        low: Begin of the whisker.
        high: End of the whisker.
        note: Text on its right.
        kind: One of ``COLOURS``.
    """

    label: str
    value: float
    low: float
    high: float
    note: str
    kind: str


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """Bars with a common scale and title."""

    title: str
    bars: tuple[Bar, ...]


def svg(panels: Sequence[Panel]) -> str:
    """Return the panels as SVG, one below the other."""
    parts, top = [], 0
    for panel in panels:
        parts.append(f'<g transform="translate(0 {top})">{_panel(panel)}</g>')
        top += TOP + ROW * len(panel.bars)
    height = top + 12
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" font-family="system-ui, sans-serif" font-size="12" '
        'fill="#212529">'
    )
    ground = f'<rect width="{WIDTH}" height="{height}" rx="8" fill="#ffffff"/>'
    return "\n".join([head, ground, *parts, "</svg>"]) + "\n"


def _panel(panel: Panel) -> str:
    scale = BARS / max(bar.high for bar in panel.bars)
    title = f'<text x="16" y="30" font-size="14" font-weight="600">{escape(panel.title)}</text>'
    rows = [_bar(bar, TOP + ROW * at, scale) for at, bar in enumerate(panel.bars)]
    return "\n".join([title, *rows])


def _bar(bar: Bar, top: int, scale: float) -> str:
    left, middle = LABELS + 8, top + 9
    end = left + bar.value * scale
    low, high = left + bar.low * scale, left + bar.high * scale
    label = f'<text x="{LABELS}" y="{top + 13}" text-anchor="end">{escape(bar.label)}</text>'
    body = (
        f'<rect x="{left}" y="{top}" width="{end - left:.1f}" height="18" rx="2" '
        f'fill="{COLOURS[bar.kind]}"/>'
    )
    whisker = (
        f'<path d="M{low:.1f} {middle}H{high:.1f}M{low:.1f} {middle - 4}v8'
        f'M{high:.1f} {middle - 4}v8" stroke="#212529" fill="none"/>'
    )
    note = f'<text x="{max(end, high) + 8:.1f}" y="{top + 13}">{escape(bar.note)}</text>'
    return "\n".join((label, body, whisker, note))
