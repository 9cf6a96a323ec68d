"""YAML manifests: the objects that they describe, and their errors."""

from __future__ import annotations

import contextlib
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fox.source.manifests import read_manifests
from kubefox.environment import (
    Environment,
    EnvironmentData,
    HTTPAdapter,
    PolicyType,
    ReleasePolicy,
    VirtualEnvironment,
)
from kubefox.errors import InvalidRequest
from kubefox.release import ReleasedApp
from kubefox.yaml_objects import Manifest

HEAD = "apiVersion: kubefox.xigxog.io/v1alpha1\n"


def read(text: str) -> tuple[Manifest, ...]:
    return read_manifests(textwrap.dedent(text), "envs.yaml")


def test_an_environment_is_read_with_its_values_and_policy() -> None:
    [manifest] = read("""
        apiVersion: kubefox.xigxog.io/v1alpha1
        kind: Environment
        metadata: {name: dev}
        spec:
          releasePolicy: {type: Testing, activationDeadlineSeconds: 20, historyLimits: {count: 3}}
        data:
          vars: {text: a, number: 1, share: 0.5, flag: true, list: [a, 1]}
          secrets: {token: t}
    """)

    assert manifest == Manifest(
        object=Environment(
            name="dev",
            data=EnvironmentData(
                vars={"text": "a", "number": 1, "share": 0.5, "flag": True, "list": ["a", 1]},
                secrets={"token": "t"},
            ),
            release_policy=ReleasePolicy(
                type=PolicyType.TESTING, activation_deadline_s=20, history_limit=3
            ),
        ),
        place="envs.yaml, document 1",
    )


def test_a_virtual_environment_may_contain_a_release() -> None:
    [manifest] = read("""
        apiVersion: kubefox.xigxog.io/v1alpha1
        kind: VirtualEnvironment
        metadata: {name: team-a}
        spec:
          environment: dev
          releasePolicy: {}
          release:
            apps:
              order-app: {appDeployment: order-app-v2, version: v2}
    """)

    assert manifest == Manifest(
        object=VirtualEnvironment(name="team-a", environment="dev", release_policy=ReleasePolicy()),
        release={"order-app": ReleasedApp(deployment="order-app-v2", version="v2")},
        place="envs.yaml, document 1",
    )


@pytest.mark.parametrize(
    ("spec", "release"),
    [("{environment: dev, release: {apps: {}}}", {}), ("{environment: dev}", None)],
)
def test_an_empty_release_differs_from_no_release(spec: str, release: object) -> None:
    [manifest] = read(f"""
        {HEAD.strip()}
        kind: VirtualEnvironment
        metadata: {{name: team-a}}
        spec: {spec}
    """)

    assert manifest.release == release


def test_an_http_adapter_is_read() -> None:
    [manifest] = read("""
        apiVersion: kubefox.xigxog.io/v1alpha1
        kind: HTTPAdapter
        metadata: {name: mail}
        spec:
          url: https://{{.Vars.mailHost}}/
          headers: {Authorization: "{{.Secrets.token}}"}
          followRedirects: true
    """)

    assert manifest.object == HTTPAdapter(
        name="mail",
        url="https://{{.Vars.mailHost}}/",
        headers={"Authorization": "{{.Secrets.token}}"},
        follow_redirects=True,
    )


def test_documents_keep_their_order_and_empty_ones_are_left_out() -> None:
    one, two = read(f"""
        ---
        {HEAD.strip()}
        kind: Environment
        metadata: {{name: a}}
        ---
        ---
        {HEAD.strip()}
        kind: Environment
        metadata: {{name: b}}
        spec: {{}}
    """)

    assert (one.object.name, two.object.name) == ("a", "b")
    assert read("") == ()


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("kind: Pod", "kind: expected one of Environment, VirtualEnvironment, HTTPAdapter"),
        ("[1, 2]", "kind: expected one of"),
        ("kind: [Environment]", "kind: expected one of"),
        ("apiVersion: v1\nkind: Environment\nmetadata: {name: a}", "apiVersion: Invalid enum"),
        (f"{HEAD}kind: Environment", "missing required field `metadata`"),
        (f"{HEAD}kind: Environment\nmetadata: {{name: 1}}", "metadata.name: Expected `str`"),
        (f"{HEAD}kind: Environment\nmetadata: {{name: A_b}}", "metadata.name: Environment name"),
        (
            f"{HEAD}kind: Environment\nmetadata: {{name: a}}\nspec: {{policy: 1}}",
            "spec: Object contains unknown field `policy`",
        ),
        (
            f"{HEAD}kind: VirtualEnvironment\nmetadata: {{name: a}}\nspec: {{}}",
            "spec: Object missing required field `environment`",
        ),
        (
            f"{HEAD}kind: HTTPAdapter\nmetadata: {{name: a}}\nspec: {{url: [x]}}",
            "spec.url: Expected `str`",
        ),
    ],
)
def test_an_error_names_file_document_and_path(document: str, message: str) -> None:
    good = f"{HEAD}kind: Environment\nmetadata: {{name: fine}}\n---\n"

    with pytest.raises(InvalidRequest) as caught:
        read_manifests(good + document, "envs.yaml")

    assert caught.value.detail.startswith("envs.yaml, document 2: ")
    assert message in caught.value.detail


@pytest.mark.parametrize(
    "value",
    ["null", "{a: 1}", "[[a]]", "[true]", "2024-01-01", ".nan", "-.inf", "99999999999999999999"],
)
def test_a_value_of_a_type_that_is_not_allowed_is_named(value: str) -> None:
    document = (
        f"{HEAD}kind: Environment\nmetadata: {{name: a}}\ndata: {{vars: {{colour: {value}}}}}"
    )

    with pytest.raises(InvalidRequest, match=r"document 1: data\.vars\.colour: expected a string"):
        read_manifests(document, "envs.yaml")


@pytest.mark.parametrize(
    "text", ["a: b: c", "a: [", "\x07", "a: 1\na: 2", "!!python/object:os.system {}", "? [a]\n: b"]
)
def test_invalid_yaml_is_reported_with_the_file_name(text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"envs\.yaml"):
        read_manifests(text, "envs.yaml")


@given(st.text(alphabet="ab:{}[]-*&!?|>'\"# \n\t0.~%@`\x00é", max_size=60))
def test_random_text_raises_invalid_request_only(text: str) -> None:
    with contextlib.suppress(InvalidRequest):
        read_manifests(text, "envs.yaml")


@pytest.mark.parametrize(
    "secrets", ["{token: {deep: s3cret}}", "{token: [[s3cret]]}", "{token: s3cret: x}", "s3cret"]
)
def test_no_error_shows_a_secret(secrets: str) -> None:
    head = f"{HEAD}kind: Environment\nmetadata: {{name: dev}}\n"

    with pytest.raises(InvalidRequest) as caught:
        read_manifests(f"{head}data:\n  secrets: {secrets}\n", "env.yaml")

    assert "s3cret" not in caught.value.detail
