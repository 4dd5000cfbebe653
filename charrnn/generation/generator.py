"""Writing text with a model, several texts side by side.

Shapes: T time, B samples, O outputs of the network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from charrnn.errors import CharrnnError, UsageError
from charrnn.generation.choice import StepperChoice
from charrnn.generation.sampling import SamplingConfig
from charrnn.generation.stepper import Array, Lanes, Stepper
from charrnn.generation.stream import TextStream
from charrnn.generation.weights import WeightType, arrange_weights
from charrnn.model_directory import (
    CONFIG,
    GENERATION_CONFIG,
    WEIGHTS,
    load_arrays,
    read_config_of,
    read_json,
    read_model,
    save_arrays,
)
from charrnn.settings import from_mapping
from charrnn.text.vocab import Vocab

CHUNK = 32  # entries drawn in one call, at most


@dataclass(frozen=True)
class TextState:
    """What a model knows after reading a text: a value that can be kept and gone on from any number of times."""

    lane: Lanes  # one
    model: str  # fingerprint of the model that read it

    def save(self, path: str | Path) -> None:
        """Write to a safetensors file."""
        arrays = {f"state.{i}": array for i, array in enumerate(self.lane.state)}
        arrays |= {"logits": self.lane.logits, "recent": self.lane.recent}
        save_arrays(Path(path), arrays, {"model": self.model})

    @classmethod
    def load(cls, path: str | Path) -> TextState:
        """Read what `save` wrote. Raises UsageError if there is none, CharrnnError if it is damaged."""
        path = Path(path)
        if not path.exists():
            raise UsageError(f"{path}: no such file of a state")
        arrays, metadata = load_arrays(path)
        try:
            state = tuple(arrays[f"state.{i}"] for i in range(len(arrays) - 2))
            return cls(Lanes(state, arrays["logits"], arrays["recent"]), metadata["model"])
        except KeyError as error:
            raise CharrnnError(f"{path}: not the state of a text: it lacks {error}") from None


@dataclass(frozen=True)
class Piece:
    """Some new text of one sample. `finish_reason` is None while it goes on, then "length" or "stop", exactly once."""

    sample: int
    text: str
    finish_reason: str | None
    nats: float  # of the entries drawn since the piece before, under the model as it is: no temperature, no filters


@dataclass(frozen=True)
class Sample:
    """One text that a model wrote."""

    text: str
    finish_reason: str
    nats: float  # of all entries drawn, under the model as it is

    @property
    def nats_per_char(self) -> float:
        """The lower, the more the model itself thinks of it."""
        return self.nats / max(len(self.text), 1)


class Generator:
    """Writes text with a network and its vocabulary."""

    def __init__(
        self, choose: Callable[[int, bool], Stepper], vocab: Vocab, sampling: SamplingConfig, fingerprint: str
    ) -> None:
        """`choose` is asked as `StepperChoice` is; `sampling` holds for what a call leaves open."""
        self.choose = choose
        self.vocab = vocab
        self.sampling = sampling
        self.fingerprint = fingerprint

    @classmethod
    def load(cls, directory: Path, weight_type: WeightType = "bf16") -> Generator:
        """The language model in a directory, for a CPU and without torch.

        Raises UsageError if there is none, CharrnnError if it is damaged.
        """
        read_config_of("language_model", directory)
        saved = read_model(directory)
        try:
            weights = arrange_weights(saved.network, saved.weights, weight_type)
            if len(weights.head_bias) != saved.vocab.num_known:
                raise ValueError(f"outputs for another vocabulary than one of {len(saved.vocab)} entries")
        except (KeyError, ValueError) as error:
            raise CharrnnError(
                f"{directory / WEIGHTS}: the weights do not fit the network that {CONFIG} describes: {error}"
            ) from None
        choose = StepperChoice(saved.network, weights, weight_type)
        return cls(choose, saved.vocab, read_sampling(directory), fingerprint(saved.weights["embedding.weight"]))

    def read(self, text: str, after: TextState | None = None) -> TextState:
        """The state after reading `text`, from the beginning or `after` an earlier state.

        Raises UsageError if that is another model's.
        """
        ids = self.vocab.encode(text).astype(np.int64)
        stepper = self.choose(len(ids), True)
        if after is None:
            lane, ids = stepper.begin(), np.concatenate([[self.vocab.start_id], ids])
            # The line end that every text begins after is none of its own entries.
            lane = replace(stepper.read(lane, ids[:1]), recent=lane.recent)
            ids = ids[1:]
        else:
            if after.model != self.fingerprint:
                raise UsageError("this state was read by another model: only the model that read it can go on from it")
            lane = after.lane
        return TextState(stepper.read(lane, ids) if len(ids) else lane, self.fingerprint)

    def generate(self, prompt: str = "", *, num_samples: int = 1, best_of: int = 1, **options: Any) -> list[Sample]:
        """Continue `prompt` in `num_samples` ways; options as for `stream_samples`.

        Of each `best_of` texts, only the one is given that the model itself finds likeliest, in nats a character.
        """
        if best_of < 1:
            raise UsageError(f"best_of must be at least 1, not {best_of}")
        return best(gather(self.stream_samples(prompt, num_samples=num_samples * best_of, **options)), best_of)

    def stream(self, prompt: str = "", **options: Any) -> Iterator[str]:
        """Continue `prompt`, giving text as it is written; options as for `stream_samples`."""
        return (piece.text for piece in self.stream_samples(prompt, **options) if piece.text)

    def stream_samples(
        self,
        prompt: str = "",
        *,
        max_chars: int = 500,
        stop: Sequence[str] = (),
        num_samples: int = 1,
        seed: int | None = None,
        state: TextState | None = None,
        only_chars: str | None = None,
        temperatures: Sequence[float] = (),
        **sampling: Any,
    ) -> Iterator[Piece]:
        """Pieces of texts drawn side by side, never half a character or part of a stop string.

        `stop` are strings that end a text and are left out of it. `state` is continued instead of the beginning.
        `only_chars` are all characters that may occur. `temperatures` makes `num_samples` texts at each, in this
        order. Everything else are fields of `SamplingConfig`. A sample depends on the seed and its number alone.
        """
        if num_samples < 1:
            raise UsageError(f"num_samples must be at least 1, not {num_samples}")
        if seed is not None and seed < 0:
            raise UsageError(f"seed must not be negative, not {seed}")
        config = from_mapping(SamplingConfig, asdict(self.sampling) | sampling)
        configs = [
            replace(config, temperature=temperature)
            for temperature in temperatures or [config.temperature]
            for _ in range(num_samples)
        ]
        allowed = self._allowed(only_chars)
        start = self.read(prompt, state)
        return self._write(start.lane, configs, allowed, max_chars, stop, seed)

    def _write(
        self,
        start: Lanes,
        configs: Sequence[SamplingConfig],
        allowed: Array,
        max_chars: int,
        stop: Sequence[str],
        seed: int | None,
    ) -> Iterator[Piece]:
        streams = [TextStream(max_chars, stop) for _ in configs]
        for sample, stream in enumerate(streams):
            if stream.finished:
                yield Piece(sample, "", stream.finish_reason, 0.0)
        randoms = [np.random.Generator(np.random.Philox(s)) for s in np.random.SeedSequence(seed).spawn(len(configs))]
        samples = [sample for sample, stream in enumerate(streams) if not stream.finished]
        lanes = start.select([0] * len(samples))
        left = 4 * max_chars + 4  # bytes that never become a whole character must not run for ever
        entries = 0
        while samples and left > 0:
            count = min(CHUNK, left, max(streams[sample].left for sample in samples))
            left -= count
            uniforms = np.stack([randoms[sample].random(count) for sample in samples], axis=1)
            stepper = self.choose(entries, seed is not None)
            lanes, ids, nats = stepper.write(lanes, [configs[sample] for sample in samples], allowed, uniforms)
            entries += ids.size
            for row, sample in enumerate(samples):
                piece = self._piece(sample, streams[sample], ids[:, row].tolist(), nats[:, row])
                if left == 0 and not piece.finish_reason:
                    piece = replace(piece, text=piece.text + streams[sample].close(), finish_reason="length")
                if piece.text or piece.finish_reason:
                    yield piece
            going_on = [row for row, sample in enumerate(samples) if not streams[sample].finished]
            if len(going_on) < len(samples):
                samples, lanes = [samples[row] for row in going_on], lanes.select(going_on)

    def _piece(self, sample: int, stream: TextStream, ids: list[int], nats: Array) -> Piece:
        text, used = "", 0
        while used < len(ids) and not stream.finished:
            text += stream.feed(self.vocab.pieces[ids[used]])
            used += 1
        return Piece(sample, text, stream.finish_reason, float(nats[:used].sum()))

    def _allowed(self, only_chars: str | None) -> Array:
        """Which entries may be drawn (O,): those that training saw, and of these those made of `only_chars`."""
        seen = self.vocab.seen_size
        allowed = np.arange(self.vocab.num_known) < seen
        if only_chars is not None:
            wanted = set(only_chars)
            for entry, piece in enumerate(self.vocab.pieces[:seen]):
                allowed[entry] = set(piece.decode("utf-8", errors="replace")) <= wanted
            if not allowed.any():
                raise UsageError("none of these characters can be written: no entry that training saw is of them alone")
        return allowed


def gather(pieces: Iterable[Piece]) -> list[Sample]:
    """The samples that pieces make up, in order."""
    texts: dict[int, list[Piece]] = {}
    for piece in pieces:
        texts.setdefault(piece.sample, []).append(piece)
    return [
        Sample("".join(p.text for p in parts), parts[-1].finish_reason or "length", sum(p.nats for p in parts))
        for _, parts in sorted(texts.items())
    ]


def best(samples: Sequence[Sample], best_of: int) -> list[Sample]:
    """Of each so many samples, the one that the model itself finds likeliest."""
    groups = [samples[start : start + best_of] for start in range(0, len(samples), best_of)]
    return [min(group, key=lambda sample: sample.nats_per_char) for group in groups]


def read_sampling(directory: Path) -> SamplingConfig:
    """The sampling defaults of a model directory. Raises CharrnnError if they are damaged."""
    path = directory / GENERATION_CONFIG
    try:
        return from_mapping(SamplingConfig, read_json(path)) if path.exists() else SamplingConfig()
    except UsageError as error:
        raise CharrnnError(f"{path}: {error}") from None


def fingerprint(embedding: Array) -> str:
    """What tells a model from others: every step of training changes its embedding."""
    return hashlib.sha256(np.ascontiguousarray(embedding, np.float32).data).hexdigest()[:16]
