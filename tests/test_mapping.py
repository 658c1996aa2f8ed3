"The mapping file: what it may say, what it refuses in words, and what it makes of a hospital's cells."

import re
import tomllib

import numpy as np
import pandas as pd
import pytest
from exports import EXPORTS, FRESH, HELD_OUT, export

import genomed_workbench as gw
from genomed_workbench.clinic.dictionary import DISEASES, dictionary
from genomed_workbench.intake.mapping import Column, Mapping
from genomed_workbench.intake.records import Records, date_contradictions, with_follow_up

HEAD = 'format = 1\ndisease = "mds"\n'
REFUSED = {  # text of a mapping file -> what the message must say
    "": "there is no line format",
    "format = 1\n": "there is no line disease",
    "format = 2\ndisease = 'mds'": "format = 2",
    "format = 1\ndisease = 'gout'": "disease = 'gout'; expected one of mds, aml, mm, scd",
    "format = 1\ndisease = mds": "no TOML",
    HEAD + "decimal = ';'": "decimal = ';'",
    HEAD + "date_format = 'whenever'": "date_format = 'whenever'",
    HEAD + "missing = 'x'": "missing to be a list",
    HEAD + "idd = 'x'": "Did you mean 'id'?",
    HEAD + "[columns]\nHb = 'hemoglobin'": "a table [columns.Hb]",
    HEAD + "[columns.Hb]\nvariable = 'hemoglobine'": "Did you mean 'hemoglobin'?",
    HEAD + "[columns.Hb]\nvariabel = 'hemoglobin'": "Did you mean 'variable'?",
    HEAD + "[columns.Hb]\nvariable = 7": "variable to be a text",
    HEAD
    + "[columns.Hb]\nvariable = 'hemoglobin'\nunit = 'furlongs'": "a unit of hemoglobin: g/dL, g/L, mmol/L",
    HEAD + "[columns.Hb]\nvariable = 'hemoglobin'\nunit = '%'": "unit = '%'",
    HEAD + "[columns.S]\nvariable = 'sex'\nunit = 'g/L'": "sex has none",
    HEAD + "[columns.S]\nvariable = 'sex'\nvalues = { w = 'femal' }": "Did you mean 'female'?",
    HEAD + "[columns.S]\nvariable = 'sex'\nvalues = { w = ['female'] }": "a word of the dictionary",
    HEAD + "[columns.T]\nvariable = 'TP53'\nvalues = { x = 'perhaps' }": "'yes', 'no'",
    HEAD + "[columns.Hb]\nvariable = 'hemoglobin'\nvalues = { low = 'little' }": "a number, or",
    HEAD + "[columns.Hb]\n": "it says nothing",
    HEAD + "[columns.Hb]\nvariable = 'hemoglobin'\nignore = true": "variable and ignore at once",
    HEAD + "[columns.Hb]\nsite = true\nignore = true": "ignore and site at once",
    HEAD + "[columns.Hb]\nignore = true\nunit = 'g/L'": "unit without a variable",
    HEAD + "[columns.a]\nvariable = 'age'\n[columns.b]\nvariable = 'age'": "one column for age",
    HEAD + "[columns.a]\nsite = true\n[columns.b]\nsite = true": "one column for the hospital",
    HEAD + "id = 'Pat'\n[columns.Pat]\nvariable = 'age'": "variable and id at once",
}


@pytest.mark.parametrize("text", REFUSED)
def test_a_wrong_mapping_is_refused_in_words(text, tmp_path):
    path = tmp_path / "mapping.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(gw.CohortError) as refused:
        Mapping.read(path)
    assert REFUSED[text] in str(refused.value) and str(path) in str(refused.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"\xff\xfe\x00", "no UTF-8"), (None, "no such file"), ("folder", "cannot be opened")],
)
def test_a_mapping_that_is_no_text_is_refused(content, said, tmp_path):
    path = tmp_path / "mapping.toml"
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(gw.CohortError, match=said):
        Mapping.read(path)


