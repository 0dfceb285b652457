"""The command as a whole: what it runs, what its report says, how it ends."""

import time
import unittest

from fakes import DIMS, Bench


def verdict(report):
    """What the report says of each point, in order."""
    return [point["holds"] for point in report["verdict"]]


class Arguments(unittest.TestCase):
    def setUp(self):
        self.bench = Bench()
        self.addCleanup(self.bench.held.cleanup)

    def ended(self, arguments):
        process = self.bench.start(arguments)
        output, errors = process.communicate(timeout=60)
        return process.returncode, output, errors

    def test_help_names_every_option(self):
        code, output, _ = self.ended(["--help"])
        self.assertEqual(code, 0)
        options = ["binary", "model", "train", "eval", "epochs", "out", "skip-peer", "random-bge", "device", "python"]
        for option in options:
            self.assertIn(f"--{option}", output)

    def test_wrong_arguments_end_with_2_before_anything_is_started(self):
        bench = self.bench
        wrong = [
            [], bench.arguments(binary=None), bench.arguments(binary="/no/such/program"),
            bench.arguments(model=bench.folder), bench.arguments(train="/no/such/file"), bench.arguments(eval=None),
            bench.arguments(device="cpu"), bench.arguments(device="cuda:x"), bench.arguments(epochs=0),
            bench.arguments(out="/no/such/folder/report.json"), [*bench.arguments(), "--unknown"],
        ]
        for arguments in wrong:
            code, output, errors = self.ended(arguments)
            self.assertEqual((code, output), (2, ""), arguments)
            self.assertIn("scripts/gpu-check: error:", errors)
        self.assertFalse(bench.report_path.exists())


class Command(unittest.TestCase):
    def setUp(self):
        self.bench = Bench()
        self.addCleanup(self.bench.held.cleanup)

    def test_all_is_well(self):
        code, report, output, _ = self.bench.run("--skip-peer")
        self.assertEqual(code, 0, output)
        self.assertTrue(report["ok"] and report["finished"] and report["seconds"] > 0)
        self.assertEqual(verdict(report), [True, True, True, None, None])
        self.assertEqual(report["matryo"]["version"], "0.1.0")
        statuses = {name: step["status"] for name, step in report["steps"].items()}
        done = dict.fromkeys(["kernels", "job_cold", "job_warm", "profile", "packages", "peak"], "ok")
        self.assertEqual(statuses, done | dict.fromkeys(["peer_sdpa", "peer_flash_attention_2"], "skipped"))
        self.assertEqual(report["kernels"]["failed"], 0)
        warm = report["job_warm"]
        self.assertEqual([row["epoch"] for row in warm["evaluations"]], [0, 1, 2, 3, 4])
        self.assertEqual(warm["peak_gpu_memory_bytes"], 4 << 30)
        # The phases' clocks stop before the GPU does: 2 s were asked for in the 4 s that the epochs took.
        self.assertEqual((warm["step_seconds"], warm["step_gflops"]), (4.0, 200000.0))
        use = report["utilisation"]
        self.assertEqual((use["step_tflops"], use["of_measured_peak"]), (200.0, 0.25))
        self.assertEqual(use["datasheet_peak_tflops"], 989.0)
        top = report["profile"]["kernels"]["top"]
        self.assertEqual([(kernel["name"], kernel["share"]) for kernel in top], [("gelu", 0.75), ("norm", 0.25)])
        self.assertIn("5 comparisons", output)

    def test_a_wrong_kernel_is_told_and_hides_nothing(self):
        code, report, output, _ = self.bench.run("--skip-peer", FAKE_KERNELS="wrong")
        self.assertEqual(code, 1)
        self.assertEqual(verdict(report)[:3], [False, True, True])
        self.assertEqual(report["kernels"]["failed"], 1)
        self.assertIn("norm_2: error None", output)

    def test_an_error_beyond_its_tolerance_does_not_pass_as_holding(self):
        code, report, _, _ = self.bench.run("--skip-peer", FAKE_KERNELS="lies")
        self.assertEqual((code, report["steps"]["kernels"]["status"]), (1, "failed"))
        self.assertIn("contradicts itself", report["steps"]["kernels"]["reason"])

    def test_a_crash_in_the_kernels_hides_nothing(self):
        code, report, _, _ = self.bench.run("--skip-peer", FAKE_KERNELS="crash")
        self.assertEqual(code, 1)
        step = report["steps"]["kernels"]
        self.assertEqual((step["status"], step["output"]), ("failed", ["about to crash"]))
        self.assertIn("signal 6", step["reason"])
        self.assertEqual(verdict(report)[:3], [False, True, True])

    def test_a_crash_of_the_job_hides_nothing(self):
        code, report, _, _ = self.bench.run(FAKE_TRAIN="crash")
        self.assertEqual(code, 1)
        self.assertEqual(verdict(report), [True, False, None, None, None])
        self.assertEqual([report["steps"][name]["status"] for name in ("job_cold", "job_warm", "profile", "peer_sdpa")],
                         ["failed", "failed", "failed", "ok"])
        self.assertEqual(len(report["peer_sdpa"]["evaluations"]), 5)

    def test_a_job_on_the_cpu_is_none_on_the_gpu(self):
        code, report, _, _ = self.bench.run("--skip-peer", FAKE_TRAIN="cpu")
        self.assertEqual((code, verdict(report)[1]), (1, False))
        self.assertIn("computed on cpu", report["steps"]["job_warm"]["reason"])

    def test_two_runs_must_come_to_the_same(self):
        code, report, _, _ = self.bench.run("--skip-peer", FAKE_TRAIN="differs")
        self.assertEqual((code, verdict(report)[:3]), (1, [True, True, False]))

    def test_without_a_gpu_it_says_so_at_once(self):
        begun = time.monotonic()
        code, report, _, errors = self.bench.run(FAKE_KERNELS="none", FAKE_TRAIN="hang")
        self.assertEqual(code, 1)
        self.assertLess(time.monotonic() - begun, 20)
        self.assertEqual(errors.count("\n"), 1)
        self.assertIn("has no GPU", errors)
        self.assertIn("there is no NVIDIA driver", errors)
        self.assertEqual((report["ok"], list(report["steps"])), (False, ["kernels"]))

    def test_what_hangs_is_ended_at_the_limit(self):
        code, report, _, _ = self.bench.run("--skip-peer", "--limit-s", "4", FAKE_TRAIN="hang")
        self.assertEqual(code, 1)
        self.assertIn("did not end within", report["steps"]["job_cold"]["reason"])
        self.assertEqual(report["steps"]["job_warm"]["status"], "skipped")
        self.assertEqual(report["kernels"]["failed"], 0)

    def test_what_is_stopped_leaves_what_it_has(self):
        code, errors = self.bench.stopped("job_cold", FAKE_TRAIN="hang")
        self.assertEqual(code, 130)
        self.assertIn("stopped", errors)
        report = self.bench.report()
        self.assertEqual((report["kernels"]["failed"], report["finished"], report["ok"]), (0, None, False))
        self.assertEqual(list(self.bench.folder.glob("gpu-check-*")), [])


