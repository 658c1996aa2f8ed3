"""Leave one hospital out, folds inside hospitals, one hospital more, and two learners on the same
patients.

Oracles: lifelines' stratified Cox with scikit-survival's C-index by hand, the formula of Nadeau and
Bengio written out, and identities.
"""

import numpy as np
import pandas as pd
import pytest
from conftest import as_cohort, in_hospitals, made_up, measure
from lifelines import CoxPHFitter
from scipy import stats
from sksurv.metrics import concordance_index_censored

import genomed_workbench as gw
from genomed_workbench.evaluation.leave_site_out import without_site

SITES = np.repeat(["north", "east", "south", "west"], [120, 90, 60, 30])


@pytest.fixture(scope="module")
def hospitals():
    X, y = made_up(300, 3, seed=5)
    return in_hospitals(X, y, SITES, test_share=0.2)


@pytest.fixture(scope="module")
def away(hospitals):
    return gw.leave_one_site_out(
        hospitals,
        gw.CoxPH(),
        tune=False,
        metrics=["harrell_c", "uno_c", "brier"],
        bootstrap=60,
        progress=False,
    )


def test_leaving_one_out_is_a_loop_with_lifelines(hospitals, away):
    "Train on three, strata by hospital (lifelines, Efron); rank the fourth; scikit-survival's C-index."
    cohort, found = hospitals.cohort, away.of()
    for name in ("north", "east", "south", "west"):
        out = cohort.sites == name
        table = cohort.X[~out].assign(
            time=cohort.time[~out], event=cohort.event[~out], hospital=cohort.sites[~out]
        )
        fit = CoxPHFitter().fit(
            table, "time", "event", strata=["hospital"], fit_options={"precision": 1e-12}
        )
        c = concordance_index_censored(
            cohort.event[out] > 0,
            cohort.time[out],
            fit.predict_log_partial_hazard(cohort.X[out]).to_numpy(),
        )[0]
        measure(
            "leave one site out: C-index - lifelines and scikit-survival",
            found.value[name],
            c,
            1e-12,
        )
        assert found.n[name] == out.sum() and found.events[name] == cohort.event[out].sum()


def test_within_puts_pairs_together(hospitals, away):
    "Concordant and comparable pairs of each hospital, counted one by one."
    right = total = 0.0
    cohort = hospitals.cohort
    for name in hospitals.members:
        model = gw.federate(
            without_site(hospitals, name), gw.CoxPH(), test=False, progress=False
        ).learner
        out = cohort.sites == name
        t, e, risk = cohort.time[out], cohort.event[out], model.predict(cohort.X[out])
        for i in np.flatnonzero(e):
            later = (t > t[i]) | ((t == t[i]) & (e == 0))
            total += later.sum()
            right += (risk[i] > risk[later]).sum() + 0.5 * (risk[i] == risk[later]).sum()
    measure(
        "leave one site out: within - pairs counted",
        away.of().value["within"],
        right / total,
        1e-12,
    )


def test_the_hospital_left_out_taught_nothing(hospitals):
    "Other outcomes at the hospital left out: the model of the others stays the same, to the last bit."
    X, y = made_up(300, 3, seed=5)
    y["event"][SITES == "west"] = ~y["event"][SITES == "west"]
    changed = in_hospitals(X, y, SITES, test_share=0.2)
    one, two = (
        gw.federate(without_site(f, "west"), gw.CoxPH(), tune=3, test=False, progress=False).learner
        for f in (hospitals, changed)
    )
    assert (one.beta_ == two.beta_).all() and one.penalty == two.penalty


def test_the_same_seed_gives_the_same_table(hospitals, away):
    again = gw.leave_one_site_out(
        hospitals,
        gw.CoxPH(),
        tune=False,
        metrics=["harrell_c", "uno_c", "brier"],
        bootstrap=60,
        progress=False,
    )
    pd.testing.assert_frame_equal(away.table, again.table, check_exact=True)
    assert (
        away.of().dropna().eval("low <= value <= high")
    ).all() and "not hospitals of another kind" in away.covers
    brier = away.of("brier").value
    assert (brier > 0).all() and (brier < 0.35).all(), (
        "probabilities come from the average baseline of the others"
    )


