"""What vLLM draws in a second, for `cargo xtask bench`: `python oracle/bench_vllm.py MODEL_DIR ROWS.jsonl float32|bfloat16 TOKENS`.

All prompts (`prompt_ids`) at once, TOKENS tokens each whatever they are, the better of two turns after one to warm up, without the engine's start. Its threads are bound to all cores:
as it starts by itself it keeps one for its worker. The last line is a JSON object, or null where the package is missing.
"""
import json, os, sys, time

cores = sorted(os.sched_getaffinity(0))
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", f"{cores[0]}-{cores[-1]}")
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")

try:
    import vllm
except ImportError:
    sys.exit(print("null"))


def main():
    folder, rows, dtype, tokens = sys.argv[1:5]
    prompts = [{"prompt_token_ids": json.loads(line)["prompt_ids"]} for line in open(rows)]
    engine = vllm.LLM(folder, dtype=dtype, max_model_len=1024, enable_prefix_caching=False, skip_tokenizer_init=True)
    settings = vllm.SamplingParams(temperature=1.0, max_tokens=int(tokens), ignore_eos=True, detokenize=False)
    rates = []
    for _ in range(3):
        start = time.perf_counter()
        drawn = engine.generate(prompts, settings, use_tqdm=False)
        rates.append(sum(len(one.outputs[0].token_ids) for one in drawn) / (time.perf_counter() - start))
    print(json.dumps({"peer": f"vLLM {vllm.__version__} {dtype}", "tokens_per_second": max(rates[1:])}))


if __name__ == "__main__":
    main()
