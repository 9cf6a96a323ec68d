from __future__ import annotations

import pytest

from fox.source.spec import parse
from kubefox.app import AppSpec, ComponentSpec
from kubefox.errors import Problem, ProblemsFound


def problem_of(content: bytes) -> Problem:
    with pytest.raises(ProblemsFound) as found:
        parse(content, AppSpec, "app.yaml")
    (problem,) = found.value.problems
    return problem


def test_modules_group_components_and_adapters() -> None:
    content = b"name: shop\nmodules: {web: {title: Web, components: [ui], adapters: [http]}}"

    spec = parse(content, AppSpec, "app.yaml")

    assert spec.modules["web"].components == ("ui",)


def test_an_empty_file_has_all_defaults() -> None:
    assert parse(b"", ComponentSpec, "component.yaml") == ComponentSpec()


@pytest.mark.parametrize(
    ("content", "path", "message"),
    [
        (b"title: no name", "app.yaml", "missing required field `name`"),
        (b"name: shop\nnam: x", "app.yaml", "unknown field `nam`"),
        (b"name: 3", "app.yaml: name", "Expected `str`, got `int`"),
        (b"- a", "app.yaml", "Expected `object`"),
        (b"name: a\nmodules: {w: {components: [1]}}", "app.yaml: modules[...].components[0]", ""),
    ],
)
def test_a_wrong_field_is_named_by_file_and_path(content: bytes, path: str, message: str) -> None:
    problem = problem_of(content)

    assert problem.type == "InvalidField"
    assert problem.path == path
    assert message in problem.message


def test_invalid_yaml_is_reported_with_its_line() -> None:
    problem = problem_of(b"name: shop\nmodules: [")

    assert problem.type == "InvalidYaml"
    assert problem.message.startswith("line 2, column 11:")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'name: shop\ntitle: "\\ud800"', "line 2, column 8: a lone surrogate is not valid text"),
        (b'"\\udc00": shop', "line 1, column 1: a lone surrogate is not valid text"),
        (b"name: shop\nname: other", "line 2, column 1: key 'name' is a duplicate, or is not text"),
        (b"name: 2024-13-45", "month must be in 1..12"),
        (b"name: " + b"[" * 100_000, ""),
        (b"name: one\n---\nname: two", "line 2, column 1"),
    ],
)
def test_ambiguous_yaml_is_refused(content: bytes, message: str) -> None:
    problem = problem_of(content)

    assert problem.type == "InvalidYaml"
    assert message in problem.message


def test_bytes_that_are_not_text_are_a_problem() -> None:
    assert problem_of(b"name: \x00").type == "InvalidYaml"
