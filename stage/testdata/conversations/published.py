"""The conversations of make.py in the same eight templates, tokenised with published vocabularies: python3
published.py SHARED, the directory of the tests' shared material, writes published.json beside it. The tokenizers are
written here once more, after SentencePiece and Hugging Face's tokenizers, and first shown to give the ids of
goldens.jsonl, which those made; what is compared of conversations is said in make.py. Needs jinja2 and regex."""
import heapq
import json
import os
import struct
import sys
import unicodedata

import regex

import make

# template: vocabulary, and what its tokenizer_config.json calls the ends (a tokenizer.model says it itself). There is no
# vocabulary of Gemma's or Mistral's: one of the same kind spells what it lacks in pieces.
PAIRS = {
    "llama3": ("llama3", "<|begin_of_text|>", "<|eot_id|>"), "qwen": ("qwen2", None, "<|im_end|>"), "chatml": ("qwen2", None, "<|im_end|>"),
    "gemma": ("phi3", "<s>", "</s>"), "mistral": ("llama2", "<s>", "</s>"), "vicuna": ("llama2", "<s>", "</s>"),
    "baichuan2": ("baichuan2", "<s>", "</s>"), "chatglm2": ("chatglm2", "<s>", "</s>"),
}


def merge(symbols, rank):
    """Byte pair encoding: the pair of the lowest rank first, of equal ones the leftmost."""
    left, right = list(range(-1, len(symbols) - 1)), list(range(1, len(symbols) + 1))
    alive, heap = [True] * len(symbols), []

    def offer(i):
        j = right[i]
        if j < len(symbols):
            r = rank(symbols[i], symbols[j])
            if r is not None:
                heapq.heappush(heap, (r, i, symbols[i], symbols[j]))

    for i in range(len(symbols) - 1):
        offer(i)
    while heap:
        _, i, a, b = heapq.heappop(heap)
        j = right[i]
        if not alive[i] or j >= len(symbols) or symbols[i] != a or symbols[j] != b:
            continue
        symbols[i], alive[j], right[i] = a + b, False, right[j]
        if right[i] < len(symbols):
            left[right[i]] = i
        offer(i)
        if left[i] >= 0:
            offer(left[i])
    return [s for s, here in zip(symbols, alive) if here]


class Tokenizer:
    """encode gives (id, first byte of the token in the text) for each token."""

    always = ()

    def chunks(self, s):
        for part in self.found.split(s) if self.found else [s]:
            if part:
                yield part, self.special.get(part)

    def encode(self, s, marked=True):
        out, at = [(i, 0) for i in self.always], 0
        for part, special in self.chunks(s) if marked else [(s, None)]:
            if special is not None:
                out.append((special, at))
            else:
                out += [(i, at + o) for i, o in self.words(part)]
            at += len(part.encode())
        return out

    def ids(self, s):
        return [i for i, _ in self.encode(s, self.plain_finds)]

    def end(self, eos):
        return self.special[eos]


def finder(special):
    return regex.compile("(" + "|".join(regex.escape(s) for s in sorted(special, key=len, reverse=True)) + ")") if special else None


class Fast(Tokenizer):
    """A tokenizer.json: BPE over the bytes of words, or over the characters of all."""

    plain_finds = True

    def __init__(self, path):
        t = json.load(open(path, encoding="utf-8"))
        self.vocab, self.whole = t["model"]["vocab"], t["model"].get("ignore_merges", False)
        self.ranks = {tuple(m.split(" ")) if isinstance(m, str) else tuple(m): i for i, m in enumerate(t["model"]["merges"])}
        self.special = {a["content"]: a["id"] for a in t["added_tokens"]}
        self.found = finder(self.special)
        self.after = {a["content"] for a in t["added_tokens"] if a["rstrip"]}
        self.nfc = (t["normalizer"] or {}).get("type") == "NFC"
        pre = t["pre_tokenizer"]
        self.pattern = regex.compile(pre["pretokenizers"][0]["pattern"]["Regex"]) if pre else None
        self.byte = dict(zip(list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256)), map(chr, list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256)))))
        for b in range(256):
            if b not in self.byte:
                self.byte[b] = chr(256 + sum(1 for c in range(b) if chr(c) != self.byte[c]))

    def chunks(self, s):
        strip = False
        for part, special in super().chunks(s):
            if special is None and strip:  # spaces after it are the token's
                part = part.lstrip()
            strip = part in self.after
            if part:
                yield part, special

    def words(self, s):
        out, at = [], 0
        if self.pattern is None:
            return self.characters(s)
        if self.nfc:
            assert unicodedata.normalize("NFC", s) == s or not self.offsets, "offsets are those of NFC"
            s = unicodedata.normalize("NFC", s)
        for word in self.pattern.findall(s):
            text = "".join(self.byte[b] for b in word.encode())
            parts = [text] if self.whole and text in self.vocab else merge(list(text), lambda a, b: self.ranks.get((a, b)))
            for p in parts:
                out.append((self.vocab[p], at))
                at += len(p)
        return out

    offsets = False

    def characters(self, s):
        return pieces(merge(list("▁" + s.replace(" ", "▁")), lambda a, b: self.ranks.get((a, b))), self.vocab, True)


