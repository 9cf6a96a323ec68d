"""The errors that msgspec raises for bytes that cannot be decoded."""

from __future__ import annotations

import msgspec

# Invalid UTF-8 and data nested too deeply raise errors of Python, not of msgspec.
DECODE_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
