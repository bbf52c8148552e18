"""A readable forward pass of every family, in PyTorch, and the files it reads: see goldens.py, which uses it.

Plain functions, no cache, no padding tricks: to be read beside the published modelling code.
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


class Model:
    """A decoder as config.json describes it: sizes, names of tensors, and what differs between families."""

    def __init__(self, config):
        self.config, kind = config, config["model_type"]
        self.kind, self.gemma, self.glm = kind, kind == "gemma2", kind == "chatglm"
        self.baichuan, self.qwen3 = kind == "baichuan", kind == "qwen3"
        get = config.get
        self.hidden, self.heads = config["hidden_size"], config["num_attention_heads"]
        if self.glm:
            self.layers, self.kv, self.head_dim = config["num_layers"], config["multi_query_group_num"], config["kv_channels"]
            self.vocab, self.ff, self.eps = config["padded_vocab_size"], config["ffn_hidden_size"], config["layernorm_epsilon"]
            self.theta = 10000.0 * get("rope_ratio", 1)
            self.rotary = self.head_dim // 2  # half of each head turns, the rest passes through
            self.embedding, self.head = "transformer.embedding.word_embeddings.weight", "transformer.output_layer.weight"
            self.norm, self.prefix = "transformer.encoder.final_layernorm.weight", "transformer.encoder.layers."
        else:
            self.layers, self.kv = config["num_hidden_layers"], get("num_key_value_heads") or self.heads
            self.head_dim = get("head_dim") or self.hidden // self.heads
            self.vocab, self.ff, self.eps = config["vocab_size"], config["intermediate_size"], config["rms_norm_eps"]
            self.theta, self.rotary = get("rope_theta", 10000.0), self.head_dim
            self.embedding, self.head = "model.embed_tokens.weight", "lm_head.weight"
            self.norm, self.prefix = "model.norm.weight", "model.layers."
        self.tied = get("tie_word_embeddings", self.gemma)  # absent: true for Gemma 2, false for the others
        self.scale = (config["query_pre_attn_scalar"] if self.gemma else self.head_dim) ** -0.5
        self.windows = [self.window(i) for i in range(self.layers)]

    def window(self, layer):
        """The number of keys a query of the layer sees, itself included; None: all before it."""
        width = self.config.get("sliding_window")
        if self.kind == "mistral":
            return width
        if self.gemma:  # even layers slide, odd ones see everything
            return width if layer % 2 == 0 else None
        if self.config.get("use_sliding_window") and layer >= self.config.get("max_window_layers", 28):
            return width  # Qwen: off unless asked for, then from max_window_layers on
        return None

    def linears(self):
        """Linear maps of a layer, by name within it."""
        if self.glm:
            return ["self_attention.query_key_value", "self_attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"]
        qkv = ["W_pack"] if self.baichuan else ["q_proj", "k_proj", "v_proj"]
        return ["self_attn." + n for n in qkv + ["o_proj"]] + ["mlp." + n for n in ("gate_proj", "up_proj", "down_proj")]

    def norms(self):
        names = ["input_layernorm", "post_attention_layernorm"]
        if self.gemma:
            names += ["pre_feedforward_layernorm", "post_feedforward_layernorm"]
        if self.qwen3:
            names += ["self_attn.q_norm", "self_attn.k_norm"]
        return names

    def scored(self, layer):
        """Tensors that magnitude and Taylor scores sum over: linear and norm weights, no biases."""
        return [f"{self.prefix}{layer}.{n}.weight" for n in self.linears() + self.norms()]


# ---------------------------------------------------------------- the forward pass


def frequencies(m, dtype):
    """Rotary frequencies [rotary/2], with linear or Llama 3's scaling."""
    f = 1.0 / m.theta ** (torch.arange(0, m.rotary, 2).to(dtype) / m.rotary)
    scaling = m.config.get("rope_scaling")
    if not scaling:
        return f
    if scaling.get("rope_type", scaling.get("type")) == "linear":
        return f / scaling["factor"]
    # Llama 3: short wavelengths as they are, long ones divided, between them a straight line in n / wavelength.
    n, low, high = (scaling[k] for k in ("original_max_position_embeddings", "low_freq_factor", "high_freq_factor"))
    wavelength = 2 * math.pi / f
    t = (n / wavelength - low) / (high - low)
    between = (1 - t) * f / scaling["factor"] + t * f
    return torch.where(wavelength > n / low, f / scaling["factor"], torch.where(wavelength < n / high, f, between))


def rotate(m, x, cos, sin):
    """Turns queries or keys [B, heads, T, head_dim]; cos and sin are [T, rotary/2]."""
    if m.glm:  # neighbours are pairs
        x, rest = x[..., :m.rotary], x[..., m.rotary:]
        a, b = x[..., 0::2], x[..., 1::2]
        turned = torch.stack((a * cos - b * sin, b * cos + a * sin), -1).flatten(-2)
        return torch.cat((turned, rest), -1)
    a, b = x.chunk(2, -1)  # (j, j + head_dim/2) are pairs
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


