"""From files and arrays to a network's input, and from maps to figures. Knows no model."""
