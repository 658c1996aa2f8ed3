"""FHIR bundles: what is written comes back to the last bit, what is written is FHIR R4 to others too, and what
others write is understood or refused.

Oracles: the frame that went in; the published R4 models of `fhir.resources`, applied to the whole bundle;
bundles written by hand below.
"""

import json
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import MEASURED

import genomed_workbench as gw
from genomed_workbench.clinic.dictionary import DISEASES, dictionary
from genomed_workbench.intake.fhir import read_fhir, write_fhir

pytest.importorskip(
    "fhir.resources.R4B", reason="fhir.resources is not installed: pip install -e '.[hospital]'"
)

LOINC, HGNC = "http://loinc.org", "http://www.genenames.org/geneId"
KARYOTYPES = [
    "46,XX[20]",
    "46,xy,del(5)(q13q33)[12]/46,xy[8]",
    'a "quoted" & <marked> text, größer',
    "45,X,-Y[3]; 46,XY[17]",
    "µ–Δ 46,XX,t(8;21)(q22;q22)",
]


def random_column(variable, n: int, rng: np.random.Generator):
    "Values of a variable: at its edges, between them with every bit used, and unknown."
    if variable.kind in ("number", "count"):
        low, high = variable.possible or (0.0, 100.0)
        if variable.kind == "count":
            values = rng.integers(int(low), int(high) + 1, n).astype(float)
        else:
            values = np.where(
                rng.random(n) < 0.3,
                low + (high - low) * rng.random(n),
                np.round(low + (high - low) * rng.beta(0.5, 4, n), 1),
            )
            edges = [
                low,
                high,
                np.nextafter(low, high),
                np.nextafter(high, low),
                low + (high - low) / 3,
                max(low, min(high, 5e-324)),
                max(low, min(high, 1e-7)),
            ]
            values[: len(edges)] = edges
        return np.clip(values, low, high)
    if variable.kind == "yes-no":
        return rng.integers(0, 2, n).astype(float)
    if variable.kind == "ordinal":
        return rng.choice(list(variable.coded.values()), n).astype(float)
    if variable.kind == "date":
        return pd.Timestamp("1900-01-01") + pd.to_timedelta(rng.integers(0, 73000, n), unit="D")
    return rng.choice(list(variable.values) if variable.kind == "level" else KARYOTYPES, n).astype(
        object
    )


def random_frame(disease: str, n: int, seed: int = 0, unknown: float = 0.2) -> pd.DataFrame:
    """All variables of a dictionary for n patients, values independent of each other; one variable in
    six is known of nobody.
    """
    rng, book = np.random.default_rng(seed), dictionary(disease)
    frame = pd.DataFrame(
        {one.name: random_column(one, n, rng) for one in book},
        index=[f"Pat {i}/ä" for i in range(n)],
    )
    frame = frame.mask(rng.random(frame.shape) < unknown)
    for name in rng.choice(list(book.names), len(book.names) // 6, replace=False):
        frame[name] = np.nan if book[name].kind != "date" else pd.NaT
    return frame


def differences(found: pd.DataFrame, frame: pd.DataFrame, disease: str) -> list[str]:
    "Where two frames are not the same to the last bit, in words."
    book = dictionary(disease)
    if found.index.tolist() != list(map(str, frame.index)):
        return ["the patients"]
    wrong = [f"{name}: the column is lost" for name in frame if name not in found] + [
        f"{name}: a new column" for name in found if name not in frame
    ]
    for name in set(frame) & set(found):
        a, b = frame[name], found[name]
        known = a.notna().to_numpy()
        if (known != b.notna().to_numpy()).any():
            wrong.append(
                f"{name}: {int((known != b.notna().to_numpy()).sum())} values lost or made up"
            )
        elif book[name].kind in ("number", "count", "yes-no", "ordinal"):
            x, y = a[known].to_numpy(float), b[known].to_numpy(float)
            wrong += (
                [f"{name}: {int((x.view('u8') != y.view('u8')).sum())} values differ"]
                if (x.view("u8") != y.view("u8")).any()
                else []
            )
        elif (a[known].astype(object).to_numpy() != b[known].astype(object).to_numpy()).any():
            wrong.append(f"{name}: texts or days differ")
    return wrong


@pytest.mark.slow
@pytest.mark.parametrize("disease", DISEASES)
def test_a_thousand_patients_come_back_to_the_last_bit(disease, tmp_path):
    frame = random_frame(disease, 1000)
    assert set(frame) == set(dictionary(disease).names)
    start = time.perf_counter()
    path = write_fhir(frame, tmp_path / "bundle.json", disease)
    written = time.perf_counter()
    records = read_fhir(path, disease)
    found = records.canonical().frame
    MEASURED[f"FHIR {disease}: seconds to write 1,000 patients"] = written - start
    MEASURED[f"FHIR {disease}: seconds to read 1,000 patients"] = time.perf_counter() - written
    MEASURED[f"FHIR {disease}: megabytes of 1,000 patients"] = path.stat().st_size / 1e6
    assert differences(found, frame, disease) == [] and records.notes == ()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["virtual-mds", "virtual-aml", "virtual-mm", "virtual-scd"])
