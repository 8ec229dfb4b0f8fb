"""Which settings identify a run: two runs that agree in them compute the same result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sentiment.config.home import write_portable
from sentiment.config.objective import RETIRED, find_direction, list_objectives, select_objective, translate_retired
from sentiment.config.option import OPTIONS
from sentiment.config.schema import Settings
from sentiment.flat import flatten, is_within
from sentiment.json_file import digest_json

INCIDENTAL = (
    "tracking", "trainer.threads", "trainer.devices", "trainer.nodes", "trainer.progress_bar", "trainer.resume",
    "trainer.log_every_n_steps", "data.cache_dir", "pretrain.cache_dir", *RETIRED,
)  # fmt: skip
"""Settings that change where and how a run is done and told, not what it learns.

The number of devices is one: they share the same batches and average to the same gradient, up to rounding as with other
threads, and dropout draws other numbers, as on another kind of device. A run may go on with more or fewer.
"""

REMOVED = {
    "model.bigram_buckets": "leave it out; model.naive_bayes_ngrams=2 tells of pairs of words",
    "model.bigram_size": "leave it out; model.naive_bayes_ngrams=2 tells of pairs of words",
    "trainer.adversarial_share": "leave it out",
}
"""Keys of earlier versions for what did not help (experiments/imdb), and what to do instead.

Recorded at null they say nothing; what was made with a value needs the version that made it.
"""

PHRASES = ("model.convolution_width", "model.naive_bayes_ngrams")

ADDED = {
    "model=transformer": PHRASES,
    "model=rnn": PHRASES,
    "optimizer=adamw": ("optimizer.embedding_decay",),
    "data=files": tuple(
        f"data.{key}"
        for key in (
            "label_map", "label_path", "validation_label_path", "test_label_path", "format", "delimiter", "quoting",
            "encoding", "header", "unlabelled_path",
        )
    ),
    "data=synthetic": ("data.unlabelled_size",),
}  # fmt: skip
"""Keys that an option of a group got later; at null, they mean what was before there were any."""


PRETRAIN = "pretrain"
"""A group that may be left out: null then stands where it would have keys."""

ADDED_ANYWHERE = ("trainer.debug", "trainer.init_from", "trainer.teachers", PRETRAIN)
"""The same, whatever the model and the data."""


HASHED = {"trainer.log_every_n_steps": 20}
"""Incidental settings that count in the hashes of earlier versions, and for what value they stand in those of this one:
the default, so that the hashes of most checkpoints are still the same."""

HASH_FORMS = 3
"""Of `identify`: 0 is that of this version; 1 left the project's folder in lists, e.g. of teachers; 2 counted `HASHED`
as set, too. Whoever looks for a stored hash tries all."""

ONE_DEVICE = {"trainer.devices": "1", "trainer.nodes": "1"}
"""What a run had before it could have several."""


def leave_out_added(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return flat settings without the keys of some versions alone, where these say nothing."""
    added = {*ADDED_ANYWHERE, *REMOVED, *(key for keys in ADDED.values() for key in keys)}
    # A study tells of the options of a group that it searches as "key (group=option)".
    return {
        key: value
        for key, value in content.items()
        if key.partition(" ")[0] not in added or value not in (None, "null", "None")
    }


def simplify(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return flat settings, or the text that a study stored of them, in words that all versions have in common."""
    kept = leave_out_added(content)
    if isinstance(kept.get("objectives"), str):  # of an earlier version, which stored Python's form of the list
        translated = translate_retired({**kept, "objectives": kept["objectives"].replace("'", '"')})
        names = list(list_objectives(translated["objective"]))
        return {**translated, "objective": names[0] if len(names) == 1 else names}
    return kept


def read_recorded(params: Mapping[str, str]) -> dict[str, str]:
    """Return recorded settings as this version writes them: with every key, and free of the project's folder."""
    options = [f"{group}={params.get(f'{group}.name')}" for group in ("model", "optimizer", "data")]
    named = [key for option in options for key in ADDED.get(option, ())]
    is_whole = "trainer.test" in params
    added = dict.fromkeys([*named, *(ADDED_ANYWHERE if is_whole else ())], "null") | (ONE_DEVICE if is_whole else {})
    if any(key.startswith(f"{PRETRAIN}.") for key in params):
        added.pop(PRETRAIN, None)
    model = params.get("model.name")
    kept = {key: value for key, value in params.items() if value != "null" or not is_removed(key, model)}
    return added | {key: write_portable(value) for key, value in kept.items()}


def is_removed(key: str, model: str | None) -> bool:
    """Return whether a dotted key is of earlier versions alone; a model of one's own may have one of that name."""
    group, _, name = key.partition(".")
    option = OPTIONS.get(("model", str(model)))
    is_own = group == "model" and (option is None or name in option.settings.model_fields)
    return key in REMOVED and not is_own


def is_incidental(key: str) -> bool:
    """Return whether a dotted key is of no matter to what a run learns."""
    return is_within(key, INCIDENTAL)


def keep_determining(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of flat settings that determine what a run learns, recorded ones of earlier versions included.

    Of its objectives that is the one that selects the checkpoint.
    """
    kept = {key: value for key, value in leave_out_added(content).items() if not is_incidental(key)}
    if "objective" in kept:
        kept["objective"] = select_objective(kept["objective"])
        kept["direction"] = find_direction(kept["objective"])  # a setting once: checkpoints hold hashes with it
    return kept


def identify(settings: Settings, fingerprint: str, *, whatever: str | None = None, form: int = 0) -> str:
    """Hash the settings that determine a run, and the fingerprint of its data: files may change under their name.

    Runs that differ in the settings under `whatever` are the same, but not in its option (``optimizer.name``).
    `form`: that of an earlier version, see `HASH_FORMS`.
    """
    flat = flatten(settings.model_dump(mode="json"))
    hashed = {key: flat[key] if form > 1 else value for key, value in HASHED.items()}
    kept = {
        key: value if form > 0 and isinstance(value, list) else _make_portable(value)
        for key, value in (keep_determining(flat) | hashed).items()
        if whatever is None or not key.startswith(f"{whatever}.") or key == f"{whatever}.name"
    }
    return digest_json([kept, fingerprint])


def _make_portable(value: Any) -> Any:
    """Return the value of a setting free of the project's folder."""
    if isinstance(value, list):
        return [_make_portable(item) for item in value]
    return write_portable(value) if isinstance(value, str) else value
