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
# # Layer-wise relevance propagation
#
# A classifier gives a picture a score $f(x)$ for a class. Layer-wise relevance propagation (LRP)
# divides that score among the pixels. It starts at the output and works backwards: each neuron $k$
# has a relevance $R_k$, and distributes it over the neurons $j$ below it in proportion to what each
# contributed to its activation:
#
# $$R_j = \sum_k \frac{z_{jk}}{\sum_j z_{jk}} R_k, \qquad z_{jk} = a_j w_{jk}$$
#
# The sum stays the same from layer to layer, $\sum_j R_j = \sum_k R_k = f(x)$: LRP is
# *conservative*. The idea is from [Bach et al. 2015](https://doi.org/10.1371/journal.pone.0130140).
# The variants of LRP differ in what counts as a contribution $z_{jk}$ and in how biases are
# treated.
#
# This notebook computes LRP by hand on a small network, compares the result with the package, and
# then explains networks for photographs.
#
# It needs the weights of the default model, which come with the package's `demo` extra. The next cell
# installs the package from this clone where it is missing.

# %%
try:
    import interpretdl as it
except ModuleNotFoundError:
    # %pip install -q "..[demo]"
    import interpretdl as it

import contextlib
import copy
import warnings

import matplotlib.pyplot as plt
import numpy as np
import paddle
from paddle import nn
from sklearn.datasets import load_digits

from interpretdl.rules import AlphaBeta, Epsilon, Gamma, ZBox, ZPlus, lrp_composite

collage = "../assets/collage.png"  # a cat on the left, a cup of espresso on the right
it.show_progress(False)  # no progress bars in the saved notebook

# %% [markdown]
# ## The rules
#
# A rule says which share of $R_k$ goes to the input $j$. Let $z_k = \sum_j z_{jk} + b_k$, and let
# $x^+ = \max(x, 0)$ and $x^- = \min(x, 0)$. For inputs $a_j \ge 0$, as ReLU makes them:
#
# | rule | share of $j$ in $R_k$ | where it is used |
# |---|---|---|
# | LRP-0 | $\dfrac{z_{jk}}{z_k}$ | the basic rule; on a network of ReLUs it equals gradient times input, and in deep networks it is as noisy |
# | LRP-ε | $\dfrac{z_{jk}}{z_k + \varepsilon\,\mathrm{sign}(z_k)}$ | dense layers; ε absorbs weak and contradictory relevance |
# | LRP-γ | $\dfrac{a_j (w_{jk} + \gamma w^+_{jk})}{\sum_j a_j (w_{jk} + \gamma w^+_{jk}) + b_k + \gamma b^+_k}$ | convolutions; positive contributions count more |
# | z⁺ | $\dfrac{z^+_{jk}}{\sum_j z^+_{jk} + b^+_k}$ | convolutions; only positive contributions count, the limit of LRP-γ for large γ |
# | αβ | $\alpha \dfrac{z^+_{jk}}{\sum_j z^+_{jk} + b^+_k} - \beta \dfrac{z^-_{jk}}{\sum_j z^-_{jk} + b^-_k}$ with $\alpha - \beta = 1$ | convolutions; positive and negative contributions are normalized separately |
# | z-box | $\dfrac{x_j w_{jk} - l_j w^+_{jk} - h_j w^-_{jk}}{\sum_j (x_j w_{jk} - l_j w^+_{jk} - h_j w^-_{jk})}$ | first layer, whose inputs are pixels between $l_j$ (black) and $h_j$ (white); a black pixel can have relevance too |
# | w², flat | $\dfrac{w_{jk}^2}{\sum_j w_{jk}^2}$, $\;\dfrac{1}{n}$ | first layer; the pixels' own values do not count |
#
# A bias in the denominator keeps its share of the relevance, and that share does not reach the
# pixels. A *composite* assigns a rule to each layer of a network.
#
# Here is one neuron with six inputs. Each colour is a rule, each group of bars an input.

# %%
a = np.array([1.0, 0.8, 0.6, 0.9, 0.5, 0.2])
w = np.array([0.9, -0.5, 0.7, -0.3, 0.4, -0.6])

