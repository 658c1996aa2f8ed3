"""Does an effect last? The federated Schoenfeld test against R's cox.zph and the pooled table, and
what hospitals release for it.
"""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import measure

import genomed_workbench as gw
from genomed_workbench.analytics.proportional_hazards import (
    SCHOENFELD,
    leaving_told,
    residuals_told,
)
from genomed_workbench.federation.app import QueryResult
from genomed_workbench.federation.sites import Site
from genomed_workbench.statistics.cox import RiskOrder, cox_terms
from genomed_workbench.statistics.schoenfeld import (
    common_clock,
    effects_by_period,
    grouped_leaving,
    proportionality,
    weighted_terms,
)

ORACLE = Path(__file__).parent / "oracles" / "schoenfeld"
FEATURES = ["age", "hemoglobin", "mutated"]


def patients() -> gw.Cohort:
    "The made-up patients of the oracle, times rounded to tenths: many ties."
    frame = pd.read_csv(ORACLE / "patients.csv")
    return gw.Cohort.from_frame(
        frame,
        gw.Survival("time", "event", unit="years"),
        site="site",
        features=FEATURES,
        name="made-up patients",
        virtual=True,
    )


def expected_of_R(strata: str, ties: str, transform: str) -> pd.DataFrame:
    "The table of cox.zph."
    table = pd.read_csv(ORACLE / "cox_zph.csv")
    return table[
        (table.ties == ties) & (table.strata == strata) & (table["transform"] == transform)
    ].set_index("feature")


@pytest.mark.parametrize("transform", ["identity", "log", "km", "rank"])
@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_equals_cox_zph_of_R(ties, transform):
    """Oracle: cox.zph of R's survival 3.5.3 (score test), tests/oracles/schoenfeld/make.R, hospitals
    as strata; each feature and GLOBAL.
    """
    federation = gw.Federation.by_site(patients(), test_share=0.0)
    run = gw.federate(federation, gw.CoxPH(ties=ties, disclosure="simulation"), progress=False)
    found = gw.check_proportional(
        federation, run.learner, transform=transform, progress=False
    ).table
    expected = expected_of_R("site", ties, transform).loc[found.index]
    measure(f"Schoenfeld test - cox.zph of R, {ties}", found.chi2, expected.chi2, 1e-6)
    measure(f"Schoenfeld p - cox.zph of R, {ties}", found.p, expected.p, 1e-6)
    assert (found.df == expected.df).all()


@pytest.mark.parametrize("transform", ["identity", "log", "km", "rank"])
@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_one_table_equals_cox_zph_of_R(ties, transform):
    "Oracle: cox.zph without strata; the same functions on one table."
    cohort = patients()
    model = gw.CoxPH(ties=ties).fit(cohort.X, cohort.y)
    block = model.prepare(model.encoding_.transform(cohort.X), model.target(cohort.y))
    order = block.order
    if transform in ("km", "rank"):
        clock = common_clock(
            [grouped_leaving(cohort.time, cohort.event, 1)], [cohort.n], transform, exact=True
        )
        g = np.interp(order.times, *clock)
    else:
        g = np.log(order.times) if transform == "log" else order.times
    sums, variances = weighted_terms(
        block.X, order, model.beta_, np.column_stack([np.ones(len(g)), g, g**2]), ties
    )
    found = proportionality(FEATURES, sums[:2], variances)
    measure(
        f"Schoenfeld test, one table - cox.zph of R, {ties}",
        found.chi2,
        expected_of_R("none", ties, transform).loc[found.index].chi2,
        1e-6,
    )


def test_scaled_residuals_by_period_equal_R():
    "Oracle: means of cox.zph(...)$y by period (R's survival 3.5.3, make.R)."
    cohort = patients()
    model = gw.CoxPH().fit(cohort.X, cohort.y)
    block = model.prepare(model.encoding_.transform(cohort.X), model.target(cohort.y))
    edges = np.array([0, 0.5, 1, 2, np.inf])
    inside = (
        (block.order.times[:, None] > edges[:-1]) & (block.order.times[:, None] <= edges[1:])
    ).astype(float)
    sums, variances = weighted_terms(
        block.X, block.order, model.beta_, np.column_stack([np.ones(len(inside)), inside])
    )
    counts = block.order.tied @ inside
    found = effects_by_period(
        FEATURES, model.beta_, variances[0], int(counts.sum()), sums[1:], counts, edges
    )
    expected = pd.read_csv(ORACLE / "periods.csv")
    assert counts.tolist() == expected.events.tolist()
    mine = found.coef.to_numpy().reshape(3, 4).T / model.encoding_.sd
    measure("scaled Schoenfeld residuals by period - R", mine, expected[FEATURES], 1e-6)


