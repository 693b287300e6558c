"""Trained networks as folders and repositories of the Hugging Face hub: `model.safetensors`, `config.json`, model card.

They hold only what inference needs. For `baseline` and `dwnet` that is the per-frame segmenter, under the tensor names
of `Segmenter`, without DWNet's flow refinement and FG-Conv. For methods that need another frame to predict
(`static_warp`, `keyframe`) it is the whole method with fusion and flow network.
"""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict, Unpack

from huggingface_hub import ModelCard, ModelCardData, ModelHubMixin, snapshot_download
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors.torch import load_file, save_file

from dwnet import __version__
from dwnet.core.classes import ClassSet
from dwnet.core.errors import DWNetError, first_line
from dwnet.core.files import atomic_folder
from dwnet.core.validation import first_problem
from dwnet.deploy.checkpoint import Checkpoint, load_weights
from dwnet.method.specs import MethodSpec, from_dict
from dwnet.method.training import Method
from dwnet.ops.normalise import IMAGENET_MEAN, IMAGENET_STD
from dwnet.segmentation import NetworkSpec, Segmenter

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
FILES = (WEIGHTS, CONFIG, CARD)
FORMAT = 1

_CARD_TEMPLATE = Path(__file__).with_name("model_card.md.jinja")


class HubError(DWNetError):
    """A folder or repository that cannot be used; the message names it, what was found and what is allowed."""


class HubOptions(TypedDict, total=False):
    """Options of `from_pretrained`."""

    revision: str | None
    """Branch, tag or commit of the repository; None is its main branch."""
    cache_dir: str | Path | None
    """Folder of downloads; None is the default cache of huggingface_hub."""
    local_files_only: bool
    """True reads the cache only."""
    force_download: bool
    """True downloads files again that are in the cache."""
    token: str | bool | None
    """Access token; None uses the token of `hf auth login` or of the environment variable HF_TOKEN."""


@dataclass(kw_only=True)
class PretrainedSegmenter(ModelHubMixin):
    """A trained network with its specification, classes and training record.

    Attributes:
        network: specification of the segmenter.
        method: specification of the method that trained it.
        classes: names and palette of the labels.
        module: the module that predicts: the per-frame segmenter, or the whole `Method` if it needs another frame to
            predict.
        recipe: the training configuration, JSON-able.
        iteration: optimiser steps done.
        metrics: metrics of the last evaluation, by name.
        commit: commit of the code that trained the network.
        library_version: version of the library that saved it.
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
        """The per-frame segmenter: logits (B, K, H, W) for (B, 3, H, W) RGB 0..1 of any size."""
        return self.module.segmenter if isinstance(self.module, Method) else self.module

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> "PretrainedSegmenter":
        """Returns the part of a training checkpoint that inference needs.

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
    def from_pretrained(  # type: ignore[override]
        cls, source: str | Path, **options: Unpack[HubOptions]
    ) -> "PretrainedSegmenter":
        """Returns a network, loaded strictly, on the CPU, in evaluation mode. No code in its files is executed.

        Args:
            source: a folder that `save_pretrained` wrote, or the name of a repository on the hub ("owner/name"). A
                repository is downloaded once and then read from the cache.
            options: options of the download; see `HubOptions`.

        Raises:
            HubError: if the folder or repository does not exist, cannot be reached, or is not of this library.
            CheckpointError: if the weights do not fit the network that the configuration names.
        """
        folder = Path(source)
        if not folder.is_dir():
            folder = _download(str(source), options)
        return _read(folder, source=str(source))

    def save_pretrained(  # type: ignore[override]
        self, folder: str | Path, *, model_card_kwargs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        """Writes the folder atomically.

        Args:
            folder: a new or empty folder, or one that this method wrote, which is replaced.
            model_card_kwargs: arguments of `generate_model_card`. By default the card's name is the folder's.

        Raises:
            HubError: if the folder holds other files.
        """
        target = Path(folder).resolve()
        _refuse_foreign(target)
        with atomic_folder(target) as temporary:
            super().save_pretrained(temporary, model_card_kwargs=model_card_kwargs or {"name": target.name})

    def push_to_hub(  # type: ignore[override]
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        branch: str | None = None,
        commit_message: str = "Trained with DWNet",
        token: str | None = None,
    ) -> str:
        """Uploads what `save_pretrained` writes, in one commit. A missing repository is created.

        Args:
            repo_id: "owner/name".
            private: whether a created repository is private; None is the owner's default.
            branch: existing branch to commit to; None is the main branch.
            commit_message: message of the commit.
            token: access token; None uses the token of `hf auth login` or of the environment variable HF_TOKEN.

        Returns:
            The URL of the commit.

        Raises:
            HubError: if the hub cannot be reached or rejects the upload.
        """
        try:
            commit: Any = super().push_to_hub(
                repo_id,
                private=private,
                branch=branch,
                commit_message=commit_message,
                token=token,
                model_card_kwargs={"name": repo_id},
            )
        except Exception as error:  # the hub's errors have no other base class
            raise HubError(f"{repo_id!r}: not pushed to the hub ({first_line(error)})") from error
        return commit.commit_url

    def generate_model_card(self, *, name: str) -> ModelCard:
        """Returns the model card: the network, its use, its training and its metrics.

        Args:
            name: name of the repository or folder, as `from_pretrained` takes it.
        """
        data = ModelCardData(
            library_name="dwnet", pipeline_tag="image-segmentation", tags=["semantic-segmentation", "video"]
        )
        values = {key: value for key, value in vars(self).items() if not key.startswith("_")}
        return ModelCard.from_template(
            data,
            template_path=str(_CARD_TEMPLATE),
            **values,
            name=name,
            needs_neighbour=isinstance(self.module, Method),
            recipe_name=self.recipe.get("name", "unknown"),
            numbers=[(key, value) for key, value in self.metrics.items() if isinstance(value, int | float)],
        )

    def _save_pretrained(self, save_directory: Path) -> None:
        weights = {key: tensor.detach().cpu().contiguous() for key, tensor in self.module.state_dict().items()}
        save_file(weights, save_directory / WEIGHTS, metadata={"format": "pt"})
        config = json.dumps(self._configuration(), indent=2) + "\n"
        (save_directory / CONFIG).write_text(config, encoding="utf-8")

    def _configuration(self) -> dict[str, Any]:
        """Returns the content of config.json, as `_Configuration` reads it."""
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
            # For readers of the file only. The network does all of this itself.
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


def from_pretrained(source: str | Path, **options: Unpack[HubOptions]) -> PretrainedSegmenter:
    """Returns a trained network from a folder or from the Hugging Face hub; see `PretrainedSegmenter.from_pretrained`.

    Raises:
        HubError: if the folder or repository does not exist, cannot be reached, or is not of this library.
        CheckpointError: if the weights do not fit the network that the configuration names.
    """
    return PretrainedSegmenter.from_pretrained(source, **options)


class _Classes(BaseModel):
    model_config = ConfigDict(strict=True)

    name: str
    names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]


