"""A very small ONNX model with a tokenizer, laid out as FastEmbed finds models: real files, no meaning."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"page fault cat dog turing window memory tax return".split()]
SIZE = 384  # what FastEmbed expects of the model whose place this one takes


def build(folder: Path) -> Path:
    """The folder, with ``model.onnx`` and the tokenizer's files in it."""
    folder.mkdir(parents=True, exist_ok=True)
    table = np.random.default_rng(7).normal(size=(len(WORDS), SIZE)).astype(np.float32)
    ids, mask, types = (helper.make_tensor_value_info(n, TensorProto.INT64, ["b", "t"]) for n in _INPUTS)
    out = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["b", "t", SIZE])
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"])],
        "tiny",
        [ids, mask, types],
        [out],
        [numpy_helper.from_array(table, "table")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(folder / "model.onnx"))
    vocabulary = {word: i for i, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=WORDS[1]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    (folder / "tokenizer_config.json").write_text(json.dumps({**special, "max_length": 128}))
    (folder / "config.json").write_text(json.dumps({"pad_token_id": 0}))
    return folder


_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
