//! The tables of a package recipe.

use super::{fields::Fields, form};
use crate::{
    Build, BuildPath, Date, Error, Glob, License, LockedSource, OutputRule, PackageRecipe, Place, Release, Releases,
    Requirement, Source, Test, Upstream, UpstreamName, Waiver, locked::LOCKED_MAX,
};
use anneal_content::{CheckId, EntryName, OutputName, PackageName, Version};
use std::{collections::BTreeSet, str::FromStr};

/// How large a source may be: 4 GiB.
const SOURCE_BYTES_MAX: u64 = 4 << 30;
const CPUS_DEFAULT: u64 = 2;
const CPUS_MAX: u64 = 64;
const MINUTES_DEFAULT: u64 = 30;
const MINUTES_MAX: u64 = 24 * 60;
const MEMORY_MIB_DEFAULT: u64 = 2048;
const MEMORY_MIB_MIN: u64 = 16;
const MEMORY_MIB_MAX: u64 = 1024 * 1024;

pub(super) fn read(fields: &Fields<'_>) -> Option<PackageRecipe> {
    let name = fields.required("name", "name = \"zlib\"", PackageName::from_str);
    // Read where catalogues are put together.
    let _ = fields.text("replaces", form::upstream);
    let summary = fields.required("summary", "summary = \"Lossless compression library\"", form::line);
    let homepage = fields.text("homepage", form::url);
    let license = fields.required("license", "license = \"MIT OR Apache-2.0\"", License::from_str);
    let version = fields.required("version", "version = \"1.2.11\"", Version::from_str);
    let upstream = upstream(&fields.table("upstream", "[upstream]"));
    let releases = releases(fields, name.as_ref(), version.as_ref());
    let build = build(fields);
    let runtime = fields.table("runtime", "[runtime]");
    let runtime_requires = runtime.set("requires", PackageName::from_str).unwrap_or_default();
    runtime.finish();
    let outputs = outputs(fields);
    let test = test(&fields.table("test", "[test]"));
    let allow = allow(&fields.table("checks", "[checks]"));
    fields.finish();
    Some(PackageRecipe {
        name: name?,
        summary: summary?,
        homepage,
        license: license?,
        upstream,
        releases: releases?,
        build: build?,
        runtime_requires,
        outputs,
        test,
        allow,
    })
}

fn upstream(fields: &Fields<'_>) -> Upstream {
    let purl = fields.text("purl", form::purl);
    let cpe = fields.text("cpe", form::cpe);
    let repository = fields.text("repository", form::url);
    let names = fields.set("names", UpstreamName::from_str).unwrap_or_default().into_iter().collect();
    fields.finish();
    Upstream { purl, cpe, repository, names }
}

fn releases(fields: &Fields<'_>, name: Option<&PackageName>, version: Option<&Version>) -> Option<Releases> {
    let tables = fields.tables("release", "[[release]]");
    if tables.is_empty() || !fields.has("release") {
        fields.missing("release", "[[release]]");
    }
    if tables.is_empty() {
        return None;
    }
    let mut seen = BTreeSet::new();
    let mut releases = Vec::new();
    let mut complete = true;
    for table in &tables {
        let release = release(table);
        match table.quiet("version", Version::from_str) {
            Some(listed) if !seen.insert(listed.clone()) => {
                let (value, table_name) = (listed.to_string(), "the list of releases".to_owned());
                table.report("version", Error::Repeated { what: "version", value, table: table_name });
            }
            _ => {}
        }
        complete &= release.is_some();
        releases.extend(release);
    }
    let (name, version) = (name?, version?);
    if !seen.contains(version) {
        let listed = tables.iter().filter_map(|table| table.quiet("version", Version::from_str)).collect();
        let (package, version) = (name.clone(), version.clone());
        fields.report("version", Error::VersionNotListed { package, version, listed });
        return None;
    }
    if complete { Releases::new(name, version, releases).ok() } else { None }
}

fn release(fields: &Fields<'_>) -> Option<Release> {
    let version = fields.required("version", "version = \"1.2.11\"", Version::from_str);
    let date = fields.required("date", "date = \"2017-01-15\"", Date::from_str);
    let locked = locked(fields);
    let mut files = BTreeSet::new();
    let mut sources = Vec::new();
    for table in fields.tables("source", "[[release.source]]") {
        let source = source(&table);
        if let Some(source) = &source
            && !files.insert(source.file.clone())
        {
            let (value, release) = (source.file.to_string(), "the sources of this release".to_owned());
            table.report("file", Error::Repeated { what: "file", value, table: release });
        }
        sources.extend(source);
    }
    for (line, source) in locked {
        if !files.insert(source.file.clone()) {
            let (value, release) = (source.file.to_string(), "the sources of this release".to_owned());
            fields.report_element("locked", &line, Error::Repeated { what: "file", value, table: release });
        }
        sources.push(source);
    }
    fields.finish();
    Some(Release { version: version?, date: date?, sources })
}

/// What the program's own lock file names, each with its line.
fn locked(fields: &Fields<'_>) -> Vec<(String, Source)> {
    let locked = fields.set("locked", LockedSource::from_str).unwrap_or_default();
    if locked.len() > LOCKED_MAX {
        let (what, found) = ("`locked`".to_owned(), locked.len());
        fields.report("locked", Error::TooLarge { what, found, unit: "sources", most: LOCKED_MAX });
    }
    locked.iter().filter_map(|locked| Some((locked.to_string(), locked.to_source()?))).collect()
}

