"The comparison of arms: its definitions, checked by hand on small federations and on the real ones."

import gc
import weakref

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

import genomed_workbench as gw
from genomed_workbench.evaluation.metrics import TestRows, brier_scores, concordance_scores
from genomed_workbench.statistics.concordance import harrell_c

COLUMNS = ["arm", "trained_on", "tested_on", "metric", "mean", "low", "high", "repeats"]


def made_up(n=400, seed=0, sites=None, **extra):
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.normal(size=(n, 4)), columns=list("abcd"))
    death, lost = rng.exponential(2 * np.exp(-0.7 * X.a + 0.4 * X.b)), rng.uniform(0.5, 6, n)
    frame = X.assign(years=np.minimum(death, lost) + 0.01, died=death <= lost, **extra)
    if sites is not None:
        frame["site"] = np.repeat(list(sites), list(sites.values()))
    return gw.Cohort.from_frame(
        frame,
        gw.Survival("years", "died"),
        site=None if sites is None else "site",
        features=list("abcd"),
        virtual=True,
    )


@pytest.fixture(scope="module")
def comparison():
    return gw.compare(
        gw.Federation.split(made_up(), (60, 30, 10), test_share=0.2),
        gw.CoxPH(),
        repeats=4,
        seed=0,
        progress=False,
    )


def test_the_table_has_the_contract_of_the_design(comparison):
    assert list(comparison.table.columns) == COLUMNS
    assert set(comparison.table.arm) == {"pooled", "federated", "isolated"}
    assert set(comparison.table.tested_on) == {
        "hospital-1",
        "hospital-2",
        "hospital-3",
        "within",
        "all",
    }
    assert set(comparison.table.metric) == {"harrell_c", "uno_c", "brier"}
    assert list(comparison.gain.index) == ["hospital-1", "hospital-2", "hospital-3"]
    assert set(comparison.gain.verdict) <= {"gains", "loses", "cannot tell"}


def test_an_isolated_model_is_scored_at_home_and_abroad(comparison):
    t = comparison.table[
        (comparison.table.arm == "isolated") & (comparison.table.trained_on == "hospital-3")
    ]
    assert set(t.tested_on) == {"hospital-1", "hospital-2", "hospital-3", "within", "all"}


def test_no_interval_leaves_the_range_of_its_metric(comparison):
    """At the hospital of ten the interval of the C-index would go beyond 1, by the formula of Nadeau
    and Bengio on the repeats themselves.
    """
    t, home = comparison.table, comparison.value("federated", "hospital-3", "harrell_c")
    assert t.low.min() >= 0 and t.high.max() <= 1
    assert comparison.gain.low.min() >= -1 and comparison.gain.high.max() <= 1
    again = comparison.repeated
    own = again[(again.arm == "federated") & (again.tested_on == "hospital-3")].value.dropna()
    if len(own) > 1 and np.ptp(own):
        rest = comparison.federation.table.loc["hospital-3"]
        half = (
            stats.t.ppf(0.975, len(own) - 1)
            * own.std()
            * np.sqrt(1 / len(own) + rest.test / rest.train)
        )
        np.testing.assert_allclose(
            [home.low, home.high],
            [max(own.mean() - half, 0), min(own.mean() + half, 1)],
            rtol=1e-12,
        )


def test_federated_equals_pooled_in_every_cell(comparison):
    wide = comparison.table.pivot_table(
        index=["tested_on", "metric"], columns=["arm", "trained_on"], values="mean"
    )
    assert np.nanmax(np.abs(wide["federated", "all sites"] - wide["pooled", "all sites"])) < 1e-10


def test_every_arm_chose_its_own_penalty(comparison):
    assert (
        comparison.penalties["pooled: all sites"] == comparison.penalties["federated: all sites"]
    ).all()
    assert (
        comparison.penalties["isolated: hospital-3"] >= comparison.penalties["pooled: all sites"]
    ).any()


