"""DeepSurv and HazardNet.

Oracles: CoxPH and DiscreteHazard (exact fits, themselves held against R and statsmodels) for
networks without hidden layers; lifelines and scikit-survival for the likelihood; numerical
derivatives; PyTorch's own layers; an average written out by hand for a Flower round.
"""

import inspect
import json
import pickle
import subprocess
import sys
import time
import warnings

import numpy as np
import pandas as pd
import pytest
from conftest import federate, in_hospitals, made_up, measure, outcome, standardised
from flwr.serverapp.strategy import FedAvg, FedProx
from lifelines import CoxPHFitter
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sksurv.metrics import concordance_index_censored

import genomed_workbench as gw
from genomed_workbench.learners.learner import Block
from genomed_workbench.learners.neural import (
    DeepSurv,
    HazardNet,
    Local,
    Shape,
    Stopping,
    Strata,
    cox_pull,
)
from genomed_workbench.statistics.cox import RiskOrder

torch = pytest.importorskip("torch", reason="the extra `torch` is not installed")

SITES = np.array(["A"] * 150 + ["B"] * 100 + ["C"] * 50)
KINDS = {
    "deepsurv": (DeepSurv, {}),
    "hazard-net": (HazardNet, {"intervals": 8}),
    "hazard-net, changing": (HazardNet, {"intervals": 8, "changing": True}),
}
WITHOUT = (
    "import sys\nclass Gone:\n    def find_spec(self, name, path=None, "
    "target=None):\n        if name == 'torch': raise "
    "ImportError(name)\nsys.meta_path.insert(0, Gone())\n"
)
SHORT = {"epochs": 4, "max_rounds": 4}
FULL = {"hidden": (), "validation": 0, "epochs": 100, "max_rounds": 15, "learning_rate": 0.03}


def small(kind: str, **options):
    "A network of a few units that trains for a moment."
    cls, own = KINDS[kind]
    return cls(**({"hidden": (4,)} | own | SHORT | options))


@pytest.fixture(scope="module")
def patients():
    "300 patients of three hospitals, tied times, one of the hospitals with twice the hazard."
    X, y = made_up(300, 3, seed=1, ties=0.05)
    y["time"] = np.where(SITES == "B", y["time"] / 2, y["time"])
    return X, y


def c_index(model, X, y) -> float:
    return concordance_index_censored(y["event"], y["time"], model.predict(X))[0]


# The likelihood and what pulls at the outputs


def test_the_likelihood_is_lifelines(patients):
    "Oracle: lifelines' log-likelihood (Efron) at its own coefficients, on the risks that a network could give."
    X, y = patients
    fit = CoxPHFitter().fit(X.assign(t=y["time"], e=y["event"]), "t", "e")
    order = RiskOrder.of(y["time"], y["event"])
    risk = (X.to_numpy() @ fit.params_.to_numpy())[order.rows]
    measure(
        "DeepSurv: log-likelihood - lifelines", cox_pull(risk, order)[0], fit.log_likelihood_, 1e-6
    )
    assert cox_pull(risk + 40, order)[0] == pytest.approx(cox_pull(risk, order)[0], abs=1e-9), (
        "a constant makes no difference"
    )


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_the_pull_is_the_slope_of_the_likelihood(patients, ties):
    "Oracle: central differences."
    _, y = patients
    y, risk, h = y[:40], np.random.default_rng(2).normal(size=40), 1e-5
    order = RiskOrder.of(y["time"], y["event"])
    slopes = [
        (cox_pull(risk + h * e, order, ties)[0] - cox_pull(risk - h * e, order, ties)[0]) / (2 * h)
        for e in np.eye(40)
    ]
    np.testing.assert_allclose(cox_pull(risk, order, ties)[1], slopes, atol=1e-7)


def test_extreme_risks_do_not_overflow():
    order = RiskOrder.of(np.arange(1.0, 6), np.ones(5))
    loglik, pull = cox_pull(np.array([900.0, -900, 0, 5000, 3]), order)
    assert np.isfinite(loglik) and np.isfinite(pull).all() and abs(pull.sum()) < 1e-9


def test_nobody_with_an_event_pulls_at_nothing():
    loglik, pull = cox_pull(np.arange(4.0), RiskOrder.of(np.arange(1.0, 5), np.zeros(4)))
    assert loglik == 0 and not pull.any()