def test_a_turn_without_a_result_takes_nothing_from_the_others():
    "Two hospitals with one event each: what they taught cannot foretell at the big one; its own law can at theirs."
    rng, site = np.random.default_rng(2), np.repeat(["big", "s1", "s2"], [300, 40, 40])
    z = rng.normal(size=380)
    death, lost = (
        rng.exponential(np.exp(-0.7 * z) / np.where(site == "big", 0.6, 0.012)),
        rng.uniform(1, 4, 380),
    )
    frame = pd.DataFrame(
        {
            "a": z,
            "b": rng.normal(size=380),
            "years": np.minimum(death, lost) + 0.001,
            "died": death <= lost,
            "site": site,
        }
    )
    federation = gw.Federation.by_site(
        gw.Cohort.from_frame(
            frame, gw.Survival("years", "died"), site="site", features=["a", "b"], virtual=True
        ),
        test_share=0.2,
    )
    brier = (
        gw.leave_one_site_out(
            federation, gw.CoxPH(penalty=0.1), tune=False, bootstrap=20, progress=False
        )
        .table.query("metric == 'brier'")
        .set_index("tested_on")["value"]
    )
    assert np.isnan(brier["big"]) and np.isfinite(brier[["s1", "s2"]]).all()


def test_a_learner_with_personal_coefficients_has_none_for_a_stranger(hospitals):
    found = gw.leave_one_site_out(
        hospitals, gw.PersonalCox(), tune=False, metrics=["harrell_c"], bootstrap=0, progress=False
    ).of()
    assert found.value.notna().all() and found.low.isna().all()


def test_yes_or_no(hospitals):
    rng = np.random.default_rng(1)
    X = pd.DataFrame(rng.normal(size=(240, 2)), columns=["a", "b"])
    frame = X.assign(
        infarct=(rng.random(240) < 1 / (1 + np.exp(-1.2 * X.a))).astype(int),
        hospital=np.repeat(["p", "q", "r"], 80),
    )
    cohort = gw.Cohort.from_frame(frame, gw.Binary("infarct"), site="hospital", features=["a", "b"])
    found = gw.leave_one_site_out(
        gw.Federation.by_site(cohort), gw.LogisticRegression(0.01), bootstrap=20, progress=False
    )
    assert found.headline == "auc" and found.of().value["within"] > 0.6
    assert "over 3 hospitals" in found.plot()._repr_html_()


def test_what_cannot_be_left_out():
    X, y = made_up(80, 2)
    two = in_hospitals(X, y, np.repeat(["a", "b"], 40))
    with pytest.raises(gw.FederationError, match="at least three.*found a, b"):
        gw.leave_one_site_out(two, gw.CoxPH())
    three = in_hospitals(X, y, np.repeat(["a", "b", "c", "d"], 20))
    with pytest.raises(gw.FederationError, match="binary outcome; the outcome of .* is survival"):
        gw.leave_one_site_out(three, gw.LogisticRegression())
    with pytest.raises(
        ValueError, match=r"metrics='harrell_c': expected a list, such as \['harrell_c'\]"
    ):
        gw.leave_one_site_out(three, gw.CoxPH(), metrics="harrell_c")


def test_folds_test_everybody_once(hospitals):
    folds = hospitals.k_fold(5)
    tested = np.concatenate([f.test_rows for f in folds])
    assert sorted(tested) == list(range(300)) and all(
        not set(f.test_rows) & set(f.train_rows) and len(f.train_rows) + len(f.test_rows) == 300
        for f in folds
    )
    events = np.array(
        [[hospitals.cohort.event[s.test_rows].sum() for s in f.sites.values()] for f in folds]
    )
    assert np.ptp(events, axis=0).max() <= 1, "folds of like outcome, hospital by hospital"
    assert all((a.test_rows == b.test_rows).all() for a, b in zip(folds, hospitals.k_fold(5)))


@pytest.mark.parametrize("folds", [1, 31, 2.5, True])
def test_folds_that_cannot_be(hospitals, folds):
    with pytest.raises(
        gw.FederationError, match=f"folds={folds}: expected a whole number from 2 to 30.*west"
    ):
        hospitals.k_fold(folds)


def test_comparing_by_folds(hospitals):
    "Each fold is a comparison with that fold as test rows; the interval by the formula of Nadeau and Bengio (2003)."
    found = gw.compare(
        hospitals,
        gw.CoxPH(0.01),
        repeats=4,
        design="k-fold",
        tune=False,
        metrics=["harrell_c"],
        progress=False,
    )
    one = [
        gw.compare(
            f,
            gw.CoxPH(0.01),
            repeats=1,
            tune=False,
            metrics=["harrell_c"],
            bootstrap=2,
            progress=False,
        ).value("federated")["mean"]
        for f in hospitals.k_fold(4)
    ]
    row = found.value("federated")
    assert row["repeats"] == 4 and row["mean"] == pytest.approx(np.mean(one), abs=1e-15)
    half = (
        stats.t.ppf(0.975, 3)
        * np.std(one, ddof=1)
        * np.sqrt(
            1 / 4 + len(hospitals.k_fold(4)[0].test_rows) / len(hospitals.k_fold(4)[0].train_rows)
        )
    )
    measure("k-fold: interval - formula", row["high"], np.mean(one) + half, 1e-12)
    assert "each tested once" in found.covers
    with pytest.raises(ValueError, match="redraw_sites"):
        gw.compare(hospitals, gw.CoxPH(), design="k-fold", redraw_sites=True)
    with pytest.raises(ValueError, match="'loo'.*'redraw' or 'k-fold'"):
        gw.compare(hospitals, gw.CoxPH(), design="loo")


