"""Each fast operation against its reference in plain torch: outputs, gradients, special values."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from charrnn.network import operations

Arguments = dict[str, Any]

SHAPES = [(1, 1, 1), (1, 3, 8), (2, 3, 20), (3, 2, 5), (50, 5, 33)]  # T, B, D
DTYPES = [torch.float32, torch.bfloat16]


def norm_conv(t: int, b: int, d: int, dtype: torch.dtype) -> Arguments:
    tensors = {"weight": torch.randn(d), "conv": torch.randn(4, d), "tail": torch.randn(3, b, d)}
    return {"x": torch.randn(t, b, d), **tensors, "dtype": dtype}


def gated_mix(t: int, b: int, d: int, dtype: torch.dtype) -> Arguments:
    return {"gates": torch.randn(t, b, 3 * d).to(dtype), "h0": torch.randn(b, d)}


def add_norm(t: int, b: int, d: int, dtype: torch.dtype) -> Arguments:
    return masked_add(t, b, d, dtype) | {"weight": torch.randn(d), "dtype": dtype}


def masked_add(t: int, b: int, d: int, dtype: torch.dtype) -> Arguments:
    mask = torch.randint(0, 2, (b, d)) * 2.0
    return {"x": torch.randn(t, b, d), "branch": torch.randn(t, b, d).to(dtype), "mask": mask}


def swiglu(t: int, b: int, d: int, dtype: torch.dtype) -> Arguments:
    return {"pair": torch.randn(t, b, 2 * d).to(dtype)}


def norm(t: int, b: int, d: int, dtype: torch.dtype) -> Arguments:
    return {"x": torch.randn(t, b, d), "weight": torch.randn(d), "dtype": dtype}


def log_softmax_at(t: int, b: int, d: int, dtype: torch.dtype) -> Arguments:
    return {"logits": 3 * torch.randn(t, b, d), "targets": torch.randint(d, (t, b))}


def add_lexicon(t: int, b: int, d: int, dtype: torch.dtype) -> Arguments:
    probabilities = torch.rand(b, 4, 3) * torch.randint(2, (b, 4, 3))
    return {
        "logits": torch.randn(t, 2 * b, d),
        "attention": 1 + torch.rand(t, 2 * b, 4),
        "ids": torch.randint(d, (b, 4, 3)),
        "probabilities": probabilities,
        "gate": torch.rand(t, 2 * b),
    }


MAKERS = {
    make.__name__: make
    for make in (norm_conv, gated_mix, add_norm, masked_add, swiglu, norm, log_softmax_at, add_lexicon)
}
FIXED = ("mask", "targets", "ids", "probabilities")  # arguments without a gradient
MAKERS["gated_mix_parallel"] = gated_mix
every_operation = pytest.mark.parametrize("name", MAKERS)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(4)


def reference(name: str) -> str:
    return f"{name.removesuffix('_parallel')}_reference"


def inputs_of(arguments: Arguments) -> dict[str, Tensor]:
    """The arguments that have a gradient."""
    return {name: value for name, value in arguments.items() if isinstance(value, Tensor) and name not in FIXED}


def call(function: str, arguments: Arguments) -> tuple[Tensor, ...]:
    results = getattr(operations, function)(**arguments)
    return results if isinstance(results, tuple) else (results,)


def outputs_and_gradients(
    function: str, arguments: Arguments, cotangents: Callable[[tuple[Tensor, ...]], list[Tensor]]
) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    leaves = {name: tensor.detach().clone().requires_grad_() for name, tensor in inputs_of(arguments).items()}
    results = call(function, arguments | leaves)
    gradients = torch.autograd.grad(results, list(leaves.values()), cotangents(results))
    return results, dict(zip(leaves, gradients, strict=True))


def same_noise(results: tuple[Tensor, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(result.shape, generator=generator).to(result.dtype) for result in results]


@every_operation
@pytest.mark.parametrize("dtype", DTYPES, ids=["fp32", "bf16"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_an_operation_is_its_reference(name: str, shape: tuple[int, int, int], dtype: torch.dtype) -> None:
    arguments = MAKERS[name](*shape, dtype)
    results, gradients = outputs_and_gradients(name, arguments, same_noise)
    expected, expected_gradients = outputs_and_gradients(reference(name), arguments, same_noise)
    # Two roundings to bfloat16 of nearly the same number differ by one unit in the last place at most.
    tolerance = {"rtol": 2**-7, "atol": 2e-3} if dtype == torch.bfloat16 else {"rtol": 1e-4, "atol": 1e-5}
    assert_close(results, expected, **tolerance)
    for label, gradient in gradients.items():
        bound = tolerance | {"atol": tolerance["atol"] * math.sqrt(shape[0] * shape[1])}  # sums over all rows
        assert_close(gradient, expected_gradients[label], **bound, msg=lambda text, label=label: f"{label}: {text}")


@every_operation
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    arguments = MAKERS[name](5, 2, 6, torch.float32)
    results, gradients = outputs_and_gradients(name, arguments, same_noise)
    noise = same_noise(results)
    step = 1e-2
    for label, gradient in gradients.items():
        direction = torch.randn_like(gradient)
        ahead, behind = (
            sum(
                (result * weight).double().sum()
                for result, weight in zip(
                    call(name, arguments | {label: arguments[label] + sign * step * direction}), noise, strict=True
                )
            )
            for sign in (1, -1)
        )
        slope = (ahead - behind) / (2 * step)
        assert float(slope) == pytest.approx((gradient * direction).sum().item(), rel=0.01, abs=0.02), label


@every_operation
def test_each_result_has_gradients_of_its_own(name: str) -> None:
    arguments = MAKERS[name](4, 2, 6, torch.float32)
    for kept in range(len(call(name, arguments))):

        def one_only(results: tuple[Tensor, ...], kept: int = kept) -> list[Tensor]:
            return [noise * (i == kept) for i, noise in enumerate(same_noise(results))]

        _, gradients = outputs_and_gradients(name, arguments, one_only)
        _, expected = outputs_and_gradients(reference(name), arguments, one_only)
        assert_close(gradients, expected, rtol=1e-4, atol=1e-4)


@every_operation
def test_memory_layout_does_not_matter(name: str) -> None:
    arguments = MAKERS[name](6, 3, 8, torch.float32)
    strided = {
        label: value.mT.contiguous().mT if isinstance(value, Tensor) and value.ndim > 1 else value
        for label, value in arguments.items()
    }
    assert any(not value.is_contiguous() for value in inputs_of(strided).values())
    assert_close(call(name, strided), call(name, arguments), rtol=1e-5, atol=1e-6)


@every_operation
@pytest.mark.parametrize("size", [30.0, 1e4], ids=str)
def test_large_inputs_saturate_as_in_the_reference(name: str, size: float) -> None:
    arguments = MAKERS[name](4, 2, 8, torch.float32)
    large = arguments | {label: size * tensor for label, tensor in inputs_of(arguments).items()}
    results, gradients = outputs_and_gradients(name, large, same_noise)
    expected, expected_gradients = outputs_and_gradients(reference(name), large, same_noise)
    assert_close(results, expected, rtol=1e-4, atol=1e-5 * size)
    assert_close(gradients, expected_gradients, rtol=1e-4, atol=1e-5 * size)


@pytest.mark.parametrize("name", ["gated_mix", "gated_mix_parallel"])
@pytest.mark.parametrize("length", [2, 7, 64, 65, 300])
def test_gates_may_keep_and_forget_all(name: str, length: int) -> None:
    arguments = gated_mix(length, 2, 9, torch.float32)
    update = torch.tensor([-50.0, 0.0, 50.0])[torch.randint(3, (length, 2, 9))]
    update[..., 0], update[..., 1] = -50, 50  # one unit that keeps h0 for ever, and one that forgets at once
    arguments["gates"][..., :9] = update
    results, gradients = outputs_and_gradients(name, arguments, same_noise)
    expected, expected_gradients = outputs_and_gradients(reference(name), arguments, same_noise)
    assert_close(results, expected, rtol=1e-5, atol=1e-6)
    assert_close(gradients, expected_gradients, rtol=1e-4, atol=1e-5)
    assert_close(results[1][:, 0], arguments["h0"][:, 0])
    assert_close(results[1][:, 1], arguments["gates"][-1, :, 9 + 1])


@every_operation
@pytest.mark.parametrize("dtype", DTYPES, ids=["fp32", "bf16"])
def test_a_nan_is_not_lost(name: str, dtype: torch.dtype) -> None:
    arguments = MAKERS[name](4, 2, 8, dtype)
    for label, tensor in inputs_of(arguments).items():
        for position in range(tensor.shape[-1]):
            spoiled = tensor.clone()
            spoiled.view(-1, tensor.shape[-1])[0, position] = math.nan
            results = call(name, arguments | {label: spoiled})
            assert any(result.isnan().any() for result in results), f"{label}[{position}]"


@every_operation
def test_no_graph_is_needed(name: str) -> None:
    arguments = MAKERS[name](4, 2, 8, torch.float32)
    with torch.inference_mode():
        results = call(name, arguments)
    assert_close(results, call(name, arguments), rtol=0, atol=0)


def test_every_operation_has_a_reference_and_is_tested() -> None:
    public = {name for name, value in vars(operations).items() if callable(value) and name.islower() and name[0] != "_"}
    own = {name for name in public if getattr(operations, name).__module__ == operations.__name__}
    assert own == {*MAKERS, *map(reference, MAKERS)}
