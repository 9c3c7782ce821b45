"""Golden files of GGUF: blocks of every type, a tiny model of each architecture, and token ids.

* `crates/latrace-lm/tests/golden/gguf/blocks.safetensors`: for each type, bytes of some blocks and their values by the
  `gguf` package; for Q8_0 also the values that were quantised.
* `crates/latrace-lm/tests/golden/gguf/<architecture>.gguf` and `.json`: a model by the package's writer, and shape,
  CRC-32C and first values of each tensor as transformers would have it.
* `crates/latrace-engine/tests/golden/gguf/<name>.gguf` and `ids.json`: vocabularies, and what the `tokenizers` package
  (for byte-level ones) and SentencePiece itself make of texts with them.
"""

import io
import json
from pathlib import Path

import gguf
import numpy as np
import sentencepiece
from gguf.quants import dequantize, quantize
from safetensors.numpy import save_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

CRATES = Path(__file__).parent.parent / "crates"
MODELS = CRATES / "latrace-lm/tests/golden/gguf"
VOCABULARIES = CRATES / "latrace-engine/tests/golden/gguf"

Q = gguf.GGMLQuantizationType
PLAIN = [Q.F16, Q.BF16, Q.Q8_0, Q.Q4_0, Q.Q4_1, Q.Q5_0, Q.Q5_1]
# Where f16 numbers are in a block: the package quantises none of these, so that the other bytes are random.
K_QUANTS = {Q.Q4_K: [0, 2], Q.Q5_K: [0, 2], Q.Q6_K: [208]}
BLOCKS = 6

# Sizes of the tiny models. Rows of the last projection are a block of the K-quants.
D, HEADS, KV, HEAD, INNER, ROWS = 64, 4, 2, 16, 256, 40


def k_blocks(kind, rng, count):
    """Random blocks whose scales are small numbers."""
    values, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (count, size), dtype=np.uint8)
    for at in K_QUANTS[kind]:
        blocks[:, at : at + 2] = rng.normal(0, 0.01, (count, 1)).astype(np.float16).view(np.uint8)
    return blocks