def test_the_interval_is_nadeau_and_bengios():
    "Oracle: the formula of doi:10.1023/A:1024068626366 written out, on the repeats themselves."
    federation = gw.Federation.split(made_up(), (60, 40), test_share=0.2)
    values = []
    for r in range(3):
        drawn = federation.redraw(r)
        model = gw.federate(drawn, gw.CoxPH(penalty=0.1), progress=False, test=False).learner
        right = total = 0
        for s in drawn.sites.values():
            X, y = s.table(s.test_rows)
            n = sum(
                (y["time"][i] < y["time"][j])
                or (y["time"][i] == y["time"][j] and not y["event"][j])
                for i in range(len(y))
                for j in range(len(y))
                if i != j and y["event"][i]
            )
            right += harrell_c(y["time"], y["event"], model.predict(X)) * n
            total += n
        values.append(right / total)
    train, test = len(federation.train_rows), len(federation.test_rows)
    half = stats.t.ppf(0.975, 2) * np.std(values, ddof=1) * np.sqrt(1 / 3 + test / train)
    row = gw.compare(
        federation, gw.CoxPH(penalty=0.1), repeats=3, tune=False, progress=False
    ).value("federated")
    np.testing.assert_allclose(
        [row["mean"], row.low, row.high],
        [np.mean(values), np.mean(values) - half, np.mean(values) + half],
        rtol=1e-10,
    )


def test_hospitals_dealt_anew_draw_their_test_rows_from_everybody():
    """Oracle: the same formula with all other patients in the place of the hospital's own training
    rows; over all hospitals nothing changes.
    """
    federation = gw.Federation.split(made_up(), (60, 40), test_share=0.2)
    anew = gw.compare(
        federation,
        gw.CoxPH(penalty=0.1),
        repeats=3,
        seed=0,
        tune=False,
        redraw_sites=True,
        progress=False,
    )
    sizes, n = federation.table, len(made_up().frame)
    for where, ratio in {
        "hospital-2": sizes.test["hospital-2"] / (n - sizes.test["hospital-2"]),
        "within": sizes.test.sum() / sizes.train.sum(),
    }.items():
        values = anew.repeated[
            (anew.repeated.arm == "federated") & (anew.repeated.tested_on == where)
        ].value.to_numpy()
        half = stats.t.ppf(0.975, 2) * values.std(ddof=1) * np.sqrt(1 / 3 + ratio)
        row = anew.table[
            (anew.table.arm == "federated")
            & (anew.table.tested_on == where)
            & (anew.table.metric == "harrell_c")
        ].iloc[0]
        np.testing.assert_allclose(
            [row["mean"], row.low, row.high],
            [values.mean(), values.mean() - half, values.mean() + half],
            rtol=1e-12,
        )


def test_the_auc_and_brier_score_of_a_binary_outcome_are_scikit_learns():
    frame = made_up().frame.drop(columns=["years"])
    cohort = gw.Cohort.from_frame(frame, gw.Binary("died"), features=list("abcd"))
    federation = gw.Federation.split(cohort, (60, 40), test_share=0.3)
    model = gw.federate(federation, gw.LogisticRegression(), progress=False, test=False).learner
    test = TestRows.of(federation, ("auc", "brier"), np.nan)
    X, y = cohort.frame.iloc[test.rows][list("abcd")], cohort.y[test.rows]
    p = model.predict(X)
    scored = concordance_scores(test, "auc", p).row()
    assert np.isclose(scored[-1], roc_auc_score(y, p), rtol=1e-12)
    own = test.group == 1
    assert np.isclose(scored[1], roc_auc_score(y[own], p[own]), rtol=1e-12)
    assert np.isclose(brier_scores(test, p, "binary").row()[-1], np.mean((p - y) ** 2), rtol=1e-12)


def test_all_arms_see_identical_rows_where_a_score_is_missing():
    score = np.where(np.arange(400) % 7 == 0, np.nan, np.arange(400.0))
    federation = gw.Federation.split(made_up(published=score), (60, 40), test_share=0.2)
    result = gw.compare(
        federation,
        gw.CoxPH(penalty=0.1),
        repeats=2,
        tune=False,
        scores=["published"],
        progress=False,
    )
    assert result.federation.cohort.n == int((~np.isnan(score)).sum())
    assert any(str(int(np.isnan(score).sum())) in note for note in result.notes)
    assert {"clinical score"} <= set(result.table.arm)


def test_a_score_arm_is_the_concordance_of_the_column():
    rng = np.random.default_rng(3)
    cohort = made_up(published=rng.normal(size=400))
    federation = gw.Federation.split(cohort, (60, 40), test_share=0.4)
    result = gw.compare(
        federation,
        gw.CoxPH(penalty=0.1),
        repeats=1,
        bootstrap=2,
        tune=False,
        scores=["published"],
        progress=False,
    )
    rows = federation.test_rows
    expected = harrell_c(
        cohort.time[rows], cohort.event[rows], cohort.frame.published.to_numpy()[rows]
    )
    assert np.isclose(
        result.value("clinical score", "all", trained_on="published")["mean"], expected, rtol=1e-12
    )


