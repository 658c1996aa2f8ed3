"""The experiment runner: strict reading, resuming after a kill, one table whatever happened on the
way, failures, the lock, MLflow.

Oracles: `gw.compare` for the numbers of a cell (an identity: same cohort, split and learner), an
undisturbed run for one that was killed (byte for byte), Nadeau and Bengio's formula written out for
the intervals, MLflow's own client for what was logged.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from joblib.externals.loky.process_executor import TerminatedWorkerError
from scipy import stats

import genomed_workbench as gw
from genomed_workbench.experiments import results as results_room
from genomed_workbench.experiments import run as room
from genomed_workbench.experiments.cells import (
    alone_of,
    federation_of,
    learner_in,
    metrics_of,
    prepared,
)
from genomed_workbench.experiments.plan import named_experiments, read_plan
from genomed_workbench.experiments.report import cohort_picture

GRID = {
    "name": "grid",
    "seeds": 3,
    "tune": False,
    "metrics": ["harrell_c", "brier"],
    "cohorts": {
        "mds": {
            "load": "virtual-mds",
            "n": 200,
            "drop": ["risk_group"],
            "lacking": ["ASXL1", "TP53multi"],
            "scores": ["ipss-r"],
        }
    },
    "designs": {
        "two": {"shares": [60, 40], "test_share": 0.2},
        "worst": {"shares": [60, 40], "test_share": 0.2, "lacking_at": ["hospital-2"]},
    },
    "learners": {
        "cox": {"learner": "cox", "penalty": 0.1},
        "stiff": {"learner": "cox", "penalty": 1.0},
    },
}
TOML = """
name = "grid"
seeds = 3
tune = false
metrics = ["harrell_c", "brier"]
[cohorts.mds]
load = "virtual-mds"
n = 200
drop = ["risk_group"]
lacking = ["ASXL1", "TP53multi"]
scores = ["ipss-r"]
[designs.two]
shares = [60, 40]
test_share = 0.2
[designs.worst]
shares = [60, 40]
test_share = 0.2
lacking_at = ["hospital-2"]
[learners.cox]
learner = "cox"
penalty = 0.1
[learners.stiff]
learner = "cox"
penalty = 1.0
"""


def run(asked, folder, workers=1, **options):
    return gw.experiment(asked, folder, workers=workers, progress=False, **options)


def table_of(folder: Path) -> tuple[bytes, bytes]:
    return (folder / "results.csv").read_bytes(), (folder / "results.parquet").read_bytes()


def times_computed(folder: Path) -> int:
    return len(results_room.read_log(folder))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    "The grid, run without disturbance on one core."
    return run(GRID, tmp_path_factory.mktemp("whole") / "grid")


# Resuming


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_bytes(whole, tmp_path):
    "Killed with SIGKILL at a random moment, restarted on two cores; oracle: the undisturbed run on one core."
    file, folder = tmp_path / "grid.toml", tmp_path / "grid"
    file.write_text(TOML)
    kill_at = random.randint(1, 11)
    script = f"import genomed_workbench as gw; gw.experiment({str(file)!r}, {str(folder)!r}, workers=1, progress=False)"
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    until = time.monotonic() + 120
    while (
        process.poll() is None
        and time.monotonic() < until
        and len(list((folder / "parts").glob("*.json"))) < kill_at
    ):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    there = len(list((folder / "parts").glob("*.json")))
    assert kill_at <= there < 18 and not (folder / "results.csv").exists()
    with pytest.raises(gw.ExperimentError, match="not come to its end"):
        gw.Experiment.read(folder)
    run(file, folder, workers=2)
    assert table_of(folder) == table_of(whole.folder), f"killed after {kill_at} cells"
    assert times_computed(folder) <= 18 + 1, "cells that were there were computed again"


def test_the_order_of_the_cells_does_not_matter(whole, tmp_path, monkeypatch):
    straight = room.finished
    monkeypatch.setattr(
        room, "finished", lambda cells, workers: straight(list(cells)[::-1], workers)
    )
    run(GRID, tmp_path / "grid")
    assert table_of(tmp_path / "grid") == table_of(whole.folder)


def test_a_part_that_is_not_whole_is_computed_again(whole, tmp_path):
    run({**GRID, "seeds": 1}, tmp_path / "grid")
    before, parts = table_of(tmp_path / "grid"), sorted((tmp_path / "grid" / "parts").iterdir())
    parts[0].write_text(parts[0].read_text()[:60])
    run({**GRID, "seeds": 1}, tmp_path / "grid")
    assert table_of(tmp_path / "grid") == before and times_computed(tmp_path / "grid") == 6 + 1


LINE = "mds,two,cox,0,0.11\n"
HEAD = "cohort,design,learner,seed,seconds\n"


@pytest.mark.parametrize(
    ("damaged", "left"),
    [
        (b"", 0),
        (b"cohort,des", 0),
        (HEAD.encode(), 0),
        (LINE.encode() * 3, 0),
        (f"{HEAD}{LINE}mds,two,cox,1,".encode(), 1),
        (f"{HEAD}{LINE}mds,two".encode(), 1),
        (f"{HEAD}{LINE}mds,two,cox,zero,x\n{LINE}".encode(), 2),
        (f"{HEAD}{LINE}mds,two,mds,two,cox,2,0.11\n{LINE}".encode(), 2),
        (b"\x00" * 512, 0),
        (f'{HEAD}"{LINE}'.encode(), 0),
        (f"{HEAD}{LINE}".encode() + b"\xff\xfe\n", 1),
    ],
    ids=[
        "empty",
        "a cut head",
        "a head alone",
        "no head",
        "a line without its time",
        "a short line",
        "words for numbers",
        "two lines in one",
        "zeros",
        "a quote",
        "no text",
    ],
)
def test_a_damaged_log_costs_times_and_nothing_else(whole, tmp_path, damaged, left):
    "Oracle: the undisturbed run, byte for byte; by hand the lines that are still whole."
    folder = tmp_path / "grid"
    shutil.copytree(whole.folder, folder)
    (folder / "log.csv").write_bytes(damaged)
    assert list(results_room.read_log(folder).seconds) == [0.11] * left
    next((folder / "parts").iterdir()).unlink()
    again = run(GRID, folder)
    assert table_of(folder) == table_of(whole.folder) and again.failures.empty
    assert again.seconds["count"].sum() >= left, (
        "a line that follows a cut one is lost with it, no other"
    )


def test_only_what_changed_is_computed_again(tmp_path, monkeypatch):
    small = {**GRID, "seeds": 1, "designs": {"two": GRID["designs"]["two"]}}
    folder, done = tmp_path / "grid", 3
    run(small, folder)
    assert times_computed(folder) == done
    for changed, cells in (
        ({**small, "seeds": 2}, 3),
        (
            {
                **small,
                "learners": {**small["learners"], "stiff": {"learner": "cox", "penalty": 2.0}},
            },
            1,
        ),
        ({**small, "title": "Another title"}, 0),
        ({**small, "cohorts": {"mds": {**small["cohorts"]["mds"], "seed": 1}}}, 3),
    ):
        run(changed, folder)
        done += cells
        assert times_computed(folder) == done, changed
    monkeypatch.setattr(room, "code_fingerprint", lambda: "another version")
    run(small, folder)
    assert times_computed(folder) == done + 3, "numbers of another version were taken over"


def test_patients_of_a_file_that_changed_are_noticed(tmp_path):
    frame = gw.load_cohort("made-up-aml").frame.reset_index()
    time_, event = (
        gw.load_cohort("made-up-aml").outcome.time,
        gw.load_cohort("made-up-aml").outcome.event,
    )
    frame[
        ["patient", "age", "wbc", time_, event]
        if "patient" in frame
        else [frame.columns[0], "age", "wbc", time_, event]
    ].to_csv(tmp_path / "mine.csv", index=False)
    plan = {
        **GRID,
        "seeds": 1,
        "cohorts": {
            "mine": {
                "file": str(tmp_path / "mine.csv"),
                "time": time_,
                "event": event,
                "features": ["age", "wbc"],
            }
        },
        "designs": {"two": GRID["designs"]["two"]},
    }
    first = run(plan, tmp_path / "out")
    table = pd.read_csv(tmp_path / "mine.csv")
    table["age"] = table["age"].sample(frac=1, random_state=0).to_numpy()
    table.to_csv(tmp_path / "mine.csv", index=False)
    second = run(plan, tmp_path / "out")
    assert (
        not first.results.value.equals(second.results.value)
        and times_computed(tmp_path / "out") == 4
    )


def test_being_interrupted_leaves_a_folder_that_goes_on(whole, tmp_path, monkeypatch):
    calls = []

    def interrupted(cell):
        calls.append(cell)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return straight(cell)

    straight = room.run_cell
    monkeypatch.setattr(room, "run_cell", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(GRID, tmp_path / "grid")
    monkeypatch.undo()
    assert len(list((tmp_path / "grid" / "parts").iterdir())) == 2
    run(GRID, tmp_path / "grid")
    assert (
        table_of(tmp_path / "grid") == table_of(whole.folder)
        and times_computed(tmp_path / "grid") == 18
    )


# Failures and the lock


def test_a_failing_cell_is_told_and_tried_again(whole, tmp_path, monkeypatch):
    straight = room.run_cell

    def failing(cell):
        if cell.learner == "cox" and cell.seed == 1:
            raise RuntimeError("the disk hiccuped")
        return straight(cell)

    monkeypatch.setattr(room, "run_cell", failing)
    done = run(GRID, tmp_path / "grid")
    assert (
        len(done.failures) == 2
        and set(done.failures.seed) == {1}
        and "RuntimeError: the disk hiccuped" in repr(done)
        and "16 of 18 cells" in repr(done)
    )
    others = whole.results[
        (whole.results.learner != "cox") | (whole.results.seed != 1)
    ].reset_index(drop=True)
    pd.testing.assert_frame_equal(done.results, others, check_exact=True)
    assert gw.Experiment.read(tmp_path / "grid").failures.equals(done.failures)
    monkeypatch.undo()
    assert run(GRID, tmp_path / "grid").failures.empty and table_of(tmp_path / "grid") == table_of(
        whole.folder
    )
    assert times_computed(tmp_path / "grid") == 18


def test_a_process_that_dies_costs_one_cell_only(monkeypatch):
    "Cell 2 kills its process; the others are computed once each."

    def pool(cells, workers, job):
        for k, c in cells:
            if c == 2:
                raise TerminatedWorkerError("a worker died")
            yield k, job(c)

    monkeypatch.setattr(room, "in_processes", pool)
    found = list(room.finished(range(7), 2, lambda c: room.Done([{"c": c}])))
    assert sorted(c for c, _ in found) == list(range(7))
    assert [c for c, d in found if d.why] == [2] and "memory" in dict(found)[2].why


@pytest.mark.full
def test_workers_begin_with_the_packages_of_their_learners():
    """A worker that grows by a large package after its first cell would be taken for leaking, and
    started anew again and again.
    """
    cells = [
        c
        for c in read_plan("published").cells()
        if (c.cohort, c.design, c.seed) == ("virtual-mds", "three", 0)
    ]
    by_learner = {c.learner: room.packages_of([c]) for c in cells}
    assert by_learner["chosen"] == by_learner["cox"] == by_learner[""] == []
    pytest.importorskip(
        "torch", reason="PyTorch is not installed: pip install 'genomed-workbench[torch]'"
    )
    assert by_learner["deepsurv"] == ["torch"] and "torch" in room.packages_of(cells)
    job = lambda cell: room.Done([{"there": "torch" in sys.modules}])
    for wanted, expected in ((("cox", "deepsurv"), True), (("cox", "forest"), False)):
        some = [(k, c) for k, c in enumerate(cells) if c.learner in wanted]
        assert [done.rows for _, done in room.in_processes(some, 2, job)] == [
            [{"there": expected}]
        ] * 2


def test_two_runs_do_not_share_a_folder(tmp_path):
    (tmp_path / "grid").mkdir()
    with (
        FileLock(tmp_path / "grid" / ".lock"),
        pytest.raises(gw.ExperimentError, match="another run is at work in this folder"),
    ):
        run(GRID, tmp_path / "grid")
    assert not (tmp_path / "grid" / "experiment.json").exists()


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.docx").touch()
    with pytest.raises(gw.ExperimentError, match="other files"):
        run(GRID, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.docx"]


def test_a_cohort_that_is_not_here_fails_alone(tmp_path, monkeypatch):
    monkeypatch.delenv("GENOMED_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    plan = {
        **GRID,
        "seeds": 1,
        "designs": {"two": GRID["designs"]["two"]},
        "cohorts": {"real": {"load": "ipssm-study"}, "mds": GRID["cohorts"]["mds"]},
    }
    done = run(plan, tmp_path / "out")
    assert (
        set(done.failures.cohort) == {"real"}
        and set(done.results.cohort) == {"mds"}
        and len(done.failures) == 2
    )
    page = done.report(tmp_path / "report.html").read_text()
    assert "not on this computer" in page and "No cell of this cohort could be computed" in page


# Numbers


@pytest.mark.parametrize("seed", [0, 2])
def test_numbers_equal_those_of_compare(whole, seed):
    "Oracle: gw.compare on the same split with the same learner, an identity."
    plan = read_plan(
        {
            **GRID,
            "cohorts": {"mds": {k: v for k, v in GRID["cohorts"]["mds"].items() if k != "scores"}},
        }
    )
    cell = next(
        c for c in plan.cells() if c.seed == seed and c.learner == "cox" and c.design == "worst"
    )
    done = pd.DataFrame(room.run_cell(cell))
    cohort = gw.load_cohort("virtual-mds", n=200).without("risk_group")
    federation = gw.Federation.split(
        cohort, (60, 40), 0.2, seed, {"missing": {"hospital-2": ["ASXL1", "TP53multi"]}}
    )
    c = gw.compare(
        federation,
        gw.CoxPH(penalty=0.1),
        repeats=1,
        tune=False,
        bootstrap=1,
        metrics=("harrell_c", "brier"),
        progress=False,
    )
    keys = ["arm", "trained_on", "tested_on", "metric"]
    both = done.merge(c.table, on=keys)
    assert len(both) == len(done) == len(c.table) == 2 * (3 + 4 * 4)
    pd.testing.assert_series_equal(both["value"], both["mean"], check_names=False, check_exact=True)
    assert (done[done.tested_on == "within"].n_test == federation.table.test.sum()).all()


@pytest.mark.slow
def test_what_was_settled_is_what_the_learners_settled(tmp_path):
    "Oracle: gw.federate and gw.compare on the same split, an identity."
    learners = {
        "cox": {"learner": "cox"},
        "discrete": {"learner": "discrete"},
        "both": {"average": ["cox", "discrete"]},
        "chosen": {"choose": ["cox", "discrete"], "retune": False},
    }
    done = run(
        changed(
            seeds=2,
            tune=True,
            folds=3,
            metrics=["harrell_c"],
            designs={"two": GRID["designs"]["two"]},
            cohorts={"mds": {"load": "virtual-mds", "n": 200}},
            learners=learners,
        ),
        tmp_path / "tuned",
    )
    found = (
        done.results.drop_duplicates(["learner", "seed", "arm", "trained_on"])
        .set_index(["learner", "seed", "arm", "trained_on"])
        .settled
    )
    cohort = gw.load_cohort("virtual-mds", n=200)
    for seed in (0, 1):
        federation = gw.Federation.split(cohort, (60, 40), 0.2, seed)
        penalties = gw.compare(
            federation,
            gw.CoxPH(),
            repeats=1,
            folds=3,
            bootstrap=1,
            metrics=("harrell_c",),
            progress=False,
        ).penalties.iloc[0]
        for arm, at in (
            ("pooled", "all sites"),
            ("federated", "all sites"),
            ("isolated", "hospital-1"),
            ("isolated", "hospital-2"),
        ):
            assert found["cox", seed, arm, at] == f"penalty {penalties[f'{arm}: {at}']:.3g}"
            assert (
                found["both", seed, arm, at]
                == f"cox: {found['cox', seed, arm, at]}; discrete: {found['discrete', seed, arm, at]}"
            )
        chosen = gw.federate(
            federation,
            gw.BestOf([gw.CoxPH(), gw.DiscreteHazard()], retune=False),
            tune=3,
            seed=seed,
            progress=False,
        ).learner
        assert (
            found["chosen", seed, "federated", "all sites"]
            == {"CoxPH": "cox", "DiscreteHazard": "discrete"}[chosen.chosen_]
        )
    counts = done.settled()
    assert (
        counts.groupby(["learner", "arm", "trained_on"]).seeds.sum().eq(2).all()
        and len(counts.groupby(["learner", "arm", "trained_on"])) == 4 * 4
    )
    page = done.report(tmp_path / "report.html").read_text()
    assert (
        "what tuning settled" in page
        and f"{counts.settled.iloc[0]} ({counts.seeds.iloc[0]})" in page
    )


def test_what_was_not_tuned_is_not_settled(whole):
    assert set(whole.results.settled) == {""} and whole.settled().empty


def test_summary_and_pairs_are_nadeau_and_bengios(whole):
    "Oracle: the formula written out, cut at 0 and 1 (for a difference at -1 and 1)."
    rows = whole.results.query(
        "metric == 'harrell_c' and design == 'worst' and tested_on == 'hospital-2'"
    )
    fed = rows.query("learner == 'cox' and arm == 'federated'").set_index("seed")
    alone = rows.query(
        "learner == 'cox' and arm == 'isolated' and trained_on == 'hospital-2'"
    ).set_index("seed")
    assert len(fed) == len(alone) == 3

    def by_hand(values, n_test, n_rest, least=0.0):
        half = (
            stats.t.ppf(0.975, len(values) - 1)
            * values.std(ddof=1)
            * np.sqrt(1 / len(values) + n_test / n_rest)
        )
        middle = values.mean()
        return [middle, max(middle - half, least), min(middle + half, 1.0)]

    everybody = whole.results.query(
        "tested_on == 'within' and learner == 'cox' and arm == 'federated' and design "
        "== 'worst' and metric == 'harrell_c'"
    )
    # the hospitals are dealt anew
    ratio = (fed.n_test.sum(), (everybody.n_train + everybody.n_test).sum() - fed.n_test.sum())
    found = whole.summary(tested_on="hospital-2").query(
        "design == 'worst' and learner == 'cox' and arm == 'federated'"
    )
    np.testing.assert_allclose(
        found[["mean", "low", "high"]].to_numpy()[0], by_hand(fed.value, *ratio), rtol=1e-12
    )
    pair = whole.paired("federated", "isolated", tested_on="hospital-2").query(
        "design == 'worst' and learner == 'cox'"
    )
    np.testing.assert_allclose(
        pair[["mean", "low", "high"]].to_numpy()[0],
        by_hand(fed.value - alone.value, *ratio, least=-1.0),
        rtol=1e-12,
    )
    assert len(pair) == 1 and pair.seeds.iloc[0] == 3


@pytest.mark.full
def test_an_interval_of_a_hospital_that_is_dealt_anew_covers_as_often_as_it_says():
    """Oracle: 2,000 cohorts with a known mean; each seed deals a hospital of a tenth and tests a tenth
    of it. The mean of its test rows is covered 95 times of 100.
    """
    rng, n, seeds, tested = np.random.default_rng(3), 400, 12, 20
    plan = read_plan({**GRID, "seeds": seeds, "designs": {"two": GRID["designs"]["two"]}})
    rows = pd.DataFrame(
        {
            "cohort": "mds",
            "design": "two",
            "seed": np.arange(seeds),
            "tested_on": "hospital-2",
            "n_train": 140,
            "n_test": tested,
        }
    )
    results = pd.concat([rows, rows.assign(tested_on="within", n_train=n - 80, n_test=80)])
    covered = []
    for _ in range(2000):
        patients = rng.normal(size=n)
        drawn = rows.assign(
            value=[rng.choice(patients, tested, replace=False).mean() for _ in range(seeds)]
        )
        found = results_room.over_seeds(
            results_room.with_rest(drawn, results, plan), ["tested_on"]
        ).iloc[0]
        covered.append(found.low < 0 < found.high)
    assert 0.93 < np.mean(covered) < 0.97
    fixed = read_plan(
        {
            **GRID,
            "designs": {"two": {"by_site": True}},
            "cohorts": {"mds": {"load": "virtual-mds", "n": 200}},
        }
    )
    assert (results_room.with_rest(rows, results, fixed).n_rest == 140).all() and (
        results_room.with_rest(rows, results, plan).n_rest == n - tested
    ).all()


def test_no_sum_over_hospitals_without_one_that_the_other_arms_count(tmp_path):
    """At the last hospital nobody dies: alone it promises no probability, and the sum of the others is
    not what the federation is judged on.
    """
    rng, site = np.random.default_rng(11), np.repeat(["big", "mid", "low"], [300, 200, 100])
    death, lost = rng.exponential(1 / np.where(site == "low", 1e-6, 0.8)), rng.uniform(1, 4, 600)
    death[site == "low"] = 1e6
    pd.DataFrame(rng.normal(size=(600, 2)), columns=["a", "b"]).assign(
        years=np.minimum(death, lost) + 0.001, died=(death <= lost).astype(int), site=site
    ).to_csv(tmp_path / "mine.csv", index_label="id")
    cohort = {
        "file": str(tmp_path / "mine.csv"),
        "time": "years",
        "event": "died",
        "site": "site",
        "features": ["a", "b"],
    }
    done = run(
        changed(
            cohorts={"mine": cohort},
            designs={"real": {"by_site": True, "test_share": 0.2}},
            learners={"cox": {"learner": "cox", "penalty": 0.1}},
        ),
        tmp_path / "out",
    )
    home = done.results.query("trained_on == 'own site' and metric == 'brier'").set_index(
        ["seed", "tested_on"]
    )
    assert (
        home.xs("within", level=1).value.isna().all()
        and home.xs("big", level=1).value.notna().all()
    )
    assert home.xs("within", level=1).note.str.contains("no result of its own at low").all()
    gains = done.paired("federated", "isolated", metric="brier").set_index("tested_on")
    assert (
        gains.seeds["within"] == 0
        and gains.verdict["within"] == "cannot tell"
        and gains.seeds["big"] == 3
    )


def test_pairs_know_which_direction_is_better(whole):
    "A Brier score that is lower by .01 is a gain of .01."
    c, brier = (
        whole.paired("cox", {"learner": "stiff"}, metric=m, tested_on="within")
        .query("design == 'two' and arm == 'pooled'")
        .iloc[0]
        for m in ("harrell_c", "brier")
    )
    assert (
        c["mean"] == pytest.approx(c["first"] - c["second"])
        and brier["mean"] == pytest.approx(brier["second"] - brier["first"])
        and brier["mean"] != 0
    )


def test_a_side_that_means_several_results_is_refused(whole):
    with pytest.raises(gw.ExperimentError, match="stands for several results.*learner"):
        whole.paired(
            "clinical score", {"arm": "federated", "trained_on": "all sites", "strategy": "own"}
        )
    with pytest.raises(gw.ExperimentError, match="expected an arm"):
        whole.paired("fedrated", "isolated")
    with pytest.raises(gw.ExperimentError, match="nothing was measured"):
        whole.summary("auc")


def test_clinical_scores_stand_beside_on_the_same_patients(whole):
    one = (
        whole.results.query("metric == 'harrell_c' and tested_on == 'within'")
        .groupby(["design", "seed"])
        .n_test.nunique()
    )
    assert (one == 1).all()
    pair = whole.paired("federated", "clinical score", tested_on="within")
    assert len(pair) == 4 and set(pair.against) == {"clinical score"} and pair["mean"].notna().all()
    best, worst = (
        whole.results.query(
            "arm == 'clinical score' and metric == 'harrell_c' and design == @d"
        ).value.to_numpy()
        for d in ("two", "worst")
    )
    assert (best == worst).all(), "a score does not change because a hospital cannot measure"


def test_the_folder_reads_back(whole):
    read = gw.Experiment.read(whole.folder)
    pd.testing.assert_frame_equal(read.results, whole.results, check_exact=True)
    assert read.plan == whole.plan and read.facts == whole.facts
    pd.testing.assert_frame_equal(
        pd.read_csv(
            whole.folder / "results.csv",
            keep_default_na=False,
            na_values={"value": [""]},
            float_precision="round_trip",
        ),
        whole.results,
        check_dtype=False,
        check_exact=True,
    )
    told = (whole.folder / "results.csv").read_text()
    assert str(whole.folder) not in told and time.strftime("%Y-%m-%d") not in told


def changed_json(path, change):
    told = json.loads(path.read_text())
    change(told)
    path.write_text(json.dumps(told))


DAMAGE = {
    "a plan of a newer version": (
        "experiment.json",
        lambda p: changed_json(p, lambda told: told["plan"].update(colour="blue")),
        "colour",
    ),
    "facts of an older version": (
        "experiment.json",
        lambda p: changed_json(p, lambda told: told["facts"]["mds"].pop("content")),
        "content",
    ),
    "no plan": ("experiment.json", lambda p: p.write_text("{}"), "plan"),
    "a list": (
        "experiment.json",
        lambda p: changed_json(p, lambda told: told.update(facts=[])),
        "AttributeError",
    ),
    "cut words": (
        "experiment.json",
        lambda p: p.write_bytes(p.read_bytes()[:100]),
        "JSONDecodeError",
    ),
    "an empty file": ("experiment.json", lambda p: p.write_text(""), "JSONDecodeError"),
    "cut results": ("results.parquet", lambda p: p.write_bytes(p.read_bytes()[:500]), "Arrow"),
    "results that are a beginning": (
        "results.parquet",
        lambda p: p.write_bytes(b"PAR1xx"),
        "Arrow",
    ),
    "results without strategies": (
        "results.parquet",
        lambda p: pd.read_parquet(p).drop(columns="strategy").to_parquet(p),
        "no column strategy",
    ),
    "no failures": ("failures.csv", lambda p: p.unlink(), "there is no such file"),
    "empty failures": ("failures.csv", lambda p: p.write_text(""), "EmptyDataError"),
    "other failures": ("failures.csv", lambda p: p.write_text("cell,reason\n"), "cell, reason"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_folder_that_cannot_be_read_names_the_file_and_what_to_do(whole, tmp_path, damage):
    "Oracle: the undisturbed run, which running again gives back."
    name, spoil, words = DAMAGE[damage]
    folder = tmp_path / "grid"
    shutil.copytree(whole.folder, folder)
    spoil(folder / name)
    with pytest.raises(gw.ExperimentError) as told:
        gw.Experiment.read(folder)
    assert all(
        w in str(told.value) for w in (str(folder / name), words, "run the experiment again")
    ), str(told.value)
    run(GRID, folder)
    assert gw.Experiment.read(folder).results.equals(whole.results)


def test_an_excerpt_holds_one_metric_and_nothing_of_this_computer(whole, tmp_path):
    excerpt = whole.excerpt(tmp_path / "excerpt")
    read = gw.Experiment.read(tmp_path / "excerpt")
    pd.testing.assert_frame_equal(read.results, excerpt.results, check_exact=True)
    assert (
        set(read.results.metric) == {"harrell_c"}
        and read.plan.folder == ""
        and read.facts == whole.facts
    )
    for where in ("within", None):
        pd.testing.assert_frame_equal(
            read.summary(tested_on=where), whole.summary(tested_on=where), check_exact=True
        )
        pd.testing.assert_frame_equal(
            read.paired("federated", "isolated", tested_on=where),
            whole.paired("federated", "isolated", tested_on=where),
            check_exact=True,
        )
    written = {
        p.name: p.read_bytes() for p in (tmp_path / "excerpt").iterdir() if p.name != ".lock"
    }
    assert set(written) == {"experiment.json", "results.parquet", "failures.csv"}
    assert not [
        name
        for name, there in written.items()
        if str(tmp_path).encode() in there or str(whole.folder.parent).encode() in there
    ]
    with pytest.raises(gw.ExperimentError, match="other files"):
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "thesis.txt").write_text("mine")
        whole.excerpt(tmp_path / "full")


def test_the_picture_shows_who_trained_alone(whole, tmp_path):
    "All hospitals at home where all trained alone; else those that did, on everybody's patients."
    few = run(
        changed(
            isolated="biggest and smallest",
            designs={"three": {"shares": [50, 30, 20], "test_share": 0.2}},
            learners={"cox": {"learner": "cox", "penalty": 0.1}},
            cohorts={"mds": {"load": "virtual-mds", "n": 200}},
        ),
        tmp_path / "few",
    )
    alone = (
        few.summary(tested_on="within").query("arm == 'isolated'").set_index("trained_on")["mean"]
    )
    assert list(alone.index) == ["hospital-1", "hospital-3"]
    told = cohort_picture(few, "mds").alt
    assert (
        f"alone (hospital-1) {alone['hospital-1']:.3f}, alone (hospital-3) {alone['hospital-3']:.3f}"
        in told
    )
    home = (
        whole.summary(tested_on="within")
        .query("trained_on == 'own site' and learner == 'cox' and design == 'two'")["mean"]
        .iloc[0]
    )
    assert (
        f"alone {home:.3f}" in cohort_picture(whole, "mds").alt
        and "alone (" not in cohort_picture(whole, "mds").alt
    )


def test_the_report_shows_its_numbers(whole, tmp_path):
    page = whole.report(tmp_path / "report.html").read_text()
    r = (
        whole.summary(tested_on="within")
        .query(
            "design == 'worst' and learner == 'stiff' and arm == 'federated' and metric == 'harrell_c'"
        )
        .iloc[0]
    )
    assert (
        f"{r['mean']:.3f} ({r.low:.3f} to {r.high:.3f})" in page
        and "Virtual patients." in page
        and 'src="http' not in page
        and "<script" not in page
    )
    assert page.count("<img") == 1 and 'alt="mds, C-index' in page


# The plan is read strictly


def changed(**parts):
    return {**GRID, **parts}


SLIPS = {
    "a key": (changed(seed=3), ["'seed'", "seeds"]),
    "no seeds": (changed(seeds=0), ["seeds = 0", "from 1 up"]),
    "yes for a number": (changed(seeds=True), ["seeds = True"]),
    "seeds twice": (changed(seeds=[1, 1]), ["seeds = [1, 1]", "different"]),
    "a metric": (changed(metrics=["harrel_c"]), ["harrel_c", "harrell_c"]),
    "an arm": (changed(arms=["pooled", "alone"]), ["alone", "isolated"]),
    "a learner": (changed(learners={"cox": {"learner": "coxx"}}), ["learners.cox", "coxx", "cox"]),
    "an argument": (
        changed(learners={"cox": {"learner": "cox", "penalti": 1}}),
        ["learners.cox", "penalti", "penalty"],
    ),
    "a word for a setting": (
        changed(learners={"cox": {"learner": "cox", "ties": "efrom"}}),
        ["learners.cox", "ties='efrom'", "'efron', 'breslow'"],
    ),
    "a text for a number": (
        changed(learners={"cox": {"learner": "cox", "penalty": "0.1"}}),
        ["learners.cox", "penalty = '0.1'", "expected a number"],
    ),
    "yes for a setting": (
        changed(learners={"forest": {"learner": "forest", "trees": True}}),
        ["learners.forest", "trees = True", "expected a number"],
    ),
    "a number below the least": (
        changed(learners={"cox": {"learner": "cox", "penalty": -1}}),
        ["learners.cox", "penalty=-1", "from 0 up"],
    ),
    "no trees": (
        changed(learners={"wood": {"learner": "forest", "trees": 0}}),
        ["learners.wood", "trees=0", "from 1 up"],
    ),
    "many trees": (
        changed(learners={"wood": {"learner": "forest", "trees": "many"}}),
        ["learners.wood", "trees = 'many'", "expected a number"],
    ),
    "features of a forest": (
        changed(learners={"wood": {"learner": "forest", "features": "sqr"}}),
        ["learners.wood", "features='sqr'", "'sqrt'"],
    ),
    "a grid of words": (
        changed(learners={"cox": {"learner": "cox", "time_grid": "years"}}),
        ["learners.cox", "time_grid = 'years'"],
    ),
    "a setting of a member": (
        changed(
            learners={
                "cox": {"learner": "cox"},
                "wood": {"learner": "forest", "trees": 0},
                "both": {"average": ["cox", "wood"]},
            }
        ),
        ["learners.wood", "trees=0"],
    ),
    "two kinds": (
        changed(learners={"cox": {"learner": "cox", "average": ["a", "b"]}}),
        ["learners.cox", "learner and average"],
    ),
    "itself": (changed(learners={"a": {"average": ["a", "a"]}}), ["learners.a", "made of itself"]),
    "a member": (
        changed(learners={"cox": {"learner": "cox"}, "a": {"average": ["cox", "forst"]}}),
        ["learners.a", "forst"],
    ),
    "a strategy": (changed(strategies=["fedaverage"]), ["fedaverage", "fedavg"]),
    "a strategy under two names": (
        changed(strategies=["own", "newton"]),
        ["the experiment", "'own' and 'newton'", "the same", "leave one"],
    ),
    "a strategy twice": (
        changed(
            strategies=[
                "fedavg",
                {"strategy": "fedprox", "proximal_mu": 0.5},
                {"proximal_mu": 0.5, "strategy": "fedprox"},
            ]
        ),
        ["fedprox, proximal_mu=0.5", "the same"],
    ),
    "a strategy of a learner twice": (
        changed(learners={"cox": {"learner": "cox", "strategies": ["fedavg", "fedavg"]}}),
        ["learners.cox", "'fedavg' and 'fedavg'"],
    ),
    "a share": (changed(designs={"two": {"shares": [60, -40]}}), ["designs.two", "-40"]),
    "a test share": (
        changed(designs={"two": {"shares": [60, 40], "test_share": 1.5}}),
        ["designs.two", "test_share = 1.5"],
    ),
    "no hospitals": (changed(designs={"two": {}}), ["designs.two", "shares", "by_site"]),
    "no cohort": (changed(cohorts={"mds": {"n": 3}}), ["cohorts.mds", "load", "neither"]),
    "no file": (changed(cohorts={"mds": {"file": "nowhere.csv"}}), ["cohorts.mds", "nowhere.csv"]),
    "learners of a cohort": (
        changed(cohorts={"mds": {**GRID["cohorts"]["mds"], "learners": ["coxs"]}}),
        ["cohorts.mds", "coxs"],
    ),
    "lacking": (
        changed(cohorts={"mds": {"load": "virtual-mds"}}),
        ["cohorts.mds", "lacking", "worst"],
    ),
    "published": (changed(published={"aml": {}}), ["published.aml", "mds"]),
    "a published design": (
        changed(
            published={
                "mds": {
                    "source": "x",
                    "learner": "cox",
                    "figures": [{"what": "x", "value": 1, "arm": "pooled", "design": "tow"}],
                }
            }
        ),
        ["published.mds", "tow", "two"],
    ),
    "mlflow": (changed(mlflow={"url": "x"}), ["mlflow", "url", "uri"]),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_is_named_with_its_place(slip):
    plan, words = SLIPS[slip]
    with pytest.raises(gw.ExperimentError) as told:
        read_plan(plan)
    assert all(w in str(told.value) for w in words), str(told.value)


def test_what_a_learner_takes_is_no_slip():
    """Oracle: the learners of the catalogue as they are, each with its own defaults written out, and
    settings that are lists or times.
    """
    from genomed_workbench.learners.catalogue import LEARNERS, arguments_of

    tables = {
        name: {"learner": name, **{k: v for k, v in arguments_of(name).items() if v is not None}}
        for name, one in LEARNERS.items()
        if one.installed and not one.members
    }
    tables |= {
        "ratios": {"learner": "cox", "l1_ratio": [0, 0.5]},
        "grid": {"learner": "cox", "baseline": "shared", "time_grid": [1.0, 2.0]},
        "shares": {"learner": "forest", "features": 0.4},
        "whole": {"learner": "cox", "penalty": 1},
    }
    assert set(
        read_plan(
            changed(
                cohorts={"mds": GRID["cohorts"]["mds"] | {"learners": ["cox"]}}, learners=tables
            )
        ).learners
    ) == set(tables)


LATE = {
    "a feature to drop": (
        changed(cohorts={"mds": {**GRID["cohorts"]["mds"], "drop": ["risk_grup"]}}),
        ["risk_grup", "no feature"],
    ),
    "a lacking feature": (
        changed(cohorts={"mds": {**GRID["cohorts"]["mds"], "lacking": ["ASXL11"]}}),
        ["lacking", "ASXL11"],
    ),
    "a hospital": (
        changed(designs={"worst": {"shares": [60, 40], "lacking_at": ["hospital-9"]}}),
        ["worst", "hospital-9", "hospital-2"],
    ),
    "an option": (
        changed(cohorts={"mds": {**GRID["cohorts"]["mds"], "patients": 30}}),
        ["cohorts.mds", "patients"],
    ),
    "a size": (
        changed(cohorts={"mds": {**GRID["cohorts"]["mds"], "n": 0}}),
        ["cohorts.mds", "n=0"],
    ),
    "a score that is a feature": (
        changed(
            cohorts={
                "mds": {
                    "load": "virtual-mds",
                    "n": 200,
                    "lacking": ["ASXL1"],
                    "scores": ["cytogenetic_risk"],
                }
            }
        ),
        ["scores", "cytogenetic_risk"],
    ),
    "another outcome": (
        changed(cohorts={"scd": {"load": "virtual-scd", "lacking": ["age"]}}),
        ["cohorts.scd", "binary", "cox"],
    ),
    "only": (GRID, ["coxy"]),
}


@pytest.mark.parametrize("slip", LATE)
def test_a_slip_that_the_patients_show_is_told_before_the_first_cell(slip, tmp_path):
    plan, words = LATE[slip]
    with pytest.raises(gw.ExperimentError) as told:
        run(plan, tmp_path / "out", only=["coxy"] if slip == "only" else None)
    assert all(w in str(told.value) for w in words), str(told.value)
    assert not (tmp_path / "out" / "parts").exists()


def test_one_name_is_no_list_of_names(tmp_path):
    with pytest.raises(
        gw.ExperimentError, match=r"only='cox': expected a list of names, such as \['cox'\]"
    ):
        run(GRID, tmp_path / "out", only="cox")


def test_a_file_is_named(tmp_path, monkeypatch):
    (tmp_path / "mine.toml").write_text(TOML.replace("seeds = 3", "sedes = 3"))
    with pytest.raises(gw.ExperimentError, match=r"mine\.toml: .*'sedes'.*Did you mean 'seeds'"):
        read_plan(tmp_path / "mine.toml")
    (tmp_path / "mine.toml").write_text("seeds = = 4")
    with pytest.raises(gw.ExperimentError, match="no valid TOML"):
        read_plan(tmp_path / "mine.toml")
    with pytest.raises(gw.ExperimentError, match="published"):
        read_plan("publishd")
    with pytest.raises(gw.ExperimentError, match="this is a folder; expected a TOML file"):
        read_plan(f"{tmp_path}/.")
    (tmp_path / "published").mkdir()  # as a run leaves it: the name still means the experiment
    monkeypatch.chdir(tmp_path)
    assert read_plan("published").name == "published"
    (tmp_path / "mine.toml").write_text(TOML)
    assert [c.key for c in read_plan(tmp_path / "mine.toml").cells()] == [
        c.key for c in read_plan(GRID).cells()
    ]


def test_the_same_hospitals_train_alone_for_every_seed():
    """Two hospitals of a tenth each change places in size from seed to seed once patients without a
    score are left out; the one that lacks variables is always there.
    """
    plan = read_plan("published")
    sizes = set()
    for design, expected in {
        "five": ["hospital-1", "hospital-5"],
        "five-worst": ["hospital-1", "hospital-5"],
        "three-worst": ["hospital-1", "hospital-3"],
    }.items():
        for seed in range(4):
            cell = next(
                c
                for c in plan.cells()
                if (c.cohort, c.design, c.learner, c.seed) == ("virtual-mds", design, "cox", seed)
            )
            federation = prepared(cell)
            sizes.add(tuple(s.n for s in federation.sites.values())[-2:])
            assert alone_of(federation, "biggest and smallest", cell.spec["design"]) == expected
    assert {a > b for a, b in sizes} == {True, False}, "the trap is there"
    federation = federation_of(
        gw.load_cohort("virtual-mds", n=200),
        {"lacking": ["ASXL1"]},
        {"shares": [50, 30, 20], "lacking_at": ["hospital-2"]},
        0,
    )
    assert alone_of(
        federation, "biggest and smallest", {"shares": [50, 30, 20], "lacking_at": ["hospital-2"]}
    ) == ["hospital-1", "hospital-3", "hospital-2"]
    assert alone_of(federation, "none", {}) == [] and alone_of(federation, "all", {}) == list(
        federation.sites
    )


def test_members_and_seeds_reach_the_learner():
    plan = read_plan(
        changed(
            learners={
                "forest": {"learner": "forest", "trees": 20},
                "cox": {"learner": "cox", "penalty": 0.2},
                "both": {"average": ["forest", "cox"]},
            }
        )
    )
    cell = next(c for c in plan.cells() if c.learner == "both" and c.seed == 2)
    forest, cox = learner_in(cell.spec["learner"], cell.seed).learners
    assert forest.seed == 2 and forest.trees == 20 and cox.penalty == 0.2
    assert metrics_of("binary", ["harrell_c", "auc"]) == ("auc",)


# The published table


def test_the_published_experiment_is_as_declared():
    pytest.importorskip(
        "torch", reason='neural networks need: pip install "genomed-workbench[torch]"'
    )
    pytest.importorskip("xgboost", reason='boosting needs: pip install "genomed-workbench[boost]"')
    plan = read_plan("published")
    assert (
        plan.seeds == tuple(range(20))
        and plan.common["tune"]
        and "published" in named_experiments()
    )
    assert {tuple(d["shares"]) for d in plan.designs.values()} == {
        (60, 30, 10),
        (45, 20, 15, 10, 10),
    } and sum("lacking_at" in d for d in plan.designs.values()) == 2
    assert {c["load"] for c in plan.cohorts.values()} == {
        "ipssm-study",
        "virtual-mds",
        "virtual-aml",
        "virtual-mm",
        "virtual-scd",
    }


@pytest.mark.parametrize("name", ["mds", "virtual-mds", "virtual-aml", "virtual-mm", "virtual-scd"])
def test_no_feature_of_the_published_experiment_is_a_treatment_or_a_score(name, monkeypatch):
    pytest.importorskip(
        "torch", reason='neural networks need: pip install "genomed-workbench[torch]"'
    )
    pytest.importorskip("xgboost", reason='boosting needs: pip install "genomed-workbench[boost]"')
    from conftest import study_folder

    if name == "mds":
        if study_folder() is None:
            pytest.skip("ipssm-study is not on this computer")
        monkeypatch.setenv("GENOMED_DATA", str(study_folder()))
    plan = read_plan("published")
    facts = room.facts_of(plan, name)
    forbidden = {
        "risk_group",
        "hydroxyurea",
        "iss",
        "r_iss",
        "r2_iss",
        "iss_2_or_3",
        "iss_3",
        "ipssm_score",
        "ipssr_score",
        "treatment",
        "transplant",
        "who_class",
        "voe_2y",
    }
    assert facts.features and not forbidden & set(facts.features)
    assert not [
        f
        for f in facts.features
        if any(
            part in f.lower()
            for part in ("score", "treat", "transplant", "risk_group", "months", "days")
        )
    ]
    lacking, design = plan.cohorts[name]["lacking"], plan.designs["five-worst"]
    assert set(lacking) < set(facts.features)
    federation = federation_of(room.cohort_of(plan.cohorts[name]), plan.cohorts[name], design, 0)
    members = federation.members["hospital-5"]
    assert (
        federation.cohort.frame[lacking].iloc[members].isna().all().all()
        and abs(len(members) / federation.cohort.n - 0.1) < 0.01
    )


# The command line


def test_the_command_line(tmp_path, genomed):
    file = tmp_path / "grid.toml"
    file.write_text(TOML.replace("seeds = 3", "seeds = 2"))
    status, out, _ = genomed("experiment", file, "--plan")
    assert status == 0 and "12 cells" in out and not (tmp_path / "grid-results").exists()
    status, out, err = genomed(
        "experiment",
        file,
        "--out",
        tmp_path / "out",
        "--workers",
        1,
        "--only",
        "two,cox",
        "--report",
        tmp_path / "r.html",
        "--quiet",
        "--json",
    )
    told = json.loads(out)
    assert (
        status == 0
        and told["failed"] == []
        and told["cells"] == 4
        and (tmp_path / "r.html").exists()
    )
    assert {r["learner"] for r in told["summary"]} == {"", "cox"}
    status, out, err = genomed("experiment", file, "--out", tmp_path / "out", "--report", "r.pdf")
    assert status == 2 and "--report r.pdf" in err and not out
    file.write_text(TOML.replace("penalty = 0.1", "penalti = 0.1"))
    status, out, err = genomed("experiment", file)
    assert status == 2 and "grid.toml: learners.cox" in err and "penalti" in err and not out


# MLflow


def test_runs_are_logged_once(tmp_path):
    "Oracle: MLflow's own client."
    pytest.importorskip(
        "mlflow", reason='logging to MLflow needs: pip install "genomed-workbench[mlflow]"'
    )
    pytest.importorskip(
        "sqlalchemy", reason='logging to MLflow needs: pip install "genomed-workbench[mlflow]"'
    )
    from mlflow import MlflowClient

    plan = {
        **GRID,
        "seeds": 2,
        "designs": {"two": GRID["designs"]["two"]},
        "learners": {"cox": GRID["learners"]["cox"]},
        "mlflow": {"uri": f"sqlite:///{tmp_path}/runs.db", "experiment": "grid"},
    }
    done = run(plan, tmp_path / "grid")
    client = MlflowClient(plan["mlflow"]["uri"])
    place = client.get_experiment_by_name("grid").experiment_id

    def runs():
        return {r.data.tags["genomed.key"]: r for r in client.search_runs([place])}

    def history(run_, name):
        return sorted((m.step, m.value) for m in client.get_metric_history(run_.info.run_id, name))

    first = runs()
    groups = done.results.groupby(["learner", "arm", "trained_on"]).ngroups
    assert groups == 6 and len(first) == groups * (1 + 2)
    parents = {k: r for k, r in first.items() if "mlflow.parentRunId" not in r.data.tags}
    assert len(parents) == groups and all(r.info.status == "FINISHED" for r in first.values())
    federated = next(r for r in parents.values() if r.data.tags["genomed.arm"] == "federated")
    children = {
        r.data.tags["tested_on"]: r
        for r in first.values()
        if r.data.tags.get("mlflow.parentRunId") == federated.info.run_id
    }
    assert (
        set(children) == {"hospital-1", "hospital-2"}
        and federated.data.params["learner.penalty"] == "0.1"
        and federated.data.params["cohort.n"] == "200"
    )
    rows = done.results.query("arm == 'federated' and metric == 'harrell_c'")
    for one, name, where in (
        (federated, "harrell_c.within", "within"),
        (children["hospital-2"], "harrell_c", "hospital-2"),
    ):
        assert history(one, name) == [
            (r.seed, r.value) for r in rows[rows.tested_on == where].itertuples()
        ]
    mean = done.summary(tested_on="within").query("arm == 'federated'").iloc[0]
    assert (
        federated.data.metrics["harrell_c.within.mean"] == mean["mean"]
        and federated.data.metrics["harrell_c.within.low"] == mean["low"]
    )

    run(plan, tmp_path / "grid")
    again = runs()
    assert {k: r.info.run_id for k, r in again.items()} == {
        k: r.info.run_id for k, r in first.items()
    }
    assert len(history(federated, "harrell_c.within")) == 2
    run({**plan, "seeds": 3}, tmp_path / "grid")
    assert len(runs()) == len(first) and [s for s, _ in history(federated, "harrell_c.within")] == [
        0,
        1,
        2,
    ]


def test_mlflow_that_is_not_installed_is_named(tmp_path, monkeypatch):
    from genomed_workbench.experiments import mlflow_log as tracking

    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    with pytest.raises(gw.ExperimentError, match=r'pip install "genomed-workbench\[mlflow\]"'):
        run({**GRID, "mlflow": {"uri": "sqlite:///x.db", "experiment": "grid"}}, tmp_path / "grid")
    assert not (tmp_path / "grid").exists() and os.listdir(tmp_path) == []
