"""The model card: a model directory's README.md."""

from __future__ import annotations

import math
from typing import Any


def model_card(name: str, config: dict[str, Any]) -> str:
    """Markdown for a person who finds the directory: data, split, size, figures, how to use."""
    network, vocab, training = config["network"], config["vocab"], config["training"]
    validation = training["validation"]
    ngrams = f" beside the embeddings of {network['ngrams']:,} n-grams" if network["ngrams"] else ""
    return f"""# {name}

A {vocab["kind"]}-level language model ({network["cell"]}, {network["num_layers"]} layers of
{network["hidden_size"]}, {training["parameters"]:,} parameters{ngrams}), trained with charrnn.

| | |
|---|---|
| text | {training["text"]} |
| training split | {training["train_chars"]:,} characters |
| validation split | {training["val_chars"]:,} characters ({training["split"]}) |
| vocabulary | {vocab["seen_size"]:,} entries seen in training, {vocab["size"]:,} in all |
| training | {training["step"]:,} of {training["total_steps"]:,} steps, {training["passes"]:.1f} passes, \
{training["minutes"]:.1f} minutes on {training["device"]} in {training["precision"]} |
| validation | {validation["nats_per_char"]:.4f} nats ({validation["nats_per_char"] / math.log(2):.4f} bits) \
a character, {validation["method"]} |

    charrnn generate {name} -p "Once"
    charrnn evaluate {name} FILE
"""
