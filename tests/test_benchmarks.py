"""The benchmarks: do all contestants compute the same, and is the result plain JSON? Times are never asserted."""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter

import genomed_workbench as gw
from genomed_workbench.analytics.federation import Federation
from genomed_workbench.benchmarks.bench import BENCHMARKS, BenchmarkError, bench
from genomed_workbench.benchmarks.ceiling import (
    HOSPITALS,
    added_variance,
    end_of,
    hazard_ratio_of,
    more_patients,
    run_split,
    steps_of,
    stretched,
)
from genomed_workbench.benchmarks.cox import (
    blocks_of,
    evaluate,
    federated,
    pooled,
    rows_of_evaluations,
    rows_of_peer,
)
from genomed_workbench.benchmarks.engines import (
    bare_numpy,
    by_flower,
    race_engines,
    tables_of,
    task,
)
from genomed_workbench.benchmarks.patients import effects, hospital_sizes, made_up_cohort
from genomed_workbench.benchmarks.result import Benchmark, Figure, plain, race
from genomed_workbench.benchmarks.scale import growth, point, point_apart
from genomed_workbench.evaluation.compare import compare
from genomed_workbench.learners.cox import CoxPH
from genomed_workbench.statistics.concordance import comparable_pairs, expected_c
from genomed_workbench.statistics.cox import RiskOrder, cox_terms


@pytest.fixture(scope="module")
def results():
    return {name: bench(name, quick=True, progress=False) for name in BENCHMARKS}


@pytest.mark.parametrize("name", list(BENCHMARKS))
def test_a_result_is_plain_json_and_a_table(results, name):
    result = results[name]
    told = json.loads(result.to_json())
    assert (
        told["name"] == name and told["settings"]["quick"] is True and told["machine"]["cores"] >= 1
    )
    assert len(told["rows"]) == len(result.table) > 0 and set(told["rows"][0]) == set(
        result.table.columns
    )
    assert set(told["figures"]) == set(result.bars.index) and all(
        {"what", "value", "unit", "bar", "met"} <= set(f) for f in told["figures"].values()
    )
    assert name in str(result) and name in result._repr_html_()


def test_a_bar_is_said_to_be_met_only_where_it_was_measured(results):
    for figure in results["engines"].figures.values():
        assert (figure.met is None) == (figure.bar is None or figure.value is None)
    assert Figure("", 50, bar=50, more=True).met and not Figure("", 0.51, bar=0.5).met


def test_the_right_answers_come_before_the_times(results):
    assert results["engines"].figures["difference"].met
    assert (
        results["cox"].figures["against_pooled"].met
        and results["cox"].figures["against_lifelines"].met
    )
    assert results["scale"].figures["all_converged"].met


def test_whoever_is_left_out_is_named_with_the_reason(results):
    assert (
        any("Ray" in note for note in results["engines"].notes)
        and results["engines"].figures["ray_over_inprocess"].value is None
    )
    assert (
        any("federated-survival" in note for note in results["cox"].notes)
        and results["cox"].figures["peer_fit"].value is None
    )


def test_progress_and_logs_stay_off_stdout(capfd):
    bench("engines", quick=True)
    out, err = capfd.readouterr()
    assert out == "" and "engines" in err


@pytest.mark.parametrize("wrong", [{"name": "speed"}, {"name": "scale", "hospitals": 3}])
def test_a_wrong_name_or_option_says_what_there_is(wrong):
    with pytest.raises(
        BenchmarkError, match=r"engines, cox, forest, ceiling, concordance, scale|it has .*quick"
    ):
        bench(**wrong)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_numpy_loop_and_the_messages_give_the_same_coefficients(seed):
    federation = task(sites=4, patients=80, features=6, seed=seed)
    loop, messages = (
        bare_numpy(tables_of(federation), rounds=20),
        by_flower(federation, rounds=20, engine="inprocess"),
    )
    assert np.abs(loop.weights - messages.weights).max() < 1e-10
    assert len(loop.rounds) == len(messages.rounds) == 20 and messages.messages == 4 + 20 * 4


