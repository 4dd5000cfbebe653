"""Which stepper writes on a CPU: plain numpy what is short, compiled code what is long."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from charrnn.generation.plain import PlainStepper
from charrnn.generation.stepper import Stepper
from charrnn.generation.weights import Weights, WeightType, num_numbers
from charrnn.network.config import NetworkConfig

if TYPE_CHECKING:
    from charrnn.generation.compiled import CompiledStepper

# In about the half second that compiled code takes to load, numpy goes through so many weights, where each entry costs
# it as much time besides as some number of weights.
PLAIN_WEIGHTS = 2_000_000_000
ENTRY_WEIGHTS = 1_000_000


class StepperChoice:
    """`choose(entries, repeatable)`: the stepper that goes on after so many entries of a call.

    Compiled code takes half a second to load, and the first time on a machine 15 seconds to compile. So the first
    entries of a call are plain numpy's; but once compiled code is there, it does all, unless the call is `repeatable`:
    there the two, which round differently, must share every call alike.
    """

    def __init__(self, config: NetworkConfig, weights: Weights, weight_type: WeightType) -> None:
        """`weights` are those of the same type."""
        self._config = config
        self._weights = weights
        self._weight_type = weight_type
        self._plain = PlainStepper(config, weights)
        self.num_plain = PLAIN_WEIGHTS // (ENTRY_WEIGHTS + num_numbers(weights))

    def __call__(self, entries: int, repeatable: bool) -> Stepper:
        is_loaded = "compiled" in vars(self)
        if entries > self.num_plain or (is_loaded and not repeatable):
            return self.compiled
        return self._plain

    @cached_property
    def compiled(self) -> CompiledStepper:
        """The compiled one, loaded now."""
        from charrnn.generation.compiled import CompiledStepper

        return CompiledStepper(self._config, self._weights, self._weight_type)
