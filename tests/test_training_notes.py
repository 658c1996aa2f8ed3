"""Trainings that end without an error and without a result: what the run, its record and the reports say.

Oracles: counts and losses written out here from the made-up tables and from the run's own history, identities
(a model without features is constant; the same record for none and for a few), and the same cohorts in health,
of which nothing is said.
"""

import re
import warnings

import numpy as np
import pandas as pd
import pytest
from conftest import federate
from flwr.serverapp.strategy import FedAvg

import genomed_workbench as gw
from genomed_workbench.evaluation.report import remarks
from genomed_workbench.learners.encoding import Encoding, Summary
from genomed_workbench.learners.learner import TOO_FEW, made_up_patients, too_few_in_words
from genomed_workbench.output.notices import TrainingWarning, collected, say

SMALL = {
    "cox": {},
    "personal-cox": {"folds": 3, "repeats": 1},
    "discrete": {"intervals": 8},
    "forest": {"trees": 20},
    "boosting": {"trees": 40},
    "deepsurv": {"hidden": (4,), "max_rounds": 3},
    "hazard-net": {"hidden": (4,), "max_rounds": 3, "intervals": 8},
    "ensemble": {},
    "chosen": {"choice": 0},
}
OTHERS = {
    "cox shared": gw.CoxPH(baseline="shared", disclosure="simulation"),
    "discrete per site": gw.DiscreteHazard(intervals=8, baseline="per-site"),
    "boosting aft": gw.BoostedSurvival(trees=10, objective="aft"),
}


def learner(name: str, **options) -> gw.Learner:
    if name in OTHERS:
        return OTHERS[name]
    return gw.learner_of({"learner": name, **SMALL[name], **options})


def hospitals(events_at_c: int | None = None, constant=False, alive=None, binary=False, seed=0):
    """Hospitals A, B and C of 100, 80 and 60 patients, of whom one feature tells the risk.

    `events_at_c` patients of C have the event (None: as many as elsewhere); with `alive`, all but
    so many patients of each hospital have it.
    """
    rng = np.random.default_rng(seed)
    site, X = np.repeat(list("ABC"), [100, 80, 60]), rng.normal(size=(240, 3))
    years, event = rng.exponential(3 / np.exp(0.9 * X[:, 0])), rng.random(240) < 0.6
    if binary:
        event = X[:, 0] + rng.normal(size=240) > 0
    if events_at_c is not None:
        event[site == "C"] = np.arange(60) < events_at_c
    if alive is not None:
        event = np.concatenate([np.arange(n) >= alive for n in (100, 80, 60)])
    frame = pd.DataFrame(np.ones_like(X) if constant else X, columns=["x", "y", "z"])
    frame = frame.assign(years=years, event=event * 1, hospital=site)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gw.CohortWarning)
        cohort = gw.Cohort.from_frame(
            frame.set_axis([f"P{i}" for i in range(240)]),
            gw.Binary("event") if binary else gw.Survival("years", "event"),
            site="hospital",
            features=["x", "y", "z"],
        )
    return gw.Federation.by_site(cohort, test_share=0.2)


def quietly(federation, learner, **options) -> gw.Run:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return federate(federation, learner, **options)


# Hospitals with too few patients


@pytest.mark.parametrize("name", [*SMALL, *OTHERS])
def test_a_hospital_without_an_event_is_named(name, tmp_path):
    "In the warning, the run, its text, its page and its file. Oracle: nobody at C has the event."
    with pytest.warns(TrainingWarning, match="C: .*with the event"):
        run = federate(hospitals(0), learner(name))
    (note,) = [n for n in run.notes if n.startswith("C: ")]
    assert note in repr(run) and "with the event" in run._repr_html_()
    assert gw.Run.load(run.save(tmp_path / "run")).notes == run.notes
    assert run.in_short() in repr(run) and "\n" not in run.in_short()


