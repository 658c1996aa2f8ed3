"""Slides and guide of every lesson: complete, self-contained, readable from the last row, at home on a
computer without network.
"""

import re
from pathlib import Path

import nbformat
import pytest
from browser import faults
from bs4 import BeautifulSoup
from matplotlib.figure import Figure

from genomed_workbench.output.pictures import Picture
from genomed_workbench.teaching.guide import lesson_timings, write_guide
from genomed_workbench.teaching.lesson import LessonError, lessons, read_lesson, tags
from genomed_workbench.teaching.prose import as_text
from genomed_workbench.teaching.quiz import Many, Number, One, Quiz
from genomed_workbench.teaching.slides import quiz_cells, slides_of, write_slides

LESSONS = lessons()
NEW = nbformat.v4
TOML = """title = "A share"
question = "How many of the patients died?"
objectives = ["count events", "divide", "say what a share leaves out"]
minutes = 5
series = 0
number = 7
needs = []
topics = ["learn"]"""
KEY = """lesson.key("share", right=lambda: deaths/patients,
           wrong={"You counted who lives.": lambda: 1 - deaths/patients,
                  "This is how many: p < 1 & more.": lambda: deaths},
           wrong_if={"More than all?": lambda answer: answer > 1}, hints=["How many died?", "Of how many?"],
           because="Deaths over patients.")"""
TEACH = (
    'minutes = 5\nsay = ["Ask the room first: what is $d/n$?", "Wait."]\nmistakes '
    '= ["Share and number are mixed up; *never* mind."]'
)


def shown(page: str) -> list:
    return [NEW.new_output("display_data", data={"text/html": page, "text/plain": "words"})]


def example(*extra: nbformat.NotebookNode, **change: str) -> nbformat.NotebookNode:
    "A lesson of one section that has everything: text, formula, table, picture, exercise, quiz."
    figure = Figure(figsize=(8, 4), layout="constrained")
    figure.subplots().set(title="Deaths", xlabel="years", ylabel="patients")
    quiz = Quiz(
        "closing",
        [
            One(
                "What left?",
                {"sums": "Sums over patients.", "rows": "Rows stay at home."},
                right="sums",
            ),
            Many(
                "Which are <sums>?",
                {
                    "a mean": "A sum over a count.",
                    "an age": "One patient's.",
                    "a count": "Of patients.",
                },
                right=["a mean", "a count"],
            ),
            Number("Three of four?", right=lambda: 3 / 4, within=0.01, because="A share."),
        ],
    )
    table = "| | hospital |\n|---|---|\n| 1 | adds up |"
    return NEW.new_notebook(
        cells=[
            NEW.new_raw_cell(change.get("toml", TOML), metadata={"tags": ["lesson"]}),
            NEW.new_markdown_cell(
                "## 1. Counting\n\nAn [event](glossary.ipynb#event) counts: $d/n < "
                f"1$.\n\n{table}\n\n<details><summary>More</summary>Folded away.</details>",
                metadata={"tags": ["slide"]},
            ),
            NEW.new_raw_cell(change.get("teach", TEACH), metadata={"tags": ["teach"]}),
            NEW.new_code_cell(
                "draw()",
                outputs=shown(
                    f"<p>Run it to move this.</p>{Picture(figure, 'Deaths over the years.')._repr_html_()}"
                ),
                metadata={"tags": ["slide", "hide-input"]},
            ),
            NEW.new_markdown_cell(
                "Before.\n\n### Exercise: the share\n\nWhich share died, $d/n$?",
                metadata={"tags": ["slide"]},
            ),
            NEW.new_code_cell(
                "deaths, patients = 3, 12\n# solution\nshare = deaths/patients\n# end",
                metadata={"tags": ["exercise:share", "slide-part"]},
            ),
            NEW.new_code_cell(change.get("key", KEY), metadata={"tags": ["key"]}),
            NEW.new_code_cell(
                "print(deaths)",
                outputs=[NEW.new_output("stream", name="stdout", text="3 < 4\n")],
                metadata={"tags": ["slide-part", "slide-code"]},
            ),
            NEW.new_code_cell(
                'lesson.quiz("closing")', outputs=shown(quiz.static()), metadata={"tags": ["slide"]}
            ),
            *extra,
        ]
    )


@pytest.fixture
def kept(tmp_path):
    "Keep a notebook in a file and give its path."

    def keep(notebook: nbformat.NotebookNode) -> Path:
        nbformat.write(notebook, tmp_path / "example.ipynb")
        return tmp_path / "example.ipynb"

    return keep


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    "Slides and guide of a lesson (by id, or the example), written once."
    folder, done = tmp_path_factory.mktemp("instructor"), {}

    def write(which: str) -> tuple[Path, Path]:
        if which not in done:
            source = which
            if which == "example":
                source = folder / "example.ipynb"
                nbformat.write(example(), source)
            done[which] = (
                write_slides(source, folder / f"slides-{which}.html"),
                write_guide(source, folder / f"guide-{which}.html"),
            )
        return done[which]

    return write


