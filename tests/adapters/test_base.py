from __future__ import annotations

import pytest

from adapters import base
from adapters.base import AdapterFactory
from kubefox.errors import NotFound
from tests.adapters.adapter_contract import AdapterContract


class TestInstalledAdapters(AdapterContract):
    @pytest.fixture(params=base.kinds())
    def factory(self, request: pytest.FixtureRequest) -> AdapterFactory:
        return base.load(request.param)


def test_the_built_in_adapters_are_installed() -> None:
    assert {"cron", "emit", "http", "state-store"} <= set(base.kinds())


@pytest.mark.parametrize("kind", base.kinds())
def test_the_name_of_an_entry_point_is_the_adapters_kind(kind: str) -> None:
    assert getattr(base.load(kind), "kind", None) == kind


def test_an_unknown_kind_is_refused_with_the_installed_ones() -> None:
    with pytest.raises(NotFound, match=r"'pigeon' .*state-store"):
        base.load("pigeon")
