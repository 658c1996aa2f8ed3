"""Do the hospitals' tables fit together: planted differences are found, alike hospitals give no
alarm, and nothing finer than a group of patients leaves.

Oracles: the patients themselves, counted with numpy; the release, asked again after one patient was
changed; splits of one cohort at random.
"""

import itertools
import json
import warnings

import numpy as np
import pandas as pd
import pytest
from conftest import MEASURED, as_cohort, outcome
from flwr.app import ConfigRecord, Message, RecordDict

import genomed_workbench as gw
from genomed_workbench.analytics import harmony as harmony_module
from genomed_workbench.analytics.counts import (
    NUMBER_CELLS,
    cell_of,
    common_names,
    group_counts,
    lower_edge,
    told_received,
)
from genomed_workbench.analytics.harmony import VERDICTS
from genomed_workbench.federation.app import client_app
from genomed_workbench.federation.engines import InProcessGrid, Recorder, task_identity
from genomed_workbench.learners.newton import from_record, to_record
from genomed_workbench.protection.release import check_min_cell
from genomed_workbench.statistics.groups import groups

LEAST = 5


def frame_of(n: int, seed: int = 0) -> pd.DataFrame:
    """Virtual patients: numbers of several shapes, rounded as hospitals round, with missing values,
    mutations and categories.
    """
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "age": rng.normal(70, 10, n).round(),
            "hemoglobin": rng.normal(9.7, 2, n).clip(4).round(1),
            "ferritin": np.where(rng.random(n) < 0.3, np.nan, rng.lognormal(6, 1, n).round()),
            "creatinine": rng.lognormal(0, 0.35, n).round(2),
            "marrow_blasts": np.where(
                rng.random(n) < 0.02, np.nan, rng.choice([0, 0, 1, 2, 3, 5, 8, 15.0], n)
            ),
            "deprivation": rng.normal(0, 3, n).round(2),
            "SF3B1": rng.binomial(1, 0.24, n).astype(float),
            "NPM1": rng.binomial(1, 0.03, n).astype(float),
            "ecog": rng.choice([0, 1, 2, 3.0], n, p=[0.4, 0.4, 0.15, 0.05]),
            "sex": rng.choice(["female", "male"], n),
            "who_class": rng.choice(list("ABCDEFG"), n, p=[0.3, 0.3, 0.2, 0.1, 0.05, 0.04, 0.01]),
        }
    )


def cohort_of_frame(frame: pd.DataFrame, site=None, disease: str = "") -> gw.Cohort:
    rng = np.random.default_rng(len(frame))
    cohort = as_cohort(
        frame, outcome(rng.exponential(3, len(frame)) + 0.01, rng.random(len(frame)) < 0.5), site
    )
    return (
        cohort
        if not disease
        else gw.Cohort(
            **{
                **{
                    k: getattr(cohort, k)
                    for k in ("frame", "outcome", "features", "site", "name", "virtual")
                },
                "disease": disease,
            }
        )
    )


def looked(cohort: gw.Cohort, **options) -> harmony_module.Harmony:
    return gw.Federation.by_site(
        cohort, small="keep", test_share=options.pop("test_share", 0.0)
    ).harmony(progress=False, **options)


def verdicts(fit) -> dict[tuple[str, str], str]:
    return {(f.variable, f.site): f.verdict for f in fit.findings.itertuples()}


# Cells and groups


def test_cells_are_where_the_logarithm_says():
    values = np.concatenate(
        [
            10 ** np.random.default_rng(0).uniform(-3.9, 7.9, 500),
            -(10 ** np.random.default_rng(1).uniform(-3.9, 7.9, 500)),
            [0.0],
        ]
    )
    cells = cell_of(values)
    assert (lower_edge(cells) <= values * (1 + 1e-12) + (values < 0) * 1e-12).all() and (
        values <= lower_edge(cells + 1) * (1 + 1e-12) + 1e-12
    ).all()
    assert (
        (np.diff(cells[np.argsort(values)]) >= 0).all()
        and cells.min() >= 1
        and cells.max() < NUMBER_CELLS
    )
    assert cell_of([np.nan, 1e300, -1e300, np.inf]).tolist() == [
        0,
        NUMBER_CELLS - 1,
        1,
        NUMBER_CELLS - 1,
    ]
    assert (cell_of(np.array([9.7, 0.31]) * 10) - cell_of([9.7, 0.31]) == 32).all()


