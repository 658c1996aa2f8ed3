"""Patients on several rows: of the baseline the earliest counts, of the outcome the latest, and it is said.

Oracles: the made-up patients behind a file (`longitudinal.py`), and plain loops over the rows.
"""

import json
import re

import longitudinal
import numpy as np
import pandas as pd
import pytest
from conftest import training_table
from lifelines import CoxPHFitter
from typer.testing import CliRunner

import genomed_workbench as gw
from genomed_workbench.cli.app import app
from genomed_workbench.data.visits import (
    Answer,
    Visits,
    number_patients,
    one_row_each,
    order_columns,
    time_order,
)
from genomed_workbench.intake.identifiers import names_a_person, names_a_specimen
from genomed_workbench.intake.mapping import Column

pytestmark = pytest.mark.filterwarnings("ignore::genomed_workbench.CohortWarning")


def said(found) -> str:
    "What a check tells about patients on several rows."
    return " ".join(one.what for one in found.all_findings if one.kind == "several-rows")


# the rules


@pytest.mark.parametrize("seed", range(5))
def test_each_column_follows_its_rule(seed):
    "Against a loop over the rows of each patient, on random rows with empty cells."
    rng = np.random.default_rng(seed)
    n = 300
    day = rng.permutation(n)
    cells = pd.DataFrame(
        {
            "id": rng.integers(0, 80, n).astype(str),
            "hb": rng.choice(["8", "9", "10", None], n),
            "sex": rng.choice(["m", "f", None, None], n),
            "dead": rng.choice(["0", "1", None], n, p=[0.8, 0.1, 0.1]),
            "seen": [str(100 + d) if d % 7 else None for d in day],
        },
        dtype=object,
    )
    dead = cells["dead"].astype(float).to_numpy()
    seen = cells["seen"].astype(float).to_numpy()
    visits = Visits(cells, np.arange(2, n + 2), number_patients(cells["id"]), day, "day")
    rules = {
        "hb": Answer(),
        "sex": Answer("anywhere"),
        "dead": Answer("event", dead),
        "seen": Answer("latest", seen, "dead"),
    }
    found = one_row_each(visits, rules)
    for number, who in enumerate(dict.fromkeys(cells["id"])):
        mine = cells[cells["id"] == who].assign(day=day[cells["id"] == who]).sort_values("day")
        row = found.raw.iloc[number]
        known = mine.dropna(subset="dead")
        yes = known[known["dead"] == "1"]
        expected = {
            "hb": mine["hb"].iloc[0],
            "sex": next(iter(mine["sex"].dropna()), None),
            "dead": "1" if len(yes) else next(iter(known["dead"][::-1]), None),
            "seen": next(iter(yes["seen"].dropna()), None)
            or (mine["seen"].dropna().astype(float).max() if mine["seen"].notna().any() else None),
        }
        for name, value in expected.items():
            if value is None:
                assert pd.isna(row[name]), (who, name)
            else:
                assert row[name] == (str(int(value)) if name == "seen" else value), (who, name)
        for name, (_, rows) in found.places.items():
            cell = cells[name].iloc[rows[number] - 2]
            assert pd.isna(row[name]) or cell == row[name], "the row named is that of the cell"


@pytest.mark.parametrize(
    ("cells", "order"),
    [
        (["10", "2", None], [10, 2, np.nan]),
        (["2020-03-01", "2020-02-29"], [18322, 18321]),
        (["Relapse", "Initial Diagnosis", "Unknown", "Remission"], [4, 0, 1, 3]),
        (["Relapsed after diagnosis", "At diagnosis"], [4, 0]),
        (["Visit 10", "Baseline", "Visit 2"], [10, 0, 2]),
        (["followup_2", "followup_11", "baseline"], None),
        (["01/02/2020", "03/04/2020"], None),
        (["month_6_arm_2", "baseline_arm_2", "month_12_arm_2"], [6, 0, 12]),
        (["Month 6 (Arm 1: Main)", "Baseline (Arm 1: Main)"], [6, 0]),
        (["blood", "marrow"], None),
    ],
)
def test_what_tells_an_order(cells, order):
    "Days since 1970 by hand; day and month that cannot be told apart tell no order."
    found = time_order(pd.Series(cells, dtype=object))
    if cells[0] == "followup_2":
        assert found is not None and found[2] < found[0], "a baseline comes first"
    elif order is None:
        assert found is None
    else:
        np.testing.assert_array_equal(found, order)


