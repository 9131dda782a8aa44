#!/usr/bin/env python3
"""Write reference fixtures for deltafit from the real Python libraries (torch, transformers, peft).

    HF_HUB_OFFLINE=1 python generate.py --out DIR --seed S [--scale small] [--only SECTION[/NAME]]

Every model is a tiny random one; nothing is downloaded. `--seed` drives the weights and the inputs, and also turns
every `pick(a, b, ..)` below to its (seed mod n)-th option, so that another seed has other hidden sizes, ranks, alphas,
targets and sequence lengths. The layout of what is written is documented in README.md.
"""

import argparse
import copy
import json
import math
import os
import re
import shutil
import subprocess
import sys
import time
import traceback
import warnings
import zlib
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")
warnings.filterwarnings("ignore")

import torch
from safetensors.torch import load_file, save_file

torch.set_num_threads(1)

HERE = Path(__file__).resolve().parent
ADAPTERS_PYTHON = os.environ.get("ADAPTERS_PYTHON", "python")  # the AdapterHub `adapters` package pins an older transformers
E2E_METRICS = os.environ.get("E2E_METRICS", "e2e-metrics")  # checkout of tuetschek/e2e-metrics, its jars from the PyPI package pycocoevalcap

SEED = 0
SUMMARY = []  # one row per case: section, name, base-vs-adapter difference, reload difference, note


# ---------------------------------------------------------------------------------------------------------------------
# Small tools
# ---------------------------------------------------------------------------------------------------------------------


def pick(*options):
    """The option that belongs to this seed."""
    return options[SEED % len(options)]


def subseed(name):
    return zlib.crc32(f"{SEED}/{name}".encode())


def generator(name):
    return torch.Generator().manual_seed(subseed(name))


def finite(value):
    """NaN and infinity are not JSON: null instead."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    return [finite(v) for v in value] if isinstance(value, (list, tuple)) else value


def write_json(path, value):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(finite(value), indent=1, ensure_ascii=False, default=str, allow_nan=False)
    text = re.sub(r"\[\s+((?:-?[\d.e+-]+,?\s+)+)\]", lambda m: "[" + " ".join(m[1].split()) + "]", text)  # numbers in one line
    Path(path).write_text(text + "\n")


def write_tensors(path, tensors):
    """float tensors as float32, integers as int64, bytes as uint8; each with its own memory."""
    out = {}
    for name, t in tensors.items():
        t = torch.as_tensor(t).detach().cpu()
        if t.dtype == torch.uint8:
            pass
        elif t.is_floating_point():
            t = t.float()
        else:
            t = t.long()
        out[name] = t.clone().contiguous()
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    save_file(out, str(path))


def max_abs_diff(a, b):
    return (a.double() - b.double()).abs().max().item()


def fresh_dir(path):
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)


def lists(batch):
    return {k: v.tolist() if torch.is_tensor(v) else v for k, v in batch.items()}


def dims():
    """Sizes shared by all the tiny models of this seed."""
    return dict(hidden=pick(32, 40), inter=pick(64, 72), layers=pick(2, 3), heads=4, kv=pick(2, 1),
                vocab=pick(120, 136), seq=pick(16, 13), batch=3)


# ---------------------------------------------------------------------------------------------------------------------
# Models
# ---------------------------------------------------------------------------------------------------------------------

CAUSAL, MLM, CLS, REG, SEQ2SEQ = "causal-lm", "masked-lm", "sequence-classification", "regression", "seq2seq-lm"
TOK, QA, MULTI = "token-classification", "question-answering", "multi-label-classification"
IDS = dict(pad_token_id=0, bos_token_id=1, eos_token_id=2)
ROBERTA_IDS = dict(pad_token_id=1, bos_token_id=0, eos_token_id=2)
MASK_ID = 4  # first ordinary token id is 5
NUM_LABELS = 3


def decoder(**changes):
    d = dims()
    return {**dict(hidden_size=d["hidden"], intermediate_size=d["inter"], num_hidden_layers=d["layers"],
                   num_attention_heads=d["heads"], num_key_value_heads=d["kv"], vocab_size=d["vocab"],
                   max_position_embeddings=64, **IDS), **changes}


def encoder(**changes):
    d = dims()
    return {**dict(hidden_size=d["hidden"], intermediate_size=d["inter"], num_hidden_layers=d["layers"],
                   num_attention_heads=d["heads"], vocab_size=d["vocab"], max_position_embeddings=40,
                   hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, pad_token_id=0), **changes}


def model_table():
    """name -> (task, config class name, config arguments)"""
    d = dims()
    h, layers = d["hidden"], d["layers"]
    gpt2 = dict(n_embd=h, n_layer=layers, n_head=d["heads"], vocab_size=d["vocab"], n_positions=64, resid_pdrop=0.0,
                embd_pdrop=0.0, attn_pdrop=0.0, summary_first_dropout=0.0, **IDS)
    rope = dict(rope_theta=pick(10000.0, 500.0))
    llama = decoder(rope_parameters={"rope_type": "default", **rope})
    alternating = ["sliding_attention", "full_attention", "sliding_attention", "full_attention"][:layers]
    rope_pair = {"sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
                 "full_attention": {"rope_type": "default", "rope_theta": 10000.0}}
    roberta = encoder(type_vocab_size=1, **ROBERTA_IDS)
    deberta_v1 = encoder(relative_attention=True, pos_att_type=["c2p", "p2c"], position_biased_input=pick(False, True),
                         max_relative_positions=-1, type_vocab_size=0, pooler_hidden_size=h, pooler_dropout=0.0)
    deberta_v3 = encoder(relative_attention=True, pos_att_type=["p2c", "c2p"], position_biased_input=False,
                         share_att_key=True, norm_rel_ebd="layer_norm", position_buckets=pick(8, 6),
                         max_relative_positions=-1, type_vocab_size=0, pooler_hidden_size=h, pooler_dropout=0.0,
                         pooler_hidden_act="gelu", layer_norm_eps=1e-7)
    deberta_v2_conv = {**deberta_v3, "share_att_key": False, "conv_kernel_size": 3, "conv_act": "gelu",
                       "position_buckets": 16}  # deberta-v2-xlarge / xxlarge style: a convolution after layer 0
    modernbert = {k: v for k, v in encoder(local_attention=6, layer_types=["full_attention"] + ["sliding_attention"] *
                                           (layers - 1), rope_parameters=rope_pair, cls_token_id=1, sep_token_id=2,
                                           classifier_pooling=pick("cls", "mean"), **IDS).items()
                  if k not in ("hidden_dropout_prob", "attention_probs_dropout_prob")}
    distilbert = dict(dim=h, hidden_dim=d["inter"], n_layers=layers, n_heads=d["heads"], vocab_size=d["vocab"],
                      max_position_embeddings=40, dropout=0.0, attention_dropout=0.0, seq_classif_dropout=0.0,
                      pad_token_id=0)
    cls = dict(num_labels=pick(NUM_LABELS, 4))
    table = {
        "gpt2": (CAUSAL, "GPT2Config", gpt2),
        "gpt_neox": (CAUSAL, "GPTNeoXConfig", {**{k: v for k, v in decoder().items() if k != "num_key_value_heads"},
                     "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5},
                     "use_parallel_residual": pick(True, False), "attention_dropout": 0.0, "hidden_dropout": 0.0}),
        "opt": (CAUSAL, "OPTConfig", dict(hidden_size=h, ffn_dim=d["inter"], num_hidden_layers=layers,
                num_attention_heads=d["heads"], vocab_size=d["vocab"], max_position_embeddings=64, dropout=0.0,
                word_embed_proj_dim=h, do_layer_norm_before=True, pad_token_id=1, bos_token_id=2, eos_token_id=2)),
        "opt_post_norm": (CAUSAL, "OPTConfig", dict(hidden_size=h, ffn_dim=d["inter"], num_hidden_layers=layers,
                          num_attention_heads=d["heads"], vocab_size=d["vocab"], max_position_embeddings=64,
                          dropout=0.0, word_embed_proj_dim=h // 2, do_layer_norm_before=False, pad_token_id=1,
                          bos_token_id=2, eos_token_id=2)),  # opt-350m style
        "llama": (CAUSAL, "LlamaConfig", llama),
        "llama_tied": (CAUSAL, "LlamaConfig", {**llama, "tie_word_embeddings": True, "attention_bias": True,
                       "mlp_bias": True}),
        "llama3_rope": (CAUSAL, "LlamaConfig", {**llama, "head_dim": 16, "rope_parameters": {
            "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 16}}),
        "mistral": (CAUSAL, "MistralConfig", decoder(sliding_window=pick(5, 4))),
        "mixtral": (CAUSAL, "MixtralConfig", decoder(intermediate_size=pick(24, 16), num_local_experts=pick(4, 3),
                    num_experts_per_tok=2, sliding_window=pick(None, 5), output_router_logits=pick(True, False),
                    router_aux_loss_coef=0.1)),
        "qwen2": (CAUSAL, "Qwen2Config", decoder(tie_word_embeddings=pick(True, False))),
        "qwen3": (CAUSAL, "Qwen3Config", decoder(head_dim=16)),
        "gemma2": (CAUSAL, "Gemma2Config", decoder(head_dim=12, layer_types=alternating, sliding_window=5,
                   query_pre_attn_scalar=pick(16, 20), attn_logit_softcapping=2.0, final_logit_softcapping=3.0)),
        "gemma3": (CAUSAL, "Gemma3TextConfig", decoder(head_dim=12, layer_types=alternating, sliding_window=5,
                   query_pre_attn_scalar=pick(16, 20), rope_parameters=rope_pair)),
        "phi3": (CAUSAL, "Phi3Config", decoder(original_max_position_embeddings=64, rope_parameters={
            "rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": pick(1.0, 0.5)})),
        "smollm3": (CAUSAL, "SmolLM3Config", decoder(no_rope_layers=[1, 0, 1][:layers])),
        "olmo2": (CAUSAL, "Olmo2Config", decoder()),
        "bert_mlm": (MLM, "BertConfig", encoder(type_vocab_size=2)),
        "bert_cls": (CLS, "BertConfig", encoder(type_vocab_size=2, **cls)),
        "distilbert_mlm": (MLM, "DistilBertConfig", distilbert),
        "distilbert_cls": (CLS, "DistilBertConfig", {**distilbert, **cls}),
        "roberta_mlm": (MLM, "RobertaConfig", roberta),
        "roberta_cls": (CLS, "RobertaConfig", {**roberta, **cls}),
        "roberta_reg": (REG, "RobertaConfig", {**roberta, "num_labels": 1}),
        "deberta_mlm": (MLM, "DebertaConfig", deberta_v1),
        "deberta_cls": (CLS, "DebertaConfig", {**deberta_v1, **cls}),
        "deberta_v2_mlm": (MLM, "DebertaV2Config", deberta_v3),
        "deberta_v2_cls": (CLS, "DebertaV2Config", {**deberta_v3, **cls}),
        "deberta_v2_conv": (CLS, "DebertaV2Config", {**deberta_v2_conv, **cls}),
        "modernbert_mlm": (MLM, "ModernBertConfig", modernbert),
        "modernbert_cls": (CLS, "ModernBertConfig", {**modernbert, **cls}),
        "albert_mlm": (MLM, "AlbertConfig", encoder(embedding_size=h // 2, type_vocab_size=2, num_hidden_groups=1,
                       inner_group_num=1, classifier_dropout_prob=0.0)),
        "electra_cls": (CLS, "ElectraConfig", encoder(embedding_size=h // 2, type_vocab_size=2, **cls)),
        "llama_cls": (CLS, "LlamaConfig", {**llama, **cls}),
        "gpt2_cls": (CLS, "GPT2Config", {**gpt2, **cls}),
        # heads for tokens, for answers, and for any number of labels
        **{f"{model}_{kind}": (task, config_class, {**args, **labels})
           for model, (config_class, args) in {
               "bert": ("BertConfig", encoder(type_vocab_size=2)),
               "distilbert": ("DistilBertConfig", {**distilbert, "qa_dropout": 0.0}),
               "roberta": ("RobertaConfig", roberta),
               "deberta": ("DebertaConfig", deberta_v1),
               "deberta_v2": ("DebertaV2Config", deberta_v3),
               "modernbert": ("ModernBertConfig", modernbert),
               "electra": ("ElectraConfig", encoder(embedding_size=h // 2, type_vocab_size=2)),
               "albert": ("AlbertConfig", encoder(embedding_size=h // 2, type_vocab_size=2, num_hidden_groups=1,
                                                  inner_group_num=1, classifier_dropout_prob=0.0)),
           }.items()
           for kind, task, labels in (("tok", TOK, cls), ("qa", QA, {}),
                                      ("multi", MULTI, {**cls, "problem_type": "multi_label_classification"}))},
        "llama_tok": (TOK, "LlamaConfig", {**llama, **cls, "classifier_dropout": 0.0}),
        "gpt2_tok": (TOK, "GPT2Config", {**gpt2, **cls, "classifier_dropout": 0.0}),
        "gpt2_qa": (QA, "GPT2Config", gpt2),
        "gpt_neox_tok": (TOK, "GPTNeoXConfig", {**{k: v for k, v in decoder().items() if k != "num_key_value_heads"},
                         "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5},
                         "attention_dropout": 0.0, "hidden_dropout": 0.0, "classifier_dropout": 0.0, **cls}),
        "opt_qa": (QA, "OPTConfig", dict(hidden_size=h, ffn_dim=d["inter"], num_hidden_layers=layers,
                   num_attention_heads=d["heads"], vocab_size=d["vocab"], max_position_embeddings=64, dropout=0.0,
                   word_embed_proj_dim=h, do_layer_norm_before=True, pad_token_id=1, bos_token_id=2, eos_token_id=2)),
        "mistral_qa": (QA, "MistralConfig", decoder(sliding_window=pick(5, 4))),
        "t5": (SEQ2SEQ, "T5Config", dict(d_model=h, d_kv=h // 4, d_ff=d["inter"], num_layers=2, num_decoder_layers=2,
               num_heads=4, vocab_size=d["vocab"], relative_attention_num_buckets=8,
               relative_attention_max_distance=12, dropout_rate=0.0, feed_forward_proj=pick("relu", "gated-gelu"),
               tie_word_embeddings=pick(True, False), pad_token_id=0, eos_token_id=2, decoder_start_token_id=0)),
    }
    for family in ("llama", "qwen2", "qwen3", "smollm3", "gpt_neox", "mixtral"):
        table[f"{family}_qa"] = (QA, *table[family][1:])
    for family in ("mistral", "mixtral", "qwen2", "qwen3", "smollm3", "gemma2", "phi3"):
        table[f"{family}_tok"] = (TOK, table[family][1], {**table[family][2], **cls, "classifier_dropout": 0.0})
    return table


def auto_class(task):
    import transformers as tf

    return {CAUSAL: tf.AutoModelForCausalLM, MLM: tf.AutoModelForMaskedLM, SEQ2SEQ: tf.AutoModelForSeq2SeqLM,
            CLS: tf.AutoModelForSequenceClassification, REG: tf.AutoModelForSequenceClassification,
            MULTI: tf.AutoModelForSequenceClassification, TOK: tf.AutoModelForTokenClassification,
            QA: tf.AutoModelForQuestionAnswering}[task]


def logits_of(out):
    """The logits; of an answer's start and end side by side, as the last axis."""
    return torch.stack([out.start_logits, out.end_logits], -1) if hasattr(out, "start_logits") else out.logits


