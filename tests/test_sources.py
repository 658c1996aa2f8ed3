"""Whatever a hospital hands over: each kind is recognised and read, each kind of damage is said in a
sentence with exit status 2.
"""

import datetime
import io
import json
import zipfile

import numpy as np
import openpyxl
import pandas as pd
import pytest
from conftest import study_folder
from exports import patients_of
from typer.testing import CliRunner

import genomed_workbench as gw
from genomed_workbench.cli.app import app
from genomed_workbench.clinic.dictionary import DISEASES, dictionary
from genomed_workbench.data.delimited import plain_frame
from genomed_workbench.intake.mapping import Column, Mapping

ROWS = "Pat;Hb;Sex\n1;9,5;m\n2;10;w\n3;8;m\n"


def canonical_patients(disease: str) -> pd.DataFrame:
    frame = patients_of(disease)
    return frame[[name for name in dictionary(disease).names if name in frame]]


@pytest.mark.parametrize("disease", DISEASES)
def test_the_flat_table_gives_back_what_was_written(disease, tmp_path):
    frame = canonical_patients(disease).set_axis([f"0{n}" for n in range(150)], axis=0)
    path = gw.write_table(frame, tmp_path / "w.csv", disease)
    again = gw.read_records(path, disease, mapping=tmp_path / "w.mapping.toml").canonical().frame
    assert again.index.tolist() == frame.index.tolist() and set(again) == set(frame)
    for name in frame:
        one, other = frame[name], again[name]
        if dictionary(disease)[name].kind == "date":
            pd.testing.assert_series_equal(
                one.dt.normalize(),
                other,
                check_dtype=False,
                check_freq=False,
                check_index_type=False,
                check_names=False,
            )
        elif dictionary(disease)[name].kind in ("level", "text"):
            assert (one.astype(object).fillna("?") == other.astype(object).fillna("?")).all()
        else:
            np.testing.assert_array_equal(one.to_numpy(float), other.to_numpy(float))


def test_a_cohort_comes_back_with_its_hospitals(tmp_path):
    frame = (
        canonical_patients("mds")
        .assign(hospital=np.repeat(["North", "South"], 75))
        .drop(columns=["diagnosis_date", "last_contact_date", "death_date"])
    )
    frame.index = [f"P{n}" for n in range(150)]
    cohort = gw.Cohort.from_frame(
        frame, gw.Survival("os_years", "death"), "hospital", ["age", "sex", "hemoglobin", "SF3B1"]
    )
    path = gw.write_table(cohort, tmp_path / "w.csv", "mds")
    again = gw.read_hospital(
        path, "mds", tmp_path / "w.mapping.toml", features=list(cohort.features)
    )
    assert (
        again.n == cohort.n
        and again.n_events == cohort.n_events
        and again.sites.tolist() == cohort.sites.tolist()
    )
    np.testing.assert_array_equal(again.X["hemoglobin"], cohort.X["hemoglobin"])


def test_what_the_dictionary_does_not_know_is_not_written_in_silence(tmp_path):
    with pytest.warns(gw.CohortWarning, match="shoe_size"):
        gw.write_table(pd.DataFrame({"age": [60.0], "shoe_size": [43]}), tmp_path / "w.csv", "mds")


def workbook(rows, merged=(), hidden=(), sheets=("one",)) -> bytes:
    book = openpyxl.Workbook()
    book.active.title = sheets[0]
    for name in sheets[1:]:
        book.create_sheet(name).append(["x"])
    for row in rows:
        book.active.append(row)
    for cells in merged:
        book.active.merge_cells(cells)
    for row in hidden:
        book.active.row_dimensions[row].hidden = True
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".xlsx"])
def test_every_kind_of_table_holds_the_same_patients(suffix, tmp_path):
    frame = pd.DataFrame(
        {
            "Patient ID": ["a", "b", "c"],
            "HB": [9.5, np.nan, 10.25],
            "PLT": [100, 20, 300],
            "Geschlecht": ["m", "w", None],
            "date of diagnosis": pd.to_datetime(["2020-01-31", "2021-02-28", None]),
        }
    )
    path = tmp_path / f"f{suffix}"
    if suffix == ".parquet":
        frame.to_parquet(path)
    elif suffix == ".xlsx":
        frame.to_excel(path, index=False)
    else:
        frame.to_csv(path, sep="\t" if suffix == ".tsv" else ",", index=False)
    records = gw.read_records(path, "mds")
    found = records.canonical().frame
    assert records.kind == {".tsv": "csv", ".xlsx": "excel"}.get(
        suffix, suffix[1:]
    ) and records.rows.tolist() == [2, 3, 4]
    assert found.index.tolist() == ["a", "b", "c"] and found["sex"].fillna("?").tolist() == [
        "male",
        "female",
        "?",
    ]
    np.testing.assert_array_equal(
        found[["hemoglobin", "platelets"]], [[9.5, 100], [np.nan, 20], [10.25, 300]]
    )
    assert found["diagnosis_date"].dt.strftime("%Y-%m-%d").fillna("?").tolist() == [
        "2020-01-31",
        "2021-02-28",
        "?",
    ]


