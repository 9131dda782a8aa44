/**
 * @file How much memory a run of a graph takes: the buffers of its values, what the lowering of single operations needs
 * besides, and what the runtime's arena makes of them. Works without weights and before anything is loaded.
 */
import type { DimensionValues } from "../graph/dimension.ts";
import { isOperation } from "../graph/graph.ts";
import type { Graph, Node, OperationName } from "../graph/graph.ts";
import { workspaceElements } from "../graph/operations/stored-product.ts";
import { bytesPerElement } from "../tensor/tensor.ts";
import { Arena } from "./arena.ts";
import type { ArenaBlock } from "./arena.ts";
import { bytesOf, isGiven, isView, planBuffers } from "./buffers.ts";
import type { Buffer } from "./buffers.ts";

export interface LiveMemory {
  /** Bytes of all buffers that are held where most are. */
  readonly peakBytes: number;
  /** Of these, what the lowering of one node adds for itself while it runs. */
  readonly workspaceBytes: number;
  /** Operation of the node that runs at the peak. */
  readonly peakOperation: OperationName | undefined;
  /** What the arena has taken in the end: the peak, and gaps between buffers that no other fits into. */
  readonly arenaBytes: number;
}

/** Buffers of the size of a value that an operation's lowering holds at once besides its output. */
const workspace: Partial<Record<OperationName, { readonly of: number | "output"; readonly copies: number }>> =
  {
    SoftmaxGradient: { of: 0, copies: 2 },
    SoftmaxCrossEntropyLoss: { of: 0, copies: 1 },
    SoftmaxCrossEntropyLossGradient: { of: 1, copies: 1 },
    // Scaled values, a copy that Where makes of its second choice, and the mask.
    SeededDropout: { of: 0, copies: 2 },
    Where: { of: "output", copies: 1 },
  };

/** What is alive while one node runs. */
export interface LiveBytes {
  /** Buffers, the node's own included. */
  readonly bytes: number;
  /** What the lowering of the node adds for itself. */
  readonly workspaceBytes: number;
}

/**
 * The peak over the nodes in running order. Inputs and weights are the caller's: they are not counted.
 * @param onNode told what is alive at every node that computes something.
 */
export function liveMemory(
  graph: Graph,
  dimensions: DimensionValues,
  onNode?: (live: LiveBytes) => void,
): LiveMemory {
  const buffers = planBuffers(graph, dimensions);
  const [begun, ended] = [groupedBy(buffers, ({ from }) => from), groupedBy(buffers, ({ to }) => to)];
  const arena = new Arena();
  const blocks = new Map<Buffer, ArenaBlock>();
  let live = 0;
  let best = { peakBytes: 0, workspaceBytes: 0, peakOperation: undefined as OperationName | undefined };
  for (const [index, node] of graph.nodes.entries()) {
    if (isGiven(node)) continue;
    for (const buffer of begun.get(index) ?? []) {
      blocks.set(buffer, arena.allocate(buffer.bytes));
      live += buffer.bytes;
    }
    if (!isView(node)) {
      const workspaceBytes = workspaceOf(node, dimensions);
      if (workspaceBytes > 0) arena.release(arena.allocate(workspaceBytes));
      onNode?.({ bytes: live, workspaceBytes });
      const peakBytes = live + workspaceBytes;
      if (peakBytes > best.peakBytes) best = { peakBytes, workspaceBytes, peakOperation: node.operation };
    }
    for (const buffer of ended.get(index) ?? []) {
      const block = blocks.get(buffer);
      if (block) arena.release(block);
      live -= buffer.bytes;
    }
  }
  return { ...best, arenaBytes: arena.touchedBytes };
}

function workspaceOf(node: Node, dimensions: DimensionValues): number {
  if (isOperation(node, "Gemm")) {
    const { fixed, results } = workspaceElements(node);
    const [output] = node.outputs;
    return fixed * bytesPerElement.float32 + (output ? results * bytesOf(output, dimensions) : 0);
  }
  if (isOperation(node, "ScatterRows")) {
    // Zeros that rows are copied into; or an index of eight bytes for each element that is added.
    const { distinct } = node.attributes;
    const value = distinct ? node.outputs[0] : node.inputs[1];
    return value ? bytesOf(value, dimensions) * (distinct ? 1 : 2) : 0;
  }
  const extra = workspace[node.operation];
  const value = extra && (extra.of === "output" ? node.outputs[0] : node.inputs[extra.of]);
  return extra && value ? extra.copies * bytesOf(value, dimensions) : 0;
}

function groupedBy(buffers: readonly Buffer[], index: (buffer: Buffer) => number) {
  const groups = new Map<number, Buffer[]>();
  for (const buffer of buffers) groups.set(index(buffer), [...(groups.get(index(buffer)) ?? []), buffer]);
  return groups;
}
