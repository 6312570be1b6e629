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
# # Expected gradients at an inner layer
#
# Which parts of a layer's input speak for a class? Expected gradients, known from SHAP's
# `GradientExplainer`, answer for any layer. With $a$ the layer's input for the picture, $b$ its
# input for a picture drawn from a *background*, and $t$ drawn uniformly from $(0, 1)$,
#
# $$\phi = \mathbb{E}_{b,\,t}\left[(\tilde a - b)\,
# \frac{\partial f_c}{\partial a}\bigl(b + t\,(\tilde a - b)\bigr)\right],
# \qquad \tilde a = a + \mathcal{N}(0, \sigma^2),$$
#
# where $\sigma$ is the *local smoothing*, 0 unless you set it. The attributions explain the difference
# to the background: $\sum \phi = f_c(x) - \mathbb{E}_b\, f_c(b)$, up to the error of sampling. See
# [Erion et al. 2021](https://arxiv.org/abs/1906.10670).
#
# This notebook does what SHAP's example of an intermediate layer does. The next cell installs the
# package from this clone where it is missing.

# %%
try:
    import interpretdl as it
except ModuleNotFoundError:
    # %pip install -q "..[demo]"
    import interpretdl as it

import numpy as np
from PIL import Image

assets = "../assets/"
it.show_progress(False)  # no progress bars in the saved notebook
pictures = [assets + "collage.png", assets + "coffee.png"]

# %% [markdown]
# ## Network and layer
#
# SHAP explains layer 7 of VGG-16, and so does this notebook where the weights (550 MB) can be
# downloaded. Otherwise it takes EfficientNet-Lite0, and the layer `blocks.3` at a similar depth.

# %%
try:
    model = it.lrp_model.vgg16(pretrained=True)
    layer, deeper = "features.7", ["features.17", "features.28"]
except it.WeightsError:
    print("The weights of VGG-16 cannot be downloaded; this is EfficientNet-Lite0.")
    model = it.lrp_model.efficientnet_lite0(pretrained=True)
    layer, deeper = "blocks.3", ["blocks.6", "conv_head"]

# %% [markdown]
# ## Background
#
# The background stands for what the model usually sees. SHAP's example has 50 pictures of ImageNet;
# here 24 squares cut from the sample pictures will do. For your own work, take a few dozen pictures
# of the kind that your model sees.


# %%
def squares(count=24, seed=0):
    """Squares cut from the sample pictures at random places."""
    rng, found = np.random.default_rng(seed), []
    for i in range(count):
        name = ("chelsea.png", "coffee.png", "collage.png")[i % 3]
        picture = Image.open(assets + name).convert("RGB")
        side = int(rng.uniform(0.5, 1) * min(picture.size))
        left, top = (int(rng.integers(size - side + 1)) for size in picture.size)
        found.append(picture.crop((left, top, left + side, top + side)))
    return found


explainer = it.ExpectedGradientsInterpreter(model, background=squares())

# %% [markdown]
# ## The two likeliest classes of each picture
#
# `ranked_outputs=2` takes the two classes with the largest output. All classes share the same
# samples, so a second class costs only its backward passes. The values are at the layer's size:

# %%
found = explainer.shap_values(pictures, nsamples=20, ranked_outputs=2, layer=layer)
print("input of the layer:", found.values.shape[2:], " pictures:", found.images.shape[1:])

# %% [markdown]
# `image_plot` sums the channels and enlarges the maps to the pictures. Red speaks for the class, blue
# against it, and all maps share one scale.

# %%
names = [name.split(",")[0] for name in model.class_names]
labels = [[names[index] for index in row] for row in found.indexes]
figure = it.image_plot(found.values, found.images, labels)
figure.set_size_inches(6, 5)
figure

# %% [markdown]
# The layer is close to the input, so the maps consist of edges and textures rather than whole objects:
# the nose and the fur of the cat, the rim of the cup. The first two classes are close relatives and
# share most of their evidence.
#
# ## How accurate is it?
#
# Expected gradients are an average over random samples. `standard_errors` says how certain each value
# is, and `explain`, which returns an `Explanation` of one class, also gives the sum with its error.

# %%
top = explainer.explain(pictures, label=found.indexes[:, 0], layer=layer, nsamples=20)
np.testing.assert_allclose(top.values, found.values[:, 0], atol=1e-5)  # the same seed

background = explainer.probe.logits(explainer.background)
expected = top.scores - background[:, top.labels].mean(axis=0)
total, error = top.diagnostics["sum"], top.diagnostics["sum_standard_error"]
for i, name in enumerate(top.label_names):
    print(f"{name}: sum {total[i]:.2f} ± {error[i]:.2f}, f(x) - E f(b) = {expected[i]:.2f}")
assert (abs(total - expected) < 4 * error).all()

# %% [markdown]
# The error falls as $1/\sqrt{n}$ with the number of samples. SHAP's default is `nsamples=200`.
#
# ## Local smoothing
#
# `local_smoothing` adds noise to the layer's input before each sample, so that the map does not depend
# on one exact input. It is given in the units of the layer's input; here it is half of the standard
# deviation there.

# %%
at = f"{layer}:input"
sigma = 0.5 * float(explainer.probe.activations(explainer.background, at)[at].std())
smooth = explainer.explain(
    pictures, label=top.labels, layer=layer, nsamples=20, local_smoothing=sigma
)
figure = it.image_plot(
    [top.values, smooth.values],
    found.images,
    ["local_smoothing=0", f"local_smoothing={sigma:.1f}"],
)
figure.set_size_inches(6, 5)
figure

# %%
noise = [np.linalg.norm(one.diagnostics["standard_error"]) for one in (top, smooth)]
print(f"with smoothing the standard error is {noise[1] / noise[0]:.2f} times as large")
assert noise[1] > noise[0]

# %% [markdown]
# The noise makes the attributions less certain with the same number of samples. That is its price: take
# more samples with it.
#
# ## Deeper layers
#
# Close to the input a map shows edges. The deeper the layer, the fewer positions it has, and the more of
# the picture each of them sees: in the end the map shows where the object is. Each map has its own
# scale here.

# %%
maps = [top]
for name in deeper:
    maps.append(explainer.explain(pictures, label=top.labels, layer=name, nsamples=20))
figure = it.grid(maps, titles=[layer, *deeper], style="signed", scale="image")
figure.set_size_inches(8, 4.2)
figure

# %%
# the cat is on the left half of the first picture
deepest = np.maximum(maps[-1].heatmap(signed=True)[0], 0)
assert deepest[:, :112].sum() > deepest[:, 112:].sum()
