//! `anneal recipe bump`: a new release into a recipe, with the digest of what its place has today.

use super::source::{Measuring, Taken};
use crate::{
    catalog_files::{parse, recipe_files, replace_file},
    error::{Error, Result},
    output::{Output, human_bytes, printable},
    settings::Settings,
};
use anneal_content::{EntryName, PackageName, Version};
use anneal_recipe::{Date, Kind, PackageRecipe, Place, Release, Source, moved, moved_place, with_release};
use serde_json::json;
use std::{cmp::Ordering, collections::BTreeSet, fmt::Write as _};

/// Which package, to which version.
#[derive(Debug, clap::Args)]
pub(crate) struct BumpArgs {
    /// The package
    name: PackageName,
    /// The version to add, as upstream writes it
    version: Version,
    /// Where the new source is; once for each source of the release. By default where the last release's is, with the
    /// version in its place
    #[arg(long, value_name = "PLACE")]
    source: Vec<Place>,
    /// The day of the release; by default that of the newest file in the source
    #[arg(long, value_name = "DAY")]
    date: Option<Date>,
    /// Take a version that is older than the last one, or can't be compared with it
    #[arg(long)]
    allow_older: bool,
    /// Only list the release, for an advisory that may need it; what is built stays
    #[arg(long)]
    list_only: bool,
}

pub(super) fn bump(args: &BumpArgs, settings: &Settings, output: &Output) -> Result<()> {
    let files = recipe_files(settings.own_catalog_dir()?)?;
    let catalog = parse(&files, settings)?.map_err(|mistakes| Error::Recipes(mistakes.render(output.color)))?;
    let recipe = catalog.package(&args.name).map_err(|error| super::with_help(&error))?;
    let (path, text) = recipe_file(&files, &args.name)?;
    let before = place_in_order(recipe, args)?;
    let last = recipe.releases.listed().last().unwrap_or(recipe.selected());
    let measuring = Measuring::new(settings, output)?;
    let mut sources = Vec::new();
    let mut newest_secs = None;
    for (source, place) in wanted(last, args, &measuring)? {
        let new = match place {
            Wanted::Same => source.clone(),
            Wanted::AnyOf(places) => {
                let taken = first_and_equal(&measuring, &places, args.source.is_empty(), output)?;
                newest_secs = newest_secs.max(taken.iter().filter_map(|(_, taken)| taken.newest_secs()).max());
                new_source(source, &last.version, &args.version, taken)?
            }
        };
        sources.push(new);
    }
    let (date, date_from) = release_date(args.date, newest_secs)?;
    let release = Release { version: args.version.clone(), date, sources };
    let changed = with_release(path, text, &release, before.as_ref(), !args.list_only)
        .map_err(|mistakes| Error::Recipes(mistakes.render(output.color)))?;
    hold(&files, path, &changed, recipe, &release, settings)?;
    replace_file(path.as_ref(), changed.as_bytes())?;
    let value = json!({
        "file": path, "package": args.name, "version": release.version, "date": date, "date-from": date_from,
        "built": !args.list_only, "sources": release.sources,
    });
    output.result(|| printable(&said(path, recipe, &release, date_from, args.list_only)), &value)
}

fn said(path: &str, recipe: &PackageRecipe, release: &Release, date_from: &str, list_only: bool) -> String {
    let mut text = String::new();
    for source in &release.sources {
        let (file, bytes) = (&source.file, human_bytes(source.bytes));
        let places: Vec<_> = source.places.iter().map(ToString::to_string).collect();
        let _ = writeln!(text, "{file}: {bytes}, {}\n  from {}", source.sha256, places.join("\n  and "));
    }
    let (name, version, date) = (&recipe.name, &release.version, release.date);
    let _ = writeln!(text, "{path}: release {version} of {date} ({date_from}) is listed");
    let _ = match list_only {
        true => writeln!(text, "{name} is still built at {}", recipe.version()),
        false => writeln!(text, "{name} is built at {version} from now on; before: {}", recipe.version()),
    };
    text
}

