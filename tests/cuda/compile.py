"""Compiles the CUDA sources with NVRTC, without a GPU and without CUDA's headers, and reads what became of the registers.

Checks for each architecture that the sources compile without a warning, and for each
kernel that no more is spilled from registers to memory than is allowed.
"""

import ctypes
import pathlib
import re
import sys
import sysconfig

ARCHITECTURES = ["sm_80", "sm_90", "sm_100"]

# Bytes that a kernel may store to and load from memory because its registers do not suffice, added up: none where
# training takes its time; a little in float32, which is there for those who compare.
MOST_SPILLED = {"_bf16": 0, "_f32": 1024, "": 0}

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = ROOT / "src/kernels/cuda"


def sources():
    """The sources in the order of source.rs, each line with its place."""
    names = re.findall(r'include_str!\("(source/[^"]+\.cu)"\)', (FOLDER / "source.rs").read_text())
    assert names, "source.rs names the sources"
    return "".join(f'#line 1 "{name}"\n{(FOLDER / name).read_text()}' for name in names)


def library():
    """NVRTC, from the package in this interpreter's environment; it finds its builtins beside itself."""
    folder = pathlib.Path(sysconfig.get_paths()["purelib"]) / "nvidia"
    nvrtc = ctypes.CDLL(str(next(folder.glob("*/lib/libnvrtc.so.*"))))
    nvrtc.nvrtcGetErrorString.restype = ctypes.c_char_p
    return nvrtc


def compile(nvrtc, text, architecture):
    """The compiler's error, if any, and its log; options are those of nvidia/compile.rs, and ptxas' figures."""
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    assert nvrtc.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"matryo.cu", 0, None, None) == 0
    options = [f"--gpu-architecture={architecture}", "--std=c++17", "--fmad=true", "--ptxas-options=-v"]
    array = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    status = nvrtc.nvrtcCompileProgram(program, len(options), array)
    assert nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size)) == 0
    log = ctypes.create_string_buffer(size.value)
    assert nvrtc.nvrtcGetProgramLog(program, log) == 0
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return nvrtc.nvrtcGetErrorString(status).decode() if status else None, log.value.decode(errors="replace")


def figures(log):
    """Registers and bytes spilled of each kernel, by its name."""
    kernels, spilled, compiled, described = {}, {}, None, None
    for line in log.splitlines():
        if match := re.search(r"Compiling entry function '(\w+)'", line):
            compiled = match[1]
        elif match := re.search(r"Function properties for (\w+)", line):
            described = match[1]
        elif match := re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", line):
            spilled[described] = int(match[1]) + int(match[2])
        elif (match := re.search(r"Used (\d+) registers", line)) and compiled:
            kernels[compiled] = int(match[1])
    return {name: (registers, spilled.get(name, 0)) for name, registers in kernels.items()}


def allowed(kernel):
    return next(most for ending, most in MOST_SPILLED.items() if kernel.endswith(ending))


def complaints(nvrtc, text, architecture):
    """What is wrong for an architecture."""
    error, log = compile(nvrtc, text, architecture)
    if error:
        return [f"{error}\n{log}"]
    own = re.compile(r"ptxas (info|  )|\s*$")
    wrong = [line for line in log.splitlines() if not own.match(line)]
    kernels = figures(log)
    unread = set(re.findall(r"Compiling entry function '(\w+)'", log)) - set(kernels)
    if unread or not kernels:
        wrong.append(f"no figures of {unread or 'any kernel'} in the log:\n{log}")
    for name, (registers, spilled) in sorted(kernels.items()):
        if spilled > allowed(name):
            wrong.append(f"{name}: {spilled} bytes spilled, with {registers} registers; {allowed(name)} are allowed")
    most = max(kernels, key=lambda name: kernels[name][0], default=None)
    print(f"{architecture}: {len(kernels)} kernels; {most} has the most registers, {kernels.get(most, (0, 0))[0]}")
    return wrong


def main():
    nvrtc, text = library(), sources()
    architectures, failed = sys.argv[1:] or ARCHITECTURES, 0
    for architecture in architectures:
        wrong = complaints(nvrtc, text, architecture)
        failed += bool(wrong)
        for complaint in wrong:
            print(f"{architecture}: {complaint}")
    print(f"\n{len(architectures) - failed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
