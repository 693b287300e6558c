"""A corpus: many clips, their predictions and their truth, from a JSON file or a folder."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from dwnet.core.errors import DWNetError
from dwnet.core.files import listed, natural_order, same_form
from dwnet.core.validation import first_problem

LAYOUT = (
    'a JSON list of {"name", "clip", "predictions": {NAME: PATH}, "truth" and "flow" if there are any}, paths relative '
    "to the file; or a folder with clips/, predictions/NAME/ and, if there is any, truth/, where the files of a clip "
    "have its name"
)


class CorpusError(DWNetError):
    """An invalid corpus. The message names what was found and what is allowed."""


@dataclass(frozen=True)
class CorpusClip:
    """Paths of one clip and its predictions."""

    name: str
    clip: Path
    predictions: tuple[tuple[str, Path], ...]
    """Name and path of each set."""
    truth: Path | None = None
    flow: Path | None = None
    """Folder of exact flow; None uses the flow of the settings."""

    def inputs(self) -> list[Path]:
        """Returns all paths that are read."""
        paths = [self.clip, *(path for _, path in self.predictions), self.truth, self.flow]
        return [path for path in paths if path is not None]


class _Entry(BaseModel):
    """An entry of a corpus file; paths are relative to the file."""

    model_config = ConfigDict(extra="forbid", strict=True)

    clip: str = Field(min_length=1)
    predictions: dict[str, str] = Field(min_length=1)
    name: str | None = None
    truth: str | None = None
    flow: str | None = None


_ENTRIES = TypeAdapter(list[_Entry])


def read_corpus(path: str | Path) -> list[CorpusClip]:
    """Returns the clips of a corpus, in the order of the corpus.

    Args:
        path: a JSON file or a folder, as `LAYOUT` describes.

    Raises:
        CorpusError: for another layout, two clips with the same name, or clips with different sets.
    """
    path = Path(path)
    if path.is_dir():
        clips = _from_folder(path)
    elif path.is_file():
        clips = _from_file(path)
    else:
        raise CorpusError(f"{path}: there is no such corpus; allowed is {LAYOUT}")
    if not clips:
        raise CorpusError(f"{path}: names no clip; allowed is {LAYOUT}")
    names = [clip.name for clip in clips]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise CorpusError(f"{path}: names the clip {twice!r} twice; allowed is one of each name")
    sets = [name for name, _ in clips[0].predictions]
    for clip in clips:
        if [name for name, _ in clip.predictions] != sets:
            raise CorpusError(
                f"{path}: clip {clip.name!r} has the sets {', '.join(name for name, _ in clip.predictions)}; allowed "
                f"are those of the first clip in its order, {', '.join(sets)}"
            )
    return clips


def _from_file(path: Path) -> list[CorpusClip]:
    try:
        entries = _ENTRIES.validate_json(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror}); allowed is {LAYOUT}") from error
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}: is not a corpus (not UTF-8: {error.reason}); allowed is {LAYOUT}") from error
    except ValidationError as error:
        raise CorpusError(f"{path}: is not a corpus ({first_problem(error)}); allowed is {LAYOUT}") from error
    return [_clip(path, entry) for entry in entries]


def _clip(path: Path, entry: _Entry) -> CorpusClip:
    clip = path.parent / entry.clip
    name = clip.stem if entry.name is None else entry.name
    # The name becomes the name of files.
    if not name or Path(name).name != name or name.startswith("."):
        raise CorpusError(f"{path}: a clip is called {name!r}; allowed are names of files, without a folder or a dot")
    return CorpusClip(
        name=name,
        clip=clip,
        predictions=tuple((one, path.parent / where) for one, where in entry.predictions.items()),
        truth=path.parent / entry.truth if entry.truth else None,
        flow=path.parent / entry.flow if entry.flow else None,
    )


def _from_folder(folder: Path) -> list[CorpusClip]:
    clips_folder, sets_folder, truth = folder / "clips", folder / "predictions", folder / "truth"
    if not clips_folder.is_dir() or not sets_folder.is_dir():
        raise CorpusError(f"{folder}: has no clips/ and predictions/; allowed is {LAYOUT}")
    sets, clips = natural_order(listed(sets_folder)), natural_order(listed(clips_folder))
    return [
        CorpusClip(
            name=_name(clip),
            clip=clip,
            # An .onnx file is one network that runs on every clip.
            predictions=tuple(
                (one.stem, one) if one.suffix == ".onnx" else (one.name, _of_clip(one, clip)) for one in sets
            ),
            truth=_of_clip(truth, clip) if truth.is_dir() else None,
        )
        for clip in clips
    ]


def _name(path: Path) -> str:
    return same_form(path.name if path.is_dir() else path.stem)


def _of_clip(folder: Path, clip: Path) -> Path:
    """Returns the one file or folder in `folder` with the name of the clip."""
    found = [path for path in listed(folder) if _name(path) == _name(clip)] if folder.is_dir() else []
    if len(found) != 1:
        raise CorpusError(
            f"{folder}: holds {len(found)} entries called {_name(clip)!r}; allowed is exactly one for each clip"
        )
    return found[0]
