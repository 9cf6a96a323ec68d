"""The rights and limits of pods, from the settings of the platform."""

from __future__ import annotations

import msgspec

from broker.runtime.confinement import NO_LIMITS, Confinement


class PodRights(msgspec.Struct, frozen=True, kw_only=True):
    """The rights and limits of a driver's pods.

    Attributes:
        limits: Limits of each pod.
        pass_on: Names of further variables of the platform's environment that pods get.
        uids: First and last id of the users that pods run as, or None for the platform's user.
        hides_folders: Whether the data folder and the home folder of the platform's user are hidden
            from pods, if the system allows it.
    """

    limits: Confinement = NO_LIMITS
    pass_on: tuple[str, ...] = ()
    uids: tuple[int, int] | None = None
    hides_folders: bool = False


ALL_RIGHTS = PodRights()
