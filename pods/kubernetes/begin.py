"""``python -m pods.kubernetes.begin COMMAND…`` runs ``pods.kubernetes.start``.

It handles SIGTERM before it imports the rest.
"""

from __future__ import annotations

import importlib
import sys

from broker.runtime.first_process import end_on_sigterm

if __name__ == "__main__":
    end_on_sigterm()
    sys.exit(importlib.import_module("pods.kubernetes.start").main())
