"""get, describe, logs, explain, version, and shell completion."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from fox.cli.support import kinds
from fox.data_dir import read_info
from tests.fox.cli.conftest import FOX, Cli, complete, run, visit
from tests.fox.cli.shop import make

KINDS = [
    ("deployments", "dep", "shown-v1"),
    ("environments", "env", "shown"),
    ("virtual-environments", "ve", "shown"),
    ("http-adapters", "http-adapter", "shown"),
    ("releases", "release", "shown"),
]


@pytest.fixture
def shown(fox: Cli, tmp_path: Path) -> Cli:
    """Commands for a platform on which the app ``shown`` is deployed and released."""
    shop = make(tmp_path, "shown")
    fox("apply", "-f", shop.folder / "environments.yaml")
    fox("deploy", "shown-v1", "--app", shop.folder, "--ref", "v1")
    fox("release", "shown-v1", "--virtual-env", "shown")
    return fox


@pytest.mark.parametrize("command", [["get", "pods"], ["version"], ["logs"]])
def test_the_http_port_given_as_control_url_is_reported(
    fox: Cli, platform: Path, command: list[str]
) -> None:
    info = read_info(platform)
    assert info is not None

    printed = fox(*command, "--control-url", info.http_url, code=1).stderr

    assert printed == (
        f"error: the server at {info.http_url} is not a control API: it is the port for the "
        "requests of end users\n"
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


def test_the_wide_table_adds_columns(shown: Cli) -> None:
    (pod,) = json.loads(
        shown("get", "pods", "--deployment", "shown-v1", "--component", "web", "-o", "json").stdout
    )

    header, row = shown("get", "deployment", "shown-v1", "-o", "wide").stdout.splitlines()
    wide_pod = shown("get", "pod", pod["id"], "-o", "wide").stdout.splitlines()[1]

    assert header.split()[-3:] == ["GENERATION", "COMMIT", "TITLE"]
    # The last column of the narrow table is the age, which may differ by a second.
    narrow = shown("get", "deployment", "shown-v1").stdout.splitlines()[1].split()
    assert narrow[:-1] == row.split()[:-4]
    assert wide_pod.split()[-1] == pod["hash"]


def test_lists_are_filtered_by_state_and_owner(shown: Cli) -> None:
    def names(*arguments: str) -> list[str]:
        return shown("get", *arguments, "-o", "name").stdout.splitlines()

    assert names("deployments", "--app", "shown", "--state", "ready") == ["shown-v1"]
    assert names("deployments", "--app", "shown", "--state", "failed") == []
    assert names("releases", "--deployment", "shown-v1", "--state", "active") == ["shown"]
    assert names("ve", "--environment", "shown") == ["shown"]
    said = " ".join(shown("get", "pods", "--state", "running", code=2).stderr.split())
    assert "'running' is no state of pods: expected one of starting, ready, back-off" in said


def test_the_help_names_the_kinds_as_errors_do(fox_alone: Cli) -> None:
    said = fox_alone("get", "--help").stdout
    refused = " ".join(fox_alone("get", "podz", code=2).stderr.split())

    for kind in kinds.KINDS:
        assert kind.path in said
        assert kind.path in refused


def test_pods_are_shown_with_their_state(shown: Cli) -> None:
    (pod,) = [
        pod
        for pod in json.loads(shown("get", "pods", "-o", "json").stdout)
        if pod["app"] == "shown" and pod["component"] == "web"
    ]

    row = shown("get", "pod", pod["id"]).stdout.splitlines()[1].split()

    assert row[:3] == [pod["id"], "shown", "web"]
    assert row[4] == "ready"
    assert "pod nope does not exist" in shown("get", "pods", "nope", code=3).stderr


def test_secrets_are_never_shown(shown: Cli) -> None:
    for arguments in (["get", "ve", "shown", "-o", "yaml"], ["describe", "ve", "shown"]):
        printed = shown(*arguments).stdout

        assert "token" in printed
        assert "hidden" not in printed


def test_describe_shows_related_pods_and_releases(shown: Cli) -> None:
    of_deployment = shown("describe", "deployment", "shown-v1").stdout
    of_environment = shown("describe", "ve", "shown", "-o", "json").stdout
    of_adapter = shown("describe", "http-adapter", "shown").stdout

    fields, pods, releases = of_deployment.split("\n\n")
    assert yaml.safe_load(fields)["source"]["tag"] == "v1"
    assert [line.split()[2] for line in pods.splitlines()[1:]] == ["api", "web"]
    assert releases.splitlines()[1].split()[:2] == ["shown", "active"]
    assert json.loads(of_environment)["releases"][0]["active"]["apps"]["shown"]
    assert yaml.safe_load(of_adapter)["url"] == "https://example.com"


def test_logs_show_the_output_of_pods(shown: Cli) -> None:
    text = shown("logs", "web", "--tail", "5").stdout
    as_json = shown("logs", "web", "-o", "json").stdout
    as_yaml = shown("logs", "web", "-o", "yaml").stdout

    lines = [json.loads(line) for line in as_json.splitlines()]
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
        _, printed = process.communicate()

    assert line.startswith("web-")
    assert process.returncode == 130
    assert printed == ""


def test_explain_shows_selectors_rule_and_parameters_of_an_explicit_url(shown: Cli) -> None:
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


def test_explain_shows_the_release_of_a_plain_url(shown: Cli) -> None:
    printed = shown("explain", "/shown/shown/Ada").stdout

    assert "none: the active releases are matched" in printed
    assert "release " in printed


def test_a_url_without_a_route_is_explained_and_ends_with_3(shown: Cli) -> None:
    result = shown("explain", "/shown/elsewhere?kf-dep=shown-v1&kf-ve=shown", code=3)

    assert "FAILED ON" in result.stdout
    assert result.stderr.startswith("error: ")


def test_versions_of_both_sides_are_shown(fox: Cli, fox_alone: Cli) -> None:
    both = json.loads(fox("version", "-o", "json").stdout)
    alone = fox_alone("version").stdout

    assert both["client"] == both["platform"]["version"] == version("kubefox")
    assert both["control_url"] in fox("version").stdout
    assert "platform  not running" in alone


def test_an_empty_list_is_reported_on_standard_error(fox: Cli, platform: Path) -> None:
    listed = json.loads(fox("get", "http-adapters", "-o", "json").stdout)
    result = fox("get", "http-adapters")

    assert bool(result.stdout) is bool(listed)
    assert ("no http adapters" in result.stderr) is not bool(listed)


def test_piped_output_is_plain_and_a_closed_pipe_is_no_error(shown: Cli) -> None:
    environ = {**shown.environ, "TERM": "xterm-256color"}
    done = run("get", "deployments", **environ)
    with subprocess.Popen(
        ["bash", "-o", "pipefail", "-c", f"{' '.join(FOX)} get pods | true"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environ},
    ) as piped:
        _, printed = piped.communicate()

    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert "Traceback" not in printed


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
        ("fox get pods --deployment show", "shown-v1"),
        ("fox get pods --component we", "web"),
        ("fox get pods --state re", "ready"),
        ("fox get audit --state refu", "refused"),
        ("fox get audit --call", "--caller"),
        ("fox get ve --environment sho", "shown"),
        ("fox get shares --virtual-env sho", "shown"),
        ("fox share show", "shown-v1"),
        ("fox share --rev", "--revoke"),
        ("fox token cr", "create"),
        ("fox token create x --role rel", "release"),
        ("fox rotate-keys --key", "--key-encryption-key"),
        ("fox init-nats folder --li", "--listen"),
        ("fox scale we", "web"),
        ("fox scale show", "shown-v1/"),
        ("fox scale shown-v1/we", "shown-v1/web"),
    ],
)
def test_the_shell_completes_names(shown: Cli, typed: str, offered: str) -> None:
    assert any(name.startswith(offered) for name in complete(shown, typed))


@pytest.mark.parametrize("typed", ["fox scale nowhere/we", "fox delete depl"])
def test_the_shell_does_not_complete_what_the_command_refuses(shown: Cli, typed: str) -> None:
    assert complete(shown, typed) == []


@pytest.mark.parametrize("typed", ["fox undeploy x", "fox get cats x"])
def test_without_a_platform_nothing_is_completed(fox_alone: Cli, typed: str) -> None:
    assert complete(fox_alone, typed) == []
