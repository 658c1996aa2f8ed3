"Malformed files end in one message that says where and what to mend; well-formed variants all mean the same."

import io
import warnings

import numpy as np
import pandas as pd
import pytest
from malformed import ASKED, HEADER, MALFORMED, changed, good_rows, text_of

from genomed_workbench.data.cohort import Cohort
from genomed_workbench.data.files import read_cohort
from genomed_workbench.data.outcome import Survival
from genomed_workbench.data.problems import CohortError, CohortWarning


@pytest.mark.parametrize(
    ("write", "expected"), [case[1:] for case in MALFORMED], ids=[case[0] for case in MALFORMED]
)
def test_malformed_file_is_refused_with_advice(tmp_path, write, expected):
    path, asked = write(tmp_path)
    with pytest.raises(CohortError) as caught:
        read_cohort(path, **asked)
    message = str(caught.value)
    assert [fragment for fragment in expected if fragment not in message] == [], message
    assert path.name in message or "zero_time" in message
    assert len(message) < 20_000


def test_there_are_enough_kinds():
    assert len(MALFORMED) >= 45 and len({case[0] for case in MALFORMED}) == len(MALFORMED)


def test_all_faults_are_reported_at_once(tmp_path):
    rows = good_rows()
    faults = {
        (2, "os_years"): "-1",
        (3, "os_event"): "2",
        (4, "age"): "old",
        (5, "center"): "",
        (6, "wbc"): "inf",
        (7, "patient_id"): "P1",
        (8, "wbc"): "<1",
        (9, "os_years"): "2 years",
    }
    for (row, column), value in faults.items():
        rows[row - 2][HEADER.index(column)] = value
    rows[10].append("one too many")
    path = tmp_path / "patients.csv"
    path.write_text(text_of(rows))
    with pytest.raises(CohortError) as caught:
        read_cohort(path, **ASKED)
    problems = caught.value.problems
    assert {(problem.row, problem.column) for problem in problems} == {*faults, (12, None)}
    assert len(problems) == 9 and all(problem.text in str(caught.value) for problem in problems)


def test_long_lists_are_cut_in_the_text_but_kept(tmp_path):
    rows = [[*row[:2], "-1", *row[3:]] for row in good_rows(300)]
    path = tmp_path / "patients.csv"
    path.write_text(text_of(rows))
    with pytest.raises(CohortError, match="280 more") as caught:
        read_cohort(path, **ASKED)
    assert len(caught.value.problems) == 300 and len(str(caught.value)) < 6000


def test_rows_count_blank_lines_and_quoted_line_breaks(tmp_path):
    rows = good_rows(6)
    rows[1][1] = '"A\nB"'
    lines = [
        ",".join(HEADER),
        ",".join(rows[0]),
        "",
        ",".join(rows[1]),
        "",
        *[",".join(row) for row in rows[2:]],
    ]
    lines[-1] = lines[-1].replace(rows[5][2], "-3")
    path = tmp_path / "patients.csv"
    path.write_text("\n".join(lines))
    with pytest.raises(CohortError) as caught:
        read_cohort(path, **ASKED)
    assert [problem.row for problem in caught.value.problems] == [9]


# --- the same table, written in many ways


def _semicolons(text: str) -> bytes:
    return text.replace(",", ";").encode()


def _decimal_commas(text: str) -> bytes:
    return text.replace(",", ";").replace(".", ",").encode()


def _parquet(text: str) -> bytes:
    buffer = io.BytesIO()
    pd.read_csv(io.StringIO(text)).to_parquet(buffer)
    return buffer.getvalue()


def _parquet_with_index(text: str) -> bytes:
    buffer = io.BytesIO()
    pd.read_csv(io.StringIO(text)).set_index("patient_id").to_parquet(buffer)
    return buffer.getvalue()


