//! Breadth-first search over all states up to a bound: the first story found is the shortest.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// A world that can be searched.
pub(crate) trait World: Clone + Eq + Hash {
    /// One step.
    type Step: Clone;

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
pub(crate) struct Found {
    /// How many different states were reached.
    pub(crate) states: usize,
    /// How many steps were tried.
    pub(crate) steps: usize,
    /// The shortest story that breaks a property, with what it breaks.
    pub(crate) broken: Option<(Vec<String>, String)>,
}

/// Searches everything that can be reached from `start`.
#[must_use]
pub(crate) fn search<W: World>(start: W) -> Found {
    // Where each state came from, by its number.
    let mut known: HashMap<W, usize> = HashMap::from([(start.clone(), 0)]);
    let mut origins: Vec<Option<(usize, String)>> = vec![None];
    let mut queue = VecDeque::from([start]);
    let mut steps = 0;
    while let Some(world) = queue.pop_front() {
        let number = known.get(&world).copied().unwrap_or_default();
        if let Err(what) = world.judge() {
            return Found { states: known.len(), steps, broken: Some((story(&origins, number), what)) };
        }
        for step in world.steps() {
            steps += 1;
            match world.take(&step) {
                Err(what) => {
                    let mut story = story(&origins, number);
                    story.push(world.tell(&step));
                    return Found { states: known.len(), steps, broken: Some((story, what)) };
                }
                Ok(next) if !known.contains_key(&next) => {
                    known.insert(next.clone(), origins.len());
                    origins.push(Some((number, world.tell(&step))));
                    queue.push_back(next);
                }
                Ok(_) => {}
            }
        }
    }
    Found { states: known.len(), steps, broken: None }
}

fn story(origins: &[Option<(usize, String)>], mut number: usize) -> Vec<String> {
    let mut told = Vec::new();
    while let Some(Some((before, sentence))) = origins.get(number) {
        told.push(sentence.clone());
        number = *before;
    }
    told.reverse();
    told
}
