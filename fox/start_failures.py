"""Messages of a process of the platform that cannot start."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from kubefox.errors import Unavailable

EXIT_FAILED = 1


def fail(message: str) -> int:
    """Print an error on standard error; return the exit code of a failed process."""
    sys.stderr.write(f"error: {message}\n")
    return EXIT_FAILED


def listen_failure(error: OSError, option: str, address: str = "") -> str:
    """Return the message for a port that cannot be listened on, set by ``option``.

    Args:
        error: Why it cannot; errors of asyncio name the address.
        option: Option of the command line that sets the port.
        address: Host and port, if the error does not name them.
    """
    on = address and f" on {address}"
    return f"cannot listen{on}: {error.strerror or error}; set another port with {option}"


@contextmanager
def listen_failures(option: str) -> Iterator[None]:
    """Raise ``Unavailable``, naming the option that sets the port, when listening fails."""
    try:
        yield
    except OSError as error:
        raise Unavailable(listen_failure(error, option)) from error
