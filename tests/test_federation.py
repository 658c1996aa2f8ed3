"Hospitals of a cohort, what `split` makes of it, and the record of a run on disk."

import contextlib
import copy
import json
import os
import pickle
import re
import stat
import warnings

import numpy as np
import pandas as pd
import pytest
from conftest import as_cohort, federate, in_hospitals, made_up, outcome

import genomed_workbench as gw
from genomed_workbench.federation.sites import TAKEN, FederationWarning, draw_test
from genomed_workbench.learners.learner import Learner
from genomed_workbench.learners.packing import pack, unpack


@pytest.fixture(scope="module")
def cohort() -> gw.Cohort:
    "400 made-up patients without hospitals."
    X, y = made_up(400, 3, seed=0)
    return as_cohort(X.assign(sex=["female", "male"] * 200), y)


@pytest.fixture(scope="module")
def hospitals() -> gw.Cohort:
    "Hospitals of 100, 60, 12, 5 and 1 patients."
    X, y = made_up(178, 2, seed=1)
    return as_cohort(
        X, y, np.repeat(["big", "middle", "small", "tiny", "single"], [100, 60, 12, 5, 1])
    )


def everyone_is_there_once(federation: gw.Federation) -> None:
    "Each patient of the cohort is in one site, as a training or as a test row."
    for site in federation.sites.values():
        assert not set(site.train_rows) & set(site.test_rows)
        assert sorted([*site.train_rows, *site.test_rows]) == sorted(federation.members[site.name])
    assert sorted([*federation.train_rows, *federation.test_rows]) == list(
        range(federation.cohort.n)
    )
    assert (
        federation.table["n"].sum() == federation.cohort.n
        and federation.table["events"].sum() == federation.cohort.n_events
    )
    assert (federation.table["train"] + federation.table["test"] == federation.table["n"]).all()


# Small hospitals


def test_small_hospitals_are_refused_by_name_and_size(hospitals):
    with pytest.raises(gw.FederationError) as caught:
        gw.Federation.by_site(hospitals)
    message = str(caught.value)
    assert all(
        part in message
        for part in ("small (12)", "tiny (5)", "single (1)", "min_patients=20", "merge", "keep")
    )
    assert "big" not in message and "middle" not in message


def test_small_hospitals_are_merged_and_it_is_said(hospitals):
    with pytest.warns(
        FederationWarning, match="merged.*small.*tiny.*single|merged.*single.*small.*tiny"
    ):
        federation = gw.Federation.by_site(hospitals, small="merge", min_patients=15)
    everyone_is_there_once(federation)
    assert sorted(federation.table["n"]) == [18, 60, 100] and any(
        "merged" in note for note in federation.notes
    )
    with pytest.warns(FederationWarning, match="middle"):
        taken_along = gw.Federation.by_site(hospitals, small="merge", min_patients=20)
    everyone_is_there_once(taken_along)
    assert sorted(taken_along.table["n"]) == [78, 100]


def test_merging_all_into_one_is_no_federation(hospitals):
    with warnings.catch_warnings(), pytest.raises(gw.FederationError, match="at least two sites"):
        warnings.simplefilter("ignore", FederationWarning)
        gw.Federation.by_site(hospitals, small="merge", min_patients=150)


def test_small_hospitals_are_kept_and_noted(hospitals):
    federation = gw.Federation.by_site(hospitals, small="keep")
    everyone_is_there_once(federation)
    assert list(federation.sites) == ["big", "middle", "single", "small", "tiny"]
    assert any("kept" in note and "single (1)" in note for note in federation.notes)


