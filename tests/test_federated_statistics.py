"""Federated statistics: equal to the pooled ones where they must be, between two bounds where they
cannot, and no number about a few patients.

Oracles: lifelines, the package tableone, pandas, R's `survival` (tests/oracles/survival, made by
make.R), the patients in one place, and the release itself, asked again after each patient was left
out or changed.
"""

import itertools
import json
import pickle
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import MEASURED, as_cohort, measure
from flwr.app import ConfigRecord, Context, RecordDict
from lifelines import AalenJohansenFitter, KaplanMeierFitter, NelsonAalenFitter
from lifelines.statistics import multivariate_logrank_test

import genomed_workbench as gw
from genomed_workbench.analytics.asking import (
    check_differencing,
    disclosable_levels,
    fewest_between,
    merge_cells,
    tell_names,
)
from genomed_workbench.analytics.descriptive import tell_patients, tell_products
from genomed_workbench.analytics.survival_curves import (
    lines_received,
    tell_strata,
    tell_times,
    time_edges,
)
from genomed_workbench.statistics.groups import groups
from genomed_workbench.statistics.life_table import (
    cumulative_incidence_curve,
    life_table,
    log_rank_test,
    median_of,
    observed_minus_expected,
    survival_curve,
)

ORACLE = Path(__file__).parent / "oracles" / "survival"
LEAST = 5
OPEN = {"disclosure": "simulation", "progress": False}
QUIET = {"progress": False}


def frame_of(n: int, seed: int = 0) -> pd.DataFrame:
    """Virtual patients: numbers, codes, categories, missing values, one cause of death rarer than the
    other; times in tenths of years, many tied.
    """
    rng = np.random.default_rng(seed)
    f = pd.DataFrame(
        {
            "age": rng.normal(68, 11, n).round(),
            "wbc": rng.lognormal(2, 1.2, n).round(1),
            "ferritin": np.where(rng.random(n) < 0.25, np.nan, rng.lognormal(6, 1, n).round()),
            "sex": rng.choice(["female", "male"], n),
            "TP53": rng.binomial(1, 0.3, n).astype(float),
            "who": rng.choice(["A", "B", "C", "D"], n, p=[0.45, 0.3, 0.2, 0.05]),
        }
    )
    f.loc[rng.integers(0, n, 2), "wbc"] = np.nan
    f["years"] = rng.exponential(np.where(f.TP53 == 1, 1.5, 3.5)).round(1) + 0.1
    f["died"] = rng.binomial(1, 0.7, n)
    f["cause"] = np.where(f.died == 1, rng.choice(["relapse", "infection"], n, p=[0.7, 0.3]), None)
    return f


FEATURES = ["age", "wbc", "ferritin", "sex", "TP53", "who"]


def cohort_from(frame: pd.DataFrame, site=None) -> gw.Cohort:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gw.CohortWarning)
        return gw.Cohort.from_frame(
            frame if site is None else frame.assign(hospital=site),
            gw.Survival("years", "died"),
            site=None if site is None else "hospital",
            features=FEATURES,
            name="virtual patients",
            virtual=True,
        )


def federation_from(
    frame: pd.DataFrame, sites=("A", "B", "C", "D"), shares=(0.4, 0.3, 0.2, 0.1), **options
) -> gw.Federation:
    where = np.random.default_rng(5).choice(sites, len(frame), p=shares)
    return gw.Federation.by_site(cohort_from(frame, where), small="keep", **options)


@pytest.fixture(scope="module")
def made_up() -> pd.DataFrame:
    return frame_of(500, 3)


# Equal to the pooled statistics


@pytest.mark.parametrize(
    "name", ["leukemia-nw-england", "ipssm-study", "transplant-4-hospitals", "made-up"]
)
def test_survival_is_the_pooled_one(name, federation_of, made_up):
    """Counts as integers, Kaplan-Meier and Nelson-Aalen to 1e-12, medians exactly: against lifelines
    on all patients in one place.
    """
    federation = federation_from(made_up) if name == "made-up" else federation_of(name)
    cohort = federation.cohort
    time, event = cohort.time, cohort.event.astype(int)
    curve, hazard = federation.kaplan_meier(**OPEN).table, federation.nelson_aalen(**OPEN).table
    pooled = life_table(time, event)
    assert (
        curve[["at_risk", "events", "censored"]].to_numpy()
        == np.column_stack([pooled.at_risk, pooled.all_events, pooled.censored])
    ).all()
    measure(
        "federated Kaplan-Meier against lifelines",
        curve.estimate,
        KaplanMeierFitter().fit(time, event).predict(curve.time),
        1e-12,
    )
    measure(
        "federated Nelson-Aalen against lifelines",
        hazard.estimate,
        NelsonAalenFitter(nelson_aalen_smoothing=False)
        .fit(time, event)
        .cumulative_hazard_.iloc[:, 0]
        .reindex(hazard.time),
        1e-12,
    )
    found = federation.median_survival(**OPEN).table.iloc[0]
    assert (
        np.array_equal(
            found[["median", "low", "high"]].to_numpy(float), median_of(pooled), equal_nan=True
        )
        and found.n == cohort.n
    )


@pytest.mark.parametrize(
    "name,by", [("leukemia-nw-england", "sex"), ("ipssm-study", "sex"), ("made-up", "who")]
)
def test_log_rank_is_the_pooled_one(name, by, federation_of, made_up):
    "Plain: lifelines. Stratified by hospital, from protected sums: the pooled sums, stratum by stratum."
    federation = federation_from(made_up) if name == "made-up" else federation_of(name)
    frame, own = federation.cohort.frame, federation.cohort.outcome
    r = multivariate_logrank_test(frame[own.time], frame[by], frame[own.event])
    measure(
        "federated log-rank against lifelines",
        federation.log_rank(by, **OPEN).table[["chi2", "p"]].iloc[0],
        [r.test_statistic, r.p_value],
        1e-10,
    )
    levels, sums = sorted(frame[by].unique()), []
    for rows in federation.members.values():
        part = frame.iloc[rows]
        sums.append(
            observed_minus_expected(
                [
                    life_table(
                        part[own.time][part[by] == v].to_numpy(),
                        part[own.event][part[by] == v].to_numpy(),
                        1,
                    )
                    for v in levels
                ]
            )
        )
    chi2, _, p = log_rank_test(sum(d for d, _ in sums), sum(v for _, v in sums))
    exact = federation.log_rank(by, stratified=True, **OPEN)
    measure(
        "federated stratified log-rank against the pooled one",
        exact.table[["chi2", "p"]].iloc[0],
        [chi2, p],
        1e-12,
    )
    if name == "ipssm-study":
        protected = federation.log_rank(by, stratified=True, **QUIET)
        measure(
            "stratified log-rank from protected sums",
            protected.table[["chi2", "p"]].iloc[0],
            [chi2, p],
            1e-12,
        )
        assert protected.disclosed.fewest_patients.min() >= LEAST


