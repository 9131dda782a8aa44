/** @file Rotary position embedding (Su et al. 2021, RoFormer) in the half-rotating form of Llama. */
import { internalError } from "../../errors.ts";
import { typed } from "../operation.ts";
import type { Operation } from "../operation.ts";
import { arrayOf, describe, inputOf, outputGradient, required } from "./inputs.ts";

/** Inputs: x [batch, heads, length, size], cosine and sine tables [batch, length, size / 2]. */
export const RotaryEmbedding: Operation<"RotaryEmbedding"> = {
  infer(inputs) {
    const [x, cosine] = [required(inputs, 0, "RotaryEmbedding"), required(inputs, 1, "RotaryEmbedding")];
    if (x.shape.length !== 4 || cosine.shape.length !== 3 || x.shape[2] !== cosine.shape[1])
      throw internalError(
        `RotaryEmbedding of ${describe(x)} by tables ${describe(cosine)}: the shapes do not fit.`,
      );
    return [typed(x, x.shape)];
  },
  // A rotation's transpose is the rotation by the opposite angle.
  gradient(rule) {
    const { builder, node } = rule;
    return [
      builder.rotaryEmbedding(outputGradient(rule), inputOf(node, 1), builder.negate(inputOf(node, 2))),
    ];
  },
  lower(_node, target) {
    target.emit("RotaryEmbedding", [target.input(0), target.input(1), target.input(2)], [target.output(0)], {
      interleaved: 0,
    });
  },
  interpret(_node, inputs) {
    const [x, cosine, sine] = [arrayOf(inputs, 0), arrayOf(inputs, 1), arrayOf(inputs, 2)];
    const [batch = 0, heads = 0, length = 0, size = 0] = x.shape;
    const half = size / 2;
    const data = new Float64Array(x.data.length);
    for (let row = 0; row < batch * heads * length; row++) {
      const example = Math.floor(row / (heads * length));
      const table = (example * length + (row % length)) * half;
      for (let column = 0; column < half; column++) {
        const [a, b] = [x.data[row * size + column] ?? 0, x.data[row * size + half + column] ?? 0];
        const [c, s] = [cosine.data[table + column] ?? 0, sine.data[table + column] ?? 0];
        data[row * size + column] = a * c - b * s;
        data[row * size + half + column] = b * c + a * s;
      }
    }
    return [{ shape: x.shape, data }];
  },
};
