/** @file What a training step must not do: differentiate below the first adapted layer, or hand over more than it has to. */
import { writeFileSync } from "node:fs";
import path from "node:path";
import { expect, test, vi } from "vitest";
import { createAdapter } from "../../src/adapters/adapter.ts";
import { openBase } from "../../src/base/base.ts";
import type { Base } from "../../src/base/base.ts";
import { collate } from "../../src/data/batches.ts";
import { isOperation } from "../../src/graph/graph.ts";
import type { Graph } from "../../src/graph/graph.ts";
import { loraDefaults } from "../../src/methods/lora.ts";
import { cpu } from "../../src/runtime/cpu.ts";
import type { Device } from "../../src/runtime/session.ts";
import type { Tensor } from "../../src/tensor/tensor.ts";
import { languageObjective } from "../../src/training/objective.ts";
import { adamWDefaults } from "../../src/training/optimiser.ts";
import { Trainer } from "../../src/training/trainer.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

function openTiny(): Promise<Base> {
  vi.stubEnv("DELTAFIT_CACHE", temporaryFolder());
  const file = path.join(temporaryFolder(), "config.json");
  const sizes = { vocab_size: 23, hidden_size: 8, intermediate_size: 12, num_attention_heads: 2 };
  const llama = { model_type: "llama", ...sizes, num_hidden_layers: 4, max_position_embeddings: 32 };
  writeFileSync(file, JSON.stringify(llama));
  return openBase({ path: file, name: "tiny", task: "causal-lm", randomWeights: 1 });
}

/** How many matrix products read each weight: one in the forward pass, one more where a gradient goes through it. */
function productsByWeight({ nodes }: Graph): Map<string, number> {
  const counts = new Map<string, number>();
  for (const node of nodes) {
    if (!isOperation(node, "Gemm") && !isOperation(node, "MatMul")) continue;
    for (const input of node.inputs)
      if (input && isOperation(input.node, "Weight")) {
        const { name } = input.node.attributes;
        counts.set(name, (counts.get(name) ?? 0) + 1);
      }
  }
  return counts;
}

test("no gradient goes below the first adapted module", async () => {
  const base = await openTiny();
  const configuration = { ...loraDefaults, rank: 2, targets: ["q_proj", "v_proj"], layersToTransform: [2] };
  const adapter = createAdapter({ base, type: "LORA", configuration, seed: 0 });
  const { graph } = languageObjective({ base, adapters: [adapter], sequenceLength: 8, batchSize: 1 });
  const products = productsByWeight(graph);
  const inLayer = (layer: number) =>
    Object.fromEntries(
      [...products].flatMap(([name, count]) => {
        const [, own] = name.split(`model.layers.${layer}.`);
        return own === undefined ? [] : [[own.replace(".weight", ""), count] as const];
      }),
    );
  const all = (count: number) => ({
    "self_attn.q_proj": count,
    "self_attn.k_proj": count,
    "self_attn.v_proj": count,
    "self_attn.o_proj": count,
    "mlp.gate_proj": count,
    "mlp.up_proj": count,
    "mlp.down_proj": count,
  });
  expect(inLayer(0)).toEqual(all(1));
  expect(inLayer(1)).toEqual(all(1));
  const projections = { "self_attn.q_proj": 1, "self_attn.k_proj": 1, "self_attn.v_proj": 1 };
  expect(inLayer(2)).toEqual({ ...all(2), ...projections });
  expect(inLayer(3)).toEqual(all(2));
});

test("a step hands over ids, places and the trained vector, which is not copied", async () => {
  const base = await openTiny();
  const configuration = { ...loraDefaults, rank: 2, targets: ["q_proj"] };
  const adapter = createAdapter({ base, type: "LORA", configuration, seed: 0 });
  const objective = languageObjective({ base, adapters: [adapter], sequenceLength: 8, batchSize: 2 });
  const runs: Readonly<Record<string, Tensor>>[] = [];
  const device: Device = {
    name: "watched",
    async createSession(...request) {
      const session = await cpu.createSession(...request);
      return {
        run(feeds) {
          runs.push(feeds);
          return session.run(feeds);
        },
        dispose: () => session.dispose(),
      };
    },
  };
  const trainer = await Trainer.create({
    objective,
    parameters: adapter.values,
    optimiser: adamWDefaults,
    seed: 0,
    device,
    session: { threads: 1 },
  });
  const example = { inputIds: [3, 5, 7, 9], labels: [-100, -100, 7, 9] };
  await trainer.step([collate([example, example], { padTokenId: 0 })], 1e-3);
  await trainer.dispose();
  const [gradientFeeds = {}, normFeeds = {}, updateFeeds = {}] = runs;
  expect(Object.fromEntries(Object.entries(gradientFeeds).map(([name, { shape }]) => [name, shape]))).toEqual(
    {
      input_ids: [2, 4],
      position_ids: [2, 4],
      "rows.0": [4],
      "targets.0": [4],
      trainable: [adapter.layout.size],
    },
  );
  expect(gradientFeeds["trainable"]?.data).toBe(adapter.values);
  // Views of the vectors: slices of large ones, here all of them.
  expect((updateFeeds["parameters"]?.data as Float32Array).buffer).toBe(adapter.values.buffer);
  expect((updateFeeds["gradient"]?.data as Float32Array).buffer).toBe(
    (normFeeds["gradient"]?.data as Float32Array).buffer,
  );
  expect(runs).toHaveLength(3);
});
