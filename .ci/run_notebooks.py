"""Run notebooks from top to bottom, each in a real kernel and in its own folder, and store their outputs.

Widgets and progress bars are not stored: without their kernel they would show as an error; what a widget says in HTML
for that case stays.
Without arguments: every notebook below nbs/.
"""

import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbdev.clean import nbdev_clean

ROOT = Path(__file__).resolve().parents[1]
WIDGET = "application/vnd.jupyter.widget-view+json"


def run(path: Path) -> float:
    "Run one notebook in place; the seconds it took."
    start = time.perf_counter()
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=900,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        store_widget_state=False,
    )
    client.execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [out for out in map(without_widget, cell.outputs) if out is not None]
    nbformat.write(notebook, path)
    nbdev_clean(fname=str(path))
    return time.perf_counter() - start


def without_widget(output: nbformat.NotebookNode) -> nbformat.NotebookNode | None:
    "An output without its widget: the HTML that stands for it, or nothing."
    data = output.get("data", {})
    if data.pop(WIDGET, None) is not None and "text/html" not in data:
        return None
    return output


def main(names: list[str]) -> None:
    "Run the notebooks named, or all."
    paths = [Path(name).resolve() for name in names] or sorted(
        p for p in (ROOT / "nbs").rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts
    )
    for path in paths:
        print(f"{run(path):7.1f} s  {path.relative_to(ROOT)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
