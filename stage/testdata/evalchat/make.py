"""Chat-rendered requests of piqa and gsm8k as lm-evaluation-harness' fewshot_context and construct_requests make
them, worked out apart from the Go code: python3 make.py, which writes the documents and want.json beside it."""
import hashlib
import json
import os
import random
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "conversations"))
import jinja2
from make import environment

TEMPLATES = ["chatml", "llama3", "gemma"]


def documents():
    r = random.Random(3)
    piqa = [{"goal": "Reach %d é" % i, "sol1": "go %d" % r.randint(0, 99), "sol2": " stay\n%d" % i, "label": r.randint(0, 1)} for i in range(12)]
    gsm = [{"question": "What is %d + %d?\nSay." % (i, r.randint(1, 9)), "answer": "Add.\n#### %d" % i} for i in range(12)]
    return {"piqa": (piqa[:4], piqa[4:]), "gsm8k": (gsm[:4], gsm[4:])}


def parts(task, doc):
    if task == "piqa":
        return "Question: %s\nAnswer:" % doc["goal"], [doc["sol1"], doc["sol2"]][doc["label"]]
    return "Question: %s\nAnswer:" % doc["question"], doc["answer"]


def chat(env, template, messages):
    t = env.from_string(template)

    def render(m):
        return t.render(messages=m, tools=None, documents=None, add_generation_prompt=True, bos_token="<s>", eos_token="</s>")

    try:
        return render(messages)
    except jinja2.exceptions.TemplateError:
        return render([m for m in messages if m["role"] != "system"])


def requests(env, template, task, asked, pool, shots, multiturn, system):
    rnd = random.Random(1234)
    for i, doc in enumerate(asked):
        messages = [("system", system, "")] if system else []
        if shots:
            # piqa names neither a test split nor one of examples; the harness takes them for the same and draws one
            # more, in case the document is among them
            for ex in rnd.sample(pool, shots) if task == "gsm8k" else [x for x in rnd.sample(pool, shots + 1) if x != doc][:shots]:
                q, a = parts(task, ex)
                messages += [("user", q, " "), ("assistant", a, "\n\n")]
        messages.append(("user", parts(task, doc)[0], ""))
        if multiturn:
            turns = [{"role": r, "content": c} for r, c, _ in messages]
        else:
            turns = [{"role": "system", "content": system}] if system else []
            turns.append({"role": "user", "content": "".join(c + d for r, c, d in messages if r != "system")})
        context = chat(env, template, turns)
        for cont in ([doc["sol1"], doc["sol2"]] if task == "piqa" else [""]):
            yield [context, cont]


def main():
    env, docs, want = environment(), documents(), {}
    for task, (asked, pool) in docs.items():
        folder = os.path.join(HERE, "data", task)
        os.makedirs(folder, exist_ok=True)
        for split, rows in ((("validation", asked), ("train", pool)) if task == "piqa" else (("test", asked), ("train", pool))):
            with open(os.path.join(folder, split + ".jsonl"), "w", encoding="utf-8") as f:
                f.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        for name in TEMPLATES:
            template = open(os.path.join(HERE, "..", "conversations", name + ".jinja"), encoding="utf-8").read()
            for shots, multiturn, system in [(0, False, ""), (0, False, "Be brief."), (5, False, ""), (5, True, ""), (5, True, "Be brief.")]:
                all = list(requests(env, template, task, asked, pool, shots, multiturn, system))
                text = "\x00".join(c + "\x01" + k for c, k in all)
                want["%s %s %d %s %s" % (task, name, shots, str(multiturn).lower(), system)] = hashlib.sha256(text.encode()).hexdigest()
    json.dump(want, open(os.path.join(HERE, "want.json"), "w"), indent=0)


main()
