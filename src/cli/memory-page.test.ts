import { expect, test } from "vitest";
import { memoryPage } from "./memory-page.ts";
import { stackedAreas } from "./stacked-areas.ts";

const colour = "#123456";

test("areas lie one on the other, and marks have labels where there is room", () => {
  const svg = stackedAreas({
    bands: [
      { name: "a < b", colour, values: [1, 1, 2] },
      { name: "c", colour, values: [0, 3, 2] },
    ],
    places: [0, 1, 2],
    marks: [
      { place: 0, label: "first" },
      { place: 0.01, label: "hidden" },
      { place: 2, label: "last" },
    ],
    axis: "seconds",
    describe: (value) => `${value} B`,
  });
  const polygons = [...svg.matchAll(/points="([^"]+)"/g)].map(([, points = ""]) => points);
  // From 292 at zero to 24 at the largest sum, 4.
  expect(polygons).toEqual([
    "70.0,225.0 510.0,225.0 950.0,158.0 950.0,292.0 510.0,292.0 70.0,292.0",
    "70.0,225.0 510.0,24.0 950.0,24.0 950.0,158.0 510.0,225.0 70.0,225.0",
  ]);
  expect([...svg.matchAll(/>([^<>]+)<\/text>/g)].map(([, text]) => text)).toEqual([
    ...["0 B", "1 B", "2 B", "3 B", "4 B"],
    ...["first", "last", "seconds"],
  ]);
  expect(svg).toContain("a &lt; b");
});

test("of many places the highest are drawn", () => {
  const values = Array.from({ length: 5000 }, (_, index) => (index === 3333 ? 100 : 1));
  const svg = stackedAreas({
    bands: [{ name: "a", colour, values }],
    places: values.map((_, index) => index),
    marks: [],
    axis: "",
    describe: String,
  });
  const [points = ""] = /points="[^"]+"/.exec(svg) ?? [];
  expect(points.split(" ").length).toBe(2000);
  expect(points).toContain(",24.0");
});

test("measured memory is shared out among what is known to be there", () => {
  const page = memoryPage({
    title: "a <run>",
    lines: ["4 rows"],
    profile: {
      samples: [
        { seconds: 0, residentBytes: 100e6 },
        { seconds: 1, residentBytes: 350e6 },
        { seconds: 2, residentBytes: 1500e6 },
      ],
      marks: [{ seconds: 1, label: "step 1 done" }],
    },
    estimate: {
      weights: 300e6,
      gradients: 100e6,
      optimizer: 200e6,
      activations: 500e6,
      workspace: 150e6,
      total: 1250e6,
    },
    step: [
      { bytes: 10, workspaceBytes: 0 },
      { bytes: 20, workspaceBytes: 5 },
    ],
  });
  const heights = [...page.matchAll(/points="([^"]+)"/g)].slice(0, 5).map(([, points = ""]) =>
    points
      .split(" ")
      .slice(0, 3)
      .map((point) => Math.round(((292 - Number(point.split(",")[1])) / 268) * 1500)),
  );
  expect(heights).toEqual([
    [100, 100, 100],
    [100, 350, 400],
    [100, 350, 600],
    [100, 350, 700],
    [100, 350, 1500],
  ]);
  expect(page).toContain("<title>a &lt;run&gt;</title>");
  expect(page).toContain("its largest value is 1.50 GB, and 1.25 GB were estimated.");
  expect(page).toContain("<tr><td>optimiser</td><td>200 MB</td></tr>");
});