def test_a_decorated_sheet_is_read_as_a_person_reads_it(tmp_path):
    rows = [
        ["Register of hematology"],
        [],
        ["Pat", "Blood", None, "Marrow", "Seen"],
        [None, "HB", "PLT", "Blasts", None],
        ["7", "9,5", 120, 0.1 + 0.2, datetime.date(2021, 3, 4)],
        [None] * 5,
        ["8", 10, None, 5, datetime.datetime(2021, 4, 1)],
    ]
    (tmp_path / "r.xlsx").write_bytes(
        workbook(rows, ["A1:E1", "B3:C3", "A3:A4", "E3:E4"], hidden=[5], sheets=("data", "legend"))
    )
    records = gw.read_records(tmp_path / "r.xlsx", "mds")
    assert list(records.raw) == ["Pat", "Blood HB", "Blood PLT", "Blasts", "Seen"] or list(
        records.raw
    ) == ["Pat", "Blood HB", "Blood PLT", "Marrow Blasts", "Seen"]
    assert (
        records.rows.tolist() == [5, 7]
        and records.raw.iloc[0, 3] == "0.3"
        and records.raw["Seen"].tolist() == ["2021-03-04", "2021-04-01"]
    )
    notes = " ".join(records.notes)
    assert "hidden" in notes and "first of 2" in notes and "row 4" in notes
    assert gw.read_records(tmp_path / "r.xlsx", "mds", sheet="data").n == 2


def test_a_long_file_is_read_as_carefully_as_a_short_one(tmp_path):
    body = "".join(
        f'{n};{n % 17},{n % 7};{"mw"[n % 2]};"46,XX; n={n % 3}"\n' for n in range(60_000)
    )
    text = "Pat;HB;SEX;CYTOGENETICS\n" + body
    (tmp_path / "long.csv").write_text(text)
    (tmp_path / "short.csv").write_text("".join(line + "\n" for line in text.splitlines()[:50]))
    long, short = (gw.read_records(tmp_path / name, "mds") for name in ("long.csv", "short.csv"))
    assert len(text) > 1_000_000 and plain_frame(text, ";") is not None
    pd.testing.assert_frame_equal(long.raw.iloc[:49], short.raw)
    assert long.rows[:49].tolist() == short.rows.tolist()


def genomed4all() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "Patient ID": ["1", "2", "3"],
            "Gender": ["M", "F", "F"],
            "AOD": [71, 60, 55],
            "Neutrophils": [1.2, 2, 0.4],
            "Hemoglobin": [98, 105, 81],
            "Platelets": [100, 20, 300],
            "LDH": [200, 180, None],
            "Ferritin": [300, None, 20],
            "RS": [0, 20, 3],
            "BMB": [4, 12, 1],
            "BMF": [0, 1, None],
            "del5q": [0, 1, 0],
            "Lossofchr7ordel7q": [0, 0, 1],
            "Gainofchr8": [1, 0, 0],
            "LossofchrY": [0, 0, 0],
            "TP53 result": ["mutated", "wild type", None],
            "TP53 n. mutations": [2, 0, None],
            "TP53 load": [41.0, 0, None],
            "SF3B1 result": ["mutated", "wild type", "mutated"],
            "SF3B1 n. mutations": [1, 0, 1],
            "SF3B1 load": [30, 0, 12],
        }
    )


