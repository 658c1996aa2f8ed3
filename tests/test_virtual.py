"""The engine of virtual cohorts against closed forms, scipy and lifelines; hospitals, truth and what
hospitals would send.
"""

import json
import pickle

import numpy as np
import pandas as pd
import pytest
from lifelines import KaplanMeierFitter, PiecewiseExponentialFitter
from scipy import integrate, optimize, stats

import genomed_workbench as gw
from genomed_workbench.clinic.canonical import canonical
from genomed_workbench.clinic.dictionary import dictionary
from genomed_workbench.virtual.exports import HABITS
from genomed_workbench.virtual.hospitals import assign, usual_hospitals
from genomed_workbench.virtual.population import (
    Contrast,
    Population,
    Quantiles,
    YesNo,
    both_share,
    match_contrasts,
    nearest_correlation,
    odds_ratio,
    solve_numbers,
    solve_yes_no,
)
from genomed_workbench.virtual.truth import Hazard, hazard_for


def test_both_share_is_the_root_of_the_odds_ratio():
    for p, q, ratio in [
        (0.07, 0.09, 325),
        (0.3, 0.25, 0.1),
        (0.5, 0.5, 4),
        (0.01, 0.9, 1.0),
        (0.2, 0.2, 1 + 1e-12),
    ]:

        def odds(both, p=p, q=q):
            return both * (1 - p - q + both) / ((p - both) * (q - both))

        low, high = max(0, p + q - 1) + 1e-13, min(p, q) - 1e-13
        root = optimize.brentq(
            lambda x, ratio=ratio, odds=odds: np.log(odds(x)) - np.log(ratio), low, high, xtol=1e-15
        )
        assert both_share(p, q, np.log(ratio)) == pytest.approx(root, abs=1e-9)


def test_three_findings_have_the_joint_distribution_that_the_pairs_allow():
    "The eight probabilities of the chain, written out, against the wanted margins and odds ratios."
    shares, wanted = (
        {"a": 0.2, "b": 0.3, "c": 0.1},
        {("a", "b"): 5.0, ("b", "c"): 0.2, ("a", "c"): 8.0},
    )
    rules = solve_yes_no(
        shares, {pair: np.log(ratio) for pair, ratio in wanted.items()}, sample=400_000
    )
    joint = {}
    for a in (0, 1):
        for b in (0, 1):
            for c in (0, 1):
                weights = [
                    rules.weights[0][0],
                    rules.weights[1] @ np.array([1, a]),
                    rules.weights[2] @ np.array([1, a, b]),
                ]
                chance = [1 / (1 + np.exp(-w)) for w in weights]
                joint[a, b, c] = np.prod(
                    [q if x else 1 - q for q, x in zip(chance, (a, b, c), strict=True)]
                )
    place = {"a": 0, "b": 1, "c": 2}
    for name, share in shares.items():
        assert sum(v for k, v in joint.items() if k[place[name]]) == pytest.approx(share, abs=0.002)
    for (x, y), ratio in wanted.items():
        cell = {
            (i, j): sum(v for k, v in joint.items() if (k[place[x]], k[place[y]]) == (i, j))
            for i in (0, 1)
            for j in (0, 1)
        }
        assert cell[1, 1] * cell[0, 0] / (cell[1, 0] * cell[0, 1]) == pytest.approx(ratio, rel=0.05)


def test_odds_ratios_converge_to_those_asked_for():
    shares = {"a": 0.07, "b": 0.09, "c": 0.15, "d": 0.24}
    wanted = {
        ("a", "b"): 325.0,
        ("a", "c"): 48.0,
        ("b", "c"): 29.0,
        ("a", "d"): 0.09,
        ("c", "d"): 0.5,
    }
    rules = solve_yes_no(shares, {pair: np.log(ratio) for pair, ratio in wanted.items()})
    far = []
    for n in (2_000, 500_000):
        found = dict(zip(rules.names, rules.draw(np.random.default_rng(3), n), strict=True))
        far.append(
            max(
                abs(np.log(odds_ratio(found[x], found[y]) / ratio))
                for (x, y), ratio in wanted.items()
            )
        )
    assert far[1] < 0.12 and far[1] < far[0]


def test_known_findings_stay_as_given():
    rules = solve_yes_no({"a": 0.5, "b": 0.5}, {("a", "b"): np.log(9)})
    given = np.array([[1.0, 1.0, 0.0, 0.0] * 25_000])
    found = rules.draw(np.random.default_rng(0), 100_000, given=given)
    assert (found[0] == given[0]).all()
    assert found[1][given[0] == 1].mean() == pytest.approx(0.75, abs=0.01)


