"""How the checkpoints of the field are laid out: one entry a layout, grouped by where they come from.

- ``layout``    what an entry says;
- ``plain``     our own checkpoints, torchvision's, detectron2's;
- ``methods``   the repositories of the methods themselves;
- ``toolboxes`` repositories of many methods.
"""