def test_the_same_seed_gives_the_same_table_to_the_last_bit(comparison):
    again = gw.compare(
        gw.Federation.split(made_up(), (60, 30, 10), test_share=0.2),
        gw.CoxPH(),
        repeats=4,
        seed=0,
        progress=False,
    )
    pd.testing.assert_frame_equal(comparison.table, again.table, check_exact=True)
    other = gw.compare(
        gw.Federation.split(made_up(), (60, 30, 10), test_share=0.2),
        gw.CoxPH(),
        repeats=4,
        seed=1,
        progress=False,
    )
    assert not other.table.equals(again.table)


def test_a_hospital_that_is_unlike_the_others_is_seen_to_lose():
    "Where one hospital's patients follow another law, a joint model hurts it, and the verdict says so."
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(900, 2)), columns=["a", "b"])
    site = np.repeat(["like", "alike", "unlike"], 300)
    risk = np.where(site == "unlike", -1.2, 1.2) * X.a
    death, lost = rng.exponential(2 * np.exp(-risk)), rng.uniform(1, 8, 900)
    frame = X.assign(years=np.minimum(death, lost) + 0.01, died=death <= lost, site=site)
    cohort = gw.Cohort.from_frame(frame, gw.Survival("years", "died"), site="site")
    gain = gw.compare(gw.Federation.by_site(cohort), gw.CoxPH(), repeats=5, progress=False).gain
    assert gain.verdict["unlike"] == "loses" and gain["mean"]["unlike"] < -0.2


def test_hospitals_with_no_events_or_a_single_pair_are_said_not_hidden():
    cohort = made_up(n=230, sites={"big": 200, "tiny": 20, "none": 10})
    frame = cohort.frame.copy()
    frame.loc[frame.site == "none", "died"] = 0
    federation = gw.Federation.by_site(
        gw.Cohort.from_frame(
            frame, gw.Survival("years", "died"), site="site", features=list("abcd")
        ),
        small="keep",
    )
    result = gw.compare(federation, gw.CoxPH(), repeats=3, progress=False)
    assert result.gain.verdict["none"] == "cannot tell" and np.isnan(result.gain["mean"]["none"])
    assert list(result.gain.index) == ["big", "none", "tiny"]


def rarely_dying(seed=11):
    "Three hospitals of patients nobody can tell apart; at the last one hardly anybody dies."
    rng, sizes = np.random.default_rng(seed), {"big": 300, "mid": 200, "low": 100}
    site = np.repeat(list(sizes), list(sizes.values()))
    death, lost = rng.exponential(1 / np.where(site == "low", 0.012, 0.8)), rng.uniform(1, 4, 600)
    frame = pd.DataFrame(rng.normal(size=(600, 2)), columns=["a", "b"]).assign(
        years=np.minimum(death, lost) + 0.001, died=death <= lost, site=site
    )
    return gw.Federation.by_site(
        gw.Cohort.from_frame(
            frame, gw.Survival("years", "died"), site="site", features=["a", "b"], virtual=True
        ),
        test_share=0.2,
    )


def test_a_gain_over_all_hospitals_counts_the_same_patients_on_both_sides():
    "Oracle: the hospitals' own figures, put together by hand; the one that alone has no result is on neither side."
    federation = rarely_dying()
    c = gw.compare(
        federation,
        gw.CoxPH(penalty=0.1),
        repeats=5,
        tune=False,
        metrics=("brier", "harrell_c"),
        progress=False,
    )
    drawn = c.repeated[c.repeated.trained_on.isin(["all sites", "own site"])].pivot_table(
        index="repeat", columns=["arm", "tested_on"], values="value", dropna=False
    )
    assert drawn["isolated", "low"].isna().all() and drawn["federated", "low"].notna().all()
    sizes = federation.table.test[["big", "mid"]]
    together, alone = (
        sum(drawn[arm, site] * n for site, n in sizes.items()) / sizes.sum()
        for arm in ("federated", "isolated")
    )
    row = c.overall.loc["brier"]
    np.testing.assert_allclose(
        [row.federated, row.isolated, row["mean"]],
        [together.mean(), alone.mean(), (alone - together).mean()],
        rtol=1e-12,
    )
    assert (
        row.verdict == "cannot tell"
        and f"{together.mean():.3f} together, {alone.mean():.3f} alone" in c.in_words()[0]
    )
    assert any(
        "low alone has no result" in note and "Brier score" in note and "in 5" in note
        for note in c.notes
    )


