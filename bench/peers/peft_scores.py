"""Trains PyTorch + PEFT with one method after the other on the same given batches, and evaluates each: the counterpart
of the `deltafit train` runs of `bench/method-scores.ts`.

The file of --settings is JSON: `model` (a folder in Hugging Face layout), `task` (`classification` or `causal-lm`),
`labelCount`, `padTokenId`, `threads` (or null), `seed`, `warmup` (share of the updates), `weightDecay`, `clip`, and
    batches      one list of examples an update: `{"inputIds": [...], "label": 1}`, or `"labels"` at the positions of
                 their tokens with -100 where nothing is trained on
    evaluation   lists of the same kind
    runs         `{"name", "learningRate", "configuration", "loraPlusRatio"?, "initial"?}`; the configuration is that
                 of PEFT with `peft_type`; `initial` is a folder for the adapter before the first update

A batch is padded on the right to its longest row, the model keeps its configured dropout, and optimiser, clipping and
schedule are those of peft_classify.py, its initial head too.

Prints one JSON object a line, one a run: `name`, `metrics` (`loss` a supervised token or sentence, `accuracy` of these),
`losses` (one a step), `trainableParameters`, `seconds`; or `name` and `error`.
"""

import argparse
import json
import time
from pathlib import Path

from peft_classify import initialise_head, schedule, update


def build_model(settings, run):
    import peft
    import torch
    import transformers

    classify = settings["task"] == "classification"
    auto = transformers.AutoModelForSequenceClassification if classify else transformers.AutoModelForCausalLM
    labels = {"num_labels": settings["labelCount"]} if classify else {}
    base = auto.from_pretrained(settings["model"], dtype=torch.float32, **labels)
    base.config.use_cache = False
    if classify:
        head = next(getattr(base, name) for name in ("classifier", "score") if hasattr(base, name))
        initialise_head(head, base.config.initializer_range, settings["seed"])
    fields = dict(run["configuration"])
    kind = peft.PEFT_TYPE_TO_CONFIG_MAPPING[peft.PeftType(fields.pop("peft_type"))]
    torch.manual_seed(settings["seed"])
    return peft.get_peft_model(base, kind(task_type="SEQ_CLS" if classify else "CAUSAL_LM", **fields))


def padded(examples, pad_token_id):
    import torch

    longest = max(len(example["inputIds"]) for example in examples)

    def rows(name, padding):
        return torch.tensor([example[name] + [padding] * (longest - len(example[name])) for example in examples])

    lengths = torch.tensor([[len(example["inputIds"])] for example in examples])
    mask = (torch.arange(longest)[None, :] < lengths).long()
    labels = rows("labels", -100) if "labels" in examples[0] else torch.tensor([one["label"] for one in examples])
    return {"input_ids": rows("inputIds", pad_token_id), "attention_mask": mask, "labels": labels}


def evaluate(model, settings):
    """The loss of the logits alone: a model's own loss holds what a method adds to it, AdaLoRA's orthogonality say."""
    import torch

    model.eval()
    count, right, loss_sum = 0, 0, 0.0
    with torch.inference_mode():
        for examples in settings["evaluation"]:
            batch = padded(examples, settings["padTokenId"])
            labels = batch.pop("labels")
            logits = model(**batch).logits
            if labels.ndim == 2:
                # Prompts put positions of their own before the batch's.
                logits, labels = logits[:, -labels.shape[1] :][:, :-1], labels[:, 1:]
            supervised = labels != -100
            logits, labels = logits[supervised], labels[supervised]
            count += len(labels)
            right += (logits.argmax(-1) == labels).sum().item()
            loss_sum += torch.nn.functional.cross_entropy(logits, labels, reduction="sum").item()
    model.train()
    return {"loss": loss_sum / count, "accuracy": right / count}


def make_optimiser(model, settings, run):
    import torch
    from peft.optimizers import create_loraplus_optimizer

    rate, decay = run["learningRate"], settings["weightDecay"]
    if "loraPlusRatio" not in run:
        trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
        return torch.optim.AdamW(trainable, lr=rate, weight_decay=decay)
    ratio = run["loraPlusRatio"]
    return create_loraplus_optimizer(
        model, torch.optim.AdamW, lr=rate, loraplus_lr_ratio=ratio, loraplus_weight_decay=decay
    )


def train(model, settings, run):
    """Runs all updates and returns their losses."""
    optimiser = make_optimiser(model, settings, run)
    rate = schedule(optimiser, "linear", settings["warmup"], len(settings["batches"]))
    losses = []
    model.train()
    for examples in settings["batches"]:
        batch = padded(examples, settings["padTokenId"])
        losses.append(update(model, batch, optimiser, rate, settings["clip"], len(losses)))
    return losses


def score(settings, run):
    started = time.perf_counter()
    model = build_model(settings, run)
    if "initial" in run:
        model.save_pretrained(run["initial"])
    losses = train(model, settings, run)
    return {
        "metrics": evaluate(model, settings),
        "losses": losses,
        "trainableParameters": model.get_nb_trainable_parameters()[0],
        "seconds": time.perf_counter() - started,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", required=True, type=Path)
    settings = json.loads(parser.parse_args().settings.read_text(encoding="utf-8"))
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    if settings["threads"] is not None:
        torch.set_num_threads(settings["threads"])
    for run in settings["runs"]:
        try:
            result = score(settings, run)
        except (ImportError, RuntimeError, TypeError, ValueError) as error:
            # One method that cannot be run is told of and does not end the others.
            result = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps({"name": run["name"], **result}), flush=True)


if __name__ == "__main__":
    main()
