"""A job that only takes its time: job k lasts as long as line k of DURATIONS, and notes when it began and ended."""

from __future__ import annotations

import time
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from sentiment.search import register

DURATIONS = (7.5, 0.6, 0.8, 5.2, 0.5, 0.9, 6.4, 1.1, 0.7, 4.3, 9.0, 0.6, 1.4, 2.8, 0.9, 3.3)
"""Seconds; what pruning and different model sizes make of a search: many short trials, a few long ones."""


@hydra.main(config_path=None, config_name="unequal")
def main(config: DictConfig) -> float:
    """Sleep."""
    number = HydraConfig.get().job.num
    started = time.time()
    time.sleep(DURATIONS[number])
    Path(HydraConfig.get().runtime.output_dir, "times.txt").write_text(f"{started} {time.time()}\n")
    return float(config.x)


if __name__ == "__main__":
    from hydra.core.config_store import ConfigStore

    ConfigStore.instance().store(name="unequal", node={"x": 0.0})
    register()
    main()
