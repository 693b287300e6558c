"""`dwnet hub`: networks on the Hugging Face hub."""

from pathlib import Path

import tyro


def save(checkpoint: tyro.conf.Positional[Path], folder: tyro.conf.Positional[Path], /) -> None:
    """Write the part of a checkpoint that inference needs as a folder for the Hugging Face hub.

    Args:
        checkpoint: a checkpoint that train/main.py wrote.
        folder: a new or empty folder, or one that this command wrote, which is replaced.
    """
    from dwnet.deploy.checkpoint import load_checkpoint
    from dwnet.deploy.hub import PretrainedSegmenter

    PretrainedSegmenter.from_checkpoint(load_checkpoint(checkpoint)).save_pretrained(folder)
    print(f"{folder}: written")


def push(
    checkpoint: tyro.conf.Positional[Path], repository: tyro.conf.Positional[str], /, private: bool = False
) -> None:
    """Upload the part of a checkpoint that inference needs to the Hugging Face hub.

    Args:
        checkpoint: a checkpoint that train/main.py wrote.
        repository: owner/name; created if it does not exist.
        private: if the repository is created, make it private.
    """
    from dwnet.deploy.checkpoint import load_checkpoint
    from dwnet.deploy.hub import PretrainedSegmenter

    print(PretrainedSegmenter.from_checkpoint(load_checkpoint(checkpoint)).push_to_hub(repository, private=private))
