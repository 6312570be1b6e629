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
# # Explaining a vision transformer
#
# A vision transformer cuts the picture into patches and makes a *token* of each, a vector of numbers. Block
# after block, tokens read from each other by *attention*. In the end the scores are read from one more token,
# the *class token*.
#
# Attention can be looked at as it is, followed back to the patches, or treated as one operation among others, as
# LRP does. This notebook does all three, with a small network whose pictures have two digits each. So it is
# known where the map for one of the two should be.
#
# The next cell installs the package from this clone where it is missing, for example in AI Studio.

# %%
try:
    import interpretdl as it
except ModuleNotFoundError:
    # %pip install -q "..[demo]"
    import interpretdl as it

import warnings

import matplotlib.pyplot as plt
import numpy as np
import paddle
from paddle import nn
from scipy.stats import spearmanr
from sklearn.datasets import load_digits

from interpretdl.lrp_model.vision_transformer import VisionTransformer

it.show_progress(False)  # no progress bars in the saved notebook

# %% [markdown]
# ## A network, and where it should look
#
# A picture is black and has one or two of scikit-learn's digits, 8 × 8 pixels each, in different quarters.

# %%
digits = load_digits()
order = np.random.default_rng(0).permutation(len(digits.images))
strokes = (digits.images[order] / 16).astype("float32")  # [1797, 8, 8]
classes = digits.target[order]
held_out = 1400  # the digits from here on are not trained on


