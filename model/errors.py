"""Every failure the platform reports, with its code and HTTP status.

FoxError
├── InvalidRequest            400
│   ├── InvalidSelector           a kf-dep / kf-ve that cannot be read
│   ├── InvalidContext            the environment lacks what the deployment needs
│   ├── InvalidEvent              a frame, token or payload that cannot be read
│   ├── InvalidBundle             a bundle that cannot be read, or holds what none may
│   └── UnsupportedContentType    a body the receiver does not take
├── NotAuthorized             403
│   └── NotDeclared               a call over an edge the app does not declare
├── NotFound                  404
│   ├── DeploymentNotFound
│   ├── EnvironmentNotFound       an environment or a virtual environment
│   ├── ReleaseNotFound
│   └── RouteNotFound
├── Conflict                  409
│   ├── RevisionConflict          a compare-and-set that lost
│   └── Immutable                 a versioned deployment, a fixed field, something in use
├── BodyTooSlow               408
├── BodyTooLarge              413
├── ProblemsFound             422   carries every Problem at once
├── HeadersTooLarge           431
├── ComponentFailed           500   the handler raised
├── InternalError             500   the platform itself raised
├── UnknownCoding             501   a body that is coded for the transfer in a way of its own
├── ComponentGone             502   died with the request in hand
├── ComponentMismatch         502   reached a component outside the deployment
├── StreamBroken              502   a part of a body is lost, or will never come
├── Unavailable               503   carries Retry-After
│   ├── NoPodReady
│   ├── Overloaded
│   ├── Draining
│   └── NatsUnavailable
└── DeadlineExceeded          504   names the hop that was waiting

Statuses and codes: docs/architecture.md, "Errors".
"""

from __future__ import annotations

import re
from typing import ClassVar

import msgspec

from model.component import SHORT_HASH_LENGTH

RETRY_AFTER_S = 1

# A component version as events are signed, ``Event.source``: with its whole hash.
_SIGNED = re.compile(rf"(@[0-9a-f]{{{SHORT_HASH_LENGTH}}})[0-9a-f]+")


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that stands in the way of a deployment or a release.

    Attributes:
        type: CamelCase name of the kind, such as ``VariableNotFound``.
        message: What is wrong, which one, and what was expected.
        path: Dotted place in the checked object, such as
            ``components.order-ui.routes[0].rule``.
    """

    type: str
    message: str
    path: str


class ErrorDetail(msgspec.Struct, frozen=True, array_like=True):
    """A FoxError as it crosses the wire inside a response.

    Attributes:
        code: ``FoxError.code``.
        detail: Text that may be shown to the client.
        hop: ``component@hash``, the hash short, that failed or was waiting, or empty.
    """

    code: str
    detail: str
    hop: str = ""


def _to_show(text: str) -> str:
    # What a handler puts into it may be no UTF-8, and it has to travel all the same.
    return _SIGNED.sub(r"\1", text).encode(errors="replace").decode()


class FoxError(Exception):
    """Base of all failures that have a code and a status.

    Args:
        detail: What, which one and what was expected. Shown to clients, so it never
            names internal causes: chain those with ``raise … from``.
        hop: ``component@hash`` that failed or was waiting, where known.

    In both, ``component@hash`` becomes the form that people are shown elsewhere: with the first
    12 characters of the hash.
    """

    code: ClassVar[str] = "internal_error"
    http_status: ClassVar[int] = 500

    def __init__(self, detail: str, *, hop: str = "") -> None:
        """Keep the text for the client and the hop for the operator."""
        self.detail = _to_show(detail)
        self.hop = _to_show(hop)
        super().__init__(self.detail)

    def to_detail(self) -> ErrorDetail:
        """Return the form that crosses the wire."""
        return ErrorDetail(self.code, self.detail, self.hop)


class InvalidRequest(FoxError):
    """The request cannot be understood."""

    code = "invalid_request"
    http_status = 400


class InvalidSelector(InvalidRequest):
    """A selector is contradictory or incomplete."""

    code = "invalid_selector"


class InvalidContext(InvalidRequest):
    """The virtual environment lacks what the deployment needs."""

    code = "invalid_context"


class InvalidEvent(InvalidRequest):
    """A frame, token or payload cannot be read."""

    code = "invalid_event"


class InvalidBundle(InvalidRequest):
    """A bundle cannot be read, or holds something that could leave its folder."""

    code = "invalid_bundle"


class UnsupportedContentType(InvalidRequest):
    """The body has a type that the receiver does not take."""

    code = "unsupported_content_type"


class NotAuthorized(FoxError):
    """The caller may not do this."""

    code = "not_authorized"
    http_status = 403


class NotDeclared(NotAuthorized):
    """A component called over an edge that its app does not declare."""

    code = "not_declared"


class NotFound(FoxError):
    """Something named does not exist."""

    code = "not_found"
    http_status = 404


class DeploymentNotFound(NotFound):
    """No deployment has this name."""

    code = "deployment_not_found"


class EnvironmentNotFound(NotFound):
    """No environment or virtual environment has this name."""

    code = "environment_not_found"


class ReleaseNotFound(NotFound):
    """The virtual environment has no such release."""

    code = "release_not_found"


class RouteNotFound(NotFound):
    """No route accepts the event."""

    code = "route_not_found"


class Conflict(FoxError):
    """The write does not fit what is stored."""

    code = "conflict"
    http_status = 409


class RevisionConflict(Conflict):
    """A compare-and-set lost against another writer."""

    code = "revision_conflict"


class Immutable(Conflict):
    """The object may not change in this way."""

    code = "immutable"


class BodyTooSlow(FoxError):
    """The client did not send the body in time."""

    code = "body_too_slow"
    http_status = 408


class BodyTooLarge(FoxError):
    """The body is over the limit for a buffered body."""

    code = "body_too_large"
    http_status = 413


class ProblemsFound(FoxError):
    """The object is well formed but cannot be used; every problem is listed."""

    code = "problems_found"
    http_status = 422

    def __init__(self, detail: str, problems: tuple[Problem, ...]) -> None:
        """Keep the problems in the order in which they were found."""
        super().__init__(detail)
        self.problems = problems


class HeadersTooLarge(FoxError):
    """The headers are over the limit."""

    code = "headers_too_large"
    http_status = 431


class ComponentFailed(FoxError):
    """The component's handler raised."""

    code = "component_failed"


