/** @file Plots about neighbours, kindness, repairs, animals, diaries and the weather. */
import { maybe, tell } from "./plot.ts";
import type { Plot } from "./plot.ts";

const kindness: Plot = {
  lines: [
    tell(
      "{@opening:when}, {A} saw an old (man|woman) {@place.at:spot}[stranger=] who (looked tired|had lost the way|was carrying two heavy bags).",
      "{@opening:when}, a young (man|woman) asked {A} for help {@place.at:spot}[stranger=].",
      "{B} was new in {@town:town}[newcomer=] and did not know anybody, so {A} went to say hello.",
      "{A} found a~{@thing:thing} {@place.at:spot} {@opening:when}[found=].",
    ),
    tell(
      "{^he} stopped and (helped at once|talked for {@minutes:time}){stranger}.",
      "{^he} asked everybody, but nobody knew whose {thing} it was.",
      "So {he} took the {thing} to the police station.",
      "{^he} brought {@homeCake:cake} and some flowers{newcomer}.",
      "Together they (went for a walk|drank tea|looked at the town|cooked dinner|went to the market){newcomer}.",
    ),
    maybe(
      "{^@weather.was:sky} that day, but {he} did not mind.",
      "{^his} {elder} always says that a kind word costs nothing.",
    ),
    tell(
      "In the end everyone was {@glad:mood}.",
      "Since then they have been good friends{newcomer}.",
      "Two days later the owner came and gave {him} {@gift:present}{found}.",
      "{A} went home and was {@glad:mood}.",
      "The next day {he} got a letter that said thank you{stranger}.",
    ),
  ],
  questions: [
    ["Where did this happen?", "It happened {spot.at}."],
    ["What did {A} find?", "{^he} found a~{thing}."],
    ["What did {A} bring?", "{^he} brought {cake} and some flowers."],
    ["What was the weather like?", "{^sky.was}."],
    ["Where does {B} live now?", "{^he2} lives in {town}."],
    ["What did the owner give {A}?", "The owner gave {him} {present}."],
    ["How did {A} feel?", "{^he} was {mood}."],
  ],
};

const repair: Plot = {
  lines: [
    tell(
      "{A}'s (bike|car|radio|lamp|clock|washing machine) was broken.",
      "{@opening:when}, the (heating|kettle|front door|window|old clock) in {A}'s (house|flat) broke.",
      "{@opening:when}, {A} heard a strange noise in the {@room:room}.",
    ),
    tell(
      "First {he} tried to (repair|fix) it alone, but that did not work.",
      "{^he} called {his} {kin} {B:helper}, who (knows a lot about|is good with) such things.",
      '{^his} {elder} said, "(Leave it to me|Let me look at it|That is easy)."',
    ),
    tell(
      "It took {@duration:time}, and they needed (a hammer|a screwdriver|some oil|a ladder|a piece of wire).",
      "After {@minutes:time} it worked again.",
      "It was only a (small|loose) (screw|wire), and it cost {@smallPrice:price}.",
      "It turned out that a [animal:(mouse|bird|cat|squirrel|spider|dog)] was to blame!",
    ),
    tell(
      "{A} was {@glad:mood} and made {@hotDrink:drink} for everybody.",
      "Afterwards they {@pastime:later} together.",
      "Now {A} knows what to do the next time.",
      "{A} said thank you and paid for {@dessert:dessert}.",
    ),
  ],
  questions: [
    ["Who did {A} call?", "{^he} called {his} {kin} {helper}."],
    ["Where did {A} hear a noise?", "{^he} heard it in the {room}."],
    ["How long did it take?", "It took {time}."],
    ["How much did it cost?", "It cost {price}."],
    ["What was to blame?", "It was a~{animal}."],
    ["What did {A} make?", "{^he} made {drink}."],
    ["What did they do afterwards?", "They {later}."],
    ["How did {A} feel?", "{^he} was {mood}."],
  ],
};

const fable: Plot = {
  lines: [
    tell(
      "(Once upon a time|Once|Long ago) there was a~{@size:size} {@outdoorAnimal:hero} who lived {@outdoorPlace.at:home}.",
      "A~{@outdoorAnimal:hero} and a~{@outdoorAnimal:friend} lived {@outdoorPlace.at:home}.",
      "The {@outdoorAnimal:hero} was {@petTrait:trait}, and all the other animals knew it.",
    ),
    tell(
      "One day the {hero} was (hungry|thirsty|lonely|bored) and went to look for (food|water|a friend|something new).",
      "One winter {@badWeather:sky}, and the {hero} had nothing to eat.",
      "Every {@partOfDay:part} the {hero} ate {@gardenFruit:food} and slept under a tree.",
    ),
    tell(
      'Then it met a~{@outdoorAnimal:other}. "(Where are you going|Why are you so sad|What are you looking for)?" asked the {other}.',
      'Suddenly a~{@outdoorAnimal:other} came along and said, "(Come with me|I know a better place|You can have some of my {@gardenFruit})."',
    ),
    tell(
      "They shared {@gardenFruit:shared} and became friends.",
      "From then on the {hero} and the {other} (were never lonely|helped each other|lived together).",
      '"(A friend is better than a full plate|Who shares has more|Together everything is easier)," said the {other}.',
      "The {hero} said thank you and went home {@glad:mood}.",
    ),
  ],
  questions: [
    ["Where did the {hero} live?", "It lived {home.at}."],
    ["Who did the {hero} meet?", "It met a~{other}."],
    ["What did they share?", "They shared {shared}."],
    ["What did the {hero} eat?", "It ate {food}."],
    ["What was the {hero} like?", "It was {trait}."],
    ["What was the weather like?", "{^sky}."],
  ],
};

