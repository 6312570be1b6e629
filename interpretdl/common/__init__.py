"""InterpretDL's helpers under their names. Nothing else in the package uses them."""