def randomise_model(model, name):
    """All parameters random: norm scales around 1 (around 0 where the model adds 1), biases and matrices around 0."""
    gen = generator(f"model/{name}")
    zero_centred = "gemma" in name
    for pname, p in model.named_parameters():
        noise = torch.randn(p.shape, generator=gen)
        if p.ndim == 1 and pname.endswith("weight"):
            value = noise * 0.2 + (0.0 if zero_centred else 1.0)
        elif p.ndim == 1:
            value = noise * 0.1
        else:
            value = noise * (0.2 if "emb" in pname or "wte" in pname else 0.15)
        p.data.copy_(value)


def build_model(name):
    import transformers as tf

    task, config_class, args = model_table()[name]
    torch.manual_seed(subseed(name))
    config = getattr(tf, config_class)(**args)
    # The grouped product of experts has no double precision.
    experts = {"experts_implementation": "eager"} if config_class == "MixtralConfig" else {}
    model = auto_class(task).from_config(config, attn_implementation="eager", **experts)
    randomise_model(model, name)
    return task, model.float().eval()


def load_base(name, **kwargs):
    """The saved base model; the generator runs inside the output directory, so that paths stay relative."""
    task, config_class, _ = model_table()[name]
    if config_class == "MixtralConfig":
        kwargs["experts_implementation"] = "eager"
    model = auto_class(task).from_pretrained(f"models/{name}", attn_implementation="eager", dtype=torch.float32,
                                             **kwargs)
    model.config._name_or_path = f"models/{name}"
    model.name_or_path = f"models/{name}"
    return model.eval()


def experts_apart(model):
    """
    Mixtral with the modules of its checkpoints, block_sparse_moe.experts.N.w1, w2, w3, as transformers 4 had them and adapters
    name them; transformers 5 keeps the experts of a layer in two tensors, of which PEFT adapts only all at once.
    """
    from torch import nn

    def linear(weight):
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
        layer.weight.data.copy_(weight)
        return layer

    class Experts(nn.Module):
        def __init__(self, block):
            super().__init__()
            self.gate, self.activation = block.gate, block.experts.act_fn
            fused = zip(block.experts.gate_up_proj, block.experts.down_proj)
            self.experts = nn.ModuleList(
                nn.ModuleDict(dict(zip(("w1", "w3", "w2"), map(linear, (*both.chunk(2), down))))) for both, down in fused)

        def forward(self, x):
            rows = x.reshape(-1, x.shape[-1])
            _, weights, chosen = self.gate(rows)
            out = torch.zeros_like(rows)
            for number, e in enumerate(self.experts):
                factor = (weights * (chosen == number)).sum(-1, keepdim=True)
                out = out + factor * e["w2"](self.activation(e["w1"](rows)) * e["w3"](rows))
            return out.reshape(x.shape)

    for layer in model.model.layers:
        block = Experts(layer.mlp)
        del layer.mlp
        layer.block_sparse_moe = block
        object.__setattr__(layer, "mlp", block.forward)
    model.config.model_type = "mixtral_apart"  # no name that PEFT knows: it would look for the fused tensors
    return model


