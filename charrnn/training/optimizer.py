"""The optimizer: Adam, and for matrices Adam in the coordinates in which their gradients hardly correlate.

A matrix's gradient G (rows, N), N its smaller side, is turned into the eigenbasis of the running mean of GᵀG, Adam
makes its step there, and the step is turned back: one-sided SOAP (Vyas et al. 2024, arXiv 2409.11321).

Tables of n-grams, of which a step sees few rows, are moved by Adagrad with one rate a row (Duchi et al. 2011; Naumov et
al. 2019, arXiv 1906.00091), as if each had been seen some times before: so rare ones do not learn by heart what came
after them the few times they were seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from charrnn.network.ngrams import NGrams

COVARIANCE_DECAY = 0.95  # a step
REFRESH_EVERY = 10  # steps between improvements of a basis
SMALLEST_SIDE, LARGEST_SIDE = 8, 2048  # of the smaller side of matrices worth a basis
TABLE_RATE = 12  # of tables, in learning rates
TABLE_PRIOR = 20  # sightings of a row, which make the initial value of its accumulator
EPSILON = 1e-10


class Optimizer:
    """`step(lr)` moves a model's parameters down their gradients, matrices in a basis of their own (see `Rotation`).

    Weight decay (decoupled: Loshchilov & Hutter 2019) acts on these matrices, not on embeddings, biases and norms.
    """

    def __init__(self, model: nn.Module, *, betas: tuple[float, float], weight_decay: float) -> None:
        self.weight_decay = weight_decay
        embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
        tables = {id(module.embedding.weight) for module in model.modules() if isinstance(module, NGrams)}
        self.rotations: dict[str, Rotation] = {}
        self.tables: dict[str, Table] = {}
        moved: dict[str, nn.Parameter] = {}  # what Adam sees: parameters, and for matrices their turned steps
        for name, parameter in model.named_parameters():
            sides = parameter.shape
            if id(parameter) in tables:
                self.tables[name] = Table(parameter)
            elif len(sides) == 2 and id(parameter) not in embeddings and SMALLEST_SIDE <= min(sides) <= LARGEST_SIDE:
                self.rotations[name] = Rotation(parameter)
                moved[name] = self.rotations[name].turned
            else:
                moved[name] = parameter
        self._moved = moved
        self._adam = torch.optim.Adam(list(moved.values()), betas=betas, fused=True)
        self.steps = 0

    def step(self, lr: float) -> None:
        """One step."""
        adam, rotations = self._adam, list(self.rotations.values())
        with torch.no_grad():
            for i, rotation in enumerate(rotations):
                if self.steps > 0 and (self.steps + i * REFRESH_EVERY // len(rotations)) % REFRESH_EVERY == 0:
                    rotation.refresh(adam.state[rotation.turned])
                rotation.turn_gradient()
            for group in adam.param_groups:
                group["lr"] = lr
            adam.step()
            for rotation in rotations:
                rotation.move(1 - lr * self.weight_decay)
            for table in self.tables.values():
                table.move(TABLE_RATE * lr, first=self.steps == 0)
        self.steps += 1

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self._adam.zero_grad(set_to_none=True)
        for rotation in self.rotations.values():
            rotation.matrix.grad = None
        for table in self.tables.values():
            table.weight.grad = None

    def state(self) -> dict[str, Tensor]:
        """All that advances, by name. Nothing before the first step."""
        if self.steps == 0:
            return {}
        tensors = {"steps": torch.tensor(self.steps)}
        for name, parameter in self._moved.items():
            tensors |= {f"{key}.{name}": value for key, value in self._adam.state[parameter].items()}
        for name, rotation in self.rotations.items():
            tensors |= {f"covariance.{name}": rotation.covariance, f"basis.{name}": cast(Tensor, rotation.basis)}
        for name, table in self.tables.items():
            tensors[f"squares.{name}"] = table.squares
        return tensors

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go back to what `state` gave. Raises KeyError or RuntimeError if something is missing or misshapen."""
        self._adam.state.clear()
        self.steps = int(tensors.get("steps", torch.tensor(0)))
        if self.steps == 0:
            for rotation in self.rotations.values():
                rotation.basis = None
            for table in self.tables.values():
                table.squares.zero_()
            return
        for name, parameter in self._moved.items():
            step, mean, square = (tensors[f"{key}.{name}"] for key in ("step", "exp_avg", "exp_avg_sq"))
            self._adam.state[parameter] = {
                "step": step.clone().to(parameter.device),
                "exp_avg": torch.empty_like(parameter).copy_(mean.view_as(parameter)),
                "exp_avg_sq": torch.empty_like(parameter).copy_(square.view_as(parameter)),
            }
        for name, rotation in self.rotations.items():
            covariance, basis = tensors[f"covariance.{name}"], tensors[f"basis.{name}"]
            rotation.basis = torch.empty_like(rotation.covariance).copy_(basis.view_as(rotation.covariance))
            rotation.covariance.copy_(covariance.view_as(rotation.covariance))
        for name, table in self.tables.items():
            table.squares.copy_(tensors[f"squares.{name}"].view_as(table.squares))


