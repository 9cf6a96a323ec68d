"""Short texts for people: an age, a number with its noun, a list, a Git source."""

from __future__ import annotations

from collections.abc import Iterable

from kubefox.component import short
from kubefox.deployment import SourceRef

_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def age(since_s: float, now_s: float) -> str:
    """Return the time since ``since_s`` in its largest unit, such as ``5m``; empty if it is 0."""
    if not since_s:
        return ""
    passed_s = max(0, int(now_s - since_s))
    for unit, length_s in _UNITS:
        if passed_s >= length_s:
            return f"{passed_s // length_s}{unit}"
    return "0s"


def count(number: int, noun: str) -> str:
    """Return a number with its noun, such as ``2 pods``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def listed(names: Iterable[str]) -> str:
    """Return names as one text, sorted and separated by commas."""
    return ", ".join(sorted(names))


def source_text(source: SourceRef) -> str:
    """Return the branch, tag and short commit of a source, and ``dirty``, where known."""
    parts = [source.branch, source.tag, short(source.commit), "dirty" if source.is_dirty else ""]
    return " ".join(filter(None, parts))
