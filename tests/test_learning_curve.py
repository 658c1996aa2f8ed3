"""The learning curve against a loop written out with lifelines, against `compare`, and against people
who ask for what cannot be.
"""

import warnings

import numpy as np
import pandas as pd
import pytest
from conftest import measure
from lifelines import CoxPHFitter
from lifelines.utils import concordance_index
from sklearn.metrics import roc_auc_score

import genomed_workbench as gw
from genomed_workbench.evaluation.learning_curve import LearningCurve, deal_hospitals, size_in_words
from genomed_workbench.statistics.concordance import harrell_c

COLUMNS = ["patients", "deal", "arm", "score", "events", "train_events"]


def patients(n=320, seed=0, **extra):
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.normal(size=(n, 4)), columns=list("abcd"))
    death, lost = rng.exponential(2 * np.exp(-0.7 * X.a + 0.4 * X.b)), rng.uniform(0.5, 6, n)
    frame = X.assign(years=np.minimum(death, lost) + 0.01, died=death <= lost, **extra)
    return gw.Cohort.from_frame(
        frame,
        gw.Survival("years", "died"),
        features=list("abcd"),
        name="made-up patients",
        virtual=True,
    )


@pytest.fixture(scope="module")
def cohort():
    return patients()


@pytest.fixture(scope="module")
def curve(cohort):
    return gw.learning_curve(cohort, sizes=(20, 80), deals=3, progress=False)


def by_lifelines(train: pd.DataFrame, test: pd.DataFrame, strata=None) -> float:
    "Fit with lifelines, count the pairs one by one."
    fit = CoxPHFitter(penalizer=0.01).fit(
        train, "years", "died", strata=strata, fit_options={"precision": 1e-12}
    )
    risk = test[list("abcd")].to_numpy() @ fit.params_[list("abcd")].to_numpy()
    right = all_ = 0.0
    rows = list(zip(test.years, test.died, risk))
    for t, died, r in rows:
        for later, _, other in rows:
            if died and later > t:
                all_ += 1
                right += 1.0 if r > other else 0.5 if r == other else 0.0
    assert concordance_index(test.years, -risk, test.died) == pytest.approx(right / all_, abs=1e-12)
    return right / all_


@pytest.mark.parametrize("size", [20, 80])
def test_each_deal_is_what_lifelines_and_counting_give(cohort, curve, size):
    "Oracle: for each deal the rows are taken by hand, both models come from lifelines, pairs are counted in two loops."
    for deal in range(3):
        hospitals = deal_hospitals(cohort, size, deal=deal)
        frame = cohort.frame.copy()
        for name, site in hospitals.sites.items():
            frame.loc[frame.index[np.r_[site.train_rows, site.test_rows]], "hospital"] = name
        train, test = frame.iloc[hospitals.train_rows], frame.iloc[hospitals.test_rows]
        mine = train[train.hospital == "hospital-1"].drop(columns="hospital")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            alone, together = (
                by_lifelines(mine, test),
                by_lifelines(train, test, strata=["hospital"]),
            )
        found = curve.at(size).loc[deal]
        measure(
            "learning curve against lifelines and counted pairs",
            [found.isolated, found.federated, found.pooled],
            [alone, together, together],
            1e-9,
        )
        assert (
            found.train_events == mine.died.sum()
            and found.events == frame.died[frame.hospital == "hospital-1"].sum()
        )


def test_it_gives_the_numbers_of_compare(cohort, curve):
    "The long way round: hospitals dealt by `redraw`, all arms trained by `compare`."
    learner = gw.CoxPH(penalty=0.01)
    hospitals = gw.Federation.split(cohort, [20, *[75] * 4], test_share=0.2)
    for deal in range(3):
        drawn = hospitals.redraw(deal, redraw_sites=True)
        result = gw.compare(
            drawn,
            learner,
            repeats=1,
            bootstrap=0,
            tune=False,
            metrics=["harrell_c"],
            progress=False,
        )
        found = curve.at(20).loc[deal]
        assert found.isolated == result.value("isolated", "all", trained_on="hospital-1")["mean"]
        assert found.federated == result.value("federated", "all")["mean"]
        test = cohort.frame.iloc[drawn.test_rows]
        run = gw.federate(drawn, learner, progress=False)
        assert found.federated == pytest.approx(
            harrell_c(test.years, test.died, run.learner.predict(test[list("abcd")])), abs=1e-12
        )


