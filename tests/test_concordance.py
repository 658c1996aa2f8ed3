"Concordance, survival curves, Brier score and intervals against lifelines, scikit-survival and formulas by hand."

import tracemalloc
import warnings

import numpy as np
import pytest
from conftest import as_cohort, federate, in_hospitals, made_up, measure, outcome
from lifelines import KaplanMeierFitter
from lifelines.utils import concordance_index
from scipy import stats
from sksurv.metrics import brier_score, concordance_index_censored, concordance_index_ipcw
from sksurv.nonparametric import CensoringDistributionEstimator

import genomed_workbench as gw
from genomed_workbench.learners.learner import total
from genomed_workbench.statistics.concordance import (
    comparable_pairs,
    expected_c,
    harrell_c,
    uno_weights,
)
from genomed_workbench.statistics.intervals import (
    bootstrap_interval,
    corrected_interval,
    cut_to_possible,
)
from genomed_workbench.statistics.survival import brier_terms, censoring_curve, kaplan_meier


def patients(
    seed: int, n: int = 150, ties: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    "Times, events and risks; with `ties`, many of each are equal."
    rng = np.random.default_rng(seed)
    risk = rng.normal(size=n)
    death, lost = rng.exponential(np.exp(-risk)), rng.exponential(1.5, n)
    time = np.minimum(death, lost) + 0.01
    return (
        (np.ceil(time * 8) / 8, death <= lost, risk.round(1))
        if ties
        else (time, death <= lost, risk)
    )


# Harrell


@pytest.mark.parametrize("ties", [True, False], ids=["ties", "no ties"])
@pytest.mark.parametrize("seed", range(8))
def test_harrell_equals_scikit_survival(seed, ties):
    """Oracle: concordance_index_censored, index and counts (tied risks count half, an event comes
    before a censoring at the same time).
    """
    time, event, risk = patients(seed, ties=ties)
    c, concordant, discordant, tied_risk, _ = concordance_index_censored(event, time, risk)
    measure("Harrell - scikit-survival", harrell_c(time, event, risk), c, 1e-12)
    right, comparable = comparable_pairs(time, event).counts(risk)
    assert comparable.tolist() == [concordant + discordant + tied_risk] and right.tolist() == [
        concordant + tied_risk / 2
    ]


@pytest.mark.parametrize("ties", [True, False], ids=["ties", "no ties"])
@pytest.mark.parametrize("seed", range(8))
def test_harrell_equals_lifelines(seed, ties):
    "Oracle: lifelines' concordance_index, which takes predicted times, so the risk changes its sign."
    time, event, risk = patients(seed, ties=ties)
    measure(
        "Harrell - lifelines",
        harrell_c(time, event, risk),
        concordance_index(time, -risk, event),
        1e-12,
    )


def test_tied_times_by_hand():
    "Event and censoring at the same time are comparable, two events or two censorings are not."
    time, risk = np.array([2.0, 2.0]), np.array([1.0, 0.0])
    assert (
        harrell_c(time, np.array([1, 0]), risk) == 1.0
        and harrell_c(time, np.array([0, 1]), risk) == 0.0
    )
    for event in ([1, 1], [0, 0]):
        assert np.isnan(harrell_c(time, np.array(event), risk))
    assert harrell_c(np.array([1.0, 2.0]), np.array([1, 0]), np.array([3.0, 3.0])) == 0.5


def test_nothing_to_compare_is_nan_and_not_an_error():
    empty = np.empty(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (
            np.isnan(harrell_c(empty, empty, empty))
            and np.isnan(harrell_c([1.0], [1], [0.0]))
            and np.isnan(harrell_c([1.0, 2.0], [0, 0], [0.0, 1.0]))
        )
        assert np.isnan(comparable_pairs(empty, empty, np.empty(0, int)).concordance(empty)).all()


def test_counts_are_real_numbers_even_of_no_pair_and_add_up_in_any_order():
    "By hand: nothing and three pairs, two of them in the right order."
    none = comparable_pairs(np.ones(2), np.zeros(2), groups=1).counts(np.zeros(2))
    some = comparable_pairs(np.array([1.0, 2.0, 3.0]), np.array([1, 1, 0]), groups=1).counts(
        np.array([2.0, 1.0, 1.5])
    )
    assert {a.dtype for a in (*none, *some)} == {np.dtype(float)} and [
        a.tolist() for a in some
    ] == [[2.0], [3.0]]
    whole, real = {"right": np.array([0])}, {"right": np.array([0.5])}
    assert total([whole, real], "right").tolist() == total([real, whole], "right").tolist() == [0.5]


@pytest.mark.parametrize(
    "risk", [[np.nan] * 3, [3.0, np.nan, 1.0]], ids=["no risk is known", "one is not"]
)
def test_the_concordance_of_an_unknown_risk_is_unknown(risk):
    """Oracle: a comparison scores a model that says NaN with NaN, and so does this; a pair with an
    unknown risk is not a pair in the wrong order.
    """
    assert (
        np.isnan(harrell_c([1.0, 2.0, 3.0], [1, 1, 0], risk))
        and harrell_c([1.0, 2.0, 3.0], [1, 1, 0], [3.0, 2.0, 1.0]) == 1.0
    )


def test_groups_are_compared_inside_only_and_add_up():
    "Oracle: scikit-survival group by group; an empty group and a group without events in between."
    time, event, risk = patients(3, 200)
    group = np.random.default_rng(0).choice([0, 1, 3, 4], 200)
    event[group == 4] = False
    pairs = comparable_pairs(time, event, group)
    right, comparable = pairs.counts(risk)
    assert pairs.groups == 5 and comparable[2] == comparable[4] == 0
    for g in (0, 1, 3):
        here = group == g
        measure(
            "Harrell per hospital - scikit-survival",
            right[g] / comparable[g],
            concordance_index_censored(event[here], time[here], risk[here])[0],
            1e-12,
        )
    assert np.isnan(pairs.concordance(risk)[[2, 4]]).all() and pairs.within(risk) == pytest.approx(
        right.sum() / comparable.sum(), abs=1e-15
    )


@pytest.mark.parametrize("shift", [lambda r: 3 * r + 2, np.exp, np.tanh])
def test_only_the_order_of_risks_counts(shift):
    time, event, risk = patients(4)
    assert harrell_c(time, event, shift(risk)) == harrell_c(time, event, risk)
    assert harrell_c(time, event, -risk) == pytest.approx(
        1 - harrell_c(time, event, risk), abs=1e-12
    )


@pytest.mark.parametrize("lost", [0.3, 3.0], ids=["most are lost early", "few are lost"])
def test_the_concordance_of_the_truth_is_the_expected_one(lost):
    "Oracle: outcomes drawn 60 times from the true hazards under two kinds of censoring; two patients by hand."
    rng = np.random.default_rng(11)
    found = []
    for _ in range(60):
        truth = rng.normal(size=250)
        death, gone = rng.exponential(np.exp(-truth)), rng.exponential(lost, 250)
        pairs = comparable_pairs(np.minimum(death, gone), death <= gone)
        found.append((pairs.within(truth), expected_c(pairs, truth)))
    seen, expected = np.array(found).T
    assert abs((seen - expected).mean()) < 3 * (seen - expected).std() / np.sqrt(60)
    two = comparable_pairs(np.array([1.0, 2.0]), np.array([1, 1]))
    assert (
        expected_c(two, np.array([0.0, np.log(3)]))
        == expected_c(two, np.array([np.log(3), 0.0]))
        == pytest.approx(0.75, abs=1e-15)
    )
    assert expected_c(two, np.zeros(2)) == 0.5 and np.isnan(
        expected_c(comparable_pairs(np.array([1.0]), np.array([1])), np.zeros(1))
    )


# Counted, not listed


def every_pair(
    time: np.ndarray, event: np.ndarray, risk: np.ndarray, group: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """By definition, each patient with each other: concordant, comparable (per group, weighted), whether
    a patient is in a pair, and the number of pairs.
    """
    later = (time[None] > time[:, None]) | ((time[None] == time[:, None]) & ~event[None])
    pair = later & event[:, None] & (group[None] == group[:, None])
    half = 2 * (risk[:, None] > risk[None]) + (risk[:, None] == risk[None])
    right, all_ = (pair * half).sum(axis=1) / 2, pair.sum(axis=1)
    return (
        np.bincount(group, weight * right),
        np.bincount(group, weight * all_),
        pair.any(axis=0) | pair.any(axis=1),
        pair.sum(),
    )


@pytest.mark.parametrize(
    "n,ties",
    [*((n, ties) for n in (2, 3, 17, 64, 65, 1000) for ties in (True, False)), (5000, True)],
)
def test_counting_is_looking_at_each_pair(n, ties):
    """Oracle: every patient compared with every other, by the definition. Whole numbers agree to the
    last digit, Uno's weighted sums to 1e-12.
    """
    time, event, risk = patients(n, n, ties)
    group = np.random.default_rng(n).integers(0, 3, n)
    group[:1] = 2  # so that there are three
    pairs, one = comparable_pairs(time, event, group), np.ones(n)
    right, all_, inside, number = every_pair(time, event, risk, group, one)
    found = pairs.counts(risk)
    assert found[0].tolist() == right.tolist() and found[1].tolist() == all_.tolist()
    assert (pairs.number, pairs.patients) == (number, inside.sum())
    if n <= 1000:
        wanted = [
            (i, j) for g in range(3) for i, j in zip(pairs.earlier, pairs.later) if group[i] == g
        ]
        assert len(wanted) == number and list(zip(pairs.earlier, pairs.later)) == sorted(
            wanted, key=lambda pair: (group[pair[0]], *pair)
        )
    weight = uno_weights(time, event, censoring_curve(time, event).before)
    expected = every_pair(time, event, risk, group, weight)[:2]
    uno = comparable_pairs(time, event, group, weight).counts(risk)
    for ours, theirs in zip(uno, expected):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_many_resamples_at_once_are_the_repeated_rows():
    "Oracle: the same patients repeated as often as they were drawn, counted one resample at a time."
    time, event, risk = patients(5, 120)
    group, rng = np.repeat([0, 1, 2], 40), np.random.default_rng(0)
    copies = np.stack(
        [np.bincount(rng.integers(0, 120, 120), minlength=120) for _ in range(7)], axis=1
    )
    weight = uno_weights(time, event, censoring_curve(time, event).before)
    for w in (None, weight):
        right, all_ = comparable_pairs(time, event, group, w).counts(risk, copies)
        assert right.shape == all_.shape == (3, 7)
        for k in range(7):
            rows = np.repeat(np.arange(120), copies[:, k])
            again = comparable_pairs(
                time[rows], event[rows], group[rows], None if w is None else w[rows], groups=3
            )
            for ours, theirs in zip((right[:, k], all_[:, k]), again.counts(risk[rows])):
                np.testing.assert_allclose(ours, theirs, rtol=1e-12)
            alone = comparable_pairs(time, event, group, w).counts(risk, copies[:, k])
            np.testing.assert_allclose(alone[0], right[:, k], rtol=1e-12)


@pytest.mark.parametrize("ties", [True, False], ids=["ties", "no ties"])
def test_what_a_patient_adds_is_what_the_counts_gain(ties):
    """Oracle: the counts with this patient twice, less the counts. To first order, resamples of many
    patients spread as the counted ones do: an interval moves by less than 3 % of its width.
    """
    time, event, risk = patients(1, 90, ties)
    group = np.random.default_rng(1).integers(0, 3, 90)
    weight = uno_weights(time, event, censoring_curve(time, event).before)
    pairs = comparable_pairs(time, event, group, weight, groups=3)
    right, all_ = pairs.ranked(risk).pulls(pairs.weight)
    once = pairs.counts(risk)
    for k in range(90):
        twice = pairs.counts(risk, 1 + (np.arange(90) == k))
        gained = [(b - a).sum() for a, b in zip(once, twice)]
        np.testing.assert_allclose([right[k], all_[k]], gained, rtol=1e-9, atol=1e-9)
    time, event, risk = patients(2, 4000, ties)
    pairs, rng = comparable_pairs(time, event), np.random.default_rng(3)
    copies = np.stack(
        [np.bincount(rng.integers(0, 4000, 4000), minlength=4000) for _ in range(200)], axis=1
    )
    ranking = pairs.ranked(risk)
    exact, quick = (
        np.quantile(right[0] / all_[0], [0.025, 0.975])
        for right, all_ in (
            ranking.counts([pairs.weight], copies)[0],
            ranking.first_order(pairs.weight, copies),
        )
    )
    assert np.abs(exact - quick).max() < 0.03 * np.ptp(exact)


def test_a_hundred_thousand_patients_are_counted_in_little_memory():
    """Oracle: lifelines, to the last digit. All pairs in a list would take 27 GB; a list of more than fifty
    million is refused with what to do instead.
    """
    time, event, risk = patients(9, 100_000)
    tracemalloc.start()
    c = harrell_c(time, event, risk)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert c == concordance_index(time, -risk, event) and most < 100e6
    with pytest.raises(ValueError, match="too many to list .*`counts`, `concordance` and `within`"):
        len(comparable_pairs(time, event).earlier)


def test_a_group_with_an_unknown_risk_has_no_concordance_and_the_others_have_theirs():
    "Oracle: the counts of the other group without the patient of unknown risk in the table."
    time, event, risk = patients(2, 60)
    group = np.repeat([0, 1], 30)
    risk[40] = np.nan
    right, all_ = comparable_pairs(time, event, group).counts(risk)
    alone = comparable_pairs(time[:30], event[:30]).counts(risk[:30])
    assert np.isnan(right[1]) and (right[0], all_[0]) == (alone[0][0], alone[1][0])
    assert np.isnan(comparable_pairs(time, event, group).within(risk))


# Uno


@pytest.mark.parametrize("tau", [None, 0.5, 1.2])
@pytest.mark.parametrize("ties", [True, False], ids=["ties", "no ties"])
@pytest.mark.parametrize("seed", range(5))
def test_uno_equals_scikit_survival(seed, ties, tau):
    """Oracle: concordance_index_ipcw, which weighs with G(t) where we say G(t-): the same curve is
    given to both, and without tied times they agree anyway.
    """
    train, test = patients(seed + 100, 200, ties), patients(seed, 150, ties)
    keep = test[0] < train[0].max()
    time, event, risk = (part[keep] for part in test)
    expected = concordance_index_ipcw(outcome(*train[:2]), outcome(time, event), risk, tau=tau)[0]
    curve = censoring_curve(*train[:2])
    weights = uno_weights(
        time, event, curve if ties else curve.before, np.inf if tau is None else tau
    )
    measure(
        "Uno - scikit-survival",
        comparable_pairs(time, event, weight=weights).within(risk),
        expected,
        1e-10,
    )


def test_uno_without_censoring_is_harrell():
    time, _, risk = patients(6)
    event = np.ones(len(time), bool)
    weights = uno_weights(time, event, censoring_curve(time, event).before)
    assert comparable_pairs(time, event, weight=weights).within(risk) == pytest.approx(
        harrell_c(time, event, risk), abs=1e-12
    )


# Curves


@pytest.mark.parametrize("seed", range(6))
def test_kaplan_meier_equals_lifelines(seed):
    "Oracle: lifelines' KaplanMeierFitter at every time, before the first and after the last."
    time, event, _ = patients(seed)
    reference = KaplanMeierFitter().fit(time, event)
    grid = np.concatenate([[0, 1e-9], np.unique(time), np.unique(time) - 1e-6, [time.max() + 5]])
    measure(
        "Kaplan-Meier - lifelines",
        kaplan_meier(time, event)(grid),
        reference.predict(grid).to_numpy(),
        1e-12,
    )
    curve = kaplan_meier(time, event)
    measure(
        "Kaplan-Meier just before - lifelines",
        curve.before(np.unique(time)),
        reference.predict(np.unique(time) - 1e-9).to_numpy(),
        1e-12,
    )


@pytest.mark.parametrize("seed", range(6))
def test_censoring_curve_equals_scikit_survival(seed):
    "Oracle: CensoringDistributionEstimator (events come before censorings at the same time)."
    time, event, _ = patients(seed)
    reference = CensoringDistributionEstimator().fit(outcome(time, event))
    measure(
        "censoring curve - scikit-survival",
        censoring_curve(time, event)(np.unique(time)),
        reference.predict_proba(np.unique(time)),
        1e-12,
    )


def test_curves_of_odd_patients():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for event in (np.zeros(5), np.ones(5)):
            survival, censoring = (
                kaplan_meier(np.arange(1.0, 6), event),
                censoring_curve(np.arange(1.0, 6), event),
            )
            assert survival(np.array([9.0]))[0] == (0.0 if event.all() else 1.0) and censoring(
                np.array([9.0])
            )[0] == (1.0 if event.all() else 0.0)
        assert kaplan_meier(np.empty(0), np.empty(0))(np.array([1.0])).tolist() == [1.0]


# Brier


@pytest.mark.parametrize("horizon", [0.2, 0.6, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_brier_equals_scikit_survival(seed, horizon):
    "Oracle: brier_score, without tied times (it weighs with G(t) where Graf and we say G(t-))."
    train, (time, event, risk) = (
        patients(seed + 100, 200, ties=False),
        patients(seed, 150, ties=False),
    )
    keep = time < train[0].max()
    time, event, survival = time[keep], event[keep], np.exp(-horizon * np.exp(risk[keep]))
    expected = brier_score(outcome(*train[:2]), outcome(time, event), survival[:, None], [horizon])[
        1
    ][0]
    measure(
        "Brier - scikit-survival",
        brier_terms(time, event, survival, horizon, censoring_curve(*train[:2])).mean(),
        expected,
        1e-12,
    )


def test_brier_by_hand():
    "Five patients, two censored: weights are one over the chance of having been seen."
    time, event = np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.array([1, 0, 1, 0, 1])
    curve = censoring_curve(time, event)  # drops to 3/4 at 2 and to 3/8 at 4
    S = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    terms = brier_terms(time, event, S, 3.5, curve)
    np.testing.assert_allclose(terms, [0.81, 0, 0.49 / 0.75, 0.16 / 0.75, 0.25 / 0.75], rtol=1e-12)
    np.testing.assert_allclose(
        brier_terms(time, event, S, 4.0, curve), [0.81, 0, 0.49 / 0.75, 0, 0.25 / 0.375], rtol=1e-12
    )


# Intervals


def test_corrected_interval_by_hand():
    "Nadeau and Bengio: t quantile x sd x sqrt(1/R + test/train)."
    values = np.array([0.70, 0.72, 0.69, 0.71, 0.73, 0.70])
    mean, low, high, n = corrected_interval(values, test_to_train=1 / 9)
    half = stats.t.ppf(0.975, 5) * values.std(ddof=1) * np.sqrt(1 / 6 + 1 / 9)
    np.testing.assert_allclose(
        [mean, low, high, n],
        [values.mean(), values.mean() - half, values.mean() + half, 6],
        rtol=1e-14,
    )
    assert corrected_interval([*values, np.nan], 1 / 9) == corrected_interval(values, 1 / 9)
    narrower = corrected_interval(values, 1 / 9, level=0.5)
    assert low < narrower[1] < narrower[2] < high
    assert (
        np.isnan(corrected_interval([0.7], 0.1)[1:3]).all() and corrected_interval([], 0.1)[3] == 0
    )
    mean, low, high, n = corrected_interval([0.7, 0.7, 0.7], 0.1)
    assert mean == pytest.approx(0.7) and n == 3 and np.isnan([low, high]).all(), (
        "equal results say nothing of their spread"
    )


@pytest.mark.parametrize(
    "values,possible",
    [
        ([0.99, 0.90, 0.97, 1.00], (0.0, 1.0)),  # a C-index at a small hospital
        ([0.01, 0.06, 0.02, 0.00], (0.0, 1.0)),  # a Brier score of a rare event
        ([-0.95, -0.40, 0.90, -1.0], (-1.0, 1.0)),  # a difference of two C-indices
    ],
)
def test_an_interval_stays_where_the_quantity_can_be(values, possible):
    "By hand: the interval without bounds, cut; nothing else changes."
    whole, kept = corrected_interval(values, 0.25), corrected_interval(values, 0.25, 0.95, possible)
    assert whole[1] < possible[0] or whole[2] > possible[1]
    expected = [whole[0], max(whole[1], possible[0]), min(whole[2], possible[1]), whole[3]]
    np.testing.assert_allclose(kept, expected, rtol=1e-14)
    inside = [0.70, 0.72, 0.69, 0.71]
    assert corrected_interval(inside, 0.25) == corrected_interval(inside, 0.25, 0.95, possible)


def test_an_interval_holds_its_estimate():
    "A weighted Brier score of a few patients can be above 1; its interval is not empty then."
    low, high = cut_to_possible(1.1, 0.8, 1.6, (0.0, 1.0))
    assert (low, high) == (0.8, 1.1)
    assert np.isnan(cut_to_possible(0.5, np.nan, np.nan, (0.0, 1.0))).all()


def test_bootstrap_stays_inside_groups_and_covers():
    "Oracle: the normal interval of a mean, and group totals that cannot change."
    x, groups = np.random.default_rng(0).normal(size=300), np.repeat([0, 1], [200, 100])
    low, high = bootstrap_interval(lambda rows: x[rows].mean(), 300, draws=2000)
    half = 1.96 * x.std() / np.sqrt(300)
    assert abs(low - (x.mean() - half)) < 0.03 and abs(high - (x.mean() + half)) < 0.03
    assert bootstrap_interval(
        lambda rows: float((groups[rows] == 1).sum()), 300, groups=groups
    ) == (100.0, 100.0)
    assert bootstrap_interval(lambda rows: x[rows].mean(), 300) == bootstrap_interval(
        lambda rows: x[rows].mean(), 300
    )


# Through the federation


def test_the_tested_concordance_is_that_of_scikit_survival(federation_of):
    "Oracle: concordance_index_censored on each site's test rows with the model's own predictions."
    cohort = federation_of("leukemia-nw-england").cohort
    federation = gw.Federation.by_site(cohort, test_share=0.3, small="keep", seed=4)
    for learner in (
        gw.CoxPH(),
        gw.CoxPH(baseline="shared", time_grid=(1.0, 20.0), disclosure="simulation"),
    ):
        run = federate(federation, learner)
        told = run.history[run.history["phase"] == "test"].pivot(
            index="site", columns="metric", values="value"
        )
        for name, site in federation.sites.items():
            y, risk = cohort.y[site.test_rows], run.learner.predict(cohort.X.iloc[site.test_rows])
            c, concordant, discordant, tied, _ = concordance_index_censored(
                y["event"], y["time"], risk
            )
            assert told.loc[name, "comparable"] == concordant + discordant + tied, (
                "pairs are compared on the true times, not on the grid"
            )
            measure(
                "concordance of a run - scikit-survival",
                told.loc[name, "concordant"] / told.loc[name, "comparable"],
                c,
                1e-12,
            )


def test_a_binary_outcome_compares_a_one_with_a_zero():
    "Oracle: the area under the ROC curve of scikit-learn times the pairs."
    from sklearn.metrics import roc_auc_score

    X, _ = made_up(200)
    y = (X["f0"] + np.random.default_rng(1).normal(size=200) > 0).astype(int).to_numpy()
    federation = gw.Federation.split(as_cohort(X, y), (60, 40), test_share=0.4)
    run = federate(federation, gw.LogisticRegression())
    told = run.history[run.history["phase"] == "test"].pivot(
        index="site", columns="metric", values="value"
    )
    for name, site in federation.sites.items():
        truth = y[site.test_rows]
        assert told.loc[name, "comparable"] == truth.sum() * (1 - truth).sum()
        measure(
            "AUC of a run - scikit-learn",
            told.loc[name, "concordant"] / told.loc[name, "comparable"],
            roc_auc_score(truth, run.learner.predict(X.iloc[site.test_rows])),
            1e-12,
        )


def test_sites_without_a_comparable_pair_add_nothing():
    X, y = made_up(90)
    y["event"][60:] = False
    run = federate(in_hospitals(X, y, np.repeat(["A", "B", "C"], 30), test_share=0.3), gw.CoxPH())
    told = run.history[run.history["phase"] == "test"].pivot(
        index="site", columns="metric", values="value"
    )
    assert (
        told.loc["C", ["concordant", "comparable"]].tolist() == [0, 0]
        and (told.loc[["A", "B"], "comparable"] > 0).all()
    )


@pytest.mark.parametrize("few", ["A", "Z"], ids=["first", "last"])
def test_a_hospital_may_have_fewer_events_than_folds(few):
    """Oracle: none is needed; its records are of the same type as those of the others, wherever it
    stands, and the choice is made.
    """
    X, y = made_up(150)
    y["event"][:30], y["event"][[3, 11]] = False, True
    federation = in_hospitals(X, y, np.repeat([few, "B", "C"], [30, 60, 60]), test_share=0.0)
    run = federate(
        federation, gw.BestOf([gw.CoxPH(penalty=0.1), gw.CoxPH(penalty=0.3)], retune=False), tune=5
    )
    sent = run.disclosed[run.disclosed.name.isin(["right", "pairs"])]
    assert run.learner.choice in (0, 1) and len(sent) >= 2 and set(sent["dtype"]) == {"float64"}