def test_hospitals_dealt_anew_follow_the_seed_and_know_their_scores():
    cohort = made_up(300)
    frame = cohort.frame.assign(sc=np.where(np.arange(300) % 10 == 0, np.nan, cohort.frame.a))
    federation = gw.Federation.split(
        gw.Cohort.from_frame(frame, cohort.outcome, features=list("abcd"), virtual=True),
        (60, 40),
        test_share=0.2,
    )
    options = {
        "repeats": 2,
        "tune": False,
        "redraw_sites": True,
        "metrics": ("harrell_c",),
        "progress": False,
    }
    one, two, again = (
        gw.compare(federation, gw.CoxPH(penalty=0.1), seed=seed, **options).table
        for seed in (1, 2, 1)
    )
    pd.testing.assert_frame_equal(one, again, check_exact=True)
    assert not one.equals(two)
    c = gw.compare(federation, gw.CoxPH(penalty=0.1), scores=["sc"], **options)
    values = c.repeated.query("arm == 'clinical score' and tested_on != 'all'").pivot(
        index="repeat", columns="tested_on", values="value"
    )
    assert (
        c.run.sites.n.sum() == 270
        and values.notna().all(axis=None)
        and (values.loc[0] != values.loc[1]).all()
    )
    mds = gw.Federation.split(gw.load_cohort("virtual-mds", n=300), (60, 40), test_share=0.2)
    assert (
        gw.compare(mds, gw.CoxPH(penalty=0.1), scores=["ipss-m"], **options).value(
            "clinical score", trained_on="ipss-m"
        )["repeats"]
        == 2
    )


@pytest.mark.parametrize(
    "what, error",
    [
        (dict(repeats=0), "repeats=0"),
        (dict(metrics=["auc"]), "harrell_c"),
        (dict(scores=["nope"]), "nope"),
        (dict(horizon=1e6), "horizon"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_words(what, error):
    with pytest.raises(ValueError, match=error):
        gw.compare(
            gw.Federation.split(made_up(), (60, 40), test_share=0.2),
            gw.CoxPH(),
            progress=False,
            **what,
        )


def test_no_test_rows_and_given_test_rows():
    with pytest.raises(gw.FederationError, match="test_share"):
        gw.compare(gw.Federation.split(made_up(), (60, 40), test_share=0.0), gw.CoxPH())
    given = gw.Federation.split(made_up(later=np.arange(400) % 5 == 0), (60, 40), test="later")
    with pytest.raises(gw.FederationError, match="repeats=1"):
        gw.compare(given, gw.CoxPH(), repeats=2)


@pytest.mark.slow
def test_the_ipssm_study_at_three_hospitals(cohort_of):
    """The bar of the main job: 60/30/10, every arm tuned on its own rows; federated within 0.001 of
    pooled on all test rows.
    """
    cohort = cohort_of("ipssm-study")
    assert (cohort.n, cohort.n_events) == (2766, 1354)
    federation = gw.Federation.split(cohort, shares=(60, 30, 10), test_share=0.1, seed=0)
    result = gw.compare(federation, gw.CoxPH(), repeats=3, progress=False)
    pooled, federated = (result.value(arm, "all")["mean"] for arm in ("pooled", "federated"))
    assert abs(pooled - federated) < 0.001 and 0.72 < pooled < 0.77
    small = result.value("isolated", "all", trained_on="hospital-3")["mean"]
    assert 0.69 < small < pooled, "a tuned small hospital is no straw man"


_ALIVE: "weakref.WeakSet[gw.CoxPH]" = weakref.WeakSet()


class Watched(gw.CoxPH):
    "A Cox model of which the living copies are counted."

    def learned(self, *args, **options):
        _ALIVE.add(self)
        return super().learned(*args, **options)


def test_finished_repeats_keep_no_models():
    "Oracle: the trained models alive after each repeat: that of the first federated run, and the latest one."
    seen = []

    def look(step):
        if step.phase == "repeat":
            gc.collect()
            seen.append(len(_ALIVE))

    federation = gw.Federation.split(made_up(), (60, 30, 10), test_share=0.2)
    found = gw.compare(federation, Watched(penalty=0.1), repeats=4, tune=False, progress=look)
    assert len(seen) == 4 and max(seen) <= 2
    assert found.run.learner in _ALIVE