def test_the_table_has_one_row_for_each_size_deal_and_arm(curve):
    table = curve.table
    assert list(table.columns) == COLUMNS and len(table) == 2 * 3 * 3
    assert set(table.arm) == {
        "isolated",
        "federated",
        "pooled",
    } and table.patients.unique().tolist() == [20, 80]
    wide = table.pivot_table(index=["patients", "deal"], columns="arm", values="score")
    assert (wide.pooled - wide.federated).abs().max() < 1e-12
    assert (table.train_events < table.events).all() and (table.events <= table.patients).all()
    mean = table[(table.patients == 80) & (table.arm == "isolated")].score.mean()
    assert curve.summary().isolated[80] == pytest.approx(mean, abs=1e-12)


def test_the_gain_has_the_corrected_interval(curve):
    """Oracle: the formula of doi:10.1023/A:1024068626366 written out; a fifth of the patients test, so
    tests by training rows is 1/4.
    """
    gain = (curve.at(20).federated - curve.at(20).isolated).to_numpy()
    # Student's t, 2 degrees of freedom
    half = 4.302652729911275 * gain.std(ddof=1) * np.sqrt(1 / 3 + 1 / 4)
    row = curve.summary().loc[20]
    np.testing.assert_allclose(
        [row.gain, row.low, row.high],
        [gain.mean(), gain.mean() - half, gain.mean() + half],
        rtol=1e-9,
    )
    assert row.helped == (gain > 0).sum() and row["of"] == 3


def test_the_same_seed_gives_the_same_numbers(cohort, curve):
    again = gw.learning_curve(cohort, sizes=[80, 20], deals=3, seed=0, progress=False)
    pd.testing.assert_frame_equal(again.table, curve.table)
    other = gw.learning_curve(cohort, sizes=[20], deals=3, seed=1, progress=False)
    assert not np.allclose(other.at(20).isolated, curve.at(20).isolated)


def test_a_size_is_dealt_once(cohort, monkeypatch):
    curve = gw.learning_curve(cohort, sizes=(30,), deals=2, progress=False)
    first, asked = curve.at(30), []
    original = LearningCurve._deal
    monkeypatch.setattr(
        LearningCurve,
        "_deal",
        lambda self, n, deal, bar: (asked.append(n), original(self, n, deal, bar))[1],
    )
    assert curve.plot(45).alt == curve.in_words(45) and curve.sizes == [30, 45]
    assert curve.add(30, 45).at(30) is first and asked == [45, 45]


def test_a_size_added_later_is_the_size_asked_for_at_once(cohort, curve):
    later = gw.learning_curve(cohort, sizes=(), deals=3, progress=False).add(80).add(20)
    pd.testing.assert_frame_equal(later.table, curve.table)


def test_a_hospital_unlike_the_others(cohort):
    like, unlike = (
        gw.learning_curve(cohort, sizes=[40], deals=2, shift=s, progress=False)
        for s in (None, {"covariate": {"a": 0.9}})
    )
    hospitals = deal_hospitals(cohort, 40, shift={"covariate": {"a": 0.9}})
    mine = hospitals.sites["hospital-1"]
    assert cohort.frame.a.iloc[mine.train_rows].min() > cohort.frame.a.median()
    assert not np.allclose(unlike.at(40).isolated, like.at(40).isolated)


def test_more_other_hospitals_and_tuning(cohort):
    curve = gw.learning_curve(cohort, sizes=[40], deals=1, others=2, tune=True, progress=False)
    assert list(deal_hospitals(cohort, 40, others=2).table.n) == [40, 140, 140]
    hospitals = deal_hospitals(cohort, 40, others=2)
    result = gw.compare(
        hospitals,
        gw.CoxPH(penalty=0.01),
        repeats=1,
        bootstrap=0,
        metrics=["harrell_c"],
        progress=False,
    )
    assert (
        curve.at(40).isolated[0] == result.value("isolated", "all", trained_on="hospital-1")["mean"]
    )
    assert curve.at(40).federated[0] == result.value("federated", "all")["mean"]


