"""Settings of Sphinx for the documentation; `make docs` builds it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from docs.generator.pages import expand  # noqa: E402 - after the path is set

project = "KubeFox"
html_title = "KubeFox for Python"
html_theme = "furo"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["generator"]

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
# Unions of many types are shown by their name.
autodoc_type_aliases = {name: name for name in ("Handler", "Content", "Value", "Chunks")}
napoleon_numpy_docstring = False
napoleon_use_ivar = True

_ALIAS = re.compile(r"TypeAliasForwardRef\('(\w+)'\)")


def setup(app: Any) -> None:
    """Make the generated pages from the code, each time that pages are read."""
    app.connect("source-read", _expand)
    app.connect("autodoc-process-signature", _name_aliases)


def _expand(_app: Any, _name: str, content: list[str]) -> None:
    content[0] = expand(content[0])


def _name_aliases(_app: Any, *signature: Any) -> tuple[str | None, str | None]:
    """Show the alias ``Handler`` as its name, inside other types too."""
    arguments, returned = signature[-2:]
    return _ALIAS.sub(r"\1", arguments or "") or None, _ALIAS.sub(r"\1", returned or "") or None
