/** @file Plots of days in town: shopping, eating out, travelling, meeting people, losing and finding things. */
import { maybe, tell } from "./plot.ts";
import type { Plot } from "./plot.ts";

const shopping: Plot = {
  lines: [
    tell(
      "{@opening:when}, {A} went to {@purchase.shop:item} to buy {item}.",
      "{A} needed {@purchase:item}, so {he} went to {item.shop} {@dayTime:when}.",
      "{@opening:when}, {A} walked to {@purchase.shop:item} because {he} wanted to buy {item}.",
      "{A} drove to {@purchase.shop:item} {@dayTime:when}. {^he} was looking for {item}.",
    ),
    maybe(
      "{^@weather.was:sky}, so {he} took {sky.take} with {him}.",
      "{^he} went there {@transport:vehicle}.",
    ),
    tell(
      "{^he} (paid|had to pay) [price:{item.price}] for {item}.",
      "It cost [price:{item.price}], and {he} paid in cash.",
      "The (woman|man) in the shop was {@staffManner}. {A} paid [price:{item.price}].",
      "{^he} chose carefully and paid [price:{item.price}] at the till.",
    ),
    maybe(
      "On the way home {he} met {his} {kin} {B:friend}.",
      "Outside the shop {he} saw {his} {kin} {B:friend}, and they talked for {@duration:talk}.",
    ),
    tell(
      "Then {he} went home and {@pastime:later}.",
      "When {he} came home, {he} {@pastime:later}.",
      "At home {he} was {@glad:feeling} [why:because {he} had found {item}].",
      "{^he} was {@glad:feeling} [why:because {item.shop} was still open].",
      "{^he} carried everything home and {@pastime:later}.",
    ),
  ],
  questions: [
    ["Where did {A} go?", "({^he} went to|{A} went to) {item.shop}."],
    ["What did {A} buy?", "{^he} bought {item}."],
    ["How much did (it|that) cost?", "It cost {price}."],
    ["How much did {A} pay?", "{^he} paid {price}."],
    ["Who did {A} meet?", "{^he} met {his} {kin} {friend}."],
    ["What was the weather like?", "{^sky.was}."],
    ["What did {A} take with {him}?", "{^he} took {sky.take} with {him}."],
    ["How did {A} get there?", "{^he} went there {vehicle}."],
    ["What did {A} do at home?", "{^he} {later}."],
    ["How long did they talk?", "They talked for {talk}."],
    ["Why was {A} {feeling}?", "{^he} was {feeling} {why}."],
  ],
};

const eatingOut: Plot = {
  lines: [
    tell(
      "{@opening:when}, {A} and {his} {kin} {B} (went to|had dinner at|met at) {@venue:venue}, a~{@venueKind:kind} {@area:area}.",
      "{A} was hungry, so {he} went to {@venue:venue}, a~{@venueKind:kind} {@area:area}. {^his} {kin} {B} came too.",
      "{@opening:when}, {B} invited {A} to {@venue:venue}, a~{@priceWord:cost} {@venueKind:kind} {@area:area}.",
    ),
    maybe(
      "The place was {@atmosphere}, and the waiter was {@staffManner}.",
      "They had to wait {@minutes:wait} for a table.",
      "They sat at a table by the window.",
      "It was {@atmosphere} inside, and there was music.",
    ),
    tell(
      "{A} ordered {@meal:meal} and {@drink:drink}, and {B} had {@meal:meal2}.",
      "{B} ordered {@meal:meal2}, but {A} wanted {@meal:meal}.",
      "{A} had {@meal:meal} and {B} had {@meal:meal2}.",
      "{A} chose {@meal:meal}. {B} only wanted {@drink:drink2}.",
    ),
    tell(
      "The food was {@taste:taste}.",
      "Everything was {@taste:taste}.",
      "{A} said that the food was {@taste:taste}.",
    ),
    maybe("After that they shared {@dessert:dessert}.", "For dessert they had {@dessert:dessert}."),
    tell(
      "The bill was {@bill:price}, and {B} paid.",
      "They paid {@bill:price} and walked home.",
      "The meal cost {@bill:price}, which was (not much|fair|rather a lot).",
      "They stayed until {@lateClock:end} and then took a bus home.",
      "They want to go there again next (week|month|{@weekday}).",
    ),
  ],
  questions: [
    ["Where did {A} and {B} eat?", "They ate at {venue}."],
    ["Where is {venue}?", "It is {area}."],
    ["What is {venue}?", "{venue} is a~{kind} {area}."],
    ["What did {A} have?", "{A} had {meal}."],
    ["What did {B} have?", "{B} had {meal2}."],
    ["What did {A} drink?", "{^he} had {drink}."],
    ["What was the food like?", "The food was {taste}."],
    ["What did they have for dessert?", "They had {dessert}."],
    ["How much was the bill?", "The bill was {price}."],
    ["How long did they wait?", "They waited {wait}."],
    ["Was it expensive?", "It was {cost}."],
    ["Until when did they stay?", "They stayed until {end}."],
  ],
};

