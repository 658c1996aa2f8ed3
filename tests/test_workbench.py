"The workbench panel without a browser: what is clicked is what its code does, errors are words, and Stop stops."

import html
import json
import random
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import MEASURED, as_cohort, federate, in_hospitals, made_up
from flwr.serverapp.strategy import FedAvg
from flwr.supercore.task_identity import TaskIdentity

import genomed_workbench as gw
from genomed_workbench.data.cards import card_of, cards
from genomed_workbench.data.problems import CohortError
from genomed_workbench.evaluation import figures, survival_pictures
from genomed_workbench.federation import jobs
from genomed_workbench.output import page as page_module
from genomed_workbench.output import pictures
from genomed_workbench.workbench import panel as panel_module
from genomed_workbench.workbench.choices import Call, Choices, Name, in_play, written
from genomed_workbench.workbench.live import Watcher, live_svg, ticks
from genomed_workbench.workbench.uploads import free_name, guessed, header_of, keep_upload
from genomed_workbench.workbench.words import LABELS, in_words, said

MINUTES = 240


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    "An empty folder to work in, as if the notebook lay there."
    monkeypatch.chdir(tmp_path)
    return tmp_path


def register(n: int = 150, seed: int = 3) -> pd.DataFrame:
    "Made-up patients as a hospital's export has them."
    rng = np.random.default_rng(seed)
    X, y = made_up(n, 2, seed)
    return pd.DataFrame(
        {
            "Patient ID": np.arange(n),
            "Klinik": rng.choice(["Köln", "Bonn", "Ulm"], n),
            "Alter": (60 + 10 * X["f0"]).round(1),
            "Hb": (9 + X["f1"]).round(2),
            "sex": rng.choice(["f", "m"], n),
            "OS Jahre": y["time"].round(3) + 0.001,
            "status": np.where(y["event"], "dead", "alive"),
            "remission": rng.integers(0, 2, n),
        }
    )


def upload(bench: gw.Workbench, name: str, content: bytes) -> None:
    "What the browser does when a person picks a file."
    bench.upload.value = (
        {
            "name": name,
            "type": "text/csv",
            "size": len(content),
            "content": memoryview(content),
            "last_modified": pd.Timestamp.now("UTC"),
        },
    )
    assert bench.wait(30)


def opened(**chosen) -> gw.Workbench:
    "A panel that has looked at its patients."
    bench = gw.Workbench(**{"cohort": "made-up-aml", "repeats": 2, "tune": False, **chosen})
    assert bench.wait(60)
    return bench


def clicked(bench: gw.Workbench) -> gw.Workbench:
    "Run pressed, and waited for."
    bench.buttons["run"].click()
    assert bench.wait(MINUTES)
    return bench


def text(bench: gw.Workbench, place: str) -> str:
    "What a place of the panel says."
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", bench.places[place].value)).split())


def carried_out(code: str) -> dict:
    "The names that printed code leaves in an empty namespace."
    names: dict = {}
    exec(compile(code, "printed", "exec"), names)
    return names


GRID = {
    "as it comes": {},
    "tuned": {"tune": True},
    "another outcome": {"outcome": "remission", "model": "LogisticRegression"},
    "few features": {"features": ("wbc", "age")},
    "hospitals kept, others seed": {
        "small": "keep",
        "min_patients": 90,
        "seed": 7,
        "test_share": 0.3,
    },
    "shares": {"divide": "shares", "shares": "60, 30, 10"},
    "odd shares": {"divide": "shares", "shares": " 1.5,1 , 2.25 "},
    "unlike outcomes and patients": {
        "divide": "shares",
        "shares": "50,30,20",
        "shift_outcome": 0.5,
        "shift_column": "age",
        "shift_strength": 0.8,
    },
    "a hospital that does not measure": {
        "divide": "shares",
        "shares": "50,30,20",
        "blank_hospital": "hospital-2",
        "blank_columns": ("wbc", "blasts"),
    },
    "sizes drawn": {"divide": "shares", "shares": "4", "unequal": 0.8},
    "as many alike": {"divide": "shares", "shares": "4"},
    "shared baseline": {"baseline": "shared"},
    "FedAvg": {"strategy": "FedAvg", "rounds": 3, "penalty": 0.1},
    "FedProx, binary": {
        "strategy": "FedProx",
        "mu": 0.5,
        "rounds": 3,
        "outcome": "remission",
        "model": "LogisticRegression",
        "divide": "shares",
        "shares": "70,30",
    },
    "FedAdam": {"strategy": "FedAdam", "rounds": 3},
    "only train": {"task": "train"},
    "only train, tuned": {"task": "train", "tune": True, "seed": 5},
    "only train, averaged": {"task": "train", "strategy": "FedAvg", "rounds": 4, "seed": 2},
    "only train, no test patients": {"task": "train", "test_share": 0.0},
}