def placed(which, rng):
    """Pictures of digits in quarters drawn by chance.

    Args:
        which: numbers of the digits, int [N, 1] or [N, 2].

    Returns:
        pictures float32 [N, 1, 16, 16], and the quarters, as `which`.
    """
    quarters = rng.permuted(np.tile(np.arange(4), (len(which), 1)), axis=1)[:, : which.shape[1]]
    pictures = np.zeros((len(which), 2, 8, 2, 8), "float32")
    for digit, quarter in zip(which.T, quarters.T, strict=True):
        pictures[np.arange(len(which)), quarter // 2, :, quarter % 2] = strokes[digit]
    return pictures.reshape(-1, 1, 16, 16), quarters


# %% [markdown]
# The network has two blocks with four heads of attention each. A patch is 4 × 4 pixels, so a picture has 16 of
# them, four in each quarter. Training takes half a minute. Of two digits, each should get a probability of ½.

# %%
paddle.seed(0)
rng = np.random.default_rng(0)
model = VisionTransformer(10, 1, size=16, patch=4, width=48, depth=2, heads=4, mlp_ratio=2)
steps = 700
rate = paddle.optimizer.lr.CosineAnnealingDecay(0.004, steps)
adam = paddle.optimizer.Adam(rate, parameters=model.parameters())
for step in range(steps):
    which = rng.integers(0, held_out, (64, 1 + step % 2))
    x, _ = placed(which, rng)
    wanted = np.eye(10, dtype="float32")[classes[which]].mean(axis=1)
    logits = model(paddle.to_tensor(x))
    nn.functional.cross_entropy(logits, paddle.to_tensor(wanted), soft_label=True).backward()
    adam.step()
    adam.clear_grad()
    rate.step()
model.eval()
model.preprocessing = it.Preprocessing(resize=None, crop=None, mean=(0,), std=(1,))
model.class_names = tuple(f"digit {k}" for k in range(10))

# %%
pairs = rng.permutation(np.arange(held_out, len(classes)))[:240].reshape(-1, 2)
pairs = pairs[classes[pairs[:, 0]] != classes[pairs[:, 1]]]
x, quarters = placed(pairs, rng)
both = classes[pairs]  # [N, 2], the two digits of each picture
probe = it.Probe(model)


def finds_both(logits):
    """Whether the two likeliest classes are the two digits."""
    return (np.sort(logits.argsort(axis=1)[:, -2:]) == np.sort(both)).all(axis=1)


found = finds_both(probe.logits(x))
print(f"{len(x)} pictures with two digits, both found in {found.mean():.0%}")
assert found.mean() > 0.75
x, quarters, both = x[found], quarters[found], both[found]

# %% [markdown]
# The network was not trained on these pictures. Those in which it finds both digits are kept. Here are the six on
# which it is surest, of those with the digits at opposite corners, with the two probabilities. The first one will
# be the example. It is given twice, once for each of its two digits.

# %%
logits = probe.logits(x)
probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
surest = np.take_along_axis(probability, both, axis=1).min(axis=1).argsort()[::-1]
opposite = quarters[surest].sum(axis=1) == 3  # at the two ends of a diagonal
first = surest[opposite][0]
twice, two = x[[first, first]], both[first].tolist()

figure, panels = plt.subplots(1, 6, figsize=(9, 1.8), layout="constrained")
for panel, i in zip(panels, surest[opposite][:6], strict=True):
    panel.imshow(x[i, 0], "gray")
    panel.set_title(" ".join(f"{k}: {probability[i, k]:.2f}" for k in both[i]), fontsize=10)
    panel.axis("off")
plt.show()

# %% [markdown]
# ## Attention as it is
#
# In each head, a token has a weight for every token, and its weights sum to 1. `Probe.attention` finds them where
# the softmax runs, so it does not matter how the model is written. Here is what the class token attends to in
# the example.

# %%
attention = probe.attention(x)
print([maps.shape for maps in attention.maps])  # of each layer [N, heads, tokens, tokens]
for maps in attention.maps:
    np.testing.assert_allclose(maps.sum(axis=-1), 1, rtol=1e-5)

figure, panels = plt.subplots(2, 5, figsize=(9, 4), layout="constrained")
for layer, (row, maps) in enumerate(zip(panels, attention.maps, strict=True)):
    row[0].imshow(x[first, 0], "gray")
    for head, panel in enumerate(row[1:]):
        weights = maps[first, head, 0]  # the class token's row; its first entry is itself
        drawn = panel.imshow(weights[1:].reshape(4, 4), vmin=0, vmax=0.3)
        panel.set_title(f"layer {layer}, head {head}\nitself: {weights[0]:.2f}", fontsize=9)
for panel in panels.ravel():
    panel.axis("off")
figure.colorbar(drawn, ax=panels, label="attention", shrink=0.7, extend="max")
plt.show()

# %% [markdown]
# The heads attend mostly to patches with ink, and each to other ones. What the weights cannot show is what is read
# there, and whether it speaks for a class or against it. There is one set of weights, and two answers.
#
# ### How much does it matter?
#
# Weights can be replaced: `edit` exchanges a layer's output in a run. Let the tokens attend to all 17 tokens
# alike, in one head or in all heads of a layer. How often does the network still find both digits?


# %%
def with_weights(value, heads):
    """An edit that replaces the weights of some heads."""

    def edit(weights):
        weights = weights.clone()
        weights[:, heads] = value
        return weights

    return edit


def finds_with(layer, heads):
    edit = {f"blocks.{layer}.attn.attn_drop": with_weights(1 / 17, heads)}
    return finds_both(probe.logits(x, edit=edit)).mean()


kept = {
    layer: [finds_with(layer, head) for head in range(4)] + [finds_with(layer, slice(None))]
    for layer in (0, 1)
}
for layer, (*single, every) in kept.items():
    print(f"layer {layer}: one head {np.round(single, 2)}, all heads {every:.2f}")

# %% [markdown]
# With one head attending to all tokens alike, the network still finds both digits in most pictures; with the whole
# last layer doing so, in half of them. Head 3 of layer 1 has weights as clear as the others', and the network needs
# them least. So a clear pattern in a head does not mean that the answer depends on it.
#
# ## Followed back to the patches
#
# In the last layer the class token reads from tokens that have themselves read from others before. So there are
# methods that follow attention through all layers. The rows are the two questions, the columns four ways to answer
# them:
#
# - `rollout` multiplies the layers' weights, averaged over heads;
# - `generic_attention` multiplies each weight by the score's gradient first, and leaves out what is negative;
# - `transformer_lrp` takes the relevance of each weight (see LRP, below) in place of the weight;
# - `attention_gradient` is weight times gradient in the last layer alone.
#
# A map has 4 × 4 values, and is drawn smoothly.

# %%
ways = {
    "rollout": it.RolloutInterpreter(model),
    "generic_attention": it.GACVInterpreter(model),
    "transformer_lrp": it.TransformerLRPInterpreter(model),
    "attention_gradient": it.AttentionGradientInterpreter(model),
}
seen = {name: way.explain(twice, label=two) for name, way in ways.items()}
figure = it.grid(list(seen.values()), scale="image")
np.testing.assert_array_equal(*seen["rollout"].values)
figure

# %% [markdown]
# Rollout shows both digits, whichever was asked for. It says what reached the class token, not what it was good
# for, and must not be read as an explanation of one class. The others know the class by the gradient. None of
# the four can show what speaks against a class, because negative products are left out.
#
# ## Class activation maps
#
# The patches' tokens lie on a grid, so they can be drawn like the channels of a convolution. `hires_cam` multiplies
# them by their gradients, and sums over a token's numbers. If no layer is named, it takes the norm before the last
# attention, because behind it the score depends on the class token alone. Here is also the norm before the first
# attention:

# %%
cam = it.HiResCAMInterpreter(model)
layers = {"last attention": "blocks.1.norm1", "first attention": "blocks.0.norm1"}
cams = {
    f"before the {name}": cam.explain(twice, label=two, target_layer_name=layer)
    for name, layer in layers.items()
}
figure = it.grid(list(cams.values()), titles=list(cams), scale="image")
figure.set_size_inches(6.5, 4.2)
figure

# %% [markdown]
# Both maps depend on the class, and have signs. They cannot show pixels. And what a token holds after the first
# attention need not come from its own patch, because it has read from others.
#
# ## Layer-wise relevance propagation
#
# LRP divides the score among a layer's inputs, layer by layer, down to the pixels. Attention multiplies activations
# with each other, and the rules for convolutional networks say nothing about that. So their composite, which is the
# default, refuses:

# %%
lrp = it.LRPInterpreter(model)
try:
    lrp.explain(twice, label=two)
except it.UnsupportedModelError as error:
    print(error)

# %% [markdown]
# Three composites have rules for products, softmax and layer-norm. In `attn_lrp`, what attends and what is attended
# to share the relevance. In `cp_lrp` attention is a constant, and all goes to what is attended to. `attn_lrp_gamma`
# is the same with the γ rule in the layers, so that positive contributions count more.

# %%
composites = ("attn_lrp", "cp_lrp", "attn_lrp_gamma")
maps = {name: lrp.explain(twice, label=two, composite=name) for name in composites}
figure = it.grid(list(maps.values()), titles=list(maps), scale="image", style="signed")
figure.set_size_inches(8, 4.2)
figure

# %% [markdown]
# Relevance reaches single pixels, and has signs: most strokes of the other digit speak against the one that was
# asked for. Black pixels have none. Here they are zeros, and what is zero contributes nothing under these rules.
# So the maps cannot show that an empty place is evidence too.
#
# ### Layer by layer
#
# `relevance(layer=…)` is what arrives at the output of a layer. For a token it is summed over its numbers. From the
# score (left) to the pixels (right, on a scale of their own), for the first of the two digits:

# %%
names = {
    "blocks.1.add1": "after the last\nattention",
    "blocks.0": "after block 0",
    "blocks.0.add1": "after the first\nattention",
    "add": "before block 0",
    "patch_embed": "patches",
}
at = lrp.relevance(twice[:1], two[:1], layer=list(names), composite="attn_lrp")

figure, panels = plt.subplots(1, 6, figsize=(10, 2.3), layout="constrained")
for panel, (layer, name) in zip(panels, names.items(), strict=False):
    tokens = at[layer][0].sum(axis=1)
    panel.imshow(tokens[-16:].reshape(4, 4), "RdBu_r", vmin=-1.5, vmax=1.5)
    first_token = f"class token {tokens[0]:.2f}" if len(tokens) == 17 else "no class token"
    panel.set_title(f"{name}\n{first_token}", fontsize=9)
panels[5].imshow(maps["attn_lrp"].values[0, 0], "RdBu_r", vmin=-0.7, vmax=0.7)
panels[5].set_title("pixels\n", fontsize=9)
for panel in panels:
    panel.axis("off")
plt.show()

# %% [markdown]
# Here are the sums, averaged over all pictures and both of their digits:

# %%
many = np.concatenate([x, x])
label = both.T.ravel().tolist()
own, other = quarters.T.ravel(), quarters[:, ::-1].T.ravel()


def of_quarters(maps):
    """Sums over the quarters of maps [N, s, s]: of the digit asked for, the other, no digit."""
    half = maps.shape[1] // 2
    sums = maps.reshape(-1, 2, half, 2, half).sum(axis=(2, 4)).reshape(-1, 4)
    each = np.arange(len(sums))
    asked, not_asked = sums[each, own], sums[each, other]
    return np.stack([asked, not_asked, sums.sum(axis=1) - asked - not_asked])


at = lrp.relevance(many, label, layer=list(names), composite="attn_lrp")
rows = []
for layer, name in names.items():
    tokens = at[layer].sum(axis=2)
    class_token = tokens[:, 0].mean() if tokens.shape[1] == 17 else 0
    rows.append(
        [
            name.replace("\n", " "),
            class_token,
            *of_quarters(tokens[:, -16:].reshape(-1, 4, 4)).mean(axis=1),
        ]
    )
print(f"{'':25} class token  asked for   other  neither")
for row in rows:
    print("{:25} {:11.2f} {:10.2f} {:7.2f} {:8.2f}".format(*row))

# %% [markdown]
# After the last attention, all relevance is at the class token. Most of it is still there after the first
# attention, so this network's class token reads most of what it needs from the patches at once. A map of the
# tokens between the two attentions, such as `hires_cam` with its default layer, shows only the rest.
#
# ### What does not arrive
#
# `audit` is the account of the score. Constants keep what they contribute: biases, the positions that are added to
# the tokens, and the class token, which is the same for all pictures to begin with. Under `attn_lrp` a softmax
# keeps or adds some, too.

# %%
keepers = {
    "softmax": "softmax",
    "layer_norm": "layer-norms",
    "pos_embed": "positions",
    "concat": "class token",
}
accounts = {}
for name in composites:
    audit = lrp.audit(many, label, composite=name)
    kept = dict.fromkeys([*keepers.values(), "other layers"], 0.0)
    for seam in audit.seams:
        kept[keepers.get(seam.name, "other layers")] += (seam.bias + seam.stabilizer).mean()
    kept["pixels"] = audit.input.mean()
    np.testing.assert_allclose(sum(kept.values()), audit.start.mean(), rtol=1e-3)
    accounts[name] = kept

figure, panel = plt.subplots(figsize=(8, 2.8), layout="constrained")
for row, (name, kept) in enumerate(accounts.items()):
    bars = panel.bar(np.arange(len(kept)) + 0.3 * (row - 1), kept.values(), width=0.28, label=name)
    panel.bar_label(bars, fmt="%.2f", fontsize=7)
panel.axhline(0, color="black", linewidth=0.6)
panel.set_xticks(range(len(kept)), kept)
panel.set_ylabel("relevance, mean")
panel.legend(fontsize=8)
plt.show()
print(f"mean score {audit.start.mean():.2f}")

# %% [markdown]
# Under `cp_lrp` and `attn_lrp_gamma` nearly all of the score arrives at the pixels. Under `attn_lrp` less does,
# because the softmax of each layer keeps a part. A map cannot show what was kept, and its sum is not the score.
# Compare its pixels with each other.
#
# ### Through one head
#
# `through=` follows only the relevance that flows through a part of a layer. Layers of attention are counted from 0,
# so `{"attention:0": 2}` is head 2 of the first. This is what its four heads have contributed, on one scale:

# %%
heads = {
    f"head {head}": lrp.explain(
        twice, label=two, composite="attn_lrp", through={"attention:0": head}
    )
    for head in range(4)
}
together = lrp.explain(
    twice, label=two, composite="attn_lrp", through={"attention:0": [0, 1, 2, 3]}
)
total = sum(found.values for found in heads.values())
np.testing.assert_allclose(total, together.values, atol=1e-4 * abs(total).max())
figure = it.grid(list(heads.values()), titles=list(heads), scale="shared", style="signed")
figure.set_size_inches(9, 3.9)
figure

# %% [markdown]
# The heads differ in which strokes they pass on. The maps of all heads add up to what flows through this layer of
# attention, which the cell has checked.
#
# Does relevance say how much a head matters? `heads` gives the relevance that flows through each one, in all
# pictures. It is compared with what the score loses when the head's weights are all zero, which is an experiment and
# no matter of rules:

# %%
each = np.arange(len(many))
score = probe.logits(many)[each, label]
relevance = lrp.heads(many, label)
figure, panels = plt.subplots(2, 4, figsize=(9, 4), layout="constrained", sharex=True, sharey=True)
for layer, row in enumerate(panels):
    for head, panel in enumerate(row):
        edit = {f"blocks.{layer}.attn.attn_drop": with_weights(0, head)}
        lost = score - probe.logits(many, edit=edit)[each, label]
        panel.plot(relevance[layer][:, head], lost, ".", markersize=3, alpha=0.6)
        rho = spearmanr(relevance[layer][:, head], lost).statistic
        panel.set_title(f"layer {layer}, head {head}: {rho:.2f}", fontsize=9)
        assert rho > 0.5
figure.supxlabel("relevance through the head", fontsize=10)
figure.supylabel("score lost without it", fontsize=10)
plt.show()

# %% [markdown]
# Each dot is a picture and one of its digits. The rank correlations above the panels are high in all heads: where
# much relevance flows through a head, much is lost without it.
#
# ### Through one channel
#
# Channels of other layers are followed in the same way. A token that leaves the first block has 48 numbers. We take
# the one whose relevance is most particular to the first digit of the example, and look at the pictures in
# which the most relevance flows through it:

# %%
layer = "blocks.0"
of_channels = lrp.relevance(many, label, layer=layer, composite="attn_lrp").sum(axis=1)  # [N, 48]
asked = np.array(label) == two[0]
difference = of_channels[asked].mean(axis=0) - of_channels[~asked].mean(axis=0)
channel = int(difference.argmax())
print(
    f"channel {channel}: mean relevance {of_channels[asked, channel].mean():.2f} for {two[0]}, "
    f"{of_channels[~asked, channel].mean():.2f} for other digits"
)
most = of_channels[:, channel].argsort()[::-1][:6]
flows = lrp.explain(
    many[most],
    label=[label[i] for i in most],
    composite="attn_lrp",
    through={layer: channel},
)
figure, panels = plt.subplots(2, 6, figsize=(9, 3.4), layout="constrained")
for i, (above, below) in enumerate(panels.T):
    above.imshow(many[most[i], 0], "gray")
    above.set_title(f"asked for {label[most[i]]}", fontsize=9)
    limit = abs(flows.values[i]).max()
    below.imshow(flows.values[i, 0], "RdBu_r", vmin=-limit, vmax=limit)
    below.set_title(f"relevance {flows.diagnostics['relevance_through'][i]:.2f}", fontsize=9)
for panel in panels.ravel():
    panel.axis("off")
plt.show()

# %% [markdown]
# All of them are asked for the 2, and much of the relevance is where its stroke begins, at the upper left. This
# shows what the channel has seen in these pictures. That it is a detector of such strokes would need more: a look at
# pictures without a 2, or what [feature visualization](../docs/feature_visualization.md) makes of it.
#
# ## Which of them finds the digit?
#
# Two measures, on all pictures, each asked for both of its digits:
#
# - the share of the map, where it is positive, in the quarter of the digit that was asked for, in that of the
#   other digit, and in the two empty quarters;
# - deletion: patches are blackened, the most relevant first, and the probability of the digit is averaged over the
#   way from the whole picture to the black one. Lower is better.
#
# A random map, and the picture itself in place of a map, show what is reached without any explanation.

# %%
compared = {name: (way, {}) for name, way in ways.items()}
compared |= {
    "grad_cam": (it.GradCAMInterpreter(model), {}),
    "hires_cam": (cam, {}),
    "hires_cam, first attention": (cam, {"target_layer_name": "blocks.0.norm1"}),
    **{f"lrp, {name}": (lrp, {"composite": name}) for name in composites},
    "gradient times input": (it.SimpleTaylorInterpreter(model), {}),
}
found = {"random": rng.random(many[:, 0].shape), "the picture": many[:, 0]}
with warnings.catch_warnings():  # some maps are empty, which is counted below
    warnings.simplefilter("ignore", it.InterpretWarning)
    for name, (way, options) in compared.items():
        found[name] = way.explain(many, label=label, **options)

deletion = it.Deletion(model, fill="black", patch=4, steps=16)
rows = {}
for name, each in found.items():
    heat = each if isinstance(each, np.ndarray) else each.heatmap()
    parts = of_quarters(np.maximum(heat, 0))
    seen = parts.sum(axis=0) > 0
    share = (parts[:, seen] / parts[:, seen].sum(axis=0)).mean(axis=1).round(2) + 0.0  # no -0.00
    area = np.nanmean(deletion.measure(many, each, labels=label).values)
    rows[name] = [*share, area, (~seen).sum()]

print(f"{'':27} asked for   other   empty   deletion   maps without positive values")
for name, row in rows.items():
    print("{:27} {:9.2f} {:7.2f} {:7.2f} {:10.3f} {:10d}".format(name, *row))
assert rows["lrp, attn_lrp"][0] > 0.6 > rows["rollout"][0]
assert rows["lrp, attn_lrp"][3] < rows["the picture"][3] < rows["random"][3]

# %% [markdown]
# - **Rollout** has as much on one digit as on the other, and is not better than the picture itself.
# - **Attention with gradients** finds the digit. Following all layers helps here: `attention_gradient`, which
#   looks at the last layer alone, has less of its map on the digit.
# - **Class activation maps** depend on the layer. Before the first attention a token is still its patch. Later it has
#   read from others, and a map of tokens says where information is, not where it came from. `grad_cam` averages the
#   gradients over the patches, and is not better than the picture either.
# - **LRP** has the best deletion, and nothing on the empty quarters. The latter is no merit: black pixels are zeros
#   here, and have no relevance under these rules. Gradient times input has none there either, and finds the digit
#   hardly better than the picture does. So compare the column "asked for" with the row "the picture".
#
# All this is one small network, with two blocks and strokes on black. In deep networks, tokens hold parts of many
# patches, and the order of the methods may be different. Make such a table for a network of your own. Deletion can
# be measured even if it is not known where the object is.
#
# ## What to keep in mind
#
# - Attention says where a layer reads. It is not an explanation of a class.
# - Ask for a second class. A map that stays the same says nothing about either class.
# - The values of attention maps have no unit and no sign. Relevance has both, but not all of it arrives: read the
#   `audit`.
# - Name the layer with a class activation map, and the composite with LRP.
#
# A pretrained network is used in the same way. These lines download 23 MB of weights, and are not run here:
#
# ```python
# deit = it.lrp_model.deit_tiny_patch16_224(pretrained=True)
# it.GACVInterpreter(deit).explain("../assets/collage.png", label="espresso")
# ```
#
# One of your own is any `paddle.nn.Layer`, however its attention is written. Say how pictures become its input:
#
# ```python
# usual = it.Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))  # resizes and crops to 224 pixels
# it.LRPInterpreter(mine, preprocessing=usual).explain("picture.jpg", label=3, composite="attn_lrp")
# ```
#
# More on each: [attention](../docs/methods/families/attention.md), [class activation
# maps](../docs/methods/families/class_activation_maps.md#transformers), [relevance
# propagation](../docs/methods/families/relevance_propagation.md#transformers).