@pytest.mark.parametrize("name", TAKEN)
def test_a_hospital_is_not_called_as_the_tables_call_all_of_them(name):
    """Its rows and those of all hospitals could not be told apart. A name that only contains the word
    is one, and so is that of a site that small ones are merged into.
    """
    X, y = made_up(60)
    with pytest.raises(
        gw.FederationError,
        match=f"column 'hospital' holds a hospital {name!r}.*Rename it.*'{re.escape(name)} \\(hospital\\)'",
    ):
        in_hospitals(X, y, np.repeat([name, "B"], 30))
    assert list(in_hospitals(X, y, np.repeat([f"{name} (hospital)", "B"], 30)).sites) == sorted(
        [f"{name} (hospital)", "B"]
    )
    with pytest.warns(FederationWarning, match="merged"):
        assert (
            len(
                gw.Federation.by_site(
                    as_cohort(X, y, np.repeat([name, "B", "C"], [5, 25, 30])), small="merge"
                ).sites
            )
            == 2
        )


def test_registered_hospitals_are_all_there(federation_of):
    leukemia, transplant = (
        federation_of("leukemia-nw-england"),
        federation_of("transplant-4-hospitals"),
    )
    assert list(leukemia.sites) == [str(i) for i in range(1, 25)] and len(transplant.sites) == 4
    everyone_is_there_once(leukemia)
    everyone_is_there_once(transplant)
    with pytest.raises(gw.FederationError, match=r"min_patients=20"):
        gw.Federation.by_site(leukemia.cohort)


# Nobody is dropped, whatever is asked


@pytest.mark.parametrize("seed", range(40))
def test_no_patient_is_ever_dropped(seed, cohort):
    "Random hospitals, shares, shifts and test shares: either a clear refusal, or everyone is there once."
    rng = np.random.default_rng(seed)
    if seed % 2:
        site = rng.choice([f"h{i}" for i in range(rng.integers(2, 40))], cohort.n, p=None)
        make = lambda: gw.Federation.by_site(
            as_cohort(cohort.frame[["f0", "f1"]], cohort.y, site),
            test_share=float(rng.uniform(0, 0.9)),
            seed=seed,
            min_patients=int(rng.integers(1, 40)),
            small=str(rng.choice(["merge", "keep"])),
        )
    else:
        shift = {}
        if rng.random() < 0.5:
            shift["outcome"] = float(rng.random())
        if rng.random() < 0.5:
            shift["covariate"] = {"f0": float(rng.random()), "sex": float(rng.random())}
        shares = tuple(rng.uniform(0.5, 50, rng.integers(2, 12)))
        if rng.random() < 0.4:
            shares, shift["size"] = int(rng.integers(2, 30)), float(rng.uniform(0.2, 3))
        make = lambda: gw.Federation.split(
            cohort, shares, test_share=float(rng.uniform(0, 0.5)), seed=seed, shift=shift
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FederationWarning)
        try:
            federation = make()
        except gw.FederationError as error:
            assert any(word in str(error) for word in ("at least two", "no training row"))
            return
    everyone_is_there_once(federation)
    everyone_is_there_once(federation.redraw(1))


@pytest.mark.parametrize(
    ("shares", "sizes"),
    [
        ((60, 30, 10), [240, 120, 40]),
        ((45, 20, 15, 10, 10), [180, 80, 60, 40, 40]),
        ((1, 1, 1), [134, 133, 133]),
        (4, [100] * 4),
    ],
)
def test_sizes_are_the_shares_by_largest_remainders(cohort, shares, sizes):
    assert gw.Federation.split(cohort, shares).table["n"].tolist() == sizes


# Test rows


@pytest.mark.parametrize("share", [0.0, 0.1, 0.2, 0.5])
def test_test_rows_have_the_share_and_the_mix_of_their_site(cohort, share):
    federation = gw.Federation.split(cohort, (60, 30, 10), test_share=share, seed=3)
    events = cohort.event
    for site in federation.sites.values():
        assert len(site.test_rows) == round(share * site.n)
        assert abs(events[site.test_rows].sum() - share * site.n_events) <= 1


def test_each_patient_is_as_likely_to_be_tested():
    "Over many draws the share of draws in which a patient is a test row is the test share."
    events = np.repeat([0.0, 1.0], [31, 12])
    drawn = np.mean(
        [draw_test(events, 0.2, np.random.default_rng(seed)) for seed in range(4000)], axis=0
    )
    assert np.abs(drawn - 9 / 43).max() < 4 * np.sqrt(0.2 * 0.8 / 4000)


