"""Puts generated text in place of the markers ``<!-- generated: NAME -->`` of a page."""

from __future__ import annotations

import re
from collections.abc import Callable

from docs.generator import (
    cli,
    control_api,
    errors,
    limits,
    metrics,
    permissions,
    settings,
    yaml_kinds,
)

GENERATORS: dict[str, Callable[[], str]] = {
    "cli": cli.commands,
    "settings": settings.platform,
    "pod-variables": settings.pod,
    "yaml-kinds": yaml_kinds.kinds,
    "app-files": yaml_kinds.app_files,
    "custom-resources": yaml_kinds.resources,
    "texts": control_api.texts,
    "operations": control_api.operations,
    "schemas": control_api.schemas,
    "rights": control_api.rights,
    "errors": errors.codes,
    "kit-errors": errors.kit_errors,
    "metrics": metrics.metrics,
    "refusals": metrics.refusals,
    "limits": limits.others,
    "http-limits": limits.http,
    "permissions": permissions.rights,
}

MARKER = re.compile(r"^<!-- generated: (\S+) -->$", re.MULTILINE)


def expand(page: str) -> str:
    """Return a page with its markers replaced.

    Raises:
        KeyError: A marker names no generator.
    """
    return MARKER.sub(lambda marker: GENERATORS[marker[1]](), page)
