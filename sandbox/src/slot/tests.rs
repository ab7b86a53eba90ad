//! Numbers of runs: each is had once, whatever is removed meanwhile.

use super::*;

fn nobody(_: u32) -> bool {
    false
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("slots");
    (dir, place)
}

fn take(place: &Path, in_use: &dyn Fn(u32) -> bool) -> Held {
    take_in(directory_of_ours(place).unwrap(), 0, in_use).unwrap()
}

#[test]
fn two_numbers_held_at_once_differ_and_a_dropped_one_is_free_again() {
    let (_dir, place) = place();
    let first = take(&place, &nobody);
    let second = take(&place, &nobody);
    assert_eq!((first.number, second.number), (0, 1));
    drop(first);
    assert_eq!(take(&place, &nobody).number, 0);
    assert_eq!(fs::metadata(&place).unwrap().mode() & 0o777, 0o700);
}

#[test]
fn a_file_that_is_removed_while_it_is_locked_frees_no_number() {
    let (_dir, place) = place();
    let first = take(&place, &nobody);
    let name = first.name.clone();
    let slot = Slot { held: Ok(first), count: 0 };
    assert!(slot.holds());
    fs::remove_file(place.join(&name)).unwrap();
    assert!(!slot.holds(), "the holder finds out");
    // Its processes are there, so the number is passed over, again and again.
    let its = |number: u32| number == 0;
    let second = take(&place, &its);
    let third = take(&place, &its);
    assert_eq!((second.number, third.number), (1, 2));
    drop((slot, second, third));
    // It has ended; what it was passed over for is no longer so.
    assert_eq!(take(&place, &nobody).number, 0);
}

#[test]
fn a_whole_directory_that_is_removed_frees_no_number() {
    let (_dir, place) = place();
    let first = take(&place, &nobody);
    fs::remove_dir_all(&place).unwrap();
    let second = take(&place, &|number| number == 0);
    assert_eq!((first.number, second.number), (0, 1));
}

#[test]
fn whoever_tidies_up_finds_a_locked_directory_and_a_file_that_is_new() {
    let (_dir, place) = place();
    let old = take(&place, &nobody);
    futimens(&*old.file, &TimeSpec::new(1000, 0), &TimeSpec::new(1000, 0)).unwrap();
    drop(old);
    let exclusively = |place: &Path| Flock::lock(File::open(place).unwrap(), FlockArg::LockExclusiveNonblock).is_ok();
    assert!(exclusively(&place), "nobody is there");
    let held = take(&place, &nobody);
    assert!(!exclusively(&place));
    let age = held.file.metadata().unwrap().modified().unwrap().elapsed().unwrap_or_default();
    assert!(age.as_secs() < 60, "{age:?}");
}

#[test]
fn where_every_number_is_taken_there_is_no_run_and_no_number_from_elsewhere() {
    // two descriptors each
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    let (_dir, place) = place();
    let all: Vec<Held> = (0..SLOTS).map(|_| take(&place, &nobody)).collect();
    let refused = take_in(directory_of_ours(&place).unwrap(), 0, &nobody).unwrap_err();
    assert!(refused.to_string().contains("1024 runs are under way"));
    drop(all);
}

#[test]
fn no_two_places_have_a_number_in_common() {
    let (_dir, place) = place();
    let numbers = (0..PLACES).map(|at| {
        let place = place.with_file_name(format!("place{at}"));
        take_in(directory_of_ours(&place).unwrap(), at * SLOTS, &nobody).unwrap().number
    });
    assert_eq!(numbers.collect::<Vec<_>>(), [0, SLOTS, 2 * SLOTS, 3 * SLOTS]);
}

#[test]
fn a_directory_that_others_could_enter_or_that_is_a_link_is_not_used_and_its_owner_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let open = dir.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, Permissions::from_mode(0o755)).unwrap();
    let told = directory_of_ours(&open).unwrap_err().to_string();
    assert!(told.contains(&format!("user {}", geteuid())) && told.contains("0755"), "{told}");
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(dir.path(), &link).unwrap();
    let told = directory_of_ours(&link).unwrap_err().to_string();
    assert!(told.contains(&format!("user {}", geteuid())), "{told}");
    assert_eq!(fs::read_dir(&open).unwrap().count(), 0);
}

