/** @file Optimisers, clipping and schedules against torch and transformers. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { readJsonFile } from "../../src/files/json.ts";
import { layOut } from "../../src/methods/layout.ts";
import { cpu } from "../../src/runtime/cpu.ts";
import { AdamW, newOptimiserState } from "../../src/training/optimiser.ts";
import type { AdamWSettings } from "../../src/training/optimiser.ts";
import { scheduleFactor } from "../../src/training/schedule.ts";
import type { ScheduleName } from "../../src/training/schedule.ts";
import { compare } from "./cases.ts";
import { sessionOptions } from "./computed.ts";
import { CaseSkipped } from "./section.ts";
import type { ReferenceCase, ReferenceSection } from "./section.ts";

export const optimisers: ReferenceSection = ({ root }) => {
  const folder = join(root, "optim");
  return [
    ...casesOf(join(folder, "optimisers.json"), optimiserCases),
    ...casesOf(join(folder, "schedules.json"), scheduleCases),
    ...casesOf(join(folder, "clipping.json"), clippingCases),
  ];
};

function casesOf(path: string, cases: (content: unknown) => ReferenceCase[]): ReferenceCase[] {
  return existsSync(path) ? cases(readJsonFile(path)) : [];
}

/** A few roundings of float32 values around 1. */
const float32Tolerance = { absolute: 1e-6, relative: 1e-6 };
/** Rates are computed in float64 on both sides. */
const float64Tolerance = { absolute: 1e-15, relative: 1e-12 };

const matrixSchema = z.array(z.array(z.number()));
const tensorsSchema = z.object({ matrix: matrixSchema, vector: z.array(z.number()) });
const optimisersSchema = z.looseObject({
  start: tensorsSchema,
  gradients: z.array(tensorsSchema),
  cases: z.array(
    z.looseObject({
      name: z.string(),
      optimiser: z.string(),
      args: z.record(z.string(), z.unknown()),
      after_step: z.array(tensorsSchema),
    }),
  ),
});
/** The arguments of torch's AdamW that deltafit has, with torch's defaults. */
const adamWSchema = z.strictObject({
  lr: z.number(),
  betas: z.tuple([z.number(), z.number()]).default([0.9, 0.999]),
  eps: z.number().default(1e-8),
  weight_decay: z.number().default(0.01),
});

function flat({ matrix, vector }: z.output<typeof tensorsSchema>): Float32Array {
  return Float32Array.from([...matrix.flat(), ...vector]);
}

function optimiserCases(content: unknown): ReferenceCase[] {
  const { start, gradients, cases } = optimisersSchema.parse(content);
  return cases.map(({ name, optimiser, args, after_step: expected }) => ({
    name: `optim/${name}`,
    async check() {
      const settings = adamWSchema.safeParse(args);
      if (optimiser !== "torch.optim.AdamW" || !settings.success)
        throw new CaseSkipped(`the optimiser ${optimiser} ${JSON.stringify(args)} is not implemented`);
      const { lr, betas, eps, weight_decay: weightDecay } = settings.data;
      let parameters = flat(start);
      await withAdamW(
        parameters.length,
        { betas, epsilon: eps, weightDecay, clip: undefined },
        async (adamW) => {
          const state = newOptimiserState(parameters.length);
          for (const [step, gradient] of gradients.entries()) {
            ({ parameters } = await adamW.update(parameters, flat(gradient), 1, lr, state));
            const shape = [parameters.length];
            const wanted = expected[step];
            if (!wanted) break;
            compare(
              `after_step[${step}]`,
              { shape, data: parameters },
              { shape, data: flat(wanted) },
              float32Tolerance,
            );
          }
        },
      );
    },
  }));
}

async function withAdamW(
  size: number,
  settings: AdamWSettings,
  use: (adamW: AdamW) => Promise<void>,
): Promise<void> {
  const layout = layOut([{ adapter: "default", spec: { key: "all", shape: [size] } }]);
  const adamW = await AdamW.create({ settings, layout, device: cpu, session: sessionOptions });
  try {
    await use(adamW);
  } finally {
    await adamW.dispose();
  }
}

const schedulesSchema = z.array(
  z.looseObject({
    name: z.string(),
    args: z.record(z.string(), z.number()),
    base_lr: z.number(),
    warmup_steps: z.int(),
    total_steps: z.int(),
    lr_of_update: z.array(z.number()),
    lr_after_end: z.number(),
  }),
);

/** Names of transformers; its "constant" is deltafit's without warm-up. */
const schedules: Readonly<Record<string, ScheduleName>> = {
  linear: "linear",
  cosine: "cosine",
  constant: "constant",
  constant_with_warmup: "constant",
};

function scheduleCases(content: unknown): ReferenceCase[] {
  return schedulesSchema.parse(content).map((schedule): ReferenceCase => {
    const hasArguments = Object.keys(schedule.args).length > 0;
    const title = hasArguments ? `${schedule.name} ${JSON.stringify(schedule.args)}` : schedule.name;
    return {
      name: `optim/schedule ${title}`,
      check() {
        const name = hasArguments ? undefined : schedules[schedule.name];
        if (name === undefined) throw new CaseSkipped(`the schedule ${title} is not implemented`);
        const { base_lr: peak, warmup_steps: warmup, total_steps: total } = schedule;
        const expected = [...schedule.lr_of_update, schedule.lr_after_end];
        const actual = expected.map((_, step) => peak * scheduleFactor(name, step, warmup, total));
        compare(
          "rate of update",
          { shape: [], data: actual },
          { shape: [], data: expected },
          float64Tolerance,
        );
      },
    };
  });
}

const clippingSchema = z.looseObject({
  gradients: z.tuple([matrixSchema, z.array(z.number())]),
  cases: z.array(
    z.looseObject({
      max_norm: z.number(),
      norm: z.number(),
      clipped: z.tuple([matrixSchema, z.array(z.number())]),
    }),
  ),
});

function clippingCases(content: unknown): ReferenceCase[] {
  const { gradients, cases } = clippingSchema.parse(content);
  const gradient = flat({ matrix: gradients[0], vector: gradients[1] });
  const size = gradient.length;
  return cases.map(({ max_norm: clip, norm, clipped: [matrix, vector] }) => ({
    name: `optim/clipping ${clip}`,
    // With both decays at 0 the first moment after a step is the clipped gradient.
    check: () =>
      withAdamW(size, { betas: [0, 0], epsilon: 1e-8, weightDecay: 0, clip }, async (adamW) => {
        const state = newOptimiserState(size);
        // An update spends its gradient.
        const update = await adamW.update(new Float32Array(size), gradient.slice(), 1, 0, state);
        compare("norm", { shape: [], data: [update.norm] }, { shape: [], data: [norm] }, float32Tolerance);
        const expected = { shape: [size], data: flat({ matrix, vector }) };
        compare("clipped gradient", { shape: [size], data: state.firstMoment }, expected, float32Tolerance);
      }),
  }));
}
