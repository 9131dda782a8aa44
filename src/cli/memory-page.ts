/**
 * @file A run's memory as one page that needs nothing else: what was measured over time, and what a step's operations
 * keep alive. Knows no run: it draws what it is given.
 */
import type { LiveBytes } from "../memory/live-memory.ts";
import type { MemoryBytes } from "../memory/estimate.ts";
import { escapeMarkup, stackedAreas } from "./stacked-areas.ts";
import type { Band } from "./stacked-areas.ts";
import type { MemoryProfile, MemorySample } from "./memory-profile.ts";

export interface MemoryPage {
  /** What ran, a line each. */
  readonly title: string;
  readonly lines: readonly string[];
  readonly profile: MemoryProfile;
  readonly estimate: MemoryBytes;
  /** What each operation of a step finds alive, in running order. */
  readonly step: readonly LiveBytes[];
}

const inUnits = (bytes: number): string =>
  bytes < 1e9 ? `${Math.round(bytes / 1e6)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;

const colours = {
  process: "#8a8f98",
  parameters: "#3b6fb6",
  optimiser: "#7a57b8",
  gradients: "#c2571a",
  activations: "#2f8f5b",
  workspace: "#b7a12a",
} as const;

/** The whole page as HTML. */
export function memoryPage(page: MemoryPage): string {
  const { title, lines, profile, estimate, step } = page;
  const peak = Math.max(...profile.samples.map(({ residentBytes }) => residentBytes));
  const seconds = profile.samples.at(-1)?.seconds ?? 0;
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${escapeMarkup(title)}</title>
<style>
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.3rem; } h2 { font-size: 1.05rem; margin-top: 2rem; }
svg { width: 100%; height: auto; font: 12px system-ui, sans-serif; } svg text { fill: currentColor; }
table { border-collapse: collapse; } td, th { padding: .2rem .8rem .2rem 0; text-align: right; } th { font-weight: 600; }
td:first-child, th:first-child { text-align: left; } .key { display: inline-block; width: .8em; height: .8em; margin-right: .4em; }
</style>
<h1>${escapeMarkup(title)}</h1>
<p>${lines.map(escapeMarkup).join("<br>")}</p>
<h2>The process over time, measured</h2>
${stackedAreas({
  bands: measuredBands(profile.samples, estimate),
  places: profile.samples.map((sample) => sample.seconds),
  marks: profile.marks.map((mark) => ({ place: mark.seconds, label: mark.label })),
  axis: `seconds, 0 to ${seconds.toFixed(1)}`,
  describe: inUnits,
})}
<p>The resident memory is measured; its largest value is ${inUnits(peak)}, and ${inUnits(estimate.total)} were estimated.
It is shared out from below: what the process had at the start, then as much as is there of the frozen parameters, the
optimiser's vectors and the gradients, whose sizes are known; the rest is activations and workspace. The runtime keeps what
it has once taken: the curve falls when the run is over.</p>
<h2>One step, operation by operation</h2>
${stackedAreas({
  bands: [
    { name: "activations", colour: colours.activations, values: step.map(({ bytes }) => bytes) },
    {
      name: "workspace",
      colour: colours.workspace,
      values: step.map(({ workspaceBytes }) => workspaceBytes),
    },
  ],
  places: step.map((_, index) => index),
  marks: [],
  axis: `the ${step.length} operations of forward and backward pass in their order`,
  describe: inUnits,
})}
<p>What is alive while each operation runs, from the graph itself: it rises to the end of the forward pass, and falls as
the backward pass has used what it needs. Workspace is what the operation takes for itself.</p>
<h2>Estimated</h2>
${estimateTable(estimate)}
</html>
`;
}

/** The measured bytes of each moment, shared out among what is known to be there. */
function measuredBands(samples: readonly MemorySample[], estimate: MemoryBytes): Band[] {
  const start = samples[0]?.residentBytes ?? 0;
  const known = [
    ["process", start],
    ["parameters", estimate.weights],
    ["optimiser", estimate.optimizer],
    ["gradients", estimate.gradients],
    ["activations", Infinity],
  ] as const;
  const rest = samples.map(({ residentBytes }) => residentBytes);
  return known.map(([name, bytes]) => ({
    name: name === "activations" ? "activations and workspace" : name,
    colour: colours[name],
    values: rest.map((left, index) => {
      const own = Math.min(left, bytes);
      rest[index] = left - own;
      return own;
    }),
  }));
}

function estimateTable(estimate: MemoryBytes): string {
  const rows = [
    ["parameters", estimate.weights],
    ["gradients", estimate.gradients],
    ["optimiser", estimate.optimizer],
    ["activations", estimate.activations],
    ["workspace and process", estimate.workspace],
    ["total", estimate.total],
  ] as const;
  const cells = rows.map(([name, bytes]) => `<tr><td>${name}</td><td>${inUnits(bytes)}</td></tr>`);
  return `<table>${cells.join("")}</table>`;
}
