"""NATS subjects: their format is defined only here.

=========================================  ==================================================
``evt.<app>.<component>.<hash>.<sender>``  requests to one component version, queue group ``pods``
``emit.<app>.<component>.<hash>``          stored events for it, in stream ``kubefox-events``
``outbox.<app>.<comp.>.<hash>.<sender>``   requests to store one, queue group ``adapters``
``dead.<app>.<component>.<hash>``          dead letters of it, in stream ``kubefox-dead-letters``
``adapter.<kind>.<app>.<sender>``          requests to an adapter, queue group ``adapters``
``reply.<process>.<token>``                replies to one process
``reply.<process>.stream.<token>``         frames to one end of a stream: ``kubefox.stream``
``reply.<process>-begin.<token>``          requests of a pod to begin the handler of an event
``inbox.<process>-…``                      answers of JetStream to one process of the platform
``broker.view.<app>.<sender>``             requests of pods for a view, queue group ``brokers``
``broker.clock``                           requests of pods for the time of the platform
``broker.usage``                           requests to all brokers for the hashes in flight
``broker.followed``                        requests to all brokers to have followed a revision
``broker.present``                         notices of brokers to control that they start and end
``storage.buckets``                        requests to control to make a bucket
``leases.free``                            notices to those that wait for a lease
``pods.gone.<app>.<component>.<hash>``     notices to its requesters that a pod died
``pods.back.<app>.<component>.<hash>``     notices to them that a pod was cut off from NATS
``pods.held.<pod>``                        requests to one pod for the requests that it handles
``pods.runs.<process>``                    requests to one pod whether it runs an emitted event
``runs.<app>.<component>.<hash>``          the same to all pods of a component version
``gone.<app>.<component>.<hash>``          notices to them that nothing waits for an answer
``pods.load.<pod>``                        requests to one pod for its load
``pods.wake.<app>.<sender>``               requests to the reconciler to start or await a pod
``pods.start.<app>.<sender>``              requests of a pod that starts for its login and code
``pods.runner.<runner>``                   requests to one pod runner: is it there, logs, clean-up
``telemetry.figures``                      requests to all processes but idle pods for figures
``telemetry.figures.all``                  the same to all processes
``telemetry.figures.of.<app>.<sender>``    figures of a process, to control
``telemetry.spans.<app>.<sender>``         batches of spans of sampled traces, to control
``telemetry.spans.kept.<app>.<sender>``    the same, of traces that failed or were slow
``telemetry.keep.<number>``                notices to one process to send its spans of a trace
=========================================  ==================================================

The last tokens name the sender where it matters who sends: see ``kubefox.senders``. The table names
a *target*, which is a component version or an adapter, without them: ``component`` and ``adapter``
return targets, and the senders of requests make the subject of ``request_to`` from one.
"""

from __future__ import annotations

import functools
import re

from kubefox.component import short
from kubefox.senders import Sender

PODS_QUEUE = "pods"
ADAPTERS_QUEUE = "adapters"
BROKERS_QUEUE = "brokers"
CONTROL_QUEUE = "control"

VIEWS = "broker.view.*.*"
CLOCK = "broker.clock"
USAGE = "broker.usage"
FOLLOWED = "broker.followed"
PRESENT = "broker.present"
BUCKETS = "storage.buckets"
LEASE_FREE = "leases.free"
PODS_NOTICES = "pods.*.*.*.*"
OUTBOX = "outbox.*.*.*.*"
WAKES = "pods.wake.*.*"
STARTS = "pods.start.*.*"
FIGURES = "telemetry.figures"
ALL_FIGURES = "telemetry.figures.all"
FIGURES_OF_ALL = "telemetry.figures.of.*.*"
SPANS = "telemetry.spans.*.*"
KEPT_SPANS = "telemetry.spans.kept.*.*"
REPLY = "reply."
"""Prefix of all subjects to which a receiver may publish because a message names them.

NATS does not check the reply subject of a message: without this prefix, a pod could have a process
of the platform publish to any subject.
"""

