/** @file Words that single plots need (what pets like, sudden weather) and generators for numbers, times and prices. */
import { table, words } from "./phrase.ts";
import { chance, integerBetween, pick } from "./random.ts";
import type { Random } from "./random.ts";

export const topics = words(
  "the weather; football; the holidays; an old film; old times; food; school; the garden; the news; a new book; music; plans for the summer; the animals; work; a funny dream; old friends",
);
export const outdoorFun = words(
  "swam in the cold water; climbed a tree; flew a kite; read a book in the sun; picked flowers; fed the ducks; threw stones into the water; rode a bike; drew a picture of the hills; played with a ball; looked for shells; watched the birds; picked blackberries; ran up the hill; lay in the grass; counted the boats",
);
export const suddenWeather = words(
  "it began to rain; a storm came up; it started to snow; dark clouds came; the wind became strong; it got cold; there was thunder",
);
export const petTraits = words(
  "clever; lazy; friendly; wild; shy; very old; still young; brave; always hungry; quiet; loud; gentle",
);
export const petFun = words(
  "running in the garden; sleeping in the sun; playing with a ball; eating fish; sitting by the window; hiding under the bed; chasing leaves; eating carrots; long walks; warm milk; the old blanket; children",
);
export const petDislikes = words(
  "rain; loud music; the vet; the vacuum cleaner; strangers; cold water; thunder; long car journeys; being alone; other animals; baths",
);
export const furs = words("black; white; brown; grey; black and white; golden; brown and white; spotted");
export const sizes = words("small; big; little; large; tiny; young; old; funny");
export const hotDrinks = words(
  "a cup of tea; a cup of coffee; a hot chocolate; a cup of mint tea; a glass of hot milk; a hot lemon drink; a cup of ginger tea",
);
export const coldDrinks = words(
  "a bottle of water; some lemonade; a glass of cold water; some apple juice; a bottle of orange juice; some iced tea; a ginger beer",
);
export const partyDrinks = words(
  "lemonade; apple juice; orange juice; hot chocolate; tea; milk; ginger beer; fruit punch",
);
export const partyCakes = words(
  "a chocolate cake; a lemon cake; an apple cake; a big cake with candles; ice cream; strawberry cake; pancakes; a cherry cake; cheesecake",
);
export const quietPastimes = words(
  "read a book; listened to the radio; wrote a letter; did a puzzle; read the newspaper; listened to music; drew a picture; watched the birds outside; slept a lot; looked at old photographs",
);
export const travelPastimes = words(
  "read a book; slept a little; looked out of the window; listened to music; talked to an old man; did a puzzle; wrote some postcards; ate a sandwich; read the newspaper; drew a picture",
);
export const gardenWork = table(
  "past third",
  `
  watered the flowers / waters the flowers
  cut the grass / cuts the grass
  planted a small tree / plants small trees
  picked the beans / picks the beans
  dug up the potatoes / digs up the potatoes
  painted the bench / paints the bench
  built a bird table / builds bird tables
  pulled out the weeds / pulls out the weeds
  sowed some seeds / sows some seeds
  tied up the roses / ties up the roses
  swept the path / sweeps the path
  `,
);
export const outdoorAnimals = table(
  "one many",
  `
  duck / ducks
  swan / swans
  rabbit / rabbits
  squirrel / squirrels
  sheep / sheep
  cow / cows
  horse / horses
  deer / deer
  goat / goats
  seagull / seagulls
  robin / robins
  dog / dogs
  pony / ponies
  hedgehog / hedgehogs
  fox / foxes
  goose / geese
  `,
);
export const thieves = words("rabbit; deer; goat; mouse; snail; bird; squirrel; hedgehog; crow; cow");
export const shortages = words(
  "butter; milk; flour; salt; sugar; rice; cheese; garlic; olive oil; pepper; bread; cream; honey",
);
export const wallColours = words(
  "white; yellow; light blue; green; grey; pink; red; light green; orange; blue",
);
export const houseSizes = words("small; large; old; new; bright; big; tiny; modern; pretty; quiet; narrow");
export const longTransport = words("by train; by car; by bus; by plane; by coach; by night train");
export const snacks = words(
  "an apple; a pear; a banana; a cheese sandwich; a biscuit; some grapes; a bread roll; some nuts; a ham sandwich; a yoghurt; an orange; some cherries; a piece of cake; two plums",
);
export const studied = words("learned; studied; worked; practised");
export const partsOfDay = words("morning; afternoon; evening; day; weekend; night");

