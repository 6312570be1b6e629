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
# # Understanding a network, in seventeen steps
#
# A small network learns to read handwritten digits in a few seconds. Then it is examined with the
# classic methods, one step for each: the formula, the call, a figure over several digits. Digits
# are a good place to learn the methods, because anyone can judge the maps.
#
# | part | steps |
# |---|---|
# | What does the network look for? | 1 activation maximization, also with an expert · 2 in code space |
# | How is a score divided among the pixels? | 3 sensitivity analysis · 4 simple Taylor · 5 LRP · 6 deep Taylor · 7 DeepLIFT |
# | What do gradients show? | 8 deconvolution · 9 backpropagation · 10 guided backpropagation · 11 integrated gradients · 12 SmoothGrad |
# | Where in the picture is it? | 13 CAM · 14 Grad-CAM · 15 Grad-CAM++ |
# | How good is an explanation? | 16 continuity · 17 selectivity |
#
# Steps 1 to 6, 16 and 17 follow Montavon, Samek and Müller, [Methods for interpreting and
# understanding deep neural networks](https://arxiv.org/abs/1706.07979). Where a method promises
# something, such as a sum, an assertion checks it.

# %%
try:
    import interpretdl as it
except ModuleNotFoundError:
    # %pip install -q ..
    import interpretdl as it

import warnings

import matplotlib.pyplot as plt
import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn
from skimage.transform import resize
from sklearn.datasets import load_digits

from interpretdl.feature_visualization import ActivationMaximization

# Paddle mentions this of every batch-norm that is trained
warnings.filterwarnings("ignore", "When training, we now always track", module="paddle")
it.show_progress(False)  # no progress bars in the saved notebook
paddle.seed(0)
rng = np.random.default_rng(0)

# %% [markdown]
# ## The data and the network
#
# scikit-learn's 1,797 digits have 8 × 8 pixels. They are enlarged to 20 × 20 and framed by 4 black
# pixels, the format of MNIST. 360 of them are kept for testing.

# %%
data = load_digits()
order = rng.permutation(len(data.images))
images = resize(data.images[order] / 16, (len(order), 20, 20), order=1, mode="edge")
images = np.pad(images, [(0, 0), (4, 4), (4, 4)])[:, None].astype("float32")  # [N, 1, 28, 28]
train_x, test_x = images[360:], images[:360]
train_y, test_y = np.split(data.target[order], [360])[::-1]

# %% [markdown]
# Three convolutions, global average pooling and one dense layer without a bias, the form that CAM
# (step 13) needs.

# %%
model = nn.Sequential(
    ("conv1", nn.Conv2D(1, 12, 5, padding=2, bias_attr=False)), ("norm1", nn.BatchNorm2D(12)),
    ("relu1", nn.ReLU()), ("pool1", nn.AvgPool2D(2)),
    ("conv2", nn.Conv2D(12, 24, 3, padding=1, bias_attr=False)), ("norm2", nn.BatchNorm2D(24)),
    ("relu2", nn.ReLU()), ("pool2", nn.MaxPool2D(2)),
    ("conv3", nn.Conv2D(24, 48, 3, padding=1, bias_attr=False)), ("norm3", nn.BatchNorm2D(48)),
    ("relu3", nn.ReLU()), ("mean", nn.AdaptiveAvgPool2D(1)), ("flat", nn.Flatten()),
    ("dense", nn.Linear(48, 10, bias_attr=False)),
)  # fmt: skip


def train(parameters, loss, epochs, rate, batch=64):
    """Adam with a falling rate; loss(rows) is the loss of these training pictures."""
    steps = len(train_x) // batch
    falling = paddle.optimizer.lr.CosineAnnealingDecay(rate, epochs * steps)
    adam = paddle.optimizer.Adam(falling, parameters=parameters)
    for _ in range(epochs):
        for rows in rng.permutation(len(train_x))[: steps * batch].reshape(steps, batch):
            loss(rows).backward()
            adam.step()
            adam.clear_grad()
            falling.step()


