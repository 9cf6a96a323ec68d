"""The question that a pod asks a broker when it meets a context, and the answer."""

from __future__ import annotations

import msgspec

from model.context import ComponentView
from model.errors import ErrorDetail


class ViewRequest(msgspec.Struct, frozen=True, array_like=True):
    """A pod asks what it may know of a context.

    Attributes:
        token: The sealed context.
        component: Name of the component that asks.
        hash: Its full content hash.
    """

    token: str
    component: str
    hash: str


class ViewReply(msgspec.Struct, frozen=True, array_like=True):
    """The view, or why there is none."""

    view: ComponentView | None = None
    error: ErrorDetail | None = None
