"""scikit-learn's LinearSVC and the exact solver, side by side on the VOC07 SVM protocol.

    python benchmarks/svm.py --grid vissl11 --dim 2048
    python benchmarks/svm.py --grid fair18 --dim 8192 --classes 4
    python benchmarks/svm.py --grid fair26 --features voc07_res5.npz

Features to scores: row normalisation, three folds, all costs of the grid, the last fit, the test scores. Each solver
runs in a process of its own, with one thread unless --threads says otherwise, so that CPU time is work and the peak of
memory its own; the exact solver before and after scikit-learn, so that a machine that gets busier shows. With
--classes N, scikit-learn is given N of the 20, evenly chosen by their frequency, its CPU time is multiplied by 20 / N,
and the comparison is over those N; the exact solver always solves all of them.

--features FILE.npz holds train (N, D), train_labels (N, K), test (M, D), test_labels (M, K), and, if wanted, classes
(K,); labels are 1, -1, and 0 for difficult. --features synthetic draws VOC's 5011 + 4952 images instead: latent
variables whose k-th variance is proportional to 1 / k, a spectrum like that of trained networks' features (Agrawal et
al., "alpha-ReQ: Assessing representation quality in self-supervised learning by measuring eigenspectrum decay", 2022,
find exponents near 1); each of 20 classes, independently present with its frequency in VOC07, adds a direction of its
own, of varying strength; a random rotation; and the softplus, because average-pooled ReLU features are positive and
agree in direction (the mean cosine of two images is about 0.7). The strength is such that the test mAP is near
that of published self-supervised networks: about 90.
"""

import argparse
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from clsa.classification.average_precision import average_precisions
from clsa.classification.svm import GRIDS, POSITIVE_WEIGHT, fit_and_score, grid_of, normalise_rows
from clsa.datasets.categories import VOC_CLASSES

TRAIN, TEST = 5011, 4952
#: Images of VOC2007 trainval in which a class is present, by the table of the challenge's development kit.
POSITIVES = (238, 243, 330, 181, 244, 186, 713, 337, 445, 141, 200, 421, 287, 245, 2008, 245, 96, 229, 261, 256)
STRENGTH = 0.45
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def synthetic(dimensions: int, seed: int) -> dict[str, np.ndarray]:
    """The features and labels that the module's text describes; float32 and int8."""
    rng = np.random.default_rng(seed)
    images, latent = TRAIN + TEST, min(dimensions, 2048)
    present = rng.random((images, len(POSITIVES))) < np.array(POSITIVES) / TRAIN
    deviation = np.arange(1, latent + 1) ** -0.5
    directions = rng.normal(size=(len(POSITIVES), latent)) * deviation
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    strength = STRENGTH * present * np.exp(0.3 * rng.normal(size=present.shape))
    hidden = (rng.normal(size=(images, latent)) * deviation + strength @ directions).astype(np.float32)
    hidden = hidden @ rng.standard_normal((latent, dimensions), dtype=np.float32)
    features = np.logaddexp(0, hidden / hidden.std(), dtype=np.float32)
    labels = np.where(present, 1, -1).astype(np.int8)
    return {
        "train": features[:TRAIN],
        "train_labels": labels[:TRAIN],
        "test": features[TRAIN:],
        "test_labels": labels[TRAIN:],
        "classes": np.array(VOC_CLASSES),
    }


def measure(solver: str, data: Path, costs: tuple[float, ...], columns: list[int], answers: Path) -> None:
    """Fit those classes in this process; times, memory and answers go to the file ``answers``."""
    with np.load(data) as saved:
        train, labels, test = saved["train"], saved["train_labels"][:, columns], saved["test"]
        classes = saved["classes"][columns].tolist()
    if solver == "exact":
        import torch

        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    dtype = np.float32 if solver == "exact" else np.float64
    cpu, wall = time.process_time(), time.perf_counter()
    train, test = normalise_rows(train, dtype), normalise_rows(test, dtype)
    fitted = fit_and_score(train, labels, test, classes, costs, solver=solver)
    np.savez(
        answers,
        cpu=time.process_time() - cpu,
        wall=time.perf_counter() - wall,
        gigabytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
        scores=fitted.scores,
        weights=fitted.weights,
        costs=fitted.costs,
        fits=fitted.fits,
        not_converged=fitted.not_converged,
        solver=json.dumps(fitted.solver),
    )


