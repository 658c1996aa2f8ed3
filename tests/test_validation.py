"""Federated validation: what comes back from sums equals what one pooled table gives, and no number
is about fewer patients than declared.

Oracles: the pure functions of the statistics room on one table with the hospital as stratum
(themselves held against R and scikit-survival in test_performance), brute-force pair counts, and
the perturbation of single patients for the disclosure (as in test_disclosure).
"""

import json
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import as_cohort, federate, made_up, measure, outcome
from test_disclosure import BETA, counted

import genomed_workbench as gw
from genomed_workbench.analytics import site_validation, validation
from genomed_workbench.analytics.site_validation import Plan, TestPredictions
from genomed_workbench.analytics.validation import usual_horizon, validate
from genomed_workbench.statistics.brier import brier_sums, mean_over_times
from genomed_workbench.statistics.concordance import comparable_pairs
from genomed_workbench.statistics.cox import round_times
from genomed_workbench.statistics.discrimination import auc_sums
from genomed_workbench.statistics.net_benefit import decision_curve
from genomed_workbench.statistics.recalibration import (
    Judged,
    add_groups,
    calibration_error,
    calibration_intercept,
    calibration_slope,
    fit_constant,
    group_sums,
    group_table,
    observed_expected,
)
from genomed_workbench.statistics.reclassification import move_sums, moves, net_reclassification
from genomed_workbench.statistics.survival import StepCurve, censoring_curve, kaplan_meier

HORIZON, TIMES = 0.5, (0.3, 0.7)


def asked(federation, model, **options):
    "gw.validate without a progress bar."
    return validate(federation, model, progress=False, **options)


@pytest.fixture(scope="module")
def hospitals() -> gw.Federation:
    "Three hospitals of 400, 250 and 150 made-up patients, tied times; the last one dies faster."
    X, y = made_up(800, 3, seed=4)
    site = np.repeat(["A", "B", "C"], [400, 250, 150])
    y["time"] = np.ceil(np.where(site == "C", 0.6, 1.0) * y["time"] * 100) / 100
    return gw.Federation.by_site(as_cohort(X, y, site), test_share=0.4)


@pytest.fixture(scope="module")
def run(hospitals) -> gw.Run:
    return federate(hospitals, gw.CoxPH(penalty=0.01))


@pytest.fixture(scope="module")
def timid(hospitals) -> gw.Run:
    "A model of the third variable alone, which means nothing."
    return federate(
        gw.Federation.by_site(hospitals.cohort.without("f0", "f1"), test_share=0.4), gw.CoxPH()
    )


@pytest.fixture(scope="module")
def found(hospitals, run, timid) -> validation.Validation:
    return asked(hospitals, run, against=timid, horizon=HORIZON, times=TIMES, simulation=True)


@pytest.fixture(scope="module")
def table(hospitals, run, timid) -> SimpleNamespace:
    "All test patients with all predictions in one table: what a federation exists to avoid."
    cohort, rows = hospitals.cohort, hospitals.test_rows
    site = np.repeat(list(hospitals.sites), [len(s.test_rows) for s in hospitals.sites.values()])
    X, at, own = cohort.X.iloc[rows], [HORIZON, *TIMES], np.minimum(cohort.time[rows], HORIZON)
    alive = run.learner.survival_for(X, at, site)
    lived = np.array(
        [run.learner.survival_for(X.iloc[[i]], [own[i]], site[[i]])[0, 0] for i in range(len(rows))]
    )
    curves = {
        n: censoring_curve(cohort.time[s.train_rows], cohort.event[s.train_rows])
        for n, s in hospitals.sites.items()
    }
    return SimpleNamespace(
        time=cohort.time[rows],
        event=cohort.event[rows],
        site=site,
        risk=run.learner.risk_for(X, site),
        alive=alive[:, 0],
        looks=np.array(at),
        at_times=alive,
        lived=lived,
        curves=curves,
        before=timid.learner.survival_for(X, [HORIZON], site)[:, 0],
        masks={n: site == n for n in hospitals.sites},
    )


# The federation against the pooled table


def test_ranking(found, table):
    "Pairs inside hospitals, weighted by their number: the definition, and one pair after the other."
    group = np.unique(table.site, return_inverse=True)[1]
    pairs = comparable_pairs(table.time, table.event, group)
    places = [*table.masks, "within"]
    measure(
        "federated validation, C - pooled",
        [found.value("harrell_c", p)["value"] for p in places],
        [*pairs.concordance(table.risk), pairs.within(table.risk)],
        1e-12,
    )
    right = all_ = 0.0
    for i in np.flatnonzero(table.event > 0):
        later = (table.site == table.site[i]) & (
            (table.time > table.time[i]) | ((table.time == table.time[i]) & (table.event == 0))
        )
        all_ += later.sum()
        right += (table.risk[i] > table.risk[later]).sum() + 0.5 * (
            table.risk[i] == table.risk[later]
        ).sum()
    measure(
        "federated validation, C - count of pairs",
        [found.value("harrell_c")["value"]],
        [right / all_],
        1e-12,
    )
    for k, t in enumerate(table.looks):
        sums = np.array(
            [
                auc_sums(table.time[m], table.event[m], table.risk[m], table.looks, table.curves[n])
                for n, m in table.masks.items()
            ]
        )[:, :, k]
        expected = [*(sums[:, 0] / sums[:, 1]), sums[:, 0].sum() / sums[:, 1].sum()]
        measure(
            "federated validation, AUC - pooled",
            [found.value("auc_t", p, t)["value"] for p in places],
            expected,
            1e-12,
        )


