from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from fox.cli.main import COMMANDS, Commands, load
from tests.fox.cli.conftest import FOX, Cli, run
from tests.fox.cli.shop import make


def test_help_lists_every_command(fox_alone: Cli) -> None:
    printed = fox_alone("--help").stdout

    for name, summary in COMMANDS.items():
        assert name in printed
        assert summary in printed


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(fox_alone: Cli, name: str) -> None:
    printed = fox_alone(name, "--help").stdout

    assert printed.startswith(f"Usage: fox {name}")
    assert "<str>" not in printed, "a value without a name of its own"


@pytest.mark.parametrize(
    ("name", "subcommand"),
    [(name, subcommand) for name in COMMANDS for subcommand in getattr(load(name), "commands", {})],
)
def test_every_subcommand_has_help_of_its_own(fox_alone: Cli, name: str, subcommand: str) -> None:
    printed = fox_alone(name, subcommand, "--help").stdout

    assert printed.startswith(f"Usage: fox {name} {subcommand}")
    assert "--token-file" in printed
    assert printed != fox_alone(name, "--help").stdout


def test_the_help_of_a_subcommand_shows_its_own_options() -> None:
    assert "--role" in run("token", "create", "--help").stdout
    assert "--role" not in run("token", "list", "--help").stdout


def test_the_help_of_serve_does_not_mention_an_embedded_nats(fox_alone: Cli) -> None:
    assert "embedded" not in fox_alone("serve", "--help").stdout


def test_the_help_of_rollback_describes_a_second_rollback(fox_alone: Cli) -> None:
    printed = " ".join(fox_alone("rollback", "--help").stdout.split())

    assert "A second rollback therefore restores the later release again" in printed
    assert "[default: (drop the pending release, or restore the one before)]" in printed


def test_fox_without_a_command_prints_the_help(fox_alone: Cli) -> None:
    assert "Commands:" in fox_alone(code=2).output


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (["deplyo"], "deploy"),
        (["get", "cats"], "'cats' is not a kind: expected one of deployments, pods"),
        (["deploy", "--ref", "v1", "--dirty"], "--dirty deploys the working tree"),
        (["deploy", "--ref", ""], "--ref is empty"),
        (["deploy", "--ref", "", "--dirty"], "--ref is empty"),
        (["release", "v1"], "--virtual-env"),
        (["explain", "/", "--header", "no-colon"], "expected NAME:VALUE"),
        (["get", "pods", "-o", "xml"], "xml"),
        (["serve", "cats"], "cats"),
    ],
)
def test_wrong_use_ends_with_2(fox_alone: Cli, arguments: list[str], printed: str) -> None:
    assert printed in fox_alone(*arguments, code=2).stderr


def test_without_a_platform_the_error_names_the_url() -> None:
    done = run("get", "pods", FOX_CONTROL_URL="http://127.0.0.1:1")

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        "error: no platform answers at http://127.0.0.1:1: start one with `fox up`\n"
    )


def test_a_data_folder_without_a_platform_does_not_fall_back_to_the_default_url(
    tmp_path: Path,
) -> None:
    done = run("get", "pods", FOX_CONTROL_URL="", FOX_DATA_DIR=str(tmp_path))
    version = run("version", FOX_CONTROL_URL="", FOX_DATA_DIR=str(tmp_path))

    assert done.returncode == 1
    assert done.stderr.startswith(f"error: no platform runs on data folder {tmp_path}: ")
    assert (version.returncode, "not running" in version.stdout) == (0, True)


@pytest.mark.parametrize(
    "command", [["get", "dep", b"\xff"], ["explain", b"/\xff"], ["undeploy", b"\xff"]]
)
def test_an_argument_that_is_not_utf_8_is_reported(command: list[str | bytes]) -> None:
    done = run(*command, FOX_CONTROL_URL="http://127.0.0.1:1")

    assert done.returncode == 1
    assert done.stderr.startswith("error: '")
    assert done.stderr.endswith("\\udcff' is not UTF-8\n")


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""}


@pytest.mark.parametrize("environ", [ASCII, {"PYTHONIOENCODING": "ascii"}])
def test_characters_that_the_terminal_cannot_show_are_replaced(
    fox: Cli, tmp_path: Path, environ: dict[str, str]
) -> None:
    shop = make(tmp_path, "encoded")
    shop.write({"app.yaml": "name: encoded\ntitle: Gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n\n"})
    fox("deploy", "encoded-v1", "--app", shop.folder, "--dirty", "--no-wait")

    done = run("describe", "deployment", "encoded-v1", **fox.environ, **environ)

    assert (done.returncode, done.stderr) == (0, "")
    assert "title: Gr?n" in done.stdout


NO_ROOM = "error: the output cannot be written: No space left on device\n"


