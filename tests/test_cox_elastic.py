"""Elastic net over a federation: the optimum's own conditions, scikit-survival and scikit-learn as
oracles, federated = pooled.
"""

import numpy as np
import pandas as pd
import pytest
from conftest import measure
from sklearn.linear_model import LogisticRegression

import genomed_workbench as gw
from genomed_workbench.learners.encoding import Encoding, Summary
from genomed_workbench.statistics.cox import cox_terms


def made_up(n: int = 300, p: int = 8, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    "Standardised features, two of which matter; outcome; three hospitals."
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.normal(size=(n, p)), columns=[f"f{k}" for k in range(p)])
    X = (X - X.mean()) / X.std()
    death, lost = rng.exponential(2 * np.exp(-X.f0 + 0.5 * X.f1)), rng.uniform(0.2, 5, n)
    y = np.zeros(n, dtype=[("event", bool), ("time", float)])
    y["time"], y["event"] = np.minimum(death, lost).round(2) + 0.01, death <= lost
    return X, y, np.repeat(["A", "B", "C"], [n - 120, 80, 40])


def as_federation(X, y, site) -> gw.Federation:
    return gw.Federation.by_site(
        gw.Cohort.from_frame(
            X.assign(t=y["time"], e=y["event"], s=site),
            gw.Survival("t", "e"),
            site="s",
            features=list(X.columns),
            virtual=True,
        ),
        test_share=0.0,
    )


CASES = [(0.05, 0.5), (0.1, 1.0), (0.02, 0.9), (5.0, 0.5)]


@pytest.mark.parametrize(("penalty", "l1_ratio"), CASES)
def test_the_conditions_of_the_optimum_hold(penalty, l1_ratio):
    """Identity (Karush-Kuhn-Tucker): where a coefficient is not zero its slope is zero; where it is,
    the slope is within the lasso penalty.
    """
    X, y, site = made_up()
    model = gw.CoxPH(penalty=penalty, l1_ratio=l1_ratio).fit(X, y, site=site)
    slope = 0.0
    for block in model.blocks(model.encoding_.transform(X), model.target(y), site).values():
        slope = slope + cox_terms(block.X, block.order, model.beta_)[1]
    slope, on = slope / len(X) - penalty * (1 - l1_ratio) * model.beta_, model.beta_ != 0
    measure(
        "elastic net: slope at the optimum",
        slope[on],
        penalty * l1_ratio * np.sign(model.beta_[on]),
        1e-8,
    )
    assert (
        (np.abs(slope[~on]) <= penalty * l1_ratio + 1e-8).all()
        and model.converged_
        and not on.all()
    )


@pytest.mark.parametrize(("penalty", "l1_ratio"), CASES)
def test_equals_scikit_survival(penalty, l1_ratio):
    "Oracle: CoxnetSurvivalAnalysis (Simon 2011; Breslow's ties, one baseline); its own accuracy is about 1e-6."
    coxnet = pytest.importorskip(
        "sksurv.linear_model", reason="scikit-survival is a development tool"
    )
    X, y, _ = made_up()
    model = gw.CoxPH(penalty=penalty, l1_ratio=l1_ratio, ties="breslow").fit(X, y)
    theirs = coxnet.CoxnetSurvivalAnalysis(
        alphas=[penalty], l1_ratio=l1_ratio, tol=1e-12, max_iter=1_000_000
    ).fit(X, y)
    measure("elastic net - scikit-survival", model.beta_, theirs.coef_[:, 0], 5e-6)
    assert ((model.beta_ == 0) == (theirs.coef_[:, 0] == 0)).all()


@pytest.mark.parametrize(
    "options",
    [{}, {"ties": "breslow"}, {"baseline": "shared", "disclosure": "simulation"}],
    ids=["per site", "breslow", "shared"],
)
def test_federated_equals_pooled(options):
    "Only the server's step differs from ridge: sums of three hospitals give what one table gives."
    X, y, site = made_up()
    run = gw.federate(
        as_federation(X, y, site), gw.CoxPH(penalty=0.05, l1_ratio=0.5, **options), progress=False
    )
    pooled = gw.CoxPH(penalty=0.05, l1_ratio=0.5, **options).fit(X, y, site=site)
    measure("elastic net: federated - pooled", run.learner.beta_, pooled.beta_, 1e-10)
    assert run.converged and (run.learner.beta_ == 0).any() and run.learner.summary_.se.isna().all()


def test_on_the_real_study(cohort_of):
    "ipssm-study in five hospitals: federated equals pooled, and most mutations are left out."
    federation = gw.Federation.split(cohort_of("ipssm-study"), (45, 20, 15, 10, 10), test_share=0.0)
    run = gw.federate(federation, gw.CoxPH(penalty=0.05, l1_ratio=0.9), progress=False)
    rows = federation.train_rows
    site = np.repeat(list(federation.sites), [len(s.train_rows) for s in federation.sites.values()])
    pooled = gw.CoxPH(penalty=0.05, l1_ratio=0.9).fit(
        federation.cohort.X.iloc[rows], federation.cohort.y[rows], site=site
    )
    measure("elastic net, ipssm-study: federated - pooled", run.learner.beta_, pooled.beta_, 1e-10)
    assert 3 < (run.learner.beta_ != 0).sum() < 25


