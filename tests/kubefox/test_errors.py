import msgspec
import pytest

from kubefox import errors, subjects
from kubefox.context import source_name
from kubefox.errors import (
    Draining,
    ErrorDetail,
    FoxError,
    InternalError,
    NotFound,
    Overloaded,
    Problem,
    ProblemsFound,
    Unavailable,
    from_detail,
)
from kubefox.refusal import Refusal

# The tree of the module; rooms above may have kinds of their own that never cross the wire.
KINDS = [
    subclass
    for subclass in errors._subclasses(FoxError)
    if subclass is not FoxError and subclass.__module__ == errors.__name__
]


def make(kind: type[FoxError]) -> FoxError:
    return ProblemsFound("bad", ()) if issubclass(kind, ProblemsFound) else kind("bad", hop="a@1")


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_keeps_its_class_over_the_wire(kind: type[FoxError]) -> None:
    sent = make(kind)

    received = from_detail(sent.to_detail())

    assert type(received) is kind
    assert (received.detail, received.hop, str(received)) == (sent.detail, sent.hop, "bad")


@pytest.mark.parametrize("refusal", Refusal)
def test_an_error_keeps_the_reason_of_its_refusal_over_the_wire(refusal: Refusal) -> None:
    sent = Overloaded("bad", refusal=refusal)

    assert from_detail(sent.to_detail()).refusal is refusal


def test_only_errors_that_refuse_an_event_have_a_reason() -> None:
    assert from_detail(Draining("bad").to_detail()).refusal is Refusal.DRAINING
    assert from_detail(NotFound("bad").to_detail()).refusal is None


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
def test_errors_shorten_the_hash_of_a_component_version(hop: str, shown: str) -> None:
    error = FoxError(f"time ran out in {hop}, which waited", hop=hop)

    assert (error.hop, error.detail) == (shown, f"time ran out in {shown}, which waited")
    assert str(error) == error.detail


def test_errors_keep_the_whole_hash_of_a_bundle() -> None:
    digest = "0123456789abcdef" * 2

    assert digest in FoxError(f"there is no bundle {digest}").detail


def test_every_error_class_has_a_unique_code() -> None:
    assert len({kind.code for kind in KINDS}) == len(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_class_is_in_the_tree_with_its_status(kind: type[FoxError]) -> None:
    assert errors.__doc__ is not None
    lines = [line for line in errors.__doc__.splitlines() if f" {kind.__name__} " in f"{line} "]

    assert len(lines) == 1
    assert str(kind.http_status) in lines[0] or "http_status" not in vars(kind)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if issubclass(kind, Unavailable)])
def test_unavailable_errors_have_a_retry_after(kind: type[Unavailable]) -> None:
    assert kind.http_status == 503
    assert kind.retry_after_s >= 1


def test_a_retry_after_crosses_the_wire() -> None:
    sent = Overloaded("busy")
    sent.retry_after_s = 7

    received = from_detail(sent.to_detail())

    assert isinstance(received, Overloaded)
    assert received.retry_after_s == 7


def test_an_unknown_code_becomes_an_internal_error() -> None:
    error = from_detail(ErrorDetail("made_up_later", "text", "hop", "a later reason"))

    assert type(error) is InternalError
    assert (error.hop, error.refusal) == ("hop", None)


def test_problems_are_kept_in_order() -> None:
    first, second = (Problem(type="T", message=text, path="p") for text in ("b", "a"))

    assert ProblemsFound("two", (first, second)).problems == (first, second)


def test_text_with_lone_surrogates_is_sent_with_replacements() -> None:
    detail = NotFound("no order \ud800", hop="\udcff").to_detail()

    sent = msgspec.msgpack.encode(detail)

    assert msgspec.msgpack.decode(sent, type=ErrorDetail) == ErrorDetail(
        "not_found", "no order ?", "?"
    )
