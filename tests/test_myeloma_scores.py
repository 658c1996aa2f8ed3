"""ISS, R-ISS and R2-ISS against decision tables written from the papers (tests/oracles/iss.csv, r_iss.csv,
r2_iss_points.csv, r2_iss_stages.csv).
"""

from fractions import Fraction
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from genomed_workbench.clinic.myeloma import (
    iss,
    iss_contributions,
    r2_iss,
    r2_iss_contributions,
    r_iss,
    r_iss_contributions,
)

ORACLES = Path(__file__).parent / "oracles"
# beta-2-microglobulin and albumin of a patient in the middle of each stage
BLOOD = {
    "I": (2.0, 4.0),
    "II": (4.0, 4.0),
    "III": (6.0, 4.0),
}
INPUTS = ["beta2_microglobulin", "albumin", "del17p", "t_4_14", "t_14_16", "gain_1q", "ldh_high"]
SYSTEMS = {iss: iss_contributions, r_iss: r_iss_contributions, r2_iss: r2_iss_contributions}


def table(name: str) -> pd.DataFrame:
    "A decision table as it was written down."
    return pd.read_csv(ORACLES / name)


def patient(stage: str, **flags: float) -> dict:
    "A patient in the middle of an ISS stage, with every test done."
    beta2, albumin = BLOOD[stage]
    return dict.fromkeys(INPUTS, 0.0) | {"beta2_microglobulin": beta2, "albumin": albumin} | flags


def test_iss_follows_every_row_of_the_table():
    rows = table("iss.csv")
    found = iss(rows[["beta2_microglobulin", "albumin"]])
    assert list(found["category"]) == list(rows["stage"])
    assert list(found["score"]) == [len(stage) for stage in rows["stage"]]


def test_r_iss_follows_every_row_of_the_table_whatever_lesion_is_the_high_risk_one():
    rows, cases, expected = table("r_iss.csv"), [], []
    lesions = [
        dict(zip(("del17p", "t_4_14", "t_14_16"), present)) for present in product((0, 1), repeat=3)
    ]
    for _, row in rows.iterrows():
        for lesion in lesions:
            if any(lesion.values()) == (row["high_risk_cytogenetics"] == "yes"):
                cases.append(
                    patient(row["iss"], ldh_high=float(row["ldh_high"] == "yes"), **lesion)
                )
                expected.append(row["stage"])
    assert len(cases) == 3 * 2 * 8
    found = r_iss(pd.DataFrame(cases))
    assert list(found["category"]) == expected
    assert list(r_iss(pd.DataFrame(cases).assign(gain_1q=1))["category"]) == expected, (
        "1q+ is not part of the R-ISS"
    )


def test_r2_iss_follows_the_tables_at_every_sum_of_points():
    points = {
        (row["feature"], row["value"]): Fraction(str(row["points"]))
        for _, row in table("r2_iss_points.csv").iterrows()
    }
    stages = {
        Fraction(str(row["points"])): row["stage"]
        for _, row in table("r2_iss_stages.csv").iterrows()
    }
    features = ("del17p", "ldh_high", "t_4_14", "gain_1q")
    cases, sums = [], []
    for stage, present in product(BLOOD, product((0, 1), repeat=4)):
        cases.append(patient(stage, **dict(zip(features, present))))
        sums.append(
            points["iss", len(stage)]
            + sum(points[name, 1] for name, there in zip(features, present) if there)
        )
    assert set(sums) == set(stages), "every sum of the table is reached and no other"
    found = r2_iss(pd.DataFrame(cases))
    assert [Fraction(score) for score in found["score"]] == sums
    assert list(found["category"]) == [stages[total] for total in sums]
    assert list(r2_iss(pd.DataFrame(cases).assign(t_14_16=1))["category"]) == list(
        found["category"]
    ), "t(14;16) is not part of the R2-ISS"


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda s: s.__name__)
def test_a_missing_value_matters_exactly_where_its_two_possible_values_differ(system):
    "Every combination of known and missing inputs against the complete ones it could be."
    levels = {
        "beta2_microglobulin": [2.0, 4.0, 6.0],
        "albumin": [3.0, 4.0],
        **{name: [0.0, 1.0] for name in INPUTS[2:]},
    }
    complete = pd.DataFrame(list(product(*levels.values())), columns=list(levels))
    stage = system(complete)["category"].map({"I": 1, "II": 2, "III": 3, "IV": 4})
    by_value = {tuple(row): int(s) for row, s in zip(complete.to_numpy(), stage)}
    rng = np.random.default_rng(0)
    holes = complete.sample(600, replace=True, random_state=0, ignore_index=True).mask(
        rng.random((600, len(levels))) < 0.3
    )
    found = system(holes)
    for (_, row), best, worst, category, comment in zip(
        holes.iterrows(),
        found["category_best"],
        found["category_worst"],
        found["category"],
        found["comment"],
    ):
        possible = [
            by_value[case]
            for case in product(*([v] if v == v else levels[name] for name, v in row.items()))
        ]
        assert ("", "I", "II", "III", "IV").index(best) == min(possible) and (
            "",
            "I",
            "II",
            "III",
            "IV",
        ).index(worst) == max(possible)
        assert pd.isna(category) == (min(possible) < max(possible)), comment
        assert ("between" in comment) == pd.isna(category)


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda s: s.__name__)
def test_contributions_add_up_to_the_score(system):
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        [
            patient(stage, **dict(zip(INPUTS[2:], rng.integers(0, 2, 5).astype(float))))
            for stage in rng.choice(list(BLOOD), 300)
        ],
        index=[f"p{i}" for i in range(300)],
    )
    frame = frame.mask(rng.random(frame.shape) < 0.15)
    scores, rows = system(frame)["score"], SYSTEMS[system](frame)
    assert list(rows.columns) == ["patient", "variable", "label", "value", "points", "reason"]
    sums = rows.groupby("patient", sort=False)["points"].agg(lambda p: p.sum(skipna=False))
    assert list(sums.index) == list(frame.index)
    pd.testing.assert_series_equal(sums[scores.notna()], scores.dropna(), check_names=False)