def test_a_stage_comes_before_days_and_ids_tell_nothing():
    frame = pd.DataFrame(
        {
            "PATIENT_ID": ["a", "a", "b"],
            "SAMPLE_ID": ["a2", "a1", "b1"],
            "DAYS": ["9", "0", "0"],
            "OS_MONTHS": ["1", "2", "3"],
            "AGE": ["50", "51", "60"],
            "DISEASE_STAGE": ["Relapse", "Diagnosis", "Diagnosis"],
        }
    )
    assert order_columns(frame, number_patients(frame["PATIENT_ID"])) == ["DISEASE_STAGE", "DAYS"]


def test_an_event_orders_nothing():
    "A yes or no, an outcome, and the state at each visit come after the date of the visit."
    frame = pd.DataFrame(
        {
            "id": list("aaabbbcc"),
            "event": list("00100001"),
            "disease_status": ["Diagnosis", "Remission", "Remission"] * 2
            + ["Diagnosis", "Relapse"],
            "visit_date": [f"2015-0{n}-01" for n in (1, 2, 3, 1, 2, 3, 1, 2)],
        }
    )
    assert order_columns(frame, number_patients(frame["id"])) == ["visit_date", "disease_status"]


# REDCap


def redcap(folder, rows, vital='"0, Alive | 1, Dead"', label="Death", head=None):
    "A small project: header and rows, and its data dictionary."
    book = longitudinal.BOOK.replace('Death,"0, Alive | 1, Dead | 9, Unknown"', f"{label},{vital}")
    head = head or "record_id,redcap_event_name,redcap_repeat_instance,hb,dx_date,fu_date,vital"
    (folder / "DATA.csv").write_text("\n".join([head, *rows]) + "\n")
    (folder / "DataDictionary.csv").write_text(book)
    return folder


def test_the_outcome_is_the_latest_answer(tmp_path):
    "20 of 30 patients die at their last of several visits; the years of each by hand."
    rows, dead = [], 0
    for number in range(1, 31):
        rows.append(f"{number},baseline_arm_1,,{8 + number / 10},2015-01-01,,")
        visits = 1 + number % 4
        for visit in range(1, visits + 1):
            gone = int(visit == visits and number % 3 > 0)
            rows.append(f"{number},followup_arm_1,{visit},,,{2015 + visit}-01-01,{gone}")
        dead += number % 3 > 0
    records = gw.read_records(redcap(tmp_path, rows), "mds")
    cohort = records.cohort()
    assert dead == cohort.n_events == 20 and cohort.n == 30
    days = [
        (pd.Timestamp(f"{2016 + n % 4}-01-01") - pd.Timestamp("2015-01-01")).days
        for n in range(1, 31)
    ]
    np.testing.assert_allclose(cohort.time, np.array(days) / 365.25)
    found = gw.check_readiness(records)
    assert "30 of 30 patients stand on several rows" in said(found)
    assert "the latest for fu_date, vital" in said(found)
    with pytest.warns(gw.CohortWarning, match="30 of 30 patients"):
        gw.read_hospital(tmp_path, "mds")


def test_dead_once_is_dead_and_the_contradiction_is_pointed_out(tmp_path):
    rows = [
        "1,baseline_arm_1,,9,2015-01-01,,",
        "1,followup_arm_1,1,,,2016-01-01,1",
        "1,followup_arm_1,2,,,2018-01-01,0",
    ]
    records = gw.read_records(redcap(tmp_path, rows), "mds")
    one = records.canonical().frame.iloc[0]
    assert one["death"] == 1 and one["last_contact_date"] == pd.Timestamp("2016-01-01")
    told = [one for one in gw.check_readiness(records).all_findings if one.kind == "several-rows"]
    assert [one.severity for one in told] == ["mend", "look"] and told[0].column == "vital"


def test_visits_entered_in_another_order_do_not_shorten_the_follow_up(tmp_path):
    rows = [
        "1,baseline_arm_1,,9,2015-01-01,,",
        "1,followup_arm_1,1,,,2019-01-01,0",
        "1,followup_arm_1,2,,,2016-01-01,0",
    ]
    found = gw.read_records(redcap(tmp_path, rows), "mds").canonical().frame
    assert found["last_contact_date"].iloc[0] == pd.Timestamp("2019-01-01")


def test_what_cannot_change_is_pointed_out(tmp_path):
    rows = [
        "1,baseline_arm_1,,9,2015-01-01,,",
        "1,followup_arm_1,1,,2015-06-01,2016-01-01,0",
    ]
    found = gw.check_readiness(gw.read_records(redcap(tmp_path, rows), "mds")).all_findings
    told = [one for one in found if one.kind == "several-rows" and one.severity == "mend"]
    assert [one.column for one in told] == ["dx_date"] and "should not change" in told[0].what


