"""Answers that cannot be read, and those that report a failure."""

from __future__ import annotations

import pytest

from broker.answers import read_answer
from model import codec
from model.errors import ComponentFailed, NoPodReady
from model.event import Response


def test_an_answer_comes_back_whole() -> None:
    head, body = read_answer(codec.encode(Response(status=201), b"made"))

    assert (head.status, bytes(body)) == (201, b"made")


def test_a_reported_failure_is_raised_as_what_it_was() -> None:
    failure = NoPodReady("no pod", hop="api@1")

    with pytest.raises(NoPodReady, match="no pod") as caught:
        read_answer(codec.encode(Response(status=0, error=failure.to_detail())))

    assert caught.value.hop == "api@1"


@pytest.mark.parametrize("frame", [b"", b"garbage", b"\x02\x00\x00\x00", b"\x01\x00\x00\x02\xc1"])
def test_an_unreadable_answer_is_the_components_fault(frame: bytes) -> None:
    with pytest.raises(ComponentFailed, match="cannot be read"):
        read_answer(frame)


def test_an_answer_whose_body_is_to_come_from_anywhere_else_is_the_components_fault() -> None:
    frame = codec.encode(Response(status=200, stream="$KV.kubefox.x 0\r\n\r\nPUB y"))

    with pytest.raises(ComponentFailed, match="names no stream"):
        read_answer(frame)
