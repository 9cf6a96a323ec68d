"""The load generator wrk, if it is installed: closed loops measured by another program."""

from __future__ import annotations

import asyncio
import math
import re
import shutil

from benchmarks.support.job import Job, Outcome
from benchmarks.support.latency import Latencies

_US = {"us": 1.0, "ms": 1e3, "s": 1e6}
_PERCENTILE = re.compile(r"^ +(50|90|99)% +([\d.]+)(us|ms|s)$", re.MULTILINE)
_ANSWERS = re.compile(r"(\d+) requests in")
_RATE = re.compile(r"^Requests/sec: +([\d.]+)$", re.MULTILINE)
_FAILURES = re.compile(r"Non-2xx or 3xx responses: (\d+)")


def is_installed() -> bool:
    """Return whether wrk is on the PATH."""
    return shutil.which("wrk") is not None


class Wrk:
    """A load generator like ``Generator``, for closed loops with one path and without bodies."""

    async def run(self, job: Job) -> Outcome:
        """Send the requests of a job, for whole seconds, and return the outcome."""
        process = await asyncio.create_subprocess_exec(
            "wrk",
            *("--threads", "1", "--connections", str(job.connections), "--latency"),
            *("--duration", f"{math.ceil(job.duration_s)}s"),
            f"http://127.0.0.1:{job.port}{job.paths[0]}",
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
        return parse(output.decode())


def parse(output: str) -> Outcome:
    """Return the outcome that wrk printed.

    Raises:
        ValueError: The text is not the output of wrk.
    """
    answers, rate = _ANSWERS.search(output), _RATE.search(output)
    if answers is None or rate is None:
        raise ValueError(f"the output of wrk cannot be read:\n{output}")
    percentiles = {
        f"p{name}_us": float(value) * _US[unit] for name, value, unit in _PERCENTILE.findall(output)
    }
    failures = _FAILURES.search(output)
    return Outcome(
        answers=int(answers[1]),
        seconds=int(answers[1]) / float(rate[1]),
        latencies=Latencies(**percentiles),
        failures={"other": int(failures[1])} if failures else {},
    )
