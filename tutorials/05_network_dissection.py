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
# # Network Dissection: what single units detect
#
# A heatmap says *where* a network looked. Network Dissection ([Bau, Zhou et al.
# 2017](https://arxiv.org/abs/1704.05796)) asks *what* a unit (a channel of a layer) has come to
# detect. It compares where the unit is high with where a concept is, over a data set whose pixels
# are labelled:
#
# 1. A unit's activations over all positions of all pictures give its threshold $T_k$. A small
#    share of them is above it: $P(a_k > T_k) = 0.005$.
# 2. Enlarged to the picture's size, the activation map is cut at the threshold: the unit is *on*
#    where $M_k(x) = [\,\text{enlarged } a_k(x) > T_k\,]$.
# 3. With $L_c(x)$ the pixels of concept $c$, unit and concept are compared by intersection over
#    union:
#
# $$\mathrm{IoU}_{k,c} = \frac{\sum_x |M_k(x) \cap L_c(x)|}{\sum_x |M_k(x) \cup L_c(x)|}$$
#
# 4. The unit *detects* the concept with the largest IoU, if that is at least 0.04.
#
# This notebook dissects a small network of its own, computes an IoU by hand, and then dissects the
# default model. The data set is small (a few dozen pictures), so the numbers below are an
# illustration. For results that you want to cite, use Broden or a data set of your own with
# hundreds of pictures.

# %%
try:
    import interpretdl as it
except ModuleNotFoundError:
    # %pip install -q "..[demo]"
    import interpretdl as it

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn
from PIL import Image

from interpretdl.dissection import (
    Broden,
    ablate_units,
    dissect,
    explain_in_concepts,
    mini_broden,
    write_report,
)
from interpretdl.dissection.cutouts import surface

it.show_progress(False)  # no progress bars in a notebook that is kept with its outputs
out = Path(tempfile.mkdtemp())  # results and reports; take a folder of yours to keep them
plt.rcParams["figure.dpi"] = 80  # small figures

# %% [markdown]
# ## Pictures with labelled pixels
#
# `mini_broden` makes scenes from the photographs that come with scikit-image: objects with their
# parts, on surfaces with textures. It writes them in Broden's layout, which a data set of yours
# can have as well ([what it is](../docs/dissection.md)).

# %%
data = Broden(mini_broden(out / "mini", scenes=40))
print(len(data), "pictures,", len(data.labels), "concepts in", ", ".join(data.categories))


# %%
def masks_of(index):
    """{concept: where it is in a picture, bool [h, w]}"""
    concepts, masks = data.truth(index)
    return {data.labels[c]: mask for c, mask in zip(concepts, masks, strict=True)}


def has_eyes(index):
    return any(label.name == "eye" for label in masks_of(index))


index = next(filter(has_eyes, range(len(data))))
shown = [(label, mask) for label, mask in masks_of(index).items() if label.category != "scene"][:9]
figure, axes = plt.subplots(2, 5, figsize=(9, 4), layout="constrained")
for axis in axes.flat:
    axis.set_axis_off()
axes[0, 0].imshow(data.image(index))
for axis, (label, mask) in zip(axes.flat[1:], shown, strict=False):
    axis.imshow(mask, cmap="gray")
    axis.set_title(f"{label.name} ({label.category})", fontsize=9)
plt.show()

# %% [markdown]
# ## A small network
#
# It is trained on patches of surfaces: brick, grass, gravel, wood, sky, stripes, dots and
# chequers. Nobody tells it what a colour or an edge is.

# %%
SURFACES = ["brick", "grass", "gravel", "wood", "sky", "striped", "dotted", "chequered"]
preprocessing = it.Preprocessing(resize=None, crop=None, mean=(0.5,) * 3, std=(0.5,) * 3)


def patches(sheets, seed):
    """Inputs float32 [N, 3, 64, 64] cut from `sheets` of each surface, and their classes."""
    rng = np.random.default_rng(seed)
    pixels, classes = [], []
    for label, name in enumerate(SURFACES):
        for _ in range(sheets):
            sheet = surface(name, 224, rng)
            for top, left in rng.integers(0, 160, (4, 2)):
                pixels.append(sheet[top : top + 64, left : left + 64])
                classes.append(label)
    return preprocessing.normalize(np.stack(pixels)), np.array(classes)