@pytest.mark.parametrize("transform", ["identity", "log"])
@pytest.mark.parametrize("name", ["leukemia-nw-england", "ipssm-study"])
def test_equals_the_pooled_table(name, transform, cohort_of):
    "Identity: the sums of all hospitals are the sums of one table with the hospitals as strata."
    cohort = cohort_of(name)
    federation = (
        gw.Federation.by_site(cohort, small="merge", min_patients=30)
        if cohort.site
        else gw.Federation.split(cohort, (45, 20, 15, 10, 10), test_share=0.1)
    )
    run = gw.federate(federation, gw.CoxPH(penalty=0.001), progress=False)
    found = gw.check_proportional(federation, run.learner, transform=transform, progress=False)
    assert not found.left_out
    beta, residuals, variances = run.learner.beta_, 0.0, 0.0
    for site in federation.sites.values():
        X, y = site.table(site.train_rows)
        order = RiskOrder.of(y["time"], y["event"])
        g = np.log(order.times) if transform == "log" else order.times
        r, v = weighted_terms(
            run.learner.encoding_.transform(X)[order.rows],
            order,
            beta,
            np.column_stack([np.ones(len(g)), g, g**2]),
        )
        residuals, variances = residuals + r[:2], variances + v
    pooled = proportionality(list(run.learner.encoding_.features), residuals, variances)
    measure("federated Schoenfeld test - pooled", found.table.chi2, pooled.chi2, 1e-8)


def test_sums_of_weights_are_a_loop_over_events():
    "Oracle: the textbook's loop over events, one at a time, Efron's share included."
    rng = np.random.default_rng(1)
    X, time, event = (
        rng.normal(size=(50, 2)),
        np.ceil(rng.exponential(5, 50)),
        rng.integers(0, 2, 50),
    )
    order, beta = RiskOrder.of(time, event), np.array([0.5, -0.3])
    sums, variances = weighted_terms(X[order.rows], order, beta, np.sqrt(order.times)[:, None])
    w, u, V = np.exp(X @ beta), 0.0, 0.0
    for t in np.unique(time[event == 1]):
        risk, dead = time >= t, (time == t) & (event == 1)
        u = u + np.sqrt(t) * X[dead].sum(axis=0)
        for k in range(dead.sum()):
            share = w * risk - k / dead.sum() * w * dead
            m = share @ X / share.sum()
            u, V = (
                u - np.sqrt(t) * m,
                V + np.sqrt(t) * ((X * share[:, None]).T @ X / share.sum() - np.outer(m, m)),
            )
    np.testing.assert_allclose(sums[0], u, atol=1e-11)
    np.testing.assert_allclose(variances[0], V, rtol=1e-10)


def test_a_penalty_does_not_pretend_that_effects_fade():
    """The plain score of coefficients held back by a ridge is not zero; the efficient score takes that
    out: near the test without penalty.
    """
    cohort = patients()
    federation = gw.Federation.by_site(cohort, test_share=0.0)
    plain, held = (
        gw.check_proportional(
            federation,
            gw.federate(federation, gw.CoxPH(penalty=p), progress=False).learner,
            progress=False,
        ).table
        for p in (0.0, 0.05)
    )
    assert (held.chi2 / plain.chi2 - 1).abs()[["mutated", "GLOBAL"]].max() < 0.15


@pytest.mark.parametrize("transform", ["km", "rank"])
def test_the_rough_clock_is_near_the_exact_one(transform):
    "Stated error: with groups of five events a chi-square moves by less than a tenth."
    federation = gw.Federation.by_site(patients(), test_share=0.0)
    learners = [
        gw.federate(federation, gw.CoxPH(disclosure=d), progress=False).learner
        for d in ("protected", "simulation")
    ]
    rough, exact = (
        gw.check_proportional(federation, m, transform=transform, progress=False).table.chi2
        for m in learners
    )
    assert 0 < (rough / exact - 1).abs()[["age", "mutated", "GLOBAL"]].max() < 0.1


