"Engines: same numbers wherever the app runs, errors that stop with the site's name, and nothing left changed behind."

import json
import logging
import os
import random
import time
import warnings

import numpy as np
import pandas as pd
import pytest
from conftest import as_cohort, federate, in_hospitals, made_up, measure
from flwr.app import Context, Error, Message, MessageType, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAdam, FedAvg, FedMedian, FedProx
from flwr.supercore.task_identity import TaskIdentity

import genomed_workbench as gw
from genomed_workbench.federation import engines
from genomed_workbench.federation.engines import (
    InProcessGrid,
    Recorder,
    quiet_flower,
    site_error,
    task_identity,
)
from genomed_workbench.learners.newton import from_array, to_record

LEARNERS = {
    "cox": (gw.CoxPH(), {}),
    "cox tuned": (gw.CoxPH(), {"tune": 3}),
    "cox shared": (gw.CoxPH(baseline="shared", disclosure="simulation"), {}),
    "cox averaged": (gw.CoxPH(0.01), {"strategy": FedAvg(), "rounds": 4}),
    "logistic": (gw.LogisticRegression(), {}),
    "logistic averaged": (
        gw.LogisticRegression(0.01),
        {"strategy": FedAvg(fraction_train=0.7), "rounds": 4},
    ),
    "logistic plainly averaged": (gw.LogisticRegression(0.01), {"strategy": FedAvg(), "rounds": 3}),
    "logistic proximal": (
        gw.LogisticRegression(0.01),
        {"strategy": FedProx(proximal_mu=0.1), "rounds": 4},
    ),
    "logistic adam": (gw.LogisticRegression(0.01), {"strategy": FedAdam(), "rounds": 4}),
    "logistic median": (gw.LogisticRegression(0.01), {"strategy": FedMedian(), "rounds": 4}),
}


def hospitals(learner: gw.Learner, **options) -> gw.Federation:
    "Four made-up hospitals with the outcome that the learner wants."
    X, y = made_up(240, 3, seed=7)
    X = X.assign(sex=["female", "male", "male"] * 80)
    X.loc[::9, "f1"] = np.nan
    if isinstance(learner, gw.LogisticRegression):
        y = (X["f0"] + np.random.default_rng(0).normal(size=240) > 0).astype(int).to_numpy()
    return gw.Federation.by_site(
        as_cohort(X, y, np.repeat(list("ABCD"), [100, 70, 40, 30])),
        **{"test_share": 0.2, **options},
    )


def timeless(frame: pd.DataFrame) -> pd.DataFrame:
    "A history without the clock."
    return frame.drop(columns="seconds")


# Seeds


@pytest.mark.parametrize("name", LEARNERS)
def test_the_same_seed_gives_the_same_run_to_the_last_bit(name, chance):
    learner, options = LEARNERS[name]
    random.seed(1)
    first = federate(hospitals(learner), learner, seed=3, **options)
    random.seed(2)
    np.random.seed(5)
    again = federate(hospitals(learner), learner, seed=3, **options)
    for attribute in ("beta_", "coef_"):
        assert (
            getattr(first.learner, attribute).tobytes()
            == getattr(again.learner, attribute).tobytes()
        )
    pd.testing.assert_frame_equal(first.learner.summary_, again.learner.summary_, check_exact=True)
    pd.testing.assert_frame_equal(
        timeless(first.history), timeless(again.history), check_exact=True
    )
    pd.testing.assert_frame_equal(first.disclosed, again.disclosed, check_exact=True)
    assert (first.tuning is None) == (again.tuning is None) and (
        first.tuning is None or first.tuning.equals(again.tuning)
    )


def test_another_seed_moves_what_chance_decides():
    learner, options = LEARNERS["logistic averaged"]
    runs = [
        federate(hospitals(learner), learner, seed=seed, **options).learner.beta_
        for seed in (0, 1, 2)
    ]
    assert len({b.tobytes() for b in runs}) > 1
    federations = [hospitals(gw.CoxPH(), seed=seed) for seed in (0, 1)]
    assert set(federations[0].test_rows) != set(federations[1].test_rows)


