#!/usr/bin/env python3
"""Makes and checks the golden values of testdata/goldens: what PyTorch computes of tiny random checkpoints.

    scripts/goldens.py make [--family NAME] [--seed N] [--shape B] [--set KEY=JSON] [--out DIR]
        writes DIR/NAME (default: testdata/goldens/NAME)
    scripts/goldens.py check DIR ...
        computes DIR's values anew and compares
    scripts/goldens.py verify DIR ...
        compares with what transformers' own classes computed of DIR/checkpoint
    scripts/goldens.py train --tokens FILE --out DIR
        writes a small Llama that knows some texts by heart

A directory holds checkpoint/, lora_init/ (an adapter in PEFT's format), goldens.safetensors (arrays) and
goldens.json (numbers); vicuna, baichuan and chatglm2 also checkpoint_bin/, the same tensors as torch.save
writes them. testdata/goldens/README.md says what each value is; docs/metrics.md has the formulas.

`make` computes in float64 and measures how far float32 is from it (noise_f32_vs_f64). `check` needs
nothing but a directory: it takes the inputs from it, computes in both, and compares each value with the
nearer of the two. So it also holds goldens that another program made in float32: on the machine they
were made on to the bit, on another to what float32 rounds away (--tolerance 5e-5).

The forward pass itself is in forward.py, configs and random weights are in tiny.py. Needs PyTorch, 1.13 or newer (Debian: python3-torch).
"""
import argparse
import hashlib
import json
import math
import os
import sys

import torch

from forward import LAYER_LISTS, Model, Pass, cross_entropy, frequencies, raw, read_checkpoint, read_safetensors, write_checkpoint, write_safetensors
from tiny import configs, decoder, random_inputs, random_weights, shaped, trains_alike

# ---------------------------------------------------------------- pruning, scores, decoding


def without(config, W, drop):
    """config, tensors and kinds of layers of a checkpoint that lacks layers: the others are renumbered, nothing else."""
    m = Model(config)
    keep = [i for i in range(m.layers) if i not in drop]
    out = {}
    for name, t in W.items():
        if name.startswith(m.prefix):
            layer, rest = name[len(m.prefix):].split(".", 1)
            if int(layer) not in keep:
                continue
            name = f"{m.prefix}{keep.index(int(layer))}.{rest}"
        out[name] = t
    lists = {k: [config[k][i] for i in keep] for k in LAYER_LISTS if config.get(k)}
    return {**config, **lists, "num_layers" if m.glm else "num_hidden_layers": len(keep)}, out, [m.kinds[i] for i in keep]


def mean_loss(config, W, ids, drop=(), keep_kinds=False):
    config, W, kinds = without(config, W, set(drop))
    with torch.no_grad():
        p = Pass(Model(config), W, ids, kinds=kinds if keep_kinds else None)
        return cross_entropy(p.logits, ids).item()


def cosine(a, b):
    return (a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1))


def cka(x, y):
    """Linear CKA of rows: |XᵀY|² / (|XᵀX| |YᵀY|) of centred X and Y, by their Gram matrices."""
    x, y = x - x.mean(0), y - y.mean(0)
    hsic = lambda a, b: ((a @ a.T) * (b @ b.T)).sum()
    return (hsic(x, y) / (hsic(x, x).sqrt() * hsic(y, y).sqrt())).item()


def taylor(m, W, ids):
    """Per layer sum |w·g| and sum (w·g)², with w·g summed (signed) over batches of two sequences."""
    W = {k: v.clone().requires_grad_() for k, v in W.items()}
    total = {}
    for at in range(0, len(ids), 2):
        batch = ids[at:at + 2]
        grads = dict(zip(W, torch.autograd.grad(cross_entropy(Pass(m, W, batch).logits, batch), list(W.values()))))
        for name in (n for i in range(m.layers) for n in m.scored(i)):
            total[name] = total.get(name, 0.0) + (W[name] * grads[name]).detach().double()
    add = lambda f: [sum(f(total[n]).sum().item() for n in m.scored(i)) for i in range(m.layers)]
    return add(torch.abs), add(torch.square)


