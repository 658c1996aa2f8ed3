"""The Cox model: federated against pooled, against lifelines, scikit-survival and the textbook, and
data that make it hard.
"""

import warnings

import numpy as np
import pandas as pd
import pytest
from conftest import (
    COHORTS,
    as_cohort,
    federate,
    in_hospitals,
    made_up,
    measure,
    outcome,
    standardised,
    textbook_cox,
    textbook_fit,
    training_table,
)
from lifelines import CoxPHFitter
from sksurv.linear_model import CoxPHSurvivalAnalysis

import genomed_workbench as gw
from genomed_workbench.evaluation.arms import pooled_model
from genomed_workbench.learners.cox import on_grid
from genomed_workbench.learners.encoding import Encoding, Summary
from genomed_workbench.learners.learner import ask_blocks
from genomed_workbench.learners.newton import (
    PENALTIES,
    NewtonSearch,
    UnidentifiedWarning,
    few_at_once,
    stratified_folds,
    tune_penalty,
)
from genomed_workbench.statistics.cox import (
    RiskOrder,
    cox_terms,
    grouped_baseline,
    round_times,
    shared_curvature,
    shared_increments,
    shared_sums,
)

PENALTY = {"leukemia-nw-england": 0.0, "transplant-4-hospitals": 0.0, "ipssm-study": 0.01}
MODES = {
    "per-site": {"baseline": "per-site"},
    "shared, simulation": {"baseline": "shared", "disclosure": "simulation"},
    "shared, time grid": {"baseline": "shared", "disclosure": "simulation"},
}
GRIDS = {
    "leukemia-nw-england": (0.25, 0.5, 1, 2, 4, 15),
    "transplant-4-hospitals": (0.25, 0.5, 1, 2, 4, 8),
    "ipssm-study": (0.5, 1, 2, 3, 5, 25),
}


def learner_for(name: str, mode: str, ties: str) -> gw.CoxPH:
    "The learner of one combination."
    grid = {"time_grid": GRIDS[name]} if mode == "shared, time grid" else {}
    return gw.CoxPH(penalty=PENALTY[name], ties=ties, **MODES[mode], **grid)


def fitted_quietly(fit):
    "What `fit()` returns, without the warning about features that cannot be identified."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnidentifiedWarning)
        return fit()


@pytest.fixture(scope="session")
def run_of(federation_of):
    "One federated run a combination, made once."
    kept = {}

    def make(name, mode, ties):
        if (name, mode, ties) not in kept:
            kept[name, mode, ties] = fitted_quietly(
                lambda: federate(federation_of(name), learner_for(name, mode, ties), test=False)
            )
        return kept[name, mode, ties]

    return make


def precise(
    frame: pd.DataFrame, penalty: float = 0.0, strata: list[str] | None = None
) -> CoxPHFitter:
    "lifelines run to its last digits on standardised columns, times in `t`, events in `e`."
    return CoxPHFitter(penalizer=penalty).fit(
        frame, "t", "e", strata=strata, fit_options={"precision": 1e-13, "max_steps": 100}
    )


def for_lifelines(federation, learner, drop=()):
    "Standardised columns made with pandas, outcome and hospital in one frame."
    X, y, site = training_table(federation)
    y = on_grid(y, learner.time_grid)
    return standardised(X).drop(columns=list(drop)).assign(t=y["time"], e=y["event"], s=site)


# Federated against pooled


@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", COHORTS)
def test_federated_equals_pooled(name, mode, ties, run_of, federation_of):
    """Oracle: the same likelihood on the pooled table in one process (DESIGN: pooled arm).
    Coefficients, standard errors, survival.
    """
    run, federation = run_of(name, mode, ties), federation_of(name)
    X, y, site = training_table(federation)
    pooled = fitted_quietly(lambda: learner_for(name, mode, ties).fit(X, y, site=site))
    assert run.converged and pooled.converged_
    label = f"{name}, {mode}: federated - pooled"
    measure(f"{label}, coefficients", run.learner.beta_, pooled.beta_, 1e-10)
    measure(
        f"{label}, standard errors",
        run.learner.summary_["se"] * run.learner.encoding_.sd,
        pooled.summary_["se"] * pooled.encoding_.sd,
        1e-10,
    )
    times = np.quantile(y["time"], [0.1, 0.3, 0.5, 0.7, 0.9])
    where = {"baseline": "average"} if mode == "per-site" else {}
    measure(
        f"{label}, survival",
        run.learner.predict_survival(X[:50], times, **where),
        pooled.predict_survival(X[:50], times, **where),
        1e-10,
    )
    if mode == "per-site":
        home = next(iter(run.learner.baselines_))
        measure(
            f"{label}, survival",
            run.learner.predict_survival(X[:9], times, site=home),
            pooled.predict_survival(X[:9], times, site=home),
            1e-10,
        )


@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["leukemia-nw-england", "transplant-4-hospitals"])
def test_federated_equals_the_textbook(name, mode, ties, run_of, federation_of):
    "Oracle: Newton steps on the textbook's sums over risk sets, on columns standardised with pandas."
    run, learner = run_of(name, mode, ties), learner_for(name, mode, ties)
    frame = for_lifelines(federation_of(name), learner)
    Z = frame.drop(columns=["t", "e", "s"])
    assert list(Z.columns) == list(run.learner.encoding_.features)
    stratum = frame["s"].to_numpy() if mode == "per-site" else None
    expected = textbook_fit(
        Z.to_numpy(), frame["t"].to_numpy(), frame["e"].to_numpy(), ties, stratum, learner.penalty
    )
    measure(f"{name}, {mode}: federated - textbook", run.learner.beta_, expected, 1e-9)


