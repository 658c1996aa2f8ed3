"""The made-up hospital export of lesson 1.2: the file is what its function makes, and every planted
fault is there to be found.
"""

import csv
import io
import warnings
from pathlib import Path

import pandas as pd
import pytest

import genomed_workbench as gw
from genomed_workbench.virtual.made_up_aml import (
    CUT_OFF,
    NEW_LAB,
    SEX_WORDS,
    STATUS_WORDS,
    hospital_export,
)

FILE = Path(__file__).parents[1] / "nbs" / "webinars" / "series1" / "hospital_export.csv"


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(hospital_export()), delimiter=";"))


@pytest.fixture(scope="module")
def patients(rows) -> pd.DataFrame:
    "Without the line of totals, newest row of each patient, numbers and dates read."
    table = pd.DataFrame(rows).query("patient_id != 'Summe/Totale'")
    dates = {
        name: pd.to_datetime(table[name], format="%d.%m.%Y")
        for name in ("diagnosed", "last_contact")
    }
    numbers = {
        name: pd.to_numeric(table[name].str.replace(",", "."), errors="coerce")
        for name in ("age", "hemoglobin", "wbc", "blasts")
    }
    return (
        table.assign(**dates, **numbers)
        .sort_values("last_contact")
        .drop_duplicates("patient_id", keep="last")
        .set_index("patient_id")
    )


def test_the_shipped_file_is_what_the_function_makes():
    assert FILE.read_bytes() == hospital_export().encode("utf-8")


def test_chance_is_fixed_by_the_seed():
    assert hospital_export() == hospital_export(2026) != hospital_export(1)


def test_it_says_that_it_is_made_up(rows):
    assert all(row["patient_id"].startswith("made-up-") for row in rows[:-1])


def test_the_shape_of_the_mess(rows):
    assert (
        len(rows) == 84 + 1 + 1
        and rows[-1]["patient_id"] == "Summe/Totale"
        and not rows[-1]["status"]
    )
    names = [row["patient_id"] for row in rows]
    assert len(set(names[:-1])) == 84
    assert {row["sex"] for row in rows[:-1]} == {
        word for words in SEX_WORDS.values() for word in words
    }
    assert {row["status"] for row in rows[:-1]} == {
        word for words in STATUS_WORDS.values() for word in words
    }
    assert (
        any("," in row["hemoglobin"] for row in rows)
        and any(row["blasts"] == "n.d." for row in rows)
        and any(row["wbc"] == "-99" for row in rows)
    )
    assert len({row["remarks"] for row in rows}) > 70


def test_the_unit_changes_with_the_laboratory_and_the_ranges_do_not_touch(patients):
    hemoglobin = patients["hemoglobin"].where(patients["hemoglobin"] != -99).dropna()
    later = (patients["diagnosed"] >= NEW_LAB)[hemoglobin.index]
    assert (
        hemoglobin[later].between(40, 200).all()
        and hemoglobin[~later].between(3, 20).all()
        and later.sum() > 25
        and (~later).sum() > 25
    )


def test_one_impossible_age_and_one_death_before_the_diagnosis(patients):
    assert (patients["age"] > 110).sum() == 1
    backwards = patients[patients["last_contact"] < patients["diagnosed"]]
    assert len(backwards) == 1 and backwards["status"].iloc[0] in STATUS_WORDS[True]
    assert (patients["last_contact"] <= CUT_OFF).all() and (patients["diagnosed"] < CUT_OFF).all()


def test_the_marrow_is_missing_in_the_old(patients):
    known = patients["age"] < 110
    assert (
        patients["age"][known & patients["blasts"].isna()].mean()
        > patients["age"][known & patients["blasts"].notna()].mean() + 8
    )


def test_the_reader_refuses_it_and_says_why():
    with pytest.raises(gw.CohortError) as refused:
        gw.read_cohort(FILE, time="last_contact", event="status")
    columns = {problem.column for problem in refused.value.problems}
    assert {"patient_id", "last_contact", "status", "blasts", "diagnosed", "remarks"} <= columns
    assert "already" in str(refused.value) and "event_values" in str(refused.value)


def test_mended_it_loads(patients):
    sex = {word: one for one, words in SEX_WORDS.items() for word in words}
    years = (patients["last_contact"] - patients["diagnosed"]).dt.days / 365.25
    mended = pd.DataFrame(
        {
            "sex": patients["sex"].map(sex),
            "hemoglobin": patients["hemoglobin"].where(patients["hemoglobin"] > 0),
            "years": years.where(years >= 0),
            "died": patients["status"].isin(STATUS_WORDS[True]).astype(int),
        }
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gw.CohortWarning)
        cohort = gw.Cohort.from_frame(mended, gw.Survival("years", "died"))
    assert cohort.n == 83 and 45 < cohort.n_events < 70
    assert set(gw.leak_suspects(cohort).suspicion) == {"none"}


def test_a_name_in_place_of_a_cohort_is_explained():
    import pytest

    from genomed_workbench.data.problems import CohortError
    from genomed_workbench.virtual.exports import hospital_exports

    with pytest.raises(
        CohortError, match="found 'virtual-mds'; expected a cohort of virtual patients"
    ):
        hospital_exports("virtual-mds")
