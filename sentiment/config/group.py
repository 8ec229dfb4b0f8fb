"""Base classes for the settings of config groups, built-in ones and those of sentiment/extensions/."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

Keep = Literal["head_tail", "head", "tail"]
"""Which part of a review longer than ``data.max_tokens`` is kept."""

Text = Annotated[str, Field(min_length=1)]
"""Text that is not empty."""

Share = Annotated[float, Field(ge=0, lt=1)]
"""A part of a whole, or none of it."""

ProperShare = Annotated[float, Field(gt=0, lt=1)]
"""A part of a whole, of which something is on both sides."""

Seed = Annotated[int, Field(ge=0, lt=2**32)]


def conflict(problem: str, remedy: str) -> PydanticCustomError:
    """Build the error of a rule that spans several keys, in the parts that `sentiment.config.faults` prints.

    The rules are validators of single fields that look at the fields before them, not validators of the whole group:
    pydantic skips the latter when any field is faulty, and then a second attempt would meet the next fault.
    """
    return PydanticCustomError("conflict", "{problem}", {"problem": problem, "remedy": remedy})


class Group(BaseModel):
    """Base of every config group: unknown keys and silent conversions are faults; values never change."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class TokenizerSettings(Group):
    """``data.tokenizer``: how reviews become token ids; trained on the training part only."""

    kind: Literal["word", "bpe"] = Field(description="Whole words, or byte-pair encoding (Sennrich et al. 2016).")
    vocabulary_size: int = Field(ge=16, le=1_000_000, description="Most entries, special tokens included.")
    min_frequency: int = Field(ge=1, le=1_000_000, description="Rarer words or pairs are left out.")
    lowercase: bool = Field(description="Fold case.")

    @field_validator("vocabulary_size")
    @classmethod
    def bytes_fit_the_vocabulary(cls, vocabulary_size: int, info: ValidationInfo) -> int:
        """Byte-pair encoding starts from all bytes and the special tokens."""
        least = 256 + 2
        if info.data.get("kind") == "bpe" and vocabulary_size < least:
            raise conflict(
                f"{vocabulary_size} entries cannot hold the 256 bytes and 2 special tokens that bpe starts from",
                f"set it to {least} or more, or data.tokenizer.kind=word",
            )
        return vocabulary_size


class DataGroup(Group):
    """Keys that every data set has."""

    tokenizer: TokenizerSettings = Field(description="How reviews become token ids.")
    max_tokens: int = Field(ge=2, le=65536, description="Most tokens T of a review that a model sees.")
    keep: Keep = Field(description="Part of a longer review that is kept.")
    head_fraction: ProperShare = Field(description="With keep=head_tail: share of max_tokens kept from the start.")
    batch_size: int = Field(ge=1, le=65536, description="Reviews B in a batch.")
    validation_fraction: ProperShare = Field(description="Stratified share of train held out for validation.")
    split_seed: Seed = Field(description="Seed of the split; apart from `seed`, so that seeds compare.")
    train_limit: int | None = Field(ge=2, description="Use a stratified subset of so many training reviews; null: all.")
    cache_dir: Text = Field(description="Folder of the token cache.")


class TrackingSettings(Group):
    """``tracking=mlflow|tensorboard|both|none``: where runs are recorded."""

    mlflow: bool = Field(description="Record in MLflow.")
    tensorboard: bool = Field(description="Record in TensorBoard.")
    uri: Text = Field(
        description="MLflow tracking URI; where nothing names it, as in all commands that of the environment variable "
        "MLFLOW_TRACKING_URI, else sqlite:///${project_dir:}/mlflow.db."
    )
    artifact_dir: Text = Field(description="Folder of MLflow's artifacts, for a store without a server.")
    tensorboard_dir: Text = Field(description="Folder of TensorBoard's event files.")
    experiment: Text = Field(description="MLflow experiment.")
    log_model: bool = Field(description="Record the trained model in MLflow's own format.")