def test_the_genomed4all_shape_is_known_by_its_columns(tmp_path):
    genomed4all().to_csv(tmp_path / "g.csv", index=False)
    records = gw.read_records(tmp_path / "g.csv", "mds")
    found = records.canonical().frame
    assert records.kind == "genomed4all" and any("g/L" in note for note in records.notes)
    np.testing.assert_allclose(found["hemoglobin"], [9.8, 10.5, 8.1])
    np.testing.assert_allclose(found["TP53_max_vaf"], [0.41, 0, np.nan])
    np.testing.assert_array_equal(
        found[["TP53", "SF3B1", "del7_7q", "plus8", "minusY", "marrow_fibrosis"]],
        [[1, 1, 0, 1, 0, 0], [0, 0, 0, 0, 0, 1], [np.nan, 1, 1, 0, 0, np.nan]],
    )
    loads = genomed4all().assign(**{"TP53 load": [0.41, 0, None]})
    loads.to_csv(tmp_path / "f.csv", index=False)
    np.testing.assert_allclose(
        gw.read_records(tmp_path / "f.csv", "mds").canonical().frame["TP53_max_vaf"],
        [0.41, 0, np.nan],
    )


def study(folder, panel=None, panels=None, listed=None, mutations=None):
    clinical = [
        "#Patient\tSex\tStatus\tMonths",
        "#a\tb\tc\td",
        "#STRING\tSTRING\tSTRING\tNUMBER",
        "#1\t1\t1\t1",
        "PATIENT_ID\tSEX\tOS_STATUS\tOS_MONTHS",
        *(
            f"P{n}\t{'Male' if n % 2 else 'Female'}\t{n % 2}:{'DECEASED' if n % 2 else 'LIVING'}\t{12 * n}"
            for n in range(1, 7)
        ),
    ]
    samples = [
        "#Patient\tSample\tHemoglobin",
        "#a\tb\tc",
        "#STRING\tSTRING\tNUMBER",
        "#1\t1\t1",
        "PATIENT_ID\tSAMPLE_ID\tLAB_1",
        *(f"P{n}\tS{n}\t{8 + n / 2}" for n in range(1, 7)),
        "P1\tS1b\t4.5",
    ]
    head = (
        "Hugo_Symbol\tTumor_Sample_Barcode\tVariant_Classification\tHGVSp_Short\tt_alt_count"
        "\tt_ref_count\tMutation_Status"
    )
    rows = mutations or [
        "TP53\tS1\tMissense_Mutation\tp.R175H\t40\t60\tSOMATIC",
        "TP53\tS1\tNonsense_Mutation\tp.R213*\t10\t90\tSOMATIC",
        "TP53\tS2\tMissense_Mutation\tp.R248Q\t55\t45\tSOMATIC",
        "SF3B1\tS3\tMissense_Mutation\tp.K700E\t4\t6\tSOMATIC",
        "ASXL1\tS4\tSilent\tp.G1=\t5\t5\tSOMATIC",
        "DDX41\tS4\tMissense_Mutation\tp.M1I\t5\t5\tGERMLINE",
        "FLT3\tS5\tIn_Frame_Ins\tp.Y597_E604dup\t5\t5\tSOMATIC",
        "FLT3\tS6\tMissense_Mutation\tp.D835Y\t5\t5\tSOMATIC",
    ]
    files = {
        "data_clinical_patient.txt": clinical,
        "data_clinical_sample.txt": samples,
        "data_mutations.txt": [head, *rows],
        "data_cna.txt": ["Hugo_Symbol\tS1\tS2\tS3", "TP53\t0\t-1\t0"],
    }
    if panel:
        files["data_gene_panel_matrix.txt"] = [
            "SAMPLE_ID\tmutations",
            *(f"{sample}\t{name}" for sample, name in panel.items()),
        ]
    for name, genes in (panels or {}).items():
        files[f"data_gene_panel_{name}.txt"] = [
            f"stable_id: {name}",
            "description: made up",
            "gene_list:\t" + "\t".join(genes),
        ]
    if listed:
        files["case_lists/cases_sequenced.txt"] = [
            "cancer_study_identifier: x",
            "case_list_ids: " + "\t".join(listed),
        ]
    for name, lines in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_a_study_folder_becomes_patients(tmp_path):
    records = gw.read_records(study(tmp_path), "mds")
    found = records.canonical().frame
    assert (
        records.kind == "cbioportal"
        and found.index.tolist() == [f"P{n}" for n in range(1, 7)]
        and records.rows.tolist() == [6, 7, 8, 9, 10, 11]
    )
    np.testing.assert_allclose(found["os_years"], [1, 2, 3, 4, 5, 6])
    assert (
        found["death"].tolist() == [1, 0] * 3
        and found["hemoglobin"].iloc[0] == 8.5
        and found["sex"].iloc[0] == "male"
    )
    assert (
        found["TP53_mutations"].tolist() == [2, 1, 0, 0, 0, 0]
        and found["TP53_max_vaf"].tolist() == [0.4, 0.55, 0, 0, 0, 0]
        and found["TP53_loh"].fillna(-1).tolist() == [-1, 1, -1, -1, -1, -1]
    )
    assert (
        found["ASXL1"].tolist() == [0] * 6
        and found["DDX41"].tolist() == [0] * 6
        and found["FLT3"].tolist() == [0, 0, 0, 0, 1, 1]
        and found["FLT3_ITD"].tolist() == [0, 0, 0, 0, 1, 0]
        and found["FLT3_TKD"].tolist() == [0, 0, 0, 0, 0, 1]
    )
    notes = " ".join(records.canonical().notes)
    for said in (
        "no gene panel matrix",
        "no column tells the order of the samples",
        "silent",
        "inherited",
        "oncogenic is not checked",
        "MLL_PTD",
    ):
        assert said in notes