def classification_loss(rows):
    """Cross entropy of noisy pictures, moved by up to two pixels."""
    moved = np.roll(train_x[rows], rng.integers(-2, 3, 2), axis=(2, 3))
    amount = 0.3 * rng.random((len(rows), 1, 1, 1))
    noisy = (moved + amount * rng.standard_normal(moved.shape)).astype("float32")
    return F.cross_entropy(model(paddle.to_tensor(noisy)), paddle.to_tensor(train_y[rows]))


train(model.parameters(), classification_loss, epochs=10, rate=0.01)

# %% [markdown]
# `model.preprocessing` says how pixels become inputs, here that a pixel in [0, 1] is the input
# itself. `model.class_names` are used in titles and as labels.

# %%
model.eval()
model.preprocessing = it.Preprocessing(resize=None, crop=None, mean=(0.0,), std=(1.0,))
model.class_names = tuple("0123456789")


def logits(x):
    """The network's ten scores of each picture, [N, 10]."""
    with paddle.no_grad():
        return model(paddle.to_tensor(x)).numpy()


right = logits(test_x).argmax(axis=1) == test_y
digits = np.stack([test_x[right & (test_y == digit)][0] for digit in range(10)])
scores = logits(digits).max(axis=1)
print(f"{right.mean():.1%} of the test pictures are read correctly")

# %% [markdown]
# `digits` holds one test picture of each class, `scores` the logits that are explained from here
# on. A short function draws the figures. Signed maps are red where a pixel speaks for the class and
# blue where it speaks against it. Other maps go from black, which is 0, to yellow.


# %%
def draw(lines, shared=False):
    """Lines (name, maps [N, H, W], colours) of small pictures; shared: one scale for a line."""
    strips = []
    for _, maps, colours in lines:
        limit = abs(maps).max(axis=None if shared else (1, 2), keepdims=True) + 1e-9
        unit = (maps / limit + 1) / 2 if colours == "RdBu_r" else maps / limit
        tiles = plt.get_cmap(colours)(unit)[..., :3]
        tiles = np.pad(tiles, [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=0.8)
        strips.append(np.concatenate(list(tiles), axis=1))
    picture = np.concatenate(strips)
    height, width = picture.shape[:2]
    figure = plt.figure(figsize=(width / 36, height / 36), dpi=72)  # 2 × 2 dots for a pixel
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(picture, interpolation="nearest")
    axes.set(xticks=[], yticks=(np.arange(len(lines)) + 0.5) * height / len(lines))
    axes.set_yticklabels([name for name, _, _ in lines], fontsize=11)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    plt.show()


def show(rows):
    """A line for each entry: pictures [N, 1, H, W], or the maps of an Explanation."""
    lines = []
    for name, row in rows.items():
        if isinstance(row, it.Explanation):
            lines.append((name, row.heatmap(), "RdBu_r" if row.signed else "inferno"))
        else:
            lines.append((name, row[:, 0].clip(0, 1), "gray"))
    draw(lines)


show({"digits": digits})

# %% [markdown]
# # What does the network look for?
#
# ## 1 Activation maximization
#
# Which input does the network take for a perfect 3? Gradient ascent finds one:
#
# $$x^\star = \arg\max_x \; \log p(\omega_c \mid x) - \lambda \lVert x - x_0 \rVert^2$$
#
# A list of classes gives a picture of each, in one result. The number above a picture is $\log
# p(\omega_c \mid x^\star)$, which is at most 0.

# %%
maximization = ActivationMaximization(model)
plain = maximization.plain(list(range(10)), (1, 28, 28), weight=0.02, steps=100)
plain.plot(history=False)

# %% [markdown]
# The network reads each picture as its class with near certainty, and hardly one of them looks like
# it. Nothing in the formula asks for a picture that could occur.

# %%
assert (logits(plain.inputs).argmax(axis=1) == range(10)).all()

# %% [markdown]
# ### With an expert
#
# An expert is a model of what pictures look like. Its log density takes the place of the distance:
#
# $$x^\star = \arg\max_x \; \log p(\omega_c \mid x) + \mu \log p(x)$$
#
# With $\mu = 1$ this is, by Bayes' rule, the likeliest picture of the class. Any function from
# inputs to one number each can be the expert. Here it is a Gaussian with the mean and the
# covariance of the training pictures.

# %%
flat = train_x.reshape(len(train_x), -1)
center = paddle.to_tensor(flat.mean(axis=0))
covariance = np.cov(flat.T) + 0.1 * np.eye(784)  # some variance in every direction
precision = paddle.to_tensor(np.linalg.inv(covariance).astype("float32"))


def log_density(x):
    away = x.flatten(1) - center
    return -0.5 * (paddle.matmul(away, precision) * away).sum(axis=1)  # up to a constant


likely = maximization.plain(
    list(range(10)), (1, 28, 28), weight=0, steps=100, expert=lambda x: 0.5 * log_density(x)
)
show({"plain": plain.inputs, "with an expert": likely.inputs})

# %% [markdown]
# The expert's pictures are smooth, empty at the frame, and closer to digits. A Gaussian knows which
# pixels go together, and no more than that. A better expert gives better pictures.


# %%
def density(x):
    return log_density(paddle.to_tensor(x)).numpy()


assert (density(likely.inputs) > density(plain.inputs)).all()
assert (logits(likely.inputs).argmax(axis=1) == range(10)).all()

# %% [markdown]
# ## 2 Activation maximization in code space
#
# A decoder $g$ turns codes $z \sim N(0, 1)$ into pictures. Now the code is optimized in place of
# the pixels, so that the result is a picture that the decoder can draw:
#
# $$z^\star = \arg\max_z \; \log p(\omega_c \mid g(z)) - \lambda \lVert z - z_0 \rVert^2,
# \qquad x^\star = g(z^\star)$$
#
# The decoder is the second half of a variational autoencoder. It learns to draw each training
# picture from six numbers, which are held near $N(0, 1)$.

# %%
encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 12))
decoder = nn.Sequential(
    nn.Linear(6, 256), nn.ReLU(), nn.Linear(256, 784), nn.Sigmoid(), nn.Unflatten(1, [1, 28, 28])
)


