from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubefox.secret_names import looks_secret

SECRETS = [["password"], ["token"], ["api", "key"], ["private", "key"], ["client", "secret"]]
PLAIN = st.sampled_from(["db", "shop", "my", "http", "v2"])


@pytest.mark.parametrize(
    "name",
    [
        *("password", "dbPassword", "DB_PASSWORD", "smtp-passwd", "PWD", "pwd2", "passphrase"),
        *("token", "githubToken", "GITHUB_TOKEN", "token_a", "bearer", "Authorization"),
        *("api_key", "apiKey", "APIKey", "apikey", "API-KEY", "stripe.api.key"),
        *("private_key", "privateKeyPem", "aws_secret_access_key", "AWSAccessKey", "client_secret"),
        *("credentials", "connectionString", "signing_key", "master key"),
    ],
)
def test_a_name_of_a_secret_is_recognised(name: str) -> None:
    assert looks_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        *("", "key", "keys", "keyboard", "monkey", "subPath", "greeting", "secretary", "tokenizer"),
        *("passenger", "bypass", "compass", "api", "private", "token_url", "passwordMinLength"),
        *("secret_name", "TOKEN_TTL", "tokenIssuer", "primary_key", "key_api", "path", "author"),
    ],
)
def test_another_name_is_not(name: str) -> None:
    assert not looks_secret(name)


@given(
    before=st.lists(PLAIN, max_size=2),
    secret=st.sampled_from(SECRETS),
    style=st.sampled_from(["_", "-", ".", "camel"]),
    is_upper=st.booleans(),
)
def test_the_style_of_a_name_does_not_matter(
    before: list[str], secret: list[str], style: str, is_upper: bool
) -> None:
    words = [*before, *secret]

    if style == "camel":
        name = words[0] + "".join(word.capitalize() for word in words[1:])
    else:
        name = style.join(words).upper() if is_upper else style.join(words)

    assert looks_secret(name)
