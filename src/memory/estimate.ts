/**
 * @file What a training run needs, before it runs: parameters and bytes by category, beside full fine-tuning of the
 * same model. Everything follows from the graph that will run and from its shapes.
 */
import { nodesOf } from "../graph/graph.ts";
import type { Graph } from "../graph/graph.ts";
import { formBytes } from "../graph/weight-form.ts";
import { full } from "../methods/full.ts";
import type { BoundMethod, ModuleTable } from "../methods/contract.ts";
import { elementCount } from "../tensor/tensor.ts";
import { bytesOf } from "./buffers.ts";
import { liveMemory } from "./live-memory.ts";
import type { LiveBytes } from "./live-memory.ts";
import { countParameters } from "./parameter-counts.ts";

export interface MemoryBytes {
  /** Frozen base weights as the run keeps them. */
  readonly weights: number;
  /** The flat gradient; with accumulation also the sum it is added to. */
  readonly gradients: number;
  /** The trained vector, the optimiser's two moments, and the initial values. */
  readonly optimizer: number;
  /** Results of the forward and backward pass that are alive at once. */
  readonly activations: number;
  /** What single operations and the update need while they run, and the process itself. */
  readonly workspace: number;
  readonly total: number;
}

/** What the extents of a graph follow from. */
export interface GraphSizes {
  readonly batchSize: number;
  /** Tokens of a row, padding included; an encoder-decoder reads as many as it writes. */
  readonly length: number;
  /** Row blocks of attention of the graph. */
  readonly attentionBlocks: number;
  readonly lossChunks: number;
  /** Supervised tokens of a batch at most; left out, all. */
  readonly supervisedTokens?: number | undefined;
}

export interface MemoryRequest extends GraphSizes {
  readonly modules: ModuleTable;
  /** All that is trained. */
  readonly method: Pick<BoundMethod, "parameters">;
  /** The graph that yields loss and gradient, over weights as they are kept. */
  readonly graph: Graph;
  /** The graphs that apply a gradient, and the numbers of what is trained that each reads at once. */
  readonly updates: readonly { readonly graph: Graph; readonly size: number }[];
  /** Batches whose gradients make one update. */
  readonly accumulate?: number | undefined;
  /** The graph that measures what is trained on other rows; its memory stays while training goes on. */
  readonly evaluation?: (GraphSizes & { readonly graph: Graph }) | undefined;
}

const float32Bytes = 4;

/** Node, deltafit's code and the runtime's: what is left of the resident set of steps of eight tokens on small models. */
export const processBytes = 130e6;
/** What a node takes as an object here and in the runtime: the same steps, on graphs of 750 to 5,600 nodes. */
const nodeBytes = 11e3;

/** Vectors as long as what is trained: initial values, values, and two moments. New values take the gradient's place. */
const optimizerVectors = 4;
/**
 * Vectors that nothing needs any more stand until Node collects them: the values before the last update for certain, as
 * nothing is collected while the runtime works, and results of some steps, up to what V8 lets stand outside its heap
 * (`kExternalAllocationSoftLimit`).
 */
const collectedVectors = 15;
const collectedBytes = 64 * 2 ** 20;

/**
 * Bytes of one training step at its largest. The runtime's memory only grows, so what the gradient took is still
 * there in the update.
 */
export function estimateMemory(request: MemoryRequest): MemoryBytes {
  const { modules, method, graph, updates, evaluation, accumulate = 1 } = request;
  const counts = countParameters(modules, method);
  const trained = (counts.trainableParameters + counts.headParameters) * float32Bytes;
  const { arenaBytes, workspaceBytes } = liveMemory(graph, dimensionsOf(request));
  const evaluationBytes = evaluation ? liveMemory(evaluation.graph, dimensionsOf(evaluation)).arenaBytes : 0;
  const updateBytes = sum(updates.map(bytesOfUpdate));
  const unusedBytes = trained + Math.min(collectedBytes, collectedVectors * trained);
  const process = processBytes + nodeBytes * graph.nodes.length;
  const bytes = {
    weights: weightBytes(graph),
    gradients: trained * (accumulate > 1 ? 2 : 1),
    optimizer: optimizerVectors * trained,
    activations: arenaBytes - workspaceBytes + evaluationBytes,
    workspace: workspaceBytes + updateBytes + unusedBytes + process,
  };
  return { ...bytes, total: sum(Object.values(bytes)) };
}

/** Each result is there twice: the runtime's own, and the copy that it hands out. */
function bytesOfUpdate({ graph, size }: MemoryRequest["updates"][number]): number {
  const dimensions = new Map([["size", size]]);
  const results = graph.outputs.map(({ value }) => bytesOf(value, dimensions));
  return liveMemory(graph, dimensions).arenaBytes + sum(results);
}

/** The arrays that a graph reads: a matrix that products read along both of its axes in eight bits is there twice. */
function weightBytes(graph: Graph): number {
  const arrays = new Map<string, number>();
  for (const { attributes, outputs } of nodesOf(graph, "Weight"))
    for (const output of outputs) {
      const shape = output.shape.map(Number);
      const { name, form } = attributes;
      arrays.set(
        JSON.stringify([name, form]),
        form ? formBytes(form, shape) : float32Bytes * elementCount(shape),
      );
    }
  return sum([...arrays.values()]);
}

/** What every operation of the gradient's graph finds alive, in running order. */
export function liveThroughStep(request: MemoryRequest): readonly LiveBytes[] {
  const steps: LiveBytes[] = [];
  liveMemory(request.graph, dimensionsOf(request), (live) => steps.push(live));
  return steps;
}

function dimensionsOf(request: GraphSizes): Map<string, number> {
  const { batchSize, length, attentionBlocks, lossChunks } = request;
  const { supervisedTokens = batchSize * length } = request;
  const dimensions = new Map<string, number>([
    ["batch", batchSize],
    ["length", length],
    ["source_length", length],
    ["block", Math.ceil(length / attentionBlocks)],
  ]);
  const rows = Math.ceil(supervisedTokens / lossChunks);
  for (let chunk = 0; chunk < lossChunks; chunk++) dimensions.set(`rows${chunk}`, rows);
  return dimensions;
}

/** Full fine-tuning of the same model: what every method is compared with. */
export const fullFineTuning = (modules: ModuleTable): BoundMethod => full.bind({}, modules);

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}
