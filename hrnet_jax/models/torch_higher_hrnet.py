"""HigherHRNet in PyTorch, see `torch_models`."""

from collections.abc import Sequence

from hrnet_jax.models import higher_hrnet, torch_models
from hrnet_jax.models.torch_models import (
    nn,  # pyright: ignore[reportAttributeAccessIssue]
    torch,
)


class HigherHRNet(torch_models.HRNet):
    """PyTorch counterpart of `hrnet_jax.models.higher_hrnet.HigherHRNet`."""

    def __init__(
        self, num_joints: int, width=32, stem=64, units: Sequence[int] = (1, 4, 3), blocks=4, deconvolutions=1
    ):
        super().__init__(num_joints, width, stem, units, blocks)
        del self.final_layer
        channels = [2 * num_joints, *[num_joints] * deconvolutions]
        self.final_layers = nn.ModuleList(torch_models.conv(width, count, 1, bias=True) for count in channels)
        self.deconv_layers = nn.ModuleList(_deconvolution(width + count, width) for count in channels[:-1])
        self.apply(torch_models.initialize)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Maps normalised images ``[B, 3, H, W]`` to the outputs of all heads, coarse to fine."""
        return tuple(self.predictions(image))

    def predictions(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Maps normalised images to the outputs of all heads, coarse to fine."""
        x = self.features(image)[0]
        first, *others = self.final_layers
        outputs = [first(x)]
        for deconvolution, layer in zip(self.deconv_layers, others, strict=True):
            x = deconvolution(torch.cat([x, outputs[-1]], dim=1))
            outputs.append(layer(x))
        return outputs


def _deconvolution(inputs: int, features: int) -> nn.Sequential:
    """Returns layers that double the resolution, and residual blocks."""
    blocks = (nn.Sequential(torch_models.BasicBlock(features)) for _ in range(higher_hrnet.BLOCKS))
    return nn.Sequential(nn.Sequential(*torch_models.deconv(inputs, features)), *blocks)