z = a * w
positive, negative = np.maximum(z, 0), np.minimum(z, 0)
more = z + 0.5 * positive
shares = {
    "LRP-0": z / z.sum(),
    "ε = 0.25": z / (z.sum() + 0.25),
    "γ = 0.5": more / more.sum(),
    "z⁺": positive / positive.sum(),
    "α = 2, β = 1": 2 * positive / positive.sum() - negative / negative.sum(),
}

figure, axis = plt.subplots(figsize=(8, 2.8), layout="constrained")
for i, (name, share) in enumerate(shares.items()):
    axis.bar(np.arange(6) + 0.15 * (i - 2), share, width=0.15, label=name)
axis.axhline(0, color="black", linewidth=0.6)
axis.set(xticks=range(6), xticklabels=[f"$z_{j}$ = {z[j]:.2f}" for j in range(6)])
axis.set_ylabel("share of $R_k$")
axis.legend(fontsize=8)
plt.show()

for name, share in shares.items():
    print(f"{name:>12}: the shares add up to {share.sum():.2f}")

# %% [markdown]
# All rules agree on which inputs spoke for the neuron, but not on how much the others count
# against it: LRP-0 gives the largest positive input more relevance than there is to distribute, and
# takes the difference from the negative ones. γ reduces both, and z⁺ ignores what is negative. Only ε
# keeps a part of the relevance.

# %%
conserving = [share.sum() for name, share in shares.items() if not name.startswith("ε")]
np.testing.assert_allclose(conserving, 1)
assert shares["ε = 0.25"].sum() < 1
assert shares["z⁺"].min() >= 0
large = z + 1e6 * positive
np.testing.assert_allclose(large / large.sum(), shares["z⁺"], atol=1e-5)

# %% [markdown]
# ## Four steps by hand
#
# For a whole layer, each of these rules takes four steps
# ([Montavon et al. 2019](https://doi.org/10.1007/978-3-030-28954-6_10)). The rule decides which
# weights $\rho(w)$ are used. For a dense layer and the z⁺ rule, $\rho(w) = w^+$:

# %%
rng = np.random.default_rng(0)
a = rng.random(6)  # activations of the lower layer
w = rng.normal(size=(6, 4))
R = np.array([0.0, 2.0, 1.0, 0.5])  # relevance of the upper layer

rho = np.maximum(w, 0)

z = a @ rho + 1e-9  # 1. forward
s = R / z  #          2. divide
c = s @ rho.T  #      3. backward
R_lower = a * c  #    4. multiply

print("relevance of the lower layer:", R_lower.round(3))
np.testing.assert_allclose(R_lower.sum(), R.sum())

# %% [markdown]
# Step 3 is the gradient of $\sum_k z_k s_k$ with respect to $a$, where $s$ is held constant. So the
# same four steps work for any linear layer that Paddle can differentiate, such as a convolution:


# %%
def same(w):
    return w


def plus(w):
    return w.clip(min=0)


def minus(w):
    return w.clip(max=0)


def with_weights(layer, rho):
    """A copy of the layer with the weights rho(w)."""
    changed = copy.deepcopy(layer)
    changed.weight.set_value(rho(layer.weight))
    return changed


def safe(z):
    """Keep denominators away from zero."""
    return paddle.where(z >= 0, z + 1e-9, z - 1e-9)


def four_steps(layer, a, R, rho):
    """Relevance of a layer's input `a`, from the relevance `R` of its output."""
    a = a.detach()
    a.stop_gradient = False
    z = with_weights(layer, rho)(a)  #        1. forward
    s = (R / safe(z)).detach()  #             2. divide
    c = paddle.grad((z * s).sum(), a)[0]  #   3. backward
    return (a * c).detach()  #                4. multiply


# %% [markdown]
# ### A network to try it on
#
# It reads the handwritten digits that come with scikit-learn, 8 × 8 pixels each. It has no biases,
# so that no relevance is lost, and is trained in a few seconds.

# %%
digits = load_digits()
pixels = paddle.to_tensor((digits.images[:, None] / 16).astype("float32"))  # [1797, 1, 8, 8]
classes = paddle.to_tensor(digits.target)
held_out = 1500  # the digits from here on are not trained on