def test_errors_of_probabilities(found, table):
    sums = np.array(
        [
            brier_sums(
                table.time[m], table.event[m], table.at_times[m], table.looks, table.curves[n]
            )
            for n, m in table.masks.items()
        ]
    )
    n = np.array([m.sum() for m in table.masks.values()])
    for k, t in enumerate(table.looks):
        measure(
            "federated validation, Brier - pooled",
            [found.value("brier", p, t)["value"] for p in (*table.masks, "within")],
            [*(sums[:, k] / n), sums[:, k].sum() / n.sum()],
            1e-12,
        )
    measure(
        "federated validation, IBS - pooled",
        [found.value("ibs")["value"]],
        [mean_over_times(sums.sum(axis=0)[1:], table.looks[1:]) / n.sum()],
        1e-12,
    )


def test_calibration(found, table):
    """Slope, intercept and ICI to 1e-8, with the hospitals as strata; the groups to 1e-10; E50 and E90
    are read from counts, so to a point.
    """
    exam = (table.time, table.event, table.alive, HORIZON, table.site)
    slope, se = calibration_slope(*exam)
    row = found.value("slope")
    measure(
        "federated validation, slope - pooled",
        [row["value"], (row.high - row.low) / 2 / validation.Z],
        [slope, se],
        1e-8,
    )
    sums = [
        observed_expected(table.time[m], table.event[m], table.lived[m], HORIZON)
        for m in table.masks.values()
    ]
    expected = [calibration_intercept(*s)[0] for s in (*sums, np.sum(sums, axis=0))]
    measure(
        "federated validation, intercept - pooled",
        [found.value("intercept", p)["value"] for p in (*table.masks, "within")],
        expected,
        1e-8,
    )
    error = calibration_error(*exam)
    measure("federated validation, ICI - pooled", [found.value("ici")["value"]], [error.ici], 1e-8)
    measure(
        "federated validation, E50 and E90 - pooled",
        [found.value(m)["value"] for m in ("e50", "e90")],
        [error.e50, error.e90],
        0.01,
    )
    groups = group_table(
        add_groups(
            [
                group_sums(table.time[m], table.event[m], table.alive[m], HORIZON)
                for m in table.masks.values()
            ]
        )
    )
    measure("federated validation, groups - pooled", found.groups["within"], groups, 1e-10)
    for name, m in table.masks.items():
        measure(
            "federated validation, a hospital's slope - its own",
            [found.value("slope", name)["value"]],
            [calibration_slope(table.time[m], table.event[m], table.alive[m], HORIZON)[0]],
            1e-8,
        )


def test_decisions_and_reclassification(found, table):
    "Exact wherever every hospital answered at the threshold; elsewhere between its neighbours, and close."
    expected = decision_curve(table.time, table.event, table.alive, HORIZON, site=table.site)
    ours = found.decisions["within"]
    told = ours.told > 1 - 1e-9
    assert told.sum() >= 5
    measure(
        "federated validation, net benefit - pooled", ours.model[told], expected.model[told], 1e-12
    )
    measure(
        "federated validation, treat everybody - pooled", ours.everybody, expected.everybody, 1e-10
    )
    assert (ours.model - expected.model).abs().loc[:0.8].max() < 0.03
    moved = sum(
        move_sums(
            table.time[m], table.event[m], moves(1 - table.before[m], 1 - table.alive[m]), HORIZON
        )
        for m in table.masks.values()
    )
    expected_nri = net_reclassification(moved)
    measure(
        "federated validation, NRI - pooled",
        [found.value(m)["value"] for m in expected_nri.index],
        expected_nri,
        1e-12,
    )
    assert found.value("nri")["value"] > 0.2


