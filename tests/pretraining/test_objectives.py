"""Words are learned from what stands around them, and never from themselves."""

from __future__ import annotations

import math

import pytest
import torch

from sentiment.data.batching import Batch
from sentiment.data.tokenizer import PAD_ID, UNK_ID
from sentiment.models.recurrent import TextClassificationRNN
from sentiment.models.transformer import TextClassificationTransformer
from sentiment.pretraining.objectives import MASK_ID, MaskedWords, NextWords, WordSoftmax, take_encoder

VOCABULARY = 50
COUNTS = list(range(VOCABULARY))
CUTOFFS = [10, 30]


def make_batch(*rows: list[int]) -> Batch:
    longest = max(map(len, rows))
    tokens = torch.tensor([row + [PAD_ID] * (longest - len(row)) for row in rows])
    return Batch(tokens, tokens != PAD_ID, torch.zeros(len(rows), dtype=torch.int64), torch.arange(len(rows)))


def make_rnn(**changed) -> TextClassificationRNN:
    settings = {"cell": "gru", "embedding_size": 8, "hidden_size": 6, "bidirectional": True, **changed}
    return TextClassificationRNN(vocabulary_size=VOCABULARY, classes=2, **settings)


def make_transformer(**changed) -> TextClassificationTransformer:
    settings = {"embedding_size": 8, "heads": 2, "convolution_width": 3, **changed}
    return TextClassificationTransformer(vocabulary_size=VOCABULARY, classes=2, max_tokens=200, **settings)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_no_recurrent_state_knows_the_word_that_it_predicts(cell: str):
    objective = NextWords(make_rnn(cell=cell), COUNTS, CUTOFFS)
    row = [5, 9, 13, 7, 22]
    before, words = objective.predict(make_batch(row))
    assert words.tolist() == [9, 13, 7, 22, 5, 9, 13, 7], "all but the first onwards, all but the last back"
    for place, word in enumerate(row):
        after, _ = objective.predict(make_batch([*row[:place], 40, *row[place + 1 :]]))
        is_same = [torch.equal(one, other) for one, other in zip(before, after, strict=True)]
        assert all(same for same, target in zip(is_same, words, strict=True) if target == word)
        assert not all(is_same), "what comes after it, in either direction, depends on it"


def test_padding_and_the_unknown_word_are_read_but_never_predicted():
    objective = NextWords(make_rnn(), COUNTS, CUTOFFS)
    _, words = objective.predict(make_batch([5, UNK_ID, 6, 7], [8, 9]))
    assert sorted(words.tolist()) == sorted([6, 7, 9, 5, 6, 8])
    one_way = NextWords(make_rnn(bidirectional=False), COUNTS, CUTOFFS)
    assert one_way.predict(make_batch([5, 6, 7], [8, 9]))[1].tolist() == [6, 7, 9]


def test_no_masked_word_is_seen_by_the_state_that_fills_it_in():
    """Not through the convolution either."""
    objective = MaskedWords(make_transformer(), COUNTS, CUTOFFS, mask_fraction=0.5)
    batch = make_batch([*range(5, 45)], [*range(10, 30)])
    seen, drawn = objective.mask(batch, torch.Generator().manual_seed(1))
    hidden = drawn & (seen == MASK_ID)
    assert hidden.sum() > 10
    others = batch._replace(tokens=torch.where(hidden, (batch.tokens - 1).clamp(min=2), batch.tokens))
    one, other = (objective.predict(given, torch.Generator().manual_seed(1)) for given in (batch, others))
    assert torch.equal(one[0], other[0])
    assert not torch.equal(one[1], other[1])
    shown = batch._replace(tokens=torch.where(drawn, batch.tokens, (batch.tokens - 1).clamp(min=0)))
    assert not torch.equal(one[0], objective.predict(shown, torch.Generator().manual_seed(1))[0])


