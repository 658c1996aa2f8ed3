"""Makes the files of this folder: thirty exports with planted faults, five clean ones, their mappings, and faults.toml.

Every patient is virtual; names, numbers and addresses of persons are invented. Run
`python tests/hospital_files/make.py` to make all again.
"""

import csv
import io
import json
import sys
import warnings
import zipfile
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd

import genomed_workbench as gw
from genomed_workbench.clinic.dictionary import dictionary
from genomed_workbench.intake.mapping import Column, Mapping

HERE = Path(__file__).parent
LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"
GENES = [one.name for one in dictionary("mds") if one.group == "genes" and one.kind == "yes-no"]
CLASSES = ["Very Good", "Good", "Intermediate", "Poor", "Very Poor"]


def patients(disease: str, seed: int, n: int = 150, center: str = "H") -> pd.DataFrame:
    "Virtual patients with ids and dates, in the dictionary's units; every fact fits every other."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame = gw.load_cohort(f"virtual-{disease}", n=n, seed=seed).frame
    frame = frame[[name for name in dictionary(disease).names if name in frame]].reset_index(
        drop=True
    )
    frame = frame.astype(
        {name: object for name in frame if isinstance(frame[name].dtype, pd.CategoricalDtype)}
    )
    rng = np.random.default_rng([seed, 7])
    frame.insert(
        0,
        "Patient ID",
        [f"{center}{number:05d}" for number in rng.choice(90_000, n, replace=False) + 10_000],
    )
    if "os_years" in frame:
        days = np.maximum((frame["os_years"].fillna(1) * 365.25).round().astype(int), 1)
        born = pd.Timestamp("2024-06-30") - pd.to_timedelta(
            days + rng.integers(0, 1500, n), unit="D"
        )
        ended = born + pd.to_timedelta(days, unit="D")
        frame["os_years"] = (days / 365.25).round(3)
        frame["diagnosis_date"], frame["last_contact_date"] = born, ended
        frame["death_date"] = ended.where(frame["death"] == 1)
    return frame


def in_words(
    frame: pd.DataFrame, yes: str, no: str, sexes: dict[str, str], dates: str, flags: bool = True
) -> pd.DataFrame:
    "The frame in a hospital's words; numbers stay numbers."
    out = frame.copy()
    book = dictionary("mds"), dictionary("aml"), dictionary("mm"), dictionary("scd")
    for name in out:
        kinds = {one[name].kind for one in book if name in one}
        if "yes-no" in kinds and flags:
            out[name] = out[name].map({1.0: yes, 0.0: no})
        elif "date" in kinds:
            out[name] = out[name].dt.strftime(dates)
        elif name == "cytogenetic_risk":
            out[name] = out[name].map(dict(enumerate(CLASSES)))
    return out.assign(sex=out["sex"].map(sexes)) if "sex" in out else out


def cell(value: object, decimal: str) -> str:
    "A cell as text."
    if value is None or value is pd.NaT or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, (float, np.floating)):
        return f"{value:.10g}".replace(".", decimal)
    return str(value)


def write_text(
    frame: pd.DataFrame, name: str, sep: str = ",", decimal: str = ".", encoding: str = "utf-8"
) -> None:
    "A text table."
    text = io.StringIO()
    rows = csv.writer(text, delimiter=sep, lineterminator="\n")
    rows.writerow(frame.columns)
    rows.writerows(
        [cell(value, decimal) for value in row] for row in frame.itertuples(index=False, name=None)
    )
    (HERE / name).write_bytes(text.getvalue().encode(encoding))


