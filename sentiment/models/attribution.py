"""Which words decided: the share of every word in a prediction, and where a Transformer looked.

For the networks it is integrated gradients (Sundararajan et al. 2017, "Axiomatic Attribution for Deep Networks"), by
captum, at the token embedding. For the linear classifier the weights themselves say it exactly.

What is explained is the margin: the logit of the class less the mean of the others. With two classes that is the log
odds, log(p / (1 - p)); like the probabilities it does not change when all logits shift, which a single logit does.
Of the linear classifier with more classes it is that of the scores, each the log odds of a class against the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from sentiment.data.tokenizer import UNK_ID, AlignedText
from sentiment.errors import SentimentError
from sentiment.models.bundle import Predictor, check_texts
from sentiment.models.ngram import NgramClassifier
from sentiment.models.transformer import TextClassificationTransformer

TOLERANCE = 0.05
"""Largest part of the margin's change (or of 1, if that is more) that may be missing from the sum of all shares."""

SMALL_BASELINE = 0.2
"""Part of the change of the margin (or of 1, if that is more) from which the margin without a known word is told."""

STEPS = 32
"""Points of the path from the baseline to the text."""

MOST_STEPS = 256

STEPS_AT_ONCE = 32
"""Points of the path that are computed together, which bounds the memory."""


