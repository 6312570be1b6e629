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
# # Gradient attribution
#
# How does a class's score change when a pixel changes? The gradient of the score with respect to the
# picture answers this for all pixels at once, at the price of one backward pass. It is the simplest
# map with the resolution of the picture, and a noisy one. This notebook takes it apart, and then
# three methods that want to improve it:
#
# | method | what it changes |
# |---|---|
# | guided backpropagation | how a ReLU passes the gradient on |
# | deconvolution (Zeiler and Fergus) | how a ReLU passes the gradient on |
# | integrated gradients | takes the mean gradient on a path instead of the gradient at its end |
#
# The next cell installs the package from this clone where it is missing, for example in AI Studio.

# %%
try:
    import interpretdl as it
except ModuleNotFoundError:
    # %pip install -q "..[demo]"
    import interpretdl as it

import io

import matplotlib.pyplot as plt
import numpy as np
import paddle
import paddle.nn.functional as F
from IPython.display import Image, display
from paddle import nn
from paddle.autograd import PyLayer

it.show_progress(False)  # no progress bars in the saved notebook

# %% [markdown]
# Two helpers draw maps in a row: grey, or red and blue where a map has two signs.


# %%
def show(figure):
    """Show a figure as JPEG, which is much smaller than PNG for noise and photographs."""
    plt.close(figure)
    data = io.BytesIO()
    figure.savefig(data, format="jpeg", dpi=100, bbox_inches="tight", pil_kwargs={"quality": 88})
    display(Image(data.getvalue()))


def side_by_side(maps, width=2.1):
    """Draw maps [H, W], or pictures [H, W, 3], with their titles."""
    size = (width * len(maps), width + 0.3)
    figure, panels = plt.subplots(1, len(maps), figsize=size, layout="constrained")
    for panel, (title, values) in zip(panels, maps.items(), strict=True):
        signed = values.ndim == 2 and values.min() < 0
        limit = np.percentile(abs(values), 99.5)
        scale = {"cmap": "RdBu_r" if signed else "gray_r", "vmin": -limit * signed, "vmax": limit}
        panel.imshow(values, **(scale if values.ndim == 2 else {}))
        panel.set_title(title, fontsize=9)
        panel.set_axis_off()
    show(figure)


# %% [markdown]
# ## The picture and the prediction

# %%
picture = "../assets/chelsea.png"
model = it.lrp_model.efficientnet_lite0(pretrained=True)
gradient = it.GradientInterpreter(model)

found = gradient.explain(picture)
names = [name for _, name, _ in found.top(2)[0]]
for index, name, probability in found.top(5)[0]:
    print(f"{probability:.3f}  {name} ({index})")

# %% [markdown]
# ## The gradient
#
# With $f_c(x)$ the logit of class $c$, the map is
#
# $$R = \frac{\partial f_c}{\partial x}$$
#
# with a value for each pixel and each colour channel. To draw it, the channels must become one
# number. There are three usual ways, and they show different things:
#
# - **signed**, the sum over the channels: red where a brighter pixel raises the score, blue where it
#   lowers it;
# - **absolute**, the sum of the absolute values: where the score reacts at all;
# - **positive parts only**: where a brighter pixel raises it. This one drops half of the answer; a
#   darker pixel may speak for a class as well as a brighter one.

# %%
values = found.values[0]  # [3, 224, 224]
side_by_side(
    {
        f"{names[0]}": found.images[0],
        "signed": values.sum(axis=0),
        "absolute": abs(values).sum(axis=0),
        "positive parts": np.maximum(values, 0).sum(axis=0),
    }
)

# %% [markdown]
# The eyes and the nose stand out, in a lot of noise. In the signed map the sign changes from one pixel
# to the next, because trained networks are not smooth on the scale of single pixels. So look at the
# broad areas, not at single dots. Close up, around the left eye:

# %%
rows, columns = slice(50, 120), slice(30, 100)
side_by_side(
    {
        "picture": found.images[0][rows, columns],
        "signed": values.sum(axis=0)[rows, columns],
        "absolute": abs(values).sum(axis=0)[rows, columns],
        "positive parts": np.maximum(values, 0).sum(axis=0)[rows, columns],
    }
)

# %% [markdown]
# Laid over the picture, as `explain` draws it by default. An overlay needs strong colours to be seen
# at all, which hides weak values; the grey maps above show more.

# %%
show(found.plot())

