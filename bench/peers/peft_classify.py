"""Fine-tunes an encoder for classification with PyTorch + PEFT: the counterpart of
`deltafit train --task classification`.

Reads a local model folder in Hugging Face layout and files with the columns `sentence` and `label` (.tsv:
tab-separated without quoting; .csv: quoted with commas). Downloads nothing.

What is done, so that the other side can do the same:
* one AdamW group (betas 0.9 and 0.999, eps 1e-8) over everything that trains, biases and norms included;
* each epoch takes the examples in the order `torch.randperm` draws from one generator seeded with --seed;
  the last, smaller batch is kept; a batch is padded on the right to its own longest row;
* the loss of a batch is the mean over its examples, and gradients are clipped by their global norm;
* the rate of update i (from 0) is i / warm-up of the peak during warm-up, then falls to 0 at the last update;
* the head is new, also where the folder has one: it starts with normal(0, initializer_range) weights from --head-seed, in the order of the module's
  parameters, and zero biases; LoRA's A starts as PEFT draws it after torch.manual_seed(--seed).

Prints one JSON object: `evaluations` (`[{step, metrics: {accuracy, loss}}]`), `losses` (one a step), `steps`,
`seconds` (training and evaluating, without imports and loading), `trainableParameters`, `totalParameters`,
`peakMemoryBytes`, `labels`, `versions`.
"""

import argparse
import csv
import json
import os
import platform
import sys
import time
from pathlib import Path

from peft_step import positive, resident_peak_bytes

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, type=Path, help="a folder in Hugging Face layout")
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--eval-data", required=True, type=Path)
    parser.add_argument("--no-header", action="store_true", help="the files start with an example")
    parser.add_argument("--peft-config", type=json.loads, help="fields of a configuration of PEFT, with peft_type, as JSON; default: LoRA")
    parser.add_argument("--rank", type=positive, default=8)
    parser.add_argument("--alpha", type=float, default=16)
    parser.add_argument("--dropout", type=float, default=0.0, help="on the input of LoRA's A")
    parser.add_argument("--model-dropout", type=float, help="overrides every dropout of the config")
    parser.add_argument("--targets", default="query,value")
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--epochs", type=positive, default=3)
    parser.add_argument("--steps", type=positive, help="stop after so many updates; the schedule ends there too")
    parser.add_argument("--batch-size", type=positive, default=32)
    parser.add_argument("--eval-batch-size", type=positive, default=64)
    parser.add_argument("--sequence-length", type=positive, default=128, help="longer rows are cut")
    parser.add_argument("--schedule", choices=["linear", "cosine", "constant"], default="linear")
    parser.add_argument("--warmup", type=float, default=0.06, help="below 1: share of all updates; else updates")
    parser.add_argument("--weight-decay", type=float, default=0.01)
    parser.add_argument("--clip", type=float, default=1.0, help="global gradient norm; 0 switches clipping off")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--head-seed", type=int, default=0)
    parser.add_argument("--threads", type=positive)
    parser.add_argument("--initial-out", type=Path, help="write the adapter before the first update")
    parser.add_argument("--out", type=Path, help="write the adapter after the last update")
    return parser.parse_args()


def fail(message, hint):
    print(f"error: {message}\nhint: {hint}", file=sys.stderr)
    sys.exit(2)


def read_examples(path, has_header):
    """The sentences and the label strings of a file."""
    if path.suffix not in (".tsv", ".csv"):
        fail(f"{path} ends in '{path.suffix}'.", "Expected .tsv or .csv.")
    form = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if path.suffix == ".tsv" else {}
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, **form))
    header = rows.pop(0) if has_header and rows else ["sentence", "label"]
    if not {"sentence", "label"} <= set(header):
        fail(f"{path}, line 1: expected the columns 'sentence' and 'label', found {header}.",
             "Add that line, or use --no-header if the file starts with an example.")  # fmt: skip
    if not rows:
        fail(f"{path} holds no examples.", "Give a file with at least one line after the header.")
    sentence, label = header.index("sentence"), header.index("label")
    for number, row in enumerate(rows, 2 if has_header else 1):
        if len(row) != len(header):
            fail(f"{path}, line {number}: expected {len(header)} columns, found {len(row)}.", "Mend that line.")
    return [row[sentence] for row in rows], [row[label] for row in rows]


def label_ids(train_labels, evaluation_labels):
    """Class names in order: by value where all are whole numbers, else alphabetically."""
    names = set(train_labels)
    unknown = set(evaluation_labels) - names
    if unknown:
        fail(f"The evaluation data has labels the training data lacks: {sorted(unknown)}.", "Use matching files.")
    whole = all(name.isdecimal() for name in names)
    return {name: index for index, name in enumerate(sorted(names, key=int if whole else str))}


def build_model(arguments, label_count):
    import peft
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    from peft_step import DROPOUT_KEYS

    config = AutoConfig.from_pretrained(arguments.model, num_labels=label_count)
    if arguments.model_dropout is not None:
        for key in DROPOUT_KEYS:
            if getattr(config, key, None) is not None:
                setattr(config, key, arguments.model_dropout)
    base, loading = AutoModelForSequenceClassification.from_pretrained(
        arguments.model, config=config, dtype=torch.float32, output_loading_info=True
    )
    head_name = next(name for name in ("classifier", "score") if hasattr(base, name))
    missing = sorted(key for key in loading["missing_keys"] if not key.startswith(f"{head_name}."))
    if missing:
        # transformers would draw them at random, and no other program could start from the same numbers.
        fail(f"{arguments.model} lacks tensors outside the head: {', '.join(missing)}.", "Use a whole encoder.")
    head = getattr(base, head_name)
    initialise_head(head, config.initializer_range, arguments.head_seed)
    fields = arguments.peft_config or {
        "peft_type": "LORA",
        "r": arguments.rank,
        "lora_alpha": arguments.alpha,
        "lora_dropout": arguments.dropout,
        "target_modules": arguments.targets.split(","),
    }
    kind = peft.PEFT_TYPE_TO_CONFIG_MAPPING[peft.PeftType(fields["peft_type"])]
    settings = kind(task_type="SEQ_CLS", **{name: value for name, value in fields.items() if name != "peft_type"})
    torch.manual_seed(arguments.seed)
    return peft.get_peft_model(base, settings)


