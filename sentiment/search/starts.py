"""What a search begins with: points that it tries first, and trials of an earlier study that its sampler learns from.

Tried first are the configuration's own values, given points, or the best ones of other studies. The trials of a prior
do not count as trials of this study. They help where the same settings are good in both: other data of the same kind,
fewer epochs, a part of the reviews. They mislead where a parameter means something else by now, or where another
objective decides.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from optuna.trial import FrozenTrial, TrialState, create_trial
from yaml import YAMLError

from sentiment.errors import ConfigError, Fault, SentimentError, first_line, gathering
from sentiment.nearest import nearest
from sentiment.paths import expand_home
from sentiment.search.options import StudyOptions
from sentiment.search.space.constraints import Validity
from sentiment.search.space.parameters import LabelledPoint, Point, Space, name_key, read_value
from sentiment.search.space.points import ReadSettings, find_other_point, find_value, write_setting, write_told
from sentiment.search.study.history import StudyHistory, has_study, read_study
from sentiment.search.study.limits import CONSTRAINT_KEY, list_undescribed
from sentiment.search.study.ranking import rank_trials

log = logging.getLogger(__name__)

STARTS_KEY = "hydra.sweeper.start"

PRIOR_KEY = "hydra.sweeper.prior"

DEFAULTS = "defaults"
"""Entry that stands for the configuration's own values."""

FILES = (".yaml", ".yml", ".json", ".csv")

LEARNERS = ("TPESampler", "GPSampler")
"""Samplers that learn from any trial that they are shown; others keep notes of their own on each."""