# %% [markdown]
# ## Logit, probability or loss?
#
# The network's last step turns the logits $z$ into probabilities $p = \mathrm{softmax}(z)$. Which of
# them should be differentiated? With $\ell_c = -\log p_c$, the loss,
#
# $$\frac{\partial p_c}{\partial x} = p_c \Big(\frac{\partial z_c}{\partial x}
#   - \sum_k p_k \frac{\partial z_k}{\partial x}\Big), \qquad
#   \frac{\partial \ell_c}{\partial x} = -\frac{1}{p_c}\,\frac{\partial p_c}{\partial x}$$
#
# - The **logit** asks what speaks for this class, whatever it does to the others.
# - The **probability** asks what speaks for this class *rather than the others*. What raises all
#   plausible classes alike cancels. Its factor $p_c$ lets the map vanish for improbable classes.
# - The **loss** gives the same map as the probability, up to a factor.
#
# `gradient_of=` chooses. Both formulas can be checked; the mean gradient $\sum_k p_k \partial z_k$ is
# the gradient of a target of our own, a function of the network's output:


# %%
def mean_logit(output):
    """The mean of the logits, weighted by the probabilities, which are held constant."""
    return (F.softmax(output, axis=1).detach() * output).sum(axis=1)


kinds = ("logit", "probability", "loss")
of = {kind: gradient.explain(picture, label=names[0], gradient_of=kind).values for kind in kinds}
mean = gradient.explain(picture, label=mean_logit).values
p = found.probability(0)

expected = p * (of["logit"] - mean)
tolerance = 1e-3 * abs(expected).max()
np.testing.assert_allclose(of["probability"], expected, atol=tolerance)
np.testing.assert_allclose(of["loss"], -of["probability"] / p, atol=tolerance / p)

side_by_side({kind: abs(of[kind][0]).sum(axis=0) for kind in ("logit", "probability")})

# %% [markdown]
# For the logit the nose counts most, for the probability the left eye.
#
# ## Why this class and not the other?
#
# The two likeliest classes are two kinds of cat. Their maps look alike, since most of what speaks for
# one speaks for the other. To ask for the difference, explain the difference of the two logits:

# %%
first, second = (index for index, _, _ in found.top(2)[0])


def difference(output):
    return output[:, first] - output[:, second]


other = gradient.explain(picture, label=second).values
rather = gradient.explain(picture, label=difference).values
side_by_side(
    {
        names[0]: abs(values).sum(axis=0),
        names[1]: abs(other[0]).sum(axis=0),
        "the first, not the second": abs(rather[0]).sum(axis=0),
    }
)

# a gradient is linear in what is differentiated
np.testing.assert_allclose(rather, found.values - other, atol=1e-3 * abs(rather).max())

# %% [markdown]
# The eye is what the network tells the two cats apart by. The probability's map had shown it too,
# because the probability weighs a class against the others.
#
# ## Exchanging the ReLU
#
# On the way back, a ReLU with input $x$ gets a gradient $g$ from above and passes something on. The
# three methods differ in nothing else:
#
# | method | what is passed on |
# |---|---|
# | gradient | $g \cdot [x > 0]$ |
# | Zeiler-Fergus (deconvnet) | $g \cdot [g > 0]$ |
# | guided backpropagation | $g \cdot [x > 0] \cdot [g > 0]$ |
#
# In Paddle, a function with a backward pass of one's own is a `PyLayer`:


# %%
class DeconvReLU(PyLayer):
    @staticmethod
    def forward(ctx, x):
        return F.relu(x)

    @staticmethod
    def backward(ctx, g):
        return F.relu(g)


class GuidedReLU(PyLayer):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return F.relu(x)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensor()
        return F.relu(g) * (x > 0).astype(g.dtype)


x = paddle.to_tensor([1.0, 1.0, -1.0, -1.0], stop_gradient=False)
g = paddle.to_tensor([0.5, -0.5, 0.5, -0.5])
print("x             ", x.tolist())
print("g             ", g.tolist())
relus = {"gradient": F.relu, "Zeiler-Fergus": DeconvReLU.apply, "guided": GuidedReLU.apply}
for name, relu in relus.items():
    print(f"{name:14}", (paddle.grad(relu(x), x, g)[0] + 0).tolist())

# %% [markdown]
# Now a small network with its ReLUs exchanged, by hand. Its weights are random: this is about the
# mechanics.

