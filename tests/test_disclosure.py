"""How many patients stand behind each number that leaves a site, counted by changing patients, not
by reading declarations.

The oracle is the release itself: leave a patient out, or change their covariates, time or event,
ask again, and see which of the released numbers are different. A number's patients are those who
can change it; the declaration must never say more than that. Three counts are taken, each of which
must reach the declared number wherever it is not zero:

- present: patients without whom, or with whose covariates changed, the number would be another,
- covariates: patients whose covariates matter to it,
- any change: patients who can change it in some way.

Numbers that nobody can change are ignored.
"""

import json
from dataclasses import dataclass, field
from functools import cache
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from conftest import as_cohort, federate, in_hospitals, made_up, outcome
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAvg, FedProx
from sklearn.base import clone
from sklearn.linear_model import SGDClassifier

import genomed_workbench as gw
from genomed_workbench.federation import run as run_module
from genomed_workbench.federation.app import concordance_released, disclosed_by, summary_released
from genomed_workbench.federation.engines import (
    ABOUT_THE_MESSAGE,
    InProcessGrid,
    Recorder,
    task_identity,
)
from genomed_workbench.learners.boosting import Start, Trees, as_model, of_model, on_steps
from genomed_workbench.learners.encoding import Encoding, Summary
from genomed_workbench.learners.newton import from_record, to_record
from genomed_workbench.learners.strategies import corrected

TOLERANCE = 1e-9
GRID = (0.35, 0.8, 9.0)


# A small site


def small_site(
    n: int, seed: int, binary: bool = False, missing: bool = False
) -> tuple[pd.DataFrame, np.ndarray]:
    "A site of a few patients: two numbers, a category, some times tied, two censored before the first event."
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(
        {
            "age": rng.normal(60, 10, n),
            "wbc": rng.lognormal(2, 1, n),
            "sex": rng.choice(["female", "male"], n, p=[0.35, 0.65]),
        }
    )
    X.loc[:1, "sex"] = ["female", "male"]
    if missing:
        X.loc[[1, 4, 5], "wbc"] = np.nan
        X.loc[2, "sex"] = None
    if binary:
        y = (rng.random(n) < 0.4).astype(float)
        y[:2] = [0, 1]
        return X, y
    time, event = rng.exponential(1.0, n).round(2) + 0.05, rng.random(n) < 0.7
    event[:4] = [True, True, True, False]
    event[time.argsort()[:2]] = False
    return X, outcome(time, event)


def world(binary: bool = False) -> Encoding:
    "An encoding made of other patients, as a site in a federation receives it."
    return Encoding.of(Summary.of(small_site(300, 99, binary)[0]), ("age", "wbc", "sex"))


ENCODING = world()
BETA = np.array([0.3, -0.2, 0.15])
SITES = [(12, 1), (30, 2)]
ODD = (
    "no event",
    "one event",
    "one patient",
    "only censored before all events elsewhere",
    "all events tied",
)


@dataclass
class Rows:
    "Rows of a site, encoded, with the positions that they had in the unchanged site."

    X: pd.DataFrame
    y: np.ndarray
    kept: np.ndarray
    # a row of the encoded table that is moved off the levels of its categories
    moved: tuple[int, float] | None = None
    Z: np.ndarray = field(init=False)

    def __post_init__(self):
        self.Z = ENCODING.transform(self.X)
        if self.moved:
            row, by = self.moved
            self.Z[row] += by * np.array([0.71, -1.13, 0.37])


def odd_site(kind: str) -> tuple[pd.DataFrame, np.ndarray]:
    "A site of twelve patients with something rare about it."
    X, y = small_site(12, 1)
    if kind == "no event":
        y["event"] = False
    elif kind == "one event":
        y["event"] = np.arange(12) == 0
    elif kind == "one patient":
        X, y = X[:1], y[:1]
    elif kind == "all events tied":
        y["time"] = np.where(y["event"], 0.5, y["time"])
    else:
        y["time"], y["event"] = (
            np.where(np.arange(12) < 6, 0.01 * np.arange(1, 13), y["time"]),
            False,
        )
    return X, y


@cache
def changed_sites(
    site: tuple[int, int] | str, binary: bool = False, missing: bool = False
) -> tuple[Rows, list[tuple[int, str, Rows]]]:
    "A site, and the same site after every change of one patient: (patient, kind of change, rows)."
    X, y = (
        odd_site(site)
        if isinstance(site, str)
        else small_site(*site, binary=binary, missing=missing)
    )
    changed = [
        (i, kind, Rows(A, b, kept)) for i in range(len(X)) for kind, A, b, kept in changes(X, y, i)
    ]
    changed += [
        (i, "covariates", Rows(X, y, np.arange(len(X)), (i, by)))
        for i in range(len(X))
        for by in (0.83, -1.9)
    ]
    return Rows(X, y, np.arange(len(X))), changed


@cache
def common_times(site: tuple[int, int] | str) -> tuple[float, ...]:
    "Event times of the federation, descending: those that this site has after any change, and a few of other sites."
    before, after = changed_sites(site)
    seen = [rows.y["time"][rows.y["event"]] for rows in (before, *(rows for _, _, rows in after))]
    return tuple(np.unique(np.concatenate([*seen, [0.07, 0.4, 0.9, 2.2]]))[::-1])


# One release, as the site makes it


def learner_release(learner, question, state, folds=None):
    "A question answered by the learner itself."

    def release(rows: Rows):
        block = learner.prepare(
            rows.Z, learner.target(rows.y), None if folds is None else folds[rows.kept]
        )
        given = learner.answers(question, block, {k: np.asarray(v) for k, v in state.items()})
        return {k: (np.asarray(r.value, float), r.patients) for k, r in given.items()}

    return release


def scaffold_release(learner, state):
    "The answer to Scaffold in a site's first round and in its second, when it corrects its steps."

    def release(rows: Rows):
        block, memory, told = (
            learner.prepare(rows.Z, learner.target(rows.y)),
            RecordDict(),
            {k: np.asarray(v, float) for k, v in state.items()},
        )
        corrected(learner, block, told | {"server-round": np.ones(1)}, memory)
        given = corrected(learner, block, told | {"server-round": np.full(1, 2.0)}, memory)
        return {k: (np.asarray(v.value, float), v.patients) for k, v in given.items()}

    return release


def summaries_release(rows: Rows):
    "The summaries behind the encoding; the counts of levels travel as text."
    summary = Summary.of(rows.X)
    out = {
        k: (np.asarray(r.value, float), r.patients) for k, r in summary_released(summary).items()
    }
    counts = [summary.levels["sex"].get(level, 0) for level in ("female", "male")]
    return out | {"levels": (np.array(counts, float), out["levels"][1])}


def fitted_with(learner, beta):
    "The learner as a site receives it: the encoding of this world and these coefficients."
    model = clone(learner)
    model.encoding_, model.beta_ = ENCODING, beta
    return model


