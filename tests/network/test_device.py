"""Device and precision."""

import pytest
import torch

from charrnn.errors import UsageError
from charrnn.network.device import autocast, choose_device, choose_precision, compiled, cpu_rates, to_device


@pytest.mark.parametrize("name", ["nonsense", "cuda:99", "", "cpu-2", "meta"])
def test_a_device_this_machine_lacks_is_a_usage_error(name: str) -> None:
    with pytest.raises(UsageError, match="no device"):
        choose_device(name)


def test_auto_takes_a_device_that_works() -> None:
    assert torch.ones(2, device=choose_device("auto")).sum() == 2
    assert choose_device("cpu").type == "cpu"


def test_a_precision_asked_for_is_taken() -> None:
    cpu = torch.device("cpu")
    assert choose_precision("bf16", cpu) == "bf16"
    assert choose_precision("fp32", cpu) == "fp32"
    assert choose_precision("auto", cpu) in ("bf16", "fp32")


@pytest.mark.parametrize(
    ("bf16", "fp32", "chosen"), [(400e9, 200e9, "bf16"), (1e9, 140e9, "fp32"), (100e9, 99e9, "fp32")]
)
def test_bf16_is_chosen_where_it_is_clearly_faster(
    bf16: float, fp32: float, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert min(cpu_rates().values()) > 0
    monkeypatch.setattr("charrnn.network.device.cpu_rates", lambda: {"bf16": bf16, "fp32": fp32})
    assert choose_precision("auto", torch.device("cpu")) == chosen


def test_narrow_networks_on_a_cpu_round_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charrnn.network.device.cpu_rates", lambda: {"bf16": 2.0, "fp32": 1.0})
    found = [choose_precision("auto", torch.device("cpu"), width) for width in (64, 65, None)]
    assert found == ["fp32", "bf16", "bf16"]
    assert choose_precision("bf16", torch.device("cpu"), 8) == "bf16"


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_precision_is_that_of_matrix_products(precision: str, dtype: torch.dtype) -> None:
    with autocast(torch.device("cpu"), precision):
        assert (torch.ones(4, 4) @ torch.ones(4, 4)).dtype == dtype


def test_a_tensor_arrives_as_it_was() -> None:
    ids = torch.arange(12).view(3, 4)
    assert torch.equal(to_device(ids, choose_device("auto")).cpu(), ids)


def test_compiling_for_a_cpu_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="compile is for a GPU"):
        compiled(torch.nn.Linear(2, 2), torch.device("cpu"))


def test_where_nothing_can_be_compiled_one_line_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(module: object) -> None:
        raise RuntimeError("\nFailed to find C compiler. Please specify via CC environment variable.\nMore about it: …")

    monkeypatch.setattr(torch, "compile", fail)
    with pytest.raises(UsageError) as caught:
        compiled(torch.nn.Linear(2, 2), torch.device("meta"))
    assert "Failed to find C compiler" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
