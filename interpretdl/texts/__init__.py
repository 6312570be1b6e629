"""How texts become a model's input, and which tokens make a word."""

from .reading import Text, TextPreprocessing
from .words import Groups, TextTokens

__all__ = ["Groups", "Text", "TextPreprocessing", "TextTokens"]
