"""Typed settings behind every config group.

The YAML files under ``conf/`` hold the values, these classes hold the rules: names, types and ranges.
`Settings` is what the rest of the package sees; no `DictConfig` travels past `sentiment.config`. pydantic
does the checking because it reports every fault of a configuration together, not the first one only.

Naming follows the exercise (ETH Zurich, Deep Learning, series 10) and PyTorch.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Discriminator, Field, Tag, ValidationInfo, field_validator

from sentiment.config.extension import load_extensions
from sentiment.config.group import DataGroup, Group, ProperShare, Seed, Share, Text, TrackingSettings, conflict
from sentiment.config.objective import (
    SELECTING,
    Direction,
    find_directions,
    list_measured,
    list_objectives,
    select_objective,
)
from sentiment.config.option import built_in, find_option, join_choices


class _LabelLoader(yaml.BaseLoader):  # type: ignore[misc]  # the library has no types
    """Reads YAML in which all but null is text, as labels are: ``no`` is no boolean; and no key stands there twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Read a mapping."""
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        if len(mapping) < len(node.value):
            raise yaml.constructor.ConstructorError(problem="found duplicate key", problem_mark=node.start_mark)
        return mapping


_LabelLoader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile("null|~"), ["n", "~"])
_LabelLoader.add_constructor("tag:yaml.org,2002:null", lambda loader, node: None)


def _read_mapping(value: object) -> object:
    """Read a mapping that was given as text, which holds what Hydra's own form takes in no key: ``Très bon!``."""
    if not isinstance(value, str):
        return value
    try:
        return yaml.load(value, _LabelLoader)
    except yaml.YAMLError as error:
        problem = f"cannot be read as a mapping: {' '.join(str(error).split())}"
        raise conflict(problem, "write {LABEL: CLASS, ...}; labels with , : or # stand in quotes") from error


Column = Annotated[Text, BeforeValidator(lambda value: str(value) if type(value) is int else value, Text | int)]
"""A column's name, or its number from 1, which may be typed without quotation marks."""

Pooling = Literal["mean", "max", "mean_max", "attention", "mean_max_attention"]
"""How (B, T, D) token states become one (B, D), (B, 2D) or (B, 3D) review vector; padding never takes part."""


class PhraseGroup(Group):
    """Keys of every network that can look at neighbouring words before it reads the review; null: it does not."""

    convolution_width: int | None = Field(
        default=None, ge=1, le=99, description="Neighbouring words that a residual convolution sees; null: none."
    )
    naive_bayes_ngrams: int | None = Field(
        default=None, ge=1, le=3, description="Longest n-grams whose naive-Bayes ratios join the words; null: none."
    )

    @field_validator("convolution_width")
    @classmethod
    def convolutions_have_a_middle(cls, convolution_width: int | None) -> int | None:
        """A filter is centred on its word."""
        if convolution_width is not None and convolution_width % 2 == 0:
            raise conflict(f"{convolution_width} is even, and a filter has a word in its middle", "set it to 3 or 5")
        return convolution_width


