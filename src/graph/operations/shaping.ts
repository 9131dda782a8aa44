/** @file Operations that move elements without changing them. */
import { internalError } from "../../errors.ts";
import {
  addDimensions,
  broadcastShapes,
  evaluateDimension,
  sameShape,
  sizeOf,
  subtractDimensions,
} from "../dimension.ts";
import type { Dimension } from "../dimension.ts";
import { splitAtAxis, stridesOf, typed } from "../operation.ts";
import type { Operation } from "../operation.ts";
import { arrayOf, describe, inputOf, outputGradient, required } from "./inputs.ts";
import { lowerStoredRows, storedMatrix } from "./stored-matrix.ts";
import { broadcastTo } from "./elementwise.ts";

function withAxis(shape: readonly Dimension[], axis: number, extent: Dimension): Dimension[] {
  return shape.map((dimension, index) => (index === axis ? extent : dimension));
}

export const Reshape: Operation<"Reshape"> = {
  infer(inputs, { shape }) {
    const x = required(inputs, 0, "Reshape");
    if (sizeOf(x.shape) !== sizeOf(shape))
      throw internalError(`Reshape of ${describe(x)} to [${shape.join(", ")}]: the sizes differ.`);
    return [typed(x, shape)];
  },
  gradient: (rule) => [rule.builder.reshape(outputGradient(rule), inputOf(rule.node, 0).shape)],
  lower(node, target) {
    const { shape } = node.attributes;
    const symbolic = shape.filter((dimension) => typeof dimension === "string").length;
    if (symbolic <= 1 && !shape.includes(0)) {
      const extents = shape.map((dimension) => (typeof dimension === "string" ? -1 : dimension));
      target.emit(
        "Reshape",
        [target.input(0), target.constant("int64", [shape.length], extents)],
        [target.output(0)],
      );
      return;
    }
    // Without `allowzero` an extent of 0 would mean "as in the input".
    target.emit("Reshape", [target.input(0), target.extents(shape)], [target.output(0)], { allowzero: 1 });
  },
  interpret(node, inputs, dimensions) {
    const shape = node.attributes.shape.map((dimension) => evaluateDimension(dimension, dimensions));
    return [{ shape, data: arrayOf(inputs, 0).data }];
  },
};

export const Transpose: Operation<"Transpose"> = {
  infer(inputs, { permutation }) {
    const x = required(inputs, 0, "Transpose");
    if (permutation.length !== x.shape.length)
      throw internalError(
        `Transpose of ${describe(x)} by [${permutation.join()}]: the number of axes differs.`,
      );
    return [
      typed(
        x,
        permutation.map((axis) => x.shape[axis] ?? 0),
      ),
    ];
  },
  gradient(rule) {
    const { permutation } = rule.node.attributes;
    const inverse = permutation.map((_, axis) => permutation.indexOf(axis));
    return [rule.builder.transpose(outputGradient(rule), inverse)];
  },
  lower(node, target) {
    target.emit("Transpose", [target.input(0)], [target.output(0)], { perm: node.attributes.permutation });
  },
  interpret(node, inputs) {
    const x = arrayOf(inputs, 0);
    const { permutation } = node.attributes;
    const strides = stridesOf(x.shape);
    const shape = permutation.map((axis) => x.shape[axis] ?? 0);
    const target = stridesOf(shape);
    const data = x.data.map((_, element) => {
      let offset = 0;
      for (const [axis, source] of permutation.entries())
        offset += (Math.floor(element / (target[axis] ?? 1)) % (shape[axis] ?? 1)) * (strides[source] ?? 0);
      return x.data[offset] ?? 0;
    });
    return [{ shape, data }];
  },
};

export const Concat: Operation<"Concat"> = {
  infer(inputs, { axis }) {
    const parts = inputs.map((_, index) => required(inputs, index, "Concat"));
    const first = required(inputs, 0, "Concat");
    const extent = addDimensions(...parts.map((part) => part.shape[axis] ?? 0));
    for (const part of parts)
      if (
        withAxis(part.shape, axis, 0).join() !== withAxis(first.shape, axis, 0).join() ||
        part.dtype !== first.dtype
      )
        throw internalError(
          `Concat of ${parts.map(describe).join(", ")} along ${axis}: the shapes do not fit.`,
        );
    return [typed(first, withAxis(first.shape, axis, extent))];
  },
  gradient(rule) {
    const { axis } = rule.node.attributes;
    let start: Dimension = 0;
    return rule.node.inputs.map((_, index) => {
      const end = addDimensions(start, inputOf(rule.node, index).shape[axis] ?? 0);
      const part = rule.wanted[index]
        ? rule.builder.slice(outputGradient(rule), axis, start, end)
        : undefined;
      start = end;
      return part;
    });
  },
  lower(node, target) {
    target.emit(
      "Concat",
      node.inputs.map((_, index) => target.input(index)),
      [target.output(0)],
      {
        axis: node.attributes.axis,
      },
    );
  },
  interpret(node, inputs) {
    const { axis } = node.attributes;
    const extent = inputs.reduce((sum, part) => sum + (part.shape[axis] ?? 0), 0);
    const shape = arrayOf(inputs, 0).shape.map((size, index) => (index === axis ? extent : size));
    const [outer, , inner] = splitAtAxis(shape, axis);
    const data = new Float64Array(outer * extent * inner);
    let start = 0;
    for (const part of inputs) {
      const run = (part.shape[axis] ?? 0) * inner;
      for (let row = 0; row < outer; row++)
        data.set(part.data.subarray(row * run, (row + 1) * run), row * extent * inner + start);
      start += run;
    }
    return [{ shape, data }];
  },
};