@pytest.mark.parametrize("name", GRID)
def test_the_printed_code_gives_the_panels_table_to_the_last_digit(name):
    bench = clicked(opened(**GRID[name]))
    assert bench.error is None and "Done in" in text(bench, "status"), text(bench, "status")
    for field, value in GRID[name].items():
        assert getattr(bench.choices, field) == value, f"{field} was not set"
    names = carried_out(bench.code)
    if bench.choices.task == "train":
        pd.testing.assert_frame_equal(
            bench.run.learner.summary_, names["run"].learner.summary_, check_exact=True
        )
        assert (
            bench.comparison is None
            and bench.run.learner.beta_.tobytes() == names["run"].learner.beta_.tobytes()
        )
    else:
        pd.testing.assert_frame_equal(
            bench.comparison.table, names["comparison"].table, check_exact=True
        )
        pd.testing.assert_frame_equal(
            bench.comparison.gain, names["comparison"].gain, check_exact=True
        )
    assert len(bench.code.splitlines()) <= 13


FILES = {
    "csv": ("register.csv", lambda t: t.to_csv(index=False).encode()),
    "german": (
        "Register Köln (1).csv",
        lambda t: t.to_csv(index=False, sep=";", decimal=",").encode("utf-8-sig"),
    ),
    "tsv": ("register.tsv", lambda t: t.to_csv(index=False, sep="\t").encode()),
    "excel's first line": (
        "register.txt",
        lambda t: b"sep=;\n" + t.to_csv(index=False, sep=";").encode(),
    ),
    "parquet": ("register.parquet", lambda t: t.to_parquet(index=False) or b""),
}


@pytest.mark.parametrize(
    ("words", "proposed"),
    [
        (("verstorben", "lebt"), "{'lebt': 0, 'verstorben': 1}"),
        (("deceduto", "vivo"), "{'deceduto': 1, 'vivo': 0}"),
        (("overleden", "leeft"), "{'leeft': 0, 'overleden': 1}"),
        (("verstorben", "verzogen"), "{'verstorben': 1, 'verzogen': '?'}"),
        (("2", "1", "0"), "{'0': '?', '1': '?', '2': '?'}"),
    ],
)
def test_the_panel_guesses_no_event(words, proposed, folder):
    "What a word of the file means is proposed where a language tells it, and asked for otherwise."
    bench, file = opened(), register()
    file["status"] = np.resize(words, len(file))
    upload(bench, "register.csv", file.to_csv(index=False).encode())
    assert bench.choices.event == "status" and bench.federation is None
    assert proposed in text(bench, "patients"), text(bench, "patients")


@pytest.mark.parametrize("kind", FILES)
def test_an_uploaded_file_by_its_name(kind, folder):
    "Upload, correct the menus, run; the code reads the file by its name, in a fresh process too."
    name, as_bytes = FILES[kind]
    bench = opened()
    upload(bench, name, as_bytes(register()))
    c = bench.controls
    assert (
        bench.choices.source == "file" and bench.choices.file == name and (folder / name).exists()
    )
    assert {f: bench.choices.__dict__[f] for f in ("time", "event", "id")} == {
        "time": "OS Jahre",
        "event": "status",
        "id": "Patient ID",
    }
    assert (
        "status" in text(bench, "patients")
        and "alive" in text(bench, "patients")
        and bench.federation is None
    ), "not yet: the event is written in words"
    assert f"“{LABELS['coding']}”" in text(bench, "patients")
    c["coding"].value = "alive=0, dead=1"
    c["features"].value = ("Alter", "Hb", "sex")
    c["divide"].value = "site"
    assert bench.wait(30) and set(bench.federation.sites) == {"Köln", "Bonn", "Ulm"}, text(
        bench, "patients"
    )
    clicked(bench)
    assert bench.error is None, text(bench, "status")
    pd.testing.assert_frame_equal(
        bench.comparison.table, carried_out(bench.code)["comparison"].table, check_exact=True
    )
    if kind == "german":
        code = bench.code.replace(
            "comparison.table",
            "print(comparison.table.to_json(orient='split', double_precision=15))",
        )
        fresh = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code],
            capture_output=True,
            text=True,
            cwd=folder,
            check=True,
        ).stdout.splitlines()[-1]
        assert json.loads(fresh) == json.loads(
            bench.comparison.table.to_json(orient="split", double_precision=15)
        )


