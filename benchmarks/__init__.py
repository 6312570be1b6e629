"""How fast explanations are: `python -m benchmarks --help`."""
