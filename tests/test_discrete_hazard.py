"""DiscreteHazard: survival as a logistic regression over patients and intervals.

Oracles: statsmodels and scikit-learn on the table of patients and intervals, written out here
patient by patient; the life table; lifelines' Cox model, which fine intervals must approach; and
identities (federated = pooled, one site alone = shared).
"""

import json
import pickle
import time
import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from conftest import federate, in_hospitals, made_up, measure, outcome, standardised, training_table
from lifelines import CoxPHFitter, KaplanMeierFitter
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Perceptron, SGDClassifier
from sklearn.naive_bayes import GaussianNB

import genomed_workbench as gw
from genomed_workbench.evaluation.arms import fit_rows
from genomed_workbench.learners.discrete import periods, time_basis
from genomed_workbench.learners.newton import PENALTIES
from genomed_workbench.statistics.concordance import harrell_c

GRID = (0.1, 0.25, 0.4, 0.6, 0.9, 1.3, 1.8, 2.5)
SITES = np.repeat(["A", "B", "C"], [200, 120, 80])
KINDS = {
    "shared": {},
    "per-site": {"baseline": "per-site"},
    "changing effect": {"time_varying": ("f1",)},
    "per-site, changing effect": {"baseline": "per-site", "time_varying": ("f1",)},
    "given grid": {"time_grid": GRID},
}


@pytest.fixture(scope="module")
def patients() -> tuple[pd.DataFrame, np.ndarray]:
    return made_up(400, 3, seed=1)


