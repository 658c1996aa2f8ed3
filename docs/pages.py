"""The words of the pages that no notebook holds: tables of contents, API pages, data-set cards."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import genomed_workbench as gw
from genomed_workbench.clinic.dictionary import DISEASES, Dictionary, Variable
from genomed_workbench.teaching.lesson import SERIES, Lesson, series_title
from genomed_workbench.workbench.dictionary import values_of

ROOMS = {
    "clinic": "Dictionaries, units, karyotypes and scores.",
    "output": "Pages, pictures, and files that are written atomically.",
    "statistics": "Pure functions on arrays, and on sums that hospitals can add up.",
    "data": "A cohort: its columns, its outcome, its checks, its scores.",
    "protection": "What may leave a hospital, and what is refused.",
    "learners": "Models that can be trained over hospitals.",
    "intake": "Readers of hospital files, and the mapping of their columns.",
    "virtual": "Virtual patients, drawn from published figures.",
    "federation": "Hospitals, the app that runs at each, and the engines that pass messages.",
    "readiness": "Is a hospital's file ready to take part?",
    "named_cohorts": "Cohorts by their names.",
    "analytics": "Questions to all hospitals: Table 1, survival curves, tests, validation.",
    "evaluation": "Alone, together, pooled: compared with intervals, drawn and reported.",
    "nodes": "Real nodes at real hospitals.",
    "synthetic": "Sharing without sharing.",
    "benchmarks": "What it costs, measured side by side.",
    "experiments": "Many cohorts, designs and learners in one grid.",
    "attacks": "What the numbers could give away, measured.",
    "trust": "Explanation, fairness, cards.",
    "planning": "The costs and sample sizes of a federation.",
    "teaching": "Lessons, exercises, quizzes, progress, slides.",
    "workbench": "The panel for researchers.",
    "cli": "The command line.",
}
DOORS = {  # where a reader goes on from the front page: title, page, what is there
    "Learn": (
        "webinars/index.md",
        "Webinars with exercises, interactive figures and quizzes. No statistics needed to begin.",
    ),
    "Bring your file": (
        "howto/01_bring_your_file.ipynb",
        "From the table you have to an answer, on your own computer.",
    ),
    "Bring a hospital aboard": (
        "howto/05_hospital_aboard.ipynb",
        "What its columns mean, whether its file is ready, and whether it fits to the others.",
    ),
    "Scores and virtual patients": (
        "howto/06_scores_and_virtual_patients.ipynb",
        "IPSS-M and others with their reasons, and patients to rehearse on.",
    ),
    "Statistics over hospitals": (
        "howto/07_federated_statistics.ipynb",
        "Table 1, survival curves and tests from counts; no row leaves a hospital.",
    ),
    "Choose a learner": (
        "howto/08_choose_a_learner.ipynb",
        "Which model there is for what, and how to let the training patients choose.",
    ),
    "Judge a model": (
        "howto/09_judge_a_model.ipynb",
        "Discrimination, calibration and decision curves, hospital by hospital.",
    ),
    "The published table, run again": (
        "howto/10_published_table.ipynb",
        "What federations in hematology published, and the same designs here, with intervals.",
    ),
    "What leaves a hospital": (
        "howto/11_what_leaves_a_hospital.ipynb",
        "Every number that a run releases, how many patients stand behind it, and what is not protected yet.",
    ),
    "Installation and command line": (
        "howto/13_install_and_command_line.ipynb",
        "What to install for what, and every command with an example.",
    ),
    "Library": (
        "library/index.md",
        "How it works inside, chapter by chapter, with the code at work.",
    ),
    "Data": (
        "data/index.md",
        "Real cohorts and made-up ones: what is in them, and where they come from.",
    ),
}
WAYS_IN = "\n".join(
    [
        ":::{container} ways-in",
        *(f"- [**{title}**]({page}) {what}" for title, (page, what) in DOORS.items()),
        ":::",
    ]
)
Chapter = tuple[Path, str, str, str]  # notebook, module, title, quoted line


def cell(text: str) -> str:
    "Text in a cell of a Markdown table."
    return " ".join(text.replace("|", "\\|").split())


def grid(heads: list[str], rows: list[list[str]]) -> str:
    "A Markdown table."
    return "\n".join(
        f"| {' | '.join(map(cell, row))} |" for row in [heads, ["---"] * len(heads), *rows]
    )


def tree(entries: list[str], caption: str = "") -> str:
    "A hidden table of contents: it makes the sidebar."
    told = f":caption: {caption}\n" if caption else ""
    return f"```{{toctree}}\n:hidden:\n{told}\n" + "\n".join(entries) + "\n```"


def chapters_index(listed: dict[str, list[Chapter]]) -> str:
    "The library: every chapter, from the ground floor up."
    parts = [
        "# Library",
        "> The package, written to be read: one notebook is one module, and each shows its code at work.",
        "Rooms stand on floors; a room uses only the rooms below it. Read from here "
        "downwards and nothing comes before it has been explained.",
    ]
    for room, rows in listed.items():
        parts += [
            f"## {room}",
            ROOMS.get(room, ""),
            "\n".join(
                f"- [{title}]({room}/{path.name}): {quote}" for path, _, title, quote in rows
            ),
        ]
        parts.append(tree([f"{room}/{path.stem}" for path, *_ in rows], room))
    return "\n\n".join(parts) + "\n"


def api_page(module: str, title: str, quote: str, chapter: str) -> str:
    "One module: what it holds, from its docstrings."
    leaf = module.rpartition(".")[2]
    return (
        "\n\n".join(
            [
                f"# {leaf}",
                f"> {quote}",
                f"{{.in-lab}}\n`genomed_workbench.{module}` is written and explained in the "
                f"chapter [{title}]({chapter}).",
                f"```{{eval-rst}}\n.. automodule:: genomed_workbench.{module}\n   :members:\n```",
            ]
        )
        + "\n"
    )


def first_line(thing: Any) -> str:
    "The first paragraph of a docstring, in one line."
    return " ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split())


def api_index(listed: dict[str, list[Chapter]]) -> str:
    "What one gets with `import genomed_workbench as gw`, then every module."
    public = [
        [
            f'<span id="genomed_workbench.{name}"></span>[`gw.{name}`](#{where(name)}.{name})',
            first_line(getattr(gw, name)),
        ]
        for name in gw.__all__
    ]
    parts = [
        "# API",
        "> Every public name, from the docstrings.",
        "```python\nimport genomed_workbench as gw\n```",
        "## What `gw` holds",
        grid(["name", "what it is"], public),
        "## Modules",
    ]
    for room, rows in listed.items():
        pages = {module: f"{room}/{module.removeprefix(room + '.')}" for _, module, *_ in rows}
        links = [[f"[`{module}`]({pages[module]}.md)", quote] for _, module, _, quote in rows]
        parts += [
            f"### {room}",
            grid(["module", "what it is for"], links),
            tree(list(pages.values()), room),
        ]
    return "\n\n".join(parts) + "\n"


def where(name: str) -> str:
    "The module that defines a public name."
    return f"genomed_workbench.{gw._WHERE[name]}"


HOW_TO_DO = """Read a lesson here, or do it in JupyterLab, where answers are checked, figures respond and your progress
is kept. From a clone of the repository:

```bash
make lab
```

From an installation, into a folder of your own:

```bash
genomed lab --folder my-lessons
```

JupyterLab opens on a start page: a check that everything works, the list of lessons, and where you left off. Begin with
*Your first federation*; it needs no statistics and no programming. Exercises say why an answer is wrong and give hints
in steps; quizzes explain every answer. Progress stays in one file of your folder, and work that you touched is never
overwritten: a newer version of a lesson is put beside yours. A complete series ends with a certificate of
self-assessment.

Instructors: `genomed lessons` lists the lessons, `genomed lessons slides 1.1` writes slides that need no network, and
`genomed lessons guide 1.1` a page with timing, talking points, common mistakes and solutions."""


def learn_index(found: list[tuple[str, Lesson]], others: list[tuple[str, str, str]]) -> str:
    "The lessons by series, then what else lies beside them."
    parts = [
        "# Learn",
        "> Webinars that check themselves: a question, interactive figures, exercises, a quiz.",
        HOW_TO_DO,
    ]
    for series, title in SERIES.items():
        rows = [
            (name.removeprefix("webinars/"), lesson)
            for name, lesson in found
            if lesson.about.series == series
        ]
        if rows:
            parts += [f"## {series_title(series)}", lesson_table(rows)]
            parts += [tree([name.removesuffix(".ipynb") for name, _ in rows], title)]
    if others:
        parts += [
            "## Beside the lessons",
            "\n".join(f"- [{title}]({name}): {quote}" for name, title, quote in others),
        ]
        parts += [tree([name.removesuffix(".ipynb") for name, *_ in others], "Beside the lessons")]
    return "\n\n".join(parts) + "\n"


def lesson_table(rows: list[tuple[str, Lesson]]) -> str:
    "The lessons of one series."
    return grid(
        ["lesson", "the question", "minutes", "exercises"],
        [
            [
                f"[{one.title}]({name})",
                one.about.question,
                str(one.about.minutes),
                str(len(one.exercises)),
            ]
            for name, one in rows
        ],
    )


def howto_index(listed: list[tuple[str, str, str]]) -> str:
    "The how-to pages: file, title, quoted line."
    links = "\n".join(
        f"- [{title}]({name}){': ' + quote if quote else ''}" for name, title, quote in listed
    )
    return (
        "# How to\n\n> One task a page, with code that "
        f"runs.\n\n{links}\n\n{tree([name.removesuffix('.ipynb') for name, *_ in listed])}\n"
    )


def counted(card: dict[str, Any]) -> str:
    "Patients, events and hospitals in one line."
    made = card["loader"]["kind"] == "virtual"
    none = (
        "as many patients and hospitals as you ask for"
        if made
        else "no hospitals: split it with `Federation.split`"
    )
    sites = f"{card['sites']} hospitals" if card["sites"] else none
    loaded = (
        f" ({card['n_loaded']:,} with {card['events_loaded']:,} events are loaded)"
        if card["n_loaded"] != card["n"]
        else ""
    )
    return f"{card['n']:,} patients, {card['events']:,} events{loaded}, {sites}"


CODE_PAGES = {
    "LOINC": "https://loinc.org/{}",
    "HGNC": "https://www.genenames.org/data/gene-symbol-report/#!/hgnc_id/{}",
    "ORPHA": "https://www.orpha.net/en/disease/detail/{}",
    "HP": "https://hpo.jax.org/browse/term/{}",
}


def coded(codes: Mapping[str, str]) -> str:
    "Codes as links to where they are explained."
    named = {
        system: f"LOINC {code}" if system == "LOINC" else code for system, code in codes.items()
    }
    return ", ".join(
        f"[{named[system]}](<{CODE_PAGES[system].format(code.removeprefix('ORPHA:'))}>)"
        for system, code in codes.items()
    )


def variable_row(variable: Variable) -> list[str]:
    "One variable of a dictionary."
    used = [f"needed by {', '.join(variable.needed_by)}"] if variable.needed_by else []
    return [
        f'<span id="{variable.name}"></span>`{variable.name}`',
        f"**{variable.label}.** {variable.description} Empty: {variable.missing}.",
        values_of(variable),
        "; ".join(
            [
                *used,
                *([coded(variable.codes)] if variable.codes else []),
                *(
                    f"{value}: {coded({'ORPHA': code})}"
                    for value, code in variable.value_codes.items()
                ),
            ]
        ),
    ]


def dictionary_page(book: Dictionary) -> str:
    "One dictionary: its variables, group by group, then the names under which they are recognised."
    groups = dict.fromkeys(variable.group for variable in book)
    told = (
        "Numbers carry a unit and two ranges: the first is plausible, the second is "
        "all that is possible. A hospital that writes another unit, "
        "other words or other names says so in its mapping; the names at the end of "
        "this page are recognised without one. "
        "The ranges are working limits, set from general knowledge to catch slips of "
        "the pen; they are no reference values for care."
    )
    quote = (
        f"> {len(book)} variables: what each means, its unit, bounds and codes, and "
        f"which score needs it. {coded(book.codes)}".rstrip()
    )
    parts = [
        f"# {book.title}: dictionary",
        quote,
        told,
        "```python\nimport genomed_workbench as gw\n\nbook = "
        f'gw.dictionary("{book.disease}")\ngw.browse_dictionary("{book.disease}")\n```',
    ]
    for group in groups:
        rows = [variable_row(variable) for variable in book if variable.group == group]
        parts += [
            f"## {group.capitalize()}",
            grid(["variable", "what it is", "values", "scores and codes"], rows),
        ]
    names = [
        [f"`{variable.name}`", ", ".join(variable.aliases)] for variable in book if variable.aliases
    ]
    return (
        "\n\n".join(
            [
                *parts,
                "## Names that are recognised",
                "Case, blanks and punctuation do not matter.",
                grid(["variable", "also called"], names),
            ]
        )
        + "\n"
    )


WHAT_BOOKS = (
    "What each clinical variable means, in which unit, between which bounds, under "
    "which codes: one dictionary a disease."
)


def how_many_sites(card: dict[str, Any]) -> str:
    "The hospitals of a cohort, in a cell."
    return str(
        card["sites"] or ("as you ask" if card["loader"]["kind"] == "virtual" else "none: split it")
    )


def data_index(cards: dict[str, dict[str, Any]]) -> str:
    "All registered cohorts, and the dictionaries."
    rows = [
        [
            f"[{name}]({name}.md)",
            card["title"],
            f"{card['n']:,}",
            f"{card['events']:,}",
            how_many_sites(card),
            "**made up**" if card["virtual"] else "real",
            ", ".join(card["outcomes"]),
        ]
        for name, card in cards.items()
    ]
    books = [
        [
            f"[{book.title}](../dictionaries/{book.disease}.md)",
            str(len(book)),
            ", ".join(book.systems),
        ]
        for book in map(gw.dictionary, DISEASES)
    ]
    told = (
        "No row of a real patient is kept in this project. The cards tell where the "
        "tables come from; they are read from there, on your computer. What of them is real and what "
        "is simulated, licences and citations: [Cohorts, licences, citations](../howto/12_cohorts.ipynb)."
    )
    return (
        "\n\n".join(
            [
                "# Data",
                "> What can be loaded by name: where it comes from, under which licence, what "
                "is in it and what was left out.",
                grid(
                    [
                        "name",
                        "what it is",
                        "patients",
                        "events",
                        "hospitals",
                        "real or made up",
                        "outcomes",
                    ],
                    rows,
                ),
                told,
                "## Dictionaries",
                WHAT_BOOKS,
                grid(["disease", "variables", "scores that read them"], books),
                tree(list(cards), "Cohorts"),
                tree([f"../dictionaries/{disease}" for disease in DISEASES], "Dictionaries"),
            ]
        )
        + "\n"
    )


def load_lines(card: dict[str, Any]) -> str:
    "How to load a cohort."
    other = [name for name in card["outcomes"]][1:]
    lines = ["import genomed_workbench as gw", "", f'cohort = gw.load_cohort("{card["name"]}")']
    lines += (
        [f'cohort = gw.load_cohort("{card["name"]}", n=5000, seed=1, hospitals=4)']
        if card["loader"]["kind"] == "virtual"
        else []
    )
    return "\n".join(
        [
            *lines,
            *(f'cohort = gw.load_cohort("{card["name"]}", outcome="{name}")' for name in other),
        ]
    )


MADE_UP = (
    "{.in-lab}\n**These patients are made up.** Nobody can be harmed by sharing "
    "them, and nothing medical can be learned from them."
)


def card_page(card: dict[str, Any]) -> str:
    "One card."
    parts = [
        f"# {card['title']}",
        f"> `{card['name']}`: {counted(card)}.",
        MADE_UP if card["virtual"] else "",
        *card_facts(card),
        "## Load it",
        how_to_install(card["loader"]["install"]),
        f"```python\n{load_lines(card)}\n```",
        *card_columns(card),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def card_facts(card: dict[str, Any]) -> list[str]:
    "What, whence, under which licence."
    facts = {
        "What": card["disease"],
        "How many": counted(card),
        "Source": card["source"],
        "Licence": card["licence"],
        "Cite": card["citation"],
        **(
            {
                "Clinical scores": f"{', '.join(card['scores'])}; to be named in `gw.compare(..., scores=[...])`"
            }
            if card.get("scores")
            else {}
        ),
    }
    return [
        f"{name}\n: {value}"
        for name, value in {
            **facts,
            **({"More": f"<{card['url']}>"} if card["url"] else {}),
        }.items()
    ]


def card_columns(card: dict[str, Any]) -> list[str]:
    "Outcomes, columns, hospitals, and what was left out."
    outcomes = [
        [f"`{name}`", one["description"], one.get("unit", "yes or no")]
        for name, one in card["outcomes"].items()
    ]
    told = {
        one["name"]: "; ".join(filter(None, (one["label"], one.get("description", ""))))
        for one in card["features"]
    }
    columns = [
        [f"`{one['name']}`", told[one["name"]], one.get("unit", ""), one["kind"]]
        for one in card["features"]
    ]
    site = (
        [f"**Hospitals:** `{card['site']['name']}`, {card['site']['description']}."]
        if "site" in card
        else []
    )
    return [
        "## Outcomes",
        grid(["name", "what it is", "unit"], outcomes),
        "## Columns",
        grid(["column", "meaning", "unit", "kind"], columns),
        *site,
        *(["## What is weak", card["weak"]] if card.get("weak") else []),
        "## Left out, and why",
        grid(["column", "why"], [[one["column"], one["why"]] for one in card["left_out"]]),
    ]


def how_to_install(text: str) -> str:
    "What to do before a cohort can be loaded."
    return (
        ""
        if text.startswith("nothing")
        else f"First: `{text}`"
        if text.startswith("pip ")
        else f"First: {text}."
    )
