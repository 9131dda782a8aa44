"""A model of a llama shape with random 4-bit weights (Q4_0) as GGUF: python random_gguf.py CONFIG.json OUT.gguf

For measuring llama.cpp at a shape; the weights mean nothing. Needs the package gguf.
"""

import json
import sys

import gguf
import numpy

configuration = json.load(open(sys.argv[1], encoding="utf-8"))
writer = gguf.GGUFWriter(sys.argv[2], "llama")
random = numpy.random.default_rng(0)

hidden = configuration["hidden_size"]
inner = configuration["intermediate_size"]
layers = configuration["num_hidden_layers"]
heads = configuration["num_attention_heads"]
groups = configuration.get("num_key_value_heads", heads)
size = configuration.get("head_dim", hidden // heads)
vocabulary = configuration["vocab_size"]

writer.add_name("random")
writer.add_block_count(layers)
writer.add_context_length(configuration["max_position_embeddings"])
writer.add_embedding_length(hidden)
writer.add_feed_forward_length(inner)
writer.add_head_count(heads)
writer.add_head_count_kv(groups)
writer.add_key_length(size)
writer.add_value_length(size)
writer.add_rope_dimension_count(size)
writer.add_rope_freq_base(configuration.get("rope_theta", 10000.0))
writer.add_layer_norm_rms_eps(configuration["rms_norm_eps"])
writer.add_vocab_size(vocabulary)
writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_0)
writer.add_tokenizer_model("gpt2")
writer.add_tokenizer_pre("default")
writer.add_token_list([f"<{index}>" for index in range(vocabulary)])
writer.add_token_types([gguf.TokenType.NORMAL] * vocabulary)
writer.add_token_merges(["< 0"])
writer.add_bos_token_id(0)
writer.add_eos_token_id(0)

BLOCK = 32


def matrix(name, rows, columns):
    """Blocks of a float16 scale and 32 numbers of 4 bits, in which 8 is zero."""
    blocks = rows * columns // BLOCK
    data = numpy.empty((blocks, 18), dtype=numpy.uint8)
    scale = (random.random(blocks, dtype=numpy.float32) * 0.004 + 0.004).astype(numpy.float16)
    data[:, :2] = scale.view(numpy.uint8).reshape(blocks, 2)
    data[:, 2:] = random.integers(0, 256, size=(blocks, 16), dtype=numpy.uint8)
    writer.add_tensor(name, data.reshape(rows, -1), raw_dtype=gguf.GGMLQuantizationType.Q4_0)


def norm(name):
    writer.add_tensor(name, numpy.ones(hidden, dtype=numpy.float32))


matrix("token_embd.weight", vocabulary, hidden)
if not configuration.get("tie_word_embeddings", False):
    matrix("output.weight", vocabulary, hidden)
norm("output_norm.weight")
for layer in range(layers):
    prefix = f"blk.{layer}."
    norm(f"{prefix}attn_norm.weight")
    norm(f"{prefix}ffn_norm.weight")
    matrix(f"{prefix}attn_q.weight", heads * size, hidden)
    matrix(f"{prefix}attn_k.weight", groups * size, hidden)
    matrix(f"{prefix}attn_v.weight", groups * size, hidden)
    matrix(f"{prefix}attn_output.weight", hidden, heads * size)
    matrix(f"{prefix}ffn_gate.weight", inner, hidden)
    matrix(f"{prefix}ffn_up.weight", inner, hidden)
    matrix(f"{prefix}ffn_down.weight", hidden, inner)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