def test_a_yes_or_no_from_a_file():
    Path("r.csv").write_bytes(register().to_csv(index=False).encode())
    bench = opened(
        source="file",
        file="r.csv",
        kind="binary",
        answer="remission",
        features=("Alter", "Hb"),
        divide="site",
        model="LogisticRegression",
    )
    clicked(bench)
    assert bench.error is None and bench.cohort.kind == "binary", text(bench, "status")
    pd.testing.assert_frame_equal(
        bench.comparison.table, carried_out(bench.code)["comparison"].table, check_exact=True
    )


FEW = ("age", "hemoglobin", "marrow_blasts", "cytogenetic_risk", "TP53multi", "SF3B1")


def test_a_score_that_the_cohort_can_compute_stands_beside_the_model():
    bench = opened(
        cohort="virtual-mds",
        features=FEW,
        divide="shares",
        shares="60, 40",
        scores=("ipss-m", "ipss-r"),
    )
    assert (
        set(bench.choices.scores) == {"ipss-m", "ipss-r"}
        and bench.controls["scores"].layout.display is None
    )
    assert 'scores=["ipss-m", "ipss-r"]' in bench.code
    clicked(bench)
    assert bench.error is None, text(bench, "status")
    pd.testing.assert_frame_equal(
        bench.comparison.table, carried_out(bench.code)["comparison"].table, check_exact=True
    )
    beside = bench.comparison.table[bench.comparison.table.arm == "clinical score"]
    assert (
        set(beside.trained_on) == {"ipss-m", "ipss-r"}
        and (beside.query("tested_on == 'all' and metric == 'harrell_c'")["mean"] > 0.6).all()
    )
    bench.controls["cohort"].value = "made-up-aml"
    assert (
        bench.choices.scores == ()
        and bench.controls["scores"].layout.display == "none"
        and "scores" not in bench.code
    )
    bench.wait(30)


@pytest.mark.parametrize("name", [name for name, card in cards().items() if card.get("scores")])
def test_the_scores_that_the_panel_offers_can_be_had(name, cohort_of):
    "Columns of the cohort, or systems of its own disease that most of its patients get."
    cohort = cohort_of(name)
    for one in card_of(name)["scores"]:
        values = cohort.frame[one] if one in cohort.frame else gw.score(cohort, one)["score"]
        assert values.notna().mean() > 0.7 and values.nunique() > 1, one


def test_an_upload_overwrites_nothing(folder):
    (folder / "register.csv").write_text("mine\n")
    bench = opened()
    upload(bench, "register.csv", register().to_csv(index=False).encode())
    assert (
        folder / "register.csv"
    ).read_text() == "mine\n" and bench.choices.file == "register-2.csv"
    assert "register-2.csv" in text(bench, "patients") or "register-2.csv" in bench.code
    upload(bench, "register.csv", register().to_csv(index=False).encode())
    assert bench.choices.file == "register-2.csv" and sorted(p.name for p in folder.iterdir()) == [
        "register-2.csv",
        "register.csv",
    ]
    for odd, expected in (
        ("../../etc/passwd.csv", "passwd.csv"),
        ("C:\\data\\a b.csv", "a b.csv"),
        ("<img>.csv", "_img_.csv"),
        (".csv.csv", "csv.csv"),
    ):
        assert keep_upload(odd, b"a,b\n1,2\n", folder) == expected
    assert free_name("register.csv", folder) == "register-3.csv"


def test_a_file_that_changes_is_read_again(folder):
    path = folder / "r.csv"
    path.write_text(
        "t,e,x,s\n" + "".join(f"{i + 1},{i % 2},{i * 7 % 5},{'AB'[i % 2]}\n" for i in range(60))
    )
    bench = opened(source="file", file="r.csv", time="t", event="e", site="s", divide="site")
    assert bench.cohort.n == 60
    path.write_text(
        "t,e,x,s\n" + "".join(f"{i + 1},{i % 2},{i * 7 % 5},{'AB'[i % 2]}\n" for i in range(80))
    )
    clicked(bench)
    assert bench.cohort.n == bench.comparison.federation.cohort.n == 80


# Errors, in words


