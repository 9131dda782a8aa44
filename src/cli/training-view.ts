/** @file Training as one watches it: a bar on a terminal, else a plain line now and then. */
import type { Evaluation, TrainingEvent } from "../training/run.ts";
import type { Terminal } from "./terminal.ts";

export interface TrainingView {
  onEvent(event: TrainingEvent): void;
  /** Leaves the terminal as it was. */
  close(): void;
}

const millisecondsBetweenLines = 1000;
/** Columns that the bar's line needs besides the bar. */
const columnsOfNumbers = 58;

export async function createTrainingView(terminal: Terminal): Promise<TrainingView> {
  return terminal.isLive ? barView(terminal) : lineView(terminal);
}

function lineView(terminal: Terminal): TrainingView {
  let lastMs = -Infinity;
  return {
    onEvent(event) {
      if (event.type === "evaluation-end") terminal.note(describeEvaluation(event.evaluation, event.isBest));
      if (event.type !== "step-end") return;
      const isEnd = event.step === event.steps;
      const nowMs = performance.now();
      if (!isEnd && nowMs - lastMs < millisecondsBetweenLines) return;
      lastMs = nowMs;
      const { loss, speed, left } = numbersOf(event);
      terminal.note(
        `step ${event.step}/${event.steps}  loss ${loss}  ${speed} tokens/s${isEnd ? "" : `  ${left} left`}`,
      );
    },
    close: () => undefined,
  };
}

async function barView(terminal: Terminal): Promise<TrainingView> {
  const { default: cliProgress } = await import("cli-progress");
  const bar = new cliProgress.SingleBar({
    format: "{bar} {value}/{total}  loss {loss}  {speed} tokens/s  {left} left",
    barsize: Math.max(4, Math.min(24, terminal.width - columnsOfNumbers)),
    stream: process.stderr,
    hideCursor: true,
    clearOnComplete: true,
    linewrap: false,
  });
  let latest: StepEnd | undefined;
  const start = (): void => {
    if (latest) bar.start(latest.steps, latest.step, numbersOf(latest));
  };
  return {
    onEvent(event) {
      if (event.type === "step-end") {
        const isFirst = latest === undefined;
        latest = event;
        if (isFirst) start();
        else bar.update(event.step, numbersOf(event));
      }
      if (event.type === "evaluation-end") {
        bar.stop();
        terminal.note(describeEvaluation(event.evaluation, event.isBest));
        start();
      }
    },
    close: () => bar.stop(),
  };
}

type StepEnd = Extract<TrainingEvent, { readonly type: "step-end" }>;

const numbersOf = ({ loss, tokensPerSecond, secondsLeft }: StepEnd) => ({
  loss: loss.toFixed(4),
  speed: tokensPerSecond.toFixed(0),
  left: describeSeconds(secondsLeft),
});

function describeEvaluation({ step, metrics }: Evaluation, isBest: boolean): string {
  return `evaluation at step ${step}: ${describeMetrics(metrics)}${isBest ? " (best so far)" : ""}`;
}

export function describeMetrics(metrics: Readonly<Record<string, number>>): string {
  return Object.entries(metrics)
    .map(([name, value]) => `${name} ${value.toPrecision(5)}`)
    .join(", ");
}

export function describeSeconds(seconds: number): string {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}