def test_two_learners_on_the_same_patients(hospitals):
    "Paired differences and their interval, written out; and no pairing of different patients."

    def made(penalty, seed=0, repeats=4):
        return gw.compare(
            hospitals,
            gw.CoxPH(penalty),
            repeats=repeats,
            seed=seed,
            tune=False,
            metrics=["harrell_c"],
            progress=False,
        )

    strong, weak = made(0.01), made(5.0)
    found = strong.against(weak).loc["federated", "all sites", "within"]

    def values(c):
        return c.repeated.query("arm == 'federated' and tested_on == 'within'").value.to_numpy()

    difference = values(strong) - values(weak)
    table = hospitals.table
    half = (
        stats.t.ppf(0.975, 3)
        * difference.std(ddof=1)
        * np.sqrt(1 / 4 + table.test.sum() / table.train.sum())
    )
    np.testing.assert_allclose(
        [found["mean"], found.low, found.high],
        [difference.mean(), difference.mean() - half, difference.mean() + half],
        atol=1e-12,
    )
    assert found["first"] - found.second == pytest.approx(found["mean"])
    for other in (made(5.0, seed=1), made(5.0, repeats=3)):
        with pytest.raises(ValueError, match="do not test on the same patients"):
            strong.against(other)


def test_one_hospital_more(hospitals):
    curve = gw.sites_curve(hospitals, gw.CoxPH(0.01), orders=3, tune=False, progress=False)
    summary = curve.summary()
    assert (
        summary.index.tolist() == [1, 2, 3, 4]
        and (summary.orders == 3).all()
        and summary.least[4] == summary.most[4]
    )
    everybody = gw.compare(
        hospitals,
        gw.CoxPH(0.01),
        repeats=1,
        tune=False,
        metrics=["harrell_c"],
        bootstrap=2,
        progress=False,
    )
    measure(
        "one hospital more: all of them - compare",
        summary.value[4],
        everybody.value("federated")["mean"],
        1e-12,
    )
    alone = curve.table[curve.table.hospitals == 1]
    assert (alone.patients == [len(hospitals.sites[n].train_rows) for n in alone.joined]).all()
    assert (
        curve.table.groupby("order").patients.apply(lambda p: (p.diff().dropna() > 0).all())
    ).all()
    assert "depending on which" in repr(curve) and "alt=" in curve.plot()._repr_html_()
    pd.testing.assert_frame_equal(
        curve.table,
        gw.sites_curve(hospitals, gw.CoxPH(0.01), orders=3, tune=False, progress=False).table,
        check_exact=True,
    )


def test_one_hospital_more_than_there_are(hospitals):
    with pytest.raises(ValueError, match="numbers holds 5: expected whole numbers from 1 to 4"):
        gw.sites_curve(hospitals, gw.CoxPH(), numbers=(1, 5))
    for no_list in (3, "3"):
        with pytest.raises(ValueError, match=f"numbers={no_list!r}: expected a list"):
            gw.sites_curve(hospitals, gw.CoxPH(), numbers=no_list)
    with pytest.raises(ValueError, match="orders=0"):
        gw.sites_curve(hospitals, gw.CoxPH(), orders=0)
    X, y = made_up(80, 2)
    untested = gw.Federation.by_site(as_cohort(X, y, np.repeat(["a", "b"], 40)), test_share=0.0)
    with pytest.raises(gw.FederationError, match="no test rows"):
        gw.sites_curve(untested, gw.CoxPH())


@pytest.mark.slow
def test_leukemia_by_district(cohort_of):
    "All 24 districts; the federated turn is the pooled one (per-site baselines), district by district."
    federation = gw.Federation.by_site(
        cohort_of("leukemia-nw-england"), small="keep", test_share=0.0
    )
    found = gw.leave_one_site_out(
        federation, gw.CoxPH(), tune=False, metrics=["harrell_c"], bootstrap=0, progress=False
    ).of()
    assert len(found) == 25 and found.n["within"] == 1043 and 0.62 < found.value["within"] < 0.72
    cohort = federation.cohort
    for name in ("1", "17", "24"):
        out = cohort.sites.astype(str) == name
        rest = cohort.rows(~out)
        model = gw.CoxPH().fit(rest.X, rest.y, site=rest.sites)
        c = concordance_index_censored(
            cohort.event[out] > 0, cohort.time[out], model.predict(cohort.X[out])
        )[0]
        measure("leukemia, a district left out: federated - pooled", found.value[name], c, 1e-12)