def initialise_head(head, deviation, seed):
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in head.parameters():
            if parameter.ndim == 1:
                parameter.zero_()
            else:
                parameter.copy_(torch.empty_like(parameter).normal_(0, deviation, generator=generator))


def schedule(optimiser, name, warmup, steps):
    import transformers

    updates = round(warmup * steps) if warmup < 1 else int(warmup)
    if name == "constant":
        return transformers.get_constant_schedule_with_warmup(optimiser, updates)
    make = {
        "linear": transformers.get_linear_schedule_with_warmup,
        "cosine": transformers.get_cosine_schedule_with_warmup,
    }[name]
    return make(optimiser, updates, steps)


def update(model, batch, optimiser, rate, clip, step):
    """One update; returns the loss before it."""
    import torch

    loss = model(**batch).loss
    loss.backward()
    if clip > 0:
        torch.nn.utils.clip_grad_norm_([one for group in optimiser.param_groups for one in group["params"]], clip)
    optimiser.step()
    rate.step()
    if hasattr(model.base_model, "update_and_allocate"):
        # AdaLoRA: chooses ranks by the gradients, which are still there.
        model.base_model.update_and_allocate(step)
    optimiser.zero_grad(set_to_none=True)
    return loss.item()


def padded(tokenizer, rows, labels):
    import torch

    batch = tokenizer.pad(rows, padding=True, return_tensors="pt")
    batch["labels"] = torch.tensor(labels)
    return batch


def evaluate(model, tokenizer, rows, labels, batch_size):
    import torch

    model.eval()
    right, loss_sum = 0, 0.0
    with torch.inference_mode():
        for start in range(0, len(rows), batch_size):
            batch = padded(tokenizer, rows[start : start + batch_size], labels[start : start + batch_size])
            logits = model(**{name: value for name, value in batch.items() if name != "labels"}).logits
            loss_sum += torch.nn.functional.cross_entropy(logits, batch["labels"], reduction="sum").item()
            right += (logits.argmax(-1) == batch["labels"]).sum().item()
    model.train()
    return {"accuracy": right / len(rows), "loss": loss_sum / len(rows)}


def batches(count, batch_size, seed):
    """Index lists for ever, with a flag that tells the last one of an epoch."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(count, generator=generator).tolist()
        for start in range(0, count, batch_size):
            yield order[start : start + batch_size], start + batch_size >= count


def train(arguments, model, tokenizer, data, evaluation):
    """Runs all updates; returns the losses and the evaluations."""
    import torch

    rows, labels = data
    steps = arguments.steps or arguments.epochs * -(-len(rows) // arguments.batch_size)
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trainable, lr=arguments.learning_rate, weight_decay=arguments.weight_decay)
    rate = schedule(optimiser, arguments.schedule, arguments.warmup, steps)
    losses, evaluations = [], []
    model.train()
    for indices, epoch_ends in batches(len(rows), arguments.batch_size, arguments.seed):
        batch = padded(tokenizer, [rows[i] for i in indices], [labels[i] for i in indices])
        losses.append(update(model, batch, optimiser, rate, arguments.clip, len(losses)))
        if epoch_ends or len(losses) == steps:
            metrics = evaluate(model, tokenizer, *evaluation, arguments.eval_batch_size)
            evaluations.append({"step": len(losses), "metrics": metrics})
            print(f"step {len(losses)}/{steps} loss {losses[-1]:.4f} evaluation {metrics}", file=sys.stderr)
        if len(losses) == steps:
            return losses, evaluations


def main():
    arguments = read_arguments()
    import peft
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)

    sentences, names = read_examples(arguments.data, not arguments.no_header)
    evaluation_sentences, evaluation_names = read_examples(arguments.eval_data, not arguments.no_header)
    ids = label_ids(names, evaluation_names)
    tokenizer = transformers.AutoTokenizer.from_pretrained(arguments.model)

    def tokenised(texts):
        columns = tokenizer(texts, truncation=True, max_length=arguments.sequence_length)
        return [{name: column[i] for name, column in columns.items()} for i in range(len(texts))]

    model = build_model(arguments, len(ids))
    if arguments.initial_out is not None:
        model.save_pretrained(arguments.initial_out)
    data = tokenised(sentences), [ids[name] for name in names]
    evaluation = tokenised(evaluation_sentences), [ids[name] for name in evaluation_names]

    started = time.perf_counter()
    losses, evaluations = train(arguments, model, tokenizer, data, evaluation)
    seconds = time.perf_counter() - started
    if arguments.out is not None:
        model.save_pretrained(arguments.out)
    trainable, total = model.get_nb_trainable_parameters()
    result = {
        "evaluations": evaluations,
        "losses": losses,
        "steps": len(losses),
        "seconds": seconds,
        "trainableParameters": trainable,
        "totalParameters": total,
        "peakMemoryBytes": resident_peak_bytes(),
        "labels": list(ids),
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
