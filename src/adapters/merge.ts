/**
 * @file Merging: the weights of a base with adapters put into them, one tensor at a time. The rules are graphs; they
 * run on the CPU. Writes nothing, and leaves the base as it is.
 */
import type { Base } from "../base/base.ts";
import { withBaseChanges } from "../base/changed-base.ts";
import { DeltafitError, internalError } from "../errors.ts";
import { quote } from "../files/quote.ts";
import { GraphBuilder } from "../graph/builder.ts";
import { graphOf, nodesOf } from "../graph/graph.ts";
import type { Graph, Value } from "../graph/graph.ts";
import { hash } from "../graph/print.ts";
import type { BaseParameter, MergeRule, ParameterSpec } from "../methods/contract.ts";
import { entryValues, findEntry } from "../methods/layout.ts";
import { cpu } from "../runtime/cpu.ts";
import type { Session } from "../runtime/session.ts";
import { float32Tensor } from "../tensor/tensor.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { Adapter } from "./adapter.ts";
import { moduleOf } from "./peft-fields.ts";

/** One tensor that merging changes. */
export interface MergedTensor {
  /** Its name in the merged model. */
  readonly name: string;
  /** Name of the base's tensor it is made from: another one where merging unties weights. */
  readonly stored: string;
  readonly shape: readonly number[];
  /** Hash of how it is computed, without the values. */
  readonly graphHash: string;
}

/** Merged weights, computed when they are asked for. */
export interface MergedWeights {
  readonly tensors: readonly MergedTensor[];
  /** Paths of the modules that adapters change. */
  readonly modules: readonly string[];
  /** Tensors that have to become each module's own, because an adapter changes one of several modules that share it. */
  readonly untied: readonly string[];
  /**
   * Parameters that share a tensor with one that changes and so change with it. LoRA on a tied embedding adapts the
   * lookup alone, but merged, as PEFT does it, it changes the output embedding as well: the merged model then computes
   * something else than the base with the adapter.
   */
  readonly changedWith: readonly string[];
  /** The float32 values of one of `tensors`, row-major. Computed anew at every call. */
  compute(name: string): Promise<Float32Array>;
  /** Frees the sessions. */
  dispose(): Promise<void>;
}

interface Step {
  readonly adapter: Adapter;
  readonly rule: MergeRule;
}

/** A graph with what its inputs stand for. */
interface Plan extends MergedTensor {
  readonly graph: Graph;
  readonly result: Value;
  /** Values of the inputs by name. */
  readonly feeds: ReadonlyMap<string, () => Tensor>;
}

const baseInput = "base";
const output = "merged";

/**
 * The base's weights with adapters merged in their order.
 * @throws DeltafitError `method-unsupported` for a method that cannot merge.
 */
export function mergeAdapters(unchanged: Base, adapters: readonly Adapter[]): MergedWeights {
  const base = withBaseChanges(unchanged, adapters);
  const steps = adapters.flatMap((adapter) => rulesOf(adapter).map((rule): Step => ({ adapter, rule })));
  const plans = new Map<string, Plan>();
  const untied: string[] = [];
  const changedWith: string[] = [];
  for (const stored of new Set(steps.map(({ rule }) => rule.stored))) {
    const users = [...base.modules.parameters.values()].filter((parameter) => parameter.stored === stored);
    const histories = users.map((user) => ({
      user,
      steps: steps.filter(({ rule }) => appliesTo(rule, user)),
    }));
    const [first] = histories;
    if (first === undefined) throw internalError(`a merge rule names ${stored}, which no module uses.`);
    // Modules that went through the same changes still share one tensor.
    if (histories.every((history) => sameSteps(history.steps, first.steps))) {
      plans.set(stored, planTensor(base, { ...first.user, name: stored }, first.steps));
      changedWith.push(...users.flatMap(({ name }) => (name === stored ? [] : [name])));
    } else {
      untied.push(stored);
      for (const history of histories)
        plans.set(history.user.name, planTensor(base, history.user, history.steps));
    }
  }
  for (const plan of ownBiases(base, untied, steps)) plans.set(plan.name, plan);
  const sessions = createSessions(base);
  return {
    tensors: [...plans.values()].map(({ name, stored, shape, graphHash }) => ({
      name,
      stored,
      shape,
      graphHash,
    })),
    modules: [...new Set(steps.map(({ rule }) => moduleOf(rule.only ?? rule.stored)))],
    untied,
    changedWith,
    async compute(name) {
      const plan = plans.get(name);
      if (plan === undefined) throw internalError(`merging does not change the tensor ${quote(name)}.`);
      return finite(name, await sessions.run(plan));
    },
    dispose: () => sessions.dispose(),
  };
}