def test_same_seed_same_rows_and_redraw_moves_test_rows_only(cohort, hospitals):
    for make in (
        lambda seed: gw.Federation.split(cohort, (60, 30, 10), seed=seed),
        lambda seed: gw.Federation.by_site(hospitals, small="keep", seed=seed),
    ):
        first, again, other = make(5), make(5), make(6)
        assert (first.test_rows == again.test_rows).all() and set(first.test_rows) != set(
            other.test_rows
        )
        drawn = first.redraw(1)
        assert (drawn.redraw(0).test_rows == first.test_rows).all() and set(drawn.test_rows) != set(
            first.test_rows
        )
        assert all((drawn.members[name] == rows).all() for name, rows in first.members.items())
        assert (first.redraw(1).test_rows == drawn.test_rows).all()
        assert len({frozenset(first.redraw(r).test_rows) for r in range(20)}) == 20


def test_redrawn_sites_keep_sizes_and_differences(cohort):
    for shift, shares in (
        ({"outcome": 0.9}, (60, 30, 10)),
        ({"covariate": {"f0": 0.9}}, (60, 30, 10)),
        ({"missing": {"hospital-3": "f1"}}, (60, 30, 10)),
        ({"size": 0.5, "outcome": 0.9}, 4),
        (None, (60, 30, 10)),
    ):
        first = gw.Federation.split(cohort, shares, shift=shift, seed=2)
        for federation in (
            first.redraw(1, redraw_sites=True),
            first.redraw(1, redraw_sites=True).redraw(2, redraw_sites=True),
        ):
            everyone_is_there_once(federation)
            assert any(set(federation.members[s]) != set(first.members[s]) for s in first.members)
            if isinstance(shares, tuple):
                assert federation.table["n"].tolist() == first.table["n"].tolist()
            rate = federation.table["events"] / federation.table["n"]
            if shift and "outcome" in shift:
                assert rate.iloc[0] - rate.iloc[-1] > 0.3, (
                    f"the shift of the outcome is gone: {rate.to_dict()}"
                )
            if shift and "covariate" in shift:
                means = [
                    federation.cohort.frame["f0"].iloc[rows].mean()
                    for rows in federation.members.values()
                ]
                assert means[0] - means[-1] > 1, f"the shift of the covariate is gone: {means}"
            if shift and "missing" in shift:
                assert (
                    federation.cohort.frame["f1"]
                    .iloc[federation.members["hospital-3"]]
                    .isna()
                    .all()
                )
                assert federation.cohort.frame["f1"].isna().sum() == len(
                    federation.members["hospital-3"]
                )
            if shift and "size" in shift:
                assert federation.table["n"].max() - federation.table["n"].min() > 10, (
                    "the shift of the sizes is gone"
                )
    assert (
        first.redraw(3, redraw_sites=True).test_rows == first.redraw(3, redraw_sites=True).test_rows
    ).all()


def test_real_hospitals_are_not_redrawn(hospitals):
    with pytest.raises(gw.FederationError, match="cannot be redrawn"):
        gw.Federation.by_site(hospitals, small="keep").redraw(1, redraw_sites=True)


def test_a_column_may_decide(cohort):
    frame = cohort.frame.assign(
        held_out=np.arange(400) % 4 == 0,
        half=np.where(np.arange(400) % 3, 1.0, np.nan),
        words=["yes", "no"] * 200,
    )
    given = gw.Cohort.from_frame(frame, cohort.outcome, features=["f0", "f1"])
    federation = gw.Federation.split(given, (60, 40), test="held_out")
    everyone_is_there_once(federation)
    assert set(federation.test_rows) == set(np.flatnonzero(frame["held_out"]))
    with pytest.raises(gw.FederationError, match="cannot be redrawn"):
        federation.redraw(1)
    assert (federation.redraw(0).test_rows == federation.test_rows).all()
    for column in ("half", "words", "absent"):
        with pytest.raises(gw.FederationError, match=column):
            gw.Federation.split(given, (60, 40), test=column)
    feature = gw.Cohort.from_frame(
        frame.assign(held_out=frame["held_out"] * 1), cohort.outcome, features=["f0", "held_out"]
    )
    with pytest.raises(gw.FederationError, match="also a feature"):
        gw.Federation.split(feature, (60, 40), test="held_out")


