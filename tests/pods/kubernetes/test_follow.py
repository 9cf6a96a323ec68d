"""A collection is followed whatever one of its objects, the API or a callback does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pods.kubernetes import follow
from pods.kubernetes.api import Api, open_api
from pods.kubernetes.cluster import Cluster
from pods.kubernetes.follow import Following, Meta
from tests.pods.kubernetes.scripted_api import scripted_api

PATH = "/apis/things"
# More than any decoder takes.
DEEP = b"[" * 100_000 + b"]" * 100_000
LONG_S = 600.0


class Thing(msgspec.Struct, frozen=True):
    metadata: Meta
    data: Any = None


def thing(name: str, version: int, data: bytes = b"1") -> bytes:
    meta = b'{"name":"%b","uid":"%b","resourceVersion":"%d"}' % (
        name.encode(),
        name.encode(),
        version,
    )
    return b'{"data":%b,"metadata":%b}' % (data, meta)


def things(version: int, *items: bytes) -> bytes:
    return b'{"items":[%b],"metadata":{"resourceVersion":"%d"}}' % (b",".join(items), version)


def change(kind: str, item: bytes) -> bytes:
    return b'{"type":"%b","object":%b}' % (kind.encode(), item)


EXPIRED = change("ERROR", b'{"code":410,"message":"too old resource version"}')


class Follower:
    """Follows the things of a scripted API, and notes what it is told."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.failing: set[str] = set()

    def on_thing(self, found: Thing) -> None:
        self._note(f"{found.metadata.name}@{found.metadata.resource_version}")

    def on_deleted(self, found: Thing) -> None:
        self._note(f"-{found.metadata.name}@{found.metadata.resource_version}")

    def _note(self, event: str) -> None:
        if event in self.failing:
            self.failing.discard(event)
            raise LookupError(event)
        self.events.append(event)

    @contextlib.asynccontextmanager
    async def following(self, api: Api) -> AsyncIterator[Following[Thing]]:
        found = Following(api, PATH, {}, Thing, self.on_thing, self.on_deleted)
        running = asyncio.create_task(found.run())
        try:
            yield found
            assert not running.done()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "MIN_RETRY_S", 0.001)
    monkeypatch.setattr(follow, "MAX_RETRY_S", 0.02)


@pytest.mark.usefixtures("quick")
async def test_an_object_that_is_nested_too_deeply_is_named_and_hides_no_other() -> None:
    follower = Follower()
    async with scripted_api() as (script, api):
        script.lists = [things(3, thing("one", 1), thing("deep", 2, DEEP), thing("two", 3))]
        script.watches = [[change("MODIFIED", thing("two", 4))]]

        async with follower.following(api) as found:
            await until(lambda: "two@4" in follower.events)

            assert follower.events == ["one@1", "two@3", "two@4"]
            assert found.fault.startswith(f"{PATH}/deep cannot be read: ")


@pytest.mark.usefixtures("quick")
async def test_an_object_that_becomes_too_deep_is_as_before_until_it_can_be_read_or_is_gone() -> (
    None
):
    follower = Follower()
    async with scripted_api() as (script, api):
        script.lists = [things(2, thing("one", 1), thing("two", 2))]
        script.watches = [
            [change("MODIFIED", thing("one", 3, DEEP)), change("MODIFIED", thing("two", 4, DEEP))],
            [EXPIRED],
            [change("MODIFIED", thing("one", 6)), change("DELETED", thing("two", 7, DEEP))],
            [],
        ]
        script.lists.append(things(5, thing("one", 3, DEEP), thing("two", 4, DEEP)))

        async with follower.following(api) as found:
            await until(lambda: len(follower.events) == 4)

            assert follower.events == ["one@1", "two@2", "one@6", "-two@2"]
            assert script.count("list") == 2
            assert not found.fault


@pytest.mark.usefixtures("quick")
async def test_a_callback_that_fails_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    follower = Follower()
    follower.failing = {"one@1", "two@3"}
    async with scripted_api() as (script, api):
        script.lists = [things(2, thing("one", 1), thing("two", 2))]
        script.watches = [[change("MODIFIED", thing("two", 3))], [change("ADDED", thing("new", 4))]]

        async with follower.following(api):
            await until(lambda: "new@4" in follower.events)

    assert "two@2" in follower.events
    assert caplog.text.count("LookupError: ") == 2


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("answer", [b"", b"<html>", b"{}", b'{"items":3,"metadata":{}}'])
async def test_an_answer_that_is_no_list_is_asked_for_again(answer: bytes) -> None:
    follower = Follower()
    async with scripted_api() as (script, api):
        script.lists, script.watches = [answer, things(1, thing("one", 1))], [[]]

        async with follower.following(api) as found:
            await found.listed.wait()

            assert follower.events == ["one@1"]


@pytest.mark.usefixtures("quick")
async def test_a_token_that_cannot_be_read_yet_is_read_again(tmp_path: Path) -> None:
    follower, token = Follower(), tmp_path / "token"
    async with scripted_api() as (script, _):
        script.lists, script.watches = [things(1, thing("one", 1))], [[]]
        cluster = Cluster(server=script.url, token_file=token)
        async with open_api(cluster) as api, follower.following(api) as found:
            await until(lambda: bool(found.fault))
            assert "token" in found.fault
            token.write_text("t")
            await found.listed.wait()

            assert not found.fault


@pytest.mark.parametrize("lines", [[], [EXPIRED], [b"{}"]], ids=["ends", "expired", "invalid"])
async def test_there_is_a_pause_after_a_watch_however_it_ends(
    lines: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MIN_RETRY_S", "MAX_RETRY_S"):
        monkeypatch.setattr(follow, name, LONG_S)
    async with scripted_api() as (script, api):
        script.lists, script.watches = [things(1)], [lines]

        async with Follower().following(api):
            await until(lambda: script.count("watch") > 0)
            # Without the pause there are hundreds.
            await asyncio.sleep(0.2)

            assert (script.count("list"), script.count("watch")) == (1, 1)