def test_faults_of_a_file_are_listed_with_row_and_column(folder):
    table = register().astype(object)
    table.loc[4, "OS Jahre"], table.loc[9, "status"], table.loc[11, "OS Jahre"] = (
        "2 months",
        "gone",
        -1,
    )
    bench = opened()
    upload(bench, "register.csv", table.to_csv(index=False).encode())
    bench.controls["coding"].value = "alive=0, dead=1"
    assert bench.wait(30)
    words = text(bench, "patients")
    assert (
        "3 problems" in words
        and all(
            s in words
            for s in (
                "row 6, column 'OS Jahre'",
                "row 11, column 'status'",
                "row 13, column 'OS Jahre'",
                "2 months",
            )
        )
        and 'role="alert"' in bench.places["patients"].value
    )
    assert (
        bench.cohort is None
        and bench.places["cohort"].value == ""
        and "Traceback" not in words
        and isinstance(bench.error, CohortError)
    )
    clicked(bench)
    assert (
        bench.comparison is None
        and "problems" in text(bench, "status")
        and not bench.buttons["run"].disabled
    )


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("scan.csv", b"\x89PNG\r\n", "PNG picture"),
        ("book.xlsx", b"PK\x03\x04", "save the sheet as CSV"),
        ("empty.csv", b"", "empty"),
        ("one.csv", b"only\n1\n", "single column"),
        ("page.csv", b"<html><body>sign in</body></html>", "web page"),
        ("broken.parquet", b"PAR1 no", "Parquet"),
        ("bin.csv", b"a,b\x00\n1,2\n", "control character"),
    ],
)
def test_what_is_no_table_is_refused_in_words(name, content, words):
    bench = opened()
    upload(bench, name, content)
    assert (
        words in text(bench, "patients")
        and "Traceback" not in text(bench, "patients")
        and bench.cohort is None
    )


def test_missing_choices_are_said_beside_their_controls():
    bench = opened(divide="shares", shares="60, thirty")
    assert (
        "Sizes of hospitals" in text(bench, "hospitals")
        and "gwb-bad" in bench.controls["shares"]._dom_classes
        and bench.federation is None
    )
    clicked(bench)
    assert (
        "Not yet" in text(bench, "status")
        and bench.comparison is None
        and not bench.controls["shares"].disabled
    )
    bench.controls["shares"].value = "60, 40"
    assert (
        bench.wait(30)
        and "gwb-bad" not in bench.controls["shares"]._dom_classes
        and len(bench.federation.sites) == 2
    )


@pytest.mark.parametrize(
    ("chosen", "field"),
    [
        ({"repeats": 0}, "repeats"),
        ({"rounds": 0}, "rounds"),
        ({"seed": -1}, "seed"),
        ({"test_share": 1.0}, "test_share"),
        ({"test_share": 0.0}, "test_share"),
        ({"tune": False, "penalty": -1.0}, "penalty"),
        ({"tune": False, "penalty": float("nan")}, "penalty"),
        ({"model": "LogisticRegression"}, "model"),
        ({"outcome": "remission"}, "model"),
        ({"cohort": "mgus-mayo"}, "divide"),
        ({"source": "file"}, "file"),
        ({"source": "file", "file": "x.csv"}, "time"),
        ({"source": "file", "file": "x.csv", "time": "t", "event": "t"}, "event"),
        ({"source": "file", "file": "x.csv", "kind": "binary"}, "answer"),
        (
            {"source": "file", "file": "x.csv", "time": "t", "event": "e", "coding": "dead"},
            "coding",
        ),
        (
            {"source": "file", "file": "x.csv", "time": "t", "event": "e", "features": ("e",)},
            "features",
        ),
        ({"divide": "shares", "shares": ""}, "shares"),
        ({"divide": "shares", "shares": "1"}, "shares"),
        ({"divide": "shares", "shares": "5, -1"}, "shares"),
        ({"divide": "shares", "shares": "nan, 1"}, "shares"),
        ({"divide": "shares", "shift_outcome": 2.0}, "shift_outcome"),
        ({"strategy": "FedProx", "mu": -0.1}, "mu"),
        ({"min_patients": 0}, "min_patients"),
    ],
)
def test_wrong_choices_are_named(chosen, field):
    problems = Choices(**chosen).problems()
    assert field in problems and problems[field].endswith(".") and field in LABELS


def test_what_the_library_refuses_is_said_with_where_to_click():
    bench = opened(small="error", min_patients=90)
    words = text(bench, "hospitals")
    assert (
        "fewer than min_patients=90" in words
        and f"“{LABELS['small']}”" in words
        and bench.federation is None
    )
    clicked(bench)
    assert "fewer than min_patients=90" in text(bench, "status") and bench.comparison is None


def test_a_fault_of_the_program_is_no_traceback(monkeypatch):
    bench = opened()
    monkeypatch.setitem(
        panel_module.Workbench.__init__.__globals__, "_comparison_html", lambda *_: 1 / 0
    )
    clicked(bench)
    assert (
        "ZeroDivisionError" in text(bench, "status")
        and "fault of the program" in text(bench, "status")
        and "Traceback" not in text(bench, "status")
    )
    assert (
        bench.comparison is None
        and not bench.buttons["run"].disabled
        and bench.buttons["stop"].disabled
    )