def written_out(
    Z: np.ndarray, y: np.ndarray, grid, knots: int, varying=()
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    "One row for each patient and interval, one patient after the other; the event, and whose row it is."
    basis, rows, seen, who = time_basis(len(grid), knots), [], [], []
    for i, (event, t) in enumerate(zip(y["event"], y["time"])):
        begin = 0.0
        for j, end in enumerate(grid):
            if t <= begin:
                break
            died = bool(event and t <= end)
            if t < end and not died and t - begin < (end - begin) / 2:
                break
            later = basis[j, 1:]
            rows.append(
                [*Z[i], *(z * u for c in varying for z in [Z[i, c]] for u in later), *later, 1.0]
            )
            seen.append(died)
            who.append(i)
            begin = end
    return np.array(rows), np.array(seen), np.array(who)


def textbook(rows: np.ndarray, seen: np.ndarray):
    "statsmodels' unpenalised logistic regression."
    return sm.GLM(seen.astype(float), rows, family=sm.families.Binomial()).fit(
        tol=1e-14, maxiter=100
    )


# Against independent programs


@pytest.mark.parametrize(("knots", "varying"), [(1, ()), (4, ()), (8, ()), (4, (1,)), (3, (0, 2))])
def test_coefficients_and_errors_are_those_of_statsmodels(patients, knots, varying):
    "Oracle: statsmodels on the table of patients and intervals."
    X, y = patients
    model = gw.DiscreteHazard(
        time_grid=GRID, knots=knots, time_varying=tuple(f"f{c}" for c in varying)
    ).fit(X, y)
    reference = textbook(*written_out(standardised(X).to_numpy(), y, GRID, knots, varying)[:2])
    measure("DiscreteHazard, coefficients - statsmodels", model.beta_, reference.params, 1e-8)
    measure(
        "DiscreteHazard, standard errors - statsmodels",
        model.summary_.se * X.std(),
        reference.bse[:3],
        1e-7,
    )
    assert model.loglik_ == pytest.approx(reference.llf, abs=1e-8)
    assert model.converged_ and model.n_rounds_ <= 12


@pytest.mark.parametrize("penalty", [0.003, 0.1])
def test_the_ridge_is_per_patient_and_spares_the_level(patients, penalty):
    """Oracle: scikit-learn's L2 penalty with C = 1 / (penalty * patients); one level in time, so that
    both leave the same parameter free.
    """
    X, y = patients
    rows, seen, _ = written_out(standardised(X).to_numpy(), y, GRID, 1)
    reference = LogisticRegression(C=1 / (penalty * len(X)), tol=1e-12, max_iter=10_000).fit(
        rows[:, :-1], seen
    )
    model = gw.DiscreteHazard(penalty, time_grid=GRID, knots=1).fit(X, y)
    np.testing.assert_allclose(model.beta_, [*reference.coef_[0], *reference.intercept_], atol=2e-5)


def test_levels_of_their_own_are_those_of_a_table_with_hospitals_as_columns(patients):
    """Oracle: statsmodels with an intercept for each hospital; the profile likelihood must find the
    same effects and errors.
    """
    X, y = patients
    model = gw.DiscreteHazard(time_grid=GRID, knots=1, baseline="per-site").fit(X, y, site=SITES)
    rows, seen, who = written_out(standardised(X).to_numpy(), y, GRID, 1)
    reference = textbook(np.column_stack([rows[:, :-1], *(SITES[who] == s for s in "ABC")]), seen)
    measure(
        "DiscreteHazard per site, coefficients - statsmodels",
        model.beta_,
        reference.params[:3],
        1e-8,
    )
    measure(
        "DiscreteHazard per site, standard errors - statsmodels",
        model.summary_.se * X.std(),
        reference.bse[:3],
        1e-7,
    )
    np.testing.assert_allclose(
        [model.baselines_[s][1][0] for s in "ABC"], reference.params[3:], atol=1e-8
    )


def test_without_effects_it_is_the_life_table(patients):
    "Identity: with a free level in each interval and effects held at zero, the hazard is events over patients at risk."
    X, y = patients
    model = gw.DiscreteHazard(1e9, time_grid=GRID, knots=99).fit(X, y)
    rows, seen, _ = written_out(np.zeros((len(X), 0)), y, GRID, len(GRID))
    interval = np.array(
        [np.flatnonzero((time_basis(8, 8)[:, 1:] == r[:-1]).all(axis=1))[0] for r in rows]
    )
    alive = np.cumprod([1 - seen[interval == j].mean() for j in range(8)])
    np.testing.assert_allclose(model.predict_survival(X[:1], GRID).to_numpy()[0], alive, atol=1e-6)


def test_fine_intervals_approach_cox():
    "Oracle: lifelines. The error falls with the width of the intervals."
    X, y = made_up(1500, 2, seed=3)
    cox = CoxPHFitter().fit(X.assign(t=y["time"], e=y["event"]), "t", "e").params_.to_numpy()
    far = [
        np.abs(gw.DiscreteHazard(intervals=k, knots=7).fit(X, y).coef_ - cox).max()
        for k in (4, 16, 128)
    ]
    assert far[2] < 0.01 < far[0] and far == sorted(far, reverse=True)


def test_who_is_at_risk_when():
    y = outcome(
        np.array([0.0, 0.1, 0.11, 0.17, 0.18, 0.25, 9.0, 9.0]),
        np.array([True, True, False, False, False, False, True, False]),
    )
    at_risk, event = periods(y, np.array([0.1, 0.25]))
    assert at_risk.tolist() == [1, 1, 1, 1, 2, 2, 2, 2] and event.tolist() == [
        True,
        True,
        *[False] * 6,
    ]


# Federated and pooled


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("penalty", [0.0, 0.02])
def test_federated_equals_pooled(patients, kind, penalty):
    X, y = patients
    learner = gw.DiscreteHazard(penalty, **KINDS[kind])
    run, pooled = federate(in_hospitals(X, y, SITES), learner), clone(learner).fit(X, y, site=SITES)
    measure(
        f"DiscreteHazard, {kind}: federated - pooled, coefficients",
        run.learner.beta_,
        pooled.beta_,
        1e-10,
    )
    measure(
        f"DiscreteHazard, {kind}: federated - pooled, risk",
        run.learner.predict(X),
        pooled.predict(X),
        1e-10,
    )
    measure(
        f"DiscreteHazard, {kind}: federated - pooled, survival",
        run.learner.survival_for(X, [0.3, 1.0, 2.0], SITES),
        pooled.survival_for(X, [0.3, 1.0, 2.0], SITES),
        1e-10,
    )
    measure(
        f"DiscreteHazard, {kind}: federated - pooled, standard errors",
        run.learner.summary_.se,
        pooled.summary_.se,
        1e-10,
    )
    assert run.converged


def test_a_given_grid_needs_no_hospitals_to_be_pooled(patients):
    X, y = patients
    learner = gw.DiscreteHazard(0.01, time_grid=GRID)
    measure(
        "DiscreteHazard, given grid: federated - one table",
        federate(in_hospitals(X, y, SITES), learner).learner.beta_,
        clone(learner).fit(X, y).beta_,
        1e-10,
    )


def test_real_hospitals_agree_with_the_pooled_table(federation_of):
    federation = federation_of("transplant-4-hospitals")
    learner = gw.DiscreteHazard(0.01, baseline="per-site", intervals=8)
    X, y, site = training_table(federation)
    measure(
        "transplant-4-hospitals, DiscreteHazard: federated - pooled",
        federate(federation, learner).learner.beta_,
        clone(learner).fit(X, y, site=site).beta_,
        1e-10,
    )


@pytest.mark.parametrize("kind", ["shared", "per-site, changing effect"])
def test_the_penalty_is_tuned_alike(patients, kind):
    "The federation's cross-validated scores are those of the same folds in one process."
    X, y = patients
    federation = in_hospitals(X, y, SITES)
    run = federate(federation, gw.DiscreteHazard(**KINDS[kind]), tune=3)
    pooled = fit_rows(gw.DiscreteHazard(**KINDS[kind]), list(federation.sites.values()), 3)
    assert (
        list(run.tuning.index) == list(PENALTIES)
        and run.learner.penalty == run.tuning.idxmax() == pooled.penalty
    )
    measure(
        f"DiscreteHazard tuned, {kind}: federated - pooled", run.learner.beta_, pooled.beta_, 1e-10
    )


def test_the_held_out_score_is_the_likelihood_of_those_left_out(patients):
    "Oracle: statsmodels' fit without a fold, its log-likelihood on the rows of that fold."
    X, y = patients
    learner = gw.DiscreteHazard(time_grid=GRID, knots=3)
    Z, fold = standardised(X).to_numpy(), np.arange(400) % 2
    block = learner.prepare(Z, learner.target(y), fold)
    rows, seen, who = written_out(Z, y, GRID, 3)
    expected, betas = [], []
    for f in range(2):
        fit = textbook(rows[fold[who] != f], seen[fold[who] != f])
        p = np.clip(fit.predict(rows[fold[who] == f]), 1e-12, 1)
        expected.append(np.where(seen[fold[who] == f], np.log(p), np.log1p(-p)).sum())
        betas.append(fit.params)
    state = {"beta": np.array(betas), "fold": np.array([0, 1]), "edges": np.array(GRID)}
    np.testing.assert_allclose(
        learner.answers("score", block, state)["held_out"].value, expected, rtol=1e-9
    )


# Survival and risk


@pytest.mark.parametrize("kind", KINDS)
def test_survival_falls_from_one_and_is_straight_inside_an_interval(patients, kind):
    X, y = patients
    model = gw.DiscreteHazard(0.01, **KINDS[kind]).fit(X, y, site=SITES)
    end = model.edges_
    times = np.sort(np.concatenate([[0.0], end, (np.append(0, end[:-1]) + end) / 2, [end[-1] * 3]]))
    S = model.predict_survival(X, times, site=SITES if "per-site" in kind else None).to_numpy()
    assert (
        (S[:, 0] == 1).all()
        and (np.diff(S, axis=1) <= 1e-15).all()
        and (S > 0).all()
        and np.allclose(S[:, -1], S[:, -2])
    )
    H = -np.log(S[:, :-1])
    np.testing.assert_allclose(H[:, 1::2], (H[:, :-1:2] + H[:, 2::2]) / 2, atol=1e-12)


def test_survival_is_calibrated():
    "Oracle: Kaplan-Meier of those with high and those with low risk."
    X, y = made_up(3000, 2, seed=5)
    model = gw.DiscreteHazard().fit(X, y)
    high = model.predict(X) > np.median(model.predict(X))
    for group in (high, ~high):
        km = KaplanMeierFitter().fit(y["time"][group], y["event"][group])
        np.testing.assert_allclose(
            model.predict_survival(X[group], [0.2, 0.5, 1.0]).mean(),
            km.predict([0.2, 0.5, 1.0]),
            atol=0.03,
        )


def fading(n: int = 1500, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    "An effect of log 4 until year 1 and none after."
    rng = np.random.default_rng(seed)
    mutated = rng.random(n) < 0.4
    early, late = rng.exponential(1 / np.where(mutated, 0.8, 0.2)), 1 + rng.exponential(1 / 0.4, n)
    death, lost = np.where(early < 1, early, late), rng.uniform(0.5, 6, n)
    return pd.DataFrame({"mutated": mutated.astype(float), "age": rng.normal(size=n)}), outcome(
        np.minimum(death, lost), death <= lost
    )


def test_an_effect_that_fades_is_found():
    X, y = fading()
    model = gw.DiscreteHazard(time_varying=("mutated",)).fit(X, y)
    effect = model.effect_over_time("mutated")
    early, late = effect[effect.index < 0.7], effect[(effect.index > 1.8) & (effect.index < 3)]
    assert (
        ((early.low < np.log(4)) & (np.log(4) < early.high)).mean() > 0.7
        and (late.low < 0.2).all()
        and abs(late.effect).max() < 0.5
    )
    constant = model.effect_over_time("age")
    assert constant.effect.nunique() == 1 and constant.effect.iloc[0] == pytest.approx(
        model.summary_.coef["age"]
    )
    flat = gw.DiscreteHazard().fit(X, y)
    assert model.loglik_ - flat.loglik_ > 10
    two = X.iloc[:2].assign(mutated=[0.0, 1.0], age=0.0)
    curves = model.predict_survival(two, [1.0, 3.0]).to_numpy()
    ratio = lambda s: np.log(s[1]) / np.log(s[0])
    assert ratio(curves[:, 0]) > 2.5 > ratio(curves[:, 1]), (
        "the ratio of cumulative hazards shrinks"
    )
    assert np.diff(model.predict(two))[0] == pytest.approx(
        np.log(ratio(model.predict_survival(two, [model.edges_[-1]]).to_numpy()[:, 0])), abs=1e-9
    )


def test_a_small_hospital_has_no_course_of_its_own():
    X, y = made_up(203, 2, seed=4)
    site = np.array(["A"] * 120 + ["B"] * 80 + ["C"] * 3)
    learner = federate(
        in_hospitals(X, y, site), gw.DiscreteHazard(0.01, baseline="per-site")
    ).learner
    assert list(learner.baselines_) == ["A", "B"]
    with pytest.raises(ValueError, match=r"no baseline for C.*baseline='average'"):
        learner.predict_survival(X[:2], [1.0], site="C")
    own = learner.survival_for(X, [1.0], site)[-3:, 0]
    np.testing.assert_allclose(
        own, learner.predict_survival(X[-3:], [1.0], baseline="average").to_numpy()[:, 0]
    )
    with pytest.raises(ValueError, match="pass site="):
        learner.predict_survival(X[:2], [1.0])


# Other classifiers


def test_one_pass_over_one_table_is_the_classifiers_own():
    "Oracle: SGDClassifier.partial_fit on the table written out here, with the same order of rows."
    X, y = made_up(150, 2, seed=6)
    mine = gw.DiscreteHazard(
        time_grid=GRID,
        knots=3,
        classifier=SGDClassifier(loss="log_loss", random_state=3, shuffle=False),
        local_steps=1,
        rounds=1,
    ).fit(X, y)
    order = np.argsort(-y["time"], kind="stable")
    rows, seen, _ = written_out(standardised(X).to_numpy()[order], y[order], GRID, 3)
    reference = SGDClassifier(loss="log_loss", random_state=3, shuffle=False).partial_fit(
        rows[:, :-1], seen.astype(int), classes=[0, 1]
    )
    np.testing.assert_allclose(mine.beta_, [*reference.coef_[0], *reference.intercept_], atol=1e-12)


@pytest.mark.parametrize("name", ["fedavg", "fednova", "fedadam", "fedmedian"])
def test_a_classifier_is_trained_over_hospitals(patients, name):
    X, y = patients
    federation = in_hospitals(X, y, SITES)
    learner = gw.DiscreteHazard(
        classifier=SGDClassifier(loss="log_loss", alpha=1e-3), local_steps=2
    )
    run, again = (
        federate(federation, learner, strategy=gw.strategy(name), rounds=10) for _ in range(2)
    )
    exact = federate(federation, gw.DiscreteHazard()).learner
    assert (
        run.rounds == 10
        and run.converged is None
        and (run.learner.beta_ == again.learner.beta_).all()
    )
    assert np.corrcoef(run.learner.predict(X), exact.predict(X))[0, 1] > 0.9
    S = run.learner.predict_survival(X, [0.3, 1.0])
    assert (S.diff(axis=1)[1.0] < 0).all()
    if name == "fedavg":
        assert (
            federate(federation, learner, rounds=10).learner.beta_ == run.learner.beta_
        ).all(), "FedAvg is the default"
        assert np.abs(S - exact.predict_survival(X, [0.3, 1.0])).to_numpy().mean() < 0.05


@pytest.mark.parametrize(
    "classifier",
    [LogisticRegression(), GaussianNB(), Perceptron(), SGDClassifier(loss="hinge")],
    ids=lambda c: type(c).__name__,
)
def test_a_classifier_that_cannot_be_federated_is_refused_in_words(classifier):
    X, y = made_up(50)
    with pytest.raises(
        ValueError,
        match=rf"{type(classifier).__name__} has no "
        r"(partial_fit|predict_proba|coef_).*SGDClassifier\(loss='log_loss'\)",
    ):
        gw.DiscreteHazard(classifier=classifier).fit(X, y)


@pytest.mark.parametrize("name", ["fedprox", "scaffold"])
def test_a_classifiers_steps_cannot_be_steered(patients, name):
    X, y = patients
    with pytest.raises(gw.SiteError, match="FedProx and Scaffold cannot steer"):
        federate(
            in_hospitals(X, y, SITES),
            gw.DiscreteHazard(classifier=SGDClassifier(loss="log_loss")),
            strategy=gw.strategy(name),
            rounds=2,
        )


# What is refused, kept, and how fast it is


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"penalty": -1}, "penalty"),
        ({"intervals": 0}, "intervals"),
        ({"knots": 0}, "knots"),
        ({"baseline": "mine"}, "baseline"),
        ({"time_grid": (1, 0.5)}, "ascending"),
        ({"time_grid": ()}, "ascending"),
        ({"time_varying": "f1"}, "list of features"),
        ({"time_varying": ("ff",)}, r"'ff'.*known: f0, f1"),
        (
            {"classifier": SGDClassifier(loss="log_loss"), "baseline": "per-site"},
            "baseline='shared'",
        ),
        ({"disclosure": "open"}, "disclosure"),
    ],
)
def test_arguments_are_checked_in_words(options, match):
    X, y = made_up(60)
    with pytest.raises(ValueError, match=match):
        gw.DiscreteHazard(**options).fit(X, y)


