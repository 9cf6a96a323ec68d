"""The inputs: each is a series of requests, ready to be sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from benchmarks.e2e.kubefox import FIRST, KubeFox
from kubefox.formats import MAX_COMPONENTS

CONTEXTS = 40
HOSTS = 1_000
VALUES = 20_000


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """Requests that are sent one after another, again from the first one after the last one.

    Attributes:
        name: What they are.
        port: Of the HTTP adapter or of the control API.
        requests: With head and body.
        sent_once: Whether only the first time is expensive, so that they are not sent again.
    """

    name: str
    port: int
    requests: list[bytes]
    sent_once: bool = False


def make_contexts(kubefox: KubeFox) -> None:
    """Make virtual environments, each with a list of hosts of its own."""
    for number in range(CONTEXTS):
        hosts = [f"host-{number}-{host}.example.com" for host in range(HOSTS)]
        data = {
            "name": _context(number),
            "environment": "bench",
            "data": {"vars": {"hosts": hosts}},
        }
        kubefox.control.put("v1", "virtual-environments", _context(number), body=data)


def inputs(kubefox: KubeFox, control_port: int) -> Iterator[Input]:
    """Yield all inputs."""
    yield Input(
        name=f"first requests: 199 routes over a list of {HOSTS:,} hosts",
        port=kubefox.http_port,
        requests=[_first_request(number) for number in range(CONTEXTS)],
        sent_once=True,
    )
    header = {"x": "ab" * 30_000, "kubefox-explain": "1"}
    explained = f"/many/7?kf-dep={FIRST}&kf-ve={_context(0)}"
    for name, port, requests in (
        (f"a plan of {MAX_COMPONENTS} components", control_port, [_plan(kubefox, MAX_COMPONENTS)]),
        ("a plan of 20,000 hashes, refused", control_port, [_plan(kubefox, 20_000)]),
        ("a plan of 40,000 hashes, refused", control_port, [_plan(kubefox, 40_000)]),
        (f"an environment of {VALUES:,} values", control_port, [_environment(kubefox)]),
        ("an explanation of 199 routes", kubefox.http_port, [_request("GET", explained, header)]),
        ("statistics", control_port, [_request("GET", "/v1/stats", kubefox.credentials)]),
    ):
        yield Input(name=name, port=port, requests=requests)


def _first_request(number: int) -> bytes:
    headers = {"host": f"host-{number}-7.example.com"}
    return _request("GET", f"/many/7?kf-dep={FIRST}&kf-ve={_context(number)}", headers)


def _context(number: int) -> str:
    return f"many-{number}"


def _plan(kubefox: KubeFox, count: int) -> bytes:
    components = {f"c{number}": f"{number:032x}" for number in range(count)}
    body = {"name": "planned", "app": "bench", "components": components}
    return _request("POST", "/v1/plans", kubefox.credentials, body=body)


def _environment(kubefox: KubeFox) -> bytes:
    values = {f"name-{number}": number for number in range(VALUES)}
    body = {"name": "large", "data": {"vars": values}}
    return _request("PUT", "/v1/environments/large", kubefox.credentials, body=body)


def _request(
    method: str, target: str, headers: Mapping[str, str] | None = None, *, body: object = None
) -> bytes:
    content = b"" if body is None else msgspec.json.encode(body)
    lines = {
        "host": "localhost",
        "content-type": "application/json",
        "content-length": str(len(content)),
        **(headers or {}),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + content
