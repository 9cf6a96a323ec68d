"""Environments and the virtual environments that overlay them."""

from __future__ import annotations

from enum import Enum

import msgspec

from model.component import Value


class PolicyType(Enum):
    """What a release freezes."""

    STABLE = "Stable"
    TESTING = "Testing"


class ReleasePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How releases of a virtual environment behave.

    Attributes:
        type: Stable freezes everything in a manifest and needs versions; Testing is live.
        activation_deadline_s: How long a release may be pending.
        history_limit: How many archived releases are kept.
    """

    type: PolicyType = PolicyType.STABLE
    activation_deadline_s: float = 300
    history_limit: int = 10


class EnvironmentData(msgspec.Struct, frozen=True, kw_only=True):
    """Values by name. Secrets reach adapters only, never a component or a rule."""

    vars: dict[str, Value] = {}
    secrets: dict[str, Value] = {}


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """Values that its virtual environments have in common."""

    name: str
    data: EnvironmentData = EnvironmentData()
    release_policy: ReleasePolicy | None = None


class VirtualEnvironment(msgspec.Struct, frozen=True, kw_only=True):
    """An overlay of an environment: what ``kf-ve`` names.

    Attributes:
        name: Unique on the platform.
        environment: Name of the environment below; never changes.
        data: Its values win over the environment's.
        release_policy: Wins over the environment's.
    """

    name: str
    environment: str
    data: EnvironmentData = EnvironmentData()
    release_policy: ReleasePolicy | None = None


class HTTPAdapter(msgspec.Struct, frozen=True, kw_only=True):
    """A named HTTP service outside the platform; texts may hold {{.Vars}} and {{.Secrets}}."""

    name: str
    url: str
    headers: dict[str, str] = {}
    insecure_skip_verify: bool = False
    follow_redirects: bool = False


def overlay(environment: Environment, virtual: VirtualEnvironment) -> EnvironmentData:
    """Return the values that a request in ``virtual`` sees: its own win over the environment's."""
    return EnvironmentData(
        vars={**environment.data.vars, **virtual.data.vars},
        secrets={**environment.data.secrets, **virtual.data.secrets},
    )


def policy_of(environment: Environment, virtual: VirtualEnvironment) -> ReleasePolicy:
    """Return the release policy in force: the virtual environment's, the environment's, Stable."""
    return virtual.release_policy or environment.release_policy or ReleasePolicy()
