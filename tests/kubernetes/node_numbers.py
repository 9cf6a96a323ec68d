"""Numbers of nodes that no other lab of this machine uses: all of them share 127.0.0.0/8.

With the address of a pod of another lab, a pod could not listen, and its probes would find the
other pod.
"""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterator

_NUMBERS = range(1, 255)
# It is bound only to claim the number.
_PORT = 10_250


@contextlib.contextmanager
def claimed_number() -> Iterator[int]:
    """Yield a number N, so that the addresses 127.N.0.0/16 are free while the context lasts.

    Raises:
        RuntimeError: Other labs have claimed all of them.
    """
    for number in random.sample(_NUMBERS, len(_NUMBERS)):
        with socket.socket() as claim:
            try:
                claim.bind((f"127.{number}.0.1", _PORT))
            except OSError:
                continue
            yield number
            return
    raise RuntimeError("labs of this machine have claimed all numbers of nodes")