@pytest.mark.parametrize("name", ["cox", "deepsurv", "forest"])
def test_how_few_they_are_does_not_leave_the_hospital(name):
    """None, one and four of C's training patients with the event: the same record, the same sentence.

    Identity; with five, there is no record.
    """
    seen = set()
    for events in (0, 1, 4):
        federation = hospitals(events)
        kept = federation.tested_on(np.isin(np.arange(240), [110, 150, 230, 239]))
        run = quietly(kept, learner(name))
        (row,) = run.history[run.history.metric == "too_few"].itertuples()
        (booked,) = run.disclosed[run.disclosed.name == "too_few"].itertuples()
        assert TOO_FEW[row.value] == "with the event" and booked.fewest_patients == 58
        seen.add((row.site, row.value, *[n for n in run.notes if n.startswith("C: ")]))
    ((site, _, note),) = seen
    assert site == "C" and "fewer than min_cell=5 training patients" in note
    enough = quietly(hospitals(5).tested_on(np.arange(240) == 239), learner("cox"))
    assert "too_few" not in set(enough.disclosed.name) and not enough.notes


def test_in_a_simulation_one_event_is_enough():
    one = learner("cox", disclosure="simulation")
    assert not quietly(hospitals(1).tested_on(np.arange(240) == 239), one).notes
    (note,) = quietly(hospitals(0), one).notes
    assert "C: no training patient with the event" in note


def test_a_forest_needs_patients_too_and_an_ensemble_what_its_members_need():
    "What each learner needs of a hospital. Oracle: the counts of `events` here."
    events = np.array([1.0] * 6 + [0.0] * 2)
    found = {n: learner(n).too_few(events) for n in ("cox", "forest", "deepsurv", "ensemble")}
    assert found == {"cox": 0, "forest": 4, "deepsurv": 0, "ensemble": 4}
    assert gw.LogisticRegression().too_few(events) == 0
    assert gw.LogisticRegression().too_few(events[:6]) == 2


@pytest.mark.parametrize(("events", "whom"), [(0, "with"), (60, "without")])
def test_a_hospital_with_one_outcome_is_named(events, whom):
    run = quietly(hospitals(events, binary=True), gw.LogisticRegression())
    assert f"C: no training patient {whom} the event" in run.notes[0]


def test_a_network_that_was_given_back_as_it_was_sent_is_said():
    """Five of C's patients have the event, which is enough; without those kept aside it is not.

    Oracle: the steps that C reported.
    """
    federation = hospitals(5).tested_on(np.arange(240) == 239)
    run = quietly(federation, learner("deepsurv", refit=False))
    steps = run.history[run.history.metric == "steps"].groupby("site").value.max()
    assert steps["C"] == 0 < steps["A"] and "too_few" not in set(run.disclosed.name)
    assert len(run.notes) == 1 and run.notes[0].startswith("C: nothing was trained there")


def test_many_hospitals_are_not_all_named():
    told = too_few_in_words(gw.CoxPH(), [f"H{k}" for k in range(11)], 1)
    assert "H7 and 3 more: fewer" in told


# Case 13: nearly everybody has died


@pytest.mark.parametrize("alive", [1, 2, 4])
def test_hazard_net_says_why_it_cannot_be_trained(alive):
    """Each hospital has fewer than five patients without the event; all others have it.

    Oracle: both ways out that the message names lead to a model that orders patients.
    """
    federation = hospitals(alive=alive).tested_on(np.isin(np.arange(240), [99, 179, 239]))
    with pytest.raises(gw.LearnerError, match="min_cell=5.*time_grid.*disclosure") as refused:
        quietly(federation, learner("hazard-net"))
    assert "no training row has an event" not in str(refused.value)
    times, risk = federation.cohort.time, federation.cohort.X["x"]
    early = np.quantile(times, np.linspace(0.05, 0.7, 8))
    for options in ({"time_grid": early}, {"disclosure": "simulation"}):
        run = quietly(federation, learner("hazard-net", **options))
        assert np.corrcoef(run.learner.predict(federation.cohort.X), risk)[0, 1] > 0.5
        assert not run.notes


