"""The caller of the control API, as its token proves it, and what it may do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum

import msgspec

from kubefox.errors import MissingRole
from kubefox.grants import ALL, EVERYTHING, Grant, Role, Target, allows


class CallerKind(Enum):
    """How a caller has proven who it is."""

    NONE = "none"
    OWNER = "owner"
    TOKEN = "token"  # noqa: S105 - the kind
    OIDC = "oidc"


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who sends a request.

    Attributes:
        kind: How it has proven that.
        name: Name of the token, or the subject of an OIDC token.
        grants: What it may do.
        token_id: Public id of the token; empty for an OIDC token.
        expires_at_s: Unix time at which its token ends; None for the owner's, which does not.
    """

    kind: CallerKind
    name: str
    grants: tuple[Grant, ...]
    token_id: str = ""
    expires_at_s: float | None = None

    def may(self, role: Role, target: Target) -> bool:
        """Return whether it may do what a role allows, for a target."""
        return allows(self.grants, role, target)

    def has_role(self, role: Role) -> bool:
        """Return whether it has a role for any target."""
        return any(grant.role.includes(role) for grant in self.grants)

    @property
    def sees(self) -> Callable[[Target], bool] | None:
        """Whether it may view a target, as a function; None if it may view everything."""
        if self.may(Role.VIEW, EVERYTHING):
            return None
        return lambda target: self.may(Role.VIEW, target)

    def require(self, role: Role, targets: Iterable[Target]) -> None:
        """Check that it has a role for each target; without targets, for any one.

        Raises:
            MissingRole: It has not; the message names the first such target.
        """
        wanted = None
        for wanted in targets:
            if not self.may(role, wanted):
                raise self._refused(role, wanted)
        if wanted is None and not self.has_role(role):
            raise self._refused(role, Target())

    def _refused(self, role: Role, target: Target) -> MissingRole:
        roles = ", ".join(map(str, self.grants)) or "none"
        return MissingRole(
            f"{self.name} needs the role {role.value}{_text(target)}; its roles: {roles}"
        )


NOBODY = Caller(kind=CallerKind.NONE, name="", grants=())
"""The caller of an operation that needs no token."""


def _text(target: Target) -> str:
    if target == EVERYTHING:
        return " for everything"
    named = (("app", target.app), ("virtual environment", target.virtual_environment))
    parts = [f"all {noun}s" if name == ALL else f"{noun} {name}" for noun, name in named if name]
    return f" for {' in '.join(parts)}" if parts else ""
