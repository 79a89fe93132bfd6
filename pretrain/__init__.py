"""Pretraining: a folder of images to a checkpoint, by CLSA-Single, CLSA-Multi or MoCo v2.

Read in this order: ``losses`` (the equations), ``methods`` (Algorithm 1), ``train`` (the loop). The rest serves them.
``clsa-pretrain --help`` (``cli``) is the command, ``config`` lists everything that can be set.
"""