def test_a_thousand_virtual_patients_come_back(name, tmp_path):
    if name not in gw.cohorts().index and name not in set(gw.cohorts().get("name", ())):
        pytest.skip(f"{name} is not among the cohorts")
    disease = name.removeprefix("virtual-")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cohort = gw.load_cohort(name, n=1000, seed=1)
        path = write_fhir(cohort, tmp_path / "bundle.json", disease)
    frame = cohort.frame[[v for v in dictionary(disease).names if v in cohort.frame]]
    assert len(frame) == 1000 and frame.shape[1] > 5
    assert differences(read_fhir(path, disease).canonical().frame, frame, disease) == []


@pytest.mark.parametrize("disease", DISEASES)
def test_everything_written_is_r4_to_the_published_models(disease, tmp_path):
    from fhir.resources.R4B.bundle import Bundle

    path = write_fhir(random_frame(disease, 12, seed=3), tmp_path / "bundle.json", disease)
    bundle = Bundle.model_validate_json(path.read_text())
    urls = [entry.fullUrl for entry in bundle.entry]
    assert len(set(urls)) == len(urls) and all(
        url == f"urn:uuid:{entry.resource.id}" for url, entry in zip(urls, bundle.entry)
    )
    patients = {
        entry.fullUrl for entry in bundle.entry if entry.resource.get_resource_type() == "Patient"
    }
    assert (
        len(patients) == 12
        and {
            entry.resource.subject.reference
            for entry in bundle.entry
            if hasattr(entry.resource, "subject")
        }
        == patients
    )


def test_public_codes_stand_where_the_dictionary_has_them(tmp_path):
    frame = pd.DataFrame(
        {"hemoglobin": [9.7], "SF3B1": [1.0], "FLT3_ITD": [0.0], "age": [70.0]}, index=["A"]
    )
    resources = [
        e["resource"]
        for e in json.loads(write_fhir(frame, tmp_path / "b.json", "mds").read_text())["entry"]
    ]
    by_code = {
        r["code"]["coding"][-1]["code"]: r for r in resources if r["resourceType"] == "Observation"
    }
    hemoglobin, gene, itd = by_code["hemoglobin"], by_code["SF3B1"], by_code["FLT3_ITD"]
    assert hemoglobin["code"]["coding"][0] == {"system": LOINC, "code": "718-7"}
    assert hemoglobin["valueQuantity"] == {
        "value": 9.7,
        "unit": "g/dL",
        "system": "http://unitsofmeasure.org",
        "code": "g/dL",
    }
    assert gene["component"][0]["valueCodeableConcept"]["coding"][0] == {
        "system": HGNC,
        "code": "HGNC:10768",
    }
    assert (
        gene["valueCodeableConcept"]["coding"][0]["code"] == "LA9633-4"
        and itd["valueCodeableConcept"]["coding"][0]["code"] == "LA9634-2"
    )
    condition = next(r for r in resources if r["resourceType"] == "Condition")
    assert (
        condition["code"]["coding"][0]["system"] == "http://www.orpha.net"
        and condition["code"]["coding"][0]["code"] == "52688"
        and condition["onsetAge"]["value"] == 70
    )


