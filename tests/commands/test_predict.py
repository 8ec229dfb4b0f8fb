"""`predict` answers for every kind of model and input, refuses what could run code, and ends cleanly."""

from __future__ import annotations

import csv
import io
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir

from sentiment import api
from sentiment.__main__ import main
from sentiment.config.home import PROJECT_DIR
from sentiment.config.reading import read_settings
from sentiment.data.batching import Cut
from sentiment.data.tokenizer import train_tokenizer
from sentiment.errors import DataError, ModelFileError, SentimentError, TrackingError
from sentiment.models.build import build_model
from sentiment.models.bundle import Predictor, save_bundle
from sentiment.tracking import runs
from sentiment.tracking.mlflow import registry
from sentiment.tracking.model_source import find_model_source
from sentiment.tracking.params import flatten_settings
from sentiment.tracking.result_file import ResultRecord, write_result

TEXTS = ["a great film", "a terrible film", "", "great and terrible \U0001f600"]
RUN_ID = "0123456789abcdef" * 2


@pytest.fixture(scope="module")
def multirun(tmp_path_factory) -> Path:
    """A finished run ``sweep/0`` with bundle and checkpoint, and one that was interrupted, ``sweep/1``."""
    folder = tmp_path_factory.mktemp("multirun")
    with initialize_config_dir(str(PROJECT_DIR / "conf")):
        settings = read_settings(compose("config", ["model.embedding_size=8", "model.depth=1"]), folder)
    tokenizer = train_tokenizer(TEXTS, "word", vocabulary_size=64, min_frequency=1, lowercase=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_model(settings.model, vocabulary_size=tokenizer.vocabulary_size, classes=2, max_tokens=32)
    data = settings.data
    names = ["negative", "positive"]
    for number, status in enumerate(("FINISHED", "KILLED")):
        run = folder / "sweep" / str(number)
        record = ResultRecord(
            name=f"run {number}", model="transformer", status=status, started="2026-01-01T00:00:00+00:00",
            params=flatten_settings(settings), job_number=number, run_id=RUN_ID if number == 0 else None,
        )  # fmt: skip
        write_result(run, record)
        (run / "checkpoints").mkdir()
        state = {f"network.{name}": value for name, value in network.state_dict().items()}
        torch.save({"state_dict": state, "epoch": 1}, run / "checkpoints/best.ckpt")
        if number == 0:
            save_bundle(
                run / "model",
                network,
                settings.model,
                tokenizer.to_json(),
                names,
                Cut(32, data.keep, data.head_fraction),
            )
    return folder


@pytest.fixture
def predict(multirun, capsys, tmp_path):
    """Run the command in this process; gives standard output."""

    def run(*arguments: str) -> str:
        store = f"sqlite:///{tmp_path}/none.db"
        device = () if "--device" in arguments else ("--device", "cpu")
        main(["predict", "--multirun-dir", str(multirun), "--tracking-uri", store, *device, *arguments])
        return str(capsys.readouterr().out)

    return run


@pytest.fixture(scope="module")
def expected(multirun):
    return Predictor.load(multirun / "sweep/0/model").predict(TEXTS)


def check(output: str, expected) -> None:
    rows = [json.loads(line) for line in output.splitlines()]
    assert [row["text"] for row in rows] == TEXTS
    assert [row["label"] for row in rows] == expected.labels
    got = [[row["probabilities"][name] for name in expected.class_names] for row in rows]
    np.testing.assert_allclose(got, expected.probabilities, atol=1e-6)


@pytest.mark.parametrize("kind", ["latest", "number", "folder", "bundle", "id", "checkpoint"])
def test_every_way_to_name_a_model_gives_the_same_answers(predict, multirun, expected, kind):
    names = {
        "number": "sweep/0",
        "folder": str(multirun / "sweep/0"),
        "bundle": str(multirun / "sweep/0/model"),
        "id": RUN_ID,
        "checkpoint": str(multirun / "sweep/0/checkpoints/best.ckpt"),
    }
    model = [] if kind == "latest" else ["--model", names[kind]]
    check(predict("--format", "jsonl", *model, "--", *TEXTS), expected)


@pytest.fixture
def registered(multirun, monkeypatch):
    """Let the registry hold ``imdb`` with a champion, version 3; gives what it was asked for."""
    asked = []

    def fetch(uri, name, alias, version):
        asked.append((name, alias, version))
        if name != "imdb":
            raise TrackingError(f"no model {name}")
        return SimpleNamespace(version="3", run_id=RUN_ID), multirun / "sweep/0/model"

    monkeypatch.setattr(registry, "fetch_registered", fetch)
    return asked


def test_a_folder_of_no_runs_does_not_hide_the_registered_model_of_its_name(
    predict, registered, expected, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "imdb").mkdir()
    check(predict("--format", "jsonl", "--model", "imdb", "--", *TEXTS), expected)
    assert registered == [("imdb", "champion", None)]


def test_python_loads_a_model_by_the_same_names(registered, multirun, expected, monkeypatch):
    monkeypatch.setattr(runs, "MULTIRUN_DIR", multirun)
    names = ["imdb", "imdb@champion", "imdb/3", "models:/imdb@champion"]
    assert {find_model_source(name, multirun, "").version for name in names} == {"models:/imdb/3"}
    registered.clear()
    paths = [multirun / "sweep/0/model", multirun / "sweep/0/checkpoints/best.ckpt"]
    for name in (*names, *paths):
        np.testing.assert_array_equal(api.load(name).predict(TEXTS).probabilities, expected.probabilities)
    assert [version for _, _, version in registered] == [None, None, "3", None]
    with pytest.raises(TrackingError, match=r"no run 'nowhere'(.|\n)*Neither is it a registered model"):
        api.load("nowhere")


def test_a_checkpoint_has_its_own_weights(predict, multirun, tmp_path):
    run = tmp_path / "run"
    file = run / "checkpoints/best.ckpt"
    file.parent.mkdir(parents=True)
    for name in ("result.json", "model"):
        (run / name).symlink_to(multirun / "sweep/0" / name)
    content = torch.load(multirun / "sweep/0/checkpoints/best.ckpt", weights_only=True)
    content["state_dict"]["network.head.weight"] *= 0
    content["state_dict"]["network.head.bias"] = torch.tensor([0.0, 1.0])
    torch.save(content, file)
    row = json.loads(predict("--format", "jsonl", "--model", str(file), "a"))
    assert row["probabilities"]["positive"] == pytest.approx(1 / (1 + np.exp(-1)), abs=1e-5)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda content: content["state_dict"]["network.head.weight"].mul_(float("nan")), "its training diverged"),
        (None, "the checksum of .* differs"),
    ],
)
def test_a_checkpoint_whose_weights_are_spoilt_is_refused(predict, multirun, tmp_path, spoil, told):
    run = tmp_path / "run"
    file = run / "checkpoints/best.ckpt"
    file.parent.mkdir(parents=True)
    for name in ("result.json", "model"):
        (run / name).symlink_to(multirun / "sweep/0" / name)
    content = torch.load(multirun / "sweep/0/checkpoints/best.ckpt", weights_only=True)
    if spoil is not None:
        spoil(content)
    torch.save(content, file)
    if spoil is None:
        weight = content["state_dict"]["network.head.weight"].numpy().tobytes()
        stored = file.read_bytes()
        position = stored.index(weight)
        file.write_bytes(stored[:position] + bytes([stored[position] ^ 1]) + stored[position + 1 :])
    with pytest.raises(ModelFileError, match=told):
        predict("--model", str(file), "a")


