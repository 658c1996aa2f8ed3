"""The site: built once without a warning, every link leads somewhere, nothing is asked of another host, everybody can
read it, and no answer leaks.

GENOMED_SITE names a folder with a built site (`make docs` leaves one in docs/_build/html); without it the site is built
here, from nothing.
"""

import ast
import functools
import html
import os
import re
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from browser import faults
from conftest import computed
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, new_raw_cell

import genomed_workbench as gw
from genomed_workbench.teaching.glossary import terms
from genomed_workbench.teaching.lesson import lessons, tags

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "docs"), str(ROOT / "docs" / "extensions")]
import arguments
import pages as words_of_pages
import stage

LESSONS = {
    id: f"webinars/{lesson.path.relative_to(ROOT / 'nbs' / 'webinars').with_suffix('.html').as_posix()}"
    for id, lesson in lessons().items()
}
KINDS = [
    "index.html",
    "webinars/index.html",
    "webinars/glossary.html",
    "library/index.html",
    "library/statistics/01_cox.html",
    "api/index.html",
    "api/learners/cox.html",
    "data/index.html",
    "data/made-up-aml.html",
    "dictionaries/mds.html",
    "dictionaries/scd.html",
    "howto/index.html",
    "howto/01_bring_your_file.html",
    "howto/03_add_a_lesson.html",
    "howto/10_published_table.html",
    "howto/11_what_leaves_a_hospital.html",
    "howto/12_cohorts.html",
    "howto/13_install_and_command_line.html",
    "search.html",
    "licence.html",
    "contributing.html",
    "changelog.html",
    "security.html",
]
OUTSIDE = ("http:", "https:", "mailto:")


# what stage.py does, without building anything


def cell(source: str, *marks: str, kind=new_code_cell, **more):
    "A cell with tags."
    made = kind(source, **more)
    made.metadata["tags"] = list(marks)
    return made


ABOUT = """title = "A small lesson"
question = "What is left?"
objectives = ["count", "multiply", "say"]
minutes = 5
series = 1
number = 9
needs = ["nothing"]
topics = ["learn"]
"""
SMALL = [
    cell(ABOUT, "lesson", kind=new_raw_cell),
    cell(
        'import genomed_workbench as gw\n\nlesson = gw.lesson("1.9")\nlesson',
        outputs=[new_output("stream", text="0 of 1 exercises")],
    ),
    new_markdown_cell(
        "## First\n\nA [hazard](../glossary.ipynb#hazard), see doi:10.1002/sim.4154."
    ),
    cell('minutes = 5\nsay = ["WHISPERED"]', "teach", kind=new_raw_cell),
    cell(
        "given = 4\n# solution\nleft = given - 1\n# end",
        "exercise:left",
        outputs=[new_output("stream", text="STORED ANSWER")],
    ),
    cell(
        'lesson.key("left", right=lambda: 3, wrong={"KEY MESSAGE": lambda: 4}, hints=["HINT"])',
        "key",
    ),
    cell('lesson.check("left")', outputs=[new_output("stream", text="CHECKED")]),
    cell("plot = 1", "hide-input"),
]


@pytest.fixture
def small(tmp_path):
    "A small lesson as its page."
    path = tmp_path / "series1" / "09_small.ipynb"
    path.parent.mkdir()
    nbformat.write(new_notebook(cells=SMALL), path)
    return stage.lesson_page(stage.read_lesson(path))


def test_a_lesson_page_keeps_its_secrets(small):
    whole = nbformat.writes(small)
    assert not [
        told
        for told in (
            "WHISPERED",
            "KEY MESSAGE",
            "HINT",
            "STORED ANSWER",
            "CHECKED",
            "0 of 1 exercises",
            "lesson.check",
            "# solution",
            "topics",
        )
        if told in whole
    ]
    first, stub, folded = small.cells[0].source, *(c.source for c in small.cells[3:5])
    assert first.startswith("# 1.9 A small lesson\n> What is left?") and "5 minutes" in first
    assert stub == "given = 4\nleft = ...  # your answer"
    assert (
        folded.index("<details") < folded.index("left = given - 1") < folded.index("</details>")
        and "<details open" not in folded
    )
    assert tags(small.cells[-1]) == ["hide-input"]


