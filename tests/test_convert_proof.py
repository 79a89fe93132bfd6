"""The proof before writing: it must see what it is there to see."""

import pytest
import torch

from clsa.configs.command import InputError
from clsa.convert.architecture import Architecture, build_trunk, trunk_shapes
from clsa.convert.names import detectron2_name
from clsa.convert.proof import STAGES, check_values, detectron2_stages, features, forward_parity, untrained_norms

NARROW = Architecture(50, width_per_group=8)


@pytest.fixture(scope="module")
def trunk() -> dict[str, torch.Tensor]:
    """ResNet-50 in the small, every tensor random."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in trunk_shapes(NARROW).items():
        spread = (2 / torch.Size(shape[1:]).numel()) ** 0.5 if len(shape) == 4 else 0.1
        state[name] = torch.randn(shape, generator=generator) * spread
        if name.endswith("running_var"):
            state[name] = state[name].abs() + 0.5
    return state


def renamed(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {detectron2_name(name): tensor for name, tensor in state.items()}


def test_parity_of_the_same_weights_is_exactly_zero(trunk) -> None:
    zero = dict.fromkeys(STAGES, 0.0)
    assert forward_parity(features(trunk, NARROW), features(renamed(trunk), NARROW, "detectron2")) == zero
    assert forward_parity(features(trunk, NARROW), features(trunk, NARROW, "torchvision")) == zero


def test_stages_are_torchvisions_own(trunk) -> None:
    """Against torchvision's network as a whole, by forward hooks: the second route to the same features."""
    network = build_trunk(50, 8).eval()
    network.load_state_dict(trunk, strict=False)
    seen = []
    for module in (network.maxpool, network.layer1, network.layer2, network.layer3, network.layer4):
        module.register_forward_hook(lambda module, inputs, output: seen.append(output))
    images = torch.randn(2, 3, 96, 64)
    with torch.no_grad():
        network(images)
        features = detectron2_stages(renamed(trunk), images)
    assert [tuple(f.shape) for f in features.values()] == [
        (2, 64, 24, 16), (2, 256, 24, 16), (2, 512, 12, 8), (2, 1024, 6, 4), (2, 2048, 3, 2)
    ]  # fmt: skip
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(features.values(), seen, strict=True))
    assert all(feature.abs().max() > 0.1 for feature in seen)


@pytest.mark.parametrize(
    ("one", "other", "stage"),
    [
        ("layer1.1.conv1.weight", "layer1.2.conv1.weight", "res2"),
        ("layer3.1.bn2.weight", "layer3.1.bn2.bias", "res4"),
        ("layer4.2.bn3.running_mean", "layer4.1.bn3.running_mean", "res5"),
    ],
)
def test_two_tensors_of_one_shape_in_each_others_place(trunk, one: str, other: str, stage: str) -> None:
    exchanged = {**trunk, one: trunk[other], other: trunk[one]}
    for target, written in (("detectron2", renamed(exchanged)), ("torchvision", exchanged)):
        with pytest.raises(InputError, match=rf"differ from the source's: stem 0, .*{stage} [1-9]|{stage} 0\.\d"):
            forward_parity(features(trunk, NARROW), features(written, NARROW, target))


def test_features_that_are_not_finite_prove_nothing(trunk) -> None:
    overflowing = {**trunk, "bn1.weight": trunk["bn1.weight"] * 1e38, "layer1.0.bn1.weight": torch.full((8,), 1e38)}
    with pytest.raises(InputError, match="nan"):
        forward_parity(features(overflowing, NARROW), features(renamed(overflowing), NARROW, "detectron2"))


def test_a_tensor_that_takes_no_part(trunk) -> None:
    with pytest.raises(InputError, match=r"take no part .*res2\.7\.conv1\.weight"):
        detectron2_stages({**renamed(trunk), "res2.7.conv1.weight": torch.ones(1)}, torch.zeros(1, 3, 32, 32))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("layer2.0.bn1.weight", torch.tensor([1.0, float("nan")]), r"NaN or infinity in layer2\.0\.bn1\.weight"),
        ("layer2.0.bn1.weight", torch.tensor([1.0, float("inf")]), "NaN or infinity"),
        ("layer2.0.bn1.running_var", torch.tensor([1.0, 0.0]), r"must be positive.*layer2\.0\.bn1\.running_var"),
        ("layer2.0.bn1.running_var", torch.tensor([1.0, -1.0]), "must be positive"),
        (
            "conv1.weight",
            torch.ones(2, dtype=torch.float16),
            r"need float32 .* got conv1\.weight \(torch\.float16\)",
        ),
    ],
)
def test_unsound_values(name: str, value: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_values({"bn1.weight": torch.zeros(2), name: value}, "x.pth")


def test_untrained_norms_are_counted() -> None:
    state = build_trunk(18).state_dict()
    assert untrained_norms(state) == (20, 20)
    state["bn1.running_mean"] += 1e-3
    state["layer1.0.bn1.running_var"] *= 0.9
    assert untrained_norms(state) == (18, 20)


def test_the_callers_random_numbers_are_left_alone(trunk) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    forward_parity(features(trunk, NARROW), features(trunk, NARROW, "torchvision"))
    assert torch.equal(torch.rand(3), expected)
