"""A residual net as image libraries write one: functional rectifiers, addition in place, no hook points."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ForeignBlock(nn.Module):
    """relu(shortcut(x) + bn2(conv2(relu(bn1(conv1(x))))))."""

    def __init__(self, units_in: int, units: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(units_in, units, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(units)
        self.conv2 = nn.Conv2d(units, units, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(units)
        self.downsample = None
        if stride > 1 or units_in != units:
            self.downsample = nn.Sequential(nn.Conv2d(units_in, units, 1, stride, bias=False), nn.BatchNorm2d(units))

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += x if self.downsample is None else self.downsample(x)
        return F.relu(out)


class ForeignResNet(nn.Module):
    """Grey images to 3 logits, two stages of one block; weights from `generator`."""

    def __init__(self, generator: torch.Generator):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.layer1 = nn.Sequential(ForeignBlock(4, 4, 1))
        self.layer2 = nn.Sequential(ForeignBlock(4, 8, 2))
        self.fc = nn.Linear(8, 3)
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer2(self.layer1(x))
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))