def test_a_gene_that_was_not_tested_is_unknown(tmp_path):
    found = (
        gw.read_records(
            study(
                tmp_path / "a",
                {"S1": "big", "S2": "big", "S3": "small", "S4": "WES", "S5": "NA", "S6": "small"},
                {"big": ["TP53", "ASXL1", "SF3B1", "FLT3"], "small": ["SF3B1", "FLT3"]},
            ),
            "mds",
        )
        .canonical()
        .frame
    )
    np.testing.assert_array_equal(found["ASXL1"], [0, 0, np.nan, 0, np.nan, np.nan])
    np.testing.assert_array_equal(found["TP53_mutations"], [2, 1, np.nan, 0, np.nan, np.nan])
    np.testing.assert_array_equal(found["SF3B1"], [0, 0, 1, 0, np.nan, 0])
    records = gw.read_records(
        study(tmp_path / "b", {f"S{n}": "secret" for n in range(1, 7)}), "mds"
    )
    found = records.canonical().frame
    assert (
        found["SF3B1"].tolist() == [0, 0, 1, 0, 0, 0]
        and found["EZH2"].isna().all()
        and any("not in the folder" in note for note in records.notes)
    )
    found = gw.read_records(study(tmp_path / "c", listed=["S1", "S2"]), "mds").canonical().frame
    np.testing.assert_array_equal(found["ASXL1"], [0, 0, np.nan, np.nan, np.nan, np.nan])


def redcap(folder):
    book = (
        '"Variable / Field Name","Form Name","Section Header","Field Type","Field '
        'Label","Choices, Calculations, OR Slider Labels","Field Note","Text '
        'Validation Type OR Show Slider Number","Text Validation Min","Text Validation '
        'Max",Identifier?\n'
        "record_id,base,,text,Record "
        'ID,,,,,,\nname,base,,text,Name,,,,,,y\nsx,base,,radio,Sex,"1, Male | 2, '
        'Female | 9, Unknown",,,,,\nage,base,,text,Age at '
        "diagnosis,,,integer,18,90,\nhbx,lab,,text,Hemoglobin,,g/L,number,,,\n"
        'mut,lab,,checkbox,<b>Mutations</b>,"1, TP53 | 2, SF3B1 | 3, '
        'Other",,,,,\ndied,base,,yesno,Death,,,,,,\nrisk,base,,dropdown,IPSS-R '
        'cytogenetic class,"0, Very good | 1, Good | 2, Intermediate | 3, Poor | 4, '
        'Very poor",,,,,\n'
    )
    data = (
        "record_id,redcap_event_name,name,sx,age,hbx,mut___1,mut___2,mut___3,lab_complete,died,risk\n"
        "1,first,Ada,1,71,98,1,0,0,2,0,0\n1,later,,,,,,,,,1,\n"
        "2,first,Bob,2,95,105,0,0,0,2,0,4\n3,first,Cy,9,60,,0,0,0,0,1,2\n"
    )
    (folder / "data.csv").write_text(data)
    (folder / "X_DataDictionary_2024.csv").write_text(book)
    return folder


