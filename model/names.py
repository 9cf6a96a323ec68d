"""Names of apps, components, deployments and environments: one alphabet for all.

A name is a DNS label (RFC 1123), so it fits a NATS token, a URL and a Kubernetes object alike.
"""

from __future__ import annotations

import re

from model.errors import InvalidRequest

MAX_LENGTH = 63
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_NOT_ALLOWED = re.compile(r"[^a-z0-9]+")


def check_name(name: str, what: str) -> str:
    """Return ``name`` unchanged.

    Args:
        name: Candidate.
        what: The noun for the message, such as ``deployment``.

    Raises:
        InvalidRequest: It is not 1-63 of ``a-z 0-9 -``, or a dash is first or last.
    """
    if len(name) <= MAX_LENGTH and _NAME.fullmatch(name):
        return name
    raise InvalidRequest(
        f"{what} name {name!r} is not valid: use 1 to {MAX_LENGTH} of a-z, 0-9 and '-', "
        "with a letter or digit at both ends"
    )


def clean_name(text: str) -> str:
    """Return ``text`` brought into the alphabet, at most 63 long; may be empty.

    Two texts can come out the same: whoever uses the result as a key looks for that.
    """
    return _NOT_ALLOWED.sub("-", text.lower()).strip("-")[:MAX_LENGTH].rstrip("-")
