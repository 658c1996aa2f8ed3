"Personal models: between alone and together, weighed at the hospital."

import numpy as np
import pandas as pd
import pytest
from conftest import measure
from sklearn.base import clone

import genomed_workbench as gw
from genomed_workbench.evaluation.arms import fit_rows
from genomed_workbench.learners.learner import ask_blocks
from genomed_workbench.learners.newton import stratified_folds
from genomed_workbench.learners.personal import (
    ALONE,
    TOWARDS,
    held_fits,
    own_models,
    own_terms,
    weights_of,
    without_fold,
)
from genomed_workbench.statistics.concordance import harrell_c

TRUTH = np.array([0.8, -0.5, 0.3, 0.0])
SITES = ["A", "B", "C"]


def made_up(
    sizes=(300, 150, 60), seed: int = 0, unlike: float = 1.0
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    "Three hospitals; in the last the effects are those of the others times `unlike`."
    rng = np.random.default_rng(seed)
    n, site = sum(sizes), np.repeat(SITES, sizes)
    X = pd.DataFrame(rng.normal(size=(n, 4)), columns=["f0", "f1", "f2", "f3"])
    risk = X.to_numpy() @ TRUTH * np.where(site == "C", unlike, 1.0)
    death, lost = rng.exponential(2 * np.exp(-risk)), rng.uniform(0.3, 6, n)
    y = np.zeros(n, dtype=[("event", bool), ("time", float)])
    y["time"], y["event"] = np.minimum(death, lost).round(3) + 0.01, death <= lost
    return X, y, site


def as_federation(X, y, site, test_share: float = 0.0) -> gw.Federation:
    cohort = gw.Cohort.from_frame(
        X.assign(t=y["time"], e=y["event"], s=site),
        gw.Survival("t", "e"),
        site="s",
        features=list(X.columns),
        virtual=True,
    )
    return gw.Federation.by_site(cohort, test_share=test_share)


def test_federated_equals_pooled():
    """Identity: the same arithmetic at the hospitals, over messages or in one process: coefficients,
    baselines, reliance.
    """
    X, y, site = made_up(unlike=-1)
    run = gw.federate(as_federation(X, y, site), gw.PersonalCox(penalty=0.01), progress=False)
    pooled = gw.PersonalCox(penalty=0.01).fit(X, y, site=site)
    for s in SITES:
        measure(
            "personal coefficients: federated - pooled",
            run.learner.personal_[s],
            pooled.personal_[s],
            1e-10,
        )
        measure(
            "personal survival: federated - pooled",
            run.learner.predict_survival(X[:9], [1, 3], site=s),
            pooled.predict_survival(X[:9], [1, 3], site=s),
            1e-10,
        )
    measure("reliance: federated - pooled", run.learner.reliance_, pooled.reliance_, 1e-10)
    federation = gw.federate(as_federation(X, y, site), gw.CoxPH(penalty=0.01), progress=False)
    assert (run.learner.beta_ == federation.learner.beta_).all()


def test_alone_it_is_cox():
    X, y, _ = made_up()
    for sites in (None, np.full(len(X), "A")):
        model, cox = (
            gw.PersonalCox(penalty=0.1).fit(X, y, site=sites),
            gw.CoxPH(penalty=0.1).fit(X, y, site=sites),
        )
        assert (
            (model.beta_ == cox.beta_).all()
            and model.personal_ == {}
            and (model.risk_for(X, np.full(len(X), "A")) == cox.predict(X)).all()
        )


@pytest.mark.parametrize("strength", TOWARDS)
def test_the_shrunken_fit_is_the_optimum(strength):
    "Identity: at the optimum the slope of the hospital's likelihood is n * strength * (beta - beta of the federation)."
    X, y, site = made_up(unlike=-1)
    model = gw.CoxPH(penalty=0.01).fit(X, y, site=site)
    block = model.blocks(model.encoding_.transform(X), model.target(y), site)["C"]
    beta = held_fits(model, block, model.beta_[None], [strength], [-1], np.ones(4))[0]
    slope = model.terms(block, beta[None])[1][0]
    measure(
        "personal fit: slope at the optimum", slope / block.n, strength * (beta - model.beta_), 1e-8
    )


def test_between_alone_and_together():
    "Limits: held hard it is the federation's model; hardly held, the hospital's own."
    X, y, site = made_up(unlike=-1)
    model, here = gw.CoxPH().fit(X, y, site=site), site == "C"
    own = gw.CoxPH().fit(X[here], y[here])
    block = model.blocks(model.encoding_.transform(X), model.target(y), site)["C"]
    hard, free = held_fits(
        model, block, np.repeat(model.beta_[None], 2, axis=0), [1e9, 1e-9], [-1, -1], np.ones(4)
    )
    np.testing.assert_allclose(hard, model.beta_, atol=1e-6)
    np.testing.assert_allclose(free / model.encoding_.sd, own.coef_, atol=1e-5)


def test_the_quick_way_without_a_fold_is_near_the_long_way():
    """Oracle: the federation trained again without the fold. One Newton step leaves less than a
    twentieth of the difference.
    """
    X, y, site = made_up()
    model = gw.CoxPH(penalty=0.02).fit(X, y, site=site)
    blocks = model.blocks(model.encoding_.transform(X), model.target(y), site)
    curvature = sum(model.terms(b, model.beta_[None])[2][0] for b in blocks.values()) + 0.02 * len(
        X
    ) * np.eye(4)
    block = blocks["B"]
    block = type(block)(
        block.X, block.y, stratified_folds(block.y["event"], 5, np.random.default_rng(0))
    )
    for f in range(5):
        whole, part = (model.terms(b, model.beta_[None]) for b in (block, block.without(f)))
        quick = without_fold(
            model.beta_,
            curvature,
            whole[1][0] - part[1][0],
            whole[2][0] - part[2][0],
            0.02 * (block.n - block.without(f).n),
        )
        long = (
            clone(model)
            .train(
                model.encoding_, ask_blocks(model, blocks | {"B": block.without(f)}), list(blocks)
            )
            .beta_
        )
        assert np.abs(quick - long).max() < 0.05 * np.abs(long - model.beta_).max()


def test_a_model_of_ones_own_is_the_isolated_model():
    """Identity: each candidate held towards zero orders patients as CoxPH trained on the hospital
    alone, own scale and own reference levels included.
    """
    X, y, site = made_up(unlike=-1)
    rng = np.random.default_rng(5)
    X = X.assign(
        group=np.where(
            site == "C",
            rng.choice(["one", "two", "three"], len(X), p=[0.2, 0.5, 0.3]),
            rng.choice(["one", "two", "three"], len(X), p=[0.6, 0.2, 0.2]),
        )
    )
    model, here = gw.CoxPH(penalty=0.01).fit(X, y, site=site), site == "C"
    assert model.encoding_.levels["group"][0] == "one"
    Z = model.encoding_.transform(X)
    block = model.blocks(Z, model.target(y), site)["C"]
    basis = own_terms(
        block.X,
        np.array([0 if f.startswith("group=") else -1 for f in model.encoding_.features]),
        model.encoding_.sd,
    )
    own = own_models(model, block, model.beta_[None], basis, [-1])[0][len(TOWARDS) : -1]
    for penalty, beta in zip(ALONE, own, strict=True):
        alone = gw.CoxPH(penalty=penalty).fit(X[here], y[here])
        risk = Z[here] @ beta
        measure(
            "a model of one's own - isolated",
            risk - risk.mean(),
            alone.predict(X[here]) - alone.predict(X[here]).mean(),
            1e-5,
        )


def test_weights_are_shares_and_follow_the_evidence():
    rng = np.random.default_rng(0)
    gained = rng.normal(size=(2, 5, 4))
    assert weights_of(gained, rng).sum() == pytest.approx(1)
    assert weights_of(gained + np.array([0, 0, 4.0, 0]), rng)[2] > 0.99
    assert weights_of(np.zeros((2, 5, 4)), rng).tolist() == [0.25] * 4


def scores(seed: int, unlike: float, small: int) -> tuple[float, float, float]:
    "Concordance for 1200 new patients of the small hospital: alone (tuned), together, personal."
    X, y, site = made_up((300, 200, small), seed, unlike)
    new, outcome, where = made_up((1, 1, 1200), seed + 1000, unlike)
    new, outcome = new[where == "C"], outcome[where == "C"]
    federation = as_federation(X, y, site)
    together = gw.federate(federation, gw.CoxPH(penalty=0.01), progress=False).learner
    personal = gw.federate(
        federation, gw.PersonalCox(penalty=together.penalty, repeats=1), progress=False
    ).learner
    alone = fit_rows(gw.CoxPH(), [federation.sites["C"]], 5)
    risks = (
        alone.predict(new),
        together.predict(new),
        personal.risk_for(new, np.full(len(new), "C")),
    )
    a, t, p = (harrell_c(outcome["time"], outcome["event"], r) for r in risks)
    return a, t, p


@pytest.mark.parametrize(
    ("unlike", "small"),
    [(1.0, 60), (-1.0, 60), (0.0, 100)],
    ids=["like the others", "the other way round", "nothing matters there"],
)
def test_nobody_need_choose(unlike, small):
    """The issue's bar on made-up hospitals, mean over seeds 0 to 3: not worse than the better of alone
    and together by more than .005.
    """
    alone, together, personal = np.mean([scores(seed, unlike, small) for seed in range(4)], axis=0)
    assert personal > max(alone, together) - 0.005, (
        f"alone {alone:.3f}, together {together:.3f}, personal {personal:.3f}"
    )


def test_whose_patients_get_which_model():
    "Own coefficients and baseline for the own hospital, the federation's for everybody else."
    X, y, site = made_up(unlike=-1)
    model, cox = (
        gw.PersonalCox(penalty=0.01).fit(X, y, site=site),
        gw.CoxPH(penalty=0.01).fit(X, y, site=site),
    )
    Z = model.encoding_.transform(X)
    risk = model.risk_for(X, np.where(np.arange(len(X)) % 2, site, "nobody knows"))
    for s in SITES:
        rows = (site == s) & (np.arange(len(X)) % 2 == 1)
        np.testing.assert_allclose(risk[rows], Z[rows] @ model.personal_[s], rtol=1e-12)
    assert (risk[::2] == cox.predict(X)[::2]).all() and (model.predict(X) == cox.predict(X)).all()
    pd.testing.assert_frame_equal(
        model.predict_survival(X[:5], [1, 2], baseline="average"),
        cox.predict_survival(X[:5], [1, 2], baseline="average"),
        check_exact=True,
    )
    block = model.blocks(Z, model.target(y), site)["C"]
    knots, hazard = model.baselines_["C"]
    released = model.released_baseline(block, block.X @ model.personal_["C"])
    assert (released["knots"].value == knots).all() and (released["baseline"].value == hazard).all()


def test_it_is_an_arm_of_a_comparison():
    X, y, site = made_up(unlike=-1)
    comparison = gw.compare(
        as_federation(X, y, site, test_share=0.2),
        gw.PersonalCox(penalty=0.01),
        repeats=2,
        tune=False,
        progress=False,
    )
    plain = gw.compare(
        as_federation(X, y, site, test_share=0.2),
        gw.CoxPH(penalty=0.01),
        repeats=2,
        tune=False,
        progress=False,
    )

    def at(c, arm, metric="harrell_c"):
        t = c.table
        return float(
            t[
                (t.arm == arm)
                & (t.tested_on == "C")
                & (t.metric == metric)
                & ((t.trained_on == "C") | (arm != "isolated"))
            ]["mean"].iloc[0]
        )

    assert at(comparison, "federated") > at(plain, "federated") + 0.1 and at(
        comparison, "isolated"
    ) == at(plain, "isolated")
    assert at(comparison, "federated") == pytest.approx(at(comparison, "pooled"), abs=1e-9)
    assert at(comparison, "federated", "brier") < at(plain, "federated", "brier")


def test_saved_cloned_and_sent(tmp_path):
    X, y, site = made_up()
    run = gw.federate(
        as_federation(X, y, site), gw.PersonalCox(penalty=0.01, repeats=1), progress=False
    )
    again = gw.Run.load(run.save(tmp_path / "run")).learner
    sent = run.learner.imported(run.learner.encoding_, run.learner.exported())
    for other in (again, sent):
        assert (other.risk_for(X, site) == run.learner.risk_for(X, site)).all()
    pd.testing.assert_frame_equal(again.reliance_, run.learner.reliance_, check_exact=True)
    assert clone(run.learner).get_params() == run.learner.get_params() and not hasattr(
        clone(run.learner), "personal_"
    )
    twice = (
        gw.PersonalCox(penalty=0.01, repeats=1).fit(X, y, site=site),
        gw.PersonalCox(penalty=0.01, repeats=1).fit(X, y, site=site),
    )
    assert all((twice[0].personal_[s] == twice[1].personal_[s]).all() for s in SITES)


# What leaves a hospital


def test_the_books_say_that_personal_coefficients_travel_in_the_simulation_only():
    X, y, site = made_up()
    run = gw.federate(
        as_federation(X, y, site), gw.PersonalCox(penalty=0.01, repeats=1), progress=False
    )
    books = run.disclosed.set_index("name")
    assert (
        "simulation only" in books.loc["personal", "what"]
        and books.loc[["personal", "reliance", "baseline"], "fewest_patients"].min() >= 5
    )


def test_a_hospital_with_few_events_has_the_federations_model():
    X, y, site = made_up((200, 100, 30))
    late = np.flatnonzero((site == "C") & y["event"])[4:]
    y["event"][late] = False
    run = gw.federate(
        as_federation(X, y, site), gw.PersonalCox(penalty=0.01, repeats=1), progress=False
    )
    assert (run.learner.personal_["C"] == run.learner.beta_).all() and run.learner.reliance_.loc[
        "C", "together"
    ] == 1
    assert "C" not in run.learner.baselines_


def test_as_many_patients_stand_behind_each_number_as_declared():
    """Leave out one patient after the other: every personal coefficient must move for at least as many
    patients as are declared.
    """
    X, y, site = made_up((200, 100, 40), unlike=-1)
    model = gw.PersonalCox(penalty=0.01, repeats=1, folds=3).fit(X, y, site=site)
    here = np.flatnonzero(site == "C")
    Z, target = model.encoding_.transform(X), model.target(y)
    state = {
        "beta": model.beta_,
        "curvature": 100.0 * np.eye(4),
        "category": np.full(4, -1),
        "sd": np.ones(4),
    }
    whole = model.answers("personal", model.prepare(Z[here], target[here]), state)
    moved = {k: np.zeros(whole[k].value.shape, int) for k in ("personal", "reliance")}
    for i in here:
        part = here[here != i]
        without = model.answers("personal", model.prepare(Z[part], target[part]), state)
        for k in moved:
            moved[k] += np.abs(without[k].value - whole[k].value) > 1e-12
    for k, count in moved.items():
        assert count.min() >= whole[k].patients >= 5, (
            f"{k}: {count.min()} patients behind a number, declared {whole[k].patients}"
        )
    assert len(whole["reliance"].value) == len(TOWARDS) + len(ALONE) + 1
