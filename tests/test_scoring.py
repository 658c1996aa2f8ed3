"""Scores of a cohort, a frame or a file, their explanation, the command `genomed score`, and scores as an arm of
a comparison.

What a score must be comes from the R package's answers (tests/oracles/ipssm), from published tables written out
here, or from arithmetic done by hand.
"""

import io
import json
import re
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import genomed_workbench as gw
from genomed_workbench.clinic.dictionary import dictionary
from genomed_workbench.clinic.scores import SYSTEMS, system_of
from genomed_workbench.data.cohort_scores import score_column

ORACLE = Path(__file__).parent / "oracles" / "ipssm"
TEXTS = {
    "IPSSMcat": "category",
    "Comment": "comment",
    "IPSSMcat_best": "category_best",
    "IPSSMcat_mean": "category_mean",
    "IPSSMcat_worst": "category_worst",
}
NUMBERS = {
    "IPSSMscore": "score",
    "IPSSMscore_best": "score_best",
    "IPSSMscore_mean": "score_mean",
    "IPSSMscore_worst": "score_worst",
    **{
        name: name
        for name in (
            "raw_best",
            "raw_mean",
            "raw_worst",
            "SF3B1_5q",
            "SF3B1_alpha",
            "TP53multi",
            "nRes2mean",
            "nRes2best",
            "nRes2worst",
        )
    },
}


def expected() -> pd.DataFrame:
    return pd.read_csv(
        ORACLE / "expected.csv", index_col="ID", na_values=["NA"], keep_default_na=False
    )


def agrees(table: pd.DataFrame) -> None:
    "Every number and every text is the R package's."
    right = expected()
    assert table.index.tolist() == right.index.tolist()
    for theirs, ours in NUMBERS.items():
        np.testing.assert_allclose(
            table[ours], right[theirs], rtol=0, atol=1e-9, equal_nan=True, err_msg=ours
        )
    for theirs, ours in TEXTS.items():
        assert table[ours].fillna("").tolist() == right[theirs].fillna("").tolist(), ours


@pytest.fixture
def ward(tmp_path) -> Path:
    """Four patients as a German spreadsheet exports them: semicolons, decimal commas, ids with leading
    zeros, a line break, a remark.
    """
    path = tmp_path / "ward 7.csv"
    path.write_text(
        "Patient "
        'ID;Hb;PLT;BM_BLAST;ANC;CYTO_IPSSR;Remark\n007;9,5;80;2;0,79;Int;"two\nlines"\n'
        "0042;8;49,9;10,5;0,8;Very-Poor;\n\nA-1;;100;4,9;2;Good;\n1e5;10;100;0;1;Very "
        "Good;x\n",
        encoding="utf-8-sig",
    )
    return path


# From a file


def test_the_oracle_file_as_it_stands():
    table = gw.score(ORACLE / "input.csv", "ipss-m")
    assert table.index.name == "ID"
    agrees(table)


@pytest.mark.parametrize("suffix", ["tsv", "parquet", "xlsx"])
def test_the_same_table_in_other_forms(tmp_path, suffix):
    table = pd.read_csv(ORACLE / "input.csv", dtype=str, keep_default_na=False, na_values=["NA"])
    path = tmp_path / f"input.{suffix}"
    if suffix == "tsv":
        table.to_csv(path, sep="\t", index=False, na_rep="NA")
    elif suffix == "parquet":
        numbers = {
            name: pd.to_numeric(table[name])
            for name in table
            if name not in ("ID", "CYTO_IPSSR", "TP53mut")
        }
        table.assign(**numbers).to_parquet(path, index=False)
    else:
        pytest.importorskip("openpyxl")
        table.to_excel(path, index=False)
    agrees(gw.score(path, "ipss-m"))


def test_a_spreadsheet_of_a_ward(ward):
    table = gw.score(ward, "ipss-r")  # points by hand, from the table of Greenberg 2012
    assert (
        table.index.tolist() == ["007", "0042", "A-1", "1e5"] and table.index.name == "Patient ID"
    )
    assert (
        table["score"].tolist()[:2] == [2 + 0 + 1 + 0.5 + 0.5, 4 + 3 + 1 + 1 + 0]
        and table["score"].iloc[3] == 0
    )
    assert (
        np.isnan(table["score"].iloc[2])
        and (table["score_best"].iloc[2], table["score_worst"].iloc[2]) == (2, 3.5)
        and "hemoglobin" in table["comment"].iloc[2]
    )
    assert table.attrs["used"] == {
        "Hb": "hemoglobin",
        "PLT": "platelets",
        "BM_BLAST": "marrow_blasts",
        "ANC": "neutrophils",
        "CYTO_IPSSR": "cytogenetic_risk",
    }


def test_an_impossible_value_is_named_with_its_place(ward):
    ward.write_text(
        ward.read_text(encoding="utf-8-sig")
        .replace("0042;8;", "0042;-8;")
        .replace("A-1;;100", "A-1;;many")
    )
    with pytest.raises(gw.CohortError) as refused:
        gw.score(ward, "ipss-r")
    assert [(one.row, one.column, one.value) for one in refused.value.problems] == [
        (3, "Hb", "-8"),
        (5, "PLT", "many"),
    ]
    assert all(one.expected for one in refused.value.problems) and str(ward) in str(refused.value)