def lesson_of(which: str, written):
    return (
        read_lesson(written(which)[0].parent / "example.ipynb")
        if which == "example"
        else LESSONS[which]
    )


every_lesson = pytest.mark.parametrize("which", ["example", *LESSONS])
every_page = pytest.mark.parametrize("kind", [0, 1], ids=["slides", "guide"])


def words(text: str) -> str:
    "A text with single spaces."
    return re.sub(r"\s+", " ", text).strip()


def said_by(page: BeautifulSoup) -> str:
    "Everything a page says, formulas without their spaces."
    return words(page.get_text(""))


# The files


@every_lesson
@every_page
def test_a_page_loads_nothing(which, kind, written):
    "No script, style, picture or frame from anywhere, and the browser is told so."
    text = written(which)[kind].read_text(encoding="utf-8")
    page = BeautifulSoup(text, "html.parser")
    assert (
        page.html["lang"] == "en"
        and page.title.string
        and "default-src 'none'"
        in page.find("meta", {"http-equiv": "Content-Security-Policy"})["content"]
    )
    assert not page.find_all(
        ["iframe", "link", "object", "embed", "video", "audio"]
    ) and not page.find_all("script", src=True)
    assert all(img["src"].startswith("data:image/") for img in page.find_all("img"))
    styles = "".join(style.string for style in page.find_all("style")) + "".join(
        tag["style"] for tag in page.find_all(style=True)
    )
    assert not re.search(r"@import|url\((?![\"']?data:)", styles) and "sourceMappingURL" not in text
    assert not re.search(r"\.ipynb", page.get_text(" ")) and "$" not in "".join(
        s.get_text() for s in page.select(".inner p, .inner li")
    )


@every_lesson
def test_every_slide_has_a_heading_and_its_pictures_words(which, written):
    page = BeautifulSoup(written(which)[0].read_text(encoding="utf-8"), "html.parser")
    sections = page.select(".slides > section")
    assert len(sections) == len(slides_of(lesson_of(which, written))) >= 5
    for section in sections:
        assert len(section.find_all(["h1", "h2"])) == 1 and section.find(["h1", "h2"]).get_text(
            strip=True
        )
        assert all(img.get("alt", "").strip() for img in section.find_all("img"))


def test_the_example_shows_what_it_should(written):
    title, goals, counting, picture, exercise, *questions = BeautifulSoup(
        written("example")[0].read_text(encoding="utf-8"), "html.parser"
    ).select(".slides > section")
    assert (
        title.h1.string == "A share"
        and "How many of the patients died?" in title.get_text()
        and "divide" in goals.get_text()
    )
    assert (
        counting.h2.string == "1. Counting"
        and counting.find("math")
        and counting.dfn["title"].startswith("The thing whose time")
        and "Folded" not in counting.get_text()
    )
    assert (
        "Ask the room first" in counting.select_one("aside.notes").get_text()
        and "5 minutes, 0:00 to 0:05" in counting.select_one("aside.notes").get_text()
    )
    assert (
        "Run it to move this" not in picture.get_text()
        and picture.img["alt"] == "Deaths over the years."
        and "Deaths over the years." in picture.select_one("aside.notes").get_text()
    )
    assert (
        "deaths/patients" not in exercise.select_one(".code").get_text()
        and "deaths/patients" in exercise.select_one(".fragment").get_text()
    )
    assert (
        exercise.h2.string == "1. Counting"
        and "Before." in exercise.get_text()
        and exercise.h3.string == "Exercise: the share"
    )
    assert "3 < 4" in exercise.get_text() and "print(deaths)" in exercise.get_text()
    assert [words(q.h2.string) for q in questions] == [
        "Question 1 of 3",
        "Question 2 of 3",
        "Question 3 of 3",
    ]
    assert [words(q.select_one(".fragment").get_text(" ")) for q in questions] == [
        "sums Sums over patients.",
        "a mean A sum over a count. a count Of patients.",
        "0.75 . A share.",
    ] or "0.75" in questions[2].get_text()
    assert (
        "Which are <sums>?" in questions[1].get_text()
        and "One patient's." in questions[1].select_one("aside.notes").get_text()
    )


