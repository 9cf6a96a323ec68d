"""Subjects name what they are made of, and nothing else, also if it was received."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubefox import subjects
from kubefox.senders import PLATFORM_APP, Sender


def test_the_source_of_an_event_names_the_version_that_sent_it() -> None:
    assert subjects.of_source("shop", "order-ui@0f") == "evt.shop.order-ui.0f"


@pytest.mark.parametrize(
    "source",
    [
        "",
        "adapter/http",
        "ui",
        "ui@",
        "@0f",
        "ui@0f@1",
        "ui.>@0f",
        "ui@*",
        "ui @0f",
        "ui@0f\r\nPUB",
    ],
)
def test_any_other_text_names_no_subject(source: str) -> None:
    assert not subjects.of_source("shop", source)


NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)
DIGESTS = st.text("0123456789abcdef", min_size=32, max_size=32)
PODS = st.builds(lambda app, name, digest: Sender(app, f"{name}@{digest}"), NAMES, NAMES, DIGESTS)
PROCESSES = st.sampled_from(("platform", "adapter/http", "adapter/cron", "adapter/emit")).map(
    lambda source: Sender(PLATFORM_APP, source)
)
SENDERS = PODS | PROCESSES
COMPONENTS = st.builds(subjects.component, NAMES, NAMES, DIGESTS)
TARGETS = COMPONENTS | NAMES.map(subjects.adapter)


@given(TARGETS, SENDERS)
def test_the_target_of_a_request_is_found_in_its_subject(target: str, sender: Sender) -> None:
    subject = subjects.request_to(target, sender)

    assert subjects.target_of_request(subject) == subjects.target_of_request(target) == target
    assert subjects.hop(subject) == subjects.hop(target)
    assert fnmatchcase(subject, subjects.requests_to(target))
    assert subject.count(".") == subjects.requests_to(target).count(".")


@given(SENDERS)
def test_the_sender_is_found_in_every_subject_that_names_it(sender: Sender) -> None:
    made = (
        subjects.view(sender),
        subjects.wake(sender),
        subjects.figures_of(sender),
        subjects.spans_of(sender),
        subjects.kept_spans_of(sender),
        subjects.request_to(subjects.adapter("state-store"), sender),
    )

    assert {subjects.sender_of(subject) for subject in made} == {sender}


@given(PODS, PROCESSES)
def test_no_pod_has_the_name_of_a_process_of_the_platform(pod: Sender, process: Sender) -> None:
    assert (pod.is_pod, process.is_pod) == (True, False)
    assert pod.source != process.source
    assert pod.app != process.app


@given(COMPONENTS)
def test_a_stored_event_and_a_request_have_different_subjects(target: str) -> None:
    emitted = subjects.emitted(target)

    assert subjects.target_of(emitted) == target
    assert subjects.source_at(target) == "@".join(subjects.version_of(target)[1:])


@given(NAMES, st.text("0123456789abcdef", min_size=16, max_size=16))
def test_the_subjects_of_a_process_are_told_apart(process: str, token: str) -> None:
    reply, stream, begin = (
        prefix(process) + token
        for prefix in (subjects.reply_prefix, subjects.stream_prefix, subjects.begins)
    )

    assert subjects.is_stream(stream)
    assert subjects.is_begin(begin)
    assert not any(map(subjects.is_stream, (reply, begin, f"{stream}.>", f"{stream}\r\n")))
    assert not any(map(subjects.is_begin, (reply, stream, f"{begin}.>", f"{begin} x")))
    assert all(subject.startswith(subjects.REPLY) for subject in (reply, stream, begin))
    assert not subjects.inbox(process, "many").startswith(subjects.REPLY)
    assert {subjects.replies_of(subject) for subject in (reply, stream)} == {f"reply.{process}."}
