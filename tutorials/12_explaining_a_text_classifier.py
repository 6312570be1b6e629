# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Explaining a text classifier
#
# A model reads a sentence and names a class. Which words made it do so? This notebook trains a small transformer,
# explains it by gradients, by relevance propagation, by taking words out and by attention, and measures which of these
# explanations hold. In the end they show what the model has learned that it should not have.
#
# All methods are those that explain pictures. What is new is how a text is read, what stands where a word was taken
# out, and how values of tokens become values of words.
#
# The next cell installs the package from this clone where it is missing, for example in AI Studio.

# %%
try:
    import interpretdl as it
except ModuleNotFoundError:
    # %pip install -q "..[demo]"
    import interpretdl as it

import ast
import re
from collections import Counter, defaultdict
from importlib.util import find_spec
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import paddle

from interpretdl.testing import WordTokenizer, small_text_transformer

it.show_progress(False)  # no progress bars in the saved notebook

# %% [markdown]
# ## A classifier of sentences
#
# Four packages are installed with this one, and their documentation is a few thousand sentences each. The question is
# which package a sentence comes from. Sentences that name one are left out, and so are those with anything but words
# and common marks in them.

# %%
packages = {
    "numpy": "numpy",
    "sklearn": "scikit-learn",
    "skimage": "scikit-image",
    "matplotlib": "matplotlib",
}
classes = tuple(packages.values())
named = {*packages, "np", "scikit", "mpl", "plt", "pyplot"}
plain = re.compile(r"[A-Z][A-Za-z ,;:'()`-]*[.]")


def docstrings(package):
    root = Path(find_spec(package).origin).parent
    for file in sorted(root.rglob("*.py")):
        if "tests" in file.relative_to(root).parts:
            continue
        try:
            tree = ast.parse(file.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):  # a template, for example
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
                yield ast.get_docstring(node) or ""


def sentences(package):
    for docstring in docstrings(package):
        for paragraph in re.split(r"\n\s*\n", docstring):
            for text in re.split(r"(?<=[.])\s+", " ".join(paragraph.split())):
                words = WordTokenizer.split(text)
                if (
                    plain.fullmatch(text)
                    and "--" not in text  # a heading is underlined
                    and 6 <= len(text.split()) <= 24
                    and not named & set(words)
                ):
                    yield text


found = [sorted(set(sentences(package))) for package in packages]
seen = Counter(text for texts in found for text in texts)
pairs = [(text, k) for k, texts in enumerate(found) for text in texts if seen[text] == 1]
print({name: sum(k == label for _, label in pairs) for k, name in enumerate(classes)})

# %% [markdown]
# These sentences will be explained, so the model must not learn them. 1000 more are kept back to try it on.

# %%
tree = "Plot the decision boundary of a fitted estimator in the given axes."
detector = "These classifiers were trained using LBP features."
resolution = "This does not affect the resolution of the output image."

rng = np.random.default_rng(0)
pairs = [pair for pair in pairs if pair[0] not in (tree, detector, resolution)]
pairs = [pairs[i] for i in rng.permutation(len(pairs))]
texts, labels = [text for text, _ in pairs], np.array([label for _, label in pairs])
held, held_labels, texts, labels = texts[:1000], labels[:1000], texts[1000:], labels[1000:]

words = Counter(word for text in texts for word in WordTokenizer.split(text))
tokenizer = WordTokenizer([word for word, _ in words.most_common(3000)])
print(tokenizer.tokenize(detector))
print(tokenizer(text=detector))

# %% [markdown]
# `WordTokenizer` makes a token of each word, in lower case. Rare words are `[UNK]`, for unknown. A text begins with
# `[CLS]`, from whose last vector the class is read, and ends with `[SEP]`.
#
# The model is built like BERT and ERNIE, with two layers in place of twelve.


# %%
def encoded(tokenizer, texts):
    """Token ids, int64 [N, T], padded at the end with 0, which is [PAD]."""
    rows = [tokenizer(text=text)["input_ids"] for text in texts]
    ids = np.zeros((len(rows), max(map(len, rows))), np.int64)
    for row, found in zip(ids, rows, strict=True):
        row[: len(found)] = found
    return ids