def test_a_fault_elsewhere_is_no_business_of_the_score(ward):
    ward.write_text(
        ward.read_text(encoding="utf-8-sig").replace("Remark", "ferritin")
    )  # holds words where numbers belong
    assert gw.score(ward, "ipss-r")["score"].notna().sum() == 3


def test_hemoglobin_in_grams_per_litre_is_noticed_and_converted(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text(
        "ID,HB,PLT,BM_BLAST,CYTO_IPSSR,ANC\na,95,80,2,Int,0.79\nb,80,49.9,10.5,Poor,0.8\n"
    )
    with pytest.raises(gw.CohortError, match=r"units=\{'HB': 'g/L'\}"):
        gw.score(path, "ipss-r")
    assert (
        gw.score(path, "ipss-r", units={"HB": "g/L"})["score"].tolist()
        == [4.0, 8.0]
        == gw.score(path, "ipss-r", {"hemoglobin": "g/L"})["score"].tolist()
    )
    for wrong in ({"HB": "furlongs"}, {"haematokrit": "%"}):
        with pytest.raises(
            gw.CohortError, match=next(iter(wrong.values())) + "|" + next(iter(wrong))
        ):
            gw.score(path, "ipss-r", wrong)


def test_a_table_of_something_else_says_what_was_looked_for(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("ID,shoe,hat\na,42,7\n")
    with pytest.raises(
        gw.CohortError,
        match=r"'shoe', 'hat'.*IPSS-R.*hemoglobin.*platelets.*neutrophils.*marrow_blasts.*cytogenetic_risk.*mapping",
    ):
        gw.score(path, "ipss-r")


def test_two_columns_for_one_variable_are_refused(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("ID,HB,HGB,PLT\na,9,10,100\n")
    with pytest.raises(gw.CohortError, match="hemoglobin"):
        gw.score(path, "ipss-r")


def test_a_mapping_file_says_what_columns_mean(tmp_path):
    path, mapping = tmp_path / "export.csv", tmp_path / "m.toml"
    path.write_text(
        "Nr;Blutfarbstoff;Platten;Blasten;Gran;Zyto;Alter\n01;95;80;2;0,79;mittel;999\n02;80;49,9;10,5;0,8;schlecht;1\n"
    )
    mapping.write_text(
        'format = 1\ndisease = "mds"\nid = "Nr"\n[columns.Blutfarbstoff]\nvariable = '
        '"hemoglobin"\nunit = "g/L"\n[columns.Platten]\nvariable = '
        '"platelets"\n[columns.Blasten]\nvariable = "marrow_blasts"\n'
        '[columns.Gran]\nvariable = "neutrophils"\n[columns.Zyto]\nvariable = '
        '"cytogenetic_risk"\nvalues = { mittel = "intermediate", schlecht = "poor" '
        '}\n[columns.Alter]\nvariable = "age"\n'
    )
    table = gw.score(path, "ipss-r", mapping=mapping)
    assert (
        table["score"].tolist() == [4.0, 8.0]
        and table.index.tolist() == ["01", "02"]
        and table.attrs["used"]["Zyto"] == "cytogenetic_risk"
    )
    with pytest.raises(
        gw.CohortError, match=r"row 2, column 'Alter'"
    ):  # IPSS-RA reads the age, which cannot be
        gw.score(path, "ipss-ra", mapping=mapping)
    assert gw.explain(path, "ipss-r", "02", mapping=mapping).result["score"] == 8
    with pytest.raises(gw.CohortError, match="leave units"):
        gw.score(path, "ipss-r", {"Platten": "cells/uL"}, mapping=mapping)
    with pytest.raises(gw.CohortError, match="path"):
        gw.score(pd.DataFrame({"HB": [9.0]}), "ipss-r", mapping=mapping)


def test_the_folder_of_a_cbioportal_study(tmp_path):
    comments = "#a\tb\tc\n#a\tb\tc\n#STRING\tSTRING\tNUMBER\n#1\t1\t1\n"
    (tmp_path / "data_clinical_patient.txt").write_text(
        comments + "PATIENT_ID\tSEX\tAGE\nP1\tMale\t71\nP2\tFemale\t64\n"
    )
    (tmp_path / "data_clinical_sample.txt").write_text(
        comments + "PATIENT_ID\tSAMPLE_ID\tHB\nP1\tS1\t9.5\nP2\tS2\t[Not Available]\n"
    )
    header = "Hugo_Symbol\tTumor_Sample_Barcode\tVariant_Classification\tHGVSp_Short\tt_alt_count\tt_ref_count\n"
    (tmp_path / "data_mutations.txt").write_text(
        header + "TP53\tS1\tMissense_Mutation\tp.R175H\t40\t60\n"
        "TP53\tS1\tNonsense_Mutation\tp.R213*\t30\t70\n"
        "NRAS\tS2\tMissense_Mutation\tp.G12D\t20\t80\n"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gw.CohortWarning)
        table, told = (
            gw.score(tmp_path, "ipss-m"),
            gw.explain(tmp_path, "ipss-m", "P2").table.set_index("variable"),
        )
    assert (
        table.index.tolist() == ["P1", "P2"]
        and table["TP53multi"].tolist()[0] == 1
        and "hemoglobin" in table["inputs_missing"].iloc[1]
        and "hemoglobin" not in table["inputs_missing"].iloc[0]
    )
    assert told.loc["NRAS", "value"] == 1 and np.isnan(told.loc["hemoglobin", "value"])


def test_ids_and_their_column(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("Kennung,HB,PLT\n07,9,100\n07,8,90\n")
    assert (
        gw.score(path, "ipss-r").index.tolist() == [2, 3]
        and gw.score(path, "ipss-r").index.name == "row"
    )
    named = gw.score(path, "ipss-r", id="Kennung")
    assert named.index.tolist() == ["07", "07"] and any(
        "again" in note for note in named.attrs["notes"]
    )
    with pytest.raises(gw.CohortError, match="Did you mean 'Kennung'"):
        gw.score(path, "ipss-r", id="Kenung")


@pytest.mark.parametrize("wrong", [3, None, ["a.csv"]])
def test_what_is_no_table(wrong):
    with pytest.raises(gw.CohortError, match="expected a Cohort, a DataFrame or the path"):
        gw.score(wrong, "ipss-m")


def test_a_missing_file_and_an_unknown_score():
    with pytest.raises(gw.CohortError, match="no such file"):
        gw.score("nowhere.csv", "ipss-m")
    with pytest.raises(gw.CohortError, match=r"'ipss-n'.*ipss-r.*Did you mean"):
        gw.score(ORACLE / "input.csv", "ipss-n")


# From a frame and a cohort


def test_a_frame_keeps_its_index_and_is_left_alone():
    frame = pd.read_csv(
        ORACLE / "input.csv", index_col="ID", na_values=["NA"], keep_default_na=False
    )
    before = frame.copy(deep=True)
    agrees(gw.score(frame, "IPSS_M"))
    pd.testing.assert_frame_equal(frame, before)
    agrees(gw.score(frame.reset_index(), "ipss-m", id="ID"))


def test_a_karyotype_fills_what_is_missing_and_overrules_nothing():
    frame = pd.DataFrame(
        {
            "HB": 9.5,
            "PLT": 80,
            "BM_BLAST": 2,
            "ANC": 2.0,
            "CYTO_IPSSR": [None, "Good", None],
            "karyotype": ["45,XY,-7[15]/46,XY[5]", "45,XY,-7[15]/46,XY[5]", "failed"],
        },
        index=list("abc"),
    )
    scores, molecular = gw.score(frame, "ipss-r"), gw.score(frame, "ipss-m")
    assert scores["score"].tolist()[:2] == [3 + 0 + 1 + 0.5, 1 + 0 + 1 + 0.5] and np.isnan(
        scores["score"].iloc[2]
    )
    assert molecular["raw_mean"].iloc[0] - molecular["raw_mean"].iloc[1] == pytest.approx(
        2 * 0.287 / np.log(2)
    )
    assert (
        "cytogenetic_risk" in molecular["inputs_missing"].iloc[2]
        and "cytogenetic_risk" not in molecular["inputs_missing"].iloc[0]
    )


def test_a_cohort_with_units_of_its_own():
    frame = pd.DataFrame(
        {
            "hemoglobin": [95.0, 80.0, 110.0],
            "PLT": [80, 49.9, 200],
            "BM_BLAST": [2, 10.5, 1],
            "ANC": [0.79, 0.8, 2],
            "CYTO_IPSSR": ["Int", "Poor", "Good"],
            "years": [1.0, 2.0, 3.0],
            "died": [1, 0, 1],
        }
    )
    cohort = gw.Cohort.from_frame(
        frame,
        gw.Survival("years", "died"),
        features=["hemoglobin", "PLT"],
        units={"hemoglobin": "g/L", "PLT": "10^9/L"},
        virtual=True,
    )
    assert (
        gw.score(cohort, "ipss-r")["score"].tolist() == [4.0, 8.0, 1.0]
        and gw.score(cohort, "ipss-r").attrs["virtual"]
    )
    assert score_column(cohort, "ipss-r").name == "ipss-r"
    assert "virtual patient 1" in gw.explain(cohort, "ipss-r", 1).title


def test_the_study_cohort_is_scored_as_released(cohort_of):
    cohort = cohort_of("ipssm-study")
    molecular, revised = gw.score(cohort, "ipss-m"), gw.score(cohort, "ipss-r")
    apart = (molecular["score"] - cohort.frame["ipssm_score"]).dropna().abs()
    assert len(apart) == 2558 and (apart <= 0.02 + 1e-9).mean() >= 0.995
    both = (revised["score"] - cohort.frame["ipssr_score"]).dropna().abs()
    assert len(both) > 2500 and both.max() < 1e-9
    assert not {
        "platelets",
        "TP53_mutations",
        "TP53_max_vaf",
        "TP53_loh",
        "del5q",
        "complex",
    } & set(cohort.features)


@pytest.mark.parametrize(
    "options",
    [
        {"features": "clinical"},
        {"features": "molecular"},
        {"features": "clinical", "cytogenetics": "lesions"},
    ],
)
def test_the_study_cohort_is_scored_whatever_its_features(cohort_of, options):
    whole = cohort_of("ipssm-study")
    from conftest import study_folder

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gw.CohortWarning)
        seen = gw.load_cohort("ipssm-study", folder=study_folder(), **options)
    pd.testing.assert_series_equal(
        gw.score(seen, "ipss-m")["raw_mean"], gw.score(whole, "ipss-m")["raw_mean"]
    )


# All systems


def test_the_table_of_systems():
    table = gw.score_systems()
    assert (
        table.index.tolist()
        == list(SYSTEMS)
        == ["ipss-r", "ipss-ra", "ipss-m", "iss", "r-iss", "r2-iss", "eln-2022"]
    )
    assert (
        table["doi"].str.match(r"10\.\d+/").all() and table["missing inputs"].str.len().gt(40).all()
    )


@pytest.mark.parametrize("name", SYSTEMS)
def test_what_a_system_reads_stands_in_the_dictionary(name):
    book = dictionary(SYSTEMS[name].disease)
    assert [one for one in SYSTEMS[name].reads if one not in book] == [] and set(
        book.needed_by(name)
    ) >= set(SYSTEMS[name].needs)


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_scores_and_explains_by_the_same_form(name):
    system = SYSTEMS[name]
    book, rng = dictionary(system.disease), np.random.default_rng(3)
    frame = pd.DataFrame(
        {one: _values(book[one], rng, 60) for one in system.needs},
        index=[f"V{i:02d}" for i in range(60)],
    )
    table = gw.score(frame, name)
    assert (
        list(table.columns[:3]) == ["score", "category", "comment"]
        and table.index.equals(frame.index)
        and table["comment"].notna().all()
    )
    assert (
        set(table["category"].dropna()) <= set(system.categories)
        and table["category"].notna().any()
    )
    order = {category: place for place, category in enumerate(system.categories)}
    placed = table.dropna(subset=["score", "category"]).sort_values("score")
    assert placed["category"].map(order).is_monotonic_increasing, "higher is worse"
    low, high = table["category_best"].map(order), table["category_worst"].map(order)
    assert (low <= high)[low.notna() & high.notna()].all()
    whole = table["score"].notna().idxmax()
    told = gw.explain(frame, name, whole)
    assert {"variable", "label", "value", "points", "reason"} <= set(told.table) and told.result[
        "score"
    ] == table.loc[whole, "score"]
    if system.additive:
        assert told.table["points"].sum() == pytest.approx(
            table.loc[whole].get("raw_mean", table.loc[whole, "score"]), abs=1e-9
        )
    page = told._repr_html_()
    assert (
        'alt="' in page
        and system.title in page
        and whole in page
        and told.picture._repr_html_() in page
        and system.title in repr(told)
    )


def _values(variable, rng, n: int) -> list:
    "Random possible values of a variable, some of them missing."
    if variable.kind == "yes-no":
        values = (rng.random(n) < 0.15).astype(float)
    elif variable.kind == "ordinal":
        values = rng.choice(list(variable.coded.values()), n).astype(float)
    else:
        low, high = variable.plausible
        values = rng.uniform(low, high, n).round(0 if variable.kind == "count" else 2)
    return np.where((rng.random(n) < 0.02) & (np.arange(n) > 20), np.nan, values)


def test_ldh_needs_its_own_limit():
    frame = pd.DataFrame(
        {
            "beta2_microglobulin": [6.0],
            "albumin": [3.0],
            "del17p": 0,
            "t_4_14": 0,
            "t_14_16": 0,
            "LDH": [300.0],
        }
    )
    assert gw.score(frame, "r-iss")["category"].isna().all() and gw.score(
        frame, "r-iss", ldh_upper=250
    )["category"].tolist() == ["III"]


def test_a_name_is_understood_in_any_spelling():
    assert system_of("IPSS-M") is system_of("ipssm") is system_of(" ipss_m") is SYSTEMS["ipss-m"]


# Explanation


def test_an_explanation_of_one_patient_of_the_oracle():
    told = gw.explain(ORACLE / "input.csv", "ipss-m", "syn0004")
    right = expected().loc["syn0004"]
    assert told.table["points"].sum() == pytest.approx(right["raw_mean"], abs=1e-9) and told.table[
        "points_worst"
    ].sum() == pytest.approx(right["raw_worst"], abs=1e-9)
    assert (
        told.title == "IPSS-M of patient syn0004: Very High"
        and told.result["comment"] == right["Comment"]
    )
    known = told.table["points"].abs().tolist()
    assert (
        known == sorted(known, reverse=True)
        and "not known" in told.picture.alt
        and "Hemoglobin +0.76" in told.picture.alt
    )


def test_a_patient_who_is_not_there_or_twice(ward):
    with pytest.raises(gw.CohortError, match="Did you mean '007'"):
        gw.explain(ward, "ipss-r", "00 7")
    ward.write_text(ward.read_text(encoding="utf-8-sig").replace("0042", "007"))
    with pytest.raises(gw.CohortError, match="2 rows are patient '007'"):
        gw.explain(ward, "ipss-r", "007")


def test_another_patients_fault_does_not_stop_an_explanation(ward):
    ward.write_text(ward.read_text(encoding="utf-8-sig").replace("0042;8;", "0042;-8;"))
    assert gw.explain(ward, "ipss-r", "007").result["score"] == 4
    with pytest.raises(gw.CohortError, match="row 3, column 'Hb'"):
        gw.explain(ward, "ipss-r", "0042")


def test_markup_in_an_id_stays_text(tmp_path):
    frame = pd.DataFrame(
        {"HB": [9.0], "PLT": [100], "BM_BLAST": [2], "ANC": [1], "CYTO_IPSSR": ["Good"]},
        index=["<script>x</script>"],
    )
    assert "<script>" not in gw.explain(frame, "ipss-r", "<script>x</script>")._repr_html_()


# The command


def table_in(text: str) -> pd.DataFrame:
    return pd.read_csv(
        io.StringIO(text),
        dtype={"ID": str, "Patient ID": str},
        keep_default_na=False,
        na_values=[""],
    )


def test_the_command_on_the_oracle(genomed):
    status, out, err = genomed("score", "ipss-m", ORACLE / "input.csv")
    table = table_in(out).set_index("ID")
    assert status == 0 and list(table.columns[:9]) == [
        "score",
        "category",
        "comment",
        "score_best",
        "score_mean",
        "score_worst",
        "raw_best",
        "raw_mean",
        "raw_worst",
    ]
    agrees(table)
    assert "NA" not in re.split(r"[,\n]", out) and "nan" not in out.lower()
    assert "300 patients" in err and "166 with a score" in err


def test_the_command_writes_a_file_and_keeps_ids(genomed, ward, tmp_path):
    out = tmp_path / "new folder" / "scores.csv"
    status, stdout, err = genomed("score", "ipss-r", ward, "--out", out)
    assert (status, stdout) == (0, "") and str(out) in err
    lines = out.read_text().splitlines()
    assert lines[0].startswith("Patient ID,score,category,comment,") and [
        line.partition(",")[0] for line in lines[1:]
    ] == ["007", "0042", "A-1", "1e5"]
    assert lines[3].startswith("A-1,,,"), "a missing score is an empty cell"
    assert sorted(path.name for path in out.parent.iterdir()) == ["scores.csv"]
    assert genomed("score", "ipss-r", ward, "--quiet")[1:] == (out.read_text(), "")


def test_the_command_as_one_object(genomed, ward):
    status, out, err = genomed("score", "ipss-r", ward, "--json", "--quiet")
    told = json.loads(out)
    assert (
        (status, err) == (0, "")
        and told["n"] == 4
        and told["scored"] == 3
        and told["used"]["Hb"] == "hemoglobin"
        and told["doi"] == SYSTEMS["ipss-r"].doi
    )
    assert (
        told["patients"][0]["Patient ID"] == "007"
        and told["patients"][0]["score"] == 4
        and told["patients"][2]["score"] is None
        and told["patients"][2]["category"] is None
    )


def test_the_command_with_units_and_limits(genomed, tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("ID,HB,PLT,BM_BLAST,CYTO_IPSSR,ANC\na,95,80000,2,Int,0.79\n")
    status, out, err = genomed("score", "ipss-r", path)
    assert (
        status == 2
        and out == ""
        and "row 2, column 'HB'" in err
        and "--units HB=g/L" in err
        and "Traceback" not in err
    )
    assert table_in(genomed("score", "ipss-r", path, "--units", "HB=g/L,PLT=cells/uL")[1])[
        "score"
    ].tolist() == [4.0]
    path.write_text("ID,B2M,Albumin,del17p,t(4;14),t(14;16),LDH\na,6,3,0,0,0,300\n")
    assert table_in(genomed("score", "r-iss", path, "--ldh-upper", "250")[1])[
        "category"
    ].tolist() == ["III"]


def test_what_the_command_refuses(genomed, ward, tmp_path):
    before = ward.read_bytes()
    for args, fragments in (
        (("ipss-m", tmp_path / "nowhere.csv"), ("no such file",)),
        (("ipss-n", ward), ("Did you mean 'ipss-",)),
        (("ipss-r", ward, "--out", ward), ("the file that is read",)),
        (("ipss-r", ward, "--out", tmp_path), ("a folder",)),
        (("ipss-r", ward, "--units", "HB"), ("--units 'HB'",)),
        (("eln-2022", ward), ("ELN 2022", "NPM1")),
        (("ipss-r", ward, "--ldh-upper", "250"), ("--ldh-upper",)),
        (("ipss-r", ward, "--id", "Patient_ID"), ("Did you mean 'Patient ID'",)),
        (("ipss-r", ward, "--mapping", tmp_path / "m.toml"), ("m.toml", "no such file")),
    ):
        status, out, err = genomed("score", *args)
        assert (
            status == 2
            and out == ""
            and "Traceback" not in err
            and all(fragment in err for fragment in fragments)
        ), (args, err)
    assert ward.read_bytes() == before and sorted(path.name for path in tmp_path.iterdir()) == [
        "ward 7.csv"
    ]


def test_the_help_lists_the_systems(genomed):
    status, out, _ = genomed("score", "--help")
    assert status == 0 and all(
        re.search(rf"\b{name}\b", re.sub(r"-\s+", "-", out)) for name in SYSTEMS
    )


def test_a_hundred_thousand_rows_in_seconds(tmp_path):
    header, _, body = (ORACLE / "input.csv").read_text().partition("\n")
    path = tmp_path / "big.csv"
    path.write_text(header + "\n" + body * 334)
    start = time.process_time()
    table = gw.score(path, "ipss-m")
    seconds = time.process_time() - start
    assert len(table) == 100_200 and seconds < 20, f"{seconds:.1f} s"


# An arm of a comparison


@pytest.fixture(scope="module")
def scored_federation() -> gw.Federation:
    "Made-up patients whose hazard is their IPSS-R; every tenth lacks the cytogenetic class."
    rng, n = np.random.default_rng(1), 300
    X = pd.DataFrame(
        {
            "age": rng.normal(70, 9, n),
            "hemoglobin": rng.uniform(7, 13, n),
            "platelets": rng.uniform(20, 250, n),
            "neutrophils": rng.uniform(0.3, 4, n),
            "marrow_blasts": rng.uniform(0, 19, n),
            "cytogenetic_risk": np.where(np.arange(n) % 10 == 0, np.nan, rng.integers(0, 5, n)),
        }
    )
    risk = gw.score(X, "ipss-r")["score_best"]
    death, lost = rng.exponential(np.exp(1.5 - 0.5 * risk)), rng.uniform(0.2, 5, n)
    cohort = gw.Cohort.from_frame(
        X.assign(years=np.minimum(death, lost) + 0.01, died=(death <= lost).astype(int)),
        gw.Survival("years", "died"),
        features=["age", "hemoglobin"],
        virtual=True,
    )
    return gw.Federation.split(cohort, (60, 40), test_share=0.2, seed=0)


def test_a_score_by_its_name_is_an_arm(scored_federation):
    federation = scored_federation
    found = gw.compare(
        federation, gw.CoxPH(penalty=0.01), repeats=2, tune=False, scores=["ipss-r"], progress=False
    )
    assert (
        found.value("clinical score", trained_on="ipss-r")["mean"] > found.value("pooled")["mean"]
    ), "the hazard was made of it"
    assert (
        found.federation.cohort.n == 270
        and any("30 patients without ipss-r" in note for note in found.notes)
        and any("IPSS-R is computed" in note for note in found.notes)
    )
    assert (
        "ipss-r" not in federation.cohort.frame and "ipss-r" not in found.federation.cohort.features
    )
    column = federation.cohort.frame.assign(mine=score_column(federation.cohort, "ipss-r"))
    again = gw.compare(
        gw.Federation.split(
            gw.Cohort.from_frame(
                column, federation.cohort.outcome, features=["age", "hemoglobin"], virtual=True
            ),
            (60, 40),
            test_share=0.2,
            seed=0,
        ),
        gw.CoxPH(penalty=0.01),
        repeats=2,
        tune=False,
        scores=["mine"],
        progress=False,
    )
    assert (
        again.value("clinical score", trained_on="mine")["mean"]
        == found.value("clinical score", trained_on="ipss-r")["mean"]
    )


def test_a_score_that_cannot_be_an_arm(scored_federation):
    for scores, words in (
        (["ipss-n"], "no score is called so.*Did you mean"),
        (["eln-2022"], "none of its columns"),
        (["ipss-m"], "IPSS-M can be computed for nobody"),
    ):
        with pytest.raises(ValueError, match=words):
            gw.compare(scored_federation, gw.CoxPH(), repeats=1, scores=scores, progress=False)


def test_a_run_with_a_computed_score(genomed, scored_federation, tmp_path):
    path = tmp_path / "patients.csv"
    scored_federation.cohort.frame.rename_axis("patient_id").to_csv(path)
    asked = [
        "run",
        path,
        "--time",
        "years",
        "--event",
        "died",
        "--features",
        "age,hemoglobin",
        "--shares",
        "60,40",
        "--repeats",
        "2",
        "--penalty",
        "0.01",
        "--json",
        "--quiet",
    ]
    status, out, err = genomed(*asked, "--scores", "ipss-r")
    told = json.loads(out)
    assert (
        status == 0
        and {"arm": "clinical score", "trained_on": "ipss-r"}.items()
        <= next(arm for arm in told["arms"] if arm["arm"] == "clinical score").items()
    )
    assert (
        genomed(*asked, "--scores", "ipss-q")[0] == 2
        and "Did you mean" in genomed(*asked, "--scores", "ipss-q")[2]
    )


def test_a_patient_is_explained_by_the_numbers_that_were_scored(tmp_path):
    "1.200 and a lone minus are read by what else their column holds; one row alone would say something else."
    file = tmp_path / "ward.csv"
    file.write_text(
        "ID;HB;PLT;BM_BLAST;ANC;CYTO_IPSSR;del5q\n001;9,5;1.200;2;0,8;Good;+\n002;9,5;12,5;2;0,8;Good;-\n",
        encoding="utf-8",
    )
    for system in ("ipss-r", "ipss-m"):
        table = gw.score(file, system)
        for patient in ("001", "002"):
            assert (
                gw.explain(file, system, patient).result["score_worst"]
                == table.loc[patient, "score_worst"]
            )
    assert (
        gw.explain(file, "ipss-r", "001").table.set_index("variable").loc["platelets", "value"]
        == 1200
    )


def test_a_point_beside_decimal_commas_is_not_guessed(tmp_path):
    file = tmp_path / "ward.csv"
    file.write_text(
        "ID;HB;PLT;BM_BLAST;ANC;CYTO_IPSSR\n007;9,5;1.200;2;0,8;Good\n", encoding="utf-8"
    )
    with pytest.raises(gw.CohortError, match=r"row 2, column 'PLT': found '1.200'.*1200 or 1.2"):
        gw.score(file, "ipss-r")
    file.write_text(
        "ID;HB;PLT;BM_BLAST;ANC;CYTO_IPSSR\n007;9,5;1200;2;0,8;Good\n", encoding="utf-8"
    )
    assert gw.score(file, "ipss-r").loc["007", "points_platelets"] == 0
    file.write_text(
        "ID;HB;PLT;BM_BLAST;ANC;CYTO_IPSSR\n007;9.5;1.200;2;0.8;Good\n", encoding="utf-8"
    )
    assert gw.score(file, "ipss-r").loc["007", "points_platelets"] == 1


def test_a_file_without_an_id_says_what_names_the_patients(tmp_path):
    file = tmp_path / "ward.csv"
    file.write_text("Aktenzeichen,HB,PLT\nA,9.5,50\n", encoding="utf-8")
    assert any("the row in the file" in note for note in gw.score(file, "ipss-r").attrs["notes"])
    assert not any(
        "the row in the file" in note
        for note in gw.score(file, "ipss-r", id="Aktenzeichen").attrs["notes"]
    )


# What the reader of a karyotype doubts

DOUBTS = [
    ("46,XX,del(5)(q13q33),de1(7)(q22),ad(17)(p11)[20]", "de1(7)(q22), ad(17)(p11)", 1, 4),
    ("46,XX,del(5)(q13q33),inc[12]", "incomplete (inc)", 1, 4),
    ("46,XX,del(5)(q13q33)[12]/47,XX,+8[1]/46,XX[7]", "too few cells: +8", 1, 2),
    ("45,XX,-7[2]/46,XX[18]", "too few cells: -7", 1, 3),
    ("46,XX,+8[9]", "46 chromosomes are written where the pieces make 47", 2, 4),
    ("46,XX[20].nuc ish(D7Z1x1)[90/200]", "nuc ish(d7z1x1)[90/200]", 1, 4),
    ("46,XX[6]", "only 6 cells", 1, 4),
    ("45,XX,-7/47,XX,+8", "two readings", 2, 3),
]
BLOOD = {
    "hemoglobin": 9.0,
    "platelets": 60.0,
    "neutrophils": 1.0,
    "marrow_blasts": 3.0,
    "age": 70.0,
}


def with_text(text: str) -> pd.DataFrame:
    "One patient whose class is known from the text alone; every gene was tested and is not mutated."
    genes = dict.fromkeys(dictionary("mds").needed_by("ipss-m"), 0.0)
    kept = {n: v for n, v in genes.items() if dictionary("mds")[n].group == "genes"}
    aml = {v.name: 0.0 for v in dictionary("aml") if v.group == "genes"}
    return pd.DataFrame([{**kept, **aml, **BLOOD, "karyotype": text}], index=["P1"])


@pytest.mark.parametrize(("text", "named", "best", "worst"), DOUBTS)
@pytest.mark.parametrize("system", ["ipss-r", "ipss-ra", "ipss-m"])
def test_a_doubt_about_the_karyotype_opens_every_score(system, text, named, best, worst):
    """By hand: the score with the class that was read, and with the worst that the doubt leaves; between them
    nothing is certain, and the comment names the piece.
    """
    found = gw.score(with_text(text), system).iloc[0]
    flags = {"del5q": float("del(5)" in text), "del7_7q": 0.0, "del17_17p": 0.0, "complex": 0.0}
    given = with_text(text).drop(columns="karyotype").assign(**flags)
    ends = [
        gw.score(given.assign(cytogenetic_risk=float(risk)), system).iloc[0]
        for risk in (best, worst)
    ]
    assert named in found["comment"] and "karyotype: " in found["comment"]
    assert found["score_best"] == ends[0]["score_best"] < found["score_worst"]
    if system != "ipss-m":  # there, flags that are open weigh as well
        assert found["score_worst"] == ends[1]["score_worst"]
    told = gw.explain(with_text(text), system, "P1")
    assert (
        named in told.result["comment"]
        and told.table["reason"].str.contains(named, regex=False).any()
    )


@pytest.mark.parametrize(("text", "named"), [one[:2] for one in DOUBTS[:-1]])
def test_a_doubt_about_the_karyotype_leaves_eln_open(text, named):
    "An unread change may be adverse: no category, both ends, and the piece by name."
    found = gw.score(with_text(text), "eln-2022").iloc[0]
    assert named in found["comment"] and found["category_worst"] == "Adverse"
    assert found["category"] is None or found["category_best"] == "Adverse"


def test_a_karyotype_without_doubt_opens_nothing():
    for text in (
        "46,XX,del(5)(q13q33)[12]/46,XX[8]",
        "46,XX[20].nuc ish(EGR1x2)[200]",
        "46,XX,del(5)(q13q33)[12].ish del(5)(q31q31)(EGR1-)[12]/46,XX[8]",
    ):
        for system in ("ipss-r", "ipss-ra", "ipss-m", "eln-2022"):
            found = gw.score(with_text(text), system).iloc[0]
            assert (
                "karyotype: " not in found["comment"]
                and found["score_best"] == found["score_worst"]
            )


@pytest.mark.parametrize(
    "text",
    [
        "46,XX,t(3;21)(q26.2;q22)[20]",
        "46,XX,t(2;3)(p21;q26)[20]",
        "46,XX,t(3;12)(q26;p13)[9]",
        "46,XX,t(3;8)(q26.2;q24)",
    ],
)
def test_a_translocation_of_mecom_is_adverse(text):
    "Döhner 2022, doi:10.1182/blood.2022016867: t(3q26.2;v), whatever the partner."
    assert gw.score(with_text(text), "eln-2022")["category"].tolist() == ["Adverse"]


def test_a_relative_loss_is_no_second_hit_of_tp53():
    """-17 in a near-triploid clone leaves two copies: by hand, the terms of TP53 with several hits apart, which
    is 1.18 / ln 2 = 1.70 (2.91 and 1.21 where the patient was found).
    """
    one = with_text("64~68<3n>,XXY,-5,-7,+8,-17,+2mar[cp10]").assign(
        TP53_mutations=1.0, TP53_max_vaf=0.3
    )
    two = one.assign(TP53_mutations=2.0)
    low, high = (gw.score(frame, "ipss-m")["score_mean"].iloc[0] for frame in (one, two))
    assert abs(high - low - 1.70) < 0.011


def test_tp53_that_was_not_tested_leaves_t_8_21_favorable():
    "The paper's table has no t(8;21) with mutated TP53: the category stands, and the comment says what is missing."
    frame = with_text("46,XX,t(8;21)(q22;q22)[20]").drop(
        columns=["TP53", "TP53_max_vaf", "TP53_mutations"]
    )
    found = gw.score(frame, "eln-2022").iloc[0]
    assert found["category"] == "Favorable" and "TP53 is missing" in found["comment"]


def test_a_comment_names_only_missing_tests_that_can_change_the_category():
    "NPM1 without FLT3-ITD is favorable, mutated TP53 adverse; ASXL1 beside NPM1 changes nothing (Döhner 2022)."
    frame = (
        with_text("46,XX[20]")
        .assign(NPM1=1.0)
        .drop(columns=["TP53", "TP53_max_vaf", "TP53_mutations", "ASXL1"])
    )
    comment = gw.score(frame, "eln-2022")["comment"].iloc[0]
    assert "TP53" in comment and "ASXL1" not in comment


def test_a_variant_of_apl_is_said():
    "t(11;17)(q23;q21) is KMT2A or ZBTB16::RARA: the first is adverse, the second is outside ELN 2022."
    comment = gw.score(with_text("46,XX,t(11;17)(q23;q21)[20]"), "eln-2022")["comment"].iloc[0]
    assert "acute promyelocytic leukemia (ZBTB16::RARA)" in comment


def test_gains_alone_beside_a_doubt_are_perhaps_complex():
    """Gains of three or more whole chromosomes are not complex (Döhner 2022), but with a structural change that
    was not read they would be; a structural change that was read makes them so. All else was tested.
    """
    fusions = [
        "t_8_21",
        "inv16",
        "t_15_17",
        "t_9_11",
        "t_6_9",
        "t_v_11",
        "t_9_22",
        "t_8_16",
        "inv3",
    ]
    others = dict.fromkeys([*fusions, "minus5_5q", "minus7", "abn17p", "monosomal"], 0.0)
    for text, category in (
        ("51,XX,+6,+8,+13,+19,+21[12]", "Intermediate"),
        ("51,XX,+6,+8,+13,+19,+21,inc[12]", None),
        ("50,XX,+6,+8,+13,+19,add(2)(q31),inc[12]", "Adverse"),
    ):
        frame = with_text(text).assign(**others)
        assert gw.score(frame, "eln-2022")["category"].tolist() == [category], text