def test_errors_have_words_and_are_escaped():
    assert in_words(gw.SiteError("Leeds", "DisclosureError: too few", "Traceback (most ...)")) == [
        "Hospital Leeds failed: DisclosureError: too few"
    ]
    assert "no space" in in_words(OSError(28, "no space left", "report.html"))[0] and in_words(
        MemoryError()
    )[0].startswith("The memory")
    assert "&lt;script&gt;" in said(["<script>"], "error") and "<script>" not in said(
        ["ok", "<script>"]
    )
    Path("r.csv").write_text(
        "t,e,<b>x</b>,s\n"
        + "".join(f"{i + 1},{i % 2},{i * 7 % 5},{'AB'[i % 2]}<i>\n" for i in range(60))
    )
    bench = opened(source="file", file="r.csv", time="t", event="e", site="s", divide="site")
    shown = "".join(place.value for place in bench.places.values())
    assert bench.federation is not None and "<b>x" not in shown and "A<i>" not in shown


# Stop


def pressed_in(bench: gw.Workbench, when) -> float:
    "Run, press Stop as soon as `when(watcher)` holds; the seconds until the panel rests."
    began, real = [], bench._watch

    def watch(watcher: Watcher) -> None:
        real(watcher)
        if not began and when(watcher):
            began.append(time.perf_counter())
            bench.buttons["stop"].click()

    bench._watch = watch
    bench.buttons["run"].click()
    assert bench.wait(MINUTES) and began, "it was never the moment"
    bench._watch = real
    return time.perf_counter() - began[0]


@pytest.mark.parametrize("task", ["compare", "train"])
def test_stop_ends_it_and_keeps_nothing(task, folder, chance, monkeypatch):
    bench = clicked(opened(tune=True))
    first, state = bench.comparison, random.getstate()
    assert first is not None
    slow = gw.CoxPH.answer
    monkeypatch.setattr(gw.CoxPH, "answer", lambda *a: (time.sleep(0.02), slow(*a))[1])
    bench.controls["repeats"].value, bench.controls["task"].value, bench.controls["tune"].value = (
        500,
        task,
        False,
    )
    bench.wait(30)
    MEASURED["Stop: seconds until the panel rests"] = pressed_in(
        bench,
        lambda w: len(w.curves.get("pooled", ())) >= 1 if task == "compare" else w.last.round >= 2,
    )
    words = text(bench, "status")
    assert (
        re.match("Stopped (in|after) r", words)
        and "Nothing of this run is kept." in words
        and "the run before" in words
    )
    assert (
        bench.comparison is first
        and bench.places["live"].value == bench.places["progress"].value == ""
        and not list(folder.iterdir())
    )
    assert (
        isinstance(bench.error, gw.Stopped)
        and random.getstate() == state
        and TaskIdentity._task_id is None
    )
    assert (
        bench.buttons["stop"].disabled
        and not bench.buttons["run"].disabled
        and not any(c.disabled for c in bench.controls.values())
    )
    assert not [t for t in threading.enumerate() if t.name == "workbench"]
    monkeypatch.undo()
    bench.controls["repeats"].value, bench.controls["task"].value, bench.controls["tune"].value = (
        2,
        "compare",
        True,
    )
    assert clicked(bench).comparison.table.equals(first.table), (
        "it runs again as if nothing had been"
    )


def test_stop_is_heard_within_a_round():
    "The third hospital of the second round is never asked."
    federation, heard = gw.Federation.by_site(gw.load_cohort("made-up-aml"), small="keep"), []

    def listen(step: gw.Step) -> None:
        heard.append((step.phase, step.round, step.site))
        if (step.phase, step.round, step.site) == ("train", 2, list(federation.sites)[1]):
            raise gw.Stopped("enough")

    with pytest.raises(gw.Stopped, match="enough"):
        gw.federate(federation, gw.CoxPH(), progress=listen)
    assert (
        heard[-3:] == [("train", 2, ""), *(("train", 2, s) for s in list(federation.sites)[:2])]
        and TaskIdentity._task_id is None
    )


@pytest.mark.parametrize(
    "phase", ["summaries", "tune", "train", "test", "pooled", "alone", "score", "repeat"]
)
def test_every_part_of_a_comparison_can_be_stopped(phase, chance):
    federation, told = gw.Federation.by_site(gw.load_cohort("made-up-aml"), small="keep"), []
    state = random.getstate()

    def listen(step: gw.Step) -> None:
        told.append(step)
        if step.phase == phase and step.repeat in (0, 2):
            raise gw.Stopped(phase)

    with pytest.raises(gw.Stopped, match=phase):
        (
            gw.federate(federation, gw.CoxPH(), progress=listen)
            if phase == "test"
            else gw.compare(federation, gw.CoxPH(), repeats=3, progress=listen)
        )
    assert told[-1].phase == phase and random.getstate() == state and TaskIdentity._task_id is None


