"The first webinar as a trainee meets it: a real JupyterLab in a real Chromium, its control moved by keyboard."

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]


def chromium() -> str | None:
    "A Chromium of this machine; GENOMED_CHROMIUM names another one."
    named = os.environ.get("GENOMED_CHROMIUM")
    if named:
        return named
    found = (shutil.which(name) for name in ("/usr/bin/chromium", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"))
    return next((path for path in found if path), None)


def free_port() -> int:
    "A port that nobody listens on."
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def quiet_settings(home: Path) -> dict[str, str]:
    "JupyterLab with folders of its own and no news, so that nothing of this machine's settings is read or changed."
    kinds = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
    folders = {kind: home / kind.lower() for kind in kinds}
    for folder in folders.values():
        folder.mkdir(parents=True)
    page = folders["JUPYTER_CONFIG_DIR"] / "labconfig" / "page_config.json"
    page.parent.mkdir()
    page.write_text(json.dumps({"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}))
    tracker = folders["JUPYTERLAB_SETTINGS_DIR"] / "@jupyterlab" / "notebook-extension" / "tracker.jupyterlab-settings"
    tracker.parent.mkdir(parents=True)
    tracker.write_text(json.dumps({"windowingMode": "none"}))  # all cells in the page, also those out of sight
    return {kind: str(folder) for kind, folder in folders.items()}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    "The address of a JupyterLab that serves a copy of the notebooks."
    home = tmp_path_factory.mktemp("lab")
    shutil.copytree(ROOT / "nbs", home / "nbs", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    port = free_port()
    options = ["--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=",
               "--ServerApp.password=", "--ServerApp.disable_check_xsrf=True", f"--ServerApp.root_dir={home / 'nbs'}",
               "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    log = (home / "log").open("w")
    server = subprocess.Popen([sys.executable, "-m", "jupyterlab", *options], env={**os.environ, **quiet_settings(home / "settings")}, stdout=log, stderr=log)
    try:
        wait_for_server(f"http://127.0.0.1:{port}/api/status", server, home / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(20)
        log.close()


def wait_for_server(address: str, server: subprocess.Popen, log: Path) -> None:
    "Until JupyterLab answers, at most a minute."
    for _ in range(240):
        if server.poll() is not None:
            break
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.25)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")


@pytest.fixture(scope="module")
def browser():
    "A headless Chromium, or a skip that says what is missing."
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'")
    path = chromium()
    if path is None:
        pytest.skip("no Chromium found: apt-get install chromium, or set GENOMED_CHROMIUM to a Chromium or Chrome")
    with playwright.sync_playwright() as p:
        opened = p.chromium.launch(executable_path=path, args=QUIET)
        yield opened
        opened.close()


@pytest.fixture
def page(browser):
    "A fresh page that notes errors of its console and requests to other hosts."
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    one = context.new_page()
    one.set_default_timeout(60_000)
    one.errors, one.abroad = [], []
    one.on("console", lambda m: one.errors.append(m.text) if m.type == "error" else None)
    one.on("pageerror", lambda e: one.errors.append(str(e)))
    context.on("request", lambda r: one.abroad.append(r.url) if urlsplit(r.url).scheme.startswith(("http", "ws")) and urlsplit(r.url).hostname != "127.0.0.1" else None)
    yield one
    context.close()


def run_all(page, address: str, notebook: str) -> None:
    "Open a notebook and run all its cells."
    page.goto(f"{address}/lab/tree/{notebook}?reset")
    page.locator(".jp-Notebook .jp-Cell").first.wait_for()
    page.get_by_text("| Idle").first.wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.locator('[data-command="runmenu:run-all"]').click()


def test_the_first_webinar_in_jupyterlab(lab, page, tmp_path):
    "Run all, move the slider with an arrow key, type a number: text and figure follow, and nothing is asked of another host."
    from playwright.sync_api import expect

    run_all(page, lab, "webinars/00_first_federation.ipynb")
    widget = page.locator(".jp-OutputArea-output .widget-vbox").first
    handle, number, words, figure = widget.get_by_role("slider"), widget.get_by_label("or type a number"), widget.get_by_role("status"), widget.locator("img")
    expect(page.locator(".jp-CodeCell").last).to_contain_text("Joining helped in", timeout=180_000)
    assert page.locator('[data-mime-type="application/vnd.jupyter.stderr"]').count() == 0
    assert page.locator('[data-mime-type="application/vnd.jupyter.error"]').count() == 0
    widget.scroll_into_view_if_needed()
    before, drawn = words.inner_text(), figure.get_attribute("src")
    size = int(number.input_value())
    assert before.startswith(f"With {size} patients") and figure.get_attribute("alt") == before
    widget.screenshot(path=tmp_path / "before.png")

    handle.focus()
    start = time.perf_counter()
    page.keyboard.press("ArrowRight")
    expect(words).to_contain_text(f"With {size + 15} patients", timeout=20_000)
    seconds = time.perf_counter() - start
    expect(figure).not_to_have_attribute("src", drawn)
    after, drawn = words.inner_text(), figure.get_attribute("src")
    assert after != before and figure.get_attribute("alt") == after and number.input_value() == str(size + 15)
    widget.screenshot(path=tmp_path / "after.png")
    assert seconds < 10, f"the control took {seconds:.1f} s to answer"

    number.fill("240")
    number.press("Enter")
    expect(words).to_contain_text("With 240 patients", timeout=20_000)
    expect(figure).not_to_have_attribute("src", drawn)
    assert handle.get_attribute("aria-valuetext") == "240"
    page.screenshot(path=tmp_path / "page.png")

    unnamed = page.locator(".jp-OutputArea-output img:not([alt]), .jp-OutputArea-output img[alt='']")
    assert unnamed.count() == 0, "a figure without a text alternative"
    assert page.errors == []
    assert page.abroad == []
