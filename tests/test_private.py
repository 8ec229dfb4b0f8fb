"""What other packages do not promise and the project takes all the same is still there, and does what it did.

Each check fails with the package and its release, the function of `sentiment/private.py`, and the files that need it.
"""

from __future__ import annotations

import ast
import copy
import importlib
import inspect
import os
import re
import warnings
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import Mock, patch

import optuna
import pytest
from hydra import compose, initialize_config_dir
from hydra.core import utils
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import InstantiationException
from omegaconf import MISSING, DictConfig, Node, OmegaConf
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.samplers import GridSampler, RandomSampler, TPESampler

from sentiment import private
from sentiment.config.home import PROJECT_DIR

PACKAGE_DIR = PROJECT_DIR / "sentiment"
COPY_SLOWLY = DictConfig.__deepcopy__  # before `tests/conftest.py` has another in its place
CONF = str(PROJECT_DIR / "tests" / "search" / "toy" / "conf")


def check_arguments():
    options = private.parse_arguments(["-m", "a=1", "--config-name", "c", "b=2"])
    assert (options.multirun, options.overrides, options.config_name) == (True, ["a=1", "b=2"], "c")
    unread = {name for name in re.findall(r"\boptions\.(\w+)", read("config/command_line.py")) if name not in options}
    assert unread == set()


def check_repository():
    asked = []

    class Watching:
        def __init__(self, repository):
            self.repository = repository

        def load_config(self, config_path):
            asked.append(config_path)
            return self.repository.load_config(config_path)

        def __getattr__(self, name):
            return getattr(self.repository, name)

        def __deepcopy__(self, memo):
            return self

    with initialize_config_dir(CONF):
        private.replace_repository(GlobalHydra.instance().config_loader(), Watching)
        compose("config")
    assert "config" in {str(path).removesuffix(".yaml") for path in asked}


def check_folder():
    with initialize_config_dir(CONF), TemporaryDirectory() as folder:
        (Path(folder) / "own.yaml").write_text("seed: 7")
        private.read_folder(GlobalHydra.instance().config_loader(), Path(folder))
        assert compose("own").seed == 7


def check_aliases():
    with initialize_config_dir(CONF), TemporaryDirectory() as folder:
        (Path(folder) / "own.yaml").write_text("hydra: {aliases: {s: seed, few: seed=1}}")
        loader = GlobalHydra.instance().config_loader()
        private.read_folder(loader, Path(folder))
        assert private.expand_aliases(loader, "own", ["++s=2", "few", "s.s=3"]) == ["++seed=2", "seed=1", "s.s=3"]


def check_resolvers():
    OmegaConf.clear_resolver("hydra")
    private.begin_jobs()
    assert OmegaConf.has_resolver("hydra")


def check_run_job():
    given = {"task_function", "config", "job_dir_key", "job_subdir_key", "hydra_context"}
    inspect.signature(utils.run_job).bind(**dict.fromkeys(given))


@dataclass
class Kinds:
    either: int | str = 1
    pair: tuple[int, str] = (1, "a")
    numbers: list[float] = field(default_factory=lambda: [0.5])
    none: dict[str, int] | None = None
    lacking: dict[str, int] = MISSING


def list_parts(node):
    """List a node's metadata and their flags, and those of all that is within it."""
    content = node.__dict__.get("_content")
    children = content.values() if isinstance(content, dict) else content if isinstance(content, list) else [content]
    within = [part for child in children if isinstance(child, Node) for part in list_parts(child)]
    return [node._metadata, node._metadata.flags, *within]


def check_copies():
    with initialize_config_dir(CONF):
        whole = compose("config", ["+list=[1,${x},{a: ???}]", "+mode.deep=${..x}"], return_hydra_config=True)
    masked = OmegaConf.masked_copy(whole, "hydra")
    masked.hydra._set_parent(whole)  # as Hydra does, so that it can refer to the application's keys
    kinds = OmegaConf.create({"a": Kinds(), "b": "${a}", "c": None, "d": {"e": "???"}})
    OmegaConf.set_readonly(kinds.a, True)
    for config in (whole, whole.hydra, masked, kinds):
        wanted = COPY_SLOWLY(config, {0: None})  # not empty: a part of a larger copy
        with private.copying_quickly():
            found = copy.deepcopy(config)
        assert OmegaConf.to_yaml(found) == OmegaConf.to_yaml(wanted)
        assert found._get_parent() is wanted._get_parent() is config._get_parent()
        parts, originals = list_parts(found), list_parts(config)
        assert list(map(repr, parts)) == list(map(repr, originals))
        assert not {*map(id, parts)} & {*map(id, originals)}
        for name in wanted:
            assert found._get_node(name)._get_parent() is found
        assert OmegaConf.get_type(found) is OmegaConf.get_type(wanted)
        assert OmegaConf.is_struct(found) == OmegaConf.is_struct(wanted)
    with private.copying_quickly():
        found = copy.deepcopy(whole)
    assert OmegaConf.is_readonly(found.hydra) == OmegaConf.is_readonly(whole.hydra)
    found.x = 7.0
    assert (whole.x, found.list[1], found.mode.deep) == (1.0, 7.0, 7.0)
    unpicklable = OmegaConf.create({"a": lambda: 1}, flags={"allow_objects": True})
    with private.copying_quickly():
        assert copy.deepcopy(unpicklable).a is unpicklable.a


