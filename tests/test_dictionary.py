"""The dictionaries: complete, in agreement with themselves, refused when broken, and known under the names
that hospitals and programs use.
"""

import csv
import html
import pickle
import re
from importlib.resources import files
from pathlib import Path

import pytest
from conftest import study_folder

import genomed_workbench as gw
from genomed_workbench.clinic.dictionary import (
    CODES,
    DISEASES,
    GROUPS,
    KINDS,
    ROLES,
    called_by,
    dictionary,
    key,
    read_dictionary,
)
from genomed_workbench.clinic.problems import ClinicError, Problem

FOLDER = files("genomed_workbench.clinic") / "dictionaries"
SHARED = (FOLDER / "shared.toml").read_text(encoding="utf-8")
TEXT = {disease: (FOLDER / f"{disease}.toml").read_text(encoding="utf-8") for disease in DISEASES}
NAMES = {
    "mds": """age sex mds_type who_class hemoglobin platelets neutrophils white_cells monocytes blood_blasts
        marrow_blasts ring_sideroblasts marrow_fibrosis ldh ferritin karyotype cytogenetic_risk
        del5q minus7 del7q del7_7q del17_17p plus8 plus19 iso17q del20q minusY del11q del12p inv3 complex monosomal
        ASXL1 BCOR BCORL1 CBL CEBPA CUX1 DDX41 DNMT3A ETNK1 ETV6 EZH2 FLT3 FLT3_ITD FLT3_TKD GATA2 GNB1 IDH1 IDH2
        JAK2 KRAS MLL_PTD NF1 NPM1 NRAS PHF6 PPM1D PRPF8 PTPN11 RUNX1 SETBP1 SF3B1 SRSF2 STAG2 TET2 TP53 U2AF1
        WT1 ZRSR2 TP53_mutations TP53_max_vaf TP53_loh TP53multi ipss_r_score ipss_m_score diagnosis_date
        last_contact_date death_date os_years death lfs_years leukemia_or_death aml_years aml""",
    "aml": """age sex aml_type hemoglobin platelets white_cells ldh marrow_blasts blood_blasts ecog karyotype
        t_8_21 inv16 t_15_17 t_9_11 t_v_11 t_6_9 t_9_22 t_8_16 inv3 minus5_5q minus7 abn17p plus8 complex monosomal
        NPM1 DNMT3A FLT3_ITD FLT3_TKD NRAS KRAS CEBPA CEBPA_bi CEBPA_bzip TET2 IDH1 IDH2 RUNX1 PTPN11 TP53 SRSF2
        MLL_PTD WT1 ASXL1 STAG2 KIT RAD21 EZH2 PHF6 SF3B1 U2AF1 ZRSR2 BCOR GATA2 NF1 CBL
        TP53_max_vaf complete_remission diagnosis_date last_contact_date death_date os_years death""",
    "mm": """age sex hemoglobin calcium creatinine beta2_microglobulin albumin ldh ldh_high ecog
        marrow_plasma_cells bone_lesions isotype t_11_14 t_4_14 t_14_16 t_6_14 t_14_20 hyperdiploid gain_1q del1p
        del17p
        KRAS NRAS DIS3 TENT5C BRAF TP53 iss r_iss r2_iss diagnosis_date last_contact_date death_date os_years death
        pfs_years progression_or_death""",
    "scd": """age sex diagnosis alpha_deletions hydroxyurea transfusion hemoglobin fetal_hemoglobin white_cells
        platelets reticulocytes ldh bilirubin systolic_pressure oxygen_saturation tricuspid_velocity creatinine
        ferritin
        voe_2y acute_chest_syndrome stroke silent_infarct avascular_necrosis priapism diagnosis_date
        last_contact_date death_date os_years death""",
}
UNITS = {
    "age": "years",
    "hemoglobin": "g/dL",
    "platelets": "10^9/L",
    "neutrophils": "10^9/L",
    "white_cells": "10^9/L",
    "monocytes": "10^9/L",
    "blood_blasts": "%",
    "marrow_blasts": "%",
    "ring_sideroblasts": "%",
    "ldh": "U/L",
    "ferritin": "ug/L",
    "TP53_max_vaf": "fraction",
    "os_years": "years",
    "calcium": "mg/dL",
    "creatinine": "mg/dL",
    "beta2_microglobulin": "mg/L",
    "albumin": "g/dL",
    "marrow_plasma_cells": "%",
    "fetal_hemoglobin": "%",
    "reticulocytes": "%",
    "bilirubin": "mg/dL",
    "systolic_pressure": "mmHg",
    "oxygen_saturation": "%",
    "tricuspid_velocity": "m/s",
    "lfs_years": "years",
    "aml_years": "years",
    "pfs_years": "years",
}
EVERY = [(disease, variable) for disease in DISEASES for variable in dictionary(disease)]


