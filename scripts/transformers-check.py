#!/usr/bin/env python3
"""Holds coppice beside transformers, and beside peft where that is: log-probabilities, tokens, answers, adapters, training.

    transformers-check.py COPPICE WORK [NAME...]

scripts/transformers-test calls it, in WORK, which holds sapling (coppice sapling), families/NAME (checkpoints) and gets what
is made of them. NAMEs are families or "sapling"; all without. transformers computes in float32 with eager attention, each
sequence alone. A line a check: the largest difference of a log-probability, and the limit. Of NAME@5.17, which transformers
wrote itself, only what depends on its config is looked at.
"""
import glob, inspect, json, os, subprocess, sys

import torch, transformers

try:
    import peft
except ImportError as e:
    peft = None
    print(f"skipped: adapters in peft: {e}")

COPPICE, WORK = sys.argv[1:3]
LIMIT, MERGED = 2e-4, 5e-5
LENGTHS = (2, 9, 21, 33, 48, 60)  # windows are shorter than 21, original lengths 32; they rise, for a model with dynamic scaling does not go back
SAPLING, PRUNED = "sapling/model", "sapling-pruned"
failed, largest = [], {}


# ---------------------------------------------------------------- what both compute


def coppice(*args):
    """The JSON lines that it prints."""
    p = subprocess.run([COPPICE, *args, "--quiet"], capture_output=True, text=True)
    if p.returncode:
        raise RuntimeError(f"coppice {' '.join(args)}: {p.stderr.strip()}")
    return [json.loads(l) for l in p.stdout.splitlines() if l.startswith("{")]


def write(name, value):
    with open(name, "w") as f:
        json.dump(value, f)
    return name


def results(kind, lines, key):
    return [l[key] for l in sorted((l for l in lines if l["type"] == kind), key=lambda l: l["index"])]


def ours(model, ids, *flags):
    lines = coppice("logprobs", model, "--tokens", write("ids.json", ids), "--dtype", "float32", "--device", "cpu", "--json", *flags)
    return results("logprobs", lines, "logprobs")


def load(path, dtype=torch.float32):
    """A model, all of whose tensors were found, and no others."""
    model, info = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=dtype, attn_implementation="eager", output_loading_info=True)
    odd = {k: v for k, v in info.items() if v}
    if odd:
        raise RuntimeError(f"{path}: {odd}")
    return model.eval()


def scores(model, ids):
    """Log-probabilities [tokens - 1] of one sequence."""
    t = torch.tensor([ids])
    logits = model(input_ids=t, use_cache=False).logits[0, :-1].double()
    return torch.log_softmax(logits, -1).gather(-1, t[0, 1:, None])[:, 0]


@torch.no_grad()
def theirs(model, ids):
    model = load(model) if isinstance(model, str) else model
    return [scores(model, i).tolist() for i in ids]


def apart(a, b):
    if [len(x) for x in a] != [len(x) for x in b]:
        raise RuntimeError("numbers of log-probabilities differ")
    return max(abs(x - y) for p, q in zip(a, b) for x, y in zip(p, q))


def greedy(path, prompts, tokens):
    """How many of the prompts both go on from alike."""
    lines = coppice("generate", path, "--tokens", write("prompts.json", prompts), "--max-tokens", str(tokens), "--dtype", "float32", "--device", "cpu", "--json")
    model, same = load(path), 0
    for prompt, mine in zip(prompts, results("generation", lines, "ids")):
        t = torch.tensor([prompt])
        other = model.generate(t, attention_mask=torch.ones_like(t), max_new_tokens=tokens, do_sample=False, pad_token_id=0)[0, len(prompt):].tolist()
        same += other[:len(mine)] == mine or mine[:len(other)] == other  # one of them may end with EOS
    return same


# ---------------------------------------------------------------- what is said


