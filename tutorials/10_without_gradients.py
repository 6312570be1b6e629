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
# # Explaining without gradients
#
# Take parts of the picture out and see what the score does: this needs nothing but scores, so it works
# for any model, and for things that are no networks at all. Occlusion, LIME, RISE and Shapley values are
# all of this kind. They differ in *which parts* are taken out, in *what stands in the gap*, and in *how
# many* pictures with gaps the model is shown. Each of these choices can be seen in the map. This notebook
# shows how, one choice after the other.
#
# With $M$ regions and a vector $z$ of zeros and ones, $v(z)$ is the score of the picture in which the
# regions with $z = 1$ are kept and the others filled.
#
# The next cell installs the package from this clone where it is missing, for example in AI Studio.

# %%
try:
    import interpretdl as it
except ModuleNotFoundError:
    # %pip install -q "..[demo]"
    import interpretdl as it

import io
import time
from itertools import product

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Image, display
from scipy.stats import binom
from skimage.segmentation import mark_boundaries
from sklearn.datasets import load_digits, load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.svm import SVC

from interpretdl.perturbation import Imputer

it.show_progress(False)  # no progress bars in the saved notebook


def show(figure):
    """Show a figure as JPEG, which is much smaller than PNG for photographs."""
    data = io.BytesIO()
    figure.savefig(data, format="jpeg", dpi=72, bbox_inches="tight", pil_kwargs={"quality": 88})
    display(Image(data.getvalue()))


# %% [markdown]
# ## One region at a time
#
# The simplest of these methods takes out one region alone, here a cell of a grid, and notes what the score
# loses: $\phi_j = v(1) - v(1 - e_j)$, where $e_j$ is 1 for region $j$ alone. The collage has a cat on the left
# and an espresso on the right.

# %%
collage = "../assets/collage.png"
model = it.lrp_model.efficientnet_lite0(pretrained=True)
ablation = it.FeatureAblationInterpreter(model)
subject = ablation.subject  # the model with all that belongs to it, shared by all methods below

two = ablation.explain([collage] * 2, label=["espresso", "tiger cat"])
show(two.plot(original=True))


# %%
def share_on_the_right(found):
    positive = np.maximum(found.heatmap(), 0)
    return positive[:, :, 112:].sum(axis=(1, 2)) / positive.sum(axis=(1, 2))


espresso, cat = share_on_the_right(two)
print(f"positive values in the right half: espresso {espresso:.0%}, tiger cat {cat:.0%}")
print("runs of the model for each picture:", two.diagnostics["evaluations"][0])
assert espresso > 0.5 > cat

# %% [markdown]
# Without a red region the score of the class is lower, without a blue one it is higher.
#
# This method has a blind spot. What two regions say alike is lost when both are gone, and not when one of them
# is. That is why most of the other methods take out many regions at a time.

# %% [markdown]
# ## What a superpixel hides
#
# A region is kept or taken out as a whole, so it has one value. To see what this means, here is a "model" of
# which we know everything: its score is the brightness of a small square on the cup. (Any function of arrays
# can be explained, see [below](#Any-function).)

# %%
top, left, side = 105, 160, 16


def brightness(x):  # float [n, 3, 224, 224]
    return x[:, :, top : top + side, left : left + side].mean(axis=(1, 2, 3))


def stripes(image):
    """Slanted stripes, which have nothing to do with the picture."""
    row, column = np.indices(image.shape[:2])
    return (row + column) // 32


ways = {name: name for name in ("grid", "quickshift", "slic", "felzenszwalb")}
ways["stripes"] = stripes
planted = it.FeatureAblationInterpreter(
    it.Subject.from_function(brightness, preprocessing=model.preprocessing, output_kind="logits")
)
known = {name: planted.explain(collage, regions=cut, fill="black") for name, cut in ways.items()}
regions = {name: found.diagnostics["regions"][0] for name, found in known.items()}