def concordance_release(learner, beta):
    "Pairs of test patients, counted."

    def release(rows: Rows):
        if rows.y.dtype.names:
            frame, asked = (
                rows.X.assign(years=rows.y["time"], died=rows.y["event"].astype(float)),
                gw.Survival("years", "died"),
            )
        else:
            frame, asked = rows.X.assign(case=rows.y), gw.Binary("case")
        site = gw.Site(
            "A",
            gw.Cohort(frame, asked, tuple(rows.X.columns)),
            np.arange(0),
            np.arange(len(frame)),
            0,
        )
        return {
            k: (np.asarray(r.value, float), r.patients)
            for k, r in concordance_released(site, fitted_with(learner, beta)).items()
        }

    return release


# Changing patients


def changes(X: pd.DataFrame, y: np.ndarray, i: int):
    "All the ways to change patient i: (kind, X, y, rows kept)."
    everyone = np.arange(len(X))
    if len(X) > 1:
        kept = np.delete(everyone, i)
        yield "left out", X.iloc[kept].reset_index(drop=True), y[kept], kept
    for sign in (0.37, -0.61, 40, -40):
        other = X.copy()
        other.loc[i, "age"] += sign * 10
        other.loc[i, "wbc"] = (
            (0 if np.isnan(other.loc[i, "wbc"]) else other.loc[i, "wbc"]) * (1 + sign) + 1 + sign
        )
        other.loc[i, "sex"] = "male" if X.loc[i, "sex"] == "female" else "female"
        yield "covariates", other, y, everyone
    other = X.copy()
    for column, nothing in (("age", np.nan), ("wbc", np.nan), ("sex", None)):
        other.loc[i, column] = nothing
    yield "covariates", other, y, everyone
    if not y.dtype.names:
        flipped = y.copy()
        flipped[i] = 1 - y[i]
        yield "outcome", X, flipped, everyone
        return
    times = np.unique(y["time"])
    at = int(np.searchsorted(times, y["time"][i]))
    near = {
        0.5 * (times[at] + times[max(at - 1, 0)]),
        0.5 * (times[at] + times[min(at + 1, len(times) - 1)]),
    }
    for event in (False, True):
        for time in sorted({float(y["time"][i]), times[0] / 2, times[-1] * 1.3, *near}):
            if (event, time) != (y["event"][i], y["time"][i]):
                other = y.copy()
                other["event"][i], other["time"][i] = event, time
                yield "outcome", X, other, everyone


def different(name: str, before: dict, after: dict) -> np.ndarray:
    """Which numbers of record `name` are different; lists whose length depends on the data are
    compared by what they hold.
    """
    a, b = before[name][0], after[name][0]
    if name in ("event_times", "knots"):
        return (
            ~np.isclose(a[:, None], b[None, :], rtol=1e-12).any(axis=1)
            if len(a)
            else np.zeros(0, bool)
        )
    if name in ("baseline", "events") and "knots" in before:
        out = np.ones(len(a), bool)
        for k, knot in enumerate(before["knots"][0]):
            same = np.flatnonzero(np.isclose(after["knots"][0], knot, rtol=1e-12))
            out[k] = not len(same) or abs(a[k] - b[same[0]]) > TOLERANCE * max(1, abs(a[k]))
        return out
    return np.abs(a - b) > TOLERANCE * np.maximum(1, np.abs(a))


KINDS = {
    "left out": {"left out"},
    "present": {"left out", "covariates"},
    "covariates": {"covariates"},
    "any change": {"left out", "covariates", "outcome"},
}


COUNTS = ("present", "covariates", "any change")


def counted(release, site, **options) -> tuple[dict, dict]:
    "The release, and for each record and way of counting how many patients change each number."
    start, changed = changed_sites(site, **options)
    before = release(start)
    seen = {
        (name, kind): np.zeros((len(start.X), *value.shape), bool)
        for name, (value, _) in before.items()
        for kind in KINDS
    }
    for i, how, rows in changed:
        after = release(rows)
        for name in before:
            new = different(name, before, after)
            for kind, ways in KINDS.items():
                if how in ways:
                    seen[name, kind][i] |= new
    return before, {key: value.sum(axis=0) for key, value in seen.items()}


def overstated(label: str, release, site, kinds=COUNTS, **options) -> list[str]:
    "Every record whose declaration says more patients than can be counted."
    before, counts = counted(release, site, **options)
    found = []
    for name, (_, declared) in before.items():
        for kind in kinds:
            count = counts[name, kind]
            few = count[count > 0].min(initial=10**6)
            if few < declared:
                found.append(
                    f"{label}: {name} is declared to hold {declared} patients, but only {few} "
                    f"matter ({kind}; {int((count == few).sum())} of {count.size} numbers)"
                )
    return found


def derived(name: str, release, compute):
    "Numbers that anybody can work out from released ones, with the declaration that `compute` finds for them."

    def worked_out(rows: Rows):
        return {name: compute(release(rows))}

    return worked_out


# What is asked, of whom


