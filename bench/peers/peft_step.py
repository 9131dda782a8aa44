"""One training step of PyTorch + PEFT, timed: the counterpart of `deltafit bench step`.

A model of the shape in a config.json gets random weights, or those of a folder, LoRA is put on it by peft, and a step
(forward, backward, AdamW on the adapter) is repeated on one fixed random batch.

Prints one JSON object with the field names of `deltafit bench step`:

    tokensPerSecond         batch size x sequence length / median step
    stepMilliseconds        median, min and all of the timed steps; warm-up steps are not among them
    peakMemoryBytes         largest resident set of this process, imports included
    baselineMemoryBytes     the same right after the imports
    importMilliseconds      importing torch, transformers and peft
    startMilliseconds       making the model, the adapter, the optimiser and the batch
    warmUpMilliseconds      one number a warm-up step; the first holds the compilation with --compile
    losses                  one a step, warm-up steps first

Model dropout is off unless `--model-dropout` keeps the config's: both sides then do the same arithmetic.
Attention is transformers' default for the model (scaled_dot_product_attention wherever it has it).
"""

import argparse
import json
import os
import platform
import resource
import statistics
import sys
import time
from importlib import metadata

PROCESS_START = time.perf_counter()
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

DROPOUT_KEYS = {
    "attention_dropout", "attention_probs_dropout_prob", "attn_pdrop", "classifier_dropout", "dropout",
    "embd_pdrop", "embedding_dropout", "hidden_dropout", "hidden_dropout_prob", "mlp_dropout", "resid_pdrop",
    "seq_classif_dropout", "summary_first_dropout",
}  # fmt: skip

STORAGES = ["nf4", "nf4-double", "fp4", "fp4-double"]


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", help="a Hugging Face config.json")
    parser.add_argument("--model", help="a folder in Hugging Face layout whose weights are loaded, in place of --config")
    parser.add_argument("--task", choices=["causal-lm", "classification"], default="causal-lm")
    parser.add_argument("--rank", type=positive, default=8)
    parser.add_argument("--alpha", type=float, help="default: twice the rank")
    parser.add_argument("--targets", default="q_proj,v_proj", help="module names, separated by commas")
    parser.add_argument("--batch-size", type=positive, default=4)
    parser.add_argument("--sequence-length", type=positive, default=256)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32", help="of the frozen base")
    parser.add_argument(
        "--storage", choices=STORAGES, help="keep the layers' matrices in bitsandbytes' four bits, multiplied in --dtype"
    )
    parser.add_argument("--compile", action="store_true", help="torch.compile the model")
    parser.add_argument("--gradient-checkpointing", action="store_true")
    parser.add_argument("--model-dropout", action="store_true", help="keep the config's dropout")
    parser.add_argument("--repeat", type=positive, default=5, help="timed steps")
    parser.add_argument("--warm-up", type=positive, default=1, help="steps before the timed ones")
    parser.add_argument("--threads", type=positive, help="default: torch's own choice")
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--seed", type=int, default=0, help="of the weights and of the batch")
    arguments = parser.parse_args()
    if (arguments.config is None) == (arguments.model is None):
        parser.error("expected either --config or --model")
    return arguments


def positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, found {text}")
    return value


def resident_peak_bytes():
    # Linux counts ru_maxrss in KiB, macOS in bytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def read_config(path, keep_dropout):
    from transformers import AutoConfig

    with open(path, encoding="utf-8") as file:
        values = json.load(file)
    config = AutoConfig.for_model(values.pop("model_type"), **values)
    # On the object, not in the file's values: what the file leaves out is the class's default, often 0.1.
    if not keep_dropout:
        for key in DROPOUT_KEYS:
            if getattr(config, key, None) is not None:
                setattr(config, key, 0.0)
    config.use_cache = False
    return config