def train(model, ids, labels, epochs, rate=3e-3, decay=1.0, batch=128):
    steps = len(ids) // batch
    schedule = paddle.optimizer.lr.CosineAnnealingDecay(rate, epochs * steps)
    adam = paddle.optimizer.AdamW(schedule, parameters=model.parameters(), weight_decay=decay)
    model.train()
    for _ in range(epochs):
        for rows in np.array_split(rng.permutation(len(ids)), steps):
            logits = model(paddle.to_tensor(ids[rows]))
            loss = paddle.nn.functional.cross_entropy(logits, paddle.to_tensor(labels[rows]))
            loss.backward()
            adam.step()
            adam.clear_grad()
            schedule.step()
    model.eval()


model = small_text_transformer(tokenizer.vocab_size, classes=4, width=32, heads=4)
model.class_names = classes
train(model, encoded(tokenizer, texts), labels, epochs=3)

# %% [markdown]
# ## Predictions first
#
# An explanation of a model that is wrong explains a mistake. So look at the predictions before anything else.


# %%
def predicted(texts):
    logits = model(paddle.to_tensor(encoded(tokenizer, texts)))
    return paddle.nn.functional.softmax(logits).numpy()


right = predicted(held).argmax(axis=1) == held_labels
print(f"{right.mean():.0%} of the {len(held)} sentences kept back are right")
for k, name in enumerate(classes):
    print(f"  {name:12} {right[held_labels == k].mean():.0%}")
assert right.mean() > 0.6

for text in (tree, detector, resolution):
    print(f"\n{text}")
    print(
        "  ".join(f"{name} {p:.2f}" for name, p in zip(classes, predicted([text])[0], strict=True))
    )

# %% [markdown]
# The first sentence is made up of words of scikit-learn and of Matplotlib. The second is from scikit-image, the third
# from Matplotlib; both are mistaken for another package. We come back to them.

# %% [markdown]
# ## Reading, and integrated gradients
#
# `it.TextPreprocessing` says how a text becomes the model's input. A method that is given it takes texts.
#
# Integrated gradients go from a text without words to the text, in a straight line from vector to vector, and
# add up the gradients on the way. The score that is explained here is the logit, the number before the softmax.

# %%
reading = it.TextPreprocessing(tokenizer)
gradients = it.IntegratedGradientsInterpreter(model, preprocessing=reading)

found = gradients.explain(tree, gradient_of="logit")
found

# %% [markdown]
# Red words speak for the class, blue ones against it. The value stands where the mouse rests on a word. As numbers:

# %%
for word, value in found.word_values()[0]:
    print(f"{word:10} {value:+.2f}")
print("\nvalues:", found.values.shape, " tokens:", *found.texts.tokens[0])

# %% [markdown]
# There is a value for each number of each token's vector. A word has their sum. `[CLS]` and `[SEP]` are the same with
# and without words, so they get nothing.
#
# The sum of all values has to be what the score rises on the way. It is a check on the number of steps:

# %%
facts = found.diagnostics
print(f"sum of the values   {found.values.sum():.4f}")
print(f"rise of the score   {facts['score_difference'][0]:.4f}")
print(f"completeness error  {facts['completeness_error'][0]:.5f} with {facts['steps'][0]} steps")
assert facts["completeness_error"][0] < 0.01

# %% [markdown]
# ## A text without words
#
# What is a text without words? So far the vectors of the words were replaced by that of `[PAD]`, which is the
# default. The vector of `[UNK]` is another choice. What does the model make of the two?

# %%
unknown = it.IntegratedGradientsInterpreter(
    model, preprocessing=reading.with_options(baseline="unk")
)
print(" " * 6 + "".join(f"{name:>14}" for name in classes))
baselines = {}
for name, method in {"[PAD]": gradients, "[UNK]": unknown}.items():
    each = method.explain([tree] * 4, label=list(classes), gradient_of="logit")
    start = each.scores - each.diagnostics["score_difference"]  # the logits without words
    share = np.exp(start) / np.exp(start).sum()
    print(f"{name:6}" + "".join(f"{p:14.2f}" for p in share))
    baselines[name] = each[1]
it.grid(list(baselines.values()), titles=list(baselines))