@built_in("model", "sentiment.models.transformer:TextClassificationTransformer")
class TransformerSettings(PhraseGroup):
    """``model=transformer``: token + position embedding, post- or pre-norm blocks, pooling, linear head."""

    name: Literal["transformer"]
    embedding_size: int = Field(ge=1, le=16384, description="Width D of embeddings and blocks.")
    head_form: Literal["narrow", "wide"] = Field(
        description="narrow: every head D/H wide (Vaswani et al. 2017); wide: every head D wide (the exercise)."
    )
    heads: int = Field(ge=1, le=1024, description="Attention heads H of every block.")
    depth: int = Field(ge=1, le=256, description="Number of Transformer blocks.")
    feedforward_ratio: float = Field(gt=0, le=64, description="Hidden width of the feed-forward part, in units of D.")
    norm: Literal["post", "pre"] = Field(description="Layer norm after (the exercise's figure) or before each part.")
    activation: Literal["relu", "gelu"] = Field(description="Non-linearity of the feed-forward part.")
    positions: Literal["learned", "sinusoidal", "rotary"] = Field(
        description="Position embedding that is added; rotary: queries and keys are turned by their positions."
    )
    pooling: Pooling = Field(description="Pooling over the real tokens.")
    dropout: Share = Field(description="Dropout after embedding, attention and feed-forward.")
    word_dropout: Share = Field(description="Share of tokens replaced by the unknown token in training.")

    @field_validator("heads")
    @classmethod
    def heads_divide_the_width(cls, heads: int, info: ValidationInfo) -> int:
        """Narrow heads share the width out evenly, so H must divide D."""
        width = info.data.get("embedding_size")
        if width and info.data.get("head_form") == "narrow" and width % heads:
            divisors = [h for h in range(1, 65) if width % h == 0]
            raise conflict(
                f"{heads} narrow heads do not divide embedding_size={width}",
                f"take one of {divisors}, or model.head_form=wide, where every head is embedding_size wide",
            )
        return heads

    @field_validator("positions")
    @classmethod
    def rotary_heads_have_pairs(cls, positions: str, info: ValidationInfo) -> str:
        """Rotary positions turn pairs of a head's features, so a head is 2 wide or more."""
        width, heads = info.data.get("embedding_size"), info.data.get("heads")
        sharing = heads if info.data.get("head_form") == "narrow" else 1
        if positions == "rotary" and width and sharing and width // sharing < 2:
            remedy = "take fewer heads" if width > 1 else "take a larger model.embedding_size"
            raise conflict("rotary, and every head is 1 wide: there is no pair to turn", remedy)
        return positions


@built_in("model", "sentiment.models.recurrent:TextClassificationRNN")
class RNNSettings(PhraseGroup):
    """``model=rnn``: embedding, LSTM or GRU layers in one or two directions, pooling, linear head."""

    name: Literal["rnn"]
    cell: Literal["lstm", "gru"] = Field(description="Recurrent cell.")
    embedding_size: int = Field(ge=1, le=16384, description="Width of the token embedding.")
    hidden_size: int = Field(ge=1, le=16384, description="Width of the state, per direction.")
    depth: int = Field(ge=1, le=64, description="Number of recurrent layers.")
    bidirectional: bool = Field(description="Read the review in both directions.")
    pooling: Literal["mean", "max", "mean_max", "attention", "mean_max_attention", "last"] = Field(
        description="Pooling over the real tokens; last takes the last real state of each direction."
    )
    dropout: Share = Field(description="Dropout on the embedding, between layers and before the head.")
    word_dropout: Share = Field(description="Share of tokens replaced by the unknown token in training.")


@built_in("model", "sentiment.models.ngram:NgramClassifier", fitter="sentiment.training.linear:train_and_test_linear")
class NgramSettings(Group):
    """``model=ngram``: a linear classifier on naive-Bayes-weighted word n-grams (Wang & Manning 2012).

    It reads whole reviews and has neither epochs nor learning rate: ``data.max_tokens``, ``optimizer``, ``scheduler``
    and most of ``trainer`` are no matter to it; several devices, teachers and ``trainer.init_from`` are refused.
    """

    name: Literal["ngram"]
    max_n: int = Field(ge=1, le=3, description="Longest n-grams, in words; all shorter ones count too.")
    min_frequency: int = Field(ge=1, le=1_000_000, description="N-grams in fewer training reviews are left out.")
    keep_unknown: bool = Field(description="Whether n-grams with a word outside the tokenizer's vocabulary count.")
    classifier: Literal["logistic", "svm"] = Field(
        description="Logistic regression, or a support vector machine calibrated on training folds (Platt 1999)."
    )
    cost: float = Field(gt=0, le=1e6, description="Cost C of a training error: a smaller one regularises more.")
    smoothing: float = Field(gt=0, le=1e6, description="Added to every count in the naive-Bayes ratio, alpha.")
    interpolation: float = Field(
        ge=0, le=1, description="Share of the fitted weights, the rest being naive Bayes; beta in the paper."
    )


