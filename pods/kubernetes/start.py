"""The first program of a pod of a cluster: get the login and the code, then become the component.

``python -m pods.kubernetes.begin COMMAND…`` reads the first login from ``FOX_START_LOGIN``, asks
the platform for the pod's own (``pods.kubernetes.start_exchange``), unpacks the bundle below
``FOX_RUN_FOLDER``, verifies it against ``FOX_HASH``, and executes the command in its place, so that
nothing of this program stays in memory.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from broker.nats import bus as nats_bus
from broker.nats.bus import Bus
from broker.nats.credentials.login import Login, decode_login, encode_login
from broker.runtime.first_process import hold_sigterm
from broker.runtime.secret_pipe import pipe_with
from kubefox import subjects
from kubefox.context import source_name
from kubefox.decoding import DECODE_ERRORS
from kubefox.digest import RuntimeSpec
from kubefox.errors import DeadlineExceeded, FoxError, InternalError, NatsUnavailable, NoPodReady
from kubefox.senders import Sender
from pods.bundle_folders import BundleFolders
from pods.kubernetes.start_exchange import (
    PLATFORM_VERSION,
    StartReply,
    StartRequest,
    decode_reply,
    encode,
)

EXIT_FAILED = 1
_RETRY_S = 0.5
_ANSWER_S = 10.0


def main() -> int:
    """Prepare the pod and become its command; return the exit code if that fails."""
    environ = dict(os.environ)
    run_folder = Path(environ["FOX_RUN_FOLDER"])
    try:
        login, bundle = asyncio.run(_prepare(environ, run_folder / "bundles"))
        _execute(sys.argv[1:], {**environ, **_handed_over(login, bundle, run_folder)})
    except (OSError, FoxError) as error:
        sys.stderr.write(f"the pod cannot start: {error}\n")
    return EXIT_FAILED


async def _prepare(environ: Mapping[str, str], folder: Path) -> tuple[Login, Path]:
    """Return the pod's login and the folder of its code."""
    first = decode_login(await asyncio.to_thread(Path(environ["FOX_START_LOGIN"]).read_bytes))
    sender = Sender(environ["FOX_APP"], source_name(environ["FOX_COMPONENT"], environ["FOX_HASH"]))
    # The permissions of the first login are those of its process id; the inbox must be this pod's.
    connecting = nats_bus.connect(
        first.url,
        process_id=first.process_id,
        credentials=first.credentials,
        follows_all_pods=False,
        sender=sender,
    )
    async with connecting as bus:
        login, data = await _fetch(bus, subjects.start(sender), environ["FOX_POD"])

    async def stored(_digest: str) -> bytes:
        return data

    runtime = msgspec.json.decode(environ["FOX_RUNTIME"], type=RuntimeSpec)
    return login, await BundleFolders(folder, stored).folder(environ["FOX_HASH"], runtime)


async def _fetch(bus: Bus, subject: str, pod: str) -> tuple[Login, bytes]:
    beginning = StartRequest(pod=pod, offset=0, version=PLATFORM_VERSION)
    first = await _request(bus, subject, beginning)
    parts, size = [first.part], len(first.part)
    while size < first.size_bytes:
        reply = await _request(bus, subject, StartRequest(pod=pod, offset=size))
        parts.append(reply.part)
        size += len(reply.part)
    if first.login is None:
        raise InternalError("the platform has sent no login")
    return first.login, b"".join(parts)


async def _request(bus: Bus, subject: str, request: StartRequest) -> StartReply:
    """Return the platform's reply; ask until there is one."""
    told = ""
    while True:
        try:
            reply = decode_reply(await bus.request(subject, encode(request), _ANSWER_S))
            fault = reply.fault
        except (NoPodReady, DeadlineExceeded, NatsUnavailable, *DECODE_ERRORS) as error:
            fault = str(error)
        else:
            if not fault:
                return reply
        if fault != told:
            sys.stderr.write(f"the pod waits for the platform: {fault}\n")
            told = fault
        await asyncio.sleep(_RETRY_S)


def _handed_over(login: Login, bundle: Path, run_folder: Path) -> dict[str, str]:
    """Return the variables for the component's process, which inherits their descriptors."""
    descriptors = {
        "FOX_NATS_OWN_LOGIN_FD": pipe_with(encode_login(login)),
        "FOX_READY_FD": _create(run_folder / "ready"),
    }
    if "FOX_BEAT_S" in os.environ:
        descriptors["FOX_BEAT_FD"] = _create(run_folder / "beat")
    for descriptor in descriptors.values():
        os.set_inheritable(descriptor, True)
    return {"FOX_BUNDLE": str(bundle), **{name: str(fd) for name, fd in descriptors.items()}}


def _create(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)


def _execute(command: list[str], environ: Mapping[str, str]) -> None:
    # The command handles SIGTERM only when it has been imported.
    hold_sigterm()
    os.execvpe(command[0], command, environ)  # noqa: S606 - the driver's own command