def test_tests_and_curves_are_those_of_r():
    """R's survfit and survdiff: stratified log-rank also from protected sums, medians by group with
    their intervals, cumulative incidence.
    """
    p = pd.read_csv(ORACLE / "patients.csv")
    p["cause"] = p.cause.replace("none", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gw.CohortWarning)
        cohort = gw.Cohort.from_frame(
            p,
            gw.Survival("months", "event", unit="months"),
            site="hospital",
            features=["group"],
            virtual=True,
        )
    federation, r = (
        gw.Federation.by_site(cohort),
        pd.read_csv(ORACLE / "tests.csv").set_index("name"),
    )
    for name, found in {
        "plain": federation.log_rank("group", **OPEN),
        "stratified": federation.log_rank("group", stratified=True, **QUIET),
        "hospitals": federation.log_rank("site", **OPEN),
    }.items():
        measure(
            f"federated log-rank against R: {name}",
            found.table[["chi2", "df", "p"]].iloc[0],
            r.loc[name, ["chi2", "df", "p"]].astype(float),
            1e-10,
        )
    medians = pd.read_csv(ORACLE / "medians.csv")
    assert np.array_equal(
        federation.median_survival("group", **OPEN)
        .table[["n", "events", "median", "low", "high"]]
        .to_numpy(),
        medians.iloc[:, 1:].to_numpy(),
        equal_nan=True,
    )
    incidence = (
        federation.cumulative_incidence("cause", **OPEN).table.set_index(["group", "time"]).estimate
    )
    for cause in ("relapse", "death"):
        theirs = pd.read_csv(ORACLE / "incidence.csv").set_index("time")[cause]
        measure(
            "federated cumulative incidence against R",
            incidence[cause].reindex(theirs.index),
            theirs,
            1e-12,
        )


def test_wide_intervals_are_told_by_all_and_then_exact():
    "Every cell at every hospital holds five or more: the protected table is the pooled life table, integers and all."
    frame = frame_of(2000, 1)
    found = federation_from(frame).kaplan_meier(bins=[1.0, 2.0, 4.0], **QUIET)
    pooled = life_table(
        frame.years.to_numpy(), frame.died.to_numpy(), edges=np.array([0.0, 1.0, 2.0, 4.0])
    )
    counts = found.counts["all"]
    assert counts.exact and "exact" in found.note
    assert (
        (counts.table.events == pooled.events).all()
        and (counts.table.censored == pooled.censored).all()
        and (counts.table.at_risk == pooled.at_risk).all()
    )
    measure(
        "Kaplan-Meier of intervals, protected, against the pooled one",
        found.table.estimate,
        survival_curve(pooled).estimate,
        1e-12,
    )


@pytest.mark.parametrize(
    "name,by",
    [
        ("leukemia-nw-england", None),
        ("leukemia-nw-england", "sex"),
        ("ipssm-study", "sex"),
        ("made-up", "TP53"),
        ("made-up", "site"),
        ("small", None),
    ],
)
def test_the_pooled_curve_lies_between_the_bounds(name, by, federation_of, made_up):
    federation = (
        federation_from(made_up)
        if name == "made-up"
        else federation_from(frame_of(60, 8))
        if name == "small"
        else federation_of(name)
    )
    frame, own = federation.cohort.frame, federation.cohort.outcome
    federation = gw.Federation(federation.cohort, federation.members, 0.0)
    curve, hazard, medians = (
        ask(by, **QUIET)
        for ask in (federation.kaplan_meier, federation.nelson_aalen, federation.median_survival)
    )
    assert curve.disclosed.fewest_patients.min() >= LEAST
    complete = "in no group" not in curve.note
    for name_, part in curve.table.groupby("group", sort=False):
        mine = (
            frame
            if by is None
            else frame.iloc[federation.members[name_]]
            if by == "site"
            else frame[frame[by].map(lambda v: f"{v:g}" if isinstance(v, float) else v) == name_]
        )
        if not complete:
            continue
        t, e = mine[own.time], mine[own.event]
        exact = KaplanMeierFitter().fit(t, e)
        truth = exact.predict(part.time).to_numpy()
        assert (part.least <= truth + 1e-9).all() and (truth <= part.most + 1e-9).all()
        MEASURED["protected Kaplan-Meier: farthest from the pooled curve"] = max(
            MEASURED.get("protected Kaplan-Meier: farthest from the pooled curve", 0.0),
            float(np.abs(part.estimate - truth).max()),
        )
        steps = hazard.table[hazard.table.group == name_]
        true = (
            NelsonAalenFitter(nelson_aalen_smoothing=False).fit(t, e).cumulative_hazard_.iloc[:, 0]
        )
        true = np.array([true[true.index <= x].iloc[-1] for x in steps.time])
        assert (steps.least <= true + 1e-9).all() and (true <= steps.most + 1e-9).all()
        row = medians.table.loc[name_]
        assert (
            row.least <= exact.median_survival_time_ <= row.most
            and row.least <= row["median"] <= row.most
        )


def test_an_event_without_a_cause_is_counted_and_named(made_up):
    "Identity: the incidences of all causes, the unknown one too, add up to one minus Kaplan-Meier's estimate."
    unknown = made_up.assign(cause=made_up.cause.mask(np.arange(len(made_up)) % 3 == 0))
    federation = federation_from(unknown)
    found = federation.cumulative_incidence("cause", **OPEN).at(2.0).estimate
    assert "another or unknown cause" in found.index and found["another or unknown cause"] > 0
    alive = federation.kaplan_meier(**OPEN).at(2.0).estimate.iloc[0]
    measure("incidences of all causes + survival", found.sum() + alive, 1.0, 1e-12)


@pytest.mark.parametrize("by", [None, "sex"])
def test_competing_causes_between_the_bounds(by, made_up):
    """A column that names the cause; and the same as times and events of their own, the first of which
    counts. Every patient is in one curve.
    """
    made_up = made_up.assign(
        relapsed=(made_up.cause == "relapse").astype(int),
        other=((made_up.died == 1) & (made_up.cause != "relapse")).astype(int),
    )
    federation = federation_from(made_up)
    causes = {"relapse": ("years", "relapsed"), "infection": ("years", "other")}
    by_pair = federation.cumulative_incidence(causes, by=by, **OPEN).table.set_index(
        ["group", "time"]
    )
    by_name = federation.cumulative_incidence("cause", by=by, **OPEN).table.set_index(
        ["group", "time"]
    )
    assert by_pair[["at_risk", "events"]].equals(by_name[["at_risk", "events"]].loc[by_pair.index])
    protected = federation.cumulative_incidence("cause", by=by, **QUIET)
    assert protected.disclosed.fewest_patients.min() >= LEAST
    if "in no group" not in protected.note:
        for name, part in protected.table.groupby("group"):
            truth = by_name.loc[name].estimate
            truth = np.array(
                [
                    truth[truth.index <= t].iloc[-1] if (truth.index <= t).any() else 0.0
                    for t in part.time
                ]
            )
            assert (part.least <= truth + 1e-9).all() and (truth <= part.most + 1e-9).all()
    assert protected.table.group.nunique() == (2 if by is None else 4)
    with pytest.raises(gw.FederationError, match="no column 'nothing'"):
        federation.cumulative_incidence("nothing", **QUIET)


