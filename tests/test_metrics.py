"""The further metrics of a comparison: per site, within and over all test rows.

Oracles: the statistics room's functions on each site's rows (held against R and scikit-survival in
test_performance), the federated validation, which reaches the same numbers from sums, and
identities (a row drawn twice is a row that stands there twice).
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import as_cohort, made_up, measure
from sksurv.metrics import concordance_index_censored

import genomed_workbench as gw
from genomed_workbench.analytics.validation import validate
from genomed_workbench.evaluation.metrics import (
    HIGHER_IS_BETTER,
    IDEAL,
    KNOWN,
    METRIC_LABELS,
    Predicted,
    TestRows,
    goodness,
    metrics_for,
    own_survival,
    redraws,
    resampled,
    scores_of,
)
from genomed_workbench.statistics.brier import integrated_brier_score
from genomed_workbench.statistics.discrimination import cumulative_dynamic_auc
from genomed_workbench.statistics.net_benefit import decision_curve
from genomed_workbench.statistics.recalibration import calibration_error, calibration_slope

HORIZON, FURTHER = 0.6, ("auc_t", "ibs", "slope", "intercept", "ici", "net_benefit")


@pytest.fixture(scope="module")
def federation() -> gw.Federation:
    X, y = made_up(700, 3, seed=11)
    return gw.Federation.by_site(
        as_cohort(X, y, np.repeat(["A", "B", "C"], [350, 200, 150])), test_share=0.4
    )


@pytest.fixture(scope="module")
def scored(federation):
    "Test rows, a trained model's predictions of them, and every further metric as a row."
    learner = gw.federate(federation, gw.CoxPH(penalty=0.01), progress=False).learner
    test = TestRows.of(federation, KNOWN["survival"], HORIZON)
    X, site = federation.cohort.X.iloc[test.rows], np.array(list(federation.sites))[test.group]
    predicted = Predicted(learner.risk_for(X, site), learner.survival_for(X, test.times, site))
    return (
        learner,
        test,
        predicted,
        {m: scores_of(predicted, test, m, "survival").row() for m in KNOWN["survival"]},
    )


def test_within_and_each_site_equal_the_federated_validation(federation, scored):
    """Two roads to the same number; the comparison reads the hazard of the intercept between 200
    times, the validation at each patient's own.
    """
    learner, _, _, rows = scored
    found = validate(federation, learner, horizon=HORIZON, progress=False)
    for m in ("harrell_c", "uno_c", "brier", "auc_t", "slope", "ici"):
        measure(
            f"compare's {m} - federated validation",
            rows[m][:4],
            [found.value(m, p)["value"] for p in ("A", "B", "C", "within")],
            1e-9,
        )
    measure(
        "compare's intercept - federated validation",
        rows["intercept"][:4],
        [found.value("intercept", p)["value"] for p in ("A", "B", "C", "within")],
        2e-3,
    )


@pytest.mark.parametrize("silent", [False, True], ids=["all predicted", "one hospital without"])
def test_resamples_scored_together_are_those_scored_one_by_one(scored, silent):
    """Oracle: `scores_of` with each resample's multiplicities, one after the other; the C-index is also
    that of the repeated rows by scikit-survival.
    """
    _, test, p, _ = scored
    if silent:
        lost = test.group == 1
        p = Predicted(np.where(lost, np.nan, p.risk), np.where(lost[:, None], np.nan, p.survival))
    copies = redraws(test, 4, np.random.default_rng(1))
    assert copies.shape == (len(test.rows), 4)
    for g in range(test.sites):
        assert (copies[test.group == g].sum(axis=0) == (test.group == g).sum()).all()
    metrics = [*KNOWN["survival"]]
    for k, found in enumerate(resampled(p, test, metrics, "survival", copies)):
        for m in metrics:
            one = scores_of(p, test, m, "survival", copies[:, k]).row()
            np.testing.assert_allclose(found[m].row(), one, rtol=1e-12, err_msg=m)
        here = np.repeat(np.flatnonzero(test.group == 0), copies[test.group == 0, k])
        oracle = concordance_index_censored(test.event[here] > 0, test.time[here], p.risk[here])[0]
        assert found["harrell_c"].row()[0] == pytest.approx(oracle, abs=1e-12)


def test_net_benefit_of_small_hospitals_is_that_of_all_their_patients(federation, scored):
    """Hospital C follows nobody to the horizon: it has no value of its own, and the value over the
    hospitals is the one of all their patients. Oracle: the decision curve of one table.
    """
    _, test, p, _ = scored
    early = (test.group == 2) & (test.time > HORIZON / 2)
    time, event = np.where(early, HORIZON / 2, test.time), np.where(early, 0, test.event)
    row = scores_of(p, replace(test, time=time, event=event), "net_benefit", "survival").row()
    pooled = decision_curve(time, event, p.survival[:, 0], HORIZON, [test.threshold]).model.iloc[0]
    assert np.isnan(row[2]) and np.isfinite(row[:2]).all()
    measure("net benefit within, one hospital unknown - one table", row[3:], [pooled] * 2, 1e-12)


def test_over_all_test_rows_equals_the_functions_on_one_table(federation, scored):
    "All: one table without sites, for slope, ICI, net benefit and the area under the curve."
    _, test, p, rows = scored
    exam = (test.time, test.event, p.survival[:, 0], HORIZON)
    measure(
        "compare's slope, all - one table",
        [rows["slope"][-1]],
        [calibration_slope(*exam)[0]],
        1e-10,
    )
    measure(
        "compare's ICI, all - one table", [rows["ici"][-1]], [calibration_error(*exam).ici], 1e-10
    )
    measure(
        "compare's net benefit, all - one table",
        [rows["net_benefit"][-1]],
        [decision_curve(*exam, [test.threshold]).model.iloc[0]],
        1e-12,
    )
    measure(
        "compare's AUC, all - one table",
        [rows["auc_t"][-1]],
        cumulative_dynamic_auc(test.time, test.event, p.risk, [HORIZON], test.whole),
        1e-12,
    )


def test_integrated_brier_score_of_a_site(scored):
    _, test, p, rows = scored
    for g in range(3):
        m = test.group == g
        expected = integrated_brier_score(
            test.time[m],
            test.event[m],
            p.survival[m][:, test.several],
            np.array(test.times[test.several]),
            test.censoring[g],
        )
        measure("compare's IBS of a site", [rows["ibs"][g]], [expected], 1e-12)


@pytest.mark.parametrize("metric", FURTHER)
def test_a_row_drawn_twice_is_a_row_that_stands_there_twice(scored, metric):
    "Once each changes nothing; drawn from a list equals the list itself."
    _, test, p, rows = scored
    np.testing.assert_allclose(
        scores_of(p, test, metric, "survival", np.ones(len(test.rows), int)).row(),
        rows[metric],
        atol=1e-9,
    )
    times = np.random.default_rng(0).integers(0, 3, len(test.rows))
    drawn = np.repeat(np.arange(len(test.rows)), times)
    other = TestRows(
        test.rows[drawn],
        test.group[drawn],
        test.time[drawn],
        test.event[drawn],
        {},
        {},
        test.censoring,
        test.horizon,
        test.times,
        test.several,
        test.own,
        test.whole,
        test.threshold,
    )
    listed = scores_of(Predicted(p.risk[drawn], p.survival[drawn]), other, metric, "survival").row()
    np.testing.assert_allclose(
        scores_of(p, test, metric, "survival", times).row(), listed, atol=1e-12
    )


def test_nothing_where_a_model_promises_nothing(scored):
    "A clinical score has a risk and no probability: its area under the curve is known, its calibration is not."
    _, test, p, _ = scored
    score = Predicted.score(pd.Series(p.risk), len(test.times))
    assert np.isfinite(scores_of(score, test, "auc_t", "survival").row()).all()
    for m in ("ibs", "slope", "intercept", "ici", "net_benefit"):
        assert np.isnan(scores_of(score, test, m, "survival").row()).all(), m


@pytest.mark.parametrize("metric", KNOWN["survival"])
def test_where_a_model_is_silent_the_other_sites_have_their_figures(scored, metric):
    "Oracle: the figures of the model that speaks everywhere; those over all rows are not known."
    _, test, p, rows = scored
    risk, survival = p.risk.copy(), p.survival.copy()
    first = np.flatnonzero(test.group == 1)[0]
    risk[first], survival[first] = np.nan, np.nan
    row = scores_of(Predicted(risk, survival), test, metric, "survival").row()
    assert np.isnan(row[1]) and np.isnan(row[-1]) and np.isfinite(row[3])
    measure(
        f"{metric} of the other sites",
        row[[0, 2]],
        rows[metric][[0, 2]],
        0.05 if metric == "ici" else 1e-9,
    )


def test_no_brier_score_where_nobody_was_followed_so_far():
    """A hospital that began late: nobody there was followed beyond the horizon, so only its dead could
    be judged. Both roads say nothing of it.
    """
    X, y = made_up(400, 3, seed=5)
    late = np.arange(400) >= 250
    y["event"][late & (y["time"] > 0.3)] = False
    y["time"][late] = np.minimum(y["time"][late], 0.3)
    federation = gw.Federation.by_site(
        as_cohort(X, y, np.where(late, "late", "old")), test_share=0.4
    )
    c = gw.compare(
        federation,
        gw.CoxPH(penalty=0.1),
        repeats=2,
        tune=False,
        horizon=HORIZON,
        metrics=["brier", "harrell_c"],
        progress=False,
    )
    assert (
        np.isnan(c.value("federated", "late")["mean"])
        and np.isnan(c.value("federated", "all")["mean"])
        and np.isfinite(c.value("federated", "late", "harrell_c")["mean"])
    )
    assert c.value("federated", "within")["mean"] == c.value("federated", "old")["mean"]
    found = validate(
        federation,
        gw.federate(federation, gw.CoxPH(penalty=0.1), progress=False),
        horizon=HORIZON,
        progress=False,
    )
    assert (
        np.isnan(found.value("brier", "late")["value"])
        and found.value("brier")["value"] == found.value("brier", "old")["value"]
    )


def test_a_site_with_few_events_has_no_calibration_of_its_own():
    X, y = made_up(300, 2, seed=2)
    y["event"][250:] = False
    federation = gw.Federation.by_site(
        as_cohort(X, y, np.repeat(["A", "B"], [250, 50])), test_share=0.4
    )
    test = TestRows.of(federation, KNOWN["survival"], HORIZON)
    risk = X.f0.to_numpy()[test.rows]
    p = Predicted(risk, np.exp(-np.outer(np.exp(risk), test.times)))
    for m in ("slope", "intercept", "ici", "auc_t"):
        row = scores_of(p, test, m, "survival").row()
        assert np.isnan(row[1]) and np.isfinite(row[[0, 2, 3]]).all(), m


def test_compare_shows_them_and_gains_by_coming_nearer_to_the_ideal(federation):
    "Pooled and federated agree; the gain in slope is the loss in distance from 1, for each repeat and on average."
    c = gw.compare(
        federation,
        gw.CoxPH(penalty=0.01),
        repeats=2,
        tune=False,
        horizon=HORIZON,
        metrics=["harrell_c", *FURTHER],
        progress=False,
    )
    for m in FURTHER:
        measure(
            "further metrics, federated - pooled",
            [c.value("federated", "within", m)["mean"]],
            [c.value("pooled", "within", m)["mean"]],
            1e-8,
        )
        assert np.isfinite(c.value("isolated", "within", m)["mean"])
    assert list(c.overall.index) == ["harrell_c", *FURTHER]
    one = gw.compare(
        federation,
        gw.CoxPH(penalty=0.01),
        repeats=1,
        bootstrap=0,
        tune=False,
        horizon=HORIZON,
        metrics=["slope", "brier"],
        progress=False,
    ).overall
    assert one.loc["slope", "mean"] == pytest.approx(
        abs(one.loc["slope", "isolated"] - 1) - abs(one.loc["slope", "federated"] - 1), abs=1e-12
    )
    assert one.loc["brier", "mean"] == pytest.approx(
        one.loc["brier", "isolated"] - one.loc["brier", "federated"], abs=1e-12
    )


def test_compare_of_a_binary_outcome():
    rng = np.random.default_rng(1)
    X = pd.DataFrame(rng.normal(size=(400, 3)), columns=["f0", "f1", "f2"])
    y = (rng.random(400) < 1 / (1 + np.exp(-X.f0))).astype(float).to_numpy()
    federation = gw.Federation.by_site(as_cohort(X, y, np.repeat(["A", "B"], 200)), test_share=0.4)
    c = gw.compare(
        federation,
        gw.LogisticRegression(penalty=0.01),
        repeats=1,
        bootstrap=0,
        tune=False,
        metrics=KNOWN["binary"],
        progress=False,
    )
    found = validate(federation, c.run, progress=False)
    for m in ("auc", "brier", "slope", "intercept", "ici"):
        measure(
            "compare's metrics of yes or no - federated validation",
            [c.value("federated", "within", m)["mean"]],
            [found.value(m)["value"]],
            1e-8,
        )


def test_every_metric_has_a_name_a_direction_and_a_place():
    assert (
        set(METRIC_LABELS) == set(HIGHER_IS_BETTER) == set(KNOWN["survival"]) | set(KNOWN["binary"])
    )
    assert metrics_for("survival", None) == ("harrell_c", "uno_c", "brier") and metrics_for(
        "binary", None
    ) == ("auc", "brier")
    assert metrics_for("survival", ("slope",)) == ("slope",)
    with pytest.raises(ValueError, match="ibs"):
        metrics_for("survival", ("auc",))
    for m, ideal in IDEAL.items():
        assert (goodness(m, np.array([ideal, ideal + 1, ideal - 1])) == [0, -1, -1]).all()


def test_hazard_between_two_times_is_a_straight_line():
    "At the times themselves it is exact; beyond the last it stays."
    times, S = np.array([1.0, 2.0]), np.exp(-np.array([[0.5, 2.0]] * 4))
    np.testing.assert_allclose(
        -np.log(own_survival(S, times, np.array([0.5, 1.0, 1.5, 9.0]))), [0.25, 0.5, 1.25, 2.0]
    )
