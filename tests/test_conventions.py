"""The learners behave as scikit-learn's estimators do; what cannot is listed with its reason.

The oracle is scikit-learn's own `check_estimator` for LogisticRegression; CoxPH, whose outcome is a
structured array that those checks do not make, is held to the same conventions by hand.
"""

import inspect
import json
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from conftest import made_up, outcome
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator
from sksurv.util import Surv

import genomed_workbench as gw
from genomed_workbench.learners.learner import survival_target
from genomed_workbench.learners.newton import UnidentifiedWarning

# scikit-learn's checks that LogisticRegression cannot pass, each with the reason
CANNOT = {
    "check_estimators_nan_inf": "missing values are filled from the training rows, by design; infinite ones "
    "are refused (test_encoding)",
}


class ZeroOne(gw.LogisticRegression):
    """LogisticRegression that recodes the smallest label as 0 and all others as 1.

    scikit-learn's checks make outcomes such as {1, 2}. LogisticRegression takes 0 and 1 only, so
    that nobody has to guess which one is the event; that refusal is tested in test_logistic, and
    everything else that the checks look at is looked at here.
    """

    def target(self, y):
        y = np.asarray(y)
        if y.size and y.dtype.kind in "iufb" and np.isfinite(y.astype(float)).all():
            y = (y.astype(float) > y.astype(float).min()).astype(float)
        return super().target(y)


def binary(n: int = 120) -> tuple[pd.DataFrame, np.ndarray]:
    X, _ = made_up(n, 3)
    return X, (X["f0"] + np.random.default_rng(0).normal(size=n) > 0).astype(int).to_numpy()


@pytest.fixture(scope="module")
def checked() -> dict[str, dict]:
    "What scikit-learn's checks found; with a penalty, since their classes can be separated."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(
            ZeroOne(penalty=0.1), expected_failed_checks=CANNOT, on_fail=None, on_skip=None
        )
    return {r["check_name"]: r for r in results}


CHECKS = [
    "check_complex_data",
    "check_dict_unchanged",
    "check_do_not_raise_errors_in_init_or_set_param",
    "check_dont_overwrite_parameters",
    "check_dtype_object",
    "check_estimator_cloneable",
    "check_estimator_get_tags_default_keys",
    "check_estimator_repr",
    "check_estimator_sparse_array",
    "check_estimator_sparse_matrix",
    "check_estimator_sparse_tag",
    "check_estimator_tags_renamed",
    "check_estimators_dtypes",
    "check_estimators_empty_data_messages",
    "check_estimators_fit_returns_self",
    "check_estimators_overwrite_params",
    "check_estimators_pickle",
    "check_estimators_unfitted",
    "check_f_contiguous_array_estimator",
    "check_fit1d",
    "check_fit2d_1feature",
    "check_fit2d_1sample",
    "check_fit2d_predict1d",
    "check_fit_idempotent",
    "check_fit_score_takes_y",
    "check_get_params_invariance",
    "check_methods_sample_order_invariance",
    "check_methods_subset_invariance",
    "check_mixin_order",
    "check_n_features_in",
    "check_n_features_in_after_fitting",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_pipeline_consistency",
    "check_positive_only_tag_during_fit",
    "check_readonly_memmap_input",
    "check_set_params",
    "check_valid_tag_types",
]


@pytest.mark.parametrize("name", CHECKS)
def test_scikit_learns_own_checks(name, checked):
    if name not in checked:
        pytest.skip("this version of scikit-learn has no such check")
    exception = checked[name]["exception"]
    assert checked[name]["status"] in ("passed", "skipped"), (
        f"{type(exception).__name__}: {exception}"
    )


def test_no_check_fails_that_is_not_known(checked):
    failed = {
        name: str(r["exception"])[:200]
        for name, r in checked.items()
        if r["status"] == "failed" and name not in CHECKS
    }
    assert failed == {}
    assert not [
        name for name in CANNOT if name in checked and checked[name]["status"] == "passed"
    ], "these pass now; take them off the list"