figure, panels = plt.subplots(1, 5, figsize=(11, 2.6), layout="constrained")
for panel, (name, found) in zip(panels, known.items(), strict=True):
    panel.imshow(mark_boundaries(two.images[0], regions[name], color=(1, 1, 0)))
    panel.imshow(np.where(found.heatmap()[0] > 0, 1, np.nan), cmap="autumn", alpha=0.6)
    square = plt.Rectangle((left, top), side, side, fill=False, color="blue", linewidth=1.5)
    panel.add_patch(square)
    panel.set_title(f"{name}, {regions[name].max() + 1} regions", fontsize=9)
    panel.axis("off")
show(figure)
plt.close(figure)

# %% [markdown]
# Only the blue square counts, and every region that touches it is marked, however far it reaches. The outline
# in the map is the region's, not the model's. Where it follows an edge of the picture, as with the superpixels,
# it looks like a finding.
#
# Now the network, asked for "espresso", with the same regions. The values are Shapley values: what a region
# adds to the score, averaged over all orders in which the regions can be put in. They sum to $v(1) - v(0)$.
# Kernel SHAP gets them from a regression on the scores of random subsets.


# %%
def of_regions(found):
    """The value of each region."""
    first_pixel = np.unique(found.diagnostics["regions"][0], return_index=True)[1]
    return found.values[0, 0].ravel()[first_pixel]


shap = it.KernelSHAPInterpreter(subject)
cut = {
    name: shap.explain(
        collage, label="espresso", regions=way, evaluations=4 * int(regions[name].max() + 1)
    )
    for name, way in ways.items()
}
show(it.grid(list(cut.values()), titles=list(cut), scale="image"))

for name, found in cut.items():
    values = of_regions(found)
    share = (regions[name] == values.argmax()).mean()
    print(
        f"{name:12} {len(values):2} regions, sum {values.sum():.2f}; the best one has "
        f"{values.max():.2f} and covers {share:.1%} of the picture"
    )

# %% [markdown]
# All of them find the cup. What they show of its outline was in the regions before the network was asked; the
# stripes make this plain. The sum is the same whatever the regions, so the fewer there are, the larger their values
# tend to be, and colours of different cuts do not compare.

# %% [markdown]
# ## How many samples are enough?
#
# Nine regions have $2^9 = 512$ subsets, few enough to look at all of them. Then the Shapley values are exact,
# and the error of a sample can be measured. We put the 512 scores into a table, and a function that looks them
# up takes the place of the network. It is the same game, and playing it costs nothing.

# %%
M = 9
subsets = np.array(list(product([False, True], repeat=M)))
row, column = np.indices((224, 224)) * 3 // 224
cells = 3 * row + column  # 3 x 3 regions, numbered

x = model.preprocessing.normalize(two.images[:1])
grey = x.mean(axis=(2, 3), keepdims=True)
with subject.probe.many(len(subsets)):  # announced, so that a fast engine can be used
    scores = np.concatenate(
        [
            subject.probe.logits(np.where(part[:, cells][:, None], x, grey))[:, two.labels[0]]
            for part in np.split(subsets, 16)
        ]
    )


def game(z):  # float [n, 9], 1 where a region is kept
    return scores[(z > 0.5) @ (2 ** np.arange(M)[::-1])]


player = it.Subject.from_function(game, output_kind="logits", batch_size=512)
regression, orders = it.KernelSHAPInterpreter(player), it.ShapleySamplingInterpreter(player)
everything = np.ones((1, M), np.float32)
exact = regression.explain(everything, fill=0.0, evaluations=2**M)
print("exact values", exact.values[0].round(2))
print(f"sum {exact.values.sum():.4f}, v(1) - v(0) = {scores[-1] - scores[0]:.4f}")
np.testing.assert_allclose(exact.values.sum(), scores[-1] - scores[0], rtol=1e-5)

# %% [markdown]
# An item's random draws depend on the seed and on its position in the batch. So a batch of 50 copies is 50
# independent runs. We compare Kernel SHAP with Shapley sampling, which draws orders of the regions and averages
# what each region adds. Solid lines are the errors, dashed lines the standard errors that the methods report
# without knowing the truth:

# %%
copies = np.repeat(everything, 50, axis=0)
budgets = [40, 64, 128, 256]
size = np.linalg.norm(exact.values)


def root_mean_square(vectors):
    return np.sqrt((vectors**2).sum(axis=1).mean()) / size


figure, panel = plt.subplots(figsize=(5, 3), layout="constrained")
for name, method in {"Kernel SHAP": regression, "Shapley sampling": orders}.items():
    runs = [method.explain(copies, fill=0.0, evaluations=budget) for budget in budgets]
    errors = [root_mean_square(run.values - exact.values) for run in runs]
    reported = [root_mean_square(run.diagnostics["standard_error"]) for run in runs]
    (line,) = panel.loglog(budgets, errors, "o-", label=name)
    panel.loglog(budgets, reported, "--", color=line.get_color())
    print(f"{name:16} error at {budgets}: {np.round(errors, 2)}, reported {np.round(reported, 2)}")
    assert 0.6 < reported[-1] / errors[-1] < 1.6
panel.set_xticks(budgets, budgets)
panel.minorticks_off()
panel.set_xlabel("evaluations")
panel.set_yticks([0.02, 0.05, 0.1, 0.2], ["2 %", "5 %", "10 %", "20 %"])
panel.set_ylabel("relative error")
panel.legend()
plt.show()

# %% [markdown]
# The reported standard errors are close to the true errors. By orders, half the error takes about four times the
# evaluations, as for any mean of independent samples. The regression gains more, because here it soon has seen
# most of the subsets.
#
# So there is no need to guess a number of samples. More regions need more of them; for $5 \times 5$ cells of the
# network, the standard error is drawn beside the map, on the same scale. First with the fewest evaluations that
# are allowed, four for each region:

# %%
few = shap.explain(collage, label="espresso", regions=5, evaluations=100)
show(few.plot(uncertainty=True))

# %% [markdown]
# Then until the largest standard error is at most 10 % of the largest value. It is looked at after 128, 256, 512 …
# evaluations:

# %%
enough = shap.explain(collage, label="espresso", regions=5, tolerance=0.1, evaluations=1000)
show(enough.plot(uncertainty=True))
for run in (few, enough):
    error = run.diagnostics["standard_error"].max() / run.values.max()
    print(f"{run.diagnostics['evaluations'][0]} evaluations: largest standard error {error:.0%}")
assert enough.diagnostics["converged"].all()

# %% [markdown]
# ## LIME's width
#
# LIME keeps each region with probability ½ and fits a linear function to the scores, with weights
#
# $$\pi(z) = \sqrt{\exp\left(-d^2 / \sigma^2\right)}, \qquad d = 1 - \sqrt{|z| / M}, \qquad \sigma = 0.25$$
#
# It is called *local*, because pictures near the original are to count more. How much more?

# %%
M = 49
kept = np.arange(M + 1)
drawn = binom(M, 0.5).pmf(kept)  # how often that many regions are kept

figure, panels = plt.subplots(1, 2, figsize=(8, 2.6), layout="constrained")
panels[0].bar(kept, drawn, color="lightgrey", label="drawn")
for width in (0.25, 0.1, 0.05):
    weight = np.sqrt(np.exp(-((1 - np.sqrt(kept / M)) ** 2) / width**2))
    counted = drawn * weight / (drawn * weight).sum()
    effective = 1000 * (drawn * weight).sum() ** 2 / (drawn * weight**2).sum()
    panels[0].plot(kept, counted, label=f"weighted, width {width}")
    panels[1].plot(kept, weight, label=f"width {width}")
    print(
        f"width {width:4}: 1000 samples are worth {effective:3.0f}; "
        f"they keep {counted @ kept:.0f} of {M} regions on average"
    )
panels[0].set_ylabel("share of the samples")
panels[1].set_ylabel("weight")
for panel in panels:
    panel.set_xlabel("regions kept")
    panel.legend(fontsize=7)
plt.show()