class AdamWSettings(Group):
    """``optimizer=adamw``: Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""

    name: Literal["adamw"]
    lr: float = Field(gt=0, le=10, description="Peak learning rate.")
    weight_decay: float = Field(ge=0, le=10, description="Decay of matrices; biases, norms and embeddings have none.")
    beta1: Share = Field(description="Decay of the gradient's running mean.")
    beta2: Share = Field(description="Decay of the squared gradient's running mean.")
    embedding_decay: float | None = Field(
        default=None,
        ge=0,
        le=10,
        description="Decay of embeddings, of learned positions too, which shrinks rare words most; null: none.",
    )


class AdamSettings(Group):
    """``optimizer=adam``: Adam (Kingma & Ba 2015)."""

    name: Literal["adam"]
    lr: float = Field(gt=0, le=10, description="Peak learning rate.")
    beta1: Share = Field(description="Decay of the gradient's running mean.")
    beta2: Share = Field(description="Decay of the squared gradient's running mean.")


class SGDSettings(Group):
    """``optimizer=sgd``: stochastic gradient descent with momentum."""

    name: Literal["sgd"]
    lr: float = Field(gt=0, le=1000, description="Peak learning rate.")
    weight_decay: float = Field(ge=0, le=10, description="L2 penalty on matrices.")
    momentum: Share = Field(description="Momentum.")
    nesterov: bool = Field(description="Nesterov's variant of momentum.")

    @field_validator("nesterov")
    @classmethod
    def nesterov_needs_momentum(cls, nesterov: bool, info: ValidationInfo) -> bool:
        """Nesterov's step looks ahead along the momentum, so there must be some."""
        if nesterov and info.data.get("momentum") == 0:
            raise conflict("true, with momentum=0", "set optimizer.momentum=0.9 or optimizer.nesterov=false")
        return nesterov


OptimizerSettings = Annotated[AdamWSettings | AdamSettings | SGDSettings, Field(discriminator="name")]


class WarmupCosineSettings(Group):
    """``scheduler=warmup_cosine``: linear rise to the peak, then half a cosine down."""

    name: Literal["warmup_cosine"]
    warmup_fraction: Share = Field(description="Share of all steps spent on the linear rise.")
    final_fraction: float = Field(ge=0, le=1, description="Last learning rate, as a share of the peak.")


class WarmupLinearSettings(Group):
    """``scheduler=warmup_linear``: linear rise to the peak, then a line down."""

    name: Literal["warmup_linear"]
    warmup_fraction: Share = Field(description="Share of all steps spent on the linear rise.")
    final_fraction: float = Field(ge=0, le=1, description="Last learning rate, as a share of the peak.")


class ConstantSettings(Group):
    """``scheduler=constant``: linear rise to the peak (none by default), then constant."""

    name: Literal["constant"]
    warmup_fraction: Share = Field(description="Share of all steps spent on the linear rise.")


SchedulerSettings = Annotated[
    WarmupCosineSettings | WarmupLinearSettings | ConstantSettings, Field(discriminator="name")
]


@built_in("data", "sentiment.data.synthetic:SyntheticSource")
class SyntheticDataSettings(DataGroup):
    """``data=synthetic``: generated reviews whose label depends on word order."""

    name: Literal["synthetic"]
    train_size: int = Field(ge=20, le=10_000_000, description="Reviews generated for training and validation.")
    test_size: int = Field(ge=10, le=10_000_000, description="Reviews generated for the test split.")
    min_sentences: int = Field(ge=1, le=200, description="Fewest sentences in a review.")
    max_sentences: int = Field(ge=1, le=200, description="Most sentences in a review.")
    difficulty: float = Field(ge=0, le=1, description="Share of opinions whose polarity depends on word order.")
    label_noise: float = Field(ge=0, lt=0.5, description="Share of labels flipped: the best accuracy is 1 minus it.")
    generator_seed: Seed = Field(description="Seed of the generator.")
    unlabelled_size: int | None = Field(
        default=None,
        ge=1,
        le=10_000_000,
        description="Reviews without a label, for `pretrain` and teachers; null: none.",
    )

    @field_validator("max_sentences")
    @classmethod
    def sentences_are_ordered(cls, max_sentences: int, info: ValidationInfo) -> int:
        """A range of lengths needs its ends in order."""
        least = info.data.get("min_sentences", 1)
        if max_sentences < least:
            raise conflict(f"{max_sentences} is less than min_sentences={least}", f"set it to at least {least}")
        return max_sentences


