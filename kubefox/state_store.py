"""The state store's operations as requests, for any storage.

==================================  ===================================  =========================
request                             meaning                              response
==================================  ===================================  =========================
``GET /<store>/<key>``              read one entry                       200 and the value, or 404
``PUT /<store>/<key>``              write one entry                      200, empty
``DELETE /<store>/<key>``           delete one entry, if it exists       204
``GET /<store>?prefix=…&after=…``   read the entries of a prefix         200 and a page
==================================  ===================================  =========================

With header ``if-match: <revision>``, a write or deletion fails with 409 unless the entry has that
revision; revision 0 means that there is no entry. Header ``revision`` of a response is the entry's.
A page is MessagePack, in order of revision. Following ``after`` to the end returns every entry that
is not deleted meanwhile; an entry that is changed meanwhile is returned again.
"""

from __future__ import annotations

import re
from typing import Any, Protocol, assert_never
from urllib.parse import parse_qsl, quote, unquote, urlencode

import msgspec

from kubefox.decoding import DECODE_ERRORS
from kubefox.errors import BodyTooLarge, InvalidEvent, InvalidRequest
from kubefox.event import Headers
from kubefox.names import check_name

STATE_STORE = "state-store"
"""The kind of the adapter, which components declare as a dependency."""

IF_MATCH = "if-match"
REVISION = "revision"
PAGE_TYPE = "application/msgpack"
VALUE_TYPE = "application/octet-stream"

# A page must fit one message of 1 MiB, the default limit of a NATS server. A page ends with the
# entry that exceeds PAGE_BYTES of values: at most one value more, and a key for each entry.
MAX_VALUE_BYTES = 512 * 1024
MAX_KEY_BYTES = 1024
PAGE_BYTES = 256 * 1024
PAGE_ENTRIES = 128


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One entry of a store.

    Attributes:
        key: Any text except the empty one.
        value: Bytes as written.
        revision: Increases with every write; for ``if-match``.
    """

    key: str
    value: bytes
    revision: int

    @property
    def text(self) -> str:
        """The value as UTF-8 text."""
        return self.value.decode()

    def json(self, kind: Any = Any) -> Any:
        """Return the value decoded as JSON.

        Args:
            kind: Type of the result, such as a msgspec Struct.

        Raises:
            msgspec.DecodeError: The value is not JSON, or not of that type.
        """
        return msgspec.json.decode(self.value, type=kind)


class Page(msgspec.Struct, frozen=True, array_like=True):
    """Some entries, in order of revision.

    Attributes:
        entries: Perhaps empty although more pages follow.
        after: Revision after which the next page starts; None for the last page.
    """

    entries: tuple[Entry, ...]
    after: int | None = None


class Storage(Protocol):
    """The entries of one store: in NATS on the platform, in memory in a test.

    ``put`` and ``delete`` raise RevisionConflict unless the entry has ``revision``. Revision 0
    means that there is no entry; None accepts any revision.
    """

    async def get(self, key: str) -> Entry | None:
        """Return the entry, or None."""

    async def put(self, key: str, value: bytes, revision: int | None) -> int:
        """Write the entry and return its new revision."""

    async def delete(self, key: str, revision: int | None) -> None:
        """Delete the entry; a missing entry is no error."""

    async def page(self, prefix: str, after: int) -> Page:
        """Return entries whose keys begin with ``prefix``, after revision ``after``."""


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
StoreResponse = tuple[int, Headers, bytes]
"""Status, headers and body."""

_REVISION = re.compile(r"[0-9]{1,18}")
_encode_page = msgspec.msgpack.Encoder().encode
_decode_page = msgspec.msgpack.Decoder(Page).decode


def key_path(store: str, key: str) -> str:
    """Return the path of an entry.

    Raises:
        InvalidRequest: The key is empty, too long, or cannot be encoded as UTF-8.
    """
    _check_key(key)
    return f"/{store}/{quote(key, safe='')}"


def list_query(prefix: str, after: int) -> str:
    """Return the query of a page.

    Raises:
        InvalidRequest: The prefix is too long for a key, or cannot be encoded as UTF-8.
    """
    return urlencode({"prefix": _check_prefix(prefix), "after": after})


def parse(
    method: str, path: str, query: str, headers: Headers, body: bytes
) -> tuple[str, Operation]:
    """Return the store's name and the operation of a request.

    Raises:
        InvalidRequest: The request is none of those above.
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
            raise InvalidRequest(
                f"the state store has no method {method} for {path}: use GET, PUT or DELETE"
            )


async def perform(operation: Operation, storage: Storage) -> StoreResponse:
    """Perform an operation on its store and return the response.

    Raises:
        RevisionConflict: The entry does not have the revision of ``if-match``.
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
    """Return the page of a response.

    Raises:
        InvalidEvent: The body is no page.
    """
    try:
        return _decode_page(body)
    except DECODE_ERRORS as error:
        raise InvalidEvent(f"the page of the state store cannot be read: {error}") from error


def _parse_list(method: str, path: str, query: str) -> List:
    if method != "GET":
        raise InvalidRequest(f"the state store has no method {method} for {path}: add a key")
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
        raise InvalidRequest(f"the key has {size} bytes, at most {MAX_KEY_BYTES} are allowed")
    return prefix


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest(f"{text!r} is not valid: it has a lone surrogate") from error


def _check_value(path: str, value: bytes) -> bytes:
    if len(value) > MAX_VALUE_BYTES:
        raise BodyTooLarge(
            f"value of {path} has {len(value)} bytes, at most {MAX_VALUE_BYTES} are allowed"
        )
    return value


def _revision(revision: int) -> Headers:
    return ((REVISION, str(revision)),)
