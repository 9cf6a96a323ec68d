"""The permission table, on a real nats-server: each role may do what it lists, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import pytest

from broker.nats.credentials import permissions
from broker.nats.credentials.claims import Permissions
from broker.nats.credentials.permissions import TABLE, Act, Role
from kubefox import subjects
from kubefox.component import Dependency, DependencyKind
from kubefox.context import adapter_source, source_name
from kubefox.senders import PLATFORM, PLATFORM_APP, Sender
from tests.support.nats import NatsServer, secured_nats_server
from tests.support.raw_nats import connect_raw

HASH, OTHER_HASH = "a" * 32, "b" * 32
ME = Sender("shop", source_name("web", HASH))
CALLEE = subjects.component("shop", "api", OTHER_HASH)
OWN = {
    "process": "web-1-0123",
    "pod": "web-1",
    "app": "shop",
    "component": "web",
    "hash": HASH,
    "source": ME.source,
    "dependency": "api",
    "adapter": "state-store",
}
OTHER = {
    "process": "api-1-4567",
    "pod": "api-1",
    "app": "bank",
    "component": "vault",
    "hash": OTHER_HASH,
    "source": source_name("vault", OTHER_HASH),
    "dependency": "ledger",
    "adapter": "payments",
}
DEPENDENCIES = (
    Dependency(name="api"),
    Dependency(name="state-store", kind=DependencyKind.ADAPTER),
)
ATTACKS = (
    "$KV.kubefox.deployment.shop",
    "$KV.kubefox-pods.shop.web",
    "$KV.kubefox-state-dev.key",
    "$O.kubefox-bundles.C.x",
    "$JS.API.INFO",
    "$JS.API.STREAM.LIST",
    "$JS.API.STREAM.CREATE.spy",
    "$JS.API.STREAM.UPDATE.KV_kubefox",
    "$JS.API.STREAM.DELETE.kubefox-events",
    "$JS.API.STREAM.PURGE.kubefox-events",
    "$JS.API.STREAM.MSG.GET.KV_kubefox",
    "$JS.API.STREAM.MSG.DELETE.KV_kubefox",
    "$JS.API.DIRECT.GET.KV_kubefox.x",
    "$JS.API.CONSUMER.CREATE.KV_kubefox.spy",
    "$JS.API.CONSUMER.MSG.NEXT.kubefox-events.deliver",
    "$JS.ACK.kubefox-events.deliver.1.1.1.1.1",
    "$SYS.REQ.USER.INFO",
    "$SYS.REQ.SERVER.PING",
    "dead.shop.web." + HASH,
    subjects.emitted(CALLEE),
    subjects.outbox(CALLEE, Sender("shop", source_name("api", OTHER_HASH))),
    subjects.outbox(subjects.component("shop", "hidden", HASH), ME),
    "telemetry.figures",
    subjects.pods_gone(CALLEE),
    subjects.request_to(CALLEE, Sender("shop", source_name("api", OTHER_HASH))),
    subjects.request_to(CALLEE, Sender("shop", adapter_source("http"))),
    subjects.request_to(subjects.component("shop", "hidden", HASH), ME),
    subjects.request_to(subjects.component("bank", "api", HASH), ME),
    subjects.request_to(subjects.adapter("state-store"), Sender("bank", ME.source)),
    subjects.request_to(subjects.adapter("payments"), ME),
    subjects.view(Sender("bank", ME.source)),
    subjects.view(Sender("shop", source_name("api", OTHER_HASH))),
    subjects.figures_of(PLATFORM),
    subjects.wake(PLATFORM),
    "reply",
    "reply.x",
    "inbox.host-1-many.x.1",
)
"""Subjects that the pod of an app must not publish to."""
EAVESDROPPING = (
    ">",
    "evt.>",
    "evt.*.*.*.*",
    "reply.>",
    "reply.*.*",
    "inbox.>",
    "$KV.>",
    "$JS.>",
    "$SYS.>",
    "adapter.>",
    "adapter.state-store.*.* adapters",
    "outbox.*.*.*.* adapters",
    "broker.view.*.* brokers",
    "pods.wake.*.*",
    "pods.gone.>",
    "telemetry.figures.of.*.*",
    "telemetry.spans.*.*",
    f"{subjects.requests_to(subjects.component('shop', 'web', HASH))}",
    f"{subjects.requests_to(subjects.component('shop', 'web', HASH))} spies",
    f"{subjects.requests_to(CALLEE)} pods",
    f"{subjects.requests_to(subjects.component('shop', 'web', OTHER_HASH))} pods",
    "pods.held.api-1",
    f"reply.{OTHER['process']}.>",
)
"""Subjects that the pod of an app must not subscribe to."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    folder: Path = tmp_path_factory.mktemp("nats")
    with secured_nats_server(folder) as running:
        yield running


