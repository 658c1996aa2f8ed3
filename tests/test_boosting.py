"""Boosted trees. The oracles: plain `xgboost.train` on the same matrix, xgboost's own reading of
our models, Flower's own aggregation of bytes, partial likelihoods written out patient by patient
and their derivatives, trees put together by hand, and a made-up truth that is not linear.
"""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import federate, in_hospitals, made_up, outcome
from flwr.serverapp.strategy import FedAvg, FedXgbBagging, FedXgbCyclic

import genomed_workbench as gw
from genomed_workbench.learners.encoding import Encoding, Summary
from genomed_workbench.learners.learner import ask_blocks
from genomed_workbench.learners.newton import PENALTIES, run_search
from genomed_workbench.statistics.concordance import harrell_c

xgboost = pytest.importorskip("xgboost", reason="the extra `boost` is not installed")

from genomed_workbench.learners import boosting
from genomed_workbench.learners.boosting import (
    Candidate,
    Start,
    Trees,
    as_model,
    of_model,
    on_steps,
)

FREE: dict = {
    "disclosure": "simulation",
    "min_leaf": 1,
    "rows": 1.0,
    "columns": 1.0,
    "validation": 0.0,
}


def bent(n: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Patients whose risk depends on how far two values lie from the middle, and on two others being
    high together: no line can say it.
    """
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.normal(size=(n, 4)), columns=list("abcd"))
    log_hazard = (
        1.5 * (X["a"].abs() > 1) + 1.5 * (X["b"].abs() > 1) + 1.5 * ((X["c"] > 0) & (X["d"] > 0))
    )
    time, lost = rng.exponential(np.exp(-log_hazard.to_numpy())), rng.exponential(3.0, n)
    return X, outcome(np.minimum(time, lost), time <= lost)


def encoded(X: pd.DataFrame) -> tuple[Encoding, np.ndarray]:
    encoding = Encoding.of(Summary.of(X), tuple(X.columns))
    return encoding, encoding.transform(X)


def plain(learner: gw.BoostedSurvival, Z: np.ndarray, y: np.ndarray) -> np.ndarray:
    "What plain xgboost says of the training rows: one call of `xgboost.train`, log scale."
    data, base = xgboost.DMatrix(on_steps(Z).astype(float), nthread=1), 0.0
    if learner.objective == "cox":
        data.set_label(np.where(y["event"], y["time"], -y["time"]))
    else:
        base = np.log(y["time"].sum() / y["event"].sum())
        data.set_float_info("label_lower_bound", y["time"])
        data.set_float_info("label_upper_bound", np.where(y["event"], y["time"], np.inf))
    settings = {
        "objective": f"survival:{learner.objective}",
        "tree_method": "hist",
        "max_bin": 256,
        "max_depth": learner.depth,
        "eta": learner.learning_rate,
        "reg_lambda": learner.leaf_penalty,
        "nthread": 1,
        "base_score": float(np.exp(base)),
        "aft_loss_distribution": "extreme",
        "aft_loss_distribution_scale": learner.scale,
    }
    if learner.objective == "cox":
        settings = {k: v for k, v in settings.items() if not k.startswith("aft")}
    return xgboost.train(settings, data, learner.trees).predict(data, output_margin=True)


@pytest.mark.parametrize(("objective", "scale"), [("cox", 1.0), ("aft", 1.0), ("aft", 0.6)])
def test_a_table_is_plain_xgboost(objective, scale):
    """Oracle: `xgboost.train` in one call on the same steps; ours grows tree by tree, in goes of five,
    and keeps the trees as tables.
    """
    X, y = bent(300, 1)
    learner = gw.BoostedSurvival(objective, trees=30, scale=scale, **FREE).fit(X, y)
    _, Z = encoded(X)
    expected = plain(learner, Z, y)
    expected = expected if objective == "cox" else -expected / scale
    np.testing.assert_allclose(learner.predict(X), expected - expected.mean(), atol=2e-6)
    assert abs(learner.predict(X).mean()) < 1e-9, "against the training mean"


def test_a_federation_with_one_hospital_that_has_events_is_plain_xgboost_there():
    "Oracle: `xgboost.train` on the rows of A; B has no event, so its trees weigh nothing."
    X, y = bent(180, 2)
    y["event"][150:] = False
    learner = federate(
        in_hospitals(X, y, np.repeat(["A", "B"], [150, 30])), gw.BoostedSurvival(trees=20, **FREE)
    ).learner
    Z, everyone = encoded(X)[1], learner.predict(X)
    expected = plain(learner, Z[:150], y[:150])
    np.testing.assert_allclose(
        everyone[:150] - everyone[:150].mean(), expected - expected.mean(), atol=2e-6
    )


def three_hospitals(
    seed: int = 3, n: int = 240, **options
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, gw.Federation]:
    X, y = bent(n, seed)
    site = np.repeat(["A", "B", "C"], [n // 2, n // 3, n - n // 2 - n // 3])
    return X, y, site, in_hospitals(X, y, site, **options)


def test_bagging_is_an_average_of_trees_weighted_by_events():
    """Oracle: two rounds by hand, each hospital's trees from plain xgboost with the margin of the
    round before, times its share of the events.
    """
    X, y, site, federation = three_hospitals()
    learner = gw.BoostedSurvival(trees=4, local_trees=2, **FREE)
    run = federate(federation, learner)
    _, Z = encoded(X)
    margin = np.zeros(len(X))
    for _ in range(2):
        added = np.zeros(len(X))
        for s in "ABC":
            mine = site == s
            data, everyone = (
                xgboost.DMatrix(on_steps(Z[mine]).astype(float), nthread=1),
                xgboost.DMatrix(on_steps(Z).astype(float), nthread=1),
            )
            data.set_label(np.where(y["event"], y["time"], -y["time"])[mine])
            data.set_base_margin(margin[mine].astype(np.float32))
            settings = {
                "objective": "survival:cox",
                "max_bin": 256,
                "max_depth": 3,
                "eta": 0.1,
                "reg_lambda": 1.0,
                "nthread": 1,
                "base_score": 1.0,
            }
            added += (
                y["event"][mine].sum()
                / y["event"].sum()
                * xgboost.train(settings, data, 2).predict(everyone, output_margin=True)
            )
        margin += added
    np.testing.assert_allclose(run.learner.predict(X), margin - margin.mean(), atol=1e-6)
    assert len(run.learner.value_) == 2 * 2 * 3


def test_ours_and_flowers_own_bagging_give_the_same_bytes_of_trees():
    "Flower's strategy reads the whole model at each reply, ours once a round: the same trees."
    *_, federation = three_hospitals()
    learner = gw.BoostedSurvival(trees=20, validation=0.0)
    ours, flowers = (
        federate(federation, learner, strategy=s).learner
        for s in (None, FedXgbBagging(fraction_evaluate=0.0))
    )
    for name in ("feature_", "cut_", "value_"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(flowers, name))


def test_cyclic_trains_one_hospital_after_the_other():
    X, y, _, federation = three_hospitals(test_share=0.2)
    learner = gw.BoostedSurvival(trees=30, aggregation="cyclic", validation=0.0)
    ours, flowers = (
        federate(federation, learner),
        federate(federation, learner, strategy=FedXgbCyclic()),
    )
    assert len(ours.learner.value_) == 30
    np.testing.assert_array_equal(ours.learner.value_, flowers.learner.value_)
    asked = ours.history[(ours.history.phase == "train") & (ours.history.metric == "loss")]
    assert asked.groupby("round").site.nunique().eq(1).all()
    assert asked.site.nunique() == 3
    assert harrell_c(y["time"], y["event"], ours.learner.predict(X)) > 0.62


@pytest.mark.parametrize(
    "strategy", [FedAvg(fraction_evaluate=0.0), FedXgbCyclic()], ids=["FedAvg", "cyclic"]
)
def test_a_strategy_that_does_not_suit_is_refused_in_words(strategy):
    *_, federation = three_hospitals(test_share=0.2)
    with pytest.raises(gw.LearnerError, match="FedXgbBagging"):
        federate(federation, gw.BoostedSurvival(trees=20, validation=0.0), strategy=strategy)


def test_what_travels_is_a_model_that_xgboost_can_open():
    """Oracle: xgboost's own prediction from the bytes; and all that a hospital sends of a tree is its
    questions and its values.
    """
    X, y = bent(200, 4)
    learner = gw.BoostedSurvival(trees=15, min_leaf=5).fit(X, y)
    _, Z = encoded(X)
    theirs = learner.as_xgboost().predict(
        xgboost.DMatrix(on_steps(Z).astype(float)), output_margin=True
    )
    np.testing.assert_allclose(learner.predict(X), theirs - theirs.mean(), atol=1e-5)
    block = learner.prepare(Z, learner.target(y))
    state = {
        "0": np.frombuffer(
            as_model(Trees.none(3), Start(np.zeros(4)), learner.objective_json(), 5), np.uint8
        ),
        "fold": [-1.0],
        "events": [100.0],
        "server-round": [1.0],
    }
    given = learner.answers("weights", block, {k: np.asarray(v) for k, v in state.items()})
    sent = json.loads(given["0"].value.tobytes())["learner"]["gradient_booster"]["model"]["trees"]
    for tree in sent:
        assert not any(np.any(tree[k]) for k in ("base_weights", "loss_changes", "sum_hessian")), (
            "sums over patients that nobody needs"
        )
    trees, _ = of_model(given["0"].value.tobytes())
    leaves = trees.each(on_steps(Z))
    for t in range(len(trees)):
        values, counts = np.unique(leaves[:, t], return_counts=True)
        assert counts.min() >= 5
        assert len(values) >= 2


def test_likelihoods_patient_by_patient():
    """Oracles: Breslow's partial likelihood and the Weibull likelihood as sums over patients; their
    derivative by differences is xgboost's first leaf.
    """
    X, y = made_up(60, 2, seed=5, ties=0.2)
    learner = gw.BoostedSurvival(**FREE)
    block = learner.prepare(encoded(X)[1], learner.target(y))
    time, event = block.y["time"], block.y["event"]
    margin = np.random.default_rng(0).normal(size=(60, 3))
    for m, found in zip(margin.T, boosting.cox_likelihood(margin, block.order)):
        assert found == pytest.approx(
            sum(m[i] - np.log(np.exp(m[time >= time[i]]).sum()) for i in np.flatnonzero(event)),
            abs=1e-10,
        )
    scale = 0.7
    for m, found in zip(margin.T, boosting.aft_likelihood(margin, block.y, scale)):
        z = (np.log(time) - m) / scale
        assert found == pytest.approx((event * z).sum() - np.exp(z).sum(), abs=1e-10)


def test_a_leaf_is_the_newton_step_of_the_partial_likelihood():
    """Oracle: gradient and curvature of Breslow's likelihood along each leaf by finite differences of
    the sum over patients (curvature: diagonal, as xgboost takes it).
    """
    X, y = bent(120, 6)
    learner = gw.BoostedSurvival(
        trees=1, depth=1, learning_rate=1.0, leaf_penalty=2.0, local_trees=1, **FREE
    ).fit(X, y)
    time, event, steps = y["time"], y["event"], on_steps(encoded(X)[1])

    def loglik(m):
        return sum(m[i] - np.log(np.exp(m[time >= time[i]]).sum()) for i in np.flatnonzero(event))

    h, eye = 1e-3, np.eye(120)
    slope = np.array([(loglik(h * e) - loglik(-h * e)) / (2 * h) for e in eye])
    curve = np.array([-(loglik(h * e) - 2 * loglik(0 * e) + loglik(-h * e)) / h**2 for e in eye])
    leaf = learner.grown.each(steps)[:, 0]
    for value in np.unique(leaf):
        mine = leaf == value
        assert value == pytest.approx(slope[mine].sum() / (curve[mine].sum() + 2.0), abs=1e-4)


def test_a_truth_that_is_not_linear_is_learned_and_a_linear_model_cannot():
    X, y, _, federation = three_hospitals(seed=7, n=600)
    new, truth = bent(600, 8)
    c = {
        name: harrell_c(truth["time"], truth["event"], federate(federation, m).learner.predict(new))
        for name, m in {
            "cox": gw.CoxPH(penalty=0.01),
            "boosting": gw.BoostedSurvival(trees=50),
            "aft": gw.BoostedSurvival("aft", trees=50, validation=0.0),
            "from cox": gw.BoostedSurvival(trees=50, validation=0.0, start_penalty=0.1),
        }.items()
    }
    assert min(c["boosting"], c["aft"], c["from cox"]) > c["cox"] + 0.08


def test_the_number_of_trees_is_the_one_that_serves_patients_kept_aside():
    """Noise only: the validation score says stop early; with a truth to learn it goes on. The score is
    the sum over hospitals of what the rows kept aside add.
    """
    X, y, site, federation = three_hospitals(seed=9, n=480)
    noise = federate(
        in_hospitals(X, y[np.random.default_rng(0).permutation(len(y))], site),
        gw.BoostedSurvival(learning_rate=0.2),
    ).learner
    real = federate(federation, gw.BoostedSurvival(learning_rate=0.2)).learner
    assert noise.n_rounds_ < 4 < real.n_rounds_
    assert real.n_rounds_ * 5 == real.validated_["score"].idxmax()
    assert len(noise.validated_) <= 11, (
        "training stops when the score has not risen for five rounds"
    )
    start = real.validated_["score"].iloc[0]
    expected = 0.0
    for s in "ABC":
        mine = site == s
        block = real.prepare(encoded(X)[1][mine], real.target(y[mine]))
        rest = block.without(0)
        expected += (
            boosting.cox_likelihood(np.zeros((block.n, 1)), block.order)[0]
            - boosting.cox_likelihood(np.zeros((rest.n, 1)), rest.order)[0]
        )
    assert start == pytest.approx(expected, abs=1e-9)


def test_tuning_chooses_depth_and_trees_and_tells_the_sites():
    rng = np.random.default_rng(10)
    X = pd.DataFrame(rng.normal(size=(450, 2)), columns=["a", "b"])
    federation = in_hospitals(
        X,
        outcome(
            rng.exponential(np.where((X["a"] > 0) == (X["b"] > 0.3), 1.0, 0.1)),
            rng.random(450) < 0.9,
        ),
        np.repeat(["A", "B", "C"], 150),
    )
    run = federate(
        federation,
        gw.BoostedSurvival(trees=30, depths=(1, 2, 3), learning_rate=0.3, columns=1.0),
        tune=3,
    )
    assert run.tuning.index.names == ["depth", "trees"]
    assert (run.learner.depth, run.learner.trees) == run.tuning.idxmax()
    assert run.learner.depth > 1, (
        "two values that are high together, or low together, need two questions in a row"
    )
    assert run.learner.grown.depth == run.learner.depth
    assert run.learner.validation == 0
    from_cox = federate(
        federation, gw.BoostedSurvival(trees=10, start_penalty=77.0), tune=3
    ).learner
    assert from_cox.start_penalty in PENALTIES
    assert np.abs(from_cox.beta_).max() > 0


def test_rounds_in_one_process_and_over_flower_are_the_same_rounds():
    "The rounds of a cross-validation send tables, those of a training send xgboost's bytes: the same trees come out."
    X, y, site, federation = three_hospitals(seed=11)
    learner = gw.BoostedSurvival(trees=10, validation=0.0)
    encoding, Z = encoded(X)
    ask = ask_blocks(
        learner, {s: learner.prepare(Z[site == s], learner.target(y)[site == s]) for s in "ABC"}
    )
    search = boosting.BoostingSearch(
        learner, [Candidate(Start(np.zeros(4)), 3, -1, float(y["event"].sum()))], 2
    )
    run_search(search, ask)
    sent = federate(federation, learner).learner
    np.testing.assert_allclose(
        search.candidates[0].trees.each(on_steps(Z)).sum(axis=1),
        sent.grown.each(on_steps(Z)).sum(axis=1),
        atol=1e-12,
    )


def test_the_same_seed_gives_the_same_bits_and_another_seed_other_trees():
    X, _, _, federation = three_hospitals(seed=12)
    first, again, other = (
        federate(federation, gw.BoostedSurvival(trees=20, seed=s)).learner for s in (1, 1, 2)
    )
    assert (first.predict(X) == again.predict(X)).all()
    assert not np.allclose(first.predict(X), other.predict(X))


def test_a_saved_run_and_an_exported_model_predict_the_same_bits_without_xgboost(tmp_path):
    X, y, site, federation = three_hospitals(seed=13)
    run = federate(federation, gw.BoostedSurvival(trees=20, start_penalty=0.2))
    loaded = gw.Run.load(run.save(tmp_path / "run")).learner
    sent = run.learner.imported(run.learner.encoding_, run.learner.exported())
    for model in (loaded, sent):
        assert (model.predict(X) == run.learner.predict(X)).all()
        assert (
            model.survival_for(X, [0.5, 1.0], site) == run.learner.survival_for(X, [0.5, 1.0], site)
        ).all()
    X.to_parquet(tmp_path / "new.parquet")
    np.save(tmp_path / "expected.npy", run.learner.predict(X))
    script = (
        "import sys; sys.modules['xgboost'] = None\nimport numpy as np, pandas as pd, genomed_workbench as gw\n"
        f"run = gw.Run.load({str(tmp_path / 'run')!r})\nX = pd.read_parquet({str(tmp_path / 'new.parquet')!r})\n"
        f"np.testing.assert_allclose(run.learner.predict(X), np.load({str(tmp_path / 'expected.npy')!r}), atol=1e-12)\n"
        "try: run.learner.fit(X, np.array([(True, 1.0)]*len(X), dtype=[('event', bool), ('time', float)]))\n"
        "except ImportError as e: assert 'genomed-workbench[boost]' in str(e), "
        "e\nelse: raise SystemExit('trained without xgboost')\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_model_without_a_tree_is_a_model(tmp_path):
    """Noise, and the patients kept aside are served best by no tree: everybody has the mean risk,
    tested over Flower, saved, exported and judged. By hand: all risks equal, so C = 1/2.
    """
    rng = np.random.default_rng(1)
    X, y = (
        pd.DataFrame(rng.normal(size=(140, 3)), columns=list("abc")),
        outcome(rng.exponential(1.0, 140) + 0.01, rng.random(140) < 0.6),
    )
    federation = in_hospitals(X, y, np.repeat(["A", "B"], [60, 80]), test_share=0.2)
    run = federate(federation, gw.BoostedSurvival())
    told = run.history[run.history["phase"] == "test"].pivot(
        index="site", columns="metric", values="value"
    )
    assert (
        len(run.learner.value_) == run.learner.n_rounds_ == 0
        and (told["concordant"] == told["comparable"] / 2).all()
    )
    loaded = gw.Run.load(run.save(tmp_path / "run")).learner
    for model in (
        run.learner,
        loaded,
        run.learner.imported(run.learner.encoding_, run.learner.exported()),
    ):
        assert (
            (model.predict(X) == 0).all()
            and model.value_.shape == run.learner.value_.shape
            and model.feature_.shape == run.learner.feature_.shape
        )
    assert federation.validate(loaded, progress=False).value("harrell_c")["value"] == 0.5


def test_survival_is_calibrated_and_each_hospital_has_its_own_baseline():
    """On patients of the same truth the mean predicted survival is the Kaplan-Meier estimate, hospital
    by hospital, within sampling error.
    """
    X, y, site, _ = three_hospitals(seed=14, n=900)
    y = y.copy()
    y["time"][site == "C"] *= 3
    model = federate(in_hospitals(X, y, site), gw.BoostedSurvival(trees=60, validation=0.0)).learner
    assert set(model.baselines_) == {"A", "B", "C"}
    for s in "ABC":
        mine = site == s
        t = float(np.median(y["time"][mine]))
        at_risk = [
            (y["time"][mine] >= u).sum()
            for u in np.sort(y["time"][mine & y["event"] & (y["time"] <= t)])
        ]
        observed = np.prod([1 - 1 / k for k in at_risk])
        assert model.predict_survival(X[mine], [t], site=s).to_numpy().mean() == pytest.approx(
            observed, abs=0.05
        )


@pytest.mark.parametrize("sizes", [(150, 12, 1), (150, 40, 6)])
def test_hospitals_too_small_for_a_tree_take_part_without_harm(sizes):
    X, y = bent(sum(sizes), 15)
    y["event"][sizes[0] + sizes[1] :] = False
    run = federate(
        in_hospitals(X, y, np.repeat(["A", "B", "C"], sizes)), gw.BoostedSurvival(trees=20), tune=3
    )
    assert np.isfinite(run.learner.predict(X)).all()
    assert run.disclosed.set_index("name").loc["0", "fewest_patients"] >= 1


def test_nobody_with_an_event_is_said_in_words():
    X, y = bent(40, 16)
    y["event"] = False
    with pytest.raises(gw.LearnerError, match="no patient has an event"):
        gw.BoostedSurvival().fit(X, y)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"objective": "poisson"}, "objective='poisson'.*'cox', 'aft'"),
        ({"min_leaf": 2}, "min_leaf=2.*min_cell=5"),
        ({"depth": 0}, "depth=0.*from 1"),
        ({"objective": "aft", "start_penalty": 0.1}, "start_penalty"),
        ({"rows": 2.0}, "rows=2.0"),
        ({"depths": 3}, "depths=3: expected a list"),
        ({"aggregation": "mean"}, "'bagging', 'cyclic'"),
    ],
)
def test_arguments_that_cannot_be_meant_are_refused(settings, words):
    X, y = bent(40, 17)
    with pytest.raises(ValueError, match=words):
        gw.BoostedSurvival(**settings).fit(X, y)


def test_no_cut_tells_where_the_outermost_patients_lie():
    "One patient far out, and four with a rare mutation: no tree asks about them, wherever they lie."
    X, y = bent(100, 18)
    X["rare"] = np.arange(100) % 25 == 0
    X["rare"] = X["rare"].astype(float)
    X.loc[0, "a"] = 6.0
    y["time"][X["rare"] > 0] *= 1000
    y["event"][X["rare"] > 0] = True
    learner = gw.BoostedSurvival(trees=30, min_leaf=5, columns=1.0, rows=1.0, validation=0.0).fit(
        X, y
    )
    assert learner.asked_about()["rare"] == 0
    trees, steps = learner.grown, on_steps(encoded(X)[1])
    for t in range(len(trees)):
        for f, cut in zip(trees.feature[t], trees.cut[t]):
            if cut:
                assert 5 <= (steps[:, f] >= cut).sum() <= 95
    freely = gw.BoostedSurvival(trees=30, leaf_penalty=0.1, **FREE).fit(X, y)
    assert freely.asked_about()["rare"] > 0


def test_small_leaves_are_taken_out_with_their_question():
    """Oracle: the tree as xgboost grew it; wherever a side has fewer patients than allowed, everybody
    there gets the value the question would have had as a leaf.
    """
    X, y = bent(80, 19)
    steps = on_steps(encoded(X)[1])
    data = xgboost.DMatrix(
        steps.astype(float), label=np.where(y["event"], y["time"], -y["time"]), nthread=1
    )
    booster = xgboost.train(
        {
            "objective": "survival:cox",
            "max_depth": 4,
            "eta": 0.5,
            "max_bin": 256,
            "base_score": 1.0,
            "reg_lambda": 0.0,
            "min_child_weight": 0,
        },
        data,
        1,
    )
    tree = json.loads(booster.save_raw("json"))["learner"]["gradient_booster"]["model"]["trees"][0]
    whole, few = boosting.settled(tree, steps, 4, 0.5, 1)
    np.testing.assert_allclose(
        whole.each(steps)[:, 0], booster.predict(data, output_margin=True), atol=1e-6
    )
    pruned, smallest = boosting.settled(tree, steps, 4, 0.5, 12)
    assert few < 12 <= smallest
    assert (pruned.cut > 0).sum() < (whole.cut > 0).sum()
    assert np.unique(pruned.each(steps)[:, 0], return_counts=True)[1].min() >= 12
    kept = pruned.cut > 0
    assert (pruned.cut[kept] == whole.cut[kept]).all()


def test_reports_and_pictures_cope_with_a_model_without_coefficients(tmp_path):
    X, y = bent(240, 20)
    federation = in_hospitals(X, y, np.repeat(["A", "B"], 120), test_share=0.2)
    found = gw.compare(
        federation, gw.BoostedSurvival(trees=20), repeats=2, tune=False, progress=False
    )
    assert set(found.table["arm"]) >= {"pooled", "federated", "isolated"}
    page = found.report(tmp_path / "report.html")
    assert "BoostedSurvival" in page.read_text(encoding="utf-8")
    assert "loss" in str(found.run.plot().figure.axes[0].get_ylabel())
    assert "BoostedSurvival" in found.run._repr_html_()


def test_one_site_shape_of_trees():
    "Room for more questions changes no value."
    rng = np.random.default_rng(0)
    trees = Trees(
        rng.integers(0, 3, (4, 3)).astype(np.int16),
        rng.integers(0, 72, (4, 3)).astype(np.uint8),
        rng.normal(size=(4, 4)).astype(np.float32),
    )
    steps = rng.integers(0, 72, (50, 3)).astype(np.uint8)
    np.testing.assert_array_equal(trees.deeper(5).each(steps), trees.each(steps))
    np.testing.assert_array_equal(boosting.cropped(trees.deeper(5), 2).value, trees.value)
    assert replace(trees, value=trees.value * 2).each(steps).sum() == pytest.approx(
        2 * trees.each(steps).sum()
    )