def gathered(counts, least: int) -> list[int]:
    "Groups of one row of counts, in plain Python: collect from the left; what is left over joins the last group."
    ids, total, now = [], 0, 0
    cells = [i for i, c in enumerate(counts) if c]
    for i in cells:
        if total >= least:
            now, total = now + 1, 0
        total += counts[i]
        ids.append(now)
    last = now - 1 if total < least and now else now
    ids = [min(i, last) for i in ids]
    return [
        next((ids[k] for k, cell in enumerate(cells) if cell >= i), last)
        for i in range(len(counts))
    ]


@pytest.mark.parametrize("least", [3, 5, 8])
def test_groups_are_gathered_from_the_left(least):
    rng = np.random.default_rng(least)
    for rate in (0.3, 2, 9):
        counts = rng.poisson(rate, (200, 17))
        assert groups(counts, least).tolist() == [gathered(row, least) for row in counts.tolist()]


@pytest.mark.parametrize("least,most", [(3, 15), (4, 15), (5, 16), (6, 17)])
def test_no_small_count_can_be_worked_out(least, most):
    """All ways in which up to `most` patients lie in four cells: no answer is compatible with one
    single small count of a cell.
    """
    ways: dict[tuple, list] = {}
    everything = np.array(
        [c for c in itertools.product(range(most + 1), repeat=4) if least <= sum(c) <= most]
    )
    for counts, ids in zip(everything, groups(everything, least)):
        ways.setdefault((*ids, *np.bincount(ids, weights=counts)), []).append(counts)
    given_away = [
        k
        for k, v in ((k, np.array(v)) for k, v in ways.items())
        if ((v == v[0]).all(axis=0) & (v[0] > 0) & (v[0] < least)).any()
    ]
    assert len(ways) > 60 and given_away == []


# What leaves


def answers_of(
    frame: pd.DataFrame, least: int = LEAST, names: dict | None = None
) -> tuple[dict, dict, dict]:
    "What a site with these patients answers to both questions: names, records, and what it says stands behind them."
    site = gw.Site(
        "A", cohort_of_frame(frame), np.arange(0, len(frame), 2), np.arange(1, len(frame), 2), 0
    )
    app = client_app(gw.CoxPH(), lambda context: site, harmony_module.QUERIES)
    with task_identity():
        recorder = Recorder(
            InProcessGrid(app, 1), ["A"], harmony_module.DECLARED | harmony_module.COUNTED
        )
        first = recorder.ask("query.names", {}, columns=json.dumps(list(frame)), min_cell=least)[
            0
        ].content
        said = json.loads(first["config"]["levels"])
        asked = names or {
            c: (v if frame[c].dtype.kind not in "biuf" else v or None) for c, v in said.items()
        }
        second = recorder.ask("query.counts", {}, columns=json.dumps(asked), min_cell=least)[
            0
        ].content
    return (
        said,
        from_record(second["arrays"]),
        {"names": first["metrics"]["behind"], "counts": second["metrics"]["behind"]},
    )


def cells_of(values: pd.Series, names: list | None) -> np.ndarray:
    """Cells of a column, made here: unknown 0, other names 1, then the names; numbers by `cell_of`,
    which is tested above.
    """
    if names is None:
        return cell_of(values)
    return np.array(
        [
            0
            if pd.isna(v)
            else names.index(w) + 2
            if (w := f"{v:g}" if isinstance(v, float) else v) in names
            else 1
            for v in values
        ]
    )


