"""Small pods: one Python file each, with the environment that a driver sets."""

from __future__ import annotations

import sys

from kubefox.bundle import pack
from kubefox.digest import FileMode, RuntimeSpec, SourceFile, content_hash

RUNTIME = RuntimeSpec()

# Runs the entry file of the bundle, without the kit.
_RUN_ENTRY = (
    "import os, runpy; e = os.environ;"
    "runpy.run_path('/'.join([e['FOX_BUNDLE'], 'components', e['FOX_COMPONENT'], e['FOX_ENTRY']]))"
)
COMMAND = (sys.executable, "-c", _RUN_ENTRY)

READY = "import os; os.write(int(os.environ['FOX_READY_FD']), b'ready\\n')\n"
DRAIN = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"
# Without a lifeline, only a signal of the driver ends it.
UNTIL_LIFELINE_ENDS = (
    "import os, signal, sys\n"
    "sys.stdin.read() if 'FOX_LIFELINE' in os.environ else [signal.pause() for _ in iter(int, 1)]\n"
)

BEAT = (
    "import os, struct, time\n"
    "def beat():\n"
    "    beat = struct.pack('<dd', time.monotonic(), float(os.environ['FOX_BEAT_S']))\n"
    "    os.pwrite(int(os.environ['FOX_BEAT_FD']), beat, 0)\n"
)

GOOD = DRAIN + READY + UNTIL_LIFELINE_ENDS
STUBBORN = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + READY + UNTIL_LIFELINE_ENDS
)
# Writes a line as a handler does, others, and one more when it is to stop.
TALKATIVE = (
    "import json, signal, sys\n"
    "def stop(*_): print('farewell', flush=True); sys.exit(0)\n"
    "signal.signal(signal.SIGTERM, stop)\n"
    "print(json.dumps({'message': 'placed', 'deployment': 'v1'}))\n"
    "print('ready', flush=True)\n" + READY + UNTIL_LIFELINE_ENDS
)
NEVER_READY = UNTIL_LIFELINE_ENDS
BROKEN = "raise RuntimeError('no such table: orders')\n"


def bundle(
    source: str, component: str = "api-server", runtime: RuntimeSpec = RUNTIME
) -> tuple[str, bytes]:
    """Return the hash and the bundle of a component whose entry file is ``source``."""
    path = f"components/{component}/main.py"
    file = SourceFile(path=path, mode=FileMode.REGULAR, content=source.encode())
    return content_hash([file], runtime), pack([file], runtime)
