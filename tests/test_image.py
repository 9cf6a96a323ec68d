"""The Dockerfile cannot be built here, so what it takes from the project is checked by itself."""

import ast
import json
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LINES = ROOT.joinpath("Dockerfile").read_text().replace("\\\n", " ").splitlines()
COPIED = [
    source
    for line in LINES
    if line.startswith("COPY ") and "--from=" not in line
    for source in line.split()[1:-1]
]


@pytest.mark.parametrize("source", COPIED)
def test_files_copied_by_the_image_exist_and_are_in_the_build_context(source: str) -> None:
    kept = ROOT.joinpath(".dockerignore").read_text().splitlines()

    assert ROOT.joinpath(source).exists()
    assert f"!/{source}" in kept


def test_the_image_copies_every_package_of_the_wheel() -> None:
    project = tomllib.loads(ROOT.joinpath("pyproject.toml").read_text())

    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]

    assert set(packages) < set(COPIED)


def test_the_health_check_is_a_command_that_python_can_read() -> None:
    check = next(line for line in LINES if line.startswith("HEALTHCHECK"))

    program, flag, code = json.loads(check.partition("CMD ")[2])

    assert (program, flag) == ("python", "-c")
    assert ast.parse(code)