# %% [markdown]
# The model never looked at the vector of `[PAD]` in training, because no token attends to padding. What it says of
# a text of such vectors is arbitrary, here that it is from scikit-learn. From there the logit of scikit-learn has not
# far to rise, and "plot" gets nothing, which from `[UNK]` speaks for the class. `[UNK]` stood for thousands of rare
# words, so it is something that the model knows. It is not neutral either: such a text is scikit-image's rather than
# another's, and the question becomes what would be different if these words were unknown.
#
# No baseline is right for all models. Look at what the model makes of it, keep one, and say which. From here on it is
# `[UNK]`, which also takes the place of words in the methods below.
#
# The four classes, in the same colours:

# %%
gradients, subject = unknown, unknown.subject
gradients.explain([tree] * 4, label=list(classes), gradient_of="logit")

# %% [markdown]
# ## Relevance propagation
#
# LRP needs no baseline. It goes back through the network once and divides the score among the inputs of each
# operation. `composite="attn_lrp"` has rules for what transformers are made of. The `subject` is the model with all
# that belongs to it; the methods share it.

# %%
relevance = it.LRPInterpreter(subject)
relevance.explain(tree, composite="attn_lrp")

# %% [markdown]
# How much of the score has arrived at the words? The audit goes through the network from the output to the input:

# %%
audit = relevance.audit(tree, composite="attn_lrp")
print(audit)

# %% [markdown]
# Each line is a layer or an operation: what arrived, what it passed on, and what stayed. Biases keep some, and a
# softmax keeps some or adds some, which stands under "stabilizer". The vectors of positions and types are the
# last two lines with `add`. So the values do not sum to the score. Compare words with each other.

# %% [markdown]
# ## Taking words out
#
# The next methods need no gradient. They write `[UNK]` in the place of words and run the model.
#
# - **Leave one out** (`FeatureAblationInterpreter`): what the score loses without this word.
# - **LIME**: a linear function, fitted to the scores of texts of which about half the words are left.
# - **Kernel SHAP**: a word's mean contribution, whichever words are there already.
#
# A word that is several tokens is taken out as a whole.

# %%
without_gradients = it.explain_with(
    {"leave one out": "feature_ablation", "LIME": "lime", "Kernel SHAP": "kernel_shap"},
    subject,
    tree,
    label="scikit-learn",
    options={"LIME": {"evaluations": 500}},
)
without_gradients

# %%
for name, one in without_gradients.items():
    values = np.array([value for _, value in one.word_values()[0]])
    error = one.diagnostics.get("standard_error", np.zeros(1)).max()
    print(
        f"{name:14} {one.diagnostics['evaluations'][0]:5} runs, sum {values.sum():.2f}, "
        f"standard error at most {error:.2f}"
    )

# %% [markdown]
# Leave one out gives small values. The sentence has several words that say "scikit-learn", and without one of them the
# others still say it. Shapley values share what such words say together. They sum to the rise of the score from a text
# of `[UNK]` to the text, like integrated gradients from the same baseline. LIME's values come near, but they sum to
# nothing in particular, and 500 random texts leave a larger error.

# %%
shapley = without_gradients["Kernel SHAP"].word_values()[0]
integrated = gradients.explain(tree, gradient_of="logit").word_values()[0]
sums = [sum(value for _, value in pairs) for pairs in (shapley, integrated)]
print(f"Kernel SHAP {sums[0]:.3f}, integrated gradients {sums[1]:.3f}")
np.testing.assert_allclose(*sums, rtol=0.01)

# %% [markdown]
# ### Sentences
#
# In a long text single words are many and their values small. With `groups="sentences"` a sentence is taken out as a
# whole. This text has one for each package:

# %%
mixed = (
    "Set the limits of the color bar. Compute the mean of the array along the given axis. "
    "The estimator is fitted to the training data. Find the edges of the image."
)
by_sentence = it.KernelSHAPInterpreter(
    model, preprocessing=reading.with_options(groups="sentences")
)
found = by_sentence.explain([mixed] * 4, label=list(classes))
print("runs of the model for each class:", found.diagnostics["evaluations"][0])
found

# %% [markdown]
# Four sentences have only $2^4 = 16$ subsets. All of them are run, so these are the Shapley values themselves.

