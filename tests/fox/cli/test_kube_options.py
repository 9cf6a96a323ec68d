from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from fox.cli.main import COMMANDS, load
from fox.cli.support.kube_options import Given, can_use, is_chosen
from tests.fox.cli.conftest import Cli, run

OPTION, VARIABLE = Given("name", is_option=True), Given("name", is_option=False)


@pytest.mark.parametrize(
    ("context", "others", "expected"),
    [
        (OPTION, {}, True),
        (VARIABLE, {}, True),
        (OPTION, {"--control-url": VARIABLE, "--data-dir": VARIABLE}, True),
        (VARIABLE, {"--control-url": OPTION}, False),
        (VARIABLE, {"--data-dir": OPTION}, False),
        (VARIABLE, {"--data-dir": VARIABLE}, True),
    ],
)
def test_an_option_wins_over_a_variable(
    context: Given, others: dict[str, Given], *, expected: bool
) -> None:
    assert is_chosen(context, others) is expected


@pytest.mark.parametrize(
    ("context", "others", "named"),
    [
        (OPTION, {"--control-url": OPTION}, "--kube-context and --control-url both"),
        (OPTION, {"--data-dir": OPTION}, "--kube-context and --data-dir both"),
        (VARIABLE, {"--control-url": VARIABLE}, "FOX_KUBE_CONTEXT and FOX_CONTROL_URL are both"),
    ],
)
def test_two_names_of_platforms_are_an_error(
    context: Given, others: dict[str, Given], named: str
) -> None:
    with pytest.raises(typer.BadParameter, match=named):
        is_chosen(context, others)


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (["--kube-context", "a", "up"], "fox up has no --kube-context"),
        (["--kube-context", "a", "init-nats", "x"], "fox init-nats has no --kube-context"),
        (["--kube-context", "", "status"], "--kube-context is empty"),
        (["status", "--kube-context", ""], "--kube-context is empty"),
        (["status", "--kube-namespace", "a"], "--kube-namespace needs --kube-context"),
        (["--kube-namespace", "a", "status"], "--kube-namespace needs --kube-context"),
        (["--kube-context", "a", "status", "--data-dir", "x"], "both name a platform"),
        (["token", "list", "--kube-context", "a", "--control-url", "x"], "both name a platform"),
    ],
)
def test_wrong_use_of_a_context_ends_with_2(
    fox_alone: Cli, arguments: list[str], printed: str
) -> None:
    assert printed in fox_alone(*arguments, code=2).stderr


def test_every_command_that_has_a_control_url_has_a_context(fox_alone: Cli) -> None:
    for name in COMMANDS:
        is_expected = "--control-url" in fox_alone(name, "--help").stdout
        command = load(name)
        for subcommand in getattr(command, "commands", {}):
            assert "--kube-context" in fox_alone(name, subcommand, "--help").stdout
            is_expected = True
        assert can_use(command) is is_expected, name


@pytest.mark.parametrize(
    "arguments", [("--kube-context", "kind-shop", "status"), ("status", "--kube-context", "x")]
)
def test_without_kubectl_the_error_says_how_to_go_on(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    done = run(*arguments, PATH=str(tmp_path))

    assert done.returncode == 1
    assert done.stderr == (
        "error: kubectl cannot be run: No such file or directory: --kube-context needs it in PATH. "
        "Install it, or name the platform with --control-url\n"
    )


def test_a_variable_with_a_context_is_no_fault_of_commands_that_have_none(tmp_path: Path) -> None:
    done = run("init", str(tmp_path / "app"), FOX_KUBE_CONTEXT="kind-shop")

    assert done.returncode == 0, done.stderr


def test_without_a_context_no_module_for_kubectl_is_loaded() -> None:
    script = (
        "import sys; from fox.cli.main import app; app(['version'], standalone_mode=False);"
        "sys.exit('fox.cli.support.kubectl' in sys.modules)"
    )
    environ = {**os.environ, "FOX_CONTROL_URL": "http://127.0.0.1:1"}
    done = subprocess.run([sys.executable, "-c", script], env=environ, check=False)

    assert done.returncode == 0
