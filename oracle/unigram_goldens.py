"""Golden token ids of Unigram tokenizers, as transformers reads and decodes them.

python oracle/unigram_goldens.py     (from the repository's root, with requirements-gguf.txt, transformers and protobuf)

SentencePiece trains small Unigram models on the texts below, with and without byte fallback; transformers' own conversion makes
the tokenizer.json of each. The texts to encode have what the training texts lack: accents, other scripts, emoji, ligatures that the
normaliser replaces, several spaces.
"""
import io, json, sys, tempfile
from pathlib import Path
from platform import python_version

import sentencepiece
import transformers
import transformers.convert_slow_tokenizer

GOLDEN = Path(__file__).parent.parent / "crates/latrace-engine/tests/golden/unigram.json"
TRAINING = ["Janet sells eggs at the market every day.", "How many eggs does she sell in a week?", "She sells 9 eggs a day, so 7 * 9 = 63 eggs a week.",
            "A robe takes 2 bolts of blue fiber and half that much white fiber.", "How many bolts in total does it take?", "It takes 2 / 2 = 1 bolt of white fiber."] * 20
TEXTS = ["Janet sells 63 eggs", " every day", "so  7 * 9 =  63", "caf\u00e9 \ufb01ber", "\u5b66\u751f 7", "eggs \U0001F95A!", "", "\n", "white\tfiber\n\n7"]
# Ligatures become letters, as under SentencePiece's own rules, whose table would make the file ten times as long.
RULES = "FB01\t66 69\nFB02\t66 6C\n"
CASES = {"plain": dict(byte_fallback=False, normalization_rule_name="identity"), "byte fallback": dict(byte_fallback=True, vocab_size=400, normalization_rule_tsv="rules.tsv")}
convert = sys.modules["transformers.convert_slow_tokenizer"]


def trained(settings, folder):
    model = io.BytesIO()
    if rules := settings.get("normalization_rule_tsv"):
        path = Path(folder, rules)
        path.write_text(RULES)
        settings = {**settings, "normalization_rule_tsv": str(path)}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TRAINING), model_writer=model, model_type="unigram", hard_vocab_limit=False, minloglevel=2,
        **{"vocab_size": 120, **settings})
    return model.getvalue()


def tokenizer(model):
    proto = convert.import_protobuf().ModelProto()
    proto.ParseFromString(model)
    vocabulary = [(piece.piece, piece.score) for piece in proto.pieces]
    return convert.SpmConverter.build_tokenizer_from_spm_proto(proto, vocabulary)


def read(definition):
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "tokenizer.json").write_text(definition)
        Path(folder, "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}))
        return transformers.AutoTokenizer.from_pretrained(folder)


def main():
    cases = {}
    for name, settings in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            definition = tokenizer(trained(settings, folder)).to_str()
        fast = read(definition)
        ids = [fast(text, add_special_tokens=False)["input_ids"] for text in TEXTS]
        cases[name] = {"tokenizer": json.loads(definition), "ids": ids, "decoded": [fast.decode(i) for i in ids]}
        print(name, len(fast), ids[:4], cases[name]["decoded"][:5])
    versions = {"python": python_version(), "transformers": transformers.__version__, "sentencepiece": sentencepiece.__version__}
    GOLDEN.write_text(json.dumps({"versions": versions, "texts": TEXTS, "cases": cases}, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
