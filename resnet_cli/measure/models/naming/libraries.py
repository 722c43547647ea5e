"""Networks that come with this package, with torchvision or with timm."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any

from torch import nn

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.models import torchvision_models
from resnet_cli.measure.models.naming.grammar import NetworkName
from resnet_cli.measure.system.silence import silenced
from resnet_cli.network.resnet import build
from resnet_cli.suggest import nearest


def library_network(named: NetworkName, offered: Mapping[str, Any] = {}, given: Mapping[str, Any] = {}) -> nn.Module:
    """Build a network of any kind but "python", with random weights.

    Args:
        named: its name.
        offered: arguments such as num_classes, which the name may override.
        given: arguments beside those of the call.

    Raises:
        ResnetCliError: the library is not installed, has no such network, or does not take the arguments.
    """
    if named.kind == "built-in":
        return build(named.spec({**offered, **given}))
    args, keywords = named.literal_arguments()
    arguments = {**offered, **keywords, **given}
    if args:
        raise ResnetCliError(f"{named.text}: name its arguments", f"such as {named.kind}:{named.name}(num_classes=10)")
    make = _torchvision if named.kind == "torchvision" else _timm
    return make(named, arguments)


def _torchvision(named: NetworkName, arguments: Mapping[str, Any]) -> nn.Module:
    rest = {key: value for key, value in arguments.items() if key not in ("num_classes", "in_channels")}
    sizes = (arguments.get("num_classes", 1000), arguments.get("in_channels", 3))
    return torchvision_models.build_named(named.name, *sizes, rest, initialized=True)


def _timm(named: NetworkName, arguments: Mapping[str, Any]) -> nn.Module:
    if importlib.util.find_spec("timm") is None:
        raise ResnetCliError(f"{named.text} needs timm, which is not installed", "pip install timm")
    import timm  # noqa: PLC0415

    if not timm.is_model(named.name):
        near = nearest(named.name, timm.list_models())
        raise ResnetCliError(f"timm has no network {named.name!r}", f"did you mean timm:{near}?" if near else None)
    keywords = {"in_chans" if key == "in_channels" else key: value for key, value in arguments.items()}
    try:
        with silenced():
            network: nn.Module = timm.create_model(named.name, pretrained=False, **keywords)
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        raise ResnetCliError(f"timm cannot build {named.text}: {' '.join(str(error).split())[:200]}") from error
    return network
