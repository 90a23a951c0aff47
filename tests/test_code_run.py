"""Programs of users' own as runs: a folder like a canvas' run, a mark when they fail, and what they were."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lit
from lit.processors.delivery import read_messages
from lit.streams import topics
from lit.streams.errors import UserError
from lit.streams.workspace import Workspace
from lit.trainer import experiments
from lit.trainer.backend import load, seed_everything
from lit.trainer.runfolder import RunFolder, runs

#: A user's program as it stands, with `lit` and Keras alone; the download of its data is stood in for.
PROGRAM = """
import lit
import tensorflow as tf

(x, y), (x_test, y_test) = tf.keras.datasets.mnist.load_data()
y, y_test = tf.keras.utils.to_categorical(y, 10), tf.keras.utils.to_categorical(y_test, 10)
model = tf.keras.Sequential([
    tf.keras.Input(shape=(28, 28)),
    tf.keras.layers.Lambda(lambda pixels: pixels / 255.0),
    tf.keras.layers.Reshape(target_shape=(28, 28, 1)),
    tf.keras.layers.Conv2D(4, kernel_size=(3, 3), activation="relu"),
    tf.keras.layers.MaxPooling2D(pool_size=(4, 4)),
    tf.keras.layers.Flatten(),
    tf.keras.layers.Dense(10, activation="softmax"),
])
model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
with lit.run(team="contoso", description="digits") as run:
    stop = tf.keras.callbacks.EarlyStopping(monitor="val_loss", patience=1)
    model.fit(x, y, batch_size=16, epochs=3, validation_split=0.25, callbacks=[lit.callbacks.csv(), stop])
    loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
    print("Test accuracy:", accuracy)
    raise OSError("the printer is on fire")
"""
STAND_IN = """
import runpy, sys
import numpy as np, keras
rng = np.random.default_rng(1)
def part(count):
    return rng.integers(0, 256, (count, 28, 28)).astype("uint8"), rng.integers(0, 10, count)
keras.datasets.mnist.load_data = lambda: (part(64), part(16))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, subprocess.CompletedProcess[str]]:
    root = tmp_path_factory.mktemp("program")
    script = root / "digits.py"
    script.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "-c", STAND_IN, str(script), "--note", "x"],
        env={**os.environ, "LIT_DATA": str(root / "data"), "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        cwd=root,
        timeout=200,
    )
    found = runs(Workspace(root / "data", "contoso"))
    assert len(found) == 1, done.stderr
    return found[0], done


def test_a_keras_program_leaves_a_run_with_a_row_and_a_model_an_epoch(
    program: tuple[RunFolder, subprocess.CompletedProcess[str]],
) -> None:
    folder, _ = program
    assert (folder.project, folder.run) == ("digits", 1)
    perf = folder.perf()
    assert [row["epoch"] for row in perf] == list(range(1, len(perf) + 1)) and perf
    assert {"seconds", "learning_rate", "loss", "accuracy", "val_loss", "val_accuracy"} <= perf[0].keys()
    models = {f"model.{n}.{suffix}" for n in range(1, len(perf) + 1) for suffix in ("h5", "keras")}
    assert {path.name for path in folder.models.iterdir()} == models
    assert (folder.path / "description.txt").read_text() == "digits\n"
    assert folder.read_json("features.json")["inputs"][0]["shape"] == [28, 28]


def test_an_exception_marks_the_run_failed_and_goes_on_to_the_user(
    program: tuple[RunFolder, subprocess.CompletedProcess[str]],
) -> None:
    folder, done = program
    assert done.returncode == 1 and "the printer is on fire" in done.stderr and "Test accuracy" in done.stdout
    assert folder.status() == "failed"
    assert folder.session()["error"] == "OSError: the printer is on fire"
    log = (folder.path / "log.txt").read_text()
    assert "Test accuracy" in log and "raise OSError" in log and "\r" not in log and "\x1b" not in log


def test_what_ran_is_kept(program: tuple[RunFolder, subprocess.CompletedProcess[str]]) -> None:
    definition = program[0].read_json("definition.json")
    assert definition["kind"] == "code" and definition["arguments"] == ["--note", "x"]
    assert "keras" in {name.lower() for name in definition["packages"]}
    assert (definition["parameters"]["loss"], definition["parameters"]["epochs"]) == ("categorical_crossentropy", 3)
    noted = definition["parameters"]
    assert (noted["optimizer"]["name"], noted["batch_size"], noted["validation_split"]) == ("adam", 16, 0.25)
    assert noted["x"] == "uint8 (64, 28, 28)" and noted["metrics"] == ["accuracy"]
    convolution = next(layer for layer in noted["layers"] if layer["class"] == "Conv2D")
    assert (convolution["filters"], convolution["activation"]) == (4, "relu")
    assert {"EarlyStopping", "_Epochs"} == {each["class"] for each in noted["callbacks"]}
    assert (program[0].path / "source" / "digits.py").read_text() == PROGRAM