# Against lifelines (Efron)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", COHORTS)
def test_federated_equals_lifelines(name, mode, run_of, federation_of):
    """Oracle: lifelines (Efron; strata = hospital for a baseline per site) on columns standardised with pandas.

    lifelines maximises loglik - n * penalizer / 2 * sum(beta^2) over columns that it divides by
    their own sd (ddof=1): our `penalty`.
    """
    run, federation, learner = (
        run_of(name, mode, "efron"),
        federation_of(name),
        learner_for(name, mode, "efron"),
    )
    frame = for_lifelines(federation, learner, drop=run.learner.unidentified_)
    if mode != "per-site":
        frame = frame.drop(columns="s")
    reference = precise(frame, learner.penalty, ["s"] if mode == "per-site" else None)
    ours = run.learner.summary_.drop(index=run.learner.unidentified_)
    sd = pd.Series(run.learner.encoding_.sd, index=run.learner.encoding_.features)[ours.index]
    measure(
        f"{name}, {mode}: federated - lifelines, coefficients",
        ours["coef"] * sd,
        reference.params_[ours.index],
        1e-6,
    )
    measure(
        f"{name}, {mode}: federated - lifelines, standard errors",
        ours["se"] * sd,
        reference.standard_errors_[ours.index],
        1e-6,
    )
    if learner.penalty == 0:
        measure(
            f"{name}, {mode}: federated - lifelines, log-likelihood",
            run.learner.loglik_,
            reference.log_likelihood_,
            1e-6,
        )
    measure(
        f"{name}, {mode}: federated - lifelines, p",
        ours["p"],
        reference.summary["p"][ours.index],
        1e-6,
    )


@pytest.mark.parametrize("penalty", [0.003, 0.1])
def test_ridge_means_what_lifelines_means(penalty, federation_of):
    "Oracle: lifelines with `penalizer=penalty`, with and without strata, on standardised columns."
    federation = federation_of("leukemia-nw-england")
    for learner, strata in (
        (gw.CoxPH(penalty), ["s"]),
        (gw.CoxPH(penalty, baseline="shared", disclosure="simulation"), None),
    ):
        frame = for_lifelines(federation, learner)
        reference = precise(frame if strata else frame.drop(columns="s"), penalty, strata)
        run = federate(federation, learner)
        sd = run.learner.encoding_.sd
        measure(
            "ridge: federated - lifelines, coefficients", run.learner.beta_, reference.params_, 1e-6
        )
        measure(
            "ridge: federated - lifelines, standard errors",
            run.learner.summary_["se"] * sd,
            reference.standard_errors_,
            1e-6,
        )


def test_baseline_survival_is_that_of_lifelines_where_it_is_released(federation_of):
    """Oracle: lifelines' baseline cumulative hazard (Breslow's estimator, at the mean of the
    covariates), at the released knots.
    """
    federation = federation_of("leukemia-nw-england")
    for learner, per_site in (
        (gw.CoxPH(ties="breslow"), True),
        (gw.CoxPH(ties="breslow", baseline="shared", disclosure="simulation"), False),
    ):
        run, X, frame = federate(federation, learner), *_table_and_frame(federation, learner)
        for name, (knots, hazard) in run.learner.baselines_.items():
            here = frame[frame["s"] == name] if per_site else frame
            w = np.exp(here[list(run.learner.encoding_.features)].to_numpy() @ run.learner.beta_)
            t, e = here["t"].to_numpy(), here["e"].to_numpy()
            breslow = [sum(1 / w[t >= u].sum() for u in t[e & (t <= k)]) for k in knots]
            measure("baseline hazard - Breslow's estimator by hand", hazard, breslow, 1e-9)
    # without tied times Efron's and Breslow's estimators agree, and lifelines has the latter
    X, y = made_up(150, 2, seed=3)
    reference = precise(standardised(X).assign(t=y["time"], e=y["event"]))
    steps = gw.CoxPH(baseline="shared", disclosure="simulation").fit(X, y)
    expected = reference.baseline_survival_["baseline survival"]
    mean = pd.DataFrame([X.mean()])
    measure(
        "baseline survival - lifelines, every step",
        steps.predict_survival(mean, expected.index)[:].to_numpy()[0],
        expected.to_numpy(),
        1e-6,
    )
    grouped = gw.CoxPH().fit(X, y)
    knots = grouped.baselines_["all"][0]
    at_knots = expected.to_numpy()[np.searchsorted(expected.index, knots, side="right") - 1]
    measure(
        "baseline survival - lifelines, at knots",
        grouped.predict_survival(mean, knots).to_numpy()[0],
        at_knots,
        1e-6,
    )


def _table_and_frame(federation, learner):
    return training_table(federation)[0], for_lifelines(federation, learner)


def test_survival_per_hospital_is_that_of_lifelines_strata(federation_of):
    "Oracle: lifelines' predict_survival_function with strata, no tied times, every step shown."
    X, y = made_up(180, 2, seed=5)
    site = np.repeat(["A", "B", "C"], 60)
    model = gw.CoxPH(disclosure="simulation").fit(X, y, site=site)
    frame = X.assign(t=y["time"], e=y["event"], s=site)
    reference = precise(frame, strata=["s"])
    times = np.quantile(y["time"], [0.05, 0.2, 0.4, 0.6, 0.8])
    for s in "ABC":
        seen = np.unique(y["time"][site == s])
        # lifelines draws straight lines between its times
        at = seen[np.searchsorted(seen, times, side="right") - 1]
        theirs = reference.predict_survival_function(frame[site == s][:5], times=at).to_numpy().T
        measure(
            "survival per hospital - lifelines",
            model.predict_survival(X[site == s][:5], at, site=s),
            theirs,
            1e-6,
        )