paddle.seed(0)
layers = [
    nn.Conv2D(1, 16, 3, padding=1, bias_attr=False),
    nn.ReLU(),
    nn.Conv2D(16, 32, 3, stride=2, padding=1, bias_attr=False),
    nn.ReLU(),
    nn.Flatten(),
    nn.Linear(512, 64, bias_attr=False),
    nn.ReLU(),
    nn.Linear(64, 10, bias_attr=False),
]
network = nn.Sequential(*layers)
adam = paddle.optimizer.Adam(0.005, parameters=network.parameters())
for _ in range(15):
    for rows in np.array_split(rng.permutation(held_out), 24):
        loss = nn.functional.cross_entropy(network(pixels[rows]), classes[rows])
        loss.backward()
        adam.step()
        adam.clear_grad()
network.eval()

right = network(pixels[held_out:]).argmax(axis=1) == classes[held_out:]
accuracy = float(right.astype("float32").mean())
print(f"{accuracy:.1%} of the digits held out are recognized")
assert accuracy > 0.9

# %% [markdown]
# ### Through all layers
#
# Relevance starts as the score of the class, all other outputs have none. ReLU passes relevance
# through unchanged. The first layer gets a function of its own, because z-box is not a matter of
# weights alone: it takes the four steps for $x$, $l$ and $h$ at once.


# %%
def z_box(layer, x, R, low=0.0, high=1.0):
    """Relevance of pixels between `low` and `high`."""
    inputs = [x.detach(), paddle.full_like(x, low), paddle.full_like(x, high)]
    for each in inputs:
        each.stop_gradient = False
    x, black, white = inputs
    z = layer(x) - with_weights(layer, plus)(black) - with_weights(layer, minus)(white)
    s = (R / safe(z)).detach()
    gradients = paddle.grad((z * s).sum(), inputs)
    return sum(each * c for each, c in zip(inputs, gradients, strict=True)).detach()


def backwards(x, labels, step, first):
    """Relevance of the pixels, of each layer's output, and of the scores, in this order."""
    activations = [x]
    for layer in layers:
        activations.append(layer(activations[-1]))
    relevance = [activations[-1] * nn.functional.one_hot(labels, 10)]
    for layer, a in zip(layers[::-1], activations[-2::-1], strict=True):
        R = relevance[-1]
        if layer is layers[0]:
            R = first(layer, a, R)
        elif isinstance(layer, nn.Conv2D | nn.Linear):
            R = step(layer, a, R)
        relevance.append(R.reshape(a.shape))
    return [R.numpy() for R in reversed(relevance)]


# %% [markdown]
# αβ takes the four steps twice, once with the positive and once with the negative weights, each
# divided by its own sum. The result is α times the first minus β times the second.


# %%
def lrp_0(layer, a, R):
    return four_steps(layer, a, R, same)


def gamma(layer, a, R):
    return four_steps(layer, a, R, lambda w: w + 0.25 * plus(w))


def z_plus(layer, a, R):
    return four_steps(layer, a, R, plus)


def alpha_beta(layer, a, R, alpha=2, beta=1):
    return alpha * four_steps(layer, a, R, plus) - beta * four_steps(layer, a, R, minus)


# %%
x = pixels[held_out : held_out + 8]
labels = network(x).argmax(axis=1)

by_hand = {
    "LRP-0": backwards(x, labels, lrp_0, first=lrp_0),
    "γ, z-box": backwards(x, labels, gamma, first=z_box),
    "z⁺, z-box": backwards(x, labels, z_plus, first=z_box),
    "α2β1, z-box": backwards(x, labels, alpha_beta, first=z_box),
}

figure, axes = plt.subplots(5, 8, figsize=(8, 5.2), layout="constrained")
rows = {"digit": x.numpy(), **{name: R[0] for name, R in by_hand.items()}}
for row, (name, maps) in zip(axes, rows.items(), strict=True):
    for axis, one in zip(row, maps[:, 0], strict=True):
        limit = abs(one).max()
        if name == "digit":
            axis.imshow(one, "gray")
        else:
            axis.imshow(one, "RdBu_r", vmin=-limit, vmax=limit)
        axis.set(xticks=[], yticks=[])
    row[0].set_ylabel(name)
plt.show()

# %% [markdown]
# Red speaks for the digit that was recognized, blue against it. LRP-0 gives relevance to ink only, and
# neighbouring pixels often have opposite signs. With z-box, the empty pixels around the ink have some
# relevance as well, because a place without ink is evidence too. γ leaves little blue, z⁺ none.
#
# Each rule distributes the whole score, at every layer:

# %%
score = by_hand["LRP-0"][-1].sum(axis=1)
print(f"score of the first digit: {score[0]:.4f}")
for name, relevance in by_hand.items():
    sums = [R.reshape(8, -1).sum(axis=1) for R in relevance]
    print(f"{name:>12}: ", *(f"{at_layer[0]:.4f}" for at_layer in sums))
    np.testing.assert_allclose(sums, [score] * len(sums), rtol=1e-3)

# %% [markdown]
# On a network of ReLUs without biases, LRP-0 is gradient times input:

# %%
leaf = x.detach()
leaf.stop_gradient = False
chosen = (network(leaf) * nn.functional.one_hot(labels, 10)).sum()
gradient_times_input = (leaf * paddle.grad(chosen, leaf)[0]).numpy()
np.testing.assert_allclose(by_hand["LRP-0"][0], gradient_times_input, rtol=1e-3, atol=1e-4)

# %% [markdown]
# ## The same with the package
#
# `LRPInterpreter` applies rules to every layer of a network, in one forward and one backward pass.
# The result is the same as by hand, at the pixels and at each layer.

# %%
grey = it.Preprocessing(resize=None, crop=None, mean=(0.0,), std=(1.0,))
lrp = it.LRPInterpreter(network, preprocessing=grey, class_names=tuple("0123456789"))


def everywhere(name, rule, first=None):
    return lrp_composite(name, layers={nn.Conv2D: rule, nn.Linear: rule}, first=first)


composites = {
    "LRP-0": everywhere("zero", Epsilon(0)),
    "γ, z-box": everywhere("gamma", Gamma(0.25), first=ZBox()),
    "z⁺, z-box": everywhere("z_plus", ZPlus(), first=ZBox()),
    "α2β1, z-box": everywhere("alpha_beta", AlphaBeta(2, 1), first=ZBox()),
}
for name, composite in composites.items():
    found = lrp.explain(x.numpy(), label=labels.numpy(), composite=composite)
    hidden = lrp.relevance(x.numpy(), labels.numpy(), layer="1", composite=composite)
    for ours, theirs in ((by_hand[name][0], found.values), (by_hand[name][2], hidden)):
        np.testing.assert_allclose(theirs, ours, rtol=1e-2, atol=1e-3 * abs(ours).max())
    print(f"{name:>12}: the package agrees")

# %% [markdown]
# $\alpha - \beta$ must be 1, otherwise the sum would change at each layer:

# %%
try:
    AlphaBeta(2, 2)
except it.InputError as error:
    print(error)

# %% [markdown]
# ## One photograph, two questions
#
# EfficientNet-Lite0 is trained on ImageNet, and its weights come with the package's `demo` extra.
# `interpret` prints the likeliest classes and which share of the score arrived at the pixels, draws
# the map, and returns the relevance as an array `[1, 1, 224, 224]`:

# %%
efficientnet = it.LRPInterpreter(it.lrp_model.efficientnet_lite0(pretrained=True))
values = efficientnet.interpret(collage, label="espresso", style="signed")

# %% [markdown]
# `explain` neither prints nor draws; it returns an `Explanation`. The picture has a cat on the left and
# a cup on the right, so each class has its own place in it:

# %%
both = ["espresso", "tiger cat"]
found = efficientnet.explain([collage] * 2, label=both)
figure = it.grid(list(found), titles=["why espresso?", "why tiger cat?"], style="signed")
figure.set_size_inches(8, 3)
figure

# %% [markdown]
# Red speaks for the class, blue against it. For "espresso" the rim of the cup, the coffee and the
# handle are red, and the cat's eye is blue. For "tiger cat" the eyes, the nose and the fur are red.


# %%
def inside(found):
    """Which share of the positive relevance is on the half of the picture that shows the class."""
    espresso, cat = np.maximum(found.values[:, 0], 0)
    return espresso[:, 112:].sum() / espresso.sum(), cat[:, :112].sum() / cat.sum()


print("espresso {:.2f} on the right, tiger cat {:.2f} on the left".format(*inside(found)))
assert min(inside(found)) > 0.7

