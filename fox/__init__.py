"""The kit: what a component is written with.

Example:
    >>> from fox import Context, Kit
    >>> kit = Kit(title="Hello")
    >>> @kit.route("Path(`/hello/{name}`)")
    ... async def hello(ctx: Context) -> str:
    ...     return f"Hello {ctx.params['name']}"
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fox.kit.context import Context
    from fox.kit.events import ServerSentEvent
    from fox.kit.kit import Kit
    from fox.kit.response import Response

__all__ = ["Context", "Kit", "Response", "ServerSentEvent"]

_MODULES = {
    "Context": "fox.kit.context",
    "Kit": "fox.kit.kit",
    "Response": "fox.kit.response",
    "ServerSentEvent": "fox.kit.events",
}


def __getattr__(name: str) -> object:
    """Import a name of the kit when it is first asked for: the `fox` command needs none."""
    if name not in _MODULES:
        raise AttributeError(f"module 'fox' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
