"""Registry of pages: for each kind of result, what builds its document and what a reader may choose of it.

A page is added with one module and one row. The module is imported when a page is drawn: `--help` reads the rows only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from resnet_cli.errors import ResnetCliError
from resnet_cli.render.document import Document, ViewOptions
from resnet_cli.results.registry import kind_of
from resnet_cli.suggest import validate_names

if TYPE_CHECKING:
    from resnet_cli.results.registry import Result


@dataclass(frozen=True, slots=True)
class PageSpec:
    """The page of one kind of result.

    Args:
        builder: "module:function" in this package; takes the result and a `ViewOptions`, returns a `Document`.
        rows: name of each section, in the order of drawing, and the field of the result that its CSV rows are made
            from: "versus", "optimizations.rows" (a field of a field), "replicas.ranks" (a list in a list: its rows,
            each with the values of the outer one), "source target" (several fields). With fewer than two sections
            there is nothing to choose.
        csv: section that CSV holds unless another is asked for; "" is the first.
        columns: "module:MAPPING" in this package: the columns that the tree may show, by key.
        tree: section whose layers `columns` and `levels` are about; "" where the page has none.
        levels: whether the depth of a tree may be chosen.
        collapse: whether identical layers may be shown in full.
    """

    builder: str
    rows: Mapping[str, str]
    csv: str = ""
    columns: str = ""
    tree: str = ""
    levels: bool = False
    collapse: bool = False

    @property
    def sections(self) -> tuple[str, ...]:
        """The sections that a reader may choose among, in the order of drawing."""
        return tuple(self.rows) if len(self.rows) > 1 else ()

    def column_names(self) -> tuple[str, ...]:
        """The keys that `columns` of a view takes, in the order of drawing."""
        return tuple(_load(self.columns)) if self.columns else ()

    def column_fields(self, names: Iterable[str]) -> tuple[str, ...]:
        """The fields of a layer that some columns show, as JSON and CSV call them."""
        columns = _load(self.columns)
        return tuple(columns[name].field for name in names)


def _load(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(import_module(f"{__name__}.{module}"), name)


# By kind of result (`results.registry.KINDS`); a report is many results, and has no page of its own.
PAGES: dict[str, PageSpec] = {
    "summary": PageSpec(
        "summary:summary_page",
        {"layers": "root"},
        columns="summary_columns:COLUMNS",
        tree="layers",
        levels=True,
        collapse=True,
    ),
    "flops": PageSpec(
        "flops:flops_page",
        {
            "operators": "operators",
            "modules": "root",
            "conventions": "conventions",
            "reconciliation": "reconciliations.steps",
            "terms": "terms",
        },
        tree="modules",
        levels=True,
        collapse=True,
    ),
    "compare": PageSpec(
        "compare:compare_page",
        {
            "changes": "changes",
            "checks": "checks",
            "differences": "differences",
            "rewritings": "rewritings",
            "tree": "aligned_ops",
            "mapping": "mapping.pairs",
        },
        csv="tree",
        levels=True,
        collapse=True,
    ),
    "compare-torchvision": PageSpec(
        "compare:compare_page",
        {
            "checks": "checks",
            "differences": "differences",
            "rewritings": "rewritings",
            "tree": "aligned_ops",
            "mapping": "mapping.pairs",
            "predictions": "predictions",
        },
        csv="tree",
        levels=True,
        collapse=True,
    ),
    "compare-torchvision-all": PageSpec(
        "compare.all_models:all_models_page", {"architectures": "architectures.checks"}
    ),
    "self-test": PageSpec("compare.self_test:self_test_page", {"faults": "faults"}),
    "bench": PageSpec(
        "bench:bench_page",
        {
            "timings": "timings",
            "phases": "timings.phases",
            "batch-limit": "batch_limit",
            "runs": "runs",
            "plan": "plan",
            "versus": "versus",
            "optimizations": "optimizations.rows",
            "layers": "layers.layers",
            "replicas": "replicas.ranks",
            "ceiling": "ceiling.compute ceiling.bandwidth",
        },
        levels=True,
    ),
    "convert": PageSpec("convert:convert_page", {"files": "source target", "tensors": "tensors"}, csv="tensors"),
    "checkpoint": PageSpec(
        "checkpoint:checkpoint_page",
        {"summary": "summary.root", "tensors": "tensors"},
        csv="tensors",
        columns="summary_columns:COLUMNS",
        tree="summary",
        levels=True,
        collapse=True,
    ),
    "doctor": PageSpec("doctor:doctor_page", {"capabilities": "capabilities"}),
}


def page(result: Result, view: ViewOptions) -> Document:
    """The document of a result.

    Raises:
        ResnetCliError: the view asks for a column or a section that does not exist.
    """
    kind = kind_of(result)
    validate_view(kind, view)
    document: Document = _load(PAGES[kind].builder)(result, view)
    return document


def validate_view(kind: str, view: ViewOptions) -> None:
    """Check a view, before anything is measured.

    Args:
        kind: one of the kinds of result.
        view: what the reader asks for.

    Raises:
        ResnetCliError: the view asks for a column or a section that does not exist.
    """
    if view.levels is not None and view.levels < 1:
        raise ResnetCliError(
            f"levels={view.levels}: a tree has at least one level", "the smallest number is 1, the stages"
        )
    spec = PAGES[kind]
    for noun, names, known in (
        ("column", view.columns, () if view.columns is None else spec.column_names()),
        ("section", view.sections, spec.sections),
    ):
        if names is None:
            continue
        if not known:
            raise ResnetCliError(f"{kind} has no choice of {noun}s")
        validate_names(noun, names, known)
