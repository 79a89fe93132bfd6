"""clsa.detection.norm_layers: freezing, and the norm over processes."""

import socket
import subprocess
import sys

import pytest
import torch
from torch import distributed, nn

from clsa.detection.norm_layers import NORM_LAYERS, FrozenBatchNorm, NaiveSyncBatchNorm, freeze


def randomised(norm: nn.Module) -> nn.Module:
    state = {name: torch.rand_like(t) + 0.5 for name, t in norm.state_dict().items() if t.is_floating_point()}
    norm.load_state_dict(state, strict=False)
    return norm


def test_a_frozen_norm_is_the_identity_until_weights_are_loaded() -> None:
    x = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(FrozenBatchNorm(3)(x), x)
    torch.testing.assert_close(FrozenBatchNorm(3)(x.requires_grad_()), x)


def test_a_frozen_norm_equals_batch_norm_in_eval_mode() -> None:
    norm = randomised(nn.BatchNorm2d(3)).eval()
    frozen = FrozenBatchNorm(3)
    frozen.load_state_dict(norm.state_dict())
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(frozen(x), norm(x))
    torch.testing.assert_close(frozen(x.clone().requires_grad_()), norm(x))


@pytest.mark.parametrize("name", ["BN", "SyncBN", "naiveSyncBN"])
def test_freezing_keeps_the_values_and_stops_all_learning(name: str) -> None:
    module = nn.Sequential(nn.Sequential(nn.Conv2d(3, 3, 1), randomised(NORM_LAYERS[name](3))))
    before = {n: t.clone() for n, t in module.state_dict().items() if "num_batches" not in n}
    freeze(module)
    module.train()(torch.randn(2, 3, 4, 4))
    after = module.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[n], before[n]) for n in before)
    assert not any(p.requires_grad for p in module.parameters())
    assert isinstance(module[0][1], FrozenBatchNorm)


@pytest.mark.parametrize("name", ["SyncBN", "naiveSyncBN"])
def test_with_one_process_the_synchronised_norms_are_batch_norm(name: str) -> None:
    x = torch.randn(4, 3, 5, 5)
    ours, plain = NORM_LAYERS[name](3), nn.BatchNorm2d(3)
    assert torch.equal(ours(x), plain(x))
    assert torch.equal(ours.running_var, plain.running_var)


def two_processes(rank: int, port: int, results: str) -> None:
    distributed.init_process_group("gloo", init_method=f"tcp://localhost:{port}", rank=rank, world_size=2)
    torch.manual_seed(0)
    whole = torch.randn(4, 3, 5, 5)
    part = whole[2 * rank : 2 * rank + 2].requires_grad_()
    norm = NaiveSyncBatchNorm(3)
    y = norm(part)
    (y * torch.arange(25.0).view(5, 5)).pow(2).sum().backward()
    torch.save({"y": y.detach(), "grad": part.grad, "state": norm.state_dict()}, f"{results}/{rank}.pth")
    distributed.destroy_process_group()


def test_naive_sync_bn_over_two_processes_is_batch_norm_over_their_images(tmp_path) -> None:
    subprocess.run([sys.executable, __file__, str(tmp_path)], check=True)  # as a script: see the last lines
    torch.manual_seed(0)
    whole = torch.randn(4, 3, 5, 5).requires_grad_()
    norm = nn.BatchNorm2d(3)
    y = norm(whole)
    (y * torch.arange(25.0).view(5, 5)).pow(2).sum().backward()
    parts = [torch.load(tmp_path / f"{rank}.pth", weights_only=True) for rank in range(2)]
    torch.testing.assert_close(torch.cat([p["y"] for p in parts]), y.detach(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(torch.cat([p["grad"] for p in parts]), whole.grad, rtol=1e-4, atol=1e-3)
    biased = 0.9 + 0.1 * whole.detach().var((0, 2, 3), unbiased=False)
    torch.testing.assert_close(parts[0]["state"]["running_var"], biased, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(parts[1]["state"]["running_mean"], norm.running_mean, rtol=1e-5, atol=1e-6)


if __name__ == "__main__":  # new processes import what they call, and a test module has no name to import it by
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(two_processes, (port, sys.argv[1]), nprocs=2)
