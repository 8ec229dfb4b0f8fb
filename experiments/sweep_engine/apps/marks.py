"""What a job notes of its process when it starts."""

from __future__ import annotations

import os
import time
from pathlib import Path

MARK_FILE = "started.txt"


def mark_start(folder: Path) -> None:
    """Write the time (s since 1970), the processor time of the process so far (s) and its resident memory (bytes)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    mark = (time.time(), time.process_time(), pages * os.sysconf("SC_PAGE_SIZE"))
    (folder / MARK_FILE).write_text(" ".join(map(str, mark)))


def read_mark(folder: Path) -> tuple[float, float, float]:
    """Read the mark in the folder of a job."""
    started, processor, memory = map(float, (folder / MARK_FILE).read_text().split())
    return started, processor, memory


def read_marks(folder: Path) -> list[tuple[float, float, float]]:
    """Read the marks of all jobs below a folder, in the order in which they started."""
    return sorted(read_mark(file.parent) for file in folder.rglob(MARK_FILE))
