/**
 * @file Which layers of a model see everything before a position and which only a window of it. Knows the keys of
 * config.json that families have in common, and none of the families.
 */
import { z } from "zod";
import { DeltafitError } from "../../errors.ts";
import { positiveInteger, requireLayerCount } from "../configuration.ts";

export const layerTypes = ["full_attention", "sliding_attention"] as const;
export type LayerType = (typeof layerTypes)[number];

/** Type of every layer; newer configurations have the list, older ones a rule of their family. */
export const layerTypesSchema = z.array(z.enum(layerTypes)).nullish();

/**
 * The type of every layer.
 * @param isSliding the family's rule for layer `index`, where the configuration has no list.
 * @throws DeltafitError `config-invalid` where the list does not have an entry for each layer.
 */
export function layerTypesOf(
  given: z.output<typeof layerTypesSchema>,
  layerCount: number,
  isSliding: (index: number) => boolean,
): readonly LayerType[] {
  if (given == null)
    return Array.from({ length: layerCount }, (_, index) => layerTypes[isSliding(index) ? 1 : 0]);
  requireLayerCount(given.length, layerCount, "layer_types", "num_hidden_layers");
  return given;
}

/**
 * The window of a layer of a type: the number of keys that a query sees, itself included; `undefined` for all.
 * @throws DeltafitError `config-invalid` where a layer slides and there is no window.
 */
export function windowOfType(type: LayerType, window: number | null | undefined): number | undefined {
  if (type === "full_attention") return undefined;
  if (window != null) return window;
  throw new DeltafitError(
    "config-invalid",
    'config.json: "layer_types" has a layer of type "sliding_attention", but no window is set.',
    'Set "sliding_window" (and, where the family has it, "use_sliding_window"), or make the layer "full_attention".',
  );
}

/** Keys of families whose layers from some layer on may be local. */
export const upperWindowSchema = z.object({
  use_sliding_window: z.boolean().default(false),
  sliding_window: positiveInteger.nullable().default(4096),
  max_window_layers: z.int().nonnegative().default(28),
  layer_types: layerTypesSchema,
});

/** The window of every layer. */
export function upperWindows(
  config: z.output<typeof upperWindowSchema> & { readonly num_hidden_layers: number },
): readonly (number | undefined)[] {
  const window = config.use_sliding_window ? config.sliding_window : null;
  const isSliding = (index: number) => window !== null && index >= config.max_window_layers;
  const types = layerTypesOf(config.layer_types, config.num_hidden_layers, isSliding);
  return types.map((type) => windowOfType(type, window));
}