def test_a_site_without_training_rows_is_refused(cohort):
    site = np.repeat(["A", "B"], 200)
    given = as_cohort(cohort.frame[["f0", "f1"]].assign(), cohort.y, site)
    frame = given.frame.assign(held_out=site == "B")
    given = gw.Cohort.from_frame(frame, given.outcome, site="hospital", features=["f0", "f1"])
    with pytest.raises(gw.FederationError, match="'B' has no training row"):
        gw.Federation.by_site(given, test="held_out")


# Unlike hospitals


def test_shift_of_the_outcome(cohort):
    rates = {}
    for strength in (0.0, 0.5, 1.0):
        table = gw.Federation.split(cohort, (40, 30, 30), shift={"outcome": strength}, seed=1).table
        rates[strength] = (table["events"] / table["n"]).tolist()
    spread = [max(r) - min(r) for r in rates.values()]
    assert (
        spread[0] < 0.15 < spread[1] < spread[2]
        and rates[1.0][0] == 1.0
        and rates[1.0] == sorted(rates[1.0], reverse=True)
    )
    X = pd.DataFrame({"a": np.arange(100.0)})
    binary = gw.Federation.split(
        as_cohort(X, np.tile([0, 1], 50)), (50, 50), shift={"outcome": 1.0}
    )
    assert binary.table["events"].tolist() == [50, 0]


def test_shift_of_covariates(cohort):
    for column, strength in (("f0", 0.8), ("f0", 1.0)):
        federation = gw.Federation.split(
            cohort, (40, 30, 30), shift={"covariate": {column: strength}}, seed=1
        )
        means = [cohort.frame[column].iloc[rows].mean() for rows in federation.members.values()]
        assert means[0] > means[1] > means[2]
        if strength == 1.0:
            assert (
                cohort.frame[column].iloc[federation.members["hospital-1"]].min()
                >= cohort.frame[column].iloc[federation.members["hospital-2"]].max()
            )
    sexes = gw.Federation.split(cohort, (50, 50), shift={"covariate": {"sex": 1.0}}, seed=1)
    assert all(cohort.frame["sex"].iloc[rows].nunique() == 1 for rows in sexes.members.values())


def test_shift_of_sizes(cohort):
    spread = {
        c: np.mean(
            [
                np.std(gw.Federation.split(cohort, 5, shift={"size": c}, seed=s).table["n"])
                for s in range(20)
            ]
        )
        for c in (0.3, 5.0)
    }
    assert spread[0.3] > 2 * spread[5.0] > 0
    assert gw.Federation.split(cohort, 5, shift={"size": 0.01}, seed=0).table["n"].min() >= 2


def test_what_a_hospital_does_not_measure(cohort):
    federation = gw.Federation.split(
        cohort, (60, 30, 10), shift={"missing": {"hospital-3": ["f1", "sex"], 0: "f2"}}, seed=1
    )
    frame = federation.cohort.frame
    assert (
        frame[["f1", "sex"]].iloc[federation.members["hospital-3"]].isna().all().all()
        and frame["f2"].iloc[federation.members["hospital-1"]].isna().all()
    )
    assert frame[["f1", "sex"]].iloc[federation.members["hospital-2"]].notna().all().all()
    assert cohort.frame[["f1", "f2", "sex"]].notna().all().all(), "the cohort itself was changed"
    assert sum("does not measure" in note for note in federation.notes) == 2
    run = federate(federation, gw.CoxPH(penalty=0.01))
    assert run.converged and np.isfinite(run.learner.coef_).all()


