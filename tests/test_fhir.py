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
from fhir_exports import synthea_bulk

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


# As systems write it

SNOMED, ICD10 = "http://snomed.info/sct", "http://hl7.org/fhir/sid/icd-10"
SPELLED = {  # LOINC of a variable -> units as written, and what 100 of them are in the dictionary's unit
    "718-7": {
        100: ["g/dL", "g/dl", "gm/dL", "G/DL", "gr/dl", "g/100mL", "grams/dL", "g%"],
        10: ["g/L", "g/l"],
    },
    "777-3": {
        100: [
            *("10*9/L", "10^9/L", "10*3/uL", "K/uL", "G/L", "/nL", "Tsd/µl", "x10^9/L", "10e9/L"),
            *("10E3/uL", "thou/uL", "10*9/l", "10*3/mm3", "giga/L", "10⁹/L"),
        ],
        0.1: ["/uL", "{cells}/uL", "cells/uL", "/mm3"],
    },
}


@pytest.mark.parametrize(
    "code,value,unit",
    [(code, value, u) for code, by in SPELLED.items() for value, us in by.items() for u in us],
)
def test_units_are_read_in_every_spelling(code, value, unit, tmp_path):
    "Oracle: UCUM, by hand; g/L is a tenth of g/dL, a cell per microliter a thousandth of 10^9/L."
    raw = read_fhir(bundle_of(tmp_path, lab(code, 100, unit)), "mds").raw
    assert float(raw[{"718-7": "hemoglobin", "777-3": "platelets"}[code]][0]) == value


@pytest.mark.parametrize(
    "told",
    [
        {"effectiveDateTime": "2020-05-02"},
        {"effectiveDateTime": "2020-05-02T08:15:00Z"},
        {"effectiveDateTime": "2020-05-02T08:15:00+02:00"},
        {"effectiveDateTime": "2020-05-02T08:15:00.123Z"},
        {"effectiveDateTime": "2020-05-02T08:15:00.000-05:00"},
        {"effectivePeriod": {"start": "2020-05-02"}},
        {"effectiveInstant": "2020-05-02T08:15:00Z"},
        {"issued": "2020-05-02T08:15:00Z"},
        {"effectiveDateTime": "2020-05-02T08:15:00"},  # not R4: without its zone
        {"effectiveDateTime": "2020-05-02T08:15"},
    ],
)
def test_days_are_read_in_every_spelling(told, tmp_path):
    "The later observation has the day of the diagnosis after the other's; the earlier one counts."
    path = bundle_of(tmp_path, lab("718-7", 9, day="2020-05-09"), lab("718-7", 5, **told))
    assert row_of(path).hemoglobin == 5
    day = told.get("effectiveDateTime", "")
    said = [note for note in read_fhir(path, "mds").notes if "times without a zone" in note]
    assert bool(said) == (day in ("2020-05-02T08:15:00", "2020-05-02T08:15"))


SISTERS = [
    (disease, variable, code, system == "LOINC moles")
    for disease in ("mds", "mm", "scd")
    for variable in dictionary(disease)
    for system, codes in variable.more_codes.items()
    for code in codes
]


@pytest.mark.parametrize("disease,variable,code,moles", SISTERS)
def test_sister_codes_mean_the_same_variable(disease, variable, code, moles, tmp_path):
    unit = next(u for u in variable.units if u.endswith("mol/L")) if moles else variable.unit
    illness = {"code": concept((ICD10, {"mds": "D46", "mm": "C90.0", "scd": "D57.1"}[disease]))}
    path = bundle_of(tmp_path, lab(code, 20, unit), disease=illness)
    assert variable.name in read_fhir(path, disease).raw and len(SISTERS) >= 25


@pytest.mark.parametrize("unit,expected", [("mmol/L", 8 * 1.61145), ("g/dL", None), ("g/L", None)])
def test_hemoglobin_in_moles_is_never_taken_for_grams(unit, expected, tmp_path):
    "LOINC 59260-0 is moles in volume. Oracle: 16114.5 g/mol, the monomer (ICSH), by hand."
    records = read_fhir(bundle_of(tmp_path, lab("59260-0", 8, unit)), "mds")
    if expected:
        assert records.canonical().frame.hemoglobin.iloc[0] == pytest.approx(expected)
        return
    [problem] = records.problems
    assert (
        problem.value == unit and "moles" in problem.expected and problem.variable == "hemoglobin"
    )
    assert "hemoglobin" not in records.raw