def test_not_known_is_no_answer(tmp_path):
    "9, Unknown at the last visit does not undo what was known before: alive, and dead where any form said so."
    vital = '"0, Alive | 1, Dead | 9, Unknown"'
    rows = [
        "1,baseline_arm_1,,9,2015-01-01,,",
        "1,followup_arm_1,1,,,2016-01-01,0",
        "1,followup_arm_1,2,,,2017-01-01,9",
        "2,baseline_arm_1,,8,2015-01-01,,",
        "2,followup_arm_1,1,,,2016-01-01,1",
        "2,followup_arm_1,2,,,2017-01-01,9",
    ]
    found = gw.read_records(redcap(tmp_path, rows, vital), "mds").canonical().frame
    assert found["death"].tolist() == [0, 1]


def test_a_later_laboratory_is_no_baseline(tmp_path):
    "Patient 2 has no hemoglobin at the diagnosis: it stays empty, and is counted."
    rows = [
        line
        for n in range(1, 21)
        for line in (
            f"{n},baseline_arm_1,,{'' if n == 2 else 9},2015-01-01,,",
            f"{n},year1_arm_1,,12,,2016-01-01,0",
        )
    ]
    records = gw.read_records(redcap(tmp_path, rows), "mds")
    hb = records.canonical().frame["hemoglobin"]
    assert hb.isna().tolist() == [n == 1 for n in range(20)] and (hb.dropna() == 9).all()
    assert "left empty: hb (1 patient)" in said(gw.check_readiness(records))


def test_repeated_forms_without_events_and_arms(tmp_path):
    "A project without events: a value of any form counts. With arms: each arm has its own beginning."
    head = "record_id,redcap_repeat_instrument,redcap_repeat_instance,hb,dx_date,fu_date,vital"
    rows = ["1,,,,2015-01-01,,", "1,labs,1,9.5,,,", "1,labs,2,11,,,", "1,fu,1,,,2016-01-01,0"]
    (tmp_path / "a").mkdir()
    found = gw.read_records(redcap(tmp_path / "a", rows, head=head), "mds").canonical().frame
    assert found["hemoglobin"].tolist() == [9.5] and found["death"].tolist() == [0]
    rows = [
        line
        for n in range(1, 11)
        for line in (
            f"{n},start_arm_{1 + n % 2},,{'' if n % 2 else 9},2015-01-01,,",
            f"{n},cycle_arm_{1 + n % 2},,{10 if n % 2 else 14},,2016-01-01,0",
        )
    ]
    (tmp_path / "b").mkdir()
    found = gw.read_records(redcap(tmp_path / "b", rows), "mds").canonical().frame
    assert found["hemoglobin"].tolist() == [10, 9] * 5


def test_the_choice_follows_the_mapping_of_a_person(tmp_path):
    "The form calls the question in words that the dictionary does not know; a person says that it is death."
    rows = [
        "1,baseline_arm_1,,9,2015-01-01,,",
        "1,followup_arm_1,1,,,2016-01-01,0",
        "1,followup_arm_1,2,,,2017-01-01,1",
    ]
    records = gw.read_records(redcap(tmp_path, rows, label='"Zzz at the visit"'), "mds")
    assert "vital" not in records.mapping.columns
    columns = records.mapping.columns | {"vital": Column("death")}
    mapping = gw.Mapping("mds", columns, id="record_id", decimal=".")
    assert records.mapped(mapping).canonical().frame["death"].tolist() == [1]


@pytest.mark.parametrize(
    ("vital", "death"),
    [
        ('"1, Alive | 2, Dead"', [0, 1]),
        ('"1, Dead | 2, Alive"', [1, 0]),
        ('"1, Alive | 2, Lost to follow-up"', None),
    ],
)
def test_codes_of_a_form_mean_what_the_form_says(vital, death, tmp_path):
    "1 is not yes where the form says that 1 is alive; with an answer that is neither, a person is asked."
    rows = ["1,,,9,2015-01-01,2016-01-01,1", "2,,,9,2015-01-01,2016-01-01,2"]
    records = gw.read_records(redcap(tmp_path, rows, vital), "mds")
    if death is None:
        assert "vital" not in records.mapping.columns
    else:
        assert records.canonical().frame["death"].tolist() == death


@pytest.mark.parametrize("groups", [True, False])
def test_a_data_access_group_is_the_hospital(groups, tmp_path):
    head = "record_id,redcap_data_access_group,hb,dx_date,fu_date,vital"
    rows = [
        f"{n},{('north', 'south')[n % 2] if groups else ''},{8 + n / 10},2015-01-01,2016-01-0{1 + n % 9},{n % 3 // 2}"
        for n in range(1, 31)
    ]
    redcap(tmp_path, rows, head=head)
    column = gw.suggest_mapping(tmp_path, "mds").columns["redcap_data_access_group"]
    assert column.site == groups and column.ignore != groups
    cohort = gw.read_hospital(tmp_path, "mds")
    assert (cohort.site is not None) == groups
    assert not groups or cohort.frame[cohort.site].value_counts().to_dict() == {
        "north": 15,
        "south": 15,
    }


