"""YAML as plain data, read strictly: what could be meant in two ways is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

NOT_YAML = (yaml.YAMLError, ValueError, RecursionError)
"""What reading raises: also what looks like a date and is none, and what is nested without end."""


class _Loader(yaml.SafeLoader):
    """Loads plain data only, and refuses a key that is there twice, and what is no text."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value in seen:
                what = f"key {key.value!r} is no text, or is there twice"
                raise yaml.constructor.ConstructorError(None, None, what, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> str:
        text: str = super().construct_scalar(node)
        try:
            text.encode()
        except UnicodeEncodeError as error:
            what = "half of a surrogate pair is no text"
            raise yaml.constructor.ConstructorError(None, None, what, node.start_mark) from error
        return text


def documents(text: str | bytes) -> Iterator[Any]:
    """Yield the documents of a text, None for an empty one.

    Raises:
        Exception: One of ``NOT_YAML``; ``reason`` tells it to people.
    """
    yield from yaml.load_all(text, Loader=_Loader)


def document(text: str | bytes) -> Any:
    """Return the only document of a text, None for an empty one.

    Raises:
        Exception: One of ``NOT_YAML``: there are several, or that is none.
    """
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader


def reason(error: Exception) -> str:
    """Return where a text is not YAML, and why; never the text, for it may hold secrets."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return " ".join(str(error).split())
