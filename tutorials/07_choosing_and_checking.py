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
# # Choosing and checking
#
# Different methods draw different maps of one decision. Nobody knows the right map of a network that
# has learned from data, so there is nothing to compare them with. What can be checked are
# properties that a right map should have: that the score falls when the relevant pixels go, that the
# map depends on the class and on the weights, that its numbers add up. An *evaluator* measures one of
# them.
#
# This notebook compares six methods on two photographs, looks at the curves behind the numbers, and
# says for each measure what it tells and what it does not.
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
from IPython.display import Image, display
from scipy.stats import rankdata

it.show_progress(False)  # no progress bars in the saved notebook

# %% [markdown]
# ## Six methods, six maps
#
# A method may come with options, as a pair. All of them share one copy of the model, the `subject` of
# the first.

# %%
pictures = ["../assets/coffee.png", "../assets/chelsea.png"]
model = it.lrp_model.efficientnet_lite0(pretrained=True)
subject = it.GradCAMInterpreter(model).subject

methods = {
    "Grad-CAM": (it.GradCAMInterpreter(subject), {}),
    "LRP": (it.LRPInterpreter(subject), {}),
    "integrated gradients": (
        it.IntegratedGradientsInterpreter(subject),
        {"baselines": "mean", "tolerance": 0.1, "gradient_of": "logit"},
    ),
    "gradient": (it.GradientInterpreter(subject), {}),
    "guided backprop": (it.GuidedBPInterpreter(subject), {}),
    "Eigen-CAM": (it.EigenCAMInterpreter(subject), {}),
}
maps = {name: method.explain(pictures, **options) for name, (method, options) in methods.items()}
names, first = list(maps), maps["Grad-CAM"]


# %%
def show(figure):
    """Show a figure as JPEG, which is much smaller than PNG for photographs."""
    data = io.BytesIO()
    figure.savefig(data, format="jpeg", dpi=80, bbox_inches="tight", pil_kwargs={"quality": 88})
    display(Image(data.getvalue()))


show(it.grid([one[:1] for one in maps.values()], titles=names, signed=False, columns=4))

# %% [markdown]
# Eigen-CAM and guided backpropagation draw nearly the same map for every class; the titles say so.
#
# How alike are the maps? Spearman's correlation compares the order in which two of them put the
# pixels: 1 is the same order, 0 means that the orders have nothing in common.


# %%
def rank_correlation(one, other):
    return np.corrcoef(rankdata(one), rankdata(other))[0, 1]


heat = {name: one.heatmap(signed=False) for name, one in maps.items()}
table = np.array(
    [[rank_correlation(heat[a][0].ravel(), heat[b][0].ravel()) for b in names] for a in names]
)

figure, panel = plt.subplots(figsize=(4.2, 3.4), layout="constrained")
image = panel.imshow(table, cmap="RdBu_r", vmin=-1, vmax=1)
panel.set_xticks(range(len(names)), names, rotation=40, ha="right", fontsize=8)
panel.set_yticks(range(len(names)), names, fontsize=8)
for row, column in np.ndindex(table.shape):
    colour = "white" if abs(table[row, column]) > 0.6 else "black"
    text = f"{table[row, column]:.2f}"
    panel.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
figure.colorbar(image, label="rank correlation")
plt.show()

# %% [markdown]
# ### Why they disagree
#
# - **They answer different questions.** The gradient is about a small change of a pixel. LRP and
#   integrated gradients share out a score. Grad-CAM weights what a layer detects.
# - **They compare with different things.** Integrated gradients need a baseline, LRP a rule for each
#   layer. Another baseline or rule is another question.
# - **They have different resolutions.** Grad-CAM has $7 \times 7$ values here, the gradient
#   $224 \times 224$. Two maps of the same place can order the pixels quite differently.
#
# So disagreement alone does not show that a method is wrong. Nor does agreement show that it is
# right: Eigen-CAM, which never asks for the class, agrees with Grad-CAM best of all, because there is
# only one thing in this picture.

