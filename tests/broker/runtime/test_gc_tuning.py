"""The garbage collector of a process that serves."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from broker.runtime.gc_tuning import collection_paused, freeze_imported, tune_for_serving


@pytest.fixture
def restored_gc() -> Iterator[None]:
    threshold = gc.get_threshold()
    yield
    gc.set_threshold(*threshold)
    gc.unfreeze()
    gc.enable()


@pytest.mark.usefixtures("restored_gc")
def test_existing_objects_are_frozen_for_serving() -> None:
    tune_for_serving()

    assert gc.get_freeze_count() > 0


@pytest.mark.usefixtures("restored_gc")
def test_garbage_is_collected_before_the_loop_runs_and_not_when_serving_begins() -> None:
    collections = [generation["collections"] for generation in gc.get_stats()]

    freeze_imported()
    before_loop = [generation["collections"] for generation in gc.get_stats()]
    tune_for_serving()

    assert before_loop[2] == collections[2] + 1
    assert gc.get_stats()[2]["collections"] == before_loop[2]


@pytest.mark.usefixtures("restored_gc")
def test_two_loads_at_once_pause_collection_until_both_have_ended() -> None:
    first, second = collection_paused(), collection_paused()
    first.__enter__()

    with second:
        first.__exit__(None, None, None)
        assert not gc.isenabled()

    assert gc.isenabled()


@pytest.mark.usefixtures("restored_gc")
def test_collections_for_serving_are_small_and_whole_ones_are_rare() -> None:
    tune_for_serving()

    youngest, middle, oldest = gc.get_threshold()
    assert youngest >= 1_000
    assert youngest * (middle + 1) <= 3_000
    assert youngest * middle * oldest >= 10_000_000


@pytest.mark.usefixtures("restored_gc")
@pytest.mark.parametrize("was_enabled", [True, False])
def test_collection_is_paused_during_a_load_and_as_before_after_it(was_enabled: bool) -> None:
    if not was_enabled:
        gc.disable()

    with collection_paused():
        assert not gc.isenabled()

    assert gc.isenabled() == was_enabled
