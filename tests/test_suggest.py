"""Proposals are held against exports whose right mapping is known: those said to be sure are right,
identifiers are left out, and no unit is missed.
"""

import time

import numpy as np
import pandas as pd
import pytest
from exports import EXPORTS, FRESH, HELD_OUT, OTHER, export

import genomed_workbench as gw
from genomed_workbench.clinic.dictionary import DISEASES, dictionary
from genomed_workbench.clinic.units import factor
from genomed_workbench.intake.identifiers import identifier_in, named_as
from genomed_workbench.intake.suggest import SURE, looks_of, shared_beginnings, taken_apart

ALL = [*EXPORTS, *HELD_OUT, *FRESH]
SECRET = (
    "surname",
    "first name",
    "birth",
    "record",
    "nhs",
    "fiscal",
    "dni",
    "mail",
    "phone",
    "street",
    "note",
    "physician",
)


@pytest.fixture(scope="module")
def proposals():
    return {name: gw.suggest_mapping(export(name).frame, export(name).disease) for name in ALL}


def test_confident_proposals_are_right(proposals):
    sure, right, there, any_right = 0, 0, 0, 0
    for name, found in proposals.items():
        meant = export(name).right
        sure += len(found.confident)
        right += sum(
            meant.get(heading) == found.columns[heading].variable for heading in found.confident
        )
        any_right += sum(
            heading in found.columns and found.columns[heading].variable == variable
            for heading, variable in meant.items()
        )
        there += len(meant)
    assert len(proposals) >= 15 and there > 300
    assert right >= 0.98 * sure, f"{right} of {sure} confident proposals are right"
    assert right >= 0.9 * there and any_right >= 0.95 * there, (
        f"of {there} columns {right} are found with confidence, {any_right} at all"
    )


@pytest.mark.parametrize("name", ALL)
def test_units_that_are_proposed_are_the_right_ones(name, proposals):
    made, book = export(name), dictionary(export(name).disease)
    for heading in proposals[name].confident:
        variable, column = made.right.get(heading), proposals[name].columns[heading]
        if variable in made.patients and book[variable].unit:
            numbers = pd.to_numeric(
                made.frame[heading].astype(str).str.replace(",", "."), errors="coerce"
            ) * factor(column.unit or book[variable].unit, book[variable].unit, book[variable])
            assert (
                np.nanmedian(np.abs(numbers - made.patients[variable]))
                <= 0.02 * max(1.0, made.patients[variable].median()) + 0.26
            ), f"{heading} in {column.unit}"


@pytest.mark.parametrize("name", ALL)
def test_what_points_to_a_person_is_left_out(name, proposals):
    made, found = export(name), proposals[name]
    for heading, meant in made.meaning.items():
        if meant in SECRET:
            assert (
                found.columns[heading].ignore and "must not leave" in found.columns[heading].reason
            ), f"{heading}: {found.columns[heading]}"
            assert found.examples[heading] == "not shown"
        elif meant in made.right.values():
            assert "must not leave" not in found.columns[heading].reason
    assert made.meaning[found.id] == "id" and found.examples[found.id] == "not shown"


@pytest.mark.parametrize("name", ALL)
def test_each_variable_is_proposed_once_and_read_again(name, proposals, tmp_path):
    found = proposals[name]
    variables = [one.variable for one in found.columns.values() if one.variable]
    assert len(variables) == len(set(variables)) and list(found.table.columns) == [
        "column",
        "variable",
        "unit",
        "values",
        "confidence",
        "reason",
    ]
    assert (
        all(one.reason for one in found.columns.values())
        and found.table["confidence"].dropna().between(0, 1).all()
    )
    again = gw.Mapping.read(found.write(tmp_path / "m.toml"))
    assert (
        again == found.mapping()
        and not again.confirmed
        and set(again.unconfirmed) == set(found.unsure)
    )
    with pytest.raises(gw.CohortError, match="confirm"):
        again.apply(export(name).frame)


def test_yes_is_said_by_column_or_to_all(proposals):
    found = proposals["Spain"]
    assert (
        found.unsure == ["Sexo"]
        and found.mapping("Sexo").unconfirmed == []
        and not found.mapping("Sexo").confirmed
    )
    assert (
        found.mapping("all").confirmed
        and found.mapping("sure").columns["Sexo"].ignore
        and found.mapping("sure").confirmed
    )
    with pytest.raises(gw.CohortError, match="Did you mean 'Sexo'"):
        found.mapping(["Sexxo"])