# %% [markdown]
# ## Attention
#
# Attention says which tokens a token reads from. Rollout multiplies the attention of the layers. Generic attention
# counts it only as far as it raises the score. Here both explain two classes:

# %%
rollout, generic = it.RolloutInterpreter(subject), it.GACVInterpreter(subject)
pair = ["scikit-learn", "matplotlib"]
looks = {
    "rollout": rollout.explain([tree] * 2, label=pair),
    "generic attention": generic.explain([tree] * 2, label=pair, gradient_of="logit"),
}
np.testing.assert_array_equal(*looks["rollout"].values)  # the class makes no difference
assert looks["generic attention"].values.min() >= 0
it.grid(list(looks.values()), titles=list(looks))

# %% [markdown]
# Rollout is the same for all classes, because it does not ask for one. The titles say so. Generic attention depends on
# the class, but has no sign: a word that speaks against the class gets about nothing, like one that does not matter.
# Neither of them has a unit, so 0.1 in one text and 0.1 in another need not mean the same.
#
# What they show is where information comes from. What is made of it, they do not say.

# %% [markdown]
# ## One below the other
#
# `it.explain_with` explains the same text by several methods. Each has a scale of its own.

# %%
options = {
    "integrated gradients": {"gradient_of": "logit"},
    "LRP": {"composite": "attn_lrp"},
    "LIME": {"evaluations": 500},
    "generic attention": {"gradient_of": "logit"},
}
methods = {
    "integrated gradients": "integrated_gradients",
    "LRP": "lrp",
    "leave one out": "feature_ablation",
    "LIME": "lime",
    "Kernel SHAP": "kernel_shap",
    "generic attention": "generic_attention",
    "rollout": "rollout",
}
it.explain_with(methods, subject, detector, options=options)

# %% [markdown]
# This is the sentence from scikit-image that the model puts into scikit-learn. The explanations agree on why:
# "classifiers" and "features" are words of machine learning. Those with a sign add that "LBP", a texture
# feature of scikit-image, speaks against scikit-learn, and is outvoted.

# %% [markdown]
# ## Which of them is right?
#
# Nobody knows the right values for a trained model. What can be tested is whether the words that a method puts first
# are those that the model needs. Thirty sentences, and five numbers, all of the probability of the class:
#
# - **MoRF** takes words out, the most relevant first. The area under the probability should be small.
# - **LeRF** begins with the least relevant. The area should be large.
# - **Perturbation** is LeRF minus MoRF.
# - **Comprehensiveness**: the mean fall without the 1, 5, 10, 20 and 50 % of the words that are the most relevant.
#   It should be large.
# - **Sufficiency**: the mean fall with only these words left. It should be small.
#
# Random values show what these numbers are when an explanation knows nothing.

# %%
sample = held[:20]
top = predicted(sample).argmax(axis=1)
explained = it.explain_with(methods, subject, sample, label=top, options=options)
from_pad = it.IntegratedGradientsInterpreter(model, preprocessing=reading)
rows = {
    "integrated gradients": explained["integrated gradients"],
    "… from [PAD]": from_pad.explain(sample, label=top, gradient_of="logit"),
    **explained,
    "random values": rng.normal(size=explained["rollout"].values.shape),  # of the tokens
}

perturbation = it.Perturbation(subject)
measured, curves = {}, {}
for name, values in rows.items():
    given = {"labels": top, "signed": True} if name == "random values" else {}
    area = perturbation.measure(sample, values, **given)
    curves[name] = area.curves
    measured[name] = [
        area.parts["MoRF"].mean(),
        area.parts["LeRF"].mean(),
        area.mean,
        it.Comprehensiveness(subject).measure(sample, values, **given).mean,
        it.Sufficiency(subject).measure(sample, values, **given).mean,
    ]

heads = ("MoRF ↓", "LeRF ↑", "perturbation ↑", "comprehensiveness ↑", "sufficiency ↓")
print(" " * 22 + "  ".join(heads))
for name, row in measured.items():
    cells = (f"{value:{len(head)}.2f}" for head, value in zip(heads, row, strict=True))
    print(f"{name:22}" + "  ".join(cells))
assert measured["integrated gradients"][2] > measured["random values"][2] + 0.1