def say(name, what, good, result):
    print(f"{'ok  ' if good else 'FAIL'} {name:22} {what:48} {result}", flush=True)
    if not good:
        failed.append(f"{name}, {what}")


def held(name, what, worst, limit=LIMIT, detail=""):
    largest[what] = max(worst, largest.get(what, 0))
    say(name, f"{what}{detail}", worst <= limit, f"{worst:.1e}, limit {limit:g}")


def equal(name, what, n, of):
    say(name, what, n == of, f"{n} of {of} equal")


def attempt(name, f, *args):
    """Runs a check; one that cannot be made has failed."""
    try:
        f(name, *args)
    except Exception as e:
        say(name, f.__name__, False, f"{type(e).__name__}: {str(e)[-800:]}")


# ---------------------------------------------------------------- checks


def random_ids(path):
    config = transformers.AutoConfig.from_pretrained(path).get_text_config()
    g = torch.Generator().manual_seed(5)
    return [torch.randint(3, config.vocab_size - 3, (n,), generator=g).tolist() for n in LENGTHS], config.num_hidden_layers


def prunings(layers):
    """Some in the middle, the last ones, some apart."""
    n = max(1, layers // 4)
    middle, last = range(1, 1 + n), range(layers - n, layers)
    return {k: ",".join(map(str, v)) for k, v in {"middle": middle, "last": last, "apart": (0, layers - 2)}.items()}


def cut(path, drop, out):
    coppice("prune", path, "--drop", drop, "--out", out, "--force")
    return out


def whole_and_pruned(name, path, kind="", detail=""):
    """A checkpoint whole, and cut: written, and by --drop."""
    ids, layers = random_ids(path)
    held(name, kind + "whole", apart(theirs(path, ids), ours(path, ids)), detail=detail)
    worst, cuts = 0, prunings(layers)
    for where, drop in cuts.items():
        out = cut(path, drop, f"cut/{name}-{where}")
        t = theirs(out, ids)
        worst = max(worst, apart(t, ours(out, ids)), apart(t, ours(path, ids, "--drop", drop)))
    held(name, kind + "pruned", worst, detail=f" of {' | '.join(cuts.values())}")


def answers(name, path):
    """Greedy decoding of a cut model, past its windows."""
    ids, layers = random_ids(path)
    out = cut(path, prunings(layers)["apart"], f"cut/{name}-answers")
    equal(name, "greedy answers, pruned", greedy(out, [ids[-1][i:i + 20] for i in range(0, 40, 10)], 12), 4)


def saved(name, path):
    """What save_pretrained writes, in many shards and bfloat16."""
    out = f"saved/{name}"
    load(path, torch.bfloat16).save_pretrained(out, max_shard_size="20KB")
    shards = len(glob.glob(out + "/*.safetensors"))
    whole_and_pruned(name, out, "saved by transformers, ", f", {shards} files")


def rows(ids):
    """What is trained on: no longer than any model's positions."""
    return [i[:32] for i in ids]


def heal(path, ids, out, *flags):
    data = write("rows.json", [{"input_ids": i, "labels": i, "attention_mask": [1] * len(i)} for i in rows(ids)])
    coppice("heal", path, "--train-tokens", data, "--validation", "0", "--keep", "last", "--batch-size", str(len(ids)), "--dtype", "float32", "--device", "cpu",
            "--schedule", "constant", "--warmup-steps", "0", "--out", out, "--yes", "--force", *flags)
    return out


def healed(name, path):
    """A healed pruning in the checkpoint's own dtype; a tied head also untied."""
    ids, layers = random_ids(path)
    drop = prunings(layers)["apart"]
    flags = ["--drop", drop, "--method", "partial", "--last", "2", "--steps", "3", "--lr", "1e-2"]
    ways = {"": []}
    if load(path).config.get_text_config().tie_word_embeddings:
        ways[" and untied"] = ["--untie"]
    for way, more in ways.items():
        out = heal(path, ids, f"healed/{name}{len(more)}", *flags, *more)
        t = theirs(out, ids)
        moved = apart(t, ours(path, ids, "--drop", drop))
        held(name, "healed" + way, apart(t, ours(out, ids)), detail=f", moved by {moved:.2g}")


def trained(name, path):
    """Three steps of AdamW on everything, beside PyTorch's; eps is large, lest what rounding leaves of a gradient of zero be a step."""
    ids, _ = random_ids(path)
    out = heal(path, ids, f"trained/{name}", "--method", "full", "--steps", "3", "--lr", "3e-4", "--weight-decay", "0.1", "--eps", "1e-5", "--decay-all", "--save-dtype", "float32")
    model = load(path)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, eps=1e-5, weight_decay=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        torch.cat([-scores(model, i) for i in rows(ids)]).mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    t = theirs(model, ids)
    held(name, "trained", max(apart(t, ours(out, ids)), apart(t, theirs(out, ids))), detail=f", moved by {apart(t, theirs(path, ids)):.2g}")


# ---------------------------------------------------------------- adapters


def in_peft(name, path, adapter, ids):
    """An adapter on a model: peft's, ours, and both ways of merging it."""
    merged = f"{adapter}-merged"
    coppice("merge-adapter", path, "--adapter", adapter, "--out", merged, "--save-dtype", "float32", "--force")
    theirs_of = lambda: peft.PeftModel.from_pretrained(load(path), adapter).eval()
    t = theirs(theirs_of(), ids)
    held(name, "adapter", apart(t, ours(path, ids, "--adapter", adapter)), detail=f", moved by {apart(t, ours(path, ids)):.2g}")
    m = theirs(merged, ids)
    held(name, "adapter, merged", max(apart(m, t), apart(m, theirs(theirs_of().merge_and_unload(), ids))), MERGED)


def our_lora(name, path, *flags, trained_on=None):
    ids, _ = random_ids(path)
    in_peft(name, path, heal(trained_on or path, ids, f"lora/{name}", "--method", "lora", "--steps", "4", "--lr", "1e-2", *flags), ids)


def their_lora(name, path, **config):
    ids, _ = random_ids(path)
    torch.manual_seed(7)
    model = peft.get_peft_model(load(path), peft.LoraConfig(task_type="CAUSAL_LM", **config)).eval()
    for n, p in model.named_parameters():
        if "lora_B" in n:
            torch.nn.init.normal_(p.data, std=0.05)
    model.save_pretrained(f"lora/{name}")
    in_peft(name, path, f"lora/{name}", ids)


# ---------------------------------------------------------------- Sapling


def sapling_ids():
    rows = [p for p in open("sapling/validation.txt").read().split("\n\n") if p.strip()]
    ids = results("tokens", coppice("tokenize", SAPLING, "--file", write("texts.json", rows), "--json"), "ids")
    joined = sum(ids, [])
    return ids[:14] + [joined[i * 256:i * 256 + n] for i, n in enumerate((256, 255, 200, 129, 128, 65, 64, 2))]


def sapling(name):
    ids = sapling_ids()
    n = sum(map(len, ids))
    held(name, "whole", apart(theirs(SAPLING, ids), ours(SAPLING, ids)), detail=f", {n} tokens")
    cut(SAPLING, "9-11", PRUNED)
    t = theirs(PRUNED, ids)
    held(name, "pruned", max(apart(t, ours(PRUNED, ids)), apart(t, ours(SAPLING, ids, "--drop", "9-11"))), detail=" of 9-11")
    equal(name, "greedy answers", greedy(SAPLING, [i[:6] for i in ids[:12]], 24), 12)


def tokens(name):
    """Token ids of texts, with special tokens and without, and texts of ids."""
    texts = [open(f"sapling/{n}.txt").read() for n in ("validation", "calibration")]
    for path in SAPLING, PRUNED:
        tokenizer, same = transformers.AutoTokenizer.from_pretrained(path), 0
        for special in False, True:
            mine = results("tokens", coppice("tokenize", path, "--file", write("texts.json", texts), "--json", *["--special"] * special), "ids")
            for text, ids in zip(texts, mine):
                same += tokenizer(text, add_special_tokens=special)["input_ids"] == ids and tokenizer.decode(ids, skip_special_tokens=True) == text
        equal(name, f"tokens of {path}, and text of them", same, 4)


def adapters():
    attempt("sapling, LoRA of --drop", lambda name, path: our_lora(name, path, "--drop", "9-11", trained_on=SAPLING), PRUNED)
    attempt("sapling, rsLoRA", our_lora, PRUNED, "--rslora", "--rank", "4", "--alpha", "6", "--targets", "q,v,down")
    linear = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    for kind, config in {
        "LoRA": dict(r=8, lora_alpha=16, target_modules=linear),
        "patterns": dict(r=4, lora_alpha=6, use_rslora=True, target_modules=["q_proj", "v_proj", "down_proj"], layers_to_transform=[1, 3, 8],
                         rank_pattern={"down_proj": 6}, alpha_pattern={"v_proj": 3}),
        "all-linear": dict(r=2, lora_alpha=4, target_modules="all-linear"),
    }.items():
        attempt(f"peft's {kind}", lambda name, **c: their_lora(name, PRUNED, **config))


def multimodal():
    """Gemma 3 inside the multimodal wrapper, which no golden has."""
    text = json.load(open("families/gemma3_text/config.json"))
    vision = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14)
    torch.manual_seed(3)
    config = transformers.Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4, image_token_index=30, boi_token_index=31, eoi_token_index=32)
    model = transformers.Gemma3ForConditionalGeneration(config)
    for p in model.parameters():
        torch.nn.init.normal_(p.data, std=0.3)
    model.to(torch.bfloat16).save_pretrained("families/gemma3")


