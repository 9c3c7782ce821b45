"""Golden cases for the decoder: log-probs, every gradient and ten AdamW steps of tiny models, by transformers in float64.

python oracle/decoder_goldens.py [CASE...]     (from the repository's root; no case named: all of them)

A case is a folder crates/latrace-lm/tests/golden/<case>/ of
  config.json, model.safetensors    as save_pretrained writes them (case `sharded`: shards and model.safetensors.index.json);
                                    the cases in OLD_SPELLING have their config.json rewritten to the keys of transformers 4 and before
  golden.safetensors                ids i64 [sum of lengths], the rows one after the other
                                    lengths, prompt_lengths i64 [4]; weights f64 [4]
                                    logprobs f64 [sum of length - prompt_length], nats: log p(id_t | id_<t) at t = prompt_length..length, row after row
                                    grad.<parameter> f32: d loss / d parameter at the saved weights, before any clipping
                                    adamw.<parameter> f32: the weights after ten steps
  golden.json                       versions, hyper-parameters, the ten losses (each before its step) and gradient norms (each before clipping), and what the
                                    same work in float32 differs by: the scale for a test's tolerance (`adamw.` is led by the
                                    few elements whose gradient is near 0, where Adam's step has full size and float32 sees another ratio m / sqrt(v))

loss = sum_i w_i sum_t -log p(id_t | id_<t) / (C B), over response tokens t, with C the mean response length and B = 4 rows: the divisor is the number of
response tokens, 65. Each row runs alone (no padding). A step: gradients clipped to global norm 1 (g * min(1, 1 / (norm + 1e-6))), then
p -= lr * decay * p; m, v as Adam; p -= lr * (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps). Tied embeddings appear once, as model.embed_tokens.weight.

Differs from transformers in: RMSNorm and rotary tables are in float64 too (transformers computes them in float32 whatever the model's type; inverse frequencies are
its own functions with torch.float32 standing for float64). All parameters are random and large, so that no norm is 1, no bias 0 and none of them can be left out unseen.
"""
import contextlib, json, pathlib, platform, shutil, sys

import safetensors, safetensors.torch, torch, transformers
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config, Qwen3Config

OUT = pathlib.Path(__file__).resolve().parent.parent / "crates/latrace-lm/tests/golden"
LENGTHS, PROMPTS, WEIGHTS = [37, 5, 64, 23], [11, 1, 30, 22], [1.0, 0.3, 2.0, 0.7]
STEPS, LR, BETAS, EPS, DECAY, CLIP = 10, 1e-2, (0.9, 0.999), 1e-8, 0.1, 1.0
TINY = dict(hidden_size=32, num_hidden_layers=2, intermediate_size=48, num_attention_heads=4, num_key_value_heads=2, vocab_size=61,
            max_position_embeddings=256, bos_token_id=None, eos_token_id=2, pad_token_id=0)


def qwen2(theta=1e6, **k):
    return Qwen2Config(**{**TINY, "rope_parameters": {"rope_type": "default", "rope_theta": theta}, **k})


def qwen3(theta=1e4, rope={"rope_type": "default"}, **k):
    return Qwen3Config(**{**TINY, "head_dim": 16, "tie_word_embeddings": True, "rope_parameters": {**rope, "rope_theta": theta}, **k})


def llama(theta=1e4, rope={"rope_type": "default"}, **k):
    return LlamaConfig(**{**TINY, "rms_norm_eps": 1e-5, "rope_parameters": {**rope, "rope_theta": theta}, **k})


