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
# # Models of Paddle's suites
#
# Models come in many forms: as an exported program, as a detector that returns boxes, as a segmenter that
# returns a class for each pixel, in half precision, with two inputs, or in the middle of a training. This
# notebook goes through them with models that need no download. The last section has the same lines for
# PaddleClas, PaddleSeg and PaddleDetection.
#
# The detector and the segmenter are tiny and their weights are set by hand, so that we know what each of their
# scores depends on, and can see whether a map shows it.
#
# The next cell installs the package from this clone where it is missing, for example in AI Studio.

# %%
import os

os.environ.setdefault("GLOG_minloglevel", "2")  # no messages of Paddle's about its export

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
from PIL import Image
from sklearn.datasets import load_digits

# Paddle's own training loop copies its tensors in a way that Paddle advises against
warnings.filterwarnings("ignore", "To copy construct from a tensor", module="paddle")
it.show_progress(False)  # no progress bars in the saved notebook
ROOT = Path(tempfile.mkdtemp())

# %% [markdown]
# ## An exported model
#
# The suites' export tools write a program, `inference.json`, and its parameters, `inference.pdiparams`.
# `paddle.jit.save` does the same. The default network stands for yours.

# %%
collage = "../assets/collage.png"
network = it.lrp_model.efficientnet_lite0(pretrained=True)
network.eval()

shape = paddle.static.InputSpec([None, 3, 224, 224], "float32")
paddle.jit.save(network, str(ROOT / "inference"), input_spec=[shape])
for file in sorted(ROOT.iterdir()):
    print(f"{file.name:20} {file.stat().st_size / 1e6:5.1f} MB")

# %% [markdown]
# `paddle.jit.load` makes one layer of this, with nothing to see inside. `it.load_exported` makes a network of
# layers, and compares its outputs with Paddle's own execution of the program before it returns. What is not in
# the file is how pictures are prepared, and what the classes are called.

# %%
exported = it.load_exported(ROOT / "inference.json")
exported.preprocessing = network.preprocessing
exported.class_names = network.class_names

names = [name for name, _ in exported.named_sublayers()]
print(len(names), "layers:", ", ".join(names[:5]), "…", ", ".join(names[-5:]))

# %% [markdown]
# Every method works on it. LRP needs each layer, and Grad-CAM one of them, which it finds by itself.

# %%
maps = {}
for name, model in {"original": network, "exported": exported}.items():
    for method in (it.LRPInterpreter, it.GradCAMInterpreter):
        found = method(model).explain(collage, label="tiger cat")
        maps[f"{found.method}, {name}"] = found
for method in ("lrp", "grad_cam"):
    before, after = (maps[f"{method}, {name}"].values for name in ("original", "exported"))
    difference = np.abs(before - after).max() / np.abs(before).max()
    print(f"{method:8} largest difference, as a share of the largest value: {difference:.0e}")
    assert difference < 1e-5

it.grid(list(maps.values()), titles=list(maps))

# %% [markdown]
# ## A detector
#
# A detector gives a list of boxes, and each of them has its own reason. Ours looks for red and green squares of
# 24 × 24 pixels. Its first layer says how red and how green each pixel is, its second one adds this up, once
# every 8 pixels.


# %%
class Squares(nn.Layer):
    """Boxes of 24 x 24 pixels, 8 pixels apart, and logits of "red" and "green"."""

    def __init__(self):
        super().__init__()
        self.colours, self.relu = nn.Conv2D(3, 2, 1), nn.ReLU()
        self.colours.weight.set_value(
            np.float32([[1, -0.5, -0.5], [-0.5, 1, -0.5]])[..., None, None]
        )
        self.colours.bias.set_value(np.zeros(2, np.float32))
        self.classes = nn.Conv2D(2, 2, 24, stride=8)
        self.classes.weight.set_value(
            np.float32(np.eye(2)[..., None, None] * np.full([24, 24], 32 / 24**2))
        )
        self.classes.bias.set_value(np.float32([-20, -20]))

    def forward(self, x):
        logits = self.classes(self.relu(self.colours(x)))
        y, x = paddle.meshgrid(*(paddle.arange(0, 8 * side, 8) for side in logits.shape[2:]))
        boxes = paddle.stack([x, y, x + 24, y + 24], axis=-1).reshape([1, -1, 4])
        boxes = boxes.expand([len(logits), -1, -1]).astype("float32")
        return boxes, logits.flatten(2).transpose([0, 2, 1])  # [N, M, 4] and [N, M, 2]


