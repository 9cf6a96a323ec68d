"""Expected failures: a line on standard error, a table for problems, and an exit code.

====  =============================================
0     done
1     failed
2     wrong use of the command
3     a named object does not exist
4     problems were found; a table lists them
130   stopped with Ctrl-C
====  =============================================
"""

from __future__ import annotations

import sys
from http import HTTPStatus

from fox.cli.support.tables import print_to, problems_table
from kubefox import printable
from kubefox.errors import FoxError, ProblemsFound

FAILED = 1
NOT_FOUND = 3
PROBLEMS = 4


def report(error: Exception) -> int | None:
    """Print an expected failure and return its exit code; return None for an unexpected one."""
    if not isinstance(error, FoxError):
        return None
    sys.stderr.write(f"error: {printable.lines(error.detail)}\n")
    if isinstance(error, ProblemsFound):
        print_to(sys.stderr, problems_table(error.problems))
    return exit_code(error)


def exit_code(error: FoxError) -> int:
    """Return the exit code for an error's HTTP status."""
    match error.http_status:
        case HTTPStatus.NOT_FOUND:
            return NOT_FOUND
        case HTTPStatus.UNPROCESSABLE_ENTITY:
            return PROBLEMS
        case _:
            return FAILED