def people_of(folder: Path, diagnoses: dict[str, dict], *resources) -> Path:
    "One patient for each code of a diagnosis, and what was observed of them."
    entries = [
        {"resource": one}
        for id, code in diagnoses.items()
        for one in (
            {"resourceType": "Patient", "id": id, "birthDate": "1950-05-02"},
            {
                "resourceType": "Condition",
                "subject": {"reference": f"Patient/{id}"},
                "code": code,
                "onsetDateTime": "2020-05-01",
            },
        )
    ]
    path = folder / "people.json"
    bundle = {"resourceType": "Bundle", "type": "collection"}
    more = [{"resource": one} for one in resources]
    path.write_text(json.dumps(bundle | {"entry": entries + more}))
    return path


@pytest.mark.parametrize(
    "disease,system,code",
    [
        ("aml", SNOMED, "91861009"),
        ("aml", f"{SNOMED}|http://snomed.info/sct/731000124108", "110005000"),
        ("aml", "urn:oid:2.16.840.1.113883.6.96", "763309005"),
        ("aml", f"{ICD10}-cm", "C92.A0"),
        ("aml", "http://fhir.de/CodeSystem/bfarm/icd-10-gm", "C92.50"),
        ("aml", "urn:oid:2.16.840.1.113883.6.90", "C9200"),
        ("mds", SNOMED, "109995007"),
        ("mds", SNOMED, "277597005"),
        ("mm", SNOMED, "109989006"),
        ("scd", SNOMED, "417357006"),
        ("scd", SNOMED, "127040003"),
        ("scd", ICD10, "D57.1"),
    ],
)
def test_a_diagnosis_is_known_by_its_public_codes(disease, system, code, tmp_path):
    codes = {"a": concept((system, code)), "b": concept((ICD10, "I10"))}
    records = read_fhir(people_of(tmp_path, codes), disease)
    assert records.raw["patient_id"].tolist() == ["a"] and records.raw["age"].tolist() == ["69"]
    assert records.derived == (
        f"1 of 2 patients have no Condition with a code of {dictionary(disease).title}, and are left out",
    )


@pytest.mark.parametrize(
    "disease,system,code,why",
    [
        ("scd", ICD10, "D57.3", "trait"),
        ("scd", SNOMED, "16402000", "trait"),
        ("aml", ICD10, "C92.40", "promyelocytic"),
        ("aml", SNOMED, "110004001", "promyelocytic"),
        ("mm", SNOMED, "440422002", "smoldering"),
        ("mds", SNOMED, "91861009", "no code of Myelodysplastic"),
    ],
)
def test_a_code_that_stands_near_a_disease_does_not_mean_it(disease, system, code, why, tmp_path):
    with pytest.raises(gw.CohortError) as caught:
        read_fhir(people_of(tmp_path, {"a": concept((system, code))}), disease)
    said = str(caught.value)
    assert "none of 1 patients" in said and why in said and '"disease"' in said


def test_no_patient_without_the_disease_becomes_one_of_the_cohort(tmp_path):
    illness = concept((SNOMED, "91861009"))
    refuted = {
        "resourceType": "Condition",
        "subject": {"reference": "Patient/c"},
        "code": illness,
        "onsetDateTime": "2020-05-01",
        "verificationStatus": concept(("http://x.example", "refuted")),
    }
    codes = {"a": illness, "b": concept((ICD10, "I10")), "c": concept((ICD10, "E11"))}
    path = people_of(tmp_path, codes, refuted)
    records = read_fhir(path, "aml")
    assert records.raw["patient_id"].tolist() == ["a"] and "2 of 3" in records.derived[0]
    assert any("refuted" in note for note in records.notes)


def test_without_any_condition_the_disease_is_taken_on_trust_and_that_is_said(tmp_path):
    path = tmp_path / "b.ndjson"
    path.write_text(json.dumps({"resourceType": "Patient", "id": "1", "gender": "male"}))
    [said] = read_fhir(path, "mm").derived
    assert "on trust" in said and "1 patients" in said