class InternalError(FoxError):
    """The platform itself failed; the cause is in its log under the event id."""


class UnknownCoding(FoxError):
    """The body is coded for its transfer in a way that only the sender knows."""

    code = "unknown_transfer_coding"
    http_status = 501


class ComponentGone(FoxError):
    """The pod died with the request in hand."""

    code = "component_gone"
    http_status = 502


class ComponentMismatch(FoxError):
    """The event reached a component version outside its deployment."""

    code = "component_mismatch"
    http_status = 502


class StreamBroken(FoxError):
    """A body that travels in chunks lacks some of them."""

    code = "stream_broken"
    http_status = 502


class Unavailable(FoxError):
    """Not now: the same request may succeed a little later."""

    code = "unavailable"
    http_status = 503
    retry_after_s: ClassVar[int] = RETRY_AFTER_S


class NoPodReady(Unavailable):
    """No pod of the component version listens."""

    code = "no_pod_ready"


class Overloaded(Unavailable):
    """The receiver is at its limit of concurrent events."""

    code = "overloaded"


class Draining(Unavailable):
    """The receiver is shutting down."""

    code = "draining"


class NatsUnavailable(Unavailable):
    """The connection to NATS is down."""

    code = "nats_unavailable"


class DeadlineExceeded(FoxError):
    """The event's time to live ran out; ``hop`` is who was being waited for."""

    code = "deadline_exceeded"
    http_status = 504


def _subclasses(root: type[FoxError]) -> list[type[FoxError]]:
    return [root, *(leaf for child in root.__subclasses__() for leaf in _subclasses(child))]


_BY_CODE: dict[str, type[FoxError]] = {kind.code: kind for kind in _subclasses(FoxError)}


def from_detail(error: ErrorDetail) -> FoxError:
    """Rebuild the error that a peer reported; an unknown code becomes InternalError."""
    kind = _BY_CODE.get(error.code, InternalError)
    if issubclass(kind, ProblemsFound):
        return ProblemsFound(error.detail, ())
    return kind(error.detail, hop=error.hop)
