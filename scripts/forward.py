"""A readable forward pass of every family, in PyTorch, and the files it reads: see goldens.py, which uses it.

Plain functions, no cache, no padding tricks: to be read beside the published modelling code. What each family
does otherwise than Llama, and where its traps are, is in docs/families.md.
"""
import json
import math
import os
import struct

import torch
import torch.nn.functional as F

# ---------------------------------------------------------------- safetensors

DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64}


def raw(t):
    """The bytes of a tensor, row major, little-endian."""
    t = t.detach().contiguous()
    return (t.view(torch.int16) if t.dtype == torch.bfloat16 else t).numpy().tobytes()


def write_safetensors(path, tensors):
    names, header, at = {v: k for k, v in DTYPES.items()}, {"__metadata__": {"format": "pt"}}, 0
    for name, t in tensors.items():
        size = t.numel() * t.element_size()
        header[name] = {"dtype": names[t.dtype], "shape": list(t.shape), "data_offsets": [at, at + size]}
        at += size
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(head)) + head)
        for t in tensors.values():
            f.write(raw(t))


def read_safetensors(path):
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = bytearray(f.read())
    header.pop("__metadata__", None)
    out = {}
    for name, h in header.items():
        lo, hi = h["data_offsets"]
        dtype = DTYPES[h["dtype"]]
        out[name] = torch.frombuffer(data[lo:hi], dtype=dtype).clone().reshape(h["shape"])
    return out


def read_checkpoint(folder):
    """config.json and all tensors but rotary buffers, which readers must compute for themselves."""
    config = json.load(open(os.path.join(folder, "config.json")))
    tensors = {}
    for name in sorted(os.listdir(folder)):
        if name.endswith(".safetensors"):
            tensors.update(read_safetensors(os.path.join(folder, name)))
    return config, {k: v for k, v in tensors.items() if not k.endswith("inv_freq")}


