"""The rules of kstatus, by which Flux decides whether a resource is in effect.

They are those of ``sigs.k8s.io/cli-utils/pkg/kstatus`` for kinds that it has no rules of their own
for, but for the one about the condition ``Ready``, which its earlier versions do not have. So what
is not current here is not current for any version.
"""

from __future__ import annotations

from typing import Any

from tests.kubernetes.resources import conditions


def kstatus(resource: dict[str, Any]) -> str:
    """Return ``Terminating``, ``InProgress``, ``Failed`` or ``Current``."""
    meta, status = resource["metadata"], resource.get("status", {})
    if "deletionTimestamp" in meta:
        return "Terminating"
    if status.get("observedGeneration", meta["generation"]) != meta["generation"]:
        return "InProgress"
    for condition, result in (("Reconciling", "InProgress"), ("Stalled", "Failed")):
        if conditions(resource).get(condition, {}).get("status") == "True":
            return result
    return "Current"
