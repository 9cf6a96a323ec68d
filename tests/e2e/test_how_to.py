"""The commands and components of the how-to guides work as the guides describe."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from examples.demo.platform import Platform
from fox import Context, Kit, Response
from fox.testing import TestClient
from kubefox.scaling import Scale
from tests.e2e.documents import ENVIRON, blocks, kit_of, page, run_script
from tests.support.ports import free_ports

[COUNTER] = blocks(page("how-to/write-a-component"), "python")
[STREAMS] = blocks(page("how-to/stream-bodies"), "python")
SHOP, MAIL, REPORTS = blocks(page("how-to/emit-events"), "python")
[SCALED] = blocks(page("how-to/scale"), "python")
[TESTED] = blocks(page("how-to/test-a-component"), "python")
# A command may go on in the next line.
PARTS, REPLICAS = (block.replace("\\\n", "") for block in blocks(page("how-to/run-in-parts"), "sh"))
[UPGRADED_HTTP] = blocks(page("how-to/upgrade-http"), "sh")
END_S = 60
# The pages assume the app of the tutorial, deployed as `shop-v1`.
APP = "fox init shop && cd shop && fox apply -f environments.yaml && fox deploy shop-v1\n"
RELEASED = f"{APP}fox release shop-v1 --virtual-env dev-me\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    async with Platform(tmp_path_factory.mktemp("guides") / "data") as platform:
        yield platform


async def run_guide(platform: Platform, folder: Path, guide: str, before: str) -> str:
    """Run the commands of a guide after others, and return what they print."""
    script = before + "".join(blocks(page(f"how-to/{guide}"), "sh"))
    script = script.replace("http://127.0.0.1:8080", platform.http_url)
    script = script.replace("http://127.0.0.1:8081", platform.control_url)
    return await run_script(script, cwd=folder, FOX_DATA_DIR=str(platform.data_dir))


# They find the app as it is, or as another guide has left it: each applies its environments again.
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("guide", "before", "expected"),
    [
        ("release-and-roll-back", APP, "deployment shop-1-0"),
        ("observe", RELEASED, "kubefox_requests_total"),
        ("change-variables", APP, "token: ••••••"),
        ("share-a-preview", APP, "is revoked"),
        ("rotate-keys", RELEASED, "replaced: key-encryption"),
        ("give-access", RELEASED, "token shop-ci is revoked"),
        ("scale", APP, "shop-v1: min=2 max=6 target=20"),
        ("emit-events", "", ""),
        ("stop-idle-versions", "", ""),
    ],
)
async def test_every_command_of_a_guide_works(
    shared: Platform, tmp_path: Path, guide: str, before: str, expected: str
) -> None:
    assert expected in await run_guide(shared, tmp_path, guide, before)


@pytest.mark.parametrize(
    ("guide", "expected"),
    [
        ("change-and-undo", "deployment shop-v1 is at generation 4"),
        ("clean-up", "virtual environment dev-me is deleted"),
    ],
)
async def test_every_command_of_a_guide_on_a_new_platform_works(
    tmp_path: Path, guide: str, expected: str
) -> None:
    async with Platform(tmp_path / "data") as platform:
        assert expected in await run_guide(platform, tmp_path, guide, APP)


def test_the_test_of_a_component_passes() -> None:
    names: dict[str, object] = {}
    exec(TESTED, names)  # noqa: S102 - it is our own documentation
    test = names["test_a_price_uses_the_rate"]

    assert callable(test)
    test()


def test_the_component_of_reports_declares_the_component_that_it_emits_to() -> None:
    definition = kit_of(REPORTS).definition("reports")

    assert [dependency.name for dependency in definition.dependencies] == ["archive"]


def test_the_component_declares_its_scale() -> None:
    definition = kit_of(SCALED).definition("hello")

    assert definition.scale == Scale(min=2, max=6, target_in_flight=20)


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
    assert events.text == "".join(f'data: {{"seen":{number}}}\n\n' for number in range(3))


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

    assert [record.getMessage() for record in caplog.records] == ["mail sent"]


def test_the_parts_find_each_other(tmp_path: Path) -> None:
    nats_port, http_port, control_port = map(str, free_ports(3))
    environ = os.environ | ENVIRON | {"FOX_HTTP_PORT": http_port, "FOX_CONTROL_PORT": control_port}
    with ExitStack() as stack:
        processes = []
        init, nats, control, *parts = PARTS.splitlines()
        init = init.replace("4222", nats_port)
        subprocess.run(init, shell=True, cwd=tmp_path, env=environ, check=True)  # noqa: S602 - as below
        # The control plane makes the keys; another pod runner may start before the first.
        started = (nats, control, *REPLICAS.splitlines(), *parts)
        for line in (*started, *UPGRADED_HTTP.splitlines()):
            process = subprocess.Popen(  # noqa: S602 - code of our own documentation
                f"exec {line.replace('4222', nats_port)}",
                shell=True,
                cwd=tmp_path,
                env=environ,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            processes.append(stack.enter_context(process))
            stack.callback(process.send_signal, signal.SIGINT)
            assert process.stdout is not None
            output = iter(process.stdout.readline, "")
            assert any("ready" in printed for printed in output), line
        *_, old_http, _ = processes
        assert old_http.wait(END_S) == 0
