"""One file registers a model or a data set, and a broken one is explained with its place."""

from __future__ import annotations

import hashlib
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from pkgutil import resolve_name
from typing import Literal

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf
from pydantic import TypeAdapter, ValidationError

from sentiment.config.extension import (
    RULES,
    ExtensionError,
    add_model,
    list_extensions,
    load_extensions,
    read_defaults,
    register_extension_options,
)
from sentiment.config.group import DataGroup, Group, TrackingSettings
from sentiment.config.home import PROJECT_DIR
from sentiment.config.option import OPTIONS, find_option, join_choices, list_options, list_required
from sentiment.data.build import build_corpus, build_unlabelled, split_of
from sentiment.data.cache import list_settings
from sentiment.data.corpus import OTHER_EXTENSION, digest
from sentiment.errors import ConfigError

MODEL = """
    from typing import Literal
    from pydantic import Field
    from sentiment.config.extension import add_model
    from sentiment.config.group import Group

    class Settings(Group):
        name: Literal["bag"] = "bag"
        width: int = Field(default=8, ge=1)
        spans: list[int] = [1, 2]
        depth: int

    @add_model(Settings)
    class Bag:
        def __init__(self, classes, width, spans, depth, max_tokens=None):
            self.given = dict(classes=classes, width=width, spans=spans, depth=depth, max_tokens=max_tokens)
        def forward(self, tokens, mask): ...
        def state_dict(self): ...
"""

DATA = """
    from typing import Literal
    from pydantic import Field
    from sentiment.config.extension import add_data
    from sentiment.config.schema import DataGroup  # where it once lived

    class Settings(DataGroup):
        name: Literal["folder"] = "folder"
        path: str
        max_tokens: int = Field(default=77, ge=2)

    @add_data(Settings)
    class Folder:
        def __init__(self, path, split_seed):
            self.given = dict(path=path, split_seed=split_seed)
        def describe(self): ...
        def fingerprint(self): ...
        def load(self): ...
"""

WORDS = """
    from typing import Literal
    import numpy as np
    from sentiment.config.extension import add_data
    from sentiment.config.group import DataGroup
    from sentiment.data.reviews import RawSplits, Reviews

    class Settings(DataGroup):
        name: Literal["words"] = "words"
        ending: str = ""
        path: str = ""

    @add_data(Settings)
    class Words:
        def __init__(self, ending, path):
            self.ending = ending
        def describe(self):
            return "words"
        def fingerprint(self):
            return "of no file"
        def fingerprint_unlabelled(self):
            return "of no file"
        def load(self):
            train, test = ([f"WORD{self.ending} {split} {n}" for n in range(20)] for split in ("train", "test"))
            return RawSplits(Reviews(train, np.arange(20) % 2), None, Reviews(test, np.arange(20) % 2), ("no", "yes"))
        def load_unlabelled(self):
            return [f"WORD{self.ending} film"]
"""

TRACKER = """
    from typing import Literal
    from sentiment.config.extension import add_tracker
    from sentiment.config.group import TrackingSettings

    class Settings(TrackingSettings):
        name: Literal["diary"] = "diary"
        file: str = "diary.txt"

    @add_tracker(Settings)
    class Diary:
        def __init__(self, context, file, experiment):
            self.given = dict(context=context, file=file, experiment=experiment)
        def describe(self, tags): ...
        def trained(self, metrics, *, step, epoch): ...
        def validated(self, metrics, *, step, epoch): ...
        def tested(self, metrics, *, step, epoch): ...
        def finished(self, result): ...
        def close(self, ending): ...
"""

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Write]:
    """Write files of a package of the test's own; nothing of it is left behind."""
    package = f"extensions_of_{abs(hash(request.node.name))}"
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    before = dict(OPTIONS)

    def write_files(**files: str) -> str:
        for name, content in files.items():
            (tmp_path / package / f"{name}.py").write_text(textwrap.dedent(content))
        for module in [name for name in sys.modules if name.startswith(package)]:
            monkeypatch.delitem(sys.modules, module)
        return package

    yield write_files
    OPTIONS.clear()
    OPTIONS.update(before)
    for group in ("model", "data", "tracking"):
        ConfigStore.instance().repo.pop(group, None)