def test_a_hospital_with_short_follow_up_is_left_out_of_decisions_and_moves(hospitals, run, timid):
    """Beyond the follow-up of hospital C its decisions are not known. Oracle: the sums of A and B,
    from their own tables.
    """
    cohort = hospitals.cohort
    frame, own = cohort.frame.copy(), cohort.outcome
    late = (frame[cohort.site] == "C") & (frame[own.time] > HORIZON / 2)
    frame.loc[late, own.time], frame.loc[late, own.event] = HORIZON / 2, 0
    short = gw.Federation.by_site(replace(cohort, frame=frame), test_share=0.4)
    found = asked(short, run, against=timid, horizon=HORIZON)
    assert set(found.decisions) == {"A", "B", "within"}
    whole = found.decisions["within"]
    expected, moved = [], []
    for name in ("A", "B"):
        rows = short.cohort.frame.iloc[short.sites[name].test_rows]
        time, event = rows[own.time].to_numpy(), rows[own.event].to_numpy()
        X, where = short.cohort.X.iloc[short.sites[name].test_rows], np.full(len(rows), name)
        new, old = (m.learner.survival_for(X, [HORIZON], where)[:, 0] for m in (run, timid))
        expected.append(len(rows) * decision_curve(time, event, new, HORIZON, [0.5]).everybody[0.5])
        moved.append(move_sums(time, event, moves(1 - old, 1 - new), HORIZON))
    n = sum(len(short.sites[s].test_rows) for s in "AB")
    measure("everybody without C - pooled", [whole.everybody[0.5]], [sum(expected) / n], 1e-12)
    measure(
        "NRI without C - pooled",
        [found.value("nri")["value"]],
        [net_reclassification(sum(moved)).nri],
        1e-12,
    )
    assert found.value("nri")["hospitals"] == 2


def test_risk_groups_stay_near_the_kaplan_meier_curve_of_their_patients(found, table):
    """At most five events at each hospital lie between what is told: the joined curve is nearer to the
    pooled one than these make up.
    """
    index = np.log(-np.log(table.alive))
    middle, spread = index.mean(), index.std()
    of = np.searchsorted(
        middle + spread * np.array([-site_validation.THIRDS, site_validation.THIRDS]), index
    )
    for g, name in enumerate(site_validation.GROUPS):
        mine = found.curves[(found.curves.tested_on == "within") & (found.curves.group == name)]
        assert mine.n.iloc[0] == (of == g).sum()
        exact = kaplan_meier(table.time[of == g], table.event[of == g])(mine.time)
        assert np.abs(mine.alive - exact)[mine.time <= HORIZON].max() < 3 * 5 / mine.n.iloc[0]
    final = (
        found.curves[(found.curves.tested_on == "within") & (found.curves.time <= HORIZON)]
        .groupby("group")
        .alive.min()
    )
    assert final["high"] < final["middle"] < final["low"]


def test_all_pairs_are_compared_in_a_simulation_only(found, hospitals, run, table):
    whole = found.value("harrell_c", "all")
    assert whole["value"] == pytest.approx(
        comparable_pairs(table.time, table.event).within(table.risk), abs=1e-12
    )
    assert "all (simulation only)" in found.summary().index
    assert "all" not in set(
        asked(hospitals, run, horizon=HORIZON, metrics=["harrell_c"]).table.tested_on
    )


# A yes-or-no outcome


def test_a_binary_outcome_equals_the_pooled_table():
    "Logistic recalibration with one constant for all hospitals is exactly the pooled one."
    rng = np.random.default_rng(2)
    X = pd.DataFrame(rng.normal(size=(600, 3)), columns=["f0", "f1", "f2"])
    y = (rng.random(600) < 1 / (1 + np.exp(-X.f0 + 0.5 * X.f1))).astype(float).to_numpy()
    federation = gw.Federation.by_site(
        as_cohort(X, y, np.repeat(["A", "B", "C"], 200)), test_share=0.4
    )
    learner = federate(federation, gw.LogisticRegression(penalty=0.01)).learner
    found = asked(federation, learner, simulation=True)
    rows = federation.test_rows
    case, p = y[rows], learner.predict(X.iloc[rows])
    group = np.repeat(range(3), 80)
    pairs = comparable_pairs(1 - case, case, group)
    exam = (1 - case, case, 1 - p, 0.5)
    expected = [
        pairs.within(p),
        ((p - case) ** 2).mean(),
        calibration_slope(*exam, kind="binary")[0],
        fit_constant([Judged.of(*exam, "binary")])[0],
    ]
    measure(
        "federated validation, yes or no - pooled",
        [found.value(m)["value"] for m in ("auc", "brier", "slope", "intercept")],
        expected,
        1e-9,
    )
    measure(
        "federated validation, ICI of yes or no - pooled",
        [found.value("ici")["value"]],
        [calibration_error(*exam, kind="binary").ici],
        1e-9,
    )
    groups = found.groups["within"]
    measure(
        "federated validation, groups of yes or no - pooled",
        [
            np.average(groups.observed, weights=groups.n),
            np.average(groups.predicted, weights=groups.n),
        ],
        [1 - case.mean(), 1 - p.mean()],
        1e-12,
    )
    assert found.plot_calibration().alt and found.plot_decisions().alt and found.curves.empty
    with pytest.raises(KeyError, match="no survival outcome"):
        found.plot_groups()
    with pytest.raises(ValueError, match="yes or no"):
        asked(federation, learner, horizon=2.0)


# What does not leave


