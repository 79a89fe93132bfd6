"""Numbers of a YAML file that print as they were written: 87.00 is not 87.0 where digits say how exact a source is."""

from typing import Any

import yaml


class AsPrinted(float):
    """A float whose text is that of its source."""

    text: str

    def __new__(cls, written: str | float) -> "AsPrinted":
        number = super().__new__(cls, written)
        number.text = str(written)
        return number

    def __str__(self) -> str:
        return self.text


def read_yaml(text: str) -> Any:
    """What ``yaml.safe_load`` returns, plain decimal numbers as :class:`AsPrinted`."""
    return yaml.load(text, _Loader)


class _Loader(yaml.SafeLoader):
    """Safe: no tag of Python's."""


def _float(loader: _Loader, node: yaml.ScalarNode) -> float:
    number = loader.construct_yaml_float(node)
    return AsPrinted(node.value) if node.value.replace(".", "", 1).isdecimal() else number


_Loader.add_constructor("tag:yaml.org,2002:float", _float)