# %%
figure, panels = plt.subplots(1, 2, figsize=(8.5, 3), layout="constrained", sharey=True)
for panel, way in zip(panels, ("MoRF", "LeRF"), strict=True):
    for name in ("integrated gradients", "LRP", "leave one out", "generic attention", "rollout"):
        panel.plot(area.axis, curves[name][way].mean(axis=0), label=name)
    panel.plot(area.axis, curves["random values"][way].mean(axis=0), "k:", label="random values")
    panel.set_title(way)
    panel.set_xlabel(area.axis_label + " taken out")
panels[0].set_ylabel("mean probability")
panels[0].legend(fontsize=7)
plt.show()

# %% [markdown]
# Methods with a sign are close to each other, and far from random. Generic attention comes next: it cannot tell words
# that speak against the class from words that say nothing. Rollout, which does not know the class, is the last. A
# baseline of `[PAD]` costs integrated gradients a little.
#
# Two things to keep in mind. The order is judged by taking words out, which suits methods that do the same. And
# texts full of `[UNK]` are not what the model has learned from. Another `fill` gives other numbers.

# %% [markdown]
# ## What the model has learned
#
# One explanation is about one text. Many of them say what the model goes by. Here are integrated gradients for 200
# sentences that it gets right, and for each class the words with the largest mean value.

# %%
some = [text for text, known in zip(held, right, strict=True) if known][:200]
many = gradients.explain(some, gradient_of="logit", steps=16)
values = defaultdict(list)
for label, pairs in zip(many.labels, many.word_values(), strict=True):
    for word, value in pairs:
        values[label, word].append(value)

figure, panels = plt.subplots(1, 4, figsize=(11, 2.8), layout="constrained", sharex=True)
for k, panel in enumerate(panels):
    often = {word: np.mean(found) for (label, word), found in values.items()
             if label == k and len(found) >= 4}  # fmt: skip
    words = sorted(often, key=often.get)[-6:]
    panel.barh(words, [often[word] for word in words], color="firebrick")
    panel.set_title(classes[k], fontsize=10)
    panel.tick_params(labelsize=8)
figure.supxlabel("mean value", fontsize=9)
plt.show()

# %% [markdown]
# Most of this is sensible. But for scikit-image there is nothing besides "image". (Without it, this is the class of
# what is unknown, as the text of `[UNK]` has shown, so other words have little to add.) A sentence with "image" is about
# images, and that is not the same as being from scikit-image. The third of our sentences is a case of it. It is
# Matplotlib's:

# %%
gradients.explain([resolution] * 2, label=["scikit-image", "matplotlib"], gradient_of="logit")

# %% [markdown]
# The explanation makes a claim that can be tested: this one word decides. Exchange it, in this sentence and in others.

# %%
for word in ("image", "figure", "result"):
    text = resolution.replace("image", word)
    p = predicted([text])[0]
    print(f"{text:60} {classes[p.argmax()]} {p.max():.2f}")

of_arrays = [
    text
    for text, label, known in zip(held, held_labels, right, strict=True)
    if known and classes[label] == "numpy" and re.search(r"\barray\b", text)
]
changed = [re.sub(r"\barray\b", "image", text) for text in of_arrays]
moved = (predicted(changed).argmax(axis=1) == classes.index("scikit-image")).mean()
print(
    f'\n{len(of_arrays)} sentences of numpy; with "image" for "array" {moved:.0%} are scikit-image'
)
assert moved > 0.3

# %% [markdown]
# This is a shortcut: a single word that gives the package away most of the time, and is trusted nearly always. The
# accuracy does not show it, because in sentences that were collected in the same way the word is nearly always
# right. [Another notebook](08_your_own_model.ipynb) finds a shortcut in pictures, and mends it.

# %% [markdown]
# ## Chinese
#
# Chinese has no spaces. This tokenizer makes a token of each character, as those of BERT and ERNIE do. A second, even
# smaller model learns from made-up reviews whether something is liked. Each has two judgements; where these differ the
# verdict is chance. Some characters are `[UNK]`, so that the model knows what it is.

