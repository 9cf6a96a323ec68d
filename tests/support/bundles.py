"""Bundles as if time had passed."""

from __future__ import annotations

from broker.bundles import Bundles


async def age(bundles: Bundles, *digests: str) -> None:
    """Have bundles be there for long, and nobody have claimed them lately."""
    for digest in digests:
        found = await bundles._meta(digest)
        assert found is not None
        info, revision = found
        info.mtime = "2020-01-01T00:00:00+00:00"
        assert await bundles._write_meta(info, revision)
