"""Strategies that average weights: those that Flower lacks, by name, and when the choice matters.

Oracles: identities (FedNova with equal steps is FedAvg; Scaffold with one step each is gradient
descent on all patients, written out here), the exact Newton fit, and the published update rules
computed by hand from what each site does.
"""

import copy
import re
import warnings

import flwr.serverapp.strategy as flower
import numpy as np
import pandas as pd
import pytest
from conftest import as_cohort, federate, in_hospitals, made_up, standardised
from flwr.app import MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg, FedMedian, FedProx, FedTrimmedAvg, Krum
from scipy.special import expit
from typer.testing import CliRunner

import genomed_workbench as gw
from genomed_workbench.cli import job
from genomed_workbench.cli.app import app
from genomed_workbench.learners.newton import from_record, to_record
from genomed_workbench.learners.strategies import STRATEGIES, LocalWork, Wrapped
from genomed_workbench.statistics.cox import cox_slope

RATE = 0.3


class Seen(list):
    "Stays the same list when the strategy that fills it is copied."

    def __deepcopy__(self, memo):
        return self


class Watched(Wrapped):
    "Keeps the weights after each round."

    def __init__(self, strategy, seen):
        super().__init__(strategy)
        self.seen = seen

    def aggregate_train(self, server_round, replies):
        found = super().aggregate_train(server_round, replies)
        self.seen.append(from_record(found[0])["weights"])
        return found


def path(federation, learner, strategy, rounds) -> np.ndarray:
    "Weights after each round."
    seen = Seen()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        federate(federation, learner, strategy=Watched(strategy, seen), rounds=rounds)
    return np.array(seen)


def patients(n: int = 900) -> tuple[pd.DataFrame, np.ndarray]:
    "A yes or no that depends on two of three variables, and on their product."
    rng = np.random.default_rng(3)
    X = pd.DataFrame(rng.normal(size=(n, 3)), columns=["age", "hemoglobin", "platelets"])
    return X, (
        rng.random(n) < expit(0.8 * X.age - 0.6 * X.hemoglobin + 0.4 * X.age * X.hemoglobin - 0.3)
    ).astype(int).to_numpy()


@pytest.fixture(scope="module")
def unlike() -> gw.Federation:
    "Hospitals of unlike size and patients."
    return gw.Federation.split(
        as_cohort(*patients()),
        (45, 20, 15, 10, 10),
        seed=1,
        test_share=0.0,
        shift={"covariate": {"age": 0.6}, "outcome": 0.35},
    )


LEARNER = gw.LogisticRegression(penalty=0.001)


@pytest.fixture(scope="module")
def exact(unlike) -> np.ndarray:
    return federate(unlike, LEARNER).learner.beta_


# Identities


@pytest.mark.parametrize("steps", [1, 7])
def test_fednova_with_equal_steps_is_fedavg(unlike, steps):
    both = [path(unlike, LEARNER, LocalWork(s, steps, RATE), 12) for s in (gw.FedNova(), FedAvg())]
    np.testing.assert_allclose(*both, atol=1e-12)


def test_fednova_with_unequal_steps_is_the_published_rule(unlike):
    """Wang 2020, eq. 6: x - tau_eff * sum of p_i d_i, d_i the mean of a site's gradients; the sites'
    moves are computed here from FedAvg with one site each.
    """
    steps = (1, 3, 5, 8, 2)
    found = path(unlike, LEARNER, LocalWork(gw.FedNova(), steps, RATE), 1)[0]
    encoding = federate(unlike, LEARNER).learner.encoding_
    n = np.array([len(s.train_rows) for s in unlike.sites.values()])
    moves = []
    for site, k in zip(unlike.sites.values(), steps):
        X, y = site.table(site.train_rows)
        Z, b = np.column_stack([encoding.transform(X), np.ones(len(X))]), np.zeros(4)
        for _ in range(k):
            b = b - RATE * (Z.T @ (expit(Z @ b) - y) / len(y) + 0.001 * np.append(b[:3], 0))
        moves.append(-b / (RATE * k))
    p = n / n.sum()
    np.testing.assert_allclose(
        found, -RATE * (p @ np.array(steps)) * (p @ np.array(moves)), atol=1e-10
    )


def all_patients_descent(Z: np.ndarray, gradient, rounds: int) -> np.ndarray:
    "Gradient descent on one table, after each step."
    b, seen = np.zeros(Z.shape[1]), []
    for _ in range(rounds):
        b = b - RATE * gradient(b)
        seen.append(b)
    return np.array(seen)


