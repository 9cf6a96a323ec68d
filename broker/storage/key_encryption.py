"""Key encryption: wraps the platform's data keys with a key that is kept outside of NATS.

``fox.key_file`` keeps it in a file, ``fox.key_command`` in a key management service.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol


class WrappedKey(NamedTuple):
    """A data key that only the holder of the key-encryption key can open.

    Attributes:
        text: The wrapped key.
        by: Name of the key-encryption key; not a secret.
    """

    text: str
    by: str


class KeyEncryption(Protocol):
    """Wraps and unwraps data keys. Every method raises InvalidRequest if it cannot."""

    async def create(self) -> None:
        """Make the key-encryption key unless there is one: the platform has no keys yet."""
        ...

    async def wrap(self, key: bytes, name: str) -> WrappedKey:
        """Return a data key wrapped by the newest key-encryption key.

        Args:
            key: The data key.
            name: Its name, which ``unwrap`` must get too.
        """
        ...

    async def unwrap(self, wrapped: WrappedKey, name: str) -> bytes:
        """Return a data key. The error says what is missing, and where."""
        ...

    async def renew(self, by: str) -> None:
        """Make sure that ``wrap`` uses another key-encryption key than ``by``."""
        ...

    async def discard_all_but_newest(self) -> None:
        """Remove the earlier key-encryption keys: nothing is wrapped by them any more."""
        ...