def read_faults(package: str) -> list[tuple[str, str, str]]:
    with pytest.raises(ConfigError) as caught:
        load_extensions(package)
    return [(fault.key.rpartition("/")[2], fault.problem, fault.remedy) for fault in caught.value.faults]


def test_files_register_themselves(write):
    load_extensions(write(bag=MODEL, folder=DATA, diary=TRACKER, _parts="raise OSError('not to be imported')"))
    assert [(found.group, found.name) for found in list_extensions()] == [
        ("model", "bag"),
        ("tracking", "diary"),
        ("data", "folder"),
    ]


def test_the_file_is_known_as_it_was_imported(write, tmp_path):
    package = write(bag=MODEL)
    load_extensions(package)
    [found] = list_extensions()
    assert found.code == hashlib.sha256((tmp_path / package / "bag.py").read_bytes()).hexdigest()
    assert found.module == f"{package}.bag"


def test_the_parts_of_a_file_are_its_code_too(write, tmp_path):
    codes = []
    for scale in ("1", "2", "2"):
        package = write(bag=MODEL, _bag=f"SCALE = {scale}")
        OPTIONS.pop(("model", "bag"), None)
        load_extensions(package)
        codes.append(OPTIONS["model", "bag"].code)
    assert codes[0] != codes[1] == codes[2]


def test_the_archive_of_a_logged_model_is_enough(write, tmp_path, monkeypatch):
    """A model in MLflow carries the code as a zip file, with neither folders nor the project's conf/ beside it."""
    package = write(bag=MODEL, folder=DATA, diary=TRACKER, _parts="SCALE = 1")
    code = b"".join((tmp_path / package / file).read_bytes() for file in ("bag.py", "_parts.py"))
    archive = shutil.make_archive(str(tmp_path / "code"), "zip", tmp_path, package)
    shutil.rmtree(tmp_path / package)
    monkeypatch.syspath_prepend(archive)
    monkeypatch.setattr("sentiment.config.extension.PROJECT_DIR", Path(archive))
    load_extensions(package)
    assert [found.name for found in list_extensions()] == ["bag", "diary", "folder"]
    assert list_extensions()[0].code == hashlib.sha256(code).hexdigest()


def test_no_files_no_extensions(write):
    load_extensions(write())
    load_extensions("a_package_that_is_not_there")
    assert list_extensions() == []


def test_they_join_the_choices_and_keep_their_rules(write):
    load_extensions(write(bag=MODEL))
    adapter = TypeAdapter(join_choices("model"))
    settings = adapter.validate_python({"name": "bag", "depth": 3})
    assert (settings.width, settings.depth) == (8, 3)
    with pytest.raises(ValidationError) as caught:
        adapter.validate_python({"name": "bag", "depth": 3, "width": 0})
    assert caught.value.errors()[0]["loc"] == ("bag", "width"), "the place that faults are explained by"
    with pytest.raises(ValidationError, match="'transformer', 'rnn', 'ngram', 'bag'"):
        adapter.validate_python({"name": "bog"})


def test_without_any_the_choices_are_the_built_in_ones(write):
    load_extensions(write())
    schema = TypeAdapter(join_choices("data")).json_schema()
    assert set(schema["discriminator"]["mapping"]) == {"synthetic", "imdb", "hub", "files"}
    assert join_choices("tracking", TrackingSettings) is TrackingSettings


def test_a_network_gets_its_keys_and_what_it_names(write):
    load_extensions(write(bag=MODEL))
    [found] = list_extensions()
    settings = found.settings(depth=2)
    assert find_option(settings) is found
    network = found.build(settings, vocabulary_size=9, classes=3, max_tokens=None)
    assert network.given == {"classes": 3, "width": 8, "spans": [1, 2], "depth": 2, "max_tokens": None}