def test_answer_keys_outside_a_lesson_are_refused(tmp_path, monkeypatch):
    (tmp_path / "nbs" / "webinars").mkdir(parents=True)
    nbformat.write(new_notebook(cells=SMALL[1:]), tmp_path / "nbs" / "webinars" / "09_small.ipynb")
    monkeypatch.setattr(stage, "ROOT", tmp_path)
    with pytest.raises(ValueError, match=r"09_small.*answer keys.*tagged 'lesson'"):
        stage.stage_lessons(stage.Stage())


def test_tables_and_pictures_of_outputs():
    pandas = (
        gw.cohorts()[["n"]]
        .head(2)
        .to_html()
        .replace('<table border="1"', '<div>\n<style scoped>x</style>\n<table border="1"')
    )
    tidy = stage.tables(pandas)
    assert (
        "<style" not in tidy
        and 'scope="col"' in tidy
        and 'scope="row"' in tidy
        and not re.search(r"<th[^>]*></th>", tidy)
        and "<thead>" in tidy
    )
    made = stage.Stage()
    assert made.with_files('<img alt="a" src="data:image/png;base64,QUJD">', 2).startswith(
        '<img alt="a" src="../../_static/pictures/'
    ) and list(made.files.values()) == [b"ABC"]


def test_directives_go_and_what_is_hidden_goes_with_them():
    cells = [
        stage.shown(new_code_cell(source))
        for source in (
            "#| default_exp data.x",
            "#| hide\nsecret = 1",
            "#| export\ndef f(): ...",
            "#| echo: false\n1 + 1",
        )
    ]
    assert (
        cells[:2] == [None, None]
        and cells[2].source == "def f(): ..."
        and tags(cells[2]) == ["exported"]
        and tags(cells[3]) == ["remove-input"]
    )


def test_anchors_and_links():
    assert stage.slug("Kaplan-Meier curve") == "Kaplan-Meier-curve"
    assert (
        stage.linked('[hazard](../glossary.ipynb#hazard "plain")')
        == '[hazard](../glossary.ipynb#hazard "plain"){.term}'
    )
    assert (
        stage.linked("see doi:10.1002/sim.4154.")
        == "see [doi:10.1002/sim.4154](<https://doi.org/10.1002/sim.4154>)."
    )
    assert (
        stage.on_site("[a](nbs/library) [b](nbs/webinars/x.ipynb) [c](LICENSE) [d](https://x.org)")
        == "[a](library/index.md) [b](webinars/x.ipynb) [c](licence.md) [d](https://x.org)"
    )
    assert (
        stage.on_site("[a](README.md) [b](CONTRIBUTING.md)")
        == "[a](index.ipynb) [b](contributing.md)"
    )


DOCSTRING = """Merge cells_ until each *level* has `min_cell` patients
or more, see doi:10.1002/sim.4154.
It returns:
- a table_
- and a
  remark
Raises an error.

    indented words

Example
>>> import genomed_workbench as gw
>>> gw.load_cohort("made-up-aml").n  # *stars* stay
240
>>> [x_ for x_ in (1, 2)]
[1, 2]

A word * after it.
"""


def test_examples_of_docstrings_stay_as_they_are():
    assert arguments.as_rst(DOCSTRING.splitlines()) == [
        r"Merge cells\_ until each \*level\* has `min_cell` patients",
        "or more, see `doi:10.1002/sim.4154 <https://doi.org/10.1002/sim.4154>`__.",
        "It returns:",
        "",
        r"- a table\_",
        "- and a",
        "  remark",
        "",
        "Raises an error.",
        "",
        "    indented words",
        "",
        ".. rubric:: Example",
        "",
        ">>> import genomed_workbench as gw",
        '>>> gw.load_cohort("made-up-aml").n  # *stars* stay',
        "240",
        ">>> [x_ for x_ in (1, 2)]",
        "[1, 2]",
        "",
        r"A word \* after it.",
        "",
    ]


