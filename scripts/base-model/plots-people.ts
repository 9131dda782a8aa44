/** @file Portraits, daily routines, homes, letters and plans: texts in the present or future tense. */
import type { Plot } from "./plot.ts";
import { maybe, tell } from "./plot.ts";

const portrait: Plot = {
  lines: [
    tell(
      "{A} {@surname:surname} is {@adultAge:age} years old and lives in {@town:town}.",
      "My {relativeOfA} lives in {@town:town}, and {his} name is {A}.",
      "This is {A}. {^he} comes from {@town:town}.",
      "{A} is a~{@job:job} from {@town:town}.",
    ),
    tell(
      "{^he} is {@look:look} and has {@hair:hair} and {@eyeColour:eyes} eyes.",
      "{^he} has {@hair:hair}, and {his} eyes are {@eyeColour:eyes}.",
      "{^he} is {@look:look} with {@hair:hair}.",
    ),
    maybe(
      "{^he} usually wears a~{@colour:colour} (coat|hat|jacket|scarf|pullover).",
      "People say that {he} looks like {his} {elder}.",
    ),
    tell(
      "{^he} is {@character:trait} and likes {@hobby:hobby}.",
      "{^his} friends say that {he} is {@character:trait}.",
      "In {his} free time {he} likes {@hobby:hobby} and {@hobby:hobby2}.",
      "{^he} {@hobby.third:habit} every {@weekday:day}.",
    ),
    maybe(
      "{^he} has a~{@pet:pet} called {@petName:name}.",
      "{^he} has two children, {@girlName:girl} and {@boyName:child}.",
      "{^his} favourite food is {@homeDish:dish}.",
      "{^his} favourite colour is {@colour:favourite}.",
      "{^he} does not like {@hobby:dislike}.",
    ),
  ],
  questions: [
    ["How old is {A}?", "{^he} is {age} years old."],
    ["Where does {A} live?", "{^he} lives in {town}."],
    ["What does {A} look like?", "{^he} is {look} and has {hair}."],
    ["What colour are {A}'s eyes?", "{^his} eyes are {eyes}."],
    ["What is {A} like?", "{^he} is {trait}."],
    ["What does {A} like?", "{^he} likes {hobby}."],
    ["What is {A}'s favourite food?", "It is {dish}."],
    ["What is {A}'s favourite colour?", "It is {favourite}."],
    ["What is the {pet} called?", "It is called {name}."],
    ["What are the children called?", "They are called {girl} and {child}."],
  ],
};

const routine: Plot = {
  lines: [
    tell(
      "Every (morning|day) {A} gets up at [rise:{@earlyClock}][early=].",
      "{A} gets up at [rise:{@earlyClock}][early=] from {@weekday} to {@weekday}.",
      "On {@weekday:day} {A} gets up late, at [rise:half past (nine|ten|eleven)].",
    ),
    tell(
      "For breakfast {he} has {@breakfast:breakfast} and {@hotDrink:drink}.",
      "{^he} drinks {@hotDrink:drink} and reads the news.",
      "{^he} {@chore.third:first} before breakfast.",
    ),
    tell(
      "Then {he} goes to (work|school|the office) {@transport:vehicle}.",
      "After that {he} {@chore.third:second} and goes out.",
      "At {@nineClock:start} {he}{early} leaves the house.",
      "{^he} works until {@eveningClock:end} and has lunch {@place.at}.",
    ),
    tell(
      "In the evening {he} {@pastime.third:later}.",
      "After dinner {he} {@pastime.third:later} or {@pastime.third:other}.",
      "{^he} goes to bed at {@lateClock:bed}.",
      "Before {he} goes to bed, {he} {@pastime.third:later}.",
    ),
    maybe("At the weekend {he} {@hobby.third:free}.", "On {@weekday:visit} {he} visits {his} {elder}."),
  ],
  questions: [
    ["When does {A} get up?", "{^he} gets up at {rise}."],
    ["What does {A} have for breakfast?", "{^he} has {breakfast} and {drink}."],
    ["What does {A} drink?", "{^he} drinks {drink}."],
    ["How does {A} go to work?", "{^he} goes {vehicle}."],
    ["When does {A} leave the house?", "{^he} leaves at {start}."],
    ["What does {A} do in the evening?", "{^he} {later.third}."],
    ["When does {A} go to bed?", "{^he} goes to bed at {bed}."],
    ["What does {A} do at the weekend?", "{^he} {free.third}."],
    ["When does {A} visit {his} {elder}?", "{^he} visits {him3} on {visit}."],
  ],
};