def test_a_code_run_is_neither_paused_nor_resumed(
    program: tuple[RunFolder, subprocess.CompletedProcess[str]],
) -> None:
    with pytest.raises(UserError, match="start the program again"):
        experiments.resume(program[0])
    with pytest.raises(UserError, match="can't be paused"):
        experiments.pause(program[0])


def test_any_metric_is_logged_and_columns_may_come_late(tmp_path: Path) -> None:
    with lit.run(team="contoso", project="loop", data=tmp_path) as run:
        run.log(loss=2)
        assert run.folder.status() == "running"
        run.log({"loss": 1.5, "sharpe": 0.25})
        run.log(epoch=1, late=7)
        print("10 %\r90 %\nno end", end="")
        with pytest.raises(UserError, match="'sharpe' is 'much'"):
            run.log(sharpe="much")
    assert run.folder.status() == "finished"
    log = (run.path / "log.txt").read_text().splitlines()
    assert log[:2] == ["90 %", "no end"] and log[2].endswith("finished") and len(log) == 3
    assert run.folder.perf() == [{"epoch": 1, "loss": 2, "late": 7}, {"epoch": 2, "loss": 1.5, "sharpe": 0.25}]
    assert experiments.summary(run.folder).best_epoch == 2
    assert [event.status for event in experiments.follow(run.folder)] == ["running", *["epoch"] * 3, "finished"]


def test_a_fit_is_noted_without_a_callback_and_fit_is_as_before_afterwards(tmp_path: Path) -> None:
    _, keras = load()
    seed_everything(1)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    before = keras.Model.fit
    data = np.zeros((4, 2), np.float32), np.zeros((4, 1), np.float32)
    with lit.run(team="contoso", project="noted", data=tmp_path) as run:
        model.fit(*data, 2, epochs=1, verbose=0, class_weight={0: 2.0})
    assert keras.Model.fit is before
    noted = run.folder.read_json("definition.json")["parameters"]
    assert (noted["batch_size"], noted["epochs"], noted["class_weight"]) == (2, 1, {"0": 2.0})
    assert (noted["loss"], noted["weights"], noted["y"]) == ("mse", 3, "float32 (4, 1)")


def test_runs_count_on_and_each_ending_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), lit.run(team="contoso", project="ends", data=tmp_path):
        raise KeyboardInterrupt
    with pytest.raises(SystemExit), lit.run(team="contoso", project="ends", data=tmp_path) as second:
        experiments.stop(second.folder)
        signal.pause()
    with pytest.raises(SystemExit), lit.run(team="contoso", project="ends", data=tmp_path):
        sys.exit(0)
    with pytest.raises(SystemExit), lit.run(team="contoso", project="ends", data=tmp_path):
        sys.exit("no data")
    found = runs(Workspace(tmp_path, "contoso"), "ends")
    assert [(item.run, item.status()) for item in found] == [
        (1, "stopped"),
        (2, "stopped"),
        (3, "finished"),
        (4, "failed"),
    ]


def test_a_callback_outside_of_a_run_says_what_to_do() -> None:
    load()  # as LIT itself sets TensorFlow up, for the tests after this one
    with pytest.raises(UserError, match=r"with lit\.run"):
        lit.callbacks.csv()


def test_importing_lit_imports_nothing_heavy() -> None:
    code = "import lit, sys; print({'keras', 'tensorflow', 'numpy', 'pydantic'} & sys.modules.keys()); lit.run"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.kafka
def test_a_programs_events_are_on_kafka_and_a_lost_broker_hurts_nothing(
    tmp_path: Path, kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIT_KAFKA", kafka)
    with lit.run(team="eventful", project="loop", data=tmp_path) as run:
        run.log(loss=2)
    published = [message.value() for message in read_messages(kafka, topics.events("eventful").name, 0)]
    assert published == (run.folder.state / "events.jsonl").read_bytes().splitlines() and len(published) == 3
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("LIT_KAFKA", f"127.0.0.1:{free.getsockname()[1]}")
        with lit.run(team="eventful", project="loop", data=tmp_path) as run:
            run.log(loss=2)
    assert run.folder.status() == "finished"