def test_such_a_docstring_is_drawn_without_a_warning():
    "By docutils itself: a list, an indented text and an example follow without blank lines."
    from docutils.core import publish_doctree
    from docutils.nodes import block_quote, bullet_list, doctest_block, rubric

    text = "\n".join(arguments.as_rst(DOCSTRING.splitlines()))
    tree = publish_doctree(text, settings_overrides={"halt_level": 2, "report_level": 2})
    assert [len(list(tree.findall(kind))) for kind in (bullet_list, block_quote, rubric)] == [1] * 3
    (example,) = tree.findall(doctest_block)
    assert example.astext().startswith(">>> import") and example.astext().endswith("[1, 2]")


def test_the_overview_of_names_shows_the_whole_first_sentence():
    def told():
        """A sentence that goes on
        in the next line.

        More of it.
        """

    assert words_of_pages.first_line(told) == "A sentence that goes on in the next line."


@pytest.mark.parametrize("path", ["CONTRIBUTING.md", "nbs/howto/04_develop.ipynb"])
def test_the_rooms_are_those_that_import_linter_holds_apart(path):
    "Layer by layer, as pyproject.toml orders them; rooms to come need not be named."
    text = (ROOT / path).read_text(encoding="utf-8")
    if path.endswith(".ipynb"):
        text = "\n".join(cell.source for cell in nbformat.reads(text, 4).cells)
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", text, flags=re.MULTILINE)
    there = [set(re.findall(r"`([a-z_]+)`", rooms.partition("; to come")[0])) for _, rooms in rows]
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = contract["contracts"][0]["layers"]
    expected = [
        {r for r in map(str.strip, layer.split("|")) if not r.startswith("(")} for layer in layers
    ]
    assert there == expected
    assert [int(number) for number, _ in rows] == list(range(len(layers), 0, -1))


