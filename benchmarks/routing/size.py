"""All measurements at one size, in a process of its own: ``python -m benchmarks.routing.size N``.

It says ``ready``, answers each line ``round`` with the decisions of one round, and the end of its
input with all that it found. So sizes can take turns: what else a machine does moves within
seconds, and then moves all of them.
"""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median

import msgspec

from benchmarks.routing.estate import VIRTUAL_ENVIRONMENTS, Estate, Question
from benchmarks.routing.linear import Ranked, ranked, scan
from benchmarks.routing.timing import Call, Groups, Latency, latency, time_each, time_once
from broker import garbage
from model.records import Change
from routing.resolver import resolve
from routing.snapshot import Snapshot

WORKING_SET = 1_000
SCAN_ROUNDS = 3
SCANNED_APPS = 200
"""Released apps the linear scan of plain URLs goes through; beyond, memory for it runs out."""
MEMORY_SAMPLE = 5_000
UPDATES = 9


class SizeResult(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured at one size; see the table's headings in ``report``."""

    deployments: int
    released_apps: int
    decisions: dict[str, Latency]
    first_explicit: Latency
    linear_explicit: Latency
    linear_plain: Latency
    linear_plain_routes: int
    updates_us: dict[str, float]
    bytes_per_deployment: int
    bytes_per_binding: int


class Subject:
    """A loaded snapshot and what is asked of it.

    Args:
        size: How many deployments there are.
    """

    def __init__(self, size: int) -> None:
        """Load it, and ask for the first time."""
        self._estate = estate = Estate(size)
        changes = list(estate.changes())
        self._snapshot = _loaded(changes)
        del changes
        self._questions = {
            "explicit hit": estate.questions(WORKING_SET, explicit=True, hits=True),
            "explicit miss": estate.questions(WORKING_SET, explicit=True, hits=False),
            "plain hit": estate.questions(WORKING_SET, explicit=False, hits=True),
            "plain miss": estate.questions(WORKING_SET, explicit=False, hits=False),
        }
        calls = {name: _calls(each, self._snapshot) for name, each in self._questions.items()}
        self._first = time_each(calls["explicit hit"])
        self._decisions = Groups(calls)

    def round(self) -> dict[str, Latency]:
        """Decide about every question once more; return how long that took."""
        return self._decisions.round()

    def result(self) -> SizeResult:
        """Measure the rest, which would push what decisions use out of the processor's caches."""
        estate, snapshot = self._estate, self._snapshot
        explicit, plain = self._questions["explicit hit"], self._questions["plain miss"]
        every = ranked(_released_routes(snapshot, SCANNED_APPS))
        scans = {
            "explicit": _timed([partial(_scan_explicit, each, snapshot) for each in explicit]),
            "plain": _timed([partial(scan, request, every) for request, _ in plain[:20]]),
        }
        return SizeResult(
            deployments=estate.size,
            released_apps=estate.apps * VIRTUAL_ENVIRONMENTS,
            decisions=self._decisions.latencies(),
            first_explicit=latency(self._first),
            linear_explicit=scans["explicit"],
            linear_plain=scans["plain"],
            linear_plain_routes=len(every),
            updates_us=_updates(estate, snapshot),
            bytes_per_deployment=_bytes_per_deployment(estate.size),
            bytes_per_binding=_bytes_per_binding(estate, snapshot),
        )


def _timed(calls: Sequence[Call]) -> Latency:
    groups = Groups({"": calls})
    for _ in range(SCAN_ROUNDS):
        groups.round()
    return groups.latencies()[""]


def _loaded(changes: Sequence[Change]) -> Snapshot:
    snapshot = Snapshot.empty()
    with garbage.paused():
        for change in changes:
            snapshot = snapshot.apply((change,))
    return snapshot


def _calls(questions: Sequence[Question], snapshot: Snapshot) -> list[Call]:
    return [partial(resolve, request, selectors, snapshot) for request, selectors in questions]


def _scan_explicit(question: Question, snapshot: Snapshot) -> object:
    request, selectors = question
    deployment, virtual = selectors.deployment or "", selectors.virtual_environment or ""
    binding = snapshot.bindings.explicit(deployment, virtual, snapshot.records)
    return scan(request, list(binding.table.routes))


def _released_routes(snapshot: Snapshot, count: int) -> Ranked:
    routes: Ranked = []
    for active in snapshot.plain.active.values():
        for app in active.apps.values():
            if count == 0:
                return routes
            count -= 1
            binding = snapshot.bindings.released(app.released, snapshot.plain, snapshot.records)
            routes += binding.table.routes
    return routes


def _updates(estate: Estate, snapshot: Snapshot) -> dict[str, float]:
    makers: dict[str, Callable[[int], Change]] = {
        "new deployment": lambda turn: estate.deployment(estate.size + turn),
        "release of all apps": estate.release,
        "virtual environment, used value": lambda turn: estate.virtual_environment(
            turn, f"moved-{turn}"
        ),
        "environment, unused value": lambda turn: estate.environment(f"hello {turn}"),
    }
    gc.collect()
    gc.freeze()
    found = {}
    for name, make in makers.items():
        changes = [make(turn) for turn in range(UPDATES)]
        times = [time_once(partial(snapshot.apply, [change])) for change in changes]
        found[name] = round(median(times) * 1e6, 1)
    gc.unfreeze()
    return found


def _bytes_per_deployment(size: int) -> int:
    estate = Estate(size)
    snapshot = Snapshot.empty().apply(estate.before_deployments())
    count = min(size, MEMORY_SAMPLE)
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for number in range(count):
        snapshot = snapshot.apply([estate.deployment(number)])
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(snapshot.deployments) == count
    return round((after - before) / count)


def _bytes_per_binding(estate: Estate, snapshot: Snapshot) -> int:
    fresh = Snapshot(snapshot.records, snapshot.plain, Snapshot.empty().bindings)
    asked = _calls(estate.questions(200, explicit=True, hits=True), fresh)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    time_each(asked)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return round((after - before) / len(asked))


def main(size: int) -> None:
    """Do what is asked for on standard input."""
    subject = Subject(size)
    _say("ready")
    for _ in sys.stdin:
        _say(subject.round())
    _say(subject.result())


def _say(what: object) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(what) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]))
