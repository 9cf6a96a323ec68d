"""Requests for views: a pod sends one to a broker when it receives an unknown context.

A pod imports this module; ``view_responder`` answers on the broker's side.
"""

from __future__ import annotations

import msgspec

from kubefox.context import ComponentView
from kubefox.errors import ErrorDetail


class ViewRequest(msgspec.Struct, frozen=True, array_like=True):
    """A pod's request for its view of a context; its subject names the component version.

    Attributes:
        token: The sealed context.
    """

    token: str


class ViewReply(msgspec.Struct, frozen=True, array_like=True):
    """The view, or the reason why the pod gets none."""

    view: ComponentView | None = None
    error: ErrorDetail | None = None