def test_scaffold_with_one_step_is_gradient_descent_on_all_patients(unlike):
    X, y = unlike.cohort.X, unlike.cohort.y
    Z = np.column_stack([standardised(X), np.ones(len(X))])
    by_hand = all_patients_descent(
        Z, lambda b: Z.T @ (expit(Z @ b) - y) / len(y) + 0.001 * np.append(b[:3], 0), 25
    )
    np.testing.assert_allclose(
        path(unlike, LEARNER, LocalWork(gw.Scaffold(), 1, RATE), 25), by_hand, atol=1e-10
    )


@pytest.mark.parametrize(
    ("steps", "rounds"), [(1, 250), (10, 40), (50, 60), ((2, 5, 10, 50, 50), 80)], ids=str
)
def test_scaffold_finds_the_exact_optimum_where_fedavg_stays_away(unlike, exact, steps, rounds):
    "Oracle: exact Newton steps. Karimireddy 2020, theorem 3: no client drift, whatever the hospitals' data and work."
    far = {
        name: np.abs(
            path(unlike, LEARNER, LocalWork(gw.strategy(name), steps, RATE), rounds)[-1] - exact
        ).max()
        for name in ("scaffold", "fedavg")
    }
    assert far["scaffold"] < 1e-4
    assert far["fedavg"] > 0.05 if steps != 1 else far["fedavg"] < 1e-4


@pytest.mark.parametrize("server_rate", [0.5, 1.0])
def test_scaffold_with_half_the_hospitals_a_round_arrives_too(unlike, exact, server_rate):
    some = gw.Scaffold(server_rate, fraction_train=0.6)
    assert np.abs(path(unlike, LEARNER, LocalWork(some, 5, RATE), 250)[-1] - exact).max() < 0.02


def test_scaffold_starts_anew_in_each_run(unlike):
    "Neither the strategy that was passed nor the hospitals remember an earlier run."
    strategy = gw.Scaffold()
    one, two = (path(unlike, LEARNER, strategy, 4) for _ in range(2))
    assert (one == two).all() and not hasattr(strategy, "control")


def test_what_scaffold_keeps_stays_at_the_hospital(unlike):
    "The control variate itself never crosses; its change does, and is in the books."
    run = federate(unlike, LEARNER, strategy=gw.Scaffold(), rounds=3)
    books = run.disclosed.set_index("name")
    assert {"weights", "control", "steps", "loss"} <= set(books.index) and books.loc[
        "control", "times"
    ] == 15
    assert books.loc["control", "fewest_patients"] == books.loc["weights", "fewest_patients"]
    assert set(run.history[run.history.phase == "train"].metric) == {"rows", "loss", "steps"}


# With every learner that averages weights


def survival() -> gw.Federation:
    X, y = made_up(400, 3, seed=2)
    return in_hospitals(X, y, np.repeat(["A", "B", "C"], [220, 120, 60]))


LEARNERS = {
    "logistic": (
        LEARNER,
        lambda: in_hospitals(*patients(400), np.repeat(["A", "B", "C"], [220, 120, 60])),
    ),
    "cox": (gw.CoxPH(penalty=0.01), survival),
    "discrete": (gw.DiscreteHazard(penalty=0.01, knots=3), survival),
    "discrete per site": (gw.DiscreteHazard(penalty=0.01, baseline="per-site", knots=3), survival),
}


@pytest.mark.parametrize("kind", LEARNERS)
@pytest.mark.parametrize("name", [n for n in STRATEGIES if n != "newton"])
def test_every_strategy_trains_every_learner_nearer_to_the_optimum(name, kind):
    learner, make = LEARNERS[kind]
    federation = make()
    goal = federate(federation, learner).learner.beta_
    run = federate(federation, learner, strategy=gw.strategy(name), rounds=20)
    assert run.strategy.lower() == name and run.rounds == 20 and run.converged is None
    p = 3
    assert (
        np.abs(run.learner.beta_[:p] - goal[:p]).max()
        < (0.9 if name == "krum" else 0.75) * np.abs(goal[:p]).max()
    )


@pytest.mark.parametrize("kind", LEARNERS)
def test_scaffold_reaches_the_exact_fit_of_every_learner(kind):
    learner, make = LEARNERS[kind]
    federation = make()
    goal = federate(federation, learner).learner.beta_
    run, plain = (
        federate(federation, learner, strategy=LocalWork(s, 2), rounds=30)
        for s in (gw.Scaffold(), FedAvg())
    )
    assert np.abs(plain.learner.beta_ - goal).max() > 1e-3
    np.testing.assert_allclose(run.learner.beta_, goal, atol=1e-9)