def build_model(arguments, config):
    import peft
    import torch
    import transformers

    classify = arguments.task == "classification"
    auto = transformers.AutoModelForSequenceClassification if classify else transformers.AutoModelForCausalLM
    torch.manual_seed(arguments.seed)
    dtype = getattr(torch, arguments.dtype)
    folder = getattr(arguments, "model", None)
    base = (
        auto.from_config(config, dtype=dtype)
        if folder is None
        else auto.from_pretrained(folder, config=config, dtype=dtype)
    )
    if arguments.gradient_checkpointing:
        base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if getattr(arguments, "storage", None) is not None:
        quantise(base, arguments.storage, dtype)
    settings = peft.LoraConfig(
        r=arguments.rank,
        lora_alpha=arguments.alpha if arguments.alpha is not None else 2 * arguments.rank,
        target_modules=arguments.targets.split(","),
        lora_dropout=0.0,
        task_type="SEQ_CLS" if classify else "CAUSAL_LM",
    )
    return peft.get_peft_model(base, settings).train()


def quantise(model, storage, dtype):
    """Puts bitsandbytes' layers in the place of all linear ones but the output and heads, as transformers does on loading."""
    import torch
    from bitsandbytes.nn import Linear4bit, Params4bit

    kind, _, double = storage.partition("-")
    settings = {"quant_type": kind, "compress_statistics": double == "double"}
    body = model.base_model
    found = [
        (module, name, child)
        for module in body.modules()
        for name, child in module.named_children()
        if isinstance(child, torch.nn.Linear)
    ]
    if not found:
        sys.exit(f"error: {type(model).__name__} has no torch.nn.Linear to keep as {storage}.")
    for module, name, child in found:
        layer = Linear4bit(
            child.in_features, child.out_features, bias=child.bias is not None, compute_dtype=dtype, **settings
        )
        layer.weight = Params4bit(child.weight.data, requires_grad=False, **settings)
        layer.bias = child.bias
        # Going to a device is what quantises.
        setattr(module, name, layer.to("cpu"))
    model.is_loaded_in_4bit = True


def make_batch(arguments, config):
    import torch

    generator = torch.Generator().manual_seed(arguments.seed)
    shape = (arguments.batch_size, arguments.sequence_length)
    # Ids 0 to 4 hold the special tokens of many models; a padding id inside a row would shift RoBERTa's positions.
    input_ids = torch.randint(5, config.vocab_size, shape, generator=generator)
    if arguments.task == "classification":
        labels = torch.randint(0, config.num_labels, shape[:1], generator=generator)
    else:
        labels = input_ids.clone()
    return {"input_ids": input_ids, "labels": labels}


def timed_step(model, optimiser, batch):
    started = time.perf_counter()
    loss = model(**batch).loss
    loss.backward()
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    value = loss.item()
    return (time.perf_counter() - started) * 1000, value


def main():
    arguments = read_arguments()
    import peft
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    imported = time.perf_counter()
    baseline_bytes = resident_peak_bytes()
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)

    path = arguments.config or os.path.join(arguments.model, "config.json")
    config = read_config(path, arguments.model_dropout)
    model = build_model(arguments, config)
    batch = make_batch(arguments, config)
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trainable, lr=arguments.learning_rate)
    stepped = torch.compile(model) if arguments.compile else model
    start_ms = (time.perf_counter() - imported) * 1000

    steps = [timed_step(stepped, optimiser, batch) for _ in range(arguments.warm_up + arguments.repeat)]
    timed = [milliseconds for milliseconds, _ in steps[arguments.warm_up :]]
    median = statistics.median(timed)
    tokens = arguments.batch_size * arguments.sequence_length
    result = {
        "tokensPerSecond": tokens / (median / 1000),
        "stepMilliseconds": {"median": median, "min": min(timed), "all": timed},
        "peakMemoryBytes": resident_peak_bytes(),
        "baselineMemoryBytes": baseline_bytes,
        "importMilliseconds": (imported - PROCESS_START) * 1000,
        "startMilliseconds": start_ms,
        "warmUpMilliseconds": [milliseconds for milliseconds, _ in steps[: arguments.warm_up]],
        "losses": [loss for _, loss in steps],
        "trainableParameters": sum(parameter.numel() for parameter in trainable),
        "totalParameters": sum(parameter.numel() for parameter in model.parameters()),
        "baseDtype": str(next(p for p in model.parameters() if not p.requires_grad).dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "peft": peft.__version__,
            **({} if arguments.storage is None else {"bitsandbytes": metadata.version("bitsandbytes")}),
        },
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
