//! How fast the built gateway is, as a black box over HTTP on loopback, with a named peer in the same run.
//!
//! What this program guarantees:
//! - It costs little itself: one thread, prepared bytes, connections kept alive. Each figure says how many processors it and the server used.
//! - Data lies on a real disk, in a folder of its own that goes with the program; every process that it starts ends with it.
//! - Three rounds after a warm-up; what is printed is their median, and the least and the most of them.
//!
//! `scripts/bench` builds what is needed and starts it.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a program that reports")]

mod arguments;
mod figure;
mod flood;
mod http;
mod load;
mod parts;
mod peer;
mod process;
mod provider;
mod visitor;

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::arguments::{Arguments, Part};
use crate::figure::Figure;
use crate::parts::Bench;

/// What may go wrong ends the program with its reason.
type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// No run takes longer.
const LONGEST: Duration = Duration::from_secs(40 * 60);

/// How long the disk takes for one durable write, in milliseconds: what a server without group commit waits for each time.
fn durable_write(folder: &Path) -> Outcome<f64> {
    const WRITES: u32 = 200;
    let mut file = File::create_new(folder.join("durable"))?;
    let began = Instant::now();
    for _ in 0..WRITES {
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
    }
    Ok(began.elapsed().as_secs_f64() * 1000.0 / f64::from(WRITES))
}

async fn measure(arguments: &Arguments) -> Outcome<Vec<Figure>> {
    std::fs::create_dir_all(&arguments.scratch)?;
    let folder = tempfile::tempdir_in(std::fs::canonicalize(&arguments.scratch)?)?;
    let kind = process::file_system(folder.path());
    if kind == "tmpfs" {
        return Err("the scratch folder is in memory, where nothing is durable".into());
    }
    let processors = std::thread::available_parallelism()?;
    println!(
        "bench: {processors} processors, rounds of {} s; data on {kind}, one durable write of 4 KiB takes {:.2} ms",
        arguments.lasts().as_secs(),
        durable_write(folder.path())?
    );
    let bench = Bench::start(arguments, folder.path()).await?;
    let mut figures = Vec::new();
    for part in &arguments.parts {
        println!("measuring {part:?}");
        match part {
            Part::Refresh => figures.push(bench.refresh().await?),
            Part::Redeem => figures.push(bench.redeem().await?),
            Part::Flows => figures.push(bench.flows().await?),
            Part::Register => figures.push(bench.register().await?),
            Part::Revocation => figures.push(bench.revocation().await?),
            Part::Flood => figures.extend(bench.flood().await?),
            Part::Peer => figures = compared(figures, bench.peer(arguments).await?),
        }
    }
    Ok(figures)
}

/// Ours with the ratio to the peer's, then the peer's.
fn compared(ours: Vec<Figure>, peer: Vec<Figure>) -> Vec<Figure> {
    let beside = |figure: Figure| {
        let same = peer.iter().find(|theirs| theirs.name.split(' ').any(|word| figure.name.split(' ').next() == Some(word)));
        match same {
            Some(theirs) => figure.against(theirs),
            None => figure,
        }
    };
    let mut all: Vec<Figure> = ours.into_iter().map(beside).collect();
    all.extend(peer);
    all
}

/// Until somebody ends us.
async fn interrupted() -> Outcome<Vec<Figure>> {
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        asked = tokio::signal::ctrl_c() => asked?,
        _ = terminated.recv() => {}
    }
    Err("interrupted".into())
}

fn run(arguments: &Arguments) -> Outcome<Vec<Figure>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            figures = tokio::time::timeout(LONGEST, measure(arguments)) => figures?,
            end = interrupted() => end,
        }
    })
}

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => {
            println!("{error}\n{}", arguments::USAGE);
            return ExitCode::from(2);
        }
    };
    let figures = match run(&arguments) {
        Ok(figures) => figures,
        Err(error) => {
            println!("bench: {error}");
            return ExitCode::from(2);
        }
    };
    for figure in &figures {
        println!("{figure}");
    }
    if arguments.no_bars || figures.iter().all(Figure::met) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
