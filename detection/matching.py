"""Which true box a candidate box stands for, and which candidates enter the loss.

G true boxes of an image, P candidates (anchors or proposals).
"""

import torch


def match_candidates(
    ious: torch.Tensor, background_below: float, object_from: float, best_is_object: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Give every candidate its best true box and say whether the overlap makes it an object.

    Args:
        ious: (G, P) in [0, 1].
        background_below, object_from: a candidate whose best IoU is below the first is background, one that reaches
            the second is an object, one in between is neither.
        best_is_object: also take as objects the candidates that overlap most with some true box, however little
            (Faster R-CNN, section 3.1.2, case i). Their match stays the true box that THEY overlap most with, which
            may be another one: so do Detectron and detectron2.

    Returns:
        matches (P,) int64 in [0, G) (0 without true boxes), labels (P,) int8: 1 object, 0 background, -1 neither.
    """
    count = ious.shape[1]
    if ious.numel() == 0:
        return ious.new_zeros(count, dtype=torch.int64), ious.new_zeros(count, dtype=torch.int8)
    best, matches = ious.max(dim=0)
    labels = torch.full_like(matches, -1, dtype=torch.int8)
    labels[best < background_below] = 0
    labels[best >= object_from] = 1
    if best_is_object:
        best_of_truth = ious.max(dim=1, keepdim=True).values  # (G, 1)
        labels[(ious == best_of_truth).any(dim=0)] = 1
    return matches, labels


def sample_candidates(
    is_object: torch.Tensor, is_background: torch.Tensor, number: int, object_fraction: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw at most ``number`` candidates at random, at most ``object_fraction`` of them objects, the rest background.

    Takes two permutations from PyTorch's generator, objects first, as detectron2 does: with equal seeds both engines
    draw the same candidates.

    Args:
        is_object, is_background: (P,) bool.

    Returns:
        Indices of the drawn objects and of the drawn background, int64.
    """
    objects, backgrounds = is_object.nonzero().flatten(), is_background.nonzero().flatten()
    number_objects = min(len(objects), int(number * object_fraction))
    number_backgrounds = min(len(backgrounds), number - number_objects)
    drawn_objects = torch.randperm(len(objects), device=objects.device)[:number_objects]
    drawn_backgrounds = torch.randperm(len(backgrounds), device=backgrounds.device)[:number_backgrounds]
    return objects[drawn_objects], backgrounds[drawn_backgrounds]
