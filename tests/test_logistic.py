"Logistic regression: federated against pooled, against scikit-learn and by hand; separation, collinearity, averaging."

import warnings

import numpy as np
import pandas as pd
import pytest
from conftest import as_cohort, federate, made_up, measure, standardised
from flwr.serverapp.strategy import FedAdam, FedAvg, FedMedian, FedProx
from scipy.special import expit
from sklearn.linear_model import LogisticRegression as Reference

import genomed_workbench as gw


def cases(n: int = 300, p: int = 3, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    "Made-up patients with a 0/1 outcome."
    X, _ = made_up(n, p, seed)
    return X * [1.0, 20.0, 0.05][:p] + [0.0, 100.0, 5.0][:p], (
        np.random.default_rng(seed + 1).random(n) < expit(X["f0"] - 0.5 * X[f"f{p - 1}"] - 0.4)
    ).astype(int).to_numpy()


def by_hospital(X: pd.DataFrame, y: np.ndarray, sizes=(180, 90, 30), **options) -> gw.Federation:
    "Hospitals of given sizes."
    return gw.Federation.by_site(
        as_cohort(X, y, np.repeat([f"h{i}" for i in range(len(sizes))], sizes)),
        **{"small": "keep", "test_share": 0.0, **options},
    )


def reference(X: pd.DataFrame, y: np.ndarray, penalty: float) -> tuple[np.ndarray, float]:
    "scikit-learn on standardised columns: it minimises C * loss + sum(beta^2) / 2, so C = 1 / (penalty * n)."
    C = np.inf if penalty == 0 else 1 / (penalty * len(X))
    model = Reference(C=C, tol=1e-14, max_iter=10_000, solver="newton-cholesky").fit(
        standardised(X), y
    )
    return model.coef_[0], float(model.intercept_[0])


@pytest.mark.parametrize("penalty", [0.0, 0.01, 1.0])
def test_federated_equals_pooled_and_scikit_learn(penalty):
    "Oracles: the pooled table in one process (1e-10) and scikit-learn (1e-6) on columns standardised with pandas."
    X, y = cases()
    run, pooled = (
        federate(by_hospital(X, y), gw.LogisticRegression(penalty)),
        gw.LogisticRegression(penalty).fit(X, y),
    )
    measure("logistic: federated - pooled, coefficients", run.learner.beta_, pooled.beta_, 1e-10)
    measure(
        "logistic: federated - pooled, standard errors",
        run.learner.summary_["se"],
        pooled.summary_["se"],
        1e-10,
    )
    coef, intercept = reference(X, y, penalty)
    measure(
        "logistic: federated - scikit-learn, coefficients",
        run.learner.beta_,
        [*coef, intercept],
        1e-6,
    )
    p = expit(standardised(X).to_numpy() @ coef + intercept)
    measure("logistic: federated - scikit-learn, probabilities", run.learner.predict(X), p, 1e-6)
    np.testing.assert_allclose(run.learner.predict_proba(X), np.column_stack([1 - p, p]), atol=1e-6)
    raw = X.to_numpy() @ run.learner.coef_ + run.learner.intercept_
    np.testing.assert_allclose(expit(raw), run.learner.predict(X), rtol=1e-10)


def test_standard_errors_by_hand():
    "Oracle: the inverse of X'WX with the intercept in it, in the unit of the columns."
    X, y = cases()
    model = gw.LogisticRegression().fit(X, y)
    A, p = np.column_stack([X, np.ones(len(X))]), model.predict(X)
    se = np.sqrt(np.diag(np.linalg.inv((A * (p * (1 - p))[:, None]).T @ A)))
    np.testing.assert_allclose(model.summary_["se"], se[:-1], rtol=1e-7)
    np.testing.assert_allclose(model.summary_["odds_ratio"], np.exp(model.coef_), rtol=1e-12)
    np.testing.assert_allclose(
        np.log(model.summary_[["low", "high"]]),
        np.column_stack([model.coef_ - 1.959964 * se[:-1], model.coef_ + 1.959964 * se[:-1]]),
        rtol=1e-5,
        atol=1e-9,
    )


def test_the_intercept_is_not_penalised():
    "With a huge penalty the model predicts the share of cases."
    X, y = cases()
    assert gw.LogisticRegression(penalty=1e6).fit(X, y).predict(X) == pytest.approx(
        y.mean(), abs=1e-4
    )


def test_separation_is_named_and_a_penalty_helps():
    X, y = cases(120)
    X = X.assign(leak=y * 2.0 - 1)
    with pytest.raises(gw.LearnerError, match=r"leak.*penalty"):
        gw.LogisticRegression().fit(X, y)
    with pytest.raises(gw.LearnerError, match=r"runs away"):
        federate(
            by_hospital(
                X.assign(leak=np.where(y == 1, X["f0"].abs() + 0.1, -X["f0"].abs())), y, (60, 60)
            ),
            gw.LogisticRegression(),
            rounds=60,
        )
    model = gw.LogisticRegression(penalty=0.01).fit(X, y)
    measure(
        "logistic, separated: coefficients - scikit-learn",
        model.beta_[:-1],
        reference(X, y, 0.01)[0],
        1e-6,
    )


def test_collinear_features_are_named_and_a_penalty_helps():
    X, y = cases()
    X = X.assign(twin=X["f1"] * 12)
    with pytest.raises(gw.LearnerError, match=r"(f1|twin).*(f1|twin).*penalty"):
        federate(by_hospital(X, y), gw.LogisticRegression())
    run = federate(by_hospital(X, y), gw.LogisticRegression(penalty=0.01))
    measure(
        "logistic, collinear: coefficients - scikit-learn",
        run.learner.beta_[:-1],
        reference(X, y, 0.01)[0],
        1e-6,
    )


def test_more_features_than_patients():
    rng = np.random.default_rng(0)
    X, y = pd.DataFrame(rng.normal(size=(30, 50))).add_prefix("g"), rng.integers(0, 2, 30)
    with pytest.raises(gw.LearnerError, match=r"g\d+.*penalty"):
        gw.LogisticRegression().fit(X, y)
    model = gw.LogisticRegression(penalty=0.1).fit(X, y)
    measure(
        "logistic, more features than patients: coefficients - scikit-learn",
        model.beta_[:-1],
        reference(X, y, 0.1)[0],
        1e-6,
    )
    tuned = federate(by_hospital(X, y, (15, 15)), gw.LogisticRegression(), tune=3)
    assert tuned.learner.penalty > 0 and tuned.converged


def test_one_class_only_is_said():
    X, _ = cases(50)
    for value in (0, 1):
        with pytest.raises(gw.LearnerError, match=r"(?i)class|only|all .*(0|1)") as caught:
            gw.LogisticRegression().fit(X, np.full(50, value))
        assert "f0" not in str(caught.value), (
            "no feature is to blame when every patient has the same outcome"
        )


def test_one_class_at_one_site_is_normal():
    X, y = cases(200)
    y[120:150] = 0
    run = federate(by_hospital(X, y, (120, 30, 50)), gw.LogisticRegression())
    measure(
        "logistic, one class at a site: coefficients - scikit-learn",
        run.learner.beta_[:-1],
        reference(X, y, 0.0)[0],
        1e-6,
    )


@pytest.mark.parametrize("scale", [1e9, 1e-9])
def test_the_unit_of_a_covariate_does_not_matter(scale):
    X, y = cases()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scaled = gw.LogisticRegression().fit(X * scale, y)
    plain = gw.LogisticRegression().fit(X, y)
    measure("logistic: another unit", scaled.beta_, plain.beta_, 1e-10)
    np.testing.assert_allclose(scaled.predict(X * scale), plain.predict(X), rtol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_heavy_tailed_covariates_converge(seed):
    "Oracle: the gradient is zero where we stopped."
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.standard_cauchy((200, 2)), columns=["a", "b"])
    y = (rng.random(200) < expit(np.clip(X["a"], -6, 6))).astype(int).to_numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = federate(by_hospital(X, y, (100, 100)), gw.LogisticRegression(), rounds=60)
    A = np.column_stack([standardised(X), np.ones(200)])
    p = expit(A @ run.learner.beta_)
    assert (
        run.converged
        and np.abs(np.linalg.solve((A * (p * (1 - p))[:, None]).T @ A, A.T @ (y - p))).max() < 1e-6
    )


@pytest.mark.parametrize(
    "values", [["yes", "no"], [1, 2], [0, 1, 2], [0, np.nan], [-1, 1], [0.5, 1]]
)
def test_an_outcome_that_is_not_0_and_1_is_refused(values):
    X, _ = cases(60)
    with pytest.raises(ValueError, match="expected 0 and 1"):
        gw.LogisticRegression().fit(X, np.resize(np.array(values), 60))


@pytest.mark.parametrize("kind", [bool, int, float, np.int8, object])
def test_0_and_1_may_come_in_any_type(kind):
    X, y = cases(80)
    assert (
        gw.LogisticRegression().fit(X, y.astype(kind)).beta_
        == gw.LogisticRegression().fit(X, y).beta_
    ).all()
    assert (
        gw.LogisticRegression().fit(X, pd.Series(y.astype(kind))).beta_
        == gw.LogisticRegression().fit(X, y).beta_
    ).all()


# Averaging weights with Flower's own strategies


STRATEGIES = {
    "FedAvg": FedAvg,
    "FedProx": lambda: FedProx(proximal_mu=0.1),
    "FedAdam": lambda: FedAdam(eta=0.1),
    "FedMedian": FedMedian,
}


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize(
    "learner", [gw.LogisticRegression(0.01), gw.CoxPH(0.01)], ids=["logistic", "cox"]
)
def test_flowers_own_strategies_run(name, learner):
    """They end finite and nearer the exact coefficients than the zeros they start from; they have no
    standard errors, and say so by NaN.
    """
    X, y = cases() if isinstance(learner, gw.LogisticRegression) else made_up(300, 3)
    federation = by_hospital(X, y, test_share=0.2)
    exact, run = (
        federate(federation, learner).learner,
        federate(federation, learner, strategy=STRATEGIES[name](), rounds=15),
    )
    assert run.strategy == name and run.converged is None and run.rounds == 15
    assert np.isfinite(run.learner.beta_).all() and np.linalg.norm(
        run.learner.beta_ - exact.beta_
    ) < 0.7 * np.linalg.norm(exact.beta_)
    assert run.learner.summary_["se"].isna().all() and run.learner.summary_["coef"].notna().all()
    assert set(run.history["phase"]) >= {"summaries", "train", "evaluate", "test"}


def test_averaging_comes_near_and_farther_where_sites_differ():
    "FedAvg arrives beside the exact fit: nearer with one local step than with many, farther where hospitals differ."
    X, y = cases()
    far = {}
    for kind, table in (
        ("alike", X),
        ("unlike", X.assign(f0=X["f0"] + np.repeat([0.0, 1.0, 3.0], [180, 90, 30]))),
    ):
        federation = by_hospital(table, y)
        exact = federate(federation, gw.LogisticRegression(0.05)).learner.beta_
        for steps in (1, 5):
            averaged = federate(
                federation,
                gw.LogisticRegression(0.05, local_steps=steps),
                strategy=FedAvg(),
                rounds=100,
            )
            far[kind, steps] = np.abs(averaged.learner.beta_ - exact).max()
    assert far["alike", 1] < 0.02 and far["alike", 1] < far["alike", 5] < 0.05
    assert far["unlike", 1] < far["unlike", 5] < 0.3 and far["alike", 5] < far["unlike", 5]


def test_identical_sites_make_averaging_exact():
    "Oracle: the exact fit; three copies of one hospital agree on the way."
    X, y = cases(100)
    federation = by_hospital(pd.concat([X] * 3, ignore_index=True), np.tile(y, 3), (100, 100, 100))
    exact = federate(federation, gw.LogisticRegression(0.05)).learner.beta_
    averaged = federate(
        federation, gw.LogisticRegression(0.05, local_steps=100), strategy=FedAvg(), rounds=30
    ).learner.beta_
    measure("logistic: FedAvg over identical sites - exact", averaged, exact, 1e-6)


def test_averages_are_weighted_by_patients():
    "One local step from zero is a known vector a site; FedAvg must return their mean weighted by training rows."
    X, y = cases()
    federation = by_hospital(X, y, (200, 80, 20))
    learner = gw.LogisticRegression(0.02, local_steps=1)
    run = federate(federation, learner, strategy=FedAvg(), rounds=1)
    A, moved = np.column_stack([standardised(X), np.ones(300)]), []
    for rows in federation.members.values():
        Z, t = A[rows], y[rows]
        rate = 1 / (np.linalg.eigvalsh(Z.T @ Z / 4)[-1] / len(rows) + 0.02 + 1e-9)
        moved.append(rate * Z.T @ (t - 0.5) / len(rows))
    measure(
        "logistic: one round of FedAvg - by hand",
        run.learner.beta_,
        np.average(moved, axis=0, weights=[200, 80, 20]),
        1e-10,
    )


def test_the_strategy_passed_is_not_changed():
    X, y = cases()
    strategy = FedAvg(fraction_evaluate=1.0)
    before = dict(vars(strategy))
    federate(by_hospital(X, y), gw.LogisticRegression(), strategy=strategy, rounds=2)
    assert {k: v for k, v in vars(strategy).items() if not callable(v)} == {
        k: v for k, v in before.items() if not callable(v)
    }


@pytest.mark.parametrize("learner", [gw.LogisticRegression(), gw.CoxPH()], ids=["logistic", "cox"])
@pytest.mark.parametrize("seed", [2, 3, 5])
def test_averaging_survives_skewed_covariates(seed, learner):
    """White cell counts are as skewed as these. A local step that is longer than the curvature allows
    sends the average to infinity.
    """
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.lognormal(0, 2, (300, 2)), columns=["wbc", "ldh"])
    y = (
        rng.integers(0, 2, 300)
        if isinstance(learner, gw.LogisticRegression)
        else made_up(300, 1, seed)[1]
    )
    exact = federate(by_hospital(X, y), learner, rounds=50).learner.beta_
    run = federate(by_hospital(X, y), learner, strategy=FedAvg(), rounds=30)
    assert np.isfinite(run.learner.beta_).all() and np.abs(run.learner.beta_ - exact).max() < 2