/// Path and text of a package's recipe, where it is this catalogue's own.
pub(super) fn recipe_file<'f>(files: &'f [(String, String)], name: &PackageName) -> Result<&'f (String, String)> {
    files.iter().find(|(path, text)| Kind::of(path) == Some(Kind::Package) && is_named(text, name)).ok_or_else(|| {
        let help = "add a release there, or replace its recipe with one of your own";
        Error::Input(format!("the recipe of {name} is an upstream catalogue's; {help}"))
    })
}

fn is_named(text: &str, name: &PackageName) -> bool {
    let table = text.parse::<toml::Table>();
    table.is_ok_and(|table| table.get("name").and_then(|found| found.as_str()) == Some(name.as_str()))
}

/// Before which listed release the new one belongs; none: behind all of them.
fn place_in_order(recipe: &PackageRecipe, args: &BumpArgs) -> Result<Option<Version>> {
    let (name, new) = (&recipe.name, &args.version);
    if recipe.releases.get(new).is_some() {
        let help = format!("to build it, write `version = \"{new}\"`");
        return Err(Error::Input(format!("{name} lists a release {new} already; {help}")));
    }
    let compare = |old: &Version| anneal_advisory::compare("generic", new.as_str(), old.as_str());
    for listed in recipe.releases.listed() {
        let old = &listed.version;
        match compare(old) {
            Ok(Ordering::Greater) => {}
            Ok(_) if args.allow_older => return Ok(Some(old.clone())),
            Ok(_) => {
                let help = "--allow-older lists it before the newer ones";
                return Err(Error::Input(format!("{new} is not newer than {old}, which {name} lists; {help}")));
            }
            Err(_) if args.allow_older => {}
            Err(unknown) => {
                let help = "--allow-older lists it behind the others";
                return Err(Error::Input(format!("whether {new} is newer can't be told: {unknown}; {help}")));
            }
        }
    }
    Ok(None)
}

/// Where a source of the new release is.
enum Wanted {
    /// The source is the last release's.
    Same,
    /// At one or more of these places.
    AnyOf(Vec<Place>),
}

/// What to fetch for each source of the last release.
fn wanted<'r>(last: &'r Release, args: &BumpArgs, measuring: &Measuring<'_>) -> Result<Vec<(&'r Source, Wanted)>> {
    let (given, has) = (args.source.len(), last.sources.len());
    if given > 0 && given != has {
        return Err(Error::Input(format!(
            "release {} of {} has {has} sources, and --source was given {given} times; give it once for each",
            last.version, args.name
        )));
    }
    let moved_places = |source: &Source| -> Vec<Place> {
        let moved = |place: &Place| moved_place(place, &last.version, &args.version);
        // A team's own code stays where it is.
        let place = |place: &Place| moved(place).or_else(|| measuring.is_directory(place).then(|| place.clone()));
        source.places.iter().filter_map(place).collect()
    };
    let mut wanted: Vec<_> = last.sources.iter().map(|source| (source, Wanted::AnyOf(moved_places(source)))).collect();
    for ((_, wanted), place) in wanted.iter_mut().zip(&args.source) {
        *wanted = Wanted::AnyOf(vec![place.clone()]);
    }
    // A file that has nothing to do with the version, beside one that has, is the same file.
    let nothing = |wanted: &Wanted| matches!(wanted, Wanted::AnyOf(places) if places.is_empty());
    if !wanted.is_empty() && wanted.iter().all(|(_, wanted)| nothing(wanted)) {
        let places: Vec<_> = last.sources.iter().flat_map(|s| &s.places).map(ToString::to_string).collect();
        return Err(Error::Input(format!(
            "no place of {} {} has that version in it: {}; name the new source with --source PLACE",
            args.name,
            last.version,
            places.join(", ")
        )));
    }
    wanted.iter_mut().filter(|(_, wanted)| nothing(wanted)).for_each(|(_, wanted)| *wanted = Wanted::Same);
    Ok(wanted)
}

