/** @file What decoders make of their configurations: windows and rotations by layer, positions, scales, and refusals. */
import { describe, expect, it } from "vitest";
import { GraphBuilder } from "../../src/graph/builder.ts";
import type { Value } from "../../src/graph/graph.ts";
import { createForwardContext } from "../../src/methods/forward-pass.ts";
import { surveyModel } from "../../src/methods/survey.ts";
import type { AttentionCall, EmbeddingSite, LinearSite, NormSite, Task } from "../../src/models/forward.ts";
import { createModel } from "../../src/models/index.ts";
import { failureOf } from "../support/failure.ts";

const sizes = {
  vocab_size: 11,
  hidden_size: 8,
  intermediate_size: 12,
  num_hidden_layers: 4,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  head_dim: 4,
  max_position_embeddings: 16,
};

type Configuration = Readonly<Record<string, unknown>>;

/** Everything the body of a model meets, and its output. */
function survey(configuration: Configuration) {
  const [attentions, linears, norms, embeddings]: [
    AttentionCall[],
    LinearSite[],
    NormSite[],
    EmbeddingSite[],
  ] = [[], [], [], []];
  const context = createForwardContext({
    builder: new GraphBuilder(),
    adapters: [],
    training: false,
    padding: false,
    attentionBlocks: 1,
    observe: {
      attention: (call) => attentions.push(call),
      linear: (site) => linears.push(site),
      norm: (site) => norms.push(site),
      embedding: (site) => embeddings.push(site),
    },
  });
  const model = createModel(configuration);
  const output = model.encode(context);
  return { model, context, output, attentions, linears, norms, embeddings };
}

const windowsOf = (configuration: Configuration) =>
  survey(configuration).attentions.map(({ window }) => window);

/** The constant frequencies in the table of a rotated value. */
function frequenciesOf(value: Value): readonly number[] | undefined {
  if (value.node.operation === "Concat") return value.node.inputs[0] && frequenciesOf(value.node.inputs[0]);
  if (value.node.operation !== "RotaryEmbedding") return undefined;
  const factor = value.node.inputs[1]?.node.inputs[0]?.node.inputs[1]?.node;
  return factor && "data" in factor.attributes ? factor.attributes.data : undefined;
}

describe("windows", () => {
  it("are the same in all layers of Mistral", () => {
    expect(windowsOf({ ...sizes, model_type: "mistral", sliding_window: 5 })).toEqual([5, 5, 5, 5]);
    expect(windowsOf({ ...sizes, model_type: "mistral", sliding_window: null })).toEqual(
      Array(4).fill(undefined),
    );
  });

  it("begin with max_window_layers in Qwen2 and Qwen3, where they are switched on", () => {
    const window = { sliding_window: 5, max_window_layers: 3 };
    for (const model_type of ["qwen2", "qwen3"]) {
      const config = { ...sizes, ...window, model_type };
      expect(windowsOf({ ...config, use_sliding_window: true })).toEqual([
        undefined,
        undefined,
        undefined,
        5,
      ]);
      expect(windowsOf(config)).toEqual(Array(4).fill(undefined));
    }
  });

  it("are in every other layer of Gemma 2 and in all but each n-th of Gemma 3", () => {
    const config = { ...sizes, sliding_window: 5 };
    expect(windowsOf({ ...config, model_type: "gemma2" })).toEqual([5, undefined, 5, undefined]);
    const gemma3 = { ...config, model_type: "gemma3_text" };
    expect(windowsOf(gemma3)).toEqual([5, 5, 5, 5]);
    expect(windowsOf({ ...gemma3, sliding_window_pattern: 3 })).toEqual([5, 5, undefined, 5]);
  });
});

