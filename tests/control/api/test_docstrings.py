"""Docstrings are split into the descriptions of a struct and its attributes."""

from __future__ import annotations

from control.api.docstrings import split_docstring


class Documented:
    """A struct.

    With a second paragraph.

    Attributes:
        first: One line.
        second: Two lines,
            which are joined.
    """


def test_a_docstring_is_split_into_description_and_attributes() -> None:
    assert split_docstring(Documented.__doc__ or "") == (
        "A struct.\n\nWith a second paragraph.",
        {"first": "One line.", "second": "Two lines, which are joined."},
    )


def test_a_docstring_without_attributes_is_a_description() -> None:
    assert split_docstring("A struct.") == ("A struct.", {})
