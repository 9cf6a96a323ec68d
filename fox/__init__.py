"""The kit: a component is written, called and tested with these names, and with no others.

``Kit`` declares a component; a handler gets a ``Context`` and returns a ``Response``, or text,
bytes, a dict, a list or None. ``ServerSentEvent`` is one event of ``Response.events``. The module
``fox.errors`` holds the errors that a handler can catch, ``fox.testing`` a client for unit tests.

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
    from fox import errors, testing
    from fox.kit.context import Context
    from fox.kit.kit import Kit
    from fox.kit.response import Response
    from fox.kit.server_sent_events import ServerSentEvent

__all__ = ["Context", "Kit", "Response", "ServerSentEvent", "errors", "testing"]

_CLASSES = {
    "Context": "fox.kit.context",
    "Kit": "fox.kit.kit",
    "Response": "fox.kit.response",
    "ServerSentEvent": "fox.kit.server_sent_events",
}
_MODULES = {"errors": "fox.errors", "testing": "fox.testing"}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: the `fox` command needs none of them."""
    if name in _CLASSES:
        return getattr(importlib.import_module(_CLASSES[name]), name)
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    raise AttributeError(f"module 'fox' has no attribute {name!r}")
