"""A component's code is imported and exported in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from kubefox.component import ComponentDefinition, Dependency, ExportedDefinition, Route

PROJECT = Path(__file__).parents[3]
EXPORT = (sys.executable, "-I", "-m", "fox.kit.export")
CPU_S = 60


def write(folder: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        path = folder / "bundle" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def export(folder: Path, entry: str = "main.py") -> subprocess.CompletedProcess[str]:
    bundle, root, home = (folder / name for name in ("bundle", "root", "home"))
    for made in (bundle, root, home):
        made.mkdir(exist_ok=True)
    return subprocess.run(
        [*EXPORT, str(bundle), "api", entry, str(root), str(home), str(CPU_S)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_output_of_the_code_does_not_mix_with_the_definition(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "shared/prices.py": "RULE = 'Path(`/prices`)'",
            "components/api/helpers.py": "import os\nos.write(2, b'from below\\n')",
            "components/api/main.py": "import helpers\n"
            "from shared.prices import RULE\n"
            "from fox import Kit\n"
            "print('hello')\n"
            "kit = Kit(title='Äpfel')\n"
            "kit.component('web')\n"
            "kit.route(RULE)(print)\n",
        },
    )

    done = export(tmp_path)

    assert done.returncode == 0, done.stderr
    exported = msgspec.json.decode(done.stdout, type=ExportedDefinition)
    assert exported.definition == ComponentDefinition(
        name="api",
        title="Äpfel",
        routes=(Route(id=0, rule="Path(`/prices`)", streams_body=False),),
        dependencies=(Dependency(name="web"),),
    )
    assert "hello" in done.stderr
    assert "from below" in done.stderr


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "component api has no entry file"),
        ({"components/api/main.py": "kit = 1"}, "must hold `kit = Kit(…)`, found int"),
        ({"components/api/main.py": ""}, "must hold `kit = Kit(…)`, found NoneType"),
        ({"components/api/main.py": "1 / 0"}, "ZeroDivisionError"),
        ({"components/api/main.py": "kit ="}, "SyntaxError"),
        ({"components/api/main.py": "import nothing_there"}, "nothing_there"),
        (
            {"components/api/main.py": "", "components/api/kubefox.py": ""},
            "import kubefox means the platform's package kubefox",
        ),
        ({"components/api/main.py": "", "broker/a.py": ""}, "rename"),
    ],
)
def test_unusable_code_is_reported_on_standard_error(
    tmp_path: Path, files: dict[str, str], message: str
) -> None:
    write(tmp_path, files)

    done = export(tmp_path)

    assert done.returncode == 1
    assert done.stdout == ""
    assert message in done.stderr


def test_an_entry_file_that_is_not_a_module_is_reported(tmp_path: Path) -> None:
    write(tmp_path, {"components/api/main.txt": "kit = 1"})

    done = export(tmp_path, "main.txt")

    assert done.returncode == 1
    assert "is not a Python module" in done.stderr
