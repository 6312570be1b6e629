"""Calls as InterpretDL's users write them, for the classes that explain texts."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

import interpretdl as it
from interpretdl import registry
from interpretdl.testing.texts import WordTokenizer, small_text_transformer

TEXT = "it 's a charming and often affecting journey ."
OTHER = "a bad film , and a long one"
VALUES = ".*self_attn.v_proj$"
NAMES = {
    "ap_mode": "head", "start_layer": 1, "steps": 3, "embedding_name": None, "input_name": VALUES,
    "attn_map_name": None, "attn_v_name": VALUES, "attn_proj_name": ".*self_attn.out_proj$",
}  # fmt: skip

# Class, the method behind it, and the arguments between text_to_input_fn and max_seq_len in
# InterpretDL's order, with values that are quick.
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "IntGradNLPInterpreter": (
        "integrated_gradients",
        {"label": [1], "steps": 3, "gradient_of": "logit", "embedding_name": "word_embeddings"},
    ),
    "SmoothGradNLPInterpreter": (
        "smooth_grad",
        {"label": None, "noise_amount": 0.1, "n_samples": 3, "gradient_of": "probability",
         "embedding_name": "word_embeddings"},
    ),
    "GANLPInterpreter": (
        "generic_attention",
        {"label": 1, "start_layer": 1, "attn_map_name": None, "gradient_of": "logit"},
    ),
    "BTNLPInterpreter": (
        "bidirectional_transformer", {"label": 0, **NAMES, "gradient_of": "logit"},
    ),
}  # fmt: skip
OPTIONS = {name: {k: v for k, v in each.items() if k not in ("embedding_name", "label")}
           for name, (_, each) in CALLS.items()}  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer() -> WordTokenizer:
    return WordTokenizer(f"{TEXT} {OTHER} ' s".split())


@pytest.fixture(scope="module")
def model(tokenizer: WordTokenizer) -> Any:
    return small_text_transformer(tokenizer.vocab_size, seed=1)


@pytest.fixture(scope="module")
def to_input(tokenizer: WordTokenizer) -> Any:
    return lambda raw: tuple(np.array([v]) for v in tokenizer(text=raw, max_seq_len=128).values())


def expected(name: str, model: Any, tokenizer: Any, raw: Any, **options: Any) -> it.Explanation:
    """The same by the registered method."""
    method, given = CALLS[name]
    words = it.TextPreprocessing(tokenizer, **options)
    cls = registry.methods()[method].cls
    found: it.Explanation = cls(model, preprocessing=words).explain(
        raw, label=given["label"], **OPTIONS[name]
    )
    return found


# -- the methods that are there -------------------------------------------------------------------


@pytest.mark.parametrize("name", CALLS)
def test_by_position_and_by_name(name: str, model: Any, tokenizer: Any, capsys: Any) -> None:
    _, arguments = CALLS[name]
    cls = getattr(it, name)
    assert list(inspect.signature(cls.interpret).parameters)[1:-1] == [
        "raw_text", "tokenizer", "text_to_input_fn", *arguments, "max_seq_len", "visual",
    ]  # fmt: skip
    method = cls(model, device="cpu")
    by_position = method.interpret(TEXT, tokenizer, None, *arguments.values(), 128, False)
    tokens = len(tokenizer(TEXT)["input_ids"])
    wide = (16,) if "Grad" in name else ()
    assert (by_position.dtype, by_position.shape) == (np.float32, (1, tokens, *wide))
    by_name = cls(model, "cpu").interpret(raw_text=TEXT, tokenizer=tokenizer, **arguments)
    np.testing.assert_array_equal(by_name, by_position)
    assert capsys.readouterr().out.count("Use label: ") == 2
    found = expected(name, model, tokenizer, TEXT)
    np.testing.assert_array_equal(by_position, found.values)
    np.testing.assert_array_equal(method.labels, found.labels)
    np.testing.assert_array_equal(method.predicted_proba, found.probabilities)
    assert method.predicted_label.tolist() == found.probabilities.argmax(axis=1).tolist()
    again = cls(model).explain(TEXT, arguments["label"], tokenizer=tokenizer, **OPTIONS[name])
    np.testing.assert_array_equal(again.values, found.values)
    assert cls.info is registry.methods()[CALLS[name][0]]
    assert (again.method, again.word_values()) == (found.method, found.word_values())


@pytest.mark.parametrize("name", CALLS)
def test_forms_of_texts(name: str, model: Any, tokenizer: Any, to_input: Any) -> None:
    _, arguments = CALLS[name]
    cls, rest = getattr(it, name), {k: v for k, v in arguments.items() if k != "label"}
    words = {"tokenizer": tokenizer, "label": 1, **rest}
    one, other = (cls(model).interpret(raw, **words) for raw in (TEXT, OTHER))
    both = cls(model).interpret([TEXT, OTHER], **{**words, "label": [1, 1]})
    assert both.shape[:2] == (2, one.shape[1])
    np.testing.assert_array_equal(both[:1], one)
    if name != "SmoothGradNLPInterpreter":  # whose noise differs from text to text
        np.testing.assert_array_equal(both[1:, : other.shape[1]], other)
    assert not both[1, other.shape[1] :].any()
    same = cls(model).interpret(TEXT, **{**words, "label": None}, labels=[1])
    np.testing.assert_array_equal(same, one)
    # token ids, and a function to them, do not say which are special
    special = it.TextPreprocessing(special_ids=[2, 3], pad_id=0, unk_id=1)
    by_ids = cls(model, preprocessing=special)
    ids, types = to_input(TEXT)
    for form in (ids, (ids, types), {"input_ids": ids, "token_type_ids": types}, [ids[0]]):
        np.testing.assert_array_equal(by_ids.interpret(form, label=1, **rest), one)
    found = by_ids.interpret(TEXT, text_to_input_fn=to_input, label=1, **rest)
    np.testing.assert_array_equal(found, one)


def test_preprocessing_says_what_the_call_does_not(model: Any, tokenizer: Any) -> None:
    words = it.TextPreprocessing(tokenizer, baseline="zero", max_seq_len=6)
    method = it.IntGradNLPInterpreter(model, preprocessing=words)
    found = method.interpret("a bad film", label=1, steps=3)
    plain = it.IntGradNLPInterpreter(model).interpret("a bad film", tokenizer, label=1, steps=3)
    assert found.shape == plain.shape == (1, 5, 16)
    # [PAD]'s vector is zero in this model
    np.testing.assert_array_equal(found, plain)
    assert not found[0, [0, -1]].any()
    with pytest.warns(it.InterpretWarning, match="longer than max_seq_len=6"):
        assert method.interpret(TEXT, steps=1).shape == (1, 6, 16)
    with pytest.warns(it.InterpretWarning, match="longer than max_seq_len=5"):
        assert method.interpret(TEXT, steps=1, max_seq_len=5).shape == (1, 5, 16)
    fn = lambda raw: np.array([[2, 5, 3]])  # noqa: E731
    assert method.interpret(TEXT, text_to_input_fn=fn, steps=1).shape == (1, 3, 16)


@pytest.mark.parametrize("name", [*CALLS, "GradShapNLPInterpreter", "LIMENLPInterpreter"])
def test_what_is_refused(name: str, model: Any, tokenizer: Any, to_input: Any) -> None:
    method = getattr(it, name)(model)
    with pytest.raises(it.InputError, match="not both"):
        method.interpret(TEXT, tokenizer=tokenizer, text_to_input_fn=to_input)
    with pytest.raises(it.InputError, match="give tokenizer= or text_to_input_fn="):
        method.interpret(TEXT)
    for wrong in (3.5, [TEXT, 3], np.zeros((1, 4), np.float32), ""):
        with pytest.raises(it.InputError):
            method.interpret(wrong, tokenizer=tokenizer)
    with pytest.warns(DeprecationWarning, match="device="):
        getattr(it, name)(model, use_cuda=False)
    if name in CALLS:
        with pytest.raises(it.TargetError):
            method.interpret(TEXT, tokenizer, label=7)
        with pytest.raises(it.InputError, match="give one of them"):
            method.interpret(TEXT, tokenizer, label=1, labels=1)
    with pytest.raises(TypeError, match="no option 'stepps'; it has inputs, "):
        method.explain(TEXT, tokenizer=tokenizer, stepps=3)


def test_the_embedding_is_found_where_it_has_another_name(tokenizer: Any) -> None:
    class Renamed(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.embedder, self.head = nn.Embedding(tokenizer.vocab_size, 4), nn.Linear(4, 2)

        def forward(self, ids: Any, types: Any = None) -> Any:
            return self.head(paddle.tanh(self.embedder(ids)).mean(axis=1))

    paddle.seed(0)
    method = it.IntGradNLPInterpreter(Renamed())
    found = method.interpret(TEXT, tokenizer, steps=3)
    named = method.interpret(TEXT, tokenizer, steps=3, embedding_name="embedder")
    np.testing.assert_array_equal(found, named)
    with pytest.raises(it.LayerNotFoundError):
        method.interpret(TEXT, tokenizer, embedding_name="no_such_layer")


def test_predict_fn_is_the_gradient_at_the_embedding(
    model: Any, tokenizer: Any, to_input: Any
) -> None:
    method = it.IntGradNLPInterpreter(model)
    method.interpret(TEXT, tokenizer, steps=2)
    ids, types = (paddle.to_tensor(each) for each in to_input(TEXT))
    gradient, labels, features, probabilities = method.predict_fn(to_input(TEXT))
    table = model.embeddings.word_embeddings.weight
    np.testing.assert_array_equal(features[0], table.numpy()[ids[0].numpy()])
    logits = model(ids, types)
    assert labels.tolist() == [int(logits.argmax())]
    logits[0, int(labels[0])].backward()
    expected = table.grad.numpy()
    model.clear_gradients()
    rows = np.zeros_like(expected)
    np.add.at(rows, ids[0].numpy(), gradient[0])
    np.testing.assert_allclose(rows[1:], expected[1:], atol=1e-5)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)


def test_grad_shap(model: Any, tokenizer: Any, to_input: Any) -> None:
    ids, types = (np.concatenate([each, each[:, ::-1]]) for each in to_input(OTHER))
    names = ["data", "labels", "n_samples", "noise_amount", "embedding_name", "return_pred"]
    assert list(inspect.signature(it.GradShapNLPInterpreter.interpret).parameters)[1:7] == names
    method = it.GradShapNLPInterpreter(model, "cpu")
    labels, probabilities, values = method.interpret(
        (ids, types), [0, 1], 3, 0.1, "word_embeddings", True
    )
    assert (labels.tolist(), probabilities.shape, values.shape) == ([0, 1], (2, 2), ids.shape)
    alone = method.interpret((ids, types), label=[0, 1], n_samples=3, return_pred=False)
    np.testing.assert_array_equal(alone, values)
    found = it.GradShapCVInterpreter(model, preprocessing=it.TextPreprocessing()).explain(
        (ids, types), [0, 1], n_samples=3, noise_amount=0.1
    )
    np.testing.assert_array_equal(values, found.values.sum(axis=2))
    np.testing.assert_array_equal(probabilities, found.probabilities)
    labels, _, values = method.interpret([TEXT, OTHER], tokenizer=tokenizer, n_samples=2)
    assert labels.tolist() == method.predicted_label.tolist()
    assert values.shape == (2, len(tokenizer(TEXT)["input_ids"]))


def test_attention_starts_at_the_last_layer(model: Any, tokenizer: Any) -> None:
    """InterpretDL's 11 is the last of 12."""
    for name in ("GANLPInterpreter", "BTNLPInterpreter"):
        method, quick = getattr(it, name)(model), {"steps": 2} if name[0] == "B" else {}
        last, first = (method.interpret(TEXT, tokenizer, start_layer=k, **quick) for k in (1, 0))
        np.testing.assert_array_equal(method.interpret(TEXT, tokenizer, **quick), last)
        assert not np.array_equal(first, last)
        with pytest.raises(it.InputError, match="from 0 to 1"):
            method.interpret(TEXT, tokenizer, start_layer=11, **quick)


