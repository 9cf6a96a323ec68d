"""The pages of the documentation: their lines, links, commands, and what they say of the code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from kubefox import codec, stream, subjects
from kubefox.event import Event, ResponseHead
from kubefox.senders import Sender
from routing.language.vocabulary import _VOCABULARY
from routing.selectors import SELECTOR_NAMES
from tests.e2e.documents import COMMAND_PAGES, DOCS, NOT_RUN, PROJECT, blocks, page

MAX_COLUMNS = 120
PAGES = sorted([*PROJECT.glob("*.md"), *DOCS.rglob("*.md")])
# Pages with commands or components, and the test that runs them.
RUN_BY = {
    "how-to/change-and-undo": "test_how_to",
    "how-to/change-variables": "test_how_to",
    "how-to/clean-up": "test_how_to",
    "how-to/emit-events": "test_how_to",
    "how-to/give-access": "test_how_to",
    "how-to/observe": "test_how_to",
    "how-to/release-and-roll-back": "test_how_to",
    "how-to/rotate-keys": "test_how_to",
    "how-to/run-in-parts": "test_how_to",
    "how-to/scale": "test_how_to",
    "how-to/share-a-preview": "test_how_to",
    "how-to/stop-idle-versions": "test_how_to",
    "how-to/stream-bodies": "test_how_to",
    "how-to/test-a-component": "test_how_to",
    "how-to/upgrade-http": "test_how_to",
    "how-to/write-a-component": "test_how_to",
    "operations/backup": "test_operations",
    "operations/install": "test_operations",
    "operations/security": "test_operations",
    "tutorial/first-app": "test_tutorial",
}
# Commands that no test runs as they stand, each with its reason in its page.
NOT_RUN_BLOCKS = {
    "how-to/emit-events": 1,
    "how-to/rotate-keys": 1,
    "how-to/share-a-preview": 1,
    "how-to/stop-idle-versions": 1,
    "how-to/use-kubectl": 7,
    "operations/backup": 2,
    "operations/install": 3,
    "operations/kubernetes": 15,
}
_MEASURED = re.compile(r"<!-- \S+: measured -->.*?<!-- \S+: end -->", re.DOTALL)
_LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def name_of(path: Path) -> str:
    return str(path.relative_to(PROJECT))


def prose_lines(text: str) -> Iterator[str]:
    """Yield the lines of a page that are neither code nor table."""
    is_code = False
    for line in text.splitlines():
        if line.startswith("```"):
            is_code = not is_code
        elif not is_code and not line.startswith("|"):
            yield line


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_lines_of_prose_are_short(path: Path) -> None:
    # Results of benchmarks, such as the names of all packages, may be long lines.
    text = re.sub(
        r"<!-- \S+: measured -->.*?<!-- \S+: end -->", "", path.read_text(), flags=re.DOTALL
    )

    assert [line for line in prose_lines(text) if len(line) > MAX_COLUMNS] == []


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_no_page_has_markers_of_a_conflict_of_git(path: Path) -> None:
    lines = path.read_text().splitlines()

    markers = [line for line in lines if re.match(r"<{7} |={7}$|>{7} ", line)]

    assert not markers


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_links_to_files_lead_to_files(path: Path) -> None:
    links = _LINK.findall(path.read_text())

    assert [link for link in links if not (path.parent / link).exists()] == []


@pytest.mark.parametrize("path", [*DOCS.rglob("*.md")], ids=name_of)
def test_links_of_the_site_stay_within_it(path: Path) -> None:
    links = _LINK.findall(path.read_text())

    assert [link for link in links if not (path.parent / link).resolve().is_relative_to(DOCS)] == []


def test_every_page_with_commands_is_run_by_a_test() -> None:
    names = {
        f"{folder}/{path.stem}": path
        for folder in COMMAND_PAGES
        for path in DOCS.glob(f"{folder}/*")
    }
    with_code = {
        name
        for name, path in names.items()
        if any(blocks(path.read_text(), language) for language in ("sh", "python"))
    }

    assert with_code == set(RUN_BY)


@pytest.mark.parametrize(("name", "test"), RUN_BY.items())
def test_the_test_of_a_page_names_it(name: str, test: str) -> None:
    source = (PROJECT / "tests" / "e2e" / f"{test}.py").read_text()

    assert f'"{name}"' in source or f'"{Path(name).name}"' in source


def test_commands_that_are_not_run_are_listed_here() -> None:
    marked = {
        f"{folder}/{path.stem}": len(NOT_RUN.findall(path.read_text()))
        for folder in COMMAND_PAGES
        for path in DOCS.glob(f"{folder}/*.md")
    }

    assert {name: count for name, count in marked.items() if count} == NOT_RUN_BLOCKS


def test_other_pages_show_no_commands() -> None:
    shown = [
        name_of(path)
        for path in DOCS.rglob("*.md")
        if path.parent.name not in COMMAND_PAGES and blocks(path.read_text(), "sh")
    ]

    assert shown == []


@pytest.mark.parametrize(("head", "column"), [(Event, 2), (ResponseHead, 3)])
def test_the_wire_format_lists_the_fields_in_their_order(
    head: type[msgspec.Struct], column: int
) -> None:
    table = page("reference/wire-format").partition("| Position |")[2].partition("\n\n")[0]
    cells = [line.split("|")[column].strip(" `") for line in table.splitlines()[2:]]

    assert [cell for cell in cells if cell] == list(head.__struct_fields__)


def test_the_wire_format_has_the_figures_of_the_code() -> None:
    text = page("reference/wire-format")

    assert f"The version is {codec.VERSION}." in text
    assert f"up to {stream.INLINE_BYTES:,} bytes" in text
    assert f"at most {stream.CHUNK_BYTES:,} bytes" in text
    kinds = re.findall(r"^\| (\d) \| `([A-Z]+)`", text, re.MULTILINE)
    assert {name: int(number) for number, name in kinds} == {
        kind.name: kind.value for kind in stream.FrameKind
    }


def test_the_wire_format_has_every_subject() -> None:
    text = page("reference/wire-format")
    fixed = [
        value
        for name, value in vars(subjects).items()
        if name.isupper()
        and not name.endswith("QUEUE")
        and isinstance(value, str)
        and not value.endswith((".>", ".*.*", "."))
    ]
    sender = Sender("<app>", "<sender>")
    made = [
        subjects.request_to(subjects.component("<app>", "<component>", "<hash>"), sender),
        subjects.emitted(subjects.component("<app>", "<component>", "<hash>")),
        subjects.dead_letter(subjects.component("<app>", "<component>", "<hash>")),
        subjects.request_to(subjects.adapter("<kind>"), sender),
        subjects.outbox(subjects.component("<app>", "<component>", "<hash>"), sender),
        subjects.view(sender),
        subjects.wake(sender),
        subjects.figures_of(sender),
        subjects.spans_of(sender),
        subjects.kept_spans_of(sender),
        subjects.pods_gone(subjects.component("<app>", "<component>", "<hash>")),
        subjects.pods_back(subjects.component("<app>", "<component>", "<hash>")),
        subjects.pod("<pod>"),
        subjects.pod_load("<pod>"),
        subjects.runner("<runner>"),
        subjects.runs_of("<process>"),
        subjects.runs(subjects.component("<app>", "<component>", "<hash>")),
        subjects.gone(subjects.component("<app>", "<component>", "<hash>")),
        subjects.keep_trace(0).replace("00000000", "<number>"),
        f"{subjects.begins('<process>')}<token>",
        f"{subjects.inbox('<process>', '<purpose>')}.<token>",
        f"{subjects.reply_prefix('<process>')}<token>",
        f"{subjects.stream_prefix('<process>')}<token>",
    ]

    listed = re.findall(r"^\| `([a-z][^`]*)` \| .*→", text, re.MULTILINE)

    assert sorted(listed) == sorted(fixed + made)


def test_the_rules_page_has_every_predicate() -> None:
    text = page("reference/rules").partition("## Predicates")[2].partition("\n## ")[0]

    predicates = re.findall(r"`([A-Z]\w+)\(", text)

    assert sorted(predicates) == sorted(_VOCABULARY)


def test_the_selectors_page_has_every_selector() -> None:
    text = page("reference/selectors")

    assert [name for name in SELECTOR_NAMES if f"`{name}`" not in text] == []
