"""Writes the token ids of data/train.jsonl as the data set that LLaMA-Factory loads by `tokenized_path`: python tokenized.py

With it no text is tokenised again, and `template` has no effect. Needs datasets.
"""

import json
from pathlib import Path

from datasets import Dataset, DatasetDict

HERE = Path(__file__).resolve().parent
IGNORED = -100


def example(row):
    prompt, completion = row["prompt_ids"], row["completion_ids"]
    return {
        "input_ids": prompt + completion,
        "attention_mask": [1] * (len(prompt) + len(completion)),
        "labels": [IGNORED] * len(prompt) + completion,
    }


if __name__ == "__main__":
    lines = (HERE / "data" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [example(json.loads(line)) for line in lines]
    DatasetDict({"train": Dataset.from_list(rows)}).save_to_disk(str(HERE / "tokenized"))
    print(f"{len(rows)} rows are in {HERE / 'tokenized'}; add `tokenized_path: tokenized` to sft.yaml")
