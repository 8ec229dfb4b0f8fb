"""Kill the commands of a study at random, start the same command again each time, and count what is lost.

    python -m tests.faults.kills --rounds 54            # a seed of its own each time; --seed repeats one

A round is one SIGKILL: of the command, of one of its workers, or of the whole process group; some rounds have two
commands on the study. Studies are on a journal and on SQLite in turn. The exit code is 1 where anything was lost,
doubled or hung.
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
from pathlib import Path

from tests.search.faults.conftest import Command, ToyStudy

TRIALS = 24
SECONDS = 0.3
"""A trial's, of the toy application."""

ACCEPT = ("hydra.sweeper.max_failure_rate=1", "hydra.sweeper.retry=none", "hydra.sweeper.max_attempts=99")
VICTIMS = ("controller", "worker", "group")


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


class Round:
    """Studies until enough kills have been made."""

    def __init__(self, moments: random.Random, counts: Counter[str]) -> None:
        self.moments, self.counts = moments, counts

    def run(self, folder: Path, storage: str, kills: int) -> None:
        """Kill a study's commands so many times, then let it end, and count."""
        study = ToyStudy(folder)
        if storage == "sqlite":
            study.storage_url = f"sqlite:///{folder}/study.db"
        options = {"n_trials": TRIALS, "n_jobs": 2, "seconds": SECONDS}
        ended: dict[int, tuple[object, object]] = {}
        try:
            for _ in range(kills):
                seen = len(study.starts)
                commands = [study.start(*ACCEPT, **options) for _ in range(self.moments.choice([1, 1, 2]))]
                study.wait_until(lambda: len(study.starts) > seen or not commands[0].is_running)  # noqa: B023
                time.sleep(self.moments.uniform(0, 2 * SECONDS))
                victim = self.moments.choice(VICTIMS)
                self.counts[f"kills of {victim}"] += kill(commands[0], victim)
                time.sleep(self.moments.uniform(0, SECONDS))
                for command in commands:  # whatever is left of this round
                    command.end()
                study.wait_until(lambda: not any(command.has_processes for command in commands))  # noqa: B023
                self.counts["rounds"] += 1
                now = list_ended(study)
                self.counts["lost"] += sum(now.get(number) != known for number, known in ended.items())
                self.counts["doubled"] += sum(number in ended for number, _ in study.starts[seen:])
                ended = now
            code, output = study.run(*ACCEPT, **options)
            study.require_whole(TRIALS)
            self.counts["studies"] += 1
            self.counts["trials"] += TRIALS
            if code not in (0, 1):
                self.counts["wrong exits"] += 1
                print(output)
        except AssertionError as error:
            self.counts["hung or not whole"] += 1
            print(error)
        finally:
            study.end()


def run(rounds: int, seed: int) -> Counter[str]:
    """Make so many rounds; return what was counted."""
    moments, counts = random.Random(seed), Counter[str]()
    for name in ("lost", "doubled", "hung or not whole", "wrong exits"):
        counts[name] = 0
    done = 0
    while done < rounds:
        kills = min(rounds - done, 6)
        with tempfile.TemporaryDirectory() as folder:
            Round(moments, counts).run(Path(folder), ("journal", "sqlite")[counts["studies"] % 2], kills)
        done += kills
    return counts


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=54)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    options = parser.parse_args()
    print(f"seed {options.seed}")
    counts = run(options.rounds, options.seed)
    print("\n".join(f"{name:20} {count}" for name, count in counts.items()))
    sys.exit(any(counts[name] for name in ("lost", "doubled", "hung or not whole", "wrong exits")))


if __name__ == "__main__":
    main()