def test_chance_is_put_back(chance):
    random.seed(11)
    np.random.seed(12)
    state, numpy_state = random.getstate(), np.random.get_state()
    federate(hospitals(gw.CoxPH()), gw.CoxPH(0.01), strategy=FedAvg(fraction_train=0.5), rounds=2)
    assert random.getstate() == state and all(
        np.array_equal(a, b) for a, b in zip(np.random.get_state(), numpy_state, strict=True)
    )
    with pytest.raises(gw.SiteError):
        federate(hospitals(gw.CoxPH()), broken("B"))
    assert random.getstate() == state


# A site that fails


def broken(site: str = "B", when: str = "newton") -> gw.CoxPH:
    """A learner whose work fails at one hospital, known by its number of training rows. Local, so that
    other processes get it by value.
    """
    rows = {"A": 80, "B": 56, "C": 32, "D": 24}[site]

    class Broken(gw.CoxPH):
        def answer(self, question, block, state):
            if question == when and block.n == rows:
                raise ZeroDivisionError("the ward is empty")
            return super().answer(question, block, state)

    return Broken()


@pytest.mark.parametrize(
    ("site", "when", "options"),
    [
        ("B", "newton", {}),
        ("D", "baseline", {}),
        ("A", "newton", {"tune": 2}),
        ("C", "score", {"tune": 2}),
        ("B", "weights", {"strategy": FedAvg(), "rounds": 3}),
    ],
)
def test_a_site_that_fails_stops_the_run_with_its_name(site, when, options):
    with pytest.raises(gw.SiteError) as caught:
        federate(hospitals(gw.CoxPH()), broken(site, when), **options)
    error = caught.value
    assert error.site == site and error.error == "ZeroDivisionError: the ward is empty"
    assert (
        "Traceback" in error.traceback
        and "in answer" in error.traceback
        and "ZeroDivisionError" in str(error)
        and repr(site) in str(error)
    )


def test_a_site_that_fails_at_the_summaries_or_the_test_stops_the_run(monkeypatch):
    for method, phase in (("summary", "summaries"), ("table", "reading")):
        federation = hospitals(gw.CoxPH())
        site = federation.sites["C"]
        monkeypatch.setattr(
            site, method, lambda *a, p=phase: (_ for _ in ()).throw(OSError(f"disk gone while {p}"))
        )
        with pytest.raises(gw.SiteError, match=r"site 'C' failed: OSError: disk gone"):
            federate(federation, gw.CoxPH())


def test_a_learner_error_is_raised_as_it_is():
    "What the server finds (collinear features) is the learner's own error, not a site's."
    X, y = made_up(60, 2)
    with pytest.raises(gw.LearnerError, match="cannot be told apart"):
        federate(in_hospitals(X.assign(twin=X["f1"] * 2), y, np.repeat(["A", "B"], 30)), gw.CoxPH())


class Losing(InProcessGrid):
    "A grid that loses the last reply of every exchange (a site that does not answer in time)."

    def send_and_receive(self, messages, *, timeout=None):
        return super().send_and_receive(messages, timeout=timeout)[:-1]


def test_a_reply_that_does_not_come_stops_the_run_with_the_site(monkeypatch):
    monkeypatch.setattr(engines, "InProcessGrid", Losing)
    with pytest.raises(gw.SiteError, match=r"no reply") as caught:
        federate(hospitals(gw.CoxPH()), gw.CoxPH())
    assert "D" in caught.value.site, f"which site is missing is not said: {caught.value}"


def test_no_reply_at_all_stops_the_run(monkeypatch):
    monkeypatch.setattr(Losing, "send_and_receive", lambda self, messages, *, timeout=None: [])
    monkeypatch.setattr(engines, "InProcessGrid", Losing)
    with pytest.raises(gw.SiteError, match="no reply"):
        federate(hospitals(gw.CoxPH()), gw.CoxPH())


def test_an_interrupt_stops_at_once_and_cleans_up():
    class Interrupted(gw.CoxPH):
        def answer(self, question, block, state):
            raise KeyboardInterrupt

    before = logging.getLogger("flwr").level
    with pytest.raises(KeyboardInterrupt):
        federate(hospitals(gw.CoxPH()), Interrupted())
    assert logging.getLogger("flwr").level == before and TaskIdentity._task_id is None