def rights_of(role: Role) -> Permissions:
    """Return the permissions of a process with one role."""
    if role is Role.POD:
        return permissions.for_pod(OWN["process"], OWN["pod"], ME, DEPENDENCIES)
    return permissions.for_platform([role], OWN["process"])


def universe(act: Act) -> list[str]:
    """Return subjects for all lines of the table, with names of this process and of another."""
    rights = (right for right in chain.from_iterable(TABLE.values()) if right.act is act)
    patterns = {right.subject for right in rights}
    if act is Act.PUBLISH:
        patterns.update(ATTACKS)
    found = {fill(pattern, names) for pattern in patterns for names in (OWN, OTHER)}
    if act is Act.PUBLISH:
        found = {concrete(subject, name) for subject in found for name in ("x", "KV_kubefox")}
    else:
        found.update(EAVESDROPPING)
    return sorted(found)


def fill(pattern: str, names: dict[str, str]) -> str:
    for name, value in names.items():
        pattern = pattern.replace(f"<{name}>", value)
    return pattern


def concrete(pattern: str, name: str) -> str:
    return pattern.replace("*", name).replace(">", f"{name}.y")


def covers(pattern: str, subject: str) -> bool:
    """Return whether a right covers a subject, or a subscription with its queue group."""
    pattern, _, allowed_queue = pattern.partition(" ")
    subject, _, queue = subject.partition(" ")
    if allowed_queue and queue != allowed_queue:
        return False
    wide, narrow = pattern.split("."), subject.split(".")
    if wide[-1] == ">":
        narrow = [*narrow[: len(wide) - 1], ">"] if len(narrow) >= len(wide) else []
    return len(wide) == len(narrow) and all(
        token in {"*", other} and not (token == "*" and other == ">")
        for token, other in zip(wide, narrow, strict=True)
    )


def overlap(one: str, other: str) -> bool:
    """Return whether some subject fits both patterns; ``>`` stands for any number of tokens."""
    tokens, others = one.split("."), other.split(".")
    for token, found in zip(tokens, others, strict=False):
        if ">" in {token, found}:
            return True
        if token != found and "*" not in {token, found}:
            return False
    return len(tokens) == len(others)


def covered(patterns: Iterable[str], subject: str) -> bool:
    return any(covers(pattern, subject) for pattern in patterns)


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.PLATFORM])
async def test_every_act_that_the_table_does_not_list_is_refused_and_every_other_one_works(
    server: NatsServer, role: Role
) -> None:
    rights = rights_of(role)
    publishes, subscriptions = universe(Act.PUBLISH), universe(Act.SUBSCRIBE)

    async with connect_raw(server.login(OWN["process"], rights)) as client:
        refused_publishes = await client.refused_publishes(publishes)
        refused_subscriptions = await client.refused_subscriptions(subscriptions)

    assert refused_publishes == {
        subject
        for subject in publishes
        if not covered(rights.publish, subject) or covered(rights.no_publish, subject)
    }
    assert refused_subscriptions == {
        subject for subject in subscriptions if not covered(rights.subscribe, subject)
    }
    assert set(publishes) - refused_publishes
    assert set(subscriptions) - refused_subscriptions


async def test_a_pod_can_do_nothing_that_would_harm_others(server: NatsServer) -> None:
    async with connect_raw(server.login(OWN["process"], rights_of(Role.POD))) as pod:
        refused = await pod.refused_publishes(ATTACKS)
        refused_subscriptions = await pod.refused_subscriptions(EAVESDROPPING)

    assert refused == set(ATTACKS)
    assert refused_subscriptions == set(EAVESDROPPING)


