"""Figures of what was written: edits, valid answers, and the figures of others."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.tasks.seq2seq import metrics
from charrnn.tasks.seq2seq.data import Pair
from charrnn.tasks.seq2seq.metrics import (
    bleu_figures,
    edits,
    error_rate,
    longest_common,
    match_figures,
    rouge_figures,
    words,
)
from charrnn.tasks.seq2seq.model import Candidate, Task, Translation
from charrnn.tasks.seq2seq.report import evaluate, render

WORDS = st.lists(st.sampled_from("abc"), max_size=8)


@given(WORDS, WORDS, WORDS)
def test_edits_are_a_distance(a: list[str], b: list[str], c: list[str]) -> None:
    assert edits(a, a) == 0
    assert edits(a, b) == edits(b, a)
    assert edits(a, c) <= edits(a, b) + edits(b, c)
    assert abs(len(a) - len(b)) <= edits(a, b) <= max(len(a), len(b))


def test_edits_of_known_words() -> None:
    assert edits("kitten", "sitting") == 3
    assert error_rate("AH B", ["AH D EH", "AH B D"]) == (2, 6)


def test_any_valid_answer_is_right_and_the_nearest_counts() -> None:
    figures = match_figures([["a b c", "a b"], ["x y z w"]], ["a b", "x y q w"], symbols=True)
    assert figures == {"exact_match": 0.5, "symbol_error_rate": 1 / 6, "word_error_rate": 0.5}
    figures = match_figures([["ab cd"]], ["ab ce"], symbols=False)
    assert figures == {"exact_match": 0.0, "symbol_error_rate": 1 / 5, "word_error_rate": 1 / 2}


@given(WORDS, WORDS)
def test_a_longest_common_row_stands_in_both(a: list[str], b: list[str]) -> None:
    rows = {row for size in range(len(a) + 1) for row in itertools.combinations(a, size)}
    assert longest_common(a, b) == max(
        len(row) for size in range(len(b) + 1) for row in itertools.combinations(b, size) if row in rows
    )


def test_figures_of_others_are_those_of_perfect_and_of_wrong_texts() -> None:
    texts = ["the cat sat on the mat today", "a dog ran over the green grass"]
    figures = bleu_figures(texts, texts)
    assert figures["bleu"] == pytest.approx(100)
    assert figures["chrf"] == pytest.approx(100)
    assert "tok:13a" in figures["bleu_signature"]
    assert bleu_figures(texts, ["x", "y"])["bleu"] == 0
    assert rouge_figures(texts, texts) == pytest.approx({"rouge_1": 100, "rouge_2": 100, "rouge_l": 100})
    assert rouge_figures(["a b c d"], ["a b x y"])["rouge_1"] == pytest.approx(50)


@pytest.mark.parametrize(
    ("right", "near", "tokens"),
    [
        ("我们明天一起去北京看长城", "我们明天一起去上海看长城", "tok:zh"),
        ("あした一緒に京都へ行きましょう", "あした一緒に大阪へ行きましょう", "tok:char"),
        ("мы поедем завтра в большой город", "мы поедем завтра в малый город", "tok:13a"),
        ("हम कल दिल्ली जाएंगे और किला देखेंगे", "हम कल दिल्ली जाएंगे और बाज़ार देखेंगे", "tok:13a"),
        ("约翰・史密斯明天一起去北京看长城", "约翰・史密斯明天一起去上海看长城", "tok:zh"),
    ],
)
def test_other_scripts_have_figures_too(right: str, near: str, tokens: str) -> None:
    bleu, perfect = bleu_figures([right], [near]), bleu_figures([right], [right])
    assert tokens in bleu["bleu_signature"]
    assert 0 < bleu["bleu"] < perfect["bleu"] == pytest.approx(100)
    near_rouge, perfect_rouge = rouge_figures([right], [near]), rouge_figures([right], [right])
    for name, value in near_rouge.items():
        assert 0 < value < perfect_rouge[name] == pytest.approx(100)
    said = {"a": Translation((Candidate(near, 0.0, 0.0),))}
    assert "bleu" in evaluate([Pair("a", right)], said, "translate", symbols=False)


def test_words_of_other_scripts_are_whole() -> None:
    figures = rouge_figures(["हम कल दिल्ली जाएंगे"], ["हाम काल दुल्ले जोएंगी"])  # no word in common
    assert figures == {"rouge_1": 0, "rouge_2": 0, "rouge_l": 0}
    for word in ("दिल्ली", "naïve".replace("ï", "i\u0308"), "foo_bar"):
        assert words(word) == [word]


def test_without_their_packages_figures_are_left_out_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics.importlib.util, "find_spec", lambda name: None)
    found = {"a b": Translation((Candidate("c d", -0.1, 0.2),))}
    for task, package in (("translate", "sacrebleu"), ("summarize", "rouge-score")):
        figures = evaluate([Pair("a b", "c d")], found, task, symbols=False)  # type: ignore[arg-type]
        assert not {"bleu", "chrf", "rouge_1"} & figures.keys()
        assert f"pip install {package}" in render({"task": task, "validation": figures, "seconds": {}})


def test_a_report_shows_the_best_and_the_worst() -> None:
    pairs = [Pair(f"s{i}", "t" * 10) for i in range(30)]
    found = {f"s{i}": Translation((Candidate("t" * (10 - i % 10), 0.0, 0.0),)) for i in range(30)}
    figures = evaluate(pairs, found, "translate", symbols=False)
    assert [example["source"] for example in figures["samples"]] == [f"s{i}" for i in range(20)]
    assert {example["error_rate"] for example in figures["best"][:3]} == {0.0}
    assert {example["error_rate"] for example in figures["worst"][:3]} == {0.9}
    assert "exact match" in render({"task": "translate", "test": figures, "seconds": {"training": 1.0}})


def test_a_long_source_is_whole_for_programs_and_cut_for_people() -> None:
    source = 1000 * "long "
    figures = evaluate([Pair(source, "x y z")], {source: Translation((Candidate("x", 0.0, 0.0),))}, "summarize", False)
    assert figures["samples"][0]["source"] == source
    assert max(map(len, render({"task": "summarize", "test": figures, "seconds": {}}).splitlines())) < 400


@pytest.mark.parametrize(("task", "figure"), [("translate", "bleu"), ("summarize", "rouge_1")])
def test_sentences_have_the_figures_of_their_task(task: Task, figure: str) -> None:
    found = {"a": Translation((Candidate("the cat sat on the mat", 0.0, 0.0),))}
    figures = evaluate([Pair("a", "the cat sat on the mat")], found, task, symbols=False)
    assert figures[figure] == pytest.approx(100)
    assert {"bleu", "rouge_1"} & figures.keys() == {figure}
    symbols = evaluate([Pair("a", "the cat sat on the mat")], found, task, symbols=True)
    assert not {"bleu", "rouge_1"} & symbols.keys()
