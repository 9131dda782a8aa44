"""Writes adapter folders with PEFT, with random non-zero weights, for deltafit to load.

    write_adapter.py --base DIR --task causal-lm --method LORA --settings '{"r": 4, "target_modules": ["q_proj"]}' --out DIR
    write_adapter.py --jobs jobs.json

`--method` is PEFT's peft_type. Every trainable parameter gets normal noise added to the value it starts with: an
adapter that starts as the identity (LoRA's B is zero) would prove nothing.
"""

import argparse
import json

import peft
import torch
from bases import AUTO_CLASSES, PEFT_TASKS, load_base, read_jobs


def run(job):
    settings = job["settings"] if isinstance(job["settings"], dict) else json.loads(job["settings"])
    config_class = peft.PEFT_TYPE_TO_CONFIG_MAPPING[job["method"]]
    torch.manual_seed(job["seed"])
    model = peft.get_peft_model(load_base(job["base"], job["task"]),
                                config_class(**{"task_type": PEFT_TASKS[job["task"]], **settings}))  # fmt: skip
    generator = torch.Generator().manual_seed(job["seed"])
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=job["deviation"])
    model.save_pretrained(job["out"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base")
    parser.add_argument("--task", choices=sorted(AUTO_CLASSES))
    parser.add_argument("--method", default="LORA", choices=sorted(kind.value for kind in peft.PEFT_TYPE_TO_CONFIG_MAPPING))
    parser.add_argument("--settings", help="arguments of the method's PEFT config class, as JSON")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--deviation", type=float, default=0.15, help="of the noise")
    parser.add_argument("--out")
    parser.add_argument("--jobs", help="a JSON list of objects with these flags' names")
    for job in read_jobs(parser, ["base", "task", "settings", "out"]):
        run(job)


if __name__ == "__main__":
    main()