async def test_a_pod_may_do_what_its_component_declares(server: NatsServer) -> None:
    needed = [
        subjects.request_to(CALLEE, ME),
        subjects.request_to(subjects.adapter("state-store"), ME),
        subjects.outbox(CALLEE, ME),
        subjects.view(ME),
        subjects.wake(ME),
        subjects.figures_of(ME),
        subjects.spans_of(ME),
        subjects.kept_spans_of(ME),
        subjects.gone(CALLEE),
        subjects.pod("api-1"),
        f"{subjects.reply_prefix('host-1')}0123456789abcdef",
        f"{subjects.stream_prefix('host-1')}0123456789abcdef",
        f"{subjects.begins('host-1')}0123456789abcdef",
    ]
    served = [
        f"{subjects.requests_to(subjects.component('shop', 'web', HASH))} pods",
        f"{subjects.reply_prefix(OWN['process'])}*",
        f"{subjects.stream_prefix(OWN['process'])}*",
        subjects.pods_gone(CALLEE),
        subjects.pod(OWN["pod"]),
        subjects.pod_load(OWN["pod"]),
        subjects.runs_of(OWN["process"]),
        subjects.FIGURES,
        subjects.ALL_FIGURES,
    ]

    async with connect_raw(server.login(OWN["process"], rights_of(Role.POD))) as pod:
        assert await pod.refused_publishes(needed) == set()
        assert await pod.refused_subscriptions(served) == set()


@pytest.mark.parametrize("role", [Role.HTTP, Role.ADAPTERS, Role.PODS])
async def test_only_control_changes_data_and_makes_streams(server: NatsServer, role: Role) -> None:
    acts = [
        "$KV.kubefox.deployment.shop",
        "$KV.kubefox.platform.key",
        "$O.kubefox-bundles.C.x",
        "$JS.API.STREAM.CREATE.KV_kubefox",
        "$JS.API.STREAM.UPDATE.KV_kubefox",
        "$JS.API.STREAM.DELETE.KV_kubefox",
        "$JS.API.STREAM.PURGE.KV_kubefox",
        "$JS.API.STREAM.MSG.DELETE.KV_kubefox",
    ]

    async with connect_raw(server.login(OWN["process"], rights_of(role))) as client:
        assert await client.refused_publishes(acts) == set(acts)
    async with connect_raw(server.login(OWN["process"], rights_of(Role.CONTROL))) as control:
        assert await control.refused_publishes(acts) == set()


def test_a_process_with_all_roles_may_do_what_each_of_them_may() -> None:
    together = permissions.for_platform([role for role in Role if role is not Role.POD], "p")

    for role in (Role.PLATFORM, Role.HTTP, Role.ADAPTERS, Role.PODS, Role.CONTROL):
        alone = permissions.for_platform([role], "p")
        assert all(covered(together.publish, pattern) for pattern in alone.publish)
        assert all(
            covered(together.subscribe, pattern.partition(" ")[0]) or pattern in together.subscribe
            for pattern in alone.subscribe
        )
        denied = [subject for subject in together.no_publish if covered(alone.publish, subject)]
        assert not denied or role is Role.ADAPTERS


def test_every_fixed_subject_may_be_used_by_a_process() -> None:
    fixed = {
        value
        for name, value in vars(subjects).items()
        if name.isupper() and isinstance(value, str) and "." in value[:-1] and value[0].isalpha()
    }
    rights = [rights_of(role) for role in Role if role is not Role.PLATFORM]

    served = [pattern.partition(" ")[0] for right in rights for pattern in right.subscribe]
    sent = [pattern for right in rights for pattern in right.publish]

    assert len(fixed) > 10
    assert [subject for subject in fixed if not covered(served, subject)] == []
    assert [subject for subject in fixed if not any(overlap(subject, own) for own in sent)] == []


def test_no_pattern_of_a_sender_fits_a_process_of_the_platform() -> None:
    assert PLATFORM_APP not in {OWN["app"], OTHER["app"]}
    assert not covered(rights_of(Role.POD).publish, subjects.spans_of(PLATFORM))
