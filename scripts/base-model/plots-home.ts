/** @file Plots of days at home and outdoors: cooking, chores, family, pets, gardens, illness, birthdays and trips. */
import { maybe, tell } from "./plot.ts";
import type { Plot } from "./plot.ts";

const cooking: Plot = {
  lines: [
    tell(
      "{@opening:when}, {A} wanted to make {@homeDish:dish} for {his} {elder}.",
      "{A} decided to cook {@homeDish:dish} {@dayTime:when}, because {his} {kin} {B:guest} was coming.",
      "{@opening:when}, {A} made {@homeDish:dish}.",
    ),
    tell(
      "{^he} needed {dish.needs}.",
      "There was no {@shortage:missing} in the kitchen, so {he} went to the shop.",
      "First {he} cut [cut:{dish.cut}]. Then {he} cooked everything for {@minutes:time}.",
      "{B} helped {him} in the kitchen and (washed|cut) {dish.cut}.",
    ),
    maybe(
      "It took {@duration:time}.",
      "The kitchen smelled wonderful.",
      "While it was cooking, {A} {@pastime:waiting}.",
    ),
    tell(
      "It was {@niceTaste:taste}, and everybody (ate a lot|wanted more|was happy).",
      "They ate at {@eveningClock:meal}, and it was {@niceTaste:taste}.",
      "{A} was {@glad:mood} [why:because everybody liked it].",
      "Unfortunately, it (burned a little|did not taste good|fell on the floor), so they ate {@meal:other} instead.",
    ),
  ],
  questions: [
    ["What did {A} cook?", "{^he} made {dish}."],
    ["Who was coming?", "{^his} {kin} {guest} was coming."],
    ["What did {A} need for that?", "{^he} needed {dish.needs}."],
    ["What did {A} cut?", "{^he} cut {cut}."],
    ["What was missing?", "There was no {missing}."],
    ["How long did it take?", "It took {time}."],
    ["What did it taste like?", "It was {taste}."],
    ["When did they eat?", "They ate at {meal}."],
    ["What did {A} do while it was cooking?", "{^he} {waiting}."],
  ],
};

const choresDay: Plot = {
  lines: [
    tell(
      "{@opening:when}, {A} had a lot to do at home.",
      "{A} stayed at home {@dayTime:when} [why:because {@badWeather}].",
      "On {@weekday:day} {A} always does the housework.",
    ),
    tell(
      "First {he} {@chore:first}, and then {he} {@chore:second}.",
      "{^he} {@chore:first} and {@chore:second}.",
      "{^he} {@chore:first} while {B} {@chore:other}.",
      "Before lunch {he} {@chore:first}. After lunch {he} {@chore:second}.",
    ),
    maybe(
      "{B} helped {him} and {@chore:other}.",
      "{^his} {elder} {@chore:elderDeed}.",
      "It took {@duration:time}.",
    ),
    tell(
      "After that {he} was {@tiredness:tired} and {@pastime:later}.",
      "In the evening {he} {@pastime:later}.",
      "When everything was done, {he} made {@hotDrink:drink} and {@pastime:later}.",
      "At {@eveningClock:end} everything was clean, and {he} was {@glad:mood}.",
    ),
  ],
  questions: [
    ["What did {A} do first?", "First {he} {first}."],
    ["What did {A} do after that?", "{^he} {second}."],
    ["What did {B} do?", "{B} {other}."],
    ["What did {A}'s {elder} do?", "{^his} {elder} {elderDeed}."],
    ["How long did it take?", "It took {time}."],
    ["What did {A} do in the evening?", "{^he} {later}."],
    ["Why did {A} stay at home?", "{^he} stayed at home {why}."],
  ],
};

const outing: Plot = {
  lines: [
    tell(
      "{@opening:when}, {@niceWeather:sky}, so {A} and {his} {kin} {B} went {@outdoorPlace.to:spot}.",
      "{A} and {B} went {@outdoorPlace.to:spot} {@transport:vehicle}, because {@niceWeather:sky}.",
      "{@opening:when}, {A} took {his} {kin} {B} {@outdoorPlace.to:spot}. {^@niceWeather:sky}.",
    ),
    tell(
      "They took {@meal:picnic} and {@coldDrink:drink} with them.",
      "They had a picnic with {@gardenFruit:fruit}, bread and cheese.",
      "There they saw {@number:count} {@outdoorAnimal.many:animal}.",
      "They walked for {@duration:walk} and talked about {@topic:topic}.",
    ),
    tell(
      "{B} (took photographs|collected leaves|fell asleep|sat under a tree), and {A} {@outdoorFun:fun}.",
      "{A} {@outdoorFun:fun}. {B} (watched|did the same|was too tired).",
      "Suddenly {@suddenWeather:storm}, and they ran (home|to the car|under a tree).",
      "A~{@outdoorAnimal:animal2} came (near|up to them), but it was friendly.",
    ),
    tell(
      "They (went|came) home at {@eveningClock:end}.",
      "In the evening they were {@tiredness:tired} but {@glad:mood}.",
      "It was a (lovely|long|wonderful) day.",
      "{A} said that it was the best day of the {@season:season}.",
    ),
  ],
  questions: [
    ["Where did {A} and {B} go?", "They went {spot.to}."],
    ["What was the weather like?", "{^sky}."],
    ["What did they see?", "They saw {count} {animal.many}."],
    ["How many {animal.many} did they see?", "They saw {count} {animal.many}."],
    ["What did they eat?", "They ate {fruit}, bread and cheese."],
    ["How did they get there?", "They went there {vehicle}."],
    ["What did {A} do?", "{^he} {fun}."],
    ["When did they go home?", "They went home at {end}."],
    ["How long did they walk?", "They walked for {walk}."],
    ["What did they talk about?", "They talked about {topic}."],
    ["How did they feel in the evening?", "They were {tired} but {mood}."],
  ],
};

