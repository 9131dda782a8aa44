/** @file Reading config.json: the checks all architectures share. Knows no architecture. */
import { z } from "zod";
import { DeltafitError } from "../errors.ts";

/** Activation functions by the names that configurations use. */
export const activationNames = [
  "gelu",
  "gelu_new",
  "gelu_pytorch_tanh",
  "gelu_fast",
  "silu",
  "swish",
  "relu",
  "tanh",
] as const;
export type ActivationName = (typeof activationNames)[number];

export const activationSchema = z.enum(activationNames);
export const positiveInteger = z.int().positive();
/** Share of elements that dropout leaves out. */
export const probability = z.number().min(0).lt(1);
/** Identifier that configurations may leave out, set to null, or (llama) give as a list whose first entry counts. */
export const tokenIdSchema = z
  .union([z.int().nonnegative(), z.array(z.int().nonnegative()).nonempty()])
  .nullish()
  .transform((id) => (Array.isArray(id) ? id[0] : (id ?? undefined)));

/**
 * The configuration as the schema types it.
 * @throws DeltafitError `config-invalid` naming the first key that does not fit, what was expected and what was found.
 */
export function readConfiguration<S extends z.ZodType>(
  schema: S,
  configuration: Readonly<Record<string, unknown>>,
): z.output<S> {
  const result = schema.safeParse(configuration);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const path = issue?.path.map(String) ?? [];
  let found: unknown = configuration;
  for (const key of path)
    found = typeof found === "object" && found !== null ? Reflect.get(found, key) : undefined;
  throw new DeltafitError(
    "config-invalid",
    `config.json: "${path.join(".")}" is ${found === undefined ? "missing" : JSON.stringify(found)}: ${issue?.message ?? "it does not fit"}.`,
    "Check that the configuration belongs to this architecture and is complete.",
  );
}

/** @throws DeltafitError `config-invalid` where `divisor` does not divide `value`. */
export function requireDivisible(value: number, divisor: number, valueKey: string, divisorKey: string): void {
  if (value % divisor === 0) return;
  throw new DeltafitError(
    "config-invalid",
    `config.json: "${valueKey}" is ${value}, which "${divisorKey}" ${divisor} does not divide.`,
    "The heads of an attention layer share its width evenly: check both numbers.",
  );
}

/** @throws DeltafitError `config-invalid` where `value` is above `limit`. */
export function requireAtMost(value: number, limit: number, valueKey: string, limitKey: string): void {
  if (value <= limit) return;
  throw new DeltafitError(
    "config-invalid",
    `config.json: "${valueKey}" is ${value}, but "${limitKey}" is ${limit}.`,
    "Check both numbers.",
  );
}

/** @throws DeltafitError `config-invalid` where a list over the layers is longer or shorter than there are layers. */
export function requireLayerCount(found: number, layers: number, listKey: string, layersKey: string): void {
  if (found === layers) return;
  throw new DeltafitError(
    "config-invalid",
    `config.json: "${listKey}" has ${found} entries, but "${layersKey}" is ${layers}.`,
    "The list names the kind of every layer: check both.",
  );
}

/** @throws DeltafitError `config-invalid` where two sizes that have to agree do not. */
export function requireEqual(value: number, expected: number, valueKey: string, expectedKey: string): void {
  if (value === expected) return;
  throw new DeltafitError(
    "config-invalid",
    `config.json: "${valueKey}" gives ${value}, but "${expectedKey}" gives ${expected}.`,
    "The two have to agree: check both numbers.",
  );
}