# With these numbers the llama3 and yarn cases have frequencies of all three kinds: kept, blended and divided.
LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32)
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=32)
CASES = {  # name -> (config, the type of the saved weights)
    "qwen2": (qwen2(tie_word_embeddings=True), torch.float32),
    "qwen2-untied": (qwen2(tie_word_embeddings=False), torch.float32),
    "qwen3": (qwen3(), torch.float32),
    "qwen3-odd": (qwen3(1e3, head_dim=12, hidden_size=40, intermediate_size=40, num_attention_heads=6, num_key_value_heads=3, vocab_size=67, tie_word_embeddings=False), torch.float32),
    "llama": (llama(), torch.float32),
    "llama-bias": (llama(attention_bias=True, mlp_bias=True), torch.float32),
    "llama-mha": (llama(num_key_value_heads=4), torch.float32),
    "rope-linear": (llama(rope=dict(rope_type="linear", factor=4.0), num_hidden_layers=1), torch.float32),
    "rope-llama3": (llama(100.0, rope=LLAMA3, head_dim=16, num_hidden_layers=1), torch.float32),
    "rope-yarn": (qwen3(rope=YARN, num_hidden_layers=1), torch.float32),
    "bf16": (qwen3(num_hidden_layers=1), torch.bfloat16),
    "f16": (llama(num_hidden_layers=1), torch.float16),
    "sharded": (qwen2(tie_word_embeddings=True), torch.float32),
}
# The older config.json: `rope_theta` and `rope_scaling` (key of its kind: "rope_type", or the still older "type"), `torch_dtype`, and keys that were not there yet.
OLD_SPELLING = {"qwen2": dict(drop=["layer_types"]), "llama-mha": dict(drop=["head_dim", "num_key_value_heads", "mlp_bias"]),
                "rope-linear": dict(kind="type", drop=["head_dim"]), "rope-yarn": dict(kind="rope_type")}


def randomise(model, seed):
    """Matrices N(0, 0.2), embeddings N(0, 0.25), norms 1 + N(0, 0.2), biases N(0, 0.2): every parameter matters."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=g, dtype=torch.float64)
            p.copy_(1 + 0.2 * noise if "norm" in name else (0.25 if "embed" in name or "lm_head" in name else 0.2) * noise)


def spell_old(path, kind="rope_type", drop=()):
    c = json.loads(path.read_text())
    rope = c.pop("rope_parameters")
    c["rope_theta"], c["torch_dtype"] = rope.pop("rope_theta"), c.pop("dtype")
    scaling = {kind: rope.pop("rope_type"), **rope}
    c["rope_scaling"] = None if scaling[kind] == "default" else scaling
    for key in drop:
        c.pop(key, None)
    path.write_text(json.dumps(c, indent=2, sort_keys=True) + "\n")


@contextlib.contextmanager
def float_is_double():
    """transformers' rope functions ask for torch.float; inside, that means float64."""
    saved = torch.float, torch.float32
    torch.float = torch.float32 = torch.float64
    try:
        yield
    finally:
        torch.float, torch.float32 = saved


def norm_forward(self, x):
    return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon))


def rotary_forward(self, x, position_ids):
    angle = position_ids[..., None].double() * self.inv_freq
    angle = torch.cat((angle, angle), dim=-1)
    return angle.cos() * self.attention_scaling, angle.sin() * self.attention_scaling


