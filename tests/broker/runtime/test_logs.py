"""Log lines as JSON and for the console."""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from broker.runtime import logs
from fox.kit.log import EventLogger

logger = logging.getLogger("tests.logs")


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logs.bind({})


def parsed(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def fail() -> None:
    raise ValueError("why")


def test_every_line_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", "INFO", component="api", pod="api-1")

    logger.info("two\nlines of %s", "ä", extra={"fields": {"order": 7, "what": object}})
    logger.debug("too low")

    [line] = parsed(capsys)
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "info",
        "logger": "tests.logs",
        "message": "two\nlines of ä",
        "component": "api",
        "pod": "api-1",
        "order": 7,
        "what": "<class 'object'>",
    }


def test_a_line_field_does_not_replace_the_event_fields(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", "INFO", deployment="v1")

    EventLogger("tests.logs").info("placed", level=5, message="m", deployment="v2", order=7)

    [line] = parsed(capsys)
    assert (line["level"], line["message"], line["deployment"]) == ("info", "placed", "v1")
    assert (line["field_level"], line["field_message"], line["field_deployment"]) == (5, "m", "v2")
    assert line["order"] == 7


def test_a_line_with_text_that_is_not_utf8_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", "INFO")

    logger.info("a \ud800", extra={"fields": {"b": "\udcff", "c": [1, "\ud800"], "d": 1}})

    [line] = parsed(capsys)
    assert (line["message"], line["b"], line["d"]) == ("a ?", "?", 1)


def test_a_traceback_is_part_of_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", "INFO")

    try:
        fail()
    except ValueError:
        logger.exception("failed")

    [line] = parsed(capsys)
    assert line["message"] == "failed"
    assert line["exception"].endswith("ValueError: why")


async def test_fields_belong_to_the_task_that_bound_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure("json", "INFO", pod="api-1")
    both = asyncio.Barrier(2)

    async def handle(event: str) -> None:
        logs.bind({"event": event})
        await both.wait()
        logger.info("handled")

    await asyncio.gather(asyncio.create_task(handle("a")), asyncio.create_task(handle("b")))
    logger.info("idle")

    lines = parsed(capsys)
    assert sorted(line.get("event", "") for line in lines) == ["", "a", "b"]
    assert lines[-1]["pod"] == "api-1"


def test_the_console_format_ends_a_line_with_the_fields(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure("console", "WARNING", pod="api-1")

    logger.warning("slow", extra={"fields": {"order": 7}})
    logger.info("too low")
    try:
        fail()
    except ValueError:
        logger.exception("failed")

    first, second, *traceback = capsys.readouterr().err.splitlines()
    assert first.endswith(" warning slow pod=api-1 order=7")
    assert second.endswith(" error   failed pod=api-1")
    assert traceback[-1] == "ValueError: why"


def test_the_console_format_escapes_line_breaks_and_terminal_commands(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure("console", "INFO", pod="api-1\x9b2J\u202e")

    logger.info("a\n12:00:00.000 error   forged\x1b[2J", extra={"fields": {"b": "\r\u2028c"}})
    try:
        raise ValueError("why\x1b[2J")  # noqa: TRY301
    except ValueError:
        logger.exception("failed")

    first, _, *traceback = capsys.readouterr().err.split("\n")
    assert first.endswith(
        r"a\n12:00:00.000 error   forged\x1b[2J pod=api-1\x9b2J\u202e b=\r\u2028c"
    )
    assert r"ValueError: why\x1b[2J" in traceback


def test_fields_bound_in_a_copied_context_stay_there() -> None:
    contextvars.copy_context().run(logs.bind, {"event": "a"})

    record = logging.LogRecord("x", logging.INFO, "", 0, "m", None, None)
    assert logs.fields_of(record) == {}