def as_meant(config):
    """What a golden's config leaves to the class, or means otherwise than transformers 5.12 does, said: padding, which some classes place
    past a tiny vocabulary; "gelu" of first Gemmas, which 4 took for its tanh approximation; OLMo 3's scaling, which was and is (5.17) not for
    layers with windows."""
    c = json.load(open(config))
    c.setdefault("pad_token_id", 0)
    if c["model_type"] == "gemma":
        c["hidden_act"] = "gelu_pytorch_tanh"
    rotary = transformers.models.olmo3.modeling_olmo3.Olmo3RotaryEmbedding
    if c["model_type"] == "olmo3" and "layer_type" not in inspect.signature(rotary.forward).parameters:
        print(f"left out: the scaling of {os.path.dirname(config)}, which this transformers gives to all layers")
        c.pop("rope_scaling", None)
        c["rope_theta"] = c.pop("rope_parameters", {"full_attention": c})["full_attention"]["rope_theta"]
    write(config, c)


def main():
    os.chdir(WORK)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    print(f"transformers {transformers.__version__}, torch {torch.__version__}, peft {peft.__version__ if peft else 'none'}")
    only = sys.argv[3:]
    if not only or "sapling" in only:
        attempt("sapling", sapling)
        attempt("sapling", tokens)
        for f in healed, trained:
            attempt("sapling", f, SAPLING)
        if peft:
            adapters()
    if os.path.isdir("families/gemma3_text"):
        multimodal()
    for config in glob.glob("families/*/config.json"):
        as_meant(config)
    for path in sorted(glob.glob("families/*")):
        name = os.path.basename(path)
        if only and name not in only:
            continue
        more = () if "@" in name else (saved, healed, trained, *([our_lora] if peft else []))
        for f in (whole_and_pruned, answers, *more):
            attempt(name, f, path)
    print("largest: " + "; ".join(f"{k} {v:.1e}" for k, v in largest.items()))
    print("\n".join(["not held:", *failed]) if failed else "all held")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
