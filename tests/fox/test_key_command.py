"""A program wraps the data keys, as a client of a key management service does."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from broker.dispatch.broker import open_broker
from broker.dispatch.key_rotation import KeyRotation
from broker.nats.bus import Bus
from broker.storage.key_encryption import WrappedKey
from broker.storage.platform_keys import open_keys
from fox.key_command import KeyCommand
from kubefox.context import EventContext
from kubefox.errors import InvalidRequest
from kubefox.key_ring import KeyKind
from tests.support.data_plane import SETTINGS
from tests.support.keys import KEYS
from tests.support.nats import NatsServer
from tests.support.platform_nats import connect

DATA_KEY = b"d" * 32
# A service in small: it encrypts with a key of its own, and notes each call.
SERVICE = """\
import base64, pathlib, sys
from cryptography.fernet import Fernet
folder = pathlib.Path(__file__).parent
service = Fernet(base64.urlsafe_b64encode(b"service" + b"-" * 25))
action, text = sys.argv[1], sys.stdin.readline().strip().encode()
with (folder / "calls").open("a") as calls:
    calls.write(action + "\\n")
print((service.encrypt if action == "wrap" else service.decrypt)(text).decode())
"""


@pytest.fixture
def command(tmp_path: Path) -> KeyCommand:
    (tmp_path / "service.py").write_text(SERVICE)
    return KeyCommand(f"{sys.executable} '{tmp_path / 'service.py'}'", KEYS)


async def test_a_program_wraps_the_keys_of_a_platform(
    bus: Bus, command: KeyCommand, tmp_path: Path
) -> None:
    made = await open_keys(bus, command, creates=True)
    opened = await open_keys(bus, command, creates=False)

    context = EventContext("shop", "v1", "team-a")
    assert opened.unseal(made.seal(context)) == context
    assert (tmp_path / "calls").read_text().split() == ["wrap", "unwrap", "unwrap"]


async def test_the_file_opens_what_it_has_wrapped_until_the_key_is_replaced(
    own_nats_server: NatsServer, command: KeyCommand, tmp_path: Path
) -> None:
    async with (
        connect(own_nats_server.login("one")) as bus,
        open_broker(bus, SETTINGS, KEYS, creates_keys=True),
    ):
        pass

    async with (
        connect(own_nats_server.login("two")) as bus,
        open_broker(bus, SETTINGS, command) as broker,
    ):
        assert not (tmp_path / "calls").exists()
        await KeyRotation(bus, broker.store).rotate(KeyKind.KEY_ENCRYPTION)

        [key] = broker.store.keys.ring.data_keys
        assert key.wrapped_by == "command"
        with pytest.raises(InvalidRequest, match="holds other keys"):
            await open_keys(bus, KEYS, creates=False)
        assert (await open_keys(bus, command, creates=False)).known == broker.store.keys.known


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("/no/such/program", "cannot be started: No such file"),
        ("sh -c 'echo access denied >&2; exit 3'", "exit code 3: access denied"),
        ("sh -c 'cat >/dev/null'", "wrote 0 characters"),
        ("sh -c 'yes | head -c 40000'", "wrote 39999 characters"),
        ("sh -c 'exec sleep 600'", "took longer than 0.5 s"),
    ],
)
async def test_a_program_that_fails_is_named_with_what_it_said(program: str, message: str) -> None:
    command = KeyCommand(program, KEYS, timeout_s=0.5 if "sleep" in program else 60)

    with pytest.raises(InvalidRequest, match=message) as caught:
        await command.wrap(DATA_KEY, "platform.keys/data_keys/1")

    assert "FOX_KEY_COMMAND wrap" in str(caught.value)


async def test_an_answer_that_is_no_key_is_refused() -> None:
    command = KeyCommand("sh -c 'cat >/dev/null; echo ???'", KEYS)

    with pytest.raises(InvalidRequest, match="wrote no base64"):
        await command.unwrap(WrappedKey("x", "command"), "platform.keys/data_keys/1")
