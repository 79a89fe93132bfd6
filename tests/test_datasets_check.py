"""``clsa-data check`` on a good, a damaged and a missing root, and on data that is laid out like the real one."""

import json
import shutil
from pathlib import Path

import pytest

from clsa.configs.command import InputError
from clsa.datasets.check.protocols import PROTOCOLS, check_root
from clsa.datasets.cli import main


@pytest.fixture
def root(mini_root: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(mini_root, tmp_path / "mini"))


def problems(root: Path, part: str, deep: bool = False) -> str:
    check = check_root(root, deep=deep)
    assert check.parts[part].status == "wrong"
    assert not check.passed
    return "\n".join(check.parts[part].problems)


def test_a_good_world(mini_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--root", str(mini_root), "--deep"]) == 0
    table = capsys.readouterr().out
    assert "miniature world, size tiny, seed 0" in table
    assert table.count(" ok ") == 7
    assert table.count(" yes") == len(PROTOCOLS)
    assert "problems" not in table


def test_as_json(mini_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--root", str(mini_root), "--json", "--protocols", "voc07-probe"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["passed"] is True
    assert data["parts"]["VOC2007/test"] == {"status": "ok", "images": 40, "expected": 40, "problems": []}
    assert data["protocols"] == {"voc07-probe": {"runs": True, "lacking": []}}
    assert data["miniature"]["seed"] == 0


def test_an_empty_root(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--root", str(tmp_path)]) == 1
    table = capsys.readouterr().out
    assert "real data (official counts)" in table
    for count in ("1,281,167", "50,000", "5,011", "4,952", "11,540", "118,287", "5,000"):
        assert count in table
    assert table.count("missing  ") == 7
    assert "no: coco/train2017 is missing, coco/val2017 is missing" in table


def test_only_the_demanded_protocols_count(root: Path) -> None:
    shutil.rmtree(root / "coco")
    assert main(["check", "--root", str(root), "--protocols", "voc-detection,voc07-probe"]) == 0
    assert main(["check", "--root", str(root), "--protocols", "voc-detection,coco-detection"]) == 1


def test_words_for_a_wrong_root_or_protocol(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--root", str(tmp_path / "nowhere")]) == 1
    assert "nowhere is no folder. Give the folder that holds imagenet/" in capsys.readouterr().err
    assert main(["check", "--root", str(tmp_path), "--protocols", "voc"]) == 1
    assert "no protocol is called 'voc'. There are imagenet-pretrain, imagenet-linear" in capsys.readouterr().err


def test_vocdevkit_in_the_way(root: Path) -> None:
    (root / "VOCdevkit").mkdir()
    (root / "VOC2007").rename(root / "VOCdevkit" / "VOC2007")
    part = check_root(root, ["voc07-probe"]).parts["VOC2007/test"]
    assert part.status == "missing"
    assert part.problems == [f"{root}/VOCdevkit/VOC2007 must lie right in the root: mv {root}/VOCdevkit/VOC2007 {root}"]


def test_a_split_that_is_not_there(root: Path) -> None:
    (root / "VOC2007" / "ImageSets" / "Main" / "test.txt").unlink()
    check = check_root(root, ["voc07-probe"])
    assert check.lacking("voc07-probe") == ["VOC2007/test"]
    assert "test.txt cannot be read" in check.parts["VOC2007/test"].problems[0]


def test_damaged_voc(root: Path) -> None:
    voc = root / "VOC2007"
    (voc / "JPEGImages" / "000003.jpg").unlink()
    (voc / "Annotations" / "000004.xml").unlink()
    (voc / "ImageSets" / "Main" / "cat_trainval.txt").write_text("000001 1\n")
    (voc / "ImageSets" / "Main" / "cow_trainval.txt").write_text("000001 5\n")
    (voc / "ImageSets" / "Main" / "dog_trainval.txt").unlink()
    annotation = voc / "Annotations" / "000005.xml"
    annotation.write_text(annotation.read_text().replace("<name>", "<name>giraffe and "))
    said = problems(root, "VOC2007/trainval")
    assert "1 listed images are not in JPEGImages/: 000003.jpg" in said
    assert "1 annotations cannot be used; the first:" in said
    assert "000004.xml does not exist" in said
    assert "1 label files do not label the images of trainval.txt: cat_trainval.txt" in said
    assert "1 label files cannot be used; the first:" in said
    assert "'000001 5' is not an image id" in said
    assert "1 label files are not in ImageSets/Main/: dog_trainval.txt" in said
    assert "name the class 'giraffe and " in said
    assert check_root(root).parts["VOC2007/test"].status == "ok"


def test_what_detectron2_would_stumble_over(root: Path) -> None:
    voc = root / "VOC2007"
    annotation = voc / "Annotations" / "000061.xml"
    annotation.write_text(annotation.read_text().replace("</xmin>", ".5</xmin>"))
    assert "1 annotations have boxes that are no whole pixels" in problems(root, "VOC2007/test")
    (voc / "ImageSets" / "Main" / "trainval.txt").write_text("000001\n")
    assert "the list names a single image" in problems(root, "VOC2007/trainval")


def test_short_and_empty_imagenet(root: Path) -> None:
    train = root / "imagenet" / "train"
    image = min((train / "n02691156").iterdir())
    image.unlink()
    check = check_root(root)
    assert (check.parts["imagenet/train"].status, check.parts["imagenet/train"].found) == ("short", 59)
    assert check.lacking("imagenet-pretrain") == ["imagenet/train"]

    (train / "n02084071").rename(train / "n99999999")
    (train / "empty").mkdir()
    (root / "imagenet" / "val" / "loose.JPEG").touch()
    said = problems(root, "imagenet/train")
    assert "1 class folders hold no image: empty" in said
    assert "21 class folders instead of 20" in said
    said = problems(root, "imagenet/val")
    assert "1 images lie beside the class folders; sort them" in said
    assert "2 classes are in only one of train and val: n02084071, n99999999" in said


def test_damaged_coco(root: Path) -> None:
    path = root / "coco" / "annotations" / "instances_val2017.json"
    content = json.loads(path.read_text())
    (root / "coco" / "val2017" / content["images"][0]["file_name"]).unlink()
    content["images"][1]["file_name"] = "../../VOC2007/JPEGImages/000001.jpg"
    content["annotations"][0]["image_id"] = 777
    content["annotations"][1]["category_id"] = 12
    content["categories"][0]["name"] = "human"
    path.write_text(json.dumps(content))
    said = problems(root, "coco/val2017")
    assert "2 images of instances_val2017.json are not in val2017/" in said
    assert "../../VOC2007" in said
    assert "1 annotations belong to no listed image: 1" in said
    assert "1 annotations are of no listed category: 2" in said
    assert "not COCO's 80" in said


@pytest.mark.parametrize(
    ("text", "said"), [('{"images": [', "is not readable JSON"), ("[]", "has no proper list of images")]
)
def test_coco_that_is_no_coco(root: Path, text: str, said: str) -> None:
    (root / "coco" / "annotations" / "instances_train2017.json").write_text(text)
    assert said in problems(root, "coco/train2017")


def test_a_cut_off_image_is_found_by_decoding(root: Path) -> None:
    path = root / "coco" / "val2017" / "000000000025.jpg"
    path.write_bytes(path.read_bytes()[:1500])
    assert check_root(root).passed
    assert "1 images cannot be decoded; replace them with whole copies: 000000000025.jpg" in problems(
        root, "coco/val2017", deep=True
    )


def test_a_damaged_record(root: Path) -> None:
    (root / "mini_world.json").write_text('{"size": "tiny"}')
    with pytest.raises(InputError, match=r"mini_world\.json lacks its counts"):
        check_root(root)