const petStory: Plot = {
  lines: [
    tell(
      "{A} has a~{@size} {@pet:pet} called {@petName:name}.",
      "{A} got a~{@pet:pet} for {his} birthday. Its name is {@petName:name}.",
      "{B} gave {A} a~{@fur:fur} {@pet:pet}. {A} called it {@petName:name}.",
    ),
    tell(
      "{name} is {@petTrait:trait} and likes {@petFun:fun}.",
      "Every morning {name} wakes {him} at {@earlyClock:time}.",
      "{name} likes to sleep {@spot:bed}.",
      "{@opening}, {name} ran away [why:because the door was open].",
    ),
    tell(
      "{@opening}, {A} looked for {name} everywhere. {^he} found it {@spot:place}.",
      "{A} plays with {name} every {@partOfDay:part}.",
      "When {@weather.was}, {name} slept {@spot:place} all day.",
      "{name} does not like {@petDislike:dislike}.",
    ),
    maybe(
      "{^his} {elder} thinks that {name} is too (loud|fat|lazy|wild).",
      "{A} is {@glad} when {name} is near.",
    ),
  ],
  questions: [
    ["What is {A}'s {pet} called?", "It is called {name}."],
    ["What kind of animal is {name}?", "{name} is a~{pet}."],
    ["What is {name} like?", "{name} is {trait}."],
    ["What does {name} like?", "{name} likes {fun}."],
    ["Where does {name} like to sleep?", "It likes to sleep {bed}."],
    ["Where was {name}?", "{name} was {place}."],
    ["Why did {name} run away?", "It ran away {why}."],
    ["What does {name} not like?", "{name} does not like {dislike}."],
  ],
};

const illness: Plot = {
  lines: [
    tell(
      "{A} had {@ailment:illness} and stayed in bed.",
      "{@opening:when}, {A} did not go to (school|work) because {he} had {@ailment:illness}.",
      "{A} felt ill {@opening:when}. {^he} had {@ailment:illness}.",
    ),
    tell(
      "{^his} {elder} made {him} {@hotDrink:drink}.",
      "{^his} {kin} {B:helper} came and brought {@purchase:gift}.",
      "The doctor told {him} to stay at home for {@number:days} days.",
      "{^he} drank {@hotDrink:drink} and slept for {@duration:sleep}.",
    ),
    maybe("In bed {he} {@quietPastime:later}.", "Outside {@weather.was:sky}, so {he} missed nothing."),
    tell(
      "After {@number} days {he} was well again.",
      "The next day {he} felt (much|a little) better.",
      "On {@weekday:back} {he} could (go out|go back to work|get up) again.",
    ),
  ],
  questions: [
    ["What was wrong with {A}?", "{^he} had {illness}."],
    ["What did {A} drink?", "{^he} drank {drink}."],
    ["What did {helper} bring?", "{helper} brought {gift}."],
    ["How many days did {A} have to stay at home?", "{^he} had to stay at home for {days} days."],
    ["What did {A} do in bed?", "{^he} {later}."],
    ["When was {A} well again?", "{^he} was well again on {back}."],
  ],
};

const birthday: Plot = {
  lines: [
    tell(
      "{@opening:when}, it was {A}'s birthday. {^he} was {@age:age} years old.",
      "{A} had a birthday party {@place.at:spot} {@dayTime:when}.",
      "{B} wanted to give {A} a present for {his} birthday.",
    ),
    tell(
      "{^his} {kin} {B:giver} gave {him} {@gift:gift}.",
      "{^he} got {@gift:gift} from {his} {elder} and {@gift:gift2} from {B}.",
      "{B} bought {@gift:gift} for {him}. It cost {@bill:price}.",
    ),
    tell(
      "There was {@homeCake:cake}, and they drank {@partyDrink:drink}.",
      "{@number:guests} friends came, and they played games.",
      "They ate {@homeCake:cake} and sang songs.",
    ),
    tell(
      "{A} was {@glad:mood}.",
      "It was a (lovely|wonderful|noisy|happy) day.",
      "Everybody went home at {@eveningClock:end}.",
      '"(This is the best present of all|Thank you, I love it|How kind of you)!" said {A}.',
    ),
  ],
  questions: [
    ["How old was {A}?", "{^he} was {age} years old."],
    ["What did {A} get?", "{^he} got {gift}."],
    ["Who gave {A} {gift}?", "(It was|It came from) {his} {kin} {giver}."],
    ["What did they eat?", "They ate {cake}."],
    ["What did they drink?", "They drank {drink}."],
    ["How many friends came?", "{^guests} friends came."],
    ["When did the guests go home?", "They went home at {end}."],
  ],
};