def test_a_sure_number_says_why(proposals):
    one = proposals["Germany"].columns["Hb (g/l)"]
    assert one.confidence >= SURE and "g/l" in one.reason and "plausible" in one.reason


def column(*cells, n=40):
    return pd.Series((list(cells) * n)[:n], dtype=object)


RNG = np.random.default_rng(0)
CASES = {  # heading, cells -> variable or None, unit, whether it may be sure
    "grams a litre without a word": (
        "Hb",
        RNG.normal(98, 15, 60).round().astype(int).astype(str),
        "hemoglobin",
        "g/L",
        True,
    ),
    "millimoles": (
        "Hb",
        RNG.normal(6.1, 0.9, 60).round(1).astype(str),
        "hemoglobin",
        "mmol/L",
        True,
    ),
    "cells per microlitre": (
        "PLT",
        (RNG.lognormal(4.7, 0.8, 60) * 1000).round().astype(int).astype(str),
        "platelets",
        "cells/uL",
        True,
    ),
    "a percentage is no count": (
        "Neutrophils %",
        RNG.integers(20, 80, 60).astype(str),
        None,
        None,
        False,
    ),
    "later hemoglobin": (
        "Hb after 6 months",
        RNG.normal(10, 1, 60).round(1).astype(str),
        None,
        None,
        False,
    ),
    "months of survival": (
        "OS (months)",
        (RNG.exponential(30, 60)).round(1).astype(str),
        "os_years",
        "months",
        True,
    ),
    "a column of birth dates": (
        "Alter",
        np.array(["01.02.1950", "03.04.1960"] * 30),
        None,
        None,
        False,
    ),
    "words for a number": ("Hb", np.array(["low", "high"] * 30), None, None, False),
    "a heading that lies": (
        "Hb (g/dl)",
        RNG.normal(98, 15, 60).round().astype(int).astype(str),
        "hemoglobin",
        "g/dl",
        False,
    ),
    "only its cells speak": (
        "Befund 3",
        np.array(["46,XX[20]", "47,XY,+8[12]/46,XY[8]"] * 30),
        "karyotype",
        None,
        True,
    ),
    "one and two": ("TP53", np.array(["1", "2"] * 30), "TP53", None, False),
    "nine is missing": ("TP53", np.array(["1", "0", "0", "9"] * 15), "TP53", None, True),
    "nothing": ("Hb", np.array([""] * 60), "hemoglobin", None, False),
}


@pytest.mark.parametrize("case", CASES)
def test_single_columns(case):
    heading, cells, variable, unit, sure = CASES[case]
    frame = pd.DataFrame(
        {
            "Pat": [str(n) for n in range(len(cells))],
            heading: [np.nan if cell == "" else cell for cell in cells],
        },
        dtype=object,
    )
    found = gw.suggest_mapping(frame, "mds").columns[heading]
    assert found.variable == variable, found
    if variable and unit and sure:
        assert found.unit is not None and factor(
            found.unit, dictionary("mds")[variable].unit, variable
        ) == factor(unit, dictionary("mds")[variable].unit, variable)
    assert ((found.confidence or 0) >= SURE and found.variable is not None) == sure, found


def test_missing_codes_are_proposed_as_missing():
    frame = pd.DataFrame(
        {
            "Pat": [str(n) for n in range(60)],
            "Hb": [*["999"] * 5, *RNG.normal(10, 1, 55).round(1).astype(str)],
            "PLT": [*["-9"] * 3, *RNG.integers(20, 300, 57).astype(str)],
        },
        dtype=object,
    )
    found = gw.suggest_mapping(frame, "mds")
    assert found.columns["Hb"].values == {"999": ""} and found.columns["PLT"].values == {"-9": ""}
    read = found.mapping("all").apply(frame).frame
    assert read["hemoglobin"].isna().sum() == 5 and read["platelets"].isna().sum() == 3


def test_two_columns_for_one_variable_are_both_doubted():
    values = RNG.normal(10, 1.5, 60).round(1)
    found = gw.suggest_mapping(
        pd.DataFrame({"Pat": range(60), "Hb 1": values, "Hb 2": values + 0.1}), "mds"
    )
    assert not found.confident and any(
        "could be it as well" in one.reason for one in found.columns.values()
    )


