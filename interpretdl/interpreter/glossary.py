"""Options that several methods have, each documented here once."""

from __future__ import annotations

__all__ = ["GLOSSARY"]

GLOSSARY = """
Args:
    target_layer_name: the layer that is explained through, or several, whose maps are brought to
        the largest size and averaged. None takes the last layer with a height and a width on which
        the score depends. Layers of tokens [N, T, C] are brought to the grid of their patches.
    reshape_transform: for layers whose output is neither [N, C, h, w] nor tokens of a grid of
        patches: a function that makes it [N, C, h, w]. It is given the activation, and the
        gradient where there is one.
    baselines: None or "black" (for inputs that are no pictures: zeros), "white", "mean" (each
        item's own mean; of a picture, its mean colour), "blur", "random", an array of the input's
        shape without or with the first axis, several as [B, N, ...] or in a list. For texts None:
        the vectors without the words, see `TextPreprocessing`.
    num_random_trials: random baselines of "random".
    noise_amount: the noise's standard deviation, as a part of each item's max - min.
    n_samples: samples of each item; with a tolerance, to begin with.
    max_samples: no more than these; who needs more is flagged, and a warning is given.
    regions: what is taken out together: "grid", 7×7 cells; a number k, k×k cells; "quickshift",
        "slic" or "felzenszwalb", superpixels of the picture by scikit-image; an array of whole
        numbers [H, W], or [N, H, W] with one for each image; or a function from a picture, uint8
        [H, W, 3], to such an array. None: the method's own choice; for texts each word, for other
        inputs that are no pictures each number.
    fill: what stands where something was taken out: "mean", the image's mean of each channel;
        "region_mean", the region's; "blur", the blurred image; "inpaint", what surrounds the gap
        continued into it (slow); "road", linear interpolation with a little noise (slow); "black";
        a number or an array, in the network's units; or another picture of the same size, uint8
        [H, W, C]. For texts the token that `TextPreprocessing` says, or another's id.
    evaluations: most runs of the model for each image.
    layer: a layer's name: attribute to what it gives ("name:input": to what goes into it) in place
        of the input.
    seed: of all draws, with the item's position in the batch; other items do not matter.
    composite: which rule works where: a name from `interpretdl.rules.COMPOSITES`, or one of your
        own (`interpretdl.rules.lrp_composite`).
"""
