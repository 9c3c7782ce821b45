"""What PyTorch and transformers do in a second, for `cargo xtask bench`.

python oracle/bench_torch.py MODEL_DIR ROWS.jsonl train-f32|train-bf16 BATCH UPDATES
python oracle/bench_torch.py MODEL_DIR ROWS.jsonl score-f32|score-bf16

ROWS have `prompt_ids` and `response_ids`, all of one length, so that nothing is padded. Trainings are AdamW on the responses' log-likelihood, in bf16 by autocast with weights in f32; the
first two updates are not counted, and of the others the median is. Scoring is timed without the loading of packages and model, in batches of 16 rows; in bf16 the weights are, too. All cores
are used; on AMD, preload a library that defines `mkl_serv_intel_cpu_true` to give MKL its AVX-512 path. The last line is a JSON object, or null where a package is missing.
"""
import contextlib, json, os, sys, time

try:
    import torch
    from transformers import AutoModelForCausalLM
except ImportError:
    sys.exit(print("null"))


def load(folder, dtype):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa")


def loss_of(model, ids, prompt):
    """Mean −log p of the responses [batch, tokens] of `ids`, in f32; the head is applied to what they follow alone, as here."""
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, prompt - 1:-1]
    logits = model.lm_head(hidden).float()
    return torch.nn.functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), ids[:, prompt:].reshape(-1))


def train(model, ids, prompt, batch, updates, bf16):
    optimiser = torch.optim.AdamW(model.train().parameters(), lr=1e-5, weight_decay=0.0)
    rates = []
    for update in range(updates):
        rows = ids[update * batch:(update + 1) * batch]
        start = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16) if bf16 else contextlib.nullcontext():
            loss = loss_of(model, rows, prompt)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        rates.append(rows.numel() / (time.perf_counter() - start))
    return sorted(rates[2:])[len(rates[2:]) // 2]


@torch.inference_mode()
def score(model, ids, prompt):
    model.eval()
    loss_of(model, ids[:16], prompt)
    start = time.perf_counter()
    for rows in ids.split(16):
        loss_of(model, rows, prompt)
    return ids.numel() / (time.perf_counter() - start)


def main():
    folder, rows, what = sys.argv[1:4]
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    rows = [json.loads(line) for line in open(rows)]
    ids, prompt = torch.tensor([row["prompt_ids"] + row["response_ids"] for row in rows]), len(rows[0]["prompt_ids"])
    task, dtype = what.split("-")
    if task == "train":
        rate = train(load(folder, torch.float32), ids, prompt, *map(int, sys.argv[4:6]), dtype == "bf16")
    else:
        rate = score(load(folder, torch.bfloat16 if dtype == "bf16" else torch.float32), ids, prompt)
    print(json.dumps({"peer": f"torch {torch.__version__} {dtype}", "tokens_per_second": rate}))


main()