# %%
paddle.seed(0)
network = nn.Sequential(
    nn.Conv2D(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2D(8, 8, 3, padding=1), nn.ReLU(),
    nn.AdaptiveAvgPool2D(2), nn.Flatten(), nn.Linear(32, 5),
)  # fmt: skip
network.eval()


class Exchanged(nn.Layer):
    def __init__(self, relu):
        super().__init__()
        self.relu = relu

    def forward(self, x):
        return self.relu.apply(x)


def by_hand(network, relu, images, label):
    layers = [Exchanged(relu) if isinstance(layer, nn.ReLU) else layer for layer in network]
    x = paddle.to_tensor(images, stop_gradient=False)
    score = nn.Sequential(*layers)(x)[:, label].sum()
    return paddle.grad(score, x)[0].numpy()


# %% [markdown]
# The library exchanges the ReLUs of any network, in one forward and one backward pass, and leaves
# your model as it is. It gives the same:

# %%
images = np.random.default_rng(0).normal(size=(2, 3, 16, 16)).astype("float32")
guided, deconvnet = it.GuidedBPInterpreter, it.DeconvnetInterpreter

for method, relu in [(guided, GuidedReLU), (deconvnet, DeconvReLU)]:
    ours = method(network).explain(images, label=3).values
    theirs = by_hand(network, relu, images, label=3)
    print(f"{method.info.name:10} largest difference {abs(ours - theirs).max():.1e}")
    np.testing.assert_allclose(ours, theirs, atol=1e-6)

# %% [markdown]
# ## Guided backpropagation and Zeiler-Fergus on the photograph
#
# The default network has ReLU6 in place of ReLU. Guided backpropagation passes on what lies between
# the two kinks, $[0 < x < 6] \cdot [g > 0]$.

# %%
guided_map = guided(model).explain(picture).values[0]
deconv_map = deconvnet(model).explain(picture).values[0]
side_by_side(
    {
        "gradient": abs(values).sum(axis=0),
        "guided": abs(guided_map).sum(axis=0),
        "guided, positive parts": np.maximum(guided_map, 0).sum(axis=0),
        "Zeiler-Fergus": abs(deconv_map).sum(axis=0),
    }
)

# %% [markdown]
# The guided map is sharp and looks convincing: the pupils, the nose. The Zeiler-Fergus map shows a
# grid. It was made for networks with max-pooling, whose switches lead the signal back to the right
# places. This network has none; it halves its maps by convolutions with a stride, and the grid is
# theirs.
#
# Is the sharp map a better explanation? Ask for two classes on one picture. On the left of the
# collage is a cat, on the right an espresso:

# %%
collage = "../assets/collage.png"
two = {"inputs": [collage] * 2, "label": ["espresso", "tiger cat"]}
plain_maps, guided_maps = gradient.explain(**two), guided(model).explain(**two)
heat = {maps.method: maps.heatmap() for maps in (plain_maps, guided_maps)}
side_by_side(
    {
        "collage": plain_maps.images[0],
        "gradient: espresso": heat["gradient"][0],
        "tiger cat": heat["gradient"][1],
        "guided: espresso": heat["guided_bp"][0],
        "tiger cat ": heat["guided_bp"][1],
    },
    width=1.9,
)

# %% [markdown]
# The guided maps of the two classes are nearly the same. Dropping what is negative at every ReLU
# drops what makes the classes differ, and what remains are the lines of the picture that the network
# sees at all. The correlation of the two maps says so:


# %%
def alike(maps):
    return np.corrcoef(maps.reshape(2, -1))[0, 1]


for name, maps in heat.items():
    print(f"{name:10} correlation of espresso and tiger cat: {alike(maps):.2f}")
assert alike(heat["guided_bp"]) > alike(heat["gradient"])

# %% [markdown]
# ## Integrated gradients
#
# A gradient is about a small change. To explain the whole score one can add up small changes, on the
# way from a baseline $b$, a picture in which there is nothing to see, to the picture $x$:
#
# $$R = (x - b) \cdot \int_0^1 \frac{\partial f_c}{\partial x}\big(b + t\,(x - b)\big)\,dt,
#   \qquad \sum_i R_i = f_c(x) - f_c(b)$$
#
# The second equation is called *completeness*: the map shares out the difference of the two scores
# and nothing else. The images along the path from black, with the score that each has:

# %%
integrated = it.IntegratedGradientsInterpreter(model)
path = integrated.path(picture, label=names[0], steps=6, gradient_of="logit")
show(path.plot())

# %% [markdown]
# Already in the dark picture the score is as high as at the end. More closely:

# %%
line = integrated.path(picture, label=names[0], steps=41, gradient_of="logit")
figure, panel = plt.subplots(figsize=(4.5, 2.2), layout="constrained")
panel.plot(line.shares, line.scores[0], marker=".", markersize=4)
panel.set_xlabel("share of the way from black, $t$")
panel.set_ylabel("logit")
plt.show()

# %% [markdown]
# Nearly all of the score arises on the first tenth of the path. The gradients that matter are there,
# and a mean over few equal steps misses them.
#
# By hand, with the mean of the gradients at the middles of $n$ equal steps in place of the integral:

# %%
n = 8
pixels = model.preprocessing.normalize(found.images)  # the network's input, [1, 3, 224, 224]
black = np.broadcast_to(model.preprocessing.bounds()[0], pixels.shape)

t = ((np.arange(n) + 0.5) / n).astype("float32").reshape(-1, 1, 1, 1)
slopes = gradient.explain(black + t * (pixels - black), label=names[0]).values
by_hand_map = (pixels - black) * slopes.mean(axis=0)

library_map = integrated.explain(pixels, label=names[0], steps=n, gradient_of="logit").values
np.testing.assert_allclose(library_map, by_hand_map, atol=1e-2 * abs(by_hand_map).max())

# %% [markdown]
# How many steps are enough? The sum tells. With `tolerance=` the library adds steps where the score
# changes most, until the sum is right to that share:

# %%
exact = integrated.explain(picture, label=names[0], tolerance=0.01, gradient_of="logit")
logits = gradient.probe.logits(np.concatenate([pixels, black]))
rise = logits[0, first] - logits[1, first]

for title, total in [
    ("f(x) - f(b)", rise),
    (f"sum with {n} equal steps", library_map.sum()),
    (f"sum with tolerance, {exact.diagnostics['steps'][0]} steps", exact.values.sum()),
]:
    print(f"{title:32} {total:8.3f}")

assert abs(exact.values.sum() - rise) <= 0.011 * abs(rise)  # completeness

# %% [markdown]
# A pixel that is like the baseline gets nothing, because $x - b$ is zero there. This holds for any
# number of steps. We paint a black square over the eye:

# %%
patched = found.images.copy()
patched[:, 55:115, 40:100] = 0
covered = integrated.explain(patched, label=names[0], steps=2, gradient_of="logit").values
assert (covered[..., 55:115, 40:100] == 0).all()
assert (covered != 0).any()

# %% [markdown]
# So the baseline is part of the question. From black, dark pixels get little; from the mean colour,
# pixels of that colour do:

# %%
maps = {"black": exact}
for baseline in ("white", "mean", "blur"):
    maps[baseline] = integrated.explain(
        picture, label=names[0], baselines=baseline, tolerance=0.05, gradient_of="logit"
    )
side_by_side({name: abs(one.values[0]).sum(axis=0) for name, one in maps.items()})

for name, one in maps.items():
    rise = one.diagnostics["score_difference"][0]
    print(f"{name:6} sum {one.values.sum():6.2f}, f(x) - f(b) {rise:6.2f}")
    assert abs(one.values.sum() - rise) <= 0.051 * abs(rise)

# %% [markdown]
# From black, the dark rims of the eyes are white in the map, although a person would call them the
# clearest lines of the face. From the mean colour the pupils and the nose stand out, since they
# differ from it most. Each map adds up to its own difference.
#
# ## Side by side
#
# The same picture and class by all of them, with Grad-CAM for comparison:

# %%
methods = ["gradient", "guided_bp", "deconvnet", "grad_cam"]
compared = it.explain_with(methods, model, picture, label=names[0])
heat = {name: one.heatmap()[0] for name, one in compared.items()}
heat["integrated gradients"] = maps["mean"].heatmap(signed=False)[0]
side_by_side(heat, width=1.9)

# %% [markdown]
# | method | resolution | sees the class | what it is good for |
# |---|---|---|---|
# | gradient | pixels, noisy | yes | what a small change does; the basis of the others |
# | guided backpropagation | pixels, sharp | hardly | which lines the network sees at all |
# | Zeiler-Fergus | pixels | hardly | networks with max-pooling, single units |
# | integrated gradients | pixels, noisy | yes | sharing out a score, as a sum that can be checked |
# | Grad-CAM | the layer's, coarse | yes | where the class is |
#
# - For less noise, average over noisy copies: `it.SmoothGradInterpreter`.
# - For details that are about the class, take `it.LRPInterpreter`.
# - Which map should be believed: [Choosing and checking](07_choosing_and_checking.ipynb).
#
# References: [gradient](https://arxiv.org/abs/1312.6034),
# [guided backpropagation](https://arxiv.org/abs/1412.6806),
# [Zeiler and Fergus](https://arxiv.org/abs/1311.2901),
# [integrated gradients](https://arxiv.org/abs/1703.01365).