/// What the places have, of which one at least must have something and all that have must have the same.
fn first_and_equal(
    measuring: &Measuring<'_>,
    places: &[Place],
    guessed: bool,
    output: &Output,
) -> Result<Vec<(Place, Taken)>> {
    let mut taken: Vec<(Place, Taken)> = Vec::new();
    let mut failed = Vec::new();
    for place in places {
        match measuring.take(place) {
            Ok(found) => taken.push((place.clone(), found)),
            Err(error) => failed.push((place, error)),
        }
    }
    let digests: BTreeSet<_> = taken.iter().map(|(_, taken)| taken.sha256).collect();
    if digests.len() > 1 {
        let each: Vec<_> = taken.iter().map(|(place, taken)| format!("  {place}: {}", taken.sha256)).collect();
        let each = each.join("\n");
        return Err(Error::No(format!("the places have different files:\n{each}\nname the right one with --source")));
    }
    match (taken.is_empty(), failed.pop()) {
        (true, Some((_, error))) => {
            for (_, error) in failed {
                output.note(&printable(&error.chain()));
            }
            if guessed {
                output.note("the place was derived from the last release's; --source names another");
            }
            Err(error)
        }
        (_, last) => {
            for (place, error) in failed.into_iter().chain(last) {
                output.note(&printable(&format!("left out: {place}\n  {}", error.chain().replace('\n', "\n  "))));
            }
            Ok(taken)
        }
    }
}

fn new_source(old: &Source, from: &Version, to: &Version, taken: Vec<(Place, Taken)>) -> Result<Source> {
    let (_, found) = taken.first().ok_or_else(|| Error::Internal("nothing was fetched".into()))?;
    // Steps name the file, so a name without a version stays.
    let file = moved(old.file.as_str(), from, to).map_or_else(|| Ok(old.file.clone()), EntryName::new)?;
    let (sha256, bytes, unpack) = (found.sha256, found.bytes, old.unpack.clone());
    Ok(Source { sha256, bytes, file, unpack, places: taken.into_iter().map(|(place, _)| place).collect() })
}

fn release_date(told: Option<Date>, newest_secs: Option<u64>) -> Result<(Date, &'static str)> {
    if let Some(date) = told {
        return Ok((date, "as told"));
    }
    let today = super::source::today()?;
    let newest = newest_secs.and_then(Date::of_epoch_secs).filter(|date| *date <= today);
    match newest.filter(|date| Date::new(1985, 1, 1).is_some_and(|least| *date >= least)) {
        Some(date) => Ok((date, "the day of the newest file in the source")),
        None => Ok((today, "today, because the source shows no day; --date says another")),
    }
}

/// The changed catalogue must be the old one with the release added and nothing else.
fn hold(
    files: &[(String, String)],
    path: &str,
    changed: &str,
    recipe: &PackageRecipe,
    release: &Release,
    settings: &Settings,
) -> Result<()> {
    let after: Vec<_> = files
        .iter()
        .map(|(at, text)| (at.clone(), if at == path { changed.to_owned() } else { text.clone() }))
        .collect();
    let unexpected = |why: String| Error::Internal(format!("{path} was left as it is: {why}"));
    let catalog = parse(&after, settings)?.map_err(|mistakes| unexpected(mistakes.render(false)))?;
    let found = catalog.package(&recipe.name)?;
    let others = found.releases.listed().filter(|listed| listed.version != release.version);
    let same = found.releases.get(&release.version) == Some(release)
        && others.eq(recipe.releases.listed())
        && PackageRecipe { releases: recipe.releases.clone(), ..found.clone() } == *recipe;
    if same { Ok(()) } else { Err(unexpected("the change would say more than a new release".into())) }
}
