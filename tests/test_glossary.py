"""The glossary: every term explained twice, every link of every lesson leads somewhere, and nothing is
listed that nobody uses.
"""

import re

import nbformat
import pytest

import genomed_workbench as gw
from genomed_workbench.teaching.glossary import (
    LINK,
    LookUp,
    broken_links,
    glossary,
    glossary_links,
    search,
    term_of,
    terms,
    used_in,
    with_tooltips,
)
from genomed_workbench.teaching.lesson import About, Lesson, LessonError, lesson_folder, lessons
from genomed_workbench.teaching.prose import as_html, as_text

LESSONS = lessons()
NOTEBOOK = nbformat.read(lesson_folder() / "glossary.ipynb", as_version=4)
AGREED = (
    "C-index",
    "Cox model",
    "Kaplan-Meier curve",
    "calibration",
    "censoring",
    "cohort",
    "confidence interval",
    "event",
    "feature",
    "federated learning",
    "gradient",
    "hazard",
    "hazard ratio",
    "isolated",
    "learning curve",
    "leakage",
    "median survival",
    "missing value",
    "overfitting",
    "pooled",
    "risk score",
    "round",
    "site",
    "test set",
    "time zero",
    "training set",
    "unit",
    "AML",
    "MDS",
    "OS",
    "LFS",
    "VAF",
    "IPSS-M",
    "SCD",
    "MM",
    "FedAvg",
    "strategy",
    "baseline hazard",
    "follow-up",
    "comparable pair",
    "Table 1",
    "learner",
    "ridge penalty",
    "cross-validation",
    "standard error",
    "calibration-in-the-large",
    "log-rank test",
)

# explained because the library's pages and later lessons need them: no lesson of this version links to them
NOT_YET_USED = {
    "Brier score",
    "MGUS",
    "MM",
    "OS",
    "VAF",
    "bootstrap",
    "log-rank test",
    "odds ratio",
    "p-value",
    "standardisation",
    "stratified Cox model",
    "survival probability",
}


def jupyterlab_anchor(heading: str) -> str:
    "As JupyterLab makes it: spaces become hyphens, nothing else changes."
    return heading.replace(" ", "-")


def test_every_cell_is_a_term():
    "A title, a sentence, then one term a cell."
    first, *rest = NOTEBOOK.cells
    assert first.source.startswith("# Glossary\n\n") and all(
        cell.cell_type == "markdown" for cell in NOTEBOOK.cells
    )
    assert [term_of(cell.source).name for cell in rest] == list(terms())


def test_the_agreed_terms_are_there():
    assert set(AGREED) <= set(terms())


def test_the_terms_stand_in_alphabetical_order():
    names = list(terms())
    assert names == sorted(names, key=str.casefold) and len(
        {name.casefold() for name in names}
    ) == len(names)


@pytest.mark.parametrize("name", terms())
def test_a_term_is_explained_twice(name):
    "Plain words without formula, link or abbreviation mark; precise ones that say more."
    term = terms()[name]
    plain = as_text(term.plain)
    assert "$" not in term.plain and not re.search(r"\]\(", term.plain), (
        "plain words hold no formula and no link"
    )
    assert 1 <= len(re.findall(r"[.?!](?:\s|$)", plain)) <= 4 and 30 < len(plain) < 420
    assert len(as_text(term.precise)) > 60 and term.plain != term.precise
    assert term.anchor == jupyterlab_anchor(name) and re.fullmatch(r"[A-Za-z0-9-]+", term.anchor), (
        "an anchor that every program reads alike"
    )


@pytest.mark.parametrize("name", terms())
def test_its_links_and_formulas_work(name):
    term, anchors = terms()[name], {t.anchor for t in terms().values()}
    for target in re.findall(r"\]\(([^)\s]+)\)", term.precise):
        assert (
            target.removeprefix("#") in anchors - {term.anchor}
            if target.startswith("#")
            else re.fullmatch(r"https://doi\.org/10\.\d{4,9}/[^\s()]+", target)
        )
    page = as_html(term.precise)
    assert (
        "$" not in page
        and page.count("<math") == len(re.findall(r"(?<!\$)\$[^$]+\$", term.precise))
        and "\\" not in re.sub(r"<[^>]*>", "", page)
    )


@pytest.mark.parametrize("name", LESSONS)
def test_every_link_of_a_lesson_resolves(name):
    assert broken_links(LESSONS[name]) == []


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_explains_its_terms(name):
    "Its first words of a term lead to the glossary, each once or twice, not in every line."
    links = [link["anchor"] for link in glossary_links(LESSONS[name].notebook)]
    assert len(set(links)) >= 5 and max(map(links.count, links)) <= 3


def test_every_term_is_used_or_known_not_to_be():
    unused = {name for name in terms() if not used_in(name)}
    linked_by_terms = {
        target
        for term in terms().values()
        for target in re.findall(r"\]\(#([^)]+)\)", term.precise)
    }
    assert (
        not {name for name in unused if terms()[name].anchor not in linked_by_terms} - NOT_YET_USED
    ), "nobody links to these: use them in a lesson, list them above, or take them out"
    assert unused >= NOT_YET_USED, "these are used now: take them off the list"


