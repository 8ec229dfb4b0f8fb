"""A job that does nothing at all, in an application of three keys: what remains is the engine and Hydra."""

from __future__ import annotations

import time
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from sentiment.search import register


@hydra.main(config_path=None, config_name="bare")
def main(config: DictConfig) -> float:
    """Note the time."""
    Path(HydraConfig.get().runtime.output_dir, "started.txt").write_text(f"{time.time()}\n")
    return float(config.rate)


if __name__ == "__main__":
    ConfigStore.instance().store(name="bare", node={"rate": 0.1, "depth": 1, "heads": 1})
    register()
    main()