const diary: Plot = {
  lines: [
    tell(
      "Today is {@weekday:day}.",
      "It is {@weekday:day}, and I am {@glad:mood}.",
      "It is the end of {@month:month}.",
      "I got up at {@earlyClock:rise} this morning.",
    ),
    tell(
      "This morning I {@chore:first}, and then I {@pastime:second}.",
      "I went {@place.to:spot} {@transport:vehicle} with my {@relative:guest}.",
      "{^@weather.was:sky}, so I {@pastime:second} at home.",
      "I bought {@purchase:item} and paid [price:{item.price}].",
    ),
    tell(
      "For lunch I had {@meal:meal}.",
      "My {@relative:caller} called and told me about {@topic:topic}.",
      "At {@clock:time} I met my {@relative:friend} {@meeting}.",
      "I could not find my {@thing:thing}, but then I saw it {@spot:place}.",
    ),
    tell(
      "Now I am {@tiredness:tired} and want to sleep.",
      "Tomorrow I will {@chore.base:plan}.",
      "I hope that it will be (sunny|warm|dry) tomorrow.",
      "It was a (good|long|quiet|busy) day.",
      "Next {@weekday:next} I would like to {@hobby.base:wish}.",
    ),
  ],
  questions: [
    ["What day is it?", "It is {day}."],
    ["When did the writer get up?", "The writer got up at {rise}."],
    ["Where did the writer go?", "The writer went {spot.to}."],
    ["What did the writer buy?", "The writer bought {item}."],
    ["How much did it cost?", "It cost {price}."],
    ["What did the writer have for lunch?", "The writer had {meal}."],
    ["Where was the {thing}?", "It was {place}."],
    ["What will the writer do tomorrow?", "The writer will {plan.base}."],
    ["What was the weather like?", "{^sky.was}."],
  ],
};

const forecast: Plot = {
  lines: [
    tell(
      "On {@weekday:day} it will be (sunny|cloudy|rainy|windy|cold|warm|foggy|hot) in {@town:town}[open=].",
      "The weather in {@town:town} will be (dry|wet|fine|bad|changeable) (today|tomorrow|on {@weekday})[open=].",
      "Today {@weather.is:sky} in {@town:town}.",
    ),
    tell(
      "In the morning there will be (some rain|a little fog|a little sun|a light wind), and in the afternoon it will be (dry|warmer|cooler|windy|bright){open}.",
      "It will be about {@degrees:degrees} degrees{open}.",
      "The wind will come from the (north|south|east|west).",
    ),
    maybe(
      "Do not forget {sky.take}.",
      "It is a good day to {@hobby.base:plan}.",
      "At night it will be (cold|clear|mild|cloudy).",
    ),
    tell(
      "The rest of the week will be (better|much the same|colder|warmer|dry).",
      "At the weekend the sun will shine.",
      "On {@weekday:next} it will rain again.",
      "Last {@month} it was (colder|warmer|wetter) than usual.",
    ),
  ],
  questions: [
    ["Which town is this about?", "It is about {town}."],
    ["How warm will it be?", "It will be about {degrees} degrees."],
    ["What should people take with them?", "They should take {sky.take}."],
    ["When will it rain again?", "It will rain again on {next}."],
    ["What is it a good day for?", "It is a good day to {plan.base}."],
  ],
};

const meetingPeople: Plot = {
  lines: [
    tell(
      "{@opening:when}, {A} met {B} for the first time. They were both {@place.at:spot}.",
      "{A} and {B} have known each other for {@number:years} years. They met {@place.at:spot}.",
      "{A} met {his} {kin} {B} {@place.at:spot} {@opening:when}.",
    ),
    tell(
      "They talked about {@topic:topic} for {@duration:time}.",
      "{B} told {him} about {@topic:topic}.",
      "{B} asked {him} if {he} wanted to {@hobby.base:plan}.",
      "{A} said that {he} liked {@hobby.ing:like}, and {B} liked it too.",
    ),
    tell(
      "Then they had {@drink:drink} (together|each) at {@venue:venue}.",
      "{B} is {@character:trait}, and {A} is {@character:trait2}.",
      "They are very different: {A} is {@character:trait2}, but {B} is {@character:trait}.",
      "{B} works as a~{@job:job}.",
    ),
    tell(
      "They want to meet again on {@weekday:next}.",
      "Since then they often {@hobby.base:often} together.",
      "Before they said goodbye, {B} gave {him} {@gift:gift}.",
      "{A} was {@glad:mood} when {he} went home.",
    ),
  ],
  questions: [
    ["Where did {A} meet {B}?", "They met {spot.at}."],
    ["What did they talk about?", "They talked about {topic}."],
    ["What is {B} like?", "{^he2} is {trait}."],
    ["What is {A} like?", "{^he} is {trait2}."],
    ["What does {B} do?", "{^he2} is a~{job}."],
    ["What did they drink?", "They had {drink}."],
    ["When will they meet again?", "They want to meet again on {next}."],
    ["What did {B} give {A}?", "{^he2} gave {him} {gift}."],
    ["What do they do together?", "They often {often.base}."],
    ["How long have they known each other?", "They have known each other for {years} years."],
  ],
};

/** More plots, about people one meets, broken things, animals, diaries and weather. */
export const morePlots: readonly Plot[] = [kindness, repair, fable, diary, forecast, meetingPeople];
