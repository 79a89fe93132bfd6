"""Average precision as scikit-learn computes it, for the many small rankings of a cross-validation."""

import numpy as np


def step_average_precision(scores: np.ndarray, present: np.ndarray) -> float:
    """Sum over thresholds of precision times recall step; equal scores are one threshold.

    Args:
        scores: (N,).
        present: (N,) bool, at least one of them true.
    """
    order = np.argsort(-scores, kind="stable")
    score, hit = scores[order], present[order]
    last = np.flatnonzero(np.append(score[1:] != score[:-1], True))  # of the images that share a threshold
    found = hit.cumsum()[last]
    precision = found / (last + 1)
    return float((precision * np.diff(found, prepend=0)).sum() / found[-1])