class _Configuration(BaseModel):
    """config.json. Unknown entries are ignored, so that newer folders of the same format stay readable."""

    model_config = ConfigDict(strict=True)

    library: Literal["dwnet"]
    format: Literal[1]
    library_version: str
    network: dict[str, Any]
    method: dict[str, Any]
    classes: _Classes
    recipe: dict[str, Any]
    iteration: Annotated[int, Field(ge=0)]
    metrics: dict[str, Any]
    commit: str


def _download(repository: str, options: HubOptions) -> Path:
    """Returns the cached folder of a repository."""
    try:
        return Path(snapshot_download(repository, allow_patterns=list(FILES), **options))
    except Exception as error:  # the hub's errors have no other base class
        revision = options.get("revision")
        at = "" if revision is None else f" at revision {revision!r}"
        raise HubError(
            f"{repository!r}: no such folder, and no repository of that name{at} could be fetched from the hub or "
            f"found in its cache ({first_line(error)})"
        ) from error


def _read(folder: Path, *, source: str) -> PretrainedSegmenter:
    config = _read_config(folder, source=source)
    try:
        network = NetworkSpec(**config.network)
        # Folders of format 1 may store the fields of all methods.
        method = from_dict(config.method, ignore_unused=True)
        classes = ClassSet(config.classes.name, config.classes.names, config.classes.palette)
        segmenter = network.build(len(classes))
        whole = method.needs_neighbour_to_predict
        module = method.build(segmenter, load_flow=False) if whole else segmenter
    except (KeyError, TypeError, ValueError) as error:
        raise HubError(f"{source}: {CONFIG} is incomplete or of another version ({first_line(error)})") from error
    try:
        weights = load_file(folder / WEIGHTS)
    except Exception as error:  # safetensors' own, or OSError
        raise HubError(f"{source}: {WEIGHTS} is missing or unreadable ({first_line(error)})") from error
    load_weights(module, weights, source=f"{source}: {WEIGHTS}")
    return PretrainedSegmenter(
        network=network,
        method=method,
        classes=classes,
        module=module.eval(),
        recipe=config.recipe,
        iteration=config.iteration,
        metrics=config.metrics,
        commit=config.commit,
        library_version=config.library_version,
    )


def _read_config(folder: Path, *, source: str) -> _Configuration:
    try:
        text = (folder / CONFIG).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise HubError(f"{source}: {CONFIG} is missing or unreadable ({first_line(error)})") from error
    try:
        return _Configuration.model_validate_json(text)
    except ValidationError as error:
        raise HubError(
            f"{source}: {CONFIG} is not one that `save_pretrained` wrote for format {FORMAT}: {first_problem(error)}"
        ) from error


def _refuse_foreign(folder: Path) -> None:
    """Raises `HubError` unless the folder is missing, empty, or written by `save_pretrained`."""
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