def test_an_odds_ratio_without_a_prevalence_is_refused():
    with pytest.raises(ValueError, match="no prevalence is given"):
        solve_yes_no({"a": 0.1}, {("a", "b"): 1.0})


def test_odds_ratio_is_that_of_scipy_up_to_the_half():
    rng = np.random.default_rng(0)
    a, b = (rng.random(5_000) < 0.3).astype(float), (rng.random(5_000) < 0.2).astype(float)
    table = np.array(
        [[(a * b).sum(), (a * (1 - b)).sum()], [((1 - a) * b).sum(), ((1 - a) * (1 - b)).sum()]]
    )
    assert odds_ratio(a, b) == pytest.approx(
        stats.contingency.odds_ratio((table * 2 + 1).astype(int), kind="sample").statistic, rel=1e-9
    )


def test_quantiles_go_through_every_published_point_and_stay_within_bounds():
    one = Quantiles({0.05: 20, 0.25: 69, 0.5: 130, 0.75: 236, 0.95: 441}, low=1, high=600)
    p = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
    assert np.allclose(one.at(stats.norm.ppf(p)), [20, 69, 130, 236, 441])
    wide = one.at(np.linspace(-6, 6, 500))
    assert (np.diff(wide) >= 0).all() and wide.min() == 1 and wide.max() == 600
    assert np.allclose(one.score(one.at([-1, 0, 1])), [-1, 0, 1], atol=0.01)


