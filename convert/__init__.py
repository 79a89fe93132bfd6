"""Checkpoint -> backbone weights that load completely: verified before they are written, never silently partial.

- ``names``           torchvision's and detectron2's names for the tensors of a ResNet trunk;
- ``architecture``    which ResNet a set of tensors is, and what such a trunk must hold;
- ``safe_reading``    files from strangers into tensors, without ever running code; with ``zip_check``,
                      ``pickle_check``, ``storage_check``, ``numpy_pickle`` and ``stand_ins``;
- ``targets``         whose names and file formats a backbone can be written in;
- ``proof``           what must hold before a file is written, forward parity above all;
- ``backbone_file``   the weights file that every other stage reads and writes;
- ``layouts``         the layouts of checkpoints that can be converted;
- ``sources``         a checkpoint's keys, each put in its place by a layout;
- ``training_record`` what a checkpoint says of its training;
- ``conversion``      one checkpoint into one weights file;
- ``inspection``      what a checkpoint is, without converting it;
- ``cli``             ``clsa-convert``.
"""