def test_under_the_null_p_values_are_even():
    "Made-up hospitals with proportional hazards: the test rejects at 5 % about as often as it says (60 federations)."
    rng = np.random.default_rng(7)
    p = []
    for _ in range(60):
        X = rng.normal(size=(240, 2))
        death, lost = rng.exponential(2 * np.exp(-0.7 * X[:, 0])), rng.uniform(0.2, 6, 240)
        time, event = np.minimum(death, lost), death <= lost
        r, v, beta = 0.0, 0.0, np.zeros(2)
        orders = [(X[k::3], RiskOrder.of(time[k::3], event[k::3])) for k in range(3)]
        for _ in range(6):
            terms = [cox_terms(x[o.rows], o, beta) for x, o in orders]
            beta = beta + np.linalg.solve(sum(t[2] for t in terms), sum(t[1] for t in terms))
        for x, o in orders:
            g = np.log(o.times)
            a, b = weighted_terms(x[o.rows], o, beta, np.column_stack([np.ones(len(g)), g, g**2]))
            r, v = r + a[:2], v + b
        p.append(proportionality(["a", "b"], r, v).p["GLOBAL"])
    assert np.mean(np.array(p) < 0.05) < 0.15 and 0.35 < np.mean(p) < 0.65


# What leaves a hospital


def memory_of_a_node() -> SimpleNamespace:
    "A node's memory, as Flower keeps it."
    return SimpleNamespace(state=SimpleNamespace(config_records={}))


def hospital(cohort: gw.Cohort, rows: np.ndarray | None = None) -> Site:
    "A hospital with these training rows."
    return Site("A", cohort, np.arange(cohort.n) if rows is None else rows, np.empty(0, int), 0)


def asked(
    cohort: gw.Cohort,
    model: gw.CoxPH,
    rows: np.ndarray,
    transform: str = "log",
    edges=(0.0, 0.7, 2.0, np.inf),
) -> QueryResult:
    "The answer of a hospital with these training rows."
    site, empty = hospital(cohort, rows), np.empty(0)
    arrays = {
        "beta": model.beta_,
        "clock_times": empty,
        "clock_values": empty,
        "edges": np.array(edges),
    }
    return residuals_told(
        site,
        model,
        arrays,
        {"encoding": model.encoding_.to_json(), "transform": transform},
        memory_of_a_node(),
    )


def test_as_many_patients_stand_behind_each_number_as_declared():
    """Leave out one patient after the other: a released number must change for at least as many
    patients as are declared.
    """
    cohort = patients()
    model = gw.CoxPH().fit(cohort.X, cohort.y)
    rows = np.arange(45)
    whole = asked(cohort, model, rows)
    assert set(whole.released) <= set(SCHOENFELD)
    moved = {k: np.zeros(r.value.shape, int) for k, r in whole.released.items()}
    for i in rows:
        without = asked(cohort, model, rows[rows != i])
        for k, r in without.released.items():
            moved[k] += np.abs(r.value - whole.released[k].value) > 1e-12
    for k, r in whole.released.items():
        behind = moved[k][np.abs(r.value) > 1e-12]
        assert behind.min(initial=99) >= r.patients >= 5, (
            f"{k}: {behind.min()} patients behind a number, declared {r.patients}"
        )


def test_few_events_say_nothing():
    cohort = patients()
    model = gw.CoxPH().fit(cohort.X, cohort.y)
    few = np.concatenate(
        [np.flatnonzero(cohort.event > 0)[:4], np.flatnonzero(cohort.event == 0)[:20]]
    )
    assert all((r.value == 0).all() for r in asked(cohort, model, few).released.values())
    open_ = gw.CoxPH(disclosure="simulation").imported(model.encoding_, model.exported())
    assert asked(cohort, open_, few).released["all_events"].value == 4


def test_a_withheld_period_cannot_be_found_by_subtraction():
    "The sums of all periods add up to the sum over all events, so withheld periods hold at least five events together."
    cohort = patients()
    model = gw.CoxPH().fit(cohort.X, cohort.y)
    y = model.target(cohort.y)
    at = np.sort(y["time"][y["event"]])
    released = asked(
        cohort, model, np.arange(cohort.n), edges=(0.0, 1.0, 2.0, at[-4], np.inf)
    ).released
    hidden = released["all_events"].value[0] - released["period_events"].value.sum()
    assert (at > at[-4]).sum() < 5 and released["period_events"].value[-1] == 0 and hidden >= 5
    assert (released["period_residuals"].value[-1] == 0).all()