def run(solver: str, data: Path, costs: tuple[float, ...], columns: list[int]) -> dict[str, np.ndarray]:
    """:func:`measure` in a new process."""
    answers = data.with_name("answers.npz")
    process = multiprocessing.get_context("spawn").Process(target=measure, args=(solver, data, costs, columns, answers))
    process.start()
    process.join()
    if process.exitcode:
        sys.exit(f"{solver} ended with exit code {process.exitcode}: too little memory?")
    with np.load(answers) as saved:
        answer = dict(saved)
    print(
        f"{solver:<8}{len(columns):>3} classes  {float(answer['cpu']):8.1f} s CPU {float(answer['wall']):8.1f} s wall  "
        f"peak {float(answer['gigabytes']):.2f} GB  {int(answer['not_converged'])} of {int(answer['fits'])} fits "
        "did not converge",
        flush=True,
    )
    return answer


def objectives(data: dict[str, np.ndarray], costs: np.ndarray, weights: np.ndarray, columns: list[int]) -> np.ndarray:
    """(K,) of the last fits, in float64, on the features as liblinear sees them."""
    features = normalise_rows(data["train"])
    present = data["train_labels"][:, columns] == 1
    scores = features @ weights[:-1] + weights[-1]
    loss = np.where(present, POSITIVE_WEIGHT, 1.0) * np.maximum(0, 1 - np.where(present, 1, -1) * scores) ** 2
    return (weights**2).sum(axis=0) / 2 + costs * loss.sum(axis=0)


def compare(data: dict[str, np.ndarray], exact: dict, sklearn: dict, columns: list[int]) -> dict[str, object]:
    """What the classes that both fitted say."""
    ours = {name: exact[name][..., columns] for name in ("costs", "weights", "scores")}
    same = ours["costs"] == sklearn["costs"]
    labels = data["test_labels"][:, columns]
    precision, reference = (100 * average_precisions(x["scores"], labels).envelope for x in (ours, sklearn))
    f, f_reference = (objectives(data, x["costs"], x["weights"], columns) for x in (ours, sklearn))
    excess = (f - f_reference)[same] / f_reference[same]
    return {
        "mAP envelope, exact": float(precision.mean()),
        "mAP envelope, scikit-learn": float(reference.mean()),
        "mAP difference, points": float(abs(precision.mean() - reference.mean())),
        "largest AP difference, points": float(abs(precision - reference).max()),
        "best C equal": f"{same.sum()} of {len(columns)}",
        "best C different": {
            str(data["classes"][k]): [float(a), float(b)]
            for k, a, b in zip(columns, ours["costs"], sklearn["costs"], strict=True)
            if a != b
        },
        "objective above scikit-learn's, relative": [float(excess.min()), float(excess.max())] if same.any() else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grid", default="vissl11", choices=tuple(GRIDS))
    parser.add_argument("--dim", type=int, default=2048, help="of synthetic features")
    parser.add_argument("--classes", type=int, default=20, metavar="N", help="how many scikit-learn fits")
    parser.add_argument("--features", default="synthetic", metavar="synthetic|FILE.npz")
    parser.add_argument("--threads", type=int, default=1, help="of the matrix products")
    parser.add_argument("--seed", type=int, default=0, help="of synthetic features")
    parser.add_argument("--only", choices=("exact",), help="the exact solver alone, once")
    args = parser.parse_args()
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(args.threads)))  # inherited by the measured processes

    if args.features == "synthetic":
        data = synthetic(args.dim, args.seed)
    else:
        with np.load(args.features) as saved:
            data = dict(saved)
        data.setdefault("classes", np.array([f"class {k}" for k in range(data["train_labels"].shape[1])]))
    everything = list(range(data["train_labels"].shape[1]))
    count = min(args.classes, len(everything))
    by_frequency = np.argsort((data["train_labels"] == 1).sum(axis=0), kind="stable")
    columns = sorted(by_frequency[np.linspace(0, len(everything) - 1, count).round().astype(int)].tolist())
    costs = grid_of(args.grid)
    print(
        f"{args.grid}, {len(data['train'])} + {len(data['test'])} images, {data['train'].shape[1]}-d, {args.features}"
    )

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.npz"
        np.savez(path, **data)
        exact = [run("exact", path, costs, everything)]
        if args.only:
            print(exact[0]["solver"].item())
            return
        sklearn = run("sklearn", path, costs, columns)
        exact.append(run("exact", path, costs, everything))
    ours = np.mean([answer["cpu"] for answer in exact])
    reference = float(sklearn["cpu"]) * len(everything) / count
    scaled = f" (of {count}, scaled)" if count < len(everything) else ""
    print(f"CPU time of {len(everything)} classes: scikit-learn {reference:.0f} s{scaled}, exact {ours:.1f} s")
    print(f"ratio {reference / ours:.1f}")
    print(json.dumps(compare(data, exact[0], sklearn, columns), indent=1))
    print(json.dumps(json.loads(exact[0]["solver"].item()), indent=1))


if __name__ == "__main__":
    main()