# Against scikit-survival (both ties)


@pytest.mark.parametrize("alpha", [0.0, 3.0])
@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize("name", COHORTS)
def test_shared_baseline_equals_scikit_survival(name, ties, alpha, federation_of):
    """Oracle: scikit-survival's CoxPHSurvivalAnalysis, which maximises loglik - alpha / 2 *
    sum(beta^2): alpha = penalty * n.
    """
    if name == "ipssm-study" and alpha == 0.0:
        alpha = 30.0
    federation = federation_of(name)
    X, y, _ = training_table(federation)
    Z = standardised(X)
    reference = CoxPHSurvivalAnalysis(alpha=alpha, ties=ties, tol=1e-14, n_iter=200).fit(Z, y)
    run = federate(
        federation,
        gw.CoxPH(penalty=alpha / len(X), ties=ties, baseline="shared", disclosure="simulation"),
    )
    measure(
        f"{name}, shared, simulation: federated - scikit-survival",
        run.learner.beta_,
        reference.coef_,
        1e-6,
    )


def test_ties_everywhere():
    "Oracle: scikit-survival and the textbook, where all times are 1, 2 or 3."
    X, y = made_up(90, 3, seed=2)
    y["time"] = np.ceil(np.minimum(y["time"], 1) * 3)
    for ties in ("efron", "breslow"):
        model = gw.CoxPH(ties=ties, baseline="shared", disclosure="simulation").fit(X, y)
        reference = CoxPHSurvivalAnalysis(ties=ties, tol=1e-14).fit(standardised(X), y)
        measure("ties everywhere - scikit-survival", model.beta_, reference.coef_, 1e-6)
        site = np.resize(list("ABC"), 90)
        Z = standardised(X).to_numpy()
        expected = textbook_fit(Z, y["time"], y["event"], ties, site)
        run = federate(in_hospitals(X, y, site), gw.CoxPH(ties=ties))
        measure("ties everywhere, per site - textbook", run.learner.beta_, expected, 1e-9)


# The transplant study


def test_what_every_hospital_decides_alike_cannot_be_identified(federation_of):
    """MTX is constant inside each of the four hospitals: no coefficient with a baseline per site, one
    with a shared baseline.
    """
    federation = federation_of("transplant-4-hospitals")
    assert federation.cohort.frame.groupby(federation.cohort.sites)["mtx"].nunique().max() == 1
    with pytest.warns(UnidentifiedWarning, match="mtx"):
        per_site = federate(federation, gw.CoxPH())
    row = next(f for f in per_site.learner.summary_.index if f.startswith("mtx"))
    assert per_site.learner.unidentified_ == [row]
    assert (
        per_site.learner.summary_.loc[row, ["coef", "se", "hazard_ratio", "low", "high", "p"]]
        .isna()
        .all()
    )
    assert per_site.learner.summary_.drop(index=row).notna().all().all()
    with pytest.warns(UnidentifiedWarning, match="mtx"):
        assert federate(federation, gw.CoxPH(penalty=0.01)).learner.unidentified_ == [row]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnidentifiedWarning)
        shared = federate(federation, gw.CoxPH(baseline="shared", disclosure="simulation"))
    assert (
        shared.learner.unidentified_ == [] and np.isfinite(shared.learner.summary_.loc[row]).all()
    )


# Data without an answer


def separated(seed=0):
    X, y = made_up(120, 2, seed)
    return X.assign(early=(y["event"] & (y["time"] < np.quantile(y["time"], 0.3))) * 1.0), y


@pytest.mark.parametrize(
    "baseline",
    [{"baseline": "per-site"}, {"baseline": "shared", "disclosure": "simulation"}],
    ids=["per-site", "shared"],
)
def test_separation_names_the_feature_and_a_penalty_helps(baseline):
    X, y = separated()
    site = np.repeat(["A", "B"], 60)
    with pytest.raises(gw.LearnerError, match="early.*penalty"):
        gw.CoxPH(**baseline).fit(X, y, site=site)
    with pytest.raises(gw.LearnerError, match="early.*penalty"):
        federate(in_hospitals(X, y, site), gw.CoxPH(**baseline), rounds=50)
    run = federate(in_hospitals(X, y, site), gw.CoxPH(penalty=0.01, **baseline))
    assert run.converged and np.isfinite(run.learner.summary_).all().all()


@pytest.mark.parametrize(
    "baseline",
    [{"baseline": "per-site"}, {"baseline": "shared", "disclosure": "simulation"}],
    ids=["per-site", "shared"],
)
def test_collinear_features_are_named_and_a_penalty_helps(baseline):
    X, y = made_up(120, 3, 1)
    X = X.assign(twin=X["f1"] * 12 + 3, sum=X["f0"] - X["f2"])
    site = np.repeat(["A", "B"], 60)
    with pytest.raises(
        gw.LearnerError, match=r"cannot be told apart.*(twin|f1|sum|f0|f2).*penalty"
    ):
        federate(in_hospitals(X[["f0", "f1", "twin"]], y, site), gw.CoxPH(**baseline))
    with pytest.raises(gw.LearnerError, match="cannot be told apart") as caught:
        federate(in_hospitals(X[["f0", "f1", "f2", "sum"]], y, site), gw.CoxPH(**baseline))
    assert all(name in str(caught.value) for name in ("f0", "f2", "sum")) and "f1" not in str(
        caught.value
    )
    run = federate(in_hospitals(X, y, site), gw.CoxPH(penalty=0.01, **baseline))
    assert run.converged and np.isclose(run.learner.beta_[1], run.learner.beta_[3])


