"""Find the known name that is nearest to an unknown one, for the faults of keys, options and metrics."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

SYNONYMS = {
    ("lr", "learning_rate", "eta"): ("lr", "learning_rate"),
    ("hidden_dim", "hidden_size", "hidden", "width", "dim"): ("hidden_size", "embedding_size", "hidden_dim"),
    ("d_model", "embed_dim", "embedding_dim", "emb_dim"): ("embedding_size", "d_model", "embedding_dim"),
    ("n_heads", "num_heads", "nhead", "heads", "attention_heads"): ("heads", "n_heads", "num_heads"),
    ("n_layers", "num_layers", "layers", "n_blocks", "depth"): ("depth", "n_layers", "num_layers"),
    ("epochs", "n_epochs", "num_epochs", "num_train_epochs"): ("max_epochs", "epochs"),
    ("bs", "batch", "train_batch_size"): ("batch_size",),
    ("wd", "decay", "l2"): ("weight_decay",),
    ("p_dropout", "dropout_rate", "drop"): ("dropout",),
    ("max_len", "max_length", "seq_len", "sequence_length"): ("max_tokens", "max_length"),
    ("vocab", "vocab_size"): ("vocabulary_size", "vocab_size"),
    ("grad_clip", "clip", "max_grad_norm", "gradient_clip_val"): ("gradient_clip_norm",),
    ("early_stopping",): ("patience",),
    ("device", "devices", "gpus"): ("accelerator", "devices"),
    ("random_seed", "random_state"): ("seed",),
    ("logger", "logging", "tracker"): ("tracking", "logger"),
    ("optim", "opt"): ("optimizer",),
    ("dataset", "datamodule"): ("data",),
    ("lr_scheduler", "schedule"): ("scheduler",),
    ("lstm", "gru"): ("rnn",),
    ("attention", "bert"): ("transformer",),
    ("acc",): ("accuracy",),
    ("auc", "roc_auc"): ("auroc",),
    ("f1_score",): ("f1",),
    ("f1_macro",): ("macro_f1",),
    ("log_loss", "cross_entropy", "nll"): ("loss",),
    ("matthews", "matthews_corrcoef"): ("mcc",),
    ("brier_score",): ("brier",),
    ("params", "n_params", "num_parameters"): ("parameters",),
    ("trials", "max_trials"): ("n_trials",),
    ("jobs", "workers"): ("n_jobs",),
}  # fmt: skip
"""What people type for a last part, from other projects and from habit, and what it may be called here: best first."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that `name` stands for, abbreviates or looks like; None where none is near.

    The last part of a name (``heads`` of ``model.heads``, ``f1`` of ``val/f1``) counts most: people forget the group.
    """
    last_parts = {candidate: _last_part(candidate) for candidate in known}
    last = _last_part(name)
    synonyms = (called for typed, called in SYNONYMS.items() if last in typed)
    for part in (last, *(part for called in synonyms for part in called)):
        same = [candidate for candidate, its_part in last_parts.items() if its_part == part]
        if same:
            return _closest(name, same)
    whole = [candidate for candidate in last_parts if _abbreviates(name, candidate)]
    parts = [candidate for candidate, part in last_parts.items() if _abbreviates(last, part)]
    if whole or parts:
        return _closest(name, whole or parts)
    alike = get_close_matches(name, last_parts, n=1, cutoff=0.75)
    if alike:
        return alike[0]
    parts = get_close_matches(last, last_parts.values(), n=1, cutoff=0.6)
    return next((candidate for candidate, part in last_parts.items() if part in parts), None)


def _last_part(name: str) -> str:
    return re.split(r"[./]", name)[-1]


def _closest(name: str, candidates: list[str]) -> str:
    return get_close_matches(name, candidates, n=1, cutoff=0)[0]


def _abbreviates(name: str, full: str) -> bool:
    """Return whether each word of a name begins the full name's word in its place: ``val_acc`` ``val/accuracy``."""
    words, full_words = (re.findall("[a-z0-9]+", text.lower()) for text in (name, full))
    return 0 < len(words) <= len(full_words) and all(
        full_word == word or (len(word) > 1 and full_word.startswith(word))
        for word, full_word in zip(words, full_words, strict=False)
    )