# Silly arguments


@pytest.mark.parametrize(
    "shares",
    [
        (1,),
        (),
        (-1, 2),
        (0, 1),
        ("a", "b"),
        "60,30,10",
        "60",
        (1, np.nan),
        (1, np.inf),
        [[1, 2], [3, 4]],
        {"a": 1},
        1,
        0,
        -3,
        True,
        5.0,
        None,
        (1000, 1),
    ],
)
def test_silly_shares_are_refused_in_words(cohort, shares):
    with pytest.raises(gw.FederationError, match=r"shares") as caught:
        gw.Federation.split(cohort, shares)
    assert "np.float64" not in str(caught.value) and len(str(caught.value)) < 500


def test_more_hospitals_than_patients_is_refused_in_words(cohort):
    with pytest.raises(gw.FederationError, match=r"shares=1000") as caught:
        gw.Federation.split(cohort, 1000)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("share", [1, 1.5, -0.1, np.nan, "a fifth", None])
def test_silly_test_shares_are_refused_in_words(cohort, hospitals, share):
    for make in (
        lambda: gw.Federation.split(cohort, test_share=share),
        lambda: gw.Federation.by_site(hospitals, test_share=share, small="keep"),
    ):
        with pytest.raises(gw.FederationError, match="test_share"):
            make()


@pytest.mark.parametrize(
    ("shift", "said"),
    [
        ({"outcom": 0.5}, "outcom"),
        ({"outcome": 2}, "0 to 1"),
        ({"outcome": -1}, "0 to 1"),
        ({"outcome": "strong"}, "0 to 1"),
        ({"outcome": np.nan}, "0 to 1"),
        ({"covariate": {"weight": 0.5}}, "weight"),
        ({"covariate": {"f0": 3}}, "0 to 1"),
        ({"covariate": "f0"}, "covariate"),
        ({"covariate": ["f0"]}, "covariate"),
        ({"missing": {"hospital-9": "f0"}}, "hospital-9"),
        ({"missing": {"hospital-1": "weight"}}, "weight"),
        ({"missing": ["f0"]}, "missing"),
        ({"missing": "f0"}, "missing"),
        ({"size": 0.5}, "shares as a number"),
        ("outcome", "shift"),
        (["outcome"], "shift"),
    ],
)
def test_silly_shifts_are_refused_in_words(cohort, shift, said):
    with pytest.raises(gw.FederationError, match=said):
        gw.Federation.split(cohort, (60, 30, 10), shift=shift)


@pytest.mark.parametrize("size", [0, -1, np.nan, "unequal"])
def test_silly_sizes_are_refused_in_words(cohort, size):
    with pytest.raises(gw.FederationError, match="size"):
        gw.Federation.split(cohort, 4, shift={"size": size})


def test_arguments_are_not_changed(cohort):
    shift = {"outcome": 0.5, "covariate": {"f0": 0.5}, "missing": {"hospital-1": "f1"}}
    kept = json.loads(json.dumps(shift))
    gw.Federation.split(cohort, (60, 40), shift=shift)
    assert shift == kept


def test_other_silly_arguments_are_refused_in_words(cohort, hospitals):
    with pytest.raises(gw.FederationError, match="small='drop'"):
        gw.Federation.by_site(hospitals, small="drop")
    with pytest.raises(gw.FederationError, match="no site column"):
        gw.Federation.by_site(cohort)
    for seed in (-1, "a", None, 1.5):
        with pytest.raises(gw.FederationError, match="seed"):
            gw.Federation.split(cohort, seed=seed)


