"""A burst of requests leaves turns of the event loop to other work."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

from aiohttp.test_utils import TestClient, TestServer

from broker.events.dead_letters import DeadLetters
from broker.storage.token_store import TokenStore
from broker.telemetry.collector import Collector
from control.api import touched
from control.api.application import ApiApplication
from control.api.guard import Guard
from control.api.operation import ApiRequest, ApiServices, Operation
from control.api.rights import Right
from kubefox.grants import Role
from pods.logs import PodLogs
from tests.support.control_plane import Plane
from tests.support.owner import CREDENTIALS, open_access

BURST = 100
VIEW = Right(role=Role.VIEW, touches=touched.anything, scope="")


async def test_a_burst_begins_one_request_in_each_turn_of_the_loop(
    plane: Plane,
    logs: PodLogs,
    collector: Collector,
    dead_letters: DeadLetters,
    tokens: TokenStore,
    tmp_path: Path,
) -> None:
    access = open_access(tokens, tmp_path)
    services = ApiServices(
        control=plane.control,
        logs=logs,
        collector=collector,
        dead_letters=dead_letters,
        tokens=tokens,
        audit=access.audit,
        version="1",
        readiness={},
        checks={},
    )
    turn, begun, is_over = 0, Counter[int](), False

    def next_turn() -> None:
        nonlocal turn
        turn += 1
        if not is_over:
            asyncio.get_running_loop().call_soon(next_turn)

    async def note(_services: ApiServices, _request: ApiRequest) -> int:
        begun[turn] += 1
        return turn

    operation = Operation(method="GET", path="/v1/turn", summary="", handle=note, result=int)
    api = ApiApplication(services, Guard("127.0.0.1"), access)
    async with TestClient(
        TestServer(api.application([operation], {operation.key: VIEW})), headers=CREDENTIALS
    ) as client:
        next_turn()

        answers = await asyncio.gather(*(client.get("/v1/turn") for _ in range(BURST)))
        is_over = True

    assert {answer.status for answer in answers} == {200}
    assert sum(begun.values()) == BURST
    assert max(begun.values()) == 1
