"""Pickles of numbers, texts and arrays, read without Python's unpickler: no code in them is run."""
