"""Calibration by groups of predicted risk, and the interval of a Kaplan-Meier estimate, against
lifelines, scikit-survival, pandas and counts by hand.
"""

import re
import warnings
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from conftest import measure
from lifelines import KaplanMeierFitter
from sksurv.nonparametric import kaplan_meier_estimator

from genomed_workbench.statistics.calibration import (
    calibration_by_group,
    calibration_in_the_large,
    risk_groups,
)
from genomed_workbench.statistics.survival import kaplan_meier, survival_at


def patients(
    seed: int, n: int = 300, ties: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times, events and the true chance of living one year; with `ties`, times are rounded up to
    tenths and predictions to tenths.
    """
    rng = np.random.default_rng(seed)
    true = rng.uniform(0.05, 0.95, n)
    death, lost = rng.exponential(-1 / np.log(true)), rng.exponential(2.0, n)
    time, event = np.minimum(death, lost), death <= lost
    return (np.ceil(time * 10) / 10, event, true.round(1)) if ties else (time, event, true)


def lifelines_at(time: np.ndarray, event: np.ndarray, horizon: float) -> list[float]:
    """Oracle: estimate and log-log interval; where nobody or everybody has died lifelines gives an
    interval without width, we give none.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = KaplanMeierFitter().fit(time, event)
    survival = float(fitted.predict(horizon))
    return [
        survival,
        *(
            fitted.confidence_interval_.loc[:horizon].iloc[-1]
            if 0 < survival < 1
            else (np.nan, np.nan)
        ),
    ]


# One point of a Kaplan-Meier curve


@pytest.mark.parametrize("ties", [True, False], ids=["ties", "no ties"])
@pytest.mark.parametrize("seed", range(6))
def test_survival_with_interval_equals_lifelines_and_scikit_survival(seed, ties):
    time, event, _ = patients(seed, ties=ties)
    for horizon in (0.2, 0.5, 1.0, 1.25, float(np.sort(time[event])[40])):
        found = survival_at(time, event, horizon)
        measure(
            "Kaplan-Meier and its interval - lifelines",
            found,
            lifelines_at(time, event, horizon),
            1e-12,
        )
        times, survival, interval = kaplan_meier_estimator(event, time, conf_type="log-log")
        here = np.searchsorted(times, horizon, side="right") - 1
        measure(
            "Kaplan-Meier and its interval - scikit-survival",
            found,
            [survival[here], *interval[:, here]],
            1e-12,
        )
        assert found[0] == pytest.approx(float(kaplan_meier(time, event)(horizon)), abs=1e-14)


def test_another_level():
    time, event, _ = patients(1)
    fitted = KaplanMeierFitter(alpha=0.2).fit(time, event)
    measure(
        "Kaplan-Meier, 80 % interval - lifelines",
        survival_at(time, event, 1.0, level=0.8)[1:],
        fitted.confidence_interval_.loc[:1.0].iloc[-1],
        1e-12,
    )


def test_greenwood_by_hand():
    "Two deaths among five: variance of log S is 1/(5*4) + 1/(4*3)."
    low, high = (
        0.6 ** np.exp(s * 1.959963984540054 * np.sqrt(1 / 20 + 1 / 12) / np.log(0.6))
        for s in (-1, 1)
    )
    assert survival_at(
        np.array([1.0, 2, 3, 4, 5]), np.array([1, 1, 0, 0, 0]), 2.5
    ) == pytest.approx((0.6, low, high), abs=1e-12)


@pytest.mark.parametrize(
    ("time", "event", "horizon", "survival"),
    [
        ([2.0, 3.0], [0, 1], 1.0, 1.0),
        ([1.0, 2.0], [1, 1], 2.0, 0.0),
        ([1.0, 2.0], [1, 1], 9.0, 0.0),
        ([0.5, 0.6], [0, 0], 1.0, np.nan),
        ([0.5, 0.6], [1, 0], 1.0, np.nan),
        ([0.5, 1.0], [1, 0], 1.0, 0.5),
    ],
    ids=[
        "nobody dead",
        "everybody dead",
        "everybody dead long ago",
        "all lost before",
        "the last one lost before",
        "the last one seen until the horizon",
    ],
)
def test_where_the_formula_ends_it_says_so(time, event, horizon, survival):
    """No interval where nobody or everybody has died, no estimate beyond the last follow-up unless
    nobody is left; never a warning.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = survival_at(np.array(time), np.array(event), horizon)
    np.testing.assert_equal(found[0], survival)
    assert np.isnan(found[1:]).all() == (survival != 0.5)


# Groups


@pytest.mark.parametrize("groups", [1, 2, 5, 10])
def test_groups_are_those_of_pandas(groups):
    "Oracle: qcut, which numbers from the lowest value up."
    _, _, predicted = patients(groups)
    assert (
        risk_groups(predicted, groups) == groups - pd.qcut(predicted, groups, labels=False)
    ).all()


def test_equal_predictions_are_never_parted():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        predicted = rng.integers(0, 12, rng.integers(5, 60)) / 12
        of = risk_groups(predicted, 5)
        assert set(of) == set(range(1, of.max() + 1)) and of.max() <= 5
        spans = [
            (predicted[of == g].min(), predicted[of == g].max()) for g in range(1, of.max() + 1)
        ]
        assert all(lower[1] < upper[0] for upper, lower in pairwise(spans)), (
            "a higher group has lower predicted survival, without overlap"
        )


def test_few_values_are_a_group_each():
    "A score with four classes of unlike size has four groups, whatever is asked above that."
    predicted = np.repeat([0.9, 0.6, 0.4, 0.1], [90, 5, 3, 2])
    assert (
        np.bincount(risk_groups(predicted, 5))[1:].tolist()
        == [90, 5, 3, 2]
        == np.bincount(risk_groups(predicted, 4))[1:].tolist()
    )
    assert risk_groups(np.full(9, 0.3), 5).tolist() == [1] * 9


# Predicted against observed


@pytest.mark.parametrize("ties", [True, False], ids=["ties", "no ties"])
@pytest.mark.parametrize("seed", range(4))
def test_every_group_equals_lifelines(seed, ties):
    time, event, predicted = patients(seed, ties=ties)
    table = calibration_by_group(time, event, predicted, 1.0)
    assert (
        list(table.columns) == ["predicted", "observed", "low", "high", "n", "events"]
        and table.index.name == "group"
    )
    assert (
        table.n.sum() == 300
        and table.events.sum() == (event & (time <= 1.0)).sum()
        and table.predicted.is_monotonic_decreasing
    )
    of = risk_groups(predicted, 5)
    for group, row in table.iterrows():
        here = of == group
        assert row.predicted == pytest.approx(predicted[here].mean(), abs=1e-15)
        measure(
            "calibration of a group - lifelines",
            row[["observed", "low", "high"]],
            lifelines_at(time[here], event[here], 1.0),
            1e-12,
        )


def test_in_the_large_equals_lifelines():
    time, event, predicted = patients(5)
    whole = calibration_in_the_large(time, event, predicted, 1.0)
    measure(
        "calibration in the large - lifelines",
        whole[["observed", "low", "high"]],
        lifelines_at(time, event, 1.0),
        1e-12,
    )
    assert (
        whole.difference == pytest.approx(predicted.mean() - whole.observed, abs=1e-15)
        and whole.n == 300
    )


def test_the_truth_is_calibrated_and_a_rosy_prediction_is_not():
    """Over 200 made-up studies the 95 % interval of a group holds the truth about 95 times of 100;
    square roots promise too much.
    """
    held = np.array(
        [
            [
                row.low <= row.predicted <= row.high
                for row in calibration_by_group(*patients(seed, 500), 1.0).itertuples()
            ]
            for seed in range(200)
        ]
    )
    assert 0.92 < held.mean() < 0.97
    time, event, true = patients(0, 2000)
    assert (
        calibration_in_the_large(time, event, np.sqrt(true), 1.0).difference
        > 0.1
        > abs(calibration_in_the_large(time, event, true, 1.0).difference)
    )


def test_censoring_before_the_horizon_is_not_survival():
    "Of four patients one died and two were lost before the horizon: half is observed, not three quarters."
    row = calibration_by_group([0.2, 0.3, 0.5, 2.0], [0, 0, 1, 1], [0.6] * 4, 1.0, groups=1).loc[1]
    assert (row.observed, row.n, row.events) == (0.5, 4, 1)


def test_a_group_that_nobody_followed_is_left_open():
    "The low-risk group was lost before the horizon: its observed share is unknown, and the other group does not care."
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = calibration_by_group(
            [0.5, 0.6, 0.7, 0.1, 0.5, 3.0],
            [0, 0, 1, 1, 0, 0],
            [0.9, 0.9, 0.9, 0.3, 0.3, 0.3],
            1.0,
            groups=2,
        )
    assert table.observed.isna().tolist() == [False, False] and table.observed[1] == 0.0
    table = calibration_by_group(
        [0.5, 0.6, 0.7, 0.1, 0.5, 3.0],
        [0, 0, 0, 1, 0, 0],
        [0.9, 0.9, 0.9, 0.3, 0.3, 0.3],
        1.0,
        groups=2,
    )
    assert (
        table.observed.isna().tolist() == [True, False]
        and table.predicted[1] == pytest.approx(0.9)
        and table.n.tolist() == [3, 3]
    )


def test_an_event_at_the_horizon_has_happened():
    assert calibration_by_group([1.0, 2.0], [1, 0], [0.5, 0.5], 1.0, groups=1).loc[
        1, ["observed", "events"]
    ].tolist() == [0.5, 1]


def test_the_order_of_patients_and_the_kind_of_list_do_not_matter():
    time, event, predicted = patients(7)
    table, order = (
        calibration_by_group(time, event, predicted, 1.0),
        np.random.default_rng(0).permutation(300),
    )
    again = calibration_by_group(
        pd.Series(time[order], index=order),
        event[order].astype(int).tolist(),
        pd.Series(predicted[order], index=order),
        1,
        np.int64(5),
    )
    pd.testing.assert_frame_equal(table, again)


def test_what_comes_in_is_left_alone():
    given = patients(8)
    before = [part.copy() for part in given]
    for part in given:
        part.setflags(write=False)
    calibration_by_group(*given, 1.0)
    assert all((a == b).all() for a, b in zip(given, before))


# Refused in words


GOOD = {
    "time": [1.0, 2.0, 3.0],
    "event": [1, 0, 1],
    "predicted": [0.7, 0.5, 0.3],
    "horizon": 1.5,
    "groups": 2,
}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"groups": 5}, "3 patients for 5 groups"),
        ({"groups": 0}, "groups=0"),
        ({"groups": 2.5}, "groups=2.5"),
        ({"groups": True}, "groups=True"),
        ({"groups": "five"}, "groups='five'"),
        (
            {"predicted": [70.0, 50.0, 30.0]},
            "predicted: found 70 for patient 1 of 3; expected probabilities of being alive "
            "at the horizon, from 0 to 1 (divide percentages by 100)",
        ),
        ({"predicted": [0.7, np.nan, 0.3]}, "predicted: found nan for patient 2"),
        ({"predicted": [0.7, -0.1, 0.3]}, "found -0.1"),
        ({"predicted": ["high", "low", "low"]}, "not numbers"),
        ({"predicted": [0.7, 0.5]}, "3 times, 3 events and 2 predictions"),
        ({"predicted": [[0.7], [0.5], [0.3]]}, "shape (3, 1)"),
        ({"predicted": pd.DataFrame({1.0: [0.7, 0.5, 0.3]})}, "shape (3, 1)"),
        ({"time": [1.0, -2.0, 3.0]}, "time: found -2 for patient 2"),
        ({"time": [1.0, np.inf, 3.0]}, "time: found inf"),
        ({"time": None}, "time"),
        ({"time": [None, 1.0, 2.0]}, "time: found nan for patient 1"),
        ({"event": [1, 2, 0]}, "event: found 2 for patient 2"),
        ({"event": [1, 0.5, 0]}, "event: found 0.5 for patient 2"),
        ({"event": [1, np.nan, 0]}, "event: found nan"),
        ({"horizon": 0}, "horizon=0"),
        ({"horizon": np.nan}, "horizon=nan"),
        ({"horizon": -1.0}, "horizon=-1.0"),
        ({"horizon": [1.0]}, "horizon=[1.0]"),
        ({"horizon": "one year"}, "horizon='one year'"),
        ({"horizon": None}, "horizon=None"),
        ({"time": [], "event": [], "predicted": []}, "no patients"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_words(change, said):
    calibration_by_group(**GOOD)
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        calibration_by_group(**GOOD | change)
    assert "expected" in str(caught.value)
