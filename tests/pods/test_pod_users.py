import pytest

from kubefox.errors import InvalidRequest, Unavailable
from pods.pod_users import PodUsers, parse_uids


def test_each_pod_gets_a_user_of_its_own_and_gives_it_back() -> None:
    users = PodUsers((5, 6))

    one, two = users.take(), users.take()
    users.release(one)

    assert (one, two) == (5, 6)
    assert users.take() == 5


def test_a_pod_without_a_free_user_does_not_start() -> None:
    users = PodUsers((5, 5))
    users.take()

    with pytest.raises(Unavailable, match="all 1 users of FOX_POD_UIDS"):
        users.take()


def test_without_a_range_all_pods_have_the_users_of_the_platform() -> None:
    users = PodUsers(None)

    assert [users.take(), users.take()] == [0, 0]


def test_a_range_is_the_first_and_the_last_id() -> None:
    assert parse_uids("61184-65519") == (61_184, 65_519)
    assert parse_uids("") is None


@pytest.mark.parametrize("text", ["5", "0-9", "9-5", "a-b", "-5", "5-"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="FOX_POD_UIDS="):
        parse_uids(text)
