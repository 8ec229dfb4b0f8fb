"""Which settings make a run the run it is: two runs that agree in them compute the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from sentiment.config.objective import RETIRED, find_direction, select_objective
from sentiment.config.schema import Settings
from sentiment.flat import flatten

INCIDENTAL = (
    "tracking.", "trainer.threads", "trainer.progress_bar", "trainer.resume", "data.cache_dir", *RETIRED,
)  # fmt: skip
"""Settings that change where and how a run is done and told, not what it learns."""


def is_incidental(key: str) -> bool:
    """Return whether a dotted key is of no matter to what a run learns."""
    return key.startswith(INCIDENTAL)


def keep_determining(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of flat settings that determine what a run learns, recorded ones of earlier versions included.

    Of its objectives that is the one that selects the checkpoint.
    """
    kept = {key: value for key, value in content.items() if not is_incidental(key)}
    if "objective" in kept:
        kept["objective"] = select_objective(kept["objective"])
        kept["direction"] = find_direction(kept["objective"])  # a setting once: checkpoints hold hashes with it
    return kept


def identify(settings: Settings, fingerprint: str) -> str:
    """Hash the settings that determine a run, and the fingerprint of its data: files may change under their name."""
    kept = keep_determining(flatten(settings.model_dump(mode="json")))
    return hashlib.sha256(json.dumps([kept, fingerprint], sort_keys=True).encode()).hexdigest()