def test_hazard_net_names_the_hospitals_that_trained_nothing():
    """Ten patients of A are without the event, two of B and C. Oracle: the steps that they report."""
    federation = hospitals(alive=10)
    few = federation.cohort.frame["hospital"].ne("A") & (federation.cohort.frame.event == 0)
    frame = federation.cohort.frame.assign(event=federation.cohort.frame.event.astype(float))
    frame.loc[few & few.groupby(frame.hospital).cumsum().gt(2), "event"] = 1
    cohort = gw.Cohort.from_frame(
        frame, gw.Survival("years", "event"), site="hospital", features=["x", "y", "z"]
    )
    run = quietly(gw.Federation.by_site(cohort, test_share=0.0), learner("hazard-net"))
    steps = run.history[run.history.metric == "steps"].groupby("site").value.max()
    assert steps[steps == 0].index.tolist() == ["B", "C"]
    assert len(run.notes) == 1 and run.notes[0].startswith("B, C: nothing was trained there")


@pytest.mark.parametrize("alive", [0, 10])
def test_hazard_net_trains_where_nobody_is_told_by_subtraction(alive):
    "Everybody has the event, or at each hospital eight training patients have not."
    run = quietly(hospitals(alive=alive), learner("hazard-net"))
    steps = run.history[run.history.metric == "steps"].groupby("site").value.max()
    assert (steps > 0).all() and not run.notes


def test_without_any_event_in_the_grid_the_cause_is_the_grid():
    with pytest.raises(gw.LearnerError, match="no training row has an event before the last time"):
        quietly(hospitals(), learner("discrete", time_grid=[1e-9, 2e-9]))


# Models that learned nothing


@pytest.mark.parametrize("name", [*SMALL, *OTHERS])
def test_without_a_feature_that_differs_a_model_says_that_it_learned_nothing(name):
    "Oracle: whoever knows no feature predicts one number."
    run = quietly(hospitals(constant=True), learner(name))
    X = pd.DataFrame({c: [0.0, 1.0, 5.0] for c in "xyz"})
    assert np.ptp(run.learner.predict(X)) < 1e-12
    assert any("learned nothing" in n and "No feature differs" in n for n in run.notes)


@pytest.mark.parametrize(
    ("held", "by"),
    [
        (gw.CoxPH(penalty=1e9), "penalty=1e+09"),
        (gw.CoxPH(penalty=10.0, l1_ratio=1.0), "penalty=10"),
        (gw.DiscreteHazard(penalty=1e9), "penalty=1e+09"),
        (gw.SurvivalForest(trees=5, min_leaf=500), "min_leaf=500"),
        (gw.BoostedSurvival(trees=5, min_leaf=500), "min_leaf=500"),
        (gw.BoostedSurvival(trees=5, leaf_penalty=1e12), "leaf_penalty=1e+12"),
    ],
    ids=["ridge", "lasso", "discrete", "forest", "leaf", "leaf penalty"],
)
def test_a_model_that_is_held_back_says_by_what(held, by):
    "Over a federation and from one table; all patients get the same number."
    federation = hospitals()
    cohort = federation.cohort
    run = quietly(federation, held)
    assert np.ptp(run.learner.predict(cohort.X)) < 1e-6
    assert any("learned nothing" in n and f"{by}" in n for n in run.notes)
    with pytest.warns(TrainingWarning, match="learned nothing"):
        type(held)(**held.get_params(deep=False)).fit(cohort.X, cohort.y)