def test_numbers_keep_their_marginals_whatever_the_findings_add():
    findings = solve_yes_no({"g": 0.3}, {})
    quantiles = {
        "x": Quantiles(
            {
                p: float(stats.gamma.ppf(p, 2))
                for p in (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
            },
            digits=6,
        ),
        "y": Quantiles(
            {p: float(stats.norm.ppf(p, 10, 2)) for p in (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)},
            low=-99,
            digits=6,
        ),
    }
    numbers = solve_numbers(
        quantiles, {("x", "y"): 0.5}, {"x": {"g": 1.2}, "y": {"g": 0.5}}, findings
    )
    found = findings.draw(rng := np.random.default_rng(4), 200_000)
    x, y = numbers.draw(rng, found)
    for p in (0.05, 0.25, 0.5, 0.75, 0.95):
        assert np.quantile(x, p) == pytest.approx(stats.gamma.ppf(p, 2), rel=0.03)
        assert np.quantile(y, p) == pytest.approx(stats.norm.ppf(p, 10, 2), rel=0.01)
    assert stats.spearmanr(x, y).statistic == pytest.approx(0.5, abs=0.03)
    assert np.median(x[found[0] == 1]) > 1.5 * np.median(x[found[0] == 0])


def test_overlapping_contrasts_are_met_together():
    findings = solve_yes_no({"a": 0.08, "b": 0.09, "c": 0.3}, {("a", "b"): np.log(300)})
    quantiles = {"x": Quantiles({0.01: 5, 0.25: 8.5, 0.5: 10, 0.75: 11.5, 0.99: 15}, digits=4)}
    asked = [
        Contrast("x", "a", 9.0, 10.1, "mean"),
        Contrast("x", "b", 9.1, 10.1, "mean"),
        Contrast("x", "c", 10.4, 9.8, "median"),
    ]
    numbers = match_contrasts(quantiles, {}, {}, asked, findings)
    found = findings.draw(rng := np.random.default_rng(5), 200_000)
    x = numbers.draw(rng, found)[0]
    for one, finding in zip(asked, found, strict=True):
        assert one.of(x, finding)[0] == pytest.approx(one.yes, abs=0.08)


def test_nearest_correlation_is_no_further_than_clipping_eigenvalues():
    rng = np.random.default_rng(6)
    asked = np.clip(np.corrcoef(rng.normal(size=(6, 6))) + rng.normal(0, 0.4, (6, 6)), -1, 1)
    asked = (asked + asked.T) / 2
    np.fill_diagonal(asked, 1)
    found = nearest_correlation(asked)
    values, vectors = np.linalg.eigh(asked)
    clipped = (vectors * np.maximum(values, 1e-4)) @ vectors.T
    clipped = clipped / np.sqrt(np.outer(np.diag(clipped), np.diag(clipped)))
    assert np.linalg.eigvalsh(found)[0] > 0 and np.allclose(np.diag(found), 1)
    assert np.linalg.norm(found - asked) <= np.linalg.norm(clipped - asked) + 1e-6


def test_hazard_is_the_integral_of_its_steps_and_turns_around():
    hazard = Hazard((0, 0.5, 2, 7), (0.3, 0.1, 0.4, 0.2))

    def rate(t):
        return [0.3, 0.1, 0.4, 0.2][np.searchsorted([0, 0.5, 2, 7], t, side="right") - 1]

    for t in (0.2, 0.5, 1.7, 6.9, 12):
        assert hazard.cumulative(t) == pytest.approx(
            integrate.quad(rate, 0, t, points=[0.5, 2, 7])[0], abs=1e-8
        )
        assert hazard.when(hazard.cumulative(t)) == pytest.approx(t)
    for wrong in [
        ((1, 2), (0.1, 0.1)),
        ((0, 2), (0.1, 0.0)),
        ((0, 2, 2), (0.1, 0.1, 0.1)),
        ((0,), (-0.1,)),
    ]:
        with pytest.raises(ValueError, match="expected"):
            Hazard(*wrong)


def test_times_drawn_from_a_truth_are_those_of_lifelines():
    hazard, n = Hazard((0, 1, 3), (0.5, 0.2, 0.1)), 60_000
    truth = gw.Truth(pd.Series({"x": 0.7}), pd.Series(np.zeros(n)), hazard, Hazard((0,), (0.1,)))
    time, event = truth.draw(np.random.default_rng(7))
    fitted = PiecewiseExponentialFitter([1, 3]).fit(time, event)
    assert np.allclose(1 / fitted.summary["coef"].to_numpy(), [0.5, 0.2, 0.1], rtol=0.05)
    curve = KaplanMeierFitter().fit(time, event).survival_function_at_times([1, 3, 5]).to_numpy()
    assert np.allclose(curve, truth.survival([1, 3, 5]).mean().to_numpy(), atol=0.01)
    ends = KaplanMeierFitter().fit(time, 1 - event).survival_function_at_times([1, 3]).to_numpy()
    assert np.allclose(ends, np.exp([-0.1, -0.3]), atol=0.01)


def test_the_solved_hazard_gives_the_published_curve():
    risk = np.random.default_rng(8).normal(0, 1.3, 30_000)
    curve = {0.5: 0.92, 1: 0.81, 3: 0.54, 5: 0.39, 10: 0.22}
    hazard = hazard_for(risk, curve)
    for year, share in curve.items():
        assert np.exp(-hazard.cumulative(year) * np.exp(risk)).mean() == pytest.approx(
            share, abs=2e-3
        )
    with pytest.raises(ValueError, match="fall with the years"):
        hazard_for(risk, {1: 0.5, 2: 0.6})


def test_a_binary_truth():
    truth = gw.Truth(pd.Series({"x": 1.0}), pd.Series(np.linspace(-3, 3, 20_000)))
    assert truth.kind == "binary" and truth.probability.mean() == pytest.approx(0.5)
    _, yes = truth.draw(np.random.default_rng(0))
    assert yes.mean() == pytest.approx(0.5, abs=0.02)
    with pytest.raises(ValueError, match="probability"):
        truth.survival([1])


def test_a_population_is_the_same_for_the_same_seed_and_survives_json():
    findings = solve_yes_no({"a": 0.2, "b": 0.4}, {("a", "b"): 1.0})
    numbers = solve_numbers(
        {"x": Quantiles({0.1: 1, 0.5: 2, 0.9: 4}, digits=3)}, {}, {"x": {"a": 0.5}}, findings
    )
    people = Population(findings, numbers)
    again = Population.from_dict(json.loads(json.dumps(people.to_dict())))
    one, two, other = people.draw(60_000, 1), again.draw(60_000, 1), people.draw(60_000, 2)
    assert all(
        np.mean(np.abs(one[name] - two[name]) > 0.0015) < 1e-3 for name in one
    )  # written with five decimals
    assert all((one[name] == people.draw(60_000, 1)[name]).all() for name in one)
    assert not (one["x"] == other["x"]).all() and not (one["x"][:10_000] == one["x"][50_000:]).all()
    assert isinstance(again.yes_no, YesNo)


def test_hospitals_have_their_sizes_and_their_patients():
    risk = np.random.default_rng(9).normal(size=50_000)
    plan = gw.Hospitals((50, 30, 20), case_mix=(0, -0.6, 0.8))
    where = assign(plan, risk, np.random.default_rng(0))
    assert np.allclose(np.bincount(where) / len(where), [0.5, 0.3, 0.2], atol=0.01)
    means = [risk[where == k].mean() for k in range(3)]
    assert means[2] - means[1] == pytest.approx(1.4, abs=0.25) and means[1] < means[0] < means[2]
    assert risk.mean() == pytest.approx(np.average(means, weights=[0.5, 0.3, 0.2]), abs=0.01)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"shares": (1,)}, "at least two hospitals"),
        ({"shares": (1, 0)}, "each above 0"),
        ({"shares": (1, 2), "effect": (0.1,)}, "effect has 1 entries; expected 2"),
        ({"shares": (1, 2), "names": ("A", "A")}, "each name once"),
        ({"shares": (1, 2), "follow_up": (1, -1)}, "above 0"),
    ],
)
def test_hospitals_that_cannot_be_meant(options, words):
    with pytest.raises(gw.CohortError, match=words):
        gw.Hospitals(**options)