def test_the_table_tells_where_a_term_is_used():
    table = glossary()
    assert (
        list(table.columns) == ["plain", "precise", "anchor", "used_in"]
        and table.index.name == "term"
        and list(table.index) == list(terms())
    )
    assert table.used_in["hazard ratio"] == used_in("hazard ratio") and set().union(
        *table.used_in
    ) <= set(LESSONS)
    pd_first = gw.glossary().loc["event"]
    assert set(pd_first.used_in) == {
        i
        for i, lesson in LESSONS.items()
        if "glossary.ipynb#event)" in "".join(c.source for c in lesson.notebook.cells)
    }


def page_of(*texts: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text) for text in texts])


def lesson_of(*texts: str, path: str = "series1/example.ipynb") -> Lesson:
    return Lesson(
        About("Example", "Why?", ("a", "b", "c"), 5, 1, 9, (), ("learn",)),
        lesson_folder() / path,
        page_of(*texts),
    )


@pytest.mark.parametrize(
    ("text", "path", "said"),
    [
        ("[h](../glossary.ipynb#hazard)", "series1/x.ipynb", None),
        ("[h](glossary.ipynb#hazard)", "x.ipynb", None),
        ("[Cox](../glossary.ipynb#Cox-model)", "series1/x.ipynb", None),
        (
            "[h](../glossary.ipynb#Hazard)",
            "series1/x.ipynb",
            "'Hazard', which the glossary does not have",
        ),
        ("[h](glossary.ipynb#hazard)", "series1/x.ipynb", "the glossary is at ../glossary.ipynb"),
        ("[h](../glossary.ipynb)", "series1/x.ipynb", "asks for None"),
        ("![h](../glossary.ipynb#nothing)", "series1/x.ipynb", None),
        ("[h](../glossary.ipynb#no 'hazard')", "series1/x.ipynb", None),
    ],
)
def test_a_broken_link_is_named(text, path, said):
    found = broken_links(lesson_of(text, path=path))
    assert found == [] if said is None else len(found) == 1 and said in found[0]


def test_tooltips_carry_the_plain_words():
    book = page_of(
        "A [hazard](../glossary.ipynb#hazard) and [its "
        "ratio](../glossary.ipynb#hazard-ratio), [else](https://example.org).",
        "No link.",
    )
    titled = with_tooltips(book)
    assert book.cells[0].source.count('"') == 0, "the notebook that was given stays as it was"
    for name in ("hazard", "hazard ratio"):
        assert (
            f'#{terms()[name].anchor} "{as_text(terms()[name].plain)}")' in titled.cells[0].source
        )
    assert (
        titled.cells[1].source == "No link."
        and "(https://example.org)" in titled.cells[0].source
        and with_tooltips(titled) == titled
    )
    shown = as_html(titled.cells[0].source)
    assert shown.count("<dfn title=") == 2 and ".ipynb" not in shown


@pytest.mark.parametrize("name", LESSONS)
def test_tooltips_of_a_lesson_break_no_link(name):
    before, after = LESSONS[name].notebook, with_tooltips(LESSONS[name].notebook)
    assert [m["anchor"] for m in glossary_links(after)] == [
        m["anchor"] for m in glossary_links(before)
    ]
    assert all(
        m["title"]
        for cell in after.cells
        if cell.cell_type == "markdown"
        for m in LINK.finditer(cell.source)
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("## x\n\nplain", "expected a heading"),
        ("x\n\nplain\n\n**Precisely:** y", "expected a heading"),
        ("## x\n\n**Precisely:** y\n\nplain", "expected a heading"),
        ("## x\n\na\n\nb\n\n**Precisely:** y", "expected a heading"),
    ],
)
def test_a_term_out_of_form_is_refused(text, said):
    with pytest.raises(LessonError, match=said):
        term_of(text)


def test_an_unknown_term_names_its_neighbours():
    with pytest.raises(LessonError, match="no term 'hazards'.*hazard, hazard ratio"):
        used_in("hazards")


def test_searching_finds_the_nearest_first():
    assert (
        search("os")[0].name == "OS"
        and search("COX")[0].name == "Cox model"
        and search("") == list(terms().values())
        and search("zebra") == []
    )


def test_the_search_answers_as_one_types():
    box, shown = gw.look_up("hazard").widget().children
    assert box.description == "Search the glossary" and "hazard ratio" in shown.value
    box.value = "kaplan"
    assert (
        "Kaplan-Meier curve" in shown.value
        and "hazard ratio</strong>" not in shown.value
        and "<math" in shown.value
        and "role='status'" in shown.value
    )
    box.value = "zebra"
    assert "No term fits" in shown.value
    static = gw.look_up()._repr_mimebundle_()
    assert (
        static["text/html"].count("<dt>") == len(terms())
        and "application/vnd.jupyter.widget-view+json" in static
        and isinstance(LookUp().found("a"), str)
    )
