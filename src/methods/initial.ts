/** @file Initial values that several methods share. Knows no method. */
import { elementCount } from "../tensor/tensor.ts";
import type { ParameterSpec } from "./contract.ts";

/** All zero. */
export function zeros(shape: readonly number[]): ParameterSpec["initial"] {
  return () => new Float32Array(elementCount(shape));
}

/** Uniform within 1 / sqrt(fan in), the last extent: torch's `kaiming_uniform_` with a = sqrt(5). */
export function kaimingUniform(shape: readonly number[]): ParameterSpec["initial"] {
  const bound = 1 / Math.sqrt(shape.at(-1) ?? 1);
  return ({ random }) => random.uniform(elementCount(shape), -bound, bound);
}

/** Normal around zero. */
export function normal(shape: readonly number[], deviation: number): ParameterSpec["initial"] {
  return ({ random }) => random.normal(elementCount(shape), 0, deviation);
}

/** Uniform within 1 / sqrt(fan in): how torch starts the bias of a linear layer. */
export function linearBias(count: number, fanIn: number): ParameterSpec["initial"] {
  const bound = 1 / Math.sqrt(fanIn);
  return ({ random }) => random.uniform(count, -bound, bound);
}

/** All one. */
export function ones(shape: readonly number[]): ParameterSpec["initial"] {
  return () => new Float32Array(elementCount(shape)).fill(1);
}