@pytest.mark.parametrize("disease", DISEASES)
def test_every_name_is_there_once(disease):
    assert sorted(dictionary(disease).names) == sorted(NAMES[disease].split())
    assert gw.dictionary(disease) is dictionary(disease)


@pytest.mark.parametrize(("disease", "variable"), EVERY, ids=[f"{d}-{v.name}" for d, v in EVERY])
def test_a_variable_says_what_it_is(disease, variable):
    assert variable.label and (
        variable.label[0].isupper() or variable.group in ("genes", "cytogenetics")
    )
    assert (
        len(variable.description) > 20
        and variable.description.endswith((".", ")"))
        and "{" not in variable.label + variable.description
    )
    assert (
        variable.kind in KINDS
        and variable.group in GROUPS
        and variable.role in ROLES
        and variable.missing
    )
    assert variable.unit == UNITS.get(variable.name)
    if variable.kind in ("number", "count"):
        assert variable.possible and variable.plausible
    if variable.kind == "number" and variable.units:
        assert variable.usual, "a unit can be suspected only where it is known what is usual"
    assert (variable.kind == "date") == variable.identifying == (variable.role == "date")
    assert all(
        dictionary(disease).find(name) is variable
        for name in (variable.name, variable.label, *variable.aliases, variable.name.upper())
    )


def test_yes_no_means_the_same_everywhere():
    for _, variable in EVERY:
        if variable.kind == "yes-no":
            assert set(variable.synonyms.values()) <= {0.0, 1.0}
        if variable.group == "genes" and variable.kind == "yes-no":
            assert variable.words[key("mutated")] == 1.0 and variable.words[key("wild-type")] == 0.0


# codes


def luhn(code: str) -> bool:
    "The check digit of a LOINC code (mod 10, as in LOINC's users' guide, appendix C)."
    number, check = code.split("-")
    odd = int(number[::-1][::2][::-1]) * 2
    total = sum(map(int, str(odd))) + sum(map(int, number[::-1][1::2]))
    return (10 - total % 10) % 10 == int(check)


def test_loinc_codes_have_their_check_digit():
    codes = {
        variable.name: variable.codes["LOINC"] for _, variable in EVERY if "LOINC" in variable.codes
    }
    assert len(codes) >= 18 and all(map(luhn, codes.values()))
    assert len(set(codes.values())) == len(codes), "two variables have one code"
    assert not luhn("718-8") and not luhn("4576-9")


def test_further_loinc_codes_have_their_check_digit_and_one_meaning():
    meant: dict[str, set[str]] = {}
    for _, variable in EVERY:
        first = [variable.codes["LOINC"]] if "LOINC" in variable.codes else []
        for code in [*first, *(one for codes in variable.more_codes.values() for one in codes)]:
            assert luhn(code), code
            meant.setdefault(code, set()).add(variable.name)
    assert len(meant) >= 45 and all(len(names) == 1 for names in meant.values())


DIHEDRAL = [  # the group of the symmetries of a pentagon
    *([(a + b) % 5 for b in range(5)] + [(a + b) % 5 + 5 for b in range(5)] for a in range(5)),
    *([(a - b) % 5 + 5 for b in range(5)] + [(a - b) % 5 for b in range(5)] for a in range(5)),
]


def verhoeff(code: str) -> bool:
    "The check digit of a SNOMED CT identifier (Verhoeff 1969; SNOMED CT release file specification, 5.5)."
    turn = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]
    check = 0
    for place, read in enumerate(map(int, reversed(code))):
        digit = read
        for _ in range(place % 8):
            digit = turn[digit]
        check = DIHEDRAL[check][digit]
    return check == 0


