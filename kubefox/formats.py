"""Formats of names, ids and values that come from outside: one pattern or range for each kind.

A type below marks a field of a record, a body or a query, such as ``name: Name``. The mark is in
the OpenAPI document. The control API checks what it receives against it. msgspec does not: records
that are stored already are decoded without a check, at no cost.
"""

from __future__ import annotations

import re
from collections.abc import Sized
from typing import Annotated, Any, Protocol

import msgspec

from kubefox import printable

MAX_NAME_LENGTH = 63
MAX_COMPONENTS = 500
"""Components of one deployment. A plan asks for a bundle for each of them."""
MAX_ENTRIES = 10_000
"""Entries of any other list or mapping, unless it has a smaller limit."""
_MAX_INTEGER = (1 << 63) - 1


class Constraint(Protocol):
    """The constraints of a value, besides its type."""

    @property
    def schema(self) -> dict[str, Any]:
        """Keywords of a JSON schema."""

    def fault(self, value: Any) -> str:
        """Return why a value of the right type is not valid; empty if it is."""


class Format(msgspec.Struct, frozen=True, kw_only=True):
    """The format of a text.

    Attributes:
        noun: Noun for the text in messages, such as ``hash``.
        pattern: Regular expression of the whole text, valid in Python and in ECMA 262.
        max_length: Most characters.
        expected: Description of valid texts, for messages.
        is_optional: Whether the text may also be empty.
    """

    noun: str
    pattern: str
    max_length: int
    expected: str
    is_optional: bool = False

    @property
    def schema(self) -> dict[str, Any]:
        """Keywords of a JSON schema."""
        pattern = f"^({self.pattern})?$" if self.is_optional else f"^({self.pattern})$"
        return {"pattern": pattern, "maxLength": self.max_length}

    def accepts(self, text: str) -> bool:
        """Return whether a text has this format."""
        if not text:
            return self.is_optional or re.fullmatch(self.pattern, "") is not None
        return len(text) <= self.max_length and re.fullmatch(self.pattern, text) is not None

    def fault(self, value: str) -> str:
        """Return why a text is not valid; empty if it is."""
        if self.accepts(value):
            return ""
        shown = printable.shortened(repr(value))
        return f"{self.noun} {shown} is not valid: use {self.expected}"


class Range(msgspec.Struct, frozen=True, kw_only=True):
    """The range of a number.

    Attributes:
        minimum: Smallest value.
        maximum: Largest value; None sets no limit.
        is_above_minimum: Whether the smallest value itself is not valid.
    """

    minimum: int
    maximum: int | None = None
    is_above_minimum: bool = False

    @property
    def schema(self) -> dict[str, Any]:
        """Keywords of a JSON schema."""
        keyword = "exclusiveMinimum" if self.is_above_minimum else "minimum"
        most = {} if self.maximum is None else {"maximum": self.maximum}
        return {keyword: self.minimum, **most}

    def fault(self, value: float) -> str:
        """Return why a number is not valid; empty if it is."""
        is_above = value > self.minimum if self.is_above_minimum else value >= self.minimum
        if is_above and (self.maximum is None or value <= self.maximum):
            return ""
        least = f"more than {self.minimum}" if self.is_above_minimum else f"{self.minimum} or more"
        most = "" if self.maximum is None else f", {self.maximum:,} at most"
        return f"{value} is not valid: expected {least}{most}"


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """The number of entries of a list or mapping.

    Attributes:
        max_entries: Most entries.
        keys: Format of the keys of a mapping; None for a list.
    """

    max_entries: int
    keys: Format | None = None

    @property
    def schema(self) -> dict[str, Any]:
        """Keywords of a JSON schema."""
        if self.keys is None:
            return {"maxItems": self.max_entries}
        return {"maxProperties": self.max_entries, "propertyNames": self.keys.schema}

    def fault(self, value: Sized) -> str:
        """Return why a list or mapping is not valid; empty if it is."""
        if len(value) > self.max_entries:
            return f"{len(value):,} entries are too many: expected {self.max_entries:,} at most"
        if self.keys is not None and isinstance(value, dict):
            return next(filter(None, map(self.keys.fault, value)), "")
        return ""


def checked(constraint: Constraint) -> msgspec.Meta:
    """Return the mark of a constraint that the control API checks as soon as a body is decoded."""
    return msgspec.Meta(extra={"constraint": constraint}, extra_json_schema=constraint.schema)


def documented(constraint: Constraint) -> msgspec.Meta:
    """Return the mark of a constraint that the operation checks, together with other problems."""
    return msgspec.Meta(extra_json_schema=constraint.schema)


def optional(form: Format) -> Format:
    """Return the format that also accepts the empty text: the field is not given."""
    return msgspec.structs.replace(form, is_optional=True)


