"""Extensions as options of Hydra's config groups: ``model=cnn`` without a YAML file."""

from __future__ import annotations

from typing import Any, cast

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf
from pydantic import BaseModel

from sentiment.config.extension import Extension, list_extensions
from sentiment.config.home import PROJECT_DIR
from sentiment.config.schema import DataGroup

FILES_OPTION = PROJECT_DIR / "conf" / "data" / "files.yaml"
"""Where a data set's keys start that all data sets have."""


def register_extension_options() -> None:
    """Make every extension known to Hydra; a file of the same name in conf/ comes before it. Safe to call again."""
    for extension in list_extensions():
        ConfigStore.instance().store(
            group=extension.group, name=extension.option, node=read_defaults(extension), provider="sentiment.extensions"
        )


def read_defaults(extension: Extension) -> dict[str, Any]:
    """Give what an option's YAML file would hold: its own keys first; ``???`` where a value has to be given."""
    shared = _read_shared(extension)
    fields = extension.settings.model_fields
    values = {name: shared.get(name, "???") for name in fields}
    values |= {
        name: _dump(field.get_default(call_default_factory=True))
        for name, field in fields.items()
        if not field.is_required()
    }
    values["name"] = extension.option
    return {name: values[name] for name in sorted(values, key=lambda name: (name != "name", name in shared))}


def _read_shared(extension: Extension) -> dict[str, Any]:
    if extension.group != "data":
        return {}
    content = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.load(FILES_OPTION), resolve=False))
    return {name: value for name, value in content.items() if name in DataGroup.model_fields}


def _dump(value: Any) -> Any:
    return value.model_dump() if isinstance(value, BaseModel) else value
