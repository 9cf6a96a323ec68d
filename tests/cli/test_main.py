from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fox.cli.main import COMMANDS
from tests.cli.conftest import FOX, Cli, run
from tests.cli.shop import make


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


def test_serve_does_not_promise_a_nats_of_its_own(fox_alone: Cli) -> None:
    assert "one of its own" not in fox_alone("serve", "--help").stdout


def test_the_help_of_rollback_says_where_a_second_one_goes(fox_alone: Cli) -> None:
    printed = " ".join(fox_alone("rollback", "--help").stdout.split())

    assert "so a second time goes forward again" in printed
    assert "[default: (the one that was active before)]" in printed


def test_no_command_at_all_prints_the_help(fox_alone: Cli) -> None:
    assert "Commands:" in fox_alone(code=2).output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["deplyo"], "deploy"),
        (["get", "cats"], "'cats' is no kind: expected one of deployments, pods"),
        (["deploy", "--ref", "v1", "--dirty"], "--dirty takes the working tree"),
        (["deploy", "--ref", ""], "--ref is empty"),
        (["deploy", "--ref", "", "--dirty"], "--ref is empty"),
        (["release", "v1"], "--virtual-env"),
        (["explain", "/", "--header", "no-colon"], "expected NAME:VALUE"),
        (["get", "pods", "-o", "xml"], "xml"),
        (["serve", "cats"], "cats"),
    ],
)
def test_wrong_use_ends_with_2(fox_alone: Cli, arguments: list[str], said: str) -> None:
    assert said in fox_alone(*arguments, code=2).stderr


def test_without_a_platform_a_command_says_where_it_looked() -> None:
    done = run("get", "pods", FOX_CONTROL_URL="http://127.0.0.1:1")

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        "error: no platform answers at http://127.0.0.1:1: start one with `fox up`\n"
    )


def test_a_data_folder_without_a_platform_is_no_reason_to_ask_another(tmp_path: Path) -> None:
    done = run("get", "pods", FOX_CONTROL_URL="", FOX_DATA_DIR=str(tmp_path))
    version = run("version", FOX_CONTROL_URL="", FOX_DATA_DIR=str(tmp_path))

    assert done.returncode == 1
    assert done.stderr.startswith(f"error: no platform runs on data folder {tmp_path}: ")
    assert (version.returncode, "not running" in version.stdout) == (0, True)


@pytest.mark.parametrize(
    "command", [["get", "dep", b"\xff"], ["explain", b"/\xff"], ["undeploy", b"\xff"]]
)
def test_an_argument_that_is_not_utf_8_is_told(command: list[str | bytes]) -> None:
    done = run(*command, FOX_CONTROL_URL="http://127.0.0.1:1")

    assert done.returncode == 1
    assert done.stderr.startswith("error: '")
    assert done.stderr.endswith("\\udcff' is not UTF-8\n")


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""}


@pytest.mark.parametrize("environ", [ASCII, {"PYTHONIOENCODING": "ascii"}])
def test_what_the_terminal_cannot_show_is_replaced(
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
def test_output_that_cannot_be_written_is_told_in_a_line(
    fox: Cli, command: list[str], unbuffered: str
) -> None:
    done = run_without_room(*command, **fox.environ, PYTHONUNBUFFERED=unbuffered)

    assert (done.returncode, done.stderr) == (1, NO_ROOM)


def test_a_plan_that_cannot_be_shown_is_not_carried_out(fox: Cli, tmp_path: Path) -> None:
    shop = make(tmp_path, "unseen")

    done = run_without_room("deploy", "unseen-v1", "--app", shop.folder, **fox.environ)

    assert (done.returncode, done.stderr) == (1, NO_ROOM)
    fox("get", "deployment", "unseen-v1", code=3)


def test_a_reader_that_left_ends_a_command_without_a_word() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as left:
        done = subprocess.run([*FOX, "--help"], stdout=left, stderr=-1, text=True, check=False)

    assert (done.returncode, done.stderr) == (1, "")


def test_closed_output_is_told_in_a_line() -> None:
    closed = ["sh", "-c", 'exec "$@" >&-', "sh"]

    done = subprocess.run([*closed, *FOX, "version"], stderr=-1, text=True, check=False)

    assert (done.returncode, done.stderr) == (1, "error: standard output is closed\n")


def test_a_part_of_the_platform_is_not_served_without_nats() -> None:
    done = run("serve", "http", FOX_NATS_URL="", FOX_DATA_DIR="unused")

    assert done.returncode == 1
    assert done.stderr.startswith("error: `fox serve` needs the address of NATS")


@pytest.mark.parametrize("option", ["--http-port", "--control-port"])
def test_a_port_that_is_taken_is_told_with_its_option(tmp_path: Path, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ports = {"FOX_HTTP_PORT": "0", "FOX_CONTROL_PORT": "0"}

        done = run("up", option, port, FOX_DATA_DIR=str(tmp_path), **ports)

    assert done.returncode == 1
    said = done.stderr.splitlines()[-1]
    assert said.startswith("error: cannot listen: ")
    assert port in said
    assert said.endswith(f"; another port is set by {option}")


@pytest.mark.parametrize("command", [["up"], ["serve", "http"]])
def test_settings_that_are_not_valid_are_all_named(command: list[str]) -> None:
    done = run(*command, "--http-port", "99999", FOX_LOG_LEVEL="LOUD", FOX_DATA_DIR="unused")

    assert done.returncode == 1
    assert "FOX_HTTP_PORT=99999" in done.stderr
    assert "FOX_LOG_LEVEL='LOUD'" in done.stderr


def test_a_misspelt_variable_of_the_platform_is_told() -> None:
    done = run("up", "--http-port", "99999", FOX_HTTP_PROT="1")

    assert "warning: FOX_HTTP_PROT is not read, FOX_HTTP_PORT is\n" in done.stderr


def test_a_fault_of_the_command_itself_is_not_hidden(
    fox_alone: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("fox.cli.get.connect", broken)

    assert isinstance(fox_alone("get", "pods", code=1).exception, ZeroDivisionError)


def test_ctrl_c_ends_with_130() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with subprocess.Popen(
            [*FOX, "get", "pods"], env={**os.environ, "FOX_CONTROL_URL": url}, stderr=-1, text=True
        ) as process:
            connection, _ = silent.accept()
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=10)
            connection.close()

    assert process.returncode == 130
    assert "Traceback" not in said


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
def test_a_command_loads_only_what_it_needs(arguments: list[str], unwanted: list[str]) -> None:
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
