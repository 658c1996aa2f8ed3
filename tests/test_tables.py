"""Tables as R, pandas, portals and Excel write them: what is no patient and no variable is left out and
said; where it cannot be told, the reader asks.

Oracle throughout: the frame from which the file was written, and its plain CSV read by the same function.
"""

import io
import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import training_table
from malformed import ASKED, HEADER, good_rows, text_of
from typer.testing import CliRunner
from written_tables import HOSPITALS, patients, r_study, r_table, registry, workbook

import genomed_workbench as gw
from genomed_workbench.cli.app import app
from genomed_workbench.data.layout import TableOptions

ROWS = good_rows()
PLAIN = text_of(ROWS)
CELLS = [[r[0], r[1], float(r[2]), int(r[3]), int(r[4]), float(r[5])] for r in ROWS]
BY_SITE = sorted(CELLS, key=lambda row: str(row[1]))
ONE_TO_N = list(range(1, 31))
GAPS = [k + k // 4 for k in ONE_TO_N]


def in_r(names, **how) -> str:
    "The good rows as an R data frame with row names."
    return r_table(pd.DataFrame(CELLS, columns=HEADER, index=names), **how)


def read(path: Path, content: str | bytes, **asked) -> tuple[gw.Cohort, str]:
    "The cohort of a file, and what was said on the way."
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        cohort = gw.read_cohort(path, **{**ASKED, **asked})
    return cohort, "; ".join(str(one.message) for one in told)


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> gw.Cohort:
    "The cohort of the plain CSV."
    return read(tmp_path_factory.mktemp("plain") / "plain.csv", PLAIN)[0]


def same(cohort: gw.Cohort, plain: gw.Cohort, ids: bool = True) -> None:
    "Assert that two cohorts hold the same patients, in whatever order."
    a, b = (one.frame.sort_values("os_years") for one in (cohort, plain))
    pd.testing.assert_frame_equal(a.reset_index(drop=True), b.reset_index(drop=True))
    assert cohort.features == plain.features == ("age", "wbc")
    assert not ids or a.index.tolist() == b.index.tolist()


# --- row names of R and pandas

WITH_ROW_NAMES = {
    "write.table": in_r(ONE_TO_N),
    "write.table, tabs": in_r(ONE_TO_N, sep="\t"),
    "write.table, tabs without quotes": in_r(ONE_TO_N, sep="\t", quote=False),
    "write.table, semicolons and decimal commas": in_r(ONE_TO_N, sep=";", dec=","),
    "write.table, commas": in_r(ONE_TO_N, sep=","),
    "write.table, rows filtered": in_r(GAPS),
    "write.table, rows sorted": in_r(np.random.default_rng(0).permutation(ONE_TO_N)),
    "write.csv": in_r(ONE_TO_N, sep=",", heading=""),
    "write.csv, rows filtered": in_r(GAPS, sep=",", heading=""),
    "write.csv2": in_r(ONE_TO_N, sep=";", dec=",", heading=""),
    "pandas": pd.DataFrame(CELLS, columns=HEADER).to_csv(),
    "pandas in Excel": workbook([["", *HEADER], *[[k, *row] for k, row in enumerate(CELLS)]]),
    "readr": in_r(ONE_TO_N, sep=",", heading="...1"),
}


@pytest.mark.parametrize("content", WITH_ROW_NAMES.values(), ids=WITH_ROW_NAMES)
def test_row_names_that_count_are_left_out_and_said(content, plain, tmp_path):
    cohort, told = read(tmp_path / "t.txt", content)
    same(cohort, plain)
    assert told.count("only counts the rows, and is left out") == 1
    assert any("only counts the rows" in note for note in cohort.notes)


def test_a_table_saved_twice_by_pandas_has_two_counters(plain, tmp_path):
    once = pd.DataFrame(CELLS, columns=HEADER).to_csv()
    cohort, told = read(tmp_path / "t.csv", pd.read_csv(io.StringIO(once)).to_csv())
    same(cohort, plain)
    assert told.count("only counts the rows") == 2 and "(Unnamed: 0)" in told


def test_row_names_are_the_ids_where_no_column_is(plain, tmp_path):
    frame = pd.DataFrame(CELLS, columns=HEADER).set_index("patient_id")
    for content in (r_table(frame), r_table(frame, ",", heading=""), r_table(frame, "\t")):
        cohort, told = read(tmp_path / "t.txt", content)
        same(cohort, plain)
        assert "names the rows, and is read as the patients' id 'row_names'" in told
        records = gw.read_records(tmp_path / "t.txt", "mds")
        assert records.ids.tolist() == frame.index.tolist()


def test_other_row_names_beside_an_id_are_left_out(plain, tmp_path):
    cohort, told = read(tmp_path / "t.txt", in_r([f"chart{k}" for k in ONE_TO_N]))
    same(cohort, plain)
    assert "names the rows, and is left out; the id is 'patient_id'" in told


def test_a_counter_that_is_asked_for_is_kept(tmp_path):
    content = pd.DataFrame(CELLS, columns=HEADER).to_csv(index_label="Unnamed: 0")
    cohort, told = read(tmp_path / "t.csv", content, features=["age", "Unnamed: 0"])
    assert cohort.features == ("age", "Unnamed: 0") and "left out" not in told


def test_one_cell_too_many_in_each_row_is_asked_about(plain, tmp_path):
    "Row names without quotes between commas might be decimal commas: the reader does not shift columns."
    path, content = tmp_path / "t.csv", in_r(ONE_TO_N, sep=",", quote=False)
    with pytest.raises(gw.CohortError, match=r"one cell more than the header.*row_names=True"):
        read(path, content)
    same(read(path, content, row_names=True)[0], plain)
    ran = CliRunner().invoke(app, ["map", str(path), "--disease", "mds"])
    assert ran.exit_code == 2 and "On the command line: --row-names" in ran.output
    assert (
        CliRunner().invoke(app, ["map", str(path), "--disease", "mds", "--row-names"]).exit_code
        == 0
    )


@pytest.mark.parametrize(
    "content",
    [
        # decimal commas between commas; a heading that is missing at the end
        "id,os_years,os_event\n" + "".join(f"K{k},{k},5,{k % 2}\n" for k in range(1, 9)),
        '"id","age"\n' + "".join(f'"K{k}",{40 + k % 3},5\n' for k in range(1, 9)),
        "patient_id\tage\n" + "".join(f"{k}\t{40 + k % 3}\tseen\n" for k in range(1, 9)),
        "Pat;HB\n" + "".join(f"{k};{9 + k % 3};x{k}\n" for k in range(1, 9)),
    ],
)
def test_columns_are_never_shifted_by_a_guess(content, tmp_path):
    (tmp_path / "t.txt").write_text(content)
    with pytest.raises(gw.CohortError, match="one cell more than the header"):
        gw.read_records(tmp_path / "t.txt", "mds")


def test_quotation_marks_with_a_backslash_are_those_of_r(tmp_path):
    content = in_r(ONE_TO_N, sep="\t").replace('"A"', '"A \\"West\\""')
    assert 'A "West"' in read(tmp_path / "t.tsv", content)[0].sites


# --- blanks between columns


@pytest.mark.parametrize("sep", [None, " ", "blank", r"\s+"])
def test_blanks_separate_columns(sep, plain, tmp_path):
    wide = "\n".join("  ".join(cell.ljust(11) for cell in row) for row in [HEADER, *ROWS])
    for content in (PLAIN.replace(",", " "), wide, wide.replace("  A", "\t A")):
        cohort, told = read(tmp_path / "t.dat", content, sep=sep)
        same(cohort, plain)
        assert ("separated by blanks" in told) == (sep is None)


def test_words_are_no_table(tmp_path):
    (tmp_path / "t.txt").write_text("Dear colleague,\nhere is the table that you asked for.\n")
    with pytest.raises(gw.CohortError, match="tab, bar or blanks"):
        gw.read_records(tmp_path / "t.txt", "mds")


# --- titles, comments, remarks, totals

AROUND = {  # content, and what is said
    "title": ("Register of MDS, Hospital South\nexported 2024-03-01\n\n" + PLAIN, "from row 4"),
    "title in a wide row": ("Register of MDS,,,,,\n,,,,,\n" + PLAIN, "from row 3"),
    "title above semicolons": ("Register, 2024\n" + PLAIN.replace(",", ";"), "from row 2"),
    "comments": ("# made by x, y\n# in 2024\n" + PLAIN, "from row 3"),
    "comment among patients": (
        PLAIN.replace("P9,", "# seen\nP9,"),
        "comments are left out (row 10)",
    ),
    "comments above blanks": (
        "# made by us, for you\n# as it was asked for\n" + PLAIN.replace(",", " "),
        "from row 3",
    ),
    "comment above a table of R": ("# by R 4.3\n" + in_r(ONE_TO_N, sep=","), "from row 2"),
    "header as a comment": ("#" + PLAIN, ""),
    "footnote": (PLAIN + "\n* follow-up until 2024\n", "row 33 holds a remark"),
    "footnote in a wide row": (PLAIN + "Source: the registry,,,,,\n", "row 32 holds a remark"),
    "legend": (PLAIN + "\nLegend:\n0,alive\n1,dead\n", "rows 33, 34, 35 hold remarks"),
    "total": (PLAIN + "Total,,300,15,1800,200\n", "row 32 holds a total or a mean"),
    "mean": (PLAIN + "Mittelwert,,3,0.5,60,5\n", "row 32 holds a total or a mean"),
    "legend in Excel": (
        workbook([HEADER, *CELLS, [], ["Legend:"], [0, "alive"], [1, "dead"]]),
        "rows 33, 34, 35 hold remarks",
    ),
}


@pytest.mark.parametrize(("content", "said"), AROUND.values(), ids=AROUND)
def test_what_stands_around_a_table_is_no_patient(content, said, plain, tmp_path):
    cohort, told = read(tmp_path / "t.csv", content)
    same(cohort, plain)
    assert said in told and bool(told) == bool(said)


def test_a_patient_without_values_is_no_remark(tmp_path):
    text = "patient_id,age,hb\nP1,60,9.5\nP2,61,9.7\nP3,,\n"
    (tmp_path / "t.csv").write_text(text)
    assert gw.read_records(tmp_path / "t.csv", "mds").ids.tolist() == ["P1", "P2", "P3"]


def test_rows_keep_their_numbers_below_a_title(tmp_path):
    content = "Register\n\n" + PLAIN.replace(ROWS[4][2], "-1", 1)
    with pytest.raises(gw.CohortError) as caught:
        read(tmp_path / "t.csv", content)
    assert [problem.row for problem in caught.value.problems] == [8]


def test_a_line_of_totals_is_in_no_cohort_and_has_no_score(tmp_path):
    text = "patient_id,age,HB,PLT,os_years,death\n" + "".join(
        f"K{k},{50 + k},{9 + k / 10},{100 + k},{1 + k / 10},{k % 2}\n" for k in range(20)
    )
    (tmp_path / "t.csv").write_text(text + "Total,1190,199,2190,39,10\n")
    cohort = gw.read_hospital(tmp_path / "t.csv", "mds")
    assert cohort.n == 20 and any("row 22 holds a total" in note for note in cohort.notes)
    scores = gw.score(tmp_path / "t.csv", "ipss-r")
    assert len(scores) == 20 and any("row 22" in note for note in scores.attrs["notes"])
    assert "total-row" in gw.check_readiness(tmp_path / "t.csv", "mds").findings["kind"].tolist()


# --- a row of units


def with_units(time: str) -> str:
    return PLAIN.replace("\n", f"\n,,{time},0/1,Jahre,[G/l]\n", 1)


def test_a_row_of_units_is_no_patient(plain, tmp_path):
    cohort, told = read(tmp_path / "t.csv", with_units("years"))
    same(cohort, plain)
    assert "row 2 holds units (os_years in years, age in Jahre, wbc in G/l)" in told


def test_another_unit_of_time_than_the_file_says_is_refused(tmp_path):
    with pytest.raises(gw.CohortError, match="says 'Monate', and unit='years'.*unit='months'"):
        read(tmp_path / "t.csv", with_units("Monate"))
    assert read(tmp_path / "t.csv", with_units("Monate"), unit="months")[0].n == 30


def test_units_below_the_header_convert_the_values(tmp_path):
    "Oracle: 98 g/L are 9.8 g/dL."
    text = "patient_id,HB,PLT,BM_BLAST\n,g/L,cells/uL,%\n" + "".join(
        f"K{k},{98 + k},{80_000 + 1000 * k},{k}\n" for k in range(6)
    )
    (tmp_path / "t.csv").write_text(text)
    found = gw.read_records(tmp_path / "t.csv", "mds").canonical().frame
    np.testing.assert_allclose(found["hemoglobin"], 9.8 + np.arange(6) / 10)
    np.testing.assert_allclose(found["platelets"], 80 + np.arange(6))
    proposed = gw.suggest_mapping(tmp_path / "t.csv", "mds").columns
    assert (proposed["HB"].unit, proposed["PLT"].unit) == ("g/L", "cells/uL")
    notes = gw.score(tmp_path / "t.csv", "ipss-r").attrs["notes"]
    assert any("HB: converted from g/L to g/dL" in note for note in notes)


@pytest.mark.parametrize("row", ["K1,w,yes,ja", "K1,m,no,nein", "K1,d,y,a"])
def test_answers_and_sexes_are_no_units(row, tmp_path):
    (tmp_path / "t.csv").write_text(f"patient_id,sex,TP53,SF3B1\n{row}\nK2,m,no,nein\n")
    assert gw.read_records(tmp_path / "t.csv", "mds").n == 2


# --- a column twice


@pytest.mark.parametrize("kind", ["csv", "xlsx", "parquet"])
def test_a_column_twice_with_the_same_cells_is_read_once(kind, plain, tmp_path):
    twice = pd.DataFrame([[*row, row[4]] for row in CELLS], columns=[*HEADER, "age"])
    if kind == "parquet":
        import pyarrow
        import pyarrow.parquet

        table = pyarrow.table([pyarrow.array(twice.iloc[:, k]) for k in range(7)], names=[*twice])
        pyarrow.parquet.write_table(table, tmp_path / "t")
        content = (tmp_path / "t").read_bytes()
    else:
        rows = [[*HEADER, "age"], *twice.to_numpy().tolist()]
        content = workbook(rows) if kind == "xlsx" else twice.to_csv(index=False)
    cohort, told = read(tmp_path / f"t.{kind}", content)
    same(cohort, plain)
    assert told.count("column 'age' stands there 2 times with the same cells; one is read") == 1


def test_a_column_twice_with_other_cells_is_refused_once_with_its_rows(tmp_path):
    "Told in one problem, where the cells differ; the values are not told."
    rows = [[*row, "77" if k in (3, 9) else row[4]] for k, row in enumerate(ROWS)]
    with pytest.raises(gw.CohortError, match="2 columns, which differ") as caught:
        read(tmp_path / "t.csv", text_of(rows, [*HEADER, "age"]))
    assert len(caught.value.problems) == 1
    assert "rows 5, 11" in str(caught.value) and "77" not in str(caught.value)


def test_a_frame_with_a_column_twice_is_checked_alike():
    frame = pd.DataFrame([[*row, row[3]] for row in CELLS], columns=[*HEADER, "os_event"])
    assert any(
        "'os_event' stands there 2 times" in n for n in gw.check_readiness(frame, "mds").notes
    )
    frame.iloc[4, 6] = 1 - frame.iloc[4, 6]
    with pytest.raises(gw.CohortError, match=r"which differ \(row 6\)"):
        gw.check_readiness(frame, "mds")


# --- Excel


def test_a_registry_with_merged_hospitals_is_read(plain, tmp_path):
    blank = [[row[0], row[1] if k % 10 == 0 else None, *row[2:]] for k, row in enumerate(BY_SITE)]
    units = [None, None, "Jahre", "0/1", "Jahre", "G/l"]
    foot = ["* follow-up until 2024"]
    rows = [["Register"], [], HEADER, units, *blank, [], foot]
    content = workbook(rows, ["A1:F1", "B5:B14", "B15:B24", "B25:B34", "A36:F36"])
    cohort, told = read(tmp_path / "t.xlsx", content)
    same(cohort, plain)
    for said in ("from row 3", "'center' are filled down (27 rows)", "row 4 holds units", "row 36"):
        assert told.count(said) == 1


def test_a_large_workbook_is_filled_down_as_well(plain, tmp_path, monkeypatch):
    "Above a size the sheet is read cell by cell, and its merged cells are looked up in the archive."
    blank = [[row[0], row[1] if k % 10 == 0 else None, *row[2:]] for k, row in enumerate(BY_SITE)]
    content = workbook([HEADER, *blank], ["B2:B11", "B12:B21", "B22:B31"])
    monkeypatch.setattr("genomed_workbench.data.workbook._BIG", 0)
    same(read(tmp_path / "t.xlsx", content)[0], plain)


def test_merged_hospitals_that_a_csv_lost_are_explained(tmp_path):
    rows = [
        [row[0], row[1] if k % 10 == 0 else "", *row[2:]]
        for k, row in enumerate(sorted(ROWS, key=lambda r: r[1]))
    ]
    with pytest.raises(
        gw.CohortError, match=r"27 of 30 cells are empty below filled ones.*Read the workbook"
    ) as caught:
        read(tmp_path / "t.csv", text_of(rows))
    assert len(caught.value.problems) == 28


SEVERAL = {  # cells, merged ranges, and what is said
    "below": (
        [HEADER, *CELLS, [], ["site", "n", "events", "age", "wbc"], ["A", 10, 5, 60, 3]],
        (),
        r"row 33: a second table",
    ),
    "beside": (
        [
            [*row, None, cell]
            for row, cell in zip([HEADER, *CELLS], ["site", "A", "B", *[None] * 28], strict=True)
        ],
        (),
        "column 7 is empty, name and all",
    ),
    "headings among patients": (
        [HEADER, ["Hospital A"], *CELLS[:9], ["Hospital B"], *CELLS[9:]],
        ("A2:F2", "A12:F12"),
        "row 2: cells of columns 1 to 6 are merged.*make it a column",
    ),
    "cells merged over columns": (
        [HEADER, *CELLS[:4], [*CELLS[4][:2], 1.5, None, 50, 3.0], *CELLS[5:]],
        ("C6:D6",),
        "row 6: cells of columns 3 to 4 are merged",
    ),
}


@pytest.mark.parametrize(("rows", "merged", "said"), SEVERAL.values(), ids=SEVERAL)
def test_several_tables_on_a_sheet_are_refused_in_a_sentence(rows, merged, said, tmp_path):
    rows = [*rows, ["B", 9, 5, 60, 3]] if "second" in said else rows
    with pytest.raises(gw.CohortError, match=said) as caught:
        read(tmp_path / "t.xlsx", workbook(rows, merged))
    assert len(caught.value.problems) <= 1 or "\n" not in str(caught.value)


# --- Parquet


def test_columns_of_lists_are_left_out_with_a_word(plain, tmp_path):
    path = tmp_path / "t.parquet"
    nested = pd.DataFrame(CELLS, columns=HEADER).assign(
        genes=[["TP53"]] * 30, visit=[{"hb": 9.5}] * 30, scan=[b"\x01"] * 30
    )
    nested.to_parquet(path)
    cohort, told = read(path, path.read_bytes())
    same(cohort, plain)
    for name in ("'genes' is left out: each cell is a list", "'visit' is left out", "'scan'"):
        assert told.count(name) == 1
    for command in (["check", str(path)], ["map", str(path)]):
        ran = CliRunner().invoke(app, [*command, "--disease", "mds"])
        assert "'genes' is left out" in ran.output and ran.exit_code in (0, 1)
    assert gw.check_readiness(nested, "mds").n == 30, "in a frame they are texts"


# --- the same options everywhere


def odd(tmp_path: Path) -> Path:
    "A file that nobody can read without being told how: four options, and a header in row 3."
    lines = ["x#y#z#a#b#c", "1#2#3#4#5#6", "patient_id#HB#Größe#os_years#death#PLT"]
    lines += [f"K{k}#{9 + k % 4},5#xx#{1 + k % 7},5#{k % 2}#{100 + k}" for k in range(30)]
    path = tmp_path / "odd.txt"
    path.write_bytes("\n".join(lines).encode("cp1250"))
    return path


READING = ["--sep", "#", "--decimal", ",", "--na", "xx", "--encoding", "cp1250", "--header", "3"]


@pytest.mark.parametrize(
    "command",
    [
        "map FILE --disease mds --json",
        "check FILE --disease mds --json",
        "score ipss-r FILE --json",
        "run FILE --time os_years --event death --features HB,PLT --shares 60,40 --repeats 0 --json",
    ],
)
def test_each_command_takes_the_same_reading_options(command, tmp_path):
    words = command.replace("FILE", str(odd(tmp_path))).split()
    ran = CliRunner().invoke(app, [*words, *READING])
    assert ran.exit_code in (0, 1) and "error" not in ran.stderr, ran.output
    told = json.loads(ran.stdout)
    assert 30 in (told.get("rows"), told.get("n"), told.get("patients"))
    assert CliRunner().invoke(app, words).exit_code == 2, "without them it cannot be read"


def test_the_functions_take_them_too(tmp_path):
    path, how = odd(tmp_path), {"sep": "#", "decimal": ",", "encoding": "cp1250", "header": 3}
    records = gw.read_records(path, "mds", na_values=["xx"], **how)
    assert records.decimal == "," and records.raw["Größe"].isna().all()
    cohorts = (
        gw.read_hospital(path, "mds", na_values="xx", **how),
        gw.read_cohort(path, "os_years", "death", features=["HB", "PLT"], **how),
    )
    np.testing.assert_array_equal(cohorts[0].X["hemoglobin"], cohorts[1].X["HB"])
    assert gw.check_readiness(path, "mds", **how).n == 30
    assert len(gw.score(path, "ipss-r", **how)) == 30
    assert gw.explain(path, "ipss-r", "K3", **how).patient == "K3"
    with pytest.raises(gw.CohortError, match="Did you mean 'decimal'"):
        gw.read_records(path, "mds", decimals=",")


@pytest.mark.parametrize("command", ["map", "check", "score ipss-r", "run"])
def test_each_command_reads_the_sheet_that_is_named(command, tmp_path):
    import openpyxl

    book = openpyxl.Workbook()
    book.active.append(["notes"])
    sheet = book.create_sheet("data")
    for row in [
        ["patient_id", "HB", "os_years", "death"],
        *[[f"K{k}", 9 + k % 4, 1 + k % 7, k % 2] for k in range(30)],
    ]:
        sheet.append(row)
    path = tmp_path / "t.xlsx"
    book.save(path)
    more = {
        "run": "--time os_years --event death --shares 60,40 --repeats 0",
        "score ipss-r": "",
    }.get(command, "--disease mds")
    ran = CliRunner().invoke(app, [*command.split(), str(path), *more.split(), "--sheet", "data"])
    assert ran.exit_code in (0, 1) and "error" not in ran.output, ran.output


def test_reading_options_of_a_source_with_one_form_are_refused(tmp_path):
    (tmp_path / "bundle.json").write_text('{"resourceType": "Bundle"}')
    with pytest.raises(gw.CohortError, match="a table only"):
        gw.read_records(tmp_path / "bundle.json", "mds", sep=";")


def test_separators_may_be_said_in_words():
    meant = {"tab": "\t", "\\t": "\t", "semicolon": ";", "blanks": " ", "|": "|"}
    assert {word: TableOptions(word).checked("t").sep for word in meant} == meant


# --- from the file of a stranger to a federated run


def decided(folder: Path, name: str, content: str | bytes) -> tuple[list[str], dict, str]:
    """The decisions that a person makes from the file to the run, the result of the run, and all that was said.

    A decision is an edit of the proposed mapping, or an option beyond the file and the disease.
    """
    path, out, said = folder / name, folder / "mapping.toml", []
    path.write_bytes(content if isinstance(content, bytes) else content.encode())

    def run(*words: str) -> str:
        ran = CliRunner().invoke(app, list(words))
        said.append(ran.output)
        assert ran.exit_code == 0, ran.output
        return ran.stdout

    run("map", str(path), "--disease", "mds", "--out", str(out))
    proposal = out.read_text()
    decisions = ["confirmed = true"] if "confirmed = false" in proposal else []
    decisions += ["look at"] * said[-1].count("look at '")
    out.write_text(proposal.replace("confirmed = false", "confirmed = true"))
    asked = [word for word in decisions if word in said[-1]]
    assert asked == decisions, "each decision is asked for in words"
    checked = CliRunner().invoke(
        app, ["check", str(path), "--disease", "mds", "--mapping", str(out)]
    )
    assert "Stop:" not in checked.output
    options = ["--repeats", "0", "--penalty", "0.01", "--json"]
    return (
        decisions,
        json.loads(run("run", str(path), "--mapping", str(out), *options)),
        "".join(said),
    )


def test_an_r_export_and_an_excel_registry_come_to_a_federated_run(tmp_path):
    """The same virtual patients as an R study and as a German registry: at most three decisions each, the same
    cohort as the frame that both were written from, and coefficients as pooled training on that frame gives.
    """
    frame = patients()
    results = []
    for name, content in (("mds.csv", r_study(frame)), ("register.xlsx", registry(frame))):
        (tmp_path / name[:3]).mkdir()
        decisions, told, said = decided(tmp_path / name[:3], name, content)
        assert len(decisions) <= 3 and decisions == ["confirmed = true"]
        assert told["n"] == len(frame) and told["events"] == frame["dead"].sum()
        assert {site["name"]: site["n"] for site in told["sites"]} == {
            hospital: (frame["hospital"] == hospital).sum() for hospital in HOSPITALS
        }
        assert ("only counts the rows" in said) == (name == "mds.csv")
        results.append(told)
        cohort = gw.read_hospital(
            tmp_path / name[:3] / name, "mds", tmp_path / name[:3] / "mapping.toml"
        )
        assert cohort.frame.index.tolist() == frame["id"].tolist()
        np.testing.assert_allclose(cohort.X["hemoglobin"], frame["hb"])
        np.testing.assert_allclose(cohort.time, frame["months"] / 12)
    assert results[0]["coefficients"] == pytest.approx(results[1]["coefficients"], rel=1e-6)
    direct = pd.DataFrame(
        {
            "age": frame["age"],
            "sex": np.where(frame["female"], "female", "male"),
            "hemoglobin": frame["hb"],
            "platelets": frame["plt"],
            "marrow_blasts": frame["blasts"],
            "SF3B1": frame["sf3b1"],
            "hospital": frame["hospital"],
            "years": frame["months"] / 12,
            "dead": frame["dead"],
        }
    ).set_axis(frame["id"], axis=0)
    cohort = gw.Cohort.from_frame(direct, gw.Survival("years", "dead"), "hospital")
    X, y, site = training_table(gw.Federation.by_site(cohort, 0.2, 0))
    pooled = gw.CoxPH(penalty=0.01).fit(X, y, site=site).coefficients["coef"]
    assert results[0]["coefficients"] == pytest.approx(pooled.to_dict(), rel=1e-6)


def test_what_a_mapping_says_is_not_said_again(tmp_path):
    (tmp_path / "t.csv").write_text("id,HB,os_years,death\nK1,9,1,0\n")
    asked = ["run", str(tmp_path / "t.csv"), "--disease", "mds", "--time", "os_years"]
    ran = CliRunner().invoke(app, [*asked, "--unit", "years"])
    assert ran.exit_code == 2 and "--time, --unit: the mapping and the dictionary" in ran.output
    with_name = CliRunner().invoke(app, ["run", "made-up-aml", "--disease", "aml"])
    assert with_name.exit_code == 2 and "leave out --disease" in with_name.output


def test_a_hospital_file_trains_under_the_dictionarys_names(tmp_path):
    "Oracle: the same file read by `read_hospital`."
    text = "id,HB,PLT,os_years,death\n" + "".join(
        f"K{k},{9 + k % 4},{100 + 3 * k % 70},{1 + k % 7},{k % 2}\n" for k in range(60)
    )
    (tmp_path / "t.csv").write_text(text)
    asked = f"run {tmp_path / 't.csv'} --disease mds --shares 60,40 --repeats 0 --json".split()
    ran = CliRunner().invoke(app, asked)
    assert ran.exit_code == 0, ran.output
    cohort = gw.read_hospital(tmp_path / "t.csv", "mds")
    told = json.loads(ran.stdout)
    assert told["features"] == list(cohort.features) and told["events"] == cohort.n_events == 30
