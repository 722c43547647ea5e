"""Every command interrupted at random moments, and what that left behind.

    python tests/tools/signal_stress.py [times] [words]

Run by hand: random moments prove nothing when they pass, but they find what nobody thought of. The words choose the
commands whose line holds one of them.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LONGEST_S = 2.0  # from the signal to the end
PATIENCE_S = 30.0
GRACE_S = 1.0  # for processes whose parent has ended
# Where Python itself is starting, the signal does what it does by default.
CODES = {signal.SIGINT: (130, -signal.SIGINT), signal.SIGTERM: (143, -signal.SIGTERM)}
EARLY_S = 0.25

OLD = ("out.json", "out.safetensors")
MODEL = "from torchvision.models import resnet18\n"
COMMANDS: dict[str, float] = {  # and for how many seconds a signal may come
    "--help": 0.5,
    "summary --depth 18 -o out.json": 4,
    "summary --weights w.pth -o out.json": 4,
    "summary --model net.py:resnet18 -o out.json": 6,
    "flops --depth 50 -o out.json": 5,
    "compare-torchvision -o out.json": 7,
    "compare-torchvision --all -o out.json": 25,
    "compare-torchvision --self-test -o out.json": 25,
    "bench --depth 18 --image-size 64 --batch-size 1,2,4 --max-time 2 -o out.json": 10,
    "bench --depth 18 --image-size 64 --against torchvision --max-time 3 --no-ceiling -o out.json": 9,
    "bench --depth 18 --image-size 64 --layers --max-time 3 --no-ceiling -o out.json": 10,
    "bench --depth 18 --image-size 32 --optimizations all --max-time 3 --no-ceiling -o out.json": 45,
    "bench --depth 18 --image-size 64 --mode train --batch-size 4 --max-time 3 --no-ceiling -o out.json": 8,
    "bench --depth 18 --mode train --batch-size 32 --max-time 30 --no-ceiling -o out.json": 20,
    "bench --depth 18 --image-size 32 --nproc 2 --batch-size 1,2 --max-time 2 -o out.json": 20,
    "bench --depth 18 --image-size 32 --max-time 1 --no-ceiling --save out.json": 6,
    "convert w.pth --to resnet-cli -o out.safetensors": 5,
}


@dataclass(frozen=True)
class Case:
    """One run and when it is interrupted."""

    command: str
    after_s: float
    number: signal.Signals
    twice: bool


def violations(case: Case, weights: bytes) -> Iterator[str]:
    """Interrupt a run, and say what is not as it should be."""
    with tempfile.TemporaryDirectory() as root:
        folder, scratch = Path(root, "here"), Path(root, "tmp")
        folder.mkdir()
        scratch.mkdir()
        (folder / "net.py").write_text(MODEL, encoding="utf-8")
        (folder / "w.pth").write_bytes(weights)
        for name in OLD:
            (folder / name).write_bytes(_old(name))
        there = {path.name for path in folder.iterdir()} | {"__pycache__"}
        process = subprocess.Popen(
            [sys.executable, "-m", "resnet_cli", *case.command.split()],
            cwd=folder,
            env={**os.environ, "TMPDIR": str(scratch)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            yield from _run(process, case)
            if left := _orphans(process.pid):
                yield f"processes left: {left}"
            if files := sorted(str(path.relative_to(scratch)) for path in scratch.rglob("*")):
                yield f"temporary files left: {files[:5]}"
            if strange := {path.name for path in folder.iterdir()} - there:
                yield f"files left: {strange}"
            yield from (f"{name} is half-written" for name in OLD if not _is_whole(folder / name))
        finally:
            for pid in session(process.pid):
                os.kill(pid, signal.SIGKILL)
            process.wait()


def _run(process: subprocess.Popen[bytes], case: Case) -> Iterator[str]:
    """Signal it, and see how it ends."""
    time.sleep(case.after_s)
    begin = time.monotonic()
    _send(process, case.number)
    if case.twice:
        time.sleep(random.uniform(0, 0.2))
        _send(process, case.number)
    try:
        _, err = process.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        yield f"still there after {PATIENCE_S:.0f} s"
        return
    took = time.monotonic() - begin
    finished = process.returncode == 0
    codes = CODES[case.number] if case.after_s < EARLY_S else CODES[case.number][:1]
    if not finished and process.returncode not in codes:
        yield f"exit code {process.returncode}"
    if took > LONGEST_S:
        yield f"{'the signal was lost, it went on for' if finished else 'took'} {took:.1f} s"
    lines = [line for line in err.decode(errors="replace").splitlines() if not line.startswith(("note:", "warning:"))]
    if any(lines):
        yield "said: " + "\n".join(lines)[-1500:]


def _old(name: str) -> bytes:
    """What was there before."""
    return f"old {name}".encode()


def _is_whole(path: Path) -> bool:
    content = path.read_bytes()
    if content == _old(path.name):
        return True
    return content.endswith(b"}\n") if path.suffix == ".json" else len(content) > 40_000_000


def _send(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Ctrl-C reaches all processes of a terminal, a service's SIGTERM the first one."""
    try:
        if number is signal.SIGINT:
            os.killpg(process.pid, number)
        else:
            os.kill(process.pid, number)
    except ProcessLookupError:
        pass


def _orphans(leader: int) -> list[str]:
    """The command lines of processes that do not end by themselves right away."""
    end = time.monotonic() + GRACE_S
    while (left := session(leader)) and time.monotonic() < end:
        time.sleep(0.02)
    return [Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()[-200:] for pid in left]


def session(leader: int) -> list[int]:
    """The processes of a session that are still alive."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def _weights() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "w.pth")
        code = f"import torch, torchvision; torch.save(torchvision.models.resnet18().state_dict(), {str(path)!r})"
        subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
        return path.read_bytes()


def main(times: int, words: list[str]) -> int:
    """Interrupt everything so many times; the number of violations."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # behind a shell's & it would be ignored, here and there
    weights = _weights()
    found = 0
    for command, longest in COMMANDS.items():
        if words and not any(word in command for word in words):
            continue
        bad = 0
        for _ in range(times):
            number = random.choice((signal.SIGINT, signal.SIGTERM))
            case = Case(command, random.uniform(0.02, longest), number, twice=random.random() < 0.3)
            for text in violations(case, weights):
                bad += 1
                twice = " twice" if case.twice else ""
                print(f"{command}\n  {number.name}{twice} after {case.after_s:.2f} s: {text}", flush=True)
        print(f"{times - bad if bad < times else 0:3} of {times} well: {command}", flush=True)
        found += bad
    return found


if __name__ == "__main__":
    sys.exit(min(1, main(int(sys.argv[1]) if len(sys.argv) > 1 else 10, sys.argv[2:])))
