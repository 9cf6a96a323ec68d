"""The settings of a platform that is started here."""

from __future__ import annotations

import os
import sys

from broker import settings
from broker.settings import Settings


def read_settings(**flags: object) -> Settings:
    """Return what variables and flags say; see ``settings.load``. Misspelt variables are told.

    Raises:
        InvalidRequest: Names every bad value at once.
    """
    for variable, meant in settings.misspelt(os.environ).items():
        sys.stderr.write(f"warning: {variable} is not read, {meant} is\n")
    return settings.load(os.environ, **flags)
