"""Parts of the command that a run with fakes does not reach."""

import json
import math
import struct
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from fakes import ROOT, Bench

sys.path.insert(0, str(ROOT / "scripts/gpu_check"))

import compare  # noqa: E402 (the folder is not a package: its programs are started by their paths)
import datasheet  # noqa: E402
import gpus  # noqa: E402
import main  # noqa: E402
import random_model  # noqa: E402

TINY = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
CONFIG = {"model_type": "bert", "vocab_size": 11, "max_position_embeddings": 4, "type_vocab_size": 2, "hidden_size": 4}


class Metrics(unittest.TestCase):
    def compared(self, ours, theirs, questions=700):
        def rows(values):
            return [{"epoch": epoch, "values": {"dim_64_cosine_ndcg@10": value, "dim_64_cosine_accuracy@1": 0.5}}
                    for epoch, value in enumerate(values)]

        return compare.metrics(rows(ours), rows(theirs), questions)

    def test_each_stage_has_its_tolerance(self):
        self.assertTrue(self.compared([0.7, 0.75, 0.8], [0.704, 0.759, 0.805])["holds"])
        for theirs in ([0.706, 0.75, 0.8], [0.7, 0.761, 0.8], [0.7, 0.75, 0.807]):
            found = self.compared([0.7, 0.75, 0.8], theirs)
            self.assertEqual((found["holds"], len(found["beyond"])), (False, 1))

    def test_fewer_questions_are_noisier(self):
        self.assertTrue(self.compared([0.7, 0.8], [0.7, 0.811], questions=175)["holds"])
        self.assertFalse(self.compared([0.7, 0.8], [0.7, 0.811], questions=7000)["holds"])

    def test_what_is_no_number_or_missing_does_not_pass(self):
        self.assertFalse(self.compared([0.7, math.nan], [0.7, 0.8])["holds"])
        found = self.compared([0.7, 0.8], [0.7])
        self.assertEqual((found["holds"], found["epochs_without_peer"]), (False, [1]))
        self.assertFalse(compare.metrics([{"epoch": 0, "values": {}}], [], 700)["holds"])


class Names(unittest.TestCase):
    def test_peaks_are_found_by_the_drivers_names(self):
        names = {"NVIDIA H100 80GB HBM3": 989.0, "NVIDIA H100 PCIe": 756.0, "NVIDIA H100 NVL": 835.0,
                 "NVIDIA A100-SXM4-80GB": 312.0, "NVIDIA L4": 121.0, "NVIDIA L40S": 362.0, "NVIDIA A10": None,
                 "NVIDIA GeForce RTX 4090": 165.0, "NVIDIA H200": 989.0, "Tesla V100": None}
        self.assertEqual({name: datasheet.peak_tflops(name) for name in names}, names)

    def test_the_peer_sees_one_gpu(self):
        self.assertEqual(gpus.alone({}, "cuda:2")["CUDA_VISIBLE_DEVICES"], "2")
        self.assertEqual(gpus.alone({"CUDA_VISIBLE_DEVICES": "5,3"}, "cuda:1")["CUDA_VISIBLE_DEVICES"], "3")

    def test_folders_of_libraries_come_after_those_that_are_named(self):
        self.assertEqual(gpus.with_folders({"LD_LIBRARY_PATH": "/a:"}, ["/b"])["LD_LIBRARY_PATH"], "/a:/b")
        self.assertEqual(gpus.with_folders({}, []), {})


class RandomModel(unittest.TestCase):
    def setUp(self):
        held = tempfile.TemporaryDirectory()
        self.addCleanup(held.cleanup)
        self.source, self.folder = Path(held.name) / "source", Path(held.name) / "model"
        (self.source / "1_Pooling").mkdir(parents=True)
        (self.source / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
        (self.source / "1_Pooling/config.json").write_text('{"pooling_mode_mean_tokens": true}', encoding="utf-8")
        (self.source / "vocab.txt").write_text("a\n", encoding="utf-8")
        (self.source / "model.safetensors").write_bytes(b"old")

    def written(self):
        with mock.patch.object(random_model, "SIZES", TINY), mock.patch.object(random_model, "CHUNK", 5):
            random_model.write(self.source, self.folder)
        data = (self.folder / "model.safetensors").read_bytes()
        length = struct.unpack_from("<Q", data)[0]
        return json.loads(data[8 : 8 + length]), data[8 + length :]

    def test_it_is_a_safetensors_file_of_a_bert(self):
        header, numbers = self.written()
        self.assertEqual(header.pop("__metadata__"), {"format": "pt"})
        self.assertEqual(header["embeddings.word_embeddings.weight"]["shape"], [11, 8])
        self.assertEqual(header["encoder.layer.1.output.dense.weight"]["shape"], [8, 16])
        self.assertEqual(len(header), 5 + 2 * 16 + 2)
        end = 0
        for tensor in header.values():
            begin, end_of_this = tensor["data_offsets"]
            self.assertEqual(begin, end)
            end = end_of_this
        self.assertEqual(end, len(numbers))
        config = json.loads((self.folder / "config.json").read_text(encoding="utf-8"))
        self.assertEqual((config["hidden_size"], config["vocab_size"]), (8, 11))
        pooling = json.loads((self.folder / "1_Pooling/config.json").read_text(encoding="utf-8"))
        self.assertEqual(pooling, {"pooling_mode_mean_tokens": True, "word_embedding_dimension": 8})
        self.assertTrue((self.folder / "vocab.txt").exists())

    def test_weights_are_drawn_of_both_signs_and_bounded(self):
        header, numbers = self.written()
        def values(name):
            begin, end = header[name]["data_offsets"]
            return struct.unpack(f"<{(end - begin) // 4}f", numbers[begin:end])

        drawn = values("encoder.layer.0.attention.self.query.weight")
        self.assertTrue(all(2**-6 <= abs(value) < 2**-5 for value in drawn))
        self.assertTrue(min(drawn) < 0 < max(drawn) and len(set(drawn)) == len(drawn))
        self.assertEqual(set(values("encoder.layer.0.output.LayerNorm.weight")), {1.0})
        self.assertEqual(set(values("pooler.dense.bias")), {0.0})

    def test_another_architecture_is_refused(self):
        (self.source / "config.json").write_text('{"model_type": "t5"}', encoding="utf-8")
        with self.assertRaisesRegex(ValueError, "is no BERT"):
            self.written()

    def test_the_command_trains_it_and_compares_no_metrics(self):
        bench = Bench()
        self.addCleanup(bench.held.cleanup)
        arguments = [*bench.arguments(model=self.source), "--random-bge"]
        hidden = {"CUDA_VISIBLE_DEVICES": "", "FAKE_PEER": "apart", "TMPDIR": str(bench.folder)}
        with (mock.patch.object(random_model, "SIZES", TINY), mock.patch.object(sys, "argv", ["gpu-check", *arguments]),
              mock.patch.dict("os.environ", hidden), mock.patch("builtins.print")):
            self.assertEqual(main.main(), 0)
        report = bench.report()
        self.assertEqual([row["epoch"] for row in report["job_warm"]["evaluations"]], [0, 1])
        self.assertEqual(report["steps"]["model"]["status"], "ok")
        self.assertEqual(list(report["comparison"]["sdpa"]), ["ratios"])
        self.assertEqual([point["holds"] for point in report["verdict"]], [True, True, True, None, None])


if __name__ == "__main__":
    unittest.main()
