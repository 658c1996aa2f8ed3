"""Federated preprocessing gives the numbers of one pooled table; the oracle is pandas (and exact
fractions) on the pooled rows.
"""

import json
import warnings
from fractions import Fraction
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest
from conftest import COHORTS, as_cohort, federate, made_up, measure, standardised, training_table
from lifelines import CoxPHFitter

import genomed_workbench as gw
from genomed_workbench.learners.encoding import Encoding, EncodingWarning, Summary, pool


def together(X: pd.DataFrame, *cuts: int) -> Encoding:
    "The encoding of sites that hold consecutive rows of `X`."
    parts = np.split(np.arange(len(X)), list(cuts) or [len(X) // 2, len(X) // 2 + 10])
    return Encoding.of(pool([Summary.of(X.iloc[rows]) for rows in parts]), tuple(X.columns))


def check(label: str, encoding: Encoding, X: pd.DataFrame, bar: float = 1e-12) -> None:
    "Fills, means, scales and the matrix against pandas on all rows, relative to the scale of each column."
    numbers = [c for c in X.columns if pd.api.types.is_numeric_dtype(X[c])]
    known = X[numbers].astype(float)
    scale = np.maximum(known.abs().max().fillna(1.0), 1e-300)
    measure(
        f"{label}: fill",
        [encoding.numbers[c] for c in numbers] / scale,
        known.mean().fillna(0.0) / scale,
        bar,
    )
    filled = known.fillna(known.mean())
    kept = [c for c in numbers if c in encoding.features]
    where = [encoding.features.index(c) for c in kept]
    measure(f"{label}: scale", encoding.sd[where] / filled[kept].std(), np.ones(len(kept)), bar)
    expected = standardised(X)
    assert list(expected.columns) == list(encoding.features)
    measure(f"{label}: matrix", encoding.transform(X), expected, 1e-9 if bar > 1e-12 else 1e-11)


@pytest.mark.parametrize("name", COHORTS)
def test_registered_cohorts(name, federation_of):
    federation = federation_of(name)
    X, _, _ = training_table(federation)
    encoding = Encoding.of(pool([s.summary() for s in federation.sites.values()]), tuple(X.columns))
    check(f"{name}, federated - pandas", encoding, X)


def test_through_messages_it_is_the_same_to_the_last_bit(federation_of):
    "What travels as Flower records and JSON equals what stays in the process."
    federation = federation_of("leukemia-nw-england")
    run = federate(federation, gw.CoxPH(penalty=0.01))
    direct = Encoding.of(
        pool([s.summary() for s in federation.sites.values()]), federation.cohort.features
    )
    assert run.learner.encoding_.to_json() == direct.to_json()


def test_test_rows_play_no_part():
    X, y = made_up(200)
    federation = gw.Federation.split(as_cohort(X, y), (60, 40), test_share=0.3, seed=1)
    other = X.copy()
    other.iloc[federation.test_rows] = 1e6
    shifted = gw.Federation.split(as_cohort(other, y), (60, 40), test_share=0.3, seed=1)
    assert (shifted.test_rows == federation.test_rows).all()
    texts = {
        federate(f, gw.CoxPH(), test=False).learner.encoding_.to_json()
        for f in (federation, shifted)
    }
    assert len(texts) == 1


@pytest.fixture
def patients() -> pd.DataFrame:
    "Numbers, booleans and categories with missing values, 120 rows."
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "hemoglobin": rng.normal(9.8, 2, 120),
            "platelets": rng.lognormal(5, 1, 120),
            "count": rng.poisson(3, 120),
            "mutated": rng.random(120) < 0.3,
            "sex": rng.choice(["female", "male"], 120),
            "stage": rng.choice(["I", "II", "III"], 120, p=[0.2, 0.5, 0.3]),
        }
    )
    X.loc[rng.choice(120, 25, replace=False), "hemoglobin"] = np.nan
    X.loc[rng.choice(120, 10, replace=False), "sex"] = None
    return X.assign(stage=X["stage"].astype("category"))


def test_missing_values_and_levels(patients):
    check("mixed columns, federated - pandas", together(patients), patients)
    assert not np.isnan(together(patients).transform(patients)).any()


