"""Trained networks as the Hugging Face hub keeps them: a folder of `model.safetensors`, `config.json` and a model card.

It holds what inference needs and no more. Of `baseline` and `dwnet` that is the per-frame segmenter, under its own
names: DWNet's refinement and FG-Conv are left behind. Of a method that needs another frame to predict (`static_warp`,
`keyframe`) it is the whole method, fusion and flow network with it.
"""

import dataclasses
import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, snapshot_download
from safetensors.torch import load_file, save_file

from dwnet import __version__
from dwnet.core.classes import ClassSet
from dwnet.core.errors import DWNetError, first_line
from dwnet.core.files import atomic_folder
from dwnet.deploy.checkpoint import Checkpoint, load_weights
from dwnet.method.specs import MethodSpec, from_dict
from dwnet.method.training import Method
from dwnet.ops.normalise import IMAGENET_MEAN, IMAGENET_STD
from dwnet.segmentation import NetworkSpec, Segmenter

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
FILES = (WEIGHTS, CONFIG, CARD)
FORMAT = 1


class HubError(DWNetError):
    """A folder or repository that cannot be used; the message names it, what was found and what is allowed."""


@dataclass(frozen=True)
class PretrainedSegmenter:
    """A trained network and what must be known to use it.

    Attributes:
        network: which segmenter.
        method: which method trained it, with its switches.
        classes: names and palette of the labels.
        module: what predicts: the per-frame segmenter; for a method that needs another frame to predict, the whole
            `Method`.
        recipe: the training configuration, JSON-able.
        iteration: optimiser steps done.
        metrics: of the last evaluation, by name.
        commit: of the code that trained it.
        library_version: of the library that saved it.
    """

    network: NetworkSpec
    method: MethodSpec
    classes: ClassSet
    module: Segmenter | Method
    recipe: dict[str, Any] = field(default_factory=dict)
    iteration: int = 0
    metrics: dict[str, Any] = field(default_factory=dict)
    commit: str = "unknown"
    library_version: str = __version__

    @property
    def segmenter(self) -> Segmenter:
        """The per-frame segmenter: (B, 3, H, W) RGB 0..1 of any size to logits (B, K, H, W)."""
        return self.module.segmenter if isinstance(self.module, Method) else self.module

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> "PretrainedSegmenter":
        """What a training checkpoint holds for inference.

        Raises:
            CheckpointError: if the weights do not fit the network that the checkpoint names.
        """
        method = checkpoint.build()
        return cls(
            network=checkpoint.network,
            method=checkpoint.method,
            classes=checkpoint.classes,
            module=method if method.needs_neighbour_to_predict else method.segmenter,
            recipe=checkpoint.recipe,
            iteration=checkpoint.iteration,
            metrics=checkpoint.metrics,
            commit=checkpoint.commit,
        )

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
    ) -> "PretrainedSegmenter":
        """Loads a network, strictly, on the CPU, in evaluation mode. Nothing in its files is executed.

        Args:
            source: a folder that `save_pretrained` wrote, or the name of a repository on the hub ("owner/name"), which
                is downloaded once and then read from huggingface_hub's cache.
            revision: branch, tag or commit of the repository; its main branch by default.
            cache_dir: another cache than huggingface_hub's own.
            local_files_only: reads the cache alone.

        Raises:
            HubError: if there is no such folder or repository, it cannot be reached, or it is not of this library.
            CheckpointError: if the weights do not fit the network that the configuration names; it says what differs.
        """
        folder = Path(source)
        if not folder.is_dir():
            try:
                folder = Path(
                    snapshot_download(
                        str(source),
                        revision=revision,
                        cache_dir=cache_dir,
                        local_files_only=local_files_only,
                        allow_patterns=list(FILES),
                    )
                )
            except Exception as error:  # a hub's errors share no base class but Exception
                at = "" if revision is None else f" at revision {revision!r}"
                raise HubError(
                    f"{str(source)!r}: no such folder, and no repository of that name{at} could be fetched from the "
                    f"hub or found in its cache ({first_line(error)})"
                ) from error
        return cls._read(folder, source=str(source))

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes the folder whole or not at all.

        Args:
            folder: a new or empty folder, or one that this function wrote, which is replaced.

        Raises:
            HubError: if the folder holds anything else.
        """
        target = Path(folder).resolve()
        _refuse_foreign(target)
        with atomic_folder(target) as temporary:
            self._write(temporary, name=target.name)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool = False,
        revision: str | None = None,
        message: str = "Trained with DWNet",
    ) -> str:
        """Uploads what `save_pretrained` writes, as one commit; the repository is made if it is missing.

        Who may write there is huggingface_hub's affair: `hf auth login` or the environment variable HF_TOKEN.

        Args:
            repo_id: "owner/name".
            private: of a repository that this call makes.
            revision: branch to commit to; it must exist. The main branch by default.
            message: of the commit.

        Returns:
            The address of the commit.

        Raises:
            HubError: if the hub cannot be reached or refuses.
        """
        api = HfApi(library_name="dwnet", library_version=__version__)
        with tempfile.TemporaryDirectory() as folder:
            self._write(Path(folder), name=repo_id)
            try:
                api.create_repo(repo_id, private=private, exist_ok=True)
                commit = api.upload_folder(
                    repo_id=repo_id, folder_path=folder, revision=revision, commit_message=message
                )
            except Exception as error:  # a hub's errors share no base class but Exception
                raise HubError(f"{repo_id!r}: not pushed to the hub ({first_line(error)})") from error
        return commit.commit_url

    @classmethod
    def _read(cls, folder: Path, *, source: str) -> "PretrainedSegmenter":
        config = _read_config(folder, source=source)
        try:
            classes = config.pop("classes")
            network = NetworkSpec(**config.pop("network"))
            method = from_dict(config.pop("method"), ignore_unused=True)
            class_set = ClassSet(classes["name"], tuple(classes["names"]), tuple(tuple(c) for c in classes["palette"]))
            segmenter = network.build(len(class_set))
            whole = method.needs_neighbour_to_predict
            module = method.build(segmenter, load_flow=False) if whole else segmenter
            rest = {name: config[name] for name in ("recipe", "iteration", "metrics", "commit", "library_version")}
        except (KeyError, TypeError, ValueError) as error:
            raise HubError(f"{source}: {CONFIG} is incomplete or of another version ({error})") from error
        try:
            weights = load_file(folder / WEIGHTS)
        except Exception as error:  # safetensors' own, or OSError
            raise HubError(f"{source}: {WEIGHTS} is missing or unreadable ({first_line(error)})") from error
        load_weights(module, weights, source=f"{source}: {WEIGHTS}")
        return cls(network=network, method=method, classes=class_set, module=module.eval(), **rest)

    def _write(self, folder: Path, *, name: str) -> None:
        weights = {key: tensor.detach().cpu().contiguous() for key, tensor in self.module.state_dict().items()}
        save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
        (folder / CONFIG).write_text(json.dumps(self._config(), indent=2) + "\n", encoding="utf-8")
        (folder / CARD).write_text(model_card(self, name=name), encoding="utf-8")

    def _config(self) -> dict[str, Any]:
        return {
            "library": "dwnet",
            "format": FORMAT,
            "library_version": self.library_version,
            "network": dataclasses.asdict(self.network),
            "method": dataclasses.asdict(self.method),
            "classes": {
                "name": self.classes.name,
                "names": list(self.classes.classes),
                "palette": [list(colour) for colour in self.classes.palette],
            },
            # For readers of the file: the network does all of this itself.
            "input": {
                "colour": "RGB",
                "range": [0, 1],
                "normalisation": {"mean": IMAGENET_MEAN, "std": IMAGENET_STD, "inside_network": True},
                "multiple": self.segmenter.multiple,
                "stride": self.segmenter.stride,
                "channels": self.segmenter.channels,
            },
            "recipe": self.recipe,
            "iteration": self.iteration,
            "metrics": self.metrics,
            "commit": self.commit,
        }


def model_card(pretrained: PretrainedSegmenter, *, name: str) -> str:
    """The README.md of a saved network: what it is, how it is used, how it was trained and what was measured.

    Args:
        pretrained: the network.
        name: what it is loaded by: the name of its repository, or of its folder.
    """
    network, method = pretrained.network, pretrained.method
    numbers = [(key, value) for key, value in pretrained.metrics.items() if isinstance(value, int | float)]
    metrics = "\n".join(f"| {key} | {value:.2f} |" for key, value in numbers)
    measured = f"| metric | value |\n|---|---|\n{metrics}" if numbers else "No evaluation was recorded."
    needs_neighbour = isinstance(pretrained.module, Method)
    use = (
        'logits = trained.module.predict({"frame": frame, "neighbour": earlier})  # each (B, 3, H, W) RGB 0..1'
        if needs_neighbour
        else "logits = trained.segmenter(frame)  # (B, 3, H, W) RGB 0..1 of any size to (B, K, H, W)"
    )
    at_inference = "It needs an earlier frame and the flow to it" if needs_neighbour else "It runs frame by frame"
    return f"""---
