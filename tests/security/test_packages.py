"""Packages are pinned with the hashes of their files, and every set-up insists on them."""

import re
from importlib.metadata import distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REQUIREMENTS = sorted(ROOT.glob("requirements*.txt"))
INSTALLERS = ["Makefile", "Dockerfile", "docs/operations/install.md"]
_PIN = re.compile(r"[a-z0-9.-]+(\[[a-z0-9,-]+\])?==[^ ]+( ; [^\\]+)?( --hash=sha256:[0-9a-f]{64})+")


def joined_lines(path: Path) -> list[str]:
    """Return the lines of a file, each with those that continue it, without comments."""
    text = re.sub(r"\s*\\\n\s*", " ", path.read_text())
    return [
        line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")
    ]


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.name)
def test_every_requirement_is_one_version_with_hashes(path: Path) -> None:
    lines = joined_lines(path)

    loose = [line for line in lines if not _PIN.fullmatch(line.strip())]

    assert lines
    assert not loose


# pip 23.2 of Python 3.11 does not take the pin of `coverage` for `coverage[toml]`: it chooses the
# newest one, and refuses that because it has no hash.
def test_a_package_that_another_one_needs_with_an_extra_is_pinned_with_it() -> None:
    pins = {line.split("==")[0] for line in joined_lines(ROOT / "requirements-dev.txt")}
    names = {pin.split("[")[0] for pin in pins}

    needed = {
        found[0]
        for package in distributions()
        if package.name.lower() in names
        for need in package.requires or ()
        if (found := re.match(r"[\w.-]+\[[\w,-]+\](?!.*extra ==)", need))
    }

    assert needed
    assert needed <= pins


@pytest.mark.parametrize("name", INSTALLERS)
def test_every_installation_of_requirements_demands_their_hashes(name: str) -> None:
    installs = re.findall(
        r"(?:pip install|PIP_INSTALL\))(?:(?!&&).)*requirements.*",
        "\n".join(joined_lines(ROOT / name)),
    )

    loose = [line for line in installs if "--require-hashes" not in line]

    assert installs
    assert not loose


@pytest.mark.parametrize("name", INSTALLERS)
def test_no_installation_of_the_project_fetches_a_build_tool(name: str) -> None:
    lines = "\n".join(joined_lines(ROOT / name)).replace("&&", "\n").splitlines()

    fetching = [
        line
        for line in lines
        if re.search(r"(pip (install|wheel)|PIP_INSTALL\)).* (-e )?(\.|/src)\s*$", line)
        and "--no-build-isolation" not in line
    ]

    assert not fetching


def test_base_images_are_named_by_digest() -> None:
    stages = [line.split() for line in joined_lines(ROOT / "Dockerfile") if line.startswith("FROM")]
    names = {stage[3] for stage in stages if len(stage) > 3}

    by_tag = [
        stage[1]
        for stage in stages
        if stage[1] not in names and not re.search(r"@sha256:[0-9a-f]{64}$", stage[1])
    ]

    assert stages
    assert not by_tag
