"""Check that transformers loads a folder that latrace wrote and gives the log-probs that `latrace score` gave.

python oracle/check_export.py MODEL_DIR ROWS.jsonl SCORES.jsonl

ROWS is what `latrace score` read (`id`, `prompt_ids` or `prompt`, `response_ids` or `response`), SCORES what it wrote (`id`, `token_ids`, `logprobs`); joined by id.
transformers runs in float64, one row at a time. Prints the largest difference in nats; exit 1 if it is above 1e-4, or if ids, tokens or lengths do not match.
"""
import json, sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

LIMIT = 1e-4  # nats per token: above what float32 forward passes differ by (PyTorch's own, worst of 14,619 tokens: 7.4e-5), far below any wrong weight


def read(path):
    rows = [json.loads(line) for line in open(path) if line.strip()]
    by_id = {r["id"]: r for r in rows}
    if len(by_id) != len(rows):
        sys.exit(f"{path}: {len(rows) - len(by_id)} repeated ids")
    return by_id


def ids_of(row, name, tokenizer):
    return row[f"{name}_ids"] if f"{name}_ids" in row else tokenizer(row[name], add_special_tokens=False)["input_ids"]


@torch.inference_mode()
def logprobs(model, prompt, response):
    """log p of each response token given what is before it [len(response)], nats, float64."""
    logits = model(torch.tensor([prompt + response]), use_cache=False).logits[0, len(prompt) - 1:-1]
    return torch.log_softmax(logits, -1).gather(1, torch.tensor(response)[:, None])[:, 0]


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    folder, rows, scores = sys.argv[1], read(sys.argv[2]), read(sys.argv[3])
    if rows.keys() != scores.keys():
        sys.exit(f"ids differ: {len(rows.keys() - scores.keys())} without a score, {len(scores.keys() - rows.keys())} without a row")
    if not rows:
        sys.exit("no rows")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model, info = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, attn_implementation="sdpa", output_loading_info=True)
    wrong = {k: sorted(map(str, v)) for k, v in info.items() if v and k in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs")}
    if wrong:
        sys.exit(f"{folder}: the weights do not fit the model: {wrong}")
    model.eval()
    worst, total, tokens, at = -1.0, 0.0, 0, None
    for key, row in rows.items():
        prompt, response = ids_of(row, "prompt", tokenizer), ids_of(row, "response", tokenizer)
        score = scores[key]
        if score.get("token_ids", response) != response or len(score["logprobs"]) != len(response):
            sys.exit(f"row {key!r}: the score is of other tokens ({len(response)} here, {len(score['logprobs'])} there)")
        difference = (logprobs(model, prompt, response) - torch.tensor(score["logprobs"], dtype=torch.float64)).abs()
        total, tokens = total + difference.sum().item(), tokens + len(response)
        largest = difference.nan_to_num(nan=float("inf")).max().item()  # a NaN is as wrong as can be
        if largest > worst:
            worst, at = largest, key
    print(f"{len(rows)} rows, {tokens} tokens: largest difference {worst:.3e} nats (row {at!r}), mean {total / tokens:.3e}, limit {LIMIT:.0e}")
    sys.exit(0 if worst <= LIMIT else 1)


if __name__ == "__main__":
    main()
