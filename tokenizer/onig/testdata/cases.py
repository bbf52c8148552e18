"""Writes cases.jsonl: patterns, texts and the matches that Oniguruma (libonig.so.5, 6.9.8, its default syntax, UTF-8)
finds, one after the other as Hugging Face's tokenizers asks for them. Run: python3 cases.py > cases.jsonl"""
import ctypes, json, random

L = ctypes.CDLL("libonig.so.5")

class Region(ctypes.Structure):
    _fields_ = [("allocated", ctypes.c_int), ("num_regs", ctypes.c_int), ("beg", ctypes.POINTER(ctypes.c_int)),
                ("end", ctypes.POINTER(ctypes.c_int)), ("hist", ctypes.c_void_p)]

UTF8 = ctypes.addressof(ctypes.c_char.in_dll(L, "OnigEncodingUTF8"))
SYNTAX = ctypes.c_void_p.in_dll(L, "OnigDefaultSyntax").value
P = ctypes.c_void_p
L.onig_region_new.restype = ctypes.POINTER(Region)
L.onig_new.argtypes = [P, P, P, ctypes.c_uint, P, P, P]
L.onig_search.argtypes = [P] * 5 + [ctypes.POINTER(Region), ctypes.c_uint]
L.onig_initialize((P * 1)(UTF8), 1)
L.onig_set_retry_limit_in_match(2000000)

def compile(pattern):
    b = pattern.encode()
    buf = ctypes.create_string_buffer(b, len(b) + 1)
    at, reg, info = ctypes.addressof(buf), P(), (P * 3)()
    ok = L.onig_new(ctypes.byref(reg), at, at + len(b), 0, UTF8, SYNTAX, ctypes.byref(info)) == 0
    return reg if ok else None

def matches(reg, text):
    b = text.encode()
    buf = ctypes.create_string_buffer(b, len(b) + 1)
    at, out, pos, last = ctypes.addressof(buf), [], 0, None
    while pos <= len(b):
        r = L.onig_region_new()
        found = L.onig_search(reg, at, at + len(b), at + pos, at + len(b), r, 0)
        if found < -1:
            return None
        if found == -1:
            break
        s, e = r.contents.beg[0], r.contents.end[0]
        if s == e and last == e:  # not an empty match right behind another
            pos += 1
            while pos < len(b) and b[pos] & 0xC0 == 0x80:
                pos += 1
            continue
        pos = last = e
        out.append([s, e])
    return out

CHOSEN = r"""a$ ^a \Aa a\Z a\z $ ^ (?m:.) . \N \O a(?i)b|c (?x)\ a\ b (?i:'s|'t|'re|'ve|'m|'ll|'d) (?i:k) (?i)\p{Lu} (?i)[b-d]+ (?i)[^b]
a{,2} a{1,2}+ a{2}+ a{2}? a{2,}? a{1,2}? a{,} a{ a{x} a{2}{3} a++b a?+ a*+ a** a+? a?? (?:a|b)++ (?>a+)ab (?:a|ab)(?:c|bcd) (a*)* (a*)+ (?:a|b*)*c
[\w&&[^a]]+ [a-c&&b-d]+ [[:alpha:]]+ [[:^alpha:]]+ [[:word:]]+ [:alpha:] [a[b]] []a] [^]a] [a-] [-a] [a-c-e] [&&a] [a&&] [^a&&b] [a&b] [^(\s|[.,!?])]+
[[a-z]&&[^aeiou]]+ [^[a]b] [\p{L}&&\p{Lu}] [\d.] [\[\]] [\b] [\x41-\x43]
\h+ \H \e \a \v \f \x41 \x{1F600} \u00e9 \101 \0 \_ \- \é \i \p{^L} \P{L} \p{Letter} \p{Han} \pL \p{alpha} \p{Punct} \p{ASCII} \p{Any} \p{lowercase_letter} \p{l-u} \p{Greek}
\d \w+ \W [\w]+ \s \S+ \b \B \bA (?=\w+\s)\w (?!\S) \s+(?!\S)|\s+ (?<=a)b (?<!a)b (?<=ab|c)a (?<![\w'])b (?#x)a (?:) () a||b (?<n>a)(b) (?'n'a)
|a (?:a|) (?:|a) (?=[A-Z]) (?<=\s)(?=\S) [\r\n] \r?\n
 ?[^(\s|[.,!?…。，、।۔،])]+ \p{L}+|\p{N}{1,3}|[^\s\p{L}\p{N}]+ [^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+|\s++$|\s*[\r\n]|\s+(?!\S)|\s
[\p{P}\p{S}]|[\r\n]+|[^\p{P}\p{S}\r\n]+ (?:\r?\n)+(?!\r?\n) [^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t)? [一-龥぀-ゟ゠-ヿ]+ 's|'t| ?\p{L}+| ?\p{N}+|\s+(?!\S)""".split("\n")
TEXTS = ["", "a", "aab", "abcabc", "a\na\n", "\na\r\n\n b", "it's 'S 'ſ K\u212ak", "  Ab  1234 ٣½²\n", "a_1é\u0301\u0903b\u200dc", ".,!? [a]-&{1}$+", "漢字かな、ab。", "\x00\x07\x08\x0b\x0c\x1b é😀", "a{,}a{2}pL xyz", "ABCDE fF gG"]

