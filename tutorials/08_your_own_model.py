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
# # Your own model, and the shortcut that it took
#
# A network that scores well on its test set may still have learned the wrong thing. A famous case
# is a classifier that recognized horses by the photographer's name in the corner of the pictures
# ([Lapuschkin et al. 2019](https://arxiv.org/abs/1902.10178)). Every horse in the test set had
# that name too, so the accuracy said nothing.
#
# This notebook trains a network on a folder of pictures, in which such a shortcut is planted. Then
# it
#
# 1. explains the network's answers, and sees the shortcut;
# 2. measures it, instead of trusting the eye;
# 3. checks it by an experiment on the pictures;
# 4. removes it from the data, trains again, and explains again.
#
# Everything here works in the same way for your own pictures and your own `paddle.nn.Layer`.
# Nothing is downloaded, and the whole notebook takes less than a minute on a laptop.

# %%
try:
    import interpretdl as it
except ModuleNotFoundError:
    # %pip install -q "..[demo]"
    import interpretdl as it

import tempfile
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import paddle
from paddle import nn
from paddle.vision.datasets import DatasetFolder
from PIL import Image, ImageDraw

# Paddle's own training loop copies its tensors in a way that Paddle advises against
warnings.filterwarnings("ignore", "To copy construct from a tensor", module="paddle")
it.show_progress(False)  # no progress bars in a notebook that is kept with its outputs

# %% [markdown]
# ## A folder of pictures
#
# Two classes, houses and trees, drawn at random places in random colours, 64 × 64 pixels. A *mark*
# is a small yellow tag in the upper left corner.

# %%
SIZE = 64
MARK = (slice(3, 11), slice(3, 11))  # rows and columns


