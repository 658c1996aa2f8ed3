"The site: Sphinx over the pages that stage.py makes from the notebooks. Nothing is executed; stored outputs are shown."

import gc
import sys
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config

import genomed_workbench as gw

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS), str(DOCS / "extensions")]

gc.disable()  # the pages live until the end: to look through them for garbage again and again takes half the time

project = "Genomed Workbench"
author = "Genomed Workbench contributors"
copyright = author
release = version = gw.__version__
language = "en"

extensions = ["myst_nb", "sphinx.ext.autodoc", "mathml", "arguments"]
root_doc = "index"
default_role = "code"
nitpicky = True
# autodoc writes the bases of a class as references; those of other packages are not on this site
nitpick_ignore_regex = [("py:.*", r"(?!genomed_workbench).*"), ("py:.*", r".*\._\w+")]

nb_execution_mode = "off"
nb_render_markdown_format = "myst"
nb_ipywidgets_js = {}
nb_code_prompt_show = "Show the code"
nb_code_prompt_hide = "Hide the code"
nb_output_stderr = "remove"
nb_merge_streams = True
myst_enable_extensions = [
    "dollarmath",
    "amsmath",
    "colon_fence",
    "attrs_inline",
    "attrs_block",
    "deflist",
    "smartquotes",
]
myst_heading_anchors = 4
myst_heading_slug_func = "stage.slug"
myst_update_mathjax = False
suppress_warnings = ["myst.header"]

autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
python_use_unqualified_type_names = True
add_module_names = False
toc_object_entries_show_parents = "hide"

html_theme = "pydata_sphinx_theme"
html_title = "Genomed Workbench"
html_math_renderer = "mathml"
html_static_path = [str(DOCS / "_static")]
html_css_files = ["site.css"]
html_favicon = str(DOCS / "_static" / "mark.svg")
html_copy_source = False
html_show_sourcelink = False
html_use_index = False
html_domain_indices = False
html_context = {"default_mode": "light"}
ALONE = ("index", "webinars/glossary", "licence", "contributing", "changelog", "security", "search")
html_sidebars: dict[str, list[str]] = {name: [] for name in ALONE}
html_theme_options = {
    "logo": {
        "text": "Genomed Workbench",
        "image_light": "_static/mark.svg",
        "image_dark": "_static/mark.svg",
        "alt_text": "",
    },
    "navbar_end": [],
    "header_links_before_dropdown": 6,
    "show_nav_level": 1,
    "show_toc_level": 1,
    "search_bar_text": "Search",
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-light",
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version", "theme-version"],
    "back_to_top_button": False,
    "navigation_with_keys": False,
}


def with_pictures(app: Sphinx, config: Config) -> None:
    "The pictures that stage.py took out of the pages lie beside them."
    config.html_static_path.append(str(Path(app.srcdir) / "_pictures"))


def setup(app: Sphinx) -> None:
    "Called by Sphinx."
    app.connect("config-inited", with_pictures)
