"""Files with credentials of NATS: a key of an account, or the credentials of one user.

The file of an account's key has two lines: the public key of the account, and the seed of a
signing key. The seed of the account's own key needs no first line. Lines that begin with ``#`` are
comments. The file of a user is in the format of NATS, as ``nsc generate creds`` writes it.
"""

from __future__ import annotations

import re
from pathlib import Path

from broker.nats.credentials.account_key import AccountKey
from broker.nats.credentials.login import Credentials
from broker.nats.credentials.nkeys import KeyKind, KeyPair, is_public
from broker.runtime import secret_file
from kubefox.errors import InvalidRequest

_USER = """\
-----BEGIN NATS USER JWT-----
{token}
------END NATS USER JWT------

-----BEGIN USER NKEY SEED-----
{seed}
------END USER NKEY SEED------
"""
_find_token = re.compile(r"^[\w-]+\.[\w-]+\.[\w-]+$", re.MULTILINE).search
_find_user_seed = re.compile(r"^SU[A-Z2-7]+$", re.MULTILINE).search
_find_account_seed = re.compile(r"^SA[A-Z2-7]+$", re.MULTILINE).search
_find_account = re.compile(r"^A[A-Z2-7]{55}$", re.MULTILINE).search


def read(path: Path) -> AccountKey | Credentials:
    """Return the content of a file with credentials.

    Raises:
        InvalidRequest: It cannot be read, others may read it, or it holds no credentials. The
            message names the file and none of its content.
    """
    text = secret_file.read(path, "credentials file of NATS")
    try:
        return parse(text)
    except InvalidRequest as error:
        raise InvalidRequest(
            f"the credentials file of NATS {path} is not valid: {error}"
        ) from error


def user_text(credentials: Credentials) -> str:
    """Return the content of a file with the credentials of a user, for tools of NATS."""
    return _USER.format(token=credentials.token, seed=credentials.seed)


def parse(text: str) -> AccountKey | Credentials:
    """Return the credentials that a text contains.

    Raises:
        InvalidRequest: It contains none.
    """
    token, user_seed = _find_token(text), _find_user_seed(text)
    if token and user_seed:
        KeyPair.from_seed(user_seed[0], KeyKind.USER)
        return Credentials(token=token[0], seed=user_seed[0])
    seed = _find_account_seed(text)
    if seed is None:
        raise InvalidRequest(
            "expected the seed of an account's key (SA…), or the credentials of a user"
        )
    signer, account = KeyPair.from_seed(seed[0], KeyKind.ACCOUNT), _find_account(text)
    if account is not None and not is_public(account[0], KeyKind.ACCOUNT):
        raise InvalidRequest("the public key of the account (A…) is not readable")
    return AccountKey(account[0] if account else signer.public, signer)
