"""The model that a command's options describe."""

from __future__ import annotations

from pathlib import Path

from ..models_by_name import load_model
from ..probe import EngineKind, OutputKind
from ..subject import Subject
from .arguments import number_or_name

__all__ = ["subject_of"]


def subject_of(
    model: str,
    weights: Path | None,
    pretrained: bool | None,
    output: str | None,
    output_kind: OutputKind | None,
    device: str | None,
    batch_size: int | None,
    engine: EngineKind | None,
) -> Subject:
    """The model that the options describe, with its weights."""
    return Subject.of(
        load_model(model, weights=weights, pretrained=pretrained),
        device,
        output=number_or_name(output),
        output_kind=output_kind,
        batch_size=batch_size,
        engine=engine,
    )
