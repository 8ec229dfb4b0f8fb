"""A job that does nothing, in an application of three keys: what remains is the engine and Hydra. It may report."""

from __future__ import annotations

from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from marks import mark_start
from omegaconf import DictConfig

from sentiment.search import register


@hydra.main(config_path=None, config_name="bare")
def main(config: DictConfig) -> float:
    """Note the time; then make as many reports as it is told to, each with a checkpoint, if only in name."""
    from sentiment.search.study.current import current_trial

    mark_start(Path(HydraConfig.get().runtime.output_dir))
    trial = current_trial()
    if trial is not None:
        for step in range(config.steps):
            trial.report(config.rate + step, step=step)
            if step + 1 < config.steps:
                trial.saved()
    return float(config.rate)


if __name__ == "__main__":
    ConfigStore.instance().store(name="bare", node={"rate": 0.1, "depth": 1, "heads": 1, "steps": 0})
    register()
    main()
