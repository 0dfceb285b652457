"""The command of bench/serve: starts one server after another, measures it, keeps results. bench/serve prepares."""

import argparse
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import machine as this_machine
import serve_report
from agreement import Agreement
from arguments import names_of, positive
from inputs import read_rows
from matryo import Matryo
from peers import Peers
from processes import BenchmarkError, progress, stop_at_sigterm
from results import Results, facts, load as load_results
from sections import load_average
from serve_sections import FULL, QUICK, SECTIONS, Context, warm_up
from variants import PEERS, Launcher, Variant

REPOSITORY = Path(__file__).resolve().parents[2]


def parse() -> argparse.Namespace:
    """The command line; --python, --binary and --model come first from bench/serve, and may be given again."""
    parser = argparse.ArgumentParser(
        prog="bench/serve", allow_abbrev=False,
        description="Serves one model by matryo and by sentence-transformers, ONNX Runtime and OpenVINO, one after"
                    " another, and measures throughput and latency of each.",
        epilog="Environment: MATRYO_BENCH_PYTHON, MATRYO_BENCH_BINARY, MATRYO_TEST_MINILM; see bench/README.md.")
    parser.add_argument("--python", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--check", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--binary", type=Path, metavar="PATH",
                        help="the matryo binary [default: built from this source]")
    parser.add_argument("--model", type=Path, metavar="FOLDER",
                        help="the model [default: all-MiniLM-L6-v2, as tests/setup fetches it]")
    parser.add_argument("--quick", action="store_true", help="short loads and one round; rough figures, for tuning")
    parser.add_argument("--only", metavar="SECTION[,SECTION]", type=names_of("section", SECTIONS),
                        default=list(SECTIONS),
                        help=f"these sections alone, of {', '.join(SECTIONS)}; they replace what --out has of them")
    parser.add_argument("--skip-peers", action="store_true", help="measures matryo alone; needs no Python packages")
    parser.add_argument("--peers", metavar="PEER[,PEER]", type=names_of("peer", PEERS), default=list(PEERS),
                        help=f"these peers alone, of {', '.join(PEERS)}")
    parser.add_argument("--peer-batching", choices=["on", "off", "both"], default="both",
                        help="whether the peers' server batches what waits; `both` measures both, and the better one"
                             " counts [default: %(default)s]")
    parser.add_argument("--precisions", metavar="NAME[,NAME]", type=lambda text: text.split(","),
                        help="our --precision; the last one is measured beside training [default: float32, and bf16"
                             " where the CPU has it]")
    parser.add_argument("--serve-args", metavar="ARGS", type=shlex.split, default=[],
                        help="more arguments of `matryo serve`, as one text")
    parser.add_argument("--rounds", type=positive, metavar="N", help=f"rounds [default: {FULL.rounds}; 1 with --quick]")
    parser.add_argument("--threads", type=positive, metavar="N", default=this_machine.cores(),
                        help="threads of every server [default: all cores, %(default)s]")
    parser.add_argument("--train", type=Path, metavar="FILE", default=REPOSITORY.parent / "shared/data/train.jsonl",
                        help="pairs: passages to embed, and what the job beside trains on [default:"
                             " ../shared/data/train.jsonl]")
    parser.add_argument("--out", type=Path, metavar="FILE.json",
                        help="results, with a .md beside [default: bench/results/serve-CPU.json; a temporary folder"
                             " with --quick, --skip-peers, or a part of the peers]")
    return parser.parse_args()


