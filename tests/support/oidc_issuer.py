"""A small OIDC issuer: a process that serves its configuration and its keys over HTTP.

Run as a program, it prints its port, and reads from standard input: each line is the key set that
it serves from then on.
"""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

AUDIENCE = "kubefox"
_RSA = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
_EC = ec.generate_private_key(ec.SECP256R1())
_ED = ed25519.Ed25519PrivateKey.generate()
PRIVATE: dict[str, tuple[Any, str]] = {
    "rsa-1": (_RSA, "RS256"),
    "ec-1": (_EC, "ES256"),
    "ed-1": (_ED, "EdDSA"),
}
"""Private key and algorithm, by key id."""


def public_key(key_id: str) -> dict[str, Any]:
    """Return the public key with an id, as a key set has it."""
    private, _ = PRIVATE[key_id]
    kinds = {"rsa": RSAAlgorithm, "ec": ECAlgorithm, "ed": OKPAlgorithm}
    kind: Any = kinds[key_id.partition("-")[0]]
    return {**kind.to_jwk(private.public_key(), as_dict=True), "kid": key_id, "use": "sig"}


class Issuer:
    """A running issuer.

    Attributes:
        url: Its URL, as in the claim ``iss``.
    """

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self._process = process
        self.url = f"http://127.0.0.1:{port}"

    def publish(self, *key_ids: str) -> None:
        """Serve these keys from now on."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"keys": [*map(public_key, key_ids)]}) + "\n")
        self._process.stdin.flush()
        self._process.stdout.readline()

    def requests(self) -> int:
        """Return how many requests it has answered."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def stop(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait()

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Return valid claims, changed."""
        now_s = int(time.time())
        claims = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "ada",
            "groups": ["team"],
            "iat": now_s,
            "exp": now_s + 600,
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, key_id: str = "rsa-1", **changes: Any) -> str:
        """Return a signed token with valid claims, changed."""
        private, algorithm = PRIVATE[key_id]
        return jwt.encode(self.claims(**changes), private, algorithm, headers={"kid": key_id})


@contextmanager
def run_issuer() -> Iterator[Issuer]:
    """Run an issuer that publishes all keys, until the context ends."""
    with subprocess.Popen(
        [sys.executable, Path(__file__)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        issuer = Issuer(process, int(process.stdout.readline()))
        issuer.publish(*PRIVATE)
        try:
            yield issuer
        finally:
            issuer.stop()


class _Handler(http.server.BaseHTTPRequestHandler):
    key_set = b""
    requests = 0

    def do_GET(self) -> None:
        type(self).requests += 1
        url = f"http://{self.headers['host']}"
        bodies = {
            "/.well-known/openid-configuration": json.dumps(
                {"issuer": url, "jwks_uri": f"{url}/keys"}
            ).encode(),
            "/keys": self.key_set,
        }
        body = bodies.get(self.path)
        self.send_response(404 if body is None else 200)
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *_arguments: Any) -> None:
        pass


def _main() -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    for line in sys.stdin:
        if line.strip():
            _Handler.key_set = line.strip().encode()
        sys.stdout.write(f"{_Handler.requests}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _main()