@pytest.mark.parametrize(
    "options",
    [
        {"time_grid": GRID},
        {"time_grid": GRID, "baseline": "per-site"},
        {"time_grid": GRID, "penalty": 0.1},
    ],
)
def test_without_events_there_is_nothing_to_learn(options):
    X, y = made_up(60)
    y["event"] = False
    with pytest.raises(gw.LearnerError, match="no training row has an event"):
        gw.DiscreteHazard(**options).fit(X, y)


@pytest.mark.parametrize("unit", [0.5, 0.25])
def test_follow_up_in_coarse_units_is_learned(unit):
    "An interval between two of the recorded times would hold nobody, and the fit ran away there."
    X, y = made_up(600, 3, seed=2, ties=unit)
    run = federate(
        in_hospitals(X, y, np.repeat(["A", "B", "C"], [300, 200, 100])), gw.DiscreteHazard(), tune=5
    )
    assert (
        len(np.unique(np.floor(run.learner.edges_ / unit + 1e-9))) == len(run.learner.edges_) > 2
    ), "an interval without a recorded time"
    assert harrell_c(y["time"], y["event"], run.learner.predict(X)) > 0.6


def test_too_few_events_to_say_when_they_happen():
    X, y = made_up(60)
    y["event"] = np.arange(60) < 4
    with pytest.raises(gw.LearnerError, match="time_grid"):
        gw.DiscreteHazard().fit(X, y)
    assert (
        gw.DiscreteHazard(disclosure="simulation", intervals=4, knots=2, penalty=0.1)
        .fit(X, y)
        .converged_
    )


