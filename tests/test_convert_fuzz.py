"""Checkpoints whose keys were tampered with at random: either all tensors are written, and the right ones, or nothing.

The mutations are those that damaged checkpoints and hasty scripts make: tensors renamed, missing, doubled, added,
transposed, exchanged, prefixes changed. Whatever comes out is compared with what went in, by a route of its own.
"""

import pickle
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clsa.configs.command import InputError
from clsa.convert.architecture import Architecture, trunk_shapes
from clsa.convert.conversion import convert
from clsa.convert.sources import LAYOUTS

NARROW = Architecture(50, 8)
SHAPES = dict(trunk_shapes(NARROW))
PREFIX = "module.encoder_q."
KEYS = [f"{PREFIX}{name}" for name in SHAPES]


@pytest.fixture(scope="module")
def whole() -> dict[str, torch.Tensor]:
    """A MoCo state dict without anything but the trunk."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in SHAPES.items():
        tensor = 0.05 * torch.randn(shape, generator=generator)
        state[f"{PREFIX}{name}"] = tensor.abs() + 0.9 if len(shape) == 1 and "bias" not in name else tensor
    return state


def names() -> st.SearchStrategy[str]:
    """Any name: random text, or a trunk tensor's that is slightly off or under another prefix."""
    pieces = [
        "conv1",
        "bn1",
        "layer1",
        "layer4",
        "layer5",
        "0",
        "7",
        "downsample",
        "weight",
        "bias",
        "fc",
        "running_var",
    ]
    prefixes = [PREFIX, "encoder_q.", "module.encoder_k.", "module.", "", "backbone.", "module.encoder."]
    near = st.tuples(st.sampled_from(prefixes), st.lists(st.sampled_from(pieces), min_size=1, max_size=4))
    return st.one_of(
        st.text(max_size=12),
        near.map(lambda parts: parts[0] + ".".join(parts[1])),
        st.tuples(st.sampled_from(prefixes), st.sampled_from(list(SHAPES))).map("".join),
    )


MUTATIONS = st.one_of(
    st.tuples(st.just("drop"), st.sampled_from(KEYS), st.none()),
    st.tuples(st.just("rename"), st.sampled_from(KEYS), names()),
    st.tuples(st.just("double"), st.sampled_from(KEYS), names()),
    st.tuples(st.just("add"), st.sampled_from([(), (1,), (64,), (64, 3, 7, 7)]), names()),
    st.tuples(st.just("transpose"), st.sampled_from(KEYS), st.none()),
    st.tuples(st.just("flatten"), st.sampled_from(KEYS), st.none()),
    st.tuples(st.just("exchange"), st.sampled_from(KEYS), st.sampled_from(KEYS)),
    st.tuples(st.just("poison"), st.sampled_from(KEYS), st.sampled_from([float("nan"), float("inf")])),
    st.tuples(st.just("not a tensor"), st.sampled_from(KEYS), st.sampled_from([None, 3, "x", [1]])),
)


def mutate(state: dict, mutation: tuple) -> None:
    kind, key, argument = mutation
    if kind == "add":
        state[argument] = torch.ones(key)
        return
    if key not in state:
        return
    tensor = state[key]
    if kind == "drop":
        del state[key]
    elif kind == "rename":
        state[argument] = state.pop(key)
    elif kind == "double":
        state[argument] = tensor
    elif kind == "exchange" and argument in state:
        state[key], state[argument] = state[argument], tensor
    elif kind == "not a tensor":
        state[key] = argument
    elif isinstance(tensor, torch.Tensor):
        if kind == "transpose" and tensor.ndim == 4:
            state[key] = tensor.transpose(0, 1)
        elif kind == "flatten":
            state[key] = tensor.flatten()[:-1]
        elif kind == "poison":
            state[key] = torch.full_like(tensor, argument)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    mutations=st.lists(MUTATIONS, min_size=1, max_size=4),
    outer=st.sampled_from(["state_dict", "model", "net", None]),
    target=st.sampled_from([("detectron2", "out.pkl"), ("torchvision", "out.pth"), ("timm", "out.safetensors")]),
    layout=st.sampled_from([None, None, None, "moco", *(layout.name for layout in LAYOUTS)]),
)
def test_all_tensors_or_no_file(whole, mutations: list, outer: str | None, target: tuple, layout: str | None) -> None:
    state = dict(whole)
    for mutation in mutations:
        mutate(state, mutation)
    with TemporaryDirectory() as folder:
        source, destination = Path(folder) / "source.pth", Path(folder) / target[1]
        torch.save(state if outer is None else {outer: state, "epoch": 200}, source)
        try:
            convert(source, destination, target[0], layout=layout)
        except InputError:
            assert list(Path(folder).iterdir()) == [source], "refused, and yet something was written"
            return
        written = tensors_of(destination)
    assert len(written) == len(SHAPES) == 265
    for name in SHAPES:
        tensor = written[name_in_detectron2(name) if target[0] == "detectron2" else name]
        sources = [value for key, value in state.items() if key == name or key.endswith(f".{name}")]
        assert any(isinstance(value, torch.Tensor) and torch.equal(value, tensor) for value in sources), name


def test_what_was_not_tampered_with_is_converted(whole, tmp_path: Path) -> None:
    torch.save({"state_dict": whole}, tmp_path / "source.pth")
    convert(tmp_path / "source.pth", tmp_path / "out.pkl", "detectron2")
    written = tensors_of(tmp_path / "out.pkl")
    assert all(torch.equal(written[name_in_detectron2(name)], whole[PREFIX + name]) for name in SHAPES)


def name_in_detectron2(name: str) -> str:
    """By the replacements that scripts of the field make, not by ``names``."""
    for stage in "4321":
        name = name.replace(f"layer{stage}.", f"res{int(stage) + 1}.")
    for number in "123":
        name = name.replace(f"bn{number}", f"conv{number}.norm")
    name = name.replace("downsample.0", "shortcut").replace("downsample.1", "shortcut.norm")
    return name if name.startswith("res") else f"stem.{name}"


def tensors_of(path: Path) -> dict[str, torch.Tensor]:
    """What a written file holds, without this project's reader."""
    if path.suffix == ".pkl":
        return {name: torch.from_numpy(a) for name, a in pickle.loads(path.read_bytes())["model"].items()}
    return safetensors.torch.load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)