export const Slice: Operation<"Slice"> = {
  infer(inputs, { axis, start, end }) {
    const x = required(inputs, 0, "Slice");
    const extent = x.shape[axis];
    const isWithin = (from: Dimension, to: Dimension | undefined) =>
      typeof from === "string" || typeof to === "string" || (to !== undefined && from <= to);
    if (!isWithin(0, start) || !isWithin(start, end) || !isWithin(end, extent))
      throw internalError(`Slice of ${describe(x)} along ${axis} from ${start} to ${end}: out of range.`);
    return [typed(x, withAxis(x.shape, axis, subtractDimensions(end, start)))];
  },
  gradient(rule) {
    const { axis, start, end } = rule.node.attributes;
    const whole = inputOf(rule.node, 0).shape[axis] ?? 0;
    return [rule.builder.pad(outputGradient(rule), axis, start, subtractDimensions(whole, end))];
  },
  lower(node, target) {
    const { axis, start, end } = node.attributes;
    target.emit(
      "Slice",
      [
        target.input(0),
        target.extents([start]),
        target.extents([end]),
        target.constant("int64", [1], [axis]),
      ],
      [target.output(0)],
    );
  },
  interpret(node, inputs, dimensions) {
    const x = arrayOf(inputs, 0);
    const { axis } = node.attributes;
    const start = evaluateDimension(node.attributes.start, dimensions);
    const end = evaluateDimension(node.attributes.end, dimensions);
    const shape = x.shape.map((size, index) => (index === axis ? end - start : size));
    const [outer, extent, inner] = splitAtAxis(x.shape, axis);
    const run = (end - start) * inner;
    const data = new Float64Array(outer * run);
    for (let row = 0; row < outer; row++) {
      const from = (row * extent + start) * inner;
      data.set(x.data.subarray(from, from + run), row * run);
    }
    return [{ shape, data }];
  },
};

export const Pad: Operation<"Pad"> = {
  infer(inputs, { axis, before, after }) {
    const x = required(inputs, 0, "Pad");
    return [typed(x, withAxis(x.shape, axis, addDimensions(x.shape[axis] ?? 0, before, after)))];
  },
  gradient(rule) {
    const { axis, before } = rule.node.attributes;
    const end = addDimensions(before, inputOf(rule.node, 0).shape[axis] ?? 0);
    return [rule.builder.slice(outputGradient(rule), axis, before, end)];
  },
  // ONNX could name the padded axis, but ONNX Runtime (1.30) reorders the widths as if they were those of all axes when
  // it moves a transposition past a Pad.
  lower(node, target) {
    const { axis, before, after } = node.attributes;
    const widths = (own: Dimension) => inputOf(node, 0).shape.map((_, index) => (index === axis ? own : 0));
    target.emit(
      "Pad",
      [target.input(0), target.extents([...widths(before), ...widths(after)])],
      [target.output(0)],
    );
  },
  interpret(node, inputs, dimensions) {
    const x = arrayOf(inputs, 0);
    const { axis } = node.attributes;
    const before = evaluateDimension(node.attributes.before, dimensions);
    const after = evaluateDimension(node.attributes.after, dimensions);
    const [outer, extent, inner] = splitAtAxis(x.shape, axis);
    const padded = before + extent + after;
    const data = new Float64Array(outer * padded * inner);
    for (let row = 0; row < outer; row++)
      data.set(
        x.data.subarray(row * extent * inner, (row + 1) * extent * inner),
        (row * padded + before) * inner,
      );
    return [{ shape: x.shape.map((size, index) => (index === axis ? padded : size)), data }];
  },
};

export const Expand: Operation<"Expand"> = {
  infer(inputs, { shape }) {
    const x = required(inputs, 0, "Expand");
    const joint = broadcastShapes(x.shape, shape);
    if (joint === undefined || !sameShape(joint, shape))
      throw internalError(`Expand of ${describe(x)} to [${shape.join(", ")}]: the shapes do not fit.`);
    return [typed(x, shape)];
  },
  gradient: (rule) => [rule.builder.sumToShape(outputGradient(rule), inputOf(rule.node, 0).shape)],
  lower(node, target) {
    target.emit("Expand", [target.input(0), target.extents(node.attributes.shape)], [target.output(0)]);
  },
  interpret: (node, inputs, dimensions) => [
    broadcastTo(
      arrayOf(inputs, 0),
      node.attributes.shape.map((dimension) => evaluateDimension(dimension, dimensions)),
    ),
  ],
};

