"""Redraws the pictures of the README from the commands in their captions.

    python tests/tools/readme_pictures.py [NAME ...]

Without names, all of them are drawn, which takes some minutes. The picture of the HTML page needs Chromium.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "tests" / "readme" / "pictures"
MODEL = """
from torchvision.models import resnet50


def paper(num_classes=1000):
    net = resnet50(num_classes=num_classes)
    for stage in (net.layer2, net.layer3, net.layer4):
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    return net
"""


def run(arguments: list[str], folder: Path) -> None:
    """Run resnet-cli in a folder; a comparison that finds a difference exits with 1."""
    command = [sys.executable, "-m", "resnet_cli", *arguments]
    done = subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    if done.returncode not in (0, 1):
        sys.exit(f"{shlex.join(command)} exited with {done.returncode}")


def draw(name: str, caption: str, folder: Path) -> None:
    """Draw one picture from its caption."""
    target = PICTURES / name
    if name.endswith(".svg"):
        arguments = shlex.split(caption)[1:]
        arguments = arguments[: arguments.index("-o")] if "-o" in arguments else arguments
        run([*arguments, "--device", "cpu", "-o", str(target)], folder)
        return
    from playwright.sync_api import sync_playwright

    run(
        ["report", "--depth", "50", "--device", "cpu", "--measure", "summary,flops,bench,layers", "-o", "page.html"],
        folder,
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium")
        page = browser.new_page(viewport={"width": 1100, "height": 1300})
        page.goto((folder / "page.html").as_uri())
        page.screenshot(path=target)
        browser.close()


def main(names: list[str]) -> None:
    """Draw the pictures with these names, or all."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    pictures = {Path(path).name: caption for caption, path in re.findall(r"!\[([^\]]+)\]\(([^)]+)\)", text)}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "my_resnet.py").write_text(MODEL, encoding="utf-8")
        for name in names or pictures:
            print(name)
            draw(name, pictures[name], Path(folder))


if __name__ == "__main__":
    main(sys.argv[1:])
