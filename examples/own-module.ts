/**
 * @file A module of one's own with LoRA on its linear layers, as in the papers' `LinearWithLoRA`: an MLP whose frozen
 * weights know one function learns another by two small matrices a layer.
 *
 *   npx tsx examples/own-module.ts
 */
import {
  adamWDefaults,
  createAdapter,
  loraDefaults,
  moduleObjective,
  openModule,
  Trainer,
  float32Tensor,
} from "../src/index.ts";

const hidden = 64;
const random = (count: number, scale: number, seed: number) =>
  Float32Array.from(
    { length: count },
    (_, index) => scale * Math.sin((index + 1) * 12.9898 * seed) * Math.cos(index * 78.233),
  );

const base = openModule(
  {
    inputs: { x: { dtype: "float32", shape: ["batch", 2] }, y: { dtype: "float32", shape: ["batch", 1] } },
    forward(context, { x, y }) {
      const { builder } = context;
      const first = builder.tanh(context.linear("layers.0", x, { in: 2, out: hidden, bias: true }));
      const second = builder.tanh(context.linear("layers.1", first, { in: hidden, out: hidden, bias: true }));
      const output = context.linear("layers.2", second, { in: hidden, out: 1 });
      const difference = builder.subtract(output, y);
      return { loss: builder.sumAll(builder.multiply(difference, difference)), output };
    },
  },
  {
    "layers.0.weight": random(hidden * 2, 1, 1),
    "layers.0.bias": random(hidden, 0.5, 2),
    "layers.1.weight": random(hidden * hidden, 0.2, 3),
    "layers.1.bias": random(hidden, 0.5, 4),
    "layers.2.weight": random(hidden, 0.2, 5),
  },
);

const adapter = createAdapter({
  base,
  type: "LORA",
  configuration: { ...loraDefaults, rank: 4, alpha: 8, targets: ["layers.0", "layers.1", "layers.2"] },
  seed: 0,
});
const trainer = await Trainer.create({
  objective: moduleObjective(base, [adapter]),
  parameters: adapter.values,
  optimiser: { ...adamWDefaults, weightDecay: 0 },
  seed: 0,
});

/** 64 points of the unit square, and what is to be learnt there. */
const points = Array.from(
  { length: 64 },
  (_, index) => [(index % 8) / 7, Math.floor(index / 8) / 7] as const,
);
const batch = {
  tensors: {
    x: float32Tensor([points.length, 2], points.flat()),
    y: float32Tensor(
      [points.length, 1],
      points.map(([a, b]) => Math.sin(3 * a) * b),
    ),
  },
  count: points.length,
};

let last = { loss: NaN };
for (let step = 0; step < 300; step++) {
  last = await trainer.step([batch], 1e-2);
  if (step % 100 === 0) console.log(`step ${step}: mean squared error ${last.loss.toFixed(4)}`);
}
console.log(
  `${adapter.layout.size} trained values, mean squared error below 0.01: ${String(last.loss < 0.01)}`,
);
await trainer.dispose();
