"""The workbench panel as a person meets it: in JupyterLab and under Voilà, in a real Chromium, by
clicks and by keyboard.
"""

import json
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from browser import faults, free_port, quiet_settings, run_all, served
from playwright.sync_api import expect

from genomed_workbench.workbench.page import make_template, page_command

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
HAS_VOILA = pytest.mark.skipif(
    find_spec("voila") is None, reason='Voilà is not installed: pip install -e ".[voila]"'
)
TABLE = "print(%s.table.to_json(orient='split', double_precision=15))"
CELLS = [
    "import genomed_workbench as gw\n\nbench = gw.Workbench(cohort='made-up-aml', repeats=3)\nbench",
    TABLE % "bench.comparison",
]


def notebook(path: Path, cells: list[str]) -> None:
    "A notebook of a few code cells."
    import nbformat

    nb = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(c) for c in cells],
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
        },
    )
    path.write_text(nbformat.writes(nb), encoding="utf-8")


def register(path: Path) -> Path:
    "A made-up hospital's export."
    shutil.copy(ROOT / "datasets" / "made-up-aml" / "patients.csv", path)
    return path


def fresh(code: str, folder: Path) -> dict:
    "The table of printed code, carried out in a fresh Python beside the notebook."
    assert code.strip().endswith("comparison.table")
    code = code.strip().removesuffix("comparison.table") + TABLE % "comparison"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        cwd=folder,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def ready(panel) -> None:
    "Wait until the patients are read and the hospitals made."
    panel.get_by_text("patients to learn from").wait_for()


def the_code(panel) -> str:
    "Show the code, and read it."
    panel.get_by_role("button", name="Show me the code").click()
    code = panel.locator("pre.gwb-code")
    code.wait_for()
    return code.inner_text()


def quiet(page) -> None:
    "No error in the console, nothing asked of another host, no picture without words."
    assert page.errors == [] and page.abroad == []
    expect(
        page.locator(".gwb img:not([alt]), .gwb img[alt=''], .gwb svg:not([aria-label])")
    ).to_have_count(0)