def test_no_record_holds_a_number_for_each_patient(found, hospitals):
    "Shapes depend on the questions, or on groups of at least five patients; fewest patients never under five."
    few = found.disclosed.fewest_patients.dropna()
    assert few.min() >= 5
    smallest = min(len(s.test_rows) for s in hospitals.sites.values())
    shapes = {
        row.name: np.prod([int(i) for i in row.shape.strip("()").split(",") if i.strip()] or [1])
        for row in found.disclosed.set_index("name", drop=False).itertuples()
    }
    assert max(shapes.values()) < smallest
    assert set(found.disclosed.name) <= set(site_validation.VALIDATED) | {
        "num-examples",
        "site",
        "seconds",
        "behind",
    }


PLAN = Plan("survival", 0.9, (0.5, 1.4), (0.2, 0.4, 0.6, 0.8), groups=2)
KNOTS = np.array([-1.2, 0.0, 1.2])
ROUND = round_times(20.0, 1e-3)


def exam_of_rows(rows) -> TestPredictions:
    "A fixed model: survival from a log hazard ratio and a known baseline; the censoring curve is of other patients."
    time, event = rows.y["time"], rows.y["event"].astype(float)
    risk = 2 * (rows.Z @ BETA)

    def alive(t):
        return np.exp(-0.7 * np.asarray(t) * np.exp(risk))

    other = censoring_curve(np.linspace(0.1, 5, 50), np.arange(50) % 2)
    return TestPredictions(
        time,
        event,
        risk,
        alive(PLAN.horizon),
        np.column_stack([alive(t) for t in PLAN.times]),
        alive(np.minimum(time, PLAN.horizon)),
        other,
        1 - 1 / (1 + np.exp(-rows.Z[:, 0])),
    )


def spread_out(released: dict) -> dict:
    """Lists whose length depends on the patients as tables of fixed shape; what is withheld as a
    number of its own, so that giving and withholding differ.
    """
    value = {k: r.value for k, r in released.items()}
    if "distance_starts" in value:
        for name in ("distance", "distance_patients"):
            full = np.full(200, -999.0)
            full[value["distance_starts"].astype(int)] = value[name]
            value[name] = full
        marks = np.full(200, -999.0)
        marks[value["distance_starts"].astype(int)] = 1
        value["distance_starts"] = marks
    if "curve_times" in value:
        places = np.searchsorted(ROUND, value["curve_times"] * (1 - 1e-9))
        group = np.repeat(np.arange(3), value["curve_lengths"].astype(int))
        for name in ("curve_alive", "curve_times"):
            full = np.full((3, len(ROUND)), -999.0)
            full[group, places] = value[name]
            value[name] = full
    return {k: (np.nan_to_num(v, nan=-999.0), released[k].patients) for k, v in value.items()}


def releases() -> dict:
    "Every answer of a hospital."
    beta = np.array([0.9, 0.2])
    return {
        "first": lambda rows: spread_out(site_validation.judged_sums(exam_of_rows(rows), PLAN)),
        "slope": lambda rows: spread_out(
            site_validation.regression(exam_of_rows(rows), PLAN, "slope", np.array([0.8]), KNOTS)
        ),
        "shape": lambda rows: spread_out(
            site_validation.regression(exam_of_rows(rows), PLAN, "shape", beta, KNOTS)
        ),
        "last": lambda rows: spread_out(
            site_validation.distances(exam_of_rows(rows), PLAN, beta, KNOTS)
            | site_validation.curves(exam_of_rows(rows), PLAN, KNOTS)
        ),
    }


@pytest.mark.parametrize("name", list(releases()))
@pytest.mark.parametrize("site", [(12, 1), (40, 2)], ids=["12 patients", "40 patients"])
def test_every_number_is_about_at_least_as_many_patients_as_declared(name, site):
    """Each patient is left out or changed; the patients who can change a number are counted (oracle:
    the release itself).
    """
    before, counts = counted(releases()[name], site)
    for record, (value, declared) in before.items():
        given = value != -999
        # a time at which a curve is told rests on all events before it, but moves only if one of a
        # few of them is left out
        for kind in (
            ("any change",)
            if record in ("curve_times", "curve_lengths")
            else ("present", "any change")
        ):
            count = counts[record, kind][given]
            assert count[count > 0].min(initial=10**6) >= min(declared, 5), (
                f"{record}: declared {declared}, but a number is about {count[count > 0].min()} ({kind})"
            )
        assert not given.any() or declared >= 5 or not (value[given] != 0).any()


