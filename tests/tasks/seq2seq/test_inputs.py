"""Texts become ids and are given back, as characters, subwords and symbols."""

import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from charrnn.errors import UsageError
from charrnn.tasks.seq2seq.data import Pair, fold
from charrnn.tasks.seq2seq.inputs import Batch, Encoded, Sides, Texts, VocabConfig

DATES = [Pair(f"{day} May 19{day:02}", f"19{day:02}-05-{day:02}") for day in range(10, 31)]
SOUNDS = [Pair(word * 2, " ".join(f"{letter.upper()}1" for letter in word * 2)) for word in ("abc", "cab", "bbc") * 40]
SENTENCES = [
    Pair(f"the {i % 97} small boys of {i * 7919} are running over there", f"die {i % 97} kleinen Jungen von {i * 7919}")
    for i in range(200)
]


@pytest.mark.parametrize(
    ("pairs", "kinds", "shared"),
    [
        (DATES, ("char", "char"), True),
        (SOUNDS, ("char", "symbol"), False),
        (SENTENCES, ("subword", "subword"), True),
        ([Pair(pair.source, "日本語テキスト" * 3) for pair in SENTENCES], ("subword", "subword"), False),
    ],
    ids=["dates", "sounds", "sentences", "other letters"],
)
def test_a_vocabulary_suits_the_texts(pairs: list[Pair], kinds: tuple[str, str], shared: bool) -> None:
    sides = Sides.suited(pairs, VocabConfig())
    assert (sides.source.kind, sides.target.kind, sides.shared) == (*kinds, shared)


def test_a_symbol_is_one_entry() -> None:
    target = Sides.suited(SOUNDS, VocabConfig()).target
    (ids,) = target.encode(["A1 C1 B1"])
    assert len(ids) == 2 + 3
    assert target.decode(ids[1:-1].tolist()) == "A1 C1 B1"


@pytest.mark.parametrize("kind", ["char", "subword", "symbol"])
@given(text=st.text(max_size=40))
def test_every_text_is_given_back(kind: str, text: str) -> None:
    text = fold(text.encode("utf-8", "replace").decode())
    texts = KNOWN[kind]
    (ids,) = texts.encode([text])
    assert ids[0] == ids[-1] == texts.vocab.start_id
    assert texts.vocab.start_id not in ids[1:-1]
    assert texts.decode(ids[1:-1].tolist()) == text


KNOWN: dict[str, Texts] = {
    kind: Sides.suited(SENTENCES, VocabConfig(source_vocab=kind, target_vocab=kind)).source  # type: ignore[arg-type]
    for kind in ("char", "subword", "symbol")
}


def test_a_long_source_is_cut_to_its_beginning_and_end() -> None:
    sides = Sides.suited(DATES, VocabConfig())
    draw = random.Random(0)
    texts = ["".join(draw.choices("0123456789", k=length)) for length in (10_000, 60, 49, 48, 47)]
    encoded = Encoded.of([Pair(text, "2" * 300) for text in texts], sides, max_source=50, max_target=301)
    assert [len(source) for source in encoded.sources] == [50, 50, 50, 50, 49]
    assert {len(target) for target in encoded.targets} == {302}
    for text, source in zip(texts, encoded.sources, strict=True):
        (whole,) = sides.source.encode([text])
        assert source[:33].tolist() == whole[:33].tolist()  # two thirds of its beginning, a third of its end
        assert source[33:].tolist() == whole[len(whole) - len(source) + 33 :].tolist()


def test_of_a_long_target_the_beginning_is_learned_and_no_end() -> None:
    sides = Sides.suited(DATES, VocabConfig())
    texts = ["1" * 10_000, "1" * 20, "1" * 19, "1"]
    encoded = Encoded.of([Pair("x", text) for text in texts], sides, max_source=50, max_target=20)
    batch = Batch.of(encoded, range(len(texts)), torch.device("cpu"))
    assert batch.counted.sum(0).tolist() == [20, 20, 20, 2]
    ends = (batch.targets == sides.target.vocab.start_id) & batch.counted
    assert ends.sum(0).tolist() == [0, 0, 1, 1]


def test_targets_are_inputs_a_step_later() -> None:
    sides = Sides.suited(DATES, VocabConfig())
    batch = Batch.of(Encoded.of([*DATES[:3], Pair("x", "1")], sides, 50, 50), range(4), torch.device("cpu"))
    assert torch.equal(batch.inputs[1:], batch.targets[:-1])
    assert (batch.inputs[0] == sides.target.vocab.start_id).all()
    assert batch.counted.sum(0).tolist() == [11, 11, 11, 2]
    assert (batch.targets[batch.counted.sum(0) - 1, range(4)] == sides.target.vocab.start_id).all()
    assert batch.source_lengths.tolist() == [13, 13, 13, 3]


def test_what_cannot_be_shared_is_said() -> None:
    with pytest.raises(UsageError, match="cannot share"):
        Sides.suited(SOUNDS, VocabConfig(shared=True))
    with pytest.raises(UsageError, match="unknown target_vocab"):
        VocabConfig(target_vocab="words")  # type: ignore[arg-type]