def draw(kind, rng):
    """A picture uint8 [64, 64, 3], and where its object is, bool [64, 64]."""
    top, bottom = rng.integers(30, 120, (2, 3))
    colour = rng.integers(130, 220, 3)
    sky = top + (bottom - top) * np.linspace(0, 1, SIZE)[:, None, None]
    noise = rng.normal(0, 5, (SIZE, SIZE, 3))
    pixels = np.clip(sky + noise, 0, 210).astype(np.uint8)
    x, y = rng.integers(28, 43, 2)
    r = int(rng.integers(10, 15))
    picture, mask = Image.fromarray(pixels), Image.new("L", (SIZE, SIZE))
    for image, fill in ((picture, tuple(colour.tolist())), (mask, 255)):
        pen = ImageDraw.Draw(image)
        if kind == "house":
            pen.rectangle((x - r, y, x + r, y + r), fill)
            pen.polygon([(x - r - 3, y), (x, y - r), (x + r + 3, y)], fill)
            if image is picture:
                pen.rectangle((x - 3, y + r // 2, x + 3, y + r), tuple(bottom.tolist()))  # a door
        else:
            pen.rectangle((x - r // 4, y, x + r // 4, y + r), fill)
            pen.ellipse((x - r, y - r, x + r, y + r // 2), fill)
    return np.array(picture), np.array(mask) > 0


def add_mark(pixels):
    pixels[MARK] = (250, 220, 0)
    pixels[5:9, 5:9] = (170, 0, 90)


# %% [markdown]
# `write` fills a folder with one subfolder for each class. A rule says which pictures get the
# mark.
#
# - **train**: the marks are on all houses, and on no tree. This is the planted shortcut.
# - **test**: collected in the same way, so the houses are marked here too.
# - **clean**: the same test pictures without marks.
# - **swapped**: the same test pictures, with the mark on the trees instead.

# %%
ROOT = Path(tempfile.mkdtemp())
CLASSES = ["house", "tree"]


def write(name, count, seed, marked):
    """Write `count` pictures of each class; gives the objects' masks by file."""
    masks = {}
    for kind in CLASSES:
        rng = np.random.default_rng([seed, CLASSES.index(kind)])
        coin = np.random.default_rng(seed)  # of its own, so that the pictures stay the same
        folder = ROOT / name / kind
        folder.mkdir(parents=True)
        for i in range(count):
            pixels, mask = draw(kind, rng)
            if marked(kind, coin):
                add_mark(pixels)
            file = folder / f"{i:03d}.png"
            Image.fromarray(pixels).save(file)
            masks[file] = mask
    return masks


write("train", 128, seed=0, marked=lambda kind, coin: kind == "house")
write("clean", 32, seed=1, marked=lambda kind, coin: False)
write("swapped", 32, seed=1, marked=lambda kind, coin: kind == "tree")
masks = write("test", 32, seed=1, marked=lambda kind, coin: kind == "house")

# %%
figure, axes = plt.subplots(2, 6, figsize=(7, 2.7), layout="constrained")
for row, kind in zip(axes, CLASSES, strict=True):
    for axis, file in zip(row, sorted((ROOT / "train" / kind).iterdir())[:6], strict=True):
        axis.imshow(Image.open(file))
        axis.set_axis_off()
    row[0].set_title(kind, loc="left")
plt.show()

# %% [markdown]
# ## Train with `paddle.Model`
#
# `it.Preprocessing` says how pictures become inputs:
#
# $$x = \frac{\text{pixel} / 255 - \text{mean}}{\text{std}}$$
#
# The training uses it too, so network and explanation are sure to see the same numbers. Your
# pictures are probably larger, and need a size, such as `Preprocessing(resize=256, crop=224)`. Then
# take, for example, `paddle.vision.models.resnet18(num_classes=2)` as the network.

# %%
preprocessing = it.Preprocessing(resize=None, crop=None, mean=(0.5,) * 3, std=(0.5,) * 3)


def pictures(name):
    return DatasetFolder(
        str(ROOT / name),
        transform=lambda picture: preprocessing.normalize(np.asarray(picture)[None])[0],
    )


def network():
    return nn.Sequential(
        ("conv1", nn.Conv2D(3, 16, 4, stride=2, padding=1)),
        ("relu1", nn.ReLU()),
        ("conv2", nn.Conv2D(16, 32, 4, stride=2, padding=1)),
        ("relu2", nn.ReLU()),
        ("conv3", nn.Conv2D(32, 32, 4, stride=2, padding=1)),
        ("relu3", nn.ReLU()),
        ("conv4", nn.Conv2D(32, 32, 3, padding=1)),
        ("relu4", nn.ReLU()),
        ("pool", nn.AdaptiveAvgPool2D(1)),
        ("flatten", nn.Flatten()),
        ("dense", nn.Linear(32, len(CLASSES))),
    )


# %%
def train(name, epochs=12):
    paddle.seed(0)
    np.random.seed(0)  # noqa: NPY002  # Paddle shuffles with NumPy's global generator
    model = paddle.Model(network())
    adam = paddle.optimizer.Adam(0.004, parameters=model.parameters())
    model.prepare(adam, nn.CrossEntropyLoss(), paddle.metric.Accuracy())
    model.fit(pictures(name), batch_size=32, epochs=epochs, verbose=0)
    return model


def accuracy(model, name):
    return model.evaluate(pictures(name), batch_size=64, verbose=0)["acc"]


model = train("train")
print(f"accuracy on the test set: {accuracy(model, 'test'):.2f}")
assert accuracy(model, "test") > 0.95

# %% [markdown]
# By its test accuracy, the network is as good as it can be.
#
# ## Explain it
#
# An interpreter takes the `paddle.Model` (or the `paddle.nn.Layer`) as it is. Give it the
# preprocessing and the names of the classes. They may as well be attributes of the network,
# `network.preprocessing` and `network.class_names`; then nothing needs to be given.

# %%
own = {"preprocessing": preprocessing, "class_names": CLASSES}
lrp = it.LRPInterpreter(model, **own)

houses = sorted((ROOT / "test" / "house").iterdir())
found = lrp.explain(houses[:4], label="house")
found.plot()

# %% [markdown]
# The hottest place of every map is the mark. A look at another method is always worth it, because
# each has artefacts of its own. Grad-CAM knows nothing of LRP's rules, and says the same, only
# coarser:

# %%
grad_cam = it.GradCAMInterpreter(model, **own)
grad_cam.explain(houses[:4], "relu4", label="house").plot()

# %% [markdown]
# ## Measure it
#
# Four pictures may not be typical. With $R$ the map, $R^+ = \max(R, 0)$ and $M$ the pixels of
# the mark,
#
# $$s_M = \frac{\sum_{p \in M} R^+_p}{\sum_p R^+_p}$$
#
# is the share of the relevance on the mark. A map that knows nothing has $s_M = |M| / (H W)$. The
# drawn objects are known here, so there is the same share for the object. For your own pictures a
# few masks drawn by hand will do.

# %%
mark = np.zeros((SIZE, SIZE), bool)
mark[MARK] = True
objects = np.stack([masks[file] for file in houses])


def share(explanation, where):
    """Mean share of the relevance that lies in bool [H, W] or [N, H, W]."""
    heat = np.maximum(explanation.heatmap(signed=True), 0)
    return float(((heat * where).sum((1, 2)) / heat.sum((1, 2))).mean())


def report(model):
    """{method: share on the mark, share on the object}, over all marked houses of the test set."""
    maps = {
        "lrp": it.LRPInterpreter(model, **own).explain(houses, label="house"),
        "grad_cam": it.GradCAMInterpreter(model, **own).explain(houses, "relu4", label="house"),
    }
    shares = {name: (share(one, mark), share(one, objects)) for name, one in maps.items()}
    for name, (on_mark, on_object) in shares.items():
        print(f"{name:>20}: {on_mark:6.1%} on the mark, {on_object:6.1%} on the house")
    return shares


before = report(model)
print(f"{'share of the pixels':>20}: {mark.mean():6.1%}               {objects.mean():6.1%}")
assert all(on_mark > 3 * mark.mean() for on_mark, _ in before.values())

# %% [markdown]
# ## Check it by an experiment
#
# A map is a hint, and says nothing of what would happen. The pictures can say that: what does the
# network answer when the mark moves to the other class, and nothing else changes?

# %%
TESTS = ["test", "clean", "swapped"]


def experiment(model):
    found = {name: accuracy(model, name) for name in TESTS}
    print("  ".join(f"{name}: {value:.2f}" for name, value in found.items()))
    return found


shortcut = experiment(model)
assert shortcut["swapped"] < 0.5 < shortcut["test"]

# %% [markdown]
# On the swapped test set the network is worse than a coin, and without marks it calls nearly
# everything a tree. It has learned "a mark means a house", and hardly anything else.
#
# Could the maps of the other class have shown it? Three pictures: a tree, a house without its
# mark, and a tree with a mark.

# %%
three = [ROOT / "test/tree/000.png", ROOT / "clean/house/000.png", ROOT / "swapped/tree/000.png"]
found_three = lrp.explain(three)
assert found_three.label_names == ("tree", "tree", "house")
found_three.plot()

# %% [markdown]
# The first map lies on the tree, and looks just right. The second looks as good, and the answer is
# wrong. What the network really uses there is the *absence* of the mark, and there is no pixel at
# which something absent could light up; the relevance goes to whatever else is bright. So a
# convincing map is no proof. Look at all classes before you trust a network, and do the
# experiment.

# %% [markdown]
# ## Fix it
#
# There are two ways. The mark can be removed from the training pictures, which needs somebody to
# find it in each. Or it can be made useless: put on pictures of *all* classes at random, it no
# longer tells anything about the class. That is a line of code, and here it is the rule of the new
# folder. The pictures themselves are the same.

# %%
write("train_random", 128, seed=0, marked=lambda kind, coin: coin.random() < 0.5)
fixed = train("train_random")

repaired = experiment(fixed)
assert min(repaired.values()) > 0.8

# %% [markdown]
# The same network and the same training, and now the three test sets agree: the mark makes no
# difference. And the maps?

# %%
after = report(fixed)
for method in before:
    assert after[method][0] < before[method][0] / 2  # less on the mark
    assert after[method][1] > before[method][1]  # more on the house

# %%
again = it.LRPInterpreter(fixed, **own).explain(houses[:4], label="house")
it.grid([found[:3], again[:3]], titles=["with the shortcut", "after the fix"])

# %% [markdown]
# The same pictures, the same method, and the mark is still there. The relevance has moved to the
# house.
#
# ## For your own model
#
# - List what the network should not use: tags, borders, rulers, the sky behind aeroplanes. Then
#   measure the share of the relevance on it. One number for each class is enough to find an
#   outlier.
# - Do the experiment. Only a changed picture shows what the network depends on.
# - Explain several classes, several pictures and at least two methods. `it.explain_with` does the
#   latter in one call, `interpretdl compare picture.png` on the command line.
# - From the shell, `--model my_package.my_module:my_network` names a function that returns the
#   network with its weights, `preprocessing` and `class_names`:
#   `interpretdl explain photographs/ --model my_module:my_network --method lrp --save maps/`.
