//! The two images: how large they are, and how long a node takes to have one. Nothing is pulled here; a node imports.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use control_plane::{Image, Standing};
use system_tests::function::repository;

use crate::table::{Table, median, time};

/// Imports of each side.
const IMPORTS: usize = 5;

/// Names and archives: Hookrun's, then the bare server's.
pub(super) struct Images([(String, PathBuf); 2]);

impl Images {
    /// Takes Hookrun's archive and makes one around the bare server.
    pub(super) fn new(hookrun: &Path, bare: &Path) -> Result<Self> {
        let folder = repository().join("target/bench");
        fs::create_dir_all(&folder)?;
        let archive = folder.join("bare.tar");
        let name = "dev.local/bare:1";
        Image::new(name, &["/bare"])
            .file(bare, "/bare")
            .write(&archive)?;
        Ok(Self([
            ("dev.local/hookrun-bench:1".to_owned(), hookrun.to_owned()),
            (name.to_owned(), archive),
        ]))
    }

    pub(super) fn hookrun_name(&self) -> &str {
        &self.0[0].0
    }

    pub(super) fn bare_name(&self) -> &str {
        &self.0[1].0
    }

    /// Gives both to the node, again and again; it has them afterwards.
    pub(super) fn measure(&self, table: &mut Table) -> Result<()> {
        let sizes = self.0.each_ref().map(|(_, archive)| fs::metadata(archive));
        let [hookrun, bare] = sizes;
        let [hookrun, bare] = [hookrun?, bare?].map(|size| size.len() as f64 / 1e6);
        table.row(
            "image",
            format!("{hookrun:.1} MB"),
            format!("{bare:.1} MB bare server"),
            "",
            "",
        );
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..IMPORTS {
            for ((name, archive), times) in self.0.iter().zip(&mut times) {
                times.push(import(name, archive)?);
            }
        }
        let [hookrun, bare] = times.each_mut().map(|times| median(times));
        table.row(
            "import of the image",
            time(hookrun),
            format!("{} bare server", time(bare)),
            "",
            "",
        );
        Ok(())
    }

    /// Takes both from the node again.
    pub(super) fn remove(&self) -> Result<()> {
        let mut both = self.0.iter();
        both.try_for_each(|(name, _)| Standing::default().unload(name))
    }
}

/// The time until the node has an image that it did not have.
fn import(name: &str, archive: &Path) -> Result<Duration> {
    let node = Standing::default();
    node.unload(name)?;
    let began = Instant::now();
    node.load(archive).with_context(|| name.to_owned())?;
    Ok(began.elapsed())
}
