"""Faults of keys that are valid alone and contradict each other."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, ListConfig, OmegaConf, flag_override
from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException

from sentiment.config.faults import explain_unknown_key
from sentiment.config.objective import RETIRED, find_directions, list_measured, list_objectives
from sentiment.config.option import OPTIONS, group_members
from sentiment.config.schema import Settings
from sentiment.errors import Fault, first_line
from sentiment.flat import is_within
from sentiment.nearest import nearest

STUDY_FILE = "study.json"
"""What lies in the folder of a study that has begun."""

PAUSING = ("promotion.PromotionPruner", "population.PopulationPruner")
"""Pruners whose trials pause at checkpoints, and go on from them."""

FIRST_LOOKS = tuple(f"hydra.sweeper.pruner.{key}" for key in ("min_resource", "interval", "n_warmup_steps"))
"""Keys of pruners: validations of a trial before it may be ended or paused."""

OF_SWEEP = ("sweep", "sweeper", "launcher", "callbacks", "hydra_logging", "mode")
"""Parts of Hydra's node that what starts a sweep reads."""

JOB_NUMBER = re.compile(r"hydra[:.]job\.(num|id)\b")
"""What only one job of a sweep has."""

JOB_WORDS = re.compile(r"override_dirname|hydra[:.]overrides\.task")
"""The words of one job."""


def find_sweep_conflicts(composed: DictConfig) -> list[Fault]:
    """Return the faults of what a sweep's configuration says of all its jobs."""
    checks = (
        _find_wrong_direction, _find_other_names, _find_shared_database, _find_lost_pauses, _find_shared_name,
        _find_other_training,
    )  # fmt: skip
    return [fault for find in checks for fault in find(composed)]


def find_point_conflicts(config: DictConfig, composed: DictConfig) -> list[Fault]:
    """Return the faults of a point of a search that is no trial of its study, whose configuration is the other one."""
    sweeper = composed.hydra.sweeper
    return _find_tries(config) + _find_other_share(config, sweeper) + _find_other_objective(config, composed)


def find_lost_interpolations(sweeper: DictConfig) -> list[Fault]:
    """Return the faults of sweeper keys that ask for keys of earlier versions: ``direction: ${direction}``."""
    faults = []
    for name, function in (("direction", "directions"), ("metric_names", "objectives")):
        try:
            OmegaConf.select(sweeper, name)
        except InterpolationKeyError as error:
            remedy = f"write the value itself; in a YAML file ${{{function}:${{objective}}}} follows from objective"
            faults.append(Fault(f"hydra.sweeper.{name}", first_line(error), remedy))
    return faults


def read_setup(composed: DictConfig) -> dict[str, Any]:
    """Return what of Hydra's node is the sweep's, and no job's, by its key and as it is written.

    What that follows from, such as the seed, may differ between jobs; where it must not, other checks say so. Of a
    job's folder, which Hydra reads for each job, it does not matter what stands beside the job's number.
    """
    written = OmegaConf.to_container(OmegaConf.masked_copy(composed.hydra, list(OF_SWEEP)), resolve=False)
    setup = cast(dict[str, Any], written)
    if JOB_NUMBER.search(_read_subdir(composed)):
        del setup["sweep"]["subdir"]
    return {f"hydra.{key}": value for key, value in setup.items()}


def _find_shared_database(composed: DictConfig) -> list[Fault]:
    """Return the fault of a study and MLflow in one SQLite file: each would take the other's tables for its own."""
    storage, uri = (str(OmegaConf.select(composed, key)) for key in ("hydra.sweeper.storage", "tracking.uri"))
    kind = "sqlite:///"
    if not (storage.startswith(kind) and uri.startswith(kind)):
        return []
    if os.path.realpath(storage.removeprefix(kind)) != os.path.realpath(uri.removeprefix(kind)):
        return []
    remedy = "name another file, or leave it out: the study then has a file in its folder"
    return [Fault("hydra.sweeper.storage", f"{storage} is MLflow's database (tracking.uri)", remedy)]


def _find_wrong_direction(composed: DictConfig) -> list[Fault]:
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


def _find_other_names(composed: DictConfig) -> list[Fault]:
    """Return the fault of metric names that differ from the objectives."""
    written = OmegaConf.select(composed, "hydra.sweeper.metric_names")
    names = list_objectives(OmegaConf.select(composed, "objective"))
    if written is None or not names or tuple(map(str, written)) == names:
        return []
    problem = f"calls {', '.join(names)} {', '.join(map(str, written))}"
    return [Fault("hydra.sweeper.metric_names", problem, "leave it out: the names follow from objective")]


def _find_other_objective(config: DictConfig, composed: DictConfig) -> list[Fault]:
    """Return the fault of a study's point that has another objective: it would be ranked among values of others."""
    own, whole = (list_objectives(OmegaConf.select(one, "objective")) for one in (config, composed))
    if own == whole:
        return []
    problem = f"is {', '.join(own)} at a point of the search, and {', '.join(whole)} for the study"
    return [Fault("objective", problem, "a study has one objective, or several for every trial: objective=[A,B]")]


