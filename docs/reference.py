#!/usr/bin/env python3
"""Reference logits for `coppice selfcheck`, computed by transformers in float32.

    python3 reference.py MODEL [LENGTH] > ref.json     # MODEL: a directory or a hub id
    coppice selfcheck MODEL ref.json

LENGTH repeats the first text up to that many tokens: pass more than the model's
sliding window, or its original context, to see those too. Needs memory for the
weights in float32. Code that comes with the checkpoint is run; read it first. It needs

    pip install torch transformers sentencepiece protobuf
"""
import json, platform, sys

if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
    sys.exit(__doc__)

try:
    import torch, transformers
except ImportError as missing:
    sys.exit(f"{missing}; this needs\n\n    pip install torch transformers sentencepiece protobuf")

TEXTS = ["Coppicing cuts a tree down to the ground so that it grows again, stronger than before.",
         "def fib(n):\n    return n if n < 2 else fib(n - 1) + fib(n - 2)\n",
         "春天来了，园丁把老树剪短，第二年它又长出了新的枝条。", "In 1987, 3.14159 x 2 ="]
LAST = 3  # logits are kept at so many positions at the end of each text

name, length = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0
tokenizer = transformers.AutoTokenizer.from_pretrained(name, trust_remote_code=True)
model = transformers.AutoModelForCausalLM.from_pretrained(
    name, torch_dtype=torch.float32, attn_implementation="eager", trust_remote_code=True).eval()

sequences = []
for i, text in enumerate(TEXTS):
    ids = tokenizer(text)["input_ids"]
    if i == 0 and length > len(ids):
        ids = (ids * (length // len(ids) + 1))[:length]
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids])).logits[0, -LAST:].float()
    sequences.append({"ids": ids, "logits": [[round(x, 6) for x in row] for row in logits.tolist()]})

json.dump({"model": name, "dtype": "float32", "sequences": sequences,
           "versions": {"python": platform.python_version(), "torch": torch.__version__,
                        "transformers": transformers.__version__}}, sys.stdout)