@pytest.mark.parametrize("named", ["folder", "data", "both"])
def test_a_redcap_export_is_read_with_its_dictionary(named, tmp_path):
    folder = redcap(tmp_path)
    records = gw.read_records(
        folder if named == "folder" else folder / "data.csv",
        "mds",
        **({"data_dictionary": folder / "X_DataDictionary_2024.csv"} if named == "both" else {}),
    )
    found = records.canonical().frame
    assert (
        records.kind == "redcap"
        and records.rows.tolist() == [2, 4, 5]
        and found["sex"].fillna("?").tolist() == ["male", "female", "?"]
        and found["cytogenetic_risk"].tolist() == [0, 4, 2]
    )
    np.testing.assert_array_equal(
        found[["TP53", "SF3B1", "death"]], [[1, 0, 1], [0, 0, 0], [np.nan, np.nan, 1]]
    )
    notes = " ".join(records.canonical(strict=False).notes)
    assert (
        records.mapping.columns["name"].ignore
        and "died" in notes
        and "1 answers lie outside" in notes
        and "without a tick" in notes
    )
    proposed = gw.suggest_mapping(folder, "mds")
    assert proposed.columns["hbx"].variable == "hemoglobin"


def test_labelled_redcap_exports_read_the_same(tmp_path):
    redcap(tmp_path)
    data = (
        (tmp_path / "data.csv")
        .read_text()
        .replace(",1,71,98,1,0,0,2", ",Male,71,98,Checked,Unchecked,Unchecked,Complete")
        .replace(",2,95,105,0,0,0,2", ",Female,95,105,Unchecked,Unchecked,Unchecked,Complete")
    )
    (tmp_path / "data.csv").write_text(data)
    found = gw.read_records(tmp_path, "mds").canonical().frame
    assert found["sex"].tolist()[:2] == ["male", "female"] and found["TP53"].tolist()[:2] == [1, 0]


def test_the_released_study_becomes_its_cohort():
    folder = study_folder()
    if folder is None:
        pytest.skip(
            "the folder ipssm-study is absent: get it from github.com/papaemmelab/IPSSMstudy and set GENOMED_DATA"
        )
    with pytest.warns(gw.CohortWarning):
        cohort = gw.read_hospital(folder / "ipssm-study" / "df_clinical.tsv", "mds")
    assert (
        (cohort.n, cohort.n_events) == (2766, 1354)
        and {"hemoglobin", "cytogenetic_risk", "complex"} <= set(cohort.features)
        and not {"os_years", "death", "ipss_m_score", "hma"} & set(cohort.features)
    )


def zipped(**files) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return file.getvalue()


