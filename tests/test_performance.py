"""Measures of a model's performance: time-dependent AUC, integrated Brier score, calibration slope,
intercept and ICI, net benefit, reclassification.

Oracles: scikit-survival (AUC, Brier), scikit-learn (ROC), statsmodels (logistic recalibration), R's
survival package (calibration, net benefit, reclassification; tests/oracles/performance, made by the
R script there), counts of pairs one by one, and tables small enough to be worked out by hand.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from conftest import measure, outcome
from sklearn.metrics import brier_score_loss, roc_auc_score
from sksurv.metrics import (
    brier_score,
    concordance_index_ipcw,
    cumulative_dynamic_auc,
    integrated_brier_score,
)

from genomed_workbench.statistics import discrimination, recalibration
from genomed_workbench.statistics.brier import brier_sums
from genomed_workbench.statistics.brier import integrated_brier_score as our_ibs
from genomed_workbench.statistics.calibration import calibration_by_group
from genomed_workbench.statistics.concordance import comparable_pairs, uno_weights
from genomed_workbench.statistics.net_benefit import decision_curve
from genomed_workbench.statistics.reclassification import move_sums, moves, net_reclassification
from genomed_workbench.statistics.survival import censoring_curve, kaplan_meier

TIMES = np.array([0.5, 1.0, 1.7, 2.4])


def patients(seed: int, n: int = 300) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    "Times without ties, events, and a risk with many equal values."
    rng = np.random.default_rng(seed)
    risk = rng.normal(size=n).round(1)
    death, lost = rng.exponential(2 * np.exp(-risk)), rng.uniform(0.2, 6, n)
    return np.minimum(death, lost), (death <= lost).astype(float), risk


# Ranking


@pytest.mark.parametrize("seed", range(4))
def test_area_under_the_curve_and_its_mean_equal_scikit_survival(seed):
    (time, event, risk), (t0, e0, _) = patients(seed), patients(seed + 100, 500)
    areas, mean = cumulative_dynamic_auc(outcome(t0, e0 > 0), outcome(time, event > 0), risk, TIMES)
    found = discrimination.cumulative_dynamic_auc(time, event, risk, TIMES, censoring_curve(t0, e0))
    measure("time-dependent AUC - scikit-survival", found, areas, 1e-12)
    measure(
        "mean AUC - scikit-survival",
        [discrimination.mean_auc(found, kaplan_meier(time, event)(TIMES))],
        [mean],
        1e-12,
    )


def test_area_under_the_curve_by_counting_pairs():
    "One pair of case and control after the other, with ties in time and weights of two hospitals."
    rng = np.random.default_rng(5)
    time, event, risk = (
        np.ceil(rng.exponential(4, 60)),
        rng.integers(0, 2, 60),
        rng.integers(0, 5, 60),
    )
    curve, t = censoring_curve(time, event), 3.0
    right = all_ = 0.0
    for i in range(60):
        for j in range(60):
            if event[i] and time[i] <= t < time[j]:
                weight = 1 / (curve.before(time[i]) * curve(t))
                all_ += weight
                right += weight * ((risk[i] > risk[j]) + 0.5 * (risk[i] == risk[j]))
    found = discrimination.auc_sums(time, event, risk, np.array([t]), curve)
    np.testing.assert_allclose(np.ravel(found), [right, all_], rtol=1e-12)


def test_area_under_the_curve_where_nobody_is_left_or_nobody_died():
    time, event = np.array([1.0, 2, 3]), np.array([1, 1, 0])
    assert np.isnan(
        discrimination.cumulative_dynamic_auc(time, event, np.arange(3), [0.5, 5.0])
    ).all()
    assert np.isnan(discrimination.mean_auc(np.array([np.nan]), np.array([1.0])))


@pytest.mark.parametrize("seed", range(3))
def test_concordance_equals_scikit_survival_and_a_count_of_pairs(seed):
    "Harrell's C one pair after the other; Uno's C with scikit-survival, up to a horizon."
    (time, event, risk), (t0, e0, _) = patients(seed, 120), patients(seed + 50, 300)
    right = all_ = 0.0
    for i in range(120):
        for j in range(120):
            if event[i] and (time[i] < time[j] or (time[i] == time[j] and not event[j] and i != j)):
                all_ += 1
                right += (risk[i] > risk[j]) + 0.5 * (risk[i] == risk[j])
    measure(
        "Harrell's C - count of pairs",
        [comparable_pairs(time, event).within(risk)],
        [right / all_],
        1e-12,
    )
    reference = concordance_index_ipcw(
        outcome(t0, e0 > 0), outcome(time, event > 0), risk, tau=2.0
    )[0]
    weight = uno_weights(time, event, censoring_curve(t0, e0), tau=2.0)
    measure(
        "Uno's C - scikit-survival",
        [comparable_pairs(time, event, weight=weight).within(risk)],
        [reference],
        1e-12,
    )


# Errors of probabilities


@pytest.mark.parametrize("seed", range(4))
def test_brier_scores_equal_scikit_survival(seed):
    (time, event, risk), (t0, e0, _) = patients(seed), patients(seed + 100, 500)
    S, curve = np.exp(-np.outer(np.exp(risk), TIMES) / 2), censoring_curve(t0, e0)
    train, test = outcome(t0, e0 > 0), outcome(time, event > 0)
    measure(
        "Brier score - scikit-survival",
        brier_sums(time, event, S, TIMES, curve) / len(time),
        brier_score(train, test, S, TIMES)[1],
        1e-12,
    )
    measure(
        "integrated Brier score - scikit-survival",
        [our_ibs(time, event, S, TIMES, curve)],
        [integrated_brier_score(train, test, S, TIMES)],
        1e-12,
    )


# Calibration against R


@pytest.fixture(scope="module")
def of_r(request):
    "Made-up patients of R, and what R found."
    folder = Path(__file__).parent / "oracles" / "performance"
    d = pd.read_csv(folder / "patients.csv")
    return (
        (d.time.to_numpy(), d.event.to_numpy(float), d.alive.to_numpy(), 2.0),
        d,
        pd.read_csv(folder / "values.csv").set_index("what").value,
    )


@pytest.mark.parametrize("in_sites", [True, False], ids=["in sites", "one table"])
def test_slope_and_distance_from_the_curve_equal_r(of_r, in_sites):
    exam, d, r = of_r
    site, name = (d.site.to_numpy(), " in sites") if in_sites else (None, "")
    measure(
        "calibration slope - R coxph",
        recalibration.calibration_slope(*exam, site),
        [r[f"slope{name}"], r[f"slope{name} se"]],
        1e-8,
    )
    measure(
        "ICI, E50, E90 - R coxph with splines",
        recalibration.calibration_error(*exam, site),
        [r[f"{m}{name}"] for m in ("ici", "e50", "e90")],
        1e-8,
    )


def test_intercept_equals_a_poisson_regression_of_r(of_r):
    (time, event, _, horizon), d, r = of_r
    sums = recalibration.observed_expected(time, event, d.lived.to_numpy(), horizon)
    measure(
        "calibration intercept - R glm",
        recalibration.calibration_intercept(*sums),
        [r["intercept"], r["intercept se"]],
        1e-8,
    )
    assert np.isnan(recalibration.calibration_intercept(0, 3.0)).all()


def test_net_benefit_and_reclassification_equal_r(of_r):
    (time, event, alive, horizon), _, r = of_r
    curve = decision_curve(time, event, alive, horizon, [0.2, 0.4, 0.6])
    measure(
        "net benefit - R survfit",
        curve.model,
        [r[f"net benefit {p}"] for p in (0.2, 0.4, 0.6)],
        1e-10,
    )
    x = np.log(-np.log(alive) / (0.3 * horizon))
    timid = np.exp(-0.3 * horizon * np.exp(0.4 * x))
    found = net_reclassification(move_sums(time, event, moves(1 - timid, 1 - alive), horizon))
    measure(
        "net reclassification - R survfit",
        [found.nri_events, found.nri_nonevents],
        [r["nri events"], r["nri nonevents"]],
        1e-10,
    )


# A yes-or-no outcome


def test_logistic_recalibration_equals_statsmodels():
    "Slope (with a free constant), intercept (index as offset), and the ordinary ROC area and Brier score."
    rng = np.random.default_rng(3)
    index = rng.normal(size=500)
    case = (rng.random(500) < 1 / (1 + np.exp(0.4 - 0.7 * index))).astype(float)
    p = 1 / (1 + np.exp(-index))
    slope = recalibration.calibration_slope(1 - case, case, 1 - p, 0.5, kind="binary")
    fitted = sm.Logit(case, sm.add_constant(index)).fit(disp=0, tol=1e-12)
    measure("logistic slope - statsmodels", slope, [fitted.params[1], fitted.bse[1]], 1e-7)
    constant = recalibration.fit_constant(
        [recalibration.Judged.of(1 - case, case, 1 - p, 0.5, "binary")]
    )
    offset = sm.GLM(case, np.ones(500), family=sm.families.Binomial(), offset=index).fit(tol=1e-12)
    measure("logistic intercept - statsmodels", constant, [offset.params[0], offset.bse[0]], 1e-7)
    never = censoring_curve(1 - case, case)
    assert discrimination.cumulative_dynamic_auc(1 - case, case, p, [0.5])[0] == pytest.approx(
        roc_auc_score(case, p), abs=1e-12
    )
    assert brier_sums(1 - case, case, 1 - p[:, None], np.array([0.5]), never)[
        0
    ] / 500 == pytest.approx(brier_score_loss(case, p), abs=1e-12)


# What cannot be decided


def test_a_slope_that_the_patients_do_not_decide_is_not_given():
    "No event; one prediction for all; events perfectly separated."
    time, none, index = np.linspace(1, 2, 20), np.zeros(20), np.linspace(0.1, 0.9, 20)
    assert np.isnan(recalibration.calibration_slope(time, none, index, 3.0)).all()
    assert np.isnan(recalibration.calibration_slope(time, none + 1, np.full(20, 0.5), 3.0)).all()
    assert np.isnan(
        recalibration.calibration_slope(
            1 - (index > 0.5), (index > 0.5).astype(float), index, 0.5, kind="binary"
        )
    ).all()
    assert recalibration.calibration_error(time, none, index, 3.0).isna().all()


def test_certain_predictions_are_taken_as_nearly_certain():
    assert (
        np.isfinite(recalibration.index_of(np.array([0.0, 1.0]))).all()
        and np.isfinite(recalibration.index_of(np.array([0.0, 1.0]), "binary")).all()
    )


# By hand


def test_net_benefit_by_hand_with_a_patient_lost():
    """Five patients, horizon 2, threshold 40 %: three are warned of, with times 1 (died), 1.5 (lost) and 3 (alive).

    Kaplan-Meier among the three: 2/3 alive. True alarms 1, false alarms 2: (1 - 2 x 2/3)/5.
    """
    time, event, risk = (
        np.array([1.0, 1.5, 3.0, 4.0, 5.0]),
        np.array([1, 0, 0, 1, 0]),
        np.array([0.9, 0.4, 0.6, 0.1, 0.2]),
    )
    row = decision_curve(time, event, 1 - risk, 2.0, [0.4]).loc[0.4]
    assert row.model == pytest.approx((1 - 2 * 0.4 / 0.6) / 5, abs=1e-12)
    assert row.true == pytest.approx(1, abs=1e-12) and row.nobody == 0
    everybody = 1 - kaplan_meier(time, event)(2.0)
    assert row.everybody == pytest.approx(everybody - (1 - everybody) * 0.4 / 0.6, abs=1e-12)


def test_reclassification_by_hand_with_cut_points():
    "Cuts at 20 % and 50 %: of two who die one moves up, of three who live one moves down and one up."
    before, after = np.array([0.1, 0.3, 0.3, 0.1, 0.6]), np.array([0.3, 0.4, 0.1, 0.25, 0.7])
    moved = moves(before, after, [0.2, 0.5])
    assert moved.tolist() == [1, 0, -1, 1, 0]
    died = np.array([1, 1, 0, 0, 0])
    found = net_reclassification(move_sums(np.where(died, 0.5, 2.0), died, moved, 1.0))
    assert found.tolist() == pytest.approx([0.5, 0.0, 0.5], abs=1e-12)


def test_groups_of_several_hospitals_add_up():
    "Fifths inside two hospitals, put together: patients, mean prediction, and the weighted Kaplan-Meier estimates."
    (time, event, risk), half = patients(8), np.arange(300) < 180
    alive = np.exp(-np.exp(risk) / 2)
    table = recalibration.group_table(
        recalibration.add_groups(
            [recalibration.group_sums(time[m], event[m], alive[m], 1.0) for m in (half, ~half)]
        )
    )
    for g in range(1, 6):
        parts = [
            (
                m
                & (
                    np.isin(
                        np.arange(300),
                        np.flatnonzero(m)[recalibration.risk_groups(alive[m], 5) == g],
                    )
                )
            )
            for m in (half, ~half)
        ]
        n = [p.sum() for p in parts]
        assert table.n[g] == sum(n)
        assert table.predicted[g] == pytest.approx(alive[parts[0] | parts[1]].mean(), abs=1e-12)
        assert table.observed[g] == pytest.approx(
            np.average([float(kaplan_meier(time[p], event[p])(1.0)) for p in parts], weights=n),
            abs=1e-12,
        )
    assert ((table.low < table.observed) & (table.observed < table.high)).all()


@pytest.mark.filterwarnings("error")
def test_a_group_nobody_of_whom_was_followed_so_long_is_left_out():
    """The lowest fifth of the first hospital is lost before the horizon: no point there, and the
    common one is the second hospital's alone (statistics.calibration says the same).
    """
    (time, event, risk), half = patients(8), np.arange(300) < 180
    alive = np.exp(-np.exp(risk) / 2)
    lowest = np.flatnonzero(half)[recalibration.risk_groups(alive[half], 5) == 1]
    time[lowest], event[lowest] = (
        np.minimum(time[lowest], 0.9),
        np.where(time[lowest] < 0.9, event[lowest], 0),
    )
    first, second = (
        recalibration.group_sums(time[m], event[m], alive[m], 1.0) for m in (half, ~half)
    )
    mine, both = (
        recalibration.group_table(first),
        recalibration.group_table(recalibration.add_groups([first, second])),
    )
    assert mine.observed.isna().tolist() == [True, False, False, False, False] and mine.n[1] == len(
        lowest
    )
    assert mine.observed.tolist() == pytest.approx(
        calibration_by_group(time[half], event[half], alive[half], 1.0).observed.tolist(),
        abs=1e-12,
        nan_ok=True,
    )
    # a warning would fail here
    nowhere = recalibration.group_table(recalibration.add_groups([first, first])).loc[1]
    assert nowhere.n == 0 and nowhere[["predicted", "observed"]].isna().all()
    assert (
        both.loc[1].tolist() == recalibration.group_table(second).loc[1].tolist()
        and both.n[2] == mine.n[2] + recalibration.group_table(second).n[2]
    )


# Many small hospitals


def short_follow_up(n: int, horizon: float = 2.0, seed: int = 0):
    "Patients of whom many are last seen before the horizon, with the risk that a true model gives."
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    event_at, lost_at = rng.exponential(4 / np.exp(0.8 * x)), rng.uniform(0.2, 2.6, n)
    alive = np.exp(-horizon / 4 * np.exp(0.8 * x))
    return np.minimum(event_at, lost_at), (event_at <= lost_at).astype(int), alive


def test_net_benefit_of_many_small_hospitals_is_that_of_their_patients():
    """Oracle: the curve of the same 800 patients in one place. Eight patients a hospital, many of whom
    are all last seen before the horizon: what they would have shown is not known, and is not zero.
    """
    time, event, alive = short_follow_up(800)
    pooled = decision_curve(time, event, alive, 2.0, [0.1, 0.2, 0.3])
    small = decision_curve(time, event, alive, 2.0, [0.1, 0.2, 0.3], site=np.arange(800) // 8)
    measure("net benefit of small hospitals - pooled", small.model, pooled.model, 1e-12)
    measure("treat everybody, small hospitals - pooled", small.everybody, pooled.everybody, 1e-12)


def test_net_benefit_of_large_hospitals_is_the_sum_of_their_own():
    "Oracle: Kaplan-Meier of each hospital by its own, weighted by patients."
    time, event, alive = short_follow_up(800)
    site, cut = np.arange(800) // 400, 0.2
    found = decision_curve(time, event, alive, 2.0, [cut], site=site).loc[cut]
    true, false = 0.0, 0.0
    for s in (0, 1):
        warned = (site == s) & (1 - alive >= cut)
        alive_then = kaplan_meier(time[warned], event[warned])(np.array(2.0))
        true, false = true + warned.sum() * (1 - alive_then), false + warned.sum() * alive_then
    measure(
        "net benefit of large hospitals - by hand",
        [found.model],
        [(true - false * cut / (1 - cut)) / 800],
        1e-12,
    )


def test_positives_that_nobody_could_see_are_not_known():
    "By hand: nobody warned is followed to the horizon; where all of them had the event, it is known."
    time, event, risk = np.array([0.5, 1.0, 3.0]), np.array([1, 0, 0]), np.array([0.9, 0.9, 0.1])
    row = decision_curve(time, event, 1 - risk, 2.0, [0.5]).loc[0.5]
    assert np.isnan(row.model) and np.isfinite(row.everybody)
    moved = move_sums(time, event, np.array([1, 1, -1]), 2.0)
    assert np.isnan(moved[:, 0]).all() and moved[:, 1].tolist() == [0.0, 1.0]
    assert np.isnan(net_reclassification(moved).nri)
    all_died = decision_curve(time, np.array([1, 1, 0]), 1 - risk, 2.0, [0.5]).loc[0.5]
    assert all_died.true == 2 and all_died.false == 0
