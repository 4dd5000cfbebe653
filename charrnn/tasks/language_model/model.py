"""A trained language model: write with it, score with it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from charrnn.checkpoint import load_network, network_tensors
from charrnn.generation.choice import StepperChoice
from charrnn.generation.generator import Generator, Piece, Sample, TextState, fingerprint, read_sampling
from charrnn.generation.reference import NetworkStepper
from charrnn.generation.sampling import SamplingConfig
from charrnn.generation.stepper import Stepper
from charrnn.generation.weights import arrange_weights
from charrnn.model_directory import read_config_of
from charrnn.network.device import choose_device
from charrnn.network.dynamic import DynamicConfig, score_dynamic
from charrnn.network.evaluation import score_stream
from charrnn.network.model import Network
from charrnn.text.batches import by_length
from charrnn.text.vocab import Vocab

LINE_BATCH_TOKENS = 1 << 14  # entries of lines scored side by side, padding included
LINES_AT_ONCE = 2048  # lines read ahead, to sort by length


@dataclass(frozen=True)
class Score:
    """How well a model predicts a text. Every character is scored once, the first after a line end."""

    nats: float
    tokens: int
    chars: int
    bytes: int  # in UTF-8

    @property
    def nats_per_char(self) -> float:
        return self.nats / self.chars if self.chars else math.nan

    @property
    def bits_per_char(self) -> float:
        return self.nats_per_char / math.log(2)

    @property
    def bits_per_byte(self) -> float:
        return self.nats / math.log(2) / self.bytes if self.bytes else math.nan

    @property
    def perplexity(self) -> float:
        """Per token: comparable only between models of one vocabulary."""
        return math.exp(min(self.nats / self.tokens, 700)) if self.tokens else math.nan

    def as_dict(self) -> dict[str, float | None]:
        """Figures by name; those of an empty text are None."""
        figures = asdict(self)
        for name in ("nats_per_char", "bits_per_char", "bits_per_byte", "perplexity"):
            value = getattr(self, name)
            figures[name] = None if math.isnan(value) else value
        return figures


class LanguageModel:
    """A network and its vocabulary. `charrnn.load(directory)` gives one."""

    def __init__(
        self,
        network: Network,
        vocab: Vocab,
        sampling: SamplingConfig | None = None,
        config: dict[str, Any] | None = None,
    ) -> None:
        self.network = network.eval()
        self.vocab = vocab
        self.sampling = sampling or SamplingConfig()
        self.config = config or {}

    @classmethod
    def load(cls, directory: str | Path, device: str = "auto") -> LanguageModel:
        """The model in a directory. Raises UsageError if there is none, CharrnnError if it is damaged."""
        directory = Path(directory)
        read_config_of("language_model", directory)
        network, vocab, config = load_network(directory, choose_device(device))
        return cls(network, vocab, read_sampling(directory), config)

    @cached_property
    def generator(self) -> Generator:
        """What writes, with the network's weights as they are now: copies of them on a CPU, else the network itself."""
        embedding = self.network.embedding.weight.detach().cpu().numpy()
        return Generator(self._choice(), self.vocab, self.sampling, fingerprint(embedding))

    def _choice(self) -> Callable[[int, bool], Stepper]:
        if self.network.head.weight.device.type != "cpu":
            stepper = NetworkStepper(self.network)
            return lambda entries, repeatable: stepper
        config = self.network.config
        tensors = {name: tensor.detach().numpy() for name, tensor in network_tensors(self.network).items()}
        return StepperChoice(config, arrange_weights(config, tensors, "bf16"), "bf16")

    def read(self, text: str, after: TextState | None = None) -> TextState:
        """See `Generator.read`."""
        return self.generator.read(text, after)

    def generate(self, prompt: str = "", **options: Any) -> list[Sample]:
        """See `Generator.generate` and `Generator.stream_samples`, which tells the options."""
        return self.generator.generate(prompt, **options)

    def stream(self, prompt: str = "", **options: Any) -> Iterator[str]:
        """See `Generator.stream`."""
        return self.generator.stream(prompt, **options)

    def stream_samples(self, prompt: str = "", **options: Any) -> Iterator[Piece]:
        """See `Generator.stream_samples`."""
        return self.generator.stream_samples(prompt, **options)

    def score(self, text: str | Iterable[str]) -> Score:
        """Score a text, given whole or in chunks (a long one is never held in memory)."""
        chunks = _Counted(text)
        nats, tokens = 0.0, 0
        for part in score_stream(self.network, self._ids(chunks), self.vocab.start_id):
            nats += part.double().sum().item()
            tokens += len(part)
        return Score(nats, tokens, chunks.chars, chunks.bytes)

    def score_dynamic(self, text: str | Iterable[str], config: DynamicConfig | None = None) -> tuple[Score, Score]:
        """The score of a text as `score` gives it, and beside it that of a copy which learns from the text as it reads.

        The model itself stays as it is. See `charrnn.network.dynamic` (Krause et al. 2018). Raises CharrnnError if
        the copy diverges.
        """
        config = config or DynamicConfig()
        chunks = _Counted(text)
        plain_nats, dynamic_nats, tokens = 0.0, 0.0, 0
        for plain, dynamic in score_dynamic(self.network, self._ids(chunks), self.vocab.start_id, config):
            plain_nats += plain.double().sum().item()
            dynamic_nats += dynamic.double().sum().item()
            tokens += len(plain)
        return (
            Score(plain_nats, tokens, chunks.chars, chunks.bytes),
            Score(dynamic_nats, tokens, chunks.chars, chunks.bytes),
        )

    def score_lines(self, lines: Iterable[str]) -> Iterator[Score]:
        """Score each line on its own, after a line end, its own line end not included. In order, in batches."""
        waiting: list[str] = []
        for line in lines:
            waiting.append(line)
            if len(waiting) == LINES_AT_ONCE:
                yield from self._score_batch(waiting)
                waiting = []
        yield from self._score_batch(waiting)

    def _ids(self, chunks: Iterable[str]) -> Iterator[torch.Tensor]:
        for encoded in self.vocab.encode_chunks(chunks):
            yield torch.from_numpy(encoded.astype("int64"))

    def _score_batch(self, lines: list[str]) -> list[Score]:
        encoded = [self.vocab.encode(line).astype("int64") for line in lines]
        nats = [0.0] * len(lines)
        for batch in by_length(list(map(len, encoded)), LINE_BATCH_TOKENS):
            for i, value in zip(batch, self._line_nats([encoded[i] for i in batch]), strict=True):
                nats[i] = value
        return [
            Score(value, len(ids), len(line), len(line.encode("utf-8", errors="surrogatepass")))
            for value, ids, line in zip(nats, encoded, lines, strict=True)
        ]

    def _line_nats(self, lines: Sequence[Any]) -> list[float]:
        """Nats of each line (ids), padded at its end, where padding cannot reach what came before."""
        length = max(map(len, lines))
        ids = torch.zeros(length + 1, len(lines), dtype=torch.long)
        ids[0] = self.vocab.start_id
        real = torch.zeros(length, len(lines), dtype=torch.bool)
        for lane, line in enumerate(lines):
            ids[1 : len(line) + 1, lane] = torch.from_numpy(line)
            real[: len(line), lane] = True
        device = self.network.head.weight.device
        state = self.network.initial_state(len(lines))
        total = torch.zeros(len(lines), dtype=torch.double)
        window = max(LINE_BATCH_TOKENS // len(lines), 1)
        with torch.inference_mode():
            for start in range(0, length, window):
                part = ids[start : start + window + 1].to(device)
                logits, state = self.network(part[:-1], state)
                nats = self.network.nats(logits, part[1:]).cpu().double()
                total += (nats * real[start : start + window]).sum(0)
        return total.tolist()


class _Counted:
    """A text in chunks that counts its characters and its bytes in UTF-8 as it is read."""

    def __init__(self, text: str | Iterable[str]) -> None:
        self.chunks = [text] if isinstance(text, str) else text
        self.chars = self.bytes = 0

    def __iter__(self) -> Iterator[str]:
        for chunk in self.chunks:
            self.chars += len(chunk)
            self.bytes += len(chunk.encode("utf-8", errors="surrogatepass"))
            yield chunk