class Peer(unittest.TestCase):
    def setUp(self):
        self.bench = Bench()
        self.addCleanup(self.bench.held.cleanup)

    def test_a_peer_that_agrees(self):
        code, report, output, _ = self.bench.run(FAKE_PEER="flash")
        self.assertEqual(code, 0, output)
        self.assertEqual(verdict(report), [True] * 5)
        compared = report["comparison"]["flash_attention_2"]
        # 40 s of steps beside our 4; 62 s of the job beside 5; 10 s of evaluations beside 1.
        ratios = compared["ratios"]
        self.assertEqual((ratios["training_steps"], ratios["training_steps_by_median"]), (10.0, 10.0))
        self.assertAlmostEqual(ratios["job_without_start"], 62 / 5)
        self.assertAlmostEqual(ratios["evaluations"], 10.0)
        metrics = compared["metrics"]
        self.assertEqual(len(metrics["rows"]), 5 * 2 * len(DIMS))
        self.assertAlmostEqual(metrics["largest"]["apart"], 0.002)
        self.assertIn("whole job", output)

    def test_a_peer_that_is_too_far_away(self):
        code, report, _, _ = self.bench.run(FAKE_PEER="apart")
        self.assertEqual((code, verdict(report)), (1, [True, True, True, False, None]))
        self.assertEqual(len(report["comparison"]["sdpa"]["metrics"]["beyond"]), 5 * len(DIMS))

    def test_a_peer_that_fails_or_is_not_installed_is_no_fault_of_ours(self):
        for kind, status, reason in (("fails", "failed", "ended with code 1"), ("lacks", "skipped", "lacks datasets")):
            code, report, _, _ = self.bench.run(FAKE_PEER=kind)
            self.assertEqual((code, verdict(report)[3:]), (0, [None, None]))
            step = report["steps"]["peer_sdpa"]
            self.assertEqual(step["status"], status)
            self.assertIn(reason, step["reason"])


if __name__ == "__main__":
    unittest.main()