const lostThing: Plot = {
  lines: [
    tell(
      "{@opening:when}, {A} could not find {his} {@thing:thing}.",
      "{A} lost {his} {@colour:colour} {@thing:thing} {@opening:when}.",
      "{A} was {@unhappy:feeling} because {his} {@thing:thing} was gone.",
    ),
    tell(
      "{^he} looked {@spot:first} and {@spot:second}, but it was not there.",
      "First {he} looked {@spot:first}. Then {he} looked {@spot:second}.",
      "{^he} asked {his} {kin} {B}, but {he2} had not seen it.",
    ),
    tell(
      "(In the end|At last|After {@duration}), {he} found it {@spot:place}.",
      "Then {his} {kin} {B:finder} found it {@spot:place}.",
      "{^his} {elder} told {him} to look {@spot:place}, and there it was.",
    ),
    tell(
      "{A} was {@glad:mood}.",
      "{A} laughed and put it (away|in {his} bag).",
      '"(Thank you|What luck|I am so glad)!" said {A}.',
      "After that {he} was more careful.",
    ),
  ],
  questions: [
    ["What did {A} lose?", "{^he} lost {his} {thing}."],
    ["Where was the {thing}?", "It was {place}."],
    ["Where did {A} look first?", "{^he} looked {first}."],
    ["How did {A} feel (at the end|then)?", "{^he} was {mood}."],
    ["What colour was the {thing}?", "It was {colour}."],
  ],
};

const journey: Plot = {
  lines: [
    tell(
      "{@opening:when}, {A} travelled to {@town:town} {@longTransport:vehicle} to (see|visit) {his} {elder}.",
      "{A} went to {@town:town} {@longTransport:vehicle} {@opening:when}. {^he} wanted to visit {his} {kin} {B}.",
      "{A} lives in {@town:home}, but {@opening:when} {he} had to go to {@town:town} for work. {^he} went {@longTransport:vehicle}.",
    ),
    tell(
      "The journey took {@hours:time}.",
      "{^he} left at {@earlyClock:start} and arrived at {@clock:arrival}.",
      "It was a long way, so {he} {@pastimeTravel:way}.",
      "The ticket cost {@bill:price}.",
    ),
    maybe("When {he} arrived, {@weather.was:sky}.", "In {town} {@weather.was:sky}, and {sky.then}."),
    tell(
      "{^he} spent the afternoon {@place.at:spot}.",
      "In the evening {he} ate {@meal:meal} near the station.",
      "{^he} stayed in a small hotel {@area} for {@number:nights} nights.",
      "{^he} took many photographs {@place.at:spot}.",
    ),
    tell(
      "{^he} came home {@tiredness:tired} but {@glad:mood}.",
      "{^he} wants to go back in {@month:month}.",
      "On the way back {he} fell asleep.",
      "{^he} brought home {@gift:present} for {his} {elder}.",
    ),
  ],
  questions: [
    ["Where did {A} go?", "{^he} went to {town}."],
    ["How did {A} travel?", "{^he} went {vehicle}."],
    ["How long did the journey take?", "It took {time}."],
    ["When did {A} leave?", "{^he} left at {start}."],
    ["When did {A} arrive?", "{^he} arrived at {arrival}."],
    ["What was the weather like in {town}?", "{^sky.was}."],
    ["What did {A} eat?", "{^he} ate {meal}."],
    ["How many nights did {A} stay?", "{^he} stayed for {nights} nights."],
    ["Where does {A} live?", "{^he} lives in {home}."],
    ["What did {A} bring home?", "{^he} brought home {present}."],
  ],
};

