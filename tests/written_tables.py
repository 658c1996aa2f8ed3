"""Tables as tools of other people write them, with made-up values: R's `write.table` and `write.csv`, and the
sheet of a registry with a title, hospitals merged over their patients, a row of units and a footnote.
"""

import io
from collections.abc import Iterable, Sequence

import numpy as np
import openpyxl
import pandas as pd

import genomed_workbench as gw

HOSPITALS = ("South", "North", "East")


def patients(n: int = 240) -> pd.DataFrame:
    "Virtual MDS patients of three hospitals, sorted by hospital, as their owners might hold them."
    cohort = gw.load_cohort("virtual-mds", n=n)
    frame = cohort.frame.reset_index(drop=True)
    months = (frame["os_years"] * 12).round(1).clip(lower=0.1)
    told = {
        "id": [f"MDS-{k:04d}" for k in range(1, n + 1)],
        "hospital": np.sort(np.arange(n) % 3),
        "age": frame["age"].round(),
        "female": frame["sex"].astype(str) == "female",
        "hb": frame["hemoglobin"].round(1),
        "plt": frame["platelets"].round(),
        "blasts": frame["marrow_blasts"].round(),
        "sf3b1": frame["SF3B1"],
        "months": months,
        "dead": frame["death"].astype(int),
    }
    return pd.DataFrame(told).assign(hospital=lambda f: [HOSPITALS[k] for k in f["hospital"]])


def _r_cell(cell: object, dec: str) -> str:
    "A cell as R writes it: texts in quotation marks, NA without."
    if cell is None or cell != cell:
        return "NA"
    if isinstance(cell, str):
        return '"{}"'.format(cell.replace('"', '""'))
    return f"{float(cell):.15g}".replace(".", dec)


def r_table(
    frame: pd.DataFrame,  # its index is the row names
    sep: str = " ",
    dec: str = ".",
    quote: bool = True,
    heading: str | None = None,  # of the row names; None: none, as `write.table` does
) -> str:
    "A data frame as `write.table` writes it; heading '' as `write.csv` does."
    names = [*([] if heading is None else [heading]), *map(str, frame.columns)]
    lines = [sep.join(_r_cell(name, dec) for name in names)]
    for name, row in zip(frame.index, frame.itertuples(index=False), strict=True):
        lines.append(sep.join([_r_cell(str(name), dec), *(_r_cell(cell, dec) for cell in row)]))
    text = "\n".join(lines) + "\n"
    return text if quote else text.replace('"', "")


def workbook(rows: Iterable[Sequence[object]], merged: Sequence[str] = ()) -> bytes:
    "An Excel workbook with one sheet."
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(list(row))
    for cells in merged:
        book.active.merge_cells(cells)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def r_study(frame: pd.DataFrame) -> str:
    "The patients as a study's data frame, filtered in R and written by `write.csv(mds, 'mds.csv')`."
    study = pd.DataFrame(
        {
            "subject_id": frame["id"],
            "centre": frame["hospital"],
            "age": frame["age"],
            "sex": np.where(frame["female"], "F", "M"),
            "hgb": frame["hb"],
            "plt": frame["plt"],
            "bm_blasts_pct": frame["blasts"],
            "sf3b1": frame["sf3b1"],
            "os_months": frame["months"],
            "death": frame["dead"],
        }
    )
    counted = [k + k // 7 for k in range(1, len(study) + 1)]  # the rows that a filter left
    return r_table(study.set_axis(counted, axis=0), ",", heading="")


def registry(frame: pd.DataFrame) -> bytes:
    "The patients as a German registry keeps them in Excel."
    header = (
        "Klinik",
        "Patienten-ID",
        "Alter",
        "Geschlecht",
        "Hb",
        "Thrombozyten",
        "Blasten KM",
        "SF3B1",
        "Überlebenszeit",
        "verstorben",
    )
    units = (None, None, "Jahre", "m/w", "g/l", "G/l", "%", "mut/wt", "Monate", "ja/nein")
    body = [
        (
            one.hospital
            if place == 0 or frame["hospital"].iloc[place - 1] != one.hospital
            else None,
            one.id,
            one.age,
            "w" if one.female else "m",
            None if one.hb != one.hb else round(10 * one.hb),
            None if one.plt != one.plt else one.plt,
            None if one.blasts != one.blasts else one.blasts,
            None if one.sf3b1 != one.sf3b1 else "mut" if one.sf3b1 else "wt",
            one.months,
            "ja" if one.dead else "nein",
        )
        for place, one in enumerate(frame.itertuples())
    ]
    rows = [("MDS-Register, Stand 1. März 2024",), (), header, units, *body, ()]
    rows.append(("* Blasten nach Zytologie, nicht Histologie",))
    places = {name: np.flatnonzero(frame["hospital"] == name) + 5 for name in HOSPITALS}
    merged = [f"A{where[0]}:A{where[-1]}" for where in places.values()]
    return workbook(rows, ["A1:J1", *merged, f"A{len(rows)}:J{len(rows)}"])