def test_more_features_than_events():
    X, y = made_up(40, 30, 2)
    y["event"][15:] = False
    with pytest.raises(gw.LearnerError, match=r"f\d+.*penalty"):
        gw.CoxPH().fit(X, y)
    with pytest.raises(gw.LearnerError, match=r"too few events for 50 features.*f\d+.*penalty"):
        gw.CoxPH().fit(made_up(40, 50, 2)[0], y)
    model = gw.CoxPH(penalty=0.1).fit(X, y)
    assert model.converged_
    measure(
        "more features than events - textbook",
        model.beta_,
        textbook_fit(standardised(X).to_numpy(), y["time"], y["event"], "efron", penalty=0.1),
        1e-9,
    )


def test_no_event_at_all_is_said():
    X, y = made_up(30, 2)
    y["event"] = False
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model = gw.CoxPH().fit(X, y)
        except gw.LearnerError:
            return
    assert model.unidentified_ == ["f0", "f1"] and model.summary_["coef"].isna().all()
    assert any("f0" in str(w.message) for w in caught)


@pytest.mark.parametrize(
    "learner",
    [gw.CoxPH(), gw.CoxPH(baseline="shared", disclosure="simulation")],
    ids=["per-site", "shared"],
)
def test_hospitals_without_events_or_with_one_patient_are_carried_along(learner):
    """Oracle: the textbook with the same strata. Hospital N has no event, hospital O one patient,
    hospital L only the censored before any event.
    """
    X, y = made_up(120, 2, 4)
    site = np.array(["A"] * 60 + ["B"] * 30 + ["N"] * 25 + ["O"] + ["L"] * 4)
    y["event"][(site == "N") | (site == "L")] = False
    y["time"][site == "L"] = 1e-4 * np.arange(1, 5)
    run = federate(in_hospitals(X, y, site), learner)
    stratum = site if learner.baseline == "per-site" else None
    expected = textbook_fit(standardised(X).to_numpy(), y["time"], y["event"], "efron", stratum)
    measure("odd hospitals - textbook", run.learner.beta_, expected, 1e-9)
    assert run.converged and set(run.sites.index) == set(site)
    if learner.baseline == "per-site":
        assert "N" not in run.learner.baselines_ and "O" not in run.learner.baselines_
        with pytest.raises(ValueError, match="no baseline for N"):
            run.learner.predict_survival(X[:1], [1.0], site="N")


def test_hospitals_without_test_rows_do_not_stop_the_run():
    "With 20 % for testing, hospitals of one and of two patients have no test row."
    X, y = made_up(103, 2, 4)
    federation = in_hospitals(X, y, ["O"] + ["P"] * 2 + ["A"] * 60 + ["B"] * 40, test_share=0.2)
    assert [len(s.test_rows) for s in federation.sites.values()] == [12, 8, 0, 0]
    run = federate(federation, gw.CoxPH())
    assert run.history.query("metric == 'comparable'").set_index("site")["value"].loc[
        ["O", "P"]
    ].tolist() == [0, 0]


# Scales and hard starts


@pytest.mark.parametrize("scale", [1e9, 1e-9])
def test_the_unit_of_a_covariate_does_not_matter(scale):
    "Oracle: the same fit in the original unit, coefficients divided by the factor."
    X, y = made_up(150, 2, 6)
    plain = gw.CoxPH().fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scaled = gw.CoxPH().fit(X * scale, y)
    measure("another unit", scaled.beta_, plain.beta_, 1e-10)
    np.testing.assert_allclose(scaled.coef_ * scale, plain.coef_, rtol=1e-9)
    np.testing.assert_allclose(scaled.summary_["se"] * scale, plain.summary_["se"], rtol=1e-9)
    np.testing.assert_allclose(scaled.predict(X * scale), plain.predict(X), atol=1e-9)


@pytest.mark.parametrize("unit", [1e-6, 365.25, 1e8])
def test_the_unit_of_time_does_not_matter(unit):
    X, y = made_up(150, 2, 6)
    plain, other = (
        gw.CoxPH(disclosure="simulation").fit(X, y),
        gw.CoxPH(disclosure="simulation").fit(X, outcome(y["time"] * unit, y["event"])),
    )
    measure("another unit of time", other.beta_, plain.beta_, 1e-12)
    measure(
        "another unit of time, survival",
        other.predict_survival(X[:5], y["time"][:9] * unit),
        plain.predict_survival(X[:5], y["time"][:9]),
        1e-12,
    )
    grouped = gw.CoxPH().fit(X, outcome(y["time"] * unit, y["event"]))
    assert len(grouped.baselines_["all"][0]) > 3


