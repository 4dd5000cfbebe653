"""What a trace holds is what the network says, one entry at a time."""

import pytest
import torch

from charrnn.inspection import trace as module
from charrnn.inspection.trace import Trace, trace
from charrnn.tasks.language_model.model import LanguageModel


def assert_agrees(found: Trace, model: LanguageModel, text: str) -> None:
    """With the network, one entry at a time."""
    network, vocab = model.network, model.vocab
    ids = vocab.encode(text).tolist()
    state, previous, all_probs, all_parts = network.initial_state(1), vocab.start_id, [], []
    with torch.no_grad():
        for entry in [*ids, 0]:
            logits, state = network(torch.tensor([[previous]]), state)
            all_probs.append(logits[0, 0].softmax(-1))
            all_parts.append(
                torch.cat([part[0] for layer in state[: network.config.depth] for part in layer if part.dim() == 2])
            )
            previous = entry
    ends = found.lengths.cumsum()
    torch.testing.assert_close(
        torch.from_numpy(found.states.copy()), torch.stack(all_parts)[ends], rtol=1e-3, atol=1e-4
    )
    probs, seen = torch.stack(all_probs[:-1]), network.seen_size
    shared = probs[:, seen:] / max(len(vocab) - seen, 1)
    came = torch.cat([probs[:, :seen], shared.expand(-1, len(vocab) - seen)], dim=1)[range(len(ids)), ids]
    best = probs[:, :seen].sort(descending=True).values[:, : found.alternatives.shape[1]]
    of_alternatives = probs.gather(1, torch.from_numpy(found.alternatives.copy()))
    assert found.ids.tolist() == ids
    assert found.nats == pytest.approx(-came.log().numpy(), rel=1e-3, abs=1e-5)
    assert found.probabilities == pytest.approx(best.numpy(), rel=1e-3)
    assert found.probabilities == pytest.approx(of_alternatives.numpy(), rel=1e-3)
    above, not_below = ((probs[:, :seen] > factor * came[:, None]).sum(1).numpy() for factor in (1.001, 0.999))
    assert ((above <= found.ranks - 1) & (found.ranks - 1 <= not_below)).all()


def test_every_vocabulary_is_traced_as_step_by_step(
    model_of_any_vocab: LanguageModel, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SEGMENT", 7)
    assert_agrees(trace(model_of_any_vocab, text), model_of_any_vocab, text)


def test_every_cell_is_traced_as_step_by_step(model_of_any_cell: LanguageModel, text: str) -> None:
    found = trace(model_of_any_cell, text)
    assert_agrees(found, model_of_any_cell, text)
    parts = {unit.part for unit in found.units}
    assert parts == ({"h", "c"} if model_of_any_cell.network.config.cell == "lstm" else {"h"})
    assert len(set(found.units)) == len(found.units) == found.states.shape[1]


def test_surprises_are_the_score(model_of_any_vocab: LanguageModel, text: str) -> None:
    found, score = trace(model_of_any_vocab, text), model_of_any_vocab.score(text)
    assert found.nats.sum() == pytest.approx(score.nats, rel=1e-5)
    assert found.bits_per_char == pytest.approx(score.bits_per_char, rel=1e-5)


@pytest.mark.parametrize("text", ["a", "\n", "😀", "Ж" * 20, "a\ud800b"])
def test_alternatives_are_sorted_probabilities(text: str, model_of_any_vocab: LanguageModel) -> None:
    found = trace(model_of_any_vocab, text)
    assert (found.probabilities[:, :-1] >= found.probabilities[:, 1:]).all()
    assert (found.probabilities > 0).all()
    assert (found.probabilities.sum(axis=1) <= 1 + 1e-6).all()
    assert all(len(set(row)) == len(row) for row in found.alternatives.tolist())
    for row, entry, rank in zip(found.alternatives.tolist(), found.ids.tolist(), found.ranks.tolist(), strict=True):
        is_seen = entry < model_of_any_vocab.vocab.seen_size
        assert row[rank - 1] == entry if is_seen and rank <= len(row) else entry not in row


def test_spans_cut_the_text_where_characters_and_entries_end(model_of_any_vocab: LanguageModel, text: str) -> None:
    found, vocab = trace(model_of_any_vocab, text), model_of_any_vocab.vocab
    assert "".join(found.spans) == text
    assert found.lengths.sum() == len(found.ids)
    assert (found.lengths > 0).all()
    ids, start = found.ids.tolist(), 0
    for span, length in zip(found.spans, found.lengths.tolist(), strict=True):
        assert vocab.decode(ids[start : start + length]) == span
        # The smallest that do: no shorter run of entries from here on is text.
        for stop in range(start + 1, start + length):
            with pytest.raises(UnicodeDecodeError):
                vocab.decode_bytes(ids[start:stop]).decode()
        start += length
    if vocab.kind != "subword":
        assert all(len(span) == 1 for span in found.spans)


def test_progress_rises_to_one(model: LanguageModel, text: str) -> None:
    told: list[float] = []
    trace(model, text, told.append)
    assert told == sorted(told)
    assert told[-1] == 1