@pytest.mark.parametrize(
    "asked_for",
    [
        (0.14, 0.28, 0.42, 0.56, 0.7),
        (0.4, 0.7),
        (0.3,),
        (0.69, 0.7, 0.71, 0.72),
        tuple(np.linspace(0.02, 2.4, 12)),
        (),
    ],
)
def test_no_two_answers_differ_by_a_few_who_left(asked_for):
    """Oracle: the patients who leave between two answered times, counted; an average over the times
    from which one term is missing would give it away.
    """
    for seed in range(30):
        rng = np.random.default_rng(seed)
        time, n = np.round(rng.exponential(1.0, 40), 2) + 0.01, 40
        alive = rng.uniform(0.2, 0.9, (n, len(asked_for) + 1))
        exam = TestPredictions(
            time,
            (rng.random(n) < 0.7).astype(float),
            rng.normal(size=n),
            alive[:, 0],
            alive[:, 1:],
            alive[:, 0],
            StepCurve(np.empty(0), np.empty(0)),
        )
        plan = Plan("survival", 0.7, asked_for)
        at, told = np.array([0.7, *asked_for]), site_validation.errors(exam, plan)
        sums = told["brier"].value
        for answers in (sums, site_validation.ranking(exam, plan)["auc"].value[1]):
            times = np.unique(at[np.isfinite(answers)])
            left = [((time > a) & (time <= b)).sum() for a, b in pairwise(times)]
            assert min(left, default=99) >= 5, (seed, times)
        assert np.isnan(sums[1:]).sum() != 1 or np.isnan(told["ibs"].value[0])
        assert np.isnan(told["ibs"].value[0]) or len(asked_for) > 1
        assert np.isfinite(sums[0])


def test_small_hospitals_withhold_and_are_named():
    X, y = made_up(260, 2, seed=1)
    federation = gw.Federation.by_site(
        as_cohort(X, y, np.repeat(["large", "small", "tiny"], [200, 48, 12])),
        small="keep",
        test_share=0.25,
    )
    found = asked(federation, federate(federation, gw.CoxPH(penalty=0.1)), horizon=0.8)
    assert "tiny" in found.withheld["ranking"] and {"small", "tiny"} <= set(
        found.withheld["the calibration plot"]
    )
    assert np.isnan(found.value("harrell_c", "tiny")["value"]) and np.isfinite(
        found.value("harrell_c")["value"]
    )
    assert set(found.groups) == {
        "large",
        "within",
    } and "Too few patients for ranking: tiny" in repr(found)


def test_a_hospital_answers_one_plan_a_run(hospitals, run):
    "Another set of thresholds, or other knots, could be compared with the first."
    site, context = hospitals.sites["A"], SimpleNamespace(state=gw_state())
    arrays = {f"model.{k}": v for k, v in run.learner.exported().items()}
    plan = Plan("survival", HORIZON, TIMES)

    def ask(p):
        return site_validation.first_answer(
            site,
            gw.CoxPH(),
            arrays,
            {"plan": p.to_json(), "encoding": run.learner.encoding_.to_json()},
            context,
        )

    assert ask(plan).n == len(site.test_rows)
    with pytest.raises(gw.DisclosureError, match="only the first is given"):
        ask(Plan("survival", HORIZON, TIMES, thresholds=(0.11,)))
    step = {"beta": np.ones(1), "knots": KNOTS}
    site_validation.next_answer(site, gw.CoxPH(), step, {"what": "slope"}, context)
    with pytest.raises(gw.DisclosureError, match="only the first is given"):
        site_validation.next_answer(
            site, gw.CoxPH(), step | {"knots": KNOTS + 0.01}, {"what": "slope"}, context
        )
    with pytest.raises(gw.DisclosureError, match="no fewer than 3"):
        site_validation.first_answer(
            site,
            gw.CoxPH(),
            arrays,
            {"plan": Plan("survival", HORIZON, min_cell=2).to_json()},
            context,
        )
    with pytest.raises(gw.DisclosureError, match="no more than 12"):
        site_validation.first_answer(
            site,
            gw.CoxPH(),
            arrays,
            {"plan": Plan("survival", HORIZON, tuple(np.linspace(0.1, 2, 13))).to_json()},
            context,
        )


def gw_state():
    "A node's memory."
    from flwr.app import RecordDict

    return RecordDict()


# Odds and ends


def test_other_models_other_hospitals(hospitals, run):
    "A model trained elsewhere is validated at hospitals that it has never seen: with the average baseline."
    X, y = made_up(300, 3, seed=9)
    elsewhere = gw.Federation.by_site(as_cohort(X, y, np.repeat(["D", "E"], 150)), test_share=0.5)
    found = asked(elsewhere, run, horizon=HORIZON)
    site = np.repeat(["D", "E"], 75)
    alive = run.learner.predict_survival(
        X.iloc[elsewhere.test_rows], [HORIZON], baseline="average"
    ).to_numpy()[:, 0]
    rows = elsewhere.test_rows
    assert found.value("slope")["value"] == pytest.approx(
        calibration_slope(y["time"][rows], y["event"][rows].astype(float), alive, HORIZON, site)[0],
        abs=1e-8,
    )


def test_without_probabilities_only_the_ranking_is_given(hospitals):
    "No hospital has enough events for a baseline of so large a cell."
    run = federate(hospitals, gw.CoxPH(penalty=0.01, min_cell=1000))
    found = asked(hospitals, run, horizon=HORIZON)
    assert (
        np.isfinite(found.value("harrell_c")["value"])
        and np.isnan(found.value("slope")["value"])
        and not found.groups
    )
    assert "no probabilities" in repr(found)


