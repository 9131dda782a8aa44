/** @file Windows of layers, by the list and by the rules of older configurations. */
import { describe, expect, it } from "vitest";
import { failureOf } from "../../../test/support/failure.ts";
import { layerTypesOf, upperWindows, windowOfType } from "./windows.ts";

const upper = { num_hidden_layers: 4, use_sliding_window: true, sliding_window: 8, max_window_layers: 2 };

describe("upperWindows", () => {
  it("makes the layers from max_window_layers on local", () => {
    expect(upperWindows({ ...upper, layer_types: undefined })).toEqual([undefined, undefined, 8, 8]);
  });

  it("makes none local where windows are switched off", () => {
    const config = { ...upper, layer_types: undefined, use_sliding_window: false };
    expect(upperWindows(config)).toEqual([undefined, undefined, undefined, undefined]);
  });

  it("goes by the list where there is one", () => {
    const layer_types = [
      "sliding_attention",
      "full_attention",
      "full_attention",
      "sliding_attention",
    ] as const;
    expect(upperWindows({ ...upper, layer_types: [...layer_types] })).toEqual([8, undefined, undefined, 8]);
  });
});

describe("layerTypesOf", () => {
  it("refuses a list that does not fit the number of layers", () => {
    expect(failureOf(() => layerTypesOf(["full_attention"], 2, () => false))).toEqual({
      code: "config-invalid",
      message: 'config.json: "layer_types" has 1 entries, but "num_hidden_layers" is 2.',
      hint: "The list names the kind of every layer: check both.",
    });
  });
});

describe("windowOfType", () => {
  it("refuses a sliding layer without a window", () => {
    expect(failureOf(() => windowOfType("sliding_attention", null))).toEqual({
      code: "config-invalid",
      message: 'config.json: "layer_types" has a layer of type "sliding_attention", but no window is set.',
      hint: 'Set "sliding_window" (and, where the family has it, "use_sliding_window"), or make the layer "full_attention".',
    });
  });
});