def questions() -> dict[str, tuple]:
    """Every question of every learner: how to ask it of a site of n patients with common times `t`;
    whether the outcome is binary.
    """
    per_site, breslow = gw.CoxPH(), gw.CoxPH(ties="breslow")
    simulated, grid = (
        gw.CoxPH(baseline="shared", disclosure="simulation"),
        gw.CoxPH(baseline="shared", time_grid=GRID, disclosure="simulation"),
    )
    logistic = gw.LogisticRegression()
    one = {"fold": [-1]}
    hazards = lambda t: {
        "times": t,
        "hazard": np.linspace(0.02, 0.2, len(t)),
        "take_back": np.zeros(len(t)),
    }
    coarse = {"hazard": np.linspace(0.1, 0.5, len(GRID)), "take_back": np.full(len(GRID), 0.01)}
    local = {"penalty": [0.01], "proximal-mu": [0.1]}
    out = {
        "summaries": (lambda n, t: summaries_release, False),
        "logistic newton": (
            lambda n, t: learner_release(
                logistic, "newton", {"beta": [np.append(BETA, 0.1)], **one}
            ),
            True,
        ),
        "logistic newton at zero": (
            lambda n, t: learner_release(logistic, "newton", {"beta": [np.zeros(4)], **one}),
            True,
        ),
        "logistic loss": (
            lambda n, t: learner_release(logistic, "loss", {"weights": np.append(BETA, 0.1)}),
            True,
        ),
        "logistic weights": (
            lambda n, t: learner_release(
                logistic, "weights", {"weights": np.append(BETA, 0.1), **local}
            ),
            True,
        ),
        "logistic concordance": (
            lambda n, t: concordance_release(logistic, np.append(BETA, 0.1)),
            True,
        ),
        "cox concordance": (lambda n, t: concordance_release(per_site, BETA), False),
        "cox concordance on a grid": (lambda n, t: concordance_release(grid, BETA), False),
        "cox event_times, simulation": (
            lambda n, t: learner_release(simulated, "event_times", {}),
            False,
        ),
        "cox baseline": (lambda n, t: learner_release(per_site, "baseline", {"beta": BETA}), False),
        "cox baseline, cells of 3": (
            lambda n, t: learner_release(gw.CoxPH(min_cell=3), "baseline", {"beta": BETA}),
            False,
        ),
        "cox baseline, simulation": (
            lambda n, t: learner_release(
                gw.CoxPH(disclosure="simulation"), "baseline", {"beta": BETA}
            ),
            False,
        ),
    }
    for name, learner in (("cox efron", per_site), ("cox breslow", breslow)):
        out |= {
            f"{name} newton": (
                lambda n, t, m=learner: learner_release(m, "newton", {"beta": [BETA], **one}),
                False,
            ),
            f"{name} newton at zero": (
                lambda n, t, m=learner: learner_release(
                    m, "newton", {"beta": [np.zeros(3)], **one}
                ),
                False,
            ),
            f"{name} loss": (
                lambda n, t, m=learner: learner_release(m, "loss", {"weights": BETA}),
                False,
            ),
            f"{name} weights": (
                lambda n, t, m=learner: learner_release(m, "weights", {"weights": BETA, **local}),
                False,
            ),
        }
    for name, learner, binary in (("cox efron", per_site, False), ("logistic", logistic, True)):
        betas = np.stack([np.append(BETA, 0.1)[: 4 if binary else 3]] * 3)
        state = {"beta": betas, "fold": [0, 1, 2]}
        out[f"{name} newton, folds"] = (
            lambda n, t, m=learner, s=state: learner_release(m, "newton", s, np.arange(n) % 3),
            binary,
        )
        out[f"{name} newton at zero, folds"] = (
            lambda n, t, m=learner, s=state: learner_release(
                m, "newton", s | {"beta": 0 * s["beta"]}, np.arange(n) % 3
            ),
            binary,
        )
        out[f"{name} score, folds"] = (
            lambda n, t, m=learner, s=state: learner_release(m, "score", s, np.arange(n) % 3),
            binary,
        )
    for ties in ("efron", "breslow"):
        free, coarse_grid = (
            gw.CoxPH(baseline="shared", disclosure="simulation", ties=ties),
            gw.CoxPH(baseline="shared", time_grid=GRID, disclosure="simulation", ties=ties),
        )
        out[f"cox sums, simulation, {ties}"] = (
            lambda n, t, m=free: learner_release(m, "sums", {"beta": BETA, "times": t}),
            False,
        )
        out[f"cox curvature, simulation, {ties}"] = (
            lambda n, t, m=free: learner_release(m, "curvature", {"beta": BETA, **hazards(t)}),
            False,
        )
        out[f"cox sums, time grid, {ties}"] = (
            lambda n, t, m=coarse_grid: learner_release(
                m, "sums", {"beta": BETA, "times": np.array(GRID[::-1])}
            ),
            False,
        )
        out[f"cox curvature, time grid, {ties}"] = (
            lambda n, t, m=coarse_grid: learner_release(
                m, "curvature", {"beta": BETA, "times": np.array(GRID[::-1]), **coarse}
            ),
            False,
        )
    return out | discrete_questions()


def discrete_questions() -> dict[str, tuple]:
    "Every question of DiscreteHazard, of a classifier's, and of Scaffold."
    local, edges, out = (
        {"penalty": [0.01], "proximal-mu": [0.0], "server-round": [1]},
        [0.2, 0.5, 1.1, 2.4],
        {},
    )
    for baseline, level in (("shared", [-0.2, 0.1, -1.2]), ("per-site", [])):
        learner, grid, beta = (
            gw.DiscreteHazard(knots=3, baseline=baseline),
            {"edges": edges},
            np.append(BETA, level),
        )
        changing = grid | {
            "varying": [0],
            "fold": [-1],
            "beta": [np.append(np.append(BETA, [0.1, -0.1]), level)],
        }
        states = {
            "newton": grid | {"beta": [beta], "fold": [-1]},
            "newton at zero": grid | {"beta": [0 * beta], "fold": [-1]},
            "newton, changing": changing,
            "newton at zero, changing": changing | {"beta": [0 * changing["beta"][0]]},
            "loss": grid | {"weights": beta},
            "weights": grid | local | {"weights": beta},
        }
        out |= {
            f"discrete {baseline} {q}": (
                lambda n, t, m=learner, q=q, s=s: learner_release(m, q.split(",")[0].split()[0], s),
                False,
            )
            for q, s in states.items()
        }
        state = grid | {"beta": np.stack([beta] * 3), "fold": [0, 1, 2]}
        for q in ("newton", "score"):
            out[f"discrete {baseline} {q}, folds"] = (
                lambda n, t, m=learner, q=q, s=state: learner_release(m, q, s, np.arange(n) % 3),
                False,
            )
    out["discrete per-site course"] = (
        lambda n, t, m=learner: learner_release(m, "course", {"edges": edges, "beta": BETA}),
        False,
    )
    for name, learner in (
        ("", gw.DiscreteHazard()),
        (", cells of 3", gw.DiscreteHazard(min_cell=3)),
        (", simulation", gw.DiscreteHazard(disclosure="simulation")),
    ):
        out[f"discrete grid{name}"] = (
            lambda n, t, m=learner: learner_release(m, "grid", {}),
            False,
        )
    classified = gw.DiscreteHazard(
        knots=3, classifier=SGDClassifier(loss="log_loss", shuffle=False), local_steps=1
    )
    out["discrete classifier weights"] = (
        lambda n, t: learner_release(
            classified,
            "weights",
            local | {"edges": edges, "weights": np.append(BETA, [0.1, 0, -1.2])},
        ),
        False,
    )
    out["logistic weights and control"] = (
        lambda n, t: scaffold_release(
            gw.LogisticRegression(),
            local | {"weights": np.append(BETA, 0.1), "control": [0.1, 0, 0, 0.05]},
        ),
        True,
    )
    return out


QUESTIONS = questions()


def asked(name: str, site):
    "A question ready to be asked of a site."
    make, binary = QUESTIONS[name]
    n = len((odd_site(site) if isinstance(site, str) else small_site(*site))[0])
    return make(n, np.empty(0) if binary else np.array(common_times(site)))


@pytest.mark.parametrize("site", SITES, ids=lambda s: f"{s[0]} patients")
@pytest.mark.parametrize("name", QUESTIONS)
def test_no_declaration_says_more_patients_than_there_are(name, site):
    assert (
        overstated(
            name, asked(name, site), site, binary=QUESTIONS[name][1], missing=name == "summaries"
        )
        == []
    )


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize(
    "name", [q for q in QUESTIONS if q.startswith(("cox", "discrete")) and "folds" not in q]
)
def test_odd_sites_do_not_overstate_either(name, kind):
    "Without events most numbers are zero whoever is there; what is not must be honest."
    kinds = (
        ("present", "covariates")
        if kind in ("no event", "one patient", "only censored before all events elsewhere")
        else COUNTS
    )
    assert overstated(name, asked(name, kind), kind, kinds) == []


# What can be worked out from released numbers