VARIANTS = {
    "tabs": lambda text: text.replace(",", "\t").encode(),
    "bars": lambda text: text.replace(",", "|").encode(),
    "semicolons": _semicolons,
    "semicolons and decimal commas": _decimal_commas,
    "UTF-8 with its mark": lambda text: text.encode("utf-8-sig"),
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-32": lambda text: text.encode("utf-32"),
    "Windows line ends": lambda text: text.replace("\n", "\r\n").encode(),
    "old Mac line ends": lambda text: text.replace("\n", "\r").encode(),
    "all quoted": lambda text: "\n".join(
        ",".join(f'"{cell}"' for cell in line.split(",")) for line in text.splitlines()
    ).encode(),
    "blanks around cells": lambda text: text.replace(",", " , ").encode(),
    "blank lines": lambda text: text.replace("\n", "\n\n").encode(),
    "no last line end": lambda text: text.rstrip("\n").encode(),
    "separator at the end of rows": lambda text: text.replace("\n", ",\n").encode(),
    "separator at the end of patients": lambda text: (
        text.replace("\n", ",\n").replace(",\n", "\n", 1).encode()
    ),
    "Excel's line with the separator": lambda text: (
        b"sep=;\r\n" + _semicolons(text).replace(b"\n", b"\r\n")
    ),
    "Parquet": _parquet,
    "Parquet with ids as index": _parquet_with_index,
    **{
        f"missing as {word!r}": (
            lambda text, word=word: text.replace(",NA\n", f",{word}\n").encode()
        )
        for word in (
            "",
            "N/A",
            "na",
            "n/a",
            "NaN",
            "nan",
            "null",
            "NULL",
            "None",
            ".",
            "-",
            "?",
            "missing",
            "unknown",
            "#N/A",
        )
    },
    "events as truths": lambda text: "\n".join(
        ",".join([*(c := line.split(","))[:3], {"0": "False", "1": "TRUE"}.get(c[3], c[3]), *c[4:]])
        for line in text.splitlines()
    ).encode(),
}


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_well_formed_variants_mean_the_same(tmp_path, variant):
    text = changed((5, "wbc", "NA"), (9, "wbc", "NA"))
    path, other = tmp_path / "patients.csv", tmp_path / "variant.txt"
    path.write_text(text)
    other.write_bytes(variant(text))
    plain = read_cohort(path, **ASKED)
    with warnings.catch_warnings():
        warnings.simplefilter("error", CohortWarning)
        cohort = read_cohort(other, **ASKED)
    pd.testing.assert_frame_equal(cohort.frame, plain.frame)
    assert (
        cohort.features == plain.features == ("age", "wbc")
        and cohort.n == 30
        and cohort.X["wbc"].isna().sum() == 2
    )


def test_a_line_break_inside_quotes_belongs_to_the_cell(tmp_path):
    path = tmp_path / "patients.csv"
    path.write_text(changed((5, "center", '"A\nWest"')))
    cohort = read_cohort(path, **ASKED)
    assert "A\nWest" in cohort.sites and cohort.n == 30


def test_windows_text_is_read_with_a_warning(tmp_path):
    path = tmp_path / "patients.csv"
    path.write_bytes(changed((5, "center", "Zürich")).encode("cp1252"))
    with pytest.warns(CohortWarning, match="cp1252"):
        cohort = read_cohort(path, **ASKED)
    assert "Zürich" in cohort.sites


def test_points_that_may_separate_thousands_are_pointed_out(tmp_path):
    path = tmp_path / "patients.csv"
    path.write_text(
        text_of(
            [[*row, f"{100 + 2 * i}.000"] for i, row in enumerate(good_rows())],
            [*HEADER, "platelets"],
            sep=";",
        )
    )
    with pytest.warns(CohortWarning, match="separates thousands"):
        cohort = read_cohort(path, **ASKED)
    assert cohort.X["platelets"].iloc[0] == 100


def test_copies_without_ids_are_pointed_out(tmp_path):
    path = tmp_path / "patients.csv"
    rows = [row[1:] for row in good_rows()]
    path.write_text(text_of([*rows, rows[4]], HEADER[1:]))
    with pytest.warns(CohortWarning, match=r"1 rows are exact copies of earlier ones \(row 32\)"):
        cohort = read_cohort(path, **ASKED)
    assert cohort.n == 31


