"""Settings from the environment and from flags."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker.settings import Settings, load, misspelt
from model.errors import InvalidRequest


def test_without_anything_there_are_defaults() -> None:
    assert load({}) == Settings()


def test_every_field_is_read_from_its_variable() -> None:
    settings = load(
        {
            "FOX_NATS_URL": "nats://h:1",
            "FOX_DATA_DIR": "/data",
            "FOX_HTTP_HOST": "::1",
            "FOX_HTTP_PORT": "0",
            "FOX_EVENT_TTL_S": "2.5",
            "FOX_BODY_LIMIT_BYTES": "1024",
            "FOX_LOG_FORMAT": "json",
            "FOX_LOG_LEVEL": "DEBUG",
            "HTTP_PORT": "1",
            "FOX_UNKNOWN": "of somebody else",
        }
    )

    assert settings == Settings(
        nats_url="nats://h:1",
        data_dir=Path("/data"),
        http_host="::1",
        http_port=0,
        event_ttl_s=2.5,
        body_limit_bytes=1024,
        log_format="json",
        log_level="DEBUG",
    )


def test_a_flag_wins_over_a_variable_and_none_is_no_flag() -> None:
    environ = {"FOX_HTTP_PORT": "1", "FOX_DATA_DIR": "a"}

    settings = load(environ, http_port=2, data_dir=None, log_level=None)

    assert settings == Settings(http_port=2, data_dir=Path("a"))


def test_pods_need_not_say_that_they_live() -> None:
    assert load({"FOX_POD_LIVENESS_S": "0"}) == Settings(pod_liveness_s=0)


def test_pods_sleep_only_if_they_are_told_to() -> None:
    assert load({}).pod_idle_s == 0
    assert load({"FOX_POD_IDLE_S": "600"}) == Settings(pod_idle_s=600)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("FOX_HTTP_PORT", "http"),
        ("FOX_HTTP_PORT", "-1"),
        ("FOX_CONTROL_PORT", "65536"),
        ("FOX_CONTROL_PORT", "1.5"),
        ("FOX_EVENT_TTL_S", "0"),
        ("FOX_EVENT_TTL_S", "inf"),
        ("FOX_EVENT_TTL_S", "nan"),
        ("FOX_DRAIN_S", "-1"),
        ("FOX_POD_LIVENESS_S", "0.5"),
        ("FOX_POD_LIVENESS_S", "-1"),
        ("FOX_POD_LIVENESS_S", "inf"),
        ("FOX_POD_LIVENESS_S", "nan"),
        ("FOX_POD_IDLE_S", "0.5"),
        ("FOX_POD_IDLE_S", "-1"),
        ("FOX_POD_IDLE_S", "inf"),
        ("FOX_BODY_LIMIT_BYTES", "0"),
        ("FOX_BODY_LIMIT_BYTES", "5MB"),
        ("FOX_LOG_FORMAT", "xml"),
        ("FOX_LOG_LEVEL", "loud"),
    ],
)
def test_a_value_that_is_none_is_named_with_its_variable(variable: str, value: str) -> None:
    with pytest.raises(InvalidRequest, match=f"{variable}='{value}': "):
        load({variable: value})


def test_every_bad_value_is_reported_at_once() -> None:
    with pytest.raises(InvalidRequest) as caught:
        load({"FOX_HTTP_PORT": "x", "FOX_LOG_LEVEL": "loud"}, event_ttl_s=-1)

    for variable in ("FOX_HTTP_PORT", "FOX_LOG_LEVEL", "FOX_EVENT_TTL_S"):
        assert variable in caught.value.detail


def test_a_misspelt_variable_is_told_with_the_one_that_was_meant() -> None:
    environ = dict.fromkeys(["FOX_HTTP_PROT", "FOX_POD_IDLE", "FOX_BODY_LIMIT_BYTE"], "1")

    assert misspelt(environ) == {
        "FOX_HTTP_PROT": "FOX_HTTP_PORT",
        "FOX_POD_IDLE": "FOX_POD_IDLE_S",
        "FOX_BODY_LIMIT_BYTE": "FOX_BODY_LIMIT_BYTES",
    }


@pytest.mark.parametrize(
    "variable",
    ["FOX_HTTP_PORT", "FOX_CONTROL_URL", "FOX_HTTP_SERVICE_PORT", "FOX_SERVICE_HOST", "HTTP_PORT"],
)
def test_what_is_read_or_is_of_somebody_else_is_not_told(variable: str) -> None:
    assert misspelt({variable: "1"}) == {}
