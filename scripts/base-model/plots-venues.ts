/** @file Prose about places to eat and drink: descriptions, reviews, comparisons and advice. It never states attributes as a list. */
import type { Plot } from "./plot.ts";
import { maybe, tell } from "./plot.ts";
import type { Random } from "./random.ts";
import { chance, integerBetween, pick } from "./random.ts";
import { venueFirst, venueSecond } from "./words-food.ts";
import { surnames } from "./words-people.ts";

const HOUSE_WORDS = ["Kitchen", "Table", "Grill", "House", "Garden", "Corner", "Place", "Yard", "Rooms"];

/** An invented name such as "The Golden Lion" or "Rossi's Kitchen". */
export function venueName(random: Random): string {
  const second = pick(random, venueSecond.rows)[0] ?? "";
  if (chance(random, 0.55)) {
    return `The ${pick(random, venueFirst.rows)[0] ?? ""} ${second}`;
  }
  return pick(random, [
    `The ${second}`,
    `${pick(random, surnames.rows)[0] ?? ""}'s ${pick(random, HOUSE_WORDS)}`,
    `The ${second} and ${pick(random, venueSecond.rows)[0] ?? ""}`,
    `The ${second} ${pick(random, HOUSE_WORDS)}`,
    `${pick(random, venueFirst.rows)[0] ?? ""} ${second}`,
  ]).replace(/^The (\w+) and \1$/, "The $1");
}

/** A customer rating in words or figures. */
export function rating(random: Random): string {
  const points = String(integerBetween(random, 1, 5));
  return pick(random, [
    "high",
    "low",
    "average",
    "very high",
    "rather low",
    `${points} out of 5`,
    `${points} out of 5`,
    `${points} stars`,
  ]).replace("1 stars", "1 star");
}

/** A span of prices, such as "£20-25" or "less than £20". */
export function priceSpan(random: Random): string {
  return spanBetween(random, 1, 8);
}

/** A span that starts between two multiples of five pounds. */
export function spanBetween(random: Random, first: number, last: number): string {
  const low = 5 * integerBetween(random, first, last);
  return pick(random, [
    `less than £${String(low)}`,
    `more than £${String(low)}`,
    `£${String(low)}-${String(low + 5)}`,
    `between £${String(low)} and £${String(low + pick(random, [5, 10]))}`,
    `about £${String(low)}`,
    `under £${String(low)}`,
  ]);
}

const description: Plot = {
  lines: [
    tell(
      "{@venue:venue} is a~{@cuisine:food} {@venueKind:kind} {@area:area}[free=].",
      "{@venue:venue} is a~{@priceWord:cost} {@venueKind:kind} {@area:area}[plain=].",
      "(There is|You will find) a~{@cuisine:food} {@venueKind:kind} {@area:area} called {@venue:venue}[free=].",
      "{^@area:area} there is a~{@atmosphere:mood} {@venueKind:kind}. It is called {@venue:venue}[plain=][free=].",
      "{@venue:venue} (serves|offers) {@cuisine.kitchen:food} {@area:area}[free=].",
      "If you like {@cuisine.kitchen:food}, you should try {@venue:venue}, a~{@venueKind:kind} near {@venue:other}[free=].",
      "{@venue:venue}, a~{@venueKind:kind} in {@street:street}, serves {@cuisine.kitchen:food}[free=].",
      "A~{@venueKind:kind} called {@venue:venue} has opened {@area:area}[plain=][free=].",
      "Located {@area:area}, {@venue:venue} is a~{@venueKind:kind} with {@priceWord.has:cost}[plain=].",
    ),
    tell(
      "It is known for {food.dish}, and the prices are {@level:level}{free}.",
      "Guests pay {@priceSpan:span} for a meal{free}.",
      "The food is {@taste:taste}, and a meal costs {@priceSpan:span}{free}.",
      "The food is {@taste:taste}, and a meal costs [span:{cost.span}].",
      "A meal costs [span:{cost.span}], and the customer rating is {@rating:stars}.",
      "It has [prices:{@priceWord.has}]{free} and a customer rating of {@points:stars}.",
      "It has [prices:{@priceWord.has}]{free} and is rated {@points:stars}.",
      "The price range is {@level:level}{free}.",
      "The price range is {@priceSpan:level}{free}, and the food is {@taste:taste}.",
      "Most people who go there order {@meal:meal}{plain}.",
      "Most people who go there order {food.dish}.",
      "You can have {@meal:meal} there for {@mealPrice:price}{plain}.",
      "Although it is (rather|quite|very) expensive{free}, many people go there[prices=high prices].",
      "Many people go there, because it is (quite|very|) cheap{free}[prices=low prices].",
      "The customers gave it a rating of {@points:stars}.",
      "Its customer rating is {@rating:stars}.",
    ),
    tell(
      "It is (family-friendly|child-friendly|a good place for families|good for children)[family=].",
      "Families with children are welcome[family=].",
      "It is not (family-friendly|child-friendly|a place for children)[adults=].",
      "Children are not allowed[adults=], but the rooms are {@atmosphere:mood}.",
      "The staff are {@staffManner:staff}, and the rooms are {@atmosphere:mood}.",
      "It has good reviews,[family=] and families are welcome.",
      "Children get a smaller plate, so it is popular with families[family=].",
    ),
    maybe(
      "It is close to {@venue:other}.",
      "You can find it near {@venue:other}.",
      "It stands next to {@venue:other}.",
      "It is open from {@noonClock:start} to {@lateClock:end}.",
      "On {@weekday:shut} it is closed.",
      "It is (easy to reach|ten minutes from the station).",
      "In summer guests can sit outside.",
    ),
    maybe(
      "People like it because the staff are {@niceManner}.",
      "At weekends you should book a table.",
      "The owner, {@surname:owner}, comes from {@town}.",
      "Try {@dessert:dessert} there.",
      "Dogs are (welcome|not allowed).",
      "There is music on {@weekday:concert} evenings.",
    ),
  ],
  questions: [
    ["Where is {venue}?", "{venue} is {area}."],
    ["What kind of food does {venue} serve?", "It serves {food.kitchen}."],
    ["What is {venue}?", "It is a~{kind}."],
    ["How much does a meal cost?", "A meal costs {span}."],
    ["What is the customer rating of {venue}?", "The customer rating is {stars}."],
    ["Is {venue} family-friendly{family}?", "Yes, {venue} is family-friendly."],
    ["Can I take my children there{adults}?", "No, it is not a place for children."],
    ["Is {venue} near {other}?", "Yes, it is near {other}."],
    ["What are the prices like?", "It has {prices}."],
    ["When is it closed?", "It is closed on {shut}."],
    ["When is it open?", "It is open from {start} to {end}."],
    ["What are the staff like?", "The staff are {staff}."],
    ["When is there music?", "There is music on {concert} evenings."],
    ["What can I eat there?", "You can have {meal}."],
  ],
};

