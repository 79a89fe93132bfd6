"""A contact sheet: pictures of a miniature world with their annotations, read back from its files."""

import json
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from pycocotools import mask as coco_mask

from clsa.configs.run_files import atomic_write

from ..categories import VOC_CLASSES
from ..images import open_rgb
from ..voc_folder import image_path, read_annotation, read_image_ids
from .write_imagenet import WNIDS

_WIDTH, _GAP, _TITLE, _CAPTION = 1920, 8, 44, 22
_FONT = str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")

#: The palette of Okabe and Ito, which colour-blind readers can tell apart.
_COLORS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")

Tile = tuple[Image.Image, str]


def write_sheet(root: Path, path: Path) -> None:
    """Draw the sheet of the world at ``root`` into the PNG file ``path``."""
    sections = [
        ("ImageNet, train: one object a picture", 10, _imagenet_tiles(root / "imagenet" / "train", count=20)),
        ("VOC2007, trainval: boxes; difficult objects in gray", 8, _voc_tiles(root / "VOC2007", count=24)),
        ("COCO, val2017: polygons; crowds in white", 5, _coco_tiles(root / "coco", "val2017", count=15)),
    ]
    strips = [_strip(title, columns, tiles) for title, columns, tiles in sections]
    page = Image.new("RGB", (_WIDTH, sum(strip.height for strip in strips)), "white")
    top = 0
    for strip in strips:
        page.paste(strip, (0, top))
        top += strip.height
    with atomic_write(path) as file:
        page.save(file, format="PNG")


def _imagenet_tiles(folder: Path, count: int) -> list[Tile]:
    tiles = []
    for class_name in VOC_CLASSES[:count]:
        first = min((folder / WNIDS[class_name]).iterdir())
        tiles.append((_enlarged(open_rgb(first), 10), class_name))
    return tiles


def _voc_tiles(voc_dir: Path, count: int) -> list[Tile]:
    tiles = []
    for image_id in read_image_ids(voc_dir, "trainval")[:count]:
        original = open_rgb(image_path(voc_dir, image_id))
        tile = _enlarged(original, 8)
        scale = tile.width / original.width
        draw = ImageDraw.Draw(tile)
        for i, item in enumerate(read_annotation(voc_dir, image_id).objects):
            xmin, ymin, xmax, ymax = item.box
            box = [(xmin - 1) * scale, (ymin - 1) * scale, xmax * scale - 1, ymax * scale - 1]
            color = "#999999" if item.difficult else _COLORS[i % len(_COLORS)]
            draw.rectangle(box, outline="black", width=4)
            draw.rectangle(box, outline=color, width=2)
            _label(draw, (box[0], box[1]), item.name, color)
        tiles.append((tile, image_id))
    return tiles


def _coco_tiles(coco_dir: Path, split: str, count: int) -> list[Tile]:
    content = json.loads((coco_dir / "annotations" / f"instances_{split}.json").read_text(encoding="utf-8"))
    names = {category["id"]: category["name"] for category in content["categories"]}
    tiles = []
    for image in content["images"][:count]:
        original = open_rgb(coco_dir / split / image["file_name"])
        tile = _enlarged(original, 5)
        scale = tile.width / original.width
        draw = ImageDraw.Draw(tile, "RGBA")
        for i, item in enumerate(a for a in content["annotations"] if a["image_id"] == image["id"]):
            color = "#FFFFFF" if item["iscrowd"] else _COLORS[i % len(_COLORS)]
            if item["iscrowd"]:
                runs = coco_mask.frPyObjects(item["segmentation"], image["height"], image["width"])
                veil = Image.fromarray(coco_mask.decode(runs) * np.uint8(120)).resize(tile.size)
                tile.paste(color, mask=veil)
            else:
                for polygon in item["segmentation"]:
                    corners = [coordinate * scale for coordinate in polygon]
                    draw.polygon(corners, fill=color + "38")
                    draw.line([*corners, *corners[:2]], fill=color, width=2)
            left, top = (coordinate * scale for coordinate in item["bbox"][:2])
            _label(draw, (left, top), names[item["category_id"]], color)
        tiles.append((tile, image["file_name"]))
    return tiles


def _enlarged(image: Image.Image, columns: int) -> Image.Image:
    """``image`` with its longer side as long as a cell of a row of ``columns``."""
    cell = _cell(columns)
    scale = cell / max(image.size)
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)


def _label(draw: ImageDraw.ImageDraw, corner: tuple[float, float], text: str, color: str) -> None:
    """``text`` on ``color``, above the corner where there is room."""
    font = ImageFont.truetype(_FONT, 11)
    left, top = max(0, corner[0]), max(0, corner[1] - 13)
    draw.rectangle([left, top, left + font.getlength(text) + 3, top + 13], fill=color)
    draw.text((left + 2, top), text, fill="black", font=font)


def _strip(title: str, columns: int, tiles: Sequence[Tile]) -> Image.Image:
    cell = _cell(columns)
    rows = -(-len(tiles) // columns)
    strip = Image.new("RGB", (_WIDTH, _TITLE + rows * (cell + _CAPTION + _GAP)), "white")
    draw = ImageDraw.Draw(strip)
    draw.text((_GAP, 10), title, fill="black", font=ImageFont.truetype(_FONT, 22))
    for i, (tile, caption) in enumerate(tiles):
        left, top = _GAP + i % columns * (cell + _GAP), _TITLE + i // columns * (cell + _CAPTION + _GAP)
        strip.paste(tile, (left + (cell - tile.width) // 2, top + (cell - tile.height) // 2))
        draw.text((left + 2, top + cell + 3), caption, fill="#444444", font=ImageFont.truetype(_FONT, 13))
    return strip


def _cell(columns: int) -> int:
    return (_WIDTH - _GAP) // columns - _GAP