fn source(fields: &Fields<'_>) -> Option<Source> {
    let sha256 = fields.required("sha256", "sha256 = \"<what sha256sum prints>\"", form::sha256);
    let bytes = fields.number("bytes", 1..=SOURCE_BYTES_MAX);
    if !fields.has("bytes") {
        fields.missing("bytes", "bytes = 2481844");
    }
    let file = fields.required("file", "file = \"zlib-1.2.11.tar.gz\"", EntryName::from_str);
    let unpack = fields.text("unpack", BuildPath::from_str);
    let places = places(fields);
    fields.finish();
    Some(Source { sha256: sha256?, bytes: bytes?, file: file?, unpack, places: places? })
}

fn places(fields: &Fields<'_>) -> Option<Vec<Place>> {
    if !fields.has("places") {
        fields.missing("places", "places = [\"https://zlib.net/fossils/zlib-1.2.11.tar.gz\"]");
    }
    let written = fields.texts("places", |text| Ok::<_, Error>((text.to_owned(), text.parse::<Place>()?)))?;
    if written.is_empty() && fields.array_is_empty("places") {
        fields.report(
            "places",
            Error::Empty { key: "places".into(), help: "name at least one place where the file may be found" },
        );
    }
    let mut places = Vec::new();
    for (text, place) in written {
        if places.contains(&place) {
            let (value, table) = (text.clone(), "`places`".to_owned());
            fields.report_element("places", &text, Error::Repeated { what: "place", value, table });
        }
        if place.leaves_catalog() && fields.is_upstream() {
            let (found, reason) = (text.clone(), "a recipe of another catalogue may not lead out of the catalogue");
            let form = "a path beneath the catalogue's root, or replace the recipe with one of your own";
            fields.report_element("places", &text, Error::UnsafePath { found, reason, form });
        }
        places.push(place);
    }
    Some(places)
}

fn build(fields: &Fields<'_>) -> Option<Build> {
    if !fields.has("build") {
        fields.missing("build", "[build]");
    }
    let fields = fields.table("build", "[build]");
    let number = |key, range, default| bounded(fields.number(key, range).unwrap_or(default));
    let requires = fields.set("requires", Requirement::from_str).unwrap_or_default();
    let cpus = number("cpus", 1..=CPUS_MAX, CPUS_DEFAULT);
    let timeout_minutes = number("timeout-minutes", 1..=MINUTES_MAX, MINUTES_DEFAULT);
    let memory_mib = number("memory-mib", MEMORY_MIB_MIN..=MEMORY_MIB_MAX, MEMORY_MIB_DEFAULT);
    let workdir = fields.text("workdir", BuildPath::from_str);
    let env = fields.map("env", form::build_variable, form::argument);
    if !fields.has("steps") {
        fields.missing("steps", "steps = [\"make\", \"make install DESTDIR=$OUT\"]");
    }
    let steps = fields.texts("steps", form::step);
    if fields.array_is_empty("steps") {
        fields.report(
            "steps",
            Error::Empty { key: "steps".into(), help: "write at least one step that puts files under $OUT" },
        );
    }
    fields.finish();
    Some(Build { requires, cpus, timeout_minutes, memory_mib, workdir, env, steps: steps? })
}

/// A number whose range has been checked and fits.
pub(super) fn bounded<T: TryFrom<u64> + Default>(number: u64) -> T {
    T::try_from(number).unwrap_or_default()
}

fn outputs(fields: &Fields<'_>) -> Vec<OutputRule> {
    let mut seen = BTreeSet::new();
    let mut rules = Vec::new();
    for table in fields.tables("output", "[[output]]") {
        let name = table.required("name", "name = \"dev\"", OutputName::from_str);
        if !table.has("paths") {
            table.missing("paths", "paths = [\"usr/include/**\"]");
        }
        let paths = table.texts("paths", Glob::from_str);
        if let Some(name) = name.as_ref().filter(|name| !seen.insert((*name).clone())) {
            let (value, list) = (name.to_string(), "the list of outputs".to_owned());
            table.report("name", Error::Repeated { what: "output", value, table: list });
        }
        table.finish();
        rules.extend(name.zip(paths).map(|(name, paths)| OutputRule { name, paths }));
    }
    rules
}

fn test(fields: &Fields<'_>) -> Test {
    let requires = fields.set("requires", PackageName::from_str).unwrap_or_default();
    if !fields.has("steps") {
        fields.missing("steps", "steps = [\"/sysroot/usr/bin/zlib-flate -version\"]");
    }
    let steps = fields.texts("steps", form::step).unwrap_or_default();
    fields.finish();
    Test { requires, steps }
}

/// The `[checks]` table, the same for packages and images.
pub(super) fn allow(fields: &Fields<'_>) -> Vec<Waiver> {
    let mut seen = BTreeSet::new();
    let mut waivers = Vec::new();
    for table in fields.tables("allow", "`allow`") {
        let check = table.required("check", "check = \"ELF-02\"", CheckId::from_str);
        let reason = table.required("reason", "reason = \"why this finding is accepted\"", form::line);
        if let Some(check) = check.as_ref().filter(|check| !seen.insert((*check).clone())) {
            let (value, list) = (check.to_string(), "`allow`".to_owned());
            table.report("check", Error::Repeated { what: "check", value, table: list });
        }
        table.finish();
        waivers.extend(check.zip(reason).map(|(check, reason)| Waiver { check, reason }));
    }
    fields.finish();
    waivers
}