@pytest.mark.parametrize("count", [0, 1, True, 2.5, "5", 5_000])
def test_a_number_of_hospitals_that_cannot_be_meant(count):
    with pytest.raises(gw.CohortError, match="2 to 1,000"):
        usual_hospitals(count)


@pytest.fixture(scope="module")
def by_hospital():
    "3,000 virtual patients at three hospitals that differ in every way."
    plan = gw.Hospitals(
        (60, 30, 10),
        names=("Nord", "Mitte", "Süd"),
        case_mix=(0, 0.7, -0.7),
        laboratory_offset=({}, {"hemoglobin": 1.1}, {}),
        missing_panels=((), ("cytogenetics",), ("STAG2",)),
        follow_up=(1, 1, 0.3),
        effect=(0, 0, 0.5),
    )
    return gw.load_cohort("virtual-mds", n=6_000, seed=4, hospitals=plan), gw.load_cohort(
        "virtual-mds", n=6_000, seed=4
    )


def test_hospitals_differ_as_asked(by_hospital):
    cohort, plain = by_hospital
    site = cohort.sites
    assert (
        cohort.site == "hospital"
        and set(site) == {"Nord", "Mitte", "Süd"}
        and (cohort.frame.index == plain.frame.index).all()
    )
    assert (
        cohort.frame.loc[site == "Mitte", "karyotype"].isna().all()
        and cohort.frame.loc[site == "Nord", "karyotype"].notna().any()
    )
    assert (
        cohort.frame.loc[site == "Süd", "STAG2"].isna().all()
        and cohort.frame.loc[site != "Süd", "STAG2"].notna().all()
    )
    both = cohort.frame["hemoglobin"].notna() & plain.frame["hemoglobin"].notna()
    ratio = (cohort.frame["hemoglobin"] / plain.frame["hemoglobin"])[both]
    assert (
        ratio[site[both] == "Mitte"].mean() == pytest.approx(1.1, abs=0.01)
        and (ratio[site[both] == "Nord"] == 1).all()
    )
    assert cohort.truth.site_effects == {"Nord": 0.0, "Mitte": 0.0, "Süd": 0.5}
    gap = cohort.truth.log_risk - plain.truth.log_risk
    assert np.allclose(gap[site == "Süd"], 0.5) and np.allclose(gap[site != "Süd"], 0)
    means = pd.Series(plain.truth.log_risk).groupby(site).mean()
    assert means["Süd"] < means["Nord"] < means["Mitte"]
    follow = {
        name: KaplanMeierFitter()
        .fit(cohort.time[site == name], ~cohort.event[site == name])
        .median_survival_time_
        for name in ("Nord", "Süd")
    }
    assert follow["Süd"] < 0.5 * follow["Nord"]


def test_hospitals_by_number_train_together():
    cohort = gw.load_cohort("virtual-mds", n=1_500, seed=1, hospitals=3)
    run = gw.federate(
        gw.Federation.by_site(cohort, test_share=0.0), gw.CoxPH(penalty=0.01), progress=False
    )
    assert run.converged and cohort.virtual and len(set(cohort.sites)) == 3