const dwelling: Plot = {
  lines: [
    tell(
      "{A} lives in a~{@houseSize:size} (house|flat) in {@street:street}.",
      "{A} and {his} family have a~{@houseSize:size} (house|flat) {@area:area}.",
      "{A} has moved to a new (house|flat) in {@town:town}.",
    ),
    tell(
      "In the {@room:room} there is {@furniture:one}.",
      "The {@room:room} has {@wallColour:paint} walls and {@furniture:one}.",
      "There are {@number:count} rooms, and {his} favourite room is the {@room:room}.",
    ),
    tell(
      "From the window {he} can see {@place.the:view}.",
      "{^his} {kin} {B} lives next door.",
      "Behind the house there is a garden with {@fruit:tree} trees.",
      "{^he} pays {@rent:rent} pounds a month for it.",
    ),
    maybe(
      "{^he} likes it because it is {@atmosphere:mood}.",
      "It is {@minutes:walk} from {@place.the:near}.",
    ),
  ],
  questions: [
    ["Where does {A} live?", "{^he} lives in {street}."],
    ["What is in the {room}?", "There is {one} in the {room}."],
    ["How many rooms are there?", "There are {count} rooms."],
    ["What can {A} see from the window?", "{^he} can see {view.the}."],
    ["What colour are the walls in the {room}?", "They are {paint}."],
    ["How much does {A} pay?", "{^he} pays {rent} pounds a month."],
    ["Who lives next door?", "{^his} {kin} {B} lives next door."],
  ],
};

const letter: Plot = {
  separator: "\n",
  lines: [
    tell(
      "Dear {B},\n(how are you?|I hope you are well.|thank you for your letter.|thank you very much for [present:{@gift}]!)",
      "Hello {B},\n(it is {@weekday:day} today.|I am writing from {@town:town}.|I have news for you.)",
    ),
    tell(
      "{^@weather.is:sky}, and I am sitting {@place.at:spot}.",
      "Yesterday I {@pastime:deed} and {@chore:deed2}.",
      "We arrived in {@town:place} {@longTransport:vehicle}, and the hotel is {@atmosphere:mood}.",
      "I have started to work as a~{@job:job}, and I like it.",
    ),
    tell(
      "(Tomorrow|On {@weekday:date}) we are going {@outdoorPlace.to:trip} (if the weather is good|with {@girlName:friend}|{@transport}).",
      "Can you come (to dinner|to my party|and see me) on {@weekday:date}? We can {@hobby.base:plan} together.",
      "I am going to {@hobby.base:plan} on {@weekday:date}.",
      "Please bring {@purchase:wish} when you come.",
    ),
    tell(
      "(Love|Best wishes|Yours|See you soon|Many greetings),\n{A}",
      "Please write soon.\n{A}",
      "I hope to see you soon.\n(Yours, |Love, |){A}",
    ),
  ],
  questions: [
    ["Who wrote the letter?", "{A} wrote it."],
    ["Who is the letter for?", "It is for {B}."],
    ["What is the weather like?", "{^sky.is}."],
    ["What did {A} do yesterday?", "{^he} {deed} and {deed2}."],
    ["How did they travel?", "They travelled {vehicle}."],
    ["What should {B} bring?", "{^he2} should bring {wish}."],
    ["Where is {A} writing from?", "{^he} is writing from {town}."],
  ],
};

const plans: Plot = {
  lines: [
    tell(
      "Next {@weekday:day} {A} and {B} will go {@place.to:spot}[both=].",
      "{A} is going to visit {his} {kin} {B} in {@town:town} next {@month:day}.",
      "In {@month:day} {A} wants to go to {@town:town} for {@number:count} days.",
    ),
    tell(
      "They{both} will meet at {@clock:start} {@meeting:where}.",
      "{^he} will travel {@longTransport:vehicle} and stay with friends.",
      "First {he} will {@chore.base:first}, and then {he} will pack {his} bag.",
      "If it rains, they{both} will {@pastime.base:rain} instead.",
    ),
    tell(
      "{^he} hopes that the weather will be (good|warm|dry).",
      "{^he} has to be back by {@eveningClock:end}.",
      "{B}{both} will bring {@meal:food}, and {A} will bring {@coldDrink:drink}.",
      "{^he} is {@glad:mood} and cannot wait.",
      "{A} would like to {@hobby.base:wish}, but {B}{both} would rather {@pastime.base:rather}.",
    ),
  ],
  questions: [
    ["When will they go?", "They{both} will go next {day}."],
    ["Where will they go?", "They will go {spot.to}."],
    ["When will they meet?", "They will meet at {start}."],
    ["Where will they meet?", "They will meet {where}."],
    ["What will they do if it rains?", "They will {rain.base}."],
    ["What will {B} bring?", "{^he2} will bring {food}."],
    ["How will {A} travel?", "{^he} will travel {vehicle}."],
    ["What would {A} like to do?", "{^he} would like to {wish.base}."],
    ["How many days does {A} want to stay?", "{^he} wants to stay for {count} days."],
  ],
};

/** Plots about people as they are, their homes, letters and plans. */
export const peoplePlots: readonly Plot[] = [portrait, routine, dwelling, letter, plans];