def test_a_missing_number_is_the_mean_and_a_missing_level_the_most_frequent_one(patients):
    encoding = together(patients)
    gone = patients.iloc[:1].assign(hemoglobin=np.nan, sex=None)
    often = patients["sex"].value_counts().index[0]
    filled = gone.assign(hemoglobin=patients["hemoglobin"].mean(), sex=often)
    np.testing.assert_allclose(encoding.transform(gone), encoding.transform(filled), atol=1e-13)


def test_constant_at_one_site(patients):
    X = patients.copy()
    X.loc[:59, ["platelets", "sex"]] = [200.0, "male"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check("constant at one site, federated - pandas", together(X, 60), X)


def test_constant_everywhere(patients):
    X = patients.assign(platelets=200.0, sex="male", mutated=True)
    encoding = together(X)
    assert set(encoding.constant) == {"platelets", "sex", "mutated"} and not set(
        encoding.constant
    ) & set(encoding.features)
    check("constant everywhere, federated - pandas", encoding, X)
    y = made_up(120)[1]
    federation = gw.Federation.split(
        as_cohort(patients[["hemoglobin", "platelets"]], y), (60, 40), test_share=0.0
    )
    federation.cohort.frame["platelets"] = 200.0
    with pytest.warns(EncodingWarning, match="platelets"):
        federate(federation, gw.CoxPH())
    with pytest.warns(EncodingWarning, match="platelets"):
        gw.CoxPH().fit(X[["hemoglobin", "platelets"]], y)


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e6 + 0.1, 1e-9, 5e15])
def test_a_constant_is_found_whatever_its_value(value):
    """Rounding makes the mean of a constant differ from it by an ulp; it must still count as constant,
    federated and pooled.
    """
    X = pd.DataFrame({"a": np.full(101, value), "b": np.arange(101.0)})
    assert (
        together(X).features
        == together(X, 1, 3).features
        == Encoding.of(Summary.of(X), ("a", "b")).features
        == ("b",)
    )


def test_missing_altogether_at_one_site(patients):
    X = patients.copy()
    X.loc[:59, "hemoglobin"] = np.nan
    X.loc[60:, "sex"] = None
    check("missing at one site, federated - pandas", together(X, 60), X)


def test_missing_altogether_everywhere(patients):
    X = patients.assign(hemoglobin=np.nan, sex=None)
    encoding = together(X)
    assert {"hemoglobin", "sex"} <= set(encoding.constant)
    assert np.isfinite(encoding.transform(X)).all() and json.loads(encoding.to_json())


def test_a_level_that_only_one_site_has(patients):
    X = patients.copy()
    X["stage"] = X["stage"].astype(object)
    X.loc[100:, "stage"] = "IV"
    check("level at one site only, federated - pandas", together(X, 100), X)


@pytest.mark.parametrize("offset", [1e6, -1e6, 1e9])
def test_large_offsets_keep_their_digits(offset):
    """Mean 1e6, sd 1: plain sums of squares would lose twelve digits. Oracle: exact fractions.

    A site's mean is a double, so it is known to half an ulp: the bar is that ulp in units of the
    sd, 2e-10 for 1e6 and 2e-7 for 1e9.
    """
    rng = np.random.default_rng(1)
    X = pd.DataFrame({"a": rng.normal(size=300) + offset})
    encoding = together(X, 7, 150)
    exact = [Fraction(float(v)) for v in X["a"]]
    mean = sum(exact) / 300
    variance = sum((v - mean) ** 2 for v in exact) / 299
    measure(
        f"offset {offset:g}: mean - fractions, relative",
        encoding.mean / float(mean),
        1.0 + np.zeros(1),
        1e-15,
    )
    measure(
        f"offset {offset:g}: sd - fractions, relative",
        encoding.sd / float(variance) ** 0.5,
        np.ones(1),
        0.1 * abs(offset) * np.finfo(float).eps,
    )


@pytest.mark.parametrize("scale", [1e-9, 1e9, 1e-14])
def test_scales_keep_their_digits(scale):
    X = pd.DataFrame({"a": np.random.default_rng(2).normal(size=100) * scale})
    encoding = together(X)
    assert encoding.features == ("a",), "a column is not constant because its unit is small"
    measure(
        f"scale {scale:g}: sd - pandas, relative", encoding.sd / X["a"].std(), np.ones(1), 1e-12
    )