@pytest.fixture
def desk(tmp_path):
    "A folder with a notebook that holds the panel, and the address of a JupyterLab that serves it."
    work = tmp_path / "work"
    work.mkdir()
    notebook(work / "panel.ipynb", CELLS)
    port = free_port()
    options = [
        "--no-browser",
        "--allow-root",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        "--IdentityProvider.token=",
        "--ServerApp.password=",
        "--ServerApp.disable_check_xsrf=True",
        f"--ServerApp.root_dir={work}",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    with served(
        [sys.executable, "-m", "jupyterlab", *options],
        f"http://127.0.0.1:{port}/api/status",
        tmp_path,
        quiet_settings(tmp_path / "settings"),
    ):
        yield work, f"http://127.0.0.1:{port}"


def in_lab(page, address: str):
    "The panel in JupyterLab, its second cell not yet run."
    page.goto(f"{address}/lab/tree/panel.ipynb?reset")
    page.locator(".jp-Notebook .jp-Cell").first.wait_for()
    page.get_by_text("| Idle").first.wait_for()
    page.locator(".jp-Notebook .jp-Cell .cm-content").first.click()
    page.keyboard.press("Control+Enter")
    panel = page.locator(".gwb")
    ready(panel)
    return panel


def second_cell(page) -> str:
    "What the second cell prints."
    cell = page.locator(".jp-Notebook .jp-CodeCell").nth(1)
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+Enter")
    out = cell.locator(".jp-OutputArea-output").last
    out.get_by_text("columns").wait_for()
    return out.inner_text()


def test_a_full_run_in_jupyterlab_and_the_printed_code_in_a_fresh_kernel(desk, page, tmp_path):
    "Upload, choose, run, stop, run again, save; then the code gives the same table to the last digit."
    work, address = desk
    page.set_viewport_size({"width": 1280, "height": 1400})
    panel = in_lab(page, address)
    panel.get_by_label("a file of mine").check()
    with page.expect_file_chooser() as chooser:
        panel.get_by_role("button", name="Upload a file").click()
    chooser.value.set_files(register(tmp_path / "my register.csv"))
    panel.get_by_text("Kept beside this notebook as my register.csv").wait_for()
    assert (work / "my register.csv").read_bytes() == (tmp_path / "my register.csv").read_bytes()
    expect(panel.get_by_label("Follow-up time").locator("option:checked")).to_have_text("os_years")
    panel.get_by_label("Event seen").select_option("death")
    panel.get_by_label("Features").select_option(["age", "wbc", "hemoglobin"])
    panel.get_by_label("made up by shares").check()
    panel.get_by_label("Sizes of hospitals").fill("60, 30, 10")
    panel.get_by_label("Sizes of hospitals").press("Enter")
    panel.get_by_label("Unlike patients by").select_option("age")
    panel.get_by_label("Strategy").select_option("FedProx")
    panel.get_by_label("Rounds at most").fill("4")
    panel.get_by_label("Rounds at most").press("Enter")
    panel.get_by_text("3 hospitals,").wait_for()
    expect(panel.get_by_label("Pull of FedProx")).to_be_visible()

    panel.get_by_label("Repeats").fill("400")
    panel.get_by_label("Repeats").press("Enter")
    run, stop = (
        panel.get_by_role("button", name="Run", exact=True),
        panel.get_by_role("button", name="Stop", exact=True),
    )
    run.click()
    panel.locator("svg.gwb-live").wait_for()
    panel.locator(".gwb-card").nth(3).screenshot(path=tmp_path / "running.png")
    stop.click()
    panel.get_by_text("Nothing of this run is kept.").wait_for()
    expect(stop).to_be_disabled()
    expect(panel.locator("svg.gwb-live")).to_have_count(0)

    panel.get_by_label("Repeats").fill("3")
    panel.get_by_label("Repeats").press("Enter")
    run.click()
    panel.get_by_text("Done in").wait_for(timeout=180_000)
    code = the_code(panel)
    assert (
        'read_cohort("my register.csv"' in code
        and "FedProx" in code
        and '"covariate": {"age": 0.5}' in code
        and len(code.splitlines()) <= 14
    )
    panel.get_by_role("button", name="Save the report").click()
    panel.get_by_text("Saved as report.html").wait_for()
    assert "C-index" in (work / "report.html").read_text(encoding="utf-8")
    assert faults(page, context=".gwb") == []
    quiet(page)
    page.screenshot(path=tmp_path / "lab.png")
    assert json.loads(second_cell(page)) == fresh(code, work)
    expect(
        page.locator(
            '[data-mime-type="application/vnd.jupyter.stderr"], [data-mime-type="application/vnd.jupyter.error"]'
        )
    ).to_have_count(0)
    assert sorted(p.name for p in work.iterdir() if not p.name.startswith(".")) == [
        "my register.csv",
        "panel.ipynb",
        "report.html",
    ]


def test_everything_by_keyboard(desk, page):
    "From the first control to Stop and to the code with Tab, arrows, space and Enter."
    panel = in_lab(page, desk[1])
    panel.get_by_label("Registered cohort", exact=True).focus()
    reached = [focused(page)]
    for _ in range(80):
        page.keyboard.press("Tab")
        name = focused(page)
        if name == "Repeats":
            page.keyboard.press("Control+a")
            page.keyboard.type("300")
        reached.append(name)
        if name == "Run":
            break
    assert reached[-1] == "Run" and {
        "Outcome",
        "Small hospitals",
        "Learner",
        "Penalty",
        "Strategy",
        "Engine",
        "Repeats",
    } <= set(reached), reached
    page.keyboard.press("Enter")
    panel.get_by_text("In repeat").wait_for()
    while focused(page) != "Stop":
        page.keyboard.press("Tab")
    page.keyboard.press("Space")
    panel.get_by_text("Nothing of this run is kept.").wait_for()
    for _ in range(80):
        page.keyboard.press("Tab")
        if focused(page) == "Show me the code":
            break
    page.keyboard.press("Enter")
    panel.locator("pre.gwb-code").wait_for()
    assert "repeats=300" in panel.locator("pre.gwb-code").inner_text()
    quiet(page)


def focused(page) -> str:
    "The name of what has the focus."
    return page.evaluate(
        "() => { const e = document.activeElement; const l = e.labels && "
        "e.labels.length ? e.labels[0].textContent : e.textContent; return "
        "(e.getAttribute('aria-label') || l || '').trim(); }"
    )


def test_an_error_is_words_in_the_panel(desk, page, tmp_path):
    "A broken file: rows and columns are named; no traceback anywhere; the panel goes on working."
    panel = in_lab(page, desk[1])
    broken = tmp_path / "broken.csv"
    broken.write_text(
        "patient,center,os_years,os_event,age\n"
        + "".join(
            f"P{i},{'AB'[i % 2]},{'two months' if i == 4 else i + 1},{i % 2},{40 + i}\n"
            for i in range(40)
        )
    )
    panel.get_by_label("a file of mine").check()
    with page.expect_file_chooser() as chooser:
        panel.get_by_role("button", name="Upload a file").click()
    chooser.value.set_files(broken)
    panel.get_by_role("alert").get_by_text("row 6, column 'os_years'").wait_for()
    assert "Traceback" not in page.locator(".jp-Notebook").inner_text()
    panel.get_by_label("a registered cohort").check()
    ready(panel)
    expect(panel.get_by_role("alert")).to_have_count(0)
    quiet(page)


@HAS_VOILA
@pytest.mark.full
@pytest.mark.parametrize("width", [1280, 800])
def test_under_voila(width, page, tmp_path):
    "The notebook that lies ready, as a page of its own: a full run by clicks, and its code in a fresh kernel."
    work = tmp_path / "work"
    work.mkdir()
    shutil.copy(ROOT / "nbs" / "workbench.ipynb", work)
    port, settings = free_port(), quiet_settings(tmp_path / "settings")
    make_template(settings["JUPYTER_DATA_DIR"])
    page.set_viewport_size({"width": width, "height": 900})
    with served(
        page_command(work / "workbench.ipynb", port, open_browser=False),
        f"http://127.0.0.1:{port}/",
        tmp_path,
        settings,
    ):
        page.goto(f"http://127.0.0.1:{port}/")
        panel = page.locator(".gwb")
        ready(panel)
        panel.get_by_label("Registered cohort", exact=True).select_option(
            label=next(
                t
                for t in panel.get_by_label("Registered cohort", exact=True)
                .locator("option")
                .all_inner_texts()
                if t.startswith("made-up-aml")
            )
        )
        panel.get_by_text("400 patients read").wait_for()
        panel.get_by_label("Repeats").fill("2")
        panel.get_by_label("Repeats").press("Enter")
        panel.get_by_role("button", name="Run", exact=True).click()
        panel.get_by_text("Done in").wait_for(timeout=180_000)
        assert page.evaluate(
            "() => document.documentElement.scrollWidth <= document.documentElement.clientWidth + 1"
        ), "the page is wider than the window"
        shown = panel.locator(".gwb-card").nth(4).locator("table").first.inner_text()
        code = the_code(panel)
        assert faults(page, context=".gwb") == []
        quiet(page)
        page.screenshot(path=tmp_path / "voila.png", full_page=True)
        told = fresh(code, work)
        pooled = next(
            row for row in told["data"] if row[:4] == ["pooled", "all sites", "within", "harrell_c"]
        )
        assert re.search(rf"pooled table\s+{pooled[4]:.3f}", shown)
    assert not [
        p
        for p in work.iterdir()
        if p.name not in ("workbench.ipynb",) and not p.name.startswith(".")
    ]


def test_the_ready_notebook_in_jupyterlab(lab, page):
    "Run all: the panel is the last cell, and works."
    run_all(page, lab, "workbench.ipynb")
    panel = page.locator(".gwb")
    ready(panel)
    expect(page.locator(".jp-Notebook .jp-Cell").last.locator(".gwb")).to_have_count(1)
    quiet(page)
