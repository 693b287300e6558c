"""Networks of other packages, described by a sidecar file or recognised (`dwnet.deploy.adoption`)."""

from pathlib import Path
from typing import Self

import numpy as np

from dwnet.core.errors import DWNetError
from dwnet.deploy.adoption import Adoption
from dwnet.deploy.layout import Layout, labels_of, prepare, scores_of
from dwnet.deploy.network_info import NetworkFileError, NetworkInfo
from dwnet.deploy.onnx_networks import OnnxSegmenter, frame_size
from dwnet.deploy.sessions import Session


class ForeignSegmenter(OnnxSegmenter):
    """Labels frames with a network of another package, each frame alone.

    `scored` is False for a network that gives ids: it has `labels`, but no `logits`. One score per pixel becomes the
    logits of two classes.

    Args:
        info: what is known of the file.
        session: of the file.
        adoption: its interface and classes.
    """

    def __init__(self, info: NetworkInfo, session: Session, adoption: Adoption) -> None:
        super().__init__(info, session)
        self.adoption = adoption
        self.scored = adoption.layout.kind != "labels"

    @classmethod
    def open(cls, path: Path, digest: str, session: Session, adoption: Adoption) -> Self:
        """Returns the network of a file; `digest` is the file's SHA-256.

        Raises:
            NetworkFileError: if the file has no such input or output.
        """
        layout = adoption.layout
        for what, name, ports in (("input", layout.input, session.inputs), ("output", layout.output, session.outputs)):
            if name not in (port.name for port in ports):
                found = ", ".join(port.name for port in ports)
                raise NetworkFileError(f"{path} has no {what} {name!r}, which its description names; found: {found}")
        info = NetworkInfo(
            path=path,
            sha256=digest,
            kind="segmenter",
            method="adopted",
            classes=adoption.classes.classes,
            palette=adoption.classes.palette,
            stride=1,
            multiple=layout.multiple,
            channels=len(adoption.classes),
            recipe={},
            metrics={},
            commit="",
            key_interval=1,
            scale=layout.scale,
        )
        return cls(info, session, adoption)

    @property
    def layout(self) -> Layout:
        """How the network is fed and read."""
        return self.adoption.layout

    def fresh(self) -> Self:  # noqa: D102
        return type(self)(self.info, self.session, self.adoption)

    def logits(self, image: np.ndarray, flow_px: np.ndarray | None = None) -> np.ndarray:  # noqa: D102
        if not self.scored:
            raise DWNetError(f"{self.info.path} gives labels without scores; allowed is `labels`")
        frame_size(image)
        inputs, placed = prepare(self.layout, image)
        (output,) = self.run({self.layout.input: inputs})
        return scores_of(self.layout, output, placed)

    def labels(self, image: np.ndarray, flow_px: np.ndarray | None = None) -> np.ndarray:  # noqa: D102
        if self.scored:
            return super().labels(image, flow_px)
        frame_size(image)
        inputs, placed = prepare(self.layout, image)
        (output,) = self.run({self.layout.input: inputs})
        try:
            return labels_of(self.layout, output, placed)
        except DWNetError as error:
            raise NetworkFileError(f"{self.info.path}: {error}") from error

    def run(self, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:  # noqa: D102
        return self.run_session(self.session, (self.layout.output,), inputs)
