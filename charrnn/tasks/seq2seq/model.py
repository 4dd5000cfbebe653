"""A trained network from sequence to sequence: translations, summaries, or whatever its pairs were."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from charrnn import checkpoint, model_directory
from charrnn.errors import CharrnnError, UsageError
from charrnn.network.device import choose_device
from charrnn.settings import from_mapping
from charrnn.storage import atomic_write
from charrnn.tasks.seq2seq.ensemble import Ensemble
from charrnn.tasks.seq2seq.inputs import Sides, Texts, padded, shortened
from charrnn.tasks.seq2seq.joint import JointModel
from charrnn.tasks.seq2seq.network import Seq2SeqConfig
from charrnn.tasks.seq2seq.search import Hypothesis, SearchConfig, ranked, search
from charrnn.text.batches import by_length
from charrnn.text.vocab import Ids, Vocab

Task = Literal["translate", "summarize"]

MODEL_TYPE = "seq2seq"
TARGET_TOKENIZER = "tokenizer_target.json"  # where source and target have a vocabulary each
JOINT = "joint.safetensors"  # where a joint-sequence model helps to choose
LINES_AT_ONCE = 1024  # lines read ahead, to sort by length
TOKENS_AT_ONCE = 1 << 14  # entries of sources side by side, times hypotheses of each


@dataclass(frozen=True)
class Candidate:
    """A target, and how likely it is."""

    text: str
    score: float  # log-probability in nats, with a joint model's, divided by the length as the length penalty says
    nats: float  # negative log-likelihood by the network


@dataclass(frozen=True)
class Translation:
    """What was made of a text: the best target, and others where they were asked for."""

    candidates: tuple[Candidate, ...]  # the best first
    was_cut: bool = False  # the source was longer than the network reads

    @property
    def text(self) -> str:
        """The best target."""
        return self.candidates[0].text


@dataclass(frozen=True)
class Alignment:
    """Where each entry of a target looks in its source, both with their line ends."""

    source: tuple[str, ...]  # S entries
    target: tuple[str, ...]  # T entries
    weights: npt.NDArray[np.float32]  # (T, S), rows sum to one


class Seq2Seq:
    """A network, its vocabularies and how targets are searched for. `charrnn.load(directory)` gives one."""

    def __init__(
        self,
        network: Ensemble,
        sides: Sides,
        search: SearchConfig,
        *,
        task: Task = "translate",
        figures: Mapping[str, Any] | None = None,
        joint: JointModel | None = None,
    ) -> None:
        self.network = network.eval()
        self.sides = sides
        self.search = search
        self.joint = joint
        self.task = task
        self.figures = dict(figures or {})  # of its training

    @classmethod
    def load(cls, directory: str | Path, device: str = "auto") -> Seq2Seq:
        """The model in a directory. Raises UsageError if there is none, CharrnnError if it is damaged."""
        directory = Path(directory)
        config = model_directory.read_config_of(MODEL_TYPE, directory)
        if not (directory / model_directory.WEIGHTS).exists():
            raise CharrnnError(f"{directory}: no weights yet (they are written at the first validation)")
        try:
            network_config = from_mapping(Seq2SeqConfig, config["network"])
            if None in (network_config.hidden_size, network_config.members, network_config.copy):
                raise ValueError("the network's shape is not all there")
            sides = read_sides(directory, config["vocabs"])
            task, figures = config["task"], config["training"]
        except (KeyError, TypeError, ValueError, UsageError) as error:
            raise CharrnnError(f"{directory / model_directory.CONFIG}: damaged: {error!r}") from None
        tensors, _ = checkpoint.load_tensors(directory / model_directory.WEIGHTS)
        try:
            network = checkpoint.filled(lambda: make_network(network_config, sides), tensors, choose_device(device))
        except ValueError as error:
            raise CharrnnError(f"{directory / model_directory.WEIGHTS}: damaged: {error!r}") from None
        path = directory / model_directory.GENERATION_CONFIG
        try:
            search = from_mapping(SearchConfig, model_directory.read_json(path) if path.exists() else {})
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from None
        joint = JointModel.load(directory / JOINT) if search.joint_weight and (directory / JOINT).exists() else None
        return cls(network, sides, search, task=task, figures=figures, joint=joint)

    def save(self, directory: str | Path) -> None:
        """Write everything but the report and the training's state into a directory, made if missing."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        write_sides(directory, self.sides)
        if self.joint is not None:
            self.joint.save(directory / JOINT)
        checkpoint.save_tensors(directory / model_directory.WEIGHTS, checkpoint.network_tensors(self.network))
        self.write_settings(directory)

    def write_settings(self, directory: Path) -> None:
        """Write `config.json` and `generation_config.json`."""
        model_directory.write_config(directory, self.config())
        settings = json.dumps(asdict(self.search), indent=2)
        atomic_write(directory / model_directory.GENERATION_CONFIG, settings + "\n")

    def config(self) -> dict[str, Any]:
        """What `config.json` holds."""
        return {
            "model_type": MODEL_TYPE,
            "task": self.task,
            "network": asdict(self.network.config),
            "vocabs": describe_sides(self.sides),
            "training": self.figures,
        }

    def translate(self, texts: str | Sequence[str], num_best: int = 1, **search: Any) -> list[Translation]:
        """What is made of each text: `num_best` targets, the best first.

        `search` are fields of `SearchConfig`: `beam=1`, `length_penalty=0.6`, …
        """
        return list(self.translate_lines([texts] if isinstance(texts, str) else texts, num_best, **search))

    summarize = translate  # the same to the network: its pairs decide what it does

    def translate_lines(self, texts: Iterable[str], num_best: int = 1, **search: Any) -> Iterator[Translation]:
        """The same for any number of texts, read and answered in order, in bounded memory."""
        config = replace(self.search, **{name: value for name, value in search.items() if value is not None})
        if num_best < 1:
            raise UsageError(f"num_best must be at least 1, not {num_best}")
        if num_best > config.width:
            raise UsageError(f"num_best {num_best} needs a beam at least as wide: beam is {config.width}")
        if config.joint_weight and self.joint is None:
            raise UsageError(f"this model has no joint-sequence model: joint_weight {config.joint_weight:g} must be 0")
        waiting: list[str] = []
        for text in texts:
            waiting.append(text)
            if len(waiting) == LINES_AT_ONCE:
                yield from self._translate(waiting, config, num_best)
                waiting = []
        yield from self._translate(waiting, config, num_best)

    def align(self, source: str, target: str | None = None) -> Alignment:
        """Where each entry of a target (None: the best that is found) looks in its source.

        Raises UsageError for a network that neither looks its source up nor copies from it.
        """
        target = self.translate(source)[0].text if target is None else target
        (source_ids,) = self.sides.source.encode_shortened([source], self.network.config.max_source)
        (target_ids,) = self.sides.target.encode([target])
        with torch.inference_mode():
            ids, lengths = padded([source_ids], self.network.device)
            inputs, _ = padded([target_ids[:-1]], self.network.device)
            looked = [outputs.pointed_at for outputs, _ in self.network(ids, lengths, inputs)]
        places = [each[:, 0].float() for each in looked if each is not None]
        if not places:
            raise UsageError("this network has neither lexicon nor copying: nothing shows where it looks")
        weights = torch.stack(places).mean(0).cpu().numpy()
        return Alignment(self.sides.source.entries(source_ids), self.sides.target.entries(target_ids[1:]), weights)

    def hypotheses(self, sources: Sequence[Ids], config: SearchConfig, num_best: int) -> list[list[Hypothesis]]:
        """What the network finds for each source, ids between two line ends, and what a joint model says of it."""
        found: list[list[Hypothesis]] = [[] for _ in sources]
        end_id = self.sides.target.vocab.start_id
        with torch.inference_mode():
            for indices in by_length(list(map(len, sources)), max(TOKENS_AT_ONCE // config.width, 1)):
                ids, lengths = padded([sources[i] for i in indices], self.network.device)
                for i, each in zip(indices, search(self.network, ids, lengths, end_id, config, num_best), strict=True):
                    found[i] = each
        return found if self.joint is None else list(map(self.joint.judged, sources, found))

    def _translate(self, texts: Sequence[str], config: SearchConfig, num_best: int) -> list[Translation]:
        """Those of some texts."""
        most = self.network.config.max_source
        sources = self.sides.source.encode(texts, most)
        read = [shortened(source, most) for source in sources]
        found = self.hypotheses(read, config, config.width if config.joint_weight else num_best)
        if config.joint_weight:
            found = [ranked(each, config)[:num_best] for each in found]
        return [
            Translation(
                self._candidates(hypotheses) if text.strip() else (Candidate("", 0.0, 0.0),), len(source) > most
            )
            for text, source, hypotheses in zip(texts, sources, found, strict=True)
        ]

    def _candidates(self, hypotheses: Sequence[Hypothesis]) -> tuple[Candidate, ...]:
        """Texts of hypotheses, each text once."""
        candidates: dict[str, Candidate] = {}
        for each in hypotheses:
            text = self.sides.target.decode(each.ids)
            candidates.setdefault(text, Candidate(text, each.score, each.nats))
        return tuple(candidates.values())


def make_network(config: Seq2SeqConfig, sides: Sides) -> Ensemble:
    """A new network for these vocabularies."""
    sizes = [(len(side.vocab), side.vocab.seen_size) for side in (sides.source, sides.target)]
    return Ensemble(config, sizes[0], sizes[1], sides.shared)


def describe_sides(sides: Sides) -> dict[str, Any]:
    """What `read_sides` needs beside the vocabularies' files."""
    parts = {"source": sides.source} if sides.shared else {"source": sides.source, "target": sides.target}
    return {
        name: {"kind": side.kind, "size": len(side.vocab), "seen_size": side.vocab.seen_size}
        for name, side in parts.items()
    }


def write_sides(directory: Path, sides: Sides) -> None:
    """Write the vocabularies: one file if they are shared, else two."""
    atomic_write(directory / model_directory.TOKENIZER, sides.source.vocab.definition)
    if not sides.shared:
        atomic_write(directory / TARGET_TOKENIZER, sides.target.vocab.definition)


def read_sides(directory: Path, described: Mapping[str, Mapping[str, Any]]) -> Sides:
    """The vocabularies in a directory. Raises KeyError, TypeError or ValueError for a description that is damaged."""
    files = {"source": model_directory.TOKENIZER, "target": TARGET_TOKENIZER}
    sides = {
        name: Texts(values["kind"], Vocab.load(directory / files[name], int(values["seen_size"])))
        for name, values in described.items()
    }
    return Sides(sides["source"], sides.get("target", sides["source"]))
