//! One run: days made of ticks, in each the visits of those who come by.

use crate::catalogue::Catalogue;
use crate::engine::START;
use crate::measure::{Measured, Meter};
use crate::people::{Person, of_week};
use crate::reaction::{Act, Appeal, Judge};
use crate::setup::Setup;
use crate::target::{Shown, Target, Visit};
use crate::{DAY_MS, SimulateError};
use assembly::{EventInput, Moment};
use domain::{Item, Timestamp};
use numeric::SeededStream;
use std::collections::BTreeMap;

const COMES: u64 = 0xc03e5;
const PAST: u64 = 0x9a57;
const REACTS: u64 = 0x4eac7;
/// Visits that are asked for at a time.
const BATCH: usize = 4096;
/// Visits that one worker judges at a time.
const CHUNK: usize = 16;

/// What is to happen later: a purchase that is sent back.
struct Later {
    user: usize,
    item: u32,
    decision_id: String,
    event_id: String,
}

/// A visit as it went.
struct Went {
    slate: Vec<u32>,
    is_new: Vec<bool>,
    acts: Vec<Act>,
    regret: Option<f64>,
    diversity: f64,
}

struct World<'a> {
    setup: &'a Setup,
    seed: u64,
    catalogue: Catalogue,
    people: Vec<Person>,
    later: BTreeMap<i64, Vec<Later>>,
    meter: Meter,
    decisions: u64,
    events: u64,
    /// Whether events carry moments.
    timed: bool,
}

fn moment(day: f64) -> Timestamp {
    Timestamp(START.0 + (day * DAY_MS).round() as i64)
}

/// A number for what happens to someone at some time: the source of its own stream.
fn salt(kind: u64, user: usize, tick: i64) -> u64 {
    numeric::mix(kind ^ (user as u64) << 24) ^ (tick as u64)
}

/// Runs a setup under a seed. `given` are the items for a catalogue that is not generated.
///
/// # Errors
/// What the target says, or a catalogue of given items of which there are none.
pub fn simulate(
    setup: &Setup,
    seed: u64,
    given: &[Item],
    target: &dyn Target,
) -> Result<Measured, SimulateError> {
    let catalogue = Catalogue::new(&setup.catalogue, given, setup.run.days, seed);
    if catalogue.ids.len() < 2 {
        return Err(SimulateError::Scenario {
            file: "catalogue".to_owned(),
            reason: format!("source: got {} items, expected at least 2", catalogue.ids.len()),
        });
    }
    let people = (0..setup.people.users).map(|n| Person::new(&setup.people, &catalogue, n, -1e3, seed));
    let mut world = World {
        setup,
        seed,
        people: people.collect(),
        later: BTreeMap::new(),
        meter: Meter::new(catalogue.ids.len()),
        catalogue,
        decisions: 0,
        events: 0,
        timed: true,
    };
    world.begin(target)?;
    let run = &setup.run;
    let ticks = (24.0 / run.tick_hours).round().max(1.0) as usize;
    for day in 0..run.days {
        if day > 0 && run.train_every_days > 0 && day.is_multiple_of(run.train_every_days) {
            target.train()?;
        }
        for tick in 0..ticks {
            world.tick(
                target,
                day * ticks + tick,
                (day * ticks + tick) as f64 / ticks as f64,
            )?;
        }
        for (number, person) in world.people.iter_mut().enumerate().filter(|(_, p)| !p.left) {
            person.sleep(number, day, &setup.people, seed);
        }
        if (day + 1).is_multiple_of(run.round_days) || day + 1 == run.days {
            world.meter.round(&world.catalogue, &world.people);
        }
    }
    let (figures, rounds) = world.meter.figures(&world.people);
    Ok(Measured {
        figures,
        rounds,
        decisions: world.decisions,
        events: world.events,
    })
}

