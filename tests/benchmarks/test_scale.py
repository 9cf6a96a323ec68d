"""The benchmark of scale: growth, needs of other platforms, and one short run of it."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.scale.__main__ import DOCUMENT, RESULTS
from benchmarks.scale.capacity import UnitCosts, Wanted, first_limit, needs
from benchmarks.scale.growth import exponent, per_item
from benchmarks.scale.report import Report, page
from benchmarks.support.document import placed

COSTS = UnitCosts(
    preview_bytes=2_000,
    router_bytes=50 << 20,
    preview_s=1e-5,
    pod_bytes=32 << 20,
    control_us=2_000,
    router_us=200,
    nats_us=100,
    follower_us=5,
    change_bytes=500,
)
SIZES = st.lists(st.integers(1, 1_000_000), min_size=2, max_size=5, unique=True)


@given(sizes=SIZES, power=st.floats(-2, 2), factor=st.floats(0.01, 100))
def test_the_exponent_of_a_power_is_the_power(
    sizes: list[int], power: float, factor: float
) -> None:
    costs = [factor * size**power for size in sizes]

    assert exponent(sizes, costs) == pytest.approx(power, abs=1e-6)


def test_one_size_has_no_exponent() -> None:
    with pytest.raises(ValueError, match="two sizes"):
        exponent([100, 100], [1, 2])


@given(sizes=SIZES, each=st.floats(-100, 100), base=st.floats(0, 1000))
def test_the_cost_of_one_more_is_the_slope(sizes: list[int], each: float, base: float) -> None:
    costs = [base + each * size for size in sizes]

    assert per_item(sizes, costs) == pytest.approx(each, abs=1e-3)


def test_a_platform_needs_the_sum_of_its_unit_costs() -> None:
    wanted = Wanted(previews=100_000, pods=64, changes_per_s=100, http_hosts=1_000)

    found = {need.resource: need.amount for need in needs(COSTS, wanted)}

    assert found == {
        "CPU of control": pytest.approx(0.2),
        "CPU of each HTTP host, for changes": pytest.approx(0.02),
        "CPU of nats-server, for changes": pytest.approx(0.51),
        "network of nats-server": pytest.approx(50),
        "memory of a routing process": pytest.approx(50 + 100_000 * 2_000 / (1 << 20)),
        "memory of all pods": pytest.approx(2),
        "start until it routes": pytest.approx(1),
    }


@pytest.mark.parametrize(
    ("http_hosts", "resource"),
    [(1, "CPU of control"), (1_000, "CPU of nats-server, for changes")],
)
def test_the_first_limit_is_the_resource_with_the_largest_share(
    http_hosts: int, resource: str
) -> None:
    wanted = Wanted(previews=1_000, pods=10, changes_per_s=10, http_hosts=http_hosts)

    assert first_limit(needs(COSTS, wanted)).resource == resource


def test_the_page_shows_the_results_that_are_kept() -> None:
    report = msgspec.json.decode(RESULTS.read_bytes(), type=Report)

    assert placed(DOCUMENT, "scale") == page(report) + "\n"


@pytest.mark.timeout(400)
def test_two_sizes_are_measured_side_by_side() -> None:
    command = (sys.executable, "-m", "benchmarks.scale", "--sizes", "100,10000", "--short")

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    head = next(line for line in done.stdout.splitlines() if line.startswith("|"))
    assert head == "|  | 100 | 10,000 | ratio | exponent |"
