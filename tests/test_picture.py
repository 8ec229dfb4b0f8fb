"""Pictures draw what classes and settings are called, in any script, or say what they cannot draw."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.font_manager import fontManager
from matplotlib.text import Text

from sentiment import picture
from sentiment.picture import write_figure
from sentiment.tracking.folder import draw_confusion, write_confusion

pytestmark = pytest.mark.usefixtures("_drawn_whole")


@pytest.fixture(autouse=True)
def _own_fonts_alone(monkeypatch):
    """The fonts of matplotlib itself, whatever else is installed."""
    own = [entry for entry in fontManager.ttflist if "mpl-data" in entry.fname]
    monkeypatch.setattr(fontManager, "ttflist", own)
    picture._find_families.cache_clear()
    yield
    picture._find_families.cache_clear()


@pytest.fixture
def install(tmp_path):
    """Installs a font that has a filled square for each of some characters."""

    def install_font(name, characters):
        pen = TTGlyphPen(None)
        pen.moveTo((0, 0))
        for point in ((0, 900), (900, 900), (900, 0)):
            pen.lineTo(point)
        pen.closePath()
        glyphs = [".notdef", *(f"g{number}" for number in range(len(characters)))]
        builder = FontBuilder(1000)
        builder.setupGlyphOrder(glyphs)
        builder.setupCharacterMap(dict(zip(map(ord, characters), glyphs[1:], strict=True)))
        builder.setupGlyf(dict.fromkeys(glyphs, pen.glyph()))
        builder.setupHorizontalMetrics(dict.fromkeys(glyphs, (1000, 0)))
        builder.setupHorizontalHeader(ascent=900, descent=-100)
        builder.setupNameTable({"familyName": name, "styleName": "Regular"})
        builder.setupOS2(sTypoAscender=900)
        builder.setupPost()
        builder.save(tmp_path / f"{name}.ttf")
        fontManager.addfont(tmp_path / f"{name}.ttf")

    return install_font


def draw(names):
    return draw_confusion(np.eye(len(names), dtype=np.int64), names)


def test_a_blank_of_another_script_is_drawn_and_a_broken_font_is_passed_over(install, tmp_path, caplog):
    install("Broken", "優")
    (tmp_path / "Broken.ttf").write_bytes(b"no font")
    install("Squares", "優\u3000良")
    write_figure(draw(["優\u3000良", "schlecht"]), tmp_path / "a.png", 50)
    assert not caplog.records


def test_a_class_is_drawn_in_a_font_that_has_its_characters(install, tmp_path, caplog):
    install("Squares", "优秀")
    figure = draw(["优秀", "schlecht"])
    write_figure(figure, tmp_path / "a.png", 50)  # a warning would be an error
    assert all("Squares" in text.get_fontfamily() for text in figure.findobj(Text))
    assert not caplog.records
    figure = draw(["gut", "schlecht"])
    write_figure(figure, tmp_path / "b.png", 50)
    assert not any("Squares" in text.get_fontfamily() for text in figure.findobj(Text)), "nothing needs it"


def test_characters_that_no_font_has_are_told_once(install, tmp_path, caplog):
    install("Squares", "优")
    for folder in "ab":
        write_confusion(tmp_path / folder, np.eye(2, dtype=np.int64), ["优秀", "a\x9b"])
    [record] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.getMessage().startswith("No installed font has \\x9b秀: pictures show boxes instead")
    assert "\n  -> install a font that has them" in record.getMessage()


@pytest.mark.parametrize("name", [r"$\foo$", "$a$", "5$", r"\$"])
def test_dollar_signs_in_a_name_are_no_formula(name, tmp_path):
    figure = draw([name, "other"])
    write_figure(figure, tmp_path / "a.png", 50)
    assert figure.axes[0].get_xticklabels()[0].get_text() == name