#[test]
fn a_home_comes_before_what_goes_with_a_session_and_that_before_what_is_everybodys() {
    let texts = |uid, home: Option<&str>| {
        let places = places(Uid::from_raw(uid), home.map(Path::new));
        places.map(|place| place.map(|place| place.display().to_string()).unwrap_or_default())
    };
    let (lasting, temporary) = ("/var/tmp/anneal-sandbox-7", "/tmp/anneal-sandbox-7");
    let session = "/run/user/7/anneal-sandbox";
    assert_eq!(texts(7, Some("/home/seven")), ["/home/seven/.local/state/anneal-sandbox", session, lasting, temporary]);
    assert_eq!(texts(7, None), ["", session, lasting, temporary]);
    assert_eq!(texts(7, Some("/")), ["", session, lasting, temporary]);
    assert_eq!(texts(0, Some("/root"))[..2], ["/run/anneal-sandbox", ""]);
}

#[test]
fn where_others_were_first_the_next_place_has_the_number_and_where_there_is_none_each_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let squatted = |name: &str| {
        let place = dir.path().join(name);
        fs::create_dir(&place).unwrap();
        fs::set_permissions(&place, Permissions::from_mode(0o700)).unwrap();
        // Only the superuser can make a directory of somebody else's; one that others may enter is as bad.
        if std::os::unix::fs::chown(&place, Some(65534), None).is_err() {
            fs::set_permissions(&place, Permissions::from_mode(0o711)).unwrap();
        }
        Some(place)
    };
    let (first, second, third) = (squatted("first"), squatted("second"), squatted("third"));
    let owner = fs::metadata(dir.path().join("first")).unwrap().uid();
    let nothing = |_| None;
    let free = [first.clone(), second.clone(), third.clone(), Some(dir.path().join("free"))];
    assert_eq!(Slot::take_from(free, &nothing).unwrap().number(), Ok(3 * SLOTS));
    let told = match Slot::take_from([first, None, second, third], &nothing) {
        Err(Unavailable::NoPlace(told)) => told,
        other => panic!("{other:?}"),
    };
    for name in ["first", "second", "third"] {
        assert!(told.contains(dir.path().join(name).to_str().unwrap()), "{told}");
    }
    assert_eq!(told.matches(&format!("user {owner}")).count(), 3, "{told}");
    let run = Slot::none(told.clone());
    assert!(run.holds());
    let users = crate::HostFacts::gather(&run, 1).users;
    assert_eq!(users, crate::Users::Shared { reason: told });
}

#[test]
fn what_is_missing_of_a_home_is_made_but_the_home_itself() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join(".local/state/anneal-sandbox");
    directory_of_ours(&place).unwrap();
    assert!(place.is_dir());
    let nowhere = dir.path().join("nowhere");
    assert!(directory_of_ours(&nowhere.join(".local/state/anneal-sandbox")).is_err());
    assert!(!nowhere.exists());
}

#[test]
fn a_process_is_known_by_its_users_and_by_the_one_user_of_its_namespace() {
    let status = "Name:\tx\nUid:\t1000\t4200007\t1000\t1000\nGid:\t4200009\t1\t1\t1\n";
    assert!(has_id(status, 4_200_007) && !has_id(status, 4_200_009) && !has_id(status, 420));
    assert!(maps_only("      1000    4200007          1\n", 4_200_007));
    for map in ["0 0 4294967295\n", "0 1000 1\n1 4200007 1\n", "1000 4200007 2\n", ""] {
        assert!(!maps_only(map, 4_200_007), "{map}");
    }
    let own = geteuid().as_raw();
    assert!(is_in_use(own), "this process itself");
    assert!(!is_in_use(4_199_999));
}
