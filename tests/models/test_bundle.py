from __future__ import annotations

import json
import re
import resource
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from sentiment.config.objective import find_direction
from sentiment.config.option import OPTIONS
from sentiment.config.schema import RNNSettings, TransformerSettings
from sentiment.data.batching import Cut
from sentiment.data.fingerprint import UNTOLD, hash_reviews
from sentiment.data.tokenizer import ReviewTokenizer
from sentiment.errors import DataError, ModelFileError, SentimentError
from sentiment.models.attribution import attribute
from sentiment.models.build import build_model
from sentiment.models.bundle import (
    LEARNED_FILE,
    SETTINGS_FILE,
    TOKENIZER_FILE,
    TRAINED_FILE,
    WEIGHTS_FILE,
    Predictor,
    _hash_settings,
    _Settings,
    _tell_of_other_code,
    save_bundle,
)
from tests.models.own import Masking, Reading, registered

CLASSES = ("bad", "good", "so-so")
TEXTS = [
    "a fine film",
    "",
    "dull " * 5000,
    "not a dull one",
    "   \n\t",
    "naïve 映画 🎬 \u202e \x00 ﷽",
    "fine",
    "<br /><br />",
]
Settings = TransformerSettings | RNNSettings


@pytest.fixture(params=["transformer", "rnn"])
def settings(request: pytest.FixtureRequest, make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(request.param)


@pytest.fixture
def network(settings: Settings, tokenizer: ReviewTokenizer) -> nn.Module:
    return build_model(settings, vocabulary_size=tokenizer.vocabulary_size, classes=len(CLASSES), max_tokens=16)


@pytest.fixture
def save(settings: Settings, network: nn.Module, tokenizer: ReviewTokenizer) -> Callable[..., None]:
    """Save the bundle of the test, some of its parts changed."""

    def save_changed(folder: Path, **changes: Any) -> None:
        parts: dict[str, Any] = {
            "network": network,
            "settings": settings,
            "tokenizer_json": tokenizer.to_json(),
            "class_names": CLASSES,
            "cut": Cut(16, "head_tail", 0.5),
        }
        save_bundle(folder, **(parts | changes))

    return save_changed


@pytest.fixture
def bundle(save: Callable[..., None], tmp_path: Path) -> Path:
    save(tmp_path / "runs" / "bundle")
    return tmp_path / "runs" / "bundle"


def test_a_bundle_is_five_files_and_nothing_else(bundle: Path) -> None:
    files = {SETTINGS_FILE, TOKENIZER_FILE, WEIGHTS_FILE, LEARNED_FILE, TRAINED_FILE}
    assert {path.name for path in bundle.iterdir()} == files
    assert list(bundle.parent.iterdir()) == [bundle]
    assert json.loads((bundle / SETTINGS_FILE).read_text())["version"] == 1


def test_another_file_of_its_extension_is_told_when_a_model_is_loaded(
    save: Callable[..., None], bundle: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    key, option = ("model", settings.name), OPTIONS["model", settings.name]
    monkeypatch.setitem(OPTIONS, key, replace(option, code="a" * 64))
    Predictor.load(bundle)  # of an earlier version: nobody knows
    save(bundle)
    Predictor.load(bundle)
    assert not caplog.messages
    monkeypatch.setitem(OPTIONS, key, replace(option, code="b" * 64))
    Predictor.load(bundle)
    Predictor.load(bundle)
    [told] = caplog.messages
    assert f"extension model={settings.name} (SHA-256 aaaaaaaaaaaa) than is loaded here (bbbbbbbbbbbb)" in told
    assert told.endswith("put the earlier files back, or train the model again")


def test_a_bundle_knows_the_reviews_that_its_model_learned_from(
    save: Callable[..., None], bundle: Path, tokenizer: ReviewTokenizer
) -> None:
    """As the model reads them; a bundle that was written without them does not claim that there are none."""
    save(bundle.with_name("other"), learned=hash_reviews(tokenizer.encode(TEXTS[:4])))
    other = Predictor.load(bundle.with_name("other"))
    found = other.find_learned([TEXTS[0], TEXTS[2], "fine fine fine", "  A FINE film"])
    assert found.tolist() == [True, True, False, True]
    bare = Predictor.load(bundle)
    assert (bare.find_learned(TEXTS).any(), bare.learned.tolist()) == (False, UNTOLD.tolist())
    hashes = hash_reviews(tokenizer.encode(TEXTS[:4]))
    save(bundle.with_name("third"), learned=hashes, trained=hashes[1:2])
    third = Predictor.load(bundle.with_name("third"))
    assert (third.trained.tolist(), set(third.learned)) == (hashes[1:2].tolist(), set(hashes))
    assert other.trained.tolist() == UNTOLD.tolist()
    (bundle.with_name("other") / LEARNED_FILE).write_bytes(b"")
    with pytest.raises(ModelFileError, match="damaged"):
        Predictor.load(bundle.with_name("other"))


def test_every_text_gets_a_label_and_probabilities(bundle: Path) -> None:
    predictions = Predictor.load(bundle).predict(TEXTS)
    assert predictions.class_names == CLASSES
    assert predictions.probabilities.shape == (len(TEXTS), len(CLASSES))
    assert predictions.probabilities.dtype == np.float32
    np.testing.assert_allclose(predictions.probabilities.sum(axis=1), 1, rtol=1e-5)
    assert predictions.labels == [CLASSES[row.argmax()] for row in predictions.probabilities]


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_answers_depend_neither_on_company_nor_on_order(bundle: Path, batch_size: int) -> None:
    predictor = Predictor.load(bundle)
    alone = np.concatenate([predictor.predict([text]).probabilities for text in TEXTS])
    assert np.ptp(alone, axis=0).max() > 1e-3  # the texts differ in their answers, so that an order can be seen
    together = predictor.predict(TEXTS, batch_size=batch_size).probabilities
    np.testing.assert_allclose(together, alone, atol=1e-6)
    backwards = predictor.predict(TEXTS[::-1], batch_size=batch_size).probabilities
    np.testing.assert_allclose(backwards[::-1], alone, atol=1e-6)


def test_no_text_gets_no_answer(bundle: Path) -> None:
    predictions = Predictor.load(bundle).predict([])
    assert predictions.labels == []
    assert predictions.probabilities.shape == (0, len(CLASSES))


def test_a_long_text_is_cut_as_in_training(save: Callable[..., None], tmp_path: Path) -> None:
    save(tmp_path / "bundle", cut=Cut(16, "tail", 0.5))
    predictor = Predictor.load(tmp_path / "bundle")
    tail = "dull film " * 8
    long, other, short = predictor.predict(["fine " * 99 + tail, tail + "fine " * 99, tail]).probabilities
    np.testing.assert_allclose(long, short, atol=1e-6)
    assert np.abs(other - short).max() > 1e-4


def test_prediction_switches_dropout_off_and_draws_no_random_number(bundle: Path, network: nn.Module) -> None:
    before = torch.get_rng_state()
    predictor = Predictor.load(bundle)
    first = predictor.predict(TEXTS).probabilities
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(predictor.predict(TEXTS).probabilities, first)
    assert network.training  # saving leaves the network as it was


def test_saving_again_replaces_the_bundle(
    bundle: Path, save: Callable[..., None], settings: Settings, tokenizer: ReviewTokenizer
) -> None:
    old = Predictor.load(bundle).predict(TEXTS).probabilities
    other = build_model(settings, vocabulary_size=tokenizer.vocabulary_size, classes=len(CLASSES), max_tokens=16)
    save(bundle, network=other)
    assert not np.allclose(Predictor.load(bundle).predict(TEXTS).probabilities, old)
    assert list(bundle.parent.iterdir()) == [bundle]


def test_a_bundle_that_could_not_be_loaded_is_never_written(bundle: Path, save: Callable[..., None]) -> None:
    old = Predictor.load(bundle).predict(TEXTS).probabilities
    for wrong in ({"class_names": ("bad", "good")}, {"tokenizer_json": "{}"}):
        with pytest.raises(ModelFileError, match="network, settings and tokenizer do not belong together"):
            save(bundle, **wrong)
    np.testing.assert_array_equal(Predictor.load(bundle).predict(TEXTS).probabilities, old)
    assert list(bundle.parent.iterdir()) == [bundle]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_network_that_diverged_is_no_model(
    bundle: Path, network: nn.Module, save: Callable[..., None], value: float
) -> None:
    with torch.no_grad():
        next(network.parameters()).view(-1)[0] = value
    with pytest.raises(ModelFileError, match="NaN or infinite"):
        save(bundle, network=network)


@pytest.mark.parametrize("kind", [Masking, Reading])
def test_a_network_of_one_s_own_may_hold_masks_and_read_numbers_while_it_is_built(
    make_settings: Callable[..., Settings], tokenizer: ReviewTokenizer, tmp_path: Path, kind: type[nn.Module]
) -> None:
    with registered(kind):
        settings = make_settings("rnn")
        own = build_model(settings, vocabulary_size=tokenizer.vocabulary_size, classes=2, max_tokens=16)
        save_bundle(tmp_path / "own", own, settings, tokenizer.to_json(), ("bad", "good"), Cut(16, "head", 0.5))
        assert len(Predictor.load(tmp_path / "own").predict(TEXTS).labels) == len(TEXTS)
        next(own.buffers(), own.words.weight.data).view(-1)[0] = torch.nan
        with pytest.raises(ModelFileError, match="NaN or infinite"):
            save_bundle(tmp_path / "own", own, settings, tokenizer.to_json(), ("bad", "good"), Cut(16, "head", 0.5))


def test_a_write_that_is_cut_short_leaves_the_old_bundle(
    bundle: Path, save: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = Predictor.load(bundle).predict(TEXTS).probabilities

    def write_half(path: Path, content: bytes) -> int:
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError("No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", write_half)
        with pytest.raises(OSError, match="No space left"):
            save(bundle)
    np.testing.assert_array_equal(Predictor.load(bundle).predict(TEXTS).probabilities, old)
    assert list(bundle.parent.iterdir()) == [bundle]


def test_a_missing_bundle_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=rf"no model in .*nowhere: {SETTINGS_FILE} is missing; give the bundle"):
        Predictor.load(tmp_path / "nowhere")


@pytest.mark.parametrize("name", [WEIGHTS_FILE, TOKENIZER_FILE])
def test_an_incomplete_bundle_names_the_missing_file(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    with pytest.raises(ModelFileError, match=f"is incomplete: no {name}; copy the bundle again"):
        Predictor.load(bundle)


@pytest.mark.parametrize("name", [WEIGHTS_FILE, TOKENIZER_FILE])
@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_file_is_named(bundle: Path, name: str, damage: str) -> None:
    content = bytearray((bundle / name).read_bytes())
    if damage == "cut":
        del content[-7:]
    else:
        content[-7] ^= 1
    (bundle / name).write_bytes(content)
    with pytest.raises(ModelFileError, match=f"{name} is damaged: its checksum differs"):
        Predictor.load(bundle)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"format": "sentiment-model", "version": 1}'])
def test_damaged_settings_are_named(bundle: Path, content: str) -> None:
    (bundle / SETTINGS_FILE).write_text(content)
    with pytest.raises(ModelFileError, match=f"{SETTINGS_FILE} is damaged"):
        Predictor.load(bundle)


def change_settings(bundle: Path, change: Callable[[dict[str, Any]], object], *, has_checksum: bool = False) -> None:
    """Alter the settings file, which without a checksum of its own is as earlier versions wrote it."""
    content = json.loads((bundle / SETTINGS_FILE).read_text())
    change(content)
    if not has_checksum:
        del content["sha256"][SETTINGS_FILE]
    (bundle / SETTINGS_FILE).write_text(json.dumps(content))


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["class_names"].reverse(),
        lambda content: content.update(keep="tail"),
        lambda content: content.update(head_fraction=0.25),
        lambda content: content["sha256"].pop(WEIGHTS_FILE),
    ],
)
def test_settings_that_were_altered_are_told_by_their_checksum(bundle: Path, change: Callable[..., object]) -> None:
    change_settings(bundle, lambda content: content.update(reversed(content.items())), has_checksum=True)
    Predictor.load(bundle)  # the order of keys and the blanks between them are no content
    change_settings(bundle, change, has_checksum=True)
    with pytest.raises(ModelFileError, match=f"{SETTINGS_FILE} is damaged: it was altered"):
        Predictor.load(bundle)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": "cnn"}, r"made with model=cnn, which is not known here\.\n  -> put .*sentiment/extensions/cnn\.py"),
        ({"depth": 0}, r"settings that model=\w+ does not take here \(model\.depth: .*\)\.\n  -> use the release"),
        ({"width": 3}, r"does not take here \(model\.width: Extra inputs"),
    ],
)
def test_whole_settings_of_a_model_that_is_not_here_are_no_damage(
    bundle: Path, change: dict[str, Any], told: str
) -> None:
    content = json.loads((bundle / SETTINGS_FILE).read_text())
    content["model"].update(change)
    content["sha256"][SETTINGS_FILE] = _hash_settings(content)
    (bundle / SETTINGS_FILE).write_text(json.dumps(content))
    with pytest.raises(ModelFileError, match=told):
        Predictor.load(bundle)