def test_the_table_has_a_line_a_text(predict, expected):
    header, *lines = predict(*TEXTS[:2], "two\nlines \x1b[2J", "word " * 100).splitlines()
    assert header.split() == ["label", "probability", "text"]
    assert [line.split()[0] for line in lines[:2]] == expected.labels[:2]
    assert float(lines[0].split()[1]) == pytest.approx(expected.probabilities[0].max(), abs=1e-4)
    assert len(lines) == 4
    assert "\x1b" not in lines[2]
    assert len(lines[3]) == 120
    assert lines[3].endswith("...")


def test_a_file_in_and_a_file_out(predict, expected, tmp_path):
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    with source.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["n", "review"], *([n, text] for n, text in enumerate(TEXTS))])
    assert predict("--file", str(source), "--text-column", "review", "--output", str(target)) == ""
    rows = list(csv.DictReader(io.StringIO(target.read_text(encoding="utf-8"))))
    assert [row["text"] for row in rows] == TEXTS
    assert [row["label"] for row in rows] == expected.labels
    got = [[float(row[f"probability_{name}"]) for name in expected.class_names] for row in rows]
    np.testing.assert_allclose(got, expected.probabilities, atol=1e-6)


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n", '"', ","])
def test_a_text_is_read_back_whatever_is_in_it(predict, tmp_path, end):
    texts = [f"good{end}film", "bad"]
    source, target = tmp_path / "in.jsonl", tmp_path / "out.csv"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    predict("--file", str(source), "--output", str(target))
    with target.open(encoding="utf-8", newline="") as stream:
        assert [row["text"] for row in csv.DictReader(stream)] == texts