def leaving(r: dict) -> np.ndarray:
    "Sums over those who leave between two common times: successive differences of the cumulative sums."
    return np.diff(r["at_risk_sums"][0], axis=0, prepend=0)


@pytest.mark.parametrize("site", SITES, ids=lambda s: f"{s[0]} patients")
@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize("mode", ["simulation", "time grid"])
def test_differences_of_cumulative_sums_are_declared_too(mode, ties, site):
    release = derived(
        "first differences of at_risk_sums",
        asked(f"cox sums, {mode}, {ties}", site),
        lambda r: (leaving(r), r["at_risk_sums"][1]),
    )
    assert overstated(f"{mode}, {ties}", release, site, ("left out",)) == []


@pytest.mark.parametrize("site", SITES, ids=lambda s: f"{s[0]} patients")
@pytest.mark.parametrize("mode", ["simulation", "time grid"])
def test_those_censored_in_a_cell_are_declared_too(mode, site):
    "With Efron, those who leave less the tied are the patients *censored* in that cell: that may be one patient."
    release = derived(
        "sums over those censored in a cell",
        asked(f"cox sums, {mode}, efron", site),
        lambda r: (leaving(r) - r["tied_sums"][0], r["at_risk_sums"][1]),
    )
    assert overstated(mode, release, site, ("left out",)) == []


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_all_censored_together_are_declared_too(ties):
    """At beta = 0 the sum over everyone at risk less the sum over all events is the sum over the
    censored: here one patient's covariates.
    """
    X, y = small_site(30, 2)
    y["event"] = np.arange(30) != 7
    learner = gw.CoxPH(baseline="shared", time_grid=(20.0, 30.0), min_cell=5, ties=ties)
    block = learner.prepare(ENCODING.transform(X), learner.target(y))
    try:
        given = learner.answers(
            "sums", block, {"beta": np.zeros(3), "times": np.array([30.0, 20.0])}
        )
    except gw.DisclosureError:
        return
    np.testing.assert_allclose(
        given["at_risk_sums"].value[-1, 1:] - given["event_totals"].value[1:],
        ENCODING.transform(X)[7],
        atol=1e-12,
    )
    assert min(given["at_risk_sums"].patients, given["event_totals"].patients) <= 1, (
        "one patient's covariates follow from these numbers"
    )


def test_folds_cannot_be_told_apart_by_subtraction():
    """Sums without fold 0, without fold 1 ... add up to the whole: each fold's own sum follows, so the
    fold is what stands behind them.
    """
    release = asked("logistic newton at zero, folds", SITES[0])
    own = derived(
        "gradient of one fold",
        release,
        lambda r: (r["gradient"][0].sum(axis=0) / 2 - r["gradient"][0], r["gradient"][1]),
    )
    assert overstated("logistic newton", own, SITES[0], ("left out",), binary=True) == []


@pytest.mark.parametrize("learner", [gw.CoxPH(), gw.LogisticRegression()], ids=["cox", "logistic"])
def test_a_site_with_one_event_declares_that_one_patient_follows(learner):
    """At beta = 0, gradient and means of a site with one event give that patient's covariates: one
    patient stands behind the gradient.
    """
    X, y = small_site(12, 1)
    y["event"] = np.arange(12) == y["time"].argmin()
    Z, case = ENCODING.transform(X), int(y["time"].argmin())
    binary = isinstance(learner, gw.LogisticRegression)
    block = learner.prepare(Z, y["event"].astype(float) if binary else y)
    given = learner.answers(
        "newton", block, {"beta": np.zeros((1, 4 if binary else 3)), "fold": np.array([-1])}
    )["gradient"]
    follows = given.value[0][:3] + (Z.sum(axis=0) / 2 if binary else Z.mean(axis=0))
    np.testing.assert_allclose(follows, Z[case], atol=1e-12)
    assert given.patients <= 1, (
        f"the covariates of one patient follow from it, declared are {given.patients}"
    )


def one_event_a_fold(binary: bool, n: int = 24, folds: int = 3):
    "Encoded rows and outcome of a site whose folds have one event each; the fold of each row."
    X, y = small_site(n, 1)
    y["event"] = np.arange(n) < folds
    return ENCODING.transform(X), y["event"].astype(float) if binary else y, np.arange(n) % folds


FOLDED = {
    "cox": gw.CoxPH(),
    "logistic": gw.LogisticRegression(),
    "discrete": gw.DiscreteHazard(time_grid=[6.0, 12.0, 30.0], knots=1),
}


@pytest.mark.parametrize("asked_for", [(0, 1, 2), (0, 1), (2, -1)], ids=str)
@pytest.mark.parametrize("name", FOLDED)
def test_folds_with_one_event_declare_that_one_patient_follows(name, asked_for):
    """Sums without each fold give each fold's own sums, and a fold with one event gives that patient:
    the rows of the fold are not what stands behind them.
    """
    learner, (Z, y, fold) = FOLDED[name], one_event_a_fold(name == "logistic")
    block = learner.prepare(Z, y, fold)
    grid = {"edges": np.array([6.0, 12.0, 30.0])} if name == "discrete" else {}
    state = {
        "beta": np.zeros((len(asked_for), 3 if name == "cox" else 4)),
        "fold": np.array(asked_for),
        **grid,
    }
    sums, score = learner.answers("newton", block, state), learner.answers("score", block, state)
    if name == "logistic" and asked_for == (0, 1, 2):
        own = sums["gradient"].value.sum(axis=0) / 2 - sums["gradient"].value
        follows = own[:, :3] + [Z[fold == f].sum(axis=0) / 2 for f in range(3)]
        np.testing.assert_allclose(
            follows, Z[:3], atol=1e-12, err_msg="the covariates of each fold's only case"
        )
    assert {k: sums[k].patients for k in ("loglik", "gradient", "hessian")} == {
        "loglik": 1,
        "gradient": 1,
        "hessian": 1,
    }
    assert score["held_out"].patients == 1
    assert sums["patients"].patients <= 8


@pytest.mark.parametrize(
    "name",
    [
        "SurvivalForest",
        "DiscreteHazard",
        "PersonalCox",
        "BoostedSurvival",
        "DeepSurv",
        "HazardNet",
        "Ensemble",
    ],
)
def test_whatever_is_a_candidate_its_folds_are_in_the_books(name):
    "Every learner answers for the fold that it was trained without, whatever it is asked and when."
    if name in ("DeepSurv", "HazardNet"):
        pytest.importorskip("torch", reason="the extra `torch` is not installed")
    options = {
        "SurvivalForest": {"trees": 10},
        "PersonalCox": {"repeats": 1},
        "BoostedSurvival": {"trees": 5},
        "DeepSurv": {"max_rounds": 2},
        "HazardNet": {"max_rounds": 2},
        "Ensemble": {"learners": [gw.CoxPH(), gw.DiscreteHazard()]},
    }
    X, y = made_up(300, 2, seed=4)
    run = federate(
        in_hospitals(X, y, np.repeat(["A", "B"], [180, 120])),
        gw.BestOf([gw.CoxPH(), getattr(gw, name)(**options.get(name, {}))], retune=False),
        tune=2,
    )
    assert (
        run.learner.chosen_ in ("CoxPH", name)
        and (run.disclosed.dropna().fewest_patients >= 1).all()
    )


