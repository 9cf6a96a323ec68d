"""Runs the component without a platform: `pytest`, or `python tests/test_hello.py`."""

import asyncio
from pathlib import Path

from fox.kit.loader import load_kit
from fox.kit.testing import TestClient

APP = Path(__file__).parents[1]


def test_it_greets_as_the_environment_says() -> None:
    """The greeting comes from the virtual environment."""
    kit = load_kit(APP, "hello", "main.py")
    client = TestClient(kit, name="hello", env={"subPath": "dev", "greeting": "Moin"})

    response = asyncio.run(client.get("/dev/$app"))

    assert response.text == "Moin!\n"


if __name__ == "__main__":
    test_it_greets_as_the_environment_says()