def _find_lost_pauses(composed: DictConfig) -> list[Fault]:
    """Return the fault of trials that pause without leaving a checkpoint; a model that is fitted in one go never does.

    A job refuses it too: a pruner of one's own may pause, and a search may set the key.
    """
    target = str(OmegaConf.select(composed, "hydra.sweeper.pruner._target_") or "")
    if OmegaConf.select(composed, "trainer.resume") is not False or not target.endswith(PAUSING):
        return []
    model = OPTIONS.get(("model", str(OmegaConf.select(composed, "model.name"))))
    return [] if model is None or model.fitter else [explain_lost_pauses()]


def _find_other_training(composed: DictConfig) -> list[Fault]:
    """Return the fault of a population whose copies could not go on from the checkpoints of others."""
    target = str(OmegaConf.select(composed, "hydra.sweeper.pruner._target_") or "")
    keys = OmegaConf.select(composed, "hydra.sweeper.pruner.keys")
    if not target.endswith(PAUSING[1]) or not isinstance(keys, ListConfig):
        return []
    others = [str(key) for key in keys if not is_within(str(key), ["optimizer"])]
    problem = f"{', '.join(others)}: a copy goes on from another trial's checkpoint, at another optimizer alone"
    return [Fault("hydra.sweeper.pruner.keys", problem, "leave it at [optimizer]")] if others else []


def explain_lost_pauses() -> Fault:
    """Return the fault of a trial that would have to go on from a checkpoint that it does not write."""
    problem = "is false, and the study's pruner goes on from the checkpoints that it would write"
    return Fault("trainer.resume", problem, "leave it at true, or choose another pruner")


def _find_other_share(config: DictConfig, sweeper: DictConfig) -> list[Fault]:
    """Return the faults of a study's point whose run takes other devices or threads than the study gives a trial."""
    several = "give all trials of a study the same number; a plain grid, without search=..., takes several"
    single = "say it once: leave out the one that is not to count"
    faults = []
    for key, option, remedy in (("devices", "devices_per_trial", several), ("threads", "threads_per_job", single)):
        wanted, given = OmegaConf.select(config, f"trainer.{key}"), sweeper[option]
        if None not in (wanted, given) and str(wanted) != str(given):
            problem = f"{wanted}, and every trial of the study is given {given} (hydra.sweeper.{option})"
            faults.append(Fault(f"trainer.{key}", problem, remedy))
    return faults


def _find_shared_name(composed: DictConfig) -> list[Fault]:
    """Return the fault of a study without a name whose folder is called by it: all such ones would share that."""
    folder = str(OmegaConf.to_container(composed.hydra.sweep, resolve=False)["dir"])  # type: ignore[index, call-overload]
    if "hydra.sweeper.study_name" not in folder or OmegaConf.select(composed, "hydra.sweeper.study_name") is not None:
        return []
    problem = f"is null, and the folder {composed.hydra.sweep.dir} would be that of every study without a name"
    return [Fault("hydra.sweeper.study_name", problem, "leave it out, or name the study")]


def find_shared_folder(composed: DictConfig, points: Iterable[DictConfig] | None = None) -> list[Fault]:
    """Return the fault of jobs that would write into one folder, as the name of theirs does not tell them apart.

    Args:
        composed: The composed configuration of the sweep.
        points: Those of its jobs; None: nobody knows them yet, so that the name has to tell any jobs apart.
    """
    written = _read_subdir(composed)
    if JOB_NUMBER.search(written) or (points is None and JOB_WORDS.search(written)):
        return []
    if points is not None:
        folders = []
        for point in points:
            with suppress(OmegaConfBaseException):  # what only the job knows: it tells, or fails there
                folders.append(_resolve_subdir(point))
        if len({*folders}) == len(folders):
            return []
    problem = f"{written} does not tell the jobs apart: several would have one folder"
    return [Fault("hydra.sweep.subdir", problem, f"add the job's number: '{written}_${{hydra:job.num}}'")]


def _read_subdir(composed: DictConfig) -> str:
    return str(OmegaConf.to_container(composed.hydra.sweep, resolve=False)["subdir"])  # type: ignore[index, call-overload]


def _resolve_subdir(point: DictConfig) -> str:
    """Return the folder of a job, where ``${hydra:...}`` asks for a configuration that only its process has."""
    with flag_override(point, ["readonly", "struct"], False):
        point.hydra.sweep.subdir = _read_subdir(point).replace("${hydra:", "${hydra.")
    return str(point.hydra.sweep.subdir)


def has_begun(composed: DictConfig, lines: Sequence[str]) -> bool:
    """Return whether the study that a command names has been begun: an earlier version asked less, and it goes on.

    Args:
        composed: The composed configuration of the search.
        lines: All of the command's overrides, Hydra's own not among them: the study's name follows from them.
    """
    whole = composed.copy()
    OmegaConf.clear_cache(whole)  # it has the name of a command without what is searched
    with suppress(OmegaConfBaseException), flag_override(whole, ["readonly", "struct"], False):
        whole.hydra.overrides.task = list(lines)
        return (Path(whole.hydra.sweep.dir) / STUDY_FILE).exists()
    return False


