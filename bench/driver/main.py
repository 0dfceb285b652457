"""The command of bench/train, which prepares what this needs: reads arguments, runs sections, keeps results."""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import machine as this_machine
import report
from arguments import names_of, positive
from inputs import FULL, QUICK, Pairs
from matryo import Matryo
from peers import Peers
from processes import BenchmarkError, progress, stop_at_sigterm
from results import facts, load as load_results
from sections import SECTIONS, Context, load_average

REPOSITORY = Path(__file__).resolve().parents[2]


def parse() -> argparse.Namespace:
    """The command line; --python, --binary and --model come from bench/train."""
    parser = argparse.ArgumentParser(
        prog="bench/train", description="Measures matryo against sentence-transformers on this machine.",
        epilog="Environment: MATRYO_BENCH_PYTHON, MATRYO_BENCH_BINARY, MATRYO_TEST_MINILM; see bench/README.md.")
    for hidden in ("--python", "--binary", "--model"):
        parser.add_argument(hidden, type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--check", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true",
                        help="small inputs and one round: checks the command itself; the figures mean nothing")
    parser.add_argument("--only", metavar="SECTION[,SECTION]", type=names_of("section", SECTIONS),
                        default=list(SECTIONS),
                        help=f"these sections alone, of {', '.join(SECTIONS)}; they replace what --out has of them")
    parser.add_argument("--rounds", type=positive, metavar="N", help="rounds of each section, instead of its own")
    parser.add_argument("--threads", type=positive, metavar="N", default=this_machine.cores(),
                        help="threads of both sides [default: all cores, %(default)s]")
    parser.add_argument("--train", type=Path, metavar="FILE", default=REPOSITORY.parent / "shared/data/train.jsonl",
                        help="pairs to train on [default: ../shared/data/train.jsonl]")
    parser.add_argument("--test", type=Path, metavar="FILE", default=REPOSITORY.parent / "shared/data/test.jsonl",
                        help="pairs to evaluate on [default: ../shared/data/test.jsonl]")
    parser.add_argument("--out", type=Path, metavar="FILE.json",
                        help="results, with a .md beside [default: bench/results/train-CPU.json; with --quick, a"
                             " temporary folder]")
    return parser.parse_args()


def measure(args: argparse.Namespace, scratch: Path) -> None:
    """Runs the sections and saves after each, so that what was measured survives a later failure."""
    machine = this_machine.describe()
    out = args.out or (
        Path(tempfile.mkdtemp(prefix="matryo-bench-")) / "train.json" if args.quick
        else REPOSITORY / f"bench/results/train-{this_machine.slug(machine)}.json"
    )
    results = load_results(out, machine)
    results["machine"] = machine
    matryo = Matryo(args.binary, scratch, args.threads)
    peers = Peers(args.python, scratch, args.threads)
    versions = {"matryo": matryo.version().removeprefix("matryo "), **peers.versions()}
    context = make_context(args, matryo, peers, machine, bool(versions["openvino"]))
    load = load_average()
    if load > 0.3:
        progress(f"other processes use this machine (load {load:.1f}); the figures will be noisy")
    print(f"{machine['cpu']}, {args.threads} threads, {' '.join(machine['flags'])}")
    for name in args.only:
        told = facts(machine, args.threads, args.quick, load, versions)
        results["sections"][name] = {**told, **SECTIONS[name](context)}
        results["sections"] = {key: results["sections"][key] for key in SECTIONS if key in results["sections"]}
        report.save(out, results)
    print("\n" + "\n".join(report.ratio_lines(results)))
    for precision, rate in results["throughput"].items():
        share = f", {rate['share_of_peak']:.0%} of this machine's peak" if "share_of_peak" in rate else ""
        print(f"our training step, {precision}: {rate['gflops']:.0f} GFLOP/s{share}")
    print(f"\nresults: {out} and {out.with_suffix('.md')}")


def make_context(
    args: argparse.Namespace, matryo: Matryo, peers: Peers, machine: dict[str, Any], openvino: bool
) -> Context:
    """Decides which precisions each side is measured in."""
    precisions = ["float32", "bf16"] if this_machine.has_bf16(machine) else ["float32"]
    if len(precisions) == 1:
        progress("this CPU has no bf16 in hardware: both sides are measured in float32 alone")
    if not openvino and "encode" in args.only:
        progress("OpenVINO is not installed: encode is measured without it")
    sizes = QUICK if args.quick else FULL
    return Context(
        matryo=matryo,
        peers=peers,
        pairs=Pairs(args.train, args.test, matryo.scratch),
        sizes=sizes,
        model=args.model,
        precisions=precisions,
        openvino=openvino,
        quick=args.quick,
        rounds=args.rounds,
    )


def main() -> int:
    """The exit code: 0, 1 where it failed, 130 where it was stopped."""
    args = parse()
    if args.check:
        return 0
    stop_at_sigterm()
    target = REPOSITORY / "target"
    target.mkdir(exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix="bench-", dir=target) as scratch:
            measure(args, Path(scratch))
    except BenchmarkError as error:
        print(f"bench/train: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench/train: stopped; sections that were finished are in the results", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