@pytest.mark.ray
@pytest.mark.slow
def test_stop_ends_ray_too(folder, chance):
    ray = pytest.importorskip("ray")
    state = random.getstate()
    bench = opened(engine="ray", task="compare", tune=False)
    pressed_in(bench, lambda w: w.last.phase == "train" and w.last.round >= 2)
    assert re.match(
        "Stopped (in|after) r", text(bench, "status")
    ) and "Nothing of this run is kept." in text(bench, "status"), text(bench, "status")
    assert (
        bench.comparison is None
        and bench.run is None
        and not list(folder.iterdir())
        and not ray.is_initialized()
    )
    assert random.getstate() == state and TaskIdentity._task_id is None


def test_pressing_twice_is_pressing_once():
    bench, ran = opened(), []
    real = bench._carry_out
    bench._carry_out = lambda *a: (ran.append(1), real(*a))[1]
    bench.buttons["stop"].click()
    assert text(bench, "status") == ""
    for _ in range(3):
        bench.buttons["run"].click()
    assert bench.wait(MINUTES) and ran == [1] and bench.comparison is not None


# What a listener hears


def hospitals() -> gw.Federation:
    X, y = made_up(200, 3, seed=5)
    return in_hospitals(X, y, np.repeat(list("ABCD"), 50), test_share=0.2)


def test_a_listener_hears_every_answer_once_and_changes_nothing():
    told: list[gw.Step] = []
    run, plain = (
        gw.federate(hospitals(), gw.CoxPH(), tune=3, progress=told.append),
        federate(hospitals(), gw.CoxPH(), tune=3),
    )
    assert run.learner.beta_.tobytes() == plain.learner.beta_.tobytes() and run.disclosed.equals(
        plain.disclosed
    )
    rows = run.history[run.history.metric == "rows"]
    answers = [s for s in told if s.site]
    assert [(s.round, s.site) for s in answers] == list(zip(rows["round"], rows["site"])) and len(
        told
    ) == len(answers) * 5 // 4
    assert {s.phase for s in told} == set(run.history.phase) and all(
        s.asked == 4 and s.repeat == 0 for s in told
    )
    logliks = run.history[(run.history.phase == "train") & (run.history.metric == "loglik")]
    heard = [(s.round, s.site, s.values["loglik"]) for s in answers if s.phase == "train"]
    assert heard == list(zip(logliks["round"], logliks["site"], logliks["value"]))


def test_a_listener_hears_only_single_numbers():
    told: list[gw.Step] = []
    gw.federate(hospitals(), gw.CoxPH(0.01), strategy=FedAvg(), rounds=2, progress=told.append)
    assert {k for s in told for k in s.values} <= {"loss", "steps", "n", "concordant", "comparable"}


def test_a_comparison_tells_its_repeats():
    told: list[gw.Step] = []
    found = gw.compare(hospitals(), gw.CoxPH(), repeats=3, tune=False, progress=told.append)
    repeats = [s for s in told if s.phase == "repeat"]
    assert [(s.repeat, s.repeats) for s in repeats] == [(1, 3), (2, 3), (3, 3)] and set(
        repeats[0].values
    ) == {"pooled", "federated", "isolated"}
    for arm in ("pooled", "federated", "isolated"):
        assert np.isclose(np.mean([s.values[arm] for s in repeats]), found.value(arm)["mean"])
    quiet = gw.compare(hospitals(), gw.CoxPH(), repeats=3, tune=False, progress=False)
    assert found.table.equals(quiet.table)


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), gw.Stopped("x")])
def test_what_a_listener_raises_comes_out_as_it_is(error):
    def listen(step: gw.Step) -> None:
        if step.phase == "train":
            raise error

    for work in (
        lambda: gw.federate(hospitals(), gw.CoxPH(), progress=listen),
        lambda: gw.compare(hospitals(), gw.CoxPH(), repeats=2, progress=listen),
    ):
        with pytest.raises(type(error)) as caught:
            work()
        assert caught.value is error and TaskIdentity._task_id is None


@pytest.mark.parametrize("wrong", ["yes", None, 3])
def test_progress_is_a_switch_or_a_function(wrong):
    with pytest.raises(ValueError, match="progress="):
        gw.federate(hospitals(), gw.CoxPH(), progress=wrong)
    with pytest.raises(ValueError, match="progress="):
        gw.compare(hospitals(), gw.CoxPH(), repeats=2, progress=wrong)


