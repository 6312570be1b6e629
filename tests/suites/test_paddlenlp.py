"""PaddleNLP's tokenizers and models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

import interpretdl as it

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "film", "for", "##get", "bad", "a"]


@pytest.fixture(params=["bert", "ernie"])
def tokenizer_and_model(request: Any, tmp_path: Path) -> tuple[Any, Any]:
    import paddlenlp.transformers as transformers

    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("\n".join(WORDS), encoding="utf-8")
    name = request.param.capitalize()
    tokenizer = getattr(transformers, f"{name}Tokenizer")(str(vocabulary))
    config = getattr(transformers, f"{name}Config")(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, num_labels=3,
    )  # fmt: skip
    state = paddle.get_rng_state()
    paddle.seed(0)
    model = getattr(transformers, f"{name}ForSequenceClassification")(config)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.set_value(paddle.randn(parameter.shape) * 0.3)
    paddle.set_rng_state(state)
    return tokenizer, model


def test_texts_are_read_and_explained(tokenizer_and_model: tuple[Any, Any]) -> None:
    tokenizer, model = tokenizer_and_model
    texts = it.TextPreprocessing(tokenizer)
    text = texts.read("A good film, forget")
    assert text.words == ("a", "good", "film", "[UNK]", "forget")
    assert text.tokens == (*("[CLS]", "a", "good", "film", "[UNK]", "for", "##get", "[SEP]"),)
    ig = it.IntegratedGradientsInterpreter(model, preprocessing=texts)
    found = ig.explain("A good film, forget", label=1, gradient_of="logit")
    assert found.values.shape == (1, 8, 16)
    assert found.diagnostics["completeness_error"][0] < 0.01
    for method, options in (
        (it.LRPInterpreter, {"composite": "attn_lrp"}),
        (it.GACVInterpreter, {"gradient_of": "logit"}),
        (it.KernelSHAPInterpreter, {}),
    ):
        other = method(model, preprocessing=texts).explain("A good film, forget", **options)
        assert len(other.word_values()[0]) == 5
        assert np.abs(other.values).max() > 0


def test_long_texts_are_cut_at_max_seq_len(tokenizer_and_model: tuple[Any, Any]) -> None:
    texts = it.TextPreprocessing(tokenizer_and_model[0], max_seq_len=6)
    with pytest.warns(it.InterpretWarning, match="longer than max_seq_len=6"):
        text = texts.read("a a a a a a a a")
    assert text.tokens == ("[CLS]", "a", "a", "a", "a", "[SEP]")
