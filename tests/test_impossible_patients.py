"""Nobody who cannot exist: of each disease a list of patients that no hospital has ever seen, and zero of
them among 20,000. The lists are the oracle, written down from the classifications and from physiology.
"""

from collections.abc import Callable

import pandas as pd
import pytest

import genomed_workbench as gw

Who = dict[str, Callable[[pd.DataFrame], pd.Series]]

FUSIONS = ["t_8_21", "inv16", "t_15_17", "t_9_11", "t_v_11", "t_6_9", "t_9_22", "t_8_16", "inv3"]


def most_blasts(frame: pd.DataFrame) -> pd.Series:
    "The higher share of blasts, of marrow and blood."
    return frame[["marrow_blasts", "blood_blasts"]].max(axis=1)


def lesion_defines_aml(frame: pd.DataFrame) -> pd.Series:
    "AML from 10 % blasts: a fusion, NPM1 or bZIP CEBPA (ELN 2022, doi:10.1182/blood.2022016867, Table 1)."
    return frame[[*FUSIONS, "NPM1", "CEBPA_bzip"]].max(axis=1) == 1


AML: Who = {
    "under 20 % blasts, no defining lesion": lambda f: (
        (most_blasts(f) < 20) & ~lesion_defines_aml(f)
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
IMPOSSIBLE = {"virtual-aml": AML}


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("name", "what"), [(name, what) for name, rules in IMPOSSIBLE.items() for what in rules]
)
def test_zero_of_20_000(name, what, seed):
    "Oracle: the lists above. Drawing 20,000 patients takes about a tenth of a second."
    frame = gw.load_cohort(name, n=20_000, seed=seed, missing=False).frame
    found = frame[IMPOSSIBLE[name][what](frame)]
    assert found.empty, f"{name}: {len(found)} of 20,000: {what}\n{found.head(3).T.to_string()}"


def test_share_of_monosomal_karyotypes_in_aml():
    """Published: 9 to 13 % of adults with AML. Kayser 2012 (Blood 119:551): 319 of 1,058 with an abnormal
    karyotype, about half of all; Weinberg 2014 (doi:10.1309/AJCPMLO84JDNVLNK): 14 of 111.
    """
    frame = gw.load_cohort("virtual-aml", n=20_000, seed=0).frame
    assert 0.09 <= frame["monosomal"].mean() <= 0.13