def test_the_row_of_a_cell_is_that_of_its_visit(tmp_path):
    rows = [
        "1,baseline_arm_1,,9,2015-01-01,,",
        "1,followup_arm_1,1,,,2016-01-01,0",
        "2,baseline_arm_1,,9,2015-01-01,,",
        "2,followup_arm_1,1,,,2016-01-01,0",
        "2,followup_arm_1,2,,,2014-01-01,1",
    ]
    records = gw.read_records(redcap(tmp_path, rows), "mds")
    with pytest.raises(gw.CohortError, match=r"row 6, column 'fu_date'"):
        records.cohort()
    found = gw.check_readiness(records).findings
    assert (
        "6 of DATA.csv" in found.loc[found["kind"] == "contact-before-diagnosis", "rows"].tolist()
    )


def test_a_person_may_order_the_rows_of_an_event(tmp_path):
    "Two laboratories at the baseline, the second taken first: the date of the laboratory orders them."
    head = "record_id,redcap_event_name,redcap_repeat_instance,hb,lab_date,dx_date,fu_date,vital"
    rows = [
        "1,baseline_arm_1,1,11,2015-01-09,,,",
        "1,baseline_arm_1,2,8,2015-01-02,,,",
        "1,baseline_arm_1,,,,2015-01-01,,",
        "1,followup_arm_1,1,14,2014-12-01,,2016-01-01,0",
    ]
    records = gw.read_records(redcap(tmp_path, rows, head=head), "mds")
    assert records.canonical().frame["hemoglobin"].tolist() == [11]
    mapping = gw.Mapping("mds", records.mapping.columns, id="record_id", visits="lab_date")
    again = records.mapped(mapping)
    assert (
        again.canonical().frame["hemoglobin"].tolist() == [8]
        and "lab_date" in again.choices[0].found
    )


# a portal's table


def portal(
    path, lines, names="Study ID\tPatient ID\tSample ID\tAge\tNPM1\tOverall Survival (Months)\tDead"
):
    path.write_text("\n".join([names, *lines]) + "\n")
    return path


def agreeing(n=40):
    "A sample or two of each patient that say the same."
    return [
        f"demo\tQ{p:02d}\tQ{p:02d}_{s}\t{40 + p}\t{'Positive' if p % 3 else 'Negative'}\t{3 + p}\t{p % 2}"
        for p in range(n)
        for s in ("ab" if p % 3 == 0 else "a")
    ]


def test_the_patient_is_the_person_and_not_the_sample(tmp_path):
    "54 samples of 40 patients; each patient is read once, and it is said."
    path = portal(tmp_path / "clinical.tsv", agreeing())
    proposed = gw.suggest_mapping(path, "aml")
    assert (
        proposed.id == "Patient ID"
        and "14 of 40 patients stand on several rows (54 rows)" in proposed.told[0]
    )
    found = gw.check_readiness(path, "aml", proposed.mapping("all"))
    assert found.n == 40 and "14 of 40 patients" in said(found)
    assert gw.read_hospital(path, "aml", proposed.mapping("all")).n == 40


def test_an_ignored_patient_id_that_repeats_is_pointed_out(tmp_path):
    path = portal(tmp_path / "clinical.tsv", agreeing())
    columns = gw.suggest_mapping(path, "aml").mapping("all").columns
    columns = {name: one for name, one in columns.items() if name != "Sample ID"}
    mapping = gw.Mapping("aml", columns | {"Patient ID": Column(ignore=True)}, id="Sample ID")
    found = gw.check_readiness(path, "aml", mapping)
    stop = [one for one in found.all_findings if one.kind == "duplicate-id" and one.rows]
    assert [(one.severity, one.column) for one in stop] == [("stop", "Patient ID")]
    assert 'id = "Patient ID"' in stop[0].mend and len(stop[0].rows) == 28


def test_rows_that_differ_are_asked_about(tmp_path):
    "Never the first line in silence: the check stops, the reader refuses, both name the column to say."
    lines = agreeing()
    lines[1] = lines[1].replace("Negative", "Positive")
    path = portal(tmp_path / "clinical.tsv", lines)
    mapping = gw.suggest_mapping(path, "aml").mapping("all")
    stop = [
        o for o in gw.check_readiness(path, "aml", mapping).all_findings if o.kind == "duplicate-id"
    ]
    assert (
        stop[0].severity == "stop"
        and "differ in NPM1" in stop[0].what
        and "visits =" in stop[0].mend
    )
    with pytest.raises(gw.CohortError, match=r"14 patients stand on several rows.*NPM1.*visits ="):
        gw.read_hospital(path, "aml", mapping)


