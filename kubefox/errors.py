"""All failures that the platform reports, with code and HTTP status.

FoxError
├── InvalidRequest               400
│   ├── InvalidSelector                selectors contradict each other or are incomplete
│   ├── InvalidContext                 the environment lacks variables of the deployment
│   ├── InvalidEvent                   a frame, token or payload cannot be decoded
│   ├── InvalidBundle                  a bundle cannot be read or has a forbidden member
│   └── UnsupportedContentType         the receiver does not accept the body's type
├── Unauthenticated              401   no token, or one that is not valid
├── NotAuthorized                403
│   ├── MissingRole                    the caller has not the role that an operation needs
│   └── NotDeclared                    a call of an undeclared dependency
├── NotFound                     404
│   ├── DeploymentNotFound
│   ├── EnvironmentNotFound            an environment or a virtual environment
│   ├── GenerationNotFound             an earlier content of a deployment
│   ├── ReleaseNotFound
│   └── RouteNotFound
├── Conflict                     409
│   ├── RevisionConflict               a compare-and-set lost against another write
│   ├── Immutable                      a versioned deployment or a fixed field
│   └── InUse                          another object refers to it
├── ContinueExpired              410   a list has changed since its first page
├── BodyTooSlow                  408
├── BodyTooLarge                 413
├── ProblemsFound                422   holds the list of all Problems
├── HeadersTooLarge              431
├── TooManyFailures              429   too many requests without a valid token
├── ClientGone                   499   nothing waits for the answer any more; never sent
├── ComponentFailed              500   the handler raised
├── VariableMissing              500   the handler read a variable that has no value
├── InternalError                500   the platform itself raised
├── UnsupportedTransferEncoding  501   a transfer encoding other than chunked
├── ComponentGone                502   the pod died during the request
├── ComponentMismatch            502   the event reached a component outside its deployment
├── StreamBroken                 502   a streamed body is incomplete
├── Unavailable                  503   sent with Retry-After
│   ├── AuditUnavailable               changes cannot be recorded
│   ├── IssuerUnavailable              the OIDC issuer does not answer
│   ├── NoPodReady
│   ├── Overloaded
│   ├── Draining
│   └── NatsUnavailable
└── DeadlineExceeded             504   the event's time to live ran out

Cause and cure of each code: docs/reference/errors.md.
"""

from __future__ import annotations

import re
from typing import ClassVar

import msgspec

from kubefox.component import SHORT_HASH_LENGTH
from kubefox.refusal import Refusal

RETRY_AFTER_S = 1