def write_checkpoint(folder, config, tensors, shards=1):
    os.makedirs(folder, exist_ok=True)
    json.dump(config, open(os.path.join(folder, "config.json"), "w"), indent=2)
    if shards == 1:
        return write_safetensors(os.path.join(folder, "model.safetensors"), tensors)
    names, index = list(tensors), {}
    each = -(-len(names) // shards)
    for i in range(shards):
        file, part = f"model-{i + 1:05d}-of-{shards:05d}.safetensors", names[i * each:(i + 1) * each]
        write_safetensors(os.path.join(folder, file), {n: tensors[n] for n in part})
        index.update({n: file for n in part})
    size = sum(t.numel() * t.element_size() for t in tensors.values())
    json.dump({"metadata": {"total_size": size}, "weight_map": index},
              open(os.path.join(folder, "model.safetensors.index.json"), "w"), indent=2)


# ---------------------------------------------------------------- what a config.json means

NORMS = {  # of a layer by model_type: before attention, after it, before the feed-forward, after it; empty: none
    "gemma2": "input_layernorm post_attention_layernorm pre_feedforward_layernorm post_feedforward_layernorm",
    "gemma3_text": "input_layernorm post_attention_layernorm pre_feedforward_layernorm post_feedforward_layernorm",
    "olmo2": " post_attention_layernorm  post_feedforward_layernorm",
    "olmo3": " post_attention_layernorm  post_feedforward_layernorm",
    "glm4": "input_layernorm post_self_attn_layernorm post_attention_layernorm post_mlp_layernorm",
    "cohere": "input_layernorm   ",  # one for both halves
    "opt": "self_attn_layer_norm  final_layer_norm ",
}
LLAMA_NORMS = "input_layernorm  post_attention_layernorm "
LAYER_LISTS = ("layer_types", "no_rope_layers")  # keys with one entry a layer


class Model:
    """A decoder as config.json describes it: sizes, names of tensors, and what differs between families."""

    def __init__(self, config):
        self.config, kind = config, config["model_type"]
        self.kind, self.glm, self.opt = kind, kind == "chatglm", kind == "opt"
        self.gemma, self.baichuan = kind in ("gemma", "gemma2", "gemma3_text"), kind == "baichuan"
        self.one_plus = self.gemma or kind == "nemotron"  # weights of norms stand for 1 + w
        self.layer_norm = kind in ("opt", "stablelm", "nemotron", "cohere")  # others have no mean taken off
        self.head_norms = kind in ("qwen3", "gemma3_text", "olmo2", "olmo3")  # of queries and keys,
        self.whole_norm = kind in ("olmo2", "olmo3")  # which may be of all heads together
        self.interleaved = kind in ("chatglm", "glm4", "cohere")  # neighbouring columns turn as a pair
        self.around = NORMS.get(kind, LLAMA_NORMS).split(" ")
        get = config.get
        self.hidden, self.heads = config["hidden_size"], config["num_attention_heads"]
        self.layers = config["num_layers" if self.glm else "num_hidden_layers"]
        self.sizes()
        self.names()
        # Where the key is absent it is as the class has it.
        self.tied = get("tie_word_embeddings", self.gemma or kind in ("opt", "cohere", "smollm3"))
        self.scale = config.get("query_pre_attn_scalar", self.head_dim) ** -0.5
        if kind == "granite":
            self.scale = config["attention_multiplier"]
        self.kinds = [(self.window(i), self.rope(i)) for i in range(self.layers)]  # how each layer attends

    def sizes(self):
        config, get = self.config, self.config.get
        if self.glm:
            self.kv, self.head_dim = config["multi_query_group_num"], config["kv_channels"]
            self.vocab, self.ff, self.eps = config["padded_vocab_size"], config["ffn_hidden_size"], config["layernorm_epsilon"]
            self.rotary = self.head_dim // 2  # half of each head turns, the rest passes through
            return
        self.kv = get("num_key_value_heads") or self.heads
        self.head_dim = get("head_dim") or self.hidden // self.heads
        self.vocab, self.ff = config["vocab_size"], config["ffn_dim" if self.opt else "intermediate_size"]
        eps = {"stablelm": "layer_norm_eps", "cohere": "layer_norm_eps", "nemotron": "norm_eps"}.get(self.kind, "rms_norm_eps")
        self.eps = 1e-5 if self.opt else config[eps]
        partial = get("partial_rotary_factor", {"glm4": 0.5, "nemotron": 0.5, "stablelm": 0.25}.get(self.kind, 1.0))
        partial = (get("rope_parameters") or {}).get("partial_rotary_factor", partial)
        self.rotary = int(self.head_dim * partial)

    def names(self):
        if self.glm:
            self.embedding, self.head = "transformer.embedding.word_embeddings.weight", "transformer.output_layer.weight"
            self.norm, self.prefix = "transformer.encoder.final_layernorm", "transformer.encoder.layers."
            self.qkv, self.out = ["self_attention.query_key_value"], "self_attention.dense"
            self.up, self.down = ["mlp.dense_h_to_4h"], "mlp.dense_4h_to_h"
            return
        inside = "model.decoder." if self.opt else "model."
        self.embedding, self.head, self.prefix = inside + "embed_tokens.weight", "lm_head.weight", inside + "layers."
        self.norm = inside + ("final_layer_norm" if self.opt else "norm")
        self.qkv, self.out = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"], "self_attn.o_proj"
        self.up, self.down = ["mlp.gate_proj", "mlp.up_proj"], "mlp.down_proj"
        if self.baichuan:
            self.qkv = ["self_attn.W_pack"]
        if self.kind == "phi3":
            self.qkv = ["self_attn.qkv_proj"]
        if self.kind in ("phi3", "glm4"):
            self.up = ["mlp.gate_up_proj"]
        if self.kind == "nemotron":
            self.up = ["mlp.up_proj"]
        if self.opt:
            self.out, self.up, self.down = "self_attn.out_proj", ["fc1"], "fc2"

    @property
    def ungated(self):
        """Whether the feed-forward is down(f(up x)), not down(f(gate x) * up x)."""
        return self.kind in ("nemotron", "opt")

    def window(self, layer):
        """The number of keys a query of the layer sees, itself included; None: all before it."""
        width, get = self.config.get("sliding_window"), self.config.get
        if self.kind in ("qwen2", "qwen3", "smollm3") and not get("use_sliding_window"):
            return None  # there, and off unless asked for
        return width if self.slides(layer) else None

    def slides(self, layer):
        types = self.config.get("layer_types")
        if self.kind in ("mistral", "phi3"):
            return True
        if types:
            return types[layer] == "sliding_attention"
        if self.kind == "gemma2":  # even layers slide, odd ones see everything
            return layer % 2 == 0
        if self.kind == "gemma3_text":
            return (layer + 1) % self.config.get("sliding_window_pattern", 6) != 0
        if self.kind == "olmo3":
            return (layer + 1) % 4 != 0
        if self.kind in ("qwen2", "qwen3"):
            return layer >= self.config.get("max_window_layers", 28)
        return self.kind == "ministral" or self.kind == "smollm3" and self.rope(layer) is None

    def rope(self, layer):
        """What rotary embeddings of the layer are made of; None: it has none."""
        get = self.config.get
        if self.opt:
            return None
        if self.kind == "smollm3":  # the key says 1 of layers that do rotate; without it every fourth does not
            rotates = get("no_rope_layers") or [(i + 1) % get("no_rope_layer_interval", 4) for i in range(self.layers)]
            if not rotates[layer]:
                return None
        if self.glm:
            return {"rope_theta": 10000.0 * get("rope_ratio", 1)}
        given = get("rope_parameters") or {"rope_theta": get("rope_theta", 10000.0), **(get("rope_scaling") or {})}
        if self.kind in ("gemma3_text", "olmo3"):
            if "full_attention" in given:
                return given["sliding_attention" if self.slides(layer) else "full_attention"]
            if self.slides(layer):  # without the scaling of the others, and Gemma with another base
                theta = get("rope_local_base_freq", 10000.0) if self.gemma else given["rope_theta"]
                return {"rope_theta": theta}
        return given

    def linears(self):
        """Linear maps of a layer, by name within it."""
        return self.qkv + [self.out] + self.up + [self.down]

    def norms(self):
        names = [name for name in self.around if name]
        return names + ["self_attn.q_norm", "self_attn.k_norm"] if self.head_norms else names

    def scored(self, layer):
        """Tensors that magnitude and Taylor scores sum over: linear and norm weights, no biases."""
        return [f"{self.prefix}{layer}.{n}.weight" for n in self.linears() + self.norms()]


# ---------------------------------------------------------------- rotary embeddings


def frequencies(m, rope, tokens, dtype):
    """Rotary frequencies [rotary/2] in a sequence of so many tokens, and what multiplies cosines and sines."""
    kind = rope.get("rope_type", rope.get("type"))
    steps = torch.arange(0, m.rotary, 2).to(dtype) / m.rotary
    f = 1.0 / rope["rope_theta"] ** steps
    if kind in (None, "default"):
        return f, 1.0
    if kind == "linear":
        return f / rope["factor"], 1.0
    if kind == "llama3":
        return llama3(f, rope), 1.0
    if kind == "dynamic":  # past the original length every token turns by another base
        n, factor = m.config["max_position_embeddings"], rope["factor"]
        stretched = factor * max(tokens, n) / n - (factor - 1)
        return 1.0 / (rope["rope_theta"] * stretched ** (m.rotary / (m.rotary - 2))) ** steps, 1.0
    n = m.config.get("original_max_position_embeddings") or rope["original_max_position_embeddings"]
    factor = rope.get("factor") or m.config["max_position_embeddings"] / n
    if kind == "longrope" or m.kind == "phi3":  # in Phi-3's first months called su, or yarn
        divisors = rope["long_factor" if tokens > n else "short_factor"]
        magnitude = math.sqrt(1 + math.log(factor) / math.log(n)) if factor > 1 else 1.0
        return f / torch.tensor(divisors, dtype=dtype), rope.get("attention_factor") or magnitude
    assert kind == "yarn", kind
    return yarn(m, f, rope, n, factor)


def llama3(f, rope):
    """Short wavelengths as they are, long ones divided, between them a straight line in n / wavelength."""
    n, low, high = (rope[k] for k in ("original_max_position_embeddings", "low_freq_factor", "high_freq_factor"))
    wavelength = 2 * math.pi / f
    t = (n / wavelength - low) / (high - low)
    between = (1 - t) * f / rope["factor"] + t * f
    return torch.where(wavelength > n / low, f / rope["factor"], torch.where(wavelength < n / high, f, between))


def yarn(m, f, rope, n, factor):
    """Pairs that turn often in n tokens as they are, those that seldom do divided, between them a straight line."""
    pair = lambda turns: m.rotary * math.log(n / (turns * 2 * math.pi)) / (2 * math.log(rope["rope_theta"]))
    low, high = pair(rope.get("beta_fast") or 32), pair(rope.get("beta_slow") or 1)
    if rope.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, m.rotary - 1)
    t = ((torch.arange(len(f)).to(f.dtype) - low) / (high - low or 0.001)).clamp(0, 1)
    mscale = lambda x: 0.1 * x * math.log(factor) + 1 if factor > 1 else 1.0
    magnitude = rope.get("attention_factor")
    if magnitude is None:
        both = rope.get("mscale") and rope.get("mscale_all_dim")
        magnitude = mscale(rope["mscale"]) / mscale(rope["mscale_all_dim"]) if both else mscale(1)
    return t * f / factor + (1 - t) * f, magnitude