def test_no_lasso_is_todays_ridge_to_the_last_bit():
    X, y, site = made_up()
    plain, zero = (
        gw.CoxPH(penalty=0.05, **o).fit(X, y, site=site) for o in ({}, {"l1_ratio": 0.0})
    )
    assert (plain.beta_ == zero.beta_).all() and plain.n_rounds_ == zero.n_rounds_
    pd.testing.assert_frame_equal(plain.summary_, zero.summary_, check_exact=True)
    from genomed_workbench.learners.newton import NewtonSearch

    steps = []
    for options in ({}, {"lasso": [0.0]}):
        search = NewtonSearch(["a", "b"], np.ones(2, bool), [0.1], **options)
        search.absorb(
            [
                {
                    "loglik": np.array([-3.0]),
                    "gradient": np.array([[1.0, 2.0]]),
                    "hessian": np.array([[[2.0, 0.1], [0.1, 1.0]]]),
                    "patients": np.array([10.0]),
                }
            ]
        )
        steps.append(search.trial[0])
    assert (steps[0] == steps[1]).all() and (
        steps[0]
        == np.linalg.solve(np.array([[2.0, 0.1], [0.1, 1.0]]) + np.diag([1.0, 1.0]), [1.0, 2.0])
    ).all()


def test_more_features_than_patients():
    "What ridge-free Newton cannot do: 80 features for 60 patients, and two that say the same."
    X, y, _ = made_up(200, 80, 3)
    X, y = X[:60].assign(twin=X.f0[:60]), y[:60]
    model = gw.CoxPH(penalty=0.1, l1_ratio=0.9).fit(X, y)
    assert (
        model.converged_
        and 0 < (model.beta_ != 0).sum() < 30
        and "f0" in model.summary_.index[model.beta_ != 0].tolist() + ["f0"] * bool(model.beta_[-1])
    )


def test_tuning_chooses_penalty_and_share():
    "Several shares: one of them is chosen along with the penalty, the same over a federation as in one table."
    X, y, site = made_up(p=10)
    federation = as_federation(X, y, site)
    run = gw.federate(federation, gw.CoxPH(l1_ratio=(0.0, 0.5, 1.0)), tune=3, progress=False)
    assert run.tuning.index.names == ["penalty", "l1_ratio"] and len(run.tuning) == 24
    assert (run.learner.penalty, run.learner.l1_ratio) == run.tuning.idxmax()
    only = gw.federate(federation, gw.CoxPH(l1_ratio=0.5), tune=3, progress=False)
    assert only.tuning.index.name == "penalty"
    np.testing.assert_allclose(
        only.tuning.to_numpy(), run.tuning.xs(0.5, level="l1_ratio").to_numpy(), rtol=1e-5
    )
    comparison = gw.compare(
        federation.__class__.by_site(federation.cohort, test_share=0.2),
        gw.CoxPH(l1_ratio=(0.0, 1.0)),
        repeats=2,
        progress=False,
    )
    assert comparison.table["mean"].notna().any()


def test_wrong_shares_are_refused_in_words():
    X, y, site = made_up()
    for wrong in (-0.1, 1.5, ()):
        with pytest.raises(ValueError, match="l1_ratio"):
            gw.CoxPH(penalty=0.1, l1_ratio=wrong).fit(X, y)
    with pytest.raises(ValueError, match="tune=5"):
        gw.CoxPH(penalty=0.1, l1_ratio=(0.0, 1.0)).fit(X, y)
    from flwr.serverapp.strategy import FedAvg

    with pytest.raises((ValueError, gw.SiteError), match="averaging"):
        gw.federate(
            as_federation(X, y, site),
            gw.CoxPH(penalty=0.1, l1_ratio=0.5),
            strategy=FedAvg(),
            rounds=2,
            progress=False,
        )


def test_logistic_elastic_net_equals_scikit_learn():
    "Oracle: scikit-learn's saga on standardised columns; C = 1/(n penalty)."
    X, _, site = made_up()
    y = (X.f0 - X.f1 + np.random.default_rng(1).normal(size=len(X)) > 0).astype(int)
    model = gw.LogisticRegression(penalty=0.05, l1_ratio=0.5).fit(X, y)
    Z = Encoding.of(Summary.of(X), tuple(X.columns)).transform(X)
    theirs = LogisticRegression(
        C=1 / (len(X) * 0.05),
        l1_ratio=0.5,
        penalty="elasticnet",
        solver="saga",
        tol=1e-10,
        max_iter=100_000,
    ).fit(Z, y)
    measure("logistic elastic net - scikit-learn", model.beta_[:-1], theirs.coef_[0], 1e-6)
    cohort = gw.Cohort.from_frame(
        X.assign(y=y, s=site), gw.Binary("y"), site="s", features=list(X.columns), virtual=True
    )
    run = gw.federate(
        gw.Federation.by_site(cohort, test_share=0.0),
        gw.LogisticRegression(penalty=0.05, l1_ratio=0.5),
        progress=False,
    )
    measure("logistic elastic net: federated - pooled", run.learner.beta_, model.beta_, 1e-10)
