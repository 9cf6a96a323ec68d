"""get, describe, logs, explain, version, and what the shell offers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from fox.data_dir import read_info
from tests.cli.conftest import FOX, Cli, run, visit
from tests.cli.shop import make

KINDS = [
    ("deployments", "dep", "shown-v1"),
    ("environments", "env", "shown"),
    ("virtual-environments", "ve", "shown"),
    ("http-adapters", "http-adapter", "shown"),
    ("releases", "release", "shown"),
]


@pytest.fixture
def shown(fox: Cli, tmp_path: Path) -> Cli:
    """Commands for a platform with an app ``shown``, deployed and released."""
    shop = make(tmp_path, "shown")
    fox("apply", "-f", shop.folder / "environments.yaml")
    fox("deploy", "shown-v1", "--app", shop.folder, "--ref", "v1")
    fox("release", "shown-v1", "--virtual-env", "shown")
    return fox


@pytest.mark.parametrize("command", [["get", "pods"], ["version"], ["logs"]])
def test_the_port_for_requests_is_told_from_the_control_api(
    fox: Cli, platform: Path, command: list[str]
) -> None:
    info = read_info(platform)
    assert info is not None

    said = fox(*command, "--control-url", info.http_url, code=1).stderr

    assert said == (
        f"error: what answers at {info.http_url} is no control API: it takes the requests of end "
        "users\n"
    )


def test_every_kind_is_listed_and_shown_by_name(shown: Cli) -> None:
    for kind, alias, name in KINDS:
        listed = json.loads(shown("get", kind, "-o", "json").stdout)
        one = json.loads(shown("get", alias, name, "-o", "json").stdout)
        table = shown("get", alias, name).stdout.splitlines()

        assert one in listed
        assert one["revision"] > 0
        assert table[1].split()[0] == name
        assert shown("get", kind, "nope", code=3).stderr.startswith("error: ")


def test_pods_are_shown_with_their_state(shown: Cli) -> None:
    (pod,) = [
        each
        for each in json.loads(shown("get", "pods", "-o", "json").stdout)
        if each["app"] == "shown" and each["component"] == "web"
    ]

    row = shown("get", "pod", pod["id"]).stdout.splitlines()[1].split()

    assert row[:3] == [pod["id"], "shown", "web"]
    assert row[4] == "ready"
    assert "there is no pod nope" in shown("get", "pods", "nope", code=3).stderr


def test_secrets_are_never_shown(shown: Cli) -> None:
    for arguments in (["get", "ve", "shown", "-o", "yaml"], ["describe", "ve", "shown"]):
        printed = shown(*arguments).stdout

        assert "token" in printed
        assert "hidden" not in printed


def test_describing_shows_what_belongs_to_an_object(shown: Cli) -> None:
    of_deployment = shown("describe", "deployment", "shown-v1").stdout
    of_environment = shown("describe", "ve", "shown", "-o", "json").stdout
    of_adapter = shown("describe", "http-adapter", "shown").stdout

    fields, pods, releases = of_deployment.split("\n\n")
    assert yaml.safe_load(fields)["source"]["tag"] == "v1"
    assert [line.split()[2] for line in pods.splitlines()[1:]] == ["api", "web"]
    assert releases.splitlines()[1].split()[:2] == ["shown", "active"]
    assert json.loads(of_environment)["releases"][0]["active"]["apps"]["shown"]
    assert yaml.safe_load(of_adapter)["url"] == "https://example.com"


def test_logs_show_what_pods_print(shown: Cli) -> None:
    text = shown("logs", "web", "--tail", "5").stdout
    as_json = shown("logs", "web", "-o", "json").stdout
    as_yaml = shown("logs", "web", "-o", "yaml").stdout

    lines = [json.loads(each) for each in as_json.splitlines()]
    assert {line["component"] for line in lines} == {"web"}
    assert {line.split()[0] for line in text.splitlines()} == {line["pod"] for line in lines}
    assert list(yaml.safe_load_all(as_yaml))[: len(lines)] == lines


def test_logs_are_followed_until_ctrl_c(shown: Cli, platform: Path) -> None:
    with subprocess.Popen(
        [*FOX, "logs", "web", "--follow"],
        env={**os.environ, **shown.environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        visit(platform, "/shown/shown/Ada?kf-dep=shown-v1&kf-ve=shown")
        line = next(line for line in process.stdout if "greets Ada" in line)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()

    assert line.startswith("web-")
    assert process.returncode == 130
    assert said == ""


def test_explaining_an_explicit_url_names_all_that_matters(shown: Cli) -> None:
    printed = shown(
        "explain", "http://localhost/shown/shown/Ada?kf-dep=shown-v1", "-H", "kf-ve: shown"
    ).stdout

    facts = dict(line.split("  ", 1) for line in printed.split("\n\n")[0].splitlines())
    facts = {name: text.strip() for name, text in facts.items()}
    assert facts["selectors"] == ("deployment shown-v1 (query), virtual environment shown (header)")
    assert facts["rule"] == "Path(`/{{.Vars.subPath}}/shown/{name}`)"
    assert facts["resolved"] == "Path(`/shown/shown/{name}`)"
    assert facts["parameters"] == "name=Ada"
    assert "└── api@" in printed


def test_explaining_a_plain_url_names_the_release(shown: Cli) -> None:
    printed = shown("explain", "/shown/shown/Ada").stdout

    assert "none: releases decide" in printed
    assert "release " in printed


def test_a_url_that_nothing_serves_is_explained_and_ends_with_3(shown: Cli) -> None:
    result = shown("explain", "/shown/elsewhere?kf-dep=shown-v1&kf-ve=shown", code=3)

    assert "NOT BECAUSE OF" in result.stdout
    assert result.stderr.startswith("error: ")


def test_versions_of_both_sides_are_shown(fox: Cli, fox_alone: Cli) -> None:
    both = json.loads(fox("version", "-o", "json").stdout)
    alone = fox_alone("version").stdout

    assert both["client"] == both["platform"]["version"] == version("kubefox")
    assert both["control_url"] in fox("version").stdout
    assert "platform  not running" in alone


def test_an_empty_list_says_so_on_standard_error(fox: Cli, platform: Path) -> None:
    listed = json.loads(fox("get", "http-adapters", "-o", "json").stdout)
    result = fox("get", "http-adapters")

    assert bool(result.stdout) is bool(listed)
    assert ("no http adapters" in result.stderr) is not bool(listed)


def test_what_is_piped_is_plain_and_a_closed_pipe_is_no_fault(shown: Cli) -> None:
    environ = {**shown.environ, "TERM": "xterm-256color"}
    done = run("get", "deployments", **environ)
    with subprocess.Popen(
        ["bash", "-o", "pipefail", "-c", f"{' '.join(FOX)} get pods | true"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environ},
    ) as piped:
        _, said = piped.communicate()

    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("fox depl", "deploy"),
        ("fox undeploy show", "shown-v1"),
        ("fox release x --virtual-env sho", "shown"),
        ("fox get virt", "virtual-environments"),
        ("fox get ve sho", "shown"),
        ("fox logs we", "web"),
        ("fox logs --pod api-", "api-"),
        ("fox get pods -o js", "json"),
    ],
)
def test_the_shell_completes_names(shown: Cli, typed: str, offered: str) -> None:
    assert any(each.startswith(offered) for each in complete(shown, typed))


def complete(fox: Cli, typed: str) -> list[str]:
    """Return what bash is offered after ``typed``."""
    variables = {
        "_FOX_COMPLETE": "complete_bash",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(typed.split()) - 1),
    }
    return run(**variables, **fox.environ).stdout.split()


@pytest.mark.parametrize("typed", ["fox undeploy x", "fox get cats x"])
def test_without_a_platform_nothing_is_offered(fox_alone: Cli, typed: str) -> None:
    assert complete(fox_alone, typed) == []