@pytest.mark.parametrize("n,seed", [(6, 0), (12, 1), (40, 2), (300, 3)])
def test_every_number_that_leaves_counts_enough_patients(n, seed):
    "Patients are counted here, with numpy, between the borders that the site released."
    frame = frame_of(n, seed)
    said, arrays, behind = answers_of(frame)
    names = {c: (v if frame[c].dtype.kind not in "biuf" else v or None) for c, v in said.items()}
    for column, told in zip(frame, told_received(arrays)):
        known = int(frame[column].notna().sum())
        assert (len(told.counts) == 0) == (known < LEAST)
        if len(told.counts):
            cells = cells_of(frame[column], names[column])
            counted = [
                ((cells >= lo) & (cells < hi)).sum()
                for lo, hi in zip(told.starts, [*told.starts[1:], 10**6])
            ]
            assert counted == told.counts.tolist() and min(counted) >= LEAST and sum(counted) == n
        for name in said[column] or ():
            assert (
                sum(f"{v:g}" == name if isinstance(v, float) else v == name for v in frame[column])
                >= LEAST
            )
    assert min(behind["counts"]) == min([n, *arrays["patients"].astype(int)]) >= LEAST and set(
        behind["names"]
    ) == {LEAST}


@pytest.mark.parametrize("n,seed", [(12, 1), (30, 4)])
def test_no_number_hangs_on_a_few_patients(n, seed):
    """Leave patients out one by one and ask again: every number that somebody can change, at least as
    many patients can change as are said to stand behind it.
    """
    frame = frame_of(n, seed)[["age", "hemoglobin", "ferritin", "SF3B1", "sex"]]
    said, before, behind = answers_of(frame)
    names = {c: (v if frame[c].dtype.kind not in "biuf" else v or None) for c, v in said.items()}
    touched = {k: np.zeros(v.size, int) for k, v in before.items()}
    for i in range(n):
        _, after, _ = answers_of(frame.drop(index=i).reset_index(drop=True), names=names)
        for k, v in before.items():
            a, b = v.ravel(), after[k].ravel()
            touched[k] += np.ones(a.size, int) if a.size != b.size else (a != b)
    for k, patients in zip(before, behind["counts"]):
        assert (touched[k][touched[k] > 0] >= patients).all() and patients >= LEAST, k
    assert (touched["patients"] > 0).mean() > 0.8


def test_no_value_of_a_patient_leaves():
    frame = frame_of(200, 5)[
        ["hemoglobin", "creatinine", "deprivation"]
    ] + 1e-7 * np.random.default_rng(0).random((200, 3))
    _, arrays, _ = answers_of(frame)
    numbers = np.concatenate([v.ravel() for v in arrays.values()])
    assert (numbers == np.round(numbers)).all() and not np.isin(
        frame.to_numpy().ravel(), numbers
    ).any()


def test_a_name_of_one_patient_stays_inside():
    frame = frame_of(60, 6).assign(
        sex=lambda f: ["female"] * 30 + ["male"] * 29 + ["see letter of Dr. A."]
    )
    said, _, _ = answers_of(frame)
    assert said["sex"] == ["female", "male"] and common_names(frame.sex, 60) == []


def test_a_site_with_fewer_rows_than_a_group_says_nothing():
    said, arrays, _ = answers_of(frame_of(4))
    assert (
        not any(said.values())
        and arrays["patients"].size == arrays["starts"].size == 0
        and not arrays["groups"].any()
    )
    frame = frame_of(64).assign(site=["A"] * 30 + ["B"] * 30 + ["C"] * 4)
    fit = looked(cohort_of_frame(frame.drop(columns="site"), frame.site))
    assert (fit.table[fit.table.site == "C"].verdict == "too few to tell").all() and (
        fit.table[fit.table.site == "C"].n == 0
    ).all()


@pytest.mark.parametrize("least", [0, 1, 2, -5])
def test_a_site_forms_no_smaller_groups_than_its_own_floor(least):
    with pytest.raises(gw.DisclosureError, match="no fewer than 3"):
        check_min_cell(least)
    with pytest.raises((gw.DisclosureError, gw.SiteError), match="no fewer than 3"):
        answers_of(frame_of(30), least)


