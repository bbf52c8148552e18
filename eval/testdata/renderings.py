"""Writes renderings.tsv: SHA-256 of json.dumps of the requests of the first three
documents of every task, made from the published definitions alone and not with
Coppice. Tasks whose data nobody may copy have made-up documents in data/.
Run here: python3 renderings.py PATH/TO/benchmarks > renderings.tsv
and       python3 renderings.py made > made.tsv    for made-up documents of other tasks"""

import csv, hashlib, json, random, re, sys

B = sys.argv[1] + "/"


def own(path):
    return [json.loads(line) for line in open("data/" + path, encoding="utf-8")]


def rows(path):
    if path.endswith(".csv"):
        return list(csv.DictReader(open(B + path, encoding="utf-8", newline="")))
    return [json.loads(line) for line in open(B + path, encoding="utf-8")]


def choice(question, choices, gold, delimiter=" "):
    return {"q": question, "c": [(question, delimiter + c) for c in choices], "a": delimiter + choices[gold]}


def piqa(d):
    return choice(f"Question: {d['goal']}\nAnswer:", [d["sol1"], d["sol2"]], d["label"])


def arc(d):
    c = d["choices"]
    return choice(f"Question: {d['question']}\nAnswer:", c["text"], c["label"].index(d["answerKey"]))


def openbookqa(d):
    c = d["choices"]
    return choice(d["question_stem"], c["text"], c["label"].index(d["answerKey"].lstrip()))


def hellaswag(d):
    return choice(d["query"], d["choices"], d["gold"])


def bracketless(text):
    text = text.strip().replace(" [title]", ". ")
    return re.sub(r"\[.*?\]", "", text).replace("  ", " ")


def hellaswag_raw(d):
    q = bracketless(d["activity_label"] + ": " + d["ctx_a"] + " " + d["ctx_b"].capitalize())
    return choice(q, [bracketless(e) for e in d["endings"]], int(d["label"]))


def lambada(d):
    words = d["text"].split(" ")
    return {"c": [(" ".join(words[:-1]), " " + words[-1])]}


def gsm8k(d):
    q = f"Question: {d['question']}\nAnswer:"
    return {"q": q, "c": [(q, "")], "a": " " + d["answer"]}


def wikitext(d):
    s = d["page"].replace("s '", "s'")
    s = re.sub(r"/' [0-9]/", r"/'[0-9]/", s)
    for mark in "-,.":
        s = s.replace(f" @{mark}@ ", mark)
    for mark in ":;.!?,":
        s = s.replace(f" {mark} ", f"{mark} ")
    for a, b in ("()", "[]", "{}", '""', "''"):
        s = re.sub(rf"\{a}\s*([^\{b}]*?)\s*\{b}", lambda m: a + m[1] + b, s)
    for n in (4, 3, 2):
        s = s.replace(" ".join("=" * n), "=" * n)
    s = s.replace(" \u00b0 ", "\u00b0").replace(" \n", "\n").replace("\n ", "\n").replace(" N ", " 1 ").replace(" 's", "'s")
    return {"c": [("", s)]}


def winogrande(d):
    i = d["sentence"].index("_")
    end = " " + d["sentence"][i + 1:].strip()
    before = [d["sentence"][:i] + d["option1"], d["sentence"][:i] + d["option2"]]
    gold = {"1": 0, "2": 1}[d["answer"]]
    return {"q": before[gold], "c": [(b, end) for b in before], "a": end, "multiple": True}


def mmlu(d):
    c = d["choices"]
    return choice(f"{d['question'].strip()}\nA. {c[0]}\nB. {c[1]}\nC. {c[2]}\nD. {c[3]}\nAnswer:", list("ABCD"), d["answer"])


def cmmlu(d):
    return choice(f"{d['Question'].strip()}\nA. {d['A']}\nB. {d['B']}\nC. {d['C']}\nD. {d['D']}\n答案：", list("ABCD"), "ABCD".index(d["Answer"]))