def make_batch(name, key):
    """Right-padded batch with labels for model `name`."""
    task, _, args = model_table()[name]
    d, gen = dims(), generator(f"batch/{key}")
    pad, seq, rows, vocab = args.get("pad_token_id", 0), d["seq"], d["batch"], d["vocab"]
    lengths = [seq, seq - pick(3, 5), seq - pick(7, 2)]
    ids = torch.randint(5, vocab, (rows, seq), generator=gen)
    mask = torch.zeros(rows, seq, dtype=torch.long)
    for row, n in enumerate(lengths):
        mask[row, :n] = 1
    ids = torch.where(mask == 1, ids, torch.tensor(pad))
    batch = {"input_ids": ids, "attention_mask": mask}
    if args.get("type_vocab_size", 0) > 1:
        batch["token_type_ids"] = (torch.arange(seq) >= seq // 2).long().expand(rows, seq) * mask
    if task == CAUSAL:  # padding and the "prompt" (first 3 tokens) carry no loss
        labels = torch.where(mask == 1, ids, torch.tensor(-100))
        labels[:, :3] = -100
        batch["labels"] = labels
    elif task == MLM:
        chosen = (torch.rand(rows, seq, generator=gen) < 0.35) & (mask == 1)
        chosen[:, 1] = True
        batch["labels"] = torch.where(chosen, ids, torch.tensor(-100))
        batch["input_ids"] = torch.where(chosen, torch.tensor(MASK_ID), ids)
    elif task == CLS:
        batch["labels"] = torch.randint(0, args["num_labels"], (rows,), generator=gen)
    elif task == MULTI:
        held = torch.rand(rows, args["num_labels"], generator=gen) < 0.5
        held[0] = True
        held[1] = False
        batch["labels"] = held.float()
    elif task == TOK:
        labels = torch.randint(0, args["num_labels"], (rows, seq), generator=gen)
        ignored = (torch.rand(rows, seq, generator=gen) < 0.3) | (mask == 0)
        ignored[:, 1] = False
        batch["labels"] = torch.where(ignored, torch.tensor(-100), labels)
    elif task == QA:  # the last row's answer is outside: it counts for nothing
        if name.startswith("deberta"):  # its padding positions attend to each other, and the softmax over positions sees them
            batch["attention_mask"] = torch.ones_like(mask)
            batch["input_ids"] = torch.where(mask == 1, ids, torch.tensor(5))
        batch["start_positions"] = torch.tensor([2, 0, seq + 3])
        batch["end_positions"] = torch.tensor([4, 0, seq + 5])
    elif task == REG:
        batch["labels"] = torch.rand(rows, generator=gen) * 5
    elif task == SEQ2SEQ:
        out = torch.randint(5, vocab, (rows, seq - 4), generator=gen)
        out[1, -3:] = -100
        batch["labels"] = out
    return batch


def left_padded(batch, pad):
    """The same rows with the padding moved to the left."""
    out = {k: v.clone() for k, v in batch.items()}
    for row in range(batch["input_ids"].shape[0]):
        n = int(batch["attention_mask"][row].sum())
        for key, fill in (("input_ids", pad), ("attention_mask", 0), ("labels", -100)):
            out[key][row] = torch.cat([torch.full((batch[key].shape[1] - n,), fill), batch[key][row, :n]])
    return out


def make_prompt(name, key, padded=True):
    pad = model_table()[name][2].get("pad_token_id", 0)
    gen = generator(f"prompt/{key}")
    ids = torch.randint(5, dims()["vocab"], (3, 7), generator=gen)
    mask = torch.ones_like(ids)
    if padded:
        for row, n in enumerate((0, 2, 4)):
            ids[row, :n], mask[row, :n] = pad, 0
    return {"input_ids": ids, "attention_mask": mask}


def greedy(model, prompt, pad, new_tokens=12):
    """Greedy ids with end-of-sequence switched off, and the gaps between the best and the second logit."""
    from transformers import GenerationConfig

    model.eval()
    config = GenerationConfig(max_new_tokens=new_tokens, do_sample=False, eos_token_id=None, pad_token_id=pad,
                              bos_token_id=None, output_scores=True, return_dict_in_generate=True)
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    base.generation_config.eos_token_id = None
    # The balance loss of transformers cannot be computed where a step sees one token and the mask all of them.
    routed = getattr(base.config, "output_router_logits", False)
    if routed:
        base.config.output_router_logits = False
    with torch.no_grad():
        out = model.generate(**prompt, generation_config=config)
    if routed:
        base.config.output_router_logits = True
    top = torch.stack(out.scores, 1).topk(2).values
    return {"generated": out.sequences[:, -new_tokens:], "generated_margins": top[..., 0] - top[..., 1]}


def write_model_case(name):
    task, model = build_model(name)
    path = Path("models") / name
    fresh_dir(path)
    model.save_pretrained(path)
    write_legacy_config(path)
    # what is on disk is what the expectations are made from
    reloaded = load_base(name)
    pad = model_table()[name][2].get("pad_token_id", 0)
    batch = make_batch(name, f"models/{name}")
    inputs, expected, info = {"forward": lists(batch)}, {}, {"name": name, "task": task}
    with torch.no_grad():
        before = logits_of(model(**batch))
        out = reloaded(**batch, output_hidden_states=True)
    info["reload_max_abs_diff"] = max_abs_diff(before, logits_of(out))
    assert info["reload_max_abs_diff"] < 1e-6, "save_pretrained does not round-trip"
    expected["logits"], expected["loss"] = logits_of(out), out.loss
    hidden = out.decoder_hidden_states if task == SEQ2SEQ else out.hidden_states
    for i, hs in enumerate(hidden or ()):
        expected[f"hidden_states.{i}"] = hs
    if task == SEQ2SEQ:
        expected["encoder_last_hidden_state"] = out.encoder_last_hidden_state
    if task == CAUSAL:
        left = left_padded(batch, pad)
        positions = (left["attention_mask"].cumsum(-1) - 1).clamp(min=0)
        inputs["left"] = lists(left)
        inputs["left_pos"] = lists({**left, "position_ids": positions})
        inputs["prompt"] = lists(make_prompt(name, f"models/{name}"))
        with torch.no_grad():
            out = reloaded(**left)
            expected["left.logits"], expected["left.loss"] = out.logits, out.loss
            out = reloaded(**left, position_ids=positions)
            expected["left_pos.logits"], expected["left_pos.loss"] = out.logits, out.loss
        expected |= greedy(reloaded, make_prompt(name, f"models/{name}"), pad)
    elif task == SEQ2SEQ:
        prompt = {k: batch[k] for k in ("input_ids", "attention_mask")}
        inputs["prompt"] = lists(prompt)
        expected |= greedy(reloaded, prompt, pad)
    # how far float32 is from float64: the natural tolerance of these numbers
    with torch.no_grad():
        info["fp64_gap"] = {"logits": max_abs_diff(logits_of(load_base(name).double()(**doubled(batch))),
                                                   expected["logits"])}
    info["parameters"] = sum(p.numel() for p in reloaded.parameters())
    write_json(path / "inputs.json", inputs)
    write_tensors(path / "expected.safetensors", expected)
    write_json(path / "case.json", info)
    return None, info["reload_max_abs_diff"]


def write_legacy_config(path):
    """The same config.json as transformers 4 wrote it, which is what most checkpoints on the Hub still have."""
    config = json.loads((path / "config.json").read_text())
    rope = config.pop("rope_parameters", None)
    config["torch_dtype"] = config.pop("dtype", "float32")
    if rope is None:
        return
    if "sliding_attention" in rope:
        if config["model_type"] == "modernbert":
            config["global_rope_theta"] = rope["full_attention"]["rope_theta"]
            config["local_rope_theta"] = rope["sliding_attention"]["rope_theta"]
        else:
            config["rope_theta"] = rope["full_attention"]["rope_theta"]
            config["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
    else:
        config["rope_theta"] = rope["rope_theta"]
        partial = rope.get("partial_rotary_factor")
        if partial is not None:
            config["rotary_pct" if config["model_type"] == "gpt_neox" else "partial_rotary_factor"] = partial
        if config["model_type"] == "gpt_neox":
            config["rotary_emb_base"] = config.pop("rope_theta")
        if rope["rope_type"] != "default":
            config["rope_scaling"] = {k: v for k, v in rope.items() if k not in ("rope_theta", "partial_rotary_factor")}
    write_json(path / "config.legacy.json", config)


def doubled(batch):
    return {k: v.double() if torch.is_tensor(v) and v.is_floating_point() else v for k, v in batch.items()}


# ---------------------------------------------------------------------------------------------------------------------
# Methods
# ---------------------------------------------------------------------------------------------------------------------


def optimiser_spec(**changes):
    return {**dict(name="adamw", lr=pick(1e-2, 5e-3), betas=[0.9, 0.999], eps=1e-8, weight_decay=pick(0.01, 0.05),
                   schedule="linear_with_warmup", warmup_steps=pick(2, 3), steps=10, max_grad_norm=pick(1.0, 0.5)),
            **changes}


def method_table():
    """name -> dict(base, config=(class name, arguments), and options)

    options: convert (also save the PiSSA/OLoRA to LoRA conversion), std (noise added to every trainable parameter; 0 keeps PEFT's initial values), optimiser, note,
    trainable (also store the trainable parameters by full name, for methods whose adapter file cannot restore them),
    experts_apart (the experts of a layer as modules: PEFT then loads the adapter onto the fused tensors all the same),
    base_changes (the initialisation rewrites base weights: store them), hook (called each step after the optimiser).
    """
    r, alpha = pick(4, 6), pick(8, 9)
    r2, alpha2 = pick(3, 5), pick(6, 20)
    qv = pick(["q_proj", "v_proj"], ["k_proj", "o_proj"])
    causal, seq_cls = dict(task_type="CAUSAL_LM"), dict(task_type="SEQ_CLS")
    layer = pick(1, 2)

    def lora(base, targets=qv, task=causal, opts=None, **kw):
        args = {**dict(r=r, lora_alpha=alpha, lora_dropout=0.0, target_modules=targets), **task, **kw}
        return dict(base=base, config=("LoraConfig", args), **(opts or {}))

    def peft(base, cls, opts=None, **kw):
        return dict(base=base, config=(cls, kw), **(opts or {}))

    fan = dict(fan_in_fan_out=True)
    t = {
        # --- LoRA over architectures
        "llama-lora": lora("llama"),
        "llama-lora-all-linear": lora("llama", "all-linear", r=r2, lora_alpha=alpha2),
        "llama_tied-lora-all-linear": lora("llama_tied", "all-linear"),
        "llama3_rope-lora": lora("llama3_rope"),
        "gpt2-lora": lora("gpt2", ["c_attn"], **fan),
        "gpt2-lora-all": lora("gpt2", ["c_attn", "c_proj", "c_fc"], r=r2, lora_alpha=alpha2, **fan),
        "gpt_neox-lora": lora("gpt_neox", ["query_key_value", "dense"]),
        "opt-lora": lora("opt", ["q_proj", "v_proj", "fc1", "fc2"]),
        "mistral-lora": lora("mistral", pick(["q_proj", "k_proj", "v_proj", "o_proj"], ["v_proj", "down_proj"])),
        "qwen2-lora-all-linear": lora("qwen2", "all-linear"),
        "qwen3-lora": lora("qwen3", pick(["q_proj", "k_proj", "v_proj"], ["q_proj", "up_proj"])),
        "gemma2-lora": lora("gemma2", pick(["q_proj", "v_proj", "o_proj"], ["k_proj", "gate_proj"])),
        "gemma3-lora": lora("gemma3", pick(["q_proj", "k_proj", "down_proj"], ["v_proj", "o_proj"])),
        "phi3-lora-fused": lora("phi3", ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]),
        "smollm3-lora": lora("smollm3"),
        "olmo2-lora": lora("olmo2", ["q_proj", "k_proj", "v_proj"]),
        "bert_mlm-lora": lora("bert_mlm", ["query", "value", "intermediate.dense"], task={}),
        "distilbert_cls-lora": lora("distilbert_cls", ["q_lin", "v_lin"], seq_cls),
        "roberta_cls-lora": lora("roberta_cls", pick(["query", "value"], ["query", "key", "output.dense"]), seq_cls,
                                 modules_to_save=["classifier"]),
        "roberta_reg-lora": lora("roberta_reg", ["query", "value"], seq_cls),
        "bert_multi-lora": lora("bert_multi", ["query", "value"], seq_cls),
        "bert_tok-lora": lora("bert_tok", ["query", "value"], dict(task_type="TOKEN_CLS")),
        "distilbert_qa-lora": lora("distilbert_qa", ["q_lin", "v_lin"], dict(task_type="QUESTION_ANS")),
        "roberta_qa-lora": lora("roberta_qa", ["query", "value"], dict(task_type="QUESTION_ANS")),
        "llama_qa-lora": lora("llama_qa", task=dict(task_type="QUESTION_ANS")),
        "llama_tok-lora": lora("llama_tok", task=dict(task_type="TOKEN_CLS")),
        "roberta_mlm-lora": lora("roberta_mlm", ["query", "value"], task={}),
        "deberta_cls-lora": lora("deberta_cls", ["in_proj"], seq_cls),
        "deberta_v2_cls-lora": lora("deberta_v2_cls", pick(["query_proj", "value_proj"], ["key_proj", "value_proj"]),
                                    seq_cls),
        "deberta_v2_conv-lora": lora("deberta_v2_conv", ["query_proj", "value_proj"], seq_cls),
        "modernbert_cls-lora": lora("modernbert_cls", ["Wqkv", "Wi"], seq_cls),
        "albert_mlm-lora": lora("albert_mlm", ["query", "value"], task={}),
        "electra_cls-lora": lora("electra_cls", ["query", "value"], seq_cls),
        "llama_cls-lora": lora("llama_cls", qv, seq_cls),
        "gpt2_cls-lora": lora("gpt2_cls", ["c_attn"], seq_cls, **fan),
        "mixtral-lora": lora("mixtral", qv),
        "mixtral-lora-experts": lora("mixtral", ["q_proj", "v_proj", "w1", "w2", "w3"], opts=dict(experts_apart=True)),
        "t5-lora": lora("t5", ["q", "v"], dict(task_type="SEQ_2_SEQ_LM")),
        # --- LoRA options
        "llama-rslora": lora("llama", use_rslora=True),
        "llama-dora": lora("llama", use_dora=True),
        "llama-dora-all-linear": lora("llama", "all-linear", use_dora=True, r=r2),
        "gpt2-dora": lora("gpt2", ["c_attn", "c_proj"], use_dora=True, **fan),
        "llama-dora-embedding": lora("llama", ["embed_tokens", "v_proj"], use_dora=True),
        "roberta_cls-lora-bias-all": lora("roberta_cls", ["query", "value"], seq_cls, bias="all"),
        "qwen2-lora-bias-lora_only": lora("qwen2", ["q_proj", "v_proj", "o_proj"], bias="lora_only"),
        "llama_tied-lora_bias": lora("llama_tied", qv, lora_bias=True),
        "llama-lora-patterns": lora("llama", ["q_proj", "k_proj", "v_proj", "down_proj"],
                                    rank_pattern={"layers.0.self_attn.q_proj": 7, "^model.layers.1.*v_proj": 2,
                                                  "down_proj": pick(5, 3)},
                                    alpha_pattern={"q_proj": 3, r".*\.layers\.1\..*down_proj": pick(12, 10)}),
        "llama-rslora-patterns": lora("llama", ["q_proj", "v_proj"], use_rslora=True, rank_pattern={"v_proj": 9},
                                      alpha_pattern={"v_proj": 5}),
        "llama-lora-layers_to_transform": lora("llama", ["q_proj", "v_proj"], layers_to_transform=pick([1], [0, 2]),
                                               layers_pattern="layers"),
        "gpt2-lora-layers_to_transform": lora("gpt2", ["c_attn"], layers_to_transform=layer, **fan),
        "llama-lora-regex": lora("llama", pick(r".*\.layers\.[01]\.(self_attn\.(q|v)_proj|mlp\.up_proj)",
                                               r".*layers\.(0|2)\..*\.(k|down)_proj")),
        "llama-lora-exclude": lora("llama", "all-linear", exclude_modules=pick(["k_proj", "layers.1.mlp.up_proj"],
                                                                               r".*mlp.*|.*layers\.2.*")),
        "llama-lora-lm_head-saved": lora("llama", modules_to_save=["lm_head"]),
        "llama_tied-lora-lm_head-saved": lora("llama_tied", modules_to_save=["lm_head"]),
        "llama_tied-lora-embed-saved": lora("llama_tied", modules_to_save=["embed_tokens"]),
        "llama-lora-embedding": lora("llama", ["embed_tokens", "q_proj"]),
        "llama-lora-lm_head": lora("llama", ["lm_head", "q_proj"]),
        "gpt2-lora-embedding": lora("gpt2", ["wte", "c_attn"], **fan),
        "llama-lora-token-indices": lora("llama", trainable_token_indices=pick([7, 11, 30], [3, 8, 90, 100])),
        "llama_tied-lora-token-indices": lora("llama_tied", trainable_token_indices={"embed_tokens": [5, 9, 40]}),
        "llama-trainable-tokens": peft("llama", "TrainableTokensConfig", token_indices=pick([6, 17], [9, 10, 44]),
                                       target_modules=["embed_tokens"], **causal),
        "llama-loraplus": lora("llama", pick("all-linear", ["q_proj", "o_proj"]), opts=dict(
            optimiser=dict(name="loraplus", loraplus_lr_ratio=pick(16.0, 8.0), lr=pick(1e-3, 2e-3)))),
        "llama-loraplus-embedding": lora("llama", ["embed_tokens", "v_proj"], opts=dict(
            optimiser=dict(name="loraplus", loraplus_lr_ratio=4.0, loraplus_lr_embedding=pick(1e-3, 5e-4),
                           loraplus_weight_decay=0.02))),
        "llama-pissa": lora("llama", ["q_proj", "v_proj", "down_proj"], init_lora_weights="pissa",
                            opts=dict(std=0.0, base_changes=True, convert=True)),
        "gpt2-pissa": lora("gpt2", ["c_attn"], init_lora_weights="pissa", opts=dict(std=0.0, base_changes=True, convert=True),
                           **fan),
        "llama-olora": lora("llama", ["q_proj", "v_proj", "down_proj"], init_lora_weights="olora",
                            opts=dict(std=0.0, base_changes=True, convert=True)),
        "llama-loftq": lora("llama", ["q_proj", "v_proj", "down_proj"], init_lora_weights="loftq",
                            loftq_config="LOFTQ", opts=dict(std=0.0, base_changes=True)),
        # --- VeRA
        "llama-vera": peft("llama", "VeraConfig", r=pick(16, 24), target_modules=pick(["q_proj", "v_proj"],
                           ["q_proj", "down_proj"]), d_initial=pick(0.2, 0.05), projection_prng_key=pick(3, 77),
                           save_projection=True, **causal),
        "llama-vera-regenerate": peft("llama", "VeraConfig", r=pick(12, 20), target_modules=["q_proj", "k_proj",
                                      "v_proj", "up_proj", "down_proj"], d_initial=0.3, save_projection=False,
                                      projection_prng_key=pick(11, 2024), **causal),
        "roberta_cls-vera": peft("roberta_cls", "VeraConfig", r=pick(32, 8), target_modules=["query", "value"],
                                 d_initial=pick(0.5, 0.01), projection_prng_key=pick(0, 5), save_projection=True,
                                 **seq_cls),
        "roberta_cls-vera-regenerate": peft("roberta_cls", "VeraConfig", r=pick(10, 16), target_modules=[
            "query", "value"], d_initial=0.15, projection_prng_key=pick(42, 9), save_projection=False, **seq_cls),
        "llama-vera-initial": peft("llama", "VeraConfig", dict(std=0.0), r=pick(16, 24), target_modules=["q_proj",
                                   "v_proj"], d_initial=pick(0.2, 0.05), projection_prng_key=1,
                                   save_projection=False, **causal),
        "gpt2-vera": peft("gpt2", "VeraConfig", r=16, target_modules=["c_attn"], projection_prng_key=pick(4, 6),
                          save_projection=False, fan_in_fan_out=True, **causal),
        # --- AdaLoRA
        "llama-adalora": peft("llama", "AdaLoraConfig", init_r=r, target_r=r, lora_alpha=alpha, tinit=0, tfinal=0,
                              total_step=100, orth_reg_weight=pick(0.5, 0.3), target_modules=qv, **causal),
        "llama-adalora-budget": peft("llama", "AdaLoraConfig", dict(hook="adalora"), init_r=pick(6, 8), target_r=3,
                                     lora_alpha=alpha, tinit=2, tfinal=3, deltaT=1, beta1=0.85, beta2=0.85,
                                     total_step=10, orth_reg_weight=0.1, target_modules=["q_proj", "v_proj"],
                                     **causal),
        "roberta_cls-adalora": peft("roberta_cls", "AdaLoraConfig", init_r=r, target_r=r, lora_alpha=alpha,
                                    total_step=100, target_modules=["query", "value"], **seq_cls),
        # --- LoHa, LoKr
        "llama-loha": peft("llama", "LoHaConfig", r=r, alpha=alpha, target_modules=["q_proj", "v_proj", "down_proj"],
                           **causal),
        "roberta_cls-loha": peft("roberta_cls", "LoHaConfig", r=r2, alpha=alpha2, target_modules=["query", "value"],
                                 rank_pattern={"value": 2}, **seq_cls),
        "llama-lokr": peft("llama", "LoKrConfig", r=pick(4, 3), alpha=alpha, target_modules=["q_proj", "down_proj"],
                           **causal),
        "llama-lokr-decompose-both": peft("llama", "LoKrConfig", r=2, alpha=alpha2, decompose_both=True,
                                          decompose_factor=pick(8, 6), target_modules=["q_proj", "v_proj",
                                          "up_proj"], **causal),
        "roberta_cls-lokr": peft("roberta_cls", "LoKrConfig", r=pick(16, 2), alpha=alpha, decompose_factor=pick(4, -1),
                                 target_modules=["query", "value"], **seq_cls),
        # --- IA3, LN tuning
        "llama-ia3": peft("llama", "IA3Config", target_modules=["k_proj", "v_proj", "down_proj"],
                          feedforward_modules=["down_proj"], **causal),
        "roberta_cls-ia3": peft("roberta_cls", "IA3Config", target_modules=["key", "value", "output.dense"],
                                feedforward_modules=["output.dense"], **seq_cls),
        "gpt2-ia3": peft("gpt2", "IA3Config", target_modules=["c_attn", "mlp.c_proj"],
                         feedforward_modules=["mlp.c_proj"], fan_in_fan_out=True, **causal),
        "llama-ln_tuning": peft("llama", "LNTuningConfig", target_modules=["input_layernorm",
                                "post_attention_layernorm", "norm"], **causal),
        "roberta_cls-ln_tuning": peft("roberta_cls", "LNTuningConfig", target_modules=["LayerNorm"], **seq_cls),
        "gpt2-ln_tuning": peft("gpt2", "LNTuningConfig", target_modules=["ln_1", "ln_2", "ln_f"], **causal),
        # --- orthogonal, Fourier, vector bank
        "llama-oft": peft("llama", "OFTConfig", oft_block_size=pick(8, 10), r=0, target_modules=["q_proj", "v_proj"],
                          use_cayley_neumann=False, **causal),
        "llama-oft-neumann": peft("llama", "OFTConfig", dict(std=0.03), oft_block_size=pick(16, 8), r=0,
                                  target_modules=["q_proj", "down_proj"], use_cayley_neumann=True, **causal),
        "llama-boft": peft("llama", "BOFTConfig", boft_block_size=pick(4, 8), boft_n_butterfly_factor=pick(2, 1),
                           target_modules=["q_proj", "v_proj"], **causal),
        "llama-fourierft": peft("llama", "FourierFTConfig", n_frequency=pick(40, 60), scaling=pick(20.0, 30.0),
                                random_loc_seed=pick(777, 5), target_modules=["q_proj", "v_proj"], **causal),
        "llama-vblora": peft("llama", "VBLoRAConfig", r=pick(2, 3), num_vectors=pick(12, 16), vector_length=pick(8, 5),
                             topk=2, target_modules=["q_proj", "v_proj"], **causal),
        "llama-vblora-topk": peft("llama", "VBLoRAConfig", r=2, num_vectors=10, vector_length=pick(8, 10), topk=3,
                                  save_only_topk_weights=True, target_modules=["q_proj", "o_proj"], **causal),
        # --- prompt learning
        "gpt2-prefix": peft("gpt2", "PrefixTuningConfig", dict(std=0.3, trainable=True), num_virtual_tokens=pick(5, 4),
                            **causal),
        "gpt2-prefix-projection": peft("gpt2", "PrefixTuningConfig", dict(trainable=True), num_virtual_tokens=4,
                                       prefix_projection=True, encoder_hidden_size=pick(24, 40), **causal),
        "llama-prefix": peft("llama", "PrefixTuningConfig", dict(std=0.3, trainable=True),
                             num_virtual_tokens=pick(4, 6), **causal),
        "llama-prefix-projection": peft("llama", "PrefixTuningConfig", dict(trainable=True), num_virtual_tokens=3,
                                        prefix_projection=True, encoder_hidden_size=pick(20, 28), **causal),
        "mistral-prefix": peft("mistral", "PrefixTuningConfig", dict(std=0.3, trainable=True), num_virtual_tokens=3,
                               **causal),
        "roberta_cls-prefix": peft("roberta_cls", "PrefixTuningConfig", dict(std=0.3, trainable=True),
                                   num_virtual_tokens=pick(4, 3), **seq_cls),
        "bert_cls-prefix": peft("bert_cls", "PrefixTuningConfig", dict(std=0.3, trainable=True),
                                num_virtual_tokens=pick(4, 3), **seq_cls),
        "gpt2-prompt_tuning": peft("gpt2", "PromptTuningConfig", dict(std=0.2, trainable=True),
                                   num_virtual_tokens=pick(4, 6), **causal),
        "llama-prompt_tuning": peft("llama", "PromptTuningConfig", dict(std=0.2, trainable=True),
                                    num_virtual_tokens=pick(5, 3), **causal),
        "bert_cls-prompt_tuning": peft("bert_cls", "PromptTuningConfig", dict(std=0.2, trainable=True),
                                       num_virtual_tokens=pick(4, 3), **seq_cls),
        "roberta_cls-prompt_tuning": peft("roberta_cls", "PromptTuningConfig", dict(std=0.2, trainable=True),
                                          num_virtual_tokens=pick(3, 4), **seq_cls),
        "t5-prompt_tuning": peft("t5", "PromptTuningConfig", dict(std=0.2, trainable=True), num_virtual_tokens=4,
                                 task_type="SEQ_2_SEQ_LM"),
        "t5-prefix": peft("t5", "PrefixTuningConfig", dict(std=0.3, trainable=True), num_virtual_tokens=pick(4, 3),
                          task_type="SEQ_2_SEQ_LM"),
        "t5-p_tuning": peft("t5", "PromptEncoderConfig", dict(trainable=True), num_virtual_tokens=pick(3, 4),
                            encoder_reparameterization_type=pick("MLP", "LSTM"), encoder_hidden_size=16,
                            encoder_num_layers=2, task_type="SEQ_2_SEQ_LM"),
        "gpt2-p_tuning": peft("gpt2", "PromptEncoderConfig", dict(trainable=True), num_virtual_tokens=pick(4, 5),
                              encoder_reparameterization_type="MLP", encoder_hidden_size=pick(24, 40), **causal),
        "llama-p_tuning": peft("llama", "PromptEncoderConfig", dict(trainable=True), num_virtual_tokens=3,
                               encoder_reparameterization_type="MLP", encoder_hidden_size=pick(16, 24), **causal),
        "llama-p_tuning-lstm": peft("llama", "PromptEncoderConfig", dict(trainable=True), num_virtual_tokens=3,
                                    encoder_reparameterization_type="LSTM", encoder_hidden_size=pick(16, 24),
                                    encoder_num_layers=2, **causal),
        # --- not PEFT: subsets of the model's own parameters
        "roberta_cls-bitfit": dict(base="roberta_cls", subset=r".*\.bias$|^classifier\..*"),
        "gpt2-bitfit": dict(base="gpt2", subset=r".*\.bias$"),
        "llama-full": dict(base="llama", subset=r".*", std=0.0),
        "gpt2-full": dict(base="gpt2", subset=r".*", std=0.0),
        "t5-full": dict(base="t5", subset=r".*", std=0.0),
        "roberta_cls-full": dict(base="roberta_cls", subset=r".*", std=0.0),
        "deberta_v2_cls-full": dict(base="deberta_v2_cls", subset=r".*", std=0.0),
    }
    return t


def fix_bitsandbytes():
    """bitsandbytes 0.50.2 on the CPU dequantises wrongly when a row is an even number of values that is not a multiple
    of the block size. Put its own generic implementation (which agrees with CUDA's layout) in the kernel's place."""
    from bitsandbytes.backends.default.ops import _dequantize_4bit_compute
    from bitsandbytes.backends.utils import _get_4bit_code

    if fix_bitsandbytes.library is None:
        fix_bitsandbytes.library = torch.library.Library("bitsandbytes", "IMPL")
        fix_bitsandbytes.library.impl(
            "dequantize_4bit", lambda packed, absmax, blocksize, kind, shape, dtype: _dequantize_4bit_compute(
                packed.reshape(-1), absmax.float(), _get_4bit_code(kind, packed.device), blocksize, shape, dtype),
            "CPU", allow_override=True)


fix_bitsandbytes.library = None


def by_the_table(packed, absmax, code, blocksize, shape):
    """Dequantisation by definition: high nibble first, code[nibble] * absmax[index // blocksize]."""
    count = math.prod(shape)
    nibbles = torch.stack([packed.flatten().long() >> 4, packed.flatten().long() & 15], 1).flatten()[:count]
    return (code[nibbles] * absmax.float()[torch.arange(count) // blocksize]).view(shape)


def loftq_on_cpu():
    """PEFT's LoftQ initialisation insists on an accelerator; its own code, with that one line changed."""
    import inspect

    fix_bitsandbytes()

    import peft.tuners.lora.layer as layer
    import peft.utils.loftq_utils as utils

    source = inspect.getsource(utils.loftq_init).replace('"xpu" if is_xpu_available() else "cuda"', '"cpu"')
    exec(source, utils.__dict__)
    layer.loftq_init = utils.loftq_init


def peft_config(spec):
    import peft

    cls, args = spec["config"]
    args = copy.deepcopy(args)
    if args.get("loftq_config") == "LOFTQ":
        loftq_on_cpu()
        args["loftq_config"] = peft.LoftQConfig(loftq_bits=4, loftq_iter=pick(1, 3))
    return getattr(peft, cls)(**args)


def perturb(model, key, std):
    """Move every trainable parameter off its initial value, so that zero-initialised parts show."""
    gen = generator(f"adapter/{key}")
    for pname, p in model.named_parameters():
        if p.requires_grad:
            noise = torch.randn(p.shape, generator=gen) * std
            if "prompt_encoder" in pname or "lora_A" in pname or "lora_B" in pname or p.abs().max() == 0:
                noise = noise * 1.5
            p.data.add_(noise.to(p.dtype))


def trainable(model):
    return {n: p for n, p in model.named_parameters() if p.requires_grad}


def make_optimiser(model, spec):
    """torch.optim.AdamW over all trainable parameters in one group, or PEFT's LoRA+ grouping of it."""
    common = dict(betas=tuple(spec["betas"]), eps=spec["eps"])
    if spec["name"] == "loraplus":
        from peft.optimizers import create_loraplus_optimizer

        extra = {k: spec[k] for k in ("loraplus_lr_embedding", "loraplus_weight_decay") if k in spec}
        return create_loraplus_optimizer(model, torch.optim.AdamW, lr=spec["lr"],
                                         loraplus_lr_ratio=spec["loraplus_lr_ratio"], **common, **extra)
    return torch.optim.AdamW(list(trainable(model).values()), lr=spec["lr"], weight_decay=spec["weight_decay"],
                             **common)


def train_curve(model, batch, spec, hook=None):
    """losses[i] is the loss before update i; the learning rate of update 0 is 0 when there is a warm-up."""
    from transformers import get_linear_schedule_with_warmup

    model.train()
    params = list(trainable(model).values())
    opt = make_optimiser(model, spec)
    sched = get_linear_schedule_with_warmup(opt, spec["warmup_steps"], spec["steps"])
    curve = {"losses": [], "grad_norms": [], "lrs": []}
    for step in range(spec["steps"]):
        loss = model(**batch).loss
        opt.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(params, spec["max_grad_norm"])
        curve["losses"].append(loss.item())
        curve["grad_norms"].append(float(norm))
        curve["lrs"].append([g["lr"] for g in opt.param_groups])
        opt.step()
        if hook == "adalora":
            model.base_model.update_and_allocate(step)
        sched.step()
    with torch.no_grad():
        curve["final_loss"] = model(**batch).loss.item()
    return curve


def evaluate(model, batch):
    """logits and loss in eval mode, then the gradients of the loss for every trainable parameter in train mode."""
    model.eval()
    with torch.no_grad():
        out = model(**batch)
    logits = logits_of(out)
    model.train()
    model.zero_grad(set_to_none=True)
    loss = model(**batch).loss
    loss.backward()
    grads = {n: p.grad for n, p in trainable(model).items()}
    model.zero_grad(set_to_none=True)
    return logits, loss.detach(), out.loss, grads


def merged_weights(model, base):
    """(model to run, touched base weights by their plain names) after merging the adapter."""
    merged, before = copy.deepcopy(model), base.state_dict()
    try:
        merged = merged.merge_and_unload()
        state = merged.state_dict()
    except AttributeError:
        # merge_and_unload cannot unwrap modules_to_save that are not single layers, except for LoRA: merge in place
        merged = copy.deepcopy(model)
        merged.merge_adapter()
        state = {n.removeprefix("base_model.model."): w for n, w in merged.state_dict().items()}
    plain = {}
    for n, w in state.items():
        n = n.replace(".base_layer.", ".").replace(".modules_to_save.default.", ".")
        if ".original_module." not in n and n in before:
            plain[n] = w
    return merged, {n: w for n, w in plain.items() if before[n].shape != w.shape or not torch.equal(before[n], w)}


def build_adapted(name, spec):
    """(model with adapter, untouched base)"""
    import peft

    prepare = experts_apart if spec.get("experts_apart") else lambda model: model
    base = prepare(load_base(spec["base"]))
    std = spec.get("std", 0.12)
    torch.manual_seed(subseed(f"inject/{name}"))
    if "subset" in spec:
        model = load_base(spec["base"])
        for pname, p in model.named_parameters():
            p.requires_grad_(re.match(spec["subset"], pname) is not None)
    else:
        model = peft.get_peft_model(prepare(load_base(spec["base"])), peft_config(spec))
        for cfg in model.peft_config.values():
            cfg.base_model_name_or_path = f"models/{spec['base']}"
    perturb(model, name, std)
    return model, base


def save_adapter(model, spec, path):
    if "subset" in spec:
        os.makedirs(path, exist_ok=True)
        write_tensors(Path(path) / "subset.safetensors", trainable(model))
    else:
        model.save_pretrained(path)
        readme = Path(path) / "README.md"
        readme.unlink(missing_ok=True)


def reload_difference(spec, path, batch, logits):
    """Load the saved adapter onto the *original* base; PiSSA, OLoRA and LoftQ then redo their change of the base."""
    import peft

    base = load_base(spec["base"])
    needs_labels = model_table()[spec["base"]][0] == SEQ2SEQ  # the decoder's input is made from them
    inference = {k: v for k, v in batch.items() if k not in ("labels", "start_positions", "end_positions") or needs_labels}
    if "subset" in spec:
        base.load_state_dict(load_file(f"{path}/subset.safetensors"), strict=False)
        model = base
    else:
        model = peft.PeftModel.from_pretrained(base, path)
    model.eval()
    with torch.no_grad():
        return max_abs_diff(logits_of(model(**inference)), logits)


def write_method_case(name):
    spec = method_table()[name]
    path = Path("methods") / name
    fresh_dir(path)
    batch = make_batch(spec["base"], f"methods/{name}")
    if "config" in spec:  # tokens whose embeddings are trained must occur
        tokens = spec["config"][1].get("token_indices") or spec["config"][1].get("trainable_token_indices") or []
        for i, token in enumerate(tokens if isinstance(tokens, list) else tokens["embed_tokens"]):
            for key, first in (("input_ids", 0), ("labels", 3)):
                if i + 1 >= first:
                    batch[key][0, i + 1] = token
    model, base = build_adapted(name, spec)
    expected, inputs = {}, {"forward": lists(batch)}
    info = dict(name=name, base=f"models/{spec['base']}", task=model_table()[spec["base"]][0],
                method="subset" if "subset" in spec else spec["config"][0],
                settings={"subset": spec["subset"]} if "subset" in spec else
                json.loads(json.dumps(spec["config"][1], default=lambda o: vars(o))))
    optimiser = optimiser_spec(**spec.get("optimiser", {}))
    info["optimiser"] = optimiser
    if optimiser["name"] == "loraplus":
        names = {id(p): n for n, p in trainable(model).items()}
        info["param_groups"] = [dict(lr=g["lr"], weight_decay=g["weight_decay"], params=[names[id(p)] for p in g["params"]])
                                for g in make_optimiser(model, optimiser).param_groups]

    # the adapter as PEFT saves it
    if spec.get("base_changes"):
        base_changes = {}
        clean = base.state_dict()
        for pname, p in model.get_base_model().state_dict().items():
            plain = pname.replace(".base_layer", "")
            if plain in clean and not torch.equal(clean[plain], p):
                base_changes[plain] = p
        write_tensors(path / "base_changes.safetensors", base_changes)
    save_adapter(model, spec, path / "adapter")
    if spec.get("trainable"):
        write_tensors(path / "trainable.safetensors", trainable(model))

    # logits, loss, gradients
    logits, loss, eval_loss, grads = evaluate(model, batch)
    expected.update(logits=logits, loss=loss)
    expected.update({f"grad.{n}": g for n, g in grads.items() if g is not None})
    info["without_gradient"] = [n for n, g in grads.items() if g is None]
    info["train_eval_loss_diff"] = abs(loss.item() - eval_loss.item())
    with torch.no_grad():
        base_logits = logits_of(base(**batch))
    info["adapter_effect"] = max_abs_diff(base_logits, logits) if base_logits.shape == logits.shape else max_abs_diff(
        base_logits, logits[:, -base_logits.shape[1]:])
    info["reload_max_abs_diff"] = reload_difference(spec, path / "adapter", batch, logits)
    info["parameters"] = dict(trainable=sum(p.numel() for p in trainable(model).values()),
                              total=sum(p.numel() for p in model.parameters()))

    # merging
    if "subset" not in spec and not model.active_peft_config.is_prompt_learning:
        try:
            merged_model, merged = merged_weights(model, base)
            with torch.no_grad():
                info["merged_logits_diff"] = max_abs_diff(logits_of(merged_model.eval()(**batch)), logits)
            expected.update({f"merged.{n}": w for n, w in merged.items()})
        except (NotImplementedError, AttributeError, ValueError) as error:
            info["merge_error"] = repr(error)

    # greedy generation
    if info["task"] == CAUSAL and name not in ("llama-full", "gpt2-full"):
        pad = model_table()[spec["base"]][2]["pad_token_id"]
        prompt = make_prompt(spec["base"], f"methods/{name}", padded=False)
        try:
            expected |= greedy(model, prompt, pad)
            inputs["prompt"] = lists(prompt)
        except Exception as error:  # noqa: BLE001  some methods cannot generate under some transformers versions
            info["generate_error"] = repr(error)[:300]

    # training curve, then the same in float64 to know the natural tolerance
    double = copy.deepcopy(model).double() if spec.get("hook") is None else None
    curve = train_curve(model, batch, optimiser, spec.get("hook"))
    after = {n: p.detach().clone() for n, p in trainable(model).items()}
    expected["losses"] = torch.tensor(curve["losses"])
    info.update(lrs=curve["lrs"], grad_norms=curve["grad_norms"], losses=curve["losses"],
                final_loss=curve["final_loss"])
    with torch.no_grad():
        expected["trained_logits"] = logits_of(model.eval()(**batch))
    info["trained_effect"] = max_abs_diff(base_logits, expected["trained_logits"][:, -base_logits.shape[1]:]
                                          if base_logits.ndim == 3 else expected["trained_logits"])
    save_adapter(model, spec, path / "trained")
    if spec.get("trainable"):
        write_tensors(path / "trained_trainable.safetensors", after)
    info["trained_reload_max_abs_diff"] = reload_difference(spec, path / "trained", batch, expected["trained_logits"])
    if spec.get("convert"):  # plain LoRA of twice the rank for the unchanged base
        initial = path / "initial"
        model.peft_config["default"].init_lora_weights = True
        fresh_dir(initial)
        for f in (path / "adapter").iterdir():
            shutil.copy(f, initial)
        cfg = json.loads((initial / "adapter_config.json").read_text())
        (initial / "adapter_config.json").write_text(json.dumps({**cfg, "init_lora_weights": True}))
        model.peft_config["default"].init_lora_weights = spec["config"][1]["init_lora_weights"]
        model.save_pretrained(path / "converted", path_initial_model_for_weight_conversion=str(initial))
        (path / "converted" / "README.md").unlink(missing_ok=True)
        shutil.rmtree(initial)
        info["converted_max_abs_diff"] = reload_difference(spec, path / "converted", batch, expected["trained_logits"])
    if double is not None:
        try:
            info["fp64_gap"] = fp64_gap(double, doubled(batch), optimiser, logits, grads, curve, after,
                                        expected["trained_logits"])
        except Exception as error:  # noqa: BLE001
            info["fp64_error"] = repr(error)[:300]
    write_json(path / "inputs.json", inputs)
    write_json(path / "case.json", info)
    write_tensors(path / "expected.safetensors", expected)
    return (info["adapter_effect"], max(info["reload_max_abs_diff"], info["trained_reload_max_abs_diff"]),
            info["trained_effect"])


def fp64_gap(model, batch, optimiser, logits, grads, curve, after, trained_logits):
    """Largest differences between the float32 numbers and a float64 run of the same computation."""
    logits64, loss64, _, grads64 = evaluate(model, batch)
    curve64 = train_curve(model, batch, optimiser)
    after64 = trainable(model)
    with torch.no_grad():
        trained_logits64 = logits_of(model.eval()(**batch))
    if not torch.isfinite(logits64).all():  # fully masked rows of sliding-window models are NaN in float64
        return None
    return dict(
        logits=max_abs_diff(logits, logits64),
        grad=max(max_abs_diff(g, grads64[n]) for n, g in grads.items() if g is not None),
        losses=max(abs(a - b) for a, b in zip(curve["losses"], curve64["losses"])),
        grad_norms=max(abs(a - b) for a, b in zip(curve["grad_norms"], curve64["grad_norms"])),
        trained_logits=max_abs_diff(trained_logits, trained_logits64),
        trained={n: max_abs_diff(p, after64[n]) for n, p in after.items()
                 if max_abs_diff(p, after64[n]) > 1e-4},  # only the noise-driven ones
        trained_max=max(max_abs_diff(p, after64[n]) for n, p in after.items()))


# ---------------------------------------------------------------------------------------------------------------------
# Several adapters at once
# ---------------------------------------------------------------------------------------------------------------------


def two_adapters(ranks, alphas, targets=("q_proj", "v_proj"), key="multi"):
    import peft

    model = None
    for i, adapter in enumerate(("a", "b")):
        cfg = peft.LoraConfig(r=ranks[i], lora_alpha=alphas[i], target_modules=list(targets), task_type="CAUSAL_LM")
        torch.manual_seed(subseed(f"{key}/{adapter}"))
        if model is None:
            model = peft.get_peft_model(load_base("llama"), cfg, adapter_name=adapter)
        else:
            model.add_adapter(adapter, cfg)
        model.peft_config[adapter].base_model_name_or_path = "models/llama"
    gen = generator(f"adapter/{key}")
    for n, p in model.named_parameters():
        if "lora_" in n:
            p.data.add_(torch.randn(p.shape, generator=gen) * 0.15)
    return model.eval()


def save_one(model, adapter, path):
    """save_pretrained puts a non-default adapter into a sub-folder of its own name; undo that."""
    fresh_dir(path)
    model.save_pretrained(path, selected_adapters=[adapter])
    inner = Path(path) / adapter
    for f in inner.iterdir():
        if f.suffix in (".json", ".safetensors"):
            f.rename(Path(path) / f.name)
    shutil.rmtree(inner)
    (Path(path) / "README.md").unlink(missing_ok=True)


def multi_table():
    w = pick([0.7, 0.4], [1.3, -0.6])
    density = pick(0.5, 0.3)
    return {
        "linear": dict(weights=w), "linear-negative": dict(weights=pick([0.8, -0.5], [-0.3, 0.9]), kind="linear"),
        "cat": dict(weights=w, ranks=pick([4, 3], [2, 6])), "svd": dict(weights=w, ranks=pick([4, 3], [2, 6])),
        "svd-rank": dict(weights=w, kind="svd", svd_rank=pick(2, 3)),
        "svd-clamp": dict(weights=w, kind="svd", svd_clamp=0.9),
        "ties": dict(weights=w, density=density), "ties-frequency": dict(weights=w, density=density, kind="ties",
                                                                        majority_sign_method="frequency"),
        "ties_svd": dict(weights=w, density=density),
        "magnitude_prune": dict(weights=w, density=density), "magnitude_prune_svd": dict(weights=w, density=density),
        "dare_linear": dict(weights=w, density=density, seed=True),
        "dare_ties": dict(weights=w, density=density, seed=True),
    }


def write_multi_case(name):
    import peft

    path = Path("multi") / name
    fresh_dir(path)
    batch = make_batch("llama", "multi")
    if name == "mixed-batch":
        return write_mixed_batch(path, batch)
    spec = multi_table()[name]
    ranks = spec.get("ranks", pick([4, 4], [5, 5]))
    alphas = pick([8, 6], [5, 15])
    model = two_adapters(ranks, alphas)
    kind = spec.get("kind", name)
    args = {k: spec[k] for k in ("svd_rank", "svd_clamp", "density", "majority_sign_method") if k in spec}
    seed = subseed(name) if spec.get("seed") else None
    if seed is not None:
        torch.manual_seed(seed)
    for adapter in ("a", "b"):
        save_one(model, adapter, path / f"adapter_{adapter}")
    if seed is not None:
        torch.manual_seed(seed)
    model.add_weighted_adapter(["a", "b"], spec["weights"], "c", combination_type=kind, **args)
    save_one(model, "c", path / "result")
    model.set_adapter("c")
    with torch.no_grad():
        logits = model(**batch).logits
        base_logits = load_base("llama")(**batch).logits
    expected = {"logits": logits}
    for mname, module in model.get_base_model().named_modules():
        if hasattr(module, "get_delta_weight"):
            expected[f"delta.{mname}.weight"] = module.get_delta_weight("c")
    write_json(path / "case.json", dict(name=name, base="models/llama", adapters=["adapter_a", "adapter_b"],
                                        weights=spec["weights"], combination_type=kind, torch_seed=seed, **args))
    write_json(path / "inputs.json", {"forward": lists(batch)})
    write_tensors(path / "expected.safetensors", expected)
    again = peft.PeftModel.from_pretrained(load_base("llama"), path / "result").eval()
    with torch.no_grad():
        return max_abs_diff(logits, base_logits), max_abs_diff(again(**batch).logits, logits)


def write_mixed_batch(path, batch):
    """Row i of the batch goes through adapter_names[i]; also both adapters active at once, and each alone."""
    model = two_adapters(pick([4, 2], [3, 6]), pick([8, 6], [5, 15]))
    for adapter in ("a", "b"):
        save_one(model, adapter, path / f"adapter_{adapter}")
    rows = pick(["a", "b", "__base__"], ["b", "__base__", "a"])
    inference = {k: v for k, v in batch.items() if k != "labels"}
    expected = {}
    with torch.no_grad():
        expected["mixed.logits"] = model(**inference, adapter_names=rows).logits
        for adapter in ("a", "b"):
            model.set_adapter(adapter)
            expected[f"{adapter}.logits"] = model(**inference).logits
        model.base_model.set_adapter(["a", "b"])
        expected["both.logits"] = model(**inference).logits
        with model.disable_adapter():
            expected["base.logits"] = model(**inference).logits
    merged = copy.deepcopy(model).merge_and_unload(adapter_names=["a", "b"])
    with torch.no_grad():
        expected["both_merged.logits"] = merged(**inference).logits
    write_json(path / "case.json", dict(name="mixed-batch", base="models/llama", adapters=["adapter_a", "adapter_b"],
                                        adapter_names=rows))
    write_json(path / "inputs.json", {"forward": lists(inference)})
    write_tensors(path / "expected.safetensors", expected)
    return max_abs_diff(expected["mixed.logits"], expected["base.logits"]), None


# ---------------------------------------------------------------------------------------------------------------------
# Quantisation (bitsandbytes on the CPU)
# ---------------------------------------------------------------------------------------------------------------------


def write_quant_blocks():
    """Raw 4-bit quantisation of a few tensors: packed bytes, scales, dequantised values."""
    import bitsandbytes.functional as bnb

    path = Path("quant/blocks")
    fresh_dir(path)
    fix_bitsandbytes()
    gen, tensors, cases = generator("quant"), {}, []
    shapes = pick([(32, 64), (33, 10), (8, 512)], [(48, 64), (7, 30), (16, 300)])
    for shape in shapes:
        for scale in (1.0, 0.02):
            weight = torch.randn(shape, generator=gen) * scale
            if scale == 0.02:
                weight[0, :] = 0.0  # exact zeros
            for kind in ("nf4", "fp4"):
                for double in (False, True):
                    for blocksize in (64, 128):
                        if blocksize == 128 and (double or kind == "fp4"):
                            continue
                        key = f"{kind}.{'x'.join(map(str, shape))}.{scale}.b{blocksize}{'.double' if double else ''}"
                        packed, st = bnb.quantize_4bit(weight, blocksize=blocksize, quant_type=kind,
                                                       compress_statistics=double)
                        absmax = bnb.dequantize_blockwise(st.absmax, st.state2) + st.offset if double else st.absmax
                        assert torch.equal(bnb.dequantize_4bit(packed, st),
                                           by_the_table(packed, absmax, st.code, blocksize, shape))
                        tensors |= {f"{key}.weight": weight, f"{key}.packed": packed, f"{key}.absmax": st.absmax,
                                    f"{key}.code": st.code, f"{key}.dequantised": bnb.dequantize_4bit(packed, st)}
                        if double:
                            tensors |= {f"{key}.nested_absmax": st.state2.absmax, f"{key}.nested_code": st.state2.code,
                                        f"{key}.offset": st.offset.reshape(1)}
                        cases.append(dict(key=key, quant_type=kind, blocksize=blocksize, double_quant=double,
                                          shape=list(shape), nested_blocksize=st.state2.blocksize if double else None))
    weight = torch.randn(pick((5, 700), (3, 900)), generator=gen)
    q, st = bnb.quantize_blockwise(weight, blocksize=256)
    tensors |= {"dynamic8.weight": weight, "dynamic8.packed": q, "dynamic8.absmax": st.absmax,
                "dynamic8.code": st.code, "dynamic8.dequantised": bnb.dequantize_blockwise(q, st)}
    write_tensors(path / "expected.safetensors", tensors)
    write_json(path / "case.json", dict(cases=cases, source="bitsandbytes on CPU"))
    return None, None


def write_quant_model(kind, double):
    """llama with a 4-bit base as transformers + bitsandbytes save it, and LoRA on top of it (QLoRA)."""
    import peft
    import transformers as tf

    name = f"llama-{kind}{'-double' if double else ''}"
    path = Path("quant") / name
    fresh_dir(path)
    fix_bitsandbytes()
    batch = make_batch("llama", f"quant/{name}")
    config = tf.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type=kind, bnb_4bit_use_double_quant=double,
                                   bnb_4bit_compute_dtype=torch.float32)

    def quantised():
        model = load_base("llama", quantization_config=config, device_map={"": "cpu"})
        for module in model.modules():
            if hasattr(module, "support_avx512bf16_for_cpu"):
                module.support_avx512bf16_for_cpu = False  # no fused bfloat16 kernel: dequantise and multiply in float32
        return model

    base = quantised()
    base.save_pretrained(path / "base")
    with torch.no_grad():
        base_logits, full_logits = base(**batch).logits, load_base("llama")(**batch).logits
    targets = pick("all-linear", ["q_proj", "v_proj", "down_proj"])
    model = peft.get_peft_model(quantised(), peft.LoraConfig(r=pick(4, 3), lora_alpha=pick(8, 7), target_modules=targets,
                                                             task_type="CAUSAL_LM"))
    model.peft_config["default"].base_model_name_or_path = "models/llama"
    perturb(model, f"quant/{name}", 0.12)
    save_adapter(model, {}, path / "adapter")
    logits, loss, _, grads = evaluate(model, batch)
    expected = {"base_logits": base_logits, "logits": logits, "loss": loss,
                **{f"grad.{n}": g for n, g in grads.items()}}
    # the dequantised base weights: an implementation may simply run on these
    import bitsandbytes.functional as bnb

    for mname, module in base.named_modules():
        if type(module).__name__ == "Linear4bit":
            expected[f"dequantised.{mname}.weight"] = bnb.dequantize_4bit(module.weight.data,
                                                                          module.weight.quant_state)
    plain = load_base("llama")
    plain.load_state_dict({n.removeprefix("dequantised."): w for n, w in expected.items()
                           if n.startswith("dequantised.")}, strict=False)
    with torch.no_grad():  # bitsandbytes' layers are exactly "dequantise, then multiply"
        assert max_abs_diff(plain(**batch).logits, base_logits) < 1e-5
    optimiser = optimiser_spec()
    curve = train_curve(model, batch, optimiser)
    expected["losses"] = torch.tensor(curve["losses"])
    save_adapter(model, {}, path / "trained")
    effect = max_abs_diff(base_logits, logits)
    write_tensors(path / "expected.safetensors", expected)
    write_json(path / "inputs.json", {"forward": lists(batch)})
    write_json(path / "case.json", dict(name=name, base="models/llama", quant_type=kind, double_quant=double,
                                        blocksize=64, optimiser=optimiser, losses=curve["losses"], lrs=curve["lrs"],
                                        grad_norms=curve["grad_norms"], final_loss=curve["final_loss"],
                                        adapter_effect=effect,
                                        quantisation_effect=max_abs_diff(base_logits, full_logits)))
    reloaded = peft.PeftModel.from_pretrained(quantised(), path / "adapter").eval()
    with torch.no_grad():
        return effect, max_abs_diff(reloaded(**batch).logits, logits)


# ---------------------------------------------------------------------------------------------------------------------
# Random numbers, optimisers, schedules
# ---------------------------------------------------------------------------------------------------------------------


def write_rng():
    from peft.tuners.vera.model import _kaiming_init

    path = Path("rng")
    fresh_dir(path)
    tensors, cases = {}, []

    def add(kind, seed, shape, value, **extra):
        key = f"{len(cases)}.{kind}"
        assert torch.isfinite(value.double()).all()
        tensors[key] = value
        cases.append(dict(key=key, call=kind, seed=seed, shape=list(shape), **extra))

    sizes = pick([(1,), (5,), (15,), (16,), (17,), (40,), (7, 33), (640,)], [(2,), (9,), (16,), (31,), (64,), (11, 59)])
    for seed in pick([0, 1, 42, 12345, 2**31 + 7], [3, 777, 2**32 - 1, 2**40 + 5]):
        for shape in sizes:
            for kind, call in (("rand", torch.rand), ("randn", torch.randn)):
                add(kind, seed, shape, call(shape, generator=torch.Generator().manual_seed(seed)))
        for shape in ((4, 6), (16, 32)):
            torch.manual_seed(seed)  # the global generator, as nn.init uses it
            add("kaiming_uniform_(a=sqrt(5))", seed, shape, torch.nn.init.kaiming_uniform_(torch.empty(shape),
                                                                                          a=math.sqrt(5)))
            torch.manual_seed(seed)
            add("normal_(std=0.5)", seed, shape, torch.empty(shape).normal_(std=0.5))
        for n in (1, 2, 10, 100):
            add("randperm", seed, (n,), torch.randperm(n, generator=torch.Generator().manual_seed(seed)))
        add("randint(0,1000)", seed, (20,), torch.randint(0, 1000, (20,), generator=torch.Generator().manual_seed(seed)))
        add("bernoulli(0.3)", seed, (40,), torch.bernoulli(torch.full((40,), 0.3),
                                                           generator=torch.Generator().manual_seed(seed)))
        gen = torch.Generator().manual_seed(seed)  # two calls in a row continue the same stream
        add("rand-then-randn", seed, (3 + 20,), torch.cat([torch.rand(3, generator=gen), torch.randn(20, generator=gen)]))
        for r, n_in, n_out in pick([(4, 10, 6), (16, 64, 32), (256, 33, 70)], [(3, 9, 12), (20, 48, 80)]):
            gen = torch.Generator(device="cpu").manual_seed(seed)  # VeraModel._init_vera_A_vera_B
            a, b = _kaiming_init((r, n_in), generator=gen), _kaiming_init((n_out, r), generator=gen)
            add("vera_A", seed, (r, n_in), a, r=r, in_features=n_in, out_features=n_out)
            add("vera_B", seed, (n_out, r), b, r=r, in_features=n_in, out_features=n_out)
    write_tensors(path / "expected.safetensors", tensors)
    write_json(path / "cases.json", cases)
    return None, None


class Lion(torch.optim.Optimizer):
    """Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms", with decoupled weight decay."""

    def __init__(self, params, lr, betas=(0.9, 0.99), weight_decay=0.0):
        super().__init__(params, dict(lr=lr, betas=betas, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            b1, b2 = group["betas"]
            for p in group["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_((m * b1 + p.grad * (1 - b1)).sign(), alpha=-group["lr"])
                m.mul_(b2).add_(p.grad, alpha=1 - b2)


def write_optim():
    import torch.optim as to
    import transformers as tf

    path = Path("optim")
    fresh_dir(path)
    gen = generator("optim")
    start = {"matrix": torch.randn(4, 5, generator=gen), "vector": torch.randn(6, generator=gen)}
    grads = [{k: torch.randn(v.shape, generator=gen) * 10.0 ** -(i % 3) for k, v in start.items()} for i in range(6)]
    grads[3]["vector"][0] = 0.0
    lr = pick(1e-2, 3e-3)
    # torch.optim.Adafactor is not transformers' one; both are given
    builders = {
        "adamw": ("torch.optim.AdamW", dict(lr=lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)),
        "adamw-2": ("torch.optim.AdamW", dict(lr=lr, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1)),
        "adam-l2": ("torch.optim.Adam", dict(lr=lr, weight_decay=0.1)),
        "adamw-amsgrad": ("torch.optim.AdamW", dict(lr=lr, amsgrad=True)),
        "sgd": ("torch.optim.SGD", dict(lr=lr)),
        "sgd-momentum": ("torch.optim.SGD", dict(lr=lr, momentum=0.9, weight_decay=0.05)),
        "sgd-nesterov": ("torch.optim.SGD", dict(lr=lr, momentum=0.9, nesterov=True)),
        "sgd-dampening": ("torch.optim.SGD", dict(lr=lr, momentum=0.9, dampening=0.3)),
        "adafactor-torch": ("torch.optim.Adafactor", dict(lr=lr, weight_decay=0.01)),
        "adafactor-hf-relative": ("transformers.Adafactor", dict(lr=None, scale_parameter=True, relative_step=True,
                                                                 warmup_init=False)),
        "adafactor-hf-fixed": ("transformers.Adafactor", dict(lr=lr, scale_parameter=False, relative_step=False,
                                                              weight_decay=0.01)),
        "adafactor-hf-beta1": ("transformers.Adafactor", dict(lr=lr, scale_parameter=True, relative_step=False,
                                                              beta1=0.9)),
        "lion": ("Lion", dict(lr=lr, betas=(0.9, 0.99), weight_decay=0.1)),
        "rmsprop": ("torch.optim.RMSprop", dict(lr=lr, alpha=0.9)),
    }
    classes = {"Lion": Lion, "transformers.Adafactor": getattr(tf, "Adafactor", None) or
               __import__("transformers.optimization", fromlist=["Adafactor"]).Adafactor}
    out = []
    for name, (cls, args) in builders.items():
        params = {k: torch.nn.Parameter(v.clone()) for k, v in start.items()}
        opt = (classes.get(cls) or getattr(to, cls.split(".")[-1]))(list(params.values()), **args)
        steps = []
        for g in grads:
            for k, p in params.items():
                p.grad = g[k].clone()
            opt.step()
            steps.append(lists({k: p.detach() for k, p in params.items()}))
        out.append(dict(name=name, optimiser=cls, args=args, after_step=steps))
    write_json(path / "optimisers.json", dict(start=lists(start), gradients=[lists(g) for g in grads], cases=out))

    schedules, steps, warm = [], 50, pick(7, 5)
    for name, args in (("linear", {}), ("cosine", {}), ("cosine", {"num_cycles": 1.5}),
                       ("cosine_with_restarts", {"num_cycles": 3}), ("constant", {}), ("constant_with_warmup", {}),
                       ("polynomial", {"power": 2.0, "lr_end": 1e-5}), ("polynomial", {}),
                       ("cosine_with_min_lr", {"min_lr": 1e-4}), ("inverse_sqrt", {})):
        opt = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
        sched = tf.get_scheduler(name, opt, num_warmup_steps=warm, num_training_steps=steps,
                                 scheduler_specific_kwargs=args or None)
        lrs = []
        for _ in range(steps):
            lrs.append(opt.param_groups[0]["lr"])
            opt.step()
            sched.step()
        schedules.append(dict(name=name, args=args, base_lr=lr, warmup_steps=warm if name != "constant" else 0,
                              total_steps=steps, lr_of_update=lrs, lr_after_end=opt.param_groups[0]["lr"]))
    write_json(path / "schedules.json", schedules)

    clips = []
    for bound in (0.5, 1.0, 1e6):
        params = [torch.nn.Parameter(v.clone()) for v in start.values()]
        for p, g in zip(params, grads[0].values()):
            p.grad = g.clone()
        norm = torch.nn.utils.clip_grad_norm_(params, bound)
        clips.append(dict(max_norm=bound, norm=norm.item(), clipped=[p.grad.tolist() for p in params]))
    write_json(path / "clipping.json", dict(gradients=[g.tolist() for g in grads[0].values()], cases=clips))
    return None, None



# ---------------------------------------------------------------------------------------------------------------------
# Bottleneck adapters (the AdapterHub `adapters` package; runs under its own Python)
# ---------------------------------------------------------------------------------------------------------------------


def bottleneck_table():
    """name -> (base, AdapterHub configuration string, changes)"""
    red = pick(4, 6)
    return {
        "roberta_cls-double_seq_bn": ("roberta_cls", "double_seq_bn", dict(reduction_factor=red)),  # Houlsby 2019
        "roberta_cls-seq_bn": ("roberta_cls", "seq_bn", dict(reduction_factor=red)),  # Pfeiffer
        "roberta_cls-par_bn": ("roberta_cls", "par_bn", dict(reduction_factor=pick(2, 3))),
        "roberta_cls-seq_bn-gelu-ln": ("roberta_cls", "seq_bn", dict(reduction_factor=pick(2, 3), non_linearity="gelu",
                                       ln_before=True, ln_after=pick(False, True), scaling=pick(1.5, 0.7))),
        "bert_cls-double_seq_bn": ("bert_cls", "double_seq_bn", dict(reduction_factor=pick(2, 4), leave_out=[0])),
        "bert_cls-houlsby-order": ("bert_cls", "double_seq_bn", dict(reduction_factor=4, original_ln_before=True,
                                   residual_before_ln=pick(False, "post_add"))),
        "distilbert_cls-seq_bn": ("distilbert_cls", "seq_bn", dict(reduction_factor=red)),
        "gpt2-double_seq_bn": ("gpt2", "double_seq_bn", dict(reduction_factor=red)),
        "gpt2-seq_bn": ("gpt2", "seq_bn", dict(reduction_factor=red)),
        "gpt2-par_bn": ("gpt2", "par_bn", dict(reduction_factor=pick(4, 2))),
        "llama-seq_bn": ("llama_legacy", "seq_bn", dict(reduction_factor=red)),
    }


def load_for_adapterhub(base):
    import adapters

    if base.endswith("_legacy"):  # transformers 4 reads the older config
        from transformers import AutoConfig, AutoModelForCausalLM

        name = base.removesuffix("_legacy")
        legacy = json.loads(Path(f"models/{name}/config.legacy.json").read_text())
        config = AutoConfig.for_model(legacy.pop("model_type"), **legacy)
        model = AutoModelForCausalLM.from_pretrained(f"models/{name}", config=config, attn_implementation="eager",
                                                     torch_dtype=torch.float32)
    else:
        model = load_base(base)
    adapters.init(model)
    return model.eval()


def write_bottleneck_case(name):
    import adapters

    base, kind, changes = bottleneck_table()[name]
    plain = base.removesuffix("_legacy")
    path = Path("bottleneck") / name
    fresh_dir(path)
    batch = make_batch(plain, f"bottleneck/{name}")
    with torch.no_grad():
        base_logits = load_for_adapterhub(base)(**batch).logits
    model = load_for_adapterhub(base)
    config = adapters.AdapterConfig.load(kind, **changes)
    torch.manual_seed(subseed(name))
    model.add_adapter("fit", config=config)
    model.train_adapter("fit")  # freezes the base; a classification head stays trainable
    perturb(model, f"bottleneck/{name}", 0.12)
    save_bottleneck(model, path / "adapter")
    write_tensors(path / "trainable.safetensors", trainable(model))
    logits, loss, _, grads = evaluate(model, batch)
    expected = {"logits": logits, "loss": loss, **{f"grad.{n}": g for n, g in grads.items() if g is not None}}
    optimiser = optimiser_spec()
    curve = train_curve(model, batch, optimiser)
    expected["losses"] = torch.tensor(curve["losses"])
    with torch.no_grad():
        expected["trained_logits"] = model.eval()(**batch).logits
    write_tensors(path / "trained_trainable.safetensors", trainable(model))
    save_bottleneck(model, path / "trained")
    again = load_for_adapterhub(base)
    again.load_adapter(str(path / "adapter"), set_active=True)
    with torch.no_grad():
        reload = max_abs_diff(again.eval()(**batch).logits, logits)
    effect = max_abs_diff(base_logits, logits)
    write_tensors(path / "expected.safetensors", expected)
    write_json(path / "inputs.json", {"forward": lists(batch)})
    write_json(path / "case.json", dict(
        name=name, base=f"models/{plain}", method=kind, settings=config.to_dict(), optimiser=optimiser,
        library=f"adapters {adapters.__version__}", adapter_effect=effect, reload_max_abs_diff=reload,
        without_gradient=[n for n, g in grads.items() if g is None],
        parameters=dict(trainable=sum(p.numel() for p in trainable(model).values())),
        lrs=curve["lrs"], grad_norms=curve["grad_norms"], losses=curve["losses"], final_loss=curve["final_loss"]))
    return effect, reload


def save_bottleneck(model, path):
    """AdapterHub's own files (pytorch_adapter.bin and head), and the same tensors as safetensors."""
    model.save_adapter(str(path), "fit")
    for f in path.glob("*.bin"):
        write_tensors(f.with_suffix(".safetensors"), torch.load(f, map_location="cpu", weights_only=True))


# ---------------------------------------------------------------------------------------------------------------------
# Metrics
# ---------------------------------------------------------------------------------------------------------------------

E2E_SCRIPT = """
import json, sys
import measure_scores as m
from metrics.pymteval import BLEUScore, NISTScore
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer
out = []
for case in json.load(open(sys.argv[1])):
    refs, sys_out = case["references"], case["outputs"]
    coco = m.run_coco_eval(refs, sys_out)
    scores = dict(coco.eval, **m.run_pymteval(refs, sys_out))
    rows = []
    for i, (r, s) in enumerate(zip(refs, sys_out)):
        row = {k: float(coco.imgToEval["inst-%d" % i][k]) for k in ("METEOR", "ROUGE_L", "CIDEr")}
        for key, scorer in (("BLEU", BLEUScore()), ("sentBLEU", BLEUScore(smoothing=1.0)), ("NIST", NISTScore())):
            scorer.append(s, r)
            try:
                row[key] = float(scorer.score())
            except ZeroDivisionError:
                row[key] = None  # too short for this score
        rows.append(row)
    tok = PTBTokenizer().tokenize({i: [dict(caption=s)] + [dict(caption=x) for x in r]
                                   for i, (r, s) in enumerate(zip(refs, sys_out))})
    out.append(dict(case, scores={k: float(v) for k, v in scores.items()}, segments=rows,
                    ptb_tokenised=[dict(output=tok[i][0], references=tok[i][1:]) for i in range(len(refs))]))
json.dump(out, open(sys.argv[2], "w"))
"""


def sentences():
    """Small hand-made corpora with the usual troubles: punctuation, case, numbers, repeats, empty output."""
    pool = pick([
        ("The cat sat on the mat.", ["The cat is on the mat.", "There is a cat on the mat."]),
        ("Prices rose 3.5% in 2019, to $1,200.", ["Prices increased by 3.5% in 2019 to $1,200.",
                                                  "In 2019 prices went up 3.5%, reaching $1,200."]),
        ("He said: \"I don't know\" - twice!", ["He said \"I do not know\" twice.", "Twice he said, \"I don't know\"!"]),
        ("the the the the", ["the cat", "a cat"]),
        ("Aromi is a family-friendly coffee shop by the riverside.",
         ["Aromi is a family friendly coffee shop located by the riverside.",
          "By the riverside is Aromi, a family-friendly coffee shop."]),
        ("Café Zürich costs £20-25 & more.", ["Café Zürich costs £20 to £25 and more.", "It costs £20-25."]),
        ("x", ["x y z", "x"]),
    ], [
        ("A dog runs quickly through the park!", ["The dog ran through a park.", "A dog is running in the park quickly!"]),
        ("On 12/05/2021 it cost 1,000.50 dollars.", ["It cost 1,000.50 dollars on 12/05/2021.",
                                                     "The price was $1000.50 on that day."]),
        ("They're (really) not here; we aren't either.", ["They are really not here, and neither are we.",
                                                        "They're not here; we're not either."]),
        ("and and and", ["and so on", "this and that"]),
        ("The Vaults is a kid-friendly pub near Café Adriatic.",
         ["The Vaults pub near Café Adriatic is kid friendly.", "Near Café Adriatic there is a kid-friendly pub, The Vaults."]),
        ("Temperatures: -5.5°C... brr", ["The temperature is -5.5 °C.", "-5.5°C, brr!"]),
        ("yes", ["no", "yes yes"]),
    ])
    return [p[0] for p in pool], [p[1] for p in pool]


def write_metrics(name):
    path = Path("metrics")
    path.mkdir(exist_ok=True)
    gen = generator("metrics")
    if name == "classification":
        write_classification_metrics(path, gen)
    elif name == "text":
        write_text_metrics(path)
    else:
        write_e2e_metrics(path, gen)
    return None, None


def write_classification_metrics(path, gen):
    from scipy import stats
    from sklearn import metrics as sk

    cases = []
    for classes, n in pick([(2, 24), (2, 9), (3, 30), (4, 17), (2, 5)], [(2, 31), (2, 8), (3, 20), (5, 40), (2, 4)]):
        labels = torch.randint(0, classes, (n,), generator=gen)
        noise = torch.randint(0, classes, (n,), generator=gen)
        preds = torch.where(torch.rand(n, generator=gen) < 0.6, labels, noise)
        if n <= 5:
            preds = torch.zeros(n, dtype=torch.long)  # one class is never predicted
        y, p = labels.tolist(), preds.tolist()
        case = dict(labels=y, predictions=p, accuracy=sk.accuracy_score(y, p), mcc=sk.matthews_corrcoef(y, p),
                    confusion=sk.confusion_matrix(y, p, labels=list(range(classes))).tolist())
        for avg in ("binary", "macro", "micro", "weighted") if classes == 2 else ("macro", "micro", "weighted"):
            args = dict(average=avg, zero_division=0)
            case[f"f1_{avg}"] = sk.f1_score(y, p, **args)
            case[f"precision_{avg}"] = sk.precision_score(y, p, **args)
            case[f"recall_{avg}"] = sk.recall_score(y, p, **args)
        cases.append(case)
    regressions = []
    for n, ties in ((20, False), (15, True), (3, False), (6, True)):
        x = torch.rand(n, generator=gen) * 5
        y = 0.6 * x + torch.rand(n, generator=gen) * 3
        if ties:
            x, y = x.round(), y.round()
        x, y = [round(v, 4) for v in x.tolist()], [round(v, 4) for v in y.tolist()]
        regressions.append(dict(x=x, y=y, pearson=float(stats.pearsonr(x, y)[0]),
                                spearman=float(stats.spearmanr(x, y)[0]), kendall=float(stats.kendalltau(x, y)[0]),
                                mse=sk.mean_squared_error(y, x), mae=sk.mean_absolute_error(y, x)))
    write_json(path / "classification.json", dict(classification=cases, regression=regressions))


def write_text_metrics(path):
    import sacrebleu
    from rouge_score import rouge_scorer

    outputs, refs = sentences()
    streams = [[r[i] for r in refs] for i in range(2)]
    bleu = sacrebleu.metrics.BLEU(tokenize="13a")
    score = bleu.corpus_score(outputs, streams)
    result = dict(outputs=outputs, references=refs, tokenised_13a=[
        sacrebleu.tokenizers.tokenizer_13a.Tokenizer13a()(s) for s in outputs + [x for r in refs for x in r]])
    result["bleu"] = dict(score=score.score, precisions=score.precisions, bp=score.bp, sys_len=score.sys_len,
                          ref_len=score.ref_len, counts=score.counts, totals=score.totals)
    result["bleu_single_reference"] = sacrebleu.corpus_bleu(outputs, streams[:1], tokenize="13a").score
    result["bleu_lowercase"] = sacrebleu.corpus_bleu(outputs, streams, tokenize="13a", lowercase=True).score
    for smooth in ("none", "exp", "floor", "add-k"):
        result[f"bleu_smooth_{smooth}"] = sacrebleu.corpus_bleu(outputs[3:5], [s[3:5] for s in streams],
                                                                smooth_method=smooth, tokenize="13a").score
    result["sentence_bleu"] = [sacrebleu.sentence_bleu(o, r, tokenize="13a").score for o, r in zip(outputs, refs)]
    result["chrf"] = sacrebleu.corpus_chrf(outputs, streams).score
    result["chrf++"] = sacrebleu.corpus_chrf(outputs, streams, word_order=2).score
    result["sentence_chrf"] = [sacrebleu.sentence_chrf(o, r).score for o, r in zip(outputs, refs)]
    result["ter"] = sacrebleu.corpus_ter(outputs, streams).score
    for stem in (False, True):
        scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL", "rougeLsum"], use_stemmer=stem)
        result["rouge_stemmed" if stem else "rouge"] = [
            [{k: dict(precision=v.precision, recall=v.recall, f=v.fmeasure) for k, v in scorer.score(ref, o).items()}
             for ref in r] for o, r in zip(outputs, refs)]
    write_json(path / "text.json", result)


def write_e2e_metrics(path, gen):
    """BLEU, NIST, METEOR, ROUGE_L, CIDEr of the E2E challenge script (`measure_scores.py -p`)."""
    import csv

    outputs, refs = sentences()
    cases = [dict(name="hand-made", outputs=outputs, references=refs)]
    examples = Path(E2E_METRICS) / "example-inputs"
    groups = examples.joinpath("devel-conc.txt").read_text().strip().split("\n\n")
    cases.append(dict(name="example-inputs", outputs=examples.joinpath("baseline-output.txt").read_text().split("\n")[:-1],
                      references=[g.strip().split("\n") for g in groups]))
    dev = HERE.parent / "data/e2e/devset.csv"
    by_mr = {}
    for row in csv.DictReader(open(dev, encoding="utf-8-sig")):
        by_mr.setdefault(row["mr"], []).append(row["ref"].strip())
    mrs = [m for m in by_mr if len(by_mr[m]) > 2]
    chosen = [mrs[i] for i in torch.randperm(len(mrs), generator=gen)[:pick(25, 30)].tolist()]
    outs = []
    for m in chosen:  # a left-out reference with some words dropped
        words = by_mr[m][0].split()
        keep = torch.rand(len(words), generator=gen) > 0.15
        outs.append(" ".join(w for w, k in zip(words, keep.tolist()) if k))
    cases.append(dict(name="devset-sample", outputs=outs, references=[by_mr[m][1:] for m in chosen]))
    tmp = Path("/tmp") / f"e2e-{os.getpid()}"
    fresh_dir(tmp)
    (tmp / "in.json").write_text(json.dumps(cases))
    env = {**os.environ, "PYTHONPATH": f"{E2E_METRICS}:" + os.environ.get("E2E_METRICS_EXTRA", "")}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", E2E_SCRIPT, tmp / "in.json", tmp / "out.json"],
                          cwd=E2E_METRICS, env=env, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-300:])
    results = json.loads((tmp / "out.json").read_text())
    write_json(path / "e2e.json", [r for r in results if r["name"] == "hand-made"])
    write_json(path / "e2e-real.json", [r for r in results if r["name"] != "hand-made"])  # other people's sentences
    shutil.rmtree(tmp)


# ---------------------------------------------------------------------------------------------------------------------
# Parameter counts
# ---------------------------------------------------------------------------------------------------------------------


def real_configs():
    """Hand-written configurations of well-known checkpoints: (auto task, config class, arguments)."""
    llama = dict(hidden_size=4096, num_hidden_layers=32, num_attention_heads=32, vocab_size=32000)
    qwen = dict(num_key_value_heads=2, vocab_size=151936, num_attention_heads=14, hidden_size=896,
                intermediate_size=4864, num_hidden_layers=24, tie_word_embeddings=True)
    roberta = dict(vocab_size=50265, max_position_embeddings=514, type_vocab_size=1, pad_token_id=1)
    gpt2 = dict(vocab_size=50257, n_positions=1024)
    return {
        "roberta-base": (CLS, "RobertaConfig", roberta),
        "roberta-large": (CLS, "RobertaConfig", dict(roberta, hidden_size=1024, num_hidden_layers=24,
                          num_attention_heads=16, intermediate_size=4096)),
        "deberta-v2-xxlarge": (CLS, "DebertaV2Config", dict(
            vocab_size=128100, hidden_size=1536, num_hidden_layers=48, num_attention_heads=24, intermediate_size=6144,
            relative_attention=True, position_buckets=256, norm_rel_ebd="layer_norm", share_att_key=True,
            pos_att_type=["p2c", "c2p"], position_biased_input=False, type_vocab_size=0, conv_kernel_size=3,
            conv_act="gelu", max_relative_positions=-1, pooler_hidden_size=1536)),
        "gpt2-medium": (CAUSAL, "GPT2Config", dict(gpt2, n_embd=1024, n_layer=24, n_head=16)),
        "gpt2-large": (CAUSAL, "GPT2Config", dict(gpt2, n_embd=1280, n_layer=36, n_head=20)),
        "llama-2-7b": (CAUSAL, "LlamaConfig", dict(llama, intermediate_size=11008)),
        "llama-3.1-8b": (CAUSAL, "LlamaConfig", dict(llama, intermediate_size=14336, num_key_value_heads=8,
                         vocab_size=128256, max_position_embeddings=131072)),
        "qwen2.5-0.5b": (CAUSAL, "Qwen2Config", qwen),
        "qwen2.5-7b": (CAUSAL, "Qwen2Config", dict(hidden_size=3584, intermediate_size=18944, num_hidden_layers=28,
                       num_attention_heads=28, num_key_value_heads=4, vocab_size=152064)),
        "mistral-7b": (CAUSAL, "MistralConfig", dict(llama, intermediate_size=14336, num_key_value_heads=8)),
        "smollm2-135m": (CAUSAL, "LlamaConfig", dict(hidden_size=576, intermediate_size=1536, num_hidden_layers=30,
                         num_attention_heads=9, num_key_value_heads=3, vocab_size=49152, tie_word_embeddings=True)),
    }


def count_methods(task, model_type):
    """(method class, arguments) to be counted for a model of this type."""
    kind = dict(task_type="CAUSAL_LM" if task == CAUSAL else "SEQ_CLS")
    attention = {"roberta": ["query", "value"], "deberta-v2": ["query_proj", "value_proj"], "gpt2": ["c_attn"],
                 "bert": ["query", "value"]}.get(model_type, ["q_proj", "v_proj"])
    ia3 = {"roberta": (["key", "value", "output.dense"], ["output.dense"]),
           "bert": (["key", "value", "output.dense"], ["output.dense"]),
           "deberta-v2": (["key_proj", "value_proj", "output.dense"], ["output.dense"]),
           "gpt2": (["c_attn", "mlp.c_proj"], ["mlp.c_proj"])}.get(model_type, (["k_proj", "v_proj", "down_proj"],
                                                                               ["down_proj"]))
    fan = dict(fan_in_fan_out=True) if model_type == "gpt2" else {}
    out = [("LoraConfig", dict(r=r, lora_alpha=16, target_modules=attention, **fan, **kind)) for r in pick((8, 4), (1, 64))]
    out += [("LoraConfig", dict(r=pick(16, 8), lora_alpha=16, target_modules="all-linear", **fan, **kind)),
            ("LoraConfig", dict(r=8, use_dora=True, target_modules=attention, **fan, **kind)),
            ("VeraConfig", dict(r=pick(256, 1024), target_modules=attention, **fan, **kind)),
            ("IA3Config", dict(target_modules=ia3[0], feedforward_modules=ia3[1], **fan, **kind))]
    if task == CAUSAL:
        out += [("PrefixTuningConfig", dict(num_virtual_tokens=pick(20, 30), **kind)),
                ("PrefixTuningConfig", dict(num_virtual_tokens=10, prefix_projection=True, encoder_hidden_size=512, **kind)),
                ("PromptTuningConfig", dict(num_virtual_tokens=pick(20, 8), **kind))]
    return out + [("BitFit", {})]


def write_memory(name):
    """Trainable and total parameters, counted on the meta device (no weights are made)."""
    import peft.tuners.vera.model as vera

    real_init = vera._kaiming_init
    vera._kaiming_init = lambda shape, generator: torch.empty(shape)  # meta tensors cannot take a CPU generator
    try:
        rows = count_all(name)
    finally:
        vera._kaiming_init = real_init
    write_json(Path("memory") / f"{name}.json", rows)
    return None, None


def count_all(name):
    import peft
    import transformers as tf

    rows = []
    configs = {n: (t, c, a) for n, (t, c, a) in model_table().items() if n in (
        "llama", "gpt2", "roberta_cls", "deberta_v2_cls", "qwen2", "bert_cls")} if name == "tiny" else real_configs()
    for model_name, (task, cls, args) in configs.items():
        config = getattr(tf, cls)(**args)
        for method, margs in count_methods(task, config.model_type):
            with torch.device("meta"):
                model = auto_class(task).from_config(config)
                base = sum(p.numel() for p in model.parameters())
                if method == "BitFit":
                    counted = {n: p for n, p in model.named_parameters() if n.endswith(".bias")}
                    train = sum(p.numel() for p in counted.values())
                    total = base
                    head = sum(p.numel() for n, p in model.named_parameters() if n.startswith("classifier"))
                else:
                    model = peft.get_peft_model(model, getattr(peft, method)(**copy.deepcopy(margs)))
                    train, total = model.get_nb_trainable_parameters()
                    head = sum(p.numel() for n, p in model.named_parameters()
                               if p.requires_grad and "modules_to_save" in n)
            rows.append(dict(model=model_name, task=task, config_class=cls, config=args, method=method, settings=margs,
                             base_parameters=base, trainable=train, total=total, of_which_saved_head=head))
    return rows


# ---------------------------------------------------------------------------------------------------------------------
# Command line
# ---------------------------------------------------------------------------------------------------------------------

def sections():
    return {
        "models": (list(model_table()), write_model_case),
        "methods": (list(method_table()), write_method_case),
        "multi": ([*multi_table(), "mixed-batch"], write_multi_case),
        "quant": (["blocks", "llama-nf4", "llama-nf4-double", "llama-fp4"], write_quant),
        "bottleneck": (list(bottleneck_table()), write_bottleneck_case),
        "metrics": (["classification", "text", "e2e"], write_metrics),
        "memory": (["tiny", "real"], write_memory),
        "rng": (["all"], lambda _: write_rng()),
        "optim": (["all"], lambda _: write_optim()),
    }


def write_quant(name):
    if name == "blocks":
        return write_quant_blocks()
    return write_quant_model("fp4" if "fp4" in name else "nf4", "double" in name)


def run_bottleneck(args):
    """The bottleneck section under the other interpreter; its rows are added to the summary."""
    only = [o for o in args.only or ["bottleneck"] if o.split("/")[0] == "bottleneck"]
    if not only:
        return
    if not Path(ADAPTERS_PYTHON).exists():
        SUMMARY.append(dict(case="bottleneck", skipped=f"{ADAPTERS_PYTHON} is not installed"))
        return
    command = [ADAPTERS_PYTHON, __file__, "--out", ".", "--seed", str(args.seed)]
    done = subprocess.run(command + [x for o in only for x in ("--only", o)], stdout=subprocess.PIPE, text=True)
    print(done.stdout, end="", flush=True)
    SUMMARY.extend(json.loads(line[line.index("{"):]) for line in done.stdout.splitlines() if '{"case"' in line)


def versions():
    from importlib.metadata import version

    return {p: version(p) for p in ("torch", "transformers", "peft", "bitsandbytes", "safetensors", "scikit-learn",
                                    "scipy", "sacrebleu", "rouge_score")}


def print_table():
    print(f"{'case':46} {'effect':>10} {'trained':>10} {'reload':>9}  note")
    for row in SUMMARY:
        number = lambda v, f: "-" if v is None else format(v, f)  # noqa: E731
        print(f"{row['case']:46} {number(row.get('effect'), '10.4f'):>10} "
              f"{number(row.get('trained_effect'), '10.4f'):>10} {number(row.get('reload'), '9.1e'):>9}  "
              f"{row.get('skipped') or row.get('problem') or row.get('note') or ''}")
    print(len(SUMMARY), "cases,", sum("skipped" in r for r in SUMMARY), "skipped,",
          sum("problem" in r for r in SUMMARY), "with a problem")


def main():
    global SEED
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--out", required=True)
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--scale", choices=["small"], default="small")
    ap.add_argument("--only", action="append", help="SECTION or SECTION/NAME; may be repeated")
    args = ap.parse_args()
    SEED = args.seed
    os.makedirs(args.out, exist_ok=True)
    os.chdir(args.out)
    import transformers

    has_adapterhub = sys.executable == ADAPTERS_PYTHON
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    for section, (names, write) in sections().items():
        if section == "bottleneck" and not has_adapterhub:
            run_bottleneck(args)
            continue
        for name in names:
            if args.only and section not in args.only and f"{section}/{name}" not in args.only:
                continue
            started = time.time()
            try:
                effect, reload, *trained = write(name)
                row = dict(case=f"{section}/{name}", effect=effect, reload=reload)
                if trained:
                    row["trained_effect"] = trained[0]
                if effect is not None and effect < 1e-3:
                    if trained and trained[0] > 1e-3:
                        row["note"] = "starts at the base: only gradients, curve, trained/ test the adapter"
                    else:
                        row["problem"] = "the adapter hardly changes the logits"
                if reload is not None and reload > 1e-5:
                    row["problem"] = "reloading changes the logits"
            except Exception as error:  # noqa: BLE001  one broken case must not stop the others
                row = dict(case=f"{section}/{name}", skipped=repr(error)[:400])
                shutil.rmtree(f"{section}/{name}", ignore_errors=True)
                if os.environ.get("TRACE"):
                    traceback.print_exc()
            SUMMARY.append(row)
            print(f"{time.time() - started:5.1f}s", json.dumps(row), flush=True)
    if not args.only:
        write_json("summary.json", dict(seed=args.seed, scale=args.scale, sizes=dims(), versions=versions(),
                                        cases=SUMMARY))
        print_table()


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":  # PEFT writes sets (target_modules) in hash order
        os.environ["PYTHONHASHSEED"] = "0"
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, *sys.argv])
    main()
