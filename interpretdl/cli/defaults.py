"""What the command line uses when nothing is said. Without imports, so that `--help` is quick."""

DEFAULT_METHOD = "grad_cam"
DEFAULT_MODEL = "efficientnet_lite0"
