//! What settings may say, and where they come from.

use super::*;

fn surroundings(pairs: &[(&str, &str)]) -> Surroundings {
    let variables = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Surroundings { variables, root: true, cwd: "/".into(), cpus: 4 }
}

#[test]
fn a_flag_wins_over_a_variable_and_a_variable_over_the_default() {
    let flags = Flags { jobs: Some(7), ..Flags::default() };
    let here = surroundings(&[("ANNEAL_JOBS", "3"), ("ANNEAL_STATE", "/srv/anneal")]);
    let settings = Settings::resolve(&flags, &here).unwrap();
    assert_eq!((settings.jobs, settings.state), (7, PathBuf::from("/srv/anneal")));
    let origin = |name: &str| settings.shown.iter().find(|s| s.0 == name).map(|s| s.2.clone());
    assert_eq!(origin("jobs"), Some(Origin::Flag));
    assert_eq!(origin("state"), Some(Origin::Variable("ANNEAL_STATE".into())));
    assert_eq!(origin("listen"), Some(Origin::Default));
}

#[test]
fn the_registry_listens_on_loopback_only() {
    let flags = Flags { listen: Some(SocketAddr::from(([0, 0, 0, 0], 1))), ..Flags::default() };
    let refused = Settings::resolve(&flags, &surroundings(&[])).unwrap_err();
    assert!(refused.to_string().contains("loopback"), "{refused}");
}

#[test]
fn images_are_all_of_the_catalogue_or_those_that_are_named() {
    let images = |list: &str| {
        let settings = Settings::resolve(&Flags::default(), &surroundings(&[("ANNEAL_IMAGES", list)]))?;
        Ok(settings.images.iter().map(|name| name.to_string()).collect::<Vec<_>>())
    };
    let unnamed = Settings::resolve(&Flags::default(), &surroundings(&[])).unwrap();
    assert!(unnamed.images.is_empty());
    assert!(unnamed.shown.iter().any(|(name, value, _)| name == "images" && value == "(all)"));
    for list in ["nginx curl", "curl,nginx", "curl, nginx"] {
        assert_eq!(images(list).map_err(|e: Error| e.to_string()), Ok(vec!["curl".to_owned(), "nginx".to_owned()]));
    }
    assert!(images("Nginx!").unwrap_err().to_string().contains("ANNEAL_IMAGES"));
}

#[test]
fn how_long_publications_are_served_is_said_for_all_images_and_for_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    let read = |text: &str| {
        std::fs::write(&path, text).unwrap();
        let flags = Flags { config: Some(path.clone()), ..Flags::default() };
        Settings::resolve(&flags, &surroundings(&[])).map(|settings| settings.keep_published)
    };
    assert_eq!(read("").unwrap(), KeepPublished::default());
    assert_eq!(read("keep-published = \"forever\"").unwrap().all, Keep::Forever);
    let rules = read("keep-published = { days = 365 }\n[keep-published-of]\nnginx = { releases = 5 }").unwrap();
    assert_eq!(rules.all, Keep::Days(365));
    assert_eq!(rules.of[&ImageName::new("nginx").unwrap()], Keep::Releases(5));
    for wrong in ["keep-published = { days = 0 }", "keep-published = 3", "[keep-published-of]\na = { releases = 0 }"] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
    let by_variable = surroundings(&[("ANNEAL_KEEP_PUBLISHED", "3 releases")]);
    let settings = Settings::resolve(&Flags::default(), &by_variable).unwrap();
    assert_eq!(settings.keep_published.all, Keep::Releases(3));
}

#[test]
fn a_variable_that_is_no_number_is_named() {
    let refused = Settings::resolve(&Flags::default(), &surroundings(&[("ANNEAL_JOBS", "many")])).unwrap_err();
    assert_eq!(refused.to_string(), "ANNEAL_JOBS is `many`, which is not a value for jobs");
}

#[test]
fn a_bucket_is_named_in_the_file_or_by_variables_and_needs_a_server() {
    let refused = Settings::resolve(&Flags::default(), &surroundings(&[("ANNEAL_BLOBS_BUCKET", "b")])).unwrap_err();
    assert!(refused.to_string().contains("blobs.endpoint"), "{refused}");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    std::fs::write(&path, "[blobs]\nbucket = \"b\"\nendpoint = \"https://s3.example\"\ncredentials = \"secret\"")
        .unwrap();
    let flags = Flags { config: Some(path.clone()), ..Flags::default() };
    let settings = Settings::resolve(&flags, &surroundings(&[("ANNEAL_BLOBS_PREFIX", "p")])).unwrap();
    let bucket = settings.bucket.unwrap();
    assert_eq!((bucket.region.as_str(), bucket.prefix.as_str()), ("us-east-1", "p"));
    assert_eq!(bucket.credentials, Some(PathBuf::from("/secret")));
    let shown = settings.shown.iter().find(|shown| shown.0 == "blobs.bucket").unwrap();
    assert_eq!((shown.1.as_str(), &shown.2), ("b", &Origin::File(path.clone())));
    std::fs::write(&path, "[blobs]\nname = \"b\"").unwrap();
    Settings::resolve(&flags, &surroundings(&[])).unwrap_err();
    assert_eq!(Settings::resolve(&Flags::default(), &surroundings(&[])).unwrap().bucket, None);
}

#[test]
fn a_catalogue_is_a_directory_or_a_branch_in_one_text_or_in_a_table() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    let read = |text: &str| {
        std::fs::write(&path, text).unwrap();
        let flags = Flags { config: Some(path.clone()), ..Flags::default() };
        Settings::resolve(&flags, &surroundings(&[("ANNEAL_STATE", "/srv/anneal")]))
    };
    let settings = read("catalog = \"/etc/anneal/recipes\"").unwrap();
    assert_eq!(settings.catalog_dir().unwrap(), Path::new("/etc/anneal/recipes"));
    assert!(settings.follow.is_none());
    let table = "[catalog]\ngit = \"/srv/team.git\"\nbranch = \"main\"\ndirectory = \"recipes\"";
    for text in ["catalog = \"git+file:///srv/team.git#main:recipes\"", table] {
        let settings = read(&format!("catalog-poll-seconds = 5\n{text}")).unwrap();
        let follow = settings.follow.clone().unwrap();
        assert_eq!(follow.place.to_string(), "git+file:///srv/team.git#main:recipes");
        assert_eq!(follow.poll_seconds, 5);
        assert!(settings.catalog.as_ref().unwrap().starts_with("/srv/anneal/catalog"));
        let shown = settings.shown.iter().find(|shown| shown.0 == "catalog").unwrap();
        assert_eq!(shown.1, "git+file:///srv/team.git#main:recipes");
        assert!(settings.catalog_dir().unwrap_err().to_string().contains("was taken yet"));
    }
    for wrong in [
        "catalog = \"git+https://example.org/a.git\"",
        "catalog = \"git+ssh://example.org/a.git#main\"",
        "[catalog]\ngit = \"https://example.org/a.git\"",
        "[catalog]\ngit = \"relative/a.git\"\nbranch = \"main\"",
        "[catalog]\ngit = \"/a.git\"\nbranch = \"main\"\ntag = \"v1\"",
    ] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}
