"""What an HTTP response can say: for who makes one, and for who passes one on."""

from __future__ import annotations

import re

FIRST_STATUS, LAST_STATUS = 200, 599
"""Of responses that end a request."""

is_header_name = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+").fullmatch  # RFC 9110, 5.6.2
breaks_header = re.compile(r"[\r\n\0]").search