# A component version with its whole hash, as in ``Event.source``.
_WITH_WHOLE_HASH = re.compile(rf"(@[0-9a-f]{{{SHORT_HASH_LENGTH}}})[0-9a-f]+")


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One reason why a deployment or a release cannot be used.

    Attributes:
        type: CamelCase name of the kind, such as ``VariableNotFound``.
        message: Description: what is wrong, with which object, and what was expected.
        path: Dotted path in the checked object, such as
            ``components.order-ui.routes[0].rule``.
    """

    type: str
    message: str
    path: str


class ErrorDetail(msgspec.Struct, frozen=True, array_like=True):
    """A FoxError as it crosses the wire inside a response.

    Attributes:
        code: ``FoxError.code``.
        detail: Text for the client.
        hop: ``component@<short hash>`` that failed or was waiting, or empty.
        refusal: ``FoxError.refusal``, or empty.
        retry_after_s: ``Unavailable.retry_after_s``, or 0.
    """

    code: str
    detail: str
    hop: str = ""
    refusal: str = ""
    retry_after_s: int = 0


def _displayed(text: str) -> str:
    # A handler's text may hold characters that UTF-8 cannot encode; they are replaced.
    return _WITH_WHOLE_HASH.sub(r"\1", text).encode(errors="replace").decode()


class FoxError(Exception):
    """Base of all failures that have a code and a status.

    Args:
        detail: Description: what failed, with which object, and what was expected. Clients read it,
            so internal causes are not a part of it: chain them with ``raise … from``.
        hop: ``component@hash`` that failed or was waiting, if known.
        refusal: Replaces the reason of the class.

    In both texts, hashes are shortened to 12 characters.

    Attributes:
        refusal: Why the event was refused; None if it failed for another reason.
        responder: Number of the process that answered with the failure; 0 without an answer.
    """

    code: ClassVar[str] = "internal_error"
    http_status: ClassVar[int] = 500
    refusal: Refusal | None = None
    responder = 0

    def __init__(self, detail: str, *, hop: str = "", refusal: Refusal | None = None) -> None:
        self.detail = _displayed(detail)
        self.hop = _displayed(hop)
        if refusal is not None:
            self.refusal = refusal
        super().__init__(self.detail)

    def to_detail(self) -> ErrorDetail:
        """Return the form that crosses the wire."""
        return ErrorDetail(self.code, self.detail, self.hop, self.refusal or "")


class InvalidRequest(FoxError):
    """The request cannot be understood."""

    code = "invalid_request"
    http_status = 400


class InvalidSelector(InvalidRequest):
    """The selectors contradict each other or are incomplete."""

    code = "invalid_selector"


class InvalidContext(InvalidRequest):
    """The virtual environment lacks variables of the deployment."""

    code = "invalid_context"


class InvalidEvent(InvalidRequest):
    """A frame, token or payload cannot be decoded."""

    code = "invalid_event"


class InvalidBundle(InvalidRequest):
    """A bundle cannot be read, or has a member that is not allowed."""

    code = "invalid_bundle"


class UnsupportedContentType(InvalidRequest):
    """The receiver does not accept the type of the body."""

    code = "unsupported_content_type"


class Unauthenticated(FoxError):
    """The caller has not proven who it is."""

    code = "unauthenticated"
    http_status = 401


class NotAuthorized(FoxError):
    """The caller may not do this."""

    code = "not_authorized"
    http_status = 403


class MissingRole(NotAuthorized):
    """The caller has not the role that an operation needs, or not for what it touches."""

    code = "missing_role"


class NotDeclared(NotAuthorized):
    """A component called a dependency that it does not declare."""

    code = "not_declared"


class NotFound(FoxError):
    """The named object does not exist."""

    code = "not_found"
    http_status = 404


class DeploymentNotFound(NotFound):
    """No deployment has this name."""

    code = "deployment_not_found"


class EnvironmentNotFound(NotFound):
    """No environment or virtual environment has this name."""

    code = "environment_not_found"


class GenerationNotFound(NotFound):
    """The deployment has no such generation, or nothing is rolling."""

    code = "generation_not_found"


class ReleaseNotFound(NotFound):
    """The virtual environment has no such release."""

    code = "release_not_found"


class RouteNotFound(NotFound):
    """No route accepts the event."""

    code = "route_not_found"


class Conflict(FoxError):
    """The write contradicts the stored data."""

    code = "conflict"
    http_status = 409


class RevisionConflict(Conflict):
    """A compare-and-set lost against another write."""

    code = "revision_conflict"


class Immutable(Conflict):
    """The object, or a field of it, cannot be changed."""

    code = "immutable"


class InUse(Conflict):
    """The object cannot be deleted because another object refers to it."""

    code = "in_use"


class ContinueExpired(FoxError):
    """The revision of a list's pages is not kept any more.

    Args:
        detail: See ``FoxError``.
        hop: See ``FoxError``.
        restart: Token that goes on at the newest revision.
    """

    code = "continue_expired"
    http_status = 410

    def __init__(self, detail: str, *, hop: str = "", restart: str = "") -> None:
        super().__init__(detail, hop=hop)
        self.restart = restart


class BodyTooSlow(FoxError):
    """The client did not send the body in time."""

    code = "body_too_slow"
    http_status = 408
    refusal = Refusal.BODY_TOO_SLOW


class BodyTooLarge(FoxError):
    """The body is over the limit for a buffered body."""

    code = "body_too_large"
    http_status = 413
    refusal = Refusal.BODY_TOO_LARGE


class ProblemsFound(FoxError):
    """The object is well formed but cannot be used; ``problems`` lists all reasons."""

    code = "problems_found"
    http_status = 422

    def __init__(self, detail: str, problems: tuple[Problem, ...]) -> None:
        super().__init__(detail)
        self.problems = problems


class HeadersTooLarge(FoxError):
    """The headers are over the limit."""

    code = "headers_too_large"
    http_status = 431
    refusal = Refusal.HEADERS_TOO_LARGE


class TooManyFailures(FoxError):
    """A client has sent too many requests without a valid token."""

    code = "too_many_failures"
    http_status = 429


class ClientGone(FoxError):
    """The client has disconnected before it was answered; seen in metrics and traces only."""

    code = "client_gone"
    http_status = 499


class ComponentFailed(FoxError):
    """The component's handler raised."""

    code = "component_failed"


