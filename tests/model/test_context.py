import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model import context as contexts
from model.component import ComponentDefinition, Dependency, DependencyKind, Variable
from model.context import ComponentView, EventContext, seal, unseal, view_of
from model.deployment import Deployment
from model.errors import ComponentMismatch, InvalidEvent

KEY = b"k" * 32
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
DEFINITIONS = {each.name: each for each in (API, UI, WORKER)}

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
def test_a_sealed_context_comes_back_with_the_same_key(context: EventContext, key: bytes) -> None:
    assert unseal(seal(context, key), key) == context


@given(event_contexts)
def test_a_token_can_stand_in_a_url_and_a_header(context: EventContext) -> None:
    token = seal(context, KEY)

    assert token.isascii()
    assert token.replace("-", "").replace("_", "").isalnum()


def test_a_token_sealed_with_another_key_is_refused() -> None:
    with pytest.raises(InvalidEvent, match="not sealed by this platform"):
        unseal(seal(CONTEXT, KEY), b"another key")


@given(st.data())
def test_a_token_with_one_character_changed_is_refused(data: st.DataObject) -> None:
    token = seal(CONTEXT, KEY)
    # The last character may hold spare bits, which say nothing.
    index = data.draw(st.integers(0, len(token) - 2))
    other = data.draw(st.sampled_from("AZaz09-_").filter(lambda each: each != token[index]))

    with pytest.raises(InvalidEvent):
        unseal(token[:index] + other + token[index + 1 :], KEY)


@given(st.text())
def test_text_at_random_is_refused_and_nothing_else_is_raised(token: str) -> None:
    with pytest.raises(InvalidEvent):
        unseal(token, KEY)


def test_a_sealed_text_that_is_no_context_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contexts, "_encode", lambda _: msgspec.msgpack.encode(["one field"]))
    token = seal(CONTEXT, KEY)

    with pytest.raises(InvalidEvent, match="cannot be read"):
        unseal(token, KEY)


def test_a_view_repeats_the_claims_of_its_context() -> None:
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


def test_a_view_names_the_subject_of_each_declared_dependency() -> None:
    assert view("order-ui").targets == {"api-server": f"evt.order-app.api-server.{'a' * 32}"}
    assert view("api-server").targets == {"state-store": "adapter.state-store"}


def test_a_view_names_who_of_the_deployment_declared_it() -> None:
    assert view("api-server").callers == {contexts.source_name("order-ui", "o" * 32)}
    assert view("order-ui").callers == frozenset()


def test_an_adapter_signs_its_events_by_its_kind() -> None:
    assert contexts.adapter_source("http") == "adapter/http"
