/** @file The tables of a model's modules, found by running its forward pass once without methods. */
import { GraphBuilder } from "../graph/builder.ts";
import { predictsTokens } from "../models/forward.ts";
import type {
  AttentionCall,
  EmbeddingSite,
  ForwardContext,
  LinearSite,
  Model,
  NormSite,
  SublayerCall,
  Task,
  TokenTask,
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
  }, model.encoderDecoder !== undefined);
  const ofHead = [...modules.parameters.keys()].filter((name) => isOfHead(model, name));
  return { ...modules, headModules: [...new Set(ofHead.map((name) => name.split(".")[0] ?? name))] };
}

/** What stands in front of the names of the body's parameters in a checkpoint with a head. */
export function bodyPrefix({ bodyPath }: Pick<Model, "bodyPath">): string {
  return bodyPath === "" ? "" : `${bodyPath}.`;
}

/** Whether a parameter, by its full name, belongs to the task's head and not to the body. */
export function isOfHead(model: Pick<Model, "bodyPath" | "headModules">, parameter: string): boolean {
  if (model.bodyPath !== "") return !parameter.startsWith(bodyPrefix(model));
  return model.headModules?.includes(parameter.split(".")[0] ?? parameter) ?? false;
}

/** The module table of any forward pass, without a head. */
export function surveyForward(forward: (context: ForwardContext) => void, hasSource = false): ModuleTable {
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
      hasSource,
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
  if (predictsTokens(task)) {
    if (!model.tokenLogits || task !== tokenTaskOf(model)) throw withoutHead(model, task);
    return model.tokenLogits(context, hidden, task);
  }
  switch (task) {
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

/** The task in which a model predicts tokens; `undefined` where it predicts none. */
export function tokenTaskOf(
  model: Pick<Model, "tokenLogits" | "encoderDecoder" | "causal">,
): TokenTask | undefined {
  if (!model.tokenLogits) return undefined;
  if (model.encoderDecoder) return "seq2seq-lm";
  return model.causal ? "causal-lm" : "masked-lm";
}

function withoutHead(model: Model, task: Task): DeltafitError {
  const tokenTask = tokenTaskOf(model);
  const heads: Task[] = [
    ...(tokenTask ? [tokenTask] : []),
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