@pytest.mark.parametrize("disease", DISEASES)
def test_codes_of_a_diagnosis_have_their_form_and_one_meaning(disease):
    "A concept's identifier ends in its partition, 00 or 10, and the check digit."
    conditions = dictionary(disease).conditions
    snomed = [*conditions["SNOMED"], *(code for code in conditions["apart"] if code.isdigit())]
    assert all(verhoeff(code) and code[-3:-1] in ("00", "10") for code in snomed)
    assert not set(conditions["SNOMED"]) & set(conditions["apart"])
    assert not verhoeff("91861008") and verhoeff("138875005")  # the root concept
    others = {
        code
        for other in DISEASES
        if other != disease
        for system in ("SNOMED", "ICD-10")
        for code in dictionary(other).conditions[system]
    }
    assert not others & {*conditions["SNOMED"], *conditions["ICD-10"]}


@pytest.mark.parametrize(
    "line,said",
    [
        ('[conditions.SNOMED]\n"C92" = "x"', "a code of ICD-10 or SNOMED CT"),
        ('[conditions.OPS]\n91861009 = "x"', "a table ICD-10, SNOMED or apart"),
        ("[conditions.ICD-10]\nC92 = 3", "with its term"),
    ],
)
def test_a_wrong_code_of_a_diagnosis_is_refused(line, said):
    with pytest.raises(gw.ClinicError, match=said):
        read_dictionary(f'format = 1\ndisease = "x"\ntitle = "X"\n{line}\n', "")


@pytest.mark.parametrize(
    "more", ['{ LOINC = ["7-1-8"] }', '{ LOINC = "718-7" }', '{ ICD = ["1"] }']
)
def test_a_wrong_further_code_is_refused(more):
    told = f'[blood.hb]\nlabel = "Hb"\ndescription = "d"\nkind = "number"\nmore_codes = {more}\n'
    with pytest.raises(gw.ClinicError, match=r"blood.hb"):
        read_dictionary(f'format = 1\ndisease = "x"\ntitle = "X"\n{told}', "")


def test_every_gene_has_its_hgnc_number():
    numbers: dict[str, set[str]] = {}
    for disease in DISEASES:
        for variable in dictionary(disease):
            if variable.group == "genes":
                gene = (
                    "KMT2A"
                    if variable.name == "MLL_PTD"
                    else variable.name.replace("TP53multi", "TP53").split("_")[0]
                )
                numbers.setdefault(gene, set()).add(variable.codes["HGNC"])
    assert all(
        len(found) == 1 and CODES["HGNC"].fullmatch(next(iter(found))) for found in numbers.values()
    )
    assert len(set.union(*numbers.values())) == len(numbers), "two genes have one number"


def test_diseases_have_their_orpha_code():
    """From Orphanet. ORPHA:232 is sickle cell anemia, homozygous HbS: a patient with HbSC or HbS and beta
    thalassemia has another disease there, so sickle cell disease as a whole bears no code.
    """
    assert {disease: dictionary(disease).codes.get("ORPHA") for disease in DISEASES} == {
        "mds": "ORPHA:52688",
        "aml": "ORPHA:519",
        "mm": "ORPHA:29073",
        "scd": None,
    }
    assert dictionary("scd")["diagnosis"].value_codes == {"SS": "ORPHA:232"}


@pytest.mark.parametrize(
    ("heading", "variable"),
    [
        ("del(7)", "del7q"),
        ("del (7)", "del7q"),
        ("del7", "minus7"),
        ("-7", "minus7"),
        ("del(7q)", "del7q"),
    ],
)
def test_a_deletion_in_brackets_is_no_monosomy(heading, variable):
    "ISCN: del(7) is a deletion within chromosome 7; the IPSS-M study calls its loss del7."
    assert dictionary("mds").by_key[key(heading)].name == variable
    assert variable == "minus7" or dictionary("aml").by_key.get(key(heading)) is None


# which score needs what


def test_scores_read_what_their_papers_say():
    mds, mm = dictionary("mds"), dictionary("mm")
    assert set(mds.needed_by("ipss-r")) == {
        "hemoglobin",
        "platelets",
        "neutrophils",
        "marrow_blasts",
        "cytogenetic_risk",
    }
    assert set(mds.needed_by("ipss-ra")) == {*mds.needed_by("ipss-r"), "age"}
    assert set(mm.needed_by("iss")) == {"beta2_microglobulin", "albumin"}
    assert set(mm.needed_by("r-iss")) == {
        *mm.needed_by("iss"),
        "ldh_high",
        "del17p",
        "t_4_14",
        "t_14_16",
    }
    assert set(mm.needed_by("r2-iss")) == {
        *mm.needed_by("iss"),
        "ldh_high",
        "del17p",
        "t_4_14",
        "gain_1q",
    }
    assert (
        "ipss-m" in mds["SF3B1"].needed_by
        and mds["TET2"].needed_by == ()
        and dictionary("aml")["TP53"].needed_by == ("eln-2022",)
    )
    with pytest.raises(ClinicError, match="knows no score 'ipss-x'; it knows ipss-r"):
        mds.needed_by("ipss-x")
    assert dictionary("scd").systems == {}


