"""The private names of nats-py and asyncio exist in the installed versions, and all are listed."""

from __future__ import annotations

import ast
import asyncio
import inspect
from importlib.metadata import version
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.aio.transport import TcpTransport
from nats.js import JetStreamContext
from nats.protocol.parser import AWAITING_CONTROL_LINE, Parser

from broker import nats
from broker.nats.private_api import PRIVATE_NAMES, NameKind, PrivateName

INSTALLED = f"nats-py {version('nats-py')}, see broker/nats/private_api.py"


def new_instance(owner: type) -> object:
    """Return an instance as nats-py makes it, before any connection."""
    if owner is Subscription:
        return Subscription(Client(), id=7)
    if owner is Parser:
        return Parser(Client())
    if owner is JetStreamContext:
        return JetStreamContext(Client())
    assert owner in (Client, TcpTransport, asyncio.StreamReader)
    return owner()


def label(private: PrivateName) -> str:
    return f"{private.owner.__name__}.{private.name}"


@pytest.mark.parametrize("private", PRIVATE_NAMES, ids=label)
async def test_the_installed_version_has_the_private_name(private: PrivateName) -> None:
    found = getattr(new_instance(private.owner), private.name, None)
    if private.kind is NameKind.ATTRIBUTE:
        assert private.name in vars(new_instance(private.owner)), INSTALLED
        return

    assert callable(found), INSTALLED
    assert inspect.iscoroutinefunction(found) == (private.kind is NameKind.COROUTINE), INSTALLED
    assert tuple(inspect.signature(found).parameters) == private.parameters, INSTALLED


async def test_the_private_attributes_have_the_values_that_the_fast_path_expects() -> None:
    client, transport, parser = Client(), TcpTransport(), Parser(Client())

    assert isinstance(client._ps, Parser), INSTALLED
    assert client._pending == [], INSTALLED
    assert client._status == Client.DISCONNECTED != Client.CONNECTED, INSTALLED
    assert client._max_payload == client.max_payload > 0, INSTALLED
    assert transport._io_writer is None, INSTALLED
    assert (bytes(parser.buf), parser.state) == (b"", AWAITING_CONTROL_LINE), INSTALLED
    assert Subscription(client, id=7)._id == 7, INSTALLED
    assert len(asyncio.StreamReader()._buffer) == 0, INSTALLED  # type: ignore[attr-defined]


def private_names_used_by(module: Path) -> set[str]:
    """Return the private names that a module uses and no class in it defines."""
    used, defined = set(), set()
    for node in ast.walk(ast.parse(module.read_text())):
        match node:
            case ast.Attribute(attr=name) if is_private(name):
                used.add(name)
                if isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
                    defined.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if is_private(name):
                defined.add(name)
    return used - defined


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


@pytest.mark.parametrize("module", sorted(Path(nats.__file__).parent.glob("*.py")), ids=str)
def test_every_private_name_in_use_is_listed(module: Path) -> None:
    listed = {private.name for private in PRIVATE_NAMES if private.used_by == module.stem}

    assert private_names_used_by(module) <= listed