def check_logging():
    inspect.signature(utils.configure_log).bind({}, False, execution_whitelist=())


def check_returned():
    returned, error = utils.JobReturn(), ValueError("a")
    returned.return_value = error
    assert private.read_returned(returned) is error


def check_construct():
    allowed = ("optuna.samplers.*",)
    assert isinstance(private.construct({"_target_": "optuna.samplers.RandomSampler"}, allowed), RandomSampler)
    with pytest.raises(InstantiationException):
        private.construct({"_target_": "os.getcwd"}, allowed)


def check_distribution():
    override = OverridesParser.create().parse_override("x=tag(log, interval(1, 8))")
    assert private.read_distribution(override) == FloatDistribution(1, 8, log=True)


def check_storage():
    study = optuna.create_study()
    trial = study.ask()
    storage = private.get_storage(study)
    storage.set_trial_system_attr(private.get_trial_id(trial), "a", 1)
    assert storage.get_trial(private.get_trial_id(study.trials[0])).system_attrs["a"] == 1
    assert storage.get_study_name_from_id(private.get_study_id(study)) == study.study_name


def check_journal_lock():
    with TemporaryDirectory() as folder:
        path, link = Path(folder, "journal.log"), Path(folder, "journal.log.lock")
        path.touch()
        link.symlink_to("/nowhere")
        lock = private.make_journal_lock(path, 3)
        lock.acquire()
        assert (link.readlink(), link.exists()) == (Path(path.name), True)
        lock.release()
        assert not link.is_symlink()


def check_suggest():
    trial = optuna.create_study().ask()
    drawn = private.suggest(trial, "x", IntDistribution(3, 4))
    assert drawn in (3, 4)
    assert trial.params == {"x": drawn}


def check_contains():
    among = optuna.distributions.CategoricalDistribution([4, "a"])
    assert private.contains(among, "a")
    assert private.contains(FloatDistribution(0, 1), 0.5)
    assert not private.contains(IntDistribution(0, 4, step=2), 3)


def check_grid():
    values = {"b": [1, 2], "a": ["x", "y", "z"]}
    names, listed = private.list_grid_points(values, seed=3)
    points = [dict(zip(names, point, strict=True)) for point in listed]
    assert len(points) == 6
    study = optuna.create_study(sampler=GridSampler(values, seed=3))
    study.optimize(lambda trial: trial.suggest_categorical("b", [1, 2]) + len(trial.suggest_categorical("a", "xyz")))
    assert {tuple(sorted(one.params.items())) for one in study.trials} == {tuple(sorted(p.items())) for p in points}


def check_search_space():
    x = FloatDistribution(0, 1)
    trials = [optuna.trial.create_trial(value=1, params={"x": 0.5}, distributions={"x": x}) for _ in range(3)]
    for make in (TPESampler, partial(TPESampler, group=True), optuna.samplers.GPSampler):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            before, now = make(), make()
        study = optuna.create_study(sampler=before)
        study.add_trials(trials)
        running = study.ask()
        wanted = before.infer_relative_search_space(study, study.trials[-1])
        private.pass_search_space(before, now)
        study._get_trials = Mock(return_value=study.trials[-1:])  # what it knows already it reads no more
        assert now.infer_relative_search_space(study, study.trials[-1]) == wanted != {}, running


def check_parents():
    space = {"x": IntDistribution(0, 9)}
    study = optuna.create_study()
    study.add_trials(optuna.trial.create_trial(value=1, params={"x": 1}, distributions=space) for _ in range(2))
    for make in (optuna.samplers.NSGAIISampler, optuna.samplers.NSGAIIISampler):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = make(population_size=2, mutation_prob=0.0)
        private.require_parents(sampler)
        for count, child in ((2, {"x": 1}), (1, {}), (0, {})):
            sampler.get_parent_population = Mock(return_value=study.trials[:count])
            running = study.ask()
            assert sampler.sample_relative(study, study.trials[running.number], space) == child


