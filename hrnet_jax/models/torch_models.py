"""The networks in PyTorch, as a reference for tests, comparisons and benchmarks.

State dicts have the names of the PyTorch releases, so their checkpoints load with ``strict=True``, an Hourglass's
except for its shortcuts without effect (see `hourglass_names.dead`). Modules have the names and outputs of ours
(see ``models/layers.py``). For example ``stage2.0.fuse_layers.0.1`` returns features before upsampling and ``bn1``
returns them before the ReLU. No operation is in place, so hooks may keep references to outputs. Arrays are
``[batch, channels, height, width]``.
"""

import collections
import functools
from collections.abc import Callable, Sequence

from hrnet_jax.models import cpn, simple_baseline

try:
    import torch  # pyright: ignore[reportMissingImports]
    from torch import nn  # pyright: ignore[reportMissingImports]
    from torch.nn import functional  # pyright: ignore[reportMissingImports]
except ModuleNotFoundError as error:
    raise ImportError(f"`{__name__}` needs PyTorch: pip install torch", name="torch") from error


def conv(inputs: int, outputs: int, kernel_size: int = 3, stride: int = 1, bias: bool = False) -> nn.Conv2d:
    """Builds a convolution that pads half the kernel on every side."""
    return nn.Conv2d(inputs, outputs, kernel_size, stride, padding=kernel_size // 2, bias=bias)


def _norm(features: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(features, eps=1e-5, momentum=0.1)


def conv_norm(
    inputs: int, outputs: int, kernel_size: int = 3, stride: int = 1, relu: bool = False
) -> nn.Sequential:
    """Builds a convolution, batch normalisation and optionally ReLU."""
    activation = [nn.ReLU()] if relu else []
    return nn.Sequential(conv(inputs, outputs, kernel_size, stride), _norm(outputs), *activation)


def deconv(inputs: int, outputs: int) -> list[nn.Module]:
    """Builds layers that double the resolution: a transposed convolution, batch normalisation and ReLU."""
    transposed = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False)
    return [transposed, _norm(outputs), nn.ReLU()]


def initialize(module: nn.Module) -> None:
    """Initialises convolutions as the original: weights from N(0, 0.001), biases zero."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, std=0.001)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class BasicBlock(nn.Module):
    """Residual block of two 3x3 convolutions with the same number of channels (He et al. 2016)."""

    def __init__(self, features: int):
        super().__init__()
        self.conv1, self.bn1 = conv(features, features), _norm(features)
        self.conv2, self.bn2 = conv(features, features), _norm(features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps ``[B, features, H, W]`` to the same shape."""
        y = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(x + self.bn2(self.conv2(y)))


class Bottleneck(nn.Module):
    """Residual block 1x1, 3x3, 1x1 with `expansion` times the features as output channels (He et al. 2016)."""

    def __init__(self, inputs: int, features: int, stride: int = 1, expansion: int = 4, projection: bool = False):
        super().__init__()
        outputs = expansion * features
        self.conv1, self.bn1 = conv(inputs, features, 1), _norm(features)
        self.conv2, self.bn2 = conv(features, features, 3, stride), _norm(features)
        self.conv3, self.bn3 = conv(features, outputs, 1), _norm(outputs)
        same = inputs == outputs and stride == 1 and not projection
        self.downsample = nn.Identity() if same else conv_norm(inputs, outputs, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps ``[B, inputs, H, W]`` to ``[B, expansion * features, H / stride, W / stride]``."""
        y = functional.relu(self.bn1(self.conv1(x)))
        y = functional.relu(self.bn2(self.conv2(y)))
        return functional.relu(self.downsample(x) + self.bn3(self.conv3(y)))


def _bottlenecks(inputs: int, features: int, count: int, stride: int = 1) -> nn.Sequential:
    first = Bottleneck(inputs, features, stride)
    return nn.Sequential(first, *(Bottleneck(4 * features, features) for _ in range(count - 1)))


class Fusion(nn.ModuleList):
    """Sum of all branches with the channels and the resolution of branch `target`."""

    combine = staticmethod(torch.add)

    def __init__(self, width: int, branches: int, target: int):
        super().__init__(_resampler(width, source, target) for source in range(branches))
        self.target = target

    def forward(self, branches: Sequence[torch.Tensor]) -> torch.Tensor:
        """Maps one array per branch (finest first) to an array with the shape of branch `target`."""
        terms = [self.resize(i, layer(x)) for i, (layer, x) in enumerate(zip(self, branches, strict=True))]
        return functools.reduce(self.combine, terms)

    def resize(self, source: int, x: torch.Tensor) -> torch.Tensor:
        """Brings the term of branch `source` to the resolution of the sum."""
        if source <= self.target:
            return x
        return functional.interpolate(x, scale_factor=2 ** (source - self.target), mode="nearest")


class ExchangeUnit(nn.Module):
    """Parallel branches of residual blocks, and the fusion of all branches into those of `outputs`."""

    def __init__(
        self, width: int, branches: int, blocks: int, outputs: Sequence[int], fusion: type[Fusion] = Fusion
    ):
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(BasicBlock(width * 2**i) for _ in range(blocks))) for i in range(branches)
        )
        self.fuse_layers = nn.ModuleDict({str(target): fusion(width, branches, target) for target in outputs})

    def forward(self, branches: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Maps one array per branch (finest first) to those of `outputs`, of the same shapes."""
        branches = [blocks(x) for blocks, x in zip(self.branches, branches, strict=True)]
        return [functional.relu(fusion(branches)) for fusion in self.fuse_layers.values()]


def _resampler(width: int, source: int, target: int) -> nn.Module:
    """Converts branch `source` to the channels of branch `target`, and to its resolution if that is coarser."""
    inputs, outputs = width * 2**source, width * 2**target
    if source == target:
        return nn.Identity()
    if source > target:
        return conv_norm(inputs, outputs, 1)
    halvings = [conv_norm(inputs, inputs, stride=2, relu=True) for _ in range(target - source - 1)]
    return nn.Sequential(*halvings, conv_norm(inputs, outputs, stride=2))


class Transition(nn.ModuleList):
    """Converts branches to the channels of a stage and adds a branch of half the resolution."""

    def __init__(self, inputs: Sequence[int], width: int):
        pairs = [(features, width * 2**i) for i, features in enumerate(inputs)]
        kept = [nn.Identity() if old == new else conv_norm(old, new, relu=True) for old, new in pairs]
        start = conv_norm(inputs[-1], width * 2 ** len(inputs), stride=2, relu=True)
        super().__init__([*kept, nn.Sequential(start)])

    def forward(self, branches: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Maps one array per branch (finest first) to arrays of one more branch."""
        return [layer(x) for layer, x in zip(self, [*branches, branches[-1]], strict=True)]


def predictions(network: nn.Module) -> Callable[[torch.Tensor], list[torch.Tensor]]:
    """Returns the function from images to all heatmaps that training compares, the network's prediction last."""
    return getattr(network, "predictions", lambda image: [network(image)])


class HRNet(nn.Module):
    """PyTorch counterpart of `hrnet_jax.models.hrnet.HRNet`.

    `outputs` are the branches with an output in the last unit, and `fusion` is the kind of all exchanges.
    """

    def __init__(
        self,
        num_joints: int,
        width=32,
        stem=64,
        units: Sequence[int] = (1, 4, 3),
        blocks=4,
        outputs: Sequence[int] = (0,),  # only the finest branch of the last unit is used
        fusion: type[Fusion] = Fusion,
    ):
        super().__init__()

        def stage(branches: int, count: int, last: Sequence[int]) -> nn.Sequential:
            kept = [*[range(branches)] * (count - 1), last][:count]
            return nn.Sequential(*(ExchangeUnit(width, branches, blocks, each, fusion) for each in kept))

        channels = [width * 2**i for i in range(4)]
        self.conv1, self.bn1 = conv(3, stem, stride=2), _norm(stem)
        self.conv2, self.bn2 = conv(stem, stem, stride=2), _norm(stem)
        self.layer1 = _bottlenecks(stem, stem, 4)
        self.transition1, self.stage2 = Transition([4 * stem], width), stage(2, units[0], range(2))
        self.transition2, self.stage3 = Transition(channels[:2], width), stage(3, units[1], range(3))
        self.transition3, self.stage4 = Transition(channels[:3], width), stage(4, units[2], outputs)
        self.final_layer = conv(width, num_joints, 1, bias=True)
        self.apply(initialize)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Maps normalised images ``[B, 3, H, W]`` to heatmaps ``[B, K, H / 4, W / 4]``; 32 divides H and W."""
        return self.final_layer(self.features(image)[0])

    def features(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Maps normalised images to the branches that the last unit has as outputs."""
        x = functional.relu(self.bn1(self.conv1(image)))
        x = functional.relu(self.bn2(self.conv2(x)))
        branches = self.stage2(self.transition1([self.layer1(x)]))
        branches = self.stage3(self.transition2(branches))
        return self.stage4(self.transition3(branches))


class ResNet(nn.Module):
    """ResNet without its classifier (He et al., CVPR 2016); `depth` is 50, 101 or 152."""

    def __init__(self, depth: int, stem: int):
        super().__init__()
        if depth not in simple_baseline.BLOCKS:
            depths = ", ".join(map(str, simple_baseline.BLOCKS))
            raise ValueError(f"`model.depth` (={depth}) must be one of {depths}")
        counts = simple_baseline.BLOCKS[depth]
        self.conv1, self.bn1 = conv(3, stem, 7, stride=2), _norm(stem)
        self.layer1 = _bottlenecks(stem, stem, counts[0])
        self.layer2 = _bottlenecks(4 * stem, 2 * stem, counts[1], stride=2)
        self.layer3 = _bottlenecks(8 * stem, 4 * stem, counts[2], stride=2)
        self.layer4 = _bottlenecks(16 * stem, 8 * stem, counts[3], stride=2)

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Maps normalised images to the features of four stages, finest first; 32 divides H and W."""
        x = functional.relu(self.bn1(self.conv1(image)))
        stages = [functional.max_pool2d(x, kernel_size=3, stride=2, padding=1)]
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            stages.append(layer(stages[-1]))
        return stages[1:]


class SimpleBaseline(ResNet):
    """PyTorch counterpart of `hrnet_jax.models.simple_baseline.SimpleBaseline`; `depth` is 50, 101 or 152."""

    def __init__(self, num_joints: int, depth=50, stem=64, features=256):
        super().__init__(depth, stem)
        inputs = [32 * stem] + [features] * (simple_baseline.DECONVOLUTIONS - 1)
        self.deconv_layers = nn.Sequential(*(layer for count in inputs for layer in deconv(count, features)))
        self.final_layer = conv(features, num_joints, 1, bias=True)
        self.apply(initialize)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Maps normalised images ``[B, 3, H, W]`` to heatmaps ``[B, K, H / 4, W / 4]``; 32 divides H and W."""
        return self.final_layer(self.deconv_layers(super().forward(image)[-1]))


def _enlarge(x: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Resizes ``[B, C, H, W]`` so that the corner pixels stay the corners."""
    return functional.interpolate(x, size=tuple(size), mode="bilinear", align_corners=True)


class GlobalNet(nn.Module):
    """The first part of `CPN`: features and heatmaps of every level."""

    def __init__(self, channels: Sequence[int], features: int, num_joints: int):
        super().__init__()
        self.laterals = nn.ModuleList(conv_norm(count, features, 1, relu=True) for count in channels)
        self.upsamples = nn.ModuleList(
            nn.Sequential(nn.Identity(), conv(features, features, 1), _norm(features)) for _ in channels[1:]
        )
        self.predict = nn.ModuleList(
            nn.Sequential(
                *conv_norm(features, features, 1, relu=True),
                *(conv(features, num_joints), nn.Identity(), _norm(num_joints)),
            )
            for _ in channels
        )

    def forward(self, stages: Sequence[torch.Tensor]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Maps the features of a ResNet's stages, finest first, to features and heatmaps, coarsest first."""
        features: list[torch.Tensor] = []
        for i, (stage, lateral) in enumerate(zip(reversed(stages), self.laterals, strict=True)):
            x = lateral(stage)
            if features:
                x = x + self.upsamples[i - 1](_enlarge(features[-1], x.shape[2:]))
            features.append(x)
        return features, [self._heatmaps(i, x, stages[0].shape[2:]) for i, x in enumerate(features)]

    def _heatmaps(self, i: int, x: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
        *layers, norm = self.predict[i].children()
        for layer in layers:
            x = layer(x)
        return norm(_enlarge(x, size))


class RefineNet(nn.Module):
    """The second part of `CPN`."""

    def __init__(self, levels: int, features: int, num_joints: int, projection: bool):
        super().__init__()

        def block(inputs: int) -> Bottleneck:
            return Bottleneck(inputs, features // 2, expansion=2, projection=projection)

        counts = range(levels - 1, -1, -1)
        self.cascade = nn.ModuleList(nn.Sequential(*(block(features) for _ in range(n))) for n in counts)
        head = conv(features, num_joints), _norm(num_joints)
        self.final_predict = nn.Sequential(block(levels * features), *head)

    def forward(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """Maps the features of all levels, coarsest first, to heatmaps."""
        refined = [blocks(x) for blocks, x in zip(self.cascade, features, strict=True)]
        enlarged = [_enlarge(x, features[-1].shape[2:]) for x in refined]
        return self.final_predict(torch.cat(enlarged, dim=1))


class CPN(nn.Module):
    """PyTorch counterpart of `hrnet_jax.models.cpn.CPN`."""

    def __init__(self, num_joints: int, depth=50, stem=64, features=256, projection=False):
        super().__init__()
        channels = [32 * stem // 2**level for level in range(cpn.LEVELS)]
        self.resnet = ResNet(depth, stem)
        self.global_net = GlobalNet(channels, features, num_joints)
        self.refine_net = RefineNet(cpn.LEVELS, features, num_joints, projection)
        self.apply(initialize)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Maps normalised images ``[B, 3, H, W]`` to RefineNet's heatmaps ``[B, K, H / 4, W / 4]``."""
        return self.predictions(image)[-1]

    def predictions(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Maps normalised images to the heatmaps of GlobalNet's levels, coarsest first, and of RefineNet."""
        features, heatmaps = self.global_net(self.resnet(image))
        return [*heatmaps, self.refine_net(features)]


def _named(**modules: nn.Module) -> nn.Sequential:
    return nn.Sequential(collections.OrderedDict(modules))


def _conv1x1(inputs: int, outputs: int) -> nn.Conv2d:
    return conv(inputs, outputs, 1, bias=True)


class Residual(nn.Module):
    """Residual block 1x1, 3x3, 1x1, each after normalization and ReLU (He et al., ECCV 2016)."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        half = outputs // 2
        self.bn1, self.conv1 = _norm(inputs), _named(conv=_conv1x1(inputs, half))
        self.bn2, self.conv2 = _norm(half), _named(conv=conv(half, half, bias=True))
        self.bn3, self.conv3 = _norm(half), _named(conv=_conv1x1(half, outputs))
        self.skip_layer = nn.Identity() if inputs == outputs else _named(conv=_conv1x1(inputs, outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps ``[B, inputs, H, W]`` to ``[B, outputs, H, W]``."""
        y = self.conv1(functional.relu(self.bn1(x)))
        y = self.conv2(functional.relu(self.bn2(y)))
        return self.skip_layer(x) + self.conv3(functional.relu(self.bn3(y)))


class Hourglass(nn.Module):
    """Features at full resolution, plus those of an hourglass of one scale less at half of it."""

    def __init__(self, depth: int, features: int):
        super().__init__()
        self.up1, self.low1 = Residual(features, features), Residual(features, features)
        self.low2 = Hourglass(depth - 1, features) if depth > 1 else Residual(features, features)
        self.low3 = Residual(features, features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps ``[B, features, H, W]`` to the same shape; ``2 ** depth`` divides H and W."""
        low = self.low3(self.low2(self.low1(functional.max_pool2d(x, 2))))
        return self.up1(x) + functional.interpolate(low, scale_factor=2, mode="nearest")


class StackedHourglass(nn.Module):
    """PyTorch counterpart of `hrnet_jax.models.hourglass.StackedHourglass`."""

    def __init__(
        self,
        num_joints: int,
        stacks=8,
        features=256,
        depth=4,
        stem_features: Sequence[int] = (64, 128, 128),
        residual_before_head=True,
    ):
        super().__init__()
        first, second, third = stem_features
        stem = _named(conv=conv(3, first, 7, stride=2, bias=True), bn=_norm(first), relu=nn.ReLU())
        blocks = Residual(second, third), Residual(third, features)
        self.pre = nn.Sequential(stem, Residual(first, second), nn.MaxPool2d(2), *blocks)
        self.hgs = nn.ModuleList(nn.Sequential(Hourglass(depth, features)) for _ in range(stacks))

        def head() -> nn.Sequential:
            block = Residual(features, features) if residual_before_head else nn.Identity()
            return nn.Sequential(
                block, _named(conv=_conv1x1(features, features), bn=_norm(features), relu=nn.ReLU())
            )

        def merge(inputs: int) -> nn.ModuleList:
            pairs = (_named(conv=_named(conv=_conv1x1(inputs, features))) for _ in range(stacks - 1))
            return nn.ModuleList(pairs)

        self.features = nn.ModuleList(head() for _ in range(stacks))
        self.outs = nn.ModuleList(_named(conv=_conv1x1(features, num_joints)) for _ in range(stacks))
        self.merge_features, self.merge_preds = merge(features), merge(num_joints)
        self.apply(initialize)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Maps normalised images ``[B, 3, H, W]`` to the heatmaps of the last stack, ``[B, K, H / 4, W / 4]``."""
        return self.predictions(image)[-1]

    def predictions(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Maps normalised images to the heatmaps of all stacks."""
        x, found = self.pre(image), []
        for i, (hourglass, head, out) in enumerate(zip(self.hgs, self.features, self.outs, strict=True)):
            y = head(hourglass(x))
            found.append(out(y))
            if i < len(self.merge_preds):
                x = x + self.merge_preds[i](found[-1]) + self.merge_features[i](y)
        return found
