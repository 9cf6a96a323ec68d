import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubefox.errors import InvalidRequest
from pods.pod_environ import inherited, parse_names

NAMES = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ_", min_size=1)


@given(st.dictionaries(NAMES, st.text()), st.lists(NAMES))
def test_only_allowed_and_named_variables_are_passed_on(
    environ: dict[str, str], named: list[str]
) -> None:
    passed = inherited(environ, named)

    assert all(environ[name] == value for name, value in passed.items())
    assert all(name in passed for name in named if name in environ)
    others = set(passed) - set(named) - {"PATH", "LANG", "LANGUAGE", "TZ", "LD_LIBRARY_PATH"}
    assert all(name.startswith(("LC_", "OTEL_", "FOX_")) for name in others)


def test_keys_of_the_shell_and_settings_of_the_platform_stay_behind() -> None:
    environ = {
        "PATH": "/bin",
        "LC_ALL": "C",
        "FOX_HOLD_S": "3",
        "FOX_NATS_URL": "nats://fox:s3cret@localhost",
        "AWS_SECRET_ACCESS_KEY": "s3cret",
        "PYTHONPATH": "/home/ann/code",
        "SSH_AUTH_SOCK": "/tmp/agent",
    }

    passed = inherited(environ, ())

    assert passed == {"PATH": "/bin", "LC_ALL": "C", "FOX_HOLD_S": "3"}


def test_names_are_separated_by_commas_and_blanks_do_not_count() -> None:
    assert parse_names(" A, B_C ,,") == ("A", "B_C")
    assert parse_names("") == ()


def test_a_variable_of_the_platform_cannot_be_named() -> None:
    with pytest.raises(InvalidRequest, match="FOX_POD_ENV names FOX_NATS_URL"):
        parse_names("A,FOX_NATS_URL")