@pytest.mark.parametrize("second", [{"min_cell": 6}, {"columns": json.dumps({"age": ["70"]})}])
def test_a_site_does_not_count_its_patients_twice_in_other_groups(second):
    site = gw.Site("A", cohort_of_frame(frame_of(40)), np.arange(40), np.arange(0), 0)
    grid = InProcessGrid(client_app(gw.CoxPH(), lambda context: site, harmony_module.QUERIES), 1)

    def ask(**config):
        content = RecordDict({"arrays": to_record({}), "config": ConfigRecord(config)})
        return next(
            iter(
                grid.send_and_receive(
                    [Message(content, message_type="query.counts", dst_node_id=2)]
                )
            )
        )

    first = {"columns": json.dumps({"age": None}), "min_cell": 5}
    with task_identity():
        assert not ask(**first).has_error() and not ask(**first).has_error()
        assert "so only the first is given" in ask(**(first | second)).error.reason


def test_the_books_say_what_left():
    fit = looked(cohort_of_frame(frame_of(300), np.repeat(["A", "B", "C"], 100)))
    books = fit.disclosed.set_index("name")
    assert set(books.index) == {
        "levels",
        "starts",
        "patients",
        "groups",
        "num-examples",
        "site",
        "seconds",
        "behind",
    }
    assert (
        books.fewest_patients.dropna().min() >= LEAST
        and (books.loc[["levels", "starts", "patients", "groups"], "times"] == 3).all()
        and "fewer" in books.loc["patients", "what"]
    )


# What is found


def planted(seed: int, sites: int = 4, n: int = 1000) -> tuple[pd.DataFrame, np.ndarray, list[str]]:
    names = [f"H{i}" for i in range(sites)]
    return frame_of(n, seed), np.random.default_rng(seed).choice(names, n), names


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "variable,factor,said",
    [
        ("hemoglobin", 10, "g/L"),
        ("hemoglobin", 0.6206, "mmol/L"),
        ("creatinine", 88.42, "umol/L"),
        ("ferritin", 0.001, "1,000 times too small"),
    ],
)
def test_another_unit_is_found_and_named(variable, factor, said, seed):
    frame, site, _ = planted(seed)
    frame.loc[site == "H2", variable] *= factor
    disease = (
        "Multiple myeloma"
        if variable == "creatinine"
        else "Myelodysplastic syndromes"
        if variable == "hemoglobin"
        else ""
    )
    fit = looked(cohort_of_frame(frame, site, disease))
    assert verdicts(fit) == {(variable, "H2"): "another unit"}
    assert said in fit.findings.why.iloc[0]


@pytest.mark.parametrize("seed", range(3))
def test_with_two_hospitals_the_plausible_range_says_whose_unit_it_is(seed):
    frame, site, _ = planted(seed, sites=2, n=400)
    frame.loc[site == "H0", "hemoglobin"] *= 10
    assert verdicts(looked(cohort_of_frame(frame, site, "mds"))) == {
        ("hemoglobin", "H0"): "another unit",
        ("hemoglobin", "H1"): "differs",
    }


@pytest.mark.parametrize("seed", range(3))
def test_a_panel_that_a_hospital_lacks(seed):
    frame, site, _ = planted(seed)
    few = np.flatnonzero(site == "H1")
    frame.loc[few, ["SF3B1", "NPM1", "ferritin"]] = np.nan
    frame.loc[few[:3], "ferritin"] = 300.0  # three patients do not make a panel
    assert verdicts(looked(cohort_of_frame(frame, site))) == {
        (v, "H1"): "lacks it" for v in ("SF3B1", "NPM1", "ferritin")
    }