def test_all_faults_are_told_at_once(tmp_path):
    path = tmp_path / "mapping.toml"
    path.write_text(
        HEAD + "[columns.a]\nvariable = 'agee'\n[columns.b]\nvariable = 'sex'\nvalues = { w = "
        "'x', m = 'y' }\n[columns.c]\nvariable = 'platelets'\nunit = 'mmHg'\n"
    )
    with pytest.raises(gw.CohortError) as refused:
        Mapping.read(path)
    assert len(refused.value.problems) == 4


NAMES = [
    "Hb (g/l)",
    'a "quoted" name',
    "back\\slash",
    "Blästen\t%",
    "ends.with.points",
    "=1+1",
    "emoji 🩸",
    "",
    "\x7f",
]


def test_the_file_says_what_was_said_whatever_the_names(tmp_path):
    variables = [
        "hemoglobin",
        "sex",
        "TP53",
        "platelets",
        "karyotype",
        "age",
        "ldh",
        "who_class",
        "diagnosis_date",
    ]
    columns = {
        name: Column(variable, values={"x\ny": "yes", "=": ""} if variable == "TP53" else {})
        for name, variable in zip(NAMES, variables, strict=True)
    }
    columns |= {
        "ort": Column(site=True),
        "note": Column(ignore=True, reason='says "no"\n# and more'),
        "maybe": Column(
            "ferritin", unit="ng/mL", confirmed=False, reason="who\nknows", confidence=0.5
        ),
    }
    mapping = Mapping(
        "mds",
        columns,
        id="Pat \\ Nr",
        decimal=",",
        date_format="%d.%m.%y",
        missing=("-9", '"', "\\"),
        confirmed=False,
    )
    again = Mapping.read(mapping.write(tmp_path / "m.toml"))
    assert again == mapping and again.columns["note"].reason == columns["note"].reason
    assert (
        tomllib.loads((tmp_path / "m.toml").read_text(encoding="utf-8"))["columns"]["maybe"][
            "confirmed"
        ]
        is False
    )
    assert not list(tmp_path.glob(".m.toml*"))


def test_people_read_the_label_and_the_reason(tmp_path):
    text = Mapping(
        "mds", {"Hb": Column("hemoglobin", unit="g/L", reason="the name is known", confidence=0.97)}
    ).as_toml()
    assert (
        "# Hemoglobin, g/dL in the dictionary" in text and "# 97% sure: the name is known" in text
    )


def test_nothing_unconfirmed_is_used():
    mapping = Mapping(
        "mds",
        {
            "a": Column("age", confirmed=False),
            "b": Column("sex"),
            "c": Column("ldh", confirmed=False),
        },
        confirmed=False,
    )
    frame = pd.DataFrame({"a": ["60"], "b": ["m"], "c": ["200"]})
    with pytest.raises(gw.CohortError) as refused:
        mapping.apply(frame)
    assert [problem.column for problem in refused.value.problems] == ["a", "c", None]
    assert mapping.confirm("a").unconfirmed == ["c"] and not mapping.confirm("a").confirmed
    assert mapping.confirm().apply(frame).frame.columns.tolist() == ["age", "sex", "ldh"]
    with pytest.raises(gw.CohortError, match="Did you mean"):
        mapping.confirm("A")


def test_a_mapping_for_other_columns_is_refused():
    with pytest.raises(gw.CohortError, match="Did you mean 'Hb '"):
        Mapping("mds", {"Hb": Column("hemoglobin")}).apply(pd.DataFrame({"Hb ": ["9"]}))
    with pytest.raises(gw.CohortError, match="the id 'Pat'"):
        Mapping("mds", {}, id="Pat").apply(pd.DataFrame({"Hb": ["9"]}))


@pytest.mark.parametrize(
    ("cells", "decimal", "read"),
    [
        (["9,5", "10"], None, [9.5, 10.0]),
        (["9.5", "10"], None, [9.5, 10.0]),
        (["9.5", "x"], ".", [9.5, "x"]),
        (["1.234", "9,5", "8,5"], None, ["1.234", 9.5, 8.5]),
        (["1,234", "2,345"], None, ["1,234", "2,345"]),
        (["1,234", "2,345"], ",", [1.234, 2.345]),
    ],
)
def test_numbers_are_read_under_the_files_decimal_sign(cells, decimal, read):
    found = (
        Mapping("mds", {"x": Column("hemoglobin")}, decimal=decimal)
        .apply(pd.DataFrame({"x": cells}, dtype=object))
        .frame["hemoglobin"]
        .tolist()
    )
    assert found == read