def scores(config, m, W, ids):
    """Every score of the layers; sums in float64. See docs/metrics.md."""
    L, out = m.layers, {}
    for p in (1, 2):
        out[f"magnitude_l{p}"] = [sum(W[n].double().abs().pow(p).sum().item() for n in m.scored(i)) for i in range(L)]
    out["taylor"], out["taylor_l2"] = taylor(m, W, ids)
    with torch.no_grad():
        p = Pass(m, W, ids)
    h = [x.double() for x in p.hidden]  # h[i] goes into layer i, h[i+1] comes out, raw also of the last
    normed = h[:-1] + [p.final.double()]  # as output_hidden_states of transformers has them
    whole = [x.flatten()[None] for x in h]
    out["bi_repo"] = [1 - cosine(whole[i], whole[i + 1]).item() for i in range(L - 1)]
    out["bi_token"] = [(1 - cosine(h[i], h[i + 1])).mean().item() for i in range(L)]
    out["bi_token_hf_last_normed"] = (1 - cosine(normed[L - 1], normed[L])).mean().item()
    angle = lambda a, b: (cosine(a[:, -1], b[:, -1]).clamp(-1, 1).acos() / math.pi).mean().item()
    out["angular"] = [[angle(h[i], h[j]) if i != j else 0.0 for j in range(L + 1)] for i in range(L + 1)]
    out["angular_hf_last_normed"] = [angle(normed[i], normed[L]) for i in range(L)]
    flat, rows = [x.flatten(1) for x in h[1:]], [x.flatten(0, 1) for x in h]
    out["cka_seq"] = [[cka(a, b) for b in flat] for a in flat]
    out["cka_token"] = [[cka(a, b) for b in rows] for a in rows]
    out["calib_loss"] = mean_loss(config, W, ids)
    out["ppl_full"] = math.exp(out["calib_loss"])
    out["ppl_remove"] = [math.exp(mean_loss(config, W, ids, [i])) for i in range(L)]
    out["ppl_remove_keep_windows"] = [math.exp(mean_loss(config, W, ids, [i], True)) for i in range(L)]
    out["tail_loss"] = [mean_loss(config, W, ids, range(L - n, L)) for n in range(L)]
    return out


def greedy(m, W, prompt, n):
    """n greedy tokens, and the smallest lead that one of them had over the next best."""
    ids, lead = torch.tensor([prompt]), math.inf
    with torch.no_grad():
        for _ in range(n):
            best = Pass(m, W, ids).logits[0, -1].topk(2)
            lead = min(lead, (best.values[0] - best.values[1]).item())
            ids = torch.cat((ids, best.indices[None, :1]), 1)
    return ids[0, len(prompt):].tolist(), lead


# ---------------------------------------------------------------- fine-tuning

STEPS, WARMUP, RATE, DECAY = 8, 2, 1e-3, 0.01
RUNS = {  # adapters or the last layers; largest norm of the gradient; decay of norms and biases
    "partial": (False, None, True), "partial_clip1": (False, 1.0, True),
    "partial_clip1_nodecay_norm_bias": (False, 1.0, False), "lora": (True, None, True), "lora_clip1": (True, 1.0, True),
}


def learning_rate(step):
    """Linear warm-up and linear decay: 0 at step 0, and one step before it would be 0 again at the last."""
    return RATE * (step / WARMUP if step < WARMUP else (STEPS - step) / (STEPS - WARMUP))