impl World<'_> {
    /// Items of the first day, what happened before it, and a first training.
    fn begin(&mut self, target: &dyn Target) -> Result<(), SimulateError> {
        let setup = self.setup;
        self.timed = target.set_clock(moment(0.0));
        let items = self.catalogue.turn(0.0, setup.catalogue.retire_after_days);
        target.put_items(items)?;
        let past = self.past();
        let is_empty = past.is_empty();
        for batch in past.chunks(10_000) {
            self.events += batch.len() as u64;
            target.tell(batch.to_vec())?;
        }
        if setup.run.train_first && !is_empty {
            target.train()?;
        }
        Ok(())
    }

    /// People came across items by their popularity, which has nothing to do with quality, and clicked what they liked.
    fn past(&self) -> Vec<EventInput> {
        let history = &self.setup.history;
        if history.days <= 0.0 {
            return Vec::new();
        }
        let mut order = self.catalogue.live.clone();
        SeededStream::new(self.seed, PAST).shuffle(&mut order);
        let mut total = 0.0;
        let cumulative: Vec<f64> = (1..=order.len())
            .map(|rank| {
                total += (rank as f64).powf(-history.popularity_power);
                total
            })
            .collect();
        let mut found: Vec<(f64, usize, u32)> = Vec::new();
        for (user, person) in self.people.iter().enumerate() {
            let mut stream = SeededStream::new(self.seed, salt(PAST, user, 0));
            let judge = self.judge(person, 0.0);
            let whole = history.encounters_per_user.floor();
            let more = stream.uniform() < history.encounters_per_user - whole;
            for _ in 0..whole as usize + usize::from(more) {
                let at = cumulative.partition_point(|sum| *sum <= stream.uniform() * total);
                let item = order[at.min(order.len() - 1)];
                let day = -history.days * stream.uniform();
                if stream.uniform() < judge.appeal(item).click {
                    found.push((day, user, item));
                }
            }
        }
        found.sort_by(|a, b| a.0.total_cmp(&b.0).then((a.1, a.2).cmp(&(b.1, b.2))));
        let event = |(nth, (day, user, item)): (usize, (f64, usize, u32))| {
            self.event(user, item, "click", None, format!("p{nth}"), None, day)
        };
        found.into_iter().enumerate().map(event).collect()
    }

    fn judge<'b>(&'b self, person: &'b Person, day: f64) -> Judge<'b> {
        Judge {
            catalogue: &self.catalogue,
            behaviour: &self.setup.behaviour,
            fade_half_life_days: self.setup.catalogue.fade_half_life_days,
            mood: person.mood(day, &self.setup.people, &self.setup.behaviour),
            day,
        }
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "the fields of an event, all of different kinds"
    )]
    fn event(
        &self,
        user: usize,
        item: u32,
        kind: &str,
        value: Option<f64>,
        event_id: String,
        decision_id: Option<&str>,
        day: f64,
    ) -> EventInput {
        let timestamp = self.timed.then(|| Moment::Number(moment(day).0 as f64));
        EventInput {
            event_id: Some(format!("{}-{event_id}", self.seed)),
            user_id: self.people[user].id.clone(),
            item_id: self.catalogue.ids[item as usize].clone(),
            event_type: kind.to_owned(),
            timestamp,
            value,
            session_id: None,
            decision_id: decision_id.map(str::to_owned),
            context: domain::Attributes::new(),
        }
    }

    fn arrivals(&mut self, day: f64) {
        let setup = &self.setup.people;
        let due = setup.users + (setup.arrivals_per_day * day).floor() as usize;
        for number in self.people.len()..due {
            let person = Person::new(setup, &self.catalogue, number, day, self.seed);
            self.people.push(person);
        }
    }

    /// Who comes by in a tick.
    fn visitors(&self, tick: usize, day: f64) -> Vec<usize> {
        let setup = &self.setup.people;
        let share = self.setup.run.tick_hours / 24.0 * of_week(&setup.week, day);
        let comes = |(user, person): (usize, &Person)| {
            let chance = 1.0 - (-person.rate * share).exp();
            let draw = SeededStream::new(self.seed, salt(COMES, user, tick as i64)).uniform();
            (!person.left && person.arrived <= day && draw < chance).then_some(user)
        };
        self.people.iter().enumerate().filter_map(comes).collect()
    }

    fn tick(&mut self, target: &dyn Target, tick: usize, day: f64) -> Result<(), SimulateError> {
        let run = &self.setup.run;
        target.set_clock(moment(day));
        let changed = self.catalogue.turn(day, self.setup.catalogue.retire_after_days);
        if !changed.is_empty() {
            target.put_items(changed)?;
        }
        self.arrivals(day);
        self.meter.tick(&self.catalogue, run, day);
        let mut events = self.due(day);
        let visitors = self.visitors(tick, day);
        for batch in visitors.chunks(BATCH) {
            let visits = self.visits(batch, tick, day);
            let shown = target.show(&run.placement, run.n, &visits)?;
            let went = self.react(batch, &shown, tick, day)?;
            self.decisions += batch.len() as u64;
            for ((user, shown), went) in batch.iter().zip(&shown).zip(went) {
                self.take(*user, tick, day, shown, &went, &mut events);
            }
        }
        let new = |item: &&u32| self.is_new(**item, day);
        let n_new = self.catalogue.live.iter().filter(new).count();
        self.meter.fair(visitors.len(), n_new, run);
        self.events += events.len() as u64;
        if !events.is_empty() {
            target.tell(events)?;
        }
        Ok(())
    }

    fn is_new(&self, item: u32, day: f64) -> bool {
        self.catalogue.born[item as usize] >= 0.0 && self.catalogue.age(item, day) <= self.setup.run.new_days
    }

    fn visits(&self, users: &[usize], tick: usize, day: f64) -> Vec<Visit> {
        let one = |user: &usize| {
            let person = &self.people[*user];
            let salt = salt(COMES ^ 1, *user, tick as i64);
            let mut stream = SeededStream::new(self.seed, salt);
            let seed = stream.next_u64() >> 12;
            let attributes = if self.setup.people.attributes {
                let mood = person.mood(day, &self.setup.people, &self.setup.behaviour);
                person.attributes(&mood, &self.setup.people, &mut stream)
            } else {
                domain::Attributes::new()
            };
            Visit {
                user_id: person.id.clone(),
                attributes,
                seed,
            }
        };
        users.iter().map(one).collect()
    }

    /// What all visits of a batch led to, worked out side by side.
    fn react(
        &self,
        users: &[usize],
        shown: &[Shown],
        tick: usize,
        day: f64,
    ) -> Result<Vec<Went>, SimulateError> {
        let parts = numeric::parallel_chunks(users.len(), CHUNK, |range| {
            range
                .map(|at| self.one(users[at], &shown[at], tick, day))
                .collect::<Result<Vec<Went>, SimulateError>>()
        });
        let mut all = Vec::with_capacity(users.len());
        for part in parts {
            all.extend(part?);
        }
        Ok(all)
    }

    fn one(&self, user: usize, shown: &Shown, tick: usize, day: f64) -> Result<Went, SimulateError> {
        let (run, rewards) = (&self.setup.run, &self.setup.rewards);
        let judge = self.judge(&self.people[user], day);
        let position = |id: &String| {
            self.catalogue.position(id).ok_or_else(|| SimulateError::Target {
                doing: "asking for a slate",
                reason: format!("{id} was shown, which is no item of this world"),
            })
        };
        let slate = shown
            .items
            .iter()
            .map(position)
            .collect::<Result<Vec<u32>, _>>()?;
        let appeals: Vec<Appeal> = slate.iter().map(|item| judge.appeal(*item)).collect();
        let mut stream = SeededStream::new(self.seed, salt(REACTS, user, tick as i64));
        let judged = stream.uniform() < run.regret_share;
        let regret = judged.then(|| judge.best(run.n, rewards) - judge.expected(&appeals, rewards));
        let mut topics: Vec<u16> = slate
            .iter()
            .map(|item| self.catalogue.topic[*item as usize])
            .collect();
        topics.sort_unstable();
        topics.dedup();
        Ok(Went {
            is_new: slate.iter().map(|item| self.is_new(*item, day)).collect(),
            acts: judge.react(&appeals, &mut stream),
            regret,
            diversity: topics.len() as f64 / slate.len().max(1) as f64,
            slate,
        })
    }

    /// Books one visit and adds its events.
    fn take(
        &mut self,
        user: usize,
        tick: usize,
        day: f64,
        shown: &Shown,
        went: &Went,
        events: &mut Vec<EventInput>,
    ) {
        let (setup, rewards) = (self.setup, &self.setup.rewards);
        self.meter.visit(&went.slate, &went.is_new, went.regret);
        let mut clicked = Vec::new();
        let mut worth = 0.0;
        for (place, (item, act)) in went.slate.iter().zip(&went.acts).enumerate() {
            let id = |kind: &str| format!("{user}-{tick}-{place}{kind}");
            let decision = Some(shown.decision_id.as_str());
            let mut tell = |kind: &str, short: &str, value: Option<f64>| {
                events.push(self.event(user, *item, kind, value, id(short), decision, day));
            };
            if setup.behaviour.impressions {
                tell("impression", "i", None);
            }
            if !act.click {
                continue;
            }
            clicked.push(*item);
            worth += rewards.click;
            tell("click", "c", None);
            if act.dwell > 0.0 {
                tell("view", "v", Some((act.dwell * 10.0).round() / 10.0));
            }
            if act.purchase {
                worth += rewards.purchase;
                tell("purchase", "p", None);
            }
            if act.returned {
                worth += rewards.returned;
                let when = ((day + setup.behaviour.return_days) * 1e6) as i64;
                self.later.entry(when).or_default().push(Later {
                    user,
                    item: *item,
                    decision_id: shown.decision_id.clone(),
                    event_id: id("r"),
                });
            }
        }
        self.meter.reward(worth);
        let person = &mut self.people[user];
        person.diversity += went.diversity;
        person.remember(&clicked, day, &setup.behaviour, &self.catalogue);
    }

    /// Events whose time has come.
    fn due(&mut self, day: f64) -> Vec<EventInput> {
        let still = self.later.split_off(&((day * 1e6) as i64 + 1));
        let due = std::mem::replace(&mut self.later, still);
        let event = |later: Later| {
            let Later {
                user,
                item,
                decision_id,
                event_id,
            } = later;
            self.event(user, item, "return", None, event_id, Some(&decision_id), day)
        };
        due.into_values().flatten().map(event).collect()
    }
}
