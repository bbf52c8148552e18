"""Makes archive.bin, stream.bin and want.json with PyTorch: python3 make.py

One state dict in both formats that torch.save knows, and what a reader has to
find in it. Seen with PyTorch 1.13.
"""
import collections, json
import torch

DTYPES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.float64: "F64",
          torch.int64: "I64", torch.uint8: "U8", torch.bool: "BOOL", torch.complex64: "C64"}


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 2)
        self.linear.weight.data.copy_(torch.arange(6).view(2, 3))
        self.linear.bias.data.copy_(torch.tensor([0.5, -0.5]))
        self.register_buffer("inv_freq", torch.arange(4).float())


state = Model().state_dict()  # an OrderedDict with the attribute _metadata
base = torch.arange(24, dtype=torch.float32).view(4, 6)
state["base"] = base
state["shared"] = base
state["rows"] = base[1:3]  # an offset into the storage
state["columns"] = base[:, 2:5]  # rows with gaps
state["transposed"] = base.t()
state["permuted"] = torch.arange(24, dtype=torch.int64).view(2, 3, 4).permute(2, 0, 1)
state["parameter"] = torch.nn.Parameter(torch.full((2,), 1.5, dtype=torch.float16))
state["bfloat16"] = torch.tensor([1, -2, 3.5], dtype=torch.bfloat16)
state["double"] = torch.tensor([[1.25]], dtype=torch.float64)
state["bytes"] = torch.arange(5, dtype=torch.uint8)
state["bools"] = torch.tensor([True, False, True])
state["complex"] = torch.tensor([1 + 2j, 3 - 4j])
state["scalar"] = torch.tensor(7.0)
state["empty"] = torch.empty(0, 4)

torch.save(state, "archive.bin")
torch.save(state, "stream.bin", _use_new_zipfile_serialization=False)
want = collections.OrderedDict()
for name, t in state.items():
    raw = bytes(t.detach().contiguous().view(-1).view(torch.uint8).tolist()) if t.dim() and t.numel() and t.dtype not in (
        torch.bool, torch.complex64) else None
    if t.dtype == torch.complex64:
        raw = bytes(torch.view_as_real(t).contiguous().view(-1).view(torch.uint8).tolist())
    if t.dtype == torch.bool:
        raw = bytes(t.to(torch.uint8).tolist())
    if t.dim() == 0:
        raw = bytes(t.view(1).view(torch.uint8).tolist())
    want[name] = {"dtype": DTYPES[t.dtype], "shape": list(t.shape), "hex": (raw or b"").hex()}
json.dump(want, open("want.json", "w"), indent=1)