NAME = Format(
    noun="name",
    pattern="[a-z0-9](?:[a-z0-9-]*[a-z0-9])?",
    max_length=MAX_NAME_LENGTH,
    expected=f"1 to {MAX_NAME_LENGTH} of a-z, 0-9 and '-', with a letter or digit at both ends",
)
"""A DNS label (RFC 1123): valid in NATS subjects, URLs and Kubernetes objects."""
NAME_PREFIX = Format(
    noun="name prefix", pattern="[a-z0-9-]*", max_length=255, expected="a-z, 0-9 and '-'"
)
HASH = Format(
    noun="hash", pattern="[0-9a-f]{32}", max_length=32, expected="32 hexadecimal characters"
)
COMMIT = Format(
    noun="commit", pattern="[0-9a-f]{7,64}", max_length=64, expected="7 to 64 hexadecimal digits"
)
POD_ID = Format(
    noun="pod id", pattern="[a-z0-9](?:[a-z0-9-]*[a-z0-9])?", max_length=255, expected=NAME.expected
)
RELEASE_ID = Format(
    noun="release id",
    pattern="[0-9]{8}-[0-9]{6}-[0-9]{3}-[0-9a-f]{4}",
    max_length=24,
    expected="an id such as 20260101-120000-000-4f2a",
)
DEAD_LETTER_ID = Format(
    noun="dead letter id", pattern="[1-9][0-9]{0,18}", max_length=19, expected="1 to 19 digits"
)
TRACE_ID = Format(
    noun="trace or event id",
    pattern="[A-Za-z0-9_-]+",
    max_length=255,
    expected="letters, digits, '_' and '-'",
)
VALUE_NAME = Format(
    noun="name of a value",
    pattern="[A-Za-z0-9_-]{1,128}",
    max_length=128,
    expected="1 to 128 letters, digits, '_' or '-'",
)
CONTINUE = Format(
    noun="continue token",
    pattern="[A-Za-z0-9_-]*",
    max_length=4_096,
    expected="the field continue of the page before",
)
LABEL = Format(
    noun="text",
    pattern="[^\\u0000-\\u001f\\u007f]*",
    max_length=255,
    expected="at most 255 characters, without control characters",
)
"""A tag, branch, selector or title."""
VERSION = Format(
    noun="version",
    pattern="[^\\u0000-\\u001f\\u007f]+",
    max_length=63,
    expected="1 to 63 printable characters",
)
URL = Format(
    noun="URL",
    pattern="(?:https?://|[{][{])[^ \\t\\r\\n]+",
    max_length=8_192,
    expected="http://…, https://… or a template",
)
HEADER = Format(
    noun="header name",
    pattern="[A-Za-z0-9!#$%&'*+.^_`|~-]+",
    max_length=255,
    expected="letters, digits and ! # $ % & ' * + . ^ _ ` | ~ -",
)
"""A header name, RFC 9110, 5.6.2."""
HOST = Format(
    noun="host name",
    pattern="[a-z0-9][a-z0-9._-]*|\\[[0-9a-f:.]+\\]",
    max_length=253,
    expected="a name or an address in lower case, without a port",
)
_HOST_PART = "[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_PORT = ":[0-9]{1,5}"
_PATH_PART = "[a-z0-9]+(?:(?:[.]|__?|-+)[a-z0-9]+)*"
REGISTRY = f"(?:(?:localhost|{_HOST_PART}(?:[.]{_HOST_PART})+)(?:{_PORT})?|{_HOST_PART}{_PORT})"
"""The host of a registry: without a dot or a port, it would be a folder of Docker Hub."""
IMAGE = Format(
    noun="image",
    pattern=f"{REGISTRY}(?:/{_PATH_PART})+(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?"
    "@sha256:[0-9a-f]{64}",
    max_length=512,
    expected="the registry, the repository and the digest, as in "
    "registry.example/team/api@sha256:<64 hexadecimal digits>; a tag alone may be moved",
)
"""A container image whose content cannot change."""
IMAGE_REPOSITORY = Format(
    noun="image repository",
    pattern=f"{REGISTRY}(?:/{_PATH_PART})*",
    max_length=255,
    expected="a registry, a folder of it or a repository, as in registry.example/team",
)
DEADLINE_S = Range(minimum=0, maximum=7 * 24 * 3_600, is_above_minimum=True)
"""How long a release or a rollout may take."""

Name = Annotated[str, checked(NAME)]
OptionalName = Annotated[str, checked(optional(NAME))]
NamePrefix = Annotated[str, checked(NAME_PREFIX)]
Hash = Annotated[str, checked(HASH)]
OptionalHash = Annotated[str, checked(optional(HASH))]
OptionalCommit = Annotated[str, checked(optional(COMMIT))]
OptionalPodId = Annotated[str, checked(optional(POD_ID))]
OptionalReleaseId = Annotated[str, documented(optional(RELEASE_ID))]
Continue = Annotated[str, checked(CONTINUE)]
Label = Annotated[str, checked(LABEL)]
OptionalImage = Annotated[str, checked(optional(IMAGE))]
OptionalHost = Annotated[str, checked(optional(HOST))]
Index = Annotated[int, checked(Range(minimum=0, maximum=MAX_ENTRIES))]
Generation = Annotated[int, checked(Range(minimum=1, maximum=_MAX_INTEGER))]
UnixTime = Annotated[float, checked(Range(minimum=0, maximum=1 << 40))]