def test_frames_of_any_dtype_and_odd_names_are_looked_at():
    frame = pd.DataFrame(
        {
            3: [1.5, None],
            "HB": [9.5, 10.0],
            "": ["x", "y"],
            "SEX": pd.Categorical(["m", "f"]),
            "date of diagnosis": pd.to_datetime(["2020-01-01", "2021-01-01"]),
            "empty": [None, None],
            "t": [True, False],
        }
    )
    found = gw.suggest_mapping(frame, "mds")
    assert (
        found.columns["HB"].variable == "hemoglobin"
        and found.columns["date of diagnosis"].variable == "diagnosis_date"
        and found.columns["empty"].ignore
    )
    assert gw.suggest_mapping(pd.DataFrame(), "mds").table.empty
    for wrong in ([1, 2], None, 7):
        with pytest.raises(gw.CohortError):
            gw.suggest_mapping(wrong, "mds")
    with pytest.raises(gw.CohortError, match="has no dictionary"):
        gw.suggest_mapping(frame, "gout")
    with pytest.raises(gw.CohortError, match="2 columns"):
        gw.suggest_mapping(pd.DataFrame([[1, 2]], columns=["a", "a"]), "mds")


@pytest.mark.parametrize("disease", DISEASES)
def test_the_dictionarys_own_names_are_known_for_sure(disease):
    book = dictionary(disease)
    for variable in book:
        found = taken_apart(variable.name)
        assert book.find(found.name).name == variable.name
        assert named_as(variable.name) is None and named_as(variable.label) is None, variable.name


@pytest.mark.parametrize(
    ("heading", "cells", "what"),
    [
        ("Kontakt", ["a@b.org", "c@d.de"], "an e-mail address"),
        ("Nr", ["RSSMRA85T10A562S"], "a national number"),
        ("x", ["+49 30 1234567", "+39 06 7654321"], "a telephone number"),
        ("y", ["Hauptstraße 5", "Gartenweg 7"], "an address"),
        (
            "z",
            ["Meier, Anna", "Rossi, Paolo", "García López", "Nowak Jan", "De Luca, Ada"],
            "a name",
        ),
        ("geb.", ["1.2.1950"], "a date of birth"),
        ("Tel.", ["5"], "a telephone number"),
        ("Kommentar", ["ok"], "free text"),
    ],
)
def test_identifiers_by_name_or_by_cells(heading, cells, what):
    found = identifier_in(heading, pd.Series(cells, dtype=object))
    assert found is not None and found.what == what


@pytest.mark.parametrize(
    "cells",
    [
        ["46,XX,del(5)(q13q33)[12]/46,XX[8]"] * 3,
        ["MDS-EB1", "MDS-MLD"],
        ["9.5", "10.2"],
        ["2020-01-01"],
        ["azacitidine", "lenalidomide"],
        ["very good", "poor"],
        ["North", "South"],
    ],
)
def test_clinical_cells_point_to_nobody(cells):
    assert identifier_in("x1", column(*cells)) is None


def test_what_no_model_needs_has_a_meaning_in_the_tests():
    meant = {meaning for name in ALL for meaning in export(name).meaning.values()}
    assert {one for one in meant if one in OTHER} >= {
        "surname",
        "birth",
        "later hb",
        "percent",
        "vaf",
        "note",
    }
    looks = [looks_of(name, column("1"), ".") for name in ("lab_hb", "lab_plt", "lab_wbc")]
    assert shared_beginnings(looks) == {"lab_hb": "hb", "lab_plt": "plt", "lab_wbc": "wbc"}


# what nobody could read is not sure


def _ward(**columns):
    hb = np.random.default_rng(3).normal(9.8, 1.4, 60).round(1)
    return pd.DataFrame(
        {"Pat": [f"P{n}" for n in range(60)], "Hb": hb.astype(str), **columns}, dtype=object
    )


COUNTS = np.random.default_rng(4).integers(20, 400, 60)