@pytest.mark.parametrize("size", [4, 14, 40])
def test_many_small_hospitals(size):
    """Hospitals of a few test patients each: what can be told is told, nothing fails, and every table
    and picture that exists can be drawn.
    """
    X, y = made_up(24 * size, 2, seed=size)
    federation = gw.Federation.by_site(
        as_cohort(X, y, np.repeat([f"d{i}" for i in range(24)], size)),
        min_patients=1,
        test_share=0.5,
    )
    found = asked(
        federation, federate(federation, gw.CoxPH(penalty=0.1)), horizon=0.8, simulation=True
    )
    assert (
        f"({12 * size:,} patients)" in repr(found)
        and found._repr_html_()
        and found.plot_calibration().alt
    )
    told = found.table[(found.table.metric == "slope") & (found.table.tested_on != "within")]
    assert (
        found.value("slope").hospitals == told.value.notna().sum()
        and found.value("slope").n == told.n[told.value.notna()].sum()
    )
    assert found.disclosed.fewest_patients.min() >= min(5, size // 2)
    for name in found.decisions:
        assert found.plot_decisions(name).alt
    for name in set(found.curves.tested_on):
        assert found.plot_groups(name).alt
    assert np.isfinite(found.value("harrell_c")["value"]) == (size > 4)


def test_the_same_answer_twice_and_the_usual_horizon(hospitals, run):
    again = [asked(hospitals, run).table for _ in range(2)]
    pd.testing.assert_frame_equal(*again)
    assert again[0].time.max() == usual_horizon(hospitals.cohort)
    pd.testing.assert_frame_equal(hospitals.validate(run, progress=False).table, again[0])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"horizon": 99.0}, "inside the follow-up"),
        ({"times": [2.0, 1.0]}, "ascending"),
        ({"times": np.linspace(0.1, 0.9, 13)}, "at most 12"),
        ({"thresholds": [0.0]}, "between 0 and 1"),
        ({"groups": 0}, "from 1 up"),
        ({"min_cell": 2}, "from 3 up"),
        ({"metrics": ["nri"]}, "against="),
        ({"metrics": ["auc"]}, "expected some of"),
        ({"engine": "train"}, "expected one of"),
        ({"against": gw.CoxPH()}, "not fitted"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_words(hospitals, run, options, said):
    with pytest.raises((ValueError, RuntimeError), match=said):
        asked(hospitals, run, **options)


def test_pictures_carry_their_words(found):
    assert "groups from the lowest to the highest risk" in found.plot_calibration("A").alt
    assert "thresholds" in found.plot_decisions().alt and "high risk" in found.plot_groups().alt
    assert (
        "<table" in found._repr_html_()
        and found.summary().loc["within", "slope"] == found.value("slope")["value"]
    )
    with pytest.raises(KeyError, match="nothing on 'Z'"):
        found.plot_decisions("Z")


def test_a_curve_is_told_at_round_times_with_enough_events_between():
    "Knots are numbers of two digits, five events apart; the last few events stay untold."
    rng = np.random.default_rng(0)
    y = outcome(rng.exponential(2.0, 83), np.ones(83, bool))
    times, alive = site_validation.told_curve(y["time"], y["event"].astype(float), 5)
    seen = np.searchsorted(np.sort(y["time"]), times, side="right")
    assert (np.diff(np.append(0, seen)) >= 5).all() and 83 - seen[-1] < 5 + 5
    assert all(float(f"{t:.2g}") == pytest.approx(t, rel=1e-12) for t in times)
    np.testing.assert_allclose(alive, kaplan_meier(y["time"], y["event"].astype(float))(times))


# Uno's concordance where deaths and censorings share their times


def visits(n: int = 300, last: float = 36.0) -> pd.DataFrame:
    "Patients seen every half year, up to `last` months; two hospitals, test patients marked."
    rng = np.random.default_rng(2)
    x = rng.normal(size=n)
    death = np.ceil(rng.exponential(18 / np.exp(x)) / 6) * 6
    lost = np.minimum(np.ceil(rng.exponential(30, n) / 6) * 6, last)
    frame = pd.DataFrame({"x": x, "z": rng.normal(size=n), "os": np.minimum(death, lost)})
    return frame.assign(
        dead=death <= lost, center=rng.choice(list("AB"), n), tested=rng.random(n) < 0.4
    )


def trained_on(frame: pd.DataFrame) -> tuple[gw.Federation, gw.Run]:
    cohort = gw.Cohort.from_frame(
        frame, gw.Survival("os", "dead", "months"), site="center", features=["x", "z"]
    )
    federation = gw.Federation.by_site(cohort, test="tested")
    return federation, gw.federate(federation, gw.CoxPH(), progress=False)


def not_censored_before(u: float, time: np.ndarray, event: np.ndarray) -> float:
    "G(u-), the textbook product; at one time, deaths come before censorings."
    product = 1.0
    for q in np.unique(time[~event]):
        if q < u:
            at_risk = (time >= q).sum() - ((time == q) & event).sum()
            product *= 1 - ((time == q) & ~event).sum() / at_risk
    return product


def uno(train: pd.DataFrame, test: pd.DataFrame, risk: np.ndarray) -> tuple[float, float]:
    "Uno's concordance as two sums over pairs (Uno 2011), each event with 1/G(t-)^2."
    time, event = test.os.to_numpy(), test.dead.to_numpy()
    right = all_ = 0.0
    for i in np.flatnonzero(event):
        g = not_censored_before(time[i], train.os.to_numpy(), train.dead.to_numpy())
        later = (time > time[i]) | ((time == time[i]) & ~event)
        if g > 0:
            all_ += later.sum() / g**2
            right += ((risk[i] > risk[later]) + 0.5 * (risk[i] == risk[later])).sum() / g**2
    return right, all_


def test_uno_weighs_an_event_by_what_was_lost_before_it():
    """Visits every half year: a death at the last visit has its full weight, in validation and in
    comparison. Oracle: the textbook formula with G(t-), written above.
    """
    frame = visits()
    federation, run = trained_on(frame)
    risk, tested = np.asarray(run.learner.predict(federation.cohort.X)), frame.tested.to_numpy()
    sums = []
    for site in "AB":
        here = (frame.center == site).to_numpy()
        sums.append(uno(frame[here & ~tested], frame[here & tested], risk[here & tested]))
    expected = [*(right / all_ for right, all_ in sums), np.divide(*np.sum(sums, axis=0))]
    found = asked(federation, run, horizon=24, metrics=["uno_c"]).summary()
    measure(
        "Uno's C with visits - formula", found.loc[["A", "B", "within"], "uno_c"], expected, 1e-12
    )
    rows = gw.compare(
        federation,
        gw.CoxPH(penalty=0.0),
        repeats=1,
        tune=False,
        bootstrap=0,
        metrics=["uno_c"],
        progress=False,
    ).table
    rows = rows[(rows.arm == "federated") & (rows.tested_on != "all")]
    measure("compared Uno's C with visits - formula", rows["mean"], expected, 1e-6)


def test_events_after_all_follow_up_are_said_to_be_left_out():
    """Training patients of hospital A are followed for a year only, so that G(t-) of later deaths is 0.
    Oracle: the same formula, which leaves them out.
    """
    frame = visits()
    short = (frame.center == "A") & ~frame.tested
    frame.loc[short, "dead"] &= frame.loc[short, "os"] <= 12
    frame.loc[short, "os"] = np.minimum(frame.loc[short, "os"], 12)
    frame.loc[frame.index[short][0], ["os", "dead"]] = [12.0, False]
    federation, run = trained_on(frame)
    found = asked(federation, run, horizon=10, times=[6.0], metrics=["uno_c"])
    assert any("Uno's C leaves out" in note and "at A." in note for note in found.notes)
    here = frame.center == "A"
    late = (here & frame.tested & frame.dead & (frame.os > 12)).sum()
    assert late >= 5
    compared = gw.compare(
        federation, gw.CoxPH(penalty=0.01), repeats=1, tune=False, bootstrap=0, progress=False
    )
    assert any(f"leaves out at A: {late} in" in note for note in compared.notes)
    risk = np.asarray(run.learner.predict(federation.cohort.X))[here & frame.tested]
    right, all_ = uno(frame[here & ~frame.tested], frame[here & frame.tested], risk)
    assert found.summary().loc["A", "uno_c"] == pytest.approx(right / all_, abs=1e-12)
    whole, model = trained_on(visits())
    assert not any("Uno" in note for note in asked(whole, model, horizon=24).notes)


# Units of time

UNIT_IN_YEARS = {"years": 1.0, "months": 12.0, "days": 365.25, "Days": 365.25, "y": 1.0}


def in_unit(unit: str, in_a_year: float) -> gw.Federation:
    "The same 500 made-up patients at two hospitals, followed in another unit."
    X, y = made_up(500, 2, seed=6)
    y["time"] = np.ceil(y["time"] * 100) / 100
    cohort = as_cohort(X, y, np.repeat(["A", "B"], 250))
    column = cohort.outcome.time
    return gw.Federation.by_site(
        gw.Cohort.from_frame(
            cohort.frame.assign(**{column: cohort.time * in_a_year}),
            gw.Survival(column, cohort.outcome.event, unit),
            site=cohort.site,
            features=list(cohort.features),
            name="a colleague's cohort",
        ),
        test_share=0.4,
    )


@pytest.fixture(scope="module")
def of_years() -> gw.Run:
    return federate(in_unit("years", 1.0), gw.CoxPH(penalty=0.01))


@pytest.mark.parametrize("unit", UNIT_IN_YEARS)
@pytest.mark.parametrize("disclosure", ["protected", "simulation"])
def test_a_model_of_years_on_a_cohort_in_another_unit(unit, disclosure):
    """Every number is that of the same patients in years. Oracle: the validation in years itself."""
    years, k = in_unit("years", 1.0), UNIT_IN_YEARS[unit]
    model = federate(years, gw.CoxPH(penalty=0.01, disclosure=disclosure))
    other = federate(in_unit("months", 12.0), gw.CoxPH(disclosure=disclosure))
    asked_for = {"against": other, "cuts": (0.3, 0.6)}
    expected = asked(years, model, horizon=HORIZON, times=TIMES, **asked_for)
    found = asked(
        in_unit(unit, k), model, horizon=HORIZON * k, times=[t * k for t in TIMES], **asked_for
    )
    assert list(found.table.metric) == list(expected.table.metric)
    measure(
        f"a model of years on {unit} - on years",
        found.table[["value", "low", "high"]],
        expected.table[["value", "low", "high"]],
        1e-9,
    )
    told = [note for note in found.notes if note.startswith("The model was trained")]
    assert bool(told) == (k != 1) and all("years" in note and unit in note for note in told)


def test_a_unit_that_cannot_be_converted_is_refused(of_years):
    with pytest.raises(ValueError, match=r"'years'.*a colleague's cohort.*'cycles'"):
        asked(in_unit("cycles", 1.0), of_years)
    cycles = federate(in_unit("cycles", 1.0), gw.CoxPH(penalty=0.01))
    assert asked(in_unit("cycles", 1.0), cycles).notes == ()
    with pytest.raises(ValueError, match=r"against.*'cycles'.*'years'"):
        asked(in_unit("years", 1.0), of_years, against=cycles)


@pytest.mark.parametrize("learner", [gw.CoxPH(penalty=0.01), gw.Ensemble([gw.CoxPH(penalty=0.01)])])
def test_a_run_keeps_its_unit(learner, tmp_path):
    "Saved and loaded, and by its learner alone; a model that was fitted again has lost it."
    run = federate(in_unit("months", 12.0), learner)
    again = gw.Run.load(run.save(tmp_path / "run"))
    assert run.unit == again.unit == again.learner.time_unit == "months"
    years, days = in_unit("years", 1.0), in_unit("days", 365.25)
    whole = asked(years, again, horizon=HORIZON, times=TIMES).summary()
    alone = asked(days, again.learner, horizon=HORIZON * 365.25, times=[t * 365.25 for t in TIMES])
    np.testing.assert_allclose(alone.summary(), whole, rtol=1e-8)
    assert run.learner.fit(years.cohort.X, years.cohort.y).time_unit is None


@pytest.mark.parametrize(
    "learner",
    [
        gw.CoxPH(penalty=0.01),
        gw.DiscreteHazard(intervals=8),
        gw.HazardNet(hidden=(4,), max_rounds=2, intervals=8),
        gw.Ensemble([gw.CoxPH(penalty=0.01), gw.DiscreteHazard(intervals=8)]),
    ],
    ids=["cox", "discrete", "net", "ensemble"],
)
def test_survival_is_predicted_in_the_unit_that_is_asked_for(learner):
    "Oracle: the same times in the model's own unit; the columns are the times as they were asked for."
    federation = in_unit("months", 12.0)
    model, X = federate(federation, learner).learner, federation.cohort.X.iloc[:9]
    own = model.predict_survival(X, [6, 18], baseline="average")
    for unit, times in {"years": [0.5, 1.5], "days": [182.625, 547.875], "months": [6, 18]}.items():
        found = model.predict_survival(X, times, baseline="average", unit=unit)
        np.testing.assert_allclose(found, own, rtol=1e-12)
        assert list(found.columns) == times
    with pytest.raises(ValueError, match=r"'months'.*'cycles'"):
        model.predict_survival(X, [1], baseline="average", unit="cycles")
    with pytest.warns(UserWarning, match=r"trained in months.*unit='days'"):
        model.predict_survival(X, [3652], baseline="average")


def test_a_model_that_does_not_tell_its_unit_converts_nothing():
    cohort = in_unit("years", 1.0).cohort
    fitted = gw.CoxPH(penalty=0.01).fit(cohort.X, cohort.y)
    with pytest.raises(ValueError, match="does not tell the unit"):
        fitted.predict_survival(cohort.X, [12], unit="months")


def test_a_run_of_before_does_not_know_its_unit(of_years, tmp_path):
    "It loads as ever, and the validation says that the unit was not known."
    folder = of_years.save(tmp_path / "run")
    about = json.loads((folder / "run.json").read_text())
    del about["unit"], about["learner"]["fitted"]["unit_"]
    (folder / "run.json").write_text(json.dumps(about))
    before = gw.Run.load(folder)
    assert before.unit is None and before.learner.time_unit is None
    found, expected = (asked(in_unit("years", 1.0), m, horizon=HORIZON) for m in (before, of_years))
    assert any("does not tell the unit" in note and "years" in note for note in found.notes)
    pd.testing.assert_frame_equal(found.table, expected.table)
