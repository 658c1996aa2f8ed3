"""Units of a laboratory: conversions against pint and against molar masses from chemistry, spellings, and
numbers that fit only in another unit.

Sources of the molar factors: hemoglobin (by its single chain) and ferritin from PMC3934467, table 1; creatinine
88.4, bilirubin 17.1 and calcium 0.2495
from the tables of conversion that journals print; beta-2-microglobulin 11.8 kDa from the makers of tests.
"""

import numpy as np
import pandas as pd
import pint
import pytest
from conftest import study_folder

from genomed_workbench.clinic.dictionary import DISEASES, dictionary
from genomed_workbench.clinic.problems import ClinicError
from genomed_workbench.clinic.units import (
    MOLAR_MASS,
    UNITS,
    convert,
    factor,
    likely_unit,
    other_unit,
    unit_of,
    units_of,
)

PINT = {  # our unit -> as pint writes it
    "g/L": "g/L",
    "g/dL": "g/dL",
    "mg/mL": "mg/mL",
    "mg/dL": "mg/dL",
    "mg/L": "mg/L",
    "ug/mL": "ug/mL",
    "ug/dL": "ug/dL",
    "ug/L": "ug/L",
    "ng/mL": "ng/mL",
    "mol/L": "mol/L",
    "mmol/L": "mmol/L",
    "umol/L": "umol/L",
    "nmol/L": "nmol/L",
    "pmol/L": "pmol/L",
    "10^12/L": "1e12/L",
    "10^9/L": "1e9/L",
    "10^6/L": "1e6/L",
    "10^3/uL": "1e3/uL",
    "10^6/uL": "1e6/uL",
    "10^3/mL": "1e3/mL",
    "10^6/mL": "1e6/mL",
    "cells/uL": "1/uL",
    "fraction": "dimensionless",
    "%": "percent",
    "per mille": "permille",
    "years": "year",
    "months": "month",
    "weeks": "week",
    "days": "day",
    "U/L": "enzyme_unit/L",
    "ukat/L": "ukat/L",
    "nkat/L": "nkat/L",
    "mmHg": "mmHg",
    "kPa": "kPa",
    "m/s": "m/s",
    "cm/s": "cm/s",
}


@pytest.fixture(scope="module")
def ureg() -> pint.UnitRegistry:
    return pint.UnitRegistry()


def test_every_unit_is_held_against_pint():
    assert set(PINT) == set(UNITS)


PAIRS = [
    (one, other)
    for one in UNITS
    for other in UNITS
    if one != other and UNITS[one][0] == UNITS[other][0]
]


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_conversions_as_pint_makes_them(ureg, one, other):
    expected = (
        ureg.Quantity(3.7, ureg.parse_expression(PINT[one]).units)
        * ureg.parse_expression(PINT[one]).magnitude
    )
    expected = (
        expected.to((1 * ureg.parse_expression(PINT[other])).units).magnitude
        / ureg.parse_expression(PINT[other]).magnitude
    )
    assert convert(3.7, one, other) == pytest.approx(
        expected, rel=1e-6 if "mmHg" in (one, other) else 1e-12
    )


def test_units_of_different_quantities_cannot_be_converted():
    quantities = {UNITS[unit][0]: unit for unit in UNITS}
    for one in quantities.values():
        for other in quantities.values():
            if one != other:
                with pytest.raises(ClinicError, match="cannot be converted"):
                    convert(1.0, one, other)


PUBLISHED = [  # variable, from, to, factor as printed
    ("hemoglobin", "g/dL", "mmol/L", 0.62063),
    ("ferritin", "ng/mL", "pmol/L", 2.247),
    ("creatinine", "mg/dL", "umol/L", 88.4),
    ("bilirubin", "mg/dL", "umol/L", 17.1),
    ("calcium", "mg/dL", "mmol/L", 0.2495),
    ("hemoglobin", "mmol/L", "g/dL", 1.6114),
    ("hemoglobin", "g/L", "mmol/L", 0.062063),
    ("beta2_microglobulin", "mg/L", "nmol/L", 1e6 / 11800),
]