LEARNERS = {
    "cox": (gw.CoxPH, made_up),
    "logistic": (gw.LogisticRegression, binary),
    "discrete": (gw.DiscreteHazard, made_up),
}


@pytest.fixture(params=LEARNERS)
def kind(request):
    "Class and data of a learner."
    cls, data = LEARNERS[request.param]
    return cls, *data(120)


def fitted(model) -> dict:
    "What a model has learned."
    return {k: v for k, v in vars(model).items() if k.endswith("_")}


# Parameters


def test_the_constructor_only_stores(kind):
    cls, _, _ = kind
    marks = {name: object() for name in inspect.signature(cls).parameters}
    model = cls(**marks)
    assert all(getattr(model, name) is mark for name, mark in marks.items()) and set(
        vars(model)
    ) == set(marks)


def test_parameters_can_be_read_set_and_cloned(kind):
    cls, X, y = kind
    model = cls(penalty=0.3, local_steps=7).fit(X, y)
    again = clone(model)
    assert again.get_params() == model.get_params() and not fitted(again) and again is not model
    assert again.set_params(penalty=0.5).get_params()["penalty"] == 0.5 and model.penalty == 0.3
    with pytest.raises(ValueError, match="Invalid parameter"):
        again.set_params(ridge=1)
    assert "penalty=0.5" in repr(again)


def test_a_grid_of_times_survives_cloning():
    for grid in ([0.5, 1.0], (0.5, 1.0), np.array([0.5, 1.0])):
        model = clone(gw.CoxPH(baseline="shared", time_grid=grid))
        assert list(model.time_grid) == [0.5, 1.0] and "time_grid" in repr(model)


# Fitting


def test_fit_returns_the_model_and_leaves_parameters_and_data_alone(kind):
    cls, X, y = kind
    X = X.assign(sex=["female", None, "male"] * 40)
    X.loc[3, "f1"] = np.nan
    before_X, before_y = X.copy(deep=True), y.copy()
    model = cls(penalty=0.01)
    params = model.get_params()
    assert model.fit(X, y) is model and model.get_params() == params
    model.predict(X)
    pd.testing.assert_frame_equal(X, before_X)
    assert (y == before_y).all()
    assert all(k.endswith("_") for k in set(vars(model)) - set(params)), (
        "what is learned has a trailing underscore"
    )


def test_fit_takes_read_only_data(kind):
    cls, X, y = kind
    values, target = X.to_numpy().copy(), y.copy()
    values.setflags(write=False)
    target.setflags(write=False)
    assert np.isfinite(cls().fit(values, target).predict(values)).all()


def test_fitting_again_forgets_what_was_learned(kind):
    cls, X, y = kind
    model = cls(penalty=0.01)
    first = model.fit(X, y).beta_.copy()
    other = model.fit(X[["f0"]] * 2, y)
    assert other.n_features_in_ == 1 and len(other.beta_) == len(first) - (X.shape[1] - 1)
    assert (model.fit(X, y).beta_ == first).all()
    fresh = cls(penalty=0.01).fit(X, y)
    assert set(fitted(model)) == set(fitted(fresh))


def test_the_order_of_rows_does_not_matter(kind):
    cls, X, y = kind
    rows = np.random.default_rng(0).permutation(len(X))
    np.testing.assert_allclose(
        cls().fit(X.iloc[rows], y[rows]).beta_, cls().fit(X, y).beta_, atol=1e-12
    )


def test_the_index_of_the_frame_does_not_matter(kind):
    cls, X, y = kind
    other = X.set_index(pd.Index([f"patient {i % 7}" for i in range(len(X))]))
    np.testing.assert_allclose(cls().fit(other, y).beta_, cls().fit(X, y).beta_, rtol=1e-10)
    np.testing.assert_allclose(
        cls().fit(X, y).predict(other), cls().fit(X, y).predict(X), rtol=1e-10
    )