LOCAL = "http://lab.example/codes"


def test_a_mapping_file_says_what_a_local_code_means(tmp_path):
    codes = {"a": concept(("http://ward.example", "AML-NOS")), "b": concept((ICD10, "C92.0"))}
    own = [
        seen((LOCAL, "HB"), "Patient/a", valueQuantity={"value": 97}),
        seen((LOINC, "9999-4"), "Patient/b", valueQuantity={"value": 12, "unit": "10*9/L"}),
        seen((LOINC, "718-7"), "Patient/b", valueQuantity={"value": 8, "unit": "g/dL"}),
    ]
    path = people_of(tmp_path, codes, *own)
    told = "\n".join(read_fhir(path, "aml").notes)
    assert f"{LOCAL} HB" in told and "LOINC 9999-4" in told and "[fhir.codes]" in told
    mapping = tmp_path / "m.toml"
    mapping.write_text(
        'format = 1\ndisease = "aml"\n\n[fhir.codes]\n'
        f'"{LOCAL}|HB" = {{ variable = "hemoglobin", unit = "g/L" }}\n'
        '"LOINC|9999-4" = "white_cells"\n"http://ward.example|AML-NOS" = "disease"\n'
    )
    frame = gw.read_records(path, "aml", mapping=mapping).canonical().frame
    assert frame["hemoglobin"].to_dict() == {"a": 9.7, "b": 8.0}
    assert frame["white_cells"].dropna().to_dict() == {"b": 12.0}
    read = gw.Mapping.read(mapping)
    assert gw.Mapping.read(read.write(tmp_path / "again.toml")) == read


def test_a_mapping_with_columns_gains_those_of_its_codes(tmp_path):
    codes = {"a": concept((ICD10, "C92.0"))}
    own = seen((LOCAL, "HB"), "Patient/a", valueQuantity={"value": 9.7, "unit": "g/dL"})
    path = people_of(tmp_path, codes, own)
    mapping = tmp_path / "m.toml"
    gw.suggest_mapping(path, "aml").write(mapping, "all")
    mapping.write_text(f'{mapping.read_text()}\n[fhir.codes]\n"{LOCAL}|HB" = "hemoglobin"\n')
    frame = gw.read_records(path, "aml", mapping=mapping).canonical().frame
    assert frame["hemoglobin"].tolist() == [9.7] and frame["age"].tolist() == [69.0]


@pytest.mark.parametrize(
    "line,said",
    [
        ('"a|b" = "hemoglobine"', "Did you mean 'hemoglobin'?"),
        ('"a|b" = { variable = "hemoglobin", unit = "furlong" }', "a unit of hemoglobin"),
        ('"a|b" = 3', 'a variable: "a|b" = "hemoglobin"'),
        ('"a|b" = { unit = "g/L" }', "a variable"),
        ('"a|b" = { variable = "disease", unit = "g/L" }', "no unit for a diagnosis"),
        ('"a|b" = { variable = "hemoglobin", units = "g/L" }', "one of variable, unit"),
    ],
)
def test_a_wrong_line_on_codes_is_refused_with_its_place(line, said, tmp_path):
    path = tmp_path / "m.toml"
    path.write_text(f'format = 1\ndisease = "mds"\n[fhir.codes]\n{line}\n')
    with pytest.raises(gw.CohortError) as caught:
        gw.Mapping.read(path)
    assert "fhir.codes.a|b" in str(caught.value) and said in str(caught.value)


# Last contact


def visit(day: str, subject: str = "Patient/1", status: str = "finished") -> dict:
    return {
        "resourceType": "Encounter",
        "status": status,
        "subject": {"reference": subject},
        "period": {"start": f"{day}T10:00:00+01:00"},
    }