def test_engines_that_race_give_the_same_coefficients():
    "Ray against this process: tests/test_engines.py."
    rows = race_engines("tiny", task(sites=3, patients=60, features=4), 3, ["inprocess"], repeats=1)
    assert [row["engine"] for row in rows] == ["numpy", "inprocess"] and max(
        row["difference"] for row in rows
    ) < 1e-10


def test_one_newton_evaluation_is_that_of_the_pooled_table():
    cohort = made_up_cohort(hospital_sizes(500, 4), 6, seed=3, decimals=1)
    blocks, beta = blocks_of(cohort), np.linspace(-0.2, 0.2, 6)
    X, y = np.vstack([b.X for b in blocks]), np.concatenate([b.y for b in blocks])
    order = RiskOrder.of(y["time"], y["event"])
    times = np.unique(y["time"][y["event"]])[::-1]
    for ties in ("breslow", "efron"):
        expected = cox_terms(X[order.rows], order, beta, ties)
        for ours, theirs in zip(evaluate(blocks, beta, times, ties), expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("baseline", ["per-site", "shared"])
def test_federated_is_pooled(baseline):
    cohort = made_up_cohort(hospital_sizes(600, 5), 8, seed=5, decimals=2)
    assert (
        np.abs(
            federated(cohort, baseline=baseline).beta - pooled(cohort, baseline=baseline).beta
        ).max()
        < 1e-10
    )


@pytest.mark.skipif(
    find_spec("federated_survival") is None,
    reason="federated-survival is not installed; it is a peer, not a dependency",
)
def test_the_peer_computes_the_same():
    cohort = made_up_cohort(hospital_sizes(300, 3), 4, seed=2, decimals=1)
    assert (
        rows_of_peer(cohort)[1]["difference"] < 1e-5
        and rows_of_evaluations(cohort, peer=True)[1]["difference"] < 1e-8
    )


def test_the_made_up_patients_carry_their_truth():
    cohort = made_up_cohort([4000] * 5, 10, seed=4)
    summary = CoxPH().fit(cohort.X, cohort.y, site=cohort.sites).summary_
    unit = np.append(1 + np.arange(5) % 3, np.ones(5))  # measurements have units of 1, 2 and 3
    assert (np.abs(summary.coef - effects(10) / unit) < 4.5 * summary.se).all()
    assert cohort.virtual and cohort.frame.hospital.nunique() == 5


def test_a_point_in_its_own_process_equals_one_in_this_process():
    here, there = (
        point(patients=600, sites=3, features=4),
        point_apart(patients=600, sites=3, features=4),
    )
    same = ("patients", "sites", "rounds", "converged", "messages", "kilobytes_up")
    assert {k: here[k] for k in same} == {k: there[k] for k in same} and here["converged"]


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="only Linux tells the peak of a program alone"
)
def test_the_memory_of_a_point_is_its_own_and_not_its_parents():
    ballast = np.ones(100_000_000)
    assert point_apart(patients=400, sites=2, features=3)["peak_gb"] * 1e9 < ballast.nbytes


def test_a_point_that_fails_says_so():
    with pytest.raises(RuntimeError, match="the point .*'sites': 1.*at least two sites"):
        point_apart(patients=100, sites=1, features=2)


def test_the_exponent_of_a_power_is_found():
    assert np.isclose(
        growth([{"patients": n, "seconds": 2e-5 * n**1.07} for n in (3e4, 1e5, 3e5, 1e6)]), 1.07
    )
    assert growth([{"patients": 100, "seconds": 1.0}]) is None


def test_a_race_keeps_every_run_and_the_last_result():
    calls = []
    laps = race(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b") or len(calls)}, repeats=2
    )
    assert calls == ["a", "b"] * 3 and len(laps["b"].seconds) == 2 and laps["b"].result == 6


