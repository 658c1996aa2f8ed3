"""Cohorts loaded once a session, made-up patients, textbook formulas that serve as oracles, and a list
of measured differences.
"""

import os
import random
import resource
import shutil
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import pytest
from browser import QUIET, ROOT, chromium, free_port, quiet_settings, served
from kernels import quick_kernels

import genomed_workbench as gw
from genomed_workbench.cli.app import main
from genomed_workbench.teaching.folder import prepare_folder

COHORTS = ("leukemia-nw-england", "transplant-4-hospitals", "ipssm-study")
MEASURED: dict[str, float] = {}
PATIENCE = 60_000  # milliseconds that a browser test waits for what must come: a loaded machine may take its time


def pytest_configure():
    "A shell's background job ignores Ctrl-C, and so would every process that a test starts: heed it."
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items):
    """Two workers: tests that share a fixture of their file stay together, all others go wherever
    there is room, and one Ray at a time is started.
    """
    for item in items:
        if item.get_closest_marker("ray"):
            item.add_marker(pytest.mark.xdist_group("ray"))
        elif shares_a_fixture(item):
            item.add_marker(pytest.mark.xdist_group(item.path.name))


def shares_a_fixture(item: pytest.Item) -> bool:
    "True where a test asks for something that is made once, and takes its time: its file's own, or JupyterLab."
    known = getattr(item, "_fixtureinfo", None)
    asked = [definitions[-1] for definitions in known.name2fixturedefs.values()] if known else []
    return any(
        one.scope in ("module", "class")
        or one.argname == "lab"
        or (one.scope == "session" and one.func.__module__ == item.module.__name__)
        for one in asked
    )


def pytest_sessionfinish(session):
    "A worker hands over what it has measured, in Python's own numbers: xdist carries no others."
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["measured"] = {
            name: float(value) for name, value in MEASURED.items()
        }


def pytest_testnodedown(node):
    "The largest difference of all workers."
    for name, value in getattr(node, "workeroutput", {}).get("measured", {}).items():
        MEASURED[name] = max(MEASURED.get(name, 0.0), value)


def pytest_terminal_summary(terminalreporter):
    "The largest differences that the tests have seen."
    if MEASURED:
        terminalreporter.section("largest differences measured")
        for name, value in sorted(MEASURED.items()):
            terminalreporter.write_line(f"{value:8.1e}  {name}")


def measure(name: str, found: Any, expected: Any, bar: float) -> float:
    "Note the largest absolute difference under `name` and hold it against its bar."
    found, expected = np.asarray(found, float), np.asarray(expected, float)
    assert found.shape == expected.shape, f"{name}: shapes {found.shape} and {expected.shape}"
    assert (np.isnan(found) == np.isnan(expected)).all(), f"{name}: NaN in different places"
    largest = float(np.nanmax(np.abs(found - expected), initial=0.0))
    MEASURED[name] = max(MEASURED.get(name, 0.0), largest)
    assert largest <= bar, f"{name}: largest difference {largest:.2e}, allowed {bar:.0e}"
    return largest


def computed() -> float:
    "Seconds of processor time of the processes that this one has run."
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def study_folder() -> Path | None:
    "The folder that holds ipssm-study, if there is one."
    places = [os.environ.get("GENOMED_DATA"), Path(__file__).parents[2] / "shared" / "data"]
    return next(
        (Path(place) for place in places if place and (Path(place) / "ipssm-study").is_dir()), None
    )


@pytest.fixture(scope="session")
def cohort_of() -> Callable[[str], gw.Cohort]:
    "A registered cohort by its name, loaded once; skips with the reason where it cannot be had."
    kept: dict[str, gw.Cohort] = {}

    def load(name: str) -> gw.Cohort:
        if name not in kept:
            options = {}
            if name == "ipssm-study":
                folder = study_folder()
                if folder is None:
                    pytest.skip(
                        "the folder ipssm-study is absent: get it from "
                        "github.com/papaemmelab/IPSSMstudy and set GENOMED_DATA"
                    )
                options["folder"] = folder
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", gw.CohortWarning)
                try:
                    kept[name] = gw.load_cohort(name, **options)
                except gw.CohortError as error:
                    if "not installed" not in str(error):
                        raise
                    pytest.skip(str(error))
        return kept[name]

    return load


@pytest.fixture(scope="session")
def federation_of(cohort_of) -> Callable[[str], gw.Federation]:
    "All rows of a registered cohort as training rows: by real hospital, ipssm-study in 60/30/10."
    kept: dict[str, gw.Federation] = {}

    def make(name: str) -> gw.Federation:
        if name not in kept:
            cohort = cohort_of(name)
            if cohort.site is None:
                kept[name] = gw.Federation.split(cohort, (60, 30, 10), test_share=0.0, seed=0)
            else:
                kept[name] = gw.Federation.by_site(cohort, small="keep", test_share=0.0)
        return kept[name]

    return make