def test_no_name_and_no_day_of_birth_is_written(tmp_path):
    text = write_fhir(random_frame("mds", 20, seed=5), tmp_path / "b.json", "mds").read_text()
    assert "birthDate" not in text and '"name"' not in text and '"address"' not in text


def test_one_resource_a_line_is_the_same(tmp_path):
    frame = random_frame("scd", 20, seed=1)
    one, other = (
        read_fhir(write_fhir(frame, tmp_path / f"b.{kind}", "scd"), "scd")
        for kind in ("json", "ndjson")
    )
    assert len((tmp_path / "b.ndjson").read_text().splitlines()) == len(
        json.loads((tmp_path / "b.json").read_text())["entry"]
    )
    assert (
        differences(other.canonical().frame, frame, "scd")
        == differences(one.canonical().frame, frame, "scd")
        == []
    )


def test_a_cohort_keeps_its_hospitals_and_becomes_a_cohort_again(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": rng.normal(70, 5, 60).round(),
            "hemoglobin": rng.normal(10, 2, 60),
            "os_years": rng.exponential(3, 60),
            "death": rng.integers(0, 2, 60),
            "hospital": rng.choice(["Ash", "Elm"], 60),
        },
        index=[f"P{i}" for i in range(60)],
    )
    cohort = gw.Cohort.from_frame(
        frame,
        gw.Survival("os_years", "death"),
        site="hospital",
        name="virtual patients",
        virtual=True,
    )
    path = write_fhir(cohort, tmp_path / "b.json", "mds")
    assert gw.read_records(path, "mds").kind == "fhir"
    found = gw.read_hospital(path, "mds")
    assert found.sites.tolist() == cohort.sites.tolist() and set(found.features) == {
        "age",
        "hemoglobin",
    }
    np.testing.assert_array_equal(
        found.X[["age", "hemoglobin"]].to_numpy(), cohort.X[["age", "hemoglobin"]].to_numpy()
    )
    assert (found.time == cohort.time).all() and (found.event == cohort.event).all()


# Bundles from elsewhere


def concept(*codes, text: str | None = None) -> dict:
    return {"coding": [dict(zip(("system", "code", "display"), code)) for code in codes]} | (
        {"text": text} if text else {}
    )


def seen(code, subject: str = "Patient/1", day: str | None = None, **rest) -> dict:
    return {
        "resourceType": "Observation",
        "status": "final",
        "subject": {"reference": subject},
        "code": concept(code) if isinstance(code, tuple) else code,
        **({"effectiveDateTime": day} if day else {}),
        **rest,
    }


def lab(code: str, value, unit: str | None = "g/dL", day: str | None = None, **rest) -> dict:
    return seen(
        (LOINC, code),
        day=day,
        valueQuantity={"value": value, **({"unit": unit} if unit else {})},
        **rest,
    )


def variant(gene: str, answer: str, **rest) -> dict:
    component = [
        {
            "code": concept((LOINC, "48018-6")),
            "valueCodeableConcept": concept(("http://www.genenames.org", gene)),
        }
    ]
    return seen(
        (LOINC, "69548-6"),
        component=component,
        valueCodeableConcept=concept((LOINC, answer)),
        **rest,
    )


def bundle_of(
    folder: Path, *resources, patient: dict | None = None, disease: dict | None = None
) -> Path:
    first = {"resourceType": "Patient", "id": "1", "gender": "male"} | (patient or {})
    second = {
        "resourceType": "Condition",
        "subject": {"reference": "Patient/1"},
        "code": concept(("http://hl7.org/fhir/sid/icd-10", "D46.9")),
        "onsetDateTime": "2020-05-01",
    } | (disease or {})
    path = folder / "elsewhere.json"
    path.write_text(
        json.dumps(
            {
                "resourceType": "Bundle",
                "type": "searchset",
                "entry": [{"resource": r} for r in (first, second, *resources)],
            }
        )
    )
    return path