def test_first_event_counts_and_ties_go_to_the_first_named():
    frame = frame_of(300, 2)
    rng = np.random.default_rng(0)
    frame["aml_years"], frame["aml"] = (
        np.minimum(frame.years, rng.exponential(3, 300).round(1) + 0.1),
        0,
    )
    frame["aml"] = (frame.aml_years < frame.years).astype(int) | (rng.random(300) < 0.05)
    federation = federation_from(frame)
    found = federation.cumulative_incidence(
        {"AML": ("aml_years", "aml"), "death": ("years", "died")}, **OPEN
    ).table.set_index("group")
    fate = np.where(frame.aml == 1, 1, np.where(frame.died == 1, 2, 0))
    when = np.where(
        frame.aml == 1,
        frame.aml_years,
        np.where(frame.died == 1, frame.years, np.minimum(frame.years, frame.aml_years)),
    )
    for k, name in ((1, "AML"), (2, "death")):
        measure(
            "cumulative incidence of the first event",
            found.loc[name].estimate,
            cumulative_incidence_curve(life_table(when, fate, 2), k).estimate,
            1e-12,
        )


def test_which_event_is_first_does_not_hang_on_rounding():
    """A relapse in a column of its own, at the time of death but for rounding (82.2 - 80). Oracle: the
    clean times, to the last bit.
    """
    frame = frame_of(300, 2).assign(aml=lambda f: (f.index % 3 == 0).astype(int))
    told = []
    for away in (0.0, 80.0):
        own = frame.assign(aml_years=np.round(frame.years + away, 1) - away)
        causes = {"AML": ("aml_years", "aml"), "death": ("years", "died")}
        told.append(federation_from(own).cumulative_incidence(causes, **OPEN).table)
    assert (np.round(frame.years + 80, 1) - 80 > frame.years).any()
    pd.testing.assert_frame_equal(*told, check_exact=True)


# Table 1


def theirs(
    frame: pd.DataFrame, by: str, names: list[str], categorical: list[str], nonnormal: list[str]
) -> pd.DataFrame:
    "The package's table, as texts; its first column of two-level names dropped."
    from tableone import TableOne

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = TableOne(
            frame,
            columns=names,
            categorical=categorical,
            nonnormal=nonnormal,
            groupby=by,
            pval=True,
            include_null=False,
        ).tableone
    return (
        table.set_axis([c for _, c in table.columns], axis=1)
        .astype(str)
        .replace({"None": "", "nan": ""})
    )


