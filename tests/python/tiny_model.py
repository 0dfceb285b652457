"""A BERT of two layers and hidden size 32 with random weights, by the standard library alone:
tiny_model.py FOLDER [SEED].

For checks that need a model outside of the Rust tests, which make their own (tests/it/helpers/tiny_model.rs).
"""

import json
import math
import pathlib
import random
import string
import struct
import sys

LAYERS, HIDDEN, HEADS, INTERMEDIATE, POSITIONS = 2, 32, 4, 64, 64
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = string.ascii_lowercase + string.digits
VOCABULARY = SPECIAL + list(LETTERS + string.punctuation) + [f"##{letter}" for letter in LETTERS]


def shapes():
    """The tensors' names and shapes, as transformers writes them."""
    yield "embeddings.word_embeddings.weight", [len(VOCABULARY), HIDDEN]
    yield "embeddings.position_embeddings.weight", [POSITIONS, HIDDEN]
    yield "embeddings.token_type_embeddings.weight", [2, HIDDEN]
    linears, norms = [], ["embeddings"]
    for layer in (f"encoder.layer.{number}" for number in range(LAYERS)):
        linears += [(f"{layer}.attention.self.{part}", HIDDEN, HIDDEN) for part in ("query", "key", "value")]
        linears += [(f"{layer}.attention.output.dense", HIDDEN, HIDDEN)]
        linears += [(f"{layer}.intermediate.dense", INTERMEDIATE, HIDDEN)]
        linears += [(f"{layer}.output.dense", HIDDEN, INTERMEDIATE)]
        norms += [f"{layer}.attention.output", f"{layer}.output"]
    for name, outputs, inputs in linears:
        yield f"{name}.weight", [outputs, inputs]
        yield f"{name}.bias", [outputs]
    for name in norms:
        yield f"{name}.LayerNorm.weight", [HIDDEN]
        yield f"{name}.LayerNorm.bias", [HIDDEN]


def safetensors(seed):
    """The weights' file: the header's length, the header, the numbers."""
    random.seed(seed)
    header, body = {}, b""
    for name, shape in shapes():
        middle = 1.0 if name.endswith("LayerNorm.weight") else 0.0
        numbers = [middle + random.uniform(-0.3, 0.3) for _ in range(math.prod(shape))]
        data = struct.pack(f"<{len(numbers)}f", *numbers)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + body


def tokenizer():
    """tokenizer.json: WordPiece over letters."""
    special = {token: {"id": token, "ids": [number], "tokens": [token]} for number, token in enumerate(SPECIAL)}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    begin, end = ({"SpecialToken": {"id": token, "type_id": 0}} for token in ("[CLS]", "[SEP]"))
    text, other = ({"Sequence": {"id": name, "type_id": kind}} for name, kind in (("A", 0), ("B", 1)))
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": number, "content": token, **flags} for number, token in enumerate(SPECIAL)],
        "normalizer": {
            "type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing", "single": [begin, text, end], "pair": [begin, text, end, other, end],
            "special_tokens": {token: special[token] for token in ("[CLS]", "[SEP]")},
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": {token: number for number, token in enumerate(VOCABULARY)},
        },
    }


CONFIG = {
    "architectures": ["BertModel"], "model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute",
    "pad_token_id": 0, "initializer_range": 0.02, "layer_norm_eps": 1e-12, "type_vocab_size": 2,
    "vocab_size": len(VOCABULARY), "hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
    "intermediate_size": INTERMEDIATE, "max_position_embeddings": POSITIONS, "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
}

MODULES = [
    {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
    for number, (path, kind) in enumerate([("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")])
]


def main():
    folder = pathlib.Path(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    (folder / "1_Pooling").mkdir(parents=True, exist_ok=True)
    for name, value in {
        "config.json": CONFIG,
        "tokenizer.json": tokenizer(),
        "modules.json": MODULES,
        "1_Pooling/config.json": {"word_embedding_dimension": HIDDEN, "pooling_mode_mean_tokens": True},
        "sentence_bert_config.json": {"max_seq_length": POSITIONS, "do_lower_case": False},
    }.items():
        (folder / name).write_text(json.dumps(value, indent=2) + "\n")
    (folder / "model.safetensors").write_bytes(safetensors(seed))


if __name__ == "__main__":
    main()
