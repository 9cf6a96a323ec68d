"""The users that pods run as: each running pod has one of its own, from a range of user ids."""

from __future__ import annotations

import re

from kubefox.errors import InvalidRequest, Unavailable

_RANGE = re.compile(r"(\d{1,9})-(\d{1,9})")
_ROOT = 0


class PodUsers:
    """The free user ids of a range.

    Args:
        uids: First and last one; None if pods run as the platform's user.
    """

    def __init__(self, uids: tuple[int, int] | None) -> None:
        self._uids = range(uids[0], uids[1] + 1) if uids else range(0)
        self._used: set[int] = set()

    def take(self) -> int:
        """Return an id that no running pod has, the lowest one; 0 for the platform's user.

        Raises:
            Unavailable: Pods have all of them.
        """
        if not self._uids:
            return _ROOT
        uid = next((uid for uid in self._uids if uid not in self._used), None)
        if uid is None:
            raise Unavailable(
                f"pods have all {len(self._uids)} users of FOX_POD_UIDS: widen the range"
            )
        self._used.add(uid)
        return uid

    def release(self, uid: int) -> None:
        """Give an id back once no process of its pod runs."""
        self._used.discard(uid)


def parse_uids(text: str) -> tuple[int, int] | None:
    """Return the ids in ``FOX_POD_UIDS``, which is ``first-last``; None for an empty text.

    Raises:
        InvalidRequest: It is no such range, or contains root.
    """
    if not text:
        return None
    found = _RANGE.fullmatch(text.strip())
    first, last = (int(found[1]), int(found[2])) if found else (_ROOT, _ROOT)
    if not _ROOT < first <= last:
        raise InvalidRequest(
            f"FOX_POD_UIDS={text!r}: expected two user ids above 0, such as 61184-65519"
        )
    return first, last
