"""Made-up patients in the forms in which real projects hand over several rows per patient: a longitudinal REDCap
project of three hospitals, a portal's download of a study as one table, and the same study as a folder.

Headings, events and file layouts are those that REDCap (OuhscBbmc/REDCapR, projects "longitudinal", "dag" and
"vignette-repeating") and cBioPortal (study download and study folder) write; every value is drawn here.
"""

from pathlib import Path

import numpy as np
import pandas as pd

YEAR = 365.25


def patients(n: int = 240, seed: int = 5) -> pd.DataFrame:
    "The truth: one row per patient, with the hospital, baseline values, survival in days, death."
    rng = np.random.default_rng(seed)
    age, hb = rng.integers(45, 88, n), np.round(rng.normal(9.8, 1.4, n), 1)
    risk = 0.05 * (age - 66) - 0.5 * (hb - 9.8)
    days = np.maximum(20, (rng.exponential(1400, n) * np.exp(-risk)).round()).astype(int)
    seen = rng.integers(700, 2200, n)
    start = pd.Timestamp("2014-03-01") + pd.to_timedelta(rng.integers(0, 900, n), unit="D")
    return pd.DataFrame(
        {
            "hospital": np.array(["north", "south", "west"])[np.arange(n) % 3],
            "sex": rng.choice(["male", "female"], n),
            "age": age,
            "hemoglobin": hb,
            "platelets": rng.integers(20, 300, n),
            "TP53": (rng.random(n) < 0.15).astype(int),
            "start": start,
            "days": np.minimum(days, seen),
            "death": (days <= seen).astype(int),
        },
        index=pd.Index([f"{number}" for number in range(1, n + 1)], name="record_id"),
    )


BOOK = """"Variable / Field Name","Form Name","Section Header","Field Type","Field Label",\
"Choices, Calculations, OR Slider Labels","Field Note",\
"Text Validation Type OR Show Slider Number","Text Validation Min","Text Validation Max",Identifier?
record_id,base,,text,"Record ID",,,,,,
initials,base,,text,Initials,,,,,,y
sex,base,,radio,Sex,"1, Male | 2, Female",,,,,
age,base,,text,"Age at diagnosis",,,integer,18,110,
dx_date,base,,text,"Date of diagnosis",,,date_ymd,,,
genes,base,,checkbox,"Mutated genes","1, TP53 | 2, SF3B1",,,,,
hb,labs,,text,Hemoglobin,,g/dL,number,,,
plt,labs,,text,Platelets,,10^9/L,number,,,
fu_date,fu,,text,"Date of last contact",,,date_ymd,,,
vital,fu,,radio,Death,"0, Alive | 1, Dead | 9, Unknown",,,,,
"""
HEADER = (
    "record_id,redcap_event_name,redcap_repeat_instrument,redcap_repeat_instance,"
    "redcap_data_access_group,initials,sex,age,dx_date,genes___1,genes___2,base_complete,hb,plt,"
    "labs_complete,fu_date,vital,fu_complete"
)


def _record(record: str, one: pd.Series, rng: np.random.Generator) -> list[str]:
    "The rows of one record: its baseline, laboratory at baseline and at a visit, and every follow-up."
    group, start = one["hospital"], one["start"]
    rows = [
        f"{record},baseline_arm_1,,,{group},AB,{1 if one['sex'] == 'male' else 2},{one['age']},"
        f"{start:%Y-%m-%d},{one['TP53']},0,2,{one['hemoglobin']},{one['platelets']},2,,,"
    ]
    visits = [day for day in range(365, int(one["days"]), 365)][:4]
    for number, day in enumerate([*visits, int(one["days"])], start=1):
        last = day == one["days"]
        when, dead = start + pd.Timedelta(days=day), int(last and one["death"])
        vital = dead if last or rng.random() < 0.9 else 9
        rows.append(
            f"{record},followup_arm_1,fu,{number},{group},,,,,,,,,,,{when:%Y-%m-%d},{vital},2"
        )
        if not last:
            later = f"{rng.normal(12, 1):.1f},{rng.integers(100, 400)}"
            rows.append(f"{record},visit_{number}_arm_1,,,{group},,,,,,,,{later},2,,,")
    return rows