def test_bidirectional_transformer(model: Any, tokenizer: Any, to_input: Any) -> None:
    method = it.BTNLPInterpreter(model)
    assert method.ap is None
    assert method.rf is None
    for mode in ("head", "token"):
        found = method.interpret(TEXT, tokenizer, ap_mode=mode, label=1, start_layer=0, steps=2)
        np.testing.assert_allclose(method.ap * method.rf, found, atol=1e-6)
    # λ = ‖v W‖ / ‖z‖ with z what the values are made of, from the weights themselves
    run = it.Probe(model).forward(to_input(TEXT), layers=["embeddings", "encoder.layers.0"])
    attention = it.Probe(model).attention(to_input(TEXT)).maps
    matrix = np.eye(found.shape[1])
    blocks = model.encoder.layers
    for i, name in enumerate(("embeddings", "encoder.layers.0")):
        z = run.activations[name][0].astype(np.float64)
        own = blocks[i].self_attn
        v = z @ own.v_proj.weight.numpy() + own.v_proj.bias.numpy()
        sizes = np.linalg.norm(v @ own.out_proj.weight.numpy(), axis=1) / np.linalg.norm(z, axis=1)
        matrix = matrix + attention[i][0].mean(axis=0) @ np.diag(sizes) @ matrix
    np.testing.assert_allclose(method.ap[0], matrix[0], rtol=1e-4)
    # InterpretDL's layer is the whole embedding, with positions and types
    whole = method.interpret(TEXT, tokenizer, steps=2, embedding_name="embeddings$")
    assert not np.array_equal(whole, method.interpret(TEXT, tokenizer, steps=2))
    with pytest.raises(it.InputError, match="must begin one layer's name"):
        method.interpret(TEXT, tokenizer, embedding_name="embeddings")
    with pytest.raises(it.LayerNotFoundError):
        method.interpret(TEXT, tokenizer, embedding_name="^ernie.embeddings$")