@pytest.mark.parametrize(
    "learner",
    [gw.CoxPH(), gw.CoxPH(baseline="shared", disclosure="simulation"), gw.CoxPH(penalty=1e-3)],
    ids=["per-site", "shared", "ridge"],
)
@pytest.mark.parametrize("seed", range(4))
def test_heavy_tailed_covariates_converge(learner, seed):
    """Cauchy covariates make the first Newton steps overshoot. Oracle: the gradient of the textbook is
    zero where we stopped.
    """
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.standard_cauchy((200, 3)) * [1, 100, 1e-3], columns=list("abc"))
    death = rng.exponential(np.exp(-np.clip(X["a"], -12, 12)))
    y, site = outcome(np.minimum(death, 5) + 1e-6, death < 5), np.repeat(["A", "B"], 100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = federate(in_hospitals(X, y, site), learner, rounds=50)
    assert run.converged
    Z, stratum = standardised(X).to_numpy(), site if learner.baseline == "per-site" else None
    _, g, H = textbook_cox(Z, y["time"], y["event"], run.learner.beta_, "efron", stratum)
    ridge = learner.penalty * len(Z)
    assert (
        np.abs(np.linalg.solve(H + ridge * np.eye(3), g - ridge * run.learner.beta_)).max() < 1e-6
    )


@pytest.mark.parametrize(
    "learner",
    [gw.CoxPH(penalty=1e-6), gw.CoxPH(penalty=1e-6, baseline="shared", disclosure="simulation")],
    ids=["per-site", "shared"],
)
def test_steps_that_overshoot_are_halved(learner):
    """From 0 the full Newton step lowers this likelihood; halving finds the maximum. Oracle: the
    textbook's likelihood around it.
    """
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.normal(size=60) * 0.01, [0.8, -0.8]])
    death = rng.exponential(np.exp(-200 * np.clip(x, -0.05, 0.05)))
    X, y = pd.DataFrame({"x": x}), outcome(death + 1e-9, np.ones(62, bool))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = federate(in_hospitals(X, y, np.resize(["A", "B"], 62)), learner, rounds=50)
    assert run.converged
    stratum, Z = (
        np.resize(["A", "B"], 62) if learner.baseline == "per-site" else None,
        standardised(X).to_numpy(),
    )
    betas = [run.learner.beta_ * f for f in (0.999, 1.0, 1.001)]
    at = [
        textbook_cox(Z, y["time"], y["event"], b, "efron", stratum)[0] - 0.5e-6 * 62 * b @ b
        for b in betas
    ]
    assert at[1] == max(at)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize("order", ["shuffled", "low risks live longest", "high risks live longest"])
@pytest.mark.parametrize("reach", [30, 300, 700])
def test_extreme_risks_neither_overflow_nor_vanish(reach, order, ties):
    "Log risks from -reach to +reach in one stratum. Oracle: the formula with Python's decimals, 60 digits."
    rng = np.random.default_rng(7)
    x, time, event = (
        np.linspace(-1, 1, 40),
        np.sort(np.ceil(rng.exponential(10, 40))),
        rng.random(40) < 0.7,
    )
    event[[0, -1]] = True
    x = {
        "shuffled": rng.permutation(x),
        "low risks live longest": x[::-1].copy(),
        "high risks live longest": x,
    }[order]
    risks = RiskOrder.of(time, event)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loglik, gradient, hessian = cox_terms(
            x[risks.rows, None], risks, np.array([float(reach)]), ties
        )
    expected = _high_precision(x, time, event, reach, ties)
    np.testing.assert_allclose([loglik, gradient[0], hessian[0, 0]], expected, rtol=1e-9, atol=1e-9)


def _high_precision(x, time, event, b, ties):
    "Efron's and Breslow's formula for one covariate with Python's decimals."
    from decimal import Decimal, getcontext

    getcontext().prec = 60
    X = [Decimal(float(v)) for v in x]
    w = [(v * Decimal(float(b))).exp() for v in X]
    ll = g = H = Decimal(0)
    for t in np.unique(time[event]):
        risk, dead = np.flatnonzero(time >= t), np.flatnonzero((time == t) & event)
        for k, d in enumerate(dead):
            share = Decimal(k) / Decimal(len(dead)) if ties == "efron" else Decimal(0)
            s = [
                sum(w[i] * X[i] ** j for i in risk) - share * sum(w[i] * X[i] ** j for i in dead)
                for j in range(3)
            ]
            ll, g, H = (
                ll + X[d] * Decimal(float(b)) - s[0].ln(),
                g + X[d] - s[1] / s[0],
                H + s[2] / s[0] - (s[1] / s[0]) ** 2,
            )
    return float(ll), float(g), float(H)


def test_extreme_risks_with_a_shared_baseline():
    "Log risks from -700 to 700. Oracle: the formula with Python's decimals, 60 digits."
    rng = np.random.default_rng(7)
    x, time, event = (
        np.linspace(-1, 1, 40)[::-1].copy(),
        np.sort(np.ceil(rng.exponential(10, 40))),
        rng.random(40) < 0.7,
    )
    order, beta = RiskOrder.of(time, event), np.array([700.0])
    common = order.times
    t = time[order.rows]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sums = shared_sums(
            x[order.rows, None],
            order,
            beta,
            np.searchsorted(-t, -common, side="right"),
            np.arange(len(common)),
            True,
        )
        loglik, gradient, outer, inc = shared_increments(sums, "efron")
        hessian = (
            shared_curvature(
                x[order.rows, None],
                order,
                beta,
                np.searchsorted(-common, -t),
                np.arange(len(common)),
                inc.hazard,
                inc.take_back,
            )
            - outer
        )
    np.testing.assert_allclose(
        [loglik, gradient[0], hessian[0, 0]],
        _high_precision(x, time, event, 700, "efron"),
        rtol=1e-9,
        atol=1e-9,
    )


