"""Formulas as MathML, by the converter that lessons and slides use: browsers draw and read it
themselves, so no script and no font is fetched.
"""

from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)


def mathml(node: nodes.Node, display: str) -> str:
    "One formula; what cannot be converted is a warning, and so stops the build."
    try:
        return convert(node.astext(), display=display)
    except Exception as error:  # the converter raises a dozen kinds
        logger.warning("no MathML for %s (%s)", node.astext(), error, location=node)
        return ""


def visit_inline(self: Any, node: nodes.math) -> None:
    "A formula in a line of text."
    self.body.append(mathml(node, "inline"))
    raise nodes.SkipNode


def visit_block(self: Any, node: nodes.math_block) -> None:
    "A formula on a line of its own; wide ones can be scrolled."
    self.body.append(
        f'<div class="math" tabindex="0" role="group" aria-label="formula">{mathml(node, "block")}</div>\n'
    )
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    "Chosen in conf.py by html_math_renderer."
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
