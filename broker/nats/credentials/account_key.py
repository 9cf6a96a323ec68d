"""The key of an account: it signs the credentials of the account's users."""

from __future__ import annotations

from broker.nats.credentials.claims import Permissions, user_token
from broker.nats.credentials.login import Credentials
from broker.nats.credentials.nkeys import KeyKind, KeyPair


class AccountKey:
    """The key pair of an account, or one of its signing keys.

    Args:
        account: Public key of the account.
        signer: The key pair.
    """

    def __init__(self, account: str, signer: KeyPair) -> None:
        self.account = account
        self._signer = signer

    def mint(
        self, name: str, permissions: Permissions, now_s: float, user: KeyPair | None = None
    ) -> Credentials:
        """Return credentials for a user of the account.

        Args:
            name: For people.
            permissions: Subjects that the user may use.
            now_s: Unix time.
            user: The user's key pair; None makes a new one.
        """
        user = user or KeyPair.generate(KeyKind.USER)
        token = user_token(
            self._signer, user.public, permissions, account=self.account, name=name, now_s=now_s
        )
        return Credentials(token=token, seed=user.seed)

    def derive_user(self, salt: str) -> KeyPair:
        """Return the key pair of a user; the same salt gives the same key pair.

        Args:
            salt: Random text. It need not be secret: without this key it tells nothing.
        """
        return self._signer.derive(f"kubefox user {salt}".encode(), KeyKind.USER)

    @property
    def text(self) -> str:
        """The content of a file that ``credentials_file.parse`` reads."""
        return (
            "# A key of a NATS account, which can sign credentials for all of its subjects.\n"
            f"{self.account}\n{self._signer.seed}\n"
        )