def test_predictions_of_extreme_patients_stay_probabilities():
    X, y = made_up(100, 2)
    far = pd.DataFrame({"f0": [1e3, -1e3, 1e5, -1e5], "f1": 0.0})
    for learner in (
        gw.CoxPH(),
        gw.CoxPH(disclosure="simulation"),
        gw.CoxPH(baseline="shared", disclosure="simulation"),
    ):
        model = learner.fit(X, y)
        S = model.predict_survival(far, [0.0, 1e-9, 0.5, 1.0, 1e6])
        assert S.notna().all().all() and ((S >= 0) & (S <= 1)).all().all()
        assert (S[0.0] == 1).all() and (np.diff(S.to_numpy(), axis=1) <= 0).all()


# The parts: sums, increments, knots


@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize("seed", range(5))
def test_terms_equal_the_textbook(ties, seed):
    "Oracle: the textbook's loops, with many ties, censorings at event times and a censoring before everything."
    rng = np.random.default_rng(seed)
    X, time, event = rng.normal(size=(50, 3)), np.ceil(rng.exponential(6, 50)), rng.random(50) < 0.6
    time[0], event[0] = 0.5, False
    order, beta = RiskOrder.of(time, event), rng.normal(size=3)
    for ours, theirs in zip(
        cox_terms(X[order.rows], order, beta, ties),
        textbook_cox(X, time, event, beta, ties),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize("seed", range(5))
def test_shared_half_rounds_equal_the_textbook(ties, seed):
    "Oracle: the textbook on all rows; three hospitals, one of them without events."
    rng = np.random.default_rng(seed)
    X, time, event = rng.normal(size=(60, 3)), np.ceil(rng.exponential(6, 60)), rng.random(60) < 0.6
    site, beta = np.resize([0, 0, 1, 2], 60), rng.normal(size=3)
    event[site == 2] = False
    common, sites = np.unique(time[event])[::-1], []
    for s in range(3):
        order = RiskOrder.of(time[site == s], event[site == s])
        t = time[site == s][order.rows]
        sites.append(
            (
                X[site == s][order.rows],
                order,
                np.searchsorted(-t, -common, side="right"),
                np.searchsorted(-common, -order.times),
                np.searchsorted(-common, -t),
            )
        )
    replies = [shared_sums(x, o, beta, at, where, ties == "efron") for x, o, at, where, _ in sites]
    ll, g, outer, inc = shared_increments({k: sum(r[k] for r in replies) for k in replies[0]}, ties)
    H = (
        sum(
            shared_curvature(x, o, beta, before, where, inc.hazard, inc.take_back)
            for x, o, _, where, before in sites
        )
        - outer
    )
    for ours, theirs in zip((ll, g, H), textbook_cox(X, time, event, beta, ties), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10)


def test_round_times_are_public_and_reach_far_enough():
    for latest in (1e-3, 0.99, 1.0, 2.4, 99.0, 100.0, 101.0, 4321.0):
        grid = round_times(latest, latest / 50)
        assert grid[0] <= latest / 50 and grid[-2] < latest <= grid[-1] <= latest * 1.11
        assert (
            all(float(f"{t:.1e}") == pytest.approx(t, rel=1e-12) for t in grid)
            and (np.diff(grid) > 0).all()
        )
        assert set(np.round(np.log10(round_times(latest * 3, latest / 50)[: len(grid)]), 9)) == set(
            np.round(np.log10(grid), 9)
        ), "the grid depends on the data"


@pytest.mark.parametrize("cell", [2, 5, 9])
@pytest.mark.parametrize("seed", range(4))
def test_knots_keep_enough_events_apart(cell, seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(5, 60))
    time, event = rng.exponential(3, n).round(2) + 0.01, rng.random(n) < 0.6
    order = RiskOrder.of(time, event)
    knots, hazard, events = grouped_baseline(np.zeros(n), order, cell)
    if event.sum() < cell:
        assert not len(knots)
        return
    assert (
        (events >= cell).all()
        and (np.diff(knots) > 0).all()
        and (np.diff(hazard, prepend=0) > 0).all()
    )
    assert [int((event & (time <= k)).sum()) for k in knots] == np.cumsum(events).tolist()


def test_an_event_at_time_zero_has_a_baseline_too():
    X, y = made_up(60, 2)
    y["time"][:3], y["event"][:3] = 0.0, True
    for learner in (
        gw.CoxPH(),
        gw.CoxPH(disclosure="simulation"),
        gw.CoxPH(baseline="shared", disclosure="simulation"),
    ):
        model = learner.fit(X, y)
        expected = textbook_fit(standardised(X).to_numpy(), y["time"], y["event"], "efron")
        measure("event at time zero - textbook", model.beta_, expected, 1e-9)
        assert ((S := model.predict_survival(X[:3], [0.5, 1.0])) > 0).all().all() and (
            S < 1
        ).all().all()


# Predictions that need a baseline


def test_without_any_released_baseline_nobody_is_declared_dead():
    "Four hospitals with three events each release no baseline: an average of none is not a survival of 0."
    X, y = made_up(100, 2, 8)
    y["event"] = False
    y["event"][::8] = True
    model = gw.CoxPH(penalty=0.1).fit(X, y, site=np.repeat(list("ABCD"), 25))
    assert model.baselines_ == {}
    with pytest.raises(ValueError, match=r"(?i)baseline|too few events"):
        model.predict_survival(X[:2], [1.0], baseline="average")


def test_too_few_events_for_a_baseline_is_said_in_words():
    X, y = made_up(30, 1, 8)
    y["event"] = np.arange(30) % 10 == 0
    with pytest.raises(ValueError, match="too few events"):
        gw.CoxPH(penalty=0.1).fit(X, y).predict_survival(X[:2], [1.0])


def test_an_unknown_hospital_and_a_silly_choice_are_refused(run_of, federation_of):
    model = run_of("leukemia-nw-england", "per-site", "efron").learner
    X = federation_of("leukemia-nw-england").cohort.X[:2]
    for asked in ({}, {"site": "25"}, {"site": ["1", "25"]}, {"baseline": "mean"}):
        with pytest.raises(ValueError, match="baseline"):
            model.predict_survival(X, [1.0], **asked)
    each = model.predict_survival(X, [1.0, 2.0], site=["1", "2"])
    np.testing.assert_allclose(
        each.iloc[0], model.predict_survival(X[:1], [1.0, 2.0], site="1").iloc[0], rtol=1e-12
    )
    np.testing.assert_allclose(
        each.iloc[1], model.predict_survival(X[1:], [1.0, 2.0], site="2").iloc[0], rtol=1e-12
    )


def test_the_average_is_of_hazards_and_lies_between_the_hospitals():
    "The promise to a patient of no hospital lies between the hospitals', nearer to the one with more patients at risk."
    X, y = made_up(400, 2, 9)
    site = np.repeat(["A", "B"], [300, 100])
    y["time"][300:] *= 3
    model = gw.CoxPH().fit(X, y, site=site)
    a, b = (model.predict_survival(X[:4], [0.5, 1.0], site=s).to_numpy() for s in "AB")
    average = model.predict_survival(X[:4], [0.5, 1.0], baseline="average").to_numpy()
    assert (a < average).all() and (average < b).all() and (average - a < b - average).all()


# Times on a grid


def test_times_on_a_grid_are_the_fit_of_the_moved_times():
    "Oracle: lifelines on times moved up to the grid by hand; what lies beyond the grid is censored there."
    X, y = made_up(200, 2, 10)
    grid = np.array([0.2, 0.5, 1.0, 2.0])
    moved = np.array([grid[grid >= t][0] if (grid >= t).any() else 2.0 for t in y["time"]])
    reference = precise(standardised(X).assign(t=moved, e=y["event"] & (y["time"] <= 2.0)))
    run = federate(
        in_hospitals(X, y, np.repeat(["A", "B"], 100)), gw.CoxPH(baseline="shared", time_grid=grid)
    )
    measure("time grid - lifelines", run.learner.beta_, reference.params_, 1e-6)
    assert run.learner.baselines_["all"][0].tolist() == grid.tolist()


@pytest.mark.parametrize("grid", [(1,), (2, 1), (0, 1), (-1, 1), (1, 1), ()])
def test_a_grid_that_is_none_is_refused(grid):
    X, y = made_up(50)
    with pytest.raises(ValueError, match="time_grid"):
        gw.CoxPH(baseline="shared", time_grid=grid).fit(X, y)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"ties": "exact"}, "ties='exact'"),
        ({"baseline": "mine"}, "baseline='mine'"),
        ({"disclosure": "all"}, "disclosure='all'"),
        ({"penalty": -1}, "penalty=-1"),
        ({"penalty": float("nan")}, "penalty=nan"),
    ],
)
def test_silly_arguments_are_refused(asked, said):
    X, y = made_up(50)
    with pytest.raises(ValueError, match=said):
        gw.CoxPH(**asked).fit(X, y)
    with pytest.raises(Exception, match=said):
        federate(in_hospitals(X, y, np.repeat(["A", "B"], 25)), gw.CoxPH(**asked))


