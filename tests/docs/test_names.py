"""The names that the prose uses exist: commands, settings, files, modules, metrics."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from docs.generator import errors, metrics, settings
from docs.generator.pages import expand
from fox.cli.main import COMMANDS, load
from kubefox import subjects
from tests.docs.test_pages import PAGES, name_of
from tests.e2e.documents import PROJECT, page

# It lists old names beside the new ones.
CHANGELOG = PROJECT / "CHANGELOG.md"
CURRENT = [path for path in PAGES if path != CHANGELOG]
ROOMS = "kubefox|routing|broker|control|adapters|pods|fox|tests|docs|benchmarks|examples"
# Names of other things that look like modules.
NOT_MODULES = {
    # Values of the chart.
    "control.audit.stdout",
    "control.resources",
    "control.settings",
    "control.tls.secret",
    "fox.adapters",
    "fox.pod_drivers",
    "kubefox.stream.bytes_out",
    "kubefox.xigxog.io",
    *(value for name, value in vars(subjects).items() if name.isupper()),
}
# Names of other things that look like files: parts of pods in the rules of Kubernetes.
NOT_FILES = {"pods/exec", "pods/log", "pods/portforward"}
# FOX_EXPLAIN_FROM is the earlier name of a setting, in the changelog.
NOT_SETTINGS = {
    "FOX_CONTROL_URL",
    "FOX_EXPLAIN_FROM",
    "FOX_KUBE_CONTEXT",
    "FOX_KUBE_NAMESPACE",
    "FOX_TOKEN",
    "FOX_CONTROL_CA",
    "FOX_TOKEN_FILE",
}

_CODE = re.compile(r"`([^`\n]+)`")
_FENCE = re.compile(r"^```\w*\n.*?^```$", re.MULTILINE | re.DOTALL)
_PATH = re.compile(rf"(?:{ROOMS})/[\w./-]*")
_MODULE = re.compile(rf"(?:{ROOMS})(?:\.\w+)+")


def code_of(path: Path) -> Iterator[str]:
    """Yield the inline code of a page."""
    yield from _CODE.findall(_FENCE.sub("", path.read_text()))


@cache
def options_of(command: str, subcommand: str = "") -> frozenset[str]:
    """Return the options of a command, or of one of its subcommands."""
    found = load(command)
    found = getattr(found, "commands", {}).get(subcommand, found)
    return frozenset(
        name
        for parameter in found.params
        if parameter.param_type_name == "option"
        for name in (*parameter.opts, *parameter.secondary_opts)
    ) | {"--help"}


def fox_faults(text: str) -> Iterator[str]:
    """Yield what is wrong with an inline command of `fox`."""
    _, command, *arguments = text.split()
    for name in command.split("|"):
        if name not in COMMANDS:
            yield f"{text}: no such command"
        else:
            unknown = [word for word in arguments if word.startswith("-")]
            yield from (
                f"{text}: no option {option}"
                for option in unknown
                if option not in options_of(name, next(iter(arguments), ""))
            )


@pytest.mark.parametrize("path", CURRENT, ids=name_of)
def test_commands_of_fox_exist_with_their_options(path: Path) -> None:
    commands = [text for text in code_of(path) if re.match(r"fox [a-z]", text)]

    assert [fault for text in commands for fault in fox_faults(text)] == []


@pytest.mark.parametrize("path", CURRENT, ids=name_of)
def test_targets_of_make_exist(path: Path) -> None:
    makefile = (PROJECT / "Makefile").read_text()
    targets = [
        name
        for text in code_of(path)
        if text.startswith("make ")
        for name in text.split()[1:]
        if name.islower()
    ]

    assert [name for name in targets if f"\n{name}:" not in makefile] == []


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_settings_exist(path: Path) -> None:
    known = set(re.findall(r"FOX_[A-Z_]+", settings.platform() + settings.pod())) | NOT_SETTINGS

    used = set(re.findall(r"FOX_[A-Z_]+[A-Z]\b", path.read_text()))

    assert sorted(used - known) == []


@pytest.mark.parametrize("path", CURRENT, ids=name_of)
def test_files_exist(path: Path) -> None:
    files = [text for text in code_of(path) if _PATH.fullmatch(text)]

    missing = [name for name in files if not (PROJECT / name).exists()]
    assert [name for name in missing if name not in NOT_FILES] == []


@pytest.mark.parametrize("path", CURRENT, ids=name_of)
def test_modules_and_their_names_exist(path: Path) -> None:
    names = [text for text in code_of(path) if _MODULE.fullmatch(text)]

    assert [name for name in names if name not in NOT_MODULES and not is_there(name)] == []


def is_there(name: str) -> bool:
    """Return whether a module, or a name in one, exists."""
    module, _, attribute = name.rpartition(".")
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        return "." in name and hasattr(importlib.import_module(module), attribute)
    return True


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_metrics_exist(path: Path) -> None:
    used = {text for text in code_of(path) if re.fullmatch(r"kubefox_[a-z_]+", text)}

    assert sorted(used - set(metrics.MEANINGS)) == []


def test_the_reference_of_errors_is_complete() -> None:
    page = expand((PROJECT / "docs" / "reference" / "errors.md").read_text())

    assert [code for code in errors.CAUSES if f"### `{code}` (" not in page] == []


def rows_after(text: str, head: str) -> list[str]:
    """Return the first cells of every table with this head, without their backticks."""
    tables = text.split(f"\n{head}\n")[1:]
    lines = [line for found in tables for line in found.partition("\n\n")[0].splitlines()[1:]]
    return [cell for line in lines for cell in _CODE.findall(line.split(" | ")[0])]


@cache
def sources() -> str:
    """Return the text of all modules of the platform."""
    rooms = ("kubefox", "routing", "broker", "control", "adapters", "pods", "fox")
    return "\n".join(path.read_text() for room in rooms for path in (PROJECT / room).rglob("*.py"))


def test_messages_of_the_troubleshooting_page_are_those_of_the_code() -> None:
    messages = rows_after(page("operations/troubleshooting"), "| Message | Cure |")
    parts = [part.strip() for message in messages for part in message.split("…") if part.strip()]

    assert len(messages) > 4
    assert [part for part in parts if part not in sources()] == []


def test_parts_of_readiness_are_those_of_the_platform() -> None:
    names = rows_after(page("operations/troubleshooting"), "| Part | Meaning |")
    platform = (PROJECT / "fox" / "platform.py").read_text()

    assert len(names) > 4
    assert [name for name in names if f'"{name}"' not in platform and "…" not in name] == []


def test_buckets_and_streams_of_the_backup_page_exist() -> None:
    names = rows_after(page("operations/backup"), "| Name | Holds |")

    assert len(names) > 5
    assert [name for name in names if f'"{name.rstrip("…")}' not in sources()] == []