export const Range: Operation<"Range"> = {
  infer: (_inputs, { end }) => [{ dtype: "int64", shape: [end] }],
  gradient: () => [],
  lower(node, target) {
    const [zero, one] = [target.constant("int64", [], [0]), target.constant("int64", [], [1])];
    target.emit("Range", [zero, target.extent(node.attributes.end), one], [target.output(0)]);
  },
  interpret(node, _inputs, dimensions) {
    const end = evaluateDimension(node.attributes.end, dimensions);
    return [{ shape: [end], data: Float64Array.from({ length: end }, (_, index) => index) }];
  },
};

export const Gather: Operation<"Gather"> = {
  infer(inputs) {
    const [table, indices] = [required(inputs, 0, "Gather"), required(inputs, 1, "Gather")];
    return [typed(table, [...indices.shape, ...table.shape.slice(1)])];
  },
  gradient(rule) {
    const { builder, node } = rule;
    const [table, indices] = [inputOf(node, 0), inputOf(node, 1)];
    const flat = [sizeOf(indices.shape)];
    const updates = builder.reshape(outputGradient(rule), [...flat, ...table.shape.slice(1)]);
    return [
      rule.wanted[0]
        ? builder.scatterRows(
            builder.reshape(indices, flat),
            updates,
            table.shape[0] ?? 0,
            node.attributes.distinct,
          )
        : undefined,
    ];
  },
  lower(node, target) {
    const stored = storedMatrix(node.inputs[0]);
    if (stored && lowerStoredRows(target, stored, target.input(1), target.output(0))) return;
    target.emit("Gather", [target.input(0), target.input(1)], [target.output(0)], { axis: 0 });
  },
  interpret(_node, inputs) {
    const [table, indices] = [arrayOf(inputs, 0), arrayOf(inputs, 1)];
    const width = table.shape.slice(1).reduce((a, b) => a * b, 1);
    const data = new Float64Array(indices.data.length * width);
    for (const [row, index] of indices.data.entries())
      data.set(table.data.subarray(index * width, (index + 1) * width), row * width);
    return [{ shape: [...indices.shape, ...table.shape.slice(1)], data }];
  },
};

/** Inputs: int64 indices [n] and updates [n, ...]. */
export const ScatterRows: Operation<"ScatterRows"> = {
  infer(inputs, { rows }) {
    const updates = required(inputs, 1, "ScatterRows");
    return [typed(updates, [rows, ...updates.shape.slice(1)])];
  },
  gradient: (rule) => [
    undefined,
    rule.wanted[1]
      ? rule.builder.gather(outputGradient(rule), inputOf(rule.node, 0), rule.node.attributes.distinct)
      : undefined,
  ],
  lower(node, target) {
    // ONNX Runtime's ScatterND adds rows of the same index in parallel without a lock and loses some of them;
    // ScatterElements adds one after the other, but wants an index for each element.
    const updates = inputOf(node, 1);
    const inner = updates.shape.slice(1);
    const zero = target.constant(updates.dtype, [], [0]);
    const zeros = target.intermediate("zeros", typed(updates, [node.attributes.rows, ...inner]));
    const column = target.intermediate("column");
    const indices = target.intermediate("indices", typed(inputOf(node, 0), updates.shape));
    const columnShape = target.constant("int64", [updates.shape.length], [-1, ...inner.map(() => 1)]);
    target.emit("Expand", [zero, target.extents([node.attributes.rows, ...inner])], [zeros]);
    if (node.attributes.distinct) {
      target.emit("Unsqueeze", [target.input(0), target.constant("int64", [1], [1])], [column]);
      target.emit("ScatterND", [zeros, column, target.input(1)], [target.output(0)]);
      return;
    }
    target.emit("Reshape", [target.input(0), columnShape], [column]);
    target.emit("Expand", [column, target.extents([1, ...inner])], [indices]);
    target.emit("ScatterElements", [zeros, indices, target.input(1)], [target.output(0)], {
      axis: 0,
      reduction: "add",
    });
  },
  interpret(node, inputs, dimensions) {
    const [indices, updates] = [arrayOf(inputs, 0), arrayOf(inputs, 1)];
    const rows = evaluateDimension(node.attributes.rows, dimensions);
    const width = updates.shape.slice(1).reduce((a, b) => a * b, 1);
    const data = new Float64Array(rows * width);
    for (const [row, index] of indices.data.entries())
      for (let column = 0; column < width; column++) {
        const at = index * width + column;
        data[at] = (data[at] ?? 0) + (updates.data[row * width + column] ?? 0);
      }
    return [{ shape: [rows, ...updates.shape.slice(1)], data }];
  },
};