def test_chunks_are_seamless(predict, expected, tmp_path, monkeypatch):
    monkeypatch.setattr("sentiment.commands.predict.CHUNK_TEXTS", 3)
    file = tmp_path / "in.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS), encoding="utf-8")
    check(predict("--file", str(file), "--format", "jsonl", "--batch-size", "2"), expected)


def test_a_bad_row_leaves_no_half_file(predict, tmp_path):
    source, target = tmp_path / "in.txt", tmp_path / "out.csv"
    source.write_bytes(b"fine\n\xff\n")
    with pytest.raises(DataError, match=r"in\.txt, line 2.*UTF-8"):
        predict("--file", str(source), "--output", str(target))
    assert [path.name for path in tmp_path.iterdir() if "out" in path.name] == []


def test_a_text_like_a_formula_is_guarded_in_csv_alone_as_the_help_says(predict, capsys):
    assert "\n'-bad film," in predict("--format", "csv", "--", "-bad film")
    assert json.loads(predict("--format", "jsonl", "--", "-bad film"))["text"] == "-bad film"
    with pytest.raises(SystemExit):
        main(["predict", "--help"])
    assert "jsonl has every text as it was" in " ".join(capsys.readouterr().out.split())


def test_the_file_that_is_read_is_not_replaced(predict, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "texts.csv"
    file.write_text("text,label\nfine,good\n")
    (tmp_path / "linked.csv").symlink_to(file)
    for other in ("texts.csv", str(file), "linked.csv"):
        with pytest.raises(SentimentError, match=r"is --file: its other columns(.|\n)*-> choose another"):
            predict("--file", str(file), "--output", other)
    assert file.read_text() == "text,label\nfine,good\n"


def test_explain_shows_the_words_that_mattered(predict):
    (row,) = [json.loads(line) for line in predict("--explain", "--format", "jsonl", "a great film").splitlines()]
    assert [word for word, _ in row["words"]] == ["a", "great", "film"]
    largest = max(row["words"], key=lambda pair: abs(pair[1]))
    assert {"words_baseline", "words_delta"} < row.keys()
    table = predict("--explain", "a great film")
    assert f"[{'+' if largest[1] > 0 else '-'}{largest[0]}" in table


def test_throughput_stands_apart_from_the_answers(multirun, capsys):
    main(["predict", "--multirun-dir", str(multirun), "--batch-size", "7", "--device", "cpu", *TEXTS])
    errors = capsys.readouterr().err
    assert "4 texts, 11 tokens in" in errors
    assert "texts/s" in errors
    assert "batches of 7 on cpu" in errors


class Touch:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return (Path.touch, (self.file,))


@pytest.mark.parametrize("name", ["checkpoints/evil.ckpt", "evil.pt", "evil.pkl"])
def test_pickled_code_is_never_run(predict, multirun, tmp_path, name):
    file, trace = multirun / "sweep/0" / name, tmp_path / "trace"
    if name.endswith(".pkl"):
        file.write_bytes(pickle.dumps(Touch(trace)))
    else:
        torch.save({"state_dict": {"network.x": Touch(trace)}}, file)
    try:
        with pytest.raises(ModelFileError, match=r"code(.|\n)*->"):
            predict("--model", str(file), "a")
        assert not trace.exists()
        pickle.loads(pickle.dumps(Touch(trace)))
        assert trace.exists(), "the pickle is harmless, so this test shows nothing"
    finally:
        file.unlink()


@pytest.mark.parametrize(
    ("arguments", "kind", "told"),
    [
        (("--model", "nowhere", "a"), TrackingError, r"no run 'nowhere'(.|\n)*registered model"),
        (("--model", "sweep", "a"), TrackingError, "holds 2 runs"),
        (("--model", "sweep/1", "a"), TrackingError, "no model"),
        (("--model", "models:/imdb", "a"), TrackingError, "no MLflow store"),
        (("--model", "none.ckpt", "a"), TrackingError, r"no checkpoint none\.ckpt"),
        (("--device", "cuda:99", "a"), SentimentError, r"--device=cuda:99(.|\n)*auto"),
        (("--device", "abacus", "a"), SentimentError, r"--device=abacus(.|\n)*torch has cpu"),
        (("--file", "in.csv", "a"), SentimentError, "together"),
        (("--output", "out.xlsx", "a"), SentimentError, r"\.csv or \.jsonl"),
        (("--output", "out.csv", "--format", "jsonl", "a"), SentimentError, "the ending decides"),
        (("--explain", "--format", "csv", "a"), SentimentError, "jsonl"),
        (("--file", "none.csv"), DataError, "No such file"),
        (("broken \udcff byte",), DataError, "command line, text 1"),
    ],
)
def test_what_cannot_be_done_is_said_with_the_remedy(predict, arguments, kind, told):
    with pytest.raises(kind, match=told):
        predict(*arguments)


@pytest.mark.parametrize(
    ("stream", "arguments", "told"),
    [("stdin", (), r"standard input is closed.*\n  -> .*--file"), ("stdout", ("a",), r"(?i)closed.*\n  -> .*--output")],
)
def test_a_stream_that_is_closed_is_told(predict, monkeypatch, stream, arguments, told):
    monkeypatch.setattr(sys, stream, None)
    with pytest.raises(SentimentError, match=told):
        predict(*arguments)


def test_without_standard_output_a_file_is_written(predict, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    predict("--output", str(tmp_path / "out.csv"), "a")
    assert (tmp_path / "out.csv").exists()


def test_a_checkpoint_without_its_run_or_tokenizer_says_so(predict, multirun, tmp_path):
    with pytest.raises(ModelFileError, match="tokenizer is not there yet"):
        predict("--model", str(multirun / "sweep/1/checkpoints/best.ckpt"), "a")
    shutil.copytree(multirun / "sweep/0/model", multirun / "sweep/1/model")  # of a run before, which it trains on from
    try:
        with pytest.raises(ModelFileError, match="tokenizer is not there yet"):
            predict("--model", str(multirun / "sweep/1/checkpoints/best.ckpt"), "a")
    finally:
        shutil.rmtree(multirun / "sweep/1/model")
    lost = tmp_path / "best.ckpt"
    lost.write_bytes((multirun / "sweep/0/checkpoints/best.ckpt").read_bytes())
    with pytest.raises(ModelFileError, match=r"no folder above it(.|\n)*--model RUN"):
        predict("--model", str(lost), "a")


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_standard_input_gives_what_the_same_bytes_in_a_file_give(predict, tmp_path, monkeypatch, mark):
    """A byte order mark, as spreadsheets and PowerShell write it, became a word of the first text."""
    (tmp_path / "texts.txt").write_bytes(mark + b"great film\nterrible\n")
    with (tmp_path / "texts.txt").open(encoding="ascii") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        given = predict("--format", "jsonl")
    assert given == predict("--format", "jsonl", "--file", str(tmp_path / "texts.txt"))
    assert json.loads(given.splitlines()[0])["text"] == "great film"


@pytest.mark.parametrize(
    "line", ["text,label", '"id";"text"', '{"text": "fine", "label": "good"}', "__label__good fine"]
)
def test_standard_input_that_holds_labels_is_refused(predict, tmp_path, monkeypatch, line):
    (tmp_path / "in.txt").write_text(f"\n{line}\nfine,good\n")
    with (tmp_path / "in.txt").open() as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        with pytest.raises(DataError, match=r"standard input does not hold one text per line(.|\n)*--file FILE"):
            predict()
    with pytest.raises(DataError, match="does not hold one text per line"):
        predict("--file", str(tmp_path / "in.txt"))
    assert line in predict("--file", str(tmp_path / "in.txt"), "--read", "format=lines")


@pytest.mark.parametrize(
    ("form", "told"), [("jsonl", "caf\xe9 \u201c"), ("csv", "caf\xe9 \u201c"), ("table", r"caf\xe9 \u201c")]
)
def test_what_programs_read_is_utf8_whatever_the_locale(predict, monkeypatch, form, told):
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, "ascii"))
    predict("--format", form, "caf\xe9 \u201c")
    assert told in printed.getvalue().decode()