def test_ldh_in_units_needs_the_limit_of_the_laboratory():
    frame = pd.DataFrame(
        [
            patient("III", ldh=251.0, ldh_high=np.nan),
            patient("III", ldh=250.0, ldh_high=np.nan),
            patient("III", ldh=900.0, ldh_high=0.0),
        ]
    )
    assert r_iss(frame)["category"].isna().tolist() == [True, True, False]
    assert "upper limit of LDH" in r_iss(frame)["comment"][0]
    assert r_iss(frame, ldh_upper=250)["category"].tolist() == ["III", "II", "II"], (
        "exactly at the limit is normal; what was said outright wins"
    )
    limits = pd.Series({0: 300.0, 1: 200.0})
    assert r_iss(frame, ldh_upper=limits)["category"].tolist() == ["II", "III", "II"]
    assert r2_iss(frame, ldh_upper=250)["score"].tolist() == [2.5, 1.5, 1.5]
    with pytest.raises(ValueError, match="above 0"):
        r_iss(frame, ldh_upper=0)


def test_a_given_iss_is_used_only_where_blood_values_leave_it_open():
    frame = pd.DataFrame(
        {
            "beta2_microglobulin": [np.nan, 6.0, np.nan],
            "albumin": [np.nan, 4.0, 3.0],
            "iss": [2.0, 1.0, 1.0],
            "del17p": 0.0,
            "t_4_14": 0.0,
            "t_14_16": 0.0,
            "gain_1q": 0.0,
            "ldh_high": 0.0,
        }
    )
    found = iss(frame)
    assert found["category"].fillna("?").tolist() == ["II", "III", "?"]
    assert (
        "as given" in found["comment"][0]
        and "differs" in found["comment"][1]
        and "differs" in found["comment"][2]
    )
    assert r2_iss(frame)["score"].tolist()[:2] == [1.0, 1.5]


def test_columns_that_are_absent_are_missing_for_everybody_and_others_do_not_disturb():
    frame = pd.DataFrame(
        {"beta2_microglobulin": [2.0, 6.0], "albumin": [4.0, 4.0], "name": ["x", "y"]},
        index=["a", "b"],
    )
    found = r_iss(frame)
    assert found["category_best"].tolist() == ["I", "II"] and found["category_worst"].tolist() == [
        "II",
        "III",
    ]
    assert found["category"].isna().all() and all(
        "del(17p), t(4;14), t(14;16), LDH" in text for text in found["comment"]
    )
    assert r2_iss(frame)[["score_best", "score_worst"]].to_numpy().tolist() == [[0, 3.5], [1.5, 5]]
    assert (
        list(found.index) == ["a", "b"]
        and len(iss(frame.iloc[:0])) == 0
        and len(r2_iss_contributions(frame.iloc[:0])) == 0
    )
