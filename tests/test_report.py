"""The report: one file that asks nobody for anything, reads well without a mouse, and holds the
numbers of the comparison.
"""

import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from flwr.serverapp.strategy import FedAvg

from genomed_workbench.analytics.federation import Federation
from genomed_workbench.analytics.validation import validate
from genomed_workbench.data.cohort import Cohort
from genomed_workbench.data.outcome import Binary, Survival
from genomed_workbench.evaluation.compare import compare
from genomed_workbench.evaluation.report import disclosed_in_words, without_few
from genomed_workbench.learners.catalogue import learner_of
from genomed_workbench.learners.cox import CoxPH
from genomed_workbench.learners.logistic import LogisticRegression
from genomed_workbench.named_cohorts.registry import load_cohort
from genomed_workbench.output.page import linked

HOSTILE = ["<script>alert(1)</script>", 'A" onmouseover="x', "B & C's <b>", "{{ 7*7 }}"]


class Page(HTMLParser):
    "Elements, texts and tables of a page."

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.tables: list[list[list[str]]] = []
        self.captions: list[str] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif tag == "caption":
            self.captions.append("")

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if "style" in self.open:
            return
        self.words.append(data)
        if "caption" in self.open:
            self.captions[-1] += data
        elif "td" in self.open or "th" in self.open:
            self.tables[-1][-1][-1] += data

    def table(self, caption: str) -> list[list[str]]:
        "The rows of the table whose caption begins so, without the header."
        return next(
            t for t, c in zip(self.tables, self.captions, strict=True) if c.startswith(caption)
        )[1:]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def patients(n: int = 240) -> pd.DataFrame:
    "Made-up patients of four hospitals with names that try to break the page."
    rng = np.random.default_rng(5)
    age, few = rng.normal(60, 10, n), np.arange(n) < 3
    death, lost = rng.exponential(3 * np.exp(-0.06 * (age - 60))), rng.uniform(1, 8, n)
    return pd.DataFrame(
        {
            "age": age,
            "few": few,
            "sex": rng.choice(["female", "male"], n),
            "<i>marker</i>": rng.normal(size=n),
            "site": rng.choice(HOSTILE, n),
            "years": np.minimum(death, lost) + 0.01,
            "died": death <= lost,
            "answer": death < 2,
        }
    )


@pytest.fixture(scope="module")
def comparison():
    cohort = Cohort.from_frame(
        patients(),
        Survival("years", "died"),
        site="site",
        features=["age", "few", "sex", "<i>marker</i>"],
        virtual=True,
        name="trial",
        title="<b>Trial</b> & co",
        citation="A & B. doi:10.1000/xyz-1.",
        source="<img src=x onerror=alert(1)>",
        notes=("3 rows <left> out",),
    )
    return compare(Federation.by_site(cohort, seed=2), CoxPH(), repeats=3, progress=False)


@pytest.fixture(scope="module")
def page(comparison, tmp_path_factory):
    path = comparison.report(tmp_path_factory.mktemp("report") / "deep" / "report.html")
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]
    return Page(path.read_text(encoding="utf-8"))


