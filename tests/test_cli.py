"The command line: what it prints, where, with which exit status, and what it says when it was asked for wrongly."

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from importlib import util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from browser import free_port
from conftest import computed
from malformed import HEADER, MALFORMED, changed, good_rows, text_of
from typer.testing import CliRunner

from genomed_workbench.cli.app import app, lab_environment, lesson_id, serve
from genomed_workbench.cli.job import open_cohort
from genomed_workbench.federation.run import Run
from genomed_workbench.teaching.lesson import lessons

GENOMED = [sys.executable, "-c", "from genomed_workbench.cli.app import main; main()"]
QUICK = ["--repeats", "2", "--features", "age,wbc"]
COLUMNS = ["--time", "os_years", "--event", "os_event", "--site", "center"]
real = pytest.mark.skipif(
    util.find_spec("SurvSet") is None,
    reason="the real cohorts are not installed (genomed-workbench[real])",
)


@pytest.fixture
def patients(tmp_path):
    "A file of 120 patients at three hospitals."
    path = tmp_path / "patients.csv"
    path.write_text(text_of(good_rows(120)))
    return path


def refused(answer: tuple[int, str, str], *fragments: str) -> None:
    "Exit status 2, a message on stderr that holds the fragments, nothing on stdout, no traceback."
    status, out, err = answer
    assert status == 2 and out == "" and "Traceback" not in err, err
    assert [fragment for fragment in fragments if fragment not in err] == [], err


def options_of(asked: dict) -> list[str]:
    "Keywords of read_cohort as options."
    spelled = {
        name: ",".join(f"{k}={v}" for k, v in value.items())
        if isinstance(value, dict)
        else ",".join(value)
        if isinstance(value, list)
        else value
        for name, value in asked.items()
        if value is not None
    }
    return [
        part
        for name, value in spelled.items()
        for part in ("--na" if name == "na_values" else f"--{name.replace('_', '-')}", value)
    ]


# --- malformed files


@pytest.mark.parametrize(
    ("write", "expected"), [case[1:] for case in MALFORMED], ids=[case[0] for case in MALFORMED]
)
def test_malformed_file_ends_in_a_sentence(tmp_path, genomed, write, expected):
    path, asked = write(tmp_path)
    answer = genomed("run", path, *options_of(asked), "--small", "keep", "--json")
    refused(answer, *expected)
    assert answer[2].startswith("error: ") and (path.name in answer[2] or "zero_time" in answer[2])


def test_advice_is_given_in_the_words_of_the_command_line(tmp_path, genomed):
    path = tmp_path / "patients.csv"
    path.write_text(
        text_of([[*row[:3], ["alive", "dead"][int(row[3])], *row[4:]] for row in good_rows(120)])
    )
    answer = genomed("run", path, *COLUMNS, *QUICK)
    refused(answer, "On the command line: --event-values alive=0,dead=1")
    status, out, _ = genomed(
        "run", path, *COLUMNS, *QUICK, "--event-values", "alive=0,dead=1", "--json"
    )
    assert status == 0 and json.loads(out)["events"] == 60


def test_numbers_that_are_names(tmp_path, genomed):
    "--categories gives each level its own effect; without it, stderr asks in the words of the command line."
    rows = [[*row, str(1 + place % 3)] for place, row in enumerate(good_rows(120))]
    path, header = tmp_path / "patients.csv", [*HEADER, "arm"]
    path.write_text("\n".join(",".join(row) for row in [header, *rows]) + "\n")
    asked = ["run", path, *COLUMNS, "--repeats", "0", "--features", "age,arm", "--out"]
    status, _, said = genomed(*asked, tmp_path / "asked")
    assert status == 0 and "On the command line: --categories arm" in said
    status, _, said = genomed(*asked, tmp_path / "told", "--categories", "arm")
    assert status == 0 and "categories" not in said
    told, unsaid = (Run.load(tmp_path / one / "run").learner for one in ("told", "asked"))
    assert list(told.encoding_.levels["arm"]) == ["1", "2", "3"] and not unsaid.encoding_.levels
    refused(genomed(*asked, tmp_path / "no", "--categories", "amr"), "no column 'amr'", "arm")


# --- bad options


