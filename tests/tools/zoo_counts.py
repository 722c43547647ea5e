"""MACs of networks of torchvision and timm, against torch's own counter on real tensors, forward and backward.

    python -m tests.tools.zoo_counts [PATTERN ...]

Prints a line for each network whose name matches a pattern (all without one): "same", "not counted" where the product
says which operators it does not count, the key of the note in which it explains a difference (torch counts the backward
of a grouped convolution as if it had no groups; the plain formula of attention, which torch's counter sees here, has a
product less than the fused kernel), or both figures. Run by hand: all of it takes about half an hour on two cores.
"""

from __future__ import annotations

import fnmatch
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple, cast

import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.cost.flops import count_flops
from resnet_cli.measure.models.inputs.model_inputs import ModelInputs
from resnet_cli.measure.models.model import ModelUnderTest
from tests.helpers.real_figures import tensors_of

CPU = torch.device("cpu")
SIZES = (64, 224, 299)  # the first one that a network takes
EXPLAINED = ("torch-ignores-groups", "fused-attention-backward")
TIMM = """
resnet18 resnet50 resnet50d resnet26t resnet33ts resnetaa50 resnetblur50 resnetrs50 resnetv2_50 resnext50_32x4d
seresnet50 seresnext50_32x4d skresnet18 ecaresnet50t gcresnet33ts wide_resnet50_2 res2net50_26w_4s resnest14d
densenet121 dla34 dpn68 selecsls42b vgg11 inception_v3 inception_v4 xception41 nasnetalarge darknet53 cspresnet50
cspdarknet53 regnetx_002 regnety_002 regnetz_b16 nfnet_f0 nf_resnet50 efficientnet_b0 efficientnetv2_rw_t
tf_efficientnet_lite0 mobilenetv2_100 mobilenetv3_large_100 mobilenetv4_conv_small mixnet_s mnasnet_100 ghostnet_100
fbnetc_100 hrnet_w18_small repvgg_a0 mobileone_s0 convnext_atto convnextv2_atto convmixer_768_32 mixer_s16_224
resmlp_12_224 gmlp_s16_224 vit_tiny_patch16_224 deit_tiny_patch16_224 cait_xxs24_224 xcit_nano_12_p16_224
swin_tiny_patch4_window7_224 coat_lite_tiny levit_128s poolformer_s12 efficientformer_l1 edgenext_xx_small
mobilevit_xxs maxvit_nano_rw_256 coatnet_nano_rw_224 eva02_tiny_patch14_224 beit_base_patch16_224 volo_d1_224
""".split()


class Entry(NamedTuple):
    """A network to count."""

    name: str
    make: Callable[[], nn.Module]
    shapes: tuple[tuple[tuple[int, ...], ...], ...]  # of all inputs; the first that the network takes


def images(*sizes: int, batch: int = 2) -> tuple[tuple[tuple[int, ...], ...], ...]:
    """One image of each of these sizes."""
    return tuple(((batch, 3, size, size),) for size in sizes)


def entries() -> Iterator[Entry]:
    """All networks."""
    models = torchvision.models
    for kind, shapes in (
        ("", images(*SIZES)),
        ("segmentation", images(64)),
        ("video", (((2, 3, 8, 64, 64),), ((2, 3, 16, 112, 112),), ((1, 3, 16, 224, 224),))),
        ("optical_flow", (((1, 3, 128, 128), (1, 3, 128, 128)),)),
        ("detection", images(128, 300)),
    ):
        module = getattr(models, kind) if kind else models
        for name in models.list_models(module):
            yield Entry(f"torchvision.{kind}.{name}".replace("..", "."), partial(_torchvision, name, kind), shapes)
    for name in TIMM:
        yield Entry(f"timm.{name}", partial(timm.create_model, name), images(64, 224, 256, 299, 331))


def _torchvision(name: str, kind: str) -> nn.Module:
    if kind == "detection":
        return cast("nn.Module", torchvision.models.get_model(name, weights=None, weights_backbone=None).backbone)
    arguments = {"weights": None, **({"weights_backbone": None} if kind == "segmentation" else {})}
    return cast("nn.Module", torchvision.models.get_model(name, **arguments))


def torch_counts(make: Callable[[], nn.Module], inputs: list[Tensor]) -> tuple[int, int]:
    """MACs of a forward in eval mode and of the backward of a training step."""
    model = make().eval()
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as forward:
        model(*inputs)
    model.train()
    torch.manual_seed(0)
    with sdpa_kernel(SDPBackend.MATH):
        ends = [tensor for tensor in tensors_of(model(*inputs)) if tensor.requires_grad]
        loss = sum(tensor.sum() for tensor in ends)
        with FlopCounterMode(display=False) as backward:
            loss.backward()  # type: ignore[union-attr]
    return forward.get_total_flops() // 2, backward.get_total_flops() // 2


def compare(entry: Entry) -> str:
    """One line."""
    failure = "no shape given"
    for shapes in entry.shapes:
        inputs = [torch.randn(shape) for shape in shapes]
        try:
            forward, backward = torch_counts(entry.make, inputs)
        except (RuntimeError, ValueError, AssertionError, TypeError) as error:
            failure = str(error).splitlines()[0][:80]
            continue
        model = entry.make()
        try:
            result = count_flops(
                ModelUnderTest(model, entry.name),
                inputs=ModelInputs(tuple(inputs)),
                dtype=torch.float32,
                device=CPU,
                backward=True,
            )
        except ResnetCliError as error:
            return f"refused: {error.message[:100]}"
        if result.uncounted_macs or result.backward_uncounted_macs:
            return f"not counted: {result.uncounted_macs} {result.backward_uncounted_macs}"
        figures = f"{result.macs:,} {result.backward_macs:,}"
        if (result.macs, result.backward_macs) == (forward, backward):
            return f"same  {figures}"
        keys = " ".join(note.key for note in result.notes if note.key in EXPLAINED)
        verdict = keys if keys and result.macs == forward else "DIFFERS"
        return f"{verdict}  {figures}  torch {forward:,} {backward:,}"
    return f"torch fails: {failure}"


def main() -> None:
    """Compare all that match."""
    warnings.simplefilter("ignore")
    torch.backends.mha.set_fastpath_enabled(False)  # a kernel that torch's counter does not know
    patterns = sys.argv[1:] or ["*"]
    for entry in entries():
        if any(fnmatch.fnmatch(entry.name, pattern) for pattern in patterns):
            begin = time.perf_counter()
            print(f"{entry.name:55} {compare(entry)}  {time.perf_counter() - begin:.1f} s", flush=True)


if __name__ == "__main__":
    main()
