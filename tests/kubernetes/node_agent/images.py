"""The images of the lab: a folder of programs for each image that is named with its digest.

They come before this machine's programs on the search path of a container, so that ``python`` can
be one that finds further packages. An image without a digest has no programs of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

IMAGES = "images"
"""Their folder, beside those of the nodes."""


class ImagePullError(Exception):
    """The registry of the lab does not have the image."""


class Images:
    """The images that nodes of the lab can pull.

    Args:
        folder: It need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, image: str, programs: Mapping[str, str]) -> None:
        """Make an image of scripts, by their names; one that exists stays as it is."""
        place = self._place(image)
        if place.exists():
            return
        new = place.with_suffix(".new")
        new.mkdir(parents=True)
        for name, script in programs.items():
            (new / name).write_text(script)
            (new / name).chmod(0o755)
        new.rename(place)

    def pull(self, image: str) -> Path | None:
        """Return the folder with the programs of an image, if it has programs of its own.

        Raises:
            ImagePullError: There is no such image.
        """
        if "@" not in image:
            return None
        place = self._place(image)
        if not place.is_dir():
            raise ImagePullError(f'Back-off pulling image "{image}": not found')
        return place

    def _place(self, image: str) -> Path:
        return self._folder / quote(image, safe="")