@pytest.mark.parametrize(
    ("heading", "cells", "unit", "read"),
    [
        ("Platelets", [f"{n},000" for n in COUNTS], "cells/uL", COUNTS),
        ("Platelets", [f"{n}'000" for n in COUNTS], "cells/uL", COUNTS),
        ("Platelets", [f"{n} G/l" for n in COUNTS], None, COUNTS),
        (
            "Platelets",
            [f"{n} G/l" if n % 2 else f"{n}000 /\u00b5l" for n in COUNTS],
            None,
            COUNTS,
        ),
        ("Platelets", [f"{n}\u200b" for n in COUNTS], None, COUNTS),
        ("BM blasts", [f"{n % 30} %" for n in COUNTS], None, COUNTS % 30),
        ("BM blasts", [f"{n % 30}%" for n in COUNTS], None, COUNTS % 30),
    ],
)
def test_numbers_with_signs_and_units_are_proposed_and_read(heading, cells, unit, read):
    "The oracle is the number that was written into the cell."
    frame = _ward(**{heading: cells})
    found = gw.suggest_mapping(frame, "mds")
    one, own = found.columns[heading], dictionary("mds")
    assert one.confidence >= SURE and (unit is None or one.unit == unit)
    check = gw.check_readiness(frame, "mds", found.mapping("all"))
    assert not {"unreadable-value", "wrong-unit"} & set(check.findings["kind"])
    values = found.mapping("all").apply(frame).frame[one.variable]
    target = own[one.variable].unit
    assert (values * factor(one.unit or target, target)).tolist() == pytest.approx(read.tolist())


def test_a_known_name_whose_cells_do_not_read_waits_for_a_person(tmp_path):
    frame = _ward(Platelets=[f"{n}x?" for n in COUNTS])
    found = gw.suggest_mapping(frame, "mds")
    assert (
        "Platelets" in found.unsure
        and "the cells are no numbers" in found.columns["Platelets"].reason
    )
    again = gw.Mapping.read(found.write(tmp_path / "m.toml"))
    assert again.unconfirmed == ["Platelets"] and found.mapping().unconfirmed == ["Platelets"]
    told = gw.check_readiness(frame, "mds", found.mapping("all")).findings
    assert told[told["column"] == "Platelets"]["kind"].tolist() == ["mapping-problem"]


@pytest.mark.parametrize("bad", [4, 6, 20])
def test_nothing_is_sure_of_which_more_than_a_few_cells_cannot_be_read(bad):
    cells = ["see letter" if n < bad else str(count) for n, count in enumerate(COUNTS)]
    one = gw.suggest_mapping(_ward(Platelets=cells), "mds").columns["Platelets"]
    assert (one.confidence or 0) < SURE and ("cells are no numbers" in one.reason)


@pytest.mark.parametrize("sign", [",", "."])
def test_a_column_that_may_be_thousands_or_decimals_is_asked_about(sign):
    frame = _ward(Platelets=[f"{n}{sign}000" for n in COUNTS]).drop(columns="Hb")
    found = gw.suggest_mapping(frame, "mds")
    assert (
        found.unsure == ["Platelets"]
        and "thousands or decimals" in found.columns["Platelets"].reason
    )
    told = gw.check_readiness(frame, "mds", found.mapping("all")).findings
    assert "thousands or decimals" in " ".join(told["what"])


def test_one_and_nought_with_a_point_are_one_and_nought():
    "pandas writes 1.0 where a column has gaps: the proposal is that of 1 and 0."
    told = {}
    for end in ("", ".0"):
        cells = [None if n % 7 == 0 else f"{n % 2}{end}" for n in range(60)]
        found = gw.suggest_mapping(_ward(TP53=cells, SF3B1=cells[::-1], sex=cells), "mds")
        told[end] = [
            (found.columns[name].variable, found.columns[name].confidence)
            for name in ("TP53", "SF3B1")
        ]
        assert set(found.columns["sex"].values.values()) == {"male", "female"}
    assert told[""] == told[".0"] and [name for name, _ in told[""]] == ["TP53", "SF3B1"]


@pytest.mark.parametrize(
    ("heading", "cells"),
    [
        ("death", ["0", "1", "2"]),
        ("death", ["0.0", "1.0", "2.0"]),
        ("death", ["1", "2"]),
        ("death", ["lebt", "verstorben", "transplantiert"]),
        ("os censor", ["0", "1"]),
    ],
)
def test_an_event_is_asked_and_never_guessed(heading, cells, tmp_path):
    frame = _ward(**{heading: (cells * 60)[:60]})
    found = gw.suggest_mapping(frame, "mds")
    one = found.columns[heading]
    assert found.unsure == [heading] and "?" in one.values.values()
    assert {"0", "1", "2", "0.0", "1.0", "2.0"} & set(cells) <= set(one.values)
    again = gw.Mapping.read(found.write(tmp_path / "m.toml"))
    with pytest.raises(gw.CohortError, match="Only whoever made the file knows"):
        again.confirm().apply(frame)
    meant = dict.fromkeys(cells, "no") | {cells[-1]: "yes"}
    answered = again.changed(heading, values=meant).confirm().apply(frame)
    assert (answered.frame["death"] == "yes").sum() == frame[heading].eq(cells[-1]).sum()