def test_what_federate_refuses(cohort):
    federation = gw.Federation.split(cohort, (60, 40))
    for options, error, said in (
        ({"engine": "flock"}, gw.EngineError, "inprocess"),
        ({"rounds": 0}, ValueError, "rounds"),
        ({"rounds": 2.5}, ValueError, "rounds"),
        ({"tune": 1}, ValueError, "tune"),
        ({"tune": -2}, ValueError, "tune"),
        ({"strategy": "FedAvg"}, (ValueError, TypeError), "strategy"),
    ):
        with pytest.raises(error, match=said):
            federate(federation, gw.CoxPH(), **options)
    with pytest.raises(ValueError, match="binary.*survival"):
        federate(federation, gw.LogisticRegression())
    with pytest.raises((ValueError, TypeError), match="learner|Learner"):
        federate(federation, "CoxPH")


# A site that travels, a federation that is kept


def test_a_site_takes_its_own_rows_along_and_nobody_elses(cohort):
    federation = gw.Federation.split(cohort, (60, 30, 10), test_share=0.2)
    site = federation.sites["hospital-3"]
    moved = pickle.loads(pickle.dumps(site))
    assert (
        moved.cohort.n == site.n == 40
        and moved.name == site.name
        and moved.n_events == site.n_events
    )
    for part in ("train_rows", "test_rows"):
        (X, y), (A, b) = site.table(getattr(site, part)), moved.table(getattr(moved, part))
        pd.testing.assert_frame_equal(X, A)
        assert (y == b).all()
    learner, summary = gw.CoxPH(), site.summary()
    assert (
        learner is not None
        and summary.n == moved.summary().n
        and (summary.mean == moved.summary().mean).all()
    )


def test_a_federation_can_be_pickled_and_copied(cohort, hospitals):
    "Its row numbers still point at the same patients."
    for federation in (
        gw.Federation.by_site(hospitals, small="keep"),
        gw.Federation.split(cohort, (60, 40), shift={"outcome": 0.5}),
    ):
        for again in (copy.deepcopy(federation), pickle.loads(pickle.dumps(federation))):
            assert (
                again.test_rows.tolist() == federation.test_rows.tolist()
                and again.train_rows.tolist() == federation.train_rows.tolist()
            )
            for name, site in federation.sites.items():
                pd.testing.assert_frame_equal(
                    again.sites[name].table(again.sites[name].train_rows)[0],
                    site.table(site.train_rows)[0],
                )


def test_a_federation_shows_itself_without_patients(cohort, hospitals):
    federation = gw.Federation.by_site(hospitals, small="keep")
    assert (
        "5 sites" in repr(federation)
        and "178" in repr(federation)
        and "single" in federation._repr_html_()
    )
    assert list(federation.table.columns) == ["n", "events", "train", "test"]


# A run on disk


@pytest.fixture(scope="module")
def runs(cohort) -> dict[str, gw.Run]:
    "Runs of every kind that is saved differently."
    from flwr.serverapp.strategy import FedAvg

    federation = gw.Federation.split(cohort, (60, 30, 10), seed=1)
    X = cohort.frame[["f0", "f1"]]
    binary = gw.Federation.split(
        as_cohort(
            X, (X["f0"] + np.random.default_rng(0).normal(size=400) > 0).astype(int).to_numpy()
        ),
        (60, 40),
    )
    return {
        "per-site": federate(federation, gw.CoxPH()),
        "tuned": federate(federation, gw.CoxPH(), tune=3),
        "grid": federate(
            federation, gw.CoxPH(baseline="shared", time_grid=(0.3, 1, 12), disclosure="simulation")
        ),
        "shared": federate(federation, gw.CoxPH(baseline="shared", disclosure="simulation")),
        "averaged": federate(federation, gw.CoxPH(), strategy=FedAvg(), rounds=3),
        "logistic": federate(binary, gw.LogisticRegression()),
    }


def same(a, b) -> bool:
    "Equal to the last bit, types included."
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (a != a and b != b)
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return (
            a.dtype == b.dtype
            and a.shape == b.shape
            and (a.tolist() == b.tolist() if a.dtype == object else a.tobytes() == b.tobytes())
        )
    if isinstance(a, pd.DataFrame):
        try:
            pd.testing.assert_frame_equal(a, b, check_exact=True)
        except AssertionError:
            return False
        return True
    if isinstance(a, pd.Series):
        return same(a.to_frame(), b.to_frame())
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if hasattr(a, "to_json") and hasattr(a, "transform"):
        return a.to_json() == b.to_json()
    if isinstance(a, Learner):
        return same(vars(a), vars(b))
    return a == b


