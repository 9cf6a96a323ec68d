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

from fox.cli.client import Control
from fox.cli.kinds import (
    ENVIRONMENTS,
    HTTP_ADAPTERS,
    RELEASES,
    VIRTUAL_ENVIRONMENTS,
    Kind,
)
from fox.cli.locate import ControlUrl, DataDir, connect
from fox.cli.output import Output, OutputOption, show
from fox.cli.tables import table, to_stream
from fox.source.manifests import Manifest, read_manifests
from model.errors import FoxError, InvalidRequest, NotFound
from model.release import ReleaseState

SUFFIXES = {".yaml", ".yml"}
STDIN = "-"
# What another one builds on comes first, whatever the order of the files.
ORDER = (ENVIRONMENTS, HTTP_ADAPTERS, VIRTUAL_ENVIRONMENTS)
# An active release may be served by their values.
FORCEABLE = (ENVIRONMENTS, VIRTUAL_ENVIRONMENTS)


class Effect(Enum):
    """What applying did to an object."""

    CREATED = "created"
    CONFIGURED = "configured"
    UNCHANGED = "unchanged"
    PENDING = "pending"


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """One object after it was applied."""

    kind: str
    name: str
    effect: Effect


def apply(
    files: Annotated[
        list[str],
        typer.Option(
            "--filename", "-f", metavar="FILE|DIR|-", help="YAML; may be given several times."
        ),
    ],
    force: Annotated[
        bool,
        typer.Option("--force", help="Even if an active release lacks variables then."),
    ] = False,
    output: OutputOption = Output.TABLE,
    control_url: ControlUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Create or change environments, virtual environments and HTTP adapters.

    Everything is read before anything is written. When one cannot be written, those before it are:
    they are listed.
    """
    manifests = [each for text, source in _texts(files) for each in read_manifests(text, source)]
    if not manifests:
        raise InvalidRequest(f"no object in {', '.join(files)}")
    _check_once(manifests)
    applied: list[Applied] = []
    try:
        for each in _apply(connect(control_url, data_dir), manifests, force=force):
            applied += [each]
    finally:
        show(output, applied, lambda: _tell(applied))
        sys.stdout.flush()


def _tell(applied: list[Applied]) -> None:
    rows = [(each.kind, each.name, each.effect.value) for each in applied]
    if rows:
        to_stream(table(["KIND", "NAME", "EFFECT"], rows), sys.stdout)


def _texts(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    for name in names:
        if name == STDIN:
            yield _text("standard input", sys.stdin.buffer.read()), "standard input"
        else:
            for file in _files(Path(name)):
                yield _text(str(file), _content(file)), str(file)


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(each for each in path.iterdir() if each.suffix in SUFFIXES)
    return [path]


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {file}") from error
    except OSError as error:
        raise InvalidRequest(f"{file} cannot be read: {error.strerror}") from error


def _text(source: str, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"{source} cannot be read: {error}") from error


def _check_once(manifests: list[Manifest]) -> None:
    places: dict[tuple[Kind, str], str] = {}
    for each in manifests:
        kind, name = _kind(each), each.object.name
        if first := places.get((kind, name)):
            raise InvalidRequest(f"{kind.noun} {name} is there twice: {first}; and {each.place}")
        places[kind, name] = each.place


def _apply(control: Control, manifests: list[Manifest], *, force: bool) -> Iterator[Applied]:
    ordered = sorted(manifests, key=lambda each: ORDER.index(_kind(each)))
    for manifest in ordered:
        with _named(manifest):
            applied = _put(control, _kind(manifest), manifest, force=force)
        yield applied
    for manifest in ordered:
        if manifest.release is not None:
            with _named(manifest):
                applied = _release(control, manifest)
            yield applied


@contextmanager
def _named(manifest: Manifest) -> Iterator[None]:
    """Let a failure tell which document it is about."""
    try:
        yield
    except FoxError as error:
        error.detail = f"{manifest.place}: {error.detail}"
        raise


def _kind(manifest: Manifest) -> Kind:
    return next(kind for kind in ORDER if isinstance(manifest.object, kind.record))


def _put(control: Control, kind: Kind, manifest: Manifest, *, force: bool) -> Applied:
    name = manifest.object.name
    before = _revision(control, kind, name)
    forced = "true" if force and kind in FORCEABLE else None
    after = control.put("v1", kind.path, name, body=manifest.object, force=forced)["revision"]
    if before is None:
        effect = Effect.CREATED
    else:
        effect = Effect.UNCHANGED if after == before else Effect.CONFIGURED
    return Applied(kind=kind.path, name=name, effect=effect)


def _revision(control: Control, kind: Kind, name: str) -> int | None:
    try:
        revision: int = control.get("v1", kind.path, name)["revision"]
    except NotFound:
        return None
    return revision


def _release(control: Control, manifest: Manifest) -> Applied:
    name = manifest.object.name
    before = _revision(control, RELEASES, name)
    answer = control.post("v1", RELEASES.path, name, body={"apps": manifest.release})
    state: ReleaseState = RELEASES.record_of(answer)
    if answer["revision"] == before:
        effect = Effect.UNCHANGED
    else:
        effect = Effect.PENDING if state.pending else Effect.CONFIGURED
    return Applied(kind=RELEASES.path, name=name, effect=effect)