def test_an_unknown_name_among_hospitals_is_refused():
    with pytest.raises(gw.CohortError, match="missing_panels names 'lymph'"):
        gw.load_cohort(
            "virtual-mds", n=100, hospitals=gw.Hospitals((1, 1), missing_panels=((), ("lymph",)))
        )


def test_the_truth_follows_its_cohort(by_hospital):
    cohort, _ = by_hospital
    old = cohort.X["age"].to_numpy() > 75
    part = cohort.rows(old)
    assert (part.truth.log_risk.index == part.frame.index).all() and np.allclose(
        part.truth.log_risk, cohort.truth.log_risk[old]
    )
    assert cohort.rows([5, 1]).truth.log_risk.index.tolist() == cohort.frame.index[[5, 1]].tolist()
    seen = cohort.with_features(["age", "TP53multi"])
    assert seen.truth is cohort.truth and seen.without("age").truth is cohort.truth
    assert len(cohort.with_features(["age", "monocytes"]).truth.log_risk) == cohort.n
    assert pickle.loads(pickle.dumps(part)).truth.log_risk.equals(part.truth.log_risk)
    shorter = gw.Cohort.from_frame(
        cohort.frame.iloc[:200], cohort.outcome, features=["age"], **cohort.metadata
    )
    assert (shorter.truth.log_risk.index == shorter.frame.index).all()
    assert gw.load_cohort("made-up-aml").truth is None


def test_what_hospitals_would_send_reads_back_to_the_same_patients(by_hospital):
    "Every habit: texts, then the mapping, then the dictionary, then the values of the cohort."
    cohort, _ = by_hospital
    book, cohort = dictionary("mds"), cohort.rows(np.arange(300))
    plain = gw.load_cohort("virtual-mds", n=6_000, seed=4).rows(np.arange(300))
    for habit in HABITS:
        sent = gw.hospital_exports(plain, habits=[habit])["all"]
        assert all(isinstance(cell, str) for cell in sent.table.to_numpy().ravel())
        mapping = gw.Mapping(
            disease="mds",
            columns=_columns(sent.mapping),
            id=sent.mapping["id"],
            decimal=sent.mapping["decimal"],
            date_format=sent.mapping["date_format"],
            missing=tuple(sent.mapping["missing"]),
        )
        assert not mapping.faults(list(sent.table.columns))
        applied = mapping.apply(sent.table.replace("", np.nan), mapping.decimal)
        frame = canonical(applied.frame, book, units=applied.units).frame
        for one in book:
            if one.name in plain.frame and one.name in frame:
                _same(frame[one.name].to_numpy(), plain.frame[one.name].to_numpy(), one, habit.name)
    assert len(gw.hospital_exports(cohort)) == 3


def _columns(told):
    "Columns of a mapping file as objects."
    from genomed_workbench.intake.mapping import Column

    return {name: Column(**one) for name, one in told["columns"].items()}


def _same(found, wanted, variable, habit):
    "Equal up to what a laboratory writes."
    if variable.kind in ("level", "text"):
        assert (
            pd.Series(found).fillna("").astype(str)
            == pd.Series(wanted).astype(object).fillna("").astype(str)
        ).all(), (habit, variable.name)
    elif variable.kind != "date":
        found, wanted = found.astype(float), wanted.astype(float)
        assert (np.isnan(found) == np.isnan(wanted)).all(), (habit, variable.name)
        assert np.allclose(found, wanted, rtol=0.003, atol=0.06, equal_nan=True), (
            habit,
            variable.name,
        )


def test_identifiers_are_sent_only_when_asked_for(by_hospital):
    cohort = by_hospital[0].rows(np.arange(100))
    assert not any(
        {"name", "date_of_birth", "record_number"} & set(one.table)
        for one in gw.hospital_exports(cohort).values()
    )
    for one in gw.hospital_exports(cohort, identifying=True).values():
        assert {"name", "date_of_birth", "record_number"} <= set(one.table) and one.mapping[
            "columns"
        ]["name"]["ignore"]
    with pytest.raises(gw.CohortError, match="only virtual patients"):
        gw.hospital_exports(
            gw.Cohort.from_frame(cohort.frame, cohort.outcome, features=["age"], name="real")
        )


def test_an_option_that_does_not_exist_is_named_with_the_nearest_one():
    import genomed_workbench as gw
    from genomed_workbench.data.problems import CohortError

    with pytest.raises(CohortError, match=r"no option hospital=3. Did you mean 'hospitals'"):
        gw.load_cohort("virtual-mds", n=50, hospital=3)
