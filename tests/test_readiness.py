"The readiness check: what it says, what it never says, how it is written, and how fast it is."

import json
import os
import socket
import subprocess
import sys
import time
import warnings
from datetime import date
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import genomed_workbench as gw
from genomed_workbench.clinic.dictionary import dictionary
from genomed_workbench.intake.identifiers import (
    identifiers_in,
    is_bsn,
    is_codice_fiscale,
    is_dni,
    is_iban,
    is_kvnr,
    is_nhs_number,
    is_nir,
)
from genomed_workbench.intake.mapping import Column, Mapping
from genomed_workbench.readiness.findings import KINDS, SEVERITIES, Finding
from genomed_workbench.readiness.result import mask_small_count
from genomed_workbench.readiness.values import copied_down

GENOMED = Path(sys.executable).parent / "genomed"
FOLDER = Path(__file__).parent / "hospital_files"


def ward(n: int = 160, seed: int = 0, disease: str = "mds") -> pd.DataFrame:
    """Virtual patients under the dictionary's names, with ids and dates, as a hospital would write
    them; nothing wrong with them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame = gw.load_cohort(f"virtual-{disease}", n=n, seed=seed).frame
    frame = frame[[name for name in dictionary(disease).names if name in frame]].reset_index(
        drop=True
    )
    frame = frame.astype(
        {name: object for name in frame if isinstance(frame[name].dtype, pd.CategoricalDtype)}
    )
    frame.insert(0, "Patient ID", [f"W{number:05d}" for number in range(n)])
    days = np.maximum((frame["os_years"].fillna(1) * 365.25).round(), 1)
    frame["os_years"] = (days / 365.25).round(3)
    frame["diagnosis_date"] = pd.Timestamp("2015-01-01") + pd.to_timedelta(
        np.random.default_rng(seed).integers(0, 900, n), unit="D"
    )
    frame["last_contact_date"] = frame["diagnosis_date"] + pd.to_timedelta(days, unit="D")
    frame["death_date"] = frame["last_contact_date"].where(frame["death"] == 1)
    return frame


def kinds(found: gw.Readiness, *grades: str) -> dict[str, Finding]:
    "Findings of the grades by kind."
    return {one.kind: one for one in found.all_findings if one.severity in (grades or SEVERITIES)}


def check(frame: pd.DataFrame, disease: str = "mds", **more) -> gw.Readiness:
    "The check on a day long after the virtual patients' last contact."
    return gw.check_readiness(frame, disease, today=date(2060, 1, 1), **more)


@pytest.fixture(scope="module")
def patients() -> pd.DataFrame:
    return ward()


# Verdict, steps and what is told


def test_a_good_file_is_ready(patients):
    found = check(patients)
    assert (
        found.verdict == "ready"
        and found.ready
        and not kinds(found, "stop", "mend")
        and 1 <= len(found.steps) <= 3
    )
    assert "read_hospital" in found.steps[-1] and "Nothing keeps" in found.sentence


def test_the_gravest_finding_decides(patients):
    mended = patients.assign(age=patients["age"].where(patients.index != 4, 430))
    found = check(mended)
    assert found.verdict == "ready after small mends" and list(kinds(found, "stop", "mend")) == [
        "impossible-value"
    ]
    assert kinds(found)["impossible-value"].rows == (6,) and "row 6" in found.steps[0]
    worse = check(mended.assign(Surname="Musterfrau"))
    assert (
        worse.verdict == "not ready"
        and worse.steps[0].startswith("Names of persons")
        and len(worse.steps) == 3
    )


def test_findings_are_a_table_and_a_record(patients):
    found = check(patients.assign(hemoglobin=patients["hemoglobin"] * 10))
    table = found.findings
    assert (
        list(table.columns)
        == ["severity", "kind", "variable", "column", "rows", "n_rows", "what", "why", "mend"]
        and set(table["kind"]) <= set(KINDS)
        and (table[["what", "why", "mend"]].map(len) > 5).all().all()
    )
    record = json.loads(found.to_json())
    assert (
        record["verdict"] == found.verdict == "not ready"
        and record["findings"][0]["kind"] == "wrong-unit"
        and record["patients"] == 160
    )
    assert "not ready" in repr(found) and "g/L" in found._repr_html_()


def test_records_a_frame_and_a_file_say_the_same(tmp_path, patients):
    frame = patients.assign(platelets=patients["platelets"].where(patients.index != 9, -5))
    path = tmp_path / "ward.csv"
    frame.to_csv(path, index=False)
    said = [
        check(frame),
        check(path, "mds"),
        check(gw.read_records(path, "mds"), None),
        check(frame.set_index("Patient ID")),
    ]
    assert all(kinds(one, "stop", "mend")["impossible-value"].rows == (11,) for one in said)
    assert len({tuple((f.kind, f.rows) for f in one.all_findings) for one in said}) == 1


# What may leave


def test_counts_that_are_told_are_never_about_few():
    assert [mask_small_count(count, 50) for count in (0, 1, 4, 5, 45, 46, 49, 50)] == [
        0,
        *["fewer than 5"] * 2,
        5,
        45,
        *["all but fewer than 5"] * 2,
        50,
    ]


def test_the_part_for_others_holds_counts_only(patients):
    frame = patients.assign(
        marrow_blasts=patients["marrow_blasts"].where(patients.index >= 3),
        blood_blasts=patients["blood_blasts"].where(patients.index < 2),
        age=patients["age"].where(patients.index != 7, 430),
    )
    share = check(frame).share
    assert (
        share["known"]["marrow_blasts"] == "all but fewer than 5"
        or share["known"]["marrow_blasts"] < 155
    )
    assert share["known"]["blood_blasts"] in ("fewer than 5", 0) and set(share) == {
        "disease",
        "verdict",
        "patients",
        "events",
        "known",
        "scores",
        "findings",
        "version",
    }
    numbers = [
        value for part in (share["known"], *share["scores"].values()) for value in part.values()
    ]
    assert all(
        value in ("fewer than 5", "all but fewer than 5")
        or value == 0
        or (value >= 5 and 160 - value not in range(1, 5))
        for value in numbers
    )
    text = json.dumps(share)
    assert (
        "430" not in text
        and "W000" not in text
        and "rows" not in text
        and share["findings"]["impossible-value"] == 1
    )


def test_it_talks_to_nobody(patients, monkeypatch):
    def refuse(*args, **more):
        raise AssertionError("the check opened a connection")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    assert check(patients).n == 160


def test_a_stray_name_in_a_column_of_numbers_is_not_repeated(patients):
    frame = patients.astype({"hemoglobin": object})
    frame.loc[3, "hemoglobin"], frame.loc[4, "hemoglobin"] = "Rossi Anna", "<5"
    found = check(frame)
    one = kinds(found)["unreadable-value"]
    assert (
        one.rows == (5, 6)
        and "Rossi" not in found.to_json()
        and "<5" in one.what
        and one.variable == "hemoglobin"
    )


# Single checks, each with its opposite


def test_a_unit_that_the_mapping_states_is_believed_and_checked(patients):
    grams = patients.assign(Hb=(patients["hemoglobin"] * 10).round()).drop(columns="hemoglobin")
    names = {name: Column(name) for name in grams.columns if name in dictionary("mds")}
    right = Mapping("mds", names | {"Hb": Column("hemoglobin", unit="g/L")}, id="Patient ID")
    wrong = Mapping("mds", names | {"Hb": Column("hemoglobin", unit="g/dL")}, id="Patient ID")
    assert (
        not kinds(check(grams, mapping=right), "stop", "mend")
        and kinds(check(grams, mapping=wrong), "stop")["wrong-unit"].column == "Hb"
    )


def test_a_mapping_nobody_confirmed_or_that_names_strangers_is_said(patients):
    names = {name: Column(name) for name in patients.columns if name in dictionary("mds")}
    waiting = Mapping(
        "mds", names | {"age": Column("age", confirmed=False)}, id="Patient ID", confirmed=False
    )
    assert "mapping-problem" in kinds(check(patients, mapping=waiting), "mend")
    strange = Mapping("mds", names | {"Ferritin": Column("ferritin")}, id="Patient ID")
    assert kinds(check(patients, mapping=strange), "stop")["mapping-problem"].variable == "ferritin"


@pytest.mark.parametrize(
    ("change", "kind", "variable"),
    [
        (lambda f: f.assign(death=f["death"] + 1), "shifted-code", "death"),
        (lambda f: f.assign(death=1.0), "everybody-dead", "death"),
        (lambda f: f.assign(TET2=0.0), "not-tested-as-no", "TET2"),
        (lambda f: f.assign(hemoglobin=9.9), "constant-column", "hemoglobin"),
        (
            lambda f: f.assign(TP53=0.0, TP53multi=np.where(f.index < 5, 1.0, 0.0)),
            "gene-contradiction",
            "TP53multi",
        ),
        (
            lambda f: f.assign(FLT3=0.0, FLT3_ITD=np.where(f.index < 3, 1.0, 0.0)),
            "gene-contradiction",
            "FLT3",
        ),
        (
            lambda f: f.assign(
                neutrophils=np.where(f.index < 4, 20.0, f["neutrophils"]),
                white_cells=np.where(f.index < 4, 3.0, f["white_cells"]),
            ),
            "blood-contradiction",
            "neutrophils",
        ),
        (
            lambda f: f.assign(marrow_blasts=np.where(f.index < 2, 64, f["marrow_blasts"])),
            "disease-contradiction",
            "marrow_blasts",
        ),
        (lambda f: f.assign(death_date=f["last_contact_date"]), "death-contradiction", "death"),
        (
            lambda f: f.assign(os_years=np.where(f.index < 4, f["os_years"] + 3, f["os_years"])),
            "time-contradiction",
            "os_years",
        ),
        (
            lambda f: f.assign(
                minusY=np.where((f["sex"] == "female") & (f.index < 9), 1.0, f["minusY"]),
                karyotype=None,
            ),
            "karyotype-contradiction",
            "minusY",
        ),
        (
            lambda f: f.assign(
                os_years=np.where(f.index < 40, 2.0, f["os_years"]),
                diagnosis_date=pd.NaT,
                last_contact_date=pd.NaT,
                death_date=pd.NaT,
            ),
            "time-spike",
            "os_years",
        ),
        (
            lambda f: f.assign(
                last_contact_date=f["diagnosis_date"] - pd.Timedelta(days=9),
                death_date=pd.NaT,
                death=0.0,
            ).assign(death=np.where(f.index < 30, 1.0, 0.0)),
            "contact-before-diagnosis",
            "last_contact_date",
        ),
        (
            lambda f: f.drop(
                columns=["os_years", "death", "diagnosis_date", "last_contact_date", "death_date"]
            ),
            "no-outcome",
            None,
        ),
    ],
)
def test_what_each_check_finds(patients, change, kind, variable):
    assert kind not in kinds(check(patients), "stop", "mend")
    found = kinds(check(change(patients.copy())), "stop", "mend")
    assert kind in found and found[kind].variable == variable


def test_dates_in_the_future_depend_on_the_day(patients):
    frame = patients.assign(
        last_contact_date=patients["last_contact_date"].where(
            patients.index != 3, pd.Timestamp("2062-01-01")
        ),
        death_date=pd.NaT,
        death=0.0,
    )
    assert kinds(check(frame))["future-date"].rows == (5,)
    assert "future-date" not in kinds(gw.check_readiness(frame, "mds", today=date(2070, 1, 1)))


def test_an_unknown_column_is_proposed_and_never_used(patients):
    frame = patients.rename(columns={"platelets": "Thrombos Gpt/l"})
    found = check(frame)
    one = kinds(found)["unknown-column"]
    assert (
        one.column == "Thrombos Gpt/l"
        and "Platelets" in one.what
        and found.completeness.loc["platelets", "known"] == 0
    )


def test_what_the_others_need(patients):
    found = check(patients.drop(columns="ferritin", errors="ignore"), needs=["age", "ferritin"])
    assert (
        kinds(found, "mend")["missing-variable"].variable == "ferritin"
        and found.completeness["needed"].sum() == 2
    )
    with pytest.raises(ValueError, match="ferritine"):
        check(patients, needs=["ferritine"])


def test_scores_are_counted_by_what_can_be_said(patients):
    frame = patients.assign(hemoglobin=patients["hemoglobin"].where(patients.index >= 40))
    full, part = check(patients).scores, check(frame).scores
    assert (
        (full[["exactly", "within its rules", "not"]].sum(axis=1) == 160).all()
        and (part["exactly"] <= full["exactly"]).all()
        and part.loc["ipss-m", "exactly"] < full.loc["ipss-m", "exactly"] - 20
    )
    assert part.loc["ipss-r", "most_missed"].startswith("hemoglobin")


def test_a_binary_outcome(patients):
    frame = ward(200, 2, "mds")[["Patient ID", "age", "sex", "hemoglobin", "platelets", "death"]]
    found = check(frame, outcome="death")
    assert found.events == int(frame["death"].sum()) and "no-outcome" not in kinds(found)
    scd = gw.load_cohort("virtual-scd", n=150, seed=1).frame.reset_index(names="Patient ID")
    assert check(scd, "scd").events == int(scd["silent_infarct"].sum())


def test_national_numbers_against_their_rules():
    "Published examples; every single changed digit is refused where the rule promises it."
    good = {
        is_codice_fiscale: "RSSMRA80A01H501U",
        is_dni: "12345678Z",
        is_bsn: "111222333",
        is_nhs_number: "9434765919",
        is_kvnr: "A123456780",
        is_nir: "255081416802538",
        is_iban: "GB82WEST12345698765432",
    }
    for test, text in good.items():
        assert test(text)
        for place, sign in enumerate(text):
            if sign.isdigit():
                assert not test(text[:place] + str((int(sign) + 1) % 10) + text[place + 1 :]), (
                    test.__name__,
                    place,
                )


@pytest.mark.parametrize("seed", range(5))
def test_ordinary_columns_name_nobody(seed):
    rng = np.random.default_rng(seed)
    columns = {
        "sample": rng.integers(10**8, 10**9, 300).astype(str),
        "visit": rng.integers(10**9, 10**10, 300).astype(str),
        "plate": [f"A{n:09d}" for n in rng.integers(0, 10**9, 300)],
        "regimen": rng.choice(["Azacitidine", "Best supportive care", "Luspatercept"], 300),
        "batch": rng.choice(["46,XX[20]", "46,XY,del(5)(q13q33)[12]/46,XY[8]"], 300),
        "x": rng.normal(size=300).round(3).astype(str),
    }
    assert [
        found
        for name, cells in columns.items()
        for found in identifiers_in(pd.Series(cells, name=name))
    ] == []


@pytest.mark.parametrize("seed", range(20))
def test_chance_copies_nothing_down(seed):
    rng = np.random.default_rng(seed)
    assert (
        copied_down(rng.normal(10, 2, 400).round(1)) == []
        and copied_down(rng.poisson(3, 400).astype(float)) == []
    )


def test_twins_are_no_copies():
    "Strangers who share rounded values are left alone, as long as not nearly everything agrees."
    frame = ward(400, 5)
    assert "same-patient" not in kinds(
        check(
            frame.assign(
                **{
                    name: frame[name].round()
                    for name in ("hemoglobin", "neutrophils", "white_cells")
                }
            ).drop(columns=["diagnosis_date", "last_contact_date", "death_date"])
        )
    )


@pytest.mark.parametrize("disease", ["mds", "aml", "mm"])
@pytest.mark.parametrize("seed", [11, 12])
def test_no_false_alarm_on_virtual_wards(disease, seed):
    assert [
        str(one)
        for one in check(ward(250, seed, disease), disease).all_findings
        if one.severity != "look"
    ] == []


@pytest.mark.slow
def test_real_patients_need_little_mending(cohort_of):
    "The released tables are well kept: hardly a finding, and none that stops."
    frame = cohort_of("ipssm-study").frame
    found = gw.check_readiness(
        frame[[name for name in frame if dictionary("mds").find(name)]].reset_index(drop=True),
        "mds",
    )
    assert not kinds(found, "stop"), [
        str(one)[:200] for one in found.all_findings if one.severity == "stop"
    ]


# The page


class Page(HTMLParser):
    "Elements and words of a page."

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    "The report of a ward with faults, and with a column whose name tries to break the page."
    frame = ward(120, 3)
    frame = frame.assign(
        hemoglobin=frame["hemoglobin"] * 10,
        age=frame["age"].where(frame.index != 4, 430),
        Surname="Musterfrau",
    )
    frame["<script>alert(1)</script>"] = "x"
    return check(frame).report(tmp_path_factory.mktemp("report") / "readiness.html")


def test_the_page_stands_alone(page):
    text = page.read_text(encoding="utf-8")
    seen = Page(text)
    assert not [
        tag
        for tag, attrs in seen.elements
        if tag in ("script", "link", "iframe")
        or any(str(value).startswith(("http", "//")) for value in attrs.values())
    ]
    assert (
        "default-src 'none'" in text
        and "<script>alert" not in text
        and "Musterfrau" not in text
        and "W0000" not in text
    )
    assert page.with_suffix(".json").exists() and sorted(
        one.name for one in page.parent.iterdir()
    ) == ["readiness.html", "readiness.json"]


def test_the_page_opens_with_the_verdict(page):
    words = " ".join(" ".join(Page(page.read_text(encoding="utf-8")).words).split())
    order = [
        words.index(part)
        for part in (
            "This report stays in the hospital.",
            "The verdict",
            "Not ready",
            "Next steps",
            "What was found",
            "What is there, and what is missing",
        )
    ]
    assert order == sorted(order) and "430" in words and "g/L" in words
    pictures = [
        attrs for tag, attrs in Page(page.read_text(encoding="utf-8")).elements if tag == "img"
    ]
    assert len(pictures) == 2 and all(
        len(one["alt"]) > 60 and one["src"].startswith("data:image/png") for one in pictures
    )


@pytest.mark.parametrize("wide", [1200, 390])
def test_the_page_in_a_browser(page, wide, browser):
    "No axe violation, nothing to load, nothing wider than the window."
    from axe_playwright_python.sync_playwright import Axe

    sheet = browser.new_page(viewport={"width": wide, "height": 900}, bypass_csp=True)
    asked: list[str] = []
    sheet.on("request", lambda request: asked.append(request.url))
    sheet.goto(page.as_uri())
    assert (
        sheet.evaluate("document.documentElement.scrollWidth") <= wide
        and [url for url in asked if not url.startswith(("file:", "data:"))] == []
    )
    violations = Axe().run(sheet).response["violations"]
    sheet.close()
    assert [
        (one["id"], [node["html"][:120] for node in one["nodes"]][:3]) for one in violations
    ] == []


def test_the_report_is_there_in_full_or_not_at_all(patients, tmp_path, monkeypatch):
    found = check(patients)
    found.report(tmp_path / "a.html")
    before = (tmp_path / "a.html").read_bytes()
    monkeypatch.setattr(os, "replace", lambda *args: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        found.report(tmp_path / "a.html")
    assert (tmp_path / "a.html").read_bytes() == before and sorted(
        p.name for p in tmp_path.iterdir()
    ) == ["a.html", "a.json"]


# The command line


def test_the_command_and_its_status(genomed, tmp_path):
    english = (FOLDER / "clean_1_english.csv", "--disease", "mds")
    status, out, _ = genomed("check", *english, "--out", tmp_path / "out")
    assert (
        status == 0 and out.startswith("Ready.") and (tmp_path / "out" / "readiness.html").exists()
    )
    status, out, err = genomed("check", FOLDER / "15_impossible.csv", "--disease", "mds", "--json")
    assert status == 1 and json.loads(out)["verdict"] == "ready after small mends" and err == ""
    two, mapping = (FOLDER / f"02_two_laboratories{kind}" for kind in (".csv", ".mapping.toml"))
    status, out, _ = genomed("check", two, "--disease", "mds", "--mapping", mapping, "--quiet")
    assert status == 1 and out == ""


def test_the_command_in_a_process_of_its_own():
    done = subprocess.run(
        [GENOMED, "check", FOLDER / "clean_1_english.csv", "--disease", "gout"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and "dictionary" in done.stderr and done.stdout == ""


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("nowhere.csv", "--disease", "mds"), "no such file"),
        ((FOLDER / "clean_1_english.csv", "--disease", "gout"), "dictionary"),
        ((FOLDER / "clean_1_english.csv",), "disease"),
        (
            (FOLDER / "clean_1_english.csv", "--disease", "mds", "--out", FOLDER / "make.py"),
            "is a file",
        ),
        ((FOLDER / "clean_1_english.csv", "--disease", "mds", "--needs", "ferritine"), "ferritine"),
    ],
)
def test_the_command_refuses_in_words(genomed, args, said):
    status, out, err = genomed("check", *args)
    assert status == 2 and said in err and "Traceback" not in err and out == ""


def test_the_help_tells_the_exit_status(genomed):
    assert "Exit status" in genomed("check", "--help")[1]


# Speed


@pytest.mark.full
@pytest.mark.slow
def test_a_hundred_thousand_rows(tmp_path):
    """A hundred thousand virtual patients with faults, from the file to the findings, in thirty
    seconds of processor time.
    """
    frame = ward(100_000, 1)
    frame["hemoglobin"] = (frame["hemoglobin"] * 10).round()
    frame["note"] = [
        f"seen again in week {number % 9973} after the visit" for number in range(len(frame))
    ]
    frame.loc[500, "age"] = 430
    path = tmp_path / "big.csv"
    frame.to_csv(path, index=False)
    start = time.process_time()
    found = check(path, "mds")
    seconds = time.process_time() - start
    assert {"wrong-unit", "free-text", "impossible-value"} <= set(kinds(found)) and kinds(found)[
        "impossible-value"
    ].rows == (502,)
    assert seconds <= 30, f"{seconds:.1f} s"


def test_a_number_that_can_be_read_in_two_ways_is_not_called_a_date(tmp_path):
    from genomed_workbench.readiness.check import check_readiness

    file = tmp_path / "ward.csv"
    file.write_text(
        "ID;HB;PLT;BM_BLAST;ANC;CYTO_IPSSR\n007;9,5;1.200;2;0,8;Good\n", encoding="utf-8"
    )
    found = check_readiness(file, "mds")
    (one,) = [
        one for one in found.all_findings if one.column == "PLT" and one.kind == "unreadable-value"
    ]
    assert "date" not in one.what + one.mend and "two ways" in one.what
    assert ", and 2 things" in found.sentence or ", and one thing" in found.sentence


def test_survivors_without_a_time_have_no_event(tmp_path):
    "Of the patients without a usable outcome only those who died have an event and no time."
    rows = [f"P{i},60,{'' if i in (1, 2, 3) else 2},{int(i in (1, 5, 6))}" for i in range(8)]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["id,age,os_years,death", *rows]))
    [told] = [
        one for one in gw.check_readiness(path, "mds").all_findings if one.kind == "missing-outcome"
    ]
    assert (
        "3 of 8 patients have no usable outcome; 1 of them have an event and no time" in told.what
    )
