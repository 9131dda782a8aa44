/** @file Parts of what `deltafit inspect` prints that models and adapters share. */

interface ShownTensor {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
}

const tensorsShown = 12;

/** The first tensors, a line each. */
export function describeTensors(tensors: readonly ShownTensor[]): string[] {
  const lines = tensors
    .slice(0, tensorsShown)
    .map(({ name, dtype, shape }) => `  ${name} ${dtype} [${shape.join(", ")}]`);
  return tensors.length > tensorsShown ? [...lines, `  and ${tensors.length - tensorsShown} more`] : lines;
}

export function describeProblems(problems: readonly string[]): string[] {
  return problems.length === 0
    ? ["no problems found"]
    : ["problems:", ...problems.map((problem) => `  ${problem}`)];
}