def autoencoder_loss(rows):
    """Cross entropy of the pixels, and the codes' divergence from N(0, 1)."""
    x = paddle.to_tensor(train_x[rows])
    mean, log_variance = encoder(x).chunk(2, axis=1)
    drawn = decoder(mean + (log_variance / 2).exp() * paddle.randn(mean.shape))
    divergence = (mean.square() + log_variance.exp() - 1 - log_variance).sum() / 2
    return (F.binary_cross_entropy(drawn, x, reduction="sum") + divergence) / len(x)


train([*encoder.parameters(), *decoder.parameters()], autoencoder_loss, epochs=40, rate=0.004)
with paddle.no_grad():
    drawn = decoder(paddle.randn([10, 6])).numpy()

# %% [markdown]
# In code space there are several hills. `starts=4` climbs from four places for each class, and the
# best of the four is shown.

# %%
codes = maximization.in_code_space(
    list(range(10)), decoder, 6, weight=0.1, steps=60, rate=0.1, starts=4
)
best = codes.scores.reshape(10, 4).argmax(axis=1)
typical = codes.inputs.reshape(10, 4, 1, 28, 28)[range(10), best]
show({"plain": plain.inputs, "in code space": typical, "random codes": drawn})

assert (logits(typical).argmax(axis=1) == range(10)).all()
assert (density(typical) > density(plain.inputs)).all()

# %% [markdown]
# These look like digits. They are what the network likes best *among the pictures that the decoder
# can draw*: inputs that the network would accept, and nobody would write, are out of sight now.

# %% [markdown]
# # How is a score divided among the pixels?
#
# From here on pictures are explained. How much does each pixel contribute to the score $f(x)$, the
# logit of the class?
#
# ## 3 Sensitivity analysis
#
# $$R_i = \left( \frac{\partial f}{\partial x_i} \right)^2$$
#
# It finds the pixels that change the score fastest, whether or not they are part of the digit.

# %%
sensitivity = it.SensitivityInterpreter(model).explain(digits)
show({"digit": digits, "sensitivity": sensitivity})