def load(folder, dtype):
    """The saved folder as transformers reads it; in float64 with the norms and rotary tables in float64 as well."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa").train()
    if dtype != torch.float64:
        return model
    patched = 0
    for module in model.modules():
        kind = type(module).__name__
        if kind.endswith("RMSNorm"):
            module.forward = norm_forward.__get__(module)
        elif kind.endswith("RotaryEmbedding"):
            old = module.inv_freq.double()
            init = module.compute_default_rope_parameters if module.rope_type == "default" else transformers.modeling_rope_utils.ROPE_INIT_FUNCTIONS[module.rope_type]
            with float_is_double():
                inv_freq, module.attention_scaling = init(module.config)
            assert inv_freq.dtype == torch.float64 and torch.allclose(inv_freq, old, rtol=1e-5), (inv_freq, old)
            module.inv_freq, module.forward = inv_freq, rotary_forward.__get__(module)
        else:
            continue
        patched += 1
    assert patched == 2 + model.config.num_hidden_layers * (4 if model.config.model_type == "qwen3" else 2), patched
    assert all(p.dtype == torch.float64 for p in model.parameters())
    return model


def logprobs(model, rows):
    """Per row, log p of each response token [length - prompt_length], nats."""
    out = []
    for ids, prompt in zip(rows, PROMPTS):
        logits = model(input_ids=ids[None], use_cache=False).logits[0, prompt - 1:-1]
        out.append(torch.log_softmax(logits, -1).gather(1, ids[prompt:, None])[:, 0])
    return out


def loss_of(lps):
    return sum(-w * lp.sum() for w, lp in zip(WEIGHTS, lps)) / sum(len(lp) for lp in lps)


def work(folder, rows, dtype):
    """Log-probs and gradients at the saved weights, then ten AdamW steps on the same batch."""
    model = load(folder, dtype)
    optimiser = torch.optim.AdamW(model.parameters(), lr=LR, betas=BETAS, eps=EPS, weight_decay=DECAY)
    tensors, losses, norms = {}, [], []
    for step in range(STEPS):
        optimiser.zero_grad()
        lps = logprobs(model, rows)
        loss = loss_of(lps)
        loss.backward()
        if step == 0:
            tensors["logprobs"] = torch.cat(lps).detach().clone()
            tensors |= {f"grad.{n}": p.grad.clone() for n, p in model.named_parameters()}
        losses.append(loss.item())
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP).item())
        optimiser.step()
    tensors |= {f"adamw.{n}": p.detach().clone() for n, p in model.named_parameters()}
    return tensors, losses, norms


def largest_difference(a, b, prefix):
    return max((a[k].double() - b[k].double()).abs().max().item() for k in a if k.startswith(prefix))


def make(name, config, dtype, seed):
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    model = AutoModelForCausalLM.from_config(config)
    randomise(model, seed)
    model.to(dtype).save_pretrained(folder, **({"max_shard_size": "20KB"} if name == "sharded" else {}))
    (folder / "generation_config.json").unlink(missing_ok=True)
    if name in OLD_SPELLING:
        spell_old(folder / "config.json", **OLD_SPELLING[name])

    g = torch.Generator().manual_seed(1000 + seed)
    rows = [torch.randint(0, config.vocab_size, (n,), generator=g) for n in LENGTHS]
    tensors, losses, norms = work(folder, rows, torch.float64)
    in_f32, losses_f32, norms_f32 = work(folder, rows, torch.float32)
    assert losses[-1] < losses[0] and all(tensors[k].abs().max() > 0 for k in tensors)

    golden = {k: v if k == "logprobs" else v.float() for k, v in tensors.items()}
    golden |= dict(ids=torch.cat(rows), lengths=torch.tensor(LENGTHS), prompt_lengths=torch.tensor(PROMPTS), weights=torch.tensor(WEIGHTS, dtype=torch.float64))
    safetensors.torch.save_file(golden, folder / "golden.safetensors")
    record = dict(
        made_by="oracle/decoder_goldens.py", case=name, seed=seed, stored_dtype=str(dtype).removeprefix("torch."), computed_in="float64",
        versions=dict(python=platform.python_version(), torch=torch.__version__.split("+")[0], transformers=transformers.__version__, safetensors=safetensors.__version__),
        steps=STEPS, lr=LR, beta1=BETAS[0], beta2=BETAS[1], eps=EPS, weight_decay=DECAY, clip_norm=CLIP, batch=len(rows),
        mean_response_length=sum(b - a for a, b in zip(PROMPTS, LENGTHS)) / len(rows), losses=losses, grad_norms=norms,
        float32_differs_by={p: largest_difference(tensors, in_f32, p) for p in ("logprobs", "grad.", "adamw.")}
        | {"adamw_elements_over_1e-5": sum(((tensors[k].double() - in_f32[k].double()).abs() > 1e-5).sum().item() for k in tensors if k.startswith("adamw."))}
        | dict(losses=max(abs(a - b) for a, b in zip(losses, losses_f32)), grad_norms=max(abs(a - b) for a, b in zip(norms, norms_f32))))
    (folder / "golden.json").write_text(json.dumps(record, indent=2) + "\n")
    for path in folder.iterdir():
        path.chmod(0o644)
    print(f"{name:13} loss {losses[0]:.6f} -> {losses[-1]:.6f}, norm {norms[0]:.4f}, float32 differs by",
          " ".join(f"{k} {v:.1e}" if isinstance(v, float) else f"{k} {v}" for k, v in record["float32_differs_by"].items()))


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    wanted = sys.argv[1:] or list(CASES)
    for name in wanted:
        make(name, *CASES[name], seed=list(CASES).index(name))


if __name__ == "__main__":
    main()