def finetune(m, W, batches, adapters, scale, run):
    """AdamW steps. Returns the record, and the trained tensors by name."""
    lora, largest, decay_all = RUNS[run]
    W = dict(W)
    if lora:
        before = {f"{k}.lora_{n}.weight": t for k, ab in adapters.items() for n, t in zip("AB", ab)}
    else:  # final norm, head (tied: with the embedding), the last two layers
        last = tuple(f"{m.prefix}{i}." for i in (m.layers - 2, m.layers - 1))
        head = m.embedding if m.tied else m.head
        before = {k: W[k] for k in [m.norm + ".weight", head] + [k for k in W if k.startswith(last) or k == m.norm + ".bias"]}
    trained = {k: t.clone().requires_grad_() for k, t in before.items()}
    if lora:
        pairs = {k: tuple(trained[f"{k}.lora_{n}.weight"] for n in "AB") for k in adapters}
    else:
        W.update(trained)
        pairs = None
    plain = {k for k in trained if not decay_all and ("norm" in k or k.endswith(".bias"))}
    groups = [{"params": [t for k, t in trained.items() if (k in plain) == p], "weight_decay": 0.0 if p else DECAY} for p in (False, True)]
    optimiser = torch.optim.AdamW([g for g in groups if g["params"]], lr=RATE, betas=(0.9, 0.999), eps=1e-8)
    loss_of = lambda ids, mask, labels: cross_entropy(Pass(m, W, ids, mask, pairs, scale).logits, labels)
    record = {"losses": [], "grad_norms": [], "lrs": []}
    for step in range(STEPS):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step)
        optimiser.zero_grad()
        loss = loss_of(*batches[step % len(batches)])
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(list(trained.values()), largest or math.inf)
        optimiser.step()
        for key, value in ("losses", loss.item()), ("grad_norms", norm.item()), ("lrs", learning_rate(step)):
            record[key].append(value)
    with torch.no_grad():
        record["final_losses"] = [loss_of(*b).item() for b in batches]
    after = {k: t.detach() for k, t in trained.items()}
    record["final_l2"] = {k: t.double().norm().item() for k, t in after.items()}
    record["delta_l2"] = {k: (t - before[k]).double().norm().item() for k, t in after.items()}
    return record, after


def kept_after(m, run):
    """Trained tensors whose final values are stored."""
    first, last = f"{m.prefix}0.{m.linears()[0]}", f"{m.prefix}{m.layers - 1}."
    if RUNS[run][0]:
        return [f"{k}.lora_{n}.weight" for k in (first, last + m.linears()[-1]) for n in "AB"]
    return [m.norm + ".weight", f"{last}{m.linears()[0]}.weight", f"{last}{m.norms()[0]}.weight"]


# ---------------------------------------------------------------- all of it


def compute(config, stored, inputs, prompt, adapters, scale, dtype):
    """Arrays and numbers of one checkpoint, computed in dtype; without adapters nothing of fine-tuning."""
    m, to = Model(config), lambda t: t.to(dtype)
    W = {k: to(v) for k, v in stored.items()}
    adapters = {k: (to(a), to(b)) for k, (a, b) in adapters.items()}
    ids, calib = inputs["input_ids"], inputs["calib_ids"]
    G, J = {}, {}

    leaves = {k: v.clone().requires_grad_() for k, v in W.items()}
    p = Pass(m, leaves, ids)
    loss = cross_entropy(p.logits, ids)
    grads = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values()))))
    G["logits"], G["hidden"], G["final_norm"], J["loss"] = p.logits.detach(), torch.stack(p.hidden).detach(), p.final.detach(), loss.item()
    G["token_logprobs"] = G["logits"].log_softmax(-1)[:, :-1].gather(-1, ids[:, 1:, None])[..., 0]
    J["grad_l2"] = {k: g.double().norm().item() for k, g in grads.items()}
    J["grad_global_l2"] = math.sqrt(sum(x * x for x in J["grad_l2"].values()))
    G.update({"grad." + k: g for k, g in grads.items()})

    with torch.no_grad():
        padded = Pass(m, W, inputs["pad_ids"], inputs["pad_mask"]).logits
        J["pad_loss"] = cross_entropy(padded, inputs["pad_labels"]).item()
        G["pad_logits"] = padded * inputs["pad_mask"][..., None]
        if adapters:
            G["lora_init.logits"] = Pass(m, W, ids, adapters=adapters, scale=scale).logits
        cut, tensors, kinds = without(config, W, {1, 3})
        small = Model(cut)
        G["pruned_1_3.logits"] = Pass(small, tensors, ids).logits
        if kinds != small.kinds:  # a layer's kind went by its number
            G["pruned_1_3.logits_keep_windows"] = Pass(small, tensors, ids, kinds=kinds).logits
    hashes = {k: hashlib.sha256(raw(v)).hexdigest() for k, v in without(config, stored, {1, 3})[1].items()}
    J["pruned_1_3"] = {"loss": cross_entropy(G["pruned_1_3.logits"], ids).item(), "config": cut, "sha256": hashes}
    J["scores"] = scores(config, m, W, calib)
    continuation, lead = greedy(m, W, prompt, 12)
    J["greedy"] = {"prompt": prompt, "continuation": continuation, "min_top1_top2_logit_gap": lead}
    if not adapters:
        return G, J
    batches = list(zip(inputs["ft.ids"], inputs["ft.mask"], inputs["ft.labels"]))
    J["ft"] = {}
    for run in RUNS:
        J["ft"][run], after = finetune(m, W, batches, adapters, scale, run)
        G.update({f"ft.{run}.final.{k}": after[k] for k in kept_after(m, run)})
    return G, J


