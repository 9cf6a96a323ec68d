"""Names of apps, components, deployments and environments: one alphabet for all.

A name is a DNS label (RFC 1123), so it is valid in NATS subjects, URLs and Kubernetes objects.
"""

from __future__ import annotations

import re

from kubefox.errors import InvalidRequest
from kubefox.formats import MAX_NAME_LENGTH, NAME

_NOT_ALLOWED = re.compile(r"[^a-z0-9]+")


def check_name(name: str, what: str) -> str:
    """Return ``name`` unchanged.

    Args:
        name: The name to check.
        what: The noun for the message, such as ``deployment``.

    Raises:
        InvalidRequest: The name is not 1 to 63 of ``a-z 0-9 -``, or a dash is first or last.
    """
    if fault := NAME.fault(name):
        raise InvalidRequest(f"{what} {fault}")
    return name


def clean_name(text: str) -> str:
    """Return ``text`` as a valid name of at most 63 characters, or an empty text.

    Two texts may give the same name: a caller that uses the name as a key must check this.
    """
    return _NOT_ALLOWED.sub("-", text.lower()).strip("-")[:MAX_NAME_LENGTH].rstrip("-")
