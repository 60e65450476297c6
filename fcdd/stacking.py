"""Many networks of one architecture as one: their channels lie side by side, so that all train in the time of a few.

A convolution becomes one with groups, a dense layer a batched matrix product; other layers work on each channel or
pixel by itself and stay as they are. Small networks leave most of a processor idle: there the stack is faster than one
after another. Wide ones fill it alone. Taught in: chapter 08.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psutil
import torch
from torch import Tensor, nn

from .networks import BatchNorm, Unused

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, BatchNorm)
CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
PLAIN = (  # they treat each channel by itself
    *(nn.LeakyReLU, nn.ReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Softplus, nn.Tanh, nn.Sigmoid, nn.Identity, Unused),
    *(nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.Upsample),
)


class Stack(nn.Module):
    """M networks of one architecture as one: (M·B, C, H, W) images, the first B for the first network, and so on.

    The output is in the same order. Members look into the stack's parameters: what it learns, they know. Until
    :meth:`release`, a member cannot be saved. Raises ValueError for networks that are not alike, or have layers that
    cannot be stacked.
    """

    def __init__(self, members: Sequence[nn.Module]):
        super().__init__()
        if len({str(member) for member in members}) > 1:
            raise ValueError("expected networks of one architecture, got several kinds; train them one after another")
        if len({tuple(p.requires_grad for p in member.parameters()) for member in members}) > 1:
            raise ValueError("expected networks with the same layers frozen; train them one after another")
        self.members, self.count, self.shared = list(members), len(members), []
        try:
            self.network = self._beside(members)
        except ValueError:
            self.release()
            raise

    def forward(self, x: Tensor) -> Tensor:
        x = x.unflatten(0, (self.count, -1)).permute(1, 3, 4, 0, 2)  # (B, H, W, M, C): one copy into channels-last
        outputs = self.network(x.flatten(3).permute(0, 3, 1, 2)).unflatten(1, (self.count, -1))
        return outputs.transpose(0, 1).flatten(0, 1)

    def release(self) -> None:
        """Gives each member weights and statistics of its own again, as they are now."""
        for tensor, whole in self.shared:
            tensor.data = (tensor.data if tensor.ndim else whole.data).clone()
        self.shared = []

    def train(self, mode: bool = True):
        for member in self.members:
            member.train(mode)
        return super().train(mode)

    def _beside(self, layers: Sequence[nn.Module]) -> nn.Module:
        """One layer for the same layer of all members."""
        first, count = layers[0], self.count
        if type(first) is nn.Sequential or getattr(first, "stackable", False):
            inside = {name: self._beside([layer._modules[name] for layer in layers]) for name in first._modules}
            return self._twin(layers, _modules=inside)
        if type(first) in (*CONVOLUTIONS, *BATCH_NORMS):
            widths = ("in_channels", "out_channels", "groups", "num_features")
            return self._twin(layers, **{name: count * getattr(first, name) for name in widths if hasattr(first, name)})
        if type(first) is nn.Linear:
            return Dense(count, self._twin(layers))
        if type(first) is nn.Unflatten and first.dim == 1:
            return nn.Unflatten(1, (count * first.unflattened_size[0], *first.unflattened_size[1:]))
        if type(first) in PLAIN or (type(first) is nn.Flatten and (first.start_dim, first.end_dim) == (1, -1)):
            return first
        raise ValueError(
            f"a {type(first).__name__} layer cannot be stacked; train its networks one after another. Known: "
            f"{', '.join(kind.__name__ for kind in (nn.Sequential, nn.Linear, *CONVOLUTIONS, *BATCH_NORMS, *PLAIN))}"
        )

    def _twin(self, layers: Sequence[nn.Module], **changes) -> nn.Module:
        """A copy of the first layer with the parameters and buffers of all."""
        twin = copy.copy(layers[0])
        vars(twin).update(changes)
        for kind in ("_parameters", "_buffers"):
            own = [getattr(layer, kind) for layer in layers]
            setattr(twin, kind, {name: self._joined([tensors[name] for tensors in own]) for name in own[0]})
        return twin

    def _joined(self, tensors: Sequence[Tensor | None]) -> Tensor | None:
        """All members' tensors in one, end to end; each member's becomes a view of its part."""
        first = tensors[0]
        if first is None:
            return None
        if any(first is tensor for tensor, _ in self.shared):
            raise ValueError("a layer that is used twice cannot be stacked; train its networks one after another")
        # A number, of batches seen, is the same for all.
        whole = torch.cat([t.detach() for t in tensors]) if first.ndim else first.detach().clone()
        self.shared += [(tensor, whole) for tensor in tensors]
        if first.ndim:
            for tensor, part in zip(tensors, whole.chunk(self.count), strict=True):
                tensor.data = part
        return nn.Parameter(whole, first.requires_grad) if isinstance(first, nn.Parameter) else whole


class Dense(nn.Module):
    """Dense layers side by side: (B, M·in) → (B, M·out)."""

    def __init__(self, count: int, layer: nn.Linear):
        super().__init__()
        self.count, self.layer = count, layer

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 2:
            raise ValueError(f"expected a Flatten layer before a Linear one, got input of shape {tuple(x.shape)}")
        weight, bias = self.layer.weight.unflatten(0, (self.count, -1)).transpose(1, 2), self.layer.bias
        x = x.unflatten(1, (self.count, -1)).transpose(0, 1)
        y = x @ weight if bias is None else torch.baddbmm(bias.unflatten(0, (self.count, 1, -1)), x, weight)
        return y.transpose(0, 1).flatten(1)


@contextmanager
def stacked(networks: Sequence[nn.Module]) -> Iterator[nn.Module]:
    """One network for all of them while the context lasts: the only one itself, or their :class:`Stack`."""
    if len(networks) == 1:
        yield networks[0]
        return
    stack = Stack(networks)
    try:
        yield stack
    finally:
        stack.release()


def stackable(network: nn.Module, image_shape: tuple[int, int, int]) -> bool:
    """Whether networks like this one can be stacked; nothing is computed."""
    twins = [copy.deepcopy(network).to("meta") for _ in range(2)]
    try:
        Stack(twins)(torch.empty(4, *image_shape, device="meta"))
    except (ValueError, RuntimeError):
        return False
    return True


MOST, WIDE = 5, 128  # on a CPU more networks gain nothing, and a wide one fills the cores alone: see the page on speed
FACTOR = 3  # what a step needs, in activations of the forward pass: they, their gradients, and room for layers to work


def stack_size(network: nn.Module, image_shape: tuple[int, int, int], batch_size: int, data: int, device) -> int:
    """How many networks like this one to stack, with batches of ``batch_size`` images and ``data`` bytes each.

    As many as fit into half of the memory that is free; on a CPU no more than are faster than one after another.
    """
    device = torch.device(device)
    widths = [layer.out_channels for layer in network.modules() if isinstance(layer, CONVOLUTIONS)]
    most = 10**6 if device.type == "cuda" else 1 if max(widths, default=0) >= WIDE else MOST
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    need = data + FACTOR * batch_size * activation_bytes(network, image_shape)
    return max(1, min(most, free // 2 // need))


def activation_bytes(network: nn.Module, image_shape: tuple[int, int, int]) -> int:
    """Bytes of float32 that all layers put out for one image; nothing is computed."""
    network, sizes = copy.deepcopy(network).to("meta").eval(), []
    for layer in network.modules():
        if not layer._modules:
            layer.register_forward_hook(lambda layer, inputs, outputs: sizes.append(outputs.numel()))
    network(torch.empty(1, *image_shape, device="meta"))
    return 4 * sum(sizes)
