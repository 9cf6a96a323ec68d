from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fox.cli.conftest import Cli
from tests.fox.cli.shop import ENVIRONMENTS, make

RELEASE = """\
apiVersion: kubefox.xigxog.io/v1alpha1
kind: VirtualEnvironment
metadata: {name: wanted}
spec:
  environment: wanted
  release: {apps: {wanted: {appDeployment: wanted-v1, version: VERSION}}}
data: {vars: {subPath: wanted}}
"""

CARELESS = """\
apiVersion: kubefox.xigxog.io/v1alpha1
kind: Environment
metadata: {name: careless}
data: {vars: {apiKey: s3cret, port: 1}, secrets: {token: t}}
"""


def effects(printed: str) -> dict[str, str]:
    """Return the effect on each kind."""
    return {line.split()[0]: line.split()[-1] for line in printed.splitlines()[1:]}


def test_apply_prints_the_effect_on_each_object(fox: Cli, tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"
    file.write_text(ENVIRONMENTS.replace("NAME", "applied"))

    first = effects(fox("apply", "-f", file).stdout)
    again = effects(fox("apply", "-f", file).stdout)
    file.write_text(file.read_text().replace("Moin", "Hej"))
    changed = effects(fox("apply", "-f", file).stdout)

    assert set(first.values()) == {"created"}
    assert list(first) == ["environments", "http-adapters", "virtual-environments"]
    assert set(again.values()) == {"unchanged"}
    assert changed["virtual-environments"] == "configured"
    assert changed["environments"] == "unchanged"


def test_apply_reads_folders_and_standard_input(fox: Cli, tmp_path: Path) -> None:
    documents = ENVIRONMENTS.replace("NAME", "several").split("---\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "one.yml").write_text(documents[0])
    (tmp_path / "folder" / "notes.txt").write_text("no YAML: [")

    printed = fox("apply", "-f", "folder", "-f", "-", "-o", "json", stdin=documents[1]).stdout

    assert [(row["kind"], row["effect"]) for row in json.loads(printed)] == [
        ("environments", "created"),
        ("virtual-environments", "created"),
    ]


def test_a_variable_that_looks_like_a_secret_is_warned_about(fox: Cli) -> None:
    printed = fox("apply", "-f", "-", stdin=CARELESS)
    (applied,) = json.loads(fox("apply", "-f", "-", "-o", "json", stdin=CARELESS).stdout)

    (warning,) = printed.stderr.splitlines()
    assert "variable apiKey looks like a secret: move it from vars to secrets" in warning
    assert applied["warnings"] == [warning.removeprefix("warning: ")]
    assert "s3cret" not in printed.output


def test_apply_writes_nothing_when_one_file_is_not_valid(fox: Cli, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(ENVIRONMENTS.replace("NAME", "never"))
    (tmp_path / "b.yaml").write_text("kind: Cat\n")

    printed = fox("apply", "-f", "a.yaml", "-f", "b.yaml", code=1).stderr

    assert "b.yaml, document 1: kind" in printed
    fox("get", "env", "never", code=3)


def test_an_unreadable_input_is_named(fox: Cli, tmp_path: Path) -> None:
    (tmp_path / "bytes.yaml").write_bytes(b"\xff")

    assert "there is no file nope.yaml" in fox("apply", "-f", "nope.yaml", code=3).stderr
    assert "bytes.yaml cannot be read" in fox("apply", "-f", "bytes.yaml", code=1).stderr
    assert "input cannot be read" in fox("apply", "-f", "-", code=1, stdin=b"\xff").stderr
    assert "there is no object in -" in fox("apply", "-f", "-", code=1, stdin="").stderr


def test_a_lone_surrogate_is_refused_with_its_line(fox: Cli) -> None:
    half = ENVIRONMENTS.replace("NAME", "surrogate").replace("Moin", r'"\ud800"')

    printed = fox("apply", "-f", "-", code=1, stdin=half).stderr

    assert "standard input is not valid YAML: line 5, column " in printed


def test_an_unknown_environment_ends_with_4(fox: Cli) -> None:
    lonely = RELEASE.replace("environment: wanted", "environment: nowhere")

    assert "nowhere" in fox("apply", "-f", "-", code=4, stdin=lonely).stderr


@pytest.mark.parametrize("output", ["table", "json"])
def test_objects_written_before_a_failure_are_listed(fox: Cli, tmp_path: Path, output: str) -> None:
    name = f"half-{output}"
    (tmp_path / "good.yaml").write_text(ENVIRONMENTS.replace("NAME", name))
    lonely = ENVIRONMENTS.split("---")[0].replace("NAME", f"{name}-2")
    (tmp_path / "bad.yaml").write_text(f"null\n---\n{lonely}")

    result = fox("apply", "-f", "good.yaml", "-f", "bad.yaml", "-o", output, code=4)

    written = (
        [row["kind"] for row in json.loads(result.stdout)]
        if output == "json"
        else list(effects(result.stdout))
    )
    assert written == ["environments", "http-adapters", "virtual-environments"]
    assert result.stderr.startswith("error: bad.yaml, document 2: ")


def test_no_object_is_listed_when_none_was_written(fox: Cli) -> None:
    lonely = RELEASE.replace("environment: wanted", "environment: nowhere")

    assert fox("apply", "-f", "-", code=4, stdin=lonely).stdout == ""
    assert json.loads(fox("apply", "-f", "-", "-o", "json", code=4, stdin=lonely).stdout) == []


def test_a_duplicate_object_is_refused_before_anything_is_written(fox: Cli, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(ENVIRONMENTS.replace("NAME", "twice"))
    (tmp_path / "b.yaml").write_text(ENVIRONMENTS.split("---")[1].replace("NAME", "twice"))

    printed = fox("apply", "-f", "a.yaml", "-f", "b.yaml", code=1).stderr

    assert printed == (
        "error: environment twice is defined twice: in a.yaml, document 2; and in b.yaml, "
        "document 1\n"
    )
    fox("get", "env", "twice", code=3)


def test_a_virtual_environment_manifest_may_contain_a_release(fox: Cli, tmp_path: Path) -> None:
    shop = make(tmp_path, "wanted")
    fox("apply", "-f", shop.folder / "environments.yaml")
    fox("deploy", "wanted-v1", "--app", shop.folder, "--version", "1.0")
    wanted = RELEASE.replace("VERSION", "'1.0'")

    first = effects(fox("apply", "-f", "-", stdin=wanted).stdout)
    again = effects(fox("apply", "-f", "-", stdin=wanted).stdout)
    other = fox("apply", "-f", "-", code=4, stdin=RELEASE.replace("VERSION", "'2'")).stderr
    without = RELEASE.replace("{wanted: {appDeployment: wanted-v1, version: VERSION}}", "{}")
    silent = "\n".join(line for line in RELEASE.splitlines() if "appDeployment" not in line)
    unasked = effects(fox("apply", "-f", "-", stdin=silent).stdout)
    active = fox("get", "release", "wanted").stdout
    withdrawn = effects(fox("apply", "-f", "-", stdin=without).stdout)
    nothing = effects(fox("apply", "-f", "-", stdin=without).stdout)

    assert first["releases"] == "configured"
    assert again["releases"] == "unchanged"
    assert "has version 1.0" in other
    assert "releases" not in unasked
    assert "active" in active
    assert (withdrawn["releases"], nothing["releases"]) == ("configured", "unchanged")
    assert "active" not in fox("get", "release", "wanted").stdout