def test_made_up_patients_have_the_means_and_nobodys_values():
    "Oracle: means and standard deviations by pandas."
    cohort = hospitals().cohort
    X = cohort.X.assign(sex=np.resize(["male", "female", "male"], 240))
    tried = made_up_patients(Encoding.of(Summary.of(X), tuple(X.columns)))
    np.testing.assert_allclose(tried[["x", "y", "z"]].iloc[0], X[["x", "y", "z"]].mean())
    reach = (tried["x"] - X["x"].mean()).abs().max() / X["x"].std()
    assert round(reach, 9) == 3.0 and len(tried) == 1 + 3 * 6 + 1
    assert (tried.iloc[1:] != tried.iloc[0]).sum(axis=1).eq(1).all()


@pytest.mark.parametrize("retune", [True, False])
def test_a_candidate_that_cannot_be_trained_is_named(retune):
    "A grid before the first event leaves nothing to learn from."
    never = gw.DiscreteHazard(time_grid=[1e-9, 2e-9])
    run = quietly(hospitals(), gw.BestOf([gw.CoxPH(), never], retune=retune), tune=2)
    assert run.learner.choice == 0
    assert any("DiscreteHazard was not a candidate" in n and "no training" in n for n in run.notes)


# Strategies

GIANT = {
    "fedavgm": {"server_learning_rate": 50.0, "server_momentum": 0.99},
    "fedadam": {"eta": 1e3},
    "fedyogi": {"eta": 1e3},
    "scaffold": {"server_rate": 50.0},
}
AVERAGING = [n for n in gw.known_strategies().index if n != "newton"]


@pytest.mark.parametrize("kind", ["cox", "logistic", "discrete"])
@pytest.mark.parametrize("name", GIANT)
def test_steps_that_are_too_large_are_said(name, kind):
    "A run that ran away stops in words, or ends with a note; both name the setting."
    federation = hospitals(binary=kind == "logistic")
    model = gw.LogisticRegression() if kind == "logistic" else learner(kind)
    try:
        notes = quietly(
            federation, model, strategy=gw.strategy(name, **GIANT[name]), rounds=10
        ).notes
    except gw.LearnerError as e:
        notes = (str(e),)
    assert any("ran away" in n and f"{next(iter(GIANT[name]))}=" in n for n in notes)


@pytest.mark.parametrize("kind", ["cox", "logistic"])
@pytest.mark.parametrize("name", AVERAGING)
def test_of_a_strategy_in_health_nothing_is_said(name, kind):
    federation = hospitals(binary=kind == "logistic")
    model = gw.LogisticRegression() if kind == "logistic" else learner(kind)
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrainingWarning)
        assert not federate(federation, model, strategy=gw.strategy(name), rounds=10).notes


@pytest.mark.parametrize("name", [*SMALL, "cox shared", "discrete per site"])
def test_of_a_learner_in_health_nothing_is_said(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrainingWarning)
        run = federate(hospitals(), learner(name))
    assert run.notes == () and repr(run) == run.in_short()
    assert "too_few" not in set(run.disclosed.name)


def test_the_losses_in_the_note_are_those_of_the_history():
    "Oracle: the mean over hospitals by their rows, in the first and in the last round."
    run = quietly(hospitals(), learner("cox"), strategy=gw.strategy("fedadam", eta=1e3), rounds=6)
    train = run.history[run.history.phase == "train"].pivot_table(
        index="round", columns=["metric", "site"], values="value"
    )
    mean = (train["loss"] * train["rows"]).sum(axis=1) / train["rows"].sum(axis=1)
    (note,) = [n for n in run.notes if "mean loss" in n]
    told = [float(x) for x in re.findall(r"went from (\S+) to (\S+)\.", note)[0]]
    np.testing.assert_allclose(told, [mean.iloc[0], mean.iloc[-1]], rtol=5e-3)


def test_a_strategy_that_holds_everybody_back_gained_nothing():
    for model in (learner("cox"), learner("deepsurv")):
        run = quietly(
            hospitals(), model, strategy=gw.strategy("fedprox", proximal_mu=1e9), rounds=4
        )
        assert any("learned nothing" in n for n in run.notes)
    run = quietly(hospitals(), learner("deepsurv", penalty=1e6, validation=0, max_rounds=5))
    assert any("gained nothing" in n or "learned nothing" in n for n in run.notes)