@pytest.mark.parametrize("seed", range(3))
def test_more_missing_values_than_elsewhere(seed):
    frame, site, _ = planted(seed)
    frame.loc[
        (site == "H3") & (np.random.default_rng(seed).random(len(frame)) < 0.6), "creatinine"
    ] = np.nan
    fit = looked(cohort_of_frame(frame, site))
    assert verdicts(fit) == {("creatinine", "H3"): "missing more often"}
    truth = frame.groupby(site).creatinine.apply(lambda v: v.isna().mean())
    assert (
        fit.missing.loc["creatinine", "H3"] == truth["H3"]
        and fit.missing.loc["creatinine"].drop("H3").isna().all()
    )
    known = frame.groupby(site).ferritin.apply(lambda v: v.isna().mean())
    np.testing.assert_allclose(
        fit.missing.loc["ferritin"].to_numpy(float), known.to_numpy(), rtol=0, atol=0
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "variable,codes",
    [
        ("sex", {"female": "F", "male": "M"}),
        ("sex", {"female": "2", "male": "1"}),
        ("SF3B1", {0.0: 1.0, 1.0: 2.0}),
        ("ecog", {0.0: 10.0, 1.0: 11.0, 2.0: 12.0, 3.0: 13.0}),
    ],
)
def test_other_codes_are_found(variable, codes, seed):
    frame, site, _ = planted(seed)
    frame[variable] = frame[variable].where(site != "H0", frame[variable].map(codes))
    fit = looked(cohort_of_frame(frame, site))
    assert verdicts(fit) == {(variable, "H0"): "coded otherwise"}
    own = {
        str(new) if isinstance(new, str) else f"{new:g}"
        for old, new in codes.items()
        if new not in codes
    }
    told = set(fit.findings.why.iloc[0].split(": ")[-1].split(", "))
    assert told <= own and told & own


@pytest.mark.parametrize("seed", range(3))
def test_another_mix_of_patients(seed):
    frame, site, _ = planted(seed)
    frame.loc[site == "H1", "age"] += 12
    frame.loc[site == "H2", "SF3B1"] = (
        np.random.default_rng(seed).random((site == "H2").sum()) < 0.7
    ).astype(float)
    assert verdicts(looked(cohort_of_frame(frame, site))) == {
        ("age", "H1"): "differs",
        ("SF3B1", "H2"): "differs",
    }


def test_everyone_with_the_same_value_is_found_although_there_is_one_group_only():
    frame, site, _ = planted(0)
    frame.loc[site == "H3", "sex"] = "male"
    fit = looked(cohort_of_frame(frame, site))
    assert verdicts(fit) == {("sex", "H3"): "differs"} and "same value" in fit.findings.why.iloc[0]


def test_one_hospital_of_three_is_named_and_the_others_are_not():
    frame, site, _ = planted(7, sites=3)
    frame.loc[site == "H0", "hemoglobin"] *= 10
    frame.loc[site == "H1", "age"] -= 15
    assert verdicts(looked(cohort_of_frame(frame, site, "mds"))) == {
        ("hemoglobin", "H0"): "another unit",
        ("age", "H1"): "differs",
    }


# What is not found


@pytest.mark.full
@pytest.mark.slow
def test_alike_hospitals_give_no_alarm():
    """200 random splits of one cohort into hospitals of 480 to 96 patients, eleven variables each: an
    alarm anywhere in at most one table in twenty.
    """
    cohort, alarms, p = cohort_of_frame(frame_of(1200, 3)), 0, []
    for seed in range(200):
        fit = gw.Federation.split(cohort, (40, 25, 15, 12, 8), seed=seed).harmony(
            progress=False, seed=seed
        )
        alarms += len(fit.findings) > 0
        p += list(fit.table.p.dropna())
    MEASURED["harmony: tables of alike hospitals with an alarm, of 200"] = alarms
    MEASURED["harmony: share of p-values below .05 where nothing differs"] = float(
        np.mean(np.array(p) < 0.05)
    )
    MEASURED["harmony: share of p-values below .001 where nothing differs"] = float(
        np.mean(np.array(p) < 0.001)
    )
    assert (
        alarms <= 10 and np.mean(np.array(p) < 0.05) < 0.08 and np.mean(np.array(p) < 0.001) < 0.005
    )


@pytest.mark.full
@pytest.mark.slow
def test_small_alike_hospitals_give_no_alarm_either():
    cohort = cohort_of_frame(frame_of(900, 4))
    alarms = sum(
        len(gw.Federation.split(cohort, 20, seed=seed).harmony(progress=False, seed=seed).findings)
        > 0
        for seed in range(40)
    )
    MEASURED["harmony: tables of 20 small alike hospitals with an alarm, of 40"] = alarms
    assert alarms <= 2