# Tuning


def test_many_features_are_tuned_a_few_candidates_at_a_time_with_the_same_result():
    """Oracle: each penalty tuned alone, with its five folds in one message. 40 Hessians of 340 features
    are 37 MB, more than one message holds.
    """
    q = 340
    assert few_at_once(40, 100) == [slice(0, 40)] and len(few_at_once(40, q)) == 2
    X, y = made_up(90, q, seed=5)
    encoding = Encoding.of(Summary.of(X), tuple(X))
    learner, asked = gw.CoxPH(), []
    fold = np.arange(90) % 5
    ask_site = ask_blocks(learner, learner.blocks(encoding.transform(X), y, None, fold))

    def ask(question, state):
        asked.append(len(state["beta"]))
        return ask_site(question, state)

    together = tune_penalty(learner, encoding, ask, 5)
    assert max(asked) * 8 * q**2 <= 32e6
    for penalty in (0.01, 0.3):
        alone = tune_penalty(learner, encoding, ask_site, 5, penalties=[penalty])
        measure("tuning in groups - alone", together[[penalty]], alone, 1e-9)


def test_too_many_features_are_refused_with_what_to_do():
    "By hand: 8 bytes for each pair of parameters, from every hospital in every round."
    with pytest.raises(
        gw.LearnerError, match="6,000 parameters are too many .* 288 MB .*Choose features"
    ):
        NewtonSearch(["f"] * 6000, np.ones(6000), [0.1])
    with pytest.raises(gw.LearnerError, match=r"40 candidates: .* 5.1 GB .*penalty=0.1"):
        few_at_once(40, 4000)


