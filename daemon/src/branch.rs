//! The branch that the catalogue is read from, followed: a new commit's recipes are the next revision.
//!
//! A commit is read whole before anything of it counts. One with a mistake is refused, with all mistakes told and journalled,
//! and the last good commit stays in force, also through restarts; a branch that was rewritten is followed, and the
//! journal says which commit it left. A repository that cannot be reached changes nothing: it is asked again, less and
//! less often.

use crate::{
    builder::fetch_config,
    catalog_files::kept_catalog,
    error::{Error, Result, io},
    service::Service,
    settings::{Follow, Settings},
};
use anneal_content::CommitId;
use anneal_fetch::{FetchConfig, Mirror};
use anneal_ledger::{BranchCommit, Event, State};
use anneal_recipe::Catalog;
use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

/// The longest pause between two looks at a repository that cannot be reached.
const PAUSE_MAX: Duration = Duration::from_secs(15 * 60);
/// How soon the end of the daemon is noticed.
const TICK: Duration = Duration::from_millis(100);
/// How much of a commit's mistakes is journalled.
const WHY_CHARS_MAX: usize = 16 << 10;

/// What came of a look at the branch.
#[derive(Debug)]
pub(crate) enum Look {
    /// There is no branch to follow, or it is at the commit that is in force.
    Same,
    /// Another commit is in force.
    Taken {
        /// Whether the catalogue that is built is another one.
        changed: bool,
    },
    /// Its newest commit is not taken.
    Refused {
        /// That commit.
        at: BranchCommit,
        /// Every mistake.
        why: String,
    },
}

/// The commit that the catalogue is read from, where it is read from one.
pub(crate) fn in_force(settings: &Settings) -> Option<BranchCommit> {
    let follow = settings.follow.as_ref()?;
    Some(BranchCommit { place: follow.place.to_string(), commit: follow.commit()? })
}

/// The catalogue to start with. Where a branch is followed and no commit of it is in force, or none that can be read, it is
/// fetched first.
pub(crate) fn first_catalog(settings: &Settings) -> Result<Catalog> {
    let Some(follow) = &settings.follow else { return kept_catalog(settings, false) };
    if let Some(commit) = follow.commit() {
        match kept_catalog(settings, false) {
            Ok(catalog) => return Ok(catalog),
            Err(error) => tracing::warn!("commit {commit}, which is in force, is not read: {}", error.chain()),
        }
    }
    let config = fetch_config(settings)?;
    let mirror = mirror(follow, &config, &|| false);
    let head = mirror.fetch(&mirror.head()?)?;
    let catalog = read_commit(settings, follow, &mirror, &head)?;
    follow.put_in_force(&head)?;
    Ok(catalog)
}

/// What a start must say: the commit that the branch was at when the journal last heard of it, if it is no part of it any more.
pub(crate) fn left_since(settings: &Settings, state: &State) -> Result<Option<CommitId>> {
    let (Some(follow), Some(now), Some(known)) = (&settings.follow, in_force(settings), &state.branch) else {
        return Ok(None);
    };
    if known.at.place != now.place || known.at.commit == now.commit {
        return Ok(None);
    }
    let config = fetch_config(settings)?;
    let descends = mirror(follow, &config, &|| false).descends(&now.commit, &known.at.commit)?;
    Ok((!descends).then(|| known.at.commit.clone()))
}

fn mirror<'m>(follow: &'m Follow, config: &'m FetchConfig, stop: &'m dyn Fn() -> bool) -> Mirror<'m> {
    Mirror { config, place: &follow.place, dir: &follow.home, stop }
}

/// The catalogue of a commit, which is written for that.
fn read_commit(settings: &Settings, follow: &Follow, mirror: &Mirror<'_>, commit: &CommitId) -> Result<Catalog> {
    let written = follow.written(commit);
    mirror.write(commit, &written)?;
    let there = Settings { catalog: Some(follow.within(&written)), ..settings.clone() };
    // Whoever reads a mistake knows the files by their names in the repository.
    let named = |text: String| text.replace(&format!("{}/", written.display()), "");
    kept_catalog(&there, false).map_err(|error| match error {
        Error::Recipes(text) => Error::Recipes(named(text)),
        Error::Input(text) => Error::Input(named(text)),
        other => other,
    })
}

/// Whether an error says that something is wrong with the commit, and not with the way to it.
fn is_refusal(error: &Error) -> bool {
    use anneal_fetch::Error::CommitRefused;
    matches!(
        error,
        Error::Recipes(_)
            | Error::Input(_)
            | Error::No(_)
            | Error::Recipe(_)
            | Error::Plan(_)
            | Error::Content(_)
            | Error::Fetch(CommitRefused { .. })
    )
}

