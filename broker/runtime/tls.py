"""The certificate of a TLS server, from files that may change while it serves.

A new certificate is served from the next connection on; open connections keep theirs. One that
cannot be used is refused with a log line, and the old one is served on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import ssl
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from kubefox.errors import InvalidRequest

logger = logging.getLogger(__name__)

CHECK_INTERVAL_S = 2.0
"""How often the files are looked at."""
HANDSHAKE_TIMEOUT_S = 10.0
"""Time in which a client must complete its handshake."""
# More than any chain of certificates has.
_MAX_BYTES = 1 << 20
_OTHERS_READ = stat.S_IROTH


class ServerCertificate:
    """A certificate and its key, as files in PEM form; made by ``load_certificate``.

    Args:
        certificate: File of the certificate, and of those that link it to its authority.
        key: File of its private key, without a password.
        settings: Names of the settings that name the files, for messages.

    Attributes:
        context: For the server; it serves the newest certificate that could be used.
        pem: The certificate that is served, with its chain.

    Raises:
        InvalidRequest: They cannot be used.
    """

    def __init__(self, certificate: Path, key: Path, settings: str) -> None:
        self._files = (certificate, key)
        self._settings = settings
        self._asked = asyncio.Event()
        self._seen = self._versions()
        self.pem, self._current = self._load()
        self.context = _server_context()
        self.context.sni_callback = self._choose

    def reload(self) -> bool:
        """Serve what the files hold now; return whether that is another certificate.

        If they cannot be used, that is logged, and the old certificate is served on.
        """
        self._seen = self._versions()
        try:
            pem, context = self._load()
        except InvalidRequest as error:
            logger.error("the old certificate is served on: %s", error.detail)  # noqa: TRY400
            return False
        is_new, self.pem, self._current = pem != self.pem, pem, context
        logger.info("new connections get the certificate in %s", self._files[0])
        return is_new

    def reload_if_changed(self) -> bool:
        """Do what ``reload`` does if a file has changed since it was read the last time."""
        return self._versions() != self._seen and self.reload()

    def ask_to_reload(self) -> None:
        """Make ``follow`` read the files now, also if they look unchanged."""
        self._asked.set()

    async def follow(self, on_new: Callable[[bytes], None] | None = None) -> None:
        """Serve each new certificate until cancelled.

        Args:
            on_new: Called with the new certificate and its chain, in a thread of its own.
        """
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CHECK_INTERVAL_S):
                    await self._asked.wait()
            read = self.reload if self._asked.is_set() else self.reload_if_changed
            self._asked.clear()
            if await asyncio.to_thread(read) and on_new is not None:
                await asyncio.to_thread(on_new, self.pem)

    def _choose(
        self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _context: ssl.SSLContext
    ) -> None:
        # OpenSSL calls this at each handshake, also for a client that names no host. Loading a
        # certificate into the context in use would keep an old one of another kind of key.
        connection.context = self._current

    def _load(self) -> tuple[bytes, ssl.SSLContext]:
        certificate, key = self._files
        context = _server_context()
        try:
            pem = _read(certificate)
            with _in_memory(pem) as first, _in_memory(_read(key)) as second:
                # A key with a password would otherwise ask for it on the terminal.
                context.load_cert_chain(first, second, password=lambda: b"")
        except (OSError, ValueError) as error:
            raise InvalidRequest(self._failure(error)) from error
        return pem, context

    def _failure(self, error: Exception) -> str:
        certificate, key = self._files
        if isinstance(error, ssl.SSLError):
            reason = _REASONS.get(error.reason or "", str(error))
        else:
            reason = str(error)
        return (
            f"certificate {certificate} with key {key} cannot be used ({self._settings}): {reason}"
        )

    def _versions(self) -> list[tuple[int, ...]]:
        return [_version(file) for file in self._files]


_REASONS = {
    "KEY_VALUES_MISMATCH": "the key belongs to another certificate",
    "NO_START_LINE": "a file is not in PEM form",
    "PEM_LIB": "a file is not in PEM form, is damaged, or needs a password",
}


def load_certificate(certificate: str, key: str, settings: str) -> ServerCertificate | None:
    """Return the certificate in these files; None if neither is set.

    Args:
        certificate: File of the certificate, or nothing.
        key: File of its key, or nothing.
        settings: Names of the settings that name the files: ``FOX_…_CERT and FOX_…_KEY``.

    Raises:
        InvalidRequest: Only one is set, or they cannot be used.
    """
    if not certificate and not key:
        return None
    if not certificate or not key:
        raise InvalidRequest(f"TLS needs a certificate and its key: set {settings}")
    loaded = ServerCertificate(Path(certificate), Path(key), settings)
    if Path(key).stat().st_mode & _OTHERS_READ:
        logger.warning("other users can read the private key %s: run chmod o-r on it", key)
    return loaded


def _server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])
    return context


def _read(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(_MAX_BYTES)


@contextlib.contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """Return a path to ``content``, so that what is loaded is what was read."""
    descriptor = os.memfd_create("kubefox-tls", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        yield f"/proc/self/fd/{descriptor}"


def _version(file: Path) -> tuple[int, ...]:
    try:
        status = file.stat()
    except OSError:
        return ()
    return status.st_mtime_ns, status.st_ino, status.st_size
