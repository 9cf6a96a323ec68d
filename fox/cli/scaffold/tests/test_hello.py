"""Test of the component, without a platform: run `pytest` or `python tests/test_hello.py`."""

import asyncio
from pathlib import Path

from fox.testing import TestClient, load_kit

APP = Path(__file__).parents[1]


def test_hello_returns_the_greeting_of_the_environment() -> None:
    """The greeting is a variable of the virtual environment."""
    kit = load_kit(APP, "hello", "main.py")
    client = TestClient(kit, name="hello", env={"subPath": "dev", "greeting": "Moin"})

    response = asyncio.run(client.get("/dev/$app"))

    assert response.text == "Moin!\n"


if __name__ == "__main__":
    test_hello_returns_the_greeting_of_the_environment()