def write_excel(frame: pd.DataFrame, name: str, title: str | None = None) -> None:
    "A workbook, with a title above the header where there is one; the same bytes every time."
    book = openpyxl.Workbook()
    book.properties.created = book.properties.modified = datetime(2026, 1, 1)
    sheet = book.active
    if title:
        sheet.append([title])
        sheet.append([])
    sheet.append(list(frame.columns))
    for row in frame.itertuples(index=False, name=None):
        sheet.append(
            [
                None
                if value is pd.NaT or (isinstance(value, float) and np.isnan(value))
                else value.item()
                if isinstance(value, np.generic)
                else value
                for value in row
            ]
        )
    raw = io.BytesIO()
    book.save(raw)
    with (
        zipfile.ZipFile(raw) as old,
        zipfile.ZipFile(HERE / name, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for part in old.namelist():
            content = old.read(part)
            if part == "docProps/core.xml":
                content = (
                    content.split(b"<dcterms:modified")[0] + b"<dcterms:modified "
                    b'xsi:type="dcterms:W3CDTF">2026-01-01T00:00:00Z</dcterms:modified></cp:coreProperties>'
                )
            new.writestr(
                zipfile.ZipInfo(part, (2026, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED
            )


R_NAMES = {
    "hemoglobin": "HB",
    "platelets": "PLT",
    "neutrophils": "ANC",
    "white_cells": "WBC",
    "marrow_blasts": "BM_BLAST",
    "cytogenetic_risk": "CYTO_IPSSR",
    "age": "AGE",
    "sex": "SEX",
}
GERMAN = {
    "Patient ID": "Pat-Nr",
    "age": "Alter bei ED",
    "sex": "Geschl",
    "hemoglobin": "Hb g/l",
    "platelets": "Thrombos (Gpt/l)",
    "neutrophils": "Neutro abs",
    "white_cells": "Leukos",
    "marrow_blasts": "Blasten KM %",
    "karyotype": "Karyotyp (ISCN)",
    "cytogenetic_risk": "Zytogen. Risiko",
    "diagnosis_date": "ED-Datum",
    "last_contact_date": "letzter Kontakt",
    "death_date": "Todesdatum",
    "death": "verstorben",
}
ITALIAN = {
    "Patient ID": "patient_id",
    "age": "eta",
    "sex": "sesso",
    "hemoglobin": "emoglobina",
    "platelets": "piastrine",
    "neutrophils": "neutrofili",
    "white_cells": "globuli bianchi",
    "marrow_blasts": "blasti midollari",
    "karyotype": "cariotipo",
    "diagnosis_date": "data diagnosi",
    "last_contact_date": "data ultimo contatto",
    "death_date": "data decesso",
    "death": "deceduto",
}
SPANISH = {
    "Patient ID": "patient_id",
    "age": "edad",
    "sex": "sexo",
    "hemoglobin": "hemoglobina",
    "platelets": "plaquetas",
    "neutrophils": "neutrofilos",
    "white_cells": "leucocitos",
    "marrow_blasts": "blastos en medula osea",
    "karyotype": "cariotipo",
    "diagnosis_date": "fecha de diagnostico",
    "last_contact_date": "fecha ultimo contacto",
    "death_date": "fecha de muerte",
    "death": "fallecido",
}


def english(
    disease: str, seed: int, n: int = 150, dates: bool = True, **more: object
) -> pd.DataFrame:
    "An English export: names of the R package, 0 and 1."
    frame = patients(disease, seed, n, **more)
    if not dates:
        frame = frame.drop(columns=["diagnosis_date", "last_contact_date", "death_date"])
    return in_words(frame, "1", "0", {"female": "F", "male": "M"}, "%Y-%m-%d").rename(
        columns=R_NAMES
    )


def german(seed: int, n: int = 150) -> tuple[pd.DataFrame, Mapping]:
    "A German export with names and units of its own, and its mapping; hemoglobin in g/L."
    frame = patients("mds", seed, n, center="M")
    frame["hemoglobin"] = (frame["hemoglobin"] * 10).round()
    frame = (
        in_words(frame, "ja", "nein", {"female": "weiblich", "male": "männlich"}, "%d.%m.%Y")
        .drop(columns="os_years")
        .rename(columns=GERMAN)
    )
    columns = {mine: Column(name) for name, mine in GERMAN.items() if name != "Patient ID"} | {
        gene: Column(gene) for gene in frame if gene in dictionary("mds")
    }
    columns |= {
        "Hb g/l": Column("hemoglobin", unit="g/L"),
        "Thrombos (Gpt/l)": Column("platelets", unit="10^9/L"),
    }
    return frame, Mapping(
        "mds",
        {name: column for name, column in columns.items() if name in frame},
        id="Pat-Nr",
        decimal=",",
        date_format="DD.MM.YYYY",
    )


def latin(
    names: dict[str, str],
    seed: int,
    yes: str,
    sexes: dict[str, str],
    n: int = 150,
    disease: str = "mds",
) -> pd.DataFrame:
    "An export from the south: aliases of the dictionary, decimal commas, days first."
    return (
        in_words(patients(disease, seed, n, center="S"), yes, "no", sexes, "%d/%m/%Y")
        .drop(columns="os_years")
        .rename(columns=names)
    )


def rows(positions: np.ndarray | list[int], header: int = 1) -> list[int]:
    "Spreadsheet rows of positions."
    return [int(one) + header + 1 for one in sorted(positions)]


def fault(
    kind: str,
    story: str,
    variable: str | None = None,
    column: str | None = None,
    rows: list[int] | str = "all",
) -> dict[str, object]:
    "One planted fault."
    return {"kind": kind, "variable": variable, "column": column, "rows": rows, "story": story}


FOLDER: list[dict[str, object]] = []


def keep(
    name: str, disease: str, *faults: dict[str, object], mapping: Mapping | None = None
) -> None:
    "Note a file with its faults, and write its mapping."
    told = {"name": name, "disease": disease, "faults": list(faults)}
    if mapping is not None:
        told["mapping"] = str(mapping.write(HERE / f"{Path(name).stem}.mapping.toml").name)
    FOLDER.append(told)


def some(frame: pd.DataFrame, count: int, seed: int, where: pd.Series | None = None) -> np.ndarray:
    "A few positions, drawn."
    among = np.arange(len(frame)) if where is None else np.flatnonzero(where)
    return np.sort(np.random.default_rng([seed, 99]).choice(among, count, replace=False))


def wrong_units() -> None:
    frame = english("mds", 1)
    frame["HB"] = (frame["HB"] * 10).round()
    write_text(frame, "01_grams_per_litre.csv")
    keep(
        "01_grams_per_litre.csv",
        "mds",
        fault(
            "wrong-unit",
            "hemoglobin in g/L throughout, without a word about it",
            "hemoglobin",
            "HB",
        ),
    )

    frame, mapping = german(2)
    some_rows = np.flatnonzero(np.arange(len(frame)) % 3 == 0)
    some_rows = some_rows[frame["Hb g/l"].iloc[some_rows].notna()]
    frame.loc[some_rows, "Hb g/l"] = (frame.loc[some_rows, "Hb g/l"] / 10).round(1)
    write_text(frame, "02_two_laboratories.csv", ";", ",")
    keep(
        "02_two_laboratories.csv",
        "mds",
        fault(
            "mixed-units",
            "a third of the hemoglobins in g/dL, the others in g/L as the mapping says",
            "hemoglobin",
            "Hb g/l",
            rows(some_rows),
        ),
        mapping=mapping,
    )

    frame = english("mds", 24)
    frame["TP53_max_vaf"] = (frame["TP53_max_vaf"].astype(float) * 100).round(1)
    frame["SEX"] = frame["SEX"].map({"F": "2", "M": "1"})
    write_text(frame, "24_vaf_in_percent.tsv", "\t")
    keep(
        "24_vaf_in_percent.tsv",
        "mds",
        fault("wrong-unit", "TP53 allele fraction in percent", "TP53_max_vaf", "TP53_max_vaf"),
        fault("unknown-code", "sex coded 1 and 2, nobody says which is which", "sex", "SEX"),
    )

    frame = english("aml", 25)
    frame["HB"] = (frame["HB"] / 1.61145).round(1)
    write_text(frame, "25_millimoles.csv", ";", ",")
    keep(
        "25_millimoles.csv",
        "aml",
        fault(
            "wrong-unit", "hemoglobin in mmol/L, as Dutch laboratories write it", "hemoglobin", "HB"
        ),
    )

    frame = english("mds", 26)
    frame["PLT"] = frame["PLT"] * 1000
    frame.loc[40:50, "ANC"] = 2.37
    write_text(frame, "26_per_microlitre.csv")
    keep(
        "26_per_microlitre.csv",
        "mds",
        fault("wrong-unit", "platelets per microlitre", "platelets", "PLT"),
        fault(
            "filled-down",
            "one neutrophil count dragged down over eleven rows",
            "neutrophils",
            "ANC",
            rows(range(40, 51)),
        ),
    )

    frame = latin(SPANISH, 29, "si", {"female": "mujer", "male": "hombre"})
    lost = some(
        frame,
        6,
        29,
        (frame["hemoglobina"] * 10 % 10 > 0)
        & (frame["hemoglobina"] < 14)
        & (frame["hemoglobina"] > 4),
    )
    frame.loc[lost, "hemoglobina"] = (frame.loc[lost, "hemoglobina"] * 10).round()
    future = some(frame, 3, 290)
    frame.loc[future, "fecha ultimo contacto"] = "14/02/2062"
    frame.loc[future, "fecha de muerte"], frame.loc[future, "fallecido"] = np.nan, "no"
    write_text(frame, "29_lost_comma.csv", ";", ",")
    keep(
        "29_lost_comma.csv",
        "mds",
        fault("lost-decimal", "98 in place of 9,8", "hemoglobin", "hemoglobina", rows(lost)),
        fault(
            "future-date",
            "last contact in 2062",
            "last_contact_date",
            "fecha ultimo contacto",
            rows(future),
        ),
    )


def wrong_codes() -> None:
    frame = english("mds", 3)
    frame["CYTO_IPSSR"] = frame["CYTO_IPSSR"].map(
        {word: str(place) for place, word in enumerate(CLASSES, start=1)}
    )
    short = some(frame, 12, 3)
    frame.loc[short, "Patient ID"] = ["4.7E+09", "4,71E+09", "1.2E+10"] + [
        f"{2 + one / 10:.1f}E+09" for one in range(9)
    ]
    write_text(frame, "03_class_from_one.csv")
    keep(
        "03_class_from_one.csv",
        "mds",
        fault(
            "shifted-code",
            "cytogenetic class coded 1 to 5 in place of 0 to 4",
            "cytogenetic_risk",
            "CYTO_IPSSR",
        ),
        fault("scientific-id", "ids shortened by a spreadsheet", None, "Patient ID", rows(short)),
    )

    frame = english("mds", 4)
    frame["death"] = frame["death"].map({"0": "1", "1": "2"})
    again = 77
    frame = pd.concat(
        [
            frame.iloc[:again],
            pd.DataFrame([list(frame.columns)], columns=frame.columns),
            frame.iloc[again:],
        ]
    )
    write_text(frame, "04_event_one_two.csv")
    keep(
        "04_event_one_two.csv",
        "mds",
        fault("shifted-code", "death coded 1 (alive) and 2 (dead)", "death", "death"),
        fault("repeated-header", "two exports pasted together", None, None, [again + 2]),
    )

    frame = english("mds", 21, dates=False, n=190)
    frame["death"] = frame["death"].map({"0": "1", "1": "0"})
    write_text(frame, "21_event_reversed.csv")
    keep(
        "21_event_reversed.csv",
        "mds",
        fault("inverted-event", "1 means alive, and nobody says so", "death", "death"),
    )

    frame, mapping = german(20)
    broken = np.flatnonzero(frame["Geschl"] == "männlich")
    frame["Geschl"] = frame["Geschl"].str.replace("ä", "Ã¤")
    write_text(frame, "20_wrong_encoding.csv", ";", ",")
    keep(
        "20_wrong_encoding.csv",
        "mds",
        fault("mojibake", "männlich after a wrong encoding", "sex", "Geschl", rows(broken)),
        mapping=mapping,
    )

    frame = english("mds", 27)
    frame["karyotype"], frame["who_class"] = frame["who_class"], frame["karyotype"]
    write_text(frame, "27_swapped_columns.csv")
    keep(
        "27_swapped_columns.csv",
        "mds",
        fault(
            "swapped-columns",
            "WHO class and karyotype have changed places",
            "karyotype",
            "karyotype",
        ),
        fault("swapped-columns", "the other one of the two", "who_class", "who_class"),
    )


def leaks() -> None:
    frame = english("mds", 5, n=180)
    rng = np.random.default_rng(5)
    died = (frame["death"] == "1").to_numpy()
    frame["palliative_ward"] = np.where(
        rng.random(len(frame)) < np.where(died, 0.97, 0.01), "1", "0"
    )
    write_text(frame, "05_leak.csv")
    keep(
        "05_leak.csv",
        "mds",
        fault("leak", "a ward where patients go to die", None, "palliative_ward"),
    )


def twice() -> None:
    frame = english("mds", 6)
    again = frame.iloc[[11, 48]].copy()
    again["HB"] = again["HB"].astype(float).add([0.7, -0.4]).round(1)
    again["PLT"], again["ANC"], again["WBC"] = [88.0, 213.0], [1.1, 2.9], [3.0, 4.8]
    for name in ("diagnosis_date", "last_contact_date", "death_date"):
        again[name] = pd.to_datetime(again[name]) + timedelta(days=90)
        again[name] = again[name].dt.strftime("%Y-%m-%d")
    frame = pd.concat([frame, again], ignore_index=True)
    write_text(frame, "06_id_twice.csv")
    keep(
        "06_id_twice.csv",
        "mds",
        fault(
            "duplicate-id",
            "two patients with a second visit as a second row",
            None,
            "Patient ID",
            rows([11, 48, 150, 151]),
        ),
    )

    frame = english("mds", 7)
    copies = frame.iloc[[5, 60, 133]].copy()
    copies["Patient ID"], copies["PLT"] = (
        ["H90001", "H90002", "H90003"],
        copies["PLT"].astype(float).add([0, 3, 0]),
    )
    frame = pd.concat(
        [frame.iloc[:100], copies.iloc[:1], frame.iloc[100:], copies.iloc[1:]], ignore_index=True
    )
    places = [5, 100, 60, 151, 134, 152]
    write_excel(frame, "07_two_ids.xlsx")
    keep(
        "07_two_ids.xlsx",
        "mds",
        fault(
            "same-patient",
            "three patients under a second id, one with a corrected platelet count",
            None,
            "Patient ID",
            rows(places),
        ),
    )


FIRST = [
    "Anna",
    "Marko",
    "Luca",
    "Elif",
    "Sofia",
    "Peer",
    "Nora",
    "Ivo",
    "Mila",
    "Tomas",
    "Clara",
    "Emil",
    "Rosa",
    "Hugo",
    "Lena",
]
LAST = [
    "Musterfrau",
    "Beispiel",
    "Probst",
    "Testini",
    "Erfunden",
    "Nimmer",
    "Niemand",
    "Sonder",
    "Fantini",
    "Ficticio",
    "Irgend",
    "Keiner",
    "Modell",
    "Schein",
    "Vorlage",
]


def codice_fiscale(rng: np.random.Generator) -> str:
    "An invented Italian tax code with a right check letter."
    odd = dict(
        zip(
            "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
            (
                1,
                0,
                5,
                7,
                9,
                13,
                15,
                17,
                19,
                21,
                1,
                0,
                5,
                7,
                9,
                13,
                15,
                17,
                19,
                21,
                2,
                4,
                18,
                20,
                11,
                3,
                6,
                8,
                12,
                14,
                16,
                10,
                22,
                25,
                24,
                23,
            ),
            strict=True,
        )
    )
    text = (
        "".join(rng.choice(list("BCDFGLMNPRSTVZ"), 6))
        + f"{rng.integers(30, 75)}"
        + str(rng.choice(list("ABCDEHLMPRST")))
        + f"{rng.integers(1, 29):02d}"
        + f"Z{rng.integers(900, 999)}"
    )
    total = sum(odd[c] for c in text[0::2]) + sum(
        int(c) if c.isdigit() else ord(c) - 65 for c in text[1::2]
    )
    return text + chr(65 + total % 26)


def nhs_number(rng: np.random.Generator) -> str:
    "A number of the range 999, which is never given to a patient, with a right check digit."
    while True:
        digits = "999" + f"{rng.integers(0, 10**6):06d}"
        check = (
            11 - sum(int(d) * w for d, w in zip(digits, range(10, 1, -1), strict=True)) % 11
        ) % 11
        if check < 10:
            return digits + str(check)


def iban(rng: np.random.Generator) -> str:
    "An invented account at a bank code of zeros."
    account = f"{rng.integers(0, 10**10):010d}"
    body = "00000000" + account
    return f"DE{98 - int(body + '131400') % 97:02d}{body}"


def persons() -> None:
    rng = np.random.default_rng(8)
    frame, mapping = german(8)
    frame.insert(1, "Nachname", rng.choice(LAST, len(frame)))
    frame.insert(
        2,
        "Geb.datum",
        [
            (datetime(2024, 1, 1) - timedelta(days=int(days))).strftime("%d.%m.%Y")
            for days in rng.integers(20_000, 33_000, len(frame))
        ],
    )
    write_text(frame, "08_names.csv", ";", ",")
    keep(
        "08_names.csv",
        "mds",
        fault("name", "family names", None, "Nachname"),
        fault("birth-date", "dates of birth", None, "Geb.datum"),
        mapping=mapping,
    )

    rng = np.random.default_rng(9)
    frame = latin(ITALIAN, 9, "sì", {"female": "F", "male": "M"})
    frame["cod_assistito"] = [codice_fiscale(rng) for _ in range(len(frame))]
    called = some(frame, 40, 9)
    frame["recapito"] = np.nan
    frame["recapito"] = frame["recapito"].astype(object)
    frame.loc[called, "recapito"] = [
        f"+39 06 555{number:05d}" for number in rng.integers(0, 10**5, 40)
    ]
    write_text(frame, "09_codice_fiscale.csv", ";", ",")
    keep(
        "09_codice_fiscale.csv",
        "mds",
        fault(
            "national-id",
            "Italian tax codes in a column with a harmless name",
            None,
            "cod_assistito",
        ),
        fault("phone", "telephone numbers", None, "recapito", rows(called)),
    )

    frame = english("mds", 10)
    words = [
        "seen again in May, feels better",
        "transfused twice since the last visit",
        "asked about the trial and will think",
        "second opinion was sent to the region",
        "no new finding at the control visit",
    ]
    frame["remarks"] = [f"{words[i % 5]}, week {i}" for i in range(len(frame))]
    mailed = some(frame, 4, 10)
    frame.loc[mailed, "remarks"] = [
        f"write to {FIRST[i].lower()}.{LAST[i].lower()}@example.org about the result"
        for i in range(4)
    ]
    write_text(frame, "10_remarks.csv")
    keep(
        "10_remarks.csv",
        "mds",
        fault("free-text", "remarks", None, "remarks"),
        fault("e-mail", "e-mail addresses in the remarks", None, "remarks", rows(mailed)),
    )

    rng = np.random.default_rng(12)
    frame = english("mm", 12)
    frame["MRN"] = [f"{number:08d}" for number in rng.choice(10**8, len(frame), replace=False)]
    frame["refund"] = [iban(rng) for _ in range(len(frame))]
    write_excel(frame, "12_accounts.xlsx")
    keep(
        "12_accounts.xlsx",
        "mm",
        fault("record-number", "record numbers", None, "MRN"),
        fault("bank-account", "accounts for travel refunds", None, "refund"),
    )


def contradictions() -> None:
    frame = english("mm", 11)
    wrong = some(frame, 9, 11)
    frame["iss"] = frame["iss"].astype(float).map({1.0: "I", 2.0: "II", 3.0: "III"})
    frame = frame.drop(columns=["r_iss", "r2_iss"])
    frame.loc[wrong, "iss"] = frame.loc[wrong, "iss"].map({"I": "III", "II": "I", "III": "I"})
    write_text(frame, "11_stage.tsv", "\t")
    keep(
        "11_stage.tsv",
        "mm",
        fault(
            "score-contradiction",
            "ISS stages that beta-2-microglobulin and albumin exclude",
            "iss",
            "iss",
            rows(wrong),
        ),
    )

    frame = latin(ITALIAN, 13, "sì", {"female": "femmina", "male": "maschio"})
    dead = frame["deceduto"] == "sì"
    early, late = np.split(some(frame, 7, 13, dead), [4])
    frame.loc[early, "data decesso"] = "03/02/2001"
    frame.loc[early, "data ultimo contatto"] = np.nan
    frame.loc[late, "data ultimo contatto"] = "01/09/2025"
    write_text(frame, "13_death_first.csv", ";", ",")
    keep(
        "13_death_first.csv",
        "mds",
        fault(
            "death-before-diagnosis",
            "died years before the diagnosis",
            "death_date",
            "data decesso",
            rows(early),
        ),
        fault(
            "contact-after-death",
            "seen after they had died",
            "last_contact_date",
            "data ultimo contatto",
            rows(late),
        ),
    )

    frame = english("mds", 14)
    wrong = some(frame, 6, 14, frame["karyotype"].fillna("").str.fullmatch(r"46,X[XY]\[\d+\]"))
    frame.loc[wrong, "complex"] = "1"
    write_text(frame, "14_complex_and_normal.csv")
    keep(
        "14_complex_and_normal.csv",
        "mds",
        fault(
            "karyotype-contradiction",
            "a complex karyotype flag beside a normal ISCN text",
            "complex",
            "complex",
            rows(wrong),
        ),
    )

    frame = english("mds", 28, n=190)
    text = frame["karyotype"].fillna("")
    five, seven = text.str.contains(r"del\(5\)"), text.str.contains(r"del\(7\)\(q|-7\b")
    frame["del5q"] = np.where(text == "", "", np.where(seven, "1", "0"))
    wrong = np.flatnonzero((five | seven) & (five != seven))
    write_text(frame, "28_wrong_chromosome.csv")
    keep(
        "28_wrong_chromosome.csv",
        "mds",
        fault(
            "karyotype-contradiction",
            "del(5q) filled in from chromosome 7",
            "del5q",
            "del5q",
            rows(wrong),
        ),
    )

    frame = english("mds", 15)
    frame.loc[17, "AGE"], frame.loc[90, "PLT"] = 430, -5
    write_text(frame, "15_impossible.csv", ";", ",")
    keep(
        "15_impossible.csv",
        "mds",
        fault("impossible-value", "an age of 430", "age", "AGE", rows([17])),
        fault("impossible-value", "platelets below zero", "platelets", "PLT", rows([90])),
    )


def follow_up() -> None:
    frame = english("mds", 16, dates=False)
    frame["os_years"] = (frame["os_years"].astype(float) * 12).round(1)
    write_text(frame, "16_months.csv")
    keep(
        "16_months.csv",
        "mds",
        fault("time-unit", "survival in months under the name of years", "os_years", "os_years"),
    )

    frame = english("mds", 17, dates=False)
    negative = some(frame, 5, 17)
    frame.loc[negative, "os_years"] = -frame.loc[negative, "os_years"].astype(float)
    write_text(frame, "17_negative_time.csv")
    keep(
        "17_negative_time.csv",
        "mds",
        fault("negative-time", "follow-up below zero", "os_years", "os_years", rows(negative)),
    )

    frame = english("aml", 22, dates=False)
    frame["death"] = "0"
    write_text(frame, "22_nobody_died.csv")
    keep(
        "22_nobody_died.csv",
        "aml",
        fault("everybody-censored", "the deaths were left out of the export", "death", "death"),
    )


def spreadsheets() -> None:
    frame = english("aml", 18)
    frame["SF3B1"] = frame["SF3B1"].astype(object)
    dated = some(frame, 3, 18)
    frame.loc[dated, "SF3B1"] = [datetime(2026, 2, 1), datetime(2026, 3, 1), datetime(2026, 2, 1)]
    frame = frame.rename(columns={"KIT": "2-Sep"})
    write_excel(frame, "18_gene_dates.xlsx")
    keep(
        "18_gene_dates.xlsx",
        "aml",
        fault("gene-date", "a gene's name turned into a date", None, "2-Sep"),
        fault("gene-date", "1/2 and 1/3 turned into dates", "SF3B1", "SF3B1", rows(dated)),
    )

    frame = english("mds", 19)
    numbers = ["AGE", "HB", "PLT", "ANC", "WBC", "BM_BLAST"]
    total = {
        "Patient ID": "Total",
        **{name: round(float(frame[name].astype(float).sum()), 1) for name in numbers},
    }
    frame = pd.concat([frame, pd.DataFrame([total])], ignore_index=True)
    write_excel(frame, "19_totals.xlsx", title="MDS registry, export of the hematology ward")
    keep(
        "19_totals.xlsx",
        "mds",
        fault("total-row", "a line of sums below the patients", None, None, [len(frame) - 1 + 4]),
    )

    frame = english("mds", 23)
    write_text(
        frame.drop(
            columns=[
                name
                for name in (*GENES, "TP53_mutations", "TP53_max_vaf", "TP53_loh")
                if name in frame
            ]
        ),
        "23_no_panel.csv",
    )
    keep("23_no_panel.csv", "mds", fault("missing-panel", "no molecular data at all"))


def sickle_cell() -> None:
    rng = np.random.default_rng(30)
    frame = english("scd", 30)
    frame["Patient ID"] = [nhs_number(rng) for _ in range(len(frame))]
    frame["systolic_pressure"] = (frame["systolic_pressure"].astype(float) / 7.500617).round(1)
    write_text(frame, "30_nhs_numbers.csv")
    keep(
        "30_nhs_numbers.csv",
        "scd",
        fault("national-id", "NHS numbers as patient ids", None, "Patient ID"),
        fault("wrong-unit", "blood pressure in kPa", "systolic_pressure", "systolic_pressure"),
    )


def clean() -> None:
    write_text(english("mds", 41, n=180), "clean_1_english.csv")
    keep("clean_1_english.csv", "mds")
    frame, mapping = german(42)
    write_text(frame, "clean_2_german.csv", ";", ",", "cp1252")
    keep("clean_2_german.csv", "mds", mapping=mapping)
    write_excel(english("aml", 43), "clean_3_leukemia.xlsx", title="AML")
    keep("clean_3_leukemia.xlsx", "aml")
    write_text(english("mm", 44), "clean_4_myeloma.tsv", "\t")
    keep("clean_4_myeloma.tsv", "mm")
    write_text(english("scd", 45), "clean_5_sickle_cell.csv", ";", ",")
    keep("clean_5_sickle_cell.csv", "scd")


def listed() -> str:
    "faults.toml."
    lines = [
        "# What is planted where; written by make.py. Rows are those of a spreadsheet "
        '(the header of a text file is row 1); "all" is the whole column.'
    ]
    for one in sorted(FOLDER, key=lambda one: str(one["name"])):
        lines += [
            "",
            "[[file]]",
            *(
                f"{key} = {json.dumps(one[key], ensure_ascii=False)}"
                for key in ("name", "disease", "mapping")
                if key in one
            ),
        ]
        for planted in one["faults"]:
            lines += [
                "[[file.fault]]",
                *(
                    f"{key} = {json.dumps(value, ensure_ascii=False)}"
                    for key, value in planted.items()
                    if value is not None
                ),
            ]
    return "\n".join(lines) + "\n"


MAKERS: tuple[Callable[[], None], ...] = (
    wrong_units,
    wrong_codes,
    leaks,
    twice,
    persons,
    contradictions,
    follow_up,
    spreadsheets,
    sickle_cell,
    clean,
)

if __name__ == "__main__":
    for make in MAKERS:
        make()
    (HERE / "faults.toml").write_text(listed(), encoding="utf-8")
    sys.stdout.write(
        f"{len(FOLDER)} files, {sum(path.stat().st_size for path in HERE.iterdir() if path.is_file()) / 1e6:.2f} MB\n"
    )
