"""Who sent a message: the server of NATS proves it by what a process may publish.

The credentials of a pod let it publish only to subjects whose last token is its own source,
``<component>@<hash>``, and only in its own app. So a receiver believes the subject, and never a
field of the message. Processes of the platform have sources that no pod can have: a name without
``@``. Where a subject names no app, the app stands before the source; that of the platform is no
valid name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from kubefox.event import NO_ROUTE, Event, EventType

PLATFORM_APP = "_"
ADAPTER_PREFIX = "adapter/"
"""Prefix of the source of an adapter's events."""
DELIVERER = f"{ADAPTER_PREFIX}emit"
"""Source of the adapter that delivers stored events, whose events name their emitters."""


class Sender(NamedTuple):
    """The sender of a message, as a subject names it.

    Attributes:
        app: Name of the app; ``PLATFORM_APP`` for a process of the platform.
        source: ``<component>@<whole hash>``, ``adapter/<kind>``, or ``platform``.
    """

    app: str
    source: str

    @property
    def tokens(self) -> str:
        """Both parts, as the last tokens of a subject."""
        return f"{self.app}.{self.source}"

    @property
    def is_pod(self) -> bool:
        """Whether it is a pod, which may send only for itself."""
        return self.app != PLATFORM_APP


PLATFORM = Sender(PLATFORM_APP, "platform")
"""Every process of the platform, where its role does not matter."""

CheckSender = Callable[[str, Event], str]
"""Returns why an event that was received on a subject is forged; empty if it is not."""


def check_for_component(target: str) -> CheckSender:
    """Return the check of events that are received by a component version.

    Args:
        target: The component version; see ``kubefox.subjects.component``.
    """
    start = len(target) + 1

    def check(subject: str, event: Event) -> str:
        sender, source = subject[start:], event.source
        if event.delivery is not None:
            # The adapter has checked who has emitted the event.
            return "" if sender == DELIVERER else f"{sender} delivers events, as only adapters may"
        if sender != source:
            return _other_sender(sender, source)
        if event.type == EventType.COMPONENT and event.handler == NO_ROUTE:
            return ""
        if sender.startswith(ADAPTER_PREFIX):
            return ""
        return f"{sender} sends an event of type {event.type}, as only adapters may"

    return check


def check_for_adapter(target: str, app_of: Callable[[str], str]) -> CheckSender:
    """Return the check of events that are received by an adapter.

    Args:
        target: The adapter; see ``kubefox.subjects.adapter``.
        app_of: Returns the app that an event's context names, without checking its seal; empty if
            the context cannot be read.
    """
    start = len(target) + 1

    def check(subject: str, event: Event) -> str:
        app, _, sender = subject[start:].partition(".")
        if sender != event.source:
            return _other_sender(sender, event.source)
        named = app_of(event.context)
        if named in {app, ""}:
            return ""
        return f"{sender} of app {app} sends an event of app {named}"

    return check


def _other_sender(sender: str, source: str) -> str:
    return f"{sender} sends an event of {source}"