def test_a_thousand_with_a_point_is_not_a_hundred_and_fifty():
    records = Records(
        "f.csv",
        "csv",
        "mds",
        pd.DataFrame({"p": ["150.000", "80,5"]}, dtype=object),
        np.array([2, 3]),
        Mapping("mds", {"p": Column("platelets")}),
    )
    assert [(one.row, one.column) for one in records.problems] == [
        (2, "p")
    ] and "without points between thousands" in records.problems[0].expected


@pytest.mark.parametrize(
    ("cells", "format", "read", "faults"),
    [
        (["03.04.2021", "31.12.2020"], None, ["2021-04-03", "2020-12-31"], 0),
        (["2021-04-03 00:00:00", None], None, ["2021-04-03", None], 0),
        (["04/13/2021", "03/04/2021"], None, ["2021-04-13", "2021-03-04"], 0),
        (["03/04/2021", "05/06/2020"], None, [None, None], 2),
        (["03/04/2021", "05/06/2020"], "MM/DD/YYYY", ["2021-03-04", "2020-05-06"], 0),
        (["31.02.2021", "01.03.2021"], None, [None, "2021-03-01"], 1),
        (["03-Apr-2021", "1-Dec-2020"], None, ["2021-04-03", "2020-12-01"], 0),
        (["44562", "44563"], None, [None, None], 2),
        (["01.01.0021", "02.03.2021"], None, [None, "2021-03-02"], 1),
        (["unbekannt", "20210403"], "%Y%m%d", [None, "2021-04-03"], 0),
    ],
)
def test_dates_are_read_or_pointed_at(cells, format, read, faults):
    records = Records(
        "f.csv",
        "csv",
        "mds",
        pd.DataFrame({"d": cells}, dtype=object),
        np.array([2, 3]),
        Mapping("mds", {"d": Column("diagnosis_date")}, date_format=format),
    )
    found = records.canonical(strict=False).frame["diagnosis_date"]
    assert [None if pd.isna(day) else str(day.date()) for day in found] == read and len(
        records.problems
    ) == faults


def test_an_open_date_follows_the_other_columns():
    frame = pd.DataFrame(
        {"a": ["03/04/2021", "05/06/2020"], "b": ["25/12/2021", "01/02/2022"]}, dtype=object
    )
    records = Records(
        "f.csv",
        "csv",
        "mds",
        frame,
        np.array([2, 3]),
        Mapping("mds", {"a": Column("diagnosis_date"), "b": Column("last_contact_date")}),
    )
    assert records.canonical().frame["diagnosis_date"].dt.month.tolist() == [4, 6]


def test_words_of_the_mapping_come_before_words_for_missing():
    frame = pd.DataFrame(
        {"f": ["none", "MF-2", "k.A."], "t": ["-", "+", "9"], "hb": ["<5", "-9", "8"]}, dtype=object
    )
    mapping = Mapping(
        "mds",
        {
            "f": Column("marrow_fibrosis"),
            "t": Column("TP53", values={"-": "no", "9": ""}),
            "hb": Column("hemoglobin", values={"<5": "4.5"}),
        },
        missing=("-9",),
    )
    found = Records("f.csv", "csv", "mds", frame, np.array([2, 3, 4]), mapping).canonical().frame
    np.testing.assert_array_equal(
        found[["marrow_fibrosis", "TP53", "hemoglobin"]].to_numpy(float),
        [[0, 0, 4.5], [2, 1, np.nan], [np.nan, np.nan, 8]],
    )


def test_a_minus_is_a_no_only_beside_a_plus():
    def records(*cells):
        return Records(
            "f.csv", "csv", "mds", pd.DataFrame({"TP53": cells}, dtype=object), np.array([2, 3])
        )

    assert [(one.row, one.value) for one in records("-", "no").problems] == [(2, "-")] and records(
        "-", "+"
    ).canonical().frame["TP53"].tolist() == [0, 1]


