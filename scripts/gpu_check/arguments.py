"""The command line, checked before anything is started: what is wrong with it ends the program with code 2."""

import argparse
import os
import re
import shutil
import sys
from pathlib import Path

EPILOG = """Exit codes: 0 where all kernels are right, the job ran twice with the same result, and its metrics agree
with the peer's where the peer ran; 1 where not, or where there is no GPU; 2 where the arguments are wrong; 130 where it
was stopped. The report is written after every step, so that a run that is cut off leaves what it has."""


def parse(arguments: list[str]) -> argparse.Namespace:
    """Reads the arguments; exits with 2 where they are wrong."""
    parser = argparse.ArgumentParser(
        prog="scripts/gpu-check", epilog=EPILOG,
        description="Checks matryo's kernels on this machine's GPU, trains the recipe's job on it twice, has"
                    " sentence-transformers do the same, and writes what both took and reached.")
    parser.add_argument("--binary", type=program, required=True, metavar="PATH", help="the built matryo")
    parser.add_argument("--model", type=model_folder, required=True, metavar="FOLDER",
                        help="the base model, such as all-MiniLM-L6-v2")
    parser.add_argument("--train", type=existing_file, required=True, metavar="FILE",
                        help="pairs to train on: JSON Lines with id, anchor, positive")
    parser.add_argument("--eval", type=existing_file, required=True, metavar="FILE",
                        help="pairs to evaluate on, likewise")
    parser.add_argument("--epochs", type=positive, metavar="N", help="[default: 4; 1 with --random-bge]")
    parser.add_argument("--out", type=report_file, default=Path("gpu-check.json"), metavar="REPORT.json",
                        help="the report [default: %(default)s]")
    parser.add_argument("--device", type=gpu, default="cuda:0", metavar="cuda:N", help="[default: %(default)s]")
    parser.add_argument("--skip-peer", action="store_true", help="leaves sentence-transformers out")
    parser.add_argument("--random-bge", action="store_true",
                        help="trains a model of bge-base's size with random weights and --model's tokenizer, for speed"
                             " alone: metrics are not compared")
    parser.add_argument("--python", type=program, default=Path(sys.executable), metavar="PATH",
                        help="the interpreter that has PyTorch and sentence-transformers [default: %(default)s]")
    parser.add_argument("--limit-s", type=positive, default=360, metavar="SECONDS",
                        help="what is not done by then is left out [default: %(default)s]")
    args = parser.parse_args(arguments)
    if args.epochs is None:
        args.epochs = 1 if args.random_bge else 4
    return args


def positive(text: str) -> int:
    """A number from 1."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def gpu(text: str) -> str:
    """A GPU's name, as matryo reads it."""
    if not re.fullmatch(r"cuda:\d+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no GPU; expected cuda:0 or another number")
    return text


def program(text: str) -> Path:
    """Something that can be started, by its path or by its name in PATH."""
    found = shutil.which(text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no program that can be started")
    # Not resolved: an interpreter of a virtual environment is a link, and knows its packages by where the link lies.
    return Path(os.path.abspath(found))


def existing_file(text: str) -> Path:
    """A file that is there."""
    if not os.path.isfile(text):
        raise argparse.ArgumentTypeError(f"there is no file {text!r}")
    return Path(text).resolve()


def model_folder(text: str) -> Path:
    """A folder with a model."""
    if not os.path.isfile(os.path.join(text, "config.json")):
        raise argparse.ArgumentTypeError(f"{text!r} is no model's folder: it has no config.json")
    return Path(text).resolve()


def report_file(text: str) -> Path:
    """A file in a folder that is there, so that a report that cannot be written is told before the work."""
    path = Path(text)
    if path.is_dir() or not path.absolute().parent.is_dir() or not os.access(path.absolute().parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"{text!r} cannot be written")
    return path
