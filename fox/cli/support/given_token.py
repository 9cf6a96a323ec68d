"""A token for the control API, with the place that it was read from."""

from __future__ import annotations

import re
from typing import NamedTuple

from kubefox.access_token import TOKEN_LENGTH, TOKEN_PREFIX, AccessToken, parse_token
from kubefox.errors import InvalidRequest

# Three parts in base64url: header, claims and signature (RFC 7519).
_is_of_issuer = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII).fullmatch
_EXPECTED = (
    f"expected {TOKEN_LENGTH} characters that begin with {TOKEN_PREFIX}, as `fox token create` "
    "prints them, or the token of an OIDC issuer"
)


class GivenToken(NamedTuple):
    """A token whose shape is right; keep its text out of messages.

    Attributes:
        text: The token.
        source: The variable or file that it was read from, for messages.
    """

    text: str
    source: str

    @property
    def parsed(self) -> AccessToken | None:
        """The token of this platform; None if an OIDC issuer has made it."""
        return parse_token(self.text)


def check_shape(text: str, source: str, cure: str) -> GivenToken:
    """Return the token with a text, without the blanks around it.

    Args:
        text: Its text.
        source: Where it was read from.
        cure: What to do if it is no token.

    Raises:
        InvalidRequest: It is no token; the message says why, and nothing of its content.
    """
    token = GivenToken(text.strip(), source)
    if fault := _fault(token):
        raise InvalidRequest(f"{source} holds no token: {fault}; {_EXPECTED}. {cure}")
    return token


def _fault(token: GivenToken) -> str:
    """Return why a text is no token; empty if it is one."""
    text = token.text
    if token.parsed is not None or _is_of_issuer(text):
        return ""
    if not text:
        return "it is empty"
    if len(text.split()) > 1:
        return "it has several words or lines"
    if text.startswith(TOKEN_PREFIX):
        return f"it has {len(text)} characters, or some that are not hexadecimal digits"
    return f"it does not begin with {TOKEN_PREFIX}"
