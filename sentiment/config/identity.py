"""Which settings make a run the run it is: two runs that agree in them compute the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from sentiment.config.schema import Settings

INCIDENTAL = (
    "tracking.", "trainer.threads", "trainer.progress_bar", "trainer.resume", "data.cache_dir", "objectives",
    "directions",
)  # fmt: skip
"""Settings that change where and how a run is done and told, not what it learns."""


def is_incidental(key: str) -> bool:
    """Tell whether a dotted key is of no matter to what a run learns."""
    return key.startswith(INCIDENTAL)


def identify(settings: Settings, fingerprint: str) -> str:
    """Hash the settings that determine a run, and the fingerprint of its data: files may change under their name."""
    content = dict(_leaves(settings.model_dump(mode="json")))
    kept = {key: value for key, value in content.items() if not is_incidental(key)}
    return hashlib.sha256(json.dumps([kept, fingerprint], sort_keys=True).encode()).hexdigest()


def _leaves(tree: Mapping[str, object], prefix: str = "") -> list[tuple[str, object]]:
    leaves: list[tuple[str, object]] = []
    for key, value in tree.items():
        leaves += _leaves(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [(prefix + key, value)]
    return leaves
