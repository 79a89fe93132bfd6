"""``Res5ROIHeadsExtraNorm``: detectron2's C4 head with a norm layer behind res5, as in MoCo's detection protocol.

Importing this module puts the head into detectron2's registry, where ``MODEL.ROI_HEADS.NAME`` finds it. In a script of
one's own ``import clsa.detection`` sees to that (``register_heads.py``), for evaluation as well as for training.
"""

from typing import Any

from detectron2.config import CfgNode
from detectron2.layers import get_norm
from detectron2.modeling.roi_heads import ROI_HEADS_REGISTRY, Res5ROIHeads

from clsa.configs.command import InputError


@ROI_HEADS_REGISTRY.register()
class Res5ROIHeadsExtraNorm(Res5ROIHeads):
    """``Res5ROIHeads`` whose res5 ends in a norm over its output channels (2048 in a ResNet-50).

    "the box prediction head consists of the conv5 stage (including global pooling) followed by a BN layer" (He et al.,
    Momentum Contrast, appendix A.3). As in MoCo's public code the norm stands before the pooling, masks see it too,
    and its tensors are named ``roi_heads.res5.norm.*``, so detectors that were trained there load here.
    The norm's kind is ``MODEL.RESNETS.NORM``.
    """

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, Any]) -> dict[str, Any]:
        """The arguments of ``Res5ROIHeads``; ``input_shape`` maps ``"res4"`` to its ``ShapeSpec``.

        Raises:
            InputError: ``MODEL.RESNETS.NORM`` is empty.
        """
        if not cfg.MODEL.RESNETS.NORM:
            raise InputError(
                'MODEL.RESNETS.NORM is "", but MODEL.ROI_HEADS.NAME Res5ROIHeadsExtraNorm adds a norm of that kind: '
                "set NORM to SyncBN, or NAME to Res5ROIHeads."
            )
        arguments = super().from_config(cfg, input_shape)
        res5 = arguments["res5"]
        res5.add_module("norm", get_norm(cfg.MODEL.RESNETS.NORM, res5[-1].out_channels))
        return arguments
