"""Trains on data/train.jsonl with the weight of each sequence, which SFTTrainer by itself leaves out: python train_weighted.py

The loss of an update is sum_i weight_i * sum_t -log p(token_t) / (mean response length * sequences of the update), as `latrace train` has it with
normaliser = "constant". Needs trl, transformers, datasets and PyYAML.
"""

from pathlib import Path

import torch
import yaml
from datasets import load_dataset
from transformers import AutoTokenizer
from trl import SFTConfig, SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

HERE = Path(__file__).resolve().parent
MEAN_RESPONSE_LENGTH = @MEAN_RESPONSE_LENGTH@
SEQUENCES_PER_UPDATE = @BATCH_SIZE@


class WeightedCollator(DataCollatorForLanguageModeling):
    """Batches that carry the weights of their sequences."""

    def torch_call(self, examples):
        batch = super().torch_call(examples)
        batch["weight"] = torch.tensor([example["weight"] for example in examples], dtype=torch.float32)
        return batch


class WeightedTrainer(SFTTrainer):
    """Sums of token losses, weighted by sequence, over a constant."""

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        # The divisor is that of the whole update already: micro-batches add up.
        self.model_accepts_loss_kwargs = True

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        weight, labels = inputs.pop("weight"), inputs.pop("labels")
        outputs = model(**inputs)
        logits = outputs.logits[:, :-1].float().transpose(1, 2)
        losses = torch.nn.functional.cross_entropy(logits, labels[:, 1:], ignore_index=-100, reduction="none").sum(dim=1)
        loss = (weight * losses).sum() / (MEAN_RESPONSE_LENGTH * SEQUENCES_PER_UPDATE)
        # Processes average their gradients.
        loss = loss * self.accelerator.num_processes
        return (loss, outputs) if return_outputs else loss


def main():
    settings = yaml.safe_load((HERE / "sft.yaml").read_text())
    model = settings.pop("model_name_or_path")
    del settings["dataset_name"]
    # SFTTrainer drops columns that models do not take, and the default loss type patches the model's head.
    arguments = SFTConfig(**settings, remove_unused_columns=False, loss_type="nll")
    processes = max(1, arguments.world_size)
    per_update = arguments.per_device_train_batch_size * arguments.gradient_accumulation_steps * processes
    if per_update != SEQUENCES_PER_UPDATE:
        raise SystemExit(f"sft.yaml and {processes} processes give {per_update} sequences per update, the recipe has {SEQUENCES_PER_UPDATE}")
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    rows = load_dataset("json", data_files=str(HERE / "data" / "train.jsonl"), split="train")
    collator = WeightedCollator(pad_token_id=tokenizer.pad_token_id, completion_only_loss=True)
    trainer = WeightedTrainer(model=model, args=arguments, train_dataset=rows, processing_class=tokenizer, data_collator=collator)
    trainer.train()
    trainer.save_model()


if __name__ == "__main__":
    main()
