"""From a hospital's table to the dictionary's: what is read, converted and refused; nothing is guessed."""

import io
import random
import re
import string
import time

import numpy as np
import pandas as pd
import pytest
from conftest import study_folder

from genomed_workbench.clinic.canonical import (
    MISSING,
    NO,
    YES,
    Wrong,
    canonical,
    date_in,
    event_word,
    number_in,
    read_column,
)
from genomed_workbench.clinic.dictionary import DISEASES, dictionary, key
from genomed_workbench.clinic.problems import ClinicError, Problem
from genomed_workbench.clinic.units import factor

MDS = dictionary("mds")


def one(name: str, *cells, disease: str = "mds", **options) -> list:
    "A column of cells as it becomes."
    return (
        canonical(pd.DataFrame({name: list(cells)}), disease, **options).frame.iloc[:, 0].tolist()
    )


def faults(name: str, *cells, disease: str = "mds", **options) -> tuple[Problem, ...]:
    return canonical(pd.DataFrame({name: list(cells)}), disease, strict=False, **options).faults


# numbers


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("9.8", 9.8),
        ("9,8", 9.8),
        (" 9.8 ", 9.8),
        ("10", 10),
        ("-1,5", -1.5),
        ("+3", 3),
        (".5", 0.5),
        (",5", 0.5),
        ("0,125", 0.125),
        ("1.234,5", 1234.5),
        ("1,234.5", 1234.5),
        ("12 000", 12000),
        ("12\u00a0000", 12000),
        ("12'000", 12000),
        ("1e3", 1000),
        ("1.5E-2", 0.015),
        ("1,234,567", 1234567),
        ("1.234.567", 1234567),
        ("\u22121", -1),
        ("12,3456", 12.3456),
        ("12.345", 12.345),
    ],
)
def test_numbers_as_hospitals_write_them(text, number):
    assert number_in(text) == pytest.approx(number)


@pytest.mark.parametrize(
    "text",
    [
        "abc",
        "9.8.1",
        "9,8,1",
        "1,234",
        "12,34,567",
        "1_000",
        "0x10",
        "inf",
        "-inf",
        "1e999",
        "<5",
        ">1000",
        "≤ 3",
        "~9",
        "9.8 g/L",
        "10-12",
        "1/2",
        "5 %",
        "IV",
        "9.8*",
        "9. 8",
        "--5",
    ],
)
def test_what_is_no_number(text):
    assert isinstance(number_in(text), Wrong)


def test_a_column_decides_what_a_comma_means():
    assert one("PLT", "1,234", "98,5") == [1.234, 98.5]
    assert one("PLT", "1,234", "98.5") == [1234.0, 98.5]
    assert one("PLT", "1.234", "98,5") == [1234.0, 98.5]
    assert one("PLT", "1.234", "98.5") == [1.234, 98.5]
    ambiguous = faults("PLT", "1,234", "98")
    assert [fault.row for fault in ambiguous] == [0] and "1,234 may be 1234 or 1.234" in ambiguous[
        0
    ].expected
    both = canonical(pd.DataFrame({"PLT": ["1,234", "98,5", "97.5"]}), "mds", strict=False)
    assert both.frame.platelets.tolist()[1:] == [98.5, 97.5] and [
        fault.row for fault in both.faults
    ] == [0]


def test_a_unit_behind_a_number_must_be_the_right_one():
    assert one("Hb", "9.8 g/dL", "10,2g/dl") == [9.8, 10.2]
    assert one("BM_BLAST", "5 %", "12%", "3") == [5, 12, 3]
    assert one("Hb", "98 g/l", units={"Hb": "g/L"}) == pytest.approx([9.8])
    assert one("Hb", "98 g/L", "9.8") == [9.8, 9.8] and one("Hb", "6.2 mmol/L") == pytest.approx(
        [9.99099]
    )
    (wrong,) = faults("Hb", "98 mmHg")
    assert "a number in g/dL, without anything else behind it" in wrong.expected


def test_a_limit_is_not_a_value():
    (limit,) = faults("BM_BLAST", "<5", "3")
    assert (
        limit
        == Problem(
            row=0, column="BM_BLAST", value="<5", expected=limit.expected, variable="marrow_blasts"
        )
        and "say which number should stand for it" in limit.expected
    )