@dataclass(frozen=True)
class StartFinder:
    """Finds the points behind the entries of `STARTS_KEY`."""

    space: Space  # what may be chosen
    is_valid: Validity  # whether a point satisfies the constraints
    read_defaults: ReadSettings  # reads the configuration's own settings of some keys
    study_dir: Path  # the study's own folder; others have theirs beside it
    working_dir: Path  # where the paths of files start

    def find(self, entries: Sequence[Any]) -> list[LabelledPoint]:
        """Return the points, in order, each once.

        Raises:
            ConfigError: With a fault for every entry that names no point of the space.
        """
        starts: list[LabelledPoint] = []
        faults: list[Fault] = []
        for entry in entries:
            with gathering(faults):
                starts += self._find(entry)
        if faults:
            raise ConfigError(faults)
        return [start for index, start in enumerate(starts) if start.point not in [one.point for one in starts[:index]]]

    def _find(self, entry: Any) -> list[LabelledPoint]:
        if isinstance(entry, Mapping):
            return [LabelledPoint("a given point", self._read_given(entry, str(dict(entry))))]
        text = str(entry)
        if text == DEFAULTS:
            return self._keep("the configuration's own values", self.read_defaults(self.space.keys, {}))
        if text.endswith(FILES):
            return self._read_file(text)
        return self._read_study(text)

    def _keep(self, label: str, settings: Mapping[str, str]) -> list[LabelledPoint]:
        """Return the point that settings mean; none, which is said, where the space has no such point."""
        point = find_other_point(self.space, self.is_valid, settings, self.read_defaults)
        if point is None:
            written = " ".join(f"{key}={text}" for key, text in settings.items())
            log.info("Not tried first: %s are no point of the space (%s).", label, written)
            return []
        return [LabelledPoint(label, point)]

    def _read_given(self, entry: Mapping[Any, Any], told: str) -> Point:
        """Read a point that people wrote, which has to be one."""
        given, point, faults = {str(key): write_setting(value) for key, value in entry.items()}, Point(), []
        settings = {**self.read_defaults(self.space.keys, given), **given}
        searched = self.space.keys
        for key in [key for key in given if key not in searched]:
            near = nearest(key, searched)
            remedy = f"name one of {', '.join(searched)}" if near is None else f"did you mean {near}?"
            faults.append(Fault(STARTS_KEY, f"{told}: {key} is not searched", remedy))
        for parameter in self.space.walk(point):
            key = name_key(parameter.name)
            if key not in settings:
                continue
            found = find_value(parameter.distribution, settings[key])
            known = self.space.describe()[parameter.name]
            if found is not None:
                point[parameter.name] = found[0]
            elif key in given:
                faults.append(Fault(STARTS_KEY, f"{told}: {key} has no value {given[key]}", f"choose one of: {known}"))
            else:
                log.info("%s: %s is drawn, as its own value %s is none of %s.", told, key, settings[key], known)
        active = {parameter.name for parameter in self.space.active(point)}
        for key in [] if faults else [key for key in given if key not in map(name_key, active)]:
            faults.append(
                Fault(STARTS_KEY, f"{told}: there is no {key} at this point", "name the choice that has it, too")
            )
        if faults:
            raise ConfigError(faults)
        if active <= point.keys() and not self.is_valid(point):
            raise ConfigError([Fault(STARTS_KEY, f"{told} breaks a constraint", "correct the point, or leave it out")])
        return point

    def _read_file(self, name: str) -> list[LabelledPoint]:
        path = self.working_dir / expand_home(name)
        try:
            if path.suffix == ".csv":
                with path.open(encoding="utf-8-sig", newline="") as stream:  # Excel begins it with a mark
                    reader = csv.DictReader(stream)
                    rows: Any = [_read_row(row, reader.line_num) for row in reader]
            else:
                rows = OmegaConf.to_container(OmegaConf.load(path))
        except (OSError, ValueError, YAMLError, OmegaConfBaseException, csv.Error) as error:
            problem = f"{path} cannot be read ({first_line(error)})"
            raise ConfigError([Fault(STARTS_KEY, problem, "name a file of points")]) from error
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            problem = f"{path} is no list of points"
            raise ConfigError(
                [Fault(STARTS_KEY, problem, "write one point per line of a CSV file, or a list of mappings")]
            )
        points = [self._read_given(row, f"{path.name}, point {number}") for number, row in enumerate(rows, 1)]
        return [LabelledPoint(f"{path.name}, point {number}", point) for number, point in enumerate(points, 1)]

    def _read_study(self, text: str) -> list[LabelledPoint]:
        """Read ``STUDY`` or ``STUDY:3``: the best trial of another study, or its best three."""
        name, _, count = text.partition(":")
        if count and not (count.isdecimal() and int(count)):
            raise ConfigError(
                [Fault(STARTS_KEY, f"{text!r} is no study and count", f"write {name}:3 for its best three")]
            )
        remedy = f"write {DEFAULTS}, a point {{key: value}}, a file, or STUDY:COUNT"
        history = read_other_study(name, self.study_dir, self.working_dir, STARTS_KEY, remedy)
        trials = {
            trial.number: trial
            for trial in history.trials
            if trial.state == "complete" and trial.values and not trial.excess
        }
        ranked, _ = rank_trials({number: trial.values for number, trial in trials.items()}, history.directions)
        points: dict[tuple[tuple[str, str], ...], int] = {}  # trials of equal points are one
        for number in ranked:
            told = {key: write_told(value) for key, value in trials[number].parameters.items()}
            points.setdefault(tuple(sorted(told.items())), number)
        wanted = int(count or 1)
        best = list(points.items())[:wanted]
        if len(best) < wanted:
            log.warning("%s has %d different points with a result, fewer than %d.", name, len(best), wanted)
        copies = {number: trials[number].continues for _, number in best if trials[number].continues is not None}
        if copies:
            listed = ", ".join(f"trial {number} from one of trial {origin}" for number, origin in copies.items())
            log.warning(
                "Of %s, %s went on from checkpoints that had other settings: training anew gives other models.",
                *(name, listed),
            )
        return [start for told, number in best for start in self._keep(f"trial {number} of {name}", dict(told))]


def _read_row(row: Mapping[Any, Any], line: int) -> dict[str, Any]:
    """Read a row of a CSV file; an empty field is none."""
    if None in row:
        raise ValueError(f"line {line} has more fields than the heading")
    return {key: read_value(text) for key, text in row.items() if text}


