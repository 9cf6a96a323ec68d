"""Which resource may use a Secret of the cluster: one that the Secret names."""

from __future__ import annotations

from typing import Any

import pytest

from fox.custom_resources.cluster_objects import ResourceFault, ResourceKey
from fox.custom_resources.cluster_writer import ClusterWriter
from kubefox.custom_resources import ENVIRONMENT, VIRTUAL_ENVIRONMENT
from pods.kubernetes.api import Api, ApiError
from pods.kubernetes.pace import Pace

DEV = ResourceKey(ENVIRONMENT, "dev")
ALLOWING = "kubefox.xigxog.io/environments"


class AnsweringApi(Api):
    """An API that has one answer for the Secret, or one error."""

    def __init__(self, answer: dict[str, Any] | ApiError) -> None:
        self._answer = answer

    async def get(self, path: str) -> dict[str, Any]:
        assert path == "/api/v1/namespaces/shop/secrets/keys"
        if isinstance(self._answer, ApiError):
            raise self._answer
        return self._answer


def secret(annotations: dict[str, str] | None) -> dict[str, Any]:
    meta = {"name": "keys"} if annotations is None else {"name": "keys", "annotations": annotations}
    return {"metadata": meta, "data": {"token": "czNjcmV0"}}


async def read(answer: dict[str, Any] | ApiError, key: ResourceKey = DEV) -> dict[str, str]:
    writer = ClusterWriter(AnsweringApi(answer), "shop", Pace(20, 40))
    return await writer.read_secret(key, "keys")


@pytest.mark.parametrize("names", ["dev", "prod,dev", " prod , dev "])
async def test_a_secret_that_names_the_resource_is_read(names: str) -> None:
    assert await read(secret({ALLOWING: names})) == {"token": "s3cret"}


@pytest.mark.parametrize(
    "answer",
    [
        secret(None),
        secret({ALLOWING: ""}),
        secret({ALLOWING: "dev-2,de,*"}),
        secret({"kubefox.xigxog.io/virtualenvironments": "dev"}),
        ApiError(404, "not found"),
        ApiError(403, "forbidden"),
    ],
)
async def test_a_secret_that_does_not_name_it_is_told_as_one_that_does_not_exist(
    answer: dict[str, Any] | ApiError,
) -> None:
    with pytest.raises(ResourceFault) as caught:
        await read(answer)

    assert caught.value.reason == "SecretUnavailable"
    assert str(caught.value) == (
        "Secret keys cannot be used: it does not exist, control has no right to read it, or its "
        "annotation kubefox.xigxog.io/environments does not name dev"
    )


async def test_each_kind_of_resource_has_an_annotation_of_its_own() -> None:
    with pytest.raises(ResourceFault, match="virtualenvironments does not name dev"):
        await read(secret({ALLOWING: "dev"}), ResourceKey(VIRTUAL_ENVIRONMENT, "dev"))


async def test_another_error_of_the_api_stays_what_it_is() -> None:
    with pytest.raises(ApiError, match="away"):
        await read(ApiError(500, "away"))
