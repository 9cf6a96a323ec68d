"""Bundles: packing, unpacking, and members that are refused."""

from __future__ import annotations

import contextlib
import gzip
import io
import tarfile
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubefox import bundle
from kubefox.digest import FileMode, RuntimeSpec, SourceFile, content_hash
from kubefox.errors import BodyTooLarge, InvalidBundle, ProblemsFound

RUNTIME = RuntimeSpec(entry="server.py")
RUNTIME_JSON = b'{"entry":"server.py","kind":"python"}'
MAIN = SourceFile(
    path="components/api/server.py", mode=FileMode.REGULAR, content=b"kit = Kit('api')\n"
)

names = st.from_regex(r"[a-z0-9._-]{1,12}", fullmatch=True).filter(lambda name: set(name) != {"."})
paths = st.lists(names, min_size=1, max_size=3).map("/".join)
files = st.builds(
    SourceFile,
    path=paths.map("src/".__add__),
    mode=st.sampled_from([FileMode.REGULAR, FileMode.EXECUTABLE]),
    content=st.binary(max_size=200),
)


def link(path: str, target: str) -> SourceFile:
    return SourceFile(path=path, mode=FileMode.SYMLINK, content=target.encode())


def no_path_runs_through_another(sources: list[SourceFile]) -> bool:
    taken = {source.path for source in sources}
    return not any(other.startswith(f"{path}/") for path in taken for other in taken)


