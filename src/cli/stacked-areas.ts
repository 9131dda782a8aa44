/** @file A chart of stacked areas as SVG in text. */

/** One area, with a value at each place. */
export interface Band {
  readonly name: string;
  readonly colour: string;
  readonly values: readonly number[];
}

export interface StackedAreas {
  /** From below; all have as many values as there are places. */
  readonly bands: readonly Band[];
  /** Rising. */
  readonly places: readonly number[];
  readonly marks: readonly { readonly place: number; readonly label: string }[];
  /** What the horizontal axis shows. */
  readonly axis: string;
  readonly describe: (value: number) => string;
}

const width = 960;
const height = 320;
const margin = { left: 70, right: 10, top: 24, bottom: 28 } as const;
/** More points than pixels show nothing. */
const mostPoints = 1200;
const ticks = 4;
const mostUnlabelled = 60;
/** Pixels that a mark's label needs. */
const labelWidth = 90;

const escapes: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

/** Text as it stands in HTML. */
export function escapeMarkup(text: string): string {
  return text.replace(/[&<>"]/g, (character) => escapes[character] ?? character);
}

/** The chart with its legend. */
export function stackedAreas({ bands, places, marks, axis, describe }: StackedAreas): string {
  const columns = sampledColumns(places.length, bands);
  const sumAt = (column: number) => bands.reduce((sum, { values }) => sum + (values[column] ?? 0), 0);
  const top = Math.max(1, ...columns.map(sumAt));
  const [first = 0, last = 1] = [places[0], places.at(-1)];
  const x = (place: number) =>
    margin.left + ((place - first) / Math.max(last - first, 1e-9)) * (width - margin.left - margin.right);
  const y = (value: number) => height - margin.bottom - (value / top) * (height - margin.top - margin.bottom);
  const point = (column: number, value: number) =>
    `${x(places[column] ?? 0).toFixed(1)},${y(value).toFixed(1)}`;
  const below = new Map(columns.map((column) => [column, 0]));
  const areas = bands.map(({ colour, values }) => {
    const lower = columns.map((column) => point(column, below.get(column) ?? 0));
    for (const column of columns) below.set(column, (below.get(column) ?? 0) + (values[column] ?? 0));
    const upper = columns.map((column) => point(column, below.get(column) ?? 0));
    return `<polygon fill="${colour}" points="${[...upper, ...lower.toReversed()].join(" ")}"/>`;
  });
  const lines = Array.from({ length: ticks + 1 }, (_, tick) => {
    const value = (top * tick) / ticks;
    const level = y(value).toFixed(1);
    return `<line x1="${margin.left}" x2="${width - margin.right}" y1="${level}" y2="${level}" stroke="currentColor" stroke-opacity=".15"/><text x="${margin.left - 8}" y="${level}" dy=".35em" text-anchor="end">${describe(value)}</text>`;
  });
  const legend = bands.map(
    ({ name, colour }) => `<span class="key" style="background:${colour}"></span>${escapeMarkup(name)}`,
  );
  return `<svg viewBox="0 0 ${width} ${height}" role="img">${lines.join("")}${areas.join("")}${markLines(marks, x).join("")}<text x="${width - margin.right}" y="${height - 8}" text-anchor="end">${escapeMarkup(axis)}</text></svg>
<p>${legend.join(" &nbsp; ")}</p>`;
}

/** Marks whose labels would lie over the one before have no label, and among many no line either. */
function markLines(marks: StackedAreas["marks"], x: (place: number) => number): string[] {
  let free = -Infinity;
  return marks.flatMap(({ place, label }) => {
    const at = x(place);
    const isLabelled = at >= free;
    if (isLabelled) free = at + labelWidth;
    else if (marks.length > mostUnlabelled) return [];
    const anchor = at > width - labelWidth ? "end" : "start";
    const text = `<text x="${(at + (anchor === "end" ? -3 : 3)).toFixed(1)}" y="${margin.top - 8}" text-anchor="${anchor}">${escapeMarkup(label)}</text>`;
    return `<line x1="${at.toFixed(1)}" x2="${at.toFixed(1)}" y1="${margin.top - 4}" y2="${height - margin.bottom}" stroke="currentColor" stroke-opacity="${isLabelled ? ".6" : ".2"}" stroke-dasharray="3 3"/>${isLabelled ? text : ""}`;
  });
}

/** Of every group of neighbouring columns the highest: peaks are what such a chart is for. */
function sampledColumns(count: number, bands: readonly Band[]): number[] {
  const size = Math.ceil(count / mostPoints);
  const sumAt = (column: number) => bands.reduce((sum, { values }) => sum + (values[column] ?? 0), 0);
  return Array.from({ length: Math.ceil(count / Math.max(size, 1)) }, (_, group) => {
    let best = group * size;
    for (let column = best + 1; column < Math.min(count, (group + 1) * size); column++)
      if (sumAt(column) > sumAt(best)) best = column;
    return best;
  });
}