library_name: dwnet
pipeline_tag: image-segmentation
tags:
- semantic-segmentation
- video
---

# {name}

Semantic segmentation of video: {network.segmenter} on {network.backbone}, output stride {network.output_stride},
trained by the method `{method.name}` of DWNet (Li et al., Dynamic Warping Network for Semantic Video Segmentation,
2021). {at_inference}.

## Use

```python
from dwnet.deploy.hub import PretrainedSegmenter

trained = PretrainedSegmenter.from_pretrained("{name}")
{use}
```

Normalisation is inside the network. The {len(pretrained.classes)} classes ({pretrained.classes.name}):
{", ".join(pretrained.classes.classes)}.

## Training

Recipe `{pretrained.recipe.get("name", "unknown")}`, {pretrained.iteration} iterations, DWNet
{pretrained.library_version}, commit {pretrained.commit}. Every setting is in `{CONFIG}`.

## Evaluation

{measured}
"""


def _read_config(folder: Path, *, source: str) -> dict[str, Any]:
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise HubError(f"{source}: {CONFIG} is missing or unreadable ({first_line(error)})") from error
    if not isinstance(config, dict) or config.get("library") != "dwnet":
        raise HubError(f"{source}: {CONFIG} is not one that `PretrainedSegmenter.save_pretrained` wrote")
    if config.get("format") != FORMAT:
        raise HubError(f"{source}: of format {config.get('format')!r}; this version reads format {FORMAT}")
    return config


def _refuse_foreign(folder: Path) -> None:
    """Raises `HubError` unless the folder is missing, empty, or one that may be replaced."""
    if not folder.exists():
        return
    found = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else [folder.name]
    foreign = [name for name in found if name not in FILES]
    if found and not foreign:
        try:
            _read_config(folder, source=str(folder))
        except HubError:
            foreign = found
    if foreign:
        raise HubError(
            f"{folder}: holds {', '.join(foreign[:3])}; allowed is a new or empty folder, or one that "
            "`save_pretrained` wrote"
        )
