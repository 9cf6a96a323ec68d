"""One Git tree: what lies where, and the bytes of what is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from fox.source.git import Git, cut
from model.digest import FileMode, SourceFile
from model.errors import InvalidRequest

_MODES = {mode.value: mode for mode in FileMode}
_GITLINK = "160000"
_NEVER = "__pycache__"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One path of a tree.

    Attributes:
        mode: As git spells it.
        blob: Id of its content.
    """

    mode: str
    blob: str


class Tree(msgspec.Struct, frozen=True, kw_only=True):
    """The files below the app's folder, without ``__pycache__``.

    Attributes:
        git: Where blobs are read from, as long as its object store is there.
        entries: By path relative to the app's folder.
    """

    git: Git
    entries: Mapping[str, Entry]

    def below(self, path: str) -> list[str]:
        """Return the paths of a file, or of everything in a folder."""
        folder = path.rstrip("/") + "/"
        return [each for each in self.entries if each == path or each.startswith(folder)]

    def read(self, paths: Iterable[str]) -> dict[str, SourceFile]:
        """Return the files at ``paths``.

        Raises:
            InvalidRequest: One is a submodule or has another mode that no component may have.
        """
        wanted = {path: self.entries[path] for path in paths}
        modes = {path: _mode(path, entry) for path, entry in wanted.items()}
        contents = _read_blobs(self.git, {entry.blob for entry in wanted.values()})
        return {
            path: SourceFile(path=path, mode=modes[path], content=contents[entry.blob])
            for path, entry in wanted.items()
        }


def read_tree(git: Git, treeish: str) -> Tree:
    """Return the part of a commit or tree that lies in git's folder; empty if it was not there.

    Raises:
        InvalidRequest: A file's name is not UTF-8.
    """
    prefix = git.text("rev-parse", "--show-prefix").rstrip("/")
    folder = git.find("rev-parse", "--verify", "--quiet", f"{treeish}:{prefix}")
    listing = git.run("ls-tree", "-r", "-z", "--full-tree", folder) if folder else b""
    entries = dict(map(_entry, cut(listing)))
    return Tree(git=git, entries={k: v for k, v in entries.items() if _NEVER not in k.split("/")})


def _entry(line: bytes) -> tuple[str, Entry]:
    head, _, path = line.partition(b"\t")
    mode, _, blob = head.decode().split(" ")
    try:
        return path.decode(), Entry(mode=mode, blob=blob)
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"file name {path!r} is not UTF-8: rename it") from error


def _mode(path: str, entry: Entry) -> FileMode:
    if entry.mode in _MODES:
        return _MODES[entry.mode]
    if entry.mode == _GITLINK:
        raise InvalidRequest(
            f"{path} is a Git repository of its own (a submodule): "
            "a component's files must be in the app's repository"
        )
    raise InvalidRequest(f"{path} has mode {entry.mode}: only files and symlinks can be deployed")


def _read_blobs(git: Git, blobs: set[str]) -> dict[str, bytes]:
    ordered = sorted(blobs)
    output = git.run("cat-file", "--batch", stdin="".join(f"{each}\n" for each in ordered).encode())
    contents = {}
    at = 0
    for blob in ordered:
        # Each answer is `<id> blob <size>\n<content>\n`.
        start = output.index(b"\n", at) + 1
        size = int(output[at : start - 1].split(b" ")[2])
        contents[blob] = output[start : start + size]
        at = start + size + 1
    return contents
