/**
 * @file What an encoder-decoder reads before it writes, read once: a graph from the source's tokens to the keys and
 * values that every step of writing attends to, and these in host memory. Chooses no tokens.
 */
import { internalError } from "../errors.ts";
import { GraphBuilder } from "../graph/builder.ts";
import { graphOf } from "../graph/graph.ts";
import type { Graph, GraphOutput } from "../graph/graph.ts";
import { createForwardContext, sourceInputNames } from "../methods/forward-pass.ts";
import type { AttentionCall, Model } from "../models/forward.ts";
import type { Session } from "../runtime/session.ts";
import { int64Tensor } from "../tensor/tensor.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { activeAdapter, decoderNames } from "./decoder-graph.ts";
import type { DecoderAdapter } from "./decoder-graph.ts";
import { takeRows } from "./key-value-cache.ts";

/** Outputs: `decoderNames.sourceKey` and `sourceValue` of every layer that writes. */
export function buildSourceGraph(model: Model, adapters: readonly DecoderAdapter[]): Graph {
  const builder = new GraphBuilder();
  const outputs: GraphOutput[] = [];
  const context = createForwardContext({
    builder,
    adapters: adapters.map((adapter, index) => activeAdapter(builder, adapter, index)),
    training: false,
    padding: false,
    attentionBlocks: 1,
    hasSource: true,
    attention(call: AttentionCall, layer, attend) {
      if (call.kind === "cross")
        outputs.push(
          { name: decoderNames.sourceKey(layer), value: call.key },
          { name: decoderNames.sourceValue(layer), value: call.value },
        );
      return attend(call);
    },
  });
  // What is written reaches none of the outputs and so is not part of the graph.
  model.encode(context);
  return graphOf(outputs);
}

/** The keys and values of sources, a row each. */
export class SourceStates {
  #tensors: ReadonlyMap<string, Tensor>;

  constructor(tensors: ReadonlyMap<string, Tensor>) {
    this.#tensors = tensors;
  }

  /** Inputs of the decoder graph. */
  get feeds(): Readonly<Record<string, Tensor>> {
    return Object.fromEntries(this.#tensors);
  }

  /** Row i becomes what row `rows[i]` was. */
  selectRows(rows: readonly number[]): void {
    this.#tensors = new Map([...this.#tensors].map(([name, tensor]) => [name, withRows(tensor, rows)]));
  }
}

/**
 * Reads sources of any lengths.
 * @param adapterFeeds the inputs of the adapters and their weights.
 */
export async function readSources(
  session: Session,
  model: Model,
  adapterFeeds: Readonly<Record<string, Tensor>>,
  sources: readonly (readonly number[])[],
): Promise<SourceStates> {
  const length = Math.max(...sources.map((row) => row.length));
  const padded = (rows: readonly (readonly number[])[], padding: number) =>
    int64Tensor(
      [rows.length, length],
      rows.flatMap((row) => [...row, ...Array.from({ length: length - row.length }, () => padding)]),
    );
  const masks = sources.map((row) => row.map(() => 1));
  const attentionMask = padded(masks, 0);
  const positions = sources.map(
    (row, index) => model.positionIds?.(row, masks[index] ?? []) ?? row.map((_, position) => position),
  );
  const outputs = await session.run({
    ...adapterFeeds,
    [sourceInputNames.inputIds]: padded(sources, model.padTokenId ?? 0),
    [sourceInputNames.attentionMask]: attentionMask,
    [sourceInputNames.positionIds]: padded(positions, 0),
  });
  return new SourceStates(
    new Map([...Object.entries(outputs), [sourceInputNames.attentionMask, attentionMask]]),
  );
}

function withRows({ shape, data }: Tensor, rows: readonly number[]): Tensor {
  const size = data.length / (shape[0] ?? 1);
  const taken = [rows.length, ...shape.slice(1)];
  if (data instanceof Float32Array)
    return { dtype: "float32", shape: taken, data: takeRows(data, rows, size) };
  if (!(data instanceof BigInt64Array))
    throw internalError("the state of a source is of an unexpected type.");
  const chosen = new BigInt64Array(rows.length * size);
  for (const [to, from] of rows.entries())
    chosen.set(data.subarray(from * size, (from + 1) * size), to * size);
  return { dtype: "int64", shape: taken, data: chosen };
}
