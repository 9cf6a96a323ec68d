"""NATS subjects: the only place that knows how they are spelt.

====================================  =========================================================
``evt.<app>.<component>.<hash>``      requests to one component version, queue group ``pods``
``emit.<app>.<component>.<hash>``     events that wait for it, in stream ``kubefox-events``
``dead.<app>.<component>.<hash>``     those that it will not handle, ``kubefox-dead-letters``
``adapter.<kind>``                    requests to an adapter, queue group ``adapters``
``inbox.<process>.<number>``          replies to one process
``inbox.<process>.stream.<token>``    frames to one end of a stream, see ``model.stream``
``broker.view``                       a pod asks for its view, queue group ``brokers``
``broker.usage``                      every broker tells which hashes it has in flight
``pods.gone``                         every requester hears that a pod died
``pods.wake``                         who finds no pod asks the reconciler whether it sleeps
``telemetry.figures``                 every process tells its figures to who asks
``telemetry.figures.last``            a process that ends leaves its last figures
``telemetry.spans``                   batches of spans of sampled traces, to control
``telemetry.spans.kept``              the same of traces that failed or were slow
``telemetry.keep``                    every process hears of a trace to make spans of
====================================  =========================================================
"""

from __future__ import annotations

import re

from model.component import short

PODS_QUEUE = "pods"
ADAPTERS_QUEUE = "adapters"
BROKERS_QUEUE = "brokers"

VIEW = "broker.view"
USAGE = "broker.usage"
PODS_GONE = "pods.gone"
PODS_WAKE = "pods.wake"
FIGURES = "telemetry.figures"
LAST_FIGURES = "telemetry.figures.last"
SPANS = "telemetry.spans"
KEPT_SPANS = "telemetry.spans.kept"
KEEP_TRACE = "telemetry.keep"

_is_stream = re.compile(r"inbox\.[A-Za-z0-9_-]+\.stream\.[0-9]+-[0-9a-f]{16}").fullmatch


def component(app: str, name: str, digest: str) -> str:
    """Return where requests to one component version go."""
    return f"evt.{app}.{name}.{digest}"


def is_component(target: str) -> bool:
    """Return whether a component version listens to ``target``."""
    return target.startswith("evt.")


def emitted(target: str) -> str:
    """Return where events wait for the component version that listens to ``target``."""
    return f"emit.{target.removeprefix('evt.')}"


def emitted_to(digest: str) -> str:
    """Return the pattern of where events wait for the component versions of a hash."""
    return f"emit.*.*.{digest}"


def target_of(subject: str) -> str:
    """Return where those listen whom events on ``emit.…`` or ``dead.…`` are for."""
    return f"evt.{subject.partition('.')[2]}"


def dead_letter(target: str) -> str:
    """Return where events lie that ``target`` will not handle."""
    return f"dead.{target.removeprefix('evt.')}"


def version_of(target: str) -> tuple[str, str, str]:
    """Return app, component and hash of the component version that listens to ``target``."""
    _, app, name, digest = target.split(".")
    return app, name, digest


def adapter(kind: str) -> str:
    """Return where requests to an adapter go."""
    return f"adapter.{kind}"


def inbox_prefix(process_id: str) -> str:
    """Return the prefix of every reply subject of a process, with its last dot."""
    return f"inbox.{process_id}."


def stream_prefix(process_id: str) -> str:
    """Return the prefix of every stream's subject at a process, with its last dot."""
    return f"{inbox_prefix(process_id)}stream."


def is_stream(text: str) -> bool:
    """Return whether something that was received may name one end of a stream, and nothing else."""
    return _is_stream(text) is not None


def hop(subject: str) -> str:
    """Return the receiver's name for people: ``api-server@4f2a…`` or ``adapter/state-store``."""
    parts = subject.split(".")
    if len(parts) == 4 and parts[0] == "evt":
        return f"{parts[2]}@{short(parts[3])}"
    return "/".join(parts)
