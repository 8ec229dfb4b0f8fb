"""A small Hydra application that knows nothing of torch: what any other user of the sweeper has."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import hydra
from omegaconf import DictConfig

from sentiment import atomic
from sentiment.errors import SentimentError
from sentiment.search import register


@hydra.main(config_path="conf", config_name="config")
def main(config: DictConfig) -> float | tuple[float, ...]:
    """Sphere function in steps, with the accidents that a test asks for."""
    from sentiment.search.study.current import current_trial

    trial = current_trial()
    checkpoint = Path("." if trial is None else trial.folder) / "checkpoint.txt"
    done = int(checkpoint.read_text()) if config.checkpoint and checkpoint.exists() else 0
    if config.mark:
        with Path(config.mark).open("a") as file:
            line = f"{trial.number if trial else -1} {os.environ.get('CUDA_VISIBLE_DEVICES', '-')}"
            line = f"{line} {os.environ.get('OMP_NUM_THREADS', '-')} {time.time()} {done}"
            file.write(f"{line} {config.x} {config.seed}\n")
    while config.gate and Path(config.gate).exists():  # holds jobs where a test wants them
        time.sleep(0.01)
    if config.accident == "error" or config.error:
        raise RuntimeError("cfg.error is True")
    if config.accident == "memory":
        raise MemoryError("no memory left")
    if config.accident == "not_a_number":
        return float("nan")
    if config.accident == "exit":
        sys.exit(0)
    if config.accident == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if config.accident == "teach":
        raise SentimentError("a lesson", "learn it")
    value = float(config.x) ** 2 + float(config.y) ** 2 + float(config.noise) * float(config.seed)
    if trial is not None and 0 < done < config.steps:
        trial.saved(done)
    for step in range(done, config.steps):
        time.sleep(config.seconds / config.steps)
        if trial is not None:
            trial.progress((step + 1) / config.steps)
            trial.report(value + config.steps - step, step=step)
            if config.checkpoint:
                atomic.write_text(checkpoint, str(step + 1))
            if config.step_mark:  # after the checkpoint: a step that is run again was not there
                with Path(config.step_mark).open("a") as file:
                    file.write(f"{trial.number} {step}\n")
            if config.checkpoint and step + 1 < config.steps:
                trial.saved()
    if not config.steps:
        time.sleep(config.seconds)
    if trial is not None and config.describe:
        trial.describe({"size": abs(float(config.x))})
    if config.end_mark:
        with Path(config.end_mark).open("a") as file:
            file.write(f"{trial.number if trial else -1}\n")
    return (value, abs(float(config.x))) if config.objectives == 2 else value


if __name__ == "__main__":
    from sentiment.exits import install_exits

    install_exits()
    register()
    main()
