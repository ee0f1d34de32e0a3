//! Being written.

/// What the demo shows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DemoOptions {
    pub(crate) port: u16,
    pub(crate) call: bool,
}

/// Being written.
pub(crate) async fn run(options: DemoOptions) -> anyhow::Result<()> {
    anyhow::bail!("the demo is being written ({options:?})")
}
