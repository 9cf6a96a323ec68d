"""Checks that a pod reports figures and spans of its own component version only.

Its subject says which one that is: see ``kubefox.senders``. Processes of the platform are trusted.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable

from broker.telemetry.figures import OTHER, EventLabels, EventRole, ProcessFigures
from broker.telemetry.records import RecordBatch
from kubefox.component import short
from kubefox.senders import Sender

MAX_NAMES = 64
_MAX_NAME = 64
_is_name = re.compile("[a-z][a-z0-9]*(?:_[a-z0-9]+)*").fullmatch
# With the rest of its name in Prometheus, such a figure would be one of events or of pods.
_OF_EVENTS = frozenset(
    {
        *("requests", "errors", "refused", "stream_bytes_in", "stream_bytes_out"),
        *("request_duration_seconds", "queue_duration_seconds", "requests_in_flight"),
        *("pods", "pod_restarts", "events_waiting", "dead_letters"),
    }
)
_ENDINGS = ("_total", "_bucket", "_sum", "_count")


def fault_of_figures(sender: Sender, figures: ProcessFigures) -> str:
    """Return why figures are not those of their sender; empty if they are."""
    component = sender.source.partition("@")[0]
    if sender.is_pod and figures.service != component:
        return f"{sender.source} sends figures of {figures.service}"
    if sender.is_pod and not _are_names(figures.counters, figures.gauges):
        return f"{sender.source} sends figures with other names than those of processes"
    return _fault(sender, figures.process, (series.labels for series in figures.series))


def fault_of_spans(sender: Sender, batch: RecordBatch) -> str:
    """Return why spans are not those of their sender; empty if they are."""
    return _fault(sender, batch.pod, (record.labels for record in batch.records))


def _fault(sender: Sender, pod: str, labels: Iterable[EventLabels]) -> str:
    if not sender.is_pod:
        return ""
    component, _, digest = sender.source.partition("@")
    if not pod.startswith(f"{component}-{short(digest)}-"):
        return f"{sender.source} reports for pod {pod}"
    apps = {sender.app, OTHER, ""}
    for found in labels:
        is_own = (found.component, found.hash, found.role) == (
            component,
            digest,
            EventRole.COMPONENT,
        )
        if not is_own or found.app not in apps:
            return f"{sender.source} of app {sender.app} reports events of {found.component}"
    return ""


def _are_names(*figures: Collection[str]) -> bool:
    """Return whether the names are those of figures of a process: they become names of metrics."""
    names = list(itertools.chain.from_iterable(figures))
    return len(names) <= MAX_NAMES and not any(
        len(name) > _MAX_NAME
        or _is_name(name) is None
        or name in _OF_EVENTS
        or name.endswith(_ENDINGS)
        for name in names
    )
