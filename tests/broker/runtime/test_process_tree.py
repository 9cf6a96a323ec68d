"""Real processes, each started as a Python program of its own: adoption is for a whole process."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="other systems have no orphans to adopt"
)

HEAD = """\
import os, signal, subprocess, sys, time
from broker.runtime import process_tree
from broker.runtime.process_tree import *

def fork(work):
    if (pid := os.fork()) == 0:
        work()
        os._exit(0)
    return pid

def wait_for(condition):
    while not condition():
        time.sleep(0.005)

def pause():
    time.sleep(600)

def daemon(work=pause):
    def first():
        os.setsid()
        fork(work)
    os.waitpid(fork(first), 0)

def zombies():
    return [pid for pid in children(os.getpid()) if state(pid) == "Z"]

"""


def run(program: str) -> str:
    """Return the output of a program."""
    done = subprocess.run(
        [sys.executable, "-c", HEAD + textwrap.dedent(program)],
        cwd=PROJECT,
        check=True,
        capture_output=True,
        text=True,
        timeout=50,
    )
    return done.stdout.strip()


def test_an_orphan_becomes_a_child_of_the_process_that_adopts_orphans() -> None:
    program = "adopt_orphans(); daemon(); print(len(children(os.getpid()))); kill_descendants()"

    assert run(program) == "1"


def test_all_descendants_are_killed_also_while_they_start_others() -> None:
    program = """
        def grow():
            for _ in range(20):
                fork(pause)
                time.sleep(0.001)
            pause()

        adopt_orphans()
        for _ in range(5):
            fork(grow)
            daemon(grow)
        kill_descendants()
        print({state(pid) for pid in descendants(os.getpid())} - {"Z"})
    """

    assert run(program) == "set()"


def test_a_tree_is_killed_and_its_ids_are_returned() -> None:
    program = """
        parent = fork(lambda: (fork(pause), pause()))
        wait_for(lambda: children(parent))
        print(len(kill_tree(parent)))
    """

    assert run(program) == "2"


def test_an_orphan_that_has_ended_is_reaped() -> None:
    program = """
        adopt_orphans()
        daemon(lambda: None)
        wait_for(zombies)
        reap_orphans()
        print(zombies())
    """

    assert run(program) == "[]"


def test_the_exit_status_of_an_own_child_is_not_taken() -> None:
    program = """
        adopt_orphans()
        own = [subprocess.Popen(["false"]), subprocess.Popen(["false"], start_new_session=True)]
        wait_for(lambda: len(zombies()) == 2)
        reap_orphans()
        print([child.wait() for child in own])
    """

    assert run(program) == "[1, 1]"


def test_the_number_of_zombies_is_bounded() -> None:
    program = """
        for _ in range(104):
            fork(lambda: None)
        wait_for(lambda: len(zombies()) == 104)
        reap_orphans()
        print(len(zombies()))
    """

    assert run(program) == "100"


@pytest.mark.parametrize(
    ("driver", "is_known"), [("", True), ("os.environ['FOX_POD'] = 'a'", False)]
)
def test_a_process_is_known_by_the_environment_of_a_pod(driver: str, is_known: bool) -> None:
    program = f"""
        {driver}
        pod = subprocess.Popen(["sleep", "600"], env={{"FOX_POD": "web-1"}})
        wait_for(lambda: b"sleep" in open(f"/proc/{{pod.pid}}/cmdline", "rb").read())
        print(is_from_pod(pod.pid))
        kill_descendants()
    """

    assert run(program) == str(is_known)


def test_a_process_of_a_pod_is_known_without_its_environment() -> None:
    program = """
        def pod():
            mark_as_pod()
            subprocess.Popen(["sleep", "600"], env={}, start_new_session=True)

        adopt_orphans()
        os.waitpid(fork(pod), 0)
        own = subprocess.Popen(["sleep", "600"], env={}, start_new_session=True)
        (orphan,) = set(children(os.getpid())) - {own.pid}
        print(is_from_pod(orphan), is_from_pod(own.pid))
        kill_descendants()
    """

    assert run(program) == "True False"
