"""Settings from the environment and from flags."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from broker.runtime.settings import Settings, find_misspelled, load
from kubefox.errors import InvalidRequest


def test_without_variables_and_flags_the_defaults_hold() -> None:
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
            "FOX_UNKNOWN": "unrelated",
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


def test_a_flag_wins_over_a_variable_unless_it_is_none() -> None:
    environ = {"FOX_HTTP_PORT": "1", "FOX_DATA_DIR": "a"}

    settings = load(environ, http_port=2, data_dir=None, log_level=None)

    assert settings == Settings(http_port=2, data_dir=Path("a"))


def test_zero_disables_the_liveness_check() -> None:
    assert load({"FOX_POD_LIVENESS_S": "0"}) == Settings(pod_liveness_s=0)


def test_zero_removes_the_limits_of_pods() -> None:
    settings = load({"FOX_POD_MEMORY_MIB": "0", "FOX_POD_OPEN_FILES": "0"})

    assert settings == Settings(pod_memory_mib=0, pod_open_files=0)


def test_idle_pods_are_stopped_only_if_the_setting_is_given() -> None:
    assert load({}).pod_idle_s == 0
    assert load({"FOX_POD_IDLE_S": "600"}) == Settings(pod_idle_s=600)


def test_host_names_of_the_control_api_are_separated_by_commas() -> None:
    assert load({}).control_names == ()
    settings = load({"FOX_CONTROL_ALLOWED_HOSTS": "fox.example, kubefox-control,"})
    assert settings.control_names == ("fox.example", "kubefox-control")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("FOX_CONTROL_ALLOWED_HOSTS", "http://fox.example"),
        ("FOX_CONTROL_ALLOWED_HOSTS", "fox.example:8081"),
        ("FOX_CONTROL_ALLOWED_HOSTS", "fox example"),
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
def test_an_invalid_value_is_named_with_its_variable(variable: str, value: str) -> None:
    with pytest.raises(InvalidRequest, match=f"{variable}='{value}': "):
        load({variable: value})


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("FOX_POD_IDLE_S", "abc", "a number"),
        ("FOX_BODY_LIMIT_BYTES", "5MB", "a whole number"),
        ("FOX_TELEMETRY", "perhaps", "true or false"),
        ("FOX_POD_MEMORY_MIB", "63", "0, or a whole number of at least 64"),
        ("FOX_POD_OPEN_FILES", "-1", "0, or a whole number of at least 64"),
    ],
)
def test_a_value_that_is_not_accepted_is_reported_in_plain_words(
    variable: str, value: str, expected: str
) -> None:
    with pytest.raises(InvalidRequest, match=f"{variable}='{value}': expected {expected}$"):
        load({variable: value})


def test_all_invalid_values_are_reported_at_once() -> None:
    with pytest.raises(InvalidRequest) as caught:
        load({"FOX_HTTP_PORT": "x", "FOX_LOG_LEVEL": "loud"}, event_ttl_s=-1)

    for variable in ("FOX_HTTP_PORT", "FOX_LOG_LEVEL", "FOX_EVENT_TTL_S"):
        assert variable in caught.value.detail


def test_a_misspelled_variable_is_found_with_the_likely_setting() -> None:
    environ = dict.fromkeys(["FOX_HTTP_PROT", "FOX_POD_IDLE", "FOX_BODY_LIMIT_BYTE"], "1")

    assert find_misspelled(environ) == {
        "FOX_HTTP_PROT": "FOX_HTTP_PORT",
        "FOX_POD_IDLE": "FOX_POD_IDLE_S",
        "FOX_BODY_LIMIT_BYTE": "FOX_BODY_LIMIT_BYTES",
    }


@pytest.mark.parametrize(
    "variable",
    ["FOX_HTTP_PORT", "FOX_CONTROL_URL", "FOX_HTTP_SERVICE_PORT", "FOX_SERVICE_HOST", "HTTP_PORT"],
)
def test_settings_and_unrelated_variables_are_not_misspelled(variable: str) -> None:
    assert find_misspelled({variable: "1"}) == {}


def test_every_setting_has_a_description() -> None:
    documented = re.findall(r"^ {4,8}(\w+): [A-Z]", Settings.__doc__ or "", re.MULTILINE)

    assert documented == [field.name for field in msgspec.structs.fields(Settings)]