# %% [markdown]
# With the published width of 0.25 nearly all samples count the same. The map says what regions are worth in
# pictures of which half is missing, not near the original. A smaller width does not change this much: the
# samples that it prefers are hardly ever drawn, and what remains is a fit to very few of them.

# %%
lime = it.LIMEInterpreter(subject)
options = {"label": "espresso", "regions": 5, "fill": "mean", "evaluations": 120}
narrow = {
    width: lime.explain(collage, kernel_width=width, **options) for width in (0.25, 0.1, 0.05)
}
show(it.grid(list(narrow.values()), titles=[f"width {width}" for width in narrow], scale="image"))
for width, found in narrow.items():
    error = found.diagnostics["standard_error"].max() / abs(found.values).max()
    print(
        f"width {width:4}: R² {found.diagnostics['r2'][0]:.2f}, "
        f"largest standard error {error:.0%} of the largest value"
    )

# %% [markdown]
# $R^2$ is the share of the variance of the scores that the linear function explains. It is high at the smallest
# width because a linear function can follow a handful of samples, not because the network is linear.

# %% [markdown]
# ## What stands in the gap
#
# Something has to stand where a region was taken out, and the network sees it. A chessboard of gaps, filled in
# five ways, with the score of "espresso" for each picture, and below it the map by feature ablation with that
# fill:

# %%
fills = {
    "mean": "mean",
    "region_mean": "region_mean",
    "blur": "blur",
    "black": "black",
    "white": np.full((224, 224, 3), 255, np.uint8),  # any picture of the same size
}
row, column = np.indices((224, 224)) * 5 // 224
board, keep = 5 * row + column, (row + column) % 2 == 0

seen, gaps = {}, {}
for name, fill in fills.items():
    filled = Imputer(x, fill, model.preprocessing, [board]).images(np.array([0]), keep[None])
    score = subject.probe.logits(filled)[0, two.labels[0]]
    seen[f"{name}: {score:.1f}"] = model.preprocessing.restore(filled)[0]
    gaps[name] = ablation.explain(collage, label="espresso", regions=board, fill=fill)

figure, panels = plt.subplots(1, 5, figsize=(11, 2.5), layout="constrained")
for panel, (title, filled) in zip(panels, seen.items(), strict=True):
    panel.imshow(filled)
    panel.set_title(title, fontsize=9)
    panel.axis("off")
show(figure)
plt.close(figure)
show(it.grid(list(gaps.values()), titles=list(gaps), scale="image", original=False))

# %% [markdown]
# The boards have different scores, and the maps differ with them. All say that the cup speaks for an espresso and
# the cat's nose against it. They disagree on which of the two is larger: with black or white squares it is the
# nose.
#
# No fill is neutral. Grey and black squares are things that a network can see; a blur keeps coarse shapes, so
# what is large survives it; the region's own mean colour changes nothing where the picture is plain. Take the
# fill that makes the question the right one, say which it was, and look whether the finding survives another
# one. `fill="inpaint"` continues the surroundings into the gap; it is slow.

# %% [markdown]
# ## Occlusion: the window is a lens
#
# Occlusion slides a window over the picture. A pixel gets the mean loss of the windows on it.

# %%
occlusion = it.OcclusionInterpreter(subject)
windows = {}
for size, stride in ((112, 37), (56, 28), (28, 28)):
    windows[f"window {size}"] = occlusion.explain(
        collage, label="espresso", sliding_window_shapes=(3, size, size), strides=stride
    )
show(it.grid(list(windows.values()), titles=list(windows), scale="image"))
print("evaluations:", *(found.diagnostics["evaluations"][0] for found in windows.values()))

# %% [markdown]
# The map is never sharper than the window. The largest one says no more than "on the right". The smallest hides
# only a part of the cup, and what is left of it may be enough: the loss is smaller then, or negative. No size is
# right for all objects, so try two.

