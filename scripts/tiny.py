"""Configs and random weights of tiny checkpoints, and inputs for them: see goldens.py, which uses it."""
import math

import torch

from forward import LAYER_LISTS

TRANSFORMERS = {  # what most published files have
    "attention_bias": False, "attention_dropout": 0.0, "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu",
    "initializer_range": 0.02, "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
    "tie_word_embeddings": False, "torch_dtype": "bfloat16", "use_cache": True,
}


def decoder(kind, architecture, absent=(), **keys):
    """config.json in the style of transformers: sizes, what most have, without absent keys, with keys."""
    sizes = dict(hidden_size=32, intermediate_size=72, num_attention_heads=4, num_hidden_layers=6, num_key_value_heads=2, vocab_size=144)
    config = {"architectures": [architecture], "model_type": kind, **sizes, **TRANSFORMERS}
    return {**{k: v for k, v in config.items() if k not in absent}, **keys}


def tiny(kind, architecture, absent=(), **keys):
    """As decoder, smaller."""
    sizes = dict(hidden_size=16, intermediate_size=24, num_attention_heads=2, num_hidden_layers=4, num_key_value_heads=1, vocab_size=36)
    return decoder(kind, architecture, absent, **{**{k: v for k, v in sizes.items() if k not in absent}, **keys})


def configs():
    """What goldens are made of; a seed of `make` goes by the order."""
    return {**first_families(), **current_families(), **ropes()}


