"""ELN 2022 against a decision table written from the paper, one row for each combination of lesions
(tests/oracles/eln_2022.csv).
"""

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from genomed_workbench.clinic.eln import GROUPS, LABELS, eln_2022, eln_2022_contributions

TABLE = pd.read_csv(Path(__file__).parent / "oracles" / "eln_2022.csv").fillna(
    {"present": "", "category": ""}
)
OTHERS = (
    "CEBPA",
    "CEBPA_bi",
    "KIT",
    "FLT3_TKD",
    "MLL_PTD",
    "DNMT3A",
    "TET2",
    "IDH1",
    "IDH2",
    "NRAS",
    "KRAS",
    "WT1",
    "PHF6",
    "BCORL1",
    "plus8",
)
MYELODYSPLASIA = ("ASXL1", "BCOR", "EZH2", "RUNX1", "SF3B1", "SRSF2", "STAG2", "U2AF1", "ZRSR2")
ORDER = {"Favorable": 1, "Intermediate": 2, "Adverse": 3}


def patients(*combinations: str) -> pd.DataFrame:
    "One patient for each combination of lesions, every other test negative."
    frame = pd.DataFrame(0.0, index=range(len(combinations)), columns=[*LABELS, *OTHERS])
    for i, names in enumerate(combinations):
        for name in names.split():
            assert name in frame, name
            frame.loc[i, name] = 1.0
    return frame


def categories(frame: pd.DataFrame) -> list[str]:
    return eln_2022(frame)["category"].fillna("").tolist()


def test_every_row_of_the_table():
    found = eln_2022(patients(*TABLE["present"]))
    wrong = [
        f"{p or 'nothing'}: {got or 'none'}, expected {want or 'none'} ({why})"
        for p, want, why, got in zip(
            TABLE["present"], TABLE["category"], TABLE["row"], found["category"].fillna("")
        )
        if got != want
    ]
    assert not wrong, "\n".join(wrong)
    assert found["score"].tolist() == pytest.approx(
        TABLE["category"].map(ORDER).tolist(), nan_ok=True
    )


def test_the_table_asks_for_every_lesion_alone():
    alone = {row for row in TABLE["present"] if len(row.split()) == 1} | {"CEBPA_bzip"}
    assert set(LABELS) <= alone


def test_combinations_that_the_paper_leaves_open_are_said_to_be_our_reading():
    open_ = TABLE["row"].str.startswith("open in the table")
    said = eln_2022(patients(*TABLE["present"]))["comment"].str.contains("our reading")
    assert said.tolist() == open_.tolist()


@pytest.mark.parametrize("gene", MYELODYSPLASIA)
def test_genes_of_myelodysplasia_give_way_to_every_favorable_lesion_and_to_t_9_11(gene):
    frame = patients(
        *(
            f"{gene} {lesion}"
            for lesion in (
                "t_8_21",
                "inv16",
                "NPM1",
                "CEBPA CEBPA_bzip",
                "t_9_11",
                "NPM1 FLT3_ITD",
                "FLT3_ITD",
            )
        )
    )
    assert categories(frame) == ["Favorable"] * 4 + ["Intermediate"] + ["Adverse"] * 2


@pytest.mark.parametrize(
    ("vaf", "category"),
    [
        (0.05, "Intermediate"),
        (0.099, "Intermediate"),
        (0.10, "Adverse"),
        (0.5, "Adverse"),
        (np.nan, "Adverse"),
    ],
)
def test_tp53_counts_from_ten_percent_and_where_no_fraction_is_given(vaf, category):
    assert categories(patients("TP53").assign(TP53_max_vaf=vaf)) == [category]
    assert categories(patients("TP53 NPM1").assign(TP53_max_vaf=vaf)) == [
        "Favorable" if category == "Intermediate" else "Adverse"
    ]


def test_what_is_missing_matters_exactly_where_its_completions_differ():
    rng = np.random.default_rng(0)
    shuffled = [
        " ".join(rng.choice(list(LABELS)[1:], size=rng.integers(0, 4), replace=False))
        for _ in range(150)
    ]
    frame = patients(*shuffled).assign(CEBPA=np.nan)
    holes = {
        i: rng.choice(list(LABELS)[1:], size=rng.integers(1, 5), replace=False) for i in frame.index
    }
    cases, owner = [], []
    for i, names in holes.items():
        favorable = frame.loc[i, [n for n in ("t_8_21", "inv16") if n not in names]].eq(1).any()
        for values in product((0.0, 1.0), repeat=len(names)):
            if favorable and dict(zip(names, values, strict=True)).get("TP53"):
                continue  # an unknown TP53 beside t(8;21) or inv(16) is taken as absent
            cases.append(frame.loc[i].copy())
            cases[-1][names] = values
            owner.append(i)
        frame.loc[i, names] = np.nan
    complete = eln_2022(pd.DataFrame(cases).reset_index(drop=True))["score"].groupby(owner)
    found = eln_2022(frame)
    assert (
        found["score_best"].tolist() == complete.min().tolist()
        and found["score_worst"].tolist() == complete.max().tolist()
    )
    decided = found["score_best"] == found["score_worst"]
    assert found["category"].notna().tolist() == decided.tolist() and 20 < decided.sum() < 130
    assert found["comment"].str.startswith("between").tolist() == (~decided).tolist()
    assert found["comment"].str.contains("missing").all()