rng = np.random.default_rng(0)
picture = rng.integers(80, 120, (96, 96, 3)).astype(np.uint8)
for left, top, colour in ((8, 16, (235, 40, 40)), (64, 8, (220, 50, 45)), (40, 64, (40, 225, 50))):
    picture[top : top + 24, left : left + 24] = colour

# %% [markdown]
# `it.DetectionSubject` reads PaddleDetection's models as they are. Of another detector it needs a function from
# what the model returns to boxes and scores, before non-maximum suppression.

# %%
detector = it.DetectionSubject(
    Squares(),
    lambda output: output,  # boxes and logits, as they are
    activation="sigmoid",
    size=96,
    class_names=["red", "green"],
    preprocessing=it.Preprocessing(mean=(0, 0, 0), std=(1, 1, 1)),
)
boxes = detector.detect(picture)
print(*boxes, sep="\n")

figure, panel = plt.subplots(figsize=(3, 3), layout="constrained")
panel.imshow(picture)
for found in boxes:
    x0, y0, x1, y1 = found.box
    panel.add_patch(plt.Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, fill=False, color="w"))
    panel.text(x0, y0 - 2, f"{found.index}: {found.name} {found.score:.2f}", color="w", fontsize=8)
panel.axis("off")
plt.show()

# %% [markdown]
# A box is named by its number, by its corners, or by a place in the picture, as from a click. The default method
# is Layer-CAM.

# %%
first = detector.explain(picture, box=0, target_layer_name="model.relu")
clicked = detector.explain(picture, box=(50, 75), target_layer_name="model.relu")  # x, y
it.grid([first, clicked], titles=["box 0", "a click on the green square"], style="heatmap")


# %%
def share_in_its_box(found):
    x0, y0, x1, y1 = np.int64(found.diagnostics["box"][0])
    heat = np.maximum(found.heatmap()[0], 0)
    return heat[y0:y1, x0:x1].sum() / heat.sum()


print(f"in its box: {share_in_its_box(first):.0%} and {share_in_its_box(clicked):.0%}")
assert min(share_in_its_box(first), share_in_its_box(clicked)) > 0.8

# %% [markdown]
# Why not Grad-CAM? It averages the gradient over the whole picture, and has one weight for each channel. So it
# says "red", and not which red. D-RISE (`method="rise"`) needs no gradient: it looks at how well any box of a
# masked picture agrees with this one, in place and in classes. Its masks are coarse and random, and so is its map.

# %%
methods = {
    "Layer-CAM": {"method": "layer_cam", "target_layer_name": "model.relu"},
    "Grad-CAM": {"method": "grad_cam", "target_layer_name": "model.relu"},
    "integrated gradients": {"method": "integrated_gradients"},
    "D-RISE": {"method": "rise", "evaluations": 1000},
}
box = {name: detector.explain(picture, box=0, **options) for name, options in methods.items()}
for name, found in box.items():
    print(f"{name:20} in the box: {share_in_its_box(found):.0%}")
assert share_in_its_box(box["Grad-CAM"]) < 0.6 < share_in_its_box(box["integrated gradients"])
it.grid(list(box.values()), titles=list(box), style="heatmap")

# %% [markdown]
# ## A segmenter
#
# A segmenter gives logits $[K, H, W]$, a class for each pixel. A score is about a *class* in a *region*: the mean
# of the class's logit over the pixels of the region,
#
# $$S = \frac{1}{|M|} \sum_{p \in M} f_c(x)_p$$
#
# In ours, the class of a white pixel is given by the colour 8 pixels to its left. So what speaks for the class of a
# white square is the square itself, and the coloured one beside it.


# %%
class Beside(nn.Layer):
    """A white pixel is "by red" or "by green" if that colour is 8 pixels to its left."""

    def __init__(self):
        super().__init__()
        self.colours, self.on = nn.Conv2D(3, 3, 1), nn.ReLU()  # white, red, green
        self.beside, self.both = nn.Conv2D(3, 2, (1, 17), padding=(0, 8)), nn.ReLU()
        self.classes = nn.Conv2D(2, 3, 1)
        look = np.zeros([2, 3, 1, 17])
        look[:, 0, 0, 8] = look[0, 1, 0, 0] = look[1, 2, 0, 0] = 1
        for layer, weight, bias in (
            (self.colours, np.reshape([[-1, -1, 3], [1, -1, -1], [-1, 1, -1]], (3, 3, 1, 1)), 0),
            (self.beside, look, -1),
            (self.classes, np.reshape([[0, 0], [1, 0], [0, 1]], (3, 2, 1, 1)), [0.5, 0, 0]),
        ):
            layer.weight.set_value(np.float32(weight))
            layer.bias.set_value(np.broadcast_to(np.float32(bias), layer.bias.shape))

    def forward(self, x):
        return [self.classes(self.both(self.beside(self.on(self.colours(x)))))]  # as PaddleSeg's


