/** @file The tables of a model's modules, found by running its forward pass once without methods. */
import { GraphBuilder } from "../graph/builder.ts";
import type {
  AttentionCall,
  EmbeddingSite,
  ForwardContext,
  LinearSite,
  Model,
  NormSite,
  SublayerCall,
  Task,
} from "../models/forward.ts";
import { DeltafitError } from "../errors.ts";
import type { BaseParameter, ModuleTable } from "./contract.ts";
import { createForwardContext } from "./forward-pass.ts";
import type { Value } from "../graph/graph.ts";

/** What a model is run for: the task and, where it classifies, the number of labels. */
export interface TaskSettings {
  readonly task: Task;
  /** Width of a classifier's output; 1 for regression. Not used by the tasks that predict tokens or answers. */
  readonly labelCount: number;
}

/** The module table of a model with the head of a task. */
export function surveyModel(model: Model, settings: TaskSettings): ModuleTable {
  const modules = surveyForward((context) => {
    headOutput(model, settings, context, model.encode(context));
  });
  const roots = new Set([...modules.parameters.keys()].map((name) => name.split(".")[0] ?? name));
  roots.delete(model.bodyPath);
  return { ...modules, headModules: [...roots] };
}

/** The module table of any forward pass, without a head. */
export function surveyForward(forward: (context: ForwardContext) => void): ModuleTable {
  const linears = new Map<string, LinearSite>();
  const embeddings = new Map<string, EmbeddingSite>();
  let tokenEmbedding: string | undefined;
  const norms = new Map<string, NormSite>();
  const attentions: AttentionCall[] = [];
  const sublayers: SublayerCall[] = [];
  const parameters = new Map<string, BaseParameter>();
  forward(
    createForwardContext({
      builder: new GraphBuilder(),
      adapters: [],
      training: false,
      padding: false,
      attentionBlocks: 1,
      observe: {
        linear: (site) => linears.set(site.path, site),
        embedding: (site) => embeddings.set(site.path, site),
        tokenEmbedding(site) {
          tokenEmbedding = site.path;
        },
        norm: (site) => norms.set(site.path, site),
        attention: (call) => attentions.push(call),
        sublayer: (call) => sublayers.push(call),
        parameter: (parameter) => parameters.set(parameter.name, parameter),
      },
    }),
  );
  return { linears, embeddings, tokenEmbedding, norms, attentions, sublayers, parameters, headModules: [] };
}

/**
 * The task's result from hidden states [tokens, hidden]: logits for every row given, or for the sequences.
 * @throws DeltafitError `usage-invalid` where the architecture has no such head.
 */
export function headOutput(
  model: Model,
  { task, labelCount }: TaskSettings,
  context: ForwardContext,
  hidden: Value,
): Value {
  switch (task) {
    case "causal-lm":
    case "masked-lm":
      if (!model.tokenLogits || model.causal !== (task === "causal-lm")) throw withoutHead(model, task);
      return model.tokenLogits(context, hidden, task);
    case "classification":
    case "multi-label-classification":
    case "regression":
      if (!model.sequenceLogits) throw withoutHead(model, task);
      return model.sequenceLogits(context, hidden, labelCount);
    case "token-classification":
      if (!model.labelLogits) throw withoutHead(model, task);
      return model.labelLogits(context, hidden, labelCount);
    case "question-answering":
      if (!model.spanLogits) throw withoutHead(model, task);
      return model.spanLogits(context, hidden);
  }
}

function withoutHead(model: Model, task: Task): DeltafitError {
  const heads: Task[] = [
    ...(model.tokenLogits ? [model.causal ? ("causal-lm" as const) : ("masked-lm" as const)] : []),
    ...(model.sequenceLogits
      ? (["classification", "multi-label-classification", "regression"] as const)
      : []),
    ...(model.labelLogits ? (["token-classification"] as const) : []),
    ...(model.spanLogits ? (["question-answering"] as const) : []),
  ];
  return new DeltafitError(
    "usage-invalid",
    `The architecture ${model.modelType} has no head for the task ${task}.`,
    `It can do ${heads.join(", ")}.`,
  );
}
