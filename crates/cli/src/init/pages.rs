//! `docs/providers/`: each page says what `init` says, and what it shows loads.

use std::path::PathBuf;

use super::guide::Guide;
use crate::config::{self, Source};

fn page(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../../docs/providers/{name}.md"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The blocks of a page between ```toml and ```.
fn blocks(page: &str) -> Vec<String> {
    page.split("```toml\n").skip(1).filter_map(|rest| rest.split_once("\n```")).map(|(block, _)| block.to_owned()).collect()
}

fn load(text: &str) -> Result<config::Settings, config::ConfigError> {
    let text = text.replace("{ file = \"/run/secrets/idp\" }", "{ env = \"S\" }");
    let env = |name: &str| (name == "S").then(|| "correct-horse-battery".to_owned());
    config::parse(Source::new("deputy.toml", text), std::path::Path::new("/"), &env)
}

#[test]
fn every_provider_has_a_page_that_says_what_init_says() {
    let (guides, list) = (Guide::all().unwrap(), page("README"));
    for (name, guide) in guides {
        let page = page(&name);
        assert!(list.contains(&format!("({name}.md)")), "{name} is not in the list");
        for step in guide.steps("https://mcp.example.com") {
            assert!(page.contains(&step), "{name}.md lacks: {step}");
        }
    }
}

#[test]
fn what_the_pages_show_loads() {
    for name in config::provider_names() {
        let page = page(name);
        let blocks = blocks(&page);
        let (whole, parts) = blocks.split_first().unwrap();
        let settings = load(whole).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(settings.server.idps[0].name.as_str(), name);
        // What says where it belongs is put there.
        for part in parts {
            let table = if part.contains("# in [[server]]") { "[[server]]" } else { "[idp]" };
            let with = whole.replacen(table, &format!("{table}\n{part}"), 1);
            load(&with).unwrap_or_else(|error| panic!("{name}: {error}\n{with}"));
        }
    }
}
