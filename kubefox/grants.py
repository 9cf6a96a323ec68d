"""Roles of the control API, and the apps and virtual environments for which a caller has them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from functools import lru_cache
from typing import Annotated, NamedTuple

import msgspec

from kubefox.errors import InvalidRequest
from kubefox.formats import MAX_NAME_LENGTH, Format, Size, checked

ALL = "*"
MAX_GRANTS = 100
MAX_PATTERNS = 100
_PARTS = 3

NAME_PATTERN = Format(
    noun="pattern of names",
    pattern="[a-z0-9*](?:[a-z0-9*-]*[a-z0-9*])?",
    max_length=MAX_NAME_LENGTH,
    expected="a name, in which * stands for any characters",
)
Patterns = Annotated[
    tuple[Annotated[str, checked(NAME_PATTERN)], ...], checked(Size(max_entries=MAX_PATTERNS))
]


class Role(Enum):
    """A right of a caller of the control API: to read, or to change something."""

    VIEW = "view"
    DEPLOY = "deploy"
    RELEASE = "release"
    ADMIN = "admin"

    def includes(self, role: Role) -> bool:
        """Return whether a caller of this role may do what the other role allows."""
        return self is role or self is Role.ADMIN or role is Role.VIEW


class Target(NamedTuple):
    """The app and the virtual environment that an operation touches.

    Attributes:
        app: Name of the app; ``*`` for all apps, empty if it touches none.
        virtual_environment: The same of the virtual environment. An environment counts as one.
    """

    app: str = ""
    virtual_environment: str = ""


EVERYTHING = Target(ALL, ALL)


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """A role for some apps in some virtual environments.

    Attributes:
        role: The role. ``deploy`` and ``release`` include ``view``, ``admin`` includes all.
        apps: Names of apps, or patterns such as ``shop-*``.
        virtual_environments: The same for virtual environments, and for environments.
    """

    role: Role
    apps: Patterns = (ALL,)
    virtual_environments: Patterns = (ALL,)

    def covers(self, role: Role, target: Target) -> bool:
        """Return whether the grant allows what a role allows, for a target."""
        return (
            self.role.includes(role)
            and _covers(self.apps, target.app)
            and _covers(self.virtual_environments, target.virtual_environment)
        )

    def __str__(self) -> str:
        """Return the text that ``parse_grant`` reads."""
        parts = [self.role.value, ",".join(self.apps), ",".join(self.virtual_environments)]
        while len(parts) > 1 and parts[-1] == ALL:
            parts.pop()
        return ":".join(parts)


def parse_grant(text: str) -> Grant:
    """Return the grant with a text such as ``deploy``, ``deploy:shop`` or ``view:shop,cart:dev-*``.

    Raises:
        InvalidRequest: The text is no grant.
    """
    role, *scopes = text.split(":")
    roles = [known.value for known in Role]
    if role not in roles or len(scopes) >= _PARTS:
        raise InvalidRequest(
            f"role {text!r} is not valid: expected ROLE[:APPS[:VIRTUAL_ENVIRONMENTS]], with a role "
            f"of {', '.join(roles)} and names or patterns separated by commas"
        )
    apps, virtual_environments = (*(_patterns(scope) for scope in scopes), (ALL,), (ALL,))[:2]
    return Grant(role=Role(role), apps=apps, virtual_environments=virtual_environments)


def allows(grants: Iterable[Grant], role: Role, target: Target) -> bool:
    """Return whether one of the grants allows what a role allows, for a target."""
    return any(grant.covers(role, target) for grant in grants)


def _patterns(text: str) -> tuple[str, ...]:
    patterns = tuple(part.strip() for part in text.split(","))
    for pattern in patterns:
        if fault := NAME_PATTERN.fault(pattern):
            raise InvalidRequest(fault)
    return patterns


def _covers(patterns: tuple[str, ...], name: str) -> bool:
    if not name or ALL in patterns:
        return True
    return name != ALL and any(_expression(pattern).fullmatch(name) for pattern in patterns)


@lru_cache(maxsize=1_024)
def _expression(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, pattern.split("*"))))