# %% [markdown]
# ## RISE and its offset
#
# RISE has no regions. Its masks are smooth and random, and a pixel's value is a mean over masks. As published,
# it is the mean score of the masks that show the pixel:
#
# $$S_i = \frac{\sum_k f_k\, m_{ki}}{\sum_k m_{ki}}
# \qquad\text{or}\qquad
# S_i = \frac{\sum_k (f_k - \bar f)\,(m_{ki} - \tfrac12)}{\sum_k (m_{ki} - \tfrac12)^2}$$
#
# Every pixel then has about the mean score of all masks, and a little more or less. The second formula, the
# library's default, is the slope of the score with the pixel, and has a sign that means something.

# %%
rise = it.RISEInterpreter(subject)
masks = {
    name: rise.explain(collage, label="espresso", estimator=name, evaluations=200)
    for name in ("mean", "covariance")
}
for name, found in masks.items():
    low, high, error = found.values.min(), found.values.max(), found.diagnostics["standard_error"]
    print(f"{name:10} values from {low:.2f} to {high:.2f}, standard error up to {error.max():.2f}")
show(it.grid(list(masks.values()), titles=list(masks), scale="image"))

# %% [markdown]
# The mean covers the picture with one colour, although its values differ by several standard errors: the
# differences are small beside the offset. Published figures do not show this, because they scale each map from
# its own minimum to its own maximum.
#
# The default is 4000 masks. With few, the map has spots that are noise, and being smooth, they look like
# something. The standard error tells:

# %%
show(masks["covariance"].plot(uncertainty=True))

# %% [markdown]
# ## PartitionSHAP: spend where it matters
#
# Halve the picture, halve the halves, and so on. PartitionSHAP always cuts the part that gained most so far.
# So it comes to small cells where the score changes, and leaves the rest coarse. The values sum to
# $v(1) - v(0)$ at any budget.

# %%
partition = it.PartitionSHAPInterpreter(subject)
trees = {
    budget: partition.explain(collage, label="espresso", regions=8, evaluations=budget)
    for budget in (20, 60, 160)
}
titles = [f"{budget} evaluations" for budget in trees]
show(it.grid(list(trees.values()), titles=titles, scale="image"))
for budget, found in trees.items():
    size = found.diagnostics["part_size"]
    print(
        f"{budget:3} evaluations: sum {of_regions(found).sum():.3f}; cells share their gains with "
        f"{size.min():.0f} to {size.max():.0f} cells"
    )
    np.testing.assert_allclose(of_regions(found).sum(), of_regions(trees[20]).sum(), rtol=1e-4)

# %% [markdown]
# ## Side by side, and what it costs
#
# The maps from above, and two methods more. HSIC measures any kind of dependence of the score on a region. Sobol
# indices are shares of the variance of the score when regions are kept in part. Neither has a sign of its own;
# they are given that of the region's mean effect.

# %%
compared = {
    "feature ablation": gaps["mean"],
    "occlusion": windows["window 56"],
    "LIME": narrow[0.25],
    "Kernel SHAP": enough,
    "PartitionSHAP": trees[160],
    "RISE": masks["covariance"],
}
for name, method, evaluations in (
    ("HSIC", it.HSICInterpreter, 128),
    ("Sobol", it.SobolInterpreter, 216),
):
    start = time.perf_counter()
    compared[name] = method(subject).explain(
        collage, label="espresso", regions=5, evaluations=evaluations
    )
    seconds = time.perf_counter() - start
    print(f"{name}: {1000 * seconds / compared[name].diagnostics['evaluations'][0]:.0f} ms a run")
show(it.grid(list(compared.values()), titles=list(compared), columns=5))

for name, found in compared.items():
    runs, share = found.diagnostics["evaluations"][0], share_on_the_right(found)[0]
    print(f"{name:16} {runs:4} evaluations, right half {share:.0%}")

# %% [markdown]
# They agree on the cup, and most of them say that the cat's nose speaks against an espresso. They differ in
# what they say of the rest, and in how large the nose is beside the cup.
#
# Nearly all of the time goes into running the model, so a method costs what its budget is. The defaults are 51 runs
# for feature ablation, 170 for occlusion, 500 to 2000 for most others, and 4000 for RISE. One method is missing
# here: extremal perturbation looks for the mask of a given area that keeps the score highest, by gradients, and takes
# some minutes.

