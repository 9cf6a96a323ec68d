"""The permission table: which subjects of NATS each process of a platform may use."""

from __future__ import annotations

from broker.nats.credentials.permissions import TABLE, Act, Right
from docs.generator.markdown import code, table

_ACTS = {
    Act.PUBLISH: "publish",
    Act.SUBSCRIBE: "subscribe",
    Act.NOT_PUBLISH: "never publish",
}


def rights() -> str:
    """Return one section for each role, with one row for each of its rights."""
    return "\n\n".join(
        f"## {role.value[0].upper()}{role.value[1:]}\n\n{_rows(lines)}"
        for role, lines in TABLE.items()
    )


def _rows(lines: tuple[Right, ...]) -> str:
    rows = [(_ACTS[right.act], code(right.subject), right.reason) for right in lines]
    return table(["May", "Subject", "For"], rows)