def test_a_redcap_table_without_its_dictionary_is_asked_about(tmp_path):
    "Its record_id repeats and is the patient; the events are proposed as the order where they tell one."
    truth = longitudinal.redcap_project(tmp_path)
    frame = pd.read_csv(next(tmp_path.glob("MDS_DATA*")), dtype=str)
    proposed = gw.suggest_mapping(frame, "mds")
    assert proposed.id == "record_id" and proposed.visits is None
    assert f"{len(truth)} of {len(truth)} patients stand on several rows" in proposed.told[0]
    assert 'visits = "COLUMN"' in proposed.told[0]
    frame = frame[~frame["redcap_event_name"].str.startswith("visit")]
    assert gw.suggest_mapping(frame, "mds").visits == "redcap_event_name"


def test_an_id_of_samples_alone_is_doubted(tmp_path):
    path = portal(tmp_path / "clinical.tsv", agreeing())
    frame = pd.read_csv(path, sep="\t", dtype=str).drop(columns="Patient ID")
    proposed = gw.suggest_mapping(frame, "aml")
    assert proposed.id == "Sample ID" and "names a sample" in proposed.told[0]
    found = gw.check_readiness(frame, "aml", proposed.mapping("all"))
    assert "names a sample or a visit" in next(
        o.what for o in found.all_findings if o.kind == "duplicate-id"
    )


def test_a_line_that_was_pasted_twice_still_stops(tmp_path):
    "Rows that nothing tells apart are no samples: a slip, which is put right in the file."
    lines = agreeing()
    path = portal(tmp_path / "clinical.tsv", [*lines, lines[2]])
    mapping = gw.suggest_mapping(path, "aml").mapping("all")
    stop = [
        o for o in gw.check_readiness(path, "aml", mapping).all_findings if o.severity == "stop"
    ]
    assert stop[0].kind == "duplicate-id" and "say the same" in stop[0].what
    with pytest.raises(gw.CohortError, match="stand on several rows"):
        gw.read_hospital(path, "aml", mapping)


@pytest.mark.parametrize(
    ("name", "person", "specimen"),
    [
        ("Patient ID", True, False),
        ("PATIENT_ID", True, False),
        ("PatientID", True, False),
        ("Pat.-Nr.", True, False),
        ("codice paziente", True, False),
        ("Subject", True, False),
        ("Sample ID", False, True),
        ("Tumor_Sample_Barcode", False, True),
        ("Visit number", False, True),
        ("Study ID", False, False),
        ("patient age", False, False),
        ("id", False, False),
    ],
)
def test_whose_id_a_column_names(name, person, specimen):
    assert (names_a_person(name), names_a_specimen(name)) == (person, specimen)


# a table of visits


def ward(path, order="visit", values=("2016-05-01", "2015-01-01", "2017-08-01")):
    "Two patients; the rows of the first stand out of order."
    a, b, c = values
    path.write_text(
        f"patient_id,{order},sex,hb,diagnosis_date,last_contact_date,death\n"
        f"A,{a},m,11,2015-01-01,2016-05-01,0\nA,{b},m,8.5,2015-01-01,2015-01-01,0\n"
        f"A,{c},m,12,2015-01-01,2017-08-01,1\nB,{b},f,9,2015-02-01,2018-01-01,0\n"
    )
    return path


def of_visits(path, order):
    "The proposal, confirmed, with the column that orders the visits."
    mapping = gw.suggest_mapping(path, "mds").mapping("all")
    return gw.Mapping("mds", mapping.columns, id="patient_id", visits=order)


@pytest.mark.parametrize(
    "values",
    [
        ("2016-05-01", "2015-01-01", "2017-08-01"),
        ("2", "1", "3"),
        ("Visit 2", "Baseline", "Visit 3"),
    ],
)
def test_a_table_of_visits_is_read_in_their_order(values, tmp_path):
    path = ward(tmp_path / "w.csv", values=values)
    assert gw.suggest_mapping(path, "mds").visits == "visit"
    found = gw.read_records(path, "mds", mapping=of_visits(path, "visit")).canonical().frame
    assert found["hemoglobin"].tolist() == [8.5, 9] and found["death"].tolist() == [1, 0]
    assert found["last_contact_date"].iloc[0] == pd.Timestamp("2017-08-01")