# %% [markdown]
# The sum of the map is $\lVert \nabla f \rVert^2$, the rise of the score for a small step along the
# gradient, divided by the size of the step. The map explains a change of the score, not the score.
# The next cell takes that step.

# %%
step = 1e-3 * it.GradientInterpreter(model).explain(digits).values
rise = (logits(digits + step).max(axis=1) - scores) / 1e-3
np.testing.assert_allclose(sensitivity.values.sum(axis=(1, 2, 3)), rise, rtol=0.05)

# %% [markdown]
# ## 4 Simple Taylor decomposition
#
# $$R_i = x_i \, \frac{\partial f}{\partial x_i}$$
#
# A network of ReLUs is linear around each picture, and this is the linear function's part for each
# pixel. It has a sign, and black pixels have no relevance.

# %%
taylor = it.SimpleTaylorInterpreter(model).explain(digits)
show({"digit": digits, "simple Taylor": taylor})

# %% [markdown]
# What the pixels do not explain belongs to the biases $b$, those of the batch-norms here:
#
# $$f(x) = \sum_i x_i \frac{\partial f}{\partial x_i} + \sum_b b \, \frac{\partial f}{\partial b}$$

# %%
chosen = paddle.diag(model(paddle.to_tensor(digits)))  # of digit d the score of class d
chosen.sum().backward()
from_biases = 0.0
for norm in (model.norm1, model.norm2, model.norm3):
    bias = norm.bias - norm.weight * norm._mean / (norm._variance + 1e-5).sqrt()
    from_biases += float((bias * norm.bias.grad).sum())

np.testing.assert_allclose(taylor.values.sum() + from_biases, scores.sum(), rtol=1e-3)
print(f"score {scores.sum():.1f} = pixels {taylor.values.sum():.1f} + biases {from_biases:.1f}")

# %% [markdown]
# ## 5 Layer-wise relevance propagation
#
# The score goes back layer by layer, and each unit divides what it receives among its inputs:
#
# $$R_j = \sum_k \frac{z_{jk}}{\sum_{j'} z_{j'k}} R_k, \qquad z_{jk} = x_j w_{jk}$$
#
# The rules differ in what they take for $z_{jk}$, and a composite says which rule works in which
# layer. The $\varepsilon$ rule is the formula as it stands. The $\gamma$ rule prefers positive
# contributions, and $z^+$ and $\alpha_1\beta_0$ know no others. The z-box rule is for pixels, whose
# range is known.

# %%
lrp = it.LRPInterpreter(model)
composites = ["epsilon", "epsilon_plus", "epsilon_gamma_box", "alpha1_beta0"]
relevance = {name: lrp.explain(digits, composite=name) for name in composites}
show({"digit": digits, **relevance})

# %% [markdown]
# With the $\varepsilon$ rule LRP *is* simple Taylor decomposition, in a network of ReLUs. And no
# relevance is lost without a trace: `audit` says what arrived at each layer, what was passed on,
# and what biases and stabilizers kept.

# %%
difference = relevance["epsilon"].values - taylor.values
assert np.linalg.norm(difference) < 0.01 * np.linalg.norm(taylor.values)
for name, found in relevance.items():
    audit = lrp.audit(digits, composite=name)
    kept = audit.start - found.values.sum(axis=(1, 2, 3))
    np.testing.assert_allclose(audit.absorbed, kept, atol=1e-2 * scores.max())
print(lrp.audit(digits[3:4], composite="epsilon_gamma_box"))

# %% [markdown]
# ## 6 Deep Taylor decomposition
#
# A Taylor expansion of each unit, around a point at which it is just not active, in place of one
# expansion of the whole network. Between layers of ReLUs this gives the $z^+$ rule, and z-box for
# the pixels:
#
# $$R_j = \sum_k \frac{x_j w_{jk}^+}{\sum_{j'} x_{j'} w_{j'k}^+ + b_k^+} R_k$$
#
# Nothing is negative, and only biases above zero keep a part of the score. What comes out shows
# where the network looked, hardly for which class.

