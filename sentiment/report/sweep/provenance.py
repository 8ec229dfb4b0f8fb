"""What the runs of a sweep were made with, where they differ in it, and the command that makes one again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from sentiment.tracking.result_file import ResultRecord

FACTS = {
    "commit": "git.commit",
    "uncommitted changes": "git.dirty",
    "hardware": "hardware",
    "device": "device",
    "data": "data.description",
    "data fingerprint": "data.fingerprint",
}
"""Fact to the tag that holds it."""

VERSION = "version."

WARNINGS = {
    "data fingerprint": "The runs did not read the same data: their figures cannot be compared.",
    "commit": "The runs were made by different commits: a difference between them may come from the code.",
}
"""What it means where the runs differ in a fact."""


def gather_facts(records: Sequence[ResultRecord]) -> dict[str, str]:
    """Gather commit, hardware, data and versions; runs that differ in one are told apart by their job numbers.

    Returns:
        Fact to text. ``attention`` says in a sentence what differing data or commits mean.
    """
    facts = {}
    for name, tag in FACTS.items():
        text = _describe(records, tag)
        if text is not None and not (name == "uncommitted changes" and text == "false"):
            facts[name] = {"true": "yes"}.get(text, text)
    names = dict.fromkeys(tag for record in records for tag in record.tags if tag.startswith(VERSION))
    versions = [f"{name.removeprefix(VERSION)} {_describe(records, name)}" for name in names]
    if versions:
        facts["versions"] = ", ".join(versions)
    warnings = [text for name, text in WARNINGS.items() if len(_values(records, FACTS[name])) > 1]
    if warnings:
        facts["attention"] = " ".join(warnings)
    return facts


def write_rerun_command(record: ResultRecord) -> str:
    """Write the command that trains one run of a sweep again, by itself."""
    kept = [override for override in record.overrides if not override.lstrip("+~").startswith("hydra")]
    return shlex.join(["python", "run.py", *kept])


def _describe(records: Sequence[ResultRecord], tag: str) -> str | None:
    values = _values(records, tag)
    if len(values) < 2:
        return next(iter(values), None)
    return "; ".join(f"{value} (jobs {', '.join(map(str, jobs))})" for value, jobs in values.items())


def _values(records: Sequence[ResultRecord], tag: str) -> dict[str, list[int | str]]:
    found: dict[str, list[int | str]] = {}
    for record in records:
        if tag in record.tags:
            job = record.name if record.job_number is None else record.job_number
            found.setdefault(record.tags[tag], []).append(job)
    return found