def test_errors_of_flower_itself_are_understood():
    "An error whose reason is not ours: no name, but its text."
    assert site_error(Error(3, "lost the connection")).error == "lost the connection"
    assert (
        "7" in site_error(Error(7)).error
        and site_error(Error(1, "[1]")).error == "[1]"
        and site_error(Error(1, '{"a": 1}')).site == "unknown"
    )
    ours = site_error(
        Error(
            1,
            json.dumps(
                {"site": "York", "type": "ValueError", "message": "no beds", "traceback": "line 1"}
            ),
        )
    )
    import pickle

    assert (ours.site, str(pickle.loads(pickle.dumps(ours)))) == ("York", str(ours))


def test_an_app_without_the_function_asked_for_stops():
    with task_identity(), pytest.raises(gw.SiteError):
        Recorder(InProcessGrid(ClientApp(), 2), ["A", "B"], {}).ask("query.nothing", {})


# What is left behind


def test_the_task_identity_is_put_back():
    names = ("_task_id", "_run_id", "_node_id")
    before = [getattr(TaskIdentity, n) for n in names]
    try:
        for n, value in zip(names, (7, 8, 9), strict=True):
            setattr(TaskIdentity, n, value)
        federate(hospitals(gw.CoxPH()), gw.CoxPH())
        assert [getattr(TaskIdentity, n) for n in names] == [7, 8, 9]
        with pytest.raises(gw.SiteError):
            federate(hospitals(gw.CoxPH()), broken())
        assert [getattr(TaskIdentity, n) for n in names] == [7, 8, 9]
    finally:
        for n, value in zip(names, before, strict=True):
            setattr(TaskIdentity, n, value)


def test_messages_need_the_task_identity_and_only_that():
    "The one private thing of Flower: if it changes, this test says so before anything else does."
    with task_identity(5):
        message = Message(RecordDict(), dst_node_id=3, message_type=MessageType.TRAIN)
        assert (message.metadata.run_id, message.metadata.dst_node_id) == (5, 3)
    assert TaskIdentity._run_id is None


@pytest.mark.parametrize("level", [logging.NOTSET, logging.DEBUG, logging.WARNING])
def test_flowers_log_is_silent_and_put_back(level, capfd):
    log = logging.getLogger("flwr")
    before = log.level
    try:
        log.setLevel(level)
        federate(hospitals(gw.CoxPH()), gw.CoxPH())
        federate(hospitals(gw.CoxPH()), gw.CoxPH(0.01), strategy=FedAvg(), rounds=2)
        with pytest.raises(gw.SiteError):
            federate(hospitals(gw.CoxPH()), broken())
        assert log.level == level
    finally:
        log.setLevel(before)
    out, err = capfd.readouterr()
    assert out == "" and "INFO" not in err and "ERROR" not in err


def test_warnings_of_our_own_are_heard_while_flower_is_quiet():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with quiet_flower():
            warnings.warn("deprecated", DeprecationWarning, stacklevel=1)
            warnings.warn("a hospital is small", UserWarning, stacklevel=1)
    assert [str(w.message) for w in caught] == ["a hospital is small"]


def test_telemetry_is_off():
    assert (
        os.environ.get("FLWR_TELEMETRY_ENABLED") == "0"
        and os.environ.get("FLWR_DISABLE_UPDATE_CHECK") == "1"
    )


def test_two_runs_one_after_the_other_and_one_inside_another():
    "A learner that federates while it is trained (as tuning by hand would) does not disturb the outer run."
    expected = federate(hospitals(gw.CoxPH()), gw.CoxPH()).learner.beta_

    class Nested(gw.CoxPH):
        def train(self, *args, **options):
            self.inner_ = federate(hospitals(gw.CoxPH()), gw.CoxPH()).learner.beta_
            return super().train(*args, **options)

    run = federate(hospitals(gw.CoxPH()), Nested())
    assert run.learner.beta_.tobytes() == run.learner.inner_.tobytes() == expected.tobytes()


def test_sites_keep_nothing_of_another_learner():
    "Runs with other learners and encodings on the same federation do not mix what sites have prepared."
    federation = hospitals(gw.CoxPH())
    asked = [
        gw.CoxPH(),
        gw.CoxPH(ties="breslow"),
        gw.CoxPH(baseline="shared", time_grid=(0.5, 1.0, 30.0), disclosure="simulation"),
        gw.CoxPH(baseline="shared", time_grid=(0.2, 2.0, 30.0), disclosure="simulation"),
        gw.CoxPH(),
    ]
    used = [federate(federation, learner).learner.beta_ for learner in asked]
    fresh = [federate(hospitals(gw.CoxPH()), learner).learner.beta_ for learner in asked]
    assert (
        all((a == b).all() for a, b in zip(used, fresh, strict=True))
        and len({b.tobytes() for b in used}) == 3
    )


