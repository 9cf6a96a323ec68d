"""Ids of events: none twice, and valid as ids of traces and spans."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from broker.ids import new_id, span_of

PRINT = "from broker.ids import new_id; print(new_id())"


def test_no_two_ids_are_alike() -> None:
    assert len({new_id() for _ in range(1_000)}) == 1_000


def test_threads_make_ids_that_differ() -> None:
    with ThreadPoolExecutor(4) as threads:
        made = [each for part in threads.map(lambda _: make(20_000), range(4)) for each in part]

    assert len(set(made)) == len(made)


def test_a_process_that_is_forked_off_makes_others() -> None:
    new_id()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, new_id().encode())
        os._exit(0)
    os.waitpid(child, 0)

    assert os.read(reading, 32).decode() not in make(200)


def make(count: int) -> list[str]:
    return [new_id() for _ in range(count)]


def test_processes_make_ids_that_differ() -> None:
    made = [subprocess.check_output([sys.executable, "-c", PRINT]) for _ in range(2)]

    assert made[0] != made[1]


def test_an_id_is_one_of_a_trace_and_of_a_span() -> None:
    made = new_id()

    assert re.fullmatch("[0-9a-f]{32}", made)
    assert re.fullmatch("[0-9a-f]{16}", span_of(made))
