"""Files as text: unpacked, and decoded by the encoding that they turn out to have."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from sentiment.data.files.records import ReadOptions, shorten
from sentiment.errors import DataError

PACKED: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
SAMPLE_BYTES = 1 << 15

MARKS = (
    (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
"""Byte order marks; that of UTF-32 before that of UTF-16, which it begins with."""

NOT_WESTERN = re.compile(
    "[^\x00-\x7fÀ-ÏÑ-ÖØ-Üß-ïñ-öø-üŒœ‘’‚“”„–—…€£§©®°«»¡¿·´ºª½¼¾²³™•\xa0]"  # no letter or mark of Western Europe
    "|(?<=[a-zß-ÿ])[À-ÞŒ]"  # a capital within a word
    "|(?<=[A-Za-zÀ-ÿ])[£§©®°«»¡¿·ºª½¼¾²³•„‚](?=[A-Za-zÀ-ÿ])"  # a mark within a word
    "|[À-ÿ]{4,}"  # a word of accents
)
"""What shows that bytes decoded as cp1252 were written in another encoding."""


@contextmanager
def explain_failure(path: Path, options: ReadOptions | None = None) -> Iterator[None]:
    """Turn what the system, the unpackers and, by `options`, the decoders raise into a `DataError` of the file."""
    try:
        yield
    except (EOFError, zlib.error, lzma.LZMAError) as error:
        raise DataError(f"{path} cannot be unpacked ({error}); it was cut short or damaged: copy it again") from error
    except UnicodeError as error:
        if options is None:
            raise
        remedy = f"name its encoding with {options.name('encoding')}"
        if options.encoding is not None:
            remedy = f"it has another encoding than {options.name('encoding', options.encoding)}"
            if "BOM" in str(error):
                name = codecs.lookup(options.encoding).name
                remedy += f", which takes a byte order mark: without it, {name}-le or {name}-be"
        raise DataError(f"{path} cannot be decoded ({error}); {remedy}") from error
    except OSError as error:
        remedy = "check the path and its rights" if error.errno else "it is damaged: copy it or write it again"
        raise DataError(f"{path} cannot be read ({error.strerror or error}); {remedy}") from error


@contextmanager
def explain_damage(path: Path) -> Iterator[None]:
    """Turn what JSON and Arrow raise of a saved data set that is not whole into a `DataError` that names it."""
    with explain_failure(path):
        try:
            yield
        except (ValueError, LookupError, TypeError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise DataError(f"{path} is damaged ({reason}); save it again, or copy it again") from error


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file, unpacked where its ending says that it is packed."""
    file: IO[bytes] = PACKED.get(path.suffix.lower(), open)(path, "rb")
    return file


def read_lines(path: Path, encoding: str) -> Iterator[str]:
    """Yield physical lines with their ends; bytes that are wrong in the encoding become lone surrogates."""
    with open_bytes(path) as file, io.TextIOWrapper(file, encoding, errors="surrogateescape", newline="") as stream:
        for number, line in enumerate(stream):
            yield line if number else line.removeprefix("\ufeff")


def is_utf8(line: bytes) -> bool:
    """Return whether a line is UTF-8."""
    try:
        return line.isascii() or bool(line.decode("utf-8"))
    except UnicodeDecodeError:
        return False


def choose_encoding(path: Path, options: ReadOptions, prior: str | None = None) -> str:
    """Return the encoding of a file; `prior` is an older one that the files read before had.

    A byte order mark decides; otherwise a file is UTF-8 unless its bytes say otherwise. Lines that are no UTF-8 among
    others that are make bad rows; where no line with an accent is UTF-8, the file has an older encoding.

    Raises:
        DataError: Several encodings read the file differently, or the given one does not exist.
    """
    if options.encoding is not None:
        try:
            "".encode(options.encoding)  # raises of codecs that are no encoding of texts, as rot13
            return codecs.lookup(options.encoding).name
        except LookupError:
            key = options.name("encoding", options.encoding)
            raise DataError(f"{key} is no encoding; give one such as utf-8, cp1252, latin-1 or utf-16") from None
    with open_bytes(path) as file:
        start = file.read(4096)
    for mark, encoding in MARKS:
        if start.startswith(mark):
            return encoding
    if start and start.count(0) > len(start) / 5:
        return "utf-16-le" if start[1::2].count(0) > start[::2].count(0) else "utf-16-be"
    valid = wrong = first = 0
    sample = bytearray()
    with open_bytes(path) as file:
        for number, line in enumerate(file, start=1):
            if line.isascii() or is_utf8(line):
                valid += not line.isascii()
                continue
            wrong, first = wrong + 1, first or number
            if len(sample) < SAMPLE_BYTES:
                sample += line[:SAMPLE_BYTES]
    if valid >= wrong:
        return "utf-8"
    if valid:
        raise DataError(
            f"{path} mixes encodings: of its lines with accents, {valid:,} are UTF-8 and {wrong:,} are not; set "
            f"{options.name('encoding')} to utf-8 (the others are bad rows then), cp1252 or what it was written in"
        )
    return prior or _require_western(f"{path}, line {first},", bytes(sample), options)


def _require_western(place: str, sample: bytes, options: ReadOptions) -> str:
    """Return cp1252 where the sample reads as a language of Western Europe; other encodings are asked for."""
    from charset_normalizer import from_bytes

    western = sample.decode("cp1252", errors="surrogateescape")
    matches = list(from_bytes(sample))
    known = {name for match in matches for name in match.could_be_from_charset}
    accents = sum(character > "\x7f" for character in western)
    if len(NOT_WESTERN.findall(western)) <= accents / 50 and (accents < 20 or "cp1252" in known):
        return "cp1252"
    found = [(match.encoding, re.search(r"\w*[^\x00-\x7f]\w*( \w+)?", str(match))) for match in matches[:4]]
    readings = [f"{name} reads {shorten(text[0])}" for name, text in found if text]
    raise DataError(
        f"{place} is not UTF-8, and the encoding cannot be told for certain; set {options.name('encoding')} to the one "
        f"that it was written in{': ' if readings else ''}{', '.join(readings)}"
    )