def show(name, make, docs, shots=0, pool=(), extra=0, first=False, description=""):
    rnd = random.Random(1234)
    requests = []
    for d in docs[:3]:
        before = description
        if shots:
            drawn = pool[:shots + extra] if first else rnd.sample(pool, shots + extra)
            for x in [x for x in drawn if x != d][:shots]:
                before += make(x)["q"] + make(x)["a"] + "\n\n"
        requests += [(before + context, continuation) for context, continuation in make(d)["c"]]
    digest = hashlib.sha256(json.dumps(requests).encode()).hexdigest()
    print(name, shots, digest, sep="\t")


def made():
    """The documents in made/, with as many examples as there are."""
    mc = [("piqa", piqa, "piqa/plain_text/{}.jsonl", "validation", 2), ("winogrande", winogrande, "winogrande/winogrande_xl/{}.jsonl", "validation", 5),
          ("arc_easy", arc, "ai2_arc/ARC-Easy/{}.jsonl", "test", 2), ("arc_challenge", arc, "ai2_arc/ARC-Challenge/{}.jsonl", "test", 3),
          ("openbookqa", openbookqa, "openbookqa/main/{}.jsonl", "test", 1)]
    for name, make, path, split, shots in mc:
        docs = rows(path.format(split))
        show(name, make, docs)
        show(name, make, docs, shots, rows(path.format("train")), extra=int(split == "validation"))
    subject = "The following are multiple choice questions (with answers) about {}.\n\n"
    for name in ("anatomy", "philosophy"):
        docs, dev = (rows(f"hails/mmlu_no_train/{name}/{s}.jsonl") for s in ("test", "dev"))
        for shots in (0, 5):
            show("mmlu_" + name, mmlu, docs, shots, dev, first=True, description=subject.format(name))
    for shots in (0, 5):
        docs, dev = (rows(f"cmmlu/data/{s}/arts.csv") for s in ("test", "dev"))
        show("cmmlu_arts", cmmlu, docs, shots, dev, first=True, description="以下是关于艺术学的单项选择题，请直接给出正确答案的选项。\n\n")


if sys.argv[1] == "made":
    made()
    sys.exit()
p, pt = rows("piqa/plain_text/validation.jsonl"), rows("piqa/plain_text/train.jsonl")
w, wt = rows("winogrande/winogrande_xl/validation.jsonl"), rows("winogrande/winogrande_xl/train.jsonl")
o, ot = rows("openbookqa/main/test.jsonl"), rows("openbookqa/main/train.jsonl")
show("piqa", piqa, p)
show("piqa", piqa, p, 2, pt, extra=1)
show("hellaswag", hellaswag, rows("hellaswag_subset_preprocessed/val_subset.jsonl"))
show("winogrande", winogrande, w)
show("winogrande", winogrande, w, 5, wt, extra=1)
for name, config in (("arc_easy", "ARC-Easy"), ("arc_challenge", "ARC-Challenge")):
    t = rows(f"ai2_arc/{config}/test.jsonl")
    show(name, arc, t)
    show(name, arc, t, 25, rows(f"ai2_arc/{config}/train.jsonl"))
show("openbookqa", openbookqa, o)
show("openbookqa", openbookqa, o, 1, ot)
for line in open(B + "mmlu_cmmlu_descriptions.tsv", encoding="utf-8"):
    group, subject, _, description = line.rstrip("\n").split("\t")
    description = description.replace("\\n", "\n")
    if group == "mmlu":
        make, path = mmlu, "hails/mmlu_no_train/" + subject + "/{}.jsonl"
    else:
        make, path = cmmlu, "cmmlu/data/{}/" + subject + ".csv"
    for shots in (0, 5):
        show(f"{group}_{subject}", make, rows(path.format("test")), shots, rows(path.format("dev")), first=True, description=description)
show("hellaswag-raw", hellaswag_raw, own("hellaswag/validation.jsonl"))
show("lambada_openai", lambada, own("lambada_openai/test.jsonl"))
show("gsm8k", gsm8k, own("gsm8k/main/test.jsonl"), 5, own("gsm8k/main/train.jsonl"))
show("wikitext", wikitext, own("wikitext_document_level/wikitext-2-raw-v1/test.jsonl"))
