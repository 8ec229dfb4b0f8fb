"""Identify files and reviews by their content: a moved file keeps its token cache, a changed file gets a new one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

BLOCK_BYTES = 1 << 20
HASH_BYTES = 8

UNTOLD = np.zeros(1, dtype=np.uint64)
"""Among the hashes of the reviews that a model has seen: it has seen others, too, which nobody can tell."""


def hash_contents(named_files: Iterable[tuple[str, str | Path]]) -> str:
    """Return the SHA-256 of names and contents of files, in the order given; names stay when the folder moves."""
    digest = hashlib.sha256()
    for name, path in named_files:
        handle = os.open(path, os.O_RDONLY)  # no file object: half the time where there are 50,000 small files
        try:
            # Length before content: otherwise the end of one file and the start of the next could trade places.
            digest.update(f"{len(name)}:{name}:{os.fstat(handle).st_size}:".encode())
            while block := os.read(handle, BLOCK_BYTES):
                digest.update(block)
        finally:
            os.close(handle)
    return digest.hexdigest()


def hash_reviews(reviews: Iterable[npt.NDArray[np.integer]]) -> npt.NDArray[np.uint64]:
    """Return the (N,) hashes of the (T,) token ids of each of N reviews, at full length."""
    contents = (np.asarray(ids, dtype="<u4").tobytes() for ids in reviews)
    digests = b"".join(hashlib.blake2b(content, digest_size=HASH_BYTES).digest() for content in contents)
    return np.frombuffer(digests, dtype="<u8")
