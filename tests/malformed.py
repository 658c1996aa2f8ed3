"Kinds of malformed files: (name, writer(folder) -> (path, keywords of read_cohort), what the message must contain)."

import gzip
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

Writer = Callable[[Path], tuple[Path, dict[str, Any]]]
ASKED = {"time": "os_years", "event": "os_event", "site": "center"}
HEADER = ["patient_id", "center", "os_years", "os_event", "age", "wbc"]


def good_rows(n: int = 30) -> list[list[str]]:
    "Rows of a file that is read without a word."
    return [
        [
            f"P{i}",
            "ABC"[i % 3],
            f"{0.5 + i / 7:.2f}",
            str(i % 2),
            str(40 + (i * 7) % 29),
            f"{1 + (i * 37 % 100) / 10:.1f}",
        ]
        for i in range(1, n + 1)
    ]


def text_of(rows: list[list[str]], header: list[str] = HEADER, sep: str = ",") -> str:
    "Rows as a text table."
    return "\n".join(sep.join(row) for row in [header, *rows]) + "\n"


def changed(*cells: tuple[int, str, str]) -> str:
    "The good file with cells changed: (spreadsheet row, column, text)."
    rows = good_rows()
    for row, column, value in cells:
        rows[row - 2][HEADER.index(column)] = value
    return text_of(rows)


def column_of(name: str, value: Callable[[int], str], header: list[str] = HEADER) -> str:
    "The good file with one column replaced."
    rows = good_rows()
    for i, row in enumerate(rows):
        row[HEADER.index(name)] = value(i)
    return text_of(rows, header)


def with_column(name: str, value: Callable[[int], str]) -> str:
    "The good file with one column more."
    return text_of([[*row, value(i)] for i, row in enumerate(good_rows())], [*HEADER, name])


def writes(content: str | bytes, filename: str = "patients.csv", **asked: Any) -> Writer:
    "A writer of one file."

    def write(folder: Path) -> tuple[Path, dict[str, Any]]:
        path = folder / filename
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return path, {**ASKED, **asked}

    return write


def _no_file(folder: Path) -> tuple[Path, dict[str, Any]]:
    (folder / "patients.csv").write_text("a,b\n1,2\n")
    return folder / "patient.csv", ASKED


def _folder(folder: Path) -> tuple[Path, dict[str, Any]]:
    (folder / "patients.csv").mkdir()
    return folder / "patients.csv", ASKED


def _zip(folder: Path) -> tuple[Path, dict[str, Any]]:
    path = folder / "patients.csv"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    return path, ASKED


def parquet(
    change: Callable[[pd.DataFrame], pd.DataFrame] = lambda frame: frame, cut: int | None = None
) -> Writer:
    "A writer of a Parquet file, cut off after some bytes."

    def write(folder: Path) -> tuple[Path, dict[str, Any]]:
        frame = pd.DataFrame(good_rows(), columns=HEADER)
        frame = change(
            frame.astype({"os_years": float, "os_event": int, "age": float, "wbc": float})
        )
        path = folder / "patients.parquet"
        frame.to_parquet(path)
        if cut is not None:
            path.write_bytes(path.read_bytes()[:cut])
        return path, ASKED

    return write


def _asking(write: Writer, **asked: Any) -> Writer:
    "The same file with more arguments."

    def more(folder: Path) -> tuple[Path, dict[str, Any]]:
        path, given = write(folder)
        return path, {**given, **asked}

    return more


def _swapped(frame: pd.DataFrame, **columns: Any) -> pd.DataFrame:
    return frame.assign(**columns)


PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
RAGGED_LONG = text_of([*good_rows()[:5], [*good_rows()[5], "1,5"], *good_rows()[6:]])
RAGGED_SHORT = text_of([*good_rows()[:5], good_rows()[5][:4], *good_rows()[6:]])
TWO_LINES = changed((5, "center", '"A'))