def test_ipss_m_reads_the_columns_of_the_package():
    columns = (
        next(csv.reader((Path(study_folder() or ".") / "ipssm-oracle" / "input.csv").open()))
        if study_folder()
        else None
    )
    if columns is None:
        pytest.skip("the folder ipssm-oracle is absent")
    found = {dictionary("mds").find(column).name for column in columns if column != "ID"}
    assert found - {"neutrophils", "age"} == set(dictionary("mds").needed_by("ipss-m"))


# names


PACKAGE = {
    "HB": "hemoglobin",
    "PLT": "platelets",
    "BM_BLAST": "marrow_blasts",
    "ANC": "neutrophils",
    "AGE": "age",
    "CYTO_IPSSR": "cytogenetic_risk",
    "TP53mut": "TP53_mutations",
    "TP53maxvaf": "TP53_max_vaf",
    "TP53loh": "TP53_loh",
}
STUDY = {
    "SEX": "sex",
    "MDS_TYPE": "mds_type",
    "WHO_2016": "who_class",
    "PB_BLAST": "blood_blasts",
    "WBC": "white_cells",
    "MONOCYTES": "monocytes",
    "RINGED_SIDEROBLASTS": "ring_sideroblasts",
    "CYTOGENETICS": "karyotype",
    "IPSSR_SCORE": "ipss_r_score",
    "IPSSM_SCORE": "ipss_m_score",
    "OS_YEARS": "os_years",
    "OS_STATUS": "death",
    "AMLt_YEARS": "aml_years",
    "AMLt_STATUS": "aml",
    "LFS_YEARS": "lfs_years",
    "LFS_STATUS": "leukemia_or_death",
    "delY": "minusY",
    "del7": "minus7",
    "FLT3_ITD": "FLT3_ITD",
}
GENOMED4ALL = {
    "Gender": "sex",
    "AOD": "age",
    "Neutrophils": "neutrophils",
    "Hemoglobin": "hemoglobin",
    "Platelets": "platelets",
    "LDH": "ldh",
    "Ferritin": "ferritin",
    "RS": "ring_sideroblasts",
    "BMB": "marrow_blasts",
    "BMF": "marrow_fibrosis",
    "del5q": "del5q",
    "Lossofchr7ordel7q": "del7_7q",
    "Gainofchr8": "plus8",
    "LossofchrY": "minusY",
    "ASXL1 result": "ASXL1",
    "TP53 result": "TP53",
    "TP53 n. mutations": "TP53_mutations",
    "TP53 load": "TP53_max_vaf",
    "FLT3 result": "FLT3",
}
LOCAL = {
    "Hb": "hemoglobin",
    "Hgb": "hemoglobin",
    "Hämoglobin": "hemoglobin",
    "emoglobina": "hemoglobin",
    "Leukozyten": "white_cells",
    "globuli bianchi": "white_cells",
    "Thrombozyten": "platelets",
    "piastrine": "platelets",
    "plaquettes": "platelets",
    "plaquetas": "platelets",
    "Neutrophile": "neutrophils",
    "Blasten KM": "marrow_blasts",
    "Geschlecht": "sex",
    "sesso": "sex",
    "Alter": "age",
    "edad": "age",
    "Karyotyp": "karyotype",
    "-7": "minus7",
    "+8": "plus8",
    "5q-": "del5q",
    "i(17q)": "iso17q",
    "FLT3-ITD": "FLT3_ITD",
    "hemoglobin ": "hemoglobin",
    "BM blasts %": "marrow_blasts",
    "Blasts in the marrow (%)": "marrow_blasts",
}


@pytest.mark.parametrize(
    ("text", "name"), [*PACKAGE.items(), *STUDY.items(), *GENOMED4ALL.items(), *LOCAL.items()]
)
def test_columns_are_known_by_their_names(text, name):
    assert dictionary("mds").find(text) is dictionary("mds")[name]