def rotate(m, x, cos, sin):
    """Turns the first columns of queries or keys [B, heads, T, head_dim]; cos and sin are [T, rotary/2]."""
    x, rest = x[..., :m.rotary], x[..., m.rotary:]
    if m.interleaved:  # neighbours are pairs
        a, b = x[..., 0::2], x[..., 1::2]
        turned = torch.stack((a * cos - b * sin, b * cos + a * sin), -1).flatten(-2)
    else:  # (j, j + rotary/2) are pairs
        a, b = x.chunk(2, -1)
        turned = torch.cat((a * cos - b * sin, b * cos + a * sin), -1)
    return torch.cat((turned, rest), -1)


# ---------------------------------------------------------------- the forward pass


def rms_norm(m, x, w):
    x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + m.eps)
    return x * (1.0 + w) if m.one_plus else w * x


def soft_cap(x, cap):
    return torch.tanh(x / cap) * cap if cap else x


def activation(m, x):
    if m.kind == "nemotron":
        return F.relu(x).square()
    if m.opt:
        return F.relu(x)
    return F.gelu(x, approximate="tanh") if m.gemma else F.silu(x)


class Pass:
    """One forward pass: weights W by checkpoint name, perhaps with LoRA adapters {name: (A, B)} of a scale,
    layers perhaps of other kinds than their numbers say."""

    def __init__(self, m, W, ids, mask=None, adapters=None, scale=0.0, kinds=None):
        self.m, self.W, self.adapters, self.scale = m, W, adapters or {}, scale
        self.kinds = kinds or m.kinds
        self.tokens, self.dtype, get = ids.shape[1], W[m.embedding].dtype, m.config.get
        self.position = torch.arange(self.tokens)
        self.distance = self.position[:, None] - self.position[None, :]  # of a key before its query
        mask = torch.ones_like(ids) if mask is None else mask
        self.seen = mask.bool()[:, None, None, :]
        x = W[m.embedding][ids]
        if m.gemma:
            x = x * torch.tensor(m.hidden ** 0.5, dtype=self.dtype)  # the factor is rounded to the dtype
        if m.opt:  # positions are looked up, from the third row on, and padding has none
            x = x + W["model.decoder.embed_positions.weight"][mask.cumsum(1) * mask + 1]
        x = x * get("embedding_multiplier", 1)
        self.hidden = [x]  # L+1 times [B, T, hidden]: after the embedding, after each layer
        for i in range(m.layers):
            x = self.block(i, x)
            self.hidden.append(x)
        self.final = self.norm(m.norm, x)
        head = W[m.embedding] if m.tied else W[m.head]
        if m.baichuan:
            head = F.normalize(head)  # each row to length 1
        logits = F.linear(self.final, head) * get("logit_scale", 1) / get("logits_scaling", 1)
        self.logits = soft_cap(logits, get("final_logit_softcapping") if m.gemma else None)

    def linear(self, name, x):
        y = F.linear(x, self.W[name + ".weight"], self.W.get(name + ".bias"))
        if name in self.adapters:
            A, B = self.adapters[name]
            y = y + self.scale * F.linear(F.linear(x, A), B)
        return y

    def norm(self, name, x):
        m, w = self.m, self.W[name + ".weight"]
        if m.layer_norm:
            return F.layer_norm(x, x.shape[-1:], 1 + w if m.one_plus else w, self.W.get(name + ".bias"), m.eps)
        return rms_norm(m, x, w)

    def block(self, i, x):
        m, at = self.m, f"{self.m.prefix}{i}."
        before, after, before_ff, after_ff = (lambda x, n=n: self.norm(at + n, x) if n else x for n in m.around)
        grow = m.config.get("residual_multiplier", 1)
        normed = before(x)
        if m.kind == "cohere":
            return x + self.attention(i, normed) + self.feed_forward(at, normed)
        stay = m.glm and m.config.get("apply_residual_connection_post_layernorm", False)
        x = (normed if stay else x) + after(self.attention(i, normed)) * grow
        normed = before_ff(x)
        return (normed if stay else x) + after_ff(self.feed_forward(at, normed)) * grow

    def attention(self, i, x):
        m, at = self.m, f"{self.m.prefix}{i}."
        window, rope = self.kinds[i]
        parts = torch.cat([self.linear(at + n, x) for n in m.qkv], -1)
        q, k, v = parts.split([n * m.head_dim for n in (m.heads, m.kv, m.kv)], -1)
        norm = lambda x, name: rms_norm(m, x, self.W[f"{at}self_attn.{name}.weight"])
        if m.whole_norm:
            q, k = norm(q, "q_norm"), norm(k, "k_norm")
        q, k, v = (p.unflatten(-1, (-1, m.head_dim)) for p in (q, k, v))
        if m.head_norms and not m.whole_norm:  # over each head, before it turns
            q, k = norm(q, "q_norm"), norm(k, "k_norm")
        q, k, v = (p.transpose(1, 2) for p in (q, k, v))
        if rope is not None:
            f, magnitude = frequencies(m, rope, self.tokens, self.dtype)
            angles = self.position.to(self.dtype)[:, None] * f[None, :]
            cos, sin = angles.cos() * magnitude, angles.sin() * magnitude
            q, k = rotate(m, q, cos, sin), rotate(m, k, cos, sin)
        k, v = (p.repeat_interleave(m.heads // m.kv, 1) for p in (k, v))  # a KV head serves neighbouring query heads
        scores = q @ k.transpose(-1, -2) * m.scale
        scores = soft_cap(scores, m.config.get("attn_logit_softcapping") if m.gemma else None)
        allowed = (self.distance >= 0)[None, None] & self.seen
        if window is not None:
            allowed = allowed & (self.distance < window)
        scores = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min)
        return self.linear(at + m.out, (scores.softmax(-1) @ v).transpose(1, 2).flatten(-2))

    def feed_forward(self, at, x):
        m, up = self.m, torch.cat([self.linear(at + n, x) for n in self.m.up], -1)
        if m.ungated:
            return self.linear(at + m.down, activation(m, up))
        gate, up = up.chunk(2, -1)
        return self.linear(at + m.down, activation(m, gate) * up)


def cross_entropy(logits, labels):
    """Mean over the labels that are not -100; position t predicts label t+1."""
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
