"""Where a run begins: at a trained model, at words that were learned, at another run's checkpoint, or afresh.

Of the weights of a trained model (``trainer.init_from``), or of one that has learned words (``pretrain``), what fits is
taken, and what does not is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from sentiment.data.corpus import Corpus
from sentiment.data.fingerprint import UNTOLD
from sentiment.errors import ModelFileError
from sentiment.format import format_count
from sentiment.models.bundle import Predictor
from sentiment.models.ngram import NaiveBayesFeatures

ABSENT = "not there"


@dataclass(frozen=True)
class Beginning:
    """What a run begins with, and may go on from."""

    # Trained model whose weights the network starts from; the run's corpus is by its tokenizer. None: fresh weights.
    start: Predictor | None = None
    # Folder of a run from whose last checkpoint this one goes on at other settings of the optimizer; None: of none.
    origin: Path | None = None
    words: Mapping[str, torch.Tensor] | None = None  # weights of a part of the network, which has learned words before
    # Whether the run may go on from what trained with fewer epochs; see `sentiment.training.resume.LastCheckpoint`.
    may_train_on: bool = True


FRESH = Beginning()


def take_weights(
    network: nn.Module, planned: nn.Module, start: Predictor, class_names: tuple[str, ...], name: str
) -> str:
    """Copy a trained model's weights into a fresh network of the same form, and return what was taken.

    With other classes, the last layer stays fresh, and what else has K rows in the one and not in the other, or K rows
    of other meaning; and so do naive-Bayes features, whose ratios are always those of the run's own training reviews.

    Args:
        network: The fresh network, for the tokenizer of `start`.
        planned: What the same settings make for as many classes as `start` has: a network may keep their number
            anywhere, so that the forms are comparable for one number alone.
        start: The trained model.
        class_names: K classes of the run.
        name: What the trained model is called.

    Raises:
        ModelFileError: The networks differ in more than the classes.
    """
    wanted, found = network.state_dict(), start.network.state_dict()
    others = class_names != start.class_names
    parts = [(name, part) for name, part in network.named_modules() if isinstance(part, NaiveBayesFeatures)]
    counted = {f"{name}.{key}" for name, part in parts for key, _ in part.named_buffers()}
    by_class = tuple(f"{name}." for name, _ in parts) if others else ()
    here, there = _describe(planned), _describe(start.network)
    differing = [
        f"{key} is {there.get(key, ABSENT)} there and {here.get(key, ABSENT)} here"
        for key in dict.fromkeys([*here, *there])
        if key not in counted and there.get(key) != here.get(key)
    ]
    if differing:
        raise ModelFileError(
            f"The model {name} is of another form ({format_count(len(differing), 'difference')}): {differing[0]}.",
            "take the model's own settings (model=..., model.*, data.max_tokens), as its result.json has them",
        )
    left = counted | (_find_head(network, len(class_names)) if others else set())
    left |= {key for key in wanted if key.startswith(by_class) or _shape(wanted[key]) != _shape(found.get(key))}
    taken = {key: found[key] for key in wanted if key not in left}
    network.load_state_dict(wanted | taken)
    begun = ", ".join(sorted(wanted.keys() - taken.keys() - counted))
    fresh = f"; its classes are {', '.join(start.class_names)}, so that {begun} start fresh" if others else ""
    count = sum(tensor.numel() for tensor in taken.values())
    return f"Starts from {name}: {count:,} weights and its tokenizer taken{fresh}."


@dataclass(frozen=True)
class Known:
    """Reviews by which a run is measured, and which a trained model has seen, or may have."""

    split: str  # validation or test
    count: str  # how many: ``120 of 200``, or ``unknown``
    warning: str  # what it means, for people


def find_known(start: Predictor, corpus: Corpus, *, is_tested: bool) -> list[Known]:
    """Return which splits of the run hold reviews that the trained model has seen, or may have.

    Splits are drawn by `data.split_seed`: with another one, they are other reviews. A validation review that selected
    the trained model as well may select again; one whose tokens are those of a training review of the run is known to
    the run itself.

    Args:
        start: The trained model.
        corpus: The run's reviews, by the tokenizer of `start`.
        is_tested: Whether the run looks at its test reviews.
    """
    told, own = [], corpus.train.hashes
    measured = [("validation", corpus.validation, start.trained, "training")]
    measured += [("test", corpus.test, start.learned, "training, validation or pretraining")] if is_tested else []
    for name, split, seen, how in measured:
        if UNTOLD in seen:
            warning = f"Its bundle does not tell all that it learned from: {name} reviews may be among it."
            told.append(Known(name, "unknown", warning))
        known = int((np.isin(split.hashes, seen) & ~np.isin(split.hashes, own)).sum())
        if known:
            warning = (
                f"{known:,} of the {len(split):,} {name} reviews stood in its own {how}: the {name} figures are not "
                "those of reviews that it has never seen. Take the data and the data.split_seed that it was trained "
                "on, or a model that has not learned from them."
            )
            told.append(Known(name, f"{known:,} of {len(split):,}", warning))
    return told


def take_words(network: nn.Module, words: Mapping[str, torch.Tensor]) -> str:
    """Copy the weights that learned words into a fresh network that they are a part of, and return what was taken.

    Raises:
        ModelFileError: They are of another network.
    """
    wanted = network.state_dict()
    differing = [
        f"{key} is {_shape(tensor)} there and {_shape(wanted.get(key))} here"
        for key, tensor in words.items()
        if _shape(wanted.get(key)) != _shape(tensor)
    ]
    if differing:
        raise ModelFileError(
            f"The words were learned by another network ({format_count(len(differing), 'tensor')}): {differing[0]}.",
            "remove the folder that the line above names, and they are learned again",
        )
    network.load_state_dict({**wanted, **words})
    taken = sum(tensor.numel() for tensor in words.values())
    fresh = dict.fromkeys(".".join(key.split(".")[:-1][:2]) for key in wanted if key not in words)
    return f"Starts from these words: {taken:,} weights taken; {', '.join(fresh)} start fresh."


def hash_model(model: Predictor) -> str:
    """Identify a trained model: a name may come to stand for another one."""
    return hash_weights(model.network.state_dict(), model.tokenizer.to_json())


def hash_weights(weights: Mapping[str, torch.Tensor], tokenizer_json: str = "") -> str:
    """Identify weights, and their tokenizer."""
    digest = hashlib.sha256(tokenizer_json.encode())
    for tensor in weights.values():
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()[:32]


def _find_head(network: nn.Module, classes: int) -> set[str]:
    """Return the names of the tensors of the last linear layer, which has a row for each class."""
    layers = [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not layers or layers[-1][1].out_features != classes:
        raise ModelFileError(
            f"{type(network).__name__} has no linear layer of {classes} classes at its end, which could start fresh.",
            "start from a model with the same classes",
        )
    name, last = layers[-1]
    return {f"{name}.{key}" for key in last.state_dict()}


def _describe(network: nn.Module) -> dict[str, str]:
    """Return the form of a network: shapes of its tensors, its parts, and their whole numbers, words and switches.

    Heads or positions change what weights mean, and no shape; a share of dropout changes nothing of them.
    """
    form = {key: _shape(tensor) for key, tensor in network.state_dict().items()}
    for name, part in network.named_modules():
        form[name or "the network"] = type(part).__name__
        values = {key: value for key, value in vars(part).items() if isinstance(value, int | str) and key != "training"}
        form |= {f"{name}.{key}": str(value) for key, value in values.items() if not key.startswith("_")}
    return form


def _shape(tensor: torch.Tensor | None) -> str:
    return ABSENT if tensor is None else "x".join(map(str, tensor.shape)) or "one number"
