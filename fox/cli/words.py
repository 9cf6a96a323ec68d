"""Short texts for people: an age, a count, a list, where a deployment came from."""

from __future__ import annotations

from collections.abc import Iterable

from model.component import short
from model.deployment import SourceRef

_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def age(since_s: float, now_s: float) -> str:
    """Return the time that passed in its largest unit, such as ``5m``; nothing for no time."""
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
    """Return names in one text, sorted."""
    return ", ".join(sorted(names))


def source_text(source: SourceRef) -> str:
    """Return where in Git something came from: branch, tag and commit, as far as known."""
    parts = [source.branch, source.tag, short(source.commit), "dirty" if source.is_dirty else ""]
    return " ".join(part for part in parts if part)
