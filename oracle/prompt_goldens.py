"""Golden token ids of prompts: what transformers makes of a text with tokenizers that add a token before it.

The tokenizers are written here: a few words, with and without a post-processor, under settings that say whether it
counts.
"""

import json
import tempfile
from itertools import product
from pathlib import Path
from platform import python_version

import transformers

GOLDEN = Path(__file__).parent.parent / "crates/latrace-engine/tests/golden/prompt_ids.json"
WORDS = ["<unk>", "<s>", "</s>", "one", "two", "three"]
TEXTS = ["one two", "three", "one </s> two"]


def added(word):
    fixed = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": WORDS.index(word), "content": word, **fixed}


def template(before, after):
    part = lambda word: [{"SpecialToken": {"id": word, "type_id": 0}}] if word else []
    sequence = [*part(before), {"Sequence": {"id": "A", "type_id": 0}}, *part(after)]
    special = {word: {"id": word, "ids": [WORDS.index(word)], "tokens": [word]} for word in ("<s>", "</s>")}
    return {"type": "TemplateProcessing", "single": sequence, "pair": sequence, "special_tokens": special}


POST_PROCESSORS = {
    "none": None,
    "begin": template("<s>", None),
    "begin and end": template("<s>", "</s>"),
    "end": template(None, "</s>"),
    "nothing": template(None, None),
}
SETTINGS = [{}, {"add_bos_token": True}, {"add_bos_token": False}, {"add_eos_token": False}]


def tokenizer(post_processor):
    return {
        "version": "1.0",
        "added_tokens": [added(word) for word in WORDS[:3]],
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": post_processor,
        "model": {"type": "WordLevel", "vocab": {w: i for i, w in enumerate(WORDS)}, "unk_token": "<unk>"},
    }


def ids(definition, config):
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "tokenizer.json").write_text(json.dumps(definition))
        Path(folder, "tokenizer_config.json").write_text(json.dumps(config))
        read = transformers.AutoTokenizer.from_pretrained(folder)
        return [read(text)["input_ids"] for text in TEXTS]


def main():
    cases = []
    for (name, post_processor), settings in product(POST_PROCESSORS.items(), SETTINGS):
        for marks in ({"bos_token": "<s>", "eos_token": "</s>"}, {"eos_token": "</s>"}):
            config = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>", **marks, **settings}
            got = ids(tokenizer(post_processor), config)
            cases.append({"post_processor": name, "config": config, "ids": got})
    golden = {
        "versions": {"python": python_version(), "transformers": transformers.__version__},
        "tokenizers": {name: tokenizer(post) for name, post in POST_PROCESSORS.items()},
        "texts": TEXTS,
        "cases": cases,
    }
    GOLDEN.parent.mkdir(parents=True, exist_ok=True)
    GOLDEN.write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n")
    for case in cases:
        print(case["post_processor"], case["config"], case["ids"])


if __name__ == "__main__":
    main()
