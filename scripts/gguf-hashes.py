#!/usr/bin/env python3
"""Hashes of what llama.cpp's own converter makes of checkpoints.

    scripts/gguf-hashes.py LLAMA_CPP_SOURCE NAME=DIR... > export/testdata/converter.json

Runs convert_hf_to_gguf.py of a llama.cpp checkout, unmodified, on every DIR in every
type, and prints for each kind of tensor (its name without the layer's number) the
SHA-256 of type, shape and bytes of all of that kind, in the file's order, and of the
keys those of the model, which are the same for every type. Needs PyTorch and
sentencepiece, Debian's are enough: transformers, which the converter imports, need not
be there. Vocabularies are left out, for most of them need it; a Gemma 3 wants any
tokenizer.model in its directory.
"""
import hashlib, json, re, runpy, sys, tempfile, types


def stand_in(source):
    """What the converter imports, as far as it uses it, and nothing of vocabularies."""
    import torch
    for name in ("transformers", "tqdm"):
        try:
            __import__(name)
        except ImportError:
            sys.modules[name] = types.ModuleType(name)
    if not hasattr(sys.modules["transformers"], "AutoConfig"):
        class AutoConfig:
            @staticmethod
            def from_pretrained(*a, **k):
                raise RuntimeError("no transformers: config.json is read instead")
        sys.modules["transformers"].AutoConfig = AutoConfig
    if not hasattr(sys.modules["tqdm"], "tqdm"):
        class Bar:
            def __init__(self, *a, **k): pass
            def update(self, *a): pass
        sys.modules["tqdm"].tqdm = Bar
    for name in ("float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu", "uint16", "uint32", "uint64"):
        if not hasattr(torch, name):
            setattr(torch, name, name)
    sys.path[:0] = [source, source + "/gguf-py"]
    from conversion.base import TextModel
    prepare = TextModel.prepare_metadata

    def without_vocabulary(self, *args, **kwargs):
        self.set_vocab = lambda: self.gguf_writer.add_tokenizer_model("none")
        getattr(self, "impl", self).set_vocab = self.set_vocab
        prepare(self, *args, **kwargs)
    TextModel.prepare_metadata = without_vocabulary


def convert(source, *args):
    sys.argv = ["convert_hf_to_gguf.py", *args]
    try:
        runpy.run_path(source + "/convert_hf_to_gguf.py", run_name="__main__")
    except SystemExit as e:
        if e.code:
            raise


def hashes(path):
    import gguf
    kinds, reader = {}, gguf.GGUFReader(path)
    architecture = reader.fields["general.architecture"].contents()
    keys = {k.removeprefix(architecture + "."): f.contents() for k, f in reader.fields.items() if k.startswith(architecture + ".")}
    for t in reader.tensors:
        kind = re.sub(r"^blk\.\d+\.", "blk.", t.name)
        shape = "x".join(str(n) for n in reversed(t.shape.tolist()))
        kinds.setdefault(kind, hashlib.sha256()).update(f"{t.tensor_type.name} {shape}\n".encode() + t.data.tobytes())
    return {k: h.hexdigest()[:32] for k, h in kinds.items()}, {"general.architecture": architecture, **keys}


def main():
    source, out = sys.argv[1], {}
    pairs = [p.split("=", 1) for p in sys.argv[2:]]
    stand_in(source)
    for name, directory in pairs:
        of = out[name] = {}
        for kind in ("f32", "f16", "bf16", "q8_0"):
            with tempfile.NamedTemporaryFile(suffix=".gguf") as f:
                convert(source, directory, "--outtype", kind, "--outfile", f.name)
                of[kind], of["keys"] = hashes(f.name)
    print(json.dumps(out, indent=1, sort_keys=True))


if __name__ == "__main__":
    main()
