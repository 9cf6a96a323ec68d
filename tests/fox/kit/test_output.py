"""A pod may print when its runner is gone."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
from fox.kit.output import outlive_reader

outlive_reader()
print("first")
sys.stdin.readline()
print("dropped")
print("dropped as well", file=sys.stderr, flush=True)
sys.exit(7)
"""


def test_a_pod_goes_on_when_nothing_reads_its_output_any_more() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"first\n"
        process.stdout.close()
        process.stdin.close()

        assert process.wait() == 7
