"Where a trainee starts: the check of the set-up, the panel of progress, the certificate."

import html.parser
import io
import json
import re
import subprocess
import sys
import time
import urllib.parse
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import matplotlib.image
import pytest

import genomed_workbench as gw
from genomed_workbench.teaching import start
from genomed_workbench.teaching.certificate import (
    PLAINLY,
    ROOMY,
    WHY,
    CertificateError,
    as_picture,
    certificate,
    in_full,
)
from genomed_workbench.teaching.folder import MANIFEST, prepare_folder
from genomed_workbench.teaching.lesson import lessons
from genomed_workbench.teaching.progress import Progress
from genomed_workbench.teaching.start import QUIZ_MARK, Panel, check_setup, standings

LESSONS = lessons()
NAMES = ["Python", "Things to move", "Patients", "Your work", "A federation"]


@pytest.fixture
def mine(tmp_path, monkeypatch) -> Path:
    "A trainee's folder, in which the notebook runs."
    prepare_folder(tmp_path / "mine")
    monkeypatch.chdir(tmp_path / "mine")
    return tmp_path / "mine"


def solve(
    progress: Progress, series: int | None = None, exercises: bool = True, right: int = 6
) -> Progress:
    "Solve everything of a series (or of all), with so many of six questions answered rightly."
    for lesson in LESSONS.values():
        if series is None or lesson.about.series == series:
            for name in lesson.exercises if exercises else ():
                progress.tried(lesson.id, name, True)
            for name in lesson.quizzes:
                for question in range(6):
                    progress.answered(lesson.id, name, question, 6, question < right)
    return progress


class Page(html.parser.HTMLParser):
    "The elements of a page, balanced, with their attributes and texts."

    def __init__(self, text: str):
        super().__init__()
        self.open, self.elements, self.words = [], [], []
        self.feed(text)
        assert self.open == [], f"not closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict]:
        return [attrs for name, attrs in self.elements if name == tag]


# --- does everything work?


def test_the_check_has_five_lines_that_say_what_they_are(mine):
    setup = check_setup()
    assert [line.name for line in setup.lines] == NAMES and all(
        line.said.endswith(".") for line in setup.lines
    )
    assert [line.works for line in setup.lines] == [True, None, True, True, True] and setup.works
    assert (
        setup.answer == "Everything that can be told works. Open: Things to move."
        and gw.__version__ in setup.lines[0].said
    )
    assert "in the folder mine; 0 exercises are solved" in setup.lines[3].said
    page = Page(setup._repr_html_())
    assert page.all("div")[0]["role"] == "status" and all(
        line.said in page.text for line in setup.lines
    )
    assert len(page.all("li")) == 5 and {span["aria-label"] for span in page.all("span")} == {
        "works",
        "cannot be told here",
    }
    assert repr(setup).splitlines()[0] == setup.answer and len(repr(setup).splitlines()) == 6


def test_the_federated_run_takes_less_than_a_second():
    start.run_line()
    began = time.process_time()
    _, said = start.run_line()
    assert re.search(r"in [\d.]+ seconds", said) and time.process_time() - began < 1


