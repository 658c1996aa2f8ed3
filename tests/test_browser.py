"""The lessons as a trainee meets them: a real JupyterLab in a real Chromium, controls moved by
keyboard, quizzes answered.
"""

import pytest
from browser import finished, questions_of, run_all
from playwright.sync_api import expect

from genomed_workbench.teaching.lesson import lessons
from genomed_workbench.teaching.quiz import One

pytestmark = pytest.mark.slow
LESSONS = lessons()
OPENER = "0"  # the others are left to make test-all


def copy_of(lesson) -> str:
    "Where the trainee's copy lies in the folder that the JupyterLab of the tests serves."
    return (
        f"lessons/{lesson.path.parent.name + '/' if lesson.about.series else ''}{lesson.path.name}"
    )


@pytest.mark.parametrize(
    "name",
    [name if name == OPENER else pytest.param(name, marks=pytest.mark.full) for name in LESSONS],
)
def test_a_lesson_in_jupyterlab(name, lab, page, tmp_path):
    """Run all; move what can be moved by keyboard; answer a quiz wrongly, then rightly; nothing is
    asked of another host.
    """
    lesson = LESSONS[name]
    run_all(page, lab, copy_of(lesson))
    finished(page)
    assert page.locator('[data-mime-type="application/vnd.jupyter.stderr"]').all_inner_texts() == []
    assert page.locator('[data-mime-type="application/vnd.jupyter.error"]').all_inner_texts() == []
    page.get_by_text("Not yet.").nth(
        len(lesson.exercises) - 1
    ).wait_for()  # a copy with nothing filled in: every check says so
    moving = page.locator(".genomed-explore")
    moving.nth(1 if lesson.about.series else 0).wait_for()
    for i in range(moving.count()):
        move_by_keyboard(page, moving.nth(i), tmp_path / f"moved-{i}.png")
    answer_by_keyboard(page, questions_of(lesson)[lesson.quizzes[-1]], tmp_path)
    unnamed = page.locator(
        ".jp-OutputArea-output img:not([alt]), .jp-OutputArea-output img[alt='']"
    )
    assert unnamed.count() == 0, "a figure without a text alternative"
    page.screenshot(path=tmp_path / "page.png")
    assert page.errors == []
    assert page.abroad == []


def move_by_keyboard(page, widget, picture) -> None:
    "Move the first control with an arrow key: words and figure follow."
    widget.scroll_into_view_if_needed()
    words, figure = widget.get_by_role("status"), widget.locator("img").last
    before, drawn = words.inner_text(), figure.get_attribute("src")
    assert figure.get_attribute("alt") == before
    handle = widget.locator("[role=slider], select, input[type=checkbox]").first
    handle.focus()
    if handle.get_attribute("role") == "slider":
        at_end = handle.get_attribute("aria-valuenow") == handle.get_attribute("aria-valuemax")
        page.keyboard.press("ArrowLeft" if at_end else "ArrowRight")
    elif handle.evaluate("e => e.tagName") == "SELECT":
        at_end = handle.evaluate("e => e.selectedIndex == e.options.length - 1")
        for key in (
            "Space",
            "ArrowUp" if at_end else "ArrowDown",
            "Enter",
        ):  # JupyterLab takes an arrow for itself while the list is closed
            page.keyboard.press(key)
    else:
        page.keyboard.press("Space")
    expect(figure).not_to_have_attribute("src", drawn)
    expect(words).not_to_have_text("Drawing …")
    said = words.inner_text()
    expect(figure).to_have_attribute("alt", said)
    assert said != before
    widget.screenshot(path=picture)


def answer_by_keyboard(page, questions, folder) -> None:
    "Answer the first question with one answer wrongly, then rightly, by keyboard alone."
    quiz = page.locator(".genomed-quiz").last
    quiz.scroll_into_view_if_needed()
    number, asked = next((i, q) for i, q in enumerate(questions) if isinstance(q, One))
    one = quiz.locator(":scope > .widget-vbox").nth(number)
    options = list(asked.options)
    for wanted, says in (
        (next(o for o in options if o != asked.right), "Not yet."),
        (asked.right, "Right."),
    ):
        radio = one.locator("input[type=radio]").nth(options.index(wanted))
        radio.focus()
        page.keyboard.press("Space")
        expect(radio).to_be_checked()
        button = one.get_by_role("button")
        button.focus()
        page.keyboard.press("Enter")
        expect(one.get_by_role("status")).to_contain_text(says)
        expect(one.get_by_role("status")).to_contain_text(
            " ".join(asked.options[wanted].split())[:40]
        )
    expect(quiz.get_by_role("status").last).to_contain_text(f"1 of {len(questions)} questions")
    quiz.screenshot(path=folder / "quiz.png")