def test_a_file_that_was_written_after_this_python_began_is_told_so(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """As in a notebook, whose runs are processes of their own: they know it."""
    monkeypatch.setattr("sentiment.config.option.EXTENSIONS", tmp_path)
    (tmp_path / "own.py").touch()
    (tmp_path / ".#own.py").symlink_to("nobody@nowhere.1")  # the lock of an editor
    remedy = r"\n  -> this Python began before own\.py was written: start it anew, in a notebook the kernel; else "
    _tell_of_other_code(bundle, "own", "then", "now")
    assert re.search(remedy + "put the earlier files back", caplog.text)
    with pytest.raises(SentimentError, match=remedy + "if it was .*; else correct its name"):
        find_direction("val/own")
    content = json.loads((bundle / SETTINGS_FILE).read_text())
    content["model"]["name"] = "own"
    content["sha256"][SETTINGS_FILE] = _hash_settings(content)
    (bundle / SETTINGS_FILE).write_text(json.dumps(content))
    with pytest.raises(ModelFileError, match=remedy):
        Predictor.load(bundle)


def test_settings_of_earlier_versions_have_no_checksum(bundle: Path) -> None:
    change_settings(bundle, lambda content: content["class_names"].reverse())
    assert Predictor.load(bundle).class_names == tuple(reversed(CLASSES))


def test_a_key_that_is_gone_says_nothing_at_null_and_is_refused_with_a_value(bundle: Path) -> None:
    expected = Predictor.load(bundle).predict(TEXTS).probabilities
    change_settings(bundle, lambda content: content["model"].update(bigram_buckets=None))
    np.testing.assert_array_equal(Predictor.load(bundle).predict(TEXTS).probabilities, expected)
    change_settings(bundle, lambda content: content["model"].update(bigram_buckets=64), has_checksum=True)
    with pytest.raises(ModelFileError, match=r"made with model.bigram_buckets=64, which .* not have any more; use"):
        Predictor.load(bundle)


def test_an_extension_may_have_a_key_as_a_built_in_model_once_had(monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(RNNSettings):
        bigram_buckets: int | None = 64

    monkeypatch.setitem(OPTIONS, ("model", "own"), replace(OPTIONS["model", "rnn"], name="own", settings=Own))
    for value in (32, None):
        content = {"name": "own", "bigram_buckets": value, "bigram_size": None}
        assert _Settings.without_removed_keys(content) == {"name": "own", "bigram_buckets": value}


def test_another_format_version_is_refused_even_where_its_keys_are_unknown(bundle: Path) -> None:
    content = json.loads((bundle / SETTINGS_FILE).read_text())
    (bundle / SETTINGS_FILE).write_text(json.dumps(content | {"version": 2, "novelty": True}))
    with pytest.raises(ModelFileError, match="has format version 2, but this code reads version 1; use the release"):
        Predictor.load(bundle)


def test_an_answer_that_is_no_number_is_refused(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The label would be the first class."""
    predictor = Predictor.load(bundle)
    forward = predictor.network.forward
    deviating = lambda tokens, mask: forward(tokens, mask) / (mask.sum(1, keepdim=True) > 1)  # noqa: E731
    monkeypatch.setattr(predictor.network, "forward", deviating)
    with pytest.raises(ModelFileError, match=r"1 of 3 texts are no numbers \(NaN\), first to 'fine'.*\n  -> "):
        predictor.predict(["a fine film", "fine", "not fine"])


def test_what_is_no_text_is_refused(bundle: Path) -> None:
    predictor = Predictor.load(bundle)
    with pytest.raises(TypeError, match=r"a sequence of texts, not the single text 'fine'; give \[text\]"):
        predictor.predict("fine")
    with pytest.raises(TypeError, match=r"number 1 is nan \(float\); fill or drop missing texts"):
        predictor.predict(["fine", float("nan")])  # type: ignore[list-item]
    with pytest.raises(DataError, match=r"text number 1, counted from 0, is not valid Unicode: 'bad \\ud800'"):
        predictor.predict(["fine", "bad \ud800"])
    with pytest.raises(TypeError, match="not the single text 'fine'"):
        attribute(predictor, "fine")


@pytest.mark.parametrize(
    "change", [{"embedding_size": 2**40}, {"embedding_size": 16384, "depth": 64}, {"depth": 10**9}]
)
def test_an_absurd_size_is_refused_before_its_memory_is_taken(bundle: Path, change: dict[str, int]) -> None:
    change_settings(bundle, lambda content: content["model"].update(change))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB
    with pytest.raises(ModelFileError) as raised:
        Predictor.load(bundle)
    assert len(str(raised.value)) < 1000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024