# Engines, cohorts, shape of the answer


@pytest.mark.ray
@pytest.mark.slow
def test_engines_agree(kept_ray):
    frame, site, _ = planted(1)
    frame.loc[site == "H2", "hemoglobin"] *= 10
    cohort = cohort_of_frame(frame, site, "mds")
    here, there = looked(cohort), looked(cohort, engine="ray")
    pd.testing.assert_frame_equal(here.table, there.table, check_exact=True)
    pd.testing.assert_frame_equal(here.disclosed, there.disclosed)


def test_the_answer_is_the_same_each_time_and_counts_all_rows():
    frame, site, _ = planted(2)
    cohort = cohort_of_frame(frame, site)
    one, again, all_train = (
        looked(cohort, test_share=0.3),
        looked(cohort, test_share=0.3),
        looked(cohort),
    )
    pd.testing.assert_frame_equal(one.table, again.table, check_exact=True)
    pd.testing.assert_frame_equal(one.table, all_train.table, check_exact=True)
    assert one.table.groupby("site").n.first().sum() == len(frame)


def test_real_hospitals(cohort_of):
    fit = looked(cohort_of("leukemia-nw-england"))
    assert (
        fit.verdicts.shape == (4, 24)
        and set(fit.findings.verdict) <= {"differs"}
        and fit.disclosed.fewest_patients.dropna().min() >= LEAST
    )
    assert not (fit.verdicts.loc[["age", "sex", "wbc"]] == "differs").any(axis=None)


def test_virtual_hospitals():
    if "virtual-mds" not in set(gw.cohorts().index) | set(gw.cohorts().get("name", ())):
        pytest.skip("virtual-mds is not among the cohorts")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cohort = gw.load_cohort("virtual-mds", n=2000, seed=0, hospitals=5)
    truth = cohort.frame.groupby(cohort.sites)[list(cohort.features)].apply(
        lambda f: f.notna().sum() < LEAST
    )
    found = (looked(cohort).verdicts == "lacks it").T
    pd.testing.assert_frame_equal(found.loc[truth.index, truth.columns], truth, check_names=False)
    assert truth.to_numpy().any()


def test_the_picture_has_its_words():
    frame, site, _ = planted(0)
    frame.loc[site == "H2", "hemoglobin"] *= 10
    picture = looked(cohort_of_frame(frame, site, "mds")).plot()
    ax = picture.figure.axes[0]
    assert (
        "hemoglobin at H2: another unit (as if in g/L" in picture.alt
        and ax.get_xlabel()
        and ax.get_ylabel()
        and ax.get_title()
    )
    marks = [t.get_text() for t in ax.texts]
    assert marks.count(VERDICTS["another unit"][0]) == 1 and len(marks) == 4 * 11


def test_html_escapes_names():
    frame, site, _ = planted(0)
    frame.loc[site == "H2", "hemoglobin"] *= 10
    shown = looked(cohort_of_frame(frame, np.where(site == "H2", "<b>", site), "mds"))._repr_html_()
    assert "&lt;b&gt;" in shown and "<td><b></td>" not in shown


@pytest.mark.parametrize(
    "options,error,said",
    [
        ({"variables": ["nobody"]}, ValueError, "no column 'nobody'"),
        ({"variables": []}, ValueError, "at least one"),
        (
            {"variables": "age"},
            ValueError,
            r"variables='age': expected a list of columns, such as \['age'\]",
        ),
        ({"engine": "steam"}, gw.EngineError, "steam"),
        ({"min_cell": 2}, gw.DisclosureError, "no fewer"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_words(options, error, said):
    federation = gw.Federation.split(cohort_of_frame(frame_of(60)), 2)
    with pytest.raises(error, match=said):
        federation.harmony(progress=False, **options)


def test_told_groups_have_one_start_each():
    told = group_counts(pd.Series([1.0] * 7 + [2.0] * 5 + [np.nan] * 9), LEAST, ["1", "2"])
    assert told.starts.tolist() == [0, 1, 3] and told.counts.tolist() == [9, 7, 5]
