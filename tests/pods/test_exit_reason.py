from __future__ import annotations

import pytest

from pods.exit_reason import exit_reason


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", ""),
        ("RuntimeError: boom\x1b", r"RuntimeError: boom\x1b"),
        ('{"a": 1}', '{"a": 1}'),
        ('{"level": "info", "message": "ready"}', ""),
        ('{"level": "debug", "message": "looking"}', ""),
        ('{"level": "error", "message": "no disk"}', "no disk"),
        (
            r'{"level": "error", "message": "no", "exception": "Traceback\n  at\nOSError: full\n"}',
            "no: OSError: full",
        ),
        ('{"level": "error", "message": ["no"]}', '{"level": "error", "message": ["no"]}'),
        ("x" * 1_000, "x" * 200),
    ],
)
def test_the_exit_reason_is_read_from_the_last_line(line: str, expected: str) -> None:
    assert exit_reason(line) == expected


def test_a_long_message_does_not_hide_the_exception() -> None:
    line = f'{{"level": "error", "message": "{"m" * 1_000}", "exception": "OSError: full"}}'

    assert exit_reason(line).endswith("m: OSError: full")
