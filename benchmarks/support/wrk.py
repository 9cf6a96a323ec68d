"""The load generator wrk, where it is installed: a second opinion on closed loops."""

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
    """Return whether wrk is on the path."""
    return shutil.which("wrk") is not None


class Wrk:
    """Sends as ``Generator`` does: closed loops, one path, no bodies, whole seconds."""

    async def run(self, job: Job) -> Outcome:
        """Return what came back."""
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
    """Return what wrk printed.

    Raises:
        ValueError: It is not what wrk prints.
    """
    answers, rate = _ANSWERS.search(output), _RATE.search(output)
    if answers is None or rate is None:
        raise ValueError(f"wrk said:\n{output}")
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
