"""What the guide shows is what happens."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from examples.demo.fox import Platform
from fox import Context, Kit, Response
from fox.kit.testing import TestClient
from tests.e2e.test_readme import PROJECT, blocks

GUIDE = (PROJECT / "docs" / "guide.md").read_text()
APP, CLEARING, PARTS = blocks(GUIDE, "sh")
COUNTER, STREAMS, SHOP, MAIL = blocks(GUIDE, "python")
ENVIRON = os.environ | {
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    **{f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}


# It waits for many processes to start, which a busy machine does slowly.
@pytest.mark.timeout(180)
async def test_an_app_of_ones_own_comes_and_goes(tmp_path: Path) -> None:
    async with Platform(tmp_path / "data") as platform:
        script = (APP + CLEARING).replace("http://127.0.0.1:8080", platform.http_url)
        bash = await asyncio.create_subprocess_exec(
            *("bash", "-euo", "pipefail", "-c", script.replace("curl", "curl -sSf")),
            cwd=tmp_path,
            env=ENVIRON | {"FOX_CONTROL_URL": platform.control_url},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await bash.communicate()

    text = said.decode()
    assert bash.returncode == 0, text
    assert text.count("Hello from dev-me!\n") == 2
    assert "virtual environment dev-me is deleted" in text
    assert "deployment shop-v1 is removed" in text


async def test_the_component_counts_in_its_store() -> None:
    kit = kit_of(COUNTER)

    async def greeter(ctx: Context) -> str:
        return "Moin"

    client = TestClient(
        kit, name="counter", env={"subPath": "dev", "step": 2}, dependencies={"greeter": greeter}
    )
    answers = [(await client.get("/dev/count/Ada")).text for _ in range(2)]
    totals = (await client.call("GET", "/")).json()
    await client.tick()

    assert answers == ["Moin Ada, 2 times", "Moin Ada, 4 times"]
    assert totals == {"Ada": 4}
    assert (await client.call("GET", "/")).json() == {}


async def test_the_component_streams_both_ways() -> None:
    kit, greeter = kit_of(COUNTER + STREAMS), Kit()

    @greeter.default(streams_body=True)
    async def echo(ctx: Context) -> Response:
        return Response.stream(ctx.stream())

    client = TestClient(kit, env={"subPath": "dev"}, dependencies={"greeter": greeter})
    copied = await client.post("/dev/copy", body=b"ab" * 1_000_000)
    events = await client.get("/dev/live")

    assert copied.body == b"ab" * 1_000_000
    assert events.text == "".join(f'data: {{"seen":{each}}}\n\n' for each in range(3))


async def test_an_order_is_answered_at_once_and_confirmed_later() -> None:
    shop = TestClient(
        kit_of(SHOP), name="shop", env={"subPath": "dev"}, dependencies={"mail": kit_of(MAIL)}
    )

    answers = [(await shop.post("/dev/orders/7")).text for _ in range(2)]

    assert answers == ["Thank you", "Thank you"]
    (mail,) = shop.emitted
    assert (mail.component, mail.json(), mail.is_delivered) == ("mail", {"order": "7"}, True)


async def test_a_confirmation_that_comes_again_is_not_sent_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    mail = TestClient(kit_of(MAIL), name="mail")

    with caplog.at_level("INFO"):
        for attempt in (1, 2):
            await mail.call("POST", "/confirmations", json={"order": "7"}, attempt=attempt)

    assert [each.getMessage() for each in caplog.records] == ["mail goes out"]


def kit_of(code: str) -> Kit:
    names: dict[str, object] = {}
    exec(code, names)  # noqa: S102 - it is our own guide
    kit = names["kit"]
    assert isinstance(kit, Kit)
    return kit


@pytest.mark.timeout(120)
def test_the_parts_find_each_other(tmp_path: Path) -> None:
    nats_port, http_port, control_port = map(str, free_ports(3))
    environ = ENVIRON | {"FOX_HTTP_PORT": http_port, "FOX_CONTROL_PORT": control_port}
    with ExitStack() as stack:
        for line in PARTS.replace("4222", nats_port).splitlines():
            process = subprocess.Popen(  # noqa: S602 - it is our own guide
                f"exec {line}",
                shell=True,
                cwd=tmp_path,
                env=environ,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.send_signal, signal.SIGINT)
            assert process.stdout is not None
            said = iter(process.stdout.readline, "")
            assert any("ready" in each for each in said), line


def free_ports(count: int) -> Iterator[int]:
    """Return ports that nobody has, all at once."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
            yield each.getsockname()[1]