@dataclass(frozen=True)
class Attribution:
    """The share of every word in a prediction."""

    text: str  # the text as it was written
    label: str  # the class that is explained
    probability: float  # its probability
    words: tuple[str, ...]  # the words and marks as written; between them stand blanks (and tags for line breaks)
    spans: tuple[tuple[int, int], ...]  # first character of each word in the text, and the one after its last
    # Share of each word in the margin; positive speaks for the class, negative against it; None where the model did not
    # see the word because it cut the text.
    scores: tuple[float | None, ...]
    baseline: float  # margin of the same text with every word unknown (of no word at all for the linear classifier)
    margin: float  # margin of the text
    delta: float  # sum of all shares less (`margin` - `baseline`): the error of the numerical integration

    @property
    def is_complete(self) -> bool:
        """Whether the shares add up to the change of the margin, within `TOLERANCE`."""
        return _is_complete(self.delta, self.margin - self.baseline)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the shares has to know: that they start far from even odds, or do not add up."""
        notes = () if self.is_complete else (f"shares are inexact: off by {self.delta:+.2f}",)
        if abs(self.baseline) <= SMALL_BASELINE * max(1.0, abs(self.margin - self.baseline)):
            return notes
        start = f"without a known word the margin is {self.baseline:+.2f}, with these {self.margin:+.2f}"
        return (*notes, f"{start}: shares tell the difference only")


class Attention(NamedTuple):
    """Where every head of a Transformer looked."""

    tokens: tuple[str, ...]  # T tokens as the vocabulary spells them, after cutting
    # (depth, H, T, T) attention weights, float32: row i is what token i takes from every token; sums to 1.
    weights: npt.NDArray[np.float32]


@runtime_checkable
class Divisible(Protocol):
    """A network whose parts can be called one by one, as integrating over its embedding asks for."""

    def embed(self, tokens: Tensor) -> Tensor:
        """Embed (B, T) tokens as (B, T, D)."""

    def encode(self, embedded: Tensor, mask: Tensor, /) -> Tensor:
        """Turn (B, T, D) embedded tokens into (B, T, D') states."""

    def classify(self, states: Tensor, mask: Tensor, /) -> Tensor:
        """Return the (B, K) logits of the states."""


class _Shares(NamedTuple):
    """Shares of the (T,) tokens that the model saw, and the margin without and with them."""

    tokens: npt.NDArray[np.float64]
    baseline: float
    margin: float

    @property
    def delta(self) -> float:
        return float(self.tokens.sum()) - (self.margin - self.baseline)

    @property
    def is_complete(self) -> bool:
        return _is_complete(self.delta, self.margin - self.baseline)


def attribute(predictor: Predictor, texts: Sequence[str], *, target: int | None = None) -> list[Attribution]:
    """Return the share of every word in the prediction of each text.

    The baseline is the unknown word at every position: positions and length stay. Its vector starts at zero, and is
    trained by word dropout and by words that the tokenizer does not know. Where there is neither, nothing has taught
    the network to call such a text even, and the shares are measured from what it says of it: `Attribution.notes`.
    Padding never stands where a word stands, and from all zeros, positions too, the integral converged several times
    more slowly (Transformers on IMDB).

    The path from the baseline has `STEPS` points. Where the shares do not add up to the change of the margin
    (`TOLERANCE`), it is walked again with twice as many, up to `MOST_STEPS`. `target` is the index of the class to
    explain; None: the predicted class of each text.

    Raises:
        SentimentError: A network that this cannot explain.
        ValueError: A class that does not exist.
    """
    check_texts(texts)
    classes = len(predictor.class_names)
    if target is not None and not 0 <= target < classes:
        raise ValueError(f"target must be one of the class indices 0 to {classes - 1}, not {target}")
    if hindrance := find_hindrance(predictor, texts):
        raise SentimentError(
            f"{type(predictor.network).__name__} cannot be explained: {hindrance}.",
            "give it these methods, and a forward made of them, as in sentiment/models/recurrent.py",
        )
    return [_attribute_text(predictor, text, target) for text in texts]


def find_hindrance(predictor: Predictor, texts: Sequence[str]) -> str | None:
    """Return why `attribute` cannot explain the answers to texts; None: it can.

    A network of one's own needs but its `forward` to predict, which may be another than that of a network it inherits
    its other methods from.
    """
    network = predictor.network
    if isinstance(network, NgramClassifier):
        return None
    if not isinstance(network, Divisible):
        return "the network has no methods embed, encode and classify"
    for text in texts:
        tokens = _encode(predictor, predictor.tokenizer.align(text))
        mask = torch.ones_like(tokens, dtype=torch.bool)
        with torch.inference_mode():
            answers = network.classify(network.encode(network.embed(tokens), mask), mask), network(tokens, mask)
        parts, whole = (torch.cat([_margin(logits, index) for index in range(logits.shape[1])]) for logits in answers)
        if not torch.allclose(parts, whole, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True):
            return "the network's forward is not classify(encode(embed(tokens), mask), mask)"
    return None


def attend(predictor: Predictor, text: str) -> Attention:
    """Return the attention of every head of a Transformer while it reads a text.

    Raises:
        SentimentError: The model is no Transformer.
    """
    network = predictor.network
    if not isinstance(network, TextClassificationTransformer):
        raise SentimentError(
            f"{type(network).__name__} has no attention to show; choose a run with model=transformer, "
            "or look at the words' shares, which every model has"
        )
    tokens = _encode(predictor, predictor.tokenizer.align(text))
    with torch.inference_mode():
        weights = network.attention_weights(tokens, torch.ones_like(tokens, dtype=torch.bool))
    stacked = torch.cat(weights).float().cpu().numpy()  # (depth, H, T, T)
    return Attention(tuple(predictor.tokenizer.tokens(tokens[0].cpu().numpy())), stacked)


def _attribute_text(predictor: Predictor, text: str, target: int | None) -> Attribution:
    aligned = predictor.tokenizer.align(text)
    kept = predictor.cut.cut_ids(np.arange(len(aligned.ids)))
    network, tokens = predictor.network, _encode(predictor, aligned)  # (1, T)
    with torch.inference_mode():
        probabilities = network(tokens, torch.ones_like(tokens, dtype=torch.bool)).float().softmax(dim=-1)[0]  # (K,)
    chosen = int(probabilities.argmax()) if target is None else target
    shares = _share(network, tokens, chosen)
    spans, scores = _gather_words(aligned, kept, shares.tokens)
    return Attribution(
        text=text,
        label=predictor.class_names[chosen],
        probability=float(probabilities[chosen]),
        words=tuple(text[start:end] for start, end in spans),
        spans=spans,
        scores=scores,
        baseline=shares.baseline,
        margin=shares.margin,
        delta=shares.delta,
    )


def _share(network: nn.Module, tokens: Tensor, target: int) -> _Shares:
    if isinstance(network, NgramClassifier):
        return _share_weights(network, tokens, target)
    assert isinstance(network, Divisible), "what has no such methods is refused before"
    steps = STEPS
    best = _integrate(network, tokens, target, steps)
    while not best.is_complete and 2 * steps <= MOST_STEPS:
        steps *= 2  # more points need not be nearer where the path crosses a sharp edge: the best walk counts
        best = min(best, _integrate(network, tokens, target, steps), key=lambda shares: abs(shares.delta))
    return best


def _integrate(network: Divisible, tokens: Tensor, target: int, steps: int) -> _Shares:
    """Integrate the margin's gradient along the line from the baseline's vectors to the text's."""
    from captum.attr import IntegratedGradients  # takes a second

    mask = torch.ones_like(tokens, dtype=torch.bool)  # (1, T)

    def margin(embedded: Tensor, mask: Tensor) -> Tensor:
        return _margin(network.classify(network.encode(embedded, mask), mask), target)  # (B,)

    with torch.no_grad():
        embedded = network.embed(tokens)  # (1, T, D)
        baseline = network.embed(torch.full_like(tokens, UNK_ID))
        ends = margin(baseline, mask), margin(embedded, mask)
    # cuDNN's recurrent cells have no backward pass outside training; torch's own have.
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        shares = IntegratedGradients(margin).attribute(
            embedded,
            baseline,
            additional_forward_args=(mask,),
            n_steps=steps,
            internal_batch_size=STEPS_AT_ONCE,
        )
    # Widened on the CPU: an Apple GPU has no double precision.
    return _Shares(shares.sum(dim=-1)[0].cpu().double().numpy(), float(ends[0]), float(ends[1]))


def _share_weights(network: NgramClassifier, tokens: Tensor, target: int) -> _Shares:
    """Take the words' parts of the score, which are exact; the baseline is a review without a known n-gram."""
    mask = torch.ones_like(tokens, dtype=torch.bool)
    with torch.inference_mode():
        parts = network.share_out(tokens[0])  # (T, O)
        scores = torch.cat([parts, network.bias.unsqueeze(0), network.score(tokens, mask)])  # (T + 2, O)
        signed = torch.cat([-scores / 2, scores / 2], dim=1) if network.classes == 2 else scores  # (T + 2, K)
        margins = _margin(signed, target).cpu().double().numpy()
    return _Shares(margins[:-2], float(margins[-2]), float(margins[-1]))


def _is_complete(delta: float, change: float) -> bool:
    return abs(delta) <= TOLERANCE * max(1.0, abs(change))


def _margin(logits: Tensor, target: int) -> Tensor:
    """Return the target's logit less the mean of the others, (B,), of (B, K) logits."""
    classes = logits.shape[1]
    mine = logits[:, target]
    return mine - (logits.sum(dim=1) - mine) / max(classes - 1, 1)


def _encode(predictor: Predictor, aligned: AlignedText) -> Tensor:
    """Return the (1, T) tokens of a text that the network sees."""
    kept = predictor.cut.cut_ids(aligned.ids)
    return torch.from_numpy(kept).unsqueeze(0).to(next(predictor.network.parameters()).device)


def _gather_words(
    aligned: AlignedText, kept: npt.NDArray[np.integer], shares: npt.NDArray[np.float64]
) -> tuple[tuple[tuple[int, int], ...], tuple[float | None, ...]]:
    """Add up the shares of the tokens of each word; None for a word of which no token was kept."""
    by_token = dict(zip(kept.tolist(), shares.tolist(), strict=True))
    spans: dict[int, tuple[int, int]] = {}
    scores: dict[int, float | None] = {}
    for position, word in enumerate(aligned.words.tolist()):
        if word < 0:
            continue
        start, end = aligned.spans[position].tolist()
        first, last = spans.get(word, (start, end))
        spans[word] = (min(first, start), max(last, end))
        share, earlier = by_token.get(position), scores.get(word)
        scores[word] = earlier if share is None else share + (earlier or 0.0)
    return tuple(spans.values()), tuple(scores.values())