# %%
deep_taylor = it.DeepTaylorInterpreter(model).explain(digits)
show({"digit": digits, "simple Taylor": taylor, "deep Taylor": deep_taylor})

arrived = deep_taylor.values.sum(axis=(1, 2, 3))
assert (deep_taylor.values >= 0).all()
assert (arrived <= scores * 1.001).all()
print("arrived at the pixels:", *[f"{share:.0%}" for share in arrived / scores])

# %% [markdown]
# ## 7 DeepLIFT
#
# A difference of scores is divided among the differences of the pixels. Each activation passes on
# the ratio of its change to that of its input, in place of its slope:
#
# $$R_i = (x_i - x_i^0) \, m_i, \qquad m = \frac{\Delta y}{\Delta x} \text{ at each ReLU},
# \qquad \sum_i R_i = f(x) - f(x^0)$$
#
# "Compared with what?" is part of the question. Compared with black, only the strokes can count.
# Compared with the average digit, places that were left empty count too.

# %%
deep_lift = it.DeepLIFTInterpreter(model)
average = train_x.mean(axis=0)
black, mean = deep_lift.explain(digits), deep_lift.explain(digits, baselines=average)
show({"digit": digits, "compared with black": black, "with the average": mean})

for found, reference in [(black, 0 * average), (mean, average)]:
    change = scores - logits(reference[None])[0]
    np.testing.assert_allclose(found.values.sum(axis=(1, 2, 3)), change, rtol=1e-3, atol=1e-3)

# %% [markdown]
# # What do gradients show?
#
# The next three steps differ only in what a ReLU with input $a$ does with the gradient $g$ that
# comes back to it:
#
# | method | passes on |
# |---|---|
# | deconvolution | $g \cdot [g > 0]$ |
# | backpropagation | $g \cdot [a > 0]$ |
# | guided backpropagation | $g \cdot [a > 0] \cdot [g > 0]$ |
#
# ## 8 Deconvolution
#
# Zeiler and Fergus asked what a feature inside the network had seen: take the channels of a layer
# that answer most to a picture, and send the strongest unit of each back to the pixels.
# `it.ChannelScore` makes a channel the target, or with a position one unit of it.

# %%
layer, deconvolution = "relu3", it.DeconvnetInterpreter(model)
answers = it.Probe(model).activations(digits, layer)[layer]  # [10, 48, 7, 7]
strongest = np.argsort(-answers.max(axis=(2, 3)), axis=1)[:, :3]


def feature(digit, channel):
    """What the strongest unit of a channel saw in a digit, [28, 28]."""
    maps = answers[digit, channel]
    place = np.unravel_index(maps.argmax(), maps.shape)
    found = deconvolution.explain(
        digits[[digit]], label=it.ChannelScore(layer, channel, position=place)
    )
    np.testing.assert_allclose(found.scores, maps.max(), rtol=1e-4)
    return found.heatmap()[0]


lines = [("digit", digits[:, 0], "gray")]
for k in range(3):
    seen = np.stack([feature(digit, int(strongest[digit, k])) for digit in range(10)])
    lines.append((f"feature {k + 1}", seen, "inferno"))
lines.append(("class", deconvolution.explain(digits).heatmap(), "inferno"))
draw(lines)
print("The strongest channels of the digit 0 are", *strongest[0], "and those of 1", *strongest[1])

# %% [markdown]
# ## 9 Backpropagation
#
# $$R = \frac{\partial f}{\partial x}$$
#
# The gradient itself, which Simonyan and others drew as a saliency map. `gradient_of=` takes
# another score of the class: "probability", "loss", or "contrast", the logit less the mean of the
# others.

# %%
gradient = it.GradientInterpreter(model)
logit, contrast = gradient.explain(digits), gradient.explain(digits, gradient_of="contrast")
show({"digit": digits, "logit": logit, "contrast": contrast})

# %% [markdown]
# The gradient is linear in what is explained. That of the contrast is the gradient of the class's
# logit, less the mean of the other nine.