def test_the_line_is_kept_in_the_mapping_file(tmp_path):
    path = ward(tmp_path / "w.csv")
    mapping = of_visits(path, "visit")
    assert gw.Mapping.read(mapping.write(tmp_path / "m.toml")) == mapping
    with pytest.raises(gw.CohortError, match="the column of visits 'when' is not in the file"):
        gw.read_records(path, "mds", mapping=of_visits(path, "when")).canonical()
    found = gw.check_readiness(path, "mds", of_visits(path, "when"))
    assert "names 'when' as the order of visits" in str(found.all_findings[0])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("", "2015-01-01", "2017-08-01"), r"row 2, column 'visit': found an empty cell"),
        (("north", "south", "west"), r"column 'visit': its cells tell no order"),
        (("01/02/2016", "02/01/2015", "03/04/2017"), r"column 'visit': its cells tell no order"),
    ],
)
def test_an_order_that_cannot_be_known_is_refused(values, message, tmp_path):
    path = ward(tmp_path / "w.csv", values=values)
    with pytest.raises(gw.CohortError, match=message):
        gw.read_records(path, "mds", mapping=of_visits(path, "visit"))


def test_a_score_says_which_row_it_read(tmp_path):
    path = tmp_path / "w.csv"
    rows = ["A,2,11,90,1,2,good", "A,1,7,40,0.5,12,poor", "B,1,9,60,1,4,good"]
    path.write_text(
        "patient_id,visit,hemoglobin,platelets,neutrophils,marrow_blasts,cytogenetic_risk\n"
        + "\n".join(rows)
        + "\n"
    )
    table = gw.score(path, "ipss-r", mapping=of_visits(path, "visit"))
    assert table.index.tolist() == ["A", "B"] and table["score"].iloc[0] == 3 + 3 + 1.5 + 1 + 0.5
    assert any("1 of 2 patients stand on several rows" in note for note in table.attrs["notes"])


# a study folder


def study(
    folder, samples, patients=None, names=("data_clinical_patient.txt", "data_clinical_sample.txt")
):
    "A study of thirty patients with the samples given as rows below a header."
    patients = patients or [
        "PATIENT_ID\tSEX\tAGE\tOS_STATUS\tOS_MONTHS",
        *(f"P{n}\tFemale\t{40 + n % 7}\t{n % 2}:X\t{5 + n * 7 % 11}" for n in range(30)),
    ]
    for name, lines in zip(names, (patients, samples), strict=True):
        head = [f"#{lines[0]}"] * 2 + ["#STRING", "#1"]
        (folder / name).write_text("\n".join([*head, *lines]) + "\n")
    return folder


def relapse_first(*columns):
    "A sample of the diagnosis of everybody, and above it a relapse of every third patient."
    rows = []
    for n in range(30):
        for kind in "RD" if n % 3 == 0 else "D":
            cells = {
                "DISEASE_STAGE": {"R": "Relapse", "D": "Initial Diagnosis"}[kind],
                "DAYS_SINCE_DIAGNOSIS": {"R": "900", "D": "0"}[kind],
            }
            karyotype = {"R": "45,XX,-7[20]", "D": "46,XX[20]"}[kind]
            rows.append(
                "\t".join([f"P{n}", f"P{n}-{kind}", karyotype, *(cells[c] for c in columns)])
            )
    return ["\t".join(["PATIENT_ID", "SAMPLE_ID", "KARYOTYPE", *columns]), *rows]


@pytest.mark.parametrize(
    "columns",
    [("DISEASE_STAGE",), ("DAYS_SINCE_DIAGNOSIS",), ("DISEASE_STAGE", "DAYS_SINCE_DIAGNOSIS"), ()],
)
def test_a_relapse_never_comes_before_the_diagnosis(columns, tmp_path):
    "Where nothing tells the order the first is read, and the check asks."
    records = gw.read_records(study(tmp_path, relapse_first(*columns)), "aml")
    found = records.canonical().frame["karyotype"]
    assert (found == "46,XX[20]").sum() == (30 if columns else 20)
    finding = next(o for o in gw.check_readiness(records).all_findings if o.kind == "several-rows")
    if columns:
        assert finding.severity == "look" and " and ".join(columns) in finding.what
    else:
        assert finding.severity == "mend" and "visits =" in finding.mend
        assert "no column tells the order of the samples" in finding.what


def test_a_patient_with_a_relapse_only_is_pointed_out(tmp_path):
    "Their earliest sample is no diagnosis: two patients, counted."
    lines = relapse_first("DISEASE_STAGE")
    lines = [line for line in lines if line.split("\t")[1] not in ("P0-D", "P3-D")]
    found = gw.check_readiness(study(tmp_path, lines), "aml")
    told = [
        one for one in found.all_findings if one.kind == "several-rows" and one.severity == "mend"
    ]
    assert len(told) == 1 and told[0].what.startswith("2 patients have no row of the diagnosis")


def test_a_person_may_name_the_order_of_the_samples(tmp_path):
    lines = relapse_first()
    rank = [f"{line}\t{2 if line.split(chr(9))[1].endswith('R') else 1}" for line in lines[1:]]
    records = gw.read_records(study(tmp_path, [f"{lines[0]}\tLFDNR", *rank]), "aml")
    assert (records.raw["KARYOTYPE"] == "46,XX[20]").sum() == 20
    mapping = gw.Mapping("aml", records.mapping.columns, id="PATIENT_ID", visits="LFDNR")
    assert (records.mapped(mapping).raw["KARYOTYPE"] == "46,XX[20]").all()


