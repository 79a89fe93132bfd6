"""The miniature world: ImageNet, VOC and COCO in small, drawn by rules, in the real formats and places.

Read in this order: ``canvas`` (what a figure is drawn with), ``animals``, ``vehicles``, ``household`` (the 20 classes
of VOC), ``figures`` (a figure of any class), ``scene`` (ground, placing, light), ``pictures`` (what the three data
sets show), ``outlines`` (masks as COCO writes them), ``write_imagenet``, ``write_voc``, ``write_coco`` (their files),
``world`` (all of it, whole or not at all), ``sheet`` (a look at it).
"""