def rms_norm(m, x, w):
    x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + m.eps)
    return x * (1.0 + w) if m.gemma else w * x


def soft_cap(x, cap):
    return torch.tanh(x / cap) * cap if cap else x


class Pass:
    """One forward pass: weights W by checkpoint name, perhaps with LoRA adapters {name: (A, B)} of a scale."""

    def __init__(self, m, W, ids, mask=None, adapters=None, scale=0.0, windows=None):
        self.m, self.W, self.adapters, self.scale = m, W, adapters or {}, scale
        self.windows = windows or m.windows
        tokens, dtype = ids.shape[1], W[m.embedding].dtype
        position = torch.arange(tokens)
        angles = position.to(dtype)[:, None] * frequencies(m, dtype)[None, :]
        self.cos, self.sin = angles.cos(), angles.sin()
        self.distance = position[:, None] - position[None, :]  # of a key before its query
        self.seen = torch.ones(1, 1, 1, tokens, dtype=torch.bool) if mask is None else mask.bool()[:, None, None, :]
        x = W[m.embedding][ids]
        if m.gemma:
            x = x * torch.tensor(m.hidden ** 0.5, dtype=dtype)  # the factor is rounded to the dtype
        self.hidden = [x]  # L+1 times [B, T, hidden]: after the embedding, after each layer
        for i in range(m.layers):
            x = self.block(i, x)
            self.hidden.append(x)
        self.final = rms_norm(m, x, W[m.norm])
        head = W[m.embedding] if m.tied else W[m.head]
        if m.baichuan:
            head = F.normalize(head)  # each row to length 1
        cap = m.config.get("final_logit_softcapping") if m.gemma else None
        self.logits = soft_cap(F.linear(self.final, head), cap)

    def linear(self, name, x):
        y = F.linear(x, self.W[name + ".weight"], self.W.get(name + ".bias"))
        if name in self.adapters:
            A, B = self.adapters[name]
            y = y + self.scale * F.linear(F.linear(x, A), B)
        return y

    def block(self, i, x):
        m, at = self.m, f"{self.m.prefix}{i}."
        norm = lambda name, x: rms_norm(m, x, self.W[f"{at}{name}.weight"])
        if m.gemma:  # a norm before and one after each half
            x = x + norm("post_attention_layernorm", self.attention(i, norm("input_layernorm", x)))
            return x + norm("post_feedforward_layernorm", self.feed_forward(at, norm("pre_feedforward_layernorm", x)))
        normed = norm("input_layernorm", x)
        after = m.glm and m.config.get("apply_residual_connection_post_layernorm", False)
        x = (normed if after else x) + self.attention(i, normed)
        normed = norm("post_attention_layernorm", x)
        return (normed if after else x) + self.feed_forward(at, normed)

    def attention(self, i, x):
        m, at = self.m, f"{self.m.prefix}{i}.self_attn."
        if m.glm:
            at = f"{self.m.prefix}{i}.self_attention."
            widths = [m.heads * m.head_dim, m.kv * m.head_dim, m.kv * m.head_dim]
            parts = self.linear(at + "query_key_value", x).split(widths, -1)
        elif m.baichuan:
            parts = self.linear(at + "W_pack", x).chunk(3, -1)
        else:
            parts = [self.linear(at + n, x) for n in ("q_proj", "k_proj", "v_proj")]
        q, k, v = (p.unflatten(-1, (-1, m.head_dim)) for p in parts)
        if m.qwen3:  # over each head, before it turns
            q, k = rms_norm(m, q, self.W[at + "q_norm.weight"]), rms_norm(m, k, self.W[at + "k_norm.weight"])
        q, k, v = (p.transpose(1, 2) for p in (q, k, v))
        q, k = rotate(m, q, self.cos, self.sin), rotate(m, k, self.cos, self.sin)
        k, v = (p.repeat_interleave(m.heads // m.kv, 1) for p in (k, v))  # a KV head serves neighbouring query heads
        scores = q @ k.transpose(-1, -2) * m.scale
        scores = soft_cap(scores, m.config.get("attn_logit_softcapping") if m.gemma else None)
        allowed = (self.distance >= 0)[None, None] & self.seen
        if self.windows[i] is not None:
            allowed = allowed & (self.distance < self.windows[i])
        scores = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min)
        y = (scores.softmax(-1) @ v).transpose(1, 2).flatten(-2)
        return self.linear(at + ("dense" if m.glm else "o_proj"), y)

    def feed_forward(self, at, x):
        if self.m.glm:
            gate, up = self.linear(at + "mlp.dense_h_to_4h", x).chunk(2, -1)
            return self.linear(at + "mlp.dense_4h_to_h", F.silu(gate) * up)
        gate, up = self.linear(at + "mlp.gate_proj", x), self.linear(at + "mlp.up_proj", x)
        gate = F.gelu(gate, approximate="tanh") if self.m.gemma else F.silu(gate)
        return self.linear(at + "mlp.down_proj", gate * up)


def cross_entropy(logits, labels):
    """Mean over the labels that are not -100; position t predicts label t+1."""
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
