"""The key file: the key-encryption keys of a platform, one a line, the newest last.

A key is 32 random bytes in base64, as ``openssl rand -base64 32`` prints them. Its name is the
beginning of its hash, so a wrong file is recognised before anything is decrypted.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import secrets
from pathlib import Path

from broker.runtime import secret_file
from broker.storage.cipher import Cipher
from broker.storage.key_encryption import WrappedKey
from kubefox.errors import InvalidEvent, InvalidRequest
from pods import private_files

SETTING = "FOX_KEY_FILE"
_KEY_BYTES = 32
_NAME_LENGTH = 16
_COMMENT = "#"
_MISSING = (
    "it does not exist. It holds the keys that decrypt the platform's secrets: restore it from "
    f"your copy, or copy it from the machine of the control plane, and name it with {SETTING}"
)
_HEADER = (
    f"{_COMMENT} These keys open the platform's secrets. Keep a copy, apart from the backups of "
    "NATS.\n"
)


class KeyFile:
    """Wraps data keys with the keys of a file; a ``broker.storage.key_encryption.KeyEncryption``.

    The file is read for each call, so a key that is added is used without a restart.

    Args:
        path: The file.
        is_own: Whether the platform makes the file and its keys; else its operator does.
    """

    def __init__(self, path: Path, *, is_own: bool) -> None:
        self._path = path
        self._is_own = is_own

    async def create(self) -> None:
        """See ``KeyEncryption``."""
        await asyncio.to_thread(self._create)

    async def wrap(self, key: bytes, name: str) -> WrappedKey:
        """See ``KeyEncryption``."""
        keys = await asyncio.to_thread(self._read)
        by, content = keys.popitem()
        return WrappedKey(Cipher(content).seal(key, name), by)

    async def unwrap(self, wrapped: WrappedKey, name: str) -> bytes:
        """See ``KeyEncryption``."""
        keys = await asyncio.to_thread(self._read)
        if wrapped.by not in keys:
            raise InvalidRequest(
                f"key file {self._path} holds other keys ({', '.join(keys)}): the platform's keys "
                f"are encrypted with key {wrapped.by}. Put the platform's own file in its place, "
                f"or name it with {SETTING}"
            )
        try:
            return Cipher(keys[wrapped.by]).open(wrapped.text, name)
        except InvalidEvent as error:
            raise InvalidRequest(f"{name} cannot be decrypted: it was changed") from error

    async def renew(self, by: str) -> None:
        """See ``KeyEncryption``."""
        await asyncio.to_thread(self._renew, by)

    async def discard_all_but_newest(self) -> None:
        """See ``KeyEncryption``. The operator's file is left to the operator."""
        if self._is_own:
            await asyncio.to_thread(self._discard_all_but_newest)

    def _create(self) -> None:
        if self._path.exists() or not self._is_own:
            self._read()
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            private_files.create(self._path, _text_of([_new_key()]))
        except FileExistsError:
            self._read()
        except OSError as error:
            raise InvalidRequest(
                f"key file {self._path} cannot be written: {error.strerror}"
            ) from error

    def _renew(self, by: str) -> None:
        keys = self._read()
        if next(reversed(keys)) != by:
            return  # A key was added, by the operator or before a rotation that did not end.
        if not self._is_own:
            raise InvalidRequest(
                f"key file {self._path} has no newer key than {by}: append one, for example with "
                f"`openssl rand -base64 32 >> {self._path}`, to the file of every process of the "
                "platform, and rotate again"
            )
        self._replace([*keys.values(), _new_key()])

    def _discard_all_but_newest(self) -> None:
        *_, newest = self._read().values()
        self._replace([newest])

    def _replace(self, keys: list[bytes]) -> None:
        new_file = self._path.with_name(f"{self._path.name}.new")
        try:
            new_file.unlink(missing_ok=True)
            private_files.create(new_file, _text_of(keys))
            new_file.replace(self._path)
        except OSError as error:
            raise InvalidRequest(
                f"key file {self._path} cannot be written: {error.strerror}"
            ) from error

    def _read(self) -> dict[str, bytes]:
        """Return the keys by name, the newest last; at least one."""
        lines = secret_file.read(self._path, "key file", missing=_MISSING).splitlines()
        keys = [self._key_of(number, line) for number, line in enumerate(lines, 1) if _is_key(line)]
        if not keys:
            raise InvalidRequest(
                f"key file {self._path} holds no key: restore it from your copy, or for a new "
                f"platform write one with `openssl rand -base64 32 > {self._path}`"
            )
        return {hashlib.sha256(key).hexdigest()[:_NAME_LENGTH]: key for key in keys}

    def _key_of(self, number: int, line: str) -> bytes:
        try:
            key = base64.b64decode(line.strip(), validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if len(key) != _KEY_BYTES:
            raise InvalidRequest(
                f"key file {self._path}, line {number}: expected {_KEY_BYTES} bytes in base64, as "
                "`openssl rand -base64 32` prints them"
            )
        return key


def _is_key(line: str) -> bool:
    return bool(line.strip()) and not line.startswith(_COMMENT)


def _new_key() -> bytes:
    return secrets.token_bytes(_KEY_BYTES)


def _text_of(keys: list[bytes]) -> bytes:
    lines = [base64.b64encode(key).decode() for key in keys]
    return (_HEADER + "\n".join(lines) + "\n").encode()