@pytest.mark.parametrize(
    "learner",
    [gw.CoxPH(), FOLDED["discrete"], gw.SurvivalForest(trees=3, min_leaf=3, min_cell=3)],
    ids=lambda v: type(v).__name__,
)
def test_the_books_of_a_candidate_count_the_fold_that_it_was_trained_without(learner):
    """BestOf trains each candidate without each fold in turn: to the candidate the others are all
    there are, to a reader its answers with and without the fold can be compared.
    """
    whole, (Z, y, fold) = gw.BestOf([learner]), one_event_a_fold(False)
    block = whole.prepare(Z, y, fold)
    question = {
        "CoxPH": ("newton", {"beta": np.zeros((1, 3)), "fold": np.array([-1])}),
        "DiscreteHazard": (
            "newton",
            {
                "beta": np.zeros((1, 4)),
                "fold": np.array([-1]),
                "edges": np.array([6.0, 12.0, 30.0]),
            },
        ),
        "SurvivalForest": ("baseline", a_forest() | {"trees": np.array([2])}),
    }[type(learner).__name__]

    def few(without):
        told = {"member-1": np.array([0.0]), "without-1": np.array([float(without)])}
        return min(
            r.patients for r in whole.answers(question[0], block, question[1] | told).values()
        )

    assert [few(f) for f in range(3)] == [1] * 3
    assert few(-1) > 1


def test_a_mean_of_one_patient_is_in_the_books_as_one_patient():
    "A column that one patient of a site has: its mean is that patient's value. The books must say 1."
    X, y = made_up(60, 2)
    X.loc[1:19, "f1"] = np.nan
    run = federate(in_hospitals(X, y, np.repeat(["A", "B", "C"], 20)), gw.CoxPH(penalty=0.01))
    assert run.disclosed.set_index("name").loc[
        ["mean", "known", "squares"], "fewest_patients"
    ].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    "coded",
    [
        {0: 0.0, 1: 1.0},
        {0: 1, 1: 2},
        {0: False, 1: True},
        {0: 0.0, 1: 1.0, 2: np.nan},
        {0: "no", 1: "yes"},
    ],
    ids=str,
)
@pytest.mark.parametrize("carriers", [1, 3, 57, 59])
def test_a_rare_value_is_in_the_books_however_it_is_coded(coded, carriers):
    """Mean times known values is the number of patients with a 1: one carrier among sixty is one
    patient, as a text and as a number.
    """
    X, y = made_up(180, 2)
    code = np.where(np.arange(180) % 60 < carriers, 1, 0)
    if 2 in coded:
        code[np.arange(180) % 60 >= 60 - min(60 - carriers - 1, 20)] = 2
    X["f1"] = pd.Series(code).map(coded).to_numpy()
    rare = min(carriers, int((code[:60] == 0).sum()))
    run = federate(
        in_hospitals(X, y, np.repeat(["A", "B", "C"], 60)), gw.CoxPH(penalty=0.05), test=False
    )
    assert run.disclosed.set_index("name").fewest_patients["mean"] == rare


# Boosted trees


def boosted_state(fold=-1, trees=None, **more):
    "What a site is told of one boosted model in the making."
    trees = Trees.none(2) if trees is None else trees
    tables = {k: getattr(trees, k)[None] for k in ("feature", "cut", "value")}
    return {
        "beta": np.zeros((1, 3)),
        "base": np.zeros(1),
        "depth": np.array([2]),
        "fold": np.array([fold]),
        "events": np.array([20.0]),
        "server-round": np.array([1.0]),
        **tables,
        **more,
    }


def boosted(objective):
    pytest.importorskip("xgboost", reason="the extra `boost` is not installed")
    return gw.BoostedSurvival(objective, min_leaf=5, rows=1.0, columns=1.0, local_trees=2)


@pytest.mark.parametrize(
    ("objective", "site"),
    [("cox", SITES[0]), ("aft", SITES[0]), ("cox", SITES[1])],
    ids=["cox, 12 patients", "aft, 12 patients", "cox, 30 patients"],
)
def test_values_at_the_leaves_of_a_boosted_tree_are_declared(objective, site):
    """Every value that a tree holds. Which feature a question asks about, and where, is the outcome
    of a choice among all patients at the question, which most single patients cannot turn; that
    they are at least as many as declared is counted in the next test.
    """
    release = learner_release(boosted(objective), "grow", boosted_state(), np.arange(site[0]) % 3)
    used = release(changed_sites(site)[0])["value"][0] != 0
    values = derived("values at leaves", release, lambda r: (r["value"][0][used], r["value"][1]))
    assert used.any()
    assert overstated(objective, values, site) == []


@pytest.mark.parametrize("objective", ["cox", "aft"])
def test_at_least_as_many_patients_as_declared_are_at_each_leaf_of_a_boosted_tree(objective):
    """On either side of each question too; and the bytes for Flower hold the same trees as the tables,
    nothing more, with the same declaration.
    """
    learner, (start, _) = boosted(objective), changed_sites(SITES[1])
    block = learner.prepare(start.Z, learner.target(start.y), None)
    tables = learner.answers("grow", block, boosted_state())
    trees = Trees(*(tables[k].value[0] for k in ("feature", "cut", "value")))
    for t in range(len(trees)):
        leaf = trees.each(on_steps(block.X))[:, t]
        assert np.unique(leaf, return_counts=True)[1].min() >= tables["value"].patients >= 5
    empty = as_model(Trees.none(2), Start(np.zeros(3)), learner.objective_json(), 2)
    sent = learner.answers(
        "weights",
        block,
        {
            "0": np.frombuffer(empty, np.uint8),
            "fold": np.array([-1.0]),
            "events": np.array([20.0]),
            "server-round": np.array([1.0]),
        },
    )
    received, start_ = of_model(sent["0"].value.tobytes())
    for k in ("feature", "cut", "value"):
        np.testing.assert_array_equal(getattr(received, k), getattr(trees, k))
    assert sent["0"].patients == tables["value"].patients
    assert sent["0"].value.tobytes() == as_model(received, start_, learner.objective_json(), 2)


@pytest.mark.parametrize("question", ["totals", "score", "centre", "baseline", "loss"])
@pytest.mark.parametrize("objective", ["cox", "aft"])
def test_what_else_a_boosted_model_asks_is_declared(objective, question):
    trees = Trees(
        np.array([[0, 1, 2]], np.int16),
        np.array([[36, 34, 30]], np.uint8),
        np.array([[0.3, -0.2, 0.5, 0.1]], np.float32),
    )
    learner = boosted(objective)
    state = {
        "totals": {"fold": np.arange(3)},
        "score": boosted_state(0, trees, counts=np.array([0, 1])),
        "centre": boosted_state(0, trees),
        "baseline": boosted_state(0, trees, centre=np.zeros(1)),
        "loss": {
            "0": np.frombuffer(
                as_model(trees, Start(np.zeros(3)), learner.objective_json(), 1), np.uint8
            )
        },
    }[question]
    assert (
        overstated(question, learner_release(learner, question, state, np.arange(12) % 3), SITES[0])
        == []
    )


