"""``clsa-classify``: probe frozen features. A subcommand is a module in ``commands`` and a line in :data:`COMMANDS`.

Such a module has ``SUMMARY``, ``DESCRIPTION`` and ``EXAMPLES`` for its help, ``add_arguments(parser)``, ``run(args)``.
PyTorch is imported in ``run``: ``--help`` must not wait for it, nor the SVMs' worker processes, which import this file.
"""

import argparse
from collections.abc import Sequence

from clsa.configs.command import command

from .commands import extract, imagenet, knn, linear, logistic, lowshot, score, svm

COMMANDS = {
    "extract": extract,
    "svm": svm,
    "linear": linear,
    "lowshot": lowshot,
    "logistic": logistic,
    "imagenet": imagenet,
    "knn": knn,
    "score": score,
}


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clsa-classify",
        description="Probe the frozen features of a backbone, on Pascal VOC 2007 and other data.",
        epilog=f"`clsa-classify COMMAND --help` shows examples of each: {', '.join(COMMANDS)}.",
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        module.add_arguments(
            subparsers.add_parser(
                name,
                help=module.SUMMARY,
                description=module.DESCRIPTION,
                epilog=module.EXAMPLES,
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )
        )
    return parser


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of ``clsa-classify``."""
    args = build_parser().parse_args(argv)
    COMMANDS[args.command].run(args)
    return 0


if __name__ == "__main__":
    main()