def test_what_fails_becomes_a_sentence(mine, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("the roof <leaks>")

    monkeypatch.setattr(start, "load_cohort", broken)
    setup = check_setup()
    assert [line.works for line in setup.lines] == [
        True,
        None,
        False,
        True,
        False,
    ] and not setup.works
    assert setup.answer == "Something needs mending: Patients, A federation. The line says how."
    assert (
        "RuntimeError: the roof <leaks>" in setup.lines[2].said
        and "the roof &lt;leaks&gt;" in setup._repr_html_()
        and "does not work" in setup._repr_html_()
    )


def test_outside_of_a_folder_nothing_is_claimed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = check_setup().lines[3]
    assert line.works is None and "genomed lab" in line.said


def test_lessons_of_another_version_are_noticed(mine):
    said = json.loads((mine / MANIFEST).read_text())
    (mine / MANIFEST).write_text(json.dumps(said | {"version": "0.0.9"}))
    line = check_setup().lines[0]
    assert line.works is False and "0.0.9" in line.said and "genomed lab" in line.said


def test_a_folder_that_cannot_be_written_to_is_noticed(mine, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(start.tempfile, "TemporaryFile", full)
    line = check_setup().lines[3]
    assert line.works is False and "No space left" in line.said and "--folder" in line.said


@pytest.mark.parametrize(
    ("found", "says"), [("2.0.0", "installed is 2.0.0"), (None, "installed is none")]
)
def test_missing_parts_for_sliders_are_noticed(monkeypatch, found, says):
    def version(name):
        if name == "jupyterlab_widgets" and found is None:
            raise metadata.PackageNotFoundError(name)
        return found if name == "jupyterlab_widgets" else metadata.version(name)

    monkeypatch.setattr(start, "version", version)
    works, said = start.widgets_line()
    assert works is False and says in said and "pip install --upgrade" in said


def test_without_real_cohorts_it_says_made_up(monkeypatch):
    listed = gw.cohorts().assign(available='pip install "genomed-workbench[real]"')
    monkeypatch.setattr(start, "cohorts", lambda: listed)
    works, said = start.data_line()
    assert works and "400 made-up patients" in said and "genomed-workbench[real]" in said


def test_shown_without_a_browser_it_stays_open(mine):
    "The bundle holds a widget and, for where no kernel runs, the five lines; outside of a notebook nobody is asked."
    setup = check_setup()
    bundle = setup._repr_mimebundle_()
    assert (
        "application/vnd.jupyter.widget-view+json" in bundle
        and bundle["text/html"] == setup._repr_html_()
        and bundle["text/plain"] == repr(setup)
    )
    assert setup.lines[1].works is None


# --- how far have I come?


def test_the_panel_counts_what_the_progress_holds(mine):
    progress = Progress.here()
    first = LESSONS["1.1"]
    one, *others = first.exercises
    progress.tried("1.1", one, False)
    assert Panel(progress).table.loc["1.1", "solved"] == 0
    progress.tried("1.1", one, True)
    progress.tried("1.1", others[0], False)
    progress.tried("1.1", "an exercise of an older version", True)
    for question, right in enumerate((True, False, True)):
        progress.answered("1.1", "closing", question, 6, right)
    panel = gw.progress()
    assert (
        list(panel.table.index) == list(LESSONS)
        and panel.table.solved.sum() == 1
        and panel.table.exercises.tolist() == [len(one.exercises) for one in LESSONS.values()]
    )
    assert (
        panel.table.loc["1.1", "quiz"] == pytest.approx(2 / 6)
        and panel.table.quiz.isna().sum() == len(LESSONS) - 1
        and not panel.table.done.any()
    )
    page = Page(panel._repr_html_())
    assert (
        f"1 of {panel.table.exercises.sum()} exercises solved, 0 of {len(LESSONS)} lessons done"
        in page.text
        and f"1 of {len(first.exercises)} 33% " in page.text
    )
    assert panel.answer.endswith(
        f"Go on with: 1.1 Why train together?, section “{first.exercises[others[0]].section}”."
    ) and repr(panel).startswith(panel.answer)


def test_the_panel_is_a_table_for_everybody(mine):
    page = Page(gw.progress()._repr_html_())
    assert len(page.all("table")) == len(page.all("caption")) == 1 and all(
        cell.get("scope") in ("col", "row", "rowgroup") for cell in page.all("th")
    )
    assert len([cell for cell in page.all("th") if cell["scope"] == "col"]) == 5
    links = page.all("a")
    assert len(links) == 1 + 2 * len(LESSONS), (
        "where to begin, and for each lesson its title and its next step"
    )
    for link in links:
        path = urllib.parse.unquote(link["href"].partition("#")[0])
        assert not path.startswith(("/", "http")) and (mine / path).is_file()


def test_the_links_also_lead_from_a_lesson(mine, monkeypatch):
    monkeypatch.chdir(mine / "series1")
    for link in Page(gw.progress()._repr_html_()).all("a"):
        assert (mine / "series1" / link["href"].partition("#")[0]).is_file()


def test_where_one_left_off(mine):
    progress = Progress.here()
    assert gw.progress().next.lesson.id == "0" and "Begin with" in gw.progress().answer
    for number, lesson in enumerate(("1.2", "1.1")):
        progress.change(
            lambda said, at=number, lesson=lesson: said["lessons"].update(
                {
                    lesson: {
                        "seconds": 90.0,
                        "exercises": {},
                        "quizzes": {},
                        "last": f"2026-01-0{at + 1}T10:00:00+00:00",
                    }
                }
            )
        )
    assert gw.progress().next.lesson.id == "1.1"
    name = next(iter(LESSONS["1.1"].exercises))
    cell = start.task_cell(LESSONS["1.1"], name)
    assert (
        f"01_why_train_together.ipynb#cell-id={cell}" in gw.progress()._repr_html_()
        and cell
        in {
            c["id"]
            for c in json.loads((mine / "series1" / "01_why_train_together.ipynb").read_text())[
                "cells"
            ]
        }
    )
    for exercise in LESSONS["1.1"].exercises:
        progress.tried("1.1", exercise, True)
    for question in range(6):
        progress.answered("1.1", "closing", question, 6, True)
    assert gw.progress().next.lesson.id == "0", "a lesson that is done is left behind"
    solve(progress)
    panel = gw.progress()
    assert (
        panel.next is None
        and "finished everything" in panel.answer
        and panel.table.done.all()
        and "gw.certificate(1" in panel._repr_html_()
    )


def test_a_new_version_of_a_lesson_is_linked(mine):
    copy = mine / "series1" / "01_why_train_together.ipynb"
    (mine / MANIFEST).unlink()
    copy.write_bytes(b"{}")
    done = prepare_folder(mine)
    (beside,) = done.beside.values()
    page = gw.progress()._repr_html_()
    assert f'href="{beside}"' in page and "new version of 1.1" in page


def test_outside_of_a_folder_the_panel_has_no_links(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    panel = gw.progress()
    assert (
        "<a " not in panel._repr_html_()
        and "Progress is not kept here" in panel._repr_html_()
        and not list(tmp_path.iterdir())
    )


# --- the certificate


def test_a_certificate_is_refused_in_words_until_the_series_is_complete():
    with pytest.raises(CertificateError) as refused:
        certificate(1, "Ada Lovelace", Progress())
    said = str(refused.value)
    assert said.startswith("Series 1 is not complete yet") and "60% needed" in said
    for lesson in (one for one in LESSONS.values() if one.about.series == 1):
        assert (
            f"{lesson.title}: {len(lesson.exercises)} exercises to solve (the next one: {next(iter(lesson.exercises))})"
            in said
            and f"{lesson.title}: the quiz “{lesson.quizzes[0]}”: not begun" in said
        )
    assert refused.value._render_traceback_() == [said], "a notebook shows the words alone"


def test_one_exercise_or_one_low_quiz_is_enough_to_refuse():
    solved = solve(Progress(), 1)
    del solved.read()["lessons"]["1.2"]["exercises"][next(iter(LESSONS["1.2"].exercises))]["passed"]
    with pytest.raises(CertificateError) as refused:
        certificate(1, "Ada", solved)
    assert len(
        str(refused.value).splitlines()
    ) == 3 and "1.2 Reading a cohort: 1 exercise to solve" in str(refused.value)
    with pytest.raises(CertificateError, match="3 of 6 right, 60% needed"):
        certificate(1, "Ada", solve(Progress(), 1, right=3))
    assert QUIZ_MARK == 0.6 and certificate(1, "Ada", solve(Progress(), 1, right=4))
    with pytest.raises(CertificateError, match="no series 7"):
        certificate(7, "Ada", Progress())
    for nobody in ("", "  ", "\n"):
        with pytest.raises(CertificateError, match="Give your name"):
            certificate(1, nobody, solve(Progress(), 1))


def test_quiz_marks_at_the_border():
    "Six of ten is enough, five is not; a floating point slip must not decide."
    for right, enough in ((5, False), (6, True)):
        progress = solve(Progress(), 1)
        for lesson in (one for one in LESSONS.values() if one.about.series == 1):
            progress.read()["lessons"][lesson.id]["quizzes"] = {
                name: {
                    "of": 10,
                    "questions": {str(q): {"tries": 2, "right": q < right} for q in range(10)},
                }
                for name in lesson.quizzes
            }
        assert standings(progress)["1.1"].done is enough


def test_what_the_certificate_says(mine):
    progress = solve(Progress.here(), 1, right=5)
    progress.change(
        lambda said: [
            one.update(seconds=1800.0, last="2026-03-05T12:00:00+00:00")
            for one in said["lessons"].values()
        ]
    )
    page = Page(gw.certificate(1, name="  Ada   Lovelace ")._repr_html_())
    ones = [one for one in LESSONS.values() if one.about.series == 1]
    day = in_full(datetime(2026, 3, 5, 12, tzinfo=UTC).astimezone().date())
    for words in (
        "Ada Lovelace",
        "Series 1: AI in hematology: foundations",
        PLAINLY,
        WHY,
        day,
        gw.__version__,
        "every quiz at 60% or above",
        f"{len(ones)} lessons",
        f"{sum(len(one.exercises) for one in ones)} of",
        f"{5 * len(ones)} of {6 * len(ones)} quiz questions answered rightly ({5 * len(ones)} at the first try)",
        f"{len(ones) // 2} h{' 30 min' if len(ones) % 2 else ''} at work",
    ):
        assert words in page.text, words
    assert all(one.title in page.text for one in ones)
    assert {objective in page.text for one in ones for objective in one.about.objectives} == {
        len(ones) <= ROOMY
    }, "what a lesson was about, where there is room for it"
    assert (
        "nobody verified" in page.text
        and "no examination" in page.text
        and "no accreditation" in page.text
    )


NAMES_OF_PEOPLE = [
    '<script>alert("x")</script>',
    "O'Hara & Søn",
    "{name} %s $x_1$ \\alpha",
    '" onload="alert(1)',
    "Łukasz Żółć, Ελένη, Анна",
    "A" * 200,
    "van der " * 12 + "Waals",
]


@pytest.mark.parametrize("name", NAMES_OF_PEOPLE)
def test_a_name_is_shown_as_it_was_typed(name, tmp_path):
    one = certificate(1, name, solve(Progress(), 1))
    for text in (
        one._repr_html_(),
        one.save(tmp_path / "certificate.html").read_text(encoding="utf-8"),
    ):
        page = Page(text)
        assert (
            " ".join(name.split()) in page.text
            and page.all("script") == []
            and not [attrs for _, attrs in page.elements if "onload" in attrs]
        )
        assert not re.search(r"(?:src|href|url)\s*[=(]", text), "nothing is loaded from elsewhere"
    assert one.save(str(tmp_path / "certificate.png")).read_bytes().startswith(b"\x89PNG")


def test_the_picture_is_a4_in_landscape():
    picture = matplotlib.image.imread(
        io.BytesIO(as_picture(certificate(1, "Ada Lovelace", solve(Progress(), 1))))
    )
    high, wide = picture.shape[:2]
    assert (wide, high) == (2338, 1654) and wide / high == pytest.approx(297 / 210, rel=2e-3)
    assert 0.02 < (picture[..., :3].mean(axis=2) < 0.6).mean() < 0.2, "neither empty nor black"


def test_letters_that_no_font_has_are_refused_in_a_picture_only(tmp_path):
    one = certificate(1, "Ada \U0010fffd", solve(Progress(), 1))
    with pytest.raises(CertificateError, match="as .html instead"):
        one.save(tmp_path / "certificate.png")
    assert list(tmp_path.iterdir()) == [] and one.save(tmp_path / "certificate.html").is_file()


def test_saving(tmp_path):
    one = certificate(1, "Ada", solve(Progress(), 1))
    with pytest.raises(CertificateError, match="as .html or as .png"):
        one.save(tmp_path / "certificate.pdf")
    assert list(tmp_path.iterdir()) == []
    target = tmp_path / "certificate.html"
    target.write_text("an older one")
    assert (
        one.save(target) == target
        and target.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
        and "size: A4 landscape" in target.read_text(encoding="utf-8")
    )
    assert [p.name for p in tmp_path.iterdir()] == ["certificate.html"]


def test_a_series_of_many_lessons_still_fits_one_page():
    one = certificate(1, "Ada", solve(Progress(), 1))
    many = type(one)(one.name, 1, one.standings * 4, one.day, one.version)
    assert (
        as_picture(many).startswith(b"\x89PNG")
        and LESSONS["1.1"].about.objectives[0] not in Page(many._repr_html_()).text
    )


@pytest.mark.slow
def test_the_three_of_them_in_a_fresh_process(mine):
    code = (
        "import genomed_workbench as gw; print(gw.check_setup()); "
        "print(gw.progress())\ntry: gw.certificate(1, name='Ada')\nexcept ValueError "
        "as e: print(e)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (
        "✗" not in done.stdout
        and "Begin with: Your first federation" in done.stdout
        and "not complete yet" in done.stdout
    )