def test_a_boosted_model_refuses_leaves_below_the_minimum_cell():
    X, y = made_up(60)
    with pytest.raises((gw.SiteError, gw.DisclosureError), match="min_leaf=3.*min_cell=5"):
        federate(in_hospitals(X, y, np.repeat(["A", "B"], 30)), gw.BoostedSurvival(min_leaf=3))


# Survival forests


def a_forest(own: int = 0) -> dict[str, np.ndarray]:
    """A forest of other patients as a site is told of it; with `own`, its last trees may be those of a
    site with so many patients.
    """
    X, y = small_site(300, 99)
    learner, sizes = gw.SurvivalForest(trees=6), [300]
    state = {
        "min-leaf": np.array([5]),
        "features": np.array([2]),
        "seed": np.array([0]),
        "trees": np.array([6]),
        "total": np.array([300]),
    }
    given = learner.answers("trees", learner.prepare(ENCODING.transform(X), y), state)
    sizes = [300] * 3 + [own or 300] * 3
    return (
        state
        | {k: r.value for k, r in given.items()}
        | {
            "origin": np.array(sizes),
            "number": np.array([0, 1, 2, 0, 1, 2]),
            "slope": np.array([1.4, -0.1]),
            "leaves": np.array([5, 10]),
        }
    )


@pytest.mark.parametrize("site", [*SITES, "one event", "one patient"], ids=str)
@pytest.mark.parametrize("question", ["patients", "quality", "calibration", "baseline", "settings"])
def test_what_a_forest_asks_is_declared(question, site, monkeypatch):
    """With samples that do not hang on the rows, so that not everybody changes every number. The trees
    themselves: test_forest counts the patients in every leaf.
    """
    monkeypatch.setattr(gw.SurvivalForest, "_secret", lambda self, block: block.n)
    learner, n = gw.SurvivalForest(), site[0] if isinstance(site, tuple) else 12
    if question == "settings" and n > 12:
        pytest.skip("hundreds of small forests: counted at the smaller sites")
    for state in (
        (a_forest(), a_forest(n))
        if question not in ("patients", "settings")
        else (a_forest() | {"trees": np.array([2])},)
    ):
        kinds = ("present", "covariates") if isinstance(site, str) else COUNTS
        assert (
            overstated(f"forest {question}", learner_release(learner, question, state), site, kinds)
            == []
        )


# Neural networks


def a_network(kind: str, **options):
    "A small network and what a site is told of it: weights on their way, a grid, and which part is kept aside."
    pytest.importorskip("torch", reason="the extra `torch` is not installed")
    learner = (
        gw.DeepSurv((3,), epochs=2, **options)
        if kind == "deepsurv"
        else gw.HazardNet((3,), epochs=2, knots=3, changing=kind.endswith("changing"), **options)
    )
    state = {
        "edges": np.array([0.2, 0.5, 1.1, 2.4]),
        "penalty": np.array([0.1]),
        "server-round": np.ones(1),
        "beta": np.array([[-0.2, 0.1, -1.2]]),
    }
    shape = learner.shape(3, state)
    return learner, state | {
        "weights": shape.start(0)
        + 0.1 * np.random.default_rng(0).normal(size=len(shape.free())) * shape.free()
    }


OF_NETWORKS = [
    (kind, question)
    for kind, more in {"deepsurv": ("baseline",), "hazard-net": ("newton", "grid")}.items()
    for question in ("weights", "weights, one part kept aside", "score", "loss", *more)
] + [("hazard-net, changing", "weights")]


@pytest.mark.parametrize("site", [*SITES, "one event", "one patient", "no event"], ids=str)
@pytest.mark.parametrize(("kind", "question"), OF_NETWORKS)
def test_what_a_network_asks_is_declared(kind, question, site):
    "As a simulation, so that small sites do answer; who is kept aside is fixed from outside."
    learner, state = a_network(kind, disclosure="simulation")
    fold = -1 if question in ("weights", "loss", "baseline", "newton") else 0
    n = site[0] if isinstance(site, tuple) else 1 if site == "one patient" else 12
    kinds = ("present", "covariates") if isinstance(site, str) else COUNTS
    assert (
        overstated(
            f"{kind} {question}",
            learner_release(
                learner,
                question.split(",")[0],
                state | {"fold": np.array([fold])},
                np.arange(n) % 3,
            ),
            site,
            kinds,
        )
        == []
    )


# Rules that refuse


def test_a_shared_baseline_without_a_grid_says_what_to_do():
    X, y = made_up(60)
    federation = in_hospitals(X, y, np.repeat(["A", "B"], 30))
    with pytest.raises(
        (gw.SiteError, gw.DisclosureError),
        match=r"DisclosureError.*time_grid.*disclosure='simulation'|time_grid.*disclosure='simulation'",
    ):
        federate(federation, gw.CoxPH(baseline="shared"))
    assert federate(federation, gw.CoxPH(baseline="shared", disclosure="simulation")).converged


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_a_grid_that_is_too_fine_is_refused_with_the_times(ties):
    X, y = made_up(200)
    federation = in_hospitals(X, y, np.repeat(["A", "B"], 100))
    with pytest.raises(
        (gw.SiteError, gw.DisclosureError), match=r"min_cell=5.*0\.01.*coarser time_grid"
    ):
        federate(
            federation, gw.CoxPH(baseline="shared", ties=ties, time_grid=(0.01, 0.02, 1.0, 30.0))
        )
    run = federate(federation, gw.CoxPH(baseline="shared", ties=ties, time_grid=(0.5, 1.0, 30.0)))
    books = run.disclosed.set_index("name")
    assert books.loc[["at_risk_sums", "event_counts", "event_totals"], "fewest_patients"].min() >= 5


SURVIVAL = (
    "CoxPH",
    "PersonalCox",
    "DiscreteHazard",
    "SurvivalForest",
    "BoostedSurvival",
    "DeepSurv",
    "HazardNet",
)


@pytest.mark.parametrize("min_cell", [2, 1, 0, -4, "5", 5.0, True, None], ids=repr)
@pytest.mark.parametrize("name", SURVIVAL)
def test_no_survival_learner_takes_a_smallest_cell_below_the_floor(name, min_cell):
    "A group of one event is that patient's time; the books would call it protected."
    _, y = made_up(30)
    with pytest.raises(
        ValueError,
        match=r"min_cell=.*expected a whole number from 3 up, or disclosure='simulation'",
    ):
        getattr(gw, name)(min_cell=min_cell).target(y)
    with pytest.raises(ValueError, match=r"min_cell="):
        gw.BestOf([gw.CoxPH(), getattr(gw, name)(min_cell=min_cell)]).target(y)
    getattr(gw, name)(min_cell=3).target(y)
    getattr(gw, name)(min_cell=1, disclosure="simulation").target(y)


