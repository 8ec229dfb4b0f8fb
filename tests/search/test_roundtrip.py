"""Every space that the grammar allows: what is drawn is what the job's configuration has."""

from __future__ import annotations

import functools
import math

import optuna
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution

from sentiment.search.space import read_space

CONFIG = """
defaults: [_self_, shape: flat]
a: 0
b: text
c: {d: 1, e: [1, 2], f: {g: null}}
gone: 1
"""

words = st.sampled_from(["sgd", "'a, b'", '"c=d"', r"e\,f", r"g\ h", "i j", "'1'", "'${x'", "a/b", "x:y", "''", "'null'"])
scalars = st.integers(-99, 99).map(str) | st.sampled_from(["true", "null", "0.5", "1e-3", "-2.0"]) | words
composites = st.sampled_from(["[1,2]", "[]", "{k:v}", "[a,[b]]", "{k:{l:1}}"])


@st.composite
def choices(draw):
    texts = draw(st.lists(scalars | composites, min_size=2, max_size=4, unique=True))
    bare = not any("=" in text or text == "null" for text in texts) and draw(st.booleans())
    return f"choice({','.join(texts)})" if bare else ",".join(texts)


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


sweeps = choices() | ranges() | intervals()

spaces = st.fixed_dictionaries(
    {},
    optional={
        "a": sweeps | scalars,
        "b": sweeps | scalars | composites,
        "c.d": sweeps | scalars,
        "c.f.g": sweeps | scalars,
        "+new": sweeps | scalars,
        "++c.new": sweeps | composites,
        "shape": st.sampled_from(["flat", "round", "flat,round", "choice(round,long_one)", "glob(*)", "glob(*,exclude=r*)"]),
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


def expect(value):
    """Give what a drawn value is in a configuration: texts of choices are Hydra's grammar, numbers are themselves."""
    return read_value(value) if isinstance(value, str) and value else value


def read(config, key):
    value = OmegaConf.select(config, key.lstrip("+"), throw_on_missing=True)
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


def is_same(one, other):
    if isinstance(one, float) or isinstance(other, float):
        return math.isclose(one, other, rel_tol=0, abs_tol=0)
    return type(one) is type(other) and one == other


def list_allowed(distribution, text):
    """Give the values that a choice may take, read from the text that a person wrote."""
    assert isinstance(distribution, CategoricalDistribution)
    inner = text.removeprefix("choice(").removesuffix(")") if text.startswith("choice(") else text
    sweep = OverridesParser.create().parse_override(f"key=choice({inner})" if "null" not in inner else f"key={inner}")
    return [expect(element) if isinstance(element, str) else element for element in sweep.sweep_string_iterator()]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(written=spaces, seed=st.integers(0, 1000))
def test_a_drawn_point_is_what_the_composed_configuration_has(loader, written, seed):
    lines = [key if text is None else f"{key}={text}" for key, text in written.items()]
    space = read_space(lines, {}, {}, loader)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    trial = study.ask()
    point = space.suggest(trial)
    overrides = space.to_overrides(point)
    config = compose("config", list(overrides))

    for parameter in space.parameters:
        drawn = point[parameter.name]
        assert parameter.distribution._contains(parameter.distribution.to_internal_repr(drawn))
        if parameter.key == "shape":
            assert config.shape == {"name": drawn}
        else:
            assert is_same(read(config, parameter.key), expect(drawn)), (parameter, drawn, overrides)
            assert is_same(space.settings(point)[parameter.key.lstrip("+")], expect(drawn))
    swept = {parameter.key for parameter in space.parameters}
    for key, text in written.items():
        if text is None:
            assert OmegaConf.select(config, key.lstrip("~"), default="deleted") == "deleted"
        elif key not in swept and key != "shape":
            assert is_same(read(config, key), read_value(text)), (key, text, overrides)
    if "a" not in written:
        assert config.a == 0


@settings(max_examples=40, deadline=None)
@given(text=choices())
def test_every_option_of_a_choice_can_be_drawn_and_no_other(text):
    space = read_space([f"key={text}"], {}, {}, None)
    (parameter,) = space.parameters
    drawn = [expect(choice) for choice in parameter.distribution.choices]
    inner = text.removeprefix("choice(").removesuffix(")") if text.startswith("choice(") else text
    override = OverridesParser.create().parse_override(f"key={inner}")
    wanted = [expect(element) for element in override.sweep_string_iterator()]
    assert drawn == wanted