class VariableMissing(FoxError):
    """The virtual environment has no value for a variable that the component reads."""

    code = "variable_missing"


class InternalError(FoxError):
    """The platform itself failed; its log has the cause under the event id."""


class UnsupportedTransferEncoding(FoxError):
    """The body has a transfer encoding other than chunked."""

    code = "unsupported_transfer_encoding"
    http_status = 501


class ComponentGone(FoxError):
    """The pod died during the request."""

    code = "component_gone"
    http_status = 502


class ComponentMismatch(FoxError):
    """The event reached a component version outside its deployment."""

    code = "component_mismatch"
    http_status = 502


class StreamBroken(FoxError):
    """A streamed body is incomplete."""

    code = "stream_broken"
    http_status = 502


class Unavailable(FoxError):
    """The request cannot be served now; it may succeed later.

    Attributes:
        retry_after_s: After how many seconds it may succeed.
    """

    code = "unavailable"
    http_status = 503
    retry_after_s: int = RETRY_AFTER_S

    def to_detail(self) -> ErrorDetail:
        """Return the form that crosses the wire."""
        return msgspec.structs.replace(super().to_detail(), retry_after_s=self.retry_after_s)


class AuditUnavailable(Unavailable):
    """The audit log cannot be written, so nothing may be changed."""

    code = "audit_unavailable"


class IssuerUnavailable(Unavailable):
    """The OIDC issuer does not answer, so a token cannot be checked."""

    code = "issuer_unavailable"


class NoPodReady(Unavailable):
    """No pod of the component version is ready."""

    code = "no_pod_ready"


class Overloaded(Unavailable):
    """The receiver has reached its limit of concurrent events."""

    code = "overloaded"


class Draining(Unavailable):
    """The receiver is shutting down."""

    code = "draining"
    refusal = Refusal.DRAINING


class NatsUnavailable(Unavailable):
    """The connection to NATS is down."""

    code = "nats_unavailable"


class DeadlineExceeded(FoxError):
    """The event's time to live ran out; ``hop`` is the receiver that did not answer."""

    code = "deadline_exceeded"
    http_status = 504


def _subclasses(root: type[FoxError]) -> list[type[FoxError]]:
    return [root, *(leaf for child in root.__subclasses__() for leaf in _subclasses(child))]


_REFUSALS = frozenset(Refusal)
_BY_CODE: dict[str, type[FoxError]] = {kind.code: kind for kind in _subclasses(FoxError)}


def from_detail(error: ErrorDetail) -> FoxError:
    """Return the error that a peer reported; an unknown code becomes InternalError."""
    kind = _BY_CODE.get(error.code, InternalError)
    if issubclass(kind, ProblemsFound):
        return ProblemsFound(error.detail, ())
    failure = kind(error.detail, hop=error.hop)
    # A newer peer may know more reasons.
    if error.refusal in _REFUSALS:
        failure.refusal = Refusal(error.refusal)
    if isinstance(failure, Unavailable) and error.retry_after_s > 0:
        failure.retry_after_s = error.retry_after_s
    return failure
