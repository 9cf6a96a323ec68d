"""A component's code is found, imported and described in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from model.component import ComponentDefinition, Dependency, Route

PROJECT = Path(__file__).parents[2]


def write(bundle: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        path = bundle / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def export(bundle: Path, entry: str = "main.py") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fox.kit.export", str(bundle), "api", entry],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_definition_is_printed_whatever_the_code_prints(tmp_path: Path) -> None:
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
    definition = msgspec.json.decode(done.stdout, type=ComponentDefinition)
    assert definition == ComponentDefinition(
        name="api",
        title="Äpfel",
        routes=(Route(id=0, rule="Path(`/prices`)"),),
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
            {"components/api/main.py": "", "components/api/model.py": ""},
            "import model means the platform's own model",
        ),
        ({"components/api/main.py": "", "routing/a.py": ""}, "rename"),
    ],
)
def test_code_that_cannot_be_used_is_told_on_standard_error(
    tmp_path: Path, files: dict[str, str], message: str
) -> None:
    write(tmp_path, files)

    done = export(tmp_path)

    assert done.returncode == 1
    assert done.stdout == ""
    assert message in done.stderr


def test_an_entry_that_is_no_module_is_told(tmp_path: Path) -> None:
    write(tmp_path, {"components/api/main.txt": "kit = 1"})

    done = export(tmp_path, "main.txt")

    assert done.returncode == 1
    assert "is not a Python module" in done.stderr
