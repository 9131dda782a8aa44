/** @file The closed table of operations: a name without a record does not compile. */
import type { Node, OperationName } from "../graph.ts";
import type { Operation } from "../operation.ts";
import * as elementwise from "./elementwise.ts";
import * as leaves from "./leaves.ts";
import * as matrix from "./matrix.ts";
import * as normalisation from "./normalisation.ts";
import * as reduction from "./reduction.ts";
import * as shaping from "./shaping.ts";
import { SeededDropout } from "./dropout.ts";
import { Inverse } from "./inverse.ts";
import { RotaryEmbedding } from "./rotary.ts";
import { BlockGemm } from "./block-gemm.ts";
import { QuantizedGemm, QuantizeRows, RowScale } from "./row-quantisation.ts";

const { Input, Weight, Constant } = leaves;
const { Add, Sub, Mul, Div, Neg, Exp, Log, Sqrt, Reciprocal, Cos, Sin, Tanh, Sigmoid, Erf } = elementwise;
const { HardSigmoid, Relu, Gelu, Swish, Equal, LessOrEqual, And, Where, Cast, StopGradient } = elementwise;
const { MatMul, Gemm } = matrix;
const { Reshape, Transpose, Concat, Slice, Pad, Expand, Range, Gather, ScatterRows } = shaping;
const { ReduceSum, ReduceMean, ReduceMax } = reduction;
const { Softmax, SoftmaxGradient, SoftmaxCrossEntropyLoss, SoftmaxCrossEntropyLossGradient } = normalisation;
const { OtherProbabilities, LayerNormalization, RMSNormalization } = normalisation;

export const operations: { readonly [K in OperationName]: Operation<K> } = {
  ...{ Input, Weight, Constant },
  ...{ Add, Sub, Mul, Div, Neg, Exp, Log, Sqrt, Reciprocal, Cos, Sin, Tanh, Sigmoid, Erf },
  ...{ HardSigmoid, Relu, Gelu, Swish, Equal, LessOrEqual, And, Where, Cast, StopGradient },
  ...{ RowScale, QuantizeRows, QuantizedGemm, BlockGemm, MatMul, Gemm, Inverse },
  ...{ Reshape, Transpose, Concat, Slice, Pad, Expand, Range, Gather, ScatterRows },
  ...{ ReduceSum, ReduceMean, ReduceMax },
  ...{ Softmax, SoftmaxGradient, SoftmaxCrossEntropyLoss, SoftmaxCrossEntropyLossGradient },
  ...{ OtherProbabilities, LayerNormalization, RMSNormalization, RotaryEmbedding, SeededDropout },
};

/** The record of a node's operation. */
export function operationOf<K extends OperationName>(node: Node<K>): Operation<K> {
  return operations[node.operation];
}
