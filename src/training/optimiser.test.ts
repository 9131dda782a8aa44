/** @file Updates in slices: the same bits as over the whole vector at once. */
import { expect, test, vi } from "vitest";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { layOut } from "../methods/layout.ts";
import { cpu } from "../runtime/cpu.ts";
import { TorchGenerator } from "../tensor/random.ts";
import { AdamW, adamWDefaults, newOptimiserState } from "./optimiser.ts";
import type { AdamWSettings, ParameterGroups } from "./optimiser.ts";

const entry = (key: string, size: number) => ({
  adapter: "a",
  spec: { key, shape: [size], initial: () => new Float32Array(size) },
});
const layout = layOut([entry("lora_A", 300), entry("lora_B", 700)]);
const groups: ParameterGroups = {
  rate: ({ key }) => (key === "lora_B" ? 16 : 1),
  decay: ({ key }) => (key === "lora_B" ? 0 : 1),
};

interface Case {
  readonly settings: AdamWSettings;
  readonly groups?: ParameterGroups | undefined;
  readonly showsGradient?: boolean;
}

/** Three updates from the same start. */
async function updatesOf(given: Case, sliceElements: number) {
  vi.stubEnv("DELTAFIT_CACHE", temporaryFolder());
  const adamW = await AdamW.create({ ...given, layout, device: cpu, session: { threads: 1 }, sliceElements });
  const random = new TorchGenerator(3);
  let parameters = random.normal(1000);
  const state = newOptimiserState(1000);
  const updates = [];
  for (let step = 0; step < 3; step++) {
    const update = await adamW.update(parameters, random.normal(1000), 7, 1e-3, state);
    ({ parameters } = update);
    updates.push({ ...update, first: state.firstMoment.slice(), second: state.secondMoment.slice() });
  }
  await adamW.dispose();
  expect(state.step).toBe(3);
  return updates;
}

test.each<[string, Case]>([
  ["clipped", { settings: adamWDefaults }],
  ["not clipped", { settings: { ...adamWDefaults, clip: undefined } }],
  ["with groups", { settings: adamWDefaults, groups }],
  ["with the gradient shown", { settings: adamWDefaults, showsGradient: true }],
])("slices give the bits of the whole vector: %s", async (_name, given) => {
  const [whole, sliced] = [await updatesOf(given, 1000), await updatesOf(given, 37)];
  expect(sliced).toEqual(whole);
  expect(whole[2]?.parameters).not.toEqual(whole[0]?.parameters);
  expect(whole[0]?.gradient !== undefined).toBe(given.showsGradient === true);
});

test("an update from what is no finite gradient changes nothing", async () => {
  vi.stubEnv("DELTAFIT_CACHE", temporaryFolder());
  const adamW = await AdamW.create({ settings: adamWDefaults, layout, device: cpu });
  const state = newOptimiserState(1000);
  const parameters = new Float32Array(1000).fill(1);
  const gradient = new Float32Array(1000).fill(1);
  gradient[999] = Infinity;
  const update = await adamW.update(parameters, gradient, 1, 1e-3, state);
  expect(update).toEqual({ parameters, norm: Infinity, gradient: undefined });
  expect(state).toEqual(newOptimiserState(1000));
  await adamW.dispose();
});
