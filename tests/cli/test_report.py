"""`resnet-cli report`, as a user types it."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from resnet_cli.cli import main
from resnet_cli.errors import ResnetCliError
from resnet_cli.render.charts import CHARTS
from resnet_cli.results.report import ReportResult
from resnet_cli.results.serialization import from_json, to_json
from tests.helpers import results_bench, results_summary_flops
from tests.helpers import results_compare as parity

if TYPE_CHECKING:
    from resnet_cli.results.registry import Result


MODEL = """
from torch import nn

class Tiny(nn.Sequential):
    def __init__(self, num_classes=1000):
        pool = nn.AdaptiveAvgPool2d(1)
        super().__init__(nn.Conv2d(3, 4, 3), nn.ReLU(), pool, nn.Flatten(), nn.Linear(4, num_classes))
"""


def save(folder: Path, results: dict[str, Result]) -> list[str]:
    for name, result in results.items():
        (folder / name).write_text(to_json(result))
    return [str(folder / name) for name in results]


@pytest.fixture
def saved(tmp_path: Path) -> list[str]:
    network = results_summary_flops.NETWORK
    return save(
        tmp_path,
        {
            "summary.json": results_summary_flops.summary_result(),
            "flops.json": replace(results_summary_flops.flops_result(), network=network),
            "parity.json": replace(parity.stride(), network=network),
            "bench.json": replace(results_bench.everything(), network=network),
        },
    )


def run(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, list[str]]:
    code = main(["report", *arguments])
    out, err = capsys.readouterr()
    return code, out, err.splitlines()


def test_saved_results_are_a_page(saved: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    assert run([*saved, "-o", str(page)], capsys) == (0, "", [])
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_page_goes_into_a_pipe(saved: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(saved, capsys)
    assert (code, err) == (0, [])
    assert out.startswith("<!doctype html>")
    assert out.endswith("</html>\n")


def test_saved_results_are_drawn_without_torch(saved: list[str], tmp_path: Path) -> None:
    script = (
        "import sys; from resnet_cli.cli import main; code = main(sys.argv[1:]);"
        "heavy = [name for name in ('torch', 'torchvision', 'fvcore', 'numpy') if name in sys.modules];"
        "print(code, heavy)"
    )
    arguments = ["report", *saved, "-o", str(tmp_path / "page.html")]
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout == "0 []\n"


@pytest.mark.parametrize("chart", CHARTS)
@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_every_chart_is_a_picture(
    chart: str, suffix: str, saved: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / f"chart.{suffix}"
    assert run([*saved, "--chart", chart, "-o", str(picture)], capsys) == (0, "", [])
    content = picture.read_bytes()
    if suffix == "svg":
        assert content.startswith(b"<svg xmlns")
        return
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    wide, high = struct.unpack(">II", content[16:24])  # of the header, as its specification has it
    assert min(wide, high) > 100


def test_results_in_one_file_read_back(saved: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle, drawn, drawn_again = (tmp_path / name for name in ("all.json", "drawn.html", "again.html"))
    assert run([*saved, "-o", str(bundle)], capsys)[0] == 0
    assert json.loads(bundle.read_text())["schema"] == "resnet-cli/report/2"
    assert isinstance(from_json(bundle.read_text()), ReportResult)
    assert run([*saved, "-o", str(drawn)], capsys)[0] == 0
    assert run([str(bundle), "-o", str(drawn_again)], capsys)[0] == 0
    assert drawn.read_bytes() == drawn_again.read_bytes()


def test_it_measures_and_draws(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Half a minute of kernels, which tests of the ceiling measure.
    monkeypatch.setattr("resnet_cli.measure.bench.benchmark.measure_ceiling", lambda *_, **__: results_bench.CEILING)
    bundle = tmp_path / "r.json"
    arguments = ["--depth", "18", "--image-size", "32", "--num-classes", "10", "--max-time", "0.1", "--device", "cpu"]
    code, out, err = run([*arguments, "--measure", "summary,flops,compare,layers", "-o", str(bundle)], capsys)
    assert (code, out, err) == (0, "", [])
    result = from_json(bundle.read_text())
    assert isinstance(result, ReportResult)
    names = [[type(each).__name__, each.network.name] for each in result.results]
    assert names == [[kind, "resnet18"] for kind in ("SummaryResult", "FlopsResult", "CompareResult", "BenchResult")]
    assert result.summaries[0].macs == result.flops[0].macs
    assert result.comparisons[0].verdict == "bitwise"
    assert result.benchmarks[0].layers is not None
    page = tmp_path / "r.html"
    assert run([str(bundle), "-o", str(page)], capsys)[0] == 0
    assert page.read_text(encoding="utf-8").count("<h1>resnet18</h1>") == 1


def test_it_measures_without_a_ceiling_and_with_fewer_threads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("resnet_cli.measure.bench.benchmark.measure_ceiling")
    bundle = tmp_path / "r.json"
    arguments = ["--image-size", "32", "--max-time", "0.2", "--device", "cpu", "--threads", "1", "--no-ceiling"]
    assert run([*arguments, "--measure", "bench", "-o", str(bundle)], capsys) == (0, "", [])
    result = from_json(bundle.read_text())
    assert isinstance(result, ReportResult)
    (benchmark,) = result.benchmarks
    assert (benchmark.conditions.threads, benchmark.ceiling) == (1, None)


def test_several_networks_are_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "mine.py"
    model.write_text(MODEL)
    bundle = tmp_path / "r.json"
    arguments = ["--depth", "18", "--depth", "34", "--arch", "resnext50_32x4d", "--model", f"{model}:Tiny"]
    code, _, err = run([*arguments, "--image-size", "32", "--measure", "summary", "-o", str(bundle)], capsys)
    assert (code, err) == (0, [])
    result = from_json(bundle.read_text())
    assert isinstance(result, ReportResult)
    assert [summary.network.name for summary in result.summaries] == ["resnet18", "resnet34", "resnext50_32x4d", "Tiny"]


def test_a_network_with_the_stem_for_cifar_is_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = tmp_path / "r.json"
    arguments = ["--stem", "cifar", "--image-size", "32", "--measure", "summary,compare", "-o", str(bundle)]
    assert run(arguments, capsys)[0] == 0
    result = from_json(bundle.read_text())
    assert isinstance(result, ReportResult)
    (comparison,) = result.comparisons
    assert (comparison.same, comparison.reference) == (True, "torchvision resnet18 with the cifar stem")


@pytest.mark.parametrize(
    ("error", "code"), [(ResnetCliError("out of memory"), 2), (RuntimeError("a bug"), 70)], ids=["refused", "bug"]
)
def test_an_error_in_one_measurement_keeps_the_others(
    error: Exception, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("resnet_cli.measure.report.count_flops", failing)
    page = tmp_path / "r.html"
    arguments = ["--image-size", "32", "--measure", "summary,flops", "-o", str(page)]
    assert run(arguments, capsys)[0] == code
    text = page.read_text(encoding="utf-8")
    assert 'id="icicle-0"' in text
    assert str(error) in text


def test_ctrl_c_draws_what_there_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("resnet_cli.measure.report.count_flops", interrupted)
    page = tmp_path / "r.html"
    arguments = ["--image-size", "32", "--measure", "summary,flops", "-o", str(page)]
    assert run(arguments, capsys)[0] == 130
    assert "interrupted" in page.read_text(encoding="utf-8")
    monkeypatch.setattr("resnet_cli.measure.report.summarize", interrupted)
    page.unlink()
    assert run(arguments, capsys)[0] == 130
    assert not page.exists()


def damaged() -> dict[str, bytes]:
    whole = to_json(results_summary_flops.summary_result()).encode()
    newer = whole.replace(b"resnet-cli/summary/2", b"resnet-cli/summary/3", 1)
    return {
        "truncated": whole[: len(whole) // 2],
        "newer": newer,
        "wrong type": whole.replace(b'"children": []', b'"children": 7', 1),
        "html": b"<!doctype html>",
    }


@pytest.mark.parametrize("name", damaged())
def test_damaged_files_are_an_error(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, page = tmp_path / "x.json", tmp_path / "page.html"
    path.write_bytes(damaged()[name])
    page.write_text("was here")
    code, out, err = run([str(path), "-o", str(page)], capsys)
    assert (code, out) == (2, "")
    assert len(err) == 2
    assert err[0].startswith(f"error: FILE {path}")
    assert page.read_text() == "was here"


def test_without_resvg_a_png_says_what_to_install(
    saved: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    code, _, err = run([*saved, "-o", str(tmp_path / "x.png")], capsys)
    assert code == 2
    assert "resvg-py" in err[0]
    assert "resnet-cli[png]" in err[1]


def test_a_chart_that_cannot_be_drawn_says_what_it_needs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = save(tmp_path, {"summary.json": results_summary_flops.summary_result()})
    for chart, needs in (("roofline", "bench --layers"), ("batch-sweep", "bench --batch-size")):
        code, _, err = run([*files, "--chart", chart, "-o", str(tmp_path / "x.svg")], capsys)
        assert code == 2
        assert needs in err[1]


def test_a_result_that_a_bundle_does_not_hold_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = save(tmp_path, {"family.json": parity.family()})
    code, _, err = run([*files, "-o", str(tmp_path / "x.json")], capsys)
    assert code == 2
    assert "compare-torchvision-all" in err[0]
    assert run([*files, "-o", str(tmp_path / "x.html")], capsys)[0] == 0


def test_an_empty_report_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = save(tmp_path, {"r.json": ReportResult((), (), (), (), True, results_summary_flops.ENVIRONMENT, ())})
    for name in ("x.html", "x.svg", "x.json"):
        code, _, err = run([*files, "-o", str(tmp_path / name)], capsys)
        assert (code, len(err)) == (2, 2)
