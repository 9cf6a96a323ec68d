"""The proof of identity of a NATS client; not every process holds a key for it."""

from __future__ import annotations

from typing import Protocol


class Signer(Protocol):
    """The signed claims of a user, and the answers to a server's challenges."""

    @property
    def token(self) -> str:
        """The signed claims of the user."""
        ...

    async def answer(self, nonce: str) -> bytes:
        """Return the signature of a server's challenge, in base64.

        Raises:
            OSError: Nobody signs it, or not in time.
        """
        ...
