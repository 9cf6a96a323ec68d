"""The errors that a handler, or a test of one, can catch: ``from fox import errors``.

Every class derives from ``FoxError`` and carries ``code``, ``http_status``, ``detail`` and ``hop``
(``component@hash`` that failed or was waited for, where known). A handler that raises one answers
with its status and code; any other exception becomes ``ComponentFailed``, 500. The tree and the
meaning of each class are in ``kubefox.errors``.

Example:
    >>> from fox import errors
    >>> try:
    ...     await orders.put("1", order, ctx=ctx, revision=0)
    ... except errors.RevisionConflict:
    ...     return Response("the order exists already", status=409)
"""

from __future__ import annotations

from kubefox.errors import (
    BodyTooLarge,
    BodyTooSlow,
    ComponentFailed,
    ComponentGone,
    ComponentMismatch,
    Conflict,
    DeadlineExceeded,
    Draining,
    FoxError,
    HeadersTooLarge,
    InternalError,
    InvalidContext,
    InvalidEvent,
    InvalidRequest,
    NatsUnavailable,
    NoPodReady,
    NotAuthorized,
    NotDeclared,
    NotFound,
    Overloaded,
    RevisionConflict,
    RouteNotFound,
    StreamBroken,
    Unavailable,
    UnsupportedContentType,
    VariableMissing,
)

__all__ = [
    "BodyTooLarge",
    "BodyTooSlow",
    "ComponentFailed",
    "ComponentGone",
    "ComponentMismatch",
    "Conflict",
    "DeadlineExceeded",
    "Draining",
    "FoxError",
    "HeadersTooLarge",
    "InternalError",
    "InvalidContext",
    "InvalidEvent",
    "InvalidRequest",
    "NatsUnavailable",
    "NoPodReady",
    "NotAuthorized",
    "NotDeclared",
    "NotFound",
    "Overloaded",
    "RevisionConflict",
    "RouteNotFound",
    "StreamBroken",
    "Unavailable",
    "UnsupportedContentType",
    "VariableMissing",
]
