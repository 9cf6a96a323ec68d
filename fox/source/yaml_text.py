"""YAML as plain data, read strictly: ambiguous text is an error, and so is text without measure.

An alias stands for a whole value, so a few lines can stand for more data than a memory holds. All
limits count a value again for each alias of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from kubefox import printable

MAX_CHARACTERS = 1 << 20
MAX_VALUES = 50_000
MAX_DEPTH = 64
MAX_NUMBER_CHARACTERS = 64

READ_ERRORS = (yaml.YAMLError, ValueError, RecursionError)
"""The exceptions of reading: also for a date that does not exist, and for a text over the limit."""


class _Size:
    """The values and characters of a text that were composed, with those that aliases repeat."""

    def __init__(self, values: int = 0, characters: int = 0) -> None:
        self.values = values
        self.characters = characters

    def copy(self) -> _Size:
        return _Size(self.values, self.characters)

    def since(self, start: _Size) -> _Size:
        return _Size(self.values - start.values, self.characters - start.characters)

    def add(self, other: _Size) -> None:
        self.values += other.values
        self.characters += other.characters


class _Loader(yaml.SafeLoader):
    """Loads plain data only; refuses duplicate keys, keys that are not text, and surrogates."""

    def __init__(self, stream: str | bytes) -> None:
        super().__init__(stream)
        self._size = _Size()
        self._depth = 0
        self._sizes: dict[str, _Size] = {}  # Of complete values, by their anchors.

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        mark = event.start_mark
        start = self._size.copy()
        is_alias = isinstance(event, yaml.AliasEvent)
        if not is_alias:
            self._sizes.pop(event.anchor, None)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _too_much(f"more than {MAX_DEPTH} levels of values", mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if is_alias:
            repeated = self._sizes.get(event.anchor)
            if repeated is None:
                raise _too_much("an alias of a value that contains it", mark)
            self._size.add(repeated)
        else:
            length = len(node.value) if isinstance(node, yaml.ScalarNode) else 0
            self._size.add(_Size(1, length))
            if event.anchor is not None:
                self._sizes[event.anchor] = self._size.since(start)
        self._check_size(mark)
        return node

    def _check_size(self, mark: yaml.Mark) -> None:
        if self._size.values > MAX_VALUES:
            raise _too_much(f"more than {MAX_VALUES:,} values (an alias counts as its value)", mark)
        if self._size.characters > MAX_CHARACTERS:
            raise _too_much(
                f"more than {MAX_CHARACTERS:,} characters (an alias counts as its value)", mark
            )

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        return super().construct_yaml_int(_short_number(node))

    def construct_yaml_float(self, node: yaml.ScalarNode) -> float:
        return super().construct_yaml_float(_short_number(node))

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value in seen:
                shown = printable.shortened(repr(key.value))
                problem = f"key {shown} is a duplicate, or is not text"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> str:
        text: str = super().construct_scalar(node)
        try:
            text.encode()
        except UnicodeEncodeError as error:
            problem = "a lone surrogate is not valid text"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from error
        return text


# A constructor is registered by its tag, for a class and those that inherit from it.
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_yaml_float)


def documents(text: str | bytes) -> Iterator[Any]:
    """Yield the documents of a text, None for an empty one.

    Raises:
        Exception: One of ``READ_ERRORS``; ``reason`` returns its message.
    """
    _check_length(text)
    yield from yaml.load_all(text, Loader=_Loader)


def document(text: str | bytes) -> Any:
    """Return the only document of a text, None for an empty one.

    Raises:
        Exception: One of ``READ_ERRORS``: the text is not YAML, or has several documents.
    """
    _check_length(text)
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader


def reason(error: Exception) -> str:
    """Return the place and the cause of a reading error, without the text: it may hold secrets."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        problem = printable.shortened(str(error.problem))
        return f"line {mark.line + 1}, column {mark.column + 1}: {problem}"
    return printable.shortened(" ".join(str(error).split()))


def _check_length(text: str | bytes) -> None:
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"the text is over {MAX_CHARACTERS:,} characters: split it")


def _short_number(node: yaml.ScalarNode) -> yaml.ScalarNode:
    """Return the node of a number that does not take long to compute."""
    if len(node.value) > MAX_NUMBER_CHARACTERS:
        raise _too_much(
            f"a number of more than {MAX_NUMBER_CHARACTERS} characters", node.start_mark
        )
    return node


def _too_much(what: str, mark: yaml.Mark) -> yaml.MarkedYAMLError:
    return yaml.composer.ComposerError(None, None, f"the text has {what}", mark)
