"""A receiver believes the subject of an event, and no field of it."""

from __future__ import annotations

from typing import Any

import pytest

from kubefox import subjects
from kubefox.delivery import Delivery
from kubefox.event import Event, EventType
from kubefox.senders import Sender, check_for_adapter, check_for_component

UI = f"ui@{'a' * 32}"
OTHER = f"other@{'b' * 32}"
API = subjects.component("shop", "api", "c" * 32)
STORE = subjects.adapter("state-store")


def event(source: str, **changes: Any) -> Event:
    fields: dict[str, Any] = {
        "id": "1",
        "genesis_id": "1",
        "type": EventType.COMPONENT,
        "context": "shop",
        "source": source,
        "deadline_ms": 0,
    }
    return Event(**fields | changes)


@pytest.mark.parametrize(
    ("sender", "received"),
    [
        (UI, event(UI)),
        ("adapter/http", event("adapter/http", type=EventType.HTTP, handler=3)),
        ("adapter/cron", event("adapter/cron", type=EventType.CRON, handler=0)),
        ("adapter/emit", event(UI, delivery=Delivery())),
    ],
)
def test_a_component_accepts_an_event_of_its_sender(sender: str, received: Event) -> None:
    check = check_for_component(API)

    assert not check(subjects.request_to(API, Sender("shop", sender)), received)


@pytest.mark.parametrize(
    ("sender", "received", "fault"),
    [
        (OTHER, event(UI), "sends an event of ui@"),
        (OTHER, event("adapter/http"), "sends an event of adapter/http"),
        (UI, event("adapter/emit", delivery=Delivery()), "as only adapters may"),
        (UI, event(UI, delivery=Delivery()), "as only adapters may"),
        ("adapter/http", event(UI, delivery=Delivery()), "as only adapters may"),
        ("adapter/http", event(UI), "sends an event of ui@"),
        (UI, event(UI, type=EventType.HTTP), "of type http, as only adapters may"),
        (UI, event(UI, handler=0), "as only adapters may"),
        (f"{UI}x", event(UI), "sends an event of ui@"),
        ("", event(UI), "sends an event of ui@"),
    ],
)
def test_a_component_refuses_an_event_in_the_name_of_another(
    sender: str, received: Event, fault: str
) -> None:
    check = check_for_component(API)

    assert fault in check(subjects.request_to(API, Sender("shop", sender)), received)


@pytest.mark.parametrize(
    ("sender", "received", "fault"),
    [
        (Sender("shop", UI), event(UI), ""),
        (Sender("shop", UI), event(UI, context=""), ""),
        (Sender("shop", UI), event(OTHER), "sends an event of other@"),
        (Sender("blog", UI), event(UI), "of app blog sends an event of app shop"),
    ],
)
def test_an_adapter_accepts_events_of_their_senders_and_their_apps(
    sender: Sender, received: Event, fault: str
) -> None:
    check = check_for_adapter(STORE, app_of=str)

    found = check(subjects.request_to(STORE, sender), received)

    assert bool(found) == bool(fault)
    assert fault in found
