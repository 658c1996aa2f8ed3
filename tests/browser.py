"A real JupyterLab and a real Chromium for the browser tests: what they share."

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def chromium() -> str | None:
    "A Chromium of this machine; GENOMED_CHROMIUM names another one."
    named = os.environ.get("GENOMED_CHROMIUM")
    if named:
        return named
    found = (
        shutil.which(name)
        for name in (
            "/usr/bin/chromium",
            "chromium",
            "chromium-browser",
            "google-chrome",
            "google-chrome-stable",
        )
    )
    return next((path for path in found if path), None)


def free_port() -> int:
    "A port that nobody listens on."
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def quiet_settings(home: Path) -> dict[str, str]:
    "JupyterLab with folders of its own and no news, so that nothing of this machine's settings is read or changed."
    kinds = (
        "JUPYTER_CONFIG_DIR",
        "JUPYTER_DATA_DIR",
        "JUPYTER_RUNTIME_DIR",
        "IPYTHONDIR",
        "JUPYTERLAB_SETTINGS_DIR",
        "JUPYTERLAB_WORKSPACES_DIR",
    )
    folders = {kind: home / kind.lower() for kind in kinds}
    for folder in folders.values():
        folder.mkdir(parents=True)
    page = folders["JUPYTER_CONFIG_DIR"] / "labconfig" / "page_config.json"
    page.parent.mkdir()
    page.write_text(
        json.dumps({"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}})
    )
    tracker = (
        folders["JUPYTERLAB_SETTINGS_DIR"]
        / "@jupyterlab"
        / "notebook-extension"
        / "tracker.jupyterlab-settings"
    )
    tracker.parent.mkdir(parents=True)
    tracker.write_text(
        json.dumps({"windowingMode": "none"})
    )  # all cells in the page, also those out of sight
    return {kind: str(folder) for kind, folder in folders.items()}


@contextmanager
def served(
    command: list[str], address: str, home: Path, settings: dict[str, str]
) -> Iterator[None]:
    "Run a server while something looks at it; its log lies in `home`."
    log = home / "log"
    with log.open("w") as out:
        server = subprocess.Popen(
            command, env={**os.environ, **settings}, stdout=out, stderr=out, cwd=home
        )
        try:
            wait_for_server(address, server, log)
            yield
        finally:
            server.terminate()
            server.wait(20)


def wait_for_server(address: str, server: subprocess.Popen, log: Path) -> None:
    "Until a server answers, at most a minute."
    for _ in range(240):
        if server.poll() is not None:
            break
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.25)
    pytest.fail(f"the server did not start:\n{log.read_text()[-3000:]}")


def run_all(page, address: str, notebook: str) -> None:
    "Open a notebook and run all its cells."
    page.goto(f"{address}/lab/tree/{notebook}?reset")
    page.locator(".jp-Notebook .jp-Cell").first.wait_for()
    page.get_by_text("| Idle").first.wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.locator('[data-command="runmenu:run-all"]').click()


class _Ear:
    "Stands for a lesson's session and keeps the questions."

    def __init__(self) -> None:
        self.heard: dict[str, tuple] = {}

    def key(self, *args, **more) -> None:
        "An exercise's key is not of interest here."

    def questions(self, name: str, *questions) -> None:
        "Keep the questions of a quiz."
        self.heard[name] = questions


def questions_of(lesson) -> dict[str, tuple]:
    "The questions of every quiz of a lesson, from its key cells alone, without running it."
    ear = _Ear()
    for name in lesson.quizzes:
        exec(lesson.keys[name], {"lesson": ear})
    return ear.heard


def faults(page, **asked) -> list[str]:
    "What axe-core calls serious or critical on a page, or in a part of it (context=): the rule, and where."
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright",
        reason="axe-playwright-python is not installed: pip install -e '.[dev]'",
    ).Axe()
    found = axe.run(
        page, options={"resultTypes": ["violations"], "preload": False}, **asked
    ).response["violations"]
    return [
        f"{v['id']}: {node['html'][:200]}"
        for v in found
        if v["impact"] in ("serious", "critical")
        for node in v["nodes"]
    ]


def finished(page, timeout: float = 240_000) -> None:
    """Wait until the last code cell was run (cells run in order; one whose code is folded shows no
    number) and the kernel rests.
    """
    page.wait_for_function(
        """() => {
        const prompts = [...document.querySelectorAll('.jp-Notebook .jp-CodeCell .jp-InputPrompt')];
        const asked = prompts.map(p => p.textContent).filter(t => t.trim());
        return asked.length > 3 && !asked.some(t => t.includes('*')) && /\\d/.test(asked[asked.length - 1]);
    }""",
        timeout=timeout,
    )
    page.get_by_text("| Idle").first.wait_for()