STRANGERS = [
    "",
    "x",
    "id",
    "patient",
    "Neutrophils %",
    "Neutrophils (%)",
    "Lymphocytes",
    "8",
    "7",
    "-8",
    "+7",
    "Hb A1c",
    "HbF",
    "name",
    "ward",
    "ASXL1 load",
    "ASXL2",
    "IPSSM",
    "chr17",
    "BM",
    "blasts",
    "platelets %",
]


@pytest.mark.parametrize("text", STRANGERS)
def test_what_is_not_a_name_is_not_guessed(text):
    assert dictionary("mds").find(text) is None


def test_a_wrong_name_is_answered_with_the_right_one():
    with pytest.raises(KeyError, match="no variable 'HB'. Did you mean 'hemoglobin'"):
        dictionary("mds")["HB"]
    with pytest.raises(
        ClinicError, match="no dictionary for 'cml'; expected one of mds, aml, mm, scd"
    ):
        dictionary("cml")
    assert "hemoglobin" in dictionary("mds") and "HB" not in dictionary("mds")


def test_searching_and_the_table():
    mds = dictionary("mds")
    table = mds.table()
    assert table.index.tolist() == list(mds.names) and not table.isna().any(axis=None)
    assert set(mds.search("splicing ipss-m").index) == {"SF3B1", "SRSF2", "U2AF1", "PRPF8"}
    assert (
        mds.search("718-7").index.tolist() == ["hemoglobin"]
        and "hemoglobin" in mds.search("HÄMOGLOBIN").index
        and mds.search("nothing like that").empty
    )
    assert len(mds.search("")) == len(mds)
    shown = mds._repr_html_()
    assert shown.count("<tr") == len(mds) + 1 and html.escape("Myelodysplastic syndromes") in shown


def test_dictionaries_travel_between_processes():
    mds = dictionary("mds")
    again = pickle.loads(pickle.dumps(mds))
    assert (
        again == mds
        and again["hemoglobin"] == mds["hemoglobin"]
        and hash(again["hemoglobin"]) == hash(mds["hemoglobin"])
    )
    error = pickle.loads(
        pickle.dumps(ClinicError([Problem(row="a", column="HB", value=97, expected="less")]))
    )
    assert error.faults == [Problem(row="a", column="HB", value=97, expected="less")]


# broken copies


def broken(disease: str, old: str, new: str, shared: bool = False):
    "Read a copy in which one thing is wrong."
    text, common = TEXT[disease], SHARED
    assert (common if shared else text).count(old) >= 1, "the copy would not be broken"
    if shared:
        common = common.replace(old, new, 1)
    else:
        text = text.replace(old, new, 1)
    return read_dictionary(text, common, f"{disease}.toml")