_EVENT = "evt."
_ADAPTER = "adapter."
_EVENT_TOKENS = 4
_ADAPTER_TOKENS = 2
_is_begin = re.compile(r"reply\.[A-Za-z0-9_-]+-begin\.[0-9a-f]{16}").fullmatch
_is_version = re.compile(r"[A-Za-z0-9_-]+@[A-Za-z0-9]+").fullmatch
_is_stream = re.compile(r"reply\.[A-Za-z0-9_-]+\.stream\.[0-9a-f]{16}").fullmatch


def component(app: str, name: str, digest: str) -> str:
    """Return the target of requests to one component version."""
    return f"evt.{app}.{name}.{digest}"


def is_component(target: str) -> bool:
    """Return whether a target is a component version."""
    return target.startswith(_EVENT)


def is_adapter(target: str) -> bool:
    """Return whether a target is an adapter."""
    return target.startswith(_ADAPTER)


def request_to(target: str, sender: Sender) -> str:
    """Return the subject on which ``sender`` sends requests to a target.

    A pod has the right to publish only to subjects of its app, which the target names already if it
    is a component version.
    """
    if is_component(target):
        return f"{target}.{sender.source}"
    return f"{target}.{sender.tokens}"


def requests_to(target: str) -> str:
    """Return the pattern of the subjects of requests to a target, by all senders."""
    return f"{target}.*" if is_component(target) else f"{target}.*.*"


def target_of_request(subject: str) -> str:
    """Return the target of a subject that ``request_to`` has made; any other subject as it is."""
    if is_component(subject):
        return ".".join(subject.split(".", _EVENT_TOKENS)[:_EVENT_TOKENS])
    if is_adapter(subject):
        return ".".join(subject.split(".", _ADAPTER_TOKENS)[:_ADAPTER_TOKENS])
    return subject


def emitted(target: str) -> str:
    """Return the subject of stored events for the component version at ``target``."""
    return f"emit.{target.removeprefix('evt.')}"


def outbox(target: str, sender: Sender) -> str:
    """Return the subject of requests to store an event for the component version at ``target``.

    No stream has it: see ``adapters.events.acceptance``.
    """
    return f"outbox.{target.removeprefix('evt.')}.{sender.source}"


def target_of_outbox(subject: str) -> str:
    """Return the component version that a request to store an event names."""
    return target_of(subject.rpartition(".")[0])


def emitted_to(digest: str) -> str:
    """Return the pattern of the subjects of stored events for the component versions of a hash."""
    return f"emit.*.*.{digest}"


def target_of(subject: str) -> str:
    """Return the component version's subject for a subject ``emit.…`` or ``dead.…``."""
    return f"evt.{subject.partition('.')[2]}"


def dead_letter(target: str) -> str:
    """Return the subject of dead letters of the component version at ``target``."""
    return f"dead.{target.removeprefix('evt.')}"


def version_of(target: str) -> tuple[str, str, str]:
    """Return app, component and hash of the component version at ``target``."""
    _, app, name, digest = target.split(".")
    return app, name, digest


def adapter(kind: str) -> str:
    """Return the target of requests to an adapter."""
    return f"adapter.{kind}"


def view(sender: Sender) -> str:
    """Return the subject of a pod's requests for views."""
    return f"broker.view.{sender.tokens}"


def wake(sender: Sender) -> str:
    """Return the subject of a process's requests to start a pod."""
    return f"pods.wake.{sender.tokens}"


def start(sender: Sender) -> str:
    """Return the subject of the requests of a pod that starts."""
    return f"pods.start.{sender.tokens}"


def starter(subject: str) -> str:
    """Return the tokens of the sender of a request on ``start``."""
    return subject.removeprefix("pods.start.")


def figures_of(sender: Sender) -> str:
    """Return the subject of a process's figures."""
    return f"telemetry.figures.of.{sender.tokens}"


def spans_of(sender: Sender) -> str:
    """Return the subject of a process's spans of sampled traces."""
    return f"telemetry.spans.{sender.tokens}"


def kept_spans_of(sender: Sender) -> str:
    """Return the subject of a process's spans of traces that failed or were slow."""
    return f"telemetry.spans.kept.{sender.tokens}"


def sender_of(subject: str) -> Sender:
    """Return the sender that the last two tokens of a subject name."""
    _, app, source = subject.rsplit(".", 2)
    return Sender(app, source)