def test_numbers_of_every_type():
    for dtype in ("int64", "float32", "Int64", "Float64", "object", "category", "string"):
        column = pd.Series([9, 10, None] if dtype not in ("int64",) else [9, 10, 11]).astype(dtype)
        found = canonical(pd.DataFrame({"HB": column}), "mds").frame.hemoglobin
        assert (
            found.dtype == float
            and found.tolist()[:2] == [9.0, 10.0]
            and (dtype == "int64" or np.isnan(found[2]))
        ), dtype
    assert faults("HB", 9.0, np.inf)[0].expected == "a finite number"
    assert (
        one("voe", 2, 0, disease="scd") == [2, 0]
        and "a whole number" in faults("voe", 2.5, disease="scd")[0].expected
    )


# words


@pytest.mark.parametrize(
    ("words", "value"),
    [
        (
            [
                "yes",
                "Y",
                "TRUE",
                "ja",
                "J",
                "sì",
                "si",
                "Sí",
                "oui",
                "positiv",
                "POS",
                "detected",
                "present",
                "1",
                "1.0",
                1,
                1.0,
                True,
                "mutated",
                "mutiert",
                "MUT",
                "nachgewiesen",
            ],
            1.0,
        ),
        (
            [
                "no",
                "N",
                "false",
                "nein",
                "non",
                "negativo",
                "neg",
                "absent",
                "not detected",
                "0",
                "0.0",
                0,
                0.0,
                False,
                "WT",
                "wild type",
                "wild-type",
                "nicht nachgewiesen",
            ],
            0.0,
        ),
    ],
)
def test_yes_and_no(words, value):
    for word in words:
        assert one("TP53", word) == [value], word


@pytest.mark.parametrize(
    "cell", ["2", 2, 0.5, -1, "maybe", "10", "01", "00", "1.5", "yes no", "y/n", "x"]
)
def test_what_is_neither_yes_nor_no(cell):
    (fault,) = faults("TP53", cell)
    assert fault.value == cell and fault.expected.startswith("yes or no")


def test_a_lone_minus_is_no_only_beside_a_plus():
    assert one("TP53", "+", "-", "-") == [1, 0, 0]
    assert "may mean no or not known" in faults("TP53", "1", "-")[0].expected
    assert "may mean no or not known" in faults("TP53", "1", "none")[0].expected
    assert one("HB", "9.8", "-", "--")[0] == 9.8 and np.isnan(one("HB", "9.8", "-")[1])


def test_no_word_means_two_things():
    assert not (YES & NO) and not (YES & MISSING) and not (NO & MISSING)
    for disease in DISEASES:
        for variable in dictionary(disease):
            if variable.kind == "yes-no":
                assert (
                    {word for word, value in variable.words.items() if value == 1} & NO
                    == set()
                    == {word for word, value in variable.words.items() if value == 0} & YES
                )


@pytest.mark.parametrize(
    "cell",
    [
        "",
        " ",
        "NA",
        "n/a",
        "N.A.",
        "nan",
        "NaN",
        "NULL",
        "n.d.",
        "nd",
        "unknown",
        "Unbekannt",
        "?",
        ".",
        "not done",
        "#N/A",
        "<NA>",
        "sconosciuto",
        None,
        np.nan,
        pd.NA,
        "not tested",
    ],
)
@pytest.mark.parametrize(
    "name", ["HB", "TP53", "CYTO_IPSSR", "SEX", "diagnosis_date", "CYTOGENETICS"]
)
def test_unknown_is_unknown_everywhere(cell, name):
    read = canonical(pd.DataFrame({name: pd.Series([cell, cell], dtype=object)}), "mds")
    assert read.frame.iloc[:, 0].isna().all()


def test_words_for_unknown_are_told():
    read = canonical(pd.DataFrame({"HB": ["9.8", "n.d.", "n.d.", None, ""]}), "mds")
    assert read.notes == (
        "HB: 2 cells say in words that nothing is known; they are read as empty.",
    )


@pytest.mark.parametrize(
    ("name", "cells", "values"),
    [
        (
            "CYTO_IPSSR",
            [
                "Very-Good",
                "very good",
                "VERY_GOOD",
                "Good",
                "Int",
                "Intermediate",
                "Poor",
                "Very-Poor",
                "vp",
                "3",
                3,
                3.0,
                "4.0",
            ],
            [0, 0, 0, 1, 2, 2, 3, 4, 4, 3, 3, 3, 4],
        ),
        ("TP53mut", ["0", "1", "2 or more", "2", 3, "0.0", ">1"], [0, 1, 2, 2, 2, 0, 2]),
        ("BMF", ["MF-0", "mf1", "2", 3, "none"], [0, 1, 2, 3, 0]),
    ],
)
def test_ordinals(name, cells, values):
    assert [one(name, cell)[0] for cell in cells] == values