def test_the_bar_still_moves(capsys):
    gw.compare(hospitals(), gw.CoxPH(), repeats=2, tune=False)
    assert (
        federate(hospitals(), gw.CoxPH()).converged
        and gw.federate(hospitals(), gw.CoxPH()).converged
    )


def test_two_runs_at_once_take_turns(chance):
    "From two threads: the same numbers as one after the other, and nothing of Flower's left changed."
    expected = federate(
        hospitals(), gw.CoxPH(0.01), strategy=FedAvg(fraction_train=0.6), rounds=8, seed=4
    ).learner.beta_
    found: list[np.ndarray] = []
    threads = [
        threading.Thread(
            target=lambda: found.append(
                federate(
                    hospitals(),
                    gw.CoxPH(0.01),
                    strategy=FedAvg(fraction_train=0.6),
                    rounds=8,
                    seed=4,
                ).learner.beta_
            )
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (
        len(found) == 4
        and all(b.tobytes() == expected.tobytes() for b in found)
        and TaskIdentity._task_id is None
    )


def test_who_waits_for_a_turn_can_be_stopped():
    held, free = threading.Event(), threading.Event()

    def hold() -> None:
        with jobs.one_at_a_time(None):
            held.set()
            free.wait(20)

    other = threading.Thread(target=hold)
    other.start()
    held.wait()

    def listen(step: gw.Step) -> None:
        assert step.phase == "waiting"
        raise gw.Stopped("no patience")

    with pytest.raises(gw.Stopped, match="no patience"):
        gw.federate(hospitals(), gw.CoxPH(), progress=listen)
    free.set()
    other.join()
    assert federate(hospitals(), gw.CoxPH()).converged


# Save, show, and the rest


def test_the_report_is_saved_beside_the_notebook_and_over_nothing(folder):
    (folder / "report.html").write_text("mine")
    bench = clicked(opened())
    for expected in ("report-2.html", "report-3.html"):
        bench.buttons["save"].click()
        assert (
            bench.wait(60)
            and f"Saved as {expected}" in text(bench, "saved")
            and str(folder) in text(bench, "saved")
        )
    assert (folder / "report.html").read_text() == "mine" and "C-index" in (
        folder / "report-2.html"
    ).read_text(encoding="utf-8")
    bench.report_name.value = "../../elsewhere"
    bench.buttons["save"].click()
    assert bench.wait(60) and (folder / "elsewhere.html").exists()
    assert sorted(p.name for p in folder.iterdir()) == [
        "elsewhere.html",
        "report-2.html",
        "report-3.html",
        "report.html",
    ]


def test_a_report_that_cannot_be_saved_leaves_nothing(folder, monkeypatch):
    bench = clicked(opened())
    monkeypatch.setattr(
        "genomed_workbench.output.storage.os.replace",
        lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device", "report.html")),
    )
    bench.buttons["save"].click()
    assert bench.wait(60) and "No space left" in text(bench, "saved") and not list(folder.iterdir())


def test_a_run_can_be_saved_too(folder):
    bench = clicked(opened(task="train"))
    bench.buttons["save"].click()
    assert (
        bench.wait(60)
        and gw.Run.load(folder / "run").learner.beta_.tobytes() == bench.run.learner.beta_.tobytes()
    )


@pytest.mark.parametrize("task", ["train", "compare"])
def test_a_model_that_learned_nothing_says_so(task):
    "Once, under what is to know. Oracle: a penalty of a million leaves nothing of the coefficients."
    bench = clicked(opened(task=task, penalty=1e6))
    assert text(bench, "result").count("CoxPH learned nothing") == (1 if task == "train" else 6)
    assert "learned nothing" not in text(clicked(opened(task=task)), "result")


def test_a_result_of_other_choices_says_so():
    bench = clicked(opened())
    assert text(bench, "stale") == ""
    bench.controls["seed"].value = 1
    assert bench.wait(30) and "changed since this result" in text(bench, "stale")
    bench.controls["seed"].value = 0
    assert bench.wait(30) and text(bench, "stale") == ""


def test_the_code_follows_the_clicks():
    bench = opened()
    bench.buttons["code"].click()
    assert (
        "load_cohort(&quot;made-up-aml&quot;" in bench.places["code"].value
        and bench.buttons["code"].description == "Hide the code"
    )
    bench.controls["strategy"].value = "FedProx"
    assert (
        "FedProx(proximal_mu=0.1)" in bench.places["code"].value
        and bench.controls["mu"].layout.display is None
    )
    bench.buttons["code"].click()
    assert bench.places["code"].value == ""
    bench.wait(30)


def test_only_what_is_in_play_is_shown():
    bench = opened()
    for chosen in (
        {"source": "file"},
        {"source": "cohort"},
        {"divide": "shares"},
        {"task": "train"},
        {"tune": True},
    ):
        for name, value in chosen.items():
            bench.controls[name].value = value
        play = in_play(bench.choices) - {"scores"}
        assert {n for n, c in bench.controls.items() if c.layout.display is None} == play
    bench.wait(30)


def test_cohorts_that_are_not_here_are_named_with_the_reason(monkeypatch):
    monkeypatch.delenv("GENOMED_DATA", raising=False)
    bench = gw.Workbench()
    names = [value for _, value in bench.controls["cohort"].options]
    listed = gw.cohorts()
    assert set(names) == set(listed.index[listed.available == "yes"])
    shown = " ".join(w.value for w in _all_of(bench.box) if type(w).__name__ == "HTML")
    assert all(name in shown for name in listed.index[listed.available != "yes"])
    bench.wait(60)


def _all_of(box):
    "A widget and everything in it."
    yield box
    for child in getattr(box, "children", ()):
        yield from _all_of(child)


def test_every_control_has_a_name_and_pictures_have_words():
    bench = clicked(opened())
    widgets = [
        w
        for w in _all_of(bench.box)
        if hasattr(w, "description") and type(w).__name__ not in ("HTML",)
    ]
    assert (
        len(widgets) > 35
        and all(w.description.strip() for w in widgets)
        and len({w.description for w in widgets}) == len(widgets)
    )
    images = re.findall(
        r"<img [^>]*>|<svg [^>]*>", bench.places["result"].value + bench.places["live"].value
    )
    assert len(images) == 2 and all(re.search(r'(alt|aria-label)="[^"]{20,}"', i) for i in images)
    assert all('role="' in bench.places[p].value for p in ("patients", "hospitals", "status"))


def test_without_a_kernel_it_says_what_it_is():
    bench = opened()
    bundle = bench._repr_mimebundle_()
    assert (
        "application/vnd.jupyter.widget-view+json" in bundle
        and "Stop" not in bundle["text/plain"]
        and "panel" in bundle["text/html"]
        and repr(bench) == "Workbench(made-up-aml)"
    )


def test_a_choice_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="colour: not a choice"):
        gw.Workbench(colour="blue")


def test_values_are_written_as_python():
    for value in (
        "a",
        'quo"te',
        "Köln\n",
        0.1,
        1,
        True,
        None,
        (1,),
        (1, 2.5),
        ["a", "b"],
        {"age": 0.8, "missing": {"hospital-1": ["a"]}},
    ):
        assert eval(written(value)) == value
    assert (
        str(Call("x", "gw.CoxPH", (), {})) == "x = gw.CoxPH()"
        and written(Name("cohort")) == "cohort"
    )


def test_columns_are_guessed_and_headers_read(folder):
    assert guessed(["age", "pfs_months", "relapse_status", "centre"]) == {
        "time": "pfs_months",
        "event": "relapse_status",
        "site": "centre",
        "id": "",
    }
    path = folder / "x.csv"
    path.write_text('"a;b";c\n1;2\n')
    assert header_of(path) == ["a;b", "c"]


def test_curves_survive_odd_numbers():
    svg = live_svg(
        "t",
        "x",
        "y",
        {"isolated": [(1, float("nan"))], "federated": [(1, 0.5)], "pooled": []},
        1,
        "words",
    )
    assert "nan" not in svg and svg.count("<polyline") == 3
    assert ticks(0.0, 0.0) and len(ticks(-1234.5, -1200.1)) <= 6


def test_one_palette_for_all():
    names = {"ARM_COLOURS", "VERDICT_COLOURS", "ARM_LABELS", "Picture", "as_img", "as_png"}
    seen = set()
    for module in (figures, survival_pictures, page_module, panel_module):
        for name in names & set(vars(module)):
            assert getattr(module, name) is getattr(pictures, name)
            seen.add(name)
    assert seen == names
    run = federate(hospitals(), gw.CoxPH())
    assert (
        isinstance(run.plot(), pictures.Picture)
        and run.plot().figure.axes[0].lines[0].get_color() == pictures.ARM_COLOURS["federated"]
    )


def test_a_cohort_of_many_sites_is_quick_to_show():
    X, y = made_up(2000, 3)
    start = time.perf_counter()
    federation = gw.Federation.by_site(
        as_cohort(X, y, np.arange(2000) % 200), small="keep", test_share=0.2
    )
    assert (
        panel_module.hospitals_table(federation.table).count("<tr>") == 201
        and time.perf_counter() - start < 20
    )
