"""The names of pods of StatefulSets, which a cluster resolves and this machine does not.

Such a pod has an address that depends on its name alone, so that it stays. Each text that a pod
gets has these addresses in place of the names: its variables, its command, and the files of its
Secrets and ConfigMaps.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from pods.kubernetes.api import Object

# Third number of the addresses: pods with addresses of their node never get so far.
_FIRST, _COUNT = 128, 128


def stable_address(pod: Object) -> str | None:
    """Return the address of a pod that a StatefulSet has named; None for all others."""
    hostname, subdomain = pod["spec"].get("hostname"), pod["spec"].get("subdomain")
    if not hostname or not subdomain:
        return None
    return _address(hostname, subdomain, pod["metadata"]["namespace"])


class StableNames:
    """Replaces the names of pods of one namespace.

    Args:
        namespace: The namespace.
        services: Its Services without an address of their own, which name pods.
    """

    def __init__(self, namespace: str, services: Iterable[str]) -> None:
        self._namespace = namespace
        names = "|".join(map(re.escape, services))
        domain = rf"(?:\.{re.escape(namespace)}(?:\.svc(?:\.cluster\.local)?)?)?"
        # Without Services, nothing matches.
        self._names = re.compile(
            rf"(?<![\w.-])([a-z0-9-]+-\d+)\.({names or '(?!)'}){domain}(?![\w.-])"
        )

    def resolved(self, text: str) -> str:
        """Return a text with addresses in place of names."""
        return self._names.sub(lambda found: _address(found[1], found[2], self._namespace), text)


def _address(hostname: str, subdomain: str, namespace: str) -> str:
    name = f"{hostname}.{subdomain}.{namespace}"
    high, middle, low = hashlib.sha256(name.encode()).digest()[:3]
    return f"127.{1 + high % 254}.{_FIRST + middle % _COUNT}.{1 + low % 254}"
