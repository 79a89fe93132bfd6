"""Puts the project's heads into detectron2's registry as soon as there is one, and never before.

A script of one's own says ``import clsa.detection``, before or after detectron2, and builds a model from these configs.
Importing detectron2 here would do it too, but would cost every run of the torchvision engine seconds where
detectron2 is installed, and would fix the data's root: ``detectron2.data`` reads DETECTRON2_DATASETS when it is first
imported. So the import system is asked to tell when ``detectron2.modeling`` has been loaded.
"""

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType

REGISTRY_MODULE = "detectron2.modeling"
HEADS = "clsa.detection.extra_norm_head"


def register_heads() -> None:
    """Register the heads with detectron2: now where its models are already imported, else when they will be."""
    if REGISTRY_MODULE in sys.modules:
        importlib.import_module(HEADS)
    elif not any(isinstance(finder, _Watch) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Watch())


class _Watch(importlib.abc.MetaPathFinder):
    """Finds one module, once, by the finders behind it, and has the heads imported after it."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The spec of detectron2's models with a loader that registers; None for every other module."""
        if name != REGISTRY_MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _RegisteringLoader(spec.loader)
        return spec


class _RegisteringLoader(importlib.abc.Loader):
    """Loads as ``loader`` does, then imports the heads."""

    def __init__(self, loader: importlib.abc.Loader):
        self._loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        """As ``loader`` creates it."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Run the module under its own loader, so that ``__loader__`` tells the truth, then import the heads."""
        module.__loader__ = module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        importlib.import_module(HEADS)
