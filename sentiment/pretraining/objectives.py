"""What a network can learn from text alone: to fill in masked words, or to tell the next one in each direction.

Shapes: B pieces in a batch, T tokens, D width of a state, V words of the vocabulary, N predicted words.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sentiment.config.schema import OptimizerSettings, SchedulerSettings
from sentiment.data.batching import Batch
from sentiment.data.tokenizer import UNK_ID
from sentiment.models.recurrent import RecurrentLayer, TextClassificationRNN
from sentiment.models.transformer import TextClassificationTransformer
from sentiment.training.module import NetworkModule

MASK_ID = UNK_ID
"""What stands for a masked word: the unknown word, whose vector word dropout uses too. No tokenizer has another id to
spare, and none of the trained ones may change."""

MASKED, REPLACED = 0.8, 0.1
"""Shares of the words to fill in that are masked, and that another word stands for; the others stay (Devlin et al.
2019, section 3.1)."""

CLASSIFYING = ("pooling.", "head.")
"""Parts of a network that come after its states: they learn nothing here."""


class WordSoftmax(nn.Module):
    """Adaptive softmax (Grave et al. 2017): rare words share a few places among the frequent ones, at less width.

    Words are ranked by their counts in the texts themselves: tokenizers sort whole words by frequency, but not the
    pieces of byte-pair encoding.

    Args:
        width: Width D of a state.
        counts: V numbers, how often each id stands in the texts.
        cutoffs: Ranks at which clusters begin; those beyond the vocabulary are left out.
    """

    rank: Tensor

    def __init__(self, width: int, counts: Sequence[int], cutoffs: Sequence[int]) -> None:
        super().__init__()
        order = sorted(range(len(counts)), key=lambda word: (word <= UNK_ID, -counts[word], word))  # not words: last
        rank = torch.empty(len(counts), dtype=torch.int64)
        rank[torch.tensor(order)] = torch.arange(len(counts))
        self.register_buffer("rank", rank)
        kept = [cutoff for cutoff in cutoffs if cutoff < len(counts)] or [len(counts) - 1]
        narrowest = 0.999 * width ** (1 / len(kept))  # the last cluster keeps a width of 1
        self.softmax = nn.AdaptiveLogSoftmaxWithLoss(width, len(counts), kept, div_value=min(2.0, narrowest))

    def forward(self, states: Tensor, words: Tensor) -> Tensor:
        """Return the mean negative log-likelihood of (N,) words, given the (N, D) states that predict them."""
        if not len(words):  # nothing to predict, e.g. in pieces of one word
            return states.sum() * 0.0
        with torch.autocast(states.device.type, enabled=False):
            loss: Tensor = self.softmax(states.float(), self.rank[words]).loss
        return loss


class MaskedWords(nn.Module):
    """A Transformer fills in masked words (Devlin et al. 2019, "BERT"), of which alone logits are computed.

    Of the words of a piece, `mask_fraction` are drawn; 80 % of those are masked, 10 % become another word, 10 % stay.
    Neither padding nor the unknown word is ever drawn. The convolution sees the masked text only.

    Args:
        network: The network, whose weights but those of pooling and head learn.
        counts: See `WordSoftmax`, as for the next one.
        cutoffs: Ranks at which clusters begin.
        mask_fraction: Share of the words to fill in.
    """

    def __init__(
        self,
        network: TextClassificationTransformer,
        counts: Sequence[int],
        cutoffs: Sequence[int],
        mask_fraction: float,
    ) -> None:
        super().__init__()
        self.network = network
        self.mask_fraction = mask_fraction
        self.softmax = WordSoftmax(network.token_embedding.table.embedding_dim, counts, cutoffs)
        self.vocabulary_size = len(counts)

    def forward(self, batch: Batch, random: torch.Generator | None = None) -> tuple[Tensor, int]:
        """Return the mean loss of the words that are filled in, and their number N; None: torch's global numbers."""
        states, words = self.predict(batch, random)
        return self.softmax(states, words), len(words)

    def predict(self, batch: Batch, random: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Return (N, D) states and the (N,) words that they predict."""
        tokens, drawn = self.mask(batch, random)
        states = self.network.encode(self.network.embed(tokens), batch.mask)  # (B, T, D)
        return states[drawn], batch.tokens[drawn]

    def mask(self, batch: Batch, random: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Return the (B, T) tokens as the network sees them, and (B, T) which of them are to be filled in."""
        tokens, shape = batch.tokens, batch.tokens.shape
        # On the CPU, whatever the device: its random numbers are those that a training goes on with.
        draw, fate = (torch.rand(shape, generator=random).to(tokens.device) for _ in range(2))
        others = torch.randint(UNK_ID + 1, self.vocabulary_size, shape, generator=random).to(tokens.device)
        drawn = batch.mask & (tokens > UNK_ID) & (draw < self.mask_fraction)
        seen = tokens.masked_fill(drawn & (fate < MASKED), MASK_ID)
        return torch.where(drawn & (fate >= MASKED) & (fate < MASKED + REPLACED), others, seen), drawn


class NextWords(nn.Module):
    """Each direction of a recurrent layer tells its next word (Peters et al. 2018, "Deep contextualized word ..."").

    The forward cell's state after a word predicts the one that follows, the backward cell's the one before; both by one
    softmax. Padding and the unknown word are read, but never predicted.

    Args:
        network: A network of one layer without a convolution, which would show a cell its neighbours.
        counts: See `WordSoftmax`, as for the next one.
        cutoffs: Ranks at which clusters begin.
    """

    def __init__(self, network: TextClassificationRNN, counts: Sequence[int], cutoffs: Sequence[int]) -> None:
        super().__init__()
        assert network.front is None, "the plan leaves out what shows a cell its word"
        self.network = network
        (layer,) = network.layers
        assert isinstance(layer, RecurrentLayer)
        self.hidden_size = layer.forwards.hidden_size
        self.softmax = WordSoftmax(self.hidden_size, counts, cutoffs)

    def forward(self, batch: Batch, random: torch.Generator | None = None) -> tuple[Tensor, int]:
        """Return the mean loss of the predicted words, and their number N; nothing is drawn."""
        states, words = self.predict(batch)
        return self.softmax(states, words), len(words)

    def predict(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return (N, D) states and the (N,) words that they predict: first those of the forward cell."""
        states = self.network.encode(self.network.embed(batch.tokens), batch.mask)  # (B, T, directions * D)
        tokens, both_real = batch.tokens, batch.mask[:, 1:]  # padding comes last: then the token before is real too
        onwards = both_real & (tokens[:, 1:] > UNK_ID)  # (B, T - 1)
        parts = [states[:, :-1, : self.hidden_size][onwards]]
        words = [tokens[:, 1:][onwards]]
        if states.shape[-1] > self.hidden_size:
            back = both_real & (tokens[:, :-1] > UNK_ID)
            parts.append(states[:, 1:, self.hidden_size :][back])
            words.append(tokens[:, :-1][back])
        return torch.cat(parts), torch.cat(words)


def take_encoder(objective: nn.Module) -> dict[str, Tensor]:
    """Return the weights of the network within an objective that have learned words, by their names in the network."""
    network = objective.get_submodule("network")
    return {
        name: tensor.detach().cpu().clone().contiguous()
        for name, tensor in network.state_dict().items()
        if not name.startswith(CLASSIFYING)
    }


class WordsModule(NetworkModule):
    """Train an objective, and measure it on the texts held out.

    ``val/loss`` is the mean negative log-likelihood of a predicted word, ``val/perplexity`` its exponential.

    Args:
        objective: Maps a batch to the mean loss of a predicted word, and the number of those.
        optimizer: The ``optimizer`` group.
        scheduler: The ``scheduler`` group.
        seed: Of what is drawn in a validation: every one asks for the same words.
    """

    def __init__(
        self, objective: nn.Module, optimizer: OptimizerSettings, scheduler: SchedulerSettings, seed: int
    ) -> None:
        super().__init__(objective, optimizer, scheduler)
        self.seed = seed
        self._loss, self._words = 0.0, 0

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Return the loss of one batch."""
        loss: Tensor = self.network(batch)[0]
        return loss

    def on_validation_epoch_start(self) -> None:
        """Begin a mean over all words."""
        self._loss, self._words = 0.0, 0

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Add the loss of one batch."""
        random = torch.Generator().manual_seed(self.seed + batch_index)
        loss, words = self.network(batch, random)
        self._loss, self._words = self._loss + float(loss) * words, self._words + words

    def on_validation_epoch_end(self) -> None:
        """Publish the mean."""
        loss = self._loss / self._words if self._words else math.nan
        self.log_dict({"val/loss": loss, "val/perplexity": perplexity(loss)})


def perplexity(loss: float) -> float:
    """Return the exponential of a mean negative log-likelihood; of one above 700, that of 700: a float ends at 709."""
    return math.exp(min(loss, 700.0))
