"""Metadata that an export writes into its file; `dwnet.deploy.network_info` reads and validates it."""

import dataclasses
from typing import Any

from dwnet.core.classes import ClassSet
from dwnet.deploy.checkpoint import Checkpoint
from dwnet.deploy.graphs import ExportGraph
from dwnet.deploy.network_info import METADATA_FORMAT
from dwnet.method.specs import KeyframeSpec
from dwnet.ops.normalise import IMAGENET_MEAN, IMAGENET_STD


def checkpoint_metadata(checkpoint: Checkpoint, graph: ExportGraph) -> dict[str, Any]:
    """Returns the metadata of a graph from a checkpoint."""
    return {
        **interface_metadata(graph, checkpoint.classes),
        "method": checkpoint.method.name,
        "key_interval": checkpoint.method.key_interval if isinstance(checkpoint.method, KeyframeSpec) else 1,
        "network": dataclasses.asdict(checkpoint.network),
        "normalisation": {"mean": IMAGENET_MEAN, "std": IMAGENET_STD, "inside_graph": True},
        "recipe": checkpoint.recipe,
        "iteration": checkpoint.iteration,
        "metrics": checkpoint.metrics,
        "commit": checkpoint.commit,
    }


def interface_metadata(graph: ExportGraph, classes: ClassSet) -> dict[str, Any]:
    """Returns the part of the metadata that the graph and its classes determine."""
    return {
        "format": METADATA_FORMAT,
        "kind": graph.kind,
        "classes": list(classes.classes),
        "palette": [list(colour) for colour in classes.palette],
        "stride": graph.stride,
        "multiple": graph.multiple,
        "channels": graph.channels,
    }