# the site


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    "The folder with the built site."
    pytest.importorskip("sphinx", reason="sphinx is not installed: pip install -e '.[docs]'")
    if named := os.environ.get("GENOMED_SITE"):
        return Path(named)
    folder = tmp_path_factory.mktemp("site")
    start, before = time.perf_counter(), computed()
    done = subprocess.run(
        [
            sys.executable,
            ROOT / "docs" / "build.py",
            "--staged",
            folder / "staged",
            "--out",
            folder / "html",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"the site does not build without warnings:\n{done.stderr[-6000:]}"
    print(f"the site was built in {time.perf_counter() - start:.0f} s")
    assert computed() - before < 180, "more than three minutes of computing"
    return folder / "html"


@pytest.fixture(scope="module")
def pages(site) -> dict[str, str]:
    "All pages by name."
    return {
        path.relative_to(site).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(site.rglob("*.html"))
        if "_static" not in path.parts
    }


@pytest.fixture(scope="module")
def address(site) -> Iterator[str]:
    "The site on a server of this machine."

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args) -> None:
            "Say nothing."

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def visible(page: str) -> str:
    "The words of a page's article, without code of the page itself."
    article = page[page.index("<article") : page.index("</article>")]
    return " ".join(
        html.unescape(
            re.sub(
                r"<[^>]+>",
                "",
                re.sub(r"<(script|style|math)\b.*?</\1>", "", article, flags=re.DOTALL),
            )
        ).split()
    )


@pytest.mark.slow
@pytest.mark.full
def test_every_kind_of_page_is_there(pages):
    assert set(KINDS) | set(LESSONS.values()) <= set(pages)
    assert (
        len([name for name in pages if name.startswith("library/")])
        == len(list((ROOT / "nbs" / "library").rglob("*.ipynb"))) + 1
    )
    assert len([name for name in pages if name.startswith("data/")]) == len(gw.cohorts()) + 1
    assert "Draft" not in pages["index.html"] and "echo: false" not in pages["index.html"]


@pytest.mark.slow
@pytest.mark.full
def test_every_link_leads_somewhere(site, pages):
    anchors = {
        name: set(map(html.unescape, re.findall(r'\s(?:id|name)="([^"]+)"', text)))
        for name, text in pages.items()
    }
    broken, checked = [], 0
    for name, text in pages.items():
        for link in map(
            html.unescape, re.findall(r'<[a-z]+\b[^<>]*?\s(?:href|src)="([^"]+)"', text)
        ):
            if link.startswith((*OUTSIDE, "data:")) or link == "#":
                continue
            parts, checked = urlsplit(link), checked + 1
            target = (site / name).parent / unquote(parts.path) if parts.path else site / name
            there = target.resolve().relative_to(site.resolve()).as_posix()
            if not target.is_file() or (
                parts.fragment
                and there in anchors
                and unquote(parts.fragment) not in anchors[there]
            ):
                broken.append(f"{name}: {link}")
    assert broken == [] and checked > 5000


@pytest.mark.slow
@pytest.mark.full
def test_pages_load_nothing_from_elsewhere(site, pages):
    "By reading the sources; the browser tests below look at requests."
    for name, text in pages.items():
        loaded = re.findall(
            r'<(?:script|img|iframe|source|video|audio)\b[^>]*\ssrc="([^"]+)"', text
        ) + re.findall(r'<link\b(?![^>]*rel="canonical")[^>]*\shref="([^"]+)"', text)
        assert not [one for one in loaded if re.match(r"(https?:)?//", one)], name
    styles = "\n".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert not re.findall(r"url\(\s*['\"]?(?:https?:)?//|@import\s+['\"](?:https?:)?//", styles)


@pytest.mark.slow
@pytest.mark.full
def test_every_page_has_a_language_one_title_and_pictures_in_words(pages):
    for name, text in pages.items():
        assert re.search(r'<html[^>]*\slang="en"', text), name
        assert len(re.findall(r"<h1\b", text)) == 1, name
        assert re.search(r'<a[^>]*href="#main-content"|pst-skip-link', text) and re.search(
            r'<main[^>]*id="main-content"', text
        ), name
        silent = [
            tag
            for tag in re.findall(r"<img\b[^>]*>", text)
            if not re.search(r'\salt="[^"]+"', tag) and "logo__image" not in tag
        ]
        assert silent == [], name


@pytest.mark.slow
@pytest.mark.full
def test_every_public_name_has_an_anchor(pages):
    overview = set(re.findall(r'id="genomed_workbench\.(\w+)"', pages["api/index.html"]))
    assert set(gw.__all__) <= overview
    for name in gw.__all__:
        module = gw._WHERE[name]
        assert (
            f'id="genomed_workbench.{module}.{name}"'
            in pages[f"api/{module.replace('.', '/')}.html"]
        ), name


@pytest.mark.slow
@pytest.mark.full
def test_api_pages_explain_arguments(pages):
    said = visible(pages["api/statistics/concordance.html"])
    assert (
        "follow-up, any unit, shape (n,)" in said
        and "share of comparable pairs in the right order, 0 to 1" in said
    )
    assert "per patient, on standardised coefficients" in visible(pages["api/learners/cox.html"])
    assert "column with the follow-up, above zero" in visible(pages["api/data/outcome.html"])
    assert "set_score_request" not in "".join(pages.values()), (
        "methods that scikit-learn writes into our classes"
    )


def secrets_of(lesson) -> list[str]:
    "What only the instructor and the kit may know: remarks, and the messages and hints of exercises."
    said = [text for one in lesson.teach for text in (*one.say, *one.mistakes)]
    for name in lesson.exercises:
        calls = [
            n
            for n in ast.walk(ast.parse(lesson.keys[name]))
            if isinstance(n, ast.Call) and getattr(n.func, "attr", "") == "key"
        ]
        said += [
            n.value
            for call in calls
            for n in ast.walk(call)
            if isinstance(n, ast.Constant) and isinstance(n.value, str) and len(n.value) > 30
        ]
    return said


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.parametrize("id", LESSONS)
def test_no_answer_leaks(id, pages):
    lesson, page = lessons()[id], pages[LESSONS[id]]
    words = visible(page)
    assert [told for told in secrets_of(lesson) if " ".join(told.split()) in words] == []
    assert not re.search(r"lesson\.(key|questions|check)\(|# solution\b|\bmistakes =", words)
    unfolded = re.sub(r'<details class="solution">.*?</details>', "", page, flags=re.DOTALL)
    assert (
        len(re.findall(r'<details class="solution">', page)) == len(lesson.exercises)
        and "details open" not in page
    )
    for exercise in lesson.exercises.values():
        first = next(
            line.strip()
            for line in exercise.solution.splitlines()
            if line.strip() and not line.strip().startswith(("#", '"', "def ", "@"))
        )
        assert len(first) < 12 or "".join(first.split()) not in "".join(
            visible(unfolded).split()
        ), f"{exercise.name}: the solution can be read without unfolding it"


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.parametrize("id", LESSONS)
def test_terms_of_a_lesson_are_explained(id, pages):
    "Links to the glossary carry the plain words."
    found = re.findall(
        r'<a class="[^"]*\bterm\b[^"]*" href="([^"]*glossary\.html#[^"]+)"([^>]*)>',
        pages[LESSONS[id]],
    )
    assert found and all('title="' in rest for _, rest in found)


@pytest.mark.slow
@pytest.mark.full
def test_the_glossary_says_where_a_term_is_used(pages):
    page = pages["webinars/glossary.html"]
    assert all(f'id="{html.escape(term.anchor)}"' in page for term in terms().values())
    assert "Used in:" in visible(page)


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.parametrize("name", [*LESSONS.values(), *KINDS])
def test_in_a_browser(name, address, page):
    "No request to another host, no error of the console, and axe-core finds nothing serious."
    page.goto(f"{address}/{name}")
    page.wait_for_load_state("networkidle")
    assert page.abroad == [] and page.errors == []
    assert faults(page) == []


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.parametrize(
    "name", [*list(LESSONS.values())[-1:], "index.html", "api/learners/cox.html"]
)
def test_on_a_telephone(name, address, page):
    "Nothing is wider than the screen, and what scrolls can be reached by keyboard."
    page.set_viewport_size({"width": 400, "height": 800})
    page.goto(f"{address}/{name}")
    page.wait_for_load_state("networkidle")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    assert faults(page) == []


@pytest.mark.slow
@pytest.mark.full
def test_a_solution_unfolds_by_keyboard(address, page):
    from playwright.sync_api import expect

    id, lesson = next((id, lesson) for id, lesson in lessons().items() if lesson.exercises)
    page.goto(f"{address}/{LESSONS[id]}")
    folded = page.locator("details.solution").first
    expect(folded.locator("pre")).to_be_hidden()
    page.wait_for_load_state("networkidle")
    page.locator("details.solution > summary").first.focus()
    page.keyboard.press("Enter")
    expect(folded.locator("pre")).to_be_visible()
    assert "".join(next(iter(lesson.exercises.values())).solution.split()) in "".join(
        folded.inner_text().split()
    )
    page.keyboard.press("Space")
    expect(folded.locator("pre")).to_be_hidden()


@pytest.mark.slow
@pytest.mark.full
def test_the_search_finds(address, page):
    from playwright.sync_api import expect

    page.goto(f"{address}/search.html?q=C-index")
    expect(page.locator("#search-results .search-summary")).to_contain_text("found")
    expect(page.locator("#search-results li a").first).to_be_visible()
    hits = page.locator("#search-results li a").all_text_contents()
    assert any("Glossary" in hit or "C-index" in hit for hit in hits)
    assert page.abroad == []