const review: Plot = {
  lines: [
    tell(
      "We went to {@venue:venue} {@opening:when}.",
      "I had lunch at {@venue:venue} with {@kinAny:guest}.",
      "{@opening:when}, I tried {@venue:venue}, the new {@venueKind:kind} {@area:area}.",
      "My {@relative:guest} and I ate at {@venue:venue} {@opening:when}.",
    ),
    tell(
      "I had {@meal:meal}, which was {@taste:taste}.",
      "The {@cuisine.kitchen:food} was {@taste:taste}, and the staff were {@staffManner:staff}.",
      "I ordered {@meal:meal} and {@drink:drink}. It was {@taste:taste}.",
      "It was {@atmosphere:mood}, and the service was (quick|slow|good|excellent|not very good).",
    ),
    maybe(
      "It cost {@priceSpan:span}.",
      "We paid {@bill:price} for everything.",
      "I thought it was {@priceWord:cost}.",
    ),
    tell(
      "I give it {@stars:stars} out of five stars.",
      "I will (certainly|not) go there again.",
      "(My children liked it too|It is a good place for families)[family=].",
      "I would not take children there.",
      "(Other guests|Most people) gave it {@points:points}, and (I agree|that is fair|I am surprised).",
      "If you like {@cuisine.kitchen}, (try it|you should try it).",
    ),
  ],
  questions: [
    ["What did the writer eat?", "The writer had {meal}."],
    ["What was the food like?", "It was {taste}."],
    ["How much did they pay?", "They paid {price}."],
    ["What were the staff like?", "They were {staff}."],
    ["How many stars did it get?", "It got {stars} out of five stars."],
    ["Which place is this about?", "It is about {venue}."],
  ],
};

const comparison: Plot = {
  lines: [
    tell(
      "{@venue:one} and {@venue:two} are both {@venueKind.many:kind} {@area:area}.",
      "There are two {@venueKind.many:kind} {@area:area}: {@venue:one} and {@venue:two}.",
    ),
    tell(
      "{one} is {@priceWord:cost} and serves {@cuisine.kitchen:food}, while {two} is {@priceWord:cost2} and serves {@cuisine.kitchen:food2}.",
      "At {one} a meal costs {@priceSpan:span}, but at {two} it is {@priceSpan:span2}.",
      "{one} has a rating of {@points:stars}, and {two} has a rating of {@points:stars2}.",
      "{one} offers {@cuisine.kitchen:food}. {two} is better known for {@cuisine.dish:dish}.",
    ),
    tell(
      "{one} is family-friendly, but {two} is not.",
      "Children are welcome at both of them.",
      "Neither of them is family-friendly.",
      "Families like {two} best, because it is (larger|quieter|cosy|bright|closer|modern).",
      "In {one} the staff are {@staffManner}, and in {two} they are {@staffManner}.",
      "{two} is (larger|quieter|older|smaller) than {one}.",
    ),
  ],
  questions: [
    ["What kind of food does {one} serve?", "It serves {food.kitchen}."],
    ["What kind of food does {two} serve?", "It serves {food2.kitchen}."],
    ["How much is a meal at {one}?", "It costs {span}."],
    ["How much is a meal at {two}?", "It costs {span2}."],
    ["Which {kind.many} are there?", "There are {one} and {two}."],
    ["What is the rating of {one}?", "The rating is {stars}."],
  ],
};

/** Plots that describe one place in the third person. */
export const describingPlots: readonly Plot[] = [description];

/** Plots about places to eat and drink. */
export const venuePlots: readonly Plot[] = [description, description, description, review, comparison];
