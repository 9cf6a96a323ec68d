"""Reading of YAML manifests, as ``fox apply -f`` does: documents become objects of the platform.

A file may hold several documents. Each error names the file, the document and the dotted path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from fox.source import yaml_text
from kubefox import printable
from kubefox.decoding import split_message
from kubefox.errors import InvalidRequest
from kubefox.names import check_name
from kubefox.yaml_kinds import KINDS
from kubefox.yaml_objects import Manifest, to_manifest


def read_manifests(text: str, source: str) -> tuple[Manifest, ...]:
    """Return the manifests of a YAML text, in their order; empty documents are left out.

    Args:
        text: Content of the file.
        source: Name of the file, for errors.

    Raises:
        InvalidRequest: The text is not YAML, or a document is not of a known kind; the message
            names the file, the document and the path.
    """
    return tuple(
        _errors_located(f"{source}, document {number}", _manifest, document)
        for number, document in enumerate(_documents(text, source), start=1)
        if document is not None
    )


def _documents(text: str, source: str) -> Iterator[Any]:
    try:
        yield from yaml_text.documents(text)
    except yaml_text.READ_ERRORS as error:
        reason = yaml_text.reason(error)
        raise InvalidRequest(f"{source} is not valid YAML: {reason}") from error


def _errors_located(place: str, read: Callable[[Any], Manifest], document: Any) -> Manifest:
    try:
        return msgspec.structs.replace(read(document), place=place)
    except msgspec.ValidationError as error:
        fault, path = split_message(error)
        text = f"{place}: {path}: {fault}" if path else f"{place}: {fault}"
        raise InvalidRequest(text) from error
    except InvalidRequest as error:
        raise InvalidRequest(f"{place}: {error.detail}") from error


def _manifest(document: Any) -> Manifest:
    kind = document.get("kind") if isinstance(document, dict) else None
    if not isinstance(kind, str) or kind not in KINDS:
        shown = printable.shortened(repr(kind))
        raise InvalidRequest(f"kind: expected one of {', '.join(KINDS)}, got {shown}")
    manifest = to_manifest(msgspec.convert(document, KINDS[kind]))
    try:
        check_name(manifest.object.name, kind)
    except InvalidRequest as error:
        raise InvalidRequest(f"metadata.name: {error.detail}") from error
    return manifest
