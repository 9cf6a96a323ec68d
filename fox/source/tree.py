"""One Git tree: its paths, and the content of files in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from fox.source.git import Git, split_entries
from kubefox.bundle import MAX_BYTES
from kubefox.digest import FileMode, SourceFile
from kubefox.errors import BodyTooLarge, InvalidRequest

MAX_FILE_BYTES = 32 << 20
"""Size of one file of a component; all of them together fit into a bundle."""

_MODES = {mode.value: mode for mode in FileMode}
_GITLINK = "160000"
_EXCLUDED_FOLDER = "__pycache__"


class TreeEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a tree.

    Attributes:
        mode: Git's mode, such as ``100644``.
        blob: Git's id of the content.
    """

    mode: str
    blob: str


class Tree(msgspec.Struct, frozen=True, kw_only=True):
    """The files below the app's folder, without ``__pycache__``.

    Attributes:
        git: Reads the blobs, as long as its object store exists.
        entries: Entries by path, relative to the app's folder.
    """

    git: Git
    entries: Mapping[str, TreeEntry]

    def below(self, path: str) -> list[str]:
        """Return the path of a file, or the paths of all files in a folder."""
        folder = path.rstrip("/") + "/"
        return [entry for entry in self.entries if entry == path or entry.startswith(folder)]

    def read(self, paths: Iterable[str]) -> dict[str, SourceFile]:
        """Return the files at ``paths``, by path.

        Raises:
            InvalidRequest: A path is a submodule, has a mode that a component may not have, or its
            content is not in the repository.
            BodyTooLarge: A file, or all of them together, are over the limit; nothing is read then.
        """
        wanted = {path: self.entries[path] for path in paths}
        modes = {path: _mode(path, entry) for path, entry in wanted.items()}
        _check_sizes(self.git, {path: entry.blob for path, entry in wanted.items()})
        contents = _read_blobs(self.git, {entry.blob for entry in wanted.values()})
        return {
            path: SourceFile(path=path, mode=modes[path], content=contents[entry.blob])
            for path, entry in wanted.items()
        }


def read_tree(git: Git, treeish: str) -> Tree:
    """Return the part of a commit or tree in git's folder; empty if the folder did not exist.

    Raises:
        InvalidRequest: The name of a file is not UTF-8.
    """
    prefix = git.text("rev-parse", "--show-prefix").rstrip("/")
    folder = git.find("rev-parse", "--verify", "--quiet", f"{treeish}:{prefix}")
    listing = git.run("ls-tree", "-r", "-z", "--full-tree", folder) if folder else b""
    entries = dict(map(_entry, split_entries(listing)))
    return Tree(
        git=git,
        entries={
            path: entry
            for path, entry in entries.items()
            if _EXCLUDED_FOLDER not in path.split("/")
        },
    )


def _entry(line: bytes) -> tuple[str, TreeEntry]:
    head, _, path = line.partition(b"\t")
    mode, _, blob = head.decode().split(" ")
    try:
        return path.decode(), TreeEntry(mode=mode, blob=blob)
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"file name {path!r} is not UTF-8: rename the file") from error


def _mode(path: str, entry: TreeEntry) -> FileMode:
    if entry.mode in _MODES:
        return _MODES[entry.mode]
    if entry.mode == _GITLINK:
        raise InvalidRequest(
            f"{path} is a Git repository of its own (a submodule): "
            "a component's files must be in the app's repository"
        )
    raise InvalidRequest(f"{path} has mode {entry.mode}: only files and symlinks can be deployed")


def _check_sizes(git: Git, blobs: Mapping[str, str]) -> None:
    """Refuse files that are too large before their content is in memory."""
    ordered = sorted(set(blobs.values()))
    output = git.run("cat-file", "--batch-check", stdin=_lines(ordered)).decode()
    sizes = dict(map(_size, ordered, output.splitlines()))
    total = 0
    for path, blob in blobs.items():
        size = sizes[blob]
        if size > MAX_FILE_BYTES:
            raise BodyTooLarge(
                f"{path} has {size:,} bytes, a file of a component may have {MAX_FILE_BYTES:,}: "
                "remove it from the component's folder, or load it from elsewhere at run time"
            )
        total += size
        if total > MAX_BYTES:
            raise BodyTooLarge(
                f"the files of a component may have {MAX_BYTES:,} bytes together, and have more "
                f"from {path} on: remove large ones from the component's folder"
            )


def _size(blob: str, line: str) -> tuple[str, int]:
    # `<id> <type> <size>`, or `<id> missing`.
    fields = line.split(" ")
    if fields[1] == "missing":
        raise _missing(blob)
    return blob, int(fields[2])


def _missing(blob: str) -> InvalidRequest:
    return InvalidRequest(
        f"object {blob} is missing in the Git repository: if it is a partial clone, run "
        "`git fetch --refetch --no-filter`"
    )


def _lines(blobs: Iterable[str]) -> bytes:
    return "".join(f"{blob}\n" for blob in blobs).encode()


def _read_blobs(git: Git, blobs: set[str]) -> dict[str, bytes]:
    ordered = sorted(blobs)
    output = git.run("cat-file", "--batch", stdin=_lines(ordered))
    contents = {}
    offset = 0
    for blob in ordered:
        # Git's output for each blob is `<id> blob <size>\n<content>\n`.
        start = output.index(b"\n", offset) + 1
        found = output[offset : start - 1].split(b" ")
        size = int(found[2])
        contents[blob] = output[start : start + size]
        offset = start + size + 1
    return contents
