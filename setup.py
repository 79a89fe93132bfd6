"""Installs the top-level folders as ``clsa.pretrain``, ``clsa.convert`` and so on, and the ``clsa-*`` commands."""

from setuptools import find_packages, setup

SHARDS = ["webdataset>=1.0"]  # DATA.TRAIN from tar files
FAST = ["simplejpeg>=1.8", "faster-coco-eval>=1.8"]  # DATA.DECODER simplejpeg, TEST.COCO_EVAL faster_coco_eval
FOLDERS = ("datasets", "pretrain", "convert", "detection", "classification", "reproduce", "configs")

packages = [f"clsa.{name}" for name in find_packages(include=[pattern for f in FOLDERS for pattern in (f, f"{f}.*")])]

setup(
    name="clsa-transfer",
    version="0.1.0",
    description="Does this self-supervised ResNet-50 transfer? Pretrain, convert, detect, probe, report.",
    license="MIT",
    python_requires=">=3.10",
    package_dir={"clsa": "."},
    packages=packages,
    package_data={"clsa.configs": ["**/*.yaml", "slurm/*.sh"], "clsa.reproduce": ["ledger/*.yaml", "*.html", "*.css"]},
    install_requires=[
        "torch>=2.9",
        "torchvision>=0.24",
        "fvcore>=0.1.5.post20221221",
        "numpy>=1.26",
        "scipy>=1.11",
        "scikit-learn>=1.3",
        "pycocotools>=2.0.7",
        "opencv-python-headless>=4.8",
        "pillow>=10.0",
        "matplotlib>=3.7",
        "pyyaml>=6.0",
        "tqdm>=4.65",
        "tensorboard>=2.14",
        "safetensors>=0.4",
        "defusedxml>=0.7.1",
    ],
    extras_require={
        "test": ["pytest>=7.4", "pytest-xdist>=3.8", "hypothesis>=6.90", "ruff>=0.6", *SHARDS, *FAST],
        "shards": SHARDS,
        "fast": FAST,
    },
    entry_points={
        "console_scripts": [
            "clsa-data = clsa.datasets.cli:main",
            "clsa-pretrain = clsa.pretrain.cli:main",
            "clsa-convert = clsa.convert.cli:main",
            "clsa-detect = clsa.detection.train_net:main",
            "clsa-classify = clsa.classification.cli:main",
            "clsa-reproduce = clsa.reproduce.cli:main",
            "clsa-ap = clsa.reproduce.ap.cli:main",
            "clsa-report = clsa.reproduce.report_cli:main",
        ]
    },
)
