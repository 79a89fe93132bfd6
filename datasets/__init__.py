"""Data of the transfer protocols: readers, the check of real folders, and a miniature world in the same formats.

- ``clsa.datasets.categories``   the class names of VOC and COCO and the map between them;
- ``clsa.datasets.voc_folder``   VOC's annotations and lists, read strictly;
- ``clsa.datasets.images``       one image, or one clear error;
- ``clsa.datasets.fingerprint``  which files a number was measured on;
- ``clsa.datasets.cli``          ``clsa-data mini`` renders the miniature world, ``clsa-data check`` looks over a root.
"""