def start(multirun: Path, *arguments: str, **streams) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "sentiment", "predict", "--multirun-dir", str(multirun), "--device", "cpu"]
    return subprocess.Popen([*command, *arguments], cwd=PROJECT_DIR, **streams)


@pytest.mark.slow
def test_a_reader_that_leaves_ends_it_quietly(multirun):
    """As in ``... | head -1``: no traceback, and the exit code of any program whose reader has gone."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = start(multirun, "--format", "csv", **pipes)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdout.close()
    _, errors = process.communicate(b"a great film\n" * 20_000, timeout=100)
    assert process.returncode == 141, errors
    assert b"Traceback" not in errors
    assert b"rror" not in errors


@pytest.mark.slow
def test_ctrl_c_ends_cleanly(multirun):
    process = start(
        multirun, "--format", "jsonl", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    assert process.stderr.readline().startswith(b"Model:")  # from here on it waits for texts
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode in (130, -signal.SIGINT)
    assert b"Stopped by Ctrl-C" in errors
    assert b"Traceback" not in errors


@pytest.mark.parametrize("threads", ["100000", "1025", "0", "-1", "many", "9" * 30])
def test_a_number_of_threads_that_ends_torch_is_refused_before_the_model_is_read(threads: str, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["predict", "a film", "--model", "there is none", f"--threads={threads}"])
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert "argument --threads" in told
    assert len(told) < 3000