@pytest.fixture(scope="session")
def copy_of_nbs(tmp_path_factory) -> Path:
    "A copy of the notebooks to run in, so that nothing they write lands in the repository."
    folder = tmp_path_factory.mktemp("repository")
    shutil.copytree(
        ROOT / "nbs", folder / "nbs", ignore=shutil.ignore_patterns(".ipynb_checkpoints")
    )
    return folder


@pytest.fixture(scope="session")
def execute():
    "Run a notebook from top to bottom in a folder, in a fresh kernel."
    with quick_kernels() as run:
        yield run


@pytest.fixture
def genomed(monkeypatch, capfd):
    "Call the console script's function in this process; gives exit status, stdout, stderr."

    def call(*args: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["genomed", *map(str, args)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return ended.value.code, out, err

    return call


@pytest.fixture
def kept_ray(monkeypatch):
    "Ray, which goes on when a job is done: starting it takes longer than a small job."
    ray = pytest.importorskip(
        "ray", reason='Ray is not installed: pip install "genomed-workbench[ray]"'
    )
    monkeypatch.setattr(ray, "shutdown", lambda: None)


@pytest.fixture
def chance():
    "Python's and numpy's own random states, put back after the test."
    before = random.getstate(), np.random.get_state()
    yield
    random.setstate(before[0])
    np.random.set_state(before[1])


def federate(federation: gw.Federation, learner: gw.Learner, **options: Any) -> gw.Run:
    "gw.federate without a progress bar."
    return gw.federate(federation, learner, progress=False, **options)


def training_table(federation: gw.Federation) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    "All training rows in one table: raw features, outcome, hospital."
    rows = federation.train_rows
    site = np.repeat(list(federation.sites), [len(s.train_rows) for s in federation.sites.values()])
    return federation.cohort.X.iloc[rows], federation.cohort.y[rows], site


def standardised(X: pd.DataFrame) -> pd.DataFrame:
    "Fill, dummy-code, centre and scale with pandas only; the most frequent level is the reference."
    parts = []
    for name in X.columns:
        if pd.api.types.is_numeric_dtype(X[name]):
            values = X[name].astype(float)
            parts.append(values.fillna(values.mean()).rename(name))
        else:
            values = X[name].astype(object)
            counts = values.value_counts()
            ordered = sorted(counts.index, key=lambda level: (-counts[level], str(level)))
            parts += [
                (values == level).astype(float).rename(f"{name}={level}") for level in ordered[1:]
            ]
    Z = pd.concat(parts, axis=1)
    Z = Z.loc[:, Z.max() > Z.min()]
    return (Z - Z.mean()) / Z.std()


def textbook_cox(
    Z: np.ndarray,
    time: np.ndarray,
    event: np.ndarray,
    beta: np.ndarray,
    ties: str,
    stratum: np.ndarray | None = None,
):
    "Log-likelihood, gradient and Hessian as the textbook writes them: one event time after the other, S2 in full."
    stratum = np.zeros(len(Z), int) if stratum is None else stratum
    w, ll, g, H = np.exp(Z @ beta), 0.0, np.zeros(Z.shape[1]), np.zeros((Z.shape[1], Z.shape[1]))
    for s in pd.unique(stratum):
        here = stratum == s
        for t in np.unique(time[here & (event > 0)]):
            risk, dead = (
                np.flatnonzero(here & (time >= t)),
                np.flatnonzero(here & (time == t) & (event > 0)),
            )
            s0, s1, s2 = _moments(Z[risk], w[risk])
            d0, d1, d2 = _moments(Z[dead], w[dead])
            ll, g = ll + (Z[dead] @ beta).sum(), g + Z[dead].sum(axis=0)
            for k in range(len(dead)):
                share = k / len(dead) if ties == "efron" else 0.0
                phi, m = s0 - share * d0, (s1 - share * d1) / (s0 - share * d0)
                ll, g, H = ll - np.log(phi), g - m, H + (s2 - share * d2) / phi - np.outer(m, m)
    return ll, g, H


def _moments(Z: np.ndarray, w: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    "Sums of weights, weighted rows and weighted cross-products."
    return w.sum(), w @ Z, (Z * w[:, None]).T @ Z


def textbook_fit(
    Z: np.ndarray,
    time: np.ndarray,
    event: np.ndarray,
    ties: str,
    stratum: np.ndarray | None = None,
    penalty: float = 0.0,
) -> np.ndarray:
    "Newton steps on the textbook formulas, halved where the likelihood falls; parameters without information stay 0."
    beta, ridge = np.zeros(Z.shape[1]), penalty * len(Z)
    for _ in range(60):
        ll, g, H = textbook_cox(Z, time, event, beta, ties, stratum)
        on, step = np.diag(H) > 1e-9, np.zeros(len(beta))
        H = H + ridge * np.eye(len(beta))
        step[on] = np.linalg.solve(H[np.ix_(on, on)], (g - ridge * beta)[on])
        if np.abs(step).max() < 1e-11:
            return beta + step
        value = ll - ridge / 2 * beta @ beta
        while (
            textbook_cox(Z, time, event, beta + step, ties, stratum)[0]
            - ridge / 2 * (beta + step) @ (beta + step)
            < value - 1e-9
        ):
            step = step / 2
        beta = beta + step
    raise AssertionError("the textbook did not converge")


def made_up(
    n: int = 200, p: int = 2, seed: int = 0, ties: float | None = None
) -> tuple[pd.DataFrame, np.ndarray]:
    "Made-up patients with a survival outcome; `ties` rounds the times up to multiples of it."
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.normal(size=(n, p)), columns=[f"f{i}" for i in range(p)])
    death, lost = rng.exponential(np.exp(-0.5 * X["f0"].to_numpy())), rng.exponential(2.0, n)
    time = np.minimum(death, lost) + 1e-3
    return X, outcome(np.ceil(time / ties) * ties if ties else time, death <= lost)


def outcome(time: np.ndarray, event: np.ndarray) -> np.ndarray:
    "A structured survival outcome."
    y = np.zeros(len(time), dtype=[("event", bool), ("time", float)])
    y["time"], y["event"] = time, event
    return y


def as_cohort(
    X: pd.DataFrame, y: np.ndarray, site: Any = None, name: str = "made-up patients"
) -> gw.Cohort:
    "A cohort of made-up patients, survival or binary."
    if y.dtype.names:
        frame, asked = (
            X.assign(years=y["time"], died=y["event"].astype(int)),
            gw.Survival("years", "died"),
        )
    else:
        frame, asked = X.assign(case=np.asarray(y, int)), gw.Binary("case")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gw.CohortWarning)
        return gw.Cohort.from_frame(
            frame if site is None else frame.assign(hospital=site),
            asked,
            site=None if site is None else "hospital",
            features=list(X.columns),
            name=name,
            virtual=True,
        )


def in_hospitals(X: pd.DataFrame, y: np.ndarray, site: Any, **options: Any) -> gw.Federation:
    "A federation of made-up patients; every row trains unless asked otherwise."
    return gw.Federation.by_site(
        as_cohort(X, y, site), **{"small": "keep", "test_share": 0.0, **options}
    )


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """The address of a JupyterLab that serves a copy of the notebooks and a trainee's folder with the
    lessons, one for all browser tests.
    """
    home = tmp_path_factory.mktemp("lab")
    shutil.copytree(ROOT / "nbs", home / "nbs", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    prepare_folder(home / "nbs" / "lessons")
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
        f"--ServerApp.root_dir={home / 'nbs'}",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    with served(
        [sys.executable, "-m", "jupyterlab", *options],
        f"http://127.0.0.1:{port}/api/status",
        home,
        quiet_settings(home / "settings"),
    ):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="session")
def browser():
    "A headless Chromium, or a skip that says what is missing."
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'"
    )
    path = chromium()
    if path is None:
        pytest.skip(
            "no Chromium found: apt-get install chromium, or set GENOMED_CHROMIUM to a Chromium or Chrome"
        )
    playwright.expect.set_options(timeout=PATIENCE)
    with playwright.sync_playwright() as p:
        opened = p.chromium.launch(executable_path=path, args=QUIET)
        yield opened
        opened.close()


@pytest.fixture
def page(browser):
    "A fresh page that notes errors of its console and requests to other hosts."
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    one = context.new_page()
    one.set_default_timeout(PATIENCE)
    one.errors, one.abroad = [], []
    one.on("console", lambda m: one.errors.append(m.text) if m.type == "error" else None)
    one.on("pageerror", lambda e: one.errors.append(str(e)))
    context.on(
        "request",
        lambda r: (
            one.abroad.append(r.url)
            if urlsplit(r.url).scheme.startswith(("http", "ws"))
            and urlsplit(r.url).hostname != "127.0.0.1"
            else None
        ),
    )
    yield one
    context.close()