# %%
liked, disliked = ["好看", "精彩", "有趣"], ["难看", "糟糕", "无聊"]
reviews, verdicts = [], []
for _ in range(1200):
    one, two = rng.choice(liked + disliked, 2)
    very, so = rng.choice(["很", "真", "太"], 2)
    film = rng.choice(["这部电影", "那部电影", "昨天的电影"])
    reviews.append(f"{film}{very}{one}，{rng.choice(['演员', '故事', '音乐'])}{so}{two}。")
    verdicts.append(int((one in liked) + (two in liked) + rng.random() > 1.5))

characters = WordTokenizer(sorted({*"".join(reviews)}))
ids = encoded(characters, reviews)
ids[(rng.random(ids.shape) < 0.1) & (ids > 4)] = characters.unk_token_id
critic = small_text_transformer(characters.vocab_size)
critic.class_names = ("disliked", "liked")
train(critic, ids, np.array(verdicts), epochs=12, rate=1e-2, decay=0.1, batch=64)

chinese = it.KernelSHAPInterpreter(critic, preprocessing=it.TextPreprocessing(characters))
film = "昨天的电影很精彩，演员太难看。"
found = chinese.explain(film, label="liked")
found

# %%
worth = dict(found.word_values()[0])
print(" ".join(f"{character} {value:+.2f}" for character, value in worth.items()))
assert worth["精"] + worth["彩"] > 0.1 > -0.1 > worth["难"] + worth["看"]

# %% [markdown]
# 精彩 (brilliant) speaks for the class, 难看 (bad to look at) against it, nearly all of it by 难: 看 (look at) is in 好看 (good
# to look at), too.
#
# A saved picture (`found.save("words.png")`) needs a font that has the characters. The page here, and
# `found.save("words.html")`, leave this to the browser.

# %% [markdown]
# ## InterpretDL's names
#
# The classes of InterpretDL for texts are there, with their arguments and what they return. They are the same
# methods, from a baseline of `[PAD]`:

# %%
old = it.IntGradNLPInterpreter(model).interpret(tree, tokenizer=tokenizer, steps=50)
new = from_pad.explain(tree, steps=50, gradient_of="logit").values
print(old.shape)
np.testing.assert_allclose(old, new, atol=1e-5)

# %% [markdown]
# ## A model of your own: ERNIE
#
# PaddleNLP's tokenizers and models fit as they are. With PaddleNLP installed and a model that was fine-tuned on your
# classes:
#
# ```python
# import interpretdl as it
# from paddlenlp.transformers import AutoModelForSequenceClassification, AutoTokenizer
#
# folder = "my_fine_tuned_ernie"  # from model.save_pretrained and tokenizer.save_pretrained
# model = AutoModelForSequenceClassification.from_pretrained(folder)
# reading = it.TextPreprocessing(AutoTokenizer.from_pretrained(folder))
#
# method = it.IntegratedGradientsInterpreter(
#     model, preprocessing=reading, class_names=["negative", "positive"]
# )
# found = method.explain("这部电影真不好看。", gradient_of="logit")
# found.save("words.html")
# ```
#
# The rest of this notebook works as it stands, with `method.subject` as the subject. For a tokenizer of another
# kind write a function from a text to the model's arguments; [how](../docs/how_to/texts.md) is described with the rest
# of what `TextPreprocessing` can do.
#
# ## Which one
#
# | | needs | the values | look out for |
# |---|---|---|---|
# | integrated gradients | 50 gradients | sum to the rise from the baseline | which baseline; the completeness error |
# | LRP, `attn_lrp` | one backward pass | shares of the score, some of it lost | the audit |
# | leave one out | a run for each word | what the score loses | words that say the same |
# | LIME | hundreds of runs | a linear fit | the standard error |
# | Kernel SHAP | hundreds of runs | sum to the rise from a text of `[UNK]` | the standard error |
# | attention | one pass | no unit, no sign | what it is taken for |
#
# References: [integrated gradients](https://arxiv.org/abs/1703.01365), [AttnLRP](https://arxiv.org/abs/2402.05602),
# [LIME](https://arxiv.org/abs/1602.04938), [Kernel SHAP](https://arxiv.org/abs/1705.07874),
# [rollout](https://arxiv.org/abs/2005.00928), [generic attention](https://arxiv.org/abs/2103.15679),
# [comprehensiveness and sufficiency](https://arxiv.org/abs/1911.03429).
