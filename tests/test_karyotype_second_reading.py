"""A second reading of karyotypes (tests/oracles/karyotypes.csv). What each row expects was written by
hand from ISCN, Schanz 2012 and the ELN 2022 table, before the reader was run.

A row names the class, the worst class that is open, flags that must be set and flags that must not.
Where the class is certain, a flag that must not be set is 0; otherwise it may be unknown as well.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import genomed_workbench as gw

CLASSES = ("very good", "good", "intermediate", "poor", "very poor")
TABLE = pd.read_csv(Path(__file__).parent / "oracles" / "karyotypes.csv", keep_default_na=False)
KINDS = ("A1", "A2", "A3", "A4", "A5", "A6", "A7", "A8")
ROWS = [pytest.param(row, id=f"{row.kind} {row.text}") for row in TABLE.itertuples(index=False)]


def named(value: float) -> str:
    return CLASSES[int(value)] if np.isfinite(value) else "unknown"


@pytest.mark.parametrize("row", ROWS)
def test_row(row):
    found = gw.read_karyotype(row.text)
    best, worst = found.risk_range
    wrong = []
    if named(found.cytogenetic_risk) != row.risk:
        wrong.append(f"class {named(found.cytogenetic_risk)}, expected {row.risk}")
    if row.risk != "unknown":
        if named(worst) != row.risk_worst:
            wrong.append(f"open up to {named(worst)}, expected {row.risk_worst}")
        if not best <= CLASSES.index(row.risk):
            wrong.append(f"the best class {named(best)} is worse than {row.risk}")
    certain = row.risk == row.risk_worst != "unknown"
    for flag in row.flags_yes.split():
        if found.flags[flag] != 1:
            wrong.append(f"{flag} is {found.flags[flag]}, expected 1")
    for flag in row.flags_no.split():
        value = found.flags[flag]
        if value == 1 or ((certain or flag == "complex") and value != 0):
            wrong.append(f"{flag} is {value}, expected 0")
    assert not wrong, f"{row.why}: {'; '.join(wrong)}"


def test_a_variant_of_apl_is_noted():
    "The note belongs to t(11;17)(q23;q21) alone."
    for text in TABLE.loc[TABLE["text"].str.contains(r"t\(1[15];1[79]\)"), "text"]:
        notes = " ".join(gw.read_karyotype(text).notes)
        assert ("APL" in notes or "promyelocytic" in notes) == ("t(11;17)(q23;q21)" in text), text


def test_the_table_is_whole():
    assert TABLE["kind"].value_counts().to_dict() == dict.fromkeys(KINDS, 60)
    near = TABLE["why"].str.startswith("near miss").groupby(TABLE["kind"]).sum()
    assert (near >= 15).all()
    assert not TABLE["text"].duplicated().any()