def row_of(path: Path, disease: str = "mds") -> pd.Series:
    return read_fhir(path, disease).canonical().frame.iloc[0]


@pytest.mark.parametrize(
    "value,unit,expected",
    [(9.7, "g/dL", 9.7), (97, "g/L", 9.7), (97.0, "g/l", 9.7), (6, "mmol/L", 6 * 1.61145)],
)
def test_units_are_converted(value, unit, expected, tmp_path):
    records = read_fhir(bundle_of(tmp_path, lab("718-7", value, unit)), "mds")
    assert records.canonical().frame.hemoglobin.iloc[0] == pytest.approx(expected, abs=1e-4)
    assert any("converted" in note for note in records.notes) == (unit != "g/dL")


@pytest.mark.parametrize(
    "days,expected",
    [
        (["2020-04-01", "2020-05-03", "2020-05-02"], 3),  # the earliest on or after the diagnosis
        (["2020-05-01", "2020-05-02"], 1),  # that day counts as after
        (["2020-01-01", "2020-04-30", "2020-03-01"], 2),  # all before: the latest
        ([None, None], 1),  # no dates: the first
        ([None, "2020-06-01"], 2),  # a dated one before an undated one
        (["2020-04-30", None], 2),  # an undated one before one that is too early
    ],
)
def test_of_several_observations_the_stated_one_counts(days, expected, tmp_path):
    path = bundle_of(tmp_path, *(lab("718-7", i + 1, day=day) for i, day in enumerate(days)))
    assert row_of(path).hemoglobin == expected
    assert any(f"{len(days) - 1} further" in note for note in read_fhir(path, "mds").notes)


def test_a_gene_is_mutated_if_any_variant_is_present(tmp_path):
    row = row_of(
        bundle_of(
            tmp_path,
            variant("HGNC:11998", "LA9634-2"),
            variant("HGNC:11998", "LA9633-4"),
            variant("HGNC:11998", "LA9634-2"),
            variant("10768", "LA9634-2"),
        )
    )
    assert row.TP53 == 1 and row.SF3B1 == 0 and "ASXL1" not in row


def test_kmt2a_is_no_tandem_duplication(tmp_path):
    "A public gene code means any mutation; MLL_PTD is a certain one and shares the gene's number."
    records = read_fhir(bundle_of(tmp_path, variant("HGNC:7132", "LA9633-4")), "mds")
    assert "MLL_PTD" not in records.raw and any("HGNC:7132" in note for note in records.notes)


def test_the_day_of_birth_gives_the_age_and_is_forgotten(tmp_path):
    records = read_fhir(
        bundle_of(tmp_path, patient={"birthDate": "1950-05-02", "name": [{"family": "Somebody"}]}),
        "mds",
    )
    assert records.canonical().frame.age.iloc[0] == 69
    assert (
        "1950" not in repr(vars(records))
        and "Somebody" not in repr(vars(records))
        and any("Patient.name" in note for note in records.notes)
    )


def test_an_age_that_is_given_wins_over_the_day_of_birth(tmp_path):
    assert (
        row_of(
            bundle_of(
                tmp_path,
                seen((LOINC, "30525-0"), valueQuantity={"value": 71, "unit": "a"}),
                patient={"birthDate": "1950-05-02"},
            )
        ).age
        == 71
    )


@pytest.mark.parametrize(
    "patient,death,day",
    [
        ({"deceasedBoolean": False}, 0, None),
        ({"deceasedBoolean": True}, 1, None),
        ({"deceasedDateTime": "2021-07-01T10:00:00+02:00"}, 1, "2021-07-01"),
        ({"deceasedDateTime": "2021"}, 1, None),
    ],
)
def test_death(patient, death, day, tmp_path):
    row = row_of(bundle_of(tmp_path, patient=patient))
    assert row.death == death and (
        row.death_date == pd.Timestamp(day) if day else "death_date" not in row
    )