@pytest.mark.parametrize(
    "patient,resources,contact",
    [
        ({}, [visit("2023-05-04"), visit("2022-01-01")], "2023-05-04"),
        ({}, [visit("2023-05-04"), visit("2024-01-01", status="planned")], "2023-05-04"),
        ({}, [lab("718-7", 9, day="2021-02-03")], "2021-02-03"),
        ({}, [seen((LOINC, "2085-9"), day="2021-02-03", valueString="unread")], "2021-02-03"),
        ({}, [visit("2019-01-01")], "2020-05-01"),  # not before the diagnosis
        ({}, [lab("718-7", 9)], None),  # nothing is dated
        (
            {"deceasedDateTime": "2021-07-01"},
            [visit("2021-09-01")],
            None,
        ),  # a report after the death
        ({"deceasedBoolean": True}, [visit("2021-06-01")], "2021-06-01"),
        (
            {},
            [
                visit("2023-05-04"),
                seen(
                    ("urn:genomed-workbench:mds", "last_contact_date"), valueDateTime="2022-02-02"
                ),
            ],
            "2022-02-02",
        ),
    ],
)
def test_the_last_contact_is_derived_where_nothing_tells_it(patient, resources, contact, tmp_path):
    "Oracle: the days written in the resources, by hand."
    path = bundle_of(tmp_path, *resources, patient=patient)
    records, told = read_fhir(path, "mds"), contact not in (None, "2022-02-02")
    row = records.canonical().frame.iloc[0]
    assert (
        row["last_contact_date"] == pd.Timestamp(contact)
        if contact
        else "last_contact_date" not in row
    )
    assert (
        any(
            "is derived (last_contact_date) for 1 of 1 patients" in choice
            for choice in records.derived
        )
        == told
    )
    alive = told and "deceasedBoolean" not in patient
    assert any("count as alive" in choice for choice in records.derived) == alive


def test_survivors_stay_in_the_cohort(tmp_path):
    "Half of 20 die a year after the diagnosis, the others were seen in the third year."
    codes = {f"p{k}": concept((SNOMED, "91861009")) for k in range(20)}
    visits = [visit("2023-05-01", f"Patient/p{k}") for k in range(20)]
    labs = [
        lab("718-7", 8 + k / 10, day="2020-05-02") | {"subject": {"reference": f"Patient/p{k}"}}
        for k in range(20)
    ]
    path = people_of(tmp_path, codes, *visits, *labs)
    bundle = json.loads(path.read_text())
    for entry in bundle["entry"]:
        one = entry["resource"]
        if one["resourceType"] == "Patient" and int(one["id"][1:]) % 2:
            one["deceasedDateTime"] = "2021-05-01T08:00:00+01:00"
    path.write_text(json.dumps(bundle))
    cohort = gw.read_hospital(path, "aml")
    assert cohort.n == 20 and cohort.n_events == 10
    assert set(np.round(cohort.time, 2)) == {1.0, 3.0}
    assert any("derived" in note for note in cohort.notes)
    found = gw.check_readiness(path, "aml")
    assert any(
        one.kind == "reader-choice" and "for 10 of 20 patients" in one.found
        for one in found.all_findings
    )


# What cannot be read is set aside, and the rest is read


def test_a_resource_that_is_not_used_is_not_checked(tmp_path):
    odd = {"resourceType": "Encounter", "status": "finished", "class": 7, "period": "yesterday"}
    broken = {"resourceType": "CarePlan", "intent": 5}
    unknown = seen((LOINC, "2085-9"), valueQuantity={"value": "fifty"}, foo=1)
    records = read_fhir(bundle_of(tmp_path, odd, broken, unknown, lab("718-7", 9)), "mds")
    assert records.canonical().frame.hemoglobin.tolist() == [9.0] and not records.problems


ASIDE = [
    (lab("777-3", 9.7, None), "valueQuantity.unit", "a unit of Platelets"),
    (lab("777-3", 5, "10*9/L") | {"subject": {"reference": "Patient/9"}}, "subject", "a Patient"),
    (lab("777-3", 5, "10*9/L") | {"status": 5}, "status", "string"),
    ({"resourceType": "Patient", "id": "7", "birthDate": "1.2.1950"}, "birthDate", "2020-03-02"),
]


