"""The weighted k-nearest-neighbour classifier on frozen features.

    N images, D features, K classes

Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance Discrimination", 2018, section 3.4, and the
evaluation of facebookresearch/dino: rows of L2 norm 1; the k training images of the highest cosine similarity s vote
for their class with weight exp(s / 0.07).
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.functional import normalize
from tqdm import tqdm

from clsa.configs.command import InputError

_TEST_ROWS = 256  # at a time
_TRAIN_ROWS = 65536  # at a time: the training features of ImageNet need not fit into a GPU's memory


def vote(
    train_features: np.ndarray,
    train_targets: np.ndarray,
    test_features: np.ndarray,
    classes: int,
    neighbours: Sequence[int],
    temperature: float = 0.07,
    device: str = "cpu",
) -> dict[int, torch.Tensor]:
    """The votes (N_test, K) float32 for each number of neighbours.

    Args:
        train_features, test_features: (N, D), float16 or float32; may be memory-mapped.
        train_targets: (N_train,) class numbers.
    """
    most = max(neighbours)
    targets = torch.as_tensor(train_targets, device=device)
    votes: dict[int, list[torch.Tensor]] = {k: [] for k in neighbours}
    for start in tqdm(range(0, len(test_features), _TEST_ROWS), desc="nearest neighbours", unit="batch", leave=False):
        queries = _unit_rows(test_features[start : start + _TEST_ROWS], device)
        similarity, index = _nearest(queries, train_features, most, device)
        weight = (similarity / temperature).exp()
        for k in neighbours:
            counted = torch.zeros(len(queries), classes, device=device)
            votes[k].append(counted.scatter_add_(1, targets[index[:, :k]], weight[:, :k]).cpu())
    return {k: torch.cat(parts) for k, parts in votes.items()}


def check_settings(neighbours: Sequence[int], temperature: float, images: int) -> None:
    """Refuse impossible values of the ``KNN`` node, for that many training images."""
    if not neighbours or min(neighbours) < 1 or max(neighbours) > images:
        raise InputError(
            f"KNN.NEIGHBOURS {tuple(neighbours)}: each must be at least 1, and at most the {images} training images"
        )
    if temperature <= 0:
        raise InputError(f"KNN.TEMPERATURE must be above zero, got {temperature}")


def _nearest(queries: torch.Tensor, train: np.ndarray, k: int, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Similarities and row numbers (N, k) of the nearest training rows, the nearest first."""
    similarity = queries.new_empty(len(queries), 0)
    index = torch.empty(len(queries), 0, dtype=torch.int64, device=device)
    for start in range(0, len(train), _TRAIN_ROWS):
        block = queries @ _unit_rows(train[start : start + _TRAIN_ROWS], device).T
        rows = torch.arange(start, start + block.shape[1], device=device).expand(len(queries), -1)
        similarity, index = torch.cat([similarity, block], 1), torch.cat([index, rows], 1)
        similarity, kept = similarity.topk(min(k, similarity.shape[1]), dim=1)
        index = index.gather(1, kept)
    return similarity, index


def _unit_rows(features: np.ndarray, device: str) -> torch.Tensor:
    return normalize(torch.as_tensor(np.asarray(features, dtype=np.float32), device=device), dim=1)
