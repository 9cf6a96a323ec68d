"""All measurements at one size, in a process of its own: ``python -m benchmarks.routing.size N``.

It prints ``ready``, then the decisions of one round for each line ``round`` on its standard input,
and all results at the end of its input. So the rounds of all sizes alternate, and other load on the
machine affects all sizes alike.
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
from broker.runtime import gc_tuning
from kubefox.records import Change
from routing.resolver import resolve
from routing.snapshot.snapshot import Snapshot

WORKING_SET = 1_000
SCAN_ROUNDS = 3
SCANNED_APPS = 200
"""Number of released apps in the linear scan of plain URLs; the memory bounds it."""
MEMORY_SAMPLE = 5_000
UPDATES = 9


class SizeResult(msgspec.Struct, frozen=True, kw_only=True):
    """The results of one size; ``report`` has the headings."""

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
    """A loaded snapshot and the requests that it decides.

    Args:
        size: Number of deployments.
    """

    def __init__(self, size: int) -> None:
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
        calls = {
            name: _calls(questions, self._snapshot) for name, questions in self._questions.items()
        }
        self._first = time_each(calls["explicit hit"])
        self._decisions = Groups(calls)

    def round(self) -> dict[str, Latency]:
        """Decide every request once more; return the latencies."""
        return self._decisions.round()

    def result(self) -> SizeResult:
        """Measure everything else. It comes last: it replaces the content of the CPU caches."""
        estate, snapshot = self._estate, self._snapshot
        explicit, plain = self._questions["explicit hit"], self._questions["plain miss"]
        every = ranked(_released_routes(snapshot, SCANNED_APPS))
        scans = {
            "explicit": _timed(
                [partial(_scan_explicit, question, snapshot) for question in explicit]
            ),
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
    with gc_tuning.collection_paused():
        for change in changes:
            snapshot = snapshot.apply((change,))
    return snapshot


def _calls(questions: Sequence[Question], snapshot: Snapshot) -> list[Call]:
    return [partial(resolve, request, selectors, snapshot) for request, selectors in questions]


def _scan_explicit(question: Question, snapshot: Snapshot) -> object:
    request, selectors = question
    deployment, virtual = selectors.deployment or "", selectors.virtual_environment or ""
    binding = snapshot.route_bindings.explicit(deployment, virtual, snapshot.records)
    return scan(request, list(binding.table.routes))


def _released_routes(snapshot: Snapshot, count: int) -> Ranked:
    routes: Ranked = []
    for active in snapshot.release_index.active_releases.values():
        for app in active.apps.values():
            if count == 0:
                return routes
            count -= 1
            binding = snapshot.route_bindings.released(
                app.released, snapshot.release_index, snapshot.records
            )
            routes += binding.table.routes
    return routes


def _updates(estate: Estate, snapshot: Snapshot) -> dict[str, float]:
    makers: dict[str, Callable[[int], Change]] = {
        "new deployment": lambda number: estate.deployment(estate.size + number),
        "release of all apps": estate.release,
        "virtual environment, used value": lambda number: estate.virtual_environment(
            number, f"moved-{number}"
        ),
        "environment, unused value": lambda number: estate.environment(f"hello {number}"),
    }
    gc.collect()
    gc.freeze()
    found = {}
    for name, make in makers.items():
        changes = [make(number) for number in range(UPDATES)]
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
    fresh = Snapshot(snapshot.records, snapshot.release_index, Snapshot.empty().route_bindings)
    view = _calls(estate.questions(200, explicit=True, hits=True), fresh)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    time_each(view)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return round((after - before) / len(view))


def main(size: int) -> None:
    """Run the rounds that standard input requests, and print the results."""
    subject = Subject(size)
    _print("ready")
    for _ in sys.stdin:
        _print(subject.round())
    _print(subject.result())


def _print(result: object) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(result) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]))
