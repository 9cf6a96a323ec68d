"""The login of a pod to NATS: from its runner by a socket or a pipe, or none."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping

import msgspec

from broker.nats.credentials.login_channel import (
    PodLogin,
    RemoteSigner,
    adopt_channel,
)
from broker.nats.credentials.login_channel import (
    read_login as read_line,
)
from broker.nats.credentials.signer import Signer
from broker.runtime.tokens import new_token
from kubefox import subjects


class LoginSource(msgspec.Struct, frozen=True, kw_only=True):
    """Where a login comes from: one of them.

    Attributes:
        channel_fd: Descriptor of a socket to the pod runner, which keeps the key, or None.
        pipe_fd: Descriptor of a pipe with the login and its key, or None.
        url: Address of a NATS that needs no credentials.
    """

    channel_fd: int | None = None
    pipe_fd: int | None = None
    url: str = ""

    @property
    def is_missing(self) -> bool:
        """Whether only an address can be used."""
        return self.channel_fd is None and self.pipe_fd is None


def login_source(environ: Mapping[str, str]) -> LoginSource:
    """Return where the login of a pod with these variables comes from."""
    channel, pipe = environ.get("FOX_NATS_LOGIN_FD"), environ.get("FOX_NATS_OWN_LOGIN_FD")
    return LoginSource(
        channel_fd=int(channel) if channel else None,
        pipe_fd=int(pipe) if pipe else None,
        url=environ.get("FOX_NATS_URL", ""),
    )


def read_login(source: LoginSource, pod: str) -> tuple[PodLogin, Signer | None]:
    """Return the login to NATS, and what signs it, unless NATS requires no credentials.

    Args:
        source: Where it comes from.
        pod: Id of the pod.

    Raises:
        OSError: The runner has ended.
        msgspec.MsgspecError: The login is not valid.
    """
    if source.pipe_fd is not None:
        return _read_with_key(source.pipe_fd)
    if source.channel_fd is None:
        # A restarted pod keeps its id, but must not receive replies to the process before it.
        process_id = subjects.pod_process_id(pod, new_token())
        return PodLogin(url=source.url, process_id=process_id), None
    channel = adopt_channel(source.channel_fd)
    login = read_line(channel)
    return login, RemoteSigner(channel, login.token) if login.token else None


def _read_with_key(descriptor: int) -> tuple[PodLogin, Signer | None]:
    # It imports cryptography, which other pods do without.
    logins = importlib.import_module("broker.nats.credentials.login")
    with os.fdopen(descriptor, "rb") as pipe:
        login = logins.decode_login(pipe.read())
    token = login.credentials.token if login.credentials else ""
    return PodLogin(url=login.url, process_id=login.process_id, token=token), login.credentials