def test_the_names_of_files_are_those_of_the_meta_files(tmp_path):
    "cBioPortal leaves the names of files free; meta_*.txt tell them."
    study(tmp_path, relapse_first("DISEASE_STAGE"), names=("people.txt", "tubes.txt"))
    for name, kind, file in (("p", "PATIENT", "people.txt"), ("s", "SAMPLE", "tubes.txt")):
        (tmp_path / f"meta_{name}.txt").write_text(
            f"genetic_alteration_type: CLINICAL\ndatatype: {kind}_ATTRIBUTES\ndata_filename: {file}\n"
        )
    assert gw.read_records(tmp_path, "aml").n == 30
    meta = tmp_path / "meta_s.txt"
    meta.write_text(meta.read_text().replace("tubes.txt", "lost.txt"))
    with pytest.raises(
        gw.CohortError, match=r"meta_s.txt.*names 'lost.txt', and the folder has no such file"
    ):
        gw.read_records(tmp_path, "aml")
    meta.write_text(meta.read_text().replace("lost.txt", "../tubes.txt"))
    with pytest.raises(gw.CohortError, match="outside the folder"):
        gw.read_records(tmp_path, "aml")


def test_a_cell_is_named_with_its_file_and_line(tmp_path):
    "Patients and samples stand in opposite order: the cell is on line 31 of the table of samples."
    samples = [
        "PATIENT_ID\tSAMPLE_ID\tHEMOGLOBIN",
        *(f"P{n}\tS{n}\t{'none seen' if n == 4 else 9}" for n in range(29, -1, -1)),
    ]
    study(tmp_path, samples)
    assert (tmp_path / "data_clinical_sample.txt").read_text().split("\n")[30].endswith("none seen")
    records = gw.read_records(tmp_path, "aml")
    with pytest.raises(
        gw.CohortError, match=r"data_clinical_sample.txt, row 31, column 'HEMOGLOBIN'"
    ):
        records.cohort()
    found = gw.check_readiness(tmp_path, "aml")
    cell = next(one for one in found.all_findings if one.column == "HEMOGLOBIN")
    assert cell.place == "column 'HEMOGLOBIN', row 31 of data_clinical_sample.txt"
    assert f"genomed check {tmp_path} --disease aml" in found.steps[-1]
    assert found.file == tmp_path.name and "row 31 of" not in str(found.share)


def test_a_patient_twice_in_the_table_of_patients_is_refused(tmp_path):
    patients = ["PATIENT_ID\tSEX", "P1\tFemale", "P1\tMale"]
    study(tmp_path, ["PATIENT_ID\tSAMPLE_ID", "P1\tS1"], patients)
    with pytest.raises(gw.CohortError, match=r"stands above already \(rows 7\)"):
        gw.read_records(tmp_path, "aml")


# from the file of a project to a federated run


def decisions(folder, name, tmp_path) -> tuple[list[str], gw.Mapping]:
    "What a person is asked on the way from a file to a mapping that the check lets pass, in words."
    run, source, out = (
        CliRunner(),
        str(folder if name is None else folder / name),
        tmp_path / "m.toml",
    )
    shown = run.invoke(app, ["map", source, "--disease", "mds", "--out", str(out)])
    assert shown.exit_code == 0, shown.output
    asked = [line for line in shown.output.splitlines() if line.startswith("look at")]
    asked += [line for line in shown.output.splitlines() if "is proposed to order them" in line]
    asked.append(
        next(line for line in shown.output.splitlines() if "before a person says yes" in line)
    )
    out.write_text(re.sub(r"^confirmed = false.*$", "", out.read_text(), flags=re.MULTILINE))
    checked = run.invoke(
        app, ["check", source, "--disease", "mds", "--mapping", str(out), "--json"]
    )
    found = json.loads(checked.stdout)
    asked += [one["what"] for one in found["findings"] if one["severity"] == "stop"]
    screen = run.invoke(app, ["check", source, "--disease", "mds", "--mapping", str(out)]).output
    assert "Chosen: " in screen and "patients stand on several" in screen
    return asked, gw.Mapping.read(out)