@pytest.mark.parametrize(
    ("asked", "fragments"),
    [
        (["--shares", "60,abc"], ["--shares", "'60,abc'", "60,30,10"]),
        (["--shares", "100"], ["--shares", "at least two hospitals"]),
        (["--shares", "-5,5"], ["--shares", "-5 is not a number above zero"]),
        (["--shares", ""], ["--shares", "60,30,10"]),
        (["--shares", "60,inf"], ["--shares", "inf"]),
        (["--shares", "9999,1,1"], ["shares", "at least two each"]),
        (["--shares", "60,40", "--small", "keep"], ["--small", "Leave them out"]),
        (["--model", "foresst"], ["--model", "'foresst'", "logistic", "Did you mean 'forest'"]),
        (["--model", "logistic"], ["survival", "--model cox"]),
        (["--engine", "superlink"], ["--engine", "'superlink'", "inprocess or ray"]),
        (["--strategy", "fedavgg"], ["--strategy", "Did you mean 'fedavg'"]),
        (["--small", "drop"], ["--small", "error, merge or keep"]),
        (["--min-patients", "200"], ["fewer than min_patients=200", "--small merge"]),
        (["--min-patients", "0"], ["--min-patients"]),
        (["--min-patients", "999", "--small", "merge"], ["at least two sites"]),
        (["--repeats", "-1"], ["--repeats", "-1"]),
        (["--repeats", "many"], ["--repeats", "'many'"]),
        (["--rounds", "0"], ["--rounds", "0"]),
        (["--seed", "-1"], ["--seed", "-1"]),
        (["--test-share", "1.5"], ["test_share=1.5", "share from 0"]),
        (["--test-share", "nan"], ["test_share=nan"]),
        (["--test-share", "0"], ["--test-share", "--repeats 0"]),
        (["--test-share", "0.999"], ["no training row"]),
        (["--features", "age,wbcs"], ["wbcs", "Did you mean 'wbc'"]),
        (["--features", ""], ["no feature"]),
        (["--penalty", "-1"], ["--penalty", "zero up"]),
        (["--penalty", "nan"], ["--penalty"]),
        (["--penalty", "0.1", "--tune"], ["--tune", "leave out"]),
        (["--ties", "exact"], ["--ties", "efron or breslow"]),
        (["--baseline", "shared"], ["--time-grid", "--disclosure simulation"]),
        (["--baseline", "shared", "--time-grid", "1,2,x"], ["--time-grid", "'1,2,x'"]),
        (["--baseline", "shared", "--time-grid", "1"], ["--time-grid", "two different times"]),
        (
            ["--baseline", "shared", "--time-grid", "1,1.01,9"],
            ["site", "min_cell", "--disclosure simulation"],
        ),
        (["--scores", "ipss"], ["--scores", "'ipss'"]),
        (["--scores", "sex"], ["--scores", "does not hold numbers"]),
        (["--outcome", "relapse"], ["'relapse'", "'remission'"]),
        (["--outcome", "remission", "--ties", "efron"], ["--ties", "cox"]),
        (["--zero-time", "ignore"], ["zero_time", "half-unit"]),
        (["--event-values", "dead"], ["--event-values", "alive=0,dead=1"]),
        (["--folder", "somewhere"], ["made-up-aml", "folder"]),
        (["--sep", ";"], ["leave out --sep"]),
        (["--time", "survival"], ["leave out --time", "./made-up-aml"]),
        (["--strateggy", "x"], ["--strateggy"]),
        (["--out"], ["--out"]),
    ],
    ids=" ".join,
)
def test_bad_options(genomed, asked, fragments):
    refused(genomed("run", "made-up-aml", *asked), *fragments)


def test_bad_names(genomed, patients):
    refused(genomed("run"), "COHORT|FILE")
    refused(genomed("run", "made-up-aml", "more"), "more")
    refused(
        genomed("run", "made-up-alm"),
        "neither a registered cohort nor a file",
        "Did you mean 'made-up-aml'",
        "genomed cohorts",
    )
    refused(
        genomed("run", "ipssm-study", "--folder", "nowhere", "--shares", "60,40"),
        "nowhere",
        "does not exist",
    )
    refused(genomed("run", patients, *COLUMNS, "--folder", patients.parent), "--folder")
    refused(
        genomed("run", patients, *COLUMNS[:4], "--features", "age"),
        "no site column",
        "--shares 60,30,10",
    )
    refused(genomed("run", patients, *COLUMNS, "--model", "logistic"), "survival")
    refused(genomed("nothing"), "nothing")
    refused(genomed("bench", "nothing"), "nothing", "engines")
    refused(genomed("lab", "--folder", patients), "patients.csv is a file", "expected a folder")
    assert patients.read_text() == text_of(good_rows(120))