# %% [markdown]
# ## Deletion and insertion
#
# If a map is right about what matters, taking out the pixels in the order of their relevance should
# make the score fall quickly (deletion), and putting them into an empty picture should make it rise
# quickly (insertion). With $p(s)$ the probability of the class when the share $s$ of the pixels is
# out, or in, the measure is the area under the curve:
#
# $$\mathrm{AUC} = \int_0^1 p(s)\,ds, \qquad \text{deletion: lower is better, insertion: higher}$$
#
# This is what the network sees on the way, with Grad-CAM's order:

# %%
x = model.preprocessing.normalize(first.images)  # the network's input, [2, 3, 224, 224]
grad_cam = methods["Grad-CAM"][0]

deletion = it.Deletion(steps=8, frames=6).measure(x, first, interpreter=grad_cam)
insertion = it.Insertion(steps=8, frames=6).measure(x, first, interpreter=grad_cam)
deletion.frames.plot()

# %%
insertion.frames.plot()

# %% [markdown]
# Pictures with holes are pictures that no network was trained on. Does the score fall because
# something relevant is gone, or because the picture has become strange? Deletion cannot tell, and
# what stands in the holes matters: `fill=` is part of the result.
#
# Any array can be measured, so a control is easy to have: noise that knows neither the picture nor the
# network, coarse like Grad-CAM's map and fine like a gradient's.

# %%
cup, rng = first[:1], np.random.default_rng(0)
controls = {
    "Grad-CAM": cup.values,
    "coarse noise": rng.random((1, 7, 7)),
    "fine noise": rng.random((1, 224, 224)),
}
areas = {}
for fill in ("mean", "black"):
    evaluator = it.DeletionInsertion(fill=fill, steps=6)
    for name, values in controls.items():
        found = evaluator.measure(x[:1], values, labels=cup.labels, interpreter=grad_cam)
        areas[fill, name] = found.parts["deletion"][0], found.parts["insertion"][0]
        out, back = areas[fill, name]
        print(f"fill={fill:5}  {name:12}  deletion {out:.2f}, insertion {back:.2f}")
    assert areas[fill, "Grad-CAM"][1] > areas[fill, "coarse noise"][1]  # better than a control

# %% [markdown]
# By insertion Grad-CAM is far better than noise. By deletion, fine noise does better than Grad-CAM:
# dots all over the picture disturb the network more than one hole does. So compare deletion only among
# maps that are equally fine, and look at insertion as well. And the numbers of one fill do not compare
# with those of another.
#
# Three things are true of these curves whatever the map:

# %%
p = [first.probability(i) for i in range(2)]
np.testing.assert_allclose(deletion.curves["deletion"][:, 0], p, rtol=1e-3)  # begins at the picture
np.testing.assert_allclose(insertion.curves["insertion"][:, -1], p, rtol=1e-3)  # ends there
# only the order of the pixels counts, not the numbers
scaled = it.Deletion(steps=8).measure(
    x, 10 * first.values, labels=first.labels, interpreter=grad_cam
)
np.testing.assert_allclose(scaled.values, deletion.values, rtol=1e-3)

# %% [markdown]
# ## All methods, several measures
#
# `it.compare` fills a table. With `file="table.json"` it keeps what is done, and goes on there after
# an interruption or when methods and measures are added.

# %%
measures = {
    "deletion": it.Deletion(steps=8),
    "insertion": it.Insertion(steps=8),
    "random logit": it.RandomLogit(),
    "sparseness": it.Sparseness(),
}
compared = it.compare(methods, pictures, measures)
display(compared)

# %%
compared.plot()

# %% [markdown]
# (± is the standard deviation over the pictures. With two of them it says little.)
#
# - **deletion, insertion**: fine maps win one, coarse maps the other, as the noise did. Within a kind
#   the numbers mean more: integrated gradients are ahead of the gradient in deletion.
# - **sparseness**: how few pixels hold the relevance. That is about the reader's effort, not about
#   truth. A single bright pixel at a random place would win.
# - **random logit**: the rank correlation with the map of another class, drawn at random. A map that
#   is about its class should be far from 1. Eigen-CAM does not know the class at all, and guided
#   backpropagation hardly:

