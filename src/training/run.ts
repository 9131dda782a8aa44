/**
 * @file The training loop: schedule, accumulation, evaluation, checkpoints, events, and an end that loses nothing.
 * Where checkpoints go and what evaluation measures is for the caller to say.
 */
import { DeltafitError } from "../errors.ts";
import { scheduleFactor } from "./schedule.ts";
import type { ScheduleName } from "./schedule.ts";
import type { Trainer } from "./trainer.ts";

export interface TrainingPlan {
  /** Updates in all. */
  readonly steps: number;
  /** Batches whose gradients make one update. */
  readonly accumulate: number;
  /** Peak learning rate. */
  readonly learningRate: number;
  readonly schedule: ScheduleName;
  /** Updates over which the rate rises from 0. */
  readonly warmup: number;
  /** Evaluate after every so many updates, and at the end; `undefined` only at the end. */
  readonly evaluateEvery?: number | undefined;
  /** Save the last state after every so many updates, and at the end. */
  readonly saveEvery?: number | undefined;
}

/** A batch and where its data comes after it goes on. */
export interface PlacedBatch<Batch, Cursor> {
  readonly batch: Batch;
  readonly cursor: Cursor;
  /** Tokens of the batch that are not padding. */
  readonly tokens: number;
}

export interface Evaluation {
  readonly step: number;
  readonly metrics: Readonly<Record<string, number>>;
}

/** All that a run needs to go on as if it had never stopped, besides the trainer's own state. */
export interface TrainingProgress<Cursor> {
  step: number;
  cursor: Cursor;
  losses: number[];
  evaluations: Evaluation[];
  tokens: number;
  supervisedTokens: number;
  /** Seconds spent in training steps. */
  stepSeconds: number;
  /** The best evaluation so far by `isBetter`. */
  best: Evaluation | undefined;
}

export type TrainingEvent =
  | {
      readonly type: "step-end";
      readonly step: number;
      readonly steps: number;
      readonly loss: number;
      readonly gradientNorm: number;
      readonly learningRate: number;
      readonly tokensPerSecond: number;
      readonly secondsLeft: number;
    }
  | { readonly type: "evaluation-end"; readonly evaluation: Evaluation; readonly isBest: boolean }
  | { readonly type: "checkpoint-saved"; readonly kind: "last" | "best"; readonly step: number };

export interface RunOptions<Batch, Cursor> {
  readonly trainer: Trainer<Batch>;
  readonly plan: TrainingPlan;
  /** Batches from where `progress` stands, without end. */
  readonly batches: Iterator<PlacedBatch<Batch, Cursor>>;
  readonly progress: TrainingProgress<Cursor>;
  /** Metrics of the parameters as they are. */
  readonly evaluate?: (() => Promise<Readonly<Record<string, number>>>) | undefined;
  /** Whether metrics are better than the best so far. */
  readonly isBetter?:
    | ((metrics: Readonly<Record<string, number>>, best: Readonly<Record<string, number>>) => boolean)
    | undefined;
  readonly save?: ((kind: "last" | "best", progress: TrainingProgress<Cursor>) => Promise<void>) | undefined;
  readonly onEvent?: ((event: TrainingEvent) => void) | undefined;
  /** Stops the run after the step in progress. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Runs until the plan is done. `progress` is kept up to date and says what was reached whatever happens.
 * @throws DeltafitError `interrupted` after saving what can be resumed; `not-finite` after saving the last good state.
 */
export async function runTraining<Batch, Cursor>(options: RunOptions<Batch, Cursor>): Promise<void> {
  const { plan, progress, save, signal } = options;
  while (progress.step < plan.steps) {
    // Sessions block the thread: only here can signals and timers be heard.
    await new Promise((resolve) => setImmediate(resolve));
    if (signal?.aborted) {
      await saveState(options, "last");
      throw new DeltafitError(
        "interrupted",
        `Interrupted after step ${progress.step} of ${plan.steps}.`,
        save && "Go on with --resume.",
      );
    }
    try {
      await oneStep(options);
    } catch (error) {
      if (DeltafitError.isInstance(error) && error.code === "not-finite") await saveState(options, "last");
      throw error;
    }
    const done = progress.step === plan.steps;
    if (done || isDue(progress.step, plan.evaluateEvery)) await evaluateNow(options);
    if (done || isDue(progress.step, plan.saveEvery)) await saveState(options, "last");
  }
}

function isDue(step: number, every: number | undefined): boolean {
  return every !== undefined && step % every === 0;
}

async function oneStep<Batch, Cursor>({
  trainer,
  plan,
  batches,
  progress,
  onEvent,
}: RunOptions<Batch, Cursor>): Promise<void> {
  const start = performance.now();
  const placed: PlacedBatch<Batch, Cursor>[] = [];
  while (placed.length < plan.accumulate) {
    const next = batches.next();
    if (next.done) break;
    placed.push(next.value);
  }
  const last = placed.at(-1);
  if (!last)
    throw new DeltafitError(
      "data-invalid",
      `Step ${progress.step}: there are no more batches.`,
      "Give more data or fewer steps.",
    );
  const learningRate =
    plan.learningRate * scheduleFactor(plan.schedule, progress.step, plan.warmup, plan.steps);
  const { loss, gradientNorm, count } = await trainer.step(
    placed.map(({ batch }) => batch),
    learningRate,
  );
  progress.step += 1;
  progress.cursor = last.cursor;
  progress.losses.push(loss);
  progress.tokens += placed.reduce((sum, { tokens }) => sum + tokens, 0);
  progress.supervisedTokens += count;
  progress.stepSeconds += (performance.now() - start) / 1000;
  onEvent?.({
    type: "step-end",
    step: progress.step,
    steps: plan.steps,
    loss,
    gradientNorm,
    learningRate,
    tokensPerSecond: progress.tokens / progress.stepSeconds,
    secondsLeft: (progress.stepSeconds / progress.step) * (plan.steps - progress.step),
  });
}

async function evaluateNow<Batch, Cursor>(options: RunOptions<Batch, Cursor>): Promise<void> {
  const { evaluate, progress, onEvent, isBetter } = options;
  if (!evaluate) return;
  const evaluation = { step: progress.step, metrics: await evaluate() };
  progress.evaluations.push(evaluation);
  const isBest =
    progress.best === undefined || (isBetter?.(evaluation.metrics, progress.best.metrics) ?? false);
  if (isBest) progress.best = evaluation;
  onEvent?.({ type: "evaluation-end", evaluation, isBest });
  if (isBest) await saveState(options, "best");
}

async function saveState<Batch, Cursor>(
  { save, progress, onEvent }: RunOptions<Batch, Cursor>,
  kind: "last" | "best",
): Promise<void> {
  if (!save) return;
  await save(kind, progress);
  onEvent?.({ type: "checkpoint-saved", kind, step: progress.step });
}
