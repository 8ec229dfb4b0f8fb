"""One form for every number that people read."""

from __future__ import annotations

import math

import pytest

from sentiment.format import (
    format_bytes,
    format_difference,
    format_duration,
    format_metric,
    format_number,
    format_points,
    format_setting,
    mask_passwords,
    name_metric,
    shorten_keys,
    write_metrics,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (3.0, "3"), (100000, "100,000"), (1234.5, "1,234"), (0.98721, "0.9872"), (0.0003, "0.0003"),
        (0.00003, "3e-5"), (-2.5, "-2.5"), (math.nan, "undefined"), (math.inf, "undefined"),
    ],
)  # fmt: skip
def test_numbers_have_four_digits_and_no_needless_exponent(value: float, text: str):
    assert format_number(value) == text


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("val/accuracy", 0.98721, "98.72 %"), ("test/auroc", 1.0, "100.00 %"), ("val/f1", 0.5, "50.00 %"),
        ("val/loss", 0.31416, "0.3142"), ("model/parameters", 78978.0, "78,978"), ("accuracy", math.nan, "undefined"),
        ("test/ece", 0.009393, "0.94 %"), ("test/accuracy", 24_999 / 25_000, "99.996 %"), ("test/ece", 0.0, "0.00 %"),
        ("test/auroc", 1 - 1e-5, "99.999 %"), ("test/f1", 0.00003, "0.003 %"), ("val/f1", 1 - 1e-7, "100.00 %"),
    ],
)  # fmt: skip
def test_shares_are_read_in_percent(name: str, value: float, text: str):
    assert format_metric(name, value) == text


def test_lines_of_metrics_have_even_columns():
    first, second = (write_metrics({"val/accuracy": share, "val/loss": 0.3}) for share in (0.9, 1.0))
    assert first == "val/accuracy 90.00 %   val/loss 0.3"
    assert second == "val/accuracy 100.00 %  val/loss 0.3"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (8.21, "8.2 s"), (59.96, "1 min 0 s"), (750, "12 min 30 s"), (4320, "1 h 12 min")],
)
def test_durations(seconds: float, text: str):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("1e-05", "1e-5"), (1e-05, "1e-5"), ("-2.5e-06", "-2.5e-6"), ("1e-3", "1e-3"),
        ("1.7545192811805452e-05", "1.755e-5"), ("0.002258849849049621", "0.002259"), ("3e-4", "3e-4"),
        (0.002258849849049621, "0.002259"), (4.0, "4"), ("12.123456789", "12.12"), ("12.125", "12.125"),
        (8, "8"), ("lstm", "lstm"), (True, "true"), (None, "null"),
    ],
)  # fmt: skip
def test_what_people_typed_stays_and_drawn_numbers_are_cut(value: object, text: str):
    assert format_setting(value) == text


def test_memory_is_rounded_up():
    assert format_bytes(1) == "1 MiB"
    assert format_bytes(13 * 2**30) == "13.0 GiB"


def test_keys_are_short_where_that_is_enough():
    assert shorten_keys(["model.depth", "optimizer.lr", "other.lr"]) == {
        "model.depth": "depth",
        "optimizer.lr": "optimizer.lr",
        "other.lr": "other.lr",
    }


def test_passwords_are_taken_out_of_urls():
    text = "storage=postgresql://me:secret@host/db?password=secret2&x=1"
    assert mask_passwords(text) == "storage=postgresql://me@host/db?password=***&x=1"


def test_a_password_in_the_name_of_a_registered_model_is_masked_and_its_alias_stays():
    assert mask_passwords("init_from=models:/me:planted@host/1 is none") == "init_from=models:/me@host/1 is none"
    assert mask_passwords("models:/sentiment-synthetic@champion") == "models:/sentiment-synthetic@champion"


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        ("val/accuracy", "validation accuracy"), ("test/f1", "test F1"), ("val/auroc", "validation AUROC"),
        ("time/latency_ms", "time for one review in milliseconds"), ("val/mine", "validation mine"), ("own", "own"),
    ],
)  # fmt: skip
def test_metrics_are_called_as_people_call_them(metric, name):
    assert name_metric(metric) == name


def test_differences_of_shares_are_points():
    assert [format_points(value) for value in (-0.01234, -1e-9, math.nan)] == ["-1.23", "0.00", "undefined"]
    assert format_points(0.02, is_signed=True) == "+2.00"
    assert (format_difference("val/f1", 0.1), format_difference("val/loss", 0.1)) == ("10.00", "0.1")
