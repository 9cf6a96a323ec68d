"""The bundle: one component version's code, as a gzip'd tar that verifies against its hash.

The first member, ``.runtime.json``, holds the RuntimeSpec. The others are the files, sorted by
path, without times and owners, so equal content packs to equal bytes. A received tar may contain
anything: ``unpack`` accepts only members that the hash covers and that cannot leave the folder.
"""

from __future__ import annotations

import io
import tarfile
import zlib
from collections.abc import Collection, Iterable, Iterator

import msgspec

from kubefox.decoding import DECODE_ERRORS
from kubefox.digest import FileMode, RuntimeSpec, SourceFile, content_hash, encode_runtime
from kubefox.errors import BodyTooLarge, InvalidBundle, Problem, ProblemsFound

RUNTIME_PATH = ".runtime.json"
MAX_BYTES = 64 << 20
MAX_FILES = 20_000

_GZIP = 16 + zlib.MAX_WBITS
_LEVEL = 6
# Python runs compiled code without a look at the source beside it, which is what people review.
_COMPILED_FOLDER = "__pycache__"
_COMPILED_SUFFIXES = (".pyc", ".pyo")
_PERMISSIONS = {FileMode.REGULAR: 0o644, FileMode.EXECUTABLE: 0o755, FileMode.SYMLINK: 0o777}


def pack(
    files: Iterable[SourceFile],
    runtime: RuntimeSpec,
    *,
    max_bytes: int = MAX_BYTES,
    max_files: int = MAX_FILES,
) -> bytes:
    """Return the bundle of a component's files; the order of ``files`` does not matter.

    Args:
        files: Every file of the component.
        runtime: Its runtime spec.
        max_bytes: Limit of the unpacked files.
        max_files: Limit of the number of files.

    Raises:
        InvalidBundle: A path or link is not allowed in a bundle; the message names it.
        BodyTooLarge: The files are over ``max_bytes``.
    """
    ordered = _checked(files, max_bytes, max_files)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT, encoding="utf-8") as tar:
        _add(tar, RUNTIME_PATH, FileMode.REGULAR, encode_runtime(runtime))
        for file in ordered:
            _add(tar, file.path, file.mode, file.content)
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    return packer.compress(buffer.getbuffer()) + packer.flush()


