"""`dwnet hub`: networks on the Hugging Face hub."""

from pathlib import Path

import tyro


def save(checkpoint: tyro.conf.Positional[Path], folder: tyro.conf.Positional[Path], /) -> None:
    """Write what inference needs of a checkpoint as a folder for the Hugging Face hub.

    Args:
        checkpoint: a file that training wrote.
        folder: new, empty, or written by this command before.
    """
    from dwnet.deploy.checkpoint import load_checkpoint
    from dwnet.deploy.hub import PretrainedSegmenter

    PretrainedSegmenter.from_checkpoint(load_checkpoint(checkpoint)).save_pretrained(folder)
    print(f"{folder}: written")


def push(
    checkpoint: tyro.conf.Positional[Path], repository: tyro.conf.Positional[str], /, private: bool = False
) -> None:
    """Push what inference needs of a checkpoint to the Hugging Face hub.

    Args:
        checkpoint: a file that training wrote.
        repository: owner/name; made if it is missing.
        private: of a repository that this command makes.
    """
    from dwnet.deploy.checkpoint import load_checkpoint
    from dwnet.deploy.hub import PretrainedSegmenter

    print(PretrainedSegmenter.from_checkpoint(load_checkpoint(checkpoint)).push_to_hub(repository, private=private))
