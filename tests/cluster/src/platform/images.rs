//! The images of the platform: each holds one program.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Result, anyhow};

use crate::{
    Image, Programs, Tier, image,
    programs::{Origin, PROGRAMS, Program},
};

/// Images in the making at a time: one is digested and written while the runtime unpacks another.
const AT_ONCE: usize = 2;

/// Makes the images of all programs that a tier has as pods, and imports them.
pub(super) fn load(
    programs: &Programs,
    tier: Tier,
    import: &(dyn Fn(&Path) -> Result<()> + Sync),
) -> Result<()> {
    // On the node's own: even if we are killed, it vanishes with the node.
    let folder = tempfile::tempdir_in("/run")?;
    let platform: Vec<_> = PROGRAMS
        .iter()
        .filter(|program| program.tier >= Tier::Platform && program.tier <= tier)
        .collect();
    let share = |first: usize| -> Result<()> {
        for program in platform.iter().skip(first).step_by(AT_ONCE) {
            let archive = folder.path().join(format!("{}.tar", program.name));
            of(program, programs.path(program.name))?.write(&archive)?;
            import(&archive)?;
            fs::remove_file(archive)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE)
            .map(|first| scope.spawn(move || share(first)))
            .collect();
        workers.into_iter().try_for_each(|worker| {
            worker
                .join()
                .map_err(|_| anyhow!("a thread that makes images has panicked"))?
        })
    })
}

/// The image of a program that lies at `path`.
fn of(program: &Program, path: PathBuf) -> Result<Image> {
    let name = image::name(program.name);
    match program.origin {
        // Where images of Go packages usually have their program.
        Origin::Go(package) => {
            let base = package.rsplit('/').next().unwrap_or(package);
            let target = format!("/ko-app/{base}");
            Ok(Image::new(name, &[&target]).file(path, &target))
        }
        // With its libraries, and what the gateway needs to end gently.
        Origin::Python(_) => {
            let target = format!("/usr/local/bin/{}", program.name);
            Image::new(name, &[&target])
                .program(&path)?
                .link(&target, &path.display().to_string())
                .busybox()
        }
    }
}