def test_ordinals_of_other_diseases():
    assert one("ISS", "I", "ii", "III", "1", 3, disease="mm") == [1, 2, 3, 1, 3] and one(
        "R2-ISS", "IV", 2, disease="mm"
    ) == [4, 2]
    assert one("ECOG", 0, "4", "2.0", disease="aml") == [0, 4, 2]
    (fault,) = faults("ISS", 0, disease="mm")
    assert fault.expected == "one of 1 (I), 2 (II), 3 (III)"
    assert {fault.value for fault in faults("CYTO_IPSSR", 5, -1, 1.5, "very bad")} == {
        5,
        -1,
        1.5,
        "very bad",
    }


def test_levels():
    assert one("Gender", "F", "M", "weiblich", "Mann", "femmina", "homme") == [
        "female",
        "male",
        "female",
        "male",
        "female",
        "male",
    ]
    assert one("MDS_TYPE", "primary", "s_t_MDS", "de novo", "t-MDS") == [
        "primary",
        "secondary or therapy-related",
        "primary",
        "secondary or therapy-related",
    ]
    assert one("genotype", "HbSS", "Sβ0", "S-beta+", "s-beta+", "HbSβ+", disease="scd") == [
        "SS",
        "S-beta0",
        "S-beta+",
        "S-beta+",
        "S-beta+",
    ]
    assert faults("Gender", "1", "X") and "one of female, male" in faults("Gender", "X")[0].expected


def test_days():
    for text in (
        "2019-12-31",
        "31.12.2019",
        "2019/12/31",
        "20191231",
        "2019-12-31 00:00:00",
        "2019-12-31T10:30:00Z",
        "31.12.2019 08:15",
    ):
        assert date_in(text) == pd.Timestamp(2019, 12, 31), text
    for text in (
        "31/12/2019",
        "12/31/2019",
        "2019-13-01",
        "31.02.2019",
        "0001-01-01",
        "2519-12-31",
        "43830",
        "yesterday",
    ):
        assert isinstance(date_in(text), Wrong), text
    days = canonical(
        pd.DataFrame(
            {
                "date of diagnosis": ["31.12.2019", None],
                "date of death": pd.to_datetime(["2020-01-01", None]),
            }
        ),
        "mds",
    ).frame
    assert str(days.diagnosis_date.dtype) == "datetime64[ns]" == str(
        days.death_date.dtype
    ) and days.diagnosis_date.isna().tolist() == [False, True]


def test_karyotypes_keep_their_text():
    assert one("CYTOGENETICS", " 46,XY,del(5)(q13q33)[12] ", "46,XX") == [
        "46,XY,del(5)(q13q33)[12]",
        "46,XX",
    ]


# units and impossible values


def test_units_are_converted_when_they_are_stated():
    frame = pd.DataFrame(
        {"HB": [98, 104.0], "PLT": [87_000, 140_000], "TP53maxvaf": [45, 0], "OS_YEARS": [24, 6]},
        index=["a", "b"],
    )
    read = canonical(
        frame,
        "mds",
        units={"HB": "g/l", "platelets": "/µl", "TP53maxvaf": "%", "OS_YEARS": "Monate"},
    )
    assert (
        read.frame.hemoglobin.tolist() == [9.8, 10.4]
        and read.frame.platelets.tolist() == [87, 140]
        and read.frame.TP53_max_vaf.tolist() == [0.45, 0]
        and read.frame.os_years.tolist() == [2, 0.5]
    )
    assert read.notes[0] == "HB: converted from g/L to g/dL (times 0.1)." and len(read.notes) == 4
    assert canonical(frame[["PLT"]] / 1000, "mds", units={"PLT": "G/l"}).notes == ()


