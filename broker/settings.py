"""Settings of a process: one frozen struct, read once from ``FOX_*`` variables and flags."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec

from model.errors import InvalidRequest

PREFIX = "FOX_"
MIB = 1 << 20
# One letter wrong in a short name, two or three in a long one.
_LIKENESS = 0.85


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What can be set; field ``x_y`` is read from ``FOX_X_Y``.

    Attributes:
        nats_url: Cluster to use; empty starts an embedded server in ``fox up``.
        data_dir: Folder of the embedded server, unpacked bundles and pods' logs.
        http_host: Address the HTTP adapter listens on.
        http_port: Its port; 0 takes any free one.
        http_workers: Processes of ``fox serve http``, which share the port.
        control_host: Address the control API listens on.
        control_port: Its port; 0 takes any free one.
        explain_from: Networks whose clients may ask why with ``kubefox-explain: 1``, in CIDR
            form, separated by commas.
        pod_driver: Where pods run, by the name of an installed driver.
        pod_liveness_s: How long a pod's event loop may stand still before the pod is killed and
            started again; 0 lets it.
        pod_idle_s: How long nobody may have used a component version until its pods are stopped;
            its next event starts them again. 0 leaves them.
        event_ttl_s: Time until the answer of a genesis event begins, and for all below it.
        emit_attempts: How often an emitted event is delivered before it is given up.
        emit_retry_s: Pause after the first failed attempt; it grows four times with each.
        body_limit_bytes: Largest body that is put together in memory; streams have no limit.
        body_memory_bytes: What the bodies that a process holds whole may take together.
        stream_idle_s: How long a stream may go without progress.
        drain_s: How long a shutdown waits for what is in flight.
        telemetry: Whether events are counted and traced at all.
        trace_ratio: Share of the genesis events that are traced; failed and slow ones always are.
        log_format: ``console`` or ``json``.
        log_level: A level's name of ``logging``.
    """

    nats_url: str = ""
    data_dir: Path = Path(".kubefox")
    http_host: str = "127.0.0.1"
    http_port: int = 8080
    http_workers: int = 1
    control_host: str = "127.0.0.1"
    control_port: int = 8081
    explain_from: str = "127.0.0.0/8,::1/128"
    pod_driver: str = "local"
    pod_liveness_s: float = 10
    pod_idle_s: float = 0
    event_ttl_s: float = 30
    emit_attempts: int = 5
    emit_retry_s: float = 1
    body_limit_bytes: int = 5 * MIB
    body_memory_bytes: int = 256 * MIB
    stream_idle_s: float = 60
    drain_s: float = 30
    telemetry: bool = True
    trace_ratio: float = 0.01
    log_format: str = "console"
    log_level: str = "INFO"


def load(environ: Mapping[str, str], **flags: object) -> Settings:
    """Return the settings of this process.

    Args:
        environ: The process's environment; variables of another prefix are not looked at.
        flags: From the command line; None means not given. A flag wins over a variable.

    Raises:
        InvalidRequest: Names every bad value at once.
    """
    values: dict[str, Any] = {}
    errors: list[str] = []
    for field in msgspec.structs.fields(Settings):
        variable = PREFIX + field.name.upper()
        given = flags.get(field.name)
        raw = environ.get(variable) if given is None else given
        if raw is None:
            continue
        try:
            values[field.name] = _convert(raw, field.type)
            _check(field.name, values[field.name])
        except (msgspec.ValidationError, ValueError) as error:
            errors.append(f"{variable}={raw!r}: {error}")
    if errors:
        raise InvalidRequest("settings are not valid: " + "; ".join(errors))
    return Settings(**values)


def misspelt(environ: Mapping[str, str]) -> dict[str, str]:
    """Return variables that no setting is read from, each with the one that was likely meant.

    Others of the prefix are left alone: Kubernetes makes some for a service that is called so.
    """
    known = [PREFIX + field.name.upper() for field in msgspec.structs.fields(Settings)]
    strange = (each for each in environ if each.startswith(PREFIX) and each not in known)
    close = {each: get_close_matches(each, known, 1, _LIKENESS) for each in strange}
    return {each: found[0] for each, found in close.items() if found}


def _convert(raw: object, kind: Any) -> object:
    if kind is Path:
        return Path(str(raw))
    return msgspec.convert(raw, kind, strict=False)


_LOG_FORMATS = ("console", "json")
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_MAX_PORT = 65_535
# A loaded machine may hold up any process for a while, and a pod takes half a second to start.
_LEAST_POD_S = 1
_MAY_BE_OFF = ("pod_liveness_s", "pod_idle_s")


def _check(name: str, value: Any) -> None:
    if name.endswith("_port") and not 0 <= value <= _MAX_PORT:
        raise ValueError(f"expected a port from 0 to {_MAX_PORT}")
    if name in _MAY_BE_OFF:
        if value != 0 and not _LEAST_POD_S <= value < float("inf"):
            raise ValueError(f"expected 0, or a number from {_LEAST_POD_S}")
    elif name.endswith(("_s", "_bytes", "_workers", "_attempts")) and not 0 < value < float("inf"):
        raise ValueError("expected a number above 0")
    if name.endswith("_ratio") and not 0 <= value <= 1:
        raise ValueError("expected a number from 0 to 1")
    if name == "log_format" and value not in _LOG_FORMATS:
        raise ValueError(f"expected one of {', '.join(_LOG_FORMATS)}")
    if name == "log_level" and value not in _LOG_LEVELS:
        raise ValueError(f"expected one of {', '.join(_LOG_LEVELS)}")
