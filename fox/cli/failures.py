"""Expected failures, told to people: one line or a table on standard error, and an exit code.

====  =====================================
0     done
1     failed
2     used in a wrong way
3     something named does not exist
4     problems found, each in a table
130   stopped with Ctrl-C
====  =====================================
"""

from __future__ import annotations

import sys
from http import HTTPStatus

from fox.cli.tables import problems_table, to_stream
from model.errors import FoxError, ProblemsFound

FAILED = 1
NOT_FOUND = 3
PROBLEMS = 4


def report(error: Exception) -> int | None:
    """Print an expected failure and return its exit code; None when it is not expected."""
    if not isinstance(error, FoxError):
        return None
    sys.stderr.write(f"error: {error.detail}\n")
    if isinstance(error, ProblemsFound):
        to_stream(problems_table(error.problems), sys.stderr)
    return exit_code(error)


def exit_code(error: FoxError) -> int:
    """Return the exit code that goes with a failure's HTTP status."""
    match error.http_status:
        case HTTPStatus.NOT_FOUND:
            return NOT_FOUND
        case HTTPStatus.UNPROCESSABLE_ENTITY:
            return PROBLEMS
        case _:
            return FAILED