@pytest.mark.parametrize(("variable", "one", "other", "printed"), PUBLISHED)
def test_molar_factors_as_printed(variable, one, other, printed):
    assert factor(one, other, variable) == pytest.approx(printed, rel=1e-3)
    assert factor(other, one, variable) == pytest.approx(1 / printed, rel=1e-3)


# IUPAC standard atomic weights, abridged
ATOMS = {
    "C": 12.011,
    "H": 1.008,
    "N": 14.007,
    "O": 15.999,
    "Ca": 40.078,
}


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("creatinine", {"C": 4, "H": 7, "N": 3, "O": 1}),
        ("bilirubin", {"C": 33, "H": 36, "N": 4, "O": 6}),
        ("calcium", {"Ca": 1}),
    ],
)
def test_molar_masses_follow_from_the_formula(name, formula):
    assert MOLAR_MASS[name] == pytest.approx(
        sum(ATOMS[atom] * n for atom, n in formula.items()), rel=1e-4
    )


def test_moles_need_to_know_of_what():
    for variable in (None, "platelets", dictionary("mds")["platelets"]):
        with pytest.raises(ClinicError, match="cannot be converted"):
            convert(1.0, "mmol/L", "g/dL", variable)
    assert convert(1.0, "mmol/L", "g/dL", dictionary("mds")["hemoglobin"]) == convert(
        1.0, "mmol/L", "g/dL", "hemoglobin"
    )


def test_values_keep_their_kind():
    series = pd.Series([98.0, np.nan], index=["a", "b"])
    assert convert(series, "g/L", "g/dL").index.tolist() == ["a", "b"] and np.isnan(
        convert(series, "g/L", "g/dL")["b"]
    )
    assert isinstance(convert(np.ones(3), "g/L", "g/dL"), np.ndarray)


SPELLED = {
    "10^9/L": [
        "10^9/L",
        "10*9/L",
        "x10^9/L",
        "x 10^9 /L",
        "10E9/L",
        "10e9/l",
        "10**9/L",
        "× 10⁹/l",
        "·10⁹/L",
        "G/l",
        "G/L",
        "Gpt/l",
        "Giga/l",
        "/nl",
        "/nL",
        "10^3/mm3",
        "10³/mm³",
        "(10^9/L)",
        "[10*9/L]",
        "10(9)/L",
        "x10(9)/L",
    ],
    "10^3/uL": [
        "10^3/uL",
        "10*3/uL",
        "K/uL",
        "k/µl",
        "x10³/µl",
        "Tsd/µl",
        "Tsd./µl",
        "10^3/μL",
        "thou/uL",
        "G/µl",
    ],
    "cells/uL": [
        "cells/uL",
        "/ul",
        "/µl",
        "/mm3",
        "/mm³",
        "1/µl",
        "cells/mm3",
        "Zellen/µl",
        "{cells}/uL",
        "/cumm",
    ],
    "g/L": ["g/l", "g/L", "gr/L", "g / l", "g/litre"],
    "g/dL": ["g/dl", "g/dL", "G/DL", "g%", "gm/dl", "g/100 ml"],
    "mmol/L": ["mmol/l", "mmol/L", "MMOL/L"],
    "umol/L": ["µmol/l", "umol/L", "μmol/L", "micromol/L"],
    "mg/dL": ["mg/dl", "mg/dL", "mg%"],
    "mg/L": ["mg/l"],
    "ug/L": ["µg/l", "ug/L", "mcg/L", "μg/L"],
    "ng/mL": ["ng/ml"],
    "U/L": ["U/l", "IU/L", "UI/L", "IE/l", "[IU]/L"],
    "ukat/L": ["µkat/l", "ukat/L"],
    "%": ["%", "percent", "pct", "Prozent"],
    "fraction": ["fraction", "1"],
    "per mille": ["‰"],
    "years": ["years", "y", "a", "Jahre", "ans", "anni", "años"],
    "months": ["months", "mo", "Monate"],
    "days": ["days", "d", "Tage"],
    "mmHg": ["mmHg", "mm Hg", "mm[Hg]"],
    "m/s": ["m/s", "m/sec"],
}


