"""The generated parts of the reference name everything that the code has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import fox
from docs.generator.markdown import check_complete, fields, table
from docs.generator.metrics import watched
from docs.generator.pages import GENERATORS, MARKER, expand
from fox.cli.main import COMMANDS
from fox.kit.client import ComponentClient
from fox.kit.state_store import StateStore
from fox.testing import TestClient

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", GENERATORS)
def test_every_generator_finds_all_that_it_describes(name: str) -> None:
    assert GENERATORS[name]()


def test_every_generated_text_stands_on_one_page() -> None:
    markers = [name for page in DOCS.rglob("*.md") for name in MARKER.findall(page.read_text())]

    assert sorted(markers) == sorted(GENERATORS)


def test_the_command_line_page_has_every_command() -> None:
    page = expand((DOCS / "reference" / "cli.md").read_text())

    assert [name for name in COMMANDS if f"## `fox {name}`" not in page] == []
    assert "### `fox token create`" in page
    assert "`--role ROLE[:APPS[:VIRTUAL_ENVIRONMENTS]]`" in page


def test_metrics_that_processes_count_are_found_in_the_code() -> None:
    assert "nats_reconnects" in watched("watch_counter")
    assert "snapshot_revision" in watched("watch_gauge")


def test_a_name_that_is_not_described_fails_the_build() -> None:
    with pytest.raises(ValueError, match="things: b is not described; c is described but does not"):
        check_complete("things", ["a", "b"], {"a": "", "c": ""})


def test_fields_of_a_docstring_keep_their_continuation_lines() -> None:
    docstring = """One thing.

    Attributes:
        first: Has ``code`` and
            a second line.
        second: Short.

    Raises:
        Nothing: At all.
    """

    assert fields(docstring) == {"first": "Has `code` and a second line.", "second": "Short."}


def test_a_table_escapes_what_would_end_a_cell() -> None:
    assert table(["a"], [["x|y\nz"]]).splitlines()[-1] == r"| x\|y z |"


@pytest.mark.parametrize(
    ("shown", "left_out"),
    [
        # For the platform: the definition that is deployed, and the choice of a handler.
        (
            fox.Kit,
            {
                "concurrency",
                "declared_limits",
                "cancels_on_disconnect",
                "definition",
                "handler_of",
                "has_time_limits",
                "streams_body",
                "time_limit_s",
            },
        ),
        # For the code that serves events.
        (
            fox.Context,
            {
                *("deadline_ms", "emit", "event", "handling", "open_stream", "send"),
                *("limit_deadline", "use_stream_deadline", "view"),
            },
        ),
        # For the platform; and the attributes, which the class describes.
        (fox.Response, {"from_wire", "to_reply", "body", "source", "status"}),
        (ComponentClient, set()),
        (StateStore, set()),
        (TestClient, set()),
    ],
)
def test_the_kit_page_has_every_public_name(shown: type, left_out: set[str]) -> None:
    page = (DOCS / "reference" / "kit.md").read_text()
    block = page.partition(f".{shown.__name__}")[2].partition("```")[0].partition(":members:")[2]

    public = {name for name in vars(shown) if not name.startswith("_")}

    assert set(re.findall(r"\w+", block)) == public - left_out