describe("rotations", () => {
  const rotations = (configuration: Configuration) =>
    survey(configuration).attentions.map(({ query }) => frequenciesOf(query));

  it("are left out in every fourth layer of SmolLM3, or where its list says so", () => {
    const rotated = [1, 1 / Math.sqrt(2_000_000)];
    const config = { ...sizes, model_type: "smollm3" };
    expect(rotations(config)).toEqual([rotated, rotated, rotated, undefined]);
    const listed = { ...config, no_rope_layers: [0, 1, 1, 0] };
    expect(rotations(listed)).toEqual([undefined, rotated, rotated, undefined]);
  });

  it("differ between local and global layers of Gemma 3", () => {
    const config = { ...sizes, model_type: "gemma3_text", sliding_window_pattern: 2 };
    expect(rotations(config)).toEqual([
      [1, 1 / 100],
      [1, 1 / 1000],
      [1, 1 / 100],
      [1, 1 / 1000],
    ]);
    const older = {
      ...config,
      rope_theta: 4,
      rope_local_base_freq: 9,
      rope_scaling: { rope_type: "linear", factor: 2 },
    };
    expect(rotations(older).slice(0, 2)).toEqual([
      [1, 1 / 3],
      [1 / 2, 1 / 4],
    ]);
  });

  it("cover the share of a head that GPT-NeoX and Phi-3 say", () => {
    const wide = { ...sizes, hidden_size: 16, num_attention_heads: 1, num_hidden_layers: 1 };
    const neox = { ...wide, model_type: "gpt_neox" };
    expect(rotations(neox)).toEqual([[1, 1 / 100]]);
    const eight = [1, 1 / 2, 1 / 4, 1 / 8];
    expect(rotations({ ...neox, rotary_pct: 0.5, rotary_emb_base: 16 })).toEqual([eight]);
    const phi3 = { ...wide, model_type: "phi3", head_dim: 16, rope_theta: 16 };
    expect(rotations({ ...phi3, partial_rotary_factor: 0.5 })).toEqual([eight]);
  });

  it("of an odd number of dimensions take one more for the last pair", () => {
    const phi3 = { ...sizes, model_type: "phi3", num_hidden_layers: 1, head_dim: 8, rope_theta: 32 };
    const [frequencies = []] = rotations({ ...phi3, partial_rotary_factor: 0.7 });
    for (const [index, value] of [1, 1 / 4, 1 / 16].entries())
      expect(frequencies[index]).toBeCloseTo(value, 12);
    expect(frequencies.length).toBe(3);
  });
});

describe("Phi-3 for long texts", () => {
  const scaling = { type: "longrope", short_factor: [1, 4], long_factor: [2, 8] };
  const config = { ...sizes, model_type: "phi3", original_max_position_embeddings: 4, rope_theta: 4 };

  it("is held to the length of its pretraining, with the factors for it", () => {
    const { model, attentions } = survey({ ...config, rope_scaling: scaling });
    expect(model.maximumPositions).toBe(4);
    // 16 positions are reached from 4: sqrt(1 + ln 4 / ln 4) is the amplitude.
    const table = attentions[0]?.query.node.inputs[1]?.node;
    const [cosine, amplitude] = table?.inputs ?? [];
    const angles = cosine?.node.inputs[0]?.node.inputs[1]?.node.attributes;
    expect(angles && "data" in angles && angles.data).toEqual([1, 1 / 8]);
    const factor = amplitude?.node.attributes;
    expect(factor && "data" in factor && factor.data).toEqual([Math.SQRT2]);
  });

  it("reaches as far as it says without a scaling", () => {
    expect(survey(config).model.maximumPositions).toBe(16);
  });
});

describe("OPT", () => {
  const opt = { ...sizes, model_type: "opt", ffn_dim: 12 };

  it("counts positions over the tokens that are no padding", () => {
    const { model } = survey(opt);
    expect(model.positionIds?.([5, 6, 7, 8], [1, 1, 1, 0])).toEqual([0, 1, 2, -1]);
    expect(model.positionIds?.([5, 6, 7, 8], [0, 0, 1, 1])).toEqual([-1, -1, 0, 1]);
  });

  it("has two rows of positions more than it has positions", () => {
    const { embeddings } = survey(opt);
    expect(embeddings.find(({ path }) => path.endsWith("embed_positions"))?.rows).toBe(18);
  });

  it("ends as narrow as its embeddings are", () => {
    const { output, linears } = survey({ ...opt, word_embed_proj_dim: 6 });
    expect(output.shape).toEqual(["batch*length", 6]);
    expect(linears.map(({ path }) => path).filter((path) => path.includes("project"))).toEqual([
      "model.decoder.project_in",
      "model.decoder.project_out",
    ]);
  });

  it("has no norm at the end where it normalises after sub-layers", () => {
    const last = (config: Configuration) => survey(config).norms.at(-1)?.path;
    expect(last(opt)).toBe("model.decoder.final_layer_norm");
    expect(last({ ...opt, do_layer_norm_before: false })).toBe("model.decoder.layers.3.final_layer_norm");
    expect(last({ ...opt, _remove_final_layer_norm: true })).toBe("model.decoder.layers.3.final_layer_norm");
  });
});

