"""Renders the templates below with Python's Jinja2, set up as transformers does: python3 cases.py > cases.json"""
import datetime
import json

import jinja2
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

VALUES = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "  Hi <b> & \"you\" é\n"},
        {"role": "assistant", "content": "Yo"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image"}]},
    ],
    "tools": [{"name": "f", "parameters": {"z": {"type": "int"}, "a": [1, 2.5, None, True, {}], "t": "it's \t\x01 \u2028 😀"}}],
    "bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": True,
    "n": 7, "x": 2.5, "text": "The quick brown fox", "lines": "one\ntwo\r\n\nthree", "none_value": None, "empty": [],
    "nested": {"b": {"c": [1, 2, 3]}, "a": 1, "items": 5}, "words": ["b", "A", "c", "B", "a"],
    "tree": [{"v": 1, "kids": [{"v": 2, "kids": []}, {"v": 3, "kids": [{"v": 4, "kids": []}]}]}],
}


def environment():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda f: datetime.datetime(2024, 7, 26, 9, 5, 3).strftime(f)
    return env


def case(template):
    try:
        return {"template": template, "out": environment().from_string(template).render(**VALUES)}
    except Exception as e:
        return {"template": template, "error": type(e).__name__}


if __name__ == "__main__":
    with open("cases.txt", encoding="utf-8") as f:
        cases = [case(json.loads('"' + line.rstrip("\n").replace('"', '\\"') + '"')) for line in f if line.strip() and not line.startswith("##")]
    print(json.dumps({"values": VALUES, "cases": cases}, ensure_ascii=False, indent=1))