def test_arrays_and_frames_mean_the_same(kind):
    cls, X, y = kind
    frame, array = cls().fit(X, y), cls().fit(X.to_numpy(), y)
    for other in (array, cls().fit(X.to_numpy().tolist(), y)):
        np.testing.assert_allclose(other.beta_, frame.beta_, rtol=1e-10)
    for predicted in (array.predict(X.to_numpy()), frame.predict(X.to_numpy())):
        np.testing.assert_allclose(predicted, frame.predict(X), rtol=1e-10)


def test_names_and_numbers_of_features(kind):
    cls, X, y = kind
    model = cls().fit(X, y)
    assert (
        list(model.feature_names_in_) == list(X.columns)
        and model.feature_names_in_.dtype == object
        and model.n_features_in_ == X.shape[1]
    )
    array = cls().fit(X.to_numpy(), y)
    assert array.n_features_in_ == X.shape[1] and not hasattr(array, "feature_names_in_"), (
        "scikit-learn: names only where a frame gave them"
    )


def test_a_wrong_table_is_refused_in_words(kind):
    cls, X, y = kind
    model = cls().fit(X, y)
    for wrong in (X.to_numpy()[:, :1], X.to_numpy()[:, [0, 0, 0, 0]]):
        with pytest.raises(ValueError, match=rf"{wrong.shape[1]} feature|expecting {X.shape[1]}"):
            model.predict(wrong)
    with pytest.raises(ValueError, match="f0"):
        model.predict(X.drop(columns="f0"))
    with pytest.raises(ValueError, match=r"dimension|2D"):
        model.predict(X["f0"].to_numpy())
    with pytest.raises(ValueError, match="samples"):
        cls().fit(X, y[:-1])
    with pytest.raises(ValueError, match="sample"):
        cls().fit(X[:0], y[:0])
    with pytest.raises(ValueError, match=r"(?i)site"):
        cls().fit(X, y, site=["A"] * 5)


def test_one_patient_is_no_cohort(kind):
    cls, X, y = kind
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            cls().fit(X[:1], y[:1])
        except ValueError as error:
            assert str(error)


@pytest.mark.parametrize("method", ["predict", "predict_survival", "predict_proba"])
def test_an_unfitted_model_says_so(kind, method):
    cls, X, _ = kind
    if hasattr(cls, method):
        with pytest.raises(NotFittedError, match="not fitted"):
            getattr(cls(), method)(X, *([[1.0]] if method == "predict_survival" else []))


def test_predicting_nobody_gives_nothing(kind):
    cls, X, y = kind
    model = cls().fit(X, y)
    assert model.predict(X[:0]).shape == (0,)
    if cls is gw.CoxPH:
        assert model.predict_survival(X[:0], [1.0, 2.0]).shape == (0, 2)


def test_rows_are_predicted_one_by_one_as_together(kind):
    cls, X, y = kind
    model = cls().fit(X, y)
    np.testing.assert_allclose(
        [model.predict(X[i : i + 1])[0] for i in range(9)], model.predict(X[:9]), rtol=1e-12
    )


# Keeping


def test_a_model_can_be_pickled(kind):
    cls, X, y = kind
    for model in (cls(penalty=0.1), cls(penalty=0.1).fit(X.assign(sex=["female", "male"] * 60), y)):
        again = pickle.loads(pickle.dumps(model))
        assert again.get_params() == model.get_params() and set(vars(again)) == set(vars(model))
        if fitted(model):
            table = X.assign(sex="male")
            assert (again.predict(table) == model.predict(table)).all()
            pd.testing.assert_frame_equal(again.summary_, model.summary_)


# Together with the rest of scikit-learn