@built_in("data", "sentiment.data.imdb:ImdbSource")
class ImdbDataSettings(DataGroup):
    """``data=imdb``: the Large Movie Review Dataset (Maas et al. 2011), from the Hub or a local folder."""

    name: Literal["imdb"]
    path: Text | None = Field(description="Local folder: Parquet as on the Hub, or aclImdb/; null: the Hub.")
    repository: Text = Field(description="Data set on the Hugging Face Hub.")
    revision: str = Field(pattern="^[0-9a-f]{40}$", description="Pinned commit on the Hub, 40 hexadecimal digits.")


class LabelledDataGroup(DataGroup):
    """Keys of every data set of one's own."""

    test_fraction: ProperShare = Field(description="Without test reviews: stratified share held out for the test.")
    text_column: Column = Field(description="Column of the text: its name, or its number from 1.")
    label_column: Column = Field(description="Column of the label: its name, or its number from 1.")
    labels: list[str] | None = Field(min_length=2, description="Class names in order; null: those of train, sorted.")
    label_map: Annotated[
        dict[str | int | float | bool, str | int | float | bool | None] | None, BeforeValidator(_read_mapping)
    ] = Field(
        default=None,
        description="Class that a label stands for, `{Good: good, -1: null}`; null leaves its rows out. In quotes, "
        '`"{Très bon!: good}"`, labels may hold any sign.',
    )
    on_bad_row: Literal["error", "skip"] = Field(
        description="Bad rows stop the run, or are counted, logged and left out."
    )


@built_in("data", "sentiment.data.hub:HubSource")
class HubDataSettings(LabelledDataGroup):
    """``data=hub``: a data set of the Hugging Face Hub, by name and commit."""

    name: Literal["hub"]
    repository: Text = Field(description="Data set on the Hub, e.g. `cornell-movie-review-data/rotten_tomatoes`.")
    revision: str = Field(pattern="^[0-9a-f]{40}$", description="Pinned commit on the Hub, 40 hexadecimal digits.")
    subset: Text | None = Field(description="One of its configurations, e.g. `sst2`; null: its default.")
    train_split: Text = Field(description="Split to learn from, as `load_dataset` takes it.")
    validation_split: Text | None = Field(description="Validation split; null: a part of train.")
    test_split: Text | None = Field(description="Test split; null: a part of train.")


@built_in("data", "sentiment.data.files.source:FilesSource")
class FilesDataSettings(LabelledDataGroup):
    """``data=files``: your own files in columns, JSON, Parquet or one text per line, packed or not."""

    name: Literal["files"]
    path: Text = Field(description="Training file; also a pattern (reviews/*.csv), or a folder.")
    validation_path: Text | None = Field(description="Validation file; null: a part of the training file.")
    test_path: Text | None = Field(description="Test file; null: a part of the training file.")
    label_path: Text | None = Field(
        default=None, description="With one text per line in path: file with one label per line."
    )
    validation_label_path: Text | None = Field(default=None, description="The same for validation_path.")
    test_label_path: Text | None = Field(default=None, description="The same for test_path.")
    unlabelled_path: Text | None = Field(
        default=None,
        description="Reviews for `pretrain` and teachers, of whose file the text alone is read; null: none.",
    )
    format: Literal["csv", "json", "parquet", "fasttext", "lines"] | None = Field(
        default=None, description="Kind of file; null: by its ending. csv: any text in columns."
    )
    delimiter: Text | None = Field(
        default=None, description="Between columns: comma, tab, semicolon, pipe or one character; null: detected."
    )
    quoting: Literal["double", "none"] | None = Field(
        default=None, description='double: fields may stand in "..."; none: such marks are text; null: detected.'
    )
    encoding: Text | None = Field(default=None, description="utf-8, cp1252, ...; null: detected.")
    header: bool | None = Field(
        default=None, description="Whether the first line of a csv names the columns; null: detected."
    )

    @field_validator("delimiter")
    @classmethod
    def delimiter_is_one_character(cls, delimiter: str | None) -> str | None:
        """A delimiter is one character, or the name of a usual one."""
        if delimiter is not None and len(delimiter) > 1 and delimiter not in ("comma", "tab", "semicolon", "pipe"):
            raise conflict(
                f"{delimiter!r} is not one character", "set it to comma, tab, semicolon, pipe or one character"
            )
        return delimiter