def numbers(value, path=()):
    """The numbers of nested dicts and lists, by path of keys."""
    if isinstance(value, dict):
        return {p: x for k, v in value.items() for p, x in numbers(v, path + (k,)).items()}
    flat = torch.tensor(value, dtype=torch.float64).flatten() if isinstance(value, (list, float)) else None
    return {} if flat is None else {path: flat}


def gradients_off(got, want):
    """The largest Euclidean distance of a gradient in want, relative to its length; and of one that is nothing
    beside all of them, as those of keys' biases are where no position turns them, to a thousandth of theirs."""
    names = [k for k in want if k.startswith("grad.")]
    least = 1e-3 * math.sqrt(sum(want[k].double().square().sum().item() for k in names))
    return max((got[k].double() - want[k].double()).norm().item() / max(want[k].double().norm().item(), least) for k in names)


def distances(a, b):
    """How far each array and each group of numbers of (G, J) a is from b: the largest difference,
    relative to the larger of 1 and the value's size; for gradients the relative Euclidean one."""
    out = {"grad": gradients_off(a[0], b[0])}
    for name, want in b[0].items():
        if name.startswith("grad."):
            continue
        got, want = a[0][name].double(), want.double()
        far = ((got - want).abs() / want.abs().clamp(min=1)).max().item()
        if ".final." in name:
            name = name.split(".final.")[0] + ".final"
        out[name] = max(out.get(name, 0.0), far)
    for key in ("loss", "pad_loss", "grad_l2", "grad_global_l2", "scores", "ft"):
        got = numbers(a[1].get(key, {}), (key,))
        for path, want in numbers(b[1].get(key, {}), (key,)).items():
            if "delta_l2" in path and path[-1].endswith(".bias"):
                continue  # biases of keys have no gradient: Adam makes steps of rounding noise
            far = ((got[path] - want).abs() / want.abs().clamp(min=1)).max().item()
            name = ".".join(path[:3] if key == "ft" else path[:2] if key == "scores" else path[:1])
            out[name] = max(out.get(name, 0.0), far)
    return out


# ---------------------------------------------------------------- directories

RANK, ALPHA = 4, 8


def random_adapters(m, W, g):
    """A LoRA adapter for every linear map; B is not zero, so that it changes something from the start."""
    out = {}
    for name in (f"{m.prefix}{i}.{n}" for i in range(m.layers) for n in m.linears()):
        rows, columns = W[name + ".weight"].shape
        out[name] = (torch.randn(RANK, columns, generator=g) / math.sqrt(columns), torch.randn(rows, RANK, generator=g) * 0.05)
    return out


