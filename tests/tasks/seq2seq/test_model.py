"""A trained model: what it makes of any text, and what a damaged directory gives."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

import charrnn
from charrnn.errors import CharrnnError, UsageError
from charrnn.tasks.seq2seq.model import LINES_AT_ONCE, Seq2Seq, make_network


def test_words_are_written_in_capitals(model: Seq2Seq) -> None:
    words = ["a", "ba", "cab", "éa"]
    right = sum(found.text == word.upper() for word, found in zip(words, model.translate(words), strict=True))
    assert right >= 2


def test_any_text_is_answered_in_order(model: Seq2Seq) -> None:
    texts = ["abc", "", "ab" * 3000, "日本 😀 \ud800", " a\n\tb ", "Ω" * 20] + ["cab"] * LINES_AT_ONCE
    found = list(model.translate_lines(texts, beam=1))
    assert [each.was_cut for each in found[:6]] == [False, False, True, False, False, False]
    assert found[1].text == ""
    assert {each.text for each in found[6:]} == {model.translate("cab", beam=1)[0].text}
    assert [each.text for each in found[:6]] == [model.translate(text, beam=1)[0].text for text in texts[:6]]


def test_the_best_come_first(model: Seq2Seq) -> None:
    for weight in (0.0, 0.5):
        search = {"beam": 3, "length_penalty": 0.0, "joint_weight": weight}
        (found,) = model.translate("abca", num_best=3, **search)
        scores = [candidate.score for candidate in found.candidates]
        assert scores == sorted(scores, reverse=True)
        assert (scores == [-candidate.nats for candidate in found.candidates]) == (weight == 0)
        assert len({candidate.text for candidate in found.candidates}) == len(found.candidates) > 1
        assert model.summarize("abca", num_best=3, **search) == [found]
        assert model.translate("abca", num_best=1, **search)[0].candidates == found.candidates[:1]
    for wrong in ({"num_best": 0}, {"num_best": 3, "beam": 2}, {"beam": 0}):
        with pytest.raises(UsageError):
            model.translate("a", **wrong)  # type: ignore[arg-type]


def test_capitals_look_at_their_letters(model: Seq2Seq) -> None:
    alignment = model.align("bcab", "BCAB")
    assert (alignment.source, alignment.target) == (("\n", *"bcab", "\n"), (*"BCAB", "\n"))
    assert alignment.weights.shape == (5, 6)
    assert alignment.weights.sum(1) == pytest.approx(1, abs=1e-5)
    assert model.align("cab").target == (*model.translate("cab")[0].text, "\n")


def test_an_ensemble_looks_where_its_members_look_on_average(model: Seq2Seq) -> None:
    torch.manual_seed(4)
    ensemble = make_network(replace(model.network.config, members=2), model.sides)
    own = []
    for member in ensemble.members:
        alone = make_network(model.network.config, model.sides)
        alone.members[0].load_state_dict(member.state_dict())
        own.append(Seq2Seq(alone, model.sides, model.search).align("bcab", "BCAB").weights)
    together = Seq2Seq(ensemble, model.sides, model.search).align("bcab", "BCAB").weights
    np.testing.assert_allclose(together, (own[0] + own[1]) / 2, atol=1e-6)
    assert not np.allclose(own[0], own[1], atol=1e-3)


def test_vocabularies_are_readable_by_others(trained: Path, model: Seq2Seq) -> None:
    for side, file in ((model.sides.source, "tokenizer.json"), (model.sides.target, "tokenizer_target.json")):
        assert Tokenizer.from_file(str(trained / file)).encode("abé").ids == side.vocab.encode("abé").tolist()


def test_a_model_is_saved_and_its_search_can_be_edited(model: Seq2Seq, tmp_path: Path) -> None:
    model.save(tmp_path / "copy")
    assert charrnn.load(tmp_path / "copy", device="cpu").translate("abc") == model.translate("abc")
    path = tmp_path / "copy" / "generation_config.json"
    path.write_text(json.dumps({"beam": 1, "max_ratio": 0.0, "max_extra": 3}))
    assert len(charrnn.load(tmp_path / "copy", device="cpu").translate("abcabc")[0].text) <= 2
    path.write_text(json.dumps({"beams": 1}))
    with pytest.raises(UsageError, match="did you mean 'beam'"):
        charrnn.load(tmp_path / "copy")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "joint.safetensors"])
def test_damage_is_one_line(name: str, trained: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(trained, tmp_path / "copy")
    (copy / name).write_bytes((copy / name).read_bytes()[:200])
    with pytest.raises(CharrnnError, match=name) as caught:
        charrnn.load(copy)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", [{"encoder_layers": 1}, {"lexicon": 0}, {"hidden_size": 64}], ids=str)
def test_a_configuration_of_another_network_is_one_line(change: dict[str, int], trained: Path, tmp_path: Path) -> None:
    path = shutil.copytree(trained, tmp_path / "copy") / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"network": config["network"] | change}))
    with pytest.raises(CharrnnError, match="do not fit the network"):
        charrnn.load(tmp_path / "copy")