def read_other_study(name: str, study_dir: Path, working_dir: Path, key: str, remedy: str) -> StudyHistory:
    """Read another study by its name or the path of its folder.

    Args:
        name: The name of its folder beside the others, or a path.
        study_dir: The folder of the study that asks; others are beside it.
        working_dir: Where a path starts.
        key: The key that names it.
        remedy: What to write instead, where there is no such study.

    Raises:
        ConfigError: There is none, it is the study that asks, or it cannot be read.
    """
    folder = study_dir.parent
    found = next((path for path in (folder / name, working_dir / name) if has_study(path)), None)
    if found is None:
        there = folder.iterdir() if folder.is_dir() else ()
        near = nearest(name, sorted(path.name for path in there if has_study(path)))
        raise ConfigError([Fault(key, f"{name!r} is no study", f"did you mean {near}?" if near else remedy)])
    if found.resolve() == study_dir.resolve():
        raise ConfigError([Fault(key, f"{name!r} is this study itself", "name another one, or leave it out")])
    try:
        return read_study(None, found)
    except SentimentError as error:
        raise ConfigError([Fault.of(key, error, "name a study that can be read")]) from error


def list_prior_trials(
    history: StudyHistory, space: Space, is_valid: Validity, read_defaults: ReadSettings, options: StudyOptions
) -> list[FrozenTrial]:
    """List the complete trials of another study that are points of a space, less copies in a population.

    Args:
        history: The other study.
        space: The space of the study that is to learn.
        is_valid: Whether a point satisfies its constraints.
        read_defaults: Reads what a trial has of keys that it did not draw.
        options: Options of that study: its limits are held against what the earlier trials described.

    Raises:
        ConfigError: Nothing can be learnt from it.
    """
    _require_comparable(history, options)
    trials, lacking, limits = [], set[str](), options.limits
    complete = [trial for trial in history.trials if trial.state == "complete"]
    copies = sum(trial.continues is not None for trial in complete)  # their points alone do not make what they have
    complete = [trial for trial in complete if trial.continues is None]
    for trial in complete:
        written = {key: write_told(value) for key, value in trial.parameters.items()}
        point = find_other_point(space, is_valid, written, read_defaults)
        unknown = list_undescribed(trial.attributes, limits)
        lacking.update(unknown)
        if point is not None and not unknown:
            excess = {name: trial.attributes[name] - bound for name, bound in sorted(limits.items())}
            distributions = {item.name: item.distribution for item in space.active(point)}
            trials.append(
                create_trial(
                    state=TrialState.COMPLETE,
                    params=point,
                    distributions=distributions,
                    values=list(trial.values),
                    system_attrs={CONSTRAINT_KEY.format(name=name): above for name, above in excess.items()},
                )
            )
    if not trials and lacking:
        problem = f"the trials of {history.name} did not describe {', '.join(sorted(lacking))}, which has a limit here"
        raise ConfigError(
            [Fault(PRIOR_KEY, problem, "name a study that describes it, or leave out the prior or the limit")]
        )
    if not trials:
        problem = f"none of the {len(complete)} complete trials of {history.name} is a point of this space"
        problem += f"; {copies} copies in its population teach nothing" if copies else ""
        raise ConfigError([Fault(PRIOR_KEY, problem, "name a study of an overlapping space")])
    return trials


def _require_comparable(history: StudyHistory, options: StudyOptions) -> None:
    sampler, directions, names = str(options.sampler.get("_target_")), options.direction, options.metric_names
    if not sampler.endswith(LEARNERS):
        problem = f"is set, and the sampler {sampler.rpartition('.')[2]} learns from no trials but its own"
        raise ConfigError([Fault(PRIOR_KEY, problem, "choose hydra/sweeper/sampler=multivariate_tpe, tpe or gp")])
    if list(history.directions) != directions:
        problem = f"the objectives of {history.name} are better by {list(history.directions)}, here {directions}"
        raise ConfigError([Fault(PRIOR_KEY, problem, "name a study of the same objectives")])
    if names is not None and history.objectives is not None and tuple(names) != history.objectives:
        problem = f"the objectives of {history.name} are {', '.join(history.objectives)}, here {', '.join(names)}"
        raise ConfigError([Fault(PRIOR_KEY, problem, "name a study of the same objectives")])