def test_the_words_are_shown(model: Any, tokenizer: Any, monkeypatch: Any) -> None:
    shown: list[it.Explanation] = []
    monkeypatch.setattr(it.Explanation, "show", lambda explanation: shown.append(explanation))
    it.GANLPInterpreter(model).interpret(TEXT, tokenizer)
    assert not shown
    it.GANLPInterpreter(model).interpret(TEXT, tokenizer, visual=True)
    weights = it.LIMENLPInterpreter(model).interpret(
        TEXT, tokenizer, classes_to_interpret=[1, 0], num_samples=40, visual=True
    )
    first, lime = shown
    assert [word for word, _ in first.word_values()[0]][:3] == ["it", "'", "s"]
    assert lime.labels.tolist() == [1]
    assert lime.word_values()[0] == [
        (word, w) for word, (_, w) in zip(lime.texts.words[0], weights[1][1:-1], strict=True)
    ]


def test_arguments_of_one_number_for_each_text() -> None:
    """Such as the length, of which InterpretDL's examples make [1]."""

    class WithLength(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.embedder, self.head = nn.Embedding(8, 4), nn.Linear(4, 2)

        def forward(self, ids: Any, length: Any) -> Any:
            assert length.ndim == 1
            sums = self.embedder(ids).sum(axis=1)
            return self.head(sums / length.unsqueeze(1).astype("float32"))

    model = WithLength()
    fn = lambda raw: (paddle.to_tensor([[4, 5, 6]]), paddle.to_tensor([3]))  # noqa: E731
    found = it.IntGradNLPInterpreter(model).interpret("any", text_to_input_fn=fn, steps=2, label=1)
    by_arrays = (np.array([[4, 5, 6]] * 2), np.array([3, 3]))
    both = it.IntGradNLPInterpreter(model).interpret(by_arrays, steps=2, label=1)
    np.testing.assert_array_equal(both[1:], found)
    assert list(it.LIMENLPInterpreter(model).interpret("any", text_to_input_fn=fn, num_samples=9))
