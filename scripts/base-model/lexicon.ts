/** @file The names under which templates reach the word tables and the generators of numbers, times and venues. */
import type { Lexicon, WordTable } from "./phrase.ts";
import { words } from "./phrase.ts";
import { priceSpan, rating, spanBetween, venueName } from "./plots-venues.ts";
import type { Random } from "./random.ts";
import { integerBetween } from "./random.ts";
import * as food from "./words-food.ts";
import * as general from "./words-general.ts";
import * as moments from "./words-moments.ts";
import * as people from "./words-people.ts";
import * as world from "./words-world.ts";

function names(...lists: readonly (readonly string[])[]): WordTable {
  return { forms: ["text"], rows: lists.flat().map((name) => [name]) };
}

const relatives = words(
  "mother; father; sister; brother; aunt; uncle; grandmother; grandfather; friend; neighbour; cousin; teacher",
);
const breakfasts = words(
  "toast and jam; a boiled egg; porridge; bread and cheese; fruit and yoghurt; a roll with honey; two slices of toast; scrambled eggs; muesli; pancakes; a banana; bread and butter",
);
const meetingPoints = words(
  "at the station; in front of the cinema; at the bus stop; outside the library; at the market; by the church; at the bridge; in front of the town hall; at the entrance of the park; at my house",
);
/** Every table and generator a template may name after `@`. */
export const lexicon: Lexicon = {
  anyName: names(people.femaleNames, people.maleNames),
  girlName: names(people.femaleNames),
  boyName: names(people.maleNames),
  surname: people.surnames,
  relative: relatives,
  kinAny: words(
    "my sister; my brother; a friend; two friends; my mother; my family; my children; my colleagues",
  ),
  job: people.jobs,
  glad: people.glad,
  unhappy: people.unhappy,
  tiredness: people.tiredness,
  character: people.characters,
  look: people.looks,
  hair: people.hair,
  eyeColour: people.eyeColours,
  hobby: people.hobbies,
  chore: people.chores,
  pastime: people.pastimes,
  ailment: people.ailments,
  instrument: people.instruments,
  sport: people.sports,
  subject: people.subjects,
  purchase: food.purchases,
  meal: food.meals,
  drink: food.drinks,
  dessert: food.desserts,
  homeDish: food.homeDishes,
  ingredient: food.ingredients,
  fruit: food.fruits,
  vegetable: food.vegetables,
  taste: food.tastes,
  niceTaste: food.niceTastes,
  gardenFruit: food.gardenFruits,
  cuisine: food.cuisines,
  venueKind: food.venueKinds,
  area: food.areas,
  priceWord: food.priceWords,
  staffManner: food.staffManner,
  atmosphere: food.atmosphere,
  niceManner: food.niceManner,
  level: food.levels,
  place: world.places,
  outdoorPlace: world.outdoorPlaces,
  town: world.towns,
  street: world.streets,
  weather: world.weather,
  niceWeather: world.niceWeather,
  badWeather: world.badWeather,
  weekday: world.weekdays,
  month: world.months,
  season: world.seasons,
  dayTime: world.dayTimes,
  opening: world.openings,
  transport: world.transport,
  thing: world.things,
  spot: world.spots,
  gift: world.gifts,
  colour: world.colours,
  colourFact: world.colourFacts,
  animal: world.animals,
  pet: world.pets,
  petName: world.petNames,
  kindOf: general.kindsOfThings,
  act: general.acts,
  opposite: world.opposites,
  capital: world.capitals,
  tool: world.toolFacts,
  furniture: world.furniture,
  room: world.rooms,
  topic: moments.topics,
  outdoorFun: moments.outdoorFun,
  suddenWeather: moments.suddenWeather,
  petTrait: moments.petTraits,
  petFun: moments.petFun,
  petDislike: moments.petDislikes,
  fur: moments.furs,
  size: moments.sizes,
  hotDrink: moments.hotDrinks,
  coldDrink: moments.coldDrinks,
  partyDrink: moments.partyDrinks,
  homeCake: moments.partyCakes,
  quietPastime: moments.quietPastimes,
  pastimeTravel: moments.travelPastimes,
  gardenWork: moments.gardenWork,
  gardenWorkThird: { forms: ["text"], rows: moments.gardenWork.rows.map((row) => [row[1] ?? ""]) },
  outdoorAnimal: moments.outdoorAnimals,
  thief: moments.thieves,
  shortage: moments.shortages,
  snack: moments.snacks,
  studied: moments.studied,
  partOfDay: moments.partsOfDay,
  breakfast: breakfasts,
  meeting: meetingPoints,
  number: moments.numberWord,
  smallPrice: moments.smallPrice,
  mealPrice: moments.mealPrice,
  bigPrice: moments.bigPrice,
  bill: moments.bill,
  clock: moments.clock,
  earlyClock: moments.earlyClock,
  eveningClock: moments.eveningClock,
  lateClock: moments.lateClock,
  nineClock: (random: Random) =>
    ["nine o'clock", "half past nine", "9:15", "a quarter past nine", "9:30 am", "ten past nine"][
      integerBetween(random, 0, 5)
    ] ?? "nine",
  degrees: (random: Random) => String(integerBetween(random, 2, 30)),
  hours: moments.hours,
  wallColour: moments.wallColours,
  houseSize: moments.houseSizes,
  longTransport: moments.longTransport,
  duration: moments.duration,
  minutes: moments.minutes,
  age: moments.age,
  childAge: moments.childAge,
  adultAge: (random: Random) => String(integerBetween(random, 19, 85)),
  rent: (random: Random) => String(50 * integerBetween(random, 6, 30)),
  stars: (random: Random) => ["one", "two", "three", "four", "five"][integerBetween(random, 0, 4)] ?? "three",
  venue: venueName,
  rating,
  points: (random: Random) => `${String(integerBetween(random, 1, 5))} out of 5`,
  noonClock: (random: Random) =>
    ["ten o'clock", "11 am", "noon", "eleven in the morning", "9:30", "half past ten"][
      integerBetween(random, 0, 5)
    ] ?? "noon",
  priceSpan,
  lowSpan: (random: Random) => spanBetween(random, 1, 2),
  middleSpan: (random: Random) => spanBetween(random, 3, 5),
  highSpan: (random: Random) => spanBetween(random, 6, 10),
};
