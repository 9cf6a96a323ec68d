"""Every ``FOX_…`` variable: of the platform, of the commands and of a pod."""

from __future__ import annotations

from typing import Any

import msgspec

from broker.runtime.settings import PREFIX, Settings
from docs.generator.markdown import check_complete, code, fields, table
from docs.generator.types import default_text, type_name
from fox.kit.pod import load_settings

_POD = {
    "FOX_NATS_LOGIN_FD": "File descriptor of a socket to the pod runner, which writes the login, "
    "a line of JSON (URL of NATS, id of the process, signed claims), and signs challenges",
    "FOX_NATS_OWN_LOGIN_FD": "File descriptor of a pipe with the login and the key that signs its "
    "challenges, in place of such a socket; for pods of a cluster",
    "FOX_NATS_URL": "URL of a NATS server without credentials, if there is neither of them",
    "FOX_APP": "Name of the app",
    "FOX_COMPONENT": "Name of the component",
    "FOX_HASH": "Full content hash of the component version",
    "FOX_POD": "Id of the pod",
    "FOX_POD_IS_NEW": "`true`: no process has served under this id before, so the pod knows of all "
    "events whether it has answered them",
    "FOX_BUNDLE": "Folder of the unpacked bundle",
    "FOX_ENTRY": "Entry file in `components/<component>/`",
    "FOX_READY_FD": "File descriptor for the line `ready`, and `busy` when an idle pod gets work",
    "FOX_BEAT_FD": "File descriptor of the file that a pod overwrites with each heartbeat",
    "FOX_BEAT_S": "Time between two heartbeats while events are in flight",
    "FOX_IDLE_BEAT_S": "Time between two heartbeats of an idle pod",
    "FOX_LIFELINE": "`stdin`: the pod ends when its standard input ends, because its driver ended",
    "FOX_CONFINEMENT": "What the pod may do, as JSON; it confines itself before it loads the code",
    "FOX_LOG_FORMAT": "`json` or `console`; log lines go to standard error",
    "FOX_LOG_LEVEL": "Lowest level that is logged",
    "FOX_TELEMETRY": "`false` turns metrics and traces off",
    "FOX_BODY_LIMIT_BYTES": "Largest body that is put together for a handler",
    "FOX_BODY_MEMORY_BYTES": "Memory for all bodies that are put together at one time",
    "FOX_CONTEXT_CACHE_BYTES": "Memory for the views of contexts",
    "FOX_HOLD_S": "How long a call to a component whose pod restarts waits for it",
    "FOX_EMIT_HUNG_S": "Time that a handler may run on after its time limit; then the pod ends",
    "FOX_STREAM_IDLE_S": "Time after which a stream without progress is given up",
    "FOX_POD_CONCURRENCY": "Events of one deployment and virtual environment handled at once, "
    "if the component does not declare it (`Kit(concurrency=…)`)",
    "FOX_POD_MAX_WAIT_S": "How long an event may wait to begin; else it is refused",
}


def platform() -> str:
    """Return the settings of ``fox up`` and ``fox serve``."""
    described = fields(Settings.__doc__)
    infos = msgspec.structs.fields(Settings)
    check_complete("settings", (field.name for field in infos), described)
    rows = [
        (
            code(PREFIX + field.name.upper()),
            type_name(field.type),
            default_text(field),
            described[field.name],
        )
        for field in infos
    ]
    return table(["Variable", "Type", "Default", "Meaning"], rows)


def pod() -> str:
    """Return the variables that a pod driver gives a pod."""
    environ = _Recorded()
    load_settings(environ)
    check_complete("pod variables", environ.read, _POD)
    rows = [
        (code(name), "optional" if name in environ.optional else "required", meaning)
        for name, meaning in _POD.items()
    ]
    return table(["Variable", "", "Meaning"], rows)


class _Recorded(dict[str, str]):
    """An environment that notes which variables are read, and answers each with ``1``."""

    def __init__(self) -> None:
        super().__init__()
        self.read: dict[str, None] = {}
        self.needed: set[str] = set()

    @property
    def optional(self) -> set[str]:
        """The variables that were read but that have a default."""
        return set(self.read) - self.needed

    def __getitem__(self, name: str) -> str:
        self.read[name] = None
        self.needed.add(name)
        return "1"

    def get(self, name: str, default: Any = None) -> Any:
        """Note the variable; a value makes the pod's own check pass."""
        self.read[name] = None
        return "1"
