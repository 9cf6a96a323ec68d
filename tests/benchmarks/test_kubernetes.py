"""The benchmark of a cluster: its page, its audit log, and one short run of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from benchmarks.kubernetes.__main__ import DOCUMENT, NAME, RESULTS
from benchmarks.kubernetes.calls import AuditLog, by_kind, writes
from benchmarks.kubernetes.report import Report, page
from benchmarks.support.document import placed
from tests.kubernetes import binary

LINE = (
    '{{"stage":"{stage}","auditID":"{id}","verb":"{verb}","user":{{"username":'
    '"system:serviceaccount:bench:{user}"}},"objectRef":{{"resource":"pods","subresource":"{sub}"}},'
    '"responseStatus":{{"code":{code}}}}}\n'
)


def line(number: int, verb: str, user: str = "one", sub: str = "", code: int = 200) -> str:
    return LINE.format(stage="x", id=number, verb=verb, user=user, sub=sub, code=code)


def test_the_page_shows_the_results_that_are_kept() -> None:
    report = msgspec.json.decode(RESULTS.read_bytes(), type=Report)

    assert placed(DOCUMENT, NAME) == page(report) + "\n"


def test_each_call_of_the_audit_log_is_counted_once(tmp_path: Path) -> None:
    audit = AuditLog(tmp_path, "bench", "one", "two")
    written = tmp_path / "audit.log"
    watch, last = line(1, "watch"), line(5, "list")
    written.write_text(watch + line(2, "patch") + line(3, "patch", "two") + last[:20])
    first = audit.take()
    with written.open("a") as log:
        log.write(last[20:] + watch + line(6, "patch", sub="status", code=409))

    second = audit.take()

    assert by_kind(first, "one") == {"patch pods": 1, "watch pods": 1}
    assert by_kind(first, "two") == {"patch pods": 1}
    assert by_kind(second, "one") == {"list pods": 1, "patch pods/status, 409": 1}
    assert [writes(by_kind(found, "one")) for found in (first, second)] == [1, 1]


@pytest.mark.kubernetes
@pytest.mark.timeout(900)
@pytest.mark.skipif(not binary.is_built(), reason="the lab's control plane is not built")
def test_a_pod_runner_that_takes_over_writes_nothing() -> None:
    command = (sys.executable, "-m", "benchmarks.kubernetes", "--versions", "20", "--rest", "1")

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    rows = dict(cells(row) for row in done.stdout.splitlines() if row.startswith("| "))
    assert rows["first deployment of all"][-1] == "44"
    assert rows["restart of the pod runner"][-1] == "0"
    assert rows["restart of control"][-1] == "0"


def cells(row: str) -> tuple[str, list[str]]:
    """Return the first cell of a row, and the others."""
    name, *others = (cell.strip() for cell in row.strip("|").split("|"))
    return name, others