def test_units_that_cannot_be_are_refused():
    frame = pd.DataFrame({"HB": [98.0], "SEX": ["F"]})
    for units, said in (
        ({"hb": "g/L"}, "no such column"),
        ({"HB": "furlongs"}, "'furlongs' is not known"),
        ({"HB": "10^9/L"}, "cannot be converted"),
        ({"SEX": "g/L"}, "has none"),
    ):
        with pytest.raises(ClinicError, match=said):
            canonical(frame, "mds", units=units)


def test_impossible_values_are_refused_and_said_with_row_and_column():
    frame = pd.DataFrame(
        {"HB": [9.8, 98.0, -1.0], "BM_BLAST": [3, 101, 5]}, index=["P1", "P2", "P3"]
    )
    with pytest.raises(ClinicError) as caught:
        canonical(frame, "mds")
    assert [
        (fault.row, fault.column, fault.value, fault.variable) for fault in caught.value.faults
    ] == [
        ("P2", "HB", 98.0, "hemoglobin"),
        ("P3", "HB", -1.0, "hemoglobin"),
        ("P2", "BM_BLAST", 101, "marrow_blasts"),
    ]
    assert (
        "patient P2, column 'HB' (hemoglobin): found 98.0; expected Hemoglobin from 1 to 26 g/dL (is it in g/L?)"
        in str(caught.value)
    )
    lax = canonical(frame, "mds", strict=False)
    assert (
        lax.faults == tuple(caught.value.faults)
        and lax.frame.hemoglobin.isna().tolist() == [False, True, True]
        and lax.frame.marrow_blasts.isna().tolist() == [False, True, False]
    )


def test_bounds_are_said_in_the_unit_of_the_column():
    (fault,) = faults("HB", 98, 980, units={"HB": "g/L"})
    assert fault.value == 980 and fault.expected == "Hemoglobin from 10 to 260 g/L"


def test_implausible_values_stay():
    assert one("HB", 2.5, 25) == [2.5, 25] and one("BM_BLAST", 90) == [90]


@pytest.mark.parametrize(
    ("disease", "name"), [(d, v.name) for d in DISEASES for v in dictionary(d) if v.possible]
)
def test_the_edges_of_every_range(disease, name):
    variable = dictionary(disease)[name]
    low, high = variable.possible
    assert one(name, low, high, disease=disease) == [low, high]
    step = 1 if variable.kind == "count" else 1e-6
    assert [
        fault.row for fault in faults(name, low - step, low, high, high + step, disease=disease)
    ] == [0, 3]


# columns


def test_columns_that_nobody_knows_stay_unread():
    read = canonical(
        pd.DataFrame({"HB": [9.8], "ward": ["4b"], "Neutrophils %": [55], 7: [1]}), "mds"
    )
    assert read.used == {"HB": "hemoglobin"} and read.unread == ("ward", "Neutrophils %", "7")
    nothing = canonical(pd.DataFrame({"ward": ["4b"]}, index=["a"]), "mds")
    assert nothing.frame.shape == (1, 0) and nothing.frame.index.tolist() == ["a"]


def test_two_columns_for_one_variable():
    frame = pd.DataFrame({"HB": [9.8], "Hgb": [9.9]})
    with pytest.raises(ClinicError, match=r"'HB' and 'Hgb' all mean hemoglobin"):
        canonical(frame, "mds")
    read = canonical(frame.assign(hemoglobin=10.0), "mds")
    assert (
        read.frame.hemoglobin.tolist() == [10.0]
        and read.unread == ("HB", "Hgb")
        and "'hemoglobin' is used" in read.notes[0]
    )
    with pytest.raises(ClinicError, match="several columns called 'HB'"):
        canonical(pd.DataFrame([[1.0, 2.0]], columns=["HB", "HB"]), "mds")


def test_the_order_is_the_dictionarys_and_the_index_stays():
    frame = pd.DataFrame(
        {"PLT": [1.0, 2.0], "AGE": [60, 70], "HB": [9.0, 10.0]},
        index=pd.Index(["x", "x"], name="Patient ID"),
    )
    read = canonical(frame, MDS)
    assert (
        read.frame.columns.tolist() == ["age", "hemoglobin", "platelets"]
        and read.frame.index.equals(frame.index)
        and read.frame.index.name == "Patient ID"
    )


