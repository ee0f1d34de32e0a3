//! Breadth-first search over all states up to a bound: the first story found is the shortest.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

use serde::Serialize;

/// A world that can be searched.
pub(crate) trait World: Clone + Eq + Hash {
    /// One step.
    type Step: Clone + Serialize;

    /// Every step that somebody could take here.
    fn steps(&self) -> Vec<Self::Step>;

    /// Takes a step.
    ///
    /// # Errors
    /// What it broke.
    fn take(&self, step: &Self::Step) -> Result<Self, String>;

    /// Judges a state by itself.
    ///
    /// # Errors
    /// What is broken.
    fn judge(&self) -> Result<(), String>;

    /// Tells a step as a sentence.
    fn tell(&self, step: &Self::Step) -> String;
}

/// What a search found.
#[derive(Debug)]
pub(crate) struct Found<S> {
    /// How many different states were reached.
    pub(crate) states: usize,
    /// How many steps were tried.
    pub(crate) steps: usize,
    /// The shortest story that breaks a property.
    pub(crate) broken: Option<Broken<S>>,
}

/// A story that breaks a property.
#[derive(Debug)]
pub(crate) struct Broken<S> {
    /// The steps, each with its sentence.
    pub(crate) story: Vec<(S, String)>,
    /// What is broken at the end.
    pub(crate) what: String,
}

/// Where a state came from: the number of the state before it, and the step.
type Origins<W> = Vec<Option<(usize, <W as World>::Step, String)>>;

/// Searches everything that can be reached from `start`.
#[must_use]
pub(crate) fn search<W: World>(start: W) -> Found<W::Step> {
    let mut known: HashMap<W, usize> = HashMap::from([(start.clone(), 0)]);
    let mut origins: Origins<W> = vec![None];
    let mut queue = VecDeque::from([start]);
    let mut steps = 0;
    while let Some(world) = queue.pop_front() {
        let number = known.get(&world).copied().unwrap_or_default();
        if let Err(what) = world.judge() {
            let broken = Some(Broken { story: story::<W>(&origins, number), what });
            return Found { states: known.len(), steps, broken };
        }
        for step in world.steps() {
            steps += 1;
            match world.take(&step) {
                Err(what) => {
                    let mut story = story::<W>(&origins, number);
                    let told = world.tell(&step);
                    story.push((step, told));
                    return Found { states: known.len(), steps, broken: Some(Broken { story, what }) };
                }
                Ok(next) if !known.contains_key(&next) => {
                    known.insert(next.clone(), origins.len());
                    origins.push(Some((number, step.clone(), world.tell(&step))));
                    queue.push_back(next);
                }
                Ok(_) => {}
            }
        }
    }
    Found { states: known.len(), steps, broken: None }
}

fn story<W: World>(origins: &Origins<W>, mut number: usize) -> Vec<(W::Step, String)> {
    let mut told = Vec::new();
    while let Some(Some((before, step, sentence))) = origins.get(number) {
        told.push((step.clone(), sentence.clone()));
        number = *before;
    }
    told.reverse();
    told
}
