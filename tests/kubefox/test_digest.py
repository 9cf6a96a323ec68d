from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubefox.digest import HASH_LENGTH, FileMode, RuntimeSpec, SourceFile, content_hash

files_of_a_component = st.lists(
    st.builds(
        SourceFile,
        path=st.text(min_size=1, max_size=8),
        mode=st.sampled_from(FileMode),
        content=st.binary(max_size=8),
    ),
    max_size=5,
    unique_by=lambda file: file.path,
)
PYTHON = RuntimeSpec()
MAIN = SourceFile(path="components/a/main.py", mode=FileMode.REGULAR, content=b"kit = Kit()\n")


@given(files_of_a_component, st.randoms())
def test_the_hash_does_not_depend_on_the_order_of_the_files(
    files: list[SourceFile], order: Random
) -> None:
    shuffled = list(files)
    order.shuffle(shuffled)

    assert content_hash(shuffled, PYTHON) == content_hash(files, PYTHON)


@given(files_of_a_component, files_of_a_component)
def test_hashes_are_equal_only_for_equal_files(
    some: list[SourceFile], others: list[SourceFile]
) -> None:
    def by_path(files: list[SourceFile]) -> list[SourceFile]:
        return sorted(files, key=lambda file: file.path)

    same = content_hash(some, PYTHON) == content_hash(others, PYTHON)

    assert same == (by_path(some) == by_path(others))


@pytest.mark.parametrize(
    "changed",
    [
        msgspec.structs.replace(MAIN, path="components/a/main2.py"),
        msgspec.structs.replace(MAIN, mode=FileMode.EXECUTABLE),
        msgspec.structs.replace(MAIN, content=b"kit = Kit()"),
    ],
    ids=["path", "mode", "content"],
)
def test_a_change_of_any_part_of_a_file_changes_the_hash(changed: SourceFile) -> None:
    assert content_hash([changed], PYTHON) != content_hash([MAIN], PYTHON)


@pytest.mark.parametrize(
    "runtime",
    [RuntimeSpec(entry="app.py"), RuntimeSpec(kind="other"), RuntimeSpec(image="a.b/c@sha256:0")],
)
def test_the_runtime_is_part_of_the_hash(runtime: RuntimeSpec) -> None:
    assert content_hash([MAIN], runtime) != content_hash([MAIN], PYTHON)


def test_bytes_cannot_move_from_one_field_to_the_next() -> None:
    left = SourceFile(path="ab", mode=FileMode.REGULAR, content=b"c")
    right = SourceFile(path="a", mode=FileMode.REGULAR, content=b"bc")

    assert content_hash([left], PYTHON) != content_hash([right], PYTHON)


def test_the_hash_is_the_same_in_every_version_of_the_platform() -> None:
    # A platform that hashes otherwise would start every component of every deployment anew.
    assert content_hash([MAIN], PYTHON) == "62dfb038623d05444653f3a8c07117e6"
    assert len(content_hash([], PYTHON)) == HASH_LENGTH


def test_two_files_with_one_path_are_refused() -> None:
    with pytest.raises(ValueError, match=r"components/a/main\.py"):
        content_hash([MAIN, MAIN], PYTHON)