# %% [markdown]
# ## Composites side by side
#
# The package knows fourteen composites by name. Twelve of them are drawn here, each on its own scale.
# The other two follow below.

# %%
names = ["epsilon", "gamma", "epsilon_gamma_box"]
names += ["alpha2_beta1", "epsilon_alpha2_beta1", "epsilon_alpha2_beta1_flat"]
names += ["epsilon_plus", "epsilon_plus_flat", "epsilon_plus_box", "w_square"]
names += ["alpha1_beta0", "deep_taylor"]

maps, said = {}, {}
for name in names:
    with warnings.catch_warnings(record=True) as caught:
        maps[name] = efficientnet.explain([collage] * 2, label=both, composite=name)
    said[name] = [str(each.message) for each in caught]

figure = it.grid(list(maps.values()), titles=names, style="signed", original=False, columns=6)
figure.set_size_inches(12, 8)
figure

# %% [markdown]
# Some composites come with a warning. αβ doubles the positive relevance and subtracts the negative one
# at every layer, so both grow far beyond the score, and what the stabilizers keep of them is no longer
# negligible:

# %%
for name in names:
    for text in said[name]:
        print(f"{name}: {text.split(':')[0]}")

# %% [markdown]
# Three numbers help to compare them: which share of the positive relevance is on the right object,
# how much the maps for the two classes resemble each other (their correlation), and which share of
# the score arrived at the pixels.

# %%
print(f"{'composite':26} espresso   cat  alike  arrived (espresso)")
alike = {}
for name, one in maps.items():
    espresso, cat = one.values.reshape(2, -1)
    alike[name] = np.corrcoef(espresso, cat)[0, 1]
    arrived = one.diagnostics["relevance_arrived"] / one.scores
    shares = inside(one)
    print(f"{name:26} {shares[0]:8.2f} {shares[1]:5.2f} {alike[name]:6.2f} {arrived[0]:8.1%}")

assert min(inside(maps["epsilon_gamma_box"])) > min(inside(maps["epsilon"]))
assert alike["epsilon_gamma_box"] < alike["deep_taylor"]
one_sign = maps["deep_taylor"].values
assert one_sign.min() >= -1e-4 * one_sign.max()

# %% [markdown]
# - `epsilon` is noise, half of it blue. In deep networks LRP needs rules that prefer one sign.
# - `epsilon_gamma_box`, the default, separates the two objects best.
# - The αβ composites find the right place, but red and blue alternate from pixel to pixel.
# - `epsilon_plus` and its relatives (`_flat`, `_box`, `w_square`) are smooth, and hardly show what
#   speaks against a class.
# - `alpha1_beta0` and `deep_taylor` use the z⁺ rule in the dense layer as well. It ignores the negative
#   weights, and with them what speaks against a class, so both maps show both objects.
#
# ## Where the score went
#
# Little of the score arrives at the pixels of this network, because biases keep their share: batch
# norm, which LRP folds into the convolutions, makes them large. The audit lists for each layer what
# arrived, what was passed on, and what the bias kept.

# %%
audit = efficientnet.audit(collage, label="tiger cat")
score, arrived, absorbed = audit.start[0], audit.input[0], audit.absorbed[0]
print(f"score {score:.3f} = {arrived:.3f} at the pixels + {absorbed:.3f} absorbed on the way")
np.testing.assert_allclose(arrived + absorbed, score, rtol=1e-3)

seams = [seam for seam in audit.seams if seam.bias[0]]
kept = np.array([seam.bias[0] for seam in seams])

figure, axis = plt.subplots(figsize=(10, 3.2), layout="constrained")
axis.bar(range(len(kept)), kept, label="kept by the layer's bias")
axis.step(range(len(kept)), score - kept.cumsum(), "k", where="mid", label="left for the pixels")
ticks = [seam.name.replace("_conv", "") for seam in seams]
axis.set_xticks(range(len(kept)), ticks, rotation=90, fontsize=6)
axis.set(ylabel="relevance", title="From the score (left) to the pixels (right)")
axis.legend()
plt.show()

# %% [markdown]
# The map distributes the small rest. Its colours are relative, so the map does not show how small the
# rest is.
#
# InterpretDL's own composite, `z_plus_box`, leaves biases out of the denominators, so that all
# relevance arrives. That fails where no input contributed to an output, only its bias, as in this
# network's depthwise convolutions. The bias then keeps the relevance, and a warning says how
# much; with `strict=True` it is an error. The same holds for `excitation_backprop`.

