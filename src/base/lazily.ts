/** @file What is made when it is first asked for, and then kept. */

/** A failure is not kept: the next call tries again. */
export function lazily<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => (made ??= { value: make() }).value;
}