def test_a_source_gets_its_keys_and_the_shared_ones_it_names(write):
    load_extensions(write(folder=DATA))
    [found] = list_extensions()
    values = {**read_defaults(found), "path": "here", "cache_dir": "there", "split_seed": 5}
    assert found.build(found.settings.model_validate(values)).given == {"path": "here", "split_seed": 5}


def test_other_code_of_a_source_reads_again_and_says_so(write, tmp_path, caplog):
    """After an edit of load() a run trained on the old reviews, from the token cache.

    The fingerprint is the source's own, as it always was: runs and studies of earlier versions are of the same data.
    """
    read, told = [], []
    for word in ("good", "great", "great"):
        OPTIONS.pop(("data", "words"), None)
        load_extensions(write(words=WORDS.replace("WORD", word)))
        [found] = list_extensions()
        values = {**read_defaults(found), "cache_dir": str(tmp_path / "cache"), "split_seed": 0}
        settings = found.settings.model_validate(values)
        corpus = build_corpus(settings)
        unlabelled = build_unlabelled(settings, corpus.tokenizer)
        tokens = {token for ids in (corpus.train[0], unlabelled[0]) for token in corpus.tokenizer.tokens(ids)}
        read.append((corpus.fingerprint, word in tokens))
        told.append(caplog.text.count(OTHER_EXTENSION))
    named = digest({"source": "of no file", **split_of(settings)})
    assert read == [(named, True)] * 3
    assert told == [0, 1, 1]
    assert all(settings["code"] for settings in list_settings(tmp_path / "cache"))


def test_a_key_that_the_fingerprint_forgets_reads_again(write, tmp_path, caplog):
    """Each value trained on the reviews of the first, and was recorded as itself; a moved file keeps its tokens."""
    load_extensions(write(words=WORDS.replace("WORD", "good")))
    [found] = list_extensions()
    values = {**read_defaults(found), "cache_dir": str(tmp_path / "cache"), "split_seed": 0}
    read = []
    for changes in ({}, {"ending": "ness"}, {"path": "moved"}):
        settings = found.settings.model_validate(values | changes)
        corpus = build_corpus(settings)
        unlabelled = build_unlabelled(settings, corpus.tokenizer)
        read.append([corpus.tokenizer.tokens(ids)[0] for ids in (corpus.train[0], unlabelled[0])])
    assert read == [["good"] * 2, ["goodness"] * 2, ["good"] * 2]
    assert caplog.text.count(OTHER_EXTENSION) == 1
    assert len(list(list_settings(tmp_path / "cache"))) == 4


def test_defaults_are_an_option_of_hydra(write, tmp_path):
    load_extensions(write(bag=MODEL, folder=DATA))
    for _ in range(2):  # an application may compose several times; Hydra warns where it is not told to replace
        register_extension_options()
    with initialize_config_dir(str(PROJECT_DIR / "conf")):
        config = compose("config", ["model=bag", "data=folder", "model.depth=4", "data.tokenizer.vocabulary_size=50"])
        files = compose("config", ["data=files"]).data
    assert config.model == {"name": "bag", "width": 8, "spans": [1, 2], "depth": 4}
    assert (config.data.max_tokens, config.data.tokenizer.vocabulary_size) == (77, 50)
    shared = set(DataGroup.model_fields) - {"max_tokens", "tokenizer"}
    assert {name: config.data[name] for name in shared} == {name: files[name] for name in shared}


@pytest.mark.parametrize("option", [found for group in RULES for found in list_options(group)], ids=lambda o: o.name)
def test_a_built_in_option_builds_from_its_keys(option):
    keys = {*option.settings.model_fields, *RULES[option.group].given}
    assert set(list_required(option.load())) <= keys
    assert all(callable(getattr(option.load(), method)) for method in RULES[option.group].methods)
    assert option.fitter is None or callable(resolve_name(option.fitter))