# %%
try:
    efficientnet.explain(collage, label="tiger cat", composite="z_plus_box", strict=True)
except it.UnsupportedModelError as error:
    print(error)

# %% [markdown]
# ## A composite of your own
#
# Rules are assigned by layer type, by position (`first`, `last`) or by name. A name takes precedence
# over a position, a position over a type.

# %%
mine = lrp_composite(
    "mine",
    layers={nn.Conv2D: Gamma(1.0), nn.Linear: Epsilon()},
    first=ZBox(),
    names={"conv_head": ZPlus()},
)
own = efficientnet.explain([collage] * 2, label=both, composite=mine)
figure = it.grid(
    [maps["epsilon_gamma_box"], own],
    titles=["epsilon_gamma_box", "mine"],
    style="signed",
    original=False,
)
figure.set_size_inches(5, 4.8)
figure

# %% [markdown]
# ## ResNet-50, ResNet-101 and VGG-16
#
# Code written for InterpretDL calls LRP as below, and runs unchanged. `label=None` takes the likeliest
# class. The weights are downloaded once: about 100, 180 and 550 MB. Where that is not possible the
# networks have random weights. Then `interpret` is kept from printing and drawing, because a map of
# random weights explains nothing, and only the sum of the relevance is checked.


# %%
def load(builder):
    """The network, and whether it has its trained weights."""
    try:
        return builder(pretrained=True), True
    except it.WeightsError:
        print(f"{builder.__name__}: the weights cannot be downloaded, so they are random")
        paddle.seed(0)
        return builder(), False


def printing(trained):
    """A context in which only a trained network's predictions are printed."""
    return contextlib.nullcontext() if trained else contextlib.redirect_stdout(None)


def check(interpreter, found, trained):
    """Compare sums of relevance {class: values} with the scores."""
    logits = interpreter.probe.logits(interpreter.subject.read(collage).inputs)[0]
    for label, values in found.items():
        score = logits.max() if label is None else logits[label]
        total = values.sum(dtype="float64")
        print(f"label={label}: {total / score:.2%} of the score arrived at the pixels")
        if not trained:  # there are no biases yet, so nothing is kept on the way
            np.testing.assert_allclose(total, score, atol=1e-4 * abs(values).sum())


# %%
model, trained = load(it.lrp_model.resnet50)
resnet50 = it.LRPCVInterpreter(model)
with printing(trained):
    likeliest = resnet50.interpret(collage, label=None, visual=trained, save_path=None)
    cat = resnet50.interpret(collage, label=282, visual=trained, save_path=None)
check(resnet50, {None: likeliest, 282: cat}, trained)

# %%
model, trained = load(it.lrp_model.resnet101)
resnet101 = it.LRPCVInterpreter(model)
with printing(trained):
    likeliest = resnet101.interpret(collage, label=None, visual=trained, save_path=None)
    espresso = resnet101.interpret(collage, label=967, visual=trained, save_path=None)
check(resnet101, {None: likeliest, 967: espresso}, trained)

# %%
model, trained = load(it.lrp_model.vgg16)
vgg16 = it.LRPCVInterpreter(model)
with printing(trained):
    likeliest = vgg16.interpret(collage, label=None, visual=trained, save_path=None)
    cat = vgg16.interpret(collage, label=282, visual=trained, save_path=None)
check(vgg16, {None: likeliest, 282: cat}, trained)

# %% [markdown]
# Without biases all of the score arrives, even where the weights are random. Conservation says that the
# relevance was distributed without loss. It does not say that the distribution explains anything.
#
# ## What to keep in mind
#
# - The composite is part of the explanation: above, twelve maps explain one and the same score. Name
#   the composite when you show a map.
# - Explain a second class. A map that stays the same shows what the network responds to, not what
#   decides between the classes.
# - Relevance is a share of a logit, and logits compare classes only through their differences.
#   `gradient_of="contrast"` explains the logit minus the mean of the others.
#
# The rules, the composites and what they cost are listed in
# [docs/methods/families/relevance_propagation.md](../docs/methods/families/relevance_propagation.md).
