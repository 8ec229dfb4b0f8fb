"""Every space that the grammar allows: what is drawn is what the job's configuration has."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import optuna
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from sentiment.search.space.reading import read_space

CONFIG = """
defaults: [_self_, shape: flat]
a: 0
b: text
c: {d: 1, e: [1, 2], f: {g: null}}
gone: 1
"""

words = st.sampled_from(
    ["sgd", "'a, b'", '"c=d"', r"e\,f", r"g\ h", "i j", "'1'", "'a$b'", "a/b", "x:y", "''", "'true'", "'1e-3'"]
)
scalars = st.integers(-99, 99).map(str) | st.sampled_from(["true", "null", "0.5", "1e-3", "-2.5"]) | words
composites = st.sampled_from(["[1,2]", "[]", "{k:v}", "[a,[b]]", "{k:{l:1}}"])


@dataclass(frozen=True)
class Written:
    """The right side of an override, and the values that it offers, as a person means them; None: numbers."""

    text: str
    options: tuple[str, ...] | None = None


@st.composite
def choices(draw):
    texts = draw(st.lists(scalars | composites, min_size=2, max_size=4, unique=True))
    named = "null" not in texts and draw(st.booleans())  # Hydra's grammar knows no choice(null)
    return Written(f"choice({','.join(texts)})" if named else ",".join(texts), tuple(texts))


@st.composite
def ranges(draw):
    start, steps, step = draw(st.integers(-20, 20)), draw(st.integers(1, 9)), draw(st.integers(1, 4))
    if draw(st.booleans()):
        return f"range({start},{start + steps * step + 1},{step})"
    return f"range({start / 4},{(start + steps * step) / 4},{step / 4})"


@st.composite
def intervals(draw):
    low, width = draw(st.floats(-1e3, 1e3)), draw(st.floats(0.5, 1e3))
    plain = f"interval({low!r},{low + width!r})"
    return draw(
        st.sampled_from(
            [
                plain,
                f"int({plain})" if width > 2 else plain,
                f"tag(log,interval({width!r},{width * 10!r}))",
                "tag(log,interval(1e-5,1e-1))",
                "int(tag(log,interval(1,100)))",
            ]
        )
    )


sweeps = choices() | ranges().map(Written) | intervals().map(Written)
fixed = (scalars | composites).map(Written)
shapes = ["flat", "round", "flat,round", "choice(round,long_one)", "glob(*)", "glob(*,exclude=r*)"]

spaces = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(["a", "b", "c.d", "c.f.g", "+new", "++c.new"], sweeps | fixed),
        "shape": st.sampled_from(shapes).map(Written),
        "~gone": st.just(None),
        "~c.e": st.just(None),
    },
)


@pytest.fixture(scope="module")
def loader(tmp_path_factory):
    folder = tmp_path_factory.mktemp("conf")
    (folder / "shape").mkdir()
    (folder / "config.yaml").write_text(CONFIG, encoding="utf-8")
    for name in ("flat", "round", "long_one"):
        (folder / "shape" / f"{name}.yaml").write_text(f"name: {name}\n", encoding="utf-8")
    with initialize_config_dir(str(folder)):
        yield GlobalHydra.instance().config_loader()


@functools.cache
def read_value(text):
    return OverridesParser.create().parse_override(f"key={text}").value()


def expect(parameter, drawn, written):
    """Give what a drawn value has to be in a configuration."""
    if written.options is None:
        return drawn
    # Not by `index`: 1, 1.0 and true are equal.
    choices = parameter.distribution.choices
    place = next(n for n, choice in enumerate(choices) if type(choice) is type(drawn) and choice == drawn)
    return read_value(written.options[place])


def read(config, key):
    value = OmegaConf.select(config, key.lstrip("+"), throw_on_missing=True)
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


def is_same(one, other):
    return type(one) is type(other) and one == other


def check_round_trip(loader, written, seed):
    lines = [key if right is None else f"{key}={right.text}" for key, right in written.items()]
    space = read_space(lines, {}, {}, loader)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    point = space.suggest(study.ask())
    config = compose("config", list(space.to_overrides(point)))
    for parameter in space.parameters:
        drawn, right = point[parameter.name], written[parameter.key]
        wanted = {"name": drawn} if parameter.key == "shape" else expect(parameter, drawn, right)
        assert is_same(read(config, parameter.key), wanted), (parameter, drawn)
        if parameter.key != "shape":
            assert is_same(space.settings(point)[parameter.key.lstrip("+")], wanted)
    swept = {parameter.key for parameter in space.parameters}
    for key, right in written.items():
        if right is None:
            assert OmegaConf.select(config, key.lstrip("~"), default="deleted") == "deleted"
        elif key not in swept:
            wanted = {"name": right.text} if key == "shape" else read_value(right.text)
            assert is_same(read(config, key), wanted), (key, right)
    for key, default in {"a": 0, "b": "text", "c.d": 1, "c.f.g": None}.items():
        assert key in written or read(config, key) == default


@settings(max_examples=15)
@given(written=spaces, seed=st.integers(0, 1000))
def test_a_drawn_point_is_what_the_composed_configuration_has(loader, written, seed):
    check_round_trip(loader, written, seed)


@pytest.mark.slow
@settings(max_examples=400)
@given(written=spaces, seed=st.integers(0, 1000))
def test_many_drawn_points_are_what_their_configurations_have(loader, written, seed):
    check_round_trip(loader, written, seed)
