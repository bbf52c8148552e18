"""Stands in for transformers when docs/reference.py is tested: scripts/forward.py computes."""
import os, sys
from types import SimpleNamespace

sys.path.insert(0, os.environ["SCRIPTS"])
import forward

__version__ = "stand-in"


class AutoTokenizer:
    @staticmethod
    def from_pretrained(name, **_):
        vocab = forward.Model(forward.read_checkpoint(name)[0]).vocab
        return lambda text: {"input_ids": [3 + b % (vocab - 6) for b in text.encode()][:25]}


class AutoModelForCausalLM:
    @staticmethod
    def from_pretrained(name, torch_dtype, **_):
        config, tensors = forward.read_checkpoint(name)
        model, weights = forward.Model(config), {k: v.to(torch_dtype) for k, v in tensors.items()}
        run = lambda input_ids: SimpleNamespace(logits=forward.Pass(model, weights, input_ids).logits)
        run.eval = lambda: run
        return run