@pytest.mark.parametrize("name", [*EXPORTS, *HELD_OUT, *FRESH])
def test_the_right_mapping_gives_the_patients_back(name):
    "Every export under its right mapping holds the patients it was made of, within what it rounds away."
    made = export(name)
    proposed = gw.suggest_mapping(made.frame, made.disease)
    right = {
        heading: variable
        for heading, variable in made.right.items()
        if proposed.columns[heading].variable == variable and variable in made.patients
    }
    mapping = Mapping(
        made.disease,
        {heading: proposed.columns[heading] for heading in right},
        decimal=proposed.decimal,
        missing=proposed.missing,
    )
    found = (
        Records(name, "frame", made.disease, made.frame, np.arange(2, len(made.frame) + 2), mapping)
        .canonical()
        .frame
    )
    assert len(right) > 7
    book = dictionary(made.disease)
    for variable in right.values():
        truth, seen = made.patients[variable], found[variable].reset_index(drop=True)
        if book[variable].kind in ("number", "count"):
            step = {
                "age": 0.5,
                "platelets": 0.51,
                "ldh": 0.51,
                "ferritin": 0.51,
                "hemoglobin": 0.09,
            }.get(variable, 0.06 if book[variable].unit != "%" else 0.51)
            assert np.nanmax(np.abs(truth.to_numpy(float) - seen.to_numpy(float))) <= step, (
                f"{variable} is off"
            )
            assert (truth.isna() == seen.isna()).all()
        elif book[variable].kind == "date":
            assert (truth.dt.normalize().isna() == seen.isna()).all() and (
                truth.dropna() == seen.dropna()
            ).all()
        else:
            assert (
                truth.astype(object).where(truth.notna(), "?")
                == seen.astype(object).where(seen.notna(), "?")
            ).all(), f"{variable} is another"


def frame_with(**columns):
    return pd.DataFrame(
        {
            name: pd.to_datetime(cells) if name.endswith("date") else cells
            for name, cells in columns.items()
        }
    )


def test_follow_up_runs_from_diagnosis_to_death_or_last_contact():
    frame = frame_with(
        diagnosis_date=["2018-01-01"] * 4,
        last_contact_date=["2020-01-01", "2019-01-01", None, "2021-01-01"],
        death_date=[None, "2019-07-02", None, None],
        death=[0.0, np.nan, np.nan, 1.0],
    )
    filled, notes = with_follow_up(frame)
    np.testing.assert_allclose(
        filled["os_years"], [730 / 365.25, 547 / 365.25, np.nan, 1096 / 365.25]
    )
    np.testing.assert_array_equal(filled["death"], [0, 1, np.nan, 1])
    assert any("unknown day" in note for note in notes)
    given, _ = with_follow_up(frame.assign(os_years=[9.0, np.nan, np.nan, np.nan]))
    assert given["os_years"][0] == 9


@pytest.mark.parametrize(
    ("dates", "at_fault"),
    [
        ({"death_date": ["2017-01-01"]}, "death_date"),
        ({"last_contact_date": ["2017-01-01"]}, "last_contact_date"),
        ({"death_date": ["2019-01-01"], "last_contact_date": ["2020-01-01"]}, "last_contact_date"),
        ({"death_date": ["2019-01-01"], "death": [0.0]}, "death_date"),
    ],
)
def test_dates_that_cannot_all_be_true_are_faults(dates, at_fault):
    assert list(date_contradictions(frame_with(diagnosis_date=["2018-01-01"], **dates))) == [
        at_fault
    ]
    assert not date_contradictions(
        frame_with(
            diagnosis_date=["2018-01-01"],
            last_contact_date=["2018-01-01"],
            death_date=["2018-01-01"],
            death=[1.0],
        )
    )


def test_a_contradiction_names_row_and_column_of_the_file(tmp_path):
    path = tmp_path / "w.csv"
    path.write_text("Pat;Dx;Tod am;Hb\n1;01.02.2020;05.06.2021;9\n2;01.02.2020;05.06.2019;9\n")
    mapping = Mapping(
        "mds",
        {
            "Dx": Column("diagnosis_date"),
            "Tod am": Column("death_date"),
            "Hb": Column("hemoglobin"),
        },
        id="Pat",
    )
    with pytest.raises(gw.CohortError) as refused:
        gw.read_hospital(path, "mds", mapping)
    assert [(one.row, one.column, one.value) for one in refused.value.problems] == [
        (3, "Tod am", "05.06.2019")
    ]


