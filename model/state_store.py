"""The state store's operations as requests: what a component asks and any storage answers.

==================================  ===================================  =========================
request                             meaning                              answer
==================================  ===================================  =========================
``GET /<store>/<key>``              read one entry                       200 and the value, or 404
``PUT /<store>/<key>``              write one entry                      200, empty
``DELETE /<store>/<key>``           delete one; absent is deleted        204
``GET /<store>?prefix=…&after=…``   read the entries of a prefix         200 and a page
==================================  ===================================  =========================

Header ``if-match: <revision>`` makes a write or deletion fail with 409 unless the entry has that
revision; 0 means that there is no entry. Header ``revision`` of an answer is the entry's. A page
is MessagePack, in order of revision: whoever follows ``after`` to the end has seen every entry
that stayed, and one that was changed meanwhile is seen again at its new place.
"""

from __future__ import annotations

import re
from typing import Any, Protocol, assert_never
from urllib.parse import parse_qsl, quote, unquote, urlencode

import msgspec

from model.decoding import UNREADABLE
from model.errors import BodyTooLarge, InvalidEvent, InvalidRequest
from model.event import Headers
from model.names import check_name

STATE_STORE = "state-store"
"""The kind of the adapter: what components declare."""

IF_MATCH = "if-match"
REVISION = "revision"
PAGE_TYPE = "application/msgpack"
VALUE_TYPE = "application/octet-stream"