@pytest.mark.parametrize(
    ("dead", "alive"), [("overleden", "levend"), ("zmarł", "żyje"), ("deceduta", "viva")]
)
def test_words_for_dead_are_dead_in_every_language(dead, alive, tmp_path):
    cells = [dead if n % 3 else alive for n in range(60)]
    frame, path = _ward(Status=cells), tmp_path / "ward.csv"
    frame.to_csv(path, index=False)
    found = gw.suggest_mapping(path, "mds")
    assert found.columns["Status"].variable == "death"
    read = gw.read_records(path, "mds", mapping=found.mapping("all")).canonical().frame["death"]
    assert (read == 1).tolist() == [cell == dead for cell in cells]


def test_a_relapse_is_no_death_and_a_death_no_leukemia():
    for name, cells in [("death", ["relapse", "alive"]), ("aml", ["dead", "no"])]:
        one = gw.suggest_mapping(_ward(**{name: cells * 30}), "mds").columns[name]
        assert one.values.get(cells[0]) in (None, "?") and (one.confidence or 0) < SURE


def test_not_alive_is_dead():
    cells = ["not alive" if n % 3 else "alive" for n in range(60)]
    found = gw.suggest_mapping(_ward(**{"vital status": cells}), "mds")
    assert found.columns["vital status"].values == {"alive": "no", "not alive": "yes"}


# size


def test_a_large_file_is_looked_at_by_a_sample_that_is_said():
    "The proposal of 40,000 rows is that of their first 2,000, and takes at most three seconds."
    rng, n = np.random.default_rng(0), 40_000
    frame = pd.DataFrame(
        {
            "patient_id": [f"P{i}" for i in range(n)],
            "age": rng.integers(18, 90, n).astype(str),
            "wbc": rng.lognormal(2, 1, n).round(3).astype(str),
            "death": (rng.random(n) < 0.6).astype(int).astype(str),
        },
        dtype=object,
    )
    start = time.process_time()
    found = gw.suggest_mapping(frame, "mds")
    assert time.process_time() - start < 3
    few = gw.suggest_mapping(frame.head(2000), "mds")
    assert found.sampled and "sample" in found.of_what and not few.sampled
    assert [one.variable for one in found.columns.values()] == [
        one.variable for one in few.columns.values()
    ] and found.id == few.id == "patient_id"


def test_patients_who_stand_twice_in_a_large_file_are_counted_though_the_sample_may_not_show_it():
    n = 20_000
    visits = [f"P{i // 2}" for i in range(n)]
    found = gw.suggest_mapping(pd.DataFrame({"patient_id": visits, "age": ["61"] * n}), "mds")
    assert found.id == "patient_id"
    assert "10,000 of 10,000 patients stand on several rows (20,000 rows)" in found.told[0]


def test_hundreds_of_genes_are_weighed_in_seconds_and_progress_is_told():
    rng, told = np.random.default_rng(0), []
    genes = {f"GENE{i}": rng.normal(0, 1, 60).round(4).astype(str) for i in range(300)}
    start = time.process_time()
    found = gw.suggest_mapping(_ward(**genes), "mds", progress=told.append)
    assert time.process_time() - start < 4
    assert found.unsure == [] and any("of 301" in text for text in told)


@pytest.mark.parametrize("name", ["vital status", "vital_status", "Stato vitale", "Statut vital"])
def test_a_vital_status_in_numbers_is_asked_about(name):
    "Cancer registries write 1 for alive (NAACCR item 1760), others for dead; words say it themselves."
    one = gw.suggest_mapping(_ward(**{name: ["0", "1"] * 30}), "mds").columns[name]
    assert one.values == {"0": "?", "1": "?"} and not one.confirmed
    words = gw.suggest_mapping(_ward(**{name: ["Alive", "Dead"] * 30}), "mds").columns[name]
    assert words.variable == "death" and words.values in ({}, {"Alive": "no", "Dead": "yes"})
