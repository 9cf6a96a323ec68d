"""A fuzzer sends requests to every operation, valid and invalid ones, and checks each answer.

The requests follow from the OpenAPI document alone, so they are the same in each run. Other ones:
``make fuzz``, with ``FUZZ_SEED=…`` to repeat a run.
"""

from __future__ import annotations

import asyncio
import os
import sysconfig
from pathlib import Path

import aiohttp
import pytest

from control.api.server import ControlApi
from tests.control.api.client import Client, upload
from tests.support.owner import CREDENTIALS

FUZZER = Path(sysconfig.get_path("scripts"), "schemathesis")
CONFIGURATION = Path(__file__).with_name("fuzzing")
PROJECT = Path(__file__).parents[3]
# A valid request may contradict the stored data or itself. Every request has the owner's token.
NOT_CHECKED = ("positive_data_acceptance", "ignored_auth", "object_level_authorization")
# New inputs are the task of a longer run.
EXAMPLES = os.environ.get("FUZZ_EXAMPLES", "4")
SEED = os.environ.get("FUZZ_SEED", "")


@pytest.mark.slow
@pytest.mark.timeout(3_600 if SEED else 1_800)
async def test_every_answer_is_as_the_openapi_document_says(
    api: ControlApi, client: Client, tmp_path: Path
) -> None:
    await _store_objects(client)

    code, output = await _fuzz(api.url, tmp_path)

    assert code == 0, output
    assert f"{await _operations(api.url)} passed" in output


async def _store_objects(client: Client) -> None:
    """Store the objects that ``fuzzing.hooks`` names."""
    await upload(client)
    for path, body in {
        "/v1/environments/dev": {"name": "dev", "data": {"vars": {"subPath": "me"}}},
        "/v1/virtual-environments/me": {"name": "me", "environment": "dev"},
        "/v1/http-adapters/crm": {"name": "crm", "url": "http://crm.example"},
    }.items():
        assert (await client.call("PUT", path, body))[0] == 200
    assert (await client.deploy("main"))[0] == 200


async def _fuzz(url: str, folder: Path) -> tuple[int, str]:
    inputs = ("--seed", SEED) if SEED else ("--generation-deterministic",)
    process = await asyncio.create_subprocess_exec(
        FUZZER,
        "--config-file",
        CONFIGURATION / "schemathesis.toml",
        "run",
        f"{url}/openapi.json",
        *("--mode", "all", "--phases", "coverage,fuzzing", "--max-examples", EXAMPLES, *inputs),
        *("--header", f"authorization: {CREDENTIALS['authorization']}"),
        *("--checks", "all", "--exclude-checks", ",".join(NOT_CHECKED)),
        *("--continue-on-failure", "--suppress-health-check", "all"),
        # A loaded machine may be slow; a request that hangs still ends the run.
        *("--request-timeout", "300", "--no-color"),
        cwd=folder,
        env={**os.environ, "SCHEMATHESIS_HOOKS": "tests.control.api.fuzzing.hooks"}
        | {"PYTHONPATH": str(PROJECT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, output.decode(errors="replace")


async def _operations(url: str) -> int:
    async with (
        aiohttp.ClientSession(headers=CREDENTIALS) as session,
        session.get(f"{url}/openapi.json") as answer,
    ):
        paths = (await answer.json())["paths"]
    return sum(len(methods) for methods in paths.values())