def write_adapters(folder, m, adapters):
    os.makedirs(folder, exist_ok=True)
    write_safetensors(os.path.join(folder, "adapter_model.safetensors"),
                      {f"base_model.model.{k}.lora_{n}.weight": t for k, ab in adapters.items() for n, t in zip("AB", ab)})
    config = {"base_model_name_or_path": "../checkpoint", "bias": "none", "fan_in_fan_out": False, "inference_mode": True,
              "lora_alpha": ALPHA, "lora_dropout": 0.0, "modules_to_save": None, "peft_type": "LORA", "r": RANK,
              "target_modules": sorted({n.split(".")[-1] for n in m.linears()}), "task_type": "CAUSAL_LM"}
    json.dump(config, open(os.path.join(folder, "adapter_config.json"), "w"), indent=2)


def read_adapters(folder):
    if not os.path.exists(folder):
        return {}, 0.0
    config = json.load(open(os.path.join(folder, "adapter_config.json")))
    pairs = {}
    for name, t in read_safetensors(os.path.join(folder, "adapter_model.safetensors")).items():
        name = name[len("base_model.model."):]
        pairs.setdefault(name.rsplit(".lora_", 1)[0], {})[name.split(".")[-2]] = t
    return {k: (ab["lora_A"], ab["lora_B"]) for k, ab in pairs.items()}, config["lora_alpha"] / config["r"]


def make(family, seed, out, shape="A", changes=None):
    config, folder = {**shaped(configs()[family], shape), **(changes or {})}, os.path.join(out, family)
    g = torch.Generator().manual_seed(1000 * seed + list(configs()).index(family))
    m = Model(config)
    W = {k: v.to(getattr(torch, config["torch_dtype"])) for k, v in random_weights(m, g).items()}
    disk = dict(W)
    inverse = lambda: frequencies(m, m.rope(0), 1, torch.float32)[0]
    if family == "vicuna":
        disk.update({f"{m.prefix}{i}.self_attn.rotary_emb.inv_freq": inverse() for i in range(m.layers)})
    if family == "chatglm2":
        disk["transformer.rotary_pos_emb.inv_freq"] = inverse().half()
    write_checkpoint(os.path.join(folder, "checkpoint"), config, disk, shards=3 if family == "qwen2" else 1)
    if family in ("vicuna", "baichuan", "chatglm2"):  # published in this form
        write_checkpoint(os.path.join(folder, "checkpoint_bin"), config, {})
        os.remove(os.path.join(folder, "checkpoint_bin", "model.safetensors"))
        torch.save({k: v.clone() for k, v in disk.items()}, os.path.join(folder, "checkpoint_bin", "pytorch_model.bin"))
    inputs, adapters = random_inputs(m, g), random_adapters(m, W, g)
    if trains_alike(family):
        inputs, adapters = {k: v for k, v in inputs.items() if not k.startswith("ft.")}, {}
    else:
        write_adapters(os.path.join(folder, "lora_init"), m, adapters)
    for _ in range(200):  # a prompt whose continuation no rounding can change
        prompt = torch.randint(3, m.vocab - 3, (9,), generator=g).tolist()
        if greedy(m, {k: v.double() for k, v in W.items()}, prompt, 12)[1] > 0.02:
            break
    G, J = compute(config, W, inputs, prompt, adapters, ALPHA / RANK, torch.float64)
    noise = distances(compute(config, W, inputs, prompt, adapters, ALPHA / RANK, torch.float32), (G, J))
    write_safetensors(os.path.join(folder, "goldens.safetensors"), {**inputs, **{k: v.float() for k, v in G.items()}})
    write_numbers(os.path.join(folder, "goldens.json"), {"family": family, "seed": seed, "config": config, "noise_f32_vs_f64": noise, **J})
    print(f"{family}: loss {J['loss']:.4f}, logits of deviation {G['logits'].std():.2f}, float32 is off by {noise['logits']:.1g}, lead {J['greedy']['min_top1_top2_logit_gap']:.3f}")