def test_empty_rows_are_counted(tmp_path):
    path = tmp_path / "patients.csv"
    path.write_text(text_of(good_rows()) + ",,,,,\n,,,,,\n")
    with pytest.warns(CohortWarning, match="2 rows hold nothing"):
        cohort = read_cohort(path, **ASKED)
    assert cohort.n == 30 and "row 32, 33" in cohort.notes[0]


def test_dropped_patients_are_counted(tmp_path):
    path = tmp_path / "patients.csv"
    path.write_text(changed((4, "os_years", "0"), (5, "os_years", "0.0"), (6, "os_event", "")))
    with pytest.warns(CohortWarning) as told:
        cohort = read_cohort(path, **ASKED)
    assert cohort.n == 27 and len(cohort.notes) == 2 and len(told) == 2
    assert "2 patients have time 0; zero_time='drop' leaves them out" in cohort.notes
    with pytest.warns(CohortWarning):
        kept = read_cohort(path, **ASKED, zero_time="half-unit")
    assert kept.n == 29 and np.sort(kept.time)[:2].tolist() == [np.sort(kept.time)[2] / 2] * 2


def test_one_site_is_fine_and_a_constant_is_a_warning(tmp_path):
    path = tmp_path / "patients.csv"
    path.write_text(
        text_of([[row[0], "A", *row[2:], "1"] for row in good_rows()], [*HEADER, "trial"])
    )
    with pytest.warns(CohortWarning, match="'trial' is the same for every patient"):
        cohort = read_cohort(path, **ASKED)
    assert set(cohort.sites) == {"A"} and "trial" in cohort.features


def test_ids_and_other_columns(tmp_path):
    path = tmp_path / "patients.csv"
    rows = [[*row, str(i / 2), ["True", "false"][i % 2]] for i, row in enumerate(good_rows())]
    path.write_text(text_of(rows, [*HEADER, "score", "held_out"]))
    cohort = read_cohort(path, **ASKED, features=["age"])
    assert (
        cohort.frame.index[0] == "P1"
        and cohort.frame["score"].dtype == float
        and cohort.frame["held_out"].dtype == bool
    )
    without = read_cohort(path, **ASKED, features=["age"], id=False)
    assert without.frame.index[0] == 2 and "patient_id" in without.frame.columns


def test_codings_na_values_and_decimal_can_be_given(tmp_path):
    path = tmp_path / "patients.csv"
    text = changed(
        *[(row, "os_event", "dead" if row % 2 else "alive") for row in range(2, 32)],
        (4, "wbc", "xx"),
        (6, "age", '"60,5"'),
    )
    path.write_text(text.replace(",", ";").replace('"60;5"', "60,5"))
    cohort = read_cohort(
        path,
        **ASKED,
        event_values={"dead": 1, "alive": 0},
        na_values=["xx"],
        decimal=".",
        sep=";",
        features=["wbc"],
    )
    assert cohort.n_events == 15 and cohort.X["wbc"].isna().sum() == 1


def test_read_cohort_equals_from_frame(tmp_path):
    path = tmp_path / "patients.csv"
    path.write_text(text_of(good_rows()))
    frame = pd.read_csv(path, index_col="patient_id")
    by_frame = Cohort.from_frame(frame, Survival("os_years", "os_event"), site="center")
    by_file = read_cohort(path, **ASKED)
    pd.testing.assert_frame_equal(by_frame.frame, by_file.frame)


# an event is asked, never guessed


def _asked_of(values, name="status", **options):
    "What is said of an event column with these values."
    n = 60
    frame = pd.DataFrame(
        {
            "time": np.arange(1, n + 1),
            name: [values[row % len(values)] for row in range(n)],
            "age": np.arange(n) % 7 + 50,
        }
    )
    with pytest.raises(CohortError) as caught:
        Cohort.from_frame(frame, Survival("time", name), features=["age"], **options)
    return str(caught.value)


