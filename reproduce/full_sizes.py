"""How many images the full data sets have: a number measured on a part of one compares with no published number."""

#: Images of the full test data, by the name that a detector's result gives it.
FULL_SIZES = {"coco_2017_val": 5000, "voc_2007_test": 4952}

#: The same of a probe, whose data is called after its folder: what its protocol's id and its data's name, which is
#: ``FOLDER SPLIT -> SPLIT``, begin and end with; images of both splits.
FULL_PROBES = (
    ("voc07-", " trainval -> test", 5011 + 4952),
    ("voc07-", " train+val -> test", 5011 + 4952),
    ("imagenet-", " train -> val", 1_281_167 + 50_000),
)


def full_size(dataset: str, protocol: str) -> int | None:
    """Images of the full ``dataset`` as a result of ``protocol`` counts them; None for data that is not known here."""
    for start, end, images in FULL_PROBES:
        if protocol.startswith(start) and dataset.endswith(end):
            return images
    return FULL_SIZES.get(dataset)
