"""Write a figure of matplotlib in fonts that have its characters: classes and settings are named in any script."""

from __future__ import annotations

import io
import logging
import warnings
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from unicodedata import category

from sentiment.atomic import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

MOST_TOLD = 40
"""Of the characters that no font has."""


def write_figure(figure: Figure, file: Path, dpi: float) -> None:
    """Write a figure as PNG, atomically. What its font lacks is drawn in installed ones that have it, else as boxes.

    Raises:
        OSError: The folder cannot be written.
    """
    from matplotlib.font_manager import FontProperties, findfont  # matplotlib takes a second to import
    from matplotlib.ft2font import FT2Font
    from matplotlib.text import Text

    texts = figure.findobj(Text)
    usual = FT2Font(findfont(FontProperties()))
    characters = {character for text in texts for character in text.get_text()} - {"\n"}
    families, missing = _find_families(frozenset(one for one in characters if not usual.get_char_index(ord(one))))
    for text in texts:
        text.set_parse_math(False)  # a dollar sign in a name begins no formula
        text.set_fontfamily([*text.get_fontfamily(), *families])
    picture = io.BytesIO()
    with warnings.catch_warnings():
        if missing:  # which was told once; matplotlib tells it character by character, for every picture
            warnings.filterwarnings("ignore", "Glyph .* missing from font|Matplotlib currently does not support")
        figure.savefig(picture, format="png", dpi=dpi)
    write_bytes(file, picture.getvalue())


@cache
def _find_families(characters: frozenset[str]) -> tuple[list[str], str]:
    """Return installed fonts that together have some characters, and those that none has, of which this tells once."""
    from matplotlib import get_cachedir
    from matplotlib.font_manager import fontManager
    from matplotlib.ft2font import FT2Font

    families, left = [], {one for one in characters if category(one) != "Cc"}  # TeX's fonts have Greek for the others
    for entry in fontManager.ttflist if left else ():
        # The list may be older than what is installed; a font of last resort has a box for every character.
        if "lastresort" in entry.name.replace(" ", "").lower() or not Path(entry.fname).is_file():
            continue
        try:
            font = FT2Font(entry.fname)
        except (OSError, RuntimeError):  # closed to this user, or broken: a picture is no reason to end a run
            continue
        if found := {one for one in left if font.get_char_index(ord(one))}:
            families.append(entry.name)
            left -= found
    missing = "".join(sorted(left | {one for one in characters if category(one) == "Cc"}))
    if missing:
        written = (one if one.isprintable() else one.encode("unicode_escape").decode() for one in missing[:MOST_TOLD])
        log.warning(
            "No installed font has %s: pictures show boxes instead; pages and tables are not concerned.\n"
            "  -> install a font that has them, and remove matplotlib's list of fonts, fontlist-*.json in %s",
            "".join(written) + "…" * (len(missing) > MOST_TOLD), get_cachedir(),
        )  # fmt: skip
    return families, missing