# %%
total = sum(gradient.explain(digits, label=digit).values for digit in range(10))
others = (total - logit.values) / 9
np.testing.assert_allclose(contrast.values, logit.values - others, atol=1e-4)

# %% [markdown]
# ## 10 Guided backpropagation
#
# The clearest strokes of the three. But ask for the wrong class, the next digit, and nearly the
# same map comes back: it shows what the network sees, not what decides.

# %%
guided, next_digit = it.GuidedBPInterpreter(model), (np.arange(10) + 1) % 10
own, wrong = guided.explain(digits), guided.explain(digits, label=next_digit)
show({"digit": digits, "own class": own, "wrong class": wrong})


# %%
def likeness(a, b):
    """The mean correlation of two methods' maps."""
    both = zip(a.heatmap(), b.heatmap(), strict=True)
    return np.mean([np.corrcoef(one.ravel(), other.ravel())[0, 1] for one, other in both])


for_guided = likeness(own, wrong)
for_gradient = likeness(logit, gradient.explain(digits, label=next_digit))
print(f"own and wrong class: correlation {for_guided:.2f}, of the gradient {for_gradient:.2f}")
assert for_guided > for_gradient

# %% [markdown]
# ## 11 Integrated gradients
#
# $$R_i = (x_i - x_i^0) \int_0^1 \frac{\partial f}{\partial x_i}\bigl(x^0 + t\,(x - x^0)\bigr)\, dt,
# \qquad \sum_i R_i = f(x) - f(x^0)$$
#
# The gradient at the picture does not know how the score got there. Its mean on the way from a
# baseline does, and it adds up. With `tolerance=` gradients are added until it does.

# %%
integrated = it.IntegratedGradientsInterpreter(model)
options = {"gradient_of": "logit", "tolerance": 0.01}
black = integrated.explain(digits, **options)
mean = integrated.explain(digits, baselines=average, **options)
show({"digit": digits, "from black": black, "from the average": mean})

for found, reference in [(black, 0 * average), (mean, average)]:
    change = scores - logits(reference[None])[0]
    np.testing.assert_allclose(found.values.sum(axis=(1, 2, 3)), change, rtol=0.011, atol=1e-3)
print("gradients for each digit:", *black.diagnostics["steps"])

# %% [markdown]
# ## 12 SmoothGrad
#
# $$R = \frac{1}{n} \sum_{i=1}^n \frac{\partial f}{\partial x}(x + \varepsilon_i), \qquad
# \varepsilon_i \sim N(0, \sigma^2)$$
#
# The gradient jumps where a ReLU switches, and its mean over noisy copies of the picture does not.
# `noise_amount` is $\sigma$ as a share of the picture's range. With 0 it is the gradient itself,
# and with too much the picture is lost in the noise.

# %%
smooth = it.SmoothGradInterpreter(model)
maps = {
    f"σ = {amount}": smooth.explain(digits, gradient_of="logit", noise_amount=amount, n_samples=30)
    for amount in (0, 0.1, 0.3)
}
show({"digit": digits, **maps})

np.testing.assert_allclose(maps["σ = 0"].values, logit.values, atol=1e-5)

# %% [markdown]
# # Where in the picture is it?
#
# With one digit in the middle the answer is no surprise, so from here two digits share a picture.
# The network was not trained on such pictures, but it averages over all positions, and takes
# pictures of any size.
#
# ## 13 Class activation maps
#
# After the last convolution this network takes the mean of each channel $A_k$, and then weights the
# means. Do it in the other order, and what is averaged is a map:
#
# $$R(u, v) = \sum_k w_k^c A_k(u, v), \qquad f_c(x) = \operatorname{mean}_{u, v} R(u, v)$$

# %%
pairs = np.concatenate([digits[:5], digits[:4:-1]], axis=3)  # 0 beside 9, 1 beside 8, …
left_class, right_class = np.arange(5), np.arange(9, 4, -1)
cam = it.CAMInterpreter(model)
left, right = cam.explain(pairs, label=left_class), cam.explain(pairs, label=right_class)
show({"picture": pairs, "left class": left, "right class": right})

