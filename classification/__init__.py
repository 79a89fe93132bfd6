"""Frozen backbone weights -> probe -> mAP on Pascal VOC 2007: a linear SVM, and the paper's linear layer."""
