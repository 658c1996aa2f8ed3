"""The prepared folder: thirty exports with planted faults, five clean ones. Each fault is found where
it was planted, and nothing else is.
"""

import tomllib
from pathlib import Path

import pytest

import genomed_workbench as gw
from genomed_workbench.readiness.report import page_of

FOLDER = Path(__file__).parent / "hospital_files"
FILES = {
    one["name"]: one
    for one in tomllib.loads((FOLDER / "faults.toml").read_text(encoding="utf-8"))["file"]
}
FAULTY = [name for name, one in FILES.items() if "fault" in one]
CLEAN = [name for name in FILES if name not in FAULTY]


@pytest.fixture(scope="module")
def checked():
    "The check of a file, made once."
    kept: dict[str, gw.Readiness] = {}

    def check(name: str) -> gw.Readiness:
        if name not in kept:
            one = FILES[name]
            kept[name] = gw.check_readiness(
                FOLDER / name, one["disease"], FOLDER / one["mapping"] if "mapping" in one else None
            )
        return kept[name]

    return check


def tells(finding, fault: dict) -> bool:
    "True where a finding is the planted fault: its kind, its variable or column, and its very rows."
    where = all(fault.get(key) in (None, getattr(finding, key)) for key in ("variable", "column"))
    return (
        finding.kind == fault["kind"]
        and where
        and (finding.rows == () if fault["rows"] == "all" else list(finding.rows) == fault["rows"])
    )


def test_the_folder_is_what_it_should_be():
    assert len(FAULTY) == 30 and len(CLEAN) == 5
    assert all(1 <= len(FILES[name]["fault"]) <= 2 for name in FAULTY)
    assert {Path(name).suffix for name in FILES} == {".csv", ".tsv", ".xlsx"} and {
        one["disease"] for one in FILES.values()
    } == {"mds", "aml", "mm", "scd"}
    paths = [path for path in FOLDER.iterdir() if path.is_file()]
    assert {path.name for path in paths} == {
        *FILES,
        "make.py",
        "faults.toml",
        *(one["mapping"] for one in FILES.values() if "mapping" in one),
    }
    assert sum(path.stat().st_size for path in paths) < 2_000_000


def test_enough_different_faults_are_planted():
    kinds = {fault["kind"] for name in FAULTY for fault in FILES[name]["fault"]}
    needed = {
        "wrong-unit",
        "mixed-units",
        "shifted-code",
        "leak",
        "duplicate-id",
        "same-patient",
        "death-before-diagnosis",
        "karyotype-contradiction",
        "impossible-value",
        "time-unit",
        "negative-time",
        "gene-date",
        "total-row",
        "mojibake",
        "inverted-event",
        "everybody-censored",
        "missing-panel",
        "swapped-columns",
        "filled-down",
        "future-date",
        "lost-decimal",
    }
    people = {
        "name",
        "birth-date",
        "record-number",
        "e-mail",
        "phone",
        "bank-account",
        "national-id",
        "free-text",
    }
    assert needed <= kinds and len(people & kinds) >= 6 and len(kinds) >= 34


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        pytest.param(name, fault, id=f"{name}-{fault['kind']}")
        for name in FAULTY
        for fault in FILES[name]["fault"]
    ],
)
def test_each_planted_fault_is_found(name, fault, checked):
    found = checked(name).all_findings
    assert any(tells(one, fault) for one in found if one.severity != "look"), "\n".join(
        f"{one.severity} {one.kind} {one.variable} {one.column} {one.rows[:12]}" for one in found
    )


@pytest.mark.parametrize("name", FAULTY)
def test_nothing_else_is_said_to_need_mending(name, checked):
    others = [
        str(one)
        for one in checked(name).all_findings
        if one.severity != "look" and not any(tells(one, fault) for fault in FILES[name]["fault"])
    ]
    assert others == []
    assert not checked(name).ready


@pytest.mark.parametrize("name", CLEAN)
def test_no_false_alarm_on_a_clean_file(name, checked):
    found = checked(name)
    assert [
        str(one) for one in found.all_findings if one.severity != "look"
    ] == [] and found.verdict == "ready"
    assert found.n >= 150 and len(found.findings) <= 6


@pytest.mark.parametrize("name", FAULTY)
def test_no_report_repeats_what_names_a_person(name, checked):
    "Cells of columns with identifiers, and ids, stand neither in the page nor in the record."
    one = FILES[name]
    records = gw.read_records(
        FOLDER / name, one["disease"], mapping=FOLDER / one["mapping"] if "mapping" in one else None
    )
    people = {
        fault["column"]
        for fault in one["fault"]
        if fault["kind"]
        in (
            "name",
            "birth-date",
            "record-number",
            "e-mail",
            "phone",
            "bank-account",
            "national-id",
            "free-text",
        )
    }
    secret = {
        str(cell)
        for column in (
            *people,
            *(c for c in ("Patient ID", "patient_id", "Pat-Nr") if c in records.raw),
        )
        for cell in records.raw[column].dropna()
    }
    page, record = page_of(checked(name)), checked(name).to_json()
    assert secret and not [cell for cell in secret if cell in page or cell in record]