def test_what_is_not_understood_is_listed(tmp_path):
    path = bundle_of(
        tmp_path,
        lab("718-7", 9.7),
        seen((LOINC, "2085-9", "HDL cholesterol"), valueQuantity={"value": 50, "unit": "mg/dL"}),
        seen({"text": "ward note"}, valueString="free text about a person"),
        variant("HGNC:1100", "LA9633-4"),
        lab("777-3", 5, "10*9/L", status="entered-in-error"),
        {
            "resourceType": "Condition",
            "subject": {"reference": "Patient/1"},
            "code": concept(("http://hl7.org/fhir/sid/icd-10", "I10", "hypertension")),
        },
        {"resourceType": "Organization", "name": "Hospital"},
    )
    records = read_fhir(path, "mds")
    told = "\n".join(records.notes)
    assert all(
        word in told
        for word in (
            "LOINC 2085-9 (HDL cholesterol)",
            "(ward note)",
            "HGNC:1100",
            "entered-in-error",
            "hypertension",
            "Organization",
        )
    )
    assert (
        "free text" not in told
        and "platelets" not in records.raw
        and set(records.canonical().frame) == {"sex", "hemoglobin", "diagnosis_date"}
    )


def test_references_of_every_kind_are_resolved(tmp_path):
    patients = [
        {
            "fullUrl": url,
            "resource": {
                "resourceType": "Patient",
                **({"id": id} if id else {}),
                "identifier": [{"system": "urn:genomed-workbench:patient", "value": name}],
            },
        }
        for name, id, url in (
            ("a", "1", "https://x.example/fhir/Patient/1"),
            ("b", None, "urn:uuid:0b2f3a4c-1111-4222-8333-444455556666"),
            ("c", "3", ""),
        )
    ]
    values = [
        lab("718-7", v) | {"subject": {"reference": r}}
        for v, r in (
            (5, "https://x.example/fhir/Patient/1"),
            (6, "urn:uuid:0b2f3a4c-1111-4222-8333-444455556666"),
            (7, "https://other.example/Patient/3"),
        )
    ]
    path = tmp_path / "b.json"
    path.write_text(
        json.dumps(
            {
                "resourceType": "Bundle",
                "type": "collection",
                "entry": [{k: v for k, v in p.items() if v} for p in patients]
                + [{"resource": v} for v in values],
            }
        )
    )
    assert read_fhir(path, "mds").canonical().frame.hemoglobin.to_dict() == {"a": 5, "b": 6, "c": 7}


# Bundles that are refused


def refused(path: Path, disease: str = "mds") -> gw.CohortError:
    with pytest.raises(gw.CohortError) as caught:
        read_fhir(path, disease).canonical()
    return caught.value


@pytest.mark.parametrize(
    "resource,element,value,expected",
    [
        (lab("718-7", "nine"), "entry[2].resource.valueQuantity.value", "nine", ""),
        (lab("718-7", 9.7) | {"status": 5}, "entry[2].resource.status", 5, "string"),
        (lab("718-7", 9.7) | {"foo": 1}, "entry[2].resource.foo", 1, "no such element"),
        (
            {k: v for k, v in lab("718-7", 9.7).items() if k != "code"},
            "entry[2].resource.code",
            None,
            "required",
        ),
        (
            {"resourceType": "Observatoin"},
            "entry[2].resource.resourceType",
            "Observatoin",
            "resource",
        ),
        (lab("718-7", 9.7, None), "entry[2].resource.valueQuantity.unit", None, "unit"),
        (lab("718-7", 9.7, "furlong"), "entry[2].resource.valueQuantity.unit", "furlong", "g/dL"),
        (lab("718-7", 9.7, "10*9/L"), "entry[2].resource.valueQuantity.code", "10*9/L", "g/dL"),
        (
            lab("718-7", 9.7) | {"subject": {"reference": "Patient/9"}},
            "entry[2].resource.subject.reference",
            "Patient/9",
            "Patient of this bundle",
        ),
        ({"resourceType": "Patient", "id": "1"}, "entry[2].resource", None, "one Patient"),
    ],
)
def test_a_fault_is_told_with_place_value_and_what_was_expected(
    resource, element, value, expected, tmp_path
):
    error = refused(bundle_of(tmp_path, resource))
    problem = error.problems[0]
    assert (
        problem.column.startswith(element)
        and expected in problem.expected
        and problem.column in str(error)
    )
    if value is not None:
        assert problem.value == value and repr(value) in str(error)