street = np.zeros((32, 32, 3), np.uint8)
red, green, white = (255, 0, 0), (0, 255, 0), (255, 255, 255)
for row, column, colour in (
    (4, 4, red), (4, 12, white), (20, 4, green), (20, 12, white), (13, 24, red)
):  # fmt: skip
    street[row : row + 6, column : column + 6] = colour

seg = it.SegmentationSubject(
    Beside(),
    class_names=["ground", "by red", "by green"],
    preprocessing=it.Preprocessing(None, None, mean=(0, 0, 0), std=(1, 1, 1)),
)
classes = seg.segment(street)
print({name: round(float(share), 3) for name, share in classes.shares[0].items()})
classes.plot()

# %% [markdown]
# A click at $(x, y)$ means the connected pixels of the class that is there. The default method is Seg-Grad-CAM, at
# the last layer in front of the classifier. Beside it is the same method at the first layer, and integrated
# gradients.

# %%
click = (14, 6)
square = {
    "Seg-Grad-CAM": seg.explain(street, click),
    "Seg-Grad-CAM, layer `on`": seg.explain(street, click, target_layer_name="on"),
    "integrated gradients": seg.explain(street, click, method="integrated_gradients"),
}
it.grid(list(square.values()), titles=list(square), style="heatmap")

# %%
places = {"the square": (4, 12), "the red one": (4, 4), "the other red": (13, 24)}
for name, found in square.items():
    heat = np.maximum(found.heatmap()[0], 0)
    shares = {
        place: heat[row : row + 6, column : column + 6].sum() / heat.sum()
        for place, (row, column) in places.items()
    }
    print(f"{name:25}", ", ".join(f"{place}: {share:.0%}" for place, share in shares.items()))
assert shares["the red one"] > 0.4  # by integrated gradients
assert shares["the other red"] < 0.01

# %% [markdown]
# The last layer has already put both colours together, so its map shows the region again, and the reason is lost.
# At the first layer Grad-CAM knows that white and red count, but not where. Integrated gradients find the red square
# on the left, and leave out the other one, which has no part in it.
#
# A region can also be a class, by its name, or a mask. `label=` asks for another class than the one that is there.

# %%
mask = np.zeros((32, 32), bool)
mask[4:10, 12:15] = True  # the left half of the white square
regions = {
    "the class “by green”": seg.explain(street, "by green", method="integrated_gradients"),
    "a mask": seg.explain(street, mask, method="integrated_gradients"),
}
it.grid(list(regions.values()), titles=list(regions), style="heatmap")

# %% [markdown]
# ## Half precision, and several inputs
#
# A model in float16 or bfloat16 is explained in float32, by a copy, with a warning that says so.

# %%
half = it.lrp_model.efficientnet_lite0(pretrained=True).bfloat16()
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", it.InterpretWarning)
    found = it.GradCAMInterpreter(half).explain(collage, label="tiger cat")
print(*(each.message for each in caught), sep="\n")

full = maps["grad_cam, original"].heatmap().ravel()
agreement = np.corrcoef(full, found.heatmap().ravel())[0, 1]
print(f"correlation with the map of the model in float32: {agreement:.4f}")
assert agreement > 0.99
assert {parameter.dtype for parameter in half.parameters()} == {paddle.bfloat16}  # as it was

# %% [markdown]
# Of several inputs, a tuple or a dict, one is explained and the others are held fixed. It is the first array of
# floats, or the one that is named with `explaining`. Here the score of class 1 is the mean of the picture's upper
# half plus twice column 2 of the table.


# %%
class PictureAndTable(nn.Layer):
    def forward(self, picture, table):
        score = picture[:, :, :8].mean([1, 2, 3]) + 2 * table[:, 2]
        return paddle.stack([paddle.zeros_like(score), score], axis=1)


inputs = {"picture": np.ones([1, 3, 16, 16], "float32"), "table": np.ones([1, 4], "float32")}
subject = it.Subject.of(PictureAndTable(), preprocessing=None)