def check_patience():
    median = optuna.pruners.MedianPruner()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        patient = [optuna.pruners.PatientPruner(wrapped, patience=1) for wrapped in (None, median)]
    assert [private.is_patience_alone(one) for one in (*patient, median)] == [True, False, False]


def check_resources():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        patient = optuna.pruners.PatientPruner(optuna.pruners.HyperbandPruner(), patience=0)
    halving, study = optuna.pruners.SuccessiveHalvingPruner(), optuna.create_study()
    assert not any(private.settle_resources(pruner, study) for pruner in (patient, halving))
    for steps in (300, 900):  # the one that was complete first, not the longest
        study.add_trial(optuna.trial.create_trial(value=1, intermediate_values={steps - 1: 1.0}))
    assert all(private.settle_resources(pruner, study) for pruner in (patient, halving, optuna.pruners.NopPruner()))
    assert (patient._wrapped_pruner._max_resource, halving._min_resource) == (300, 2)
    reached = optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING, intermediate_values={1: 1.0})
    study.add_trial(reached)
    halving.prune(study, study.trials[-1])
    assert not study.trials[-1].system_attrs, "it has yet to come to the first rung"


def check_trials():
    study = optuna.create_study(pruner=optuna.pruners.HyperbandPruner())
    study.tell(study.ask(), 1.0)
    assert [trial.value for trial in private.list_all_trials(study)] == [1.0]


def check_served():
    asked = []

    class Served(optuna.Study):
        def get_trials(self, deepcopy=True, states=None):
            asked.append(states)
            return private.list_all_trials(whole)

    private.serve_trials(Served)
    whole = optuna.create_study(sampler=TPESampler(n_startup_trials=0))
    x = FloatDistribution(0, 1)
    whole.add_trial(optuna.trial.create_trial(value=1, params={"x": 0.5}, distributions={"x": x}))
    served = object.__new__(Served)
    served.__dict__.update(whole.__dict__)
    whole.sampler.sample_independent(served, whole.trials[0], "x", x)
    assert asked, "the sampler looked at the trials in another way"


def check_epochs():
    from lightning.pytorch.callbacks import RichProgressBar

    inspect.signature(RichProgressBar._get_train_description).bind(None, 0)
    assert "self._get_train_description(trainer.current_epoch)" in inspect.getsource(RichProgressBar)


def check_store():
    rendezvous = importlib.import_module("torch.distributed.rendezvous")
    with patch.dict(os.environ, private.join_store()):
        assert rendezvous._torchelastic_use_agent_store()


def check_launcher():
    with initialize_config_dir(CONF):
        hydra = compose("config", return_hydra_config=True).hydra
    assert hydra.launcher._target_ == private.BASIC_LAUNCHER
    for plugin in (hydra.launcher._target_, hydra.sweeper._target_):
        assert re.fullmatch(private.CORE_PLUGIN, plugin)
        module, _, name = plugin.rpartition(".")
        assert hasattr(importlib.import_module(module), name)


CHECKS: dict[str, tuple[str, Callable[[], None]]] = {
    "parse_arguments": ("hydra-core", check_arguments),
    "replace_repository": ("hydra-core", check_repository),
    "read_folder": ("hydra-core", check_folder),
    "expand_aliases": ("hydra-core", check_aliases),
    "begin_jobs": ("hydra-core", check_resolvers),
    "run_job": ("hydra-core", check_run_job),
    "copying_quickly": ("omegaconf", check_copies),
    "copy_config": ("omegaconf", check_copies),
    "restore_logging": ("hydra-core", check_logging),
    "read_returned": ("hydra-core", check_returned),
    "construct": ("hydra-core", check_construct),
    "BASIC_LAUNCHER": ("hydra-core", check_launcher),
    "CORE_PLUGIN": ("hydra-core", check_launcher),
    "read_distribution": ("hydra-optuna-sweeper", check_distribution),
    "get_storage": ("optuna", check_storage),
    "get_study_id": ("optuna", check_storage),
    "get_trial_id": ("optuna", check_storage),
    "make_journal_lock": ("optuna", check_journal_lock),
    "suggest": ("optuna", check_suggest),
    "contains": ("optuna", check_contains),
    "list_grid_points": ("optuna", check_grid),
    "pass_search_space": ("optuna", check_search_space),
    "require_parents": ("optuna", check_parents),
    "is_patience_alone": ("optuna", check_patience),
    "settle_resources": ("optuna", check_resources),
    "list_all_trials": ("optuna", check_trials),
    "serve_trials": ("optuna", check_served),
    "describe_epochs": ("lightning", check_epochs),
    "join_store": ("torch", check_store),
}


