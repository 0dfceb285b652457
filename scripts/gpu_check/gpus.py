"""What CUDA there is on this machine, asked of its libraries, so that nothing need be installed to know."""

import ctypes
import os
import subprocess
from pathlib import Path

# The names by which matryo opens them, as far as they matter on Linux.
LIBRARIES = ["libnvrtc", "libcublasLt"]
ENDINGS = [".so", ".so.13", ".so.12"]


def count() -> int:
    """How many GPUs the driver shows; 0 where there is no driver, or one that does not start."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    number = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(number)) != 0:
        return 0
    return number.value


def library_folders(python: Path) -> list[str]:
    """Folders of the interpreter's packages with the libraries that matryo opens and that this system lacks.

    PyTorch's packages bring them, but where the linker does not look.
    """
    missing = [name for name in LIBRARIES if not opens(name)]
    if not missing:
        return []
    ask = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    asked = subprocess.run([python, "-c", ask], capture_output=True, text=True, timeout=60)
    packages = Path(asked.stdout.strip() or "/nonexistent") / "nvidia"
    return sorted({str(found.parent) for name in missing for found in packages.glob(f"*/lib/{name}.so.*")})


def opens(name: str) -> bool:
    """Whether the linker finds a library."""
    for ending in ENDINGS:
        try:
            ctypes.CDLL(name + ending)
            return True
        except OSError:
            pass
    return False


def with_folders(environment: dict[str, str], folders: list[str]) -> dict[str, str]:
    """An environment in which the linker looks into the folders too, after those that it is told of already."""
    if not folders:
        return environment
    known = [folder for folder in environment.get("LD_LIBRARY_PATH", "").split(":") if folder]
    return {**environment, "LD_LIBRARY_PATH": ":".join([*known, *folders])}


def alone(environment: dict[str, str], device: str) -> dict[str, str]:
    """An environment in which a program sees that GPU alone: several would make PyTorch's trainer use them all."""
    number = int(device.partition(":")[2])
    shown = [name for name in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return {**environment, "CUDA_VISIBLE_DEVICES": shown[number] if number < len(shown) else str(number)}


def quiet_environment() -> dict[str, str]:
    """This program's, without a network and without escape codes in logs."""
    return {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true",
            "NO_COLOR": "1"}
