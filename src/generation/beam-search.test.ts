/** @file Beam search on a model that is a table, against trying every text. */
import { describe, expect, it } from "vitest";
import { tinyBase, tinyConfigurations } from "../../test/support/tiny-models.ts";
import { cpu } from "../runtime/cpu.ts";
import { beamSearch } from "./beam-search.ts";
import type { BeamDecoder, BeamSettings } from "./beam-search.ts";
import { Decoder } from "./decoder.ts";
import { buildDecoderGraph } from "./decoder-graph.ts";
import { createGenerator } from "./generate.ts";
import { logSoftmax } from "./sampling.ts";
import { SessionCache } from "./session-cache.ts";

const vocabulary = 5;
const end = 4;
type Logits = (history: readonly number[]) => Float32Array;

/** Logits that depend on the last two tokens. */
const table: Logits = (history) =>
  Float32Array.from(
    { length: vocabulary },
    (_, id) => 2 * Math.sin(1 + 7.3 * id + 3.1 * (history.at(-1) ?? 0) + 1.7 * (history.at(-2) ?? 0)),
  );

function decoderOf(logits: Logits): BeamDecoder {
  let rows: number[][] = [[]];
  return {
    advance(tokens) {
      rows = rows.map((row, index) => [...row, ...tokens[index]!]);
      return Promise.resolve(rows.map(logits));
    },
    selectRows(chosen) {
      rows = chosen.map((row) => rows[row]!);
    },
  };
}

/** The text with the best score of all that end within the limit. */
function bestOfAll(
  logits: Logits,
  prompt: readonly number[],
  { limit, lengthPenalty, stopTokens }: BeamSettings,
): number[] {
  let best = { tokens: [] as number[], score: -Infinity };
  const visit = (tokens: number[], sum: number): void => {
    for (const [id, logProbability] of logSoftmax(logits([...prompt, ...tokens])).entries()) {
      const [next, total] = [[...tokens, id], sum + logProbability];
      if (!stopTokens.has(id) && next.length < limit) visit(next, total);
      else if (total / next.length ** lengthPenalty > best.score)
        best = { tokens: next, score: total / next.length ** lengthPenalty };
    }
  };
  visit([], 0);
  return best.tokens;
}

const settings = { limit: 4, lengthPenalty: 1, stopTokens: new Set([end]) };

describe("beamSearch", () => {
  it.each([0, 1, 2, 3].flatMap((first) => [0, 1, 2].map((lengthPenalty) => ({ first, lengthPenalty }))))(
    "finds the best text of all with beams for every beginning ($first, length penalty $lengthPenalty)",
    async ({ first, lengthPenalty }) => {
      const given: BeamSettings = { ...settings, lengthPenalty, beams: vocabulary ** 3 };
      // Without stop tokens no search can end early, so that all of them are compared.
      const endless = { ...given, stopTokens: new Set<number>() };
      expect((await beamSearch(decoderOf(table), [first], endless)).tokens).toEqual(
        bestOfAll(table, [first], endless),
      );
      if (lengthPenalty === 0)
        expect((await beamSearch(decoderOf(table), [first], given)).tokens).toEqual(
          bestOfAll(table, [first], given),
        );
    },
  );

  it("finds what the most likely next token alone would miss", async () => {
    // Token 0 is likelier than 1, but what follows 1 is certain.
    const likelier = Float32Array.from([0.6, 0.4, 1e-9, 1e-9, 1e-9], Math.log);
    const certain: Logits = (history) => {
      if (history.length === 1) return likelier;
      return history.at(-1) === 1 ? Float32Array.of(-20, -20, 0, -20, -20) : new Float32Array(vocabulary);
    };
    expect((await beamSearch(decoderOf(certain), [3], { ...settings, limit: 2, beams: 2 })).tokens).toEqual([
      1, 2,
    ]);
    expect((await beamSearch(decoderOf(certain), [3], { ...settings, limit: 2, beams: 1 })).tokens).toEqual([
      0, 0,
    ]);
  });

  it("keeps an end only if it is among the best, and prefers longer texts with a larger penalty", async () => {
    // The end is certain by half; what follows the other half is certain.
    const half: Logits = (history) =>
      history.length === 1
        ? Float32Array.of(Math.log(0.45), -20, -20, -20, Math.log(0.55))
        : Float32Array.of(0, -20, -20, -20, -20);
    expect(
      (await beamSearch(decoderOf(half), [3], { ...settings, beams: 2, lengthPenalty: 0 })).tokens,
    ).toEqual([end]);
    expect(
      (await beamSearch(decoderOf(half), [3], { ...settings, beams: 2, lengthPenalty: 1 })).tokens,
    ).toEqual([0, 0, 0, 0]);
  });

  it("follows the penalties", async () => {
    const { tokens } = await beamSearch(decoderOf(table), [1], {
      ...settings,
      stopTokens: new Set(),
      limit: 4,
      beams: 3,
      noRepeatNgram: 1,
    });
    expect([...tokens, 1].toSorted()).toEqual([0, 1, 2, 3, 4]);
  });

  it("keeps each beam's cache through changes of their order", async () => {
    const base = await tinyBase(tinyConfigurations.llama);
    const sessions = new SessionCache(cpu, { threads: 1 });
    const session = await sessions.open(base, buildDecoderGraph(base.model, []));
    // Reads every beam from its start at each step.
    const forgetful = (): BeamDecoder => {
      let rows: number[][] = [[]];
      return {
        advance(tokens) {
          rows = rows.map((row, index) => [...row, ...tokens[index]!]);
          return new Decoder(session, base.model, {}, rows.length).advance(rows);
        },
        selectRows(chosen) {
          rows = chosen.map((row) => rows[row]!);
        },
      };
    };
    const generator = await createGenerator(base, [], { sessions });
    const prompts = [
      [5, 17, 60],
      [12, 80],
    ];
    const { tokens, finishReasons } = await generator.generate({
      prompts,
      maximumNewTokens: 8,
      stopTokens: [],
      beams: 4,
    });
    const given = { limit: 8, lengthPenalty: 1, stopTokens: new Set<number>(), beams: 4 };
    for (const [row, prompt] of prompts.entries())
      expect(tokens[row]).toEqual((await beamSearch(forgetful(), prompt, given)).tokens);
    expect(finishReasons).toEqual(["length", "length"]);
    expect(tokens).not.toEqual(
      (await generator.generate({ prompts, maximumNewTokens: 8, stopTokens: [] })).tokens,
    );
    await sessions.dispose();
  });
});