@pytest.mark.parametrize("disease", DISEASES)
def test_default_features_are_known_on_the_day_of_diagnosis(disease):
    from genomed_workbench.intake.records import baseline_features

    book, rng = dictionary(disease), np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            one.name: pd.to_datetime(["2020-01-01", "2021-01-01"])
            if one.kind == "date"
            else ["a", "b"]
            if one.kind in ("text", "level")
            else rng.random(2)
            for one in book
        }
    )
    features, _ = baseline_features(frame, book, gw.Survival("os_years", "death"))
    assert features and all(
        book[name].role == "predictor"
        and book[name].group not in ("outcome", "treatment", "score")
        and not book[name].identifying
        and book[name].kind not in ("text", "date")
        for name in features
    )


def test_outcomes_by_name():
    frame = pd.DataFrame(
        {
            "patient_id": [str(n) for n in range(30)],
            "hemoglobin": [str(6 + n / 5) for n in range(30)],
            "lfs_years": [str(1 + n / 10) for n in range(30)],
            "leukemia_or_death": ["yes", "no"] * 15,
            "aml": ["no", "yes"] * 15,
        },
        dtype=object,
    )
    records = Records("f.csv", "csv", "mds", frame, np.arange(2, 32))
    assert (
        records.cohort("lfs").outcome == gw.Survival("lfs_years", "leukemia_or_death")
        and records.cohort(gw.Binary("aml")).n_events == 15
    )
    with pytest.raises(gw.CohortError, match="Did you mean 'lfs'"):
        records.cohort("lsf")
    with pytest.raises(gw.CohortError, match="no column holds os_years or death"):
        records.cohort("os")
    assert not re.search("lfs|aml", " ".join(records.cohort("lfs", ["hemoglobin"]).features))


def test_the_widget_saves_what_a_person_decided(tmp_path):
    made = export("Spain")
    form = gw.confirm_mapping(gw.suggest_mapping(made.frame, "mds"), tmp_path / "m.toml")
    form.save.click()
    assert (
        "still to be checked" in form.said.value and Mapping.read(tmp_path / "m.toml").unconfirmed
    )
    form.yes_to_sure.click()
    form.rows["Hb (g/dl)"].meaning.value = "ignore"
    form.rows["Sexo"].words.value = "H = male, M = femle"
    form.rows["Sexo"].yes.value = True
    form.save.click()
    assert "Did you mean &#x27;female&#x27;" in form.said.value and "gwb-error" in form.said.value
    form.rows["Sexo"].words.value = "H = male, M = female"
    form.save.click()
    saved = Mapping.read(tmp_path / "m.toml")
    assert (
        saved.confirmed
        and saved.columns["Hb (g/dl)"].ignore
        and saved.columns["Sexo"].values == {"H": "male", "M": "female"}
    )
    other = gw.confirm_mapping(gw.suggest_mapping(made.frame, "mds"), tmp_path / "m.toml")
    other.save.click()
    assert "such a file already" in other.said.value and Mapping.read(tmp_path / "m.toml") == saved


def test_the_widget_shows_no_patient():
    made = export("Germany")
    form = gw.confirm_mapping(gw.suggest_mapping(made.frame, "mds"))
    shown = " ".join(row.told.value for row in form.rows.values())
    secret = [
        cell
        for heading in ("Pat-Nr.", "Nachname", "Vorname", "Geb.-Datum", "Bemerkung", "Datum ED")
        for cell in made.frame[heading].dropna().unique()
    ]
    assert not [cell for cell in secret if str(cell) in shown]
    assert all(
        control.description
        for row in form.rows.values()
        for control in (row.meaning, row.unit, row.words, row.yes)
    ) and all(row.meaning.tooltip for row in form.rows.values())


