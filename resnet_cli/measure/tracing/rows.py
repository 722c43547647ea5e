"""Identity of the rows of a network, the same in layer trees, layer times and comparisons.

A row is a call of a module, or an operator that the forward of a module runs beside the modules that it calls. Its
identity is a `CallSite`: the path of the module and the number of the call, with the operator appended to the path.
"""

from __future__ import annotations

from collections import Counter

from resnet_cli.measure.ops.names import title
from resnet_cli.measure.tracing.module_stack import CallSite, operator_path
from resnet_cli.measure.tracing.trace import ModuleCall, OperatorCall


def operator_sites(call: ModuleCall) -> dict[OperatorCall, CallSite]:
    """Sites of the operators that a module call runs itself, in order.

    Views and other operators without memory or arithmetic have no row.
    """
    numbers: Counter[str] = Counter()
    sites = {}
    for child in call.children:
        if isinstance(child, OperatorCall) and (
            child.allocated or child.counted.operations or not child.counted.counted
        ):
            name = title(child.op)
            numbers[name] += 1
            sites[child] = CallSite(operator_path(call.path, name, numbers[name]), call.call)
    return sites


def row_site(operator: OperatorCall) -> CallSite:
    """Site of the row that an operator belongs to: its own, or that of its module if it calls no other modules.

    The network itself always has rows below it, also if its forward calls no modules.
    """
    module = operator.module
    own = CallSite(module.path, module.call)
    if module.path and not any(isinstance(child, ModuleCall) for child in module.children):
        return own
    return operator_sites(module).get(operator, own)