# The grid in this process


def counting_app() -> ClientApp:
    "An app that remembers per node how often it was asked."
    app = ClientApp()

    @app.query("count")
    def count(message, context):
        n = int(context.state["seen"]["n"]) + 1 if "seen" in context.state else 1
        from flwr.app import MetricRecord

        context.state["seen"] = MetricRecord({"n": n})
        k = int(context.node_config["partition-id"])
        return Message(
            RecordDict(
                {
                    "metrics": MetricRecord(
                        {"num-examples": n, "site": k, "seconds": 0.0, "behind": []}
                    )
                }
            ),
            reply_to=message,
        )

    return app


def test_the_grid_answers_in_node_order_and_keeps_contexts():
    with task_identity():
        grid = InProcessGrid(counting_app(), 4)
        ids = list(grid.get_node_ids())
        ask = lambda order: [
            Message(RecordDict(), dst_node_id=i, message_type="query.count") for i in order
        ]
        replies = grid.send_and_receive(ask(ids[::-1]))
        assert [r.metadata.src_node_id for r in replies] == ids
        assert [
            r.content["metrics"]["num-examples"] for r in grid.send_and_receive(ask(ids[:2]))
        ] == [2, 2]
        sent = list(grid.push_messages(ask(ids)))
        first = grid.pull_messages(sent[:1])
        assert (
            len(first) == 1
            and len(grid.pull_messages(sent)) == 3
            and grid.pull_messages(sent) == []
        )
        assert sorted({r.metadata.reply_to_message_id for r in first} | set(sent[1:])) == sorted(
            sent
        )


def test_any_server_app_of_flower_runs_on_the_grid():
    "Flower's own FedAvg with our app, outside of federate: the ClientApp is a plain Flower app."
    federation, learner = hospitals(gw.LogisticRegression()), gw.LogisticRegression(0.01)
    run = federate(federation, learner, strategy=FedAvg(), rounds=3)
    from flwr.app import ConfigRecord

    from genomed_workbench.federation.app import client_app

    sites, found = list(federation.sites.values()), []
    app, server = (
        client_app(learner, lambda context: sites[int(context.node_config["partition-id"])]),
        ServerApp(),
    )

    @server.main()
    def main(grid, context):
        config = ConfigRecord(
            {
                "encoding": run.learner.encoding_.to_json(),
                "question": "weights",
                "penalty": 0.01,
                "folds": 0,
            }
        )
        q = len(run.learner.beta_)
        found.append(
            FedAvg()
            .start(
                grid,
                to_record({"weights": np.zeros(q)}),
                3,
                train_config=config,
                evaluate_config=config,
            )
            .arrays["weights"]
        )

    with task_identity(), quiet_flower():
        server(
            InProcessGrid(app, 4),
            Context(run_id=1, node_id=1, node_config={}, state=RecordDict(), run_config={}),
        )
    measure("our app under plain FedAvg - federate", from_array(found[0]), run.learner.beta_, 1e-12)


@pytest.mark.parametrize(
    "value",
    [
        np.zeros((0, 3)),
        np.zeros(0),
        np.array([1 / 3]),
        np.arange(6).reshape(2, 3),
        np.arange(12.0).reshape(3, 4).T,
        np.array([True, False]),
        np.float32([0.1]),
        np.arange(3.0)[::-1],
    ],
    ids=lambda v: f"{v.dtype}{v.shape}",
)
def test_arrays_travel_to_the_last_bit(value):
    array = to_record({"a": value})["a"]
    back = from_array(array)
    assert (
        back.dtype == value.dtype
        and back.shape == value.shape
        and back.tobytes() == np.ascontiguousarray(value).tobytes()
    )
    assert np.array_equal(back, array.numpy()) and not back.flags.writeable