# %%
assert np.isclose(compared["Eigen-CAM", "random logit"].mean, 1)
assert compared["guided backprop", "random logit"].mean > compared["Grad-CAM", "random logit"].mean

# %% [markdown]
# No method wins every column. Two photographs are far too few to choose by: take some hundreds of
# yours, and look at the spread as well as at the mean (`compared["LRP", "deletion"].values` has a
# number for each picture).

# %% [markdown]
# ## Sanity check: does the map depend on what was learned?
#
# Make the layers of a copy of the network random, one after the other from the output to the input,
# and explain the same picture again. A map that stays as it was cannot be about what the network has
# learned ([Adebayo et al. 2018](https://arxiv.org/abs/1810.03292)).

# %%
blocks = [f"blocks.{i}" for i in reversed(range(16))]
layers = ["fc", "bn1", "conv_head", *blocks, "bn0", "conv_stem"]
check = it.ModelRandomization(layers=layers)
tested = ["gradient", "guided backprop", "Grad-CAM"]
results = {
    name: check.measure(x[:1], maps[name][:1], interpreter=type(methods[name][0])(model))
    for name in tested
}

figure, panel = plt.subplots(figsize=(6, 3), layout="constrained")
for name, result in results.items():
    panel.plot(result.axis, result.curves["rank correlation"][0], label=name)
panel.set_xticks(range(len(layers)), layers, rotation=90, fontsize=7)
panel.axhline(0, color="grey", linewidth=0.5)
panel.set_xlabel("random from the output up to this layer")
panel.set_ylabel("rank correlation")
panel.legend(fontsize=8)
plt.show()

# %% [markdown]
# The gradient and Grad-CAM lose their first map as soon as the last layers are random. Guided
# backpropagation keeps it while half of the network is random: it draws lines of the picture, and
# random layers on top of the trained ones still pass them on.

# %%
ends = {name: np.abs(result.curves["rank correlation"][0]) for name, result in results.items()}
assert ends["guided backprop"].mean() > ends["gradient"].mean()

# %% [markdown]
# To pass this check is little. A map can depend on the weights and still be wrong. And a coarse map
# correlates with any other by chance; `n_draws=5` takes the mean over random networks first.

# %% [markdown]
# ## Localization: is the relevance on the object?
#
# Where it is known which pixels show the object, one can ask whether the largest value lies on it
# (pointing game) and how well the map separates it from the rest (average precision). On the collage
# we know both: the cat is left, the espresso right.

# %%
collage = ["../assets/collage.png"] * 2
boxes = [(112, 66, 224, 158), (0, 66, 112, 158)]  # x1, y1, x2, y2: the espresso, the cat
masks = np.zeros((2, 224, 224), bool)
for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
    mask[y1:y2, x1:x2] = True

localized = it.compare(
    methods,
    collage,
    {"pointing game": it.PointGame(tolerance=0), "precision": it.PointGameSegmentation()},
    label=["espresso", "tiger cat"],
    boxes=boxes,
    masks=masks,
)
display(localized)

# %% [markdown]
# A map that is the same for both classes can hit one of them at most:

# %%
assert localized["Eigen-CAM", "pointing game"].mean <= 0.5

# %% [markdown]
# Localization asks for what a person sees. A network that recognizes espresso by the saucer would
# get a bad mark for an honest map. Take it for choosing between methods on a network that you trust,
# not for testing the network.
#
# ## Do the numbers add up?
#
# Some methods promise a sum. Integrated gradients promise $\sum_i R_i = f(x) - f(b)$, and the
# promise can be checked:

# %%
method, options = methods["integrated gradients"]
completeness = it.Completeness(baseline="mean", gradient_of="logit")  # the method's own baseline
found = completeness.measure(x, maps["integrated gradients"], interpreter=method, options=options)
print("sum         ", found.parts["sum"].round(2))
print("f(x) - f(b) ", found.parts["difference"].round(2))
assert (found.values <= 0.101).all()  # the tolerance was 10 %

