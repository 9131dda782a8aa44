/**
 * @file What a training run needs, before it runs: parameters and bytes by category, beside full fine-tuning of the
 * same model. Everything follows from the graph that will run and from its shapes.
 */
import type { Graph } from "../graph/graph.ts";
import { full } from "../methods/full.ts";
import type { BoundMethod, ModuleTable } from "../methods/contract.ts";
import { elementCount } from "../tensor/tensor.ts";
import { liveMemory } from "./live-memory.ts";
import { countParameters } from "./parameter-counts.ts";

export interface MemoryBytes {
  /** Frozen and trained base weights as the run holds them. */
  readonly weights: number;
  /** The flat gradient. */
  readonly gradients: number;
  /** The trained vector and the optimiser's two moments. */
  readonly optimizer: number;
  /** Results of the forward and backward pass that are alive at once. */
  readonly activations: number;
  /** What single operations need while they run, and the process itself. */
  readonly workspace: number;
  readonly total: number;
}

export interface MemoryRequest {
  readonly modules: ModuleTable;
  /** All that is trained. */
  readonly method: Pick<BoundMethod, "parameters">;
  /** The graph that yields loss and gradient. */
  readonly graph: Graph;
  readonly batchSize: number;
  /** Tokens of a row, padding included; an encoder-decoder reads as many as it writes. */
  readonly length: number;
  /** Row blocks of attention of the graph. */
  readonly attentionBlocks: number;
  readonly lossChunks: number;
  /** Bytes that the storage of frozen matrices saves against float32. */
  readonly savedBytes?: number | undefined;
}

const float32Bytes = 4;

/** Node, the runtime's code and arena, and the heap, measured on runs of tiny models. */
const processBytes = 200e6;

/** Bytes of one training step. */
export function estimateMemory({
  modules,
  method,
  graph,
  batchSize,
  length,
  attentionBlocks,
  lossChunks,
  savedBytes = 0,
}: MemoryRequest): MemoryBytes {
  const dimensions = new Map<string, number>([
    ["batch", batchSize],
    ["length", length],
    ["source_length", length],
    ["block", Math.ceil(length / attentionBlocks)],
  ]);
  const rows = Math.ceil((batchSize * length) / lossChunks);
  for (let chunk = 0; chunk < lossChunks; chunk++) dimensions.set(`rows${chunk}`, rows);
  const counts = countParameters(modules, method);
  const trained = counts.trainableParameters + counts.headParameters;
  const { peakBytes, workspaceBytes } = liveMemory(graph, dimensions);
  const replaced = sum(
    method.parameters.flatMap(({ key, shape }) => (modules.parameters.has(key) ? [elementCount(shape)] : [])),
  );
  const bytes = {
    weights: (counts.baseParameters - replaced) * float32Bytes - savedBytes,
    gradients: trained * float32Bytes,
    optimizer: 3 * trained * float32Bytes,
    activations: peakBytes - workspaceBytes,
    workspace: workspaceBytes + processBytes,
  };
  return { ...bytes, total: sum(Object.values(bytes)) };
}

/** Full fine-tuning of the same model: what every method is compared with. */
export const fullFineTuning = (modules: ModuleTable): BoundMethod => full.bind({}, modules);

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}