def test_it_works_inside_scikit_learn():
    X, y = made_up(150, 3)
    surv = Surv.from_arrays(y["event"], y["time"])
    from sksurv.metrics import concordance_index_censored

    score = lambda model, X, y: concordance_index_censored(y["event"], y["time"], model.predict(X))[
        0
    ]
    folds = cross_val_score(
        gw.CoxPH(penalty=0.01), X, surv, cv=3, scoring=score, error_score="raise"
    )
    assert ((folds > 0.5) & (folds < 1)).all()
    search = GridSearchCV(
        gw.CoxPH(), {"penalty": [0.01, 1.0]}, cv=3, scoring=score, error_score="raise"
    ).fit(X, surv)
    assert search.best_params_["penalty"] in (0.01, 1.0) and search.predict(X).shape == (150,)
    pipe = make_pipeline(StandardScaler(), gw.CoxPH()).fit(X, surv)
    np.testing.assert_allclose(pipe.predict(X), gw.CoxPH().fit(X, surv).predict(X), atol=1e-10)


@pytest.mark.parametrize("names", [("event", "time"), ("dead", "years"), ("Status", "OS")])
def test_outcomes_of_scikit_survival_by_any_name(names):
    X, y = made_up(80)
    event, time = names
    made = Surv.from_arrays(y["event"], y["time"], name_event=event, name_time=time)
    assert (survival_target(made) == survival_target(y)).all() and (
        gw.CoxPH().fit(X, made).beta_ == gw.CoxPH().fit(X, y).beta_
    ).all()
    swapped = np.array(
        list(zip(y["time"], y["event"], strict=True)), dtype=[(time, float), (event, bool)]
    )
    assert (survival_target(swapped) == survival_target(y)).all()


@pytest.mark.parametrize(
    ("y", "said"),
    [
        (np.zeros(80), "structured"),
        (np.zeros(80, dtype=[("time", float)]), "structured"),
        (np.zeros(80, dtype=[("event", int), ("time", float)]), "boolean"),
        (outcome(np.where(np.arange(80) == 3, np.nan, 1.0), np.ones(80, bool)), "missing"),
        (outcome(np.where(np.arange(80) == 3, np.inf, 1.0), np.ones(80, bool)), "infinite"),
        (outcome(np.where(np.arange(80) == 3, -1.0, 1.0), np.ones(80, bool)), "negative"),
        ("died", "structured"),
        (None, "structured"),
    ],
)
def test_an_outcome_that_is_none_is_refused_in_words(y, said):
    with pytest.raises(ValueError, match=said):
        gw.CoxPH().fit(made_up(80)[0], y)


# What was learned


def test_the_table_of_coefficients(kind):
    "Columns, index and what follows from coefficient and standard error."
    from scipy import stats

    cls, X, y = kind
    table = cls().fit(X, y).summary_
    ratio = "hazard_ratio" if cls is gw.CoxPH else "odds_ratio"
    assert (
        list(table.columns) == ["coef", "se", ratio, "low", "high", "p"]
        and table.index.name == "feature"
        and list(table.index) == list(X.columns)
    )
    np.testing.assert_allclose(table[ratio], np.exp(table["coef"]))
    np.testing.assert_allclose(table["p"], 2 * stats.norm.sf(np.abs(table["coef"] / table["se"])))
    np.testing.assert_allclose(table["low"] * table["high"], table[ratio] ** 2)


def test_what_is_learned_can_be_written_down(kind):
    "Every learned attribute survives a saved run (arrays, tables, encodings, plain values)."
    from genomed_workbench.learners.packing import pack, unpack

    cls, X, y = kind
    model = cls().fit(X, y)
    for name, value in fitted(model).items():
        again = unpack(json.loads(json.dumps(pack(value))))
        assert type(again) is type(value) or isinstance(value, np.generic), name


def test_the_warning_points_at_the_callers_line():
    X, y = made_up(80)
    with pytest.warns(UnidentifiedWarning) as caught:
        gw.CoxPH().fit(X.assign(h=np.repeat([0.0, 1.0], 40)), y, site=np.repeat(["A", "B"], 40))
    assert {w.filename for w in caught if w.category is UnidentifiedWarning} == {__file__}