def test_a_yes_or_no_outcome_is_scored_by_the_area_under_the_curve():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(300, 3)), columns=list("abc")).assign(
        sick=lambda f: (f.a + rng.normal(size=300) > 0).astype(int)
    )
    cohort = gw.Cohort.from_frame(frame, gw.Binary("sick"), features=list("abc"), virtual=True)
    curve = gw.learning_curve(cohort, sizes=[40], deals=1, progress=False)
    hospitals = deal_hospitals(cohort, 40)
    run = gw.federate(hospitals, gw.LogisticRegression(penalty=0.01), progress=False)
    test = frame.iloc[hospitals.test_rows]
    assert curve.metric == "auc"
    assert curve.at(40).federated[0] == pytest.approx(
        roc_auc_score(test.sick, run.learner.predict(test[list("abc")])), abs=1e-12
    )


def test_a_hospital_that_cannot_learn_has_no_score_and_the_words_say_so(cohort):
    "With two patients there is at most one to learn from; nobody invents a score for that."
    curve = gw.learning_curve(cohort, sizes=[3], deals=6, progress=False)
    deals, said = curve.at(3), curve.in_words(3)
    known = deals.isolated.notna()
    assert (deals.federated > 0.5).all() and said.startswith("With 3 patients")
    assert (
        known.all()
        or f"In {(~known).sum()} more" in said
        or "could not learn a model in any" in said
    )
    never = size_in_words(2, deals.assign(isolated=np.nan))
    assert "could not learn a model in any of 6 deals" in never
    some = size_in_words(2, deals.assign(isolated=[0.5, np.nan, 0.4, 0.4, 0.4, 0.4]))
    assert "In 1 more" in some and "of 5 deals" in some and "nan" not in some + never


def test_the_words_are_the_numbers(curve):
    deals = curve.at(20)
    said = curve.in_words(20)
    assert said.startswith(
        f"With 20 patients, your model alone puts {100 * deals.isolated.mean():.0f} of 100 pairs"
    )
    assert f"Joining helped in {(deals.federated > deals.isolated).sum()} of 3 deals" in said
    assert curve.plot(20).alt == said and curve.plot().alt == curve.in_words()
    for size in curve.sizes:
        assert f"{100 * curve.summary().gain[size]:+.0f} with {size} patients" in curve.in_words()


def test_the_picture_has_its_labels(curve):
    ax = curve.plot(20, upto=300).figure.axes[0]
    assert (
        ax.get_title()
        and "patients" in ax.get_xlabel()
        and "100" in ax.get_ylabel()
        and ax.get_xlim()[1] > 300
    )
    low, high = ax.get_ylim()
    scores = 100 * curve.table.score
    assert low <= scores.min() and high >= scores.max()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sizes": [500]}, r"500 cannot be dealt.*from 2 to 312.*has 320"),
        ({"sizes": [1]}, "1 cannot be dealt"),
        ({"sizes": [20.5]}, r"20\.5 cannot be dealt"),
        ({"sizes": ["many"]}, "'many' cannot be dealt"),
        ({"sizes": "30"}, "'30' cannot be dealt"),
        ({"sizes": [True]}, "True cannot be dealt"),
        ({"sizes": [float("nan")]}, "nan cannot be dealt"),
        ({"deals": 0}, "deals=0: expected a whole number from 1 up"),
        ({"deals": 2.5}, "deals=2.5"),
        ({"others": 0}, "others=0: expected a whole number from 1 up"),
        (
            {"learner": gw.LogisticRegression()},
            "for a binary outcome; the outcome of made-up patients is survival",
        ),
        ({"shift": {"covariate": {"height": 0.5}}}, "height"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_what_cannot_be_is_refused_in_words(cohort, options, words):
    with pytest.raises(gw.FederationError, match=words):
        gw.learning_curve(cohort, **{"sizes": [20], "deals": 1, "progress": False, **options})


def test_one_size_may_be_given_bare(cohort):
    assert gw.learning_curve(cohort, sizes=20, deals=1, progress=False).sizes == [20]


def test_the_numbers_of_the_first_lesson(cohort_of):
    "As they stood in the lesson before the curve became a function: ten deals of 15 and of 300 of the real patients."
    cohort = cohort_of("leukemia-nw-england")
    curve = gw.learning_curve(cohort, sizes=(15, 300), progress=False)
    assert curve.in_words(15) == (
        "With 15 patients, your model alone puts 61 of 100 pairs in the right order (49 to 68, depending on luck); "
        "together it is 68 (65 to 71). Joining helped in 9 of 10 deals."
    )
    np.testing.assert_allclose(
        100 * curve.summary().loc[[15, 300], ["isolated", "federated"]],
        [[60.89, 68.47], [68.42, 69.12]],
        atol=0.005,
    )