# %% [markdown]
# It shows that the numbers were computed right. It does not show that the baseline was a good one:
# any baseline gives a complete map.
#
# ## Where the truth is known
#
# So far nobody knew the right map. `it.truth` has networks of which it is known what decides. Some are
# *planted*: their weights were not trained but made, and a class is scored by a small pattern, its *key*,
# whatever else is in the picture. The grade of a method is the share of its relevance that lies on the
# key. Any function can take part. Here are three that are broken on purpose, each made from the gradient
# times the input:


# %%
def product(model, x, labels):
    return x * it.Probe(model).gradients(x, it.ClassScore(labels, "logit")).input


def flipped(model, x, labels):
    return product(model, x, labels)[..., ::-1]  # left to right


def one_class_for_all(model, x, labels):
    return product(model, x, np.zeros_like(labels))


def random_network(model, x, labels):
    from interpretdl.testing import small_network

    return product(small_network(), x, labels)


names = ["grad_cam", "lrp", "integrated_gradients", "gradient", "guided_bp", "eigen_cam"]
broken = [flipped, one_class_for_all, random_network]
known = it.truth.run([*names, *broken], ["planted/keys", "planted/or"], pictures=10)
print(known)
assert known.leaders("planted") == ("integrated_gradients",)

# %%
known.plot_maps(methods=[*names, *[one.__name__ for one in broken]])

# %% [markdown]
# In the upper picture there are two keys, one for each of two classes. In the lower one either of two keys
# is enough for the class, and both are there: without one of them the score is the same, and every
# gradient is zero. Integrated gradients, which go all the way from an empty picture, are right both times.
# Eigen-CAM shows what excites the network most, which is the background here, and cancels out. The flipped
# map is last; a map of the same class for all pictures is right where that happens to be the class.
#
# The same problems can judge the measures: do they rank methods as the truth does?

# %%
judged = it.truth.judge(
    ["deletion", "perturbation", "faithfulness_estimate", "random_logit", "sparseness"],
    [*names, flipped],
    ["planted/keys", "planted/large"],
    pictures=4,
)
print(judged)

# %% [markdown]
# What passes here may still fail on a large network. What fails here fails where everything is known. The
# [leaderboard](../docs/leaderboard.md) has all methods and all measures, and [a page of its
# own](../docs/truth.md) says how the networks are made.
#
# ## Which measure says what
#
# | measure | says | does not say |
# |---|---|---|
# | deletion, insertion | the order of pixels matters to the score | why; the pictures are strange |
# | perturbation, selectivity | the same, by patches | the same |
# | local fidelity, infidelity | the map foretells what removals do | whether the fill is fair |
# | completeness | the map is a sum of what it claims | whether the baseline is fair |
# | continuity, sensitivity | small changes change the map little | a constant map is the best |
# | model randomization | the map depends on the weights | whether it does so rightly |
# | random logit | the map depends on the class | the same |
# | pointing game, precision | relevance lies on the object | whether the network uses the object |
# | sparseness | the map is easy to read | anything about the network |
#
# ## How to choose
#
# 1. **Say what you want to know.** The table in [Getting started](01_getting_started.ipynb) leads from
#    a question to a method.
# 2. **Drop what fails the sanity checks** on your network: maps that do not depend on the class or on
#    the weights.
# 3. **Compare the rest** on your own pictures, some hundreds of them, with two or three measures that
#    fit the question, and with noise as a control.
# 4. **Show two methods that differ in kind**, for example Grad-CAM and LRP. Where they agree, there is
#    more reason to believe them. Where they do not, say so.
#
# All measures and their options, with their agreement with the truth: [docs/evaluators.md](../docs/evaluators.md). On the command line:
# `interpretdl evaluate photographs/ --method grad_cam --method lrp --metric deletion`.
