/** @file Configurations without the model's dropout, so that both sides of a comparison do the same arithmetic. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { readJson } from "../measure.ts";

/** The names that architectures have for dropout; peft_step.py sets the same ones to zero. */
const dropoutNames = [
  ...["attention_dropout", "attention_probs_dropout_prob", "attn_pdrop", "classifier_dropout", "dropout"],
  ...["embd_pdrop", "embedding_dropout", "hidden_dropout", "hidden_dropout_prob", "mlp_dropout"],
  ...["resid_pdrop", "seq_classif_dropout", "summary_first_dropout"],
];

/** A configuration in which all dropout is zero. */
export function withoutDropout(config: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return { ...config, ...Object.fromEntries(dropoutNames.map((name) => [name, 0])) };
}

/** Writes a copy of a config.json in which all dropout is zero, and removes it when the process ends. */
export function configWithoutDropout(path: string): string {
  const config = z.record(z.string(), z.unknown()).parse(readJson(path));
  const folder = mkdtempSync(join(tmpdir(), "deltafit-bench-"));
  process.once("exit", () => {
    rmSync(folder, { recursive: true, force: true });
  });
  const copy = join(folder, "config.json");
  writeFileSync(copy, JSON.stringify(withoutDropout(config)));
  return copy;
}