@pytest.mark.parametrize(
    ("unit", "text"), [(unit, text) for unit, texts in SPELLED.items() for text in texts]
)
def test_units_as_hospitals_write_them(unit, text):
    assert unit_of(text) == unit


def test_what_is_no_unit():
    for text in ("", "furlongs", "mm", "patients", "g/", "/", "10", "L", "x", "2.5"):
        assert unit_of(text) is None, text
    with pytest.raises(ClinicError, match=r"unit 'furlongs' is not known; expected one of .*g/dL"):
        convert(1.0, "furlongs", "g/dL")


def test_capitals_decide_unless_the_quantity_is_known():
    assert unit_of("G/l") == "10^9/L" and unit_of("g/l") == "g/L"
    assert (
        unit_of("G/L", "mass in volume") == "g/L" and unit_of("g/l", "number in volume") == "10^9/L"
    )
    assert (
        convert(98.0, "G/L", "g/dL") == pytest.approx(9.8)
        and convert(98.0, "g/l", "10^9/L") == 98.0
    )


# numbers that fit only in another unit


def lognormal(median: float, spread: float):
    return lambda rng, n: median * np.exp(spread * rng.normal(size=n))


def normal(mean: float, sd: float, low: float, high: float):
    return lambda rng, n: np.clip(rng.normal(mean, sd, n), low, high)