def test_a_second_clock_is_not_answered():
    "Two answers with two clocks could be compared: a hospital answers once a run."
    cohort = patients()
    model = gw.CoxPH().fit(cohort.X, cohort.y)
    site, memory, empty = hospital(cohort), memory_of_a_node(), np.empty(0)
    state = {
        "beta": model.beta_,
        "clock_times": empty,
        "clock_values": empty,
        "edges": np.array([0.0]),
    }
    config = {"encoding": model.encoding_.to_json(), "transform": "log"}
    first = residuals_told(site, model, state, config, memory)
    again = residuals_told(site, model, state, config, memory)
    assert (first.released["residuals"].value == again.released["residuals"].value).all()
    with pytest.raises(gw.DisclosureError, match="in this run already"):
        residuals_told(site, model, state, config | {"transform": "identity"}, memory)


def test_a_clock_that_singles_out_one_event_gets_nothing():
    cohort = patients()
    model = gw.CoxPH().fit(cohort.X, cohort.y)
    site = hospital(cohort)
    last = np.sort(cohort.time[cohort.event > 0])[-2:]
    clock = {
        "clock_times": np.array([0.0, last[0], last[1], 99.0]),
        "clock_values": np.array([0.0, 0.0, 1.0, 1.0]),
    }
    told = residuals_told(
        site,
        model,
        {"beta": model.beta_, "edges": np.array([0.0]), **clock},
        {"encoding": model.encoding_.to_json(), "transform": "km"},
        memory_of_a_node(),
    )
    assert (told.released["residuals"].value == 0).all() and told.released["all_events"].value[
        0
    ] == 0


def test_counts_for_the_clock_are_groups():
    "Between two released times at least five events, and none or at least five censored."
    cohort, model = patients(), gw.CoxPH()
    told = leaving_told(hospital(cohort), model, {}, {}, memory_of_a_node()).released
    events = np.diff(told["left_events"].value, prepend=0)
    lost = np.diff(told["left"].value, prepend=0) - events
    assert (
        len(events) > 3
        and events.min() >= 5
        and ((lost == 0) | (lost >= 5)).all()
        and told["left"].patients >= 5
    )


# In words


def test_results_and_refusals_are_said_in_words():
    cohort = patients()
    federation = gw.Federation.by_site(cohort)
    run = gw.federate(federation, gw.CoxPH(), progress=False)
    found = gw.check_proportional(federation, run.learner, progress=False)
    assert (
        "do all 3 effects last?" in repr(found)
        and found.disclosed["fewest_patients"].dropna().min() >= 5
    )
    assert "log hazard ratio" in found.plot(["mutated"]).alt.lower()
    with pytest.raises(
        ValueError, match=r"features='mutated': expected a list of features, such as \['mutated'\]"
    ):
        found.plot("mutated")
    assert list(found.table.index) == [*FEATURES, "GLOBAL"] and list(found.table.columns) == [
        "chi2",
        "df",
        "p",
    ]
    for learner, options, words in (
        (gw.CoxPH(), {}, "fitted CoxPH"),
        (gw.CoxPH(baseline="shared").fit(cohort.X, cohort.y), {}, "per-site"),
        (run.learner, {"transform": "square"}, "expected one of"),
        (run.learner, {"periods": -1}, "whole number"),
    ):
        with pytest.raises(ValueError, match=words):
            gw.check_proportional(federation, learner, progress=False, **options)


def test_a_death_at_time_zero_has_no_logarithm():
    X = pd.DataFrame({"f": np.random.default_rng(0).normal(size=40)})
    y = np.zeros(40, dtype=[("event", bool), ("time", float)])
    y["time"], y["event"] = np.arange(40), True
    cohort = gw.Cohort.from_frame(
        X.assign(t=y["time"] + 1, e=y["event"]), gw.Survival("t", "e"), virtual=True
    )
    federation = gw.Federation.split(cohort, (60, 40), test_share=0.0)
    cohort.frame.iloc[0, cohort.frame.columns.get_loc("t")] = 0.0
    run = gw.federate(federation, gw.CoxPH(), progress=False)
    with pytest.raises(gw.SiteError, match="time 0"):
        gw.check_proportional(federation, run.learner, periods=0, progress=False)
    assert (
        gw.check_proportional(
            federation, run.learner, transform="identity", periods=0, progress=False
        ).table.df["GLOBAL"]
        == 1
    )
