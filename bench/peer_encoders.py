"""The peers' encoders as they serve: texts in, normalised embeddings out, on the threads given.

ONNX Runtime and OpenVINO run the graph that `peer_setup.py onnx` writes, behind the tokenizers library itself and mean
pooling by NumPy: less between a text and its embedding than any package puts there. sentence-transformers is its
`encode()`.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

# The most texts in one batch.
BATCH = 32

Encode = Callable[[list[str]], np.ndarray]


def sentence_transformers(model: Path, _: Path, precision: str, threads: int) -> Encode:
    """encode(), under bf16 autocast where that is the precision."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Normalize

    torch.set_num_threads(threads)
    loaded = SentenceTransformer(str(model), device="cpu").eval()
    normalize = not isinstance(loaded[-1], Normalize)

    def encode(texts: list[str]) -> np.ndarray:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
            return loaded.encode(texts, batch_size=BATCH, normalize_embeddings=normalize, show_progress_bar=False)

    return encode


def onnxruntime(model: Path, graph: Path, _: str, threads: int) -> Encode:
    """ONNX Runtime's CPU provider, float32, its other settings as they are by default."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    return mean_pooled(model, lambda ids, mask: session.run(None, {"ids": ids, "mask": mask})[0])


def openvino(model: Path, graph: Path, precision: str, threads: int) -> Encode:
    """OpenVINO's CPU plugin."""
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": {"float32": "f32"}.get(precision, precision),
                "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.Core().compile_model(str(graph), "CPU", settings)
    return mean_pooled(model, lambda ids, mask: compiled([ids, mask])[0])


ENCODERS = {"sentence-transformers": sentence_transformers, "onnxruntime": onnxruntime, "openvino": openvino}


def mean_pooled(model: Path, hidden_states: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Encode:
    """Tokens, hidden states, their mean over each text's tokens, normalised."""
    tokenize = load_tokenizer(model)

    def encode(texts: list[str]) -> np.ndarray:
        ids, mask = tokenize(texts)
        hidden = hidden_states(ids, mask)
        # As a product of matrices it takes a fraction of what a masked sum does; its scale falls out in the norm.
        pooled = np.matmul(mask[:, None, :].astype(np.float32), hidden)[:, 0]
        return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)

    return encode


def load_tokenizer(model: Path) -> Callable[[list[str]], tuple[np.ndarray, np.ndarray]]:
    """Texts to ids and mask [batch, tokens], padded to the longest of the batch."""
    from tokenizers import Tokenizer

    pooling = json.loads((model / "1_Pooling/config.json").read_text(encoding="utf-8"))
    if not pooling.get("pooling_mode_mean_tokens"):
        raise SystemExit("the peers' encoders know mean pooling alone, and this model pools otherwise")
    settings = json.loads((model / "sentence_bert_config.json").read_text(encoding="utf-8"))
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    padding = tokenizer.padding or {}
    tokenizer.enable_truncation(settings["max_seq_length"])
    tokenizer.enable_padding(pad_id=padding.get("pad_id", 0), pad_token=padding.get("pad_token", "[PAD]"))

    def tokenize(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        encodings = tokenizer.encode_batch_fast(texts)
        return (np.array([encoding.ids for encoding in encodings], dtype=np.int64),
                np.array([encoding.attention_mask for encoding in encodings], dtype=np.int64))

    return tokenize
