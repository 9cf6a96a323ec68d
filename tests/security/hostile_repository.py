"""Git repositories that try to run a program of theirs when somebody reads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.support.repository import Repository, app_files


class HostileRepository(Repository):
    """An app's repository beside a program that leaves a file when it is run.

    Args:
        root: Where the repository is made.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(root / "app")
        self.canary = root / "the-program-was-run"
        self.program = str(self._script("program", f'touch "{self.canary}"\nexit 1\n'))
        self.write(app_files("shop", "api"))
        self.commit()

    def config(self, key: str, value: str) -> None:
        """Set a configuration variable of the repository."""
        self.git("config", key, value)

    def attribute(self, line: str) -> None:
        """Add a line to the repository's committed attributes."""
        self.write({".gitattributes": line + "\n"})
        self.commit()

    def hook(self, name: str) -> None:
        """Make the program a hook of the repository."""
        (self.root / ".git/hooks").mkdir(exist_ok=True)
        (self.root / ".git/hooks" / name).symlink_to(self.program)

    def touch(self, name: str) -> None:
        """Write a file anew with its content, so that git compares the contents."""
        file = self.folder / name
        content = file.read_bytes()
        file.unlink()
        file.write_bytes(content)

    def _script(self, name: str, text: str) -> Path:
        script = self.root.parent / name
        script.write_text("#!/bin/sh\n" + text)
        script.chmod(0o755)
        return script


def monitor(repository: HostileRepository) -> None:
    repository.config("core.fsmonitor", repository.program)


def included_monitor(repository: HostileRepository) -> None:
    text = f"[core]\n\tfsmonitor = {repository.program}\n"
    repository.write({"settings": text})
    repository.commit()
    repository.config("include.path", "../settings")


def monitor_of_the_worktree(repository: HostileRepository) -> None:
    repository.config("extensions.worktreeConfig", "true")
    repository.git("config", "--worktree", "core.fsmonitor", repository.program)


def hook_of_the_index(repository: HostileRepository) -> None:
    repository.hook("post-index-change")


def folder_of_hooks(repository: HostileRepository) -> None:
    folder = repository.root / "hooks"
    folder.mkdir()
    (folder / "post-index-change").symlink_to(repository.program)
    repository.commit()
    repository.config("core.hooksPath", "hooks")


def clean_filter(repository: HostileRepository) -> None:
    repository.attribute("*.py filter=evil")
    repository.config("filter.evil.clean", repository.program)


def filter_process(repository: HostileRepository) -> None:
    repository.attribute("*.py filter=evil")
    repository.config("filter.evil.process", repository.program)
    repository.config("filter.evil.required", "true")


def filter_of_private_attributes(repository: HostileRepository) -> None:
    (repository.root / ".git/info/attributes").write_text("*.py filter=evil\n")
    repository.config("filter.evil.clean", repository.program)


def monitor_of_a_submodule(repository: HostileRepository) -> None:
    inner = Repository(repository.root / "inner")
    inner.commit()
    inner.git("config", "core.fsmonitor", repository.program)
    repository.write({".gitmodules": '[submodule "inner"]\n\tpath = inner\n\turl = ./inner\n'})
    repository.git("-c", "core.fsmonitor=false", "add", "--all")
    repository.commit()
    repository.canary.unlink(missing_ok=True)


def external_diff(repository: HostileRepository) -> None:
    repository.config("diff.external", repository.program)
    repository.write({"components/api/main.py": "changed"})


def converter_to_text(repository: HostileRepository) -> None:
    repository.attribute("*.py diff=evil")
    repository.config("diff.evil.textconv", repository.program)
    repository.write({"components/api/main.py": "changed"})


def promisor(repository: HostileRepository, key: str, value: str) -> None:
    """Make a missing object one that git fetches."""
    repository.config("core.repositoryFormatVersion", "1")
    repository.config("extensions.partialClone", "evil")
    repository.config("remote.evil.promisor", "true")
    repository.config("remote.evil.url", str(repository.root))
    repository.config(key, value)
    blob = repository.git("rev-parse", "HEAD:components/api/main.py")
    (repository.root / ".git/objects" / blob[:2] / blob[2:]).unlink()


def fetch_with_a_program(repository: HostileRepository) -> None:
    promisor(repository, "remote.evil.uploadpack", repository.program)


def fetch_with_ssh(repository: HostileRepository) -> None:
    promisor(repository, "core.sshCommand", repository.program)
    repository.config("remote.evil.url", "ssh://host.invalid/shop")


def fetch_with_an_external_transport(repository: HostileRepository) -> None:
    promisor(repository, "protocol.ext.allow", "always")
    repository.config("remote.evil.url", f"ext::{repository.program}")


Attack = Callable[[HostileRepository], None]

READ_BLOB = ("cat-file", "blob", "HEAD:components/api/main.py")
ATTACKS: dict[Attack, tuple[str, ...]] = {
    monitor: ("status",),
    included_monitor: ("status",),
    monitor_of_the_worktree: ("status",),
    hook_of_the_index: ("add", "--all"),
    folder_of_hooks: ("add", "--all"),
    clean_filter: ("status",),
    filter_process: ("add", "--all"),
    filter_of_private_attributes: ("status",),
    monitor_of_a_submodule: ("status",),
    external_diff: ("diff",),
    converter_to_text: ("diff",),
    fetch_with_a_program: READ_BLOB,
    fetch_with_ssh: READ_BLOB,
    fetch_with_an_external_transport: READ_BLOB,
}
"""Each attack, with the git command that it catches."""

MORE_PROGRAMS = (
    "alias.status",
    "core.alternateRefsCommand",
    "core.askPass",
    "core.editor",
    "core.gitProxy",
    "core.pager",
    "credential.helper",
    "diff.evil.command",
    "filter.evil.smudge",
    "gpg.program",
    "gpg.ssh.program",
    "interactive.diffFilter",
    "merge.evil.driver",
    "pager.config",
    "pager.ls-tree",
    "pager.status",
    "remote.origin.receivepack",
    "sequence.editor",
    "uploadpack.packObjectsHook",
)
"""Variables that name a program, which git runs only in commands or on terminals of their own."""