class PretrainGroup(Group):
    """Keys of every way to learn words before classes."""

    max_epochs: int = Field(ge=1, le=100_000, description="Passes over the texts.")
    lr: float = Field(gt=0, le=10, description="Peak learning rate, of AdamW with warm-up and a cosine.")
    batch_size: int = Field(ge=1, le=65536, description="Pieces of reviews in a batch.")
    max_tokens: int = Field(
        ge=2,
        le=65536,
        description="Longest piece; longer reviews are read in several. With `positions=learned` at most "
        "data.max_tokens.",
    )
    cutoffs: list[int] = Field(
        min_length=1,
        description="Ranks by frequency at which the adaptive softmax (Grave et al. 2017) begins a cluster of rarer "
        "words; those beyond the vocabulary are left out.",
    )
    held_out_fraction: ProperShare = Field(description="Share of the texts that the learning curve is measured on.")
    seed: Seed = Field(description="Its own seed, so that runs of any `seed` share one training.")
    cache_dir: Text = Field(description="Folder of what was learned.")

    @field_validator("cutoffs")
    @classmethod
    def cutoffs_rise(cls, cutoffs: list[int]) -> list[int]:
        """Ranks are positive and rise."""
        if cutoffs != sorted(set(cutoffs)) or cutoffs[0] < 1:
            raise conflict(f"{cutoffs} are no rising ranks", "name them from the smallest, e.g. [1000,5000]")
        return cutoffs


@built_in("pretrain", "sentiment.pretraining.objectives:MaskedWords")
class MaskedWordsSettings(PretrainGroup):
    """``pretrain=mlm``: a Transformer learns to fill in masked words (Devlin et al. 2019), then classifies."""

    name: Literal["mlm"]
    mask_fraction: ProperShare = Field(description="Share of the words to fill in.")


@built_in("pretrain", "sentiment.pretraining.objectives:NextWords")
class NextWordsSettings(PretrainGroup):
    """``pretrain=lm``: an RNN learns each direction's next word (Peters et al. 2018), then classifies.

    The words' vectors and the first recurrent layer learn; the convolution and further layers would show a cell the
    word that it predicts, and start fresh.
    """

    name: Literal["lm"]


load_extensions()  # here: they build on the classes above, and take part in the choices below

if TYPE_CHECKING:  # a type checker runs no code, and knows the built-in ones
    ModelSettings = Annotated[TransformerSettings | RNNSettings | NgramSettings, Field(discriminator="name")]
    DataSettings = Annotated[
        SyntheticDataSettings | ImdbDataSettings | HubDataSettings | FilesDataSettings, Field(discriminator="name")
    ]
    PretrainSettings = Annotated[MaskedWordsSettings | NextWordsSettings, Field(discriminator="name")]
    AnyTrackingSettings = TrackingSettings
    Objective = str
else:
    ModelSettings = join_choices("model")
    DataSettings = join_choices("data")
    PretrainSettings = join_choices("pretrain")
    AnyTrackingSettings = join_choices("tracking", unnamed=TrackingSettings)
    Objective = Literal[list_measured()]


