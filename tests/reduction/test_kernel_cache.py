"""The folder where compiled code is kept: absent, read-only, damaged, or written by many at a time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import saxs_bluesky
from saxs_bluesky import schemas

REDUCE = """
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy import sparse

import saxs_bluesky.reduction as reduction

assert "numba" not in sys.modules  # is loaded with the first frame
operator = reduction.BinningOperator(sparse.csr_array(np.ones((1, 4), np.uint8)))
image = np.array([[1, 2, 3, 6]], np.int32)
with ThreadPoolExecutor(4) as pool:
    curves = list(pool.map(operator.apply, [image] * 8))
assert [curve.intensity[0] for curve in curves] == [3.0] * 8
from saxs_bluesky.reduction import _kernels

sums = _kernels.sum_pixels
print(_kernels.__file__, len(sums.kept.signatures), len(sums.unkept.signatures))
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A folder with a copy of the package in it, as it is installed."""
    folder = tmp_path / "site-packages"
    without_caches = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(saxs_bluesky.__file__).parent, folder / "saxs_bluesky", ignore=without_caches)
    schemas_copy = folder / "saxs_bluesky" / "schemas"
    if not schemas_copy.exists():
        shutil.copytree(Path(schemas.__file__).parent, schemas_copy, ignore=without_caches)
    return folder


def process(package: Path, **environment: str | Path) -> subprocess.Popen[str]:
    """A new interpreter that finds that package and makes a curve."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA", "XDG", "PYTHON"))}
    env |= {"PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1"}
    env |= {name: str(value) for name, value in environment.items()}
    command = [sys.executable, "-W", "error", "-c", REDUCE]
    return subprocess.Popen(command, cwd=package, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def answer(running: subprocess.Popen[str], package: Path) -> tuple[int, int]:
    """How many variants of the kernel it had that are kept on the disk, and that are not."""
    output, errors = running.communicate(timeout=120)
    assert running.returncode == 0, errors
    file, kept, unkept = output.split()
    assert Path(file).is_relative_to(package)
    return int(kept), int(unkept)


def machine_code(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("_kernels._sum-*.nb?"))


def test_compiled_code_is_kept_beside_the_package(package: Path) -> None:
    assert answer(process(package), package) == (1, 0)
    written = machine_code(package)
    assert len(written) == 2  # an index and one variant
    assert answer(process(package), package) == (1, 0)
    assert machine_code(package) == written


def test_no_folder_may_be_written_to(package: Path, tmp_path: Path) -> None:
    # Files where folders would have to be: that stops root as well, whom permissions do not.
    (package / "saxs_bluesky" / "reduction" / "__pycache__").write_text("")
    home = tmp_path / "home"
    home.write_text("")
    running = process(package, HOME=home, NUMBA_CACHE_DIR=home / "numba", LOCALAPPDATA=home)
    assert answer(running, package) == (1, 1)  # one and the same
    assert machine_code(tmp_path) == []


def test_package_of_another_user_is_left_alone(package: Path, tmp_path: Path) -> None:
    folder = package / "saxs_bluesky" / "reduction"
    folder.chmod(0o555)
    if os.access(folder, os.W_OK):
        pytest.skip("permissions do not stop this user")
    try:
        assert answer(process(package, HOME=tmp_path / "home"), package) == (1, 0)
        assert machine_code(package) == []
        assert machine_code(tmp_path / "home")
    finally:
        folder.chmod(0o755)


def test_damaged_files_are_passed_over(package: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert answer(process(package, NUMBA_CACHE_DIR=cache), package) == (1, 0)
    for path in cache.rglob("*.nb?"):
        path.write_bytes(b"")
    kept, unkept = answer(process(package, NUMBA_CACHE_DIR=cache), package)
    assert (kept, unkept) == (0, 1)


def test_many_processes_compile_at_once(package: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    running = [process(package, NUMBA_CACHE_DIR=cache) for _ in range(3)]
    assert [answer(one, package) for one in running] == [(1, 0)] * 3
    assert len(machine_code(cache)) >= 2
    assert answer(process(package, NUMBA_CACHE_DIR=cache), package) == (1, 0)