@pytest.mark.parametrize("kind", ["per-site", "tuned", "grid", "shared", "averaged", "logistic"])
def test_a_run_survives_the_disk_to_the_last_bit(kind, runs, cohort, tmp_path):
    run = runs[kind]
    again = gw.Run.load(run.save(tmp_path / "deep" / "run"))
    for name in vars(run):
        if name != "learner":
            assert same(getattr(run, name), getattr(again, name)), name
    fitted = {k for k in vars(run.learner) if not k.startswith("_")}
    assert fitted == {k for k in vars(again.learner) if not k.startswith("_")}
    assert [k for k in fitted if not same(getattr(run.learner, k), getattr(again.learner, k))] == []
    X = cohort.X[list(run.learner.encoding_.columns)]
    assert (again.learner.predict(X) == run.learner.predict(X)).all() and repr(again) == repr(run)
    if isinstance(run.learner, gw.CoxPH):
        pd.testing.assert_frame_equal(
            again.learner.predict_survival(X, [0.5, 1], baseline="average"),
            run.learner.predict_survival(X, [0.5, 1], baseline="average"),
            check_exact=True,
        )


def test_saving_does_not_overwrite_unless_asked(runs, tmp_path):
    target = runs["per-site"].save(tmp_path / "run")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        runs["tuned"].save(target)
    assert gw.Run.load(target).tuning is None
    runs["tuned"].save(target, overwrite=True)
    assert gw.Run.load(target).tuning is not None
    runs["per-site"].save(target, overwrite=True)
    assert gw.Run.load(target).tuning is None, (
        "a table of the record that was there before is left over"
    )
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("step", [1, 2, 3])
@pytest.mark.parametrize("kind", ["crash", "error"])
def test_a_stop_in_the_middle_leaves_a_whole_record(step, kind, runs, tmp_path, monkeypatch):
    """The process dies (or an error is raised) at the n-th replacement of a folder: the old or the new
    record must be there, whole.
    """
    target = runs["per-site"].save(tmp_path / "run")
    real, calls = os.replace, []

    class Killed(BaseException if kind == "crash" else OSError):
        pass

    def dying(*args):
        calls.append(args)
        if len(calls) == step:
            raise Killed
        return real(*args)

    monkeypatch.setattr(os, "replace", dying)
    monkeypatch.setattr(os, "rename", dying)
    with contextlib.suppress(Killed):
        runs["tuned"].save(target, overwrite=True)
    monkeypatch.undo()
    assert gw.Run.load(target).cohort == runs["tuned"].cohort, (
        "neither the old nor the new record is there"
    )
    runs["tuned"].save(target, overwrite=True)
    assert gw.Run.load(target).tuning is not None
    if kind == "error":
        assert [p.name for p in tmp_path.iterdir()] == ["run"], "drafts are left behind"


def test_a_failed_write_leaves_the_old_record_and_no_draft(runs, tmp_path, monkeypatch):
    target = runs["per-site"].save(tmp_path / "run")
    monkeypatch.setattr(
        pd.DataFrame,
        "to_parquet",
        lambda *a, **k: (_ for _ in ()).throw(OSError("no space left on device")),
    )
    with pytest.raises(OSError, match="no space"):
        runs["tuned"].save(target, overwrite=True)
    monkeypatch.undo()
    assert gw.Run.load(target).tuning is None
    assert [p.name for p in tmp_path.iterdir()] == ["run"], "drafts are left behind"


def test_a_remnant_of_a_crash_does_not_block_the_next_save(runs, tmp_path):
    "An older version of the record that a crash left behind under its hidden name."
    target = runs["per-site"].save(tmp_path / "run")
    (tmp_path / ".run-old").mkdir()
    (tmp_path / ".run-old" / "run.json").write_text("{}")
    runs["tuned"].save(target, overwrite=True)
    assert gw.Run.load(target).tuning is not None


