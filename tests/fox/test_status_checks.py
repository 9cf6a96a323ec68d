"""The checks of a control process: certificates that end, and disks that are full."""

from __future__ import annotations

import asyncio
import datetime
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from broker.runtime.tls import ServerCertificate
from fox import status_checks
from fox.certificates import Certificates
from kubefox.status import CheckState
from tests.support.certificates import Authority


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.mark.parametrize(("days", "state"), [(90, CheckState.OK), (3, CheckState.DEGRADED)])
async def test_a_certificate_that_soon_ends_is_degraded(
    tmp_path: Path, days: int, state: CheckState
) -> None:
    def issued() -> ServerCertificate:
        files = Authority(tmp_path).issue("server", lifetime=datetime.timedelta(days=days))
        return ServerCertificate(*files, "")

    certificates = Certificates(control=await asyncio.to_thread(issued))

    check = await status_checks._tls(certificates)

    assert check.state is state
    assert check.detail.startswith("control API: TLS, certificate until ")
    assert (": renew it; HTTP adapter: plain HTTP" in check.detail) == (
        state is CheckState.DEGRADED
    )


async def test_a_disk_that_is_nearly_full_is_degraded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(100 << 30, 99 << 30, 1 << 29))

    check = await status_checks._disk(tmp_path)

    assert check.state is CheckState.DEGRADED
    assert check.detail == f"0.5 GiB free of 100.0 in {tmp_path}: make room"
