/**
 * @file How much memory the values of a graph take at once: each lives from the node that makes it to the last that
 * reads it. Works on the very graph that will run, without weights and before anything is loaded.
 */
import { evaluateDimension } from "../graph/dimension.ts";
import type { DimensionValues } from "../graph/dimension.ts";
import { isOperation } from "../graph/graph.ts";
import type { Graph, Node, OperationName, Value } from "../graph/graph.ts";
import { decodedAtOnce } from "../graph/operations/stored-product.ts";
import { bytesPerElement } from "../tensor/tensor.ts";

export interface LiveMemory {
  /** Bytes of all values that are alive where most are. */
  readonly peakBytes: number;
  /** Of these, what the lowering of one node adds for itself while it runs. */
  readonly workspaceBytes: number;
  /** Operation of the node that runs at the peak. */
  readonly peakOperation: OperationName | undefined;
}

/** Operations whose result is another view of their first input. */
const views: ReadonlySet<OperationName> = new Set<OperationName>(["Reshape"]);

/** Operations that ONNX Runtime lets write over an input of the same size which nothing else reads. */
const inPlace: ReadonlySet<OperationName> = new Set<OperationName>([
  ...([
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Neg",
    "Exp",
    "Log",
    "Sqrt",
    "Reciprocal",
    "Tanh",
    "Sigmoid",
    "Erf",
    "Relu",
  ] as const),
  ...(["Softmax", "ScatterRows"] as const),
]);

/** Buffers of the size of an input that an operation's lowering needs besides its output: by operation, which input and how many. */
const workspace: Partial<Record<OperationName, { readonly input: number; readonly copies: number }>> = {
  SoftmaxGradient: { input: 0, copies: 1 },
  SoftmaxCrossEntropyLoss: { input: 0, copies: 1 },
  SoftmaxCrossEntropyLossGradient: { input: 1, copies: 1 },
  SeededDropout: { input: 0, copies: 2 },
  ScatterRows: { input: 1, copies: 2 },
};

/** What is alive while one node runs. */
export interface LiveBytes {
  /** Values, the node's own included. */
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
  const owners = ownersOf(graph);
  const owner = (value: Value) => owners.get(value) ?? value;
  const bytes = (value: Value) =>
    value.shape.reduce<number>(
      (size, extent) => size * evaluateDimension(extent, dimensions),
      bytesPerElement[value.dtype],
    );
  const lastUse = new Map<Value, Node>();
  for (const node of graph.nodes) for (const input of node.inputs) if (input) lastUse.set(owner(input), node);
  const kept = new Set(graph.outputs.map(({ value }) => owner(value)));
  const used = new Set([...lastUse.keys(), ...kept]);
  let live = 0;
  let best: LiveMemory = { peakBytes: 0, workspaceBytes: 0, peakOperation: undefined };
  for (const node of graph.nodes) {
    if (isGiven(node) || views.has(node.operation)) continue;
    const dying = new Set(
      node.inputs.flatMap((input) => {
        const held = input && owner(input);
        return held && lastUse.get(held) === node && !kept.has(held) && !isGiven(held.node) ? [held] : [];
      }),
    );
    const made = node.outputs
      .filter((output) => used.has(output))
      .reduce((sum, output) => sum + bytes(output), 0);
    const freed = [...dying].reduce((sum, value) => sum + bytes(value), 0);
    const [output] = node.outputs;
    // The runtime gives every output of a graph a buffer of its own.
    const overwritten =
      inPlace.has(node.operation) &&
      output &&
      !kept.has(output) &&
      [...dying].some((value) => bytes(value) === bytes(output));
    const extra = workspace[node.operation];
    const extraInput = extra && node.inputs[extra.input];
    const decodedBytes = isOperation(node, "Gemm") ? decodedAtOnce(node) * bytesPerElement.float32 : 0;
    const workspaceBytes = decodedBytes + (extra && extraInput ? extra.copies * bytes(extraInput) : 0);
    const peakBytes = live + (overwritten ? 0 : made) + workspaceBytes;
    onNode?.({ bytes: peakBytes - workspaceBytes, workspaceBytes });
    if (peakBytes > best.peakBytes) best = { peakBytes, workspaceBytes, peakOperation: node.operation };
    live += made - freed;
  }
  return best;
}

/** The value whose buffer each view shares. */
function ownersOf(graph: Graph): ReadonlyMap<Value, Value> {
  const owners = new Map<Value, Value>();
  for (const node of graph.nodes) {
    const [output] = node.outputs;
    const [input] = node.inputs;
    if (output && input && views.has(node.operation)) owners.set(output, owners.get(input) ?? input);
  }
  return owners;
}

const isGiven = (node: Node) =>
  isOperation(node, "Input") || isOperation(node, "Weight") || isOperation(node, "Constant");