def beside(ours: pd.DataFrame, package: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    "Cells of both, in the same order; numbers that are codes are written without their decimal."
    package.index = pd.MultiIndex.from_tuples(
        [(v, level.removesuffix(".0")) for v, level in package.index]
    )
    columns = list(package.columns)
    rows = [row for row in package.index if row in ours.index]
    return ours.loc[rows, columns].to_numpy(str), package.loc[rows, columns].to_numpy(str)


@pytest.mark.parametrize(
    "name", ["made-up", "leukemia-nw-england", "transplant-4-hospitals", "ipssm-study"]
)
def test_table_one_is_that_of_the_package(name, federation_of, made_up):
    "Every cell in a simulation; every cell without a sign when protected. p-values too."
    federation = federation_from(made_up) if name == "made-up" else federation_of(name)
    federation = gw.Federation(federation.cohort, federation.members, 0.0)
    frame = federation.cohort.frame.copy()
    frame["hospital of the federation"] = "nowhere"
    for site, rows in federation.members.items():
        frame.iloc[rows, -1] = site
    variables = list(federation.cohort.features)[:8]
    nonnormal = [v for v in ("wbc", "waiting_days", "marrow_blasts") if v in variables]
    exact = federation.table_one(variables, nonnormal=nonnormal, pval=True, **OPEN)
    categorical = [v for v in variables if exact.described.names[v] is not None]
    package = theirs(frame, "hospital of the federation", variables, categorical, nonnormal)
    ours, of_package = beside(exact.table, package)
    assert len(ours) == len(package) and (ours == of_package).mean() == 1.0, [
        (a, b) for a, b in zip(ours.ravel(), of_package.ravel()) if a != b
    ][:5]
    protected = federation.table_one(variables, nonnormal=nonnormal, pval=True, **QUIET)
    ours, of_package = beside(
        protected.table, package.loc[[row for row in package.index if row in protected.table.index]]
    )
    signed = np.array(
        [[any(sign in v for sign in ("<", "≈", "–", "not told")) for v in row] for row in ours]
    )
    assert (signed | (ours == of_package)).all(), [
        (a, b) for a, b in zip(ours[~signed], of_package[~signed]) if a != b
    ][:5]
    assert protected.disclosed.fewest_patients.min() >= LEAST
    MEASURED[f"Table 1 of {name}: share of cells that are exact when protected"] = float(
        (~signed).mean()
    )


def test_table_one_by_group(made_up):
    "Over all hospitals, by sex: the package on all patients."
    federation = federation_from(made_up)
    names = ["age", "TP53", "ferritin"]
    exact = federation.table_one(names, by="sex", pval=True, **OPEN)
    ours, of_package = beside(exact.table, theirs(made_up, "sex", names, ["TP53"], []))
    assert (ours == of_package).all()
    protected = federation.table_one(names, by="sex", **QUIET)
    assert (
        protected.table.loc[("n", ""), ["female", "male"]].astype(int).sum()
        + protected.described.apart
        == 500
    )


@pytest.mark.parametrize("by", ["arm", "who"])
def test_a_code_that_two_hospitals_write_differently_is_one_group(made_up, by):
    """Hospital B writes 1.0 where the others write 1, in a feature and in another column. Oracle: the
    same patients with letters.
    """
    codes = {"A": "1", "B": "2", "C": "3", "D": "3"}
    where = np.random.default_rng(5).choice(["A", "B"], len(made_up))
    code = made_up.who.map(codes)
    code = code.where(where == "A", code + ".0")
    if by == "who":  # a few words keep the feature from being read as numbers
        code = code.where(np.arange(len(code)) % 3 == 0, "unknown")
    letters = code.replace(
        {f"{c}{end}": letter for c, letter in zip("123", "ABC") for end in ("", ".0")}
    )
    federations = [
        gw.Federation.by_site(cohort_from(made_up.assign(**{by: column}), where))
        for column in (code, letters)
    ]
    ours, expected = (f.log_rank(by, **OPEN).table[["chi2", "p"]] for f in federations)
    np.testing.assert_allclose(ours, expected, rtol=1e-12)
    one, other = (f.table_one("age", by=by, **OPEN).table.to_numpy() for f in federations)
    assert (one == other).all()
    one, other = (f.table_one(by, **OPEN).table.to_numpy() for f in federations)
    assert (one == other).all()
    assert [*federations[0].cohort.table_one(by).columns][1:] == [
        f"{name} (n = {n})"
        for name, n in sorted(code.str.removesuffix(".0").value_counts().items())
    ]


def test_means_that_are_not_exact_are_near_and_say_how_near(made_up):
    federation = federation_from(made_up)
    d = federation.table_one(["wbc", "age"], **QUIET).described
    n, mean, _, off = d.moments("wbc", d.overall)
    assert 0 < abs(mean - made_up.wbc.mean()) <= off < 0.05 * made_up.wbc.std()
    assert d.moments("age", d.overall)[3] == 0
    measure(
        "mean of Table 1 against pandas", d.moments("age", d.overall)[1], made_up.age.mean(), 1e-12
    )


# Quantiles, missing values, correlations


def test_quantiles_are_those_of_pandas(made_up):
    federation, q = federation_from(made_up), (0.1, 0.25, 0.5, 0.75, 0.9)
    exact, protected = (
        federation.quantiles(q=q, **OPEN).table,
        federation.quantiles(q=q, **QUIET).table,
    )
    for variable in ("age", "wbc", "ferritin"):
        for site, rows in (("Overall", np.arange(500)), *federation.members.items()):
            truth = made_up.iloc[rows][variable].quantile(list(q)).to_numpy()
            measure(
                "federated quantiles against pandas",
                exact.loc[(variable, site)].estimate,
                truth,
                1e-12,
            )
            told = protected.loc[(variable, site)].dropna()
            assert (told.least <= truth[: len(told)] + 1e-9).all() and (
                truth[: len(told)] <= told.most + 1e-9
            ).all()


def test_missing_values_are_counted_or_stay(made_up):
    federation = federation_from(made_up)
    exact, protected = federation.missingness(**OPEN).table, federation.missingness(**QUIET).table
    for variable in FEATURES:
        for site, rows in (("Overall", np.arange(500)), *federation.members.items()):
            true, row = made_up.iloc[rows][variable].isna().sum(), protected.loc[(variable, site)]
            assert (exact.loc[(variable, site), ["least", "most"]] == true).all()
            assert row.least <= true <= row.most and (row.least == row.most or true > 0)
            if site != "Overall" and 0 < true < LEAST:
                assert row.missing == "<5"


def test_correlations_are_those_of_pandas(made_up):
    federation = federation_from(made_up)
    whole = made_up[["age", "wbc", "ferritin"]].dropna().corr()
    measure(
        "federated correlations against pandas",
        federation.correlations(["age", "wbc", "ferritin"], **OPEN).table,
        whole,
        1e-12,
    )
    near = federation.correlations(["age", "wbc", "ferritin"], **QUIET)
    assert np.abs(near.table - whole).to_numpy().max() < 0.02 and "Rounded" in near.note
    other = federation_from(made_up)
    measure(
        "protected correlations against pandas, nobody or enough incomplete",
        other.correlations(["age", "TP53"], **QUIET).table,
        made_up[["age", "TP53"]].corr(),
        1e-12,
    )
    with pytest.raises((gw.SiteError, gw.DisclosureError), match="only the first is given"):
        other.correlations(["age", "ferritin"], **QUIET)


# What leaves


SETTINGS = {
    "min_cell": LEAST,
    "disclosure": "protected",
    "outcome": json.dumps({"time": "years", "event": "died"}),
    "by": "null",
    "names": json.dumps(["all"]),
    "fates": 2,
}
SEX = {"by": json.dumps("sex"), "names": json.dumps(["female", "male"])}
COLUMNS = json.dumps(
    {
        "age": None,
        "wbc": None,
        "sex": ["female", "male"],
        "TP53": ["0", "1"],
        "who": ["A", "B", "C"],
    }
)
QUERIES = {
    "names": (tell_names, {"columns": json.dumps(["sex", "who"])}),
    "times": (tell_times, {}),
    "times by sex": (tell_times, SEX),
    "times by cause": (
        tell_times,
        {
            "outcome": json.dumps(
                {
                    "time": "years",
                    "event": "died",
                    "causes": "cause",
                    "names": ["infection", "relapse"],
                }
            ),
            "fates": 4,
        },
    ),
    "strata": (tell_strata, SEX),
    "patients": (tell_patients, {"columns": COLUMNS}),
    "patients by sex": (
        tell_patients,
        {"columns": COLUMNS, "by": json.dumps({"column": "sex", "names": ["female", "male"]})},
    ),
    "products": (tell_products, {"columns": json.dumps(["age", "wbc", "TP53"])}),
}


def released(query: str, frame: pd.DataFrame) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    "What a hospital with these patients releases, and how many it says stand behind each record."
    tell, settings = QUERIES[query]
    cohort = gw.Cohort(frame, gw.Survival("years", "died"), tuple(FEATURES))
    site = gw.Site("A", cohort, np.arange(0, len(frame), 2), np.arange(1, len(frame), 2), 0)
    told = tell(
        site,
        None,
        {"edges": time_edges("years", 0.5)},
        SETTINGS | settings,
        Context(1, 1, {}, RecordDict(), {}),
    )
    assert set(told.released) <= set(told.declared)
    values = {k: np.asarray(r.value, float) for k, r in told.released.items()}
    if told.texts is not None:
        names = json.loads(told.texts["levels"])
        values["levels"] = np.array(
            [
                float(name in (names[c] or ()))
                for c in ("sex", "who")
                for name in ("female", "male", "A", "B", "C", "D")
            ]
        )
    return values, {k: r.patients for k, r in told.released.items()}


def changed(frame: pd.DataFrame, i: int):
    "Patient i left out, with other covariates, with another outcome."
    yield frame.drop(index=i).reset_index(drop=True)
    swapped = {
        "sex": "male" if frame.sex[i] == "female" else "female",
        "TP53": 1 - frame.TP53[i],
        "who": "A" if frame.who[i] != "A" else "C",
        "age": frame.age[i] * 40 + 7,
        "wbc": (0 if np.isnan(frame.wbc[i]) else frame.wbc[i]) / 9 + 0.01,
    }
    for columns in (list(swapped), ["sex"], ["TP53", "age"], ["who", "wbc"]):
        other = frame.copy()
        for column in columns:
            other.loc[i, column] = swapped[column]
        yield other
    for time, event in (
        (0.05, 1),
        (0.05, 0),
        (30.0, 1),
        (30.0, 0),
        (frame.years[i], 1 - frame.died[i]),
    ):
        other = frame.copy()
        other.loc[i, ["years", "died"]] = [time, event]
        other.loc[i, "cause"] = "relapse" if event else None
        yield other


def different(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Which released numbers are others; a count is another too where its group begins or ends
    elsewhere, and all are where there are more groups or fewer.
    """
    regrouped = any(
        k in before and not np.array_equal(before[k], after[k]) for k in ("lines", "groups")
    )
    out = {}
    for k, v in before.items():
        a, b = v.ravel(), after[k].ravel()
        out[k] = (
            np.ones(a.size, bool)
            if a.size != b.size or (regrouped and k in ("starts", "patients"))
            else a != b
        )
    if "starts" in out:
        out["patients"] = out["patients"] | out["starts"] | np.append(out["starts"][1:], False)
    return out


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("n,seed", [(14, 1), (26, 4)])
def test_no_number_hangs_on_a_few_patients(query, n, seed):
    """Every released number that anybody can change: at least five can, and at least as many as are
    said to stand behind its record.

    How many groups there are (records "lines" and "groups") follows from where they begin; it is
    looked at as one with the rest of its record, and where it is another, the groups cannot be
    compared one by one: all of them are different.
    """
    frame = frame_of(n, seed)
    before, behind = released(query, frame)
    touched = {k: np.zeros((n, v.size), bool) for k, v in before.items()}
    for i in range(n):
        for other in changed(frame, i):
            after, _ = released(query, other)
            for k, now in different(before, after).items():
                touched[k][i] |= now
    assert any(t.any() for t in touched.values()) or (query, n) == ("names", 26)
    for k, t in touched.items():
        patients = (
            t.any(axis=1, keepdims=True).sum(axis=0) if k in ("lines", "groups") else t.sum(axis=0)
        )
        assert (patients[patients > 0] >= max(LEAST, behind[k])).all(), (k, patients, behind[k])
        assert behind[k] >= LEAST


@pytest.mark.parametrize("seed", range(12))
def test_counts_of_the_release_are_counts_of_enough_patients(seed):
    """Counted here, with numpy, between the borders that were released: each count is right, none
    small, and nobody is lost.
    """
    frame = frame_of([9, 20, 45, 150][seed % 4], seed)
    edges, cells = time_edges("years", 0.5), np.ceil(frame.years / 0.5 - 1e-9) - 1
    for query, by in (("times", None), ("times by sex", "sex"), ("times by cause", None)):
        fate = (
            (frame.died == 1).astype(int)
            if query != "times by cause"
            else frame.cause.map({"infection": 1, "relapse": 2}).fillna(0).astype(int)
        )
        lines, total = lines_received(released(query, frame)[0]), 0
        apart = {line.level for line in lines} - {2}
        for line in lines:
            level = (
                np.ones(len(frame), bool)
                if by is None
                else (frame.sex == ["female", "male"][line.level])
                if line.level < 2
                else ~frame.sex.isin([["female", "male"][g] for g in apart])
            )
            mine = cells[level & fate.isin(line.fates)]
            counts = [
                ((mine >= lo) & (mine < hi)).sum()
                for lo, hi in zip(line.starts, [*line.starts[1:], len(edges)])
            ]
            assert counts == line.counts.tolist() and min(counts) >= LEAST
            if line.major >= 0 and len(line.fates) > 1:
                assert all(
                    (level & (fate == f)).sum() < LEAST or (fate == f).sum() < LEAST
                    for f in line.fates
                    if f != line.major
                )
            total += sum(counts)
        assert total == len(frame)


@pytest.mark.parametrize("seed", range(8))
def test_answers_cannot_be_subtracted(seed):
    """Everybody, by sex: the intervals by sex are whole intervals of everybody, the same for women and
    men; so are cells of Table 1. Counts of the rest are never small.
    """
    frame = frame_of([30, 45, 150, 600][seed % 4], seed)
    whole, by = (lines_received(released(q, frame)[0]) for q in ("times", "times by sex"))
    for line in by:
        same = [one for one in whole if one.fates == line.fates]
        assert len(same) == 1 and set(line.starts) <= set(same[0].starts)
        assert all((one.starts == line.starts).all() for one in by if one.fates == line.fates)
        of_all = np.add.reduceat(same[0].counts, np.searchsorted(same[0].starts, line.starts))
        for rest in (
            of_all - line.counts,
            of_all - sum(one.counts for one in by if one.fates == line.fates),
        ):
            assert ((rest == 0) | (rest >= LEAST)).all()
    rng = np.random.default_rng(seed)
    for _ in range(50):
        counts = (
            rng.poisson(rng.choice([0.5, 3.0]), (3, 12))
            + (np.arange(12) == rng.integers(0, 12, 3)[:, None]) * LEAST
        )
        joined, of_all = merge_cells(counts, LEAST), groups(counts.sum(axis=0)[None], LEAST)[0]
        assert (
            all(len(set(joined[of_all == g])) == 1 for g in set(of_all))
            and min(np.bincount(joined, weights=row).min() for row in counts) >= LEAST
        )
        members = rng.integers(0, 12, (4, 2))
        apart = disclosable_levels(members, LEAST)
        rest = members[~apart].sum(axis=0)
        assert ((members[apart] == 0) | (members[apart] >= LEAST)).all() and (
            not apart.any() or ((rest == 0) | (rest >= LEAST)).all()
        )


def test_a_second_question_that_could_be_compared_is_refused(made_up):
    federation = federation_from(made_up)
    federation.kaplan_meier(**QUIET)
    federation.kaplan_meier("sex", **QUIET)
    federation.median_survival("TP53", **QUIET)
    for options in ({"min_cell": 6}, {"bins": 0.25}):
        with pytest.raises((gw.SiteError, gw.DisclosureError), match="only the first is given"):
            federation.kaplan_meier(**options, **QUIET)
    with pytest.raises(gw.DisclosureError, match="no fewer than 3"):
        federation.kaplan_meier(min_cell=2, **QUIET)
    assert federation.kaplan_meier(min_cell=6, **OPEN).note.startswith("Exact")


@pytest.mark.parametrize("first", ["harmony", "quantiles"])
def test_one_smallest_cell_for_all_statistics(first, made_up):
    "Groups of five by the one, groups of six by the other: the differences would be about single patients."
    federation = federation_from(made_up)
    ask = {
        "harmony": lambda least: federation.harmony(
            variables=["age", "wbc"], min_cell=least, **QUIET
        ),
        "quantiles": lambda least: federation.quantiles(["age", "wbc"], min_cell=least, **QUIET),
    }
    then = next(name for name in ask if name != first)
    ask[first](5)
    ask[then](5)
    for name in (first, then):
        with pytest.raises(
            (gw.SiteError, gw.DisclosureError), match="the smallest cell: 6 was asked for after 5"
        ):
            ask[name](6)


def test_one_time_grid_whatever_the_outcome_is_called(made_up):
    federation = federation_from(made_up)
    federation.kaplan_meier(bins=0.5, **QUIET)
    for causes in ("cause", {"a": ("years", "died"), "b": ("years", "died")}):
        assert len(federation.cumulative_incidence(causes, bins=0.5, **QUIET).table)
        with pytest.raises(
            (gw.SiteError, gw.DisclosureError),
            match="the intervals of time.*only the first is given",
        ):
            federation.cumulative_incidence(causes, bins=0.36, **QUIET)


def by_subtraction(first: np.ndarray, second: np.ndarray) -> float:
    """Fewest patients behind a difference of sums over groups of one division and groups of the other:
    every choice of groups tried.
    """
    both, best = (first >= 0) & (second >= 0), np.inf
    a, b = np.unique(first[both]), np.unique(second[both])
    for chosen in itertools.product((False, True), repeat=len(a) + len(b)):
        here, there = (
            np.isin(x, g[np.array(c, bool)]) & both
            for x, g, c in ((first, a, chosen[: len(a)]), (second, b, chosen[len(a) :]))
        )
        best = min(best, (here != there).sum() or np.inf)
    return best


@pytest.mark.parametrize("seed", range(40))
def test_what_two_divisions_single_out_is_found(seed):
    "Against all differences there are; a group alone is a difference to nothing."
    rng = np.random.default_rng(seed)
    n, k = int(rng.integers(10, 60)), int(rng.integers(2, 5))
    first = rng.integers(-1 if seed % 3 == 0 else 0, k, n)
    second = np.where(
        rng.random(n) < rng.choice([0.02, 0.1, 0.5]),
        rng.integers(0, k, n),
        np.minimum(first, rng.integers(1, k + 1)),
    )
    second = np.where(second < 0, -1, second)
    for enough in (3, 5):
        fewest = by_subtraction(first, second)
        assert fewest_between(first, second, enough) == (fewest if fewest < enough else np.inf)


def nearly_alike(differ: int) -> gw.Federation:
    "Hospitals where thirty patients have a mutation, and all of these but some have more than one."
    frame = frame_of(360, 8)
    frame["any"] = np.isin(np.arange(360) % 120, np.arange(30)).astype(float)
    frame["multi"] = np.where(np.isin(np.arange(360), np.arange(differ) + 5), 0.0, frame["any"])
    return gw.Federation.by_site(cohort_from(frame, np.repeat(["A", "B", "C"], 120)))


QUESTIONS_BY = {
    "Table 1": lambda f, by: f.table_one(["age", "wbc"], by=by, **QUIET),
    "quantiles": lambda f, by: f.quantiles("age", by=by, **QUIET),
    "stratified log-rank": lambda f, by: f.log_rank(by, stratified=True, **QUIET),
    "Kaplan-Meier": lambda f, by: f.kaplan_meier(by, **QUIET),
    "causes": lambda f, by: f.cumulative_incidence("cause", by=by, **QUIET),
}


@pytest.mark.parametrize("then", QUESTIONS_BY)
@pytest.mark.parametrize("first", QUESTIONS_BY)
def test_groups_that_differ_by_a_few_patients_are_told_once(first, then):
    "Six with a mutation after five of the six: the difference is one patient."
    for differ in (1, 4) if first == then else (1,):
        federation = nearly_alike(differ)
        QUESTIONS_BY[first](federation, "any")
        QUESTIONS_BY[first](federation, "any")
        with pytest.raises(
            (gw.SiteError, gw.DisclosureError),
            match=r"site 'A'.*groups by multi.* after groups by any.*(one patient|[2-4] "
            r"patients).*only the first is given",
        ):
            QUESTIONS_BY[then](federation, "multi")
    QUESTIONS_BY[then](federation, "any")


def test_known_values_and_fates_count_too():
    "Groups that differ by ten patients, of whom two have a value, or two died."
    frame = frame_of(360, 8)
    frame["any"] = (np.arange(360) % 120 < 40).astype(float)
    frame["multi"] = np.where(np.arange(360) % 120 < 10, 0.0, frame["any"])
    frame.loc[:7, "ferritin"], frame.loc[8:9, "ferritin"] = np.nan, 500.0
    frame.loc[:7, "died"], frame.loc[8:9, "died"] = 0, 1
    cohort = cohort_from(frame, np.repeat(["A", "B", "C"], 120))
    for ask, named in (
        (lambda f, by: f.table_one(["ferritin"], by=by, **QUIET), "2 patients"),
        (lambda f, by: f.kaplan_meier(by, **QUIET), "2 patients"),
    ):
        federation = gw.Federation.by_site(cohort)
        ask(federation, "any")
        with pytest.raises((gw.SiteError, gw.DisclosureError), match=f"site 'A'.*{named}"):
            ask(federation, "multi")
    federation = gw.Federation.by_site(cohort)
    for by in ("any", "multi"):
        assert len(federation.table_one(["age"], by=by, **QUIET).table)
    for by in ("any", "multi"):
        assert len(federation.kaplan_meier(by, **OPEN).table)


def test_usual_groups_are_all_told(made_up):
    federation = federation_from(made_up)
    for by in ("sex", "TP53", "who"):
        for ask in QUESTIONS_BY.values():
            ask(federation, by)


def test_a_site_that_moves_remembers_its_groups():
    "To another process a site takes its rows along in another order."
    rng = np.random.default_rng(2)
    rows, group = rng.permutation(60), (np.arange(60) < 9).astype(int)
    site = gw.Site("A", cohort_from(frame_of(60)), rows[:40], rows[40:], 0)
    check_differencing(site, Context(1, 1, {}, RecordDict(), {}), "any", {"patients": group}, LEAST)
    moved = pickle.loads(pickle.dumps(site))
    for there in (site, moved):
        order = (
            np.sort(np.concatenate([there.train_rows, there.test_rows]))
            if there is site
            else np.concatenate([rows[:40], rows[40:]])
        )
        check_differencing(
            there, Context(1, 1, {}, RecordDict(), {}), "any", {"patients": group[order]}, LEAST
        )
        with pytest.raises(
            gw.DisclosureError,
            match="groups by fewer were asked for after groups by any; .*2 patients",
        ):
            check_differencing(
                there,
                Context(1, 1, {}, RecordDict(), {}),
                "fewer",
                {"patients": (order < 7).astype(int)},
                LEAST,
            )


def test_a_simulation_says_that_single_patients_stand_behind_its_numbers(made_up):
    books = federation_from(made_up).kaplan_meier(**OPEN).disclosed.set_index("name")
    assert books.fewest_patients["patients"] == 1 and "simulation" in books.what["starts"]


@pytest.mark.parametrize("query", ["times", "strata", "patients", "products", "names"])
def test_a_site_of_its_own_does_not_take_a_simulation_from_a_message(query):
    tell, settings = QUERIES[query]
    frame, arrays = frame_of(40), {"edges": time_edges("years", 0.5)}

    def ask(**simulated):
        site = gw.Site(
            "A",
            gw.Cohort(frame, gw.Survival("years", "died"), tuple(FEATURES)),
            np.arange(40),
            np.arange(0),
            0,
            **simulated,
        )
        return tell(
            site,
            None,
            arrays,
            SETTINGS | settings | {"disclosure": "simulation"},
            Context(1, 1, {}, RecordDict(), {}),
        )

    with pytest.raises(gw.DisclosureError, match="in groups only"):
        ask()
    assert ask(simulated=True).n == 40
    assert all(site.simulated for site in federation_from(frame_of(200)).sites.values())


def test_a_hospital_too_small_to_speak_says_nothing():
    frame = frame_of(64, 2)
    cohort = cohort_from(frame, ["A"] * 30 + ["B"] * 30 + ["C"] * 4)
    federation = gw.Federation.by_site(cohort, small="keep", test_share=0.0)
    curve, table = federation.kaplan_meier(**QUIET), federation.table_one(**QUIET)
    assert (
        curve.counts["all"].n == 60
        and table.table.loc[("n", ""), "C"] == "0"
        and table.table.loc[("n", ""), "Overall"] == "60"
    )
    assert federation.log_rank("sex", stratified=True, **QUIET).table.n.iloc[0] == 60
    assert set(federation.kaplan_meier("site", **QUIET).table.group) == {"A", "B"}


@pytest.mark.parametrize(
    "name",
    [
        "Kaplan-Meier",
        "Nelson-Aalen",
        "causes",
        "median",
        "log-rank",
        "stratified log-rank",
        "Table 1",
        "quantiles",
        "missing values",
        "correlations",
    ],
)
def test_hospitals_that_told_nothing_are_named(name):
    """Twelve small hospitals, all of whose patients died early: the curve of the others may not look
    like the curve of all.
    """
    frame = frame_of(348, 2)
    frame.loc[300:, "years"], frame.loc[300:, "died"] = 0.1, 1
    where = np.array(
        [*np.repeat(["A", "B"], 150), *np.repeat([f"small-{k:02d}" for k in range(1, 13)], 4)]
    )

    def found_in(rows):
        federation = gw.Federation.by_site(
            cohort_from(frame[rows], where[rows]), small="keep", test_share=0.0
        )
        return {
            "Kaplan-Meier": federation.kaplan_meier,
            "Nelson-Aalen": federation.nelson_aalen,
            "causes": lambda **o: federation.cumulative_incidence("cause", **o),
            "median": federation.median_survival,
            "log-rank": lambda **o: federation.log_rank("sex", **o),
            "stratified log-rank": lambda **o: federation.log_rank("sex", stratified=True, **o),
            "Table 1": federation.table_one,
            "quantiles": federation.quantiles,
            "missing values": federation.missingness,
            "correlations": federation.correlations,
        }[name](**QUIET)

    found = found_in(np.ones(348, bool))
    assert (
        "Without small-01, small-02, small-03, small-04, small-05, small-06 and 6 more: fewer than 5"
        in found.note
        and "in no number and no range here" in found.note
    )
    assert "Without small-01" in repr(found)
    assert "Without" not in found_in(np.arange(348) < 300).note


def test_one_name_may_stand_alone(made_up):
    federation = federation_from(made_up)
    pd.testing.assert_frame_equal(
        federation.table_one("age", nonnormal="age", **OPEN).table,
        federation.table_one(["age"], nonnormal=["age"], **OPEN).table,
    )
    with pytest.raises(gw.FederationError, match="no column 'agee'"):
        federation.table_one("age", nonnormal="agee", **OPEN)


@pytest.mark.parametrize(
    "wrong,said",
    [
        (lambda f: f.kaplan_meier("nothing", **QUIET), "no column 'nothing'"),
        (lambda f: f.kaplan_meier("age", **QUIET), "make groups of it first"),
        (lambda f: f.kaplan_meier(bins=[2, 1], **QUIET), "expected a width above zero"),
        (lambda f: f.log_rank("site", stratified=True, **QUIET), "inside hospitals"),
        (lambda f: f.log_rank("sex", draws=1, **QUIET), "draws=1: expected at least 20"),
        (lambda f: f.correlations(["age"], **QUIET), "at least two numbers"),
        (lambda f: f.correlations(["age", "sex"], **QUIET), "holds names"),
        (lambda f: f.quantiles(["sex"], **QUIET), "none of them is a number"),
        (lambda f: f.quantiles(q=[2], **QUIET), "shares from 0 to 1"),
    ],
)
def test_errors_say_what_to_do(wrong, said, made_up):
    with pytest.raises(gw.FederationError, match=said):
        wrong(federation_from(made_up))


@pytest.mark.parametrize("time", [[1, 2], "soon", None, np.nan])
def test_a_curve_is_read_at_one_time(time, made_up):
    with pytest.raises(ValueError, match="expected one number"):
        federation_from(made_up).kaplan_meier(**QUIET).at(time)


def test_a_binary_outcome_has_no_curve():
    X = frame_of(60)[FEATURES]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cohort = as_cohort(X, np.arange(60) % 2, np.repeat(["A", "B"], 30))
    federation = gw.Federation.by_site(cohort)
    with pytest.raises(gw.FederationError, match="no follow-up time"):
        federation.kaplan_meier(**QUIET)
    assert federation.table_one(**QUIET).table.loc[("n", ""), "Overall"] == "60"


def test_curves_are_shown_with_words(made_up):
    curve = federation_from(made_up).kaplan_meier("sex", **QUIET)
    picture = curve.plot()
    assert (
        "female" in picture.alt
        and "at most" in picture.alt
        and "img" in picture._repr_html_()
        and "2 curve(s)" in repr(curve)
    )
    at = curve.at(2.0)
    assert list(at.index) == ["female", "male"] and (at.least <= at.most).all()


def relapses(n: int = 300, seed: int = 0) -> pd.DataFrame:
    "Patients with a relapse time only where there was a relapse, as most files have it."
    frame, rng = frame_of(n, seed), np.random.default_rng(seed)
    frame["years"] += rng.uniform(0, 0.05, n)  # no two alike
    relapse = rng.exponential(4, n) + 0.01
    frame["relapse"] = (relapse <= frame.years).astype(int)
    frame["relapse_years"] = np.where(frame.relapse == 1, relapse, np.nan)
    frame["first"] = np.fmin(frame.relapse_years, frame.years)
    return frame


PAIRS = {"relapse": ("relapse_years", "relapse"), "death": ("years", "died")}


def of_pairs(frame: pd.DataFrame, **how) -> gw.Curves:
    "Cumulative incidence of relapse and of death without relapse at two hospitals."
    federation = gw.Federation.by_site(cohort_from(frame, np.repeat(["A", "B"], len(frame) // 2)))
    return federation.cumulative_incidence(PAIRS, **how)


@pytest.mark.parametrize("seed", range(3))
def test_an_empty_relapse_time_is_followed_until_death_or_the_last_visit(seed):
    "Oracles: lifelines' Aalen-Johansen on the shorter time, and the file with all times filled in."
    frame = relapses(seed=seed)
    filled = of_pairs(frame.assign(relapse_years=frame["first"]), **OPEN).table
    empty = of_pairs(frame, **OPEN)
    pd.testing.assert_frame_equal(empty.table, filled)
    kind = np.where(frame.relapse == 1, 1, np.where(frame.died == 1, 2, 0))
    for code, cause in ((1, "relapse"), (2, "death")):
        theirs = AalenJohansenFitter(calculate_variance=False)
        theirs.fit(frame["first"], kind, code)
        measure(
            "incidence with empty times",
            empty.at(2.0).estimate[cause],
            theirs.predict(2.0),
            1e-12,
        )
        told = of_pairs(frame, **QUIET).at(2.0).loc[cause]
        assert told.least <= empty.at(2.0).estimate[cause] <= told.most


@pytest.mark.parametrize(
    "wrong,said",
    [
        (lambda f: {"relapse": f.relapse + 1}, "'relapse': found 2; expected 0/1"),
        (lambda f: {"relapse": f.relapse * 2}, "'relapse': found 2; expected 0/1"),
        (lambda f: {"relapse": f.relapse.map({0: "no", 1: "yes"})}, "found 'no'; expected 0/1"),
        (lambda f: {"relapse": f.relapse.where(f.relapse == 1)}, "empty cell; expected 0 or 1"),
        (lambda f: {"relapse_years": f.years * np.nan}, "empty cell; expected the time of the ev"),
        (lambda f: {"relapse_years": f.relapse_years - 9}, "expected a time of zero or more"),
        (lambda f: {"relapse_years": f.relapse_years.fillna(0)}, "expected a time above zero"),
        (lambda f: {"relapse_years": pd.Timestamp("2020-01-01")}, "the time holds dates"),
        (lambda f: {"relapse_years": f["first"].astype(str) + " y"}, "'relapse_years': found"),
        (
            lambda f: {"relapse_years": f["first"] * 365.25},
            "about 365 times .*expected times in years",
        ),
        (lambda f: {"relapse_years": f["first"] * 12}, "about 12 times"),
        (lambda f: {"relapse_years": f["first"] / 52.18}, "about 0.0192 times"),
    ],
)
def test_pairs_are_checked_as_an_outcome_is(wrong, said):
    "What is found, its column, and what was expected are in the message."
    frame = relapses()
    with pytest.raises(gw.CohortError, match=said):
        of_pairs(frame.assign(**wrong(frame)), **OPEN)


def test_a_hospital_checks_its_pairs_and_names_no_patient():
    "A site that is asked by a message refuses wrong codes; the text has no value and no row."
    frame = relapses(60)
    frame["relapse"] = frame.relapse.replace(1, 9731)
    site = gw.Site(
        "A",
        gw.Cohort(frame, gw.Survival("years", "died"), tuple(FEATURES)),
        np.arange(60),
        np.arange(0),
        0,
    )
    asked = SETTINGS | {"outcome": json.dumps({"first": list(PAIRS.values())}), "fates": 3}
    with pytest.raises(gw.FederationError, match="column 'relapse': expected 0/1") as refused:
        tell_times(
            site,
            None,
            {"edges": time_edges("years", 1.0)},
            asked,
            Context(1, 1, {}, RecordDict(), {}),
        )
    assert "9731" not in str(refused.value) and "row" not in str(refused.value)


# The log-rank test across hospitals


def null_table(seed: int, n: int, hazard: float = 1.0, unknown: float = 0.1) -> pd.DataFrame:
    "Two groups at four hospitals; the group of some patients is unknown."
    rng = np.random.default_rng(seed)
    group = rng.choice(["a", "b"], n, p=[0.6, 0.4])
    event = rng.exponential(3 / np.where(group == "b", hazard, 1.0))
    last = np.minimum(rng.exponential(8, n), rng.uniform(1, 10, n))
    frame = pd.DataFrame(
        {
            "age": rng.normal(60, 10, n),
            "group": pd.Series(group, dtype=object),
            "years": np.minimum(event, last),
            "died": (event <= last).astype(int),
            "hospital": rng.choice(["A", "B", "C", "D"], n, p=[0.4, 0.3, 0.2, 0.1]),
        }
    )
    frame.loc[rng.random(n) < rng.uniform(0, unknown), "group"] = None
    return frame


def across(frame: pd.DataFrame) -> tuple[pd.Series, float]:
    "The protected test across hospitals, and lifelines' p value of the pooled table."
    cohort = gw.Cohort.from_frame(
        frame, gw.Survival("years", "died"), site="hospital", features=["age"]
    )
    known = frame[frame.group.notna()]
    exact = multivariate_logrank_test(known.years, known.group, known.died).p_value
    found = gw.Federation.by_site(cohort).log_rank("group", **QUIET)
    assert np.isfinite(found.table.p[0]) or "cannot be said" in found.note
    return found.table.iloc[0], exact


@pytest.mark.parametrize("seed", range(4))
def test_the_range_of_a_log_rank_test_holds_the_pooled_one(seed):
    "Oracle: lifelines on the pooled table. 2,000 patients without a difference, up to 10 % unknown."
    row, exact = across(null_table(seed, 2000))
    assert np.isnan(row.p) or row.p_least <= exact <= row.p_most
    assert np.isnan(row.p) or row.p_least <= row.p <= row.p_most


@pytest.mark.full
def test_the_range_of_a_log_rank_test_over_many_tables():
    """50 tables of 5,000 patients each. Oracle: lifelines on the pooled table.

    Without a difference the range holds the exact p in all, lies below .05 in at most 5, is at most
    .15 wide at the median, and cannot be said in at most 5. With a hazard ratio of 1.5 it lies below
    .05 in at least 40.
    """
    null = [across(null_table(seed, 5000)) for seed in range(50)]
    said = [(row, exact) for row, exact in null if np.isfinite(row.p)]
    wide = float(np.median([row.p_most - row.p_least for row, _ in said]))
    MEASURED["median width of the range of p"] = wide
    assert len(said) >= 45 and wide <= 0.15
    assert all(row.p_least <= exact <= row.p_most for row, exact in said)
    assert sum(row.p_most < 0.05 for row, _ in said) <= 5
    planted = [across(null_table(seed, 5000, 1.5))[0] for seed in range(50)]
    assert sum(row.p_most < 0.05 for row in planted) >= 40


def without_events() -> pd.DataFrame:
    "Four groups at three hospitals; in the smallest nobody has the event."
    rng = np.random.default_rng(0)
    event, last = rng.exponential(3, 400), rng.exponential(7, 400)
    frame = pd.DataFrame(
        {
            "age": rng.normal(60, 10, 400),
            "group": rng.choice(list("abcd"), 400, p=[0.4, 0.3, 0.25, 0.05]),
            "years": np.minimum(event, last),
            "died": (event <= last).astype(int),
            "hospital": rng.choice(list("ABC"), 400),
        }
    )
    frame.loc[frame.group == "d", "died"] = 0
    return frame


def test_a_group_without_events_and_the_names_of_groups():
    "Oracle: lifelines on the pooled table, four groups; other names change nothing."
    frame = without_events()
    rows = []
    for names in ("abcd", "dcba", "bdac"):
        row, exact = across(frame.assign(group=frame.group.map(dict(zip("abcd", names)))))
        assert row.p_least <= exact <= row.p_most and row.p_least <= row.p <= row.p_most
        assert row.df == 3
        rows.append(row)
    pd.testing.assert_series_equal(rows[0], rows[1], rtol=1e-9)
    pd.testing.assert_series_equal(rows[0], rows[2], rtol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_a_group_in_which_nobody_dies(seed):
    "Oracle: lifelines. Half of the survivors are a group of their own."
    frame = null_table(seed, 400, unknown=0.0).assign(group="y")
    alive = (frame.died == 0) & (np.random.default_rng(seed).random(400) < 0.5)
    row, exact = across(frame.assign(group=np.where(alive, "x", "y")))
    assert row.p_least <= exact <= row.p_most and row.p_least <= row.p <= row.p_most


def test_groups_that_no_hospital_tells_apart_have_no_p():
    "Three patients of the other group at each hospital: nothing is said, in words too."
    frame = null_table(0, 400, unknown=0.0)
    few = frame.groupby("hospital").cumcount() < 3
    row, _ = across(frame.assign(group=np.where(few, "b", "a")))
    assert row[["p", "p_least", "p_most"]].isna().all()


def test_the_hospital_remembers_within_a_run_too():
    "Where a node keeps nothing between runs, the memory of one run refuses the second grid."
    frame, context = frame_of(60), Context(1, 1, {}, RecordDict(), {})

    def ask(width: float):
        site = gw.Site(
            "A",
            gw.Cohort(frame, gw.Survival("years", "died"), tuple(FEATURES)),
            np.arange(60),
            np.arange(0),
            0,
        )
        return tell_times(site, None, {"edges": time_edges("years", width)}, SETTINGS, context)

    ask(0.5)
    with pytest.raises(gw.DisclosureError, match="only the first is given"):
        ask(0.25)
    assert isinstance(context.state.config_records["asked"], ConfigRecord)
