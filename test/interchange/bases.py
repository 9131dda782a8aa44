"""Loads base models and batches for the exchange of adapters with PEFT.

Everything in float32 with eager attention, dropout off, on one thread: the numbers deltafit is held against.
"""

import json
import os
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
import transformers

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
torch.set_num_threads(1)

AUTO_CLASSES = {
    "causal-lm": transformers.AutoModelForCausalLM,
    "masked-lm": transformers.AutoModelForMaskedLM,
    "classification": transformers.AutoModelForSequenceClassification,
    "regression": transformers.AutoModelForSequenceClassification,
    "multi-label-classification": transformers.AutoModelForSequenceClassification,
    "token-classification": transformers.AutoModelForTokenClassification,
    "question-answering": transformers.AutoModelForQuestionAnswering,
}

TARGETS = ("labels", "start_positions", "end_positions")

# PEFT has no task type for masked language models.
PEFT_TASKS = {
    "causal-lm": "CAUSAL_LM",
    "masked-lm": None,
    "classification": "SEQ_CLS",
    "regression": "SEQ_CLS",
    "multi-label-classification": "SEQ_CLS",
    "token-classification": "TOKEN_CLS",
    "question-answering": "QUESTION_ANS",
}


def load_base(folder, task):
    """The model of a folder in Hugging Face layout; every tensor must come from the folder."""
    model, loading = AUTO_CLASSES[task].from_pretrained(
        folder, attn_implementation="eager", dtype=torch.float32, output_loading_info=True
    )
    if loading["missing_keys"]:
        sys.exit(f"error: {folder} lacks tensors of {type(model).__name__}: {sorted(loading['missing_keys'])}")
    return model.eval()


def read_batch(path, name):
    """The model inputs of a named batch in an inputs.json, without what is to be predicted."""
    with open(path, encoding="utf-8") as file:
        batch = json.load(file)[name]
    return {key: torch.tensor(rows) for key, rows in batch.items() if key not in TARGETS}


def logits_of(outputs):
    """The logits; those of an answer's start and end side by side, as the last axis."""
    if "start_logits" in outputs:
        return torch.stack([outputs.start_logits, outputs.end_logits], -1)
    return outputs.logits


def read_jobs(parser, required):
    """Jobs from `--jobs FILE` (a list of objects with the flags' names), or the one that the flags describe.

    Several jobs in one process save the seconds that each import of torch and transformers takes.
    """
    arguments = vars(parser.parse_args())
    path = arguments.pop("jobs")
    if path is None:
        jobs = [arguments]
    else:
        defaults = {name: value for name, value in arguments.items() if value is not None}
        with open(path, encoding="utf-8") as file:
            jobs = [{**dict.fromkeys(arguments), **defaults, **job} for job in json.load(file)]
    for job in jobs:
        unknown = job.keys() - arguments.keys()
        missing = [name for name in required if job[name] is None]
        if unknown or missing:
            parser.error(f"a job {job} has unknown fields {sorted(unknown)} and lacks {missing}")
    return jobs
