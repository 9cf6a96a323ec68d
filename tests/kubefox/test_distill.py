from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from kubefox.deployment import Deployment
from kubefox.distill import Plan, Step, Version, distill, versions_in_use

APP = "order-app"
V1 = {"order-worker": "w1", "api-server": "a1", "order-ui": "u1"}
V2 = {**V1, "api-server": "a2"}
V3 = {**V2, "order-ui": "u3", "review": "r3"}

components = st.dictionaries(st.sampled_from("abcd"), st.sampled_from("123"), max_size=4)
stored = st.dictionaries(st.sampled_from(["v1", "v2", "v3"]), components, max_size=3)


def deployments(**maps: dict[str, str]) -> dict[str, Deployment]:
    return {
        name: Deployment(name=name, app=APP, components=components)
        for name, components in maps.items()
    }


def uses(**maps: dict[str, str]) -> Counter[Version]:
    """Return how many of the deployments use each component version."""
    return Counter(
        Version(APP, component, digest)
        for mapping in maps.values()
        for component, digest in mapping.items()
    )


def replanned(name: str, components: dict[str, str], before: dict[str, dict[str, str]]) -> Plan:
    """Return the plan for a name that may be there."""
    replaced = deployments(**before).get(name)
    return distill(name, APP, components, uses(**before), replaced=replaced)


def steps(plan: Plan) -> list[tuple[str, str, Step]]:
    return [(component.component, component.hash, component.step) for component in plan.components]


def test_every_component_of_the_first_deployment_is_new() -> None:
    plan = distill("v1", APP, V1, {})

    assert plan.count(Step.NEW) == 3
    assert plan.missing_bundles == ("a1", "u1", "w1")


def test_the_second_version_adds_only_what_changed() -> None:
    plan = distill("v2", APP, V2, uses(v1=V1), bundles=["a1", "u1", "w1"])

    assert steps(plan) == [
        ("api-server", "a2", Step.NEW),
        ("order-ui", "u1", Step.REUSED),
        ("order-worker", "w1", Step.REUSED),
    ]
    assert plan.missing_bundles == ("a2",)


def test_the_story_ends_with_six_versions_in_use() -> None:
    plan = distill("v3", APP, V3, uses(v1=V1, v2=V2))

    assert (plan.count(Step.NEW), plan.count(Step.REUSED)) == (2, 2)
    assert len(versions_in_use(deployments(v1=V1, v2=V2, v3=V3).values())) == 6


def test_deploying_the_same_again_changes_nothing() -> None:
    plan = distill(
        "v1",
        APP,
        V1,
        uses(v1=V1),
        replaced=deployments(v1=V1)["v1"],
        bundles=V1.values(),
    )

    assert plan.count(Step.REUSED) == len(plan.components) == 3
    assert plan.missing_bundles == ()


def test_a_replaced_deployment_lists_versions_no_longer_used_last() -> None:
    plan = replanned("dev", {"api-server": "a2"}, {"dev": {"api-server": "a9"}})

    assert steps(plan) == [
        ("api-server", "a2", Step.NEW),
        ("api-server", "a9", Step.NO_LONGER_USED),
    ]
    plan = replanned("dev", {"api-server": "a9"}, {"dev": {"api-server": "a2"}})
    assert steps(plan) == [
        ("api-server", "a9", Step.NEW),
        ("api-server", "a2", Step.NO_LONGER_USED),
    ]


def test_undeploying_keeps_versions_of_other_deployments() -> None:
    plan = replanned("v1", {}, {"v1": V1, "v2": V2})

    assert steps(plan) == [("api-server", "a1", Step.NO_LONGER_USED)]


def test_equal_hashes_of_two_apps_are_two_versions() -> None:
    plan = distill("other", "other-app", {"api-server": "a1"}, uses(v1=V1))

    assert steps(plan) == [("api-server", "a1", Step.NEW)]


@given(stored, st.sampled_from(["v1", "v2", "v3"]), components)
def test_applying_a_plan_gives_exactly_the_versions_in_use(
    before: dict[str, dict[str, str]], name: str, wanted: dict[str, str]
) -> None:
    plan = replanned(name, wanted, before)

    running = versions_in_use(deployments(**before).values())
    for component in plan.components:
        version = Version(APP, component.component, component.hash)
        assert (version in running) == (component.step is not Step.NEW)
        if component.step is Step.NO_LONGER_USED:
            running -= {version}
        else:
            running |= {version}
    assert running == versions_in_use(deployments(**{**before, name: wanted}).values())