# %% [markdown]
# The mean of each map is the logit. And the maps find their digits: each is higher, on average, on
# the half with the digit than on the other.

# %%
for found, place in [(left, 0), (right, 1)]:
    np.testing.assert_allclose(found.values.mean(axis=(1, 2)), found.scores, rtol=1e-3, atol=1e-3)
    halves = [half.mean(axis=(1, 2)) for half in np.split(found.values, 2, axis=2)]
    assert (halves[place] > halves[1 - place]).all()

# %% [markdown]
# ## 14 Grad-CAM
#
# The weights are gradients, so that any network and any of its layers will do:
#
# $$R = \operatorname{ReLU}\Bigl(\sum_k w_k A_k\Bigr), \qquad
# w_k = \operatorname{mean}_{u, v} \frac{\partial f}{\partial A_k(u, v)}$$
#
# At the last layer of this network it is CAM without the negative part, divided by the number of
# positions.

# %%
grad_cam = it.GradCAMInterpreter(model)
last = grad_cam.explain(pairs, label=left_class)
earlier = grad_cam.explain(pairs, label=left_class, target_layer_name="relu2")
show({"picture": pairs, "left, relu3": last, "left, relu2": earlier})

positions = last.values[0].size
np.testing.assert_allclose(last.values, left.values.clip(min=0) / positions, atol=1e-4)

# %% [markdown]
# ## 15 Grad-CAM++
#
# Only positive gradients count, and the weight of a channel does not shrink when it is active in a
# small place:
#
# $$w_k = \sum_{u, v} \alpha \operatorname{ReLU}(g), \qquad
# \alpha = \frac{g^2}{2 g^2 + \sum_{u, v} A_k \, g^3}, \qquad g = \frac{\partial f}{\partial A_k}$$
#
# It is meant for several objects of one class, of which Grad-CAM may show the strongest only. These
# pictures have the same digit twice, the second time darker.

# %%
twice = np.concatenate([digits[:5], 0.5 * digits[:5]], axis=3)
once, plus = (
    method.explain(twice, label=left_class)
    for method in (grad_cam, it.GradCAMPlusPlusInterpreter(model))
)
show({"picture": twice, "Grad-CAM": once, "Grad-CAM++": plus})

# %% [markdown]
# Behind the last layer of this network $g$ is the same at all positions, the dense layer's weight
# divided by their number. So the formula can be written down.

# %%
activation = it.Probe(model).activations(twice, "relu3")["relu3"]
g = model.dense.weight.numpy().T[left_class][:, :, None, None] / positions
total = activation.sum(axis=(2, 3), keepdims=True)
weight = positions * g.clip(min=0) / (2 + total * g)
expected = (weight * activation).sum(axis=1).clip(min=0)
np.testing.assert_allclose(plus.values, expected, rtol=1e-3, atol=1e-5)

# %% [markdown]
# # How good is an explanation?
#
# ## 16 Continuity
#
# Two pictures that are nearly the same should have nearly the same explanation:
#
# $$\max_{x' \neq x} \frac{\lVert R(x) - R(x') \rVert_1}{\lVert x - x' \rVert_2}$$
#
# The pictures $x'$ are translations of $x$. `normalize=True` divides by the size of each map, so
# that methods of different units can be compared, and `frames=` keeps the pictures and their maps.

# %%
methods = {
    "sensitivity": it.SensitivityInterpreter(model),
    "simple Taylor": it.SimpleTaylorInterpreter(model),
    "deep Taylor": it.DeepTaylorInterpreter(model),
}
continuity = it.Continuity(max_shift=8, step=1, normalize=True, frames=17)
moved = {
    name: continuity.measure(digits, method.explain(digits), interpreter=method)
    for name, method in methods.items()
}
for name, found in moved.items():
    print(f"{name}: {found.mean:.2f}, lower is better")


# %%
def show_frames(results, digit, which):
    """Some of the pictures kept of one digit, and each method's maps of them on one scale."""
    lines = []
    for name, found in results.items():
        seen = found.frames
        pictures = seen.images[digit, which, :, :, 0] / 255
        if not lines or not np.array_equal(pictures, lines[0][1]):
            lines.append(("picture", pictures, "gray"))
        colours = "RdBu_r" if seen.signed else "inferno"
        lines.append((name, seen.maps[digit, which], colours))
    draw(lines, shared=True)