def random_cases(rng, n):
    atoms = ["a", "b", "c", "A", " ", r"\n", r"\s", r"\S", r"\w", r"\W", r"\d", r"\p{L}", r"\P{L}", r"\p{Lu}", "[ab]", "[^ab]",
             r"[^\s\p{L}\p{N}]", "[[a-c]&&[^b]]", "[^a[b]]", r"[\w&&[^a]]", ".", r"\h", "[[:^space:]]", "é", "k", "1", r"[\r\n]", r"\p{M}", "'"]
    places = ["^", "$", r"\b", r"\B", r"\A", r"\z", r"\Z", "(?=a)", r"(?!\S)", "(?<=a)", r"(?<!\s)", "(?<=ab|c)"]
    quants = ["*", "+", "?", "*?", "+?", "??", "*+", "++", "?+", "{2}", "{1,2}", "{,2}", "{2,}", "{1,3}?", "{2}?", "{1,2}+"]
    def some(share): return rng.choice(quants) if rng.random() < share else ""
    def gen(d):
        k = rng.random()
        if d <= 0 or k < .45: return rng.choice(atoms) + some(.35)
        if k < .53: return rng.choice(places)
        if k < .68: return gen(d - 1) + gen(d - 1)
        if k < .76: return "(?:" + gen(d - 1) + "|" + gen(d - 1) + ")" + some(.6)
        if k < .84: return "(" + gen(d - 1) + gen(d - 1) + ")" + some(.5)
        if k < .88: return "(?i:" + gen(d - 1) + ")"
        if k < .91: return "(?>" + gen(d - 1) + gen(d - 1) + ")"
        if k < .95: return rng.choice(["(?=", "(?!"]) + gen(d - 1) + ")"
        if k < .97: return "(?m:" + gen(d - 1) + ")"
        return gen(d - 1) + "|" + gen(d - 1)
    letters = list("abcA \n1ék'.\r_-") + ["\u212a", "ſ", "\u0903", "\u0301", "漢", "٣"]
    for _ in range(n):
        yield gen(4), ["".join(rng.choice(letters[:7] if rng.random() < .6 else letters) for _ in range(rng.randrange(14))) for _ in range(4)]

chosen = [p for line in CHOSEN for p in (line.split(" ") if line[0] != " " else [line])]
chosen += [r"(?x) a b # c", " ?[^(\\s|[.,!?…。，、।۔،])]+", "'s|'t| ?\\p{L}+| ?\\p{N}+|\\s+(?!\\S)"]
for pattern, texts in [(p, TEXTS) for p in chosen] + list(random_cases(random.Random(1), 500)):
    reg = compile(pattern)
    if reg is None:
        continue
    found = [matches(reg, t) for t in texts]
    if None not in found:
        print(json.dumps([pattern, texts, found], ensure_ascii=False))