def run_without_room(*command: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a command whose output cannot be written."""
    with Path("/dev/full").open("w") as full:
        return subprocess.run(
            [*FOX, *command],
            env={**os.environ, **environ},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", [["--help"], ["get", "deployments", "-o", "json"]])
def test_output_that_cannot_be_written_is_reported_in_one_line(
    fox: Cli, command: list[str], unbuffered: str
) -> None:
    done = run_without_room(*command, **fox.environ, PYTHONUNBUFFERED=unbuffered)

    assert (done.returncode, done.stderr) == (1, NO_ROOM)


def test_a_plan_that_cannot_be_shown_is_not_carried_out(fox: Cli, tmp_path: Path) -> None:
    shop = make(tmp_path, "unprinted")

    done = run_without_room("deploy", "unprinted-v1", "--app", shop.folder, **fox.environ)

    assert (done.returncode, done.stderr) == (1, NO_ROOM)
    fox("get", "deployment", "unprinted-v1", code=3)


def test_a_closed_pipe_ends_a_command_without_a_message() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as left:
        done = subprocess.run([*FOX, "--help"], stdout=left, stderr=-1, text=True, check=False)

    assert (done.returncode, done.stderr) == (1, "")


def test_closed_output_is_reported_in_one_line() -> None:
    closed = ["sh", "-c", 'exec "$@" >&-', "sh"]

    done = subprocess.run([*closed, *FOX, "version"], stderr=-1, text=True, check=False)

    assert (done.returncode, done.stderr) == (1, "error: standard output is closed\n")


def test_serve_without_the_address_of_nats_is_refused() -> None:
    done = run("serve", "http", FOX_NATS_URL="", FOX_DATA_DIR="unused")

    assert done.returncode == 1
    assert done.stderr.startswith("error: `fox serve` needs the address of NATS")


@pytest.mark.parametrize("option", ["--http-port", "--control-port"])
def test_a_port_in_use_is_reported_with_its_option(tmp_path: Path, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ports = {"FOX_HTTP_PORT": "0", "FOX_CONTROL_PORT": "0"}

        done = run("up", option, port, FOX_DATA_DIR=str(tmp_path), **ports)

    assert done.returncode == 1
    printed = done.stderr.splitlines()[-1]
    assert printed.startswith("error: cannot listen: ")
    assert port in printed
    assert printed.endswith(f"; set another port with {option}")


@pytest.mark.parametrize("command", [["up"], ["serve", "http"]])
def test_all_settings_that_are_not_valid_are_named(command: list[str]) -> None:
    done = run(*command, "--http-port", "99999", FOX_LOG_LEVEL="LOUD", FOX_DATA_DIR="unused")

    assert done.returncode == 1
    assert "FOX_HTTP_PORT=99999" in done.stderr
    assert "FOX_LOG_LEVEL='LOUD'" in done.stderr


def test_a_misspelt_variable_is_reported() -> None:
    done = run("up", "--http-port", "99999", FOX_HTTP_PROT="1")

    assert "warning: FOX_HTTP_PROT is not a setting: did you mean FOX_HTTP_PORT?\n" in done.stderr


def test_an_unexpected_exception_of_a_command_is_not_hidden() -> None:
    broken = typer.Typer(cls=Commands)
    broken.command("no-module-of-this-name")(lambda: None)
    broken.command("another")(lambda: None)

    result = CliRunner().invoke(broken, ["no-module-of-this-name"])

    assert isinstance(result.exception, ModuleNotFoundError)


def test_ctrl_c_ends_with_130() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with subprocess.Popen(
            [*FOX, "get", "pods"], env={**os.environ, "FOX_CONTROL_URL": url}, stderr=-1, text=True
        ) as process:
            connection, _ = silent.accept()
            process.send_signal(signal.SIGINT)
            _, printed = process.communicate()
            connection.close()

    assert process.returncode == 130
    assert "Traceback" not in printed


@pytest.mark.parametrize(
    ("arguments", "unwanted"),
    [
        (["--help"], ["msgspec", "http.client", "rich", "yaml", "fox.kit", "asyncio"]),
        (["version"], ["rich", "yaml", "fox.kit", "asyncio", "aiohttp", "nats"]),
        (["deploy", "--help"], ["aiohttp", "nats", "fox.kit", "asyncio"]),
        (["apply", "--help"], ["aiohttp", "nats", "fox.kit"]),
        (["explain", "--help"], ["aiohttp", "nats", "fox.kit"]),
        (["logs", "--help"], ["aiohttp", "nats", "fox.kit", "asyncio"]),
        (["stats", "--help"], ["aiohttp", "nats", "fox.kit"]),
        (["traces", "--help"], ["aiohttp", "nats", "fox.kit"]),
    ],
)
def test_a_command_imports_only_what_it_needs(arguments: list[str], unwanted: list[str]) -> None:
    program = (
        "import sys\n"
        "from fox.cli.main import app\n"
        f"app({arguments!r}, standalone_mode=False)\n"
        f"sys.exit(' '.join({{*{unwanted!r}}} & {{*sys.modules}}))"
    )

    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "FOX_CONTROL_URL": "http://127.0.0.1:1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stderr.strip() == ""
