"""Calls of the API server by user, verb and kind of object, from its audit log."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import msgspec

READS = frozenset({"get", "list", "watch"})


class Call(msgspec.Struct, frozen=True):
    """A kind of call, as the audit log names it.

    Attributes:
        user: Name of the user's service account.
        verb: Such as ``patch``.
        resource: Such as ``deployments`` or ``appdeployments/status``.
        code: HTTP status of the answer.
    """

    user: str
    verb: str
    resource: str
    code: int


class _Reference(msgspec.Struct, frozen=True):
    resource: str = ""
    subresource: str = ""


class _User(msgspec.Struct, frozen=True):
    username: str


class _Answer(msgspec.Struct, frozen=True):
    code: int = 0


class _Event(msgspec.Struct, frozen=True, rename="camel"):
    audit_id: str = msgspec.field(name="auditID")
    verb: str
    user: _User
    object_ref: _Reference = _Reference()
    response_status: _Answer = _Answer()


_decode = msgspec.json.Decoder(_Event).decode
_RECEIVED = "RequestReceived"


class AuditLog:
    """The audit log of an API server, for the calls of some service accounts.

    Args:
        folder: For its policy and its file; it exists.
        namespace: Namespace of the accounts.
        accounts: Their names.
    """

    def __init__(self, folder: Path, namespace: str, *accounts: str) -> None:
        self._policy = folder / "audit-policy.json"
        self._log = folder / "audit.log"
        self._log.touch()
        self._at = 0
        # A watch has a line at its begin and one at its end.
        self._seen: set[str] = set()
        users = [f"system:serviceaccount:{namespace}:{account}" for account in accounts]
        policy = {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": [_RECEIVED],
            "rules": [{"level": "Metadata", "users": users}, {"level": "None"}],
        }
        self._policy.write_text(json.dumps(policy))

    @property
    def flags(self) -> list[str]:
        """Flags of the API server."""
        return [
            f"--audit-policy-file={self._policy}",
            f"--audit-log-path={self._log}",
            "--audit-log-maxsize=10000",
        ]

    @property
    def size(self) -> int:
        """Size of the log in bytes: it grows with each call."""
        return self._log.stat().st_size

    def take(self) -> Counter[Call]:
        """Return the calls since the last time."""
        with self._log.open("rb") as log:
            log.seek(self._at)
            text = log.read()
        # The last line may be half written.
        whole = text.rfind(b"\n") + 1
        self._at += whole
        found: Counter[Call] = Counter()
        for line in filter(None, text[:whole].split(b"\n")):
            event = _decode(line)
            if event.audit_id not in self._seen:
                self._seen.add(event.audit_id)
                found[_call(event)] += 1
        return found


def _call(event: _Event) -> Call:
    reference = event.object_ref
    parts = filter(None, (reference.resource, reference.subresource))
    return Call(
        user=event.user.username.rpartition(":")[2],
        verb=event.verb,
        resource="/".join(parts),
        code=event.response_status.code,
    )


def by_kind(calls: Mapping[Call, int], user: str) -> dict[str, int]:
    """Return the calls of one user, by verb and resource; failed ones have their status."""
    found: Counter[str] = Counter()
    for call, number in calls.items():
        if call.user == user:
            failed = f", {call.code}" if call.code >= 400 else ""
            found[f"{call.verb} {call.resource}{failed}"] += number
    return dict(sorted(found.items()))


def writes(calls: Mapping[str, int]) -> int:
    """Return how many calls of ``by_kind`` were writes."""
    return sum(number for kind, number in calls.items() if kind.split()[0] not in READS)
