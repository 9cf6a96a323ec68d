"""The parameters in paths of the control API, with the format of each."""

from __future__ import annotations

import re
from collections.abc import Mapping

from kubefox.errors import InvalidRequest
from kubefox.formats import DEAD_LETTER_ID, HASH, NAME, POD_ID, TRACE_ID, Format

PATH_PARAMETERS: Mapping[str, tuple[Format, str]] = {
    "name": (NAME, "Name of the object."),
    "hash": (HASH, "Content hash of the component version: 32 hexadecimal characters."),
    "pod": (POD_ID, "Id of the pod."),
    "id": (DEAD_LETTER_ID, "Id of the dead letter."),
    "trace": (TRACE_ID, "Id of the trace, the beginning of it, or the id of an event."),
}

names_in = re.compile(r"\{(\w+)\}").findall


def check_path(given: Mapping[str, str]) -> None:
    """Check the parameters of a path.

    Raises:
        InvalidRequest: One of them has not its format.
    """
    for name, text in given.items():
        if fault := PATH_PARAMETERS[name][0].fault(text):
            raise InvalidRequest(f"the path is invalid: {fault}")