const NUMBER_WORDS =
  "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty".split(
    " ",
  );

/** A small number of things, at least two, as a word. */
export function numberWord(random: Random): string {
  return pick(random, NUMBER_WORDS.slice(0, 9));
}

/** The word for a number from two to twenty. */
export function wordForNumber(value: number): string {
  return NUMBER_WORDS[value - 2] ?? String(value);
}

/** A price between two whole numbers of pounds, with or without pence. */
function priceBetween(random: Random, low: number, high: number): string {
  const pounds = String(integerBetween(random, low, high));
  return chance(random, 0.4)
    ? `£${pounds}`
    : `£${pounds}.${pick(random, ["20", "25", "50", "75", "80", "90", "99"])}`;
}

/** The price of something small, such as "£3.50". */
export function smallPrice(random: Random): string {
  return priceBetween(random, 1, 6);
}

/** The price of a meal for one person. */
export function mealPrice(random: Random): string {
  return priceBetween(random, 5, 19);
}

/** The price of clothes, books or tools. */
export function bigPrice(random: Random): string {
  return priceBetween(random, 8, 45);
}

/** A larger sum in whole pounds. */
export function bill(random: Random): string {
  return chance(random, 0.3)
    ? `${wordForNumber(integerBetween(random, 8, 20))} pounds`
    : `£${String(integerBetween(random, 8, 60))}`;
}

const HOURS = "one two three four five six seven eight nine ten eleven twelve".split(" ");

/** A time whose hour lies between two hours of one half of the day, in words or figures. */
function clockBetween(random: Random, first: number, last: number, half: "am" | "pm"): string {
  const hour = integerBetween(random, first, last);
  const word = HOURS[hour - 1] ?? "twelve";
  const minute = pick(random, ["00", "05", "10", "15", "20", "30", "40", "45", "50"]);
  return pick(random, [
    `${word} o'clock`,
    `half past ${word}`,
    `a quarter past ${word}`,
    `a quarter to ${word}`,
    `${String(hour)}:${minute}`,
    `${String(hour)} ${half}`,
    `${String(hour)}:${minute} ${half}`,
    `ten past ${word}`,
    `twenty to ${word}`,
    `${word} in the ${half === "am" ? "morning" : last <= 6 ? "afternoon" : "evening"}`,
  ]);
}

/** Any time in the afternoon. */
export function clock(random: Random): string {
  return clockBetween(random, 1, 5, "pm");
}

/** A time at which people get up or begin to work. */
export function earlyClock(random: Random): string {
  return clockBetween(random, 6, 9, "am");
}

/** A time at which people come home, or plays and concerts begin. */
export function eveningClock(random: Random): string {
  return clockBetween(random, 6, 7, "pm");
}

/** A time at which evenings end. */
export function lateClock(random: Random): string {
  return clockBetween(random, 9, 11, "pm");
}

/** How long a journey takes. */
export function hours(random: Random): string {
  const count = wordForNumber(integerBetween(random, 2, 8));
  return pick(random, [
    `${count} hours`,
    `${count} hours`,
    `${count} and a half hours`,
    "an hour and a half",
    "about an hour",
  ]);
}

/** A length of time, such as "half an hour". */
export function duration(random: Random): string {
  const count = wordForNumber(integerBetween(random, 2, 5));
  return pick(random, [
    minutes(random),
    minutes(random),
    "an hour",
    "half an hour",
    "a quarter of an hour",
    `${count} hours`,
    "an hour and a half",
    "a long time",
  ]);
}

/** A number of minutes in words. */
export function minutes(random: Random): string {
  return `${pick(random, ["five", "ten", "fifteen", "twenty", "thirty", "forty", "forty-five", "fifty"])} minutes`;
}

/** The age of somebody who has a birthday. */
export function age(random: Random): string {
  return chance(random, 0.6)
    ? wordForNumber(integerBetween(random, 5, 20))
    : String(integerBetween(random, 21, 80));
}

/** The age of a child at school. */
export function childAge(random: Random): string {
  return wordForNumber(integerBetween(random, 6, 15));
}