def test_proximal_training_of_cox_is_gradient_ascent_held_at_the_start():
    """Oracle: one site's steps, written out: the gradient of the partial likelihood less mu times the
    way from the start.
    """
    X, y = made_up(80, 2, seed=4)
    learner = gw.CoxPH(penalty=0.02)
    block = learner.prepare(standardised(X).to_numpy(), learner.target(y))
    start, mu, b = np.array([0.2, -0.1]), 0.5, np.array([0.2, -0.1])
    state = {
        "weights": start,
        "penalty": np.array([0.02]),
        "proximal-mu": np.array([mu]),
        "local-steps": np.array([4.0]),
        "local-rate": np.array([0.1]),
    }
    for _ in range(4):
        b = b + 0.1 * (
            cox_slope(block.X, block.order, b, "efron")[1] / 80 - 0.02 * b - mu * (b - start)
        )
    given = learner.answers("weights", block, state)
    np.testing.assert_allclose(given["weights"].value, b, atol=1e-12)
    assert float(given["steps"].value) == pytest.approx(0.4)


# When it matters


def test_drift_and_unequal_work(unlike, exact):
    "FedProx drifts less than FedAvg; FedNova repairs what unequal work does to FedAvg."

    def far(strategy, steps):
        return np.abs(path(unlike, LEARNER, LocalWork(strategy, steps, RATE), 60)[-1] - exact).max()

    drift = {
        s: far(gw.strategy(s, **o), 20)
        for s, o in (("fedavg", {}), ("fedprox", {"proximal_mu": 1.0}), ("scaffold", {}))
    }
    assert drift["scaffold"] < 1e-3 < drift["fedprox"] < 0.75 * drift["fedavg"]
    unequal = {s: far(gw.strategy(s), (2, 5, 10, 50, 50)) for s in ("fedavg", "fednova")}
    assert unequal["fednova"] < 0.6 * unequal["fedavg"]


@pytest.fixture(scope="module")
def alike() -> tuple[gw.Federation, gw.Federation]:
    "Five alike hospitals; and the same with yes and no exchanged in the last."
    X, y = patients(1500)
    site, wrong = np.repeat(list("ABCDE"), 300), y.copy()
    wrong[1200:] = 1 - wrong[1200:]
    return in_hospitals(X, y, site), in_hospitals(X, wrong, site)


@pytest.mark.parametrize(
    "robust",
    [FedMedian(), FedTrimmedAvg(beta=0.2), Krum(num_malicious_nodes=1)],
    ids=lambda s: type(s).__name__,
)
def test_one_faulty_hospital_of_five_does_not_move_the_robust_strategies(alike, robust):
    sound, faulty = alike
    goal = federate(sound, LEARNER).learner.beta_

    def far(federation, strategy):
        return np.abs(path(federation, LEARNER, LocalWork(strategy, 10, RATE), 25)[-1] - goal).max()

    assert far(faulty, robust) < 0.5 * far(faulty, FedAvg())
    assert far(sound, FedAvg()) < 0.05 < far(faulty, FedAvg())


def test_a_wrong_unit_at_one_hospital_does_not_move_the_median():
    """Hemoglobin in g/L at one of five hospitals, g/dL at the others, with a common encoding made by
    the sound ones' units.
    """
    X, y = made_up(1000, 2, seed=5)
    site = np.repeat(list("ABCDE"), 200)
    learner, goal = (
        gw.CoxPH(penalty=0.01),
        federate(in_hospitals(X, y, site), gw.CoxPH(penalty=0.01)).learner.beta_,
    )
    wrong = X.assign(f0=np.where(site == "E", -X["f0"], X["f0"]))
    ends = {
        s: federate(
            in_hospitals(wrong, y, site),
            learner,
            strategy=LocalWork(gw.strategy(s), 10, 0.3),
            rounds=25,
        ).learner.beta_
        for s in ("fedavg", "fedmedian")
    }
    assert np.abs(ends["fedmedian"] - goal).max() < 0.5 * np.abs(ends["fedavg"] - goal).max()


# By name


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_name_makes_its_strategy(name):
    made = gw.strategy(name)
    if name == "newton":
        assert made is None
    else:
        assert (
            type(made) is getattr(flower, type(made).__name__, type(made))
            and type(made).__name__.lower() == name
            and copy.deepcopy(made) is not made
        )


def test_the_table_is_the_one_source_of_names():
    "The command line knows exactly these, and its help names them all."
    assert list(gw.known_strategies().index) == list(STRATEGIES)
    for name in STRATEGIES:
        assert type(job.make_strategy(name)) is type(gw.strategy(name))
    told = re.sub(
        r"[^a-z ]",
        " ",
        re.sub(
            r"\x1b\[[0-9;]*m",
            "",
            CliRunner()
            .invoke(app, ["run", "--help"], env={"COLUMNS": "400", "TERMINAL_WIDTH": "400"})
            .stdout,
        ),
    )
    assert set(STRATEGIES) <= set(told.split())


