"""The SegFormer example of docs/guides/own-network.md trains a network and saves that network with the same keys."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

transformers = pytest.importorskip("transformers")

PAGE = (Path(__file__).parents[2] / "docs/guides/own-network.md").read_text()


@pytest.mark.slow
def test_the_segformer_example_saves_the_very_same_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    (example,) = [block for block in blocks if "SegformerForSemanticSegmentation" in block]
    assert len(example.splitlines()) <= 20
    (folder,) = re.findall(r'save_pretrained\("(.*?)"\)', example)

    built = "SegformerConfig(num_labels=11)"
    assert built in example
    example = example.replace(built, "CONFIG")
    sizes = {"hidden_sizes": [8, 16, 16, 32], "num_attention_heads": [1, 1, 2, 4], "decoder_hidden_size": 16}
    config = transformers.SegformerConfig(num_labels=11, depths=[1, 1, 1, 1], **sizes)
    torch.manual_seed(0)
    brought = transformers.SegformerForSemanticSegmentation(config).state_dict()
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    scope: dict[str, Any] = {"CONFIG": config}
    exec(example, scope)

    saved = transformers.SegformerForSemanticSegmentation.from_pretrained(tmp_path / folder)
    assert {key: value.shape for key, value in saved.state_dict().items()} == {k: v.shape for k, v in brought.items()}
    learned = [key for key, value in saved.named_parameters() if not torch.equal(value, brought[key])]
    assert len(learned) > len(list(saved.named_parameters())) / 2
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        found = saved(image).logits
        assert torch.allclose(found, scope["model"].eval()(image).logits, atol=1e-6)
