"""Key encryption by a program, which calls a key management service.

The program is run with one further argument. With ``wrap`` it reads a data key in base64 from its
standard input, and writes the wrapped key. With ``unwrap`` it reads what it wrote, and writes the
data key in base64. Keys are never arguments or variables, which other users may see.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import shlex
import subprocess

from broker.storage.key_encryption import KeyEncryption, WrappedKey
from kubefox.errors import InvalidRequest

SETTING = "FOX_KEY_COMMAND"
TIMEOUT_S = 30.0
_BY = "command"
_MAX_WRAPPED = 16 << 10
_SHOWN = 300


class KeyCommand:
    """Wraps data keys with a program; a ``broker.storage.key_encryption.KeyEncryption``.

    Args:
        command: The program and its arguments, as in a shell; no shell runs it.
        earlier: Opens what was wrapped before there was a program.
        timeout_s: How long it may take.
    """

    def __init__(
        self, command: str, earlier: KeyEncryption, *, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._command = shlex.split(command)
        self._earlier = earlier
        self._timeout_s = timeout_s

    async def create(self) -> None:
        """See ``KeyEncryption``: the service has the key."""

    async def wrap(self, key: bytes, name: str) -> WrappedKey:
        """See ``KeyEncryption``."""
        wrapped = await self._run("wrap", base64.b64encode(key).decode())
        if not 0 < len(wrapped) <= _MAX_WRAPPED or not wrapped.isprintable():
            raise InvalidRequest(
                f"{SETTING} wrap wrote {len(wrapped)} characters for {name}: expected one line of "
                f"1 to {_MAX_WRAPPED}"
            )
        return WrappedKey(wrapped, _BY)

    async def unwrap(self, wrapped: WrappedKey, name: str) -> bytes:
        """See ``KeyEncryption``."""
        if wrapped.by != _BY:
            return await self._earlier.unwrap(wrapped, name)
        text = await self._run("unwrap", wrapped.text)
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise InvalidRequest(f"{SETTING} unwrap wrote no base64 for {name}") from error

    async def renew(self, by: str) -> None:
        """See ``KeyEncryption``: the service uses its newest key."""

    async def discard_all_but_newest(self) -> None:
        """See ``KeyEncryption``: the service keeps its keys."""

    async def _run(self, action: str, text: str) -> str:
        what = f"{SETTING} {action} ({self._command[0]})"
        try:
            # In a thread: uvloop's transports fail if the program ends before it reads its input.
            done = await asyncio.to_thread(self._call, action, text)
        except OSError as error:
            raise InvalidRequest(f"{what} cannot be started: {error.strerror}") from error
        except subprocess.TimeoutExpired as error:
            raise InvalidRequest(f"{what} took longer than {self._timeout_s:g} s") from error
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()[-_SHOWN:]
            raise InvalidRequest(f"{what} failed with exit code {done.returncode}: {said}")
        return done.stdout.decode("ascii", errors="replace").strip()

    def _call(self, action: str, text: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(  # noqa: S603 - the operator names it
            [*self._command, action],
            input=text.encode() + b"\n",
            capture_output=True,
            timeout=self._timeout_s,
            check=False,
        )
