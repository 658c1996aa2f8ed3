"""Nobody who cannot exist: of each disease a list of patients that no hospital has ever seen, and zero of
them among 20,000. The lists are the oracle, written down from the classifications and from physiology.
"""

from collections.abc import Callable

import pandas as pd
import pytest
from scipy import stats

import genomed_workbench as gw

Who = dict[str, Callable[[pd.DataFrame], pd.Series]]

FUSIONS = ["t_8_21", "inv16", "t_15_17", "t_9_11", "t_v_11", "t_6_9", "t_9_22", "t_8_16", "inv3"]


def most_blasts(frame: pd.DataFrame) -> pd.Series:
    "The higher share of blasts, of marrow and blood."
    return frame[["marrow_blasts", "blood_blasts"]].max(axis=1)


def no_lesion_defines_aml(frame: pd.DataFrame) -> pd.Series:
    """Tested for every lesion that defines AML from 10 % blasts, and none found: a fusion, NPM1 or bZIP CEBPA (ELN
    2022, doi:10.1182/blood.2022016867, Table 1).
    """
    return (frame[[*FUSIONS, "NPM1", "CEBPA_bzip"]] == 0).all(axis=1)


AML: Who = {
    "under 20 % blasts, no defining lesion": lambda f: (
        (most_blasts(f) < 20) & no_lesion_defines_aml(f)
    ),
    "under 10 % blasts": lambda f: most_blasts(f) < 10,
    "two class-defining fusions": lambda f: f[FUSIONS].sum(axis=1) > 1,
    "complex with -7, not monosomal": lambda f: (
        (f["complex"] == 1) & (f["minus7"] == 1) & (f["monosomal"] == 0)
    ),
    "hemoglobin of 17 g/dL or more": lambda f: f["hemoglobin"] >= 17,
    "biallelic CEBPA without CEBPA": lambda f: (f["CEBPA_bi"] == 1) & (f["CEBPA"] == 0),
    "a child": lambda f: f["age"] < 18,
}
WITHOUT_EXCESS = [
    "MDS-SLD",
    "MDS-MLD",
    "MDS-SLD/MLD",
    "MDS-RS-SLD",
    "MDS-RS-MLD",
    "MDS-del5q",
    "MDS/MPN-RS-T",
]
# WHO 2016 (doi:10.1182/blood-2016-03-643544): EB1 5 to 9 % in marrow or 2 to 4 % in blood, EB2 10 to 19 % or
# 5 to 19 %; all others below both; 1 % in the blood makes a case unclassifiable
MDS: Who = {
    "20 % blasts or more": lambda f: most_blasts(f) >= 20,
    "EB1 with blasts of EB2": lambda f: (
        (f["who_class"] == "MDS-EB1") & ((f["marrow_blasts"] >= 10) | (f["blood_blasts"] >= 5))
    ),
    "EB1 with few blasts": lambda f: (
        (f["who_class"] == "MDS-EB1") & (f["marrow_blasts"] < 5) & (f["blood_blasts"] < 2)
    ),
    "EB2 with few blasts": lambda f: (
        (f["who_class"] == "MDS-EB2") & (f["marrow_blasts"] < 10) & (f["blood_blasts"] < 5)
    ),
    "excess of blasts in a class without": lambda f: (
        f["who_class"].isin(WITHOUT_EXCESS) & ((f["marrow_blasts"] >= 5) | (f["blood_blasts"] >= 1))
    ),
    "unclassifiable with excess of blasts": lambda f: (
        (f["who_class"] == "MDS-U") & ((f["marrow_blasts"] >= 5) | (f["blood_blasts"] >= 2))
    ),
    "CMML without monocytes": lambda f: (f["who_class"] == "CMML") & (f["monocytes"] < 1),
    "MDS/MPN with few platelets and white cells": lambda f: (
        (f["who_class"] == "MDS/MPN-U") & (f["platelets"] < 450) & (f["white_cells"] < 13)
    ),
    "MDS/MPN-RS-T with few platelets": lambda f: (
        (f["who_class"] == "MDS/MPN-RS-T") & (f["platelets"] < 450)
    ),
    "CMML with few monocytes among the white cells": lambda f: (
        (f["who_class"] == "CMML") & (f["monocytes"] < 0.1 * f["white_cells"] - 1e-9)
    ),
    "more neutrophils than white cells": lambda f: f["neutrophils"] > f["white_cells"],
    "a woman without Y": lambda f: (f["sex"] == "female") & (f["minusY"] == 1),
    "a child": lambda f: f["age"] < 18,
}
# the kidneys clear both: healthy ones leave about 1.5 mg/L of beta-2-microglobulin beside 1 mg/dL of creatinine
TRANSLOCATIONS = ["t_11_14", "t_4_14", "t_14_16", "t_6_14", "t_14_20"]
MM: Who = {
    "two translocations of the heavy-chain gene": lambda f: f[TRANSLOCATIONS].sum(axis=1) > 1,
    "failing kidneys, low beta-2-microglobulin": lambda f: (
        (f["creatinine"] > 1.5) & (f["beta2_microglobulin"] < 1.2 * f["creatinine"] - 0.02)
    ),
    "creatinine of 5 in ISS I or II": lambda f: (f["creatinine"] >= 5) & (f["iss"] < 3),
    "beta-2-microglobulin of 25, healthy kidneys": lambda f: (
        (f["beta2_microglobulin"] >= 25) & (f["creatinine"] < 1)
    ),
    "hemoglobin of 17 g/dL or more": lambda f: f["hemoglobin"] >= 17,
    "beta-2-microglobulin of ISS III in ISS I": lambda f: (
        (f["iss"] == 1) & (f["beta2_microglobulin"] >= 3.5)
    ),
    "R-ISS I with high LDH": lambda f: (f["r_iss"] == 1) & (f["ldh_high"] == 1),
    "a child": lambda f: f["age"] < 18,
}
# fetal hemoglobin protects newborns; hydroxyurea from nine months (BABY HUG, Thornburg 2012, Blood 120:4304)
SCD: Who = {
    "hydroxyurea under nine months": lambda f: (f["age"] < 0.75) & (f["hydroxyurea"] == 1),
    "an episode under six months": lambda f: (f["age"] < 0.5) & (f["voe_2y"] > 0),
    "a silent infarct under six months": lambda f: (f["age"] < 0.5) & (f["silent_infarct"] == 1),
    "more than an episode a week": lambda f: f["voe_2y"] > 52 * f["age"].clip(0, 2),
    "S-HPFH with deep anemia": lambda f: (f["diagnosis"] == "S-HPFH") & (f["hemoglobin"] < 7),
    "hemoglobin of 17 g/dL or more": lambda f: f["hemoglobin"] >= 17,
    "more than two alpha genes lost": lambda f: f["alpha_deletions"] > 2,
}
IMPOSSIBLE = {"virtual-aml": AML, "virtual-mds": MDS, "virtual-mm": MM, "virtual-scd": SCD}


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("name", "what"), [(name, what) for name, rules in IMPOSSIBLE.items() for what in rules]
)
def test_zero_of_20_000(name, what, seed):
    "Oracle: the lists above. Drawing 20,000 patients takes about a tenth of a second."
    frame = gw.load_cohort(name, n=20_000, seed=seed, missing=False).frame
    found = frame[IMPOSSIBLE[name][what](frame)]
    assert found.empty, f"{name}: {len(found)} of 20,000: {what}\n{found.head(3).T.to_string()}"


