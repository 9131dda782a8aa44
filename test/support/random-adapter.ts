/** @file An adapter none of whose values is what it starts from. */
import { createAdapter } from "../../src/adapters/adapter.ts";
import type { Adapter } from "../../src/adapters/adapter.ts";
import type { MethodConfigurations, MethodType } from "../../src/adapters/method-table.ts";
import type { Base } from "../../src/base/base.ts";
import { TorchGenerator } from "../../src/tensor/random.ts";

export function randomAdapter<Type extends MethodType>(
  base: Base,
  type: Type,
  configuration: MethodConfigurations[Type],
): Adapter<Type> {
  const adapter = createAdapter({ base, type, configuration, seed: 1 });
  adapter.values.set(new TorchGenerator(3).normal(adapter.values.length, 0.5, 0.3));
  return adapter;
}
