from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from sentiment.data.batching import Batch
from sentiment.errors import SentimentError
from sentiment.models.padding import as_mask
from sentiment.models.recurrent import TextClassificationRNN
from sentiment.models.transformer import TextClassificationTransformer
from sentiment.training.adversarial import measure_adversarial_loss

SIZES = {"vocabulary_size": 30, "classes": 2, "embedding_size": 8}


@pytest.fixture
def batch() -> Batch:
    torch.manual_seed(3)
    mask = as_mask(torch.tensor([7, 3, 5]), 7)
    tokens = torch.randint(1, 30, (3, 7)).masked_fill(~mask, 0)
    return Batch(tokens, mask, torch.tensor([0, 1, 1]), torch.arange(3))


@pytest.fixture(params=["rnn", "transformer"])
def network(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(4)
    if request.param == "rnn":
        return TextClassificationRNN(**SIZES, hidden_size=6).double()
    return TextClassificationTransformer(**SIZES, max_tokens=9, heads=2).double()


def test_the_move_is_the_hardest_of_its_length_and_leaves_padding(network, batch):
    share = 1e-3
    seen = []
    encode = network.encode
    network.encode = lambda embedded, mask: (seen.append(embedded.detach()), encode(embedded, mask))[1]
    loss = measure_adversarial_loss(network, batch, share, 0.0)
    network.encode = encode
    clean, moved = seen
    move = moved - clean
    real = clean.masked_fill(~batch.mask.unsqueeze(-1), 0.0)
    torch.testing.assert_close(move.norm(dim=(1, 2)), share * real.norm(dim=(1, 2)))
    assert move[~batch.mask].abs().max() == 0

    def measure(embedded: torch.Tensor) -> torch.Tensor:
        logits = network.classify(network.encode(embedded, batch.mask), batch.mask)
        return functional.cross_entropy(logits, batch.labels)

    torch.testing.assert_close(loss, (measure(clean) + measure(moved)) / 2)
    other = torch.randn_like(move).masked_fill(~batch.mask.unsqueeze(-1), 0.0)
    other *= move.norm(dim=(1, 2), keepdim=True) / other.norm(dim=(1, 2), keepdim=True)
    assert measure(moved) > measure(clean + other)


def test_gradients_reach_every_parameter(network, batch):
    measure_adversarial_loss(network, batch, 0.02, 0.1).backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in network.parameters())


def test_a_network_without_an_embedding_to_enter_is_refused(batch):
    with pytest.raises(
        SentimentError, match=r"adversarial_share=0.1 .*Linear has no methods embed.*\n  -> leave it out"
    ):
        measure_adversarial_loss(nn.Linear(2, 2), batch, 0.1, 0.0)


def test_a_review_that_is_classified_well_is_moved_at_half_precision_too(batch):
    torch.manual_seed(4)
    network = TextClassificationTransformer(**SIZES, max_tokens=9, heads=2)
    batch = batch._replace(labels=torch.ones(3, dtype=torch.int64))
    with torch.no_grad():
        network.head.bias.copy_(torch.tensor([0.0, 14.0]))
    encode, moves = network.encode, []
    for is_half in (False, True):
        seen = []
        network.encode = lambda embedded, mask, seen=seen: (seen.append(embedded.detach()), encode(embedded, mask))[1]
        with torch.autocast("cpu", torch.float16, enabled=is_half):
            measure_adversarial_loss(network, batch, 0.02, 0.0)
        moves.append((seen[1] - seen[0]).flatten(1))
    assert functional.cosine_similarity(*moves).min() > 0.99