def read(file: str) -> str:
    return (PACKAGE_DIR / file).read_text(encoding="utf-8")


@cache
def read_trees() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE_DIR.rglob("*.py"))}


@cache
def list_users() -> dict[str, list[str]]:
    """List the files that import each name from `sentiment.private`."""
    users = defaultdict(list)
    for path, tree in read_trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module == "sentiment.private":
                for alias in node.names:
                    users[alias.name].append(path.relative_to(PROJECT_DIR).as_posix())
    return users


@pytest.mark.parametrize("name", CHECKS)
def test_what_is_not_promised_still_holds(name: str):
    package, check = CHECKS[name]
    users = list_users()[name]
    assert users, f"nobody needs {name}: remove it"
    try:
        check()
    except Exception as error:
        reason = f"{package} {version(package)} broke sentiment.private.{name}, which {', '.join(users)} need"
        raise AssertionError(f"{reason}: {type(error).__name__}: {error}") from error


def test_everything_private_has_a_check():
    tree = read_trees()[PACKAGE_DIR / "private.py"]
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    names |= {target.id for node in tree.body if isinstance(node, ast.Assign) for target in node.targets}
    assert names == set(CHECKS)


PROMISED = {"_replace", "_asdict", "_fields", "_make", "_exit"}
"""Names of the standard library that begin with an underscore and are documented."""

FOR_PLUGINS = {"run_job", "configure_log", "setup_globals"}
"""What Hydra documents for its plugins, in `hydra.core.utils`."""


OURS = {"sentiment", "builtins", "typing", "abc", "collections"}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("_") and name not in PROMISED


def find_foreign_private(tree: ast.Module) -> list[str]:
    """List what a file touches of other packages and is private there: imports, attributes, `getattr` by a name."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            names = [module, *(alias.name for alias in node.names)]
            is_own = module.startswith("sentiment") or module == "__future__"
            found += [name for name in names if not is_own and any(map(is_private, name.split(".")))]
            found += [name for name in names if module == "hydra.core.utils" and name in FOR_PLUGINS]
        elif isinstance(node, ast.Attribute) and is_private(node.attr):
            if not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")):
                found.append(ast.unparse(node))
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("getattr", "setattr", "import_module")):
            texts = [one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
            found += [text for text in texts if any(map(is_private, text.split(".")))]
        elif isinstance(node, ast.keyword) and node.arg is not None and re.fullmatch(r"_\w*whitelist_", node.arg):
            found.append(node.arg)
    return found


def test_nothing_else_touches_what_is_private_elsewhere():
    found = {
        path.relative_to(PROJECT_DIR).as_posix(): find_foreign_private(tree) for path, tree in read_trees().items()
    }
    assert {path for path, names in found.items() if names} == {"sentiment/private.py"}, found


def test_private_things_are_found():
    code = "import a._b\nfrom c import _d\nfrom hydra.core.utils import run_job\nx._y\ngetattr(x, '_z')"
    code += "\nself._own\nos._exit(1)"
    assert find_foreign_private(ast.parse(code)) == ["a._b", "_d", "run_job", "x._y", "_z"]


def test_no_class_of_ours_takes_part_in_the_private_affairs_of_its_base():
    """Neither reads what its base keeps for itself nor takes its place."""
    wrong = []
    for path, tree in read_trees().items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.ClassDef) or not (names := list_private(node)):
                continue
            module = ".".join(path.relative_to(PROJECT_DIR).with_suffix("").parts)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of MLflow, about itself
                bases = getattr(importlib.import_module(module), node.name).__mro__[1:]
            foreign = [base for base in bases if base.__module__.partition(".")[0] not in OURS]
            taken = {name for base in foreign for name in vars(base)} & names
            text = "".join(map(inspect.getsource, foreign))
            taken |= {name for name in names if re.search(rf"\bself\.{name}\b", text)}
            wrong += [f"{module}.{node.name}: {name}" for name in sorted(taken)]
    assert wrong == []


def list_private(node: ast.ClassDef) -> set[str]:
    """List the private names that a class with bases defines, writes or reads."""
    if not node.bases:
        return set()
    found = {one.attr for one in ast.walk(node) if isinstance(one, ast.Attribute)}
    found |= {one.name for one in node.body if isinstance(one, ast.FunctionDef)}
    return {name for name in found if is_private(name)}
