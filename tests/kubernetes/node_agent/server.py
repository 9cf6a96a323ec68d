"""The server of a node, as a kubelet's: the API server asks it for what only a node has.

``kubectl logs`` and its kind reach it through the API server, which finds its address and port in
the status of the node. The API server does not check its certificate, unless it is told to.
"""

from __future__ import annotations

import contextlib
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.kubernetes.node_agent.container import Container
from tests.kubernetes.node_agent.container_log import LogRequest

FindContainer = Callable[[str, str, str], Container | None]
"""Returns the container of a namespace, a pod and a name, if it is on the node."""

_DAY = timedelta(days=1)


def log_routes(find: FindContainer) -> list[web.RouteDef]:
    """Return the routes that serve the logs of containers."""

    async def serve(request: web.Request) -> web.StreamResponse:
        names = request.match_info
        found = find(names["namespace"], names["pod"], names["container"])
        if found is None:
            raise web.HTTPNotFound(text=f"pod {names['pod']} does not exist on this node")
        wanted = _log_request(request)
        name = f'container "{names["container"]}" in pod "{names["pod"]}"'
        if wanted.previous and not found.log.previous.exists():
            raise web.HTTPBadRequest(text=f"previous terminated {name} not found")
        if not found.log.file.exists():
            raise web.HTTPBadRequest(text=f"{name} is waiting to start: ContainerCreating")
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        async with contextlib.aclosing(found.log.read(wanted)) as lines:
            async for line in lines:
                # As with a kubelet, the answer begins with the first line.
                await response.prepare(request)
                await response.write(line)
        return response

    return [web.get("/containerLogs/{namespace}/{pod}/{container}", serve)]


def _log_request(request: web.Request) -> LogRequest:
    query = request.query
    since = query.get("sinceTime")
    if "sinceSeconds" in query:
        since = (datetime.now(UTC) - timedelta(seconds=int(query["sinceSeconds"]))).isoformat()
    return LogRequest(
        follow=query.get("follow") == "true",
        previous=query.get("previous") == "true",
        timestamps=query.get("timestamps") == "true",
        tail_lines=int(query["tailLines"]) if "tailLines" in query else None,
        since=datetime.fromisoformat(since) if since else None,
        limit_bytes=int(query["limitBytes"]) if "limitBytes" in query else None,
    )


@contextlib.asynccontextmanager
async def serve_node(address: str, routes: Iterable[web.RouteDef]) -> AsyncIterator[int]:
    """Serve over HTTPS at an address until the context ends; yield the port."""
    application = web.Application()
    application.add_routes(routes)
    # A handler ends when its client has left: a log may be silent for ever.
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, address, 0, ssl_context=_tls(address))
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _tls(name: str) -> ssl.SSLContext:
    """Return a TLS context with a certificate that nobody has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _DAY)
        .sign(key, hashes.SHA256())
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "node.pem")
        file.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            + certificate.public_bytes(Encoding.PEM)
        )
        context.load_cert_chain(file)
    return context
