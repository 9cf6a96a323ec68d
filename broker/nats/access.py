"""How the processes of a platform get into NATS: the address, and who signs their credentials."""

from __future__ import annotations

import time

from broker.nats.credentials.account_key import AccountKey
from broker.nats.credentials.claims import Permissions
from broker.nats.credentials.login import Credentials, Login
from broker.nats.credentials.nkeys import KeyKind, KeyPair
from broker.runtime.tokens import new_token
from kubefox.errors import InvalidRequest

_POD_KEY = (
    "pods get credentials of their own, and these need a key of the NATS account: name its file "
    'with --nats-credentials or FOX_NATS_CREDENTIALS (the page "Install" says how to make one), '
    "or pass --insecure-nats to give pods what this process may do"
)


class Access:
    """Makes the logins of processes.

    Args:
        url: ``nats://host:port``, several separated by commas.
        source: A key that signs credentials, or the credentials of one user, whom all processes
            share; None for a server that requires none, or takes them from the URL.
        is_insecure: Whether pods may share the credentials of this process.
    """

    def __init__(
        self, url: str, source: AccountKey | Credentials | None, *, is_insecure: bool = False
    ) -> None:
        self.url = url
        self._source = source
        self._is_insecure = is_insecure
        key = source if isinstance(source, AccountKey) else None
        self._issuer = key.derive_user(url).public if key is not None else new_token()

    @property
    def makes_users(self) -> bool:
        """Whether each login has a user of its own."""
        return isinstance(self._source, AccountKey)

    @property
    def issuer(self) -> str:
        """A text that differs if the server or the account's key does, and tells nothing of them.

        Without a key of the account, it is another one in each process.
        """
        return self._issuer

    def derive_user(self, salt: str) -> KeyPair:
        """Return the key pair of a user that only holders of the account's key can derive.

        Args:
            salt: Gives each user another one; it need not be secret.
        """
        if isinstance(self._source, AccountKey):
            return self._source.derive_user(salt)
        return KeyPair.generate(KeyKind.USER)

    def login(
        self, process_id: str, permissions: Permissions, user: KeyPair | None = None
    ) -> Login:
        """Return the login of one process, for one start of it.

        Args:
            process_id: Id of the process.
            permissions: Subjects that it may use, if this can sign credentials.
            user: The key pair of the process; None makes a new one.
        """
        source = self._source
        if isinstance(source, AccountKey):
            source = source.mint(process_id, permissions, time.time(), user)
        return Login(url=self.url, process_id=process_id, credentials=source)

    def check_pods(self) -> None:
        """Check that pods can get credentials of their own.

        Raises:
            InvalidRequest: They can not, and may not share those of this process.
        """
        if not (self._is_insecure or self.makes_users):
            raise InvalidRequest(_POD_KEY)
