"""A trained model on disk: all that prediction needs, and nothing that can run code.

A bundle is a folder of five files: ``weights.safetensors``, ``settings.json``, ``tokenizer.json``, and ``learned.bin``
and ``trained.bin``, which tell the reviews that the model has seen; bundles of earlier versions lack them.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pydantic
import safetensors
import safetensors.torch
import torch
from torch import nn

from sentiment.config.group import Keep
from sentiment.config.identity import is_removed
from sentiment.config.option import OPTIONS, Option, add_later_files, find_option
from sentiment.config.schema import ModelSettings
from sentiment.data.batching import Cut, Item, LengthBatches, collate
from sentiment.data.files.records import SURROGATE
from sentiment.data.fingerprint import UNTOLD, hash_reviews
from sentiment.data.tokenizer import ReviewTokenizer, load_tokenizer
from sentiment.errors import DataError, ModelFileError
from sentiment.json_file import digest_json
from sentiment.models.build import build_model

FORMAT_VERSION = 1
"""Rises whenever older code could not read a newer bundle, or newer code an older one."""

WEIGHTS_FILE = "weights.safetensors"
SETTINGS_FILE = "settings.json"
TOKENIZER_FILE = "tokenizer.json"
LEARNED_FILE, TRAINED_FILE = "learned.bin", "trained.bin"
"""The reviews that the model was trained on, selected by or learned words from, and those of them that it was trained
on: of each the hash of its token ids, 8 bytes, ascending; `UNTOLD` among them: and others."""

CODE = "extension"
"""Stands among the checksums for the code of the extension that the network is of; earlier bundles lack it."""

log = logging.getLogger(__name__)


class _Version(pydantic.BaseModel):
    """The part of the settings file that every format version has."""

    format: Literal["sentiment-model"]
    version: int


class _Settings(_Version):
    """The settings file: the ``model`` group, what a `Predictor` has beside it, and checksums of all files.

    Its own is over the rest of it; files of earlier versions lack that.
    """

    model_config = pydantic.ConfigDict(extra="forbid")

    model: ModelSettings
    class_names: tuple[str, ...]
    max_tokens: int | None
    keep: Keep
    head_fraction: float
    sha256: dict[str, str]

    @pydantic.field_validator("model", mode="before")
    @classmethod
    def without_removed_keys(cls, model: object) -> object:
        """Drop removed keys whose value is null; an extension may have a key of that name."""
        if not isinstance(model, dict):
            return model
        gone = [key for key in model if is_removed(f"model.{key}", model.get("name"))]
        for key in (key for key in gone if model[key] is not None):
            raise ModelFileError(
                f"the model was made with model.{key}={model[key]}, which this version does not have any more; "
                "use the release that wrote it, or train the model again"
            )
        return {key: value for key, value in model.items() if key not in gone}


@dataclass(frozen=True)
class Predictions:
    """A model's answers, in the order of the texts."""

    labels: list[str]  # N names of the most probable classes
    probabilities: npt.NDArray[np.float32]  # (N, K) class probabilities, float32
    # (N, K) their logarithms, float32: those of the smallest ones, which are 0 as a float32, too.
    log_probabilities: npt.NDArray[np.float32]
    class_names: tuple[str, ...]  # K class names in index order
    tokens: int  # tokens that the network saw, of all texts together


