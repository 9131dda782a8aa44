/**
 * @file Extents of tensors: a number, or a polynomial over symbols such as `batch` and `length`, kept
 * as canonical text ("batch*length", "length+4") so that equal extents are equal values. Knows nothing
 * of tensors or nodes.
 */
import { internalError } from "../errors.ts";

/** A non-negative extent: a number, or the canonical text of a polynomial with integer coefficients. */
export type Dimension = number | string;

/** A shape whose extents may be symbolic. */
export type Shape = readonly Dimension[];

/** What each symbol stands for at run time. */
export type DimensionValues = ReadonlyMap<string, number>;

/** Monomial (symbols sorted and joined by `*`, "" for the constant term) -> coefficient. */
type Polynomial = ReadonlyMap<string, number>;

const symbolPattern = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** A symbolic extent with a name of its own. */
export function symbol(name: string): Dimension {
  if (!symbolPattern.test(name)) throw internalError(`"${name}" is no name for a dimension.`);
  return name;
}

function parse(dimension: Dimension): Polynomial {
  if (typeof dimension === "number") return new Map(dimension === 0 ? [] : [["", dimension]]);
  const terms = new Map<string, number>();
  for (const term of dimension.split("+")) {
    const factors = term.split("*");
    const leading = Number(factors[0]);
    const numeric = Number.isInteger(leading);
    terms.set((numeric ? factors.slice(1) : factors).join("*"), numeric ? leading : 1);
  }
  return terms;
}

function print(polynomial: Polynomial): Dimension {
  const terms = [...polynomial].filter(([, coefficient]) => coefficient !== 0);
  if (terms.length === 0) return 0;
  const [first] = terms;
  if (terms.length === 1 && first?.[0] === "") return first[1];
  // The constant term comes last: "length+4".
  terms.sort(([a], [b]) => (a === "" ? 1 : b === "" ? -1 : a < b ? -1 : a > b ? 1 : 0));
  return terms
    .map(([monomial, coefficient]) =>
      monomial === "" ? String(coefficient) : coefficient === 1 ? monomial : `${coefficient}*${monomial}`,
    )
    .join("+");
}

function accumulate(terms: Map<string, number>, monomial: string, coefficient: number): void {
  terms.set(monomial, (terms.get(monomial) ?? 0) + coefficient);
}

export function addDimensions(...dimensions: readonly Dimension[]): Dimension {
  if (dimensions.every((dimension) => typeof dimension === "number"))
    return dimensions.reduce((sum, dimension) => sum + dimension, 0);
  const terms = new Map<string, number>();
  for (const dimension of dimensions)
    for (const [monomial, coefficient] of parse(dimension)) accumulate(terms, monomial, coefficient);
  return print(terms);
}

export function subtractDimensions(a: Dimension, b: Dimension): Dimension {
  if (typeof a === "number" && typeof b === "number") return a - b;
  const terms = new Map(parse(a));
  for (const [monomial, coefficient] of parse(b)) accumulate(terms, monomial, -coefficient);
  return print(terms);
}

function joinMonomials(a: string, b: string): string {
  if (a === "") return b;
  if (b === "") return a;
  return [...a.split("*"), ...b.split("*")].sort().join("*");
}

export function multiplyDimensions(...dimensions: readonly Dimension[]): Dimension {
  let product: Dimension = 1;
  for (const dimension of dimensions) {
    if (typeof product === "number" && typeof dimension === "number") {
      product *= dimension;
      continue;
    }
    const terms = new Map<string, number>();
    for (const [left, leftCoefficient] of parse(product))
      for (const [right, rightCoefficient] of parse(dimension))
        accumulate(terms, joinMonomials(left, right), leftCoefficient * rightCoefficient);
    product = print(terms);
  }
  return product;
}

