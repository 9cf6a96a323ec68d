"""Names that look like those of secrets: their values do not belong in variables."""

from __future__ import annotations

import re
from itertools import pairwise

# A word's start: the start of the name, what is neither letter nor digit, or a capital letter.
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_SECRET_WORDS = frozenset(
    {
        *("password", "passwd", "passphrase", "passcode", "pwd", "secret", "secrets", "token"),
        *("credential", "credentials", "apikey", "authorization", "bearer"),
    }
)
_SECRET_PAIRS = frozenset(
    {
        *(("api", "key"), ("private", "key"), ("access", "key"), ("encryption", "key")),
        *(("signing", "key"), ("account", "key"), ("shared", "key"), ("master", "key")),
        *(("ssh", "key"), ("service", "key"), ("connection", "string"), ("pass", "phrase")),
    }
)
# A variable such as `token_url` or `password_min_length` says something about a secret.
_ABOUT = frozenset(
    {
        *("url", "uri", "path", "file", "name", "id", "length", "size", "count", "ttl", "seconds"),
        *("endpoint", "issuer", "type", "policy", "limit", "enabled", "header", "field", "ref"),
    }
)


def looks_secret(name: str) -> bool:
    """Return whether a variable of this name probably holds a secret.

    Args:
        name: In any style, such as ``apiKey``, ``API_KEY`` or ``db-password``.
    """
    words = [word.lower() for word in _WORDS.findall(name)]
    if not words or words[-1] in _ABOUT:
        return False
    pairs = set(pairwise(words))
    return bool(_SECRET_WORDS.intersection(words) or _SECRET_PAIRS & pairs)
