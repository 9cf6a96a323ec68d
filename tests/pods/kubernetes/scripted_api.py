"""An HTTP server that answers as the API of a cluster does, for faults that no real one makes."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiohttp import web

from pods.kubernetes.api import Api, open_api
from pods.kubernetes.cluster import Cluster

Object = dict[str, Any]


class ScriptedApi:
    """The objects that were written, and the lists and watches that a test has prepared.

    Attributes:
        objects: The objects by their path.
        calls: Method and path of each call, in order.
        grace_s: Grace times of the pods that were deleted, in order.
        refused: Names of the objects whose changes are refused.
        collections: Objects in the lists of some collections, by path; all other lists are those
            of ``lists``.
        lists: Bodies of the next lists; the last one is repeated.
        watches: Lines of the next watches; the last one is repeated. Each ends after its lines.
        busy: Refusals of the next calls: status, and the header ``Retry-After`` unless it is empty.
    """

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        self.calls: list[tuple[str, str]] = []
        self.grace_s: list[int] = []
        self.refused: set[str] = set()
        self.collections: dict[str, list[Object]] = {}
        self.lists: list[bytes] = []
        self.watches: list[list[bytes]] = []
        self.busy: list[tuple[int, str]] = []
        self.url = ""

    @property
    def writes(self) -> list[str]:
        """Names of the written objects with their collection, in order."""
        return ["/".join(path.split("/")[-2:]) for method, path in self.calls if method == "PATCH"]

    def count(self, kind: str) -> int:
        """Return how many lists (``list``) or watches (``watch``) were asked for."""
        return sum(method == kind for method, _ in self.calls)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a call."""
        path = request.path
        if self.busy:
            self.calls.append(("busy", path))
            status, wait_s = self.busy.pop(0)
            return _refusal(status, "too many calls", {"Retry-After": wait_s} if wait_s else {})
        if request.method == "GET":
            return await self._read(request)
        self.calls.append((request.method, path))
        if path.rpartition("/")[2] in self.refused:
            return _refusal(403, "refused by a policy")
        if request.method == "DELETE":
            options = json.loads(await request.read())
            self.grace_s += [options[key] for key in ("gracePeriodSeconds",) if key in options]
            self.objects.pop(path, None)
            return web.json_response({})
        if "apply" not in request.content_type and path not in self.objects:
            return _refusal(404, "not found")
        found = self.objects.setdefault(path, {"metadata": {"generation": 0}})
        given = json.loads(await request.read())
        found["spec"] = {**found.get("spec", {}), **given.get("spec", {})}
        found["metadata"]["generation"] += 1
        return web.json_response(found)

    async def _read(self, request: web.BaseRequest) -> web.StreamResponse:
        kind = "watch" if "watch" in request.query else "list"
        self.calls.append((kind, request.path))
        if request.path.rpartition("/")[2] in self.refused:
            return _refusal(403, "refused by a policy")
        if kind == "list" and request.path in self.collections:
            items = self.collections[request.path]
            return web.json_response({"items": items, "metadata": {"resourceVersion": "1"}})
        if kind == "list":
            body = self.lists.pop(0) if len(self.lists) > 1 else self.lists[0]
            return web.Response(body=body, content_type="application/json")
        lines = self.watches.pop(0) if len(self.watches) > 1 else self.watches[0]
        return web.Response(body=b"".join(line + b"\n" for line in lines))


def _refusal(status: int, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    content = {"message": message, "code": status}
    return web.json_response(content, status=status, headers=headers)


@contextlib.asynccontextmanager
async def scripted_api() -> AsyncIterator[tuple[ScriptedApi, Api]]:
    """Serve on a free port of the loopback address."""
    script = ScriptedApi()
    runner = web.ServerRunner(web.Server(script.answer))
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        script.url = f"http://{host}:{port}"
        async with open_api(Cluster(server=script.url, namespace="shop")) as api:
            yield script, api
    finally:
        await runner.cleanup()