def tar_of(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return gzip.compress(buffer.getvalue())


def member(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def hostile(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> bytes:
    return tar_of((member(bundle.RUNTIME_PATH), RUNTIME_JSON), (member(name, kind, **fields), b""))


@given(
    st.lists(files, max_size=5, unique_by=lambda source: source.path).filter(
        no_path_runs_through_another
    )
)
def test_unpack_returns_the_packed_files(sources: list[SourceFile]) -> None:
    data = bundle.pack(sources, RUNTIME)

    unpacked, runtime = bundle.unpack(data)

    assert unpacked == tuple(sorted(sources, key=lambda source: source.path))
    assert runtime == RUNTIME


def test_links_and_long_names_survive_packing() -> None:
    sources = (link("a/lib", "../shared/lib"), link("a/self", "."), link("b", "a/lib/x"))
    long = SourceFile(path="d/" * 60 + "é" * 80, mode=FileMode.EXECUTABLE, content=b"x")

    unpacked, _ = bundle.unpack(bundle.pack((*sources, long), RUNTIME))

    assert unpacked == (*sources, long)


def test_equal_content_packs_to_equal_bytes_in_any_order() -> None:
    other = SourceFile(path="shared.py", mode=FileMode.REGULAR, content=b"")

    assert bundle.pack([MAIN, other], RUNTIME) == bundle.pack([other, MAIN], RUNTIME)


def test_a_bundle_verifies_against_its_own_hash_only() -> None:
    data = bundle.pack([MAIN], RUNTIME)

    bundle.verify(data, content_hash([MAIN], RUNTIME))

    with pytest.raises(ProblemsFound, match="expected"):
        bundle.verify(data, content_hash([MAIN], RuntimeSpec()))


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../x", "a/../../x", "a//b", "./a", "", "a\nb", ".runtime.json"]
)
def test_a_path_that_could_leave_the_folder_is_refused_both_ways(path: str) -> None:
    source = SourceFile(path=path, mode=FileMode.REGULAR, content=b"")

    with pytest.raises(InvalidBundle):
        bundle.pack([source], RUNTIME)
    with pytest.raises(InvalidBundle):
        bundle.unpack(hostile(path))


@pytest.mark.parametrize(
    "path", ["__pycache__/a.py", "a/__PyCache__/x", "a.pyc", "a/b.PYC", "old.pyo"]
)
def test_compiled_code_is_refused_both_ways(path: str) -> None:
    source = SourceFile(path=path, mode=FileMode.REGULAR, content=b"")

    with pytest.raises(InvalidBundle, match="remove compiled Python code"):
        bundle.pack([source], RUNTIME)
    with pytest.raises(InvalidBundle, match="remove compiled Python code"):
        bundle.unpack(hostile(path))


@pytest.mark.parametrize(
    "target", ["/etc", "..", "../../x", "b/../..", "b/..", "", "x\ny", "../a/../../.."]
)
def test_a_link_that_could_leave_the_folder_is_refused_both_ways(target: str) -> None:
    with pytest.raises(InvalidBundle, match="is not allowed in a bundle"):
        bundle.pack([link("a", target)], RUNTIME)
    with pytest.raises(InvalidBundle):
        bundle.unpack(hostile("a", tarfile.SYMTYPE, linkname=target))


def test_a_link_may_climb_to_the_top_of_the_bundle() -> None:
    sources = (link("a/b/top", "../.."), link("a/b/up", ".."))

    assert bundle.unpack(bundle.pack(sources, RUNTIME))[0] == sources


@pytest.mark.parametrize(
    "kind",
    [tarfile.DIRTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE],
)
def test_only_plain_files_and_links_are_accepted(kind: bytes) -> None:
    with pytest.raises(InvalidBundle, match="neither a plain file nor a link"):
        bundle.unpack(hostile("thing", kind, linkname="x"))


@pytest.mark.parametrize("parent", [link("a", "b"), MAIN])
def test_a_path_below_a_file_or_a_link_is_refused(parent: SourceFile) -> None:
    below = SourceFile(path=f"{parent.path}/x/y", mode=FileMode.REGULAR, content=b"")

    with pytest.raises(InvalidBundle, match="is no folder"):
        bundle.pack([parent, below], RUNTIME)


def test_two_members_with_one_path_are_refused() -> None:
    with pytest.raises(InvalidBundle, match="two members"):
        bundle.pack([MAIN, MAIN], RUNTIME)


def test_a_link_target_that_is_not_utf_8_is_refused() -> None:
    source = SourceFile(path="a", mode=FileMode.SYMLINK, content=b"\xff")

    with pytest.raises(InvalidBundle, match="UTF-8"):
        bundle.pack([source], RUNTIME)


def test_a_decompression_bomb_is_refused_before_it_fills_the_memory() -> None:
    bomb = gzip.compress(bytes(bundle.MAX_BYTES * 2), compresslevel=1)

    with pytest.raises(BodyTooLarge):
        bundle.unpack(bomb)


def test_files_over_the_limit_are_not_packed() -> None:
    with pytest.raises(BodyTooLarge):
        bundle.pack([MAIN], RUNTIME, max_bytes=10)


def test_too_many_files_are_not_packed() -> None:
    with pytest.raises(InvalidBundle, match="more than 1 files"):
        bundle.pack([MAIN, link("a", "b")], RUNTIME, max_files=1)


def without_runtime() -> bytes:
    return tar_of((member("a.py"), b""))


def with_foreign_runtime() -> bytes:
    return tar_of((member(bundle.RUNTIME_PATH), b'{"entry":"a.py","kind":"python","memory":1}'))


def with_broken_runtime() -> bytes:
    return tar_of((member(bundle.RUNTIME_PATH), b"{"))


def with_endless_runtime() -> bytes:
    return tar_of((member(bundle.RUNTIME_PATH), b'{"memory":' + b"[" * 100_000))


def cut_in_the_middle() -> bytes:
    return bundle.pack([MAIN], RUNTIME)[:-20]


def cut_inside_a_file() -> bytes:
    whole = gzip.decompress(bundle.pack([MAIN], RUNTIME))
    return gzip.compress(whole[: 3 * 512 + 5])


def with_something_behind() -> bytes:
    return bundle.pack([MAIN], RUNTIME) + b"more"


@pytest.mark.parametrize(
    "broken",
    [
        bytes,
        lambda: b"garbage",
        without_runtime,
        with_foreign_runtime,
        with_broken_runtime,
        with_endless_runtime,
        cut_in_the_middle,
        cut_inside_a_file,
        with_something_behind,
        lambda: gzip.compress(b"no tar" * 200),
        lambda: gzip.compress(b""),
    ],
)
def test_data_that_is_no_bundle_is_refused(broken: Callable[[], bytes]) -> None:
    with pytest.raises(InvalidBundle):
        bundle.unpack(broken())


@given(st.binary(max_size=600), st.integers(0, 2000))
def test_a_damaged_bundle_raises_only_documented_errors(noise: bytes, place: int) -> None:
    whole = bytearray(gzip.decompress(bundle.pack([MAIN, link("a", "b")], RUNTIME)))
    whole[place : place + len(noise)] = noise

    with contextlib.suppress(InvalidBundle, BodyTooLarge, ProblemsFound):
        bundle.verify(gzip.compress(bytes(whole), 1), content_hash([MAIN], RUNTIME))