def write_numbers(path, values):
    """Writes a JSON object, a key a line, numbers with twelve digits."""
    def rounded(x):
        if isinstance(x, dict):
            return {k: rounded(v) for k, v in x.items()}
        return [rounded(v) for v in x] if isinstance(x, list) else float(f"{x:.12g}") if isinstance(x, float) else x
    lines = (f'"{k}": {json.dumps(rounded(v), separators=(",", ":"))}' for k, v in values.items())
    with open(path, "w") as f:
        f.write("{\n" + ",\n".join(lines) + "\n}\n")


def check(folder, tolerance):
    """Compares what is stored with what is computed; returns whether all is within the tolerance."""
    config, W = read_checkpoint(os.path.join(folder, "checkpoint"))
    G, J = read_safetensors(os.path.join(folder, "goldens.safetensors")), json.load(open(os.path.join(folder, "goldens.json")))
    inputs = {k: v for k, v in G.items() if v.dtype == torch.int64}
    want = {k: v for k, v in G.items() if v.dtype != torch.int64}, J
    adapters, scale = read_adapters(os.path.join(folder, "lora_init"))
    off = {}
    for dtype in (torch.float64, torch.float32):
        got = compute(config, W, inputs, J["greedy"]["prompt"], adapters, scale, dtype)
        for name, far in distances(got, want).items():
            off[name] = min(off.get(name, math.inf), far)
        for key in ("sha256", "config"):
            off["pruned_1_3." + key] = 0.0 if got[1]["pruned_1_3"][key] == J["pruned_1_3"][key] else math.inf
        if got[1]["greedy"]["continuation"] != J["greedy"]["continuation"]:
            off["greedy"] = math.inf
    return report(folder, off, tolerance)


def report(folder, off, tolerance):
    """Prints how far each kind of value is off; returns whether all is within the tolerance."""
    worst = max(off, key=off.get)
    print(f"{folder}: {len(off)} kinds of values, furthest off: {worst} by {off[worst]:.1g}")
    for name, far in off.items():
        if not far <= tolerance:
            print(f"  {name} is off by {far:.2g}, more than {tolerance:g}")
    return off[worst] <= tolerance


# ---------------------------------------------------------------- what transformers computed


def verify(folder, tolerance):
    """Compares the forward pass, its gradients and what a pruning makes of a config with what transformers' own
    classes gave for a checkpoint; returns whether all is within the tolerance."""
    config, W = read_checkpoint(os.path.join(folder, "checkpoint"))
    want, J = read_safetensors(os.path.join(folder, "goldens.safetensors")), json.load(open(os.path.join(folder, "goldens.json")))
    m, ids, off = Model(config), want["input_ids"], {}
    W = {k: v.double().requires_grad_() for k, v in W.items()}
    p = Pass(m, W, ids)
    loss = cross_entropy(p.logits, ids)
    grads = dict(zip(W, torch.autograd.grad(loss, list(W.values()))))
    cut, tensors, _ = without(config, {k: v.detach() for k, v in W.items()}, {1, 3})
    got = {"logits": p.logits, "hidden": torch.stack(p.hidden[:-1] + [p.final]),  # transformers' last is normed
           "token_logprobs": p.logits.log_softmax(-1)[:, :-1].gather(-1, ids[:, 1:, None])[..., 0],
           "pruned_1_3.logits": Pass(Model(cut), tensors, ids).logits, **{"grad." + k: g for k, g in grads.items()}}
    off["grad"] = gradients_off(got, want)
    for name in want:
        if name in got and not name.startswith("grad."):
            off[name] = ((got[name] - want[name]).abs() / want[name].abs().clamp(min=1)).max().item()
    off["loss"] = abs(loss.item() - J["loss"]) / max(1, J["loss"])
    if greedy(m, {k: v.detach() for k, v in W.items()}, J["greedy"][:9], 12)[0] != J["greedy"][9:]:
        off["greedy"] = math.inf
    theirs = json.load(open(os.path.join(folder, "pruned_config.json")))
    for key in config.keys() - {"dtype", "max_window_layers"}:  # as it was computed; past the last layer
        if theirs.get(key) != cut[key]:
            off["config." + key] = math.inf
    return report(folder, off, tolerance)