/// Looks where the branch is, and takes its newest commit. One that was refused is looked at again only where `again` says so.
pub(crate) fn look(service: &Service, again: bool) -> Result<Look> {
    let settings = &service.settings;
    let Some(follow) = &settings.follow else { return Ok(Look::Same) };
    let _one_at_a_time = service.following();
    let (config, stop) = (fetch_config(settings)?, || service.is_draining());
    let mirror = mirror(follow, &config, &stop);
    let head = mirror.head()?;
    let place = follow.place.to_string();
    let refused = service.with_state(|state| state.refused_commit.clone()).filter(|refused| refused.at.place == place);
    let old = follow.commit();
    match &refused {
        None if old.as_ref() == Some(&head) => return Ok(Look::Same),
        Some(refused) if refused.at.commit == head && !again => {
            return Ok(Look::Refused { at: refused.at.clone(), why: refused.why.clone() });
        }
        _ => {}
    }
    let head = mirror.fetch(&head)?;
    let left = match old {
        Some(old) if old != head && !mirror.descends(&head, &old)? => Some(old),
        _ => None,
    };
    let at = BranchCommit { place, commit: head };
    // The branch may have been somewhere else and be back.
    let is_back = follow.commit().as_ref() == Some(&at.commit);
    let read = if is_back { kept_catalog(settings, false) } else { read_commit(settings, follow, &mirror, &at.commit) };
    let taken = read.and_then(|base| service.take_commit(follow, &base, at.clone(), left.clone()));
    match taken {
        Ok(changed) => {
            if let Some(left) = left {
                service.board.trouble(rewritten(&at, &left));
            }
            tracing::info!(changed, "{at} is in force");
            sweep(follow, &at.commit);
            Ok(Look::Taken { changed })
        }
        Err(error) if is_refusal(&error) => refuse(service, follow, at, left, &error),
        Err(error) => Err(error),
    }
}

fn refuse(service: &Service, follow: &Follow, at: BranchCommit, left: Option<CommitId>, error: &Error) -> Result<Look> {
    let why: String = error.chain().chars().take(WHY_CHARS_MAX).collect();
    let known = service.with_state(|state| state.refused_commit.as_ref().is_some_and(|r| r.at == at && r.why == why));
    if !known {
        if let Some(left) = &left {
            service.board.trouble(rewritten(&at, left));
        }
        service.board.trouble(format!("{at} is not taken, and what was in force stays: {why}"));
        service.record(Event::CommitRefused { at: at.clone(), why: why.clone(), left })?;
    }
    if let Some(kept) = follow.commit().filter(|kept| *kept != at.commit) {
        sweep(follow, &kept);
    }
    Ok(Look::Refused { at, why })
}

fn rewritten(at: &BranchCommit, left: &CommitId) -> String {
    format!("the branch was rewritten: {at} does not descend from {left}, which was in force")
}

/// Removes what was written of other commits; it can be written again.
fn sweep(follow: &Follow, kept: &CommitId) {
    let dir = follow.home.join("commits");
    for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
        if entry.file_name() != kept.as_str()
            && let Err(error) = std::fs::remove_dir_all(entry.path()).map_err(io("remove", entry.path()))
        {
            tracing::warn!("{}", error.chain());
        }
    }
}

/// How long to wait after so many looks in a row that failed.
fn pause(poll: Duration, failed: u32) -> Duration {
    poll.saturating_mul(1 << failed.min(10)).min(PAUSE_MAX.max(poll))
}

/// Looks at the branch every now and then, until the daemon drains.
pub(crate) fn keep_following(service: &Arc<Service>) {
    let Some(follow) = &service.settings.follow else { return };
    if follow.poll_seconds == 0 {
        return;
    }
    let poll = Duration::from_secs(follow.poll_seconds);
    let mut again = true;
    while !service.is_draining() {
        let failed = match look(service, again) {
            Ok(_) => {
                again = false;
                if service.looks_failed.swap(0, Ordering::Relaxed) > 0 {
                    tracing::info!("{} can be followed again", follow.place);
                }
                0
            }
            Err(_) if service.is_draining() => return,
            Err(error) => {
                let failed = service.looks_failed.fetch_add(1, Ordering::Relaxed).saturating_add(1);
                let seconds = pause(poll, failed).as_secs();
                let what = error.chain();
                service.board.trouble(format!("{what}; what is in force stays, and it is tried again in {seconds} s"));
                failed
            }
        };
        let until = Instant::now() + pause(poll, failed);
        while Instant::now() < until && !service.is_draining() {
            std::thread::sleep(TICK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_that_cannot_be_reached_is_asked_less_and_less_often() {
        let poll = Duration::from_secs(60);
        let seconds = [0, 1, 2, 3, 4, 40].map(|failed| pause(poll, failed).as_secs());
        assert_eq!(seconds, [60, 120, 240, 480, 900, 900]);
        assert_eq!(pause(Duration::from_secs(3600), 3), Duration::from_secs(3600));
    }
}
