"""A joint-sequence model: alignment, sums over alignments, and choosing between what a network found."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest

from charrnn.errors import CharrnnError
from charrnn.tasks.seq2seq import joint as module
from charrnn.tasks.seq2seq import joint_kernels as kernels
from charrnn.tasks.seq2seq.data import Pair
from charrnn.tasks.seq2seq.inputs import Encoded, Sides, VocabConfig
from charrnn.tasks.seq2seq.joint import LONGEST, JointModel
from charrnn.tasks.seq2seq.search import Hypothesis, SearchConfig, ranked
from charrnn.text.ngram_model import END, START

SPELLED = {"a": "1", "b": "23", "c": "", "d": "4", "ch": "5"}  # of letters; a rule of two letters is the stronger


def spell(word: str) -> str:
    written = ""
    while word:
        part = word[:2] if word[:2] in SPELLED else word[:1]
        written, word = written + SPELLED[part], word[len(part) :]
    return written


def words(number: int, seed: int = 0) -> list[str]:
    draw = np.random.default_rng(seed)
    found = ["".join(draw.choice(list("aabbccdh"), draw.integers(1, 7))).replace("h", "ch") for _ in range(number)]
    return [word for word in found if spell(word)]


PAIRS = [Pair(word, spell(word)) for word in words(400)]
SIDES = Sides.suited(PAIRS, VocabConfig(source_vocab="char", target_vocab="char", shared=False))


def encoded(pairs: list[Pair]) -> Encoded:
    return Encoded.of(pairs, SIDES, 10_000, 10_000)


def learn(pairs: list[Pair]) -> JointModel:
    return JointModel.learn(encoded(pairs), SIDES)


@pytest.fixture(scope="module")
def joint() -> JointModel:
    return learn(PAIRS)


def log_p(joint: JointModel, word: str, written: str) -> float:
    pair = encoded([Pair(word, written)])
    return joint.log_probability(pair.sources[0][1:-1], pair.targets[0][1:-1].tolist())


def test_what_is_right_is_likelier_than_what_is_nearly_right(joint: JointModel) -> None:
    for word in words(60, seed=1):
        right = spell(word)
        wrong = {right[:i] + other + right[i + 1 :] for i in range(len(right)) for other in "12345"} - {right}
        assert log_p(joint, word, right) > max(log_p(joint, word, each) for each in wrong), word


def test_it_is_the_sum_over_all_ways_to_part_a_pair(joint: JointModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAM", 1000)
    for word, written in (("a", "1"), ("achb", "1523"), ("cba", "231"), ("dddd", "4412"), ("bbh", "2"), ("ab", "5555")):
        pair = encoded([Pair(word, written)])
        source, target = pair.sources[0][1:-1], pair.targets[0][1:-1]
        total = 0.0
        for numbers in itertools.product(range(3), repeat=len(source)):
            if sum(numbers) != len(target):
                continue
            ends = np.cumsum(numbers)
            row = [START]
            for entry, end, number in zip(source, ends, numbers, strict=True):
                first, second = ([int(y) + 1 for y in target[end - number : end]] + [0, 0])[:2]
                code = (int(entry) * joint.base + first) * joint.base + second
                row.append(2 + (joint.units.tolist().index(code) if code in joint.units else len(joint.units)))
            row.append(END)
            total += math.exp(sum(joint.ngrams.log_probability(row[:i], row[i]) for i in range(1, len(row))))
        assert log_p(joint, word, written) == pytest.approx(math.log(total), abs=1e-4)


def test_few_ways_at_once_find_nearly_all(joint: JointModel, monkeypatch: pytest.MonkeyPatch) -> None:
    some = [(word, spell(word)) for word in words(50, seed=2)]
    found = [log_p(joint, *pair) for pair in some]
    monkeypatch.setattr(module, "BEAM", 1000)
    assert found == pytest.approx([log_p(joint, *pair) for pair in some], abs=1e-3)


def test_a_long_pair_is_learned_from_as_a_short_one() -> None:
    long = "".join(words(600, seed=3))[:LONGEST]
    both = learn([Pair(long, spell(long)), Pair("", "1"), Pair("a", "1"), Pair("d" * (LONGEST + 1), "2")])
    longer = "".join(words(600, seed=5))[: 4 * LONGEST]
    assert log_p(both, longer, spell(longer)) < -800  # less than a number can hold
    assert log_p(both, "abd", "1234") > log_p(both, "abd", "1231")
    alone = learn([Pair(long, spell(long)), Pair("a", "1")])
    assert np.array_equal(alone.ngrams.keys, both.ngrams.keys)


def test_what_has_no_place_is_unlikely_but_possible(joint: JointModel) -> None:
    scores = [log_p(joint, "ab", "123" + "4" * extra) for extra in range(6)]
    assert all(math.isfinite(score) for score in scores)
    assert scores == sorted(scores, reverse=True)
    for word, written in (("Ω", "1"), ("a", "Ω"), ("Ωb", "Ω2"), ("", "1"), ("a", "")):
        assert math.isfinite(log_p(joint, word, written))
        assert log_p(joint, word, written) < log_p(joint, "ab", "123")


@pytest.mark.parametrize("name", ["MOST_ENTRIES", "MOST_CELLS"])
def test_of_very_many_pairs_an_even_choice_is_read(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    half = learn(PAIRS[::2])
    sizes = {"MOST_ENTRIES": sum(len(pair.source) for pair in PAIRS)}
    sizes["MOST_CELLS"] = sum(len(pair.source) * len(pair.target) for pair in PAIRS)
    monkeypatch.setattr(module, name, sizes[name] - 1)
    assert np.array_equal(learn(PAIRS).ngrams.keys, half.ngrams.keys)


def test_each_entry_of_a_source_is_in_one_unit_and_units_are_the_pair() -> None:
    train = encoded(PAIRS[:50])
    base = SIDES.target.vocab.seen_size + 2
    p = np.random.default_rng(0).random(SIDES.source.vocab.seen_size * base**2)
    for source, target in zip(train.sources, train.targets, strict=True):
        x, y = source[1:-1].astype(np.int64), target[1:-1].astype(np.int64)
        expected = np.zeros_like(p)
        kernels.expect(x, np.array([0, len(x)]), y, np.array([0, len(y)]), base, p, expected)
        assert expected.sum() == pytest.approx(len(x))
        entries, written = np.divmod(kernels.align(x, y, base, p), base**2)
        assert entries.tolist() == x.tolist()
        assert [digit - 1 for each in written for digit in divmod(int(each), base) if digit] == y.tolist()


def test_both_models_choose(joint: JointModel) -> None:
    pair = encoded([Pair("chab", "5123"), Pair("chab", "523"), Pair("chab", "51")])
    ids = [tuple(target[1:-1].tolist()) for target in pair.targets]
    found = [Hypothesis(ids[1], 1.0, -0.25), Hypothesis(ids[0], 2.0, -0.5), Hypothesis(ids[2], 9.0, -3.0)]
    for weight, penalty in ((0.0, 0.0), (1e-4, 1.0), (1.0, 0.0), (1.0, 1.0)):
        judged = joint.judged(pair.sources[0], found)
        best = ranked(judged, SearchConfig(joint_weight=weight, length_penalty=penalty))
        assert {each.ids for each in best} == set(ids)
        for each in best:
            both = weight * joint.log_probability(pair.sources[0][1:-1], each.ids) - each.nats
            assert each.score == pytest.approx(both / (len(each.ids) + 1) ** penalty)
        assert [each.score for each in best] == sorted((each.score for each in best), reverse=True)
        assert best[0].ids == ids[0 if weight == 1.0 else 1]


def test_it_is_for_pairs_that_could_go_entry_by_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    assert JointModel.suits(SIDES, encoded(PAIRS))
    assert not JointModel.suits(SIDES, encoded([*PAIRS[:8], *[Pair("a", "1111")] * 2]))
    subwords = Sides.suited(PAIRS, VocabConfig(source_vocab="char", target_vocab="subword"))
    assert not JointModel.suits(subwords, Encoded.of(PAIRS, subwords, 100, 100))
    monkeypatch.setattr(module, "MOST_UNITS", 100)
    assert not JointModel.suits(SIDES, encoded(PAIRS))


def test_it_is_the_same_from_a_file(joint: JointModel, tmp_path: Path) -> None:
    path = tmp_path / "joint.safetensors"
    joint.save(path)
    read = JointModel.load(path)
    for word in words(20, seed=4):
        assert log_p(read, word, spell(word)) == log_p(joint, word, spell(word))
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CharrnnError, match="damaged"):
        JointModel.load(path)