@pytest.mark.parametrize(
    ("name", "options", "match"),
    [
        ("fedavgg", {}, "'fedavgg' is no strategy.*fedavg"),
        ("newton", {"rate": 1}, "takes no options.*rate"),
        ("fedavg", {"mu": 1}, "fedavg.*mu"),
        ("fedtrimmedavg", {"beta": 0.7}, "beta"),
        (
            "fedprox",
            {"proximal_mu": "5.0"},
            "fedprox.*proximal_mu='5.0'; expected a number from 0 up",
        ),
        ("fedprox", {"proximal_mu": -1.0}, "proximal_mu=-1.0"),
        ("fedprox", {"proximal_mu": float("nan")}, "proximal_mu=nan"),
        ("fedprox", {"proximal_mu": True}, "proximal_mu=True"),
        ("fedprox", {"proximal_mu": [0.1]}, r"proximal_mu=\[0.1\]"),
        ("fedavgm", {"server_momentum": 1.5}, "server_momentum=1.5; expected a number from 0 to 1"),
        ("fedavgm", {"server_learning_rate": "1"}, "server_learning_rate='1'"),
        ("fedadam", {"eta": -0.1}, "eta=-0.1"),
        ("fedyogi", {"beta_2": 2}, "beta_2=2"),
        ("fedadagrad", {"tau": None}, "tau=None"),
        ("scaffold", {"server_rate": "half"}, "server_rate='half'"),
        ("krum", {"num_malicious_nodes": 1.5}, "num_malicious_nodes=1.5; expected a whole number"),
        ("fedavg", {"fraction_train": "all"}, "fraction_train='all'"),
    ],
)
def test_wrong_names_and_options_are_told(name, options, match):
    with pytest.raises(gw.LearnerError, match=match):
        gw.strategy(name, **options)


@pytest.mark.parametrize("mu", ["5.0", -1.0])
def test_flowers_own_fedprox_is_held_to_the_same(alike, mu):
    """Flower's class takes any value; a text was dropped on the way and hospitals trained with mu = 0.
    Alone, or inside another strategy.
    """
    for strategy in (FedProx(proximal_mu=mu), LocalWork(FedProx(proximal_mu=mu), 3)):
        with pytest.raises(
            gw.LearnerError,
            match=f"strategy={type(strategy).__name__}: proximal_mu={mu!r}; expected a number from 0 up",
        ):
            gw.federate(
                alike[0], gw.LogisticRegression(), strategy=strategy, rounds=1, progress=False
            )


# What cannot be


class NoSteps(gw.LogisticRegression):
    "Does not tell the length of its way."

    def answer(self, question, block, state):
        given = super().answer(question, block, state)
        given.pop("steps", None)
        return given


@pytest.mark.parametrize("strategy", [gw.FedNova(), gw.Scaffold()], ids=["fednova", "scaffold"])
def test_a_learner_without_steps_is_refused_in_words(unlike, strategy):
    with pytest.raises(
        (gw.LearnerError, gw.SiteError), match="length of its training.*choose FedAvg"
    ):
        federate(unlike, NoSteps(0.001), strategy=strategy, rounds=2)


def test_steps_for_another_number_of_hospitals(unlike):
    with pytest.raises(gw.LearnerError, match="5 hospitals"):
        federate(unlike, LEARNER, strategy=LocalWork(FedAvg(), (1, 2)), rounds=2)


def test_a_hospital_that_did_not_move_counts_as_staying():
    """FedNova with a hospital whose weights stayed: no division by zero, and its share of the patients
    stays at the start.
    """
    strategy = gw.FedNova()
    strategy.start_at = {"weights": np.zeros(2)}

    def content(weights, n, steps):
        return RecordDict(
            {
                "arrays": to_record({"weights": np.array(weights, float)}),
                "metrics": MetricRecord({"num-examples": n, "steps": steps}),
            }
        )

    class Reply:
        def __init__(self, content):
            self.content = content

        def has_content(self):
            return True

        def has_error(self):
            return False

    arrays, _ = strategy.aggregate_train(
        1, [Reply(content([1, 1], 30, 2.0)), Reply(content([0, 0], 10, 0.0))]
    )
    np.testing.assert_allclose(from_record(arrays)["weights"], 0.75 * 0.75)


def test_fedprox_holds_hospitals_near_the_start(unlike):
    "The more the proximal term weighs, the shorter the first round's way."
    ways = [
        np.abs(path(unlike, LEARNER, LocalWork(FedProx(proximal_mu=mu), 20, RATE), 1)[0]).max()
        for mu in (0.01, 0.3, 2.0)
    ]
    assert ways == sorted(ways, reverse=True)