def test_a_strategy_that_asks_nobody_is_refused():
    with pytest.raises(gw.LearnerError, match=r"asked no hospital.*fraction_train"):
        quietly(hospitals(), learner("cox"), strategy=FedAvg(fraction_train=0.0), rounds=2)


def test_weights_that_are_too_large_for_a_hospital_are_the_cause_it_names():
    "Not the linear algebra that failed on them."
    federation, model = hospitals(), gw.CoxPH()
    cohort = federation.cohort
    block = model.prepare(cohort.X.to_numpy(), model.target(cohort.y))
    state = {"weights": np.full(3, np.inf), "penalty": [0.0], "proximal-mu": [0.0]}
    with np.errstate(all="ignore"), pytest.raises(gw.LearnerError, match="ran away"):
        model.answer("weights", block, {k: np.asarray(v) for k, v in state.items()})


# Reports


def test_a_comparison_says_what_happened_to_its_models(tmp_path):
    "To the federated one, and to hospitals alone; how often. Oracle: C has nobody with the event."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = gw.compare(
            hospitals(0), gw.CoxPH(penalty=1e9), repeats=2, tune=False, progress=False
        )
    federated, *_ = [n for n in found.notes if n.startswith("C: fewer than min_cell=5")]
    assert "repeats" not in federated
    assert any(n.startswith("CoxPH learned nothing") for n in found.notes)
    for arm in ("pooled", "A alone", "C alone"):
        assert any(n.startswith(f"{arm}: CoxPH learned nothing") for n in found.notes)
    page = found.report(tmp_path / "report.html").read_text(encoding="utf-8")
    assert set(found.notes) <= set(remarks(found)) and "C: fewer than min_cell=5" in page
    assert len(set(found.notes)) == len(found.notes)


def test_of_a_comparison_in_health_nothing_is_said():
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrainingWarning)
        found = gw.compare(
            hospitals(), gw.CoxPH(), repeats=2, tune=False, progress=False, metrics=("harrell_c",)
        )
    assert found.notes == ()


def test_a_learning_curve_says_what_happened_to_its_models():
    "A model that is held back learns nothing in any deal; of one that learned nothing is said."
    cohort = hospitals().cohort
    ask = {"sizes": (60,), "deals": 2, "progress": False}
    held = gw.learning_curve(cohort, learner=gw.CoxPH(penalty=1e9), **ask)
    assert any("learned nothing" in note for note in held.notes[60])
    assert "- with 60 patients: " in repr(held) and "<li>with 60 patients: " in held._repr_html_()
    well = gw.learning_curve(cohort, learner=gw.CoxPH(penalty=0.01), **ask)
    assert well.notes == {60: ()} and "\n-" not in repr(well)


@pytest.mark.ray
@pytest.mark.slow
def test_what_went_wrong_on_ray_is_in_the_notes(kept_ray):
    "Oracle: the notes of the same run in this process."
    here, there = (
        quietly(hospitals(events_at_c=0), gw.DiscreteHazard(intervals=8), engine=engine)
        for engine in ("inprocess", "ray")
    )
    assert any("C" in note for note in here.notes) and there.notes == here.notes


def test_leaving_out_a_hospital_says_what_happened_to_the_others():
    found = gw.leave_one_site_out(hospitals(0), gw.CoxPH(), tune=False, bootstrap=0, progress=False)
    assert {n.partition(":")[0] for n in found.notes} == {"without A", "without B"}


def test_what_is_said_is_collected_once_or_warned_of():
    told = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with collected(told):
            say("a hospital is silent")
            say("a hospital is silent")
    assert told == [("a hospital is silent", TrainingWarning)]
    with pytest.warns(TrainingWarning, match="silent"):
        say("a hospital is silent")
