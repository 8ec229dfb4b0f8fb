"""Kill the commands of a study at random, start the same command again each time, and count what is lost.

    python -m tests.faults.kills --rounds 54            # a seed of its own each time; --seed repeats one
    bash tests/postgresql.sh python -m tests.faults.kills --rounds 54        # on PostgreSQL too

A round is one SIGKILL of a command, of one of its workers, or of a whole process group, while one, two or four commands
work on the study; then the round's other processes are killed as well. Every six rounds there is a new study, and the
old one is run to its end: on a journal, on SQLite and on PostgreSQL in turn, with trials that run through and with
trials that pause at rungs (``pruner=promotion``). The exit code is 1 where anything was lost, doubled or hung.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from itertools import product
from pathlib import Path

import pytest
from optuna.trial import TrialState

from tests.search.conftest import POSTGRESQL, make_database
from tests.search.faults.conftest import Command, ToyStudy

TRIALS = 24
SECONDS = 0.3
"""A trial's, of the toy application."""

STEPS = 9
"""A trial's, each with a report and a checkpoint, where trials pause at rungs: after 1 and 3."""

KILLS_PER_STUDY = 6
HANG_SECONDS = 600.0
"""A command that takes longer hangs; under load a study of eight seconds takes a minute or two."""

ACCEPT = ("hydra.sweeper.max_failure_rate=1", "hydra.sweeper.retry=none", "hydra.sweeper.max_attempts=99")
PROMOTION = ("hydra/sweeper/pruner=promotion", f"steps={STEPS}", "checkpoint=true")
VICTIMS = ("controller", "worker", "group")
FAULTS = ("lost", "doubled", "hung", "not whole", "wrong exits")


def kill(command: Command, victim: str) -> bool:
    """Kill one; return whether there was one."""
    workers = command.list_workers()
    if not command.is_running or (victim == "worker" and not workers):
        return False
    if victim == "group":
        command.send_all(signal.SIGKILL)
    elif victim == "controller":
        command.send(signal.SIGKILL)
    else:
        try:
            os.kill(random.choice(workers), signal.SIGKILL)
        except ProcessLookupError:
            return False
    return True


def list_ended(study: ToyStudy) -> dict[int, tuple[object, object]]:
    """Give point and value of every trial that has ended."""
    return {one.number: (one.params["x"], one.value) for one in study.trials() if one.state.is_finished()}


def require_rungs(study: ToyStudy) -> None:
    """Require that every trial made each of its steps, and stands at a rung or came to its end."""
    for trial in study.trials():
        if trial.state == TrialState.FAIL:
            continue
        value = trial.params["x"] ** 2 + trial.params["y"] ** 2
        expected = {step: pytest.approx(value + STEPS - step) for step in range(len(trial.intermediate_values))}
        assert trial.intermediate_values == expected, trial
        assert len(expected) in ((STEPS,) if trial.state == TrialState.COMPLETE else (1, 3)), trial
    assert study.states()["COMPLETE"] >= 1


class Round:
    """The rounds on one study."""

    def __init__(self, moments: random.Random, counts: Counter[str]) -> None:
        self.moments, self.counts = moments, counts

    def run(self, study: ToyStudy, accept: tuple[str, ...], kills: int) -> None:
        """Kill a study's commands so many times, then let it end, and count."""
        options = {"n_trials": TRIALS, "n_jobs": 2, "seconds": SECONDS}
        ended: dict[int, tuple[object, object]] = {}
        try:
            for _ in range(kills):
                seen = len(study.starts)
                commands = [study.start(*accept, **options) for _ in range(self.moments.choice([1, 1, 2, 4]))]
                study.wait_until(lambda: len(study.starts) > seen or not commands[0].is_running)  # noqa: B023
                time.sleep(self.moments.uniform(0, 2 * SECONDS))
                victim = self.moments.choice(VICTIMS)
                self.counts[f"kills of {victim}"] += kill(self.moments.choice(commands), victim)
                time.sleep(self.moments.uniform(0, SECONDS))
                for command in commands:  # whatever is left of this round
                    command.end()
                study.wait_until(lambda: not any(command.has_processes for command in commands))  # noqa: B023
                self.counts["rounds"] += 1
                self.counts["commands killed"] += len(commands)
                now = list_ended(study)
                self.counts["lost"] += sum(now.get(number) != known for number, known in ended.items())
                self.counts["doubled"] += sum(number in ended for number, _ in study.starts[seen:])
                ended = now
            code, output = study.run(*accept, **options)
        except AssertionError as error:
            self.counts["hung"] += 1
            print(error)
            return
        finally:
            study.end()
        try:
            study.require_whole(TRIALS)
            if PROMOTION[0] in accept:
                require_rungs(study)
        except AssertionError as error:
            self.counts["not whole"] += 1
            print(error)
        now = list_ended(study)
        self.counts["lost"] += sum(now.get(number) != known for number, known in ended.items())
        self.counts["trials"] += len(now)
        self.counts["trial starts"] += len(study.starts)
        self.counts["wrong exits"] += code not in (0, 1)
        if code not in (0, 1):
            print(output)


def run(rounds: int, seed: int) -> Counter[str]:
    """Make so many rounds; return what was counted."""
    moments, counts = random.Random(seed), Counter[str](dict.fromkeys(FAULTS, 0))
    server = os.environ.get(POSTGRESQL)
    kinds = list(product(((), PROMOTION), ("journal", "sqlite", *(["postgresql"] if server else []))))
    for place, first in enumerate(range(0, rounds, KILLS_PER_STUDY)):
        options, storage = kinds[place % len(kinds)]
        with ExitStack() as stack:
            study = ToyStudy(Path(stack.enter_context(tempfile.TemporaryDirectory())))
            study.wait_seconds = HANG_SECONDS
            if storage == "sqlite":
                study.storage_url = f"sqlite:///{study.folder}/study.db"
            elif storage == "postgresql":
                study.storage_url = stack.enter_context(make_database(str(server)))
            Round(moments, counts).run(study, (*ACCEPT, *options), min(rounds - first, KILLS_PER_STUDY))
        counts[f"studies on {storage}{', promotion' if options else ''}"] += 1
        found = {name: counts[name] for name in FAULTS}
        print(f"{min(first + KILLS_PER_STUDY, rounds):4}", storage, *options[:1], found, flush=True)
    return counts


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=54)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    counts = run(options.rounds, options.seed)
    print("\n".join(f"{name:32} {count}" for name, count in counts.items()))
    sys.exit(any(counts[name] for name in FAULTS))


if __name__ == "__main__":
    main()