@pytest.mark.parametrize("seed", range(20))
def test_any_division_gives_the_same_numbers(seed):
    "Random sizes of sites, random missing values and levels; oracle: the summary of all rows."
    rng = np.random.default_rng(seed)
    n = int(rng.integers(12, 90))
    X = pd.DataFrame(
        {
            "a": rng.normal(size=n) * 10 ** rng.uniform(-6, 6),
            "b": rng.integers(0, 3, n),
            "c": rng.choice(list("xyz"), n),
        }
    )
    X.loc[rng.random(n) < 0.3, "a"] = np.nan
    X.loc[rng.random(n) < 0.3, "c"] = None
    cuts = np.sort(rng.choice(np.arange(1, n), min(n - 1, int(rng.integers(1, 8))), replace=False))
    parts, whole = together(X, *cuts), Encoding.of(Summary.of(X), tuple(X.columns))
    assert (parts.features, parts.levels, parts.constant) == (
        whole.features,
        whole.levels,
        whole.constant,
    )
    np.testing.assert_allclose(parts.mean, whole.mean, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(parts.sd, whole.sd, rtol=1e-12)


def test_text_carries_every_bit(patients):
    encoding = together(patients)
    again = Encoding.from_json(encoding.to_json())
    assert (
        again.transform(patients) == encoding.transform(patients)
    ).all() and again.to_json() == encoding.to_json()


# What arrives at prediction time


def test_columns_are_found_by_name(patients):
    encoding = together(patients)
    shuffled = patients[patients.columns[::-1]].assign(more=1)
    assert (encoding.transform(shuffled) == encoding.transform(patients)).all()
    with pytest.raises(ValueError, match="hemoglobin"):
        encoding.transform(patients.drop(columns="hemoglobin"))


def test_a_level_nobody_trained_on_is_said():
    X, y = made_up(100)
    model = gw.CoxPH().fit(X.assign(sex=["female", "male"] * 50), y)
    with pytest.warns(EncodingWarning, match=r"sex.*unheard"):
        model.predict(X[:2].assign(sex="unheard"))


def test_predicting_changes_neither_frame_nor_model(patients):
    encoding, before = together(patients), patients.copy(deep=True)
    text = encoding.to_json()
    encoding.transform(patients)
    pd.testing.assert_frame_equal(patients, before)
    assert encoding.to_json() == text
    numbers = patients[["platelets"]]
    only = together(numbers)
    kept = numbers.copy(deep=True)
    assert not np.shares_memory(only.transform(numbers), numbers.to_numpy())
    pd.testing.assert_frame_equal(numbers, kept)


@pytest.mark.parametrize("dtype", ["Int64", "Float64", "boolean"])
def test_nullable_columns_of_pandas(dtype):
    rng = np.random.default_rng(3)
    values = pd.Series(rng.integers(0, 2, 80)).astype(dtype)
    values[::7] = pd.NA
    X = pd.DataFrame({"a": values, "b": rng.normal(size=80)})
    plain = pd.DataFrame(
        {"a": values.astype("Float64").to_numpy(float, na_value=np.nan), "b": X["b"]}
    )
    np.testing.assert_allclose(
        together(X).transform(X), together(plain).transform(plain), atol=1e-13
    )


def test_a_frame_whose_columns_have_no_text_names():
    "scikit-learn users pass pd.DataFrame(array): columns 0, 1, ..."
    X, y = made_up(100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = gw.CoxPH().fit(pd.DataFrame(X.to_numpy()), y)
    np.testing.assert_allclose(model.coef_, gw.CoxPH().fit(X, y).coef_)
    np.testing.assert_allclose(
        model.predict(pd.DataFrame(X.to_numpy())), gw.CoxPH().fit(X, y).predict(X)
    )


def test_numbers_in_an_array_of_objects_are_numbers():
    "frame.to_numpy() of mixed columns has dtype object: 100 different ages must not become 100 categories."
    X, y = made_up(100)
    model = gw.CoxPH().fit(X.to_numpy().astype(object), y)
    np.testing.assert_allclose(model.coef_, gw.CoxPH().fit(X, y).coef_)


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_values_are_refused_in_words(value):
    X, y = made_up(50)
    X.iloc[3, 0] = value
    with pytest.raises(ValueError, match=r"(?i)f0.*inf|inf.*f0"):
        gw.CoxPH().fit(X, y)


def test_two_columns_of_the_same_name_are_refused():
    X, y = made_up(50)
    with pytest.raises(ValueError, match="f0"):
        gw.CoxPH().fit(pd.concat([X, X[["f0"]]], axis=1), y)


def test_a_column_named_like_a_level_is_not_mixed_up():
    X, y = made_up(120)
    X = X.assign(sex=["female", "male", "male"] * 40, **{"sex=female": X["f0"] * 2 + 1})
    with pytest.raises(ValueError, match="sex=female"):
        together(X)


SEPARATORS = ("a=b", "a = b", "a|b", "a x time 1", "=", "a=", "=b")


@pytest.mark.parametrize("name", SEPARATORS)
def test_names_of_columns_do_not_matter(name):
    """A column may hold "=" or another sign of joined names, and be named like a level of another
    column. Oracle: the same patients with a plain column name.
    """
    X, y = made_up(150)
    X = X.assign(a=["b=c", "b=c", "b=zz"] * 50)
    level = np.where(np.arange(150) % 5 < 2, "c", "d")
    fits = [gw.CoxPH(penalty=0.01).fit(X.assign(**{n: level}), y) for n in (name, "plain")]
    np.testing.assert_allclose(fits[0].coef_, fits[1].coef_, rtol=0, atol=0)
    given, plain = (f.predict(X.assign(**{n: level})) for f, n in zip(fits, (name, "plain")))
    np.testing.assert_allclose(given, plain, rtol=0, atol=0)


def test_a_level_is_told_by_its_column_not_by_its_name():
    """Oracle: a textbook 0/1 column. "b=c" is the reference of "a", "c" a rarer level of "a=b": both
    are called "a=b=c", and only the second is a feature, also in an encoding saved as text.
    """
    X = pd.DataFrame({"a": ["b=c"] * 4 + ["zz"] * 2, "a=b": ["c", "d", "d"] * 2})
    for encoding in (encoded := together(X, 3), Encoding.from_json(encoded.to_json())):
        values = encoding.transform(X) * encoding.sd + encoding.mean
        found = values[:, encoding.features.index("a=b=c")]
        np.testing.assert_allclose(found, (X["a=b"] == "c").astype(float), atol=1e-15)
        assert encoding.origin["a=b=c"] == ("a=b", "c")


def test_raw_text_is_read_as_in_training():
    "true and false, and numbers that are text. Oracle: the numbers themselves."
    X, y = made_up(100)
    X["f1"] = np.arange(100) % 2
    model = gw.CoxPH().fit(X, y)
    words = X.assign(f1=X["f1"].map({1: "true", 0: "False"}), f0=X["f0"].map(repr))
    np.testing.assert_array_equal(model.predict(words), model.predict(X))
    nothing = X.assign(f0=pd.Series([None] * 100, index=X.index, dtype=object))
    np.testing.assert_array_equal(model.predict(nothing), model.predict(X.assign(f0=np.nan)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda X: X.assign(f0=["67,0"] * len(X)), r"column 'f0' holds text"),
        (lambda X: X.assign(f0=["a word"] * len(X)), r"column 'f0' holds text"),
        (lambda X: X.assign(f0=np.inf), r"infinity in f0"),
        (lambda X: pd.concat([X, X[["f0"]]], axis=1), r"'f0' more than once"),
    ],
)
def test_what_cannot_be_predicted_is_named_without_a_value(change, said):
    X, y = made_up(60)
    with pytest.raises(ValueError, match=said) as caught:
        gw.CoxPH().fit(X, y).predict(change(X))
    assert "67,0" not in str(caught.value) and "word" not in str(caught.value)


LEARNERS = (
    gw.CoxPH(penalty=0.01),
    gw.DiscreteHazard(penalty=0.01),
    pytest.param(
        gw.HazardNet(max_rounds=2),
        marks=pytest.mark.skipif(find_spec("torch") is None, reason="the extra `torch`"),
    ),
)


@pytest.mark.parametrize(
    "learner",
    LEARNERS,
)
def test_times_that_are_asked_for(learner):
    "One time is one column; no time is refused; a time in another unit is warned of."
    X, y = made_up(300)
    model = learner.fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one, several = model.predict_survival(X[:3], 0.5), model.predict_survival(X[:3], [0.5, 1])
    assert list(one.columns) == [0.5] and (one[0.5] == several[0.5]).all()
    for wrong in ("soon", [np.nan], [-1.0], [[0.5]]):
        with pytest.raises(ValueError, match="times="):
            model.predict_survival(X[:3], wrong)
    with pytest.warns(UserWarning, match=r"730.*stay flat.*does not tell"):
        model.predict_survival(X[:3], [0.5 * 365.25 * 4])
    with pytest.warns(UserWarning, match="stay flat"):
        model.predict_survival(X[:3], [6 * y["time"].max()])


# Categories that hold numbers


@pytest.mark.parametrize("kind", [int, float, str])
def test_a_declared_code_has_an_effect_per_level(kind, tmp_path):
    """Only arm 2 is bad, so that one effect per step finds nothing. Oracle: lifelines on 0/1 columns of
    the pooled patients, stratified by hospital.
    """
    rng, n = np.random.default_rng(1), 300
    arm = rng.integers(1, 4, n)
    time = np.ceil(rng.exponential(300 / np.exp(np.array([0, 0.0, 1.2, 0.0])[arm]))) / 100
    frame = pd.DataFrame(
        {"age": rng.normal(60, 10, n), "years": time, "dead": rng.random(n) < 0.8}
    ).assign(arm=pd.Series(arm).astype(kind), hospital=rng.choice(list("AB"), n))
    cohort = gw.Cohort.from_frame(
        frame, gw.Survival("years", "dead"), site="hospital", categories=["arm"]
    )
    run = gw.federate(gw.Federation.by_site(cohort, test_share=0.0), gw.CoxPH(), progress=False)
    levels = run.learner.encoding_.levels["arm"]
    dummies = {f"arm={k}": (arm == int(k)).astype(float) for k in levels[1:]}
    pooled = frame[["age", "years", "dead", "hospital"]].assign(**dummies)
    oracle = CoxPHFitter().fit(pooled, "years", "dead", strata=["hospital"])
    measure(
        "a coded category: coefficients against lifelines",
        run.learner.summary_.loc[list(dummies), "coef"],
        oracle.params_[list(dummies)],
        1e-4,  # lifelines stops at its own precision
    )
    again = gw.Run.load(run.save(tmp_path / "run"))
    assert (again.learner.predict(cohort.X) == run.learner.predict(cohort.X)).all()


# Levels that are written in two ways

WRITINGS = (("1", "2"), ("1.0", "2.0"), (1, 2), (1.0, 2.0), ("1.00", " 2 "))


@pytest.mark.parametrize("there", WRITINGS)
def test_level_1_and_level_1_0_are_one(there):
    """One hospital writes 1, another 1.0. Oracle: the encoding of letters that stand for the codes."""
    code = np.arange(90) % 3 % 2
    letters = pd.DataFrame({"grade": np.array(["a", "b"])[code]})
    mixed = pd.Series(["1" if c == 0 else "2" for c in code], dtype=object)
    mixed[45:] = [there[c] for c in code[45:]]
    mixed = pd.DataFrame({"grade": mixed})
    found, expected = together(mixed, 45), together(letters, 45)
    assert found.levels == {"grade": ["1", "2"]} and found.features == ("grade=2",)
    np.testing.assert_array_equal(found.transform(mixed), expected.transform(letters))
    assert not found.unknown_levels(mixed)


def test_levels_that_were_saved_as_1_0_are_still_found():
    "An encoding of before may hold 1.0, or 1 and 1.0 as two levels: its own writing comes first."
    before = Encoding(
        ("grade",),
        {},
        {"grade": ["2.0", "1.0", "1"]},
        ("grade=1.0", "grade=1"),
        np.zeros(2),
        np.ones(2),
    )
    X = pd.DataFrame({"grade": ["1.0", "1", "2", None]})
    np.testing.assert_array_equal(before.transform(X), [[1, 0], [0, 1], [0, 0], [0, 0]])
    assert not before.unknown_levels(X)
