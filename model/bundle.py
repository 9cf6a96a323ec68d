"""The bundle: one component version's code as bytes, a gzip'd tar that verifies against its hash.

The first member, ``.runtime.json``, holds the RuntimeSpec; the others are the files, sorted by
path, with no times and no owners, so equal content packs to equal bytes. A tar from outside can
hold anything: only what the hash covers is let in, and nothing that could leave its folder.
"""

from __future__ import annotations

import io
import tarfile
import zlib
from collections.abc import Iterable, Iterator

import msgspec

from model.decoding import UNREADABLE
from model.digest import FileMode, RuntimeSpec, SourceFile, content_hash
from model.errors import BodyTooLarge, InvalidBundle, Problem, ProblemsFound

RUNTIME_PATH = ".runtime.json"
MAX_BYTES = 64 << 20
MAX_FILES = 20_000

_GZIP = 16 + zlib.MAX_WBITS
_LEVEL = 6
_PERMISSIONS = {FileMode.REGULAR: 0o644, FileMode.EXECUTABLE: 0o755, FileMode.SYMLINK: 0o777}


def pack(files: Iterable[SourceFile], runtime: RuntimeSpec) -> bytes:
    """Return the bundle of a component's files; the order of ``files`` does not matter.

    Raises:
        InvalidBundle: A path or link that no bundle may hold; the message names it.
        BodyTooLarge: Over 64 MiB unpacked.
    """
    ordered = _checked(files)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT, encoding="utf-8") as tar:
        _add(tar, RUNTIME_PATH, FileMode.REGULAR, _encode_runtime(runtime))
        for file in ordered:
            _add(tar, file.path, file.mode, file.content)
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    return packer.compress(buffer.getbuffer()) + packer.flush()