# ---------------------------------------------------------------- a trained model


def train(tokens, vocab, out, seed=1, steps=400):
    """A Llama of four layers, trained until it knows the sequences by heart, and what it writes greedily in float64.

    Logits of a trained model have the shape of real ones: one token far ahead, and long runs of decisions that
    all must be right.
    """
    config = decoder("llama", "LlamaForCausalLM", hidden_size=48, intermediate_size=96, num_hidden_layers=4, vocab_size=vocab,
                     tie_word_embeddings=True, bos_token_id=1, eos_token_id=2, rope_scaling=None)
    m, g = Model(config), torch.Generator().manual_seed(seed)
    W = {k: v.requires_grad_() for k, v in random_weights(m, g).items()}
    optimiser = torch.optim.AdamW(list(W.values()), lr=4e-3, weight_decay=0.01)
    text = torch.tensor([[1] + [t for s in tokens for t in s]])
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = 4e-3 * min(1, step / 20, (steps - step) / steps + 0.02)
        if step % 4 == 0:  # the beginning, as it will be asked to go on
            batch = text[:, :257]
        else:
            at = torch.randint(0, text.shape[1] - 128, (4,), generator=g)
            batch = torch.stack([text[0, i:i + 128] for i in at])
        loss = cross_entropy(Pass(m, W, batch).logits, batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    stored = {k: v.detach().bfloat16() for k, v in W.items()}
    write_checkpoint(out, config, stored)
    W = {k: v.double() for k, v in stored.items()}
    with torch.no_grad():
        ids, lead = [1], math.inf
        while len(ids) < 200:
            best = Pass(m, W, torch.tensor([ids])).logits[0, -1].topk(2)
            lead = min(lead, (best.values[0] - best.values[1]).item())
            ids.append(best.indices[0].item())
        logits = Pass(m, W, torch.tensor([ids])).logits[0]
    golden = {"ids": ids, "last_pos": len(ids) - 2, "logits_pos0": logits[0].float().tolist(), "logits_last": logits[-2].float().tolist()}
    json.dump(golden, open(os.path.join(out, "golden_greedy_f64.json"), "w"))
    print(f"{out}: loss {loss.item():.3f}, greedy tokens lead by {lead:.3f} or more, {sum(a == b for a, b in zip(ids, text[0].tolist()))} of 200 as in the text")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    p = commands.add_parser("make", help="write checkpoints and goldens")
    p.add_argument("--family", choices=list(configs()), action="append", help="one family (repeatable; default: all)")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--shape", choices=["A", "B"], default="A", help="B: other sizes")
    p.add_argument("--set", action="append", default=[], metavar="KEY=JSON", help="a key of config.json (repeatable)")
    p.add_argument("--out", default=os.path.join(here, "testdata", "goldens"))
    p = commands.add_parser("check", help="compare stored goldens with computed ones")
    p.add_argument("folders", nargs="+", metavar="DIR")
    p.add_argument("--tolerance", type=float, default=1e-6)
    p = commands.add_parser("verify", help="compare with what transformers computed")
    p.add_argument("folders", nargs="+", metavar="DIR")
    p.add_argument("--tolerance", type=float, default=1e-4)
    p = commands.add_parser("train", help="write a small trained model")
    p.add_argument("--tokens", required=True, help="JSON file of token ids, [[ids…], …]")
    p.add_argument("--vocab", type=int, default=512)
    p.add_argument("--out", required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.command == "make":
        for family in args.family or configs():
            changes = dict(change.split("=", 1) for change in args.set)
            make(family, args.seed, args.out, args.shape, {k: json.loads(v) for k, v in changes.items()})
    elif args.command == "train":
        train(json.load(open(args.tokens)), args.vocab, args.out)
    elif not all([{"check": check, "verify": verify}[args.command](folder, args.tolerance) for folder in args.folders]):
        sys.exit(1)


if __name__ == "__main__":
    main()
