"""The key encryption that the settings name: a file by default, or a program."""

from __future__ import annotations

from pathlib import Path

from broker.runtime.settings import Settings
from broker.storage.key_encryption import KeyEncryption
from fox.data_dir import KEY_FILE
from fox.key_command import KeyCommand
from fox.key_file import KeyFile


def key_encryption(settings: Settings) -> KeyEncryption:
    """Return the key encryption of a process."""
    if settings.key_file:
        file = KeyFile(Path(settings.key_file), is_own=False)
    else:
        file = KeyFile(settings.data_dir / KEY_FILE, is_own=True)
    return KeyCommand(settings.key_command, file) if settings.key_command else file
