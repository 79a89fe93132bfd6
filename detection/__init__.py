"""Backbone weights -> detector -> AP: Faster and Mask R-CNN fine-tuned on VOC and COCO.

Two engines read the same YAML and the same weights: detectron2, the engine of record, and torchvision's parts arranged
to compute what detectron2 computes.
"""
