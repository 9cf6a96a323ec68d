"""The login of a process to NATS: the address, its name there, and its credentials."""

from __future__ import annotations

import base64

import msgspec

from broker.nats.credentials.nkeys import KeyKind, KeyPair


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """The credentials of one user.

    Attributes:
        token: Signed claims, which name the user's key and permissions.
        seed: Secret half of the user's key.
    """

    token: str
    seed: str

    def __repr__(self) -> str:
        return "Credentials(…)"

    def sign(self, nonce: str) -> bytes:
        """Return the answer to a server's challenge, in base64."""
        key = KeyPair.from_seed(self.seed, KeyKind.USER)
        return base64.b64encode(key.sign(nonce.encode()))

    async def answer(self, nonce: str) -> bytes:
        """Return the answer to a server's challenge; see ``Signer``."""
        return self.sign(nonce)


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """The connection of one process.

    Attributes:
        url: ``nats://host:port``, several separated by commas.
        process_id: Id of the process; its permissions hold for subjects with it.
        credentials: None for a server that requires none, or takes them from the URL.
    """

    url: str
    process_id: str
    credentials: Credentials | None = None


encode_login = msgspec.json.Encoder().encode
decode_login = msgspec.json.Decoder(Login).decode
