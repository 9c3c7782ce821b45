"""Golden cases for low-rank adapters: log-probs, gradients and ten AdamW steps of PEFT adapters on tiny models, in float64.

python oracle/adapter_goldens.py     (from the repository's root, with requirements-adapters.txt)

A case is a folder crates/latrace-lm/tests/golden/<case>/ of
  adapter_config.json, adapter_model.safetensors    as PEFT's save_pretrained writes them, but for the base: the folder of a case of decoder_goldens.py
  golden.safetensors                                as there; grad.<tensor> and adamw.<tensor> are those of the adapter's tensors, by their names in the file
  golden.json                                       versions and hyper-parameters

Dropout is 0 in all of them: which inputs are left out follows from random numbers of our own, and is tested by difference quotients.
"""
import json, platform, shutil

import peft, safetensors.torch, torch, transformers
from peft import LoraConfig, get_peft_model

import decoder_goldens as decoder

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
CASES = {  # name -> (base, settings, the type of the saved tensors)
    "adapter-qwen3": ("qwen3", dict(r=4, lora_alpha=8, target_modules=ALL), torch.float32),
    "adapter-llama-bias": ("llama-bias", dict(r=3, lora_alpha=6, use_rslora=True, target_modules=["q_proj", "v_proj", "down_proj"]), torch.float32),
    # A rank and a scale of their own for some projections, in bf16, on a base with two layers of which one is adapted.
    "adapter-patterns": ("qwen2", dict(r=4, lora_alpha=8, target_modules=["q_proj", "o_proj", "up_proj"], layers_to_transform=[1],
                                       rank_pattern={"o_proj": 2}, alpha_pattern={"layers.1.mlp.up_proj": 3}), torch.bfloat16),
    # On a base that is stored, and held, in bf16.
    "adapter-bf16": ("bf16", dict(r=4, lora_alpha=8, target_modules=ALL), torch.float32),
}


def adapted(base, settings, dtype):
    model = get_peft_model(decoder.load(decoder.OUT / base, torch.float64), LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.0, **settings), autocast_adapter_dtype=False)
    return model.to(torch.float64)


def in_file(name):
    return name.replace(".default.", ".")


def randomise(model, dtype, seed):
    """A and B are both random, so that neither gradient is 0; rounded to the type they are saved in."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.requires_grad:
                p.copy_((0.3 * torch.randn(p.shape, generator=g, dtype=torch.float64)).to(dtype))


def make(name, base, settings, dtype, seed):
    folder = decoder.OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    model = adapted(base, settings, dtype)
    randomise(model, dtype, seed)
    model.to(dtype).save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text()) | {"base_model_name_or_path": f"../{base}"}
    # PEFT writes a set, in an order of its own each time.
    config["target_modules"].sort()
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    saved = safetensors.torch.load_file(folder / "adapter_model.safetensors")

    model = adapted(base, settings, dtype)
    trained = {in_file(n): p for n, p in model.named_parameters() if p.requires_grad}
    assert trained.keys() == saved.keys(), (trained.keys(), saved.keys())
    with torch.no_grad():
        for n, p in trained.items():
            p.copy_(saved[n])
    g = torch.Generator().manual_seed(1000 + seed)
    rows = [torch.randint(0, model.config.vocab_size, (n,), generator=g) for n in decoder.LENGTHS]
    optimiser = torch.optim.AdamW(trained.values(), lr=decoder.LR, betas=decoder.BETAS, eps=decoder.EPS, weight_decay=decoder.DECAY)
    golden, losses, norms = {}, [], []
    for step in range(decoder.STEPS):
        optimiser.zero_grad()
        lps = decoder.logprobs(model, rows)
        loss = decoder.loss_of(lps)
        loss.backward()
        if step == 0:
            golden["logprobs"] = torch.cat(lps).detach().clone()
            golden |= {f"grad.{n}": p.grad.float() for n, p in trained.items()}
        losses.append(loss.item())
        norms.append(torch.nn.utils.clip_grad_norm_(trained.values(), decoder.CLIP).item())
        optimiser.step()
    golden |= {f"adamw.{n}": p.detach().float() for n, p in trained.items()}
    assert losses[-1] < losses[0] and all(golden[k].abs().max() > 0 for k in golden)
    golden |= dict(ids=torch.cat(rows), lengths=torch.tensor(decoder.LENGTHS), prompt_lengths=torch.tensor(decoder.PROMPTS), weights=torch.tensor(decoder.WEIGHTS, dtype=torch.float64))
    safetensors.torch.save_file({k: v.contiguous() for k, v in golden.items()}, folder / "golden.safetensors")
    record = dict(
        made_by="oracle/adapter_goldens.py", case=name, seed=seed, computed_in="float64",
        versions=dict(python=platform.python_version(), torch=torch.__version__.split("+")[0], transformers=transformers.__version__, peft=peft.__version__),
        steps=decoder.STEPS, lr=decoder.LR, beta1=decoder.BETAS[0], beta2=decoder.BETAS[1], eps=decoder.EPS, weight_decay=decoder.DECAY, clip_norm=decoder.CLIP,
        losses=losses, grad_norms=norms)
    (folder / "golden.json").write_text(json.dumps(record, indent=2) + "\n")
    print(name, "loss", round(losses[0], 4), "->", round(losses[-1], 4))


if __name__ == "__main__":
    for seed, (name, (base, settings, dtype)) in enumerate(CASES.items()):
        make(name, base, settings, dtype, seed)
