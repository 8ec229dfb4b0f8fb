"""The contract of every network, and how settings become one."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor, nn

from sentiment.config.schema import RNNSettings, TransformerSettings
from sentiment.data.batching import Cut, Item
from sentiment.data.tokenizer import PAD_ID, ReviewTokenizer
from sentiment.models.build import build_model, count_parameters
from sentiment.models.bundle import Predictor, save_bundle
from sentiment.models.padding import as_mask
from sentiment.models.recurrent import TextClassificationRNN
from sentiment.models.transformer import TextClassificationTransformer
from sentiment.training.naive_bayes import learn_ratios

Settings = TransformerSettings | RNNSettings
MakeSettings = Callable[..., Settings]

VOCABULARY, MAX_TOKENS = 30, 12

REVIEWS = [Item(np.random.default_rng(row).integers(2, VOCABULARY, 20), label=row % 2, row=row) for row in range(40)]
"""What networks that count n-grams have counted."""

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *(
        ("transformer", {"pooling": pooling})
        for pooling in ("mean", "max", "mean_max", "attention", "mean_max_attention")
    ),
    ("transformer", {"head_form": "wide", "norm": "pre", "activation": "gelu", "positions": "sinusoidal"}),
    ("transformer", {"head_form": "wide", "heads": 3}),
    ("transformer", {"norm": "pre", "depth": 1}),
    ("transformer", {"positions": "rotary", "head_form": "wide", "heads": 3}),
    *(
        ("rnn", {"pooling": pooling})
        for pooling in ("mean", "max", "mean_max", "attention", "mean_max_attention", "last")
    ),
    *(("rnn", {"pooling": pooling, "bidirectional": False}) for pooling in ("mean_max", "last")),
    *(("rnn", {"cell": "gru", "pooling": pooling}) for pooling in ("attention", "last")),
    ("rnn", {"cell": "gru", "bidirectional": False, "depth": 1}),
    *((name, {"naive_bayes_ngrams": 1}) for name in ("transformer", "rnn")),
    *((name, {"convolution_width": 3}) for name in ("transformer", "rnn")),
]


def build(settings: Settings, classes: int = 3) -> nn.Module:
    network = build_model(settings, vocabulary_size=VOCABULARY, classes=classes, max_tokens=MAX_TOKENS)
    learn_ratios(network, REVIEWS, classes)
    return network


def draw_tokens(lengths: list[int], width: int) -> Tensor:
    tokens = torch.randint(1, VOCABULARY, (len(lengths), width))
    return tokens.masked_fill(~as_mask(torch.tensor(lengths), width), PAD_ID)


@pytest.mark.parametrize(
    ("name", "changes"),
    VARIANTS,
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value.values())),
)
class TestEveryNetwork:
    """What training, search and prediction may rely on, whatever the network."""

    @pytest.fixture
    def settings(self, name: str, changes: dict[str, Any], make_settings: MakeSettings) -> Settings:
        return make_settings(name, **changes)

    def test_it_takes_tokens_with_a_mask_or_lengths_and_gives_a_logit_a_class(self, settings: Settings) -> None:
        for classes in (2, 5):
            network = build(settings, classes).eval()
            lengths = torch.tensor([4, 1, 3])
            tokens = draw_tokens([4, 1, 3], 4)
            logits = network(tokens, lengths)
            assert logits.shape == (3, classes)
            assert torch.equal(network(tokens, as_mask(lengths, 4)), logits)

    def test_its_three_steps_make_up_its_forward(self, settings: Settings) -> None:
        network = build(settings).eval()
        tokens, lengths = draw_tokens([4, 1, 3], 4), torch.tensor([4, 1, 3])
        embedded = network.embed(tokens)
        assert embedded.shape == (3, 4, settings.embedding_size)
        states = network.encode(embedded, lengths)
        assert states.shape[:2] == (3, 4)
        assert torch.equal(network.classify(states, lengths), network(tokens, lengths))

    def test_neither_amount_nor_content_of_padding_changes_a_logit(self, settings: Settings) -> None:
        network = build(settings).double().eval()

        @hypothesis_settings(max_examples=40)  # a busy machine is no fault
        @given(lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4), extra=st.integers(0, 6))
        def check(lengths: list[int], extra: int) -> None:
            tokens = draw_tokens(lengths, max(lengths))
            logits = network(tokens, torch.tensor(lengths))
            wider = torch.randint(1, VOCABULARY, (len(lengths), max(lengths) + extra))  # other tokens as padding
            wider[:, : max(lengths)] = torch.where(tokens == PAD_ID, wider[:, : max(lengths)], tokens)
            torch.testing.assert_close(network(wider, torch.tensor(lengths)), logits)

        check()

    def test_gradients_reach_every_parameter_and_no_padding(self, settings: Settings) -> None:
        network = build(settings)
        lengths = torch.tensor([6, 2, 5])
        embedded = network.embed(draw_tokens([6, 2, 5], 6))
        embedded.retain_grad()
        states = network.encode(embedded, lengths)
        nn.functional.cross_entropy(network.classify(states, lengths), torch.tensor([0, 1, 2])).backward()
        without = [name for name, parameter in network.named_parameters() if not parameter.grad.any()]
        # The query of attention pooling starts at zero, so its key feels nothing in the first step.
        assert [name for name in without if ".key." not in name] == []
        assert all(parameter.grad.isfinite().all() for parameter in network.parameters())
        padding = ~as_mask(lengths, 6)
        assert embedded.grad[padding].abs().max() == 0
        assert embedded.grad[~padding].abs().sum() > 0

    def test_a_review_of_one_token_is_classified(self, settings: Settings) -> None:
        assert build(settings)(torch.tensor([[5]]), torch.tensor([1])).isfinite().all()

    def test_it_computes_in_float64_and_agrees_with_float32(self, settings: Settings) -> None:
        network = build(settings).eval()
        tokens, lengths = draw_tokens([8, 2], 8), torch.tensor([8, 2])
        single = network(tokens, lengths)
        double = network.double()(tokens, lengths)
        assert double.dtype == torch.float64
        torch.testing.assert_close(single.double(), double, atol=1e-5, rtol=1e-4)

    def test_evaluation_is_deterministic_and_training_follows_the_seed(self, settings: Settings) -> None:
        network = build(settings)
        tokens, lengths = draw_tokens([8, 5, 2], 8), torch.tensor([8, 5, 2])

        def train_once(seed: int) -> Tensor:
            torch.manual_seed(seed)
            logits: Tensor = network.train()(tokens, lengths)
            return logits

        assert torch.equal(train_once(1), train_once(1))
        assert not torch.equal(train_once(1), train_once(2))
        network.eval()
        assert torch.equal(network(tokens, lengths), network(tokens, lengths))

    def test_the_seed_decides_the_weights(self, settings: Settings) -> None:
        weights = []
        for seed in (1, 1, 2):
            torch.manual_seed(seed)
            weights.append(torch.cat([parameter.flatten() for parameter in build(settings).parameters()]))
        assert torch.equal(weights[0], weights[1])
        assert not torch.equal(weights[0], weights[2])

    def test_its_state_dict_carries_it_over(self, settings: Settings) -> None:
        network, copy = build(settings).eval(), build(settings).eval()
        tokens, lengths = draw_tokens([3, 5], 5), torch.tensor([3, 5])
        assert not torch.equal(copy(tokens, lengths), network(tokens, lengths))
        copy.load_state_dict(network.state_dict())
        assert torch.equal(copy(tokens, lengths), network(tokens, lengths))

    def test_a_bundle_carries_it_over(self, settings: Settings, tokenizer: ReviewTokenizer, tmp_path: Path) -> None:
        size = tokenizer.vocabulary_size
        network = build_model(settings, vocabulary_size=size, classes=2, max_tokens=MAX_TOKENS)
        save_bundle(
            tmp_path / "b", network, settings, tokenizer.to_json(), ["bad", "good"], Cut(MAX_TOKENS, "head", 0.5)
        )
        ids = torch.from_numpy(tokenizer.encode(["a fine film"])[0]).unsqueeze(0)
        expected = network.eval()(ids, torch.tensor([ids.shape[1]])).softmax(dim=-1).detach()
        found = Predictor.load(tmp_path / "b").predict(["a fine film"]).probabilities
        torch.testing.assert_close(torch.from_numpy(found), expected)


def test_all_networks_share_one_signature() -> None:
    for method in ("forward", "embed", "encode", "classify"):
        ours = inspect.signature(getattr(TextClassificationTransformer, method))
        theirs = inspect.signature(getattr(TextClassificationRNN, method))
        assert ours == theirs


def test_every_choice_of_the_settings_is_used(make_settings: MakeSettings) -> None:
    transformer = build(make_settings("transformer", heads=4, depth=3, norm="pre", dropout=0.2, word_dropout=0.3))
    assert isinstance(transformer, TextClassificationTransformer)
    assert len(transformer.blocks) == 3
    assert transformer.blocks[0].attention.heads == 4
    assert transformer.blocks[0].norm == "pre"
    assert transformer.dropout.p == transformer.blocks[2].attention.dropout.p == 0.2
    assert transformer.token_embedding.word_dropout == 0.3
    rnn = build(make_settings("rnn", depth=3, bidirectional=False, dropout=0.2, word_dropout=0.3))
    assert isinstance(rnn, TextClassificationRNN)
    assert len(rnn.layers) == 3
    assert rnn.layers[0].backwards is None
    assert rnn.dropout.p == 0.2
    assert rnn.token_embedding.word_dropout == 0.3


def test_parameters_are_counted_as_on_paper(make_settings: MakeSettings) -> None:
    transformer = build(make_settings("transformer"))
    attention = 3 * 8 * 8 + (8 * 8 + 8)
    feedforward = (8 * 16 + 16) + (16 * 8 + 8)
    norms = 2 * (8 + 8)
    embeddings = VOCABULARY * 8 + MAX_TOKENS * 8
    assert count_parameters(transformer) == embeddings + 2 * (attention + feedforward + norms) + (8 * 3 + 3)

    rnn = build(make_settings("rnn", depth=1))
    direction = 4 * 5 * 8 + 4 * 5 * 5 + 2 * 4 * 5
    assert count_parameters(rnn) == VOCABULARY * 8 + 2 * direction + (10 * 3 + 3)

    for network, name in ((transformer, "transformer"), (rnn, "rnn")):
        depth = {"depth": 1} if name == "rnn" else {}
        phrases = build(make_settings(name, convolution_width=5, **depth))
        added = 8 * 8 * 5 + 8
        assert count_parameters(phrases) == count_parameters(network) + added

    rnn.requires_grad_(False)
    assert count_parameters(rnn) == 0