def test_a_taken_port_is_refused(genomed, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        refused(
            genomed(
                "lab",
                "--no-browser",
                "--folder",
                tmp_path / "lessons",
                "--port",
                taken.getsockname()[1],
            ),
            "--port",
            "Choose another",
        )
    assert not (tmp_path / "lessons").exists()


def test_a_file_with_the_name_of_a_cohort(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("made-up-aml").write_text(text_of(good_rows()))
    asked = {"time": "os_years", "event": "os_event", "site": "center"}
    assert open_cohort("made-up-aml").n == 400
    assert (
        open_cohort("./made-up-aml", **asked).n
        == open_cohort(str(tmp_path / "made-up-aml"), **asked).n
        == 30
    )


# --- results


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    "One run with everything written: its record and its folder."
    folder = tmp_path_factory.mktemp("results") / "out"
    answer = CliRunner().invoke(
        app, ["run", "made-up-aml", *QUICK, "--seed", "3", "--json", "--out", str(folder)]
    )
    assert answer.exit_code == 0, answer.stderr
    return json.loads(answer.stdout), folder


def test_the_record_holds_what_was_promised(told):
    record, _ = told
    assert (
        record["cohort"] == "made-up-aml"
        and record["virtual"] is True
        and record["n"] == 400
        and record["events"] == 273
    )
    assert record["features"] == ["age", "wbc"] and set(record["coefficients"]) == {"age", "wbc"}
    assert [list(site) for site in record["sites"]] == [["name", "n", "events"]] * 4 and sum(
        site["n"] for site in record["sites"]
    ) == 400
    assert (record["engine"], record["strategy"], record["converged"], record["seed"]) == (
        "inprocess",
        "newton",
        True,
        3,
    )
    assert (
        2 <= record["rounds"] <= 20
        and record["seconds"] > 0
        and re.fullmatch(r"\d+\.\d+\.\d+", record["version"])
    )
    assert all(
        list(arm) == ["arm", "trained_on", "tested_on", "metric", "mean", "low", "high", "repeats"]
        for arm in record["arms"]
    )
    assert {arm["arm"] for arm in record["arms"]} == {"pooled", "federated", "isolated"}
    assert {gain["site"] for gain in record["gain"]} == {site["name"] for site in record["sites"]}
    assert {gain["verdict"] for gain in record["gain"]} <= {"gains", "loses", "cannot tell"}
    assert (
        {"name", "what", "fewest_patients"} <= set(record["disclosed"][0])
        and isinstance(record["notes"], list)
        and isinstance(record["warnings"], list)
    )
    federated, pooled = (
        [arm["mean"] for arm in record["arms"] if arm["arm"] == name]
        for name in ("federated", "pooled")
    )
    assert federated == pytest.approx(pooled, abs=1e-9)


def test_the_folder_holds_what_was_promised(told):
    record, folder = told
    assert sorted(p.name for p in folder.iterdir()) == [
        "figure.png",
        "gain.csv",
        "report.html",
        "result.json",
        "run",
        "table.csv",
    ]
    assert json.loads((folder / "result.json").read_text()) == record
    assert (folder / "figure.png").read_bytes().startswith(b"\x89PNG") and (
        folder / "report.html"
    ).read_text().startswith("<!DOCTYPE html>")
    table, gain = pd.read_csv(folder / "table.csv"), pd.read_csv(folder / "gain.csv")
    assert len(table) == len(record["arms"]) and table["mean"].tolist() == pytest.approx(
        [arm["mean"] for arm in record["arms"]], nan_ok=True
    )
    assert gain["site"].tolist() == [one["site"] for one in record["gain"]]
    saved = Run.load(folder / "run")
    assert saved.learner.summary_["coef"].to_dict() == record["coefficients"]


def test_the_same_seed_gives_the_same_record(told):
    again = json.loads(
        CliRunner().invoke(app, ["run", "made-up-aml", *QUICK, "--seed", "3", "--json"]).stdout
    )
    other = json.loads(
        CliRunner().invoke(app, ["run", "made-up-aml", *QUICK, "--seed", "4", "--json"]).stdout
    )
    record = {k: v for k, v in told[0].items() if k != "seconds"}
    assert {k: v for k, v in again.items() if k != "seconds"} == record
    assert other["arms"] != record["arms"] and other["seed"] == 4


def test_an_earlier_result_is_replaced_but_nothing_else(told, genomed, tmp_path):
    _, folder = told
    status, out, _ = genomed(
        "run", "made-up-aml", "--repeats", "0", "--features", "age", "--out", folder
    )
    assert (
        status == 0
        and "result.json" in out
        and sorted(p.name for p in folder.iterdir()) == ["result.json", "run"]
    )
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "thesis.docx").write_text("precious")
    refused(
        genomed("run", "made-up-aml", "--repeats", "500", "--out", theirs),
        "thesis.docx",
        "Choose another folder",
    )
    assert (theirs / "thesis.docx").read_text() == "precious"
    (theirs / "thesis.docx").rename(theirs / "report.html")
    refused(genomed("run", "made-up-aml", "--out", theirs), "no result of this program")
    refused(genomed("demo", "--out", theirs / "report.html"), "not a folder")
    refused(genomed("demo", "--out", theirs / "report.html" / "deeper"), "not a folder")


def test_only_training_and_the_other_learners(genomed):
    status, out, _ = genomed(
        "run",
        "made-up-aml",
        "--repeats",
        "0",
        "--test-share",
        "0",
        "--no-tune",
        "--strategy",
        "fedavg",
        "--rounds",
        "4",
        "--json",
    )
    record = json.loads(out)
    assert (
        status == 0
        and record["arms"] == record["gain"] == []
        and record["strategy"] == "fedavg"
        and record["rounds"] == 4
        and record["converged"] is None
    )
    status, out, _ = genomed(
        "run",
        "made-up-aml",
        "--outcome",
        "remission",
        "--shares",
        "60,40",
        "--repeats",
        "1",
        "--json",
    )
    record = json.loads(out)
    assert (
        status == 0
        and record["model"] == "logistic"
        and [s["name"] for s in record["sites"]] == ["hospital-1", "hospital-2"]
    )
    assert {arm["metric"] for arm in record["arms"]} == {"auc", "brier"} and any(
        "made up by splitting" in note for note in record["notes"]
    )
    status, out, _ = genomed(
        "run",
        "made-up-aml",
        "--repeats",
        "1",
        "--scores",
        "age",
        "--baseline",
        "shared",
        "--disclosure",
        "simulation",
        "--ties",
        "breslow",
        "--json",
    )
    assert (
        status == 0
        and "clinical score" in {arm["arm"] for arm in json.loads(out)["arms"]}
        and "age" not in json.loads(out)["coefficients"]
    )


def test_warnings_go_to_stderr_and_into_the_record(tmp_path, genomed):
    path = tmp_path / "patients.csv"
    rows = good_rows(120)
    rows[3][2] = rows[4][2] = "0"
    path.write_text(text_of(rows))
    status, out, err = genomed("run", path, *COLUMNS, *QUICK, "--json")
    record = json.loads(out)
    assert status == 0 and out.count("\n") == 1 and record["n"] == 118
    assert (
        "warning: " in err
        and "2 patients have time 0" in err
        and any("2 patients have time 0" in text for text in record["warnings"])
    )
    assert any("2 patients have time 0" in note for note in record["notes"])
    status, out, err = genomed("run", path, *COLUMNS, *QUICK, "--json", "--quiet")
    assert status == 0 and err == "" and json.loads(out)["warnings"] == record["warnings"]


def test_a_result_that_is_not_known_is_null(tmp_path, genomed):
    path = tmp_path / "patients.csv"
    path.write_text(text_of(good_rows(30)))
    status, out, _ = genomed(
        "run", path, *COLUMNS, "--small", "keep", "--repeats", "1", "--no-tune", "--json"
    )
    assert (
        status == 0
        and "NaN" not in out
        and "Infinity" not in out
        and any(arm["mean"] is None for arm in json.loads(out)["arms"])
    )


def test_a_model_that_cannot_be_fitted_is_a_failure(tmp_path, genomed):
    path = tmp_path / "patients.csv"
    path.write_text(text_of([[*row, row[4]] for row in good_rows(120)], [*HEADER, "age_again"]))
    status, out, err = genomed("run", path, *COLUMNS, "--no-tune", "--repeats", "1", "--json")
    assert (
        status == 1
        and out == ""
        and "cannot be told apart" in err
        and "--penalty 0.01" in err
        and "Traceback" not in err
    )


def test_a_fault_of_the_program_is_said_to_be_one(genomed, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("the roof leaks")

    monkeypatch.setattr("genomed_workbench.cli.job.compare", broken)
    status, out, err = genomed("run", "made-up-aml")
    assert (
        status == 1
        and out == ""
        and "RuntimeError: the roof leaks" in err
        and "fault of the program" in err
        and "Traceback" not in err
    )
    assert "Traceback" in genomed("run", "made-up-aml", "--debug")[2]


def test_a_site_that_fails_is_named(genomed, monkeypatch):
    from genomed_workbench.federation.sites import Site

    whole = Site.summary

    def broken(self):
        if self.name == "Southgate":
            raise OSError("disk full")
        return whole(self)

    monkeypatch.setattr(Site, "summary", broken)
    status, out, err = genomed("run", "made-up-aml", "--repeats", "1", "--json")
    assert (
        status == 1
        and out == ""
        and "'Southgate' failed" in err
        and "disk full" in err
        and "Traceback" not in err
    )


def test_what_a_person_sees(genomed):
    status, out, _ = genomed("run", "made-up-aml", *QUICK)
    said = " ".join(out.split())
    assert status == 0 and all(
        words in said
        for words in (
            "virtual (made-up) patients",
            "within hospitals",
            "simulation only",
            "--out FOLDER",
        )
    )
    assert genomed("run", "made-up-aml", *QUICK, "--quiet")[1:] == ("", "")


# --- the other commands


def test_cohorts(genomed):
    status, out, err = genomed("cohorts", "--json")
    listed = {cohort["name"]: cohort for cohort in json.loads(out)["cohorts"]}
    assert (
        status == 0
        and err == ""
        and listed["made-up-aml"]
        | {"virtual": True, "n": 400, "sites": 4, "available": True, "install": None}
        == listed["made-up-aml"]
    )
    assert (
        listed["leukemia-nw-england"]["virtual"] is False
        and "GPL-3" in listed["leukemia-nw-england"]["licence"]
    )
    assert all(name in genomed("cohorts")[1] for name in listed)


def test_version_and_bare_call(genomed):
    assert re.fullmatch(r"genomed \d+\.\d+\.\d+\n", genomed("--version")[1])
    status, out, _ = genomed()
    assert status == 0 and all(
        command in out for command in ("demo", "cohorts", "run", "bench", "lessons", "lab", "panel")
    )


def test_bench(genomed):
    status, out, err = genomed("bench", "cox", "--quick", "--json")
    measured = json.loads(out)
    assert status == 0 and measured["name"] == "cox" and measured["rows"]


@real
def test_demo_says_what_its_tables_say(genomed, tmp_path):
    status, out, _ = genomed("demo", "--repeats", "2", "--out", tmp_path / "demo", "--json")
    record = json.loads(out)
    text = " ".join(record["answer"])
    [headline] = [one for one in record["overall"] if one["metric"] == "harrell_c"]
    assert (
        status == 0
        and record["n"] == 1043
        and len(record["sites"]) == 24
        and (tmp_path / "demo" / "report.html").exists()
    )
    assert (
        f"{headline['mean']:+.3f} (interval {headline['low']:+.3f} to {headline['high']:+.3f})"
        in text
    )
    can_tell = sum(one["verdict"] != "cannot tell" for one in record["gain"])
    assert f"For {can_tell} of 24 hospitals one can tell" in text and "simulation only" in text
    younger, older = (int(share) for share in re.findall(r"2-year survival of (\d+)%", text))
    assert older < younger and text.count("not a real patient") == 2


def test_demo_without_the_real_cohort(genomed, monkeypatch, tmp_path):
    found = util.find_spec
    monkeypatch.setattr(
        util, "find_spec", lambda name, *more: None if name == "SurvSet" else found(name, *more)
    )
    monkeypatch.chdir(tmp_path)
    status, out, _ = genomed("demo", "--repeats", "2")
    said = " ".join(out.split())
    assert (
        status == 0
        and "Virtual patients: the real cohort is not installed" in said
        and "genomed-workbench[real]" in said
        and "made-up-aml" in said
    )
    assert (tmp_path / "genomed-demo" / "report.html").exists()


# --- as a process of its own


def test_help_is_quick():
    times = []
    for _ in range(3):
        start = computed()
        assert subprocess.run([*GENOMED, "--help"], capture_output=True, check=True).stdout
        times.append(computed() - start)
    assert min(times) < 1.0, times  # mostly 0.2 s


def test_one_object_on_stdout_also_with_warnings(tmp_path):
    path = tmp_path / "patients.csv"
    path.write_text(changed((4, "os_years", "0")))
    done = subprocess.run(
        [*GENOMED, "run", str(path), *COLUMNS, "--small", "keep", "--repeats", "1", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (
        done.returncode == 0 and json.loads(done.stdout)["n"] == 29 and "warning: " in done.stderr
    )


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_ends_with_130(tmp_path):
    with subprocess.Popen(
        [
            *GENOMED,
            "run",
            "made-up-aml",
            "--repeats",
            "5000",
            "--json",
            "--out",
            str(tmp_path / "out"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr is not None and process.stdout is not None
        seen = b""
        while b"comparing" not in seen:
            seen += process.stderr.read(1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (
        process.returncode == 130
        and out == b""
        and b"interrupted" in err
        and b"Traceback" not in err
        and not (tmp_path / "out").exists()
    )


# --- lessons and their folder


def test_the_list_of_lessons(genomed):
    status, out, err = genomed("lessons", "--json")
    listed = json.loads(out)["lessons"]
    assert status == 0 and err == "" and [one["id"] for one in listed] == list(lessons())
    assert all(
        one["minutes"] > 0
        and one["exercises"] == len(lessons()[one["id"]].exercises)
        and 3 <= len(one["objectives"]) <= 5
        for one in listed
    )
    status, out, _ = genomed("lessons")
    assert (
        status == 0
        and all(one["title"] in out and f"{one['minutes']} minutes" in out for one in listed)
        and "genomed lab" in out
    )


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("1.1", "1.1"),
        ("0", "0"),
        ("00", "0"),
        ("01_why_train_together", "1.1"),
        ("02_reading", "1.2"),
        ("READING", "1.2"),
        ("why train", "1.1"),
        (" judge ", "1.3"),
    ],
)
def test_a_lesson_by_any_of_its_names(asked, found):
    assert lesson_id(asked) == found


def test_lessons_that_are_not_there(genomed):
    for asked in ("9", "surgery", "1.", "", " ", "_"):
        refused(
            genomed("lessons", "slides", asked),
            "no lesson",
            "There are",
            "1.1 (Why train together?)",
            "0 (Your first federation)",
        )
    refused(
        genomed("lessons", "guide", "a"),
        "more than one lesson",
        "These fit",
        "1.2 (Reading a cohort)",
    )
    refused(genomed("lessons", "guide"), "N")
    refused(genomed("lessons", "nothing"), "nothing")


@pytest.mark.parametrize("what", ["slides", "guide"])
def test_slides_and_guide_are_written(genomed, tmp_path, monkeypatch, what):
    monkeypatch.chdir(tmp_path)
    status, out, _ = genomed("lessons", what, "01_why_train")
    assert (
        status == 0
        and out == f"{what} of lesson 1.1: {what}-1.1.html\n"
        and "Why train together?" in (tmp_path / f"{what}-1.1.html").read_text(encoding="utf-8")
    )
    status, out, _ = genomed(
        "lessons", what, "1.1", "--out", tmp_path / "deeper" / "page.html", "--json"
    )
    assert (
        status == 0
        and json.loads(out) == {"lesson": "1.1", what: str(tmp_path / "deeper" / "page.html")}
        and (tmp_path / "deeper" / "page.html").is_file()
    )
    refused(genomed("lessons", what, "1.1", "--out", tmp_path), "this is a folder", "page.html")
    refused(genomed("lessons", what, "1.1", "--out", tmp_path / "page.pdf"), "ends in .html")
    status, out, err = genomed(
        "lessons", what, "1.1", "--out", tmp_path / f"{what}-1.1.html" / "page.html"
    )
    assert status == 1 and out == "" and "error: " in err and "Traceback" not in err


@pytest.fixture
def lab_calls(monkeypatch):
    "`genomed lab` without its server: what would have been started."
    calls = []
    monkeypatch.setattr(
        "genomed_workbench.cli.app.serve",
        lambda command, environment, log=None: calls.append((command, environment, log)) or 0,
    )
    return calls


def test_lab_prepares_the_folder_and_says_so(genomed, tmp_path, monkeypatch, lab_calls):
    monkeypatch.chdir(tmp_path)
    status, out, err = genomed("lab", "--no-browser")
    place = tmp_path / "genomed-lessons"
    assert (
        status == 0
        and err == ""
        and out.splitlines()[0] == f"Lessons in {place}"
        and "  new: " in out
        and (place / "start.ipynb").is_file()
        and "/lab/tree/start.ipynb?token=" in out
    )
    ((command, environment, log),) = lab_calls
    assert (
        "--LabApp.default_url=/lab/tree/start.ipynb" in command
        and f"--ServerApp.root_dir={place}" in command
        and "--no-browser" in command
        and log.parent.is_dir()
    )
    assert environment["JUPYTER_TOKEN"] in out and environment["JUPYTER_CONFIG_PATH"].startswith(
        str(place / ".genomed")
    )
    overrides = json.loads(
        (
            place / ".genomed" / "jupyter" / "labconfig" / "default_setting_overrides.json"
        ).read_text()
    )
    assert overrides["@jupyterlab/notebook-extension:tracker"]["windowingMode"] == "none"
    (place / "start.ipynb").write_text("mine")
    (place / "glossary.ipynb").unlink()
    monkeypatch.chdir(place / "series1")
    out = genomed("lab", "--no-browser")[1]
    assert out.splitlines()[:3] == [
        f"Lessons in {place}",
        "  here again: glossary.ipynb",
        "  yours, left as they are: start.ipynb",
    ], "started inside of a folder for lessons, that folder is meant"
    assert (place / "start.ipynb").read_text() == "mine"
    assert genomed("lab", "--no-browser", "--folder", tmp_path / "other" / "place")[1].startswith(
        f"Lessons in {tmp_path / 'other' / 'place'}\n  new: "
    )


def test_lab_keeps_other_settings(tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", "theirs")
    assert lab_environment(tmp_path, "secret")["JUPYTER_CONFIG_PATH"].split(os.pathsep) == [
        str(tmp_path / ".genomed" / "jupyter"),
        "theirs",
    ]


def test_lab_on_a_full_disk_is_a_failure(genomed, tmp_path, monkeypatch, lab_calls):
    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("genomed_workbench.teaching.folder.write_bytes_atomically", full)
    status, out, err = genomed("lab", "--folder", tmp_path / "lessons")
    assert (
        status == 1
        and out == ""
        and "disk is full" in err
        and "Traceback" not in err
        and not lab_calls
    )


def test_a_server_that_fails_says_why(tmp_path, capfd):
    assert (
        serve(
            [
                sys.executable,
                "-c",
                "import sys; print('no port left', file=sys.stderr); sys.exit(3)",
            ],
            dict(os.environ),
            tmp_path / "log.txt",
        )
        == 1
    )
    assert (
        "no port left" in (said := capfd.readouterr().err)
        and "log.txt" in said
        and "status 3" in said
    )


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_lab_answers_and_stops(tmp_path):
    with subprocess.Popen(
        [*GENOMED, "lab", "--no-browser", "--port", str(free_port()), "--folder", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = []
        while not lines or "Ctrl-C" not in lines[-1]:
            lines.append(process.stdout.readline().strip())
            assert lines[-1]
        address, token = re.fullmatch(
            r"(http://127\.0\.0\.1:\d+)/lab/tree/start\.ipynb\?token=(\w+)", lines[-2]
        ).groups()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        for _ in range(1800):
            try:
                page = (
                    opener.open(f"{address}/lab/tree/start.ipynb?token={token}", timeout=5)
                    .read()
                    .decode()
                )
                break
            except OSError:
                assert process.poll() is None, process.stderr.read()
                time.sleep(0.1)
        settings = json.loads(
            opener.open(
                f"{address}/lab/api/settings/@jupyterlab/notebook-extension:tracker?token={token}",
                timeout=20,
            ).read()
        )
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=30)[1]
    assert (
        lines[0].endswith(str(tmp_path))
        and "JupyterLab" in page
        and '"news": {"disabled": true}' in page
        and process.returncode == 0
    )
    assert (
        settings["schema"]["properties"]["windowingMode"]["default"] == "none"
        and said == "stopped\n"
    )


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_panel_answers_and_stops(tmp_path):
    with subprocess.Popen(
        [*GENOMED, "panel", "--no-browser", "--port", str(free_port())],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().strip() for _ in range(3)]
        opener, page = urllib.request.build_opener(urllib.request.ProxyHandler({})), ""
        for _ in range(600):
            try:
                page = opener.open(lines[1], timeout=60).read().decode()
                break
            except OSError:
                assert process.poll() is None, process.stderr.read()
                time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=30)[1]
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", lines[1]) and lines[2] == "Ctrl-C stops it."
    assert "The workbench" in page and "Traceback" not in page and "cdn.jsdelivr" not in page
    assert (
        process.returncode == 0
        and said == "stopped\n"
        and "gw.Workbench()" in (tmp_path / "workbench.ipynb").read_text()
    )


def test_panel_without_voila_says_what_to_install(genomed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("genomed_workbench.workbench.page.find_spec", lambda name: None)
    status, out, err = genomed("panel")
    assert (
        status == 1
        and out == ""
        and "genomed-workbench[voila]" in err
        and not (tmp_path / "workbench.ipynb").exists()
    )


def test_a_hint_names_only_options_that_the_command_has(tmp_path):
    "`score` takes units; `run` computes the same score and does not."
    file = tmp_path / "ward.csv"
    rows = [f"K{k},{90 + k},{100 + k},1.5,3,Good,{1 + k % 7},{k % 2}" for k in range(30)]
    header = "patient_id,HB,PLT,ANC,BM_BLAST,CYTO_IPSSR,os_years,death"
    file.write_text("\n".join([header, *rows]), encoding="utf-8")
    from typer.testing import CliRunner

    from genomed_workbench.cli.app import app

    assert "--units HB=g/L" in CliRunner().invoke(app, ["score", "ipss-r", str(file)]).stderr
    asked = "--time os_years --event death --shares 60,40 --repeats 1 --scores ipss-r"
    said = CliRunner().invoke(app, ["run", str(file), *asked.split()])
    assert said.exit_code == 2 and "units=" in said.stderr and "--units" not in said.stderr


def test_a_folder_that_cannot_be_written_is_named_by_the_file_that_was_asked_for(
    tmp_path, monkeypatch
):
    import tempfile

    from genomed_workbench.output.storage import write_text_atomically

    def refuse(**where):
        raise PermissionError(13, "Permission denied", str(tmp_path / ".scores.csv.x7"))

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    with pytest.raises(PermissionError) as told:
        write_text_atomically(tmp_path / "scores.csv", "a")
    assert told.value.filename == str(tmp_path / "scores.csv")


# --- what a column means


@pytest.mark.parametrize(
    ("platelets", "said"),
    [("{n},000", "cells/uL"), ("{n} G/l", None)],
)
def test_map_then_check_read_what_the_ward_wrote(tmp_path, genomed, platelets, said):
    "Thousands and units in cells: nothing of a known name is dropped between the proposal and the check."
    file, out = tmp_path / "ward.csv", tmp_path / "m.toml"
    lines = ["Patient ID,Age,Sex,Hb,Platelets,ANC,BM blasts"]
    for i in range(40):
        cell = platelets.format(n=40 + 5 * i)
        lines.append(
            f'K{i},{50 + i % 30},{"FM"[i % 2]},{8 + i % 5}.5 g/dL,"{cell}",1.{i % 9},{i % 12}%'
        )
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    status, text, _ = genomed("map", file, "--disease", "mds", "--out", out, "--json")
    told = {one["column"]: one for one in json.loads(text)["columns"]}
    assert status == 0 and told["Platelets"]["sure"] and told["Platelets"]["unit"] == said
    assert told["Hb"]["sure"] and told["BM blasts"]["sure"]
    out.write_text(out.read_text(encoding="utf-8").replace("confirmed = false", "confirmed = true"))
    for mapping in (["--mapping", out], []):
        _, text, _ = genomed("check", file, "--disease", "mds", *mapping, "--json")
        found = [(one["kind"], one["column"]) for one in json.loads(text)["findings"]]
        assert not [one for one in found if one[0] in ("unreadable-value", "mapping-problem")], (
            found
        )


def test_map_names_what_a_person_must_look_at(tmp_path, genomed):
    file = tmp_path / "ward.csv"
    rows = [f"K{i},{50 + i % 30},see letter {i},{i % 3}" for i in range(40)]
    file.write_text("\n".join(["Patient ID,Age,Platelets,death", *rows]) + "\n")
    _, _, told = genomed("map", file, "--disease", "mds", "--out", tmp_path / "m.toml")
    assert (
        "look at 'Platelets': left out; the name says Platelets, but the cells are no numbers"
        in told
    )
    assert "look at 'death'" in told and "which is the event?" in told


def test_an_event_in_three_codes_is_not_guessed_on_the_command_line(tmp_path, genomed):
    file = tmp_path / "pbc.csv"
    rows = [f"{i},{100 + 7 * i},{i % 3},{50 + i % 30}" for i in range(40)]
    file.write_text("\n".join(["id,time,status,age", *rows]) + "\n")
    asked = [
        "run",
        file,
        "--time",
        "time",
        "--event",
        "status",
        "--shares",
        "60,40",
        "--unit",
        "days",
    ]
    answer = genomed(*asked)
    refused(answer, "In R, 2 often is the death", "--event-values 0=?,1=?,2=?")
    assert "2=0" not in answer[2]


@pytest.mark.full
def test_half_a_million_patients_are_mapped_and_checked_in_a_minute_each(tmp_path, genomed):
    "The bar of the project: 500,000 rows in at most 60 s of CPU for map and for check."
    rng, n, file = np.random.default_rng(1), 500_000, tmp_path / "rows.csv"
    frame = pd.DataFrame(
        {
            "patient_id": [f"P{i}" for i in range(n)],
            "age": rng.integers(18, 91, n),
            "sex": rng.choice(["male", "female"], n),
            "wbc": rng.lognormal(2, 1, n).round(1),
            "hemoglobin": rng.normal(9.5, 1.5, n).round(1),
            "platelets": rng.integers(5, 401, n),
            "os_years": rng.exponential(2.5, n).round(3),
            "death": (rng.random(n) < 0.6).astype(int),
            "hospital": [f"H{i % 8}" for i in range(n)],
        }
    )
    frame.to_csv(file, index=False)
    for command in ("map", "check"):
        start = time.process_time()
        _, out, told = genomed(command, file, "--disease", "mds")
        assert time.process_time() - start <= 60, command
        assert command == "check" or "sample of 5,000" in told