/** Layers that are no longer tied have a bias of their own: what the tied one was with its changes. */
function ownBiases(base: Base, untied: readonly string[], steps: readonly Step[]): Plan[] {
  return [...base.modules.linears.values()].flatMap(({ path, tiedWeight, tiedBias }) => {
    if (tiedWeight === undefined || tiedBias === undefined || !untied.includes(tiedWeight)) return [];
    const parameter = base.modules.parameters.get(tiedBias);
    if (parameter === undefined) throw internalError(`the model has no ${tiedBias}.`);
    const own = steps.filter(({ rule }) => appliesTo(rule, parameter));
    return [planTensor(base, { ...parameter, name: `${path}.bias` }, own)];
  });
}

function rulesOf({ method, methodType, name }: Adapter): readonly MergeRule[] {
  if (!("impossible" in method.merge)) return method.merge;
  throw new DeltafitError(
    "method-unsupported",
    `The adapter ${quote(name)} (${methodType}) cannot be merged: ${method.merge.impossible}`,
    "Use the base with the adapter beside it.",
  );
}

function appliesTo(rule: MergeRule, user: BaseParameter): boolean {
  return rule.stored === user.stored && (rule.only === undefined || rule.only === user.name);
}

function sameSteps(left: readonly Step[], right: readonly Step[]): boolean {
  return left.length === right.length && left.every(({ rule }, index) => rule === right[index]?.rule);
}

/**
 * The graph of one tensor. Its inputs are numbered instead of named, so that the tensors of all layers with the same
 * shapes have the same graph, and need one session.
 */
function planTensor(base: Base, { name, stored, shape }: BaseParameter, steps: readonly Step[]): Plan {
  const builder = new GraphBuilder();
  const feeds = new Map<string, () => Tensor>([[baseInput, () => float32Tensor(shape, base.read(stored))]]);
  let result = builder.input(baseInput, "float32", shape);
  for (const [index, { adapter, rule }] of steps.entries()) {
    const numbers = new Map<string, number>();
    const parameter = (key: string): Value => {
      const { shape, values } = parameterOf(adapter, key);
      const number = numbers.get(key) ?? numbers.size;
      numbers.set(key, number);
      const input = `parameter.${index}.${number}`;
      feeds.set(input, () => float32Tensor(shape, values()));
      return builder.input(input, "float32", shape);
    };
    result = rule.merged({ builder, parameter }, result);
  }
  if (result.shape.join() !== shape.join())
    throw internalError(`merging ${name} gives the shape [${result.shape.join(", ")}].`);
  const graph = graphOf([{ name: output, value: result }]);
  return { name, stored, shape, graph, graphHash: hash(graph), result, feeds };
}

/** A parameter of an adapter, or a constant of its method. */
function parameterOf(
  { layout, method, name, values }: Adapter,
  key: string,
): Pick<ParameterSpec, "shape"> & { readonly values: () => Float32Array } {
  const constant = method.constants?.find((candidate) => candidate.key === key);
  if (constant) return constant;
  const entry = findEntry(layout, name, key);
  return { shape: entry.shape, values: () => entryValues(values, entry) };
}

/** Sessions by the hash of their graph: one for all layers of a model. */
function createSessions(base: Base): {
  run: (plan: Plan) => Promise<Float32Array>;
  dispose: () => Promise<void>;
} {
  const sessions = new Map<string, Promise<Session>>();
  const feedOf = ({ feeds, name }: Plan, input: string): Tensor => {
    const feed = feeds.get(input);
    if (feed === undefined) throw internalError(`the merge of ${name} has an unknown input ${input}.`);
    return feed();
  };
  return {
    async run(plan) {
      const { graph, graphHash, result } = plan;
      // A tensor that is replaced as a whole needs no runtime.
      if (result.node.operation === "Input") {
        const [input] = nodesOf(graph, "Input");
        const { data } = feedOf(plan, input?.attributes.name ?? "");
        if (data instanceof Float32Array) return data.slice();
      }
      const session = sessions.get(graphHash) ?? cpu.createSession(graph, (weight) => base.locate(weight));
      sessions.set(graphHash, session);
      const feeds = Object.fromEntries(
        nodesOf(graph, "Input").map(({ attributes: { name } }) => [name, feedOf(plan, name)]),
      );
      const merged = (await (await session).run(feeds))[output]?.data;
      if (merged instanceof Float32Array) return merged;
      throw internalError(`the merge of ${plan.name} gives no float32 tensor.`);
    },
    async dispose() {
      const created = await Promise.allSettled(sessions.values());
      sessions.clear();
      for (const session of created) if (session.status === "fulfilled") await session.value.dispose();
    },
  };
}

function finite(name: string, values: Float32Array): Float32Array {
  if (values.every(Number.isFinite)) return values;
  throw new DeltafitError(
    "not-finite",
    `Merging gives numbers in ${quote(name)} that are not finite (NaN or infinity).`,
    "The adapter's or the base's values are too large; check them with `deltafit inspect`.",
  );
}
