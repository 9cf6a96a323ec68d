import base64
import hmac

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubefox.component import ComponentDefinition, Dependency, DependencyKind, Variable
from kubefox.context import (
    LEGACY_KEY,
    MAC_BYTES,
    ComponentView,
    EventContext,
    adapter_source,
    seal,
    sealing_key_of,
    source_name,
    unchecked,
    unseal,
    view_of,
)
from kubefox.deployment import Deployment
from kubefox.errors import ComponentMismatch, InvalidEvent

KEY = b"k" * 32
KEYS = {"1f2e": KEY, "other": b"o" * 32, LEGACY_KEY: b"l" * 32}
CONTEXT = EventContext("order-app", "order-app-v1", "team-a", deployment_revision=7)
HASHES = {name: name[0] * 32 for name in ("order-ui", "api-server", "worker")}
DEPLOYMENT = Deployment(name="order-app-v1", app="order-app", components=HASHES)
API = ComponentDefinition(
    name="api-server",
    dependencies=(Dependency(name="state-store", kind=DependencyKind.ADAPTER),),
    variables=(
        Variable(name="greeting", default="Hello"),
        Variable(name="tax", default=0),
        Variable(name="required"),
    ),
)
UI = ComponentDefinition(
    name="order-ui",
    dependencies=(Dependency(name="api-server"), Dependency(name="not-deployed")),
)
WORKER = ComponentDefinition(
    name="worker",
    # An adapter of the same name is another edge than the component.
    dependencies=(Dependency(name="api-server", kind=DependencyKind.ADAPTER),),
)
DEFINITIONS = {definition.name: definition for definition in (API, UI, WORKER)}

names = st.text(max_size=10)
revisions = st.integers(0, 2**63 - 1)
event_contexts = st.builds(
    EventContext, names, names, names, names, names, revisions, revisions, revisions
)


def view(component: str, **values: str) -> ComponentView:
    return view_of(
        CONTEXT, DEPLOYMENT, DEFINITIONS, dict(values), component, HASHES.get(component, "f" * 32)
    )


@given(event_contexts, st.binary(min_size=1))
def test_unseal_returns_the_sealed_context(context: EventContext, key: bytes) -> None:
    token = seal(context, "1f2e", key)

    assert unseal(token, {"1f2e": key}) == unchecked(token) == context
    assert sealing_key_of(token) == "1f2e"


@given(event_contexts)
def test_a_token_is_safe_in_a_url_and_a_header(context: EventContext) -> None:
    token = seal(context, "1f2e", KEY)

    assert token.isascii()
    assert token.replace("-", "").replace("_", "").replace(".", "").isalnum()


def test_a_token_sealed_with_another_key_is_refused() -> None:
    with pytest.raises(InvalidEvent, match="not sealed by this platform"):
        unseal(seal(CONTEXT, "other", KEY), KEYS)


def test_a_token_of_a_key_that_was_removed_is_refused() -> None:
    with pytest.raises(InvalidEvent, match="too old"):
        unseal(seal(CONTEXT, "removed", KEY), KEYS)


def test_a_token_of_an_earlier_version_has_no_key_id() -> None:
    token = seal(CONTEXT, "", KEYS[LEGACY_KEY]).removeprefix(".")

    assert sealing_key_of(token) == LEGACY_KEY
    assert unseal(token, KEYS) == unchecked(token) == CONTEXT


@given(st.data())
def test_a_token_with_one_character_changed_is_refused(data: st.DataObject) -> None:
    token = seal(CONTEXT, "1f2e", KEY)
    # The last character may hold spare bits, which are not decoded.
    index = data.draw(st.integers(0, len(token) - 2))
    other = data.draw(
        st.sampled_from("AZaz09-_").filter(lambda character: character != token[index])
    )

    with pytest.raises(InvalidEvent):
        unseal(token[:index] + other + token[index + 1 :], KEYS)


@given(st.text())
def test_a_random_text_is_no_token(token: str) -> None:
    with pytest.raises(InvalidEvent):
        unseal(token, KEYS)


def test_a_sealed_text_that_is_no_context_is_refused() -> None:
    claims = msgspec.msgpack.encode(["one field"])
    mac = hmac.digest(KEYS[LEGACY_KEY], claims, "sha256")[:MAC_BYTES]
    token = base64.urlsafe_b64encode(mac + claims).decode().rstrip("=")

    with pytest.raises(InvalidEvent, match="cannot be read"):
        unseal(token, KEYS)


def test_a_view_has_the_names_of_its_context() -> None:
    seen = view("api-server")

    assert (seen.app, seen.deployment, seen.virtual_environment, seen.release) == (
        "order-app",
        "order-app-v1",
        "team-a",
        "",
    )


@pytest.mark.parametrize("component", ["review", "order-ui"])
def test_a_component_version_outside_the_deployment_has_no_view(component: str) -> None:
    with pytest.raises(ComponentMismatch, match=f"{component}@{'f' * 12} is not part") as caught:
        view_of(CONTEXT, DEPLOYMENT, DEFINITIONS, {}, component, "f" * 32)

    assert caught.value.hop == f"{component}@{'f' * 12}"


def test_a_view_holds_only_declared_variables_with_their_defaults() -> None:
    seen = view("api-server", greeting="Hi", other="not declared")

    assert seen.vars == {"greeting": "Hi", "tax": 0}
    assert seen.missing_vars == {"required"}
    assert view("api-server", required="x").missing_vars == frozenset()


def test_a_view_names_the_subject_of_each_declared_dependency() -> None:
    assert view("order-ui").targets == {"api-server": f"evt.order-app.api-server.{'a' * 32}"}
    assert view("api-server").targets == {"state-store": "adapter.state-store"}


def test_a_view_names_the_callers_that_declare_the_component() -> None:
    assert view("api-server").callers == {source_name("order-ui", "o" * 32)}
    assert view("order-ui").callers == frozenset()


def test_the_source_of_an_adapter_has_its_kind() -> None:
    assert adapter_source("http") == "adapter/http"