def test_a_tracker_is_told_from_the_built_in_ones_by_its_name(write):
    load_extensions(write(diary=TRACKER))
    register_extension_options()
    adapter = TypeAdapter(join_choices("tracking", TrackingSettings))
    with initialize_config_dir(str(PROJECT_DIR / "conf")):
        none, own = (
            OmegaConf.to_container(compose("config", [f"tracking={name}"]).tracking, resolve=True)
            for name in ("none", "diary")
        )
    assert own == {**none, "name": "diary", "file": "diary.txt"}, "records in MLflow only where it is asked to"
    assert type(adapter.validate_python(none)) is TrackingSettings
    settings = adapter.validate_python({**own, "mlflow": True})
    [found] = list_extensions()
    assert find_option(settings) is found
    assert found.build(settings, context="here", earlier=None).given == {
        "context": "here", "file": "diary.txt", "experiment": "sentiment",
    }  # fmt: skip
    for broken, place in (({**none, "uri": 1}, "built_in"), ({**own, "file": 1}, "diary")):
        with pytest.raises(ValidationError) as caught:
            adapter.validate_python(broken)
        assert caught.value.errors()[0]["loc"][0] == place, "the place that faults are explained by"
    with pytest.raises(ValidationError, match="diary"):
        adapter.validate_python({**none, "name": "dairy"})


def test_a_key_without_a_default_has_to_be_given(write):
    load_extensions(write(bag=MODEL, folder=DATA))
    assert [read_defaults(found)[key] for found, key in zip(list_extensions(), ("depth", "path"), strict=True)] == [
        "???"
    ] * 2


@pytest.mark.parametrize(
    ("old", "new", "line", "problem", "remedy"),
    [
        ("width: int", "width: int int", 9, "SyntaxError", "correct that line"),
        ("from typing", "from no_such_package.typing", 2, "No module named 'no_such_package'", "install no_such"),
        ("import add_model", "import add_modal", 4, "cannot import name 'add_modal'", "correct the import"),
        ("depth: int", "depth: int = 1 / 0", 11, "ZeroDivisionError", "move the file out of"),
        ("(Settings)", "(dict)", 13, "add_model takes a settings class", "class MySettings(Group)"),
        ('Literal["bag"]', "str", 13, "does not say which option", 'Literal["mine"]'),
        ('"bag"', '"My Bag"', 13, "does not say which option", "small letters"),
        ("width: int", "width: int | str", 13, "may be text or something else", "give it one type"),
        ("def forward", "def backward", 13, "Bag has no forward", "torch.nn.Module"),
        (" width, spans", " spans", 13, "does not take width", "remove it from Settings"),
        ("max_tokens=None", "heads, max_tokens=None", 13, "needs heads, which nothing gives it", "add it to Settings"),
        ("spans: list[int]", "classes: list[int]", 13, "would hide the classes", "another name"),
        ("spans: list[int] = [1, 2]", "spans: set[int] = {1, 2}", 13, "Settings.spans is of a type", "list, dict"),
        ("spans: list[int] = [1, 2]", "spans: tuple[int, ...]", 13, "Settings.spans is of a type", "in __init__"),
        ("depth: int", "depth: __import__('pathlib').Path", 13, "Settings.depth is of a type", "declare it with"),
        ("depth: int", "depth: list = [{1}]", 13, "default of Settings.depth, [{1}]", "a default of"),
        ("depth: int", "depth: dict = {0: 1.5}", 13, "default of Settings.depth, {0: 1.5}", "keys of text"),
        ("depth: int", "depth: dict[int, float]", 13, "Settings.depth is of a type", "dict with keys of text"),
        ("depth: int", "depth: dict[int | str, float]", 13, "Settings.depth is of a type", "dict with keys of text"),
        ("depth: int", "depth: list[dict[int, float]]", 13, "Settings.depth is of a type", "dict with keys of text"),
        ("depth: int", "depth: __import__('typing').Any", 13, "may be text or something else", "give it one type"),
    ],
)
def test_a_broken_model_is_explained_with_its_line(write, old, new, line, problem, remedy):
    assert old in MODEL
    [(place, found, help_)] = read_faults(write(bag=MODEL.replace(old, new)))
    assert place.startswith(f"bag.py, line {line}") or place.startswith(f"bag.py, line {line + 1}")
    assert problem in found
    assert remedy in help_


