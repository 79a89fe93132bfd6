"""Checkpoint -> backbone weights that load completely: verified before they are written, never silently partial.

- ``names``          torchvision's and detectron2's names for the tensors of a ResNet trunk;
- ``architecture``   which ResNet a set of tensors is, and what such a trunk must hold;
- ``safe_reading``   files from strangers into tensors, without ever running code;
- ``proof``          what must hold before a file is written, forward parity above all;
- ``backbone_file``  the weights file that every other stage reads and writes;
- ``sources``        the layouts of checkpoints that can be converted;
- ``conversion``     one checkpoint into one weights file;
- ``cli``            ``clsa-convert``.
"""
