"""Life tables: curves, medians, tests and bounds from counts.

Oracles: R's `survival` 3.5 (tests/oracles/survival, made by make.R), lifelines, and brute force
over arrangements of patients.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import measure
from lifelines import AalenJohansenFitter, KaplanMeierFitter, NelsonAalenFitter
from lifelines.statistics import multivariate_logrank_test

from genomed_workbench.statistics.describe import (
    quantile_of_counts,
    quantile_within,
    ranks_differ,
    shares_differ,
)
from genomed_workbench.statistics.life_table import (
    LifeTable,
    Within,
    added,
    cumulative_hazard,
    cumulative_incidence_curve,
    hazard_bounds,
    incidence_bounds,
    life_table,
    log_rank_test,
    median_of,
    observed_minus_expected,
    survival_bounds,
    survival_curve,
)

ORACLE = Path(__file__).parent / "oracles" / "survival"
CAUSES = {"none": 0, "relapse": 1, "death": 2}


@pytest.fixture(scope="module")
def patients() -> pd.DataFrame:
    return pd.read_csv(ORACLE / "patients.csv")


def tables(p: pd.DataFrame, by: str) -> list[LifeTable]:
    return [life_table(g.months.to_numpy(), g.event.to_numpy(), 1) for _, g in p.groupby(by)]


def test_curves_are_those_of_r(patients):
    "Counts, survival, Greenwood's error, log-log interval, cumulative hazard and its error of R's survfit."
    r = pd.read_csv(ORACLE / "curve.csv")
    table = added(tables(patients, "hospital"))
    assert (
        (table.times == r.time).all()
        and (table.at_risk == r.at_risk).all()
        and (table.all_events == r.events).all()
        and (table.censored == r.censored).all()
    )
    curve, hazard = survival_curve(table), cumulative_hazard(table)
    inside = (curve.estimate > 0).to_numpy()
    for ours, theirs, bar in (
        ("estimate", "survival", 1e-12),
        ("se", "se", 1e-12),
        ("low", "low", 1e-10),
        ("high", "high", 1e-10),
    ):
        measure(f"Kaplan-Meier against R: {ours}", curve[ours][inside], r[theirs][inside], bar)
    measure("Nelson-Aalen against R", hazard[["estimate", "se"]], r[["hazard", "hazard_se"]], 1e-12)


def test_medians_are_those_of_r(patients):
    r = pd.read_csv(ORACLE / "medians.csv")
    found = [median_of(t) for t in tables(patients, "group")]
    assert np.array_equal(
        np.array(found), r[["median", "0.95LCL", "0.95UCL"]].to_numpy(), equal_nan=True
    )


def test_median_on_a_flat_stretch_is_its_middle():
    """By hand. Deaths at 1, 2, 3, 4: the curve is 1/2 from 2 to 3, its middle is 2.5, as R's
    `quantile.survfit` has it. Two deaths and then censoring only: no death ends the stretch, and
    the median is where it begins.
    """
    ended = life_table(np.array([1.0, 2, 3, 4]), np.array([1, 1, 1, 1]))
    open_end = life_table(np.array([1.0, 2, 3, 4]), np.array([1, 1, 0, 0]))
    assert (median_of(ended)[0], median_of(open_end)[0]) == (2.5, 2.0)


def test_tests_are_those_of_r(patients):
    "Plain and stratified log-rank, three groups; and four hospitals."
    r = pd.read_csv(ORACLE / "tests.csv").set_index("name")
    inside = [observed_minus_expected(tables(h, "group")) for _, h in patients.groupby("hospital")]
    found = {
        "plain": log_rank_test(*observed_minus_expected(tables(patients, "group"))),
        "hospitals": log_rank_test(*observed_minus_expected(tables(patients, "hospital"))),
        "stratified": log_rank_test(sum(d for d, _ in inside), sum(v for _, v in inside)),
    }
    for name, (chi2, free, p) in found.items():
        assert free == r.df[name]
        measure(
            f"log-rank against R: {name}",
            [chi2, p],
            r.loc[name, ["chi2", "p"]].astype(float),
            1e-10,
        )


def test_cumulative_incidence_is_that_of_r(patients):
    """Aalen-Johansen estimate of R's multi-state survfit; its infinitesimal jackknife is another
    variance, which ours must be close to.
    """
    r = pd.read_csv(ORACLE / "incidence.csv")
    table = life_table(patients.months.to_numpy(), patients.cause.map(CAUSES).to_numpy())
    for cause, name in ((1, "relapse"), (2, "death")):
        curve = cumulative_incidence_curve(table, cause)
        measure(f"Aalen-Johansen against R: {name}", curve.estimate, r[name], 1e-12)
        early = (table.at_risk > 30) & (table.times > 5)
        assert np.allclose(curve.se[early], r[f"{name}_ij"][early], rtol=0.03)


@pytest.mark.parametrize("seed", range(3))
def test_curves_are_those_of_lifelines(seed):
    rng = np.random.default_rng(seed)
    time, event, group = (
        np.ceil(rng.exponential(12, 150)),
        rng.integers(0, 3, 150),
        rng.integers(0, 3, 150),
    )
    table, seen = life_table(time, event, 2), event > 0
    measure(
        "Kaplan-Meier against lifelines",
        survival_curve(table).estimate,
        KaplanMeierFitter().fit(time, seen).predict(table.times),
        1e-12,
    )
    reference = (
        NelsonAalenFitter(nelson_aalen_smoothing=False)
        .fit(time, seen)
        .cumulative_hazard_.iloc[:, 0]
        .reindex(table.times)
    )
    measure("Nelson-Aalen against lifelines", cumulative_hazard(table).estimate, reference, 1e-12)
    r = multivariate_logrank_test(time, group, seen)
    chi2, _, p = log_rank_test(
        *observed_minus_expected([life_table(time[group == g], seen[group == g]) for g in range(3)])
    )
    measure("log-rank against lifelines", [chi2, p], [r.test_statistic, r.p_value], 1e-10)
    untied = time + 1e-4 * rng.permutation(150)
    theirs = AalenJohansenFitter().fit(untied, event, 1)
    mine = cumulative_incidence_curve(life_table(untied, event, 2), 1)
    measure(
        "Aalen-Johansen against lifelines",
        mine.estimate,
        theirs.cumulative_density_.iloc[1:, 0],
        1e-12,
    )


def test_variance_of_the_incidence_is_that_of_the_multinomial():
    """Brute force: draw the causes at each time anew from their hazards and look at the spread of the
    incidence (to first order, so large numbers at risk).
    """
    rng = np.random.default_rng(1)
    table = LifeTable(
        np.array([1.0, 2.0, 3.0]),
        np.array([[400.0, 300.0, 200.0], [300.0, 500.0, 100.0]]),
        np.array([500.0, 600.0, 0.0]),
        4000.0,
    )
    curve, n = cumulative_incidence_curve(table, 1), table.at_risk.astype(int)
    hazards = table.events / table.at_risk
    drawn = []
    for _ in range(4000):
        h = np.array(
            [rng.multinomial(m, [*hz, 1 - hz.sum()])[:2] / m for m, hz in zip(n, hazards.T)]
        ).T
        free = np.append(1.0, np.cumprod(1 - h.sum(axis=0)))[:3]
        drawn.append(np.cumsum(free * h[0]))
    assert np.allclose(np.std(drawn, axis=0), curve.se, rtol=0.04)


def hidden(seed: int, n: int = 25) -> tuple[np.ndarray, np.ndarray, list[Within]]:
    """Patients, and what is told of them: intervals of another width for each of two hospitals, at the
    second one fate told with another.
    """
    rng = np.random.default_rng(seed)
    time, fate, site, known = (
        rng.exponential(2, n).round(1) + 0.1,
        rng.choice([0, 1, 2], n),
        rng.integers(0, 2, n),
        [],
    )
    for s, width in enumerate((0.6, 1.3)):
        low = np.maximum(np.ceil(time / width - 1e-9) - 1, 0) * width
        sets = [(0,), (1,), (2,)] if s == 0 else [(0, 1), (2,)]
        for fates in sets:
            here = (site == s) & np.isin(fate, fates)
            few = int((fate[here] == 1).sum())
            numbers = (
                {0: (max(here.sum() - few - 1, 0), int(here.sum())), 1: (0, few + 1)}
                if len(fates) == 2
                else {fates[0]: (int(here.sum()),) * 2}
            )
            known.append(Within(low[here], low[here] + width, numbers))
    return time, fate, known


@pytest.mark.parametrize("seed", range(40))
def test_the_truth_lies_between_the_bounds(seed):
    """Tied times, wide intervals, fates that are not told apart: the curves of the patients themselves
    are never outside.
    """
    time, fate, known = hidden(seed)
    exact = life_table(time, fate, 2)
    at, n = exact.times, float(len(time))
    for curve, (low, high) in (
        (survival_curve(exact), survival_bounds(at, known, n, (1, 2))),
        (cumulative_hazard(exact), hazard_bounds(at, known, n, (1, 2))),
        *(
            (cumulative_incidence_curve(exact, c), incidence_bounds(at, known, n, c))
            for c in (1, 2)
        ),
    ):
        assert (low <= curve.estimate + 1e-9).all() and (curve.estimate <= high + 1e-9).all()


def test_bounds_close_where_nothing_is_open():
    "Intervals so narrow that each holds one time: both bounds are the curve."
    rng = np.random.default_rng(0)
    time, event = rng.permutation(60) + 1.0, rng.integers(0, 2, 60)
    known = [
        Within(time[event == f] - 0.5, time[event == f], {f: ((event == f).sum(),) * 2})
        for f in (0, 1)
    ]
    exact = survival_curve(life_table(time, event))
    for bound in survival_bounds(exact.time.to_numpy(), known, 60.0):
        measure("bounds of a curve where single times are known", bound, exact.estimate, 1e-12)


def test_intervals_are_classical_life_tables():
    """Cutler and Ederer: at risk less half of those last seen. Worked by hand: 126 patients, 47 dead
    and 19 lost in the first year, 5 and 17 in the second.
    """
    table = LifeTable(
        np.array([1.0, 2.0]), np.array([[47.0, 5.0]]), np.array([19.0, 17.0]), 126.0, moments=False
    )
    assert table.exposed.tolist() == [116.5, 51.5]
    assert survival_curve(table).estimate.round(2).tolist() == [0.60, 0.54]


def test_nobody_and_everybody():
    nothing = survival_curve(life_table(np.array([1.0, 2.0]), np.array([0, 0])))
    assert (nothing.estimate == 1).all() and nothing.low.isna().all()
    assert np.isnan(median_of(life_table(np.array([1.0, 2.0]), np.array([0, 0])))).all()
    assert survival_curve(life_table(np.array([1.0, 1.0]), np.array([1, 1]))).estimate.tolist() == [
        0.0
    ]
    assert np.isnan(
        log_rank_test(
            *observed_minus_expected([life_table(np.array([1.0]), np.array([0]), 1)] * 2)
        )[2]
    )


@pytest.mark.parametrize("q", [0, 0.1, 0.25, 0.5, 0.9, 1])
def test_quantiles_are_those_of_pandas_and_lie_inside_their_cells(q):
    rng = np.random.default_rng(int(100 * q))
    x = pd.Series(rng.lognormal(2, 1, 203).round(1))
    values, counts = np.unique(x, return_counts=True)
    assert quantile_of_counts(values, counts, q) == pytest.approx(x.quantile(q), abs=1e-12)
    edges = np.array([0, 2, 5, 7, 11, 20, 50, 1e4])
    middle, least, most = quantile_within(edges[:-1], edges[1:], np.histogram(x, edges)[0], q)
    assert least <= x.quantile(q) <= most and least <= middle <= most


def test_tests_of_counts_are_those_of_scipy():
    from scipy import stats

    rng = np.random.default_rng(0)
    a = [rng.integers(0, 6, n) for n in (40, 25, 31)]
    assert ranks_differ(np.array([np.bincount(v, minlength=6) for v in a])) == pytest.approx(
        stats.kruskal(*a).pvalue, rel=1e-10
    )
    small = np.array([[9, 1], [3, 4]])
    assert shares_differ(small) == pytest.approx(stats.fisher_exact(small).pvalue, rel=1e-12)
    assert shares_differ(10 * small) == pytest.approx(
        stats.chi2_contingency(10 * small).pvalue, rel=1e-12
    )
