"""Loads adapter folders in PEFT and writes the logits they give.

    read_adapter.py --base DIR --adapter DIR --task causal-lm --inputs inputs.json --out logits.safetensors
    read_adapter.py --jobs jobs.json

The file written holds `logits` (with the adapter) and `base_logits` (without), float32. PEFT itself only warns
about tensors it cannot place or does not find, so this checks that what the model holds after loading what
the file holds: the same names, shapes and values. Ends with status 1 and the differences otherwise.
"""

import argparse
import sys
from pathlib import Path

import peft
import torch
from bases import AUTO_CLASSES, load_base, logits_of, read_batch, read_jobs
from peft.utils.transformers_weight_conversion import convert_peft_adapter_state_dict_for_transformers
from safetensors.torch import load_file, save_file

# Loading copies, so values are equal; only VB-LoRA's top-k weights are a softmax that is stored and computed anew.
ROUNDING = 1e-6


def differences(model, file_tensors):
    """What the loaded adapter has otherwise than the file, as lines."""
    held = peft.get_peft_model_state_dict(model, save_embedding_layers=False)
    # A frozen matrix that PEFT puts into the file beside an adapted embedding belongs to the base.
    parameters = dict(model.named_parameters())
    lines = []
    for name in sorted(file_tensors.keys() | held.keys()):
        of_model = held.get(name, parameters.get(name))
        of_file = file_tensors.get(name)
        if of_model is None:
            lines.append(f"{name}: in the file, not in the model")
        elif of_file is None:
            lines.append(f"{name}: in the model, not in the file")
        elif of_model.shape != of_file.shape:
            lines.append(f"{name}: model {list(of_model.shape)}, file {list(of_file.shape)}")
        elif not torch.allclose(of_model.float(), of_file.float(), rtol=0, atol=ROUNDING):
            lines.append(f"{name}: other values in the model than in the file")
    return lines


def run(job):
    base = load_base(job["base"], job["task"])
    batch = read_batch(job["inputs"], job["batch"])
    with torch.inference_mode():
        base_logits = logits_of(base(**batch))
    model = peft.PeftModel.from_pretrained(base, job["adapter"]).eval()
    tensors = load_file(Path(job["adapter"]) / "adapter_model.safetensors")
    # Experts of a checkpoint are modules of their own, where transformers 5 has fused tensors.
    tensors = convert_peft_adapter_state_dict_for_transformers(model, model.active_peft_config, tensors)
    lines = differences(model, tensors)
    if lines:
        return lines
    with torch.inference_mode():
        logits = logits_of(model(**batch))
    out = Path(job["out"])
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file({"logits": logits.float().contiguous(), "base_logits": base_logits.float().contiguous()}, out)
    return []


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base")
    parser.add_argument("--adapter")
    parser.add_argument("--task", choices=sorted(AUTO_CLASSES))
    parser.add_argument("--inputs", help="an inputs.json: named batches of nested lists")
    parser.add_argument("--batch", default="forward", help="the batch's name in it")
    parser.add_argument("--out")
    parser.add_argument("--jobs", help="a JSON list of objects with these flags' names")
    failed = False
    for job in read_jobs(parser, ["base", "adapter", "task", "inputs", "out"]):
        try:
            lines = run(job)
        except Exception as error:  # the other jobs still run, and the status says that one failed
            lines = [f"{type(error).__name__}: {error}"]
        failed = failed or bool(lines)
        for line in lines:
            print(f"error: {job['adapter']}: {line}", file=sys.stderr)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
