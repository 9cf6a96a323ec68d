"""Bundles that look old."""

from __future__ import annotations

from broker.storage.bundles import Bundles


async def age(bundles: Bundles, *digests: str) -> None:
    """Set the last claim of bundles to a time long ago."""
    for digest in digests:
        found = await bundles._meta(digest)
        assert found is not None
        info, revision = found
        info.mtime = "2020-01-01T00:00:00+00:00"
        assert await bundles._write_meta(info, revision)
