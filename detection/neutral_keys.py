"""Config keys that change where a run happens and how often it saves or evaluates, but not what is measured."""

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