BROKEN = [
    (
        "unknown key",
        "mds",
        'first = 0\nmissing = "no biopsy was read"',
        'begin = 0\nmissing = "no biopsy was read"',
        False,
        r"mds.toml, \[marrow.marrow_fibrosis\]: 'begin' is not known; expected one of label",
    ),
    (
        "unknown kind",
        "scd",
        'kind = "count"',
        'kind = "integer"',
        False,
        r"\[outcome.voe_2y\]: kind is 'integer'; expected one of number, count",
    ),
    (
        "unknown role",
        "scd",
        'role = "event"',
        'role = "endpoint"',
        False,
        r"role is 'endpoint'; expected one of predictor",
    ),
    (
        "no description",
        "mm",
        'description = "Calcium in the blood. High when bone is dissolved."',
        "",
        False,
        r"\[blood.calcium\]: description is missing",
    ),
    (
        "number as text",
        "mm",
        "first = 1",
        'first = "1"',
        False,
        r"first is '1'; expected a whole number",
    ),
    (
        "text as list",
        "mm",
        'unit = "mg/dL"',
        'unit = ["mg/dL"]',
        False,
        r"unit is \['mg/dL'\]; expected a text",
    ),
    (
        "upside down",
        "mm",
        "plausible = [5, 20]",
        "plausible = [20, 5]",
        False,
        r"\[blood.calcium\]: plausible is \[20, 5\]; expected two numbers, the lower first",
    ),
    (
        "one bound",
        "mm",
        "plausible = [5, 20]",
        "plausible = [5]",
        False,
        r"plausible is \[5\]; expected two numbers",
    ),
    (
        "words as bounds",
        "mm",
        "plausible = [5, 20]",
        'plausible = ["5", "20"]',
        False,
        r"expected two numbers",
    ),
    (
        "plausible wider than possible",
        "mm",
        "possible = [2.5, 30]",
        "possible = [6, 30]",
        False,
        r"plausible range leaves the possible range: 5 to 20, and 6 to 30",
    ),
    (
        "usual wider than plausible",
        "mm",
        "usual = [8, 13.5]",
        "usual = [4, 13.5]",
        False,
        r"usual range leaves the plausible range",
    ),
    (
        "range of a word",
        "mm",
        'kind = "level"\nvalues = ["IgG"',
        'kind = "level"\nplausible = [0, 1]\nvalues = ["IgG"',
        False,
        r"a unit or a range belongs to a number or a count, not to a level",
    ),
    (
        "level without values",
        "mm",
        'values = ["IgG", "IgA", "IgD", "IgM", "IgE", "light chain", "non-secretory"]',
        "",
        False,
        r"\[patient.isotype\]: values belong to a level or an ordinal",
    ),
    (
        "number with values",
        "mm",
        'kind = "number"\nunit = "mg/dL"\nunits = ["mmol/L"]',
        'kind = "number"\nvalues = ["low"]\nunit = "mg/dL"\nunits = ["mmol/L"]',
        False,
        r"values belong to a level",
    ),
    (
        "synonym of nothing",
        "mm",
        '"light chain only" = "light chain"',
        '"light chain only" = "light chains"',
        False,
        r"a synonym stands for 'light chains'; expected one of",
    ),
    (
        "synonym of another kind",
        "mm",
        "{ high = true",
        '{ high = "yes"',
        False,
        r"a synonym stands for 'yes'; expected true or false",
    ),
    (
        "word with two meanings",
        "mm",
        "{ high = true, normal = false",
        "{ high = true, High = false, normal = false",
        False,
        r"'High' means 1.0 and 0.0; a word means one thing",
    ),
    (
        "unknown unit",
        "mm",
        'unit = "mg/dL"',
        'unit = "mg/decilitre"',
        False,
        r"the unit 'mg/decilitre' is not known; expected one of g/L",
    ),
    (
        "unit of another quantity",
        "mm",
        'units = ["mmol/L"]',
        'units = ["10^9/L"]',
        False,
        r"the unit '10\^9/L' cannot be converted into 'mg/dL'",
    ),
    (
        "units without a unit",
        "mm",
        'kind = "yes-no"\nmissing = "no imaging"',
        'kind = "yes-no"\nunits = ["g/L"]\nmissing = "no imaging"',
        False,
        r"cannot be converted into None",
    ),
    (
        "code in a wrong form",
        "mm",
        'LOINC = "17861-6"',
        'LOINC = "17861"',
        False,
        r"the code LOINC '17861' is not in its form",
    ),
    (
        "unknown code system",
        "mm",
        'LOINC = "17861-6"',
        'LIONC = "17861-6"',
        False,
        r"the code LIONC '17861-6' is not in its form",
    ),
    (
        "alias of two variables",
        "mm",
        'aliases = ["Ca",',
        'aliases = ["Alb", "Ca",',
        False,
        r"mm.toml: 'alb' is a name of calcium and of albumin; a name belongs to one variable",
    ),
    (
        "alias that is a name",
        "mm",
        'aliases = ["Ca",',
        'aliases = ["creatinine", "Ca",',
        False,
        r"'creatinine' is a name of calcium and of creatinine",
    ),
    (
        "alias in shared lines",
        "mds",
        'aliases = ["PLT",',
        'aliases = ["WBC", "PLT",',
        True,
        r"'wbc' is a name of platelets and of white_cells",
    ),
    (
        "score of nothing",
        "mm",
        '"iss" = ["beta2_microglobulin", "albumin"]',
        '"iss" = ["beta2_microglobulin", "albumine"]',
        False,
        r"\[scores\] iss needs 'albumine', which is not a variable",
    ),
    (
        "unknown table",
        "mm",
        "[marrow.marrow_plasma_cells]",
        "[bone.marrow_plasma_cells]",
        False,
        r"mm.toml: the table 'bone' is not known; expected one of patient",
    ),
    (
        "another format",
        "mm",
        "format = 1",
        "format = 2",
        False,
        r"mm.toml: format is 2; this version reads format 1",
    ),
    ("no TOML", "mm", "format = 1", "format : 1", False, r"mm.toml: this is not TOML: .*line 1"),
    (
        "a variable nobody describes",
        "mm",
        "[blood.creatinine]",
        "[blood.kreatinine]",
        False,
        r"\[blood.kreatinine\]: label is missing",
    ),
    ("no disease", "mm", 'disease = "mm"', "", False, r"mm.toml: disease is missing"),
    (
        "gene that is no table",
        "mm",
        "KRAS = {}",
        "KRAS = 1",
        False,
        r"\[genes.KRAS\]: expected a table",
    ),
]