@pytest.mark.parametrize("resource,element,expected", ASIDE)
def test_one_bad_resource_does_not_refuse_the_rest(resource, element, expected, tmp_path):
    path = bundle_of(tmp_path, lab("718-7", 9), resource)
    records = read_fhir(path, "mds")
    [problem] = records.problems
    assert (
        problem.column.startswith(f"entry[3].resource.{element}") and expected in problem.expected
    )
    assert records.canonical(strict=False).frame.hemoglobin.tolist() == [9.0]
    with pytest.raises(gw.CohortError, match="leave_out_faulty"):
        records.canonical()
    [finding] = [
        one for one in gw.check_readiness(path, "mds").all_findings if one.kind == "set-aside"
    ]
    assert "entry[3]" in finding.place and "Patient/9" not in str(finding)
    mapping = tmp_path / "m.toml"
    mapping.write_text('format = 1\ndisease = "mds"\n[fhir]\nleave_out_faulty = true\n')
    went_on = gw.read_records(path, "mds", mapping=mapping)
    assert went_on.canonical().frame.hemoglobin.tolist() == [9.0] and not went_on.problems
    assert any("left out as the mapping says: 1" in choice for choice in went_on.derived)


def test_faults_of_patients_without_the_disease_are_none_of_ours(tmp_path):
    codes = {"a": concept((ICD10, "C92.0")), "b": concept((ICD10, "I10"))}
    odd = seen((LOINC, "718-7"), "Patient/b", valueQuantity={"value": 9})
    assert read_fhir(people_of(tmp_path, codes, odd), "aml").problems == []


def test_what_belongs_to_a_patient_who_cannot_be_read_is_counted_once(tmp_path):
    odd = {"resourceType": "Patient", "id": "7", "birthDate": "1.2.1950"}
    labs = [lab("718-7", 9) | {"subject": {"reference": "Patient/7"}} for _ in range(5)]
    records = read_fhir(bundle_of(tmp_path, odd, *labs), "mds")
    assert len(records.problems) == 1
    assert any(note.startswith("5 x") and "cannot be read" in note for note in records.notes)


def test_a_score_is_not_computed_beside_a_fault_that_it_needs(tmp_path):
    odd = lab("777-3", 100, None)
    path = bundle_of(tmp_path, lab("718-7", 9), odd)
    with pytest.raises(gw.CohortError, match="a unit of Platelets"):
        gw.score(path, "ipss-r")


def test_a_panel_is_read_by_its_components(tmp_path):
    parts = [
        {
            "code": concept((LOINC, code)),
            "valueQuantity": {"value": value, "unit": "mm[Hg]", "code": "mm[Hg]"},
        }
        for code, value in (("8462-4", 70), ("8480-6", 118))
    ]
    path = bundle_of(
        tmp_path,
        seen((LOINC, "85354-9"), day="2020-05-02", component=parts),
        disease={"code": concept((ICD10, "D57.1"))},
    )
    assert row_of(path, "scd")["systolic_pressure"] == 118


def test_a_patient_told_twice_in_the_same_words_is_one_patient(tmp_path):
    path = bundle_of(tmp_path, {"resourceType": "Patient", "id": "1", "gender": "male"})
    records = read_fhir(path, "mds")
    assert records.n == 1 and not records.problems
    assert any("twice, word for word" in note for note in records.notes)


def test_of_several_days_of_the_diagnosis_the_earliest_counts(tmp_path):
    later = {
        "resourceType": "Condition",
        "subject": {"reference": "Patient/1"},
        "code": concept((ICD10, "D46.2")),
        "onsetDateTime": "2022-01-01",
    }
    records = read_fhir(bundle_of(tmp_path, later), "mds")
    assert records.raw["diagnosis_date"].tolist() == ["2020-05-01"]
    assert any(note.startswith("diagnosis_date: 1 further") for note in records.notes)


# Bulk Data, folders, bundles of bundles


def in_bundle(*resources) -> dict:
    entries = [{"resource": one} for one in resources]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def resources_of(path: Path) -> list[dict]:
    return [entry["resource"] for entry in json.loads(path.read_text())["entry"]]


def as_bulk(folder: Path, resources: list[dict]) -> Path:
    for one in resources:
        with open(folder / f"{one['resourceType']}.ndjson", "a") as file:
            file.write(f"{json.dumps(one)}\n")
    return folder


def as_bundle_a_patient(folder: Path, resources: list[dict]) -> Path:
    for one in [r for r in resources if r["resourceType"] == "Patient"]:
        about = {"reference": f"urn:uuid:{one['id']}"}
        own = [one, *(r for r in resources if r.get("subject") == about)]
        (folder / f"{one['id']}.json").write_text(json.dumps(in_bundle(*own)))
    (folder / "hospitalInformation.json").write_text(
        json.dumps(in_bundle({"resourceType": "Organization", "name": "South"}))
    )
    return folder


