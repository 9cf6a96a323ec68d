"""The health check for Argo CD in the documentation, run by the version of Lua that Argo CD has."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from lupa.lua51 import LuaRuntime  # type: ignore[import-untyped]

from fox.custom_resources.conditions import APPLIED, Verdict, verdicts
from tests.e2e.documents import page

INVALID = Verdict(False, "Invalid", "data.vars.c: expected a string")
PENDING = Verdict(False, "ReleasePending", "its pods are not ready yet")


def script() -> str:
    """Return the health check of all kinds of the platform."""
    _, _, after = page("how-to/use-kubectl").partition("cat >health.yaml <<'END'\n")
    patch = yaml.safe_load(after.partition("END\n")[0])
    customizations = yaml.safe_load(patch["data"]["resource.customizations"])
    text = customizations["kubefox.xigxog.io/*"]["health.lua"]
    assert isinstance(text, str)
    return text


def health(resource: dict[str, Any]) -> tuple[str, str]:
    """Return the status and the message that Argo CD gets for a resource."""
    lua = LuaRuntime(unpack_returned_tuples=True)
    run = lua.execute(f"return function(obj)\n{script()}\nend")
    result = run(lua.table_from(resource, recursive=True))
    return result["status"], result["message"]


def resource(observed: int, ready: Verdict | None = None) -> dict[str, Any]:
    """Return a resource of generation 2 with the conditions that the platform writes."""
    told = verdicts(synced=APPLIED, ready=ready) if ready else {}
    conditions = [
        {
            "type": name,
            "status": str(verdict.is_true),
            "reason": verdict.reason,
            "message": verdict.message,
        }
        for name, verdict in told.items()
    ]
    status = {"observedGeneration": observed, "conditions": conditions}
    return {"metadata": {"name": "dev", "generation": 2}, "status": status}


@pytest.mark.parametrize(
    ("found", "status", "message"),
    [
        ({"metadata": {"generation": 1}}, "Progressing", "not applied it yet"),
        (
            {"metadata": {"generation": 1}, "status": {"observedGeneration": -1}},
            "Progressing",
            "not applied it yet",
        ),
        (resource(1, APPLIED), "Progressing", "not applied it yet"),
        (resource(2), "Progressing", "not applied it yet"),
        (resource(2, APPLIED), "Healthy", "Applied"),
        (resource(2, PENDING), "Progressing", "ReleasePending: its pods are not ready yet"),
        (resource(2, INVALID), "Degraded", "Invalid: data.vars.c: expected a string"),
    ],
)
def test_argo_cd_sees_what_the_conditions_say(
    found: dict[str, Any], status: str, message: str
) -> None:
    shown = health(found)

    assert shown[0] == status
    assert message in shown[1]