def test_what_is_canonical_stays_as_it_is_and_nothing_is_changed_in_place():
    frame = pd.DataFrame(
        {
            "HB": ["9,8", "n.d."],
            "CYTO_IPSSR": ["Int", "Good"],
            "SEX": ["F", "M"],
            "TP53": ["ja", "nein"],
            "date of diagnosis": ["2020-01-01", "31.12.2019"],
            "CYTOGENETICS": ["46,XX", None],
        }
    )
    before = frame.copy(deep=True)
    once = canonical(frame, "mds").frame
    pd.testing.assert_frame_equal(frame, before)
    pd.testing.assert_frame_equal(canonical(once, "mds").frame, once)
    assert canonical(once, "mds").notes == () == canonical(once, "mds").unread


def test_any_text_is_read_or_refused_but_never_breaks():
    rng = random.Random(0)
    letters = string.printable + "äéß½²µ×–\u00a0\u200b漢0123456789.,-+%<>"
    cells = ["".join(rng.choice(letters) for _ in range(rng.randint(0, 8))) for _ in range(4000)]
    for name in ("HB", "TP53", "CYTO_IPSSR", "SEX", "diagnosis_date", "TP53mut", "CYTOGENETICS"):
        read = canonical(pd.DataFrame({name: cells}), "mds", strict=False)
        values = read.frame.iloc[:, 0]
        for fault in read.faults:
            assert pd.isna(values[fault.row]) and fault.value == cells[fault.row] and fault.expected
        if name == "HB":
            assert values.dropna().between(*MDS["hemoglobin"].possible).all()
        if name == "TP53":
            assert set(values.dropna()) <= {0.0, 1.0}


def test_mixed_cells_of_a_spreadsheet():
    assert one("TP53", True, 1, "ja", 0, False, 0.0, "nein") == [1, 1, 1, 0, 0, 0, 0]
    assert one("HB", 9, 9.5, "9,8", None)[:3] == [9, 9.5, 9.8]
    assert read_column(pd.Series([], dtype=object), MDS["hemoglobin"]).values.tolist() == []


def test_keys_hold_apart_what_differs():
    assert (
        len(
            {
                key(text)
                for text in (
                    "-7",
                    "+7",
                    "7",
                    "7q-",
                    "7q",
                    ">1",
                    "<1",
                    "1",
                    "%",
                    "S-beta+",
                    "S-beta0",
                )
            }
        )
        == 11
    )
    assert key("Häm oglobin_") == key("HAMOGLOBIN") == "hamoglobin"


# size, and real columns


def test_a_hundred_thousand_rows_take_seconds():
    rng = np.random.default_rng(0)
    n, columns = 100_000, {}
    for variable in MDS.variables[:60]:
        if variable.kind == "number":
            columns[variable.aliases[0]] = [
                f"{x:.1f}".replace(".", ",")
                for x in rng.uniform(*(variable.usual or variable.plausible), n)
            ]
        elif variable.kind in ("level", "ordinal"):
            columns[variable.name] = rng.choice(np.array(variable.values, object), n)
        else:
            columns[variable.name] = rng.choice(np.array(["ja", "nein", "n.d.", None], object), n)
    frame = pd.DataFrame(columns)
    start = time.process_time()
    read = canonical(frame, "mds")
    assert time.process_time() - start < 6 and read.frame.shape == (n, 60) and not read.faults


def test_the_oracles_input_is_read_as_it_is():
    folder = study_folder()
    if folder is None:
        pytest.skip("the folder ipssm-oracle is absent")
    table = pd.read_csv(folder / "ipssm-oracle" / "input.csv", index_col="ID")
    read = canonical(table, "mds")
    assert read.unread == () == read.notes and len(read.used) == table.shape[1]
    for column, name in read.used.items():
        assert read.frame[name].isna().equals(table[column].isna()), column
        if table[column].dtype.kind == "f":
            assert read.frame[name].equals(table[column].rename(name)), column
    assert read.frame.cytogenetic_risk.value_counts().to_dict() == {
        float(MDS["cytogenetic_risk"].coded[word.lower()]): n
        for word, n in table.CYTO_IPSSR.value_counts().items()
    }


