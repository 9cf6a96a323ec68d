"""Rules of HTTP: idempotent methods; valid statuses, header names and header values."""

from __future__ import annotations

import re

FIRST_STATUS, LAST_STATUS = 200, 599
"""The range of final statuses; 1xx statuses are interim responses."""

is_header_name = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+").fullmatch  # RFC 9110, 5.6.2
breaks_header = re.compile(r"[\r\n\0]").search

_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})


_SAFE = frozenset({"GET", "HEAD"})


def is_idempotent(method: str) -> bool:
    """Return whether sending a request twice has the effect of sending it once: RFC 9110, 9.2.2."""
    return method in _IDEMPOTENT


def has_only_an_answer(method: str) -> bool:
    """Return whether a request asks for its answer only, and has no other effect."""
    return method in _SAFE
