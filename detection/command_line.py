"""The command line of detection: its options, and examples of its use for ``--help``."""

import argparse

EXAMPLES = """\
examples:
  # MoCo's VOC protocol on 8 GPUs, from a converted backbone
  python detection/train_net.py --config-file configs/detection/voc_r50_c4_24k.yaml --num-gpus 8 \\
      MODEL.WEIGHTS output/backbone_detectron2.pkl OUTPUT_DIR output/voc

  # the same YAML where detectron2 is not installed
  clsa-detect --engine torchvision --config-file configs/detection/voc_r50_c4_24k.yaml --num-gpus 8 \\
      MODEL.WEIGHTS output/backbone_torchvision.pth OUTPUT_DIR output/voc

  # a miniature world on the CPU, from random weights
  DETECTRON2_DATASETS=mini clsa-detect --engine torchvision --num-gpus 0 \\
      --config-file configs/detection/mini_voc_c4_r18.yaml MODEL.WEIGHTS "" OUTPUT_DIR output/mini

  # half the images an iteration: learning rate and schedule follow, old and new are printed
  clsa-detect --engine torchvision --config-file configs/detection/voc_r50_c4_24k.yaml --num-gpus 4 --auto-scale \\
      MODEL.WEIGHTS output/backbone_torchvision.pth OUTPUT_DIR output/voc_b8 SOLVER.IMS_PER_BATCH 8

  # what a config does otherwise than the nearest named protocol; exit code 0 if nothing, 3 if something
  clsa-detect --explain my_config.yaml MODEL.RESNETS.NORM BN

  # five trials, SEED 0 to 4 in output/voc/trial_0 and on; mean and deviation at the end
  clsa-detect --engine torchvision --config-file configs/detection/voc_r50_c4_24k.yaml --num-gpus 8 --trials 5 \\
      MODEL.WEIGHTS output/backbone_torchvision.pth OUTPUT_DIR output/voc

  # three learning rates, all reported in a table and a picture; with --trials each of them so often
  clsa-detect --engine torchvision --config-file configs/detection/voc_r50_c4_24k.yaml --num-gpus 8 \\
      --sweep SOLVER.BASE_LR 0.02,0.05,0.1 MODEL.WEIGHTS output/backbone_torchvision.pth OUTPUT_DIR output/voc_lr

  # detections beside ground truth, small objects framed; operations and parameters, without any data
  clsa-detect --visualize output/voc --images 000001,000006
  clsa-detect --engine torchvision --num-gpus 0 --config-file output/voc/config.yaml --visualize output/voc --count 4 \\
      MODEL.WEIGHTS output/voc/model_final.pth
  clsa-detect --engine torchvision --flops --input-size 800x1333 --config-file configs/detection/voc_r50_c4_24k.yaml

  # evaluate a finished run again
  clsa-detect --engine torchvision --config-file output/voc/config.yaml --num-gpus 1 --eval-only \\
      MODEL.WEIGHTS output/voc/model_final.pth OUTPUT_DIR output/voc_again

DETECTRON2_DATASETS names the folder that holds VOC2007, VOC2012 and coco (default: datasets).
MODEL.WEIGHTS "" trains from random weights; the key must be given. The result is OUTPUT_DIR/result.json.
Several machines: give each the same command with --num-machines, --dist-url and its own --machine-rank, or start it by
torchrun (torchvision only).
"""


def argument_parser() -> argparse.ArgumentParser:
    """The options of MoCo's and detectron2's scripts, and ``--engine``."""
    parser = argparse.ArgumentParser(
        description="Fine-tune a detector from backbone weights and evaluate it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config-file", metavar="FILE", help="YAML; packaged ones are found anywhere")
    parser.add_argument(
        "--engine",
        choices=("detectron2", "torchvision"),
        help="detectron2 is the engine of record; torchvision runs the same YAML without it. Results of the two are "
        "never compared. clsa-detect has no default; detection/train_net.py run by its path takes detectron2.",
    )
    parser.add_argument("--num-gpus", type=int, default=1, metavar="N", help="GPUs of this machine; 0: the CPU")
    parser.add_argument("--eval-only", action="store_true", help="only evaluate MODEL.WEIGHTS, a trained detector")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in OUTPUT_DIR, if any")
    parser.add_argument(
        "--auto-scale",
        action="store_true",
        help="for another SOLVER.IMS_PER_BATCH b than the config's B: lr x b/B; iterations, steps, warm-up and periods "
        "x B/b",
    )
    parser.add_argument(
        "--explain",
        metavar="FILE",
        help="compare a config with the nearest named protocol, or with --protocol NAME, and say of every difference "
        "why it moves AP; nothing is trained. Exit code 0: no difference, 3: differences",
    )
    parser.add_argument("--protocol", metavar="NAME", help="with --explain, such as coco-r50-fpn-1x-moco-2fc")
    parser.add_argument("--json", action="store_true", help="with --explain: as JSON")
    parser.add_argument(
        "--trials",
        type=int,
        metavar="N",
        help="run SEED 0 to N-1, each in OUTPUT_DIR/trial_k, one after another; the mean and the standard deviation of "
        "each value into OUTPUT_DIR/trials.json. With --resume what is finished is skipped",
    )
    parser.add_argument("--trial", type=int, default=0, metavar="K", help="number of this run, for its result.json")
    parser.add_argument(
        "--sweep",
        nargs=2,
        metavar=("KEY", "V1,V2,..."),
        help="run each value of a key in a folder of its own; all of them into OUTPUT_DIR/sweep.json and sweep.png",
    )
    parser.add_argument(
        "--visualize",
        metavar="RUN",
        help="draw beside the ground truth, into RUN/visualized, the detections that the evaluation left in this "
        "OUTPUT_DIR; with --config-file those that the detector in MODEL.WEIGHTS makes now",
    )
    parser.add_argument("--images", metavar="ID,ID", help="with --visualize: these images")
    parser.add_argument(
        "--count", type=int, metavar="N", help="with --visualize: the N (8) with the most small objects"
    )
    parser.add_argument(
        "--min-score",
        type=float,
        metavar="S",
        help="with --visualize: detections from this score on; without, as many of the best as there are objects",
    )
    parser.add_argument(
        "--flops", action="store_true", help="count the operations and parameters of the detector, part by part"
    )
    parser.add_argument(
        "--input-size", metavar="HxW", help="with --flops: noise of this size, without data; else the first test image"
    )
    parser.add_argument("--num-machines", type=int, default=1, metavar="N", help="give each of N machines this command")
    parser.add_argument("--machine-rank", type=int, default=0, metavar="K", help="0 to N-1, its own on each machine")
    parser.add_argument("--dist-url", default="auto", metavar="URL", help="tcp://HOST:PORT, a free port of machine 0")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="override config values")
    return parser


#: Options that say something of another one.
BELONGS_TO = {
    "protocol": "explain",
    "json": "explain",
    "images": "visualize",
    "count": "visualize",
    "min_score": "visualize",
    "input_size": "flops",
}


def refuse_idle_options(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """End the program, as for any bad option, if one is given whose own option is not: it would be ignored."""
    for name, owner in BELONGS_TO.items():
        value = getattr(args, name)
        if value is not None and value is not False and not getattr(args, owner):
            parser.error(f"--{name.replace('_', '-')} is an option of --{owner}, which is not given")