@pytest.mark.parametrize("values", [(0, 1, 2), ("0", "1", "2"), (1.0, 2.0, 3.0), ("0", "1", "3")])
def test_three_codes_of_an_event_are_asked_about(values):
    told = _asked_of(values)
    assert told.count("'?'") >= 3 and ": 0," not in told.split("event_values=")[1]
    assert ("In R, 2 often is the death" in told) == any(float(value) == 2 for value in values)


@pytest.mark.parametrize(
    ("values", "coding"),
    [
        (("lebt", "verstorben"), "{'lebt': 0, 'verstorben': 1}"),
        (("vivo", "deceduto"), "{'deceduto': 1, 'vivo': 0}"),
        (("vivant", "décédé"), "{'décédé': 1, 'vivant': 0}"),
        (("levend", "overleden"), "{'levend': 0, 'overleden': 1}"),
        (("vivo", "fallecido"), "{'fallecido': 1, 'vivo': 0}"),
        (("A", "D"), "{'A': 0, 'D': 1}"),
        (("alive", "dead", "lost"), "{'alive': 0, 'dead': 1, 'lost': '?'}"),
        (("V", "M"), "{'M': '?', 'V': '?'}"),
    ],
)
def test_words_of_an_event_mean_what_they_say_or_are_asked(values, coding):
    "The oracle is the language: a word that says neither is '?', never 0."
    assert f"event_values={coding}" in _asked_of(values)


def test_yes_in_a_column_of_the_living_is_asked_about():
    assert "{'no': 0, 'yes': 1}" in _asked_of(("yes", "no"), "dead")
    assert "{'no': '?', 'yes': '?'}" in _asked_of(("yes", "no"), "alive")


def test_a_question_mark_is_no_coding():
    with pytest.raises(CohortError, match="expected 1"):
        Cohort.from_frame(
            pd.DataFrame({"time": [1, 2], "status": [0, 2]}),
            Survival("time", "status"),
            event_values={0: "?", 2: "?"},
        )


def test_a_nought_and_one_under_a_name_that_may_say_the_opposite_is_warned_of():
    frame = pd.DataFrame({"time": range(1, 41), "censored": [0, 1] * 20, "age": range(40)})
    with pytest.warns(CohortWarning, match="may say the opposite"):
        Cohort.from_frame(frame, Survival("time", "censored"))
    with warnings.catch_warnings(record=True) as told:
        Cohort.from_frame(frame, Survival("time", "censored"), event_values={0: 1, 1: 0})
    assert "opposite" not in " ".join(str(one.message) for one in told)


def test_signs_without_a_width_spoil_nothing(tmp_path):
    "Zero-width signs in names and cells, as web pages and PDF copies leave them."
    path = tmp_path / "patients.csv"
    text = text_of(good_rows())
    plain, spoiled = tmp_path / "plain.csv", path
    plain.write_text(text, encoding="utf-8")
    spoiled.write_text(text.replace(",", "\u200b,\ufeff"), encoding="utf-8")
    pd.testing.assert_frame_equal(read_cohort(spoiled, **ASKED).X, read_cohort(plain, **ASKED).X)


IDS = (
    "Pat_ID, Pat-Nr, PatNr, Patienten-ID, Patientennummer, case no, Fallnummer, Pseudonym, study_no"
)


@pytest.mark.parametrize("name", [*IDS.split(", "), "hospital_number", "NHS number", "sample_id"])
def test_visits_under_any_name_of_an_id_are_no_patients(name, tmp_path):
    "A column that names patients is their id, never a feature; an id that repeats is refused with its rows."
    rows = [[f"A{i // 2}", 50 + i % 7, 1 + i / 10, i // 2 % 2] for i in range(40)]
    table = pd.DataFrame(rows, columns=[name, "age", "os_years", "death"])
    table.drop_duplicates(name).to_csv(tmp_path / "patients.csv", index=False)
    cohort = read_cohort(tmp_path / "patients.csv", "os_years", "death")
    assert cohort.features == ("age",) and cohort.frame.index[1] == "A1"
    table.to_csv(tmp_path / "visits.csv", index=False)
    with pytest.raises(CohortError, match="id"):
        read_cohort(tmp_path / "visits.csv", "os_years", "death")
