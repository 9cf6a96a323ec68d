"""The rate limit of each client."""

from __future__ import annotations

from adapters.http.rate_limit import RateLimit


def test_a_client_has_a_burst_and_then_a_rate() -> None:
    limit = RateLimit(per_s=2, burst=3)

    assert [limit.take("a", 10) for _ in range(4)] == [True, True, True, False]
    assert [limit.take("a", 10.5) for _ in range(2)] == [True, False]
    assert [limit.take("a", 100) for _ in range(4)] == [True, True, True, False]


def test_clients_do_not_share_their_limits() -> None:
    limit = RateLimit(per_s=1, burst=1)
    limit.take("a", 0)

    assert limit.take("b", 0)
    assert not limit.take("a", 0)


def test_the_memory_is_bounded() -> None:
    limit = RateLimit(per_s=1, burst=1, max_clients=10)

    for client in range(1_000):
        assert limit.take(str(client), 0)

    assert len(limit) == 10
    assert not limit.take("999", 0)
