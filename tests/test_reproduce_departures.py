"""What a detector did otherwise than the published protocol, in words for a reader and in full for a check."""

from clsa.detection.config import get_cfg
from clsa.detection.neutral_keys import NEUTRAL_KEYS
from clsa.reproduce.departures import in_words, summary_and_settings


def test_every_setting_that_can_differ_has_a_word() -> None:
    def keys(node, above=""):
        for name, value in node.items():
            yield from keys(value, f"{above}{name}.") if isinstance(value, dict) else [above + name]

    unnamed = [key for key in keys(get_cfg()) if "." in key and key not in NEUTRAL_KEYS and in_words([key]) == key]
    assert unnamed == []


def test_words_are_said_once() -> None:
    keys = ["TEST.DETECTIONS_PER_IMAGE", "INPUT.MIN_SIZE_TRAIN", "INPUT.MAX_SIZE_TEST", "INPUT.RANDOM_FLIP"]
    assert in_words(keys) == "detections an image, image sizes, augmentation"


def test_a_note_is_parted_from_its_list() -> None:
    note = "x is not y. 2 settings that move AP differ, of head, schedule (there in brackets): A 1 (2); B [3] ([4])"
    summary = "x is not y. 2 settings that move AP differ, of head, schedule."
    assert summary_and_settings(note) == (summary, ["A 1 (2)", "B [3] ([4])"])
    assert summary_and_settings("Another note: it has no list; none.") == ("Another note: it has no list; none.", [])
