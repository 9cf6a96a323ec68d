"""HTTP limits of a test: small ones, so that they are reached soon."""

from __future__ import annotations

import msgspec
import pytest

from adapters.http.limits import HttpLimits

DEFAULTS = HttpLimits(drain_timeout_s=5)


def with_limits(**changes: float) -> pytest.MarkDecorator:
    """Return a mark: the test's fixture ``limits`` has these values."""
    limits = msgspec.structs.replace(DEFAULTS, **changes)
    return pytest.mark.parametrize("limits", [limits], ids=["-".join(changes)])