def test_a_share_of_the_words_is_drawn_and_most_of_it_masked():
    objective = MaskedWords(make_transformer(), COUNTS, CUTOFFS, mask_fraction=0.15)
    words = torch.randint(2, VOCABULARY, (3000,), generator=torch.Generator().manual_seed(0)).tolist()
    batch = make_batch([UNK_ID, *words], [UNK_ID] * 100)
    seen, drawn = objective.mask(batch, torch.Generator().manual_seed(0))
    assert not drawn[batch.tokens <= UNK_ID].any()
    assert torch.equal(seen[~drawn], batch.tokens[~drawn])
    count = int(drawn.sum())
    masked = int((seen[drawn] == MASK_ID).sum())
    kept = int((seen[drawn] == batch.tokens[drawn]).sum())
    assert abs(count / 3000 - 0.15) < 0.03
    assert abs(masked / count - 0.8) < 0.06
    assert abs(kept / count - 0.1) < 0.06
    assert int(seen[drawn].min()) >= UNK_ID


def test_nothing_to_predict_is_no_loss():
    lonely = make_batch([5], [UNK_ID])
    objectives = [NextWords(make_rnn(), COUNTS, CUTOFFS), MaskedWords(make_transformer(), COUNTS, CUTOFFS, 1e-9)]
    for objective in objectives:
        loss, words = objective(lonely)
        assert (loss.item(), words) == (0.0, 0)
        loss.backward()


@pytest.mark.parametrize(("width", "cutoffs"), [(16, [10, 30]), (2, [3, 5, 7]), (16, [1000]), (1, [10, 20])])
def test_the_adaptive_softmax_is_a_distribution_over_all_words(width: int, cutoffs: list[int]):
    softmax = WordSoftmax(width, COUNTS, cutoffs)
    state = torch.randn(1, width).expand(VOCABULARY, -1)
    with torch.no_grad():
        losses = [float(softmax(state[:1], torch.tensor([word]))) for word in range(VOCABULARY)]
        assert sum(math.exp(-loss) for loss in losses) == pytest.approx(1, abs=1e-4)
        assert float(softmax(state, torch.arange(VOCABULARY))) == pytest.approx(sum(losses) / VOCABULARY, abs=1e-4)


def test_words_are_ranked_by_how_often_they_stand_in_the_texts():
    ranks = WordSoftmax(8, [99, 98, 3, 7, 7, 0], [2]).rank.tolist()
    assert ranks == [4, 5, 2, 0, 1, 3], "padding and the unknown word last, whatever their counts; then ties by id"


@pytest.mark.parametrize("kind", ["lm", "mlm"])
def test_an_objective_can_be_learned(kind: str):
    """A text in which every word tells the next, so that a word in the middle is known."""
    torch.manual_seed(0)
    rows = [[2 + (start + step) % 10 for step in range(20)] for start in range(10)]
    is_lm = kind == "lm"
    objective = (
        NextWords(make_rnn(), COUNTS[::-1], CUTOFFS)
        if is_lm
        else MaskedWords(make_transformer(depth=1), COUNTS[::-1], CUTOFFS, mask_fraction=0.15)
    )
    optimizer = torch.optim.Adam(objective.parameters(), lr=0.02)
    losses = []
    for _ in range(80):
        loss, _ = objective(make_batch(*rows))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > math.log(10)
    assert sum(losses[-10:]) / 10 < 0.5 * math.log(10)


def test_what_has_learned_words_is_all_but_what_classifies():
    objective = NextWords(make_rnn(pooling="attention"), COUNTS, CUTOFFS)
    names = {name.partition(".")[0] for name in take_encoder(objective)}
    assert names == {"token_embedding", "layers"}
    names = {
        name.partition(".")[0] for name in take_encoder(MaskedWords(make_transformer(norm="pre"), COUNTS, [10], 0.1))
    }
    assert names == {"token_embedding", "positions", "front", "blocks", "final_norm"}