def test_impossible_values_and_limits_are_refused_with_their_patient(tmp_path):
    assert "900" in str(refused(bundle_of(tmp_path, lab("718-7", 900)))) and "<5" in str(
        refused(
            bundle_of(
                tmp_path,
                seen(
                    (LOINC, "777-3"),
                    valueQuantity={"value": 5, "comparator": "<", "unit": "10*9/L"},
                ),
            )
        )
    )


def test_release_five_is_called_by_its_name(tmp_path):
    fifth = lab("718-7", 9.7) | {
        "triggeredBy": [{"observation": {"reference": "Observation/1"}, "type": "reflex"}]
    }
    assert "FHIR R5" in str(refused(bundle_of(tmp_path, fifth))) and "R4" in str(
        refused(bundle_of(tmp_path, fifth))
    )
    assert "FHIR R5" not in str(refused(bundle_of(tmp_path, fifth | {"status": 5})))


@pytest.mark.parametrize(
    "text,said",
    [
        ("{", "not JSON"),
        ("[]", "JSON object"),
        ('{"resourceType": "Patient"}', "FHIR bundle"),
        ('{"resourceType": "Bundle", "type": "collection"}', "no Patient"),
        (
            '{"resourceType": "Bundle", "type": "collection", "entry": [{"fullUrl": "a"}]}',
            "entry[0]",
        ),
        ('{"resourceType": "Bundle", "type": "collection", "entry": 3}', "an entry"),
        (
            '{"resourceType": "Bundle", "type": "collection", "entry": [{"resource": {"resourceType": 7}}]}',
            "FHIR R4 resource",
        ),
    ],
)
def test_what_is_no_bundle_is_refused_in_words(text, said, tmp_path):
    path = tmp_path / "b.json"
    path.write_text(text)
    assert said in str(refused(path))


def test_an_absent_file_and_an_unknown_disease(tmp_path):
    with pytest.raises(gw.CohortError, match="no such file"):
        read_fhir(tmp_path / "absent.json", "mds")
    with pytest.raises(gw.CohortError, match="dictionary"):
        read_fhir(tmp_path / "absent.json", "flu")


def test_two_rows_of_one_patient_are_not_written(tmp_path):
    with pytest.raises(gw.CohortError, match="one row per patient"):
        write_fhir(
            pd.DataFrame({"age": [70.0, 71.0]}, index=["A", "A"]), tmp_path / "b.json", "mds"
        )


def test_without_the_package_one_sentence_says_what_to_install(monkeypatch, tmp_path):
    import sys

    for name in [name for name in sys.modules if name.startswith("fhir")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fhir.resources.R4B", None)
    with pytest.raises(gw.CohortError, match=r"pip install \"genomed-workbench\[hospital\]\""):
        write_fhir(pd.DataFrame({"age": [70.0]}, index=["A"]), tmp_path / "b.json", "mds")


def test_the_orpha_code_of_sickle_cell_anemia_goes_with_homozygous_patients_alone(tmp_path):
    "From Orphanet: ORPHA:232 is homozygous HbS. Written for SS, for no other diagnosis, and understood when read."
    kinds = ["SS", "SC", "S-beta0", "S-HPFH", None]
    frame = pd.DataFrame({"diagnosis": kinds}, index=[f"P{i}" for i in range(5)])
    path = write_fhir(frame, tmp_path / "scd.json", "scd")
    bundle = json.loads(path.read_text())
    conditions = [
        entry["resource"]
        for entry in bundle["entry"]
        if entry["resource"]["resourceType"] == "Condition"
    ]
    codes = [
        [one["code"] for one in c["code"]["coding"] if one["system"] == "http://www.orpha.net"]
        for c in conditions
    ]
    assert codes == [["232"], [], [], [], []]
    conditions[0]["code"]["coding"] = [{"system": "http://www.orpha.net", "code": "232"}]
    path.write_text(json.dumps(bundle))
    assert read_fhir(path, "scd").canonical().frame["diagnosis"].tolist()[:4] == kinds[:4]
