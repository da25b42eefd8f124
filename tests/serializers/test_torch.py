"""Tensors come back without pickle, and leave their bytes out of the pickles that they are in."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.serializers._helpers import roundtrip, roundtrip_safely

import holdall
from holdall_store.serializers import decode, encode

torch = pytest.importorskip("torch", reason="torch is not installed")

DTYPES = (
    *("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "bfloat16"),
    *("float32", "float64", "complex64", "complex128", "float8_e4m3fn", "float8_e5m2"),
)
TENSORS: dict[str, Any] = {
    **{name: torch.tensor([[0, 1, 1], [1, 0, 1]]).to(getattr(torch, name)) for name in DTYPES},
    "no dimension": torch.tensor(3.5),
    "nothing": torch.empty(0, 3),
    "nothing, permuted": torch.empty(0, 4, 2).permute(2, 0, 1),
    "transposed": torch.arange(12.0).reshape(3, 4).T,
    "channels last": torch.arange(120.0).reshape(2, 3, 4, 5).to(memory_format=torch.channels_last),
    "every second": torch.arange(12.0)[::2],
    "expanded": torch.ones(3).expand(2, 3),
    "conjugated": torch.tensor([1 + 2j]).conj(),
    "signs and NaN": torch.tensor([-0.0, float("nan"), float("inf")]),
    "requires grad": torch.ones(3, requires_grad=True),
}


def _bytes(tensor: Any) -> list[int]:
    flat = tensor.detach().resolve_conj().contiguous().reshape(-1)
    return flat.view(torch.uint8).tolist()  # type: ignore[no-any-return]


def _same(restored: Any, tensor: Any) -> None:
    assert type(restored) is type(tensor)
    assert restored.dtype == tensor.dtype
    assert restored.shape == tensor.shape
    assert restored.requires_grad == tensor.requires_grad
    assert _bytes(restored) == _bytes(tensor)


def test_a_state_dict_loads_without_pickle() -> None:
    """What ``state_dict()`` gives is a tree of tensors with its metadata, and a module takes it back."""
    module = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))
    state = module.state_dict()
    restored = roundtrip_safely(state)
    assert type(restored) is type(state)
    assert list(restored) == list(state)
    assert restored._metadata == state._metadata
    for name, tensor in state.items():
        _same(restored[name], tensor)
    other = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))
    other.load_state_dict(restored)
    assert torch.equal(other[0].weight, module[0].weight)


def test_the_tensors_of_a_pickled_module_leave_its_stream() -> None:
    """A module is pickled, but its parameters are buffers of their own, tied ones once, and come back exactly."""
    module = torch.nn.Sequential(torch.nn.Linear(200, 300, bias=False), torch.nn.Linear(300, 200, bias=False))
    module.tied = module[0].weight
    encoded = encode(module)
    sizes = sorted(source.size for source in encoded.buffers)
    assert encoded.runs_code
    assert sizes[-2:] == [240_000, 240_000]
    assert sum(sizes) < 500_000
    restored = roundtrip(module)
    assert restored.tied is restored[0].weight
    assert torch.equal(restored[1].weight, module[1].weight)
    assert type(restored[1].weight) is torch.nn.Parameter


@pytest.mark.parametrize("name", TENSORS)
def test_tensor_comes_back(name: str) -> None:
    """Tensors of every dtype and layout come back without pickle."""
    _same(roundtrip_safely(TENSORS[name]), TENSORS[name])


def test_dense_strides_are_kept() -> None:
    """A dense tensor keeps how it lies in memory; any other comes back contiguous."""
    for name in ("transposed", "channels last"):
        assert roundtrip_safely(TENSORS[name]).stride() == TENSORS[name].stride()
    assert roundtrip_safely(TENSORS["every second"]).is_contiguous()


def test_parameters_come_back() -> None:
    """Parameters are parameters again, trainable or not, and one that occurs twice is one."""
    weight = torch.nn.Parameter(torch.ones(2))
    frozen = torch.nn.Parameter(torch.ones(2), requires_grad=False)
    for parameter in (weight, frozen):
        _same(roundtrip_safely(parameter), parameter)
    restored = roundtrip_safely({"in": weight, "out": weight})
    assert restored["in"] is restored["out"]


def test_views_of_one_storage_come_back_apart() -> None:
    """Each tensor is saved with its own values."""
    whole = torch.arange(6.0)
    restored = roundtrip_safely([whole, whole[2:4]])
    assert restored[1].tolist() == [2.0, 3.0]
    restored[0][2] = -1
    assert restored[1].tolist() == [2.0, 3.0]


def test_dict_of_tensors_needs_no_pickle() -> None:
    """The weights of a model load safely, and can be trained on."""
    model = torch.nn.Sequential(torch.nn.Linear(20, 20), torch.nn.Linear(20, 2))
    restored = roundtrip_safely(dict(model.state_dict()))
    other = torch.nn.Sequential(torch.nn.Linear(20, 20), torch.nn.Linear(20, 2))
    other.load_state_dict(restored)
    assert all(torch.equal(left, right) for left, right in zip(other.parameters(), model.parameters(), strict=True))
    restored["0.weight"].add_(1)
    assert not torch.equal(restored["0.weight"], model[0].weight)


def test_bytes_are_not_copied() -> None:
    """A contiguous tensor is borrowed when it is saved and is the buffer itself when it is loaded."""
    tensor = torch.arange(1000.0)
    encoded = encode(tensor)
    borrowed: Any = encoded.buffers[0].data
    assert np.shares_memory(np.frombuffer(borrowed, "f4"), tensor.numpy())
    assert encoded.buffers[0].item_bytes == 4
    assert encoded.buffers[0].dense
    stored = memoryview(bytearray(borrowed))
    restored = decode(encoded.node, lambda numbers: [stored for _ in numbers], trust=False)
    assert np.shares_memory(np.frombuffer(stored, "f4"), restored.numpy())


def test_what_is_more_than_values_is_left_to_torch() -> None:
    """Sparse tensors, and tensors with attributes, are pickled."""
    tagged = torch.ones(2)
    tagged.note = "mine"
    for tensor in (torch.eye(3).to_sparse(), tagged):
        assert encode(tensor).runs_code
    assert torch.equal(roundtrip(torch.eye(3).to_sparse()).to_dense(), torch.eye(3))


@pytest.mark.parametrize("name", TENSORS)
def test_reducer_keeps_bytes_out_of_a_pickle(name: str) -> None:
    """What `REDUCERS` makes of a tensor pickles with its bytes beside the stream, or inside it if so asked."""
    from holdall_store.serializers._torch import REDUCERS

    tensor = TENSORS[name]
    reduced = REDUCERS[type(tensor)](tensor)
    beside: list[pickle.PickleBuffer] = []
    stream = pickle.dumps(reduced, protocol=5, buffer_callback=beside.append)
    assert sum(len(buffer.raw()) for buffer in beside) == tensor.numel() * tensor.element_size()
    for rebuild, parts in (
        pickle.loads(stream, buffers=[bytearray(buffer.raw()) for buffer in beside]),
        pickle.loads(pickle.dumps(reduced, protocol=5)),
    ):
        _same(rebuild(*parts), tensor)


def test_reducer_leaves_other_tensors_to_torch() -> None:
    """A sparse tensor is not plain bytes."""
    from holdall_store.serializers._torch import reduce_tensor

    assert reduce_tensor(torch.eye(2).to_sparse()) is NotImplemented


def test_a_tensor_goes_through_a_whole_store(tmp_path: Path) -> None:
    """A dict of tensors is saved and loaded through the face, with torch's version as plain text."""
    client = holdall.Client(tmp_path / "store")
    artifact = holdall.save({"weight": torch.arange(10_000.0), "bias": torch.ones(3)}, "models/state", client=client)
    assert type(artifact.libraries["torch"]) is str
    assert torch.equal(holdall.load("models/state", client=client)["weight"], torch.arange(10_000.0))
    assert torch.equal(artifact["bias"], torch.ones(3))
