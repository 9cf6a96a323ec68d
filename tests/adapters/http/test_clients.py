"""Trusted clients and direct requests."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from adapters.http.clients import Clients
from adapters.http.codec import ParsedRequest
from adapters.http.request import Request
from broker.runtime.settings import Settings
from routing.request import GenesisRequest
from routing.selectors import NO_SELECTORS


def request(remote: str, version: tuple[int, int] = (1, 1)) -> Request:
    return cast("Request", SimpleNamespace(remote=remote, message=SimpleNamespace(version=version)))


def parsed(host: str = "127.0.0.1:8080", **headers: str) -> ParsedRequest:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ParsedRequest(NO_SELECTORS, GenesisRequest(host=host), "", False, {**named})


def clients(networks: str = "127.0.0.0/8,::1/128", proxies: str = "", hosts: str = "") -> Clients:
    settings: dict[str, Any] = {
        "http_trusted_networks": networks,
        "http_trusted_proxies": proxies,
        "http_trusted_hosts": hosts,
    }
    return Clients(Settings(**settings))


@pytest.mark.parametrize(
    ("networks", "remote", "trusted"),
    [
        ("127.0.0.0/8,::1/128", "127.0.0.9", "127.0.0.9"),
        ("127.0.0.0/8,::1/128", "::1", "::1"),
        ("10.0.0.0/8 , fe80::/10", "fe80::1%eth0", "fe80::1"),
        ("10.0.0.0/8", "::ffff:10.1.2.3", "10.1.2.3"),
        ("10.0.0.0/8", "127.0.0.1", ""),
        ("10.0.0.7", "10.0.0.7", "10.0.0.7"),
        ("", "127.0.0.1", ""),
        ("0.0.0.0/0", "", ""),
    ],
)
def test_the_networks_decide_which_clients_are_trusted(
    networks: str, remote: str, trusted: str
) -> None:
    assert clients(networks).trusted_address(request(remote), parsed()) == trusted


@pytest.mark.parametrize(
    "header", ["forwarded", "x_forwarded_for", "x_forwarded_host", "x_real_ip", "via"]
)
def test_a_request_with_a_header_of_a_proxy_is_not_direct(header: str) -> None:
    asked = parsed(**{header: "127.0.0.1"})

    assert not clients().is_direct(request("127.0.0.1"), asked)
    assert clients().trusted_address(request("127.0.0.1"), asked) == ""


def test_a_request_of_http_1_0_is_not_direct() -> None:
    assert not clients().is_direct(request("127.0.0.1", (1, 0)), parsed())


@pytest.mark.parametrize(
    ("host", "is_direct"),
    [
        ("127.0.0.1:8080", True),
        ("[::1]:8080", True),
        ("10.1.2.3", True),
        ("localhost:8080", True),
        ("LOCALHOST.", True),
        ("shop.localhost", True),
        ("shop.test:80", True),
        ("kubefox", True),
        ("own.example.org", True),
        ("evil.example.com", False),
        ("127.0.0.1.evil.com", False),
        ("localhost.evil.com", False),
        ("evil.com@localhost", False),
        ("", False),
        ("x" * 300, False),
    ],
)
def test_a_host_name_that_can_be_rebound_is_not_direct(host: str, *, is_direct: bool) -> None:
    found = clients(hosts="own.example.org").is_direct(request("127.0.0.1"), parsed(host))

    assert found is is_direct


@pytest.mark.parametrize(
    ("origin", "is_direct"),
    [
        ("http://127.0.0.1:8080", True),
        ("http://localhost:3000", True),
        ("https://evil.com", False),
        ("null", False),
        ("file://", False),
        ("chrome-extension://localhost", False),
    ],
)
def test_a_request_of_a_foreign_page_is_not_direct(origin: str, *, is_direct: bool) -> None:
    assert clients().is_direct(request("127.0.0.1"), parsed(origin=origin)) is is_direct


@pytest.mark.parametrize(
    ("forwarded_for", "trusted"),
    [
        ("10.1.1.1", "10.1.1.1"),
        ("10.1.1.1, 127.0.0.1", "10.1.1.1"),
        ("10.1.1.1, 8.8.8.8", ""),
        ("10.1.1.1, unknown", ""),
        ("", ""),
        ("127.0.0.1", ""),
    ],
)
def test_a_known_proxy_names_the_client(forwarded_for: str, trusted: str) -> None:
    behind = clients("10.0.0.0/8", proxies="127.0.0.1")
    headers = {"x_forwarded_for": forwarded_for} if forwarded_for else {}

    assert behind.trusted_address(request("127.0.0.1", (1, 0)), parsed(**headers)) == trusted


def test_an_unknown_proxy_names_nobody() -> None:
    behind = clients("10.0.0.0/8", proxies="127.0.0.1")

    assert behind.trusted_address(request("10.0.0.5"), parsed(x_forwarded_for="10.1.1.1")) == ""