class TrainerSettings(Group):
    """``trainer=auto|cpu|gpu``: how a run is trained."""

    accelerator: Literal["auto", "cpu", "gpu"] = Field(
        description="auto takes a CUDA GPU where there is one, else the CPU; gpu also takes that of a Mac."
    )
    devices: int = Field(
        default=1, ge=1, le=1024, description="Devices of one run, on each node: every batch is shared out among them."
    )
    nodes: int = Field(default=1, ge=1, le=1024, description="Nodes of one run, in an allocation of Slurm.")
    precision: Literal["32-true", "16-mixed", "bf16-mixed"] = Field(
        description="Lightning's name of the precision of a run and its figures; the trained model answers in 32 bits."
    )
    max_epochs: int = Field(ge=1, le=100_000, description="Passes over the training reviews at most.")
    validations_per_epoch: int = Field(ge=1, le=1000, description="Validations spread evenly over an epoch.")
    patience: int | None = Field(
        ge=1, description="Stop after so many validations without a better objective; null: never."
    )
    gradient_clip_norm: float | None = Field(gt=0, description="Largest norm of the gradient; null: no clipping.")
    label_smoothing: Share = Field(description="Label smoothing of the cross-entropy in training.")
    weight_averaging: ProperShare | None = Field(
        description="Decay of a moving average of the weights, after its first steps, which is evaluated; null: none."
    )
    deterministic: bool = Field(description="Deterministic algorithms only.")
    threads: int | None = Field(ge=1, le=1024, description="CPU threads of torch; null: torch's default.")
    log_every_n_steps: int = Field(ge=1, description="Steps between two records of train/loss.")
    progress_bar: Literal["auto", "on", "off"] = Field(description="auto: on where the output is a terminal.")
    resume: bool | Literal["keep"] = Field(
        description="Go on from the last whole epoch of an interrupted run of the same settings; keep: also keep what "
        "it goes on from when it ends, so that a larger max_epochs in the same folder trains on."
    )
    test: bool = Field(description="Evaluate the selected checkpoint on the test split at the end; false in a search.")
    debug: Literal["fast", "overfit", "profile", "nans"] | None = Field(
        default=None, description="Try a run before it is trained; set by debug=fast and its like."
    )
    init_from: Text | None = Field(
        default=None,
        description="Start from weights and tokenizer of a trained model: a run, bundle, checkpoint or registered "
        "model (`models:/NAME@champion`); null: from fresh weights.",
    )
    teachers: list[str] | None = Field(
        default=None,
        min_length=1,
        description="Trained models, each named as for `init_from`; their mean answer to each review without a label "
        "is learned beside the labels of the others; null: labels alone.",
    )

    @property
    def replicas(self) -> int:
        """Replicas of the network that train together, one on each device of each node."""
        return self.devices * self.nodes


OneOrSeveral = Annotated[
    Annotated[Objective, Tag("one")] | Annotated[list[Objective], Field(min_length=1), Tag("several")],
    Discriminator(lambda objective: "several" if isinstance(objective, list) else "one"),
]
"""A name or a list of names; the tags keep a fault of one form from being reported for the other form too."""


