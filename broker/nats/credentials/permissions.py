"""The permission table: which subjects each process of a platform may use.

A user of NATS may do only what its credentials list. Names in angle brackets stand for the process
itself; ``grant`` fills them in. Pods have no right to JetStream. A right to publish to a subject
that a stream captures would be more than it seems: JetStream sends its acknowledgement to any
subject that the sender names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import NamedTuple

import msgspec

from broker.nats.credentials.claims import Permissions
from kubefox.component import Dependency, DependencyKind
from kubefox.senders import Sender

MAX_POD_SUBSCRIPTIONS = 10_000
"""A pod has about 20, and one for each of up to 8,192 component versions that it has called."""


class Act(Enum):
    """The use of a subject by a process."""

    PUBLISH = "publish"
    SUBSCRIBE = "subscribe"
    NOT_PUBLISH = "not publish"


class Right(NamedTuple):
    """One line of the table.

    Attributes:
        act: The permitted use.
        subject: Pattern of the subjects, with names in angle brackets; a queue group follows after
            a space.
        reason: Why the process needs it.
    """

    act: Act
    subject: str
    reason: str


class Role(Enum):
    """A kind of process."""

    POD = "pod"
    STARTING_POD = "pod that starts"
    PLATFORM = "every process of the platform"
    HTTP = "http"
    ADAPTERS = "adapters"
    CONTROL = "control"
    PODS = "pods"


def _publish(subject: str, reason: str) -> Right:
    return Right(Act.PUBLISH, subject, reason)


def _subscribe(subject: str, reason: str) -> Right:
    return Right(Act.SUBSCRIBE, subject, reason)


def _not_publish(subject: str, reason: str) -> Right:
    return Right(Act.NOT_PUBLISH, subject, reason)


_ANSWERS = (
    _subscribe("reply.<process>.>", "answers to its requests, and frames of its streams"),
    _publish("reply.*.*", "answers to requests; their subjects cannot be guessed"),
    _publish("reply.*.stream.*", "frames of streams"),
    _subscribe("telemetry.figures", "requests for its figures"),
    _subscribe("telemetry.figures.all", "the same"),
    _subscribe("telemetry.keep.*", "notices to send its spans of a trace"),
    _publish("telemetry.keep.*", "the same to others"),
    _publish("pods.held.*", "which of its own requests a pod handles, when another has died"),
)

_FOLLOW = "the control plane's data"

TABLE: Mapping[Role, tuple[Right, ...]] = {
    Role.POD: (
        *_ANSWERS,
        _subscribe("evt.<app>.<component>.<hash>.* pods", "its events, shared with its replicas"),
        _subscribe("runs.<app>.<component>.<hash>", "whether it runs an emitted event"),
        _subscribe("pods.runs.<process>", "the same"),
        _subscribe("gone.<app>.<component>.<hash>", "notices that a sender does not wait"),
        _subscribe("pods.held.<pod>", "which requests it handles, when another pod has died"),
        _subscribe("pods.load.<pod>", "its load"),
        _subscribe("pods.*.<app>.*.*", "deaths of pods that it exchanges events with"),
        _publish("pods.back.<app>.<component>.<hash>", "that it was cut off from NATS"),
        _publish("evt.<app>.<dependency>.*.<source>", "events to the components it declares"),
        _publish(
            "gone.<app>.*.*", "notices that it does not wait for an answer, whose subject it names"
        ),
        _publish("adapter.<adapter>.<app>.<source>", "events to the adapters it declares"),
        _publish("outbox.<app>.<dependency>.*.<source>", "events that it emits to them"),
        _publish("broker.view.<app>.<source>", "its view of a context"),
        _publish("broker.clock", "the time of NATS"),
        _publish("pods.wake.<app>.<source>", "to start an idle version that it calls"),
        _publish("telemetry.figures.of.<app>.<source>", "its figures"),
        _publish("telemetry.spans.<app>.<source>", "its spans"),
        _publish("telemetry.spans.kept.<app>.<source>", "its spans"),
    ),
    Role.STARTING_POD: (
        _subscribe("reply.<process>.>", "answers to its requests"),
        _publish("reply.<process>.*", "to itself, to know that all before it has arrived"),
        _publish("pods.start.<app>.<source>", "its own login and its code"),
    ),
    Role.PLATFORM: (
        *_ANSWERS,
        _subscribe("inbox.<process>-many.>", "answers of JetStream"),
        _subscribe("broker.view.*.* brokers", "requests of pods for views"),
        _subscribe("broker.clock brokers", "requests of pods for the time of NATS"),
        _subscribe("broker.usage", "whether hashes are in flight here"),
        _subscribe("broker.followed", "whether it has followed a change"),
        _publish("broker.present", "that it starts or ends"),
        _subscribe("pods.*.*.*.*", "deaths of pods"),
        _publish("gone.*.*.*", "notices that a client does not wait"),
        _publish("pods.wake._.*", "to start an idle version"),
        _publish("telemetry.figures.of._.*", "its figures"),
        _publish("telemetry.spans._.*", "its spans"),
        _publish("telemetry.spans.kept._.*", "its spans"),
        _publish("storage.buckets", "to have control make a bucket"),
        _publish("$JS.API.STREAM.INFO.KV_kubefox", _FOLLOW),
        _publish("$JS.API.CONSUMER.CREATE.KV_kubefox", _FOLLOW),
        _publish("$JS.API.CONSUMER.CREATE.KV_kubefox.>", _FOLLOW),
        _publish("$JS.API.CONSUMER.DELETE.KV_kubefox.>", _FOLLOW),
        _publish("$JS.API.STREAM.MSG.GET.KV_kubefox", _FOLLOW),
        _publish("$JS.API.DIRECT.GET.KV_kubefox.>", _FOLLOW),
        _publish("$JS.FC.KV_kubefox.>", _FOLLOW),
    ),
    Role.HTTP: (_publish("evt.*.*.*.adapter/http", "requests of end users"),),
    Role.ADAPTERS: (
        _subscribe("adapter.*.*.* adapters", "events of pods to adapters"),
        _subscribe("outbox.*.*.*.* adapters", "events that pods emit"),
        _subscribe("reply.<process>-begin.*", "when the handler of an emitted event begins"),
        _subscribe("inbox.<process>-emit.*", "emitted events to deliver"),
        _publish("evt.*.*.*.adapter/cron", "ticks of schedules"),
        _publish("evt.*.*.*.adapter/emit", "emitted events"),
        _publish("runs.*.*.*", "whether a pod runs an emitted event"),
        _publish("pods.runs.*", "the same"),
        _publish("emit.*.*.*", "to store an emitted event"),
        _publish("dead.*.*.*", "to store a dead letter"),
        _publish("$JS.API.STREAM.INFO.kubefox-events", "emitted events"),
        _publish("$JS.API.STREAM.INFO.kubefox-dead-letters", "dead letters"),
        _publish("$JS.API.CONSUMER.INFO.kubefox-events.deliver", "emitted events"),
        _publish("$JS.API.CONSUMER.CREATE.kubefox-events.deliver", "emitted events"),
        _publish("$JS.API.CONSUMER.DURABLE.CREATE.kubefox-events.deliver", "emitted events"),
        _publish("$JS.API.CONSUMER.MSG.NEXT.kubefox-events.deliver", "emitted events"),
        _publish("$JS.ACK.kubefox-events.deliver.>", "emitted events"),
        _publish("$KV.*.>", "data of the state store; NATS has no pattern for their buckets"),
        _publish("$JS.API.STREAM.INFO.*", "the same"),
        _publish("$JS.API.STREAM.MSG.GET.*", "the same"),
        _publish("$JS.API.DIRECT.GET.*", "the same"),
        _publish("$JS.API.DIRECT.GET.*.>", "the same"),
        _publish("$JS.API.STREAM.PURGE.*", "the same"),
        *(
            _not_publish(subject, "data of the platform")
            for bucket in ("kubefox", "kubefox-pods", "kubefox-leases", "kubefox-tokens")
            for subject in (f"$KV.{bucket}.>", f"$JS.API.STREAM.PURGE.KV_{bucket}")
        ),
        *(
            _not_publish(f"$JS.API.STREAM.MSG.GET.{stream}", "data of the platform")
            for stream in (
                "KV_kubefox-pods",
                "KV_kubefox-leases",
                "kubefox-events",
                "kubefox-dead-letters",
                "OBJ_kubefox-bundles",
            )
        ),
        *(
            _not_publish(f"$JS.API.DIRECT.GET.{subject}", "data of the platform")
            for stream in ("kubefox-dead-letters", "OBJ_kubefox-bundles")
            for subject in (stream, f"{stream}.>")
        ),
        _not_publish("$JS.API.STREAM.MSG.GET.KV_kubefox-tokens", "tokens of the control API"),
        _not_publish("$JS.API.DIRECT.GET.KV_kubefox-tokens", "tokens of the control API"),
        _not_publish("$JS.API.DIRECT.GET.KV_kubefox-tokens.>", "tokens of the control API"),
        *(
            _not_publish(f"$JS.API.STREAM.PURGE.{stream}", "data of the platform")
            for stream in ("kubefox-events", "kubefox-dead-letters", "OBJ_kubefox-bundles")
        ),
    ),
    Role.PODS: (
        _subscribe("pods.wake.*.*", "requests to start idle versions"),
        _subscribe("pods.start.*.* pods", "pods of a cluster that start"),
        _subscribe("pods.runner.*", "requests for logs and for clean-up"),
        _subscribe("leases.free", "which runner leads"),
        _publish("leases.free", "the same"),
        _publish("pods.gone.*.*.*", "deaths of pods"),
        _publish("pods.load.*", "the load of a pod"),
        _publish("pods.runner.*", "whether other runners live"),
        _publish("broker.usage", "whether hashes are in flight"),
        _publish("$KV.kubefox-pods.>", "the states of pods"),
        _publish("$KV.kubefox-leases.>", "which runner leads"),
        *(
            _publish(f"$JS.API.{request}", reason)
            for stream, reason in (
                ("KV_kubefox-pods", "the states of pods"),
                ("KV_kubefox-leases", "which runner leads"),
                ("OBJ_kubefox-bundles", "the code of pods"),
            )
            for request in (
                f"STREAM.INFO.{stream}",
                f"STREAM.MSG.GET.{stream}",
                f"DIRECT.GET.{stream}.>",
                f"CONSUMER.CREATE.{stream}",
                f"CONSUMER.CREATE.{stream}.>",
                f"CONSUMER.DELETE.{stream}.>",
                f"CONSUMER.MSG.NEXT.{stream}.>",
            )
        ),
        _publish("$JS.API.STREAM.PURGE.KV_kubefox-pods", "the states of pods"),
        _publish("$JS.FC.KV_kubefox-pods.>", "the states of pods"),
        _publish("$JS.ACK.OBJ_kubefox-bundles.>", "the code of pods"),
        _publish("$JS.API.STREAM.INFO.kubefox-events", "whether events wait for a version"),
        _publish("$SYS.REQ.ACCOUNT.PING.CONNZ", "connections that are left of ended pods"),
    ),
    Role.CONTROL: (
        _subscribe("storage.buckets control", "requests to make a bucket"),
        _subscribe("telemetry.figures.of.*.*", "figures of all processes"),
        _subscribe("telemetry.spans.*.*", "spans of all processes"),
        _subscribe("telemetry.spans.kept.*.*", "the same"),
        _subscribe("broker.present", "which processes start and end"),
        _subscribe("leases.free", "which process applies custom resources, or returns metrics"),
        _publish("leases.free", "the same"),
        _publish("$KV.kubefox-leases.>", "the same"),
        _publish("broker.usage", "which of the platform's keys all processes know"),
        _publish("broker.followed", "whether all processes have followed a change"),
        _publish("broker.clock", "whether processes of a platform run"),
        _publish("telemetry.figures", "to request figures"),
        _publish("telemetry.figures.all", "the same"),
        _publish("pods.runner.*", "logs of pods, and clean-up"),
        _publish("emit.*.*.*", "to deliver a dead letter again"),
        _publish("$KV.kubefox.>", "the control plane's data"),
        _publish("$KV.kubefox-pods.>", "the states of pods"),
        _publish("$KV.kubefox-tokens.>", "tokens of the control API"),
        _publish("$O.kubefox-bundles.>", "code"),
        _publish("$JS.API.>", "all streams and buckets, which it makes"),
        _publish("$JS.FC.>", "the same"),
        _publish("$SYS.REQ.ACCOUNT.PING.STATZ", "how many servers NATS has"),
        _publish("$JS.ACK.OBJ_kubefox-bundles.>", "code"),
    ),
}
"""The rights of each role; each process of the platform has those of ``Role.PLATFORM`` besides."""


def for_platform(roles: Iterable[Role], process_id: str) -> Permissions:
    """Return the permissions of a process of the platform.

    Args:
        roles: Its roles, besides ``Role.PLATFORM``.
        process_id: Its id.
    """
    rights = {role: TABLE[role] for role in (Role.PLATFORM, *roles)}
    kept = [
        right
        for role in rights
        for right in rights[role]
        if right.act is not Act.NOT_PUBLISH or not _is_allowed(right.subject, role, rights)
    ]
    return grant(kept, {"process": [process_id]})


def _is_allowed(subject: str, role: Role, rights: Mapping[Role, tuple[Right, ...]]) -> bool:
    """Return whether a role may publish what another one may not: NATS lets a denial win."""
    return any(
        right.act is Act.PUBLISH and _covers(right.subject, subject)
        for other in rights
        if other is not role
        for right in rights[other]
    )


def for_pod(
    process_id: str, pod: str, sender: Sender, dependencies: Iterable[Dependency]
) -> Permissions:
    """Return the permissions of one start of a pod.

    Args:
        process_id: Id of its process.
        pod: Its id.
        sender: Its identity as a sender.
        dependencies: Components and adapters that its component declares.
    """
    component, _, digest = sender.source.partition("@")
    declared = list(dependencies)
    granted = grant(
        TABLE[Role.POD],
        {
            "process": [process_id],
            "pod": [pod],
            "app": [sender.app],
            "source": [sender.source],
            "component": [component],
            "hash": [digest],
            "dependency": [
                found.name for found in declared if found.kind is DependencyKind.COMPONENT
            ],
            "adapter": [found.name for found in declared if found.kind is DependencyKind.ADAPTER],
        },
    )
    return msgspec.structs.replace(granted, max_subscriptions=MAX_POD_SUBSCRIPTIONS)


def for_starting_pod(process_id: str, sender: Sender) -> Permissions:
    """Return the permissions of the first login that all pods of a version have in a cluster.

    Args:
        process_id: Id of their processes.
        sender: Their identity as senders.
    """
    names = {"process": [process_id], "app": [sender.app], "source": [sender.source]}
    return grant(TABLE[Role.STARTING_POD], names)


def grant(rights: Iterable[Right], names: Mapping[str, list[str]]) -> Permissions:
    """Return the permissions that lines of the table stand for.

    Args:
        rights: The lines.
        names: The names for those in angle brackets. A line with a name that stands for several
            becomes as many subjects, and none if it stands for none.
    """
    found: dict[Act, dict[str, None]] = {act: {} for act in Act}
    for right in rights:
        found[right.act] |= dict.fromkeys(_fill(right.subject, names))
    return Permissions(
        publish=_without_covered(found[Act.PUBLISH]),
        subscribe=_without_covered(found[Act.SUBSCRIBE]),
        no_publish=_without_covered(found[Act.NOT_PUBLISH]),
    )


def _without_covered(patterns: Iterable[str]) -> tuple[str, ...]:
    """Return the patterns that no other one covers: credentials should be short."""
    found = list(patterns)
    return tuple(
        pattern
        for pattern in found
        if not any(other != pattern and _covers(other, pattern) for other in found)
    )


def _covers(wider: str, pattern: str) -> bool:
    """Return whether one pattern matches all subjects that another one matches."""
    wide, narrow = wider.split("."), pattern.split(".")
    for number, part in enumerate(wide):
        if part == ">":
            return len(narrow) > number
        if number >= len(narrow) or part not in {"*", narrow[number]} or narrow[number] == ">":
            return False
    return len(wide) == len(narrow)


def _fill(subject: str, names: Mapping[str, list[str]]) -> list[str]:
    filled = [subject]
    for name, values in names.items():
        place = f"<{name}>"
        if place in subject:
            filled = [text.replace(place, value) for text in filled for value in values]
    return filled