# %% [markdown]
# ## Any function
#
# None of this needs a network. `it.Subject.from_function` takes any function from arrays to scores. Here is a
# support vector machine of scikit-learn that knows handwritten digits, and a random forest that tells wines
# apart by a table of 13 columns.

# %%
digits = load_digits()
machine = SVC().fit(digits.data / 16, digits.target)
vectors = it.Subject.from_function(
    lambda x: machine.decision_function(x.reshape(len(x), -1)),
    preprocessing=it.Preprocessing(resize=None, crop=None, mean=(0,), std=(1,)),
    class_names=[str(digit) for digit in range(10)],
    output_kind="logits",
    batch_size=512,
)
pictures = np.uint8(digits.images[[0, 3, 4], ..., None] * 255 / 16)
strokes = it.KernelSHAPInterpreter(vectors).explain(
    pictures, regions=8, fill="black", evaluations=2000
)
show(strokes.plot(original=True))

# %% [markdown]
# Each of the 64 pixels is a region. A picture that is all black, $v(0)$, is what the values compare with.
# (The numbers above the maps are the softmax of the machine's scores, which are no probabilities.)

# %%
wine = load_wine()
forest = RandomForestClassifier(50, random_state=0).fit(wine.data, wine.target)
bottles = it.Subject.from_function(
    forest.predict_proba,
    class_names=wine.target_names.tolist(),
    output_kind="probabilities",
    batch_size=512,
)
average = wine.data.mean(axis=0)
found = it.KernelSHAPInterpreter(bottles).explain(
    wine.data[:1], fill=average, gradient_of="probability", tolerance=0.05
)
values, error = found.values[0], found.diagnostics["standard_error"][0]
order = np.argsort(values)
figure, panel = plt.subplots(figsize=(5, 3), layout="constrained")
panel.barh(range(13), values[order], xerr=2 * error[order])
panel.set_yticks(range(13), [wine.feature_names[j] for j in order], fontsize=7)
panel.set_xlabel("Shapley value, with two standard errors")
panel.set_title(f"{found.label_names[0]}: {found.scores[0]:.2f}", fontsize=9)
plt.show()
rise_of_score = forest.predict_proba(np.stack([wine.data[0], average]).astype(np.float32))[:, 0]
print(f"sum {values.sum():.3f} = p(bottle) - p(average) = {-np.diff(rise_of_score)[0]:.3f}")
np.testing.assert_allclose(values.sum(), -np.diff(rise_of_score)[0], atol=1e-5)

# %% [markdown]
# ## Which one, and what to say with the map
#
# | choice | what it does to the map |
# |---|---|
# | regions | draw their own outlines; nothing is finer than they are |
# | fill | is the "instead of what" of the question |
# | evaluations | noise; the standard error says how much |
# | one region at a time | quick, blind to what two regions say alike |
# | LIME | a linear fit around pictures of which half is missing |
# | Shapley values | sum to $v(1) - v(0)$; regions that say the same share it |
# | RISE | no edges of regions; many evaluations |
# | HSIC, Sobol | how strongly the score depends on a region, not by how much it rises |
#
# So a map without gradients comes with four facts: the regions, the fill, the number of evaluations, and the
# standard error. `explanation.parameters` and `explanation.diagnostics` have them.
#
# Where there are gradients, [other methods](07_choosing_and_checking.ipynb) are a hundred times as fast, and
# finer. All options: [docs/methods](../docs/methods/families/perturbation.md). A function of your own:
# [docs/how_to](../docs/how_to/any_function.md).
#
# References: [occlusion](https://arxiv.org/abs/1311.2901), [LIME](https://arxiv.org/abs/1602.04938),
# [Kernel SHAP](https://arxiv.org/abs/1705.07874),
# [Shapley sampling](https://doi.org/10.1016/j.cor.2008.04.004), [RISE](https://arxiv.org/abs/1806.07421),
# [HSIC](https://arxiv.org/abs/2206.06219), [Sobol](https://arxiv.org/abs/2111.04138).