# A page must fit one message of 1 MiB, the least that a NATS server allows by default: its entries
# stop after PAGE_BYTES of values, so at worst one value more, and each entry has its key.
MAX_VALUE_BYTES = 512 * 1024
MAX_KEY_BYTES = 1024
PAGE_BYTES = 256 * 1024
PAGE_ENTRIES = 128


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One entry of a store.

    Attributes:
        key: Any text but the empty one.
        value: Bytes as they were written.
        revision: Grows with every write; for ``if-match``.
    """

    key: str
    value: bytes
    revision: int

    @property
    def text(self) -> str:
        """The value as UTF-8 text."""
        return self.value.decode()

    def json(self, kind: Any = Any) -> Any:
        """Return the value read as JSON.

        Args:
            kind: Type to check it against, such as a msgspec Struct.

        Raises:
            msgspec.DecodeError: It is not JSON, or not of that type.
        """
        return msgspec.json.decode(self.value, type=kind)


class Page(msgspec.Struct, frozen=True, array_like=True):
    """Some entries, in order of revision.

    Attributes:
        entries: May be empty although there are more.
        after: Where the next page starts; None when this is the last.
    """

    entries: tuple[Entry, ...]
    after: int | None = None


class Storage(Protocol):
    """The entries of one store: NATS on the platform, memory in a test.

    ``put`` and ``delete`` raise RevisionConflict unless the entry has ``revision``: 0 means that
    there is none, None accepts any.
    """

    async def get(self, key: str) -> Entry | None:
        """Return the entry, or None."""

    async def put(self, key: str, value: bytes, revision: int | None) -> int:
        """Write the entry and return its new revision."""

    async def delete(self, key: str, revision: int | None) -> None:
        """Delete the entry; one that does not exist is no error."""

    async def page(self, prefix: str, after: int) -> Page:
        """Return entries whose keys begin with ``prefix``, from above revision ``after``."""


class Read(msgspec.Struct, frozen=True):
    """GET of a key."""

    key: str


class Write(msgspec.Struct, frozen=True):
    """PUT of a key."""

    key: str
    value: bytes
    revision: int | None


class Delete(msgspec.Struct, frozen=True):
    """DELETE of a key."""

    key: str
    revision: int | None


class List(msgspec.Struct, frozen=True):
    """GET of a store."""

    prefix: str
    after: int


Operation = Read | Write | Delete | List
Answer = tuple[int, Headers, bytes]
"""Status, headers and body."""

_REVISION = re.compile(r"[0-9]{1,18}")
_encode_page = msgspec.msgpack.Encoder().encode
_decode_page = msgspec.msgpack.Decoder(Page).decode


def key_path(store: str, key: str) -> str:
    """Return the path of an entry.

    Raises:
        InvalidRequest: The key is empty, too long, or not text that UTF-8 can write.
    """
    _check_key(key)
    return f"/{store}/{quote(key, safe='')}"


def list_query(prefix: str, after: int) -> str:
    """Return the query of a page.

    Raises:
        InvalidRequest: The prefix is longer than a key, or not text that UTF-8 can write.
    """
    return urlencode({"prefix": _check_prefix(prefix), "after": after})


def parse(
    method: str, path: str, query: str, headers: Headers, body: bytes
) -> tuple[str, Operation]:
    """Return the store's name and the operation that a request asks for.

    Raises:
        InvalidRequest: It is none of the requests above.
        BodyTooLarge: The value is over MAX_VALUE_BYTES.
    """
    store, has_key, quoted = path.removeprefix("/").partition("/")
    check_name(store, "state store")
    if not has_key:
        return store, _parse_list(method, path, query)
    key = _check_key(_unquote(quoted))
    match method:
        case "GET":
            return store, Read(key)
        case "PUT":
            return store, Write(key, _check_value(path, body), _expected(headers))
        case "DELETE":
            return store, Delete(key, _expected(headers))
        case _:
            raise InvalidRequest(f"the state store has no {method} {path}: use GET, PUT or DELETE")


async def perform(operation: Operation, storage: Storage) -> Answer:
    """Carry an operation out on its store.

    Raises:
        RevisionConflict: The entry has another revision than ``if-match`` says.
    """
    match operation:
        case Read(key):
            entry = await storage.get(key)
            if entry is None:
                return 404, (), b""
            return 200, (*_revision(entry.revision), ("content-type", VALUE_TYPE)), entry.value
        case Write(key, value, expected):
            return 200, _revision(await storage.put(key, value, expected)), b""
        case Delete(key, expected):
            await storage.delete(key, expected)
            return 204, (), b""
        case List(prefix, after):
            page = await storage.page(prefix, after)
            return 200, (("content-type", PAGE_TYPE),), _encode_page(page)
        case _:
            assert_never(operation)


def decode_page(body: bytes) -> Page:
    """Return the page of an answer.

    Raises:
        InvalidEvent: It is not a page.
    """
    try:
        return _decode_page(body)
    except UNREADABLE as error:
        raise InvalidEvent(f"page of the state store cannot be read: {error}") from error


def _parse_list(method: str, path: str, query: str) -> List:
    if method != "GET":
        raise InvalidRequest(f"the state store has no {method} {path}: a key is missing")
    parameters = dict(parse_qsl(query, keep_blank_values=True))
    after = _number(parameters.get("after", "0"), "after")
    return List(_check_prefix(parameters.get("prefix", "")), after)


def _expected(headers: Headers) -> int | None:
    given = dict(headers).get(IF_MATCH)
    return None if given is None else _number(given, IF_MATCH)


def _number(text: str, name: str) -> int:
    if not _REVISION.fullmatch(text):
        raise InvalidRequest(f"{name}={text!r} is not valid: expected a revision")
    return int(text)


def _unquote(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"key {text!r} is not percent-encoded UTF-8") from error


def _check_key(key: str) -> str:
    if not key:
        raise InvalidRequest("the key is empty")
    return _check_prefix(key)


def _check_prefix(prefix: str) -> str:
    size = len(_utf8(prefix))
    if size > MAX_KEY_BYTES:
        raise InvalidRequest(f"a key has at most {MAX_KEY_BYTES} bytes, this has {size}")
    return prefix


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest(f"{text!r} is not valid: half of a surrogate pair") from error


def _check_value(path: str, value: bytes) -> bytes:
    if len(value) > MAX_VALUE_BYTES:
        raise BodyTooLarge(
            f"value of {path} has {len(value)} bytes, the state store takes {MAX_VALUE_BYTES}"
        )
    return value


def _revision(revision: int) -> Headers:
    return ((REVISION, str(revision)),)