def pieces(parts, vocab, prefixed):
    """Ids of pieces, those that the vocabulary lacks byte by byte; the first "▁" is not in the text where one was put before it."""
    out, at = [], -1 if prefixed else 0  # in bytes of the text, where a space is one
    for p in parts:
        n = len(p.replace("▁", " ").encode())
        if p in vocab:
            out.append((vocab[p], max(at, 0)))
        else:
            raw = p.encode()
            assert len(p) == 1 and p != "▁"
            out += [(vocab["<0x%02X>" % b], max(at, 0) + i) for i, b in enumerate(raw)]
        at += n
    return out


def fields(b):
    """(number, value) of the fields of a protocol buffer."""
    i = 0

    def varint():
        nonlocal i
        v = shift = 0
        while True:
            c = b[i]
            i += 1
            v |= (c & 127) << shift
            shift += 7
            if c < 128:
                return v

    while i < len(b):
        key = varint()
        if key & 7 == 0:
            v = varint()
        else:
            n = {5: 4, 1: 8}.get(key & 7) or varint()
            v = b[i:i + n]
            i += n
        yield key >> 3, v


class SentencePiece(Tokenizer):
    """A tokenizer.model of BPE without a normalizer. Its control symbols are found in rendered text alone."""

    plain_finds = False

    def __init__(self, path):
        self.vocab, self.score, self.own, self.special, self.prefix, n = {}, {}, [], {}, True, 0
        for f, v in fields(open(path, "rb").read()):
            if f == 1:
                p = dict(fields(v))
                text, kind = p[1].decode(), p.get(3, 1)
                if kind == 3 or kind == 2:
                    self.special[text] = n
                else:
                    self.vocab[text] = n
                if kind == 1:
                    self.score[text] = struct.unpack("<f", p.get(2, b"\0\0\0\0"))[0]
                if kind == 4:
                    self.own.append(text)
                n += 1
            elif f == 3:
                self.prefix = dict(fields(v)).get(3, 1) == 1
        self.found, self.atoms = finder(self.special), finder(self.own)

    def rank(self, a, b):
        s = self.score.get(a + b)
        return None if s is None or a in self.fixed or b in self.fixed else -s

    def words(self, s):
        self.fixed = set(self.own)
        text = ("▁" if self.prefix else "") + s.replace(" ", "▁")
        symbols = []
        for part in self.atoms.split(text) if self.atoms else [text]:
            symbols += [part] if part in self.fixed else list(part)
        return pieces(merge(symbols, self.rank), self.vocab, self.prefix)


def load(shared, name):
    folder = os.path.join(shared, "data", "tokenizers", name)
    json_file = os.path.join(folder, "tokenizer.json")
    t = Fast(json_file) if os.path.exists(json_file) else SentencePiece(os.path.join(folder, "tokenizer.model"))
    wrong = n = 0
    for line in open(os.path.join(folder, "goldens.jsonl"), encoding="utf-8"):
        g = json.loads(line)
        n += 1
        if t.ids(g["text"]) != g["ids"]:
            wrong += 1
    print("%s: %d of %d golden texts" % (name, n - wrong, n))
    if wrong:
        sys.exit(1)
    if name == "chatglm2":  # its own code puts [gMASK] sop before every text
        t.always = (64790, 64792)
    t.offsets = True
    return t


def main():
    rows = [json.loads(line) for line in open(os.path.join(make.HERE, "rows.jsonl"), encoding="utf-8")]
    env, templates, loaded, want = make.environment(), make.templates(), {}, {}
    for name, (vocabulary, bos, eos) in PAIRS.items():
        if vocabulary not in loaded:
            loaded[vocabulary] = load(sys.argv[1], vocabulary)
        want[name] = [make.expect(env, templates[name], loaded[vocabulary], row, bos, eos) for row in rows]
    json.dump(want, open(os.path.join(make.HERE, "published.json"), "w"), indent=0)


if __name__ == "__main__":
    main()
