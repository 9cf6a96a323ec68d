"""A file with a secret, which is read only if no other user may read it.

One rule holds for the key file, the credentials of NATS and the tokens of the control API:

- A file that belongs to the user of this process must be closed to the group and to others.
- A file of root or of another user is protected by its owner, who has let this process read it.
  Mounted secrets are of this kind: Kubernetes shows them as links to files of root. A process that
  runs as root owns them too, so it needs ``defaultMode: 0400``.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from kubefox.errors import InvalidRequest

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def read(
    path: Path, noun: str, *, named_by: str = "", missing: str = "No such file or directory"
) -> str:
    """Return the text of a file with a secret.

    Args:
        path: The file, or a link to it.
        noun: Its kind, such as ``token file``, for messages.
        named_by: Option or variable that names it, for messages; empty if that is clear.
        missing: What the message says if it does not exist.

    Raises:
        InvalidRequest: It cannot be read, is not text, or other users may read it. The message
            names the file and none of its content.
    """
    shown = f"the {noun} {path} of {named_by}" if named_by else f"the {noun} {path}"
    try:
        with path.open(encoding="utf-8") as file:
            _check_private(path, shown, os.fstat(file.fileno()))
            return file.read()
    except FileNotFoundError as error:
        raise InvalidRequest(f"{shown} cannot be read: {missing}") from error
    except OSError as error:
        raise InvalidRequest(f"{shown} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"{shown} cannot be read: it is not text") from error


def _check_private(path: Path, shown: str, status: os.stat_result) -> None:
    if status.st_uid == os.geteuid() and status.st_mode & _OTHERS:
        raise InvalidRequest(
            f"other users may read {shown}: run chmod 600 {path}, or mount a Secret of Kubernetes "
            "with defaultMode: 0400"
        )
