"""The token goes only to the platform that knows it, whoever listens on its port."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from kubefox.access_token import parse_token
from tests.security.impostor import answers, impostor
from tests.security.running import RunningPlatform, run_fox, run_platform
from tests.support.ports import free_ports

pytestmark = pytest.mark.slow

SECRETS = """
apiVersion: kubefox.xigxog.io/v1alpha1
kind: Environment
metadata: {name: dev}
data: {secrets: {password: s3cret}}
"""
FAKE_PROOF = json.dumps({"proof": "0" * 64}).encode()
PROOF = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
    len(FAKE_PROOF),
    FAKE_PROOF,
)
NO_JSON = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno"
CHALLENGE = b"HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Bearer\r\ncontent-length: 0\r\n\r\n"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    with run_platform(tmp_path_factory.mktemp("platform") / "data") as running:
        yield running


class Ended(NamedTuple):
    """A platform that was killed: its folder, address and token."""

    folder: Path
    url: str
    port: int
    token: str


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    # One that nothing else takes before the test does.
    (port,) = free_ports(1)
    folder = tmp_path_factory.mktemp("ended") / "data"
    with run_platform(folder, FOX_CONTROL_PORT=str(port)) as platform:
        url = platform.info.control_url
        left = Ended(platform.folder, url, port, platform.owners_token)
        platform.kill()
    return left


@pytest.mark.parametrize("answer", [PROOF, NO_JSON, CHALLENGE], ids=["proof", "ok", "401"])
def test_a_program_on_the_port_of_a_platform_that_ended_learns_nothing(
    ended: Ended, tmp_path: Path, answer: bytes
) -> None:
    with impostor(answers(answer), ended.port) as listener:
        done = run_fox(tmp_path, "apply", "-f", "-", stdin=SECRETS, FOX_DATA_DIR=str(ended.folder))

    assert done.returncode == 1
    assert ended.url in done.stderr
    assert b"/v1/proof" in listener.received
    assert ended.token.encode() not in listener.received
    assert b"s3cret" not in listener.received


@pytest.mark.parametrize("is_same_port", [False, True], ids=["other port", "other address"])
def test_a_program_that_passes_the_question_on_learns_nothing(
    platform: RunningPlatform, tmp_path: Path, *, is_same_port: bool
) -> None:
    token, real = platform.owners_token, platform.control_port
    asked: list[bytes] = []

    def pass_on(connected: socket.socket) -> None:
        question = connected.recv(1 << 16)
        asked.append(question)
        with socket.create_connection(("127.0.0.1", real), timeout=30) as onward:
            onward.sendall(question)
            connected.sendall(onward.recv(1 << 16))

    host, port = ("127.0.0.2", real) if is_same_port else ("127.0.0.1", 0)
    with impostor(pass_on, port, host) as relay:
        done = run_fox(tmp_path, "get", "pods", FOX_CONTROL_URL=relay.url, FOX_TOKEN=token)

    assert "does not know the token" in done.stderr
    assert asked
    assert token.encode() not in relay.received + b"".join(asked)


@pytest.mark.parametrize("host", ["192.0.2.1", "fox.example", "0.0.0.0"])  # noqa: S104
def test_no_token_leaves_the_machine_in_plain_text(
    platform: RunningPlatform, tmp_path: Path, host: str
) -> None:
    url = f"http://{host}:{platform.control_port}"

    done = run_fox(tmp_path, "get", "pods", FOX_CONTROL_URL=url, FOX_TOKEN=platform.owners_token)

    assert done.returncode == 1
    assert "is plain text and leads to another machine, so the token was not sent" in done.stderr


def test_the_platform_proves_itself_to_its_owner(platform: RunningPlatform, tmp_path: Path) -> None:
    token, url = platform.owners_token, platform.info.control_url

    by_folder = run_fox(tmp_path, "get", "pods", FOX_DATA_DIR=str(platform.folder))
    by_url = run_fox(tmp_path, "get", "pods", FOX_CONTROL_URL=url, FOX_TOKEN=token)

    assert (by_folder.returncode, by_url.returncode) == (0, 0)


def test_the_proof_does_not_tell_whether_a_token_exists(platform: RunningPlatform) -> None:
    known = parse_token(platform.owners_token)
    assert known is not None

    answers = [ask(platform, token_id) for token_id in (known.id, "0" * 16, "1" * 16)]

    assert {status for status, _ in answers} == {200}
    assert len({len(body) for _, body in answers}) == 1
    assert len({body for _, body in answers}) == 3


def ask(platform: RunningPlatform, token_id: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", platform.control_port)
    connection.request("GET", f"/v1/proof?token={token_id}&nonce={'1' * 64}")
    response = connection.getresponse()
    try:
        return response.status, response.read()
    finally:
        connection.close()