def network(seed=0):
    paddle.seed(seed)
    made = nn.Sequential(
        ("conv1", nn.Conv2D(3, 16, 5, stride=2, padding=2)),
        ("relu1", nn.ReLU()),
        ("conv2", nn.Conv2D(16, 32, 5, stride=2, padding=2)),
        ("relu2", nn.ReLU()),
        ("conv3", nn.Conv2D(32, 64, 3, padding=1)),
        ("relu3", nn.ReLU()),
        ("pool", nn.AdaptiveAvgPool2D(1)),
        ("flatten", nn.Flatten()),
        ("dense", nn.Linear(64, len(SURFACES))),
    )
    made.preprocessing = preprocessing
    made.class_names = SURFACES
    return made


# %%
x, y = patches(sheets=20, seed=0)
small = network()
adam = paddle.optimizer.Adam(0.005, parameters=small.parameters())
rng = np.random.default_rng(0)
for _ in range(6):
    for rows in np.array_split(rng.permutation(len(x)), len(x) // 16):
        loss = F.cross_entropy(small(paddle.to_tensor(x[rows])), paddle.to_tensor(y[rows]))
        loss.backward()
        adam.step()
        adam.clear_grad()

new_x, new_y = patches(sheets=8, seed=1)
accuracy = (it.Probe(small).logits(new_x).argmax(axis=1) == new_y).mean()
print(f"accuracy on new patches: {accuracy:.2f}")
assert accuracy > 0.6  # one of eight would be 0.125

# %% [markdown]
# ## Dissect it
#
# One call, for a layer or for as many as you name. The same network with random weights is
# dissected for comparison.
#
# `share` is the share of activations above the threshold. The paper's 0.005 is meant for objects,
# which are small. Surfaces cover half of a picture, so here it is 0.02 (the reason follows below).

# %%
settings = {"share": 0.02, "report": False}  # a report comes later
trained = dissect(small, data, "relu3", out / "trained", **settings)["relu3"]
random = dissect(network(seed=1), data, "relu3", out / "random", **settings)["relu3"]

named = {"trained": trained, "random": random}
for name, layer in named.items():
    print(f"{name:>7}: {layer.headline()}")
textures = {name: layer.unique()["texture"] for name, layer in named.items()}
print(textures)
assert len(textures["trained"]) > len(textures["random"])

# %% [markdown]
# Not the number of detectors but the number of *unique concepts* tells a trained network from a
# random one: a random network has detectors too, many of the same few concepts, mostly colours.
# Which concepts they are, by category:

# %%
COLOURS = {
    "object": "tab:blue", "scene": "tab:green", "part": "tab:purple", "material": "tab:brown",
    "texture": "tab:orange", "color": "tab:red",
}  # fmt: skip


def chart(axis, layer):
    """Bars of the number of detectors of each concept, by category."""
    bars = [
        (concept, count, COLOURS[category])
        for category, concepts in layer.unique().items()
        for concept, count in concepts.items()
    ]
    names, counts, colours = zip(*bars, strict=True)
    axis.bar(range(len(bars)), counts, color=colours)
    axis.set_xticks(range(len(bars)), names, rotation=90, fontsize=8)
    axis.set_title(f"{layer.name}: {layer.headline()}", fontsize=8)


figure, axes = plt.subplots(1, 2, figsize=(9, 2.8), layout="constrained", sharey=True)
chart(axes[0], trained)
chart(axes[1], random)
axes[0].set_ylabel("detectors, trained")
axes[1].set_ylabel("detectors, random")
plt.show()

# %% [markdown]
# ## An IoU by hand
#
# The best detector of the layer, its threshold, and one of its pictures:

# %%
layer = trained
best = layer.detectors()[0]
print(f"unit {best.unit} detects {best.label} ({best.category}) with IoU {best.iou:.3f}")

inputs = preprocessing.normalize(np.stack([data.image(i) for i in range(len(data))]))
maps = it.Probe(small).activations(inputs, "relu3")["relu3"][:, best.unit]  # [N, h, w]
threshold = layer.thresholds[best.unit]
print(f"{(maps > threshold).mean():.3f} of the activations are above {threshold:.2f}")
assert abs((maps > threshold).mean() - 0.02) < 0.002


def enlarged(small_map, size):
    return np.asarray(Image.fromarray(small_map).resize(size[::-1], Image.Resampling.BILINEAR))


# %%
both = either = 0
for i in range(len(data)):
    masks = masks_of(i)
    if not any(label.category == best.category for label in masks):
        continue  # nothing of this category is labelled here, so this picture says nothing
    on = enlarged(maps[i], data.records[i].label_size) > threshold
    concept = masks.get(data.labels[best.index], np.zeros_like(on))
    both += (on & concept).sum()
    either += (on | concept).sum()

print(f"{both} / {either} = {both / either:.3f}")
np.testing.assert_allclose(both / either, best.iou, rtol=1e-3)


# %%
def overlap(unit, index):
    """A picture with the unit's activation, where it is on, the concept, and both."""
    concept = masks_of(index).get(data.labels[best.index])
    activation = enlarged(maps[index], concept.shape)
    on = activation > threshold
    painted = np.full((*on.shape, 3), 235, np.uint8)
    painted[on & ~concept] = (214, 39, 40)
    painted[~on & concept] = (31, 119, 180)
    painted[on & concept] = (44, 160, 44)
    figure, axes = plt.subplots(1, 5, figsize=(10, 2.3), layout="constrained")
    panels = (data.image(index), activation, on, concept, painted)
    titles = ("picture", f"activation of unit {unit}", "on: above T", f"{best.label}", "both")
    for axis, panel, title in zip(axes, panels, titles, strict=True):
        axis.imshow(panel, cmap="gray" if panel.dtype == bool else "viridis")
        axis.set_title(title, fontsize=9)
        axis.set_axis_off()
    plt.show()


strongest = next(i for i in layer.top_images[best.unit] if data.labels[best.index] in masks_of(i))
overlap(best.unit, strongest)

# %% [markdown]
# Green is the intersection; red, where the unit is on outside the concept; blue, where it misses
# the concept. IoU is green over all that is coloured, added up over all pictures.
#
# ## What a value of IoU means
#
# An IoU of 0.1 looks poor, and is not. The unit is on in a fixed share of the positions, whatever
# its concept. With $A$ pixels on and $G$ pixels of the concept, the largest value that IoU can
# have is
#
# $$\mathrm{IoU} = \frac{I}{A + G - I} \le \frac{\min(A, G)}{\max(A, G)}$$
#
# So a perfect detector of grass, which covers a tenth of all pixels, has IoU 0.05 at a share of
# 0.005, and 0.2 at 0.02. IoUs compare units for the same concept, and the same concept in other
# networks. They do not say that one concept is detected better than another.

# %%
category = layer.category_of
A, G = layer.activation[:, category], layer.truth  # [units, concepts], [concepts]
bound = np.minimum(A, G) / np.maximum(np.maximum(A, G), 1)
assert (layer.iou <= bound + 1e-9).all()

for found in layer.detectors()[:8]:
    limit = bound[found.unit, found.index]
    print(f"unit {found.unit:2d} {found.label:>10}: IoU {found.iou:.2f} of at most {limit:.2f}")

# %% [markdown]
# ## What the dark areas mean
#
# A unit is usually shown by the pictures with its largest activations. They are dark where the
# unit is off, $a_k \le T_k$, so what stays bright is all that the unit responds to. A row of
# different objects of which only the same kind of surface is bright is a detector of that surface.


# %%
def strip(layer, unit, count=6, side=80):
    """The unit's strongest pictures, dark where it is off."""
    pieces = []
    for index, small_map in zip(layer.top_images[unit], layer.top_maps[unit], strict=True):
        picture = np.asarray(Image.fromarray(data.image(index)).resize((side, side)))
        on = enlarged(small_map, (side, side)) > layer.thresholds[unit]
        pieces.append(np.where(on[..., None], picture, picture // 4))
    return np.concatenate(pieces[:count], axis=1)


def show_units(layer, found):
    figure, axes = plt.subplots(len(found), 1, figsize=(6, 1.25 * len(found)))
    for axis, unit in zip(np.atleast_1d(axes), found, strict=True):
        axis.imshow(strip(layer, unit.unit))
        axis.set_title(
            f"{layer.layer}, unit {unit.unit}: {unit.label}, IoU {unit.iou:.2f}",
            loc="left", fontsize=8, pad=2,
        )  # fmt: skip
        axis.set_axis_off()
    figure.tight_layout(pad=0.3)
    plt.show()


def one_of_each(layer, categories, count):
    """The best detector of each concept, strongest first."""
    found = {}
    for unit in layer.detectors():
        if unit.category in categories:
            found.setdefault(unit.label, unit)
    return list(found.values())[:count]


show_units(layer, one_of_each(layer, ("texture", "object", "material", "color"), 4))

# %% [markdown]
# ## The default model
#
# Now a network that has seen a million photographs, with the paper's share of 0.005: its first
# ReLU, one further in, and the output of its last block. `baseline=True` also dissects a random
# rotation of each layer's channels (more below).

# %%
model = it.lrp_model.efficientnet_lite0(pretrained=True)
layers = ["relu0", "blocks.10.relu1", "blocks.15"]
found = dissect(model, data, layers, out / "lite0", baseline=True, report=False)

figure, axes = plt.subplots(1, 3, figsize=(12, 2.8), layout="constrained")
for axis, name in zip(axes, layers, strict=True):
    chart(axis, found[name])
plt.show()
assert found["blocks.10.relu1"].concepts() > found["relu0"].concepts()

# %% [markdown]
# Blue bars are objects, purple ones parts, brown materials, orange textures, red colours. The
# first layer detects colours and simple patterns; objects and their parts come later.

# %%
deep = found["blocks.10.relu1"]
show_units(deep, one_of_each(deep, ("object", "part"), 4))

# %% [markdown]
# ## Units of a concept
#
# Which units detect a concept, and which concepts a unit comes close to:

# %%
print("cat:", deep.units_of("cat"))
print("eye:", deep.units_of("eye"))

unit = deep.units_of("cat")[0]
for c in np.argsort(-deep.iou[unit])[:4]:
    print(f"unit {unit}: {deep.labels[c].name}, IoU {deep.iou[unit, c]:.3f}")

# %% [markdown]
# Cats have eyes and fur, so a unit that responds to cats has some IoU with all three. The name
# that a unit gets is the best of those that the data set offers. A unit for whiskers is called
# something else here, because nobody labelled whiskers.
#
# ## Is it the unit, or the layer?
#
# If single channels meant nothing, a random rotation of the layer's channels would have as many
# detectors.

# %%
for name in layers:
    rotated = found[f"{name}-rotated"]
    print(f"{name:>15}: {found[name].concepts():2d} concepts, rotated {rotated.concepts():2d}")
assert deep.concepts() > found["blocks.10.relu1-rotated"].concepts()

# %% [markdown]
# A ReLU acts on each channel by itself, and that makes the channels special: deep in the network,
# a rotation mixes what they had told apart. The output of a block is linear, so nothing singles
# out its channels, and a rotation of `blocks.15` detects about as much. There the *layer* knows
# the concept, and the unit is only one view of it.
#
# ## The report
#
# `dissect` writes a table for each layer, and by default an HTML file with the headlines, the
# charts and a card for each unit. With a card for each of more than a thousand units that would be
# a large file, so here it is written for the last layer alone.

# %%
print(*sorted(path.name for path in found.files.values()), sep="\n")
report = out / "report.html"
write_report(report, [found["blocks.15"], found["blocks.15-rotated"]], data)
print(report.name, f"{report.stat().st_size / 1e6:.1f} MB")
assert "</html>" in report.read_text(encoding="utf-8")

# %% [markdown]
# Open it with `webbrowser.open(report.as_uri())`. It can be sorted and filtered, and needs no
# network. From the shell, `interpretdl dissect FOLDER --layer blocks.15 --out dissection` makes
# the same.
#
# ## From units to an answer
#
# What do the units contribute to one answer? LRP shares the score of a class among the units of
# the layer, and each unit passes its share on to the concept that it detects.

# %%
picture = "../assets/chelsea.png"
shares = explain_in_concepts(model, picture, deep, label="tiger cat")[0]
print(shares)
assert np.isclose(sum(share.share for share in shares.shares), 1)

# %% [markdown]
# The units that detect nothing in the data set come last. The scenes of the data set show this
# very cat, so here the concepts fit unusually well.
#
# Relevance divides a score. What a unit *causes* is another question: set it to zero, and see how
# far the score falls ([Bau et al. 2020](https://arxiv.org/abs/2009.05041)). A point for each unit
# of the last block:

# %%
last = found["blocks.15"]
ablation = ablate_units(model, picture, label="tiger cat", layer=last.layer)
cat = [label.name for label in last.labels].index("cat")

figure, axis = plt.subplots(figsize=(4.5, 3), layout="constrained")
axis.scatter(last.iou[:, cat], ablation.mean(), s=8)
axis.set_xlabel("IoU of the unit with cat")
axis.set_ylabel("fall of the logit without it")
plt.show()

concept_of = {unit.unit: unit.label for unit in last.detectors()}
for unit, drop in ablation.most_important(5):
    print(f"without unit {unit:3d} ({concept_of.get(unit, 'no concept')}): {drop:+.2f}")

# %% [markdown]
# Detecting is not deciding. A unit may follow a concept closely and be of no consequence for the
# class, and units that matter may detect something else, or nothing that is labelled. Single units
# are a choice, too: a concept can be spread over many, none of which detects it. Network
# Dissection does not see that.
