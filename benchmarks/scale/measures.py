"""All measures of one site in one round, by name; the report shows them in this order."""

from __future__ import annotations

import statistics
from collections.abc import AsyncIterator

import msgspec

from benchmarks.scale import reads, traffic, waits
from benchmarks.scale.changes import Changer
from benchmarks.scale.site import Site
from benchmarks.support.rounds import Sender

MIB = 1 << 20
FEW_PREVIEWS = 10_000
"""Previews with traffic when the metrics are scraped."""


class Effort(msgspec.Struct, frozen=True, kw_only=True):
    """How long to measure.

    Attributes:
        rounds: Rounds in which the sites take turns.
        repeats: Changes of each kind, creations and releases in a round.
        burst: Number of changes that are made at once.
        duration_s: Time of a load beside changes, and of the changes of 8 clients.
        most_previews: Number of previews that are requested at most.
    """

    rounds: int
    repeats: int
    burst: int
    duration_s: float
    most_previews: int


FULL = Effort(rounds=2, repeats=30, burst=500, duration_s=3, most_previews=100_000)
SHORT = Effort(rounds=1, repeats=5, burst=50, duration_s=1, most_previews=2_000)


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One value.

    Attributes:
        name: Name of the measured quantity, with its unit.
        value: The value.
    """

    name: str
    value: float


async def once(site: Site, sender: Sender, effort: Effort) -> AsyncIterator[Measured]:
    """Measure what belongs to the start of a site, and request its previews."""
    yield Measured(name="start → first 200, s", value=site.first_answer_s)
    for role, size in site.rss_bytes().items():
        yield Measured(name=f"memory of {role} after its start, MiB", value=size / MIB)
    first = await traffic.first_visits_per_s(site, sender, effort.most_previews)
    yield Measured(name="first requests of previews, /s", value=first)
    scraped = min(FEW_PREVIEWS, effort.most_previews)
    await traffic.visit(site, sender, min(site.size, scraped))
    for name, value in _scrape(await reads.scrape(site)).items():
        yield Measured(
            name=f"/metrics after traffic in {FEW_PREVIEWS:,} previews, {name}", value=value
        )
    wait_ms = await waits.longest_wait_ms(site, sender, reads.scrape(site), 1)
    yield Measured(name="longest wait beside a scrape, ms", value=wait_ms)


async def each_round(site: Site, sender: Sender, effort: Effort) -> AsyncIterator[Measured]:
    """Measure what is repeated in each round."""
    changer = await Changer.at(site)
    async for measured in _changes(changer, effort):
        yield measured
    async for measured in _waits(site, sender, changer, effort):
        yield measured
    async for measured in _reads(site, sender):
        yield measured
    found = await traffic.cycling(site, sender, changer, effort.most_previews)
    of_hot = f"× those to {traffic.HOT}"
    name = f"requests in turn after a change of their environment, {of_hot}"
    yield Measured(name=name, value=found.after_change)
    yield Measured(name=f"requests in turn, {of_hot}", value=found.known)


async def _changes(changer: Changer, effort: Effort) -> AsyncIterator[Measured]:
    for kind, by_role in (await changer.cpu_ms(effort.repeats)).items():
        for role, value in by_role.items():
            yield Measured(name=f"{kind}: CPU of {role}, ms", value=value)
    rate = await changer.rate_per_s(effort.duration_s)
    yield Measured(name="changes/s of 8 clients", value=rate)
    times = [await changer.creation_ms() for _ in range(effort.repeats)]
    yield Measured(name="creation of a preview, ms", value=statistics.median(times))
    for name, is_used in (("unused", False), ("overlaid", True)):
        seconds = await changer.environment_s(is_used=is_used)
        yield Measured(name=f"change of an environment, {name} variable, ms", value=seconds * 1e3)


async def _waits(
    site: Site, sender: Sender, changer: Changer, effort: Effort
) -> AsyncIterator[Measured]:
    alone = await waits.release_ms(site, changer, effort.repeats)
    yield Measured(name="release → first answer, p50 in ms", value=statistics.median(alone))
    beside = await waits.release_beside_others_ms(site, changer, effort.repeats)
    name = f"the same beside {waits.OTHERS_PER_S:g} changes/s of others, p50 in ms"
    yield Measured(name=name, value=statistics.median(beside))
    duration_s = effort.duration_s
    for name, work in (
        ("at rest", None),
        (
            f"beside {waits.OTHERS_PER_S:g} changes/s",
            changer.make_at_rate(waits.OTHERS_PER_S, duration_s / 2),
        ),
        (f"beside {effort.burst} changes at once", changer.burst(effort.burst)),
        ("beside a whole list", reads.whole_list(site)),
    ):
        value = await waits.longest_wait_ms(site, sender, work, duration_s)
        yield Measured(name=f"longest wait {name}, ms", value=value)


async def _reads(site: Site, sender: Sender) -> AsyncIterator[Measured]:
    page = await reads.first_page(site)
    yield Measured(name="first page of deployments, ms", value=page.seconds * 1e3)
    yield Measured(name="first page of deployments, kB", value=page.size_bytes / 1e3)
    whole = await reads.whole_list(site)
    yield Measured(name="all pages of deployments, s", value=whole.seconds)
    command = await reads.command(site)
    yield Measured(name="fox get deployments, first line, s", value=command.first_s)
    yield Measured(name="fox get deployments, s", value=command.seconds)


def _scrape(read: reads.Read) -> dict[str, float]:
    return {
        "MB": read.size_bytes / 1e6,
        "ms": read.seconds * 1e3,
        "CPU in ms": read.cpu_ms,
    }
