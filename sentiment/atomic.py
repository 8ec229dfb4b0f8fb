"""Write files so that a reader sees the old content or the new one, never half of either.

A file is written beside its place under another name, and renamed when it is whole: POSIX renames atomically within a
folder. What cannot be written raises OSError, for the caller to say what helps.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Give a path to write to; when the block ends well, what was written there becomes `file`.

    The folder is made where it is missing. After an exception `file` is as it was, and nothing else is left behind.
    A pipe or a device, also behind a link, stays what it is and is written to at once; any other link is replaced.

    Raises:
        OSError: The folder or the file cannot be written, or the path stands for a file that a process has open.
    """
    if file.is_dir():  # else it would be told after all was written
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(file))
    if file.exists() and not file.is_file():
        yield file
        return
    if file.is_symlink() and file.absolute().parts[1:2] in (("dev",), ("proc",)):
        # /dev/stdout that goes to a file: replacing it would lose what the file had, and what is printed.
        raise OSError(errno.EINVAL, "Stands for a file that is open", str(file))
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f".{file.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        yield unfinished
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)


def write_text(file: Path, text: str) -> None:
    """Write a text as UTF-8, its line ends as they are.

    Raises:
        OSError: It cannot be written.
    """
    write_bytes(file, text.encode())


def write_bytes(file: Path, content: bytes) -> None:
    """Write bytes.

    Raises:
        OSError: They cannot be written.
    """
    with replacing(file) as unfinished:
        unfinished.write_bytes(content)