def test_the_keys_of_a_nested_group_are_held_to_the_same(write):
    head = "class Head(Group):\n        KEY\n\n    class Settings"
    nested = MODEL.replace("class Settings", head).replace("depth: int", "depth: Head | None = None")
    for key, told in (("size: int | str", "may be text or something else"), ("size: dict[int, int]", "is of a type")):
        [(_, problem, _)] = read_faults(write(bag=nested.replace("KEY", key)))
        assert told in problem
    load_extensions(write(bag=nested.replace("KEY", "size: dict[str, float]")))


@pytest.mark.parametrize(
    "type_",
    [
        "dict",
        "__import__('typing').Dict",
        "__import__('typing').Mapping",
        "list['Settings']",
        "'Settings | None'",
        "dict[__import__('typing').Any, int]",
    ],
)
def test_a_type_may_leave_open_what_it_holds_and_a_group_hold_itself(write, type_):
    load_extensions(write(bag=MODEL.replace("depth: int", f"depth: {type_}")))


def test_a_source_without_its_methods_is_explained(write):
    [(_, problem, remedy)] = read_faults(write(folder=DATA.replace("def load", "def read")))
    assert "Folder has no load" in problem
    assert "sentiment/data/reviews.py" in remedy


@pytest.mark.parametrize("method", ["fingerprint_unlabelled", "load_unlabelled"])
def test_a_source_with_half_of_what_reviews_without_labels_take_is_explained(write, method):
    """It counted as one without any, and `pretrain` learned from the labelled texts alone."""
    [(_, problem, remedy)] = read_faults(write(words=WORDS.replace(f"def {method}", "def other")))
    assert f"Words has no {method}" in problem
    assert "sentiment/data/reviews.py" in remedy


def test_a_tracker_without_its_methods_is_explained(write):
    [(_, problem, remedy)] = read_faults(write(diary=TRACKER.replace("def close", "def shut")))
    assert "Diary has no close" in problem
    assert "sentiment/tracking/recorder.py" in remedy


def test_all_broken_files_are_told_together_and_leave_nothing(write):
    faults = read_faults(write(a="(", b=MODEL + "\n    raise OSError('after all')", c=DATA))
    assert [place.partition(",")[0] for place, _, _ in faults] == ["a.py", "b.py"]
    assert [found.name for found in list_extensions()] == ["folder"]


def test_a_name_that_is_taken_is_refused(write):
    [(place, problem, _)] = read_faults(write(bag=MODEL, bog=MODEL))
    assert place.startswith("bog.py")
    assert "registered in" in problem
    assert "bag.py" in problem


def test_the_name_of_a_built_in_option_is_refused(write):
    [(place, problem, remedy)] = read_faults(write(bag=MODEL.replace('"bag"', '"rnn"')))
    assert place.startswith("bag.py, line 1")
    assert problem == "model=rnn is a built-in option"
    assert "ngram, rnn, transformer" in remedy


@pytest.mark.parametrize("name", ["both", "mlflow", "tensorboard", "none"])
def test_the_name_of_a_file_that_would_come_before_is_refused(write, name):
    [(_, problem, remedy)] = read_faults(write(diary=TRACKER.replace('"diary"', f'"{name}"')))
    assert problem == f"conf/tracking/{name}.yaml comes before tracking={name}, and says nothing of it"
    assert "another name" in remedy


def test_nothing_can_be_added_later(write):
    write()

    class LateSettings(Group):
        name: Literal["late"] = "late"

    class Late:
        def forward(self): ...
        def state_dict(self): ...

    with pytest.raises(ExtensionError, match="model=late comes too late"):
        add_model(LateSettings)(Late)
