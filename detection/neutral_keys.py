"""Config keys by what they change: nothing that is measured, or the evaluation of a detector alone."""

#: They change where a run happens and how often it saves or evaluates, but not what is measured.
NEUTRAL_KEYS = {
    "OUTPUT_DIR",
    "SEED",
    "MODEL.WEIGHTS",
    "MODEL.DEVICE",
    "DATALOADER.NUM_WORKERS",
    "SOLVER.CHECKPOINT_PERIOD",
    "TEST.EVAL_PERIOD",
    "TEST.COCO_EVAL",
    "CUDNN_BENCHMARK",
    "VIS_PERIOD",
}


def is_for_evaluation(key: str) -> bool:
    """Whether a trained detector stays the same under another value: only its evaluation reads the key.

    Not so ``TEST.PRECISE_BN``, in spite of its name: the statistics are re-estimated as training ends, and saved.
    """
    if key.startswith("TEST.PRECISE_BN."):
        return False
    return key.startswith("TEST.") or key.endswith("_TEST") or key in ("DATASETS.TEST", "DATASETS.BAD_BOXES")