def test_nobody_is_asked_for_anything(page):
    for tag, attributes in page.elements:
        assert not {k for k in attributes if k.startswith("on")} and tag not in (
            "script",
            "link",
            "iframe",
            "object",
            "embed",
        )
        assert (
            attributes.get("src", "data:").startswith("data:image/png;base64,")
            or "src" not in attributes
        )
        if "href" in attributes:
            assert tag == "a" and attributes["href"].startswith("https://doi.org/10.")
    [policy] = [
        a["content"]
        for t, a in page.elements
        if t == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert "default-src 'none'" in policy


def test_hostile_names_are_only_text(page):
    assert (
        all(" ".join(name.split()) in page.text for name in HOSTILE)
        and "49" not in page.text.split("What each hospital gains")[0].split("Simulation")[0]
    )
    assert [row[0] for row in page.table("Hospitals")] == sorted(HOSTILE)
    assert (
        "<b>Trial</b> & co" in page.text
        and "<i>marker</i>" in page.text
        and "3 rows <left> out" in page.text
        and "<img src=x" in page.text
    )


def test_it_reads_without_eyes(page):
    tags = [tag for tag, _ in page.elements]
    assert ("html", {"lang": "en"}) in page.elements and tags.count("h1") == tags.count(
        "main"
    ) == tags.count("title") == 1
    assert tags.count("table") == len(page.captions) == len(set(page.captions)) and all(
        page.captions
    )
    image, *others = [a for t, a in page.elements if t == "img"]
    assert "within hospitals" in image["alt"] and len(image["alt"]) > 80
    assert len(others) == 2 and "predicted" in others[0]["alt"] and "thresholds" in others[1]["alt"]
    heads = [a for t, a in page.elements if t == "th"]
    assert all(a.get("scope") in ("col", "row") for a in heads)
    levels = [int(t[1]) for t in tags if re.fullmatch(r"h\d", t)]
    assert levels[0] == 1 and all(
        after <= before + 1 for before, after in zip(levels, levels[1:], strict=False)
    )
    assert "meta" in tags and any(
        a.get("name") == "viewport" for t, a in page.elements if t == "meta"
    )


def test_colours_can_be_told_from_their_ground():
    def light(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        return sum(
            w * (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4)
            for w, c in zip((0.2126, 0.7152, 0.0722), parts, strict=True)
        )

    from genomed_workbench.output.page import STYLE

    inks = re.findall(r"--(?:ink|soft|blue|red): (#[0-9a-f]{6})", STYLE)
    assert len(inks) == 4 and all(1.05 / (light(ink) + 0.05) >= 4.5 for ink in inks)
    assert (light("#fff6dd") + 0.05) / (light("#1b1f24") + 0.05) >= 4.5


def test_its_numbers_are_those_of_the_comparison(page, comparison):
    sites, gain = comparison.federation.table, comparison.gain
    for row, site, one in zip(
        page.table("Hospitals"), sites.itertuples(), gain.itertuples(), strict=True
    ):
        assert row[:4] == [site.Index, str(site.n), str(site.events), f"{site.train} / {site.test}"]
        assert row[4:] == [
            f"{one.isolated:.3f}",
            f"{one.federated:.3f}",
            f"{one.mean:+.3f} ({one.low:+.3f} to {one.high:+.3f})",
            one.verdict,
        ]
    arms = {row[0].split(":")[0].lower(): row for row in page.table("C-index (Harrell) of each")}
    federated = comparison.value("federated")
    assert (
        arms["federated"][1]
        == f"{federated['mean']:.3f} ({federated.low:.3f} to {federated.high:.3f})"
        and len(arms) == 3
    )
    full = page.table("Every result")
    assert len(full) == len(comparison.table)
    for row, one in zip(full, comparison.table.itertuples(), strict=True):
        assert (
            row[3] == (f"{one.mean:.3f}" if np.isfinite(one.mean) else "no result")
            and row[1] == str(one.tested_on)
            and row[6] == str(one.repeats)
        )
    coefficients = page.table("The model learned together")
    summary = comparison.run.learner.summary_
    assert [float(row[1]) for row in coefficients] == pytest.approx(
        summary["hazard_ratio"].tolist(), abs=6e-4
    ) and len(page.table("Penalty")) == comparison.penalties.shape[1]
    assert (
        all(sentence in page.text for sentence in comparison.in_words())
        and page.text.count(comparison.covers) >= 1
    )
    assert [(row[0], int(row[3].replace(",", ""))) for row in page.table("What left")] == list(
        zip(comparison.run.disclosed["name"], comparison.run.disclosed["times"], strict=True)
    )


def test_its_probabilities_are_those_of_the_validation(page, comparison):
    "The federated model of the first draw, validated by itself on that draw's test patients."
    found = validate(
        comparison.federation.redraw(0),
        comparison.run,
        horizon=comparison.settings["horizon"],
        progress=False,
    )
    slope, ici = found.value("slope"), found.value("ici")["value"]
    assert (
        f"Calibration slope {slope['value']:.2f} (95 % interval {slope.low:.2f} to {slope.high:.2f})"
        in page.text
    )
    assert f"A predicted risk is {100 * ici:.1f} percentage points" in page.text


def test_patients_are_counted_and_few_are_not_told(page, comparison):
    rows = dict(page.table("Table 1"))
    cohort = comparison.federation.cohort
    assert (
        rows["number of patients"] == "240"
        and rows["events: n (%)"] == f"{cohort.n_events} ({cohort.n_events / 240:.0%})"
    )
    assert rows["few: yes, n (%)"] == "<5"
    assert dict(page.table("Settings"))["Seed"] == "2" and {"flwr", "numpy", "Python"} <= set(
        dict(page.table("Versions"))
    )


def test_what_is_virtual_or_made_up_is_said(page, tmp_path):
    assert (
        "Virtual patients." in page.text
        and "Simulation." in page.text
        and "Made-up hospitals." not in page.text
        and "simulation only" in page.text
    )
    cohort = Cohort.from_frame(
        patients(),
        Survival("years", "died"),
        features=["age", "sex"],
        virtual=False,
        name="register",
    )
    split = compare(
        Federation.split(cohort, (70, 30)),
        CoxPH(),
        repeats=1,
        bootstrap=20,
        tune=False,
        progress=False,
    )
    text = Page(split.report(tmp_path / "split.html").read_text(encoding="utf-8")).text
    assert (
        "Virtual patients." not in text
        and "Made-up hospitals." in text
        and "bootstrap of 20 draws" in text
    )


def test_other_learners_and_strategies(tmp_path):
    binary = Cohort.from_frame(
        patients(), Binary("answer"), site="site", features=["age", "sex"], virtual=True
    )
    text = Page(
        compare(Federation.by_site(binary), LogisticRegression(), repeats=2, progress=False)
        .report(tmp_path / "binary.html")
        .read_text(encoding="utf-8")
    ).text
    assert "Odds ratio" in text and "area under the ROC curve" in text and " nan" not in text
    survival = Cohort.from_frame(
        patients(), Survival("years", "died"), site="site", features=["age", "sex"], virtual=True
    )
    averaged = compare(
        Federation.by_site(survival),
        CoxPH(penalty=0.1),
        repeats=2,
        tune=False,
        rounds=3,
        strategy=FedAvg(),
        progress=False,
    )
    page = Page(averaged.report(tmp_path / "averaged.html").read_text(encoding="utf-8"))
    assert (
        "took 3 rounds of messages" in page.text
        and "Federated by FedAvg" in page.text
        and {row[2] for row in page.table("The model learned")} == {"not known"}
    )


@pytest.mark.parametrize("name", ["forest", "discrete", "personal-cox", "chosen"])
def test_a_learner_is_described_by_what_it_has(name, tmp_path):
    "No ratio, no penalty and no Newton step is told of where there is none."
    survival = Cohort.from_frame(
        patients(), Survival("years", "died"), site="site", features=["age", "sex"], virtual=True
    )
    page = Page(
        compare(Federation.by_site(survival), learner_of(name), repeats=2, folds=2, progress=False)
        .report(tmp_path / "report.html")
        .read_text(encoding="utf-8")
    )
    told = {
        "ratio": "ratio for one unit more" in page.text,
        "penalty": "Penalty of each model" in page.text,
        "newton": "exact Newton steps" in page.text,
        "picked": "Of several learners" in page.text,
    }
    assert (
        " nan" not in page.text
        and told["picked"] == (name == "chosen")
        and told["newton"] == (name in ("discrete", "personal-cox"))
    )
    if name != "chosen":
        assert told["ratio"] == told["penalty"] == (name != "forest")


def test_single_patients_behind_a_number_are_called_that():
    cohort = load_cohort("made-up-aml")
    shared = compare(
        Federation.by_site(cohort),
        CoxPH(baseline="shared", disclosure="simulation"),
        repeats=1,
        bootstrap=10,
        tune=False,
        progress=False,
    )
    assert any(
        "that patient's own value" in sentence for sentence in disclosed_in_words(shared.run)
    )


def test_links_are_made_of_dois_only():
    assert linked("see doi:10.1/<x> and doi:10.1198/016214502388618753.") == (
        "see doi:10.1/&lt;x&gt; and <a "
        'href="https://doi.org/10.1198/016214502388618753">doi:10.1198/016214502388618753</a>.'
    )
    assert "<a" not in linked('doi:"10.1000/x onclick=') and "javascript" not in linked("nothing")


N = "n (%)"


@pytest.mark.parametrize(
    ("summaries", "values", "told"),
    [
        (
            [f"a, {N}", f"b, {N}", f"c, {N}"],
            ["3 (2%)", "50 (41%)", "70 (57%)"],
            ["<5", "not told", "70 (57%)"],
        ),  # b would follow, and with it a
        (
            [f"a, {N}", f"b, {N}", f"c, {N}"],
            ["3 (2%)", "4 (3%)", "116 (94%)"],
            ["<5", "<5", "116 (94%)"],
        ),  # together seven: either may be either
        (
            [f"a, {N}", f"b, {N}", f"c, {N}"],
            ["1 (1%)", "1 (1%)", "121 (98%)"],
            ["<5", "<5", "not told"],
        ),  # together two: each is one
        ([f"a, {N}", f"b, {N}"], ["0 (0%)", "123 (100%)"], ["0 (0%)", "123 (100%)"]),
        ([f"yes, {N}"], ["121 (98%)"], ["all but <5"]),
        ([f"yes, {N}"], ["123 (100%)"], ["123 (100%)"]),
        ([f"yes, {N}"], ["60 (49%)"], ["60 (49%)"]),
        ([f"yes, {N}", "missing"], ["100 (98%)", "21"], ["all but <5", "21"]),
        (["median [Q1, Q3]", "missing"], ["1 [0, 3]", "4"], ["1 [0, 3]", "<5"]),
    ],
)
def test_no_count_under_five_is_told_or_follows(summaries, values, told):
    "Of 123 patients; what follows from the lines shown was reckoned by hand."
    assert without_few(summaries, values, 123) == told
