"""``python -m pods.kubernetes.begin COMMAND…`` runs ``pods.kubernetes.start``.

It removes the files of an earlier container, and then handles SIGTERM, before it imports the rest:
the probes run meanwhile.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path


def _remove_files_of_before() -> None:
    # The folder outlives a restart of the container.
    for name in ("ready", "beat"):
        Path(os.environ["FOX_RUN_FOLDER"], name).unlink(missing_ok=True)


if __name__ == "__main__":
    _remove_files_of_before()
    # This imports a part of the NATS client too.
    importlib.import_module("broker.runtime.first_process").end_on_sigterm()
    sys.exit(importlib.import_module("pods.kubernetes.start").main())