def test_an_absent_column_is_missing_and_a_wild_type_cebpa_has_no_bzip_mutation():
    assert categories(patients("NPM1").drop(columns=["FLT3_ITD"])) == [""]
    assert categories(patients("").drop(columns=["CEBPA_bzip"])) == ["Intermediate"]
    assert categories(patients("CEBPA").drop(columns=["CEBPA_bzip"])) == [""]
    assert categories(patients("TP53").drop(columns=["t_15_17", "t_8_21"])) == ["Adverse"], (
        "t(8;21) beside TP53 would change nothing"
    )
    assert categories(patients("TP53").drop(columns=["t_9_11"])) == [""], "t(9;11) would"


def test_the_karyotype_fills_what_the_columns_leave_open():
    texts = {
        "46,XX[20]": "Intermediate",
        "46,XY,t(8;21)(q22;q22)[20]": "Favorable",
        "46,XX,inv(16)(p13q22)[18]/46,XX[2]": "Favorable",
        "46,XY,t(9;11)(p21;q23)[20]": "Intermediate",
        "46,XX,t(6;9)(p23;q34)[20]": "Adverse",
        "46,XX,t(9;22)(q34;q11)[20]": "Adverse",
        "46,XY,t(8;16)(p11;p13)[20]": "Adverse",
        "46,XX,inv(3)(q21q26)[20]": "Adverse",
        "46,XY,t(6;11)(q27;q23)[20]": "Adverse",
        "46,XX,del(5)(q13q33)[12]/46,XX[8]": "Adverse",
        "45,XX,-7[20]": "Adverse",
        "45,XY,-17[20]": "Adverse",
        "47,XX,+8[20]": "Intermediate",
        "46,XY,t(15;17)(q24;q21)[20]": "",
        "49,XX,+8,+13,+21[20]": "Intermediate",
        "47,XY,+8,del(9)(q22),t(1;3)(p36;q21)[20]": "Adverse",
    }
    frame = patients(*[""] * len(texts)).drop(
        columns=[
            name
            for group in ("apl", "cbf", "t911", "cyto", "complex", "monosomal")
            for name in GROUPS[group]
        ]
    )
    frame["karyotype"] = list(texts)
    assert dict(zip(texts, categories(frame))) == texts
    assert categories(frame.assign(t_6_9=1.0))[0] == "Adverse", "a column of its own comes first"


def test_contributions_name_the_deciding_lesions_first():
    rows = eln_2022_contributions(
        patients("NPM1 FLT3_ITD SRSF2 ASXL1", "NPM1 RUNX1", "", "t_15_17 FLT3_ITD")
    )
    assert list(rows.columns) == ["patient", "variable", "label", "value", "points", "reason"]
    assert rows.groupby("patient")["variable"].agg(list).to_dict() == {
        0: ["ASXL1", "SRSF2", "NPM1", "FLT3_ITD"],
        1: ["NPM1", "RUNX1"],
        3: ["t_15_17", "FLT3_ITD"],
    }
    assert rows["reason"].str.startswith("decides").tolist() == [
        True,
        True,
        False,
        False,
        True,
        False,
        True,
        False,
    ]
    assert rows["points"].isna().all()


def test_every_lesion_belongs_to_one_group():
    names = [name for group in GROUPS.values() for name in group]
    assert len(names) == len(set(names)) == len(LABELS)


def test_many_patients_at_once():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        (rng.random((20_000, len(LABELS))) < 0.04).astype(float), columns=list(LABELS)
    ).mask(rng.random((20_000, len(LABELS))) < 0.02)
    together = eln_2022(frame)
    for i in rng.integers(0, len(frame), 50):
        pd.testing.assert_frame_equal(eln_2022(frame.loc[[i]]), together.loc[[i]])
    assert len(eln_2022(frame.iloc[:0])) == 0