class Settings(Group):
    """Everything that determines a run."""

    model: ModelSettings = Field(description="What classifies the reviews.")
    optimizer: OptimizerSettings = Field(description="How a step changes the weights of a network.")
    scheduler: SchedulerSettings = Field(description="How the learning rate goes over the steps of a run.")
    data: DataSettings = Field(description="Which reviews, how they are split, and how they become token ids.")
    trainer: TrainerSettings = Field(description="How a run is trained: device, precision, length, validation, test.")
    pretrain: PretrainSettings | None = Field(
        default=None, description="What the network learns from reviews without labels before it classifies."
    )
    tracking: AnyTrackingSettings = Field(description="Where runs are recorded.")
    seed: Seed = Field(description="Seed of weights, batches and dropout.")
    objective: OneOrSeveral = Field(
        description="Metric that selects the checkpoint and ranks a sweep, or a list: the first val/ metric selects."
    )

    @field_validator("objective")
    @classmethod
    def one_is_measured_on_validation(cls, objective: str | list[str]) -> str | list[str]:
        """One is a `val/` metric, which selects the checkpoint, and each stands there once."""
        names = list_objectives(objective)
        doubled = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        if doubled:
            raise conflict(f"{', '.join(doubled)} stands there twice", "name each objective once")
        if not any(name.startswith(SELECTING) for name in names):
            raise conflict(
                f"{', '.join(names)} cannot select a checkpoint",
                f"name a val/ metric beside it: objective=[val/accuracy,{','.join(names)}]",
            )
        return objective

    @field_validator("trainer")
    @classmethod
    def debugging_needs_steps(cls, trainer: TrainerSettings, info: ValidationInfo) -> TrainerSettings:
        """A model that is fitted in one go has no steps to look at, but can be tried."""
        model = info.data.get("model")
        if trainer.debug not in (None, "fast") and model is not None and find_option(model).fitter:
            raise conflict(
                f"debug={trainer.debug} looks at training steps, and model={model.name} has none", "debug=fast"
            )
        if trainer.debug == "nans" and trainer.precision == "16-mixed":
            raise conflict(
                "precision=16-mixed finds its scale by infinite gradients, and debug=nans stops at them",
                "trainer.precision=bf16-mixed or 32-true",
            )
        if trainer.debug == "overfit" and trainer.label_smoothing:
            raise conflict(
                f"label_smoothing={trainer.label_smoothing}, but debug=overfit waits for a loss of all but 0, which "
                "smoothed labels do not let come",
                "leave it at 0",
            )
        if trainer.init_from is not None and model is not None and find_option(model).fitter:
            raise conflict(f"init_from={trainer.init_from}, but model={model.name} is fitted in one go", "leave it out")
        return trainer

    @field_validator("trainer")
    @classmethod
    def teachers_have_something_to_answer(cls, trainer: TrainerSettings, info: ValidationInfo) -> TrainerSettings:
        """Teachers answer reviews without labels, for a network that learns probabilities."""
        model, data = info.data.get("model"), info.data.get("data")
        if trainer.teachers is None:
            return trainer
        if model is not None and find_option(model).fitter:
            problem = f"teachers={trainer.teachers}, but model={model.name} is fitted in one go, to labels"
            raise conflict(problem, "leave them out; it can be a teacher itself")
        if len(set(trainer.teachers)) < len(trainer.teachers):
            raise conflict(f"teachers={trainer.teachers} names one twice, and each counts once", "name each once")
        if trainer.debug == "overfit":
            raise conflict("teachers, but debug=overfit learns a few labels by heart", "leave one of the two out")
        keys = [key for key in ("unlabelled_path", "unlabelled_size") if hasattr(data, key)]
        if keys and all(getattr(data, key) is None for key in keys):
            raise conflict(
                f"teachers={trainer.teachers} answer reviews without labels, and there are none",
                f"set data.{keys[0]}, or leave them out",
            )
        return trainer

    @field_validator("trainer")
    @classmethod
    def devices_share_the_work(cls, trainer: TrainerSettings, info: ValidationInfo) -> TrainerSettings:
        """Each of several devices needs a share of every batch, and what looks at a step has to see all of it."""
        model, data, count = info.data.get("model"), info.data.get("data"), trainer.replicas
        if count == 1:
            return trainer
        if model is not None and find_option(model).fitter:
            raise conflict(
                f"{count} devices, but model={model.name} is fitted in one go, on one",
                "leave trainer.devices and trainer.nodes at 1",
            )
        if data is not None and data.batch_size < count:
            raise conflict(
                f"{count} devices cannot share a batch of {data.batch_size} reviews",
                f"set data.batch_size={count} or more, or fewer devices",
            )
        if trainer.debug not in (None, "fast"):
            raise conflict(
                f"debug={trainer.debug} looks at the steps of one device, and there are {count}",
                "leave trainer.devices and trainer.nodes at 1, or take debug=fast",
            )
        return trainer

    @field_validator("pretrain")
    @classmethod
    def words_suit_the_network(cls, pretrain: PretrainSettings | None, info: ValidationInfo) -> PretrainSettings | None:
        """A Transformer learns masked words, an RNN next words; neither with `trainer.init_from`."""
        model, trainer = info.data.get("model"), info.data.get("trainer")
        fitting = {"transformer": "mlm", "rnn": "lm"}
        if pretrain is not None and model is not None and fitting.get(model.name) != pretrain.name:
            suited = next(name for name, option in fitting.items() if option == pretrain.name)
            other = f", or pretrain={fitting[model.name]}" if model.name in fitting else ", or leave pretrain out"
            raise conflict(f"{pretrain.name} is for model={suited}, not for {model.name}", f"model={suited}{other}")
        if pretrain is not None and trainer is not None and trainer.init_from is not None:
            raise conflict(
                f"{pretrain.name}, with trainer.init_from={trainer.init_from}: the weights can start from one of them",
                "leave one of the two out",
            )
        return pretrain

    @property
    def objectives(self) -> tuple[str, ...]:
        """Metrics that a run returns to a sweeper, in order; the first one ranks."""
        return list_objectives(self.objective)

    @property
    def directions(self) -> tuple[Direction, ...]:
        """Which way each objective is better."""
        return tuple(find_directions(self.objective))

    @property
    def selection(self) -> str:
        """The objective that selects the checkpoint: the first one on validation."""
        return select_objective(self.objective)
