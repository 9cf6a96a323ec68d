"""Output that cannot be read is told on standard error, and ends the command with 1."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typer

from fox.cli.commands import logs as command
from fox.cli.support.output import Output

TOLD = {"pod": "", "component": "", "hash": "", "line": "it is away", "is_notice": True}
LINE = {"pod": "web-1", "component": "web", "hash": "a" * 32, "line": "hello"}


class Control:
    """A control API with some lines."""

    def __init__(self, *documents: dict[str, Any]) -> None:
        self._documents = documents

    def lines(self, *_path: str, **_query: object) -> Iterator[dict[str, Any]]:
        return iter(self._documents)

    def get(self, *_path: str, **_query: object) -> dict[str, Any]:
        return {**LINE, "id": "web-1", "app": "shop", "phase": "ready"}


def read(monkeypatch: pytest.MonkeyPatch, *documents: dict[str, Any]) -> None:
    monkeypatch.setattr(command, "connect", lambda *_arguments: Control(*documents))
    command.logs("web", output=Output.JSON)


def test_the_command_fails_if_nothing_else_came(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended:
        read(monkeypatch, TOLD)

    assert ended.value.exit_code == 1
    assert capsys.readouterr() == ("", "warning: it is away\n")


def test_it_cannot_control_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    read(monkeypatch, {**TOLD, "line": "it is\x1b[2J away\nerror: other"}, LINE)

    assert capsys.readouterr().err == "warning: it is\\x1b[2J away\\nerror: other\n"


def test_the_other_lines_are_shown_without_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    read(monkeypatch, TOLD, LINE)

    out, err = capsys.readouterr()
    assert err == "warning: it is away\n"
    assert out.count("\n") == 1
    assert '"line":"hello"' in out
