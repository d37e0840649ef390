"""The variants of HRNet in PyTorch, see `torch_models`."""

from collections.abc import Sequence

from hrnet_jax.models import ablation, torch_models
from hrnet_jax.models.torch_models import (
    ExchangeUnit,
    Fusion,
    functional,  # pyright: ignore[reportAttributeAccessIssue]
    nn,  # pyright: ignore[reportAttributeAccessIssue]
    torch,
)


class SeparateUnit(nn.Module):
    """Parallel branches of residual blocks, without exchange."""

    def __init__(self, unit: ExchangeUnit):
        super().__init__()
        self.branches = unit.branches

    def forward(self, branches: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Maps one array per branch (finest first) to arrays of the same shapes."""
        return [blocks(x) for blocks, x in zip(self.branches, branches, strict=True)]


class BilinearFusion(Fusion):
    """Sum of all branches, the finer ones shrunk by bilinear interpolation."""

    def __init__(self, width: int, branches: int, target: int):
        super().__init__(width, branches, target)
        for source in range(target):
            self[source] = torch_models.conv_norm(width * 2**source, width * 2**target, 1)

    def resize(self, source: int, x: torch.Tensor) -> torch.Tensor:
        """Brings a term to the resolution of the sum."""
        if source >= self.target:
            return super().resize(source, x)
        factor = 0.5 ** (self.target - source)
        return functional.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


class ProductFusion(Fusion):
    """Product of all branches."""

    combine = staticmethod(torch.mul)


class Start(nn.ModuleList):
    """Begins four branches; each halving is a convolution."""

    def __init__(self, inputs: int, width: int):
        def chain(i: int) -> nn.Module:
            halvings = [torch_models.conv_norm(inputs, inputs, stride=2, relu=True) for _ in range(i - 1)]
            return nn.Sequential(*halvings, torch_models.conv_norm(inputs, width * 2**i, stride=2, relu=True))

        same = nn.Identity() if inputs == width else torch_models.conv_norm(inputs, width, relu=True)
        super().__init__([same, *map(chain, (1, 2, 3))])

    def forward(self, branches: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Maps the features of stage 1 to one array per branch."""
        return [layer(branches[0]) for layer in self]


class AblatedHRNet(torch_models.HRNet):
    """PyTorch counterpart of `hrnet_jax.models.ablation.AblatedHRNet`."""

    def __init__(self, num_joints: int, width=32, stem=64, units=(1, 4, 3), blocks=4, variant=ablation.FINAL):
        fusion = {ablation.BILINEAR: BilinearFusion, ablation.PRODUCT: ProductFusion}.get(variant, Fusion)
        super().__init__(num_joints, width, stem, units, blocks, fusion=fusion)
        if variant in (ablation.FINAL, ablation.ACROSS):
            for stage in (self.stage2, self.stage3, self.stage4):
                kept = len(stage) - (stage is self.stage4 or variant == ablation.ACROSS)
                for i in range(kept):
                    stage[i] = SeparateUnit(stage[i])  # pyright: ignore[reportArgumentType]
        if variant == ablation.FOUR:
            self.transition1 = Start(4 * stem, width)
            self.transition2 = self.transition3 = nn.Identity()
            for stage in (self.stage2, self.stage3):
                for i in range(len(stage)):
                    stage[i] = ExchangeUnit(width, 4, blocks, range(4))
            self.apply(torch_models.initialize)


class MultiResolutionHRNet(torch_models.HRNet):
    """PyTorch counterpart of `hrnet_jax.models.resolutions.MultiResolutionHRNet`."""

    def __init__(self, num_joints: int, width=32, stem=64, units=(1, 4, 3), blocks=4, heads=(0, 1, 2, 3)):
        super().__init__(num_joints, width, stem, units, blocks, outputs=heads)
        layers = {str(i): torch_models.conv(width * 2**i, num_joints, 1, bias=True) for i in heads}
        self.final_layer = nn.ModuleDict(layers)
        self.apply(torch_models.initialize)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Maps normalised images ``[B, 3, H, W]`` to the heatmaps of the finest head."""
        return self.predictions(image)[-1]

    def predictions(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Maps normalised images to the heatmaps of all heads, those of the finest last."""
        pairs = zip(self.final_layer.values(), self.features(image), strict=True)
        first, *others = [layer(x) for layer, x in pairs]
        return [*others, first]
