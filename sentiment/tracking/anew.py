"""What it takes to train a recorded run anew, beside the settings as they were typed."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from sentiment.paths import expand_home
from sentiment.tracking.result_file import CONTINUES_TAG, RUN_ID, TRAINED_ON_TAG, ResultRecord

VERSIONS_TAG = "models.versions"
"""Tag of a run with registered models: JSON, the names among its settings and the version that each of them stood for
(``models:/NAME/VERSION``). An alias moves on, to the run itself where that becomes the champion."""

START, TEACHERS = "trainer.init_from", "trainer.teachers"

ALIASED = re.compile(r"models:/(?!m-[0-9a-f]{32}$)[^/]+|[^/:@]+@[\w-]+|(?P<bare>[^/:@]+)")
"""Names of registered models without a version; a bare one may be that of a folder or run, too."""


def pin_models(record: ResultRecord) -> dict[str, str]:
    """Return the settings that name registered models, as `ResultRecord.params` has them, by their versions instead.

    Empty where there are none, or nobody noted the versions.
    """
    if VERSIONS_TAG not in record.tags:
        return {}
    known, start, teachers = json.loads(record.tags[VERSIONS_TAG]), *_list_models(record)
    pinned = {START: known[start]} if start in known else {}
    if not known.keys().isdisjoint(teachers):
        versions = [known.get(name, name) for name in teachers]
        pinned[TEACHERS] = json.dumps(versions, ensure_ascii=False, separators=(",", ":"))
    return pinned


def list_settings(records: Sequence[ResultRecord]) -> list[dict[str, str]]:
    """Return the settings of runs that are told apart by them, as `ResultRecord.settings` has them.

    Registered models stand there by their versions, where that makes more runs one setting: those of an alias, and of
    the version that it stood for. Where it makes none more, the alias stays, of which an old record tells no version.
    """
    written = [record.settings for record in records]
    pinned = [{**one, **pin_models(record)} for one, record in zip(written, records, strict=True)]
    for key in (START, TEACHERS):
        if len({one.get(key) for one in pinned}) < len({one.get(key) for one in written}):
            written = [{**one, key: by[key]} if key in by else one for one, by in zip(written, pinned, strict=True)]
    return written


def explain_other(record: ResultRecord) -> str:
    """Return why training at a run's settings alone gives another model, in a sentence; empty where nothing says so.

    Registered models are taken to be named as `pin_models` names them.
    """
    start, teachers = _list_models(record)
    moving = [name for name in (start, *teachers) if _may_move(name)] if VERSIONS_TAG not in record.tags else []
    if origin := record.tags.get(CONTINUES_TAG):
        reason = f"It went on from a checkpoint of trial {origin}, which had other settings"
    elif epochs := record.tags.get(TRAINED_ON_TAG):
        reason = f"It trained on after {epochs} epochs of a shorter run, on another schedule"
    elif moving:
        reason = f"It learned from the models that {', '.join(moving)} stood for then, and they may be others by now"
    else:
        return ""
    return f"{reason}: training anew at these settings alone gives another model."


def _may_move(name: str) -> bool:
    """Return whether a name may stand for another registered model by now; a folder or run here is none."""
    from sentiment.tracking.runs import MULTIRUN_DIR, find_folder  # after this module, for numpy takes its time

    found = ALIASED.fullmatch(name)
    if found is None or found["bare"] is None:
        return found is not None
    return not (RUN_ID.fullmatch(name) or expand_home(name).exists() or find_folder(name, MULTIRUN_DIR))


def _list_models(record: ResultRecord) -> tuple[str, list[str]]:
    """Return the names of the model that a run started from, and of its teachers; empty without."""
    start, teachers = (record.params.get(key, "null") for key in (START, TEACHERS))
    return "" if start == "null" else start, [] if teachers == "null" else json.loads(teachers)