def pod(pod_id: str) -> str:
    """Return the subject on which one pod says which requests it handles."""
    return f"pods.held.{pod_id}"


def pods_gone(target: str) -> str:
    """Return the subject of notices that a pod of the component version at ``target`` died."""
    return f"pods.gone.{target.removeprefix('evt.')}"


def target_of_notice(subject: str) -> str:
    """Return the target that a notice on the pods of a version is about."""
    return f"evt.{subject.split('.', 2)[2]}"


def pods_back(target: str) -> str:
    """Return the subject of notices that a pod of a version was cut off and is connected again."""
    return f"pods.back.{target.removeprefix('evt.')}"


def pods_notices(target: str) -> str:
    """Return the pattern of both kinds of notices about a component version."""
    return f"pods.*.{target.removeprefix('evt.')}"


def of_source(app: str, source: str) -> str:
    """Return the subject of the component version that sent an event, or an empty string.

    Args:
        app: App of the event.
        source: See ``Event.source``; a received one may be any text.
    """
    name, _, digest = source.partition("@")
    return component(app, name, digest) if _is_version(source) else ""


def pod_load(pod_id: str) -> str:
    """Return the subject on which one pod tells its load."""
    return f"pods.load.{pod_id}"


def runner(name: str) -> str:
    """Return the subject of requests to one pod runner."""
    return f"pods.runner.{name}"


def begins(process_id: str) -> str:
    """Return the prefix of the subjects at which pods ask a process to begin, with its dot."""
    return f"reply.{process_id}-begin."


def is_begin(text: str) -> bool:
    """Return whether a received text is a subject below ``begins``, without wildcards."""
    return _is_begin(text) is not None


def runs_of(process_id: str) -> str:
    """Return the subject on which one pod's process says whether it runs an emitted event."""
    return f"pods.runs.{process_id}"


def runs(target: str) -> str:
    """Return the subject on which all pods of the component version at ``target`` say it."""
    return f"runs.{target.removeprefix('evt.')}"


def gone(target: str) -> str:
    """Return the subject of notices to the pods at ``target`` that a sender does not wait."""
    return f"gone.{target.removeprefix('evt.')}"


def keep_trace(process: int) -> str:
    """Return the subject on which a process learns that a trace is kept, by its number."""
    return f"telemetry.keep.{process:08x}"


def pod_process_id(pod_id: str, token: str) -> str:
    """Return the id of a pod's process; ``token`` is new for every start of the pod."""
    return f"{pod_id}-{token}"


def pod_reply_prefix(pod_id: str) -> str:
    """Return the common prefix of the reply subjects of all processes of a pod."""
    return f"reply.{pod_id}-"


def reply_prefix(process_id: str) -> str:
    """Return the prefix of every reply subject of a process, with its last dot."""
    return f"reply.{process_id}."


def replies_of(reply: str) -> str:
    """Return the prefix of all reply subjects of the process to which ``reply`` belongs."""
    return reply[: reply.find(".", len(REPLY)) + 1]


def stream_prefix(process_id: str) -> str:
    """Return the prefix of every stream's subject at a process, with its last dot."""
    return f"{reply_prefix(process_id)}stream."


def inbox(process_id: str, purpose: str) -> str:
    """Return the prefix of the subjects at which JetStream answers a process, without a dot.

    Pods may not publish to them.
    """
    return f"inbox.{process_id}-{purpose}"


def is_stream(text: str) -> bool:
    """Return whether a received text is the subject of one end of a stream, without wildcards."""
    return _is_stream(text) is not None


def hop(subject: str) -> str:
    """Return the receiver's name for people: ``api-server@4f2a…`` or ``adapter/state-store``."""
    parts = target_of_request(subject).split(".")
    if len(parts) == _EVENT_TOKENS and parts[0] == "evt":
        return f"{parts[2]}@{short(parts[3])}"
    return "/".join(parts)


@functools.lru_cache(maxsize=4_096)
def source_at(target: str) -> str:
    """Return the source of the answers of a target, as in ``ResponseHead.source``."""
    parts = target.split(".")
    if is_component(target):
        return f"{parts[2]}@{parts[3]}"
    return "/".join(parts)
