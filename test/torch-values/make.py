"""Records what PyTorch computes, forward and backward, for the layers that deltafit defines itself.

    python test/torch-values/make.py          writes gradients.fixture.json beside this file

Every case has inputs, the weights of a linear functional of the output ("functional"), the output, and the
gradient of sum(output * functional) with respect to each input in "wanted". All in float64.
"""

import json
import math
import pathlib

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
torch.manual_seed(20)
POINTS = [-5.0, -2.0, 0.0, 2.0, 5.0]
SMOOTH_POINTS = [-5.0, -2.0, -0.5, 0.5, 2.0, 5.0]
cases = []


def array(value):
    return {"shape": list(value.shape), "data": value.detach().flatten().tolist()}


def record(name, function, wanted, fixed=None, **attributes):
    fixed = fixed or {}
    leaves = {key: value.clone().requires_grad_() for key, value in wanted.items()}
    output = function(**leaves, **fixed)
    functional = torch.randn(output.shape)
    gradients = torch.autograd.grad((output * functional).sum(), list(leaves.values()))
    cases.append(
        {
            "name": name,
            **attributes,
            "inputs": {key: array(value) for key, value in {**wanted, **fixed}.items()},
            "functional": array(functional),
            "output": array(output),
            "gradients": {key: array(value) for key, value in zip(leaves, gradients)},
        }
    )


def points(smooth):
    return torch.cat([torch.tensor(POINTS if smooth else SMOOTH_POINTS), torch.randn(11) * 2])


def rotary(x, cosine, sine):
    first, second = x.chunk(2, dim=-1)
    cosine, sine = (torch.cat([table, table], dim=-1)[:, None] for table in (cosine, sine))
    return x * cosine + torch.cat([-second, first], dim=-1) * sine


record("gelu", lambda x: F.gelu(x), {"x": points(True)})
record("gelu-tanh", lambda x: F.gelu(x, approximate="tanh"), {"x": points(True)})
record("silu", lambda x: F.silu(x), {"x": points(True)})
record("tanh", lambda x: torch.tanh(x), {"x": points(True)})
record("sigmoid", lambda x: torch.sigmoid(x), {"x": points(True)})
record("erf", lambda x: torch.erf(x), {"x": points(True)})
record("relu", lambda x: F.relu(x), {"x": points(False)})
record("softmax", lambda x: F.softmax(x, dim=-1), {"x": torch.stack([torch.tensor(POINTS), torch.randn(5) * 3])})
record(
    "cross-entropy",
    lambda x, targets: F.cross_entropy(x, targets, reduction="none"),
    {"x": torch.stack([torch.tensor(POINTS), torch.randn(5) * 3, torch.randn(5) * 30])},
    {"targets": torch.tensor([4, 0, 2])},
)
record(
    "layer-norm",
    lambda x, scale, bias: F.layer_norm(x, (6,), scale, bias, eps=1e-5),
    {"x": torch.randn(2, 3, 6), "scale": torch.randn(6), "bias": torch.randn(6)},
    epsilon=1e-5,
)
record(
    "layer-norm-large-epsilon",
    lambda x, scale, bias: F.layer_norm(x, (4,), scale, bias, eps=0.1),
    {"x": torch.randn(3, 4) / 4 + 7, "scale": torch.randn(4), "bias": torch.randn(4)},
    epsilon=0.1,
)
record(
    "rms-norm",
    lambda x, scale: F.rms_norm(x, (6,), scale, eps=1e-6),
    {"x": torch.randn(2, 3, 6), "scale": torch.randn(6)},
    epsilon=1e-6,
)
record(
    "embedding",
    lambda table, indices: F.embedding(indices, table),
    {"table": torch.randn(5, 3)},
    {"indices": torch.tensor([[4, 1, 1], [0, 4, 4]])},
)
record("matmul", torch.matmul, {"input": torch.randn(2, 1, 3, 4), "other": torch.randn(2, 4, 3)})
record("linear", lambda x, weight: F.linear(x, weight), {"x": torch.randn(4, 3), "weight": torch.randn(2, 3)})
record(
    "addmm",
    lambda bias, x, weight: torch.addmm(bias, x, weight, beta=0.5, alpha=-2.0),
    {"bias": torch.randn(4), "x": torch.randn(2, 3), "weight": torch.randn(3, 4)},
    alpha=-2.0,
    beta=0.5,
)
angles = torch.arange(3.0)[None, :, None] * torch.tensor([1.0, 0.1, 0.01]) + torch.tensor([0.0, 5.0])[:, None, None]
record(
    "rotary",
    rotary,
    {"x": torch.randn(2, 2, 3, 6)},
    {"cosine": torch.cos(angles), "sine": torch.sin(angles)},
)
record(
    "attention",
    lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
    {"q": torch.randn(1, 2, 3, 4), "k": torch.randn(1, 2, 3, 4), "v": torch.randn(1, 2, 3, 4)},
)
assert all(math.isfinite(x) for case in cases for x in case["output"]["data"])

path = pathlib.Path(__file__).with_name("gradients.fixture.json")
lines = ",\n".join("    " + json.dumps(case) for case in cases)
path.write_text(f'{{\n  "torch": "{torch.__version__}",\n  "cases": [\n{lines}\n  ]\n}}\n')