def test_a_penalty_is_not_tuned_with_folds_of_nobody():
    "A hospital of one patient has empty folds: nothing is released about nobody, and nobody is not `0 patients`."
    X, y = made_up(101)
    run = federate(in_hospitals(X, y, ["O"] + ["A"] * 60 + ["B"] * 40), gw.CoxPH(), tune=5)
    assert run.disclosed["fewest_patients"].dropna().min() >= 1


# Undeclared records


def undeclared_learner() -> gw.CoxPH:
    "A learner that releases a record it does not declare."

    class Leaky(gw.CoxPH):
        def answer(self, question, block, state):
            given = super().answer(question, block, state)
            return given | {"rows": gw.Released(block.X, 1)} if question == "newton" else given

    return Leaky()


def test_an_undeclared_record_is_stopped_at_the_site():
    X, y = made_up(60)
    with pytest.raises(gw.UndeclaredRelease, match="rows"):
        undeclared_learner().fit(X, y)
    with pytest.raises((gw.SiteError, gw.UndeclaredRelease), match=r"(?s)UndeclaredRelease.*rows"):
        federate(in_hospitals(X, y, np.repeat(["A", "B"], 30)), undeclared_learner())


def answered_by_hand(content: RecordDict):
    "A hand-written ClientApp that bypasses the check at the site, asked through a Recorder."
    app = ClientApp()

    @app.query("learner")
    def learner(message, context):
        return Message(content, reply_to=message)

    declared = disclosed_by(gw.CoxPH())
    with task_identity():
        Recorder(InProcessGrid(app, 1), ["A"], declared).ask("query.learner", {}, question="newton")


def metrics(behind, **more) -> MetricRecord:
    return MetricRecord({"num-examples": 9, "site": 0, "seconds": 0.0, "behind": behind, **more})


def test_an_honest_hand_written_app_passes():
    answered_by_hand(
        RecordDict({"arrays": to_record({"gradient": np.ones(3)}), "metrics": metrics([9])})
    )


@pytest.mark.parametrize(
    "content",
    [
        RecordDict({"arrays": to_record({"rows": np.ones((3, 2))}), "metrics": metrics([1])}),
        RecordDict(
            {
                "arrays": to_record({"gradient": np.ones(3), "rows": np.ones((3, 2))}),
                "metrics": metrics([9, 1]),
            }
        ),
        RecordDict(
            {"arrays": to_record({"gradient": np.ones(3)}), "metrics": metrics([9, 1], age=61.0)}
        ),
        RecordDict({"arrays": to_record({"gradient": np.ones(3)}), "metrics": metrics([])}),
        RecordDict(
            {
                "arrays": to_record({}),
                "metrics": metrics([1]),
                "config": ConfigRecord({"diary": "61 years, male"}),
            }
        ),
        RecordDict(
            {
                "arrays": to_record({"gradient": np.ones(3)}),
                "metrics": metrics([9]),
                "rows": to_record({"gradient": np.ones((3, 2))}),
            }
        ),
        RecordDict(
            {
                "arrays": to_record({"gradient": np.ones(3)}),
                "metrics": metrics([9]),
                "more": MetricRecord({"age": 61.0}),
            }
        ),
        RecordDict(
            {
                "arrays": to_record({"gradient": np.ones(3)}),
                "metrics": metrics([9]),
                "texts": ConfigRecord({"levels": "61 years, male"}),
            }
        ),
    ],
    ids=[
        "array",
        "second array",
        "number",
        "no count",
        "text",
        "a second record of arrays",
        "a second record of numbers",
        "a second record of texts",
    ],
)
def test_an_undeclared_record_is_stopped_at_the_server(content):
    with pytest.raises(gw.UndeclaredRelease):
        answered_by_hand(content)


@pytest.mark.parametrize(
    "content",
    [
        RecordDict(),
        RecordDict({"arrays": ArrayRecord()}),
        RecordDict({"metrics": MetricRecord({"num-examples": 9})}),
    ],
    ids=["empty", "no metrics", "no site"],
)
def test_a_reply_without_its_account_is_stopped_in_words(content):
    with pytest.raises((gw.UndeclaredRelease, gw.SiteError)):
        answered_by_hand(content)


# Everything that crossed, seen


class SpyRecorder(Recorder):
    "Keeps every reply and the question it answered."

    contents: ClassVar[list[RecordDict]] = []
    asked: ClassVar[set[str]] = set()

    def send_and_receive(self, messages, *, timeout=None):
        sent = list(messages)
        for m in sent:
            SpyRecorder.asked.add(
                str(m.content.get("config", {}).get("question", m.metadata.message_type))
                if m.metadata.message_type in ("train", "query.learner")
                else m.metadata.message_type
            )
        replies = super().send_and_receive(sent, timeout=timeout)
        SpyRecorder.contents += [m.content for m in replies]
        return replies

    @classmethod
    def watching(cls, work) -> list[RecordDict]:
        "Every reply that crosses while `work()` runs."
        cls.contents, real = [], run_module.Recorder
        run_module.Recorder = cls
        try:
            work()
        finally:
            run_module.Recorder = real
        return cls.contents


def protected_runs() -> dict[str, tuple]:
    "Learner, options and outcome of runs in which real patients are promised protection."
    return {
        "cox": (gw.CoxPH(), {}, False),
        "cox breslow": (gw.CoxPH(ties="breslow"), {}, False),
        "cox tuned": (gw.CoxPH(), {"tune": 3}, False),
        "cox averaged": (gw.CoxPH(0.01), {"strategy": FedAvg(), "rounds": 3}, False),
        "cox shared": (gw.CoxPH(baseline="shared", time_grid=(0.5, 30.0)), {}, False),
        "logistic": (gw.LogisticRegression(), {}, True),
        "logistic tuned": (gw.LogisticRegression(), {"tune": 3}, True),
        "logistic averaged": (
            gw.LogisticRegression(0.01),
            {"strategy": FedProx(proximal_mu=0.1), "rounds": 3},
            True,
        ),
        "logistic scaffold": (
            gw.LogisticRegression(0.01),
            {"strategy": gw.Scaffold(), "rounds": 3},
            True,
        ),
        "discrete": (gw.DiscreteHazard(), {}, False),
        "discrete tuned": (gw.DiscreteHazard(baseline="per-site"), {"tune": 3}, False),
        "discrete averaged": (
            gw.DiscreteHazard(0.01, time_varying=("f1",)),
            {"strategy": gw.FedNova(), "rounds": 3},
            False,
        ),
        "discrete classifier": (
            gw.DiscreteHazard(classifier=SGDClassifier(loss="log_loss"), rounds=3),
            {},
            False,
        ),
    }