def test_the_released_cohort_is_read_without_a_fault():
    folder = study_folder()
    if folder is None:
        pytest.skip(
            "the folder ipssm-study is absent: get it from github.com/papaemmelab/IPSSMstudy and set GENOMED_DATA"
        )
    tables = [
        pd.read_csv(folder / "ipssm-study" / f"{name}.tsv", sep="\t", index_col="ID", dtype=dtype)
        for name in ("df_clinical", "df_mut", "df_cna")
        for dtype in (None,)
    ]
    whole = tables[0].join(tables[1]).join(tables[2])
    read = canonical(whole, "mds", strict=False)  # a strict one would print rows
    assert len(read.faults) == 0 and len(read.used) >= 70
    as_text = canonical(
        whole.astype(object).map(
            lambda cell: (
                cell
                if pd.isna(cell)
                else str(cell).replace(".", ",")
                if isinstance(cell, float)
                else str(cell)
            )
        ),
        "mds",
        strict=False,
    )
    assert len(as_text.faults) == 0
    pd.testing.assert_frame_equal(as_text.frame, read.frame)
    assert (
        read.frame.death.sum() == whole.OS_STATUS.sum()
        and (read.frame.sex == "male").sum() == (whole.SEX == "M").sum()
    )


# numbers as exports write them


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("217\u2019000", 217000),  # Swiss
        ("217\u2009000", 217000),  # thin space
        ("217\u202f000", 217000),  # narrow no-break space
        ("9\u00b78", 9.8),  # middle dot
        ("9.8\u200b", 9.8),  # zero-width space
        ("\ufeff9.8", 9.8),
        ("1.234.567,5", 1234567.5),
    ],
)
def test_signs_that_look_like_nothing_or_like_something_else(text, number):
    "The oracle is the number that a person reads aloud."
    assert number_in(text) == number


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("9.8 g/dL", "g/dL"),
        ("98 g/l", "g/L"),
        ("98g/L", "g/L"),
        ("9,8 g/dl", "g/dL"),
        ("6.08 mmol/L", "mmol/L"),
    ],
)
def test_each_cell_is_converted_by_its_own_unit(text, unit):
    "The oracle is the conversion factor of the dictionary, which test_units holds against pint."
    number = float(re.match("[0-9.,]+", text)[0].replace(",", "."))
    read = one("Hb", text, "10.1")
    assert read == pytest.approx([number * factor(unit, "g/dL", "hemoglobin"), 10.1])


def test_a_column_is_one_of_thousands_where_the_file_shows_its_decimal_sign():
    "The oracle is pandas with thousands=','; the mirror image is read with thousands='.' and decimal=','."
    cells = ["217,000", "45,000", "28,000", "912"]
    frame = pd.DataFrame({"HB": ["9.8", "7.1", "8.8", "10"], "PLT": cells})
    wanted = pd.read_csv(io.StringIO(frame.to_csv(index=False)), thousands=",")["PLT"].tolist()
    small = {"PLT": "cells/uL"}
    assert canonical(frame, "mds", units=small).frame.platelets.tolist() == [
        number / 1000 for number in wanted
    ]
    mirror = frame.map(lambda cell: cell.translate(str.maketrans(".,", ",.")))
    read = pd.read_csv(
        io.StringIO(mirror.to_csv(index=False, sep=";")), sep=";", thousands=".", decimal=","
    )
    assert (
        canonical(mirror, "mds", units=small).frame.platelets.tolist()
        == (read["PLT"] / 1000).tolist()
    )


def test_a_column_that_may_be_both_is_asked_about():
    for cells in (["217,000", "45,000", "28,000"], ["1,234", "2,345", "3,456"]):
        told = faults("PLT", *cells)
        assert [fault.row for fault in told] == [0, 1, 2] and "may be" in told[0].expected


@pytest.mark.parametrize(
    ("word", "seen"),
    [
        *((word, True) for word in ("verstorben", "Deceduta", "décédé", "muerto", "óbito")),
        *((word, True) for word in ("overleden", "zmarła", "Exitus", "1:DECEASED", "Rezidiv")),
        *((word, False) for word in ("lebt", "am Leben", "viva", "vivant", "levend", "żyje")),
        *((word, False) for word in ("alive", "zensiert", "event-free", "0:LIVING")),
        *((word, None) for word in ("transplant", "2", "lost", "x", "unbekannt verzogen")),
    ],
)
def test_words_of_an_event_in_the_languages_of_hospitals(word, seen):
    "The oracle is the dictionary of each language."
    assert event_word(word) is seen


def test_a_yes_in_a_column_of_the_living_is_no_event():
    assert event_word("yes", "dead") and event_word("yes", "Patient alive") is None
    assert event_word("ja", "zensiert") is None and event_word("dead", "alive or dead") is True
