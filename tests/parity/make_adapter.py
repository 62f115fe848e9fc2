"""Make a small LoRA adapter with peft itself, for the test that reads such a folder.

Run after make_qwen.py; needs the pins of requirements.txt.
"""

import pathlib
import shutil

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

FIXTURES = pathlib.Path(__file__).parent / "fixtures"
DIRECTORY = FIXTURES / "peft-tiny"


def main():
    """Adapt two linears a layer: A is the layer's number and a half, B counts."""
    model = AutoModelForCausalLM.from_pretrained(FIXTURES / "qwen3-tiny", dtype=torch.float32)
    model.name_or_path = model.config._name_or_path = "tiny/qwen3-tiny"
    config = LoraConfig(
        r=2, lora_alpha=3, lora_dropout=0.1, use_rslora=True, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM"
    )
    adapted = get_peft_model(model, config)
    for name, parameter in adapted.named_parameters():
        if "lora_A" in name:
            parameter.data.fill_(int(name.split("layers.")[1].split(".")[0]) + 0.5)
        if "lora_B" in name:
            parameter.data.copy_(torch.arange(parameter.numel()).reshape(parameter.shape))
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    adapted.save_pretrained(DIRECTORY)
    (DIRECTORY / "README.md").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