def test_only_controls_that_mean_something_are_shown():
    made = export("Germany")
    rows = gw.confirm_mapping(gw.suggest_mapping(made.frame, "mds")).rows

    def shown(heading):
        row = rows[heading]
        return [
            control.layout.display != "none"
            for control in (row.meaning, row.unit, row.words, row.yes)
        ]

    assert (
        shown("Hb (g/l)") == [True, True, False, True]
        and shown("Geschlecht") == [True, False, True, True]
        and shown("Datum ED") == [True, False, False, True]
        and shown("Nachname") == [True, False, False, False]
    )
    rows["Nachname"].meaning.value = "variable platelets"
    assert shown("Nachname") == [True, True, False, True] and not rows["Nachname"].yes.value
    rows["Hb (g/l)"].yes.value = True
    rows["Hb (g/l)"].meaning.value = "variable platelets"
    assert not rows["Hb (g/l)"].yes.value and "g/l" not in rows["Hb (g/l)"].unit.options


# numbers as exports write them


def test_numbers_carry_their_units_and_the_notes_say_so():
    "The oracle is the number written, in the unit written: 98 g/l is 9.8 g/dL."
    frame = pd.DataFrame(
        {"Hb": ["98 g/l", "9.8 g/dL", "9.8"], "PLT": ["217 G/l", "45000 /\u00b5l", "30"]},
        dtype=object,
    )
    found = Mapping("mds", {"Hb": Column("hemoglobin"), "PLT": Column("platelets")}).apply(frame)
    assert found.frame["hemoglobin"].tolist() == pytest.approx([9.8, 9.8, 9.8])
    assert found.frame["platelets"].tolist() == pytest.approx([217, 45, 30])
    assert (
        "Hb: 2 cells give their own unit (g/l, g/dL) and are read in it; 1 give none"
        in " ".join(found.notes)
    )
    stated = Mapping("mds", {"Hb": Column("hemoglobin", unit="g/L")}).apply(frame[["Hb"]])
    assert stated.frame["hemoglobin"].tolist() == pytest.approx([98, 98, 9.8])


@pytest.mark.parametrize(("decimal", "other"), [(".", ","), (",", ".")])
def test_the_file_tells_thousands_from_decimals(decimal, other):
    frame = pd.DataFrame(
        {
            "Hb": [text.replace(".", decimal) for text in ("9.8", "10.1", "7.6", "8")],
            "PLT": [f"{n}{other}000" for n in (217, 45, 28)] + ["912"],
        },
        dtype=object,
    )
    columns = {"Hb": Column("hemoglobin"), "PLT": Column("platelets", unit="cells/uL")}
    found = Mapping("mds", columns).apply(frame)
    assert found.frame["platelets"].tolist() == [217000, 45000, 28000, 912]
    assert "between thousands" in " ".join(found.notes) and not found.problems
    alone = Mapping("mds", {"PLT": columns["PLT"]}).apply(frame[["PLT"]])
    assert alone.two_ways == ("platelets",)
    told = Mapping("mds", {"PLT": columns["PLT"]}, decimal=decimal).apply(frame[["PLT"]])
    assert told.frame["platelets"].tolist() == [217000, 45000, 28000, 912] and not told.two_ways


def test_a_question_mark_waits_for_a_person_and_is_never_used(tmp_path):
    meant = Column("death", values={"0": "?", "1": "?", "2": "?"}, confirmed=False)
    path = Mapping("mds", {"status": meant}, confirmed=False).write(tmp_path / "m.toml")
    waits = Mapping.read(path)
    frame = pd.DataFrame({"status": ["0", "1", "2"]}, dtype=object)
    assert waits.apply(frame, unconfirmed=True).frame["death"].isna().all()
    with pytest.raises(gw.CohortError, match="not confirmed"):
        waits.apply(frame)
    with pytest.raises(gw.CohortError, match="Only whoever made the file knows"):
        waits.confirm().apply(frame)


def test_the_widget_keeps_what_waits_for_a_person_waiting(tmp_path):
    frame = pd.DataFrame({"Pat": range(40), "Platelets": ["many", "few"] * 20})
    form = gw.confirm_mapping(gw.suggest_mapping(frame, "mds"), tmp_path / "m.toml")
    assert form.mapping.unconfirmed == ["Platelets"] and not form.mapping.confirmed
    form.rows["Platelets"].yes.value = True
    assert form.mapping.confirmed and form.mapping.columns["Platelets"].ignore