describe("Gemma", () => {
  const gemma2 = { ...sizes, model_type: "gemma2", query_pre_attn_scalar: 25 };

  it("scales scores and embeddings by numbers of its own, and caps the scores", () => {
    const { attentions, embeddings, norms } = survey(gemma2);
    expect(attentions[0]?.scale).toBe(1 / 5);
    expect(attentions[0]?.softCap).toBe(50);
    expect(embeddings[0]?.scale).toBe(Math.sqrt(8));
    expect(new Set(norms.map(({ offset }) => offset))).toEqual(new Set([1]));
  });

  it("caps nothing where the caps are null", () => {
    const free = { ...gemma2, attn_logit_softcapping: null, final_logit_softcapping: null };
    const { attentions, model, context, output } = survey(free);
    expect(attentions[0]?.softCap).toBeUndefined();
    expect(model.tokenLogits?.(context, output, "causal-lm").node.operation).toBe("Gemm");
  });
});

describe("configurations that are refused", () => {
  const cases: Record<string, { configuration: Configuration; message: string; hint: string }> = {
    "Qwen2 with a local layer and no window": {
      configuration: { ...sizes, model_type: "qwen2", layer_types: Array(4).fill("sliding_attention") },
      message: 'config.json: "layer_types" has a layer of type "sliding_attention", but no window is set.',
      hint: 'Set "sliding_window" (and, where the family has it, "use_sliding_window"), or make the layer "full_attention".',
    },
    "Qwen3 with a type of layer that is not known": {
      configuration: { ...sizes, model_type: "qwen3", layer_types: ["chunked_attention"] },
      message:
        'config.json: "layer_types.0" is "chunked_attention": Invalid option: expected one of "full_attention"|"sliding_attention".',
      hint: "Check that the configuration belongs to this architecture and is complete.",
    },
    "SmolLM3 with a mark for some of its layers": {
      configuration: { ...sizes, model_type: "smollm3", no_rope_layers: [1, 0] },
      message: 'config.json: "no_rope_layers" has 2 entries, but "num_hidden_layers" is 4.',
      hint: "The list names the kind of every layer: check both.",
    },
    "Phi-3 with too few factors for long texts": {
      configuration: { ...sizes, model_type: "phi3", rope_scaling: { type: "longrope", short_factor: [1] } },
      message:
        'config.json: the rotary scaling has 1 entries in "short_factor"; expected 2, one for each rotated pair of a head\'s dimensions.',
      hint: "Check that the configuration belongs to this architecture and is complete.",
    },
    "Phi-3 with a scaling that is not known": {
      configuration: { ...sizes, model_type: "phi3", rope_scaling: { type: "yarn" } },
      message: 'config.json: the rotary scaling "yarn" is not known.',
      hint: 'Known are "default", "linear" and "llama3".',
    },
    "GPT-NeoX with too small a share of each head to rotate": {
      configuration: { ...sizes, model_type: "gpt_neox", rotary_pct: 0.1 },
      message:
        "config.json: 0 of the 4 dimensions of an attention head are to be rotated, which does not work in pairs.",
      hint: "Check the number of heads, the size of a head and the share of it that is rotated.",
    },
    "Llama with heads of an odd size": {
      configuration: { ...sizes, model_type: "llama", head_dim: 3 },
      message:
        "config.json: 3 of the 3 dimensions of an attention head are to be rotated, which does not work in pairs.",
      hint: "Check the number of heads, the size of a head and the share of it that is rotated.",
    },
    "Mistral with groups that do not share the heads evenly": {
      configuration: { ...sizes, model_type: "mistral", num_attention_heads: 4, num_key_value_heads: 3 },
      message: 'config.json: "num_attention_heads" is 4, which "num_key_value_heads" 3 does not divide.',
      hint: "The heads of an attention layer share its width evenly: check both numbers.",
    },
    "OLMo 2 with heads that do not share its width evenly": {
      configuration: { ...sizes, model_type: "olmo2", head_dim: null, num_attention_heads: 3 },
      message: 'config.json: "hidden_size" is 8, which "num_attention_heads" 3 does not divide.',
      hint: "The heads of an attention layer share its width evenly: check both numbers.",
    },
    "OPT that leaves out layers while training": {
      configuration: { ...sizes, model_type: "opt", ffn_dim: 12, layerdrop: 0.1 },
      message: 'config.json: "layerdrop" is 0.1: Invalid input: expected 0.',
      hint: "Check that the configuration belongs to this architecture and is complete.",
    },
    "OPT with norms that have no parameters": {
      configuration: { ...sizes, model_type: "opt", ffn_dim: 12, layer_norm_elementwise_affine: false },
      message: 'config.json: "layer_norm_elementwise_affine" is false: Invalid input: expected true.',
      hint: "Check that the configuration belongs to this architecture and is complete.",
    },
    "Gemma 3 that looks to both sides": {
      configuration: { ...sizes, model_type: "gemma3_text", use_bidirectional_attention: true },
      message: 'config.json: "use_bidirectional_attention" is true: Invalid input: expected false.',
      hint: "Check that the configuration belongs to this architecture and is complete.",
    },
  };
  it.each(Object.entries(cases))("%s", (_name, { configuration, message, hint }) => {
    expect(failureOf(() => createModel(configuration))).toEqual({ code: "config-invalid", message, hint });
  });
});

