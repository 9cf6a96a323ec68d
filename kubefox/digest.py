"""The content hash that is a component's version.

Two folders with equal content have equal hashes on every machine, whatever the commit: the hash
covers sorted (path, mode, content) and the runtime spec, with the digest of an image of the
component's own. Each part is preceded by its length, so that different inputs never give the same
bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from enum import Enum

import msgspec

from kubefox.formats import OptionalImage

HASH_LENGTH = 32


class FileMode(Enum):
    """The file kinds that Git stores; other permission bits differ between machines."""

    REGULAR = "100644"
    EXECUTABLE = "100755"
    SYMLINK = "120000"


class SourceFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a component.

    Attributes:
        path: Relative to the app's folder, ``/`` between segments.
        mode: Kind of the file.
        content: Bytes of the file, or the target of a symbolic link.
    """

    path: str
    mode: FileMode
    content: bytes


class RuntimeSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How the files are run; part of the hash.

    Attributes:
        kind: Language runtime; only ``python`` today.
        entry: Module file in the component's folder that defines ``kit``.
        image: Container image in which they run in a cluster; empty for that of the platform.
    """

    kind: str = "python"
    entry: str = "main.py"
    image: OptionalImage = ""


def encode_runtime(runtime: RuntimeSpec) -> bytes:
    """Return a runtime spec as the JSON that the hash covers.

    An image that is not set is left out: hashes without one are those of earlier versions.
    """
    fields = msgspec.to_builtins(runtime)
    if not runtime.image:
        del fields["image"]
    return msgspec.json.encode(fields, order="sorted")


def content_hash(files: Iterable[SourceFile], runtime: RuntimeSpec) -> str:
    """Return the component hash: 32 hex characters of a SHA-256.

    Args:
        files: Every file of the component, shared code and lock files included, in any order.
        runtime: How they are run.

    Raises:
        ValueError: Two files have the same path.
    """
    digest = hashlib.sha256()
    _feed(digest, b"runtime", encode_runtime(runtime))
    previous = None
    for file in sorted(files, key=lambda file: file.path):
        if file.path == previous:
            raise ValueError(f"two files have the path {file.path}")
        previous = file.path
        _feed(digest, file.path.encode(), file.mode.value.encode(), file.content)
    return digest.hexdigest()[:HASH_LENGTH]


def _feed(digest: hashlib._Hash, *parts: bytes) -> None:
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
