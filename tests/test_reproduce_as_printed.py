"""Published numbers print as their source prints them, and count as what they are."""

import copy
import json
import pickle

import pytest
import yaml

from clsa.reproduce.as_printed import AsPrinted, read_yaml
from clsa.reproduce.content import published_cell, published_values
from clsa.reproduce.ledger import Published, check_entry, read_ledger
from clsa.reproduce.table import Column, PublishedRow, Row, Table
from clsa.reproduce.trials import Sample

ENTRY = {
    "method": "Random",
    "protocol": "voc-r50-c4-24k",
    "metric_flavour": "VOC 11-point, IoU .50:.95",
    "source": "x",
    "status": "verified",
}


def test_a_number_keeps_its_digits_and_stays_a_number() -> None:
    found = read_yaml("{a: 31.60, b: 87.00, c: 5, d: 1.5e+1, e: .inf, f: -2.50}")
    assert [f"{value}" for value in found.values()] == ["31.60", "87.00", "5", "15.0", "inf", "-2.5"]
    number = found["a"]
    assert (number, number + 1, f"{number:.1f}", json.dumps(number)) == (31.6, 32.6, "31.6", "31.6")
    for copied in (copy.deepcopy(number), pickle.loads(pickle.dumps(number)), AsPrinted("31.60")):
        assert (str(copied), copied) == ("31.60", 31.6)


def test_nothing_but_plain_data_is_read() -> None:
    with pytest.raises(yaml.YAMLError):
        read_yaml("!!python/object/apply:os.getcwd []")


def test_published_numbers_have_their_sources_digits() -> None:
    values = read_yaml("{bbox/AP: 32.83, bbox/AP75: 31.60}")
    entry = check_entry({**ENTRY, "values": values, "spread": {"bbox/AP": read_yaml("0.20")}}, "here")
    assert published_values(entry) == "box AP 32.83 ± 0.20, box AP75 31.60"
    row = PublishedRow("Random", (values["bbox/AP75"], None), (read_yaml("0.10"), None), entry)
    assert [published_cell(row, 0), published_cell(row, 1)] == ["31.60 ± 0.10", ""]
    assert any("87.00" in published_values(entry) for entry in read_ledger())


def test_a_difference_is_that_of_the_unrounded_means() -> None:
    def row(method: str, *values: float) -> Row:
        return Row(method, method, "trained", (Sample(values),), (0,))

    column = Column("bbox/AP", "box AP", "VOC", None)
    rows = (row("moco_v2", 57.04), row("clsa_multi", 58.26), row("clsa_single", 57.01))
    table = Table("voc", "VOC", "VOC AP", "", (column,), rows, ())
    assert [table.printed(r, 0) for r in rows] == ["57.0", "58.3", "57.0"]
    assert [table.delta_text(r, 0) for r in rows] == ["", "+1.2", "+0.0"]  # 1.22 and -0.03


def test_the_schema_still_refuses_what_is_no_number() -> None:
    for value in (True, "31.60", 101.0):
        with pytest.raises(Exception, match="it must be names with numbers"):
            check_entry({**ENTRY, "values": {"bbox/AP": value}}, "here")
    assert isinstance(check_entry({**ENTRY, "values": {"bbox/AP": AsPrinted("1.0")}}, "here"), Published)