def redcap_project(folder: Path) -> pd.DataFrame:
    "Write a longitudinal project with data access groups and repeated follow-up; the truth behind it."
    truth, rng = patients(), np.random.default_rng(8)
    rows = [row for record, one in truth.iterrows() for row in _record(str(record), one, rng)]
    (folder / "MDS_DATA_2024-05-02_1117.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    (folder / "MDS_DataDictionary_2024-05-02.csv").write_text(BOOK)
    return truth


def _samples(truth: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    "One row per sample: the diagnosis of everybody, and a relapse of one in four, which stands above it."
    rows = []
    for number, (_, one) in enumerate(truth.iterrows()):
        who = f"TCGA-{number:04d}"
        diagnosis = (who, f"{who}-01", "Initial Diagnosis", 0, one["hemoglobin"], one["TP53"])
        relapse = (who, f"{who}-02", "Relapse", 200, round(float(rng.normal(7, 0.5)), 1), 1)
        rows += [relapse, diagnosis] if number % 4 == 0 else [diagnosis]
    names = ["PATIENT_ID", "SAMPLE_ID", "DISEASE_STAGE", "DAYS", "HEMOGLOBIN", "TP53"]
    return pd.DataFrame(rows, columns=names)


def portal_table(path: Path) -> pd.DataFrame:
    "Write a portal's download as one table, a row per sample; the truth behind it."
    truth = patients()
    samples = _samples(truth, np.random.default_rng(3))
    one = truth.iloc[samples["PATIENT_ID"].str[-4:].astype(int)]
    status = np.where(one["death"] == 1, "1:DECEASED", "0:LIVING")
    table = pd.DataFrame(
        {
            "Study ID": "mds_made_up_2024",
            "Patient ID": samples["PATIENT_ID"],
            "Sample ID": samples["SAMPLE_ID"],
            "Age at Diagnosis": one["age"].to_numpy(),
            "Center": one["hospital"].to_numpy(),
            "Disease Stage": samples["DISEASE_STAGE"],
            "Hemoglobin": samples["HEMOGLOBIN"],
            "Overall Survival (Months)": np.round(one["days"].to_numpy() / YEAR * 12, 4),
            "Overall Survival Status": status,
            "Sex": np.where(one["sex"] == "male", "Male", "Female"),
            "TP53": np.where(samples["TP53"] == 1, "Positive", "Negative"),
        }
    )
    table.to_csv(path, sep="\t", index=False)
    return truth.set_axis([f"TCGA-{number:04d}" for number in range(len(truth))], axis=0)


def _study_table(path: Path, frame: pd.DataFrame) -> None:
    "Write a clinical table with the four lines that explain its columns."
    names = "\t".join(frame.columns)
    kinds = "\t".join("NUMBER" if one.kind in "if" else "STRING" for one in frame.dtypes)
    told = [f"#{names}", f"#{names}", f"#{kinds}", "#" + "\t".join("1" for _ in frame.columns)]
    body = frame.to_csv(sep="\t", index=False)
    path.write_text("\n".join(told) + "\n" + body)


def portal_folder(folder: Path) -> pd.DataFrame:
    "Write the study as a folder whose files are named by their meta files only; the truth behind it."
    truth = patients()
    samples = _samples(truth, np.random.default_rng(3))
    who = [f"TCGA-{number:04d}" for number in range(len(truth))]
    clinical = pd.DataFrame(
        {
            "PATIENT_ID": who,
            "CENTER": truth["hospital"].to_numpy(),
            "SEX": np.where(truth["sex"] == "male", "Male", "Female"),
            "AGE": truth["age"].to_numpy(),
            "OS_STATUS": np.where(truth["death"] == 1, "1:DECEASED", "0:LIVING"),
            "OS_MONTHS": np.round(truth["days"].to_numpy() / YEAR * 12, 4),
        }
    )
    _study_table(folder / "mds_patients.txt", clinical)
    _study_table(folder / "mds_samples.txt", samples.drop(columns="TP53"))
    mutated = samples.loc[samples["TP53"] == 1, "SAMPLE_ID"]
    lines = [f"TP53\t{sample}\tMissense_Mutation" for sample in mutated]
    head = "Hugo_Symbol\tTumor_Sample_Barcode\tVariant_Classification"
    (folder / "mutations.maf").write_text("\n".join([head, *lines]) + "\n")
    for name, kind, data, file in (
        ("clinical_patients", "CLINICAL", "PATIENT_ATTRIBUTES", "mds_patients.txt"),
        ("clinical_samples", "CLINICAL", "SAMPLE_ATTRIBUTES", "mds_samples.txt"),
        ("mutations", "MUTATION_EXTENDED", "MAF", "mutations.maf"),
    ):
        (folder / f"meta_{name}.txt").write_text(
            f"cancer_study_identifier: made_up\ngenetic_alteration_type: {kind}\ndatatype: {data}\n"
            f"data_filename: {file}\n"
        )
    return truth.set_axis(who, axis=0)