# medians and spreads as published where there is a publication (MDS: Bernard 2022; AML: Gerstung
# 2017; MM, SCD: as wide as wards are)
PATIENTS = {
    ("mds", "age"): normal(70, 12, 18, 100),
    ("mds", "hemoglobin"): normal(9.87, 2.03, 4, 17),
    ("mds", "platelets"): lognormal(118, 0.95),
    ("mds", "white_cells"): lognormal(3.9, 0.58),
    ("mds", "neutrophils"): lognormal(1.8, 0.85),
    ("mds", "monocytes"): lognormal(0.33, 1.0),
    ("mds", "marrow_blasts"): lambda rng, n: np.round(rng.exponential(4.6, n)).clip(0, 19),
    ("mds", "blood_blasts"): lambda rng, n: np.round(rng.exponential(0.8, n)),
    ("mds", "ring_sideroblasts"): lambda rng, n: np.where(
        rng.random(n) < 0.55, 0, np.round(rng.uniform(2, 80, n))
    ),
    ("mds", "ldh"): lognormal(220, 0.4),
    ("mds", "ferritin"): lognormal(400, 1.1),
    ("mds", "TP53_max_vaf"): lambda rng, n: np.where(
        rng.random(n) < 0.85, 0, rng.uniform(0.03, 0.95, n)
    ),
    ("mds", "os_years"): lambda rng, n: rng.exponential(2.5, n) + 0.003,
    ("mds", "aml_years"): lambda rng, n: rng.exponential(2.4, n) + 0.003,
    ("mds", "lfs_years"): lambda rng, n: rng.exponential(2.4, n) + 0.003,
    ("aml", "age"): normal(50, 14, 18, 90),
    ("aml", "hemoglobin"): normal(9.1, 1.9, 3, 17),
    ("aml", "platelets"): lognormal(54.6, 0.89),
    ("aml", "white_cells"): lognormal(13.3, 1.56),
    ("aml", "ldh"): lognormal(464, 0.73),
    ("aml", "marrow_blasts"): lambda rng, n: np.round(100 * rng.beta(4, 1.7, n)),
    ("aml", "blood_blasts"): lambda rng, n: np.round(100 * rng.beta(0.9, 1.1, n)),
    ("aml", "os_years"): lambda rng, n: rng.weibull(0.61, n) * 4 + 0.003,
    ("aml", "TP53_max_vaf"): lambda rng, n: np.where(
        rng.random(n) < 0.9, 0, rng.uniform(0.03, 0.95, n)
    ),
    ("mm", "age"): normal(68, 10, 30, 95),
    ("mm", "hemoglobin"): normal(10.8, 2.1, 5, 17),
    ("mm", "calcium"): normal(9.6, 1.2, 7, 17),
    ("mm", "creatinine"): lognormal(1.1, 0.55),
    ("mm", "beta2_microglobulin"): lognormal(4.2, 0.65),
    ("mm", "albumin"): normal(3.6, 0.65, 1.5, 5.5),
    ("mm", "ldh"): lognormal(195, 0.4),
    ("mm", "marrow_plasma_cells"): lambda rng, n: np.round(100 * rng.beta(1.6, 1.9, n)).clip(1),
    ("mm", "os_years"): lambda rng, n: rng.exponential(4, n) + 0.003,
    ("mm", "pfs_years"): lambda rng, n: rng.exponential(2.2, n) + 0.003,
    ("scd", "age"): lambda rng, n: rng.gamma(2, 11, n) + 0.5,
    ("scd", "hemoglobin"): normal(9.3, 1.5, 5, 14),
    ("scd", "fetal_hemoglobin"): lognormal(8, 0.7),
    ("scd", "white_cells"): lognormal(10, 0.35),
    ("scd", "platelets"): lognormal(380, 0.4),
    ("scd", "reticulocytes"): lognormal(8, 0.55),
    ("scd", "ldh"): lognormal(400, 0.4),
    ("scd", "bilirubin"): lognormal(2.3, 0.65),
    ("scd", "systolic_pressure"): normal(114, 13, 75, 180),
    ("scd", "oxygen_saturation"): normal(96, 2.5, 80, 100),
    ("scd", "tricuspid_velocity"): normal(2.4, 0.35, 1.5, 4.5),
    ("scd", "creatinine"): lognormal(0.6, 0.4),
    ("scd", "ferritin"): lognormal(350, 1.2),
    ("scd", "os_years"): lambda rng, n: rng.exponential(8, n) + 0.01,
}
INSEPARABLE = {("ferritin", "pmol/L")}  # a factor of two in a value that spreads over a thousand


def with_units() -> list[tuple[str, str]]:
    return [
        (disease, variable.name)
        for disease in DISEASES
        for variable in dictionary(disease)
        if len(units_of(variable)) > 1
    ]


def test_every_variable_with_units_is_tried():
    assert set(with_units()) == set(PATIENTS)


@pytest.mark.parametrize(("disease", "name"), sorted(PATIENTS))
def test_clean_values_raise_no_alarm(disease, name):
    variable = dictionary(disease)[name]
    for seed in range(40):
        rng = np.random.default_rng(seed)
        values = PATIENTS[disease, name](rng, int(rng.integers(3, 400)))
        assert likely_unit(values, variable) is None, (seed, np.quantile(values, [0.05, 0.5, 0.95]))


@pytest.mark.parametrize(
    ("disease", "name", "unit"),
    [
        (d, n, u)
        for d, n in sorted(PATIENTS)
        for u in dictionary(d)[n].units
        if (n, u) not in INSEPARABLE
    ],
)
def test_a_wrong_unit_is_named(disease, name, unit):
    variable = dictionary(disease)[name]
    times = factor(unit, variable.unit, variable)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        values = PATIENTS[disease, name](rng, 150)
        guess = likely_unit(np.append(values / times, [np.nan, 0]), variable)
        if times == 1:
            assert guess is None
        else:
            assert guess is not None, (seed, np.quantile(values / times, [0.05, 0.5, 0.95]))
            assert factor(guess.unit, variable.unit, variable) == pytest.approx(times), (
                seed,
                guess,
            )
            assert (
                guess.share >= 0.75 and guess.unit in guess.reason and variable.unit in guess.reason
            )