def as_bundle_of_bundles(folder: Path, resources: list[dict]) -> Path:
    (folder / "all.json").write_text(json.dumps(in_bundle(*(in_bundle(r) for r in resources))))
    return folder / "all.json"


def as_bundles_a_line(folder: Path, resources: list[dict]) -> Path:
    lines = [json.dumps(in_bundle(one)) for one in resources]
    (folder / "all.ndjson").write_text("\n".join(lines))
    return folder / "all.ndjson"


def as_lines_named_json(folder: Path, resources: list[dict]) -> Path:
    (folder / "all.json").write_text("\n".join(map(json.dumps, resources)))
    return folder / "all.json"


@pytest.mark.parametrize(
    "form",
    [as_bulk, as_bundle_a_patient, as_bundle_of_bundles, as_bundles_a_line, as_lines_named_json],
)
def test_every_form_of_an_export_gives_the_same_patients(form, tmp_path):
    "Oracle: the frame that went in."
    frame = random_frame("aml", 15, seed=2)
    resources = resources_of(write_fhir(frame, tmp_path / "b.json", "aml"))
    folder = tmp_path / "export"
    folder.mkdir()
    records = gw.read_records(form(folder, resources), "aml")
    assert records.kind == "fhir" and records.problems == []
    found = records.canonical().frame
    assert sorted(found.index) == sorted(frame.index)
    assert differences(found.loc[frame.index], frame, "aml") == []


def test_a_broken_line_is_told_with_its_file_and_the_rest_is_read(tmp_path):
    frame = random_frame("mds", 9, seed=4)
    as_bulk(tmp_path, resources_of(write_fhir(frame, tmp_path / "b.json", "mds")))
    (tmp_path / "b.json").unlink()
    with open(tmp_path / "Observation.ndjson", "ab") as file:
        file.write(b'{"resourceType": "Observa\n\xff\xfe\n')
    records = gw.read_records(tmp_path, "mds")
    assert [one.column.split(": ")[0] for one in records.problems] == ["Observation.ndjson"] * 2
    assert len(records.canonical(strict=False).frame) == 9


def test_a_folder_without_any_of_it_says_what_is_expected(tmp_path):
    (tmp_path / "readme.txt").write_text("nothing")
    with pytest.raises(gw.CohortError, match="FHIR as .ndjson or .json"):
        gw.read_records(tmp_path, "mds")


# Another release, and XML

OLD = {
    "DSTU2": {"patient": {"reference": "Patient/1"}, "clinicalStatus": "active"},
    "STU3": {"assertedDate": "2020-01-01", "clinicalStatus": "active"},
}


@pytest.mark.parametrize("release", OLD)
def test_an_older_release_is_called_by_its_name(release, tmp_path):
    path = bundle_of(tmp_path, lab("718-7", 9), disease=OLD[release])
    if release == "DSTU2":
        bundle = json.loads(path.read_text())
        del bundle["entry"][1]["resource"]["subject"]
        path.write_text(json.dumps(bundle))
    with pytest.raises(gw.CohortError) as caught:
        read_fhir(path, "mds")
    assert f"FHIR {release}" in str(caught.value) and "Ask for an export in R4" in str(caught.value)


def test_xml_is_called_by_its_name(tmp_path):
    path = tmp_path / "export.xml"
    path.write_text('<?xml version="1.0"?><Bundle xmlns="http://hl7.org/fhir"></Bundle>')
    with pytest.raises(gw.CohortError, match="FHIR in XML is not read, ask for JSON"):
        gw.read_records(path, "mds")


@pytest.mark.parametrize(
    "resource,said",
    [
        (lab("718-7", 9, day="2.3.2020"), "a time with its zone such as 2020-03-02T08:15:00+01:00"),
        (
            {"resourceType": "Patient", "id": "7", "birthDate": "1.2.50"},
            "a date such as 2020-03-02",
        ),
        (lab("718-7", 9) | {"subject": "Patient/1"}, "an object with its elements"),
    ],
)
def test_what_the_models_say_is_put_into_words(resource, said, tmp_path):
    assert said in str(refused(bundle_of(tmp_path, resource)))