def test_a_message_costs_little():
    """20 rounds over 10 small sites, with summaries and baseline, take a quarter of a second; more
    than three would be a fault.
    """
    X, y = made_up(500, 5)
    federation = in_hospitals(X, y, np.repeat([f"h{i}" for i in range(10)], 50))
    federate(federation, gw.CoxPH(0.01), strategy=FedAvg(), rounds=1)
    start = time.process_time()
    run = federate(federation, gw.CoxPH(0.01), strategy=FedAvg(), rounds=20)
    assert run.rounds == 20 and time.process_time() - start < 3


def test_an_unknown_engine_says_what_there_is():
    with pytest.raises(gw.EngineError, match="inprocess, ray"):
        federate(hospitals(gw.CoxPH()), gw.CoxPH(), engine="superlink")


# Rounds


def test_too_few_rounds_are_said_and_enough_are_not_used_up():
    federation = hospitals(gw.CoxPH())
    with pytest.warns(UserWarning, match="not converged after 2 rounds"):
        short = federate(federation, gw.CoxPH(), rounds=2)
    assert short.converged is False and short.rounds == 2 and "not converged" in repr(short)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        enough = federate(federation, gw.CoxPH(), rounds=50)
    assert enough.converged and enough.rounds < 10


@pytest.mark.parametrize(
    "learner",
    [gw.CoxPH(), gw.CoxPH(baseline="shared", disclosure="simulation"), gw.LogisticRegression()],
    ids=["cox", "cox shared", "logistic"],
)
def test_rounds_are_a_limit_for_every_learner(learner):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = federate(hospitals(learner), learner, rounds=1)
    assert run.converged is False and run.rounds <= 2, (
        "a shared baseline takes two messages a round"
    )


def test_progress_is_on_standard_error_only(capfd):
    gw.federate(hospitals(gw.CoxPH()), gw.CoxPH(), progress=True)
    assert capfd.readouterr().out == ""


# Ray


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("name", ["cox", "logistic plainly averaged"])
def test_ray_gives_the_numbers_of_this_process(name, kept_ray):
    "Oracle: the in-process engine, same apps."
    learner, options = LEARNERS[name]
    search_path = os.environ.get("PYTHONPATH")
    here, there = (
        federate(hospitals(learner), learner, **options),
        federate(hospitals(learner), learner, engine="ray", **options),
    )
    measure(f"{name}: ray - in process", there.learner.beta_, here.learner.beta_, 1e-10)
    columns = ["round", "site", "phase", "metric", "value", "bytes_down"]
    left, right = (
        r.history[r.history["metric"] != "seconds"][columns]
        .sort_values(columns[:4])
        .reset_index(drop=True)
        for r in (here, there)
    )
    pd.testing.assert_frame_equal(left, right, check_exact=False, rtol=1e-9)
    pd.testing.assert_frame_equal(here.disclosed, there.disclosed)
    assert there.engine == "ray" and TaskIdentity._task_id is None
    assert os.environ.get("PYTHONPATH") == search_path


@pytest.mark.ray
@pytest.mark.slow
def test_a_site_that_fails_on_ray_stops_the_run_with_its_name(kept_ray, capfd):
    log = logging.getLogger("flwr").level
    with pytest.raises(gw.SiteError) as caught:
        federate(hospitals(gw.CoxPH()), broken("C"), engine="ray")
    assert (
        caught.value.site == "C"
        and caught.value.error == "ZeroDivisionError: the ward is empty"
        and "in answer" in caught.value.traceback
    )
    assert logging.getLogger("flwr").level == log and "INFO" not in capfd.readouterr().err


def test_a_missing_ray_says_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(gw.EngineError, match=r"genomed-workbench\[ray\]"):
        federate(hospitals(gw.CoxPH()), gw.CoxPH(), engine="ray")


def test_both_engines_get_the_same_apps(monkeypatch):
    "federate hands one ServerApp and one ClientApp to whatever engine is asked."
    seen = []

    def spy(server, client, nodes):
        seen.append((type(server), type(client), nodes))
        engines.run_in_process(server, client, nodes)

    monkeypatch.setitem(engines.ENGINES, "ray", spy)
    monkeypatch.setitem(engines.ENGINES, "inprocess", spy)
    runs = [
        federate(hospitals(gw.CoxPH()), gw.CoxPH(), engine=engine)
        for engine in ("inprocess", "ray")
    ]
    assert (
        seen == [(ServerApp, ClientApp, 4)] * 2
        and runs[0].learner.beta_.tobytes() == runs[1].learner.beta_.tobytes()
    )