FORESTS = {
    "forest": (gw.SurvivalForest(trees=12), {}, False),
    "forest tuned and judged": (gw.SurvivalForest(trees=8, sampling="quality"), {"tune": 3}, False),
}
NETWORKS = {
    "network": (gw.DeepSurv((4,), max_rounds=3), {"strategy": FedProx(proximal_mu=0.1)}, False),
    "network, tuned": (gw.HazardNet((4,), max_rounds=2, epochs=3), {"tune": 3}, False),
}
SIMULATED = {
    "cox simulation": (gw.CoxPH(disclosure="simulation"), {}, False),
    "cox shared simulation": (gw.CoxPH(baseline="shared", disclosure="simulation"), {}, False),
}
ALL_RUNS = protected_runs() | SIMULATED


def watched(name: str) -> tuple[gw.Federation, gw.Run, list[RecordDict]]:
    "A run and all that its sites replied."
    if name in NETWORKS:
        pytest.importorskip("torch", reason="the extra `torch` is not installed")
    learner, options, binary = (ALL_RUNS | FORESTS | NETWORKS)[name]
    X, y = made_up(240, 3, seed=5)
    X = X.assign(sex=["female", "male", "male"] * 80)
    if binary:
        y = (X["f0"] + np.random.default_rng(0).normal(size=240) > 0).astype(int).to_numpy()
    federation = gw.Federation.by_site(
        as_cohort(X, y, np.repeat(["A", "B", "C"], [120, 70, 50])), test_share=0.2
    )
    runs = []
    contents = SpyRecorder.watching(lambda: runs.append(federate(federation, learner, **options)))
    return federation, runs[0], list(contents)


@pytest.mark.parametrize("name", [*ALL_RUNS, *FORESTS, *NETWORKS])
def test_every_record_that_crossed_is_in_the_books_and_declared(name):
    _, run, contents = watched(name)
    declared, booked = disclosed_by(run.learner), run.disclosed.set_index("name")
    assert (
        set(booked.index) <= set(declared)
        and (booked["what"] == [declared[k] for k in booked.index]).all()
    )
    crossed: dict[str, list] = {}
    for content in contents:
        assert set(content) <= {"arrays", "metrics", "config"}
        for k, a in content["arrays"].items():
            crossed.setdefault(k, []).append(len(a.data))
        for k in content["metrics"]:
            crossed.setdefault(k, [])
        for k, v in content.get("config", {}).items():
            crossed.setdefault(k, []).append(len(v))
    assert set(crossed) == set(booked.index)
    for k, sizes in crossed.items():
        if sizes and k not in ABOUT_THE_MESSAGE:
            assert (booked.loc[k, "times"], booked.loc[k, "bytes"]) == (len(sizes), sum(sizes)), k


def test_every_question_that_is_ever_asked_is_counted_above():
    "A question that the perturbation test does not know would go uncounted."
    SpyRecorder.asked = set()
    for name in ALL_RUNS:
        watched(name)
    counted_above = {
        "query.summaries",
        "query.concordance",
        "evaluate",
        "newton",
        "score",
        "weights",
        "baseline",
        "sums",
        "curvature",
        "event_times",
        "grid",
        "course",
    }
    assert SpyRecorder.asked == counted_above
    asked_above = {
        "summaries",
        "concordance",
        *(word for q in QUESTIONS for word in q.replace(",", "").split()),
    }
    assert {
        q.removeprefix("query.").replace("evaluate", "loss") for q in counted_above
    } <= asked_above
    records = {
        k
        for learner in (gw.CoxPH(), gw.LogisticRegression(), gw.DiscreteHazard())
        for k in learner.declares
    }
    seen = set()
    for name, (_, binary) in QUESTIONS.items():
        seen |= set(asked(name, SITES[0])(changed_sites(SITES[0], binary=binary)[0]))
    assert records - seen == set(), "a declared record is never counted above"


def test_every_question_of_a_forest_is_counted_above():
    "Trees by test_forest, the others here; and no record is declared that never crosses."
    SpyRecorder.asked, crossed = set(), set()
    for name in FORESTS:
        crossed |= set(watched(name)[1].disclosed["name"])
    assert SpyRecorder.asked == {
        "query.summaries",
        "query.concordance",
        "patients",
        "trees",
        "quality",
        "calibration",
        "baseline",
        "settings",
    }
    assert set(gw.SurvivalForest.declares) <= crossed


@pytest.mark.parametrize("name", [*protected_runs(), *FORESTS, *NETWORKS])
def test_no_patient_crosses(name):
    """No raw or encoded row (or multiple of one), no time and no single value of a patient is among
    the numbers of a protected run.
    """
    federation, run, contents = watched(name)
    cohort = federation.cohort
    Z, raw = run.learner.encoding_.transform(cohort.X), cohort.X[["f0", "f1", "f2"]].to_numpy()
    unit = Z / np.linalg.norm(Z, axis=1, keepdims=True)
    values = np.concatenate(
        [Z[:, :3].ravel(), raw.ravel(), *([cohort.time] if cohort.kind == "survival" else [])]
    )
    values = np.sort(values[np.abs(values) > 1e-6])
    for content in contents:
        for key, array in from_record(content["arrays"]).items():
            flat = np.asarray(array, float).ravel()
            at = np.clip(np.searchsorted(values, flat), 1, len(values) - 1)
            near = np.minimum(np.abs(values[at] - flat), np.abs(values[at - 1] - flat))
            assert near.min(initial=1.0) > 1e-11, f"{key} holds a value of a patient"
            for start in range(max(0, len(flat) - Z.shape[1] + 1)):
                window = flat[start : start + Z.shape[1]]
                if (length := np.linalg.norm(window)) > 1e-9:
                    assert np.abs(unit @ window / length).max() < 1 - 1e-9, (
                        f"{key} holds a patient's row, up to a factor"
                    )


def test_the_levels_that_cross_are_counts():
    _, _, contents = watched("cox")
    texts = [json.loads(c["config"]["levels"]) for c in contents if "config" in c]
    assert len(texts) == 3 and all(
        set(t) == {"sex"}
        and set(t["sex"]) == {"female", "male"}
        and all(isinstance(v, int) for v in t["sex"].values())
        for t in texts
    )


def test_a_failing_site_does_not_send_its_patients_in_the_message():
    "What a site says of bad values travels to the server: it must not hold a patient's time or covariates."
    X, y = made_up(60)
    federation = in_hospitals(X, y, np.repeat(["A", "B"], 30))
    federation.cohort.frame.iloc[7, federation.cohort.frame.columns.get_loc("years")] = -17.125
    with pytest.raises(gw.SiteError) as caught:
        federate(federation, gw.CoxPH())
    assert "negative time" in str(caught.value) and "17.125" not in str(caught.value)


@pytest.mark.parametrize("name", ["cox", "cox shared", "logistic", "forest"])
def test_the_books_of_protected_runs_show_groups(name):
    "fewest_patients of the whole run, for hospitals of 40 training rows and more."
    _, run, _ = watched(name)
    assert run.disclosed["fewest_patients"].dropna().min() >= 5
