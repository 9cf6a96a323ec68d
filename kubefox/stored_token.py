"""A token of the control API as it is stored: its hash, its roles and its times."""

from __future__ import annotations

from typing import Annotated

import msgspec

from kubefox.formats import Name, Size, checked
from kubefox.grants import MAX_GRANTS, Grant

Grants = Annotated[tuple[Grant, ...], checked(Size(max_entries=MAX_GRANTS))]


class TokenInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The public part of a token.

    Attributes:
        name: Unique among the tokens.
        id: Public part of the token, as the audit log has it.
        grants: Its roles.
        created_at_s: Unix time.
        expires_at_s: Unix time from which it is refused.
        created_by: Name of the caller that created it.
    """

    name: Name
    id: str
    grants: Grants
    created_at_s: float
    expires_at_s: float
    created_by: str = ""


class StoredToken(TokenInfo, frozen=True, kw_only=True):
    """A token as stored.

    Attributes:
        digest: ``AccessToken.digest``.
    """

    digest: str

    @property
    def info(self) -> TokenInfo:
        """The public part: all fields but the hash."""
        shown = {name: getattr(self, name) for name in TokenInfo.__struct_fields__}
        return TokenInfo(**shown)