def test_a_saved_folder_can_be_read_as_any_other(runs, tmp_path):
    (tmp_path / "plain").mkdir()
    target = runs["per-site"].save(tmp_path / "run")
    assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_loading_what_is_no_record_is_said(tmp_path, runs):
    with pytest.raises(FileNotFoundError, match=r"run\.json"):
        gw.Run.load(tmp_path)
    target = runs["per-site"].save(tmp_path / "run")
    (target / "history.parquet").unlink()
    with pytest.raises((FileNotFoundError, ValueError), match="history"):
        gw.Run.load(target)


def test_loading_makes_learners_only(runs, tmp_path):
    "The class named in run.json is not called unless it is a learner."
    target = runs["per-site"].save(tmp_path / "run")
    about = json.loads((target / "run.json").read_text())
    about["learner"] |= {"class": "subprocess:Popen", "params": {"dict": [["args", "true"]]}}
    (target / "run.json").write_text(json.dumps(about))
    with pytest.raises(TypeError, match="not a learner"):
        gw.Run.load(target)


def test_saved_records_hold_no_patient(runs, cohort, tmp_path):
    "No time of a patient and no covariate stands in the files (protected run)."
    target = runs["per-site"].save(tmp_path / "run")
    text = (target / "run.json").read_text()
    for value in [*cohort.time[:100], *cohort.frame["f0"].to_numpy()[:100]]:
        assert repr(float(value)) not in text


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        0.1,
        "text",
        [1, [2.5]],
        (1, "a"),
        {"a": (np.arange(3.0), [np.float64(0.1)])},
        np.array([True, False]),
        np.array(["a", None], object),
        np.array([np.nan, np.inf, 1e-300]),
        {},
        np.zeros(0),
        np.zeros((0, 8), np.float32),
        np.zeros((1, 0, 7), np.int16),
        np.zeros((0, 2), object),
        np.array(2.5),
        np.arange(6).reshape(2, 3),
        pd.DataFrame({"a": [1.5, np.nan]}, index=pd.Index(["x", "y"], name="feature")),
    ],
    ids=lambda v: type(v).__name__,
)
def test_values_survive_packing(value):
    again = unpack(json.loads(json.dumps(pack(value))))
    if isinstance(value, dict) and value:
        assert same(again["a"][0], value["a"][0]) and again["a"][1] == [0.1]
    else:
        assert same(again, value)


def test_a_run_draws_and_describes_itself(runs):
    for kind, run in runs.items():
        picture = run.plot()
        figure = picture.figure
        assert len(figure.axes) == 2 and all(
            axis.get_xlabel() and axis.get_ylabel() and axis.get_title() for axis in figure.axes
        ), kind
        assert "sites" in repr(run) and "<table" in run._repr_html_()
        assert set(run.versions) >= {"flwr", "numpy"}


def test_history_and_books_agree(runs):
    "Bytes and messages of the history are those of the replies; every site answers every round."
    for kind, run in runs.items():
        assert list(run.history.columns) == [
            "round",
            "site",
            "phase",
            "metric",
            "value",
            "seconds",
            "bytes_up",
            "bytes_down",
        ]
        rows = run.history[run.history["metric"] == "rows"]
        assert (
            set(rows["site"]) == set(run.sites.index) and rows.groupby("site").size().nunique() == 1
        ), kind
        assert run.disclosed.set_index("name").loc["num-examples", "times"] == len(rows)
        assert (rows["bytes_up"] > 0).all() and run.rounds == rows["round"].max()


def test_a_patient_without_events_in_the_cohort_is_no_reason_to_stop():
    X, y = made_up(60)
    y = outcome(y["time"], np.arange(60) < 20)
    run = federate(in_hospitals(X, y, np.repeat(["A", "B", "C"], 20), test_share=0.2), gw.CoxPH())
    assert run.converged
