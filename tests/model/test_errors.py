import msgspec
import pytest

from model import errors, subjects
from model.context import source_name
from model.errors import (
    ErrorDetail,
    FoxError,
    InternalError,
    NotFound,
    Problem,
    ProblemsFound,
    Unavailable,
    from_detail,
)

# The tree of the module; rooms above may have kinds of their own that never cross the wire.
KINDS = [
    each
    for each in errors._subclasses(FoxError)
    if each is not FoxError and each.__module__ == errors.__name__
]


def make(kind: type[FoxError]) -> FoxError:
    return ProblemsFound("bad", ()) if issubclass(kind, ProblemsFound) else kind("bad", hop="a@1")


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_keeps_its_kind_over_the_wire(kind: type[FoxError]) -> None:
    sent = make(kind)

    received = from_detail(sent.to_detail())

    assert type(received) is kind
    assert (received.detail, received.hop, str(received)) == (sent.detail, sent.hop, "bad")


@pytest.mark.parametrize(
    ("hop", "shown"),
    [
        (source_name("api", "0123456789abcdef" * 2), "api@0123456789ab"),
        (subjects.hop(f"evt.shop.api.{'0123456789abcdef' * 2}"), "api@0123456789ab"),
        ("api@0123456789ab", "api@0123456789ab"),
        ("adapter/state-store", "adapter/state-store"),
        ("", ""),
    ],
)
def test_a_component_version_is_named_in_one_form(hop: str, shown: str) -> None:
    error = FoxError(f"time ran out in {hop}, which waited", hop=hop)

    assert (error.hop, error.detail) == (shown, f"time ran out in {shown}, which waited")
    assert str(error) == error.detail


def test_the_hash_of_a_bundle_is_told_whole() -> None:
    digest = "0123456789abcdef" * 2

    assert digest in FoxError(f"there is no bundle {digest}").detail


def test_every_kind_has_a_code_of_its_own() -> None:
    assert len({each.code for each in KINDS}) == len(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_drawn_in_the_tree_with_its_status(kind: type[FoxError]) -> None:
    assert errors.__doc__ is not None
    lines = [line for line in errors.__doc__.splitlines() if f" {kind.__name__} " in f"{line} "]

    assert len(lines) == 1
    assert str(kind.http_status) in lines[0] or "http_status" not in vars(kind)


@pytest.mark.parametrize("kind", [each for each in KINDS if issubclass(each, Unavailable)])
def test_what_may_succeed_later_says_when(kind: type[Unavailable]) -> None:
    assert kind.http_status == 503
    assert kind.retry_after_s >= 1


def test_a_code_of_a_newer_peer_becomes_an_internal_error() -> None:
    error = from_detail(ErrorDetail("made_up_later", "text", "hop"))

    assert type(error) is InternalError
    assert error.hop == "hop"


def test_problems_are_kept_in_order() -> None:
    first, second = (Problem(type="T", message=text, path="p") for text in ("b", "a"))

    assert ProblemsFound("two", (first, second)).problems == (first, second)


def test_text_that_is_no_utf_8_travels_all_the_same() -> None:
    detail = NotFound("no order \ud800", hop="\udcff").to_detail()

    sent = msgspec.msgpack.encode(detail)

    assert msgspec.msgpack.decode(sent, type=ErrorDetail) == ErrorDetail(
        "not_found", "no order ?", "?"
    )
