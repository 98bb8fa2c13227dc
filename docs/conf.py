"""Configuration of the documentation site; `make docs` builds it."""

from __future__ import annotations

import sys
from pathlib import Path

# The generators of the reference stand beside the pages: docs/_generate.
sys.path.insert(0, str(Path(__file__).parents[1]))

from saxs_bluesky import __version__

project = "saxs-bluesky"
author = "the saxs-bluesky developers"
copyright = "the saxs-bluesky developers"  # noqa: A001
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "docs._figures",
    "docs._generate",
]
exclude_patterns = ["_figures", "_generate", "_static", "how-to/example_plugin"]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "attrs_block"]
myst_heading_anchors = 4
# Links to files that are no pages, such as the systemd unit, become downloads.
myst_links_external_new_tab = True

# Docstrings: types stand in the signature, once.
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"
default_role = "py:obj"
python_maximum_signature_line_length = 100

# All references are checked, but two kinds are no links: names of other packages, since the site is built without the
# network, and private types in the signatures of public functions.
nitpick_ignore_regex = [
    (r"py:.*", r"(?!saxs_bluesky\.).*"),
    (r"py:.*", r"saxs_bluesky(\.\w+)*\._.*"),
    (r"py:.*", r"saxs_bluesky\.support\..*"),
]

html_theme = "pydata_sphinx_theme"
html_title = "saxs-bluesky"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_theme_options = {
    "show_prev_next": True,
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "header_links_before_dropdown": 5,
    "secondary_sidebar_items": ["page-toc"],
    "navbar_end": ["theme-switcher"],
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
    "pygments_light_style": "a11y-light",
    "pygments_dark_style": "a11y-dark",
}
html_sidebars: dict[str, list[str]] = {"index": []}

copybutton_prompt_text = r">>> |\.\.\. |\$ |In \[\d*\]: | {2,5}\.\.\.: "
copybutton_prompt_is_regexp = True