const garden: Plot = {
  lines: [
    tell(
      "{A} has a small garden behind the house in {@street:street}.",
      "{A} loves {his} garden, where {he} grows {@vegetable.many:crop} and {@gardenFruit:fruit}.",
      "In {@month:month} {A} planted {@vegetable.many:crop} in the garden.",
    ),
    tell(
      "(Every {@partOfDay}|In {@season}) {he} works there for {@duration:time}.",
      "{@opening}, {he} {@gardenWork:work}.",
      "{^his} {kin} {B:helper} helps {him} and {@gardenWorkThird:help}.",
    ),
    tell(
      "This year the {@vegetable.many:big} are very big.",
      "A~{@thief:thief} ate some of the {@vegetable.many:eaten}, but {A} was not angry.",
      "It (has not rained|rained a lot) this month, so the plants (need water|are growing well).",
      "In {@season:harvest} there will be many {@gardenFruit:fruit2}.",
    ),
    maybe("{^he} gave some {@gardenFruit:present} to {his} {elder}.", "{^he} likes to sit there {@dayTime}."),
  ],
  questions: [
    ["Where is {A}'s garden?", "It is behind the house in {street}."],
    ["What does {A} grow?", "{^he} grows {crop.many} and {fruit}."],
    ["When did {A} plant the {crop.many}?", "{^he} planted them in {month}."],
    ["Who helps {A}?", "{^his} {kin} {helper} helps {him}."],
    ["What ate the {eaten.many}?", "A~{thief} ate some of them."],
    ["What did {A} do in the garden?", "{^he} {work}."],
  ],
};

const school: Plot = {
  lines: [
    tell(
      "{A} goes to school in {@town:town}. {^his} favourite subject is {@subject:subject}.",
      "{A} is {@childAge:age} years old and likes {@subject:subject} best.",
      "{@opening:when}, {A} had a test in {@subject:subject}.",
    ),
    tell(
      "The teacher, (Mr|Mrs|Ms) {@surname:teacher}, is {@character:trait}.",
      "{^he} {@studied} for {@duration:time} with {his} friend {B:helper}.",
      "{^he} was {@unhappy:feeling} [why:because {he} had forgotten {his} book].",
    ),
    tell(
      "{^he} got {@number} questions wrong, but {his} {elder} was not angry.",
      "After school {he} plays {@sport:sport} with {B}.",
      "In the break {he} ate {@snack:snack}.",
      "At {@clock:end} {he} went home {@transport:vehicle}.",
    ),
    maybe("{^he} also learns to play the {@instrument:instrument}.", "In the evening {he} {@pastime:later}."),
  ],
  questions: [
    ["What is {A}'s favourite subject?", "It is {subject}."],
    ["How old is {A}?", "{^he} is {age} years old."],
    ["What is the teacher's name?", "The teacher's name is {teacher}."],
    ["What is the teacher like?", "The teacher is {trait}."],
    ["What does {A} play after school?", "{^he} plays {sport} with {B}."],
    ["What did {A} eat?", "{^he} ate {snack}."],
    ["What does {A} learn to play?", "{^he} learns to play the {instrument}."],
    ["Why was {A} {feeling}?", "{^he} was {feeling} {why}."],
    ["How did {A} go home?", "{^he} went home {vehicle}."],
  ],
};

const sportsDay: Plot = {
  lines: [
    tell(
      "{@opening:when}, {A} played {@sport:sport} against {B}.",
      "{A} plays {@sport:sport} every {@weekday:day}. {^his} {kin} {B} plays too.",
      "{A} and {B} played {@sport:sport} {@dayTime:when}, although {@badWeather:sky}.",
    ),
    tell(
      "{A} was better at first, but then {B} won.",
      "It was a close game, and in the end {A} won.",
      "{B} was faster, but {A} was (stronger|more patient|luckier).",
      "Nobody won, but both of them were happy.",
    ),
    maybe("After {@duration:time} they were {@tiredness:tired}.", "{^his} {elder} watched and clapped."),
    tell(
      "Afterwards they drank {@coldDrink:drink} together.",
      "They will play again on {@weekday:next}.",
      "{A} hurt {his} (knee|foot|hand), but it was not bad.",
      '{B} said, "(That was a good game|Well played|Let us play again soon)."',
    ),
  ],
  questions: [
    ["What did they play?", "They played {sport}."],
    ["When does {A} play {sport}?", "{^he} plays every {day}."],
    ["What did they drink?", "They drank {drink}."],
    ["When will they play again?", "They will play again on {next}."],
    ["What was the weather like?", "{^sky}."],
    ["How long did they play?", "They played for {time}."],
  ],
};

/** Every plot that plays at home, in a garden, at school or outdoors. */
export const homePlots: readonly Plot[] = [
  cooking,
  choresDay,
  outing,
  petStory,
  illness,
  birthday,
  garden,
  school,
  sportsDay,
];
