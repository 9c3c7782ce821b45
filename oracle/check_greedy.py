"""Whether greedy samples are the tokens that transformers would choose.

python oracle/check_greedy.py MODEL_DIR SAMPLES.jsonl PROMPTS.jsonl

SAMPLES.jsonl is what `latrace sample --temperature 0` wrote for the prompts of PROMPTS.jsonl (`id` and `prompt`). Each token must be the
likeliest in float32, given the prompt and the tokens before it, or the two likeliest must be within 1e-4 nats of each other there: what
follows such a place is not looked at, since either is right. One forward pass over the whole sample shows what step by step would.
"""
import json, sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

TIE = 1e-4


def rows(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def main():
    folder, samples, prompts = sys.argv[1:]
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    prompts = {row["id"]: row["prompt"] for row in rows(prompts)}
    checked = wrong = ties = 0
    for row in rows(samples):
        prompt = tokenizer(prompts[row["id"]], add_special_tokens=False)["input_ids"]
        ids = row["token_ids"]
        with torch.no_grad():
            logits = model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1]
        best = logits.topk(2, dim=-1)
        for place, (chosen, value, token) in enumerate(zip(best.indices, best.values, ids)):
            if (value[0] - value[1]).item() < TIE:
                ties += 1
                break
            checked += 1
            if chosen[0].item() != token:
                wrong += 1
                print(f"{row['id']}: token {place}: {token}, transformers {chosen.tolist()} with logits {value.tolist()}")
                break
    print(f"{checked} tokens are transformers' own, {wrong} are not; {ties} samples come to two tokens within {TIE}")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
