"""The code of a component that uses the connection of its pod, and takes its login elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aiohttp

from broker.nats.credentials.login import Credentials, Login
from broker.nats.credentials.nkeys import KeyKind, KeyPair
from tests.security import spy_app

PLANTED = f"SU{'A' * 56}"
MAIN = '''\
"""Uses the connection and the credentials of its pod for what it wants."""

import gc
import re

from broker.nats.bus import Bus
from fox import Context, Kit

kit = Kit(title="Spy")
# A key that the search below must find.
PLANTED = "%s"


def connection() -> Bus:
    return next(found for found in gc.get_objects() if isinstance(found, Bus))


async def ignore(payload: bytes, reply: str) -> None:
    """Receive nothing."""


@kit.route("Path(`/publish`)")
async def publish(ctx: Context) -> dict:
    """Publish to each subject, and return what came of it."""
    bus, outcomes = connection(), {}
    for subject in ctx.json():
        try:
            await bus.request(subject, b"", 20)
            outcomes[subject] = "published"
        except Exception as error:
            outcomes[subject] = str(error)
    return outcomes


@kit.route("Path(`/subscribe`)")
async def subscribe(ctx: Context) -> dict:
    """Subscribe to each subject, and return how many NATS has refused."""
    bus = connection()
    before = bus.forbidden.count
    for subject, queue in ctx.json():
        await bus.serve(subject, ignore, queue)
    await bus.flush()
    return {"refused": bus.forbidden.count - before}


@kit.route("Path(`/keys`)")
async def keys(ctx: Context) -> list:
    """Return the secret keys of NATS in the memory of this process."""
    found = set()
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb") as memory:
        for line in maps.readlines():
            addresses, permissions, *_ = line.split()
            if permissions.startswith("rw"):
                first, end = (int(text, 16) for text in addresses.split("-"))
                memory.seek(first)
                found |= set(re.findall(rb"S[UAO][A-Z2-7]{56}", memory.read(end - first)))
    return sorted(key.decode() for key in found)


@kit.route("Path(`/login`)")
async def login(ctx: Context) -> dict:
    """Return what the pod logs in with."""
    bus = connection()
    return {"process": bus.process_id, "token": bus._client.signer.token}


@kit.route("Path(`/sign`)")
async def sign(ctx: Context) -> dict:
    """Have a challenge of NATS signed, for a connection elsewhere."""
    return {"signature": (await connection()._client.signer.answer(ctx.json())).decode()}
'''


def build(folder: Path) -> None:
    """Make ``folder`` a repository with the app, uncommitted."""
    spy_app.build(folder, MAIN % PLANTED)


async def ask(http_url: str, path: str, content: object = None) -> Any:
    """Return what the component answers."""
    async with aiohttp.request(
        "POST",
        http_url + path,
        params={"kf-dep": "v1", "kf-ve": "here"},
        data=json.dumps(content),
    ) as response:
        assert response.status == 200, await response.text()
        return await response.json(content_type=None)


async def steal_login(http_url: str, nats_url: str) -> Login:
    """Return the login of the pod, with another key."""
    found = await ask(http_url, "/login")
    seed = KeyPair.generate(KeyKind.USER).seed
    credentials = Credentials(token=found["token"], seed=seed)
    return Login(url=nats_url, process_id=found["process"], credentials=credentials)


class Relay:
    """Logs in elsewhere as a pod, whose code has the challenges signed; a ``Signer``.

    Args:
        http_url: Of the platform.
        login: Of the pod.

    Attributes:
        refused: Challenges that nobody has signed.
    """

    def __init__(self, http_url: str, login: Login) -> None:
        assert login.credentials is not None
        self.token = login.credentials.token
        self.refused = 0
        self._http_url = http_url

    async def answer(self, nonce: str) -> bytes:
        """Return the signature of a challenge; see ``Signer``."""
        try:
            found: str = (await ask(self._http_url, "/sign", nonce))["signature"]
        except (AssertionError, aiohttp.ClientError) as error:
            self.refused += 1
            raise PermissionError("the pod signs nothing") from error
        return found.encode()