show_frames(moved, digit=3, which=slice(None, None, 2))

# %% [markdown]
# The digit moves from left to right, and a continuous explanation moves along. Four curves make it
# visible: the sum of the map in each quarter of the picture, R1 at the upper left, R2 at the upper
# right, R3 at the lower left, R4 at the lower right. Spikes are discontinuities.

# %%
figure, panels = plt.subplots(1, 3, figsize=(10, 2.6), dpi=72, layout="constrained")
for axes, (name, found) in zip(panels, moved.items(), strict=True):
    for label, sums in zip(["R1", "R2", "R3", "R4"], found.frames.quarters[:, 3], strict=True):
        axes.plot(found.frames.axis, sums, label=label)
    axes.set(title=name, xlabel=found.axis_label)
panels[-1].legend(bbox_to_anchor=(1, 1))
plt.show()

# %%
for found in moved.values():
    whole = found.frames.maps.sum(axis=(2, 3))
    np.testing.assert_allclose(found.frames.quarters.sum(axis=0), whole, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(found.values, found.curves["change"].max(axis=1))
    assert moved["deep Taylor"].mean <= found.mean

# %% [markdown]
# ## 17 Selectivity
#
# What an explanation calls relevant should matter. The 4 × 4 patch with the most relevance is
# blackened, the new picture is explained, and so on. The faster the score falls the better, and the
# area under its curve is the measure. Relevance drawn at random is there for comparison.

# %%
selectivity = it.Selectivity(model, patch=4, steps=20, frames=21)
methods["LRP"] = lrp
fallen = {
    name: selectivity.measure(digits, method.explain(digits), interpreter=method)
    for name, method in methods.items()
}


def chance(x, target=None):
    return rng.random(x.shape).astype("float32")


fallen["random"] = selectivity.measure(digits, chance(digits), np.arange(10), interpreter=chance)

# %%
figure, axes = plt.subplots(figsize=(6, 3), dpi=72, layout="constrained")
for name, found in fallen.items():
    axes.plot(found.axis, found.curves["score"].mean(axis=0), label=f"{name}  {found.mean:.2f}")
axes.set(xlabel=found.axis_label, ylabel="score, mean over the digits", xticks=range(0, 21, 4))
axes.legend(bbox_to_anchor=(1, 1), title="area / steps")
plt.show()

# %% [markdown]
# Each curve begins at the score of the whole digit, and an explanation that is worth anything falls
# faster than chance. The degraded pictures show what was taken away, up to seven patches. The maps
# of one method share a scale here, so they fade with the score. Deep Taylor explains only scores
# above zero: below, its map is empty.

# %%
for name in methods:
    np.testing.assert_allclose(fallen[name].curves["score"][:, 0], scores, rtol=1e-3)
    assert fallen[name].mean < fallen["random"].mean
show_frames({name: fallen[name] for name in ("simple Taylor", "deep Taylor")}, 7, slice(8))

# %% [markdown]
# # All of them
#
# `it.explain_with` asks several methods at once.

# %%
names = ["gradient", "guided_bp", "deconvnet", "smooth_grad", "integrated_gradients", "deep_lift"]
names += ["simple_taylor", "lrp", "deep_taylor", "cam", "grad_cam"]
show({"digit": digits[::2], **it.explain_with(names, model, digits[::2])})

# %% [markdown]
# What to take from it:
#
# - Simple Taylor, LRP, deep Taylor, DeepLIFT and integrated gradients answer "how much of the score
#   comes from this pixel?", and their sum can be checked. Gradients answer "what would change the
#   score?".
# - Deconvolution, guided backpropagation and deep Taylor show what the network sees, whatever the
#   class.
# - Class activation maps tell objects in a picture apart, and are as coarse as their layer.
# - A convincing map is no proof. Measure it, as in steps 16 and 17, on more than ten pictures.