@pytest.mark.parametrize(
    ("write", "name", "most"),
    [
        (longitudinal.redcap_project, None, 1),
        (longitudinal.portal_table, "mds_clinical_data.tsv", 3),
        (longitudinal.portal_folder, None, 1),
    ],
)
def test_from_a_real_export_to_a_federated_run(write, name, most, tmp_path):
    """A longitudinal REDCap project, a portal's table and its folder: at most three decisions, each in
    words; then the patients are those behind the file, and the model of the three hospitals is the one of
    lifelines on their rows together (1e-6).
    """
    folder = tmp_path / "export"
    folder.mkdir()
    truth = write(folder if name is None else folder / name)
    asked, mapping = decisions(folder, name, tmp_path)
    assert 1 <= len(asked) <= most <= 3, asked
    source = folder if name is None else folder / name
    cohort = gw.read_hospital(source, "mds", mapping)
    frame = cohort.frame.loc[truth.index]
    assert cohort.n == len(truth) and (frame["death"] == truth["death"]).all()
    np.testing.assert_allclose(frame["os_years"], truth["days"] / 365.25, atol=1e-4)
    for column in ("age", "hemoglobin", "TP53"):
        assert (frame[column] == truth[column]).all(), f"{column} is that of the diagnosis"
    assert (frame["sex"] == truth["sex"]).all() and (frame[cohort.site] == truth["hospital"]).all()
    cohort = cohort.with_features(["age", "hemoglobin", "TP53"])
    federation = gw.Federation.by_site(cohort, seed=0)
    run = gw.federate(federation, gw.CoxPH(baseline="per-site"), progress=False)
    X, y, site = training_table(federation)
    pooled = CoxPHFitter().fit(
        X.assign(t=y["time"], e=y["event"], s=site),
        "t",
        "e",
        strata=["s"],
        fit_options={"precision": 1e-13},
    )
    assert len(federation.sites) == 3
    np.testing.assert_allclose(run.learner.summary_["coef"], pooled.params_[X.columns], atol=1e-6)
    words = ["--features", "age,hemoglobin,TP53", "--penalty", "0", "--repeats", "0", "--json"]
    mapped = ["--mapping", str(tmp_path / "m.toml")]
    ran = CliRunner().invoke(app, ["run", str(source), *mapped, *words])
    told = json.loads(ran.stdout)
    assert {one["name"]: one["n"] for one in told["sites"]} == truth[
        "hospital"
    ].value_counts().to_dict()
    assert told["coefficients"] == pytest.approx(
        run.learner.coefficients["coef"].to_dict(), abs=1e-9
    )


# what orders the rows of a patient


@pytest.mark.parametrize(
    ("words", "order"),
    [
        (["day -7", "day 0", "day 5"], [-7, 0, 5]),
        (["week 6", "month 3", "1 year"], [42, 91.3125, 365.25]),
        (["Baseline", "6 months follow-up", "1 year follow-up"], [0, 182.625, 365.25]),
        (["Diagnosis", "Relapse 1", "Relapse 2"], [0, 1, 2]),
        (["V2", "V10", "V1"], [2, 10, 1]),
        (["visit 2", "cycle 3"], None),
        (["no relapse", "Diagnosis"], None),
        (["relapse-free", "Relapse"], None),
    ],
)
def test_visits_are_ordered_by_what_their_words_say(words, order):
    "Oracle: days by hand; what is counted in different words, or denied, tells no order and is asked about."
    found = time_order(pd.Series(words))
    assert order is None if found is None else found.tolist() == order


def test_a_death_on_every_row_does_not_shorten_the_follow_up(tmp_path):
    "A patient's fate repeated on each visit: the last contact is the latest one. Oracle: by hand."
    rows = ["A,2020-01-01,0,1", "A,2021-01-01,1,1", "A,2022-01-01,2,1"]
    rows += ["B,2020-01-01,0,0", "B,2021-01-01,1,1", "B,2022-01-01,2,1"]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["pid,visit_date,os_years,death", *rows]))
    columns = {"os_years": Column("os_years"), "death": Column("death")}
    mapping = gw.Mapping("mds", columns, id="pid", visits="visit_date", date_format="YYYY-MM-DD")
    frame = gw.read_records(path, "mds", mapping=mapping).canonical().frame
    assert frame["os_years"].to_dict() == {"A": 2, "B": 1}


def test_ids_that_are_not_known_are_nobody(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("pid,age,os_years,death\nNA,60,1,1\nNA,60,1,1\nB,50,2,0\n")
    columns = {name: Column(name) for name in ("age", "os_years", "death")}
    with pytest.raises(gw.CohortError, match="NA|empty|id"):
        gw.read_hospital(path, "mds", gw.Mapping("mds", columns, id="pid"))


def test_a_percentage_orders_nothing():
    "The word tag, a day in German, stands in percentage and in stage."
    raw = pd.DataFrame(
        {"blast_percentage": ["80", "3", "5", "9"], "iss_stage": ["1", "2", "1", "3"]}
    )
    assert order_columns(raw, np.array([0, 0, 1, 1])) == []