@every_lesson
def test_the_guide_is_complete(which, written):
    """Every talking point, mistake, solution, hint and message stands in it, and every option of the
    quiz with its feedback.
    """
    lesson, page = (
        lesson_of(which, written),
        BeautifulSoup(written(which)[1].read_text(encoding="utf-8"), "html.parser"),
    )
    text, codes = said_by(page), [words(code.get_text()) for code in page.select(".code")]
    assert which != "example" or "Before." not in text, "the task alone"
    lines = [line for remark in lesson.teach for line in (*remark.say, *remark.mistakes)] + list(
        lesson.about.objectives
    )
    for name, exercise in lesson.exercises.items():
        assert words(exercise.solution) in codes and words(exercise.stub) in codes, name
        says = lesson_timings(lesson.keys[name], name)
        assert len(says.wrong) >= 2 and len(says.hints) >= 2
        lines += [message for message, _ in says.wrong] + list(says.hints)
    assert lines and not [line for line in lines if words(as_text(line)) not in text]
    for cell in quiz_cells(lesson).values():
        for part in BeautifulSoup(cell.outputs[-1]["data"]["text/html"], "html.parser").select(
            "li strong, li summary"
        ):
            assert words(part.get_text()) in text or part.get_text() == "Show the answer"


@every_lesson
def test_the_minutes_add_up(which, written):
    lesson, page = (
        lesson_of(which, written),
        BeautifulSoup(written(which)[1].read_text(encoding="utf-8"), "html.parser"),
    )
    *rows, total = page.select("table tbody tr")
    minutes = [int(row.td.string) for row in rows]
    assert (
        sum(minutes)
        == int(total.td.string)
        == lesson.about.minutes
        == sum(remark.minutes for remark in lesson.teach)
    )
    ends = [words(row.find_all("td")[1].get_text()).split(" to ") for row in rows]
    assert (
        ends[0][0] == "0:00"
        and all(a[1] == b[0] for a, b in zip(ends, ends[1:], strict=False))
        and ends[-1][1] == f"{lesson.about.minutes // 60}:{lesson.about.minutes % 60:02d}"
    )


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_is_worth_presenting(name):
    "Enough slides for its minutes and not too many; at least one picture, one exercise or question to discuss."
    slides, told_slides = (
        slides_of(LESSONS[name]),
        [cell for cell in LESSONS[name].notebook.cells if "slide" in tags(cell)],
    )
    assert 6 <= len(told_slides) <= 20 and any("<img" in slide.body for slide in slides)
    asks = any(slide.kind == "ask" or "Exercise" in slide.title + slide.body for slide in slides)
    assert asks or not LESSONS[name].about.series, (
        "tag an exercise or the quiz: an audience wants to be asked"
    )


# In a browser


@pytest.fixture
def opened(page, written):
    "Open a page from its file; every request is noted."
    page.asked = []
    page.context.on("request", lambda request: page.asked.append(request.url))
    page.set_viewport_size({"width": 1280, "height": 720})

    def show(which: str, kind: int = 0):
        page.goto(written(which)[kind].as_uri())
        if kind == 0:
            page.wait_for_selector("html[data-ready=yes]")
        return page

    return show


ROOM = """() => {
  const s = Reveal.getCurrentSlide(), inner = s.querySelector('.inner'), box = inner.getBoundingClientRect();
  return { title: inner.firstElementChild.textContent, number: Reveal.getSlides().indexOf(s),
           high: inner.offsetHeight - (s.clientHeight - 88), wide: inner.scrollWidth - inner.clientWidth,
           below: box.bottom - innerHeight, type: parseFloat(s.style.fontSize),
           pictures: [...s.querySelectorAll('img')].map(p => [p.clientWidth, p.clientHeight]) }; }"""


@pytest.mark.slow
@every_lesson
def test_the_slides_in_a_browser(which, opened, tmp_path):
    "From a file, without network: every slide is reached by keyboard, nothing is cut off, type and pictures are large."
    page = opened(which)
    total, seen = page.evaluate("Reveal.getSlides().length"), []
    for _ in range(5 * total):
        found = page.evaluate(ROOM)
        if found not in seen:
            seen.append(found)
        page.keyboard.press("ArrowRight")
    page.screenshot(path=tmp_path / "last.png")
    assert [s["number"] for s in seen] == list(range(total))
    assert not [s for s in seen if s["high"] > 0.5 or s["wide"] > 0.5 or s["below"] > 0], (
        "these slides hold too much: take a part out, or make two of one"
    )
    assert min(s["type"] for s in seen) >= 20
    assert not [s for s in seen for wide, high in s["pictures"] if wide < 560 and high < 280], (
        "a picture too small for the last row"
    )
    page.keyboard.press("Home")
    assert page.evaluate(ROOM)["number"] == 0
    assert page.errors == [] and {url.split(":")[0] for url in page.asked} <= {"file", "data"}


