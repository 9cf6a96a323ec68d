"""The checks of ``fox status`` that a control process makes."""

from __future__ import annotations

import asyncio
import datetime
import platform as machine
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from cryptography import x509

from broker.nats.bus import Bus
from broker.nats.stream_health import check_streams
from broker.runtime.settings import Settings
from broker.runtime.tls import ServerCertificate
from broker.storage.pod_board import PodBoard
from broker.storage.token_store import TokenStore
from broker.telemetry.collector import Collector
from control.listener_policies import listener_policies, policies_text
from control.status import RunCheck
from fox.certificates import Certificates
from fox.custom_resources.controller import Controller
from kubefox.pod import PodPhase
from kubefox.status import Check, CheckState, checked, worst
from pods.protections import MIB

_LEAST_FREE_BYTES = 1 << 30
_LEAST_DAYS = 14
_ROUND_TRIP_S = 2.0
_MOST_NAMES = 5


class Sources(NamedTuple):
    """The settings and parts of the control process that the checks read.

    Attributes:
        settings: Of the control process.
        bus: Its connection to NATS.
        is_embedded: Whether the process runs the NATS server.
        readiness: Whether each part of the process is ready.
        board: Pods and pod runners.
        tokens: Tokens of the control API.
        collector: Collects the figures of all processes.
        certificates: Of the process.
        resources: Applies custom resources; None if the settings do not ask for that.
    """

    settings: Settings
    bus: Bus
    is_embedded: bool
    readiness: Mapping[str, Callable[[], bool]]
    board: PodBoard
    tokens: TokenStore
    collector: Collector
    certificates: Certificates
    resources: Controller | None = None


def status_checks(sources: Sources) -> dict[str, RunCheck]:
    """Return the checks by their names, in the order in which people read them."""
    settings = sources.settings
    return {
        "control": partial(_control, sources.readiness),
        "nats": partial(_nats, sources.bus, is_embedded=sources.is_embedded),
        "streams": partial(check_streams, sources.bus),
        "pods": partial(_pods, sources.board),
        "confinement": partial(_confinement, sources.board),
        "tls": partial(_tls, sources.certificates),
        "tokens": partial(_tokens, sources.tokens),
        "selection": partial(_selection, sources.collector),
        "resources": partial(_resources, sources.resources),
        "disk": partial(_disk, settings.data_dir),
        "versions": _versions,
    }


async def _control(readiness: Mapping[str, Callable[[], bool]]) -> Check:
    items = tuple(
        _ok(name, "ready") if is_ready() else _degraded(name, "not ready")
        for name, is_ready in readiness.items()
    )
    missing = [item.name for item in items if item.state is CheckState.DEGRADED]
    return checked("control", f"not ready: {', '.join(missing)}" if missing else "ready", items)


async def _nats(bus: Bus, *, is_embedded: bool) -> Check:
    kind = "embedded" if is_embedded else "external"
    if not bus.is_ready:
        return _degraded("nats", f"{kind}: not connected")
    if not await bus.is_answering(_ROUND_TRIP_S):
        return _degraded("nats", f"{kind}: no answer within {_ROUND_TRIP_S:g} s")
    return _ok("nats", f"{kind}: {bus.server_text}")


async def _pods(board: PodBoard) -> Check:
    """Count the pods; more than a few that fail, or cannot start, are not named."""
    statuses = board.statuses
    counts = Counter(status.phase for status in statuses)
    text = ", ".join(f"{counts[phase]} {phase.value}" for phase in PodPhase if counts[phase])
    # A pod that starts has a message only if something is in its way.
    failing = [
        status
        for status in statuses
        if status.phase in {PodPhase.BACK_OFF, PodPhase.UNKNOWN}
        or (status.phase is PodPhase.STARTING and status.message)
    ]
    items = tuple(_degraded(one.id, one.message) for one in failing[:_MOST_NAMES])
    return checked("pods", text or "none", items)


async def _confinement(board: PodBoard) -> Check:
    runners = board.runners
    if not runners:
        return _degraded("confinement", "no pod runner: start `fox serve pods`")
    told = tuple(runner.protections for runner in runners if runner.protections is not None)
    if not told:
        return _ok("confinement", "that of the pod driver")
    if len(told) == 1:
        only = told[0]
        return Check(
            name="confinement", state=worst(only.items), detail=only.detail, items=only.items
        )
    return checked("confinement", f"{len(runners)} pod runners", told)


async def _tls(certificates: Certificates) -> Check:
    """Check the certificates of this process; HTTP adapters elsewhere have their own."""
    named = {"control API": certificates.control, "HTTP adapter": certificates.http}
    items = tuple(_certificate(name, one) for name, one in named.items())
    detail = "; ".join(f"{item.name}: {item.detail}" for item in items)
    if all(item.state is CheckState.OFF for item in items):
        return Check(name="tls", state=CheckState.OFF, detail=detail, items=items)
    return checked("tls", detail, items)


def _certificate(name: str, certificate: ServerCertificate | None) -> Check:
    if certificate is None:
        return Check(name=name, state=CheckState.OFF, detail="plain HTTP")
    end = x509.load_pem_x509_certificate(certificate.pem).not_valid_after_utc
    detail = f"TLS, certificate until {end:%Y-%m-%d %H:%M} UTC"
    if end - datetime.datetime.now(datetime.UTC) < datetime.timedelta(days=_LEAST_DAYS):
        return _degraded(name, f"{detail}: renew it")
    return _ok(name, detail)


async def _tokens(tokens: TokenStore) -> Check:
    stored = tokens.all()
    valid = sum(token.expires_at_s > time.time() for token in stored)
    detail = f"every request needs one: the owner's, or another one ({valid} valid)"
    expired = len(stored) - valid
    return _ok("tokens", f"{detail}; {expired} expired" if expired else detail)


async def _selection(collector: Collector) -> Check:
    """Tell the policies of the HTTP listeners, which may run on other machines."""
    return _ok("selection", policies_text(await listener_policies(collector)))


async def _resources(controller: Controller | None) -> Check:
    if controller is None:
        return Check(name="resources", state=CheckState.OFF, detail="FOX_CUSTOM_RESOURCES is off")
    return await controller.check()


async def _disk(folder: Path) -> Check:
    usage = await asyncio.to_thread(shutil.disk_usage, folder)
    detail = f"{usage.free / MIB / 1024:.1f} GiB free of {usage.total / MIB / 1024:.1f} in {folder}"
    if usage.free < _LEAST_FREE_BYTES:
        return _degraded("disk", f"{detail}: make room")
    return _ok("disk", detail)


async def _versions() -> Check:
    names = ("kubefox", "aiohttp", "nats-py", "uvloop")
    items = tuple(_ok(name, version(name)) for name in names)
    return checked("versions", f"Python {machine.python_version()}, {machine.system()}", items)


def _ok(name: str, detail: str) -> Check:
    return Check(name=name, state=CheckState.OK, detail=detail)


def _degraded(name: str, detail: str) -> Check:
    return Check(name=name, state=CheckState.DEGRADED, detail=detail)
