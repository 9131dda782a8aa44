/**
 * @file The memory of the process over time, sampled beside whatever runs. A graph's run keeps the main thread busy, so
 * that samples are taken in another one.
 */
import { Worker } from "node:worker_threads";

export interface MemorySample {
  /** Since the profile began. */
  readonly seconds: number;
  /** Resident set of the whole process. */
  readonly residentBytes: number;
}

/** A moment of the run. */
export interface MemoryMark {
  readonly seconds: number;
  readonly label: string;
}

export interface MemoryProfile {
  readonly samples: readonly MemorySample[];
  readonly marks: readonly MemoryMark[];
}

export interface RunningProfile {
  readonly mark: (label: string) => void;
  /** Ends sampling. A second call gives the same. */
  readonly stop: () => Promise<MemoryProfile>;
}

/** When there are so many samples, every second one goes, and half as many are taken from then on. */
const mostSamples = 20_000;
const firstIntervalMs = 5;

/** In text, because the thread must start from source and from the built package alike. */
const sampler = `
const { parentPort, workerData } = require("node:worker_threads");
let { intervalMs, mostSamples } = workerData;
let samples = [];
let timer;
const sample = () => {
  samples.push([performance.timeOrigin + performance.now(), process.memoryUsage.rss()]);
  if (samples.length < mostSamples) return;
  samples = samples.filter((_, index) => index % 2 === 0);
  intervalMs *= 2;
  clearInterval(timer);
  timer = setInterval(sample, intervalMs);
};
sample();
timer = setInterval(sample, intervalMs);
parentPort.once("message", () => {
  clearInterval(timer);
  sample();
  parentPort.postMessage(samples);
});
`;

/** Begins to sample; `stop` must be called, or the process does not end. */
export function startMemoryProfile(): RunningProfile {
  const startMs = performance.now();
  const worker = new Worker(sampler, {
    eval: true,
    workerData: { intervalMs: firstIntervalMs, mostSamples },
  });
  const marks: MemoryMark[] = [];
  let stopped: Promise<MemoryProfile> | undefined;
  return {
    mark(label) {
      marks.push({ seconds: (performance.now() - startMs) / 1000, label });
    },
    stop: () => (stopped ??= collect(worker, performance.timeOrigin + startMs, marks)),
  };
}

async function collect(
  worker: Worker,
  originMs: number,
  marks: readonly MemoryMark[],
): Promise<MemoryProfile> {
  const taken = await new Promise<readonly (readonly [number, number])[]>((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
    worker.postMessage("stop");
  });
  await worker.terminate();
  const samples = taken.map(([timeMs, residentBytes]) => ({
    seconds: Math.max(0, (timeMs - originMs) / 1000),
    residentBytes,
  }));
  return { samples, marks };
}
