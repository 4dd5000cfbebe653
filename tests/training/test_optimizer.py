"""The optimizer: Adam where it need not turn anything, blind to the coordinates of its inputs, exactly resumed."""

import copy

import torch
from torch import Tensor, nn
from torch.testing import assert_close

from charrnn.network.ngrams import NGramsBefore
from charrnn.training.optimizer import EPSILON, REFRESH_EVERY, TABLE_PRIOR, TABLE_RATE, Optimizer

ROWS, SIZE = 24, 12


def make(weight: Tensor) -> tuple[nn.Linear, Optimizer]:
    model = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        model.weight.copy_(weight)
        model.bias.zero_()
    return model, Optimizer(model, betas=(0.9, 0.99), weight_decay=0.0)


def gradients(count: int) -> list[Tensor]:
    """Of a matrix (ROWS, SIZE), strongly correlated."""
    generator = torch.Generator().manual_seed(0)
    mixing = torch.diag(torch.logspace(0, -2, SIZE)) @ torch.randn(SIZE, SIZE, generator=generator)
    return [torch.randn(ROWS, SIZE, generator=generator) @ mixing for _ in range(count)]


def take(model: nn.Linear, optimizer: Optimizer, steps: list[Tensor]) -> None:
    for gradient in steps:
        model.weight.grad = gradient.clone()
        model.bias.grad = torch.zeros_like(model.bias)
        optimizer.step(0.01)


def walk(weight: Tensor, steps: list[Tensor]) -> Tensor:
    model, optimizer = make(weight)
    take(model, optimizer, steps)
    return model.weight.detach()


def test_vectors_and_tables_are_moved_by_adam() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(20, 16), nn.LayerNorm(16))
    reference = copy.deepcopy(model)
    optimizer = Optimizer(model, betas=(0.9, 0.99), weight_decay=0.5)
    adam = torch.optim.Adam(reference.parameters(), betas=(0.9, 0.99), lr=0.01)
    for _ in range(5):
        for own, other in zip(model.parameters(), reference.parameters(), strict=True):
            own.grad = torch.randn_like(own)
            other.grad = own.grad.clone()
        optimizer.step(0.01)
        adam.step()
    assert_close(list(model.parameters()), list(reference.parameters()))


def test_a_matrix_takes_the_same_steps_in_turned_coordinates() -> None:
    # Adam alone would not: turned inputs turn the gradients, and here the steps turn with them.
    torch.manual_seed(0)
    turn = torch.linalg.qr(torch.randn(SIZE, SIZE))[0]
    weight = torch.randn(ROWS, SIZE)
    straight = walk(weight, gradients(REFRESH_EVERY))
    turned = walk(weight @ turn, [gradient @ turn for gradient in gradients(REFRESH_EVERY)])
    assert_close(turned, straight @ turn, rtol=1e-3, atol=1e-4)


def test_a_matrix_lying_down_takes_the_steps_of_one_standing() -> None:
    weight = torch.zeros(ROWS, SIZE)
    lying = walk(weight.T.contiguous(), [gradient.T.contiguous() for gradient in gradients(25)])
    assert_close(lying.T, walk(weight, gradients(25)), rtol=1e-3, atol=1e-4)


def test_a_step_is_as_long_as_adams() -> None:
    moved = walk(torch.zeros(ROWS, SIZE), gradients(1))
    assert_close(moved.square().mean().sqrt(), torch.tensor(0.01), rtol=1e-3, atol=0)


def test_a_basis_stays_orthogonal_and_finds_the_eigenvectors() -> None:
    model, optimizer = make(torch.zeros(ROWS, SIZE))
    for gradient in gradients(400):
        model.weight.grad, model.bias.grad = gradient, torch.zeros_like(model.bias)
        optimizer.step(0.001)
    rotation = optimizer.rotations["weight"]
    assert rotation.basis is not None
    assert_close(rotation.basis.T @ rotation.basis, torch.eye(SIZE), rtol=0, atol=1e-5)
    inside = rotation.basis.T @ rotation.covariance @ rotation.basis
    off_diagonal = inside - inside.diag().diag()
    assert off_diagonal.norm() < 0.3 * inside.diag().norm()


def test_a_restored_optimizer_goes_on_exactly() -> None:
    steps = gradients(35)
    model, optimizer = make(torch.ones(ROWS, SIZE))
    take(model, optimizer, steps[:17])
    saved = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in optimizer.state().items()}
    other, restored = make(model.weight.detach())
    restored.restore(saved)
    for its in (optimizer, restored):  # a product's last digit depends on how its factors lie in memory
        assert all(tensor.is_contiguous() for tensor in its.state().values())
    take(model, optimizer, steps[17:])
    take(other, restored, steps[17:])
    assert torch.equal(model.weight, other.weight)


def test_before_the_first_step_there_is_nothing_to_save() -> None:
    model, optimizer = make(torch.ones(ROWS, SIZE))
    assert optimizer.state() == {}
    first = walk(torch.ones(ROWS, SIZE), gradients(3))
    for gradient in gradients(2):
        model.weight.grad, model.bias.grad = gradient, torch.zeros_like(model.bias)
        optimizer.step(0.0)
    optimizer.restore({})
    for gradient in gradients(3):
        model.weight.grad, model.bias.grad = gradient.clone(), torch.zeros_like(model.bias)
        optimizer.step(0.01)
    assert torch.equal(model.weight.detach(), first)


def test_a_gradient_that_is_no_number_reaches_the_weights_where_it_is_seen() -> None:
    for spoiled_step in (0, 1, REFRESH_EVERY):
        steps = gradients(REFRESH_EVERY + 2)
        steps[spoiled_step][3, 4] = torch.nan
        assert walk(torch.ones(ROWS, SIZE), steps).isnan().any()


def test_tables_of_ngrams_are_moved_by_adagrad_with_one_rate_a_row_and_only_where_they_were_read() -> None:
    torch.manual_seed(0)
    table = NGramsBefore(6, 16, 10)
    others = nn.LayerNorm(4)
    optimizer = Optimizer(nn.ModuleList([table, others]), betas=(0.9, 0.99), weight_decay=0.5)
    expected, squares = table.embedding.weight.detach().clone(), torch.zeros(7)
    for read in ([1, 2, 5], [2, 5], [2], [1, 6]):
        gradient = torch.zeros(7, 4)
        gradient[read] = torch.randn(len(read), 4)
        table.embedding.weight.grad = gradient.clone()
        optimizer.step(0.01)
        if optimizer.steps == 1:
            squares += TABLE_PRIOR * gradient[read].square().mean(1).median()
        for row in read:
            squares[row] += gradient[row].square().mean()
            expected[row] -= TABLE_RATE * 0.01 * gradient[row] / (squares[row].sqrt() + EPSILON)
    assert_close(table.embedding.weight.detach(), expected)
    assert not expected[[0, 3, 4]].any()
    assert expected[[1, 2, 5, 6]].all()
