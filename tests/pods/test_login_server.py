"""The runner signs the logins of a pod, which has no key."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator

import pytest

from broker.nats.credentials import login_channel
from broker.nats.credentials.login import Credentials, Login
from broker.nats.credentials.login_channel import RemoteSigner, adopt_channel, read_login
from broker.nats.credentials.nkeys import KeyKind, KeyPair
from pods import login_server
from pods.login_server import LoginServer

USER = KeyPair.generate(KeyKind.USER)
CREDENTIALS = Credentials(token="a.b.c", seed=USER.seed)
LOGIN = Login(url="nats://h:1", process_id="web-1", credentials=CREDENTIALS)
SOON_S = 10


@contextlib.contextmanager
def served(login: Login = LOGIN) -> Iterator[tuple[LoginServer, socket.socket]]:
    """Serve a login, and return the pod's end as a pod gets it."""
    server = LoginServer(login)
    with contextlib.closing(server), adopt_channel(os.dup(server.pod_end)) as channel:
        server.close_pod_end()
        yield server, channel


async def test_a_pod_gets_its_login_and_no_key() -> None:
    with served() as (_, channel):
        login = await asyncio.to_thread(read_login, channel)

        assert (login.url, login.process_id, login.token) == ("nats://h:1", "web-1", "a.b.c")
        assert USER.seed not in repr(login)
        assert not channel.get_inheritable()


async def test_a_long_login_fits_into_the_channel() -> None:
    token = "t" * (128 << 10)
    long = Login(url="nats://h:1", process_id="p", credentials=Credentials(token=token, seed="s"))

    with served(long) as (_, channel):
        login = await asyncio.to_thread(read_login, channel)

    assert login.token == token


async def test_each_challenge_is_signed() -> None:
    with served() as (_, channel):
        await asyncio.to_thread(read_login, channel)
        signer = RemoteSigner(channel, "a.b.c")

        signatures = [await signer.answer(nonce) for nonce in ("first", "second")]

    assert signatures == [CREDENTIALS.sign("first"), CREDENTIALS.sign("second")]


async def test_only_the_last_of_several_challenges_is_signed() -> None:
    with served() as (_, channel):
        await asyncio.to_thread(read_login, channel)
        signer = RemoteSigner(channel, "a.b.c")
        channel.sendall(b"given up\n")

        signature = await signer.answer("now")

        assert signature == CREDENTIALS.sign("now")
        with pytest.raises(BlockingIOError):
            channel.recv(1)


async def test_a_pod_gets_its_burst_of_signatures_and_then_has_to_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(login_server, "BURST", 2)
    monkeypatch.setattr(login_server, "INTERVAL_S", 3600.0)
    monkeypatch.setattr(login_channel, "_ANSWER_S", 0.2)
    with served() as (_, channel):
        await asyncio.to_thread(read_login, channel)
        signer = RemoteSigner(channel, "a.b.c")

        monkeypatch.setattr(login_channel, "_ANSWER_S", SOON_S)
        for nonce in ("1", "2"):
            await signer.answer(nonce)
        monkeypatch.setattr(login_channel, "_ANSWER_S", 0.2)

        with pytest.raises(TimeoutError, match="has signed no login"):
            await signer.answer("3")


async def test_after_its_burst_a_pod_gets_one_signature_in_each_interval(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(login_server, "BURST", 1)
    monkeypatch.setattr(login_server, "INTERVAL_S", 0.1)
    monkeypatch.setattr(login_channel, "_ANSWER_S", SOON_S)
    with served() as (_, channel):
        await asyncio.to_thread(read_login, channel)
        signer, loop = RemoteSigner(channel, "a.b.c"), asyncio.get_running_loop()
        begin_s = loop.time()

        for number in range(6):
            await signer.answer(str(number))

        assert loop.time() - begin_s >= 0.35


async def test_nothing_is_signed_when_the_pod_is_stopped() -> None:
    with served() as (server, channel):
        await asyncio.to_thread(read_login, channel)
        server.close()

        with pytest.raises(OSError):  # noqa: PT011 - the write fails, or the read
            await RemoteSigner(channel, "a.b.c").answer("late")


@pytest.mark.parametrize("sent", [b"x" * 300, b"x" * 300 + b"\n"])
async def test_a_pod_that_sends_no_challenge_is_cut_off(sent: bytes) -> None:
    with served() as (_, channel):
        await asyncio.to_thread(read_login, channel)

        channel.sendall(sent)

        assert await asyncio.to_thread(channel.recv, 1) == b""


async def test_nothing_is_signed_for_a_login_without_credentials() -> None:
    with served(Login(url="nats://h:1", process_id="p")) as (_, channel):
        login = await asyncio.to_thread(read_login, channel)
        channel.sendall(b"nonce\n")

        assert login.token == ""
        assert await asyncio.to_thread(channel.recv, 1) == b""