describe("heads", () => {
  /** Where the body and the head for answers are, and whether tokens are labelled. */
  const headsOf = (configuration: Configuration) => {
    const model = createModel(configuration, undefined, "question-answering");
    const span = model.spanLogits ? model.bodyPath : undefined;
    return { span, labels: model.labelLogits !== undefined };
  };
  const gpt2 = { vocab_size: 11, n_embd: 8, n_layer: 1, n_head: 2, n_positions: 16 };

  it("find answers and label tokens where transformers has them, on a body of the same name", () => {
    const found = {
      ...{ gemma2: {}, gemma3_text: {}, gpt2, gpt_neox: {}, llama: {}, mistral: {}, mixtral: {}, olmo2: {} },
      ...{ opt: { ffn_dim: 12, word_embed_proj_dim: 8 }, phi3: {}, qwen2: {}, qwen3: {}, smollm3: {} },
    };
    const lines = Object.entries(found).map(([model_type, own]) => {
      const { span, labels } = headsOf({ ...sizes, ...own, model_type });
      return `${model_type}: answers ${span === undefined ? "no" : `on ${span}`}, labels ${labels ? "yes" : "no"}`;
    });
    expect(lines).toEqual([
      "gemma2: answers no, labels yes",
      "gemma3_text: answers no, labels no",
      "gpt2: answers on transformer, labels yes",
      "gpt_neox: answers on gpt_neox, labels yes",
      "llama: answers on transformer, labels yes",
      "mistral: answers on model, labels yes",
      "mixtral: answers on model, labels yes",
      "olmo2: answers no, labels no",
      "opt: answers on model, labels no",
      "phi3: answers no, labels yes",
      "qwen2: answers on transformer, labels yes",
      "qwen3: answers on transformer, labels yes",
      "smollm3: answers on transformer, labels yes",
    ]);
  });

  it("that there are not are refused", () => {
    const refusal = (model_type: string, task: Task) =>
      failureOf(() =>
        surveyModel(createModel({ ...sizes, model_type }, undefined, task), { task, labelCount: 2 }),
      );
    expect(refusal("phi3", "question-answering")).toEqual({
      code: "usage-invalid",
      message: "The architecture phi3 has no head for the task question-answering.",
      hint: "It can do causal-lm, classification, multi-label-classification, regression, token-classification.",
    });
    expect(refusal("olmo2", "token-classification")).toEqual({
      code: "usage-invalid",
      message: "The architecture olmo2 has no head for the task token-classification.",
      hint: "It can do causal-lm, classification, multi-label-classification, regression.",
    });
  });
});