def save_bundle(
    folder: Path,
    network: nn.Module,
    settings: ModelSettings,
    tokenizer_json: str,
    class_names: Sequence[str],
    cut: Cut,
    learned: npt.NDArray[np.uint64] = UNTOLD,
    trained: npt.NDArray[np.uint64] = UNTOLD,
    check: Callable[[Predictor], None] | None = None,
) -> Path:
    """Write a bundle, replacing an older one, and return its folder, whose parents are made.

    The files are written to a sibling folder, read back once, and moved into place, so that `folder` never holds
    half a bundle or one that cannot be loaded.

    `settings` are what the network was built from, `tokenizer_json` is from `ReviewTokenizer.to_json`, and what follows
    is as in `Predictor`. `check` may refuse what was read back.

    Raises:
        ModelFileError: Network, settings and tokenizer do not belong together.
    """
    state = network.state_dict()
    odd = [name for name, value in state.items() if not isinstance(value, torch.Tensor)]
    if odd:
        raise ModelFileError(
            f"{type(network).__name__} keeps {odd[0]}, which is no tensor, in its state; a bundle holds tensors alone: "
            "leave out get_extra_state"
        )
    # Copies, because on a GPU the weights of a recurrent cell share one block of memory, which the format refuses.
    weights = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in state.items()}
    contents = {WEIGHTS_FILE: safetensors.torch.save(weights), TOKENIZER_FILE: tokenizer_json.encode()}
    for name, known in ((LEARNED_FILE, learned), (TRAINED_FILE, trained)):
        contents[name] = np.unique(known).astype("<u8").tobytes()
    description = _Settings(
        format="sentiment-model",
        version=FORMAT_VERSION,
        model=settings,
        class_names=tuple(class_names),
        **asdict(cut),
        sha256={name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
    )
    code = find_option(settings).code
    description.sha256 |= {} if code is None else {CODE: code}
    description.sha256[SETTINGS_FILE] = _hash_settings(description.model_dump(mode="json"))
    contents[SETTINGS_FILE] = description.model_dump_json(indent=2).encode()
    partial = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.partial")
    partial.mkdir(parents=True)
    try:
        for name, content in contents.items():
            (partial / name).write_bytes(content)
        saved = Predictor.load(partial)
        if check is not None:
            check(saved)
        _replace_folder(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)  # gone already where all went well
    return folder


def read_option(folder: Path) -> Option:
    """Return which model a bundle holds.

    Raises:
        ModelFileError: There is no bundle, or its settings are damaged.
    """
    return find_option(_read_settings(folder).model)


@dataclass(eq=False)
class Predictor:
    """A trained model with its tokenizer: texts in, labels and probabilities out."""

    network: nn.Module  # the network; it is switched to evaluation
    tokenizer: ReviewTokenizer  # the tokenizer that it was trained with
    class_names: tuple[str, ...]  # K class names in index order
    cut: Cut  # which tokens of a review the network sees
    # `hash_reviews` of those that it was trained on, selected by or learned words from; `UNTOLD` among them: and
    # others. Bundles of earlier versions lack those that gave words alone.
    learned: npt.NDArray[np.uint64] = field(default_factory=lambda: UNTOLD)
    trained: npt.NDArray[np.uint64] = field(default_factory=lambda: UNTOLD)  # the same of those that it was trained on

    def __post_init__(self) -> None:
        self.network.eval()

    @classmethod
    def load(cls, folder: Path, device: str | torch.device = "cpu") -> Predictor:
        """Read a folder that `save_bundle` wrote.

        Raises:
            ModelFileError: The bundle is missing, incomplete, damaged, of another format version, or diverged.
        """
        settings = _read_settings(folder)
        _compare_code(settings, folder)
        contents = {name: _read_checked(folder, name, settings.sha256) for name in _list_files(settings)}
        try:
            tokenizer = load_tokenizer(contents[TOKENIZER_FILE].decode())
            weights = safetensors.torch.load(contents[WEIGHTS_FILE])
            learned, trained = (
                np.frombuffer(contents[name], dtype="<u8") if name in contents else UNTOLD
                for name in (LEARNED_FILE, TRAINED_FILE)
            )
            build = partial(
                build_model, settings.model, vocabulary_size=tokenizer.vocabulary_size,
                classes=len(settings.class_names), max_tokens=settings.max_tokens,
            )  # fmt: skip
            with torch.random.fork_rng(devices=[]):  # fresh weights draw random numbers: take none from the caller
                _check_size(settings.model, build, weights)
                network = build()
            network.load_state_dict(weights)
        # Checksums passed, so what fails here was already wrong when the bundle was written.
        except (DataError, RuntimeError, ValueError, TypeError, safetensors.SafetensorError) as error:
            raise ModelFileError(
                f"{folder}: network, settings and tokenizer do not belong together: {error}; "
                "save the bundle again with the settings and tokenizer that the network was trained with"
            ) from error
        require_finite(network, folder)
        cut = Cut(settings.max_tokens, settings.keep, settings.head_fraction)
        return cls(network.to(device), tokenizer, settings.class_names, cut, learned, trained)

    def find_learned(self, texts: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Tell of each of N texts whether it is among `learned`, as the model reads it."""
        return np.isin(hash_reviews(self.tokenizer.encode(texts)), self.learned)

    def predict(self, texts: Sequence[str], batch_size: int = 64) -> Predictions:
        """Classify N raw texts of any length; an empty text counts as one unknown word.

        Texts of similar length share a batch; the answers come in the order of the texts.

        Raises:
            TypeError: A single string instead of a sequence, or something that is not a string.
            ModelFileError: The network's answer to a text is no number.
        """
        check_texts(texts)
        kept = list(map(self.cut.cut_text, texts))
        probabilities, log_probabilities, tokens = self.answer(self.tokenizer.encode(kept), batch_size)
        require_answers(probabilities, self.network, texts)
        labels = [self.class_names[index] for index in probabilities.argmax(axis=1)]
        return Predictions(labels, probabilities, log_probabilities, self.class_names, tokens)

    @torch.inference_mode()
    def answer(
        self, reviews: Sequence[npt.NDArray[np.integer]], batch_size: int = 64
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], int]:
        """Classify N reviews of (T,) token ids of its tokenizer each, at full length.

        Returns:
            (N, K) class probabilities, NaN where the network's answer is no number (see `require_answers`), their
            logarithms, and the number of tokens that the network saw.
        """
        ids = list(map(self.cut.cut_ids, reviews))
        device = next(self.network.parameters()).device
        probabilities = np.empty((len(ids), len(self.class_names)), dtype=np.float32)  # (N, K)
        log_probabilities = np.empty_like(probabilities)
        for rows in LengthBatches(np.array([len(kept) for kept in ids], dtype=np.int64), batch_size):
            batch = collate([Item(ids[row], label=0, row=row) for row in rows])
            logits = self.network(batch.tokens.to(device), batch.mask.to(device)).float()  # (B, K)
            probabilities[rows] = logits.softmax(dim=-1).cpu().numpy()
            log_probabilities[rows] = logits.log_softmax(dim=-1).cpu().numpy()
        return probabilities, log_probabilities, sum(map(len, ids))


def _check_size(settings: ModelSettings, build: Callable[[], nn.Module], weights: Mapping[str, torch.Tensor]) -> None:
    """Refuse settings that ask for another network than the weights are, before its memory is taken.

    Raises:
        ValueError: They do.
    """
    try:
        with torch.device("meta"):  # shapes alone
            planned = build()
    except Exception:
        if find_option(settings).code is None:
            raise
        return  # one of one's own, which reads numbers while it is built; its shapes are held against the weights later
    wanted, found = (
        {name: tuple(tensor.shape) for name, tensor in state.items()} for state in (planned.state_dict(), weights)
    )
    # A tensor that is planned empty takes its size from the file: the n-grams of a linear model.
    names = {name for name in {*wanted, *found} if 0 not in wanted.get(name, ())}
    odd = sorted(name for name in names if wanted.get(name) != found.get(name))
    if odd:
        raise ValueError(f"{odd[0]} is {found.get(odd[0])}, and the settings ask for {wanted.get(odd[0])}")


def require_finite(network: nn.Module, source: Path) -> None:
    """Refuse a network whose weights are NaN or infinite: whatever it was asked, it would answer with the first class.

    What is not trained may be infinite: the mask of a window is.

    Raises:
        ModelFileError: Some weight is not finite.
    """
    state = network.state_dict(keep_vars=True)
    broken = [name for name, x in state.items() if (x.isnan() | (x.isinf() & x.requires_grad)).any()]
    if broken:
        raise ModelFileError(
            f"{source} holds weights that are NaN or infinite ({broken[0]}, {len(broken)} tensors in all): its "
            "training diverged, and it cannot predict.",
            "train it again with a lower optimizer.lr, or choose another run",
        )


def require_answers(
    probabilities: npt.NDArray[np.floating], network: nn.Module, texts: Sequence[str] | None = None
) -> None:
    """Refuse (N, K) answers, to N texts if they are given, of which some are NaN: the first class would be the answer.

    Raises:
        ModelFileError: Some are.
    """
    broken = np.flatnonzero(~np.isfinite(probabilities).all(axis=1))
    if len(broken):
        raise ModelFileError(
            f"{type(network).__name__}'s answers to {len(broken)} of {len(probabilities)} texts are no numbers (NaN)"
            f"{'' if texts is None else f', first to {texts[broken[0]][:60]!r}'}.",
            "mend its forward(), for example a deviation over one token or a division by zero, and train it again",
        )


def check_texts(texts: Sequence[str]) -> None:
    """Refuse what is no sequence of texts.

    Raises:
        TypeError: A single string instead of a sequence, or something that is not a string.
        DataError: A text that UTF-8 cannot write.
    """
    if isinstance(texts, str):
        raise TypeError(f"a model takes a sequence of texts, not the single text {texts[:40]!r}; give [text]")
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(
                f"a model takes texts, but number {row} is {text!r} ({type(text).__name__}); fill or drop missing texts"
            )
        if not text.isascii() and SURROGATE.search(text):
            raise DataError(f"text number {row}, counted from 0, is not valid Unicode: {text[:60]!a}; mend or drop it")


def _read_settings(folder: Path) -> _Settings:
    try:
        content = (folder / SETTINGS_FILE).read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelFileError(f"no model in {folder}: {SETTINGS_FILE} is missing; give the bundle of a run") from error
    try:
        version = _Version.model_validate_json(content).version
        if version != FORMAT_VERSION:
            raise ModelFileError(
                f"{folder} has format version {version}, but this code reads version {FORMAT_VERSION}; "
                "use the release that wrote it, or train the model again"
            )
        settings = _Settings.model_validate_json(content)
    except pydantic.ValidationError as error:
        raise _explain_invalid(folder, content, error) from error
    if settings.sha256.get(SETTINGS_FILE, known := _hash_settings(json.loads(content))) != known:
        raise ModelFileError(
            f"{folder / SETTINGS_FILE} is damaged: it was altered since it was written; copy the bundle again"
        )
    return settings


def _explain_invalid(folder: Path, content: bytes, error: pydantic.ValidationError) -> ModelFileError:
    """Tell settings that are damaged from whole ones, whose checksum is right, of a model that is not here."""
    try:
        whole = json.loads(content)
        if whole["sha256"][SETTINGS_FILE] != _hash_settings(whole):
            raise ValueError("they were altered")
        name = whole["model"]["name"]
    except (ValueError, TypeError, KeyError):
        return ModelFileError(f"{folder / SETTINGS_FILE} is damaged: {error}", "copy the bundle again")
    option = OPTIONS.get(("model", name))
    if option is None:
        return ModelFileError(
            f"{folder} was made with model={name}, which is not known here.",
            add_later_files(f"put the file of that model back: sentiment/extensions/{name}.py"),
        )
    faults = "; ".join(f"model.{fault['loc'][-1]}: {fault['msg']}" for fault in error.errors(include_url=False))
    earlier = "use the release that wrote it" if option.code is None else "put its earlier file back"
    remedy = f"{earlier}, or train the model again"
    return ModelFileError(
        f"{folder} was made with settings that model={name} does not take here ({faults}).",
        remedy if option.code is None else add_later_files(remedy),
    )


def _compare_code(settings: _Settings, folder: Path) -> None:
    """Say so where an extension's file is not the one that its model was trained with: it may answer differently."""
    then, option = settings.sha256.get(CODE), find_option(settings.model)
    if None not in (then, option.code) and then != option.code:
        _tell_of_other_code(folder, option.name, then, option.code)


@cache
def _tell_of_other_code(folder: Path, name: str, then: str | None, now: str | None) -> None:
    """Tell it once a process: a study loads the models that its trials learn from again and again."""
    log.warning(
        "%s was trained with other code of the extension model=%s (SHA-256 %.12s) than is loaded here (%.12s), so it "
        "may answer differently.\n  -> %s",
        folder, name, then, now, add_later_files("put the earlier files back, or train the model again"),
    )  # fmt: skip


def _hash_settings(content: Mapping[str, Any]) -> str:
    """Return the checksum of a settings file as it is written, less the entry for itself."""
    others = {name: checksum for name, checksum in content["sha256"].items() if name != SETTINGS_FILE}
    return digest_json({**content, "sha256": others})


def _list_files(settings: _Settings) -> tuple[str, ...]:
    return WEIGHTS_FILE, TOKENIZER_FILE, *(name for name in (LEARNED_FILE, TRAINED_FILE) if name in settings.sha256)


def _read_checked(folder: Path, name: str, sha256: dict[str, str]) -> bytes:
    try:
        content = (folder / name).read_bytes()
    except FileNotFoundError as error:
        raise ModelFileError(f"the model in {folder} is incomplete: no {name}; copy the bundle again") from error
    if hashlib.sha256(content).hexdigest() != sha256.get(name):
        raise ModelFileError(
            f"{folder / name} is damaged: its checksum differs from the one in {SETTINGS_FILE}; copy the bundle again"
        )
    return content


def _replace_folder(source: Path, target: Path) -> None:
    """Move a folder into place; an older one is moved aside first, as no system call swaps full folders portably."""
    if not target.exists():
        source.rename(target)
        return
    old = target.with_name(f".{target.name}.{uuid.uuid4().hex}.old")
    target.rename(old)
    source.rename(target)
    shutil.rmtree(old)