def unpack(data: bytes) -> tuple[tuple[SourceFile, ...], RuntimeSpec]:
    """Return the files of a bundle, sorted by path, and its runtime spec.

    Raises:
        InvalidBundle: The data is no bundle, or a member is neither a plain file nor a link inside
            the bundle's folder; the message names the member.
        BodyTooLarge: The unpacked files are over MAX_BYTES.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(_inflate(data)), mode="r:", encoding="utf-8") as tar:
            members = _members(tar)
            runtime = _runtime(next(members, None))
            return _checked(members, MAX_BYTES, MAX_FILES), runtime
    except (tarfile.TarError, ValueError, ArithmeticError, LookupError, EOFError) as error:
        raise InvalidBundle(f"the bundle cannot be read: {error}") from error


def verify(data: bytes, digest: str) -> None:
    """Check that the content of a bundle has the hash ``digest``.

    Raises:
        ProblemsFound: It has another hash.
        InvalidBundle: As ``unpack``.
        BodyTooLarge: As ``unpack``.
    """
    actual = content_hash(*unpack(data))
    if actual != digest:
        detail = f"the bundle has hash {actual}, expected {digest}"
        raise ProblemsFound(detail, (Problem(type="HashMismatch", message=detail, path="hash"),))


def check_file(file: SourceFile) -> None:
    """Check that a bundle may contain a file with this path and, for a link, this target.

    Raises:
        InvalidBundle: The file is not allowed; the message names it.
    """
    _check_path(file.path)
    if file.mode is FileMode.SYMLINK:
        _check_link(file)


def check_parents(paths: Collection[str]) -> None:
    """Check that no path is below the path of a file or a link.

    Raises:
        InvalidBundle: One is; the message names both.
    """
    for path in paths:
        parent = path.rpartition("/")[0]
        while parent:
            if parent in paths:
                raise InvalidBundle(f"the bundle has {path!r} below {parent!r}, which is no folder")
            parent = parent.rpartition("/")[0]


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
    """Undo gzip, at most up to the limit, so that a small bundle cannot fill the memory."""
    inflater = zlib.decompressobj(_GZIP)
    limit = MAX_BYTES + MAX_FILES * tarfile.BLOCKSIZE
    try:
        raw = inflater.decompress(data, limit)
    except zlib.error as error:
        raise InvalidBundle("the bundle is not a gzip'd tar") from error
    if inflater.unconsumed_tail:
        raise _too_large(MAX_BYTES)
    if not inflater.eof or inflater.unused_data:
        raise InvalidBundle("the bundle is truncated or has bytes after its end")
    return raw


def _members(tar: tarfile.TarFile) -> Iterator[SourceFile]:
    for member in tar:
        yield SourceFile(path=member.name, mode=_mode(member), content=_content(tar, member))


def _mode(member: tarfile.TarInfo) -> FileMode:
    if member.issym():
        return FileMode.SYMLINK
    # A sparse member is small in the tar and may be of any size when it is read.
    if member.type not in {tarfile.REGTYPE, tarfile.AREGTYPE} or member.issparse():
        raise InvalidBundle(f"bundle member {member.name!r} is neither a plain file nor a link")
    return FileMode.EXECUTABLE if member.mode & 0o100 else FileMode.REGULAR


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if member.issym():
        return member.linkname.encode()
    reader = tar.extractfile(member)
    content = reader.read() if reader is not None else b""
    if len(content) != member.size:
        raise InvalidBundle(f"bundle member {member.name!r} is truncated")
    return content


def _runtime(first: SourceFile | None) -> RuntimeSpec:
    if first is None or first.path != RUNTIME_PATH or first.mode is not FileMode.REGULAR:
        raise InvalidBundle(f"the first member of the bundle is not {RUNTIME_PATH}")
    try:
        runtime = msgspec.json.decode(first.content, type=RuntimeSpec)
    except DECODE_ERRORS as error:
        raise InvalidBundle(f"{RUNTIME_PATH} of the bundle cannot be read: {error}") from error
    # A field of a later version would be dropped, and the hash would differ from the sender's.
    if encode_runtime(runtime) != first.content:
        raise InvalidBundle(f"{RUNTIME_PATH} of the bundle has unknown fields")
    return runtime


def _checked(files: Iterable[SourceFile], max_bytes: int, max_files: int) -> tuple[SourceFile, ...]:
    """Return the files sorted by path, after a check that all are safe to write below a folder."""
    kept: dict[str, SourceFile] = {}
    total_bytes = 0
    for file in files:
        check_file(file)
        if file.path in kept:
            raise InvalidBundle(f"the bundle has two members with path {file.path!r}")
        kept[file.path] = file
        total_bytes += len(file.content)
        if total_bytes > max_bytes:
            raise _too_large(max_bytes)
        if len(kept) > max_files:
            raise InvalidBundle(f"the bundle has more than {max_files} files")
    check_parents(kept)
    return tuple(kept[path] for path in sorted(kept))


def _check_path(path: str) -> None:
    if not path.isprintable():
        raise InvalidBundle(f"path {path!r} is not allowed in a bundle: use printable characters")
    if set(path.split("/")) & {"", ".", ".."} or path == RUNTIME_PATH:
        raise InvalidBundle(f"path {path!r} is not allowed in a bundle")
    lower = path.lower()
    if _COMPILED_FOLDER in lower.split("/") or lower.endswith(_COMPILED_SUFFIXES):
        raise InvalidBundle(
            f"path {path!r} is not allowed in a bundle: remove compiled Python code from the app, "
            "the pod compiles the source"
        )


def _check_link(link: SourceFile) -> None:
    """Refuse a link that leaves the bundle, directly or through another link.

    ``..`` is allowed only at the start of a target, where it climbs real folders. After the name of
    another link it would climb from that link's target.
    """
    try:
        target = link.content.decode()
    except UnicodeDecodeError as error:
        raise InvalidBundle(f"the target of link {link.path!r} is not UTF-8") from error
    steps = target.split("/")
    climbs = next((index for index, step in enumerate(steps) if step != ".."), len(steps))
    is_outside = target.startswith("/") or climbs > link.path.count("/") or ".." in steps[climbs:]
    if is_outside or not target.isprintable() or not target:
        raise InvalidBundle(f"link {link.path!r}: target {target!r} is not allowed in a bundle")


def _too_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"the bundle is over {max_bytes / (1 << 20):g} MiB when unpacked")