def test_patients_are_compared_inside_hospitals_only(patients):
    "Oracle: the sum of the hospitals' own likelihoods; and the other hospitals' risks do not matter to one's pull."
    X, y = patients
    learner = small("deepsurv")
    block, risk = (
        learner.blocks(X.to_numpy(), y, SITES)["all"],
        np.random.default_rng(0).normal(size=300),
    )
    loglik, pull = learner.pull(block, risk[:, None], {})
    apart = [
        cox_pull(risk[rows], RiskOrder.of(block.y["time"][rows], block.y["event"][rows]))
        for rows in (slice(0, 150), slice(150, 250), slice(250, 300))
    ]
    assert loglik == pytest.approx(sum(one for one, _ in apart), abs=1e-9)
    np.testing.assert_allclose(pull[:, 0], np.concatenate([one for _, one in apart]), atol=1e-12)
    kept = block.without(0)
    assert (
        len(kept.groups) == 3
        and kept.n == (block.fold != 0).sum()
        and (np.diff(kept.stratum) >= 0).all()
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_step_is_down_the_slope_of_the_penalised_loss(patients, kind):
    """Oracle: central differences of the loss by every weight. Adam's first step has the direction and
    size rate * g / (|g| + eps).
    """
    X, y = patients
    learner = small(kind, hidden=(3, 2), penalty=0.07, learning_rate=1e-3, epochs=1)
    block = learner.prepare(standardised(X).to_numpy()[:80], y[:80], np.zeros(80, int))
    state = {
        "edges": np.array([0.1, 0.3, 0.6, 1.0, 2.0]),
        "penalty": np.array([0.07]),
        "server-round": np.ones(1),
    }
    shape = learner.shape(3, state)
    weights = np.random.default_rng(1).normal(size=len(shape.free())) * 0.5 * shape.free()

    def loss(w):
        return (
            -learner.pull(block, shape.outputs(w, block.X), state)[0] / 80
            + 0.07 / 2 * (shape.penalised() * w**2).sum()
        )

    slope = (
        np.array(
            [
                (loss(weights + 1e-5 * e) - loss(weights - 1e-5 * e)) / 2e-5
                for e in np.eye(len(weights))
            ]
        )
        * shape.free()
    )
    given = learner.answers("weights", block, state | {"weights": weights})
    np.testing.assert_allclose(
        given["weights"].value - weights, -1e-3 * slope / (np.abs(slope) + 1e-2), atol=1e-9
    )
    assert given["loss"].value == pytest.approx(
        -learner.pull(block, shape.outputs(weights, block.X), state)[0] / 80
    )


# The network


def test_the_network_is_pytorchs_own():
    "Oracle: torch.nn.Sequential with the same matrices."
    shape, rng = Shape((5, 4, 3, 2)), np.random.default_rng(0)
    weights, X = rng.normal(size=5 * 4 + 4 + 4 * 3 + 3 + 3 * 2 + 2), rng.normal(size=(7, 5))
    layers = []
    for matrix, bias in shape.read(weights):
        linear = torch.nn.Linear(*matrix.shape, dtype=torch.float64)
        linear.weight.data, linear.bias.data = (
            torch.tensor(matrix.T.copy()),
            torch.tensor(bias.copy()),
        )
        layers += [linear, torch.nn.Tanh()]
    expected = torch.nn.Sequential(*layers[:-1])(torch.tensor(X)).detach().numpy()
    np.testing.assert_allclose(shape.outputs(weights, X), expected, atol=1e-12)
    np.testing.assert_allclose(
        shape.outputs(torch.tensor(weights), torch.tensor(X)).numpy(), expected, atol=1e-12
    )


def test_dropout_keeps_the_mean_and_differs_by_round():
    local, shape = Local(1, 0.1, 0.0, dropout=0.4), Shape((2, 50, 30, 1))
    masks = local.masks(shape, 400, np.random.default_rng(0))
    assert [m.shape for m in masks] == [(400, 50), (400, 30)]
    assert all(
        abs(m.mean() - 1) < 0.03 and set(np.unique(m.round(9))) == {0, round(1 / 0.6, 9)}
        for m in masks
    )
    X, y = made_up(80, 2)
    learner = small("deepsurv", dropout=0.4)
    block = learner.prepare(X.to_numpy(), y)
    state = {"weights": learner.shape(2, {}).start(0), "penalty": np.zeros(1)}
    one, two, again = (
        learner.answers("weights", block, state | {"server-round": np.array([float(r)])})[
            "weights"
        ].value
        for r in (1, 2, 1)
    )
    assert (one == again).all() and (one != two).any()


# Against exact fits


def test_without_hidden_layers_it_is_cox_with_a_baseline_per_site(patients):
    "Oracle: CoxPH, exact by Newton steps, stratified by hospital."
    X, y = patients
    net, cox = (
        DeepSurv(penalty=0.02, **FULL).fit(X, y, site=SITES),
        gw.CoxPH(0.02).fit(X, y, site=SITES),
    )
    measure(
        "DeepSurv without hidden layers - CoxPH, coefficients", net.weights_[:-1], cox.beta_, 1e-6
    )
    measure("DeepSurv without hidden layers - CoxPH, risk", net.predict(X), cox.predict(X), 1e-5)


def test_so_are_its_baseline_and_its_survival(patients):
    X, y = patients
    net, cox = DeepSurv(penalty=0.02, **FULL).fit(X, y), gw.CoxPH(0.02).fit(X, y)
    measure(
        "DeepSurv without hidden layers - CoxPH, survival",
        net.predict_survival(X, [0.2, 0.7, 1.5]),
        cox.predict_survival(X, [0.2, 0.7, 1.5]),
        1e-6,
    )


@pytest.mark.parametrize("changing", [False, True])
def test_without_hidden_layers_it_is_the_discrete_hazard(patients, changing):
    "Oracle: DiscreteHazard, exact by Newton steps (itself held against statsmodels)."
    X, y = patients
    grid, varying = (0.1, 0.3, 0.6, 1.0, 2.0), tuple(X.columns) if changing else ()
    net = HazardNet(penalty=0.02, time_grid=grid, knots=3, changing=changing, **FULL).fit(X, y)
    exact = gw.DiscreteHazard(0.02, time_grid=grid, knots=3, time_varying=varying).fit(X, y)
    measure(
        f"HazardNet without hidden layers - DiscreteHazard, survival, changing={changing}",
        net.predict_survival(X, grid),
        exact.predict_survival(X, grid),
        1e-5,
    )
    risk = exact.predict(X) if changing else cumulated(exact, X)
    measure(
        f"HazardNet without hidden layers - DiscreteHazard, risk, changing={changing}",
        net.predict(X),
        risk,
        1e-4,
    )


def cumulated(exact, X):
    "Log ratio of cumulative hazards over the whole grid against the mean patient."
    hazard = -np.log(
        exact.predict_survival(
            pd.concat([X, X.mean().to_frame().T]), [exact.edges_[-1]]
        ).to_numpy()[:, 0]
    )
    return np.log(hazard[:-1]) - np.log(hazard[-1])


def test_a_network_finds_what_a_line_cannot():
    "A U-shaped effect and one that needs two features together: Cox is left at chance, the network is near the truth."
    rng = np.random.default_rng(5)
    X = pd.DataFrame(rng.normal(size=(1200, 3)), columns=["a", "b", "c"])
    truth = X["a"] ** 2 + 1.5 * X["b"] * X["c"]
    death, lost = rng.exponential(np.exp(-truth)), rng.exponential(2.0, 1200)
    y, train = outcome(np.minimum(death, lost) + 1e-3, death <= lost), np.arange(1200) < 800
    best = concordance_index_censored(y["event"][~train], y["time"][~train], truth[~train])[0]
    assert c_index(gw.CoxPH().fit(X[train], y[train]), X[~train], y[~train]) < 0.6
    for cls in (DeepSurv, HazardNet):
        assert (
            c_index(
                cls(penalty=0.003, learning_rate=0.02).fit(X[train], y[train]), X[~train], y[~train]
            )
            > best - 0.06
        )


# Trained by Flower


def test_a_round_is_the_average_of_what_the_sites_found(patients):
    "Oracle: each site's answer asked for by hand, averaged by rows."
    X, y = patients
    federation, learner = in_hospitals(X, y, SITES), small("deepsurv", validation=0)
    run = federate(federation, learner, rounds=1)
    state = {
        "weights": learner.shape(3, {}).start(0),
        "penalty": np.array([learner.penalty]),
        "server-round": np.ones(1),
    }
    Z = run.learner.encoding_.transform(X)
    found = [
        learner.answers("weights", learner.prepare(Z[s == SITES], y[s == SITES]), state)[
            "weights"
        ].value
        for s in "ABC"
    ]
    np.testing.assert_allclose(
        run.learner.weights_, np.average(found, axis=0, weights=[150, 100, 50]), atol=1e-12
    )


@pytest.mark.parametrize("kind", KINDS)
def test_over_equal_hospitals_it_takes_the_steps_of_the_table(patients, kind):
    """Identity: where two hospitals have the same patients, the average of their steps is the step of
    the table that holds both.
    """
    X, y = patients
    X, y, site = (
        pd.concat([X, X], ignore_index=True),
        np.concatenate([y, y]),
        np.repeat(["A", "B"], 300),
    )
    learner = small(
        kind, **({} if kind == "deepsurv" else {"time_grid": (0.1, 0.3, 0.6, 1.0, 2.0)})
    )
    run, table = federate(in_hospitals(X, y, site), learner), clone(learner).fit(X, y, site=site)
    np.testing.assert_allclose(run.learner.weights_, table.weights_, atol=1e-9)
    np.testing.assert_allclose(run.learner.validated_, table.validated_, rtol=1e-9)
    assert run.learner.n_rounds_ == table.n_rounds_


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_bits_and_leaves_chance_and_threads_alone(
    patients, kind, chance
):
    X, y = patients
    federation, learner = in_hospitals(X, y, SITES), small(kind, dropout=0.2, seed=4)
    before = (
        torch.get_num_threads(),
        torch.random.get_rng_state().clone(),
        np.random.get_state()[1].copy(),
    )
    one = federate(federation, learner).learner
    torch.manual_seed(99)
    torch.rand(5)
    state = torch.random.get_rng_state().clone()
    two = federate(federation, learner).learner
    assert (one.weights_ == two.weights_).all() and (one.predict(X) == two.predict(X)).all()
    assert (clone(learner).fit(X, y).weights_ == clone(learner).fit(X, y).weights_).all()
    assert (
        torch.get_num_threads() == before[0]
        and (torch.random.get_rng_state() == state).all()
        and (np.random.get_state()[1] == before[2]).all()
    )
    assert (federate(federation, learner.set_params(seed=5)).learner.weights_ != one.weights_).any()


def test_threads_are_put_back_after_an_error():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(ZeroDivisionError):
            Local(1, 0.1, 0.0).moved(Shape((2, 1)), np.zeros(3), np.ones((4, 2)), lambda out: 1 / 0)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_fedprox_held_with_all_might_stays_at_the_start(patients):
    X, y = patients
    federation, learner = in_hospitals(X, y, SITES), small("deepsurv", validation=0)
    start = learner.shape(3, {}).start(0)
    far = [
        np.abs(
            federate(federation, learner, strategy=strategy, rounds=3).learner.weights_ - start
        ).max()
        for strategy in (FedAvg(), FedProx(proximal_mu=20.0), FedProx(proximal_mu=1e9))
    ]
    assert far[0] > 0.05 and far[1] < far[0] / 1.5 and far[2] < 1e-8


@pytest.mark.parametrize("name", ["fedavgm", "fedadam", "fednova", "fedmedian"])
def test_other_strategies_train_it_too(patients, name):
    X, y = patients
    run = federate(
        in_hospitals(X, y, SITES),
        small("deepsurv", refit=False, learning_rate=0.03, epochs=8),
        strategy=gw.strategy(name),
        rounds=6,
    )
    assert np.isfinite(run.learner.weights_).all() and run.converged is None
    assert c_index(run.learner, X, y) > 0.6


def test_scaffold_is_refused_in_words(patients):
    X, y = patients
    with pytest.raises(gw.SiteError, match="Scaffold cannot correct"):
        federate(in_hospitals(X, y, SITES), small("deepsurv"), strategy=gw.Scaffold(), rounds=2)


# Stopping in time


@pytest.mark.parametrize("kind", KINDS)
def test_the_best_weights_are_kept(patients, kind):
    """The kept weights have the best score that was seen, by asking the sites once more; training went
    on for `patience` rounds and no longer.
    """
    X, y = patients
    federation = in_hospitals(X, y, SITES)
    learner = small(
        kind, refit=False, epochs=3, penalty=0.0, hidden=(16,), max_rounds=30, patience=3
    )
    fit = federate(federation, learner, rounds=30).learner
    scores = fit.validated_["score"]
    assert fit.n_rounds_ == scores.idxmax() and scores.index[-1] == min(scores.idxmax() + 3, 30)
    assert 1 < scores.idxmax() < 27, "too much training is seen"
    state = {
        "weights": fit.weights_,
        "fold": np.zeros(1),
        "edges": getattr(fit, "edges_", np.zeros(0)),
    }
    Z = fit.encoding_.transform(X)
    again = sum(
        learner.answers("score", learner.prepare(Z[s == SITES], y[s == SITES]), state)[
            "held_out"
        ].value[0]
        for s in "ABC"
    )
    assert again == pytest.approx(scores.max(), abs=1e-9)


def test_the_score_is_what_the_rows_kept_aside_add_to_the_likelihood(patients):
    "Oracle: two likelihoods, with and without them."
    X, y = patients
    learner, rng = small("deepsurv"), np.random.default_rng(0)
    block = learner.prepare(X.to_numpy(), y)
    weights = rng.normal(size=len(learner.shape(3, {}).free()))
    risk, kept = learner.shape(3, {}).outputs(weights, block.X)[:, 0], block.fold != 0
    whole, part = (
        cox_pull(risk[rows], RiskOrder.of(block.y["time"][rows], block.y["event"][rows]))[0]
        for rows in (slice(None), kept)
    )
    assert learner.answers("score", block, {"weights": weights, "fold": np.zeros(1)})[
        "held_out"
    ].value[0] == pytest.approx(whole - part, abs=1e-9)
    assert (~kept).mean() == pytest.approx(0.2, abs=0.02) and block.y["event"][
        ~kept
    ].mean() == pytest.approx(block.y["event"].mean(), abs=0.03)


def test_all_rows_are_used_once_the_number_of_rounds_is_known(patients):
    X, y = patients
    federation = in_hospitals(X, y, SITES)
    run = federate(federation, small("deepsurv"))
    rounds = run.learner.n_rounds_
    assert rounds == run.learner.validated_["score"].idxmax() > 0
    assert (
        run.learner.weights_
        == federate(federation, small("deepsurv", validation=0, max_rounds=rounds)).learner.weights_
    ).all()


def test_one_round_is_trained_even_where_nothing_is_gained():
    "The start, at which all patients are alike, is no model to be kept."
    search = Stopping(np.zeros(2), {}, 10, lambda w: -float(np.abs(w).sum()), patience=2)
    assert not search.judge(0, search.weights())
    for k in (1, 2, 3):
        assert not search.done
        search.absorb([{"weights": k * np.ones(2)}])
    assert search.done and search.best == 1 and (search.kept == 1).all()


def test_weights_that_run_away_are_refused_in_words(patients):
    X, y = patients
    with pytest.raises(gw.LearnerError, match="learning_rate"):
        Stopping(np.zeros(2), {}, 10).judge(1, {"weights": np.array([np.nan, 0.0])})


@pytest.mark.parametrize("kind", ["deepsurv", "hazard-net"])
def test_the_penalty_is_chosen_where_it_is_asked_for(patients, kind):
    X, y = patients
    federation = in_hospitals(X, y, SITES)
    run = federate(federation, small(kind, penalties=(0.01, 50.0)), tune=4)
    assert (
        list(run.tuning.index) == [0.01, 50.0]
        and run.learner.penalty == 0.01 == run.tuning.idxmax()
    )
    assert federate(federation, small(kind, penalties=()), tune=4).tuning is None
    block = run.learner.prepare(standardised(X).to_numpy(), y, np.arange(300) % 4)
    assert (block.without(0).n, block.n) == (225, 300), (
        "folds from outside are used where they are given"
    )


# What a site keeps to itself


@pytest.mark.parametrize("kind", KINDS)
def test_those_kept_aside_are_counted_for_answers_with_and_without_them_can_be_compared(kind):
    "No number may claim more patients than are kept aside; where they would be fewer than min_cell, nobody is."
    X, y = made_up(60, 3, seed=2)
    learner = small(kind)
    state = {
        "edges": np.array([0.2, 0.5, 1.0, 2.0]),
        "penalty": np.zeros(1),
        "server-round": np.ones(1),
        "beta": np.zeros((1, 4)),
    }
    state |= {"weights": learner.shape(3, state).start(0)}
    for n, aside in ((60, 12), (20, 0)):
        block = learner.prepare(X.to_numpy()[:n], y[:n])
        assert (block.fold == 0).sum() == (aside or 4)
        for fold in (-1, 0):
            given = learner.answers("weights", block, state | {"fold": np.array([fold])})
            assert 5 <= given["weights"].patients <= (aside or n)
        whole = learner.answers("weights", block, state)["weights"].value
        assert (whole == given["weights"].value).all() == (not aside)
        assert bool(
            learner.answers(
                "score", block, state | {"fold": np.zeros(1), "weights": state["weights"] + 0.1}
            )["held_out"].value
        ) == bool(aside)


@pytest.mark.parametrize("kind", KINDS)
def test_a_small_site_gives_back_what_it_received(kind):
    X, y = made_up(103, 3, seed=4)
    site = np.array(["A"] * 100 + ["B"] * 3)
    learner = small(kind)
    state = {
        "edges": np.array([0.2, 0.5, 1.0, 2.0]),
        "penalty": np.zeros(1),
        "fold": np.zeros(1),
        "server-round": np.ones(1),
        "beta": np.zeros((1, 4)),
    }
    weights = learner.shape(3, state).start(0)
    block = learner.prepare(X.to_numpy()[100:], y[100:])
    assert (
        learner.answers("weights", block, state | {"weights": weights})["weights"].value == weights
    ).all()
    assert learner.answers("score", block, state | {"weights": weights})["held_out"].value == 0
    assert learner.answers("loss", block, state | {"weights": weights})["loss"].value == 0
    if kind != "deepsurv":
        assert not any(r.value.any() for r in learner.answers("newton", block, state).values())
    run = federate(in_hospitals(X, y, site), learner)
    assert c_index(run.learner, X, y) > 0.55
    assert (
        run.disclosed.set_index("name").loc[["weights", "held_out"], "fewest_patients"].min() >= 3
    )


def test_the_books_of_large_sites_show_groups(patients):
    X, y = patients
    for kind in ("deepsurv", "hazard-net"):
        books = federate(in_hospitals(X, y, SITES), small(kind)).disclosed.set_index("name")
        assert books.loc[["weights", "held_out", "loss", "steps"], "fewest_patients"].min() >= 5


# A learner like the others


@pytest.mark.parametrize("kind", KINDS)
def test_the_constructor_only_stores_and_clones(kind):
    cls, _ = KINDS[kind]
    marks = {name: object() for name in inspect.signature(cls).parameters}
    model = cls(**marks)
    assert all(getattr(model, name) is mark for name, mark in marks.items()) and set(
        vars(model)
    ) == set(marks)
    assert clone(cls(hidden=(3, 2), seed=9)).get_params() == cls(hidden=(3, 2), seed=9).get_params()
    with pytest.raises(NotFittedError, match="not fitted"):
        cls().predict(made_up(5, 3)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_fitting_leaves_data_and_parameters_alone(patients, kind):
    X, y = patients
    before, target, model = X.copy(deep=True), y.copy(), small(kind)
    params = model.get_params()
    first = model.fit(X, y).weights_.copy()
    assert model.get_params() == params and X.equals(before) and (y == target).all()
    assert all(k.endswith("_") for k in set(vars(model)) - set(params))
    assert (model.fit(X, y).weights_ == first).all()
    assert model.predict(X[:0]).shape == (0,) and model.predict_survival(X[:0], [1.0]).shape == (
        0,
        1,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_survival_falls_from_one(patients, kind):
    X, y = patients
    model = federate(in_hospitals(X, y, SITES), small(kind)).learner
    S = model.survival_for(X, [0.0, 0.1, 0.4, 1.0, 3.0, 99.0], SITES)
    assert (S[:, 0] == 1).all() and (np.diff(S, axis=1) <= 1e-12).all() and (S > 0).all()
    high = model.predict(X) > np.median(model.predict(X))
    assert S[high, 2].mean() < S[~high, 2].mean()
    assert abs(float(model.predict(X.mean().to_frame().T)[0])) < 1e-9, (
        "against a patient with the mean of everything"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_is_saved_and_sent_whole(patients, kind, tmp_path):
    X, y = patients
    run = federate(in_hospitals(X, y, SITES), small(kind))
    again, sent = (
        gw.Run.load(run.save(tmp_path / "run")).learner,
        clone(run.learner).imported(run.learner.encoding_, run.learner.exported()),
    )
    for other in (again, sent, pickle.loads(pickle.dumps(run.learner))):
        assert (other.predict(X) == run.learner.predict(X)).all()
        assert (
            other.survival_for(X, [0.5, 1.0], SITES)
            == run.learner.survival_for(X, [0.5, 1.0], SITES)
        ).all()
    assert json.dumps({k: v.tolist() for k, v in run.learner.exported().items()})


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"penalty": -1}, "penalty"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"dropout": 1.0}, "dropout"),
        ({"hidden": 16}, r"\(32,\)"),
        ({"hidden": (0,)}, "hidden"),
        ({"validation": 0.8}, "validation"),
        ({"epochs": 0}, "epochs"),
        ({"disclosure": "open"}, "disclosure"),
        ({"patience": 0}, "patience"),
        ({"penalties": 0.1}, "penalties=0.1: expected a list"),
    ],
)
def test_arguments_are_checked_in_words(options, match):
    X, y = made_up(60)
    for cls in (DeepSurv, HazardNet):
        with pytest.raises(ValueError, match=match):
            cls(**options).fit(X, y)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"intervals": 0}, "intervals"),
        ({"knots": 0}, "knots"),
        ({"time_grid": (1, 0.5)}, "ascending"),
    ],
)
def test_the_grid_is_checked_in_words(options, match):
    with pytest.raises(ValueError, match=match):
        HazardNet(**options).fit(*made_up(60))


