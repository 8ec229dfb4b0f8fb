"""Faults between keys of a multirun that are right each by itself."""

from __future__ import annotations

import os
from collections.abc import Sequence

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError

from sentiment.config.faults import explain_unknown_key
from sentiment.config.objective import RETIRED, find_directions, list_measured, list_objectives
from sentiment.config.option import OPTIONS
from sentiment.config.schema import Settings
from sentiment.errors import Fault
from sentiment.nearest import nearest

PAUSING = ("promotion.PromotionPruner", "population.PopulationPruner")
"""Pruners whose trials pause at checkpoints, and go on from them."""


def find_lost_interpolations(sweeper: DictConfig) -> list[Fault]:
    """Return the faults of sweeper keys that ask for keys of earlier versions: ``direction: ${direction}``."""
    faults = []
    for name, function in (("direction", "directions"), ("metric_names", "objectives")):
        try:
            OmegaConf.select(sweeper, name)
        except InterpolationKeyError as error:
            remedy = f"write the value itself; in a YAML file ${{{function}:${{objective}}}} follows from objective"
            faults.append(Fault(f"hydra.sweeper.{name}", str(error).splitlines()[0], remedy))
    return faults


def find_shared_database(composed: DictConfig) -> list[Fault]:
    """Return the fault of a study and MLflow in one SQLite file: each would take the other's tables for its own."""
    storage, uri = (str(OmegaConf.select(composed, key)) for key in ("hydra.sweeper.storage", "tracking.uri"))
    kind = "sqlite:///"
    if not (storage.startswith(kind) and uri.startswith(kind)):
        return []
    if os.path.realpath(storage.removeprefix(kind)) != os.path.realpath(uri.removeprefix(kind)):
        return []
    remedy = "name another file, or leave it out: the study then has a file in its folder"
    return [Fault("hydra.sweeper.storage", f"{storage} is MLflow's database (tracking.uri)", remedy)]


def find_wrong_direction(composed: DictConfig) -> list[Fault]:
    """Return the fault of a sweeper that would steer an objective the wrong way: it minimises unless told otherwise."""
    written = OmegaConf.select(composed, "hydra.sweeper.direction")
    objective = OmegaConf.select(composed, "objective")
    right = [str(direction) for direction in find_directions(objective)]
    is_list = isinstance(written, list | ListConfig)  # a plain list where a resolver made it
    directions = [getattr(item, "name", item) for item in (written if is_list else [written])]
    if written is None or not right or directions == right:  # None: Hydra's own sweeper, which optimises nothing
        return []
    value = right[0] if len(right) == 1 else f"[{','.join(right)}]"
    problem = f"is {', '.join(map(str, directions))}, the wrong way for {', '.join(list_objectives(objective))}"
    return [Fault("hydra.sweeper.direction", problem, f"set hydra.sweeper.direction={value}")]


def find_lost_pauses(composed: DictConfig) -> list[Fault]:
    """Return the fault of trials that pause without leaving a checkpoint; a model that is fitted in one go never does.

    A job refuses it too: a pruner of one's own may pause, and a search may set the key.
    """
    target = str(OmegaConf.select(composed, "hydra.sweeper.pruner._target_") or "")
    if OmegaConf.select(composed, "trainer.resume") is not False or not target.endswith(PAUSING):
        return []
    model = OPTIONS.get(("model", str(OmegaConf.select(composed, "model.name"))))
    return [] if model is None or model.fitter else [explain_lost_pauses()]


def explain_lost_pauses() -> Fault:
    """Return the fault of a trial that would have to go on from a checkpoint that it does not write."""
    problem = "is false, and the study's pruner goes on from the checkpoints that it would write"
    return Fault("trainer.resume", problem, "leave it at true, or choose another pruner")


def find_other_devices(config: DictConfig, sweeper: DictConfig) -> list[Fault]:
    """Return the fault of a study's point whose run takes more or fewer devices than the study gives a trial."""
    wanted, given = OmegaConf.select(config, "trainer.devices"), sweeper.devices_per_trial
    if wanted == given:
        return []
    problem = f"{wanted}, and every trial of the study is given {given} (hydra.sweeper.devices_per_trial)"
    remedy = "give all trials of a study the same number; a plain grid, without search=..., takes several"
    return [Fault("trainer.devices", problem, remedy)]


def find_unknown_names(sweeper: DictConfig, known: Sequence[str]) -> list[Fault]:
    """Return the faults of keys that a sweeper names and no point has, and of limits on what no job measures."""
    faults = []
    named = [("seed_key", sweeper.repeats > 1), ("epochs_key", sweeper.epochs is not None)]
    for option in [option for option, is_used in named if is_used]:
        if sweeper[option] not in known:
            fault = explain_unknown_key(str(sweeper[option]), known, {})
            faults.append(Fault(f"hydra.sweeper.{option}", f"{fault.key}: {fault.problem}", fault.remedy))
    left_out = [group for group in Settings.model_fields if group not in known]
    for name in sweeper.ignore or []:
        if name.partition(".")[0] in left_out:  # pretrain.cache_dir, where nothing is learned before
            continue
        if name not in known and name not in RETIRED:  # stored studies may hold keys of earlier versions
            fault = explain_unknown_key(name, known, {})
            faults.append(Fault("hydra.sweeper.ignore", f"{name}: {fault.problem}", fault.remedy))
    measured = list_measured()
    for name in sweeper.limits or {}:
        if name not in measured:
            guess = nearest(name, measured)
            remedy = f"did you mean {guess}? " if guess else ""
            faults.append(
                Fault(f"hydra.sweeper.limits.{name}", "no job measures it", f"{remedy}one of {', '.join(measured)}")
            )
    return faults
