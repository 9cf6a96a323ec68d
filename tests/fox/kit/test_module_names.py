"""A component's modules may have any name except those of the packages that a pod loads."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import msgspec

from fox import Kit
from kubefox.component import ExportedDefinition, Route
from tests.fox.kit.pods import PROJECT, Pods
from tests.support.data_plane import DataPlane

MODULES = {
    "model.py": "VALUE = 'model'",
    "routing.py": "VALUE = 'routing'",
    "adapters/__init__.py": "",
    "adapters/mail.py": "VALUE = 'adapters'",
    "pods.py": "VALUE = 'pods'",
    "control.py": "VALUE = 'control'",
    "telemetry.py": "VALUE = 'telemetry'",
}
MAIN = """
import sys

import control, model, pods, routing, telemetry
from adapters import mail
from fox import Kit

kit = Kit()

@kit.route("Path(`/names`)")
async def names(ctx):
    import routing as imported_late
    used = [model, routing, mail, pods, control, telemetry, imported_late]
    return {"names": [module.VALUE for module in used], "loaded": sorted(sys.modules)}
"""
NAMES = ["model", "routing", "adapters", "pods", "control", "telemetry", "routing"]

UNIT_TEST = """
import asyncio, sys
from pathlib import Path

{imports}

client = TestClient(load_kit(Path(sys.argv[1]), "web", "main.py"))
print(asyncio.run(client.get("/names")).json()["names"])
"""


def write_component(bundle: Path) -> None:
    folder = bundle / "components" / "web"
    for name, text in {**MODULES, "main.py": MAIN}.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def run_python(program: str, bundle: Path, *path: Path) -> str:
    """Return the output of a program; ``path`` comes before the platform on its import path."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, str(bundle)],
        env={"PYTHONPATH": ":".join(map(str, (*path, PROJECT)))},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_component_with_module_names_of_the_platform_is_exported(tmp_path: Path) -> None:
    bundle, root, home = (tmp_path / name for name in ("bundle", "root", "home"))
    write_component(bundle)
    root.mkdir()
    home.mkdir()

    arguments = ["web", "main.py", str(root), str(home), "60"]
    program = f"import sys; from fox.kit.export import main; main([sys.argv[1], *{arguments}])"
    printed = run_python(program, bundle)

    exported = msgspec.json.decode(printed, type=ExportedDefinition)
    assert exported.definition.routes == (Route(id=0, rule="Path(`/names`)", streams_body=False),)


async def test_a_component_with_module_names_of_the_platform_runs_in_a_pod(
    plane: DataPlane, pods: Pods, tmp_path: Path
) -> None:
    declared = Kit()
    declared.route("Path(`/names`)")(asyncio.sleep)  # type: ignore[arg-type]
    await plane.deploy("v1", {"web": declared})
    write_component(tmp_path / "bundle")

    pod = await pods.start(MAIN)
    await pod.wait_ready()
    answer = (await plane.get("/names", "v1", "team-a")).json()

    assert answer["names"] == NAMES
    packages = {name.partition(".")[0] for name in answer["loaded"] if "." in name}
    assert packages >= {"fox", "kubefox", "broker"}
    assert packages.isdisjoint({"routing", "pods", "control", "cryptography"})
    assert {name for name in answer["loaded"] if name.startswith("adapters.")} == {"adapters.mail"}


def test_a_unit_test_loads_a_component_with_module_names_of_the_platform(tmp_path: Path) -> None:
    write_component(tmp_path)

    imports = "from fox.testing import TestClient, load_kit"
    printed = run_python(UNIT_TEST.format(imports=imports), tmp_path)

    assert printed == f"{NAMES}\n"


def test_a_component_that_is_imported_before_the_test_client_keeps_its_modules(
    tmp_path: Path,
) -> None:
    write_component(tmp_path)

    imports = "import routing\nfrom fox.testing import TestClient, load_kit"
    program = UNIT_TEST.format(imports=imports) + "assert routing.VALUE == 'routing'"
    printed = run_python(program, tmp_path, tmp_path / "components" / "web")

    assert printed == f"{NAMES}\n"
