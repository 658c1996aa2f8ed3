"""Render README.md from the stored outputs of nbs/index.ipynb. Nothing is executed: the same notebook, the same page.

`#| hide` leaves a cell out, `#| echo: false` its code; `--check` writes nothing and fails where README.md differs.
"""

import argparse
import re
import sys
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter
from nbformat.v4 import new_markdown_cell, new_output

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK, README = ROOT / "nbs" / "index.ipynb", ROOT / "README.md"
HEADER = (
    "<!-- Rendered from nbs/index.ipynb by `make readme`: edit the notebook, not this file. -->\n\n"
)
WIDGET = "application/vnd.jupyter.widget-view+json"
DIRECTIVE = re.compile(r"^#\|\s*(.+?)\s*$", re.MULTILINE)


def shown(cell: nbformat.NotebookNode) -> nbformat.NotebookNode | None:
    "A cell as the page shows it; None where it is hidden."
    if cell.cell_type != "code":
        return cell
    directives = {re.sub(r"\s*:\s*", ": ", found) for found in DIRECTIVE.findall(cell.source)}
    if "hide" in directives:
        return None
    if "echo: false" in directives:
        return new_markdown_cell("\n\n".join(filter(None, map(as_text, cell.outputs))))
    cell.source = DIRECTIVE.sub("", cell.source).strip()
    cell.outputs = [new_output("stream", text=text) for text in map(as_text, cell.outputs) if text]
    return cell


def as_text(output: nbformat.NotebookNode) -> str:
    "An output as text; nothing for progress bars and warnings."
    if output.get("name") == "stderr" or WIDGET in output.get("data", {}):
        return ""
    data = output.get("data", {})
    return output.get("text") or data.get("text/markdown") or data.get("text/plain", "")


def render(path: Path = NOTEBOOK) -> str:
    "The page as Markdown."
    notebook = nbformat.read(path, as_version=4)
    notebook.cells = [cell for cell in map(shown, notebook.cells) if cell is not None]
    notebook.metadata["language_info"] = {"name": "python"}
    body, _ = MarkdownExporter().from_notebook_node(notebook)
    lines = "\n".join(line.rstrip() for line in body.splitlines())
    return HEADER + re.sub(r"\n{3,}", "\n\n", lines).strip() + "\n"


def main() -> int:
    "0 if README.md is what the notebook says."
    parser = argparse.ArgumentParser(description="Render README.md from nbs/index.ipynb.")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail where README.md differs"
    )
    page = render()
    if not parser.parse_args().check:
        README.write_text(page, encoding="utf-8")
        return 0
    same = README.exists() and README.read_text(encoding="utf-8") == page
    if not same:
        print("README.md is not what nbs/index.ipynb renders to. Run: make readme", file=sys.stderr)
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
