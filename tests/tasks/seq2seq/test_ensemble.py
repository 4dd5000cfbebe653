"""An ensemble is the mean of what its members say, and each of them learns as if it were alone."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from charrnn.tasks.seq2seq.ensemble import Ensemble
from charrnn.tasks.seq2seq.network import Seq2SeqConfig, Seq2SeqNetwork

VOCAB = 8


def make(members: int) -> Ensemble:
    torch.manual_seed(5)
    shape = {"hidden_size": 8, "encoder_layers": 2, "decoder_layers": 1, "num_heads": 2, "lexicon": 0}
    config = Seq2SeqConfig(**shape, members=members, dropout=0.0, token_dropout=0.0, copy=True)
    ensemble = Ensemble(config, (VOCAB, VOCAB), (VOCAB, VOCAB), shared=True)
    with torch.no_grad():
        for parameter in ensemble.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return ensemble.eval()


def batch() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sources, lengths, inputs, targets."""
    draw = torch.Generator().manual_seed(2)
    source, target = (torch.randint(VOCAB, (time, 3), generator=draw) for time in (7, 6))
    return source, torch.tensor([7, 4, 2]), target[:-1], target[1:]


@torch.no_grad()
@pytest.mark.parametrize("members", [1, 3])
def test_a_target_is_as_likely_as_its_members_say_on_average(members: int) -> None:
    ensemble = make(members)
    *read, targets = batch()
    own = torch.stack([network.nats(*network(*read), targets) for network in ensemble.networks])
    assert_close(ensemble.nats(ensemble(*read), targets).neg().exp(), own.neg().exp().mean(0))
    assert members == 1 or not torch.allclose(own[0], own[1])  # each begins at weights of its own


@torch.no_grad()
@pytest.mark.parametrize("members", [1, 3])
def test_steps_with_carried_states_are_all_steps_at_once(members: int) -> None:
    ensemble = make(members)
    source, lengths, inputs, targets = batch()
    memories, states = ensemble.read(source, lengths), ensemble.initial_states(3)
    nats = []
    for entry, target in zip(inputs, targets, strict=True):
        probabilities, states = ensemble.step(entry[None], states, memories)
        assert_close(probabilities.sum(1), torch.ones(3))
        nats.append(-probabilities.gather(1, target[:, None])[:, 0].log())
    assert_close(torch.stack(nats), ensemble.nats(ensemble(source, lengths, inputs), targets))


@pytest.mark.parametrize("threads", [1, 2])
def test_each_member_learns_as_if_it_were_alone(threads: int, use_threads: Callable[[int], None]) -> None:
    use_threads(threads)
    ensemble = make(2).train()
    *read, targets = batch()

    def loss(network: Seq2SeqNetwork) -> Tensor:
        return network.nats(*network(*read), targets, 0.1).sum()

    fused = torch.backends.cuda.flash_sdp_enabled()
    for _ in range(3):
        ensemble.zero_grad(set_to_none=True)
        ensemble.mean_loss(loss).backward()
    assert torch.backends.cuda.flash_sdp_enabled() == fused  # a setting of the process, and as it was
    together = {name: weight.grad for name, weight in ensemble.named_parameters()}
    ensemble.zero_grad(set_to_none=True)
    for network in ensemble.networks:
        (loss(network) / 2).backward()
    for name, weight in ensemble.named_parameters():
        assert_close(together[name], weight.grad, msg=name)


def test_what_each_member_drops_follows_from_the_seed_whichever_comes_first() -> None:
    def losses(order: slice) -> list[float]:
        ensemble = make(2).train()
        for network in ensemble.networks:
            network.encoder.token_dropout = 0.3
            network.decoder.set_dropout(0.3)
        *read, targets = batch()
        torch.manual_seed(7)
        ensemble.mean_loss(lambda network: network.decoder.bias.sum())
        return [network.nats(*network(*read), targets).sum().item() for network in ensemble.networks[order]][order]

    forwards, backwards = losses(slice(None)), losses(slice(None, None, -1))
    assert forwards == backwards
    assert forwards[0] != forwards[1]
