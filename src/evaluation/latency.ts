/**
 * @file The time that a model with adapters needs to answer: its forward pass over whole rows, and, for models that
 * go on token by token, one more token. Variants take turns, so that what else the machine does hits all alike.
 */
import { withBaseChanges } from "../base/changed-base.ts";
import type { Base } from "../base/base.ts";
import { internalError } from "../errors.ts";
import { Decoder } from "../generation/decoder.ts";
import { adapterFeeds, buildDecoderGraph } from "../generation/decoder-graph.ts";
import { constantFeeds } from "../methods/constants.ts";
import type { BoundMethod } from "../methods/contract.ts";
import type { ParameterLayout } from "../methods/layout.ts";
import { masksPadding } from "../models/forward.ts";
import { cpu } from "../runtime/cpu.ts";
import type { Session, SessionOptions } from "../runtime/session.ts";
import { feedsOf } from "../tasks/feeds.ts";
import { buildLogitsGraph } from "../tasks/graphs.ts";
import { frozenInput } from "../tasks/pass.ts";
import { float32Tensor, int64Tensor } from "../tensor/tensor.ts";

/** A model with adapters whose latency is measured. */
export interface LatencyVariant {
  readonly name: string;
  readonly base: Base;
  readonly adapters: readonly {
    readonly name: string;
    readonly method: BoundMethod;
    readonly layout: ParameterLayout;
    readonly values: Float32Array;
  }[];
}

export interface LatencySettings {
  /** Rows of a batch. */
  readonly batchSize: number;
  /** Tokens of a row. */
  readonly sequenceLength: number;
  /** Rounds that are measured, after one that is not. */
  readonly rounds: number;
  /** Token ids [rows * length] of a batch. */
  readonly tokens: (count: number) => readonly number[];
  readonly session?: SessionOptions | undefined;
}

/** Milliseconds of one variant, round by round. */
export interface Latency {
  readonly name: string;
  readonly forward: readonly number[];
  /** One more token of every row, as the mean of a few; empty for models that do not go on. */
  readonly token: readonly number[];
}

/** Tokens after the rows, whose mean is one measurement. */
const tokensPerRound = 8;

interface OpenVariant {
  readonly name: string;
  readonly measure: (ids: readonly number[][]) => Promise<{ forward: number; token?: number | undefined }>;
  readonly session: Session;
}

/**
 * Measures variants in turns, each round in another order.
 * @throws DeltafitError `runtime-failed`, `memory-exceeded`.
 */
export async function measureLatency(
  variants: readonly LatencyVariant[],
  { batchSize, sequenceLength, rounds, tokens, session }: LatencySettings,
): Promise<Latency[]> {
  const flat = tokens(batchSize * sequenceLength);
  const rows = Array.from({ length: batchSize }, (_, row) =>
    flat.slice(row * sequenceLength, (row + 1) * sequenceLength),
  );
  const opened: OpenVariant[] = [];
  try {
    for (const variant of variants)
      opened.push(
        await (variant.base.settings.task === "causal-lm"
          ? openDecoder(variant, session)
          : openForward(variant, session)),
      );
    const results = opened.map(({ name }) => ({ name, forward: [] as number[], token: [] as number[] }));
    for (let round = 0; round <= rounds; round++)
      for (let turn = 0; turn < opened.length; turn++) {
        const index = (round + turn) % opened.length;
        const { forward, token } = (await opened[index]?.measure(rows)) ?? { forward: NaN };
        if (round === 0) continue;
        results[index]?.forward.push(forward);
        if (token !== undefined) results[index]?.token.push(token);
      }
    return results;
  } finally {
    for (const { session: own } of opened) await own.dispose();
  }
}

async function openDecoder(
  { name, base, adapters }: LatencyVariant,
  options: SessionOptions | undefined,
): Promise<OpenVariant> {
  const graph = buildDecoderGraph(base.model, adapters);
  const changed = withBaseChanges(base, adapters);
  const session = await cpu.createSession(graph, (weight) => changed.locate(weight), options);
  const feeds = Object.fromEntries(
    adapters.flatMap((adapter, index) => Object.entries(adapterFeeds(adapter, index, 1))),
  );
  const virtual = adapters.reduce((sum, { method }) => sum + (method.virtualTokens ?? 0), 0);
  return {
    name,
    session,
    async measure(rows) {
      const decoder = new Decoder(session, base.model, feeds, rows.length, { virtualTokens: virtual });
      const forward = await timed(() => decoder.advance(rows));
      const next = rows.map((row) => row.slice(-1));
      const token = await timed(async () => {
        for (let count = 0; count < tokensPerRound; count++) await decoder.advance(next);
      });
      return { forward, token: token / tokensPerRound };
    },
  };
}

async function openForward(
  { name, base, adapters }: LatencyVariant,
  options: SessionOptions | undefined,
): Promise<OpenVariant> {
  const { model, settings } = base;
  const taskGraph = buildLogitsGraph({
    model,
    settings,
    adapters: adapters.map((adapter) => ({ ...adapter, trainable: false })),
    padding: masksPadding(model, settings.task),
    attentionBlocks: 1,
    lossChunks: 1,
  });
  const changed = withBaseChanges(base, adapters);
  const session = await cpu.createSession(taskGraph.graph, (weight) => changed.locate(weight), options);
  const parameters = Object.fromEntries(
    adapters.flatMap(({ name: adapter, method, values }) => [
      [frozenInput(adapter), float32Tensor([values.length], values)] as const,
      ...Object.entries(constantFeeds(adapter, method)),
    ]),
  );
  return {
    name,
    session,
    async measure(rows) {
      const shape = [rows.length, rows[0]?.length ?? 0];
      const ids = rows.flat();
      const attentionMask = int64Tensor(shape, new Array<number>(ids.length).fill(1));
      const { tensors } = feedsOf(taskGraph, model, { inputIds: int64Tensor(shape, ids), attentionMask });
      return {
        forward: await timed(async () => {
          const results = await session.run({ ...tensors, ...parameters });
          if (!results["logits"]) throw internalError("the forward pass gave no logits.");
        }),
      };
    },
  };
}

async function timed(run: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await run();
  return performance.now() - startMs;
}
