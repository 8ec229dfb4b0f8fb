"""Keys that a command sets and none of its runs reads."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from sentiment.config.conflicts import PAUSING
from sentiment.config.extension import RULES, list_extensions
from sentiment.config.key_table import type_value
from sentiment.config.objective import list_objectives
from sentiment.config.option import find_option
from sentiment.config.reading import find_own_splits
from sentiment.config.schema import FilesDataSettings, Settings
from sentiment.errors import Fault
from sentiment.flat import are_related, flatten, flatten_model, is_within
from sentiment.format import is_share

WITHOUT_MARGIN = (*PAUSING, ".NopPruner", ".WilcoxonPruner")
"""Pruners that end no trial for being behind at a validation."""

_is_null: Callable[[Any], bool] = partial(operator.is_, None)
_is_set: Callable[[Any], bool] = partial(operator.is_not, None)

UNREAD: tuple[tuple[tuple[str, ...], Mapping[str, Callable[[Any], bool]]], ...] = (
    (("data.head_fraction",), {"data.keep": lambda keep: keep != "head_tail"}),
    (("data.tokenizer",), {"trainer.init_from": _is_set}),
    (("data.unlabelled_size", "data.unlabelled_path"), {"pretrain": _is_null, "trainer.teachers": _is_null}),
    (("data.repository", "data.revision"), {"data.path": _is_set}),
    *((("data.validation_fraction",), {f"data.validation_{by}": _is_set}) for by in ("path", "split")),
    *((("data.test_fraction",), {f"data.test_{by}": _is_set}) for by in ("path", "split")),
    *(
        (
            ("data.split_seed",),
            {f"data.validation_{by}": _is_set, f"data.test_{by}": _is_set, "data.train_limit": _is_null},
        )
        for by in ("path", "split")
    ),
    (("data.validation_label_path",), {"data.validation_path": _is_null}),
    (("data.test_label_path",), {"data.test_path": _is_null}),
    (("data.delimiter", "data.quoting", "data.header"), {"data.format": lambda form: form not in (None, "csv")}),
    (("data.text_column", "data.label_column"), {"data.format": lambda form: form in ("fasttext", "lines")}),
    (("hydra.sweeper.start",), {"hydra.sweeper.sampler._target_": lambda target: str(target).endswith(".GridSampler")}),
    (
        ("hydra.sweeper.repeat_value", "hydra.sweeper.seed_key"),
        {"hydra.sweeper.repeats": lambda repeats: repeats == 1},
    ),
    (
        tuple(f"hydra.sweeper.{key}" for key in ("start", "margin", "n_trials", "pruner", "sampler", "prior")),
        {"hydra.sweeper.extend": _is_set},  # what is extended draws nothing, and runs to its end
    ),
    (("hydra.sweeper.margin",), {"hydra.sweeper.pruner": _is_null}),
    (("hydra.sweeper.margin",), {"hydra.sweeper.pruner._target_": lambda target: target.endswith(WITHOUT_MARGIN)}),
    (("hydra.sweeper.margin",), {"objective": lambda objective: not is_share(list_objectives(objective)[0])}),
    (("hydra.sweeper.pruner.tolerance",), {"hydra.sweeper.pruner.growing": lambda growing: not growing}),
)
"""Keys and groups that no run reads where other keys have such values.

What only says how a run is done and told (`sentiment.config.identity.INCIDENTAL`) is not among them.
"""

OF_STEPS = (
    "optimizer", "scheduler", "data.max_tokens", "data.keep", "data.head_fraction", "data.batch_size",
    *(
        f"trainer.{key}"
        for key in (
            "accelerator", "precision", "max_epochs", "validations_per_epoch", "patience", "gradient_clip_norm",
            "label_smoothing", "weight_averaging", "deterministic",
        )
    ),
)  # fmt: skip
"""What a model that is fitted in one go, on whole reviews, does not read. To set one is no fault, since the same words
are tried on one model after the other; to sweep over its values is: that would be the same run several times."""


class UnreadKeys:
    """Which of the keys that a command sets are read by none of its runs: they would be ignored without a word.

    That some of its runs do not read a key is no fault, nor that a file sets one for those that do.

    Args:
        named: The keys and groups that the command sets.
        swept: Those of them that it sweeps over or searches.
    """

    def __init__(self, named: Iterable[str], swept: Iterable[str] = ()) -> None:
        self._swept = frozenset(swept)
        known = [key for keys, _ in UNREAD for key in keys]
        self._unread: dict[str, Fault | None] = {
            name: None
            for name in named
            if any(are_related(_dot(name), key) for key in (*known, *(OF_STEPS if name in self._swept else ())))
        }

    def look(self, settings: Settings, sweeper: Mapping[str, Any]) -> None:
        """Look at a run of the command, and at the keys of the study that it is of."""
        flat = flatten_model(settings) | flatten(sweeper, "hydra.sweeper.") if self._unread else {}
        if self._unread and isinstance(settings.data, FilesDataSettings):  # a folder's own splits are as if named
            own = find_own_splits(Path(settings.data.path))
            flat |= {key: str(folder) for key, folder in own.items() if flat[key] is None}
        for name in list(self._unread):
            keys = [key for key in flat if is_within(key, [_dot(name)])]
            found = [_find_causes(key, flat) or self._find_steps(name, key, settings) for key in keys]
            if not all(found):
                del self._unread[name]
            elif any(flat[key] is not None for key in keys):
                problem = f"no run of this command reads it, as {', '.join(found[0])}"
                others = " or ".join(cause.partition("=")[0] for cause in found[0])
                self._unread[name] = Fault(name, problem, f"leave it out, or change {others}")

    def _find_steps(self, name: str, key: str, settings: Settings) -> list[str]:
        """Return the model that takes no steps, for which a swept key is not read; nothing: it is."""
        is_meant = name in self._swept and is_within(key, OF_STEPS)
        return [f"model={settings.model.name}"] if is_meant and find_option(settings.model).fitter else []

    def find_faults(self) -> list[Fault]:
        """Return the faults, once every run was looked at."""
        return [fault for fault in self._unread.values() if fault is not None]


def _dot(name: str) -> str:
    """Return the key that a group fills: ``hydra/sweeper/pruner``."""
    return name.replace("/", ".")


def _find_causes(key: str, flat: Mapping[str, Any]) -> list[str]:
    """Return the settings for which a run does not read a key; none: it does."""
    for keys, conditions in UNREAD:
        is_meant = is_within(key, keys) and not any(_is_of_extension(one, flat) for one in (key, *conditions))
        if is_meant and all(other in flat and is_so(flat[other]) for other, is_so in conditions.items()):
            return [
                f"{other.removesuffix('._target_')}={type_value(flat[other]).rpartition('.')[2]}"
                if other.endswith("._target_")
                else f"{other}={type_value(flat[other])}"
                for other in conditions
            ]
    return []


def _is_of_extension(key: str, flat: Mapping[str, Any]) -> bool:
    """Return whether a key is an extension's own: it may be called as a built-in one is, and mean something else."""
    group, _, name = key.partition(".")
    option = next(
        (one for one in list_extensions() if (one.group, one.name) == (group, flat.get(f"{group}.name"))), None
    )
    return option is not None and name.partition(".")[0] not in RULES[option.group].base.model_fields