def test_what_cannot_be_told_apart_is_not_guessed():
    rng = np.random.default_rng(0)
    ferritin = dictionary("mds")["ferritin"]
    assert (
        likely_unit(
            PATIENTS["mds", "ferritin"](rng, 500) / factor("pmol/L", "ug/L", ferritin), ferritin
        )
        is None
    )


def test_sick_wards_raise_no_alarm():
    "Cohorts at the edge: before transfusion, after chemotherapy, low risk with hardly any blasts, children."
    mds, scd = dictionary("mds"), dictionary("scd")
    rng = np.random.default_rng(0)
    assert likely_unit(rng.normal(7.0, 0.8, 300), mds["hemoglobin"]) is None
    assert likely_unit(rng.exponential(15, 300) + 1, mds["platelets"]) is None
    assert likely_unit(rng.exponential(0.2, 300), mds["neutrophils"]) is None
    assert likely_unit(np.r_[np.zeros(200), np.ones(60)], mds["marrow_blasts"]) is None
    assert likely_unit(rng.uniform(0.5, 12, 300), scd["age"]) is None
    assert (
        likely_unit(np.zeros(50), mds["TP53_max_vaf"]) is None
        and likely_unit([], mds["hemoglobin"]) is None
        and likely_unit([np.nan] * 5, mds["hemoglobin"]) is None
    )


def test_variables_without_units_are_never_suspected():
    assert (
        likely_unit([1e9, 2e9, 3e9], dictionary("mds")["ipss_r_score"]) is None
        and likely_unit([0, 1, 7], dictionary("mds")["TP53"]) is None
    )


def test_two_laboratories_in_one_column():
    hemoglobin = dictionary("mds")["hemoglobin"]
    rng = np.random.default_rng(1)
    values = rng.normal(9.9, 1.5, 400).clip(5, 15)
    foreign = rng.random(400) < 0.15
    mixed = np.where(foreign, values * 10, values)
    odd = mixed > hemoglobin.plausible[1]
    unit, fits = other_unit(mixed[odd], hemoglobin)
    assert unit == "g/L" and fits.all() and (odd == foreign).all()
    assert likely_unit(np.where(foreign, values * 10, values), hemoglobin) is None, (
        "most of the column is right"
    )
    unit, fits = other_unit([0.0, np.nan, -5], hemoglobin)
    assert unit == "" and not fits.any() and other_unit([98.0], hemoglobin, "g/L")[0] == ""


COLUMNS = {
    "AGE": "age",
    "HB": "hemoglobin",
    "PLT": "platelets",
    "WBC": "white_cells",
    "ANC": "neutrophils",
    "MONOCYTES": "monocytes",
    "BM_BLAST": "marrow_blasts",
    "PB_BLAST": "blood_blasts",
    "RINGED_SIDEROBLASTS": "ring_sideroblasts",
    "OS_YEARS": "os_years",
    "LFS_YEARS": "lfs_years",
    "AMLt_YEARS": "aml_years",
}


def test_the_released_cohort_in_every_unit():
    folder = study_folder()
    if folder is None:
        pytest.skip(
            "the folder ipssm-study is absent: get it from github.com/papaemmelab/IPSSMstudy and set GENOMED_DATA"
        )
    study = pd.read_csv(folder / "ipssm-study" / "df_clinical.tsv", sep="\t")
    for column, name in COLUMNS.items():
        variable = dictionary("mds")[name]
        assert likely_unit(study[column], variable) is None, column
        for unit in variable.units:
            times = factor(unit, variable.unit, variable)
            guess = likely_unit(study[column] / times, variable)
            assert (
                guess is None
                if times == 1
                else factor(guess.unit, variable.unit, variable) == pytest.approx(times)
            ), (column, unit)