MALFORMED: list[tuple[str, Writer, tuple[str, ...]]] = [
    # the file itself
    ("missing file", _no_file, ("patient.csv", "no such file", "patients.csv")),
    (
        "missing folder",
        lambda folder: (folder / "nowhere" / "patients.csv", ASKED),
        ("no such file", "folder"),
    ),
    ("folder", _folder, ("folder", "Name the file")),
    ("empty file", writes(""), ("empty", "patients.csv")),
    ("only blanks", writes(" \n\n \n"), ("empty", "patients.csv")),
    ("header only", writes(text_of([])), ("no patients",)),
    ("PNG picture", writes(PNG), ("PNG",)),
    ("JPEG picture", writes(b"\xff\xd8\xff\xe0" + bytes(40)), ("JPEG",)),
    ("workbook", _zip, ("Excel", "save the sheet as CSV")),
    ("old workbook", writes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(90)), ("Excel", "CSV")),
    ("gzip", writes(gzip.compress(text_of(good_rows()).encode())), ("gzip", "Unpack")),
    ("PDF", writes(b"%PDF-1.7\n%\xe2\xe3\n"), ("PDF",)),
    (
        "HTML",
        writes("<!DOCTYPE html>\n<html><body>Please sign in</body></html>"),
        ("HTML", "Download"),
    ),
    ("JSON", writes('[{"age": 61, "os_years": 1.5}]'), ("JSON",)),
    ("XML", writes("<?xml version='1.0'?><a/>"), ("XML",)),
    (
        "null bytes",
        writes(text_of(good_rows()).encode().replace(b"P9", b"P\x00")),
        ("control character", "row 10"),
    ),
    ("random bytes", writes(bytes((i * 197 + 31) % 256 for i in range(3000))), ("patients.csv",)),
    (
        "UTF-16 without its mark",
        writes(text_of(good_rows()).encode("utf-16-le")),
        ("control character", "UTF-8"),
    ),
    (
        "wrong encoding named",
        writes(text_of(good_rows()).encode("utf-8") + b"\xff", encoding="utf-8"),
        ("byte", "encoding"),
    ),
    (
        "unknown encoding named",
        writes(text_of(good_rows()), encoding="klingon"),
        ("klingon", "encoding"),
    ),
    (
        "neither UTF-8 nor Windows",
        writes(text_of(good_rows()).replace("P9", "P\x81").encode("latin-1")),
        ("0x81", "row 10"),
    ),
    # its shape
    ("one column", writes("just some text\nand more\n"), ("single column", "sep=")),
    ("separators do not fit", writes(text_of(good_rows(), sep="#")), ("single column", "sep=")),
    ("wrong separator named", writes(text_of(good_rows()), sep=";"), ("single column", "comma")),
    (
        "impossible separator named",
        writes(text_of(good_rows()), sep=";;"),
        ("sep", "one character"),
    ),
    ("row too long", writes(RAGGED_LONG), ("row 7", "8 cells", "6 cells")),
    ("row too short", writes(RAGGED_SHORT), ("row 7", "4 cells", "'age'")),
    ("unclosed quote", writes(TWO_LINES), ("row 5", "quotation mark")),
    ("text after a quote", writes(changed((5, "center", '"A"B'))), ("row 5", "quot")),
    (
        "column named twice",
        writes(text_of(good_rows(), [*HEADER[:5], "age"])),
        ("row 1", "'age'", "2 columns", "Rename"),
    ),
    (
        "column without a name",
        writes(text_of(good_rows(), [*HEADER[:5], ""])),
        ("row 1", "column 6 has no name"),
    ),
    (
        "no header",
        writes("\n".join(f"{i},{i % 3},{i + 0.5},{i % 2}" for i in range(1, 30))),
        ("header",),
    ),
    (
        "title above values",
        writes("Register 2024\n\n" + text_of(good_rows()).split("\n", 1)[1]),
        ("single column", "sep=", "header="),
    ),
    (
        "no such header",
        writes("a,b\n\n1,2\n", header=2),
        ("row 2", "nothing", "names of the columns"),
    ),
    ("impossible header", writes(text_of(good_rows()), header=0), ("header=0", "from 1")),
    # its columns
    (
        "misspelt time",
        writes(text_of(good_rows()), time="os_year"),
        ("os_year", "Did you mean 'os_years'"),
    ),
    (
        "other case",
        writes(text_of(good_rows()), event="OS_EVENT"),
        ("OS_EVENT", "Did you mean 'os_event'"),
    ),
    ("missing site", writes(text_of(good_rows()), site="Zentrum"), ("Zentrum", "center")),
    (
        "missing feature",
        writes(text_of(good_rows()), features=["age", "wbcs"]),
        ("wbcs", "Did you mean 'wbc'"),
    ),
    ("missing id", writes(text_of(good_rows()), id="pat"), ("'pat'", "patient_id")),
    (
        "missing binary outcome",
        writes(text_of(good_rows()), time=None, event=None, outcome="remission"),
        ("remission",),
    ),
    ("no outcome named", writes(text_of(good_rows()), time=None, event=None), ("time and event",)),
    ("time without event", writes(text_of(good_rows()), event=None), ("event=None",)),
    (
        "time is a feature",
        writes(text_of(good_rows()), features=["age", "os_years"]),
        ("os_years", "leak"),
    ),
    (
        "event is a feature",
        writes(text_of(good_rows()), features=["age", "os_event"]),
        ("os_event", "leak"),
    ),
    (
        "time under another name",
        writes(with_column("days", lambda i: repr(float(good_rows()[i][2]) * 365.25))),
        ("'days'", "leak"),
    ),
    (
        "feature named twice",
        writes(text_of(good_rows()), features=["age", "age"]),
        ("'age'", "2 times"),
    ),
    (
        "time and event the same",
        writes(text_of(good_rows()), event="os_years"),
        ("os_years", "same column"),
    ),
    (
        "site is the event",
        writes(text_of(good_rows()), site="os_event"),
        ("os_event", "same column"),
    ),
    (
        "id is a feature",
        writes(text_of(good_rows()), id="age", features=["age", "wbc"]),
        ("'age'", "id"),
    ),
    (
        "no features left",
        writes(text_of([row[:4] for row in good_rows()], HEADER[:4])),
        ("no feature",),
    ),
    ("empty feature list", writes(text_of(good_rows()), features=[]), ("no feature",)),
    # its cells
    (
        "negative time",
        writes(changed((4, "os_years", "-0.5"))),
        ("row 4", "'os_years'", "-0.5", "zero or more"),
    ),
    (
        "time with a unit",
        writes(changed((4, "os_years", "12 months"))),
        ("row 4", "'os_years'", "12 months", "number only"),
    ),
    (
        "time as a date",
        writes(changed((4, "os_years", "2021-03-04"))),
        ("row 4", "2021-03-04", "date"),
    ),
    (
        "all times are dates",
        writes(column_of("os_years", lambda i: f"2021-03-{i + 1:02d}")),
        ("row 2", "'os_years'", "'2021-03-01'", "date"),
    ),
    (
        "all times have a unit",
        writes(column_of("os_years", lambda i: f"{i} months")),
        ("row 3", "'os_years'", "'1 months'", "unit"),
    ),
    (
        "infinite time",
        writes(changed((4, "os_years", "inf"))),
        ("row 4", "'os_years'", "inf", "finite"),
    ),
    ("all times zero", writes(column_of("os_years", lambda i: "0")), ("'os_years'", "zero")),
    (
        "all times missing",
        writes(column_of("os_years", lambda i: "NA")),
        ("'os_years'", "missing for every patient"),
    ),
    (
        "event 2",
        writes(changed((6, "os_event", "2"))),
        ("row 6", "'os_event'", "'2'", "event_values"),
    ),
    (
        "event in words",
        writes(column_of("os_event", lambda i: ["alive", "dead"][i % 2])),
        ("row 2", "'alive'", "event_values={'alive': 0, 'dead': 1}"),
    ),
    (
        "event coded 1 and 2",
        writes(column_of("os_event", lambda i: str(1 + i % 2))),
        ("'os_event'", "'2'", "{'1': 0, '2': 1}"),
    ),
    ("event one half", writes(changed((6, "os_event", "0.5"))), ("row 6", "0.5", "event_values")),
    ("event all 0", writes(column_of("os_event", lambda i: "0")), ("'os_event'", "no events")),
    (
        "event all missing",
        writes(column_of("os_event", lambda i: "")),
        ("'os_event'", "missing for every patient"),
    ),
    (
        "event not in the coding",
        writes(
            column_of("os_event", lambda i: ["alive", "dead", "lost"][i % 3]),
            event_values={"dead": 1, "alive": 0},
        ),
        ("'lost'", "row 4"),
    ),
    (
        "binary all 1",
        writes(
            column_of("os_event", lambda i: "1"),
            time=None,
            event=None,
            outcome="os_event",
            features=["age"],
        ),
        ("'os_event'", "both answers"),
    ),
    (
        "zero time refused",
        writes(changed((4, "os_years", "0")), zero_time="error"),
        ("row 4", "'os_years'", "zero_time"),
    ),
    (
        "missing outcome refused",
        writes(changed((4, "os_event", "")), missing_outcome="error"),
        ("row 4", "'os_event'", "missing_outcome"),
    ),
    (
        "impossible choice",
        writes(text_of(good_rows()), zero_time="ignore"),
        ("zero_time", "half-unit"),
    ),
    (
        "patient twice",
        writes(changed((9, "patient_id", "P2"))),
        ("row 9", "'patient_id'", "'P2'", "row 3"),
    ),
    ("patient without id", writes(changed((9, "patient_id", ""))), ("row 9", "'patient_id'")),
    (
        "long ids twice",
        writes(changed((8, "patient_id", "1" * 60), (9, "patient_id", "1" * 60))),
        ("row 9", "'patient_id'", "row 8"),
    ),
    ("empty site", writes(changed((3, "center", ""))), ("row 3", "'center'", "site")),
    ("unknown site", writes(changed((3, "center", "unknown"))), ("row 3", "'center'", "site")),
    (
        "text in a number column",
        writes(changed((4, "wbc", "high"))),
        ("row 4", "'wbc'", "'high'", "number"),
    ),
    (
        "below detection",
        writes(changed((4, "wbc", "<0.1"))),
        ("row 4", "'wbc'", "'<0.1'", "detection limit"),
    ),
    ("decimal comma", writes(changed((4, "wbc", '"3,5"'))), ("row 4", "'wbc'", "'3,5'", "decimal")),
    (
        "thousands separator",
        writes(changed((4, "wbc", '"1.234,5"'))),
        ("row 4", "'wbc'", "1.234,5", "thousands"),
    ),
    ("percent", writes(changed((4, "wbc", "45%"))), ("row 4", "'wbc'", "45%")),
    (
        "infinite feature",
        writes(changed((4, "wbc", "1e999"))),
        ("row 4", "'wbc'", "1e999", "finite"),
    ),
    (
        "decimal points and commas",
        writes(text_of(good_rows(), sep=";").replace(";4.7\n", ";4,7\n")),
        ("'wbc'", "'4,7'", "decimal"),
    ),
    (
        "feature all empty",
        writes(column_of("wbc", lambda i: "NA")),
        ("'wbc'", "missing for every patient"),
    ),
    (
        "free text",
        writes(with_column("remark", lambda i: f"seen in clinic on visit {i} and stable")),
        ("'remark'", "free text"),
    ),
    (
        "identifier",
        writes(with_column("sample", lambda i: f"S{i:05d}x")),
        ("'sample'", "identifier"),
    ),
    (
        "identifier of many digits",
        writes(with_column("barcode", lambda i: str(10**19 + i))),
        ("'barcode'", "identifier"),
    ),
    (
        "decimal commas in every row",
        writes(column_of("wbc", lambda i: f'"{i % 9},5"')),
        ("row 2", "'wbc'", "'0,5'", "decimal"),
    ),
    (
        "percent in every row",
        writes(column_of("wbc", lambda i: f"{i % 9 + 1}%")),
        ("row 2", "'wbc'", "'1%'", "sign"),
    ),
    (
        "damaged UTF-8",
        writes(
            changed(
                (4, "center", "Zürich"), (5, "center", "Köln"), (6, "center", "Würzburg")
            ).encode()
            + b"P99,A\xff,1,1,1,1\n"
        ),
        ("0xff", "UTF-8"),
    ),
    ("device", lambda folder: (Path("/dev/zero"), ASKED), ("device",)),
    (
        "bad home",
        lambda folder: (Path("~nobody-of-that-name/patients.csv"), ASKED),
        ("no such file",),
    ),
    (
        "dates as a feature",
        writes(with_column("diagnosed", lambda i: f"{1 + i % 28:02d}.03.2021")),
        ("row 2", "'diagnosed'", "date"),
    ),
    # Parquet
    ("Parquet cut off", parquet(cut=900), ("patients.parquet", "Parquet")),
    (
        "Parquet of a few bytes",
        writes(b"PAR1", "patients.parquet"),
        ("patients.parquet", "Parquet"),
    ),
    ("Parquet in name only", writes(PNG, "patients.parquet"), ("PNG",)),
    (
        "Parquet with dates",
        parquet(lambda f: _swapped(f, seen=pd.Timestamp("2020-01-01"))),
        ("'seen'", "dates"),
    ),
    (
        "Parquet with lists that are asked for",
        _asking(parquet(lambda f: _swapped(f, genes=[["TP53"]] * len(f))), features=["genes"]),
        ("'genes'", "each cell is a list", "one value"),
    ),
    (
        "Parquet with infinity",
        parquet(lambda f: _swapped(f, wbc=f["wbc"].where(f.index != 3, float("inf")))),
        ("row 5", "'wbc'", "inf"),
    ),
    (
        "Parquet with negative time",
        parquet(lambda f: _swapped(f, os_years=f["os_years"].where(f.index != 3, -2.0))),
        ("row 5", "'os_years'", "-2"),
    ),
    (
        "Parquet with a patient twice",
        parquet(lambda f: _swapped(f, patient_id=f["patient_id"].where(f.index != 3, "P1"))),
        ("row 5", "'P1'"),
    ),
]
