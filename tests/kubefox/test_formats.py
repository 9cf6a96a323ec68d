"""A text that has one of the formats stands safely in a subject, a key and a URL."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubefox import formats, subjects
from kubefox.formats import Format, Range, Size, optional

FORMATS = [each for each in vars(formats).values() if isinstance(each, Format)]
# These become tokens of NATS subjects and of keys in NATS.
IN_SUBJECTS = [
    formats.NAME,
    formats.HASH,
    formats.POD_ID,
    formats.RELEASE_ID,
    formats.DEAD_LETTER_ID,
]
# Characters that NATS gives a meaning, and some that are like a letter or digit.
ODD = st.text("ab0-_. *>$\t\r\n\0\x7f/\u0661ä\u200b", max_size=70)

in_subjects = st.sampled_from(IN_SUBJECTS)


def texts_of(form: Format) -> st.SearchStrategy[str]:
    """Return texts of a format."""
    pattern = re.compile(form.pattern, re.ASCII)
    return st.from_regex(pattern, fullmatch=True).filter(form.accepts)


@given(in_subjects, ODD | st.text())
def test_whatever_a_format_accepts_is_one_token_of_a_subject(form: Format, text: str) -> None:
    assert not form.accepts(text) or re.fullmatch(r"[A-Za-z0-9_-]+", text)


@given(in_subjects.flatmap(texts_of), st.sampled_from(" .*>\t\r\n\0/ä"), st.data())
def test_one_odd_character_anywhere_makes_a_text_invalid(
    text: str, odd: str, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(text)))
    spoiled = text[:at] + odd + text[at:]

    assert not any(form.accepts(spoiled) for form in IN_SUBJECTS)


@given(texts_of(formats.NAME), texts_of(formats.NAME), texts_of(formats.HASH))
def test_a_subject_of_valid_names_is_of_exactly_these_names(
    app: str, component: str, digest: str
) -> None:
    target = subjects.component(app, component, digest)

    assert subjects.version_of(target) == (app, component, digest)
    assert subjects.target_of(subjects.dead_letter(target)) == target
    assert subjects.of_source(app, f"{component}@{digest}") == target


@given(st.sampled_from(FORMATS), ODD | st.text())
def test_the_schema_accepts_the_same_texts(form: Format, text: str) -> None:
    for each in (form, optional(form)):
        schema = each.schema
        # In ECMA 262, ^ and $ are the ends of the text.
        is_valid = re.fullmatch(schema["pattern"][1:-1], text) is not None
        assert each.accepts(text) == (is_valid and len(text) <= schema["maxLength"])


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.noun)
def test_a_text_that_is_too_long_is_refused_in_a_short_message(form: Format) -> None:
    fault = form.fault("1" * 100_000)

    assert fault.startswith(form.noun)
    assert form.expected in fault
    assert len(fault) < 500


@pytest.mark.parametrize(
    ("allowed", "accepted", "refused"),
    [
        (Range(minimum=1, maximum=5), (1, 5), (0, 6, float("nan"))),
        (Range(minimum=0, is_above_minimum=True), (0.1, 1e300), (0, -1, float("nan"))),
    ],
)
def test_a_range_refuses_what_is_outside_of_it(
    allowed: Range, accepted: tuple[float, ...], refused: tuple[float, ...]
) -> None:
    assert not any(map(allowed.fault, accepted))
    assert all(map(allowed.fault, refused))


def test_a_size_names_a_key_of_another_format() -> None:
    size = Size(max_entries=2, keys=formats.NAME)

    assert size.fault({"a": 1, "b": 2}) == ""
    assert "'b.*'" in size.fault({"a": 1, "b.*": 2})
    assert "3 entries" in size.fault({"a": 1, "b": 2, "c": 3})


@pytest.mark.parametrize(
    "image",
    [
        "registry.example/api@{}",
        "registry.example/team/api:1.0@{}",
        "registry.example:5000/team/a_b/c__d/e--f.g@{}",
        "localhost/api@{}",
        "registry:5000/api@{}",
        "10.0.0.7:5000/api:V_1.-@{}",
    ],
)
def test_an_image_has_a_registry_a_repository_and_a_digest(image: str) -> None:
    assert formats.IMAGE.accepts(image.format("sha256:" + "0f" * 32))


@pytest.mark.parametrize(
    "image",
    [
        "registry.example/team/api",
        "registry.example/team/api:1.0",
        "api@sha256:{0}",
        "team/api@sha256:{0}",
        "registry.example@sha256:{0}",
        "registry.example/@sha256:{0}",
        "registry.example//api@sha256:{0}",
        "registry.example/Api@sha256:{0}",
        "registry.example/a..b@sha256:{0}",
        "registry.example/a___b@sha256:{0}",
        "registry.example/api:@sha256:{0}",
        "registry.example:x/api@sha256:{0}",
        "https://registry.example/api@sha256:{0}",
        "registry.example/api@sha256:{0}0",
        "registry.example/api@sha256:F{0}",
        "registry.example/api@sha512:{0}",
        "registry.example/api@sha256:{0}\n",
        " registry.example/api@sha256:{0}",
    ],
)
def test_an_image_whose_content_or_place_is_open_is_not_valid(image: str) -> None:
    text = image.format("0f" * 32)

    assert "as in registry.example/team/api@sha256:" in formats.IMAGE.fault(text)


@given(texts_of(formats.IMAGE), st.sampled_from(" \t\n\0,*ä?"), st.data())
def test_one_odd_character_anywhere_makes_an_image_invalid(
    image: str, odd: str, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(image)))

    assert not formats.IMAGE.accepts(image[:at] + odd + image[at:])


@given(texts_of(formats.IMAGE), st.integers(1, 71))
def test_an_image_with_a_part_of_its_digest_is_not_valid(image: str, missing: int) -> None:
    assert not formats.IMAGE.accepts(image[:-missing])