def blocks():
    rng, tensors = np.random.default_rng(1), {}
    for kind in PLAIN:
        values, _ = gguf.GGML_QUANT_SIZES[kind]
        x = rng.normal(0, 0.05, (BLOCKS, max(values, 32))).astype(np.float32)
        x[0] *= 100
        x[1] = 0
        tensors[f"{kind.name}.bytes"] = quantize(x, kind).view(np.uint8)
        if kind == Q.Q8_0:
            # Quotients halfway between two whole numbers, where roundings differ.
            x[2] = (np.arange(32) - 15.5) * 2
            x[2, 0] = 127
            tensors["Q8_0.bytes"] = quantize(x, kind)
            tensors["Q8_0.input"] = x
    for kind in K_QUANTS:
        tensors[f"{kind.name}.bytes"] = k_blocks(kind, rng, BLOCKS)
    for name in [name for name in tensors if name.endswith(".bytes")]:
        kind = Q[name.removesuffix(".bytes")]
        tensors[f"{kind.name}.values"] = dequantize(tensors[name], kind).astype(np.float32)
    save_file(tensors, MODELS / "blocks.safetensors")


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def permuted(w, heads):
    """llama.cpp's order of the rows of q and k."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def unpermuted(w, heads):
    return w.reshape(heads, w.shape[0] // heads // 2, 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def tensors_of(architecture):
    """(name in GGUF, name in transformers, shape, type, heads if permuted)."""
    llama = architecture == "llama"
    yield "token_embd.weight", "model.embed_tokens.weight", (ROWS, D), Q.Q8_0, 0
    b, p = "blk.0.", "model.layers.0."
    for name, theirs in [("attn_norm", "input_layernorm"), ("ffn_norm", "post_attention_layernorm")]:
        yield f"{b}{name}.weight", f"{p}{theirs}.weight", (D,), Q.F32, 0
    for part, heads, kind in [("q", HEADS, Q.Q4_0), ("k", KV, Q.Q4_1), ("v", KV, Q.F16)]:
        order = heads if llama and part != "v" else 0
        yield f"{b}attn_{part}.weight", f"{p}self_attn.{part}_proj.weight", (heads * HEAD, D), kind, order
        if architecture == "qwen2":
            yield f"{b}attn_{part}.bias", f"{p}self_attn.{part}_proj.bias", (heads * HEAD,), Q.F32, 0
        if architecture == "qwen3" and part != "v":
            yield f"{b}attn_{part}_norm.weight", f"{p}self_attn.{part}_norm.weight", (HEAD,), Q.F32, 0
    yield f"{b}attn_output.weight", f"{p}self_attn.o_proj.weight", (D, HEADS * HEAD), Q.BF16, 0
    yield f"{b}ffn_gate.weight", f"{p}mlp.gate_proj.weight", (INNER, D), Q.Q5_0, 0
    yield f"{b}ffn_up.weight", f"{p}mlp.up_proj.weight", (INNER, D), Q.Q5_1, 0
    last = {"llama": Q.Q4_K, "qwen2": Q.Q5_K, "qwen3": Q.Q6_K}[architecture]
    yield f"{b}ffn_down.weight", f"{p}mlp.down_proj.weight", (D, INNER), last, 0
    yield "output_norm.weight", "model.norm.weight", (D,), Q.F32, 0
    if architecture == "qwen2":
        yield "output.weight", "lm_head.weight", (ROWS, D), Q.Q8_0, 0


def stored(x, kind, rng):
    if kind in K_QUANTS:
        size = gguf.GGML_QUANT_SIZES[kind][1]
        return k_blocks(kind, rng, x.size // 256).reshape(x.shape[0], x.shape[1] // 256 * size)
    return quantize(x, kind) if kind != Q.F32 else x


def llama3_divisors(theta):
    """What llama.cpp's conversion writes for Llama 3.2's scaling."""
    divisors, frequencies = [], 1.0 / theta ** (np.arange(0, HEAD, 2, dtype=np.float32) / HEAD)
    for wavelength in 2 * np.pi / frequencies:
        if wavelength < 8192 / 4:
            divisors.append(1.0)
        elif wavelength > 8192:
            divisors.append(32.0)
        else:
            smooth = (8192 / wavelength - 1) / (4 - 1)
            divisors.append(1 / ((1 - smooth) / 32 + smooth))
    return np.array(divisors, dtype=np.float32)


def model(architecture, seed):
    rng, expected = np.random.default_rng(seed), {}
    writer = gguf.GGUFWriter(MODELS / f"{architecture}.gguf", architecture)
    writer.add_context_length(131072)
    writer.add_embedding_length(D)
    writer.add_block_count(1)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(500000.0)
    if architecture == "llama":
        writer.add_tensor("rope_freqs.weight", llama3_divisors(500000.0))
    if architecture == "qwen3":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(4.0)
        writer.add_rope_scaling_orig_ctx_len(32768)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    letters = gguf_bytes()[: ROWS - 2]
    writer.add_token_list([*letters, letters[0] + letters[1], "<|end|>"])
    writer.add_token_types([1] * (ROWS - 1) + [3])
    writer.add_token_merges([f"{letters[0]} {letters[1]}"])
    writer.add_eos_token_id(ROWS - 1)
    for name, theirs, shape, kind, heads in tensors_of(architecture):
        x = rng.normal(1 if len(shape) == 1 else 0, 0.05, shape).astype(np.float32)
        data = stored(permuted(x, heads) if heads else x, kind, rng)
        writer.add_tensor(name, data, raw_dtype=kind)
        values = dequantize(data, kind).astype(np.float32).reshape(shape)
        values = np.ascontiguousarray(unpermuted(values, heads) if heads else values)
        first = [float(v) for v in values.flatten()[:4]]
        expected[theirs] = {"shape": shape, "crc32c": crc32c(values.tobytes()), "first": first}
    finish(writer)
    (MODELS / f"{architecture}.json").write_text(json.dumps(expected, indent=1) + "\n")


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def gguf_bytes():
    return sorted(pre_tokenizers.ByteLevel.alphabet())


CORPUS = [
    "The quick brown fox jumps over the lazy dog. It's 12345 steps; they'll walk 678 more, I'd say!",
    "def f(x):\n    return x ** 2 + 10\n\n\nprint(f(3))  # ninety-nine\r\n\ttab",
    "Größe, naïve, 你好，世界。これは 2024 年です 🦆🦆 ½ ² Ⅷ",
    "$5 + 3 = 8$ <tag> a^b ~ |x| `code` 1000000 apples",
] * 4
TEXTS = CORPUS[:4] + [
    "", " ", "   leading and trailing   ", "\n\n\n", "a\n \n b", "DON'T I'LL we'Re", "3.14159 1,234,567", "é e\u0301",
    "<|end|>", "x<|end|>y <|user|> z", "\u00a0\u2003\u3000", "👩‍👩‍👧 \u200b", "١٢٣ 四百二十", "!!!???...", "<s> a</s>", "▁ a",
]

LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def splits(*patterns):
    parts = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in patterns]
    return pre_tokenizers.Sequence([*parts, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def gpt2():
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)


PRE_TOKENIZERS = {
    "gpt-2": gpt2(),
    "smollm": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), gpt2()]),
    "llama-bpe": splits(LLAMA3),
    "qwen2": splits(QWEN2),
    "default": splits(r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"),
}


def byte_level(name, pre_tokenizer):
    """Merges are learnt without splitting, so that it is the splitting that keeps them within words."""
    learnt = Tokenizer(models.BPE())
    learnt.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trainer = trainers.BpeTrainer(
        vocab_size=520, initial_alphabet=gguf_bytes(), special_tokens=["<|end|>"], show_progress=False
    )
    learnt.train_from_iterator(CORPUS, trainer)
    learnt = json.loads(learnt.to_str())["model"]
    tokens = sorted(learnt["vocab"], key=learnt["vocab"].get) + ["<|user|>"]
    vocab = {token: i for i, token in enumerate(tokens)}
    merges = [tuple(merge) for merge in learnt["merges"]]

    reference = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=name == "llama-bpe"))
    reference.pre_tokenizer = pre_tokenizer
    if name == "qwen2":
        reference.normalizer = normalizers.NFC()
    reference.add_special_tokens(["<|end|>"])
    reference.add_tokens(["<|user|>"])

    writer = gguf.GGUFWriter(VOCABULARIES / f"{name}.gguf", "llama")
    writer.add_tokenizer_model("gpt2")
    if name != "default":
        writer.add_tokenizer_pre(name)
    writer.add_token_list(tokens)
    writer.add_token_types([3] + [1] * (len(tokens) - 2) + [4])
    writer.add_token_merges([" ".join(merge) for merge in merges])
    writer.add_eos_token_id(0)
    writer.add_bos_token_id(0)
    writer.add_chat_template("{% for m in messages %}{{ m['content'] }}<|end|>{% endfor %}")
    finish(writer)
    return [reference.encode(text, add_special_tokens=False).ids for text in TEXTS]


def sentence_piece():
    file = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS), model_writer=file, model_type="bpe", vocab_size=420, byte_fallback=True,
        character_coverage=0.98, normalization_rule_name="identity", remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True, split_digits=True, num_threads=1, minloglevel=2,
    )
    processor = sentencepiece.SentencePieceProcessor(model_proto=file.getvalue())
    ids = range(processor.get_piece_size())
    kind = lambda i: (
        gguf.TokenType.UNKNOWN if processor.is_unknown(i)
        else gguf.TokenType.CONTROL if processor.is_control(i)
        else gguf.TokenType.BYTE if processor.is_byte(i)
        else gguf.TokenType.NORMAL
    )
    writer = gguf.GGUFWriter(VOCABULARIES / "llama.gguf", "llama")
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([processor.id_to_piece(i) for i in ids])
    writer.add_token_scores([processor.get_score(i) for i in ids])
    writer.add_token_types([kind(i) for i in ids])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    finish(writer)
    # SentencePiece has no way to write control tokens in a text, and sees theirs as any other.
    texts = [text for text in TEXTS if "<s>" not in text]
    return {"texts": texts, "ids": [processor.encode(text) for text in texts]}


def main():
    for folder in (MODELS, VOCABULARIES):
        folder.mkdir(parents=True, exist_ok=True)
    blocks()
    for seed, architecture in enumerate(["llama", "qwen2", "qwen3"]):
        model(architecture, seed)
    cases = {name: {"texts": TEXTS, "ids": byte_level(name, pre)} for name, pre in PRE_TOKENIZERS.items()}
    cases["llama"] = sentence_piece()
    (VOCABULARIES / "ids.json").write_text(json.dumps(cases, ensure_ascii=True) + "\n")


main()
