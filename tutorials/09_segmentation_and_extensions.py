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
# # Segmentation, and extensions of your own
#
# The first half explains a network that classifies every pixel: which score is explained there,
# for which class, and in which region. The second half adds to the package without changing it: a
# target, a method, an LRP rule with its composite. Each is a few lines, and then works like the
# built-in ones.
#
# The segmentation network is trained here in a few seconds. Nothing is downloaded.

# %%
try:
    import interpretdl as it
except ModuleNotFoundError:
    # %pip install -q "..[demo]"
    import interpretdl as it

import matplotlib.pyplot as plt
import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn
from PIL import Image, ImageDraw

from interpretdl.registry import METHODS, register
from interpretdl.rules import Epsilon, Rule, lrp_composite, redirect, stabilize
from interpretdl.testing import check_interpreter

it.show_progress(False)  # no progress bars in a notebook that is kept with its outputs
plt.rcParams["figure.dpi"] = 80  # small figures

# %% [markdown]
# ## A small segmentation network
#
# Pictures of 64 × 64 pixels show one disc, one square and one triangle on a noisy ground. The
# network gives four scores for each pixel, so its output is [N, 4, 64, 64].

# %%
SIZE = 64
CLASSES = ("ground", "disc", "square", "triangle")


def scene(rng):
    """A picture uint8 [64, 64, 3], and the class of each pixel, int64 [64, 64]."""
    noise = rng.normal(0, 20, (SIZE, SIZE, 3))
    ground = np.clip(rng.integers(60, 180, 3) + noise, 0, 255).astype(np.uint8)
    picture, truth = Image.fromarray(ground), Image.new("L", (SIZE, SIZE))
    # one shape in each of three quarters
    for label, quarter in enumerate(rng.permutation(4)[:3], start=1):
        x, y = (
            32 * (quarter % 2) + rng.integers(14, 19),
            32 * (quarter // 2) + rng.integers(14, 19),
        )
        r = int(rng.integers(9, 13))
        for image, fill in ((picture, tuple(rng.integers(0, 256, 3).tolist())), (truth, label)):
            pen = ImageDraw.Draw(image)
            if CLASSES[label] == "disc":
                pen.ellipse((x - r, y - r, x + r, y + r), fill)
            elif CLASSES[label] == "square":
                pen.rectangle((x - r, y - r, x + r, y + r), fill)
            else:
                pen.polygon([(x - r, y + r), (x, y - r), (x + r, y + r)], fill)
    return np.array(picture), np.array(truth, np.int64)


rng = np.random.default_rng(0)
pictures, truths = (np.stack(part) for part in zip(*(scene(rng) for _ in range(320)), strict=True))

# %%
paddle.seed(0)
segmenter = nn.Sequential(
    ("conv1", nn.Conv2D(3, 16, 4, stride=2, padding=1)),
    ("relu1", nn.ReLU()),
    ("conv2", nn.Conv2D(16, 32, 4, stride=2, padding=1)),
    ("relu2", nn.ReLU()),
    ("conv3", nn.Conv2D(32, 32, 3, padding=1)),
    ("relu3", nn.ReLU()),
    ("conv4", nn.Conv2D(32, 32, 3, padding=1)),
    ("relu4", nn.ReLU()),
    ("classes", nn.Conv2D(32, len(CLASSES), 1)),
    ("enlarge", nn.Upsample(scale_factor=4, mode="bilinear", align_corners=False)),
)
segmenter.preprocessing = it.Preprocessing(resize=None, crop=None, mean=(0.5,) * 3, std=(0.5,) * 3)
segmenter.class_names = CLASSES

x = segmenter.preprocessing.normalize(pictures)
adam = paddle.optimizer.Adam(0.005, parameters=segmenter.parameters())
for _ in range(12):
    for rows in np.array_split(rng.permutation(256), 32):
        output = segmenter(paddle.to_tensor(x[rows]))
        loss = F.cross_entropy(output, paddle.to_tensor(truths[rows]), axis=1)
        loss.backward()
        adam.step()
        adam.clear_grad()

# %%
logits = it.Probe(segmenter).logits(x[256:])  # of the pictures that were not trained on
predicted = logits.argmax(axis=1)
print(f"right pixels: {(predicted == truths[256:]).mean():.3f}")
assert (predicted == truths[256:]).mean() > 0.9

figure, axes = plt.subplots(2, 5, figsize=(6, 2.6), layout="constrained")
for column, axis in enumerate(axes[0]):
    axis.imshow(pictures[256 + column])
    axes[1, column].imshow(predicted[column], cmap="viridis", vmin=0, vmax=3)
for axis, title in zip(axes[:, 0], ("pictures", "predicted classes"), strict=True):
    axis.set_title(title, loc="left", fontsize=9)
for axis in axes.flat:
    axis.set_axis_off()
plt.show()

# %% [markdown]
# ## The score that is explained
#
# A classifier has one score for each class. Here each of the $H W$ pixels has its own $f_c(x)_p$,
# and one number is needed. `it.SegmentationScore` is the mean over a region $\Omega$:
#
# $$S_{c,\Omega}(x) = \frac{1}{|\Omega|} \sum_{p \in \Omega} f_c(x)_p$$
#
# - `labels` is the class $c$, one or one for each picture.
# - `region` is $\Omega$, bool [H, W] or [N, H, W]. Without it, $\Omega$ is where the class is
#   predicted.
# - `of="contrast"` takes $f_c - \frac{1}{K-1}\sum_{k \ne c} f_k$ in place of $f_c$. Cross entropy
#   does not change when all scores of a pixel rise together, so a logit alone may say little.
#
# It is given as `label=`, and all methods that use gradients take it.

# %%
one, answer = pictures[256:257], predicted[0]
regions = np.stack([answer == label for label in (1, 2, 3)])
target = it.SegmentationScore([1, 2, 3], regions, of="contrast")

same = np.repeat(one, 3, axis=0)  # the same picture, explained for three classes
gradient = it.GradientInterpreter(segmenter).explain(same, label=target, times_input=True)

contrast = logits[0] - (logits[0].sum(axis=0) - logits[0]) / 3
by_hand = [contrast[label][answer == label].mean() for label in (1, 2, 3)]
np.testing.assert_allclose(gradient.scores, by_hand, rtol=1e-4)

# %% [markdown]
# Class activation maps work well here. With $A_k$ the channels of a layer,
#
# $$R = \mathrm{ReLU}\Big(\sum_k w_k A_k\Big), \qquad
# w_k = \frac{1}{hw}\sum_p \frac{\partial S}{\partial A_{k,p}}$$
#
# is Grad-CAM of the score $S$, which is known as Seg-Grad-CAM
# ([Vinogradova et al. 2020](https://arxiv.org/abs/2002.11434)). The average forgets *where* the
# gradient was, so the map also lights up outside of the region. HiResCAM multiplies before it adds,
#
# $$R = \sum_k \frac{\partial S}{\partial A_k} \cdot A_k$$
#
# and keeps every gradient in its place.
#
# Name the layer: the last one with a spatial output would be the classes' scores themselves.

# %%
layer = "relu4"
grad_cam = it.GradCAMInterpreter(segmenter).explain(same, layer, label=target)
hires_cam = it.HiResCAMInterpreter(segmenter).explain(same, layer, label=target)


def show(maps, rows):
    """One row for each class, one column for each method."""
    figure, axes = plt.subplots(
        len(rows), len(maps) + 1, figsize=(1.7 * len(maps) + 1.7, 1.8 * len(rows)),
        layout="constrained", squeeze=False,
    )  # fmt: skip
    for r, title in enumerate(rows):
        axes[r, 0].imshow(one[0])
        axes[r, 0].contour(regions[r], [0.5], colors="white", linewidths=1)
        axes[r, 0].set_title(title, fontsize=9)
        for axis, (name, found) in zip(axes[r, 1:], maps.items(), strict=True):
            heat = found.heatmap(signed=True)[r]
            limit = np.percentile(np.abs(heat), 99.5)
            axis.imshow(heat, cmap="RdBu_r", vmin=-limit, vmax=limit)
            axis.contour(regions[r], [0.5], colors="black", linewidths=0.7)
            axis.set_title(name, fontsize=9)
    for axis in axes.flat:
        axis.set_axis_off()
    plt.show()


show(
    {"grad_cam": grad_cam, "hires_cam": hires_cam, "gradient × input": gradient},
    [f"why is this the {name}?" for name in CLASSES[1:]],
)

# %% [markdown]
# The white outline is the region. Red speaks for the class in that region, blue against it. Is the
# relevance where the shape is? The share of the positive relevance in the region says it in a
# number:


# %%
def share_in_region(found):
    heat = np.maximum(found.heatmap(signed=True), 0)
    return (heat * regions).sum(axis=(1, 2)) / heat.sum(axis=(1, 2))


print(f"{'share of the pixels':>20}: {regions.mean(axis=(1, 2)).round(2)}")
for found in (grad_cam, hires_cam, gradient):
    print(f"{found.method:>20}: {share_in_region(found).round(2)}")
assert (share_in_region(hires_cam) > 2 * regions.mean(axis=(1, 2))).all()

# %% [markdown]
# ## A region of one pixel
#
# What decides about a single pixel? The network can only use what that pixel's *receptive field*
# covers. Nothing outside can matter, so the gradient there is exactly zero. Here an output pixel
# is interpolated from up to 2 × 2 scores, which see 6 × 6 positions of `relu2`. One of these sees
# 10 pixels, and its neighbour is 4 pixels further: no more than $10 + 5 \cdot 4 = 30$ pixels in
# each direction.

# %%
pixel = np.zeros((SIZE, SIZE), bool)
row, column = np.argwhere(answer == 2).mean(axis=0).astype(int)
pixel[row, column] = True
found = it.GradientInterpreter(segmenter).explain(one, label=it.SegmentationScore(2, pixel))
rows, columns = np.nonzero(found.heatmap()[0])
assert np.ptp(rows) < 30
assert np.ptp(columns) < 30

figure, axis = plt.subplots(figsize=(3, 3), layout="constrained")
axis.imshow(found.heatmap()[0], cmap="inferno")
axis.plot(column, row, "w+")
axis.contour(regions[1], [0.5], colors="white", linewidths=0.7)
axis.set_axis_off()
plt.show()

# %% [markdown]
# The cross is the pixel, and the line the predicted square. Regions answer other questions just as
# well: the pixels that are *wrong*, the seam between two objects, one of two objects of the same
# class.
#
# # A target of your own
#
# A target is any function from the model's output, a Tensor [N, …], to one score for each picture,
# a Tensor [N]. For example: what makes the default network prefer one class to another?
#
# $$S(x) = f_a(x) - f_b(x)$$

# %%
model = it.lrp_model.efficientnet_lite0(pretrained=True)
collage = "../assets/collage.png"
CAT, CUP = 282, 967  # tiger cat, espresso


def cat_rather_than_cup(output):
    return output[:, CAT] - output[:, CUP]


lrp = it.LRPInterpreter(model)
preference = lrp.explain(collage, label=cat_rather_than_cup, composite="epsilon_gamma_box")
preference.plot()

# %% [markdown]
# Red speaks for the cat, and blue for the cup. The gradient is linear in the score, so its map
# must be the difference of the two classes' maps. That is a test of the target:

# %%
gradients = it.GradientInterpreter(model)
difference = gradients.explain(collage, label=cat_rather_than_cup).values
cat, cup = (gradients.explain(collage, label=label).values for label in (CAT, CUP))
np.testing.assert_allclose(difference, cat - cup, atol=1e-4 * np.abs(difference).max())

# %% [markdown]
# A target that holds something *for each picture* is a class with `take`, because methods run
# pictures in parts, and some run one picture many times.


# %%
class Preference(it.Target):
    """The logit of one class less that of another, a pair for each picture."""

    def __init__(self, pairs):
        self.pairs = np.asarray(pairs)

    def take(self, indices):
        return Preference(self.pairs[indices])

    def __call__(self, output):
        chosen = paddle.take_along_axis(output, paddle.to_tensor(self.pairs), axis=1)
        return chosen[:, 0] - chosen[:, 1]


both = lrp.explain(
    [collage, collage], label=Preference([(CAT, CUP), (CUP, CAT)]), composite="epsilon_gamma_box"
)
print(both.scores)
assert np.isclose(both.scores[0], -both.scores[1], rtol=1e-4)

# %% [markdown]
# # A method of your own
#
# A method is a class with `attribute`. It gets the inputs and a target, asks `self.probe` for
# scores, activations or gradients, and gives an array back. Pictures, labels, class names, batches
# and figures are the base class's business.
#
# This one covers the picture with a grey square, place by place, and notes how far the score falls
# ([Zeiler, Fergus 2014](https://arxiv.org/abs/1311.2901)):
#
# $$R_{ij} = f(x) - f(x \text{ with square } (i, j) \text{ set to } 0)$$

# %%
METHODS.remove("grey_square")  # so that this cell can be run again


@register(
    "grey_square",
    layout="nhw",  # the values are [N, h, w]
    signed=True,  # values below zero speak against the class
    paper="Zeiler, Fergus: Visualizing and Understanding Convolutional Networks, 2014",
    url="https://arxiv.org/abs/1311.2901",
)
class GreySquareInterpreter(it.Interpreter):
    """Grey square: how far the score falls when a square of the picture is covered."""

    def attribute(self, x, target, *, places: int = 7):
        """The fall of the score for each place of the square.

        Args:
            places: how many there are, in a row and in a column.

        Returns:
            float [N, places, places].
        """
        n, _, height, width = x.shape
        before = self.probe.scores(x, target)
        falls = np.zeros((n, places, places), np.float32)
        for i, j in np.ndindex(places, places):
            rows = slice(i * height // places, (i + 1) * height // places)
            columns = slice(j * width // places, (j + 1) * width // places)
            covered = x.copy()
            covered[:, :, rows, columns] = 0
            falls[:, i, j] = before - self.probe.scores(covered, target)
        return falls


# %% [markdown]
# The keyword argument is an option, with its type and its line of documentation. With the target
# from above, the method explains the segmentation network at once:

# %%
grey = GreySquareInterpreter(segmenter).explain(same, label=target, places=16)
show({"hires_cam": hires_cam, "grey_square": grey}, [f"the {name}" for name in CLASSES[1:]])

# %% [markdown]
# `check_interpreter` holds a method to the contract that all built-in methods keep: a batch equals
# its single pictures, the model is left as it was, wrong options are refused with a message, and
# so on. It raises an error that says what is wrong, and is silent otherwise.

# %%
check_interpreter(GreySquareInterpreter, options={"places": 2})
print(GreySquareInterpreter.info.summary)

# %% [markdown]
# Everything that knows methods by name knows this one too, for example `it.explain_with`:

# %%
it.explain_with(["grad_cam", "grey_square"], model, collage, label="tiger cat")

# %% [markdown]
# # A rule of your own, and a composite
#
# LRP shares each neuron's relevance among its inputs, and a *rule* says in which proportion. This
# one takes the sizes of the contributions, whatever their sign:
#
# $$R_j = \sum_k \frac{|a_j|\,|w_{jk}|}{\sum_{j'} |a_{j'}|\,|w_{j'k}|}\, R_k$$
#
# A rule is called with a `site`: its input `site.x`, its output `site.y` (as a constant,
# `site.value`), and `site.linear`, the layer's map with weights changed by a function.
# `redirect(y, (z, ratio))` gives a tensor with the value of `y`, whose gradient $g$ goes to $z$ as
# $g \cdot \text{ratio}$. With $z_k = \sum_j |a_j|\,|w_{jk}|$ and $\text{ratio} = y / z$ that is
# the rule above.


# %%
class BySize(Rule):
    """R_j = Σ_k |a_j w_jk| / Σ_j |a_j w_jk| R_k: every contribution counts by its size."""

    def __call__(self, site):
        z = site.linear(site.x.abs(), lambda weight: weight.abs())
        return redirect(site.y, (z, site.value / stabilize(z.detach(), site.small)))


by_size = lrp_composite("by_size", layers={nn.Conv2D: BySize(), nn.Linear: BySize()})

# %% [markdown]
# The shares of each neuron sum to one and biases keep nothing, so the relevance of the pixels must
# sum to the score. The *audit* says the same layer by layer:

# %%
segmenter_lrp = it.LRPInterpreter(segmenter)
found = segmenter_lrp.explain(same, label=target, composite=by_size)
np.testing.assert_allclose(found.values.sum(axis=(1, 2, 3)), found.scores, rtol=1e-2)

print(segmenter_lrp.audit(one, label=it.SegmentationScore(2, of="contrast"), composite=by_size))

# %% [markdown]
# A composite says which rule works where: by the type of a layer, by its name (`names=`), or for
# the first and the last one (`first=`, `last=`). In the dense layer at the end the classes are
# told apart, and there the sign of a contribution is what counts: with the rule above, all
# channels speak for every class. With $\varepsilon$ in that layer the map is about the class.

# %%
mixed = lrp_composite("by_size_epsilon", layers={nn.Conv2D: BySize(), nn.Linear: Epsilon()})
composites = {"by_size": by_size, "by_size, ε at the end": mixed, "epsilon_plus": "epsilon_plus"}
maps = [lrp.explain(collage, label="espresso", composite=one) for one in composites.values()]
it.grid(maps, titles=list(composites), original=False)

# %% [markdown]
# # In a package of your own
#
# Nothing above changed interpretdl. To have your methods in every program and on the command line,
# put the file into a package, and name it in the package's setup.py:
#
# ```python
# entry_points={"interpretdl.methods": ["mine = my_package.a_method"]}
# ```
#
# Then `interpretdl methods` lists it and `interpretdl explain cat.png --method grey_square
# --option places=14` runs it. [CONTRIBUTING.md](../CONTRIBUTING.md) has these examples as whole
# files with their tests, and an evaluator of your own besides.
