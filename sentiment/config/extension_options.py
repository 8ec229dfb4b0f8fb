"""Extensions as options of Hydra's config groups: ``model=cnn`` without a YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf
from pydantic import BaseModel

from sentiment.config.extension import RULES, list_extensions
from sentiment.config.home import PROJECT_DIR
from sentiment.config.option import Kind, Option

SHARED_FILES: dict[Kind, tuple[str, ...]] = {
    "model": (), "data": ("reviews.yaml",), "tracking": ("tracking/mlflow.yaml", "tracking/none.yaml"),
}  # fmt: skip
"""Files of conf/ in which the keys start that all options of a group have, a later file over an earlier one."""


def register_extension_options() -> None:
    """Make every extension known to Hydra; a file of the same name in conf/ comes before it. Safe to call again."""
    for option in list_extensions():
        ConfigStore.instance().store(
            group=option.group, name=option.name, node=read_defaults(option), provider="sentiment.extensions"
        )


def read_defaults(option: Option) -> dict[str, Any]:
    """Return what an option's YAML file would hold: its own keys first; ``???`` where a value has to be given."""
    shared = _read_shared(option.group, PROJECT_DIR / "conf")
    fields = option.settings.model_fields
    values = {name: shared.get(name, "???") for name in fields}
    values |= {
        name: _dump(field.get_default(call_default_factory=True))
        for name, field in fields.items()
        if not field.is_required()
    }
    values["name"] = option.name
    return {name: values[name] for name in sorted(values, key=lambda name: (name != "name", name in shared))}


def _read_shared(group: Kind, config_dir: Path) -> dict[str, Any]:
    content = OmegaConf.merge({}, *(OmegaConf.load(config_dir / file) for file in SHARED_FILES[group]))
    values = OmegaConf.to_container(content, resolve=False)
    assert isinstance(values, dict)
    return {str(name): value for name, value in values.items() if name in RULES[group].base.model_fields}


def _dump(value: Any) -> Any:
    return value.model_dump() if isinstance(value, BaseModel) else value
