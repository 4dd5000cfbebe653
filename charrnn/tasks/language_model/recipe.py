"""What suits a budget: the shape of a network and of its steps, learning rate and dropout, chosen by measurement.

The less time there is, the smaller the network and the more lanes: a small network makes many steps, and many lanes
reach all of a text that there is no time to read once. See scripts/bench.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from charrnn.network.config import Cell, NetworkConfig
from charrnn.training.config import WEIGHT_DECAY, TrainingConfig

DEFAULT_MINUTES = 3.0


@dataclass(frozen=True)
class Recipe:
    """A network of so many layers and units, trained in steps of `batch_size` × `bptt_len` tokens."""

    hidden_size: int
    num_layers: int
    batch_size: int
    bptt_len: int
    lr: float


RECIPES = (  # of all cells but mingru, each for less than so many minutes
    (0.06, Recipe(64, 1, batch_size=64, bptt_len=8, lr=20e-3)),
    (0.2, Recipe(128, 1, batch_size=64, bptt_len=16, lr=15e-3)),
    (0.6, Recipe(128, 1, batch_size=64, bptt_len=32, lr=15e-3)),
    (2.0, Recipe(128, 2, batch_size=64, bptt_len=32, lr=12e-3)),
    (5.0, Recipe(192, 2, batch_size=32, bptt_len=64, lr=8e-3)),
    (10.0, Recipe(256, 2, batch_size=32, bptt_len=64, lr=6e-3)),
    (math.inf, Recipe(512, 2, batch_size=32, bptt_len=64, lr=6e-3)),
)
RECIPES_OF_MINGRU = (
    (0.2, Recipe(64, 2, batch_size=128, bptt_len=8, lr=18e-3)),
    (0.7, Recipe(96, 3, batch_size=128, bptt_len=16, lr=12e-3)),
    (2.0, Recipe(128, 4, batch_size=64, bptt_len=32, lr=12e-3)),
    (8.0, Recipe(128, 6, batch_size=32, bptt_len=64, lr=6e-3)),
    (60.0, Recipe(192, 6, batch_size=32, bptt_len=64, lr=6e-3)),
    (math.inf, Recipe(256, 6, batch_size=32, bptt_len=64, lr=6e-3)),
)
LR_SHARES: dict[Cell, float] = {"mingru": 1, "lstm": 1, "gru": 2 / 3, "elman": 1 / 6}  # of a recipe's
MOST_FORGOTTEN = 0.015  # of the weights in a step
MOST_NGRAM_DROPOUT = 0.5


def choose(network: NetworkConfig, training: TrainingConfig) -> tuple[NetworkConfig, TrainingConfig]:
    """The same settings, with what they leave open chosen for their minutes (none: as for the default budget)."""
    minutes = DEFAULT_MINUTES if training.minutes is None else training.minutes
    recipes = RECIPES_OF_MINGRU if network.cell == "mingru" else RECIPES
    recipe = next(recipe for limit, recipe in recipes if minutes < limit)
    lr = recipes[-1][1].lr
    if network.size is None and network.hidden_size is None and network.num_layers is None:
        network = replace(network, hidden_size=recipe.hidden_size, num_layers=recipe.num_layers)
        lr = recipe.lr
    training = replace(
        training,
        batch_size=training.batch_size or recipe.batch_size,
        bptt_len=training.bptt_len or recipe.bptt_len,
        lr=training.lr or lr * LR_SHARES[network.cell],
    )
    return replace(network, hidden_size=network.width, num_layers=network.depth), training


def regularization(passes: float, parameters_per_token: float, lr: float, steps_per_pass: float) -> tuple[float, float]:
    """Dropout and weight decay that suit a run; `lr` is the peak learning rate.

    The more often a text is read and the larger the network, the more it must be kept from learning by heart. Where
    little is read more than once, both only slow learning. What weight decay does depends on how much of the weights is
    forgotten from one pass to the next (Wang & Aitchison 2024, arXiv 2405.13698), so that is what is chosen.
    """
    risk = passes * parameters_per_token / 2
    if passes < 2 or risk < 1:
        return 0.0, WEIGHT_DECAY
    forgotten = min(0.3 * risk**0.65 / steps_per_pass, MOST_FORGOTTEN)
    return min(0.025 * math.log2(risk), 0.4), max(forgotten / lr, WEIGHT_DECAY)


def ngram_dropout(passes: float) -> float:
    """Dropout of n-grams, each as a whole: the more, the more often a text is read.

    Else they learn the text by heart, and the network that they are all it needs.
    """
    return min(max(0.2 * math.log2(passes), 0.0), MOST_NGRAM_DROPOUT)