def _find_tries(config: DictConfig) -> list[Fault]:
    """Return the fault of a study's point that is a try: its value, say of one batch, would rank among the trials'."""
    mode = OmegaConf.select(config, "trainer.debug")
    if mode is None:
        return []
    problem = f"{mode} tries single runs and plain multiruns, and this is a study"
    remedy = "leave -m out to try one run, or put hydra.sweeper.dry_run=true in its place, which tries one point"
    return [Fault("debug", problem, remedy)]


def find_tested_trials(config: DictConfig, told: Mapping[str, Any]) -> list[Fault]:
    """Return the fault of a search's point that reads the test split, as an experiment says: it is composed later.

    ``best`` writes such a file: it tests the one that was selected.

    Args:
        config: The composed point.
        told: What its overrides set: keys to values.
    """
    if OmegaConf.select(config, "trainer.test") is not True or not {"search", "experiment"} <= told.keys():
        return []
    if "trainer.test" in told:
        return []
    experiment = f"experiment={told['experiment']}"
    problem = f"is true by {experiment}, which comes after the search: its trials would read the test split"
    return [Fault("trainer.test", problem, "add trainer.test=false, or =true if each is to be tested")]


def find_shared_seeds(sweeper: DictConfig, points: Sequence[Sequence[str]]) -> list[Fault]:
    """Return the fault of seeds that are searched and repeated: neighbouring trials would share seeds.

    Not of seeds that follow from another choice, as where each branch has its own.

    Args:
        sweeper: The sweeper's node.
        points: Overrides of points, each value of a key that is searched among them, or its ends.
    """
    told = [dict(line.lstrip("+").partition("=")[::2] for line in point) for point in points]
    seeds = [point.get(sweeper.seed_key) for point in told]
    if sweeper.repeats == 1 or len({*seeds} - {None}) < 2:
        return []
    for key in {key for point in told for key in point} - {sweeper.seed_key}:
        values = [point.get(key) for point in told]
        if len({*zip(values, seeds, strict=True)}) == len({*values}):
            return []
    problem = f"counts up from each {sweeper.seed_key} that is searched, so that trials share seeds"
    return [Fault("hydra.sweeper.repeats", problem, f"leave one out: repeats, or the search over {sweeper.seed_key}")]


def find_idle_pruners(composed: DictConfig, typed: Collection[str], points: Sequence[DictConfig]) -> list[Fault]:
    """Return the faults of keys by which a pruner looks at no trial before its end: all would be trained whole.

    Only of keys that the command names: a training may be too short for the default.

    Args:
        composed: The composed configuration of the search.
        typed: The keys that the command names.
        points: Composed points, the longest training among them unless constraints are on its length.
    """
    if any("trainer." in one for one in OmegaConf.select(composed, "hydra.sweeper.constraints") or ()):
        return []
    pauses = str(OmegaConf.select(composed, "hydra.sweeper.pruner._target_")).endswith(PAUSING)
    spared = 1 if composed.hydra.sweeper.repeats > 1 else 2  # the last validation of the first repeat saves the others
    ends = []
    for point in points:
        epochs, parts = (OmegaConf.select(point, f"trainer.{key}") for key in ("max_epochs", "validations_per_epoch"))
        if not (isinstance(epochs, int) and isinstance(parts, int)):
            return []  # which is told as a fault of its own
        # A pause comes where an epoch ends, but the last one; others look after as many validations as they were told
        # to spare, and at the last one nothing is left to save.
        ends.append(epochs * parts - (parts if pauses else spared))
    if not ends or max(ends) < (1 if pauses else 0):  # a try of one epoch: nothing can be saved, whatever the key says
        return []
    faults = []
    for key in set(typed).intersection(FIRST_LOOKS):
        first = OmegaConf.select(composed, key)
        if isinstance(first, int) and first > max(ends):
            problem = f"is {first}, and above {max(ends)} no training here is ended before its last validation"
            remedy = "lower it, raise trainer.max_epochs, or let all run to their ends: hydra/sweeper/pruner=none"
            faults.append(Fault(key, problem, remedy))
    return faults


def find_unknown_names(sweeper: DictConfig, known: Sequence[str]) -> list[Fault]:
    """Return the faults of keys that a sweeper names and no point has, and of limits on what no job measures."""
    faults = []
    named = [("seed_key", sweeper.repeats > 1), ("epochs_key", sweeper.epochs is not None)]
    for option in [option for option, is_used in named if is_used]:
        if sweeper[option] not in known:
            fault = explain_unknown_key(str(sweeper[option]), known, {})
            faults.append(Fault(f"hydra.sweeper.{option}", f"{fault.key}: {fault.problem}", fault.remedy))
    groups = [group for group, field in Settings.model_fields.items() if group_members(field.annotation)]
    left_out = [group for group in groups if not any(key.startswith(f"{group}.") for key in known)]  # absent, or null
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