@pytest.mark.parametrize("hospitals", [2, 5, 12])
@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_zero_of_20_000_at_hospitals_that_measure_and_test_differently(name, hospitals):
    "Oracle: the lists above, on what the hospitals wrote down; a value that is missing makes nobody impossible."
    for seed in (0, 1):
        frame = gw.load_cohort(name, n=20_000, seed=seed, hospitals=hospitals).frame
        found = {what: int(rule(frame).sum()) for what, rule in IMPOSSIBLE[name].items()}
        assert not any(found.values()), f"seed {seed}: {found}"


def test_a_laboratory_far_off_makes_nobody_impossible():
    "The same lists where one hospital measures 15 % too high and the other 15 % too low."
    for name, values in {
        "virtual-aml": ["hemoglobin", "platelets", "white_cells"],
        "virtual-mds": ["hemoglobin", "platelets", "white_cells", "neutrophils", "marrow_blasts"],
        "virtual-mm": ["hemoglobin", "creatinine", "beta2_microglobulin", "albumin"],
        "virtual-scd": ["hemoglobin"],
    }.items():
        offset = ({v: 1.15 for v in values}, {v: 0.85 for v in values})
        two = gw.Hospitals((1, 1), laboratory_offset=offset)
        frame = gw.load_cohort(name, n=20_000, seed=3, hospitals=two).frame
        found = {what: int(rule(frame).sum()) for what, rule in IMPOSSIBLE[name].items()}
        assert not any(found.values()), f"{name}: {found}"


def test_share_of_monosomal_karyotypes_in_aml():
    """Published: 9 to 13 % of adults with AML. Kayser 2012 (Blood 119:551): 319 of 1,058 with an abnormal
    karyotype, about half of all; Weinberg 2014 (doi:10.1309/AJCPMLO84JDNVLNK): 14 of 111.
    """
    frame = gw.load_cohort("virtual-aml", n=20_000, seed=0).frame
    assert 0.09 <= frame["monosomal"].mean() <= 0.13


def test_kidney_failure_raises_creatinine_and_beta2_microglobulin_together():
    """Published: rank correlation 0.79 of beta-2-microglobulin with creatinine clearance in 170 patients (Yun
    2006, doi:10.3346/jkms.2006.21.4.639); ours with creatinine is to lie within 0.1. Creatinine of 2 mg/dL or
    more in 19 % (Kyle 2003, doi:10.4065/78.1.21).
    """
    frame = gw.load_cohort("virtual-mm", n=20_000, seed=0).frame
    together = stats.spearmanr(frame["creatinine"], frame["beta2_microglobulin"]).statistic
    assert abs(together - 0.787) < 0.1
    assert abs((frame["creatinine"] >= 2).mean() - 0.19) < 0.01
    failing = frame["beta2_microglobulin"][frame["creatinine"] >= 2]
    assert failing.median() > 2 * frame["beta2_microglobulin"][frame["creatinine"] < 2].median()
