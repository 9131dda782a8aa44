"""Trains PyTorch + PEFT on given batches of examples, timed: the loop that peft's own examples show.

A model of the shape in a config.json gets random weights, LoRA is put on it by peft, and every batch of the file is
padded on the right to its longest example and makes one update: forward, backward, clipping to 1, AdamW.

The file of --batches is JSON: {"batches": [[{"inputIds": [...], "labels": [...]}, ...], ...]}; labels are at the
positions of their tokens, -100 where nothing is trained on. The first batch warms up and is not timed.

Prints one JSON object: `stepMilliseconds` (of the timed batches), `processorMilliseconds` (of all threads, in all
timed batches), `losses` and `supervisedTokens` (of all), `padding`
(share of the positions), `peakMemoryBytes`, `trainableParameters`, `versions`.
"""

import argparse
import json
import platform
import time

from peft_step import build_model, positive, read_config, resident_peak_bytes


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, help="a Hugging Face config.json")
    parser.add_argument("--batches", required=True, help="a JSON file of batches")
    parser.add_argument("--rank", type=positive, default=8)
    parser.add_argument("--targets", default="q_proj,v_proj", help="module names, separated by commas")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32", help="of the frozen base")
    parser.add_argument("--threads", type=positive, help="default: torch's own choice")
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--seed", type=int, default=0, help="of the weights")
    arguments = parser.parse_args()
    arguments.task, arguments.alpha, arguments.gradient_checkpointing = "causal-lm", None, False
    return arguments


def padded(examples):
    import torch

    longest = max(len(example["inputIds"]) for example in examples)

    def rows(name, padding):
        return torch.tensor([example[name] + [padding] * (longest - len(example[name])) for example in examples])

    lengths = torch.tensor([[len(example["inputIds"])] for example in examples])
    mask = (torch.arange(longest)[None, :] < lengths).long()
    return {"input_ids": rows("inputIds", 0), "attention_mask": mask, "labels": rows("labels", -100)}


def main():
    arguments = read_arguments()
    import peft
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    with open(arguments.batches, encoding="utf-8") as file:
        batches = json.load(file)["batches"]
    model = build_model(arguments, read_config(arguments.config, keep_dropout=False))
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trainable, lr=arguments.learning_rate)

    losses, milliseconds, positions, tokens, supervised = [], [], 0, 0, 0
    processor_started = 0.0
    for examples in batches:
        if len(losses) == 1:
            processor_started = time.process_time()
        started = time.perf_counter()
        batch = padded(examples)
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trainable, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        losses.append(loss.item())
        milliseconds.append((time.perf_counter() - started) * 1000)
        positions += batch["input_ids"].numel()
        tokens += int(batch["attention_mask"].sum())
        supervised += int((batch["labels"] != -100).sum())
    result = {
        "stepMilliseconds": milliseconds[1:],
        "processorMilliseconds": (time.process_time() - processor_started) * 1000,
        "losses": losses,
        "supervisedTokens": supervised,
        "padding": 1 - tokens / positions,
        "peakMemoryBytes": resident_peak_bytes(),
        "trainableParameters": sum(parameter.numel() for parameter in trainable),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "peft": peft.__version__,
        },
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