def test_json_knows_no_nan():
    odd = Benchmark(
        "odd",
        "?",
        [{"value": np.float64("nan"), "n": np.int64(3)}],
        {"f": Figure("", float("inf"))},
        {"shape": (1, 2)},
        machine={},
    )
    told = json.loads(odd.to_json())
    assert (
        told["rows"] == [{"value": None, "n": 3}]
        and told["figures"]["f"]["value"] is None
        and told["settings"]["shape"] == [1, 2]
    )
    assert plain({1: np.array([np.nan, 1.0])}) == {"1": [None, 1.0]}


def test_a_split_of_the_ceiling_is_that_of_compare():
    "Oracle: gw.compare on the same hospitals and test rows, with the same variables."
    cohort = gw.load_cohort(
        "virtual-mds",
        n=500,
        seed=2,
        features=["age", "sex", "hemoglobin", "marrow_blasts", "TP53multi"],
    )
    split = run_split(cohort, CoxPH(penalty=0.05), seed=3, folds=0)
    for name, features in steps_of(cohort.features).items():
        federation = Federation.split(
            cohort.with_features(features), (45, 20, 15, 10, 10), test_share=0.1, seed=3
        )
        table = compare(
            federation, CoxPH(penalty=0.05), repeats=1, tune=False, progress=False
        ).table.set_index(["arm", "tested_on", "metric"])
        assert split.by_step[name] == pytest.approx(
            table.loc[("federated", "within", "harrell_c"), "mean"], abs=1e-12
        )
    assert list(split.by_step) == ["age and sex", "blood counts", "marrow blasts", "genes"]
    sizes = more_patients(cohort, CoxPH(penalty=0.05), seed=3, folds=0)
    assert len(sizes) == 4 and max(sizes) == sum(
        len(s.train_rows) for s in Federation.split(cohort, HOSPITALS, 0.1, 3).sites.values()
    )


def test_what_a_hidden_finding_adds_is_read_back():
    "Oracle: outcomes drawn with a hidden finding; the gain it brings names its hazard ratio again."
    rng = np.random.default_rng(5)
    known, hidden = rng.normal(size=3000), np.log(4) * (rng.random(3000) < 0.2)
    death, lost = rng.exponential(np.exp(-known - hidden)), rng.exponential(2, 3000)
    pairs = comparable_pairs(np.minimum(death, lost), death <= lost)
    more = expected_c(pairs, known + hidden) - expected_c(pairs, known)
    assert 3 < hazard_ratio_of(added_variance(pairs, known, more)) < 5
    assert (
        added_variance(pairs, known, 0.0) == pytest.approx(0, abs=1e-9)
        and np.isnan(added_variance(pairs, known, 0.4))
        and np.isnan(added_variance(pairs, 0 * known, 0.1))
    )


def test_timid_risks_are_stretched_to_fit():
    "Oracle: lifelines' Cox model of the risk alone, one stratum a hospital."
    rng = np.random.default_rng(8)
    risk, of = rng.normal(size=600), np.repeat([0, 1, 2], 200)
    death, lost = rng.exponential(np.exp(-2 * risk - of)), rng.exponential(2, 600)
    frame = pd.DataFrame(
        {"time": np.minimum(death, lost), "event": death <= lost, "risk": risk, "of": of}
    )
    slope = CoxPHFitter().fit(frame, "time", "event", strata=["of"]).params_["risk"]
    found = stretched(risk, frame.time.to_numpy(), frame.event.to_numpy(float), of)
    np.testing.assert_allclose(found, slope * risk, rtol=1e-6)
    assert 1.7 < slope < 2.3


def test_the_ceiling_says_what_its_rows_say(results):
    result = results["ceiling"]
    steps = [row for row in result.rows if "hospitals" not in row["what"]]
    for before, row in zip(steps, steps[1:]):
        assert (
            row["c_index"] - before["c_index"] == pytest.approx(row["more"], abs=1e-12)
            and row["features"] > before["features"]
        )
    last, half = result.rows[-1]["c_index"], result.rows[-2]["c_index"]
    assert result.figures["doubling"].value == pytest.approx(last - half) and result.figures[
        "endless"
    ].value == pytest.approx(end_of(half, last))
    assert result.figures["c_index"].value == steps[-1]["c_index"]