@pytest.mark.parametrize(
    "options",
    [
        {"time_varying": ("f1",)},
        {"baseline": "per-site"},
        {"classifier": SGDClassifier(loss="log_loss", alpha=0.01), "rounds": 3},
    ],
    ids=["changing", "per-site", "classifier"],
)
def test_a_run_is_saved_and_sent_whole(patients, options, tmp_path):
    X, y = patients
    run = federate(in_hospitals(X, y, SITES), gw.DiscreteHazard(0.01, **options), rounds=5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = gw.Run.load(run.save(tmp_path / "run")).learner
    sent = clone(run.learner).imported(run.learner.encoding_, run.learner.exported())
    for other in (again, sent, pickle.loads(pickle.dumps(run.learner))):
        assert (other.predict(X) == run.learner.predict(X)).all()
        assert (
            other.survival_for(X, [0.5, 1.0], SITES)
            == run.learner.survival_for(X, [0.5, 1.0], SITES)
        ).all()
    assert json.dumps({k: v.tolist() for k, v in run.learner.exported().items()})


def test_categories_may_change_with_time_too():
    X, y = made_up(300, 1, seed=8)
    X["site of disease"] = np.array(["marrow", "blood", "both"])[np.arange(300) % 3]
    model = gw.DiscreteHazard(0.01, time_varying=("site of disease",)).fit(X, y)
    assert (
        set(model.covariances_)
        == {f for f in model.encoding_.features if f.startswith("site of disease=")}
        and len(model.covariances_) == 2
    )


def test_a_fit_of_a_large_study_takes_well_below_a_second():
    "2,766 patients, 56 features, 20 intervals; processor time, best of three."
    rng = np.random.default_rng(0)
    X, y = made_up(2766, 56, seed=9)
    X.iloc[:, 10:] = (rng.random((2766, 46)) < 0.1).astype(float)
    took = []
    for _ in range(3):
        start = time.process_time()
        gw.DiscreteHazard(0.01).fit(X, y)
        took.append(time.process_time() - start)
    assert min(took) < 0.8