gradient = it.GradientInterpreter(subject).explain(inputs, label=1)
upper, lower = gradient.values[0, :, :8].sum(), gradient.values[0, :, 8:].sum()
print(f"gradient of the picture, summed: upper half {upper:.2f}, lower half {lower:.2f}")

shap = it.KernelSHAPInterpreter(subject.explaining("table")).explain(inputs, label=1, fill=0.0)
print("Shapley values of the table's columns:", shap.values[0].round(3) + 0)  # no -0

# %% [markdown]
# ## During training
#
# `it.callbacks.ExplainEpoch` explains the same pictures after each epoch of `paddle.Model.fit`. A copy of the
# network is explained, so the training goes on bit for bit as it would without.

# %%
digits = load_digits()
x = (digits.images[:, None] / 16).astype("float32")  # [N, 1, 8, 8]
data = paddle.io.TensorDataset([paddle.to_tensor(x), paddle.to_tensor(digits.target[:, None])])

paddle.seed(0)
np.random.seed(0)  # noqa: NPY002  # Paddle shuffles with NumPy's global generator
reader = nn.Sequential(
    nn.Conv2D(1, 16, 3),
    nn.ReLU(),
    nn.Conv2D(16, 16, 3),
    nn.ReLU(),
    nn.Flatten(),
    nn.Linear(256, 10),
)
reader.preprocessing = it.Preprocessing(resize=None, crop=None, mean=(0.0,), std=(1.0,))
model = paddle.Model(reader)
adam = paddle.optimizer.Adam(0.004, parameters=model.parameters())
model.prepare(adam, nn.CrossEntropyLoss(), paddle.metric.Accuracy())

watch = it.callbacks.ExplainEpoch(
    x[:4], "integrated_gradients", folder=ROOT / "maps", label=digits.target[:4].tolist()
)
model.fit(data, epochs=2, batch_size=64, verbose=0, callbacks=[watch])
print([file.name for file in sorted((ROOT / "maps").iterdir())], "failures:", watch.failures)
print(f"accuracy {model.evaluate(data, batch_size=256, verbose=0)['acc']:.2f}")

# %%
figure, panels = plt.subplots(2, 1, figsize=(8, 5), layout="constrained")
for panel, file in zip(panels, sorted((ROOT / "maps").iterdir()), strict=True):
    panel.imshow(Image.open(file))
    panel.set_title(file.name)
    panel.axis("off")
plt.show()

# %% [markdown]
# The probabilities are above the maps. The reader is right about these four digits after the first epoch already;
# the second one makes it surer, and changes little in what speaks for them. Options of the method follow by name;
# `every=5` explains after every fifth epoch, and `visualdl="log"` adds the figures to VisualDL.
#
# ## Models of the suites
#
# The suites are installed by themselves. Their models take the lines of this notebook:
#
# ```python
# # PaddleClas: by its name, with your weights
# model = it.paddleclas_model("PPLCNet_x1_0", "PPLCNet_x1_0.pdparams")
# it.GradCAMInterpreter(model).explain("cat.png").save("why.png")
#
# # PaddleSeg
# from paddleseg.models import PPLiteSeg
# from paddleseg.models.backbones import STDC1
#
# model = PPLiteSeg(num_classes=19, backbone=STDC1())
# model.set_state_dict(paddle.load("model.pdparams"))
# it.SegmentationSubject(model).explain("street.png", (310, 140)).save("why.png")
#
# # PaddleDetection: `model` is created from its configuration
# detector = it.DetectionSubject(model, preprocessing=cfg["TestReader"], class_names=names)
# detector.explain("street.jpg", box=0).save("why.png")
# ```
#
# There no function is needed for the boxes, and Layer-CAM has its layer by default.
# [Models of Paddle's suites](../docs/suites.md) has all of it: how to install each suite, which layers to take,
# which methods work on which models, readers of text, and video.
#
# Whatever the model, look at its predictions first. Where they are not those that you know, the preprocessing
# differs, and then the maps explain something else.
#
# References: [Layer-CAM](https://doi.org/10.1109/TIP.2021.3089943),
# [D-RISE](https://arxiv.org/abs/2006.03204), [Seg-Grad-CAM](https://arxiv.org/abs/2002.11434),
# [integrated gradients](https://arxiv.org/abs/1703.01365), [Kernel SHAP](https://arxiv.org/abs/1705.07874).
