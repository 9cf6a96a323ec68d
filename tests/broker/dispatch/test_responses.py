"""Responses that are invalid, and those that report a failure."""

from __future__ import annotations

import pytest

from broker.dispatch.responses import read_response
from kubefox import codec
from kubefox.errors import ComponentFailed, NoPodReady
from kubefox.event import ResponseHead


def test_a_response_is_read_whole() -> None:
    head, body = read_response(codec.encode(ResponseHead(status=201), b"made"))

    assert (head.status, bytes(body)) == (201, b"made")


def test_a_reported_failure_is_raised_as_its_error() -> None:
    failure = NoPodReady("no pod", hop="api@1")

    with pytest.raises(NoPodReady, match="no pod") as caught:
        read_response(codec.encode(ResponseHead(status=0, error=failure.to_detail())))

    assert caught.value.hop == "api@1"


@pytest.mark.parametrize("frame", [b"", b"garbage", b"\x02\x00\x00\x00", b"\x01\x00\x00\x02\xc1"])
def test_an_undecodable_response_is_a_failure_of_the_component(frame: bytes) -> None:
    with pytest.raises(ComponentFailed, match="cannot be decoded"):
        read_response(frame)


def test_a_response_with_an_invalid_stream_is_a_failure_of_the_component() -> None:
    frame = codec.encode(ResponseHead(status=200, stream="$KV.kubefox.x 0\r\n\r\nPUB y"))

    with pytest.raises(ComponentFailed, match="names an invalid stream"):
        read_response(frame)
