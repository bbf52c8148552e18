"""Renders 200 conversations by eight chat templates with Python's Jinja2, set up as transformers does, and
tokenises them with a byte-level BPE of its own: python3 make.py, which writes rows.jsonl and want.json beside it.
A token is a target where it begins in an assistant's part: from the end of the rendered prompt before a turn to
the end of the rendering with it."""
import hashlib
import json
import os
import random
import re
import sys

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

HERE = os.path.dirname(os.path.abspath(__file__))
LENGTH = 448
WORDS = ("the a of Löwe 東京 été naïve 😀 👩‍🚀 can't don't I'm 12345 3.14 x=1; <b> & \"q\" Привет שלום  two  spaces tab\tend line\nbreak "
         "a\n\nparagraph trailing… ﬁ ½ ﷽ ok yes").split(" ")


def templates():
    return {n[:-6]: open(os.path.join(HERE, n), encoding="utf-8").read() for n in sorted(os.listdir(HERE)) if n.endswith(".jinja")}


def environment():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    env.filters["tojson"] = lambda x, indent=None: json.dumps(x, ensure_ascii=False, indent=indent)
    env.globals["raise_exception"] = raise_exception
    return env


def text(r, n):
    return " ".join(r.choice(WORDS) for _ in range(n))


def conversation(r, i):
    row = {"messages": []}
    m = row["messages"]
    if i % 3 == 0:
        m.append({"role": "system", "content": text(r, r.randint(1, 8))})
    for turn in range(r.randint(1, 4)):
        m.append({"role": "user", "content": text(r, 150 if i % 17 == 0 else r.randint(1, 12))})
        if i % 5 == 1 and turn == 0:
            row["tools"] = [{"type": "function", "function": {"name": "look", "description": "Löok up", "parameters": {
                "type": "object", "properties": {"z": {"type": "string"}, "a": {"type": "integer"}}}}}]
            m.append({"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": {
                "name": "look", "arguments": {"z": "ü \"x\"", "a": i, "b": [1.5, None, True]}}}]})
            m.append({"role": "tool", "name": "look", "content": text(r, 3)})
        m.append({"role": "assistant", "content": "" if i % 7 == 3 and turn == 0 else text(r, r.randint(1, 12))})
    if i % 11 == 5:
        m.append({"role": "user", "content": "and?"})
    return row


class Tokenizer:
    """Byte-level BPE without splitting into words; special tokens are found first, the longest of those at a place."""

    def __init__(self, path):
        t = json.load(open(path, encoding="utf-8"))
        self.vocab = t["model"]["vocab"]
        self.ranks = {tuple(m): i for i, m in enumerate(t["model"]["merges"])}
        self.special = {a["content"]: a["id"] for a in t["added_tokens"]}
        self.split = re.compile("(" + "|".join(re.escape(s) for s in sorted(self.special, key=len, reverse=True)) + ")")
        keep = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
        self.byte = {b: chr(b) for b in keep}
        for b in range(256):
            if b not in self.byte:
                self.byte[b] = chr(256 + len(self.byte) - len(keep))

    def encode(self, s):
        """(id, first byte of the token in s) for each token."""
        out, at = [], 0
        for part in self.split.split(s):
            if part in self.special:
                out.append((self.special[part], at))
                at += len(part.encode())
                continue
            word = [self.byte[b] for b in part.encode()]
            while len(word) > 1:
                best = min(range(len(word) - 1), key=lambda k: (self.ranks.get((word[k], word[k + 1]), 1 << 30), k))
                if (word[best], word[best + 1]) not in self.ranks:
                    break
                word[best:best + 2] = [word[best] + word[best + 1]]
            for w in word:
                out.append((self.vocab[w], at))
                at += len(w)
        return out


def expect(env, template, tokenizer, row, bos="<s>", eos="</s>"):
    t = env.from_string(template)

    def render(messages, prompt):
        return t.render(messages=messages, tools=row.get("tools"), documents=None, add_generation_prompt=prompt, eos_token=eos, **({"bos_token": bos} if bos else {}))

    m = row["messages"]
    try:
        whole = render(m, False)
        spans = []
        for i, msg in enumerate(m):
            if msg["role"] == "assistant":
                before, after = render(m[:i], True), render(m[:i + 1], False)
                if not after.startswith(before) or not whole.startswith(after):
                    return "rewritten"
                spans.append((len(before.encode()), len(after.encode())))
    except jinja2.exceptions.TemplateError:
        return "refused"
    pairs = tokenizer.encode(whole)
    ids = [p[0] for p in pairs]
    labels = [i if any(lo <= at < hi for lo, hi in spans) else -100 for i, at in pairs]
    end = whole.encode()[spans[-1][0]:].decode()
    answer = m[-1]["content"].strip()
    if m[-1]["role"] == "assistant" and (end.strip() == "" if answer == "" else end.strip().endswith(answer)):
        ids.append(tokenizer.special[eos])  # nothing of the template's own ends the answer
        labels.append(ids[-1])
    cut = len(ids) > LENGTH
    ids, labels = ids[:LENGTH], labels[:LENGTH]
    if all(l == -100 for l in labels[1:]):
        return "skipped"
    return "%d %d %s %s" % (len(ids), sum(l != -100 for l in labels), "cut" if cut else "whole",
                            hashlib.sha256(json.dumps([ids, labels], separators=(",", ":")).encode()).hexdigest()[:12])


def main():
    tokenizer, env, r = Tokenizer(os.path.join(HERE, "tokenizer.json")), environment(), random.Random(7)
    rows = [conversation(r, i) for i in range(200)]
    with open(os.path.join(HERE, "rows.jsonl"), "w", encoding="utf-8") as f:
        for row in rows:
            f.write(json.dumps(row, ensure_ascii=False) + "\n")
    want = {name: [expect(env, t, tokenizer, row) for row in rows] for name, t in templates().items()}
    json.dump(want, open(os.path.join(HERE, "want.json"), "w"), indent=0)


def tokenizer_file():
    """The tokenizer the expectations are for: bytes, some merges, the templates' markers."""
    specials = sorted(set(re.findall(r"<\|[a-z_]+\|>|<start_of_turn>|<end_of_turn>|<reserved_10[67]>", " ".join(templates().values()))))
    base = Tokenizer.__new__(Tokenizer)
    keep = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    byte = {b: chr(b) for b in keep}
    for b in range(256):
        if b not in byte:
            byte[b] = chr(256 + len(byte) - len(keep))
    vocab = {"<unk>": 0, "<s>": 1, "</s>": 2}
    for s in specials:
        vocab[s] = len(vocab)
    added = dict(vocab)
    for b in range(256):
        vocab[byte[b]] = len(vocab)
    merges = []
    for pair in "Ċ Ċ|Ġ t|Ġt h|Ġth e|e s|a n|Ġ y|ĠĠ|: Ġ|o k|Ã ©|s Ċ|t Ċ|] Ġ|ä º|n o|Ġ Ċ|k Ċ".split("|"):
        a, b = pair.split(" ") if " " in pair else ("Ġ", "Ġ")
        merges.append([a, b])
        vocab[a + b] = len(vocab)
    json.dump({
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": i, "content": c, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True} for c, i in added.items()],
        "normalizer": None, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
        "post_processor": None, "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "vocab": vocab, "merges": merges},
    }, open(os.path.join(HERE, "tokenizer.json"), "w", encoding="utf-8"), ensure_ascii=False)


if __name__ == "__main__":
    if not os.path.exists(os.path.join(HERE, "tokenizer.json")):
        tokenizer_file()
    main()