def test_log_likelihoods_without_hessians_are_those_with_them():
    "Oracle: the same model's `terms`, which make the Hessians too."
    X, y = made_up(120, 4, seed=2)
    encoding, rng = Encoding.of(Summary.of(X), tuple(X)), np.random.default_rng(0)
    for learner, target in (
        (gw.CoxPH(), y),
        (gw.CoxPH(ties="breslow"), y),
        (gw.LogisticRegression(), y["event"].astype(int)),
    ):
        block = learner.prepare(encoding.transform(X), learner.target(target))
        betas = rng.normal(size=(3, len(learner.parameters(encoding)[0])))
        np.testing.assert_allclose(
            learner.logliks(block, betas), learner.terms(block, betas)[0], rtol=1e-12
        )


def test_tuning_chooses_the_same_penalty_federated_and_by_hand():
    """Oracle: cross-validated log-likelihood (fit without a fold, score on the rows left out) from
    separate textbook fits.
    """
    X, y = made_up(120, 4, 11)
    federation = in_hospitals(X, y, np.repeat(["A", "B"], [80, 40]))
    run = federate(federation, gw.CoxPH(), tune=3)
    scores = _cross_validated(X, y, federation.cohort.sites, federation)
    measure("tuning: cross-validated log-likelihood - by hand", run.tuning, scores, 1e-4)
    assert run.learner.penalty == scores.idxmax()


def test_a_feature_of_a_few_patients_in_one_fold_is_tuned_as_any_other():
    """Oracle: cross-validation by hand. All carriers are in fold 0: without that fold nothing is known
    of the feature, with it all is.
    """
    X, y = made_up(120, 2, 13)
    site = np.repeat(["A", "B"], [80, 40])
    federation = in_hospitals(X, y, site)
    folds = _folds(y, federation)
    first = np.flatnonzero(folds == 0)
    X = X.assign(mutated=np.isin(np.arange(120), first[y["event"][first]][::4]) * 1.0)
    run = federate(in_hospitals(X, y, site), gw.CoxPH(), tune=3)
    measure(
        "tuning, a rare feature: cross-validated log-likelihood - by hand",
        run.tuning,
        _cross_validated(X, y, site, federation),
        1e-4,
    )


def test_a_shared_baseline_is_tuned_by_the_likelihood_per_site():
    """The likelihood with a baseline per site adds up over sites and needs no single patient's sum;
    the pooled arm tunes by the same one.
    """
    X, y = made_up(150, 4, 12)
    X["f3"] = np.repeat([0.0, 1.0, 3.0], 50) + X["f3"] * 0.1
    y["time"] = y["time"] * np.exp(-0.8 * np.repeat([0.0, 1.0, 3.0], 50))
    site = np.repeat(["A", "B", "C"], 50)
    federation = in_hospitals(X, y, site)
    learner = gw.CoxPH(baseline="shared", disclosure="simulation")
    run = federate(federation, learner, tune=3)
    assert run.learner.converged_
    measure(
        "tuning a shared baseline: cross-validated log-likelihood - by hand",
        run.tuning,
        _cross_validated(X, y, site, federation),
        1e-3,
    )
    assert pooled_model(federation, learner, folds=3).penalty == run.learner.penalty


def _folds(y, federation):
    "The fold of each patient: dealt at the sites, stratified by event, from the seed of the site."
    folds = np.empty(len(y), int)
    for name, s in federation.sites.items():
        here = federation.cohort.sites == name
        folds[here] = stratified_folds(y["event"][here], 3, np.random.default_rng([s.seed, 1]))
    return folds


def _cross_validated(X, y, stratum, federation):
    "Cross-validated log-likelihood of every penalty from separate textbook fits."
    Z, folds, scores = (
        standardised(X).to_numpy(),
        _folds(y, federation),
        pd.Series(0.0, index=pd.Index(PENALTIES)),
    )
    for penalty in PENALTIES:
        for f in range(3):
            keep = folds != f
            part = None if stratum is None else stratum[keep]
            beta = textbook_fit(Z[keep], y["time"][keep], y["event"][keep], "efron", part, penalty)
            scores[penalty] += textbook_cox(Z, y["time"], y["event"], beta, "efron", stratum)[0]
            scores[penalty] -= textbook_cox(
                Z[keep], y["time"][keep], y["event"][keep], beta, "efron", part
            )[0]
    return scores


def test_a_learner_that_was_fitted_can_be_federated_again(federation_of):
    "federate does not change the learner that was passed."
    learner = gw.CoxPH(penalty=0.02)
    first = federate(federation_of("leukemia-nw-england"), learner, tune=2)
    assert learner.get_params() == gw.CoxPH(penalty=0.02).get_params() and not hasattr(
        learner, "beta_"
    )
    again = federate(federation_of("leukemia-nw-england"), first.learner)
    assert again.learner is not first.learner and again.learner.penalty == first.learner.penalty


def test_no_feature_is_left():
    "All columns are constant: a model without features is a baseline, or a clear error; not a crash."
    X, y = made_up(40, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            run = federate(in_hospitals(X.assign(f0=1.0), y, np.repeat(["A", "B"], 20)), gw.CoxPH())
        except gw.LearnerError as error:
            assert "f0" in str(error)
            return
    assert run.learner.summary_.empty and (run.learner.predict(X) == 0).all()
    assert as_cohort(X, y).n == 40
