"""A made-up bulk export in the form that Synthea writes: one file a type, SNOMED CT for diagnoses, LOINC for values.

Patients with acute myeloid leukemia stand among others. What a reader should find is returned beside the folder.
Synthea names no last contact, no age at diagnosis and no hospital; deaths are days with a time and a zone.
"""

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd

UCUM, LOINC, SCT = "http://unitsofmeasure.org", "http://loinc.org", "http://snomed.info/sct"
LABS = {  # variable -> code, display and unit as Synthea has them, median in the dictionary's unit
    "white_cells": ("6690-2", "Leukocytes [#/volume] in Blood by Automated count", "10*3/uL", 14),
    "hemoglobin": ("718-7", "Hemoglobin [Mass/volume] in Blood", "g/dL", 9),
    "platelets": ("777-3", "Platelets [#/volume] in Blood by Automated count", "10*3/uL", 60),
    "ldh": ("14804-9", "Lactate dehydrogenase in Serum or Plasma", "U/L", 400),
}
OTHER_LABS = {  # that the dictionary does not have
    "8302-2": ("Body Height", "cm", 170),
    "2339-0": ("Glucose [Mass/volume] in Blood", "mg/dL", 95),
    "38483-4": ("Creatinine [Mass/volume] in Blood", "mg/dL", 1),
}
OTHERS = {  # diagnoses of the other patients
    "44054006": "Diabetes mellitus type 2 (disorder)",
    "59621000": "Essential hypertension (disorder)",
    "91857003": "Acute lymphoid leukemia (disorder)",
}


def concept(system: str, code: str, display: str) -> dict:
    return {"coding": [{"system": system, "code": code, "display": display}], "text": display}


def moment(day: pd.Timestamp) -> str:
    return f"{day:%Y-%m-%d}T09:12:41-05:00"


def synthea_bulk(
    folder: Path, n: int = 160, others: int = 90, seed: int = 0
) -> tuple[Path, pd.DataFrame]:
    "Write the export; returns its folder, and the patients with leukemia as they should be read."
    rng, files, truth = np.random.default_rng(seed), defaultdict(list), {}
    for k in rng.permutation(n + others):
        id, ill = f"{k:08x}-aaaa-bbbb-cccc-{k:012x}", k < n
        row = made_up_patient(rng)
        write_patient(files, id, row, rng, ill)
        if ill:
            truth[id] = row
    folder.mkdir(parents=True, exist_ok=True)
    for kind, resources in files.items():
        half = len(resources) // 2
        for part, lines in enumerate((resources[:half], resources[half:])):
            text = "\n".join(map(json.dumps, lines)) + "\n"
            (folder / f"{kind}.{part:03d}.ndjson").write_text(text)
    (folder / "log.ndjson").write_text("")
    frame = pd.DataFrame.from_dict(truth, orient="index")
    return folder, frame.drop(columns=["born", "last"])


def made_up_patient(rng: np.random.Generator) -> dict:
    "Values, survival that depends on age and white cells, and the days that follow from it."
    age = int(rng.integers(25, 85))
    row = {
        name: float(f"{middle * rng.lognormal(0, 0.5):.3g}") for name, (*_, middle) in LABS.items()
    }
    row["hemoglobin"] = float(np.clip(row["hemoglobin"], 4, 16))
    rate = 0.25 * np.exp(0.05 * (age - 55) + 0.4 * np.log(row["white_cells"] / 14))
    death, leave = rng.exponential(1 / rate), rng.uniform(1, 6)
    diagnosis = pd.Timestamp("2015-01-01") + pd.Timedelta(days=int(rng.integers(0, 1500)))
    days = 2 + int(365.25 * min(death, leave))
    born = diagnosis - pd.DateOffset(years=age) - pd.Timedelta(days=int(rng.integers(1, 300)))
    return row | {
        "age": age,
        "sex": str(rng.choice(["female", "male"])),
        "diagnosis_date": diagnosis,
        "death": float(death <= leave),
        "os_years": days / 365.25,
        "born": born,
        "last": diagnosis + pd.Timedelta(days=days),
    }


def write_patient(files: dict, id: str, row: dict, rng: np.random.Generator, ill: bool) -> None:
    "The resources of one patient."
    about = {"subject": {"reference": f"Patient/{id}"}}
    patient = {
        "resourceType": "Patient",
        "id": id,
        "name": [{"use": "official", "family": "Virtual", "given": ["Made", "Up"]}],
        "gender": row["sex"],
        "birthDate": f"{row['born']:%Y-%m-%d}",
        **({"deceasedDateTime": moment(row["last"])} if row["death"] else {}),
    }
    files["Patient"].append(patient)
    code, display = (
        ("91861009", "Acute myeloid leukemia (disorder)")
        if ill
        else tuple(rng.choice(list(OTHERS.items())))
    )
    files["Condition"].append(
        {
            "resourceType": "Condition",
            "id": f"c-{id}",
            "clinicalStatus": {"coding": [{"code": "active"}]},
            "code": concept(SCT, str(code), str(display)),
            "onsetDateTime": moment(row["diagnosis_date"]),
            **about,
        }
    )
    days = [row["diagnosis_date"], row["last"]]
    for number, day in enumerate(days):
        files["Encounter"].append(
            {
                "resourceType": "Encounter",
                "id": f"e{number}-{id}",
                "status": "finished",
                "class": {"code": "AMB"},
                "period": {"start": moment(day), "end": moment(day)},
                **about,
            }
        )
        files["Claim"].append({"resourceType": "Claim", "status": "active"})
        for variable, (loinc, name, unit, _) in LABS.items():
            value = row[variable] * (1 if number == 0 else 1.5)  # the later value is not baseline
            files["Observation"].append(lab(loinc, name, value, unit, day, about))
        for loinc, (name, unit, value) in OTHER_LABS.items():
            files["Observation"].append(lab(loinc, name, value, unit, day, about))


def lab(code: str, name: str, value: float, unit: str, day: pd.Timestamp, about: dict) -> dict:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": concept(LOINC, code, name),
        "effectiveDateTime": moment(day),
        "issued": f"{day:%Y-%m-%d}T09:12:41.123-05:00",
        "valueQuantity": {"value": value, "unit": unit, "system": UCUM, "code": unit},
        **about,
    }