/** The exact quotient, or `undefined` where `divisor` (one term) does not divide every term. */
export function divideDimensions(dividend: Dimension, divisor: Dimension): Dimension | undefined {
  const divisorTerms = [...parse(divisor)];
  const [divisorTerm] = divisorTerms;
  if (divisorTerms.length !== 1 || divisorTerm === undefined) return dividend === divisor ? 1 : undefined;
  const [divisorMonomial, divisorCoefficient] = divisorTerm;
  const quotient = new Map<string, number>();
  for (const [monomial, coefficient] of parse(dividend)) {
    const symbols = monomial === "" ? [] : monomial.split("*");
    for (const factor of divisorMonomial === "" ? [] : divisorMonomial.split("*")) {
      const index = symbols.indexOf(factor);
      if (index < 0) return undefined;
      symbols.splice(index, 1);
    }
    if (coefficient % divisorCoefficient !== 0) return undefined;
    quotient.set(symbols.join("*"), coefficient / divisorCoefficient);
  }
  return print(quotient);
}

/** The symbols a dimension depends on, sorted. */
export function symbolsOf(dimension: Dimension): string[] {
  const names = new Set<string>();
  for (const monomial of parse(dimension).keys())
    for (const name of monomial === "" ? [] : monomial.split("*")) names.add(name);
  return [...names].sort();
}

/** The terms of a dimension: a coefficient and the symbols it is multiplied by. */
export function termsOf(dimension: Dimension): { coefficient: number; symbols: string[] }[] {
  return [...parse(dimension)].map(([monomial, coefficient]) => ({
    coefficient,
    symbols: monomial === "" ? [] : monomial.split("*"),
  }));
}

/** The extent as a number, given what its symbols stand for. */
export function evaluateDimension(dimension: Dimension, values: DimensionValues): number {
  if (typeof dimension === "number") return dimension;
  let sum = 0;
  for (const { coefficient, symbols } of termsOf(dimension)) {
    let term = coefficient;
    for (const name of symbols) {
      const value = values.get(name);
      if (value === undefined) throw internalError(`the dimension "${name}" has no value.`);
      term *= value;
    }
    sum += term;
  }
  return sum;
}

/**
 * Finds what the symbols stand for from actual extents: solves `dimension = extent` where the dimension
 * is one term with one symbol, and checks every other.
 * @returns a description of the first contradiction, or `undefined`.
 */
export function bindDimensions(
  shape: Shape,
  extents: readonly number[],
  values: Map<string, number>,
): string | undefined {
  if (shape.length !== extents.length) return `expected ${shape.length} axes, found ${extents.length}`;
  for (const [axis, dimension] of shape.entries()) {
    const extent = extents[axis] ?? 0;
    const [term, ...others] = termsOf(dimension);
    const name = term?.symbols[0];
    if (term !== undefined && others.length === 0 && term.symbols.length === 1 && name !== undefined) {
      if (!values.has(name)) {
        if (extent % term.coefficient !== 0)
          return `axis ${axis}: expected a multiple of ${term.coefficient}, found ${extent}`;
        values.set(name, extent / term.coefficient);
        continue;
      }
    }
    const expected = evaluateDimension(dimension, values);
    const meaning = typeof dimension === "number" ? "" : `${dimension} = `;
    if (expected !== extent) return `axis ${axis}: expected ${meaning}${expected}, found ${extent}`;
  }
  return undefined;
}

/** The number of elements of a shape. */
export function sizeOf(shape: Shape): Dimension {
  return multiplyDimensions(...shape);
}

/** NumPy's broadcasting of two shapes, or `undefined` where they do not fit. */
export function broadcastShapes(a: Shape, b: Shape): Shape | undefined {
  const rank = Math.max(a.length, b.length);
  const result: Dimension[] = [];
  for (let axis = 0; axis < rank; axis++) {
    const left = a[a.length - rank + axis] ?? 1;
    const right = b[b.length - rank + axis] ?? 1;
    if (left !== right && left !== 1 && right !== 1) return undefined;
    result.push(left === 1 ? right : left);
  }
  return result;
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((dimension, axis) => dimension === b[axis]);
}