const lateBus: Plot = {
  lines: [
    tell(
      "{A} wanted to take the (bus|train) at {@clock:planned}.",
      "{A} had to be at work by {@earlyClock:planned}.",
      "{@opening:when}, {A} was waiting for the bus to {@town:town}.",
    ),
    tell(
      "But {@badWeather:sky}, and the bus was {@minutes:delay} late.",
      "{^he} ran to the stop, but the bus had (already gone|just left).",
      "The bus did not come [why:because {@badWeather}].",
    ),
    tell(
      "So {he} went {@transport:vehicle} instead.",
      "So {he} called {his} {kin} {B:helper}, who came (by|with the) car.",
      "{^he} waited for {@minutes:wait} and {@pastimeTravel:way}.",
      "A~{@job} whom {he} knew took {him} along in a van.",
    ),
    tell(
      "{^he} arrived {@minutes:late} late, but nobody was angry.",
      "{^he} was {@tiredness} when {he} got there.",
      "{^his} {elder} was not angry, because {he3} knew about the weather.",
      "In the end {he} was only a few minutes late.",
    ),
  ],
  questions: [
    ["How late was the bus?", "It was {delay} late."],
    ["Why did the bus not come?", "The bus did not come {why}."],
    ["How did {A} travel?", "{^he} went {vehicle}."],
    ["Who helped {A}?", "{^his} {kin} {helper} helped {him}."],
    ["How long did {A} wait?", "{^he} waited for {wait}."],
    ["What was the weather like?", "{^sky}."],
    ["How late was {A}?", "{^he} was {late} late."],
  ],
};

const culture: Plot = {
  lines: [
    tell(
      "{@opening:when}, {A} went to (a concert|the theatre|the cinema|a museum) with {his} {kin} {B}.",
      "{A} had two tickets for (a concert|a play|a film) on {@weekday:when}, so {he} asked {his} {kin} {B} to come.",
    ),
    tell(
      "The tickets cost {@bill:price}.",
      "They had good seats in the (front|middle) row.",
      "It began at {@eveningClock:start}.",
    ),
    tell(
      "{B} (liked it very much|thought it was too long|laughed a lot), (but|and) {A} (was a little bored|enjoyed every minute|liked the music best).",
      "It was (long but interesting|short and funny|beautiful|very exciting), and they talked about it for {@duration:talk}.",
    ),
    maybe(
      "In the break they had {@drink:drink}.",
      "Afterwards they went to {@venue:venue} and had {@drink:drink}.",
    ),
    tell(
      "They came home at {@lateClock:end}.",
      "They walked home along {@street:street}.",
      "{A} thanked {B} for coming.",
    ),
  ],
  questions: [
    ["Who went with {A}?", "{^his} {kin} {B} went with {him}."],
    ["How much were the tickets?", "They cost {price}."],
    ["When did it begin?", "It began at {start}."],
    ["What did they drink?", "They had {drink}."],
    ["When did they come home?", "They came home at {end}."],
    ["How long did they talk about it?", "They talked about it for {talk}."],
  ],
};

const newJob: Plot = {
  lines: [
    tell(
      "{A} is a~{@job:job} and works {job.where}.",
      "{A} found a new job {@opening:when}. {^he} is now a~{@job:job} {job.where}.",
      "{A} works as a~{@job:job} {job.where} in {@town:town}.",
    ),
    tell(
      "{^he} {job.third} from {@weekday:from} to {@weekday:until}.",
      "Every day {he} {job.third}.",
      "{^he} starts work at {@earlyClock:start} and comes home at {@eveningClock:end}.",
    ),
    maybe("{^he} goes to work {@transport:vehicle}.", "{^he} lives in {@street:street}, not far from work."),
    tell(
      "{^he} likes the work [why:because the people are {@character:trait}].",
      "The work is hard, but {he} likes it.",
      "{^his} boss is {@character:trait}.",
      "In {his} free time {he} likes {@hobby:hobby}.",
    ),
    maybe("At the weekend {he} likes {@hobby:hobby}.", "On {@weekday:free} {he} does not have to work."),
  ],
  questions: [
    ["What does {A} do?", "{^he} is a~{job}."],
    ["Where does {A} work?", "{^he} works {job.where}."],
    ["What does a~{job} do?", "A~{job} {job.third}."],
    ["When does {A} start work?", "{^he} starts at {start}."],
    ["How does {A} go to work?", "{^he} goes to work {vehicle}."],
    ["What does {A} like?", "{^he} likes {hobby}."],
    ["Where does {A} live?", "{^he} lives in {street}."],
    ["When is {A} free?", "{^he} is free on {free}."],
    ["Why does {A} like the work?", "{^he} likes it {why}."],
  ],
};

/** Every plot that plays in town, on the road or at work. */
export const townPlots: readonly Plot[] = [shopping, eatingOut, lostThing, journey, lateBus, culture, newJob];
