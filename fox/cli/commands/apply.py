"""``fox apply``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from fox.cli.support.connection import ControlUrl, DataDir, connect
from fox.cli.support.control_client import ControlClient
from fox.cli.support.followed import wait_followed
from fox.cli.support.kinds import (
    ENVIRONMENTS,
    HTTP_ADAPTERS,
    RELEASES,
    VIRTUAL_ENVIRONMENTS,
    Kind,
)
from fox.cli.support.output import Output, OutputOption, show
from fox.cli.support.tables import print_to, table
from fox.source import yaml_text
from fox.source.manifests import read_manifests
from kubefox import printable
from kubefox.environment import HTTPAdapter
from kubefox.errors import FoxError, InvalidRequest, NotFound
from kubefox.release import ReleaseState
from kubefox.secret_names import looks_secret
from kubefox.yaml_objects import Manifest

SUFFIXES = {".yaml", ".yml"}
STDIN = "-"
# More than a text may have is refused, and need not be read: UTF-8 has up to 4 bytes a character.
_READ_BYTES = 4 * (yaml_text.MAX_CHARACTERS + 1)
# Kinds that others refer to come first, whatever the order of the files.
ORDER = (ENVIRONMENTS, HTTP_ADAPTERS, VIRTUAL_ENVIRONMENTS)
# Kinds with values that an active release may use.
FORCEABLE = (ENVIRONMENTS, VIRTUAL_ENVIRONMENTS)


class Effect(Enum):
    """The effect of applying an object."""

    CREATED = "created"
    CONFIGURED = "configured"
    UNCHANGED = "unchanged"
    PENDING = "pending"


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """An applied object and the effect on it.

    Attributes:
        kind: Kind of the object, as in URLs of the control API.
        name: Name of the object.
        effect: The effect.
        warnings: Variables that are probably secrets, with the cure; empty for a release.
    """

    kind: str
    name: str
    effect: Effect
    warnings: tuple[str, ...] = ()


def apply(
    files: Annotated[
        list[str],
        typer.Option(
            "--filename",
            "-f",
            metavar="FILE|DIR|-",
            help="YAML file, folder of YAML files, or - for standard input; may be repeated.",
        ),
    ],
    force: Annotated[
        bool,
        typer.Option("--force", help="Apply even if an active release would lack variables."),
    ] = False,
    output: OutputOption = Output.TABLE,
    control_url: ControlUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Create or change environments, virtual environments and HTTP adapters.

    All files are read before the first object is written. The command ends when all processes that
    route requests know the changes. If an object cannot be written, the
    objects that were written before it are listed. A warning names each variable that is probably a
    secret: `vars` are shown to everybody who may read the platform, `secrets` are masked.
    """
    manifests = [
        manifest for text, source in _texts(files) for manifest in read_manifests(text, source)
    ]
    if not manifests:
        raise InvalidRequest(f"there is no object in {', '.join(files)}")
    _refuse_duplicates(manifests)
    control, applied, newest = connect(control_url, data_dir), list[Applied](), 0
    try:
        for done, revision in _apply(control, manifests, force=force):
            applied.append(done)
            newest = max(newest, revision)
            for warning in done.warnings:
                sys.stderr.write(f"warning: {warning}\n")
    finally:
        show(output, applied, lambda: _print_table(applied))
        sys.stdout.flush()
    wait_followed(control, newest)


def _print_table(applied: list[Applied]) -> None:
    rows = [(done.kind, done.name, done.effect.value) for done in applied]
    if rows:
        print_to(sys.stdout, table(["KIND", "NAME", "EFFECT"], rows))


def _texts(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the text and the name of each input."""
    for name in names:
        if name == STDIN:
            yield _decoded("standard input", sys.stdin.buffer.read(_READ_BYTES)), "standard input"
        else:
            for file in _files(Path(name)):
                yield _decoded(str(file), _content(file)), str(file)


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
    return [path]


def _content(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(_READ_BYTES)
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {file}") from error
    except OSError as error:
        raise InvalidRequest(f"{file} cannot be read: {error.strerror}") from error


def _decoded(source: str, content: bytes) -> str:
    if len(content) == _READ_BYTES:
        raise InvalidRequest(f"{source} is too large: split it into several files")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"{source} cannot be read: {error}") from error


def _refuse_duplicates(manifests: list[Manifest]) -> None:
    places: dict[tuple[Kind, str], str] = {}
    for manifest in manifests:
        kind, name = _kind(manifest), manifest.object.name
        if first := places.get((kind, name)):
            raise InvalidRequest(
                f"{kind.noun} {name} is defined twice: in {first}; and in {manifest.place}"
            )
        places[kind, name] = manifest.place


def _apply(
    control: ControlClient, manifests: list[Manifest], *, force: bool
) -> Iterator[tuple[Applied, int]]:
    """Write all objects, then the releases that they contain.

    Yields:
        Each effect, with the revision of the record.
    """
    ordered = sorted(manifests, key=lambda manifest: ORDER.index(_kind(manifest)))
    for manifest in ordered:
        with _failures_located(manifest):
            applied = _put(control, _kind(manifest), manifest, force=force)
        yield applied
    for manifest in ordered:
        if manifest.release is not None:
            with _failures_located(manifest):
                applied = _release(control, manifest)
            yield applied


@contextmanager
def _failures_located(manifest: Manifest) -> Iterator[None]:
    """Add the place of the document to the message of a failure."""
    try:
        yield
    except FoxError as error:
        error.detail = f"{manifest.place}: {error.detail}"
        raise


def _kind(manifest: Manifest) -> Kind:
    return next(kind for kind in ORDER if isinstance(manifest.object, kind.record))


def _put(
    control: ControlClient, kind: Kind, manifest: Manifest, *, force: bool
) -> tuple[Applied, int]:
    """Write an object; return the effect and its revision."""
    name = manifest.object.name
    before = _revision(control, kind, name)
    forced = "true" if force and kind in FORCEABLE else None
    document = control.put("v1", kind.path, name, body=manifest.object, force=forced)
    after: int = document["revision"]
    if before is None:
        effect = Effect.CREATED
    else:
        effect = Effect.UNCHANGED if after == before else Effect.CONFIGURED
    warnings = _warnings(kind, manifest)
    return Applied(kind=kind.path, name=name, effect=effect, warnings=warnings), after


def _warnings(kind: Kind, manifest: Manifest) -> tuple[str, ...]:
    stored = manifest.object
    if isinstance(stored, HTTPAdapter):
        return ()
    return tuple(
        f"{kind.noun} {stored.name}: variable {printable.one_line(name)} looks like a secret: "
        "move it from vars to secrets, where every output masks it"
        for name in stored.data.vars
        if looks_secret(name)
    )


def _revision(control: ControlClient, kind: Kind, name: str) -> int | None:
    try:
        revision: int = control.get("v1", kind.path, name)["revision"]
    except NotFound:
        return None
    return revision


def _release(control: ControlClient, manifest: Manifest) -> tuple[Applied, int]:
    """Make a release; return the effect and its revision."""
    name = manifest.object.name
    before = _revision(control, RELEASES, name)
    document = control.post("v1", RELEASES.path, name, body={"apps": manifest.release})
    state: ReleaseState = RELEASES.record_of(document)
    if document["revision"] == before:
        effect = Effect.UNCHANGED
    else:
        effect = Effect.PENDING if state.pending else Effect.CONFIGURED
    return Applied(kind=RELEASES.path, name=name, effect=effect), document["revision"]
