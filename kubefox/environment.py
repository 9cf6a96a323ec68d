"""Environments and the virtual environments that overlay them."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import msgspec

from kubefox.component import Value
from kubefox.formats import (
    DEADLINE_S,
    HEADER,
    MAX_ENTRIES,
    URL,
    VALUE_NAME,
    Name,
    Range,
    Size,
    checked,
    documented,
)
from kubefox.selection import Selection, strictest

MAX_HISTORY = 100
"""Largest number of archived releases that a virtual environment keeps."""
MAX_HEADERS = 100
"""Headers that an HTTP adapter adds."""

Values = Annotated[dict[str, Value], documented(Size(max_entries=MAX_ENTRIES, keys=VALUE_NAME))]


class PolicyType(Enum):
    """Whether a release freezes its data."""

    STABLE = "Stable"
    TESTING = "Testing"


class ReleasePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How releases of a virtual environment behave.

    Attributes:
        type: Stable freezes all data in a manifest and needs versions; Testing uses live data.
        activation_deadline_s: How long a release may be pending.
        history_limit: How many archived releases are kept.
    """

    type: PolicyType = PolicyType.STABLE
    activation_deadline_s: Annotated[float, documented(DEADLINE_S)] = 300
    history_limit: Annotated[int, documented(Range(minimum=1, maximum=MAX_HISTORY))] = 10


class EnvironmentData(msgspec.Struct, frozen=True, kw_only=True):
    """Values by name.

    Attributes:
        vars: Variables, which components and rules read.
        secrets: Secrets, which only adapters read.
    """

    vars: Values = {}
    secrets: Values = {}


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """Values shared by its virtual environments.

    Attributes:
        name: Unique on the platform.
        data: Values of the environment.
        release_policy: Policy of its virtual environments; null means the default policy.
        production: Whether requests may select only what is released in its virtual environments.
        selection: What else requests may select there; null means that listeners decide.
    """

    name: Name
    data: EnvironmentData = EnvironmentData()
    release_policy: ReleasePolicy | None = None
    production: bool = False
    selection: Selection | None = None


class VirtualEnvironment(msgspec.Struct, frozen=True, kw_only=True):
    """An overlay of an environment.

    Attributes:
        name: Unique on the platform; the value of selector ``kf-ve``.
        environment: Name of its environment; never changes.
        data: Its values override the environment's.
        release_policy: Overrides the environment's.
        production: Whether requests may select only what is released in it.
        selection: What else requests may select in it; the stricter one of this, the environment's
            and the listener's counts.
    """

    name: Name
    environment: Name
    data: EnvironmentData = EnvironmentData()
    release_policy: ReleasePolicy | None = None
    production: bool = False
    selection: Selection | None = None


class HTTPAdapter(msgspec.Struct, frozen=True, kw_only=True):
    """A named HTTP service outside the platform; texts may use {{.Vars}} and {{.Secrets}}.

    Attributes:
        name: Unique on the platform.
        url: URL of the service, or a template of one.
        headers: Headers that are added to each request.
        insecure_skip_verify: Whether a TLS certificate that cannot be verified is accepted.
        follow_redirects: Whether redirects are followed.
    """

    name: Name
    url: Annotated[str, documented(URL)]
    headers: Annotated[dict[str, str], checked(Size(max_entries=MAX_HEADERS, keys=HEADER))] = {}
    insecure_skip_verify: bool = False
    follow_redirects: bool = False


def overlay(environment: Environment, virtual: VirtualEnvironment) -> EnvironmentData:
    """Return the environment's values, overridden by those of ``virtual``."""
    return EnvironmentData(
        vars={**environment.data.vars, **virtual.data.vars},
        secrets={**environment.data.secrets, **virtual.data.secrets},
    )


def policy_of(environment: Environment, virtual: VirtualEnvironment) -> ReleasePolicy:
    """Return the virtual environment's policy, else the environment's, else Stable."""
    return virtual.release_policy or environment.release_policy or ReleasePolicy()


def selection_of(environment: Environment, virtual: VirtualEnvironment) -> Selection:
    """Return the stricter policy of selection of both; production is ``released``."""
    if environment.production or virtual.production:
        return Selection.RELEASED
    given = (environment.selection, virtual.selection)
    return strictest(Selection.OPEN, *(policy for policy in given if policy is not None))
