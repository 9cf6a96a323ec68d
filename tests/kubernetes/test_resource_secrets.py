"""Values of custom resources from Secrets of a real API: which may be used, and how they follow."""

from __future__ import annotations

import pytest

from fox.custom_resources import applier
from tests.kubernetes.resources import (
    Applying,
    Resources,
    environment,
    secret,
    virtual_environment,
)
from tests.support.control_plane import Plane


async def test_secrets_come_from_a_secret_and_follow_it(
    applying: Applying, resources: Resources, plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applier, "SECRET_S", 0.5)
    await resources.apply(environment(data={"secretRef": {"name": "keys"}}))
    missing = await resources.wait_condition("environment", "dev", "Synced", "SecretUnavailable")

    await resources.apply(secret("keys", "dev", token="s3cret"))
    await resources.wait_condition("environment", "dev", "Synced", "Applied")

    first = plane.store.snapshot.environments["dev"].data.secrets
    await resources.apply(secret("keys", "dev", token="another"))
    await plane.wait_data(
        lambda: plane.store.snapshot.environments["dev"].data.secrets == {"token": "another"}
    )
    shown = await resources.kubectl("get", "environment", "dev", "--output=yaml")

    assert "Secret keys cannot be used" in missing["message"]
    assert first == {"token": "s3cret"}
    assert "s3cret" not in shown
    assert "another" not in shown


async def test_a_secret_is_read_only_for_the_resources_that_it_names(
    applying: Applying, resources: Resources, plane: Plane
) -> None:
    await resources.apply(secret("keys", "prod", "dev", token="s3cret"))
    reference = {"secretRef": {"name": "keys"}}

    await resources.apply(environment(data=reference), environment("mine", data=reference))
    # Its name is that of an environment which may.
    await resources.apply(virtual_environment("prod", data=reference))
    await resources.wait_condition("environment", "dev", "Synced", "Applied")
    refused = [
        await resources.wait_condition(kind, name, "Synced", "SecretUnavailable")
        for kind, name in (("environment", "mine"), ("ve", "prod"))
    ]

    assert "annotation kubefox.xigxog.io/environments does not name mine" in refused[0]["message"]
    assert "annotation kubefox.xigxog.io/virtualenvironments" in refused[1]["message"]
    assert plane.store.snapshot.environments.keys() == {"dev"}
    assert not plane.store.snapshot.virtual_environments