def first_families():
    """Each has the traps of its published config.json."""
    return {
        # Llama 3.1. The original length is small, so that each of the three ranges of its scaling has a frequency.
        "llama": decoder("llama", "LlamaForCausalLM", num_hidden_layers=8, rope_theta=20000.0, bos_token_id=142, eos_token_id=[143],
                         rope_scaling={"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                       "original_max_position_embeddings": 112, "rope_type": "llama3"}),
        "llama_tied": decoder("llama", "LlamaForCausalLM", tie_word_embeddings=True, rope_theta=100000, rope_scaling=None),
        # Vicuna 1.5: no rope_theta, float16, and files with rotary buffers.
        "vicuna": decoder("llama", "LlamaForCausalLM", absent=("rope_theta", "attention_bias", "attention_dropout"),
                          num_key_value_heads=4, torch_dtype="float16", pad_token_id=0, pretraining_tp=1, rope_scaling=None),
        # Qwen 2: a window that is switched off; biases; three shards.
        "qwen2": decoder("qwen2", "Qwen2ForCausalLM", absent=("attention_bias",), rms_norm_eps=1e-6, rope_theta=1000000.0,
                         sliding_window=16, max_window_layers=2, use_sliding_window=False),
        # Qwen 3: head_dim is not hidden / heads; norms of queries and keys; tied.
        "qwen3": decoder("qwen3", "Qwen3ForCausalLM", head_dim=12, rms_norm_eps=1e-6, rope_theta=1000000, rope_scaling=None,
                         sliding_window=None, max_window_layers=6, use_sliding_window=False, tie_word_embeddings=True),
        # Mistral 0.1: every layer has a window.
        "mistral": decoder("mistral", "MistralForCausalLM", absent=("attention_bias",), sliding_window=12),
        # Gemma 2: tied though no key says so, every second layer has a window, both soft caps, a width that is no square.
        "gemma2": decoder("gemma2", "Gemma2ForCausalLM", absent=("tie_word_embeddings",), hidden_size=40, head_dim=12,
                          hidden_act="gelu_pytorch_tanh", hidden_activation="gelu_pytorch_tanh", query_pre_attn_scalar=20,
                          attn_logit_softcapping=3.0, final_logit_softcapping=8.0, sliding_window=10, sliding_window_size=10,
                          cache_implementation="hybrid", rms_norm_eps=1e-6, pad_token_id=0, bos_token_id=2, eos_token_id=1),
        # Baichuan 2 7B: fused projections, a head of unit rows.
        "baichuan": decoder("baichuan", "BaichuanForCausalLM", absent=("rope_theta", "attention_bias", "attention_dropout", "num_key_value_heads"),
                            model_max_length=512, rms_norm_eps=1e-6, pad_token_id=0, tokenizer_class="BaichuanTokenizer",
                            auto_map={"AutoConfig": "configuration_baichuan.BaichuanConfig", "AutoModelForCausalLM": "modeling_baichuan.BaichuanForCausalLM"}),
        # ChatGLM 2: names of its own, fused projections with biases, half of each head turns, in neighbouring pairs.
        "chatglm2": {
            "architectures": ["ChatGLMModel"], "model_type": "chatglm", "add_bias_linear": False, "add_qkv_bias": True,
            "auto_map": {"AutoConfig": "configuration_chatglm.ChatGLMConfig", "AutoModel": "modeling_chatglm.ChatGLMForConditionalGeneration"},
            "apply_query_key_layer_scaling": True, "apply_residual_connection_post_layernorm": False, "attention_dropout": 0.0,
            "attention_softmax_in_fp32": True, "ffn_hidden_size": 72, "fp32_residual_connection": False, "hidden_dropout": 0.0,
            "hidden_size": 32, "kv_channels": 12, "layernorm_epsilon": 1e-5, "multi_query_attention": True, "multi_query_group_num": 2,
            "num_attention_heads": 4, "num_layers": 6, "original_rope": True, "padded_vocab_size": 144, "post_layer_norm": True,
            "rmsnorm": True, "seq_length": 512, "use_cache": True, "torch_dtype": "bfloat16", "tie_word_embeddings": False,
            "eos_token_id": 2, "pad_token_id": 0},
    }


SLIDING, FULL = "sliding_attention", "full_attention"


def current_families():
    """So have these. Windows, and the original lengths of scaled rotary embeddings, are shorter than 37 tokens."""
    return {
        # Gemma: embeddings that are multiplied, norms with 1 + w, "gelu" that means its tanh approximation.
        "gemma": tiny("gemma", "GemmaForCausalLM", absent=("tie_word_embeddings",), num_attention_heads=4, head_dim=6, hidden_act="gelu",
                      rms_norm_eps=1e-6, pad_token_id=0, bos_token_id=2, eos_token_id=1),
        # Gemma 3: every third layer sees everything, though no key says which; two rotary bases, the scaling one's alone.
        "gemma3_text": tiny("gemma3_text", "Gemma3ForCausalLM", absent=("tie_word_embeddings", "hidden_act"), num_attention_heads=4,
                            num_key_value_heads=2, head_dim=8, query_pre_attn_scalar=10, hidden_activation="gelu_pytorch_tanh",
                            sliding_window=8, sliding_window_pattern=3, rope_theta=100000, rope_local_base_freq=10000,
                            rope_scaling={"factor": 8.0, "rope_type": "linear"}, rms_norm_eps=1e-6, attn_logit_softcapping=None,
                            final_logit_softcapping=None, cache_implementation="hybrid"),
        # Phi-3 mini: fused projections, one window for all layers.
        "phi3": tiny("phi3", "Phi3ForCausalLM", num_key_value_heads=2, sliding_window=20, original_max_position_embeddings=512,
                     rope_scaling=None, resid_pdrop=0.0, embd_pdrop=0.0),
        # SmolLM3: every third layer rotates nothing, though no key says which.
        "smollm3": tiny("smollm3", "SmolLM3ForCausalLM", no_rope_layer_interval=3, tie_word_embeddings=True, rope_theta=50000.0,
                        rope_scaling=None, sliding_window=None, use_sliding_window=False, max_window_layers=28, mlp_bias=False),
        # OLMo 2: norms behind attention and feed-forward only, norms of queries and keys over all heads together.
        "olmo2": tiny("olmo2", "Olmo2ForCausalLM", num_attention_heads=2, num_key_value_heads=2, rms_norm_eps=1e-6, rope_scaling=None),
        # OLMo 3: windows, and a scaling that is the full layers' alone.
        "olmo3": tiny("olmo3", "Olmo3ForCausalLM", sliding_window=8, layer_types=[SLIDING, SLIDING, FULL, SLIDING], rope_theta=500.0,
                      rope_scaling={"rope_type": "yarn", "factor": 8.0, "attention_factor": 1.2, "beta_fast": 32.0, "beta_slow": 1.0,
                                    "original_max_position_embeddings": 32}),
        # Granite 3: four factors.
        "granite": tiny("granite", "GraniteForCausalLM", tie_word_embeddings=True, embedding_multiplier=3.0, attention_multiplier=0.2,
                        residual_multiplier=0.6, logits_scaling=2.0, rope_scaling=None, mlp_bias=False),
        # GLM-4-0414: four norms of other names, half of a head in neighbouring pairs, biases.
        "glm4_0414": tiny("glm4", "Glm4ForCausalLM", num_attention_heads=4, num_key_value_heads=2, head_dim=8, attention_bias=True,
                          partial_rotary_factor=0.5),
        # StableLM: norms with biases, a quarter of a head.
        "stablelm": tiny("stablelm", "StableLmForCausalLM", absent=("rms_norm_eps", "attention_bias"), hidden_size=32, layer_norm_eps=1e-5,
                         use_qkv_bias=True, partial_rotary_factor=0.25, qk_layernorm=False, use_parallel_residual=False, hidden_dropout=0.0),
        # Ministral: layers that slide and layers that do not.
        "ministral": tiny("ministral", "MinistralForCausalLM", num_attention_heads=4, num_key_value_heads=2, head_dim=8, sliding_window=8,
                          layer_types=[SLIDING, FULL, FULL, SLIDING]),
        # Nemotron, Minitron: norms with 1 + w and biases, relu² without a gate, half of a head.
        "nemotron": tiny("nemotron", "NemotronForCausalLM", absent=("rms_norm_eps",), norm_eps=1e-5, hidden_act="relu2", num_attention_heads=4,
                         num_key_value_heads=2, head_dim=8, partial_rotary_factor=0.5, mlp_bias=False),
        # Command R: parallel halves, norms without biases, neighbouring pairs, a factor of logits.
        "cohere": tiny("cohere", "CohereForCausalLM", absent=("rms_norm_eps", "tie_word_embeddings"), layer_norm_eps=1e-5, logit_scale=0.25,
                       rope_theta=500000.0, use_qk_norm=False),
        # OPT: learned positions, norms and biases everywhere, relu without a gate.
        "opt": tiny("opt", "OPTForCausalLM", absent=("rms_norm_eps", "rope_theta", "intermediate_size", "num_key_value_heads", "hidden_act",
                                                     "tie_word_embeddings", "attention_bias"),
                    ffn_dim=24, word_embed_proj_dim=16, max_position_embeddings=64, do_layer_norm_before=True, activation_function="relu",
                    dropout=0.1, layerdrop=0.0, prefix="</s>"),
    }


def ropes():
    """Kinds of rotary embeddings, and windows that known families may have."""
    return {
        # Factors by pair, others past the original length, which is 32.
        "phi3_longrope": tiny("phi3", "Phi3ForCausalLM", sliding_window=None, max_position_embeddings=128, original_max_position_embeddings=32,
                              rope_scaling={"type": "longrope", "short_factor": [1.0, 1.1, 1.25, 1.4], "long_factor": [1.0, 1.6, 2.7, 4.5]}),
        # Phi-4-mini: three quarters of a head, by the same; tied.
        "phi4mini_partial": tiny("phi3", "Phi3ForCausalLM", sliding_window=None, partial_rotary_factor=0.75, tie_word_embeddings=True,
                                 max_position_embeddings=64, original_max_position_embeddings=32,
                                 rope_scaling={"type": "longrope", "short_factor": [1.0, 1.05, 1.2], "long_factor": [1.0, 1.9, 3.6]}),
        # One pair of each range of its ramp.
        "llama_yarn": tiny("llama", "LlamaForCausalLM", rope_theta=500.0,
                           rope_scaling={"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}),
        "qwen3_yarn": tiny("qwen3", "Qwen3ForCausalLM", num_attention_heads=4, num_key_value_heads=2, head_dim=12, rms_norm_eps=1e-6,
                           tie_word_embeddings=True, sliding_window=None, use_sliding_window=False, max_window_layers=4,
                           rope_scaling={"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32, "attention_factor": 1.1}),
        # Past max_position_embeddings the base grows with the sequence.
        "llama_dynamic": tiny("llama", "LlamaForCausalLM", max_position_embeddings=32, rope_scaling={"type": "dynamic", "factor": 2.0}),
        # A window that is switched on, from a layer on.
        "qwen2_window": tiny("qwen2", "Qwen2ForCausalLM", absent=("attention_bias",), rms_norm_eps=1e-6, rope_theta=1000000.0,
                             sliding_window=8, max_window_layers=2, use_sliding_window=True),
    }


def trains_alike(name):
    """Whether goldens of it leave out fine-tuning: it has gradients, and differs from others in nothing that trains."""
    return name in ropes() or name in ("gemma", "smollm3", "olmo3", "glm4_0414", "stablelm", "ministral")


def shaped(config, shape):
    """The config with other sizes, for shape B: odd ones, and another share of KV heads."""
    if shape == "A":
        return config
    glm = config["model_type"] == "chatglm"
    sizes = dict(hidden_size=48, num_attention_heads=6, torch_dtype=config["torch_dtype"])
    if glm:
        return {**config, **sizes, "num_layers": 5, "multi_query_group_num": 2, "kv_channels": 16, "ffn_hidden_size": 100, "padded_vocab_size": 161}
    sizes.update(num_hidden_layers=5, vocab_size=161)
    sizes.update({k: 100 for k in ("intermediate_size", "ffn_dim") if k in config})
    sizes.update({k: (config[k] * 2)[:5] for k in LAYER_LISTS if k in config})
    if "word_embed_proj_dim" in config:
        sizes["word_embed_proj_dim"] = 48
    if config.get("num_key_value_heads", 4) != 4:
        sizes["num_key_value_heads"] = 3
    elif "num_key_value_heads" in config:
        sizes["num_key_value_heads"] = 6
    if "head_dim" in config:
        sizes["head_dim"] = 20
    if config["model_type"] == "qwen2":
        sizes["tie_word_embeddings"] = True
    return {**config, **sizes}


def random_weights(m, g):
    """Weights that keep activations of order one and layers of different importance."""
    normal = lambda *shape, std=1.0: torch.randn(*shape, generator=g) * std
    W = {m.embedding: normal(m.vocab, m.hidden, std=embedding_size(m))}
    if m.opt:
        W["model.decoder.embed_positions.weight"] = normal(m.config["max_position_embeddings"] + 2, m.hidden, std=0.3)
    for i in range(m.layers):
        at, gain = f"{m.prefix}{i}.", 0.35 + 1.1 * torch.rand(1, generator=g).item()
        for name in m.norms():
            W.update(random_norm(m, at + name, normal))
            if name in (m.around[1], m.around[3]):
                W[f"{at}{name}.weight"] += gain - 1
        for name in m.linears():
            rows, columns = shape_of(m, name)
            W[f"{at}{name}.weight"] = normal(rows, columns, std=1.3 / math.sqrt(columns) * (gain if name in (m.out, m.down) else 1))
            if m.opt or name in m.qkv and biased(m):
                W[f"{at}{name}.bias"] = normal(rows, std=0.5)
    W.update(random_norm(m, m.norm, normal))
    if m.baichuan:
        W[m.norm + ".weight"] *= 2.5
    if not m.tied:
        W[m.head] = normal(m.vocab, m.hidden, std=2 / math.sqrt(m.hidden))
    return W


def embedding_size(m):
    """The deviation of an embedding's entries."""
    if m.gemma:  # its rows are multiplied by sqrt(hidden)
        return 0.125 if m.hidden > 16 else 0.25
    return 0.32 if m.tied and "logit_scale" not in m.config else 0.8


def biased(m):
    """Whether queries, keys and values have biases."""
    return m.kind in ("qwen2", "chatglm") or m.config.get("use_qkv_bias", m.config.get("attention_bias", False))


def shape_of(m, name):
    """[rows, columns] of a linear map."""
    q, kv = m.heads * m.head_dim, m.kv * m.head_dim
    if name == m.out:
        return m.hidden, q
    if name == m.down:
        return m.hidden, m.ff
    if name in m.up:
        return m.ff if m.ungated or len(m.up) == 2 else 2 * m.ff, m.hidden
    return q + 2 * kv if len(m.qkv) == 1 else q if name == m.qkv[0] else kv, m.hidden


def random_norm(m, name, normal):
    """Weight, and bias if it has one, of a norm."""
    width = m.hidden
    if name.endswith(("q_norm", "k_norm")):
        heads = m.heads if name.endswith("q_norm") else m.kv
        width = m.head_dim * (heads if m.whole_norm else 1)
    out = {name + ".weight": normal(width, std=0.25) if m.one_plus else 1 + normal(width, std=0.2)}
    if m.layer_norm and m.kind != "cohere":
        out[name + ".bias"] = normal(width, std=0.3)
    return out


def random_inputs(m, g):
    """Token ids: whole sequences, calibration, a padded batch, batches to train on."""
    tokens = lambda *shape: torch.randint(3, m.vocab - 3, shape, generator=g)
    upto = lambda lo, hi: int(torch.randint(lo, hi, (1,), generator=g))
    batches = []
    for b in range(4):  # two rows of 24; the second, of odd batches also the first, has padding; -100 on it and on a prompt
        ids, mask = tokens(2, 24), torch.ones(2, 24, dtype=torch.int64)
        labels = ids.clone()
        for row in range(2):
            pad, prompt = (upto(3, 9) if row == 1 or b % 2 else 0), upto(2, 8)
            lo, hi = (pad, 24) if row == 0 else (0, 24 - pad)
            for t, value in (ids, 0), (mask, 0), (labels, -100):
                t[row, :lo], t[row, hi:] = value, value
            labels[row, :lo + prompt] = -100
        batches.append((ids, mask, labels))
    out = {"input_ids": tokens(2, 37), "calib_ids": tokens(6, 24)}
    out["pad_ids"], out["pad_mask"], out["pad_labels"] = batches[1]
    out.update({"ft." + n: torch.stack([b[i] for b in batches]) for i, n in enumerate(("ids", "mask", "labels"))})
    return out
