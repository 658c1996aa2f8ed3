"`genomed lab` as a trainee meets it on the first day: JupyterLab in Chromium, on the start notebook of a new folder."

import os
import re
import signal
import subprocess
import sys

import pytest
from browser import wait_for_server
from playwright.sync_api import expect

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")]
GENOMED = [sys.executable, "-c", "from genomed_workbench.cli.app import main; main()"]


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    "A running `genomed lab` in a home of its own: its address and its folder."
    home = tmp_path_factory.mktemp("home")
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("JUPYTER", "IPYTHON"))
    }
    with (home / "errors").open("w") as errors:
        command = [*GENOMED, "lab", "--no-browser"]
        process = subprocess.Popen(
            command,
            cwd=home,
            env={**clean, "HOME": str(home)},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        assert process.stdout is not None
        said = ""
        while "Ctrl-C" not in said:
            line = process.stdout.readline()
            assert line, (home / "errors").read_text()
            said += line
        address = re.search(r"http://\S+", said).group(0)
        wait_for_server(address, process, home / "errors")
        yield address, home / "genomed-lessons"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)


def test_the_first_minutes(started, page, tmp_path):
    """The start notebook opens by itself, five lines tick, the list leads to the first lesson, and
    nobody else is asked for anything.
    """
    address, folder = started
    page.goto(address)
    page.locator(".jp-Notebook .jp-Cell").first.wait_for()
    page.get_by_text("| Idle").first.wait_for()
    expect(page.locator(".lm-TabBar-tab.lm-mod-current", has_text="start.ipynb")).to_have_count(1)
    assert page.locator("dialog, .jp-Dialog, .jp-toastContainer button").count() == 0, (
        "no question stands before the welcome"
    )
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.locator('[data-command="runmenu:run-all"]').click()
    setup = page.locator(".genomed-setup")
    expect(setup).to_contain_text("Everything works. You can begin.", timeout=120_000)
    expect(setup).to_contain_text("your browser answered")
    expect(setup.get_by_role("listitem")).to_have_count(5)
    expect(setup.get_by_role("img", name="works", exact=True)).to_have_count(5)
    page.screenshot(path=tmp_path / "start.png")
    panel = page.locator(".jp-CodeCell").nth(1)
    expect(panel.get_by_role("table", name="Your lessons")).to_be_visible()
    assert (
        page.locator('[data-mime-type="application/vnd.jupyter.error"]').count()
        == page.locator('[data-mime-type="application/vnd.jupyter.stderr"]').count()
        == 0
    )
    panel.get_by_role("link", name="Begin: Your first federation →").click()
    expect(
        page.locator(".lm-TabBar-tab.lm-mod-current", has_text="00_first_federation.ipynb")
    ).to_be_visible()
    page.screenshot(path=tmp_path / "lesson.png")
    assert page.errors == [] and page.abroad == []
    assert (folder / "progress.json").is_file()
