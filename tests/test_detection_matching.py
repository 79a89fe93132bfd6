"""clsa.detection.matching and sample_proposals: labels written out, and what is drawn."""

import torch

from clsa.configs.loading import load_config
from clsa.detection.config import get_cfg
from clsa.detection.matching import match_candidates, sample_candidates
from clsa.detection.sample_proposals import Truth, sample_proposals

#: Two true boxes, five candidates. The second true box is nowhere covered well; candidate 3 covers it best.
IOUS = torch.tensor(
    [
        [0.80, 0.50, 0.10, 0.35, 0.30],
        [0.00, 0.20, 0.29, 0.30, 0.00],
    ]
)


def test_labels_by_overlap() -> None:
    matches, labels = match_candidates(IOUS, 0.3, 0.7, best_is_object=False)
    assert matches.tolist() == [0, 0, 1, 0, 0]
    assert labels.tolist() == [1, -1, 0, -1, -1]


def test_the_best_candidate_of_a_true_box_is_an_object_but_keeps_its_own_match() -> None:
    """Candidate 3 is the best of the second true box, and overlaps the first one more."""
    matches, labels = match_candidates(IOUS, 0.3, 0.7, best_is_object=True)
    assert labels.tolist() == [1, -1, 0, 1, -1]
    assert matches.tolist() == [0, 0, 1, 0, 0]


def test_with_one_threshold_nothing_is_between() -> None:
    _, labels = match_candidates(IOUS, 0.5, 0.5, best_is_object=False)
    assert labels.tolist() == [1, 1, 0, 0, 0]


def test_without_true_boxes_all_is_background() -> None:
    matches, labels = match_candidates(torch.zeros(0, 3), 0.3, 0.7, best_is_object=True)
    assert matches.tolist() == [0, 0, 0]
    assert labels.tolist() == [0, 0, 0]


def test_drawing_takes_at_most_the_fraction_and_fills_with_background() -> None:
    is_object = torch.tensor([True, True, True, False, False, False, False])
    neither = torch.tensor([False] * 3 + [True] + [False] * 3)
    objects, backgrounds = sample_candidates(is_object, ~is_object & ~neither, 4, 0.25)
    assert len(objects) == 1
    assert objects.item() < 3
    assert sorted(backgrounds.tolist()) == [4, 5, 6]


def test_drawing_takes_two_permutations_objects_first() -> None:
    is_object = torch.arange(20) < 8
    torch.manual_seed(3)
    objects, backgrounds = sample_candidates(is_object, ~is_object, 6, 0.5)
    torch.manual_seed(3)
    assert objects.tolist() == torch.randperm(8)[:3].tolist()
    assert backgrounds.tolist() == (8 + torch.randperm(12)[:3]).tolist()


def test_proposals_are_labelled_with_the_class_of_their_true_box() -> None:
    overrides = ["MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", "4", "MODEL.ROI_HEADS.POSITIVE_FRACTION", "0.75"]
    cfg = load_config(get_cfg(), "detection/voc_r50_c4_24k.yaml", overrides)
    truth = Truth(torch.tensor([[0.0, 0.0, 10.0, 10.0], [50.0, 50.0, 60.0, 60.0]]), torch.tensor([3, 7]))
    proposals = torch.tensor([[0.0, 0.0, 10.0, 9.0], [90.0, 90.0, 99.0, 99.0]])
    samples = sample_proposals(cfg, proposals, truth)
    drawn = {
        tuple(box): (c, tuple(t))
        for box, c, t in zip(*(x.tolist() for x in (samples.boxes, samples.classes, samples.true_boxes)), strict=True)
    }
    assert drawn[0.0, 0.0, 10.0, 9.0] == (3, (0.0, 0.0, 10.0, 10.0))
    assert drawn[0.0, 0.0, 10.0, 10.0] == (3, (0.0, 0.0, 10.0, 10.0))  # the true boxes are added
    assert drawn[50.0, 50.0, 60.0, 60.0] == (7, (50.0, 50.0, 60.0, 60.0))
    assert drawn[90.0, 90.0, 99.0, 99.0][0] == 20  # background


def test_proposals_of_an_image_without_objects_are_background() -> None:
    cfg = load_config(get_cfg(), "detection/voc_r50_c4_24k.yaml")
    truth = Truth(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    samples = sample_proposals(cfg, torch.tensor([[0.0, 0.0, 10.0, 9.0]]), truth)
    assert samples.classes.tolist() == [20]
    assert samples.true_boxes.tolist() == [[0, 0, 0, 0]]