@pytest.mark.parametrize("kind", ["deepsurv", "hazard-net"])
def test_without_events_there_is_nothing_to_learn(kind):
    X, y = made_up(60)
    y["event"] = False
    with pytest.raises(gw.LearnerError, match="event"):
        small(kind).fit(X, y)


def test_without_torch_it_can_be_imported_and_says_what_to_install():
    script = (
        f"{WITHOUT}import numpy as np\nimport genomed_workbench as gw\n"
        "X = np.random.default_rng(0).normal(size=(60, 2))\ny = np.array([(i % 2 == 0, "
        "i + 1.0) for i in range(60)], dtype=[('e', bool), ('t', float)])\n"
        "for cls in (gw.DeepSurv, gw.HazardNet):\n"
        "    print(cls().get_params()['hidden'])\n"
        "    try: cls().fit(X, y)\n"
        "    except ImportError as e: print(e)\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    ).stdout
    assert told.count('pip install "genomed-workbench[torch]"') == 2


def test_a_hospital_without_torch_can_predict(patients, tmp_path):
    X, y = patients
    run = federate(in_hospitals(X, y, SITES), small("hazard-net"))
    run.save(tmp_path / "run")
    X.to_parquet(tmp_path / "X.parquet")
    script = (
        f"{WITHOUT}import genomed_workbench as gw, pandas as pd\n"
        f"learner = gw.Run.load({str(tmp_path / 'run')!r}).learner\n"
        f"X = pd.read_parquet({str(tmp_path / 'X.parquet')!r})\n"
        "print(repr(float(learner.predict(X).sum())))\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    ).stdout
    assert float(told) == run.learner.predict(X).sum()


def test_blocks_are_joined_in_the_order_of_the_hospitals():
    a, b = (
        Strata.of(
            np.full((3, 1), k), outcome(np.arange(1.0, 4), np.ones(3, bool)), np.zeros(3, int)
        )
        for k in (1.0, 2.0)
    )
    both = Strata.joined([a, b])
    assert (
        isinstance(both, Block)
        and both.X[:, 0].tolist() == [1, 1, 1, 2, 2, 2]
        and [r for r, _ in both.groups] == [slice(0, 3), slice(3, 6)]
    )
    assert [r for r, _ in a.groups] == [slice(0, 3)]


# Real patients


@pytest.mark.parametrize("cls", [DeepSurv, HazardNet])
def test_on_the_study_of_ipssm_it_orders_patients_well(cohort_of, cls):
    """Five sites of 45/20/15/10/10, one design fixed beforehand; a whole federated fit in a few
    seconds of processor time.
    """
    federation = gw.Federation.split(
        cohort_of("ipssm-study"), (45, 20, 15, 10, 10), test_share=0.1, seed=0
    )
    rows, start = federation.test_rows, time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = federate(federation, cls())
    took = time.process_time() - start
    X, y = federation.cohort.X.iloc[rows], federation.cohort.y[rows]
    assert c_index(run.learner, X, y) > 0.70
    assert took < 10
