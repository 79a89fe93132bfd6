"""Backbone weights -> detector -> AP: Faster and Mask R-CNN fine-tuned on VOC and COCO.

Two engines read the same YAML and the same weights: detectron2, the engine of record, and torchvision's parts arranged
to compute what detectron2 computes.

``import clsa.detection`` makes ``MODEL.ROI_HEADS.NAME Res5ROIHeadsExtraNorm`` known to detectron2 in any script, before
or after detectron2 itself is imported. It imports neither detectron2 nor PyTorch.
"""

from .register_heads import register_heads

register_heads()