BOOK = workbook([["Pat", "HB"], ["1", 9.5]])
DAMAGED = {  # name -> content, and what the message must say
    "empty.csv": (b"", "empty"),
    "header.csv": (b"Pat;HB\n", "no patient"),
    "one.csv": (b"Pat\n1\n2\n", "single column"),
    "ragged.csv": (b"Pat;HB\n1;2;3\n", "cells"),
    "short.csv": (b"Pat;HB;PLT\n1;2\n", "cells"),
    "twice.csv": (b"HB;HB\n1;2\n", "2 columns"),
    "quote.csv": (b'Pat;HB\n1;"9\n', "never closed"),
    "nul.csv": (b"Pat;HB\n1;\x00\n", "control character"),
    "photo.csv": (b"\x89PNG\r\n", "PNG"),
    "page.csv": (b"<!DOCTYPE html><p>", "web page"),
    "thesis.pdf": (b"%PDF-1.7", "PDF"),
    "numbers.csv": (b"1;2\n3;4\n", "only numbers"),
    "nameless.csv": (b"Pat;;HB\n1;2;3\n", "no name"),
    "mixed.csv": ("Pat;Größe und Länge;HB\n1;äöü;3\n".encode() + b"2;\xff;3\n", "no UTF-8"),
    "old.xls": (b"\xd0\xcf\x11\xe0" + b"\0" * 600, "password"),
    "cut.xlsx": (BOOK[: len(BOOK) // 2], "workbook"),
    "empty.xlsx": (workbook([]), "empty"),
    "noname.xlsx": (workbook([["Pat", None, "HB"], ["1", "x", 9]]), "no name"),
    "twice.xlsx": (workbook([["HB", "HB"], [1, 2]]), "2 columns"),
    "formula.xlsx": (workbook([["Pat", "HB"], ["1", "=1+1"]]), "not been computed"),
    "archive.zip": (zipped(a="1"), "ZIP"),
    "cut.parquet": (b"PAR1" + b"\0" * 50, "Parquet"),
    "packed.csv": (b"\x1f\x8b\x08" + b"\0" * 20, "gzip"),
    "data.json": (b'[{"a": 1}]', "JSON"),
    "bundle.json": (b'{"resourceType": "Bundle"', "JSON"),
    "lfs/data_clinical_patient.txt": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "data_clinical",
    ),
    "lonely/export.txt": (b"a;b\n1;2\n", "this folder holds"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_said_in_a_sentence_with_status_2(name, tmp_path):
    content, said = DAMAGED[name]
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    asked = path.parent if "/" in name else path
    ran = CliRunner().invoke(app, ["map", str(asked), "--disease", "mds", "--json"])
    assert ran.exit_code == 2, ran.output
    assert (
        said.casefold() in ran.stderr.casefold()
        and "Traceback" not in ran.stderr
        and not ran.stdout
    )
    with pytest.raises(gw.CohortError):
        gw.read_records(asked, "mds")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothere.csv", "--disease", "mds"], "no such file"),
        (["w.csv", "--disease", "gout"], "has no dictionary"),
        (["w.csv", "--disease", "mds", "--kind", "exel"], "Did you mean 'excel'"),
        (["w.csv", "--disease", "mds", "--kind", "excel"], "found a csv table"),
        (["w.csv", "--disease", "mds", "--sheet", "x"], "no workbook"),
        (["w.csv", "--disease", "mds", "--kind", "redcap"], "no data dictionary"),
        (["w.csv", "--disease", "mds", "--kind", "cbioportal"], "no clinical table"),
        (["w.csv", "--disease", "mds", "--out", "."], "this is a folder"),
        (["w.csv", "--disease", "mds", "--out", "w.csv"], "such a file already"),
        (["w.csv", "--disease", "mds", "--encoding", "klingon"], "text encoding"),
        (["w.csv", "--disease", "mds", "--sep", ";;"], "one character"),
        (["w.csv"], "disease"),
    ],
)
def test_what_cannot_be_meant_is_said(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.csv").write_text(ROWS)
    ran = CliRunner().invoke(app, ["map", *arguments])
    assert (
        ran.exit_code == 2
        and said in ran.output
        and "Traceback" not in ran.output
        and (tmp_path / "w.csv").read_text() == ROWS
    )


def test_the_command_writes_a_proposal_that_reads_again(tmp_path):
    (tmp_path / "w.csv").write_text(ROWS)
    out = tmp_path / "deep" / "m.toml"
    ran = CliRunner().invoke(
        app, ["map", str(tmp_path / "w.csv"), "--disease", "mds", "--out", str(out), "--json"]
    )
    told = json.loads(ran.stdout)
    assert (
        ran.exit_code == 0
        and told["mapping"] == str(out)
        and told["id"] == "Pat"
        and [one["variable"] for one in told["columns"]] == ["hemoglobin", "sex"]
    )
    mapping = Mapping.read(out)
    assert mapping.id == "Pat" and not mapping.confirmed
    with pytest.raises(gw.CohortError, match="confirm"):
        gw.read_records(tmp_path / "w.csv", "mds", mapping=out).canonical()
    text = CliRunner().invoke(app, ["map", str(tmp_path / "w.csv"), "--disease", "mds", "--quiet"])
    assert text.stdout == out.read_text() and not text.stderr


def test_excel_without_its_reader_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "w.xlsx").write_bytes(BOOK)
    monkeypatch.setitem(__import__("sys").modules, "openpyxl", None)
    with pytest.raises(gw.CohortError, match=r"pip install 'genomed-workbench\[hospital\]'"):
        gw.read_records(tmp_path / "w.xlsx", "mds")


def test_a_mapping_for_another_disease_is_refused(tmp_path):
    (tmp_path / "w.csv").write_text(ROWS)
    with pytest.raises(gw.CohortError, match="for 'aml'"):
        gw.read_records(
            tmp_path / "w.csv", "mds", mapping=Mapping("aml", {"Hb": Column("hemoglobin")})
        )


@pytest.mark.full
@pytest.mark.slow
def test_a_hundred_thousand_patients_are_read_in_seconds(tmp_path):
    import time

    frame = canonical_patients("mds").drop(
        columns=["diagnosis_date", "last_contact_date", "death_date"]
    )
    big = pd.concat([frame] * 667, ignore_index=True).iloc[:100_000]
    path = gw.write_table(big, tmp_path / "w.csv", "mds")
    start = time.process_time()
    found = gw.read_records(path, "mds", mapping=tmp_path / "w.mapping.toml").canonical().frame
    seconds = time.process_time() - start
    assert found.shape[0] == 100_000 and seconds < 30