def test_one_page_of_a_search_is_not_taken_for_the_hospital(tmp_path):
    "FHIR R4, 3.1.1.4 Paging: a link `next` says that more entries follow."
    path = bundle_of(tmp_path, lab("718-7", 9))
    page = json.loads(path.read_text()) | {
        "type": "searchset",
        "total": 500,
        "link": [{"relation": "next", "url": "http://hospital.example/fhir?page=2"}],
    }
    path.write_text(json.dumps(page))
    [told] = [
        one for one in gw.check_readiness(path, "mds").all_findings if one.kind == "set-aside"
    ]
    assert "the whole answer" in told.what and told.severity == "mend"
    with pytest.raises(gw.CohortError, match="one page of a search with 500 matches"):
        gw.read_hospital(path, "mds")


# From a bulk export of Synthea to a federated run


def test_a_bulk_export_of_synthea_runs_after_three_decisions(tmp_path):
    """Oracle: the patients that the generator drew, value by value; and lifelines, fitted to one table of all
    training rows with a stratum for each hospital (to 1e-6).
    """
    from lifelines import CoxPHFitter
    from typer.testing import CliRunner

    from genomed_workbench.cli.app import app

    folder, truth = synthea_bulk(tmp_path / "fhir")
    lacking = CliRunner().invoke(app, ["check", str(folder)])
    assert lacking.exit_code == 2 and "--disease" in lacking.output
    decisions = [["--disease", "aml"]]  # which of the diseases
    check = CliRunner().invoke(app, ["check", str(folder), *decisions[0]])
    assert check.exit_code == 1 and "90 of 250 patients" in check.output
    assert "for 73 of 160 patients" in check.output and "gene panel is missing" in check.output
    decisions.append(["--needs", "age,sex,hemoglobin,platelets,white_cells,ldh"])  # without genes
    check = CliRunner().invoke(app, ["check", str(folder), *decisions[0], *decisions[1]])
    assert check.exit_code == 0 and "Ready." in check.output
    proposed = CliRunner().invoke(app, ["map", str(folder), *decisions[0]])
    assert proposed.exit_code == 0 and "10 sure, 0 to look at" in proposed.output

    found = gw.read_records(folder, "aml").canonical().frame.loc[truth.index]
    for name in ("age", "sex", "hemoglobin", "platelets", "white_cells", "ldh", "diagnosis_date"):
        assert found[name].tolist() == truth[name].tolist(), name
    cohort = gw.read_hospital(folder, "aml")
    assert cohort.n == len(truth) and cohort.n_events == truth["death"].sum()
    np.testing.assert_allclose(np.sort(cohort.time), np.sort(truth["os_years"]), atol=1e-9)

    with pytest.raises(ValueError, match="site"):
        gw.Federation.by_site(cohort)
    decisions.append([100, 60])  # who plays the hospitals
    federation = gw.Federation.split(cohort, decisions[2], 0.2, seed=0)
    run = gw.federate(federation, gw.CoxPH(penalty=0.0), progress=False)
    asked = ["--test-share", "0.2", "--penalty", "0", "--repeats", "0", "--json"]
    ran = CliRunner().invoke(
        app,
        ["run", str(folder), *decisions[0], "--shares", "100,60", *asked],
    )
    told = json.loads(ran.stdout)
    assert told["n"] == cohort.n and told["coefficients"] == pytest.approx(
        run.learner.coefficients["coef"].to_dict(), abs=1e-9
    )
    rows = {site: one.train_rows for site, one in federation.sites.items()}
    table = pd.concat(
        cohort.X.iloc[at].assign(site=site, t=cohort.time[at], e=cohort.event[at])
        for site, at in rows.items()
    )
    table["sex"] = (table["sex"] == "female").astype(float)
    expected = CoxPHFitter().fit(table, "t", "e", strata=["site"], fit_options={"precision": 1e-12})
    ours = run.learner.coefficients["coef"].rename({"sex=female": "sex"})
    assert run.converged and len(decisions) <= 3
    np.testing.assert_allclose(ours[expected.params_.index], expected.params_, atol=1e-6)
