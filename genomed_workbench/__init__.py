"""Genomed Workbench: learn, prototype and plan federated AI in hematology.

The one module written by hand: public names are imported when they are first used, so that importing is cheap.
"""

import os
from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Flower reads these when it is first imported: nothing is reported to anyone.
os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")

_PUBLIC = {
    "clinic.problems": ("ClinicError",),
    "clinic.dictionary": ("dictionary",),
    "clinic.karyotype": ("read_karyotype", "karyotypes"),
    "data.outcome": ("Survival", "Binary"),
    "data.problems": ("CohortError", "CohortWarning"),
    "data.cohort": ("Cohort",),
    "data.files": ("read_cohort",),
    "named_cohorts.registry": ("load_cohort", "cohorts"),
    "data.leaks": ("leak_suspects",),
    "virtual.truth": ("Truth",),
    "virtual.hospitals": ("Hospitals",),
    "virtual.design": ("fidelity",),
    "virtual.exports": ("hospital_exports",),
    "intake.mapping": ("Mapping",),
    "intake.suggest": ("suggest_mapping",),
    "intake.sources": ("read_records", "read_hospital", "write_table"),
    "intake.fhir": ("read_fhir", "write_fhir"),
    "clinic.scores": ("score_systems",),
    "intake.scoring": ("score", "explain"),
    "learners.learner": (
        "Learner",
        "SurvivalLearner",
        "LearnerError",
        "Block",
    ),
    "protection.release": ("DisclosureError", "UndeclaredRelease", "Released"),
    "learners.newton": ("NewtonLearner", "SearchStrategy"),
    "learners.cox": ("CoxPH",),
    "learners.personal": ("PersonalCox",),
    "learners.boosting": ("BoostedSurvival",),
    "learners.catalogue": ("known_learners", "learner_of"),
    "learners.logistic": ("LogisticRegression",),
    "learners.discrete": ("DiscreteHazard",),
    "learners.forest": ("SurvivalForest",),
    "learners.neural": ("DeepSurv", "HazardNet"),
    "learners.ensemble": ("Ensemble", "BestOf"),
    "learners.strategies": ("FedNova", "Scaffold", "strategy", "known_strategies"),
    "federation.sites": ("FederationError", "Site"),
    "analytics.federation": ("Federation",),
    "federation.engines": ("EngineError", "SiteError", "Step", "Stopped"),
    "federation.run": ("federate", "Run"),
    "analytics.harmony": ("Harmony",),
    "analytics.asking": ("Answer",),
    "analytics.descriptive": ("TableOne",),
    "analytics.survival_curves": ("Curves",),
    "analytics.proportional_hazards": ("check_proportional", "Proportionality"),
    "analytics.validation": ("validate", "Validation"),
    "evaluation.compare": ("compare", "Comparison"),
    "evaluation.leave_site_out": ("leave_one_site_out", "LeftOut", "sites_curve", "SitesCurve"),
    "evaluation.restratification": ("restratify", "Restratification"),
    "experiments.run": ("experiment", "Experiment"),
    "experiments.plan": ("ExperimentError",),
    "evaluation.learning_curve": ("learning_curve", "LearningCurve"),
    "readiness.check": ("check_readiness", "Readiness"),
    "teaching.session": ("lesson",),
    "teaching.glossary": ("glossary", "look_up"),
    "teaching.slides": ("write_slides",),
    "teaching.guide": ("write_guide",),
    "teaching.explore": ("explore", "Slider", "Choice", "Switch"),
    "teaching.start": ("check_setup", "progress"),
    "teaching.certificate": ("certificate",),
    "workbench.panel": ("Workbench",),
    "workbench.mapping": ("confirm_mapping",),
    "workbench.dictionary": ("browse_dictionary",),
}
_WHERE = {name: module for module, names in _PUBLIC.items() for name in names}
__all__ = sorted(_WHERE)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        new_name: str | None = import_module(f"{__name__}.output.renamed").warn_renamed(name)
        if new_name is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(__name__), new_name)
    value = getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
