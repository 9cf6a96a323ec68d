"""The audit log has every change and every refusal, and no secret."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from control.access.audit_file import AuditFile
from control.access.audit_log import CHANGES, REFUSALS, AuditLog
from control.access.failure_limit import BURST
from control.api.server import ControlApi
from kubefox.audit import AuditRecord, Decision
from kubefox.errors import AuditUnavailable
from tests.control.api.client import Client
from tests.support.owner import OWNERS_TOKEN

DEV = "/v1/environments/dev"
SECRET = "s3cret-value"


async def audit(client: Client, query: str = "") -> list[dict[str, Any]]:
    return await client.items(f"/v1/audit-records{query}")


async def test_a_change_is_recorded_with_its_revisions(client: Client) -> None:
    _, first = await client.call("PUT", DEV, {"name": "dev"})
    _, second = await client.call("PUT", DEV, {"name": "dev", "data": {"vars": {"a": SECRET}}})
    await client.call("DELETE", DEV)

    removed, changed, created = await audit(client)

    assert created["caller"] == "owner"
    assert created["kind"] == "owner"
    assert created["address"] == "127.0.0.1"
    assert created["operation"] == "PUT /v1/environments/{name}"
    assert created["target"] == DEV
    assert (created["decision"], created["status"]) == ("allowed", 200)
    assert (created["revision_before"], created["revision_after"]) == (0, first["revision"])
    assert changed["revision_before"] == first["revision"]
    assert changed["revision_after"] == second["revision"]
    assert (removed["revision_before"], removed["revision_after"]) == (second["revision"], 0)
    assert removed["id"] > changed["id"] > created["id"]


async def test_reads_are_not_recorded(client: Client) -> None:
    await client.call("GET", DEV)
    await client.items("/v1/environments")

    assert await audit(client) == []


async def test_failures_and_refusals_are_recorded(client: Client, api: ControlApi) -> None:
    body = {"name": "viewer", "grants": [{"role": "view"}]}
    _, viewer = await client.call("POST", "/v1/tokens", body)
    async with aiohttp.ClientSession() as session:
        nobody = Client(session, api.url)
        headers = {"authorization": f"Bearer {viewer['token']}"}

        await client.call("DELETE", DEV)
        await nobody.call("PUT", DEV, {"name": "dev"}, headers=headers)
        await nobody.call("PUT", DEV, {"name": "dev"})

    unknown, refused, failed, created = await audit(client)
    assert created["details"] == {"name": "viewer", "roles": "view"}
    assert (failed["decision"], failed["status"]) == ("failed", 404)
    assert (refused["decision"], refused["caller"]) == ("refused", "viewer")
    assert refused["token_id"] == viewer["info"]["id"]
    assert "viewer needs the role admin" in refused["reason"]
    assert (unknown["decision"], unknown["kind"], unknown["status"]) == ("refused", "none", 401)


async def test_a_change_of_a_foreign_page_is_recorded(client: Client) -> None:
    headers = {"origin": "https://evil.example"}

    status, _ = await client.call("PUT", DEV, {"name": "dev"}, headers=headers)

    [refused] = await audit(client)
    assert status == 403
    assert (refused["decision"], refused["kind"]) == ("refused", "none")
    assert "https://evil.example may not use" in refused["reason"]


async def test_no_token_and_no_value_is_in_the_log(client: Client, tmp_path: Path) -> None:
    data = {"vars": {"a": SECRET}, "secrets": {"b": SECRET}}
    await client.call("PUT", DEV, {"name": "dev", "data": data})
    await client.call("PUT", DEV, {"name": "dev", "data": {"vars": {SECRET * 20: SECRET}}})
    _, made = await client.call("POST", "/v1/tokens", {"name": "x", "grants": [{"role": "view"}]})
    wrong = {"authorization": f"Bearer {made['token'][:-1]}x"}
    await client.call("PUT", DEV, {"name": "dev"}, headers=wrong)

    text = "".join(path.read_text() for path in tmp_path.glob("*.jsonl"))
    listed = json.dumps(await audit(client))

    for secret in (SECRET, OWNERS_TOKEN, made["token"], made["token"].split("_")[2][:32]):
        assert secret not in text
        assert secret not in listed
    assert "/v1/tokens" in text


async def test_the_log_is_listed_in_pages_with_filters(client: Client) -> None:
    for name in ("a", "b", "c", "d"):
        await client.call("PUT", f"/v1/environments/{name}", {"name": name})
    await client.call("DELETE", "/v1/environments/none")

    _, first = await client.call("GET", "/v1/audit-records?limit=2&decision=allowed")
    _, second = await client.call(
        "GET", f"/v1/audit-records?limit=2&decision=allowed&continue={first['continue']}"
    )
    pages = [record["target"][-1] for page in (first, second) for record in page["items"]]
    failed = await audit(client, "?decision=failed")
    deletes = await audit(client, "?operation=DELETE&caller=owner&target=none")
    _, one = await client.call("GET", f"/v1/audit-records/{deletes[0]['id']}")

    assert pages == ["d", "c", "b", "a"]
    assert second["continue"] == ""
    assert failed == deletes == [one]
    assert await audit(client, "?caller=nobody") == []


async def test_a_flood_of_refusals_is_limited_and_leaves_the_changes(
    client: Client, api: ControlApi
) -> None:
    await client.call("PUT", DEV, {"name": "dev"})
    async with aiohttp.ClientSession() as session:
        nobody = Client(session, api.url)
        statuses = [(await nobody.call("GET", DEV))[0] for _ in range(3 * BURST)]
    valid, _ = await client.call("GET", DEV)

    refusals = await audit(client, "?decision=refused")

    assert set(statuses[:BURST]) == {401}
    assert statuses.count(429) >= BURST
    assert valid == 200
    assert len(refusals) == statuses.count(401)
    assert len(await audit(client, "?decision=allowed")) == 1


def record(number: int, decision: Decision = Decision.ALLOWED) -> AuditRecord:
    return AuditRecord(
        id=f"{number:019d}",
        at_s=number,
        caller="owner",
        kind="owner",
        decision=decision,
        status=200,
    )


def test_a_file_is_rotated_by_size_and_the_oldest_is_removed(tmp_path: Path) -> None:
    file = AuditFile(tmp_path / "a.jsonl", max_bytes=1_000, max_files=3)

    for number in range(100):
        file.append([record(number)])

    ids = [int(each.id) for each in file.newest_first()]
    assert ids == list(range(99, 99 - len(ids), -1))
    assert {path.name for path in tmp_path.iterdir()} <= {"a.jsonl", "a.jsonl.1", "a.jsonl.2"}
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 4_000
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in tmp_path.iterdir())


def test_a_torn_line_is_left_out(tmp_path: Path) -> None:
    file = AuditFile(tmp_path / "a.jsonl", max_bytes=1_000, max_files=3)
    file.append([record(1)])
    with (tmp_path / "a.jsonl").open("ab") as torn:
        torn.write(b'{"id": "00000')

    assert [int(each.id) for each in file.newest_first()] == [1]


async def test_nothing_is_changed_until_the_record_of_the_last_change_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = AuditLog(tmp_path, max_bytes=1 << 20, max_files=3)
    is_full, write = True, os.write

    def full_disk(descriptor: int, content: bytes) -> int:
        if is_full:
            write(descriptor, content[:10])
            raise OSError(28, "No space left on device")
        return write(descriptor, content)

    monkeypatch.setattr(os, "write", full_disk)
    await log.add(record(1))
    await log.add(record(2, Decision.REFUSED))
    with pytest.raises(AuditUnavailable, match="make room on the disk"):
        await log.check_writable()
    while_full = [(tmp_path / name).read_bytes() for name in (CHANGES, REFUSALS)]
    is_full = False
    await log.check_writable()

    assert while_full == [b"", b""]
    assert log.lost == 1
    assert [int(each.id) for each in await log.newest("", 10, lambda _record: True)] == [1]
    assert log.is_writable


async def test_a_change_is_not_refused_for_the_record_of_another_that_is_to_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = AuditLog(tmp_path, max_bytes=1 << 20, max_files=2)
    may_write, append = threading.Semaphore(0), AuditFile.append

    def append_when_allowed(file: AuditFile, records: Sequence[AuditRecord]) -> None:
        may_write.acquire()
        append(file, records)

    monkeypatch.setattr(AuditFile, "append", append_when_allowed)
    started = [asyncio.create_task(log.add(record(1)))]
    await asyncio.sleep(0)
    checked = asyncio.create_task(log.check_writable())
    await asyncio.sleep(0)
    started.append(asyncio.create_task(log.add(record(2))))
    await asyncio.sleep(0)
    may_write.release()
    await started[0]
    started.append(asyncio.create_task(log.add(record(3))))
    await asyncio.sleep(0)
    may_write.release(3)

    await asyncio.gather(checked, *started)

    assert log.is_writable
    assert [int(each.id) for each in await log.newest("", 10, lambda _record: True)] == [3, 2, 1]


async def test_a_log_collector_gets_a_line_for_each_record(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    log = AuditLog(tmp_path, max_bytes=1 << 20, max_files=2, copies=writer)

    await log.add(record(1))
    await log.add(record(2, Decision.REFUSED))
    os.close(writer)
    with os.fdopen(reader, "rb") as lines:
        copies = [json.loads(line) for line in lines]

    files = [json.loads((tmp_path / name).read_bytes()) for name in (CHANGES, REFUSALS)]
    assert copies == [{"audit": each} for each in files]


async def test_a_record_counts_if_its_copy_cannot_be_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    log = AuditLog(tmp_path, max_bytes=1 << 20, max_files=2, copies=writer)

    await log.add(record(1))
    await log.check_writable()
    os.close(writer)

    assert [int(each.id) for each in await log.newest("", 10, lambda _record: True)] == [1]
    assert "records of the audit log are in its file alone: [Errno 32]" in caplog.text
