/** @file How many labels a stored classifier has. */

/** The last layers of classifiers, as architectures call them. */
const lastLayer = /(^|\.)(score|classifier|classifier\.out_proj)\.weight$/;

/** Outputs of the classifier among tensors; `undefined` where there is none. */
export function labelCountOf(
  tensors: ReadonlyMap<string, { readonly shape: readonly number[] }>,
): number | undefined {
  for (const [name, { shape }] of tensors) if (lastLayer.test(name) && shape.length === 2) return shape[0];
  return undefined;
}