def measure(args: argparse.Namespace, scratch: Path) -> None:
    """Runs all rounds and saves after each, so that what was measured survives a later failure."""
    machine = this_machine.describe()
    whole = not (args.quick or args.skip_peers or args.peers != list(PEERS))
    out = args.out or (
        REPOSITORY / f"bench/results/serve-{this_machine.slug(machine)}.json" if whole
        else Path(tempfile.mkdtemp(prefix="matryo-bench-")) / "serve.json"
    )
    results = load_results(out, machine)
    results["machine"] = machine
    peers = Peers(args.python, scratch, args.threads)
    launcher = Launcher(args.binary.resolve(), args.model.resolve(), scratch, args.threads, args.serve_args, peers)
    told = facts(machine, args.threads, args.quick, load_average(), versions(args, peers, scratch))
    if told["load_before"] > 0.3:
        progress(f"other processes use this machine (load {told['load_before']:.1f}); the figures will be noisy")
    servers = choose(args, launcher, this_machine.has_bf16(machine), told["versions"])
    ours = [variant for variant in servers if variant.ours]
    sizes = QUICK if args.quick else FULL
    context = Context(read_rows(args.train), sizes, Agreement(), args.peer_batching)
    told |= {"passages": len(context.passages), "commit": commit(), "serve_args": args.serve_args}
    results["sections"] |= {name: {**told, "peak_memory_bytes": [], "rounds": []} for name in args.only}
    flags = " ".join(machine["flags"])
    print(f"{machine['cpu']}, {args.threads} threads, {flags}, commit {told['commit']}", flush=True)
    count = args.rounds or sizes.rounds
    for number in range(1, count + 1):
        measured: dict[str, dict[str, Any]] = {name: {} for name in args.only}
        memory: dict[str, int | None] = {}
        for variant in servers:
            progress(f"round {number} of {count}: {variant.name}")
            memory[variant.name] = run(variant, args.only, context, measured, last_of_ours=variant == ours[-1])
        for name in args.only:
            results["sections"][name]["rounds"].append(measured[name])
            results["sections"][name]["peak_memory_bytes"].append(memory)
        order(results)
        serve_report.save(out, results)
    print("\n" + "\n".join(serve_report.summary_lines(results)))
    print(f"results: {out} and {out.with_suffix('.md')}")


def choose(args: argparse.Namespace, launcher: Launcher, bf16: bool, installed: dict[str, Any]) -> list[Variant]:
    """The servers of a round, ours first; the first one's embeddings are what the others are compared with."""
    precisions = args.precisions or (["float32", "bf16"] if bf16 else ["float32"])
    servers = [launcher.ours(precision) for precision in precisions]
    if args.skip_peers or args.only == ["interference"]:
        return servers
    chosen = [peer for peer in args.peers if installed.get(peer)]
    for missing in [peer for peer in args.peers if peer not in chosen]:
        progress(f"{missing} is not installed: it is left out")
    if {"onnxruntime", "openvino"} & set(chosen):
        progress("writing the model as ONNX")
        launcher.peers.onnx(launcher.model, launcher.graph)
    return servers + [
        launcher.peer(peer, precision) for peer in chosen for precision in PEERS[peer] if bf16 or precision != "bf16"
    ]


def run(variant: Variant, sections: list[str], context: Context, measured: dict[str, dict[str, Any]],
        last_of_ours: bool) -> int | None:
    """Starts a server, goes through the sections, stops it; answers the most memory that it held."""
    # A job runs beside our best precision alone.
    names = [name for name in sections if name != "interference" or (variant.ours and last_of_ours)]
    if not names:
        return None
    with variant.start() as server:
        warm_up(server, context)
        for name in names:
            figures = SECTIONS[name](server, variant, context)
            measured[name][variant.name] = figures
            print_figures(name, variant.name, figures)
        return server.peak_memory_bytes()


def print_figures(section: str, variant: str, figures: dict[str, Any]) -> None:
    """Lines of the table on stdout."""
    for scenario, labels in figures.items():
        for label, row in labels.items():
            if not isinstance(row, dict):
                continue
            cores = f", client {row['client_cpu']:.2f}" if "client_cpu" in row else ""
            cores += f", server {row['server_cpu']:.2f} cores" if "server_cpu" in row else ""
            print(f"{section:<12} {variant:<29} {scenario:<10} {label:<9} {row['rate']:8.1f}/s "
                  f" p50 {row['p50_ms']:8.2f} ms  p99 {row['p99_ms']:8.2f} ms{cores}", flush=True)


def versions(args: argparse.Namespace, peers: Peers, scratch: Path) -> dict[str, str | None]:
    """Ours, and those of the interpreter's packages."""
    ours = Matryo(args.binary, scratch, args.threads).version().removeprefix("matryo ")
    return {"matryo": ours, **(peers.versions() if not args.skip_peers else {})}


def commit() -> str | None:
    """The source's commit, with a mark where it was changed since; none outside a git repository."""
    try:
        told = subprocess.run(["git", "-C", REPOSITORY, "describe", "--always", "--dirty", "--exclude", "*"],
                              capture_output=True, text=True)
    except OSError:
        return None
    return told.stdout.strip() or None


def order(results: Results) -> None:
    """Sections as a full run has them."""
    results["sections"] = {name: results["sections"][name] for name in SECTIONS if name in results["sections"]}


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
        print(f"bench/serve: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench/serve: stopped; rounds that were finished are in the results", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
