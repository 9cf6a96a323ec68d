"""What msgspec raises for bytes that cannot be read: more than its own errors."""

from __future__ import annotations

import msgspec

# Text that is no UTF-8, and data nested without end, come out as Python's errors.
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