@pytest.mark.parametrize(
    ("disease", "old", "new", "shared", "said"),
    [one[1:] for one in BROKEN],
    ids=[one[0] for one in BROKEN],
)
def test_a_broken_dictionary_is_refused(disease, old, new, shared, said):
    with pytest.raises(ClinicError, match=said):
        broken(disease, old, new, shared)


def test_an_unbroken_copy_is_read():
    for disease in DISEASES:
        assert read_dictionary(TEXT[disease], SHARED) == dictionary(disease)


def test_no_lines_are_shared_in_vain():
    "Every variable of the shared file is used, and no default of a group is without effect."
    import tomllib

    shared = tomllib.loads(SHARED)
    used = {(variable.group, variable.name) for _, variable in EVERY}
    assert [
        (group, name)
        for group in GROUPS
        for name in shared.get(group, {})
        if (group, name) not in used
    ] == []
    assert set(shared["defaults"]) <= {variable.group for _, variable in EVERY}


def test_faults_speak():
    fault = Problem(row="P-17", column="HB", value=97.0, expected="less", variable="hemoglobin")
    assert str(fault) == "patient P-17, column 'HB' (hemoglobin): found 97.0; expected less."
    many = ClinicError([fault] * 45)
    assert (
        str(many).startswith("45 values cannot be right.")
        and str(many).count("P-17") == 20
        and "and 25 more" in str(many)
        and len(many.faults) == 45
    )
    assert ClinicError("a sentence").faults == [] and isinstance(many, ValueError)


def test_names_of_diseases_do_not_meet():
    "What two dictionaries call the same means the same kind of thing."
    seen: dict[str, tuple] = {}
    for disease, variable in EVERY:
        here = (variable.kind, variable.unit, variable.group, variable.codes)
        assert seen.setdefault(variable.name, here) == here, f"{variable.name} differs in {disease}"
    assert all(re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) for name in seen)
    assert all("" not in called_by(variable) for _, variable in EVERY)


# the search in a notebook, and the page of the site


def test_the_search_in_a_notebook():
    browser = gw.browse_dictionary("mds", "Leukozyten")
    assert [one.name for one in browser.found] == [
        "white_cells"
    ] and "1 of 85 variables fit." in browser.shown.value
    browser.words.value = "zebra"
    assert (
        browser.found == []
        and "No variable fits" in browser.shown.value
        and "<table" not in browser.shown.value
    )
    browser.words.value, browser.system.value, browser.group.value = "", "ipss-r", "blood"
    assert {one.name for one in browser.found} == {"hemoglobin", "platelets", "neutrophils"}
    browser.disease.value = "aml"
    assert browser.group.value == browser.system.value == "" and len(browser.found) == len(
        dictionary("aml")
    )
    assert [label for label, _ in browser.system.options] == ["any score, or none", "eln-2022"]
    bundle = browser._repr_mimebundle_()
    assert (
        "application/vnd.jupyter.widget-view+json" in bundle
        and bundle["text/html"].count("<tr>") == len(dictionary("aml")) + 1
    )
    assert all(
        control.description
        for control in (browser.words, browser.disease, browser.group, browser.system)
    ), "every control has a name"


@pytest.mark.parametrize("disease", DISEASES)
def test_the_page_of_the_site_holds_every_variable(disease, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "docs"))
    from pages import data_index, dictionary_page

    page = dictionary_page(dictionary(disease))
    rows = [line for line in page.splitlines() if line.startswith('| <span id="')]
    assert [re.search(r'id="(\w+)"', row)[1] for row in rows] == [
        v.name
        for group in dict.fromkeys(v.group for v in dictionary(disease))
        for v in dictionary(disease)
        if v.group == group
    ]
    assert all(code in page for v in dictionary(disease) for code in v.codes.values()) and all(
        v.label in page for v in dictionary(disease)
    )
    assert f"(../dictionaries/{disease}.md)" in data_index({})
