"""How fast is a training step, against what people write first and against torch's own modules, on the same batches?

    python experiments/speed/step.py                        # synthetic reviews, made as long as real ones
    python experiments/speed/step.py --data-path FOLDER     # the reviews of IMDB

A Transformer 128 wide, 8 heads, 6 deep, 512 tokens; a recurrent network 128 wide; 45,000 words (synthetic reviews
have fewer). Every network trains on the same batches of 32 reviews of similar length with the same optimizer, in
turn, round by round; the control is ours once more. Each ratio is a peer's time over ours of the same round: above 1,
ours is faster. On a CPU times are processor seconds. Our matrix products, timed one by one within a step, are the
bound: nothing that makes the same ones is faster.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy
import torch
from peers import PeerLSTM, PeerTransformer
from results import RESULTS, describe, keep
from steps import Stepper, build_network, draw_batches
from torch import nn

from sentiment.config.command_line import compose_settings
from sentiment.data.build import build_corpus
from sentiment.process import prepare_process

WIDTH, HEADS, DEPTH, RATIO, TOKENS, WORDS = 128, 8, 6, 2, 512, 45_000

COMMON = [f"data.max_tokens={TOKENS}", "data.batch_size=32", f"model.embedding_size={WIDTH}", "model.dropout=0"]
LONG = ["data=synthetic", "data.train_size=2000", "data.min_sentences=8", "data.max_sentences=60"]

PRODUCTS = "ours, matrix products alone"

OURS = {
    "Transformer": ["model=transformer", f"model.heads={HEADS}", f"model.depth={DEPTH}"],
    "LSTM": ["model=rnn", "model.cell=lstm", "model.pooling=mean"],
}


def list_peers(vocabulary_size: int) -> dict[str, dict[str, Callable[[], nn.Module]]]:
    """Return the makers of the peers of each of our networks."""
    sizes = (vocabulary_size, WIDTH, HEADS, DEPTH, RATIO, TOKENS)
    return {
        "Transformer": {
            "plain attention": lambda: PeerTransformer("plain", *sizes),
            "nn.TransformerEncoder": lambda: PeerTransformer("torch", *sizes),
        },
        "LSTM": {
            "nn.LSTM, padded": lambda: PeerLSTM(False, vocabulary_size, WIDTH),
            "nn.LSTM, packed": lambda: PeerLSTM(True, vocabulary_size, WIDTH),
        },
    }


def main() -> None:
    """Measure, print the table and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-path", help="folder of the IMDB reviews")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=6, help="steps of each network and round")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    prepare_process()
    torch.set_num_threads(options.threads)
    real = ["data=imdb", f"data.path={options.data_path}", f"data.tokenizer.vocabulary_size={WORDS}"]
    data = LONG if options.data_path is None else real
    device = torch.device("cpu")
    seconds: dict[str, dict[str, list[float]]] = {}
    print("| network | reviews/s | times as long as ours (95 % interval) |\n|---|---|---|")
    for name, overrides in OURS.items():
        settings = compose_settings([*data, *COMMON, *overrides])
        corpus = build_corpus(settings.data)
        batches = draw_batches(settings, corpus, options.steps)
        ours = partial(build_network, settings, corpus)
        makers: dict[str, Callable[[], nn.Module]] = {
            "ours": ours,
            "ours again": ours,
            **list_peers(corpus.tokenizer.vocabulary_size)[name],
        }
        steppers = {kind: Stepper(make(), settings, device) for kind, make in makers.items()}
        found = seconds[name] = {kind: [] for kind in steppers}
        reviews = sum(len(batch.labels) for batch in batches)
        for _ in range(options.rounds):
            for kind, stepper in steppers.items():
                found[kind].append(stepper.time(batches).seconds)
            found.setdefault(PRODUCTS, []).append(steppers["ours"].time_products(batches))
        for kind, values in found.items():
            ratio = describe(numpy.log(values) - numpy.log(found["ours"]))
            print(f"| {name}, {kind} | {reviews / numpy.median(values):.1f} | {ratio} |", flush=True)
    keep(options.results / "step.json", {"rounds": options.rounds, "steps": options.steps, "seconds": seconds})


if __name__ == "__main__":
    main()
