"""The model file that MLflow runs when it loads a model ("models from code"): from texts to labels.

It is copied into every logged model beside an archive of this package, and is no place to import from.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

MOST_TEXTS = 10_000
MOST_CHARACTERS = 10_000_000
"""What one request may ask for."""


class RequestError(MlflowException):
    """The asker's mistake. MLflow's server puts the whole request before a message: not before this one."""

    def __setattr__(self, name: str, value: Any) -> None:
        """Keep the message as it was first set."""
        if name != "message" or "message" not in vars(self):
            super().__setattr__(name, value)


class SentimentModel(PythonModel):
    """Predicts with the bundle that lies among the model's artifacts."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load weights and tokenizer, once for all predictions."""
        sys.path.insert(0, context.artifacts["code"])
        from sentiment.models.bundle import Predictor  # from that copy

        self._predictor = Predictor.load(Path(context.artifacts["bundle"]))

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Classify the column ``text`` (N rows): columns ``label`` and ``probability_...`` for each of K classes.

        The answer has the index of its input, by which pandas puts it beside that.
        """
        from sentiment.errors import DataError  # from the copy beside this file

        texts = model_input["text"].tolist()
        _check_texts(texts)
        try:
            predictions = self._predictor.predict(texts)
        except DataError as error:  # a text that is too long
            raise RequestError.invalid_parameter_value(str(error)) from error
        columns = {
            f"probability_{name}": predictions.probabilities[:, index]
            for index, name in enumerate(predictions.class_names)
        }
        return pd.DataFrame({"label": predictions.labels, **columns}, index=model_input.index)


def _check_texts(texts: list[Any]) -> None:
    """Refuse what is no text as the asker's mistake: a server then answers 400, and not 500 with a traceback."""
    if len(texts) > MOST_TEXTS or sum(len(text) for text in texts if isinstance(text, str)) > MOST_CHARACTERS:
        raise RequestError.invalid_parameter_value(
            f"A request takes at most {MOST_TEXTS:,} texts and {MOST_CHARACTERS:,} characters. Send several requests."
        )
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise RequestError.invalid_parameter_value(
                f"Column 'text', row {row}, counted from 0: {text!r:.60} is no text. Fill or drop missing texts."
            )


set_model(SentimentModel())