@pytest.mark.slow
def test_the_speakers_window(opened):
    "S opens the notes in a window of their own, which follows and leads; T shows them on the slide."
    from playwright.sync_api import expect

    page = opened("example")
    with page.expect_popup() as window:
        page.keyboard.press("s")
    desk = window.value
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    expect(desk.locator("#count")).to_have_text("Slide 3 of 8")
    expect(desk.locator("#now")).to_have_text("1. Counting")
    expect(desk.locator("#notes")).to_contain_text("Ask the room first")
    expect(desk.locator("#next")).to_have_text("Next: 1. Counting")
    desk.keyboard.press("ArrowRight")
    desk.keyboard.press("Space")
    expect(desk.locator("#count")).to_have_text("Slide 5 of 8")
    expect(desk.locator("#next")).to_have_text("Next: Question 1 of 3")
    assert page.evaluate(ROOM)["number"] == 4
    expect(desk.locator("#clock")).not_to_have_text("0:00:00")
    expect(page.locator("#talk")).to_be_hidden()
    page.keyboard.press("t")
    expect(page.locator("#talk")).to_be_visible()
    expect(page.locator("#talk")).to_contain_text("mixed up")
    assert page.errors == [] and {url.split(":")[0] for url in page.asked} <= {
        "file",
        "data",
        "about",
    }


@pytest.mark.slow
@every_lesson
def test_the_guide_in_a_browser(which, opened):
    page = opened(which, 1)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (
        "the guide must not be wider than its window"
    )
    assert page.errors == [] and {url.split(":")[0] for url in page.asked} <= {"file", "data"}


@pytest.mark.full
@pytest.mark.slow
@every_lesson
@every_page
def test_nothing_serious_for_assistive_software(which, kind, opened):
    page = opened(which, kind)
    page.evaluate("document.querySelector('meta[http-equiv]').remove()")
    assert faults(page) == []


# What is out of form is said in words


def test_an_unknown_lesson_lists_what_there_is(tmp_path):
    for write in (write_slides, write_guide):
        with pytest.raises(LessonError, match=r"no lesson '9\.9'\. There are: "):
            write("9.9", tmp_path / "x.html")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"teach": TEACH.replace("5", "4", 1)},
            r"the lesson says 5 minutes, its sections add up to 4 \(1\. Counting 4\)",
        ),
        (
            {"key": KEY.replace('"You', 'f"You')},
            "expected a plain text in quotes, found f'You counted",
        ),
        ({"key": "1"}, "'share' has no answer key"),
    ],
)
def test_a_guide_that_cannot_be_right_is_refused(change, said, kept, tmp_path):
    with pytest.raises(LessonError, match=said):
        write_guide(kept(example(**change)), tmp_path / "guide.html")
    assert not (tmp_path / "guide.html").exists()


def test_an_exercise_without_minutes_is_named(kept, tmp_path):
    more = [
        NEW.new_markdown_cell("## More"),
        NEW.new_code_cell("# solution\nx = 5\n# end", metadata={"tags": ["exercise:five"]}),
        NEW.new_code_cell(KEY.replace("share", "five"), metadata={"tags": ["key"]}),
    ]
    with pytest.raises(LessonError, match="five stands in a section without a 'teach' cell"):
        write_guide(kept(example(*more)), tmp_path / "guide.html")


def test_a_lesson_that_was_never_run_is_named(kept, tmp_path):
    book = example()
    book.cells[3].outputs = []
    with pytest.raises(
        LessonError, match=r"starts with 'draw\(\)' has no stored output.*make run-notebooks"
    ):
        write_slides(kept(book), tmp_path / "slides.html")
    book = example()
    book.cells[8].outputs = shown("<p>Nothing.</p>")
    for write in (write_slides, write_guide):
        with pytest.raises(LessonError, match="holds no question"):
            write(kept(book), tmp_path / "page.html")


def test_a_part_without_a_slide_is_named(kept, tmp_path):
    book = example()
    book.cells[1].metadata["tags"] = ["slide-part"]
    with pytest.raises(
        LessonError, match="'slide-part' stands before the first one tagged 'slide'"
    ):
        write_slides(kept(book), tmp_path / "slides.html")


def test_the_files_have_names_of_their_own(kept, tmp_path, monkeypatch):
    source = kept(example())
    monkeypatch.chdir(tmp_path)
    assert write_slides(source) == Path("slides-7.html") and write_guide(source) == Path(
        "guide-7.html"
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "example.ipynb",
        "guide-7.html",
        "slides-7.html",
    ]
