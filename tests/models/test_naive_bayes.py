"""Naive-Bayes ratios as features: where they stand, whose reviews they are of, and how they are kept."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
import torch

from sentiment.data.batching import Item, collate
from sentiment.errors import ConfigError
from sentiment.models.ngram import FOLDS, NaiveBayesFeatures, assign_folds
from sentiment.models.recurrent import TextClassificationRNN
from sentiment.training.naive_bayes import learn_ratios

VOCABULARY = 12


def draw_reviews(count: int, classes: int = 2, seed: int = 0) -> list[Item]:
    """Reviews of few words, some of them twice, an unknown one among them."""
    random = np.random.default_rng(seed)
    lengths = random.integers(1, 9, count)
    reviews = [Item(random.integers(1, VOCABULARY, size), int(random.integers(classes)), row)
               for row, size in enumerate(lengths)]  # fmt: skip
    return [*reviews, *(Item(item.ids, item.label, count + item.row) for item in reviews[:3])]


def learn(reviews: list[Item], classes: int = 2, max_n: int = 3) -> NaiveBayesFeatures:
    part = make(classes, max_n)
    learn_ratios(part, reviews, classes)
    return part


def make(classes: int = 2, max_n: int = 3) -> NaiveBayesFeatures:
    return NaiveBayesFeatures(vocabulary_size=VOCABULARY, classes=classes, max_n=max_n)


def look(part: NaiveBayesFeatures, tokens: torch.Tensor) -> torch.Tensor:
    return part(tokens, assign_folds(tokens))


def list_ngrams(ids: np.ndarray, max_n: int) -> dict[tuple[int, int], tuple[int, ...]]:
    """The n-grams without an unknown word, by the place of their last one and n."""
    found = {(end, n): tuple(ids[end - n + 1 : end + 1]) for n in range(1, max_n + 1) for end in range(n - 1, len(ids))}
    return {key: gram for key, gram in found.items() if 1 not in gram}


def count_by_hand(reviews: list[Item], kept: set[int], classes: int, max_n: int) -> dict[tuple[int, ...], np.ndarray]:
    """The (O,) ratios of n-grams, by reviews in some folds, in plain Python."""
    everything = {row: set(list_ngrams(item.ids, max_n).values()) for row, item in enumerate(reviews)}
    number = {gram: sum(gram in grams for grams in everything.values()) for gram in set().union(*everything.values())}
    known = [gram for gram, count in number.items() if count >= 2]
    counts = {gram: np.zeros(classes) for gram in known}
    for row, item in enumerate(reviews):
        if row in kept:
            for gram in everything[row] & set(known):
                counts[gram][item.label] += 1
    totals = np.sum(list(counts.values()), axis=0)
    ratios = {}
    for gram, count in counts.items():
        p, q = count + 1, count.sum() - count + 1
        ratio = np.log(p / (totals + len(known))) - np.log(q / (totals.sum() - totals + len(known)))
        ratios[gram] = (ratio[1:] if classes == 2 else ratio) * (count.sum() > 0)
    return ratios


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("max_n", [1, 3])
def test_features_are_the_ratios_of_what_ends_at_a_word(classes: int, max_n: int, training: bool):
    reviews = draw_reviews(60, classes)
    batch = collate(reviews)
    folds = assign_folds(batch.tokens)
    features = look(learn(reviews, classes, max_n).train(training), batch.tokens).view(*batch.tokens.shape, max_n, -1)
    for row, item in enumerate(reviews):
        others = {other for other, fold in enumerate(folds) if not training or fold != folds[row]}
        ratios, expected = count_by_hand(reviews, others, classes, max_n), np.zeros(features.shape[1:])
        for (end, n), gram in list_ngrams(item.ids, max_n).items():
            if gram in ratios:
                expected[end, n - 1] = ratios[gram]
        np.testing.assert_allclose(features[row], expected, atol=1e-5)


def test_a_review_says_nothing_of_its_own_label_in_training_but_does_in_evaluation():
    reviews = draw_reviews(60)
    flipped = [item._replace(label=1 - item.label) if item.row == 20 else item for item in reviews]
    tokens = collate(reviews[20:21]).tokens
    one, other = learn(reviews), learn(flipped)
    assert torch.equal(look(one.train(), tokens), look(other.train(), tokens))
    assert not torch.equal(look(one.eval(), tokens), look(other.eval(), tokens))


def test_equal_reviews_share_a_fold_whatever_they_are_batched_with():
    reviews = draw_reviews(2000)
    folds = assign_folds(collate(reviews).tokens)
    alone = [int(assign_folds(collate([item]).tokens)) for item in reviews]
    assert folds.tolist() == alone
    assert torch.equal(folds[:3], folds[-3:])
    counts = torch.bincount(folds, minlength=FOLDS)
    assert counts.min() > 120
    orders = torch.tensor(list(itertools.permutations([5, 7, 8, 9])))
    assert len(set(assign_folds(orders).tolist())) > FOLDS / 2


def test_words_that_are_dropped_take_their_ngrams_along_and_leave_the_fold():
    tokens = collate(draw_reviews(60)).tokens
    dropped = tokens.masked_fill(torch.rand(tokens.shape) < 0.3, 1) * (tokens != 0)
    folds, part = assign_folds(tokens), learn(draw_reviews(60))
    some, whole = part(dropped, folds), part(tokens, folds)
    gone = dropped != tokens
    for n in range(3):
        assert torch.equal(some[..., n], whole[..., n].masked_fill(gone, 0))
        gone = gone | torch.nn.functional.pad(dropped != tokens, (n + 1, 0))[:, : gone.shape[1]]


def test_ratios_that_do_not_fit_a_recurrent_network_are_refused():
    with pytest.raises(ConfigError, match="9 ratios of 3 classes do not fit into 8 features"):
        TextClassificationRNN(
            vocabulary_size=VOCABULARY, classes=3, embedding_size=8, hidden_size=4, naive_bayes_ngrams=3
        )


def test_ratios_are_kept_and_no_file_holds_those_by_fold():
    part, fresh, tokens = learn(draw_reviews(60)), make(), collate(draw_reviews(9, seed=1)).tokens
    fresh.load_state_dict(part.state_dict())
    assert torch.equal(look(fresh.eval(), tokens), look(part.eval(), tokens))
    with pytest.raises(RuntimeError, match="training needs the ratios by fold"):
        look(fresh.train(), tokens)
    part.load_state_dict(part.state_dict())
    look(part.train(), tokens)  # a run that goes on has counted the same
    part.load_state_dict(learn(draw_reviews(50, seed=2)).state_dict())
    with pytest.raises(RuntimeError, match="training needs the ratios by fold"):
        look(part.train(), tokens)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda state: state.pop("ratio"), "Missing key"),
        (lambda state: state.pop("ngrams_2"), "Missing key"),
        (lambda state: state.update(ratio=state["ratio"][:, 1:]), "size mismatch for ratio"),
        (lambda state: state.update(ngrams_1=state["ngrams_1"].flip(0)), "no ascending packed ids"),
        (lambda state: state.update(more=torch.zeros(1)), "Unexpected key"),
    ],
)
def test_what_is_no_state_is_refused(damage, told):
    state = learn(draw_reviews(60)).state_dict()
    damage(state)
    with pytest.raises(RuntimeError, match=told):
        make().load_state_dict(state)


def test_counts_are_not_trained_and_follow_the_network():
    part, tokens = learn(draw_reviews(60)), collate(draw_reviews(9, seed=1)).tokens
    assert [*part.parameters()] == []
    double = copy.deepcopy(part).double()
    assert look(double.eval(), tokens).dtype == look(double.train(), tokens).dtype == torch.float64
    assert [known.dtype for known in double.ngrams] == [torch.int64] * 3


def test_new_features_know_nothing():
    tokens = collate(draw_reviews(5)).tokens
    assert not look(make().eval(), tokens).any()