def unpack(data: bytes) -> tuple[tuple[SourceFile, ...], RuntimeSpec]:
    """Return the files of a bundle, sorted by path, and how they are run.

    Raises:
        InvalidBundle: Not a bundle, or one that holds more than plain files and links inside
            its own folder; the message names the member.
        BodyTooLarge: Over 64 MiB unpacked.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(_inflate(data)), mode="r:", encoding="utf-8") as tar:
            members = _members(tar)
            runtime = _runtime(next(members, None))
            return _checked(members), runtime
    except (tarfile.TarError, ValueError, ArithmeticError, LookupError, EOFError) as error:
        raise InvalidBundle(f"bundle cannot be read: {error}") from error


def verify(data: bytes, digest: str) -> None:
    """Return if the bundle's content hashes to ``digest``.

    Raises:
        ProblemsFound: It hashes to something else.
        InvalidBundle: As ``unpack``.
        BodyTooLarge: As ``unpack``.
    """
    actual = content_hash(*unpack(data))
    if actual != digest:
        detail = f"bundle hashes to {actual}, not to {digest}"
        raise ProblemsFound(detail, (Problem(type="HashMismatch", message=detail, path="hash"),))


def check_file(file: SourceFile) -> None:
    """Return if a bundle may hold a file of this name, and a link to where it leads.

    Raises:
        InvalidBundle: It may not; the message names the file.
    """
    _check_path(file.path)
    if file.mode is FileMode.SYMLINK:
        _check_link(file)


def _add(tar: tarfile.TarFile, path: str, mode: FileMode, content: bytes) -> None:
    member = tarfile.TarInfo(path)
    member.mode = _PERMISSIONS[mode]
    if mode is FileMode.SYMLINK:
        member.type = tarfile.SYMTYPE
        member.linkname = content.decode()
        tar.addfile(member)
    else:
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))


def _inflate(data: bytes) -> bytes:
    """Undo gzip; what would grow over the limit is never held."""
    inflater = zlib.decompressobj(_GZIP)
    limit = MAX_BYTES + MAX_FILES * tarfile.BLOCKSIZE
    try:
        raw = inflater.decompress(data, limit)
    except zlib.error as error:
        raise InvalidBundle("bundle is not a gzip'd tar") from error
    if inflater.unconsumed_tail:
        raise _too_large()
    if not inflater.eof or inflater.unused_data:
        raise InvalidBundle("bundle is cut short or has bytes after its end")
    return raw


def _members(tar: tarfile.TarFile) -> Iterator[SourceFile]:
    for member in tar:
        yield SourceFile(path=member.name, mode=_mode(member), content=_content(tar, member))


def _mode(member: tarfile.TarInfo) -> FileMode:
    if member.issym():
        return FileMode.SYMLINK
    # A sparse member is small in the tar and of any size when it is read.
    if member.type not in {tarfile.REGTYPE, tarfile.AREGTYPE} or member.issparse():
        raise InvalidBundle(f"bundle member {member.name!r} is neither a file nor a link")
    return FileMode.EXECUTABLE if member.mode & 0o100 else FileMode.REGULAR


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if member.issym():
        return member.linkname.encode()
    reader = tar.extractfile(member)
    content = reader.read() if reader is not None else b""
    if len(content) != member.size:
        raise InvalidBundle(f"bundle member {member.name!r} is cut short")
    return content


def _runtime(first: SourceFile | None) -> RuntimeSpec:
    if first is None or first.path != RUNTIME_PATH or first.mode is not FileMode.REGULAR:
        raise InvalidBundle(f"bundle does not begin with {RUNTIME_PATH}")
    try:
        runtime = msgspec.json.decode(first.content, type=RuntimeSpec)
    except UNREADABLE as error:
        raise InvalidBundle(f"{RUNTIME_PATH} of the bundle: {error}") from error
    # A field of a later version would be dropped in silence, and the hash not be the sender's.
    if _encode_runtime(runtime) != first.content:
        raise InvalidBundle(f"{RUNTIME_PATH} of the bundle has fields that are not known here")
    return runtime


def _encode_runtime(runtime: RuntimeSpec) -> bytes:
    return msgspec.json.encode(runtime, order="sorted")


def _checked(files: Iterable[SourceFile]) -> tuple[SourceFile, ...]:
    """Return the files by path, each safe to write below a folder of its own."""
    kept: dict[str, SourceFile] = {}
    total_bytes = 0
    for file in files:
        check_file(file)
        if file.path in kept:
            raise InvalidBundle(f"bundle has two members at {file.path!r}")
        kept[file.path] = file
        total_bytes += len(file.content)
        if total_bytes > MAX_BYTES:
            raise _too_large()
        if len(kept) > MAX_FILES:
            raise InvalidBundle(f"bundle has more than {MAX_FILES} files")
    _check_parents(kept)
    return tuple(kept[path] for path in sorted(kept))


def _check_path(path: str) -> None:
    if not path.isprintable():
        raise InvalidBundle(f"bundle may not hold a file at {path!r}: not all of it can be printed")
    if set(path.split("/")) & {"", ".", ".."} or path == RUNTIME_PATH:
        raise InvalidBundle(f"bundle may not hold a file at {path!r}")


def _check_link(link: SourceFile) -> None:
    """Refuse a link that leaves the bundle, on its own or by way of another link.

    ``..`` is let in at the front only, where it climbs real folders: behind the name of another
    link it would climb from wherever that one leads.
    """
    try:
        target = link.content.decode()
    except UnicodeDecodeError as error:
        raise InvalidBundle(f"target of link {link.path!r} is not UTF-8") from error
    steps = target.split("/")
    climbs = next((index for index, step in enumerate(steps) if step != ".."), len(steps))
    is_outside = target.startswith("/") or climbs > link.path.count("/") or ".." in steps[climbs:]
    if is_outside or not target.isprintable() or not target:
        raise InvalidBundle(f"link {link.path!r} may not lead to {target!r}")


def _check_parents(files: dict[str, SourceFile]) -> None:
    """Refuse a path that runs through a file or a link."""
    for path in files:
        parent = path.rpartition("/")[0]
        while parent:
            if parent in files:
                raise InvalidBundle(f"bundle has {path!r} below {parent!r}, which is no folder")
            parent = parent.rpartition("/")[0]


def _too_large() -> BodyTooLarge:
    return BodyTooLarge(f"bundle is over {MAX_BYTES >> 20} MiB when it is unpacked")