class Rotation:
    """The basis in which one matrix is moved. Shapes: R its larger side, N its smaller side."""

    def __init__(self, matrix: nn.Parameter) -> None:
        self.matrix = matrix
        self.flipped = matrix.shape[0] <= matrix.shape[1]
        rows, size = sorted(matrix.shape, reverse=True)
        self.turned = nn.Parameter(matrix.new_zeros(rows, size))  # (R, N): Adam's step, then zero again
        self.covariance = matrix.new_zeros(size, size)  # (N, N)
        self.basis: Tensor | None = None  # (N, N), columns are directions

    def turn_gradient(self) -> None:
        """The matrix's gradient (R, N) in the basis, where Adam finds it."""
        gradient = cast(Tensor, self.matrix.grad)
        gradient = gradient.T if self.flipped else gradient
        if self.basis is None:
            self.covariance.copy_(gradient.T @ gradient)
            known = self.covariance if self.covariance.isfinite().all() else torch.zeros_like(self.covariance)
            known = known.cpu() if known.device.type == "mps" else known  # which cannot do it
            # Contiguous as a restored one is: products then round alike.
            self.basis = torch.linalg.eigh(known)[1].contiguous().to(gradient.device)
        else:
            self.covariance.mul_(COVARIANCE_DECAY).addmm_(gradient.T, gradient, alpha=1 - COVARIANCE_DECAY)
        self.turned.grad = gradient @ self.basis

    def move(self, kept: float) -> None:
        """Scale the matrix by `kept` (weight decay) and add Adam's step, turned back."""
        assert self.basis is not None
        step = self.turned @ self.basis.T
        self.matrix.mul_(kept).add_(step.T if self.flipped else step)
        self.turned.zero_()

    def refresh(self, moments: Mapping[str, Tensor]) -> None:
        """One step of orthogonal iteration towards the covariance's eigenvectors; Adam's moments follow."""
        old = cast(Tensor, self.basis)
        product = self.covariance @ old
        order = (old * product).sum(0).argsort(descending=True)
        self.basis = torch.linalg.qr(product[:, order])[0].contiguous()
        moments["exp_avg"].copy_(moments["exp_avg"] @ (old.T @ self.basis))
        moments["exp_avg_sq"].copy_(moments["exp_avg_sq"][:, order])


class Table:
    """An embedding of many rows (R, D), moved by Adagrad with one rate a row."""

    def __init__(self, weight: nn.Parameter) -> None:
        self.weight = weight
        self.squares = weight.new_zeros(len(weight))  # (R,), sums of the mean squares of a row's gradients

    def move(self, lr: float, first: bool) -> None:
        """One step. A row without gradient stays where it is."""
        gradient = cast(Tensor, self.weight.grad)
        squares = torch.linalg.vector_norm(gradient, dim=1).square_() / gradient.shape[1]
        if first and (seen := squares[squares > 0]).numel():
            self.squares.fill_(TABLE_PRIOR * seen.median())
        self.squares.add_(squares)
        self.weight.addcdiv_(gradient, self.squares.sqrt().add_(EPSILON)[:, None], value=-lr)
