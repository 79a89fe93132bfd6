"""The arguments of the probes on a folder of images a class."""

import argparse


def add_image_folder_arguments(parser: argparse.ArgumentParser, cache_help: str) -> None:
    parser.add_argument(
        "--weights", metavar="W.pth", required=True, help="backbone in torchvision's names, .pth or .safetensors"
    )
    parser.add_argument(
        "--data", metavar="DIR", required=True, help="folder with train/CLASS/IMAGE and val/CLASS/IMAGE, as ImageNet's"
    )
    parser.add_argument("--output", metavar="DIR", required=True, help="folder for the results")
    parser.add_argument("--cache", metavar="DIR", help=cache_help)
    parser.add_argument("--config-file", metavar="F", help="YAML; without it the published protocol")
    parser.add_argument(
        "overrides", metavar="KEY VALUE", nargs=argparse.REMAINDER, help="config keys, after all options"
    )
